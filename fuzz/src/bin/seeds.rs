//! Writes `corpus/` from what the real Apache said (`crates/*/testdata`): where the fuzzer begins.

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
