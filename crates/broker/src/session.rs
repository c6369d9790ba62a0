//! Clients coming, going and sharing work: heartbeats, member lists, queue locks, offsets (codes 14, 15, 34, 35, 38, 41,
//! 42, 46) and the word of change that is sent to them (code 40).

use crate::Broker;
use crate::clients::Client;
use crate::config::perm;
use crate::effect::Effect;
use crate::groups::{self, Groups};
use crate::input::ConnId;
use crate::locks::LockedQueue;
use crate::produce::Refused;
use crate::query::{header_or_refuse, queue};
use crate::state;
use crate::subscription;
use crate::topics;
use kerolox_wire::body::{
    CheckClientRequestBody, ConsumerData, GetConsumerListByGroupResponseBody, HeartbeatData,
    LockBatchRequestBody, LockBatchResponseBody, from_json, to_json,
};
use kerolox_wire::header::{
    ConsumerGroup, HeaderError, OffsetResponse, QueryConsumerOffset, UnregisterClient, UpdateConsumerOffset,
};
use kerolox_wire::{Command, RequestCode, ResponseCode};
use std::collections::BTreeSet;

impl Broker {
    pub(crate) fn heartbeat(&mut self, now_ms: i64, conn: ConnId, request: &Command, out: &mut Vec<Effect>) {
        let data: HeartbeatData = match from_json(&request.body) {
            Ok(data) => data,
            Err(e) => {
                let refusal =
                    request.refuse(ResponseCode::SYSTEM_ERROR, format!("heartbeat body is malformed: {e}"));
                return self.reply(conn, request, refusal, out);
            }
        };
        let producers = data.producer_data_set.iter().map(|producer| &*producer.group_name);
        let consumers = data.consumer_data_set.iter().map(|consumer| &*consumer.group_name);
        let room = self
            .clients
            .check_room(conn, &data.client_id, producers.chain(consumers))
            .and_then(|()| self.clients.check_subscriptions(&data.consumer_data_set));
        if let Err(why) = room {
            return self.reply(conn, request, request.refuse(ResponseCode::SYSTEM_ERROR, why), out);
        }
        let client = Client {
            id: data.client_id.clone(),
            language: request.language,
            version: request.version,
            heartbeat_ms: now_ms,
        };
        let (mut subscriptions_changed, mut refiltered) = (false, BTreeSet::new());
        for consumer in &data.consumer_data_set {
            if self.admit_consumer(now_ms, consumer) {
                let fingerprint = i64::from(data.heartbeat_fingerprint);
                if fingerprint != 0 && self.clients.fingerprint_changed(&consumer.group_name, fingerprint) {
                    subscriptions_changed = true;
                }
                let heard = self.clients.register_consumer(conn, consumer, client.clone(), !data.without_sub);
                subscriptions_changed |= heard.unknown;
                if heard.refilters {
                    refiltered.insert(&*consumer.group_name);
                }
                if heard.regroups {
                    self.changed_groups.insert(consumer.group_name.clone());
                }
            }
        }
        self.release_refiltered(&refiltered, out);
        for producer in &data.producer_data_set {
            self.clients.register_producer(conn, &producer.group_name, client.clone());
        }
        let mut answer = request.respond(ResponseCode::SUCCESS);
        answer.fields.push("IS_SUPPORT_HEART_BEAT_V2", "true");
        let changed = data.heartbeat_fingerprint == 0 || subscriptions_changed;
        answer.fields.push("IS_SUB_CHANGE", if changed { "true" } else { "false" });
        self.reply(conn, request, answer, out);
    }

    /// Makes sure that a consumer's group and its retry topic exist; false if they may not.
    fn admit_consumer(&mut self, now_ms: i64, consumer: &ConsumerData) -> bool {
        let group = &*consumer.group_name;
        if self.state.groups.get(group).is_none() && !self.auto_create_group(group) {
            return false;
        }
        let Some(config) = self.state.groups.get(group) else { return false };
        let queues = config.retry_queue_nums;
        if queues > 0 && self.state.topics.get(&kerolox_wire::names::retry_topic(group)).is_none() {
            let topic =
                topics::new(&kerolox_wire::names::retry_topic(group), queues, perm::READ | perm::WRITE);
            // A retry topic that cannot be made now is made by the first message sent back.
            let _ = self.put_topic(now_ms, topic);
        }
        true
    }

    /// A group that is first heard of is created with defaults, if the settings allow it.
    pub(crate) fn auto_create_group(&mut self, group: &str) -> bool {
        let allowed = self.config.auto_create_group || Groups::is_system(group);
        let room = self.state.groups.len() < self.config.limits.groups_max;
        if !allowed || !room || self.draining || kerolox_wire::names::check_group(group).is_err() {
            return false;
        }
        let config = groups::new(group);
        state::put_group(&mut self.changes, &config);
        self.state.groups.put(config);
        self.heed_group(group);
        true
    }

    /// Tells the consumers of groups whose members changed in this batch, so that they share the queues anew: once,
    /// however many came together.
    pub(crate) fn notify_changed_groups(&mut self, out: &mut Vec<Effect>) {
        for group in std::mem::take(&mut self.changed_groups) {
            self.heed_group(&group);
            self.notify_members(&group, out);
        }
    }

    fn notify_members(&self, group: &str, out: &mut Vec<Effect>) {
        let wanted = self.config.notify_changes
            && self.state.groups.get(group).is_none_or(|config| config.notify_consumer_ids_changed_enable);
        let broadcasting =
            self.clients.consumer_group(group).is_some_and(|members| members.is_broadcasting());
        if !wanted || broadcasting {
            return;
        }
        let header = ConsumerGroup { consumer_group: group, ..Default::default() };
        for conn in self.clients.members(group) {
            let command =
                Command::request(RequestCode::NOTIFY_CONSUMER_IDS_CHANGED).with_header(&header).oneway();
            out.push(Effect::Send { conn, command });
        }
    }

    pub(crate) fn unregister_client(&mut self, conn: ConnId, request: &Command, out: &mut Vec<Effect>) {
        let header: UnregisterClient<'_> = header_or_refuse!(self, conn, request, out);
        if let Some(group) = header.producer_group {
            self.clients.unregister_producer(conn, group);
        }
        if let Some(group) =
            header.consumer_group.filter(|group| self.clients.unregister_consumer(conn, group))
        {
            self.changed_groups.insert(group.to_owned());
        }
        self.reply(conn, request, request.respond(ResponseCode::SUCCESS), out);
    }

    pub(crate) fn consumer_list(&mut self, conn: ConnId, request: &Command, out: &mut Vec<Effect>) {
        let header: ConsumerGroup<'_> = header_or_refuse!(self, conn, request, out);
        let group = header.consumer_group;
        let ids = self.clients.consumer_group(group).map(|members| members.client_ids()).unwrap_or_default();
        let answer = match ids.is_empty() {
            true => {
                request.refuse(ResponseCode::SYSTEM_ERROR, format!("no consumer for this group, {group}"))
            }
            false => {
                let body = GetConsumerListByGroupResponseBody {
                    consumer_id_list: ids.into_iter().map(str::to_owned).collect(),
                };
                request.respond(ResponseCode::SUCCESS).with_body(to_json(&body))
            }
        };
        self.reply(conn, request, answer, out);
    }

    pub(crate) fn check_client_config(&mut self, conn: ConnId, request: &Command, out: &mut Vec<Effect>) {
        let body: Result<CheckClientRequestBody, _> = from_json(&request.body);
        let wanted = body.ok().and_then(|body| body.subscription_data).unwrap_or_default();
        let answer = match subscription::is_tag(Some(&wanted.expression_type)) {
            true => request.respond(ResponseCode::SUCCESS),
            false => {
                let (kind, text) = (Some(&*wanted.expression_type), Some(&*wanted.sub_string));
                match subscription::filter(self.config.sql92, kind, text) {
                    Ok(_) => request.respond(ResponseCode::SUCCESS),
                    Err(e) => request.refuse(e.code(), e.remark()),
                }
            }
        };
        self.reply(conn, request, answer, out);
    }

    pub(crate) fn lock_queues(
        &mut self,
        now_ms: i64,
        conn: ConnId,
        request: &Command,
        out: &mut Vec<Effect>,
    ) {
        let answer = match from_json::<LockBatchRequestBody>(&request.body) {
            Ok(mut body) => {
                let (locks, group, client) = (&mut self.locks, &*body.consumer_group, &*body.client_id);
                body.mq_set.retain(|mq| {
                    let queue = LockedQueue { topic: mq.topic.clone(), queue_id: mq.queue_id };
                    locks.lock(now_ms, group, client, queue)
                });
                let body = LockBatchResponseBody { lock_ok_mq_set: body.mq_set };
                request.respond(ResponseCode::SUCCESS).with_body(to_json(&body))
            }
            Err(e) => request.refuse(ResponseCode::SYSTEM_ERROR, format!("lock body is malformed: {e}")),
        };
        self.reply(conn, request, answer, out);
    }

    pub(crate) fn unlock_queues(&mut self, conn: ConnId, request: &Command, out: &mut Vec<Effect>) {
        let answer = match from_json::<LockBatchRequestBody>(&request.body) {
            Ok(body) => {
                for mq in body.mq_set {
                    let queue = LockedQueue { topic: mq.topic, queue_id: mq.queue_id };
                    self.locks.unlock(&body.consumer_group, &body.client_id, &queue);
                }
                request.respond(ResponseCode::SUCCESS)
            }
            Err(e) => request.refuse(ResponseCode::SYSTEM_ERROR, format!("unlock body is malformed: {e}")),
        };
        self.reply(conn, request, answer, out);
    }

    pub(crate) fn query_offset(&mut self, conn: ConnId, request: &Command, out: &mut Vec<Effect>) {
        let header: QueryConsumerOffset<'_> = header_or_refuse!(self, conn, request, out);
        let queue_id = queue(header.queue_id);
        let committed = self.state.offsets.get(header.consumer_group, header.topic, queue_id);
        // Apache says 0 only for queues that have a message. For an empty one the client would then ask where the queue
        // ends, and miss what comes in between.
        let exists =
            self.state.topics.get(header.topic).is_some_and(|topic| header.queue_id < topic.read_queue_nums);
        let young = || exists && self.is_young(header.topic, queue_id);
        let found = |offset: u64| {
            let answer = OffsetResponse { offset: offset as i64, ..Default::default() };
            request.respond(ResponseCode::SUCCESS).with_header(&answer)
        };
        let answer = match committed {
            Some(offset) => found(offset),
            None if header.set_zero_if_not_found == Some(false) => {
                let remark = "Not found, do not set to zero, maybe this group boot first";
                request.refuse(ResponseCode::QUERY_NOT_FOUND, remark)
            }
            None if young() => found(0),
            None => {
                let remark = "Not found, V3_0_6_SNAPSHOT maybe this group consumer boot first";
                request.refuse(ResponseCode::QUERY_NOT_FOUND, remark)
            }
        };
        self.reply(conn, request, answer, out);
    }

    /// Whether a group without an offset begins at the first message of a queue, wherever it wants to begin.
    pub(crate) fn is_young(&self, topic: &str, queue_id: u32) -> bool {
        let near = self.store.span_bytes(topic, queue_id) <= self.config.young_bytes;
        // One that is new since damage may have taken others of its name does not begin at 0; and damage may come again.
        near && self.bounds(topic, queue_id).min <= self.store.begins_at(topic)
    }

    /// Sets a group's offset, to be answered for with the changes of this batch.
    pub(crate) fn commit_offset(
        &mut self,
        now_ms: i64,
        (group, topic, queue_id): (&str, &str, u32),
        offset: u64,
    ) {
        let popped = self.state.in_flight.get(group, topic, queue_id).is_some();
        if let Some(commit) = self.state.commit(group, topic, queue_id, offset) {
            state::put_offset(&mut self.changes, &commit);
            if popped {
                // Not behind a message that comes again after this: its record says as well how far the group is. What the log refuses now,
                // it is offered with the rest.
                let _ = self.write_changes(now_ms);
            }
        }
    }

    /// Answered when the new offset is as safe as the flush policy says.
    pub(crate) fn update_offset(
        &mut self,
        now_ms: i64,
        conn: ConnId,
        request: &Command,
        out: &mut Vec<Effect>,
    ) {
        let refusal = |code, remark: String| request.refuse(code, remark);
        let topic = request.fields.get("topic").unwrap_or_default();
        let header: UpdateConsumerOffset<'_> = match request.header() {
            Ok(header) => header,
            Err(e) => {
                let (code, remark) = match e {
                    HeaderError::Missing("queueId") => {
                        (ResponseCode::INVALID_PARAMETER, format!("QueueId is null, topic is {topic}"))
                    }
                    HeaderError::Missing("commitOffset") => {
                        (ResponseCode::INVALID_PARAMETER, format!("Offset is null, topic is {topic}"))
                    }
                    e => (ResponseCode::SYSTEM_ERROR, e.to_string()),
                };
                return self.reply(conn, request, refusal(code, remark), out);
            }
        };
        let (group, topic) = (header.consumer_group, header.topic);
        let refused = if self.state.groups.get(group).is_none() && self.lmq_group(group).is_none() {
            Some(refusal(ResponseCode::SUBSCRIPTION_GROUP_NOT_EXIST, format!("Group {group} not exist!")))
        } else if self.state.topics.get(topic).is_none() && self.lmq_config(topic).is_none() {
            Some(refusal(ResponseCode::TOPIC_NOT_EXIST, format!("Topic {topic} not exist!")))
        } else if header.queue_id < 0 || header.commit_offset < 0 {
            let remark = format!(
                "QueueId {} or offset {} is negative, topic is {topic}",
                header.queue_id, header.commit_offset
            );
            Some(refusal(ResponseCode::INVALID_PARAMETER, remark))
        } else {
            None
        };
        if let Some(refused) = refused {
            return self.reply(conn, request, refused, out);
        }
        let (queue_id, offset) = (queue(header.queue_id), header.commit_offset as u64);
        if let Err(Refused(code, remark)) = self.refuse_if_changes_wait() {
            return self.reply(conn, request, request.refuse(code, remark), out);
        }
        if self.state.resets.outdates(now_ms, (group, topic, queue_id), offset) {
            let answer =
                request.respond(ResponseCode::SUCCESS).with_remark("Offset has been previously reset");
            return self.reply(conn, request, answer, out);
        }
        if let Err(why) = self.offset_room(group, topic, queue_id) {
            return self.reply(conn, request, request.refuse(ResponseCode::INVALID_PARAMETER, why), out);
        }
        self.commit_offset(now_ms, (group, topic, queue_id), offset);
        if !request.is_oneway() {
            self.acks.wait_for_state(conn, request.respond(ResponseCode::SUCCESS));
        }
    }

    /// Whether an offset may be kept: Apache takes any queue id, and so as many offsets as a client likes.
    pub(crate) fn offset_room(&self, group: &str, topic: &str, queue_id: u32) -> Result<(), String> {
        let limits = &self.config.limits;
        if queue_id >= limits.queues_max {
            return Err(format!("queueId {queue_id} is not below {}, topic is {topic}", limits.queues_max));
        }
        let known = self.state.offsets.get(group, topic, queue_id).is_some();
        if !known && self.state.offsets.len() >= limits.offsets_max {
            return Err(format!("the broker keeps {} offsets, its limit", limits.offsets_max));
        }
        Ok(())
    }
}
