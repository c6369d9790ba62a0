//! Offsets by queue: in Java a map whose keys are objects, which only fastjson can write
//! (`{{"brokerName":"a","queueId":0,"topic":"T"}:7}`).

use super::{BodyError, MessageQueue, from_json, to_json};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// An offset for each queue.
pub type QueueOffsets = BTreeMap<MessageQueue, i64>;

/// `RESET_CONSUMER_CLIENT_OFFSET` 220, and the answer to `INVOKE_BROKER_TO_RESET_OFFSET` 222.
pub fn reset_offset_body(offsets: &QueueOffsets) -> Vec<u8> {
    let mut out = b"{\"offsetTable\":".to_vec();
    put_offsets(&mut out, offsets);
    out.push(b'}');
    out
}

/// Reads what [`reset_offset_body`] writes.
///
/// # Errors
/// It is no such body.
pub fn read_reset_offsets(body: &[u8]) -> Result<QueueOffsets, BodyError> {
    #[derive(Deserialize, Default)]
    #[serde(default, rename_all = "camelCase")]
    struct Body {
        #[serde(deserialize_with = "super::nullable")]
        offset_table: BTreeMap<String, i64>,
    }
    let body: Body = from_json(body)?;
    body.offset_table.into_iter().map(|(queue, offset)| Ok((from_json(queue.as_bytes())?, offset))).collect()
}

/// The same for clients in C++, which get a list.
pub fn reset_offset_body_for_c(offsets: &QueueOffsets) -> Vec<u8> {
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Body<'a> {
        offset_table: Vec<Queue<'a>>,
    }
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Queue<'a> {
        broker_name: &'a str,
        offset: i64,
        queue_id: i32,
        topic: &'a str,
    }
    let offset_table = offsets
        .iter()
        .map(|(mq, offset)| Queue {
            broker_name: &mq.broker_name,
            offset: *offset,
            queue_id: mq.queue_id,
            topic: &mq.topic,
        })
        .collect();
    to_json(&Body { offset_table })
}

/// The answer to `INVOKE_BROKER_TO_GET_CONSUMER_STATUS` 223: offsets by client.
pub fn consumer_status_body(clients: &BTreeMap<String, QueueOffsets>) -> Vec<u8> {
    let mut out = b"{\"consumerTable\":{".to_vec();
    for (number, (client, offsets)) in clients.iter().enumerate() {
        if number > 0 {
            out.push(b',');
        }
        out.extend(to_json(client));
        out.push(b':');
        put_offsets(&mut out, offsets);
    }
    out.extend_from_slice(b"},\"messageQueueTable\":{}}");
    out
}

/// Reads a client's answer to `GET_CONSUMER_STATUS_FROM_CLIENT` 221.
///
/// # Errors
/// It is no such body.
pub fn read_consumer_status(body: &[u8]) -> Result<QueueOffsets, BodyError> {
    #[derive(Deserialize, Default)]
    #[serde(default, rename_all = "camelCase")]
    struct Body {
        #[serde(deserialize_with = "super::nullable")]
        message_queue_table: BTreeMap<String, i64>,
    }
    let body: Body = from_json(body)?;
    body.message_queue_table
        .into_iter()
        .map(|(queue, offset)| Ok((from_json(queue.as_bytes())?, offset)))
        .collect()
}

fn put_offsets(out: &mut Vec<u8>, offsets: &QueueOffsets) {
    out.push(b'{');
    for (number, (queue, offset)) in offsets.iter().enumerate() {
        if number > 0 {
            out.push(b',');
        }
        out.extend(to_json(queue));
        out.extend_from_slice(format!(":{offset}").as_bytes());
    }
    out.push(b'}');
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offsets() -> QueueOffsets {
        let queue = |queue_id| MessageQueue { broker_name: "broker-a".into(), queue_id, topic: "RT".into() };
        [(queue(0), 2), (queue(1), 0)].into()
    }

    /// Recorded from Apache 5.5.0.
    #[test]
    fn a_reset_is_written_as_apache_writes_it() {
        let apache: &[u8] = br#"{"offsetTable":{{"brokerName":"broker-a","queueId":0,"topic":"RT"}:2,{"brokerName":"broker-a","queueId":1,"topic":"RT"}:0}}"#;
        assert_eq!(String::from_utf8(reset_offset_body(&offsets())), String::from_utf8(apache.to_vec()));
        assert_eq!(reset_offset_body(&QueueOffsets::new()), b"{\"offsetTable\":{}}");
        assert_eq!(read_reset_offsets(apache).unwrap(), offsets());
        assert!(read_reset_offsets(b"{\"offsetTable\":{1:2}}").is_err());
        let for_c = r#"{"offsetTable":[{"brokerName":"broker-a","offset":2,"queueId":0,"topic":"RT"},{"brokerName":"broker-a","offset":0,"queueId":1,"topic":"RT"}]}"#;
        assert_eq!(String::from_utf8(reset_offset_body_for_c(&offsets())).unwrap(), for_c);
    }

    #[test]
    fn a_clients_status_is_read_and_passed_on() {
        let from_client = br#"{"consumerTable":{},"messageQueueTable":{{"brokerName":"broker-a","queueId":0,"topic":"RT"}:2,{"brokerName":"broker-a","queueId":1,"topic":"RT"}:0}}"#;
        assert_eq!(read_consumer_status(from_client).unwrap(), offsets());
        assert!(read_consumer_status(b"{}").unwrap().is_empty());
        assert!(read_consumer_status(br#"{"messageQueueTable":{1:2}}"#).is_err());
        assert!(read_consumer_status(b"[").is_err());
        let both = [("b".to_owned(), QueueOffsets::new()), ("a\"".to_owned(), offsets())].into();
        let want = r#"{"consumerTable":{"a\"":{{"brokerName":"broker-a","queueId":0,"topic":"RT"}:2,{"brokerName":"broker-a","queueId":1,"topic":"RT"}:0},"b":{}},"messageQueueTable":{}}"#;
        assert_eq!(String::from_utf8(consumer_status_body(&both)).unwrap(), want);
    }
}
