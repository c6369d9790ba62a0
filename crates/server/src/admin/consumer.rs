//! Who is connected, and how far consumers are.

use super::client::is_refusal;
use super::flags::Args;
use super::out::{Cell, Table};
use super::running::Running;
use super::session::{Session, read};
use super::time;
use anyhow::{Context, Result, anyhow, bail};
use kerolox_wire::body::{
    Connection, ConsumeStats, ConsumeType, ConsumerConnection, ConsumerRunningInfo, MessageQueue,
    ProducerConnection, ProducerTableInfo,
};
use kerolox_wire::header::{ConsumerGroup, GetConsumeStats, GetConsumerRunningInfo, ProducerGroup};
use kerolox_wire::names::{RETRY_PREFIX, retry_topic};
use kerolox_wire::{Command, RequestCode, ResponseCode};
use serde_json::json;
use std::collections::BTreeMap;

/// The name of a version of RocketMQ, by its ordinal in Apache's `MQVersion`; exact from 3.9 on.
pub(super) fn version(ordinal: i32) -> String {
    /// The ordinal of what would be 3.9.0-SNAPSHOT were the table regular from there on: a snapshot and a release of each patch.
    const REGULAR_FROM: i32 = 192;
    if ordinal >= 612 {
        return "HIGHER_VERSION".to_owned();
    }
    let since = (ordinal - REGULAR_FROM).max(0);
    let patches = 90 + since / 2;
    let snapshot = if since % 2 == 0 { "_SNAPSHOT" } else { "" };
    format!("V{}_{}_{}{snapshot}", 3 + patches / 100, patches / 10 % 10, patches % 10)
}

/// The brokers to ask about a consumer group: where its retry topic is, or else another topic.
fn brokers_of_group(session: &mut Session, group: &str, topics: &[&str]) -> Result<Vec<(String, String)>> {
    let retry = retry_topic(group);
    for topic in [retry.as_str()].iter().chain(topics) {
        if let Some(route) = session.route_if_any(topic)? {
            return Ok(super::session::addressed(&route.broker_datas));
        }
    }
    Err(anyhow!(
        "no broker knows a consumer group {group}: it has no retry topic, for no member was ever connected"
    ))
}

/// Who of a group is connected, asked of one broker or of all that have the group.
///
/// # Errors
/// No member is.
pub(super) fn connected(
    session: &mut Session,
    group: &str,
    broker: Option<&str>,
) -> Result<ConsumerConnection> {
    let brokers = match broker {
        Some(address) => vec![(String::new(), address.to_owned())],
        None => brokers_of_group(session, group, &[])?,
    };
    let mut last = anyhow!("no member of the consumer group {group} is connected");
    for (_, address) in brokers {
        let header = ConsumerGroup { consumer_group: group, ..ConsumerGroup::default() };
        let request = Command::request(RequestCode::GET_CONSUMER_CONNECTION_LIST).with_header(&header);
        match session.body::<ConsumerConnection>(&address, request) {
            Ok(found) if !found.connection_set.is_empty() => return Ok(found),
            Ok(_) => {}
            Err(why) => last = why,
        }
    }
    Err(last)
}

/// How far a group is, with all topics or with one; on every broker that has the group.
pub(super) fn stats(
    session: &mut Session,
    group: &str,
    topic: Option<&str>,
    route_topic: Option<&str>,
) -> Result<ConsumeStats> {
    let topics: Vec<&str> = topic.into_iter().chain(route_topic).collect();
    let mut all = ConsumeStats::default();
    for (_, address) in brokers_of_group(session, group, &topics)? {
        let header = GetConsumeStats { consumer_group: group, topic, ..GetConsumeStats::default() };
        let request = Command::request(RequestCode::GET_CONSUME_STATS).with_header(&header);
        let part: ConsumeStats = session.body(&address, request)?;
        all.consume_tps += part.consume_tps;
        all.offset_table.extend(part.offset_table);
    }
    all.offset_table.sort_by(|(a, _), (b, _)| order(a).cmp(&order(b)));
    Ok(all)
}

/// As Apache sorts queues: by topic first.
fn order(queue: &MessageQueue) -> (&str, &str, i32) {
    (&queue.topic, &queue.broker_name, queue.queue_id)
}

/// How many messages the group is behind.
pub(super) fn behind(stats: &ConsumeStats) -> i64 {
    stats.offset_table.iter().map(|(_, offsets)| offsets.broker_offset - offsets.consumer_offset).sum()
}

static QUEUES: Table = Table {
    name: "queues",
    head: "%-64s  %-32s  %-4s  %-20s  %-20s  %-20s %-20s%s",
    row: "%-64.64s  %-32.32s  %-4d  %-20d  %-20d  %-20d %-20d %s",
    columns: &[
        ("#Topic", "topic"),
        ("#Broker Name", "brokerName"),
        ("#QID", "queueId"),
        ("#Broker Offset", "brokerOffset"),
        ("#Consumer Offset", "consumerOffset"),
        ("#Diff", "diff"),
        ("#Inflight", "inflight"),
        ("#LastTime", "lastTimestamp"),
    ],
};

static QUEUES_OF_CLIENTS: Table = Table {
    name: "queues",
    head: "%-64s  %-32s  %-4s  %-20s  %-20s  %-20s %-20s %-20s%s",
    row: "%-64.64s  %-32.32s  %-4d  %-20d  %-20d  %-20s %-20d %-20d %s",
    columns: &[
        ("#Topic", "topic"),
        ("#Broker Name", "brokerName"),
        ("#QID", "queueId"),
        ("#Broker Offset", "brokerOffset"),
        ("#Consumer Offset", "consumerOffset"),
        ("#Client IP", "clientIp"),
        ("#Diff", "diff"),
        ("#Inflight", "inflight"),
        ("#LastTime", "lastTimestamp"),
    ],
};

pub(super) fn progress(args: &Args, session: &mut Session) -> Result<()> {
    match args.get("groupName") {
        Some(group) => progress_of(args, session, group),
        None => progress_of_all(session),
    }
}

fn progress_of(args: &Args, session: &mut Session, group: &str) -> Result<()> {
    let stats = stats(session, group, args.get("topicName"), args.get("cluster"))?;
    if stats.offset_table.is_empty() {
        // Says why, if the reason is that nobody is there.
        connected(session, group, None)?;
        bail!("the consumer group {group} has no offsets: it has consumed nothing, or it is broadcasting");
    }
    let clients = if args.is_true("showClientIP") { Some(owners(session, group)?) } else { None };
    session.out.head(if clients.is_some() { &QUEUES_OF_CLIENTS } else { &QUEUES });
    let (mut behind, mut in_flight) = (0, 0);
    for (queue, offsets) in &stats.offset_table {
        let diff = offsets.broker_offset - offsets.consumer_offset;
        let flying = offsets.pull_offset - offsets.consumer_offset;
        behind += diff;
        in_flight += flying;
        let at = offsets.last_timestamp;
        let place: [Cell; 5] = [
            (&queue.topic).into(),
            (&queue.broker_name).into(),
            queue.queue_id.into(),
            offsets.broker_offset.into(),
            offsets.consumer_offset.into(),
        ];
        let last = Cell::shown(if at == 0 { "N/A".to_owned() } else { time::to_second(at) }, at);
        let [a, b, c, d, e] = place;
        match &clients {
            Some(clients) => {
                let client = clients.get(queue).map_or("N/A", String::as_str);
                let row = [a, b, c, d, e, client.into(), diff.into(), flying.into(), last];
                session.out.row(&QUEUES_OF_CLIENTS, row);
            }
            None => session.out.row(&QUEUES, [a, b, c, d, e, diff.into(), flying.into(), last]),
        }
    }
    session.out.line(format!(
        "\nConsume TPS: {:.2}\nConsume Diff Total: {behind}\nConsume Inflight Total: {in_flight}",
        stats.consume_tps
    ));
    session.out.set("consumeTps", stats.consume_tps);
    session.out.set("diffTotal", behind);
    session.out.set("inflightTotal", in_flight);
    Ok(())
}

/// The host of the client that has each queue.
fn owners(session: &mut Session, group: &str) -> Result<BTreeMap<MessageQueue, String>> {
    let mut owners = BTreeMap::new();
    for client in connected(session, group, None)?.connection_set {
        let info = running_info(session, group, &client.client_id, false)?;
        let host = client.client_id.split('@').next().unwrap_or_default().to_owned();
        let queues = info.mq_table.keys().chain(info.mq_pop_table.keys());
        for queue in queues.filter_map(|key| kerolox_wire::body::from_json(key.as_bytes()).ok()) {
            owners.insert(queue, host.clone());
        }
    }
    Ok(owners)
}

static GROUPS: Table = Table {
    name: "groups",
    head: "%-64s  %-6s  %-24s %-5s  %-14s  %-7s  %s",
    row: "%-64.64s  %-6d  %-24s %-5s  %-14s  %-7d  %d",
    columns: &[
        ("#Group", "group"),
        ("#Count", "count"),
        ("#Version", "version"),
        ("#Type", "type"),
        ("#Model", "model"),
        ("#TPS", "tps"),
        ("#Diff Total", "diffTotal"),
    ],
};

fn progress_of_all(session: &mut Session) -> Result<()> {
    let names = super::topic::names(session)?;
    session.out.head(&GROUPS);
    for group in names.iter().filter_map(|name| name.strip_prefix(RETRY_PREFIX)) {
        // A group that has consumed nothing, or of which nobody is there, is listed with what is known.
        let stats = stats(session, group, None, None).unwrap_or_default();
        let members = connected(session, group, None).unwrap_or_default();
        let count = members.connection_set.len();
        let oldest = members.connection_set.iter().map(|client| client.version).min();
        let passive = members.consume_type == Some(ConsumeType::Passively);
        let (kind, model) = match members.consume_type {
            _ if count == 0 => ("", ""),
            Some(ConsumeType::Actively) => ("PULL", ""),
            _ => ("PUSH", members.message_model.filter(|_| passive).map_or("", |model| model.name())),
        };
        let row = [
            group.into(),
            count.into(),
            oldest.map_or("OFFLINE".to_owned(), version).into(),
            kind.into(),
            model.into(),
            (stats.consume_tps as i64).into(),
            behind(&stats).into(),
        ];
        session.out.row(&GROUPS, row);
    }
    Ok(())
}

static CLIENTS: Table = Table {
    name: "clients",
    head: "%-36s %-22s %-10s %s",
    row: "%-36s %-22s %-10s %s",
    columns: &[
        ("#ClientId", "clientId"),
        ("#ClientAddr", "clientAddr"),
        ("#Language", "language"),
        ("#Version", "version"),
    ],
};

static SUBSCRIPTIONS: Table = Table {
    name: "subscriptions",
    head: "%-20s %s",
    row: "%-20s %s",
    columns: &[("#Topic", "topic"), ("#SubExpression", "subExpression")],
};

pub(super) fn connections(args: &Args, session: &mut Session) -> Result<()> {
    let group = args.need("consumerGroup")?;
    let found = connected(session, group, args.get("brokerAddr"))?;
    session.out.head(&CLIENTS);
    for client in &found.connection_set {
        let Connection { client_id, client_addr, language, version: ordinal } = client;
        let row = [client_id.into(), client_addr.into(), language.into(), version(*ordinal).into()];
        session.out.row(&CLIENTS, row);
    }
    session.out.line("\nBelow is subscription:");
    session.out.head(&SUBSCRIPTIONS);
    for data in found.subscription_table.values() {
        session.out.row(&SUBSCRIPTIONS, [(&data.topic).into(), (&data.sub_string).into()]);
    }
    let settings = [
        ("ConsumeType", "consumeType", found.consume_type.map(|v| v.name())),
        ("MessageModel", "messageModel", found.message_model.map(|v| v.name())),
        ("ConsumeFromWhere", "consumeFromWhere", found.consume_from_where.map(|v| v.name())),
    ];
    session.out.line("");
    for (title, name, value) in settings {
        session.out.line(format!("{title}: {}", value.unwrap_or("null")));
        session.out.set(name, json!(value));
    }
    Ok(())
}

static PRODUCERS: Table = Table {
    name: "clients",
    head: "",
    row: "%04d  %-32s %-22s %-8s %s",
    columns: &[("", "index"), ("", "clientId"), ("", "clientAddr"), ("", "language"), ("", "version")],
};

pub(super) fn producer_connections(args: &Args, session: &mut Session) -> Result<()> {
    let group = args.need("producerGroup")?;
    let mut found = ProducerConnection::default();
    let mut refused = None;
    for (_, address) in session.brokers_of(args.need("topic")?)? {
        let header = ProducerGroup { producer_group: group, ..ProducerGroup::default() };
        let request = Command::request(RequestCode::GET_PRODUCER_CONNECTION_LIST).with_header(&header);
        match session.body::<ProducerConnection>(&address, request) {
            Ok(part) => found.connection_set.extend(part.connection_set),
            Err(why) => refused = Some(why),
        }
    }
    found.connection_set.sort_by(|a, b| a.client_id.cmp(&b.client_id));
    found.connection_set.dedup_by(|a, b| a.client_id == b.client_id);
    if found.connection_set.is_empty() {
        return Err(
            refused.unwrap_or_else(|| anyhow!("no member of the producer group {group} is connected"))
        );
    }
    session.out.head(&PRODUCERS);
    for (i, client) in found.connection_set.iter().enumerate() {
        let row = [
            (i + 1).into(),
            (&client.client_id).into(),
            (&client.client_addr).into(),
            (&client.language).into(),
            version(client.version).into(),
        ];
        session.out.row(&PRODUCERS, row);
    }
    Ok(())
}

pub(super) fn producers(args: &Args, session: &mut Session) -> Result<()> {
    let request = Command::request(RequestCode::GET_ALL_PRODUCER_INFO);
    let all: ProducerTableInfo = session.body(args.need("broker")?, request)?;
    for (group, producers) in &all.data {
        if producers.is_empty() {
            session.out.line(format!("producer group ({group}) instances are empty"));
        }
        for producer in producers {
            session.out.line(format!(
                "producer group ({group}) instance : clientId={},remoteIP={}, language={}, version={}, \
                 lastUpdateTimestamp={}",
                producer.client_id,
                producer.remote_ip,
                producer.language,
                producer.version,
                producer.last_update_timestamp
            ));
        }
    }
    session.out.set("groups", json!(all.data));
    Ok(())
}

/// What a client tells of itself, through a broker that it is connected to.
pub(super) fn running_info(
    session: &mut Session,
    group: &str,
    client_id: &str,
    jstack: bool,
) -> Result<ConsumerRunningInfo> {
    let mut last = anyhow!("no broker knows the consumer group {group}");
    for (_, address) in brokers_of_group(session, group, &[])? {
        let header = GetConsumerRunningInfo {
            consumer_group: group,
            client_id,
            jstack_enable: Some(jstack),
            ..GetConsumerRunningInfo::default()
        };
        let request = Command::request(RequestCode::GET_CONSUMER_RUNNING_INFO).with_header(&header);
        match session.client.done(&address, request) {
            Ok(answer) => return read(&answer),
            Err(why) => last = why,
        }
    }
    Err(last)
}

static RUNNING: Table = Table {
    name: "clients",
    head: "%-10s %-40s %-20s %s",
    row: "%-10d %-40s %-20s %s",
    columns: &[
        ("#Index", "index"),
        ("#ClientId", "clientId"),
        ("#Version", "version"),
        ("#ConsumerRunningInfoFile", "file"),
    ],
};

pub(super) fn status(args: &Args, session: &mut Session) -> Result<()> {
    let (group, jstack) = (args.need("consumerGroup")?, args.has("jstack"));
    let members = connected(session, group, args.get("brokerAddr"))?;
    if let Some(client_id) = args.get("clientId") {
        let running = Running(running_info(session, group, client_id, jstack)?);
        session.out.text(&running.describe());
        session.out.set("client", running.json());
        return Ok(());
    }
    let folder = time::now_ms().to_string();
    session.out.head(&RUNNING);
    let (mut all, mut failed) = (BTreeMap::new(), None);
    for client in members.connection_set {
        let running = match running_info(session, group, &client.client_id, jstack) {
            Ok(info) => Running(info),
            Err(why) if is_refusal(&why, ResponseCode::CONSUMER_NOT_ONLINE) => continue,
            Err(why) => {
                failed.get_or_insert(why);
                continue;
            }
        };
        let file = write(&folder, &client.client_id, &running.describe())?;
        let row =
            [(all.len() + 1).into(), (&client.client_id).into(), version(client.version).into(), file.into()];
        session.out.row(&RUNNING, row);
        session.out.push("details", running.json());
        all.insert(client.client_id, running);
    }
    if !all.is_empty() {
        let same = super::running::same_subscriptions(&all, time::now_ms());
        session.out.set("sameSubscription", same);
        session.out.line(if same {
            "\n\nSame subscription in the same group of consumer\n\nRebalance OK"
        } else {
            "\n\nWARN: Different subscription in the same group of consumer!!!"
        });
        for (client_id, running) in all.iter().filter(|_| same) {
            for trouble in running.troubles(client_id, time::now_ms()) {
                session.out.line(&trouble);
                session.out.push("troubles", trouble);
            }
        }
    }
    failed.map_or(Ok(()), Err)
}

/// Writes what a client said to a file in a folder below the current one.
fn write(folder: &str, client_id: &str, text: &str) -> Result<String> {
    // An id that a client made up must not lead elsewhere.
    let clean = |c: char| if c.is_ascii_alphanumeric() || "@.#_-:".contains(c) { c } else { '_' };
    let name: String = client_id.chars().map(clean).collect();
    let path = format!("{folder}/{}", if name.trim_matches('.').is_empty() { "client" } else { &name });
    std::fs::create_dir_all(folder)
        .and_then(|()| std::fs::write(&path, text))
        .with_context(|| format!("cannot write {path}"))?;
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_have_names() {
        for (ordinal, name) in [
            (513, "V5_5_0"),
            (512, "V5_5_0_SNAPSHOT"),
            (477, "V5_3_2"),
            (401, "V4_9_4"),
            (355, "V4_7_1"),
            (300, "V4_4_4_SNAPSHOT"),
            (612, "HIGHER_VERSION"),
            (i32::MAX, "HIGHER_VERSION"),
        ] {
            assert_eq!(version(ordinal), name, "{ordinal}");
        }
    }
}
