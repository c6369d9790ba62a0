//! Sending messages (codes 10, 310 and 320).

use crate::Broker;
use crate::attributes;
use crate::config::perm;
use crate::effect::Effect;
use crate::input::ConnId;
use crate::lmq::is_lite;
use crate::query::header_or_refuse;
use crate::sent::Sent;
use crate::topics::{self, CreateError};
use crate::transaction::is_own;
use kerolox_store::{AppendError, Appended, NewMessage};
use kerolox_wire::body::{BodyError, TopicConfig};
use kerolox_wire::header::{HeaderError, SendMessage, SendMessageResponse};
use kerolox_wire::message_id::MessageId;
use kerolox_wire::names;
use kerolox_wire::properties::{PropertiesBuf, name as property};
use kerolox_wire::record::{PROPERTIES_BYTES_MAX, batch};
use kerolox_wire::{Command, RequestCode, ResponseCode, sys_flag};
use std::sync::Arc;

/// Messages in one batch at most: 4 MiB of the smallest ones would be far more.
const BATCH_COUNT_MAX: usize = 65_536;
/// A record without body, properties and topic takes no more than this, checksum property included.
const RECORD_OVERHEAD_BYTES: usize = 160;
/// Queues of a dead-letter topic.
pub(crate) const DLQ_QUEUES: i32 = 1;

/// Why a write was not accepted: what the client is told.
#[derive(Debug)]
pub(crate) struct Refused(pub(crate) ResponseCode, pub(crate) String);

impl From<HeaderError> for Refused {
    fn from(e: HeaderError) -> Self {
        Self(ResponseCode::SYSTEM_ERROR, e.to_string())
    }
}

impl From<BodyError> for Refused {
    fn from(e: BodyError) -> Self {
        Self(ResponseCode::SYSTEM_ERROR, e.to_string())
    }
}

/// Where an admitted send goes.
pub(crate) struct Target {
    pub(crate) topic: Arc<str>,
    pub(crate) write_queues: i32,
}

/// A message on its way into the log: where to, and the encoded properties.
#[derive(Clone)]
pub(crate) struct Draft {
    pub(crate) topic: Arc<str>,
    pub(crate) queue_id: u32,
    pub(crate) properties: PropertiesBuf,
}

impl Draft {
    /// It waits in another topic first, and carries along where it is meant for.
    pub(crate) fn wait_in(&mut self, topic: Arc<str>, queue_id: u32) {
        self.properties.set(property::REAL_TOPIC, &self.topic);
        self.properties.set(property::REAL_QUEUE_ID, &self.queue_id.to_string());
        self.topic = topic;
        self.queue_id = queue_id;
    }
}

impl Broker {
    pub(crate) fn send(&mut self, now_ms: i64, conn: ConnId, request: &Command, out: &mut Vec<Effect>) {
        let header: SendMessage<'_> = header_or_refuse!(self, conn, request, out);
        let is_batch =
            request.code == i32::from(RequestCode::SEND_BATCH_MESSAGE) || header.batch == Some(true);
        let outcome = match is_batch {
            true => self.append_batch(now_ms, conn, request, &header),
            false => self.append_single(now_ms, conn, request, &header),
        };
        match outcome {
            Ok((end, answer)) => {
                self.counters.sent += 1;
                if !request.is_oneway() {
                    self.acks.wait(end, conn, answer);
                }
            }
            Err(Refused(code, remark)) => {
                self.counters.refused_sends += 1;
                let answer = self.with_region(request.refuse(code, remark));
                self.reply(conn, request, answer, out);
            }
        }
    }

    fn append_single(
        &mut self,
        now_ms: i64,
        conn: ConnId,
        request: &Command,
        header: &SendMessage<'_>,
    ) -> Result<(u64, Command), Refused> {
        let target = self.admit_send(now_ms, conn, header)?;
        // Clients refuse to send one; a listener that gets one finds no body at all, which it does not expect.
        if request.body.is_empty() {
            return Err(Refused(ResponseCode::MESSAGE_ILLEGAL, "the message body is empty".into()));
        }
        let queue_id = self.choose_queue(header.queue_id, target.write_queues);
        let sent = Sent::scan(header.properties.unwrap_or_default().as_bytes());
        self.check_type(&target.topic, &sent)?;
        let queue_id = sent.priority_queue(target.write_queues).unwrap_or(queue_id);
        let unique_key = self.unique_key(now_ms, &sent);
        let mut draft = Draft {
            topic: Arc::clone(&target.topic),
            queue_id,
            properties: sent.stored(&self.own_properties, unique_key.as_deref()),
        };
        if sent.stray_priority() {
            draft.properties.remove(property::PRIORITY);
        }
        self.redirect_exhausted_retry(now_ms, header, &mut draft)?;
        self.name_further_queues(&sent, &mut draft)?;
        self.refuse_uncompactable(&draft)?;
        // One that is sent back by its consumer is none any more.
        let half = sent.prepared && !(sent.delayed && header.reconsume_times.unwrap_or(0) > 0);
        let sys_flag = header.sys_flag & !sys_flag::TRANSACTION_MASK;
        if half {
            if sent.delayed || sent.timed {
                // Refused only when it is committed, its producer would hardly learn of it.
                self.redirect_waiting(now_ms, &mut draft.clone())?;
            }
            self.prepare(&mut draft)?;
        } else {
            refuse_unseen(header.sys_flag)?;
            if sent.delayed || sent.timed {
                self.redirect_waiting(now_ms, &mut draft)?;
            }
        }
        let header = &SendMessage { sys_flag, ..header.clone() };
        if sent.further || sent.lite_topic.is_some() {
            self.set_further_offsets(&draft.topic, draft.queue_id, &mut draft.properties);
        }
        let appended = self.append(now_ms, conn, header, &draft, &request.body)?;
        let id = unique_key.as_deref().or(sent.unique_key);
        let handle = id.and_then(|id| self.recall_handle(&draft, id));
        let answer = self.sent_answer(request, &[appended], queue_id, id, handle.as_deref());
        Ok((appended.end, answer))
    }

    fn append_batch(
        &mut self,
        now_ms: i64,
        conn: ConnId,
        request: &Command,
        header: &SendMessage<'_>,
    ) -> Result<(u64, Command), Refused> {
        let target = self.admit_send(now_ms, conn, header)?;
        if target.topic.len() > i8::MAX as usize {
            let remark = format!("message topic length over {} bytes: {}", i8::MAX, target.topic.len());
            return Err(Refused(ResponseCode::MESSAGE_ILLEGAL, remark));
        }
        if target.topic.starts_with(names::RETRY_PREFIX) {
            let remark = format!("batch request does not support retry group {}", target.topic);
            return Err(Refused(ResponseCode::MESSAGE_ILLEGAL, remark));
        }
        let illegal = |why: String| Refused(ResponseCode::MESSAGE_ILLEGAL, why);
        if request.body.len() > self.config.message_bytes_max {
            return Err(self.illegal());
        }
        refuse_unseen(header.sys_flag)?;
        let common = Sent::scan(header.properties.unwrap_or_default().as_bytes());
        if common.waits() {
            return Err(self.illegal());
        }
        // All are checked before the first is appended, so that a batch is taken whole or not at all.
        let messages = batch::messages(&request.body)
            .take(BATCH_COUNT_MAX + 1)
            .collect::<Result<Vec<_>, _>>()
            .map_err(|e| illegal(format!("batch body is malformed: {e}")))?;
        if messages.is_empty() || messages.len() > BATCH_COUNT_MAX {
            return Err(illegal(format!("a batch has 1 to {BATCH_COUNT_MAX} messages")));
        }
        let queue_id = self.choose_queue(header.queue_id, target.write_queues);
        let sent: Vec<Sent<'_>> = messages.iter().map(|message| Sent::scan(message.properties)).collect();
        sent.iter().try_for_each(|sent| self.check_type(&target.topic, sent))?;
        if sent.iter().any(|sent| sent.lite_topic.is_some())
            && self.state.topics.get(&target.topic).is_some_and(is_lite)
        {
            return Err(illegal("a batch cannot be for lite topics".to_owned()));
        }
        let draft = |sent: &Sent<'_>| Draft {
            topic: Arc::clone(&target.topic),
            queue_id,
            properties: sent.stored(&PropertiesBuf::default(), None),
        };
        let drafts: Vec<Draft> = sent.iter().map(draft).collect();
        if drafts.iter().any(|draft| draft.properties.as_bytes().len() > PROPERTIES_BYTES_MAX) {
            return Err(self.illegal());
        }
        drafts.iter().try_for_each(|draft| self.refuse_uncompactable(draft))?;
        let lens = messages.iter().zip(&drafts).map(|(message, draft)| {
            message.body.len() + draft.properties.as_bytes().len() + draft.topic.len() + RECORD_OVERHEAD_BYTES
        });
        let longest = lens.clone().max().unwrap_or(0);
        self.store.admit_batch(lens.sum(), longest).map_err(|e| self.refused(&e))?;
        let mut appended = Vec::with_capacity(messages.len());
        for (message, draft) in messages.iter().zip(&drafts) {
            let header = SendMessage { flag: message.flag, ..header.clone() };
            appended.push(self.append(now_ms, conn, &header, draft, message.body)?);
        }
        let end = appended.last().map_or(0, |last| last.end);
        Ok((end, self.sent_answer(request, &appended, queue_id, common.unique_key, None)))
    }

    /// Checks that hold for every send; the topic, created if that is allowed.
    pub(crate) fn admit_send(
        &mut self,
        now_ms: i64,
        conn: ConnId,
        header: &SendMessage<'_>,
    ) -> Result<Target, Refused> {
        self.refuse_if_draining()?;
        let name = header.topic;
        if !perm::writable(self.config.permission) {
            let remark = format!("the broker[{}] sending message is forbidden", self.config.host.ip());
            return Err(Refused(ResponseCode::NO_PERMISSION, remark));
        }
        names::check_topic(name).map_err(|e| Refused(ResponseCode::INVALID_PARAMETER, e.to_string()))?;
        if names::is_send_forbidden(name) || is_own(name) {
            let remark = format!("Sending message to topic[{name}] is forbidden.");
            return Err(Refused(ResponseCode::NO_PERMISSION, remark));
        }
        if self.state.topics.get(name).is_none() {
            self.auto_create(now_ms, conn, name, header)?;
        }
        let Some((topic, config)) = self.state.topics.get_shared(name) else {
            return Err(not_exist(name));
        };
        if header.queue_id >= config.write_queue_nums.max(config.read_queue_nums) {
            return Err(self.illegal_queue(conn, header.queue_id, config));
        }
        Ok(Target { topic: Arc::clone(topic), write_queues: config.write_queue_nums })
    }

    fn illegal_queue(&self, conn: ConnId, queue_id: i32, config: &TopicConfig) -> Refused {
        let (config, peer) = (topics::text(config), self.peer_text(conn));
        let remark = format!("request queueId[{queue_id}] is illegal, {config} Producer: {peer}");
        Refused(ResponseCode::INVALID_PARAMETER, remark)
    }

    /// Changes of the state wait in memory until the log takes them: not without limit.
    pub(crate) fn refuse_if_changes_wait(&self) -> Result<(), Refused> {
        match self.changes.len() > self.config.limits.changes_bytes_max {
            true => Err(Refused(
                ResponseCode::SYSTEM_BUSY,
                "[STATE]broker busy: the log does not take changes for the moment".into(),
            )),
            false => Ok(()),
        }
    }

    pub(crate) fn refuse_if_draining(&self) -> Result<(), Refused> {
        match self.draining {
            true => Err(Refused(
                ResponseCode::SERVICE_NOT_AVAILABLE,
                "service not available now: the broker is shutting down, ask another one".into(),
            )),
            false => Ok(()),
        }
    }

    fn auto_create(
        &mut self,
        now_ms: i64,
        conn: ConnId,
        name: &str,
        header: &SendMessage<'_>,
    ) -> Result<(), Refused> {
        let limits = &self.config.limits;
        let max = limits.topics_max;
        let queues = header.default_topic_queue_nums;
        let config = match self.state.topics.derive(name, header.default_topic, queues, limits) {
            // It would have no queue to send to: nothing is created.
            Ok(config) if config.write_queue_nums == 0 => {
                return Err(self.illegal_queue(conn, header.queue_id, &config));
            }
            Ok(config) => config,
            Err(CreateError::TooMany(max)) => {
                let remark = format!("topic[{name}] was not created: the broker has {max} topics, its limit");
                return Err(Refused(ResponseCode::SYSTEM_ERROR, remark));
            }
            Err(_) if name.starts_with(names::RETRY_PREFIX) && self.state.topics.len() < max => {
                topics::new(name, 1, perm::READ | perm::WRITE)
            }
            Err(_) => return Err(not_exist(name)),
        };
        self.put_topic(now_ms, config).map_err(|e| self.refused(&e))
    }

    /// Whether messages of this kind belong into a topic. Apache's broker leaves that to its proxy.
    fn check_type(&self, topic: &str, sent: &Sent<'_>) -> Result<(), Refused> {
        let exempt = topic.starts_with(names::RETRY_PREFIX) || topic.starts_with(names::DLQ_PREFIX);
        if !self.config.check_message_types || exempt || self.state.topics.is_system(topic) {
            return Ok(());
        }
        let attributes = self.state.topics.get(topic).map(|config| &config.attributes);
        let expected =
            attributes.and_then(|a| a.get(attributes::MESSAGE_TYPE)).map_or("NORMAL", String::as_str);
        let actual = sent.message_type();
        if expected == "MIXED" || expected == actual {
            return Ok(());
        }
        let remark = format!(
            "TopicMessageType validate failed, the expected type is {expected}, but actual type is {actual}"
        );
        Err(Refused(ResponseCode::MESSAGE_ILLEGAL, remark))
    }

    /// A queue of the client's choice, or any where it left that open.
    pub(crate) fn choose_queue(&mut self, wanted: i32, write_queues: i32) -> u32 {
        match u32::try_from(wanted) {
            Ok(queue_id) => queue_id,
            Err(_) => self.any_queue(write_queues),
        }
    }

    /// A unique key for a message whose client set none, as Apache's broker does.
    pub(crate) fn unique_key(&mut self, now_ms: i64, sent: &Sent<'_>) -> Option<String> {
        match sent.unique_key {
            Some(_) => None,
            None => Some(format!("{:016X}{:016X}", now_ms, self.random())),
        }
    }

    /// A message that a consumer sends to its group's retry topic by itself goes to the dead-letter topic once it was
    /// tried often enough. Source: `SendMessageProcessor.handleRetryAndDLQ`.
    fn redirect_exhausted_retry(
        &mut self,
        now_ms: i64,
        header: &SendMessage<'_>,
        draft: &mut Draft,
    ) -> Result<(), Refused> {
        let Some(group) = header.topic.strip_prefix(names::RETRY_PREFIX) else { return Ok(()) };
        if self.state.groups.get(group).is_none() {
            self.auto_create_group(group);
        }
        let Some(config) = self.state.groups.get(group) else {
            let remark = format!("subscription group not exist, {group} {}", crate::FAQ);
            return Err(Refused(ResponseCode::SUBSCRIPTION_GROUP_NOT_EXIST, remark));
        };
        let max = header.max_reconsume_times.unwrap_or(config.retry_max_times);
        let exhausted = header.reconsume_times.unwrap_or(0) > max;
        if exhausted || self.locks.any_held(now_ms, group) {
            let dlq = self.dlq_topic(now_ms, group).map_err(|e| self.refused(&e))?;
            draft.properties.remove(property::DELAY_TIME_LEVEL);
            draft.queue_id = 0;
            draft.topic = dlq;
        }
        Ok(())
    }

    /// A message with a delay level, or else a time of its own, waits for it.
    pub(crate) fn redirect_waiting(&mut self, now_ms: i64, draft: &mut Draft) -> Result<(), Refused> {
        let before = Arc::clone(&draft.topic);
        self.redirect_delayed(draft)?;
        if draft.topic == before { self.redirect_timed(now_ms, draft) } else { Ok(()) }
    }

    /// A message with a delay level waits in the schedule topic.
    pub(crate) fn redirect_delayed(&mut self, draft: &mut Draft) -> Result<(), Refused> {
        let Some(text) = draft.properties.as_properties().get(property::DELAY_TIME_LEVEL) else {
            return Ok(());
        };
        let Ok(level) = text.parse::<i64>() else {
            let remark = format!("the property <{}> is not a number: {text:?}", property::DELAY_TIME_LEVEL);
            return Err(Refused(ResponseCode::SYSTEM_ERROR, remark));
        };
        if level <= 0 {
            return Ok(());
        }
        let level = usize::try_from(level).unwrap_or(usize::MAX).min(self.config.delay_levels_ms.len());
        draft.properties.set(property::DELAY_TIME_LEVEL, &level.to_string());
        draft.wait_in(self.delay.topic(), self.delay_queue(level));
        Ok(())
    }

    pub(crate) fn append(
        &mut self,
        now_ms: i64,
        conn: ConnId,
        header: &SendMessage<'_>,
        draft: &Draft,
        body: &[u8],
    ) -> Result<Appended, Refused> {
        let message = NewMessage {
            topic: &draft.topic,
            queue_id: draft.queue_id,
            flag: header.flag,
            sys_flag: header.sys_flag,
            born_ms: header.born_timestamp,
            born_host: self.peer(conn),
            reconsume_times: header.reconsume_times.unwrap_or(0),
            prepared_transaction_offset: 0,
            body,
            properties: draft.properties.as_bytes(),
        };
        let appended = self.store.append(now_ms, &message).map_err(|e| self.refused(&e))?;
        self.note_appended(&message, &appended);
        Ok(appended)
    }

    /// How a failed append is told to the client.
    pub(crate) fn refused(&self, error: &AppendError) -> Refused {
        match error {
            AppendError::BodyTooLarge(..)
            | AppendError::PropertiesTooLarge(..)
            | AppendError::TopicTooLong(..)
            | AppendError::SegmentTooSmall(..) => self.illegal(),
            AppendError::Backlog(_) => {
                Refused(ResponseCode::SYSTEM_BUSY, format!("[BACKLOG]broker busy: {error}"))
            }
            AppendError::DiskFull(_) => {
                let held = self.held_by().map(|held| format!("; {held}")).unwrap_or_default();
                let remark = format!("service not available now: {error}{held}");
                Refused(ResponseCode::SERVICE_NOT_AVAILABLE, remark)
            }
            AppendError::Fenced(_) | AppendError::BadState(_) => {
                Refused(ResponseCode::SERVICE_NOT_AVAILABLE, error.to_string())
            }
        }
    }

    /// Apache has one text for all that makes a message illegal.
    pub(crate) fn illegal(&self) -> Refused {
        let remark = format!(
            "the message is illegal, maybe msg body or properties length not matched. msg body length limit {}B, msg properties length limit 32KB.",
            self.config.message_bytes_max
        );
        Refused(ResponseCode::MESSAGE_ILLEGAL, remark)
    }

    fn sent_answer(
        &self,
        request: &Command,
        appended: &[Appended],
        queue_id: u32,
        unique_id: Option<&str>,
        recall_handle: Option<&str>,
    ) -> Command {
        let ids = appended.iter().map(|appended| self.message_id(appended)).collect::<Vec<_>>().join(",");
        let header = SendMessageResponse {
            msg_id: &ids,
            queue_id: queue_id as i32,
            queue_offset: appended.first().map_or(0, |first| first.queue_offset as i64),
            transaction_id: unique_id,
            recall_handle,
            ..Default::default()
        };
        self.with_region(request.respond(ResponseCode::SUCCESS).with_header(&header))
    }

    pub(crate) fn message_id(&self, appended: &Appended) -> String {
        MessageId { host: self.config.host, position: appended.position }.to_string()
    }

    pub(crate) fn with_region(&self, mut answer: Command) -> Command {
        answer.fields.push(property::MSG_REGION, &self.config.region);
        answer.fields.push(property::TRACE_SWITCH, if self.config.trace_on { "true" } else { "false" });
        answer
    }
}

fn not_exist(name: &str) -> Refused {
    let remark = format!("topic[{name}] not exist, apply first please!{}", crate::FAQ);
    Refused(ResponseCode::TOPIC_NOT_EXIST, remark)
}

/// The flag of a half message without the property that makes it one would be stored, acknowledged, and never be seen by a
/// consumer.
fn refuse_unseen(flag: i32) -> Result<(), Refused> {
    let unseen = [sys_flag::TRANSACTION_PREPARED, sys_flag::TRANSACTION_ROLLBACK];
    if unseen.contains(&sys_flag::transaction(flag)) {
        let remark = "the broker sending transaction message is forbidden";
        return Err(Refused(ResponseCode::NO_PERMISSION, remark.into()));
    }
    Ok(())
}
