//! What a client tells of itself when an administrator asks.

use super::{SubscriptionData, nullable};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The answer to `GET_CONSUMER_RUNNING_INFO` 307. Tables of queues have a [`super::MessageQueue`] as JSON text for keys.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct ConsumerRunningInfo {
    pub jstack: Option<String>,
    #[serde(deserialize_with = "nullable")]
    pub mq_pop_table: BTreeMap<String, PopProcessQueueInfo>,
    #[serde(deserialize_with = "nullable")]
    pub mq_table: BTreeMap<String, ProcessQueueInfo>,
    /// Texts, numbers and booleans.
    #[serde(deserialize_with = "nullable")]
    pub properties: BTreeMap<String, serde_json::Value>,
    #[serde(deserialize_with = "nullable")]
    pub status_table: BTreeMap<String, ConsumeStatus>,
    #[serde(deserialize_with = "nullable")]
    pub subscription_set: Vec<SubscriptionData>,
    pub user_consumer_info: Option<BTreeMap<String, String>>,
}

/// What a client has of a queue. Times in milliseconds.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct ProcessQueueInfo {
    pub cached_msg_count: i32,
    pub cached_msg_max_offset: i64,
    pub cached_msg_min_offset: i64,
    #[serde(rename = "cachedMsgSizeInMiB")]
    pub cached_msg_size_in_mib: i32,
    pub commit_offset: i64,
    /// Spelled so.
    pub droped: bool,
    pub last_consume_timestamp: i64,
    pub last_lock_timestamp: i64,
    pub last_pull_timestamp: i64,
    pub locked: bool,
    pub transaction_msg_count: i32,
    pub transaction_msg_max_offset: i64,
    pub transaction_msg_min_offset: i64,
    pub try_unlock_times: i64,
}

/// What a client that pops has of a queue. Times in milliseconds.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct PopProcessQueueInfo {
    /// Spelled so.
    pub droped: bool,
    pub last_pop_timestamp: i64,
    pub wait_ack_count: i32,
}

/// A client's rates and times of a topic. Times in milliseconds, rates in a second.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct ConsumeStatus {
    #[serde(rename = "consumeFailedMsgs")]
    pub consume_failed_msgs: i64,
    #[serde(rename = "consumeFailedTPS")]
    pub consume_failed_tps: f64,
    #[serde(rename = "consumeOKTPS")]
    pub consume_ok_tps: f64,
    #[serde(rename = "consumeRT")]
    pub consume_rt: f64,
    #[serde(rename = "pullRT")]
    pub pull_rt: f64,
    #[serde(rename = "pullTPS")]
    pub pull_tps: f64,
}

/// The answer to `CONSUME_MESSAGE_DIRECTLY` 309.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct ConsumeMessageDirectlyResult {
    pub auto_commit: bool,
    /// `CR_SUCCESS`, `CR_LATER`, `CR_THROW_EXCEPTION` …
    pub consume_result: Option<String>,
    pub order: bool,
    pub remark: Option<String>,
    pub spent_time_mills: i64,
}
