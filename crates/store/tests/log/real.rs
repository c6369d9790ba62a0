//! The operating system's files, and real threads.

use crate::world::*;
use kerolox_store::disk::RealDisk;
use kerolox_store::{OpenError, QueueReadOutcome, ReadResult, Store, StoreConfig};
use std::path::PathBuf;
use std::sync::mpsc;

/// A directory of its own that goes with the test.
struct Dir(PathBuf);

impl Dir {
    fn new(name: &str) -> Self {
        let dir = std::env::temp_dir().join(format!("kerolox-store-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&dir);
        Self(dir)
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// The machine's own disk may be full for all these tests care.
fn roomy(config: StoreConfig) -> StoreConfig {
    StoreConfig { disk_full_ratio: 1.0, disk_clean_ratio: 1.0, ..config }
}

/// The whole state as an entry stream.
fn whole(store: &Store, state: &Kinds) -> Vec<u8> {
    let mut out = Vec::new();
    store.put_queues(0, usize::MAX, &mut out);
    out.extend(state.stream());
    out
}

#[test]
fn messages_survive_on_real_files() {
    let dir = Dir::new("survive");
    let disk = RealDisk::new(dir.0.join("not/there/yet"));
    let mut w = World::open_with(disk.clone(), &roomy(config()));
    for i in 0..300 {
        w.send("T", i % 2, &format!("{i} {}", "x".repeat(200)));
        w.chores();
    }
    let first = std::fs::metadata(disk.root().join("commitlog/00000000000000000000")).unwrap();
    assert_eq!(first.len(), SEGMENT, "as Apache wants it");
    assert!(disk.root().join("abort").exists());
    let want = w.bodies("T", 1);
    assert_eq!(want.len(), 150);
    // As after kill -9: nothing is closed.
    let World { store, writer, keeper, reader, .. } = w;
    drop((store, writer, keeper, reader));
    let w = World::open_with(disk.clone(), &roomy(config()));
    assert!(!w.report.clean);
    assert_eq!(w.bodies("T", 1), want);
    let disk = w.close();
    assert!(!disk.root().join("abort").exists());
    let w = World::open_with(disk, &roomy(config()));
    assert!(w.report.clean);
    assert_eq!(w.bodies("T", 1), want);
}

#[test]
fn a_second_open_is_refused_with_the_holders_pid() {
    let dir = Dir::new("lock");
    let w = World::open_with(RealDisk::new(&dir.0), &roomy(config()));
    let refused = World::try_open(RealDisk::new(&dir.0), &config()).err().unwrap();
    assert!(matches!(refused, OpenError::Locked(_)));
    let text = refused.to_string();
    assert!(text.contains(&format!("process {}", std::process::id())), "{text}");
    assert!(text.contains(&dir.0.display().to_string()), "{text}");
    drop(w);
    // Gone with its holder.
    World::open_with(RealDisk::new(&dir.0), &roomy(config()));
}

#[test]
fn an_unwritable_place_is_one_clear_line() {
    let dir = Dir::new("file");
    std::fs::write(&dir.0, b"a file").unwrap();
    let refused = World::try_open(RealDisk::new(dir.0.join("data")), &config()).err().unwrap().to_string();
    assert!(refused.starts_with("creating "), "{refused}");
    std::fs::remove_file(&dir.0).unwrap();
}

/// Writer, keeper and readers on threads of their own, segments recycled under them: everything that was acknowledged
/// and is not expired comes back as it was sent.
#[test]
fn threads_do_not_step_on_each_other() {
    let dir = Dir::new("threads");
    let small = StoreConfig {
        segment_bytes: 256 << 10,
        run_bytes: 64 << 10,
        tail_bytes: 32 << 10,
        ahead_bytes: 128 << 10,
        retention_ms: 400,
        ..roomy(config())
    };
    let w = World::open_with(RealDisk::new(&dir.0), &small);
    let World { disk, mut store, mut writer, mut keeper, reader, mut now, state, .. } = w;
    let (to_writer, batches) = mpsc::channel::<Vec<kerolox_store::WriteBatch>>();
    let (to_keeper, jobs) = mpsc::channel::<Option<kerolox_store::SealJob>>();
    let (to_readers, plans) = mpsc::channel::<kerolox_store::ReadPlan>();
    let (to_main, reports) = mpsc::channel::<Report>();
    enum Report {
        Written(u64, u64),
        Sealed(kerolox_store::Sealed),
        Trimmed(u64, kerolox_store::DiskState),
    }
    let tell = to_main.clone();
    let writing = std::thread::spawn(move || {
        for batch in batches {
            let (written, flushed) = writer.write(&batch, true).unwrap();
            tell.send(Report::Written(written, flushed)).unwrap();
        }
    });
    let tell = to_main;
    let keeping = std::thread::spawn(move || {
        let mut clock = 1000;
        for job in jobs {
            clock += 25;
            while keeper.prepare(clock).unwrap() {}
            if let Some(job) = job {
                tell.send(Report::Sealed(keeper.seal(job).unwrap())).unwrap();
            }
            let (min, disk) = keeper.retain(clock);
            tell.send(Report::Trimmed(min, disk)).unwrap();
        }
        keeper
    });
    let reading = std::thread::spawn(move || {
        let mut served = 0;
        for plan in plans {
            let ReadResult::Queue(slice) = reader.execute(&plan, 0) else { panic!() };
            assert!(slice.damaged.is_empty(), "{:?}", slice.damaged);
            for view in views(&slice.records) {
                assert_eq!(view.body.len(), 300 + (view.queue_offset % 700) as usize);
                assert!(view.body.iter().all(|b| *b == view.queue_offset as u8));
                served += 1;
            }
        }
        served
    });
    let mut out = Vec::new();
    let mut pending: Option<kerolox_store::SealJob> = None;
    let mut trimmed = 0;
    for round in 0..2000u64 {
        for _ in 0..4 {
            now += 1;
            append(&mut store, now);
        }
        if store.dump_due() {
            store.append_dump(now, &whole(&store, &state), true).unwrap();
        }
        if pending.is_none() && store.seal_due() {
            pending = Some(store.seal(bytes::Bytes::from(whole(&store, &state))));
        }
        store.take_writes(&mut out);
        to_writer.send(std::mem::take(&mut out)).unwrap();
        while let Ok(report) =
            if round % 8 == 7 { reports.recv().map_err(|_| ()) } else { reports.try_recv().map_err(|_| ()) }
        {
            match report {
                Report::Written(written, flushed) => store.advance(written, flushed),
                Report::Sealed(sealed) => store.sealed(sealed),
                Report::Trimmed(min, disk) => {
                    trimmed = min;
                    store.trimmed(min, disk);
                }
            }
            if round % 8 == 7 && store.watermarks().appended == store.watermarks().flushed {
                break;
            }
        }
        let ready = pending.take_if(|job| job.position <= store.watermarks().flushed);
        to_keeper.send(ready).unwrap();
        let from = store.bounds("T", 0).map_or(0, |b| b.min + (round * 37) % (b.max - b.min).max(1));
        let read = kerolox_store::QueueRead { from, count_max: 16, ..read("T", 0) };
        if let QueueReadOutcome::Cold(plan) = store.read_queue(read) {
            to_readers.send(plan).unwrap();
        }
    }
    drop((to_writer, to_keeper, to_readers));
    writing.join().unwrap();
    drop(keeping.join().unwrap());
    let served = reading.join().unwrap();
    assert!(served > 1000, "{served}");
    assert!(trimmed > 0, "retention took part");
    drop(store);
    let w = World::open_with(disk, &small);
    let bounds = w.store.bounds("T", 0).unwrap();
    assert_eq!(bounds.max, 8000);
    let (messages, damaged) = w.all_by("T", 0, 64);
    assert!(damaged.is_empty());
    assert_eq!(messages.len() as u64, bounds.max - bounds.min);
}

fn append(store: &mut Store, now: i64) {
    // The body says which offset it must have.
    let offset = (now - 1001) as u64;
    let body = vec![offset as u8; 300 + (offset % 700) as usize];
    let appended = store
        .append(
            now,
            &kerolox_store::NewMessage {
                topic: "T",
                queue_id: 0,
                flag: 0,
                sys_flag: 0,
                born_ms: now,
                born_host: "1.2.3.4:5".parse().unwrap(),
                reconsume_times: 0,
                prepared_transaction_offset: 0,
                body: &body,
                properties: b"",
            },
        )
        .unwrap();
    assert_eq!(appended.queue_offset, offset);
}
