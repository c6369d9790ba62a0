//! Offsets of consumer groups, and entries of queues.

use super::client::is_refusal;
use super::consumer::stats;
use super::flags::Args;
use super::message::Queue;
use super::out::{Cell, Table, pretty};
use super::session::{Session, addressed, master};
use super::time;
use anyhow::{Context, Result, bail};
use kerolox_wire::body::{
    ConsumeStats, MessageQueue, OffsetWrapper, QueryConsumeQueueResponseBody, QueueOffsets, TopicStatsTable,
    read_reset_offsets,
};
use kerolox_wire::header::{
    GetConsumeStats, OffsetResponse, QueryConsumeQueue, ResetOffset, SearchOffset, Topic,
    UpdateConsumerOffset,
};
use kerolox_wire::{Command, RequestCode, ResponseCode};
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

/// What became of the offsets of a group.
enum Reset {
    Done(QueueOffsets),
    /// By [`fallback`].
    Put(Vec<Put>),
}

/// An offset that this tool reset itself.
struct Put {
    queue: MessageQueue,
    before: OffsetWrapper,
    /// That of the time, to which the queue is reset unless that would be forward and must not be.
    wanted: i64,
    now: i64,
}

static PUT: Table = Table {
    name: "offsets",
    head: "%-20s  %-20s  %-20s  %-20s  %-20s  %-20s",
    row: "%-20.32s  %-20d  %-20d  %-20d  %-20d  %-20d",
    columns: &[
        ("#brokerName", "brokerName"),
        ("#queueId", "queueId"),
        ("#brokerOffset", "brokerOffset"),
        ("#consumerOffset", "consumerOffset"),
        ("#timestampOffset", "timestampOffset"),
        ("#resetOffset", "offset"),
    ],
};

impl Reset {
    fn show(&self, session: &mut Session) {
        match self {
            Self::Done(offsets) => table(session, offsets),
            Self::Put(all) => {
                session.out.head(&PUT);
                for Put { queue, before, wanted, now } in all {
                    let offsets = [before.broker_offset, before.consumer_offset, *wanted, *now];
                    let [broker, consumer, wanted, now] = offsets.map(Cell::from);
                    let row =
                        [(&queue.broker_name).into(), queue.queue_id.into(), broker, consumer, wanted, now];
                    session.out.row(&PUT, row);
                }
            }
        }
    }
}

/// Resets the offsets of a group on every broker that the topic is on. Brokers before Apache 4.9.5 can only do it with the
/// group's members; where there are none, the offsets are put.
fn reset(args: &Args, session: &mut Session, timestamp: i64) -> Result<Reset> {
    let (group, topic) = (args.need("group")?, args.need("topic")?);
    let force = args.boolean("force").unwrap_or(true);
    let mut all = QueueOffsets::new();
    let brokers = session.brokers_of(args.get("cluster").unwrap_or(topic))?;
    for (_, address) in &brokers {
        let header = ResetOffset {
            topic,
            group,
            queue_id: Some(-1),
            timestamp,
            is_force: force,
            ..ResetOffset::default()
        };
        let request = Command::request(RequestCode::INVOKE_BROKER_TO_RESET_OFFSET).with_header(&header);
        match session.client.done(address, request) {
            Ok(answer) if answer.body.is_empty() => {}
            Ok(answer) => all.extend(read_reset_offsets(&answer.body)?),
            Err(why) if is_refusal(&why, ResponseCode::CONSUMER_NOT_ONLINE) => {
                return Ok(Reset::Put(fallback(session, &brokers, group, topic, timestamp, force)?));
            }
            Err(why) => return Err(why),
        }
    }
    Ok(Reset::Done(all))
}

/// Puts the offsets of a group, queue by queue.
fn fallback(
    session: &mut Session,
    brokers: &[(String, String)],
    group: &str,
    topic: &str,
    timestamp: i64,
    force: bool,
) -> Result<Vec<Put>> {
    let mut all = Vec::new();
    for (_, address) in brokers {
        for (queue, before) in offsets_of(session, address, group, topic)? {
            let place = Queue { topic, broker: &queue.broker_name, address, id: queue.queue_id };
            let wanted =
                if timestamp == END { place.end(session)? } else { place.at_time(session, timestamp)? };
            let now = if force || wanted <= before.consumer_offset { wanted } else { before.consumer_offset };
            if now == wanted {
                put(session, address, group, topic, queue.queue_id, now)?;
            }
            all.push(Put { queue, before, wanted, now });
        }
    }
    Ok(all)
}

/// How far a group is with the queues of a topic on a broker: at their start where it never consumed.
fn offsets_of(
    session: &mut Session,
    address: &str,
    group: &str,
    topic: &str,
) -> Result<Vec<(MessageQueue, OffsetWrapper)>> {
    let header = GetConsumeStats { consumer_group: group, topic: Some(topic), ..GetConsumeStats::default() };
    let request = Command::request(RequestCode::GET_CONSUME_STATS).with_header(&header);
    let mut known = session.body::<ConsumeStats>(address, request)?.offset_table;
    known.retain(|(queue, _)| queue.topic == topic);
    if known.is_empty() {
        let header = Topic { topic, ..Topic::default() };
        let request = Command::request(RequestCode::GET_TOPIC_STATS_INFO).with_header(&header);
        let all = session.body::<TopicStatsTable>(address, request)?.offset_table;
        known = all
            .into_iter()
            .map(|(queue, ends)| {
                let (broker_offset, consumer_offset) = (ends.max_offset, ends.min_offset);
                (queue, OffsetWrapper { broker_offset, consumer_offset, ..OffsetWrapper::default() })
            })
            .collect();
    }
    known.sort_by_key(|(queue, _)| queue.queue_id);
    Ok(known)
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
    let start = match offsets {
        Reset::Done(_) => format!("start reset consumer offset by specified, group[{group}]"),
        Reset::Put(_) => format!("reset consumer offset by specified consumerGroup[{group}]"),
    };
    session.out.line(format!(
        "{start}, topic[{topic}], force[{force}], timestamp(string)[{text}], timestamp(long)[{timestamp}]"
    ));
    offsets.show(session);
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
    reset(args, session, END)?.show(session);
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
