//! A disk that refuses to read: for a moment, or for good.

use crate::world::*;
use kerolox_store::disk::{CrashMode, Fault, FaultAction, HostileDisk, OpKind};
use kerolox_store::{QueueRead, QueueReadOutcome, ReadPlan, ReadResult};

const LOG: &str = "commitlog/00000000000000000000";
const COUNT: usize = 30;

/// Thirty messages behind a start, so that nothing of them is in memory; where each lies.
fn cold() -> (World<HostileDisk>, Vec<(u64, u64)>) {
    let mut w = World::open(HostileDisk::default());
    let bodies = (0..COUNT).map(|i| format!("message {i:02} {}", "x".repeat(300)));
    let places = bodies.map(|body| w.send("T", 0, &body)).map(|a| (a.position, a.end)).collect();
    w.flush();
    w.seal();
    (World::open(w.disk.crash(CrashMode::Lost, 0)), places)
}

fn plan(w: &World<HostileDisk>, from: u64) -> ReadPlan {
    match w.store.read_queue(QueueRead { from, count_max: 100, bytes_max: 1 << 20, ..read("T", 0) }) {
        QueueReadOutcome::Cold(plan) => plan,
        QueueReadOutcome::Done(slice) => panic!("not cold: {slice:?}"),
    }
}

/// Of messages from `from` on: how many, where to go on, how many are damaged; or why that cannot be told.
fn read_at(w: &World<HostileDisk>, from: u64, now_ms: i64) -> Result<(u32, u64, usize), String> {
    match w.reader.execute(&plan(w, from), now_ms) {
        ReadResult::Queue(slice) => Ok((slice.count, slice.next_offset, slice.damaged.len())),
        ReadResult::Failed(why) => Err(why),
        other => panic!("{other:?}"),
    }
}

/// The messages that a bad sector leaves, and the first that it does not.
fn left(places: &[(u64, u64)]) -> (usize, u64) {
    let hit = |(from, to): &&(u64, u64)| *to > 4096 && *from < 8192;
    (COUNT - places.iter().filter(hit).count(), places.iter().take_while(|p| !hit(p)).count() as u64)
}

#[test]
fn one_refusal_is_nothing() {
    let (w, _) = cold();
    for call in 0..6 {
        w.disk.restart_count();
        w.disk.set_faults(vec![Fault { call, action: FaultAction::Io }]);
        assert_eq!(read_at(&w, 0, 0), Ok((30, 30, 0)), "call {call}");
    }
}

/// A message that could not be read was passed over as damaged, though it could be read a moment later.
#[test]
fn a_refusal_that_passes_is_no_damage() {
    let (w, _) = cold();
    w.disk.restart_count();
    w.disk.set_faults((0..1000).map(|call| Fault { call, action: FaultAction::Io }).collect());
    let why = read_at(&w, 0, 0).unwrap_err();
    assert!(why.starts_with("the log at 0: input/output error"), "{why}");
    let positions = w.store.plan_records(vec![0]);
    assert!(matches!(w.reader.execute(&positions, 10), ReadResult::Failed(_)));
    let time = w.store.plan_search_time("T", 0, 1010, kerolox_store::Boundary::Lower);
    assert!(matches!(w.reader.execute(&time, 20), ReadResult::Failed(_)));
    w.disk.set_faults(Vec::new());
    assert_eq!(read_at(&w, 0, 60_000), Ok((30, 30, 0)));
    assert_eq!(w.by_position(&[0]).len(), 1);
}

#[test]
fn a_bad_sector_holds_up_its_queue_for_half_a_minute() {
    let (w, places) = cold();
    w.disk.bad_sectors(LOG, 4096..8192);
    let (count, first) = left(&places);
    assert!(first > 5 && count > 15 && count < 25);
    assert_eq!(read_at(&w, 0, 0), Ok((first as u32, first, 0)), "what lies before it is given");
    for now_ms in [1, 10_000, 20_000, 29_000] {
        assert!(read_at(&w, first, now_ms).is_err(), "after {now_ms} ms");
    }
    assert_eq!(read_at(&w, first, 30_001), Ok((count as u32 - first as u32, 30, COUNT - count)));
}

/// The part of a record that could be read ended the trouble with the rest of it each time: it was never given up, and what waits
/// for all of several records to be read (timers, moves before their segment goes) waited for ever.
#[test]
fn a_record_with_its_head_in_a_good_sector_is_given_up_too() {
    let (w, places) = cold();
    w.disk.bad_sectors(LOG, 4096..8192);
    let (position, _) = *places.iter().find(|(from, to)| *from + 91 <= 4096 && *to > 4096).unwrap();
    let read = |now_ms| w.reader.execute(&w.store.plan_records(vec![position]), now_ms);
    for now_ms in [0, 10_000, 20_000, 29_999] {
        assert!(matches!(read(now_ms), ReadResult::Failed(_)), "after {now_ms} ms");
    }
    let given_up = read(30_000);
    assert!(matches!(&given_up, ReadResult::Records(found) if found == &[None]), "{given_up:?}");
}

/// With an index run that cannot be read either, the whole row seemed to be gone: nothing was said of it, and it was remembered.
#[test]
fn a_disk_that_refuses_everything_does_not_empty_queues() {
    let (w, _) = cold();
    for path in w.disk.paths().iter().filter(|path| path.ends_with(".run")) {
        w.disk.bad_sectors(path, 0..1 << 20);
    }
    w.disk.restart_count();
    w.disk.set_faults((0..10_000).map(|call| Fault { call, action: FaultAction::Io }).collect());
    read_at(&w, 0, 0).unwrap_err();
    w.disk.set_faults(Vec::new());
    assert_eq!(read_at(&w, 0, 10), Ok((30, 30, 0)), "the row is read from the log");
}

/// The second one gave up what could be read all the time in between, and the queue's readers passed it over without a word.
#[test]
fn two_moments_of_trouble_are_not_half_a_minute_of_it() {
    let (w, _) = cold();
    let trouble = || {
        w.disk.restart_count();
        w.disk.set_faults((0..1000).map(|call| Fault { call, action: FaultAction::Io }).collect());
    };
    trouble();
    assert!(read_at(&w, 0, 0).is_err());
    w.disk.set_faults(Vec::new());
    for now_ms in [100, 10_000, 20_000, 39_000] {
        assert_eq!(read_at(&w, 0, now_ms), Ok((30, 30, 0)));
    }
    trouble();
    let second = read_at(&w, 0, 40_000);
    assert!(second.is_err(), "{second:?}");
}

/// A message whose body looked like the head of a record made a reader read, and hold, as much of the log as that head said.
#[test]
fn a_length_inside_a_message_is_not_believed() {
    let mut w = World::open(HostileDisk::default());
    let appended = w.send("T", 0, &"?".repeat(300));
    let body_at = appended.position + 84 + 4;
    let forge = |position: u64, len: u32| {
        let mut head = vec![0; 91];
        head[..4].copy_from_slice(&len.to_be_bytes());
        head[4..8].copy_from_slice(&0xdaa3_20a7_u32.to_be_bytes());
        head[28..36].copy_from_slice(&position.to_be_bytes());
        head
    };
    w.flush();
    (0..100).for_each(|_| drop(w.send("T", 0, &"x".repeat(300))));
    w.flush();
    for (position, len) in [(body_at + 1, 20_000), (body_at, u32::MAX), (body_at, 17 << 20)] {
        let head = forge(position, len);
        assert!(w.disk.tamper(LOG, |log| log[body_at as usize..][..91].copy_from_slice(&head)));
        w.disk.trace();
        assert_eq!(w.by_position(&[body_at]), [None]);
        let reads = w.disk.take_trace().iter().filter(|(kind, _)| *kind == OpKind::Read).count();
        assert_eq!(reads, 2, "the head, twice: {position} {len}");
    }
}

/// Nobody can tell whether something was acknowledged there: a start does not guess, and says what its user can do.
#[test]
fn a_start_that_cannot_read_the_logs_end_says_what_to_do() {
    let (w, places) = cold();
    let end = places.last().unwrap().1 as usize;
    let disk = w.disk.crash(CrashMode::Kill, 0);
    let sector = end / 4096 * 4096;
    disk.bad_sectors(LOG, sector..sector + 4096);
    let why = World::try_open(disk.clone(), &config()).err().unwrap().to_string();
    assert!(why.starts_with(&format!("reading the log at {end}, ")) && why.contains("ddrescue"), "{why}");
    // What is said there: a copy has zeros where the disk could not be read.
    disk.bad_sectors(LOG, 0..0);
    assert!(disk.tamper(LOG, |bytes| bytes[sector..sector + 4096].fill(0)));
    let w = World::open(disk);
    let lost = places.iter().filter(|(_, to)| *to as usize > sector).count();
    let (messages, damaged) = w.all("T", 0);
    assert!(lost > 0 && w.report.log_max as usize == end);
    assert_eq!((messages.len(), damaged.len()), (COUNT - lost, lost));
}
