//! Consumers that pull: they share a topic's queues with the others of their group, or read all of them each (broadcasting).

use super::sessions::consumer_ids;
use super::{Context, Role, Sessions, is_ok, number, request};
use crate::check::{CommitId, Queue, Reading, Want};
use crate::message;
use kerolox_wire::body::{
    ConsumeFromWhere, ConsumeType, ConsumerData, HeartbeatData, MessageModel, SubscriptionData,
};
use kerolox_wire::properties::tag_code;
use kerolox_wire::{Command, RequestCode, ResponseCode, sys_flag};
use std::collections::{BTreeMap, BTreeSet};

/// A group of consumers that pull.
#[derive(Debug, Clone, Copy)]
pub struct Group {
    pub name: &'static str,
    pub topic: &'static str,
    pub want: Want,
    /// Each of them reads everything, and keeps to itself how far it is.
    pub broadcasting: bool,
    /// It cannot consume some messages ([`message::failures`]), and sends them back: then this is its retry topic.
    pub retry_topic: Option<&'static str>,
}

/// How often the members of a group are asked for, if nobody says that they changed: real clients do it every 20 s.
const REBALANCE_EVERY_MS: i64 = 1_000;

/// Why a consumer asked something.
#[derive(Debug)]
pub enum Asked {
    Members,
    Offset {
        key: Key,
        asked_ms: i64,
    },
    Pull {
        key: Key,
        offset: u64,
    },
    Commit(CommitId),
    /// A message goes back, by its position in the broker's log.
    Back {
        key: Key,
        position: u64,
        times: i32,
    },
}

/// A broker's queue of one of the group's topics.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key {
    topic: &'static str,
    broker: usize,
    queue_id: u32,
}

/// How a queue that the consumer has stands.
#[derive(Debug, Default)]
struct Progress {
    /// Where it goes on; `None` until the broker told.
    next: Option<u64>,
    busy: bool,
    /// Messages that are to go back before anything is committed: positions, and how often each was consumed before.
    failed: BTreeMap<u64, i32>,
}

pub struct Consumer {
    group: Group,
    topics: Vec<&'static str>,
    /// Of one that shares: what its group is known by; of one that broadcasts: its own.
    reading: Reading,
    queues: BTreeMap<Key, Progress>,
    /// Of one that broadcasts: what it keeps on its own disk.
    kept: BTreeMap<Key, u64>,
    rebalance_ms: i64,
}

impl Consumer {
    pub fn new(group: Group, client: &str) -> Self {
        let reader =
            if group.broadcasting { format!("{}/{client}", group.name) } else { group.name.to_owned() };
        Self {
            group,
            topics: std::iter::once(group.topic).chain(group.retry_topic).collect(),
            reading: Reading { reader, topic: group.topic, want: group.want },
            queues: BTreeMap::new(),
            kept: BTreeMap::new(),
            rebalance_ms: 0,
        }
    }

    /// What is expected of it.
    pub fn reading(&self) -> Reading {
        self.reading.clone()
    }

    fn fields(&self, key: Key) -> Vec<(&'static str, String)> {
        vec![
            ("consumerGroup", self.group.name.to_owned()),
            ("topic", key.topic.to_owned()),
            ("queueId", key.queue_id.to_string()),
        ]
    }

    /// Takes the part of each topic that falls to this one among the members: Apache's `AllocateMessageQueueAveragely`.
    fn take_parts(&mut self, sessions: &Sessions<Asked>, members: &[String]) {
        let Some(index) = members.iter().position(|member| *member == sessions.name) else { return };
        let mut mine = BTreeSet::new();
        for topic in &self.topics {
            let all = all(sessions, topic);
            let (each, rest) = (all.len() / members.len(), all.len() % members.len());
            let begin = index * each + index.min(rest);
            let count = each + usize::from(index < rest);
            mine.extend(all.get(begin..begin + count).unwrap_or_default().iter().copied());
        }
        self.queues.retain(|key, _| mine.contains(key));
        for key in mine {
            self.queues.entry(key).or_default();
        }
    }

    fn rebalance(&mut self, sessions: &mut Sessions<Asked>, context: &mut Context<'_>) {
        if self.group.broadcasting {
            for key in all(sessions, self.group.topic) {
                let next = Some(self.kept.get(&key).copied().unwrap_or(0));
                self.queues.entry(key).or_insert(Progress { next, ..Progress::default() });
            }
            return;
        }
        let open = sessions.open_brokers(self.group.topic);
        let due = context.now_ms - self.rebalance_ms >= REBALANCE_EVERY_MS;
        if !due || open.is_empty() || sessions.awaits(|_, asked| matches!(asked, Asked::Members)) {
            return;
        }
        self.rebalance_ms = context.now_ms;
        let fields = [("consumerGroup", self.group.name.to_owned())];
        if let Some(broker) = open.get(context.random.below(open.len() as u64) as usize) {
            let command = request(RequestCode::GET_CONSUMER_LIST_BY_GROUP, &fields);
            sessions.ask(context, *broker, command, Asked::Members);
        }
    }

    /// A message went back, or did not: then it is tried again.
    fn went_back(
        &mut self,
        sessions: &mut Sessions<Asked>,
        context: &mut Context<'_>,
        key: Key,
        (position, times): (u64, i32),
        answer: Option<&Command>,
    ) {
        let Some(progress) = self.queues.get_mut(&key) else { return };
        if !answer.is_some_and(is_ok) {
            // From where the group stands, with all that was not committed.
            progress.failed.clear();
            progress.next = None;
        } else if progress.failed.remove(&position) == Some(times) && progress.failed.is_empty() {
            self.settle(sessions, context, key);
        }
    }

    fn pull(&self, key: Key, offset: u64) -> Command {
        let (expression, kind) = self.group.want.expression();
        let mut command = request(RequestCode::PULL_MESSAGE, &self.fields(key));
        for (name, value) in [
            ("queueOffset", offset.to_string()),
            ("maxMsgNums", "8".to_owned()),
            ("sysFlag", (sys_flag::pull::SUSPEND | sys_flag::pull::SUBSCRIPTION).to_string()),
            ("commitOffset", "0".to_owned()),
            ("suspendTimeoutMillis", "1000".to_owned()),
            ("subVersion", "0".to_owned()),
            ("subscription", expression.to_owned()),
            ("expressionType", kind.to_owned()),
        ] {
            command.fields.push(name, &value);
        }
        command
    }

    fn pulled(
        &mut self,
        sessions: &mut Sessions<Asked>,
        context: &mut Context<'_>,
        key: Key,
        asked: u64,
        answer: &Command,
    ) {
        let failed =
            if is_ok(answer) { self.take_messages(context, key, asked, answer) } else { BTreeMap::new() };
        let next = answer.fields.get("nextBeginOffset").and_then(|text| text.parse().ok());
        let Some(next) = next.filter(|_| answer.code != ResponseCode::TOPIC_NOT_EXIST.0) else { return };
        let Some(progress) = self.queues.get_mut(&key).filter(|progress| progress.next == Some(asked)) else {
            return;
        };
        progress.next = Some(next);
        progress.failed = failed;
        if next != asked {
            self.settle(sessions, context, key);
        }
    }

    /// Sends back what is to go back; when nothing is any more, commits.
    fn settle(&mut self, sessions: &mut Sessions<Asked>, context: &mut Context<'_>, key: Key) {
        let Some(Progress { next: Some(next), failed, .. }) = self.queues.get(&key) else { return };
        let next = *next;
        if self.group.broadcasting {
            self.kept.insert(key, next);
            return;
        }
        for (position, times) in failed {
            let (position, times) = (*position, *times);
            let fields = [
                ("group", self.group.name.to_owned()),
                ("offset", position.to_string()),
                ("delayLevel", "1".to_owned()),
                ("originTopic", key.topic.to_owned()),
                ("maxReconsumeTimes", "1".to_owned()),
            ];
            let command = request(RequestCode::CONSUMER_SEND_MSG_BACK, &fields);
            sessions.ask(context, key.broker, command, Asked::Back { key, position, times });
        }
        if failed.is_empty() {
            let id = context.ledger.offsets.commit(context.now_ms, self.group.name, key.queue(), next);
            let mut fields = self.fields(key);
            fields.push(("commitOffset", next.to_string()));
            let command = request(RequestCode::UPDATE_CONSUMER_OFFSET, &fields);
            sessions.ask(context, key.broker, command, Asked::Commit(id));
        }
    }

    /// Every message of an answer: in order, none before the one asked for. Those that cannot be consumed.
    fn take_messages(
        &self,
        context: &mut Context<'_>,
        key: Key,
        asked: u64,
        answer: &Command,
    ) -> BTreeMap<u64, i32> {
        let queue = key.queue();
        let mut failed = BTreeMap::new();
        let mut least = asked;
        for view in kerolox_wire::record::split(&answer.body) {
            let view = match view {
                Ok(view) => view,
                Err(e) => {
                    context.ledger.violated(format!("a pull of {queue:?} gave no whole records: {e}"));
                    break;
                }
            };
            if view.queue_offset < least {
                let what = format!("a pull of {queue:?} gave {} after {least}", view.queue_offset);
                context.ledger.violated(what);
            }
            least = view.queue_offset + 1;
            let times = view.reconsume_times;
            let sent = match times > 0 {
                true => context.ledger.checked(context.now_ms, &queue, &view),
                false => context.ledger.seen(context.now_ms, &queue, &view),
            };
            let Some((id, _)) = sent else { continue };
            context.ledger.groups.given(&self.reading, &queue, view.queue_offset);
            if self.group.retry_topic.is_some() && times < message::failures(id) {
                failed.insert(view.position, times);
            }
        }
        failed
    }
}

impl Key {
    fn queue(self) -> Queue {
        Queue { broker: self.broker, topic: self.topic.to_owned(), queue_id: self.queue_id }
    }
}

/// All queues of a topic's route, in the order in which they are shared.
fn all(sessions: &Sessions<Asked>, topic: &'static str) -> Vec<Key> {
    let route = sessions.routes.get(topic).into_iter().flatten();
    let queues = |(broker, _, count): &(usize, u32, u32)| {
        let broker = *broker;
        (0..*count).map(move |queue_id| Key { topic, broker, queue_id })
    };
    route.flat_map(queues).collect()
}

impl Role for Consumer {
    type Asked = Asked;

    fn topics(&self) -> &[&'static str] {
        &self.topics
    }

    fn heartbeat(&self, client: &str) -> HeartbeatData {
        let (expression, kind) = self.group.want.expression();
        let tags: Vec<&str> = match self.group.want {
            Want::Tags(tags) => tags.split(" || ").collect(),
            Want::All | Want::Sql { .. } => Vec::new(),
        };
        let subscription = |topic: &&str| SubscriptionData {
            topic: (*topic).to_owned(),
            sub_string: expression.to_owned(),
            expression_type: kind.to_owned(),
            code_set: tags.iter().map(|tag| tag_code(tag) as i32).collect(),
            tags_set: tags.iter().map(|tag| (*tag).to_owned()).collect(),
            sub_version: 1,
            ..SubscriptionData::default()
        };
        let model =
            if self.group.broadcasting { MessageModel::Broadcasting } else { MessageModel::Clustering };
        let consumer = ConsumerData {
            group_name: self.group.name.to_owned(),
            consume_type: Some(ConsumeType::Passively),
            message_model: Some(model),
            consume_from_where: Some(ConsumeFromWhere::FirstOffset),
            subscription_data_set: self.topics.iter().map(subscription).collect(),
            unit_mode: false,
        };
        HeartbeatData {
            client_id: client.to_owned(),
            consumer_data_set: vec![consumer],
            ..HeartbeatData::default()
        }
    }

    fn act(&mut self, sessions: &mut Sessions<Asked>, context: &mut Context<'_>) {
        self.rebalance(sessions, context);
        let idle = |(key, progress): (&Key, &Progress)| {
            let idle = !progress.busy && progress.failed.is_empty() && sessions.is_open(key.broker);
            idle.then_some((*key, progress.next))
        };
        let idle: Vec<(Key, Option<u64>)> = self.queues.iter().filter_map(idle).collect();
        for (key, next) in idle {
            if let Some(progress) = self.queues.get_mut(&key) {
                progress.busy = true;
            }
            match next {
                Some(offset) => {
                    sessions.ask(context, key.broker, self.pull(key, offset), Asked::Pull { key, offset });
                }
                None => {
                    let command = request(RequestCode::QUERY_CONSUMER_OFFSET, &self.fields(key));
                    let asked_ms = context.now_ms;
                    sessions.ask(context, key.broker, command, Asked::Offset { key, asked_ms });
                }
            }
        }
    }

    fn answered(
        &mut self,
        sessions: &mut Sessions<Asked>,
        context: &mut Context<'_>,
        _broker: usize,
        asked: Asked,
        answer: Option<&Command>,
    ) {
        if let Asked::Offset { key, .. } | Asked::Pull { key, .. } = &asked
            && let Some(progress) = self.queues.get_mut(key)
        {
            progress.busy = false;
        }
        if let Asked::Back { key, position, times } = asked {
            return self.went_back(sessions, context, key, (position, times), answer);
        }
        let Some(answer) = answer else { return };
        match asked {
            Asked::Members if is_ok(answer) => self.take_parts(sessions, &consumer_ids(answer)),
            Asked::Offset { key, asked_ms } => {
                let none = answer.code == ResponseCode::QUERY_NOT_FOUND.0;
                if !none && !is_ok(answer) {
                    return;
                }
                let offset = (!none).then(|| number(answer, "offset"));
                let told = context.ledger.offsets.told(asked_ms, self.group.name, &key.queue(), offset);
                told.into_iter().for_each(|what| context.ledger.violated(what));
                if let Some(progress) = self.queues.get_mut(&key) {
                    progress.next = Some(offset.unwrap_or(0));
                }
                if offset.is_none_or(|offset| offset == 0) {
                    // It may be that the group has none yet. From now on nothing goes that it has still to read.
                    self.settle(sessions, context, key);
                }
            }
            Asked::Pull { key, offset } => self.pulled(sessions, context, key, offset, answer),
            Asked::Commit(id) if is_ok(answer) => context.ledger.offsets.acked(context.now_ms, &id),
            Asked::Members | Asked::Commit(_) | Asked::Back { .. } => {}
        }
    }

    fn asked(
        &mut self,
        _sessions: &mut Sessions<Asked>,
        _context: &mut Context<'_>,
        _broker: usize,
        question: &Command,
    ) {
        if question.code == RequestCode::NOTIFY_CONSUMER_IDS_CHANGED.0 {
            self.rebalance_ms = 0;
        }
    }

    fn restart(&mut self) {
        self.queues.clear();
        self.rebalance_ms = 0;
    }
}
