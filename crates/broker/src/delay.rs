//! Delay levels: messages wait in the queue of their level's delay in `SCHEDULE_TOPIC_XXXX` and are appended to their real
//! topic when their time has come. Such a queue is in order of due times, so only its head needs watching. With Apache's levels
//! the queue of level n is n − 1; a delay that other settings bring gets a further one ([`Broker::map_delays`]).

use crate::Broker;
use crate::config::{BrokerConfig, DELAY_LEVELS_DEFAULT, parse_delay_levels};
use crate::effect::Effect;
use crate::hot;
use crate::moved::Origin;
use crate::pending::Pending;
use crate::produce::Draft;
use crate::state::{self, State};
use crate::transaction::{real_draft, real_target};
use kerolox_store::{Position, QueueRead, QueueReadOutcome, QueueSlice};
use kerolox_wire::names;
use kerolox_wire::properties::{PropertiesBuf, name as property};
use kerolox_wire::record::{self, RecordView};
use std::collections::BTreeSet;
use std::sync::Arc;

/// Messages delivered from one level at a time.
const BATCH_COUNT: u32 = 64;
const BATCH_BYTES: u32 = 1024 * 1024;
/// Queues of different delays, as many as a byte can name.
const QUEUES_MAX: usize = 255;
/// Pause after a delivery that the log refused.
const RETRY_MS: i64 = 100;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Level {
    /// All delivered; the next message of the level's queue will wake it.
    Idle,
    /// The head is due then (or is to be looked at then).
    Due(i64),
    Reading,
}

/// Where each delay level stands. Progress itself is durable: see `state`.
pub(crate) struct Delay {
    topic: Arc<str>,
    levels: Vec<Level>,
    /// What lies below this is in the way of retention.
    below: Position,
}

impl Delay {
    pub(crate) fn new() -> Self {
        Self { topic: Arc::from(names::SCHEDULE_TOPIC), levels: Vec::new(), below: 0 }
    }

    /// There are so many queues; new ones are looked at once.
    fn grow(&mut self, now_ms: i64, queues: usize) {
        self.levels.resize(queues.max(self.levels.len()), Level::Due(now_ms));
    }

    /// The schedule topic's shared name.
    pub(crate) fn topic(&self) -> Arc<str> {
        Arc::clone(&self.topic)
    }

    pub(crate) fn wake_ms(&self) -> Option<i64> {
        let due = |level: &Level| match level {
            Level::Due(at) => Some(*at),
            _ => None,
        };
        self.levels.iter().filter_map(due).min()
    }

    fn set(&mut self, index: usize, level: Level) {
        if let Some(slot) = self.levels.get_mut(index) {
            *slot = level;
        }
    }

    /// A message became visible in the queue of a level.
    pub(crate) fn arrived(&mut self, now_ms: i64, index: usize) {
        if self.levels.get(index) == Some(&Level::Idle) {
            self.set(index, Level::Due(now_ms));
        }
    }

    pub(crate) fn retry(&mut self, now_ms: i64, index: usize) {
        self.set(index, Level::Due(now_ms + RETRY_MS));
    }

    fn due(&self, now_ms: i64) -> Vec<usize> {
        let due = |(index, level): (usize, &Level)| {
            matches!(level, Level::Due(at) if *at <= now_ms).then_some(index)
        };
        self.levels.iter().enumerate().filter_map(due).collect()
    }
}

/// The delays of the schedule topic's queues as long as nobody asked for others.
pub(crate) fn apaches_queues() -> Vec<i64> {
    parse_delay_levels(DELAY_LEVELS_DEFAULT).unwrap_or_default()
}

impl State {
    /// Whether a broker can go on with this state by these settings.
    ///
    /// # Errors
    /// There is no queue for a delay any more.
    pub fn check(&self, config: &BrokerConfig) -> Result<(), String> {
        self.check_delays(&hot::with(config, &self.config).delay_levels_ms)
    }

    /// Whether there is a queue for each of these delays, or room for one.
    pub(crate) fn check_delays(&self, delays_ms: &[i64]) -> Result<(), String> {
        let apaches = self.delay_queues_ms.is_empty().then(apaches_queues);
        let queues = apaches.as_ref().unwrap_or(&self.delay_queues_ms);
        let new: BTreeSet<&i64> = delays_ms.iter().filter(|delay_ms| !queues.contains(delay_ms)).collect();
        match queues.len() + new.len() <= QUEUES_MAX {
            true => Ok(()),
            false => Err(format!(
                "messageDelayLevel: there were {} different delays before; {QUEUES_MAX} is the limit",
                queues.len()
            )),
        }
    }
}

impl Broker {
    /// Gives every delay a queue of its own. One that has a queue keeps it, whatever level it belongs to now, so that what
    /// waits is due when it was meant to be, and nothing waits behind a longer delay.
    pub(crate) fn map_delays(&mut self, now_ms: i64) {
        let queues = &mut self.state.delay_queues_ms;
        let mut changed = false;
        if queues.is_empty() {
            *queues = apaches_queues();
            // Where nothing waits yet the queues may be as Apache would have them by these settings.
            if !self.store.has_queues(names::SCHEDULE_TOPIC) && *queues != self.config.delay_levels_ms {
                queues.clone_from(&self.config.delay_levels_ms);
                changed = true;
            }
        }
        for delay_ms in &self.config.delay_levels_ms {
            if !queues.contains(delay_ms) && queues.len() < QUEUES_MAX {
                queues.push(*delay_ms);
                changed = true;
            }
        }
        if changed {
            state::put_delay_queues(&mut self.changes, queues);
        }
        self.delay.grow(now_ms, queues.len());
    }

    /// The queue of a level, counted from 1.
    pub(crate) fn delay_queue(&self, level: usize) -> u32 {
        let delay_ms = level.checked_sub(1).and_then(|index| self.config.delay_levels_ms.get(index));
        let queue = self.state.delay_queues_ms.iter().position(|queue_ms| Some(queue_ms) == delay_ms);
        queue.unwrap_or(0) as u32
    }

    /// Delivers what is due.
    pub(crate) fn tick_delay(&mut self, now_ms: i64, out: &mut Vec<Effect>) {
        if self.draining {
            return;
        }
        for index in self.delay.due(now_ms) {
            self.look_at_level(now_ms, index, out);
        }
    }

    /// Messages that wait below `below` go on waiting at the end of the log, among the timer messages: the segments they lie in are to go.
    pub(crate) fn roll_delays(&mut self, now_ms: i64, below: Position) {
        self.delay.below = below;
        for index in 0..self.delay.levels.len() {
            let next = self.state.delay_offsets.get(index).copied().unwrap_or(0);
            let lies_from = self.store.lies_from(names::SCHEDULE_TOPIC, index as u32, next);
            let waits = matches!(self.delay.levels.get(index), Some(Level::Due(_)));
            if waits && lies_from.is_some_and(|position| position < below) {
                self.delay.set(index, Level::Due(now_ms));
            }
        }
    }

    fn look_at_level(&mut self, now_ms: i64, index: usize, out: &mut Vec<Effect>) {
        let bounds = self.bounds(names::SCHEDULE_TOPIC, index as u32);
        let next = self.state.delay_offsets.get(index).copied().unwrap_or(0);
        let from = next.clamp(bounds.min, bounds.max);
        if from == bounds.max {
            return self.delay.set(index, Level::Idle);
        }
        let read = QueueRead {
            topic: Arc::clone(&self.delay.topic),
            queue_id: index as u32,
            from,
            count_max: BATCH_COUNT,
            bytes_max: BATCH_BYTES,
            scan_max: BATCH_COUNT,
            filter: None,
        };
        self.delay.set(index, Level::Reading);
        match self.store.read_queue(read) {
            QueueReadOutcome::Done(slice) => self.delay_read(now_ms, index, slice),
            QueueReadOutcome::Cold(plan) => self.start_read(plan, Pending::Delay { index }, out),
        }
    }

    /// The next messages of a level were read: those that are due go to their real topic, others that are in retention's way to the
    /// timer messages.
    pub(crate) fn delay_read(&mut self, now_ms: i64, index: usize, slice: QueueSlice) {
        self.counters.damaged += slice.damaged.len() as u64;
        let delay_ms = self.state.delay_queues_ms.get(index).copied().unwrap_or(0);
        let mut delivered_to = None;
        let mut after = Level::Due(now_ms);
        for message in record::split(&slice.records) {
            let Ok(message) = message else { break };
            // The clock was ahead when it was stored: nobody knows since when it waits. Source: Apache's
            // `correctDeliverTimestamp`.
            let due_ms = match message.store_ms {
                future if future > now_ms => now_ms,
                stored => stored.saturating_add(delay_ms),
            };
            let in_the_way = message.position < self.delay.below;
            if due_ms > now_ms && !(in_the_way && self.keep_waiting(now_ms, due_ms, &message)) {
                after = Level::Due(due_ms);
                break;
            }
            if due_ms <= now_ms
                && let Err(e) = self.deliver(now_ms, &message, in_the_way)
            {
                self.counters.delay_refused += 1;
                let _ = e; // the log says why to the next sender; here it only means later
                after = Level::Due(now_ms + RETRY_MS);
                break;
            }
            delivered_to = Some(message.queue_offset + 1);
        }
        if after == Level::Due(now_ms) {
            // Everything read is done with, damaged records included.
            delivered_to = Some(slice.next_offset);
        }
        if let Some(offset) = delivered_to {
            self.state.set_delay_offset(index, offset);
            state::put_delay_offset(&mut self.changes, index, offset);
        }
        self.delay.set(index, after);
    }

    /// Appends a delayed message to its real topic. Source: `ScheduleMessageService.messageTimeUp`.
    fn deliver(
        &mut self,
        now_ms: i64,
        message: &RecordView<'_>,
        in_the_way: bool,
    ) -> Result<(), kerolox_store::AppendError> {
        let Some((topic, queue_id)) = real_target(message) else {
            // Nobody could say where it should go; it stays in the schedule topic.
            self.counters.delay_astray += 1;
            return Ok(());
        };
        // The level stays among the properties, as with Apache: consumers read it.
        let draft = Draft {
            topic: Arc::from(topic),
            queue_id,
            properties: PropertiesBuf::from(message.properties().0),
        };
        let origin = Origin::Delay(message.queue_id, message.queue_offset);
        let moved = self.append_moved(in_the_way, now_ms, message, &draft, |copy| origin.name_in(copy));
        self.or_astray(moved)
    }

    /// Appends a delayed message to the timer messages, where it can wait for any time. If that cannot be, it waits where it is.
    fn keep_waiting(&mut self, now_ms: i64, due_ms: i64, message: &RecordView<'_>) -> bool {
        let Some(mut draft) =
            real_draft(message).filter(|_| self.timers.len() < self.config.limits.timers_max)
        else {
            return false;
        };
        // Apache, which may go on with the log, would delay it once more.
        draft.properties.remove(property::DELAY_TIME_LEVEL);
        self.wait_until(due_ms, &mut draft);
        let origin = Origin::Delay(message.queue_id, message.queue_offset);
        self.append_moved(true, now_ms, message, &draft, |copy| origin.name_in(copy)).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A start with one more used to give its messages the delay of the first level.
    #[test]
    fn delays_beyond_those_that_queues_can_be_named_for_are_refused_at_the_start() {
        let mut config = BrokerConfig::new("b", "127.0.0.1:1".parse().unwrap());
        let mut state = State::default();
        assert_eq!(state.check(&config), Ok(()));
        state.delay_queues_ms = apaches_queues();
        state.delay_queues_ms.extend((state.delay_queues_ms.len()..QUEUES_MAX - 1).map(|n| -(n as i64)));
        config.delay_levels_ms = vec![1_000, 11_000, 11_000];
        assert_eq!(state.check(&config), Ok(()));
        config.delay_levels_ms.push(12_000);
        assert!(state.check(&config).unwrap_err().contains("254 different delays before; 255"));
        // What was set at run time goes before the file.
        state.config.insert("messageDelayLevel".to_owned(), "1s 11s".to_owned());
        assert_eq!(state.check(&config), Ok(()));
    }
}
