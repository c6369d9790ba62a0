//! `bench lite`: messages of many lite topics, sent, popped by their subscribers and acknowledged one by one.

use super::Lite;
use super::measure::Measured;
use super::server::Broker;
use super::topics::{Steps, figures};
use anyhow::{Context, Result, ensure};
use kerolox_wire::body::{
    LiteSubscription, LiteSubscriptionCtlRequestBody, SubscriptionGroupConfig, to_json,
};
use kerolox_wire::header::{AckMessage, PopLiteMessage, SendMessage};
use kerolox_wire::properties::{PropertiesBuf, name};
use kerolox_wire::receipt::{Kind, Receipt};
use kerolox_wire::{Command, RequestCode, ResponseCode, record};
use serde_json::json;
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::{Duration, Instant};

/// How long a pop may be parked at the broker, and its messages are invisible.
const POLL_MS: i64 = 1_000;
const INVISIBLE_MS: i64 = 60_000;
/// Subscriptions of one request.
const SUBSCRIBED_AT_ONCE: usize = 1_000;
/// A run's longest step.
const STEP_S: f64 = 3_600.0;
/// Without a message for so long, the rest counts as lost.
const PATIENCE: Duration = Duration::from_secs(30);

struct Shared {
    args: Lite,
    measured: RefCell<Measured>,
    /// Number of the next message to send.
    next: Cell<u64>,
    last: Cell<Instant>,
}

impl Shared {
    fn new(args: &Lite) -> Result<Rc<Self>> {
        let mut measured = Measured::new(0.0, STEP_S, &args.server.pid)?;
        measured.watch_cpu(Instant::now());
        let last = Cell::new(Instant::now());
        Ok(Rc::new(Self { args: args.clone(), measured: RefCell::new(measured), next: Cell::new(0), last }))
    }

    fn all(&self) -> u64 {
        u64::from(self.args.lite_topics) * u64::from(self.args.messages)
    }

    fn is_over(&self) -> bool {
        self.measured.borrow().total >= self.all() || self.last.get().elapsed() > PATIENCE
    }

    fn done(&self, begun: Instant, bytes: u64) {
        let now = Instant::now();
        self.last.set(now);
        self.measured.borrow_mut().done(now, 1, bytes, now - begun);
    }

    fn end(&self, steps: &mut Steps, step: &'static str) {
        let mut measured = self.measured.borrow_mut();
        // Not with the last pop, which waited in vain.
        measured.end(self.last.get());
        measured.watch_cpu(Instant::now());
        steps.add(step, figures(&measured));
    }
}

pub(super) async fn run(args: Lite) -> Result<()> {
    let server = &args.server;
    let mut steps = Steps::new(&server.pid);
    let mut brokers = Vec::new();
    for _ in 0..server.connections {
        brokers.push(Rc::new(Broker::find(server).await?));
    }
    let first = brokers.first().context("no connection")?;
    first.create_typed_topic(&server.topic, 1, Some("+message.type=LITE")).await?;
    create_group(first, &args).await?;
    let begun = Instant::now();
    for (client, broker) in brokers.iter().enumerate() {
        subscribe(broker, &args, client).await?;
    }
    let seconds = begun.elapsed().as_secs_f64();
    let subscribed = f64::from(args.lite_topics);
    steps.add("subscribe", json!({ "lite_topics": args.lite_topics, "per_s": subscribed / seconds }));

    let sending = Shared::new(&args)?;
    all_lanes(&brokers, &args, |broker, _| {
        let shared = Rc::clone(&sending);
        tokio::task::spawn_local(async move { send(&broker, &shared).await })
    })
    .await?;
    sending.end(&mut steps, "send");

    let popping = Shared::new(&args)?;
    all_lanes(&brokers, &args, |broker, client| {
        let shared = Rc::clone(&popping);
        tokio::task::spawn_local(async move { pop(&broker, &shared, client).await })
    })
    .await?;
    popping.end(&mut steps, "pop");
    steps.print(server.json)?;
    let popped = popping.measured.borrow().total;
    ensure!(popped >= sending.all(), "{popped} of {} messages came", sending.all());
    Ok(())
}

async fn all_lanes(
    brokers: &[Rc<Broker>],
    args: &Lite,
    lane: impl Fn(Rc<Broker>, usize) -> tokio::task::JoinHandle<Result<()>>,
) -> Result<()> {
    let clients = brokers.iter().enumerate();
    let lanes: Vec<_> = clients
        .flat_map(|(client, broker)| (0..args.in_flight).map(move |_| (Rc::clone(broker), client)))
        .map(|(broker, client)| lane(broker, client))
        .collect();
    for lane in lanes {
        lane.await??;
    }
    Ok(())
}

async fn create_group(broker: &Broker, args: &Lite) -> Result<()> {
    let config = SubscriptionGroupConfig {
        group_name: args.group.clone(),
        attributes: BTreeMap::from([("+lite.bind.topic".to_owned(), args.server.topic.clone())]),
        ..SubscriptionGroupConfig::default()
    };
    let request =
        Command::request(RequestCode::UPDATE_AND_CREATE_SUBSCRIPTIONGROUP).with_body(to_json(&config));
    broker.ask(request, "create group").await.map(drop)
}

fn lite_topic(number: u64) -> String {
    format!("session-{number:07}")
}

fn client_id(client: usize) -> String {
    format!("kerolox-bench-{client}")
}

/// Each client subscribes to its share.
async fn subscribe(broker: &Broker, args: &Lite, client: usize) -> Result<()> {
    let mine: Vec<u64> =
        (client as u64..u64::from(args.lite_topics)).step_by(args.server.connections as usize).collect();
    for some in mine.chunks(SUBSCRIBED_AT_ONCE) {
        let subscription = LiteSubscription {
            action: "PARTIAL_ADD".to_owned(),
            client_id: client_id(client),
            group: args.group.clone(),
            topic: args.server.topic.clone(),
            lite_topic_set: some.iter().map(|number| lite_topic(*number)).collect(),
            ..LiteSubscription::default()
        };
        let body = LiteSubscriptionCtlRequestBody { subscription_set: vec![subscription] };
        let request = Command::request(RequestCode::LITE_SUBSCRIPTION_CTL).with_body(to_json(&body));
        broker.ask(request, "subscribe").await?;
    }
    Ok(())
}

async fn send(broker: &Broker, shared: &Shared) -> Result<()> {
    let args = &shared.args;
    let body = vec![b'x'; args.size as usize];
    loop {
        let number = shared.next.replace(shared.next.get() + 1);
        if number >= shared.all() {
            return Ok(());
        }
        let begun = Instant::now();
        let mut properties = PropertiesBuf::default();
        properties.set(name::UNIQ_CLIENT_MESSAGE_ID_KEYIDX, &format!("{number:032X}"));
        properties.set(name::LITE_TOPIC, &lite_topic(number % u64::from(args.lite_topics)));
        let header = SendMessage {
            producer_group: &args.group,
            topic: &args.server.topic,
            default_topic: "TBW102",
            default_topic_queue_nums: 1,
            properties: Some(std::str::from_utf8(properties.as_bytes())?),
            ..SendMessage::default()
        };
        let mut request = Command::request(RequestCode::SEND_MESSAGE_V2).with_body(body.clone());
        header.encode_v2(&mut request.fields);
        match broker.ask(request, "send").await {
            Ok(_) => shared.done(begun, body.len() as u64),
            Err(e) => {
                shared.measured.borrow_mut().failed(e.to_string());
                shared.measured.borrow_mut().total += 1;
            }
        }
    }
}

async fn pop(broker: &Rc<Broker>, shared: &Rc<Shared>, client: usize) -> Result<()> {
    let args = &shared.args;
    while !shared.is_over() {
        let header = PopLiteMessage {
            client_id: &client_id(client),
            consumer_group: &args.group,
            topic: &args.server.topic,
            max_msg_num: 32,
            invisible_time: INVISIBLE_MS,
            poll_time: POLL_MS,
            born_time: std::time::SystemTime::now()
                .duration_since(std::time::UNIX_EPOCH)
                .map_or(0, |since| since.as_millis() as i64),
            ..Default::default()
        };
        let begun = Instant::now();
        let answer = broker
            .try_ask(Command::request(RequestCode::POP_LITE_MESSAGE).with_header(&header), "pop")
            .await?;
        let code = ResponseCode(answer.code);
        if [ResponseCode::POLLING_TIMEOUT, ResponseCode::PULL_NOT_FOUND, ResponseCode::POLLING_FULL]
            .contains(&code)
        {
            continue;
        }
        ensure!(code == ResponseCode::SUCCESS, "{code:?} {}", answer.remark.as_deref().unwrap_or_default());
        // Apache leaves out fields of the header that other pops have.
        let field = |name| answer.fields.get(name).and_then(|text| text.parse::<i64>().ok());
        let (popped_ms, revive_queue) = (field("popTime"), field("reviveQid"));
        let popped = (popped_ms.context("no popTime")?, revive_queue.context("no reviveQid")? as i32);
        let acks: Vec<_> = record::split(&answer.body)
            .flatten()
            .filter_map(|view| {
                let properties = view.properties();
                let lite_topic = properties.get(name::LITE_TOPIC)?.to_owned();
                let offset: i64 = properties.get(name::INNER_MULTI_QUEUE_OFFSET)?.parse().ok()?;
                let request = acknowledgement(args, &broker.name, popped, &lite_topic, offset);
                let (broker, shared, bytes) = (Rc::clone(broker), Rc::clone(shared), view.body.len() as u64);
                Some(tokio::task::spawn_local(async move {
                    broker.ask(request, "ack").await.map(|_| shared.done(begun, bytes))
                }))
            })
            .collect();
        for ack in acks {
            ack.await??;
        }
    }
    Ok(())
}

fn acknowledgement(
    args: &Lite,
    broker: &str,
    (pop_ms, revive_queue): (i64, i32),
    lite_topic: &str,
    offset: i64,
) -> Command {
    let receipt = Receipt {
        start_offset: 0,
        pop_ms,
        invisible_ms: INVISIBLE_MS,
        revive_queue,
        kind: Kind::Normal,
        broker,
        queue_id: 0,
        offset: Some(offset),
    };
    let header = AckMessage {
        consumer_group: &args.group,
        topic: &args.server.topic,
        queue_id: 0,
        extra_info: &receipt.to_string(),
        offset,
        lite_topic: Some(lite_topic),
        ..Default::default()
    };
    Command::request(RequestCode::ACK_MESSAGE).with_header(&header)
}
