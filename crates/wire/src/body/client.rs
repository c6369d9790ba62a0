//! Bodies that clients send and get.

use super::{all_unquoted, nullable, unquoted};
use serde::{Deserialize, Deserializer, Serialize};

/// Declares enums that travel by name and that some clients send by number.
macro_rules! enums {
    ($($(#[$doc:meta])* $name:ident { $($variant:ident = $wire:literal),* $(,)? })*) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
        pub enum $name {
            $(#[serde(rename = $wire)] $variant),*
        }

        impl $name {
            /// In the order of Java's ordinals.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// The name on the wire.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $wire),* }
            }

            /// By the name on the wire.
            pub fn from_name(name: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|v| v.name() == name)
            }
        }

        impl ByNameOrNumber for $name {
            fn by_name(name: &str) -> Option<Self> {
                Self::from_name(name)
            }
            fn by_number(number: usize) -> Option<Self> {
                Self::ALL.get(number).copied()
            }
        }
    )*};
}

enums! {
    /// How a consumer gets its messages.
    ConsumeType {
        Actively = "CONSUME_ACTIVELY",
        Passively = "CONSUME_PASSIVELY",
        Pop = "CONSUME_POP",
    }

    /// Who of a group gets a message: everybody or one.
    MessageModel {
        Broadcasting = "BROADCASTING",
        Clustering = "CLUSTERING",
        LiteSelective = "LITE_SELECTIVE",
    }

    /// Where a group that has no offset yet begins.
    ConsumeFromWhere {
        LastOffset = "CONSUME_FROM_LAST_OFFSET",
        LastOffsetAndFromMinWhenBootFirst = "CONSUME_FROM_LAST_OFFSET_AND_FROM_MIN_WHEN_BOOT_FIRST",
        MinOffset = "CONSUME_FROM_MIN_OFFSET",
        MaxOffset = "CONSUME_FROM_MAX_OFFSET",
        FirstOffset = "CONSUME_FROM_FIRST_OFFSET",
        Timestamp = "CONSUME_FROM_TIMESTAMP",
    }
}

pub(super) trait ByNameOrNumber: Sized {
    fn by_name(name: &str) -> Option<Self>;
    fn by_number(number: usize) -> Option<Self>;
}

/// A name, or as the C++ client sends it an ordinal; what is neither is `None`.
pub(super) fn enumerated<'de, D: Deserializer<'de>, T: ByNameOrNumber>(
    deserializer: D,
) -> Result<Option<T>, D::Error> {
    Ok(match serde_json::Value::deserialize(deserializer)? {
        serde_json::Value::String(name) => T::by_name(&name),
        serde_json::Value::Number(n) => {
            n.as_u64().and_then(|n| usize::try_from(n).ok()).and_then(T::by_number)
        }
        _ => None,
    })
}

/// One queue of a topic on one broker.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct MessageQueue {
    #[serde(deserialize_with = "nullable")]
    pub broker_name: String,
    #[serde(deserialize_with = "unquoted")]
    pub queue_id: i32,
    #[serde(deserialize_with = "nullable")]
    pub topic: String,
}

/// `HEART_BEAT` 34.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct HeartbeatData {
    #[serde(rename = "clientID", deserialize_with = "nullable")]
    pub client_id: String,
    #[serde(deserialize_with = "nullable")]
    pub consumer_data_set: Vec<ConsumerData>,
    #[serde(deserialize_with = "unquoted")]
    pub heartbeat_fingerprint: i32,
    #[serde(deserialize_with = "nullable")]
    pub producer_data_set: Vec<ProducerData>,
    /// The subscriptions were left out: those of the heartbeat with the same fingerprint are meant.
    #[serde(deserialize_with = "unquoted")]
    pub without_sub: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct ProducerData {
    #[serde(deserialize_with = "nullable")]
    pub group_name: String,
}

#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct ConsumerData {
    #[serde(deserialize_with = "enumerated", skip_serializing_if = "Option::is_none")]
    pub consume_from_where: Option<ConsumeFromWhere>,
    #[serde(deserialize_with = "enumerated", skip_serializing_if = "Option::is_none")]
    pub consume_type: Option<ConsumeType>,
    #[serde(deserialize_with = "nullable")]
    pub group_name: String,
    #[serde(deserialize_with = "enumerated", skip_serializing_if = "Option::is_none")]
    pub message_model: Option<MessageModel>,
    #[serde(deserialize_with = "nullable")]
    pub subscription_data_set: Vec<SubscriptionData>,
    #[serde(deserialize_with = "unquoted")]
    pub unit_mode: bool,
}

/// What a group wants of a topic.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct SubscriptionData {
    #[serde(deserialize_with = "unquoted")]
    pub class_filter_mode: bool,
    /// Java hash codes of the tags; see [`crate::properties::tag_code`].
    #[serde(deserialize_with = "all_unquoted")]
    pub code_set: Vec<i32>,
    /// `TAG` (also when null) or `SQL92`.
    #[serde(deserialize_with = "nullable")]
    pub expression_type: String,
    /// The expression as the user wrote it; `*` is everything.
    #[serde(deserialize_with = "nullable")]
    pub sub_string: String,
    /// Grows with every change.
    #[serde(deserialize_with = "unquoted")]
    pub sub_version: i64,
    #[serde(deserialize_with = "nullable")]
    pub tags_set: Vec<String>,
    #[serde(deserialize_with = "nullable")]
    pub topic: String,
}

impl Default for SubscriptionData {
    fn default() -> Self {
        Self {
            class_filter_mode: false,
            code_set: Vec::new(),
            expression_type: "TAG".to_owned(),
            sub_string: String::new(),
            sub_version: 0,
            tags_set: Vec::new(),
            topic: String::new(),
        }
    }
}

/// `CHECK_CLIENT_CONFIG` 46.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct CheckClientRequestBody {
    #[serde(deserialize_with = "nullable")]
    pub client_id: String,
    #[serde(deserialize_with = "nullable")]
    pub group: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subscription_data: Option<SubscriptionData>,
}

/// `LOCK_BATCH_MQ` 41 and `UNLOCK_BATCH_MQ` 42.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct LockBatchRequestBody {
    #[serde(deserialize_with = "nullable")]
    pub client_id: String,
    #[serde(deserialize_with = "nullable")]
    pub consumer_group: String,
    #[serde(deserialize_with = "nullable")]
    pub mq_set: Vec<MessageQueue>,
    #[serde(deserialize_with = "unquoted")]
    pub only_this_broker: bool,
}

/// The answer to `LOCK_BATCH_MQ` 41: the queues that are locked for the client now.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct LockBatchResponseBody {
    #[serde(rename = "lockOKMQSet", deserialize_with = "nullable")]
    pub lock_ok_mq_set: Vec<MessageQueue>,
}

/// The answer to `GET_CONSUMER_LIST_BY_GROUP` 38.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct GetConsumerListByGroupResponseBody {
    #[serde(deserialize_with = "nullable")]
    pub consumer_id_list: Vec<String>,
}
