//! What clients that pop were given and told, and whether it was kept: each message comes, none to two at a time, none after it
//! was acknowledged, those that are not acknowledged come again after their time, and in order nothing passes what is open.
//!
//! Everything is noted as it happens and looked at in the end, by the broker's times: answers may overtake each other.

use super::damage::Damaged;
use super::{Place, Queue, Want};
use crate::clock::Clock;
use crate::message::{Id, Message, Sent};
use kerolox_wire::receipt::Kind;
use std::collections::{BTreeMap, BTreeSet};

/// A message given to a group, by its number in [`Flights`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeliveryId(usize);

/// Times are those of the broker that gave it.
#[derive(Debug, Clone)]
pub struct Delivery {
    pub group: &'static str,
    pub sent: Sent,
    pub broker: usize,
    /// Where it lies: the topic's own queue, or the one that it comes again from.
    pub kind: Kind,
    pub queue_id: u32,
    pub offset: u64,
    pub pop_ms: i64,
    /// Nobody else is given it before.
    pub visible_ms: i64,
    /// By the world's time.
    pub given_ms: i64,
    /// Its pop, of one that pops in order, had been asked before and not answered. Whichever of them the broker hears last gives
    /// the same messages for another time, and who acknowledges with the other's receipt is too late.
    pub repeated: bool,
}

#[derive(Debug)]
struct Noted {
    delivery: Delivery,
    /// By the world's time.
    ack_sent_ms: Option<i64>,
    /// The answer came before its time was over: it had been in flight.
    acked: bool,
    /// Before another time was asked for, nobody else was given it before this, by the broker's time.
    held_ms: i64,
    /// By the world's time: when the broker said so, or gave it last.
    said_ms: i64,
    /// The broker may not know of it any more.
    forgotten: bool,
}

impl Noted {
    /// By `now_ms` of the world's time the broker's clock had not come to `until_ms` yet, and nobody else was given the message.
    fn is_held(&self, clocks: &[Clock], now_ms: i64, until_ms: i64) -> bool {
        let Delivery { broker, given_ms, .. } = self.delivery;
        clocks.get(broker).map_or(now_ms < until_ms, |clock| clock.is_before(given_ms, now_ms, until_ms))
    }
}

/// Who pops what.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Popping {
    pub group: &'static str,
    pub topic: &'static str,
    pub order: bool,
    pub want: Want,
}

#[derive(Debug, Default)]
pub struct Flights {
    noted: Vec<Noted>,
    poppings: BTreeSet<Popping>,
}

impl Flights {
    /// Somebody pops.
    pub fn pops(&mut self, popping: Popping) {
        self.poppings.insert(popping);
    }

    pub fn given(&mut self, delivery: Delivery) -> DeliveryId {
        let (said_ms, held_ms) = (delivery.given_ms, delivery.visible_ms);
        self.noted.push(Noted {
            delivery,
            ack_sent_ms: None,
            acked: false,
            held_ms,
            said_ms,
            forgotten: false,
        });
        DeliveryId(self.noted.len() - 1)
    }

    pub fn ack_sent(&mut self, now_ms: i64, id: DeliveryId) {
        if let Some(noted) = self.noted.get_mut(id.0) {
            noted.ack_sent_ms.get_or_insert(now_ms);
        }
    }

    /// The broker said yes, when it was told at most that time. (It does to one that comes too late, too.)
    pub fn ack_answered(&mut self, clocks: &[Clock], now_ms: i64, id: DeliveryId) {
        let Some(noted) = self.noted.get_mut(id.0) else { return };
        noted.said_ms = now_ms;
        noted.acked |= noted.is_held(clocks, now_ms, noted.delivery.visible_ms);
    }

    /// The time may be another from now on: less, if that is what was asked for.
    pub fn time_asked(&mut self, clocks: &[Clock], now_ms: i64, id: DeliveryId, invisible_ms: i64) {
        if let Some(Noted { delivery, held_ms, .. }) = self.noted.get_mut(id.0) {
            *held_ms = delivery.visible_ms;
            let told_ms = clocks.get(delivery.broker).map_or(now_ms, |c| c.range(now_ms, now_ms).0);
            delivery.visible_ms = delivery.visible_ms.min(told_ms + invisible_ms);
        }
    }

    /// The broker said yes, when it was told at most that time. (In order it does to one that comes too late, too.)
    pub fn time_answered(&mut self, clocks: &[Clock], now_ms: i64, id: DeliveryId, visible_ms: i64) {
        let Some(noted) = self.noted.get_mut(id.0) else { return };
        noted.said_ms = now_ms;
        if noted.is_held(clocks, now_ms, noted.held_ms) {
            noted.delivery.visible_ms = visible_ms;
        }
    }

    /// What a broker gave or said at `from_ms` or later may be as if it had never been.
    pub(super) fn power_lost(&mut self, broker: usize, from_ms: i64) {
        let lost = |noted: &&mut Noted| noted.delivery.broker == broker && noted.said_ms >= from_ms;
        self.noted.iter_mut().filter(lost).for_each(|noted| noted.forgotten = true);
    }

    /// Messages that were given.
    pub fn count(&self) -> u64 {
        self.noted.len() as u64
    }

    /// At the end, when everything that is to come came, and was acknowledged.
    pub(super) fn finish<'a>(
        &self,
        found: &BTreeMap<Place, Sent>,
        messages: &impl Fn(Id) -> Option<&'a Message>,
        clocks: &[Clock],
        damaged: &Damaged,
        violations: &mut Vec<String>,
    ) {
        for popping in &self.poppings {
            let mut by_message: BTreeMap<Sent, Vec<&Noted>> = BTreeMap::new();
            for noted in self.noted.iter().filter(|noted| noted.delivery.group == popping.group) {
                by_message.entry(noted.delivery.sent).or_default().push(noted);
            }
            for times in by_message.values_mut() {
                let broker = times.first().map_or(0, |noted| noted.delivery.broker);
                check_times(times, clocks.get(broker), damaged, violations);
            }
            let wants = |sent: &Sent| messages(sent.0).is_some_and(|message| popping.want.wants(message));
            let there =
                found.iter().filter(|(place, sent)| place.queue.topic == popping.topic && wants(sent));
            for (place, sent) in there.filter(|(_, sent)| !by_message.contains_key(*sent)) {
                violations.push(format!("message {sent:?} at {place:?} never came to {}", popping.group));
            }
            for sent in by_message.keys().filter(|sent| !wants(sent)) {
                let Popping { group, want, .. } = popping;
                violations.push(format!("{group}, which wants {want:?}, was given {sent:?}"));
            }
            if popping.order {
                self.check_order(*popping, found, clocks, violations);
            }
        }
    }

    /// Of a group that pops in order: whatever lies before a message that is given comes with it, or an acknowledgement was
    /// on its way.
    fn check_order(
        &self,
        popping: Popping,
        found: &BTreeMap<Place, Sent>,
        clocks: &[Clock],
        violations: &mut Vec<String>,
    ) {
        let Popping { group, topic, .. } = popping;
        let mut acks: BTreeMap<(usize, u32, u64), i64> = BTreeMap::new();
        let mut pops: BTreeMap<(usize, u32, i64), BTreeSet<u64>> = BTreeMap::new();
        for Noted { delivery, ack_sent_ms, .. } in self.noted.iter().filter(|n| n.delivery.group == group) {
            let Delivery { broker, queue_id, offset, .. } = *delivery;
            if let Some(at) = ack_sent_ms {
                // The least that the broker may have been told when it got it.
                let told_ms = clocks.get(broker).map_or(*at, |c| c.range(*at, i64::MAX).0);
                let first = acks.entry((broker, queue_id, offset)).or_insert(told_ms);
                *first = told_ms.min(*first);
            }
            if delivery.kind != Kind::Normal {
                violations.push(format!("{:?} came to {group} from elsewhere than its queue", delivery.sent));
            }
            pops.entry((broker, queue_id, delivery.pop_ms)).or_default().insert(offset);
        }
        for ((broker, queue_id, pop_ms), offsets) in &pops {
            let last = offsets.last().copied().unwrap_or(0);
            let queue = Queue { broker: *broker, topic: topic.to_owned(), queue_id: *queue_id };
            let before = Place { queue: queue.clone(), offset: 0 }..Place { queue, offset: last };
            let open = found.range(before).map(|(place, _)| place.offset).find(|offset| {
                let acked = acks.get(&(*broker, *queue_id, *offset)).is_some_and(|at| at <= pop_ms);
                !offsets.contains(offset) && !acked
            });
            if let Some(open) = open {
                violations.push(format!(
                    "{group} was given {broker}/{queue_id}@{last} at {pop_ms} out of order: {open} was open"
                ));
            }
        }
    }
}

/// Each time that one message was given to one group. While a clock is set back, what it told says nothing of what came first.
fn check_times(times: &mut [&Noted], clock: Option<&Clock>, damaged: &Damaged, violations: &mut Vec<String>) {
    let set_back = |from_ms, to_ms| clock.is_some_and(|clock| clock.went_back(from_ms, to_ms));
    let unsteady = set_back(i64::MIN, i64::MAX);
    match unsteady {
        true => times.sort_by_key(|noted| noted.delivery.given_ms),
        false => times.sort_by_key(|noted| noted.delivery.pop_ms),
    }
    let sure = |(a, b): &(&&Noted, &&Noted)| {
        let (a, b) = (&a.delivery, &b.delivery);
        // Seed 800170: the answer was under way for more than a second, and the clock was set back meanwhile.
        let popped_ms = clock.map_or(a.given_ms, |clock| clock.first_told(a.pop_ms, a.given_ms));
        a.pop_ms <= b.pop_ms && !set_back(popped_ms, b.given_ms)
    };
    for (earlier, later) in times.iter().zip(times.iter().skip(1)).filter(sure) {
        // Of a message that was moved its first record is still there when the other is damaged, and is moved again.
        let moved_again = damaged.has_hit_send(&earlier.delivery.sent)
            && later.delivery.kind == Kind::Normal
            && later.delivery.offset != earlier.delivery.offset;
        if earlier.forgotten || earlier.delivery.repeated || moved_again {
            continue;
        }
        let Delivery { group, sent, broker, queue_id, offset, pop_ms, visible_ms, .. } = &earlier.delivery;
        let at = later.delivery.pop_ms;
        let flight = format!("{broker}/{queue_id}@{offset} was popped at {pop_ms} until {visible_ms}");
        if earlier.acked {
            let said = earlier.ack_sent_ms.unwrap_or(0);
            violations.push(format!(
                "message {sent:?} was acknowledged by {group} and came again at {at}: {flight}, acknowledged at {said}"
            ));
        } else if at < *visible_ms {
            let early_ms = visible_ms - at;
            violations.push(format!("message {sent:?} came again to {group} {early_ms} ms early: {flight}"));
        }
    }
    let acked = unsteady && times.iter().any(|noted| noted.ack_sent_ms.is_some());
    let left = |last: &&&Noted| {
        last.ack_sent_ms.is_none() && !acked && !last.forgotten && !damaged.has_hit_send(&last.delivery.sent)
    };
    if let Some(last) = times.last().filter(left) {
        let Delivery { group, sent, visible_ms, .. } = &last.delivery;
        violations.push(format!(
            "message {sent:?} was not acknowledged by {group} and never came again after {visible_ms}"
        ));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::Kind;
    use kerolox_wire::receipt::Kind as From;

    const IN_ORDER: Popping = Popping { group: "g", topic: "T", order: true, want: Want::All };

    fn delivery(n: u64, pop_ms: i64) -> Delivery {
        Delivery {
            group: "g",
            sent: (n, 1),
            broker: 0,
            kind: From::Normal,
            queue_id: 0,
            offset: n,
            pop_ms,
            visible_ms: pop_ms + 100,
            given_ms: pop_ms,
            repeated: false,
        }
    }

    /// Gives messages at times, and acknowledges each of them when it is given.
    fn given(times: &[(u64, i64)]) -> Flights {
        let mut flights = Flights::default();
        flights.pops(IN_ORDER);
        for (n, pop_ms) in times {
            let id = flights.given(delivery(*n, *pop_ms));
            flights.ack_sent(*pop_ms, id);
        }
        flights
    }

    #[track_caller]
    fn finds(flights: &Flights, wanted: &[&str]) {
        finds_of(flights, &[], wanted);
    }

    /// `there`: what lies in the topic's queue.
    #[track_caller]
    fn finds_of(flights: &Flights, there: &[u64], wanted: &[&str]) {
        let queue = Queue { broker: 0, topic: "T".into(), queue_id: 0 };
        let there = there.iter().map(|n| (Place { queue: queue.clone(), offset: *n }, (*n, 1)));
        let message =
            |id| Message { id, topic: "T", tag: if id < 5 { "red" } else { "blue" }, kind: Kind::Plain };
        let messages: Vec<Message> = (0..10).map(message).collect();
        let mut found = Vec::new();
        let known = |id: Id| messages.get(id as usize);
        flights.finish(&there.collect(), &known, &[], &Damaged::default(), &mut found);
        assert_eq!(found.len(), wanted.len(), "{found:#?}");
        assert!(found.iter().zip(wanted).all(|(found, wanted)| found.contains(wanted)), "{found:#?}");
    }

    #[test]
    fn what_is_right_is_no_violation() {
        finds(&given(&[(0, 10), (1, 10), (2, 11), (1, 110)]), &[]);
    }

    #[test]
    fn too_early_or_after_an_acknowledgement_is() {
        finds(&given(&[(0, 10), (0, 109)]), &["1 ms early"]);
        let mut flights = given(&[(0, 10), (0, 200)]);
        flights.ack_answered(&[], 110, DeliveryId(0));
        finds(&flights, &[]);
        flights.ack_answered(&[], 109, DeliveryId(0));
        finds(&flights, &["was acknowledged by g and came again"]);
        let mut flights = given(&[(0, 10), (0, 150)]);
        flights.time_asked(&[], 90, DeliveryId(0), 500);
        finds(&flights, &[]);
        flights.time_answered(&[], 110, DeliveryId(0), 590);
        finds(&flights, &[]);
        flights.time_answered(&[], 95, DeliveryId(0), 590);
        finds(&flights, &["440 ms early"]);
        flights.power_lost(1, 90);
        flights.power_lost(0, 96);
        finds(&flights, &["440 ms early"]);
        flights.power_lost(0, 95);
        finds(&flights, &[]);
        let mut flights = Flights::default();
        flights.pops(IN_ORDER);
        flights.given(Delivery { repeated: true, ..delivery(0, 10) });
        let again = flights.given(delivery(0, 60));
        flights.ack_sent(60, again);
        finds(&flights, &[]);
    }

    #[test]
    fn what_never_comes_is() {
        let mut flights = given(&[]);
        flights.given(delivery(0, 10));
        finds(&flights, &["never came again"]);
        let flights = given(&[(0, 10)]);
        finds_of(&flights, &[0], &[]);
        finds_of(&flights, &[0, 1], &["never came to g"]);
    }

    #[test]
    fn what_nobody_asked_for_is() {
        let mut flights = given(&[]);
        let popping = Popping { order: false, want: Want::Tags("red"), ..IN_ORDER };
        flights.poppings = BTreeSet::from([popping]);
        for n in [3, 6] {
            let id = flights.given(delivery(n, 10));
            flights.ack_sent(10, id);
        }
        finds_of(&flights, &[3, 4, 6, 7], &["(4, 1) at", "was given (6, 1)"]);
    }

    #[test]
    fn what_passes_an_open_one_is() {
        finds_of(&given(&[(0, 10), (2, 11)]), &[0, 1, 2], &["never came to g", "1 was open"]);
        finds_of(&given(&[(0, 10), (2, 11)]), &[0, 2], &[]);
        let mut flights = given(&[(0, 10)]);
        flights.given(delivery(1, 10));
        for (n, at) in [(2, 60), (1, 111)] {
            let id = flights.given(delivery(n, at));
            flights.ack_sent(at, id);
        }
        finds_of(&flights, &[0, 1, 2], &["1 was open"]);
    }
}
