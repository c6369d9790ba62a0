//! Topics: created, listed, deleted (codes 17, 18, 21, 215, 305, 351, 5002).

use super::{body, distinct, page};
use crate::Broker;
use crate::attributes;
use crate::effect::Effect;
use crate::input::ConnId;
use crate::produce::Refused;
use crate::state;
use kerolox_store::AppendError;
use kerolox_wire::body::{
    CreateTopicListRequestBody, TopicConfig, TopicConfigAndMappingSerializeWrapper, TopicList,
};
use kerolox_wire::header::{CreateTopic, DeleteTopic, GetAllTopicConfig, GetAllTopicConfigResponse, Topic};
use kerolox_wire::{Command, ResponseCode, names, receipt};
use std::collections::BTreeMap;

/// A topic's attributes, names and values. They go to the name server with the topic.
const ATTRIBUTES_BYTES_MAX: usize = 4_096;

impl Broker {
    pub(crate) fn create_topic(
        &mut self,
        now_ms: i64,
        conn: ConnId,
        request: &Command,
        out: &mut Vec<Effect>,
    ) {
        let done = self.try_create_topic(now_ms, request);
        self.reply_created(conn, request, done, out);
    }

    /// Whoever created a topic asks name servers for it next.
    fn reply_created(
        &mut self,
        conn: ConnId,
        request: &Command,
        done: Result<(), Refused>,
        out: &mut Vec<Effect>,
    ) {
        match done {
            Ok(()) if !request.is_oneway() => {
                self.acks.wait_for_registration(conn, request.respond(ResponseCode::SUCCESS));
            }
            done => self.reply_change(conn, request, done, out),
        }
    }

    fn try_create_topic(&mut self, now_ms: i64, request: &Command) -> Result<(), Refused> {
        let header: CreateTopic<'_> = request.header()?;
        self.refuse_if_draining()?;
        let known = self.state.topics.get(header.topic);
        let config = TopicConfig {
            topic_name: header.topic.to_owned(),
            read_queue_nums: header.read_queue_nums,
            write_queue_nums: header.write_queue_nums,
            perm: header.perm,
            topic_filter_type: header.topic_filter_type.to_owned(),
            topic_sys_flag: header.topic_sys_flag.unwrap_or(0),
            order: header.order,
            attributes: altered(
                known,
                attributes::parse(header.attributes.unwrap_or_default()).map_err(illegal)?,
            )?,
        };
        self.check_topic(&config)?;
        self.set_topic(now_ms, config)
    }

    /// Code 18: one that is not valid refuses all. (A limit that is reached refuses those from there on.)
    pub(crate) fn create_topics(
        &mut self,
        now_ms: i64,
        conn: ConnId,
        request: &Command,
        out: &mut Vec<Effect>,
    ) {
        let done = self.try_create_topics(now_ms, request);
        self.reply_created(conn, request, done, out);
    }

    fn try_create_topics(&mut self, now_ms: i64, request: &Command) -> Result<(), Refused> {
        self.refuse_if_draining()?;
        let wanted: CreateTopicListRequestBody = body(request)?;
        let mut configs = Vec::with_capacity(wanted.topic_config_list.len());
        for config in wanted.topic_config_list {
            let known = self.state.topics.get(&config.topic_name);
            let changes = config.attributes.iter().map(|(name, value)| (&**name, &**value));
            let attributes = altered(known, changes)?;
            let config = TopicConfig { attributes, ..config };
            self.check_topic(&config)?;
            configs.push(config);
        }
        configs.into_iter().try_for_each(|config| self.set_topic(now_ms, config))
    }

    /// What holds for every topic that somebody creates or changes.
    fn check_topic(&self, config: &TopicConfig) -> Result<(), Refused> {
        let name = &*config.topic_name;
        names::check_topic(name).map_err(|e| invalid(e.to_string()))?;
        self.refuse_system_topic(name)?;
        let queues_max = self.config.limits.queues_max;
        for (what, queues) in
            [("readQueueNums", config.read_queue_nums), ("writeQueueNums", config.write_queue_nums)]
        {
            if !(0..=queues_max as i32).contains(&queues) {
                return Err(invalid(format!("{what} {queues} is not between 0 and {queues_max}")));
            }
        }
        if !(0..16).contains(&config.perm) {
            return Err(invalid(format!(
                "perm {} is not a sum of 1 (inherit), 2 (write), 4 (read), 8 (priority)",
                config.perm
            )));
        }
        let is_mixed = |config: &TopicConfig| {
            config.attributes.get(attributes::MESSAGE_TYPE).is_some_and(|kind| kind == "MIXED")
        };
        let was_mixed = self.state.topics.get(name).is_some_and(is_mixed);
        if is_mixed(config) && !was_mixed && !self.config.mixed_types {
            return Err(invalid("MIXED message type is not supported.".to_owned()));
        }
        let filter_type = &*config.topic_filter_type;
        if !["SINGLE_TAG", "MULTI_TAG"].contains(&filter_type) {
            let remark = format!("topicFilterType = [{filter_type}] value invalid");
            return Err(Refused(ResponseCode::SYSTEM_ERROR, remark));
        }
        Ok(())
    }

    fn refuse_system_topic(&self, name: &str) -> Result<(), Refused> {
        match self.state.topics.is_system(name) {
            true => Err(invalid(format!("The topic[{name}] is conflict with system topic."))),
            false => Ok(()),
        }
    }

    fn set_topic(&mut self, now_ms: i64, config: TopicConfig) -> Result<(), Refused> {
        let max = self.config.limits.topics_max;
        let known = self.state.topics.get(&config.topic_name);
        if known.is_none() && self.state.topics.len() >= max {
            let remark = format!("the broker has {max} topics, its limit");
            return Err(Refused(ResponseCode::SYSTEM_ERROR, remark));
        }
        if known != Some(&config) {
            self.put_topic(now_ms, config).map_err(|e| self.refused(&e))?;
        }
        Ok(())
    }

    /// Sets a topic, in memory and in the log, before anything that relies on it is appended.
    pub(crate) fn put_topic(&mut self, now_ms: i64, config: TopicConfig) -> Result<(), AppendError> {
        let mut entry = Vec::new();
        state::put_topic(&mut entry, &config);
        self.write_changes(now_ms)?;
        self.store.append_state(now_ms, &entry)?;
        self.compaction.topic_put(&config);
        if config.attributes.contains_key(attributes::RESERVE_TIME) {
            self.retention_changed();
        }
        self.state.topics.put(now_ms, config);
        self.register_due = true;
        Ok(())
    }

    /// Code 215.
    pub(crate) fn delete_topic(
        &mut self,
        now_ms: i64,
        conn: ConnId,
        request: &Command,
        out: &mut Vec<Effect>,
    ) {
        let header: Result<DeleteTopic<'_>, _> = request.header();
        let done =
            header.map_err(Refused::from).and_then(|header| self.try_delete_topics(now_ms, &[header.topic]));
        self.reply_change(conn, request, done, out);
    }

    /// Code 5002: the body is a list of names.
    pub(crate) fn delete_topics(
        &mut self,
        now_ms: i64,
        conn: ConnId,
        request: &Command,
        out: &mut Vec<Effect>,
    ) {
        let done = body(request)
            .and_then(|list: TopicList| self.try_delete_topics(now_ms, &distinct(&list.topic_list)?));
        self.reply_change(conn, request, done, out);
    }

    /// Deletes topics with all their messages and offsets. One that is not there is none too many, as there.
    pub(super) fn try_delete_topics(&mut self, now_ms: i64, topics: &[&str]) -> Result<(), Refused> {
        self.refuse_if_draining()?;
        for topic in topics {
            if topic.trim().is_empty() {
                return Err(invalid("The specified topic is blank.".to_owned()));
            }
            self.refuse_system_topic(topic)?;
        }
        for topic in topics {
            self.try_delete_topic(now_ms, topic)?;
        }
        Ok(())
    }

    /// With the topics from which its popped messages come again: they would come again in another of its name.
    fn try_delete_topic(&mut self, now_ms: i64, topic: &str) -> Result<(), Refused> {
        let groups = self.state.offsets.groups_of(topic);
        let retry = groups.map(|group| (group, receipt::retry_topic(topic, group)));
        // One of that name may be that of another group.
        let retry =
            retry.filter(|(group, retry)| !self.is_others_retry(retry, group)).map(|(_, retry)| retry);
        let mut topics: Vec<String> = retry.collect();
        topics.push(topic.to_owned());
        for topic in &topics {
            let known = self.state.topics.get(topic).is_some()
                || self.state.offsets.groups_of(topic).next().is_some()
                || self.store.has_queues(topic);
            if !known {
                continue;
            }
            self.forget_topic(now_ms, topic).map_err(|e| self.refused(&e))?;
            self.forget_reads_of_topic(topic);
            self.compaction.topic_deleted(topic);
            self.delete_lite_topics_of(now_ms, topic).map_err(|e| self.refused(&e))?;
            self.register_due = true;
        }
        Ok(())
    }

    /// Its messages, settings and offsets go.
    pub(crate) fn forget_topic(&mut self, now_ms: i64, topic: &str) -> Result<(), AppendError> {
        self.write_changes(now_ms)?;
        let mut entries = Vec::new();
        state::put_topic_deleted(&mut entries, topic);
        self.store.delete_topic(now_ms, topic, entries)?;
        self.state.delete_topic(now_ms, topic);
        self.stats.forget_topic(topic);
        for id in self.holds.of_topic(topic) {
            if let Some(mut pull) = self.holds.take(id) {
                pull.hold_until_ms = now_ms;
                self.holds.park(pull);
            }
        }
        Ok(())
    }

    /// Code 21: all topics, or a page of them.
    pub(crate) fn all_topics(&mut self, conn: ConnId, request: &Command, out: &mut Vec<Effect>) {
        let asked: GetAllTopicConfig<'_> = crate::query::header_or_refuse!(self, conn, request, out);
        let topics = &self.state.topics;
        let (skip, take) = page(topics.version(), asked.topic_seq, asked.max_topic_num, asked.data_version);
        let table = TopicConfigAndMappingSerializeWrapper {
            topic_config_table: topics
                .sorted()
                .skip(skip)
                .take(take)
                .map(|(name, topic)| (name.to_string(), topic.config.clone()))
                .collect(),
            data_version: topics.version(),
            ..Default::default()
        };
        let total_topic_num = i32::try_from(topics.len()).unwrap_or(i32::MAX);
        let header = GetAllTopicConfigResponse { total_topic_num, ..Default::default() };
        let answer = request.respond(ResponseCode::SUCCESS).with_header(&header);
        self.reply(conn, request, answer.with_body(kerolox_wire::body::to_json(&table)), out);
    }

    /// Code 351.
    pub(crate) fn one_topic(&mut self, conn: ConnId, request: &Command, out: &mut Vec<Effect>) {
        let header: Topic<'_> = crate::query::header_or_refuse!(self, conn, request, out);
        match self.state.topics.get(header.topic).cloned() {
            Some(config) => self.reply_body(conn, request, &config, out),
            None => {
                let remark = format!("No topic in this broker. topic: {}", header.topic);
                self.reply(conn, request, request.refuse(ResponseCode::TOPIC_NOT_EXIST, remark), out);
            }
        }
    }

    /// Code 305.
    pub(crate) fn system_topics(&mut self, conn: ConnId, request: &Command, out: &mut Vec<Effect>) {
        let topics = self.state.topics.sorted();
        let topic_list = topics.filter(|(_, topic)| topic.system).map(|(name, _)| name.to_string()).collect();
        self.reply_body(conn, request, &TopicList { broker_addr: None, topic_list }, out);
    }
}

fn invalid(remark: String) -> Refused {
    Refused(ResponseCode::INVALID_PARAMETER, remark)
}

/// A topic's attributes after changes were applied to what it has.
fn altered<'a>(
    known: Option<&TopicConfig>,
    changes: impl IntoIterator<Item = (&'a str, &'a str)>,
) -> Result<BTreeMap<String, String>, Refused> {
    let altered = attributes::alter(attributes::OF_TOPICS, known.map(|config| &config.attributes), changes)
        .map_err(illegal)?;
    let bytes: usize = altered.iter().map(|(name, value)| name.len() + value.len()).sum();
    if bytes > ATTRIBUTES_BYTES_MAX {
        let remark = format!("attributes of {bytes} bytes exceed the limit of {ATTRIBUTES_BYTES_MAX}");
        return Err(invalid(remark));
    }
    Ok(altered)
}

/// What ends in an exception there.
fn illegal(remark: String) -> Refused {
    Refused(ResponseCode::SYSTEM_ERROR, remark)
}
