//! Lite topics, their groups and clients.

use super::flags::{Args, Usage};
use super::out::{Cell, Table};
use super::session::{Session, addressed};
use super::time;
use anyhow::Result;
use kerolox_wire::body::{
    GetBrokerLiteInfoResponseBody, GetLiteClientInfoResponseBody, GetLiteGroupInfoResponseBody,
    GetLiteTopicInfoResponseBody, GetParentTopicInfoResponseBody, LiteLagInfo,
};
use kerolox_wire::header::{
    GetLiteClientInfo, GetLiteGroupInfo, GetLiteTopicInfo, Topic, TriggerLiteDispatch,
};
use kerolox_wire::{Command, RequestCode};
use serde_json::json;

/// Lite topics that a client's answer names at most.
const NAMED_MAX: i32 = 1_000;

static BROKERS: Table = Table {
    name: "brokers",
    head: "%-30s %-17s %-10s %-14s %-20s %-17s %-15s %-18s %-15s",
    row: "%-30s %-17s %-10s %-14s %-20s %-17s %-15s %-18s %-15s",
    columns: &[
        ("#Broker", "broker"),
        ("#Store Type", "storeType"),
        ("#Max LMQ", "maxLmqNum"),
        ("#Current LMQ", "currentLmqNum"),
        ("#SubscriptionCount", "liteSubscriptionCount"),
        ("#OrderInfoCount", "orderInfoCount"),
        ("#CQTableSize", "cqTableSize"),
        ("#OffsetTableSize", "offsetTableSize"),
        ("#eventMapSize", "eventMapSize"),
    ],
};

pub(super) fn brokers(args: &Args, session: &mut Session) -> Result<()> {
    let brokers = match (args.get("brokerAddr"), args.get("cluster")) {
        (Some(address), _) => vec![address.to_owned()],
        (None, Some(cluster)) => session.masters(cluster)?,
        (None, None) => return Err(Usage("missing: one of --brokerAddr, --cluster".to_owned()).into()),
    };
    session.out.head(&BROKERS);
    for address in brokers {
        let request = Command::request(RequestCode::GET_BROKER_LITE_INFO);
        let info: GetBrokerLiteInfoResponseBody = session.body(&address, request)?;
        let row = [
            Cell::from(&address),
            info.store_type.into(),
            info.max_lmq_num.into(),
            info.current_lmq_num.into(),
            info.lite_subscription_count.into(),
            info.order_info_count.into(),
            info.cq_table_size.into(),
            info.offset_table_size.into(),
            info.event_map_size.into(),
        ];
        session.out.row(&BROKERS, row);
        if args.has("showDetail") {
            let (topics, groups) = (json!(info.topic_meta), json!(info.group_meta));
            session.out.line(format!("Topic Meta: {topics}\nGroup Meta: {groups}\n"));
            session.out.push("details", json!({"broker": address, "topicMeta": topics, "groupMeta": groups}));
        }
    }
    Ok(())
}

static PARENTS: Table = Table {
    name: "brokers",
    head: "%-50s %-8s %-14s %-14s %-100s ",
    row: "%-50s %-8s %-14s %-14s %-100s ",
    columns: &[
        ("#Broker Name", "brokerName"),
        ("#TTL", "ttl"),
        ("#Lite Count", "liteTopicCount"),
        ("#LMQ NUM", "lmqNum"),
        ("#GROUPS", "groups"),
    ],
};

pub(super) fn parent(args: &Args, session: &mut Session) -> Result<()> {
    let topic = args.need("parentTopic")?;
    session.out.line(format!("Parent Topic Info: [{topic}]"));
    session.out.head(&PARENTS);
    for (name, address) in session.brokers_of(topic)? {
        let header = Topic { topic, ..Default::default() };
        let request = Command::request(RequestCode::GET_PARENT_TOPIC_INFO).with_header(&header);
        let info: GetParentTopicInfoResponseBody = session.body(&address, request)?;
        let groups = info.groups.unwrap_or_default();
        let shown = groups.iter().map(String::as_str).collect::<Vec<_>>().join(", ");
        let row = [
            Cell::from(name),
            info.ttl.into(),
            info.lite_topic_count.into(),
            info.lmq_num.into(),
            Cell::shown(format!("[{shown}]"), json!(groups)),
        ];
        session.out.row(&PARENTS, row);
    }
    Ok(())
}

static TOPICS: Table = Table {
    name: "brokers",
    head: "%-50s %-14s %-14s %-30s %-12s %-18s ",
    row: "%-50s %-14s %-14s %-30s %-12s %-18s ",
    columns: &[
        ("#Broker Name", "brokerName"),
        ("#MinOffset", "minOffset"),
        ("#MaxOffset", "maxOffset"),
        ("#LastUpdate", "lastUpdateTimestamp"),
        ("#Sharding", "shardingToBroker"),
        ("#SubClientCount", "subscribers"),
    ],
};

/// A time, or a dash where there was none.
fn at(ms: i64) -> Cell {
    Cell::shown(if ms > 0 { time::to_second(ms) } else { "-".to_owned() }, ms)
}

pub(super) fn topic(args: &Args, session: &mut Session) -> Result<()> {
    let (parent_topic, lite_topic) = (args.need("parentTopic")?, args.need("liteTopic")?);
    session.out.line(format!("Lite Topic Info: [{parent_topic}] [{lite_topic}]"));
    session.out.head(&TOPICS);
    for (name, address) in session.brokers_of(parent_topic)? {
        let header = GetLiteTopicInfo { parent_topic, lite_topic, ..Default::default() };
        let request = Command::request(RequestCode::GET_LITE_TOPIC_INFO).with_header(&header);
        let info: GetLiteTopicInfoResponseBody = session.body(&address, request)?;
        let offset = &info.topic_offset;
        let row = [
            Cell::from(name),
            offset.min_offset.into(),
            offset.max_offset.into(),
            at(offset.last_update_timestamp),
            info.sharding_to_broker.into(),
            info.subscriber.len().into(),
        ];
        session.out.row(&TOPICS, row);
        if args.has("showClientId") {
            for client in &info.subscriber {
                session.out.line(format!("{}@{}", client.client_id, client.group));
            }
            session.out.push("clients", json!(info.subscriber));
        }
    }
    Ok(())
}

static CLIENTS: Table = Table {
    name: "brokers",
    head: "%-30s %-20s %-30s %-30s ",
    row: "%-30s %-20s %-30s %-30s ",
    columns: &[
        ("#Broker", "brokerName"),
        ("#LiteTopicCount", "liteTopicCount"),
        ("#LastAccessTime", "lastAccessTime"),
        ("#LastConsumeTime", "lastConsumeTime"),
    ],
};

pub(super) fn client(args: &Args, session: &mut Session) -> Result<()> {
    let (parent_topic, group, client_id) =
        (args.need("parentTopic")?, args.need("group")?, args.need("clientId")?);
    session.out.line(format!("Lite Client Info: [{parent_topic}] [{group}] [{client_id}]"));
    session.out.head(&CLIENTS);
    for (name, address) in session.brokers_of(parent_topic)? {
        let max_count = Some(NAMED_MAX);
        let header = GetLiteClientInfo { parent_topic, group, client_id, max_count, ..Default::default() };
        let request = Command::request(RequestCode::GET_LITE_CLIENT_INFO).with_header(&header);
        let info: GetLiteClientInfoResponseBody = session.body(&address, request)?;
        let known = info.lite_topic_count >= 0;
        let count = if known { info.lite_topic_count.to_string() } else { "N/A".to_owned() };
        let when = |ms| if known { at(ms) } else { Cell::shown("N/A", ms) };
        let row = [
            Cell::from(name),
            Cell::shown(count, info.lite_topic_count),
            when(info.last_access_time),
            when(info.last_consume_time),
        ];
        session.out.row(&CLIENTS, row);
        if args.has("showDetail") {
            let topics = json!(info.lite_topic_set.unwrap_or_default());
            session.out.line(format!("Lite Topics: {topics}\n"));
            session.out.push("liteTopics", topics);
        }
    }
    Ok(())
}

static GROUP_TOPIC: Table = Table {
    name: "brokers",
    head: "%-50s %-16s %-16s %-16s %-30s",
    row: "%-50s %-16s %-16s %-16s %-30s",
    columns: &[
        ("#Broker Name", "brokerName"),
        ("#BrokerOffset", "brokerOffset"),
        ("#ConsumeOffset", "consumerOffset"),
        ("#LagCount", "lagCount"),
        ("#LastUpdate", "lastTimestamp"),
    ],
};

static BY_COUNT: Table = lags("byLagCount");
static BY_TIME: Table = lags("byLagTime");

const fn lags(name: &'static str) -> Table {
    Table {
        name,
        head: "%-6s %-40s %-12s %-30s",
        row: "%-6s %-40s %-12s %-30s",
        columns: &[
            ("NO", "no"),
            ("Lite Topic", "liteTopic"),
            ("Lag Count", "lagCount"),
            ("UnconsumedTimestamp", "earliestUnconsumedTimestamp"),
        ],
    }
}

pub(super) fn group(args: &Args, session: &mut Session) -> Result<()> {
    let (parent_topic, group) = (args.need("parentTopic")?, args.need("group")?);
    let (lite_topic, top_k) = (args.get("liteTopic"), Some(args.number("topK")?.unwrap_or(20)));
    session.out.line(format!("Lite Group Info: [{parent_topic}] [{group}]"));
    let mut total = 0;
    let (mut by_count, mut by_time) = (Vec::new(), Vec::new());
    for (name, address) in session.brokers_of(parent_topic)? {
        let header = GetLiteGroupInfo { group, lite_topic, top_k, ..Default::default() };
        let request = Command::request(RequestCode::GET_LITE_GROUP_INFO).with_header(&header);
        let info: GetLiteGroupInfoResponseBody = session.body(&address, request)?;
        total += info.total_lag_count.max(0);
        by_count.extend(info.lag_count_top_k.into_iter().flatten());
        by_time.extend(info.lag_timestamp_top_k.into_iter().flatten());
        if let Some(offset) = info.lite_topic_offset_wrapper.filter(|_| lite_topic.is_some()) {
            session.out.head(&GROUP_TOPIC);
            let row = [
                Cell::from(name),
                offset.broker_offset.into(),
                offset.consumer_offset.into(),
                (offset.broker_offset - offset.consumer_offset).into(),
                at(offset.last_timestamp),
            ];
            session.out.row(&GROUP_TOPIC, row);
        }
    }
    if lite_topic.is_some() {
        return Ok(());
    }
    session.out.line(format!("Total Lag Count: {total}"));
    session.out.set("totalLagCount", total);
    by_count.sort_by_key(|lag| std::cmp::Reverse(lag.lag_count));
    by_time.sort_by_key(|lag| lag.earliest_unconsumed_timestamp);
    session.out.line("------TopK by lag count-----");
    list(session, &BY_COUNT, by_count);
    session.out.line("\n------TopK by lag time------");
    list(session, &BY_TIME, by_time);
    Ok(())
}

fn list(session: &mut Session, table: &Table, lags: Vec<LiteLagInfo>) {
    session.out.head(table);
    for (no, lag) in (1_usize..).zip(lags) {
        let row =
            [no.into(), lag.lite_topic.into(), lag.lag_count.into(), at(lag.earliest_unconsumed_timestamp)];
        session.out.row(table, row);
    }
}

pub(super) fn trigger(args: &Args, session: &mut Session) -> Result<()> {
    let (parent_topic, group) = (args.need("parentTopic")?, args.need("group")?);
    let client_id = args.get("clientId");
    session.out.line(format!("Group And Topic Info: [{group}] [{parent_topic}]\n"));
    let route = session.route(parent_topic)?;
    let wanted = args.get("brokerName");
    for (name, address) in addressed(&route.broker_datas) {
        if wanted.is_some_and(|wanted| wanted != name) {
            continue;
        }
        let header = TriggerLiteDispatch { group, client_id, ..Default::default() };
        let request = Command::request(RequestCode::TRIGGER_LITE_DISPATCH).with_header(&header);
        session.client.done(&address, request)?;
        session.out.line(super::out::format("%-30s %-12s", &[&name, "dispatched"]));
        session.out.push("brokers", name);
    }
    Ok(())
}
