//! The threads beside the main loop: the log's writer, the keeper and the readers. Each is told what to do through a
//! queue and reports through [`Report`]s; none decides anything.

use crate::clock::elapsed_ms;
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
        mut writer: Writer<Disk>,
        policy: FlushPolicy,
        reports: Reports,
    ) -> std::io::Result<Self> {
        let queue = Arc::new(WriteQueue::default());
        let thread = {
            let queue = Arc::clone(&queue);
            std::thread::Builder::new().name("log-writer".into()).spawn(move || {
                write_log(|batches, sync| writer.write(batches, sync), policy, &queue, &reports)
            })?
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

/// How long what is written may wait for a sync to begin: not at all, or, under asynchronous flush, for half of the
/// interval, so that a sync that takes no longer than the other half ends within it.
fn sync_after(policy: FlushPolicy) -> Duration {
    match policy {
        FlushPolicy::Sync => Duration::ZERO,
        FlushPolicy::Async { interval_ms } => Duration::from_millis(interval_ms) / 2,
    }
}

/// Nothing is reported, and so nothing acknowledged, while what was written before waits for a sync that is due, however
/// long the disk takes: a power cut costs at most what was acknowledged in one interval.
/// `write` is [`Writer::write`].
fn write_log(
    mut write: impl FnMut(&[WriteBatch], bool) -> Result<(Position, Position), WriteError>,
    policy: FlushPolicy,
    queue: &WriteQueue,
    reports: &Reports,
) {
    let sync_after = sync_after(policy);
    let mut batches = Vec::new();
    let mut unsynced_since: Option<Instant> = None;
    loop {
        let end = queue.take(&mut batches, unsynced_since.map(|s| sync_after.saturating_sub(s.elapsed())));
        if !batches.is_empty() {
            unsynced_since.get_or_insert_with(Instant::now);
        }
        let Some(since) = unsynced_since else {
            if end {
                return;
            }
            continue;
        };
        // The write alone may take longer than the interval: it is over when this looks at the time.
        let mut done = write(&batches, false);
        if done.is_ok() && (end || since.elapsed() >= sync_after) {
            unsynced_since = None;
            done = write(&[], true);
        }
        match done {
            // A main loop that is gone needs no report.
            Ok((written, flushed)) => drop(reports.send(Report::Written { written, flushed })),
            Err(WriteError(why)) => {
                let _ = reports.send(Report::WriteFailed { why });
                return;
            }
        }
        batches.clear();
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
        // Before anything is prepared, too: on a full disk that may be what makes room.
        let retain_every = if idle { RETAIN_EVERY } else { RETAIN_EVERY_BUSY };
        if retained.is_none_or(|at| at.elapsed() >= retain_every) {
            retained = Some(Instant::now());
            let (min, disk) = keeper.retain(clock.now_ms());
            let _ = reports.send(Report::Trimmed { min, disk });
        }
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
        for number in 0..READERS {
            let (reader, reports, queue) = (reader.clone(), reports.clone(), Arc::clone(&queue));
            std::thread::Builder::new().name(format!("reader-{number}")).spawn(move || {
                loop {
                    let job = lock(&queue).recv();
                    let Ok((read, plan)) = job else { return };
                    let result = reader.execute(&plan, elapsed_ms());
                    let _ = reports.send(Report::ReadDone { read, result });
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

#[cfg(test)]
mod tests {
    use super::*;

    /// Found by power cuts on a machine with too much to do: what a slow write had held up was acknowledged, though what
    /// was written before it had waited for its sync for longer than the interval.
    #[test]
    fn a_write_that_outlasts_the_interval_is_synced_before_it_is_acknowledged() {
        let policy = FlushPolicy::Async { interval_ms: 100 };
        let (reports, mut said) = tokio::sync::mpsc::unbounded_channel();
        let queue = WriteQueue::default();
        let push = |position| {
            let batch = WriteBatch { position, bytes: vec![0; 10].into() };
            lock(&queue.state).batches.push(batch);
        };
        push(0);
        let (mut written, mut flushed) = (0, 0);
        let write = |batches: &[WriteBatch], sync: bool| {
            // The second write is one that the disk takes its time for, and the last one.
            if batches.first().is_some_and(|batch| batch.position == 10) {
                std::thread::sleep(sync_after(policy));
                lock(&queue.state).end = true;
            } else if !batches.is_empty() {
                push(10);
            }
            written = batches.last().map_or(written, WriteBatch::end);
            flushed = if sync { written } else { flushed };
            Ok((written, flushed))
        };
        write_log(write, policy, &queue, &reports);
        let mut marks = Vec::new();
        while let Ok(Report::Written { written, flushed }) = said.try_recv() {
            marks.push((written, flushed));
        }
        assert_eq!(marks, [(10, 0), (20, 20)]);
    }
}
