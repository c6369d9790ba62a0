//! Consume queues: which record is message `offset` of a queue.
//!
//! A queue is a row of *pieces*, each a run of consecutive offsets, and the open piece that appends go to. Offsets
//! between two pieces have no message (it was damaged, or is gone): readers pass over them.

use crate::{Bounds, Position};
use kerolox_wire::names::LMQ_PREFIX;
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

/// One message of a queue: 20 bytes on disk, as an entry of Apache's consume queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) position: Position,
    pub(crate) size: u32,
    /// Hash of the tags; 0 without.
    pub(crate) tag_code: i64,
}

/// Consecutive offsets of a queue in one index run.
#[derive(Debug, Clone)]
pub(crate) struct Piece {
    pub(crate) first: u64,
    pub(crate) count: u32,
    /// Of its records.
    pub(crate) bytes: u64,
    /// Where its run begins, which names the run.
    pub(crate) run: Position,
    /// Offset of its first block in the run's file; `None` while that is not written.
    pub(crate) at: Option<u64>,
    /// The entries, if they are in memory.
    pub(crate) memory: Option<Arc<Vec<Entry>>>,
}

impl Piece {
    pub(crate) fn end(&self) -> u64 {
        self.first + u64::from(self.count)
    }
}

/// Bytes of the records behind entries.
pub(crate) fn bytes_of(entries: &[Entry]) -> u64 {
    entries.iter().map(|entry| u64::from(entry.size)).sum()
}

#[derive(Debug)]
pub(crate) struct Queue {
    pub(crate) topic: Arc<str>,
    pub(crate) queue_id: u32,
    /// In order of offsets, and of positions.
    pub(crate) pieces: VecDeque<Piece>,
    pub(crate) open_first: u64,
    pub(crate) open: Vec<Entry>,
    /// Offset of the next message.
    pub(crate) next: u64,
    /// Consumers see offsets below this.
    pub(crate) visible: u64,
    /// Position behind the last record seen.
    pub(crate) last_end: Position,
}

impl Queue {
    fn new(topic: Arc<str>, queue_id: u32) -> Self {
        Self {
            topic,
            queue_id,
            pieces: VecDeque::new(),
            open_first: 0,
            open: Vec::new(),
            next: 0,
            visible: 0,
            last_end: 0,
        }
    }

    /// Offset behind the last message known, if one is.
    pub(crate) fn known_end(&self) -> Option<u64> {
        match self.pieces.back() {
            _ if !self.open.is_empty() => Some(self.open_first + self.open.len() as u64),
            piece => piece.map(Piece::end),
        }
    }

    /// First offset that there may be a message for.
    fn min(&self) -> u64 {
        self.min_from(0)
    }

    /// The same in runs that begin there or later.
    fn min_from(&self, run: Position) -> u64 {
        let at = self.pieces.partition_point(|p| p.run < run);
        let first = self.pieces.get(at).map(|p| p.first);
        first.or((!self.open.is_empty()).then_some(self.open_first)).unwrap_or(self.next)
    }

    pub(crate) fn bounds(&self) -> Bounds {
        Bounds { min: self.min().min(self.visible), max: self.visible }
    }

    /// The first offset that consumers may find in runs that begin there or later.
    pub(crate) fn first_from(&self, run: Position) -> u64 {
        self.min_from(run).min(self.visible)
    }

    /// The piece that holds `offset`, or the first one behind it; `None`: the open one.
    pub(crate) fn piece_at(&self, offset: u64) -> Option<usize> {
        let index = self.pieces.partition_point(|p| p.end() <= offset);
        (index < self.pieces.len()).then_some(index)
    }

    /// Entries of the open piece from an offset on, and the offset of the first of them.
    pub(crate) fn open_from(&self, offset: u64) -> (u64, &[Entry]) {
        let first = offset.max(self.open_first);
        let skip = usize::try_from(first - self.open_first).unwrap_or(usize::MAX);
        (first, self.open.get(skip..).unwrap_or_default())
    }

    fn close_open(&mut self, run: Position) {
        if self.open.is_empty() {
            return;
        }
        let entries = Arc::new(std::mem::take(&mut self.open));
        let count = entries.len() as u32; // holds because a run is shorter than 4 GiB
        let first = self.open_first;
        if self.pieces.capacity() == 0 {
            // Most queues of a broker with very many have few messages.
            self.pieces.reserve_exact(1);
        }
        let bytes = bytes_of(&entries);
        self.pieces.push_back(Piece { first, count, bytes, run, at: None, memory: Some(entries) });
    }
}

/// An open piece of this length becomes a piece of its own, so that reads never copy more.
const OPEN_ENTRIES_MAX: usize = 8192;

/// Number of a queue in memory. Never reused while the store is open.
pub(crate) type QueueIndex = u32;

/// All queues.
#[derive(Debug, Default)]
pub(crate) struct Queues {
    topics: HashMap<Arc<str>, Vec<(u32, QueueIndex)>>,
    all: Vec<Option<Box<Queue>>>,
    /// Those whose open piece is not empty (or was, before the queue was deleted).
    active: Vec<QueueIndex>,
    /// How many are light message queues.
    lmq: usize,
    /// First offset of a new queue, and of a new light message queue: others of their name may have been in a damaged
    /// region of the log.
    begin: (u64, u64),
}

impl Queues {
    pub(crate) fn index(&self, topic: &str, queue_id: u32) -> Option<QueueIndex> {
        let queues = self.topics.get(topic)?;
        let at = queues.binary_search_by_key(&queue_id, |(id, _)| *id).ok()?;
        queues.get(at).map(|(_, index)| *index)
    }

    pub(crate) fn index_or_new(&mut self, topic: &str, queue_id: u32) -> QueueIndex {
        if let Some(index) = self.index(topic, queue_id) {
            return index;
        }
        // Holds because 2^32 queues do not fit any memory.
        let index = self.all.len() as QueueIndex;
        let name = match self.topics.get_key_value(topic) {
            Some((name, _)) => Arc::clone(name),
            None => Arc::from(topic),
        };
        let queues = self.topics.entry(Arc::clone(&name)).or_default();
        let at = queues.partition_point(|(id, _)| *id < queue_id);
        queues.insert(at, (queue_id, index));
        self.lmq += usize::from(topic.starts_with(LMQ_PREFIX));
        let next = self.begin_of(topic);
        self.all.push(Some(Box::new(Queue { next, ..Queue::new(name, queue_id) })));
        index
    }

    /// Offset of the next message of a queue, which need not exist.
    pub(crate) fn next_offset(&self, topic: &str, queue_id: u32) -> u64 {
        self.find(topic, queue_id).map_or_else(|| self.begin_of(topic), |queue| queue.next)
    }

    pub(crate) fn begin_of(&self, topic: &str) -> u64 {
        if topic.starts_with(LMQ_PREFIX) { self.begin.1 } else { self.begin.0 }
    }

    /// Where new queues begin, and new light message queues.
    pub(crate) fn begin(&self) -> (u64, u64) {
        self.begin
    }

    pub(crate) fn begin_at(&mut self, begin: (u64, u64)) {
        self.begin = begin;
    }

    pub(crate) fn get(&self, index: QueueIndex) -> Option<&Queue> {
        self.all.get(index as usize)?.as_deref()
    }

    pub(crate) fn get_mut(&mut self, index: QueueIndex) -> Option<&mut Queue> {
        self.all.get_mut(index as usize)?.as_deref_mut()
    }

    /// The queues of a topic.
    pub(crate) fn ids_of(&self, topic: &str) -> impl Iterator<Item = u32> {
        self.topics.get(topic).into_iter().flatten().map(|(id, _)| *id)
    }

    pub(crate) fn find(&self, topic: &str, queue_id: u32) -> Option<&Queue> {
        self.get(self.index(topic, queue_id)?)
    }

    pub(crate) fn lmq_count(&self) -> usize {
        self.lmq
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Queue> {
        self.all.iter().flatten().map(|q| &**q)
    }

    /// All queues from the one of that number on.
    pub(crate) fn numbered(&self, from: usize) -> impl Iterator<Item = (usize, &Queue)> {
        let all = self.all.iter().enumerate().skip(from);
        all.filter_map(|(number, queue)| Some((number, queue.as_deref()?)))
    }

    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Queue> {
        self.all.iter_mut().flatten().map(|q| &mut **q)
    }

    /// Adds an entry to the open piece. `offset` must be behind all that are known; a jump leaves a gap.
    pub(crate) fn add(&mut self, index: QueueIndex, offset: u64, entry: Entry, run: Position) {
        let Some(queue) = self.all.get_mut(index as usize).and_then(Option::as_mut) else { return };
        let known = queue.known_end().unwrap_or(0);
        debug_assert!(offset >= known, "{}:{} {offset} < {known}", queue.topic, queue.queue_id);
        if queue.open.is_empty() {
            queue.open.reserve_exact(1);
            queue.open_first = offset;
            self.active.push(index);
        } else if offset != known || queue.open.len() >= OPEN_ENTRIES_MAX {
            queue.close_open(run);
            queue.open_first = offset;
        }
        queue.open.push(entry);
        queue.next = queue.next.max(offset + 1);
        queue.last_end = entry.position + u64::from(entry.size);
    }

    /// The record at `offset` takes that many offsets.
    pub(crate) fn takes(&mut self, index: QueueIndex, offset: u64, count: u64) {
        if let Some(queue) = self.get_mut(index) {
            queue.next = queue.next.max(offset.saturating_add(count));
        }
    }

    /// A record with an offset that its queue has had before: the queue was deleted meanwhile and began anew (Apache's
    /// log does not say so).
    pub(crate) fn begin_anew_below(&mut self, index: QueueIndex, offset: u64) {
        let Some(queue) = self.get_mut(index).filter(|q| q.known_end().is_some_and(|known| offset < known))
        else {
            return;
        };
        queue.pieces.clear();
        queue.open.clear();
        queue.next = offset;
    }

    /// Forgets the queues of a topic.
    pub(crate) fn delete(&mut self, topic: &str) {
        for (_, index) in self.topics.remove(topic).unwrap_or_default() {
            if let Some(place) = self.all.get_mut(index as usize) {
                *place = None;
                self.lmq -= usize::from(topic.starts_with(LMQ_PREFIX));
            }
        }
    }

    /// Closes all open pieces: they belong to `run`. Gives the queues that have pieces of it.
    pub(crate) fn close_open(&mut self, run: Position) -> Vec<QueueIndex> {
        let mut active = std::mem::take(&mut self.active);
        active.sort_unstable();
        active.dedup();
        active.retain(|index| match self.get_mut(*index) {
            Some(queue) => {
                queue.close_open(run);
                true
            }
            None => false,
        });
        active
    }

    /// Forgets the pieces of a queue up to those of `run`.
    pub(crate) fn trim(&mut self, index: QueueIndex, run: Position) {
        let Some(queue) = self.get_mut(index) else { return };
        while queue.pieces.front().is_some_and(|p| p.run <= run) {
            queue.pieces.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(position: Position) -> Entry {
        Entry { position, size: 100, tag_code: 0 }
    }

    #[test]
    fn pieces_follow_each_other_and_gaps_stay_open() {
        let mut queues = Queues::default();
        let q = queues.index_or_new("t", 3);
        assert_eq!(queues.index("t", 3), Some(q));
        assert_eq!(queues.index("t", 2), None);
        for offset in [0, 1, 2, 7, 8] {
            queues.add(q, offset, entry(offset * 100), 0);
        }
        assert_eq!(queues.close_open(0), [q]);
        queues.add(q, 9, entry(900), 900);
        queues.add(q, 10, entry(1000), 900);
        let queue = queues.get(q).unwrap();
        let rows: Vec<_> = queue.pieces.iter().map(|p| (p.first, p.count, p.run)).collect();
        assert_eq!(rows, [(0, 3, 0), (7, 2, 0)]);
        assert_eq!((queue.open_first, queue.next), (9, 11));
        assert_eq!(queue.piece_at(0), Some(0));
        assert_eq!(queue.piece_at(3), Some(1), "in the gap: the piece behind it");
        assert_eq!(queue.piece_at(8), Some(1));
        assert_eq!(queue.piece_at(9), None);
        assert_eq!(queue.open_from(10), (10, &[entry(1000)][..]));
        assert_eq!(queue.open_from(4).0, 9);
        queues.trim(q, 0);
        let queue = queues.get_mut(q).unwrap();
        queue.visible = 11;
        assert_eq!(queue.bounds(), Bounds { min: 9, max: 11 });
        queues.delete("t");
        assert!(queues.find("t", 3).is_none());
        assert!(queues.close_open(900).is_empty());
    }
}
