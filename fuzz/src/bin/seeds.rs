//! Writes `corpus/` from what the real Apache said (`crates/*/testdata`): where the fuzzer begins.

use kerolox_fuzz::CALLS;
use kerolox_proxy::v2::settings::PubSub;
use kerolox_proxy::v2::{self, MessageQueue, MessageType, Resource, SystemProperties, telemetry_command};
use prost::Message;
use prost_types::{Duration, Timestamp};
use std::fs;
use std::path::Path;

fn unhex(hex: &str) -> Vec<u8> {
    (0..hex.len() / 2).map(|i| u8::from_str_radix(&hex[2 * i..2 * i + 2], 16).unwrap_or(0)).collect()
}

fn lines(path: &str) -> Vec<Vec<String>> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates").join(path);
    let text = fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    text.lines().map(|line| line.split(' ').map(str::to_owned).collect()).collect()
}

fn seed(target: &str, name: &str, data: &[u8]) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target);
    fs::create_dir_all(&folder)
        .and_then(|()| fs::write(folder.join(name), data))
        .expect("the corpus can be written");
}

fn main() {
    for line in lines("wire/testdata/frames.txt") {
        seed("frame", &format!("{}-json", line[0]), &unhex(&line[1]));
        seed("frame", &format!("{}-binary", line[0]), &unhex(&line[2]));
    }
    for line in lines("wire/testdata/traffic.txt") {
        let way = if line[2].starts_with('>') { "asks" } else { "gets" };
        seed("frame", &format!("{}-{}-{way}-{}", line[0], line[1].to_lowercase(), line[3]), &unhex(&line[4]));
    }
    for line in lines("wire/testdata/records.txt") {
        seed("record", &line[0], &unhex(&line[1]));
    }
    for line in lines("wire/testdata/batches.txt") {
        seed("batch", &line[0], &unhex(&line[1]));
    }
    for (i, line) in lines("wire/testdata/properties.txt").iter().enumerate().step_by(10) {
        seed("properties", &format!("{i:03}"), &unhex(&line[0]));
    }
    bodies();
    let mut conversation = Vec::new();
    for line in lines("namesrv/testdata/apache-5.5.0.txt").iter().filter(|line| line[0] == "ask") {
        seed("namesrv", &line[1], &unhex(&line[4]));
        conversation.extend(unhex(&line[4]));
    }
    seed("namesrv", "whole", &conversation);
    stories();
    of_apache();
    of_http2();
    of_grpc();
    // Entries of the broker's state: kind less 16, length, payload.
    let entry = |kind: u8, payload: &[u8]| [&[kind, 0, payload.len() as u8], payload].concat();
    let queue = b"\0\x01g\0\x01T\0\0\0\x01";
    for (name, kind, payload) in [
        (
            "topic",
            0,
            &br#"{"topicName":"T","readQueueNums":4,"writeQueueNums":4,"perm":6,"attributes":{"+a":"b"}}"#[..],
        ),
        ("group", 2, br#"{"groupName":"g","retryMaxTimes":3,"attributes":{"a":"b"}}"#),
        ("offset", 4, &[&queue[..], &[0; 7], &[9]].concat()),
        ("delay", 5, &[3, 0, 0, 0, 0, 0, 0, 0, 7]),
        ("half", 6, &[0; 32]),
        ("timer", 8, &[1; 24]),
        ("taken", 16, &[&queue[..], &[0; 8], &[1, 0, 1, b'a'], &[0; 16], &[0; 12]].concat()),
        ("ended", 17, &[&queue[..], &[0; 8]].concat()),
        ("mode", 19, br#"{"topic":"T","consumerGroup":"g","mode":"POP","popShareQueueNum":1}"#),
        ("reset", 32, &[&queue[..], &[0; 8]].concat()),
        ("config", 40, b"\0\x01kvalue"),
        ("delays", 41, &[0; 16]),
        ("forbidden", 42, b"\0\x01g\0\x01T\0\0\0\x04"),
    ] {
        seed("state", name, &entry(kind, payload));
    }
    for (i, line) in lines("broker/testdata/sql92.tsv").iter().enumerate().step_by(10) {
        seed("sql92", &format!("{i:03}"), line.join(" ").split('\t').next().unwrap_or_default().as_bytes());
    }
    for (name, text) in [
        ("plain", "# comment\nbrokerName=a\nfileReservedTime = 48\nmessageDelayLevel=1s 5s \\\n 10s 2h\n"),
        ("escapes", "a\\:b\\u0041=c\\\\d\r\n!x\rmaxMessageSize:4194304\nautoCreateTopicEnable true"),
        ("table", r#"{"configTable":{"ORDER_TOPIC_CONFIG":{"T":"broker-a:4;broker-b:4"},"n":{}}}"#),
        (
            "role",
            "brokerRole=SLAVE\nbrokerNam=x\nlistenPort=66666\naclEnable=true\nflushDiskType=ASYNC_FLUSH",
        ),
    ] {
        seed("config", name, text.as_bytes());
    }
    // Changes of a file: what, which file, where, with what. From 128 on, checksums are made to fit.
    for what in [0, 3, 4, 5, 6, 7, 8, 130, 133, 138] {
        for file in 0..8 {
            seed("store", &format!("{what}-{file}"), &[what, file, 3, 40, 9, 5, 1, 2, 3, 4, 5]);
        }
    }
}

/// The broker's stories, without what it says in them; and what state they leave behind.
fn stories() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates/broker/testdata");
    let mut paths: Vec<_> = fs::read_dir(folder).expect("stories").flatten().map(|e| e.path()).collect();
    paths.retain(|path| path.extension().is_some_and(|ext| ext == "txt"));
    for path in paths {
        let story = fs::read_to_string(&path).expect("a story");
        let (mut told, mut said) = (String::new(), false);
        for line in story.lines() {
            said = line == "----" || said && !line.is_empty();
            if !said && !line.is_empty() && !line.starts_with('#') {
                told.push_str(line);
                told.push('\n');
            }
        }
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        // In parts, so that each is short enough to be changed much.
        let lines: Vec<&str> = told.lines().collect();
        for (i, part) in lines.chunks(25).enumerate() {
            seed("broker", &format!("{name}-{i}"), part.join("\n").as_bytes());
        }
    }
}

/// What Apache leaves beside its log, as `kerolox_fuzz::adopt` reads it: files by their numbers, then messages.
fn of_apache() {
    let item = |which: u8, content: &[u8]| {
        [&[which, (content.len() >> 8) as u8, content.len() as u8], content].concat()
    };
    let pop = r#""bn":"broker-a","c":"G","pt":1699999999000,"q":0,"so":0,"t":"T""#;
    let check_point = format!("\0{{\"bm\":0,\"d\":[0,1,2,3],\"it\":60000,\"n\":4,\"ro\":0,{pop}}}");
    let acks = [format!("\u{1}{{\"ao\":0,{pop}}}"), format!("\u{2}{{\"ao\":-1,\"aol\":[1,2],{pop}}}")];
    let timer = |due: u64, rest: &str| {
        let text = format!("TIMER_OUT_MS:{due};UNIQ_KEY:a;REAL_TOPIC:T;REAL_QID:0;{rest}");
        item(10, text.replace(':', "\u{1}").replace(';', "\u{2}").as_bytes())
    };
    let check = [1_700_000_000_000_i64, 0, 0, 0].map(i64::to_be_bytes).concat();
    let groups = r#"{"dataVersion":{"counter":1},"forbiddenTable":{"G":{"T":4}},"subscriptionGroupTable":{"G":{"groupName":"G","retryMaxTimes":3,"attributes":{"a":"b"}}}}"#;
    let topics = r#"{"dataVersion":{"counter":1},"topicConfigTable":{"T":{"attributes":{"+message.type":"NORMAL"},"order":false,"perm":6,"readQueueNums":4,"topicFilterType":"SINGLE_TAG","topicName":"T","topicSysFlag":0,"writeQueueNums":4},"U":{"topicName":"U"}}}"#;
    let offsets = r#"{"dataVersion":{"timestamp":8},"offsetTable":{"T@G":{0:4},"RMQ_SYS_TRANS_HALF_TOPIC@CID_RMQ_SYS_TRANS":{0:0},"RMQ_SYS_TRANS_OP_HALF_TOPIC@CID_RMQ_SYS_TRANS":{0:0}}}"#;
    let light =
        r#"{"dataVersion":{"timestamp":9},"lmqOffsetTable":{"%LMQ%q@%LMQ%c":7},"offsetTable":{"T@G":{0:5}}}"#;
    let modes = r#"{"messageRequestModeMap":{"T":{"G":{"consumerGroup":"G","mode":"POP","popShareQueueNum":2,"topic":"T"}}}}"#;
    let order = r#"{"table":{"T@G":{"0":{"popTime":1699999999000,"i":60000,"o":[2,1],"ot":{"2":1700000000001},"oc":{"2":3},"cm":1,"a":"x"}}}}"#;
    let files = [topics, groups, offsets, light, r#"{"offsetTable":{1:3,18:4}}"#, modes, order];
    let mut files: Vec<Vec<u8>> =
        (0..).zip(files).map(|(which, text)| item(which, text.as_bytes())).collect();
    files.push(item(7, &check));
    let messages = [
        item(8, b"half"),
        item(8, b"half"),
        item(9, b"0,1,"),
        timer(1_700_000_004_000, ""),
        timer(1_699_999_999_000, "TIMER_DEL_UNIQKEY:T+a;"),
        item(11, check_point.as_bytes()),
        item(11, acks[0].as_bytes()),
        item(12, check_point.as_bytes()),
        item(12, acks[1].as_bytes()),
    ];
    for (i, file) in files.iter().enumerate() {
        seed("adopt", &format!("file-{i}"), file);
    }
    for (i, message) in messages.iter().enumerate() {
        let progress = [&files[2][..], &files[7], message].concat();
        seed("adopt", &format!("message-{i}"), &progress);
    }
    seed("adopt", "all", &[files.concat(), messages.concat()].concat());
}

/// A body for each kind, as `kerolox_fuzz::body` numbers them.
fn bodies() {
    let of_codes = [(0, ">", "34"), (1, "<", "105"), (3, ">", "41"), (4, "<", "41"), (5, "<", "38")];
    for line in lines("wire/testdata/traffic.txt").iter().filter(|line| line[1] == "JSON") {
        let Some((which, ..)) = of_codes.iter().find(|(_, way, code)| line[2] == *way && line[3] == *code)
        else {
            continue;
        };
        let frame = unhex(&line[4]);
        let header = usize::from(frame[6]) << 8 | usize::from(frame[7]);
        let data = [&[*which], &frame[8 + header..]].concat();
        seed("body", &format!("{}-{}", line[0], line[3]), &data);
    }
    for (which, name, json) in [
        (
            1,
            "route",
            r#"{"brokerDatas":[{"brokerAddrs":{0:"a:1",1:"b:2"},"brokerName":"b","cluster":"c"}],"queueDatas":[{"brokerName":"b","perm":6}],"topicQueueMappingByBroker":{"b":{"currIdMap":{0:1}}}}"#,
        ),
        (
            2,
            "register",
            r#"{"filterServerList":[],"topicConfigSerializeWrapper":{"dataVersion":{"counter":7,"stateVersion":1,"timestamp":5},"topicConfigTable":{"T":{"attributes":{"a":"b"},"perm":6,"topicName":"T"}},"topicQueueMappingInfoMap":{"T":{"currIdMap":{0:1}}}}}"#,
        ),
        (
            6,
            "cluster",
            r#"{"brokerAddrTable":{"b":{"brokerAddrs":{0:"a:1"},"brokerName":"b"}},"clusterAddrTable":{"c":["b"]}}"#,
        ),
        (7, "topics", r#"{"brokerAddr":"a:1","topicList":["a","b"]}"#),
        (8, "table", r#"{"table":{{"k":1}:"v",5:"w"}}"#),
        (
            9,
            "group",
            r#"{"groupName":"g","groupRetryPolicy":{"type":"CUSTOMIZED","customizedRetryPolicy":{"next":[1,2]}},"subscriptionDataSet":[{"topic":"T"}]}"#,
        ),
        (
            10,
            "topic-table",
            r#"{"dataVersion":{"counter":1},"topicConfigTable":{"T":null,"U":{"order":true}}}"#,
        ),
        (11, "check", r#"{"clientId":"i","group":"g","subscriptionData":{"tagsSet":["a"],"codeSet":[1]}}"#),
        (12, "version", r#"{"counter":null,"stateVersion":1,"timestamp":5}"#),
    ] {
        seed("body", name, &[&[which], json.as_bytes()].concat());
    }
    let deflated = "78da2d8e4b0bc2301084a3bfa4ccd5280a3e30370f52041fa8c58b4848d3d516daa624e9414affbb5164195866e71b9631c63b68d3d69e2cc48ac379e5e946d615a6869871f8a2a260560dc4a2678c0d82c649340fb38caebb63bcdfca6413471d4621e8d48b26fedd10048ea7cb61b3c7171ade1f7f34ef90d6aafade5370e8d6da5d7650a1bd9b8a59cf9115d6bf219eaa74c4418dd139c43a3ca6cdaf55ca576952554a19706f9a420733f9ed5e95e7965a7210f3fe033c303f58";
    seed("body", "compressed", &[&[13], &unhex(deflated)[..]].concat());
}

fn resource(name: &str) -> Option<Resource> {
    Some(Resource { name: name.to_owned(), ..Resource::default() })
}

fn queue(topic: &str) -> Option<MessageQueue> {
    Some(MessageQueue { topic: resource(topic), ..MessageQueue::default() })
}

/// A call as `kerolox_fuzz::grpc` reads it.
fn call(name: &str, request: &impl Message) -> Vec<u8> {
    let number = CALLS.iter().position(|call| *call == name).expect("a call") as u8;
    let request = request.encode_to_vec();
    [&[number, (request.len() >> 8) as u8, request.len() as u8], &*request].concat()
}

fn send(topic: &str, kind: MessageType, more: impl FnOnce(&mut SystemProperties)) -> Vec<u8> {
    let mut system = SystemProperties {
        message_id: format!("ID-{topic}"),
        tag: Some("a".to_owned()),
        keys: vec!["k1".to_owned(), "k2".to_owned()],
        born_timestamp: Some(Timestamp { seconds: 900, nanos: 7 }),
        ..SystemProperties::default()
    };
    system.set_message_type(kind);
    more(&mut system);
    let message = v2::Message {
        topic: resource(topic),
        user_properties: [("color".to_owned(), "red".to_owned())].into(),
        system_properties: Some(system),
        body: b"body".to_vec().into(),
    };
    call("SendMessage", &v2::SendMessageRequest { messages: vec![message] })
}

fn receive(topic: &str, filter: &str, kind: v2::FilterType) -> Vec<u8> {
    let request = v2::ReceiveMessageRequest {
        group: resource("g"),
        message_queue: queue(topic),
        filter_expression: Some(v2::FilterExpression { r#type: kind.into(), expression: filter.to_owned() }),
        batch_size: 8,
        invisible_duration: Some(Duration { seconds: 30, nanos: 0 }),
        long_polling_timeout: Some(Duration { seconds: 2, nanos: 0 }),
        attempt_id: Some("attempt".to_owned()),
        auto_renew: kind == v2::FilterType::Sql,
    };
    call("ReceiveMessage", &request)
}

fn telemetry(client_type: v2::ClientType, pub_sub: PubSub) -> Vec<u8> {
    let mut settings = v2::Settings { pub_sub: Some(pub_sub), ..v2::Settings::default() };
    settings.set_client_type(client_type);
    let command =
        v2::TelemetryCommand { command: Some(telemetry_command::Command::Settings(settings)), status: None };
    let mut call = call("Telemetry", &command);
    call[0] |= 0x80;
    call
}

/// Conversations of clients with a face.
fn of_grpc() {
    let ack = |topic: &str, handle: &str| {
        let entry = v2::AckMessageEntry { receipt_handle: handle.to_owned(), ..Default::default() };
        let (group, topic) = (resource("g"), resource(topic));
        call("AckMessage", &v2::AckMessageRequest { group, topic, entries: vec![entry] })
    };
    let change = |topic: &str, handle: &str, seconds| {
        let request = v2::ChangeInvisibleDurationRequest {
            group: resource("g"),
            topic: resource(topic),
            receipt_handle: handle.to_owned(),
            invisible_duration: Some(Duration { seconds, nanos: 0 }),
            ..Default::default()
        };
        call("ChangeInvisibleDuration", &request)
    };
    let forward = v2::ForwardMessageToDeadLetterQueueRequest {
        group: resource("g"),
        topic: resource("N"),
        receipt_handle: "@0".to_owned(),
        message_id: "ID-N".to_owned(),
        delivery_attempt: 1,
        max_delivery_attempts: 1,
        lite_topic: None,
    };
    let end = |handle: &str, resolution: v2::TransactionResolution| {
        let request = v2::EndTransactionRequest {
            topic: resource("X"),
            message_id: "ID-X".to_owned(),
            transaction_id: handle.to_owned(),
            resolution: resolution.into(),
            source: 1,
            ..Default::default()
        };
        call("EndTransaction", &request)
    };
    let entry = |topic: &str| v2::SubscriptionEntry { topic: resource(topic), expression: None };
    let subscription = |topic: &str| {
        PubSub::Subscription(v2::Subscription {
            group: resource("g"),
            subscriptions: vec![entry(topic)],
            receive_batch_size: Some(8),
            ..Default::default()
        })
    };
    let publishing =
        PubSub::Publishing(v2::Publishing { topics: vec![Resource::default()], ..Default::default() });
    let (all, normal) = (v2::FilterType::Tag, |_: &mut SystemProperties| ());
    let delayed =
        |s: &mut SystemProperties| s.delivery_timestamp = Some(Timestamp { seconds: 1_003, nanos: 0 });
    let prepared = |s: &mut SystemProperties| {
        s.orphaned_transaction_recovery_duration = Some(Duration { seconds: 3, nanos: 0 })
    };
    let lite = v2::SyncLiteSubscriptionRequest {
        topic: resource("L"),
        group: resource("g"),
        lite_topic_set: vec!["l1".to_owned()],
        version: Some(1),
        ..Default::default()
    };
    let normal_sent = send("N", MessageType::Normal, normal);
    let received = [&*normal_sent, &receive("N", "a || b", all)].concat();
    let order = |s: &mut SystemProperties| s.message_group = Some("o".to_owned());
    let query = v2::QueryRouteRequest { topic: resource("N"), ..Default::default() };
    for (name, conversation) in [
        ("normal", vec![received.clone(), ack("N", "@0"), ack("N", "@0x3"), ack("N", "x")]),
        (
            "again",
            vec![received.clone(), change("N", "@0", 10), receive("N", "color = 'red'", v2::FilterType::Sql)],
        ),
        ("dead", vec![received.clone(), call("ForwardMessageToDeadLetterQueue", &forward)]),
        (
            "order",
            vec![
                send("F", MessageType::Fifo, order),
                receive("F", "*", all),
                change("F", "@0", 10),
                ack("F", "@1"),
            ],
        ),
        (
            "delay",
            vec![
                send("D", MessageType::Delay, delayed),
                call(
                    "RecallMessage",
                    &v2::RecallMessageRequest { topic: resource("D"), recall_handle: "@0".to_owned() },
                ),
            ],
        ),
        ("due", vec![send("D", MessageType::Delay, delayed), receive("D", "*", all), receive("D", "*", all)]),
        (
            "commit",
            vec![
                send("X", MessageType::Transaction, prepared),
                end("@0", v2::TransactionResolution::Commit),
                receive("X", "*", all),
            ],
        ),
        (
            "rollback",
            vec![
                telemetry(v2::ClientType::Producer, publishing),
                send("X", MessageType::Transaction, prepared),
                end("@0x2", v2::TransactionResolution::Commit),
                end("@0", v2::TransactionResolution::Rollback),
            ],
        ),
        (
            "priority",
            vec![
                send("P", MessageType::Priority, |s| s.priority = Some(1)),
                receive("P", "*", all),
                ack("P", "@0"),
            ],
        ),
        (
            "lite",
            vec![
                telemetry(v2::ClientType::LitePushConsumer, subscription("L")),
                call("SyncLiteSubscription", &lite),
                send("L", MessageType::Lite, |s| s.lite_topic = Some("l1".to_owned())),
                receive("L", "*", all),
                ack("L", "@0"),
            ],
        ),
        (
            "push",
            vec![
                telemetry(v2::ClientType::PushConsumer, subscription("N")),
                call("QueryRoute", &query),
                call(
                    "QueryAssignment",
                    &v2::QueryAssignmentRequest {
                        topic: resource("N"),
                        group: resource("g"),
                        endpoints: None,
                    },
                ),
                call("Heartbeat", &v2::HeartbeatRequest { group: resource("g"), client_type: 2 }),
                received,
                call("NotifyClientTermination", &v2::NotifyClientTerminationRequest { group: resource("g") }),
            ],
        ),
        (
            "offsets",
            vec![
                normal_sent.clone(),
                call(
                    "PullMessage",
                    &v2::PullMessageRequest {
                        group: resource("g"),
                        message_queue: queue("N"),
                        batch_size: 4,
                        ..Default::default()
                    },
                ),
                call(
                    "UpdateOffset",
                    &v2::UpdateOffsetRequest { group: resource("g"), message_queue: queue("N"), offset: 1 },
                ),
                call("GetOffset", &v2::GetOffsetRequest { group: resource("g"), message_queue: queue("N") }),
                call(
                    "QueryOffset",
                    &v2::QueryOffsetRequest {
                        message_queue: queue("N"),
                        query_offset_policy: 2,
                        timestamp: Some(Timestamp { seconds: 900, nanos: 0 }),
                    },
                ),
            ],
        ),
        (
            "topics",
            vec![
                normal_sent.clone(),
                call(
                    "DescribeTopicStatus",
                    &v2::DescribeTopicStatusRequest { topic: resource("N"), ..Default::default() },
                ),
                call(
                    "GetTopicRoute",
                    &v2::GetTopicRouteRequest { topic: resource("N"), ..Default::default() },
                ),
                call(
                    "QueryMessage",
                    &v2::ListMessageRequest {
                        topic: resource("N"),
                        max_message_nums: 4,
                        end_timestamp: Some(Timestamp { seconds: 9_999, nanos: 0 }),
                        ..Default::default()
                    },
                ),
                call(
                    "AdminSendMessage",
                    &v2::AdminSendMessageRequest {
                        topic: resource("N"),
                        body: b"x".to_vec().into(),
                        ..Default::default()
                    },
                ),
                call("GetProxyRuntimeStats", &v2::GetProxyRuntimeStatsRequest {}),
                call("ChangeLogLevel", &v2::ChangeLogLevelRequest { level: 2 }),
            ],
        ),
        (
            "groups",
            vec![
                telemetry(v2::ClientType::PushConsumer, subscription("N")),
                normal_sent,
                call(
                    "ListSubscription",
                    &v2::ListSubscriptionRequest { group: resource("g"), ..Default::default() },
                ),
                call(
                    "DescribeSubscription",
                    &v2::DescribeSubscriptionRequest {
                        group: resource("g"),
                        topic: resource("N"),
                        ..Default::default()
                    },
                ),
                call(
                    "DescribeGroupAccumulation",
                    &v2::DescribeGroupAccumulationRequest {
                        group: resource("g"),
                        topics: vec![Resource { name: "N".to_owned(), ..Default::default() }],
                        ..Default::default()
                    },
                ),
                call(
                    "ListConsumerConnection",
                    &v2::ListConsumerConnectionRequest { group: resource("g"), ..Default::default() },
                ),
                call(
                    "ResetGroupOffset",
                    &v2::ResetGroupOffsetRequest {
                        group: resource("g"),
                        topic: resource("N"),
                        reset_timestamp: Some(Timestamp::default()),
                        ..Default::default()
                    },
                ),
                call(
                    "QueryTimeSpan",
                    &v2::QueryTimeSpanRequest {
                        group: resource("g"),
                        topics: vec![Resource { name: "N".to_owned(), ..Default::default() }],
                        ..Default::default()
                    },
                ),
            ],
        ),
        (
            "clients",
            vec![
                telemetry(v2::ClientType::PushConsumer, subscription("N")),
                call(
                    "GetConsumerRunningInfo",
                    &v2::GetConsumerRunningInfoRequest {
                        group: resource("g"),
                        client_id: "fuzz".to_owned(),
                        ..Default::default()
                    },
                ),
                call(
                    "PrintThreadStackTrace",
                    &v2::PrintThreadStackTraceRequest {
                        group: resource("g"),
                        client_id: "fuzz".to_owned(),
                        ..Default::default()
                    },
                ),
                call(
                    "VerifyMessage",
                    &v2::VerifyMessageRequest {
                        group: resource("g"),
                        topic: resource("N"),
                        client_id: "fuzz".to_owned(),
                        message_id: "ID-N".to_owned(),
                        ..Default::default()
                    },
                ),
                call(
                    "DeleteSubscription",
                    &v2::DeleteSubscriptionRequest {
                        group: resource("g"),
                        topic: resource("N"),
                        ..Default::default()
                    },
                ),
            ],
        ),
    ] {
        seed("grpc", name, &conversation.concat());
    }
}

/// Connections of clients, byte by byte.
fn of_http2() {
    let frame = |kind: u8, flags: u8, stream: u8, payload: &[u8]| {
        [&[0, (payload.len() >> 8) as u8, payload.len() as u8, kind, flags, 0, 0, 0, stream], payload]
            .concat()
    };
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    let settings = frame(4, 0, 0, &[0, 4, 0, 0, 0, 9]);
    // `:method: POST`, `:scheme: http`, `:path` as it is, `content-type` to be remembered, `te` in Huffman's code.
    let head = [
        &[0x83, 0x86, 0x44, 2][..],
        b"/x",
        &[0x5f, 16],
        b"application/grpc",
        &[0x40, 2],
        b"te",
        &[0x86, 0x4d, 0x83, 0x35, 0x05, 0xb1, 0x1f],
    ]
    .concat();
    let message = |bytes: &[u8]| [&[0, 0, 0, 0, bytes.len() as u8], bytes].concat();
    let call =
        |stream: u8, how: &[u8]| [frame(1, 4, stream, &head), frame(0, 1, stream, &message(how))].concat();
    let window = |stream: u8| frame(8, 0, stream, &[0, 1, 0, 0]);
    for (name, parts) in [
        ("call", vec![settings.clone(), call(1, &[0, 7]), call(3, &[0; 60])]),
        ("large", vec![settings, call(1, &[1]), window(0), window(1), frame(3, 0, 1, &[0; 4])]),
        (
            "pieces",
            vec![
                frame(1, 0, 1, &head[..9]),
                frame(9, 4, 1, &head[9..]),
                frame(0, 8, 1, &[2, 0, 0, 0, 0, 3, 0, 1, 0, 0]),
                frame(0, 1, 1, &[2]),
            ],
        ),
        ("refused", vec![call(1, &[2]), call(2, &[2]), frame(1, 5, 3, &head)]),
        ("drained", vec![call(1, &[3]), frame(6, 1, 0, b"draining"), call(3, &[0])]),
        (
            "late",
            vec![
                call(1, &[4]),
                call(3, &[4]),
                frame(1, 4, 5, &head),
                frame(0, 0, 5, &[0, 0]),
                call(7, &[4]),
                call(9, &[4]),
                call(11, &[4]),
            ],
        ),
        ("pings", vec![frame(6, 0, 0, b"12345678"), frame(2, 0, 1, &[0; 5]), frame(7, 0, 0, &[0; 8])]),
    ] {
        seed("http2", name, &[preface.clone(), parts.concat()].concat());
    }
}
