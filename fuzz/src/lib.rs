//! What the fuzz targets check, one function each: nothing panics, and what was understood is written and read back
//! as the same.

mod adopt;
mod broker;
// Parts of the program, which is no library.
#[path = "../../crates/server/src/config/mod.rs"]
#[allow(dead_code)]
mod config_file;
#[path = "../../crates/server/src/file.rs"]
mod file;
mod grpc;
mod http2;
mod store;

pub use adopt::adopt;
pub use broker::broker;
pub use grpc::{CALLS, grpc};
pub use http2::http2;
pub use store::store;

use bytes::BytesMut;
use config_file::{Role, Values};
use kerolox_broker::sql::{BYTES_MAX, Sql};
use kerolox_broker::{BrokerConfig, State, config as broker_config, hot};
use kerolox_namesrv::{Namesrv, kv_file, kv_of_file};
use kerolox_store::{StateFold, state as entries};
use kerolox_wire::body::{
    BatchAckMessageRequestBody, CheckClientRequestBody, ClusterInfo, DataVersion,
    GetConsumerListByGroupResponseBody, HeartbeatData, KvTable, LockBatchRequestBody, LockBatchResponseBody,
    QueryAssignmentRequestBody, RegisterBrokerBody, SetMessageRequestMode, SubscriptionGroupConfig,
    TopicConfigSerializeWrapper, TopicList, TopicRouteData, from_json, to_fastjson, to_json,
};
use kerolox_wire::header::{self, AckMessage, Header, SendMessage};
use kerolox_wire::properties::{Properties, PropertiesBuf, tag_code};
use kerolox_wire::receipt::Receipt;
use kerolox_wire::record::{NewRecord, RecordHead, RecordView, batch as batches, strip_crc};
use kerolox_wire::{Command, Fields, MessageId, RequestCode, frame as frames, java_properties, names};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::collections::BTreeMap;

/// A stream of frames, in both encodings.
pub fn frame(data: &[u8]) {
    let mut stream = BytesMut::from(data);
    if data.len() > 8 && data[4] == 0 {
        both_readers(data);
    }
    while let Ok(Some(command)) = frames::decode(&mut stream, frames::FRAME_BYTES_MAX) {
        let _ = RequestCode::from_wire(command.code).request();
        headers(&command);
        let written = frames::to_bytes(&command);
        // Escapes may make a header longer than it came.
        let header_len = written.len() - 8 - command.body.len();
        if header_len <= frames::HEADER_BYTES_MAX {
            let again = frames::decode(&mut BytesMut::from(&written[..]), written.len()).unwrap().unwrap();
            assert_eq!(again, command);
        }
    }
}

/// A space before it keeps a JSON header from the quick reader: the general one must understand the same.
fn both_readers(data: &[u8]) {
    let header_len = u32::from_be_bytes([0, data[5], data[6], data[7]]) as usize;
    let Some(header) = data[8..].get(..header_len) else { return };
    let framed = |header: &[u8]| {
        let mut out = BytesMut::new();
        out.extend_from_slice(&(4 + header.len() as u32).to_be_bytes());
        out.extend_from_slice(&(header.len() as u32).to_be_bytes());
        out.extend_from_slice(header);
        frames::decode(&mut out, frames::FRAME_BYTES_MAX).ok()
    };
    if header_len < frames::HEADER_BYTES_MAX {
        assert_eq!(framed(header), framed(&[b" ", header].concat()));
    }
}

fn headers(command: &Command) {
    fn one<'a, H: Header<'a> + PartialEq + std::fmt::Debug>(fields: &'a Fields) {
        if let Ok(header) = H::decode(fields) {
            let mut written = Fields::new();
            header.encode(&mut written);
            // Lifetimes tie what was read to its fields: compare what is written of it.
            let mut again = Fields::new();
            match H::decode(fields) {
                Ok(same) => same.encode(&mut again),
                Err(why) => panic!("{why}"),
            }
            assert_eq!(written, again);
        }
    }
    macro_rules! each {
        ($($header:ident)*) => {$( one::<header::$header<'_>>(&command.fields); )*};
    }
    each!(
        SendMessage SendMessageResponse PullMessage ReplyMessage
        PullMessageResponse PopMessage PopMessageResponse AckMessage
        PopLiteMessage NotifyUnsubscribeLite GetLiteTopicInfo GetLiteClientInfo
        GetLiteGroupInfo TriggerLiteDispatch ChangeInvisibleTime ChangeInvisibleTimeResponse
        PeekMessage Notification NotificationResponse PollingInfo
        PollingInfoResponse ConsumerSendMsgBack QueryConsumerOffset UpdateConsumerOffset
        TopicQueue GetMaxOffset SearchOffset OffsetResponse
        TimestampResponse EndTransaction CheckTransactionState ResumeCheckHalfMessage
        RecallMessage RecallMessageResponse UnregisterClient ConsumerGroup
        ViewMessage QueryMessage QueryMessageResponse CreateTopic
        DeleteTopic GetAllTopicConfig GetAllTopicConfigResponse GetAllSubscriptionGroup
        GetAllSubscriptionGroupResponse DeleteSubscriptionGroup DeleteSubscriptionGroupList Group
        ProducerGroup CloneGroupOffset ResetOffset GetConsumerStatus
        GetConsumerRunningInfo ConsumeMessageDirectly ConfigVersion UpdateGroupForbidden
        ViewBrokerStatsData GetConsumeStats GetBrokerConsumeStats TopicGroup
        QueryCorrectionOffset QueryConsumeQueue GetRouteInfo RegisterBroker
        RegisterBrokerResponse BrokerIdentity QueryDataVersionResponse BrokerHeartbeat
        PutKvConfig KvConfigKey GetKvConfigResponse KvNamespace
        BrokerName WipeWritePermResponse AddWritePermResponse Cluster
        GetBrokerMemberGroup DeleteTopicInNamesrv Topic
    );
    if let Ok(ack) = command.header::<AckMessage<'_>>()
        && let Some(receipt) = Receipt::parse(ack.extra_info)
    {
        let text = receipt.to_string();
        assert_eq!(Receipt::parse(&text), Some(receipt));
    }
    if let Ok(send) = command.header::<SendMessage<'_>>() {
        let (mut long, mut letters) = (Fields::new(), Fields::new());
        send.encode(&mut long);
        send.encode_v2(&mut letters);
        assert_eq!(SendMessage::decode(&long), SendMessage::decode(&letters));
        let _ = names::check_topic(send.topic).map_err(|why| why.to_string());
        let _ = names::check_group(send.producer_group).map_err(|why| why.to_string());
        send.properties.map(|properties| Properties(properties.as_bytes()).iter().count());
    }
}

/// First as a record that lies somewhere, then as parts to make one of.
pub fn record(data: &[u8]) {
    let _ = RecordHead::peek(data);
    if let Ok(view) = RecordView::parse(data) {
        assert!(view.len() <= data.len());
        let _ = view.verify(Some(view.position), false);
        let _ = view.properties().iter().count();
        assert_eq!(view.message_id().to_string().parse::<MessageId>(), Ok(view.message_id()));
        let mut client = BytesMut::new();
        strip_crc(view.bytes(), &mut client).unwrap();
        assert_eq!(client.len(), view.client_len());
        let seen = RecordView::parse(&client).unwrap();
        assert_eq!(
            (seen.topic, seen.body, seen.raw_properties),
            (view.topic, view.body, view.properties().0)
        );
        if view.properties().0.len() <= kerolox_wire::record::PROPERTIES_BYTES_MAX {
            written(&NewRecord::from(&view));
        }
    }
    if let [at, flip, numbers, topic_len, properties_len, rest @ ..] = data {
        let (topic, rest) = rest.split_at(rest.len().min(usize::from(*topic_len)));
        let (properties, body) = rest.split_at(rest.len().min(usize::from(*properties_len)));
        let host =
            |v6: u8| if v6 == 0 { ([1, 2, 3, 4], 5).into() } else { ([1u16, 2, 3, 4, 5, 6, 7, 8], 9).into() };
        let number = u64::from(*numbers) << 32;
        let new = NewRecord {
            topic: &String::from_utf8_lossy(topic),
            queue_id: u32::from(*numbers),
            flag: i32::from(*at),
            sys_flag: i32::from(*numbers),
            queue_offset: number,
            position: number + 1,
            born_ms: number as i64,
            born_host: host(numbers & 1),
            store_ms: -1,
            store_host: host(numbers & 2),
            reconsume_times: -1,
            prepared_transaction_offset: i64::MIN,
            body,
            properties,
        };
        let mut bytes = written(&new);
        let at = usize::from(*at) * 17 % bytes.len();
        if *flip != 0 {
            bytes[at] ^= flip;
            let verdict = RecordView::parse(&bytes).and_then(|view| view.verify(Some(new.position), true));
            assert!(verdict.is_err(), "byte {at} ^ {flip:#x} went unnoticed");
        }
    }
}

/// The record that this becomes, which is sound and says what it should.
fn written(new: &NewRecord<'_>) -> BytesMut {
    let mut bytes = BytesMut::new();
    new.encode(&mut bytes).unwrap();
    assert_eq!(bytes.len(), new.encoded_len());
    let view = RecordView::parse(&bytes).unwrap();
    view.verify(Some(new.position), true).unwrap();
    assert_eq!((view.topic, view.body, view.queue_offset), (new.topic, new.body, new.queue_offset));
    assert_eq!(view.born_host.ip(), new.born_host.ip().to_canonical());
    bytes
}

/// The body of a batch send.
pub fn batch(data: &[u8]) {
    let mut read = Vec::new();
    for message in batches::messages(data) {
        match message {
            Ok(message) => read.push(message),
            Err(why) => assert_eq!(why.index, read.len()),
        }
    }
    assert!(read.len() * batches::BATCH_MESSAGE_BYTES_MIN <= data.len());
    let mut written = BytesMut::new();
    read.iter().for_each(|message| batches::encode(message, &mut written));
    assert_eq!(batches::messages(&written).collect::<Result<Vec<_>, _>>().unwrap(), read);
}

/// Encoded properties, compared with a plain reading of Apache's rules, and changed.
pub fn properties(data: &[u8]) {
    let properties = Properties(data);
    let plain = plainly(data);
    let read: BTreeMap<&[u8], &[u8]> = properties.pairs().collect();
    assert_eq!(read, plain);
    // Each look-up reads all of them.
    let some = 1 + properties.iter().count() / 8;
    for (name, value) in properties.iter().step_by(some) {
        let _ = tag_code(value);
        let last = plain[name.as_bytes()];
        assert_eq!(properties.get(name), std::str::from_utf8(last).ok());
    }
    let Some((name, value)) = properties.iter().next() else { return };
    let mut changed = PropertiesBuf::from(data);
    changed.set(name, "new");
    assert_eq!(changed.as_properties().get(name), Some("new"));
    assert_eq!(changed.as_properties().pairs().collect::<BTreeMap<_, _>>().len(), plain.len());
    changed.set("another name", value);
    changed.remove(name);
    assert_eq!(
        changed.as_properties().get(name),
        (name == "another name").then_some(value).filter(|_| false)
    );
    let mut others: BTreeMap<&[u8], &[u8]> = changed.as_properties().pairs().collect();
    for touched in [name.as_bytes(), b"another name"] {
        others.remove(touched);
    }
    let unlike = |n: &[u8]| n != name.as_bytes() && n != b"another name";
    assert!(plain.into_iter().filter(|(n, _)| unlike(n)).eq(others));
}

/// Apache's loop over the string, byte by byte.
fn plainly(text: &[u8]) -> BTreeMap<&[u8], &[u8]> {
    let mut map = BTreeMap::new();
    let find = |what: u8, from: usize| text[from..].iter().position(|b| *b == what).map(|i| from + i);
    let mut index = 0;
    while index < text.len() {
        let end = find(2, index).unwrap_or(text.len());
        if end - index >= 3
            && let Some(separator) = find(1, index)
            && separator > index
            && separator < end - 1
        {
            map.insert(&text[index..separator], &text[separator + 1..end]);
        }
        index = end + 1;
    }
    map
}

/// JSON bodies: the first byte says which.
pub fn body(data: &[u8]) {
    fn one<T: DeserializeOwned + Serialize + PartialEq + std::fmt::Debug>(json: &[u8]) {
        if let Ok(value) = from_json::<T>(json) {
            assert_eq!(from_json::<T>(&to_json(&value)).as_ref(), Ok(&value));
            assert_eq!(from_json::<T>(&to_fastjson(&value)).as_ref(), Ok(&value));
        }
    }
    let Some((which, json)) = data.split_first() else { return };
    match which % 17 {
        0 => one::<HeartbeatData>(json),
        1 => one::<TopicRouteData>(json),
        2 => one::<RegisterBrokerBody>(json),
        3 => one::<LockBatchRequestBody>(json),
        4 => one::<LockBatchResponseBody>(json),
        5 => one::<GetConsumerListByGroupResponseBody>(json),
        6 => one::<ClusterInfo>(json),
        7 => one::<TopicList>(json),
        8 => one::<KvTable>(json),
        9 => one::<SubscriptionGroupConfig>(json),
        10 => one::<TopicConfigSerializeWrapper>(json),
        11 => one::<CheckClientRequestBody>(json),
        12 => one::<DataVersion>(json),
        14 => one::<BatchAckMessageRequestBody>(json),
        15 => one::<QueryAssignmentRequestBody>(json),
        16 => one::<SetMessageRequestMode>(json),
        _ => {
            let _ = RegisterBrokerBody::read(json, true);
        }
    }
}

/// A name server that is told one request after the other, from connections that come and go.
pub fn namesrv(data: &[u8]) {
    let mut namesrv = Namesrv::new();
    let mut stream = BytesMut::from(data);
    let mut now_ms = 0;
    while let Ok(Some(request)) = frames::decode(&mut stream, frames::FRAME_BYTES_MAX) {
        let conn = request.opaque.unsigned_abs() as u64 % 4;
        let answer = namesrv.handle(now_ms, conn, &request);
        assert!(
            answer.is_response() && answer.opaque == request.opaque && answer.encoding == request.encoding
        );
        now_ms += i64::from(request.flag.unsigned_abs());
        namesrv.tick(now_ms);
        if request.flag & 4 != 0 {
            namesrv.disconnected(conn);
        }
    }
    for conn in 0..4 {
        namesrv.disconnected(conn);
    }
    assert_eq!(namesrv.wake_ms(), None, "somebody is still there");
}

/// A condition, and after a line break the properties that it is asked about (or of those that it names itself).
pub fn sql92(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let (condition, values) = text.split_once('\n').unwrap_or((&text, "a=1 b=2.5 c=text d= e=true"));
    match Sql::parse(condition) {
        Ok(sql) => {
            let pairs = || values.split(' ').filter_map(|pair| pair.split_once('='));
            assert_eq!(sql.matches(pairs()), sql.matches(pairs()));
            let _ = sql.matches(std::iter::empty());
        }
        Err(why) => assert!(why.at <= condition.len() || condition.len() > BYTES_MAX, "{why}"),
    }
}

/// Entries of the broker's state, whatever they say: what is made of them is said again, and then reads as the same.
pub fn state(data: &[u8]) {
    let fold = |stream: &[u8]| {
        let mut state = State::default();
        let mut sound = true;
        for (kind, payload) in entries::entries(stream).map_while(Result::ok) {
            sound &= kind >= entries::KIND_APPLICATION_MIN && state.apply(kind, payload).is_ok();
        }
        (state, sound)
    };
    // Lengths are two bytes here, so that what is cut out of it is found again.
    let mut stream = Vec::new();
    let mut rest = data;
    while let [kind, high, low, after @ ..] = rest {
        let len = (usize::from(*high) << 8 | usize::from(*low)).min(after.len());
        let (payload, after) = after.split_at(len);
        entries::put(&mut stream, 16 + kind % 48, payload);
        rest = after;
    }
    let said = fold(&stream).0.dump();
    let (again, sound) = fold(&said);
    assert!(sound, "what was said is not understood: {}", said.escape_ascii());
    assert_eq!(said.escape_ascii().to_string(), again.dump().escape_ascii().to_string());
}

/// A configuration file, what it sets in a running broker, and the file of the name server's key-value table.
pub fn config(data: &[u8]) {
    if let Ok(table) = kv_of_file(data) {
        assert_eq!(kv_of_file(&kv_file(&table)), Ok(table));
    }
    let text = java_properties::text_of(data);
    for role in [Role::Broker, Role::Namesrv, Role::Standalone] {
        match Values::parse(&text, "a.conf", role) {
            Ok(values) => drop(values.shown()),
            Err(why) => assert!(why.to_string().starts_with("a.conf:"), "{why}"),
        }
    }
    let Ok(entries) = java_properties::parse(&text) else { return };
    assert!(entries.len() <= text.lines().count() + text.matches('\r').count());
    let mut config = BrokerConfig::new("broker-a", ([127, 0, 0, 1], 10911).into());
    for entry in entries {
        let before = format!("{config:?}");
        let known = hot::hot_keys().any(|key| key == entry.key);
        match hot::set(&mut config, &entry.key, &entry.value) {
            Ok(()) => assert!(known),
            Err(_) => assert_eq!(before, format!("{config:?}"), "refused, and set all the same"),
        }
        let _ = broker_config::parse_delay_levels(&entry.value);
    }
}
