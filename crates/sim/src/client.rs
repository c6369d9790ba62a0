//! Producers and consumers as the official clients behave: requests with time-outs, retries, one connection at a time.

use crate::check::{Ledger, Place};
use crate::flights::Popping;
use crate::popping::{self, Hand, PopAsked};
use crate::random::Random;
use kerolox_broker::ConnId;
use kerolox_wire::message_id::MessageId;
use kerolox_wire::record::RecordView;
use kerolox_wire::{Command, RequestCode, ResponseCode, sys_flag};
use std::collections::BTreeMap;

/// A request that got no answer for so long is given up.
pub const TIMEOUT_MS: i64 = 3_000;
const GROUP: &str = "sim-group";
const PRODUCERS: &str = "sim-producers";
/// Requests under way per producer.
const IN_FLIGHT_MAX: usize = 8;
/// Delay level 1 of the simulated broker.
pub const DELAY_MS: i64 = 1_000;

/// What a client does.
#[derive(Debug, Clone)]
pub enum Role {
    Producer,
    /// Reads one queue and commits what it has read.
    Consumer {
        topic: String,
        queue_id: u32,
    },
    /// Pops from a topic; by its number among those that do.
    Popper {
        popping: Popping,
        number: u64,
    },
}

/// A message as its producer has it.
#[derive(Debug, Clone)]
struct Message {
    id: u64,
    topic: String,
    kind: Kind,
    sent_ms: i64,
    /// How often it was sent.
    tries: u64,
}

/// What a producer wants of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Plain,
    /// By level 1.
    Delayed,
    Timed {
        due_ms: i64,
    },
    /// A half message. `ends`: its producer says so at once, rather than when it is asked.
    Half {
        ends: bool,
    },
}

/// Whether a transaction is committed in the end: of every three one is rolled back.
fn commits(id: u64) -> bool {
    !id.is_multiple_of(3)
}

/// Why a request was sent.
#[derive(Debug, Clone)]
enum Asked {
    Send(Message),
    Offset,
    Pull,
    Commit { offset: u64 },
    Route,
    Heartbeat,
    Pop(PopAsked),
}

#[derive(Debug)]
pub struct Client {
    pub role: Role,
    /// Of the broker, while there is one.
    pub conn: Option<ConnId>,
    next_opaque: i32,
    waiting: BTreeMap<i32, (i64, Asked)>,
    /// Messages whose send failed or timed out: sent again under the same number.
    again: Vec<Message>,
    /// Queues by topic as the name server said.
    routes: BTreeMap<String, u32>,
    /// Where a consumer goes on; `None` until the broker told.
    offset: Option<u64>,
    greeted: bool,
    /// Of one that pops.
    hand: Option<Hand>,
}

/// Where a request goes.
#[derive(Debug)]
pub enum Out {
    Broker(Command),
    Namesrv(Command),
}

impl Client {
    pub fn new(role: Role) -> Self {
        let hand = match &role {
            Role::Popper { popping, number } => Some(Hand::new(*popping, *number)),
            Role::Producer | Role::Consumer { .. } => None,
        };
        Self {
            role,
            hand,
            conn: None,
            next_opaque: 0,
            waiting: BTreeMap::new(),
            again: Vec::new(),
            routes: BTreeMap::new(),
            offset: None,
            greeted: false,
        }
    }

    /// The connection broke: everything under way failed.
    pub fn disconnected(&mut self) {
        self.conn = None;
        self.greeted = false;
        let failed: Vec<i32> = self.waiting.keys().copied().collect();
        for opaque in failed {
            self.gave_up(opaque);
        }
    }

    fn gave_up(&mut self, opaque: i32) {
        if let Some((_, Asked::Send(message))) = self.waiting.remove(&opaque) {
            self.again.push(message);
        }
    }

    /// The process dies and starts anew: a consumer asks for its offset again.
    pub fn restart(&mut self) {
        self.disconnected();
        self.offset = None;
        self.hand.iter_mut().for_each(Hand::restart);
    }

    fn ask(&mut self, now_ms: i64, mut command: Command, asked: Asked) -> Command {
        self.next_opaque += 1;
        command.opaque = self.next_opaque;
        self.waiting.insert(self.next_opaque, (now_ms + TIMEOUT_MS, asked));
        command
    }

    /// Time passed: what to send now. `topics`: for new messages; without any nothing new is begun.
    pub fn act(
        &mut self,
        now_ms: i64,
        random: &mut Random,
        topics: &[String],
        ledger: &mut Ledger,
    ) -> Vec<Out> {
        let late = |(opaque, (deadline, _)): (&i32, &(i64, Asked))| (*deadline <= now_ms).then_some(*opaque);
        let late: Vec<i32> = self.waiting.iter().filter_map(late).collect();
        for opaque in late {
            self.gave_up(opaque);
        }
        if self.conn.is_none() {
            return Vec::new();
        }
        match self.role.clone() {
            Role::Producer => self.produce(now_ms, random, topics, ledger),
            Role::Consumer { topic, queue_id } => self.consume(now_ms, &topic, queue_id),
            Role::Popper { .. } => self.pop(now_ms, random, topics.is_empty(), ledger),
        }
    }

    fn pop(&mut self, now_ms: i64, random: &mut Random, calm: bool, ledger: &mut Ledger) -> Vec<Out> {
        let Some(hand) = &mut self.hand else { return Vec::new() };
        let mut asked = hand.due(now_ms, random, ledger);
        if !self.waiting.values().any(|(_, asked)| matches!(asked, Asked::Pop(PopAsked::Pop))) {
            asked.push(hand.pop(now_ms, random, calm));
        }
        let ask = |(command, why)| Out::Broker(self.ask(now_ms, command, Asked::Pop(why)));
        asked.into_iter().map(ask).collect()
    }

    fn produce(
        &mut self,
        now_ms: i64,
        random: &mut Random,
        topics: &[String],
        ledger: &mut Ledger,
    ) -> Vec<Out> {
        if !self.greeted {
            self.greeted = true;
            let body = format!(r#"{{"clientID":"p","producerDataSet":[{{"groupName":"{PRODUCERS}"}}]}}"#);
            let heartbeat = Command::request(RequestCode::HEART_BEAT).with_body(body);
            return vec![Out::Broker(self.ask(now_ms, heartbeat, Asked::Heartbeat))];
        }
        if self.waiting.len() >= IN_FLIGHT_MAX || topics.is_empty() {
            return Vec::new();
        }
        let mut message = self.again.pop().unwrap_or_else(|| {
            let topic = topics.get(random.below(topics.len() as u64) as usize).cloned().unwrap_or_default();
            new_message(now_ms, random, topic, ledger)
        });
        let Some(queues) = self.routes.get(&message.topic).copied() else {
            self.again.push(message);
            let asks = self.waiting.values().any(|(_, asked)| matches!(asked, Asked::Route));
            if asks {
                return Vec::new();
            }
            let request = fields(RequestCode::GET_ROUTEINFO_BY_TOPIC, &[("topic", "TBW102".to_owned())]);
            return vec![Out::Namesrv(self.ask(now_ms, request, Asked::Route))];
        };
        let queue_id = random.below(u64::from(queues.clamp(1, 4)));
        message.tries += 1;
        let command = send_request(&message, queue_id);
        let body = format!("{:>width$}", message.id, width = random.between(1, 3_000) as usize);
        vec![Out::Broker(self.ask(now_ms, command.with_body(body), Asked::Send(message)))]
    }

    /// A request of the broker's own: what became of a half message?
    pub fn asked(&mut self, question: &Command) -> Vec<Out> {
        let view = RecordView::parse(&question.body).ok();
        let id = view.and_then(|view| message_id(view.body));
        let Some(id) = id.filter(|_| question.code == RequestCode::CHECK_TRANSACTION_STATE.0) else {
            return Vec::new();
        };
        let place = |name| number(question, name);
        vec![Out::Broker(end_request(id, place("tranStateTableOffset"), place("commitLogOffset")))]
    }

    fn consume(&mut self, now_ms: i64, topic: &str, queue_id: u32) -> Vec<Out> {
        let mut out = Vec::new();
        if !self.greeted {
            self.greeted = true;
            let body = format!(
                r#"{{"clientID":"c{queue_id}{topic}","consumerDataSet":[{{"groupName":"{GROUP}","consumeType":"CONSUME_PASSIVELY","messageModel":"CLUSTERING","consumeFromWhere":"CONSUME_FROM_FIRST_OFFSET","subscriptionDataSet":[]}}]}}"#
            );
            let heartbeat = Command::request(RequestCode::HEART_BEAT).with_body(body);
            out.push(Out::Broker(self.ask(now_ms, heartbeat, Asked::Heartbeat)));
        }
        if !self.waiting.values().any(|(_, asked)| matches!(asked, Asked::Offset | Asked::Pull)) {
            let common = [
                ("consumerGroup", GROUP.to_owned()),
                ("topic", topic.to_owned()),
                ("queueId", queue_id.to_string()),
            ];
            let (request, asked) = match self.offset {
                None => (fields(RequestCode::QUERY_CONSUMER_OFFSET, &common), Asked::Offset),
                Some(offset) => {
                    let mut request = fields(RequestCode::PULL_MESSAGE, &common);
                    for (name, value) in [
                        ("queueOffset", offset),
                        ("maxMsgNums", 8),
                        ("sysFlag", 6),
                        ("commitOffset", 0),
                        ("suspendTimeoutMillis", 1_000),
                        ("subVersion", 0),
                    ] {
                        request.fields.push(name, &value.to_string());
                    }
                    request.fields.push("subscription", "*");
                    (request, Asked::Pull)
                }
            };
            out.push(Out::Broker(self.ask(now_ms, request, asked)));
        }
        out
    }

    /// An answer came. Gives what to send because of it.
    pub fn answered(
        &mut self,
        now_ms: i64,
        random: &mut Random,
        calm: bool,
        answer: &Command,
        ledger: &mut Ledger,
    ) -> Vec<Out> {
        let Some((_, asked)) = self.waiting.remove(&answer.opaque) else { return Vec::new() };
        let ok = answer.code == i32::from(ResponseCode::SUCCESS);
        match asked {
            Asked::Send(message) if ok => return acknowledged(message, answer, ledger),
            Asked::Send(message) => self.again.push(message),
            Asked::Route if ok => {
                // The default topic's route says where new topics may be made, and with how many queues.
                let route: serde_json::Value = serde_json::from_slice(&answer.body).unwrap_or_default();
                let queues =
                    route.pointer("/queueDatas/0/writeQueueNums").and_then(serde_json::Value::as_u64);
                for message in &self.again {
                    self.routes.insert(message.topic.clone(), queues.unwrap_or(0) as u32);
                }
            }
            Asked::Offset => return self.offset_answered(answer, ok, ledger),
            Asked::Pull => return self.pulled(now_ms, answer, ledger),
            Asked::Commit { offset } if ok => {
                if let Role::Consumer { topic, queue_id } = &self.role {
                    ledger.committed(GROUP, topic, *queue_id, offset);
                }
            }
            Asked::Pop(why) => self.pop_answered(now_ms, random, calm, answer, why, ledger),
            Asked::Commit { .. } | Asked::Route | Asked::Heartbeat => {}
        }
        Vec::new()
    }

    fn pop_answered(
        &mut self,
        now_ms: i64,
        random: &mut Random,
        calm: bool,
        answer: &Command,
        why: PopAsked,
        ledger: &mut Ledger,
    ) {
        let Some(hand) = &mut self.hand else { return };
        let ok = answer.code == i32::from(ResponseCode::SUCCESS);
        match why {
            PopAsked::Pop => hand.popped(now_ms, random, calm, answer, ledger),
            PopAsked::Ack(ids) if ok => ids.iter().for_each(|id| ledger.flights.ack_answered(now_ms, *id)),
            PopAsked::MoreTime(popped) if ok => hand.more_time(now_ms, random, answer, popped, ledger),
            PopAsked::Ack(_) | PopAsked::MoreTime(_) => {}
        }
    }

    fn offset_answered(&mut self, answer: &Command, ok: bool, ledger: &mut Ledger) -> Vec<Out> {
        if let (Role::Consumer { topic, queue_id }, true) = (&self.role, ok) {
            let offset = number(answer, "offset");
            ledger.queried(GROUP, topic, *queue_id, offset);
            self.offset = Some(offset);
        }
        Vec::new()
    }

    fn pulled(&mut self, now_ms: i64, answer: &Command, ledger: &mut Ledger) -> Vec<Out> {
        let Role::Consumer { topic, queue_id } = self.role.clone() else { return Vec::new() };
        if answer.code == i32::from(ResponseCode::SUCCESS) {
            record_pulled(now_ms, &answer.body, &topic, queue_id, ledger);
        } else if answer.fields.get("nextBeginOffset").is_none()
            || answer.code == i32::from(ResponseCode::TOPIC_NOT_EXIST)
        {
            return Vec::new();
        }
        let next = number(answer, "nextBeginOffset");
        self.offset = Some(next);
        if answer.code != i32::from(ResponseCode::SUCCESS) {
            return Vec::new();
        }
        let commit = fields(
            RequestCode::UPDATE_CONSUMER_OFFSET,
            &[
                ("consumerGroup", GROUP.to_owned()),
                ("topic", topic),
                ("queueId", queue_id.to_string()),
                ("commitOffset", next.to_string()),
            ],
        );
        vec![Out::Broker(self.ask(now_ms, commit, Asked::Commit { offset: next }))]
    }
}

fn new_message(now_ms: i64, random: &mut Random, topic: String, ledger: &mut Ledger) -> Message {
    let id = ledger.send();
    let kind = match random.below(20) {
        0 | 1 => Kind::Delayed,
        2 | 3 => Kind::Timed { due_ms: now_ms + random.between(1, 6_000) },
        4 | 5 => Kind::Half { ends: !random.one_in(3) },
        _ => Kind::Plain,
    };
    match kind {
        Kind::Plain => {}
        Kind::Delayed => ledger.not_before(id, now_ms + DELAY_MS),
        Kind::Timed { due_ms } => ledger.not_before(id, due_ms),
        Kind::Half { .. } => ledger.transaction(id, commits(id)),
    }
    Message { id, topic, kind, sent_ms: now_ms, tries: 0 }
}

fn send_request(message: &Message, queue_id: u64) -> Command {
    let (flag, properties) = match message.kind {
        Kind::Plain => (0, String::new()),
        Kind::Delayed => (0, "DELAY\u{1}1\u{2}".to_owned()),
        Kind::Timed { due_ms } => (0, format!("TIMER_DELIVER_MS\u{1}{due_ms}\u{2}")),
        Kind::Half { .. } => {
            let properties = format!("TRAN_MSG\u{1}true\u{2}PGROUP\u{1}{PRODUCERS}\u{2}");
            (sys_flag::TRANSACTION_PREPARED, properties)
        }
    };
    fields(
        RequestCode::SEND_MESSAGE,
        &[
            ("producerGroup", PRODUCERS.to_owned()),
            ("topic", message.topic.clone()),
            ("defaultTopic", "TBW102".to_owned()),
            ("defaultTopicQueueNums", "4".to_owned()),
            ("queueId", queue_id.to_string()),
            ("sysFlag", flag.to_string()),
            ("bornTimestamp", message.sent_ms.to_string()),
            ("flag", "0".to_owned()),
            (
                "properties",
                format!("UNIQ_KEY\u{1}m{}\u{2}TRY\u{1}{}\u{2}{properties}", message.id, message.tries),
            ),
        ],
    )
}

/// The broker said that a message is safe.
fn acknowledged(message: Message, answer: &Command, ledger: &mut Ledger) -> Vec<Out> {
    let Message { id, topic, kind, .. } = message;
    match kind {
        Kind::Plain => {
            let queue_id = number(answer, "queueId") as u32;
            ledger.acked(id, Place { topic, queue_id, offset: number(answer, "queueOffset") });
        }
        Kind::Delayed | Kind::Timed { .. } | Kind::Half { .. } => ledger.acked_elsewhere(id),
    }
    let position = answer.fields.get("msgId").and_then(|text| text.parse::<MessageId>().ok());
    match (kind, position) {
        (Kind::Half { ends: true }, Some(half)) => {
            vec![Out::Broker(end_request(id, number(answer, "queueOffset"), half.position))]
        }
        _ => Vec::new(),
    }
}

/// One-way, as clients send it.
fn end_request(id: u64, offset: u64, position: u64) -> Command {
    let outcome = if commits(id) { sys_flag::TRANSACTION_COMMIT } else { sys_flag::TRANSACTION_ROLLBACK };
    let pairs = [
        ("producerGroup", PRODUCERS.to_owned()),
        ("tranStateTableOffset", offset.to_string()),
        ("commitLogOffset", position.to_string()),
        ("commitOrRollback", outcome.to_string()),
        ("msgId", String::new()),
    ];
    fields(RequestCode::END_TRANSACTION, &pairs).oneway()
}

/// Which message a body is.
fn message_id(body: &[u8]) -> Option<u64> {
    std::str::from_utf8(body).ok()?.trim().parse().ok()
}

/// Notes every message of a pull's answer in the ledger; its body says which one it is.
pub fn record_pulled(now_ms: i64, body: &[u8], topic: &str, queue_id: u32, ledger: &mut Ledger) {
    for message in kerolox_wire::record::split(body) {
        match message {
            Ok(message) => {
                check_message(&message, topic, queue_id, ledger);
                let id = message_id(message.body);
                let place = Place { topic: topic.to_owned(), queue_id, offset: message.queue_offset };
                if let Some(sent) = popping::sent(&message) {
                    ledger.flights.stored(place.clone(), sent);
                }
                match id {
                    Some(id) => ledger.read(now_ms, place, id),
                    None => ledger.violations.push(format!("{place:?} holds bytes that nobody sent")),
                }
            }
            Err(e) => {
                ledger.violations.push(format!("a pull of {topic}/{queue_id} gave no whole records: {e}"))
            }
        }
    }
}

fn check_message(message: &RecordView<'_>, topic: &str, queue_id: u32, ledger: &mut Ledger) {
    if message.topic != topic || message.queue_id != queue_id {
        let (t, q) = (message.topic, message.queue_id);
        ledger.violations.push(format!("a pull of {topic}/{queue_id} gave a message of {t}/{q}"));
    }
}

pub(crate) fn fields(code: RequestCode, pairs: &[(&str, String)]) -> Command {
    let mut command = Command::request(code);
    for (name, value) in pairs {
        command.fields.push(name, value);
    }
    command
}

pub(crate) fn number(command: &Command, name: &str) -> u64 {
    command.fields.get(name).and_then(|text| text.parse().ok()).unwrap_or(0)
}
