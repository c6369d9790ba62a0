//! Consumer groups and their settings.

use super::flags::{Args, Usage};
use super::session::Session;
use super::topic::{attributes, braced, delete_in, read_list};
use anyhow::{Result, bail};
use kerolox_wire::body::{
    self, GroupRetryPolicy, SubscriptionGroupConfig, SubscriptionGroupList, SubscriptionGroupWrapper,
};
use kerolox_wire::header::DeleteSubscriptionGroup;
use kerolox_wire::names::{DLQ_PREFIX, RETRY_PREFIX};
use kerolox_wire::{Command, RequestCode};
use serde_json::json;

pub(super) fn update(args: &Args, session: &mut Session) -> Result<()> {
    let mut config = SubscriptionGroupConfig {
        group_name: args.need("groupName")?.to_owned(),
        consume_enable: args.boolean("consumeEnable").unwrap_or(true),
        consume_from_min_enable: args.is_true("consumeFromMinEnable"),
        consume_broadcast_enable: args.is_true("consumeBroadcastEnable"),
        consume_message_orderly: args.is_true("consumeMessageOrderly"),
        attributes: attributes(args.get("attributes"))?,
        notify_consumer_ids_changed_enable: args.boolean("notifyConsumerIdsChanged").unwrap_or(true),
        ..SubscriptionGroupConfig::default()
    };
    if let Some(queues) = args.number("retryQueueNums")? {
        config.retry_queue_nums = queues;
    }
    if let Some(times) = args.number("retryMaxTimes")? {
        config.retry_max_times = times;
    }
    if let Some(id) = args.number("brokerId")? {
        config.broker_id = id;
    }
    if let Some(id) = args.number("whichBrokerWhenConsumeSlowly")? {
        config.which_broker_when_consume_slowly = id;
    }
    if let Some(policy) = args.get("groupRetryPolicy") {
        config.group_retry_policy =
            body::from_json(policy.as_bytes()).map_err(|why| Usage(format!("-p {policy}: {why}")))?;
    }
    for broker in session.meant(args, "brokerAddr", "clusterName")? {
        let request = Command::request(RequestCode::UPDATE_AND_CREATE_SUBSCRIPTIONGROUP)
            .with_body(body::to_json(&config));
        session.client.done(&broker, request)?;
        session.out.line(format!("create subscription group to {broker} success."));
        session.out.push("brokers", broker);
    }
    session.out.line(describe(&config));
    session.out.set("groupConfig", json!(config));
    Ok(())
}

/// Name and value of each setting, in the order and the words of Apache's class.
fn settings(config: &SubscriptionGroupConfig) -> [(&'static str, String); 15] {
    let subscriptions = config.subscription_data_set.as_ref().map(|set| json!(set).to_string());
    [
        ("groupName", config.group_name.clone()),
        ("consumeEnable", config.consume_enable.to_string()),
        ("consumeFromMinEnable", config.consume_from_min_enable.to_string()),
        ("consumeBroadcastEnable", config.consume_broadcast_enable.to_string()),
        ("consumeMessageOrderly", config.consume_message_orderly.to_string()),
        ("retryQueueNums", config.retry_queue_nums.to_string()),
        ("retryMaxTimes", config.retry_max_times.to_string()),
        ("groupRetryPolicy", describe_policy(&config.group_retry_policy)),
        ("brokerId", config.broker_id.to_string()),
        ("whichBrokerWhenConsumeSlowly", config.which_broker_when_consume_slowly.to_string()),
        ("notifyConsumerIdsChangedEnable", config.notify_consumer_ids_changed_enable.to_string()),
        ("groupSysFlag", config.group_sys_flag.to_string()),
        ("consumeTimeoutMinute", config.consume_timeout_minute.to_string()),
        ("subscriptionDataSet", subscriptions.unwrap_or_default()),
        ("attributes", braced(&config.attributes)),
    ]
}

fn describe(config: &SubscriptionGroupConfig) -> String {
    let all: Vec<_> = settings(config)
        .into_iter()
        .map(|(name, value)| format!("{name}={}", if value.is_empty() { "null".to_owned() } else { value }))
        .collect();
    format!("SubscriptionGroupConfig{{{}}}", all.join(", "))
}

fn describe_policy(policy: &GroupRetryPolicy) -> String {
    let exponential = policy.exponential_retry_policy.as_ref().map(|p| {
        format!("ExponentialRetryPolicy{{initial={}, max={}, multiplier={}}}", p.initial, p.max, p.multiplier)
    });
    let customized = policy.customized_retry_policy.as_ref().map(|p| {
        let next: Vec<_> = p.next.iter().map(i64::to_string).collect();
        format!("CustomizedRetryPolicy{{next=[{}]}}", next.join(", "))
    });
    let or_null = |text: Option<String>| text.unwrap_or_else(|| "null".to_owned());
    format!(
        "GroupRetryPolicy{{type={}, exponentialRetryPolicy={}, customizedRetryPolicy={}}}",
        policy.kind,
        or_null(exponential),
        or_null(customized)
    )
}

pub(super) fn update_list(args: &Args, session: &mut Session) -> Result<()> {
    let list: Vec<SubscriptionGroupConfig> = read_list(args.need("filename")?)?;
    let what = if args.has("brokerAddr") { "group" } else { "subscription group" };
    for broker in session.meant(args, "brokerAddr", "clusterName")? {
        let body = body::to_json(&SubscriptionGroupList { group_config_list: list.clone() });
        let request = Command::request(RequestCode::UPDATE_AND_CREATE_SUBSCRIPTIONGROUP_LIST).with_body(body);
        session.client.done(&broker, request)?;
        session.out.line(format!(
            "submit batch of {what} config to {broker} success, please check the result later."
        ));
        session.out.push("brokers", broker);
    }
    session.out.set("groupConfigs", json!(list));
    Ok(())
}

pub(super) fn delete(args: &Args, session: &mut Session) -> Result<()> {
    let group = args.need("groupName")?;
    let header = DeleteSubscriptionGroup {
        group_name: group,
        clean_offset: Some(args.is_true("removeOffset")),
        ..DeleteSubscriptionGroup::default()
    };
    let cluster = args.get("clusterName").filter(|_| !args.has("brokerAddr"));
    for broker in session.meant(args, "brokerAddr", "clusterName")? {
        let request = Command::request(RequestCode::DELETE_SUBSCRIPTIONGROUP).with_header(&header);
        session.client.done(&broker, request)?;
        let place = cluster.map(|cluster| format!(" in cluster [{cluster}]")).unwrap_or_default();
        session
            .out
            .line(format!("delete subscription group [{group}] from broker [{broker}]{place} success."));
        session.out.push("brokers", broker);
    }
    if let Some(cluster) = cluster {
        for prefix in [RETRY_PREFIX, DLQ_PREFIX] {
            delete_in(session, &format!("{prefix}{group}"), cluster)?;
        }
    }
    Ok(())
}

pub(super) fn config(args: &Args, session: &mut Session) -> Result<()> {
    let group = args.need("groupName")?;
    let info = session.clusters()?;
    let mut found = false;
    for (name, data) in &info.broker_addr_table {
        let Some(address) = data.broker_addrs.values().next() else { continue };
        // Asked for one group, a broker would create it.
        let request = Command::request(RequestCode::GET_ALL_SUBSCRIPTIONGROUP_CONFIG);
        let mut all: SubscriptionGroupWrapper = session.body(address, request)?;
        let Some(config) = all.subscription_group_table.remove(group) else { continue };
        found = true;
        let mut of_it = info.cluster_addr_table.iter().filter(|(_, names)| names.contains(name));
        let cluster = of_it.next().map_or("null", |(cluster, _)| cluster.as_str());
        let rule = "=============================";
        session.out.line(format!("{rule}{cluster}:{name}{rule}"));
        for (name, value) in settings(&config) {
            session.out.line(super::out::format("%-40s=  %s", &[name, &value]));
        }
        session.out.push("brokers", json!({"cluster": cluster, "brokerName": name, "groupConfig": config}));
    }
    if !found {
        bail!("no broker knows a consumer group {group} (updateSubGroup creates one)");
    }
    Ok(())
}

pub(super) fn set_mode(args: &Args, session: &mut Session) -> Result<()> {
    let (topic, group, mode) = (args.need("topicName")?, args.need("groupName")?, args.need("mode")?);
    if !["PULL", "POP"].contains(&mode) {
        return Err(Usage(format!("-m {mode:?} is neither PULL nor POP")).into());
    }
    let share: i32 = args.number("popShareQueueNum")?.unwrap_or(0);
    let body = json!({"consumerGroup": group, "mode": mode, "popShareQueueNum": share, "topic": topic});
    for broker in session.meant(args, "brokerAddr", "clusterName")? {
        let request = Command::request(RequestCode::SET_MESSAGE_REQUEST_MODE).with_body(body::to_json(&body));
        session.client.done(&broker, request)?;
        session.out.line(format!("set consume mode to {broker} success."));
        session.out.push("brokers", broker);
    }
    session.out.line(format!("topic[{topic}] group[{group}] consume mode[{mode}] popShareQueueNum[{share}]"));
    session.out.set("mode", body);
    Ok(())
}
