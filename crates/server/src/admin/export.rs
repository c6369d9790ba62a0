//! What is known of brokers, written to JSON files.

use super::flags::{Args, Usage};
use super::namesrv::properties;
use super::out::pretty;
use super::session::{Session, master};
use super::time;
use anyhow::{Context, Result};
use kerolox_wire::body::{
    BrokerStatsData, KvTable, SubscriptionGroupConfig, SubscriptionGroupWrapper, TopicConfig,
    TopicConfigSerializeWrapper, TopicList,
};
use kerolox_wire::header::ViewBrokerStatsData;
use kerolox_wire::names::{SCHEDULE_TOPIC, TRANS_HALF_TOPIC, is_system_topic};
use kerolox_wire::{Command, RequestCode};
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, BTreeSet};

const FOLDER: &str = "/tmp/rocketmq/export";
/// Groups that are not users'.
const SYSTEM_GROUPS: &[&str] = &[
    "CID_ONS-HTTP-PROXY",
    "CID_ONSAPI_OWNER",
    "CID_ONSAPI_PERMISSION",
    "CID_ONSAPI_PULL",
    "CID_SYS_RMQ_TRANS",
    "CLIENT_INNER_PRODUCER",
    "DEFAULT_CONSUMER",
    "DEFAULT_PRODUCER",
    "FILTERSRV_CONSUMER",
    "SCHEDULE_CONSUMER",
    "SELF_TEST_C_GROUP",
    "SELF_TEST_P_GROUP",
    "TOOLS_CONSUMER",
    "__MONITOR_CONSUMER",
];
/// What the names of other such groups begin with.
const SYSTEM_GROUP_PREFIX: &str = "CID_RMQ_SYS_";
/// The keys of a broker's configuration that are exported.
const KEYS: &[&str] = &[
    "brokerClusterName",
    "brokerId",
    "brokerName",
    "brokerRole",
    "fileReservedTime",
    "filterServerNums",
    "flushDiskType",
    "maxMessageSize",
    "messageDelayLevel",
    "msgTraceTopicName",
    "slaveReadEnable",
    "traceOn",
    "traceTopicEnable",
    "useTLS",
    "autoCreateTopicEnable",
    "autoCreateSubscriptionGroup",
];

/// Writes a document to a file of the folder that was named.
fn write(args: &Args, session: &mut Session, name: &str, document: Value) -> Result<()> {
    let folder = args.get("filePath").unwrap_or(FOLDER);
    let path = format!("{folder}/{name}");
    std::fs::create_dir_all(folder)
        .and_then(|()| std::fs::write(&path, pretty(&document)))
        .with_context(|| format!("cannot write {path}"))?;
    session.out.line(format!("export {path} success"));
    session.out.set("path", path);
    session.out.set("document", document);
    Ok(())
}

/// The topics of a broker that users made; retry and dead-letter topics only if they are wanted.
fn topics(session: &mut Session, address: &str, special: bool) -> Result<BTreeMap<String, TopicConfig>> {
    let request = Command::request(RequestCode::GET_ALL_TOPIC_CONFIG);
    let mut all = session.body::<TopicConfigSerializeWrapper>(address, request)?.topic_config_table;
    let request = Command::request(RequestCode::GET_SYSTEM_TOPIC_LIST_FROM_BROKER);
    let system: BTreeSet<_> = session.body::<TopicList>(address, request)?.topic_list.into_iter().collect();
    let plain = |name: &str| special || super::topic::is_plain(name);
    all.retain(|name, _| !is_system_topic(name) && !system.contains(name) && plain(name));
    Ok(all)
}

/// The groups of a broker that users made.
fn groups(session: &mut Session, address: &str) -> Result<BTreeMap<String, SubscriptionGroupConfig>> {
    let request = Command::request(RequestCode::GET_ALL_SUBSCRIPTIONGROUP_CONFIG);
    let mut all = session.body::<SubscriptionGroupWrapper>(address, request)?.subscription_group_table;
    all.retain(|name, _| !SYSTEM_GROUPS.contains(&name.as_str()) && !name.starts_with(SYSTEM_GROUP_PREFIX));
    Ok(all)
}

pub(super) fn metadata(args: &Args, session: &mut Session) -> Result<()> {
    let (only_topics, only_groups) = (args.has("topic"), args.has("subscriptionGroup"));
    if args.has("brokerAddr") && !only_topics && !only_groups {
        return Err(
            Usage("of one broker (-b), either topics (-t) or groups (-g) are exported".to_owned()).into()
        );
    }
    let (mut all_topics, mut all_groups) = (BTreeMap::new(), BTreeMap::new());
    for address in session.meant(args, "brokerAddr", "clusterName")? {
        if !only_groups {
            for (name, mut config) in topics(session, &address, args.has("specialTopic"))? {
                if let Some(TopicConfig { read_queue_nums, write_queue_nums, .. }) = all_topics.get(&name) {
                    config.read_queue_nums += read_queue_nums;
                    config.write_queue_nums += write_queue_nums;
                }
                all_topics.insert(name, config);
            }
        }
        if !only_topics {
            for (name, mut config) in groups(session, &address)? {
                if let Some(SubscriptionGroupConfig { retry_queue_nums, .. }) = all_groups.get(&name) {
                    config.retry_queue_nums += retry_queue_nums;
                }
                all_groups.insert(name, config);
            }
        }
    }
    let mut document = Map::new();
    document.insert("exportTime".to_owned(), json!(time::now_ms()));
    if !only_groups {
        document.insert("topicConfigTable".to_owned(), json!(all_topics));
    }
    if !only_topics {
        document.insert("subscriptionGroupTable".to_owned(), json!(all_groups));
    }
    let name = match (only_topics, only_groups) {
        (true, _) => "topic.json",
        (_, true) => "subscriptionGroup.json",
        _ => "metadata.json",
    };
    write(args, session, name, Value::Object(document))
}

fn config(session: &mut Session, address: &str) -> Result<Vec<(String, String)>> {
    let answer = session.client.done(address, Command::request(RequestCode::GET_BROKER_CONFIG))?;
    Ok(properties(&answer.body))
}

pub(super) fn configs(args: &Args, session: &mut Session) -> Result<()> {
    let brokers = session.cluster(args.need("clusterName")?)?;
    let (mut all, mut masters, mut replicas) = (Map::new(), 0, 0);
    for data in &brokers {
        let Some(address) = master(data) else { continue };
        masters += 1;
        replicas += data.broker_addrs.len() - 1;
        let mut config = config(session, address)?;
        config.retain(|(key, _)| KEYS.contains(&key.as_str()));
        all.insert(data.broker_name.clone(), Value::Object(super::namesrv::object(config)));
    }
    let scale = json!({
        "namesrvSize": session.namesrvs.len(), "masterBrokerSize": masters, "slaveBrokerSize": replicas,
    });
    write(args, session, "configs.json", json!({"brokerConfigs": all, "clusterScale": scale}))
}

/// The rate of the last minute and the total of the last day of a topic that the system keeps.
fn system(session: &mut Session, address: &str, topic: &str) -> (f64, i64) {
    let header = ViewBrokerStatsData {
        stats_name: "TOPIC_PUT_NUMS",
        stats_key: topic,
        ..ViewBrokerStatsData::default()
    };
    let request = Command::request(RequestCode::VIEW_BROKER_STATS_DATA).with_header(&header);
    // A broker that has not counted anything yet refuses.
    let data: BrokerStatsData = session.body(address, request).unwrap_or_default();
    let sums = [data.stats_day.sum, data.stats_hour.sum, data.stats_minute.sum];
    let sum = sums.into_iter().find(|sum| *sum != 0).unwrap_or_default();
    (data.stats_minute.tps, i64::try_from(sum).unwrap_or(i64::MAX))
}

pub(super) fn metrics(args: &Args, session: &mut Session) -> Result<()> {
    let (mut report, mut rates, mut totals) = (Map::new(), [0.0; 4], [0; 4]);
    for data in session.cluster(args.need("clusterName")?)? {
        let Some(address) = master(&data) else { continue };
        let table =
            session.body::<KvTable>(address, Command::request(RequestCode::GET_BROKER_RUNTIME_INFO))?.table;
        let text = |key: &str| table.get(key).map(String::as_str);
        let rate = |key: &str| -> f64 {
            text(key).and_then(|t| t.split(' ').next()?.parse().ok()).unwrap_or_default()
        };
        let count = |key: &str| -> i64 { text(key).and_then(|t| t.parse().ok()).unwrap_or_default() };
        let (half_rate, half_total) = system(session, address, TRANS_HALF_TOPIC);
        let (delayed_rate, delayed_total) = system(session, address, SCHEDULE_TOPIC);
        let own_rates = [rate("putTps"), rate("getTransferredTps"), half_rate, delayed_rate];
        let own_totals = [
            count("msgPutTotalTodayMorning") - count("msgPutTotalYesterdayMorning"),
            count("msgGetTotalTodayMorning") - count("msgGetTotalYesterdayMorning"),
            half_total,
            delayed_total,
        ];
        rates.iter_mut().zip(own_rates).for_each(|(sum, own)| *sum += own);
        totals.iter_mut().zip(own_totals).for_each(|(sum, own)| *sum += own);
        let (topics, groups) = (topics(session, address, false)?, groups(session, address)?);
        let [normal_in, normal_out, half, delayed] = own_rates;
        let [normal_in_day, normal_out_day, half_day, delayed_day] = own_totals;
        let quota = json!({
            "diskRatio": {"commitLogDiskRatio": text("commitLogDiskRatio"), "consumeQueueDiskRatio": text("consumeQueueDiskRatio")},
            "tps": {"normalInTps": normal_in, "normalOutTps": normal_out, "transInTps": half, "scheduleInTps": delayed},
            "oneDayNum": {"normalOneDayInNum": normal_in_day, "normalOneDayOutNum": normal_out_day, "transOneDayInNum": half_day, "scheduleOneDayInNum": delayed_day},
            "messageAverageSize": text("putMessageAverageSize"),
            "topicSize": topics.len(),
            "groupSize": groups.len(),
        });
        let env = json!({"totalMemKBytes": text("totalMemKBytes")});
        let version = json!({"rocketmqVersion": text("brokerVersionDesc"), "clientInfo": clients(session, groups.keys())});
        report.insert(
            data.broker_name.clone(),
            json!({"runtimeEnv": env, "runtimeQuota": quota, "runtimeVersion": version}),
        );
    }
    let [a, b, c, d] = rates;
    let [e, f, g, h] = totals;
    let total = json!({
        "totalTps": {"totalNormalInTps": a, "totalNormalOutTps": b, "totalTransInTps": c, "totalScheduleInTps": d},
        "totalOneDayNum": {"normalOneDayInNum": e, "normalOneDayOutNum": f, "transOneDayInNum": g, "scheduleOneDayInNum": h},
    });
    write(args, session, "metrics.json", json!({"evaluateReport": report, "totalData": total}))
}

/// Language and version of every client that consumes.
fn clients<'a>(session: &mut Session, groups: impl Iterator<Item = &'a String>) -> BTreeSet<String> {
    let mut all = BTreeSet::new();
    for group in groups {
        // Of a group of which nobody is there nothing is told.
        let members = super::consumer::connected(session, group, None).unwrap_or_default();
        all.extend(
            members
                .connection_set
                .iter()
                .map(|client| format!("{}%{}", client.language, super::consumer::version(client.version))),
        );
    }
    all
}
