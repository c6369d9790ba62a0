//! Bodies of lite topics.

use super::nullable;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// `LITE_SUBSCRIPTION_CTL` 200071.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct LiteSubscriptionCtlRequestBody {
    #[serde(deserialize_with = "nullable")]
    pub subscription_set: Vec<LiteSubscription>,
}

/// Apache's `LiteSubscriptionDTO`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct LiteSubscription {
    /// `PARTIAL_ADD`, `PARTIAL_REMOVE`, `COMPLETE_ADD` or `COMPLETE_REMOVE`.
    #[serde(deserialize_with = "nullable")]
    pub action: String,
    #[serde(deserialize_with = "nullable")]
    pub client_id: String,
    #[serde(deserialize_with = "nullable")]
    pub group: String,
    #[serde(deserialize_with = "nullable")]
    pub lite_topic_set: BTreeSet<String>,
    pub offset_option: Option<OffsetOption>,
    /// The parent topic.
    #[serde(deserialize_with = "nullable")]
    pub topic: String,
    pub version: i64,
}

/// Where a group is to begin in lite topics that it subscribes to.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct OffsetOption {
    /// `POLICY`, `OFFSET`, `TAIL_N` or `TIMESTAMP`.
    #[serde(rename = "type", deserialize_with = "nullable")]
    pub kind: String,
    pub value: i64,
}

impl OffsetOption {
    /// Values of `POLICY`.
    pub const LAST: i64 = 0;
    pub const MIN: i64 = 1;
    pub const MAX: i64 = 2;

    /// `POLICY` with [`Self::MIN`].
    pub fn from_first() -> Self {
        Self { kind: "POLICY".to_owned(), value: Self::MIN }
    }
}

/// The answer to `GET_BROKER_LITE_INFO` 200074.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct GetBrokerLiteInfoResponseBody {
    pub cq_table_size: i32,
    pub current_lmq_num: i32,
    pub event_map_size: i32,
    /// Groups by the parent topic that they are bound to.
    #[serde(deserialize_with = "nullable")]
    pub group_meta: BTreeMap<String, BTreeSet<String>>,
    pub lite_subscription_count: i32,
    pub max_lmq_num: i32,
    pub offset_table_size: i32,
    pub order_info_count: i32,
    #[serde(deserialize_with = "nullable")]
    pub store_type: String,
    /// Minutes without a message after which lite topics go, by parent topic.
    #[serde(deserialize_with = "nullable")]
    pub topic_meta: BTreeMap<String, i32>,
}

/// The answer to `GET_PARENT_TOPIC_INFO` 200075.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct GetParentTopicInfoResponseBody {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub groups: Option<BTreeSet<String>>,
    pub lite_topic_count: i32,
    pub lmq_num: i32,
    #[serde(deserialize_with = "nullable")]
    pub topic: String,
    pub ttl: i32,
}

/// A client and its group.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct ClientGroup {
    #[serde(deserialize_with = "nullable")]
    pub client_id: String,
    #[serde(deserialize_with = "nullable")]
    pub group: String,
}

/// Bounds of a lite topic: Apache's `TopicOffset`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct LiteTopicOffset {
    pub last_update_timestamp: i64,
    pub max_offset: i64,
    pub min_offset: i64,
}

/// The answer to `GET_LITE_TOPIC_INFO` 200076.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct GetLiteTopicInfoResponseBody {
    #[serde(deserialize_with = "nullable")]
    pub lite_topic: String,
    #[serde(deserialize_with = "nullable")]
    pub parent_topic: String,
    pub sharding_to_broker: bool,
    #[serde(deserialize_with = "nullable")]
    pub subscriber: Vec<ClientGroup>,
    #[serde(deserialize_with = "nullable")]
    pub topic_offset: LiteTopicOffset,
}

/// The answer to `GET_LITE_CLIENT_INFO` 200077.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct GetLiteClientInfoResponseBody {
    #[serde(deserialize_with = "nullable")]
    pub client_id: String,
    #[serde(deserialize_with = "nullable")]
    pub group: String,
    pub last_access_time: i64,
    pub last_consume_time: i64,
    /// -1: the client is not known.
    pub lite_topic_count: i32,
    /// Queues of lite topics, not all of very many.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lite_topic_set: Option<BTreeSet<String>>,
    #[serde(deserialize_with = "nullable")]
    pub parent_topic: String,
}

/// How far a group is behind in a lite topic.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct LiteLagInfo {
    pub earliest_unconsumed_timestamp: i64,
    pub lag_count: i64,
    #[serde(deserialize_with = "nullable")]
    pub lite_topic: String,
}

/// Apache's `OffsetWrapper`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct LiteOffset {
    pub broker_offset: i64,
    pub consumer_offset: i64,
    pub last_timestamp: i64,
    pub pull_offset: i64,
}

/// The answer to `GET_LITE_GROUP_INFO` 200078.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct GetLiteGroupInfoResponseBody {
    pub earliest_unconsumed_timestamp: i64,
    #[serde(deserialize_with = "nullable")]
    pub group: String,
    #[serde(rename = "lagCountTopK", skip_serializing_if = "Option::is_none")]
    pub lag_count_top_k: Option<Vec<LiteLagInfo>>,
    #[serde(rename = "lagTimestampTopK", skip_serializing_if = "Option::is_none")]
    pub lag_timestamp_top_k: Option<Vec<LiteLagInfo>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lite_topic: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lite_topic_offset_wrapper: Option<LiteOffset>,
    #[serde(deserialize_with = "nullable")]
    pub parent_topic: String,
    pub total_lag_count: i64,
}
