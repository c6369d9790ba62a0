//! What clients were promised, and whether it was kept.

use crate::flights::{Flights, Popping, Sent};
use crate::popping;
use kerolox_wire::receipt::Kind;
use kerolox_wire::record::RecordView;
use std::collections::{BTreeMap, BTreeSet};

/// A place in a queue.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    pub topic: String,
    pub queue_id: u32,
    pub offset: u64,
}

/// Everything that clients saw and were told.
#[derive(Debug, Default)]
pub struct Ledger {
    /// Acknowledged sends: where each message is.
    acked: BTreeMap<u64, Vec<Place>>,
    /// The same the other way round: no two messages share a place.
    places: BTreeMap<Place, u64>,
    /// What was ever read at a place: it must never change.
    read: BTreeMap<Place, u64>,
    /// What was found when everything was read once more at the end.
    found: Option<BTreeMap<Place, u64>>,
    /// Every message that was ever sent.
    sent: u64,
    /// Acknowledged consumer offsets by group, topic and queue.
    committed: BTreeMap<(String, String, u32), u64>,
    /// Delayed and timer messages: not to be delivered before.
    not_before: BTreeMap<u64, i64>,
    /// Transactions, and whether they are committed in the end.
    transactions: BTreeMap<u64, bool>,
    /// Acknowledged sends of those.
    acked_elsewhere: BTreeSet<u64>,
    /// Those that arrived.
    arrived: BTreeSet<u64>,
    /// What clients that pop were given.
    pub flights: Flights,
    pub violations: Vec<String>,
}

impl Ledger {
    /// A new message's number, which is its body.
    pub fn send(&mut self) -> u64 {
        self.sent += 1;
        self.sent
    }

    pub fn sent(&self) -> u64 {
        self.sent
    }

    pub fn acked_count(&self) -> usize {
        self.acked.len() + self.acked_elsewhere.len()
    }

    /// The broker said that message `id` is safe at `place`.
    pub fn acked(&mut self, id: u64, place: Place) {
        if let Some(other) = self.read.get(&place).filter(|other| **other != id) {
            self.violations
                .push(format!("message {id} acknowledged at {place:?}, where {other} was read before"));
        }
        if let Some(other) = self.places.insert(place.clone(), id).filter(|other| *other != id) {
            self.violations.push(format!("messages {other} and {id} acknowledged at the same {place:?}"));
        }
        self.acked.entry(id).or_default().push(place);
    }

    /// Message `id` is not to be delivered before `due_ms`, but then.
    pub fn not_before(&mut self, id: u64, due_ms: i64) {
        self.not_before.insert(id, due_ms);
    }

    /// Message `id` is a transaction that its producer commits, or rolls back.
    pub fn transaction(&mut self, id: u64, commits: bool) {
        self.transactions.insert(id, commits);
    }

    /// The broker said that message `id` is safe; where it will be delivered nobody knows yet.
    pub fn acked_elsewhere(&mut self, id: u64) {
        self.acked_elsewhere.insert(id);
    }

    /// A consumer was given message `id` at `place`.
    pub fn read(&mut self, now_ms: i64, place: Place, id: u64) {
        if id == 0 || id > self.sent {
            self.violations.push(format!("{place:?} holds message {id}, which nobody sent"));
        }
        if let Some(other) = self.read.get(&place).filter(|other| **other != id) {
            self.violations.push(format!("{place:?} held message {other} and now holds {id}"));
        }
        self.may_come(now_ms, id);
        self.arrived.insert(id);
        if let Some(found) = &mut self.found {
            found.insert(place.clone(), id);
        }
        self.read.insert(place, id);
    }

    fn may_come(&mut self, now_ms: i64, id: u64) {
        if let Some(due) = self.not_before.get(&id).filter(|due| **due > now_ms) {
            self.violations.push(format!("message {id} came {} ms early", due - now_ms));
        }
        if self.transactions.get(&id) == Some(&false) {
            self.violations.push(format!("message {id} was rolled back and came"));
        }
    }

    /// A client that pops was given a message: which, if it is one that anybody sent.
    pub fn popped(
        &mut self,
        now_ms: i64,
        popping: Popping,
        kind: Kind,
        view: &RecordView<'_>,
    ) -> Option<Sent> {
        let Popping { group, topic, .. } = popping;
        let Some(sent) = popping::sent(view).filter(|_| view.topic == topic) else {
            self.violations.push(format!("{group} was given bytes of {} that nobody sent", view.topic));
            return None;
        };
        match kind {
            Kind::Normal => {
                let (queue_id, offset) = (view.queue_id, view.queue_offset);
                self.read(now_ms, Place { topic: topic.to_owned(), queue_id, offset }, sent.0);
            }
            Kind::Retry | Kind::RetryV2 => self.may_come(now_ms, sent.0),
        }
        Some(sent)
    }

    /// From now on everything is read once more.
    pub fn begin_last_reading(&mut self) {
        self.found = Some(BTreeMap::new());
        self.arrived.clear();
    }

    /// The broker said that a group's offset is safe.
    pub fn committed(&mut self, group: &str, topic: &str, queue_id: u32, offset: u64) {
        let at_least = self.committed.entry((group.into(), topic.into(), queue_id)).or_default();
        *at_least = offset.max(*at_least);
    }

    /// A group asked for its offset.
    pub fn queried(&mut self, group: &str, topic: &str, queue_id: u32, offset: u64) {
        let key = (group.to_owned(), topic.to_owned(), queue_id);
        if let Some(promised) = self.committed.get(&key).filter(|promised| **promised > offset) {
            self.violations.push(format!("offset of {key:?} rolled back from {promised} to {offset}"));
        }
    }

    /// At the end, when everything was read once more from the beginning: nothing that was promised or was ever read is
    /// missing.
    pub fn finish(&mut self, now_ms: i64) {
        let found = self.found.take().unwrap_or_default();
        for (place, id) in self.read.iter().filter(|(place, _)| !found.contains_key(place)) {
            self.violations.push(format!("message {id}, read at {place:?} before, is not there any more"));
        }
        for (place, id) in &self.places {
            match found.get(place) {
                Some(found) if found == id => {}
                Some(other) => {
                    self.violations.push(format!("message {id} acknowledged at {place:?}, where {other} is"))
                }
                None => self.violations.push(format!("message {id} acknowledged at {place:?} is lost")),
            }
        }
        for id in self.acked_elsewhere.iter().filter(|id| !self.arrived.contains(id)) {
            match (self.not_before.get(id), self.transactions.get(id)) {
                (Some(due_ms), _) if *due_ms <= now_ms => {
                    self.violations.push(format!("message {id}, due at {due_ms}, never came"));
                }
                (_, Some(true)) => {
                    self.violations.push(format!("message {id} was committed and never came"));
                }
                _ => {}
            }
        }
    }

    /// The same of what was popped.
    pub fn finish_pops(&mut self) {
        self.violations.extend(self.flights.finish(&popping::ALL));
    }

    /// Places that were read, for the summary.
    pub fn read_count(&self) -> usize {
        self.read.len()
    }
}
