//! Where a message that the broker moved by itself came from.
//!
//! A message that is delivered at its time, given back to a group whose pop was not acknowledged, or kept from retention is a new
//! record, and what ends the original is an entry of the state behind it. A crash may leave the first without the second: the
//! original would be moved again, and the message come twice. So the new record names its original, in the field in which a
//! committed message names its half message, and whoever folds the log takes that for the original's end.

use crate::pop::Key;
use crate::state::State;
use kerolox_store::NewMessage;
use kerolox_wire::properties::name as property;
use kerolox_wire::receipt;
use kerolox_wire::record::RecordView;
use std::sync::Arc;

/// The original of a moved message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Origin {
    /// It waited for its time: its offset in the timer topic.
    Timer(u64),
    /// The same, and it goes on waiting.
    TimerKept(u64),
    /// It waited for a delay level: queue and offset in the schedule topic.
    Delay(u32, u64),
    /// It was popped from a topic and not acknowledged: queue and offset there.
    Popped(u32, u64),
    /// The same, from the retry topic that it went to again.
    PoppedAgain(u32, u64),
    /// A half message, by its position in the log.
    Half(u64),
}

// Of the field's 64 bits: sign 0, then 3 bits kind, 16 bits queue, 44 bits offset; or 3 bits kind and 60 bits position. A position
// that a committed message names has no kind.
const KIND_AT: u32 = 60;
const QUEUE_AT: u32 = 44;
const QUEUE_MAX: u64 = 0xffff;
const OFFSET_MAX: u64 = (1 << QUEUE_AT) - 1;
const POSITION_MAX: u64 = (1 << KIND_AT) - 1;

impl Origin {
    /// As the field of a record says it; 0, nothing, for numbers that do not fit.
    fn encode(self) -> i64 {
        let (kind, low) = match self {
            Self::Timer(offset) => (1, placed(0, offset)),
            Self::TimerKept(offset) => (2, placed(0, offset)),
            Self::Delay(queue_id, offset) => (3, placed(queue_id, offset)),
            Self::Popped(queue_id, offset) => (4, placed(queue_id, offset)),
            Self::PoppedAgain(queue_id, offset) => (5, placed(queue_id, offset)),
            Self::Half(position) => (6, Some(position).filter(|position| *position <= POSITION_MAX)),
        };
        // Holds because the kind takes 3 bits.
        low.map_or(0, |low| ((kind << KIND_AT) | low) as i64)
    }

    /// Says in the copy where the original is.
    pub(crate) fn name_in(self, copy: &mut NewMessage<'_>) {
        copy.prepared_transaction_offset = self.encode();
    }

    fn decode(field: i64) -> Option<Self> {
        let field = u64::try_from(field).ok()?;
        let (queue_id, offset) = ((field >> QUEUE_AT & QUEUE_MAX) as u32, field & OFFSET_MAX);
        match field >> KIND_AT {
            1 => Some(Self::Timer(offset)),
            2 => Some(Self::TimerKept(offset)),
            3 => Some(Self::Delay(queue_id, offset)),
            4 => Some(Self::Popped(queue_id, offset)),
            5 => Some(Self::PoppedAgain(queue_id, offset)),
            6 => Some(Self::Half(field & POSITION_MAX)),
            _ => None,
        }
    }
}

fn placed(queue_id: u32, offset: u64) -> Option<u64> {
    let queue_id = u64::from(queue_id);
    (queue_id <= QUEUE_MAX && offset <= OFFSET_MAX).then_some(queue_id << QUEUE_AT | offset)
}

impl State {
    /// A message that was moved is in the log: its original is done with. (Records of Apache's say nothing of the kind.)
    pub(crate) fn moved(&mut self, record: &RecordView<'_>) {
        let Some(origin) = Origin::decode(record.prepared_transaction_offset).filter(|_| record.has_crc())
        else {
            return;
        };
        let due_ms = || record.properties().get(property::TIMER_OUT_MS)?.parse().ok();
        match origin {
            Origin::Timer(offset) => {
                if let Some(due_ms) = due_ms() {
                    self.timers.advance((due_ms, offset), 0);
                }
            }
            Origin::TimerKept(offset) => {
                if let Some(due) =
                    due_ms().map(|due_ms| (due_ms, offset)).filter(|due| *due > self.timers.done)
                {
                    self.timers.recalled.insert(due);
                }
            }
            Origin::Delay(queue_id, offset) => {
                let index = queue_id as usize;
                if self.delay_offsets.get(index).is_none_or(|known| *known <= offset) {
                    self.set_delay_offset(index, offset + 1);
                }
            }
            Origin::Popped(queue_id, offset) => {
                self.popped_moved(record.topic, queue_id, offset, |topic, group| {
                    receipt::retry_topic(topic, group) == record.topic
                });
            }
            Origin::PoppedAgain(queue_id, offset) => {
                self.popped_moved(record.topic, queue_id, offset, |topic, _| topic == record.topic);
            }
            Origin::Half(position) => self.halves.remove(position),
        }
    }

    /// The message of a group whose retry topic that is, from the topic that fits. Where the names fit two (`a` with `b_c`, `a_b` with
    /// `c`) it is left to the entry that follows.
    fn popped_moved(&mut self, retry: &str, queue_id: u32, offset: u64, fits: impl Fn(&str, &str) -> bool) {
        let popped = |(topic, group)| {
            let key = Key { group: Arc::clone(group), topic: Arc::clone(topic), queue_id };
            self.in_flight.message(&key, offset).map(|_| key)
        };
        let named = self.in_flight.topics_of_retry(retry).filter(|(topic, group)| fits(topic, group));
        let keys: Vec<Key> = named.filter_map(popped).collect();
        if let [key] = &*keys {
            self.pop_ended(key, &[offset]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origins_come_back_and_are_never_positions() {
        let all = [
            Origin::Timer(0),
            Origin::Timer(OFFSET_MAX),
            Origin::TimerKept(7),
            Origin::Delay(17, 5),
            Origin::Popped(8191, 1),
            Origin::PoppedAgain(0, 0),
            Origin::Half(POSITION_MAX),
        ];
        for origin in all {
            assert_eq!(Origin::decode(origin.encode()), Some(origin));
        }
        for position in [0, 1, 1 << 44, POSITION_MAX as i64, -1, i64::MIN, i64::MAX] {
            assert_eq!(Origin::decode(position), None, "{position}");
        }
        for unfit in
            [Origin::Timer(OFFSET_MAX + 1), Origin::Popped(65_536, 0), Origin::Half(POSITION_MAX + 1)]
        {
            assert_eq!(unfit.encode(), 0);
        }
    }
}
