//! What is known of brokers, written to JSON files.

use super::flags::{Args, Usage};
use super::namesrv::properties;
use super::out::pretty;
use super::session::{Session, master};
use super::time;
use anyhow::{Context, Result};
use kerolox_wire::body::{
    BrokerData, BrokerStatsData, KvTable, SubscriptionGroupConfig, SubscriptionGroupWrapper, TopicConfig,
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
fn topics(session: &mut Session, address: &str, special: bool) -> Result<TopicConfigSerializeWrapper> {
    let request = Command::request(RequestCode::GET_ALL_TOPIC_CONFIG);
    let mut all: TopicConfigSerializeWrapper = session.body(address, request)?;
    let request = Command::request(RequestCode::GET_SYSTEM_TOPIC_LIST_FROM_BROKER);
    let system: BTreeSet<_> = session.body::<TopicList>(address, request)?.topic_list.into_iter().collect();
    let plain = |name: &str| special || super::topic::is_plain(name);
    all.topic_config_table.retain(|name, _| !is_system_topic(name) && !system.contains(name) && plain(name));
    Ok(all)
}

/// The groups of a broker that users made.
fn groups(session: &mut Session, address: &str) -> Result<SubscriptionGroupWrapper> {
    let request = Command::request(RequestCode::GET_ALL_SUBSCRIPTIONGROUP_CONFIG);
    let mut all: SubscriptionGroupWrapper = session.body(address, request)?;
    all.subscription_group_table
        .retain(|name, _| !SYSTEM_GROUPS.contains(&name.as_str()) && !name.starts_with(SYSTEM_GROUP_PREFIX));
    Ok(all)
}

pub(super) fn metadata(args: &Args, session: &mut Session) -> Result<()> {
    let (only_topics, only_groups) = (args.has("topic"), args.has("subscriptionGroup"));
    let name = match (only_topics, only_groups) {
        (true, _) => "topic.json",
        (_, true) => "subscriptionGroup.json",
        _ => "metadata.json",
    };
    let special = args.has("specialTopic");
    let document = match (args.get("brokerAddr"), args.get("clusterName")) {
        (Some(broker), _) if only_topics => json!(topics(session, broker, special)?),
        (Some(broker), _) if only_groups => json!(groups(session, broker)?),
        (Some(_), _) => {
            let why = "of one broker (-b), either topics (-t) or groups (-g) are exported";
            return Err(Usage(why.to_owned()).into());
        }
        (None, Some(cluster)) => {
            metadata_of_cluster(session, cluster, special, [!only_groups, !only_topics])?
        }
        (None, None) => return Err(Usage("missing: one of -b, -c".to_owned()).into()),
    };
    write(args, session, name, document)
}

/// Topics and groups of all masters of a cluster, as if they were one broker's: the numbers of queues are added up.
fn metadata_of_cluster(
    session: &mut Session,
    cluster: &str,
    special: bool,
    [with_topics, with_groups]: [bool; 2],
) -> Result<Value> {
    let (mut all_topics, mut all_groups) = (BTreeMap::new(), BTreeMap::new());
    for address in session.masters(cluster)? {
        for (name, mut config) in topics(session, &address, special)?.topic_config_table {
            if let Some(TopicConfig { read_queue_nums, write_queue_nums, .. }) = all_topics.get(&name) {
                config.read_queue_nums += read_queue_nums;
                config.write_queue_nums += write_queue_nums;
            }
            all_topics.insert(name, config);
        }
        for (name, mut config) in groups(session, &address)?.subscription_group_table {
            if let Some(SubscriptionGroupConfig { retry_queue_nums, .. }) = all_groups.get(&name) {
                config.retry_queue_nums += retry_queue_nums;
            }
            all_groups.insert(name, config);
        }
    }
    let mut document = Map::new();
    document.insert("exportTime".to_owned(), json!(time::now_ms()));
    if with_topics {
        document.insert("topicConfigTable".to_owned(), json!(all_topics));
    }
    if with_groups {
        document.insert("subscriptionGroupTable".to_owned(), json!(all_groups));
    }
    Ok(Value::Object(document))
}

/// Lets brokers move what pop consumers hold from where older versions kept it; where there is nothing to move they say so.
pub(super) fn pop_records(args: &Args, session: &mut Session) -> Result<()> {
    let brokers = match (args.get("brokerAddr"), args.get("clusterName")) {
        (Some(address), _) => {
            let config = config(session, address)?;
            let name = config.into_iter().find(|(key, _)| key == "brokerName").map(|(_, name)| name);
            vec![(name.unwrap_or_default(), address.to_owned())]
        }
        (None, Some(cluster)) => {
            let all = session.cluster(cluster)?;
            let named = |BrokerData { broker_name, broker_addrs, .. }| {
                broker_addrs.into_values().map(move |address| (String::clone(&broker_name), address))
            };
            all.into_iter().flat_map(named).collect()
        }
        (None, None) => return Err(Usage("missing: one of -b, -c".to_owned()).into()),
    };
    let dry = args.is_true("dryRun");
    for (name, address) in brokers {
        if !dry {
            session.client.done(&address, Command::request(RequestCode::POP_ROLLBACK))?;
        }
        session
            .out
            .line(format!("Export broker records, brokerName={name}, brokerAddr={address}, dryRun={dry}"));
        session.out.push("brokers", json!({"brokerName": name, "brokerAddr": address, "dryRun": dry}));
    }
    Ok(())
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
        let topics = topics(session, address, false)?.topic_config_table;
        let groups = groups(session, address)?.subscription_group_table;
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
        // Apache's brokers have one thread for callbacks of each processor.
        let config = config(session, address)?;
        let threads =
            config.iter().find(|(key, _)| key == "clientCallbackExecutorThreads").map(|(_, value)| value);
        let env = json!({"cpuNum": threads, "totalMemKBytes": text("totalMemKBytes")});
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
