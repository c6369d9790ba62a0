//! Where the log ends after this and that.

use crate::world::*;
use kerolox_store::Bounds;
use kerolox_store::disk::{CrashMode, HostileDisk, OpKind};

/// Ten flushed messages, then three that are only written; the disk as it is then, and where each record lies.
fn ten_and_three() -> (HostileDisk, Vec<(u64, u64)>) {
    let mut w = World::open(HostileDisk::default());
    let mut places = Vec::new();
    for i in 0..13 {
        let a = w.send("T", 0, &format!("message {i}"));
        places.push((a.position, a.end));
        if i == 9 {
            w.flush();
        }
    }
    w.write(false);
    (w.disk.crash(CrashMode::Kill, 0), places)
}

fn numbers(n: usize) -> Vec<String> {
    (0..n).map(|i| format!("message {i}")).collect()
}

const LOG: &str = "commitlog/00000000000000000000";

/// How often the log's files were written or synced since the disk's calls are traced.
fn written(w: &World) -> usize {
    let is_write = |(kind, path): &(OpKind, String)| {
        matches!(kind, OpKind::Write | OpKind::SyncData) && path.starts_with("commitlog/")
    };
    w.disk.take_trace().iter().filter(|call| is_write(call)).count()
}

#[test]
fn after_a_clean_end_nothing_is_read_or_cut() {
    let mut w = World::open(HostileDisk::default());
    (0..10).for_each(|i| drop(w.send("T", 0, &format!("message {i}"))));
    w.set_state(20, b"kept");
    w.flush();
    let disk = w.close();
    assert!(disk.paths().iter().all(|p| p != "abort"), "{:?}", disk.paths());
    disk.trace();
    let w = World::open(disk);
    assert!(w.report.clean);
    assert_eq!((w.report.truncated_bytes, w.report.scanned_bytes), (0, 0));
    assert_eq!(written(&w), 0, "what lies behind the end is known to be zeros");
    assert_eq!(w.bodies("T", 0), numbers(10));
    assert_eq!(w.state.0[&20], b"kept");
    assert!(w.disk.paths().iter().any(|p| p == "abort"));
}

#[test]
fn after_a_kill_everything_written_is_there() {
    let (disk, places) = ten_and_three();
    let w = World::open(disk);
    assert!(!w.report.clean);
    assert_eq!(w.report.log_max, places[12].1);
    assert_eq!(w.bodies("T", 0), numbers(13));
}

/// Not only in the segment in which it ends.
#[test]
fn all_that_was_written_before_a_kill_is_on_disk_after_the_next_start() {
    let mut w = World::open(HostileDisk::default());
    w.send("T", 0, "flushed");
    w.flush();
    (0..100).for_each(|_| drop(w.send("T", 0, &"x".repeat(300))));
    w.write(false);
    assert!(w.store.watermarks().written > 2 * SEGMENT);
    // The process died, and what it wrote is in the operating system's cache alone.
    let disk = w.disk.clone();
    drop((w.writer, w.keeper, w.reader));
    let w = World::open(disk);
    let w = World::open(w.disk.crash(CrashMode::Lost, 0));
    assert_eq!((w.bodies("T", 0).len(), w.report.damaged.len()), (101, 0));
    assert_eq!(w.disk.content(LOG).unwrap().len() as u64, SEGMENT);
}

/// It was there in vain: the frontier says as well that the end was none in order.
#[test]
fn a_log_that_was_not_closed_is_mended_though_the_file_abort_is_gone() {
    let (disk, places) = ten_and_three();
    disk.tamper(LOG, |log| log[places[10].0 as usize..places[10].1 as usize].fill(0));
    assert!(disk.tamper_remove("abort"));
    let w = World::open(disk);
    assert!(!w.report.clean);
    assert_eq!((w.report.log_max, w.report.truncated_bytes), (places[10].0, places[12].1 - places[10].0));
    let log = w.disk.content(LOG).unwrap();
    assert!(log.len() as u64 == SEGMENT && log[places[10].0 as usize..].iter().all(|byte| *byte == 0));
}

#[test]
fn torn_tails_are_cut_at_the_first_bad_record() {
    let (disk, places) = ten_and_three();
    let (start, end) = (places[11].0 as usize, places[11].1 as usize);
    let tears: [(&str, fn(&mut [u8])); 6] = [
        ("all zeros", |r| r.fill(0)),
        ("head missing", |r| r[..50].fill(0)),
        ("end missing", |r| r[60..].fill(0)),
        ("last byte wrong", |r| *r.last_mut().unwrap() ^= 1),
        ("length garbage", |r| r[..4].fill(0x7f)),
        ("all garbage", |r| r.fill(0xda)),
    ];
    for (what, tear) in tears {
        let disk = disk.crash(CrashMode::Kill, 0);
        disk.tamper(LOG, |log| tear(&mut log[start..end]));
        let mut w = World::open(disk);
        assert_eq!(w.report.log_max, places[11].0, "{what}");
        assert!(w.report.damaged.is_empty(), "{what}");
        assert!(
            w.report.truncated_bytes >= places[12].1 - places[12].0,
            "{what}: the record behind it is cut off too"
        );
        assert_eq!(w.bodies("T", 0), numbers(11), "{what}");
        assert_eq!(w.store.bounds("T", 0), Some(Bounds { min: 0, max: 11 }));
        assert_eq!(w.send("T", 0, "next").queue_offset, 11);
        w.flush();
        let rest = w.disk.content(LOG).unwrap();
        assert!(rest[places[12].0 as usize + 20..].iter().all(|b| *b == 0), "{what}: not erased");
    }
}

/// Apache's truncation only moves its positions back: old records behind the cut come to life again when new ones end
/// right before them.
#[test]
fn apache_10666_what_was_cut_off_never_comes_back() {
    let (disk, places) = ten_and_three();
    // Of three records that were written and not synced, the first did not reach the disk.
    disk.tamper(LOG, |log| log[places[10].0 as usize..places[10].1 as usize].fill(0));
    let mut w = World::open(disk);
    assert_eq!(w.bodies("T", 0), numbers(10));
    // Exactly as long as the lost one: what lies behind would fit again.
    let twin = w.send("T", 0, "MESSAGE 10");
    assert_eq!((twin.position, twin.end), places[10]);
    w.flush();
    for mode in [CrashMode::Kill, CrashMode::Lost] {
        let w = World::open(w.disk.crash(mode, 0));
        let mut want = numbers(10);
        want.push("MESSAGE 10".to_owned());
        assert_eq!(w.bodies("T", 0), want, "{mode:?}");
        assert_eq!(w.report.log_max, places[10].1);
    }
}

#[test]
fn a_second_crash_during_recovery_changes_nothing() {
    let (disk, places) = ten_and_three();
    disk.tamper(LOG, |log| log[places[10].0 as usize] ^= 0xff);
    disk.record();
    drop(World::open(disk.clone()));
    let moments = disk.take_history();
    assert!(moments.len() > 5);
    for moment in moments {
        for (mode, seeds) in [(CrashMode::Lost, 1), (CrashMode::Reordered { sector: 512 }, 8)] {
            for seed in 0..seeds {
                let w = World::open(moment.crash(mode, seed));
                assert_eq!(w.bodies("T", 0), numbers(10), "{:?} {mode:?} {seed}", moment.kind);
            }
        }
    }
}

#[test]
fn offsets_go_on_where_they_were_when_all_messages_are_gone() {
    let mut w = World::open(HostileDisk::default());
    (0..5).for_each(|_| drop(w.send("Old", 0, "old")));
    while w.report.log_min == 0 && w.store.watermarks().appended < 4 * SEGMENT {
        w.send("New", 0, &"x".repeat(500));
        w.chores();
    }
    w.seal();
    w.now += 10_000;
    w.retain();
    w.retain();
    assert_eq!(w.store.bounds("Old", 0), Some(Bounds { min: 5, max: 5 }));
    let disk = w.disk.clone();
    for (what, gone) in [("all there", &[][..]), ("no snapshot", &["kerolox/snapshot"])] {
        let disk = disk.crash(CrashMode::Lost, 0);
        gone.iter().for_each(|path| assert!(disk.tamper_remove(path)));
        let mut w = World::open(disk);
        assert!(w.report.log_min > 0, "{what}");
        assert_eq!(w.store.bounds("Old", 0), Some(Bounds { min: 5, max: 5 }), "{what}");
        assert_eq!(w.send("Old", 0, "new").queue_offset, 5, "{what}");
        w.flush();
        assert_eq!(w.bodies("Old", 0), ["new"], "{what}");
    }
}

/// Reckoning where it ends overflowed.
#[test]
fn a_file_named_beyond_all_positions_is_none_of_the_log() {
    let (disk, places) = ten_and_three();
    disk.tamper_create(&format!("commitlog/{}", u64::MAX), vec![1; SEGMENT as usize]);
    assert_eq!(crate::look::verify(&disk).end, places[12].1);
    let w = World::open(disk);
    assert_eq!((w.report.log_max, w.bodies("T", 0).len()), (places[12].1, 13));
}

#[test]
fn a_lost_end_of_the_log_is_refused() {
    let mut w = World::open(HostileDisk::default());
    w.send("T", 0, "one");
    w.flush();
    let disk = w.close();
    disk.tamper_remove(LOG);
    let refused = World::try_open(disk, &config()).err().unwrap().to_string();
    assert!(refused.contains(LOG) && refused.contains("put it back"), "{refused}");
}
