//! The state for people who look into a data directory: its entries in words, and what waits.

use crate::dump::At;
use crate::state::{self, State, kind};
use bytes::Buf;
use kerolox_store::state::{KIND_APPLICATION_MIN, Words, entries};
use serde_json::Value;
use std::sync::Arc;

/// What is not done yet.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Waiting {
    /// Half messages that were neither committed nor rolled back.
    pub half_messages: usize,
    /// When the oldest of them was stored, or its producer asked last.
    pub oldest_half_ms: Option<i64>,
    /// Messages that were popped and not acknowledged.
    pub in_flight: usize,
}

/// Bytes of the state that are said at once.
const PART_BYTES: usize = 1 << 20;

impl State {
    /// Group, topic, queue and committed offset of each.
    pub fn committed(&self) -> impl Iterator<Item = (Arc<str>, Arc<str>, u32, u64)> {
        self.offsets.all().map(|commit| (commit.group, commit.topic, commit.queue_id, commit.offset))
    }

    pub fn waiting(&self) -> Waiting {
        Waiting {
            half_messages: self.halves.iter().count(),
            oldest_half_ms: self.halves.iter().map(|(_, half)| half.since_ms).min(),
            in_flight: self.in_flight.len(),
        }
    }

    /// Whether a timer message (its due time and its offset in the queue of timer messages) is still to be delivered.
    pub fn is_timer_waiting(&self, due_ms: i64, offset: u64) -> bool {
        (due_ms, offset) > self.timers.done && !self.timers.recalled.contains(&(due_ms, offset))
    }

    /// Next offset to deliver in each queue of delayed messages, from queue 0 on.
    pub fn delayed_from(&self) -> &[u64] {
        &self.delay_offsets
    }

    /// Shows the whole state, entry by entry.
    pub fn each_entry(&self, mut show: impl FnMut(u8, &[u8])) {
        let (mut at, mut part) = (At::topics(), Vec::new());
        while at != At::End {
            at = self.say(at, PART_BYTES, &mut part);
            entries(&part).flatten().for_each(|(kind, payload)| show(kind, payload));
            part.clear();
        }
    }
}

/// A state entry in words.
///
/// # Errors
/// It is malformed, or its kind is not known.
pub fn describe(kind: u8, payload: &[u8]) -> Result<Words, String> {
    if kind < KIND_APPLICATION_MIN {
        return kerolox_store::state::describe(kind, payload);
    }
    let known = kind::ALL.iter().find(|(known, _)| *known == kind);
    let (_, name) = known.ok_or_else(|| format!("entry kind {kind} is not known to this version"))?;
    let said = match kind {
        kind::TOPIC_PUT | kind::GROUP_PUT | kind::REQUEST_MODE => of_json(payload),
        kind::OFFSET | kind::OFFSET_FORGOTTEN | kind::RESET | kind::RESET_DONE | kind::POP_CLEARED => {
            of_queue(kind, payload)
        }
        kind::POP_TAKEN | kind::POP_ENDED => of_pop(kind, payload),
        kind::HALF_PUT | kind::HALF_END | kind::TIMER_DONE | kind::TIMER_RECALLED => {
            of_numbers(kind, payload)
        }
        _ => of_names(kind, payload),
    };
    let (key, value) = said.ok_or_else(|| format!("{name} entry is malformed"))?;
    Ok(Words { name, key, value })
}

fn of_json(payload: &[u8]) -> Option<(String, String)> {
    let settings: Value = serde_json::from_slice(payload).ok()?;
    let name = |member: &str| settings.get(member).and_then(Value::as_str);
    let key = match (name("topicName"), name("groupName"), name("consumerGroup")) {
        (Some(topic), _, _) => format!("topic {topic}"),
        (_, Some(group), _) => format!("group {group}"),
        (_, _, group) => format!("group {}, topic {}", group?, name("topic")?),
    };
    Some((key, settings.to_string()))
}

fn of_queue(kind: u8, mut payload: &[u8]) -> Option<(String, String)> {
    let (group, topic, queue_id) = state::take_queue_of_group(&mut payload)?;
    let value = match kind {
        kind::OFFSET => format!("offset {}", payload.try_get_u64().ok()?),
        kind::OFFSET_FORGOTTEN => "it has no offset there any more".to_owned(),
        kind::RESET => format!("consumers are to begin at {}", payload.try_get_u64().ok()?),
        kind::RESET_DONE => "one has begun there".to_owned(),
        _ => "nothing is in flight".to_owned(),
    };
    Some((queue(group, topic, queue_id), value))
}

fn queue(group: &str, topic: &str, queue_id: u32) -> String {
    format!("group {group}, topic {topic}, queue {queue_id}")
}

fn of_pop(kind: u8, payload: &[u8]) -> Option<(String, String)> {
    if kind == kind::POP_ENDED {
        let (key, offsets) = state::ended_pop(payload)?;
        return Some((queue(&key.group, &key.topic, key.queue_id), format!("offsets {offsets:?}")));
    }
    let take = state::take_pop(payload)?;
    let order = match take.order.as_deref() {
        None => String::new(),
        Some("") => ", in order".to_owned(),
        Some(attempt) => format!(", in order, attempt {attempt}"),
    };
    let offsets: Vec<u64> = take.messages.iter().map(|(offset, _)| *offset).collect();
    let value = format!(
        "offsets {offsets:?}, popped {} ms, invisible until {} ms, next {}{order}",
        take.pop_ms, take.visible_ms, take.next
    );
    Some((queue(&take.key.group, &take.key.topic, take.key.queue_id), value))
}

fn of_numbers(kind: u8, mut payload: &[u8]) -> Option<(String, String)> {
    let payload = &mut payload;
    let mut next = || payload.try_get_u64().ok();
    Some(match kind {
        kind::HALF_END => {
            (format!("half message at position {}", next()?), "rolled back or given up".to_owned())
        }
        kind::HALF_PUT => {
            let (position, offset, since_ms) = (next()?, next()?, next()? as i64);
            let (immunity_s, checks) = (payload.try_get_i32().ok()?, payload.try_get_u32().ok()?);
            let value = format!(
                "waits at offset {offset} since {since_ms} ms, not to be asked for {immunity_s} s, asked {checks} times"
            );
            (format!("half message at position {position}"), value)
        }
        kind::TIMER_DONE => {
            let (due_ms, offset) = (next()? as i64, next()?);
            let value = format!(
                "delivered up to due time {due_ms} ms, offset {offset}; none below {} waits",
                next()?
            );
            ("timer messages".to_owned(), value)
        }
        _ => {
            let (due_ms, offset) = (next()? as i64, next()?);
            (format!("timer message due {due_ms} ms, offset {offset}"), "is not to be delivered".to_owned())
        }
    })
}

fn of_names(kind: u8, mut payload: &[u8]) -> Option<(String, String)> {
    Some(match kind {
        kind::TOPIC_DELETE => {
            (format!("topic {}", std::str::from_utf8(payload).ok()?), "is deleted".to_owned())
        }
        kind::GROUP_DELETE => {
            let (offsets_too, group) = payload.split_last()?;
            let value = if *offsets_too == 0 { "is deleted" } else { "is deleted, its offsets too" };
            (format!("group {}", std::str::from_utf8(group).ok()?), value.to_owned())
        }
        kind::CONFIG => {
            let key = state::text(&mut payload)?;
            (format!("setting {key}"), format!("{:?}", std::str::from_utf8(payload).ok()?))
        }
        kind::DELAY_OFFSET => {
            let level = payload.try_get_u8().ok()?;
            (format!("delay level {level}"), format!("next offset {}", payload.try_get_u64().ok()?))
        }
        kind::KNOWN_FILE => {
            let name = state::text(&mut payload)?;
            let value = format!("with checksum {:#010x} it says nothing new", payload.try_get_u32().ok()?);
            (format!("Apache's file {name}"), value)
        }
        kind::DELAY_QUEUES => {
            let (delays, _) = payload.as_chunks();
            let delays: Vec<i64> = delays.iter().map(|ms| i64::from_be_bytes(*ms)).collect();
            ("delays".to_owned(), format!("{delays:?} ms"))
        }
        _ => {
            let (group, topic) = (state::text(&mut payload)?, state::text(&mut payload)?);
            (format!("group {group}, topic {topic}"), format!("bits {}", payload.try_get_i32().ok()?))
        }
    })
}
