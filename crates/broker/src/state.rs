//! The durable state: what state records of the log say, and how it is written there.
//!
//! Entry kinds and payloads (all integers big-endian, strings as `length u16 | UTF-8`) are drawn in
//! `docs/formats/state.md`.

use crate::groups::Groups;
use crate::offsets::{Commit, Offsets};
use crate::topics::Topics;
use bytes::Buf;
use kerolox_store::{StateFold, state};
use kerolox_wire::body;

/// Entry kinds of the broker; those below 16 are the store's.
mod kind {
    /// A topic's settings as JSON.
    pub(super) const TOPIC_PUT: u8 = 16;
    /// A group's settings as JSON.
    pub(super) const GROUP_PUT: u8 = 18;
    /// `group | topic | queue u32 | offset u64`.
    pub(super) const OFFSET: u8 = 20;
    /// `level u8 | offset u64`: how far delayed messages of a level were delivered.
    pub(super) const DELAY_OFFSET: u8 = 21;
}

/// Topics, groups, consumer offsets and delay progress, as a fold of the log.
#[derive(Default)]
pub struct State {
    pub(crate) topics: Topics,
    pub(crate) groups: Groups,
    pub(crate) offsets: Offsets,
    /// Next offset to deliver in each delay level's queue, by level − 1.
    pub(crate) delay_offsets: Vec<u64>,
}

impl State {
    pub(crate) fn set_delay_offset(&mut self, index: usize, offset: u64) {
        if self.delay_offsets.len() <= index {
            self.delay_offsets.resize(index + 1, 0);
        }
        if let Some(slot) = self.delay_offsets.get_mut(index) {
            *slot = offset;
        }
    }

    /// The whole state as an entry stream.
    pub(crate) fn dump(&self) -> Vec<u8> {
        let mut out = Vec::new();
        for (_, topic) in self.topics.sorted().into_iter().filter(|(_, topic)| !topic.system) {
            put_topic(&mut out, &topic.config);
        }
        for group in self.groups.all() {
            put_group(&mut out, group);
        }
        for commit in self.offsets.all() {
            put_offset(&mut out, &commit);
        }
        for (index, offset) in self.delay_offsets.iter().enumerate().filter(|(_, offset)| **offset > 0) {
            put_delay_offset(&mut out, index, *offset);
        }
        out
    }
}

/// Bytes of one state record at most.
const RECORD_BYTES_MAX: usize = 1024 * 1024;

/// How many of the first bytes of an entry stream make the next state record: whole entries, at least one.
pub(crate) fn record_len(stream: &[u8]) -> usize {
    if stream.len() <= RECORD_BYTES_MAX {
        return stream.len();
    }
    let mut len = 0;
    for entry in state::entries(stream) {
        let entry_len = entry.map_or(stream.len(), |(_, payload)| state::HEAD_BYTES + payload.len());
        if len > 0 && len + entry_len > RECORD_BYTES_MAX {
            break;
        }
        len += entry_len;
    }
    len.min(stream.len())
}

pub(crate) fn put_topic(out: &mut Vec<u8>, config: &body::TopicConfig) {
    state::put(out, kind::TOPIC_PUT, &body::to_json(config));
}

pub(crate) fn put_group(out: &mut Vec<u8>, config: &body::SubscriptionGroupConfig) {
    state::put(out, kind::GROUP_PUT, &body::to_json(config));
}

pub(crate) fn put_offset(out: &mut Vec<u8>, commit: &Commit) {
    let mut payload = Vec::with_capacity(16 + commit.group.len() + commit.topic.len());
    for text in [&commit.group, &commit.topic] {
        payload.extend_from_slice(&(text.len() as u16).to_be_bytes());
        payload.extend_from_slice(text.as_bytes());
    }
    payload.extend_from_slice(&commit.queue_id.to_be_bytes());
    payload.extend_from_slice(&commit.offset.to_be_bytes());
    state::put(out, kind::OFFSET, &payload);
}

pub(crate) fn put_delay_offset(out: &mut Vec<u8>, index: usize, offset: u64) {
    let mut payload = [0; 9];
    if let Some((level, rest)) = payload.split_first_mut() {
        *level = index as u8 + 1;
        rest.copy_from_slice(&offset.to_be_bytes());
    }
    state::put(out, kind::DELAY_OFFSET, &payload);
}

impl StateFold for State {
    fn reset(&mut self) {
        *self = Self::default();
    }

    fn apply(&mut self, kind: u8, payload: &[u8]) -> Result<(), String> {
        match kind {
            kind::TOPIC_PUT => self.topics.put(0, json(payload)?),
            kind::GROUP_PUT => self.groups.put(json(payload)?),
            kind::OFFSET => self.apply_offset(payload).ok_or("offset entry is malformed")?,
            kind::DELAY_OFFSET => {
                self.apply_delay_offset(payload).ok_or("delay offset entry is malformed")?
            }
            other => return Err(format!("entry kind {other} is not known to this version")),
        }
        Ok(())
    }
}

impl State {
    fn apply_offset(&mut self, mut payload: &[u8]) -> Option<()> {
        let group = text(&mut payload)?;
        let topic = text(&mut payload)?;
        let queue_id = payload.try_get_u32().ok()?;
        let offset = payload.try_get_u64().ok()?;
        self.offsets.set(group, topic, queue_id, offset);
        Some(())
    }

    fn apply_delay_offset(&mut self, mut payload: &[u8]) -> Option<()> {
        let level = payload.try_get_u8().ok()?;
        let offset = payload.try_get_u64().ok()?;
        self.set_delay_offset(usize::from(level).checked_sub(1)?, offset);
        Some(())
    }
}

fn json<'a, T: serde::Deserialize<'a>>(payload: &'a [u8]) -> Result<T, String> {
    serde_json::from_slice(payload).map_err(|e| e.to_string())
}

fn text<'a>(payload: &mut &'a [u8]) -> Option<&'a str> {
    let len = usize::from(payload.try_get_u16().ok()?);
    let (text, rest) = payload.split_at_checked(len)?;
    *payload = rest;
    std::str::from_utf8(text).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{groups, topics};

    fn fold(stream: &[u8]) -> State {
        let mut state = State::default();
        for entry in state::entries(stream) {
            let (kind, payload) = entry.unwrap();
            state.apply(kind, payload).unwrap();
        }
        state
    }

    #[test]
    fn a_dump_folds_back_to_the_same_state() {
        let mut state = State::default();
        state.topics.put(1, topics::new("orders", 8, 6));
        state.topics.put(1, topics::new("%RETRY%g", 1, 6));
        state.groups.put(groups::new("g"));
        state.offsets.set("g", "orders", 7, u64::MAX);
        state.offsets.set("g", "%RETRY%g", 0, 3);
        state.set_delay_offset(17, 42);
        let dump = state.dump();
        let folded = fold(&dump);
        assert_eq!(folded.dump(), dump);
        assert_eq!(folded.offsets.get("g", "orders", 7), Some(u64::MAX));
        assert_eq!(folded.topics.get("orders").unwrap().write_queue_nums, 8);
        assert_eq!(folded.delay_offsets.get(17), Some(&42));
    }

    #[test]
    fn unknown_and_malformed_entries_are_errors() {
        let mut state = State::default();
        assert!(state.apply(200, b"").unwrap_err().contains("200"));
        assert!(state.apply(kind::OFFSET, b"\0\x01").is_err());
        assert!(state.apply(kind::TOPIC_PUT, b"{").is_err());
        assert!(state.apply(kind::DELAY_OFFSET, b"\0\0\0\0\0\0\0\0\x01").is_err());
    }
}
