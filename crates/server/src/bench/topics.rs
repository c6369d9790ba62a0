//! `bench topics`: many topics from their creation to the last message read.

use super::Topics;
use super::measure::{Measured, memory_mib};
use super::produce;
use super::server::{Broker, Namesrv};
use anyhow::{Context, Result, ensure};
use kerolox_wire::body::{self, TopicConfigAndMappingSerializeWrapper};
use kerolox_wire::header::{
    GetAllTopicConfig, GetAllTopicConfigResponse, PullMessage, PullMessageResponse, UpdateConsumerOffset,
};
use kerolox_wire::record::RecordHead;
use kerolox_wire::{Command, RequestCode, ResponseCode, sys_flag};
use serde_json::{Value, json};
use std::cell::Cell;
use std::collections::BTreeSet;
use std::rc::Rc;
use std::time::{Duration, Instant};

/// How long a name server may take to know all topics once the broker does.
const KNOWN_WAIT: Duration = Duration::from_secs(60);
const KNOWN_EVERY: Duration = Duration::from_millis(20);
/// Topics of a page, as Apache's clients ask for.
const PAGE: i32 = 2_000;
const PULL_BATCH: i32 = 32;
const GROUP: &str = "kerolox-bench-consumer";

/// What the steps of a run measured, in order.
pub(super) struct Steps {
    pids: Vec<u32>,
    figures: Vec<(&'static str, Value)>,
}

impl Steps {
    pub(super) fn new(pids: &[u32]) -> Self {
        Self { pids: pids.to_vec(), figures: Vec::new() }
    }

    pub(super) fn add(&mut self, step: &'static str, mut figures: Value) {
        if let Some(figures) = figures.as_object_mut().filter(|_| !self.pids.is_empty()) {
            figures.insert("memory_mib".to_owned(), json!(memory_mib(&self.pids).round()));
        }
        self.figures.push((step, figures));
    }

    pub(super) fn print(self, json: bool) -> Result<()> {
        use std::io::Write;
        let mut out = std::io::stdout().lock();
        if json {
            let all = self.figures.into_iter().map(|(step, figures)| (step.to_owned(), figures)).collect();
            writeln!(out, "{}", Value::Object(all))?;
            return Ok(());
        }
        for (step, figures) in &self.figures {
            let text = |(name, value): (&String, &Value)| match value.as_f64() {
                Some(number) => format!("{name} {number:.2}"),
                None => format!("{name} {value}"),
            };
            let line: Vec<String> = figures.as_object().into_iter().flatten().map(text).collect();
            writeln!(out, "{step:<8} {}", line.join("  "))?;
        }
        Ok(())
    }
}

pub(super) async fn run(args: Topics) -> Result<()> {
    let Topics { mut produce, messages } = args;
    let mut steps = Steps::new(&produce.server.pid);
    let broker = Rc::new(Broker::find(&produce.server).await?);
    let names = produce::topics(&produce.server.topic, produce.topics);
    let queues = u64::from(produce.topics) * u64::from(produce.server.queues);
    steps.add("begin", json!({ "topics": names.len(), "queues": queues }));

    let begun = Instant::now();
    broker.create_topics(&names, produce.server.queues).await?;
    steps.add("create", json!({ "seconds": seconds(begun), "per_s": names.len() as f64 / seconds(begun) }));
    if produce.server.broker.is_none() {
        let begun = Instant::now();
        all_known(&produce.server.namesrv, &names).await?;
        steps.add("route", json!({ "seconds": seconds(begun) }));
    }
    let begun = Instant::now();
    ensure!(list(&broker, &names).await? == names.len(), "the broker does not list all topics");
    steps.add("list", json!({ "seconds": seconds(begun) }));

    produce.server.count = Some(queues * u64::from(messages));
    produce.server.warm_up = 0.0;
    let sent = produce::load(broker.address, &produce, None).await?;
    steps.add("produce", figures(&sent));

    let begun = Instant::now();
    let received = consume(&produce, &names).await?;
    steps.add(
        "consume",
        json!({
            "messages": received, "seconds": seconds(begun),
            "messages_per_s": received as f64 / seconds(begun),
        }),
    );
    steps.print(produce.server.json)?;
    ensure!(received >= sent.total, "{} of {} messages were read", received, sent.total);
    Ok(())
}

fn seconds(begun: Instant) -> f64 {
    begun.elapsed().as_secs_f64()
}

pub(super) fn figures(sent: &Measured) -> Value {
    json!({
        "messages": sent.messages, "seconds": sent.seconds(), "messages_per_s": sent.rate(),
        "p50_ms": sent.quantile_ms(0.5), "p99_ms": sent.quantile_ms(0.99), "max_ms": sent.max_ms(),
        "errors": sent.errors, "broker_cpu_s_per_million": sent.cpu_per_million(),
    })
}

/// Until the name server lists all of them.
async fn all_known(namesrv: &str, names: &[String]) -> Result<()> {
    let namesrv = Namesrv::connect(namesrv).await?;
    let begun = Instant::now();
    loop {
        let known: BTreeSet<String> = namesrv.topics().await?.into_iter().collect();
        if names.iter().all(|name| known.contains(name)) {
            return Ok(());
        }
        ensure!(begun.elapsed() < KNOWN_WAIT, "the name server knows {} topics only", known.len());
        tokio::time::sleep(KNOWN_EVERY).await;
    }
}

/// All topics of the broker, page by page; how many of ours are among them.
async fn list(broker: &Broker, names: &[String]) -> Result<usize> {
    let mut seen = BTreeSet::new();
    let mut version = String::new();
    loop {
        let header = GetAllTopicConfig {
            topic_seq: Some(seen.len() as i32),
            max_topic_num: Some(PAGE),
            data_version: Some(&version),
            ..GetAllTopicConfig::default()
        };
        let request = Command::request(RequestCode::GET_ALL_TOPIC_CONFIG).with_header(&header);
        let answer = broker.ask(request, "list topics").await?;
        let total = answer.header::<GetAllTopicConfigResponse>()?.total_topic_num as usize;
        let page: TopicConfigAndMappingSerializeWrapper = body::from_json(&answer.body)?;
        ensure!(!page.topic_config_table.is_empty(), "{} of {total} topics were listed", seen.len());
        seen.extend(page.topic_config_table.into_keys());
        version = String::from_utf8(body::to_json(&page.data_version))?;
        if seen.len() >= total {
            return Ok(names.iter().filter(|name| seen.contains(*name)).count());
        }
    }
}

/// Reads every queue from its first message to its last and commits that; how many messages there were.
async fn consume(args: &super::Produce, names: &[String]) -> Result<u64> {
    let names: Rc<[String]> = names.into();
    let places = names.len() * args.server.queues as usize;
    let (next, received) = (Rc::new(Cell::new(0)), Rc::new(Cell::new(0)));
    let mut lanes = Vec::new();
    for _ in 0..args.server.connections {
        let broker = Rc::new(Broker::find(&args.server).await?);
        for _ in 0..args.in_flight {
            let (names, next, received) = (Rc::clone(&names), Rc::clone(&next), Rc::clone(&received));
            let broker = Rc::clone(&broker);
            lanes.push(tokio::task::spawn_local(async move {
                loop {
                    let place = next.replace(next.get() + 1);
                    let Some(topic) = names.get(place % names.len()).filter(|_| place < places) else {
                        return Ok::<_, anyhow::Error>(());
                    };
                    let queue_id = (place / names.len()) as i32;
                    let count = read_queue(&broker, topic, queue_id).await?;
                    received.set(received.get() + count);
                }
            }));
        }
    }
    for lane in lanes {
        lane.await??;
    }
    Ok(received.get())
}

async fn read_queue(broker: &Broker, topic: &str, queue_id: i32) -> Result<u64> {
    let mut offset = 0;
    let mut count = 0;
    loop {
        let header = PullMessage {
            consumer_group: GROUP,
            topic,
            queue_id,
            queue_offset: offset,
            max_msg_nums: PULL_BATCH,
            sys_flag: sys_flag::pull::SUBSCRIPTION,
            subscription: Some("*"),
            expression_type: Some("TAG"),
            ..PullMessage::default()
        };
        let request = Command::request(RequestCode::PULL_MESSAGE).with_header(&header);
        let answer = broker.try_ask(request, "pull").await?;
        let end = answer.header::<PullMessageResponse<'_>>().context("pull")?;
        match ResponseCode(answer.code) {
            ResponseCode::SUCCESS => {}
            ResponseCode::PULL_NOT_FOUND | ResponseCode::PULL_RETRY_IMMEDIATELY
                if offset >= end.max_offset =>
            {
                return Ok(count);
            }
            ResponseCode::PULL_OFFSET_MOVED | ResponseCode::PULL_RETRY_IMMEDIATELY => {}
            code => anyhow::bail!("pull of {topic}, queue {queue_id}: {code:?}"),
        }
        let mut records = &answer.body[..];
        while let Some(head) = RecordHead::peek(records) {
            count += 1;
            records = records.get(head.total as usize..).unwrap_or_default();
        }
        offset = end.next_begin_offset;
        if offset >= end.max_offset {
            return commit(broker, topic, queue_id, offset).await.map(|()| count);
        }
    }
}

async fn commit(broker: &Broker, topic: &str, queue_id: i32, commit_offset: i64) -> Result<()> {
    let header = UpdateConsumerOffset {
        consumer_group: GROUP,
        topic,
        queue_id,
        commit_offset,
        ..UpdateConsumerOffset::default()
    };
    let request = Command::request(RequestCode::UPDATE_CONSUMER_OFFSET).with_header(&header);
    broker.ask(request, "commit").await.map(drop)
}
