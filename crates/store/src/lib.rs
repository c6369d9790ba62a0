//! What is kept: the CommitLog, everything derived from it, and the one [`disk::Disk`] trait under both.
//!
//! [`open`] recovers a data directory and hands out four parts:
//! [`Store`] (memory only: the state machine's half), and the halves that touch the disk and belong to the
//! shell's threads: [`Writer`], [`Keeper`] and [`Reader`].
#![allow(unused_variables, dead_code)] // STUB: goes with the implementation

use bytes::Bytes;
use std::sync::Arc;

/// A byte position in the log since its beginning; never reused for other bytes once confirmed.
pub type Position = u64;

/// The topic of state records. Clients can neither write nor read it.
pub const STATE_TOPIC: &str = "rmq_sys_kerolox_state";

/// When an append counts as safe.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FlushPolicy {
    /// Confirmed when it is on stable storage.
    Sync,
    /// Confirmed when it is in the operating system's cache; synced at least every `interval_ms`.
    Async { interval_ms: u64 },
}

#[derive(Debug, Clone)]
pub struct StoreConfig {
    /// Size of a log segment in bytes: Apache's `mappedFileSizeCommitLog`, default 1 GiB.
    pub segment_bytes: u64,
    pub flush: FlushPolicy,
    /// An index run is sealed when the log has grown by this much: default 64 MiB.
    pub run_bytes: u64,
    /// Recently appended log bytes that are kept in memory for readers: default 64 MiB.
    pub tail_bytes: usize,
    /// Bytes appended but not yet written at which appends are refused: default 256 MiB.
    pub backlog_bytes_max: u64,
    /// Largest message body: Apache's `maxMessageSize`, default 4 MiB.
    pub message_bytes_max: usize,
    /// Retention by time: Apache's `fileReservedTime`, default 72 h.
    pub retention_ms: i64,
    /// Disk use (0.0–1.0 of the file system) above which whole expired segments go early / oldest go / writes are refused.
    pub disk_clean_ratio: f64,
    pub disk_full_ratio: f64,
    /// Whether every record carries a CRC over all of itself (as Apache's `enabledAppendPropCRC`). Always on.
    pub store_host: std::net::SocketAddr,
}

/// Byte positions that rule the log; see `ARCHITECTURE.md`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Watermarks {
    pub appended: Position,
    pub written: Position,
    pub flushed: Position,
    pub confirmed: Position,
}

/// A message to be appended. `properties` is the encoded property string (`name\x01value\x02…`), without a CRC property.
#[derive(Debug, Clone)]
pub struct NewMessage<'a> {
    pub topic: &'a str,
    pub queue_id: u32,
    pub flag: i32,
    pub sys_flag: i32,
    pub born_ms: i64,
    pub born_host: std::net::SocketAddr,
    pub reconsume_times: i32,
    pub prepared_transaction_offset: i64,
    pub body: &'a [u8],
    pub properties: &'a [u8],
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Appended {
    pub position: Position,
    /// Position just behind the record: the ack waits until `confirmed` reaches it.
    pub end: Position,
    pub queue_offset: u64,
    pub store_ms: i64,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AppendError {
    #[error("body of {0} bytes exceeds the limit of {1}")]
    BodyTooLarge(usize, usize),
    #[error("properties of {0} bytes exceed the limit of {1}")]
    PropertiesTooLarge(usize, usize),
    #[error("{0} bytes wait to be written; the disk does not keep up")]
    Backlog(u64),
    #[error("the disk is full: {0}")]
    DiskFull(String),
    #[error("the log is fenced: {0}")]
    Fenced(String),
}

/// Bytes for the writer, in log order. They never cross a segment boundary.
#[derive(Debug, Clone)]
pub struct WriteBatch {
    pub position: Position,
    pub bytes: Bytes,
}

/// One entry of a queue that became visible to consumers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Visible {
    pub topic: Arc<str>,
    pub queue_id: u32,
    pub offset: u64,
    pub tag_code: i64,
}

/// What consumers can see of a queue: offsets `min..max`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    pub min: u64,
    pub max: u64,
}

/// Which messages of a queue a reader wants. `tag` is asked first (cheap, from the queue entry), then `record` with
/// the record's bytes; both may let too much through, never too little.
pub trait Filter: Send + Sync {
    fn tag(&self, tag_code: i64) -> bool;
    fn record(&self, record: &[u8]) -> bool {
        true
    }
}

#[derive(Clone)]
pub struct QueueRead {
    pub topic: Arc<str>,
    pub queue_id: u32,
    pub from: u64,
    pub count_max: u32,
    /// Stop before the answer exceeds this, but give at least one message.
    pub bytes_max: u32,
    /// Look at no more queue entries than this.
    pub scan_max: u32,
    /// `None`: all messages.
    pub filter: Option<Arc<dyn Filter>>,
}

/// Messages of one queue, as clients decode them (the storage CRC property is taken off).
#[derive(Debug, Clone, Default)]
pub struct QueueSlice {
    pub records: Bytes,
    pub count: u32,
    /// Where to go on: past everything looked at, matching or not.
    pub next_offset: u64,
    /// Records that should be there and are damaged on disk; they were passed over.
    pub damaged: Vec<Position>,
}

/// A read that memory cannot answer, self-contained, for [`Reader::execute`].
pub struct ReadPlan {
    _private: (),
}

#[derive(Debug, Clone)]
pub enum ReadResult {
    Queue(QueueSlice),
    /// Whole records in the order asked for; `None` where there is none (any more) or it is damaged.
    Records(Vec<Option<Bytes>>),
    /// Answer of [`Store::plan_search_time`].
    Offset(u64),
    Failed(String),
}

pub enum QueueReadOutcome {
    Done(QueueSlice),
    Cold(ReadPlan),
}

/// Which end of equal timestamps a search by time wants (Apache's `BoundaryType`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Boundary {
    Lower,
    Upper,
}

/// The store as the state machine sees it: memory only, no IO, no clock.
pub struct Store {
    _private: (),
}

impl Store {
    /// Appends a message: assigns its position and queue offset, encodes it into the write buffer. It becomes
    /// visible and acknowledgeable when `confirmed` passes [`Appended::end`].
    pub fn append(&mut self, now_ms: i64, message: &NewMessage<'_>) -> Result<Appended, AppendError> {
        todo!()
    }
    /// Appends a state record: `entries` is a [`state`] entry stream of at most 1 MiB.
    pub fn append_state(&mut self, now_ms: i64, entries: &[u8]) -> Result<Appended, AppendError> {
        todo!()
    }
    /// The log has entered a segment that has no dump of the whole state yet: the owner of the state should append
    /// one now, through [`Store::append_dump`].
    pub fn dump_due(&self) -> bool {
        todo!()
    }
    /// Appends the whole state (an entry stream of any length, split into records as needed) together with the
    /// store's own part of it (next offset of every queue).
    pub fn append_dump(&mut self, now_ms: i64, entries: &[u8]) -> Result<Appended, AppendError> {
        todo!()
    }
    /// Forgets all queues of a topic (its messages stay in the log until retention takes them). Appends the state entry.
    pub fn delete_topic(&mut self, now_ms: i64, topic: &str) -> Result<Appended, AppendError> {
        todo!()
    }
    pub fn watermarks(&self) -> Watermarks {
        todo!()
    }
    /// Everything appended since the last call.
    pub fn take_writes(&mut self, out: &mut Vec<WriteBatch>) {
        todo!()
    }
    /// The writer says how far it has written, and how far it has synced.
    pub fn advance(&mut self, written: Position, flushed: Position) {
        todo!()
    }
    /// No append succeeds from now on.
    pub fn fence(&mut self, why: &str) {
        todo!()
    }
    /// The next message that became visible since the last call, in log order.
    pub fn next_visible(&mut self) -> Option<Visible> {
        todo!()
    }
    /// `None` for a queue that never had a message (its bounds are then 0..0).
    pub fn bounds(&self, topic: &str, queue_id: u32) -> Option<Bounds> {
        todo!()
    }
    pub fn read_queue(&self, read: QueueRead) -> QueueReadOutcome {
        todo!()
    }
    /// Whole records by position (any position may be asked for: what is not the start of a record gives `None`).
    pub fn plan_records(&self, positions: Vec<Position>) -> ReadPlan {
        todo!()
    }
    /// Offset of the first message stored at or after `time_ms` (`Lower`), or of the last one at or before it (`Upper`);
    /// clamped to the queue's bounds as Apache does.
    pub fn plan_search_time(&self, topic: &str, queue_id: u32, time_ms: i64, boundary: Boundary) -> ReadPlan {
        todo!()
    }
    /// Records of a topic whose KEYS or unique id contain `key`, newest first, stored in `from_ms..=to_ms`.
    pub fn plan_query_key(&self, topic: &str, key: &str, count_max: u32, from_ms: i64, to_ms: i64) -> ReadPlan {
        todo!()
    }
    /// Whether it is time to seal the open index run; if so [`Store::seal`] should be called.
    pub fn seal_due(&self) -> bool {
        todo!()
    }
    /// Closes the open run at `appended`; `state` is the whole state as of now (entry stream). The job belongs to
    /// [`Keeper::seal`] once `flushed` has reached [`SealJob::position`].
    pub fn seal(&mut self, state: Bytes) -> SealJob {
        todo!()
    }
    /// The keeper wrote that run: its entries can be read from disk and leave memory.
    pub fn sealed(&mut self, run: Sealed) {
        todo!()
    }
    /// The keeper measured the disk and decided: the log now begins at `min`.
    pub fn trimmed(&mut self, min: Position, disk: DiskState) {
        todo!()
    }
}

pub struct SealJob {
    pub position: Position,
}

pub struct Sealed {
    _private: (),
}

#[derive(Debug, Clone, Default)]
pub struct DiskState {
    pub used_ratio: f64,
    /// Why appends are refused, if they are.
    pub full: Option<String>,
}

/// The log's writer: owned by one thread.
pub struct Writer<D> {
    disk: D,
}

impl<D> Writer<D> {
    /// Writes and, with `sync`, makes durable all batches (in order, contiguous). On success says how far.
    ///
    /// # Errors
    /// Any failed or short write or failed sync: the writer is fenced for ever, nothing of the batches counts.
    pub fn write(&mut self, batches: &[WriteBatch], sync: bool) -> Result<(Position, Position), WriteError> {
        todo!()
    }
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the log is fenced: {0}")]
pub struct WriteError(pub String);

/// Work in the background: owned by one thread, called every second or so and when there is a job.
pub struct Keeper<D> {
    disk: D,
}

impl<D> Keeper<D> {
    /// Prepares segments ahead of the writer in bounded steps; true if there is more to do right now.
    pub fn prepare(&mut self) -> Result<bool, WriteError> {
        todo!()
    }
    pub fn seal(&mut self, job: SealJob) -> Result<Sealed, WriteError> {
        todo!()
    }
    /// Deletes (or recycles) what retention allows; the new beginning of the log.
    pub fn retain(&mut self, now_ms: i64) -> (Position, DiskState) {
        todo!()
    }
    /// Clean end: everything synced, `abort` removed.
    pub fn close(&mut self) -> Result<(), WriteError> {
        todo!()
    }
}

/// Executes read plans; cheap to clone, for any thread.
pub struct Reader<D> {
    disk: D,
}

impl<D> Reader<D> {
    pub fn execute(&self, plan: &ReadPlan) -> ReadResult {
        todo!()
    }
}

/// The owner of the state that lives in state records, during recovery.
pub trait StateFold {
    /// Forget everything: a whole dump follows.
    fn reset(&mut self);
    /// One entry. `kind` is 16 or above (lower ones are the store's own).
    fn apply(&mut self, kind: u8, payload: &[u8]) -> Result<(), String>;
}

/// Entry streams: `kind u8 | length u32 BE | payload`, repeated.
pub mod state {
    /// Bytes of an entry before its payload.
    pub const HEAD_BYTES: usize = 5;

    /// Appends one entry.
    pub fn put(out: &mut Vec<u8>, kind: u8, payload: &[u8]) {
        out.push(kind);
        out.extend_from_slice(&(payload.len() as u32).to_be_bytes());
        out.extend_from_slice(payload);
    }
    /// The entries of a stream; `Err` with the byte offset where it is malformed.
    pub fn entries(stream: &[u8]) -> impl Iterator<Item = Result<(u8, &[u8]), usize>> {
        std::iter::empty()
    }
}

/// Steps of recovery, for a progress line.
#[derive(Debug, Clone, Copy)]
pub struct Progress {
    pub step: &'static str,
    pub done: u64,
    pub total: u64,
}

/// What recovery found and did.
#[derive(Debug, Clone, Default)]
pub struct Report {
    pub clean: bool,
    pub log_min: Position,
    pub log_max: Position,
    /// Bytes above the durable frontier that were cut off.
    pub truncated_bytes: u64,
    /// Records below the frontier that are damaged: quarantined.
    pub damaged: Vec<Position>,
}

pub struct Opened<D> {
    pub store: Store,
    pub writer: Writer<D>,
    pub keeper: Keeper<D>,
    pub reader: Reader<D>,
    pub report: Report,
}
