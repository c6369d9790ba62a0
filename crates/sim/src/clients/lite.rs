//! Lite topics: a client sends to some of them, and pops from all that it subscribes to, in order. Of each every message comes,
//! none before an earlier one is acknowledged or comes with it, none after it was acknowledged.

use super::{Context, EVERYWHERE, Role, Sessions, is_ok, number, request, send};
use crate::network::broker_name;
use kerolox_store::Position;
use kerolox_wire::body::{LiteSubscription, LiteSubscriptionCtlRequestBody, to_json};
use kerolox_wire::message_id::MessageId;
use kerolox_wire::properties::name as property;
use kerolox_wire::receipt::{Kind, ORDERED, Receipt};
use kerolox_wire::record::RecordView;
use kerolox_wire::{Command, RequestCode};
use std::collections::{BTreeMap, BTreeSet};

const TOPIC: &str = "rooms";
const GROUP: &str = "sim-lite";
const ROOMS: [&str; 3] = ["a", "b", "c"];
/// How often the client says what it subscribes to.
const SUBSCRIBE_EVERY_MS: i64 = 1_000;
const INVISIBLE_MS: (i64, i64) = (300, 4_000);
/// So long after nothing goes wrong any more everything was consumed.
const PATIENCE_MS: i64 = 30_000;

/// What is being done, or to be done next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    CreateTopic,
    CreateGroup,
    Subscribe,
    Send { room: usize },
    Pop,
    Ack(Popped),
}

/// A message in hand. `n` is its number among all that were sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Popped {
    room: usize,
    n: u64,
    offset: u64,
    pop_ms: i64,
    invisible_ms: i64,
    given_ms: i64,
}

pub struct Lite {
    broker: usize,
    name: String,
    step: Step,
    sent: u64,
    subscribed_ms: i64,
    /// Messages that were acknowledged, and are still to be consumed: by room and number, where in the log they lie.
    open: BTreeMap<(usize, u64), Position>,
    /// Those that the broker was told are consumed, and those of which it said so in time.
    told: BTreeSet<u64>,
    consumed: BTreeSet<u64>,
    /// Rooms of which something came.
    visited: BTreeSet<usize>,
    hand: Vec<Popped>,
    cuts: u64,
    closing_ms: Option<i64>,
}

impl Lite {
    /// Of a parent topic on one broker.
    pub fn new(broker: usize, name: &str) -> Self {
        Self {
            broker,
            name: name.to_owned(),
            step: Step::CreateTopic,
            sent: 0,
            subscribed_ms: 0,
            open: BTreeMap::new(),
            told: BTreeSet::new(),
            consumed: BTreeSet::new(),
            visited: BTreeSet::new(),
            hand: Vec::new(),
            cuts: 0,
            closing_ms: None,
        }
    }

    fn command(&self, context: &mut Context<'_>) -> Command {
        match self.step {
            Step::CreateTopic => super::admin::create(TOPIC, 1, "+message.type=LITE"),
            Step::CreateGroup => {
                let text =
                    format!(r#"{{"groupName":"{GROUP}","attributes":{{"+lite.bind.topic":"{TOPIC}"}}}}"#);
                Command::request(RequestCode::UPDATE_AND_CREATE_SUBSCRIPTIONGROUP).with_body(text)
            }
            Step::Subscribe => {
                let subscription = LiteSubscription {
                    action: "COMPLETE_ADD".to_owned(),
                    client_id: self.name.clone(),
                    group: GROUP.to_owned(),
                    lite_topic_set: ROOMS.map(str::to_owned).into(),
                    topic: TOPIC.to_owned(),
                    ..LiteSubscription::default()
                };
                let body = LiteSubscriptionCtlRequestBody { subscription_set: vec![subscription] };
                Command::request(RequestCode::LITE_SUBSCRIPTION_CTL).with_body(to_json(&body))
            }
            Step::Send { room } => {
                let room = ROOMS.get(room).copied().unwrap_or_default();
                let properties = format!("{}\u{1}{room}\u{2}", property::LITE_TOPIC);
                send(GROUP, TOPIC, &properties, format!("{room} {}", self.sent))
            }
            Step::Pop => {
                let pairs = [
                    ("clientId", self.name.clone()),
                    ("consumerGroup", GROUP.to_owned()),
                    ("topic", TOPIC.to_owned()),
                    ("maxMsgNum", "8".to_owned()),
                    ("invisibleTime", context.random.between(INVISIBLE_MS.0, INVISIBLE_MS.1).to_string()),
                    ("pollTime", "0".to_owned()),
                    ("bornTime", context.now_ms.to_string()),
                ];
                request(RequestCode::POP_LITE_MESSAGE, &pairs)
            }
            Step::Ack(Popped { room, offset, pop_ms, invisible_ms, .. }) => {
                let receipt = Receipt {
                    start_offset: offset as i64,
                    pop_ms,
                    invisible_ms,
                    revive_queue: ORDERED,
                    kind: Kind::Normal,
                    broker: &broker_name(self.broker),
                    queue_id: 0,
                    offset: Some(offset as i64),
                };
                let pairs = [
                    ("consumerGroup", GROUP.to_owned()),
                    ("topic", TOPIC.to_owned()),
                    ("queueId", "0".to_owned()),
                    ("offset", offset.to_string()),
                    ("liteTopic", ROOMS.get(room).copied().unwrap_or_default().to_owned()),
                    ("extraInfo", receipt.to_string()),
                ];
                request(RequestCode::ACK_MESSAGE, &pairs)
            }
        }
    }

    fn popped(&mut self, context: &mut Context<'_>, answer: &Command) {
        let (pop_ms, invisible_ms) =
            (number(answer, "popTime") as i64, number(answer, "invisibleTime") as i64);
        let mut hand = Vec::new();
        for view in kerolox_wire::record::split(&answer.body) {
            let told = view.ok().as_ref().and_then(told);
            let Some((room, n, offset)) = told.filter(|(_, n, _)| *n <= self.sent) else {
                return context.ledger.violated(format!("{TOPIC} of broker {} holds {told:?}", self.broker));
            };
            hand.push(Popped { room, n, offset, pop_ms, invisible_ms, given_ms: context.now_ms });
        }
        for Popped { room, n, .. } in &hand {
            if self.visited.insert(*room) {
                self.forget_gone(context, *room);
            }
            if self.consumed.contains(n) {
                context.ledger.violated(format!("message {n} of {TOPIC} was acknowledged and came again"));
            }
            let before = self.open.range((*room, 0)..(*room, *n)).map(|((_, n), _)| *n);
            let passed = before.filter(|n| !self.told.contains(n) && !hand.iter().any(|other| other.n == *n));
            let passed: Vec<u64> = passed.collect();
            if !passed.is_empty() {
                context
                    .ledger
                    .violated(format!("message {n} of {TOPIC} came out of order: {passed:?} are open"));
            }
        }
        self.hand = hand;
    }

    /// What to do next.
    fn next(&mut self, context: &mut Context<'_>) {
        let random = &mut *context.random;
        // Now and then one is left, or acknowledged late.
        if !context.closing && random.one_in(6) {
            self.hand.pop();
        }
        self.step = match self.hand.pop() {
            Some(popped) => Step::Ack(popped),
            None if context.now_ms - self.subscribed_ms >= SUBSCRIBE_EVERY_MS => Step::Subscribe,
            None if context.closing || random.one_in(2) => Step::Pop,
            None => Step::Send { room: random.below(ROOMS.len() as u64) as usize },
        };
    }

    /// If the first message of a room had gone before anything came of it, it began with the last.
    fn forget_gone(&mut self, context: &Context<'_>, room: usize) {
        let gone = &context.ledger.gone;
        if self.open.iter().any(|((of, _), position)| *of == room && gone.took(self.broker, *position)) {
            self.open.retain(|(of, _), _| *of != room);
        }
    }

    /// At the end everything came.
    fn check_all(&mut self, context: &mut Context<'_>) {
        let since_ms = *self.closing_ms.get_or_insert(context.now_ms);
        if context.now_ms - since_ms < PATIENCE_MS {
            return;
        }
        self.closing_ms = Some(i64::MAX / 2);
        for room in (0..ROOMS.len()).filter(|room| !self.visited.contains(room)).collect::<Vec<_>>() {
            self.forget_gone(context, room);
        }
        let left = self.open.keys().filter(|(_, n)| !self.told.contains(n));
        let left: Vec<_> = left.copied().collect();
        if !left.is_empty() {
            context.ledger.violated(format!("messages {left:?} of {TOPIC} never came"));
        }
    }
}

/// The room of a message, its number, and its offset there.
fn told(view: &RecordView<'_>) -> Option<(usize, u64, u64)> {
    let (room, n) = std::str::from_utf8(view.body).ok()?.split_once(' ')?;
    let room = ROOMS.iter().position(|known| *known == room)?;
    let offset = view.properties().get(property::INNER_MULTI_QUEUE_OFFSET)?.parse().ok()?;
    Some((room, n.parse().ok()?, offset))
}

impl Role for Lite {
    type Asked = Step;

    fn topics(&self) -> &[&'static str] {
        &[EVERYWHERE]
    }

    fn act(&mut self, sessions: &mut Sessions<Step>, context: &mut Context<'_>) {
        if context.ledger.lost_since(self.broker, &mut self.cuts) {
            // Nobody knows what is left of all this, nor who is said to have consumed what.
            self.open.clear();
            self.consumed.clear();
            self.hand.clear();
            self.step = Step::CreateTopic;
            return sessions.hang_up(context, self.broker);
        }
        if context.closing {
            self.check_all(context);
        }
        if sessions.count() > 0 || !sessions.is_open(self.broker) {
            return;
        }
        match self.step {
            Step::Send { .. } => self.sent += 1,
            Step::Subscribe => self.subscribed_ms = context.now_ms,
            Step::Ack(popped) => drop(self.told.insert(popped.n)),
            _ => {}
        }
        let command = self.command(context);
        sessions.ask(context, self.broker, command, self.step);
    }

    fn answered(
        &mut self,
        sessions: &mut Sessions<Step>,
        context: &mut Context<'_>,
        broker: usize,
        asked: Step,
        answer: Option<&Command>,
    ) {
        let Some(answer) = answer else {
            // What is still on its way must not come behind what is sent later. Whoever subscribed is not known any more.
            self.subscribed_ms = 0;
            if !matches!(asked, Step::CreateTopic | Step::CreateGroup) {
                self.next(context);
            }
            return sessions.hang_up(context, broker);
        };
        match asked {
            Step::CreateTopic | Step::CreateGroup if !is_ok(answer) => return,
            Step::CreateTopic => {
                self.step = Step::CreateGroup;
                return;
            }
            Step::Send { room } if is_ok(answer) => {
                let id = answer.fields.get("msgId").and_then(|id| id.parse::<MessageId>().ok());
                self.open.insert((room, self.sent), id.map_or(0, |id| id.position));
            }
            Step::Pop if is_ok(answer) => self.popped(context, answer),
            Step::Ack(Popped { n, pop_ms, invisible_ms, given_ms, .. }) if is_ok(answer) => {
                let clock = context.ledger.clocks.get(broker);
                let in_time = clock
                    .is_some_and(|clock| clock.is_before(given_ms, context.now_ms, pop_ms + invisible_ms));
                if in_time {
                    self.consumed.insert(n);
                }
            }
            _ => {}
        }
        self.next(context);
    }

    /// What it knows is on its own disk, but for what it had in hand.
    fn restart(&mut self) {
        self.hand.clear();
        self.subscribed_ms = 0;
    }
}
