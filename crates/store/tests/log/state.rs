//! State records, dumps, deletions.

use crate::world::*;
use kerolox_store::disk::{CrashMode, HostileDisk};
use kerolox_store::{Bounds, STATE_TOPIC};

fn reopened(w: &World, without: &[&str]) -> World {
    let disk = w.disk.crash(CrashMode::Lost, 0);
    for path in disk.paths() {
        if without.iter().any(|part| path.contains(part)) {
            disk.tamper_remove(&path);
        }
    }
    World::open(disk)
}

/// From the log alone, from the snapshot, with and without an index: always the same.
const DERIVED: [&[&str]; 4] = [&[], &["snapshot"], &["runs/"], &["snapshot", "runs/"]];

#[test]
fn state_is_the_same_however_it_is_found() {
    let mut w = World::open(HostileDisk::default());
    for i in 0..200u32 {
        w.send("T", i % 2, &"m".repeat(200));
        w.set_state(16 + (i % 7) as u8, format!("value {i}").as_bytes());
        if i % 5 == 0 {
            w.chores();
        }
        if i % 40 == 39 {
            w.flush();
            for without in DERIVED {
                let again = reopened(&w, without);
                assert_eq!(again.state, w.state, "{i} without {without:?}");
                assert!(again.report.state_errors.is_empty(), "{:?}", again.report.state_errors);
                assert_eq!(again.store.bounds("T", 1), w.store.bounds("T", 1));
            }
        }
    }
    assert!(w.report.log_min == 0 && w.store.watermarks().appended > 3 * SEGMENT);
}

#[test]
fn a_dump_that_was_cut_short_counts_for_nothing() {
    let mut w = World::open(HostileDisk::default());
    (0..40).for_each(|i| drop(w.set_state(16 + i, &[i; 200])));
    w.flush();
    let before = w.store.watermarks().appended;
    // A dump of several records; the last of them is torn off.
    w.dump();
    let after = w.store.watermarks().appended;
    assert!(after - before > 8000);
    w.write(false);
    let disk = w.disk.crash(CrashMode::Kill, 0);
    let (segment, at) = ((after - 30) / SEGMENT * SEGMENT, ((after - 30) % SEGMENT) as usize);
    disk.tamper(&format!("commitlog/{segment:020}"), |log| log[at] ^= 1);
    let mut again = World::open(disk);
    assert_eq!(again.state, w.state);
    // Life goes on behind the torso, and what is set then counts.
    again.set_state(16, b"later");
    again.flush();
    for without in DERIVED {
        let last = reopened(&again, without);
        assert_eq!(last.state.0[&16], b"later", "{without:?}");
        assert_eq!(last.state, again.state);
    }
}

#[test]
fn the_log_says_everything_from_its_last_dump_on() {
    let mut w = World::open(HostileDisk::default());
    w.set_state(40, b"set once, long ago");
    w.send("Old", 3, "old");
    while w.store.watermarks().appended < 6 * SEGMENT {
        w.send("T", 0, &"m".repeat(300));
        w.chores();
    }
    w.seal();
    w.now += 5000;
    (0..5).for_each(|_| w.retain());
    let again = reopened(&w, &["snapshot", "runs/"]);
    assert!(again.report.log_min >= 4 * SEGMENT, "{:?}", again.report);
    assert_eq!(again.state.0[&40], b"set once, long ago");
    assert_eq!(again.store.bounds("Old", 3), Some(Bounds { min: 1, max: 1 }));
    assert!(again.report.state_errors.is_empty());
}

#[test]
fn dumps_are_due_once_a_segment() {
    let mut w = World::open(HostileDisk::default());
    assert!(!w.store.dump_due(), "an empty log needs none");
    let mut dumps = 0;
    while w.store.watermarks().appended < 4 * SEGMENT + 100 {
        w.send("T", 0, &"m".repeat(300));
        if w.store.dump_due() {
            w.dump();
            dumps += 1;
            assert!(!w.store.dump_due());
        }
    }
    assert_eq!(dumps, 4);
}

#[test]
fn entries_that_their_owner_refuses_are_reported() {
    let mut w = World::open(HostileDisk::default());
    let a = w.set_state(30, b"refuse");
    w.set_state(31, b"fine");
    w.flush();
    let again = reopened(&w, &[]);
    assert_eq!(again.report.state_errors, [(a.position, "refused".to_owned())]);
    assert_eq!(again.state.0[&31], b"fine");
}

#[test]
fn nobody_reads_state_records() {
    let mut w = World::open(HostileDisk::default());
    let a = w.set_state(16, b"secret");
    w.flush();
    assert_eq!(w.by_position(&[a.position]), [None]);
    assert_eq!(w.store.bounds(STATE_TOPIC, 0), None);
    assert!(w.store.next_visible().is_none());
}

#[test]
fn state_records_are_counted_on_however_the_state_is_found() {
    let mut w = World::open(HostileDisk::default());
    (0..2).for_each(|_| drop(w.set_state(16, b"value")));
    w.seal();
    for without in DERIVED {
        let mut again = reopened(&w, without);
        assert_eq!(again.set_state(16, b"value").queue_offset, 2, "{without:?}");
        assert_eq!(again.store.bounds(STATE_TOPIC, 0), None, "{without:?}: it is no queue");
    }
}

#[test]
fn a_deleted_topic_begins_again_at_zero_however_it_is_found() {
    let mut w = World::open(HostileDisk::default());
    for i in 0..30 {
        w.send("Gone", i % 2, &"x".repeat(200));
        w.send("Stays", 0, "s");
        w.chores();
    }
    w.now += 1;
    w.store.delete_topic(w.now, "Gone", Vec::new()).unwrap();
    assert_eq!(w.store.bounds("Gone", 0), None);
    w.flush();
    while w.store.next_visible().is_some() {}
    for without in DERIVED {
        let again = reopened(&w, without);
        assert_eq!(again.store.bounds("Gone", 0), None, "{without:?}");
        assert_eq!(again.bodies("Stays", 0).len(), 30, "{without:?}");
    }
    assert_eq!(w.send("Gone", 1, "reborn").queue_offset, 0);
    w.flush();
    for step in ["open", "sealed"] {
        for without in DERIVED {
            let again = reopened(&w, without);
            assert_eq!(again.bodies("Gone", 1), ["reborn"], "{step} {without:?}");
            assert_eq!(again.store.bounds("Gone", 0), None, "{step} {without:?}");
        }
        w.seal();
    }
}

#[test]
fn a_deleted_queue_shows_nothing_that_was_still_to_come() {
    let mut w = World::open(HostileDisk::default());
    w.send("Gone", 0, "a");
    w.send("Stays", 0, "b");
    w.now += 1;
    w.store.delete_topic(w.now, "Gone", Vec::new()).unwrap();
    w.flush();
    assert_eq!(w.store.next_visible().map(|v| v.topic.to_string()), Some("Stays".to_owned()));
    assert_eq!(w.store.next_visible(), None);
}

/// Of a later life of the directory, of which the log and its frontier were put back.
#[test]
fn a_snapshot_of_what_the_log_does_not_say_is_not_believed() {
    let mut w = World::open(HostileDisk::default());
    w.set_state(16, b"earlier");
    w.flush();
    let disk = w.disk.crash(CrashMode::Kill, 0);
    w.set_state(16, b"later");
    w.seal();
    disk.tamper_create("kerolox/snapshot", w.disk.content("kerolox/snapshot").unwrap());
    assert_eq!(World::open(disk).state.0[&16], b"earlier");
}

#[test]
fn a_log_without_its_beginning_and_without_a_dump_is_reported() {
    let mut w = World::open(HostileDisk::default());
    while w.store.watermarks().appended < 2 * SEGMENT {
        w.send("T", 0, &"m".repeat(300));
        w.prepare();
        w.flush();
    }
    let disk = w.disk.crash(CrashMode::Kill, 0);
    assert!(disk.tamper_remove(&format!("commitlog/{:020}", 0)));
    let w = World::open(disk);
    let [(position, why)] = &w.report.state_errors[..] else { panic!("{:?}", w.report) };
    assert!(*position == SEGMENT && why.contains("no whole dump"), "{why}");
}

/// With a large state each seal, every 64 MiB of log, wrote all of it anew.
#[test]
fn a_large_state_is_snapped_in_proportion_to_the_log() {
    let mut w = World::open(HostileDisk::default());
    for i in 0..60 {
        w.set_state(16 + i, &[i; 100]);
    }
    w.seal();
    assert!(!w.store.snapshot_due());
    let sealed = w.store.watermarks().appended;
    // What changes meanwhile is in the log alone.
    w.set_state(16, b"later");
    let mut index_seals = 0;
    while !w.store.snapshot_due() {
        w.send("T", 0, &"m".repeat(300));
        w.flush();
        if w.store.seal_due() {
            w.seal_index();
            index_seals += 1;
        }
    }
    assert!(index_seals >= 2, "{index_seals}");
    assert!(w.store.watermarks().appended - sealed >= 8 * 60 * 100);
    for without in DERIVED {
        let mut again = reopened(&w, without);
        assert_eq!(again.state, w.state, "without {without:?}");
        assert_eq!(again.store.bounds("T", 0), w.store.bounds("T", 0));
        assert!(again.store.snapshot_due(), "a start knows how long ago the last one was");
        again.seal();
        assert!(!again.store.snapshot_due());
    }
}

/// Says the whole state in parts of few bytes, with life going on between them; where each part ended.
fn dump_slowly(w: &mut World, mut between: impl FnMut(&mut World, u32)) -> Vec<u64> {
    let (mut queues, mut kinds, mut ends) = (Some(0), 0, Vec::new());
    loop {
        let mut part = Vec::new();
        queues = queues.and_then(|from| w.store.put_queues(from, 50, &mut part));
        let mut last = false;
        if queues.is_none() {
            let mut rest = w.state.0.range(kinds..);
            rest.next()
                .into_iter()
                .for_each(|(kind, payload)| kerolox_store::state::put(&mut part, *kind, payload));
            let next = rest.next().map(|(kind, _)| *kind);
            (last, kinds) = (next.is_none(), next.unwrap_or(0));
        }
        w.now += 1;
        ends.push(w.store.append_dump(w.now, &part, last).unwrap());
        if last {
            return ends;
        }
        between(w, ends.len() as u32);
        w.prepare();
        w.flush();
    }
}

fn life(w: &mut World, i: u32) {
    w.send("T", i % 3, &"m".repeat(700));
    w.set_state(16 + (i * 7 % 30) as u8, format!("during {i}").as_bytes());
    w.send("Gone", 0, "x");
    if i.is_multiple_of(5) {
        w.now += 1;
        w.store.delete_topic(w.now, "Gone", Vec::new()).unwrap();
    }
}

#[test]
fn a_dump_with_life_between_its_parts_says_everything_from_its_beginning_on() {
    let mut w = World::open(HostileDisk::default());
    for i in 0..30 {
        w.set_state(16 + i, &[i; 50]);
        w.send("Old", u32::from(i), "old");
    }
    // It begins in a later segment than the log.
    while w.store.watermarks().appended < SEGMENT + 1000 {
        w.send("T", 0, &"m".repeat(700));
        w.prepare();
        w.flush();
    }
    let begin = w.store.watermarks().appended;
    let ends = dump_slowly(&mut w, life);
    w.flush();
    assert!(ends.len() >= 40 && ends[0] / SEGMENT < ends.last().unwrap() / SEGMENT, "{ends:?}");
    assert!(!w.store.dump_due());
    for i in 1..10 {
        life(&mut w, i);
    }
    w.seal_large();
    let snapshot = w.disk.content("kerolox/snapshot").unwrap();
    assert_eq!(snapshot[12..20], begin.to_be_bytes(), "it says where the dump begins, and nothing else");
    let check = |w: &World, what: &str| {
        for without in DERIVED {
            let again = reopened(w, without);
            assert_eq!(again.state, w.state, "{what} without {without:?}");
            assert!(again.report.state_errors.is_empty(), "{:?}", again.report.state_errors);
            for (topic, queue) in [("T", 1), ("Gone", 0), ("Old", 7)] {
                assert_eq!(
                    again.store.bounds(topic, queue),
                    w.store.bounds(topic, queue),
                    "{what} {without:?}"
                );
            }
        }
    };
    check(&w, "all");
    // What was before the dump is not needed.
    while w.store.watermarks().appended < begin + 6 * SEGMENT {
        w.send("T", 0, &"m".repeat(700));
        w.prepare();
        w.flush();
    }
    w.seal();
    w.now += 5000;
    (0..9).for_each(|_| w.retain());
    let again = reopened(&w, &["snapshot", "runs/"]);
    assert_eq!(again.report.log_min, SEGMENT, "the segment in which it begins");
    check(&w, "after retention");
}

#[test]
fn a_dump_cut_short_anywhere_counts_for_nothing_and_the_next_one_does() {
    let mut w = World::open(HostileDisk::default());
    (0..20).for_each(|i| drop(w.set_state(16 + i, &[i; 50])));
    w.send("T", 0, "m");
    w.seal();
    let mut seen = Vec::new();
    dump_slowly(&mut w, |w, i| {
        life(w, i);
        w.flush();
        seen.push((w.disk.crash(CrashMode::Lost, 0), w.state.clone(), w.store.bounds("Gone", 0)));
    });
    assert!(seen.len() > 20);
    for (at, (disk, state, bounds)) in seen.into_iter().enumerate() {
        let mut again = World::open(disk);
        assert_eq!((&again.state, again.store.bounds("Gone", 0)), (&state, bounds), "part {at}");
        again.set_state(16, b"later");
        again.dump();
        again.flush();
        for without in DERIVED {
            let last = reopened(&again, without);
            assert_eq!(last.state, again.state, "part {at} without {without:?}");
        }
    }
}

/// A damaged state record is lost, but what it said may have been said again.
#[test]
fn a_dump_behind_a_damaged_state_record_heals_it() {
    let mut w = World::open(HostileDisk::default());
    w.set_state(16, b"before");
    let topic = w.send("T", 0, "m");
    w.seal();
    let hit = w.set_state(16, b"changed");
    w.flush();
    dump_slowly(&mut w, life);
    w.set_state(17, b"after");
    // The frontier is behind all of it.
    w.seal_index();
    for without in DERIVED {
        let disk = w.disk.crash(CrashMode::Lost, 0);
        for path in disk.paths().iter().filter(|p| without.iter().any(|part| p.contains(part))) {
            disk.tamper_remove(path);
        }
        let at = (hit.position + 100 - hit.position / SEGMENT * SEGMENT) as usize;
        disk.tamper(&format!("commitlog/{:020}", hit.position / SEGMENT * SEGMENT), |log| log[at] ^= 1);
        let again = World::open(disk);
        assert_eq!(again.state, w.state, "{without:?}");
        assert_eq!(again.by_position(&[topic.position]), [Some("m".to_owned())]);
    }
}

/// The same where the damage begins before the snapshot.
#[test]
fn a_dump_behind_damage_on_both_sides_of_the_snapshot_heals_it() {
    let mut w = World::open(HostileDisk::default());
    w.set_state(16, b"before");
    let before = w.send("T", 0, "m");
    w.seal();
    // It stands for one that says that what there was of 16 is no more.
    let hit = w.set_state(17, b"no 16");
    w.state.0.remove(&16);
    w.dump();
    w.flush();
    let disk = w.disk.crash(CrashMode::Kill, 0);
    disk.paths().iter().filter(|p| p.contains("/runs/")).for_each(|p| drop(disk.tamper_remove(p)));
    let (from, to) = (before.position as usize, hit.end as usize);
    disk.tamper("commitlog/00000000000000000000", |log| log[from..to].fill(0xda));
    assert_eq!(World::open(disk).state, w.state);
}

/// What index runs cover is read for the state only: nobody said that there was nothing to read.
#[test]
fn a_missing_segment_is_named_where_index_runs_are_sound() {
    let mut w = World::open(HostileDisk::default());
    w.set_state(16, b"before");
    w.seal();
    while w.store.watermarks().appended < 2 * SEGMENT {
        let a = w.send("T", 0, &"x".repeat(500));
        if a.position / SEGMENT == 1 && w.state.0.len() == 1 {
            // As above, it says that 16 is no more.
            w.set_state(17, b"no 16");
        }
        w.flush();
        w.prepare();
    }
    w.state.0.remove(&16);
    w.dump();
    w.seal_index();
    let disk = w.disk.crash(CrashMode::Kill, 0);
    assert!(disk.tamper_remove(&format!("commitlog/{SEGMENT:020}")));
    let found = World::open(disk);
    let places: Vec<_> = found.report.damaged.iter().map(|d| (d.position, d.bytes)).collect();
    assert_eq!((places, found.state), (vec![(SEGMENT, SEGMENT)], w.state));
}

/// The snapshot of a large state only says where a dump begins. It was believed without a look at that: what a damaged part
/// had said was lost, although an older dump, or the log's beginning, says it as well.
#[test]
fn a_damaged_dump_is_not_begun_with_though_the_snapshot_names_it() {
    let mut w = World::open(HostileDisk::default());
    for i in 0..20 {
        w.set_state(16 + i, &[i; 50]);
        w.send("Old", u32::from(i), "old");
    }
    w.prepare();
    w.flush();
    let ends = dump_slowly(&mut w, life);
    w.set_state(17, b"after");
    w.flush();
    w.seal_large();
    for end in ends {
        let disk = w.disk.crash(CrashMode::Lost, 0);
        let (base, at) = ((end - 40) / SEGMENT * SEGMENT, ((end - 40) % SEGMENT) as usize);
        disk.tamper(&format!("commitlog/{base:020}"), |log| log[at] ^= 1);
        let again = World::open(disk);
        assert_eq!(again.state, w.state, "the record that ends at {end} is damaged");
        for queue in 0..20 {
            assert!(again.store.next_offset("Old", queue) >= 1, "the record that ends at {end} is damaged");
        }
    }
}
