//! Logs that Apache RocketMQ wrote: records without a checksum over all of themselves, plain fillers.

use crate::look::{both, verify};
use crate::world::*;
use bytes::BytesMut;
use kerolox_store::StoreConfig;
use kerolox_store::disk::{CrashMode, HostileDisk, OpKind};
use kerolox_wire::record::{NewRecord, strip_crc};

/// A log as Apache writes it.
pub(crate) struct Apache {
    pub(crate) segments: Vec<Vec<u8>>,
    base: u64,
    pub(crate) now: i64,
    /// Its `enabledAppendPropCRC`: its records carry checksums as ours do.
    checksums: bool,
}

impl Apache {
    pub(crate) fn new() -> Self {
        Self { segments: vec![Vec::new()], base: 0, now: 100, checksums: false }
    }

    pub(crate) fn end(&self) -> u64 {
        self.base + (self.segments.len() as u64 - 1) * SEGMENT + self.segments.last().unwrap().len() as u64
    }

    pub(crate) fn send(&mut self, topic: &str, queue_id: u32, offset: u64, body: &str) -> u64 {
        self.put(topic, queue_id, offset, body, 0, "KEYS\x01k\x02")
    }

    pub(crate) fn put(
        &mut self,
        topic: &str,
        queue_id: u32,
        offset: u64,
        body: &str,
        flag: i32,
        properties: &str,
    ) -> u64 {
        let record = |position| NewRecord {
            topic,
            queue_id,
            flag: 0,
            sys_flag: flag,
            queue_offset: offset,
            position,
            born_ms: 1,
            born_host: "1.2.3.4:5".parse().unwrap(),
            store_ms: self.now,
            store_host: "1.2.3.4:5".parse().unwrap(),
            reconsume_times: 0,
            prepared_transaction_offset: 0,
            body: body.as_bytes(),
            properties: properties.as_bytes(),
        };
        let checksums = self.checksums;
        let encoded = |position| {
            let (mut with, mut without) = (BytesMut::new(), BytesMut::new());
            record(position).encode(&mut with).unwrap();
            strip_crc(&with, &mut without).unwrap();
            if checksums { with } else { without }
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
    let (apache, disk, _) = written_by_apache_at(count);
    (apache, disk)
}

/// And where each message lies.
fn written_by_apache_at(count: u64) -> (Apache, HostileDisk, Vec<u64>) {
    let mut apache = Apache::new();
    let body = |i| format!("apache {i} {}", "x".repeat(300));
    let sent = (0..count).map(|i| apache.send("T", 0, i, &body(i))).collect();
    let disk = HostileDisk::default();
    apache.put_on(&disk);
    (apache, disk, sent)
}

fn segment(number: u64) -> String {
    format!("commitlog/{:020}", number * SEGMENT)
}

fn flip(disk: &HostileDisk, at: u64) {
    assert!(disk.tamper(&segment(at / SEGMENT), |log| log[(at % SEGMENT) as usize] ^= 1));
}

#[test]
fn a_log_of_apache_is_taken_over_in_place() {
    let (apache, disk) = written_by_apache(100);
    let mut w = World::open(disk);
    assert!(w.report.without_frontier && w.report.state_errors.is_empty());
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

/// The configured size is for new logs. Of the files there may be one that was caught half made.
#[test]
fn segments_of_a_log_of_apache_are_as_long_as_its_files() {
    let (apache, disk) = written_by_apache(100);
    let config = StoreConfig { segment_bytes: 2 * SEGMENT, ..config() };
    for half_made in [false, true] {
        let disk = disk.crash(CrashMode::Kill, 0);
        if half_made {
            let base = apache.segments.len() as u64 * SEGMENT;
            disk.tamper_create(&format!("commitlog/{base:020}"), vec![0; 1000]);
        }
        let w = World::open_with(disk, &config);
        assert_eq!((w.report.segment_bytes_kept, w.report.log_max), (Some(SEGMENT), apache.end()));
        assert_eq!(w.bodies("T", 0).len(), 100);
    }
}

/// Without a frontier, all behind the log's end might have been written: as much as there are files.
#[test]
fn what_is_zero_behind_apaches_end_is_not_zeroed() {
    let (_, disk) = written_by_apache(100);
    disk.trace();
    let w = World::open(disk);
    let written = |(kind, path): &(OpKind, String)| *kind == OpKind::Write && path.starts_with("commitlog/");
    assert_eq!(w.disk.take_trace().iter().filter(|call| written(call)).count(), 0);
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
    // They lie in the first segment, or in the second.
    for count in [5, 200] {
        let mut apache = Apache::new();
        apache.now = 1_000_000;
        (0..count).for_each(|i| drop(apache.send("T", 0, i, "short")));
        let end = apache.end();
        let mut old = Apache::new();
        (0..count + 20).for_each(|i| drop(old.send("T", 0, i, "an old record, longer")));
        let disk = HostileDisk::default();
        old.put_on(&disk);
        apache.put_on(&disk);
        let w = World::open(disk);
        assert_eq!((w.report.log_max, w.bodies("T", 0).len() as u64), (end, count));
        let log = w.disk.content(&segment(end / SEGMENT)).unwrap();
        assert!(log[(end % SEGMENT) as usize..].iter().all(|byte| *byte == 0), "{count}");
    }
}

/// Ten messages of Kerolox, which ended in order, and fifty of Apache behind them; where these lie.
fn there_and_back() -> (HostileDisk, Apache, Vec<u64>) {
    there_and_back_from(1_000, false)
}

/// The same where Kerolox' clock shows that time (Apache's shows 1,000,000), and Apache writes checksums or not.
fn there_and_back_from(now: i64, checksums: bool) -> (HostileDisk, Apache, Vec<u64>) {
    let mut w = World::open(HostileDisk::default());
    w.now = now;
    (0..10).for_each(|i| drop(w.send("T", 0, &format!("kerolox {i}"))));
    w.flush();
    let end = {
        w.seal();
        w.store.watermarks().appended
    };
    let disk = w.close();
    let mut apache = Apache::new();
    apache.segments = vec![disk.content(&segment(0)).unwrap()[..end as usize].to_vec()];
    (apache.now, apache.checksums) = (1_000_000, checksums);
    let sent = (10..60).map(|i| apache.send("T", 0, i, &format!("apache {i} {}", "x".repeat(500)))).collect();
    assert!(apache.segments.len() > 1);
    (disk, apache, sent)
}

/// There and back again: Kerolox, then Apache on the same directory, then Kerolox.
#[test]
fn apache_may_go_on_with_the_log_after_a_clean_end() {
    let (disk, apache, _) = there_and_back();
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

/// A clock that had once been ahead made all that Apache appended older than what lay before: behind damage in it, it was taken for what had
/// been cut off once, and zeroed.
#[test]
fn damage_in_what_apache_appended_costs_no_more_where_our_clock_was_ahead() {
    check_damage_in_what_apache_appended(5_000_000, false);
}

/// Those pass for ours: damage behind our clean end would be torn.
#[test]
fn damage_in_what_apache_appended_with_checksums_costs_no_more() {
    check_damage_in_what_apache_appended(1_000, true);
}

fn check_damage_in_what_apache_appended(our_now: i64, checksums: bool) {
    let (disk, apache, sent) = there_and_back_from(our_now, checksums);
    apache.put_on(&disk);
    for hit in [0, 1, 5] {
        let disk = disk.crash(CrashMode::Kill, 0);
        flip(&disk, sent[hit] + 95);
        let [look, start] = both(&disk);
        assert_eq!(look, start, "{hit}");
        assert_eq!((start.0.len(), start.1), (1, apache.end()), "{hit}");
        assert_eq!(World::open(disk).all("T", 0).0.len(), 59, "{hit}");
    }
}

/// Its retention had removed the segment that held Kerolox' end: "put it back", said each start.
#[test]
fn apache_may_stay_until_all_of_ours_has_expired() {
    let (disk, apache, sent) = there_and_back();
    let clean = disk.crash(CrashMode::Kill, 0);
    apache.put_on(&disk);
    assert!(disk.tamper_remove(&segment(0)));
    // Also if the first record that is left is damaged.
    for damaged in [false, true] {
        let disk = disk.crash(CrashMode::Kill, 0);
        if damaged {
            flip(&disk, SEGMENT + 90);
        }
        let [look, start] = both(&disk);
        assert_eq!((&look, start.1, start.0.len()), (&start, apache.end(), usize::from(damaged)));
        let mut w = World::open(disk);
        let left = sent.iter().filter(|p| **p >= SEGMENT).count();
        assert_eq!(w.all("T", 0).0.len(), left - usize::from(damaged));
        w.now = 2_000_000;
        assert_eq!(w.send("T", 0, "kerolox again").queue_offset, 60);
        w.flush();
        let w = World::open(w.disk.crash(CrashMode::Lost, 0));
        assert_eq!(w.all("T", 0).0.len(), left + 1 - usize::from(damaged));
    }
    // A mistake, however, is what took it away where no record of Apache's follows.
    clean.tamper_remove(&segment(0));
    clean.tamper_create(&segment(1), vec![0; SEGMENT as usize]);
    let refused = World::try_open(clean, &config()).err().unwrap().to_string();
    assert!(refused.contains("put it back"), "{refused}");
}

/// All that Apache had appended was dropped, and nobody said so.
#[test]
fn damage_in_the_first_record_that_apache_appended_costs_that_one() {
    let (disk, apache, sent) = there_and_back();
    apache.put_on(&disk);
    let checkpoint = (1_000_030_i64).to_be_bytes().repeat(2);
    let first = sent[0] as usize;
    // A bit, all of it (the checkpoint file knows of newer ones, or Apache was killed), and all but the last of its segment.
    for (what, from, to) in [
        ("bit", first + 95, first + 96),
        ("checkpoint", first, first + 600),
        ("killed", first, first + 600),
        ("long", first, SEGMENT as usize),
    ] {
        let disk = disk.crash(CrashMode::Kill, 0);
        let fill = if what == "bit" { 0x55 } else { 0 };
        disk.tamper(&segment(0), |log| log[from..to].fill(fill));
        match what {
            "bit" => {}
            "killed" => disk.tamper_create("abort", Vec::new()),
            _ => disk.tamper_create("checkpoint", checkpoint.clone()),
        }
        let [look, start] = both(&disk);
        assert_eq!(look, start, "{what}");
        assert_eq!((start.0.len(), start.0[0].0, start.1), (1, first as u64, apache.end()), "{what}");
        let mut w = World::open(disk);
        let kept = sent.iter().filter(|p| **p as usize >= to).count();
        assert_eq!(w.all("T", 0).0.len(), 10 + kept, "{what}");
        w.now = 2_000_000;
        assert_eq!(w.send("T", 0, "kerolox again").queue_offset, 60, "{what}");
    }
}

/// The same where only a filler fitted behind Kerolox' last record.
#[test]
fn damage_in_the_first_record_of_the_segment_that_apache_began_costs_that_one() {
    let (disk, mut apache, _) = there_and_back();
    apache.segments.truncate(1);
    let end = verify(&disk).end as usize;
    apache.segments[0].truncate(end);
    apache.send("T", 0, 10, &"x".repeat(SEGMENT as usize - end - 90));
    assert_eq!(apache.segments.len(), 2, "it found no room");
    let sent: Vec<u64> = (11..20).map(|i| apache.send("T", 0, i, "apache")).collect();
    apache.put_on(&disk);
    flip(&disk, SEGMENT + 90);
    let [look, start] = both(&disk);
    assert_eq!((&look, start.1), (&start, apache.end()));
    assert_eq!(start.0, [(SEGMENT, sent[0] - SEGMENT)]);
}

/// Apache takes a record of ours for bad, cuts the log before it and goes on: its next record lies on both sides of our end.
#[test]
fn what_apache_appended_over_our_last_record_is_not_lost() {
    let (disk, mut apache, _) = there_and_back();
    let end = verify(&disk).end;
    let cut = apache.segments[0].windows(9).position(|w| w == b"kerolox 9").unwrap() - 88;
    apache.segments.truncate(1);
    apache.segments[0].truncate(cut);
    apache.send("T", 0, 9, &"x".repeat(end as usize - cut));
    (10..60).for_each(|i| drop(apache.send("T", 0, i, "apache")));
    apache.put_on(&disk);
    let derived = |path: &String| path.ends_with(".run") || path.ends_with("snapshot");
    disk.paths().into_iter().filter(derived).for_each(|path| drop(disk.tamper_remove(&path)));
    let [look, start] = both(&disk);
    assert_eq!((&look, start.1), (&start, apache.end()));
    assert_eq!(World::open(disk).all("T", 0).0.len(), 59, "all but that one");
}

/// The same, but Kerolox was killed. Apache's checkpoint file tells its records from our torn ones.
#[test]
fn apache_may_go_on_with_the_log_after_a_kill() {
    // The newest message that the checkpoint file knows of, and whether that says something.
    for (newest, tells) in [(1_000_040, true), (500, false), (1010, false)] {
        let mut w = World::open(HostileDisk::default());
        (0..10).for_each(|i| drop(w.send("T", 0, &format!("kerolox {i}"))));
        w.flush();
        assert_eq!(w.now, 1010, "the store time of our newest");
        let end = w.store.watermarks().appended;
        let disk = w.disk.crash(CrashMode::Kill, 0);
        let mut apache = Apache::new();
        apache.segments =
            vec![disk.content("commitlog/00000000000000000000").unwrap()[..end as usize].to_vec()];
        apache.now = 1_000_000;
        (10..60).for_each(|i| drop(apache.send("T", 0, i, &format!("apache {i} {}", "x".repeat(500)))));
        apache.put_on(&disk);
        disk.tamper_create("checkpoint", [i64::to_be_bytes(newest), [0; 8]].concat());
        let mut w = World::open(disk);
        if !tells {
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

/// All that lay behind the hole was zeroed and removed.
#[test]
fn a_missing_file_amid_a_log_of_apache_is_damage() {
    let mut apache = Apache::new();
    let sent: Vec<u64> = (0..200).map(|i| apache.send("T", 0, i, &"x".repeat(300))).collect();
    let disk = HostileDisk::default();
    apache.put_on(&disk);
    assert!(disk.tamper_remove(&segment(2)) && disk.tamper_remove(&segment(3)));
    // What lies beside the hole may be damaged as well: the last record before it, the first one behind it.
    let (last, first) = (sent.iter().rfind(|p| **p < 2 * SEGMENT), sent.iter().find(|p| **p >= 4 * SEGMENT));
    for hit in [&[][..], &[*last.unwrap()], &[*first.unwrap()], &[*last.unwrap(), *first.unwrap()]] {
        let disk = disk.crash(CrashMode::Kill, 0);
        hit.iter().for_each(|at| flip(&disk, at + 90));
        let [look, start] = both(&disk);
        assert_eq!(look, start, "{hit:?}");
        assert!(start.0.contains(&(2 * SEGMENT, 2 * SEGMENT)), "{start:?}");
        assert_eq!((start.0.len(), start.1), (1 + hit.len(), apache.end()));
        let w = World::open(disk);
        let lost = |p: &u64| (2 * SEGMENT..4 * SEGMENT).contains(p) || hit.contains(p);
        let want: Vec<u64> = (0..200).filter(|i| !lost(&sent[*i as usize])).collect();
        assert_eq!(w.all("T", 0).0.iter().map(|(offset, _)| *offset).collect::<Vec<_>>(), want, "{hit:?}");
    }
}

/// What lies behind the hole is a file that Apache prepared, and holds nothing.
#[test]
fn a_log_of_apache_ends_at_a_missing_file_that_no_record_follows() {
    let (apache, disk) = written_by_apache(60);
    assert!((SEGMENT..2 * SEGMENT).contains(&apache.end()));
    assert!(disk.tamper_remove(&segment(1)));
    disk.tamper_create(&segment(2), vec![0; SEGMENT as usize]);
    assert_eq!(both(&disk), [(vec![], SEGMENT), (vec![], SEGMENT)]);
    let mut w = World::open(disk);
    assert_eq!(w.send("T", 0, "kerolox").position, SEGMENT);
}

/// Topics with `queue.type=BatchCQ`: a record takes as many offsets as its batch has messages. All but the first and the last record
/// of a queue were dropped, and the next message got an offset that the last batch had.
#[test]
fn a_batch_of_apaches_that_is_one_record_takes_its_offsets() {
    let batch = |apache: &mut Apache, i: u64| {
        let inner_batch = kerolox_wire::sys_flag::INNER_BATCH;
        apache.put("T", 0, i * 3, &"three messages".repeat(5), inner_batch, "INNER_NUM\x013\x02")
    };
    let mut apache = Apache::new();
    let sent: Vec<u64> = (0..60).map(|i| batch(&mut apache, i)).collect();
    // The index run of the last one ends behind it.
    (0..60).for_each(|i| drop(apache.send("U", 0, i, &"x".repeat(300))));
    let disk = HostileDisk::default();
    apache.put_on(&disk);
    // The offset of one may be damaged.
    for (hit, lost) in [(None, 0), (Some(sent[20] + 27), 1), (Some(sent[20] + 20), 1)] {
        let disk = disk.crash(CrashMode::Kill, 0);
        hit.iter().for_each(|at| flip(&disk, *at));
        let mut w = World::open(disk);
        assert_eq!(w.all("T", 0).0.len(), 60 - lost);
        let mut again = World::open(w.disk.crash(CrashMode::Kill, 0));
        assert_eq!(w.send("T", 0, "kerolox").queue_offset, 180);
        // The index that the first start wrote says how many records there are, not how many offsets they take.
        assert_eq!(again.send("T", 0, "kerolox").queue_offset, 180);
    }
}

/// The flag says so, and not the property, which any producer may give.
#[test]
fn a_record_of_apaches_that_only_names_a_number_takes_one_offset() {
    let mut apache = Apache::new();
    (0..2).for_each(|offset| drop(apache.put("T", 0, offset, "message", 0, "INNER_NUM\x013\x02")));
    (0..60).for_each(|i| drop(apache.send("U", 0, i, &"x".repeat(300))));
    let disk = HostileDisk::default();
    apache.put_on(&disk);
    let w = World::open(disk);
    let again = World::open(w.disk.crash(CrashMode::Kill, 0));
    assert_eq!([w, again].map(|w| w.store.next_offset("T", 0)), [2, 2]);
}

/// Its checksum does not cover the offset: what lies around it says which is right.
#[test]
fn damaged_offsets_in_a_log_of_apache_cost_their_records() {
    let (apache, disk, sent) = written_by_apache_at(10);
    for hits in [&[5][..], &[5, 6], &[5, 7], &[0], &[9], &[8, 9]] {
        let disk = disk.crash(CrashMode::Kill, 0);
        // Two in a row that agree would be a queue that jumped.
        hits.iter().for_each(|hit| flip(&disk, sent[*hit as usize] + 20 + hit % 2));
        let w = World::open(disk);
        let offsets: Vec<u64> = w.all("T", 0).0.iter().map(|(offset, _)| *offset).collect();
        let want: Vec<u64> = (0..10).filter(|offset| !hits.contains(offset)).collect();
        assert_eq!((offsets, w.report.log_max), (want, apache.end()), "{hits:?}");
    }
}

/// What nothing of its queue follows: a jump forward is believed.
#[test]
fn the_last_record_of_apache_behind_a_damaged_one_is_there() {
    let (apache, disk, sent) = written_by_apache_at(10);
    disk.tamper(&segment(0), |log| log[sent[8] as usize..sent[9] as usize].fill(0xda));
    let mut w = World::open(disk);
    let offsets = |w: &World| w.all("T", 0).0.iter().map(|(offset, _)| *offset).collect::<Vec<_>>();
    assert_eq!((offsets(&w), w.report.log_max), ((0..10).filter(|i| *i != 8).collect(), apache.end()));
    // Also where one of ours comes next.
    assert_eq!(w.send("T", 0, "kerolox").queue_offset, 10);
    w.flush();
    let disk = w.disk.crash(CrashMode::Kill, 0);
    disk.paths().iter().filter(|p| p.contains("/runs/")).for_each(|p| drop(disk.tamper_remove(p)));
    assert_eq!(offsets(&World::open(disk)), (0..11).filter(|i| *i != 8).collect::<Vec<_>>());
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
