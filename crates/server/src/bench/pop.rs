//! `bench pop`: take messages by pop and acknowledge them, each by itself or by the batch, and leave some.

use super::Pop;
use super::measure::{Measured, ProgressLine, memory_mib};
use super::server::Broker;
use anyhow::{Result, ensure};
use kerolox_wire::body::{BatchAck, BatchAckMessageRequestBody, to_json};
use kerolox_wire::header::{AckMessage, PopMessage, PopMessageResponse};
use kerolox_wire::receipt::{Kind, Receipt};
use kerolox_wire::record;
use kerolox_wire::{Command, RequestCode, ResponseCode};
use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;
use std::time::{Duration, Instant};

/// How long a pop may be parked at the broker.
const POLL_MS: i64 = 2_000;

/// What was popped and left, by unique id, and what came again.
#[derive(Default)]
struct Left {
    /// When each was popped, at the earliest and at the latest.
    at: HashMap<String, (Instant, Instant)>,
    kept: u64,
    early: u64,
    again: u64,
    /// The longest after its invisible time.
    late: Duration,
}

struct Shared {
    args: Pop,
    measured: RefCell<Measured>,
    left: RefCell<Left>,
}

pub(super) async fn run(args: Pop) -> Result<()> {
    let server = &args.server;
    let broker = Rc::new(Broker::find(server).await?);
    broker.create_topic(&server.topic, server.queues).await?;
    let measured = Measured::new(server.warm_up, server.duration, &server.pid)?;
    let shared =
        Rc::new(Shared { measured: RefCell::new(measured), left: RefCell::default(), args: args.clone() });
    let mut tasks = Vec::new();
    for _ in 0..server.connections {
        let broker = Rc::new(Broker::find(server).await?);
        for _ in 0..args.in_flight {
            tasks.push(tokio::task::spawn_local(lane(Rc::clone(&broker), Rc::clone(&shared))));
        }
    }
    let mut progress = ProgressLine::new();
    let mut ticks = tokio::time::interval(Duration::from_millis(100));
    let mut tick = 0_u32;
    while !shared.is_over() && !tasks.iter().all(tokio::task::JoinHandle::is_finished) {
        ticks.tick().await;
        tick += 1;
        shared.measured.borrow_mut().watch_cpu(Instant::now());
        if tick.is_multiple_of(10) {
            progress.show(&shared.measured.borrow());
        }
    }
    progress.end();
    let mut measured = shared.measured.borrow_mut();
    measured.end(Instant::now());
    measured.watch_cpu(Instant::now());
    let left = shared.left.borrow();
    let figures = [
        ("left", left.kept as f64),
        ("came_again", left.again as f64),
        ("too_early", left.early as f64),
        ("late_ms_max", left.late.as_secs_f64() * 1e3),
        ("memory_mib", memory_mib(&server.pid)),
    ];
    measured.report("pop", server.json, &figures)?;
    ensure!(left.early == 0, "{} messages came again before their time", left.early);
    Ok(())
}

impl Shared {
    fn is_over(&self) -> bool {
        let measured = self.measured.borrow();
        measured.is_over(Instant::now()) || measured.total >= self.args.server.count.unwrap_or(u64::MAX)
    }
}

/// Pops and acknowledges until the time is over.
async fn lane(broker: Rc<Broker>, shared: Rc<Shared>) {
    while !shared.is_over() {
        if let Err(e) = once(&broker, &shared).await {
            shared.measured.borrow_mut().failed(e.to_string());
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}

async fn once(broker: &Broker, shared: &Shared) -> Result<()> {
    let args = &shared.args;
    let header = PopMessage {
        consumer_group: &args.group,
        topic: &args.server.topic,
        queue_id: -1,
        max_msg_nums: args.pop_batch as i32,
        invisible_time: args.invisible as i64,
        poll_time: POLL_MS,
        born_time: std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .map_or(0, |since| since.as_millis() as i64),
        ..Default::default()
    };
    let begun = Instant::now();
    let answer =
        broker.try_ask(Command::request(RequestCode::POP_MESSAGE).with_header(&header), "pop").await?;
    let code = ResponseCode(answer.code);
    if [ResponseCode::POLLING_TIMEOUT, ResponseCode::PULL_NOT_FOUND].contains(&code) {
        return Ok(());
    }
    ensure!(code == ResponseCode::SUCCESS, "{code:?} {}", answer.remark.as_deref().unwrap_or_default());
    let popped = Instant::now();
    let header: PopMessageResponse<'_> = answer.header()?;
    let starts = starts(header.start_offset_info.unwrap_or_default());
    let messages = messages(&answer, shared, &header, &starts, (begun, popped));
    let bytes = answer.body.len() as u64;
    let count = messages.len() as u64;
    if args.each {
        for message in &messages {
            ack(broker, shared, message).await?;
        }
    } else {
        ack_all(broker, shared, &messages).await?;
    }
    let now = Instant::now();
    shared.measured.borrow_mut().done(now, count, bytes, now - begun);
    Ok(())
}

/// Where a pop began to read each queue: acknowledgements to Apache name it.
type Starts = BTreeMap<(Kind, u32), i64>;

fn starts(text: &str) -> Starts {
    let start = |entry: &str| {
        let mut items = entry.split(' ');
        let kind = Kind::parse(items.next()?)?;
        Some(((kind, items.next()?.parse().ok()?), items.next()?.parse().ok()?))
    };
    text.split(';').filter_map(start).collect()
}

/// A message that is to be acknowledged.
struct Popped {
    start: i64,
    kind: Kind,
    queue_id: u32,
    offset: u64,
    pop_ms: i64,
    invisible_ms: i64,
    revive_queue: i32,
}

/// The messages of an answer but for those that are to be left; what is seen the second time is noted, and not left again.
fn messages(
    answer: &Command,
    shared: &Shared,
    header: &PopMessageResponse<'_>,
    starts: &Starts,
    (begun, popped): (Instant, Instant),
) -> Vec<Popped> {
    let invisible = Duration::from_millis(shared.args.invisible);
    let mut left = shared.left.borrow_mut();
    let mut messages = Vec::new();
    for view in record::split(&answer.body).flatten() {
        let properties = view.properties();
        let id = properties.get("UNIQ_KEY").unwrap_or_default();
        let receipt = properties.get("POP_CK").and_then(Receipt::parse);
        if let Some((earliest, latest)) = left.at.remove(id) {
            left.again += 1;
            left.early += u64::from(popped < earliest + invisible);
            left.late = left.late.max(popped.saturating_duration_since(latest + invisible));
        } else if receipt.is_none() && view.position % 100 < u64::from(shared.args.leave) {
            left.kept += 1;
            left.at.insert(id.to_owned(), (begun, popped));
            continue;
        }
        let kind = receipt.map_or(Kind::Normal, |receipt| receipt.kind);
        let start = starts.get(&(kind, view.queue_id)).copied();
        messages.push(Popped {
            start: start.unwrap_or(view.queue_offset as i64),
            kind,
            queue_id: view.queue_id,
            offset: view.queue_offset,
            pop_ms: header.pop_time,
            invisible_ms: header.invisible_time,
            revive_queue: header.revive_qid,
        });
    }
    messages
}

async fn ack(broker: &Broker, shared: &Shared, message: &Popped) -> Result<()> {
    let args = &shared.args;
    let receipt = Receipt {
        start_offset: message.start,
        pop_ms: message.pop_ms,
        invisible_ms: message.invisible_ms,
        revive_queue: message.revive_queue,
        kind: message.kind,
        broker: &broker.name,
        queue_id: message.queue_id as i32,
        offset: Some(message.offset as i64),
    };
    let header = AckMessage {
        consumer_group: &args.group,
        topic: &message.kind.topic(&args.server.topic, &args.group),
        queue_id: message.queue_id as i32,
        extra_info: &receipt.to_string(),
        offset: message.offset as i64,
        ..Default::default()
    };
    broker.ask(Command::request(RequestCode::ACK_MESSAGE).with_header(&header), "ack").await?;
    Ok(())
}

async fn ack_all(broker: &Broker, shared: &Shared, messages: &[Popped]) -> Result<()> {
    let args = &shared.args;
    let mut queues: BTreeMap<(Kind, u32), Vec<&Popped>> = BTreeMap::new();
    for message in messages {
        queues.entry((message.kind, message.queue_id)).or_default().push(message);
    }
    let acks = queues.into_iter().filter_map(|((kind, queue_id), messages)| {
        let first = messages.first()?;
        let start = first.start;
        Some(BatchAck {
            bits: messages.iter().map(|message| (message.offset as i64 - start) as u32).collect(),
            consumer_group: args.group.clone(),
            topic: args.server.topic.clone(),
            retry: kind.as_str().to_owned(),
            queue_id: queue_id as i32,
            start_offset: start,
            pop_ms: first.pop_ms,
            invisible_ms: first.invisible_ms,
            revive_queue: first.revive_queue,
        })
    });
    let acks: Vec<BatchAck> = acks.collect();
    if acks.is_empty() {
        return Ok(());
    }
    let body = BatchAckMessageRequestBody { acks, broker_name: broker.name.clone() };
    broker.ask(Command::request(RequestCode::BATCH_ACK_MESSAGE).with_body(to_json(&body)), "ack").await?;
    Ok(())
}
