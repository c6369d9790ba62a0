//! Records whose queue offset is not the expected one and which carry no checksum over it.
//!
//! Apache's checksum covers the body only, so an offset may be damaged unnoticed; believing it could make a queue jump, or
//! begin anew and forget what it had. Such a record is held until the next one of its queue says who is right.

use crate::index::Index;
use crate::queue::{Entry, QueueIndex};
use std::collections::HashMap;

#[derive(Debug, Default)]
pub(super) struct Suspects(HashMap<QueueIndex, Suspect>);

/// A record of a queue.
#[derive(Debug)]
pub(super) struct Suspect {
    pub(super) offset: u64,
    /// How many offsets it takes.
    pub(super) count: u64,
    pub(super) entry: Entry,
}

impl Suspect {
    /// Whether this one's offset is the one behind those that the other takes, if that begins at `offset`.
    fn follows(&self, other: &Self, offset: u64) -> bool {
        offset.checked_add(other.count) == Some(self.offset)
    }
}

impl Suspects {
    /// Takes the next record of a queue.
    pub(super) fn add(&mut self, index: &mut Index, queue: QueueIndex, one: Suspect) {
        let ends = index.queues.get(queue).and_then(|q| Some([q.known_end()?, q.next]));
        if ends.is_none_or(|ends| ends.contains(&one.offset)) {
            // As expected: what was held against it is nonsense.
            self.0.remove(&queue);
            return put(index, queue, one);
        }
        match self.0.remove(&queue) {
            // Two in a row that agree: the queue jumped, or began anew.
            Some(held) if one.follows(&held, held.offset) => {
                put(index, queue, held);
                put(index, queue, one);
            }
            // The one before had a damaged offset, and this one follows its true one.
            Some(held) if ends.into_iter().flatten().any(|end| one.follows(&held, end)) => {
                put(index, queue, one);
            }
            _ => {
                self.0.insert(queue, one);
            }
        }
    }

    /// No further record of this queue will tell: a jump forward is believed, and a beginning at 0.
    pub(super) fn settle(&mut self, index: &mut Index, queue: QueueIndex) {
        let Some(one) = self.0.remove(&queue) else { return };
        let (known, offset) = (index.queues.get(queue).and_then(|q| q.known_end()), one.offset);
        if offset == 0 || known.is_none_or(|known| (known..known.saturating_add(JUMP_MAX)).contains(&offset))
        {
            put(index, queue, one);
        }
    }

    pub(super) fn settle_all(&mut self, index: &mut Index) {
        let queues: Vec<QueueIndex> = self.0.keys().copied().collect();
        queues.into_iter().for_each(|queue| self.settle(index, queue));
    }
}

/// Furthest jump that one record is believed.
const JUMP_MAX: u64 = 1 << 24;

fn put(index: &mut Index, queue: QueueIndex, one: Suspect) {
    index.queues.begin_anew_below(queue, one.offset);
    index.queues.add(queue, one.offset, one.entry, index.open_at);
    index.queues.takes(queue, one.offset, one.count);
}
