//! `kerolox store …`, and what readers get of a damaged log, with the real binary.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

mod support;

use kerolox_wire::header::{PullMessage, PullMessageResponse, SendMessage};
use kerolox_wire::record::{RecordHead, RecordView};
use kerolox_wire::{Command, RequestCode, sys_flag};
use serde_json::Value;
use std::collections::BTreeMap;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use support::{Folder, Kerolox, Raw, run, send_request};

/// Flips a bit of the first place where these bytes are; that place.
fn flip(path: &Path, bytes: &[u8]) -> usize {
    let content = std::fs::read(path).unwrap();
    let at = content.windows(bytes.len()).position(|w| w == bytes).unwrap();
    let file = std::fs::OpenOptions::new().write(true).open(path).unwrap();
    file.write_all_at(&[content[at] ^ 1], at as u64).unwrap();
    at
}

/// Exit code and standard output of a command on a directory.
fn store(command: &str, data: &Path, more: &[&str]) -> (Option<i32>, String) {
    let output = run(&[&["store", command, data.to_str().unwrap()], more].concat());
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.is_empty() || output.status.code() == Some(2), "no progress where nobody watches: {said}");
    (output.status.code(), String::from_utf8(output.stdout).unwrap())
}

fn json(command: &str, data: &Path, more: &[&str]) -> (Option<i32>, Value) {
    let (code, said) = store(command, data, &[&["--output", "json"], more].concat());
    (code, serde_json::from_str(&said).unwrap())
}

/// All files and their contents, `lock` apart.
fn contents(data: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut all = BTreeMap::new();
    for entry in std::fs::read_dir(data).unwrap().map(|entry| entry.unwrap().path()) {
        if entry.is_dir() {
            all.extend(contents(&entry));
        } else if !entry.ends_with("lock") {
            all.insert(entry.clone(), std::fs::read(entry).unwrap());
        }
    }
    all
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap().map(|entry| entry.unwrap().path()) {
        let target = to.join(entry.file_name().unwrap());
        if entry.is_dir() {
            copy(&entry, &target);
        } else {
            std::fs::copy(&entry, &target).unwrap();
        }
    }
}

/// A directory of Apache RocketMQ 5.5.0: `crates/store/testdata/README.md`.
fn of_apache(folder: &Folder) -> PathBuf {
    let data = folder.path("apache");
    copy(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../store/testdata/apache-5.5.0"), &data);
    data
}

#[test]
fn a_damaged_record_is_named_and_not_served_and_all_others_are() {
    let folder = Folder::new("damaged");
    let data = folder.path("data");
    let kerolox = Kerolox::start(&data);
    let mut client = Raw::connect(kerolox.broker());
    for i in 0..100 {
        assert_eq!(client.ask(&send_request("T", format!("body number {i}.").as_bytes())).code, 0);
    }
    let (code, said) = store("verify", &data, &[]);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains(" in 1 segments, ") && said.contains(": 0 damaged, 0 other faults"), "{said}");
    kerolox.end();
    let segment = data.join("commitlog/00000000000000000000");
    flip(&segment, b"body number 42.");
    let (code, said) = store("verify", &data, &[]);
    assert_eq!(code, Some(1), "{said}");
    let line = said.lines().find(|l| l.starts_with("damaged: ")).unwrap();
    assert!(line.starts_with("damaged: commitlog/00000000000000000000 at byte "), "{line}");
    assert!(line.contains("topic T, queue 0, offset 42: "), "{line}");

    let kerolox = Kerolox::start(&data);
    let mut client = Raw::connect(kerolox.broker());
    let mut bodies = Vec::new();
    let mut queue_offset = 0;
    while queue_offset < 100 {
        let header = PullMessage {
            consumer_group: "g",
            topic: "T",
            queue_offset,
            max_msg_nums: 32,
            sys_flag: sys_flag::pull::SUBSCRIPTION,
            subscription: Some("*"),
            ..PullMessage::default()
        };
        let answer = client.ask(&Command::request(RequestCode::PULL_MESSAGE).with_header(&header));
        queue_offset = answer.header::<PullMessageResponse<'_>>().unwrap().next_begin_offset;
        let mut rest = &answer.body[..];
        while let Some(head) = RecordHead::peek(rest) {
            bodies.push(String::from_utf8(RecordView::parse(rest).unwrap().body.to_vec()).unwrap());
            rest = &rest[head.total as usize..];
        }
    }
    let want: Vec<_> = (0..100).filter(|i| *i != 42).map(|i| format!("body number {i}.")).collect();
    assert_eq!(bodies, want);
    let said = kerolox.says().unwrap();
    assert!(said.contains("DAMAGED record, not served: commitlog/00000000000000000000 at byte "), "{said}");
    assert!(said.contains("topic T, queue 0, offset 42: "), "{said}");
    kerolox.end();
}

#[test]
fn a_directory_that_is_none_is_one_line() {
    for command in ["verify", "stat", "dump", "repair"] {
        let line = support::refusal(&["store", command, "/nowhere"], 2);
        assert!(line.starts_with("kerolox: cannot look into the data directory /nowhere: "), "{line}");
        let folder = Folder::new(command);
        std::fs::create_dir_all(folder.path("commitlog")).unwrap();
        let data = folder.path("");
        let line = support::refusal(&["store", command, "--data", data.to_str().unwrap()], 2);
        assert!(line.contains("it is no data directory"), "{line}");
        assert_eq!(contents(&data), BTreeMap::new());
    }
}

#[test]
fn everything_may_be_looked_at_beside_a_running_broker_and_nothing_mended() {
    let folder = Folder::new("beside");
    let data = folder.path("data");
    let kerolox = Kerolox::start(&data);
    let mut client = Raw::connect(kerolox.broker());
    (0..20).for_each(|i| assert_eq!(client.ask(&send_request("T", format!("body {i}").as_bytes())).code, 0));
    let (code, stat) = json("stat", &data, &[]);
    assert_eq!((code, &stat["origin"]), (Some(0), &"Kerolox".into()), "{stat}");
    let topic = stat["topics"].as_array().unwrap().iter().find(|topic| topic["topic"] == "T").unwrap();
    assert_eq!((&topic["messages"], &topic["queues"][0]["max"]), (&20.into(), &20.into()));
    assert!(topic["newestMs"].as_i64().unwrap() > 1_700_000_000_000, "{stat}");
    let (code, said) = store("stat", &data, &[]);
    assert_eq!(code, Some(0));
    let row = said.lines().find(|line| line.starts_with("T ")).unwrap();
    assert!(row.contains(" 0..20 ") && row.contains('█'), "{said}");
    assert_eq!(json("verify", &data, &[]).1["sound"], true);
    let (code, said) = store("dump", &data, &["--topic", "T"]);
    assert_eq!((code, said.lines().count()), (Some(0), 20), "{said}");
    for args in [&["store", "repair"][..], &["store", "repair", "--yes"]] {
        let line = support::refusal(&[args, &[data.to_str().unwrap()]].concat(), 2);
        assert!(line.contains(&format!("in use by process {}: stop it first", kerolox.pid())), "{line}");
    }
    kerolox.end();
}

#[test]
fn a_dump_shows_what_is_asked_for() {
    let folder = Folder::new("dump");
    let data = folder.path("data");
    let kerolox = Kerolox::start(&data);
    let mut client = Raw::connect(kerolox.broker());
    for i in 0..10 {
        let properties = format!("KEYS\u{1}key{i} all\u{2}UNIQ_KEY\u{1}unique{i}\u{2}");
        let header = SendMessage {
            producer_group: "p",
            topic: "T",
            default_topic: "TBW102",
            default_topic_queue_nums: 4,
            properties: Some(&properties),
            ..SendMessage::default()
        };
        let body = format!("body {i} \u{1b}[2J");
        let mut request = Command::request(RequestCode::SEND_MESSAGE_V2).with_body(body.into_bytes());
        header.encode_v2(&mut request.fields);
        assert_eq!(client.ask(&request).code, 0);
    }
    kerolox.end();
    let offsets = |args: &[&str]| -> Vec<u64> {
        let (code, said) = store("dump", &data, &[&["--output", "json"], args].concat());
        assert_eq!(code, Some(0), "{args:?}");
        let records = said.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        records.filter(|r| r["topic"] == "T").map(|r| r["queueOffset"].as_u64().unwrap()).collect()
    };
    let all: Vec<u64> = (0..10).collect();
    assert_eq!(offsets(&[]), all);
    assert_eq!(offsets(&["--topic", "T", "--queue", "0", "--offset", "3..5"]), [3, 4]);
    assert_eq!(offsets(&["--topic", "other"]), [0_u64; 0]);
    assert_eq!(offsets(&["--key", "key7"]), [7]);
    assert_eq!(offsets(&["--key", "all", "--limit", "2"]), [0, 1]);
    assert_eq!(offsets(&["--id", "unique4"]), [4]);
    assert_eq!(offsets(&["--since", "now"]), [0_u64; 0]);
    assert_eq!(offsets(&["--until", "1700000000000"]), [0_u64; 0]);
    let (_, said) = store("dump", &data, &["--topic", "T", "--offset", "6", "--output", "json"]);
    let record: Value = serde_json::from_str(&said).unwrap();
    assert_eq!(record["body"], "body 6 \\u{1b}[2J", "nothing that a terminal obeys");
    assert_eq!(record["properties"]["KEYS"], "key6 all");
    assert_eq!(offsets(&["--id", record["offsetMessageId"].as_str().unwrap()]), [6]);
    let position = record["position"].as_u64().unwrap();
    assert_eq!(offsets(&["--position", &position.to_string()]), [6]);
    let body = |form: &str| {
        let more = ["--topic", "T", "--offset", "6", "--body", form, "--body-bytes", "4"];
        store("dump", &data, &more).1
    };
    assert!(body("text").trim_end().ends_with("| body… (11 bytes in all)"), "{}", body("text"));
    assert!(body("hex").contains("| 626f6479…") && body("base64").contains("| Ym9keQ==…"));
    assert!(!body("none").contains("body"));
    let (_, state) = store("dump", &data, &["--state"]);
    assert!(state.contains(": topic put: topic T: {"), "{state}");
    assert!(!state.contains("unique") && !store("dump", &data, &["--topic", "T"]).1.contains(" state "));
    assert!(support::refusal(&["store", "dump", "--offset", "x"], 2).contains("is no number"));
}

#[test]
fn a_repair_says_what_it_would_do_then_does_it_and_keeps_what_it_removes() {
    let folder = Folder::new("repair");
    let data = folder.path("data");
    let kerolox = Kerolox::start(&data);
    let mut client = Raw::connect(kerolox.broker());
    (0..50).for_each(|i| assert_eq!(client.ask(&send_request("T", format!("body {i}.").as_bytes())).code, 0));
    kerolox.end();
    assert_eq!(store("repair", &data, &[]), (Some(0), "nothing to mend\n".to_owned()));
    let snapshot = data.join("kerolox/snapshot");
    flip(&snapshot, b"KERLXSNP");
    let before = contents(&data);
    let (code, said) = store("repair", &data, &[]);
    assert_eq!(code, Some(1), "{said}");
    assert!(
        said.contains("would: set aside kerolox/snapshot") && said.contains("nothing was changed"),
        "{said}"
    );
    assert_eq!(json("repair", &data, &["--dry-run"]).1["done"], false);
    assert_eq!(contents(&data), before, "said and not done");
    let (code, done) = json("repair", &data, &["--yes"]);
    assert_eq!((code, done["mends"].as_array().unwrap().len()), (Some(0), 1), "{done}");
    let kept = data.join(done["kept"].as_str().unwrap()).join("kerolox/snapshot");
    assert_eq!(std::fs::read(kept).unwrap(), before[&snapshot]);
    assert_eq!(store("verify", &data, &[]).0, Some(0));
    // A damaged record stays as it is.
    flip(&data.join("commitlog/00000000000000000000"), b"body 42.");
    let before = contents(&data);
    let (code, said) = store("repair", &data, &["--yes"]);
    assert!(code == Some(1) && said.contains("left: 1 damaged places of the log"), "{said}");
    assert_eq!(contents(&data), before);
    let kerolox = Kerolox::start(&data);
    kerolox.end();
}

#[test]
fn a_directory_of_apache_is_looked_at_too() {
    let folder = Folder::new("of-apache");
    let data = of_apache(&folder);
    let before = contents(&data);
    let (code, found) = json("verify", &data, &[]);
    assert_eq!((code, &found["origin"]), (Some(0), &"Apache RocketMQ".into()), "{found}");
    assert_eq!(
        (&found["records"], &found["consumeQueues"], &found["units"]),
        (&403.into(), &5.into(), &403.into())
    );
    let (code, stat) = json("stat", &data, &[]);
    assert_eq!((code, &stat["messages"]), (Some(0), &403.into()), "{stat}");
    let groups = stat["groups"].as_array().unwrap();
    let readers = groups.iter().find(|group| group["group"] == "readers").unwrap();
    assert_eq!((&readers["topic"], &readers["behind"]), (&"FormatTopic".into(), &0.into()));
    let (_, said) = store("dump", &data, &["--key", "key2"]);
    assert!(said.lines().count() == 1 && said.contains("| hello 2"), "{said}");
    assert_eq!(contents(&data), before);
    // Damage: a record's body, a unit of a consume queue, a file of settings, an index file.
    flip(&data.join("commitlog/00000000000000131072"), b"hello 2");
    let queue = data.join("consumequeue/FormatTopic/3/00000000000000000000");
    let mut units = std::fs::read(&queue).unwrap();
    units[20 * 50 + 7] ^= 0x10;
    std::fs::write(&queue, units).unwrap();
    let settings = data.join("config/topics.json");
    let text = std::fs::read_to_string(&settings).unwrap();
    std::fs::write(&settings, &text[..text.len() / 2]).unwrap();
    let index = std::fs::read_dir(data.join("index")).unwrap().next().unwrap().unwrap().path();
    flip(&index, &std::fs::read(&index).unwrap()[16..24]);
    let (code, found) = json("verify", &data, &[]);
    assert_eq!((code, &found["damagedCount"]), (Some(1), &1.into()), "{found}");
    assert_eq!((&found["damaged"][0]["topic"], &found["damaged"][0]["offset"]), (&"Other".into(), &1.into()));
    let parts: Vec<&str> =
        found["faults"].as_array().unwrap().iter().map(|f| f["part"].as_str().unwrap()).collect();
    assert_eq!(parts, ["consume queue", "index file", "settings"], "{found}");
    let unit = &found["faults"][0];
    assert_eq!(
        (&unit["topic"], &unit["queue"], &unit["offset"], &unit["at"]),
        (&"FormatTopic".into(), &3.into(), &50.into(), &1000.into())
    );
    assert!(
        found["faults"][2]["why"].as_str().unwrap().contains("older copy config/topics.json.bak is sound")
    );
    let (code, said) = store("verify", &data, &[]);
    assert!(
        code == Some(1)
            && said.contains("consume queue: consumequeue/FormatTopic/3/00000000000000000000 at byte 1000"),
        "{said}"
    );
    let (code, said) = store("repair", &data, &["--yes"]);
    assert!(
        code == Some(1) && said.contains("nothing to mend") && said.contains("faults of consume queues"),
        "{said}"
    );
}
