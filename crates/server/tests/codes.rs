//! Every request code of the table, to the running broker and name server, with headers and bodies that are right, empty or
//! hostile, in both encodings: each is answered in time with the code that the table promises, and the server goes on.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

mod support;

use kerolox_wire::codes::{Plane, Request, State};
use kerolox_wire::header::{PullMessage, PullMessageResponse};
use kerolox_wire::{Command, Encoding, RequestCode, ResponseCode};
use std::net::SocketAddr;
use std::time::{Duration, Instant};
use support::{Folder, Kerolox, PATIENCE, Raw, send_request};

/// Time for one answer.
const LIMIT: Duration = Duration::from_secs(10);

/// Fields as Apache's clients send them, of all requests together.
const TEXTS: [(&str, &str); 34] = [
    ("topic", "Walk"),
    ("defaultTopic", "TBW102"),
    ("group", "walkers"),
    ("consumerGroup", "walkers"),
    ("producerGroup", "walkers"),
    ("groupName", "walkers"),
    ("srcGroup", "walkers"),
    ("destGroup", "others"),
    ("compareGroup", "walkers"),
    ("clientID", "walker@1"),
    ("clientId", "walker@1"),
    ("brokerName", "nobody"),
    ("brokerAddr", "127.0.0.1:1"),
    ("clusterName", "nowhere"),
    ("cluster", "nowhere"),
    ("haServerAddr", "127.0.0.1:2"),
    ("namespace", "walk"),
    ("key", "k"),
    ("value", "v"),
    ("properties", "TAGS\u{1}a\u{2}"),
    ("subscription", "*"),
    ("expressionType", "TAG"),
    ("exp", "*"),
    ("expType", "TAG"),
    ("topicFilterType", "SINGLE_TAG"),
    ("msgId", "7F00000100002A9F0000000000000000"),
    ("statsName", "TOPIC_PUT_NUMS"),
    ("statsKey", "Walk"),
    ("recallHandle", "djEgYSBiIDEgYw=="),
    ("extraInfo", "0 0 60000 0 0 nobody 0 0"),
    ("attemptId", "a"),
    ("requestId", "r"),
    ("readable", "true"),
    ("order", "false"),
];

const NUMBERS: [(&str, &str); 40] = [
    ("queueId", "0"),
    ("queueOffset", "0"),
    ("maxMsgNums", "1"),
    ("sysFlag", "0"),
    ("commitOffset", "0"),
    ("subVersion", "0"),
    ("defaultTopicQueueNums", "1"),
    ("bornTimestamp", "1"),
    ("flag", "0"),
    ("reconsumeTimes", "0"),
    ("maxReconsumeTimes", "1"),
    ("offset", "0"),
    ("delayLevel", "1"),
    ("timestamp", "1"),
    ("maxNum", "1"),
    ("beginTimestamp", "0"),
    ("endTimestamp", "1"),
    ("readQueueNums", "1"),
    ("writeQueueNums", "1"),
    ("perm", "6"),
    ("topicSysFlag", "0"),
    ("index", "0"),
    ("count", "1"),
    ("brokerId", "0"),
    ("bodyCrc32", "0"),
    ("masterFlushOffset", "0"),
    ("tranStateTableOffset", "0"),
    ("commitLogOffset", "0"),
    ("commitOrRollback", "0"),
    ("invisibleTime", "60000"),
    ("initMode", "0"),
    ("bornTime", "1"),
    ("storeTimestamp", "1"),
    ("startOffset", "0"),
    ("popTime", "1"),
    ("consumeType", "0"),
    ("groupSeq", "0"),
    ("maxGroupNum", "10"),
    ("topicSeq", "0"),
    ("maxTopicNum", "10"),
];

/// How long a request without an answer may be held: short, and always the same.
const WAITS: [(&str, &str); 2] = [("suspendTimeoutMillis", "1"), ("pollTime", "1")];

/// What is done to a request.
struct Variant {
    what: &'static str,
    texts: Option<String>,
    numbers: Option<&'static str>,
    body: &'static [u8],
    fields: bool,
}

fn variants() -> Vec<Variant> {
    let variant = |what, numbers, body| Variant { what, texts: None, numbers, body, fields: true };
    let texts = |what, text: String| Variant { texts: Some(text), ..variant(what, None, b"{}") };
    vec![
        variant("right", None, b"{}"),
        Variant { fields: false, ..variant("empty", None, b"") },
        variant("huge numbers", Some("2147483647"), b"{\"a\":99999999999999999999}"),
        variant("numbers beyond all types", Some("99999999999999999999999"), b"[1,2"),
        variant("negative numbers", Some("-2147483648"), b"\xff\xfe\x00\x01"),
        variant("no numbers at all", Some("many"), b"null"),
        texts("a climbing path", "../../../etc/passwd".to_owned()),
        texts("a command", "x`reboot`;$(reboot)".to_owned()),
        texts("control characters", "a\u{0}b\u{1}c\u{2}\n".to_owned()),
    ]
}

fn request(row: &Request, variant: &Variant, encoding: Encoding, opaque: i32) -> Command {
    let mut command = Command { encoding, opaque, ..Command::request(row.code) };
    if variant.fields {
        for (name, value) in TEXTS {
            command.fields.push(name, variant.texts.as_deref().unwrap_or(value));
        }
        for (name, value) in NUMBERS {
            command.fields.push(name, variant.numbers.unwrap_or(value));
        }
        for (name, value) in WAITS {
            command.fields.push(name, value);
        }
    }
    command.with_body(variant.body.to_vec())
}

/// Requests with one field of 60 KiB each.
fn long_ones(row: &Request, encoding: Encoding, opaque: i32) -> Vec<(String, Command)> {
    let long = "y".repeat(60 << 10);
    let of = |field: &str| {
        let mut command = Command { encoding, opaque, ..Command::request(row.code) };
        for (name, value) in TEXTS.into_iter().chain(NUMBERS).chain(WAITS) {
            command.fields.push(name, if name == field { &long } else { value });
        }
        (format!("60 KiB of {field}"), command.with_body(b"{}".to_vec()))
    };
    ["topic", "group", "consumerGroup", "properties", "subscription", "queueId", "msgId"].map(of).into()
}

/// What the table promises of a plane; `None`: anything but "not supported".
fn promised(row: &Request, plane: Plane) -> Option<ResponseCode> {
    match row.state {
        _ if !row.planes.contains(&plane) => Some(ResponseCode::REQUEST_CODE_NOT_SUPPORTED),
        State::Done => None,
        State::Planned => Some(ResponseCode::REQUEST_CODE_NOT_SUPPORTED),
        State::Refused(with) => Some(with),
    }
}

fn check(address: SocketAddr, plane: Plane, row: &Request, what: &str, command: &Command) {
    let mut raw = Raw::connect(address);
    let begun = Instant::now();
    raw.send(command);
    // The server may ask something itself, for example when members of a group changed.
    let answer = loop {
        let answer = raw.receive();
        if answer.is_response() {
            break answer;
        }
    };
    let told = format!("{:?}, {what}, {:?}: {} {:?}", row.code, command.encoding, answer.code, answer.remark);
    assert!(begun.elapsed() < LIMIT, "{told}: late");
    assert_eq!((answer.opaque, answer.encoding), (command.opaque, command.encoding), "{told}");
    match promised(row, plane) {
        Some(code) => assert_eq!(answer.code, i32::from(code), "{told}"),
        None => assert_ne!(answer.code, i32::from(ResponseCode::REQUEST_CODE_NOT_SUPPORTED), "{told}"),
    }
}

fn walk(address: SocketAddr, plane: Plane) {
    let variants = variants();
    let mut opaque = 0;
    for row in RequestCode::ALL {
        for encoding in [Encoding::Json, Encoding::Rocketmq] {
            for variant in &variants {
                opaque += 1;
                check(address, plane, row, variant.what, &request(row, variant, encoding, opaque));
            }
            for (what, command) in long_ones(row, encoding, opaque) {
                check(address, plane, row, &what, &command);
            }
        }
    }
}

#[test]
fn every_code_is_answered_whatever_comes_with_it() {
    let folder = Folder::new("codes");
    let kerolox = Kerolox::start(&folder.path("data"));
    assert!(LIMIT < PATIENCE);
    walk(kerolox.namesrv(), Plane::Namesrv);
    walk(kerolox.broker(), Plane::Broker);
    let mut good = Raw::connect(kerolox.broker());
    let answer = good.ask(&send_request("Afterwards", b"still there"));
    assert_eq!(answer.code, 0, "{:?}", answer.remark);
    let pull = PullMessage {
        consumer_group: "afterwards",
        topic: "Afterwards",
        max_msg_nums: 1,
        sys_flag: kerolox_wire::sys_flag::pull::SUBSCRIPTION,
        subscription: Some("*"),
        ..PullMessage::default()
    };
    let answer = good.ask(&Command::request(RequestCode::PULL_MESSAGE).with_header(&pull));
    assert_eq!(answer.code, 0, "{:?}", answer.remark);
    assert_eq!(answer.header::<PullMessageResponse<'_>>().unwrap().next_begin_offset, 1);
    kerolox.end();
}
