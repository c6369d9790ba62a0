//! What Apache RocketMQ 5.5.0 wrote (`testdata/`, by `tests/golden/Capture.java`), read and written again.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)] // a panic is how a test fails

use bytes::BytesMut;
use kerolox_wire::header::{
    ConsumerSendMsgBack, Header, PullMessage, PullMessageResponse, SendMessage, SendMessageResponse,
};
use kerolox_wire::properties::{Properties, tag_code};
use kerolox_wire::record::{self, NewRecord, RecordError, RecordView, batch};
use kerolox_wire::{Command, Encoding, MessageId, frame};
use std::collections::BTreeMap;

fn lines(file: &str) -> impl Iterator<Item = Vec<String>> {
    let path = format!("{}/testdata/{file}", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{path}: {e}"));
    let lines: Vec<_> = text.lines().map(|l| l.split(' ').map(str::to_owned).collect()).collect();
    assert!(lines.len() > 3, "{path} is nearly empty");
    lines.into_iter()
}

fn unhex(hex: &str) -> Vec<u8> {
    if hex == "-" {
        return Vec::new();
    }
    assert_eq!(hex.len() % 2, 0);
    (0..hex.len()).step_by(2).map(|i| u8::from_str_radix(&hex[i..i + 2], 16).unwrap()).collect()
}

fn decode(bytes: &[u8]) -> Command {
    let mut stream = BytesMut::from(bytes);
    let command = frame::decode(&mut stream, frame::FRAME_BYTES_MAX).unwrap().unwrap();
    assert!(stream.is_empty());
    command
}

/// Both encodings say the same, and what was read is written again byte for byte.
#[test]
fn frames() {
    let mut seen = 0;
    for line in lines("frames.txt") {
        let [name, json, binary] = &line[..] else { panic!("{line:?}") };
        let (json, binary) = (unhex(json), unhex(binary));
        let (from_json, from_binary) = (decode(&json), decode(&binary));
        assert_eq!(from_json.encoding, Encoding::Json);
        // The binary form does not tell an empty remark from none.
        let remark = from_json.remark.clone().filter(|remark| !remark.is_empty());
        let as_binary = Command { encoding: Encoding::Rocketmq, remark, ..from_json.clone() };
        assert_eq!(as_binary, from_binary, "{name}");
        assert_eq!(
            String::from_utf8_lossy(&frame::to_bytes(&from_json)),
            String::from_utf8_lossy(&json),
            "{name}"
        );
        assert_eq!(frame::to_bytes(&from_json), json, "{name}");
        assert_eq!(frame::to_bytes(&from_binary), binary, "{name}");
        seen += 1;
    }
    assert_eq!(seen, 15);
}

fn header_again<'a, H: Header<'a> + std::fmt::Debug>(command: &'a Command) -> H {
    let header: H = command.header().unwrap();
    let mut again = kerolox_wire::Fields::new();
    header.encode(&mut again);
    for (key, value) in again.iter() {
        assert_eq!(command.fields.get(key), Some(value), "{header:?}");
    }
    header
}

#[test]
fn headers() {
    let frames: BTreeMap<String, Command> =
        lines("frames.txt").map(|line| (line[0].clone(), decode(&unhex(&line[1])))).collect();
    let v1: SendMessage<'_> = header_again(&frames["send-v1-plain"]);
    assert_eq!((v1.producer_group, v1.topic, v1.default_topic), ("PG", "TopicTest", "TBW102"));
    assert_eq!(v1.properties, Some("KEYS\u{1}k\u{2}X\u{1}x\u{2}"));
    let v2: SendMessage<'_> = frames["send-v2-plain"].header().unwrap();
    assert_eq!(v1, v2);
    let mut letters = kerolox_wire::Fields::new();
    v2.encode_v2(&mut letters);
    for (key, value) in letters.iter() {
        assert_eq!(frames["send-v2-plain"].fields.get(key), Some(value), "{key}");
    }
    let pull: PullMessage<'_> = header_again(&frames["pull"]);
    assert_eq!((pull.queue_offset, pull.max_msg_nums, pull.suspend_timeout_millis), (i64::MAX, 32, 15_000));
    let back: ConsumerSendMsgBack<'_> = header_again(&frames["send-back"]);
    assert_eq!((back.offset, back.delay_level, back.unit_mode), (4711, 0, Some(false)));
    let sent: SendMessageResponse<'_> = header_again(&frames["sent"]);
    assert_eq!((sent.queue_id, sent.queue_offset, sent.transaction_id), (1, 42, Some("0A0B0C")));
    let pulled: PullMessageResponse<'_> = header_again(&frames["pulled"]);
    assert_eq!((pulled.next_begin_offset, pulled.max_offset), (8, 100));
}

#[test]
fn records() {
    let mut seen = 0;
    for line in lines("records.txt") {
        let [name, hex] = &line[..] else { panic!("{line:?}") };
        let bytes = unhex(hex);
        let view = RecordView::parse(&bytes).unwrap_or_else(|e| panic!("{name}: {e}"));
        assert_eq!((view.queue_id, view.flag, view.reconsume_times), (2, 7, 3), "{name}");
        assert_eq!((view.born_ms, view.store_ms), (1_700_000_000_123, 1_700_000_000_456), "{name}");
        assert_eq!((view.born_host.port(), view.store_host.port()), (54321, 10911), "{name}");
        assert_eq!(view.prepared_transaction_offset, 99, "{name}");
        let with_crc = name.ends_with("-crc");
        assert_eq!(view.has_crc(), with_crc, "{name}");
        view.verify(Some(view.position), with_crc).unwrap_or_else(|e| panic!("{name}: {e}"));
        if with_crc {
            written_again(name, &bytes, &view);
        } else {
            assert_eq!(view.verify(None, true), Err(RecordError::NoCrc), "{name}");
        }
        seen += 1;
    }
    assert_eq!(seen, 28);
}

fn written_again(name: &str, bytes: &[u8], view: &RecordView<'_>) {
    // The separator that Apache adds is there already when the properties are read back: both ways are the same record.
    let properties = view.properties().0;
    let open = properties.strip_suffix(b"\x02").unwrap_or(properties);
    for properties in [properties, open] {
        let again = NewRecord { properties, ..view.into() };
        let mut out = BytesMut::new();
        again.encode(&mut out).unwrap();
        assert_eq!(out, bytes, "{name}");
    }
}

/// A record without its checksum is the record that Apache writes when checksums are off, its place aside.
#[test]
fn clients_get_what_apache_would_send() {
    let by_name: BTreeMap<String, Vec<u8>> =
        lines("records.txt").map(|l| (l[0].clone(), unhex(&l[1]))).collect();
    let mut compared = 0;
    for (name, without) in by_name.iter().filter(|(name, _)| !name.ends_with("-crc")) {
        let mut stripped = BytesMut::new();
        record::strip_crc(&by_name[&format!("{name}-crc")], &mut stripped).unwrap();
        stripped[record::POSITION_AT..record::POSITION_AT + 8]
            .copy_from_slice(&without[record::POSITION_AT..record::POSITION_AT + 8]);
        if ["open-properties", "both-v6"].contains(&name.as_str()) {
            // Here the separator before the checksum stays.
            assert_eq!(stripped.len(), without.len() + 1, "{name}");
        } else {
            assert_eq!(stripped, &without[..], "{name}");
        }
        compared += 1;
    }
    assert_eq!(compared, 14);
}

#[test]
fn batches() {
    for line in lines("batches.txt") {
        let [name, hex] = &line[..] else { panic!("{line:?}") };
        let bytes = unhex(hex);
        let messages: Vec<_> = batch::messages(&bytes).collect::<Result<_, _>>().unwrap();
        if name == "empty-message" {
            assert_eq!((messages.len(), messages[0].body.len()), (1, 0));
        } else {
            assert_eq!(format!("batch-of-{}", messages.len()), *name);
            for (i, message) in messages.iter().enumerate() {
                assert_eq!(message.body, format!("body {i}").as_bytes());
                assert_eq!(message.flag as usize, i);
                let properties = Properties(message.properties);
                assert_eq!(properties.get("TAGS"), Some(&*format!("Tag{i}")));
                assert_eq!(properties.get("KEYS"), Some(&*format!("key{i}")));
            }
        }
        let mut again = BytesMut::new();
        messages.iter().for_each(|message| batch::encode(message, &mut again));
        assert_eq!(again, bytes, "{name}");
    }
}

#[test]
fn message_ids() {
    for line in lines("ids.txt") {
        let [address, port, position, id] = &line[..] else { panic!("{line:?}") };
        let host = (address.parse::<std::net::IpAddr>().unwrap(), port.parse().unwrap()).into();
        let message_id = MessageId { host, position: position.parse().unwrap() };
        assert_eq!(message_id.to_string(), *id);
        assert_eq!(id.parse(), Ok(message_id));
    }
}

#[test]
fn properties() {
    for line in lines("properties.txt") {
        let encoded = unhex(&line[0]);
        let pair = |text: &String| {
            let (name, value) = text.split_once('=').unwrap();
            (String::from_utf8(unhex(name)).unwrap(), String::from_utf8(unhex(value)).unwrap())
        };
        let wanted: BTreeMap<String, String> = line[1..].iter().map(pair).collect();
        let properties = Properties(&encoded);
        let found: BTreeMap<String, String> =
            properties.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        assert_eq!(found, wanted, "{:?}", String::from_utf8_lossy(&encoded));
        for (name, value) in &wanted {
            assert_eq!(properties.get(name), Some(&**value), "{:?}", String::from_utf8_lossy(&encoded));
        }
    }
}

#[test]
fn tag_codes() {
    for line in lines("tags.txt") {
        let tags = String::from_utf8(unhex(&line[0])).unwrap();
        assert_eq!(tag_code(&tags).to_string(), line[1], "{tags}");
    }
}
