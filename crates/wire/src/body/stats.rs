//! Bodies that tell how things stand: counters, and how far topics and groups are.
//!
//! Tables of queues have objects as keys (`{{"brokerName":"b","queueId":0,"topic":"T"}:{…}}`), as fastjson writes a map
//! whose keys are no strings; such bodies have an `encode` of their own.

use super::{DataVersion, MessageQueue, SubscriptionData, from_json, nullable, to_json};
use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize};
use std::collections::BTreeMap;

/// A counter in one span of time.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct BrokerStatsItem {
    /// Average of one call.
    pub avgpt: f64,
    pub sum: u64,
    /// A second.
    pub tps: f64,
}

/// The answer to `VIEW_BROKER_STATS_DATA` 315.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct BrokerStatsData {
    pub stats_day: BrokerStatsItem,
    pub stats_hour: BrokerStatsItem,
    pub stats_minute: BrokerStatsItem,
}

/// What a queue holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct TopicOffset {
    /// When its last message was stored, in milliseconds; 0: there never was one; -1: it is gone.
    pub last_update_timestamp: i64,
    pub max_offset: i64,
    pub min_offset: i64,
}

/// The answer to `GET_TOPIC_STATS_INFO` 202.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct TopicStatsTable {
    #[serde(deserialize_with = "queues")]
    pub offset_table: Vec<(MessageQueue, TopicOffset)>,
    /// Messages a second, in the last minute.
    pub topic_put_tps: f64,
}

impl TopicStatsTable {
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(64 + 160 * self.offset_table.len());
        out.extend_from_slice(b"{\"offsetTable\":");
        put_queues(&mut out, &self.offset_table);
        out.extend_from_slice(b",\"topicPutTps\":");
        out.extend_from_slice(&to_json(&self.topic_put_tps));
        out.push(b'}');
        out
    }
}

/// How far a group is with a queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct OffsetWrapper {
    /// Behind the queue's last message.
    pub broker_offset: i64,
    /// Behind the last one consumed.
    pub consumer_offset: i64,
    /// When the last one consumed was stored, in milliseconds; 0: there is none.
    pub last_timestamp: i64,
    /// Behind the last one pulled.
    pub pull_offset: i64,
}

/// The answer to `GET_CONSUME_STATS` 208, and a part of that to 317.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct ConsumeStats {
    /// Messages a second, in the last minute.
    pub consume_tps: f64,
    #[serde(deserialize_with = "queues")]
    pub offset_table: Vec<(MessageQueue, OffsetWrapper)>,
}

impl ConsumeStats {
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(64 + 160 * self.offset_table.len());
        self.put(&mut out);
        out
    }

    fn put(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"{\"consumeTps\":");
        out.extend_from_slice(&to_json(&self.consume_tps));
        out.extend_from_slice(b",\"offsetTable\":");
        put_queues(out, &self.offset_table);
        out.push(b'}');
    }
}

/// The answer to `GET_BROKER_CONSUME_STATS` 317.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct ConsumeStatsList {
    pub broker_addr: String,
    /// By group, one for each topic.
    #[serde(deserialize_with = "by_group")]
    pub consume_stats_list: Vec<(String, Vec<ConsumeStats>)>,
    /// Messages that are not consumed.
    pub total_diff: i64,
    /// Messages that were pulled and are not consumed.
    pub total_inflight_diff: i64,
}

impl ConsumeStatsList {
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(1024);
        out.extend_from_slice(b"{\"brokerAddr\":");
        out.extend_from_slice(&to_json(&self.broker_addr));
        out.extend_from_slice(b",\"consumeStatsList\":[");
        put_list(&mut out, &self.consume_stats_list, |out, (group, topics)| {
            out.push(b'{');
            out.extend_from_slice(&to_json(group));
            out.extend_from_slice(b":[");
            put_list(out, topics, |out, topic| topic.put(out));
            out.extend_from_slice(b"]}");
        });
        let (diff, inflight) = (self.total_diff, self.total_inflight_diff);
        out.extend_from_slice(
            format!("],\"totalDiff\":{diff},\"totalInflightDiff\":{inflight}}}").as_bytes(),
        );
        out
    }
}

/// Reads what [`put_queues`] writes; sorted by queue.
fn queues<'de, D: Deserializer<'de>, V: Deserialize<'de>>(
    deserializer: D,
) -> Result<Vec<(MessageQueue, V)>, D::Error> {
    let table = Option::<BTreeMap<String, V>>::deserialize(deserializer)?.unwrap_or_default();
    let queue = |key: &str| from_json::<MessageQueue>(key.as_bytes()).map_err(D::Error::custom);
    let mut all: Vec<_> =
        table.into_iter().map(|(key, value)| Ok((queue(&key)?, value))).collect::<Result<_, D::Error>>()?;
    all.sort_by(|(a, _), (b, _)| a.cmp(b));
    Ok(all)
}

/// A list of objects with one member each.
fn by_group<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Vec<(String, Vec<ConsumeStats>)>, D::Error> {
    let list = Option::<Vec<BTreeMap<String, Vec<ConsumeStats>>>>::deserialize(deserializer)?;
    Ok(list.unwrap_or_default().into_iter().flatten().collect())
}

fn put_queues<V: Serialize>(out: &mut Vec<u8>, queues: &[(MessageQueue, V)]) {
    out.push(b'{');
    put_list(out, queues, |out, (queue, value)| {
        out.extend_from_slice(&to_json(queue));
        out.push(b':');
        out.extend_from_slice(&to_json(value));
    });
    out.push(b'}');
}

fn put_list<T>(out: &mut Vec<u8>, list: &[T], put: impl Fn(&mut Vec<u8>, &T)) {
    for (i, one) in list.iter().enumerate() {
        if i > 0 {
            out.push(b',');
        }
        put(out, one);
    }
}

/// From when to when a queue's messages are, and how far a group is. Times in milliseconds; -1: there is no such message.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct QueueTimeSpan {
    /// Of the last message consumed.
    pub consume_time_stamp: i64,
    /// How long the next one to be consumed has waited.
    pub delay_time: i64,
    pub max_time_stamp: i64,
    pub message_queue: MessageQueue,
    pub min_time_stamp: i64,
}

/// The answer to `QUERY_CONSUME_TIME_SPAN` 303.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct QueryConsumeTimeSpanBody {
    pub consume_time_span_set: Vec<QueueTimeSpan>,
}

/// The answer to `QUERY_CORRECTION_OFFSET` 308: offsets by queue; written with [`super::to_fastjson`].
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct QueryCorrectionOffsetBody {
    pub correction_offsets: BTreeMap<u32, i64>,
}

/// An entry of a queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct ConsumeQueueData {
    /// Of no meaning without bit maps of filters.
    pub eval: bool,
    pub physic_offset: i64,
    pub physic_size: i32,
    pub tags_code: i64,
}

/// The answer to `QUERY_CONSUME_QUEUE` 321.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct QueryConsumeQueueResponseBody {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub filter_data: Option<String>,
    pub max_queue_index: i64,
    pub min_queue_index: i64,
    #[serde(deserialize_with = "nullable")]
    pub queue_data: Vec<ConsumeQueueData>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subscription_data: Option<SubscriptionData>,
}

/// The answer to `QUERY_SUBSCRIPTION_BY_CONSUMER` 345.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct QuerySubscriptionResponseBody {
    pub group: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subscription_data: Option<SubscriptionData>,
    pub topic: String,
}

/// The answer to `UPDATE_AND_GET_GROUP_FORBIDDEN` 353.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct GroupForbidden {
    pub group: String,
    pub readable: bool,
    pub topic: String,
}

/// The answer to `GET_ALL_CONSUMER_OFFSET` 43: offsets by `TOPIC@GROUP` and queue; written with [`super::to_fastjson`].
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ConsumerOffsets {
    pub data_version: DataVersion,
    pub offset_table: BTreeMap<String, BTreeMap<u32, u64>>,
}

/// The answer to `GET_ALL_DELAY_OFFSET` 45: offsets by level; written with [`super::to_fastjson`].
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DelayOffsets {
    pub data_version: DataVersion,
    pub offset_table: BTreeMap<u32, u64>,
}

/// The answer to `CHECK_ROCKSDB_CQ_WRITE_PROGRESS` 354.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct CheckRocksDbResult {
    pub check_result: &'static str,
    /// 0: nothing is wrong.
    pub check_status: i32,
}

/// What a replica would say of its connection to its master.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct HaClientRuntimeInfo {
    pub last_read_timestamp: i64,
    pub last_write_timestamp: i64,
    pub master_flush_offset: u64,
    pub max_offset: u64,
    pub transferred_byte_in_second: i64,
}

/// The answer to `GET_BROKER_HA_STATUS` 907 of a master without replicas.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct HaRuntimeInfo {
    pub ha_client_runtime_info: HaClientRuntimeInfo,
    pub ha_connection_info: [i32; 0],
    pub in_sync_slave_nums: i32,
    pub master: bool,
    pub master_commit_log_max_offset: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn queue(queue_id: i32) -> MessageQueue {
        MessageQueue { broker_name: "broker-a".into(), queue_id, topic: "TA".into() }
    }

    #[track_caller]
    fn check(found: Vec<u8>, recorded: &str) {
        assert_eq!(String::from_utf8(found).unwrap(), recorded);
    }

    /// As Apache RocketMQ 5.5.0 wrote them, but for the order of queues.
    #[test]
    fn tables_of_queues_have_objects_as_keys() {
        let last = TopicOffset { last_update_timestamp: 1_795_836_516_701, max_offset: 5, min_offset: 0 };
        let table = TopicStatsTable {
            offset_table: vec![(queue(1), TopicOffset::default()), (queue(0), last)],
            topic_put_tps: 0.0,
        };
        check(
            table.encode(),
            r#"{"offsetTable":{{"brokerName":"broker-a","queueId":1,"topic":"TA"}:{"lastUpdateTimestamp":0,"maxOffset":0,"minOffset":0},{"brokerName":"broker-a","queueId":0,"topic":"TA"}:{"lastUpdateTimestamp":1795836516701,"maxOffset":5,"minOffset":0}},"topicPutTps":0.0}"#,
        );
        let offsets = OffsetWrapper {
            broker_offset: 5,
            consumer_offset: 2,
            last_timestamp: 1_795_836_516_695,
            pull_offset: 3,
        };
        let stats = ConsumeStats { consume_tps: 0.0, offset_table: vec![(queue(0), offsets)] };
        let of_one = r#"{"consumeTps":0.0,"offsetTable":{{"brokerName":"broker-a","queueId":0,"topic":"TA"}:{"brokerOffset":5,"consumerOffset":2,"lastTimestamp":1795836516695,"pullOffset":3}}}"#;
        check(stats.encode(), of_one);
        check(ConsumeStats::default().encode(), r#"{"consumeTps":0.0,"offsetTable":{}}"#);
        assert_eq!(from_json::<ConsumeStats>(&stats.encode()), Ok(stats.clone()));
        let list = ConsumeStatsList {
            broker_addr: "127.0.0.1:31911".into(),
            consume_stats_list: vec![("g".into(), Vec::new()), ("ga".into(), vec![stats])],
            total_diff: 3,
            total_inflight_diff: 1,
        };
        check(
            list.encode(),
            &format!(
                r#"{{"brokerAddr":"127.0.0.1:31911","consumeStatsList":[{{"g":[]}},{{"ga":[{of_one}]}}],"totalDiff":3,"totalInflightDiff":1}}"#
            ),
        );
    }
}
