//! What the store costs and reaches on this machine: `cargo bench -p kerolox-store -- [DIR] [MESSAGES] [BODY_BYTES]`.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)] // holds because a benchmark may end at the first surprise

use bytes::Bytes;
use kerolox_store::disk::{Disk, OpKind, RealDisk};
use kerolox_store::{
    FlushPolicy, Keeper, NewMessage, Opened, QueueRead, QueueReadOutcome, ReadResult, StateFold, Store,
    StoreConfig, Writer, open,
};
use std::sync::Arc;
use std::time::{Duration, Instant};

struct NoState;

impl StateFold for NoState {
    fn reset(&mut self) {}
    fn apply(&mut self, _: u8, _: &[u8]) -> Result<(), String> {
        Ok(())
    }
}

const QUEUES: u32 = 8;

fn main() {
    let mut args = std::env::args().skip(1).filter(|a| a != "--bench");
    let dir = args.next().unwrap_or_else(|| std::env::temp_dir().join("kerolox-rate").display().to_string());
    let messages: u32 = args.next().and_then(|a| a.parse().ok()).unwrap_or(1_000_000);
    let body = vec![b'x'; args.next().and_then(|a| a.parse().ok()).unwrap_or(1024)];
    println!("{messages} messages of {} bytes, {QUEUES} queues, in {dir}", body.len());
    for (flush, batch) in [
        (FlushPolicy::Async { interval_ms: 500 }, 64),
        (FlushPolicy::Sync, 1),
        (FlushPolicy::Sync, 64),
        (FlushPolicy::Sync, 512),
    ] {
        let _ = std::fs::remove_dir_all(&dir);
        let synced = flush == FlushPolicy::Sync;
        let count = if synced { messages.min(20_000 * batch.min(32)) } else { messages };
        run(&dir, flush, batch, count, &body);
    }
    let _ = std::fs::remove_dir_all(&dir);
}

fn rate(what: &str, count: u32, elapsed: Duration) {
    let each = elapsed.as_nanos() as f64 / f64::from(count);
    println!("  {what:<34} {each:>9.0} ns each {:>12.0} /s", 1e9 / each);
}

fn run(dir: &str, flush: FlushPolicy, batch: u32, count: u32, body: &[u8]) {
    let config = StoreConfig { flush, disk_full_ratio: 1.0, disk_clean_ratio: 1.0, ..StoreConfig::default() };
    let disk = RealDisk::new(dir);
    let begun = Instant::now();
    let opened = open(disk.clone(), &config, &mut NoState, &mut |_| {}).unwrap();
    println!("{flush:?}, {batch} messages a write; opened in {:?}", begun.elapsed());
    let Opened { mut store, mut writer, mut keeper, reader, .. } = opened;
    while keeper.prepare(0).unwrap() {}
    let mut spent = Spent::default();
    let begun = Instant::now();
    append_all(&mut store, &mut writer, &mut keeper, &mut spent, (flush, batch, count), body);
    let elapsed = begun.elapsed();
    rate("append", count, spent.append);
    rate("write and sync", count, spent.write);
    rate("keeper (another thread's)", count, spent.keeper);
    rate("append, write, sync", count, elapsed - spent.keeper);
    let job = store.seal(Bytes::new());
    store.sealed(keeper.seal(job).unwrap());
    read_all(&store, &reader, count);
    let counts = disk.counts();
    let of = |kind| counts.get(kind);
    println!(
        "  calls: {} writes, {} syncs, {} reads",
        of(OpKind::Write),
        of(OpKind::SyncData),
        of(OpKind::Read)
    );
    // As after kill -9: nothing was closed.
    drop((store, writer, keeper, reader));
    let begun = Instant::now();
    let opened = open(disk, &config, &mut NoState, &mut |_| {}).unwrap();
    println!("  reopened in {:?}, {} bytes scanned", begun.elapsed(), opened.report.scanned_bytes);
}

#[derive(Default)]
struct Spent {
    append: Duration,
    write: Duration,
    keeper: Duration,
}

fn append_all(
    store: &mut Store,
    writer: &mut Writer<RealDisk>,
    keeper: &mut Keeper<RealDisk>,
    spent: &mut Spent,
    (flush, batch, count): (FlushPolicy, u32, u32),
    body: &[u8],
) {
    let topics = ["TopicTest", "OrderTopic"];
    let properties = b"UNIQ_KEY\x017F000001000018B4AAC2192E0F6A0000\x02WAIT\x01true\x02TAGS\x01TagA\x02CLUSTER\x01DefaultCluster\x02";
    let start = Instant::now();
    let mut out = Vec::new();
    let mut done = 0;
    while done < count {
        let begun = Instant::now();
        for i in done..(done + batch).min(count) {
            let message = NewMessage {
                topic: topics[(i / QUEUES) as usize % 2],
                queue_id: i % QUEUES,
                flag: 0,
                sys_flag: 0,
                born_ms: 1,
                born_host: ([127, 0, 0, 1], 1).into(),
                reconsume_times: 0,
                prepared_transaction_offset: 0,
                body,
                properties,
            };
            std::hint::black_box(store.append(i64::from(i), &message).unwrap());
        }
        done = (done + batch).min(count);
        store.take_writes(&mut out);
        spent.append += begun.elapsed();
        let begun = Instant::now();
        let (written, flushed) = writer.write(&out, flush == FlushPolicy::Sync || done == count).unwrap();
        out.clear();
        spent.write += begun.elapsed();
        let begun = Instant::now();
        store.advance(written, flushed);
        while let Some(visible) = store.next_visible() {
            std::hint::black_box(visible);
        }
        spent.append += begun.elapsed();
        if store.dump_due() {
            store.append_dump(0, &[], true).unwrap();
        }
        let begun = Instant::now();
        if store.seal_due() {
            let job = store.seal(Bytes::new());
            store.take_writes(&mut out);
            let (written, flushed) = writer.write(&out, true).unwrap();
            out.clear();
            store.advance(written, flushed);
            store.sealed(keeper.seal(job).unwrap());
        }
        while keeper.prepare(start.elapsed().as_millis() as i64).unwrap() {}
        spent.keeper += begun.elapsed();
    }
}

fn read_all(store: &Store, reader: &kerolox_store::Reader<RealDisk>, count: u32) {
    let (mut hot, mut cold) = ((0, Duration::ZERO), (0, Duration::ZERO));
    for topic in ["TopicTest", "OrderTopic"] {
        for queue_id in 0..QUEUES {
            let mut from = 0;
            let max = store.bounds(topic, queue_id).unwrap().max;
            while from < max {
                let read = QueueRead {
                    topic: Arc::from(topic),
                    queue_id,
                    from,
                    count_max: 32,
                    bytes_max: 256 << 10,
                    scan_max: 10_000,
                    filter: None,
                };
                let begun = Instant::now();
                let (slice, of) = match store.read_queue(read) {
                    QueueReadOutcome::Done(slice) => (slice, &mut hot),
                    QueueReadOutcome::Cold(plan) => match reader.execute(&plan, 0) {
                        ReadResult::Queue(slice) => (slice, &mut cold),
                        other => panic!("{other:?}"),
                    },
                };
                assert!(slice.count > 0 && slice.damaged.is_empty());
                of.0 += slice.count;
                of.1 += begun.elapsed();
                from = slice.next_offset;
            }
        }
    }
    assert_eq!(hot.0 + cold.0, count);
    if hot.0 > 0 {
        rate(&format!("read hot, 32 at once ({})", hot.0), hot.0, hot.1);
    }
    if cold.0 > 0 {
        rate(&format!("read cold, 32 at once ({})", cold.0), cold.0, cold.1);
    }
}
