//! Calls that fail.

use crate::world::*;
use kerolox_store::disk::{CrashMode, Disk, Fault, FaultAction, HostileDisk, OpKind, Trouble};
use kerolox_store::{AppendError, StoreConfig, WriteError};

/// Fails all calls of `run` that can fail so; gives the paths.
fn failing(disk: &HostileDisk, action: FaultAction, run: impl FnOnce()) -> Vec<String> {
    disk.restart_count();
    disk.set_faults((0..1000).map(|call| Fault { call, action }).collect());
    run();
    disk.set_faults(Vec::new());
    disk.faults_hit().into_iter().map(|(_, _, path)| path).collect()
}

/// Apache retries a failed sync and acknowledges (window L3: 1,123 of 1,123 sends with every sync failing).
#[test]
fn apache_2706_l3_a_failed_sync_is_never_acknowledged_nor_retried() {
    let mut w = World::open(HostileDisk::default());
    w.send("T", 0, "safe");
    w.flush();
    let safe = w.store.watermarks();
    w.send("T", 0, "unsafe");
    w.write(false);
    let syncs = w.disk.counts().get(OpKind::SyncData);
    w.disk.restart_count();
    w.disk.set_faults(vec![Fault { call: 0, action: FaultAction::Io }]);
    let WriteError(why) = w.try_write(true).unwrap_err();
    assert_eq!(why, "syncing segment 00000000000000000000: input/output error (injected)");
    w.disk.set_faults(Vec::new());
    assert_eq!(w.store.watermarks().confirmed, safe.confirmed, "nothing is confirmed");
    for _ in 0..3 {
        assert_eq!(w.try_write(true).unwrap_err().0, why, "fenced for ever, for the first reason");
    }
    assert_eq!(w.disk.counts().get(OpKind::SyncData), syncs + 1, "not retried");
    w.store.fence(&why);
    let refused = w.try_append(&Message::new("T", 0, b"late")).unwrap_err();
    assert_eq!(refused, AppendError::Fenced(why.clone()));
    assert!(w.keeper.prepare(9999).is_err() && w.keeper.close().is_err(), "the keeper stops too");
    // The page cache says that it was written; the disk does not have it. Recovery must not confirm it and then lose it.
    let mut again = World::open(w.disk.crash(CrashMode::Kill, 0));
    assert_eq!(again.bodies("T", 0), ["safe", "unsafe"]);
    again.send("T", 0, "after");
    again.flush();
    let last = World::open(again.disk.crash(CrashMode::Lost, 0));
    assert_eq!(last.bodies("T", 0), ["safe", "unsafe", "after"]);
    let evicted = World::open(w.disk.crash(CrashMode::KillEvicted, 0));
    assert_eq!(evicted.bodies("T", 0), ["safe"]);
    // On the same cache, whose pages count as clean: a sync alone would not bring them to disk.
    let disk = w.disk.clone();
    drop((w.writer, w.keeper, w.reader));
    let again = World::open(disk);
    assert_eq!(World::open(again.disk.crash(CrashMode::Lost, 0)).bodies("T", 0), ["safe", "unsafe"]);
}

/// A failed sync in the keeper's thread says that the writer's pages may be lost, too.
#[test]
fn a_failed_sync_of_the_keeper_does_not_hide_the_writers() {
    for fault in 0..30 {
        let mut w = World::open(HostileDisk::default());
        w.send("T", 0, "safe");
        w.flush();
        w.send("T", 0, "written before the keeper syncs the same file");
        w.write(false);
        w.disk.restart_count();
        w.disk.set_faults(vec![Fault { call: fault, action: FaultAction::Io }]);
        let mut prepared = Ok(true);
        while prepared == Ok(true) {
            prepared = w.keeper.prepare(5000);
        }
        let hit_sync = w
            .disk
            .faults_hit()
            .iter()
            .any(|(_, kind, path)| *kind == OpKind::SyncData && path.starts_with("commitlog/0"));
        w.disk.set_faults(Vec::new());
        let acked = w.try_write(true).is_ok();
        let after = World::open(w.disk.crash(CrashMode::Lost, 0));
        assert!(!acked || after.bodies("T", 0).len() == 2, "call {fault}: acknowledged and lost");
        if hit_sync && prepared.is_err() {
            assert!(!acked, "call {fault}");
        }
    }
}

#[test]
fn a_short_write_fences() {
    let mut w = World::open(HostileDisk::default());
    w.send("T", 0, "safe");
    w.flush();
    w.send("T", 0, &"half of this".repeat(250));
    let mut result = Ok(());
    let hit = failing(&w.disk.clone(), FaultAction::Short, || result = w.try_write(true));
    let why = result.unwrap_err().0;
    assert!(why.contains("short write: 2048 of 4096 bytes"), "{why}");
    assert_eq!(hit, ["commitlog/00000000000000000000"], "one write, not continued");
    let after = World::open(w.disk.crash(CrashMode::Kill, 0));
    assert_eq!(after.bodies("T", 0), ["safe"]);
}

/// Sends and flushes, with something after each, until the log refuses: how many it took, and why no more.
fn send_until_refused(w: &mut World, mut then: impl FnMut(&mut World)) -> (u64, AppendError) {
    let mut sent = 0;
    loop {
        match w.try_append(&Message::new("T", 0, &[b'x'; 300])) {
            Ok(_) => sent += 1,
            Err(e) => return (sent, e),
        }
        w.flush();
        then(w);
    }
}

#[test]
fn enospc_at_the_next_segment_refuses_appends_before_the_log_is_stuck() {
    let mut w = World::open(HostileDisk::default());
    w.prepare();
    let base = w.disk.paths().len();
    assert!(base > 0);
    // Room for what is there and small files, not for another segment.
    let used = w.used();
    w.disk.set_capacity(used + SEGMENT / 2);
    let (sent, refused) = send_until_refused(&mut w, |w| {
        w.now += 100;
        while w.keeper.prepare(w.now).unwrap() {}
    });
    let AppendError::DiskFull(why) = refused else { panic!("{refused}") };
    assert!(why == "cannot create the log's next segment: 8192 bytes are left", "{why}");
    assert!(sent * 420 > SEGMENT * 9 / 10, "the last segment is used up: {sent} sent");
    assert_eq!(w.all("T", 0).0.len() as u64, sent);
    // Small ones that still fit are taken; and with room again, all.
    w.disk.set_capacity(u64::MAX);
    w.flush();
    w.prepare();
    w.append(&Message::new("T", 0, &[b'x'; 300]));
    w.flush();
    let w = World::open(w.disk.crash(CrashMode::Lost, 0));
    assert_eq!(w.all("T", 0).0.len() as u64, sent + 1);
}

/// The writer created the next segment itself, found no room, and the log was fenced.
#[test]
fn a_writer_faster_than_the_keeper_meets_no_full_disk() {
    for (spare, segments) in [(SEGMENT, 0), (2 * SEGMENT, 1), (5 * SEGMENT, 2)] {
        let mut w = World::open(HostileDisk::default());
        w.prepare();
        let used = w.used();
        w.disk.set_capacity(used + spare);
        w.prepare();
        let (sent, refused) = send_until_refused(&mut w, |_| {});
        let AppendError::DiskFull(why) = refused else { panic!("{refused}") };
        assert!(why.starts_with("the disk has no room for the log beyond position"), "{why}");
        assert!(sent * 420 > SEGMENT * (1 + segments) * 9 / 10, "{sent} sent with {spare} to spare");
        assert_eq!(w.all("T", 0).0.len() as u64, sent);
    }
}

/// A filler is the last that was written before the disk was full. Each start took the next message, found no segment for it and was
/// fenced; and retention, which would have made room, kept all.
#[test]
fn a_log_that_ends_with_a_segment_on_a_full_disk_is_not_fenced() {
    let config = StoreConfig { segment_bytes: 4 * SEGMENT, ..config() };
    let mut w = World::open_with(HostileDisk::default(), &config);
    let end = 3 * config.segment_bytes;
    while w.store.watermarks().appended < end {
        w.send("T", 0, &"x".repeat(300));
        if w.store.watermarks().appended < end - 2000 {
            w.chores();
        }
    }
    w.write(false);
    let disk = w.disk.crash(CrashMode::Kill, 0);
    assert!(disk.tamper_remove(&format!("commitlog/{end:020}")));
    let used: usize = disk.paths().iter().map(|path| disk.content(path).unwrap().len()).sum();
    disk.set_capacity(used as u64 + config.segment_bytes / 2);
    let mut w = World::open_with(disk, &config);
    assert_eq!(w.report.log_max, end);
    for _ in 0..2 {
        let refused = w.try_append(&Message::new("T", 0, b"new")).unwrap_err();
        assert!(matches!(refused, AppendError::DiskFull(_)), "{refused}");
        w.flush();
        w.prepare();
    }
    w.now += 10_000;
    w.retain();
    w.prepare();
    w.send("T", 0, "new");
    w.flush();
    let w = World::open_with(w.disk.crash(CrashMode::Lost, 0), &config);
    assert_eq!(w.all("T", 0).0.last().unwrap().1.body, b"new");
}

/// Apache's files are sparse: their last segment counted as room, and the log was fenced in the middle of it, with each start anew.
#[test]
fn a_segment_without_blocks_is_no_room() {
    let mut w = World::open(HostileDisk::default());
    let sent = (0..20).map(|_| w.send("T", 0, &"x".repeat(300)).end).max().unwrap();
    w.flush();
    w.prepare();
    let last = || format!("commitlog/{SEGMENT:020}");
    let disk = w.disk.crash(CrashMode::Kill, 0);
    assert!(sent < SEGMENT && disk.paths().contains(&last()), "one is prepared behind it");
    let no_blocks = Trouble { kinds: &[OpKind::Allocate], action: FaultAction::NoSpace, left: u32::MAX };
    disk.set_trouble(Some(no_blocks));
    let mut w = World::open(disk);
    assert!(!w.disk.paths().contains(&last()), "it is no use");
    for _ in 0..3 {
        let refused = w.try_append(&Message::new("T", 0, b"new")).unwrap_err();
        assert!(matches!(refused, AppendError::DiskFull(_)), "{refused}");
        w.flush();
        w.prepare();
    }
    w.disk.set_trouble(None);
    w.prepare();
    w.send("T", 0, "new");
    w.flush();
    assert_eq!(w.bodies("T", 0).len(), 21);
}

/// Where blocks cannot be allocated before they are written, a full disk shows while the log is prepared. It was fenced.
#[test]
fn a_disk_that_is_full_below_the_segments_end_fences_nothing() {
    let mut w = World::open(HostileDisk::default());
    w.prepare();
    let writes = |w: &World| w.disk.counts().get(OpKind::Write);
    loop {
        w.send("T", 0, &"x".repeat(300));
        w.flush();
        let before = writes(&w);
        w.disk.set_trouble(Some(Trouble { kinds: &[OpKind::Write], action: FaultAction::NoSpace, left: 1 }));
        assert!(!w.keeper.prepare(w.now).unwrap());
        w.disk.set_trouble(None);
        if writes(&w) > before {
            break;
        }
    }
    // One that does not fit as a whole is refused as a whole.
    let refused = w.try_append(&Message::new("T", 0, &[b'x'; 300])).unwrap_err();
    assert!(matches!(refused, AppendError::DiskFull(_)), "{refused}");
    assert_eq!(w.store.admit_batch(900, 300).unwrap_err().to_string(), refused.to_string());
    w.flush();
    w.prepare();
    let all = w.bodies("T", 0).len();
    assert!(all * 420 < SEGMENT as usize, "{all}");
    (0..40).for_each(|_| {
        w.send("T", 0, &"x".repeat(300));
        w.flush();
        w.prepare();
    });
    assert_eq!(w.bodies("T", 0).len(), all + 40);
}

/// What was admitted together must be taken together, though the keeper meanwhile finds that there is less room.
#[test]
fn room_that_shrinks_within_a_turn_does_not_split_what_was_admitted() {
    let mut w = World::open(HostileDisk::default());
    w.prepare();
    w.store.admit_batch(3 * 500, 500).unwrap();
    w.send("T", 0, &"x".repeat(300));
    let used = w.used();
    w.disk.set_capacity(used);
    w.disk.set_trouble(Some(Trouble {
        kinds: &[OpKind::Write],
        action: FaultAction::NoSpace,
        left: u32::MAX,
    }));
    while w.keeper.prepare(w.now).unwrap() {}
    (0..2).for_each(|_| drop(w.send("T", 0, &"x".repeat(300))));
}

#[test]
fn a_full_disk_delays_the_index_but_fences_nothing() {
    let mut w = World::open(HostileDisk::default());
    (0..30).for_each(|i| drop(w.send("T", 0, &format!("{i}"))));
    w.prepare();
    w.flush();
    let used = w.used();
    w.disk.set_capacity(used);
    w.seal();
    assert!(!w.disk.paths().iter().any(|p| p.contains("/runs/")), "{:?}", w.disk.paths());
    let (_, state) = w.keeper.retain(0);
    assert!(state.full.is_some());
    (30..40).for_each(|i| drop(w.send("T", 0, &format!("{i}"))));
    w.flush();
    assert_eq!(w.bodies("T", 0).len(), 40);
    w.disk.set_capacity(u64::MAX);
    w.seal();
    let w = World::open(w.disk.crash(CrashMode::Lost, 0));
    assert_eq!((w.report.scanned_bytes, w.bodies("T", 0).len()), (0, 40));
}

/// It was tried again when the log had grown, and it did not grow, for messages were refused: for ever, though there was room again.
#[test]
fn an_index_run_that_found_no_room_is_tried_again_before_the_log_grows() {
    let mut w = World::open(HostileDisk::default());
    w.dump();
    w.flush();
    w.prepare();
    (0..30).for_each(|i| drop(w.send("T", 0, &format!("{i}"))));
    let used = w.used();
    w.disk.set_capacity(used);
    w.seal_index();
    for _ in 0..3 {
        w.retain();
        assert!(w.try_append(&Message::new("T", 0, b"new")).is_err());
        w.flush();
        assert!(w.store.seal_due(), "once for each report");
        w.seal_index();
        assert!(!w.store.seal_due());
    }
    w.disk.set_capacity(u64::MAX);
    w.retain();
    assert!(w.store.seal_due());
    w.seal_index();
    w.retain();
    assert!(!w.store.seal_due());
    w.send("T", 0, "new");
}

/// Old segments became prepared ones behind it, and it still had no blocks: they were gone for nothing.
#[test]
fn room_that_retention_makes_is_for_the_segment_that_lacks_it() {
    let mut w = World::open(HostileDisk::default());
    w.grow(2 * SEGMENT + SEGMENT / 4);
    w.dump();
    w.seal();
    let disk = w.disk.crash(CrashMode::Kill, 0);
    disk.set_trouble(Some(Trouble {
        kinds: &[OpKind::Allocate],
        action: FaultAction::NoSpace,
        left: u32::MAX,
    }));
    let mut w = World::open(disk);
    w.now += 1_000_000;
    w.retain();
    let logs = w.disk.paths().into_iter().filter(|path| path.starts_with("commitlog/")).count();
    assert_eq!((w.store.disk().gone.len(), logs), (2, 1));
    assert!(w.try_append(&Message::new("T", 0, b"new")).is_err());
    w.flush();
    w.disk.set_trouble(None);
    w.prepare();
    w.send("T", 0, "new");
}

/// It used to be tried again only when the log had grown by eight times the state.
#[test]
fn a_snapshot_that_found_no_room_is_due_with_the_next_seal() {
    let mut w = World::open(HostileDisk::default());
    w.set_state(20, &[7; 3000]);
    w.prepare();
    w.seal();
    let snapshot = |w: &World<HostileDisk>| w.disk.content("kerolox/snapshot").unwrap();
    let runs = |w: &World<HostileDisk>| w.disk.paths().iter().filter(|p| p.contains("/runs/")).count();
    let first = snapshot(&w);
    assert!(!w.store.snapshot_due());
    while !w.store.snapshot_due() {
        w.send("T", 0, &"x".repeat(500));
        w.prepare();
    }
    w.flush();
    // Room for nothing, then for index runs alone.
    let used: usize = w.disk.paths().iter().map(|p| w.disk.content(p).unwrap().len()).sum();
    for (room, more_runs) in [(0, false), (2000, true)] {
        let before = runs(&w);
        w.disk.set_capacity((used + room) as u64);
        w.seal();
        assert_eq!(runs(&w) > before, more_runs);
        assert!(snapshot(&w) == first && w.store.snapshot_due());
    }
    w.disk.set_capacity(u64::MAX);
    w.seal();
    assert!(snapshot(&w) != first && !w.store.snapshot_due());
}

#[test]
fn a_full_disk_is_refused_with_figures() {
    let mut w = World::open(HostileDisk::default());
    w.send("T", 0, "one");
    w.flush();
    let used = w.used();
    w.disk.set_capacity(used * 100 / 95);
    w.retain();
    let refused = w.try_append(&Message::new("T", 0, b"two")).unwrap_err().to_string();
    assert_eq!(refused, "the disk is full: 95.0 % of the disk are used, the limit is 90.0 %");
    // What consumers have done is still recorded.
    w.set_state(17, b"offset");
    w.flush();
    w.disk.set_capacity(used * 10);
    w.retain();
    w.send("T", 0, "two");
    w.flush();
    assert_eq!(w.bodies("T", 0), ["one", "two"]);
}

#[test]
fn a_backlog_is_refused() {
    let limit = StoreConfig { backlog_bytes_max: 2000, ..config() };
    let mut w = World::open_with(HostileDisk::default(), &limit);
    let mut sent = 0;
    let refused = loop {
        match w.try_append(&Message::new("T", 0, &[b'x'; 300])) {
            Ok(_) => sent += 1,
            Err(e) => break e,
        }
    };
    assert!(matches!(refused, AppendError::Backlog(bytes) if bytes >= 2000), "{refused}");
    // State may say what became of those messages: it has room of its own, with an end.
    let state = |w: &mut World| w.store.append_state(0, &[]);
    assert!(state(&mut w).is_ok());
    let refused = std::iter::repeat_with(|| state(&mut w)).take(20).find_map(Result::err).unwrap();
    assert!(matches!(refused, AppendError::Backlog(bytes) if bytes >= 2500), "{refused}");
    w.flush();
    w.send("T", 0, "again");
    assert!(sent > 3);
}

#[test]
fn a_bad_sector_below_the_frontier_takes_only_what_lies_in_it() {
    let mut w = World::open(HostileDisk::default());
    let mut places = Vec::new();
    for i in 0..30 {
        let a = w.send("T", 0, &format!("message {i:02} {}", "x".repeat(300)));
        places.push((a.position, a.end));
    }
    w.flush();
    w.prepare();
    let disk = w.disk.crash(CrashMode::Lost, 0);
    disk.bad_sectors("commitlog/00000000000000000000", 4096..8192);
    let w = World::open(disk);
    let good: Vec<u64> =
        (0..30).filter(|i| places[*i as usize].1 <= 4096 || places[*i as usize].0 >= 8192).collect();
    assert!(good.len() > 15 && good.len() < 25);
    assert_eq!(w.all("T", 0).0.iter().map(|m| m.0).collect::<Vec<_>>(), good);
    assert_eq!(w.report.damaged.len(), 1);
}

#[test]
fn limits_are_refused_without_a_trace() {
    let mut w = World::open(HostileDisk::default());
    let big = Message::new("T", 0, &vec![0; (4 << 20) + 1]);
    assert_eq!(w.try_append(&big).unwrap_err(), AppendError::BodyTooLarge((4 << 20) + 1, 4 << 20));
    let long = Message { tags: "t".repeat(40_000), ..Message::new("T", 0, b"x") };
    assert!(matches!(w.try_append(&long).unwrap_err(), AppendError::PropertiesTooLarge(40_006, _)));
    let wide = Message::new("T", 0, &vec![0; SEGMENT as usize]);
    assert!(matches!(w.try_append(&wide).unwrap_err(), AppendError::SegmentTooSmall(..)));
    assert!(matches!(w.store.append_state(0, &[16, 0, 0, 0, 9]), Err(AppendError::BadState(0))));
    assert!(matches!(w.store.append_dump(0, &[16, 0, 0, 0, 9], true), Err(AppendError::BadState(0))));
    assert_eq!(w.store.watermarks().appended, 0);
    assert_eq!(w.store.bounds("T", 0), None);
}

/// One that never held data, or was to be erased anyway, kept the whole broker from starting.
#[test]
fn a_bad_sector_behind_the_end_does_not_keep_a_start() {
    for clean in [true, false] {
        let mut w = World::open(HostileDisk::default());
        w.send("T", 0, "before");
        w.flush();
        let disk = if clean { w.close() } else { w.disk.crash(CrashMode::Lost, 1) };
        // The block behind the one in which the log ends.
        disk.bad_sectors("commitlog/00000000000000000000", 4096..8192);
        let mut again = World::open(disk);
        assert_eq!(again.bodies("T", 0), ["before"], "clean: {clean}");
        again.send("T", 0, &"after ".repeat(2_000));
        again.flush();
        assert_eq!(again.bodies("T", 0).len(), 2);
    }
}

/// Simulation, seed 730349: the start before had zeroed what lay behind the log's end, in the page cache: its sync failed. The next
/// one found zeros, and left the disk as it was; when the zeros were forgotten, records that had been cut off went on where
/// the log ended then, and offsets were there twice.
#[test]
fn what_a_start_cuts_off_stays_cut_off_though_the_start_before_failed_to_sync_it() {
    let mut w = World::open(HostileDisk::default());
    let safe = w.send("T", 0, "safe");
    w.flush();
    // The rest of the first segment, and what goes on in the second.
    let room = (SEGMENT - safe.end - (safe.end - safe.position) - 40) as usize;
    let torn = w.send("T", 0, &"a".repeat(room));
    let stale = w.send("T", 0, "stale");
    assert_eq!(stale.position, SEGMENT);
    w.write(false);
    let (first, second) = ("commitlog/00000000000000000000", format!("commitlog/{SEGMENT:020}"));
    w.disk.tamper(first, |log| log[torn.position as usize..].fill(0));
    w.disk.tamper(&second, |_| ());
    let mut failed = 0;
    for call in 0..100 {
        let disk = w.disk.crash(CrashMode::Kill, 0);
        disk.restart_count();
        disk.set_faults(vec![Fault { call, action: FaultAction::Io }]);
        let opened = World::try_open(disk.clone(), &config());
        let synced = |(_, kind, path): &(u64, OpKind, String)| *kind == OpKind::SyncData && *path == second;
        let hit = disk.faults_hit().iter().any(synced);
        disk.set_faults(Vec::new());
        if !hit {
            continue;
        }
        assert!(opened.is_err(), "it started though the sync failed");
        failed += 1;
        let mut again = World::open(disk);
        assert_eq!(again.bodies("T", 0), ["safe"]);
        let other = "b".repeat(room);
        assert_eq!(again.send("T", 0, &other).end, torn.end);
        again.flush();
        // The filler behind it is written, and the second segment is not.
        again.send("T", 0, "never written");
        again.disk.set_trouble(Some(Trouble {
            kinds: &[OpKind::Open],
            action: FaultAction::Io,
            left: u32::MAX,
        }));
        again.try_write(true).unwrap_err();
        again.disk.set_trouble(None);
        let last = World::open(again.disk.crash(CrashMode::KillEvicted, 0));
        assert_eq!(last.bodies("T", 0), ["safe", &other]);
    }
    assert!(failed > 0, "no sync of the second segment failed");
}
