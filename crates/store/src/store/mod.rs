//! The store as the state machine sees it.

mod append;
mod expire;
mod read;
mod seal;

pub(crate) use append::is_queued;
pub use append::{AppendError, Appended, NewMessage};
pub use expire::TopicRetention;
pub(crate) use read::{Gather, Next};
pub use seal::{SNAPSHOT_BYTES_MAX, SealJob, Sealed};

use crate::index::{Index, RunDraft};
use crate::log::{Room, Tail, WriteBatch};
use crate::queue::QueueIndex;
use crate::{Bounds, DiskState, FlushPolicy, Position, StoreConfig, Watermarks};
use std::cell::Cell;
use std::collections::VecDeque;
use std::sync::Arc;

/// Pieces of queues that are forgotten at once when retention took their runs: about a millisecond.
const FORGET_AT_ONCE: usize = 10_000;

/// The store as the state machine sees it: memory only, no IO, no clock.
pub struct Store {
    config: StoreConfig,
    index: Index,
    tail: Tail,
    /// Where the segment ends that `appended` is in.
    segment_end: Position,
    marks: Watermarks,
    /// Offset of the next state record.
    state_next: u64,
    /// Appended messages that are not confirmed yet, in log order.
    unconfirmed: VecDeque<Unconfirmed>,
    /// Confirmed messages that nobody was told of yet.
    visible: VecDeque<(QueueIndex, u64, i64)>,
    /// Runs that ended because their segment did.
    drafts: Vec<RunDraft>,
    /// A seal job is out.
    sealing: bool,
    dump: Dump,
    dumping: Option<Dumping>,
    /// Where the newest dump begins that retention reckons with.
    sealed_dump: Position,
    /// The keeper has index runs that found no room.
    unwritten: bool,
    /// It is to try once more.
    seal_again: bool,
    /// Position of the last snapshot that was ordered, or found at the start.
    snapped: Position,
    /// The one before, while nobody knows whether there was room for the last.
    snapped_before: Position,
    /// How long the whole state was when it was said last, or at least.
    state_bytes: u64,
    fenced: Option<String>,
    disk: DiskState,
    room: Arc<Room>,
    /// Where that ends, as this turn found it.
    room_end: Cell<Option<Position>>,
    /// From where on the log is needed, once it is flushed up to there.
    needed: Option<(Position, Position)>,
    min: Position,
}

/// The last whole dump of the state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Dump {
    /// Where it begins: from here on the log says everything.
    pub(crate) begin: Position,
    /// Where it ends; `None`: there is no dump and the log does not begin with nothing.
    pub(crate) end: Option<Position>,
}

impl Dump {
    pub(crate) fn len(self) -> u64 {
        // What a file says of it may make no sense.
        self.end.map_or(0, |end| end.saturating_sub(self.begin))
    }
}

/// A dump that has no end yet.
#[derive(Debug, Default)]
struct Dumping {
    /// Where the first part lies.
    begin: Option<Position>,
    parts: u32,
    /// Bytes of all parts.
    bytes: u64,
}

struct Unconfirmed {
    end: Position,
    queue: QueueIndex,
    offset: u64,
    tag_code: i64,
}

/// One entry of a queue that became visible to consumers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Visible {
    pub topic: Arc<str>,
    pub queue_id: u32,
    pub offset: u64,
    pub tag_code: i64,
}

/// What recovery found out.
pub(crate) struct Recovered {
    pub(crate) index: Index,
    pub(crate) end: Position,
    pub(crate) segment_end: Position,
    pub(crate) state_next: u64,
    pub(crate) dump: Dump,
    pub(crate) snapped: Position,
    pub(crate) state_bytes: u64,
    pub(crate) drafts: Vec<RunDraft>,
}

impl Store {
    pub(crate) fn new(config: StoreConfig, room: Arc<Room>, recovered: Recovered) -> Self {
        let Recovered { mut index, end, segment_end, state_next, dump, snapped, state_bytes, drafts } =
            recovered;
        index.queues.iter_mut().for_each(|queue| queue.visible = queue.next);
        Self {
            tail: Tail::new(end, config.tail_bytes, config.segment_bytes),
            index,
            segment_end,
            marks: Watermarks { appended: end, written: end, flushed: end, confirmed: end },
            state_next,
            unconfirmed: VecDeque::new(),
            visible: VecDeque::new(),
            drafts,
            sealing: false,
            dump,
            dumping: None,
            snapped,
            snapped_before: snapped,
            state_bytes,
            fenced: None,
            disk: DiskState::default(),
            room,
            room_end: Cell::new(None),
            sealed_dump: dump.begin,
            unwritten: false,
            seal_again: false,
            needed: None,
            min: 0,
            config,
        }
    }

    pub fn watermarks(&self) -> Watermarks {
        self.marks
    }

    /// Everything appended since the last call: the end of a turn.
    pub fn take_writes(&mut self, out: &mut Vec<WriteBatch>) {
        self.room_end.set(None);
        self.tail.take(out);
    }

    /// The writer says how far it has written, and how far it has synced.
    ///
    /// # Panics
    /// If it says more than was appended: then nothing can be believed any more.
    pub fn advance(&mut self, written: Position, flushed: Position) {
        assert!(flushed <= written && written <= self.marks.appended, "writer is ahead of the log");
        self.marks.written = self.marks.written.max(written);
        self.marks.flushed = self.marks.flushed.max(flushed);
        self.marks.confirmed = match self.config.flush {
            FlushPolicy::Sync => self.marks.flushed,
            FlushPolicy::Async { .. } => self.marks.written,
        };
        while let Some(first) = self.unconfirmed.front().filter(|u| u.end <= self.marks.confirmed) {
            if let Some(queue) = self.index.queues.get_mut(first.queue) {
                debug_assert!(queue.visible <= first.offset);
                queue.visible = first.offset + 1;
                self.visible.push_back((first.queue, first.offset, first.tag_code));
            }
            self.unconfirmed.pop_front();
        }
        self.tail.evict(self.marks.written);
        self.settle_need();
    }

    /// No append succeeds from now on.
    pub fn fence(&mut self, why: &str) {
        self.fenced.get_or_insert_with(|| why.to_owned());
    }

    /// The next message that became visible since the last call, in log order.
    pub fn next_visible(&mut self) -> Option<Visible> {
        loop {
            let (queue, offset, tag_code) = self.visible.pop_front()?;
            // A queue that was deleted meanwhile has nothing to show.
            if let Some(queue) = self.index.queues.get(queue) {
                let (topic, queue_id) = (Arc::clone(&queue.topic), queue.queue_id);
                return Some(Visible { topic, queue_id, offset, tag_code });
            }
        }
    }

    /// `None` for a queue that never had a message (its bounds are then 0..0).
    pub fn bounds(&self, topic: &str, queue_id: u32) -> Option<Bounds> {
        self.index.queues.find(topic, queue_id).map(|queue| queue.bounds())
    }

    /// The first offset of a queue that is read for sure (unless it is damaged): what lies before it goes just now, or went, though
    /// [`Store::bounds`] may not say so yet. A read that ended before this was asked passed over nothing behind it.
    pub fn first_left(&self, topic: &str, queue_id: u32) -> u64 {
        let gone_below = self.room.gone_below();
        self.index.queues.find(topic, queue_id).map_or(0, |queue| queue.first_from(gone_below))
    }

    /// The offset that the next message of a queue gets. Of the queues that a message names as further ones
    /// ([`kerolox_wire::properties::further_queues`]), it must say these.
    pub fn next_offset(&self, topic: &str, queue_id: u32) -> u64 {
        self.index.queues.next_offset(topic, queue_id)
    }

    /// The first offset of a new queue of a topic: not 0 where damage may have taken others of its name.
    pub fn begins_at(&self, topic: &str) -> u64 {
        self.index.queues.begin_of(topic)
    }

    /// How many light message queues there are.
    pub fn lmq_count(&self) -> usize {
        self.index.queues.lmq_count()
    }

    /// About how many bytes of log lie between a queue's first message and the log's end (up to one index run more).
    pub fn span_bytes(&self, topic: &str, queue_id: u32) -> u64 {
        let queue = self.index.queues.find(topic, queue_id);
        let first =
            queue.and_then(|queue| queue.pieces.front()).map_or(self.index.open_at, |piece| piece.run);
        self.marks.appended - first
    }

    /// All queues that ever had a message and were not deleted, in no particular order.
    pub fn queues(&self) -> impl Iterator<Item = (&Arc<str>, u32, Bounds)> {
        self.index.queues.iter().map(|q| (&q.topic, q.queue_id, q.bounds()))
    }

    /// Whether a topic has queues that had a message and were not deleted.
    pub fn has_queues(&self, topic: &str) -> bool {
        self.index.queues.ids_of(topic).next().is_some()
    }

    /// A position at or before that of a queue's message `offset` and all that follow; `None` if there is none (yet).
    pub fn lies_from(&self, topic: &str, queue_id: u32, offset: u64) -> Option<Position> {
        let queue = self.index.queues.find(topic, queue_id).filter(|queue| offset < queue.next)?;
        let piece = queue.piece_at(offset).and_then(|at| queue.pieces.get(at));
        Some(piece.map_or(self.index.open_at, |piece| piece.run))
    }

    /// Retention keeps the log from here on, however old it is; [`DiskState::wanted`] says when that is in its way. What is
    /// let go of by this goes only when all that was appended until now is flushed: it may be a copy of it.
    pub fn need_from(&mut self, position: Position) {
        if position < self.room.needed_from() {
            self.room.need_from(position);
        }
        self.needed = Some((position, self.marks.appended));
        self.settle_need();
    }

    fn settle_need(&mut self) {
        if let Some((position, _)) = self.needed.take_if(|(_, safe)| *safe <= self.marks.flushed) {
            self.room.need_from(position);
        }
    }

    /// From now on messages are kept for so many milliseconds, whatever the settings say; `None`: as those say.
    pub fn retain_for(&self, ms: Option<i64>) {
        self.room.retain_for(ms);
    }

    /// Where the log begins, as far as retention has told.
    pub fn begin(&self) -> Position {
        self.min
    }

    /// Where the first segment ends, as far as retention has told.
    pub fn first_segment_end(&self) -> Position {
        (self.min + 1).next_multiple_of(self.config.segment_bytes)
    }

    /// The disk as the keeper last measured it.
    pub fn disk(&self) -> &DiskState {
        &self.disk
    }

    /// The keeper measured the disk and decided: the log now begins at `min`.
    pub fn trimmed(&mut self, min: Position, disk: DiskState) {
        debug_assert!(min <= self.marks.flushed);
        if min > self.min {
            self.min = min;
            self.forget_gone();
        }
        self.disk = disk;
        self.seal_again = self.unwritten || self.disk.dump_wanted && self.dump.begin > self.sealed_dump;
    }

    /// Forgets what retention took, so much at once that nobody waits for it: to be called now and then.
    pub fn forget_gone(&mut self) {
        self.index.trim(self.min, FORGET_AT_ONCE);
    }
}
