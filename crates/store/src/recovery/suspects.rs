//! Records whose queue offset is not the expected one and which carry no checksum over it.
//!
//! Apache's checksum covers the body only, so an offset may be damaged unnoticed; believing it could make a queue jump, or
//! begin anew and forget what it had. Such a record is held until the next one of its queue says who is right.

use crate::index::Index;
use crate::queue::{Entry, QueueIndex};
use std::collections::HashMap;

#[derive(Debug, Default)]
pub(super) struct Suspects(HashMap<QueueIndex, (u64, Entry)>);

impl Suspects {
    /// Takes the next record of a queue.
    pub(super) fn add(&mut self, index: &mut Index, queue: QueueIndex, offset: u64, entry: Entry) {
        let known = index.queues.get(queue).and_then(|q| q.known_end());
        if known.is_none_or(|known| known == offset) {
            // As expected: what was held against it is nonsense.
            self.0.remove(&queue);
            return put(index, queue, offset, entry);
        }
        match self.0.remove(&queue) {
            // Two in a row that agree: the queue jumped, or began anew.
            Some((before, held)) if before.checked_add(1) == Some(offset) => {
                put(index, queue, before, held);
                put(index, queue, offset, entry);
            }
            // The one before had a damaged offset, and this one follows its true one.
            Some(_) if known.and_then(|k| k.checked_add(1)) == Some(offset) => {
                put(index, queue, offset, entry)
            }
            _ => {
                self.0.insert(queue, (offset, entry));
            }
        }
    }

    /// No further record of this queue will tell: a jump forward is believed, and a beginning at 0.
    pub(super) fn settle(&mut self, index: &mut Index, queue: QueueIndex) {
        let Some((offset, entry)) = self.0.remove(&queue) else { return };
        let known = index.queues.get(queue).and_then(|q| q.known_end());
        if offset == 0 || known.is_none_or(|known| (known..known.saturating_add(JUMP_MAX)).contains(&offset))
        {
            put(index, queue, offset, entry);
        }
    }

    pub(super) fn settle_all(&mut self, index: &mut Index) {
        let queues: Vec<QueueIndex> = self.0.keys().copied().collect();
        queues.into_iter().for_each(|queue| self.settle(index, queue));
    }
}

/// Furthest jump that one record is believed.
const JUMP_MAX: u64 = 1 << 24;

fn put(index: &mut Index, queue: QueueIndex, offset: u64, entry: Entry) {
    index.queues.begin_anew_below(queue, offset);
    index.queues.add(queue, offset, entry, index.open_at);
}
