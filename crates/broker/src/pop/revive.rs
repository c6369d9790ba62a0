//! Popped messages whose invisible time is over: those popped in order can be popped again where they are, others are
//! appended to the retry topic of topic and group, one more time consumed. Source: `PopReviveService`.

use super::Key;
use super::flight::UNCOUNTED;
use crate::Broker;
use crate::effect::Effect;
use crate::lite::Lite;
use crate::moved::Origin;
use crate::pending::Pending;
use crate::produce::Draft;
use kerolox_store::{AppendError, Position, QueueRead, QueueReadOutcome, QueueSlice};
use kerolox_wire::names::{self, RETRY_PREFIX};
use kerolox_wire::properties::{PropertiesBuf, name as property};
use kerolox_wire::receipt;
use kerolox_wire::record::{self, RecordView};
use std::sync::Arc;

/// Messages seen to at a time: others get their turn.
const REVIVE_MAX: usize = 1_024;
/// Reads from disk at a time.
const READS_MAX: usize = 256;
/// Pause after an append that the log refused, or a read that failed.
const RETRY_MS: i64 = 1_000;

impl Broker {
    /// When something of pops is to be done without any request.
    pub(crate) fn pops_wake_ms(&self) -> Option<i64> {
        let due = self.state.in_flight.next_due_ms();
        let due = due.filter(|_| !self.draining && self.pops.reviving < READS_MAX);
        [due, self.pops.waits.wake_ms()].into_iter().flatten().min()
    }

    pub(crate) fn tick_pops(&mut self, now_ms: i64, out: &mut Vec<Effect>) {
        self.revive_due(now_ms, out);
        let mut queues = 0;
        for id in self.pops.waits.overdue(now_ms) {
            if queues < crate::WOKEN_QUEUES_MAX
                && let Some(request) = self.pops.waits.take(id)
            {
                queues += self.queues_of_pop(&request);
                self.serve_pop(now_ms, request, out);
            }
        }
    }

    fn revive_due(&mut self, now_ms: i64, out: &mut Vec<Effect>) {
        if self.draining {
            return;
        }
        for _ in 0..REVIVE_MAX {
            if self.pops.reviving >= READS_MAX {
                return;
            }
            let Some((key, offset)) = self.state.in_flight.pop_due(now_ms) else { return };
            let flight = self.state.in_flight.get(&key.group, &key.topic, key.queue_id);
            if flight.is_some_and(|flight| flight.order.is_some()) {
                self.can_be_popped(&key);
                continue;
            }
            let Some(kept) = self.kept_one(&key.topic, key.queue_id, offset) else {
                self.state.in_flight.put_off(now_ms + RETRY_MS, key, offset);
                continue;
            };
            if let Some(position) = kept {
                let plan = self.plan_kept(&[(offset, position)]);
                self.pops.reviving += 1;
                self.start_read(plan, Pending::Revive { key, offset, kept }, out);
                continue;
            }
            let read = QueueRead::one(Arc::clone(&key.topic), key.queue_id, offset);
            match self.store.read_queue(read) {
                QueueReadOutcome::Done(slice) => self.revive(now_ms, key, offset, &slice),
                QueueReadOutcome::Cold(plan) => {
                    self.pops.reviving += 1;
                    self.start_read(plan, Pending::Revive { key, offset, kept }, out);
                }
            }
        }
    }

    /// A message whose time is over was read from disk; `None`: it could not be.
    /// `kept`: where retention had left it, which was read then.
    pub(crate) fn revive_read(
        &mut self,
        now_ms: i64,
        key: Key,
        offset: u64,
        kept: Option<Position>,
        slice: Option<&QueueSlice>,
    ) {
        self.pops.reviving = self.pops.reviving.saturating_sub(1);
        // It may have been acknowledged, or got more time, while it was read.
        if self.state.in_flight.message(&key, offset).is_none_or(|taken| taken.visible_ms > now_ms) {
            return;
        }
        if self.state.in_flight.get(&key.group, &key.topic, key.queue_id).is_some_and(|f| f.order.is_some()) {
            // Popped in order meanwhile: it comes again where it is.
            return self.can_be_popped(&key);
        }
        let moved = || self.kept_one(&key.topic, key.queue_id, offset) != Some(kept);
        match slice {
            // It was written again meanwhile, and what was read went.
            Some(slice) if slice.count == 0 && moved() => {
                self.state.in_flight.put_off(now_ms + RETRY_MS, key, offset);
            }
            Some(slice) => self.revive(now_ms, key, offset, slice),
            None => self.state.in_flight.put_off(now_ms + RETRY_MS, key, offset),
        }
    }

    /// A topic was deleted: what is read from it for its groups is not theirs any more.
    pub(crate) fn forget_reads_of_topic(&mut self, topic: &str) {
        self.forget_reads(|of, _| *of == *topic);
    }

    /// Lite topics were deleted.
    pub(crate) fn forget_reads_of_lite_topics(&mut self) {
        self.forget_reads(|of, lite| names::lite_parts(of).is_some() && !lite.has(of));
    }

    fn forget_reads(&mut self, gone: impl Fn(&str, &Lite) -> bool) {
        let (before, lite) = (self.reads.len(), &self.lite);
        self.reads.retain(|_, pending| match pending {
            Pending::Revive { key, .. } => !gone(&key.topic, lite),
            Pending::Pop(pop) => {
                pop.forget_topics(|topic| gone(topic, lite));
                true
            }
            _ => true,
        });
        self.pops.reviving = self.pops.reviving.saturating_sub(before - self.reads.len());
    }

    fn revive(&mut self, now_ms: i64, key: Key, offset: u64, slice: &QueueSlice) {
        self.counters.damaged += slice.damaged.len() as u64;
        let view = record::split(&slice.records)
            .flatten()
            .find(|view| view.offset_in(&key.topic, key.queue_id) == Some(offset));
        // One that is gone with its segment, or damaged, cannot come again.
        let appended = view.map_or(Ok(()), |view| self.append_revived(now_ms, &key, offset, &view));
        match appended {
            Ok(()) => self.end_popped(&key, &[offset]),
            Err(_) => self.state.in_flight.put_off(now_ms + RETRY_MS, key, offset),
        }
    }

    fn append_revived(
        &mut self,
        now_ms: i64,
        key: &Key,
        offset: u64,
        view: &RecordView<'_>,
    ) -> Result<(), AppendError> {
        let (topic, origin) = match key.topic.starts_with(RETRY_PREFIX) {
            true => (Arc::clone(&key.topic), Origin::PoppedAgain(key.queue_id, offset)),
            false => {
                let topic = self.ensure_topic(now_ms, receipt::retry_topic(&key.topic, &key.group), 1)?;
                (topic, Origin::Popped(key.queue_id, offset))
            }
        };
        let taken = self.state.in_flight.message(key, offset);
        let untried = taken.is_some_and(|taken| taken.times == UNCOUNTED);
        let mut properties = PropertiesBuf::from(view.properties().0);
        let first = view.reconsume_times == 0 || view.properties().get(property::FIRST_POP_TIME).is_none();
        if first && let Some(taken) = taken.filter(|_| !untried) {
            properties.set(property::FIRST_POP_TIME, &taken.pop_ms.to_string());
        }
        if properties.as_bytes().len() > record::PROPERTIES_BYTES_MAX {
            properties = PropertiesBuf::from(view.properties().0);
        }
        let draft = Draft { topic, queue_id: 0, properties };
        let in_the_way = self.store.disk().wanted.is_some_and(|wanted| view.position < wanted);
        let moved = self.append_moved(in_the_way, now_ms, view, &draft, |message| {
            if !untried {
                message.reconsume_times = message.reconsume_times.saturating_add(1);
            }
            origin.name_in(message);
        });
        if moved.as_ref().is_err_and(AppendError::is_final) {
            self.counters.damaged += 1;
        }
        self.or_astray(moved)
    }
}
