//! Lite topics that were silent for as long as their parent's `lite.topic.expiration` says go, with their messages and
//! offsets. Source: `AbstractLiteLifecycleManager`.

use crate::Broker;
use crate::attributes;
use crate::effect::Effect;
use crate::lmq::is_lite;
use crate::pending::Pending;
use kerolox_store::{AppendError, QueueRead, QueueReadOutcome, QueueSlice};
use kerolox_wire::names;
use kerolox_wire::record;
use std::sync::Arc;

/// From one search to the next: Apache's `liteTtlCheckInterval`.
const SCAN_EVERY_MS: i64 = 120_000;
/// None goes before it was silent for so long, or the broker was up for so long: Apache's `minLiteTTl`.
const AGE_MS_MIN: i64 = 900_000;
/// Lite topics looked at, and messages read for it, at a time.
const SCAN_MAX: usize = 20_000;
const READS_MAX: usize = 64;
/// Deleted at a time: each is a record, and a look at each group.
const DELETE_MAX: usize = 1_000;

impl Broker {
    /// At a start: which lite topics there are.
    pub(crate) fn find_lite_topics(&mut self) {
        for (queue, ..) in self.store.queues().filter(|(queue, ..)| names::lite_parts(queue).is_some()) {
            self.lite.stored(queue, None);
        }
    }

    pub(crate) fn tick_lite(&mut self, now_ms: i64, out: &mut Vec<Effect>) {
        self.lite.forget_silent(now_ms);
        if now_ms < self.lite.scan_ms || now_ms - self.lite.started_ms < AGE_MS_MIN || self.draining {
            return;
        }
        let from = self.lite.scan_from.take();
        let from: &str = from.as_deref().unwrap_or_default();
        let range = (std::ops::Bound::Excluded(from), std::ops::Bound::Unbounded);
        let some = self.lite.queues.range::<str, _>(range).take(SCAN_MAX);
        let some: Vec<(Arc<str>, Option<i64>)> =
            some.map(|(queue, last)| (Arc::clone(queue), *last)).collect();
        let (mut reads, mut deleted, mut looked_at) = (0, 0, None);
        for (queue, last) in &some {
            match last {
                Some(last) if self.is_silent(now_ms, queue, *last) => {
                    // A log that refuses for the moment ends the search.
                    if deleted == DELETE_MAX || self.delete_lite_topic(now_ms, queue).is_err() {
                        break;
                    }
                    deleted += 1;
                }
                None if reads < READS_MAX && self.is_silent(now_ms, queue, i64::MIN) => {
                    reads += 1;
                    self.read_last(now_ms, queue, out);
                }
                _ => {}
            }
            looked_at = Some(queue);
        }
        if deleted > 0 {
            self.forget_reads_of_lite_topics();
        }
        match looked_at.filter(|_| some.len() == SCAN_MAX || deleted == DELETE_MAX) {
            Some(last) => self.lite.scan_from = Some(Arc::clone(last)),
            None => self.lite.scan_ms = now_ms + SCAN_EVERY_MS,
        }
    }

    /// Whether a lite topic is to go whose last message was stored then.
    fn is_silent(&self, now_ms: i64, queue: &str, last_ms: i64) -> bool {
        let Some((parent, _)) = names::lite_parts(queue) else { return false };
        // Without its parent nobody can send to it or read it any more. One that is of another type may be set back.
        let Some(parent) = self.state.topics.get(parent) else { return true };
        let minutes = parent.attributes.get(attributes::LITE_EXPIRATION).filter(|_| is_lite(parent));
        let minutes: i64 = minutes.and_then(|minutes| minutes.parse().ok()).unwrap_or(-1);
        let age_ms = now_ms.saturating_sub(last_ms);
        minutes > 0 && age_ms >= AGE_MS_MIN && age_ms > minutes.saturating_mul(60_000)
    }

    /// Reads when a lite topic's last message was stored.
    fn read_last(&mut self, now_ms: i64, queue: &Arc<str>, out: &mut Vec<Effect>) {
        let bounds = self.bounds(queue, 0);
        let read = QueueRead::one(Arc::clone(queue), 0, bounds.max.saturating_sub(1));
        match self.store.read_queue(read) {
            QueueReadOutcome::Done(slice) => self.lite_last_read(now_ms, queue, Some(&slice)),
            QueueReadOutcome::Cold(plan) => {
                self.start_read(plan, Pending::LiteLast { queue: Arc::clone(queue) }, out);
            }
        }
    }

    /// It was read; `None`: it could not be, and is tried again.
    pub(crate) fn lite_last_read(&mut self, now_ms: i64, queue: &Arc<str>, slice: Option<&QueueSlice>) {
        let Some(slice) = slice else { return };
        let last = record::split(&slice.records).flatten().last().map(|view| view.store_ms);
        // A message that came meanwhile is newer. Of one that is gone with its segment, or damaged, nobody knows how old it was.
        if self.lite.queues.get(queue).is_some_and(Option::is_none) {
            let last = last.unwrap_or(self.lite.started_ms);
            self.lite.stored(queue, Some(last));
            if self.is_silent(now_ms, queue, last) {
                // Refused for the moment: the next search comes to it.
                let _ = self.delete_lite_topic(now_ms, queue);
                self.forget_reads_of_lite_topics();
            }
        }
    }

    /// Deletes a lite topic with its messages, offsets and subscriptions. What is being read from it is to be forgotten then:
    /// [`Self::forget_reads_of_lite_topics`].
    fn delete_lite_topic(&mut self, now_ms: i64, queue: &Arc<str>) -> Result<(), AppendError> {
        self.forget_topic(now_ms, queue)?;
        for client in self.lite.subscribers.get(queue).cloned().unwrap_or_default() {
            self.lite.unsubscribe(&client, queue);
        }
        self.lite.queues.remove(queue);
        Ok(())
    }

    /// A parent topic was deleted: its lite topics go as well, all but so many that it would take long.
    pub(crate) fn delete_lite_topics_of(&mut self, now_ms: i64, parent: &str) -> Result<(), AppendError> {
        let queues: Vec<Arc<str>> = self.lite.below(parent).take(SCAN_MAX).cloned().collect();
        let deleted = queues.iter().try_for_each(|queue| self.delete_lite_topic(now_ms, queue));
        self.forget_reads_of_lite_topics();
        deleted
    }
}
