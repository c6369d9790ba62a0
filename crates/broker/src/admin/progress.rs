//! How far topics and groups are (codes 202, 208, 303, 308, 317, 321, 345). Most of it is known; when messages were stored is
//! read, for all queues at once.

use crate::Broker;
use crate::effect::Effect;
use crate::input::ConnId;
use crate::pending::Pending;
use crate::produce::Refused;
use crate::query::{header_or_refuse, queue};
use kerolox_store::{Bounds, Place, QueueEntry, TimesOutcome};
use kerolox_wire::body::{
    ConsumeQueueData, ConsumeStats, ConsumeStatsList, GetLiteGroupInfoResponseBody, MessageQueue,
    OffsetWrapper, QueryConsumeQueueResponseBody, QueryConsumeTimeSpanBody, QueryCorrectionOffsetBody,
    QuerySubscriptionResponseBody, QueueTimeSpan, SubscriptionData, TopicOffset, TopicStatsTable,
    to_fastjson, to_json,
};
use kerolox_wire::header::{
    GetBrokerConsumeStats, GetConsumeStats, QueryConsumeQueue, QueryCorrectionOffset, Topic, TopicGroup,
};
use kerolox_wire::{Command, ResponseCode};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Queues that one answer lists at most: with the longest names about 30 MiB, usually 10; clients take 16.
const QUEUES_MAX: usize = 60_000;
/// Entries of a queue in one answer.
const ENTRIES_MAX: i32 = 4_096;
/// A place where there is no message.
const NOWHERE: u64 = u64::MAX;

/// An answer that lacks the store times of messages.
pub(crate) enum Untimed {
    /// Code 202: the last one of each queue.
    Topic(TopicStatsTable),
    /// Code 208: the last one of each queue that was consumed.
    Group(ConsumeStats),
    /// Code 317: likewise.
    Broker(ConsumeStatsList),
    /// Code 303: of each queue the first and the last one, the last one that was consumed and the next one.
    Spans(QueryConsumeTimeSpanBody),
    /// Code 200078: the next one and the last one that was consumed.
    Lite(GetLiteGroupInfoResponseBody),
    /// Code 28: the first record of the log.
    Runtime(BTreeMap<String, String>),
}

impl Untimed {
    /// The whole body.
    pub(crate) fn timed(self, now_ms: i64, times: Vec<Option<i64>>) -> Vec<u8> {
        let mut times = times.into_iter();
        let mut next = || times.next().flatten();
        match self {
            Self::Topic(mut table) => {
                for (_, offsets) in &mut table.offset_table {
                    let time = next().unwrap_or(-1);
                    offsets.last_update_timestamp = if offsets.max_offset > 0 { time } else { 0 };
                }
                table.encode()
            }
            Self::Group(mut stats) => {
                fill(&mut stats, next);
                stats.encode()
            }
            Self::Broker(mut list) => {
                for stats in list.consume_stats_list.iter_mut().flat_map(|(_, topics)| topics) {
                    fill(stats, &mut next);
                }
                list.encode()
            }
            Self::Spans(mut spans) => {
                for span in &mut spans.consume_time_span_set {
                    span.min_time_stamp = next().unwrap_or(-1);
                    span.max_time_stamp = next().unwrap_or(-1);
                    let consumed = next();
                    span.consume_time_stamp = consumed.unwrap_or(span.min_time_stamp);
                    span.delay_time = next().map_or(0, |stored| (now_ms - stored).max(0));
                }
                to_json(&spans)
            }
            Self::Lite(mut body) => {
                body.earliest_unconsumed_timestamp = next().unwrap_or(-1);
                let consumed = next();
                if let Some(offsets) =
                    body.lite_topic_offset_wrapper.as_mut().filter(|o| o.consumer_offset > 0)
                {
                    offsets.last_timestamp = consumed.unwrap_or(-1);
                }
                to_json(&body)
            }
            Self::Runtime(table) => super::stats::runtime_body(table, next()),
        }
    }
}

fn fill(stats: &mut ConsumeStats, mut next: impl FnMut() -> Option<i64>) {
    for (_, offsets) in &mut stats.offset_table {
        offsets.last_timestamp = next().unwrap_or(0);
    }
}

impl Broker {
    /// Code 202.
    pub(crate) fn topic_stats(
        &mut self,
        now_ms: i64,
        conn: ConnId,
        request: &Command,
        out: &mut Vec<Effect>,
    ) {
        let header: Topic<'_> = header_or_refuse!(self, conn, request, out);
        let Some((topic, config)) = self.state.topics.get_shared(header.topic) else {
            return self.reply(conn, request, no_topic(request, header.topic), out);
        };
        let mut table =
            TopicStatsTable { topic_put_tps: self.stats.put_tps(topic), ..TopicStatsTable::default() };
        let mut places = Vec::new();
        for queue_id in 0..queue(config.write_queue_nums.max(config.read_queue_nums)) {
            let bounds = self.bounds(topic, queue_id);
            let offsets = TopicOffset {
                last_update_timestamp: 0,
                max_offset: bounds.max as i64,
                min_offset: bounds.min as i64,
            };
            table.offset_table.push((self.queue_name(topic, queue_id), offsets));
            places.push(place(topic, queue_id, bounds.max.checked_sub(1)));
        }
        self.answer_timed(now_ms, conn, request, Untimed::Topic(table), places, out);
    }

    /// Code 208.
    pub(crate) fn consume_stats(
        &mut self,
        now_ms: i64,
        conn: ConnId,
        request: &Command,
        out: &mut Vec<Effect>,
    ) {
        let header: GetConsumeStats<'_> = header_or_refuse!(self, conn, request, out);
        let group = header.consumer_group;
        let listed = header.topic_list.unwrap_or_default().split(';').map(str::trim);
        let listed: BTreeSet<&str> = listed.filter(|topic| !topic.is_empty()).collect();
        let topics: Vec<Arc<str>> = match header.topic.filter(|topic| !topic.trim().is_empty()) {
            _ if !listed.is_empty() => listed.into_iter().map(Arc::from).collect(),
            Some(topic) if self.subscribes(group, topic) => vec![Arc::from(topic)],
            Some(_) => Vec::new(),
            None => self.consumed_topics(group),
        };
        let mut places = Vec::new();
        let mut all = ConsumeStats::default();
        for topic in topics {
            match self.stats_of(group, &topic, Queues::Read, &mut places) {
                Ok(Some(stats)) => {
                    all.consume_tps += stats.consume_tps;
                    all.offset_table.extend(stats.offset_table);
                }
                Ok(None) => {}
                Err(Refused(code, remark)) => {
                    return self.reply(conn, request, request.refuse(code, remark), out);
                }
            }
        }
        self.answer_timed(now_ms, conn, request, Untimed::Group(all), places, out);
    }

    /// Code 317.
    pub(crate) fn broker_consume_stats(
        &mut self,
        now_ms: i64,
        conn: ConnId,
        request: &Command,
        out: &mut Vec<Effect>,
    ) {
        let header: GetBrokerConsumeStats<'_> = header_or_refuse!(self, conn, request, out);
        match self.stats_of_groups(header.is_order == Some(true)) {
            Ok((list, places)) => {
                self.answer_timed(now_ms, conn, request, Untimed::Broker(list), places, out);
            }
            Err(Refused(code, remark)) => self.reply(conn, request, request.refuse(code, remark), out),
        }
    }

    fn stats_of_groups(&self, only_ordered: bool) -> Result<(ConsumeStatsList, Vec<Place>), Refused> {
        let mut list =
            ConsumeStatsList { broker_addr: self.config.address.clone(), ..ConsumeStatsList::default() };
        let mut places = Vec::new();
        for group in self.state.groups.all().map(|config| &*config.group_name) {
            let mut of_group = Vec::new();
            for topic in self.consumed_topics(group) {
                let ordered = self.state.topics.get(&topic).is_some_and(|config| config.order);
                if ordered || !only_ordered {
                    of_group.extend(self.stats_of(group, &topic, Queues::Write, &mut places)?);
                }
            }
            let offsets = of_group.iter().flat_map(|stats: &ConsumeStats| &stats.offset_table);
            for (_, offsets) in offsets {
                // Offsets are what clients say they are.
                let diff = offsets.broker_offset.saturating_sub(offsets.consumer_offset);
                let inflight = offsets.pull_offset.saturating_sub(offsets.consumer_offset);
                list.total_diff = list.total_diff.saturating_add(diff);
                list.total_inflight_diff = list.total_inflight_diff.saturating_add(inflight);
            }
            list.consume_stats_list.push((group.to_owned(), of_group));
        }
        Ok((list, places))
    }

    /// How far a group is with a topic; `None`: there is no such topic. The places are those of the messages whose times are
    /// still to be filled in.
    fn stats_of(
        &self,
        group: &str,
        topic: &Arc<str>,
        queues: Queues,
        places: &mut Vec<Place>,
    ) -> Result<Option<ConsumeStats>, Refused> {
        let Some(config) = self.state.topics.get(topic) else { return Ok(None) };
        let count = queue(match queues {
            Queues::Read => config.read_queue_nums,
            Queues::Write => config.write_queue_nums,
        });
        if places.len() + count as usize > QUEUES_MAX {
            let remark =
                format!("the answer would list more than {QUEUES_MAX} queues: ask for less at a time");
            return Err(Refused(ResponseCode::SYSTEM_ERROR, remark));
        }
        let mut stats =
            ConsumeStats { consume_tps: self.stats.got_tps(topic, group), ..ConsumeStats::default() };
        for queue_id in 0..count {
            let bounds = self.bounds(topic, queue_id);
            let consumed = self.state.offsets.get(group, topic, queue_id).unwrap_or(0);
            let pulled = self.stats.pull_offset(topic, group, queue_id).max(consumed);
            let offsets = OffsetWrapper {
                broker_offset: bounds.max as i64,
                consumer_offset: consumed as i64,
                last_timestamp: 0,
                pull_offset: pulled as i64,
            };
            stats.offset_table.push((self.queue_name(topic, queue_id), offsets));
            places.push(place(topic, queue_id, consumed.checked_sub(1)));
        }
        Ok(Some(stats))
    }

    /// Topics that a group has offsets of and (if it is online) still subscribes to.
    fn consumed_topics(&self, group: &str) -> Vec<Arc<str>> {
        let topics = self.state.offsets.topics_of(group);
        topics.filter(|topic| self.subscribes(group, topic)).map(Arc::clone).collect()
    }

    /// Whether a group subscribes to a topic, or is not online to say so.
    fn subscribes(&self, group: &str, topic: &str) -> bool {
        self.clients
            .consumer_group(group)
            .is_none_or(|group| group.subscriptions.is_empty() || group.subscriptions.contains_key(topic))
    }

    /// Code 303.
    pub(crate) fn time_spans(&mut self, now_ms: i64, conn: ConnId, request: &Command, out: &mut Vec<Effect>) {
        let header: TopicGroup<'_> = header_or_refuse!(self, conn, request, out);
        let Some((topic, config)) = self.state.topics.get_shared(header.topic) else {
            return self.reply(conn, request, no_topic(request, header.topic), out);
        };
        let (mut spans, mut places) = (QueryConsumeTimeSpanBody::default(), Vec::new());
        for queue_id in 0..queue(config.write_queue_nums) {
            let Bounds { min, max } = self.bounds(topic, queue_id);
            let consumed = self.state.offsets.get(header.group, topic, queue_id).unwrap_or(0);
            let next = consumed.max(min);
            for offset in [Some(min), max.checked_sub(1), consumed.checked_sub(1), Some(next)] {
                places.push(place(topic, queue_id, offset));
            }
            spans.consume_time_span_set.push(QueueTimeSpan {
                message_queue: self.queue_name(topic, queue_id),
                ..QueueTimeSpan::default()
            });
        }
        self.answer_timed(now_ms, conn, request, Untimed::Spans(spans), places, out);
    }

    fn queue_name(&self, topic: &str, queue_id: u32) -> MessageQueue {
        MessageQueue {
            broker_name: self.config.name.clone(),
            queue_id: queue_id as i32,
            topic: topic.to_owned(),
        }
    }

    pub(crate) fn answer_timed(
        &mut self,
        now_ms: i64,
        conn: ConnId,
        request: &Command,
        untimed: Untimed,
        places: Vec<Place>,
        out: &mut Vec<Effect>,
    ) {
        match self.store.read_times(places) {
            TimesOutcome::Done(times) => self.times_read(now_ms, conn, request, untimed, times, out),
            TimesOutcome::Cold(plan) => {
                let pending = Pending::Times { conn, request: request.clone(), untimed };
                self.start_read(plan, pending, out);
            }
        }
    }

    pub(crate) fn times_read(
        &mut self,
        now_ms: i64,
        conn: ConnId,
        request: &Command,
        untimed: Untimed,
        times: Vec<Option<i64>>,
        out: &mut Vec<Effect>,
    ) {
        let answer = request.respond(ResponseCode::SUCCESS).with_body(untimed.timed(now_ms, times));
        self.reply(conn, request, answer, out);
    }

    /// Code 308: the least offset of all groups but some, by queue; the greatest number there is where the group that it is
    /// compared with is behind it. Source: `ConsumerOffsetManager.queryMinOffsetInAllGroup`.
    pub(crate) fn correction_offset(&mut self, conn: ConnId, request: &Command, out: &mut Vec<Effect>) {
        let header: QueryCorrectionOffset<'_> = header_or_refuse!(self, conn, request, out);
        let left_out: BTreeSet<&str> = header.filter_groups.unwrap_or_default().split(',').collect();
        let offsets = &self.state.offsets;
        let mut least: BTreeMap<u32, i64> = BTreeMap::new();
        for group in offsets.groups_of(header.topic).filter(|group| !left_out.contains(&***group)) {
            for (queue_id, offset) in offsets.queues_of(group, header.topic) {
                if offset >= self.bounds(header.topic, queue_id).min {
                    let least = least.entry(queue_id).or_insert(i64::MAX);
                    *least = (*least).min(offset as i64);
                }
            }
        }
        for (queue_id, offset) in offsets.queues_of(header.compare_group, header.topic) {
            if let Some(least) = least.get_mut(&queue_id).filter(|least| **least > offset as i64) {
                *least = i64::MAX;
            }
        }
        let body = to_fastjson(&QueryCorrectionOffsetBody { correction_offsets: least });
        let answer = request.respond(ResponseCode::SUCCESS).with_body(body);
        self.reply(conn, request, answer, out);
    }

    /// Code 321.
    pub(crate) fn queue_entries(&mut self, conn: ConnId, request: &Command, out: &mut Vec<Effect>) {
        let header: QueryConsumeQueue<'_> = header_or_refuse!(self, conn, request, out);
        let (topic, queue_id) = (header.topic, queue(header.queue_id));
        let Some(bounds) = self.store.bounds(topic, queue_id) else {
            let remark = format!("{}@{topic} is not exist!", header.queue_id);
            return self.reply(conn, request, request.refuse(ResponseCode::SYSTEM_ERROR, remark), out);
        };
        let index = u64::try_from(header.index).ok().filter(|index| (bounds.min..bounds.max).contains(index));
        let Some(index) = index else {
            let remark = format!("Index {} of {}@{topic} is not exist!", header.index, header.queue_id);
            return self.reply(
                conn,
                request,
                request.respond(ResponseCode::SUCCESS).with_remark(&remark),
                out,
            );
        };
        let plan = self.store.plan_entries(topic, queue_id, index, header.count.clamp(0, ENTRIES_MAX) as u32);
        self.start_read(plan, Pending::QueueEntries { conn, request: request.clone(), bounds }, out);
    }

    pub(crate) fn queue_entries_read(
        &mut self,
        conn: ConnId,
        request: &Command,
        bounds: Bounds,
        entries: &[QueueEntry],
        out: &mut Vec<Effect>,
    ) {
        let header: QueryConsumeQueue<'_> = header_or_refuse!(self, conn, request, out);
        let mut body = QueryConsumeQueueResponseBody {
            max_queue_index: bounds.max as i64,
            min_queue_index: bounds.min as i64,
            ..QueryConsumeQueueResponseBody::default()
        };
        if let Some(group) = header.consumer_group {
            body.subscription_data = self.subscription(group, header.topic);
            let offline = || format!("{group}@{} is not online!", header.topic);
            body.filter_data = Some(body.subscription_data.as_ref().map_or_else(offline, |_| "null".into()));
        }
        let data = |entry: &QueueEntry| ConsumeQueueData {
            eval: false,
            physic_offset: entry.position as i64,
            physic_size: entry.size as i32,
            tags_code: entry.tag_code,
        };
        let upto = header.index.saturating_add(header.count.into());
        body.queue_data = entries.iter().filter(|entry| (entry.offset as i64) < upto).map(data).collect();
        self.reply_body(conn, request, &body, out);
    }

    /// Code 345.
    pub(crate) fn subscription_of(&mut self, conn: ConnId, request: &Command, out: &mut Vec<Effect>) {
        let header: TopicGroup<'_> = header_or_refuse!(self, conn, request, out);
        let body = QuerySubscriptionResponseBody {
            group: header.group.to_owned(),
            subscription_data: self.subscription(header.group, header.topic),
            topic: header.topic.to_owned(),
        };
        self.reply_body(conn, request, &body, out);
    }

    fn subscription(&self, group: &str, topic: &str) -> Option<SubscriptionData> {
        let subscription = self.clients.consumer_group(group)?.subscriptions.get(topic)?;
        Some(subscription.data.clone())
    }
}

/// Which queues of a topic.
#[derive(Clone, Copy)]
enum Queues {
    Read,
    Write,
}

pub(crate) fn place(topic: &Arc<str>, queue_id: u32, offset: Option<u64>) -> Place {
    Place { topic: Arc::clone(topic), queue_id, offset: offset.unwrap_or(NOWHERE) }
}

fn no_topic(request: &Command, topic: &str) -> Command {
    request.refuse(ResponseCode::TOPIC_NOT_EXIST, format!("topic[{topic}] not exist"))
}
