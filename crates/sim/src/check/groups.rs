//! What consumer groups that pull were given: each message of their topic that they want, and no other.

use super::damage::Damaged;
use super::{Place, Queue};
use crate::message::{self, Id, Message, Sent};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

/// Which messages a group wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Want {
    All,
    /// Those of some tags.
    Tags(&'static str),
    /// Those for whose property `n` an expression is true.
    Sql {
        expression: &'static str,
        least: u64,
    },
}

impl Want {
    /// The subscription, and its type, as clients send them.
    pub fn expression(self) -> (&'static str, &'static str) {
        match self {
            Self::All => ("*", "TAG"),
            Self::Tags(tags) => (tags, "TAG"),
            Self::Sql { expression, .. } => (expression, "SQL92"),
        }
    }

    pub(super) fn wants(self, message: &Message) -> bool {
        match self {
            Self::All => true,
            Self::Tags(tags) => tags.split(" || ").any(|tag| tag == message.tag),
            Self::Sql { least, .. } => message.id % 10 >= least,
        }
    }
}

/// A group that reads a topic; of one that broadcasts each member counts by itself.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Reading {
    pub reader: String,
    pub topic: &'static str,
    pub want: Want,
}

#[derive(Debug, Default)]
pub struct Groups {
    given: BTreeMap<Reading, BTreeSet<Place>>,
    /// Messages found in the end in a retry topic, or among dead letters.
    pub returned: BTreeSet<(&'static str, Id)>,
    /// Queues that lost their ends with their broker's power, and offsets that consumers may believe to have read of them.
    passed: BTreeMap<Queue, Range<u64>>,
}

impl Groups {
    /// Somebody reads.
    pub fn reads(&mut self, reading: Reading) {
        self.given.entry(reading).or_default();
    }

    /// It was given a message.
    pub fn given(&mut self, reading: &Reading, queue: &Queue, offset: u64) {
        let place = Place { queue: queue.clone(), offset };
        if let Some(given) = self.given.get_mut(reading) {
            given.insert(place);
        }
    }

    /// What lay there went with its broker's power. Consumers may have read it, and what comes to lie there passes them by.
    pub(super) fn perhaps_passed(&mut self, place: &Place) {
        let range = place.offset..place.offset + 1;
        let passed = self.passed.entry(place.queue.clone()).or_insert_with(|| range.clone());
        *passed = passed.start.min(range.start)..passed.end.max(range.end);
    }

    fn may_be_passed(&self, place: &Place) -> bool {
        self.passed.get(&place.queue).is_some_and(|passed| passed.contains(&place.offset))
    }

    /// At the end: what a group could not consume came again, and what it never could is a dead letter.
    pub(super) fn check_returned(
        &self,
        topic: &str,
        retries: (&'static str, &'static str),
        found: &BTreeMap<Place, Sent>,
        damaged: &Damaged,
        violations: &mut Vec<String>,
    ) {
        let (retry, dead) = retries;
        for (place, (id, tries)) in found.iter().filter(|(place, _)| place.queue.topic == topic) {
            let failures = message::failures(*id);
            let expected = [(1, retry), (2, dead)].into_iter().filter(|(least, _)| failures >= *least);
            for (_, name) in expected.filter(|(_, name)| !self.returned.contains(&(*name, *id))) {
                // It may have been sent back, and the consumer gone on, when the power went.
                let cut = self.passed.keys().any(|queue| queue.broker == place.queue.broker);
                if !damaged.has_hit(*id) && !cut {
                    violations
                        .push(format!("message {id}, sent {tries} times, at {place:?} is not in {name}"));
                }
            }
            if failures == 0 && [retry, dead].iter().any(|name| self.returned.contains(&(*name, *id))) {
                violations.push(format!("message {id} at {place:?} was consumed and came back"));
            }
        }
    }

    /// At the end, when everybody had the time to read everything. `everybody`: those too who keep their offsets to themselves.
    pub(super) fn finish<'a>(
        &self,
        found: &BTreeMap<Place, Sent>,
        everybody: bool,
        messages: &impl Fn(Id) -> Option<&'a Message>,
        violations: &mut Vec<String>,
    ) {
        let asked = |reading: &Reading| everybody || !reading.reader.contains('/');
        for (Reading { reader, topic, want }, given) in self.given.iter().filter(|(r, _)| asked(r)) {
            for (place, sent) in found.iter().filter(|(place, _)| place.queue.topic == *topic) {
                let wanted = messages(sent.0).is_some_and(|message| want.wants(message));
                match (wanted, given.contains(place)) {
                    (true, false) if !self.may_be_passed(place) => {
                        violations.push(format!("message {sent:?} at {place:?} never came to {reader}"));
                    }
                    (false, true) if !self.may_be_passed(place) => {
                        violations
                            .push(format!("{reader}, which wants {want:?}, was given {sent:?} at {place:?}"));
                    }
                    _ => {}
                }
            }
        }
    }
}
