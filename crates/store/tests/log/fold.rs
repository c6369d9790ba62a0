//! What the owner of the state is told by a start, and in which order.

use crate::world::*;
use kerolox_store::disk::{CrashMode, HostileDisk};
use kerolox_store::{Look, OpenError, Opened, Report, STATE_TOPIC, Seen, StateFold, open, state};
use kerolox_wire::record::RecordView;
use std::ops::ControlFlow;

/// Remembers all that it was told since it was to forget, without the dots that make it long.
#[derive(Default)]
struct Listener(Vec<String>);

impl Listener {
    fn hear(&mut self, said: &[u8]) {
        self.0.push(std::str::from_utf8(said).unwrap().trim_end_matches('.').to_owned());
    }
}

impl StateFold for Listener {
    fn reset(&mut self) {
        self.0.clear();
    }
    fn knows(&self, kind: u8) -> bool {
        kind < 100
    }
    fn apply(&mut self, _: u8, payload: &[u8]) -> Result<(), String> {
        if payload == b"refuse" {
            return Err("refused".to_owned());
        }
        self.hear(payload);
        Ok(())
    }
    fn message(&mut self, record: &RecordView<'_>) {
        self.hear(record.body);
    }
}

/// A start with what there is, or without some of it.
fn start(disk: &HostileDisk, without: &[&str]) -> Result<(Vec<String>, Report), OpenError> {
    let disk = disk.crash(CrashMode::Kill, 0);
    for path in disk.paths() {
        if without.iter().any(|part| path.contains(part)) {
            disk.tamper_remove(&path);
        }
    }
    let mut listener = Listener::default();
    let Opened { report, .. } =
        open(disk, &config(), &mut listener, &mut |progress| panic!("{progress:?} of a short log"))?;
    Ok((listener.0, report))
}

pub(crate) fn told(disk: &HostileDisk, without: &[&str]) -> Vec<String> {
    start(disk, without).unwrap().0
}

fn flip(disk: &HostileDisk, at: u64) {
    let path = format!("commitlog/{:020}", at - at % SEGMENT);
    assert!(disk.tamper(&path, |log| log[(at % SEGMENT) as usize] ^= 1));
}

/// A part of a dump that says one thing.
fn dump_part(w: &mut World, says: &str, last: bool) {
    let mut part = Vec::new();
    state::put(&mut part, 16, says.as_bytes());
    w.store.append_dump(w.now, &part, last).unwrap();
}

/// Where the records of a log lie, and what each says to a listener: `None` for the end of a dump.
fn records(disk: &HostileDisk) -> Vec<(u64, Option<String>)> {
    let mut records = Vec::new();
    let mut visit = |seen: Seen<'_>| {
        let Seen::Record(record) = seen else { panic!("{seen:?}") };
        let mut listener = Listener::default();
        match record.topic {
            STATE_TOPIC => state::entries(record.body)
                .filter_map(|entry| entry.ok().filter(|(kind, _)| *kind >= state::KIND_APPLICATION_MIN))
                .for_each(|(_, payload)| listener.hear(payload)),
            _ => listener.message(record),
        }
        records.push((record.position, listener.0.pop()));
        ControlFlow::Continue(())
    };
    Look::open(disk.clone()).unwrap().walk("", 0..u64::MAX, &mut visit, &mut |_| {}).unwrap();
    records
}

#[test]
fn messages_and_state_are_told_in_the_order_of_the_log() {
    let mut w = World::open(HostileDisk::default());
    let round = |w: &mut World, i: u32| {
        w.send("T", 0, &format!("message {i}"));
        w.set_state(16, format!("state {i}").as_bytes());
        w.flush();
    };
    (0..2).for_each(|i| round(&mut w, i));
    let mut all = vec!["message 0", "state 0", "message 1", "state 1"];
    assert_eq!(told(&w.disk, &[]), all);
    w.seal_index();
    assert_eq!(told(&w.disk, &[]), all, "an index run does not say it");
    w.seal();
    assert_eq!(told(&w.disk, &[]), ["state 1"], "the snapshot has no messages");
    round(&mut w, 2);
    all.extend(["message 2", "state 2"]);
    for _ in ["open", "sealed"] {
        for with_runs in [&[][..], &["runs/"]] {
            assert_eq!(told(&w.disk, with_runs), ["state 1", "message 2", "state 2"]);
            assert_eq!(told(&w.disk, &[with_runs, &["snapshot"]].concat()), all);
        }
        w.seal_index();
    }
}

#[test]
fn folding_begins_with_the_newest_dump_of_which_nothing_is_missing() {
    let mut w = World::open(HostileDisk::default());
    let message = |w: &mut World, text: String| {
        w.send("T", 0, &format!("{text:.<6000}"));
        w.prepare();
        w.flush();
    };
    for name in ["a", "b"] {
        message(&mut w, format!("before {name}"));
        for part in 0..3 {
            dump_part(&mut w, &format!("part {part} of {name}"), part == 2);
            message(&mut w, format!("behind part {part} of {name}"));
        }
    }
    let records = records(&w.disk);
    let place = |text: &str| records.iter().position(|(_, said)| said.as_deref() == Some(text)).unwrap();
    // Up to its end.
    let dump = |name: &str| [0, 1, 2].map(|part| place(&format!("part {part} of {name}")));
    let [a, b] = ["a", "b"].map(|name| [&dump(name)[..], &[dump(name)[2] + 1]].concat());
    assert!(a.iter().chain(&b).all(|at| records[*at].1.is_none() == (*at == a[3] || *at == b[3])));
    assert!(records[a[0]].0 / SEGMENT < records[a[3]].0 / SEGMENT, "it lies in several segments");
    let check = |w: &World, hits: &[usize], from: usize| {
        let disk = w.disk.crash(CrashMode::Kill, 0);
        hits.iter().for_each(|hit| flip(&disk, records[*hit].0 + 95));
        let left = (from..records.len()).filter(|at| !hits.contains(at));
        let want: Vec<&String> = left.filter_map(|at| records[at].1.as_ref()).collect();
        for without in [&["snapshot"][..], &["snapshot", "runs/"]] {
            assert_eq!(told(&disk, without).iter().collect::<Vec<_>>(), want, "{hits:?} {without:?}");
        }
    };
    let report = start(&w.disk, &["snapshot", "runs/"]).unwrap().1;
    assert!(report.scanned_bytes < 2 * report.log_max, "not all is looked through: {report:?}");
    for _ in ["open", "sealed"] {
        check(&w, &[], b[0]);
        for hit in &b {
            check(&w, &[*hit], a[0]);
            check(&w, &[*hit, a[1]], 0);
        }
        w.seal_index();
    }
}

/// Nothing is left of the state: its dump is nothing but an end.
#[test]
fn a_dump_of_nothing_is_a_dump() {
    let mut w = World::open(HostileDisk::default());
    w.set_state(16, b"before");
    w.seal();
    let hit = w.set_state(16, b"damaged").position;
    w.store.append_dump(w.now, b"", true).unwrap();
    w.set_state(16, b"behind");
    w.flush();
    let (told_of_log, report) = start(&w.disk, &["snapshot", "runs/"]).unwrap();
    assert_eq!(told_of_log, ["behind"], "folding begins with it");
    assert_eq!(report.scanned_bytes, 2 * report.log_max, "for the dump and for the index");
    flip(&w.disk, hit + 95);
    for without in [&[][..], &["runs/"], &["snapshot"], &["snapshot", "runs/"]] {
        assert_eq!(told(&w.disk, without), ["behind"], "{without:?}: it heals what lies before it");
    }
}

/// All of it was read, and then, for a state record before the dump is damaged, again from there on.
#[test]
fn what_is_folded_again_is_told_and_refused_once() {
    let mut w = World::open(HostileDisk::default());
    w.set_state(16, b"snapped");
    w.seal();
    let before = w.set_state(17, b"refuse").position;
    let hit = w.set_state(16, b"damaged").position;
    w.send("T", 0, "message before");
    w.flush();
    let begin = w.store.watermarks().appended;
    dump_part(&mut w, "refuse", false);
    w.send("T", 0, "message amid");
    dump_part(&mut w, "part 1", true);
    w.send("T", 0, "message behind");
    let behind = w.set_state(17, b"refuse").position;
    w.flush();
    for _ in ["open", "sealed"] {
        let disk = w.disk.crash(CrashMode::Kill, 0);
        let undamaged = ["snapped", "damaged", "message before", "message amid", "part 1", "message behind"];
        assert_eq!(told(&disk, &[]), undamaged);
        flip(&disk, hit + 95);
        let (told, report) = start(&disk, &[]).unwrap();
        assert_eq!(told, ["message amid", "part 1", "message behind"]);
        let refused = [before, begin, behind].map(|position| (position, "refused".to_owned()));
        assert_eq!(report.state_errors, refused);
        w.seal_index();
    }
}

/// A newer release's: without it the state would not be whole, and the next dump would lose it for good.
#[test]
fn a_log_with_entries_that_nobody_knows_is_not_opened() {
    let refused = |disk: &HostileDisk, without: &[&str]| match start(disk, without) {
        Err(OpenError::UnknownEntry { position, kind }) => (position, kind),
        other => panic!("{other:?}"),
    };
    // One of the store's and one of the state's owner.
    for kind in [9, 100] {
        let mut w = World::open(HostileDisk::default());
        w.set_state(16, b"known");
        let first = w.set_state(kind, b"unknown");
        w.set_state(101, b"unknown, too");
        w.flush();
        assert_eq!(refused(&w.disk, &[]), (first.position, kind));
        w.seal_index();
        assert_eq!(refused(&w.disk, &[]), (first.position, kind));
        w.seal();
        assert_eq!(refused(&w.disk, &[]), (w.store.watermarks().appended, kind), "in the snapshot");
        w.set_state(16, b"behind");
        w.flush();
        assert_eq!(refused(&w.disk, &["snapshot"]), (first.position, kind));
        // A whole dump without it says that it is no more.
        dump_part(&mut w, "dumped", true);
        w.flush();
        assert_eq!(told(&w.disk, &["snapshot"]), ["dumped"]);
    }
}
