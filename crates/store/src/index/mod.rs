//! What is derived from the log: queues and keys. The open range of the log is indexed in memory; when it is long
//! enough it is cut and becomes a *run*, one immutable file ([`run`]). `docs/formats/run.md` draws it.

pub(crate) mod keys;
pub(crate) mod run;
mod run_read;

pub(crate) use keys::KeyLog;
pub(crate) use run::{Row, RunDraft, RunFacts};
pub(crate) use run_read::{OpenRuns, RUN_DIR, RunError, RunFile, run_name, run_path};

use crate::Position;
use crate::queue::{Entry, Piece, Queue, QueueIndex, Queues};
use kerolox_wire::names;
use kerolox_wire::properties::{self, Properties, name};
use run::DirectoryRow;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

/// The index of the whole log.
pub(crate) struct Index {
    pub(crate) queues: Queues,
    /// Where the open run begins.
    pub(crate) open_at: Position,
    pub(crate) keys: KeyLog,
    /// Store times of the open run, least and greatest.
    times: Option<(i64, i64)>,
    /// Topics deleted in the open run.
    deleted: BTreeSet<Arc<str>>,
    /// Runs on disk by the position where they begin.
    pub(crate) runs: Arc<BTreeMap<Position, Arc<RunFacts>>>,
    /// The queues that have pieces of a run, by where it begins.
    queues_of: BTreeMap<Position, Vec<QueueIndex>>,
    /// Runs whose entries are (still) in memory, oldest first.
    warm: VecDeque<Position>,
    /// Keys of runs that are cut and not yet on disk.
    pub(crate) keys_cut: Vec<(Position, Arc<Vec<keys::Key>>)>,
}

/// Words of a record's `KEYS` that are indexed, so that 32 KiB of them cannot take half a megabyte of memory.
const KEYS_PER_RECORD_MAX: usize = 64;
/// Keys of the open run at which it is sealed, however short it is: 16 MiB of memory.
pub(crate) const RUN_KEYS_MAX: usize = 1 << 20;

/// What came of indexing a record.
pub(crate) struct Added {
    pub(crate) tag_code: i64,
    /// Its places in further queues.
    pub(crate) further: Vec<(QueueIndex, u64)>,
}

/// What the index needs to know of a record.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Indexed<'a> {
    pub(crate) position: Position,
    pub(crate) size: u32,
    pub(crate) store_ms: i64,
    pub(crate) topic: &'a str,
    pub(crate) properties: Properties<'a>,
}

impl Index {
    pub(crate) fn new(open_at: Position) -> Self {
        Self {
            queues: Queues::default(),
            open_at,
            keys: KeyLog::default(),
            times: None,
            deleted: BTreeSet::new(),
            runs: Arc::default(),
            queues_of: BTreeMap::new(),
            warm: VecDeque::new(),
            keys_cut: Vec::new(),
        }
    }

    /// Indexes a record. `place`: its queue and offset, unless it belongs to none (state, prepared transactions).
    pub(crate) fn add(&mut self, record: Indexed<'_>, place: Option<(QueueIndex, u64)>) -> Added {
        self.see_time(record.store_ms);
        let mut tag_code = 0;
        // A timer message's entry says when it is due instead: it has no consumers who filter.
        let mut due = None;
        let mut in_further = false;
        for (key, value) in record.properties.pairs() {
            if key == name::TAGS.as_bytes() {
                tag_code = std::str::from_utf8(value).map_or(0, properties::tag_code);
            } else if key == name::KEYS.as_bytes() {
                let words = value.split(|b| *b == b' ').filter(|one| !one.is_empty());
                for one in words.take(KEYS_PER_RECORD_MAX) {
                    self.keys.add(keys::hash(record.topic, one), record.position);
                }
            } else if key == name::UNIQ_CLIENT_MESSAGE_ID_KEYIDX.as_bytes() {
                self.keys.add(keys::hash(record.topic, value), record.position);
            } else if key == name::TIMER_OUT_MS.as_bytes() && record.topic == names::WHEEL_TIMER_TOPIC {
                due = std::str::from_utf8(value).ok().and_then(|due| due.parse().ok());
            } else if key == name::INNER_MULTI_QUEUE_OFFSET.as_bytes() {
                in_further = true;
            }
        }
        let tag_code = due.unwrap_or(tag_code);
        if let Some((queue, offset)) = place {
            let entry = Entry { position: record.position, size: record.size, tag_code };
            self.queues.add(queue, offset, entry, self.open_at);
            if in_further {
                return Added { tag_code, further: self.add_further(record, entry) };
            }
        }
        Added { tag_code, further: Vec::new() }
    }

    /// Adds a message to the further queues that it belongs to.
    fn add_further(&mut self, record: Indexed<'_>, entry: Entry) -> Vec<(QueueIndex, u64)> {
        let mut places = Vec::new();
        for (name, offset) in properties::further_queues(record.topic, record.properties) {
            let queue = self.queues.index_or_new(name, 0);
            let known = self.queues.get(queue).and_then(Queue::known_end);
            // The same queue twice in one message.
            if known.is_none_or(|known| offset >= known) {
                self.queues.add(queue, offset, entry, self.open_at);
                places.push((queue, offset));
            }
        }
        places
    }

    pub(crate) fn see_time(&mut self, store_ms: i64) {
        let (least, greatest) = self.times.unwrap_or((store_ms, store_ms));
        self.times = Some((least.min(store_ms), greatest.max(store_ms)));
    }

    pub(crate) fn delete_topic(&mut self, topic: &str) {
        self.queues.delete(topic);
        self.deleted.insert(Arc::from(topic));
    }

    /// The next message of a queue gets at least this offset.
    pub(crate) fn expect_next(&mut self, topic: &str, queue_id: u32, next: u64) {
        let index = self.queues.index_or_new(topic, queue_id);
        if let Some(queue) = self.queues.get_mut(index) {
            queue.next = queue.next.max(next);
        }
    }

    /// Takes over a run that is on disk. It must follow everything indexed so far.
    pub(crate) fn load(&mut self, facts: Arc<RunFacts>, directory: &run::Directory) {
        directory.deleted.iter().for_each(|topic| self.queues.delete(topic));
        let run = facts.start;
        let mut queues = Vec::new();
        for (topic, rows) in &directory.topics {
            for row in rows {
                let index = self.queues.index_or_new(topic, row.queue_id);
                queues.push(index);
                self.queues.begin_anew_below(index, row.first);
                let Some(queue) = self.queues.get_mut(index) else { continue };
                let DirectoryRow { first, count, bytes, at, .. } = *row;
                let piece = Piece { first, count, bytes, run, at: Some(at), memory: None };
                queue.next = queue.next.max(piece.end());
                queue.pieces.push_back(piece);
                // All that is needed of it: whether it lies behind some damage.
                queue.last_end = run + 1;
            }
        }
        self.queues_of.insert(run, queues);
        self.open_at = facts.end;
        Arc::make_mut(&mut self.runs).insert(run, facts);
    }

    /// Ends the open run at `end`, where the next one begins.
    pub(crate) fn cut(&mut self, end: Position) -> RunDraft {
        debug_assert!(end >= self.open_at);
        let start = std::mem::replace(&mut self.open_at, end);
        let active = self.queues.close_open(start);
        let mut rows = Vec::with_capacity(active.len());
        for queue in active.iter().filter_map(|index| self.queues.get(*index)) {
            // A queue has few pieces of one run: more than one only after damage.
            let own = queue.pieces.iter().rev().take_while(|p| p.run == start);
            rows.extend(own.filter_map(|p| {
                let entries = Arc::clone(p.memory.as_ref()?);
                Some(Row {
                    topic: Arc::clone(&queue.topic),
                    queue_id: queue.queue_id,
                    first: p.first,
                    entries,
                })
            }));
        }
        self.queues_of.insert(start, active);
        self.warm.push_back(start);
        let keys = Arc::new(self.keys.take());
        self.keys_cut.push((start, Arc::clone(&keys)));
        let deleted = std::mem::take(&mut self.deleted).into_iter().collect();
        RunDraft { start, end, times: self.times.take(), rows, keys, deleted }
    }

    /// A run that was cut is on disk now: its place there is known. Its entries stay in memory until the next one.
    pub(crate) fn sealed(&mut self, facts: Arc<RunFacts>, places: &[(Arc<str>, u32, u64, u64)]) {
        for (topic, queue_id, first, at) in places {
            let Some(index) = self.queues.index(topic, *queue_id) else { continue };
            let Some(queue) = self.queues.get_mut(index) else { continue };
            let piece = queue.pieces.iter_mut().rev().find(|p| p.run == facts.start && p.first == *first);
            if let Some(piece) = piece {
                piece.at = Some(*at);
            }
        }
        self.keys_cut.retain(|(start, _)| *start != facts.start);
        let start = facts.start;
        Arc::make_mut(&mut self.runs).insert(start, facts);
        self.cool(start);
    }

    /// Drops from memory the entries of all runs on disk that are older than `newest`.
    fn cool(&mut self, newest: Position) {
        while let Some(start) = self.warm.front() {
            if *start >= newest || !self.runs.contains_key(start) {
                break;
            }
            for index in self.queues_of.get(start).into_iter().flatten() {
                let Some(queue) = self.queues.get_mut(*index) else { continue };
                let mine = queue.pieces.partition_point(|p| p.run < *start);
                for piece in queue.pieces.iter_mut().skip(mine).take_while(|p| p.run == *start) {
                    piece.memory = piece.memory.take().filter(|_| piece.at.is_none());
                }
            }
            self.warm.pop_front();
        }
    }

    /// Forgets runs that begin below `min`, oldest first, and about `pieces_max` pieces of queues at once.
    pub(crate) fn trim(&mut self, min: Position, mut pieces_max: usize) {
        while let Some(mut oldest) = self.queues_of.first_entry().filter(|oldest| *oldest.key() < min) {
            let (start, queues) = (*oldest.key(), oldest.get_mut());
            let rest = queues.len().saturating_sub(pieces_max);
            pieces_max -= queues.len() - rest;
            for queue in queues.drain(rest..) {
                self.queues.trim(queue, start);
            }
            if rest > 0 {
                return;
            }
            oldest.remove();
            Arc::make_mut(&mut self.runs).remove(&start);
            self.keys_cut.retain(|(cut, _)| *cut != start);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// All queues were gone over at once, 46 ms with 800,000 of them, and messages waited meanwhile.
    #[test]
    fn what_retention_took_is_forgotten_in_bounded_steps() {
        let mut index = Index::new(0);
        let names = ["A", "B", "C"];
        for run in 0..3 {
            for (at, name) in names.iter().enumerate() {
                let queue = index.queues.index_or_new(name, 0);
                let entry = Entry { position: run * 100 + at as u64 * 10, size: 10, tag_code: 0 };
                index.queues.add(queue, run, entry, run * 100);
            }
            index.cut((run + 1) * 100);
        }
        let left = |index: &Index| names.map(|name| index.queues.find(name, 0).unwrap().pieces.len());
        index.trim(200, 2);
        assert_eq!(left(&index), [3, 2, 2]);
        index.trim(200, 2);
        assert_eq!(left(&index), [2, 2, 1]);
        assert_eq!(index.keys_cut.iter().map(|(start, _)| *start).collect::<Vec<_>>(), [100, 200]);
        index.trim(200, 100);
        assert_eq!(left(&index), [1, 1, 1]);
        index.trim(200, 100);
        assert_eq!(left(&index), [1, 1, 1]);
        assert_eq!(index.keys_cut.len(), 1);
    }
}
