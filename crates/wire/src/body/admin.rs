//! Bodies of administration: lists of topics and groups, and who is connected.

use super::client::enumerated;
use super::{
    ConsumeFromWhere, ConsumeType, DataVersion, MessageModel, SubscriptionData, SubscriptionGroupConfig,
    TopicConfig, nullable,
};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// `UPDATE_AND_CREATE_TOPIC_LIST` 18.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct CreateTopicListRequestBody {
    #[serde(deserialize_with = "nullable")]
    pub topic_config_list: Vec<TopicConfig>,
}

/// `UPDATE_AND_CREATE_SUBSCRIPTIONGROUP_LIST` 225.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct SubscriptionGroupList {
    #[serde(deserialize_with = "nullable")]
    pub group_config_list: Vec<SubscriptionGroupConfig>,
}

/// The answer to `GET_ALL_SUBSCRIPTIONGROUP_CONFIG` 201.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct SubscriptionGroupWrapper {
    #[serde(deserialize_with = "nullable")]
    pub data_version: DataVersion,
    #[serde(deserialize_with = "nullable")]
    pub forbidden_table: BTreeMap<String, BTreeMap<String, i32>>,
    #[serde(deserialize_with = "nullable")]
    pub subscription_group_table: BTreeMap<String, SubscriptionGroupConfig>,
}

/// Names of groups: the answer to `QUERY_TOPIC_CONSUME_BY_WHO` 300, the request `DELETE_SUBSCRIPTION_GROUP_LIST` 5003.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct GroupList {
    #[serde(deserialize_with = "nullable")]
    pub group_list: Vec<String>,
}

/// A connected client.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Connection {
    /// `HOST:PORT`.
    #[serde(deserialize_with = "nullable")]
    pub client_addr: String,
    #[serde(deserialize_with = "nullable")]
    pub client_id: String,
    #[serde(deserialize_with = "nullable")]
    pub language: String,
    /// Ordinal in Apache's `MQVersion`.
    pub version: i32,
}

/// The answer to `GET_CONSUMER_CONNECTION_LIST` 203.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct ConsumerConnection {
    #[serde(deserialize_with = "nullable")]
    pub connection_set: Vec<Connection>,
    #[serde(deserialize_with = "enumerated", skip_serializing_if = "Option::is_none")]
    pub consume_from_where: Option<ConsumeFromWhere>,
    #[serde(deserialize_with = "enumerated", skip_serializing_if = "Option::is_none")]
    pub consume_type: Option<ConsumeType>,
    #[serde(deserialize_with = "enumerated", skip_serializing_if = "Option::is_none")]
    pub message_model: Option<MessageModel>,
    #[serde(deserialize_with = "nullable")]
    pub subscription_table: BTreeMap<String, SubscriptionData>,
}

/// The answer to `GET_PRODUCER_CONNECTION_LIST` 204.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct ProducerConnection {
    #[serde(deserialize_with = "nullable")]
    pub connection_set: Vec<Connection>,
}

/// A producer in the answer to `GET_ALL_PRODUCER_INFO` 328.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct ProducerInfo {
    pub client_id: String,
    pub language: String,
    /// When its last heartbeat came, in milliseconds.
    pub last_update_timestamp: i64,
    #[serde(rename = "remoteIP")]
    pub remote_ip: String,
    pub version: i32,
}

/// The answer to `GET_ALL_PRODUCER_INFO` 328: producers by group.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct ProducerTableInfo {
    #[serde(deserialize_with = "nullable")]
    pub data: BTreeMap<String, Vec<ProducerInfo>>,
}
