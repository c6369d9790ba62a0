//! Popping what retention left of compaction topics: see [`crate::compaction`].

use super::{BYTES_MAX, Key, Pop, Step};
use crate::Broker;
use crate::effect::Effect;
use bytes::Bytes;
use kerolox_store::{Position, QueueSlice};

impl Broker {
    /// What to do with a queue at an offset from which on messages were kept; `None`: nothing in particular.
    pub(super) fn visit_kept(&self, pop: &mut Pop, key: &Key, at: u64, room: usize) -> Option<Step> {
        // Not known yet: it is passed by, as if nothing were there.
        let Some(kept) = self.kept_from(&key.topic, key.queue_id, at, room) else { return Some(Step::Pass) };
        if kept.is_empty() {
            return None;
        }
        let plan = self.plan_kept(&kept);
        pop.kept = kept;
        Some(Step::Read(plan))
    }

    /// What was kept was read for a pop.
    pub(crate) fn pop_kept_read(
        &mut self,
        now_ms: i64,
        pop: Pop,
        found: Vec<Option<Bytes>>,
        out: &mut Vec<Effect>,
    ) {
        let room = BYTES_MAX.saturating_sub(pop.bytes);
        let slice = pop.held.last().cloned().and_then(|key| {
            self.kept_slice((&key.topic, key.queue_id), &pop.kept, found, room, &pop.request.filter)
        });
        self.pop_read(now_ms, pop, slice, out);
    }

    /// A kept message whose time is over was read. (If it is its key's last no more, there is a newer one to pop.)
    pub(crate) fn revive_kept_read(
        &mut self,
        now_ms: i64,
        key: Key,
        offset: u64,
        kept: Option<Position>,
        found: Vec<Option<Bytes>>,
    ) {
        let record = found.into_iter().next().flatten().map(crate::compaction::restored);
        let count = u32::from(record.is_some());
        let records = record.unwrap_or_default();
        let slice = QueueSlice { records, count, next_offset: offset.saturating_add(1), damaged: Vec::new() };
        self.revive_read(now_ms, key, offset, kept, Some(&slice));
    }
}
