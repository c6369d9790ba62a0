//! The properties that a producer sent, and what is stored in their place.

use crate::config::BrokerConfig;
use kerolox_wire::properties::{PROPERTY_SEPARATOR, Properties, PropertiesBuf, name};

/// What only the broker may set.
const FORGED: [&str; 5] =
    [name::MSG_REGION, name::TRACE_SWITCH, name::CLUSTER, name::CRC32, name::INNER_MULTI_QUEUE_OFFSET];
const UNIQ_KEY: &str = name::UNIQ_CLIENT_MESSAGE_ID_KEYIDX;

/// What the broker needs to know of sent properties, found in one pass.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Sent<'a> {
    encoded: &'a [u8],
    /// The id that the producer's client gave the message.
    pub(crate) unique_key: Option<&'a str>,
    /// There is a delay level, of whatever value.
    pub(crate) delayed: bool,
    /// To be delivered at a time of its own.
    pub(crate) timed: bool,
    /// The first half of a transaction.
    pub(crate) prepared: bool,
    /// There is a key by which messages are ordered.
    ordered: bool,
    /// There is a priority, and a usable one it is if not below 0.
    priority: Option<i32>,
    /// The lite topic that it belongs to.
    pub(crate) lite_topic: Option<&'a str>,
    /// It names further queues that it is to belong to.
    pub(crate) further: bool,
    /// There are properties that only the broker may set.
    forged: bool,
}

impl<'a> Sent<'a> {
    pub(crate) fn scan(encoded: &'a [u8]) -> Self {
        let mut sent = Self { encoded, ..Self::default() };
        for (key, value) in Properties(encoded).pairs() {
            // Of several of one name the last counts, as it does for clients.
            match std::str::from_utf8(key).unwrap_or_default() {
                UNIQ_KEY => sent.unique_key = std::str::from_utf8(value).ok(),
                name::DELAY_TIME_LEVEL => sent.delayed = true,
                name::TIMER_DELIVER_MS | name::TIMER_DELAY_MS | name::TIMER_DELAY_SEC => sent.timed = true,
                name::TRANSACTION_PREPARED => sent.prepared = value == b"true",
                name::SHARDING_KEY => sent.ordered = true,
                name::PRIORITY => {
                    let number = std::str::from_utf8(value).ok().and_then(|text| text.parse().ok());
                    sent.priority = Some(number.unwrap_or(-1));
                }
                name::LITE_TOPIC => sent.lite_topic = std::str::from_utf8(value).ok(),
                name::INNER_MULTI_DISPATCH => sent.further = true,
                forged if FORGED.contains(&forged) => sent.forged = true,
                _ => {}
            }
        }
        sent
    }

    /// What a message with these properties is, as `message.type` of topics names it. Source: Apache's `TopicMessageType`.
    pub(crate) fn message_type(&self) -> &'static str {
        match self {
            Self { prepared: true, .. } => "TRANSACTION",
            Self { delayed: true, .. } | Self { timed: true, .. } => "DELAY",
            Self { ordered: true, .. } => "FIFO",
            Self { priority: Some(_), .. } => "PRIORITY",
            Self { lite_topic: Some(_), .. } => "LITE",
            _ => "NORMAL",
        }
    }

    /// A priority that does not go with what the message is else, and is to be dropped.
    pub(crate) fn stray_priority(&self) -> bool {
        self.priority.is_some_and(|priority| priority >= 0) && self.message_type() != "PRIORITY"
    }

    /// The queue that the message's priority chooses.
    pub(crate) fn priority_queue(&self, write_queues: i32) -> Option<u32> {
        let priority = self.priority.filter(|_| self.message_type() == "PRIORITY")?;
        u32::try_from(priority.min(write_queues - 1)).ok()
    }

    /// There is a delay level above 0.
    pub(crate) fn waits(&self) -> bool {
        let level = || Properties(self.encoded).get(name::DELAY_TIME_LEVEL)?.parse::<i64>().ok();
        self.delayed && level().is_some_and(|level| level > 0)
    }

    /// The properties to be stored: the producer's, the broker's own, and `unique_key` if the producer sent none.
    pub(crate) fn stored(&self, own: &PropertiesBuf, unique_key: Option<&str>) -> PropertiesBuf {
        let own = own.as_bytes();
        let mut stored = Vec::with_capacity(self.encoded.len() + own.len() + 64);
        stored.extend_from_slice(self.encoded);
        if self.forged {
            let mut honest = PropertiesBuf::from(stored);
            for forged in FORGED {
                honest.remove(forged);
            }
            stored = honest.into_bytes();
        }
        if stored.last().is_some_and(|last| *last != PROPERTY_SEPARATOR) {
            stored.push(PROPERTY_SEPARATOR);
        }
        stored.extend_from_slice(own);
        let mut stored = PropertiesBuf::from(stored);
        if let Some(key) = unique_key {
            stored.set(UNIQ_KEY, key);
        }
        stored
    }
}

/// What the broker adds to every message, as Apache's does.
pub(crate) fn own_properties(config: &BrokerConfig) -> PropertiesBuf {
    let trace_on = if config.trace_on { "true" } else { "false" };
    let own = [
        (name::MSG_REGION, &*config.region),
        (name::TRACE_SWITCH, trace_on),
        (name::CLUSTER, &*config.cluster),
    ];
    own.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn own() -> PropertiesBuf {
        own_properties(&BrokerConfig::new("b", "127.0.0.1:1".parse().unwrap()))
    }

    #[test]
    fn one_pass_finds_what_matters() {
        let sent = Sent::scan(b"TAGS\x01a\x02UNIQ_KEY\x01u\x02DELAY\x013\x02TRAN_MSG\x01false");
        assert_eq!(
            (sent.unique_key, sent.delayed, sent.timed, sent.prepared),
            (Some("u"), true, false, false)
        );
        assert!(Sent::scan(b"TRAN_MSG\x01true\x02").prepared);
        assert!(Sent::scan(b"TIMER_DELAY_MS\x015\x02").timed);
        assert_eq!(Sent::scan(b"no pairs at all").unique_key, None);
    }

    #[test]
    fn what_a_message_is() {
        let kind = |properties: &[u8]| Sent::scan(properties).message_type();
        assert_eq!(kind(b"TRAN_MSG\x01true\x02DELAY\x011\x02"), "TRANSACTION");
        assert_eq!(kind(b"__SHARDINGKEY\x01k\x02TIMER_DELAY_MS\x011\x02"), "DELAY");
        assert_eq!(kind(b"_SYS_MSG_PRIORITY_\x011\x02__SHARDINGKEY\x01k\x02"), "FIFO");
        assert_eq!(kind(b"__LITE_TOPIC\x01l\x02_SYS_MSG_PRIORITY_\x01x\x02"), "PRIORITY");
        assert_eq!((kind(b"__LITE_TOPIC\x01l\x02"), kind(b"")), ("LITE", "NORMAL"));
    }

    #[test]
    fn the_brokers_own_properties_are_there_once_and_cannot_be_forged() {
        let stored = Sent::scan(b"a\x01b").stored(&own(), Some("key"));
        let pairs: Vec<_> = stored.as_properties().iter().collect();
        let expected = [
            ("a", "b"),
            ("MSG_REGION", "DefaultRegion"),
            ("TRACE_ON", "true"),
            ("CLUSTER", "DefaultCluster"),
            ("UNIQ_KEY", "key"),
        ];
        assert_eq!(pairs, expected);
        let forged = b"CLUSTER\x01mine\x02a\x01b\x02__CRC32#\x010000000000\x02";
        let stored = Sent::scan(forged).stored(&own(), None);
        let pairs: Vec<_> = stored.as_properties().iter().collect();
        assert_eq!(pairs, expected[..4]);
    }
}
