//! What a start makes of the log on its way over it: what it believes, what it guesses, what it leaves alone.

use crate::fold::told;
use crate::foreign::Apache;
use crate::look::both;
use crate::world::*;
use kerolox_store::disk::{CrashMode, HostileDisk};
use kerolox_store::{StoreConfig, open};

const SNAPSHOT: &str = "kerolox/snapshot";

/// The disk after a kill, without some of the files.
fn killed(disk: &HostileDisk, without: &[&str]) -> HostileDisk {
    let disk = disk.crash(CrashMode::Kill, 0);
    for path in disk.paths() {
        if without.iter().any(|part| path.contains(part)) {
            disk.tamper_remove(&path);
        }
    }
    disk
}

/// Changes the bytes `from..to` of the log, which lie in one segment.
fn change(disk: &HostileDisk, from: u64, to: u64, with: impl FnOnce(&mut [u8])) {
    let (base, from, to) = (from - from % SEGMENT, (from % SEGMENT) as usize, to - (from - from % SEGMENT));
    assert!(disk.tamper(&format!("commitlog/{base:020}"), |log| with(&mut log[from..to as usize])));
}

/// All of a record is garbage: nothing says whose it was.
fn destroy(disk: &HostileDisk, from: u64, to: u64) {
    change(disk, from, to, |bytes| bytes.fill(0xda));
}

/// Flips a bit in the body of the record that begins there.
fn hit_body(disk: &HostileDisk, record: u64) {
    change(disk, record + 90, record + 91, |byte| byte[0] ^= 1);
}

fn runs(disk: &HostileDisk) -> Vec<(u64, u64)> {
    let range = |path: &String| {
        let (start, end) = path.strip_prefix("kerolox/runs/")?.strip_suffix(".run")?.split_once('-')?;
        Some((start.parse().unwrap(), end.parse().unwrap()))
    };
    disk.paths().iter().filter_map(range).collect()
}

fn offsets(w: &World, queue_id: u32) -> Vec<u64> {
    w.all("T", queue_id).0.into_iter().map(|(offset, _)| offset).collect()
}

#[test]
fn progress_is_told_once_in_16_mib() {
    let mib = 1 << 20;
    let config = StoreConfig { segment_bytes: 4 * mib, run_bytes: 64 * mib, ..StoreConfig::default() };
    let mut w = World::open_with(HostileDisk::default(), &config);
    for _ in 0..36 {
        w.send("T", 0, &"m".repeat(mib as usize));
        w.flush();
        w.prepare();
    }
    let (end, disk) = (w.store.watermarks().appended, killed(&w.disk, &[]));
    let mut told = Vec::new();
    open(disk, &config, &mut Kinds::default(), &mut |progress| told.push(progress)).unwrap();
    let [first, second] = told[..] else { panic!("{told:?}") };
    assert!((16 * mib..18 * mib).contains(&first.done), "{first:?}");
    assert!((16 * mib..18 * mib).contains(&(second.done - first.done)), "{second:?}");
    assert!(second.done <= end && end <= second.total, "{second:?}");
}

/// The last segment was searched for a dump, and folded from there on: nothing else was read.
#[test]
fn what_a_start_read_is_counted() {
    let mut w = World::open(HostileDisk::default());
    w.grow(2 * SEGMENT);
    let begin = w.store.watermarks().appended;
    w.dump();
    w.send("T", 0, "behind");
    w.seal_index();
    let (end, found) = (w.store.watermarks().appended, World::open(killed(&w.disk, &["snapshot"])));
    assert_eq!(found.report.scanned_bytes, (end - 2 * SEGMENT) + (end - begin));
}

/// Retention went on for long without a new one.
#[test]
fn a_snapshot_from_before_the_log_begins_is_not_believed() {
    let mut w = World::open(HostileDisk::default());
    w.set_state(17, b"will be no more");
    w.seal();
    let snapshot = w.disk.content(SNAPSHOT).unwrap();
    w.state.0.remove(&17);
    w.set_state(16, b"is");
    w.grow(6 * SEGMENT);
    w.now += 5000;
    (0..9).for_each(|_| w.retain());
    let disk = killed(&w.disk, &[]);
    disk.tamper_create(SNAPSHOT, snapshot);
    let found = World::open(disk);
    assert!(found.report.log_min > SEGMENT);
    assert_eq!(found.state, w.state);
    assert_eq!(found.disk.content(SNAPSHOT), None);
}

#[test]
fn an_index_run_of_what_is_not_in_the_log_is_not_believed() {
    let mut w = World::open(HostileDisk::default());
    w.send("T", 0, "early");
    w.flush();
    let early = killed(&w.disk, &[]);
    w.send("T", 0, "late");
    w.seal_index();
    let run = w.disk.paths().into_iter().find(|path| path.ends_with(".run")).unwrap();
    early.tamper_create(&run, w.disk.content(&run).unwrap());
    let found = World::open(early);
    assert_eq!(found.bodies("T", 0), ["early"]);
    assert_eq!(found.disk.content(&run), None);
}

#[test]
fn runs_that_a_start_writes_are_as_long_as_others() {
    let mut w = World::open(HostileDisk::default());
    w.grow(3 * SEGMENT);
    let found = World::open(killed(&w.disk, &["runs/", "snapshot"]));
    let runs = runs(&found.disk);
    assert!(runs.len() > 6, "{runs:?}");
    for (start, end) in runs {
        let whole = config().run_bytes..config().run_bytes + 1000;
        assert!(whole.contains(&(end - start)) || end % SEGMENT == 0, "{start} {end}");
    }
}

/// Where a snapshot or a dump says where queues go on, damage before it makes nobody guess.
#[test]
fn damage_before_the_state_was_said_costs_no_offsets() {
    for snapshot in [true, false] {
        let mut w = World::open(HostileDisk::default());
        let sent = [(); 4].map(|()| w.send("T", 0, "message"));
        if snapshot {
            w.seal()
        } else {
            w.dump()
        }
        w.send("U", 0, "behind");
        w.flush();
        let disk = killed(&w.disk, &["runs/"]);
        for lost in [&sent[1], &sent[3]] {
            let disk = killed(&disk, &[]);
            destroy(&disk, lost.position, lost.end);
            let found = World::open(disk);
            assert_eq!(found.report.damaged.len(), 1);
            let next = [("T", 0), ("U", 0), ("New", 0)].map(|(topic, id)| found.store.next_offset(topic, id));
            assert_eq!(next, [4, 1, 0], "snapshot: {snapshot}, offset {}", lost.queue_offset);
        }
    }
}

/// A dump says of a queue what was so when its part was appended.
#[test]
fn damage_amid_a_dump_gives_no_offset_twice() {
    let mut w = World::open(HostileDisk::default());
    w.send("T", 0, "before");
    w.store.append_dump(w.now, &w.whole(), false).unwrap();
    let lost = w.send("T", 0, "amid");
    w.store.append_dump(w.now, b"", true).unwrap();
    w.flush();
    let disk = killed(&w.disk, &["runs/", "snapshot"]);
    destroy(&disk, lost.position, lost.end);
    assert!(World::open(disk).store.next_offset("T", 0) > lost.queue_offset);
}

/// The snapshot says what that had said: the dump has nothing to heal, and what lies before it is told.
#[test]
fn damage_before_the_snapshot_is_no_reason_to_fold_again() {
    let mut w = World::open(HostileDisk::default());
    w.set_state(16, b"state");
    let sent = [(); 2].map(|()| w.send("T", 0, "before"));
    w.seal();
    w.send("T", 0, "behind");
    w.dump();
    w.flush();
    for lost in sent {
        let disk = killed(&w.disk, &["runs/"]);
        destroy(&disk, lost.position, lost.end);
        assert_eq!(told(&disk, &[]), ["state", "behind", "state"], "{}", lost.position);
    }
}

#[test]
fn a_deleted_topic_stays_deleted_by_the_run_of_a_later_start() {
    let mut w = World::open(HostileDisk::default());
    w.send("Gone", 0, "first life");
    w.seal();
    w.store.delete_topic(w.now, "Gone", Vec::new()).unwrap();
    w.flush();
    // The deletion gets into a run that this start makes.
    let found = World::open(killed(&w.disk, &[]));
    assert_eq!(World::open(found.close()).store.bounds("Gone", 0), None);
}

/// The run in which it was deleted says so: later ones would delete what came behind that.
#[test]
fn a_topic_is_not_deleted_once_more_by_a_later_run() {
    let mut w = World::open(HostileDisk::default());
    w.send("Gone", 0, "first life");
    w.store.delete_topic(w.now, "Gone", Vec::new()).unwrap();
    w.send("Gone", 0, "second life");
    w.seal_index();
    let mut found = World::open(killed(&w.disk, &[]));
    found.send("T", 0, "for a later run");
    found.flush();
    assert_eq!(World::open(found.close()).bodies("Gone", 0), ["second life"]);
}

/// What it says of itself fits what is known, and the damage shows in the body: nobody has to guess.
#[test]
fn a_record_with_a_damaged_body_costs_no_other_offset() {
    let mut w = World::open(HostileDisk::default());
    for _ in 0..2 {
        w.send("T", 0, "message");
        w.send("U", 0, "message");
        w.set_state(16, b"state");
    }
    let message = w.send("T", 0, "lost").position;
    w.send("U", 0, "message");
    let state = w.set_state(16, b"lost").position;
    w.flush();
    for hits in [&[message][..], &[state], &[message, state]] {
        let disk = killed(&w.disk, &[]);
        hits.iter().for_each(|hit| hit_body(&disk, *hit));
        let mut found = World::open(disk);
        assert_eq!(found.report.damaged.len(), hits.len());
        let next = [("T", 0), ("U", 0), ("New", 0)].map(|(topic, id)| found.store.next_offset(topic, id));
        assert_eq!((next, found.set_state(16, b"next").queue_offset), ([3, 3, 0], 3), "{hits:?}");
    }
}

/// A start that reads index runs learns from them how many records there are, and looks for batches itself.
#[test]
fn a_damaged_offset_behind_a_batch_does_not_make_it_shorter() {
    let mut apache = Apache::new();
    for offset in [0, 3] {
        let inner_batch = kerolox_wire::sys_flag::INNER_BATCH;
        apache.put("T", 0, offset, "three messages", inner_batch, "INNER_NUM\x013\x02");
    }
    apache.send("T", 0, 2, "offset 6, in truth");
    (0..60).for_each(|i| drop(apache.send("U", 0, i, &"x".repeat(300))));
    let disk = HostileDisk::default();
    apache.put_on(&disk);
    let found = World::open(disk);
    assert_eq!(found.store.next_offset("T", 0), 6);
    assert!(!runs(&found.disk).is_empty());
    assert_eq!(World::open(killed(&found.disk, &[])).store.next_offset("T", 0), 6);
}

/// A queue of Apache's whose records have these offsets: which can be read, and what the next one gets.
fn found_of(said: &[u64]) -> (Vec<u64>, u64) {
    let mut apache = Apache::new();
    said.iter().for_each(|offset| drop(apache.send("T", 0, *offset, "message")));
    let disk = HostileDisk::default();
    apache.put_on(&disk);
    let w = World::open(disk);
    (offsets(&w, 0), w.store.next_offset("T", 0))
}

/// Nothing behind it says whether its offset is damaged.
#[test]
fn the_last_offset_of_a_queue_is_believed_if_it_is_likely() {
    assert_eq!(found_of(&[0, 1, 2, 7]), (vec![0, 1, 2, 7], 8), "some between are gone");
    assert_eq!(found_of(&[0, 1, 2, 0]), (vec![0], 1), "it began anew");
    assert_eq!(found_of(&[0, 1, 2, 1]), (vec![0, 1, 2], 3), "it went back");
    assert_eq!(found_of(&[0, 1, 2, 1 << 40]), (vec![0, 1, 2], 3), "too far");
}

/// Nothing of ours was in it: all that Apache had appended was taken for torn writes, and erased.
#[test]
fn apache_may_go_on_with_a_log_in_which_nothing_is() {
    let mut apache = Apache::new();
    (0..100).for_each(|i| drop(apache.send("T", 0, i, &"x".repeat(300))));
    // Ours ended in order, or Apache's checkpoint file knows of messages. Its retention may have taken the first file.
    for (in_order, checkpoint) in [(true, false), (true, true), (false, true)] {
        for begin in [0, SEGMENT] {
            let w = World::open(HostileDisk::default());
            let disk = if in_order { w.close() } else { killed(&w.disk, &[]) };
            apache.put_on(&disk);
            if checkpoint {
                disk.tamper_create("checkpoint", (apache.now - 1).to_be_bytes().repeat(2));
            }
            if begin > 0 {
                assert!(disk.tamper_remove("commitlog/00000000000000000000"));
            }
            let what = format!("{in_order} {checkpoint} {begin}");
            assert_eq!(both(&disk), [(vec![], apache.end()), (vec![], apache.end())], "{what}");
            let mut found = World::open(disk);
            let left = offsets(&found, 0);
            assert_eq!(
                (left[0] > 0, left.last(), found.report.log_min),
                (begin > 0, Some(&99), begin),
                "{what}"
            );
            assert_eq!(found.send("T", 0, "kerolox again").queue_offset, 100, "{what}");
        }
    }
}
