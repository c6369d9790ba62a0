//! From one segment to the next.

use crate::world::*;
use kerolox_store::disk::{CrashMode, Disk, DiskFile, Fault, FaultAction, HostileDisk, OpKind, Trouble};
use kerolox_store::{AppendError, FlushPolicy, StoreConfig};
use kerolox_wire::record::{MAGIC_BLANK, RecordHead};

/// Body length that makes a message to topic `T` exactly so long.
fn body_for(record_bytes: u64) -> String {
    "x".repeat(record_bytes as usize - (91 + 1 + 20))
}

/// Apache leaves at least 8 bytes behind the last record: `length + 8 > rest` goes to the next segment.
#[test]
fn records_that_just_fit_and_just_do_not() {
    for spare in 0..30u64 {
        let mut w = World::open(HostileDisk::default());
        w.send("T", 0, &body_for(SEGMENT - 4000));
        // Leaves `spare` bytes in the segment, if it may.
        let a = w.send("T", 0, &body_for(4000 - spare));
        let next = w.send("T", 1, "next");
        w.flush();
        let log = w.disk.content("commitlog/00000000000000000000").unwrap();
        assert_eq!(log.len() as u64, SEGMENT);
        if spare < 8 {
            assert_eq!(a.position, SEGMENT, "{spare}: does not fit");
            let head = RecordHead::peek(&log[SEGMENT as usize - 4000..]).unwrap();
            assert_eq!(head, RecordHead { total: 4000, magic: MAGIC_BLANK });
            assert_eq!(next.position, a.end);
        } else {
            assert_eq!(a.end, SEGMENT - spare, "{spare}: fits");
            assert_eq!(next.position, SEGMENT, "{spare}: no other record fits there");
            let head = RecordHead::peek(&log[(SEGMENT - spare) as usize..]).unwrap();
            assert_eq!(head, RecordHead { total: spare as u32, magic: MAGIC_BLANK });
        }
        for mode in [CrashMode::Lost, CrashMode::Kill] {
            let w = World::open(w.disk.crash(mode, 0));
            assert_eq!(w.report.log_max, next.end, "{spare}");
            assert_eq!((w.bodies("T", 0).len(), w.bodies("T", 1)), (2, vec!["next".to_owned()]), "{spare}");
        }
    }
}

#[test]
fn a_crash_right_at_the_border_goes_on() {
    for spare in [8, 9, 19, 20, 21, 90] {
        let mut w = World::open(HostileDisk::default());
        w.send("T", 0, &body_for(SEGMENT - spare));
        w.flush();
        let mut w = World::open(w.disk.crash(CrashMode::Lost, 0));
        assert_eq!(w.report.log_max, SEGMENT - spare);
        let a = w.send("T", 0, "second");
        assert_eq!((a.position, a.queue_offset), (SEGMENT, 1));
        w.write(false);
        // The filler is on disk, what follows it is not.
        let disk = w.disk.crash(CrashMode::Kill, 0);
        disk.tamper(&format!("commitlog/{SEGMENT:020}"), |log| log.fill(0));
        let mut w = World::open(disk);
        assert_eq!(w.report.log_max, SEGMENT, "{spare}");
        assert_eq!(w.send("T", 0, "second").position, SEGMENT);
        w.flush();
        let w = World::open(w.disk.crash(CrashMode::Lost, 0));
        assert_eq!(w.bodies("T", 0)[1], "second");
    }
}

#[test]
fn segments_are_created_ahead_and_whole() {
    let mut w = World::open(HostileDisk::default());
    let logs = |w: &World| w.disk.paths().iter().filter(|p| p.starts_with("commitlog/")).count();
    assert_eq!(logs(&w), 1, "room for the first messages shows at the start");
    w.prepare();
    assert_eq!(logs(&w), 1);
    w.send("T", 0, &body_for(SEGMENT / 2 + 100));
    w.flush();
    w.prepare();
    assert_eq!(logs(&w), 2, "half of the first is used");
    for path in w.disk.paths().iter().filter(|p| p.starts_with("commitlog/")) {
        assert_eq!(w.disk.content(path).unwrap().len() as u64, SEGMENT);
    }
    // Prepared segments are taken over by the next start.
    let mut w = World::open(w.disk.crash(CrashMode::Lost, 0));
    w.prepare();
    assert_eq!(logs(&w), 2);
}

#[test]
fn a_disk_too_small_for_the_log_is_refused_at_the_start() {
    let refused =
        World::try_open(HostileDisk::new(24_000 + SEGMENT / 4), &config()).err().unwrap().to_string();
    assert!(refused.starts_with("no room for the log: "), "{refused}");
}

/// A recycled segment is full of records of its former life.
#[test]
fn recycled_segments_never_show_their_former_life() {
    let mut w = World::open(HostileDisk::default());
    let mut sent = Vec::new();
    let mut recycled = 0;
    for i in 0..600 {
        // Sizes repeat so that records of all lives begin at the same places.
        let body = format!("{i:04}{}", "z".repeat(i % 4 * 100));
        let a = w.send("T", 0, &body);
        sent.push((a.position, body));
        w.chores();
        w.now += 100;
        if i % 10 == 0 {
            let before = w.disk.paths();
            w.retain();
            let after = w.disk.paths();
            recycled += usize::from(
                before.iter().filter(|p| !after.contains(p)).any(|p| p.starts_with("commitlog/")),
            );
        }
        if i % 7 == 0 {
            let mode = if i % 2 == 0 { CrashMode::Lost } else { CrashMode::Kill };
            let mut again = World::open(w.disk.crash(mode, 0));
            let min = again.report.log_min;
            let want: Vec<_> = sent.iter().filter(|s| s.0 >= min).map(|s| s.1.clone()).collect();
            assert_eq!(again.bodies("T", 0), want, "{i}");
            assert!(again.report.damaged.is_empty(), "{i} {:?}", again.report.damaged);
            assert_eq!(again.send("T", 0, "next").queue_offset, sent.len() as u64);
        }
    }
    assert!(recycled >= 3, "{recycled}");
}

/// Apache goes on behind what it takes for the log's last record, and does not ask whether a segment's first one lies in its place:
/// what it then appended to a recycled segment was overwritten by the next start of ours.
#[test]
fn a_clean_end_leaves_nothing_that_apache_takes_for_a_record() {
    for flush in [FlushPolicy::Sync, FlushPolicy::Async { interval_ms: 500 }] {
        let config = StoreConfig { flush, ..config() };
        let mut w = World::open_with(HostileDisk::default(), &config);
        let mut min = 0;
        while min < 5 * SEGMENT || w.store.watermarks().appended % SEGMENT > SEGMENT / 2 {
            w.send("T", 0, &body_for(500));
            w.chores();
            w.now += 100;
            let disk;
            (min, disk) = w.keeper.retain(w.now);
            w.store.trimmed(min, disk);
        }
        // Whole blocks are written: at a border of theirs nothing behind the end is zeroed by the way.
        let appended = w.store.watermarks().appended;
        w.send("T", 0, &body_for((appended + 200).next_multiple_of(4096) - appended));
        w.chores();
        let crashed = w.disk.crash(CrashMode::Kill, 0);
        check_behind_the_end(w);
        // Killed right when a segment had its new name.
        let former = crashed.content(&logs(&crashed)[0]).unwrap();
        crashed.tamper(&logs(&crashed)[1], |log| *log = former);
        check_behind_the_end(World::open_with(crashed, &config));
    }
}

fn logs(disk: &HostileDisk) -> Vec<String> {
    disk.paths().into_iter().filter(|path| path.starts_with("commitlog/")).collect()
}

/// Ends the log.
fn check_behind_the_end(w: World) {
    let end = w.store.watermarks().appended;
    let disk = w.close();
    assert!(logs(&disk).len() > 1);
    for path in logs(&disk) {
        let base: u64 = path["commitlog/".len()..].parse().unwrap();
        let content = disk.content(&path).unwrap();
        let behind = end.saturating_sub(base) as usize;
        assert!(behind >= content.len() || content[behind..behind + 8] == [0; 8], "{path}, end {end}");
    }
    let w = World::open(disk);
    assert_eq!((w.report.clean, w.report.log_max, w.report.scanned_bytes), (true, end, 0));
}

#[test]
fn an_existing_log_keeps_its_segment_size() {
    let mut w = World::open(HostileDisk::default());
    w.send("T", 0, "one");
    w.flush();
    let disk = w.close();
    let other = StoreConfig { segment_bytes: 2 * SEGMENT, ..config() };
    let w = World::open_with(disk, &other);
    assert_eq!(w.report.segment_bytes_kept, Some(SEGMENT));
    assert_eq!(w.bodies("T", 0), ["one"]);
}

/// Changes of the state that had piled up went into records of 1 MiB, which segments of 1 MiB never took.
#[test]
fn state_records_fit_any_segment() {
    for segment_bytes in [SEGMENT, 1 << 20, 16 << 20] {
        let config = StoreConfig { segment_bytes, ..config() };
        let mut w = World::open_with(HostileDisk::default(), &config);
        let mut entries = Vec::new();
        kerolox_store::state::put(
            &mut entries,
            17,
            &vec![0; w.store.state_bytes_max() - kerolox_store::state::HEAD_BYTES],
        );
        w.store.append_state(w.now, &entries).unwrap();
    }
}

/// Index runs say what was in it, and so a start looked nowhere and said nothing: each message was named when somebody asked for it.
#[test]
fn a_file_that_is_missing_or_short_is_named_by_the_start() {
    let mut w = World::open(HostileDisk::default());
    w.grow(3 * SEGMENT);
    let disk = w.close();
    let middle = format!("commitlog/{SEGMENT:020}");
    for len in [None, Some(5000)] {
        let disk = disk.crash(CrashMode::Kill, 0);
        match len {
            None => assert!(disk.tamper_remove(&middle)),
            Some(len) => disk.open(&middle).unwrap().set_len(len).unwrap(),
        }
        let left = len.unwrap_or(0);
        // By each start: it is not made longer behind the back of the next one.
        let why = if left > 0 { "the segment's file ends there" } else { "the segment's file is missing" };
        for _ in 0..2 {
            let w = World::open(disk.clone());
            let named: Vec<_> = w.report.damaged.iter().map(|d| (d.position, d.bytes, &*d.why)).collect();
            assert_eq!(named, [(SEGMENT + left, SEGMENT - left, why)]);
        }
    }
    // Also where the log ends with it.
    let ended = ends_with_its_segment();
    ended.open(&logs(&ended)[0]).unwrap().set_len(5000).unwrap();
    for _ in 0..2 {
        let w = World::open(ended.clone());
        assert_eq!(w.report.damaged.iter().map(|d| d.position).collect::<Vec<_>>(), [5000]);
    }
    // Where a start comes by it is named once, and what lies right before it, too.
    let disk = disk.crash(CrashMode::Kill, 0);
    disk.paths()
        .iter()
        .filter(|path| path.ends_with(".run"))
        .for_each(|path| assert!(disk.tamper_remove(path)));
    assert!(disk.tamper_remove(&middle));
    assert!(disk.tamper("commitlog/00000000000000000000", |bytes| bytes[100] ^= 1));
    let w = World::open(disk);
    let named: Vec<_> = w.report.damaged.iter().map(|d| d.position).collect();
    assert_eq!(named, [0, SEGMENT]);
}

/// It was looked for in what had been named already: any damage before it, and what ended or began where it does, passed for it.
#[test]
fn a_missing_file_is_named_whatever_is_damaged_beside_it() {
    let mut w = World::open(HostileDisk::default());
    w.grow(4 * SEGMENT);
    let disk = w.close();
    assert!(disk.tamper_remove(&format!("commitlog/{SEGMENT:020}")));
    // A start reads what no index run covers: all but the second segment.
    let run_of_second = |path: &String| {
        let start = path.strip_prefix("kerolox/runs/").and_then(|name| name.split_once('-')).unwrap().0;
        (SEGMENT..2 * SEGMENT).contains(&start.parse().unwrap())
    };
    let runs = disk.paths().into_iter().filter(|path| path.ends_with(".run"));
    runs.filter(|path| !run_of_second(path)).for_each(|path| assert!(disk.tamper_remove(&path)));
    let hole = (SEGMENT, SEGMENT);
    for (what, damaged) in [
        ("elsewhere before it", 5000..5100),
        ("up to it", SEGMENT - 1000..SEGMENT),
        ("from its end on", 2 * SEGMENT..2 * SEGMENT + 100),
        ("elsewhere behind it", 2 * SEGMENT + 5000..2 * SEGMENT + 5100),
    ] {
        let disk = disk.crash(CrashMode::Kill, 0);
        let path = format!("commitlog/{:020}", damaged.start / SEGMENT * SEGMENT);
        let [from, to] =
            [damaged.start, damaged.end].map(|at| (at - damaged.start / SEGMENT * SEGMENT) as usize);
        assert!(disk.tamper(&path, |log| log[from..to].fill(0xda)));
        let named: Vec<_> = World::open(disk).report.damaged.iter().map(|d| (d.position, d.bytes)).collect();
        let (holes, others): (Vec<_>, Vec<_>) = named.into_iter().partition(|place| *place == hole);
        let [(position, bytes)] = others[..] else { panic!("{what}: {others:?}") };
        assert_eq!(holes, [hole], "{what}");
        assert!(position <= damaged.start && position + bytes >= damaged.end, "{what}: {position} {bytes}");
    }
}

/// A log that ends where its first segment does. The second one is prepared.
fn ends_with_its_segment() -> HostileDisk {
    let mut w = World::open(HostileDisk::default());
    w.send("T", 0, &body_for(SEGMENT - 100));
    w.flush();
    // A filler that is followed by nothing.
    w.send("T", 0, "torn");
    w.write(false);
    w.disk.tamper(&format!("commitlog/{SEGMENT:020}"), |log| log.fill(0));
    let w = World::open(w.disk.crash(CrashMode::Kill, 0));
    assert_eq!(w.report.log_max, SEGMENT);
    w.close()
}

/// The next one, which held nothing, is gone.
#[test]
fn a_log_whose_end_is_that_of_its_last_segment_goes_on_in_a_new_one() {
    let disk = ends_with_its_segment();
    assert!(disk.tamper_remove(&logs(&disk)[1]));
    for prepared_behind in [true, false] {
        let disk = disk.crash(CrashMode::Kill, 0);
        if prepared_behind {
            disk.tamper_create(&format!("commitlog/{:020}", 2 * SEGMENT), vec![0; SEGMENT as usize]);
        }
        // A start that comes to no end would ask for more.
        disk.restart_count();
        disk.set_faults((500..2000).map(|call| Fault { call, action: FaultAction::Io }).collect());
        let mut w = World::open(disk);
        w.disk.set_faults(Vec::new());
        assert_eq!((w.report.log_max, &w.report.damaged[..]), (SEGMENT, &[][..]));
        assert_eq!(w.send("T", 0, "next").position, SEGMENT);
        w.flush();
        let w = World::open(w.disk.crash(CrashMode::Lost, 0));
        assert_eq!(w.bodies("T", 0)[1], "next");
    }
}

/// A start made an error of it.
#[test]
fn a_prepared_segment_that_the_disk_has_no_blocks_for_is_removed() {
    let disk = ends_with_its_segment();
    let no_blocks = Trouble { kinds: &[OpKind::Allocate], action: FaultAction::NoSpace, left: u32::MAX };
    disk.set_trouble(Some(no_blocks));
    let mut w = World::open(disk);
    assert_eq!(logs(&w.disk).len(), 1);
    let refused = w.try_append(&Message::new("T", 0, b"new")).unwrap_err();
    assert!(matches!(refused, AppendError::DiskFull(_)), "{refused}");
    w.disk.set_trouble(None);
    w.flush();
    w.prepare();
    assert_eq!(w.send("T", 0, "new").position, SEGMENT);
    w.flush();
}

/// A log that ends in the middle of its first segment. The second one is prepared.
fn half_a_segment() -> (HostileDisk, u64) {
    let mut w = World::open(HostileDisk::default());
    let end = w.send("T", 0, &body_for(SEGMENT / 2 + 100)).end;
    w.flush();
    w.prepare();
    let disk = w.close();
    assert_eq!(logs(&disk).len(), 2);
    (disk, end)
}

/// Only a full disk is one that there may be room on again.
#[test]
fn a_start_that_cannot_allocate_for_another_reason_says_so() {
    for (disk, number) in [(half_a_segment().0, 0), (ends_with_its_segment(), 1)] {
        let path = logs(&disk)[number].clone();
        disk.set_trouble(Some(Trouble { kinds: &[OpKind::Allocate], action: FaultAction::Io, left: 1 }));
        let refused = World::try_open(disk.clone(), &config()).err().unwrap().to_string();
        assert!(refused.starts_with(&format!("extending {path}")), "{refused}");
        assert!(disk.paths().contains(&path));
    }
}

/// What it kept of blocks that an attempt had found is given back.
#[test]
fn a_last_segment_that_the_disk_has_no_blocks_for_takes_no_room() {
    let mut w = World::open(HostileDisk::default());
    w.grow(2 * SEGMENT + SEGMENT / 4);
    let disk = w.disk.crash(CrashMode::Kill, 0);
    // For the frontier.
    disk.set_capacity(w.used() + (24 << 10));
    let no_blocks = Trouble { kinds: &[OpKind::Allocate], action: FaultAction::NoSpace, left: u32::MAX };
    disk.set_trouble(Some(no_blocks));
    let mut w = World::open(disk);
    let refused = w.try_append(&Message::new("T", 0, b"new")).unwrap_err();
    assert!(matches!(refused, AppendError::DiskFull(_)), "{refused}");
}

/// So is one that is whole, but not adjacent.
#[test]
fn a_prepared_segment_that_was_caught_half_made_is_removed() {
    let mut w = World::open(HostileDisk::default());
    w.send("T", 0, "one");
    w.flush();
    let disk = w.close();
    for (number, len) in [(1, 5000), (2, SEGMENT as usize)] {
        disk.tamper_create(&format!("commitlog/{:020}", number * SEGMENT), vec![0; len]);
    }
    let w = World::open(disk);
    assert_eq!((logs(&w.disk).len(), w.bodies("T", 0)), (1, vec!["one".to_owned()]));
}

#[test]
fn a_prepared_segment_has_nothing_of_another_life_at_its_ends() {
    let (disk, _) = half_a_segment();
    for left in [0..20, SEGMENT as usize - 20..SEGMENT as usize] {
        let disk = disk.crash(CrashMode::Kill, 0);
        assert!(disk.tamper(&logs(&disk)[1], |log| log[left.clone()].fill(0xda)));
        let disk = World::open(disk).disk.crash(CrashMode::Lost, 0);
        assert!(disk.content(&logs(&disk)[1]).unwrap().iter().all(|byte| *byte == 0), "{left:?}");
    }
}

#[test]
fn the_last_segment_is_made_whole_again_durably() {
    let (disk, end) = half_a_segment();
    let file = disk.open(&logs(&disk)[0]).unwrap();
    file.set_len(end).and_then(|()| file.sync_data()).unwrap();
    let w = World::open(disk);
    assert_eq!((w.report.log_max, w.bodies("T", 0).len()), (end, 1));
    let disk = w.disk.crash(CrashMode::Lost, 0);
    assert_eq!(disk.content(&logs(&disk)[0]).unwrap().len() as u64, SEGMENT);
}

/// Whole blocks cannot be written to their very end.
#[test]
fn segments_need_not_be_of_whole_blocks() {
    let config = StoreConfig { segment_bytes: 10_000, ..config() };
    let mut w = World::open_with(HostileDisk::default(), &config);
    for i in 0..100 {
        w.send("T", 0, &format!("message {i} {}", "x".repeat(300)));
        w.chores();
    }
    assert!(logs(&w.disk).len() > 3);
    for path in logs(&w.disk) {
        assert_eq!(w.disk.content(&path).unwrap().len(), 10_000, "{path}");
    }
    assert_eq!(w.bodies("T", 0).len(), 100);
    assert_eq!(World::open_with(w.disk.crash(CrashMode::Lost, 0), &config).bodies("T", 0).len(), 100);
}
