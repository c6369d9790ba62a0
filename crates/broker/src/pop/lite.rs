//! Popping from lite topics (code 200070): in order, from all that a client subscribes to. Source:
//! `PopLiteMessageProcessor`.

use super::{COUNT_MAX, Found, HOLD_MS_MAX, INVISIBLE_MS_MAX, Key, Pop, PopRequest, Purpose};
use crate::Broker;
use crate::config::perm;
use crate::effect::Effect;
use crate::input::ConnId;
use crate::lite::{bound_topic, mailbox};
use crate::lmq::is_lite;
use crate::produce::Refused;
use kerolox_wire::header::PopLiteMessage;
use kerolox_wire::names;
use kerolox_wire::{Command, ResponseCode};
use std::sync::Arc;

/// Whose lite topics are popped from.
#[derive(Clone)]
pub(crate) struct LiteClient {
    pub(super) id: Arc<str>,
    /// Where a message for it is told of.
    pub(super) mailbox: Arc<str>,
}

/// How often each message was popped before, in the order of the answer.
pub(super) fn counts(found: &[Found]) -> String {
    let times = found.iter().flat_map(|found| found.messages.iter().map(|(_, times)| times.to_string()));
    times.collect::<Vec<_>>().join(";")
}

impl Broker {
    /// Code 200070.
    pub(crate) fn pop_lite(&mut self, now_ms: i64, conn: ConnId, request: &Command, out: &mut Vec<Effect>) {
        match self.admit_pop_lite(now_ms, conn, request) {
            Ok(pop) => self.serve_pop(now_ms, pop, out),
            Err(Refused(code, remark)) => self.reply(conn, request, request.refuse(code, remark), out),
        }
    }

    fn admit_pop_lite(
        &mut self,
        now_ms: i64,
        conn: ConnId,
        request: &Command,
    ) -> Result<PopRequest, Refused> {
        let header: PopLiteMessage<'_> = request.header()?;
        let refuse = |code, remark: String| Err(Refused(code, remark));
        let host = self.config.host.ip();
        if !perm::readable(self.config.permission) {
            let remark = format!("the broker[{host}] pop message is forbidden");
            return refuse(ResponseCode::NO_PERMISSION, remark);
        }
        if header.max_msg_num > COUNT_MAX {
            let remark = format!("the broker[{host}] pop message's num is greater than {COUNT_MAX}");
            return refuse(ResponseCode::INVALID_PARAMETER, remark);
        }
        if !(0..=INVISIBLE_MS_MAX).contains(&header.invisible_time) {
            let remark = format!(
                "invisibleTime {} is not between 0 and {INVISIBLE_MS_MAX} milliseconds",
                header.invisible_time
            );
            return refuse(ResponseCode::INVALID_PARAMETER, remark);
        }
        let attempt = super::attempt(header.attempt_id)?;
        if self.state.groups.get(header.consumer_group).is_none() {
            self.auto_create_group(header.consumer_group);
        }
        let Some((topic, config)) = self.state.topics.get_shared(header.topic) else {
            let remark = format!("topic [{}] not exist, apply first please! {}", header.topic, crate::FAQ);
            return refuse(ResponseCode::TOPIC_NOT_EXIST, remark);
        };
        if !perm::readable(config.perm) {
            return refuse(
                ResponseCode::NO_PERMISSION,
                format!("the topic [{topic}] peeking message is forbidden"),
            );
        }
        if !is_lite(config) {
            let remark = format!("the topic [{topic}] message type not match");
            return refuse(ResponseCode::INVALID_PARAMETER, remark);
        }
        let (group, topic) = (self.bound_group(header.consumer_group, header.topic)?, Arc::clone(topic));
        self.refuse_if_draining()?;
        self.refuse_if_changes_wait()?;
        Ok(PopRequest {
            conn,
            response: request.respond(ResponseCode::SUCCESS),
            group,
            retry_topic: Arc::clone(&topic),
            topic,
            queue_id: None,
            purpose: Purpose::Take {
                count_max: header.max_msg_num.max(1) as usize,
                invisible_ms: header.invisible_time,
                from_last: true,
            },
            order: true,
            attempt,
            filter: None,
            filter_bytes: header.client_id.len(),
            lite: Some(LiteClient { id: Arc::from(header.client_id), mailbox: mailbox(header.client_id) }),
            came_ms: now_ms,
            until_ms: now_ms + header.poll_time.clamp(0, HOLD_MS_MAX),
        })
    }

    /// A group that is bound to a parent topic, and may consume.
    fn bound_group(&self, group: &str, topic: &str) -> Result<Arc<str>, Refused> {
        let refuse = |code, remark: String| Err(Refused(code, remark));
        let Some((group, config)) = self.state.groups.get_shared(group) else {
            let remark = format!("subscription group [{}] not exist, {}", group, crate::FAQ);
            return refuse(ResponseCode::SUBSCRIPTION_GROUP_NOT_EXIST, remark);
        };
        if !config.consume_enable {
            return refuse(ResponseCode::NO_PERMISSION, format!("subscription group no permission, {group}"));
        }
        if bound_topic(config) != Some(topic) {
            let remark = format!("subscription bind topic not match, {group}");
            return refuse(ResponseCode::INVALID_PARAMETER, remark);
        }
        Ok(Arc::clone(group))
    }

    /// Queues for the next pop of a client.
    pub(super) fn lite_queues(&mut self, now_ms: i64, request: &PopRequest, client: &str) -> Vec<Arc<str>> {
        for queue in self.lite.take_rescan(client) {
            if self.may_pop_lite(now_ms, &request.group, &queue) {
                self.lite.give_back(now_ms, client, false, &[queue]);
            }
        }
        self.lite.take_ready(now_ms, client)
    }

    fn may_pop_lite(&self, now_ms: i64, group: &Arc<str>, queue: &Arc<str>) -> bool {
        let flight = self.state.in_flight.get(group, queue, 0);
        flight.is_none_or(|flight| !flight.is_blocked(now_ms, None)) && self.to_pop(group, queue, 0) > 0
    }

    /// After a pop: what its queues still have may be popped by the next one.
    pub(super) fn return_lite_queues(
        &mut self,
        now_ms: i64,
        group: &Arc<str>,
        client: &LiteClient,
        popped: bool,
        mut queues: Vec<Arc<str>>,
    ) {
        queues.retain(|queue| self.may_pop_lite(now_ms, group, queue));
        self.lite.give_back(now_ms, &client.id, popped, &queues);
    }

    /// What lies in a queue can be popped by a group (again): those who wait for it are to be tried.
    pub(crate) fn can_be_popped(&mut self, key: &Key) {
        self.pops.touch(&key.topic, key.queue_id);
        if names::lite_parts(&key.topic).is_some() {
            self.lite_may_be_popped(&key.topic, &key.group);
        }
    }
}

impl Pop {
    /// What a pop of lite topics leaves behind: whose it was, and its queues.
    pub(super) fn take_lite(&mut self) -> Option<(Arc<str>, LiteClient, Vec<Arc<str>>)> {
        let client = self.request.lite.clone()?;
        Some((Arc::clone(&self.request.group), client, std::mem::take(&mut self.lite_queues)))
    }
}
