//! Reads that memory cannot answer, packed so that any thread can execute them without the state machine.

use crate::index::RunFacts;
use crate::index::keys::Key;
use crate::queue::Entry;
use crate::{Boundary, Position, QueueRead};
use std::collections::BTreeMap;
use std::sync::Arc;

/// A self-contained read, for [`crate::Reader::execute`].
pub struct ReadPlan {
    pub(crate) work: Work,
    /// Nothing from here on may be seen.
    pub(crate) confirmed: Position,
}

impl ReadPlan {
    /// Bytes of messages that its result will bring, roughly: for those who count what is under way.
    pub fn answer_bytes(&self) -> usize {
        match &self.work {
            Work::Queue { read, .. } => read.bytes_max as usize,
            Work::Records { positions, bytes_max } => (positions.len() * RECORD_BYTES_GUESS).min(*bytes_max),
            // No bytes, but work: it counts like a message.
            Work::Entries { .. } | Work::SearchTime { .. } | Work::Times(_) | Work::FirstTime => {
                RECORD_BYTES_GUESS
            }
            Work::QueryKey { count_max, .. } => (count_max * RECORD_BYTES_GUESS).min(KEY_ANSWER_BYTES_MAX),
        }
    }
}

/// A message whose size is not known before it is read.
const RECORD_BYTES_GUESS: usize = 64 << 10;
/// Bytes of the messages found by a key, from which on no further ones are added: clients refuse frames above 16 MiB.
pub(crate) const KEY_ANSWER_BYTES_MAX: usize = 8 << 20;

pub(crate) enum Work {
    Queue {
        read: QueueRead,
        /// Offset to go on with after all pieces.
        end: u64,
        pieces: Vec<PlanPiece>,
    },
    Records {
        positions: Vec<Position>,
        /// With so many bytes it ends, after any record.
        bytes_max: usize,
    },
    Entries {
        topic: Arc<str>,
        queue_id: u32,
        pieces: Vec<PlanPiece>,
    },
    SearchTime {
        topic: Arc<str>,
        queue_id: u32,
        time_ms: i64,
        boundary: Boundary,
        min: u64,
        max: u64,
        pieces: Vec<PlanPiece>,
    },
    Times(Vec<TimeOf>),
    /// When the first record of the log was stored.
    FirstTime,
    QueryKey {
        topic: String,
        key: String,
        hash: u64,
        count_max: usize,
        from_ms: i64,
        to_ms: i64,
        /// In order of position, all behind the runs.
        chunks: Vec<Arc<Vec<Key>>>,
        runs: Arc<BTreeMap<Position, Arc<RunFacts>>>,
    },
}

/// When a message was stored, or where that can be read.
pub(crate) enum TimeOf {
    Known(Option<i64>),
    /// The first one of the piece, which has no other.
    Record {
        topic: Arc<str>,
        queue_id: u32,
        piece: PlanPiece,
    },
}

/// Consecutive offsets of a queue, and where their entries are.
#[derive(Clone)]
pub(crate) struct PlanPiece {
    pub(crate) first: u64,
    pub(crate) count: u32,
    pub(crate) entries: PlanEntries,
}

#[derive(Clone)]
pub(crate) enum PlanEntries {
    /// From index `skip` on.
    Memory { entries: Arc<Vec<Entry>>, skip: usize },
    /// From entry `skip` on of the `row_count` entries that lie at `at` in the run's file; the row begins with `row_first`.
    Disk { run: Arc<RunFacts>, at: u64, row_count: u32, skip: u32, row_first: u64 },
}
