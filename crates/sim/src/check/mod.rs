//! What clients were promised and given, and whether it was kept. Everything is noted as it happens; what cannot be told at
//! once is looked at in the end.

mod damage;
pub mod flights;
mod groups;
mod offsets;

use crate::clock::Clock;
use crate::message::{self, DELAY_MS, Id, Kind, Message, Sent};
use damage::Damaged;
use flights::Flights;
use groups::Groups;
pub use groups::{Reading, Want};
use kerolox_wire::properties::name as property;
use kerolox_wire::record::RecordView;
pub use offsets::CommitId;
use offsets::Offsets;
use std::collections::{BTreeMap, BTreeSet};

/// A queue of a broker.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Queue {
    pub broker: usize,
    pub topic: String,
    pub queue_id: u32,
}

/// A place in a queue.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    pub queue: Queue,
    pub offset: u64,
}

/// When the send that put a message somewhere began, and when it was answered.
#[derive(Debug, Clone, Copy)]
struct Acked {
    sent: Sent,
    sent_ms: i64,
    acked_ms: i64,
}

/// A message that somebody sent.
#[derive(Debug)]
struct Known {
    message: Message,
    first_sent_ms: i64,
    /// A send of it was answered that does not say where it will be delivered.
    promised: Option<usize>,
    /// It may have been recalled.
    recalled: bool,
    arrived: bool,
}

/// Everything that clients saw and were told.
#[derive(Debug, Default)]
pub struct Ledger {
    messages: Vec<Known>,
    acked: BTreeMap<Place, Acked>,
    /// What was ever read at a place: it must never change.
    read: BTreeMap<Place, Sent>,
    /// What was found when everything was read once more at the end.
    found: Option<BTreeMap<Place, Sent>>,
    /// What brokers were told the time is.
    pub clocks: Vec<Clock>,
    /// Sends that were recalled: they must not come.
    recalled: BTreeSet<Sent>,
    pub damaged: Damaged,
    pub offsets: Offsets,
    pub groups: Groups,
    /// What clients that pop were given.
    pub flights: Flights,
    pub violations: Vec<String>,
}

impl Ledger {
    /// Of a world with so many brokers.
    pub fn new(brokers: usize) -> Self {
        Self { clocks: vec![Clock::default(); brokers], ..Self::default() }
    }

    /// A new message.
    pub fn message(&mut self, now_ms: i64, topic: &'static str, tag: &'static str, kind: Kind) -> Message {
        let id = self.messages.len() as Id + 1;
        let message = Message { id, topic, tag, kind };
        let known = Known {
            message: message.clone(),
            first_sent_ms: now_ms,
            promised: None,
            recalled: false,
            arrived: false,
        };
        self.messages.push(known);
        message
    }

    fn known(&self, id: Id) -> Option<&Known> {
        self.messages.get(usize::try_from(id.checked_sub(1)?).ok()?)
    }

    fn known_mut(&mut self, id: Id) -> Option<&mut Known> {
        self.messages.get_mut(usize::try_from(id.checked_sub(1)?).ok()?)
    }

    pub fn violated(&mut self, what: String) {
        self.violations.push(what);
    }

    /// A broker said that a message is safe at a place.
    pub fn acked(&mut self, now_ms: i64, sent: Sent, sent_ms: i64, place: Place) {
        if let Some(other) = self.read.get(&place).filter(|other| **other != sent) {
            self.violations
                .push(format!("message {sent:?} acknowledged at {place:?}, where {other:?} was read before"));
        }
        let acked = Acked { sent, sent_ms, acked_ms: now_ms };
        if let Some(other) = self.acked.insert(place.clone(), acked).filter(|other| other.sent != sent) {
            let other = other.sent;
            self.violations
                .push(format!("messages {other:?} and {sent:?} acknowledged at the same {place:?}"));
        }
    }

    /// A broker said that a message is safe; where it will be delivered nobody knows yet.
    pub fn promised(&mut self, id: Id, broker: usize) {
        if let Some(known) = self.known_mut(id) {
            known.promised = Some(broker);
        }
    }

    /// A broker said that a message that waited for its time will not come.
    pub fn recalled(&mut self, sent: Sent) {
        self.perhaps_recalled(sent);
        self.recalled.insert(sent);
    }

    /// It was to say so, and nobody knows whether it did.
    pub fn perhaps_recalled(&mut self, sent: Sent) {
        if let Some(known) = self.known_mut(sent.0) {
            known.recalled = true;
        }
    }

    /// A broker gave a message of a queue to somebody: which, if anybody sent it.
    pub fn seen(&mut self, now_ms: i64, queue: &Queue, view: &RecordView<'_>) -> Option<Sent> {
        let sent = self.checked(now_ms, queue, view)?;
        let place = Place { queue: queue.clone(), offset: view.queue_offset };
        if let Some(other) = self.read.get(&place).filter(|other| **other != sent) {
            self.violations.push(format!("{place:?} held message {other:?} and now holds {sent:?}"));
        }
        if let Some(found) = &mut self.found {
            found.insert(place.clone(), sent);
            if let Some(known) = self.known_mut(sent.0) {
                known.arrived = true;
            }
        }
        self.read.insert(place, sent);
        Some(sent)
    }

    /// What was given is what was sent, it may come at all, and it comes from where it was asked for.
    pub fn checked(&mut self, now_ms: i64, queue: &Queue, view: &RecordView<'_>) -> Option<Sent> {
        if view.topic != queue.topic || view.queue_id != queue.queue_id {
            let (t, q) = (view.topic, view.queue_id);
            self.violations.push(format!("{queue:?} gave a message of {t}/{q}"));
        }
        let known = message::sent(view).and_then(|sent| Some((sent, self.known(sent.0)?)));
        let Some((sent, Known { message, first_sent_ms, .. })) = known else {
            self.violations.push(format!("{queue:?}@{} holds bytes that nobody sent", view.queue_offset));
            return None;
        };
        let origin = view.properties().get(property::RETRY_TOPIC).unwrap_or(view.topic);
        if origin != message.topic || view.properties().get(property::TAGS) != Some(message.tag) {
            let what = format!("message {sent:?} of {} came altered in {queue:?}", message.topic);
            self.violations.push(what);
            return None;
        }
        if let Some(why) = self.too_early(now_ms, queue.broker, message, *first_sent_ms) {
            self.violations.push(format!("message {sent:?} {why}"));
        }
        Some(sent)
    }

    fn too_early(&self, now_ms: i64, broker: usize, message: &Message, sent_ms: i64) -> Option<String> {
        let clock = self.clocks.get(broker)?;
        let (lowest, highest) = clock.range(sent_ms, now_ms);
        let early_ms = match message.kind {
            Kind::Timed { due_ms } => due_ms - highest,
            // Stored at a time that is still to come: it is delivered at once, as Apache does.
            Kind::Delayed if clock.went_back(sent_ms, now_ms) => return None,
            Kind::Delayed => lowest + DELAY_MS - highest,
            Kind::Half { .. } if !message::commits(message.id) => {
                return Some("was rolled back and came".to_owned());
            }
            Kind::Plain | Kind::Half { .. } => return None,
        };
        let told = format!("its broker was told {lowest} to {highest} since {sent_ms}");
        (early_ms > 0).then(|| format!("came {early_ms} ms early from {broker}: {:?}, {told}", message.kind))
    }

    /// From now on everything is read once more.
    pub fn begin_last_reading(&mut self) {
        self.found = Some(BTreeMap::new());
    }

    /// At the end, when everything was read once more from the beginning: nothing that was promised or was ever read is
    /// missing.
    /// `retries`: a topic, the retry topic of a group that sends messages of it back, and its dead letters.
    pub fn finish(&mut self, retries: (&str, &'static str, &'static str)) {
        let found = self.found.take().unwrap_or_default();
        let mut violations = Vec::new();
        for (place, sent) in self.read.iter().filter(|(place, _)| !found.contains_key(place)) {
            if let Err(why) = self.damaged.excuses(place) {
                violations.push(format!("message {sent:?}, read at {place:?} before, {why}"));
            }
        }
        for (place, Acked { sent, .. }) in &self.acked {
            match found.get(place) {
                Some(found) if found == sent => {}
                Some(other) => {
                    violations
                        .push(format!("message {sent:?} acknowledged at {place:?}, where {other:?} is"));
                }
                None => {
                    if let Err(why) = self.damaged.excuses(place) {
                        violations.push(format!("message {sent:?} acknowledged at {place:?} {why}"));
                    }
                }
            }
        }
        self.check_promised(&mut violations);
        self.check_order(&mut violations);
        self.check_places(&found, &mut violations);
        self.groups.finish(&found, &|id| self.known(id).map(|known| &known.message), &mut violations);
        let (topic, retry, dead) = retries;
        self.groups.check_returned(topic, (retry, dead), &found, &self.damaged, &mut violations);
        self.flights.finish(&found, &self.clocks, &self.damaged, &mut violations);
        self.violations.append(&mut violations);
    }

    fn check_promised(&self, violations: &mut Vec<String>) {
        for Known { message, promised, recalled, arrived, .. } in &self.messages {
            let Message { id, kind, .. } = message;
            let missing = promised.filter(|_| !arrived && !recalled && !self.damaged.has_hit(*id));
            let Some(broker) = missing else { continue };
            match kind {
                Kind::Half { .. } if message::commits(*id) => {
                    violations.push(format!("message {id} was committed at {broker} and never came"));
                }
                Kind::Timed { .. } | Kind::Delayed => {
                    violations.push(format!("message {id}, {kind:?} at {broker}, never came"));
                }
                Kind::Plain | Kind::Half { .. } => {}
            }
        }
    }

    /// A send that began when another was answered already lies behind it in the same queue.
    fn check_order(&self, violations: &mut Vec<String>) {
        let mut queue = None;
        let mut latest: Option<(i64, Sent)> = None;
        for (place, acked) in &self.acked {
            if queue.replace(&place.queue) != Some(&place.queue) {
                latest = None;
            }
            if let Some((sent_ms, other)) = latest.filter(|(sent_ms, _)| *sent_ms > acked.acked_ms) {
                violations.push(format!(
                    "message {:?} at {place:?} was acknowledged at {} and lies behind {other:?}, which was sent at {sent_ms}",
                    acked.sent, acked.acked_ms
                ));
            }
            latest = latest.max(Some((acked.sent_ms, acked.sent)));
        }
    }

    /// Messages that were sent, acknowledged, and places that were read: for the summary.
    pub fn counts(&self) -> (u64, u64, u64) {
        let promised = self.messages.iter().filter(|known| known.promised.is_some()).count();
        (self.messages.len() as u64, (self.acked.len() + promised) as u64, self.read.len() as u64)
    }

    /// Offsets have no gaps, and nothing that was sent once is there twice.
    fn check_places(&self, found: &BTreeMap<Place, Sent>, violations: &mut Vec<String>) {
        let mut seen = BTreeSet::new();
        let mut before: Option<&Place> = None;
        for (place, sent) in found {
            if !seen.insert(sent) {
                violations.push(format!("message {sent:?} is at {place:?} and elsewhere"));
            }
            if self.recalled.contains(sent) {
                violations.push(format!("message {sent:?} was recalled and is at {place:?}"));
            }
            let expected = before.filter(|b| b.queue == place.queue).map_or(0, |before| before.offset + 1);
            let mut passed =
                (expected..place.offset).map(|offset| Place { queue: place.queue.clone(), offset });
            if let Some(gap) = passed.find(|place| !self.damaged.is_hit(place)) {
                violations.push(format!("there is nothing at {gap:?}, but behind it"));
            }
            before = Some(place);
        }
    }
}
