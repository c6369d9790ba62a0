//! Data directories of each format that ever was: all open, say what they are known to say, and go on. And those of a newer
//! format are refused.
//!
//! When a format's version is raised (`docs/formats/versions.md`), a directory of the new one joins the others:
//! `KEROLOX_WRITE_FORMAT=v2 cargo test -p kerolox-broker --test formats`. Old ones are never written again.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

use bytes::Bytes;
use kerolox_broker::{State, describe};
use kerolox_store::disk::{CrashMode, HostileDisk};
use kerolox_store::state::{entries, put};
use kerolox_store::{
    NewMessage, OpenError, Opened, QueueRead, QueueReadOutcome, ReadResult, StoreConfig, WriteBatch, open,
};
use kerolox_wire::properties::PropertiesBuf;
use kerolox_wire::record::{NewRecord, RecordView};
use kerolox_wire::{names, sys_flag};
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

const SEGMENT: u64 = 16 << 10;
const NOW_MS: i64 = 1_700_000_000_000;

fn config() -> StoreConfig {
    StoreConfig {
        segment_bytes: SEGMENT,
        run_bytes: 8 << 10,
        tail_bytes: 0,
        ahead_bytes: 8 << 10,
        ..StoreConfig::default()
    }
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/formats")
}

/// A store and the state that its log says.
struct World {
    disk: HostileDisk,
    opened: Opened<HostileDisk>,
    state: State,
}

impl World {
    fn try_open(disk: &HostileDisk) -> Result<Self, OpenError> {
        let mut state = State::default();
        let opened = open(disk.clone(), &config(), &mut state, &mut |_| {})?;
        Ok(Self { disk: disk.clone(), opened, state })
    }

    fn open(disk: &HostileDisk) -> Self {
        Self::try_open(disk).unwrap()
    }

    fn send(&mut self, message: NewMessage<'_>) -> u64 {
        self.opened.store.append(NOW_MS, &message).unwrap().queue_offset
    }

    fn set(&mut self, kind: u8, payload: &[u8]) {
        let mut stream = Vec::new();
        put(&mut stream, kind, payload);
        self.opened.store.append_state(NOW_MS, &stream).unwrap();
    }

    fn flush(&mut self) {
        let mut batches: Vec<WriteBatch> = Vec::new();
        self.opened.store.take_writes(&mut batches);
        let (written, flushed) = self.opened.writer.write(&batches, true).unwrap();
        self.opened.store.advance(written, flushed);
        while self.opened.keeper.prepare(NOW_MS).unwrap() {}
    }

    /// The whole state as an entry stream, the store's part first.
    fn whole(&self) -> Vec<u8> {
        let mut stream = Vec::new();
        assert_eq!(self.opened.store.put_queues(0, usize::MAX, &mut stream), None);
        self.state.each_entry(|kind, payload| put(&mut stream, kind, payload));
        stream
    }

    fn bodies(&self, topic: &Arc<str>, queue_id: u32) -> Vec<String> {
        let bounds = self.opened.store.bounds(topic, queue_id).unwrap();
        let one = |offset| {
            let read = QueueRead::one(Arc::clone(topic), queue_id, offset);
            let slice = match self.opened.store.read_queue(read) {
                QueueReadOutcome::Done(slice) => slice,
                QueueReadOutcome::Cold(plan) => match self.opened.reader.execute(&plan, NOW_MS) {
                    ReadResult::Queue(slice) => slice,
                    other => panic!("{other:?}"),
                },
            };
            let view = RecordView::parse(&slice.records).unwrap();
            let properties: Vec<_> = view.properties().iter().map(|(k, v)| format!("{k}={v}")).collect();
            let body = String::from_utf8_lossy(view.body).into_owned();
            format!("{offset}: {} {:?} {}", view.born_host, body, properties.join(" "))
        };
        (bounds.min..bounds.max).map(one).collect()
    }

    /// All that the directory says, for people.
    fn said(&self) -> String {
        let mut out = String::new();
        let mut queues: Vec<_> = self.opened.store.queues().map(|(t, q, b)| (Arc::clone(t), q, b)).collect();
        queues.sort_by(|a, b| (&a.0, a.1).cmp(&(&b.0, b.1)));
        for (topic, queue_id, bounds) in queues {
            writeln!(out, "{topic} {queue_id} {}..{}", bounds.min, bounds.max).unwrap();
            self.bodies(&topic, queue_id).iter().for_each(|line| writeln!(out, "  {line}").unwrap());
        }
        self.state.each_entry(|kind, payload| {
            let words = describe(kind, payload).unwrap();
            writeln!(out, "{}: {}: {}", words.name, words.key, words.value).unwrap();
        });
        out
    }
}

fn message<'a>(topic: &'a str, body: &'a [u8], properties: &'a PropertiesBuf) -> NewMessage<'a> {
    NewMessage {
        topic,
        queue_id: 0,
        flag: 7,
        sys_flag: 0,
        born_ms: NOW_MS - 5,
        born_host: "10.1.2.3:4567".parse().unwrap(),
        reconsume_times: 0,
        prepared_transaction_offset: 0,
        body,
        properties: properties.as_bytes(),
    }
}

fn properties(pairs: &[(&str, &str)]) -> PropertiesBuf {
    let mut properties = PropertiesBuf::new();
    pairs.iter().for_each(|(name, value)| properties.set(name, value));
    properties
}

fn text(text: &str) -> Vec<u8> {
    [&(text.len() as u16).to_be_bytes(), text.as_bytes()].concat()
}

fn queue(queue_id: u32) -> Vec<u8> {
    [text("group"), text("T"), queue_id.to_be_bytes().to_vec()].concat()
}

/// One entry of each kind there is, as `docs/formats/broker-state.md` has them.
fn all_entries() -> Vec<(u8, Vec<u8>)> {
    let long = |numbers: &[u64]| numbers.iter().flat_map(|n| n.to_be_bytes()).collect::<Vec<u8>>();
    let half =
        [long(&[4_000, 1, NOW_MS as u64]), 60_i32.to_be_bytes().to_vec(), 2_u32.to_be_bytes().to_vec()];
    let take = [queue(1), long(&[9]), vec![1], text("attempt"), long(&[5, 70]), long(&[4]), vec![0, 0, 0, 2]];
    vec![
        (16, br#"{"topicName":"T","readQueueNums":4,"writeQueueNums":4,"perm":6}"#.to_vec()),
        (16, br#"{"topicName":"gone","readQueueNums":1,"writeQueueNums":1,"perm":6}"#.to_vec()),
        (17, b"gone".to_vec()),
        (18, br#"{"groupName":"group","retryMaxTimes":3}"#.to_vec()),
        (18, br#"{"groupName":"left"}"#.to_vec()),
        (19, b"left\x01".to_vec()),
        (20, [queue(0), long(&[3])].concat()),
        (21, [vec![4], long(&[17])].concat()),
        (22, half.concat()),
        (22, [long(&[5_000, 2, 9]), vec![0; 8]].concat()),
        (23, long(&[5_000])),
        (24, long(&[1_000, 2, 1])),
        (25, long(&[2_000, 5])),
        (20, [queue(4), long(&[3])].concat()),
        (26, queue(4)),
        (32, take.concat()),
        (
            32,
            [
                queue(2),
                long(&[9]),
                vec![0],
                text(""),
                long(&[5, 70]),
                long(&[4]),
                vec![0; 4],
                long(&[6]),
                vec![0; 4],
            ]
            .concat(),
        ),
        (33, [queue(2), long(&[4])].concat()),
        (34, queue(3)),
        (35, br#"{"topic":"T","consumerGroup":"group","mode":"POP","popShareQueueNum":2}"#.to_vec()),
        (48, [queue(0), long(&[1])].concat()),
        (48, [queue(1), long(&[1])].concat()),
        (49, queue(1)),
        (56, [text("fileReservedTime"), b"48".to_vec()].concat()),
        (57, long(&[1_000, 5_000])),
        (58, [text("group"), text("forbidden"), 4_u32.to_be_bytes().to_vec()].concat()),
        (64, [text("topics.json"), 7_u32.to_be_bytes().to_vec()].concat()),
    ]
}

/// A directory of the present formats, as a kill leaves it: with a snapshot, index runs, two segments and a tail.
fn write() -> HostileDisk {
    let disk = HostileDisk::default();
    let mut w = World::open(&disk);
    let plain = properties(&[("TAGS", "red"), ("KEYS", "one two"), ("UNIQ_KEY", "7F000001")]);
    let none = properties(&[]);
    for (kind, payload) in all_entries() {
        w.set(kind, &payload);
    }
    for i in 0..40 {
        w.send(message("T", format!("body {i} {}", "x".repeat(400)).as_bytes(), &plain));
    }
    w.send(NewMessage { born_host: "[2001:db8::1]:99".parse().unwrap(), ..message("T", b"", &none) });
    w.send(message(&"long".repeat(40), b"in a record of the second kind", &none));
    let half = NewMessage {
        sys_flag: sys_flag::TRANSACTION_PREPARED,
        ..message(names::TRANS_HALF_TOPIC, b"half", &none)
    };
    w.send(half);
    let due = properties(&[("TIMER_OUT_MS", "1800000000000"), ("REAL_TOPIC", "T")]);
    w.send(message(names::WHEEL_TIMER_TOPIC, b"timer", &due));
    w.flush();
    drop(w);
    // Folded: now there is a state to be said.
    let mut w = World::open(&disk.crash(CrashMode::Kill, 0));
    let whole = w.whole();
    w.opened.store.append_dump(NOW_MS, &whole, false).unwrap();
    w.opened.store.append_dump(NOW_MS, &[], true).unwrap();
    w.flush();
    let job = w.opened.store.seal(Bytes::from(w.whole()));
    let sealed = w.opened.keeper.seal(job).unwrap();
    w.opened.store.sealed(sealed);
    w.send(message("T", b"behind the snapshot", &plain));
    w.set(20, &[queue(0), 5_u64.to_be_bytes().to_vec()].concat());
    w.opened.store.delete_topic(NOW_MS, &"long".repeat(40), Vec::new()).unwrap();
    w.flush();
    w.disk.crash(CrashMode::Kill, 0)
}

fn write_to(folder: &Path, disk: &HostileDisk) {
    for path in disk.paths().iter().filter(|path| path.contains('/')) {
        let file = folder.join(path);
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(file, disk.content(path).unwrap()).unwrap();
    }
    std::fs::write(folder.join("said.txt"), World::open(disk).said()).unwrap();
}

fn read_from(folder: &Path) -> HostileDisk {
    let disk = HostileDisk::default();
    for dir in ["commitlog", "kerolox", "kerolox/runs"] {
        for entry in std::fs::read_dir(folder.join(dir)).unwrap().map(Result::unwrap) {
            if entry.file_type().unwrap().is_file() {
                let path = format!("{dir}/{}", entry.file_name().to_str().unwrap());
                disk.tamper_create(&path, std::fs::read(entry.path()).unwrap());
            }
        }
    }
    disk
}

fn versions() -> Vec<PathBuf> {
    let mut all: Vec<_> = std::fs::read_dir(folder()).unwrap().map(|entry| entry.unwrap().path()).collect();
    all.sort();
    all
}

#[test]
fn every_format_that_ever_was_opens_and_goes_on() {
    if let Ok(version) = std::env::var("KEROLOX_WRITE_FORMAT") {
        let folder = folder().join(version);
        assert!(!folder.exists(), "{} is there: old formats are never written again", folder.display());
        write_to(&folder, &write());
    }
    assert!(!versions().is_empty());
    for folder in versions() {
        let disk = read_from(&folder);
        let mut w = World::open(&disk);
        let shown = folder.display();
        assert!(w.opened.report.damaged.is_empty(), "{shown}: {:?}", w.opened.report);
        assert_eq!(w.opened.report.state_errors, [], "{shown}");
        let said = std::fs::read_to_string(folder.join("said.txt")).unwrap();
        assert_eq!(w.said(), said, "{shown}");
        let next = w.opened.store.next_offset("T", 0);
        assert_eq!(w.send(message("T", b"goes on", &properties(&[]))), next);
        w.set(20, &[queue(0), 6_u64.to_be_bytes().to_vec()].concat());
        w.flush();
        let w = World::open(&w.disk.crash(CrashMode::Lost, 0));
        let last = w.bodies(&Arc::from("T"), 0).pop().unwrap();
        assert!(last.contains("goes on"), "{shown}: {last}");
        assert!(
            w.state.committed().any(|(group, _, queue_id, at)| (&*group, queue_id, at) == ("group", 0, 6))
        );
    }
}

/// What is written now is what the newest fixture has: a format cannot change unnoticed.
#[test]
fn the_present_format_is_the_newest_one_kept() {
    let kept = read_from(versions().last().unwrap());
    let now = write();
    for path in now.paths().iter().filter(|path| path.contains('/') && *path != "kerolox/frontier") {
        assert_eq!(now.content(path), kept.content(path), "{path}");
    }
    // But for the slots, which the keeper writes when it comes to it.
    let facts = |disk: &HostileDisk| disk.content("kerolox/frontier").unwrap()[..32].to_vec();
    assert_eq!(facts(&now), facts(&kept));
}

#[test]
fn each_kind_of_entry_has_words() {
    for (kind, payload) in all_entries() {
        let words = describe(kind, &payload).unwrap();
        assert!(!words.key.is_empty() && !words.value.is_empty(), "{kind}: {words:?}");
        for len in 0..payload.len() {
            // Cut short it is an error or something else, never a panic.
            let _ = describe(kind, &payload[..len]);
        }
    }
    for (kind, payload) in entries(&write_dump_frames()).map(Result::unwrap) {
        describe(kind, payload).unwrap();
    }
    assert_eq!(describe(200, b"").unwrap_err(), "entry kind 200 is not known to this version");
    assert_eq!(describe(9, b"").unwrap_err(), "entry kind 9 is not known to this version");
}

/// The store's own entries.
fn write_dump_frames() -> Vec<u8> {
    let mut stream = Vec::new();
    put(&mut stream, 1, &[0, 0, 0, 1]);
    put(&mut stream, 2, &[0; 12]);
    put(&mut stream, 3, b"\0\0\0\x01\0\0\0\0\0\0\0\x09T");
    put(&mut stream, 4, b"T");
    stream
}

/// Puts another version and the checksum of `covered` bytes, which lies behind them, into a file.
fn raise(disk: &HostileDisk, path: &str, covered: impl Fn(usize) -> usize) -> HostileDisk {
    let disk = disk.crash(CrashMode::Kill, 0);
    assert!(disk.tamper(path, |bytes| {
        bytes[8..12].copy_from_slice(&3_u32.to_be_bytes());
        let covered = covered(bytes.len());
        let crc = crc32fast::hash(&bytes[..covered]).to_be_bytes();
        bytes[covered..covered + 4].copy_from_slice(&crc);
    }));
    disk
}

fn refusal(disk: &HostileDisk) -> String {
    let before: Vec<_> = disk.paths().iter().map(|path| disk.content(path)).collect();
    let why = World::try_open(disk).err().expect("refused").to_string();
    let after: Vec<_> =
        disk.paths().iter().filter(|path| *path != "lock").map(|path| disk.content(path)).collect();
    assert!(after.iter().all(|content| before.contains(content)), "nothing is changed");
    why
}

#[test]
fn newer_formats_are_refused_with_both_versions_named() {
    let disk = write();
    let run = disk.paths().into_iter().find(|path| path.ends_with(".run")).unwrap();
    let ask = "start the release that wrote it, or a newer one";
    // The log has no version of its own: the frontier's is that of the whole directory.
    for (path, covered, what) in [
        ("kerolox/frontier", (|_| 28) as fn(usize) -> usize, "the data directory"),
        (&run, |_| 88, &*run),
        ("kerolox/snapshot", |len| len - 4, "kerolox/snapshot"),
    ] {
        let said = refusal(&raise(&disk, path, covered));
        assert_eq!(said, format!("{what} is of format 3; this Kerolox reads up to 1: {ask}"));
        // A version that was hit by a flipped bit is damage and nothing else.
        let flipped = disk.crash(CrashMode::Kill, 0);
        flipped.tamper(path, |bytes| bytes[11] ^= 2);
        World::open(&flipped);
    }
}

/// A newer release's entry is never passed over: the next dump would lose it for good.
#[test]
fn a_state_entry_of_a_newer_release_is_refused() {
    for kind in [9, 200] {
        let mut w = World::open(&write());
        let position = w.opened.store.watermarks().appended;
        w.set(kind, b"what nobody here knows");
        w.flush();
        let said = refusal(&w.disk.crash(CrashMode::Kill, 0));
        assert_eq!(
            said,
            format!(
                "the state record at position {position} of the log is of a format above 1 (it has an entry of kind {kind}); \
                 this Kerolox reads up to 1: start the release that wrote it, or a newer one"
            )
        );
    }
    // In a snapshot, too.
    let disk = write();
    let mut w = World::open(&disk);
    let mut whole = w.whole();
    put(&mut whole, 200, b"");
    let job = w.opened.store.seal(Bytes::from(whole));
    w.opened.keeper.seal(job).unwrap();
    assert!(refusal(&w.disk.crash(CrashMode::Kill, 0)).contains("an entry of kind 200"));
}

/// Clients of Apache RocketMQ may have sent to a topic of that name: it is no state, and keeps nobody from starting.
#[test]
fn what_apaches_clients_sent_to_the_states_topic_is_refused_by_nobody() {
    let mut stream = Vec::new();
    put(&mut stream, 200, b"");
    let record = NewRecord {
        topic: kerolox_store::STATE_TOPIC,
        queue_id: 0,
        flag: 0,
        sys_flag: 0,
        queue_offset: 0,
        position: 0,
        born_ms: 1,
        born_host: "1.2.3.4:5".parse().unwrap(),
        store_ms: 1,
        store_host: "1.2.3.4:5".parse().unwrap(),
        reconsume_times: 0,
        prepared_transaction_offset: 0,
        body: &stream,
        properties: b"",
    };
    let (mut with, mut log) = (bytes::BytesMut::new(), bytes::BytesMut::new());
    record.encode(&mut with).unwrap();
    kerolox_wire::record::strip_crc(&with, &mut log).unwrap();
    log.resize(SEGMENT as usize, 0);
    let disk = HostileDisk::default();
    disk.tamper_create("commitlog/00000000000000000000", log.to_vec());
    let w = World::open(&disk);
    assert_eq!(w.opened.report.state_errors.len(), 1, "{:?}", w.opened.report);
}
