//! Reading: what memory can answer, and plans for the rest.

use super::Store;
use crate::index::keys;
use crate::plan::{PlanEntries, PlanPiece, ReadPlan, TimeOf, Work};
use crate::queue::{Entry, Queue};
use crate::{Boundary, Damage, Place, Position, QueueRead, QueueReadOutcome, QueueSlice, TimesOutcome};
use bytes::BytesMut;
use kerolox_wire::record::RecordView;
use std::sync::Arc;

/// A queue read in progress, hot or cold.
pub(crate) struct Gather<'a> {
    read: &'a QueueRead,
    records: BytesMut,
    slice: QueueSlice,
    scanned: u32,
}

/// What to do after an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Next {
    GoOn,
    /// The answer is complete.
    Enough,
}

impl<'a> Gather<'a> {
    pub(crate) fn new(read: &'a QueueRead) -> Self {
        let slice = QueueSlice { next_offset: read.from, ..QueueSlice::default() };
        Self { read, records: BytesMut::new(), slice, scanned: 0 }
    }

    /// Entries that may still be looked at.
    pub(crate) fn scan_left(&self) -> u32 {
        self.read.scan_max.saturating_sub(self.scanned)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.slice.count == 0
    }

    pub(crate) fn next_offset(&self) -> u64 {
        self.slice.next_offset
    }

    /// There is nothing between here and `offset`.
    pub(crate) fn pass_to(&mut self, offset: u64) {
        self.slice.next_offset = self.slice.next_offset.max(offset);
    }

    /// The record at an offset is damaged, and lies (or lay) there.
    pub(crate) fn damaged(&mut self, offset: u64, position: Position, bytes: u64, why: String) {
        let record = Some((self.read.topic.to_string(), self.read.queue_id, offset));
        self.slice.damaged.push(Damage { position, bytes, record, why });
    }

    /// Whether the record behind an entry is wanted. What is not counts as looked at.
    pub(crate) fn wants(&mut self, offset: u64, entry: &Entry) -> bool {
        self.scanned += 1;
        let wanted = self.read.filter.as_ref().is_none_or(|f| f.tag(entry.tag_code));
        if !wanted {
            self.pass_to(offset + 1);
        }
        wanted
    }

    /// The last one wanted could not be looked at after all.
    fn not_looked_at(&mut self) {
        self.scanned -= 1;
    }

    /// Whether a record of that size has no room any more (a first one always has).
    pub(crate) fn is_full(&self, entry: &Entry) -> bool {
        self.slice.count >= self.read.count_max.max(1)
            || (self.slice.count > 0
                && self.records.len() as u64 + u64::from(entry.size) > u64::from(self.read.bytes_max))
    }

    /// Adds a record, if the filter wants it.
    pub(crate) fn add(&mut self, offset: u64, record: &RecordView<'_>) -> Next {
        if self.read.filter.as_ref().is_none_or(|f| f.record(record.bytes())) {
            if self.records.capacity() == 0 {
                let left = self.read.count_max.saturating_sub(self.slice.count) as usize;
                let guess = record.len().saturating_mul(left.clamp(1, 64));
                self.records.reserve(guess.min(self.read.bytes_max as usize).max(record.len()));
            }
            record.write_for_client(&mut self.records);
            self.slice.count += 1;
        }
        self.pass_to(offset + 1);
        let enough = self.slice.count >= self.read.count_max || self.scan_left() == 0;
        if enough { Next::Enough } else { Next::GoOn }
    }

    pub(crate) fn finish(mut self) -> QueueSlice {
        self.slice.records = self.records.freeze();
        self.slice
    }
}

impl Store {
    /// Messages of a queue from an offset on. What lies below the queue's bounds is passed over; at its end the answer
    /// is empty.
    pub fn read_queue(&self, read: QueueRead) -> QueueReadOutcome {
        let mut gather = Gather::new(&read);
        let Some(queue) = self.index.queues.find(&read.topic, read.queue_id) else {
            return QueueReadOutcome::Done(gather.finish());
        };
        let bounds = queue.bounds();
        if read.from >= bounds.max {
            return QueueReadOutcome::Done(gather.finish());
        }
        gather.pass_to(bounds.min);
        let from = gather.next_offset();
        let complete = self.gather_hot(queue, bounds.max, &mut gather);
        if complete || !gather.is_empty() {
            return QueueReadOutcome::Done(gather.finish());
        }
        // Nothing matched up to here: the plan goes on behind what was looked at.
        let scan_max = gather.scan_left();
        let from = gather.next_offset().max(from);
        let read = QueueRead { from, scan_max, ..read };
        let want = if read.filter.is_some() { scan_max } else { read.count_max.min(scan_max) };
        let (pieces, end) = self.plan_pieces(queue, from, bounds.max, want);
        QueueReadOutcome::Cold(ReadPlan {
            work: Work::Queue { read, end, pieces },
            confirmed: self.marks.confirmed,
        })
    }

    /// Takes what is in memory; false if the next record is not.
    fn gather_hot(&self, queue: &Queue, max: u64, gather: &mut Gather<'_>) -> bool {
        while gather.next_offset() < max && gather.scan_left() > 0 {
            let at = gather.next_offset();
            let (first, entries) = match queue.piece_at(at).and_then(|i| queue.pieces.get(i)) {
                Some(piece) => {
                    let Some(entries) = &piece.memory else { return false };
                    let skip = usize::try_from(at.saturating_sub(piece.first)).unwrap_or(usize::MAX);
                    (at.max(piece.first), entries.get(skip..).unwrap_or_default())
                }
                None => queue.open_from(at),
            };
            if entries.is_empty() {
                // A gap at the end of the queue.
                gather.pass_to(max);
                return true;
            }
            gather.pass_to(first.min(max));
            for (offset, entry) in (first..max).zip(entries) {
                if gather.scan_left() == 0 {
                    return true;
                }
                if !gather.wants(offset, entry) {
                    continue;
                }
                if gather.is_full(entry) {
                    return true;
                }
                let Some(bytes) = self.tail.get(entry.position, entry.size) else {
                    gather.not_looked_at();
                    return false;
                };
                let view = RecordView::parse(bytes);
                debug_assert!(
                    view.as_ref().is_ok_and(|v| v.offset_in(&queue.topic, queue.queue_id) == Some(offset)),
                    "{view:?}"
                );
                let Ok(view) = view else { return false };
                if gather.add(offset, &view) == Next::Enough {
                    return true;
                }
            }
        }
        true
    }

    /// Where the entries of offsets from `from` on are, at least `want` of them if there are so many below `max`; and
    /// the offset behind them.
    fn plan_pieces(&self, queue: &Queue, from: u64, max: u64, want: u32) -> (Vec<PlanPiece>, u64) {
        let mut pieces = Vec::new();
        let mut left = want;
        let mut at = from;
        let start = queue.piece_at(from).unwrap_or(queue.pieces.len());
        for piece in queue.pieces.iter().skip(start) {
            if left == 0 || piece.first >= max {
                break;
            }
            let skip = at.saturating_sub(piece.first) as u32; // holds because it is less than the count
            let first = piece.first + u64::from(skip);
            let below_max = u32::try_from(max.saturating_sub(first)).unwrap_or(u32::MAX);
            let count = (piece.count - skip).min(left).min(below_max);
            let entries = match (&piece.memory, piece.at, self.index.runs.get(&piece.run)) {
                (Some(entries), ..) => {
                    PlanEntries::Memory { entries: Arc::clone(entries), skip: skip as usize }
                }
                (None, Some(at), Some(run)) => PlanEntries::Disk {
                    run: Arc::clone(run),
                    at,
                    row_count: piece.count,
                    skip,
                    row_first: piece.first,
                },
                // Cannot be: entries leave memory only when their run is on disk.
                (None, ..) => break,
            };
            pieces.push(PlanPiece { first, count, entries });
            at = first + u64::from(count);
            left -= count;
        }
        if left > 0 {
            let (first, open) = queue.open_from(at);
            let count = open.len().min(left as usize).min(max.saturating_sub(first) as usize);
            if let Some(some) = open.get(..count).filter(|some| !some.is_empty()) {
                let entries = PlanEntries::Memory { entries: Arc::new(some.to_vec()), skip: 0 };
                pieces.push(PlanPiece { first, count: count as u32, entries });
                at = first + count as u64;
                left -= count as u32;
            }
        }
        // Everything below `max` was seen: a gap at the end is passed over.
        (pieces, if left > 0 { max } else { at })
    }

    /// Whole records by position (any position may be asked for: what is not the start of a record gives `None`).
    pub fn plan_records(&self, positions: Vec<Position>) -> ReadPlan {
        self.plan_records_within(positions, usize::MAX)
    }

    /// The same; those behind the one with which there are `bytes_max` bytes are left out.
    pub fn plan_records_within(&self, positions: Vec<Position>, bytes_max: usize) -> ReadPlan {
        ReadPlan { work: Work::Records { positions, bytes_max }, confirmed: self.marks.confirmed }
    }

    /// What the index knows of the messages of a queue from an offset on, `count` of them at most.
    pub fn plan_entries(&self, topic: &str, queue_id: u32, from: u64, count: u32) -> ReadPlan {
        let queue = self.index.queues.find(topic, queue_id);
        let pieces = queue.map(|q| self.plan_pieces(q, from, q.bounds().max, count).0).unwrap_or_default();
        let work = Work::Entries { topic: Arc::from(topic), queue_id, pieces };
        ReadPlan { work, confirmed: self.marks.confirmed }
    }

    /// Offset of the first message stored at or after `time_ms` (`Lower`), or of the last one at or before it (`Upper`);
    /// clamped to the queue's bounds as Apache does.
    pub fn plan_search_time(&self, topic: &str, queue_id: u32, time_ms: i64, boundary: Boundary) -> ReadPlan {
        let queue = self.index.queues.find(topic, queue_id);
        let bounds = queue.map_or(crate::Bounds { min: 0, max: 0 }, Queue::bounds);
        let pieces = queue.map(|q| self.plan_pieces(q, bounds.min, bounds.max, u32::MAX).0);
        let work = Work::SearchTime {
            topic: Arc::from(topic),
            queue_id,
            time_ms,
            boundary,
            min: bounds.min,
            max: bounds.max,
            pieces: pieces.unwrap_or_default(),
        };
        ReadPlan { work, confirmed: self.marks.confirmed }
    }

    /// When messages were stored, however many: one plan reads all that memory does not know.
    pub fn read_times(&self, places: Vec<Place>) -> TimesOutcome {
        let mut cold = false;
        let times: Vec<TimeOf> = places.into_iter().map(|place| self.time_of(place, &mut cold)).collect();
        if cold {
            return TimesOutcome::Cold(ReadPlan {
                work: Work::Times(times),
                confirmed: self.marks.confirmed,
            });
        }
        let known = |time| match time {
            TimeOf::Known(time) => time,
            TimeOf::Record { .. } => None,
        };
        TimesOutcome::Done(times.into_iter().map(known).collect())
    }

    fn time_of(&self, place: Place, cold: &mut bool) -> TimeOf {
        let Place { topic, queue_id, offset } = place;
        let Some(queue) = self.index.queues.find(&topic, queue_id) else { return TimeOf::Known(None) };
        let (pieces, _) = self.plan_pieces(queue, offset, queue.bounds().max, 1);
        let Some(piece) = pieces.into_iter().next().filter(|piece| piece.first == offset) else {
            return TimeOf::Known(None);
        };
        if let PlanEntries::Memory { entries, skip } = &piece.entries
            && let Some(entry) = entries.get(*skip)
            && let Some(record) = self.tail.get(entry.position, entry.size)
        {
            return TimeOf::Known(RecordView::parse(record).ok().map(|view| view.store_ms));
        }
        *cold = true;
        TimeOf::Record { topic, queue_id, piece }
    }

    /// When the first record of the log was stored, be it a message or not.
    pub fn plan_first_time(&self) -> ReadPlan {
        ReadPlan { work: Work::FirstTime, confirmed: self.marks.confirmed }
    }

    /// Records of a topic whose KEYS or unique id contain `key`, newest first, stored in `from_ms..=to_ms`.
    pub fn plan_query_key(
        &self,
        topic: &str,
        key: &str,
        count_max: u32,
        from_ms: i64,
        to_ms: i64,
    ) -> ReadPlan {
        let hash = keys::hash(topic, key.as_bytes());
        let mut chunks: Vec<_> = self.index.keys_cut.iter().map(|(_, keys)| Arc::clone(keys)).collect();
        chunks.extend(self.index.keys.chunks(hash));
        let work = Work::QueryKey {
            topic: topic.to_owned(),
            key: key.to_owned(),
            hash,
            count_max: count_max as usize,
            from_ms,
            to_ms,
            chunks,
            runs: Arc::clone(&self.index.runs),
        };
        ReadPlan { work, confirmed: self.marks.confirmed }
    }
}
