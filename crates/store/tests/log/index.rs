//! Index runs, snapshot and frontier: missing, damaged, rebuilt.

use crate::look::verify;
use crate::world::*;
use kerolox_store::QueueRead;
use kerolox_store::disk::{CrashMode, Fault, FaultAction, HostileDisk, OpKind};

/// A log of some segments, closed in order, and the bodies sent to each queue.
fn closed() -> (HostileDisk, [Vec<String>; 2]) {
    let mut w = World::open(HostileDisk::default());
    let mut sent: [Vec<String>; 2] = Default::default();
    for i in 0..160 {
        let mut m = Message::new("T", i % 2, format!("body {i} {}", "x".repeat(200)).as_bytes());
        m.keys = format!("key{i} all");
        sent[i as usize % 2].push(String::from_utf8(m.body.clone()).unwrap());
        w.append(&m);
        w.set_state(16 + (i % 3) as u8, &[i as u8]);
        w.chores();
    }
    (w.close(), sent)
}

fn check(disk: HostileDisk, sent: &[Vec<String>; 2], what: &str) {
    let mut w = World::open(disk);
    for queue in 0..2 {
        assert_eq!(w.bodies("T", queue), sent[queue as usize], "{what}");
    }
    assert_eq!(w.by_key("T", "all", 1000, 0, i64::MAX).len(), 160, "{what}");
    assert_eq!(w.by_key("T", "key77", 1000, 0, i64::MAX), [sent[1][38].clone()], "{what}");
    assert_eq!(w.state.0[&16], [159], "{what}");
    assert!(w.report.damaged.is_empty() && w.report.state_errors.is_empty(), "{what}: {:?}", w.report);
    assert_eq!(w.send("T", 0, "next").queue_offset, 80, "{what}");
    w.flush();
    w.seal();
    assert_eq!(w.bodies("T", 0).len(), 81, "{what}");
}

#[test]
fn any_derived_file_may_be_missing() {
    let (disk, sent) = closed();
    let derived: Vec<String> = disk.paths().into_iter().filter(|p| p.starts_with("kerolox/")).collect();
    assert!(derived.len() > 10, "{derived:?}");
    for path in &derived {
        let hurt = disk.crash(CrashMode::Lost, 0);
        hurt.tamper_remove(path);
        check(hurt, &sent, path);
    }
    let hurt = disk.crash(CrashMode::Lost, 0);
    derived.iter().for_each(|path| drop(hurt.tamper_remove(path)));
    check(hurt, &sent, "all");
}

#[test]
fn any_derived_file_may_be_garbage() {
    let (disk, sent) = closed();
    for path in disk.paths().into_iter().filter(|p| p.starts_with("kerolox/")) {
        let garbage: [(&str, fn(&mut Vec<u8>)); 5] = [
            ("empty", Vec::clear),
            ("cut", |bytes| bytes.truncate(bytes.len() / 2)),
            ("zeros", |bytes| bytes.fill(0)),
            ("ones", |bytes| bytes.fill(0xff)),
            ("longer", |bytes| bytes.extend_from_slice(&[7; 100])),
        ];
        for (what, hurt) in garbage {
            let disk = disk.crash(CrashMode::Lost, 0);
            disk.tamper(&path, hurt);
            check(disk, &sent, &format!("{path} {what}"));
        }
    }
}

#[test]
fn any_derived_byte_may_be_flipped() {
    let (disk, sent) = closed();
    for path in disk.paths().into_iter().filter(|p| p.starts_with("kerolox/")) {
        let len = disk.content(&path).unwrap().len();
        // Dense at the start, where the headers are.
        for at in (0..len).filter(|at| *at < 160 && at % 3 == 0 || at % 61 == 0 || at % 4096 < 8) {
            let disk = disk.crash(CrashMode::Lost, 0);
            disk.tamper(&path, |bytes| bytes[at] ^= 0x20);
            let w = World::open(disk);
            for queue in 0..2 {
                assert_eq!(w.bodies("T", queue), sent[queue as usize], "{path} byte {at}");
            }
            assert_eq!(w.by_key("T", "key77", 10, 0, i64::MAX).len(), 1, "{path} byte {at}");
            assert_eq!(w.state.0[&16], [159], "{path} byte {at}");
        }
    }
}

#[test]
fn rebuilt_runs_are_written_once() {
    let (disk, sent) = closed();
    for path in disk.paths().into_iter().filter(|p| p.contains("/runs/")) {
        disk.tamper_remove(&path);
    }
    let w = World::open(disk);
    assert!(w.report.scanned_bytes > 2 * SEGMENT);
    let runs = w.disk.paths().iter().filter(|p| p.contains("/runs/")).count();
    assert!(runs > 5, "{runs}");
    assert_eq!(w.bodies("T", 1), sent[1]);
    let w = World::open(w.close());
    assert_eq!(w.report.scanned_bytes, 0);
}

#[test]
fn what_is_sealed_leaves_memory_and_is_found_on_disk() {
    let (disk, sent) = closed();
    let w = World::open(disk.clone());
    let reads = || kerolox_store::disk::Disk::counts(&disk).get(OpKind::Read);
    let before = reads();
    assert_eq!(w.bodies("T", 0), sent[0]);
    assert!(reads() > before, "after a start nothing is in memory");
}

/// Its messages were passed over without a word (simulation, seed 500147): the run's part was read anew from the log, which
/// did not have them any more.
#[test]
fn what_a_damaged_run_had_and_a_damaged_log_has_not_is_named() {
    let w = World::open(closed().0);
    let positions: Vec<u64> = (0..40)
        .flat_map(|from| {
            let slice = w.read(QueueRead { from, count_max: 1, ..read("T", 1) });
            views(&slice.records).iter().map(|view| view.position).collect::<Vec<_>>()
        })
        .collect();
    let hit = [5, 6, 9, 39].map(|offset| positions[offset]);
    for position in hit {
        let path = format!("commitlog/{:020}", position - position % SEGMENT);
        assert!(w.disk.tamper(&path, |log| log[(position % SEGMENT) as usize + 100] ^= 1));
    }
    for path in w.disk.paths().into_iter().filter(|p| p.contains("/runs/")) {
        w.disk.tamper(&path, |bytes| bytes[92..].fill(0xda));
    }
    let (messages, damaged) = w.all("T", 1);
    // Of neighbours nobody knows which is which.
    let named = [hit[0], hit[0], hit[2], hit[3]];
    assert_eq!((messages.len(), &damaged[..]), (76, &named[..]));
}

/// Runs and a snapshot that speak of a log that is no more are gone for good: a later log could come to fit them.
#[test]
fn stale_runs_and_snapshots_are_removed_durably() {
    let (disk, sent) = closed();
    let runs = |disk: &HostileDisk| -> Vec<String> {
        disk.paths().into_iter().filter(|p| p.contains("/runs/")).collect()
    };
    let sound = runs(&disk);
    let flipped = sound[1].clone();
    let stale = ["kerolox/runs/00000000000000000000-00000000000009999999.run", "kerolox/runs/junk"];
    for how in ["run", "junk", "flipped", "snapshot", "none"] {
        let disk = disk.crash(CrashMode::Lost, 0);
        match how {
            "run" => disk.tamper_create(stale[0], disk.content(&sound[0]).unwrap()),
            "junk" => disk.tamper_create(stale[1], vec![1, 2, 3]),
            "flipped" => assert!(disk.tamper(&flipped, |bytes| bytes[20] ^= 1)),
            "snapshot" => assert!(disk.tamper("kerolox/snapshot", |bytes| bytes[20] ^= 1)),
            _ => {}
        }
        let w = World::open(disk);
        let after = w.disk.crash(CrashMode::Lost, 0);
        // What is rebuilt may be cut elsewhere.
        assert!(how == "flipped" || runs(&after) == sound, "{how}: {:?}", runs(&after));
        let found = verify(&after);
        assert!(found.faults.is_empty() && found.damaged.is_empty(), "{how}: {found:?}");
        assert_eq!(after.content("kerolox/snapshot").is_some(), how != "snapshot", "{how}");
        check(after, &sent, how);
    }
}

/// What cannot be removed, or not durably, could come back: that start fails.
#[test]
fn a_stale_run_that_cannot_be_removed_is_an_error() {
    let (disk, _) = closed();
    disk.tamper_create("kerolox/runs/junk", vec![1, 2, 3]);
    disk.tamper_remove("abort");
    let disk = disk.crash(CrashMode::Lost, 0);
    let calls = {
        let disk = disk.crash(CrashMode::Lost, 0);
        disk.trace();
        drop(World::open(disk.clone()));
        disk.take_trace()
    };
    let mut failed = 0;
    for (call, (kind, path)) in (0..).zip(&calls) {
        let must = match (kind, path.as_str()) {
            (OpKind::Remove, "kerolox/runs/junk") | (OpKind::Create, "abort") => true,
            (OpKind::SyncDir, dir) => matches!(dir, "kerolox/runs" | ""),
            _ => false,
        };
        if must {
            let disk = disk.crash(CrashMode::Lost, 0);
            disk.set_faults(vec![Fault { call, action: FaultAction::Io }]);
            assert!(World::try_open(disk, &config()).is_err(), "{kind:?} {path}");
            failed += 1;
        }
    }
    assert_eq!(failed, 4, "{calls:?}");
}

/// A block is sound in itself and belongs to another run, at the very same place: a sound record was taken for damaged
/// (script 938 of the flip campaign).
#[test]
fn a_block_of_another_run_is_not_believed() {
    let (disk, sent) = closed();
    let runs: Vec<String> = disk.paths().into_iter().filter(|p| p.contains("/runs/")).collect();
    let content = |path: &String| disk.content(path).unwrap();
    let number = |bytes: &[u8], at: usize| u64::from_be_bytes(bytes[at..at + 8].try_into().unwrap()) as usize;
    let mut tried = 0;
    for pair in runs.windows(2) {
        let (from, to) = (content(&pair[0]), content(&pair[1]));
        // Where keys, tops and directory lie.
        let places = |bytes: &[u8]| [92, number(bytes, 52), number(bytes, 60), number(bytes, 68)];
        if places(&from) != places(&to) {
            continue;
        }
        tried += 1;
        for part in places(&from).windows(2) {
            let hurt = disk.crash(CrashMode::Lost, 0);
            let part = part[0]..part[1];
            hurt.tamper(&pair[1], |bytes| bytes[part.clone()].copy_from_slice(&from[part.clone()]));
            let faults = verify(&hurt).faults;
            assert!(faults.iter().any(|fault| pair[1] == *fault.path), "{part:?} of {pair:?}: {faults:?}");
            check(hurt, &sent, "a block of another run");
        }
    }
    assert!(tried > 0, "no two runs are alike");
}
