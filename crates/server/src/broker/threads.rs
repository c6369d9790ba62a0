//! The threads beside the main loop: the log's writer, the keeper and the readers. Each is told what to do through a
//! queue and reports through [`Report`]s; none decides anything.

use kerolox_broker::ReadId;
use kerolox_store::{
    DiskState, FlushPolicy, Keeper, Position, ReadPlan, ReadResult, Reader, SealJob, Sealed, WriteBatch,
    WriteError, Writer,
};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tokio::sync::mpsc::UnboundedSender;

/// What a thread has to say to the main loop.
pub(crate) enum Report {
    Written { written: Position, flushed: Position },
    WriteFailed { why: String },
    ReadDone { read: ReadId, result: ReadResult },
    Sealed(Sealed),
    Trimmed { min: Position, disk: DiskState },
}

pub(crate) type Reports = UnboundedSender<Report>;

/// The disk that a real broker runs on.
pub(crate) type Disk = kerolox_store::disk::RealDisk;

/// The thread that writes the log. Everything queued while it was busy becomes one write and one sync.
pub(crate) struct WriterThread {
    queue: Arc<WriteQueue>,
    thread: JoinHandle<()>,
}

#[derive(Default)]
struct WriteQueue {
    state: Mutex<WriteState>,
    changed: Condvar,
}

#[derive(Default)]
struct WriteState {
    batches: Vec<WriteBatch>,
    end: bool,
}

impl WriterThread {
    pub(crate) fn start(
        writer: Writer<Disk>,
        policy: FlushPolicy,
        reports: Reports,
    ) -> std::io::Result<Self> {
        let queue = Arc::new(WriteQueue::default());
        let thread = {
            let queue = Arc::clone(&queue);
            std::thread::Builder::new()
                .name("log-writer".into())
                .spawn(move || write_log(writer, policy, &queue, &reports))?
        };
        Ok(Self { queue, thread })
    }

    pub(crate) fn push(&self, batch: WriteBatch) {
        let mut state = lock(&self.queue.state);
        state.batches.push(batch);
        if state.batches.len() == 1 {
            self.queue.changed.notify_one();
        }
    }

    /// Waits until everything is written and synced.
    pub(crate) fn end(self) {
        lock(&self.queue.state).end = true;
        self.queue.changed.notify_one();
        // A panic in the thread has ended the process (panic = abort) or a test.
        let _ = self.thread.join();
    }
}

fn write_log(mut writer: Writer<Disk>, policy: FlushPolicy, queue: &WriteQueue, reports: &Reports) {
    let mut batches = Vec::new();
    let mut unsynced_since: Option<Instant> = None;
    loop {
        let wait = match (policy, unsynced_since) {
            (FlushPolicy::Async { interval_ms }, Some(since)) => {
                Some(Duration::from_millis(interval_ms).saturating_sub(since.elapsed()))
            }
            _ => None,
        };
        let end = queue.take(&mut batches, wait);
        let sync_due = match policy {
            FlushPolicy::Sync => true,
            FlushPolicy::Async { interval_ms } => {
                end || unsynced_since.is_some_and(|s| s.elapsed() >= Duration::from_millis(interval_ms))
            }
        };
        if !batches.is_empty() || (sync_due && unsynced_since.is_some()) {
            unsynced_since = if sync_due { None } else { unsynced_since.or_else(|| Some(Instant::now())) };
            match writer.write(&batches, sync_due) {
                // A main loop that is gone needs no report.
                Ok((written, flushed)) => drop(reports.send(Report::Written { written, flushed })),
                Err(WriteError(why)) => {
                    let _ = reports.send(Report::WriteFailed { why });
                    return;
                }
            }
            batches.clear();
        } else if end {
            return;
        }
    }
}

impl WriteQueue {
    /// Waits until there is something, the end was asked for, or `timeout` is over. True at the end.
    fn take(&self, into: &mut Vec<WriteBatch>, timeout: Option<Duration>) -> bool {
        let mut state = lock(&self.state);
        while state.batches.is_empty() && !state.end {
            state = match timeout {
                None => self.changed.wait(state).unwrap_or_else(PoisonError::into_inner),
                Some(timeout) => {
                    let (state, result) =
                        self.changed.wait_timeout(state, timeout).unwrap_or_else(PoisonError::into_inner);
                    if result.timed_out() {
                        return state.end;
                    }
                    state
                }
            };
        }
        std::mem::swap(&mut state.batches, into);
        state.end
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The thread that prepares segments, seals index runs and lets retention run.
pub(crate) struct KeeperThread {
    jobs: Sender<Job>,
    thread: JoinHandle<Keeper<Disk>>,
}

enum Job {
    Seal(SealJob),
    Grew,
}

/// How often retention looks at the disk, when the log does not grow.
const RETAIN_EVERY: Duration = Duration::from_secs(10);
/// And when it grows: a disk that fills up is to be known before the log needs the room.
const RETAIN_EVERY_BUSY: Duration = Duration::from_millis(250);
/// How often the keeper looks whether there is something to prepare, when the log does not grow.
const PREPARE_EVERY: Duration = Duration::from_secs(1);
/// And when it grows: as often as the frontier wants it.
const PREPARE_EVERY_BUSY: Duration = Duration::from_millis(50);

impl KeeperThread {
    pub(crate) fn start(keeper: Keeper<Disk>, reports: Reports) -> std::io::Result<Self> {
        let (jobs, queue) = channel();
        let thread = std::thread::Builder::new()
            .name("keeper".into())
            .spawn(move || keep(keeper, &queue, &reports))?;
        Ok(Self { jobs, thread })
    }

    pub(crate) fn seal(&self, job: SealJob) {
        // A keeper that is gone has reported why.
        let _ = self.jobs.send(Job::Seal(job));
    }

    /// The log has grown: for a while there is more to look after.
    pub(crate) fn grew(&self) {
        let _ = self.jobs.send(Job::Grew);
    }

    /// Ends the thread after the jobs that it has; gives the keeper back for its clean end.
    pub(crate) fn end(self) -> Option<Keeper<Disk>> {
        drop(self.jobs);
        self.thread.join().ok()
    }
}

fn keep(mut keeper: Keeper<Disk>, jobs: &Receiver<Job>, reports: &Reports) -> Keeper<Disk> {
    let clock = crate::clock::Clock::default();
    let mut retained: Option<Instant> = None;
    let mut more = true;
    let mut grew = Instant::now();
    loop {
        let idle = grew.elapsed() > PREPARE_EVERY;
        let wait = if idle { PREPARE_EVERY } else { PREPARE_EVERY_BUSY };
        let job = match jobs.recv_timeout(if more { Duration::ZERO } else { wait }) {
            Ok(job) => Some(job),
            Err(RecvTimeoutError::Timeout) => None,
            Err(RecvTimeoutError::Disconnected) => return keeper,
        };
        let done = match job {
            Some(Job::Seal(job)) => keeper.seal(job).map(|sealed| drop(reports.send(Report::Sealed(sealed)))),
            Some(Job::Grew) => {
                grew = Instant::now();
                Ok(())
            }
            None => keeper.prepare(clock.now_ms()).map(|again| more = again),
        };
        if let Err(WriteError(why)) = done {
            let _ = reports.send(Report::WriteFailed { why });
            return keeper;
        }
        let retain_every = if idle { RETAIN_EVERY } else { RETAIN_EVERY_BUSY };
        if retained.is_none_or(|at| at.elapsed() >= retain_every) {
            retained = Some(Instant::now());
            let (min, disk) = keeper.retain(clock.now_ms());
            let _ = reports.send(Report::Trimmed { min, disk });
        }
    }
}

/// Threads that execute cold reads.
pub(crate) struct ReaderThreads {
    jobs: Sender<(ReadId, ReadPlan)>,
}

/// Threads that read: enough for a slow read not to hold up the next, few enough not to crowd a disk.
const READERS: usize = 2;

impl ReaderThreads {
    pub(crate) fn start(reader: &Reader<Disk>, reports: &Reports) -> std::io::Result<Self> {
        let (jobs, queue) = channel::<(ReadId, ReadPlan)>();
        let queue = Arc::new(Mutex::new(queue));
        let start = Instant::now();
        for number in 0..READERS {
            let (reader, reports, queue) = (reader.clone(), reports.clone(), Arc::clone(&queue));
            std::thread::Builder::new().name(format!("reader-{number}")).spawn(move || {
                loop {
                    let job = lock(&queue).recv();
                    let Ok((read, plan)) = job else { return };
                    let now_ms = i64::try_from(start.elapsed().as_millis()).unwrap_or(i64::MAX);
                    let _ = reports.send(Report::ReadDone { read, result: reader.execute(&plan, now_ms) });
                }
            })?;
        }
        Ok(Self { jobs })
    }

    pub(crate) fn read(&self, read: ReadId, plan: ReadPlan) {
        // The threads live as long as this sender.
        let _ = self.jobs.send((read, plan));
    }
}
