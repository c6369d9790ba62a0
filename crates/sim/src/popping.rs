//! Clients that pop: they acknowledge what they get, one by one or together, ask for more time, and leave some.

use crate::check::Ledger;
use crate::client::{fields, number};
use crate::flights::{Delivery, DeliveryId, Popping, Sent};
use crate::random::Random;
use kerolox_wire::body::{BatchAck, BatchAckMessageRequestBody, to_json};
use kerolox_wire::receipt::{Kind, ORDERED, Receipt};
use kerolox_wire::record::RecordView;
use kerolox_wire::{Command, RequestCode};
use std::collections::BTreeMap;

/// Groups that pop, each from one topic.
pub const ALL: [Popping; 2] = [
    Popping { group: "sim-pop", topic: "orders", order: false },
    Popping { group: "sim-pop-in-order", topic: "payments", order: true },
];

/// How long messages are invisible while things go wrong, and when nothing does: then whoever gets one has the time to
/// acknowledge it.
const INVISIBLE_MS: (i64, i64) = (300, 4_000);
const INVISIBLE_CALM_MS: i64 = 8_000;
const BROKER: &str = "broker-a";

/// What a client does with a message that it was given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Plan {
    Ack,
    AckTogether,
    MoreTime,
    Leave,
}

/// A message in hand.
#[derive(Debug, Clone)]
pub struct Popped {
    id: DeliveryId,
    kind: Kind,
    queue_id: u32,
    offset: u64,
    pop_ms: i64,
    invisible_ms: i64,
    plan: Plan,
    due_ms: i64,
}

/// Why a client that pops asked something.
#[derive(Debug, Clone)]
pub enum PopAsked {
    Pop,
    Ack(Vec<DeliveryId>),
    MoreTime(Popped),
}

#[derive(Debug)]
pub struct Hand {
    popping: Popping,
    /// Of all clients of the group: attempts must not be another's.
    number: u64,
    attempt: u64,
    messages: Vec<Popped>,
}

impl Hand {
    pub fn new(popping: Popping, number: u64) -> Self {
        Self { popping, number, attempt: 0, messages: Vec::new() }
    }

    /// The process dies: nobody knows any more what it had in hand.
    pub fn restart(&mut self) {
        self.messages.clear();
        self.attempt += 1;
    }

    /// In order an attempt that was not answered is repeated, and gives the same.
    pub fn pop(&mut self, now_ms: i64, random: &mut Random, calm: bool) -> (Command, PopAsked) {
        let Popping { group, topic, order } = self.popping;
        let invisible_ms =
            if calm { INVISIBLE_CALM_MS } else { random.between(INVISIBLE_MS.0, INVISIBLE_MS.1) };
        let mut command = fields(
            RequestCode::POP_MESSAGE,
            &[
                ("consumerGroup", group.to_owned()),
                ("topic", topic.to_owned()),
                ("queueId", "-1".to_owned()),
                ("maxMsgNums", if calm { "32" } else { "8" }.to_owned()),
                ("invisibleTime", invisible_ms.to_string()),
                ("pollTime", "1000".to_owned()),
                ("bornTime", now_ms.to_string()),
                ("initMode", "0".to_owned()),
                ("order", order.to_string()),
            ],
        );
        if order {
            command.fields.push("attemptId", &format!("{}-{}", self.number, self.attempt));
        }
        (command, PopAsked::Pop)
    }

    /// A pop was answered, with messages or without.
    pub fn popped(
        &mut self,
        now_ms: i64,
        random: &mut Random,
        calm: bool,
        answer: &Command,
        ledger: &mut Ledger,
    ) {
        self.attempt += 1;
        let (pop_ms, invisible_ms) =
            (number(answer, "popTime") as i64, number(answer, "invisibleTime") as i64);
        for view in kerolox_wire::record::split(&answer.body) {
            let Ok(view) = view else {
                ledger.violations.push(format!("a pop of {} gave no whole records", self.popping.topic));
                return;
            };
            let again = view.properties().get("POP_CK").and_then(Receipt::parse);
            let place = again.and_then(|receipt| {
                let offset = u64::try_from(receipt.offset?).ok()?;
                Some((receipt.kind, receipt.queue_id as u32, offset))
            });
            let (kind, queue_id, offset) = place.unwrap_or((Kind::Normal, view.queue_id, view.queue_offset));
            let Some(sent) = ledger.popped(now_ms, self.popping, kind, &view) else { continue };
            let group = self.popping.group;
            let visible_ms = pop_ms + invisible_ms;
            let id =
                ledger.flights.given(Delivery { group, sent, kind, queue_id, offset, pop_ms, visible_ms });
            let (plan, wait_ms) = plan(random, calm);
            let due_ms = now_ms + wait_ms;
            self.messages.push(Popped { id, kind, queue_id, offset, pop_ms, invisible_ms, plan, due_ms });
        }
    }

    /// What is to be said of messages by now.
    pub fn due(&mut self, now_ms: i64, random: &mut Random, ledger: &mut Ledger) -> Vec<(Command, PopAsked)> {
        let due: Vec<Popped> = self.messages.extract_if(.., |popped| popped.due_ms <= now_ms).collect();
        let mut asked = Vec::new();
        let mut together = Vec::new();
        for popped in due {
            match popped.plan {
                Plan::Leave => {}
                Plan::Ack => {
                    ledger.flights.ack_sent(now_ms, popped.id);
                    let command = fields(RequestCode::ACK_MESSAGE, &self.receipt(&popped));
                    asked.push((command, PopAsked::Ack(vec![popped.id])));
                }
                Plan::AckTogether => {
                    ledger.flights.ack_sent(now_ms, popped.id);
                    together.push(popped);
                }
                Plan::MoreTime => {
                    let invisible_ms = random.between(INVISIBLE_MS.0, INVISIBLE_MS.1);
                    ledger.flights.time_asked(now_ms, popped.id, invisible_ms);
                    let mut command =
                        fields(RequestCode::CHANGE_MESSAGE_INVISIBLETIME, &self.receipt(&popped));
                    command.fields.push("invisibleTime", &invisible_ms.to_string());
                    asked.push((command, PopAsked::MoreTime(popped)));
                }
            }
        }
        if !together.is_empty() {
            let ids = together.iter().map(|popped| popped.id).collect();
            asked.push((self.batch(&together), PopAsked::Ack(ids)));
        }
        asked
    }

    fn receipt(&self, popped: &Popped) -> [(&'static str, String); 5] {
        let Popping { group, topic, order } = self.popping;
        let receipt = Receipt {
            start_offset: popped.offset as i64,
            pop_ms: popped.pop_ms,
            invisible_ms: popped.invisible_ms,
            revive_queue: if order { ORDERED } else { 0 },
            kind: popped.kind,
            broker: BROKER,
            queue_id: popped.queue_id as i32,
            offset: Some(popped.offset as i64),
        };
        [
            ("consumerGroup", group.to_owned()),
            ("topic", popped.kind.topic(topic, group)),
            ("queueId", popped.queue_id.to_string()),
            ("offset", popped.offset.to_string()),
            ("extraInfo", receipt.to_string()),
        ]
    }

    fn batch(&self, together: &[Popped]) -> Command {
        let Popping { group, topic, order } = self.popping;
        let mut pops: BTreeMap<(&str, u32, i64), Vec<&Popped>> = BTreeMap::new();
        for popped in together {
            pops.entry((popped.kind.as_str(), popped.queue_id, popped.pop_ms)).or_default().push(popped);
        }
        let acks = pops.into_iter().map(|((retry, queue_id, pop_ms), popped)| {
            let first = popped.iter().map(|popped| popped.offset).min().unwrap_or(0);
            BatchAck {
                bits: popped.iter().map(|popped| (popped.offset - first) as u32).collect(),
                consumer_group: group.to_owned(),
                invisible_ms: popped.first().map_or(0, |popped| popped.invisible_ms),
                pop_ms,
                queue_id: queue_id as i32,
                retry: retry.to_owned(),
                revive_queue: if order { ORDERED } else { 0 },
                start_offset: first as i64,
                topic: topic.to_owned(),
            }
        });
        let body = BatchAckMessageRequestBody { acks: acks.collect(), broker_name: BROKER.to_owned() };
        Command::request(RequestCode::BATCH_ACK_MESSAGE).with_body(to_json(&body))
    }

    /// A message has another time, and another receipt with it.
    pub fn more_time(
        &mut self,
        now_ms: i64,
        random: &mut Random,
        answer: &Command,
        popped: Popped,
        ledger: &mut Ledger,
    ) {
        let (pop_ms, invisible_ms) =
            (number(answer, "popTime") as i64, number(answer, "invisibleTime") as i64);
        ledger.flights.time_answered(popped.id, pop_ms + invisible_ms);
        let plan = if random.one_in(3) { Plan::Leave } else { Plan::Ack };
        let due_ms = now_ms + random.between(0, 1_000);
        self.messages.push(Popped { pop_ms, invisible_ms, plan, due_ms, ..popped });
    }
}

/// What a client will do with a message, and in how many milliseconds: some too late.
fn plan(random: &mut Random, calm: bool) -> (Plan, i64) {
    let plan = match random.below(10) {
        0..3 => Plan::Ack,
        3..6 => Plan::AckTogether,
        _ if calm => Plan::AckTogether,
        6 | 7 => Plan::MoreTime,
        _ => Plan::Leave,
    };
    let longest_ms = if calm || random.one_in(2) { 50 } else { 3_000 };
    (plan, random.between(0, longest_ms))
}

/// Which message a record is, and how often it had been sent.
pub fn sent(view: &RecordView<'_>) -> Option<Sent> {
    let id = std::str::from_utf8(view.body).ok()?.trim().parse().ok()?;
    Some((id, view.properties().get("TRY")?.parse().ok()?))
}
