//! Settings of topics and groups.

use super::nullable;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Bits of `perm`.
pub mod perm {
    /// The queue id of a message is chosen by its priority.
    pub const PRIORITY: i32 = 1 << 3;
    pub const READ: i32 = 1 << 2;
    pub const WRITE: i32 = 1 << 1;
    /// Topics may be created after this one's settings.
    pub const INHERIT: i32 = 1;
}

/// A number that says how new a table is. Ordered as Apache orders: by state version, counter, time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct DataVersion {
    #[serde(deserialize_with = "nullable")]
    pub counter: i64,
    pub state_version: i64,
    /// Milliseconds since 1970.
    pub timestamp: i64,
}

impl DataVersion {
    /// Counts one change up.
    pub fn next(&mut self, now_ms: i64) {
        self.counter += 1;
        self.timestamp = now_ms;
    }
}

impl Ord for DataVersion {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        let key = |v: &Self| (v.state_version, v.counter, v.timestamp);
        key(self).cmp(&key(other))
    }
}

impl PartialOrd for DataVersion {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct TopicConfig {
    #[serde(deserialize_with = "nullable")]
    pub attributes: BTreeMap<String, String>,
    pub order: bool,
    /// Bits: see [`perm`].
    pub perm: i32,
    pub read_queue_nums: i32,
    /// `SINGLE_TAG` or `MULTI_TAG`.
    #[serde(deserialize_with = "nullable")]
    pub topic_filter_type: String,
    #[serde(deserialize_with = "nullable")]
    pub topic_name: String,
    pub topic_sys_flag: i32,
    pub write_queue_nums: i32,
}

impl Default for TopicConfig {
    fn default() -> Self {
        Self {
            attributes: BTreeMap::new(),
            order: false,
            perm: perm::READ | perm::WRITE,
            read_queue_nums: 16,
            topic_filter_type: "SINGLE_TAG".to_owned(),
            topic_name: String::new(),
            topic_sys_flag: 0,
            write_queue_nums: 16,
        }
    }
}

impl TopicConfig {
    /// Reads the line that a compressed registration carries: name, read queues, write queues, perm, filter type,
    /// and since 5.0 the attributes as JSON, separated by spaces.
    pub fn from_line(line: &str) -> Option<Self> {
        let mut parts = line.split(' ');
        let mut config = Self {
            topic_name: parts.next()?.to_owned(),
            read_queue_nums: parts.next()?.parse().ok()?,
            write_queue_nums: parts.next()?.parse().ok()?,
            perm: parts.next()?.parse().ok()?,
            topic_filter_type: parts.next()?.to_owned(),
            ..Self::default()
        };
        // As Apache: attributes that cannot be read (they may hold spaces) are none.
        config.attributes = parts.next().and_then(|json| serde_json::from_str(json).ok()).unwrap_or_default();
        Some(config)
    }
}

/// `GET_ALL_TOPIC_CONFIG` 21, and the old form of a registration.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct TopicConfigSerializeWrapper {
    #[serde(deserialize_with = "nullable")]
    pub data_version: DataVersion,
    #[serde(deserialize_with = "nullable")]
    pub topic_config_table: BTreeMap<String, TopicConfig>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct SubscriptionGroupConfig {
    #[serde(deserialize_with = "nullable")]
    pub attributes: BTreeMap<String, String>,
    pub broker_id: i64,
    pub consume_broadcast_enable: bool,
    pub consume_enable: bool,
    pub consume_from_min_enable: bool,
    pub consume_message_orderly: bool,
    pub consume_timeout_minute: i32,
    #[serde(deserialize_with = "nullable")]
    pub group_name: String,
    #[serde(deserialize_with = "nullable")]
    pub group_retry_policy: GroupRetryPolicy,
    pub group_sys_flag: i32,
    pub notify_consumer_ids_changed_enable: bool,
    pub retry_max_times: i32,
    pub retry_queue_nums: i32,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subscription_data_set: Option<Vec<SimpleSubscriptionData>>,
    pub which_broker_when_consume_slowly: i64,
}

impl Default for SubscriptionGroupConfig {
    fn default() -> Self {
        Self {
            attributes: BTreeMap::new(),
            broker_id: 0,
            consume_broadcast_enable: true,
            consume_enable: true,
            consume_from_min_enable: true,
            consume_message_orderly: false,
            consume_timeout_minute: 15,
            group_name: String::new(),
            group_retry_policy: GroupRetryPolicy::default(),
            group_sys_flag: 0,
            notify_consumer_ids_changed_enable: true,
            retry_max_times: 16,
            retry_queue_nums: 1,
            subscription_data_set: None,
            which_broker_when_consume_slowly: 1,
        }
    }
}

/// How long a message waits between attempts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct GroupRetryPolicy {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub customized_retry_policy: Option<CustomizedRetryPolicy>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exponential_retry_policy: Option<ExponentialRetryPolicy>,
    /// `CUSTOMIZED` or `EXPONENTIAL`.
    #[serde(rename = "type", deserialize_with = "nullable")]
    pub kind: String,
}

impl GroupRetryPolicy {
    /// How long a message waits that was attempted so often before the one that failed now, in milliseconds; `None`: the
    /// group has no policy of its own. Source: Apache's `CustomizedRetryPolicy`, `ExponentialRetryPolicy`.
    pub fn next_delay_ms(&self, attempts: i32) -> Option<i64> {
        let attempts = u32::try_from(attempts).unwrap_or(0);
        if self.kind == "EXPONENTIAL" {
            let policy = self.exponential_retry_policy.as_ref()?;
            let factor = policy.multiplier.saturating_pow(attempts.min(32));
            return Some(policy.initial.saturating_mul(factor).min(policy.max));
        }
        let next = &self.customized_retry_policy.as_ref()?.next;
        // As Apache has it: the list is one of delay levels, of which the first retry takes the third.
        let number = (attempts as usize).saturating_add(2).min(next.len().checked_sub(1)?);
        next.get(number).copied()
    }
}

impl Default for GroupRetryPolicy {
    fn default() -> Self {
        Self { customized_retry_policy: None, exponential_retry_policy: None, kind: "CUSTOMIZED".to_owned() }
    }
}

/// Milliseconds to wait before each attempt, the last one for all further.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct CustomizedRetryPolicy {
    #[serde(deserialize_with = "nullable")]
    pub next: Vec<i64>,
}

/// Milliseconds: `initial × multiplier^attempt`, at most `max`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ExponentialRetryPolicy {
    pub initial: i64,
    pub max: i64,
    pub multiplier: i64,
}

impl Default for ExponentialRetryPolicy {
    fn default() -> Self {
        Self { initial: 5_000, max: 2 * 60 * 60 * 1_000, multiplier: 2 }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct SimpleSubscriptionData {
    #[serde(deserialize_with = "nullable")]
    pub expression: String,
    #[serde(deserialize_with = "nullable")]
    pub expression_type: String,
    #[serde(deserialize_with = "nullable")]
    pub topic: String,
    pub version: i64,
}
