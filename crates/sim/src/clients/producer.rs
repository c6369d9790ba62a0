//! Producers: messages of all kinds, sent again elsewhere until they are acknowledged, and transactions ended.

use super::{Context, PRODUCERS, Role, Sessions, is_ok, number, request};
use crate::cast::QUEUES;
use crate::check::{Place, Queue};
use crate::message::{self, Id, Kind, Message, Sent};
use bytes::BytesMut;
use kerolox_wire::body::{HeartbeatData, ProducerData};
use kerolox_wire::message_id::MessageId;
use kerolox_wire::record::RecordView;
use kerolox_wire::record::batch::{self, BatchMessage};
use kerolox_wire::{Command, RequestCode, ResponseCode, sys_flag};
use std::collections::BTreeMap;

/// Requests under way per producer.
const IN_FLIGHT_MAX: usize = 8;
/// A broker that failed is left alone for so long, if there is another.
const AVOID_MS: i64 = 1_000;
/// Messages of a batch.
const BATCH: i64 = 5;

/// Messages that are sent with one request.
#[derive(Debug, Clone)]
pub struct Parcel {
    messages: Vec<Message>,
    /// How often it was sent.
    tries: u64,
    sent_ms: i64,
}

/// Why a producer asked something.
#[derive(Debug)]
pub enum Asked {
    Send(Parcel),
    /// A timer message is not to come after all.
    Recall(Sent),
}

pub struct Producer {
    topics: &'static [&'static str],
    /// Not acknowledged, and not under way.
    again: Vec<Parcel>,
    /// Brokers that failed, and until when they are left alone.
    avoided: BTreeMap<usize, i64>,
}

impl Producer {
    pub fn new(topics: &'static [&'static str]) -> Self {
        Self { topics, again: Vec::new(), avoided: BTreeMap::new() }
    }

    fn new_parcel(&self, context: &mut Context<'_>) -> Option<Parcel> {
        let random = &mut *context.random;
        let topic = self.topics.get(random.below(self.topics.len() as u64) as usize)?;
        let now_ms = context.now_ms;
        let kind = match random.below(20) {
            0 | 1 => Kind::Delayed,
            2 | 3 => Kind::Timed { due_ms: now_ms + random.between(1, 6_000) },
            4 | 5 => Kind::Half { ends: !random.one_in(3) },
            6 => Kind::Priority(random.below(u64::from(QUEUES)) as u32),
            _ => Kind::Plain,
        };
        let count = if kind == Kind::Plain && random.one_in(8) { random.between(2, BATCH) } else { 1 };
        let mut messages = Vec::new();
        for _ in 0..count {
            let tag = message::TAGS.get(random.below(message::TAGS.len() as u64) as usize)?;
            messages.push(context.ledger.message(now_ms, topic, tag, kind));
        }
        Some(Parcel { messages, tries: 0, sent_ms: now_ms })
    }

    /// A queue to send to: not of a broker that failed a moment ago, if there is another.
    fn queue(
        &self,
        sessions: &Sessions<Asked>,
        context: &mut Context<'_>,
        topic: &str,
    ) -> Option<(usize, u32)> {
        let open = sessions.open_brokers(topic);
        let now_ms = context.now_ms;
        let good = |broker: &usize| self.avoided.get(broker).is_none_or(|until| *until <= now_ms);
        let good: Vec<usize> = open.iter().copied().filter(good).collect();
        let brokers = if good.is_empty() { open } else { good };
        let broker = *brokers.get(context.random.below(brokers.len().max(1) as u64) as usize)?;
        let (_, queues, _) = sessions.routes.get(topic)?.iter().find(|(number, ..)| *number == broker)?;
        // A route of no queues to write to is no route.
        let queue_id = context.random.below(u64::from(*queues).max(1)) as u32;
        (*queues > 0).then_some((broker, queue_id))
    }
}

impl Role for Producer {
    type Asked = Asked;

    fn topics(&self) -> &[&'static str] {
        self.topics
    }

    fn heartbeat(&self, client: &str) -> HeartbeatData {
        let producer = ProducerData { group_name: PRODUCERS.to_owned() };
        HeartbeatData {
            client_id: client.to_owned(),
            producer_data_set: vec![producer],
            ..HeartbeatData::default()
        }
    }

    fn act(&mut self, sessions: &mut Sessions<Asked>, context: &mut Context<'_>) {
        if sessions.count() >= IN_FLIGHT_MAX || (context.closing && self.again.is_empty()) {
            return;
        }
        let Some(mut parcel) = self.again.pop().or_else(|| self.new_parcel(context)) else { return };
        let topic = parcel.messages.first().map_or("", |message| message.topic);
        let Some((broker, queue_id)) = self.queue(sessions, context, topic) else {
            self.again.push(parcel);
            return;
        };
        parcel.tries += 1;
        parcel.sent_ms = context.now_ms;
        let command = send_request(&parcel, topic, queue_id);
        sessions.ask(context, broker, command, Asked::Send(parcel));
    }

    fn answered(
        &mut self,
        sessions: &mut Sessions<Asked>,
        context: &mut Context<'_>,
        broker: usize,
        asked: Asked,
        answer: Option<&Command>,
    ) {
        match (asked, answer) {
            (Asked::Send(parcel), Some(answer)) if is_ok(answer) => {
                acknowledged(sessions, context, broker, &parcel, answer);
            }
            (Asked::Recall(sent), Some(answer)) if is_ok(answer) => {
                context.ledger.recalled(context.now_ms, sent, broker);
            }
            (Asked::Recall(sent), Some(answer)) if answer.code == ResponseCode::ILLEGAL_OPERATION.0 => {
                context.ledger.recall_refused(sent);
            }
            (Asked::Recall(_), _) => {}
            (Asked::Send(parcel), _) => {
                self.avoided.insert(broker, context.now_ms + AVOID_MS);
                self.again.push(parcel);
            }
        }
    }

    /// What became of a half message? Any producer of the group knows.
    fn asked(
        &mut self,
        sessions: &mut Sessions<Asked>,
        context: &mut Context<'_>,
        broker: usize,
        question: &Command,
    ) {
        let view = RecordView::parse(&question.body).ok();
        let sent = view.and_then(|view| message::sent(&view));
        let Some((id, _)) = sent.filter(|_| question.code == RequestCode::CHECK_TRANSACTION_STATE.0) else {
            return;
        };
        let (offset, position) =
            (number(question, "tranStateTableOffset"), number(question, "commitLogOffset"));
        sessions.tell(context, broker, end_request(id, offset, position));
    }

    fn restart(&mut self) {
        self.avoided.clear();
    }
}

fn send_request(parcel: &Parcel, topic: &str, queue_id: u32) -> Command {
    let batched = parcel.messages.len() > 1;
    let first = parcel.messages.first();
    let flag = match first.map(|message| message.kind) {
        Some(Kind::Half { .. }) => sys_flag::TRANSACTION_PREPARED,
        _ => 0,
    };
    let properties = first.filter(|_| !batched).map(|message| message.properties(parcel.tries));
    let pairs = [
        ("producerGroup", PRODUCERS.to_owned()),
        ("topic", topic.to_owned()),
        ("defaultTopic", "TBW102".to_owned()),
        ("defaultTopicQueueNums", QUEUES.to_string()),
        ("queueId", queue_id.to_string()),
        ("sysFlag", flag.to_string()),
        ("bornTimestamp", parcel.sent_ms.to_string()),
        ("flag", "0".to_owned()),
        ("properties", properties.unwrap_or_default()),
        ("batch", batched.to_string()),
    ];
    if !batched {
        let body = first.map_or(String::new(), |message| message::body(message.id));
        return request(RequestCode::SEND_MESSAGE, &pairs).with_body(body);
    }
    let mut body = BytesMut::new();
    for message in &parcel.messages {
        let (text, properties) = (message::body(message.id), message.properties(parcel.tries));
        let message = BatchMessage { flag: 0, body: text.as_bytes(), properties: properties.as_bytes() };
        batch::encode(&message, &mut body);
    }
    request(RequestCode::SEND_BATCH_MESSAGE, &pairs).with_body(body.freeze())
}

/// The broker said that messages are safe.
fn acknowledged(
    sessions: &mut Sessions<Asked>,
    context: &mut Context<'_>,
    broker: usize,
    parcel: &Parcel,
    answer: &Command,
) {
    let (now_ms, first) = (context.now_ms, number(answer, "queueOffset"));
    let ids = answer.fields.get("msgId").unwrap_or_default().split(',');
    let positions = ids.map(|id| id.parse::<MessageId>().map_or(0, |id| id.position));
    let messages = (first..).zip(positions).zip(&parcel.messages);
    for ((offset, position), Message { id, topic, kind, .. }) in messages {
        let (id, topic) = (*id, (*topic).to_owned());
        match kind {
            Kind::Plain | Kind::Priority(_) => {
                let queue_id = number(answer, "queueId") as u32;
                if let Kind::Priority(wanted) = kind
                    && queue_id != *wanted
                {
                    context
                        .ledger
                        .violated(format!("message {id} of priority {wanted} went to queue {queue_id}"));
                }
                let queue = Queue { broker, topic: topic.clone(), queue_id };
                let (sent, place) = ((id, parcel.tries), Place { queue, offset });
                context.ledger.acked(now_ms, sent, parcel.sent_ms, place, position);
            }
            Kind::Delayed | Kind::Timed { .. } | Kind::Half { .. } => {
                context.ledger.promised(now_ms, id, broker, position);
            }
        }
        let handle = answer.fields.get("recallHandle").filter(|_| parcel.tries == 1 && id.is_multiple_of(4));
        if let Some(handle) = handle {
            let fields = [("topic", topic.clone()), ("recallHandle", handle.to_owned())];
            let command = request(RequestCode::RECALL_MESSAGE, &fields);
            context.ledger.recall_asked((id, 1));
            sessions.ask(context, broker, command, Asked::Recall((id, 1)));
        }
        if let Kind::Half { ends: true } = kind {
            sessions.tell(context, broker, end_request(id, offset, position));
        }
    }
}

/// One-way, as clients send it.
fn end_request(id: Id, offset: u64, position: u64) -> Command {
    let outcome = match message::commits(id) {
        true => sys_flag::TRANSACTION_COMMIT,
        false => sys_flag::TRANSACTION_ROLLBACK,
    };
    let pairs = [
        ("producerGroup", PRODUCERS.to_owned()),
        ("tranStateTableOffset", offset.to_string()),
        ("commitLogOffset", position.to_string()),
        ("commitOrRollback", outcome.to_string()),
        ("msgId", String::new()),
    ];
    request(RequestCode::END_TRANSACTION, &pairs)
}
