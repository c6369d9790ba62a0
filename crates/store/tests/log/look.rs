//! Looking into directories and mending them: `Look`.

use crate::foreign::{Apache, written_by_apache};
use crate::world::*;
use kerolox_store::disk::{CrashMode, Disk, HostileDisk};
use kerolox_store::{Damage, Look, Mend, OpenError, Origin, Part, Seen, Stat, StateFold, Verified};
use std::ops::ControlFlow;

pub(crate) fn verify(disk: &HostileDisk) -> Verified {
    Look::open(disk.clone()).unwrap().verify(&mut Kinds::default(), &mut |_| {}).unwrap()
}

fn stat(disk: &HostileDisk) -> (Stat, Kinds) {
    let mut state = Kinds::default();
    let stat = Look::open(disk.clone()).unwrap().stat(&mut state, &mut |_| {}).unwrap();
    (stat, state)
}

/// Three segments of messages of two topics and of state, index runs and a snapshot, ended by a kill.
fn written() -> (HostileDisk, Kinds) {
    let mut w = World::open(HostileDisk::default());
    for i in 0..120 {
        w.send("T", i % 2, &format!("message {i} {}", "x".repeat(200)));
        if i % 10 == 0 {
            w.send("U", 0, "short");
            w.set_state(16 + (i / 10) as u8, format!("value {i}").as_bytes());
        }
        if i % 20 == 0 {
            w.chores();
        }
    }
    w.seal();
    w.send("T", 0, "behind the snapshot");
    w.set_state(40, b"behind the snapshot");
    w.flush();
    (w.disk.crash(CrashMode::Kill, 0), w.state)
}

/// Flips a bit of the file at a place.
fn flip(disk: &HostileDisk, path: &str, at: usize) {
    assert!(disk.tamper(path, |bytes| bytes[at] ^= 1));
}

fn runs(disk: &HostileDisk) -> Vec<String> {
    disk.paths().into_iter().filter(|path| path.ends_with(".run")).collect()
}

/// Contents of all files.
fn contents(disk: &HostileDisk) -> Vec<(String, Option<Vec<u8>>)> {
    disk.paths().into_iter().map(|path| (path.clone(), disk.content(&path))).collect()
}

/// Carries a repair out.
fn repair(disk: &HostileDisk, cut_tail: bool) -> kerolox_store::Plan {
    let look = Look::open(disk.clone()).unwrap();
    let found = look.verify(&mut Kinds::default(), &mut |_| {}).unwrap();
    let before = contents(disk);
    let plan = look.plan(&found, cut_tail).unwrap();
    assert_eq!(contents(disk), before, "a plan changes nothing");
    look.mend(&plan.mends, "lost+found/now").unwrap();
    plan
}

#[test]
fn a_sound_directory_is_sound_and_looking_changes_nothing() {
    let (disk, state) = written();
    let before = contents(&disk);
    let found = verify(&disk);
    assert!(found.is_sound(), "{found:?}");
    assert_eq!(found.origin, Origin::Kerolox);
    assert_eq!(found.records - found.state_records, 133);
    assert!(found.segments >= 3 && found.runs >= 3 && found.snapshot.is_some(), "{found:?}");
    let (stat, folded) = stat(&disk);
    assert_eq!(folded, state, "the state as of the log's end");
    assert_eq!(stat.messages, 133);
    assert_eq!((stat.topics["T"].messages, stat.topics["U"].messages), (121, 12));
    assert_eq!(stat.topics["T"].queues[&0].max, 61);
    assert_eq!(stat.topics["T"].queues[&1].min, 0);
    assert!(stat.topics["U"].newest_ms < stat.topics["T"].newest_ms, "{stat:?}");
    assert!(stat.runs > 0 && stat.end == found.end, "{stat:?}");
    assert_eq!(contents(&disk), before);
    assert_eq!(disk.counts().get(kerolox_store::disk::OpKind::Lock), 0, "nobody is kept from starting");
}

#[test]
fn counting_by_index_runs_and_by_the_log_gives_the_same() {
    let (disk, _) = written();
    let (with, _) = stat(&disk);
    runs(&disk).iter().for_each(|run| drop(disk.tamper_remove(run)));
    let (without, _) = stat(&disk);
    assert_eq!(without.runs, 0);
    assert_eq!((with.messages, with.bytes, with.end), (without.messages, without.bytes, without.end));
    assert_eq!(with.topics, without.topics);
    // A damaged run is as good as none.
    let (disk, _) = written();
    flip(&disk, &runs(&disk)[0], 100);
    assert_eq!(stat(&disk).0.topics, without.topics);
}

#[test]
fn what_was_deleted_is_not_counted() {
    let mut w = World::open(written().0);
    w.store.delete_topic(w.now, "T", Vec::new()).unwrap();
    w.send("T", 0, "of its next life");
    w.flush();
    for sealed in [false, true] {
        if sealed {
            w.seal();
        }
        let (stat, _) = stat(&w.disk);
        assert_eq!(
            (stat.messages, stat.topics["T"].messages, stat.topics["U"].messages),
            (13, 1, 12),
            "{sealed}"
        );
        assert_eq!(stat.topics["T"].queues.len(), 1, "{sealed}");
    }
}

#[test]
fn each_kind_of_damage_is_named() {
    let (disk, _) = written();
    let run = runs(&disk)[1].clone();
    for (path, at, part) in [
        ("kerolox/frontier", 9, Part::Frontier),
        ("kerolox/frontier", 4096 + 3, Part::Frontier),
        ("kerolox/frontier", 3 * 4096, Part::Frontier),
        ("kerolox/frontier", 4 * 4096 + 9, Part::Frontier),
        (&run, 20, Part::Run),
        (&run, 100, Part::Run),
        ("kerolox/snapshot", 50, Part::Snapshot),
    ] {
        let disk = disk.crash(CrashMode::Kill, 0);
        flip(&disk, path, at);
        let found = verify(&disk);
        assert_eq!(found.damaged, [], "{path} {at}");
        assert_eq!(
            found.faults.iter().map(|f| (f.part, &*f.path)).collect::<Vec<_>>(),
            [(part, path)],
            "{at}"
        );
    }
    // A record: with all that it still says.
    let disk = disk.crash(CrashMode::Kill, 0);
    let segment = "commitlog/00000000000000000000";
    let content = disk.content(segment).unwrap();
    let at = content.windows(10).position(|w| w == b"message 42").unwrap();
    flip(&disk, segment, at + 8);
    let found = verify(&disk);
    assert_eq!(
        (found.damaged_count, found.faults_count),
        (1, 0),
        "the index run still points there: {found:?}"
    );
    assert_eq!(found.damaged[0].record, Some(("T".to_owned(), 0, 21)));
    assert!(
        (found.damaged[0].position..found.damaged[0].position + found.damaged[0].bytes)
            .contains(&(at as u64))
    );
    // A sector that the disk does not give back.
    disk.bad_sectors(segment, 4096..8192);
    let found = verify(&disk);
    let unreadable: Vec<&Damage> =
        found.damaged.iter().filter(|d| d.why.starts_with("cannot be read")).collect();
    assert_eq!(unreadable.len(), 1, "{found:?}");
    assert!(unreadable[0].position <= 4096 && unreadable[0].position + unreadable[0].bytes >= 8192);
    // A file that is gone.
    disk.tamper_remove("commitlog/00000000000000016384");
    let found = verify(&disk);
    assert!(found.damaged.iter().any(|d| d.position == 16384 && d.why.contains("missing")), "{found:?}");
}

/// A run whose checksums are right and which points elsewhere: a block that was written to another place, or a bug.
#[test]
fn an_index_run_that_points_elsewhere_is_found() {
    let (disk, _) = written();
    // That of another directory, with the same range of the log.
    let mut w = World::open(HostileDisk::default());
    (0..120).for_each(|i| drop(w.send("T", i % 2, &format!("other {i} {}", "y".repeat(150)))));
    w.seal();
    let run = runs(&disk)[0].clone();
    let (_, end) = run.rsplit_once('-').unwrap();
    let end: u64 = end.trim_end_matches(".run").parse().unwrap();
    let other = &runs(&w.disk)[0];
    let mut bytes = w.disk.content(other).unwrap();
    bytes[20..28].copy_from_slice(&end.to_be_bytes());
    let crc = crc32fast::hash(&bytes[..88]).to_be_bytes();
    bytes[88..92].copy_from_slice(&crc);
    disk.tamper(&run, |content| *content = bytes);
    let found = verify(&disk);
    assert!(found.faults.iter().all(|f| f.part == Part::Run && f.path == run), "{:?}", found.faults);
    let first = &found.faults[0];
    assert!(first.why.contains("where no such record lies") && first.place.is_some(), "{first:?}");
}

#[test]
fn newer_formats_are_not_looked_into() {
    let (disk, _) = written();
    let open = |disk: &HostileDisk| {
        Look::open(disk.clone()).and_then(|look| look.verify(&mut Kinds::default(), &mut |_| {})).unwrap_err()
    };
    let run = runs(&disk)[0].clone();
    for (path, covered) in [("kerolox/frontier", 28), (&*run, 88), ("kerolox/snapshot", 0)] {
        let disk = disk.crash(CrashMode::Kill, 0);
        disk.tamper(path, |bytes| {
            bytes[8..12].copy_from_slice(&7_u32.to_be_bytes());
            let covered = if covered == 0 { bytes.len() - 4 } else { covered };
            let crc = crc32fast::hash(&bytes[..covered]).to_be_bytes();
            bytes[covered..covered + 4].copy_from_slice(&crc);
        });
        let why = open(&disk);
        assert!(matches!(why, OpenError::TooNew { found: 7, known: 1, .. }), "{path}: {why}");
    }
    let mut w = World::open(disk);
    w.set_state(9, b"");
    w.flush();
    assert!(matches!(open(&w.disk), OpenError::UnknownEntry { kind: 9, .. }));
}

#[test]
fn damaged_derived_files_are_set_aside_and_rebuilt() {
    let (disk, state) = written();
    let run = runs(&disk)[1].clone();
    flip(&disk, &run, 100);
    flip(&disk, "kerolox/snapshot", 50);
    let kept: Vec<_> = [&*run, "kerolox/snapshot"].map(|path| disk.content(path)).into();
    let plan = repair(&disk, false);
    assert!(
        plan.mends.iter().all(|mend| matches!(mend, Mend::SetAside { .. })) && plan.mends.len() == 2,
        "{plan:?}"
    );
    let lost: Vec<_> =
        [&*run, "kerolox/snapshot"].map(|path| disk.content(&format!("lost+found/now/{path}"))).into();
    assert_eq!(lost, kept);
    // It lasts.
    let disk = disk.crash(CrashMode::Lost, 0);
    assert!(verify(&disk).is_sound() && disk.content(&run).is_none());
    let w = World::open(disk);
    assert_eq!(w.state, state);
    assert_eq!(w.bodies("T", 0).len() + w.bodies("T", 1).len() + w.bodies("U", 0).len(), 133);
}

#[test]
fn a_frontier_is_written_anew_from_its_copies_or_from_the_log() {
    let (disk, state) = written();
    let end = verify(&disk).end;
    for (places, from_log_wanted) in [(&[4096 + 3][..], false), (&[9], false), (&[9, 4 * 4096 + 9], true)] {
        let disk = disk.crash(CrashMode::Kill, 0);
        places.iter().for_each(|at| flip(&disk, "kerolox/frontier", *at));
        let plan = repair(&disk, false);
        let [Mend::Frontier { from_log, facts, .. }] = &plan.mends[..] else { panic!("{plan:?}") };
        assert_eq!(*from_log, from_log_wanted);
        assert!(facts.flushed() <= end && (!from_log || facts.flushed() == end), "{plan:?}");
        assert!(disk.content("lost+found/now/kerolox/frontier").is_some());
        let disk = disk.crash(CrashMode::Lost, 0);
        assert!(verify(&disk).is_sound(), "{places:?}");
        // Records above what an older copy says must stay.
        let w = World::open(disk);
        assert!(!w.report.without_frontier && w.report.damaged.is_empty());
        assert_eq!((w.report.log_max, &w.state), (end, &state));
    }
}

/// It said so of what was in the operating system's cache only: after a power cut that passed for damage.
#[test]
fn a_frontier_written_from_the_log_says_what_is_on_disk() {
    let mut w = World::open(HostileDisk::default());
    w.send("T", 0, "synced");
    w.flush();
    w.send("T", 0, "written");
    w.write(false);
    let disk = w.disk.clone();
    drop(w);
    [9, 4 * 4096 + 9].iter().for_each(|at| flip(&disk, "kerolox/frontier", *at));
    let plan = repair(&disk, false);
    let [Mend::Frontier { from_log: true, facts, .. }] = &plan.mends[..] else { panic!("{plan:?}") };
    let w = World::open(disk.crash(CrashMode::Lost, 0));
    assert_eq!((w.report.log_max, &w.report.damaged[..]), (facts.flushed(), &[][..]));
    assert_eq!(w.bodies("T", 0), ["synced", "written"]);
}

/// What its other blocks say was thrown away for what the log says.
#[test]
fn a_frontier_with_an_unreadable_block_is_written_anew_from_its_copies() {
    let (disk, state) = written();
    for block in 0..5 {
        let disk = disk.crash(CrashMode::Kill, 0);
        disk.bad_sectors("kerolox/frontier", block * 4096..(block + 1) * 4096);
        let started = World::open(disk.crash(CrashMode::Kill, 0));
        assert!(!started.report.without_frontier && started.state == state, "block {block}");
        let plan = repair(&disk, false);
        assert!(matches!(plan.mends[..], [Mend::Frontier { from_log: false, .. }]), "{plan:?}");
        assert!(verify(&disk).is_sound(), "block {block}");
    }
}

/// Nobody can tell where a damaged log without a frontier ends: that is left to a start, which says what it guesses.
#[test]
fn a_frontier_is_not_invented() {
    let (disk, _) = written();
    [9, 4 * 4096 + 9].iter().for_each(|at| flip(&disk, "kerolox/frontier", *at));
    flip(&disk, "commitlog/00000000000000000000", 500);
    let plan = repair(&disk, true);
    assert_eq!(plan.mends, []);
    assert_eq!(plan.left.len(), 2, "{plan:?}");
}

#[test]
fn a_torn_tail_is_cut_only_when_asked_and_kept() {
    let (disk, _) = written();
    let end = verify(&disk).end;
    let (segment, at) = (format!("commitlog/{:020}", end / SEGMENT * SEGMENT), (end % SEGMENT) as usize);
    disk.tamper(&segment, |bytes| bytes[at + 10..at + 20].fill(7));
    let plan = repair(&disk, false);
    assert_eq!(plan.mends, []);
    assert_eq!(plan.tail.map(|t| (t.position, t.bytes, t.records)), Some((end, 20, 0)));
    let plan = repair(&disk, true);
    assert!(matches!(plan.mends[..], [Mend::CutTail(_)]), "{plan:?}");
    let disk = disk.crash(CrashMode::Lost, 0);
    let kept = disk.content(&format!("lost+found/now/commitlog/{end:020}.tail")).unwrap();
    assert_eq!(kept, [&[0; 10][..], &[7; 10]].concat());
    assert!(disk.content(&segment).unwrap()[at..].iter().all(|b| *b == 0));
    assert_eq!(verify(&disk).end, end);
    assert_eq!(repair(&disk, true).mends, [], "once");
}

#[test]
fn the_walk_begins_between_records_and_ends_when_enough_was_seen() {
    let (disk, _) = written();
    let look = Look::open(disk).unwrap();
    let positions = |range, enough: usize| {
        let mut seen = Vec::new();
        let mut visit = |one: Seen<'_>| {
            match one {
                Seen::Record(view) => seen.push(view.position),
                Seen::Damage(damage) => panic!("{damage:?}"),
            }
            if seen.len() == enough { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        };
        look.walk("", range, &mut visit, &mut |_| {}).unwrap();
        seen
    };
    let all = positions(0..u64::MAX, usize::MAX);
    assert_eq!(positions(all[3]..all[5], usize::MAX), all[3..5]);
    assert_eq!(positions(all[3] - 1..all[5] + 1, usize::MAX), all[3..6]);
    assert_eq!(positions(0..u64::MAX, 7), all[..7]);
}

/// What retention takes away under the looker's hands is no damage.
#[test]
fn segments_that_go_while_they_are_looked_at_are_no_damage() {
    let (disk, _) = written();
    let look = Look::open(disk.clone()).unwrap();
    disk.tamper_remove("commitlog/00000000000000000000");
    let found = look.verify(&mut Kinds::default(), &mut |_| {}).unwrap();
    assert!(found.is_sound(), "{found:?}");
}

struct Nothing;

impl StateFold for Nothing {
    fn reset(&mut self) {}
    fn apply(&mut self, kind: u8, _payload: &[u8]) -> Result<(), String> {
        if kind == 17 { Err("is refused".to_owned()) } else { Ok(()) }
    }
}

#[test]
fn entries_that_say_nothing_are_told_with_their_position() {
    let (disk, _) = written();
    let look = Look::open(disk).unwrap();
    let found = look.verify(&mut Nothing, &mut |_| {}).unwrap();
    assert!(found.faults.iter().any(|f| f.part == Part::State && f.at > Some(0) && f.why == "is refused"));
}

/// What a start reports of a disk without index runs and snapshot, and what a look does: damage, and where the log ends.
pub(crate) fn both(disk: &HostileDisk) -> [(Vec<(u64, u64)>, u64); 2] {
    let places = |damaged: &[Damage]| damaged.iter().map(|d| (d.position, d.bytes)).collect::<Vec<_>>();
    let found = verify(disk);
    let start = World::open(disk.crash(CrashMode::Kill, 0)).report;
    [(places(&found.damaged), found.end), (places(&start.damaged), start.log_max)]
}

#[test]
fn a_look_sees_what_a_start_sees() {
    let (disk, _) = written();
    runs(&disk).iter().for_each(|run| drop(disk.tamper_remove(run)));
    disk.tamper_remove("kerolox/snapshot");
    let end = verify(&disk).end;
    let (apache, theirs) = written_by_apache(100);
    let without = disk.crash(CrashMode::Kill, 0);
    without.tamper_remove("kerolox/frontier");
    let mut damaged = 0;
    for (disk, end) in [(&disk, end), (&without, end), (&theirs, apache.end())] {
        let sound = both(disk);
        assert_eq!(sound, [(vec![], end), (vec![], end)]);
        for at in (0..end + 100).step_by(997) {
            for bytes in [1, 700, 9000] {
                let disk = disk.crash(CrashMode::Kill, 0);
                let path = format!("commitlog/{:020}", at / SEGMENT * SEGMENT);
                let from = (at % SEGMENT) as usize;
                disk.tamper(&path, |log| {
                    let to = (from + bytes).min(log.len());
                    log[from..to].iter_mut().for_each(|b| *b ^= 0x55);
                });
                let [look, start] = both(&disk);
                assert_eq!(look, start, "{bytes} bytes at {at}");
                damaged += look.0.len();
            }
        }
    }
    assert!(damaged > 200, "{damaged}");
}

#[test]
fn a_log_of_apache_is_looked_into() {
    let (apache, disk) = written_by_apache(100);
    let found = verify(&disk);
    assert!(found.is_sound() && found.origin == Origin::Apache, "{found:?}");
    assert_eq!((found.records, found.flushed, found.end), (100, None, apache.end()));
    let (stat, _) = stat(&disk);
    assert_eq!((stat.messages, stat.topics["T"].queues[&0].max), (100, 100));
    // It went on with a log of ours.
    let mut w = World::open(HostileDisk::default());
    (0..10).for_each(|i| drop(w.send("T", 0, &format!("kerolox {i}"))));
    w.flush();
    let disk = w.close();
    let end = verify(&disk).end as usize;
    let mut apache = Apache::new();
    apache.segments = vec![disk.content("commitlog/00000000000000000000").unwrap()[..end].to_vec()];
    apache.now = 1_000_000;
    (10..60).for_each(|i| drop(apache.send("T", 0, i, &format!("apache {i} {}", "x".repeat(500)))));
    apache.put_on(&disk);
    let [look, start] = both(&disk);
    assert_eq!((look, start.1), (start.clone(), apache.end()));
}

/// A consume queue as Apache writes it, of records at those places.
fn consume_queue(units: &[(u64, u32)]) -> Vec<u8> {
    let unit = |(position, size): &(u64, u32)| {
        [&position.to_be_bytes()[..], &size.to_be_bytes(), &0_u64.to_be_bytes()].concat()
    };
    let mut bytes: Vec<u8> = units.iter().flat_map(unit).collect();
    bytes.resize(20 * 300, 0);
    bytes
}

#[test]
fn consume_queues_are_compared_with_the_log() {
    let (_, disk) = written_by_apache(100);
    let mut records = Vec::new();
    let look = Look::open(disk.clone()).unwrap();
    let mut visit = |seen: Seen<'_>| {
        let Seen::Record(view) = seen else { panic!("{seen:?}") };
        records.push((view.position, view.len() as u32));
        ControlFlow::Continue(())
    };
    look.walk("", 0..u64::MAX, &mut visit, &mut |_| {}).unwrap();
    let path = "consumequeue/T/0/00000000000000000000";
    let check = |units: &[(u64, u32)]| {
        let disk = disk.crash(CrashMode::Kill, 0);
        disk.tamper_create(path, consume_queue(units));
        let found = verify(&disk);
        assert!(found.faults.iter().all(|f| f.part == Part::ConsumeQueue && f.path == path), "{found:?}");
        (
            found.units,
            found.faults.into_iter().map(|f| (f.at.unwrap(), f.place.unwrap().2)).collect::<Vec<_>>(),
        )
    };
    assert_eq!(check(&records), (100, vec![]));
    // Not up to the end yet: Apache goes on with it when it starts.
    assert_eq!(check(&records[..70]), (70, vec![]));
    let mut wrong = records.clone();
    wrong[33].0 += 1;
    wrong[40].1 += 1;
    wrong.swap(50, 51);
    wrong.push((1 << 40, 100));
    assert_eq!(check(&wrong), (101, vec![(660, 33), (800, 40), (1000, 50), (1020, 51), (2000, 100)]));
    // A record that is damaged is named by its unit, even if nothing of it is left.
    let disk = disk.crash(CrashMode::Kill, 0);
    disk.tamper_create(path, consume_queue(&records));
    let (from, to) = (records[20].0 as usize, records[21].0 as usize);
    disk.tamper("commitlog/00000000000000000000", |log| log[from..to].fill(0xda));
    let found = verify(&disk);
    assert_eq!((found.faults_count, found.damaged_count), (0, 1), "{found:?}");
    assert_eq!(found.damaged[0].record, Some(("T".to_owned(), 0, 20)));
}

/// Found by fuzzing: a byte too many at the end of a segment's file lay in two segments, and a verification stood still there.
#[test]
fn a_segment_ends_where_the_next_begins() {
    let (disk, _) = written();
    disk.tamper_remove("kerolox/frontier");
    disk.tamper("commitlog/00000000000000000000", |log| {
        // What follows in it is damaged, up to its end.
        let half = log.len() / 2;
        log[half..].fill(0xda);
        log.push(0xda);
    });
    let found = verify(&disk);
    assert_eq!(found.damaged.len(), 1, "{:?}", found.damaged);
    assert_eq!(found.damaged[0].position + found.damaged[0].bytes, SEGMENT);
}
