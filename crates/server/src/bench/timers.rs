//! `bench timers`: many timer messages that wait, and how late those arrive that are due.

use super::frames::{STAMP, STAMP_BYTES};
use super::measure::{histogram, memory_mib};
use super::produce::{self, Due};
use super::server::Broker;
use super::{Produce, Timers};
use anyhow::{Context, Result, ensure};
use hdrhistogram::Histogram;
use kerolox_wire::header::{PullMessage, PullMessageResponse};
use kerolox_wire::properties::name;
use kerolox_wire::record::{RecordHead, RecordView};
use kerolox_wire::{Command, RequestCode, sys_flag};
use serde_json::json;
use std::cell::RefCell;
use std::collections::HashSet;
use std::rc::Rc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The messages that only wait are due this much later, and over that time.
const FAR_MS: u64 = 3_600_000;
/// How long a poll may be parked at the broker.
const SUSPEND_MS: i64 = 5_000;
/// Wait before a broker that is gone is looked for again.
const AGAIN: Duration = Duration::from_millis(10);
/// How long is listened for what should not come, when all has come.
const SILENCE: Duration = Duration::from_secs(2);

fn now() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

fn now_ms() -> u64 {
    now().as_millis() as u64
}

/// What arrived.
struct Arrived {
    seen: HashSet<String>,
    duplicates: u64,
    early: u64,
    /// Nanoseconds.
    lateness: Histogram<u64>,
}

pub(super) async fn run(args: Timers) -> Result<()> {
    let mut produce = args.produce;
    produce.server.warm_up = 0.0;
    produce.server.duration = 3600.0;
    let broker = Broker::find(&produce.server).await?;
    broker.create_topic(&produce.server.topic, produce.server.queues).await?;
    let arrived = Rc::new(RefCell::new(Arrived {
        seen: HashSet::new(),
        duplicates: 0,
        early: 0,
        lateness: histogram()?,
    }));
    let produce = Rc::new(produce);
    for queue_id in 0..produce.server.queues {
        let offset = broker.offset(&produce.server.topic, queue_id, true).await?;
        tokio::task::spawn_local(listen(Rc::clone(&produce), queue_id as i32, offset, Rc::clone(&arrived)));
    }
    let mut waiting = 0.0;
    if args.pending > 0 {
        let far = Due { from_ms: now_ms() + FAR_MS, within_ms: FAR_MS };
        waiting = send(&broker, &produce, args.pending, far).await?;
    }
    let near = Due { from_ms: now_ms() + args.lead * 1_000, within_ms: args.within };
    let rate = send(&broker, &produce, args.due, near).await?;
    ensure!(now_ms() < near.from_ms, "sending took longer than the lead: raise --lead");
    let memory = memory_mib(&produce.server.pid);
    // Whoever wants to break something in the middle reads this.
    eprintln!("due from {} to {}", near.from_ms, near.from_ms + near.within_ms);
    let until = near.from_ms + near.within_ms + args.patience * 1_000;
    while now_ms() < until && (arrived.borrow().seen.len() as u64) < args.due {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    tokio::time::sleep(SILENCE).await;
    let arrived = arrived.borrow();
    let lost = args.due - (arrived.seen.len() as u64).min(args.due);
    let ms = |q| arrived.lateness.value_at_quantile(q) as f64 / 1e6;
    let figures = json!({
        "what": "timers", "pending": args.pending, "pending_sent_per_s": waiting, "due": args.due,
        "within_ms": args.within, "due_sent_per_s": rate, "memory_mib": memory, "lost": lost,
        "early": arrived.early, "duplicates": arrived.duplicates,
        "lateness_ms": {
            "p50": ms(0.5), "p99": ms(0.99), "p99_9": ms(0.999), "max": arrived.lateness.max() as f64 / 1e6,
        },
    });
    print(&figures, produce.server.json);
    ensure!(lost == 0, "{lost} timer messages did not arrive");
    ensure!(arrived.early == 0, "{} timer messages were early", arrived.early);
    Ok(())
}

#[allow(clippy::print_stdout)] // the result
fn print(figures: &serde_json::Value, json: bool) {
    if json {
        println!("{figures}");
        return;
    }
    for (name, value) in figures.as_object().into_iter().flatten() {
        println!("{name:<20} {value}");
    }
}

/// Sends timer messages, all of which must be taken; how many a second.
async fn send(broker: &Broker, args: &Produce, count: u64, due: Due) -> Result<f64> {
    let server = super::Server { count: Some(count), ..args.server.clone() };
    let sent = produce::load(broker.address, &Produce { server, ..args.clone() }, Some(due)).await?;
    ensure!(sent.total == count, "{} of {count} messages were taken: {:?}", sent.total, sent.errors);
    Ok(sent.rate())
}

/// Polls a queue for ever, over broken connections and restarts of the broker.
async fn listen(args: Rc<Produce>, queue_id: i32, mut offset: i64, arrived: Rc<RefCell<Arrived>>) {
    loop {
        if let Ok(broker) = Broker::find(&args.server).await {
            while let Ok(next) = poll(&broker, &args.server.topic, queue_id, offset, &arrived).await {
                offset = next;
            }
        }
        tokio::time::sleep(AGAIN).await;
    }
}

async fn poll(
    broker: &Broker,
    topic: &str,
    queue_id: i32,
    offset: i64,
    arrived: &RefCell<Arrived>,
) -> Result<i64> {
    let header = PullMessage {
        consumer_group: "kerolox-bench-timers",
        topic,
        queue_id,
        queue_offset: offset,
        max_msg_nums: 256,
        sys_flag: sys_flag::pull::SUSPEND | sys_flag::pull::SUBSCRIPTION,
        suspend_timeout_millis: SUSPEND_MS,
        subscription: Some("*"),
        expression_type: Some("TAG"),
        ..PullMessage::default()
    };
    let request = Command::request(RequestCode::PULL_MESSAGE).with_header(&header);
    let answer = broker.try_ask(request, "poll").await?;
    let next = answer.header::<PullMessageResponse<'_>>()?.next_begin_offset;
    let at = now();
    let mut records = &answer.body[..];
    while let Some(head) = RecordHead::peek(records) {
        take(&RecordView::parse(records)?, at, &mut arrived.borrow_mut())?;
        records = records.get(head.total as usize..).unwrap_or_default();
    }
    Ok(next)
}

fn take(record: &RecordView<'_>, at: Duration, arrived: &mut Arrived) -> Result<()> {
    let id =
        record.properties().get(name::UNIQ_CLIENT_MESSAGE_ID_KEYIDX).context("a message without an id")?;
    let stamp =
        record.body.get(..STAMP_BYTES).and_then(|s| s.strip_prefix(STAMP)).and_then(|s| s.first_chunk());
    let due = Duration::from_nanos(u64::from_be_bytes(*stamp.context("a message of somebody else's")?));
    if !arrived.seen.insert(id.to_owned()) {
        arrived.duplicates += 1;
        return Ok(());
    }
    match at.checked_sub(due) {
        Some(late) => arrived.lateness.saturating_record(late.as_nanos() as u64),
        None => arrived.early += 1,
    }
    Ok(())
}
