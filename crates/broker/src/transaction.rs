//! Transactions: half messages wait in `RMQ_SYS_TRANS_HALF_TOPIC`, unseen by consumers, until their producer ends them
//! (code 37), if need be after it was asked (code 39). Those that nobody ends although asked often enough go to
//! `TRANS_CHECK_MAX_TIME_TOPIC`, from where an operator can bring them back (code 323).
//! Source of the rules: `EndTransactionProcessor`, `TransactionalMessageServiceImpl`.

use crate::Broker;
use crate::compaction::KEPT_QUEUE;
use crate::effect::Effect;
use crate::halves::{Half, Stored};
use crate::input::ConnId;
use crate::lmq::is_lite;
use crate::moved::Origin;
use crate::pending::Pending;
use crate::produce::{Draft, Refused};
use crate::query::header_or_refuse;
use crate::state;
use bytes::{Bytes, BytesMut};
use kerolox_store::{Appended, NewMessage, QueueRead, QueueReadOutcome, QueueSlice};
use kerolox_wire::header::{CheckTransactionState, EndTransaction, ResumeCheckHalfMessage};
use kerolox_wire::message_id::MessageId;
use kerolox_wire::names;
use kerolox_wire::properties::{self, Properties, PropertiesBuf, name as property};
use kerolox_wire::record::{self, NewRecord, RecordView};
use kerolox_wire::{Command, RequestCode, ResponseCode, sys_flag};
use std::collections::BTreeSet;
use std::sync::Arc;

/// Half messages that are read for a check at a time.
const CHECKS_MAX: usize = 32;

/// The most that a half message's own time before its first check keeps the log from going: as long as Apache's defaults keep it.
const IMMUNE_MS_MAX: i64 = 72 * 3_600_000;

/// When which half message is due for a check.
#[derive(Default)]
pub(crate) struct Checks {
    due: BTreeSet<(i64, u64)>,
    /// Being read.
    reading: usize,
}

impl Checks {
    pub(crate) fn wake_ms(&self) -> Option<i64> {
        self.due.first().filter(|_| self.reading < CHECKS_MAX).map(|(at, _)| *at)
    }
}

/// Why a half message is read.
pub(crate) enum HalfRead {
    End { conn: ConnId, request: Command },
    Check,
    GiveUp,
}

impl Broker {
    /// When a half message's producer is to be asked.
    pub(crate) fn check_due_ms(&self, half: &Half) -> i64 {
        let wait_ms = match (half.checks, half.immunity_s) {
            (0, s @ 0..) => i64::from(s) * 1_000,
            (0, _) => self.config.transaction_timeout_ms,
            _ => self.config.transaction_check_interval_ms,
        };
        half.since_ms.saturating_add(wait_ms)
    }

    /// At a start: all that wait are due at their times. A clock that was set back does not make them wait longer.
    pub(crate) fn schedule_checks(&mut self, now_ms: i64) {
        let known = |half: Half| Half { since_ms: half.since_ms.min(now_ms), ..half };
        let due = self.state.halves.iter();
        let due = due.map(|(position, half)| (self.check_due_ms(&known(half)), position));
        self.checks.due = due.collect();
    }

    /// A message was appended: it may be a half message, or end one.
    pub(crate) fn note_appended(&mut self, message: &NewMessage<'_>, appended: &Appended) {
        if self.compaction.has(message.topic) {
            self.compacted_appended(message, appended);
        }
        self.stats.put(message.topic, appended.end - appended.position);
        if self.state.topics.get(message.topic).is_some_and(is_lite) {
            for (queue, _) in properties::further_queues(message.topic, Properties(message.properties)) {
                self.lite.stored(queue, Some(appended.store_ms));
            }
        }
        if message.topic == names::WHEEL_TIMER_TOPIC {
            let properties = Properties(message.properties);
            return self.timer_appended(properties, appended.queue_offset, appended.position);
        }
        if !Stored::matters(message.topic, message.sys_flag) {
            return;
        }
        let stored = &Stored {
            topic: message.topic,
            position: appended.position,
            queue_offset: appended.queue_offset,
            sys_flag: message.sys_flag,
            store_ms: appended.store_ms,
            prepared_transaction_offset: message.prepared_transaction_offset,
            properties: Properties(message.properties),
        };
        let begun = stored.topic == names::TRANS_HALF_TOPIC;
        if let Some(position) = self.state.halves.stored(stored)
            && begun
            && let Some(half) = self.state.halves.get(position)
        {
            self.checks.due.insert((self.check_due_ms(&half), position));
        }
    }

    /// Makes a half message of a message that is to be sent.
    pub(crate) fn prepare(&self, draft: &mut Draft) -> Result<(), Refused> {
        if self.config.reject_transactions {
            let ip = self.config.host.ip();
            let remark = format!("the broker[{ip}] sending transaction message is forbidden");
            return Err(Refused(ResponseCode::NO_PERMISSION, remark));
        }
        let id = draft.properties.as_properties().get(property::UNIQ_CLIENT_MESSAGE_ID_KEYIDX);
        if let Some(id) = id.map(str::to_owned) {
            draft.properties.set(property::TRANSACTION_ID, &id);
        }
        draft.wait_in(Arc::from(names::TRANS_HALF_TOPIC), 0);
        Ok(())
    }

    /// Code 37. Clients send it one-way, and again after a check if it got lost.
    pub(crate) fn end_transaction(
        &mut self,
        now_ms: i64,
        conn: ConnId,
        request: Command,
        out: &mut Vec<Effect>,
    ) {
        match self.admit_end(&request) {
            Ok(Some((position, half))) => {
                self.read_half(now_ms, position, half.offset, HalfRead::End { conn, request }, out);
            }
            Ok(None) => self.reply(conn, &request, request.respond(ResponseCode::SUCCESS), out),
            Err(Refused(code, remark)) => self.reply(conn, &request, request.refuse(code, remark), out),
        }
    }

    /// The half message that is to be ended; `None` where the producer does not know yet.
    fn admit_end(&self, request: &Command) -> Result<Option<(u64, Half)>, Refused> {
        let error = |remark: &str| Refused(ResponseCode::SYSTEM_ERROR, remark.to_owned());
        let header: EndTransaction<'_> = request.header()?;
        if ![sys_flag::TRANSACTION_COMMIT, sys_flag::TRANSACTION_ROLLBACK]
            .contains(&header.commit_or_rollback)
        {
            return Ok(None);
        }
        self.refuse_if_draining()?;
        let position = u64::try_from(header.commit_log_offset).ok();
        let found = position.and_then(|position| Some((position, self.state.halves.get(position)?)));
        let Some((position, half)) = found else {
            return Err(error("Find prepared transaction message failed"));
        };
        if i64::try_from(half.offset) != Ok(header.tran_state_table_offset) {
            return Err(error("The transaction state table offset wrong"));
        }
        Ok(Some((position, half)))
    }

    fn read_half(&mut self, now_ms: i64, position: u64, offset: u64, why: HalfRead, out: &mut Vec<Effect>) {
        let read = QueueRead::one(Arc::from(names::TRANS_HALF_TOPIC), 0, offset);
        match self.store.read_queue(read) {
            QueueReadOutcome::Done(slice) => self.half_read(now_ms, position, why, &slice, out),
            QueueReadOutcome::Cold(plan) => self.start_read(plan, Pending::Half { position, why }, out),
        }
    }

    pub(crate) fn half_read(
        &mut self,
        now_ms: i64,
        position: u64,
        why: HalfRead,
        slice: &QueueSlice,
        out: &mut Vec<Effect>,
    ) {
        self.counters.damaged += slice.damaged.len() as u64;
        let view = record::split(&slice.records).next().and_then(Result::ok);
        let view = view.filter(|view| view.position == position);
        match why {
            HalfRead::End { conn, request } => self.end_half(now_ms, conn, &request, position, view, out),
            HalfRead::GiveUp => {
                if let Some((view, half)) = view.zip(self.state.halves.get(position)) {
                    self.give_up_half(now_ms, position, &half, &view);
                } else {
                    self.forget_half(position);
                }
            }
            HalfRead::Check => {
                self.checks.reading = self.checks.reading.saturating_sub(1);
                self.check_half(now_ms, position, view, out);
            }
        }
    }

    /// A half message could not be read.
    pub(crate) fn check_unread(&mut self, now_ms: i64, position: u64) {
        self.checks.reading = self.checks.reading.saturating_sub(1);
        self.check_later(now_ms, position);
    }

    fn check_later(&mut self, now_ms: i64, position: u64) {
        self.checks.due.insert((now_ms + self.config.transaction_check_interval_ms, position));
    }

    fn end_half(
        &mut self,
        now_ms: i64,
        conn: ConnId,
        request: &Command,
        position: u64,
        view: Option<RecordView<'_>>,
        out: &mut Vec<Effect>,
    ) {
        let header: EndTransaction<'_> = header_or_refuse!(self, conn, request, out);
        let ended = self.may_end(now_ms, &header, position, view).and_then(|view| {
            if header.commit_or_rollback == sys_flag::TRANSACTION_COMMIT {
                return self.commit(now_ms, position, &view).map(Some);
            }
            self.forget_half(position);
            Ok(None)
        });
        let answer = request.respond(ResponseCode::SUCCESS);
        match ended {
            Ok(_) if request.is_oneway() => {}
            Ok(Some(end)) => self.acks.wait(end, conn, answer),
            Ok(None) => self.acks.wait_for_state(conn, answer),
            Err(Refused(code, remark)) => self.reply(conn, request, request.refuse(code, remark), out),
        }
    }

    /// Whether a producer may end this half message (still).
    fn may_end<'a>(
        &self,
        now_ms: i64,
        header: &EndTransaction<'_>,
        position: u64,
        view: Option<RecordView<'a>>,
    ) -> Result<RecordView<'a>, Refused> {
        let error = |remark: &str| Refused(ResponseCode::SYSTEM_ERROR, remark.to_owned());
        // It may have been ended while it was read.
        let half = self.state.halves.get(position);
        let Some((view, half)) = view.zip(half) else {
            return Err(error("Find prepared transaction message failed"));
        };
        if view.properties().get(property::PRODUCER_GROUP) != Some(header.producer_group) {
            return Err(error("The producer group wrong"));
        }
        let immune_ms = i64::from(half.immunity_s) * 1_000;
        let late = half.immunity_s >= 0 && now_ms.saturating_sub(view.born_ms) > immune_ms;
        if late && header.from_transaction_check != Some(true) {
            let remark = "the time that the producer set for itself is over: the transaction ends by a check";
            return Err(Refused(ResponseCode::ILLEGAL_OPERATION, remark.to_owned()));
        }
        Ok(view)
    }

    pub(crate) fn commit(
        &mut self,
        now_ms: i64,
        position: u64,
        view: &RecordView<'_>,
    ) -> Result<u64, Refused> {
        let mut draft = real_draft(view).ok_or_else(|| {
            Refused(ResponseCode::SYSTEM_ERROR, "Find prepared transaction message failed".to_owned())
        })?;
        draft.properties.remove(property::TRANSACTION_PREPARED);
        self.redirect_waiting(now_ms, &mut draft)?;
        let flag = view.sys_flag & !sys_flag::TRANSACTION_MASK | sys_flag::TRANSACTION_COMMIT;
        let half = self.state.halves.get(position);
        let appended = self.append_again(now_ms, view, &draft, |message| {
            message.sys_flag = flag;
            message.prepared_transaction_offset = position as i64;
        });
        let end = appended.map_err(|e| self.refused(&e))?;
        self.unschedule_check(position, half);
        if !self.changes.is_empty() {
            // That it was asked about may be among them, and comes behind its end in the log.
            state::put_half_end(&mut self.changes, position);
        }
        Ok(end)
    }

    fn forget_half(&mut self, position: u64) {
        self.unschedule_check(position, self.state.halves.get(position));
        self.state.halves.remove(position);
        state::put_half_end(&mut self.changes, position);
    }

    #[cfg(test)]
    pub(crate) fn checks_scheduled(&self) -> usize {
        self.checks.due.len()
    }

    /// One that ends: its producer chose when it is due, and that may be far away.
    fn unschedule_check(&mut self, position: u64, half: Option<Half>) {
        if let Some(half) = half {
            self.checks.due.remove(&(self.check_due_ms(&half), position));
        }
    }

    /// Asks the producers of what is due.
    pub(crate) fn tick_transactions(&mut self, now_ms: i64, out: &mut Vec<Effect>) {
        if self.draining {
            return;
        }
        while self.checks.wake_ms().is_some_and(|at| at <= now_ms)
            && let Some((_, position)) = self.checks.due.pop_first()
        {
            // Those that ended meanwhile are not pending any more.
            if let Some(half) = self.state.halves.get(position) {
                self.checks.reading += 1;
                self.read_half(now_ms, position, half.offset, HalfRead::Check, out);
            }
        }
    }

    fn check_half(
        &mut self,
        now_ms: i64,
        position: u64,
        view: Option<RecordView<'_>>,
        out: &mut Vec<Effect>,
    ) {
        let Some(half) = self.state.halves.get(position) else { return };
        // Damaged: nobody could be told what to decide on.
        let Some(view) = view else { return self.check_later(now_ms, position) };
        if half.checks >= self.config.transaction_check_max {
            return self.give_up_half(now_ms, position, &half, &view);
        }
        let group = view.properties().get(property::PRODUCER_GROUP).unwrap_or_default();
        let Some(conn) = self.clients.any_producer(group, u64::from(half.checks) + position) else {
            // Nobody was asked: it does not count.
            return self.check_later(now_ms, position);
        };
        let Some(command) = self.check_request(&half, &view) else {
            return self.check_later(now_ms, position);
        };
        out.push(Effect::Send { conn, command });
        let half = Half { since_ms: now_ms, checks: half.checks + 1, ..half };
        self.state.halves.put(position, half);
        state::put_half(&mut self.changes, position, &half);
        self.checks.due.insert((self.check_due_ms(&half), position));
    }

    /// The question to a producer, with the message as it would be delivered.
    fn check_request(&self, half: &Half, view: &RecordView<'_>) -> Option<Command> {
        let id = view.properties().get(property::UNIQ_CLIENT_MESSAGE_ID_KEYIDX);
        let offset_id = view.message_id().to_string();
        let header = CheckTransactionState {
            topic: Some(view.topic),
            tran_state_table_offset: half.offset as i64,
            commit_log_offset: view.position as i64,
            msg_id: id,
            transaction_id: id,
            offset_msg_id: Some(&offset_id),
            broker_name: Some(&self.config.name),
            ..Default::default()
        };
        let (topic, queue_id) = real_target(view)?;
        let mut properties = PropertiesBuf::from(view.properties().0);
        properties.set(property::TRANSACTION_CHECK_TIMES, &(half.checks + 1).to_string());
        let record = NewRecord { topic, queue_id, properties: properties.as_bytes(), ..view.into() };
        let mut body = BytesMut::new();
        record.encode(&mut body).ok()?;
        let mut plain = BytesMut::new();
        record::strip_crc(&body, &mut plain).ok()?;
        let command = Command::request(RequestCode::CHECK_TRANSACTION_STATE).with_header(&header);
        Some(command.with_body(plain.freeze()).oneway())
    }

    /// Asked often enough: set apart, where it can be seen and brought back from.
    fn give_up_half(&mut self, now_ms: i64, position: u64, half: &Half, view: &RecordView<'_>) {
        let mut properties = PropertiesBuf::from(view.properties().0);
        properties.set(property::TRANSACTION_CHECK_TIMES, &half.checks.to_string());
        let topic = self.ensure_topic(now_ms, names::TRANS_CHECK_MAX_TIME_TOPIC.to_owned(), 1);
        let appended = topic.and_then(|topic| {
            let draft = Draft { topic, queue_id: 0, properties };
            self.append_moved(true, now_ms, view, &draft, |copy| Origin::Half(position).name_in(copy))
        });
        match appended {
            Ok(_) => self.forget_half(position),
            // The log refuses for the moment.
            Err(_) => self.check_later(now_ms, position),
        }
    }

    /// Half messages below `position` are given up, for the segment they lie in is to go; but not before their producers had the time
    /// that checks give them.
    pub(crate) fn give_up_halves(&mut self, now_ms: i64, below: u64, out: &mut Vec<Effect>) {
        let config = &self.config;
        let checks_ms =
            config.transaction_check_interval_ms.saturating_mul(i64::from(config.transaction_check_max));
        let is_over = |half: &Half| {
            let asked_from_ms = self.check_due_ms(half).min(half.since_ms.saturating_add(IMMUNE_MS_MAX));
            half.checks >= config.transaction_check_max || now_ms.saturating_sub(asked_from_ms) >= checks_ms
        };
        let old = self.state.halves.iter().take_while(|(position, _)| *position < below);
        let old = old.filter(|(_, half)| is_over(half));
        let old: Vec<(u64, Half)> = old.take(CHECKS_MAX).collect();
        for (position, half) in old {
            self.read_half(now_ms, position, half.offset, HalfRead::GiveUp, out);
        }
    }

    /// Code 323: a half message that was given up is to be asked about again.
    pub(crate) fn resume_half(&mut self, conn: ConnId, request: Command, out: &mut Vec<Effect>) {
        let header: Result<ResumeCheckHalfMessage<'_>, _> = request.header();
        let id = header.ok().and_then(|header| header.msg_id.parse::<MessageId>().ok());
        match id {
            Some(id) => {
                let plan = self.store.plan_records(vec![id.position]);
                self.start_read(plan, Pending::Resume { conn, request }, out);
            }
            None => {
                let remark = "Exception was thrown when putting message back to RMQ_SYS_TRANS_HALF_TOPIC.";
                self.reply(conn, &request, request.refuse(ResponseCode::SYSTEM_ERROR, remark), out);
            }
        }
    }

    pub(crate) fn resume_read(
        &mut self,
        now_ms: i64,
        conn: ConnId,
        request: &Command,
        found: Option<&Bytes>,
        out: &mut Vec<Effect>,
    ) {
        let given_up = |view: &RecordView<'_>| view.topic == names::TRANS_CHECK_MAX_TIME_TOPIC;
        let view = found.and_then(|bytes| RecordView::parse(bytes).ok()).filter(given_up);
        let appended = view.ok_or_else(|| "no half message was given up there".to_owned()).and_then(|view| {
            let mut properties = PropertiesBuf::from(view.properties().0);
            properties.set(property::TRANSACTION_CHECK_TIMES, "0");
            let draft = Draft { topic: Arc::from(names::TRANS_HALF_TOPIC), queue_id: 0, properties };
            self.append_again(now_ms, &view, &draft, |_| {}).map_err(|e| e.to_string())
        });
        match appended {
            Ok(_) if request.is_oneway() => {}
            Ok(end) => self.acks.wait(end, conn, request.respond(ResponseCode::SUCCESS)),
            Err(why) => {
                let remark = format!("Put message back to RMQ_SYS_TRANS_HALF_TOPIC failed. {why}");
                self.reply(conn, request, request.refuse(ResponseCode::SYSTEM_ERROR, remark), out);
            }
        }
    }
}

/// The topic and queue that a waiting message is meant for; none where no message that was sent could be meant for it (its log may
/// be of an Apache that let clients send into its timer topic).
pub(crate) fn real_target<'a>(view: &RecordView<'a>) -> Option<(&'a str, u32)> {
    let real = |name| view.properties().get(name);
    let (topic, queue_id) = (real(property::REAL_TOPIC)?, real(property::REAL_QUEUE_ID)?.parse().ok()?);
    let can_be = !names::is_send_forbidden(topic) && !is_own(topic) && queue_id < KEPT_QUEUE;
    can_be.then_some((topic, queue_id))
}

/// Topics that only the broker itself writes to. (Apache takes what clients send to its timer topic, and delivers it to whatever topic it
/// names.)
pub(crate) fn is_own(topic: &str) -> bool {
    [kerolox_store::STATE_TOPIC, names::WHEEL_TIMER_TOPIC].contains(&topic)
}

/// The message for the topic and queue that a waiting one is meant for.
pub(crate) fn real_draft(view: &RecordView<'_>) -> Option<Draft> {
    let (topic, queue_id) = real_target(view)?;
    let mut properties = PropertiesBuf::from(view.properties().0);
    properties.remove(property::REAL_TOPIC);
    properties.remove(property::REAL_QUEUE_ID);
    Some(Draft { topic: Arc::from(topic), queue_id, properties })
}
