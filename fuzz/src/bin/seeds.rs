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
