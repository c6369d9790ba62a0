//! Message properties: `name \x01 value \x02`, repeated, in UTF-8; the last separator may be missing.
//!
//! What counts as a property is what Apache's `string2messageProperties` takes for one: both name and value are at
//! least one byte, the first `\x01` of a pair separates them, and of two with the same name the later one counts.

use crate::names;

/// Between a name and its value.
pub const NAME_VALUE_SEPARATOR: u8 = 1;
/// Behind a value.
pub const PROPERTY_SEPARATOR: u8 = 2;

/// Names with a meaning. Source: Apache's `MessageConst`.
pub mod name {
    macro_rules! names {
        ($($(#[$doc:meta])* $const:ident = $name:literal;)*) => {
            $($(#[$doc])* pub const $const: &str = $name;)*

            /// All of them.
            pub const ALL: &[&str] = &[$($const),*];
        };
    }
    names! {
        /// Keys to find the message by, separated by spaces.
        KEYS = "KEYS";
        TAGS = "TAGS";
        /// `false`: the producer does not want to wait for the message to be stored.
        WAIT_STORE_MSG_OK = "WAIT";
        /// One of the 18 delay levels.
        DELAY_TIME_LEVEL = "DELAY";
        /// The topic that a message was first consumed from, before it went through a retry topic.
        RETRY_TOPIC = "RETRY_TOPIC";
        REAL_TOPIC = "REAL_TOPIC";
        REAL_QUEUE_ID = "REAL_QID";
        TRANSACTION_PREPARED = "TRAN_MSG";
        PRODUCER_GROUP = "PGROUP";
        MIN_OFFSET = "MIN_OFFSET";
        MAX_OFFSET = "MAX_OFFSET";
        BUYER_ID = "BUYER_ID";
        /// Id that the message had before it was sent back.
        ORIGIN_MESSAGE_ID = "ORIGIN_MESSAGE_ID";
        TRANSFER_FLAG = "TRANSFER_FLAG";
        CORRECTION_FLAG = "CORRECTION_FLAG";
        MQ2_FLAG = "MQ2_FLAG";
        RECONSUME_TIME = "RECONSUME_TIME";
        MSG_REGION = "MSG_REGION";
        TRACE_SWITCH = "TRACE_ON";
        /// Id that the producer's client gave to the message.
        UNIQ_CLIENT_MESSAGE_ID_KEYIDX = "UNIQ_KEY";
        EXTEND_UNIQ_INFO = "EXTEND_UNIQ_INFO";
        MAX_RECONSUME_TIMES = "MAX_RECONSUME_TIMES";
        CONSUME_START_TIMESTAMP = "CONSUME_START_TIME";
        INNER_NUM = "INNER_NUM";
        INNER_BASE = "INNER_BASE";
        DUP_INFO = "DUP_INFO";
        CHECK_IMMUNITY_TIME_IN_SECONDS = "CHECK_IMMUNITY_TIME_IN_SECONDS";
        TRANSACTION_PREPARED_QUEUE_OFFSET = "TRAN_PREPARED_QUEUE_OFFSET";
        TRANSACTION_ID = "__transactionId__";
        TRANSACTION_CHECK_TIMES = "TRANSACTION_CHECK_TIMES";
        INSTANCE_ID = "INSTANCE_ID";
        CORRELATION_ID = "CORRELATION_ID";
        MESSAGE_REPLY_TO_CLIENT = "REPLY_TO_CLIENT";
        MESSAGE_TTL = "TTL";
        REPLY_MESSAGE_ARRIVE_TIME = "ARRIVE_TIME";
        PUSH_REPLY_TIME = "PUSH_REPLY_TIME";
        CLUSTER = "CLUSTER";
        MESSAGE_TYPE = "MSG_TYPE";
        POP_CK = "POP_CK";
        POP_CK_OFFSET = "POP_CK_OFFSET";
        FIRST_POP_TIME = "1ST_POP_TIME";
        SHARDING_KEY = "__SHARDINGKEY";
        /// The lite topic, below the message's topic, that it belongs to.
        LITE_TOPIC = "__LITE_TOPIC";
        /// Which queue: 0 is the first. The higher the sooner, for consumers that look at them in that order.
        PRIORITY = "_SYS_MSG_PRIORITY_";
        FORWARD_QUEUE_ID = "PROPERTY_FORWARD_QUEUE_ID";
        REDIRECT = "REDIRECT";
        /// Further queues that a message belongs to, separated by commas.
        INNER_MULTI_DISPATCH = "INNER_MULTI_DISPATCH";
        /// The message's offsets in these, in the same order.
        INNER_MULTI_QUEUE_OFFSET = "INNER_MULTI_QUEUE_OFFSET";
        TRACE_CONTEXT = "TRACE_CONTEXT";
        TIMER_DELAY_SEC = "TIMER_DELAY_SEC";
        TIMER_DELIVER_MS = "TIMER_DELIVER_MS";
        BORN_HOST = "__BORNHOST";
        BORN_TIMESTAMP = "BORN_TIMESTAMP";
        TRANSIENT_TOPIC_CONFIG = "__RMQ.TRANSIENT.TOPIC_SYS_FLAG";
        TRANSIENT_GROUP_CONFIG = "__RMQ.TRANSIENT.GROUP_SYS_FLAG";
        TIMER_ENQUEUE_MS = "TIMER_ENQUEUE_MS";
        TIMER_DEQUEUE_MS = "TIMER_DEQUEUE_MS";
        TIMER_ROLL_TIMES = "TIMER_ROLL_TIMES";
        TIMER_OUT_MS = "TIMER_OUT_MS";
        TIMER_DEL_UNIQKEY = "TIMER_DEL_UNIQKEY";
        TIMER_DELAY_LEVEL = "TIMER_DELAY_LEVEL";
        TIMER_DELAY_MS = "TIMER_DELAY_MS";
        /// The checksum of the whole record; see [`crate::record`].
        CRC32 = "__CRC32#";
        DLQ_ORIGIN_TOPIC = "DLQ_ORIGIN_TOPIC";
        DLQ_ORIGIN_MESSAGE_ID = "DLQ_ORIGIN_MESSAGE_ID";
    }
}

/// Encoded properties, read where they lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Properties<'a>(pub &'a [u8]);

impl<'a> Properties<'a> {
    /// Every pair in order, as bytes: a producer may have sent anything.
    pub fn pairs(self) -> impl Iterator<Item = (&'a [u8], &'a [u8])> {
        self.spans().map(|(_, name, value)| (name, value))
    }

    /// Every pair in order; those that are not UTF-8 are left out.
    pub fn iter(self) -> impl Iterator<Item = (&'a str, &'a str)> {
        self.pairs().filter_map(|(name, value)| {
            Some((std::str::from_utf8(name).ok()?, std::str::from_utf8(value).ok()?))
        })
    }

    /// The value of a property (the last, if there are several); `None` too if it is not UTF-8.
    pub fn get(self, name: &str) -> Option<&'a str> {
        let value = self.pairs().filter(|(n, _)| *n == name.as_bytes()).last()?.1;
        std::str::from_utf8(value).ok()
    }

    /// Every pair with the whole segment it lies in, its separator (if it has one) included.
    fn spans(self) -> impl Iterator<Item = (&'a [u8], &'a [u8], &'a [u8])> {
        let segments = self.0.split_inclusive(|b| *b == PROPERTY_SEPARATOR);
        segments.filter_map(|segment| {
            let pair = segment.strip_suffix(&[PROPERTY_SEPARATOR]).unwrap_or(segment);
            let at = pair.iter().position(|b| *b == NAME_VALUE_SEPARATOR)?;
            let (name, value) = (pair.get(..at)?, pair.get(at + 1..)?);
            (!name.is_empty() && !value.is_empty()).then_some((segment, name, value))
        })
    }
}

/// The light message queues that a message of a topic belongs to besides its own queue, and its offsets there; what cannot
/// be read as such is left out. Source: `ConsumeQueue.multiDispatchLmqQueue`.
pub fn further_queues<'a>(topic: &str, properties: Properties<'a>) -> Vec<(&'a str, u64)> {
    let names = properties.get(name::INNER_MULTI_DISPATCH).filter(|_| names::allows_lmq(topic));
    let offsets = names.and_then(|_| properties.get(name::INNER_MULTI_QUEUE_OFFSET));
    let Some((names, offsets)) = names.zip(offsets) else { return Vec::new() };
    if names.split(',').count() != offsets.split(',').count() {
        return Vec::new();
    }
    let pair = |(name, offset): (&'a str, &str)| {
        let offset = offset.parse().ok().filter(|offset: &u64| i64::try_from(*offset).is_ok())?;
        (name.starts_with(names::LMQ_PREFIX) && !name.contains('/')).then_some((name, offset))
    };
    names.split(',').zip(offsets.split(',')).filter_map(pair).collect()
}

/// Encoded properties that are being built or changed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PropertiesBuf(Vec<u8>);

impl PropertiesBuf {
    pub const fn new() -> Self {
        Self(Vec::new())
    }

    /// Takes the value in place of any that the name has. Nothing is written for an empty name or value, for those
    /// would not be read back; separators inside them are left out, for they would forge other properties.
    pub fn set(&mut self, name: &str, value: &str) {
        self.remove(name);
        self.push(name, value);
    }

    /// As [`Self::set`], for a name that is not there yet.
    pub fn push(&mut self, name: &str, value: &str) {
        let clean = |text: &str| text.bytes().any(|b| b != NAME_VALUE_SEPARATOR && b != PROPERTY_SEPARATOR);
        if !clean(name) || !clean(value) {
            return;
        }
        if self.0.last().is_some_and(|b| *b != PROPERTY_SEPARATOR) {
            self.0.push(PROPERTY_SEPARATOR);
        }
        let separators = [NAME_VALUE_SEPARATOR, PROPERTY_SEPARATOR];
        self.0.extend(name.bytes().filter(|b| !separators.contains(b)));
        self.0.push(NAME_VALUE_SEPARATOR);
        self.0.extend(value.bytes().filter(|b| !separators.contains(b)));
        self.0.push(PROPERTY_SEPARATOR);
    }

    /// Takes out every property of that name; the others keep their bytes and order.
    pub fn remove(&mut self, name: &str) {
        if Properties(&self.0).pairs().all(|(n, _)| n != name.as_bytes()) {
            return;
        }
        let mut kept = Vec::with_capacity(self.0.len());
        for (segment, n, _) in Properties(&self.0).spans() {
            if n != name.as_bytes() {
                kept.extend_from_slice(segment);
            }
        }
        self.0 = kept;
    }

    pub fn as_properties(&self) -> Properties<'_> {
        Properties(&self.0)
    }

    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    pub fn into_bytes(self) -> Vec<u8> {
        self.0
    }
}

impl From<&[u8]> for PropertiesBuf {
    fn from(encoded: &[u8]) -> Self {
        Self(encoded.to_vec())
    }
}

impl From<Vec<u8>> for PropertiesBuf {
    fn from(encoded: Vec<u8>) -> Self {
        Self(encoded)
    }
}

impl From<&str> for PropertiesBuf {
    fn from(encoded: &str) -> Self {
        Self(encoded.as_bytes().to_vec())
    }
}

impl<'a> FromIterator<(&'a str, &'a str)> for PropertiesBuf {
    fn from_iter<T: IntoIterator<Item = (&'a str, &'a str)>>(pairs: T) -> Self {
        let mut properties = Self::new();
        for (name, value) in pairs {
            properties.set(name, value);
        }
        properties
    }
}

/// The tag code of a message, by which queues are filtered: Java's `String.hashCode` of its TAGS property, which
/// counts UTF-16 units; 0 without tags.
pub fn tag_code(tags: &str) -> i64 {
    i64::from(
        tags.encode_utf16().fold(0i32, |hash, unit| hash.wrapping_mul(31).wrapping_add(i32::from(unit))),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(encoded: &str) -> Vec<(&str, &str)> {
        Properties(encoded.as_bytes()).iter().collect()
    }

    #[test]
    fn reads_what_apache_reads() {
        assert_eq!(pairs("a\x01b\x02cc\x01dd\x02"), [("a", "b"), ("cc", "dd")]);
        assert_eq!(pairs("a\x01b\x02cc\x01dd"), [("a", "b"), ("cc", "dd")]);
        assert_eq!(pairs(""), []);
        // Neither an empty name nor an empty value counts, nor a pair without its inner separator.
        assert_eq!(pairs("\x01b\x02a\x01\x02ab\x02abc\x02\x02\x02x\x01y"), [("x", "y")]);
        assert_eq!(pairs("a\x01b\x01c\x02"), [("a", "b\x01c")]);
        assert_eq!(Properties(b"a\x011\x02a\x012\x02").get("a"), Some("2"));
        assert_eq!(Properties(b"a\x01\xff\x02b\x01c").get("a"), None);
        assert_eq!(Properties(b"a\x01\xff\x02b\x01c").iter().collect::<Vec<_>>(), [("b", "c")]);
    }

    #[test]
    fn edits_keep_the_rest() {
        let mut p = PropertiesBuf::from("a\x011\x02b\x01\u{e4}\x02a\x012");
        p.set("a", "3");
        assert_eq!(p.as_bytes(), "b\x01\u{e4}\x02a\x013\x02".as_bytes());
        p.remove("b");
        p.remove("no such");
        assert_eq!(p.as_bytes(), b"a\x013\x02");
        let mut p = PropertiesBuf::from("a\x011");
        p.set("b", "2");
        assert_eq!(p.as_bytes(), b"a\x011\x02b\x012\x02");
        p.set("b", "");
        assert_eq!(p.as_bytes(), b"a\x011\x02");
    }

    #[test]
    fn a_value_cannot_forge_a_property() {
        let mut p = PropertiesBuf::new();
        p.set("a", "1\x02ADMIN\x01yes");
        assert_eq!(p.as_properties().iter().collect::<Vec<_>>(), [("a", "1ADMINyes")]);
    }

    #[test]
    fn tag_codes_are_java_hash_codes() {
        assert_eq!(tag_code(""), 0);
        assert_eq!(tag_code("TagA"), 2_598_919);
        assert_eq!(tag_code("polygenelubricants"), i64::from(i32::MIN));
        // A character outside the basic plane is two units.
        assert_eq!(tag_code("\u{1F600}"), 0xD83D * 31 + 0xDE00);
    }

    #[test]
    fn further_queues_are_those_with_an_offset() {
        let further = |topic: &str, names: &str, offsets: &str| {
            let text =
                format!("INNER_MULTI_DISPATCH\u{1}{names}\u{2}INNER_MULTI_QUEUE_OFFSET\u{1}{offsets}\u{2}");
            let found = further_queues(topic, Properties(text.as_bytes()));
            found.into_iter().map(|(name, offset)| format!("{name}@{offset}")).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(further("T", "%LMQ%a,%LMQ%$P$b", "7,0"), "%LMQ%a@7 %LMQ%$P$b@0");
        assert_eq!(further("T", "%LMQ%a,other,%LMQ%b", "7,,1"), "%LMQ%a@7 %LMQ%b@1");
        for (names, offsets) in [("%LMQ%a", "7,8"), ("%LMQ%a", "-1"), ("%LMQ%a", "9223372036854775808")] {
            assert_eq!(further("T", names, offsets), "");
        }
        assert_eq!(further("T", "%LMQ%../a", "7"), "");
        for topic in ["%RETRY%g", "%DLQ%g", "SCHEDULE_TOPIC_XXXX", "rmq_sys_wheel_timer"] {
            assert_eq!(further(topic, "%LMQ%a", "7"), "");
        }
    }
}
