//! Brokers: their figures, their configuration and their housekeeping.

use super::flags::Args;
use super::namesrv::{object, properties, property};
use super::out::{Cell, Table, format};
use super::session::{Session, master};
use super::time;
use anyhow::{Result, bail};
use kerolox_wire::body::{ConsumeStatsList, KvTable};
use kerolox_wire::header::GetBrokerConsumeStats;
use kerolox_wire::{Command, RequestCode};
use serde_json::json;
use std::time::Duration;

pub(super) fn status(args: &Args, session: &mut Session) -> Result<()> {
    let alone = args.get("brokerAddr").map(|address| vec![address.to_owned()]);
    let cluster = args.get("clusterName").unwrap_or_default();
    let with_address = alone.is_none();
    let mut failed = Ok(());
    for address in alone.map_or_else(|| session.members(cluster), Ok)? {
        let request = Command::request(RequestCode::GET_BROKER_RUNTIME_INFO);
        match session.body::<KvTable>(&address, request) {
            Ok(table) => {
                for (key, value) in &table.table {
                    session.out.line(match with_address {
                        true => format("%-24s %-32s: %s", &[&address, key, value]),
                        false => format("%-32s: %s", &[key, value]),
                    });
                }
                session.out.set(&address, json!(table.table));
            }
            Err(why) => failed = failed.and(Err(why)),
        }
    }
    failed
}

static BACKLOG: Table = Table {
    name: "queues",
    head: "%-64s  %-64s  %-32s  %-4s  %-20s  %-20s  %-20s  %s",
    row: "%-64.64s  %-64s  %-32.32s  %-4d  %-20d  %-20d  %-20d  %s",
    columns: &[
        ("#Topic", "topic"),
        ("#Group", "group"),
        ("#Broker Name", "brokerName"),
        ("#QID", "queueId"),
        ("#Broker Offset", "brokerOffset"),
        ("#Consumer Offset", "consumerOffset"),
        ("#Diff", "diff"),
        ("#LastTime", "lastTimestamp"),
    ],
};

pub(super) fn consume_stats(args: &Args, session: &mut Session) -> Result<()> {
    let least: i64 = args.number("level")?.unwrap_or(0);
    let address = args.need("brokerAddr")?;
    let header =
        GetBrokerConsumeStats { is_order: Some(args.is_true("order")), ..GetBrokerConsumeStats::default() };
    let code = RequestCode::GET_BROKER_CONSUME_STATS;
    let timeout = Duration::from_millis(args.number("timeoutMillis")?.unwrap_or(50_000));
    let answer = session.client.ask_within(address, Command::request(code).with_header(&header), timeout)?;
    let all: ConsumeStatsList = super::session::read(&super::client::granted(address, code, answer)?)?;
    session.out.head(&BACKLOG);
    for (group, stats) in &all.consume_stats_list {
        for (queue, offsets) in stats.iter().flat_map(|stats| &stats.offset_table) {
            let (diff, at) = (offsets.broker_offset - offsets.consumer_offset, offsets.last_timestamp);
            if diff < least || at <= 0 {
                continue;
            }
            let row = [
                (&queue.topic).into(),
                group.into(),
                (&queue.broker_name).into(),
                queue.queue_id.into(),
                offsets.broker_offset.into(),
                offsets.consumer_offset.into(),
                diff.into(),
                Cell::shown(time::to_second(at), at),
            ];
            session.out.row(&BACKLOG, row);
        }
    }
    session.out.line(format!("\nDiff Total: {}", all.total_diff));
    session.out.set("diffTotal", all.total_diff);
    Ok(())
}

/// Each broker that is meant, under the heading that Apache prints above what it says.
pub(super) fn headed(args: &Args, session: &mut Session) -> Result<Vec<(String, String)>> {
    if let Some(address) = args.get("brokerAddr") {
        return Ok(vec![(format!("============{address}============"), address.to_owned())]);
    }
    let mut all = Vec::new();
    for data in session.cluster(args.need("clusterName")?)? {
        let lead = master(&data).unwrap_or("NO_MASTER").to_owned();
        for (id, address) in &data.broker_addrs {
            let heading = match id {
                0 => format!("============Master: {lead}============"),
                _ => format!("============My Master: {lead}=====Slave: {address}============"),
            };
            all.push((heading, address.clone()));
        }
    }
    Ok(all)
}

pub(super) fn config(args: &Args, session: &mut Session) -> Result<()> {
    for (heading, address) in headed(args, session)? {
        let answer = session.client.done(&address, Command::request(RequestCode::GET_BROKER_CONFIG))?;
        session.out.line(heading);
        let properties = properties(&answer.body);
        for (key, value) in &properties {
            session.out.line(format("%-50s=  %s", &[key, value]));
        }
        session.out.line("");
        session.out.set(&address, object(properties));
    }
    Ok(())
}

pub(super) fn update_config(args: &Args, session: &mut Session) -> Result<()> {
    let (key, value) = (args.need("key")?, args.need("value")?);
    let with_replicas = args.has("updateAllBroker") && !args.has("brokerAddr");
    let brokers = match args.get("clusterName").filter(|_| with_replicas) {
        Some(cluster) => session.members(cluster)?,
        None => session.meant(args, "brokerAddr", "clusterName")?,
    };
    let mut failed = Ok(());
    for address in brokers {
        let request = Command::request(RequestCode::UPDATE_BROKER_CONFIG).with_body(property(key, value));
        match session.client.done(&address, request) {
            Ok(_) => {
                session.out.line(format!("update broker config success, {address}"));
                session.out.push("brokers", address);
            }
            Err(why) => failed = failed.and(Err(why)),
        }
    }
    failed
}

pub(super) fn clean_queues(args: &Args, session: &mut Session) -> Result<()> {
    tidy(args, session, RequestCode::CLEAN_EXPIRED_CONSUMEQUEUE)
}

pub(super) fn clean_topics(args: &Args, session: &mut Session) -> Result<()> {
    tidy(args, session, RequestCode::CLEAN_UNUSED_TOPIC)
}

pub(super) fn delete_expired(args: &Args, session: &mut Session) -> Result<()> {
    tidy(args, session, RequestCode::DELETE_EXPIRED_COMMITLOG)
}

/// Asks a broker, all brokers of a cluster, or all brokers there are.
fn tidy(args: &Args, session: &mut Session, code: RequestCode) -> Result<()> {
    let brokers: Vec<String> = match (args.get("brokerAddr"), args.get("cluster")) {
        (Some(address), _) => vec![address.to_owned()],
        (None, Some(cluster)) => session.members(cluster)?,
        (None, None) => {
            let info = session.clusters()?;
            info.broker_addr_table.values().flat_map(|data| data.broker_addrs.values().cloned()).collect()
        }
    };
    if brokers.is_empty() {
        bail!("no broker is registered with the name server");
    }
    for address in brokers {
        session.client.done(&address, Command::request(code))?;
        session.out.push("brokers", address);
    }
    session.out.line("success");
    Ok(())
}
