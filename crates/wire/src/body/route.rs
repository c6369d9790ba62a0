//! Bodies of name servers.

use super::nullable;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The answer to `GET_ROUTEINFO_BY_TOPIC` 105: where the queues of a topic are.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct TopicRouteData {
    #[serde(deserialize_with = "nullable")]
    pub broker_datas: Vec<BrokerData>,
    /// Filter servers by broker address: a thing of the past.
    #[serde(deserialize_with = "nullable")]
    pub filter_server_table: BTreeMap<String, Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub order_topic_conf: Option<String>,
    #[serde(deserialize_with = "nullable")]
    pub queue_datas: Vec<QueueData>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub topic_queue_mapping_by_broker: Option<BTreeMap<String, TopicQueueMappingInfo>>,
}

/// The brokers of one name: a master (id 0) and its replicas.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct BrokerData {
    /// Addresses by broker id.
    #[serde(deserialize_with = "nullable")]
    pub broker_addrs: BTreeMap<i64, String>,
    #[serde(deserialize_with = "nullable")]
    pub broker_name: String,
    #[serde(deserialize_with = "nullable")]
    pub cluster: String,
    pub enable_acting_master: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub zone_name: Option<String>,
}

/// How many queues of a topic a broker has.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct QueueData {
    #[serde(deserialize_with = "nullable")]
    pub broker_name: String,
    pub perm: i32,
    pub read_queue_nums: i32,
    pub topic_sys_flag: i32,
    pub write_queue_nums: i32,
}

/// Static topics: which of its own queues a broker gives for which queue of the whole topic.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct TopicQueueMappingInfo {
    #[serde(deserialize_with = "nullable")]
    pub bname: String,
    #[serde(deserialize_with = "nullable")]
    pub curr_id_map: BTreeMap<i32, i32>,
    pub dirty: bool,
    pub epoch: i64,
    #[serde(deserialize_with = "nullable")]
    pub scope: String,
    #[serde(deserialize_with = "nullable")]
    pub topic: String,
    pub total_queues: i32,
}

impl Default for TopicQueueMappingInfo {
    fn default() -> Self {
        Self {
            bname: String::new(),
            curr_id_map: BTreeMap::new(),
            dirty: false,
            epoch: 0,
            scope: "__global__".to_owned(),
            topic: String::new(),
            total_queues: 0,
        }
    }
}

/// The answer to `GET_BROKER_CLUSTER_INFO` 106.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct ClusterInfo {
    #[serde(deserialize_with = "nullable")]
    pub broker_addr_table: BTreeMap<String, BrokerData>,
    /// Broker names by cluster.
    #[serde(deserialize_with = "nullable")]
    pub cluster_addr_table: BTreeMap<String, Vec<String>>,
}

/// A list of topics, of several requests.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct TopicList {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub broker_addr: Option<String>,
    #[serde(deserialize_with = "nullable")]
    pub topic_list: Vec<String>,
}

/// A table of strings, of several requests.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct KvTable {
    #[serde(deserialize_with = "nullable")]
    pub table: BTreeMap<String, String>,
}

/// The brokers of one name as `GET_BROKER_MEMBER_GROUP` 901 gives them.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct BrokerMemberGroup {
    #[serde(deserialize_with = "nullable")]
    pub broker_addrs: BTreeMap<i64, String>,
    #[serde(deserialize_with = "nullable")]
    pub broker_name: String,
    #[serde(deserialize_with = "nullable")]
    pub cluster: String,
}

/// The answer to `GET_BROKER_MEMBER_GROUP` 901.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct GetBrokerMemberGroupResponseBody {
    #[serde(deserialize_with = "nullable")]
    pub broker_member_group: BrokerMemberGroup,
}

/// `REGISTER_TOPIC_IN_NAMESRV` 217 carries a [`TopicRouteData`] of which only the queues count.
pub type RegisterTopicBody = TopicRouteData;
