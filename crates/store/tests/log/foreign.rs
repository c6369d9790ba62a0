//! Logs that Apache RocketMQ wrote: records without a checksum over all of themselves, plain fillers.

use crate::world::*;
use bytes::BytesMut;
use kerolox_store::disk::{CrashMode, HostileDisk};
use kerolox_wire::record::{NewRecord, strip_crc};

/// A log as Apache writes it.
pub(crate) struct Apache {
    pub(crate) segments: Vec<Vec<u8>>,
    base: u64,
    pub(crate) now: i64,
}

impl Apache {
    pub(crate) fn new() -> Self {
        Self { segments: vec![Vec::new()], base: 0, now: 100 }
    }

    pub(crate) fn end(&self) -> u64 {
        self.base + (self.segments.len() as u64 - 1) * SEGMENT + self.segments.last().unwrap().len() as u64
    }

    pub(crate) fn send(&mut self, topic: &str, queue_id: u32, offset: u64, body: &str) -> u64 {
        let record = |position| NewRecord {
            topic,
            queue_id,
            flag: 0,
            sys_flag: 0,
            queue_offset: offset,
            position,
            born_ms: 1,
            born_host: "1.2.3.4:5".parse().unwrap(),
            store_ms: self.now,
            store_host: "1.2.3.4:5".parse().unwrap(),
            reconsume_times: 0,
            prepared_transaction_offset: 0,
            body: body.as_bytes(),
            properties: b"KEYS\x01k\x02",
        };
        let encoded = |position| {
            let (mut with, mut without) = (BytesMut::new(), BytesMut::new());
            record(position).encode(&mut with).unwrap();
            strip_crc(&with, &mut without).unwrap();
            without
        };
        let last = self.segments.last_mut().unwrap();
        let left = SEGMENT as usize - last.len();
        if encoded(0).len() + 8 > left {
            last.extend_from_slice(&(left as u32).to_be_bytes());
            last.extend_from_slice(&kerolox_wire::record::MAGIC_BLANK.to_be_bytes());
            last.resize(SEGMENT as usize, 0);
            self.segments.push(Vec::new());
        }
        let position = self.end();
        let bytes = encoded(position);
        self.segments.last_mut().unwrap().extend_from_slice(&bytes);
        self.now += 1;
        position
    }

    pub(crate) fn put_on(&self, disk: &HostileDisk) {
        for (i, segment) in self.segments.iter().enumerate() {
            let path = format!("commitlog/{:020}", self.base + i as u64 * SEGMENT);
            let mut content = segment.clone();
            content.resize(SEGMENT as usize, 0);
            if !disk.tamper(&path, |bytes| bytes[..segment.len()].copy_from_slice(segment)) {
                disk.tamper_create(&path, content);
            }
        }
    }
}

pub(crate) fn written_by_apache(count: u64) -> (Apache, HostileDisk) {
    let mut apache = Apache::new();
    (0..count).for_each(|i| drop(apache.send("T", 0, i, &format!("apache {i} {}", "x".repeat(300)))));
    let disk = HostileDisk::default();
    apache.put_on(&disk);
    (apache, disk)
}

#[test]
fn a_log_of_apache_is_taken_over_in_place() {
    let (apache, disk) = written_by_apache(100);
    let mut w = World::open(disk);
    assert!(w.report.without_frontier);
    assert_eq!(w.report.log_max, apache.end());
    assert_eq!(w.bodies("T", 0).len(), 100);
    assert_eq!(w.by_key("T", "k", 1000, 0, i64::MAX).len(), 100);
    assert!(w.store.dump_due(), "the state is not in that log");
    assert_eq!(w.send("T", 0, "kerolox").queue_offset, 100);
    w.chores();
    let disk = w.disk.crash(CrashMode::Lost, 0);
    let w = World::open(disk.clone());
    assert_eq!(w.bodies("T", 0).len(), 101);
    assert!(w.report.scanned_bytes < SEGMENT, "{:?}", w.report);
    // A flipped byte in Apache's part hits one record, and one in ours is not taken for Apache's lack of a checksum.
    for (hit, lost) in [(5000, "apache"), (apache.end() + 95, "kerolox")] {
        let disk = disk.crash(CrashMode::Lost, 0);
        let path = format!("commitlog/{:020}", hit / SEGMENT * SEGMENT);
        disk.tamper(&path, |log| log[(hit % SEGMENT) as usize] ^= 4);
        let (messages, _) = World::open(disk).all("T", 0);
        assert_eq!(messages.len(), 100, "{lost}");
        let ours = messages.iter().filter(|(_, m)| m.body == b"kerolox").count();
        assert_eq!(ours, usize::from(lost == "apache"));
    }
}

#[test]
fn damage_in_a_log_of_apache_loses_one_record() {
    let (apache, disk) = written_by_apache(100);
    for hit in (0..apache.end()).step_by(411) {
        let disk = disk.crash(CrashMode::Lost, 0);
        let path = format!("commitlog/{:020}", hit / SEGMENT * SEGMENT);
        disk.tamper(&path, |log| log[(hit % SEGMENT) as usize] ^= 4);
        let w = World::open(disk);
        let found = w.all("T", 0).0.len();
        // Apache's checksum covers the body only.
        assert!(found >= 99, "byte {hit}: {found}, {:?}", w.report);
    }
}

/// Apache does not erase what it cuts off.
#[test]
fn leftovers_behind_apaches_end_stay_dead() {
    let mut apache = Apache::new();
    (0..5).for_each(|i| drop(apache.send("T", 0, i, "short")));
    let end = apache.end();
    let mut old = Apache::new();
    old.now = 10;
    (0..20).for_each(|i| drop(old.send("T", 0, i, "an old record, longer")));
    let disk = HostileDisk::default();
    old.put_on(&disk);
    apache.put_on(&disk);
    let w = World::open(disk);
    assert_eq!(w.report.log_max, end);
    assert_eq!(w.bodies("T", 0).len(), 5);
}

/// There and back again: Kerolox, then Apache on the same directory, then Kerolox.
#[test]
fn apache_may_go_on_with_the_log_after_a_clean_end() {
    let mut w = World::open(HostileDisk::default());
    (0..10).for_each(|i| drop(w.send("T", 0, &format!("kerolox {i}"))));
    w.flush();
    let end = w.store.watermarks().appended;
    let end = {
        w.seal();
        w.store.watermarks().appended.max(end)
    };
    let disk = w.close();
    let mut apache = Apache::new();
    apache.segments = vec![disk.content("commitlog/00000000000000000000").unwrap()[..end as usize].to_vec()];
    apache.now = 1_000_000;
    (10..60).for_each(|i| drop(apache.send("T", 0, i, &format!("apache {i} {}", "x".repeat(500)))));
    assert!(apache.segments.len() > 1);
    apache.put_on(&disk);
    let mut w = World::open(disk);
    assert_eq!(w.report.log_max, apache.end());
    assert_eq!(w.bodies("T", 0).len(), 60);
    w.now = 2_000_000;
    assert_eq!(w.send("T", 0, "kerolox again").queue_offset, 60);
    w.flush();
    let w = World::open(w.disk.crash(CrashMode::Lost, 0));
    assert_eq!(w.bodies("T", 0).len(), 61);
}

/// The same, but Kerolox was killed. Apache's checkpoint file tells its records from our torn ones.
#[test]
fn apache_may_go_on_with_the_log_after_a_kill() {
    for checkpoint in [true, false] {
        let mut w = World::open(HostileDisk::default());
        (0..10).for_each(|i| drop(w.send("T", 0, &format!("kerolox {i}"))));
        w.flush();
        let end = w.store.watermarks().appended;
        let disk = w.disk.crash(CrashMode::Kill, 0);
        let mut apache = Apache::new();
        apache.segments =
            vec![disk.content("commitlog/00000000000000000000").unwrap()[..end as usize].to_vec()];
        apache.now = 1_000_000;
        (10..60).for_each(|i| drop(apache.send("T", 0, i, &format!("apache {i} {}", "x".repeat(500)))));
        apache.put_on(&disk);
        // One from before its time says nothing.
        let newest: i64 = if checkpoint { 1_000_040 } else { 500 };
        disk.tamper_create("checkpoint", [newest.to_be_bytes(), [0; 8]].concat());
        let mut w = World::open(disk);
        if !checkpoint {
            assert_eq!((w.report.log_max, w.bodies("T", 0).len()), (end, 10));
            continue;
        }
        assert_eq!(w.report.log_max, apache.end());
        w.now = 2_000_000;
        assert_eq!(w.send("T", 0, "kerolox again").queue_offset, 60);
        w.flush();
        let w = World::open(w.disk.crash(CrashMode::Lost, 0));
        assert_eq!(w.bodies("T", 0).len(), 61);
    }
}

/// Apache's topics can be deleted and made again without a word in the log.
#[test]
fn a_queue_that_began_anew_shows_its_new_life() {
    let mut apache = Apache::new();
    (0..5).for_each(|i| drop(apache.send("T", 0, i, "first life")));
    (0..3).for_each(|i| drop(apache.send("T", 0, i, "second life")));
    let disk = HostileDisk::default();
    apache.put_on(&disk);
    let w = World::open(disk);
    assert_eq!(w.bodies("T", 0), ["second life"; 3]);
}
