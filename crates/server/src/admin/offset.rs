//! Offsets of consumer groups, and entries of queues.

use super::consumer::stats;
use super::flags::Args;
use super::out::{Table, pretty};
use super::session::{Session, addressed, master};
use super::time;
use anyhow::{Context, Result, bail};
use kerolox_wire::body::{QueryConsumeQueueResponseBody, QueueOffsets, read_reset_offsets};
use kerolox_wire::header::{
    OffsetResponse, QueryConsumeQueue, ResetOffset, SearchOffset, UpdateConsumerOffset,
};
use kerolox_wire::{Command, RequestCode};
use serde_json::json;

/// A time that stands for the end of each queue.
const END: i64 = -1;
const RULE: &str = "======================================";

static OFFSETS: Table = Table {
    name: "offsets",
    head: "%-40s  %-40s  %-40s",
    row: "%-40.32s  %-40d  %-40d",
    columns: &[("#brokerName", "brokerName"), ("#queueId", "queueId"), ("#offset", "offset")],
};

fn table(session: &mut Session, offsets: &QueueOffsets) {
    session.out.head(&OFFSETS);
    for (queue, offset) in offsets {
        session.out.row(&OFFSETS, [(&queue.broker_name).into(), queue.queue_id.into(), (*offset).into()]);
    }
}

/// Resets the offsets of a group on every broker that the topic is on.
fn reset(args: &Args, session: &mut Session, timestamp: i64) -> Result<QueueOffsets> {
    let (group, topic) = (args.need("group")?, args.need("topic")?);
    let mut all = QueueOffsets::new();
    for (_, address) in session.brokers_of(args.get("cluster").unwrap_or(topic))? {
        let header = ResetOffset {
            topic,
            group,
            queue_id: Some(-1),
            timestamp,
            is_force: args.boolean("force").unwrap_or(true),
            ..ResetOffset::default()
        };
        let request = Command::request(RequestCode::INVOKE_BROKER_TO_RESET_OFFSET).with_header(&header);
        let answer = session.client.done(&address, request)?;
        if !answer.body.is_empty() {
            all.extend(read_reset_offsets(&answer.body)?);
        }
    }
    Ok(all)
}

pub(super) fn reset_by_time(args: &Args, session: &mut Session) -> Result<()> {
    let (group, topic, text) = (args.need("group")?, args.need("topic")?, args.need("timestamp")?);
    let timestamp = time::parse(text)?;
    let queue: Option<i32> = args.number("queue")?.filter(|queue| *queue >= 0);
    if let (Some(broker), Some(queue)) = (args.get("broker"), queue) {
        session.out.line(format!(
            "start reset consumer offset by specified, group[{group}], topic[{topic}], queueId[{queue}], \
             broker[{broker}], timestamp(string)[{text}], timestamp(long)[{timestamp}]"
        ));
        return reset_queue(args, session, broker, queue, timestamp);
    }
    let offsets = reset(args, session, timestamp)?;
    let force = args.boolean("force").unwrap_or(true);
    session.out.line(format!(
        "start reset consumer offset by specified, group[{group}], topic[{topic}], force[{force}], \
         timestamp(string)[{text}], timestamp(long)[{timestamp}]"
    ));
    table(session, &offsets);
    Ok(())
}

/// Resets one queue, to the offset that is given or to the one at a time.
fn reset_queue(
    args: &Args,
    session: &mut Session,
    broker: &str,
    queue_id: i32,
    timestamp: i64,
) -> Result<()> {
    let (group, topic) = (args.need("group")?, args.need("topic")?);
    let offset = match args.number("offset")? {
        Some(offset) => offset,
        None => {
            let header = SearchOffset { topic, queue_id, timestamp, ..SearchOffset::default() };
            let request = Command::request(RequestCode::SEARCH_OFFSET_BY_TIMESTAMP).with_header(&header);
            session.client.done(broker, request)?.header::<OffsetResponse<'_>>()?.offset
        }
    };
    session.out.line(format!("reset consumer offset to {offset}"));
    put(session, broker, group, topic, queue_id, offset)?;
    let header = ResetOffset {
        topic,
        group,
        queue_id: Some(queue_id),
        offset: Some(offset),
        is_force: true,
        ..ResetOffset::default()
    };
    let request = Command::request(RequestCode::INVOKE_BROKER_TO_RESET_OFFSET).with_header(&header);
    session.client.done(broker, request)?;
    session.out.set("offset", offset);
    Ok(())
}

fn put(
    session: &mut Session,
    broker: &str,
    group: &str,
    topic: &str,
    queue_id: i32,
    offset: i64,
) -> Result<()> {
    let header = UpdateConsumerOffset {
        consumer_group: group,
        topic,
        queue_id,
        commit_offset: offset,
        ..UpdateConsumerOffset::default()
    };
    let request = Command::request(RequestCode::UPDATE_CONSUMER_OFFSET).with_header(&header);
    session.client.done(broker, request).map(drop)
}

pub(super) fn skip(args: &Args, session: &mut Session) -> Result<()> {
    let offsets = reset(args, session, END)?;
    table(session, &offsets);
    Ok(())
}

pub(super) fn copy(args: &Args, session: &mut Session) -> Result<()> {
    let (from, to, topic) = (args.need("srcGroup")?, args.need("destGroup")?, args.need("topic")?);
    let known = stats(session, from, Some(topic), None)?;
    let brokers = addressed(&session.route(topic)?.broker_datas);
    let mut copied = 0;
    for (queue, offsets) in known.offset_table {
        if queue.topic != topic || offsets.consumer_offset < 0 {
            continue;
        }
        let broker = brokers.iter().find(|(name, _)| *name == queue.broker_name);
        let (_, address) = broker.with_context(|| format!("there is no broker {}", queue.broker_name))?;
        put(session, address, to, topic, queue.queue_id, offsets.consumer_offset)?;
        session.out.push(
            "offsets",
            json!({"brokerName": queue.broker_name, "queueId": queue.queue_id, "offset": offsets.consumer_offset}),
        );
        copied += 1;
    }
    if copied == 0 {
        bail!("the group {from} has no offsets of the topic {topic}");
    }
    session
        .out
        .line(format!("clone group offset success. srcGroup[{from}], destGroup=[{to}], topic[{topic}]"));
    Ok(())
}

pub(super) fn queue_entries(args: &Args, session: &mut Session) -> Result<()> {
    let topic = args.need("topic")?;
    let index: i64 = args.number("index")?.unwrap_or_default();
    let broker = match args.get("broker") {
        Some(address) => address.to_owned(),
        None => {
            let route = session.route(topic)?;
            let first = route.broker_datas.iter().find_map(master);
            first.with_context(|| format!("no master has the topic {topic}"))?.to_owned()
        }
    };
    let header = QueryConsumeQueue {
        topic,
        queue_id: args.number("queue")?.unwrap_or_default(),
        index,
        count: args.number("count")?.unwrap_or(10),
        consumer_group: args.get("consumer"),
        ..QueryConsumeQueue::default()
    };
    let request = Command::request(RequestCode::QUERY_CONSUME_QUEUE).with_header(&header);
    let found: QueryConsumeQueueResponseBody = session.body(&broker, request)?;
    if let Some(data) = &found.subscription_data {
        session.out.line(format!("Subscription data: \n{}\n{RULE}", pretty(&json!(data))));
    }
    if let Some(data) = &found.filter_data {
        session.out.line(format!("Filter data: \n{data}\n{RULE}"));
    }
    let (max, min) = (found.max_queue_index, found.min_queue_index);
    session.out.line(format!("Queue data: \nmax: {max}, min: {min}\n{RULE}"));
    for (i, entry) in (index..).zip(&found.queue_data) {
        session.out.line(format!(
            "idx: {i}\nConsumeQueueData{{physicOffset={}, physicSize={}, tagsCode={}, extendDataJson='null', \
             bitMap='null', eval={}, msg='null'}}\n{RULE}",
            entry.physic_offset, entry.physic_size, entry.tags_code, entry.eval
        ));
    }
    session.out.set("queue", json!(found));
    Ok(())
}
