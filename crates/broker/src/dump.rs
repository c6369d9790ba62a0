//! The whole state, said part by part while the broker serves: into the log as a dump, at once where it is small or at the
//! end into a snapshot.
//!
//! A part says what its share of the state is at that moment, and all that changes between two parts is in the log between
//! them. Folded in the order of the log, and beginning with nothing, that is the state: what changes before its share is said
//! is overridden by that, for a share is said whole (a queue with all that is in flight of it), and what changes later follows.
//! What a change needs to know of other shares was said before: what is in flight comes before offsets, which follow from it.
//! To one who has the state already, a part says nothing new.

use crate::Broker;
use crate::delay;
use crate::effect::Effect;
use crate::pop::Key;
use crate::state::{self, State};
use crate::timer::Due;
use crate::timers_done::TimersDone;
use kerolox_store::{AppendError, Position, SNAPSHOT_BYTES_MAX, SealJob};
use std::collections::BTreeMap;
use std::ops::Bound::{Included, Unbounded};
use std::sync::Arc;

/// About as many bytes as are said at a time: they take about a millisecond, in which nobody is served.
const PART_BYTES: usize = 256 << 10;
/// Pause after a part that the log refused.
const RETRY_MS: i64 = 100;

/// Where a dump goes on: with the first of the table that is not before this key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum At {
    /// The store's number of a queue.
    Queues(usize),
    Topics(Arc<str>),
    Groups(Arc<str>),
    InFlight(Key),
    Offsets(Key),
    Resets(Key),
    /// Settings and the like, of which there are few.
    Few,
    Halves(u64),
    Recalled(Due),
    /// By topic.
    RequestModes(String),
    /// By group.
    Forbidden(String),
    End,
}

impl At {
    const BEGIN: Self = Self::Queues(0);

    pub(crate) fn topics() -> Self {
        Self::Topics(Arc::from(""))
    }
}

fn first_key() -> Key {
    Key { group: Arc::from(""), topic: Arc::from(""), queue_id: 0 }
}

/// A dump under way.
pub(crate) struct Dump {
    at: At,
    /// It goes on when that is safe, so that messages never wait behind more than one part at the disk.
    after: Position,
    /// It was refused, and goes on then.
    pub(crate) wake_ms: Option<i64>,
}

type ByQueue<V> = BTreeMap<Arc<str>, BTreeMap<Arc<str>, BTreeMap<u32, V>>>;

/// All groups, topics and queues from one on.
pub(crate) fn queues_from<'a, V>(
    map: &'a ByQueue<V>,
    from: &'a Key,
) -> impl Iterator<Item = (&'a Arc<str>, &'a Arc<str>, u32, &'a V)> {
    let groups = map.range::<str, _>((Included(&*from.group), Unbounded));
    groups.flat_map(move |(group, topics)| {
        let first = if *group == from.group { &*from.topic } else { "" };
        let topics = topics.range::<str, _>((Included(first), Unbounded));
        topics.flat_map(move |(topic, queues)| {
            let same = *group == from.group && *topic == from.topic;
            let queues = queues.range(if same { from.queue_id } else { 0 }..);
            queues.map(move |(queue_id, value)| (group, topic, *queue_id, value))
        })
    })
}

impl State {
    /// The whole state as an entry stream, without the store's part.
    pub fn dump(&self) -> Vec<u8> {
        let mut out = Vec::new();
        self.say(At::topics(), usize::MAX, &mut out);
        out
    }

    /// Says the state from `at` on in about `bytes_max` bytes, and where it goes on.
    pub(crate) fn say(&self, mut at: At, bytes_max: usize, out: &mut Vec<u8>) -> At {
        while out.len() < bytes_max && at != At::End {
            at = match at {
                At::InFlight(_) | At::Offsets(_) | At::Resets(_) => self.say_of_queues(at, bytes_max, out),
                at => self.say_named(at, bytes_max, out),
            };
        }
        at
    }

    /// As far as there is room of one table; with its end, the next one.
    fn say_named(&self, at: At, bytes_max: usize, out: &mut Vec<u8>) -> At {
        match at {
            At::Queues(_) => At::topics(),
            At::Topics(from) => {
                for (name, topic) in self.topics.from(&from).filter(|(_, topic)| !topic.system) {
                    if out.len() >= bytes_max {
                        return At::Topics(Arc::clone(name));
                    }
                    state::put_topic(out, &topic.config);
                }
                At::Groups(Arc::from(""))
            }
            At::Groups(from) => {
                for (name, group) in self.groups.from(&from) {
                    if out.len() >= bytes_max {
                        return At::Groups(Arc::clone(name));
                    }
                    state::put_group(out, group);
                }
                At::InFlight(first_key())
            }
            At::Halves(from) => {
                for (position, half) in self.halves.from(from) {
                    if out.len() >= bytes_max {
                        return At::Halves(position);
                    }
                    state::put_half(out, position, &half);
                }
                At::Recalled((i64::MIN, 0))
            }
            At::Recalled(from) => {
                for due in self.timers.recalled.range(from..) {
                    if out.len() >= bytes_max {
                        return At::Recalled(*due);
                    }
                    state::put_timer_recalled(out, *due);
                }
                At::RequestModes(String::new())
            }
            At::RequestModes(from) => {
                for (topic, groups) in self.request_modes.range(from..) {
                    if out.len() >= bytes_max {
                        return At::RequestModes(topic.clone());
                    }
                    groups.values().for_each(|mode| state::put_request_mode(out, mode));
                }
                At::Forbidden(String::new())
            }
            At::Forbidden(from) => {
                for (group, topics) in self.forbidden.range(from..) {
                    if out.len() >= bytes_max {
                        return At::Forbidden(group.clone());
                    }
                    topics.iter().for_each(|(topic, bits)| state::put_forbidden(out, group, topic, *bits));
                }
                At::End
            }
            At::InFlight(_) | At::Offsets(_) | At::Resets(_) | At::End => at,
            At::Few => {
                self.say_few(out);
                At::Halves(0)
            }
        }
    }

    fn say_of_queues(&self, at: At, bytes_max: usize, out: &mut Vec<u8>) -> At {
        match at {
            At::InFlight(from) => {
                for key in self.in_flight.keys_from(&from) {
                    if out.len() >= bytes_max {
                        return At::InFlight(key);
                    }
                    self.in_flight.takes(&key).iter().for_each(|take| state::put_pop_taken(out, take));
                    // Each of these sets it, and it may have been set to less.
                    if let Some(offset) = self.offsets.get(&key.group, &key.topic, key.queue_id) {
                        state::put_offset_of(out, key.as_tuple(), offset);
                    }
                }
                At::Offsets(first_key())
            }
            At::Offsets(from) => {
                for (group, topic, queue_id, offset) in self.offsets.from(&from) {
                    if out.len() >= bytes_max {
                        return At::Offsets(key_of(group, topic, queue_id));
                    }
                    state::put_offset_of(out, (group, topic, queue_id), offset);
                }
                At::Resets(first_key())
            }
            At::Resets(from) => {
                for (group, topic, queue_id, offset) in self.resets.from(&from) {
                    if out.len() >= bytes_max {
                        return At::Resets(key_of(group, topic, queue_id));
                    }
                    state::put_reset(out, (group, topic, queue_id), offset);
                }
                At::Few
            }
            at => at,
        }
    }

    fn say_few(&self, out: &mut Vec<u8>) {
        for (name, value) in &self.config {
            state::put_config(out, name, value);
        }
        if !self.delay_queues_ms.is_empty() && self.delay_queues_ms != delay::apaches_queues() {
            state::put_delay_queues(out, &self.delay_queues_ms);
        }
        for (index, offset) in self.delay_offsets.iter().enumerate().filter(|(_, offset)| **offset > 0) {
            state::put_delay_offset(out, index, *offset);
        }
        if self.timers.done != TimersDone::default().done {
            state::put_timer_done(out, &self.timers);
        }
        self.known_files.iter().for_each(|(name, crc)| state::put_known_file(out, name, *crc));
    }
}

fn key_of(group: &Arc<str>, topic: &Arc<str>, queue_id: u32) -> Key {
    Key { group: Arc::clone(group), topic: Arc::clone(topic), queue_id }
}

impl Broker {
    /// The log is the only truth: now and then it is told the whole state, and what is derived is sealed.
    pub(crate) fn dump_and_seal(&mut self, now_ms: i64, out: &mut Vec<Effect>) {
        if self.stopped {
            return;
        }
        if !self.draining {
            // What the log has not taken of the changes must be there before a part that says the same.
            let refused = !self.changes.is_empty() || self.dump_on(now_ms).is_err();
            if let Some(dump) = &mut self.dump {
                dump.wake_ms = refused.then_some(now_ms + RETRY_MS);
            }
        }
        let last = self.draining && !self.sealed_for_shutdown;
        if (self.store.seal_due() || last) && self.changes.is_empty() {
            self.sealed_for_shutdown |= self.draining;
            let mut writes = Vec::new();
            let job = self.seal(last);
            self.store.take_writes(&mut writes);
            out.extend(writes.into_iter().map(Effect::Write));
            out.push(Effect::Seal(job));
        }
    }

    /// Appends the next part of a dump, if one is under way or due.
    fn dump_on(&mut self, now_ms: i64) -> Result<(), AppendError> {
        if self.dump.is_none() && self.store.dump_due() {
            self.dump = Some(Dump { at: At::BEGIN, after: 0, wake_ms: None });
        }
        let confirmed = self.store.watermarks().confirmed;
        let Some(dump) = self.dump.as_ref().filter(|dump| dump.after <= confirmed) else { return Ok(()) };
        let mut part = Vec::new();
        let at = self.say(dump.at.clone(), PART_BYTES, &mut part);
        let after = self.store.append_dump(now_ms, &part, at == At::End)?;
        self.dump = (at != At::End).then_some(Dump { at, after, wake_ms: None });
        Ok(())
    }

    /// `last`: nobody is served any more.
    fn seal(&mut self, last: bool) -> SealJob {
        if !last && !self.store.snapshot_due() {
            return self.store.seal_index();
        }
        let mut whole = Vec::new();
        let bytes_max = if last { usize::MAX } else { SNAPSHOT_BYTES_MAX };
        match self.say(At::BEGIN, bytes_max, &mut whole) {
            At::End => self.store.seal(whole.into()),
            _ => self.store.seal_large(whole.len()),
        }
    }

    fn say(&self, mut at: At, bytes_max: usize, out: &mut Vec<u8>) -> At {
        if let At::Queues(from) = at {
            at = self.store.put_queues(from, bytes_max, out).map_or_else(At::topics, At::Queues);
        }
        self.state.say(at, bytes_max, out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::halves::{Half, Stored};
    use crate::pop::Take;
    use crate::{groups, topics};
    use kerolox_store::{StateFold, state as stream};
    use kerolox_wire::body::SetMessageRequestMode;
    use kerolox_wire::names;
    use kerolox_wire::properties::Properties;
    use kerolox_wire::sys_flag;

    struct Random(u64);

    impl Random {
        fn below(&mut self, n: u64) -> u64 {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            self.0 % n
        }

        fn one_of(&mut self, names: &[&'static str]) -> &'static str {
            names[self.below(names.len() as u64) as usize]
        }
    }

    /// What the log has, in order.
    enum Logged {
        Entries(Vec<u8>),
        Half { position: u64, commits: Option<u64> },
    }

    fn fold(state: &mut State, logged: &Logged) {
        match logged {
            Logged::Entries(entries) => {
                for entry in stream::entries(entries) {
                    let (kind, payload) = entry.unwrap();
                    state.apply(kind, payload).unwrap();
                }
            }
            Logged::Half { position, commits } => drop(state.halves.stored(&Stored {
                topic: if commits.is_some() { "T" } else { names::TRANS_HALF_TOPIC },
                position: *position,
                queue_offset: *position / 10,
                sys_flag: if commits.is_some() { sys_flag::TRANSACTION_COMMIT } else { 0 },
                store_ms: *position as i64,
                prepared_transaction_offset: commits.unwrap_or(0) as i64,
                properties: Properties(b""),
            })),
        }
    }

    /// Any change, of few names so that they meet.
    fn change(random: &mut Random, state: &State, position: u64) -> Logged {
        let (group, topic) = (random.one_of(&["g", "h", "i"]), random.one_of(&["A", "B", "C"]));
        let queue = (group, topic, random.below(3) as u32);
        let key = Key { group: Arc::from(group), topic: Arc::from(topic), queue_id: queue.2 };
        let (number, mut out) = (random.below(40), Vec::new());
        match random.below(24) {
            0 => state::put_topic(&mut out, &topics::new(topic, number as i32 + 1, 6)),
            1 => state::put_topic_deleted(&mut out, topic),
            2 => state::put_group(&mut out, &groups::new(group)),
            3 => state::put_group_deleted(&mut out, group, number % 2 == 0),
            4..=6 => state::put_offset_of(&mut out, queue, number),
            7 => state::put_delay_offset(&mut out, number as usize, number),
            8 => state::put_reset(&mut out, queue, number),
            9 => state::put_reset_done(&mut out, queue),
            10 => state::put_config(&mut out, topic, ["", "on", "off"][number as usize % 3]),
            11 => state::put_forbidden(&mut out, group, topic, (number % 2) as i32 * 4),
            12 => {
                let mut timers = TimersDone::default();
                let done = state.timers.done.0.max(0) + random.below(3) as i64;
                timers.advance((done, number), number);
                state::put_timer_done(&mut out, &timers);
            }
            13 => {
                let due = (state.timers.done.0.max(0) + 1 + random.below(9) as i64, number);
                state::put_timer_recalled(&mut out, due);
            }
            14 => state::put_request_mode(
                &mut out,
                &SetMessageRequestMode {
                    topic: topic.into(),
                    consumer_group: group.into(),
                    pop_share_queue_num: number as i32,
                    ..Default::default()
                },
            ),
            15 => state::put_pop_cleared(&mut out, queue),
            16 | 17 => state::put_pop_ended(&mut out, &key, &[number, number + 1]),
            18..=20 => {
                let next = state.in_flight.get(group, topic, queue.2).map_or(number, |flight| flight.next);
                let messages = (0..random.below(3)).map(|n| (next + n, n as u32)).collect::<Vec<_>>();
                let order = (number % 4 == 0).then(|| number.to_string());
                let next = next + messages.len() as u64;
                let (pop_ms, visible_ms) = (number as i64, number as i64 + 60);
                state::put_pop_taken(&mut out, &Take { key, next, order, pop_ms, visible_ms, messages });
            }
            21 => return Logged::Half { position, commits: None },
            22 => match state.halves.iter().next() {
                Some((half, _)) if number % 2 == 0 => state::put_half_end(&mut out, half),
                Some((half, mut asked)) if number % 3 == 0 => {
                    asked.checks += 1;
                    state::put_half(&mut out, half, &Half { since_ms: number as i64, ..asked });
                }
                half => return Logged::Half { position, commits: half.map(|(half, _)| half) },
            },
            _ => state::put_delay_queues(&mut out, &[1_000, number as i64]),
        }
        Logged::Entries(out)
    }

    /// Whatever changes while a dump is under way: from its begin on the log says exactly the state, and to one who has the
    /// state already its parts say nothing new.
    #[test]
    fn what_the_log_says_from_a_dumps_begin_on_is_the_state() {
        let mut cut = 0;
        for seed in 1..=400 {
            let mut random = Random(seed);
            let (mut live, mut position) = (State::default(), 0);
            let mut one = |random: &mut Random, live: &mut State| {
                position += 10;
                let logged = change(random, live, position);
                fold(live, &logged);
                logged
            };
            for _ in 0..random.below(300) {
                one(&mut random, &mut live);
            }
            let mut from_the_dump = State::default();
            let mut at = At::topics();
            let pace = 1 + random.below(12);
            while at != At::End {
                let mut part = Vec::new();
                at = live.say(at, 1 + random.below(120) as usize, &mut part);
                cut += 1;
                let part = Logged::Entries(part);
                let before = live.dump();
                fold(&mut live, &part);
                assert!(live.dump() == before, "seed {seed}: {at:?}");
                fold(&mut from_the_dump, &part);
                for _ in 0..random.below(pace) {
                    fold(&mut from_the_dump, &one(&mut random, &mut live));
                }
            }
            assert!(from_the_dump.dump() == live.dump(), "seed {seed}");
            assert_eq!(from_the_dump.in_flight.len(), live.in_flight.len(), "seed {seed}");
            assert_eq!(from_the_dump.offsets.len(), live.offsets.len(), "seed {seed}");
        }
        assert!(cut > 4_000, "{cut} parts");
    }

    #[test]
    fn a_walk_over_queues_goes_on_where_it_was() {
        let mut map = ByQueue::default();
        for (group, topic, queue) in
            [("a", "x", 1), ("a", "x", 2), ("a", "y", 0), ("b", "a", 0), ("b", "x", 5)]
        {
            map.entry(Arc::from(group)).or_default().entry(Arc::from(topic)).or_default().insert(queue, ());
        }
        let from = |group: &str, topic: &str, queue_id| {
            let key = Key { group: Arc::from(group), topic: Arc::from(topic), queue_id };
            queues_from(&map, &key).count()
        };
        assert_eq!((from("", "", 0), from("a", "x", 1), from("a", "x", 2), from("a", "x", 3)), (5, 5, 4, 3));
        // What it was at may be gone.
        assert_eq!(
            (from("a", "xx", 7), from("aa", "z", 9), from("b", "b", 0), from("b", "x", 6)),
            (3, 2, 1, 0)
        );
    }
}
