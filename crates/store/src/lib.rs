//! What is kept: the CommitLog, everything derived from it, and the one [`disk::Disk`] trait under both.
//!
//! [`open`] recovers a data directory and hands out four parts:
//! [`Store`] (memory only: the state machine's half), and the halves that touch the disk and belong to the
//! shell's threads: [`Writer`], [`Keeper`] and [`Reader`].
//!
//! In reading order: `store` appends and answers from memory, `log` is where the bytes go (write buffer, segments,
//! writer, the durable frontier), `queue` and `index` are what is derived from them, `state` are the records that
//! carry everything that is not a message, `recovery` puts it all together again, `keeper` and `retention` work in the
//! background, `reader` executes what memory cannot answer.

use bytes::Bytes;
use std::sync::Arc;

pub mod disk;
mod index;
mod keeper;
mod log;
mod look;
mod plan;
mod queue;
mod reader;
mod recovery;
mod retention;
mod snapshot;
pub mod state;
mod store;
mod unreadable;

pub use keeper::Keeper;
pub use log::{WriteBatch, WriteError, Writer};
pub use look::{
    ConfigFile, Fault, Look, Mend, Origin, Part, Plan, QueueStat, Seen, Stat, Tail, TopicStat, Verified,
    config_files,
};
pub use plan::ReadPlan;
pub use reader::Reader;
pub use recovery::{OpenError, Progress, Report, StateFold, open};
pub use store::{
    AppendError, Appended, NewMessage, SNAPSHOT_BYTES_MAX, SealJob, Sealed, Store, TopicRetention, Visible,
};

/// A byte position in the log since its beginning; never reused for other bytes once confirmed.
pub type Position = u64;

/// The topic of state records. Clients can neither write nor read it.
pub const STATE_TOPIC: &str = "rmq_sys_kerolox_state";

/// When an append counts as safe.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FlushPolicy {
    /// Confirmed when it is on stable storage.
    Sync,
    /// Confirmed when it is in the operating system's cache; synced at least every `interval_ms` (by the shell, which
    /// calls [`Writer::write`] with `sync`).
    Async { interval_ms: u64 },
}

/// Sizes and limits of a store. [`StoreConfig::default`] is what production uses.
#[derive(Debug, Clone)]
pub struct StoreConfig {
    /// Size of a log segment in bytes: Apache's `mappedFileSizeCommitLog`, default 1 GiB. Counts for a new log only: an
    /// existing one keeps the size it began with, because names of segments are multiples of it.
    pub segment_bytes: u64,
    pub flush: FlushPolicy,
    /// An index run is sealed when the log has grown by this much: default 64 MiB.
    pub run_bytes: u64,
    /// Recently appended log bytes that are kept in memory for readers: default 64 MiB.
    pub tail_bytes: usize,
    /// How far ahead of the writer the log is prepared (blocks written, frontier moved): default 32 MiB. It is also
    /// about the most that recovery after a crash reads and erases beyond the end of the log.
    pub ahead_bytes: u64,
    /// Bytes appended but not yet written at which messages are refused, and state at a quarter more: default 256 MiB.
    pub backlog_bytes_max: u64,
    /// Largest message body: Apache's `maxMessageSize`, default 4 MiB.
    pub message_bytes_max: usize,
    /// Retention by time: Apache's `fileReservedTime`, default 72 h.
    pub retention_ms: i64,
    /// Retention by size: the oldest segments go while at least so many bytes of the log are left. Default: never.
    pub retention_bytes: u64,
    /// Disk use (0.0–1.0 of the file system) above which the oldest segments go before their time: default 0.85
    /// (Apache's `diskSpaceCleanForciblyRatio`).
    pub disk_clean_ratio: f64,
    /// Disk use above which messages are refused: default 0.90 (Apache's `diskSpaceWarningLevelRatio`).
    pub disk_full_ratio: f64,
    /// Address that records carry as the place where they are stored; part of offset message ids.
    pub store_host: std::net::SocketAddr,
}

impl Default for StoreConfig {
    fn default() -> Self {
        Self::new(([127, 0, 0, 1], 10911).into())
    }
}

impl StoreConfig {
    /// Defaults for a broker with that address.
    pub fn new(store_host: std::net::SocketAddr) -> Self {
        Self {
            segment_bytes: 1 << 30,
            flush: FlushPolicy::Sync,
            run_bytes: 64 << 20,
            tail_bytes: 64 << 20,
            ahead_bytes: 32 << 20,
            backlog_bytes_max: 256 << 20,
            message_bytes_max: 4 << 20,
            retention_ms: 72 * 3600 * 1000,
            retention_bytes: u64::MAX,
            disk_clean_ratio: 0.85,
            disk_full_ratio: 0.90,
            store_host,
        }
    }
}

/// Byte positions that rule the log; see `ARCHITECTURE.md`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Watermarks {
    pub appended: Position,
    pub written: Position,
    pub flushed: Position,
    pub confirmed: Position,
}

/// What consumers can see of a queue: offsets `min..max`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    pub min: u64,
    pub max: u64,
}

/// Which messages of a queue a reader wants. `tag` is asked first (cheap, from the queue entry), then `record` with
/// the record's bytes (whole, as in the log); both may let too much through, never too little.
pub trait Filter: Send + Sync {
    fn tag(&self, tag_code: i64) -> bool;
    fn record(&self, _record: &[u8]) -> bool {
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

impl QueueRead {
    /// The message at an offset, and no other.
    pub fn one(topic: Arc<str>, queue_id: u32, offset: u64) -> Self {
        Self { topic, queue_id, from: offset, count_max: 1, bytes_max: 1, scan_max: 1, filter: None }
    }
}

/// Bytes of the log below the durable frontier that are no record (any more): quarantined, never served.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Damage {
    pub position: Position,
    pub bytes: u64,
    /// Topic, queue id and queue offset of the record, as far as they can still be told (and then perhaps wrongly).
    pub record: Option<(String, u32, u64)>,
    pub why: String,
}

/// Messages of one queue, as clients decode them (the storage CRC property is taken off).
#[derive(Debug, Clone, Default)]
pub struct QueueSlice {
    pub records: Bytes,
    pub count: u32,
    /// Where to go on: past everything looked at, matching or not.
    pub next_offset: u64,
    /// Records that should be there and are damaged on disk; they were passed over.
    pub damaged: Vec<Damage>,
}

/// A message of a queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    pub topic: Arc<str>,
    pub queue_id: u32,
    pub offset: u64,
}

/// What the index knows of a message of a queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QueueEntry {
    pub offset: u64,
    pub position: Position,
    /// Bytes of its record.
    pub size: u32,
    /// The code of its tags; of a timer message, when it is due.
    pub tag_code: i64,
}

#[derive(Debug, Clone)]
pub enum ReadResult {
    Queue(QueueSlice),
    /// Whole records as clients decode them, in the order asked for; `None` where there is none (any more) or it is
    /// damaged.
    Records(Vec<Option<Bytes>>),
    /// Answer of [`Store::plan_entries`].
    Entries(Vec<QueueEntry>),
    /// Answer of [`Store::plan_search_time`].
    Offset(u64),
    /// Answer of [`Store::read_times`] and [`Store::plan_first_time`].
    Times(Vec<Option<i64>>),
    /// The disk refused something, and why: nothing is said of what was asked, which may be asked again.
    Failed(String),
}

pub enum QueueReadOutcome {
    Done(QueueSlice),
    Cold(ReadPlan),
}

pub enum TimesOutcome {
    /// In the order asked for: when the message was stored; `None` where there is none (any more), it is not visible yet, or
    /// damaged.
    Done(Vec<Option<i64>>),
    Cold(ReadPlan),
}

/// Which end of equal timestamps a search by time wants (Apache's `BoundaryType`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Boundary {
    Lower,
    Upper,
}

/// What the keeper measured.
#[derive(Debug, Clone, Default)]
pub struct DiskState {
    /// Room in the file system; `None` while it was not measured.
    pub space: Option<disk::Space>,
    /// Used part of the file system, 0.0 to 1.0.
    pub used_ratio: f64,
    /// Why messages are refused, if they are.
    pub full: Option<String>,
    /// Retention would take the log up to here, were it not for [`Store::need_from`].
    pub wanted: Option<Position>,
    /// It waits for a later dump of the state, and the log may not grow by as much as makes one due.
    pub dump_wanted: bool,
    /// Why it cannot take what is to go.
    pub stuck: Option<String>,
    /// What it took now.
    pub gone: Vec<Gone>,
}

/// A segment that retention took.
#[derive(Debug, Clone, PartialEq)]
pub struct Gone {
    pub from: Position,
    pub to: Position,
    pub why: WhyGone,
}

/// Why a segment went.
#[derive(Debug, Clone, PartialEq)]
pub enum WhyGone {
    /// Its newest message was stored longer ago than [`StoreConfig::retention_ms`] (or what [`Store::retain_for`] says).
    Expired { newest_ms: i64 },
    /// The log had so many bytes, of which [`StoreConfig::retention_bytes`] are left.
    Bytes { log_bytes: u64 },
    /// So much of the disk was in use, more than [`StoreConfig::disk_clean_ratio`].
    Room { used_ratio: f64 },
}

/// What [`open`] gives.
pub struct Opened<D: disk::Disk> {
    pub store: Store,
    pub writer: Writer<D>,
    pub keeper: Keeper<D>,
    pub reader: Reader<D>,
    pub report: Report,
}
