//! Light message queues: records that belong to further queues besides their own.

use crate::world::*;
use bytes::BytesMut;
use kerolox_store::NewMessage;
use kerolox_store::disk::{CrashMode, HostileDisk};
use kerolox_wire::record::{NewRecord, strip_crc};
use std::collections::BTreeMap;

/// Appends a message of `T` that belongs to further queues, as a broker does.
fn send(w: &mut World, further: &[&str], body: &str) {
    w.now += 1;
    let offsets: Vec<String> = further.iter().map(|name| w.store.next_offset(name, 0).to_string()).collect();
    let properties = match further {
        [] => String::new(),
        _ => properties(&further.join(","), &offsets.join(",")),
    };
    let message = NewMessage {
        topic: "T",
        queue_id: 1,
        flag: 0,
        sys_flag: 0,
        born_ms: w.now,
        born_host: "1.2.3.4:5".parse().unwrap(),
        reconsume_times: 0,
        prepared_transaction_offset: 0,
        body: body.as_bytes(),
        properties: properties.as_bytes(),
    };
    w.store.append(w.now, &message).unwrap();
}

fn properties(names: &str, offsets: &str) -> String {
    format!("INNER_MULTI_DISPATCH\u{1}{names}\u{2}INNER_MULTI_QUEUE_OFFSET\u{1}{offsets}\u{2}")
}

const NAMES: [&str; 3] = ["%LMQ%a", "%LMQ%$P$b", "%LMQ%c"];

/// A log of some segments, closed in order, and the bodies sent to each queue.
fn closed() -> (HostileDisk, BTreeMap<&'static str, Vec<String>>) {
    let mut w = World::open(HostileDisk::default());
    let mut sent: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for i in 0..120 {
        let body = format!("body {i} {}", "x".repeat(200));
        let further: Vec<&str> =
            NAMES.into_iter().enumerate().filter(|(n, _)| i % (n + 2) == 0).map(|(_, name)| name).collect();
        send(&mut w, &further, &body);
        for name in further {
            sent.entry(name).or_default().push(body.clone());
        }
        sent.entry("T").or_default().push(body);
        w.chores();
    }
    (w.close(), sent)
}

fn check(disk: HostileDisk, sent: &BTreeMap<&str, Vec<String>>, what: &str) {
    let mut w = World::open(disk);
    assert_eq!(w.store.lmq_count(), NAMES.len(), "{what}");
    for (name, bodies) in sent {
        assert_eq!(&w.bodies(name, u32::from(*name == "T")), bodies, "{what} {name}");
    }
    assert!(w.report.damaged.is_empty() && w.report.state_errors.is_empty(), "{what}: {:?}", w.report);
    send(&mut w, &["%LMQ%a"], "next");
    w.flush();
    let bodies = w.bodies("%LMQ%a", 0);
    assert_eq!((bodies.len(), &*bodies[60]), (61, "next"), "{what}");
}

#[test]
fn a_record_is_in_all_its_queues_with_and_without_derived_files() {
    let (disk, sent) = closed();
    check(disk.crash(CrashMode::Lost, 0), &sent, "as it was");
    let derived: Vec<String> = disk.paths().into_iter().filter(|p| p.starts_with("kerolox/")).collect();
    for path in &derived {
        let hurt = disk.crash(CrashMode::Lost, 0);
        hurt.tamper_remove(path);
        check(hurt, &sent, path);
        // Damaged where only a reader will notice.
        let hurt = disk.crash(CrashMode::Lost, 0);
        hurt.tamper(path, |bytes| {
            let middle = bytes.len() / 3;
            bytes[middle] ^= 4;
        });
        check(hurt, &sent, &format!("{path} flipped"));
    }
    derived.iter().for_each(|path| drop(disk.tamper_remove(path)));
    check(disk, &sent, "all");
}

#[test]
fn each_queue_shows_a_record_when_it_is_confirmed() {
    let mut w = World::open(HostileDisk::default());
    send(&mut w, &["%LMQ%a", "%LMQ%a", "%LMQ%b"], "one");
    assert_eq!(w.store.bounds("%LMQ%a", 0).unwrap().max, 0);
    w.flush();
    let mut seen = Vec::new();
    while let Some(visible) = w.store.next_visible() {
        seen.push((visible.topic.to_string(), visible.queue_id, visible.offset));
    }
    let expected = [("T", 1, 0), ("%LMQ%a", 0, 0), ("%LMQ%b", 0, 0)];
    assert_eq!(seen, expected.map(|(topic, queue, offset)| (topic.to_owned(), queue, offset)));
}

#[test]
fn a_queue_that_is_deleted_begins_anew_and_the_records_stay_in_the_others() {
    for crash in [false, true] {
        let mut w = World::open(HostileDisk::default());
        for i in 0..5 {
            send(&mut w, &["%LMQ%a", "%LMQ%b"], &format!("{i}"));
        }
        w.now += 1;
        w.store.delete_topic(w.now, "%LMQ%a", Vec::new()).unwrap();
        send(&mut w, &["%LMQ%a", "%LMQ%b"], "new");
        w.chores();
        if crash {
            w = World::open(w.disk.crash(CrashMode::Lost, 0));
        }
        assert_eq!(w.bodies("%LMQ%a", 0), ["new"]);
        assert_eq!(w.bodies("%LMQ%b", 0), ["0", "1", "2", "3", "4", "new"]);
        assert_eq!(w.bodies("T", 1).len(), 6);
    }
}

#[test]
fn an_offset_is_not_given_away_again_after_damage() {
    let mut w = World::open(HostileDisk::default());
    for body in ["one", "two", "three"] {
        send(&mut w, &["%LMQ%a"], body);
    }
    let hurt = w.store.watermarks().appended - 60;
    w.chores();
    let disk = w.disk.crash(CrashMode::Lost, 0);
    disk.tamper("commitlog/00000000000000000000", |log| log[hurt as usize] ^= 4);
    let w = World::open(disk);
    assert_eq!(w.report.damaged.len(), 1);
    assert_eq!(w.bodies("%LMQ%a", 0), ["one", "two"]);
    assert!(w.store.next_offset("%LMQ%a", 0) >= 3);
}

/// A log of one segment as Apache writes it: records of `T` with these further queues and offsets.
fn by_apache(messages: &[(&str, &str)]) -> HostileDisk {
    let mut log = Vec::new();
    for (i, (names, offsets)) in messages.iter().enumerate() {
        let (properties, body) = (properties(names, offsets), i.to_string());
        let record = NewRecord {
            topic: "T",
            queue_id: 0,
            flag: 0,
            sys_flag: 0,
            queue_offset: i as u64,
            position: log.len() as u64,
            born_ms: 1,
            born_host: "1.2.3.4:5".parse().unwrap(),
            store_ms: 100 + i as i64,
            store_host: "1.2.3.4:5".parse().unwrap(),
            reconsume_times: 0,
            prepared_transaction_offset: 0,
            body: body.as_bytes(),
            properties: properties.as_bytes(),
        };
        let (mut with, mut without) = (BytesMut::new(), BytesMut::new());
        record.encode(&mut with).unwrap();
        strip_crc(&with, &mut without).unwrap();
        log.extend_from_slice(&without);
    }
    log.resize(SEGMENT as usize, 0);
    let disk = HostileDisk::default();
    disk.tamper_create("commitlog/00000000000000000000", log);
    disk
}

#[test]
fn queues_of_a_log_that_apache_wrote() {
    let disk = by_apache(&[
        ("%LMQ%a", "7"),
        ("%LMQ%a,%LMQ%b", "8,0"),
        ("%LMQ%a,other", "9,"),
        // Nonsense that a client may have sent to a broker which takes no notice of it.
        ("%LMQ%a", "123456789012345"),
        ("%LMQ%b", "-1"),
        ("%LMQ%b,%LMQ%c", "1"),
        ("%LMQ%../../x", "0"),
        ("%LMQ%b", "1"),
    ]);
    let w = World::open(disk);
    assert_eq!(w.bodies("%LMQ%a", 0), ["0", "1", "2"]);
    assert_eq!(w.store.bounds("%LMQ%a", 0).unwrap().min, 7);
    assert_eq!(w.bodies("%LMQ%b", 0), ["1", "7"]);
    let names: Vec<String> = w.store.queues().map(|(name, ..)| name.to_string()).collect();
    assert_eq!(names.iter().filter(|name| name.starts_with("%LMQ%")).count(), 2, "{names:?}");
    assert_eq!(w.bodies("T", 0).len(), 8);
}

/// A message whose own queue is known may have belonged to a light message queue that nobody knows any more.
#[test]
fn a_light_message_queue_whose_only_message_is_lost_does_not_begin_anew() {
    let mut w = World::open(HostileDisk::default());
    send(&mut w, &[], "first");
    let from = w.store.watermarks().appended as usize;
    send(&mut w, &[NAMES[0]], "lost");
    let to = w.store.watermarks().appended as usize;
    send(&mut w, &[], "last");
    w.flush();
    let disk = w.disk.crash(CrashMode::Kill, 0);
    // In its body: what it says of its queue can be read.
    disk.tamper("commitlog/00000000000000000000", |log| {
        let at = log[from..to].windows(4).position(|four| four == b"lost").unwrap();
        log[from + at] ^= 1;
    });
    let mut w = World::open(disk);
    assert_eq!(w.report.damaged.len(), 1);
    assert_eq!((w.store.next_offset(NAMES[0], 0), w.store.next_offset("T", 0)), (1, 0));
    send(&mut w, &[NAMES[0]], "new");
    w.flush();
    assert_eq!(w.bodies(NAMES[0], 0), ["new"]);
}
