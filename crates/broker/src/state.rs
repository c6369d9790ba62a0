//! The durable state: what state records of the log say, and how it is written there.
//!
//! Entry kinds and payloads (all integers big-endian, strings as `length u16 | UTF-8`) are drawn in
//! `docs/formats/broker-state.md`.

use crate::config::perm;
use crate::groups::Groups;
use crate::halves::{Half, Halves, Stored};
use crate::offsets::{Commit, Offsets};
use crate::pop::{InFlight, Key, Take};
use crate::resets::Resets;
use crate::timer::Due;
use crate::timers_done::TimersDone;
use crate::topics::Topics;
use bytes::Buf;
use kerolox_store::{StateFold, state};
use kerolox_wire::body;
use kerolox_wire::body::SetMessageRequestMode;
use kerolox_wire::record::RecordView;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Entry kinds of the broker, each with its name; those below 16 are the store's.
pub(crate) mod kind {
    macro_rules! kinds {
        ($($(#[$doc:meta])* $const:ident = $number:literal, $name:literal;)*) => {
            $($(#[$doc])* pub(crate) const $const: u8 = $number;)*
            pub(crate) const ALL: &[(u8, &str)] = &[$(($number, $name)),*];
        };
    }

    kinds! {
        /// A topic's settings as JSON.
        TOPIC_PUT = 16, "topic put";
        /// `name`: a topic is no more, and its offsets neither.
        TOPIC_DELETE = 17, "topic deleted";
        /// A group's settings as JSON.
        GROUP_PUT = 18, "group put";
        /// `name | offsets too u8`: a group is no more.
        GROUP_DELETE = 19, "group deleted";
        /// `group | topic | queue u32 | offset u64`.
        OFFSET = 20, "offset";
        /// `level u8 | offset u64`: how far delayed messages of a level were delivered.
        DELAY_OFFSET = 21, "delay offset";
        /// `position u64 | offset u64 | since ms i64 | immunity s i32 | checks u32`: a half message that waits for its end.
        HALF_PUT = 22, "half put";
        /// `position u64`: it was rolled back or given up.
        HALF_END = 23, "half end";
        /// `due ms i64 | offset u64 | floor u64`: timer messages up to this one were delivered.
        TIMER_DONE = 24, "timers done";
        /// `due ms i64 | offset u64`: this one is not to be delivered.
        TIMER_RECALLED = 25, "timer recalled";
        /// `group | topic | queue u32`: the group has no offset there, as if it had never been; nor is anything in flight.
        OFFSET_FORGOTTEN = 26, "offset forgotten";
        /// `group | topic | queue u32 | next u64 | ordered u8 | attempt | pop ms i64 | visible ms i64 | (offset u64 |
        /// times u32)*`: messages were popped, or the times of some were changed.
        POP_TAKEN = 32, "popped";
        /// `group | topic | queue u32 | offset u64 *`: popped messages were acknowledged, or went to a retry topic.
        POP_ENDED = 33, "pop ended";
        /// `group | topic | queue u32`: nothing of a queue is in flight any more.
        POP_CLEARED = 34, "pop cleared";
        /// Whether a group pulls or pops a topic, as JSON.
        REQUEST_MODE = 35, "request mode";
        /// `group | topic | queue u32 | offset u64`: the group's consumers are to begin there.
        RESET = 48, "reset";
        /// `group | topic | queue u32`: one began there.
        RESET_DONE = 49, "reset done";
        /// `key | value`: a setting was changed at run time; without a value it is again what the configuration file says.
        CONFIG = 56, "setting";
        /// `(delay ms i64)*`: the delays of the schedule topic's queues, from queue 0 on.
        DELAY_QUEUES = 57, "delay queues";
        /// `group | topic | bits u32`: what a group must not do with a topic; 4: read.
        FORBIDDEN = 58, "forbidden";
        /// `name | CRC-32 u32`: what a file of Apache's with that checksum says is part of the state.
        KNOWN_FILE = 64, "known file";
    }
}

/// Topics, groups, consumer offsets and delay progress, as a fold of the log.
#[derive(Default)]
pub struct State {
    pub(crate) topics: Topics,
    pub(crate) groups: Groups,
    pub(crate) offsets: Offsets,
    pub(crate) resets: Resets,
    /// Next offset to deliver in each delay level's queue, by level − 1.
    pub(crate) delay_offsets: Vec<u64>,
    pub(crate) halves: Halves,
    pub(crate) timers: TimersDone,
    pub(crate) in_flight: InFlight,
    /// How groups were told to consume topics, by topic and group.
    pub(crate) request_modes: BTreeMap<String, BTreeMap<String, SetMessageRequestMode>>,
    /// Settings that were changed at run time.
    pub(crate) config: BTreeMap<String, String>,
    /// The delay of each queue of the schedule topic; empty: nobody ever asked for others than Apache's.
    pub(crate) delay_queues_ms: Vec<i64>,
    /// What groups must not do, by group and topic: bits as of permissions, 4 for reading.
    pub(crate) forbidden: BTreeMap<String, BTreeMap<String, i32>>,
    /// Names and checksums of Apache's files whose contents are in here: the last few of each.
    pub(crate) known_files: Vec<(String, u32)>,
    /// Others wrote records behind the last entry for a known file, and what they did was not taken over yet.
    pub(crate) others_wrote: bool,
}

/// Checksums of a file that are remembered.
const KNOWN_FILES_MAX: usize = 4;

impl State {
    /// Whether a group must not read a topic.
    pub(crate) fn is_read_forbidden(&self, group: &str, topic: &str) -> bool {
        let bits = self.forbidden.get(group).and_then(|topics| topics.get(topic));
        bits.is_some_and(|bits| bits & perm::READ != 0)
    }

    /// Sets what a group must not do with a topic.
    pub(crate) fn forbid(&mut self, group: &str, topic: &str, bits: i32) {
        let topics = self.forbidden.entry(group.to_owned()).or_default();
        match bits {
            0 => drop(topics.remove(topic)),
            _ => drop(topics.insert(topic.to_owned(), bits)),
        }
        if topics.is_empty() {
            self.forbidden.remove(group);
        }
    }

    fn know_file(&mut self, name: &str, crc: u32) {
        self.others_wrote = false;
        self.known_files.retain(|known| (&*known.0, known.1) != (name, crc));
        self.known_files.push((name.to_owned(), crc));
        let of_name = |known: &(String, u32)| known.0 == name;
        if self.known_files.iter().filter(|known| of_name(known)).count() > KNOWN_FILES_MAX
            && let Some(oldest) = self.known_files.iter().position(of_name)
        {
            self.known_files.remove(oldest);
        }
    }

    fn forget_forbidden_topic(&mut self, topic: &str) {
        self.forbidden.retain(|_, topics| {
            topics.remove(topic);
            !topics.is_empty()
        });
    }

    /// Sets a group's offset; `None` where it already is so, and in the log.
    pub(crate) fn commit(&mut self, group: &str, topic: &str, queue_id: u32, offset: u64) -> Option<Commit> {
        self.in_flight.committed(group, topic, queue_id, offset);
        self.offsets.set(group, topic, queue_id, offset)
    }

    /// The same for one that came along with a pull: it goes into the log later.
    pub(crate) fn commit_lazily(
        &mut self,
        now_ms: i64,
        group: &str,
        topic: &str,
        queue_id: u32,
        offset: u64,
    ) {
        self.in_flight.committed(group, topic, queue_id, offset);
        self.offsets.set_lazily(now_ms, group, topic, queue_id, offset);
    }

    pub(crate) fn set_request_mode(&mut self, mode: SetMessageRequestMode) {
        let groups = self.request_modes.entry(mode.topic.clone()).or_default();
        groups.insert(mode.consumer_group.clone(), mode);
    }

    /// Messages were popped, or the times of some were changed.
    pub(crate) fn pop_taken(&mut self, take: &Take) {
        let low = self.in_flight.take(take);
        self.offsets.set(&take.key.group, &take.key.topic, take.key.queue_id, low);
    }

    /// Popped messages were acknowledged, or went to a retry topic; whether any was in flight.
    pub(crate) fn pop_ended(&mut self, key: &Key, offsets: &[u64]) -> bool {
        let low = self.in_flight.end(key, offsets);
        if let Some(low) = low {
            self.offsets.set(&key.group, &key.topic, key.queue_id, low);
        }
        low.is_some()
    }

    pub(crate) fn set_delay_offset(&mut self, index: usize, offset: u64) {
        if self.delay_offsets.len() <= index {
            self.delay_offsets.resize(index + 1, 0);
        }
        if let Some(slot) = self.delay_offsets.get_mut(index) {
            *slot = offset;
        }
    }

    pub(crate) fn delete_topic(&mut self, now_ms: i64, topic: &str) {
        self.topics.remove(now_ms, topic);
        self.offsets.forget_topic(topic);
        self.resets.forget_topic(topic);
        self.in_flight.forget_topic(topic);
        self.request_modes.remove(topic);
        self.forget_forbidden_topic(topic);
    }

    pub(crate) fn delete_group(&mut self, group: &str, offsets_too: bool) {
        self.groups.remove(group);
        if offsets_too {
            self.offsets.forget_group(group);
            self.resets.forget_group(group);
        }
        self.in_flight.forget_group(group);
        self.request_modes.values_mut().for_each(|groups| drop(groups.remove(group)));
        self.request_modes.retain(|_, groups| !groups.is_empty());
        self.forbidden.remove(group);
    }
}

/// How many of the first bytes of an entry stream make the next state record, of `bytes_max` bytes at most: whole entries, at least one.
pub(crate) fn record_len(stream: &[u8], bytes_max: usize) -> usize {
    if stream.len() <= bytes_max {
        return stream.len();
    }
    let mut len = 0;
    for entry in state::entries(stream) {
        let entry_len = entry.map_or(stream.len(), |(_, payload)| state::HEAD_BYTES + payload.len());
        if len > 0 && len + entry_len > bytes_max {
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

pub(crate) fn put_topic_deleted(out: &mut Vec<u8>, topic: &str) {
    state::put(out, kind::TOPIC_DELETE, topic.as_bytes());
}

pub(crate) fn put_group_deleted(out: &mut Vec<u8>, group: &str, offsets_too: bool) {
    let mut payload = group.as_bytes().to_vec();
    payload.push(u8::from(offsets_too));
    state::put(out, kind::GROUP_DELETE, &payload);
}

/// Texts are names, whose lengths fit.
fn put_text(payload: &mut Vec<u8>, text: &str) {
    payload.extend_from_slice(&(text.len() as u16).to_be_bytes());
    payload.extend_from_slice(text.as_bytes());
}

pub(crate) fn put_offset(out: &mut Vec<u8>, commit: &Commit) {
    put_offset_of(out, (&commit.group, &commit.topic, commit.queue_id), commit.offset);
}

pub(crate) fn put_offset_of(out: &mut Vec<u8>, queue: (&str, &str, u32), offset: u64) {
    state::put_with(out, kind::OFFSET, |payload| {
        put_queue_of_group(payload, queue);
        payload.extend_from_slice(&offset.to_be_bytes());
    });
}

/// `group | topic | queue u32`.
fn queue_of_group(queue: (&str, &str, u32)) -> Vec<u8> {
    let mut payload = Vec::with_capacity(16 + queue.0.len() + queue.1.len());
    put_queue_of_group(&mut payload, queue);
    payload
}

fn put_queue_of_group(payload: &mut Vec<u8>, (group, topic, queue_id): (&str, &str, u32)) {
    put_text(payload, group);
    put_text(payload, topic);
    payload.extend_from_slice(&queue_id.to_be_bytes());
}

pub(crate) fn put_offset_forgotten(out: &mut Vec<u8>, queue: (&str, &str, u32)) {
    state::put(out, kind::OFFSET_FORGOTTEN, &queue_of_group(queue));
}

pub(crate) fn put_config(out: &mut Vec<u8>, name: &str, value: &str) {
    let mut payload = Vec::with_capacity(2 + name.len() + value.len());
    put_text(&mut payload, name);
    payload.extend_from_slice(value.as_bytes());
    state::put(out, kind::CONFIG, &payload);
}

pub(crate) fn put_delay_queues(out: &mut Vec<u8>, delays_ms: &[i64]) {
    let payload: Vec<u8> = delays_ms.iter().flat_map(|ms| ms.to_be_bytes()).collect();
    state::put(out, kind::DELAY_QUEUES, &payload);
}

pub(crate) fn put_forbidden(out: &mut Vec<u8>, group: &str, topic: &str, bits: i32) {
    let mut payload = Vec::with_capacity(8 + group.len() + topic.len());
    put_text(&mut payload, group);
    put_text(&mut payload, topic);
    payload.extend_from_slice(&bits.to_be_bytes());
    state::put(out, kind::FORBIDDEN, &payload);
}

pub(crate) fn put_known_file(out: &mut Vec<u8>, name: &str, crc: u32) {
    let mut payload = Vec::with_capacity(6 + name.len());
    put_text(&mut payload, name);
    payload.extend_from_slice(&crc.to_be_bytes());
    state::put(out, kind::KNOWN_FILE, &payload);
}

pub(crate) fn put_reset(out: &mut Vec<u8>, queue: (&str, &str, u32), offset: u64) {
    let mut payload = queue_of_group(queue);
    payload.extend_from_slice(&offset.to_be_bytes());
    state::put(out, kind::RESET, &payload);
}

pub(crate) fn put_reset_done(out: &mut Vec<u8>, queue: (&str, &str, u32)) {
    state::put(out, kind::RESET_DONE, &queue_of_group(queue));
}

pub(crate) fn put_request_mode(out: &mut Vec<u8>, mode: &SetMessageRequestMode) {
    state::put(out, kind::REQUEST_MODE, &body::to_json(mode));
}

pub(crate) fn put_pop_taken(out: &mut Vec<u8>, take: &Take) {
    let key = &take.key;
    let attempt = take.order.as_deref().unwrap_or_default();
    let mut payload = queue_of_group(key.as_tuple());
    payload.reserve(27 + attempt.len() + 12 * take.messages.len());
    payload.extend_from_slice(&take.next.to_be_bytes());
    payload.push(u8::from(take.order.is_some()));
    put_text(&mut payload, attempt);
    payload.extend_from_slice(&take.pop_ms.to_be_bytes());
    payload.extend_from_slice(&take.visible_ms.to_be_bytes());
    for (offset, times) in &take.messages {
        payload.extend_from_slice(&offset.to_be_bytes());
        payload.extend_from_slice(&times.to_be_bytes());
    }
    state::put(out, kind::POP_TAKEN, &payload);
}

pub(crate) fn put_pop_ended(out: &mut Vec<u8>, key: &Key, offsets: &[u64]) {
    let mut payload = queue_of_group(key.as_tuple());
    payload.reserve(8 * offsets.len());
    for offset in offsets {
        payload.extend_from_slice(&offset.to_be_bytes());
    }
    state::put(out, kind::POP_ENDED, &payload);
}

pub(crate) fn put_pop_cleared(out: &mut Vec<u8>, queue: (&str, &str, u32)) {
    state::put(out, kind::POP_CLEARED, &queue_of_group(queue));
}

pub(crate) fn put_delay_offset(out: &mut Vec<u8>, index: usize, offset: u64) {
    let mut payload = [0; 9];
    if let Some((level, rest)) = payload.split_first_mut() {
        *level = index as u8 + 1;
        rest.copy_from_slice(&offset.to_be_bytes());
    }
    state::put(out, kind::DELAY_OFFSET, &payload);
}

pub(crate) fn put_half(out: &mut Vec<u8>, position: u64, half: &Half) {
    let mut payload = Vec::with_capacity(32);
    payload.extend_from_slice(&position.to_be_bytes());
    payload.extend_from_slice(&half.offset.to_be_bytes());
    payload.extend_from_slice(&half.since_ms.to_be_bytes());
    payload.extend_from_slice(&half.immunity_s.to_be_bytes());
    payload.extend_from_slice(&half.checks.to_be_bytes());
    state::put(out, kind::HALF_PUT, &payload);
}

pub(crate) fn put_half_end(out: &mut Vec<u8>, position: u64) {
    state::put(out, kind::HALF_END, &position.to_be_bytes());
}

fn due_bytes(due: Due) -> [u8; 16] {
    let mut bytes = [0; 16];
    let (ms, offset) = bytes.split_at_mut(8);
    ms.copy_from_slice(&due.0.to_be_bytes());
    offset.copy_from_slice(&due.1.to_be_bytes());
    bytes
}

pub(crate) fn put_timer_done(out: &mut Vec<u8>, timers: &TimersDone) {
    let mut payload = due_bytes(timers.done).to_vec();
    payload.extend_from_slice(&timers.floor.to_be_bytes());
    state::put(out, kind::TIMER_DONE, &payload);
}

pub(crate) fn put_timer_recalled(out: &mut Vec<u8>, due: Due) {
    state::put(out, kind::TIMER_RECALLED, &due_bytes(due));
}

impl StateFold for State {
    fn reset(&mut self) {
        *self = Self::default();
    }

    fn knows(&self, kind: u8) -> bool {
        kind::ALL.iter().any(|(known, _)| *known == kind)
    }

    fn apply(&mut self, kind: u8, payload: &[u8]) -> Result<(), String> {
        match kind {
            kind::TOPIC_PUT => self.topics.put(0, json(payload)?),
            kind::GROUP_PUT => self.groups.put(json(payload)?),
            kind::TOPIC_DELETE => {
                let topic = std::str::from_utf8(payload).map_err(|e| e.to_string())?;
                self.delete_topic(0, topic);
            }
            kind::GROUP_DELETE => {
                let (offsets_too, group) = payload.split_last().ok_or("group's end is malformed")?;
                let group = std::str::from_utf8(group).map_err(|e| e.to_string())?;
                self.delete_group(group, *offsets_too != 0);
            }
            kind::OFFSET => self.apply_offset(payload).ok_or("offset entry is malformed")?,
            kind::DELAY_OFFSET => {
                self.apply_delay_offset(payload).ok_or("delay offset entry is malformed")?
            }
            kind::HALF_PUT => self.apply_half(payload).ok_or("half message entry is malformed")?,
            kind::HALF_END => {
                let position = payload.try_into().map_err(|_| "half message's end is malformed")?;
                self.halves.remove(u64::from_be_bytes(position));
            }
            kind::TIMER_DONE => self.apply_timer_done(payload).ok_or("timer entry is malformed")?,
            kind::TIMER_RECALLED => {
                let due = take_due(&mut &*payload).filter(|_| payload.len() == 16);
                self.timers.recalled.insert(due.ok_or("timer entry is malformed")?);
            }
            kind::REQUEST_MODE => self.set_request_mode(json(payload)?),
            kind::POP_TAKEN => {
                let take = take_pop(payload).ok_or("entry of popped messages is malformed")?;
                self.pop_taken(&take);
            }
            kind::POP_ENDED => {
                let (key, offsets) = ended_pop(payload).ok_or("entry of ended messages is malformed")?;
                self.pop_ended(&key, &offsets);
            }
            kind::POP_CLEARED => {
                let (group, topic, queue_id) =
                    whole_queue_of_group(payload).ok_or("entry of a cleared queue is malformed")?;
                self.in_flight.clear(group, topic, queue_id);
            }
            kind::OFFSET_FORGOTTEN => {
                let (group, topic, queue_id) =
                    whole_queue_of_group(payload).ok_or("entry of a forgotten offset is malformed")?;
                self.in_flight.clear(group, topic, queue_id);
                self.resets.remove(group, topic, queue_id);
                self.offsets.forget(group, topic, queue_id);
            }
            kind::RESET => self.apply_reset(payload).ok_or("reset entry is malformed")?,
            kind::RESET_DONE => {
                let (group, topic, queue_id) =
                    whole_queue_of_group(payload).ok_or("reset's end is malformed")?;
                self.resets.remove(group, topic, queue_id);
            }
            kind::CONFIG => self.apply_config(payload).ok_or("setting is malformed")?,
            kind::DELAY_QUEUES => {
                let (delays, rest) = payload.as_chunks();
                if !rest.is_empty() {
                    return Err("list of delays is malformed".to_owned());
                }
                self.delay_queues_ms = delays.iter().map(|ms| i64::from_be_bytes(*ms)).collect();
            }
            kind::KNOWN_FILE => self.apply_known_file(payload).ok_or("checksum of a file is malformed")?,
            kind::FORBIDDEN => self.apply_forbidden(payload).ok_or("what is forbidden is malformed")?,
            other => return Err(format!("entry kind {other} is not known to this version")),
        }
        Ok(())
    }

    fn message(&mut self, record: &RecordView<'_>) {
        if Stored::matters(record.topic, record.sys_flag) {
            self.halves.stored(&Stored::from(record));
        }
        self.moved(record);
        self.others_wrote |= !record.has_crc();
    }
}

impl State {
    fn apply_timer_done(&mut self, mut payload: &[u8]) -> Option<()> {
        let done = take_due(&mut payload)?;
        self.timers.advance(done, payload.try_get_u64().ok()?);
        payload.is_empty().then_some(())
    }

    fn apply_half(&mut self, mut payload: &[u8]) -> Option<()> {
        let position = payload.try_get_u64().ok()?;
        let half = Half {
            offset: payload.try_get_u64().ok()?,
            since_ms: payload.try_get_i64().ok()?,
            immunity_s: payload.try_get_i32().ok()?,
            checks: payload.try_get_u32().ok()?,
        };
        self.halves.put(position, half);
        payload.is_empty().then_some(())
    }

    fn apply_offset(&mut self, mut payload: &[u8]) -> Option<()> {
        let (group, topic, queue_id) = take_queue_of_group(&mut payload)?;
        let offset = payload.try_get_u64().ok().filter(|_| payload.is_empty())?;
        self.commit(group, topic, queue_id, offset);
        Some(())
    }

    fn apply_reset(&mut self, mut payload: &[u8]) -> Option<()> {
        let (group, topic, queue_id) = take_queue_of_group(&mut payload)?;
        self.resets.put(group, topic, queue_id, payload.try_get_u64().ok()?);
        payload.is_empty().then_some(())
    }

    fn apply_config(&mut self, mut payload: &[u8]) -> Option<()> {
        let name = text(&mut payload)?.to_owned();
        match std::str::from_utf8(payload).ok()? {
            "" => drop(self.config.remove(&name)),
            value => drop(self.config.insert(name, value.to_owned())),
        }
        Some(())
    }

    fn apply_known_file(&mut self, mut payload: &[u8]) -> Option<()> {
        let name = text(&mut payload)?;
        let crc = payload.try_get_u32().ok()?;
        self.know_file(name, crc);
        payload.is_empty().then_some(())
    }

    fn apply_forbidden(&mut self, mut payload: &[u8]) -> Option<()> {
        let group = text(&mut payload)?;
        let topic = text(&mut payload)?;
        let bits = payload.try_get_i32().ok()?;
        self.forbid(group, topic, bits);
        payload.is_empty().then_some(())
    }

    fn apply_delay_offset(&mut self, mut payload: &[u8]) -> Option<()> {
        let level = payload.try_get_u8().ok()?;
        let offset = payload.try_get_u64().ok()?;
        let index = usize::from(level).checked_sub(1)?;
        // The messages that moved say it, too, and this may come behind later ones of them.
        let known = self.delay_offsets.get(index).copied().unwrap_or(0);
        self.set_delay_offset(index, offset.max(known));
        Some(())
    }
}

pub(crate) fn take_key(payload: &mut &[u8]) -> Option<Key> {
    let (group, topic, queue_id) = take_queue_of_group(payload)?;
    Some(Key { group: Arc::from(group), topic: Arc::from(topic), queue_id })
}

pub(crate) fn take_pop(mut payload: &[u8]) -> Option<Take> {
    let key = take_key(&mut payload)?;
    let next = payload.try_get_u64().ok()?;
    let ordered = payload.try_get_u8().ok()? != 0;
    let attempt = text(&mut payload)?;
    let order = ordered.then(|| attempt.to_owned());
    let (pop_ms, visible_ms) = (payload.try_get_i64().ok()?, payload.try_get_i64().ok()?);
    let mut messages = Vec::with_capacity(payload.len() / 12);
    while !payload.is_empty() {
        messages.push((payload.try_get_u64().ok()?, payload.try_get_u32().ok()?));
    }
    Some(Take { key, next, order, pop_ms, visible_ms, messages })
}

pub(crate) fn ended_pop(mut payload: &[u8]) -> Option<(Key, Vec<u64>)> {
    let key = take_key(&mut payload)?;
    let mut offsets = Vec::with_capacity(payload.len() / 8);
    while !payload.is_empty() {
        offsets.push(payload.try_get_u64().ok()?);
    }
    Some((key, offsets))
}

pub(crate) fn take_due(payload: &mut &[u8]) -> Option<Due> {
    Some((payload.try_get_i64().ok()?, payload.try_get_u64().ok()?))
}

pub(crate) fn take_queue_of_group<'a>(payload: &mut &'a [u8]) -> Option<(&'a str, &'a str, u32)> {
    Some((text(payload)?, text(payload)?, payload.try_get_u32().ok()?))
}

fn whole_queue_of_group(mut payload: &[u8]) -> Option<(&str, &str, u32)> {
    take_queue_of_group(&mut payload).filter(|_| payload.is_empty())
}

fn json<'a, T: serde::Deserialize<'a>>(payload: &'a [u8]) -> Result<T, String> {
    serde_json::from_slice(payload).map_err(|e| e.to_string())
}

pub(crate) fn text<'a>(payload: &mut &'a [u8]) -> Option<&'a str> {
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

    /// Behind a message that moved later, where changes of one turn needed two records and the log was cut between them.
    #[test]
    fn how_far_a_level_was_delivered_never_goes_back() {
        let mut stream = Vec::new();
        put_delay_offset(&mut stream, 2, 7);
        put_delay_offset(&mut stream, 2, 5);
        assert_eq!(fold(&stream).delay_offsets, [0, 0, 7]);
    }

    #[test]
    fn a_dump_folds_back_to_the_same_state() {
        let mut state = State::default();
        state.topics.put(1, topics::new("orders", 8, 6));
        state.topics.put(1, topics::new("%RETRY%g", 1, 6));
        state.groups.put(groups::new("g"));
        state.offsets.set("g", "orders", 7, u64::MAX);
        state.offsets.set("g", "%RETRY%g", 0, 3);
        state.resets.put("g", "orders", 7, 9);
        state.resets.put("g", "orders", 6, 9);
        state.set_delay_offset(17, 42);
        let half = Half { offset: 3, since_ms: -5, immunity_s: -1, checks: 15 };
        state.halves.put(700, half);
        state.timers.advance((5_000, 9), 4);
        state.timers.recalled.insert((6_000, 11));
        let key = Key { group: Arc::from("g"), topic: Arc::from("orders"), queue_id: 3 };
        let order = Some("attempt".to_owned());
        let take = Take {
            key: key.clone(),
            next: 9,
            order,
            pop_ms: 5,
            visible_ms: 70,
            messages: vec![(4, 0), (8, 2)],
        };
        state.pop_taken(&take);
        state.set_request_mode(SetMessageRequestMode {
            topic: "orders".into(),
            consumer_group: "g".into(),
            pop_share_queue_num: 2,
            ..Default::default()
        });
        let mut dump = state.dump();
        // What is deleted stays deleted.
        state.topics.put(1, topics::new("gone", 8, 6));
        state.offsets.set("h", "gone", 1, 5);
        state.offsets.set("h", "orders", 1, 5);
        state.groups.put(groups::new("h"));
        let mut stream = state.dump();
        put_topic_deleted(&mut stream, "gone");
        put_reset(&mut stream, ("g", "orders", 5), 1);
        put_reset_done(&mut stream, ("g", "orders", 5));
        put_group_deleted(&mut stream, "h", true);
        assert_eq!(fold(&stream).dump(), dump);
        dump = fold(&stream).dump();
        let folded = fold(&dump);
        assert_eq!(folded.dump(), dump);
        assert_eq!(folded.offsets.get("g", "orders", 7), Some(u64::MAX));
        assert_eq!(folded.topics.get("orders").unwrap().write_queue_nums, 8);
        let first = Key { queue_id: 0, ..key.clone() };
        let resets: Vec<_> = folded.resets.from(&first).map(|(g, t, q, at)| (&**g, &**t, q, at)).collect();
        assert_eq!(resets, [("g", "orders", 6, 9), ("g", "orders", 7, 9)]);
        assert_eq!(folded.delay_offsets.get(17), Some(&42));
        assert_eq!(folded.halves.get(700), Some(half));
        assert_eq!((folded.timers.done, folded.timers.floor), ((5_000, 9), 4));
        assert!(folded.timers.recalled.contains(&(6_000, 11)));
        assert_eq!(folded.request_modes["orders"]["g"].pop_share_queue_num, 2);
        assert_eq!(folded.in_flight.takes(&key), [take]);
        assert_eq!(folded.offsets.get("g", "orders", 3), Some(4));
    }

    #[test]
    fn popped_messages_take_the_offset_with_them() {
        let key = Key { group: Arc::from("g"), topic: Arc::from("T"), queue_id: 4 };
        let messages = vec![(4, 0), (8, 0)];
        let take = Take { key: key.clone(), next: 9, order: None, pop_ms: 5, visible_ms: 70, messages };
        let mut stream = Vec::new();
        let mut offset_after = |put: &dyn Fn(&mut Vec<u8>)| {
            put(&mut stream);
            let state = fold(&stream);
            (state.offsets.get("g", "T", 4), state.in_flight.len())
        };
        assert_eq!(offset_after(&|out| put_pop_taken(out, &take)), (Some(4), 2));
        assert_eq!(offset_after(&|out| put_pop_ended(out, &key, &[4])), (Some(8), 1));
        assert_eq!(offset_after(&|out| put_pop_cleared(out, ("g", "T", 4))), (Some(8), 0));
        assert_eq!(offset_after(&|out| put_pop_taken(out, &take)), (Some(4), 2));
        let commit = Commit { group: Arc::from("g"), topic: Arc::from("T"), queue_id: 4, offset: 5 };
        assert_eq!(offset_after(&|out| put_offset(out, &commit)), (Some(5), 1));
        assert_eq!(offset_after(&|out| put_pop_ended(out, &key, &[8])), (Some(9), 0));
    }

    #[test]
    fn unknown_and_malformed_entries_are_errors() {
        let mut state = State::default();
        assert!(state.apply(200, b"").unwrap_err().contains("200"));
        assert!(state.apply(kind::OFFSET, b"\0\x01").is_err());
        assert!(state.apply(kind::RESET, b"\0\x01g\0\x01t\0\0\0\0").is_err());
        assert!(state.apply(kind::RESET_DONE, b"\0\x01g\0\x01t\0\0\0").is_err());
        assert!(state.apply(kind::OFFSET_FORGOTTEN, b"\0\x01g\0\x01t\0\0\0").is_err());
        assert!(state.apply(kind::TOPIC_PUT, b"{").is_err());
        assert!(state.apply(kind::HALF_PUT, &[0; 31]).is_err());
        assert!(state.apply(kind::HALF_END, &[0; 9]).is_err());
        assert!(state.apply(kind::TIMER_DONE, &[0; 16]).is_err());
        assert!(state.apply(kind::TIMER_RECALLED, &[0; 17]).is_err());
        assert!(state.apply(kind::POP_TAKEN, &[0; 30]).is_err());
        assert!(state.apply(kind::POP_ENDED, &[0; 9]).is_err());
        assert!(state.apply(kind::POP_CLEARED, &[0; 9]).is_err());
        assert!(state.apply(kind::DELAY_OFFSET, b"\0\0\0\0\0\0\0\0\x01").is_err());
    }
}
