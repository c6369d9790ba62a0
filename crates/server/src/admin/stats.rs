//! Rates and totals.

use super::consumer::{behind, stats};
use super::flags::Args;
use super::out::{Cell, Table};
use super::session::{Session, master};
use anyhow::Result;
use kerolox_wire::body::{BrokerStatsData, TopicRouteData};
use kerolox_wire::header::ViewBrokerStatsData;
use kerolox_wire::{Command, RequestCode};

static TOPICS: Table = Table {
    name: "topics",
    head: "%-64s  %-64s %12s %11s %11s %14s %14s",
    row: "%-64.64s  %-64.64s %12d %11s %11s %14d %14s",
    columns: &[
        ("#Topic", "topic"),
        ("#Consumer Group", "consumerGroup"),
        ("#Accumulation", "accumulation"),
        ("#InTPS", "inTps"),
        ("#OutTPS", "outTps"),
        ("#InMsg24Hour", "inMessages24h"),
        ("#OutMsg24Hour", "outMessages24h"),
    ],
};

/// The rate of the last minute and the total of the last day of a statistic, of all masters. A broker that has not counted
/// anything yet refuses, and adds nothing.
fn counted(session: &mut Session, route: &TopicRouteData, name: &str, key: &str) -> (f64, u64) {
    let (mut rate, mut total) = (0.0, 0);
    for address in route.broker_datas.iter().filter_map(master) {
        let header =
            ViewBrokerStatsData { stats_name: name, stats_key: key, ..ViewBrokerStatsData::default() };
        let request = Command::request(RequestCode::VIEW_BROKER_STATS_DATA).with_header(&header);
        let data: BrokerStatsData = session.body(address, request).unwrap_or_default();
        rate += data.stats_minute.tps;
        let sums = [data.stats_day.sum, data.stats_hour.sum, data.stats_minute.sum];
        total += sums.into_iter().find(|sum| *sum != 0).unwrap_or_default();
    }
    (rate, total)
}

pub(super) fn all(args: &Args, session: &mut Session) -> Result<()> {
    let names = super::topic::names(session)?;
    session.out.head(&TOPICS);
    let wanted = args.get("topic").filter(|topic| !topic.is_empty());
    for topic in names.iter().filter(|name| super::topic::is_plain(name)) {
        if wanted.is_none_or(|wanted| wanted == topic)
            && let Some(route) = session.route_if_any(topic)?
        {
            one(session, topic, &route, args.has("activeTopic"))?;
        }
    }
    Ok(())
}

fn rate(rate: f64) -> Cell {
    Cell::shown(format!("{rate:.2}"), rate)
}

fn one(session: &mut Session, topic: &str, route: &TopicRouteData, only_active: bool) -> Result<()> {
    let (in_rate, in_total) = counted(session, route, "TOPIC_PUT_NUMS", topic);
    let in_count = || Cell::shown(in_total.to_string(), in_total);
    let groups = super::topic::groups_of(session, topic, route)?;
    if groups.is_empty() && (!only_active || in_total > 0) {
        let nobody =
            [Cell::shown("", serde_json::Value::Null), Cell::shown("NO_CONSUMER", serde_json::Value::Null)];
        let [out_rate, out_total] = nobody;
        session.out.row(
            &TOPICS,
            [topic.into(), "".into(), 0.into(), rate(in_rate), out_rate, in_count(), out_total],
        );
    }
    for group in groups {
        let (out_rate, out_total) = counted(session, route, "GROUP_GET_NUMS", &format!("{topic}@{group}"));
        // A group whose offsets nobody knows is behind by nothing that can be told.
        let accumulated = stats(session, &group, Some(topic), None).map_or(0, |stats| behind(&stats).max(0));
        if !only_active || in_total > 0 || out_total > 0 {
            let row = [
                topic.into(),
                group.into(),
                accumulated.into(),
                rate(in_rate),
                rate(out_rate),
                in_count(),
                Cell::shown(out_total.to_string(), out_total),
            ];
            session.out.row(&TOPICS, row);
        }
    }
    Ok(())
}
