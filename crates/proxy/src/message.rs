//! Messages: as calls carry them, as brokers keep them. The rules, their order and texts are those of Apache's proxy
//! (docs/protocol/grpc-apache.md, section 3); where ours is kinder it says so.

use crate::check;
use crate::status::{Refusal, Result};
use crate::v2::{self, Code, DigestType, Encoding, MessageType, Resource, SystemProperties};
use bytes::Bytes;
use kerolox_wire::properties::{Properties, PropertiesBuf, name as property};
use kerolox_wire::record::RecordView;
use kerolox_wire::sys_flag;
use md5::{Digest, Md5};
use prost_types::{Duration, Timestamp};
use std::collections::HashMap;
use std::fmt::Write;
use std::net::SocketAddr;

/// Properties of a user's own, in one message.
const USER_PROPERTIES_MAX: usize = 128;
/// Bytes of them, with tag and keys.
const USER_PROPERTY_BYTES_MAX: usize = 16_384;
/// Bytes that a message group's name must stay below.
const GROUP_BYTES_LIMIT: usize = 64;
/// Seconds after which the broker asks about a transaction at the latest.
const RECOVERY_S_MAX: i64 = 3_600;

/// Names that users cannot give, and that are not shown as theirs. Source: Apache's `MessageConst.STRING_HASH_SET`.
const RESERVED: &[&str] = &[
    property::TRACE_SWITCH,
    property::MSG_REGION,
    property::KEYS,
    property::TAGS,
    property::WAIT_STORE_MSG_OK,
    property::DELAY_TIME_LEVEL,
    property::RETRY_TOPIC,
    "ORIGIN_GROUP",
    property::REAL_TOPIC,
    property::REAL_QUEUE_ID,
    property::TRANSACTION_PREPARED,
    property::PRODUCER_GROUP,
    property::MIN_OFFSET,
    property::MAX_OFFSET,
    property::BUYER_ID,
    property::ORIGIN_MESSAGE_ID,
    property::TRANSFER_FLAG,
    property::CORRECTION_FLAG,
    property::MQ2_FLAG,
    property::RECONSUME_TIME,
    property::UNIQ_CLIENT_MESSAGE_ID_KEYIDX,
    property::MAX_RECONSUME_TIMES,
    property::CONSUME_START_TIMESTAMP,
    property::POP_CK,
    property::POP_CK_OFFSET,
    property::FIRST_POP_TIME,
    property::TRANSACTION_PREPARED_QUEUE_OFFSET,
    property::DUP_INFO,
    property::EXTEND_UNIQ_INFO,
    property::INSTANCE_ID,
    property::CORRELATION_ID,
    property::MESSAGE_REPLY_TO_CLIENT,
    property::MESSAGE_TTL,
    property::REPLY_MESSAGE_ARRIVE_TIME,
    property::PUSH_REPLY_TIME,
    property::CLUSTER,
    property::MESSAGE_TYPE,
    property::INNER_MULTI_QUEUE_OFFSET,
    property::TIMER_DELAY_MS,
    property::TIMER_DELAY_SEC,
    property::TIMER_DELIVER_MS,
    property::TIMER_ENQUEUE_MS,
    property::TIMER_DEQUEUE_MS,
    property::TIMER_ROLL_TIMES,
    property::TIMER_OUT_MS,
    property::TIMER_DEL_UNIQKEY,
    property::TIMER_DELAY_LEVEL,
    property::BORN_HOST,
    property::BORN_TIMESTAMP,
    property::DLQ_ORIGIN_TOPIC,
    property::DLQ_ORIGIN_MESSAGE_ID,
    property::CRC32,
    property::PRIORITY,
    property::LITE_TOPIC,
];

fn is_reserved(name: &str) -> bool {
    RESERVED.contains(&name)
}

/// A message on its way to a broker.
pub(crate) struct Outgoing {
    pub(crate) properties: PropertiesBuf,
    pub(crate) sys_flag: i32,
    pub(crate) born_ms: i64,
    pub(crate) kind: MessageType,
}

/// Limits of what is sent.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SendLimits {
    pub(crate) body_bytes_max: usize,
    pub(crate) delay_ms_max: i64,
}

/// Checks a message and says it as a broker keeps it.
pub(crate) fn outgoing(
    message: &v2::Message,
    topic: &str,
    peer: SocketAddr,
    now_ms: i64,
    limits: SendLimits,
) -> Result<Outgoing> {
    let default = SystemProperties::default();
    let system = message.system_properties.as_ref().unwrap_or(&default);
    let refuse = |code, why: &str| Err(Refusal::new(code, why));
    if message.body.is_empty() {
        return refuse(Code::MessageBodyEmpty, "message body cannot be empty");
    }
    if message.body.len() > limits.body_bytes_max {
        let why = format!("message body cannot exceed the max {}", limits.body_bytes_max);
        return refuse(Code::MessageBodyTooLarge, &why);
    }
    let mut properties = PropertiesBuf::new();
    let mut sys_flag = 0;
    if system.body_encoding() == Encoding::Gzip {
        sys_flag |= sys_flag::COMPRESSED;
    }
    let is_transaction = system.message_type() == MessageType::Transaction;
    user_properties(&message.user_properties, system, &mut properties)?;
    if is_transaction {
        sys_flag |= sys_flag::TRANSACTION_PREPARED;
        properties.push(property::TRANSACTION_PREPARED, "true");
    }
    if let Some(tag) = &system.tag {
        properties.push(property::TAGS, tag);
    }
    if !system.keys.is_empty() {
        properties.push(property::KEYS, &system.keys.join(" "));
    }
    if system.message_id.trim().is_empty() {
        return refuse(Code::IllegalMessageId, "message id cannot be empty");
    }
    properties.push(property::UNIQ_CLIENT_MESSAGE_ID_KEYIDX, &system.message_id);
    if is_transaction {
        recovery(system, &mut properties)?;
    }
    delivery(system, now_ms, limits, &mut properties)?;
    if let Some(priority) = system.priority {
        if priority < 0 {
            return refuse(Code::BadRequest, "The priority must be greater than or equal to 0");
        }
        properties.push(property::PRIORITY, &priority.to_string());
    }
    let attempt = system.delivery_attempt.unwrap_or(0);
    properties.push(property::RECONSUME_TIME, &attempt.to_string());
    properties.push(property::PRODUCER_GROUP, topic);
    if let Some(group) = message_group(system)? {
        properties.push(property::SHARDING_KEY, group);
    }
    if let Some(lite) = system.lite_topic.as_deref().filter(|lite| !lite.is_empty()) {
        properties.push(property::LITE_TOPIC, check::lite_topic(lite)?);
    }
    if let Some(context) = system.trace_context.as_deref() {
        properties.push(property::TRACE_CONTEXT, context);
    }
    match &*system.born_host {
        "" => properties.push(property::BORN_HOST, &peer.to_string()),
        host => properties.push(property::BORN_HOST, host),
    }
    let born_ms = system.born_timestamp.as_ref().map_or(0, millis_of);
    properties.push(property::BORN_TIMESTAMP, &born_ms.to_string());
    let kind = kind_of(system);
    Ok(Outgoing { properties, sys_flag, born_ms, kind })
}

/// When a broker asks about a transaction.
fn recovery(system: &SystemProperties, properties: &mut PropertiesBuf) -> Result<()> {
    let Some(after) = &system.orphaned_transaction_recovery_duration else { return Ok(()) };
    if after.seconds > RECOVERY_S_MAX {
        let why =
            format!("the max transaction recovery time of message is too large, max is {RECOVERY_S_MAX}");
        return Err(Refusal::new(Code::BadRequest, why));
    }
    properties.push(property::CHECK_IMMUNITY_TIME_IN_SECONDS, &after.seconds.to_string());
    Ok(())
}

/// When a message is to be delivered.
fn delivery(
    system: &SystemProperties,
    now_ms: i64,
    limits: SendLimits,
    properties: &mut PropertiesBuf,
) -> Result<()> {
    let Some(at_ms) = system.delivery_timestamp.as_ref().map(millis_of) else { return Ok(()) };
    if at_ms.saturating_sub(now_ms) > limits.delay_ms_max {
        let why = format!("the max delay time of message is too large, max is {}", limits.delay_ms_max);
        return Err(Refusal::new(Code::IllegalDeliveryTime, why));
    }
    properties.push(property::TIMER_DELIVER_MS, &at_ms.to_string());
    Ok(())
}

/// What a message is by what it has.
fn kind_of(system: &SystemProperties) -> MessageType {
    let has = |text: &Option<String>| text.as_ref().is_some_and(|text| !text.is_empty());
    if system.message_type() == MessageType::Transaction {
        MessageType::Transaction
    } else if system.delivery_timestamp.is_some() {
        MessageType::Delay
    } else if has(&system.message_group) {
        MessageType::Fifo
    } else if system.priority.is_some() {
        MessageType::Priority
    } else if has(&system.lite_topic) {
        MessageType::Lite
    } else {
        MessageType::Normal
    }
}

/// What the order of a message hangs on.
pub(crate) fn message_group(system: &SystemProperties) -> Result<Option<&str>> {
    let Some(group) = system.message_group.as_deref().filter(|group| !group.is_empty()) else {
        return Ok(None);
    };
    let why = if group.trim().is_empty() {
        "message group cannot be the char sequence of whitespace"
    } else if group.len() >= GROUP_BYTES_LIMIT {
        "message group exceed the max size 64"
    } else if check::has_control(group) {
        "message group cannot contain control character"
    } else {
        return Ok(Some(group));
    };
    Err(Refusal::new(Code::IllegalMessageGroup, why))
}

fn user_properties(
    user: &HashMap<String, String>,
    system: &SystemProperties,
    properties: &mut PropertiesBuf,
) -> Result<()> {
    if user.len() > USER_PROPERTIES_MAX {
        let why = format!("too many user properties, max is {USER_PROPERTIES_MAX}");
        return Err(Refusal::new(Code::MessagePropertiesTooLarge, why));
    }
    let mut bytes = 0;
    for (name, value) in user {
        let why = if is_reserved(name) {
            format!("property is used by system: {name}")
        } else if check::has_control(name) {
            "the key of property cannot contain control character".to_owned()
        } else if check::has_control(value) {
            "the value of property cannot contain control character".to_owned()
        } else {
            bytes += name.len() + value.len();
            properties.push(name, value);
            continue;
        };
        return Err(Refusal::new(Code::IllegalMessagePropertyKey, why));
    }
    if let Some(tag) = system.tag.as_deref().filter(|tag| !tag.is_empty()) {
        let why = if tag.trim().is_empty() {
            "tag cannot be the char sequence of whitespace"
        } else if tag.contains('|') {
            "tag cannot contain '|'"
        } else if check::has_control(tag) {
            "tag cannot contain control character"
        } else {
            ""
        };
        if !why.is_empty() {
            return Err(Refusal::new(Code::IllegalMessageTag, why));
        }
        bytes += tag.len();
    }
    for key in system.keys.iter().filter(|key| !key.is_empty()) {
        let why = if key.trim().is_empty() {
            "key cannot be the char sequence of whitespace"
        } else if check::has_control(key) {
            "key cannot contain control character"
        } else {
            bytes += key.len();
            continue;
        };
        return Err(Refusal::new(Code::IllegalMessageKey, why));
    }
    if bytes > USER_PROPERTY_BYTES_MAX {
        let why = format!("the total size of user property is too large, max is {USER_PROPERTY_BYTES_MAX}");
        return Err(Refusal::new(Code::MessagePropertiesTooLarge, why));
    }
    Ok(())
}

/// What is known of a message beyond its record.
#[derive(Debug, Clone, Default)]
pub(crate) struct Delivery {
    /// The receipt; none where nothing is to be acknowledged.
    pub(crate) receipt: Option<String>,
    pub(crate) invisible_ms: Option<i64>,
    /// How often it was delivered before, where the record does not say.
    pub(crate) attempts_before: Option<i32>,
    /// Its offset in the queue that it was taken from, where that is not its own.
    pub(crate) offset: Option<i64>,
}

/// Says a record as a call carries it: a message of `topic` (its own may be a retry topic). `bytes` is what the record lies in.
pub(crate) fn incoming(
    record: &RecordView<'_>,
    bytes: &Bytes,
    topic: &str,
    delivery: Delivery,
) -> v2::Message {
    let mut user_properties = HashMap::new();
    let mut system = SystemProperties {
        body_encoding: Encoding::Identity.into(),
        born_timestamp: Some(timestamp(record.born_ms)),
        born_host: record.born_host.ip().to_string(),
        store_timestamp: Some(timestamp(record.store_ms)),
        store_host: record.store_host.to_string(),
        receipt_handle: delivery.receipt,
        queue_id: record.queue_id as i32,
        queue_offset: Some(delivery.offset.unwrap_or(record.queue_offset as i64)),
        invisible_duration: delivery.invisible_ms.map(duration),
        delivery_attempt: Some(delivery.attempts_before.unwrap_or(record.reconsume_times).saturating_add(1)),
        ..SystemProperties::default()
    };
    let mut is_delayed = false;
    for (name, value) in record.properties().iter() {
        is_delayed |= is_delay(name);
        apply(name, value, &mut system);
        if !is_reserved(name) {
            user_properties.insert(name.to_owned(), value.to_owned());
        }
    }
    if system.message_id.is_empty() {
        system.message_id = record.message_id().to_string();
    }
    let kind = kind_of(&system);
    // (By a level or a delay, the time itself is not known.)
    let is_delayed = is_delayed && kind != MessageType::Transaction;
    system.message_type = if is_delayed { MessageType::Delay } else { kind }.into();
    let body = body(record, bytes, &mut system);
    system.body_digest = Some(digest(&body));
    v2::Message {
        topic: Some(Resource { name: topic.to_owned(), ..Resource::default() }),
        user_properties,
        system_properties: Some(system),
        body,
    }
}

fn is_delay(name: &str) -> bool {
    let delays = [
        property::TIMER_DELIVER_MS,
        property::DELAY_TIME_LEVEL,
        property::TIMER_DELAY_SEC,
        property::TIMER_DELAY_MS,
    ];
    delays.contains(&name)
}

/// A property of a record, as what calls say of a message.
fn apply(name: &str, value: &str, system: &mut SystemProperties) {
    let own = || Some(value.to_owned());
    match name {
        property::TAGS => system.tag = own(),
        property::KEYS => {
            system.keys = value.split(' ').filter(|key| !key.is_empty()).map(str::to_owned).collect();
        }
        property::UNIQ_CLIENT_MESSAGE_ID_KEYIDX => value.clone_into(&mut system.message_id),
        property::BORN_HOST => value.clone_into(&mut system.born_host),
        property::TRANSACTION_PREPARED if value == "true" => {
            system.set_message_type(MessageType::Transaction)
        }
        property::TIMER_DELIVER_MS => system.delivery_timestamp = value.parse().ok().map(timestamp),
        property::PRIORITY => system.priority = value.parse().ok().filter(|priority| *priority >= 0),
        property::LITE_TOPIC => system.lite_topic = own(),
        property::SHARDING_KEY => system.message_group = own(),
        property::TRACE_CONTEXT => system.trace_context = own(),
        property::DLQ_ORIGIN_TOPIC => value.clone_into(&mut dead_letter(system).topic),
        property::DLQ_ORIGIN_MESSAGE_ID => value.clone_into(&mut dead_letter(system).message_id),
        _ => {}
    }
}

fn dead_letter(system: &mut SystemProperties) -> &mut v2::DeadLetterQueue {
    system.dead_letter_queue.get_or_insert_default()
}

/// What the user sent. Clients of Remoting compress large bodies; those of gRPC do not agree what a compressed body is.
fn body(record: &RecordView<'_>, bytes: &Bytes, system: &mut SystemProperties) -> Bytes {
    let stored = bytes.slice_ref(record.body);
    if record.sys_flag & sys_flag::COMPRESSED == 0 {
        return stored;
    }
    match plain(&stored, record.sys_flag) {
        Some(plain) => plain.into(),
        None => {
            system.body_encoding = Encoding::Gzip.into();
            stored
        }
    }
}

/// Bytes of a body that is inflated: what no message can have is not made of a small one.
const PLAIN_BYTES_MAX: usize = 64 << 20;

fn plain(stored: &[u8], flags: i32) -> Option<Vec<u8>> {
    match flags & sys_flag::COMPRESSION_MASK {
        0 | sys_flag::COMPRESSION_ZLIB => {
            miniz_oxide::inflate::decompress_to_vec_zlib_with_limit(stored, PLAIN_BYTES_MAX).ok()
        }
        _ => None,
    }
}

/// Always MD5 in capital letters: each client reads a CRC in another way.
fn digest(body: &[u8]) -> v2::Digest {
    let mut checksum = String::with_capacity(32);
    for byte in Md5::digest(body) {
        // holds because writing to a string cannot fail
        let _ = write!(checksum, "{byte:02X}");
    }
    v2::Digest { r#type: DigestType::Md5.into(), checksum }
}

pub(crate) fn timestamp(ms: i64) -> Timestamp {
    Timestamp { seconds: ms.div_euclid(1_000), nanos: (ms.rem_euclid(1_000) * 1_000_000) as i32 }
}

pub(crate) fn duration(ms: i64) -> Duration {
    Duration { seconds: ms / 1_000, nanos: (ms % 1_000 * 1_000_000) as i32 }
}

/// Milliseconds since the epoch, or of a duration; out of range: the nearest.
pub(crate) fn millis_of(time: &Timestamp) -> i64 {
    time.seconds.saturating_mul(1_000).saturating_add(i64::from(time.nanos / 1_000_000))
}

pub(crate) fn millis(time: &Duration) -> i64 {
    time.seconds.saturating_mul(1_000).saturating_add(i64::from(time.nanos / 1_000_000))
}

/// A property of a record, by name.
pub(crate) fn property_of<'a>(record: &RecordView<'a>, name: &str) -> Option<&'a str> {
    Properties(record.raw_properties).get(name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::BytesMut;
    use kerolox_wire::record::NewRecord;

    const LIMITS: SendLimits = SendLimits { body_bytes_max: 4 << 20, delay_ms_max: 86_400_000 };
    const NOW_MS: i64 = 1_700_000_000_000;

    fn peer() -> SocketAddr {
        "10.1.2.3:4567".parse().unwrap()
    }

    fn message(change: impl FnOnce(&mut v2::Message, &mut SystemProperties)) -> v2::Message {
        let mut message = v2::Message { body: Bytes::from_static(b"body"), ..v2::Message::default() };
        let mut system = SystemProperties { message_id: "ID".into(), ..SystemProperties::default() };
        change(&mut message, &mut system);
        v2::Message { system_properties: Some(system), ..message }
    }

    fn sent(change: impl FnOnce(&mut v2::Message, &mut SystemProperties)) -> Result<Outgoing> {
        outgoing(&message(change), "T", peer(), NOW_MS, LIMITS)
    }

    fn pairs(outgoing: &Outgoing) -> Vec<(&str, &str)> {
        outgoing.properties.as_properties().iter().collect()
    }

    #[test]
    fn everything_that_is_said_is_kept() {
        let out = sent(|message, system| {
            message.user_properties.insert("color".into(), "blue".into());
            system.tag = Some("a".into());
            system.keys = vec!["k1".into(), "k2".into()];
            system.born_timestamp = Some(timestamp(NOW_MS - 5));
            system.message_group = Some("g".into());
            system.trace_context = Some("trace".into());
            system.body_encoding = Encoding::Gzip.into();
        })
        .unwrap();
        let want = [
            ("color", "blue"),
            ("TAGS", "a"),
            ("KEYS", "k1 k2"),
            ("UNIQ_KEY", "ID"),
            ("RECONSUME_TIME", "0"),
            ("PGROUP", "T"),
            ("__SHARDINGKEY", "g"),
            ("TRACE_CONTEXT", "trace"),
            ("__BORNHOST", "10.1.2.3:4567"),
            ("BORN_TIMESTAMP", "1699999999995"),
        ];
        assert_eq!(pairs(&out), want);
        assert_eq!(
            (out.born_ms, out.kind, out.sys_flag),
            (NOW_MS - 5, MessageType::Fifo, sys_flag::COMPRESSED)
        );
    }

    #[test]
    fn the_kind_of_a_message_is_what_it_has() {
        let kind = |change: fn(&mut SystemProperties)| {
            let out = sent(|_, system| change(system)).unwrap();
            (out.kind, out.sys_flag)
        };
        assert_eq!(kind(|_| ()), (MessageType::Normal, 0));
        let transaction = kind(|s| s.set_message_type(MessageType::Transaction));
        assert_eq!(transaction, (MessageType::Transaction, sys_flag::TRANSACTION_PREPARED));
        // What a client calls it otherwise does not count.
        assert_eq!(kind(|s| s.set_message_type(MessageType::Fifo)), (MessageType::Normal, 0));
        let delay = kind(|s| s.delivery_timestamp = Some(timestamp(NOW_MS + 86_400_000)));
        assert_eq!(delay.0, MessageType::Delay);
        assert_eq!(kind(|s| s.priority = Some(0)).0, MessageType::Priority);
        assert_eq!(kind(|s| s.lite_topic = Some("l-1".into())).0, MessageType::Lite);
    }

    #[test]
    fn what_cannot_be_sent_has_its_code() {
        type Change = fn(&mut v2::Message, &mut SystemProperties);
        let cases: [(Code, &str, Change); 22] = [
            (Code::MessageBodyEmpty, "cannot be empty", |m, _| m.body = Bytes::new()),
            (Code::MessageBodyTooLarge, "the max 4194304", |m, _| m.body = vec![0; (4 << 20) + 1].into()),
            (Code::MessagePropertiesTooLarge, "max is 128", |m, _| {
                m.user_properties = (0..129).map(|n| (n.to_string(), "v".into())).collect();
            }),
            (Code::MessagePropertiesTooLarge, "max is 16384", |m, _| {
                m.user_properties = [("k".into(), "v".repeat(16_384))].into();
            }),
            (Code::IllegalMessagePropertyKey, "used by system: TAGS", |m, _| {
                m.user_properties = [("TAGS".into(), "v".into())].into();
            }),
            (Code::IllegalMessagePropertyKey, "the key of property", |m, _| {
                m.user_properties = [("a\u{1}b".into(), "v".into())].into();
            }),
            (Code::IllegalMessagePropertyKey, "the value of property", |m, _| {
                m.user_properties = [("a".into(), "v\u{7f}".into())].into();
            }),
            (Code::IllegalMessageTag, "whitespace", |_, s| s.tag = Some(" ".into())),
            (Code::IllegalMessageTag, "'|'", |_, s| s.tag = Some("a|b".into())),
            (Code::IllegalMessageTag, "control", |_, s| s.tag = Some("a\n".into())),
            (Code::IllegalMessageKey, "whitespace", |_, s| s.keys = vec!["a".into(), " ".into()]),
            (Code::IllegalMessageKey, "control", |_, s| s.keys = vec!["a\0".into()]),
            (Code::IllegalMessageId, "cannot be empty", |_, s| s.message_id = " ".into()),
            (Code::IllegalMessageGroup, "whitespace", |_, s| s.message_group = Some(" ".into())),
            (Code::IllegalMessageGroup, "max size 64", |_, s| s.message_group = Some("g".repeat(64))),
            (Code::IllegalMessageGroup, "control", |_, s| s.message_group = Some("g\t".into())),
            (Code::IllegalLiteTopic, "max size 64", |_, s| s.lite_topic = Some("l".repeat(65))),
            (Code::IllegalLiteTopic, "alphanumeric", |_, s| s.lite_topic = Some("a b".into())),
            (Code::IllegalLiteTopic, "whitespace", |_, s| s.lite_topic = Some(" ".into())),
            (Code::IllegalDeliveryTime, "max is 86400000", |_, s| {
                s.delivery_timestamp = Some(timestamp(NOW_MS + 86_400_001));
            }),
            (Code::BadRequest, "greater than or equal", |_, s| s.priority = Some(-1)),
            (Code::BadRequest, "max is 3600", |_, s| {
                s.set_message_type(MessageType::Transaction);
                s.orphaned_transaction_recovery_duration = Some(duration(3_601_000));
            }),
        ];
        for (code, text, change) in cases {
            let Err(refusal) = sent(change) else { panic!("{code:?} {text}") };
            assert!(refusal.code == code && refusal.message.contains(text), "{code:?} {text}: {refusal:?}");
        }
    }

    fn record<'a>(properties: &'a str, change: impl FnOnce(&mut NewRecord<'a>)) -> Bytes {
        let mut record = NewRecord {
            topic: "%RETRY%g_T",
            queue_id: 3,
            flag: 0,
            sys_flag: 0,
            queue_offset: 7,
            position: 4_096,
            born_ms: NOW_MS,
            born_host: peer(),
            store_ms: NOW_MS + 1,
            store_host: "10.9.9.9:10911".parse().unwrap(),
            reconsume_times: 2,
            prepared_transaction_offset: 0,
            body: b"hello",
            properties: properties.as_bytes(),
        };
        change(&mut record);
        let mut out = BytesMut::new();
        record.encode(&mut out).unwrap();
        out.freeze()
    }

    fn received(bytes: &Bytes, delivery: Delivery) -> v2::Message {
        incoming(&RecordView::parse(bytes).unwrap(), bytes, "T", delivery)
    }

    #[test]
    fn what_was_kept_is_said_again() {
        let properties = "TAGS\u{1}a\u{2}KEYS\u{1}k1 k2\u{2}UNIQ_KEY\u{1}ID\u{2}color\u{1}blue\u{2}\
            __SHARDINGKEY\u{1}g\u{2}__BORNHOST\u{1}10.1.2.3:4567\u{2}PGROUP\u{1}T\u{2}";
        let delivery =
            Delivery { receipt: Some("handle".into()), invisible_ms: Some(1_500), ..Delivery::default() };
        let message = received(&record(properties, |_| ()), delivery);
        assert_eq!((message.topic.unwrap().name, &*message.body), ("T".to_owned(), &b"hello"[..]));
        let user = [("color".to_owned(), "blue".to_owned()), ("__SHARDINGKEY".to_owned(), "g".to_owned())];
        assert_eq!(message.user_properties, user.into());
        let system = message.system_properties.unwrap();
        assert_eq!(
            (system.tag.as_deref(), &*system.keys),
            (Some("a"), &["k1".to_owned(), "k2".to_owned()][..])
        );
        assert_eq!((&*system.message_id, system.delivery_attempt, system.queue_id), ("ID", Some(3), 3));
        assert_eq!((system.queue_offset, system.receipt_handle.as_deref()), (Some(7), Some("handle")));
        assert_eq!((system.message_type(), system.message_group.as_deref()), (MessageType::Fifo, Some("g")));
        assert_eq!((&*system.born_host, &*system.store_host), ("10.1.2.3:4567", "10.9.9.9:10911"));
        assert_eq!(system.born_timestamp.as_ref().map(millis_of), Some(NOW_MS));
        assert_eq!(system.invisible_duration.as_ref().map(millis), Some(1_500));
        let digest = system.body_digest.clone().unwrap();
        assert_eq!(digest.checksum, "5D41402ABC4B2A76B9719D911017C592");
        assert_eq!((digest.r#type(), system.body_encoding()), (DigestType::Md5, Encoding::Identity));
    }

    #[test]
    fn without_an_id_of_the_producers_it_is_the_place() {
        let system = received(&record("", |_| ()), Delivery::default()).system_properties.unwrap();
        assert_eq!(system.message_id, "0A09090900002A9F0000000000001000");
        assert_eq!((system.message_type(), system.tag), (MessageType::Normal, None));
    }

    #[test]
    fn bodies_come_as_they_were_sent() {
        let plain = b"hello hello hello hello".repeat(9);
        let deflated = miniz_oxide::deflate::compress_to_vec_zlib(&plain, 6);
        for flags in [sys_flag::COMPRESSED, sys_flag::COMPRESSED | sys_flag::COMPRESSION_ZLIB] {
            let bytes = record("", |record| {
                record.sys_flag = flags;
                record.body = &deflated;
            });
            let message = received(&bytes, Delivery::default());
            assert_eq!(message.body, plain);
            assert_eq!(message.system_properties.unwrap().body_encoding(), Encoding::Identity);
        }
        // What we cannot read goes as it lies, and says so.
        for flags in [sys_flag::COMPRESSED | sys_flag::COMPRESSION_ZSTD, sys_flag::COMPRESSED] {
            let bytes = record("", |record| record.sys_flag = flags);
            let message = received(&bytes, Delivery::default());
            assert_eq!(&*message.body, b"hello");
            assert_eq!(message.system_properties.unwrap().body_encoding(), Encoding::Gzip);
        }
    }

    #[test]
    fn times_are_the_nearest_that_can_be() {
        for ms in [0, 1, -1, 1_999, -1_999, NOW_MS] {
            assert_eq!(millis_of(&timestamp(ms)), ms);
        }
        assert_eq!(millis_of(&Timestamp { seconds: i64::MAX, nanos: 5 }), i64::MAX);
        assert_eq!(millis(&Duration { seconds: i64::MIN, nanos: 0 }), i64::MIN);
        assert_eq!(millis(&duration(1_500)), 1_500);
    }
}
