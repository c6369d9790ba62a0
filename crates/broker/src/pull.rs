//! Pulling messages (codes 11 and 361), with long polling.

use crate::Broker;
use crate::config::perm;
use crate::effect::Effect;
use crate::groups::Groups;
use crate::input::ConnId;
use crate::lmq::is_lite;
use crate::parked::Waits;
use crate::pending::Pending;
use crate::produce::Refused;
use crate::query::header_or_refuse;
use crate::resets::Pulled;
use crate::state;
use crate::subscription::{self, Unfit, Wanted};
use kerolox_store::{Bounds, QueueRead, QueueReadOutcome, QueueSlice};
use kerolox_wire::body::ConsumeType;
use kerolox_wire::header::{PullMessage, PullMessageResponse};
use kerolox_wire::names;
use kerolox_wire::sys_flag::pull as pull_flag;
use kerolox_wire::{Command, RequestCode, ResponseCode};
use std::collections::BTreeSet;
use std::sync::Arc;

/// Bytes of messages in one answer: Apache's `MAX_PULL_MSG_SIZE` is 128 MiB, its transfer limit for messages in
/// memory 256 KiB per 32 messages.
const PULL_BYTES_MAX: u32 = 256 * 1024;
/// Queue entries looked at for one answer: Apache's `maxFilterMessageSize` of 16,000 bytes is 800 entries.
const PULL_SCAN_MAX: u32 = 800;
/// Messages in one answer, whatever the client asks for.
const PULL_COUNT_MAX: u32 = 4_096;
/// Longest time that a pull is held.
const HOLD_MS_MAX: i64 = 120_000;

/// Why a pull was refused, for the client's log. Source: Apache's `ForbiddenType`.
mod forbidden {
    pub(super) const BROKER: i32 = 1;
    pub(super) const GROUP: i32 = 2;
    pub(super) const TOPIC: i32 = 3;
    pub(super) const BROADCASTING: i32 = 4;
    pub(super) const SUBSCRIPTION: i32 = 5;
}

/// An admitted pull.
#[derive(Clone)]
pub(crate) struct PullRequest {
    pub(crate) conn: ConnId,
    /// The empty response that the answer is made from: carries opaque and encoding.
    pub(crate) response: Command,
    pub(crate) group: Arc<str>,
    pub(crate) topic: Arc<str>,
    pub(crate) queue_id: u32,
    /// As asked for; may be negative.
    offset: i64,
    pub(crate) count_max: u32,
    pub(crate) bytes_max: u32,
    pub(crate) filter: Wanted,
    /// Bytes of the expression that `filter` was made from, if it is this pull's own.
    pub(crate) filter_bytes: usize,
    topic_sys_flag: i32,
    group_sys_flag: i32,
    suggest_broker_id: i64,
    /// When the answer "nothing" is due; no holding if that has passed.
    pub(crate) hold_until_ms: i64,
}

impl PullRequest {
    /// Group, topic and queue.
    fn queue(&self) -> (&str, &str, u32) {
        (&self.group, &self.topic, self.queue_id)
    }

    /// Whether it is filtered by what its group subscribes to.
    pub(crate) fn has_groups_filter(&self) -> bool {
        self.filter.is_some() && self.filter_bytes == 0
    }

    pub(crate) fn wants(&self, tag_code: i64) -> bool {
        self.filter.as_ref().is_none_or(|filter| filter.tag(tag_code))
    }
}

impl Waits for PullRequest {
    fn conn(&self) -> ConnId {
        self.conn
    }

    fn until_ms(&self) -> i64 {
        self.hold_until_ms
    }

    fn filter_bytes(&self) -> usize {
        self.filter_bytes
    }
}

#[cfg(test)]
impl PullRequest {
    /// One that waits for the next message of a queue.
    pub(crate) fn waiting(conn: ConnId, topic: &Arc<str>, filter: Wanted) -> Self {
        Self {
            conn,
            response: Command::request(0),
            group: Arc::from("g"),
            topic: Arc::clone(topic),
            queue_id: 0,
            offset: 0,
            count_max: 1,
            bytes_max: 1,
            filter,
            filter_bytes: 0,
            topic_sys_flag: 0,
            group_sys_flag: 0,
            suggest_broker_id: 0,
            hold_until_ms: 1,
        }
    }
}

/// A refusal: code, remark, and why by Apache's numbering.
struct Refusal(ResponseCode, String, Option<i32>);

impl Broker {
    pub(crate) fn pull(&mut self, now_ms: i64, conn: ConnId, request: &Command, out: &mut Vec<Effect>) {
        let header: PullMessage<'_> = header_or_refuse!(self, conn, request, out);
        if self.state.groups.get(header.consumer_group).is_none() {
            self.auto_create_group(header.consumer_group);
        }
        match self.admit_pull(now_ms, conn, request, &header) {
            Ok(pull) => {
                let commits = header.sys_flag & pull_flag::COMMIT_OFFSET != 0 && header.commit_offset >= 0;
                if commits {
                    self.commit_lazily(now_ms, &pull, header.commit_offset as u64);
                }
                self.serve_pull(now_ms, pull, out);
            }
            Err(Refusal(code, remark, forbidden_type)) => {
                let mut answer = request.refuse(code, remark);
                if let Some(forbidden_type) = forbidden_type {
                    answer.fields.push("forbiddenType", &forbidden_type.to_string());
                }
                self.reply(conn, request, answer, out);
            }
        }
    }

    /// Takes the offset that came with a pull.
    fn commit_lazily(&mut self, now_ms: i64, pull: &PullRequest, offset: u64) {
        let queue @ (group, topic, queue_id) = pull.queue();
        if self.offset_room(group, topic, queue_id).is_ok()
            && !self.state.resets.outdates(now_ms, queue, offset)
        {
            // What ends popped messages must not come behind later pops in the log.
            if self.state.in_flight.get(group, topic, queue_id).is_none() {
                self.state.commit_lazily(now_ms, group, topic, queue_id, offset);
            } else if self.refuse_if_changes_wait().is_ok() {
                self.commit_offset(now_ms, queue, offset);
            }
        }
    }

    /// Where a pull is to go on instead, because an administrator said so.
    fn take_reset(&mut self, now_ms: i64, pull: &PullRequest) -> Option<u64> {
        match self.state.resets.pulled(now_ms, pull.conn, pull.queue(), pull.offset) {
            Pulled::Free => None,
            Pulled::Done => {
                state::put_reset_done(&mut self.changes, pull.queue());
                None
            }
            Pulled::Moved(to) => Some(to),
        }
    }

    fn admit_pull(
        &self,
        now_ms: i64,
        conn: ConnId,
        request: &Command,
        header: &PullMessage<'_>,
    ) -> Result<PullRequest, Refusal> {
        let host = self.config.host.ip();
        if !perm::readable(self.config.permission) {
            let remark = format!("the broker[{host}] pulling message is forbidden");
            return Err(Refusal(ResponseCode::NO_PERMISSION, remark, Some(forbidden::BROKER)));
        }
        if request.code == i32::from(RequestCode::LITE_PULL_MESSAGE) && !self.config.lite_pull {
            let remark = format!("the broker[{host}] for lite pull consumer is forbidden");
            return Err(Refusal(ResponseCode::NO_PERMISSION, remark, Some(forbidden::BROKER)));
        }
        let group = header.consumer_group;
        let own = self.lmq_group(group);
        let known = own.as_ref().map(|(name, config)| (name, config));
        let known = known.or_else(|| self.state.groups.get_shared(group)).filter(|_| !group.is_empty());
        let Some((group, group_config)) = known else {
            let remark = format!("subscription group [{group}] does not exist, {}", crate::FAQ);
            return Err(Refusal(ResponseCode::SUBSCRIPTION_GROUP_NOT_EXIST, remark, None));
        };
        if !group_config.consume_enable {
            let remark = format!("subscription group no permission, {group}");
            return Err(Refusal(ResponseCode::NO_PERMISSION, remark, Some(forbidden::GROUP)));
        }
        let own = self.lmq_config(header.topic);
        let known = own.as_ref().map(|(name, config)| (name, config));
        let Some((topic, topic_config)) = known.or_else(|| self.state.topics.get_shared(header.topic)) else {
            let remark = no_such_topic(header.topic);
            return Err(Refusal(ResponseCode::TOPIC_NOT_EXIST, remark, None));
        };
        if !perm::readable(topic_config.perm) {
            let remark = format!("the topic[{topic}] pulling message is forbidden");
            return Err(Refusal(ResponseCode::NO_PERMISSION, remark, Some(forbidden::TOPIC)));
        }
        if header.queue_id < 0 || header.queue_id >= topic_config.read_queue_nums {
            let remark = self.no_such_queue(conn, topic, header.queue_id, topic_config.read_queue_nums);
            return Err(Refusal(ResponseCode::INVALID_PARAMETER, remark, None));
        }
        let joined = self.clients.consumer_group(group);
        let served = joined
            .is_some_and(|g| g.consume_type != Some(ConsumeType::Actively) || g.members.contains_key(&conn));
        if self.config.reject_pull_consumers && !served && !Groups::is_system(group) {
            let remark = format!(
                "the consumer's group info not exist, or the pull consumer is rejected by server.{}",
                crate::FAQ
            );
            return Err(Refusal(ResponseCode::SUBSCRIPTION_NOT_EXIST, remark, None));
        }
        let filter = self.pull_filter(header, group_config.consume_broadcast_enable)?;
        let own_subscription = header.sys_flag & pull_flag::SUBSCRIPTION != 0;
        let hold_ms = match header.sys_flag & pull_flag::SUSPEND != 0 {
            true if self.config.long_polling => header.suspend_timeout_millis.clamp(0, HOLD_MS_MAX),
            true => self.config.short_polling_ms,
            false => -1,
        };
        let topic = match header.lite_topic.filter(|lite| !lite.trim().is_empty()) {
            Some(lite) => {
                let illegal = |remark| Refusal(ResponseCode::INVALID_PARAMETER, remark, None);
                names::check_lite_topic(lite).map_err(|e| illegal(e.to_string()))?;
                if !is_lite(topic_config) {
                    return Err(illegal(format!(
                        "topic[{topic}] has no lite topics: its message.type is not LITE"
                    )));
                }
                Arc::from(names::lite_queue(topic, lite))
            }
            None => Arc::clone(topic),
        };
        Ok(PullRequest {
            conn,
            response: request.respond(ResponseCode::SUCCESS),
            group: Arc::clone(group),
            topic,
            queue_id: header.queue_id as u32,
            offset: header.queue_offset,
            count_max: (header.max_msg_nums.max(1) as u32).min(PULL_COUNT_MAX),
            bytes_max: header.max_msg_bytes.map_or(PULL_BYTES_MAX, |n| (n.max(1) as u32).min(PULL_BYTES_MAX)),
            filter,
            filter_bytes: header.subscription.filter(|_| own_subscription).map_or(0, str::len),
            topic_sys_flag: topic_config.topic_sys_flag,
            group_sys_flag: group_config.group_sys_flag,
            suggest_broker_id: group_config.broker_id,
            hold_until_ms: now_ms + hold_ms,
        })
    }

    /// The same for a queue that the topic does not have.
    pub(crate) fn no_such_queue(&self, conn: ConnId, topic: &str, queue_id: i32, queues: i32) -> String {
        let peer = self.peer_text(conn);
        format!(
            "queueId[{queue_id}] is illegal, topic:[{topic}] topicConfig.readQueueNums:[{queues}] consumer:[{peer}]"
        )
    }

    /// The filter of the subscription that the pull carries, or of the one that the group's heartbeats announced.
    fn pull_filter(&self, header: &PullMessage<'_>, broadcast_enable: bool) -> Result<Wanted, Refusal> {
        let refuse = |code, remark: String| Refusal(code, remark, None);
        let unfit = |unfit: &Unfit| refuse(unfit.code(), unfit.remark());
        if header.sys_flag & pull_flag::SUBSCRIPTION != 0 {
            let sql92 = self.config.sql92;
            let filter = subscription::filter(sql92, header.expression_type, header.subscription);
            return filter.map_err(|e| unfit(&e));
        }
        if self.state.is_read_forbidden(header.consumer_group, header.topic) {
            let (group, topic) = (header.consumer_group, header.topic);
            let remark = format!("the consumer group[{group}] is forbidden for topic[{topic}]");
            return Err(Refusal(ResponseCode::NO_PERMISSION, remark, Some(forbidden::SUBSCRIPTION)));
        }
        let missing = |what: &str| {
            refuse(
                ResponseCode::SUBSCRIPTION_NOT_EXIST,
                format!("the consumer's {what} not exist{}", crate::FAQ),
            )
        };
        // A client whose heartbeat is still to come, for up to 30 s after a restart of the broker, goes on at once:
        // unfiltered is right too, since clients check tags themselves. (Apache refuses until the heartbeat came.)
        let known_to_client = header.expression_type == Some("TAG") && header.sub_version > 0;
        let Some(group) = self.clients.consumer_group(header.consumer_group) else {
            return if known_to_client { Ok(None) } else { Err(missing("group info")) };
        };
        if !broadcast_enable && group.is_broadcasting() {
            let remark =
                format!("the consumer group[{}] can not consume by broadcast way", header.consumer_group);
            return Err(Refusal(ResponseCode::NO_PERMISSION, remark, Some(forbidden::BROADCASTING)));
        }
        let Some(known) = group.subscriptions.get(header.topic) else {
            return if known_to_client { Ok(None) } else { Err(missing("subscription")) };
        };
        let by_tag = subscription::is_tag(Some(&known.data.expression_type));
        if known.data.sub_version < header.sub_version {
            // The heartbeat with the newer subscription is late or lost: unfiltered for the same reason, where Apache
            // refuses (SUBSCRIPTION_NOT_LATEST).
            if by_tag {
                return Ok(None);
            }
            let remark = "the consumer's consumer filter data not latest";
            return Err(refuse(ResponseCode::FILTER_DATA_NOT_LATEST, remark.to_owned()));
        }
        known.filter.clone().map_err(|e| match e {
            Unfit::Malformed(why) => {
                let remark = "The broker's consumer filter data is not exist!Your expression may be wrong!";
                refuse(ResponseCode::FILTER_DATA_NOT_EXIST, format!("{remark} {why}"))
            }
            e => unfit(&e),
        })
    }

    /// Answers a pull from memory, parks it, or has it read from disk.
    pub(crate) fn serve_pull(&mut self, now_ms: i64, pull: PullRequest, out: &mut Vec<Effect>) {
        let bounds = self.bounds(&pull.topic, pull.queue_id);
        if let Some(to) = self.take_reset(now_ms, &pull) {
            return self.pull_moved(&pull, "OFFSET_RESET", to, bounds, out);
        }
        if bounds.max == 0 && pull.offset != 0 {
            return self.pull_moved(&pull, "NO_MESSAGE_IN_QUEUE", 0, bounds, out);
        }
        // In a compaction topic the first offset moves with each message that takes the place of an older one.
        let fits = |from: &u64| *from >= bounds.min || self.compaction.has(&pull.topic);
        let Some(from) = u64::try_from(pull.offset).ok().filter(fits) else {
            return self.pull_moved(&pull, "OFFSET_TOO_SMALL", bounds.min, bounds, out);
        };
        if from > bounds.max {
            return self.pull_moved(&pull, "OFFSET_OVERFLOW_BADLY", bounds.max, bounds, out);
        }
        if from == bounds.max {
            return self.hold_pull(now_ms, pull, bounds, out);
        }
        let Some(pull) = self.pull_compacted(pull, from, out) else { return };
        let read = QueueRead {
            topic: Arc::clone(&pull.topic),
            queue_id: pull.queue_id,
            from,
            count_max: pull.count_max,
            bytes_max: pull.bytes_max,
            scan_max: PULL_SCAN_MAX.max(pull.count_max),
            filter: pull.filter.clone(),
        };
        match self.store.read_queue(read) {
            QueueReadOutcome::Done(slice) => self.pull_read(pull, slice, out),
            QueueReadOutcome::Cold(plan) => self.start_read(plan, Pending::Pull(pull), out),
        }
    }

    pub(crate) fn pull_read_from_disk(
        &mut self,
        now_ms: i64,
        pull: PullRequest,
        slice: QueueSlice,
        out: &mut Vec<Effect>,
    ) {
        let from = u64::try_from(pull.offset).unwrap_or(0);
        match self.was_overtaken(&pull.topic, pull.queue_id, from, slice.next_offset) {
            true => self.serve_pull(now_ms, pull, out),
            false => self.pull_read(pull, slice, out),
        }
    }

    /// The messages for a pull were read.
    pub(crate) fn pull_read(&mut self, pull: PullRequest, slice: QueueSlice, out: &mut Vec<Effect>) {
        if self.was_refiltered(&pull) {
            return self.pull_again(&pull, out);
        }
        let bounds = self.bounds(&pull.topic, pull.queue_id);
        let found = slice.count > 0;
        self.counters.pulled += u64::from(slice.count);
        self.count_pulled(&pull, &slice);
        self.counters.damaged += slice.damaged.len() as u64;
        let (code, remark) = match found {
            true => (ResponseCode::SUCCESS, "FOUND"),
            false => (ResponseCode::PULL_RETRY_IMMEDIATELY, "NO_MATCHED_MESSAGE"),
        };
        let answer = pull_answer(&pull, code, remark, slice.next_offset, bounds).with_body(slice.records);
        out.push(Effect::Send { conn: pull.conn, command: answer });
    }

    fn count_pulled(&mut self, pull: &PullRequest, slice: &QueueSlice) {
        // The topic may have been deleted while its messages were read: its counters stay gone.
        if self.state.topics.get(&pull.topic).is_none() {
            return;
        }
        match slice.count {
            0 => self.stats.missed(),
            count => {
                self.stats.got(&pull.topic, &pull.group, u64::from(count), slice.records.len() as u64);
            }
        }
        self.note_pulled(pull, slice.next_offset);
    }

    /// Where the group will go on, as `GET_CONSUME_STATS` tells.
    fn note_pulled(&mut self, pull: &PullRequest, next: u64) {
        let (topic, queue_id) = (&pull.topic, pull.queue_id);
        if self.state.topics.get(topic).is_some() || self.store.bounds(topic, queue_id).is_some() {
            self.stats.pulled(topic, &pull.group, queue_id, next);
        }
    }

    fn pull_moved(
        &mut self,
        pull: &PullRequest,
        status: &str,
        to: u64,
        bounds: Bounds,
        out: &mut Vec<Effect>,
    ) {
        self.stats.missed();
        self.note_pulled(pull, to);
        let answer = pull_answer(pull, ResponseCode::PULL_OFFSET_MOVED, status, to, bounds);
        out.push(Effect::Send { conn: pull.conn, command: answer });
    }

    /// Subscriptions of these groups were replaced: whoever waits by the old ones asks again.
    pub(crate) fn release_refiltered(&mut self, groups: &BTreeSet<&str>, out: &mut Vec<Effect>) {
        if groups.is_empty() {
            return;
        }
        for id in self.holds.by_subscriptions_of(groups) {
            if let Some(pull) = self.holds.take(id) {
                self.pull_again(&pull, out);
            }
        }
    }

    /// Whether the subscription that a pull was admitted by is another one now: the old one would pass over what only the new one wants.
    fn was_refiltered(&self, pull: &PullRequest) -> bool {
        let known = self.clients.consumer_group(&pull.group).and_then(|g| g.subscriptions.get(&*pull.topic));
        pull.has_groups_filter()
            && known.is_some_and(|known| match (&known.filter, &pull.filter) {
                (Ok(Some(now)), Some(then)) => !std::ptr::addr_eq(Arc::as_ptr(now), Arc::as_ptr(then)),
                _ => true,
            })
    }

    fn pull_again(&mut self, pull: &PullRequest, out: &mut Vec<Effect>) {
        let bounds = self.bounds(&pull.topic, pull.queue_id);
        let from = u64::try_from(pull.offset).unwrap_or(0);
        let code = ResponseCode::PULL_RETRY_IMMEDIATELY;
        let command = pull_answer(pull, code, "SUBSCRIPTION_CHANGED", from, bounds);
        out.push(Effect::Send { conn: pull.conn, command });
    }

    fn hold_pull(&mut self, now_ms: i64, pull: PullRequest, bounds: Bounds, out: &mut Vec<Effect>) {
        self.stats.missed();
        self.note_pulled(&pull, bounds.max);
        if let Err(Refused(code, remark)) = self.refuse_if_draining() {
            let command = pull.response.refuse_instead(code, remark);
            return out.push(Effect::Send { conn: pull.conn, command });
        }
        let room = self.holds.has_room(&pull, &self.config.limits);
        if pull.hold_until_ms > now_ms && room {
            return self.holds.park(pull);
        }
        let status = if bounds.max == 0 { "NO_MESSAGE_IN_QUEUE" } else { "OFFSET_OVERFLOW_ONE" };
        let answer = pull_answer(&pull, ResponseCode::PULL_NOT_FOUND, status, bounds.max, bounds);
        out.push(Effect::Send { conn: pull.conn, command: answer });
    }
}

/// What one who consumes from a topic that is not there is told.
pub(crate) fn no_such_topic(topic: &str) -> String {
    format!("topic[{topic}] not exist, apply first please! {}", crate::FAQ)
}

fn pull_answer(pull: &PullRequest, code: ResponseCode, status: &str, next: u64, bounds: Bounds) -> Command {
    let header = PullMessageResponse {
        suggest_which_broker_id: pull.suggest_broker_id,
        next_begin_offset: next as i64,
        min_offset: bounds.min as i64,
        max_offset: bounds.max as i64,
        topic_sys_flag: Some(pull.topic_sys_flag),
        group_sys_flag: Some(pull.group_sys_flag),
        ..Default::default()
    };
    Command { code: code.into(), ..pull.response.clone() }.with_remark(status).with_header(&header)
}
