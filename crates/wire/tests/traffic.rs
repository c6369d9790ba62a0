//! What unmodified clients and Apache 5.5.0 said to each other (`testdata/traffic.txt`): every frame reads, reads as the header
//! and body that its code calls for, and writes back byte for byte.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)] // a panic is how a test fails

use bytes::BytesMut;
use kerolox_wire::body::{
    CheckClientRequestBody, GetConsumerListByGroupResponseBody, HeartbeatData, LockBatchRequestBody,
    LockBatchResponseBody, TopicRouteData, from_json, to_fastjson, to_json,
};
use kerolox_wire::header::{
    ConsumerGroup, ConsumerSendMsgBack, CreateTopic, GetMaxOffset, GetRouteInfo, Header, OffsetResponse,
    PullMessage, PullMessageResponse, QueryConsumerOffset, QueryMessage, QueryMessageResponse, SearchOffset,
    SendMessage, SendMessageResponse, TimestampResponse, TopicQueue, UnregisterClient, UpdateConsumerOffset,
    ViewMessage,
};
use kerolox_wire::properties::{Properties, name};
use kerolox_wire::record::{RecordView, batch};
use kerolox_wire::{Command, Fields, MessageId, RequestCode, ResponseCode, frame};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::collections::BTreeSet;

/// The header reads, and all that it read is what was sent.
fn header<'a, H: Header<'a>>(command: &'a Command) -> H {
    let header: H = command.header().unwrap();
    let mut again = Fields::new();
    header.encode(&mut again);
    for (key, value) in again.iter() {
        assert_eq!(command.fields.get(key), Some(value));
    }
    header
}

/// The body reads, and writes back as it was, in one of the two ways.
fn body<T: DeserializeOwned + Serialize>(command: &Command) -> T {
    let body: T = from_json(&command.body).unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let wanted = in_order(&command.body);
    assert_eq!(in_order(&to_fastjson(&body)), wanted);
    assert_eq!(in_order(&to_json(&body)), wanted, "{}", text(&command.body));
    body
}

/// JSON without regard to the order of lists (Java's sets have none), and without the members that 4.9.8 does not have.
fn in_order(json: &[u8]) -> serde_json::Value {
    fn sort(value: &mut serde_json::Value) {
        match value {
            serde_json::Value::Array(list) => {
                list.iter_mut().for_each(sort);
                list.sort_by_key(ToString::to_string);
            }
            serde_json::Value::Object(map) => {
                for absent in ["heartbeatFingerprint", "withoutSub", "onlyThisBroker", "enableActingMaster"] {
                    map.remove(absent);
                }
                map.values_mut().for_each(sort);
            }
            _ => {}
        }
    }
    let mut value = from_json(json).unwrap();
    sort(&mut value);
    value
}

fn request(command: &Command) {
    match RequestCode::from_wire(command.code) {
        RequestCode::GET_ROUTEINFO_BY_TOPIC => {
            header::<GetRouteInfo<'_>>(command);
        }
        RequestCode::UPDATE_AND_CREATE_TOPIC => {
            header::<CreateTopic<'_>>(command);
        }
        RequestCode::HEART_BEAT => assert!(!body::<HeartbeatData>(command).client_id.is_empty()),
        RequestCode::SEND_MESSAGE_V2 | RequestCode::SEND_BATCH_MESSAGE => send(command),
        RequestCode::GET_CONSUMER_LIST_BY_GROUP | RequestCode::NOTIFY_CONSUMER_IDS_CHANGED => {
            {
                header::<ConsumerGroup<'_>>(command);
            };
        }
        RequestCode::QUERY_CONSUMER_OFFSET => {
            header::<QueryConsumerOffset<'_>>(command);
        }
        RequestCode::UPDATE_CONSUMER_OFFSET => {
            header::<UpdateConsumerOffset<'_>>(command);
        }
        RequestCode::PULL_MESSAGE | RequestCode::LITE_PULL_MESSAGE => {
            header::<PullMessage<'_>>(command);
        }
        RequestCode::CONSUMER_SEND_MSG_BACK => {
            header::<ConsumerSendMsgBack<'_>>(command);
        }
        RequestCode::LOCK_BATCH_MQ | RequestCode::UNLOCK_BATCH_MQ => {
            assert!(!body::<LockBatchRequestBody>(command).mq_set.is_empty());
        }
        RequestCode::GET_MAX_OFFSET => {
            header::<GetMaxOffset<'_>>(command);
        }
        RequestCode::GET_MIN_OFFSET | RequestCode::GET_EARLIEST_MSG_STORETIME => {
            {
                header::<TopicQueue<'_>>(command);
            };
        }
        RequestCode::SEARCH_OFFSET_BY_TIMESTAMP => {
            header::<SearchOffset<'_>>(command);
        }
        RequestCode::VIEW_MESSAGE_BY_ID => {
            header::<ViewMessage<'_>>(command);
        }
        RequestCode::QUERY_MESSAGE => {
            header::<QueryMessage<'_>>(command);
        }
        RequestCode::UNREGISTER_CLIENT => {
            header::<UnregisterClient<'_>>(command);
        }
        RequestCode::CHECK_CLIENT_CONFIG => {
            body::<CheckClientRequestBody>(command);
        }
        code => panic!("{code:?}"),
    }
}

fn send(command: &Command) {
    let send: SendMessage<'_> = command.header().unwrap();
    let mut letters = Fields::new();
    send.encode_v2(&mut letters);
    for (key, value) in letters.iter() {
        assert_eq!(command.fields.get(key), Some(value));
    }
    assert!(send.topic.starts_with("Traffic"));
    if command.code == RequestCode::SEND_BATCH_MESSAGE.0 {
        let messages: Vec<_> = batch::messages(&command.body).collect::<Result<_, _>>().unwrap();
        assert_eq!(messages.len(), 3);
        assert!(
            messages
                .iter()
                .all(|m| Properties(m.properties).get(name::UNIQ_CLIENT_MESSAGE_ID_KEYIDX).is_some())
        );
    } else {
        let properties = Properties(send.properties.unwrap().as_bytes());
        assert_eq!(properties.get("TAGS"), Some("TagA"));
        assert_eq!(properties.get("user"), Some("v主题\"\\\n0"));
    }
}

fn answer(asked: RequestCode, command: &Command) {
    match asked {
        RequestCode::GET_ROUTEINFO_BY_TOPIC => {
            if command.code == ResponseCode::SUCCESS.0 {
                assert_eq!(body::<TopicRouteData>(command).broker_datas.len(), 1);
            } else {
                assert_eq!(command.code, ResponseCode::TOPIC_NOT_EXIST.0);
            }
        }
        RequestCode::SEND_MESSAGE_V2 | RequestCode::SEND_BATCH_MESSAGE => {
            let sent: SendMessageResponse<'_> = header(command);
            assert!(sent.msg_id.split(',').all(|id| id.parse::<MessageId>().is_ok()), "{}", sent.msg_id);
        }
        RequestCode::GET_CONSUMER_LIST_BY_GROUP => {
            if command.code == ResponseCode::SUCCESS.0 {
                assert!(!body::<GetConsumerListByGroupResponseBody>(command).consumer_id_list.is_empty());
            }
        }
        RequestCode::QUERY_CONSUMER_OFFSET
        | RequestCode::GET_MAX_OFFSET
        | RequestCode::GET_MIN_OFFSET
        | RequestCode::SEARCH_OFFSET_BY_TIMESTAMP => {
            if command.code == ResponseCode::SUCCESS.0 {
                {
                    header::<OffsetResponse<'_>>(command);
                };
            }
        }
        RequestCode::GET_EARLIEST_MSG_STORETIME => {
            header::<TimestampResponse<'_>>(command);
        }
        RequestCode::PULL_MESSAGE | RequestCode::LITE_PULL_MESSAGE => {
            header::<PullMessageResponse<'_>>(command);
        }
        RequestCode::QUERY_MESSAGE => {
            {
                header::<QueryMessageResponse<'_>>(command);
            };
            assert!(records(&command.body) > 0);
        }
        RequestCode::VIEW_MESSAGE_BY_ID => assert_eq!(records(&command.body), 1),
        RequestCode::LOCK_BATCH_MQ => {
            assert!(!body::<LockBatchResponseBody>(command).lock_ok_mq_set.is_empty())
        }
        _ => assert_eq!(command.code, ResponseCode::SUCCESS.0),
    }
}

/// All of a body are sound records of the topic; how many.
fn records(mut body: &[u8]) -> usize {
    let mut count = 0;
    while !body.is_empty() {
        let view = RecordView::parse(body).unwrap();
        view.verify(None, false).unwrap();
        assert!(view.topic.starts_with("Traffic"));
        body = &body[view.len()..];
        count += 1;
    }
    count
}

#[test]
fn traffic_of_unmodified_clients() {
    let text = include_str!("../testdata/traffic.txt");
    let mut kinds = BTreeSet::new();
    for line in text.lines() {
        let [client, encoding, direction, code, hex] = line.split(' ').collect::<Vec<_>>()[..] else {
            panic!()
        };
        let bytes: Vec<u8> =
            (0..hex.len()).step_by(2).map(|i| u8::from_str_radix(&hex[i..i + 2], 16).unwrap()).collect();
        let command =
            frame::decode(&mut BytesMut::from(&bytes[..]), frame::FRAME_BYTES_MAX).unwrap().unwrap();
        let what = format!("{client} {encoding} {direction} {code}");
        let again = frame::to_bytes(&command);
        let text = String::from_utf8_lossy(&bytes).into_owned();
        if text.contains(r#""extFields":{},"#) {
            // That there are no fields is told in two ways.
            let said = String::from_utf8_lossy(&bytes[8..]).replace(r#""extFields":{},"#, "");
            assert_eq!(String::from_utf8_lossy(&again[8..]), said, "{what}");
        } else {
            assert_eq!(String::from_utf8_lossy(&again), text, "{what}");
            assert_eq!(again, bytes, "{what}");
        }
        println!("{what}");
        match (direction, code.split_once('-')) {
            (">" | "<!", None) => {
                assert!(!command.is_response());
                assert_eq!(command.code.to_string(), code);
                request(&command);
            }
            ("<", None) => {
                assert!(command.is_response());
                answer(RequestCode(code.parse().unwrap()), &command);
            }
            _ => {
                assert_eq!(code, "11-found");
                assert!(records(&command.body) > 0);
            }
        }
        kinds.insert((client, encoding, direction, code));
    }
    assert_eq!(kinds.len(), 121);
}
