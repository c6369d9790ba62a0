//! What Apache RocketMQ left in a data directory, and what it finds there: the real binary.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

mod support;

use kerolox_wire::header::Topic;
use kerolox_wire::{Command, RequestCode};
use std::path::Path;
use support::{Folder, Kerolox, Raw, free_offset, refusal, send_request};

const TOPICS: &str = r#"{"dataVersion":{"counter":1},"topicConfigTable":{"Theirs":{"topicName":"Theirs","perm":6,"readQueueNums":3,"writeQueueNums":3}}}"#;

fn has_topic(kerolox: &Kerolox, topic: &str) -> bool {
    let header = Topic { topic, ..Topic::default() };
    let request = Command::request(RequestCode::GET_TOPIC_CONFIG).with_header(&header);
    Raw::connect(kerolox.broker()).ask(&request).code == 0
}

fn write(data: &Path, name: &str, text: &str) {
    std::fs::create_dir_all(data.join("config")).unwrap();
    std::fs::write(data.join("config").join(name), text).unwrap();
}

/// Ends it; whether it said at its start that something was taken over.
fn took_over(kerolox: Kerolox) -> bool {
    kerolox.signal("-TERM");
    let (code, said) = kerolox.wait();
    assert_eq!(code, Some(0), "{said:?}");
    assert!(!said.iter().any(|line| line.contains("Apache RocketMQ must not open")), "{said:?}");
    said.iter().any(|line| line.contains("taken over from Apache RocketMQ"))
}

/// Apache overwrites its files in place, and a crash leaves half of one.
#[test]
fn a_cut_file_is_read_from_its_backup() {
    for cut in [&TOPICS[..40], ""] {
        let folder = Folder::new("bak");
        let data = folder.path("data");
        write(&data, "topics.json", cut);
        write(&data, "topics.json.bak", TOPICS);
        let kerolox = Kerolox::start(&data);
        assert!(has_topic(&kerolox, "Theirs"));
        assert!(took_over(kerolox));
    }
}

/// Why a start there is refused, with ports that no other start has at the same time.
fn refused(data: &Path) -> String {
    refusal(&["--data", data.to_str().unwrap(), "--port-offset", &free_offset().to_string()], 1)
}

#[test]
fn files_that_cannot_be_understood_are_named() {
    let wrong = [
        ("topics.json", &TOPICS[..40], "topics.json is damaged"),
        ("consumerOffset.json", "", "consumerOffset.json is damaged"),
        ("timercheck", "short", "timercheck is damaged"),
        ("topics.json", r#"{"topicConfigTable":7}"#, "config/topics.json: "),
        (
            "subscriptionGroup.json",
            r#"{"subscriptionGroupTable":{"G":{"retryMaxTimes":1e30}}}"#,
            "config/subscriptionGroup.json: ",
        ),
    ];
    for (name, text, why) in wrong {
        let folder = Folder::new("wrong");
        let data = folder.path("data");
        write(&data, name, text);
        let said = refused(&data);
        assert!(said.contains(why), "{said}");
    }
    let folder = Folder::new("rocks");
    let data = folder.path("data");
    std::fs::create_dir_all(data.join("config/metadata")).unwrap();
    assert!(refused(&data).contains("RocksDB"));
}

/// It looked as after a crash: messages that Apache went on to take could be cut off by the next start.
#[test]
fn a_start_that_takes_nothing_over_leaves_the_directory_as_after_an_end_in_order() {
    let folder = Folder::new("closed");
    let data = folder.path("data");
    write(&data, "topics.json", TOPICS);
    let kerolox = Kerolox::start(&data);
    assert_eq!(Raw::connect(kerolox.broker()).ask(&send_request("Ours", b"1")).code, 0);
    assert!(took_over(kerolox));
    let ended_in_order = || {
        let frontier = std::fs::read(data.join("kerolox/frontier")).unwrap();
        // Sequence number, then flags.
        let last = frontier.chunks(4096).skip(1).take(3).map(|slot| &slot[..12]).max().unwrap();
        last[11] & 1 == 1 && !data.join("abort").exists()
    };
    assert!(ended_in_order());
    for text in [r#"{"topicConfigTable":7}"#, &TOPICS[..40]] {
        std::fs::remove_file(data.join("config/topics.json.bak")).unwrap_or_default();
        write(&data, "topics.json", text);
        assert!(refused(&data).contains("topics.json"));
        assert!(ended_in_order(), "{text}");
    }
}

/// Whoever ends in order leaves what Apache needs, and takes nothing of it for Apache's; after a kill it is out of date.
#[test]
fn what_kerolox_wrote_itself_is_not_taken_over() {
    let folder = Folder::new("own");
    let data = folder.path("data");
    write(&data, "topics.json", TOPICS);
    let kerolox = Kerolox::start(&data);
    assert_eq!(Raw::connect(kerolox.broker()).ask(&send_request("Ours", b"1")).code, 0);
    assert!(took_over(kerolox));
    let said = std::fs::read_to_string(data.join("config/topics.json")).unwrap();
    assert!(said.contains(r#""Ours""#) && said.contains(r#""Theirs""#), "{said}");
    for name in [
        "subscriptionGroup.json",
        "consumerOffset.json",
        // Apache reads this one instead, with light message queues on.
        "lmqConsumerOffset.json",
        "delayOffset.json",
        "messageRequestMode.json",
        "consumerOrderInfo.json",
        "timercheck",
    ] {
        assert!(data.join("config").join(name).exists(), "{name}");
    }

    let kerolox = Kerolox::start(&data);
    assert_eq!(Raw::connect(kerolox.broker()).ask(&send_request("Later", b"1")).code, 0);
    kerolox.signal("-KILL");
    kerolox.wait();
    let kerolox = Kerolox::start(&data);
    assert!(has_topic(&kerolox, "Ours") && has_topic(&kerolox, "Later"));
    assert!(!took_over(kerolox));

    // What was there before is known, too.
    write(&data, "topics.json", TOPICS);
    let kerolox = Kerolox::start(&data);
    assert!(has_topic(&kerolox, "Ours"));
    assert!(!took_over(kerolox));
    write(&data, "topics.json", &TOPICS.replace(r#""counter":1"#, r#""counter":2"#));
    let kerolox = Kerolox::start(&data);
    assert!(has_topic(&kerolox, "Theirs") && !has_topic(&kerolox, "Ours"));
    assert!(took_over(kerolox));
}

/// A full disk, say: whoever ends it is told, and nothing is spoilt. After the fifth such end in a row the old files were taken for new ones:
/// topics that they did not have were deleted.
#[test]
fn an_end_that_cannot_write_for_apache_says_so_and_changes_nothing() {
    let folder = Folder::new("full");
    let data = folder.path("data");
    write(&data, "topics.json", TOPICS);
    write(&data, "kerolox", "in the way");
    for _ in 0..6 {
        let kerolox = Kerolox::start(&data);
        assert_eq!(Raw::connect(kerolox.broker()).ask(&send_request("Ours", b"1")).code, 0);
        kerolox.signal("-TERM");
        let (code, said) = kerolox.wait();
        assert_eq!(code, Some(0), "{said:?}");
        assert!(said.iter().any(|line| line.contains("Apache RocketMQ must not open")), "{said:?}");
        assert_eq!(std::fs::read_to_string(data.join("config/topics.json")).unwrap(), TOPICS);
    }
    std::fs::remove_file(data.join("config/kerolox")).unwrap();
    let kerolox = Kerolox::start(&data);
    assert!(has_topic(&kerolox, "Ours"));
    assert!(!took_over(kerolox));
    assert!(std::fs::read_to_string(data.join("config/topics.json")).unwrap().contains(r#""Ours""#));
    assert!(!data.join("config/kerolox").exists());
}

#[test]
fn a_file_of_more_values_than_any_broker_has_is_refused() {
    let folder = Folder::new("values");
    let data = folder.path("data");
    write(
        &data,
        "consumerOffset.json",
        &format!(r#"{{"offsetTable":{{{}}}}}"#, r#""T@G":{0:1},"#.repeat(5_000_000)),
    );
    let said = refused(&data);
    assert!(said.contains("consumerOffset.json holds 5000000 values"), "{said}");
}

/// A bit of a file that a clean end had written rotted: it was taken for what Apache wrote last, and went before the log. Topics were deleted,
/// offsets set anew.
#[test]
fn a_file_that_rotted_since_the_last_clean_end_is_not_believed() {
    for (from, to, believed) in
        [("Theirs", "Thears", false), ("\"Theirs\"", "\"Theirs!", false), ("Theirs", "Thears", true)]
    {
        let folder = Folder::new("rot");
        let data = folder.path("data");
        write(&data, "topics.json", TOPICS);
        assert!(took_over(Kerolox::start(&data)));
        let path = data.join("config/topics.json");
        let modified = std::fs::metadata(&path).unwrap().modified().unwrap();
        let rotten = std::fs::read_to_string(&path).unwrap().replace(from, to);
        std::fs::write(&path, rotten).unwrap();
        if !believed {
            std::fs::File::options().write(true).open(&path).unwrap().set_modified(modified).unwrap();
        }
        let kerolox = Kerolox::start(&data);
        assert_eq!(
            (has_topic(&kerolox, "Theirs"), has_topic(&kerolox, "Thears")),
            (!believed, believed),
            "{to}"
        );
        assert_eq!(took_over(kerolox), believed, "{to}");
        // The clean end wrote it again.
        assert!(!took_over(Kerolox::start(&data)));
    }
}

/// Apache writes the old contents to the backup and the new ones to the file within one tick of the clock: what it wrote last must not pass for
/// rot of what is known.
#[test]
fn what_apache_wrote_in_the_tick_of_its_backup_is_its_newest() {
    let folder = Folder::new("tick");
    let data = folder.path("data");
    write(&data, "topics.json", TOPICS);
    assert!(took_over(Kerolox::start(&data)));
    let (path, backup) = (data.join("config/topics.json"), data.join("config/topics.json.bak"));
    std::fs::copy(&path, &backup).unwrap();
    let newer = std::fs::read_to_string(&path).unwrap().replace("Theirs", "Newest");
    std::fs::write(&path, newer).unwrap();
    let tick = std::time::SystemTime::now();
    for path in [&path, &backup] {
        std::fs::File::options().write(true).open(path).unwrap().set_modified(tick).unwrap();
    }
    let kerolox = Kerolox::start(&data);
    assert!(has_topic(&kerolox, "Newest") && !has_topic(&kerolox, "Theirs"));
    assert!(took_over(kerolox));
}
