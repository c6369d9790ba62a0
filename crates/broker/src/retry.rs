//! Messages that a consumer could not process: sent back (code 36), delivered again later, and in the end kept in the
//! group's dead-letter topic. Source of the rules: `AbstractSendMessageProcessor.consumerSendMsgBack`.

use crate::Broker;
use crate::config::perm;
use crate::effect::Effect;
use crate::input::ConnId;
use crate::pending::Pending;
use crate::produce::{DLQ_QUEUES, Draft, Refused};
use crate::topics;
use bytes::Bytes;
use kerolox_store::{AppendError, NewMessage};
use kerolox_wire::header::ConsumerSendMsgBack;
use kerolox_wire::properties::{PropertiesBuf, name as property};
use kerolox_wire::record::{self, RecordView};
use kerolox_wire::{Command, ResponseCode};
use std::borrow::Cow;
use std::sync::Arc;

/// An admitted send-back, while its original is read.
pub(crate) struct SendBack {
    pub(crate) conn: ConnId,
    pub(crate) request: Command,
    group: String,
    position: i64,
    delay_level: i32,
    max_reconsume_times: i32,
}

fn no_such_group(group: &str) -> Refused {
    let remark = format!("subscription group not exist, {group} {}", crate::FAQ);
    Refused(ResponseCode::SUBSCRIPTION_GROUP_NOT_EXIST, remark)
}

impl Broker {
    pub(crate) fn send_back(&mut self, now_ms: i64, conn: ConnId, request: Command, out: &mut Vec<Effect>) {
        match self.admit_send_back(now_ms, conn, &request) {
            Ok(Some(back)) => match u64::try_from(back.position) {
                Ok(position) => {
                    let plan = self.store.plan_records(vec![position]);
                    self.start_read(plan, Pending::SendBack(back), out);
                }
                Err(_) => self.send_back_read(now_ms, back, None, out),
            },
            Ok(None) => self.reply(conn, &request, request.respond(ResponseCode::SUCCESS), out),
            Err(Refused(code, remark)) => self.reply(conn, &request, request.refuse(code, remark), out),
        }
    }

    fn admit_send_back(
        &mut self,
        now_ms: i64,
        conn: ConnId,
        request: &Command,
    ) -> Result<Option<SendBack>, Refused> {
        let header: ConsumerSendMsgBack<'_> = request.header()?;
        self.refuse_if_draining()?;
        let group = header.group;
        if self.state.groups.get(group).is_none() {
            self.auto_create_group(group);
        }
        let Some(config) = self.state.groups.get(group) else {
            return Err(no_such_group(group));
        };
        if !perm::writable(self.config.permission) {
            let remark = format!("the broker[{}] sending message is forbidden", self.config.host.ip());
            return Err(Refused(ResponseCode::NO_PERMISSION, remark));
        }
        if config.retry_queue_nums <= 0 {
            return Ok(None);
        }
        let max_reconsume_times = header.max_reconsume_times.unwrap_or(config.retry_max_times);
        let retry = self.retry_topic(now_ms, group).map_err(|e| self.refused(&e))?;
        if self.state.topics.get(&retry).is_some_and(|topic| !perm::writable(topic.perm)) {
            let remark = format!("the topic[{retry}] sending message is forbidden");
            return Err(Refused(ResponseCode::NO_PERMISSION, remark));
        }
        Ok(Some(SendBack {
            conn,
            request: request.clone(),
            group: group.to_owned(),
            position: header.offset,
            delay_level: header.delay_level,
            max_reconsume_times,
        }))
    }

    /// The original was read: append it again, to the retry topic by way of a delay level, or to the dead-letter topic.
    pub(crate) fn send_back_read(
        &mut self,
        now_ms: i64,
        back: SendBack,
        original: Option<Bytes>,
        out: &mut Vec<Effect>,
    ) {
        let outcome = match &original {
            Some(bytes) => self.append_back(now_ms, &back, bytes),
            None => {
                let remark = format!("look message by offset failed, {}", back.position);
                Err(Refused(ResponseCode::SYSTEM_ERROR, remark))
            }
        };
        match outcome {
            Ok(end) => {
                let answer = back.request.respond(ResponseCode::SUCCESS);
                if !back.request.is_oneway() {
                    self.acks.wait(end, back.conn, answer);
                }
            }
            Err(Refused(code, remark)) => {
                self.reply(back.conn, &back.request, back.request.refuse(code, remark), out);
            }
        }
    }

    fn append_back(&mut self, now_ms: i64, back: &SendBack, original: &[u8]) -> Result<u64, Refused> {
        // It may have been deleted meanwhile: no topics are made for it.
        if self.state.groups.get(&back.group).is_none() {
            return Err(no_such_group(&back.group));
        }
        let original = RecordView::parse(original).map_err(|e| {
            Refused(ResponseCode::SYSTEM_ERROR, format!("look message by offset failed, {e}"))
        })?;
        let mut properties = PropertiesBuf::from(original.properties().0);
        if original.properties().get(property::RETRY_TOPIC).is_none() {
            properties.set(property::RETRY_TOPIC, original.topic);
        }
        if original.properties().get(property::ORIGIN_MESSAGE_ID).is_none_or(|id| id.trim().is_empty()) {
            properties.set(property::ORIGIN_MESSAGE_ID, &original.message_id().to_string());
        }
        let exhausted = original.reconsume_times >= back.max_reconsume_times || back.delay_level < 0;
        properties.remove(property::DELAY_TIME_LEVEL);
        let topic = match exhausted {
            true => self.dlq_topic(now_ms, &back.group),
            false => self.retry_topic(now_ms, &back.group),
        }
        .map_err(|e| self.refused(&e))?;
        let from = original.properties().get(property::RETRY_TOPIC);
        let from = from.filter(|from| self.state.topics.get(from).is_some()).unwrap_or(original.topic);
        self.stats.sent_back(from, &Arc::from(&*back.group));
        let queues = self.state.topics.get(&topic).map_or(1, |topic| topic.write_queue_nums);
        let mut draft = Draft { queue_id: self.any_queue(queues), topic, properties };
        if !exhausted {
            self.retry_later(now_ms, back, original.reconsume_times, &mut draft)?;
        }
        self.append_again(now_ms, &original, &draft, |message| {
            message.reconsume_times = message.reconsume_times.saturating_add(1);
        })
        .map_err(|e| self.refused(&e))
    }

    /// Lets a message wait for its next attempt: as long as its consumer says, or its group's policy, or the delay levels one
    /// after the other. (Apache's broker does not look at the policy of a group, only its proxy does.)
    fn retry_later(
        &mut self,
        now_ms: i64,
        back: &SendBack,
        attempts: i32,
        draft: &mut Draft,
    ) -> Result<(), Refused> {
        let policy = self.state.groups.get(&back.group).map(|config| &config.group_retry_policy);
        let delay_ms = policy.filter(|_| back.delay_level == 0).and_then(|p| p.next_delay_ms(attempts));
        let fits = |ms: &i64| (0..=self.config.timer_max_delay_ms).contains(ms);
        if let Some(delay_ms) = delay_ms.filter(fits)
            && self.timers.len() < self.config.limits.timers_max
        {
            self.wait_until(now_ms.saturating_add(delay_ms), draft);
            return Ok(());
        }
        let level = match back.delay_level {
            0 => attempts.saturating_add(3),
            level => level,
        };
        draft.properties.set(property::DELAY_TIME_LEVEL, &level.to_string());
        self.redirect_delayed(draft)
    }

    /// Appends a message that is in the log already to another topic, with changes; where the copy ends.
    pub(crate) fn append_again(
        &mut self,
        now_ms: i64,
        original: &RecordView<'_>,
        draft: &Draft,
        change: impl FnOnce(&mut NewMessage<'_>),
    ) -> Result<u64, AppendError> {
        self.append_moved(false, now_ms, original, draft, change)
    }

    /// The same; `in_the_way`: of retention, so that it is taken on a full disk as well.
    pub(crate) fn append_moved(
        &mut self,
        in_the_way: bool,
        now_ms: i64,
        original: &RecordView<'_>,
        draft: &Draft,
        change: impl FnOnce(&mut NewMessage<'_>),
    ) -> Result<u64, AppendError> {
        let mut properties = Cow::Borrowed(&draft.properties);
        if properties.as_bytes().len() > record::PROPERTIES_BYTES_MAX {
            // Apache stores more; what its broker added of its own account makes room.
            for own in [property::MSG_REGION, property::TRACE_SWITCH, property::CLUSTER] {
                properties.to_mut().remove(own);
            }
        }
        if draft.properties.as_properties().get(property::INNER_MULTI_DISPATCH).is_some() {
            self.set_further_offsets(&draft.topic, draft.queue_id, properties.to_mut());
        }
        let mut message = NewMessage {
            topic: &draft.topic,
            queue_id: draft.queue_id,
            flag: original.flag,
            sys_flag: original.sys_flag,
            born_ms: original.born_ms,
            born_host: original.born_host,
            reconsume_times: original.reconsume_times,
            prepared_transaction_offset: 0,
            body: original.body,
            properties: properties.as_bytes(),
        };
        change(&mut message);
        let appended = match in_the_way {
            true => self.store.append_kept(now_ms, &message),
            false => self.store.append_again(now_ms, &message),
        }?;
        self.note_appended(&message, &appended);
        Ok(appended.end)
    }

    /// Of a message that is to be moved, before those behind it: one that the log will never take is in nobody's way.
    pub(crate) fn or_astray(&mut self, moved: Result<u64, AppendError>) -> Result<(), AppendError> {
        match moved {
            Err(e) if e.is_final() => self.counters.delay_astray += 1,
            moved => drop(moved?),
        }
        Ok(())
    }

    /// The group's retry topic, created if need be.
    pub(crate) fn retry_topic(&mut self, now_ms: i64, group: &str) -> Result<Arc<str>, AppendError> {
        let queues = self.state.groups.get(group).map_or(1, |config| config.retry_queue_nums);
        self.ensure_topic(now_ms, kerolox_wire::names::retry_topic(group), queues)
    }

    /// The group's dead-letter topic, created if need be.
    pub(crate) fn dlq_topic(&mut self, now_ms: i64, group: &str) -> Result<Arc<str>, AppendError> {
        self.ensure_topic(now_ms, kerolox_wire::names::dlq_topic(group), DLQ_QUEUES)
    }

    pub(crate) fn ensure_topic(
        &mut self,
        now_ms: i64,
        name: String,
        queues: i32,
    ) -> Result<Arc<str>, AppendError> {
        if self.state.topics.get(&name).is_none() {
            self.put_topic(now_ms, topics::new(&name, queues, perm::READ | perm::WRITE))?;
        }
        Ok(Arc::from(name))
    }
}
