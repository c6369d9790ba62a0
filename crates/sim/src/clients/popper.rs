//! Clients that pop: they acknowledge what they get, one by one or together, ask for more time, and leave some.

use super::{Context, Role, Sessions, is_ok, number, request};
use crate::check::flights::{Delivery, DeliveryId, Popping};
use crate::check::{Queue, Want};
use crate::network::broker_name;
use crate::random::Random;
use kerolox_wire::body::{
    BatchAck, BatchAckMessageRequestBody, ConsumeFromWhere, ConsumeType, ConsumerData, HeartbeatData,
    MessageModel, to_json,
};
use kerolox_wire::receipt::{Kind, ORDERED, Receipt};
use kerolox_wire::record::RecordView;
use kerolox_wire::{Command, RequestCode};
use std::collections::BTreeMap;

/// How long messages are invisible while things go wrong, and when nothing does: then whoever gets one has the time to
/// acknowledge it.
const INVISIBLE_MS: (i64, i64) = (300, 4_000);
const INVISIBLE_CALM_MS: i64 = 8_000;

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
    broker: usize,
    kind: Kind,
    queue_id: u32,
    offset: u64,
    pop_ms: i64,
    invisible_ms: i64,
    plan: Plan,
    due_ms: i64,
}

/// In order a pop that was not answered is repeated under its number, and gives the same.
#[derive(Debug, Clone, Copy, Default)]
struct Attempt {
    number: u64,
    asked: u32,
}

impl Attempt {
    fn next(&mut self) {
        *self = Self { number: self.number + 1, asked: 0 };
    }
}

/// Why a client that pops asked something.
#[derive(Debug)]
pub enum Asked {
    Pop,
    Ack(Vec<DeliveryId>),
    MoreTime(Popped),
}

pub struct Popper {
    popping: Popping,
    topics: [&'static str; 1],
    /// By broker.
    attempts: BTreeMap<usize, Attempt>,
    messages: Vec<Popped>,
}

impl Popper {
    pub fn new(popping: Popping) -> Self {
        Self { popping, topics: [popping.topic], attempts: BTreeMap::new(), messages: Vec::new() }
    }

    fn pop(&mut self, context: &mut Context<'_>, client: &str, broker: usize) -> Command {
        let Popping { group, topic, order, want } = self.popping;
        let invisible_ms = match context.closing {
            true => INVISIBLE_CALM_MS,
            false => context.random.between(INVISIBLE_MS.0, INVISIBLE_MS.1),
        };
        let mut command = request(
            RequestCode::POP_MESSAGE,
            &[
                ("consumerGroup", group.to_owned()),
                ("topic", topic.to_owned()),
                ("queueId", "-1".to_owned()),
                ("maxMsgNums", if context.closing { "32" } else { "8" }.to_owned()),
                ("invisibleTime", invisible_ms.to_string()),
                ("pollTime", "1000".to_owned()),
                ("bornTime", context.now_ms.to_string()),
                ("initMode", "0".to_owned()),
                ("order", order.to_string()),
            ],
        );
        if want != Want::All {
            let (expression, kind) = want.expression();
            command.fields.push("exp", expression);
            command.fields.push("expType", kind);
        }
        if order {
            let attempt = self.attempts.entry(broker).or_default();
            attempt.asked += 1;
            command.fields.push("attemptId", &format!("{client}-{}", attempt.number));
        }
        command
    }

    /// A pop was answered, with messages or without.
    fn popped(&mut self, context: &mut Context<'_>, broker: usize, answer: &Command) {
        let attempt = self.attempts.entry(broker).or_default();
        let repeated = attempt.asked > 1;
        attempt.next();
        for view in kerolox_wire::record::split(&answer.body) {
            let Ok(view) = view else {
                let what = format!("a pop of {} gave no whole records", self.popping.topic);
                return context.ledger.violated(what);
            };
            self.take(context, broker, answer, &view, repeated);
        }
    }

    fn take(
        &mut self,
        context: &mut Context<'_>,
        broker: usize,
        answer: &Command,
        view: &RecordView<'_>,
        repeated: bool,
    ) {
        let Popping { group, topic, .. } = self.popping;
        let now_ms = context.now_ms;
        let (pop_ms, invisible_ms) =
            (number(answer, "popTime") as i64, number(answer, "invisibleTime") as i64);
        let again = view.properties().get("POP_CK").and_then(Receipt::parse);
        let place = again.and_then(|receipt| {
            let offset = u64::try_from(receipt.offset?).ok()?;
            Some((receipt.kind, receipt.queue_id as u32, offset))
        });
        let (kind, queue_id, offset) = place.unwrap_or((Kind::Normal, view.queue_id, view.queue_offset));
        let queue = Queue { broker, topic: topic.to_owned(), queue_id: view.queue_id };
        let sent = match kind {
            Kind::Normal => context.ledger.seen(now_ms, &queue, view),
            // It says that it is of the topic, and of a queue of the group's retry topic.
            Kind::Retry | Kind::RetryV2 => context.ledger.checked(now_ms, &queue, view),
        };
        let Some(sent) = sent else { return };
        let visible_ms = pop_ms + invisible_ms;
        let given_ms = now_ms;
        let delivery =
            Delivery { group, sent, broker, kind, queue_id, offset, pop_ms, visible_ms, given_ms, repeated };
        let id = context.ledger.flights.given(delivery);
        let (plan, wait_ms) = plan(context.random, context.closing);
        let due_ms = now_ms + wait_ms;
        self.messages.push(Popped { id, broker, kind, queue_id, offset, pop_ms, invisible_ms, plan, due_ms });
    }

    /// What is to be said of messages by now.
    fn settle(&mut self, sessions: &mut Sessions<Asked>, context: &mut Context<'_>) {
        let now_ms = context.now_ms;
        let due: Vec<Popped> = self.messages.extract_if(.., |popped| popped.due_ms <= now_ms).collect();
        let mut together: BTreeMap<usize, Vec<Popped>> = BTreeMap::new();
        for popped in due {
            match popped.plan {
                Plan::Leave => {}
                Plan::Ack => {
                    context.ledger.flights.ack_sent(now_ms, popped.id);
                    let command = request(RequestCode::ACK_MESSAGE, &self.receipt(&popped));
                    sessions.ask(context, popped.broker, command, Asked::Ack(vec![popped.id]));
                }
                Plan::AckTogether => {
                    context.ledger.flights.ack_sent(now_ms, popped.id);
                    together.entry(popped.broker).or_default().push(popped);
                }
                Plan::MoreTime => {
                    let invisible_ms = context.random.between(INVISIBLE_MS.0, INVISIBLE_MS.1);
                    let ledger = &mut *context.ledger;
                    ledger.flights.time_asked(&ledger.clocks, now_ms, popped.id, invisible_ms);
                    let mut command =
                        request(RequestCode::CHANGE_MESSAGE_INVISIBLETIME, &self.receipt(&popped));
                    command.fields.push("invisibleTime", &invisible_ms.to_string());
                    sessions.ask(context, popped.broker, command, Asked::MoreTime(popped));
                }
            }
        }
        for (broker, popped) in together {
            let ids = popped.iter().map(|popped| popped.id).collect();
            sessions.ask(context, broker, self.batch(broker, &popped), Asked::Ack(ids));
        }
    }

    fn receipt(&self, popped: &Popped) -> [(&'static str, String); 5] {
        let Popping { group, topic, order, .. } = self.popping;
        let receipt = Receipt {
            start_offset: popped.offset as i64,
            pop_ms: popped.pop_ms,
            invisible_ms: popped.invisible_ms,
            revive_queue: if order { ORDERED } else { 0 },
            kind: popped.kind,
            broker: &broker_name(popped.broker),
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

    fn batch(&self, broker: usize, together: &[Popped]) -> Command {
        let Popping { group, topic, order, .. } = self.popping;
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
        let body = BatchAckMessageRequestBody { acks: acks.collect(), broker_name: broker_name(broker) };
        Command::request(RequestCode::BATCH_ACK_MESSAGE).with_body(to_json(&body))
    }

    /// A message has another time, and another receipt with it.
    fn more_time(&mut self, context: &mut Context<'_>, answer: &Command, popped: Popped) {
        let (pop_ms, invisible_ms) =
            (number(answer, "popTime") as i64, number(answer, "invisibleTime") as i64);
        let ledger = &mut *context.ledger;
        ledger.flights.time_answered(&ledger.clocks, context.now_ms, popped.id, pop_ms + invisible_ms);
        let plan = if context.random.one_in(3) { Plan::Leave } else { Plan::Ack };
        let due_ms = context.now_ms + context.random.between(0, 1_000);
        self.messages.push(Popped { pop_ms, invisible_ms, plan, due_ms, ..popped });
    }
}

impl Role for Popper {
    type Asked = Asked;

    fn topics(&self) -> &[&'static str] {
        &self.topics
    }

    fn heartbeat(&self, client: &str) -> HeartbeatData {
        let consumer = ConsumerData {
            group_name: self.popping.group.to_owned(),
            consume_type: Some(ConsumeType::Pop),
            message_model: Some(MessageModel::Clustering),
            consume_from_where: Some(ConsumeFromWhere::FirstOffset),
            ..ConsumerData::default()
        };
        HeartbeatData {
            client_id: client.to_owned(),
            consumer_data_set: vec![consumer],
            ..HeartbeatData::default()
        }
    }

    fn act(&mut self, sessions: &mut Sessions<Asked>, context: &mut Context<'_>) {
        self.settle(sessions, context);
        for broker in sessions.open_brokers(self.popping.topic) {
            if !sessions.awaits(|at, asked| at == broker && matches!(asked, Asked::Pop)) {
                let command = self.pop(context, &sessions.name, broker);
                sessions.ask(context, broker, command, Asked::Pop);
            }
        }
    }

    fn answered(
        &mut self,
        _sessions: &mut Sessions<Asked>,
        context: &mut Context<'_>,
        broker: usize,
        asked: Asked,
        answer: Option<&Command>,
    ) {
        let Some(answer) = answer else { return };
        match asked {
            Asked::Pop => self.popped(context, broker, answer),
            Asked::Ack(ids) if is_ok(answer) => {
                let ledger = &mut *context.ledger;
                for id in ids {
                    ledger.flights.ack_answered(&ledger.clocks, context.now_ms, id);
                }
            }
            Asked::MoreTime(popped) if is_ok(answer) => self.more_time(context, answer, popped),
            Asked::Ack(_) | Asked::MoreTime(_) => {}
        }
    }

    /// Nobody knows any more what it had in hand.
    fn restart(&mut self) {
        self.messages.clear();
        self.attempts.values_mut().for_each(Attempt::next);
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
