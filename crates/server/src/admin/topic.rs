//! Topics.

use super::flags::{Args, Usage};
use super::out::{Cell, Table, pretty};
use super::session::{Session, addressed, master, read};
use super::time;
use anyhow::{Context, Result, bail};
use kerolox_wire::body::{
    self, CreateTopicListRequestBody, GroupList, MessageQueue, QueueData, TopicConfig, TopicList,
    TopicRouteData, TopicStatsTable, perm,
};
use kerolox_wire::header::{
    CreateTopic, DeleteTopic, DeleteTopicInNamesrv, GetKvConfigResponse, KvConfigKey, PutKvConfig, Topic,
};
use kerolox_wire::names::{DLQ_PREFIX, RETRY_PREFIX};
use kerolox_wire::{Command, RequestCode, ResponseCode};
use serde_json::json;
use std::collections::BTreeMap;

/// The namespace of the name servers' table in which orders of topics are.
const ORDER_NAMESPACE: &str = "ORDER_TOPIC_CONFIG";
/// Queues of a new topic.
const QUEUES_DEFAULT: i32 = 8;
/// Bits of `topicSysFlag`.
const UNIT: i32 = 1;
const UNIT_SUBSCRIBERS: i32 = 2;

pub(super) fn update(args: &Args, session: &mut Session) -> Result<()> {
    let config = TopicConfig {
        topic_name: args.need("topic")?.to_owned(),
        read_queue_nums: args.number("readQueueNums")?.unwrap_or(QUEUES_DEFAULT),
        write_queue_nums: args.number("writeQueueNums")?.unwrap_or(QUEUES_DEFAULT),
        perm: args.number("perm")?.unwrap_or(perm::READ | perm::WRITE),
        topic_sys_flag: if args.is_true("unit") { UNIT } else { 0 }
            | if args.is_true("hasUnitSub") { UNIT_SUBSCRIBERS } else { 0 },
        order: args.is_true("order"),
        attributes: attributes(args.get("attributes"))?,
        ..TopicConfig::default()
    };
    if let Some(cluster) = args.get("clusterName") {
        let brokers = session.cluster(cluster)?;
        for address in session.masters(cluster)? {
            create(session, &address, &config)?;
            created(session, &address);
        }
        if config.order {
            let queues = config.write_queue_nums;
            let all: Vec<_> = brokers.iter().map(|b| format!("{}:{queues}", b.broker_name)).collect();
            let order = all.join(";");
            put_order(session, &config.topic_name, &order)?;
            session.out.line(format!("set cluster orderConf. isOrder=true, orderConf=[{order}]"));
            session.out.set("orderConf", order);
        }
    } else {
        let address = args.need("brokerAddr")?;
        create(session, address, &config)?;
        if config.order {
            let order = order_with(session, address, &config)?;
            session.out.line(format!("set broker orderConf. isOrder=true, orderConf=[{order}]"));
            session.out.set("orderConf", order);
        }
        created(session, address);
    }
    session.out.line(describe(&config));
    session.out.set("topicConfig", json!(config));
    Ok(())
}

fn created(session: &mut Session, address: &str) {
    session.out.line(format!("create topic to {address} success."));
    session.out.push("brokers", address);
}

/// `+name=value,-name`, kept as written: names keep their sign.
pub(super) fn attributes(text: Option<&str>) -> Result<BTreeMap<String, String>, Usage> {
    let mut all = BTreeMap::new();
    for part in text.unwrap_or_default().split(',').map(str::trim).filter(|part| !part.is_empty()) {
        let (name, value) = part.split_once('=').unwrap_or((part, ""));
        let sound = name.len() > 1
            && (name.starts_with('+') && part.contains('=') || name.starts_with('-') && !part.contains('='));
        if !sound {
            return Err(Usage(format!("attribute {part:?} is neither +name=value nor -name")));
        }
        all.insert(name.to_owned(), value.to_owned());
    }
    Ok(all)
}

fn create(session: &mut Session, broker: &str, config: &TopicConfig) -> Result<()> {
    let write = |(name, value): (&String, &String)| match value.as_str() {
        "" => name.clone(),
        value => format!("{name}={value}"),
    };
    let attributes: Vec<_> = config.attributes.iter().map(write).collect();
    let attributes = attributes.join(",");
    let header = CreateTopic {
        topic: &config.topic_name,
        default_topic: "TBW102",
        read_queue_nums: config.read_queue_nums,
        write_queue_nums: config.write_queue_nums,
        perm: config.perm,
        topic_filter_type: &config.topic_filter_type,
        topic_sys_flag: Some(config.topic_sys_flag),
        order: config.order,
        attributes: (!attributes.is_empty()).then_some(&attributes),
        ..CreateTopic::default()
    };
    let request = Command::request(RequestCode::UPDATE_AND_CREATE_TOPIC).with_header(&header);
    session.client.done(broker, request).map(drop)
}

/// Sets one broker's part of a topic's order; the broker's own part alone is given back.
fn order_with(session: &mut Session, address: &str, config: &TopicConfig) -> Result<String> {
    let info = session.clusters()?;
    let broker =
        info.broker_addr_table.values().find(|data| data.broker_addrs.values().any(|a| a == address));
    let name = &broker.with_context(|| format!("the name servers know no broker at {address}"))?.broker_name;
    let own = format!("{name}:{}", config.write_queue_nums);
    let old = get_order(session, &config.topic_name)?.unwrap_or_default();
    let others = old.split(';').filter(|part| part.split(':').next() != Some(name) && !part.is_empty());
    let all: Vec<_> = others.chain([own.as_str()]).collect();
    put_order(session, &config.topic_name, &all.join(";"))?;
    Ok(own)
}

fn put_order(session: &mut Session, topic: &str, order: &str) -> Result<()> {
    let header =
        PutKvConfig { namespace: ORDER_NAMESPACE, key: topic, value: order, ..PutKvConfig::default() };
    session.every_namesrv(&Command::request(RequestCode::PUT_KV_CONFIG).with_header(&header))
}

fn get_order(session: &mut Session, topic: &str) -> Result<Option<String>> {
    let header = KvConfigKey { namespace: ORDER_NAMESPACE, key: topic, ..KvConfigKey::default() };
    let request = Command::request(RequestCode::GET_KV_CONFIG).with_header(&header);
    match session.namesrv(&request) {
        Err(why) if super::client::is_refusal(&why, ResponseCode::QUERY_NOT_FOUND) => Ok(None),
        answer => Ok(answer?.header::<GetKvConfigResponse<'_>>()?.value.map(str::to_owned)),
    }
}

/// As Apache writes a topic's settings.
fn describe(config: &TopicConfig) -> String {
    let bit = |bit: i32, letter: char| if config.perm & bit == 0 { '-' } else { letter };
    let perm: String =
        [bit(perm::READ, 'R'), bit(perm::WRITE, 'W'), bit(perm::INHERIT, 'X')].into_iter().collect();
    format!(
        "TopicConfig [topicName={}, readQueueNums={}, writeQueueNums={}, perm={perm}, topicFilterType={}, \
         topicSysFlag={}, order={}, attributes={}]",
        config.topic_name,
        config.read_queue_nums,
        config.write_queue_nums,
        config.topic_filter_type,
        config.topic_sys_flag,
        config.order,
        braced(&config.attributes),
    )
}

/// A map as Java writes it: `{a=b, c=d}`.
pub(super) fn braced<K: std::fmt::Display, V: std::fmt::Display>(map: &BTreeMap<K, V>) -> String {
    let pairs: Vec<_> = map.iter().map(|(name, value)| format!("{name}={value}")).collect();
    format!("{{{}}}", pairs.join(", "))
}

pub(super) fn update_list(args: &Args, session: &mut Session) -> Result<()> {
    let list: Vec<TopicConfig> = read_list(args.need("filename")?)?;
    for broker in session.meant(args, "brokerAddr", "clusterName")? {
        let body = body::to_json(&CreateTopicListRequestBody { topic_config_list: list.clone() });
        let request = Command::request(RequestCode::UPDATE_AND_CREATE_TOPIC_LIST).with_body(body);
        session.client.done(&broker, request)?;
        session.out.line(format!(
            "submit batch of topic config to {broker} success, please check the result later."
        ));
        session.out.push("brokers", broker);
    }
    session.out.set("topicConfigs", json!(list));
    Ok(())
}

/// The elements of a JSON file.
pub(super) fn read_list<T: serde::de::DeserializeOwned>(path: &str) -> Result<Vec<T>> {
    let text = std::fs::read(path).with_context(|| format!("cannot read {path}"))?;
    let list: Vec<T> = body::from_json(&text).with_context(|| format!("{path} is not a list of settings"))?;
    if list.is_empty() {
        bail!("{path} is an empty list");
    }
    Ok(list)
}

pub(super) fn delete(args: &Args, session: &mut Session) -> Result<()> {
    let (topic, cluster) = (args.need("topic")?, args.need("clusterName")?);
    delete_in(session, topic, cluster)?;
    session.out.line(format!("delete topic [{topic}] from cluster [{cluster}] success."));
    session.out.line(format!("delete topic [{topic}] from NameServer success."));
    session.out.set("topic", topic);
    session.out.set("cluster", cluster);
    Ok(())
}

/// Deletes a topic from the masters of a cluster and from all name servers.
pub(super) fn delete_in(session: &mut Session, topic: &str, cluster: &str) -> Result<()> {
    for broker in session.masters(cluster)? {
        let header = DeleteTopic { topic, ..DeleteTopic::default() };
        let request = Command::request(RequestCode::DELETE_TOPIC_IN_BROKER).with_header(&header);
        session.client.done(&broker, request)?;
    }
    let header =
        DeleteTopicInNamesrv { topic, cluster_name: Some(cluster), ..DeleteTopicInNamesrv::default() };
    session.every_namesrv(&Command::request(RequestCode::DELETE_TOPIC_IN_NAMESRV).with_header(&header))
}

pub(super) fn update_perm(args: &Args, session: &mut Session) -> Result<()> {
    let (topic, perm): (_, i32) = (args.need("topic")?, args.number("perm")?.unwrap_or_default());
    let route = session.route(topic)?;
    let first = route.queue_datas.first().with_context(|| format!("no broker has queues of {topic}"))?;
    let mut changed = Vec::new();
    if let Some(address) = args.get("brokerAddr") {
        let is_master = |data: &&body::BrokerData| master(data) == Some(address);
        let name = route.broker_datas.iter().find(is_master).map(|data| data.broker_name.as_str());
        let name = name.with_context(|| format!("{address} is no master that has the topic {topic}"))?;
        let old = route.queue_datas.iter().find(|data| data.broker_name == name).unwrap_or(first);
        if old.perm == perm {
            session.out.line("new perm equals to the old one!");
            session.out.set("changed", json!([]));
            return Ok(());
        }
        changed.push((address.to_owned(), old));
    } else {
        changed.extend(session.meant(args, "brokerAddr", "clusterName")?.into_iter().map(|a| (a, first)));
    }
    let alone = args.has("brokerAddr");
    for (address, old) in changed {
        let config = TopicConfig {
            topic_name: topic.to_owned(),
            read_queue_nums: old.read_queue_nums,
            write_queue_nums: old.write_queue_nums,
            topic_sys_flag: old.topic_sys_flag,
            perm,
            ..TopicConfig::default()
        };
        create(session, &address, &config)?;
        session.out.line(format!("update topic perm from {} to {perm} in {address} success.", old.perm));
        if alone {
            session.out.line(format!("{}.", describe(&config)));
        }
        session.out.push("changed", json!({"broker": address, "from": old.perm, "to": perm}));
    }
    Ok(())
}

static ROUTES: Table = Table {
    name: "brokers",
    head: "%-45s %-32s %-50s %-10s %-11s %-5s",
    row: "%-45s %-32s %-50s %-10s %-11s %-5s",
    columns: &[
        ("#ClusterName", "cluster"),
        ("#BrokerName", "brokerName"),
        ("#BrokerAddrs", "brokerAddrs"),
        ("#ReadQueue", "readQueueNums"),
        ("#WriteQueue", "writeQueueNums"),
        ("#Perm", "perm"),
    ],
};
const RULE_WIDTH: usize = 158;

pub(super) fn route(args: &Args, session: &mut Session) -> Result<()> {
    let mut route = session.route(args.need("topic")?)?;
    if !args.has("list") {
        session.out.line(integer_keys(&pretty(&json!(route))));
        if let serde_json::Value::Object(members) = json!(route) {
            members.into_iter().for_each(|(name, value)| session.out.set(&name, value));
        }
        return Ok(());
    }
    session.out.head(&ROUTES);
    route.broker_datas.sort_by(|a, b| a.broker_name.cmp(&b.broker_name));
    let queues: BTreeMap<&str, &QueueData> =
        route.queue_datas.iter().map(|data| (data.broker_name.as_str(), data)).collect();
    let (mut reads, mut writes) = (0, 0);
    for data in &route.broker_datas {
        let Some(queue) = queues.get(data.broker_name.as_str()) else { continue };
        reads += queue.read_queue_nums;
        writes += queue.write_queue_nums;
        let addresses = Cell::shown(braced(&data.broker_addrs), json!(data.broker_addrs));
        let row = [
            (&data.cluster).into(),
            (&data.broker_name).into(),
            addresses,
            queue.read_queue_nums.into(),
            queue.write_queue_nums.into(),
            queue.perm.into(),
        ];
        session.out.row(&ROUTES, row);
    }
    session.out.line("-".repeat(RULE_WIDTH));
    let (count, reads_text, writes_text) = (queues.len().to_string(), reads.to_string(), writes.to_string());
    session.out.line(super::out::format(ROUTES.row, &["Total:", &count, "", &reads_text, &writes_text, ""]));
    session
        .out
        .set("total", json!({"brokers": queues.len(), "readQueueNums": reads, "writeQueueNums": writes}));
    Ok(())
}

/// Takes the quotes off keys that are integers, as Apache's JSON library writes them.
fn integer_keys(json: &str) -> String {
    let line = |line: &str| {
        let Some((indent, rest)) = line.split_once('"') else { return line.to_owned() };
        match rest.split_once("\":") {
            Some((key, value)) if indent.trim().is_empty() && key.parse::<i64>().is_ok() => {
                format!("{indent}{key}:{value}")
            }
            _ => line.to_owned(),
        }
    };
    json.lines().map(line).collect::<Vec<_>>().join("\n")
}

static QUEUES: Table = Table {
    name: "queues",
    head: "%-32s  %-4s  %-20s  %-20s    %s",
    row: "%-32.32s  %-4d  %-20d  %-20d    %s",
    columns: &[
        ("#Broker Name", "brokerName"),
        ("#QID", "queueId"),
        ("#Min Offset", "minOffset"),
        ("#Max Offset", "maxOffset"),
        ("#Last Updated", "lastUpdateTimestamp"),
    ],
};

pub(super) fn status(args: &Args, session: &mut Session) -> Result<()> {
    let topic = args.need("topic")?;
    let mut all = TopicStatsTable::default();
    for (_, address) in session.brokers_of(args.get("cluster").unwrap_or(topic))? {
        let header = Topic { topic, ..Topic::default() };
        let request = Command::request(RequestCode::GET_TOPIC_STATS_INFO).with_header(&header);
        let part: TopicStatsTable = session.body(&address, request)?;
        all.offset_table.extend(part.offset_table);
        all.topic_put_tps += part.topic_put_tps;
    }
    if all.offset_table.is_empty() {
        bail!("no broker knows offsets of the topic {topic}");
    }
    all.offset_table.sort_by(|(a, _), (b, _)| a.cmp(b));
    session.out.head(&QUEUES);
    for (queue, offsets) in &all.offset_table {
        let at = offsets.last_update_timestamp;
        let row = [
            (&queue.broker_name).into(),
            queue.queue_id.into(),
            offsets.min_offset.into(),
            offsets.max_offset.into(),
            Cell::shown(if at > 0 { time::to_millisecond(at) } else { String::new() }, at),
        ];
        session.out.row(&QUEUES, row);
    }
    session.out.line(format!("\nTopic Put TPS: {:?}", all.topic_put_tps));
    session.out.set("topicPutTps", all.topic_put_tps);
    Ok(())
}

/// The clusters that a broker with this route belongs to.
fn clusters_of(route: &TopicRouteData, info: &body::ClusterInfo) -> Vec<String> {
    let name = route.broker_datas.first().map(|data| &data.broker_name);
    let has = |names: &Vec<String>| name.is_some_and(|name| names.contains(name));
    info.cluster_addr_table.iter().filter(|(_, names)| has(names)).map(|(c, _)| c.clone()).collect()
}

pub(super) fn clusters(args: &Args, session: &mut Session) -> Result<()> {
    let info = session.clusters()?;
    let route = session.route(args.need("topic")?)?;
    let clusters = clusters_of(&route, &info);
    clusters.iter().for_each(|cluster| session.out.line(cluster));
    session.out.set("clusters", clusters);
    Ok(())
}

static TOPICS: Table = Table {
    name: "topics",
    head: "%-20s  %-48s  %-48s",
    row: "%-20.20s  %-64.64s  %-64.64s",
    columns: &[("#Cluster Name", "cluster"), ("#Topic", "topic"), ("#Consumer Group", "consumerGroup")],
};

/// The names of all topics, sorted.
pub(super) fn names(session: &mut Session) -> Result<Vec<String>> {
    let request = Command::request(RequestCode::GET_ALL_TOPIC_LIST_FROM_NAMESERVER);
    let mut list: TopicList = read(&session.namesrv(&request)?)?;
    list.topic_list.sort();
    Ok(list.topic_list)
}

/// Whether a topic is one that users made: not a retry or dead-letter topic.
pub(super) fn is_plain(topic: &str) -> bool {
    !topic.starts_with(RETRY_PREFIX) && !topic.starts_with(DLQ_PREFIX)
}

/// The groups that consume a topic, as the first of its brokers knows them.
pub(super) fn groups_of(session: &mut Session, topic: &str, route: &TopicRouteData) -> Result<Vec<String>> {
    let Some((_, address)) = addressed(&route.broker_datas).into_iter().next() else { return Ok(Vec::new()) };
    let header = Topic { topic, ..Topic::default() };
    let request = Command::request(RequestCode::QUERY_TOPIC_CONSUME_BY_WHO).with_header(&header);
    let mut list: GroupList = session.body(&address, request)?;
    list.group_list.sort();
    Ok(list.group_list)
}

pub(super) fn list(args: &Args, session: &mut Session) -> Result<()> {
    let names = names(session)?;
    if !args.has("clusterModel") {
        names.iter().for_each(|name| session.out.line(name));
        session.out.set("topics", names);
        return Ok(());
    }
    let info = session.clusters()?;
    session.out.head(&TOPICS);
    for topic in names.iter().filter(|topic| is_plain(topic)) {
        // A topic may go while the list is made.
        let Some(route) = session.route_if_any(topic)? else { continue };
        let cluster = clusters_of(&route, &info).into_iter().next().unwrap_or_default();
        let mut groups = groups_of(session, topic, &route)?;
        if groups.is_empty() {
            groups.push(String::new());
        }
        for group in groups {
            session.out.row(&TOPICS, [(&cluster).into(), topic.into(), group.into()]);
        }
    }
    Ok(())
}

pub(super) fn order_conf(args: &Args, session: &mut Session) -> Result<()> {
    let topic = args.need("topic")?;
    session.out.set("topic", topic);
    match args.need("method")? {
        "get" => {
            let order = get_order(session, topic)?;
            let order = order.with_context(|| format!("the topic {topic} has no order configuration"))?;
            session.out.line(format!("get orderConf success. topic=[{topic}], orderConf=[{order}] "));
            session.out.set("orderConf", order);
        }
        "put" => {
            let order = args.get("orderConf").filter(|order| !order.is_empty());
            let order = order.ok_or_else(|| Usage("missing: -v".to_owned()))?;
            put_order(session, topic, order)?;
            session.out.line(format!("update orderConf success. topic=[{topic}], orderConf=[{order}]"));
            session.out.set("orderConf", order);
        }
        "delete" => {
            let header = KvConfigKey { namespace: ORDER_NAMESPACE, key: topic, ..KvConfigKey::default() };
            session.every_namesrv(&Command::request(RequestCode::DELETE_KV_CONFIG).with_header(&header))?;
            session.out.line(format!("delete orderConf success. topic=[{topic}]"));
        }
        other => return Err(Usage(format!("-m {other:?} is neither put, get nor delete")).into()),
    }
    Ok(())
}

pub(super) fn allocate(args: &Args, session: &mut Session) -> Result<()> {
    let topic = args.need("topic")?;
    let consumers: Vec<_> = args.need("ipList")?.split(',').map(str::trim).collect();
    let queues = readable(topic, &session.route(topic)?);
    let mut result = BTreeMap::new();
    for (i, consumer) in consumers.iter().enumerate() {
        let (from, count) = average(queues.len(), consumers.len(), i);
        let share: Vec<_> = queues.iter().skip(from).take(count).cloned().collect();
        result.insert(*consumer, share);
    }
    session.out.line(json!({ "result": result }).to_string());
    session.out.set("result", json!(result));
    Ok(())
}

/// The queues of a topic that consumers read, in order.
pub(super) fn readable(topic: &str, route: &TopicRouteData) -> Vec<MessageQueue> {
    let of = |data: &QueueData| {
        let broker_name = data.broker_name.clone();
        (0..data.read_queue_nums).map(move |queue_id| MessageQueue {
            broker_name: broker_name.clone(),
            queue_id,
            topic: topic.to_owned(),
        })
    };
    let mut queues: Vec<_> =
        route.queue_datas.iter().filter(|data| data.perm & perm::READ != 0).flat_map(of).collect();
    queues.sort();
    queues
}

/// Which of `queues` the consumer at `index` of `consumers` gets, as clients share them: even runs, longer ones first.
fn average(queues: usize, consumers: usize, index: usize) -> (usize, usize) {
    let (share, rest) = (queues / consumers.max(1), queues % consumers.max(1));
    (index * share + index.min(rest), share + usize::from(index < rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_keep_their_sign() {
        let read = attributes(Some("+a=b, -c")).unwrap();
        assert_eq!(braced(&read), "{+a=b, -c=}");
        for bad in ["a=b", "+a", "-a=b", "+", "=x"] {
            assert!(attributes(Some(bad)).is_err(), "{bad}");
        }
    }

    #[test]
    fn queues_are_shared_as_clients_share_them() {
        assert_eq!([0, 1, 2].map(|i| average(8, 3, i)), [(0, 3), (3, 3), (6, 2)]);
        assert_eq!([0, 1].map(|i| average(1, 2, i)), [(0, 1), (1, 0)]);
        assert_eq!(average(4, 0, 0), (0, 4));
    }

    #[test]
    fn integer_keys_lose_their_quotes() {
        assert_eq!(integer_keys("{\n\t\"0\":\"a\",\n\t\"x\":\"1\"\n}"), "{\n\t0:\"a\",\n\t\"x\":\"1\"\n}");
    }
}
