//! What clients were promised and given, and whether it was kept. Everything is noted as it happens; what cannot be told at
//! once is looked at in the end.

mod damage;
pub mod flights;
mod gone;
mod groups;
mod locks;
mod offsets;

use crate::clock::Clock;
use crate::message::{self, DELAY_MS, Id, Kind, Message, Sent};
use damage::Damaged;
use flights::Flights;
use gone::Gone;
use groups::Groups;
pub use groups::{Reading, Want};
use kerolox_store::Position;
use kerolox_wire::properties::name as property;
use kerolox_wire::record::RecordView;
use locks::Locks;
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

/// A message that lies somewhere: in a queue, and in the broker's log.
#[derive(Debug, Clone, Copy)]
struct Lying {
    sent: Sent,
    position: Position,
    /// When it was read first.
    since_ms: i64,
}

/// When the send that put a message somewhere began, and when it was answered.
#[derive(Debug, Clone, Copy)]
struct Acked {
    sent: Sent,
    position: Position,
    sent_ms: i64,
    acked_ms: i64,
}

/// A broker will deliver a message.
#[derive(Debug, Clone, Copy)]
struct Promise {
    broker: usize,
    /// Where it waits.
    position: Position,
    since_ms: i64,
}

/// A message that somebody sent.
#[derive(Debug)]
struct Known {
    message: Message,
    first_sent_ms: i64,
    /// A send of it was answered that does not say where it will be delivered.
    promised: Option<Promise>,
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
    read: BTreeMap<Place, Lying>,
    /// What was found when everything was read once more at the end.
    found: Option<BTreeMap<Place, Sent>>,
    /// What brokers were told the time is.
    pub clocks: Vec<Clock>,
    /// Sends that were recalled: they must not come. Who said so, and when.
    recalled: BTreeMap<Sent, (usize, i64)>,
    pub damaged: Damaged,
    pub gone: Gone,
    /// Of brokers that flush asynchronously: how often each lost what it had promised last.
    cuts: BTreeMap<usize, u64>,
    pub offsets: Offsets,
    pub groups: Groups,
    /// What clients that pop were given.
    pub flights: Flights,
    pub locks: Locks,
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
    pub fn acked(&mut self, now_ms: i64, sent: Sent, sent_ms: i64, place: Place, position: Position) {
        if let Some(other) = self.read.get(&place).filter(|other| other.sent != sent) {
            self.violations
                .push(format!("message {sent:?} acknowledged at {place:?}, where {other:?} was read before"));
        }
        let acked = Acked { sent, position, sent_ms, acked_ms: now_ms };
        if let Some(other) = self.acked.insert(place.clone(), acked).filter(|other| other.sent != sent) {
            let other = other.sent;
            self.violations
                .push(format!("messages {other:?} and {sent:?} acknowledged at the same {place:?}"));
        }
    }

    /// A broker said that a message is safe; where it will be delivered nobody knows yet.
    pub fn promised(&mut self, now_ms: i64, id: Id, broker: usize, position: Position) {
        if let Some(known) = self.known_mut(id) {
            known.promised = Some(Promise { broker, position, since_ms: now_ms });
        }
    }

    /// A broker is asked that a message that waits for its time does not come: whether it does is open until there is an answer.
    /// There may never be one, because the client died; or one that the log failed, and the recall counts all the same later.
    pub fn recall_asked(&mut self, sent: Sent) {
        if let Some(known) = self.known_mut(sent.0) {
            known.recalled = true;
        }
    }

    /// It said that it will not.
    pub fn recalled(&mut self, now_ms: i64, sent: Sent, broker: usize) {
        self.recalled.insert(sent, (broker, now_ms));
    }

    /// It said that it will, or did.
    pub fn recall_refused(&mut self, sent: Sent) {
        if let Some(known) = self.known_mut(sent.0) {
            known.recalled = false;
        }
    }

    /// A broker gave a message of a queue to somebody: which, if anybody sent it.
    pub fn seen(&mut self, now_ms: i64, queue: &Queue, view: &RecordView<'_>) -> Option<Sent> {
        let sent = self.checked(now_ms, queue, view)?;
        let place = Place { queue: queue.clone(), offset: view.queue_offset };
        if let Some(other) = self.read.get(&place).filter(|other| other.sent != sent) {
            self.violations.push(format!("{place:?} held message {other:?} and now holds {sent:?}"));
        }
        if let Some(found) = &mut self.found {
            found.insert(place.clone(), sent);
        }
        if let Some(known) = self.known_mut(sent.0) {
            known.arrived = true;
        }
        let lying = Lying { sent, position: view.position, since_ms: now_ms };
        self.read.entry(place).or_insert(lying);
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
            Kind::Plain | Kind::Priority(_) | Kind::Half { .. } => return None,
        };
        let told = format!("its broker was told {lowest} to {highest} since {sent_ms}");
        (early_ms > 0).then(|| format!("came {early_ms} ms early from {broker}: {:?}, {told}", message.kind))
    }

    /// A broker that flushes asynchronously lost its power: what it promised or gave at `from_ms` or later may be as if it had never
    /// been, and what was there may be given away again.
    pub fn power_lost(&mut self, broker: usize, from_ms: i64) {
        *self.cuts.entry(broker).or_default() += 1;
        let read = self.read.iter().map(|(place, lying)| (place, lying.since_ms));
        let acked = self.acked.iter().map(|(place, acked)| (place, acked.acked_ms));
        let lost = read.chain(acked).filter(|(place, at)| place.queue.broker == broker && *at >= from_ms);
        lost.for_each(|(place, _)| self.groups.perhaps_passed(place));
        self.acked.retain(|place, acked| place.queue.broker != broker || acked.acked_ms < from_ms);
        self.read.retain(|place, lying| place.queue.broker != broker || lying.since_ms < from_ms);
        self.recalled.retain(|_, (by, at)| *by != broker || *at < from_ms);
        for known in &mut self.messages {
            known.promised.take_if(|promise| promise.broker == broker && promise.since_ms >= from_ms);
        }
        self.offsets.power_lost(broker, from_ms);
        self.flights.power_lost(broker, from_ms);
    }

    /// Whether a broker lost what it had promised last since this was asked with the same `seen`, which counts.
    pub fn lost_since(&self, broker: usize, seen: &mut u64) -> bool {
        let cuts = self.cuts.get(&broker).copied().unwrap_or(0);
        std::mem::replace(seen, cuts) != cuts
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
        for (place, Lying { sent, position, .. }) in
            self.read.iter().filter(|(place, _)| !found.contains_key(place))
        {
            if let Err(why) = self.excuses(place, *position) {
                violations.push(format!("message {sent:?}, read at {place:?} before, {why}"));
            }
        }
        for (place, Acked { sent, position, .. }) in &self.acked {
            match found.get(place) {
                Some(found) if found == sent => {}
                Some(other) => {
                    violations
                        .push(format!("message {sent:?} acknowledged at {place:?}, where {other:?} is"));
                }
                None => {
                    if let Err(why) = self.excuses(place, *position) {
                        violations.push(format!("message {sent:?} acknowledged at {place:?} {why}"));
                    }
                }
            }
        }
        self.check_promised(&mut violations);
        self.check_order(&mut violations);
        self.check_places(&found, &mut violations);
        let message = |id| self.known(id).map(|known| &known.message);
        self.groups.finish(&found, true, &message, &mut violations);
        self.groups.finish(&self.went(&found), false, &message, &mut violations);
        let (topic, retry, dead) = retries;
        self.groups.check_returned(topic, (retry, dead), &found, &self.damaged, &mut violations);
        self.flights.finish(&found, &message, &self.clocks, &self.damaged, &mut violations);
        self.violations.append(&mut violations);
    }

    /// What is wrong with a message not being at its place any more, if anything.
    fn excuses(&self, place: &Place, position: Position) -> Result<(), &'static str> {
        if self.gone.took(place.queue.broker, position) { Ok(()) } else { self.damaged.excuses(place) }
    }

    /// Messages that went with their segments, and that each group had to be given before.
    fn went(&self, found: &BTreeMap<Place, Sent>) -> BTreeMap<Place, Sent> {
        let read = self.read.iter().map(|(place, Lying { sent, position, .. })| (place, sent, *position));
        let acked = self.acked.iter().map(|(place, Acked { sent, position, .. })| (place, sent, *position));
        let went = read.chain(acked).filter(|(place, _, position)| {
            let broker = place.queue.broker;
            let took = self.gone.took(broker, *position) && !self.gone.took_unread(broker, *position);
            took && !found.contains_key(place) && !self.damaged.is_hit(place)
        });
        went.map(|(place, sent, _)| (place.clone(), *sent)).collect()
    }

    fn check_promised(&self, violations: &mut Vec<String>) {
        for Known { message, promised, recalled, arrived, .. } in &self.messages {
            let Message { id, kind, .. } = message;
            let missing = promised.filter(|_| !arrived && !recalled && !self.damaged.has_hit(*id));
            let Some(Promise { broker, position, .. }) = missing else { continue };
            match kind {
                // One that nobody ended is given up when its segment is to go.
                Kind::Half { .. } if message::commits(*id) && !self.gone.took(broker, position) => {
                    violations.push(format!("message {id} was committed at {broker} and never came"));
                }
                Kind::Timed { .. } | Kind::Delayed if !self.gone.took_unread(broker, position) => {
                    violations.push(format!("message {id}, {kind:?} at {broker}, never came"));
                }
                _ => {}
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

    /// Offsets have no gaps but those that damage leaves, and nothing that was sent once is there twice.
    fn check_places(&self, found: &BTreeMap<Place, Sent>, violations: &mut Vec<String>) {
        let mut seen = BTreeSet::new();
        let mut before: Option<&Place> = None;
        let mut passed_over = 0;
        for (place, sent) in found {
            if !seen.insert(sent) {
                violations.push(format!("message {sent:?} is at {place:?} and elsewhere"));
            }
            if self.recalled.contains_key(sent) {
                violations.push(format!("message {sent:?} was recalled and is at {place:?}"));
            }
            let before_it = before.filter(|b| b.queue == place.queue);
            let expected = before_it.map_or(0, |before| before.offset + 1);
            if before_it.is_none() {
                passed_over = 0;
            }
            let expected = match before_it {
                // The queue's first messages may have gone.
                None if self.gone.took(place.queue.broker, 0) => place.offset,
                _ => expected,
            };
            let gap = (expected..place.offset).map(|offset| Place { queue: place.queue.clone(), offset });
            let gap = gap.filter(|place| !self.damaged.is_hit(place)).count() as u64;
            passed_over += gap;
            if gap > 0 && passed_over > self.damaged.passed_over(place.queue.broker) {
                violations
                    .push(format!("there is nothing at {gap} places from {expected} on before {place:?}"));
            }
            before = Some(place);
        }
    }
}
