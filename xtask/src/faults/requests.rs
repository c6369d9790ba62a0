//! Requests that several workers make.

use crate::ledger::client::Client;
use anyhow::Result;
use kerolox_wire::body::{SubscriptionGroupConfig, to_json};
use kerolox_wire::header::{CreateTopic, SendMessage};
use kerolox_wire::{Command, RequestCode};
use std::time::{SystemTime, UNIX_EPOCH};

pub(super) const PRODUCER_GROUP: &str = "faults-producers";

/// Of a message: its keys, its unique id, and `more`.
pub(super) fn properties(producer: u32, number: u64, more: &str) -> String {
    format!("KEYS\u{1}{producer}-{number}\u{2}UNIQ_KEY\u{1}{producer}-{number}\u{2}WAIT\u{1}true\u{2}{more}")
}

pub(super) fn send(topic: &str, queue_id: i32, properties: &str, body: Vec<u8>) -> Command {
    send_with(topic, queue_id, properties, body, 0)
}

/// With bits of `sysFlag`.
pub(super) fn send_with(
    topic: &str,
    queue_id: i32,
    properties: &str,
    body: Vec<u8>,
    sys_flag: i32,
) -> Command {
    let header = SendMessage {
        producer_group: PRODUCER_GROUP,
        topic,
        default_topic: "TBW102",
        default_topic_queue_nums: 4,
        queue_id,
        sys_flag,
        born_timestamp: now_ms(),
        properties: Some(properties),
        ..SendMessage::default()
    };
    let mut command = Command::request(RequestCode::SEND_MESSAGE_V2).with_body(body);
    header.encode_v2(&mut command.fields);
    command
}

pub(super) fn create_topic(client: &mut Client, topic: &str, queues: u32) -> Result<()> {
    client.ask(topic_request(topic, queues as i32)).map(drop)
}

/// Creates a topic or changes it.
pub(super) fn topic_request(topic: &str, queues: i32) -> Command {
    let header = CreateTopic {
        topic,
        default_topic: "TBW102",
        read_queue_nums: queues,
        write_queue_nums: queues,
        perm: 6,
        topic_filter_type: "SINGLE_TAG",
        ..CreateTopic::default()
    };
    Command::request(RequestCode::UPDATE_AND_CREATE_TOPIC).with_header(&header)
}

/// Creates a group or changes it.
pub(super) fn group_request(group: &str, retry_max_times: i32) -> Command {
    let config = SubscriptionGroupConfig {
        group_name: group.to_owned(),
        retry_max_times,
        ..SubscriptionGroupConfig::default()
    };
    Command::request(RequestCode::UPDATE_AND_CREATE_SUBSCRIPTIONGROUP).with_body(to_json(&config))
}

pub(super) fn now_ms() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as i64)
}
