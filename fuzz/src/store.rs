//! A data directory that was changed behind the store's back, with checksums made to fit where that is asked for: it opens
//! or is refused, and whatever is served is a sound record that lies where it should.

use bytes::{Bytes, BytesMut};
use kerolox_store::disk::{CrashMode, HostileDisk};
use kerolox_store::{
    FlushPolicy, Look, NewMessage, OpenError, Opened, QueueRead, QueueReadOutcome, ReadResult, StateFold,
    StoreConfig, open, state,
};
use kerolox_wire::record::{NewRecord, RecordView, strip_crc};
use std::sync::{Arc, OnceLock};

const BLOCK: usize = 4096;
const TOPIC: &str = "Topic";
const STATE_TOPIC: &str = "rmq_sys_kerolox_state";
/// Changes of one directory.
const CHANGES_MAX: usize = 24;

fn config() -> StoreConfig {
    StoreConfig {
        flush: FlushPolicy::Sync,
        segment_bytes: 8192,
        run_bytes: 3000,
        tail_bytes: 2000,
        ahead_bytes: 4096,
        ..StoreConfig::default()
    }
}

/// Keeps nothing, but looks at every entry.
#[derive(Default)]
struct Folded(u64);

impl StateFold for Folded {
    fn reset(&mut self) {
        self.0 = 0;
    }
    fn apply(&mut self, kind: u8, payload: &[u8]) -> Result<(), String> {
        assert!(kind >= state::KIND_APPLICATION_MIN);
        self.0 += payload.len() as u64;
        Ok(())
    }
}

/// A directory of three segments with messages, state, dumps, runs and a snapshot; killed.
fn sound() -> &'static HostileDisk {
    static SOUND: OnceLock<HostileDisk> = OnceLock::new();
    SOUND.get_or_init(|| {
        let disk = HostileDisk::default();
        let Opened { mut store, mut writer, mut keeper, .. } =
            open(disk.clone(), &config(), &mut Folded::default(), &mut |_| {}).unwrap();
        for i in 0..60_i64 {
            let body = vec![b'a' + (i % 26) as u8; (i * 37 % 300) as usize];
            let further = format!(
                "INNER_MULTI_DISPATCH\u{1}%LMQ%q\u{2}INNER_MULTI_QUEUE_OFFSET\u{1}{}\u{2}",
                store.next_offset("%LMQ%q", 0)
            );
            let message = NewMessage {
                topic: TOPIC,
                queue_id: (i % 2) as u32,
                flag: 0,
                sys_flag: 0,
                born_ms: i,
                born_host: ([10, 0, 0, 1], 1).into(),
                reconsume_times: 0,
                prepared_transaction_offset: 0,
                body: &body,
                properties: if i % 5 == 0 { further.as_bytes() } else { b"KEYS\x01k1 k2\x02TAGS\x01t\x02" },
            };
            store.append(1000 + i, &message).unwrap();
            let mut entries = Vec::new();
            state::put(&mut entries, 16 + (i % 3) as u8, &body);
            if i % 7 == 0 {
                store.append_state(1000 + i, &entries).unwrap();
            }
            if i % 20 == 19 {
                store.put_queues(0, usize::MAX, &mut entries);
                store.append_dump(1000 + i, &entries, true).unwrap();
            }
            if i == 30 {
                store.delete_topic(1000 + i, "other", Vec::new()).unwrap();
            }
            let mut batches = Vec::new();
            store.take_writes(&mut batches);
            let (written, flushed) = writer.write(&batches, true).unwrap();
            store.advance(written, flushed);
            if store.seal_due() {
                let job =
                    if store.snapshot_due() { store.seal(Bytes::from(entries)) } else { store.seal_index() };
                store.sealed(keeper.seal(job).unwrap());
            }
        }
        disk.crash(CrashMode::Kill, 0)
    })
}

struct Changes<'a>(&'a [u8]);

impl<'a> Changes<'a> {
    fn byte(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }

    fn number(&mut self) -> Option<usize> {
        Some(usize::from(self.byte()?) << 8 | usize::from(self.byte()?))
    }

    fn bytes(&mut self) -> Option<&'a [u8]> {
        let len = usize::from(self.byte()?);
        let (taken, rest) = self.0.split_at(len.min(self.0.len()));
        self.0 = rest;
        Some(taken)
    }
}

/// Changes, one after the other: what, of which file, where, and with what.
pub fn store(data: &[u8]) {
    let disk = sound().crash(CrashMode::Kill, 0);
    let mut changes = Changes(data);
    for _ in 0..CHANGES_MAX {
        if change(&disk, &mut changes).is_none() {
            break;
        }
    }
    let verified = Look::open(disk.clone()).and_then(|look| look.verify(&mut Folded::default(), &mut |_| {}));
    let opened = open(disk.clone(), &config(), &mut Folded::default(), &mut |_| {});
    let Ok(Opened { store, reader, report, .. }) = opened else { return };
    // A start reads what lies behind the snapshot and the runs that go on from there, and a verification all: it may meet an
    // entry or a run of a newer version.
    let verified = matches!(verified, Ok(_) | Err(OpenError::UnknownEntry { .. } | OpenError::TooNew { .. }));
    assert!(report.log_min <= report.log_max && verified, "{report:?}");
    assert_eq!(store.watermarks().confirmed, report.log_max);
    for (topic, queue_id) in [(TOPIC, 0), (TOPIC, 1), ("%LMQ%q", 0), ("other", 0)] {
        let Some(bounds) = store.bounds(topic, queue_id) else { continue };
        let mut from = bounds.min;
        for _ in 0..200 {
            let read = QueueRead {
                topic: Arc::from(topic),
                queue_id,
                from,
                count_max: 30,
                bytes_max: 1 << 16,
                scan_max: 100,
                filter: None,
            };
            let slice = match store.read_queue(read) {
                QueueReadOutcome::Done(slice) => slice,
                QueueReadOutcome::Cold(plan) => match reader.execute(&plan, 0) {
                    ReadResult::Queue(slice) => slice,
                    other => panic!("{other:?}"),
                },
            };
            served(&disk, topic, queue_id, &slice.records);
            assert!(slice.next_offset > from || from >= bounds.max, "no progress at {from} of {bounds:?}");
            from = slice.next_offset;
            if from >= bounds.max {
                break;
            }
        }
        let time = store.plan_search_time(topic, queue_id, 1030, kerolox_store::Boundary::Lower);
        let ReadResult::Offset(at) = reader.execute(&time, 0) else { panic!("no offset") };
        assert!((bounds.min..=bounds.max).contains(&at));
    }
    let ReadResult::Records(found) = reader.execute(&store.plan_query_key(TOPIC, "k1", 32, 0, i64::MAX), 0)
    else {
        panic!("no records")
    };
    found.iter().flatten().for_each(|record| served(&disk, TOPIC, u32::MAX, record));
}

/// Each record is what lies at its place, and sound.
fn served(disk: &HostileDisk, topic: &str, queue_id: u32, mut records: &[u8]) {
    while !records.is_empty() {
        let view = RecordView::parse(records).unwrap();
        assert!(queue_id == u32::MAX || view.offset_in(topic, queue_id).is_some(), "{view:?}");
        let (base, at) = (view.position - view.position % 8192, view.position as usize % 8192);
        let segment = disk.content(&format!("commitlog/{base:020}")).unwrap();
        let there = RecordView::parse(&segment[at..]).unwrap();
        there.verify(Some(view.position), false).unwrap();
        let mut client = BytesMut::new();
        strip_crc(there.bytes(), &mut client).unwrap();
        assert!(client.starts_with(view.bytes()));
        records = &records[view.len()..];
    }
}

fn change(disk: &HostileDisk, changes: &mut Changes<'_>) -> Option<()> {
    let what = changes.byte()?;
    let paths = disk.paths();
    let path = paths.get(usize::from(changes.byte()?) % paths.len().max(1))?;
    let len = disk.content(path)?.len().max(1);
    match what % 10 {
        0..=2 => {
            let at = changes.number()? % len;
            let new = changes.bytes()?;
            disk.tamper(path, |bytes| bytes.iter_mut().skip(at).zip(new).for_each(|(b, new)| *b = *new));
        }
        // Bytes in the middle of something: what follows moves.
        3 => {
            let at = changes.number()? % len;
            let new = changes.bytes()?.to_vec();
            disk.tamper(path, |bytes| drop(bytes.splice(at..at, new)));
        }
        4 => {
            let to = changes.number()? % len;
            disk.tamper(path, |bytes| bytes.truncate(to));
        }
        5 => {
            disk.tamper_remove(path);
        }
        6 => {
            let content = disk.content(&paths[usize::from(changes.byte()?) % paths.len()])?;
            disk.tamper(path, |bytes| *bytes = content);
        }
        // A record of the fuzzer's own, sound in itself, at its own place.
        7 => {
            let at = changes.number()? % len;
            let (offset, body) = (u64::from(changes.byte()?), changes.bytes()?);
            let of_state = offset % 2 == 0;
            own_record(disk, path, at, of_state, offset, body);
        }
        // A file of the fuzzer's own.
        8 => {
            let content = changes.bytes()?;
            disk.tamper(path, |bytes| *bytes = content.to_vec());
        }
        _ => {}
    }
    if what >= 128 {
        fit(disk, path);
    }
    Some(())
}

fn own_record(disk: &HostileDisk, path: &str, at: usize, of_state: bool, offset: u64, body: &[u8]) {
    let Some(base) = path.strip_prefix("commitlog/").and_then(|name| name.parse::<u64>().ok()) else {
        return;
    };
    let record = NewRecord {
        topic: if of_state { STATE_TOPIC } else { TOPIC },
        queue_id: 0,
        flag: 0,
        sys_flag: 0,
        queue_offset: offset,
        position: base + at as u64,
        born_ms: 1,
        born_host: ([10, 0, 0, 1], 1).into(),
        store_ms: 2000,
        store_host: ([10, 0, 0, 1], 1).into(),
        reconsume_times: 0,
        prepared_transaction_offset: 0,
        body,
        properties: if of_state { b"" } else { body },
    };
    let mut out = BytesMut::new();
    if record.encode(&mut out).is_ok() {
        disk.tamper(path, |bytes| bytes.iter_mut().skip(at).zip(out).for_each(|(b, new)| *b = new));
    }
}

/// Makes the checksums of a file of Kerolox' own fit what it says (`docs/formats`).
fn fit(disk: &HostileDisk, path: &str) {
    let seal = |bytes: &mut [u8], from: usize, to: usize| {
        let crc = crc32fast::hash(bytes.get(from..to).unwrap_or_default()).to_be_bytes();
        if let Some(place) = bytes.get_mut(to..to + 4) {
            place.copy_from_slice(&crc);
        }
    };
    disk.tamper(path, |bytes| match path {
        "kerolox/snapshot" => {
            if let Some(len) = bytes.len().checked_sub(48) {
                bytes[36..44].copy_from_slice(&(len as u64).to_be_bytes());
            }
            let end = bytes.len().saturating_sub(4);
            seal(bytes, 0, end);
        }
        "kerolox/frontier" => {
            (0..5).for_each(|block| seal(bytes, block * BLOCK, block * BLOCK + 28));
        }
        path if path.contains("/runs/") => {
            let number = |at: usize| bytes.get(at..)?.first_chunk().map(|n| u64::from_be_bytes(*n) as usize);
            if let Some((at, len)) = number(68).zip(number(76))
                && let Some(directory) = at.checked_add(len).and_then(|end| bytes.get(at..end))
            {
                let crc = crc32fast::hash(directory).to_be_bytes();
                if let Some(place) = bytes.get_mut(84..88) {
                    place.copy_from_slice(&crc);
                }
            }
            seal(bytes, 0, 88);
        }
        _ => {}
    });
}
