//! Consumers that pull: they share a topic's queues with the others of their group, or read all of them each (broadcasting).

use super::sessions::consumer_ids;
use super::{Context, Role, Sessions, is_ok, number, request};
use crate::check::{CommitId, Queue, Reading, Want};
use kerolox_wire::body::{
    ConsumeFromWhere, ConsumeType, ConsumerData, HeartbeatData, MessageModel, SubscriptionData,
};
use kerolox_wire::properties::tag_code;
use kerolox_wire::{Command, RequestCode, ResponseCode, sys_flag};
use std::collections::BTreeMap;

/// A group of consumers that pull.
#[derive(Debug, Clone, Copy)]
pub struct Group {
    pub name: &'static str,
    pub topic: &'static str,
    pub want: Want,
    /// Each of them reads everything, and keeps to itself how far it is.
    pub broadcasting: bool,
}

/// How often the members of a group are asked for, if nobody says that they changed: real clients do it every 20 s.
const REBALANCE_EVERY_MS: i64 = 1_000;

/// Why a consumer asked something.
#[derive(Debug)]
pub enum Asked {
    Members,
    Offset { key: Key, asked_ms: i64 },
    Pull { key: Key, offset: u64 },
    Commit(CommitId),
}

/// A broker's queue of the group's topic.
type Key = (usize, u32);

/// How a queue that the consumer has stands.
#[derive(Debug, Default)]
struct Progress {
    /// Where it goes on; `None` until the broker told.
    next: Option<u64>,
    /// What is under way of it was asked for by this holding of the queue, and no earlier one.
    busy: bool,
}

pub struct Consumer {
    group: Group,
    topics: [&'static str; 1],
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
            topics: [group.topic],
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

    fn queue(&self, (broker, queue_id): Key) -> Queue {
        Queue { broker, topic: self.group.topic.to_owned(), queue_id }
    }

    fn fields(&self, (_, queue_id): Key) -> Vec<(&'static str, String)> {
        vec![
            ("consumerGroup", self.group.name.to_owned()),
            ("topic", self.group.topic.to_owned()),
            ("queueId", queue_id.to_string()),
        ]
    }

    /// All queues of the route, in the order in which they are shared.
    fn all(&self, sessions: &Sessions<Asked>) -> Vec<Key> {
        let route = sessions.routes.get(self.group.topic).into_iter().flatten();
        route.flat_map(|(broker, _, queues)| (0..*queues).map(|queue_id| (*broker, queue_id))).collect()
    }

    /// Takes the part that falls to this one among the members: Apache's `AllocateMessageQueueAveragely`.
    fn take_part(&mut self, all: &[Key], members: &[String], me: &str) {
        let Some(index) = members.iter().position(|member| member == me) else { return };
        let (each, rest) = (all.len() / members.len(), all.len() % members.len());
        let begin = index * each + index.min(rest);
        let count = each + usize::from(index < rest);
        let mine = all.get(begin..begin + count).unwrap_or_default();
        self.queues.retain(|key, _| mine.contains(key));
        for key in mine {
            self.queues.entry(*key).or_default();
        }
    }

    fn rebalance(&mut self, sessions: &mut Sessions<Asked>, context: &mut Context<'_>) {
        if self.group.broadcasting {
            for key in self.all(sessions) {
                let next = Some(self.kept.get(&key).copied().unwrap_or(0));
                self.queues.entry(key).or_insert(Progress { next, busy: false });
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
        let found = is_ok(answer);
        if found {
            self.take_messages(context, key, asked, answer);
        }
        let next = answer.fields.get("nextBeginOffset").and_then(|text| text.parse().ok());
        let Some(next) = next.filter(|_| answer.code != ResponseCode::TOPIC_NOT_EXIST.0) else { return };
        let Some(progress) = self.queues.get_mut(&key) else { return };
        if progress.next == Some(asked) {
            progress.next = Some(next);
        }
        if self.group.broadcasting {
            self.kept.insert(key, next);
        } else if next != asked {
            let queue = self.queue(key);
            let id = context.ledger.offsets.commit(context.now_ms, self.group.name, queue, next);
            let mut fields = self.fields(key);
            fields.push(("commitOffset", next.to_string()));
            let command = request(RequestCode::UPDATE_CONSUMER_OFFSET, &fields);
            sessions.ask(context, key.0, command, Asked::Commit(id));
        }
    }

    /// Every message of an answer: in order, none before the one asked for, and all of those that are wanted.
    fn take_messages(&self, context: &mut Context<'_>, key: Key, asked: u64, answer: &Command) {
        let queue = self.queue(key);
        let mut least = asked;
        for view in kerolox_wire::record::split(&answer.body) {
            let view = match view {
                Ok(view) => view,
                Err(e) => {
                    return context
                        .ledger
                        .violated(format!("a pull of {queue:?} gave no whole records: {e}"));
                }
            };
            if view.queue_offset < least {
                let what = format!("a pull of {queue:?} gave {} after {least}", view.queue_offset);
                context.ledger.violated(what);
            }
            least = view.queue_offset + 1;
            if context.ledger.seen(context.now_ms, &queue, &view).is_some() {
                context.ledger.groups.given(&self.reading, &queue, view.queue_offset);
            }
        }
    }
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
        let subscription = SubscriptionData {
            topic: self.group.topic.to_owned(),
            sub_string: expression.to_owned(),
            expression_type: kind.to_owned(),
            code_set: tags.iter().map(|tag| tag_code(tag) as i32).collect(),
            tags_set: tags.into_iter().map(str::to_owned).collect(),
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
            subscription_data_set: vec![subscription],
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
            (!progress.busy && sessions.is_open(key.0)).then_some((*key, progress.next))
        };
        let idle: Vec<(Key, Option<u64>)> = self.queues.iter().filter_map(idle).collect();
        for (key, next) in idle {
            if let Some(progress) = self.queues.get_mut(&key) {
                progress.busy = true;
            }
            match next {
                Some(offset) => {
                    sessions.ask(context, key.0, self.pull(key, offset), Asked::Pull { key, offset });
                }
                None => {
                    let command = request(RequestCode::QUERY_CONSUMER_OFFSET, &self.fields(key));
                    let asked_ms = context.now_ms;
                    sessions.ask(context, key.0, command, Asked::Offset { key, asked_ms });
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
        let Some(answer) = answer else { return };
        match asked {
            Asked::Members if is_ok(answer) => {
                let all = self.all(sessions);
                self.take_part(&all, &consumer_ids(answer), &sessions.name);
            }
            Asked::Offset { key, asked_ms } => {
                let none = answer.code == ResponseCode::QUERY_NOT_FOUND.0;
                if !none && !is_ok(answer) {
                    return;
                }
                let offset = (!none).then(|| number(answer, "offset"));
                let told = context.ledger.offsets.told(asked_ms, self.group.name, &self.queue(key), offset);
                told.into_iter().for_each(|what| context.ledger.violated(what));
                if let Some(progress) = self.queues.get_mut(&key) {
                    progress.next = Some(offset.unwrap_or(0));
                }
            }
            Asked::Pull { key, offset } => self.pulled(sessions, context, key, offset, answer),
            Asked::Commit(id) if is_ok(answer) => context.ledger.offsets.acked(context.now_ms, &id),
            Asked::Members | Asked::Commit(_) => {}
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
