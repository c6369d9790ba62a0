//! Bodies of pop: acknowledgements by the batch, and which clients pop which queues.

use super::client::enumerated;
use super::{MessageModel, MessageQueue, nullable};
use crate::base64;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::collections::BTreeMap;

/// `BATCH_ACK_MESSAGE` 200151.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct BatchAckMessageRequestBody {
    #[serde(deserialize_with = "nullable")]
    pub acks: Vec<BatchAck>,
    #[serde(deserialize_with = "nullable")]
    pub broker_name: String,
}

/// Messages of one queue that were popped together.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct BatchAck {
    /// Bit `i` stands for the message at `start_offset` + `i`.
    #[serde(rename = "b", alias = "bitSet", deserialize_with = "nullable")]
    pub bits: BitSet,
    #[serde(rename = "c", alias = "consumerGroup", deserialize_with = "nullable")]
    pub consumer_group: String,
    #[serde(rename = "it", alias = "invisibleTime")]
    pub invisible_ms: i64,
    #[serde(rename = "pt", alias = "popTime")]
    pub pop_ms: i64,
    #[serde(rename = "q", alias = "queueId")]
    pub queue_id: i32,
    /// See [`crate::receipt::Kind`].
    #[serde(rename = "r", alias = "retry", deserialize_with = "nullable")]
    pub retry: String,
    #[serde(rename = "rq", alias = "reviveQueueId")]
    pub revive_queue: i32,
    #[serde(rename = "so", alias = "startOffset")]
    pub start_offset: i64,
    #[serde(rename = "t", alias = "topic", deserialize_with = "nullable")]
    pub topic: String,
}

/// Longest text of a bit set: far more messages than one pop gives.
const BITS_TEXT_MAX: usize = 64 << 10;

/// Bits, the lowest of the first byte first; in JSON as base64.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct BitSet(pub Vec<u8>);

impl BitSet {
    /// Numbers of the bits that are set.
    pub fn ones(&self) -> impl Iterator<Item = u32> {
        let bytes = (0_u32..).zip(&self.0);
        bytes.flat_map(|(at, byte)| {
            (0..8).filter(move |bit| byte >> bit & 1 == 1).map(move |bit| at * 8 + bit)
        })
    }
}

impl FromIterator<u32> for BitSet {
    fn from_iter<T: IntoIterator<Item = u32>>(bits: T) -> Self {
        let mut bytes = Vec::new();
        for bit in bits {
            let at = (bit / 8) as usize;
            if bytes.len() <= at {
                bytes.resize(at + 1, 0);
            }
            if let Some(byte) = bytes.get_mut(at) {
                *byte |= 1 << (bit % 8);
            }
        }
        Self(bytes)
    }
}

impl Serialize for BitSet {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut text = String::new();
        base64::encode(&self.0, &mut text);
        serializer.serialize_str(&text.replace('-', "+").replace('_', "/"))
    }
}

impl<'de> Deserialize<'de> for BitSet {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let bytes = base64::decode(&text, BITS_TEXT_MAX);
        bytes.map(Self).ok_or_else(|| serde::de::Error::custom("a bit set is not base64, or too long"))
    }
}

/// Whether clients of a group pull the queues of a topic or pop them: `SET_MESSAGE_REQUEST_MODE` 401.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct SetMessageRequestMode {
    #[serde(deserialize_with = "nullable")]
    pub consumer_group: String,
    #[serde(deserialize_with = "nullable")]
    pub mode: MessageRequestMode,
    /// How many further clients share a client's queues; 0 or less: all share all.
    pub pop_share_queue_num: i32,
    #[serde(deserialize_with = "nullable")]
    pub topic: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum MessageRequestMode {
    #[default]
    Pull,
    Pop,
}

impl MessageRequestMode {
    /// The name on the wire.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Pull => "PULL",
            Self::Pop => "POP",
        }
    }

    /// By the name on the wire.
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Pull, Self::Pop].into_iter().find(|mode| mode.name() == name)
    }
}

/// The answer to `GET_ALL_MESSAGE_REQUEST_MODE` 402: by topic and group.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct MessageRequestModes {
    #[serde(deserialize_with = "nullable")]
    pub message_request_mode_map: BTreeMap<String, BTreeMap<String, SetMessageRequestMode>>,
}

/// `QUERY_ASSIGNMENT` 400.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct QueryAssignmentRequestBody {
    #[serde(deserialize_with = "nullable")]
    pub client_id: String,
    #[serde(deserialize_with = "nullable")]
    pub consumer_group: String,
    #[serde(deserialize_with = "enumerated", skip_serializing_if = "Option::is_none")]
    pub message_model: Option<MessageModel>,
    /// `AVG` or `AVG_BY_CIRCLE`.
    #[serde(deserialize_with = "nullable")]
    pub strategy_name: String,
    #[serde(deserialize_with = "nullable")]
    pub topic: String,
}

/// Its answer. Without assignments the client keeps what it has.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct QueryAssignmentResponseBody {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message_queue_assignments: Option<Vec<MessageQueueAssignment>>,
}

/// A queue (or with id -1 all of a broker's) for a client.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct MessageQueueAssignment {
    #[serde(deserialize_with = "nullable")]
    pub message_queue: MessageQueue,
    #[serde(deserialize_with = "nullable")]
    pub mode: MessageRequestMode,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::body::{from_json, to_json};

    /// As a client 5.5.0 sends it.
    #[test]
    fn a_batch_of_acks() {
        let json = r#"{"acks":[{"b":"CwE=","c":"g","it":60000,"pt":17,"q":3,"r":"0","rq":5,"so":40,"t":"T"}],"brokerName":"broker-a"}"#;
        let body: BatchAckMessageRequestBody = from_json(json.as_bytes()).unwrap();
        let ack = body.acks.first().unwrap();
        assert_eq!(ack.bits.ones().collect::<Vec<_>>(), [0, 1, 3, 8]);
        assert_eq!([0, 1, 3, 8].into_iter().collect::<BitSet>(), ack.bits);
        assert_eq!(String::from_utf8(to_json(&body)).unwrap(), json);
        let long = json.replace("CwE=", &"A".repeat(70_000));
        assert!(from_json::<BatchAckMessageRequestBody>(long.as_bytes()).is_err());
    }
}
