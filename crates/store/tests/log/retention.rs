//! What goes, and what readers see of it.

use crate::world::*;
use kerolox_store::disk::{CrashMode, FaultAction, HostileDisk, OpKind, Trouble};
use kerolox_store::{AppendError, QueueRead, QueueReadOutcome, ReadResult, TopicRetention};

const RETENTION_MS: i64 = 1_000_000;

fn filled(segments: u64) -> World {
    let config = kerolox_store::StoreConfig { retention_ms: RETENTION_MS, ..config() };
    let mut w = World::open_with(HostileDisk::default(), &config);
    w.grow(segments * SEGMENT + 2000);
    w.seal();
    w
}

fn logs(w: &World) -> Vec<String> {
    w.disk.paths().into_iter().filter(|p| p.starts_with("commitlog/")).collect()
}

#[test]
fn expired_segments_go_but_never_the_active_one() {
    let mut w = filled(5);
    let before = w.store.bounds("T", 0).unwrap();
    w.retain();
    assert_eq!(w.store.bounds("T", 0), Some(before), "nothing is old enough");
    w.now += 2 * RETENTION_MS;
    w.retain();
    let once = w.store.bounds("T", 0).unwrap();
    assert!(once.min > 0 && once.min < before.max / 2, "a few at a time: {once:?}");
    (0..10).for_each(|_| w.retain());
    let bounds = w.store.bounds("T", 0).unwrap();
    let min = kerolox_store::Position::from(5 * SEGMENT);
    assert_eq!(w.all("T", 0).0.len() as u64, bounds.max - bounds.min);
    assert!(bounds.max - bounds.min > 2, "what lies in the active segment stays");
    assert!(logs(&w)[0] >= format!("commitlog/{min:020}"), "{:?}", logs(&w));
    assert!(logs(&w).len() <= 4, "{:?}", logs(&w));
    let runs: Vec<_> = w.disk.paths().into_iter().filter(|p| p.contains("/runs/")).collect();
    assert!(runs.iter().all(|r| r.as_str() >= format!("kerolox/runs/{min:020}").as_str()), "{runs:?}");
    let again = World::open(w.disk.crash(CrashMode::Lost, 0));
    assert_eq!(again.store.bounds("T", 0), Some(bounds));
}

/// Simulation, seed 730858: a segment that could not be removed was known to nobody any more; the next start found it again, with
/// a hole behind it.
#[test]
fn a_segment_that_could_not_be_removed_goes_later() {
    const KINDS: [&[OpKind]; 4] = [&[OpKind::Remove], &[OpKind::Rename], &[OpKind::SyncDir], &[OpKind::Open]];
    for kinds in KINDS {
        let mut w = filled(5);
        w.now += 2 * RETENTION_MS;
        w.disk.set_trouble(Some(Trouble { kinds, action: FaultAction::Io, left: 1 }));
        (0..10).for_each(|_| w.retain());
        w.disk.set_trouble(None);
        let bounds = w.store.bounds("T", 0).unwrap();
        assert!(bounds.min > 0, "{kinds:?}");
        let again = World::open(w.disk.crash(CrashMode::Lost, 0));
        assert_eq!(again.store.bounds("T", 0), Some(bounds), "{kinds:?}");
        let bases: Vec<u64> = logs(&again).iter().map(|path| path[10..].parse().unwrap()).collect();
        assert!(bases.windows(2).all(|pair| pair[1] == pair[0] + SEGMENT), "{kinds:?}: {bases:?}");
        assert_eq!(again.report.log_min, bases[0], "{kinds:?}");
    }
}

/// It went at once, as the oldest there could be: nobody could look any more what had been in it.
#[test]
fn a_segment_without_a_sound_record_is_as_old_as_what_follows() {
    let w = filled(3);
    let disk = w.disk.crash(CrashMode::Lost, 0);
    disk.paths().iter().filter(|p| p.contains("/runs/")).for_each(|p| drop(disk.tamper_remove(p)));
    disk.tamper(&logs(&w)[0], |log| log.fill(0xda));
    let config = kerolox_store::StoreConfig { retention_ms: RETENTION_MS, ..config() };
    let mut again = World::open_with(disk, &config);
    again.seal();
    again.now = w.now;
    again.retain();
    assert_eq!(logs(&again)[0], logs(&w)[0]);
    again.now += 2 * RETENTION_MS;
    again.retain();
    assert_ne!(logs(&again)[0], logs(&w)[0]);
}

/// One file that nothing could remove, and no message was taken any more, however empty the disk was.
#[test]
fn a_segment_that_cannot_be_removed_is_told_and_hinders_nothing() {
    let mut w = filled(5);
    w.now += 2 * RETENTION_MS;
    w.disk.set_trouble(Some(Trouble {
        kinds: &[OpKind::Rename, OpKind::Remove],
        action: FaultAction::Io,
        left: u32::MAX,
    }));
    let (_, state) = w.keeper.retain(w.now);
    let why = state.stuck.unwrap();
    assert!(why.starts_with("segment commitlog/00000000000000000000: re"), "{why}");
    assert_eq!((state.full, state.gone), (None, Vec::new()));
    w.retain();
    w.send("T", 0, "taken");
    // That the disk is full is not hidden by what should have gone.
    w.disk.set_capacity(state.space.unwrap().used * 21 / 20);
    let (_, state) = w.keeper.retain(w.now);
    assert!(state.full.is_some(), "{state:?}");
}

#[test]
fn nothing_goes_before_a_later_dump_is_sealed() {
    let mut w = World::open(HostileDisk::default());
    while w.store.watermarks().appended < 4 * SEGMENT {
        w.send("T", 0, &"m".repeat(300));
        w.flush();
        if w.store.seal_due() {
            w.seal();
        }
    }
    w.now += 100_000;
    (0..5).for_each(|_| w.retain());
    assert_eq!(w.store.bounds("T", 0).unwrap().min, 0, "no dump: the log's beginning is needed");
    w.dump();
    w.seal();
    (0..5).for_each(|_| w.retain());
    assert!(w.store.bounds("T", 0).unwrap().min > 0);
}

/// Messages and their index, up to the middle of the segment behind so many.
fn grow_half_into(w: &mut World, segments: u64) {
    while w.store.watermarks().appended < segments * SEGMENT + SEGMENT / 2 {
        w.send("T", 0, &"m".repeat(300));
        w.flush();
        if w.store.seal_due() {
            w.seal_index();
        }
    }
}

/// A state too large for snapshots is only in dumps, and retention took all that lay before the last: one damaged block of it
/// took topics, groups and offsets along (script 30329 of the flip campaign).
#[test]
fn one_damaged_dump_does_not_take_a_large_state() {
    for large in [true, false] {
        let mut w = World::open(HostileDisk::default());
        w.set_state(16, b"said once");
        let mut begin = 0;
        for segments in [0, 2, 4, 6] {
            grow_half_into(&mut w, segments);
            begin = w.store.watermarks().appended;
            w.dump();
            if large { w.seal_large() } else { w.seal() }
        }
        w.now += 100_000;
        (0..5).for_each(|_| w.retain());
        assert_eq!(w.store.bounds("T", 0).unwrap().min > 200, !large, "two dumps are kept, or one");
        assert!(w.store.bounds("T", 0).unwrap().min > 0);
        let disk = w.disk.crash(CrashMode::Lost, 0);
        let path = format!("commitlog/{:020}", begin - begin % SEGMENT);
        assert!(disk.tamper(&path, |log| log[(begin % SEGMENT) as usize + 60] ^= 1));
        let mut w = World::open(disk);
        assert_eq!(w.state.0.get(&16).map(Vec::as_slice), Some(&b"said once"[..]), "{large}");
        // Where it is has been forgotten: until the next dump nothing goes.
        let min = w.store.bounds("T", 0).unwrap().min;
        w.now += 100_000;
        (0..5).for_each(|_| w.retain());
        assert!(!large || w.store.bounds("T", 0).unwrap().min == min);
    }
}

/// After a crash nobody knows where the last dump but one of a large state begins, and the log is kept from there on. On a full disk it
/// stayed so: the next dump waited for the log to grow, and the log for room.
#[test]
fn a_start_on_a_full_disk_does_not_wait_for_the_log_to_grow() {
    let mut w = World::open(HostileDisk::default());
    w.set_state(16, b"said once");
    for segments in [0, 2, 4, 6] {
        grow_half_into(&mut w, segments);
        w.dump();
        w.seal_large();
    }
    let mut w = World::open(w.disk.crash(CrashMode::Lost, 0));
    let min = w.store.bounds("T", 0).unwrap().min;
    let used = w.used();
    w.disk.set_capacity(used * 100 / 95);
    w.retain();
    let refused = w.try_append(&Message::new("T", 0, b"new")).unwrap_err();
    assert!(matches!(refused, AppendError::DiskFull(_)), "{refused}");
    for _ in 0..3 {
        if w.store.dump_due() {
            w.dump();
        }
        w.flush();
        if w.store.seal_due() {
            w.seal_large();
        }
        w.retain();
    }
    assert!(w.store.bounds("T", 0).unwrap().min > min);
    w.send("T", 0, "new");
    w.flush();
    assert!(!w.store.dump_due() && !w.store.seal_due(), "once");
}

#[test]
fn a_crowded_disk_lets_the_oldest_go_early() {
    let mut w = filled(6);
    let used = w.used();
    w.disk.set_capacity(used * 100 / 86);
    w.retain();
    let bounds = w.store.bounds("T", 0).unwrap();
    assert!(bounds.min > 0, "{bounds:?}");
    let gone = bounds.min * 420 / SEGMENT;
    assert!(gone <= 2, "no more than needed: {gone}");
}

#[test]
fn reading_while_the_log_is_trimmed_passes_over_what_is_gone() {
    let mut w = filled(6);
    let read = QueueRead { count_max: 1000, ..read("T", 0) };
    let QueueReadOutcome::Cold(plan) = w.store.read_queue(read) else { panic!("hot") };
    let by_position = w.store.plan_records(vec![0, 500]);
    let by_key = w.store.plan_query_key("T", "none", 10, 0, i64::MAX);
    let max = w.store.bounds("T", 0).unwrap().max;
    w.now += 2 * RETENTION_MS;
    (0..10).for_each(|_| w.retain());
    // And the recycled segments are written to again.
    (0..60).for_each(|_| drop(w.send("T", 0, &"n".repeat(300))));
    w.flush();
    let ReadResult::Queue(slice) = w.reader.execute(&plan, w.now) else { panic!() };
    assert!(slice.damaged.is_empty(), "gone is not damaged: {:?}", slice.damaged);
    assert_eq!(slice.next_offset, max);
    assert!(views(&slice.records).iter().all(|v| v.body.iter().all(|b| *b == b'm')));
    let ReadResult::Records(records) = w.reader.execute(&by_position, w.now) else { panic!() };
    assert_eq!(records, [None, None]);
    let ReadResult::Records(records) = w.reader.execute(&by_key, w.now) else { panic!() };
    assert!(records.is_empty());
    // A read below the bounds begins at the bounds.
    let bounds = w.store.bounds("T", 0).unwrap();
    let slice = w.read(QueueRead { count_max: 1, ..crate::world::read("T", 0) });
    assert_eq!(views(&slice.records)[0].queue_offset, bounds.min);
}

/// What a consumer still has to read stays, however old, and the keeper says what stands in its way.
#[test]
fn what_is_needed_stays_until_it_is_not() {
    let mut w = filled(5);
    w.now += 2 * RETENTION_MS;
    w.store.need_from(0);
    (0..10).for_each(|_| w.retain());
    assert_eq!((w.store.bounds("T", 0).unwrap().min, w.store.begin()), (0, 0));
    assert!(w.store.disk().wanted.is_some_and(|wanted| wanted > 0), "{:?}", w.store.disk());
    w.store.need_from(2 * SEGMENT + 5);
    (0..10).for_each(|_| w.retain());
    assert_eq!(w.store.begin(), 2 * SEGMENT);
    w.store.need_from(u64::MAX);
    (0..10).for_each(|_| w.retain());
    assert!(w.store.begin() > 2 * SEGMENT);
}

/// A popped message whose time was over had been moved to the end of the log, the disk did not sync, and the segment of the
/// original went (simulation, seed 502499).
#[test]
fn what_is_not_needed_any_more_goes_when_the_reason_is_safe() {
    let mut w = filled(5);
    w.now += 2 * RETENTION_MS;
    w.store.need_from(0);
    w.send("T", 0, "the same again");
    w.store.need_from(u64::MAX);
    (0..10).for_each(|_| w.retain());
    assert_eq!(w.store.begin(), 0);
    w.write(false);
    (0..10).for_each(|_| w.retain());
    assert_eq!(w.store.begin(), 0, "written is not synced");
    w.flush();
    (0..10).for_each(|_| w.retain());
    assert!(w.store.begin() > 2 * SEGMENT);
}

#[test]
fn the_time_that_messages_are_kept_can_be_changed_while_it_runs() {
    let mut w = filled(5);
    w.now += RETENTION_MS / 2;
    w.retain();
    assert_eq!(w.store.begin(), 0);
    w.store.retain_for(Some(RETENTION_MS / 4));
    w.retain();
    assert!(w.store.begin() > 0);
    let begin = w.store.begin();
    w.store.retain_for(None);
    (0..10).for_each(|_| w.retain());
    assert_eq!(w.store.begin(), begin, "as the settings say again");
    w.store.retain_for(Some(0));
    w.now += 1;
    (0..10).for_each(|_| w.retain());
    assert!(w.store.begin() > begin, "0 is a time, too");
}

/// Two topics take turns in runs of their own: one that keeps its messages for a shorter time than the log, or only so many bytes.
#[test]
fn a_topic_of_shorter_retention_lets_go_run_by_run() {
    let mut w = World::open(HostileDisk::default());
    let (mut runs, mut record) = (Vec::new(), 0);
    for _ in 0..4 {
        for _ in 0..3 {
            let sent = w.send("T", 0, &"m".repeat(300));
            record = sent.end - sent.position;
            w.send("Other", 0, &"m".repeat(300));
        }
        runs.push(w.now);
        w.seal();
    }
    let bounds = |w: &World, topic: &str| w.store.bounds(topic, 0).map(|b| (b.min, b.max)).unwrap();
    let by_time = |before_ms| TopicRetention { before_ms: Some(before_ms), bytes_max: None };
    let nobody = |_: u32| None;
    assert_eq!(w.store.expire("T", by_time(runs[0]), nobody), 0, "the newest of the first run is not older");
    assert_eq!(w.store.expire("T", by_time(runs[0] + 1), nobody), 3);
    assert_eq!(
        w.store.expire("T", by_time(i64::MAX), |_| Some(7)),
        3,
        "somebody has still to read the seventh"
    );
    assert_eq!((bounds(&w, "T"), bounds(&w, "Other")), ((6, 12), (0, 12)));
    assert_eq!(w.all("T", 0).0.len(), 6);
    let again = World::open(w.disk.crash(CrashMode::Lost, 0));
    assert_eq!(bounds(&again, "T"), (0, 12), "not remembered: the broker says it again");
    let mut w = again;
    let by_bytes = |bytes_max| TopicRetention { before_ms: None, bytes_max: Some(bytes_max) };
    assert_eq!(w.store.expire("T", by_bytes(9 * record + 1), nobody), 0);
    assert_eq!(w.store.expire("T", by_bytes(9 * record), nobody), 3);
    assert_eq!(w.store.expire("T", by_bytes(0), nobody), 9, "all that is in a run");
    assert_eq!(bounds(&w, "T"), (12, 12));
    assert_eq!(w.store.fresh_from("Other", runs[1] + 1), w.store.lies_from("Other", 0, 6));
    assert_eq!(w.store.fresh_from("Other", i64::MAX), None);
}

/// By the ratio there was room enough, and messages were refused until the oldest had expired.
#[test]
fn a_disk_without_room_for_a_further_segment_lets_the_oldest_go() {
    let config = kerolox_store::StoreConfig {
        retention_ms: RETENTION_MS,
        disk_clean_ratio: 0.98,
        disk_full_ratio: 0.99,
        ..config()
    };
    let mut w = World::open_with(HostileDisk::default(), &config);
    w.grow(4 * SEGMENT + 2000);
    w.dump();
    w.seal();
    let used = w.used();
    w.disk.set_capacity(used + SEGMENT / 2);
    w.retain();
    assert_eq!(w.store.disk().gone.len(), 0, "there is room in the last segment");
    let refused = (0..60).find_map(|_| {
        let refused = w.try_append(&Message::new("T", 0, &[b'x'; 300])).err();
        w.flush();
        w.prepare();
        w.retain();
        refused
    });
    assert_eq!(refused, None);
    assert!(w.store.bounds("T", 0).unwrap().min > 0 && w.store.disk().full.is_none());
}
