//! Popping messages (codes 200050, 200052, 200054, 200055): the broker says which messages a client gets, and each is
//! acknowledged by itself. What is popped and not acknowledged in time comes again: see [`revive`].
//!
//! A pop visits the queues of its topic and of the retry topic that belongs to topic and group, reads from each what the
//! group has not popped yet, and at the end takes all of it with one entry of the state per queue; the answer leaves when
//! these are as safe as the flush policy says. While it waits for a read from disk, other pops pass its queues by.
//! Source of the rules: `PopMessageProcessor`, `ConsumerOrderInfoManager`, `NotificationProcessor`, `PeekMessageProcessor`.

mod ack;
mod flight;
mod revive;
mod wait;

pub(crate) use flight::{InFlight, Key, Take};

use crate::Broker;
use crate::config::perm;
use crate::effect::Effect;
use crate::input::ConnId;
use crate::parked::Waits;
use crate::pending::Pending;
use crate::produce::Refused;
use crate::resets::Pulled;
use crate::state;
use crate::subscription::{self, Wanted};
use bytes::{Bytes, BytesMut};
use kerolox_store::{Bounds, QueueRead, QueueReadOutcome, QueueSlice};
use kerolox_wire::header::{
    Notification, NotificationResponse, PeekMessage, PollingInfo, PollingInfoResponse, PopMessage,
    PopMessageResponse,
};
use kerolox_wire::names::RETRY_PREFIX;
use kerolox_wire::properties::{PropertiesBuf, name as property};
use kerolox_wire::receipt::{self, Kind, QueueTexts, Receipt};
use kerolox_wire::record::{self, NewRecord, RecordView};
use kerolox_wire::{Command, ResponseCode};
use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use wait::{News, PopWaits, Touched};

/// Messages of one pop at most, as Apache's.
const COUNT_MAX: i32 = 32;
/// Bytes of messages in one answer (or one message that is larger), as of a pull.
const BYTES_MAX: usize = 256 << 10;
/// Queue entries looked at in one read, and reads of one queue that find nothing that is wanted before others have
/// their turn.
const SCAN_MAX: u32 = 800;
const SCANS_MAX: u32 = 64;
/// Longest that a pop is held, and that messages are invisible.
const HOLD_MS_MAX: i64 = 120_000;
const INVISIBLE_MS_MAX: i64 = 365 * 86_400_000;

/// What a request wants of the messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Purpose {
    Take {
        count_max: usize,
        invisible_ms: i64,
        from_last: bool,
    },
    /// To look at them.
    Peek {
        count_max: usize,
    },
    /// To know whether there are any.
    Notify,
}

/// An admitted pop.
pub(crate) struct PopRequest {
    pub(crate) conn: ConnId,
    /// The empty response that the answer is made from.
    response: Command,
    pub(crate) group: Arc<str>,
    topic: Arc<str>,
    retry_topic: Arc<str>,
    /// `None`: any.
    queue_id: Option<u32>,
    purpose: Purpose,
    order: bool,
    attempt: Option<String>,
    filter: Wanted,
    filter_bytes: usize,
    /// When the answer "nothing" is due; no waiting if that has passed.
    until_ms: i64,
}

impl PopRequest {
    /// Where messages for it may arrive.
    fn topics(&self) -> Vec<Arc<str>> {
        let retry = (!self.order).then(|| Arc::clone(&self.retry_topic));
        std::iter::once(Arc::clone(&self.topic)).chain(retry).collect()
    }

    fn takes(&self) -> bool {
        self.purpose != Purpose::Notify
    }

    fn wants(&self, topic: &Arc<str>, queues: &Touched) -> bool {
        let own = |queue_id: &u32| *topic != self.topic || self.queue_id.is_none_or(|own| own == *queue_id);
        queues.iter().filter(|(queue_id, _)| own(queue_id)).any(|(_, news)| match (&self.filter, news) {
            (Some(filter), News::Tags(tags)) => tags.iter().any(|tag| filter.tag(*tag)),
            _ => true,
        })
    }

    fn count_max(&self) -> usize {
        match self.purpose {
            Purpose::Take { count_max, .. } | Purpose::Peek { count_max } => count_max,
            Purpose::Notify => 1,
        }
    }

    fn key(&self, topic: &Arc<str>, queue_id: u32) -> Key {
        Key { group: Arc::clone(&self.group), topic: Arc::clone(topic), queue_id }
    }
}

impl Waits for PopRequest {
    fn conn(&self) -> ConnId {
        self.conn
    }

    fn until_ms(&self) -> i64 {
        self.until_ms
    }

    fn filter_bytes(&self) -> usize {
        self.filter_bytes
    }
}

/// What a pop found in a queue.
struct Found {
    key: Key,
    /// Where the group stood, and where it will.
    from: u64,
    next: u64,
    /// Offsets, and how often each was popped in order before.
    messages: Vec<(u64, u32)>,
    records: Bytes,
}

/// A pop under way.
pub(crate) struct Pop {
    request: PopRequest,
    /// Queues still to be visited.
    queues: VecDeque<(Arc<str>, u32)>,
    /// Where the queue that is being visited was looked at up to, and how often.
    at: u64,
    scans: u32,
    found: Vec<Found>,
    count: usize,
    bytes: usize,
    /// Messages that were left.
    rest: u64,
    pop_ms: i64,
    /// Queues that others pass by meanwhile.
    held: Vec<Key>,
}

impl Pop {
    pub(crate) fn conn(&self) -> ConnId {
        self.request.conn
    }

    pub(crate) fn refusal(&self, code: ResponseCode, why: &str) -> Command {
        Command { code: code.into(), ..self.request.response.clone() }.with_remark(why)
    }

    /// On to the next queue.
    fn pass(&mut self) {
        self.queues.pop_front();
        self.at = 0;
        self.scans = 0;
    }
}

/// What to do next with the queue that a pop visits.
enum Step {
    Pass,
    Again,
    Read(kerolox_store::ReadPlan),
}

/// Pops under way and waiting.
#[derive(Default)]
pub(crate) struct Pops {
    waits: PopWaits,
    /// Queues of pops that wait for a read.
    held: BTreeSet<Key>,
    /// Counts pops, so that they begin with another queue each.
    turn: u64,
    /// Messages that are read to be delivered again.
    reviving: usize,
}

impl Pops {
    pub(crate) fn arrived(&mut self, topic: &Arc<str>, queue_id: u32, tag_code: i64) {
        self.waits.arrived(topic, queue_id, tag_code);
    }

    /// What lies in a queue can be popped (again).
    pub(crate) fn touch(&mut self, topic: &str, queue_id: u32) {
        self.waits.touch(topic, queue_id);
    }

    pub(crate) fn disconnected(&mut self, conn: ConnId) {
        self.waits.disconnected(conn);
    }
}

impl Broker {
    /// Code 200050.
    pub(crate) fn pop(&mut self, now_ms: i64, conn: ConnId, request: &Command, out: &mut Vec<Effect>) {
        match self.admit_take(now_ms, conn, request) {
            Ok(pop) => self.serve_pop(now_ms, pop, out),
            Err(Refused(code, remark)) => self.reply(conn, request, request.refuse(code, remark), out),
        }
    }

    fn admit_take(&mut self, now_ms: i64, conn: ConnId, request: &Command) -> Result<PopRequest, Refused> {
        let header: PopMessage<'_> = request.header()?;
        let illegal = |remark| Err(Refused(ResponseCode::INVALID_PARAMETER, remark));
        if header.max_msg_nums > COUNT_MAX {
            let host = self.config.host.ip();
            return illegal(format!("the broker[{host}] pop message's num is greater than {COUNT_MAX}"));
        }
        if !(0..=INVISIBLE_MS_MAX).contains(&header.invisible_time) {
            let remark = format!(
                "invisibleTime {} is not between 0 and {INVISIBLE_MS_MAX} milliseconds",
                header.invisible_time
            );
            return illegal(remark);
        }
        self.refuse_if_changes_wait()?;
        let filter = match header.exp.filter(|exp| !exp.is_empty()) {
            Some(exp) => subscription::filter(self.config.sql92, header.exp_type, Some(exp))
                .map_err(|unfit| Refused(unfit.code(), unfit.remark()))?,
            None => None,
        };
        let purpose = Purpose::Take {
            count_max: header.max_msg_nums.max(1) as usize,
            invisible_ms: header.invisible_time,
            from_last: header.init_mode == 1,
        };
        let place = (header.consumer_group, header.topic, header.queue_id);
        let mut pop = self.admit_pop("pop", conn, request, place, purpose)?;
        pop.order = header.order == Some(true);
        pop.attempt = header.attempt_id.map(str::to_owned);
        pop.filter_bytes = filter.as_ref().and(header.exp).map_or(0, str::len);
        pop.filter = filter;
        pop.until_ms = now_ms + header.poll_time.clamp(0, HOLD_MS_MAX);
        Ok(pop)
    }

    /// What all of them have in common.
    fn admit_pop(
        &mut self,
        what: &str,
        conn: ConnId,
        request: &Command,
        (group, topic, queue_id): (&str, &str, i32),
        purpose: Purpose,
    ) -> Result<PopRequest, Refused> {
        if !perm::readable(self.config.permission) {
            let remark = format!("the broker[{}] {what} message is forbidden", self.config.host.ip());
            return Err(Refused(ResponseCode::NO_PERMISSION, remark));
        }
        let Some((topic, config)) = self.state.topics.get_shared(topic) else {
            let remark = format!("topic[{topic}] not exist, apply first please! {}", crate::FAQ);
            return Err(Refused(ResponseCode::TOPIC_NOT_EXIST, remark));
        };
        if !perm::readable(config.perm) {
            let remark = format!("the topic[{topic}] peeking message is forbidden");
            return Err(Refused(ResponseCode::NO_PERMISSION, remark));
        }
        if queue_id >= config.read_queue_nums {
            let (queues, peer) = (config.read_queue_nums, self.peer_text(conn));
            let remark = format!(
                "queueId[{queue_id}] is illegal, topic:[{topic}] topicConfig.readQueueNums:[{queues}] consumer:[{peer}]"
            );
            return Err(Refused(ResponseCode::INVALID_PARAMETER, remark));
        }
        let topic = Arc::clone(topic);
        if self.state.groups.get(group).is_none() {
            self.auto_create_group(group);
        }
        let Some((group, config)) = self.state.groups.get_shared(group).filter(|_| !group.is_empty()) else {
            let remark = format!("subscription group [{group}] does not exist, {}", crate::FAQ);
            return Err(Refused(ResponseCode::SUBSCRIPTION_GROUP_NOT_EXIST, remark));
        };
        if !config.consume_enable {
            let remark = format!("subscription group no permission, {group}");
            return Err(Refused(ResponseCode::NO_PERMISSION, remark));
        }
        let retry_topic = Arc::from(receipt::retry_topic(&topic, group));
        Ok(PopRequest {
            conn,
            response: request.respond(ResponseCode::SUCCESS),
            group: Arc::clone(group),
            topic,
            retry_topic,
            queue_id: u32::try_from(queue_id).ok(),
            purpose,
            order: false,
            attempt: None,
            filter: None,
            filter_bytes: 0,
            until_ms: i64::MIN,
        })
    }

    /// Code 200052.
    pub(crate) fn peek(&mut self, now_ms: i64, conn: ConnId, request: &Command, out: &mut Vec<Effect>) {
        let admitted = request.header().map_err(Refused::from).and_then(|header: PeekMessage<'_>| {
            let count_max = header.max_msg_nums.clamp(1, COUNT_MAX) as usize;
            let place = (header.consumer_group, header.topic, header.queue_id);
            self.admit_pop("peeking", conn, request, place, Purpose::Peek { count_max })
        });
        match admitted {
            Ok(pop) => self.serve_pop(now_ms, pop, out),
            Err(Refused(code, remark)) => self.reply(conn, request, request.refuse(code, remark), out),
        }
    }

    /// Code 200054.
    pub(crate) fn notification(
        &mut self,
        now_ms: i64,
        conn: ConnId,
        request: &Command,
        out: &mut Vec<Effect>,
    ) {
        let admitted = request.header().map_err(Refused::from).and_then(|header: Notification<'_>| {
            let place = (header.consumer_group, header.topic, header.queue_id);
            let mut pop = self.admit_pop("peeking", conn, request, place, Purpose::Notify)?;
            pop.order = header.order == Some(true);
            pop.attempt = header.attempt_id.map(str::to_owned);
            pop.until_ms = now_ms + header.poll_time.clamp(0, HOLD_MS_MAX);
            Ok(pop)
        });
        match admitted {
            Ok(pop) => self.serve_pop(now_ms, pop, out),
            Err(Refused(code, remark)) => self.reply(conn, request, request.refuse(code, remark), out),
        }
    }

    /// Code 200055.
    pub(crate) fn polling_info(&mut self, conn: ConnId, request: &Command, out: &mut Vec<Effect>) {
        let admitted = request.header().map_err(Refused::from).and_then(|header: PollingInfo<'_>| {
            let place = (header.consumer_group, header.topic, header.queue_id);
            self.admit_pop("peeking", conn, request, place, Purpose::Notify)
        });
        let answer = match admitted {
            Ok(pop) => {
                let polling_num = self.pops.waits.count(&pop.topic, &pop.group, pop.queue_id) as i32;
                let header = PollingInfoResponse { polling_num, ..Default::default() };
                request.respond(ResponseCode::SUCCESS).with_header(&header)
            }
            Err(Refused(code, remark)) => request.refuse(code, remark),
        };
        self.reply(conn, request, answer, out);
    }

    pub(crate) fn serve_pop(&mut self, now_ms: i64, request: PopRequest, out: &mut Vec<Effect>) {
        let turn = self.pops.turn;
        self.pops.turn += 1;
        let queues = |topic: &Arc<str>, own: Option<u32>| -> VecDeque<(Arc<str>, u32)> {
            let count = self.state.topics.get(topic).map_or(0, |config| config.read_queue_nums.max(0) as u32);
            match own {
                Some(queue_id) => [(Arc::clone(topic), queue_id)].into(),
                None => {
                    let first = (turn % u64::from(count.max(1))) as u32;
                    (first..count).chain(0..first).map(|queue_id| (Arc::clone(topic), queue_id)).collect()
                }
            }
        };
        let mut all = queues(&request.topic, request.queue_id);
        if !request.order {
            let retry = queues(&request.retry_topic, None);
            // What failed before has its turn first in one of five, as with Apache.
            let at = if turn.is_multiple_of(5) { 0 } else { all.len() };
            for (i, queue) in retry.into_iter().enumerate() {
                all.insert(at + i, queue);
            }
        }
        let pop = Pop {
            request,
            queues: all,
            at: 0,
            scans: 0,
            found: Vec::new(),
            count: 0,
            bytes: 0,
            rest: 0,
            pop_ms: now_ms,
            held: Vec::new(),
        };
        self.go_on_with_pop(now_ms, pop, out);
    }

    fn go_on_with_pop(&mut self, now_ms: i64, mut pop: Pop, out: &mut Vec<Effect>) {
        while let Some((topic, queue_id)) = pop.queues.front().cloned() {
            match self.visit(now_ms, &mut pop, &topic, queue_id) {
                Step::Pass => pop.pass(),
                Step::Again => {}
                Step::Read(plan) if self.reads.len() < self.config.limits.reads_max => {
                    let found = pop.found.iter().map(|found| found.key.clone());
                    pop.held = found.chain([pop.request.key(&topic, queue_id)]).collect();
                    self.pops.held.extend(pop.held.iter().cloned());
                    return self.start_read(plan, Pending::Pop(Box::new(pop)), out);
                }
                // So many reads are under way that this one has to do without.
                Step::Read(_) => pop.pass(),
            }
        }
        self.finish_pop(now_ms, pop, out);
    }

    /// Queues of a pop that waited for a read are free for others.
    fn release_held(&mut self, pop: &mut Pop) {
        for key in std::mem::take(&mut pop.held) {
            self.pops.held.remove(&key);
            self.pops.waits.touch(&key.topic, key.queue_id);
        }
    }

    fn visit(&mut self, now_ms: i64, pop: &mut Pop, topic: &Arc<str>, queue_id: u32) -> Step {
        let request = &pop.request;
        let key = request.key(topic, queue_id);
        let bounds = self.bounds(topic, queue_id);
        if self.pops.held.contains(&key) {
            return Step::Pass;
        }
        let flight = self.state.in_flight.get(&request.group, topic, queue_id);
        if request.order && flight.is_some_and(|f| f.is_blocked(now_ms, request.attempt.as_deref())) {
            return Step::Pass;
        }
        let from = self.pop_from(request, &key, bounds);
        let at = pop.at.max(from);
        if at >= bounds.max {
            return Step::Pass;
        }
        let room = request.count_max().saturating_sub(pop.count);
        let full = self.state.in_flight.len() + pop.count >= self.config.limits.in_flight_max;
        if request.purpose == Purpose::Notify || room == 0 || pop.bytes >= BYTES_MAX || full {
            pop.rest += bounds.max - at;
            return Step::Pass;
        }
        let read = QueueRead {
            topic: Arc::clone(topic),
            queue_id,
            from: at,
            count_max: room as u32,
            bytes_max: (BYTES_MAX - pop.bytes) as u32,
            scan_max: SCAN_MAX,
            filter: request.filter.clone(),
        };
        match self.store.read_queue(read) {
            QueueReadOutcome::Done(slice) => self.visited(now_ms, pop, key, slice),
            QueueReadOutcome::Cold(plan) => Step::Read(plan),
        }
    }

    /// Where a group pops from a queue next.
    fn pop_from(&mut self, request: &PopRequest, key: &Key, bounds: Bounds) -> u64 {
        let (group, topic, queue_id) = (&key.group, &key.topic, key.queue_id);
        let from = match self.state.in_flight.get(group, topic, queue_id) {
            Some(flight) if request.order => Some(flight.ordered_from()),
            Some(flight) => Some(flight.next),
            None => self.state.offsets.get(group, topic, queue_id),
        };
        let Purpose::Take { from_last, .. } = request.purpose else {
            return from.unwrap_or(bounds.min).max(bounds.min);
        };
        match from {
            Some(from) if from <= bounds.max => from.max(bounds.min),
            // It would pass over what comes until the queue is as long as that.
            Some(_) => self.set_pop_offset(key, bounds.max),
            None => {
                let last = bounds.max.saturating_sub(1).max(bounds.min);
                let skip = from_last && !topic.starts_with(RETRY_PREFIX) && !self.is_young(topic, queue_id);
                self.set_pop_offset(key, if skip { last } else { bounds.min })
            }
        }
    }

    /// A group's offset is written down before anything comes behind it in the log: otherwise a group that begins at the
    /// end would begin at another end after a restart.
    fn set_pop_offset(&mut self, key: &Key, offset: u64) -> u64 {
        if self.offset_room(&key.group, &key.topic, key.queue_id).is_ok()
            && let Some(commit) = self.state.commit(&key.group, &key.topic, key.queue_id, offset)
        {
            state::put_offset(&mut self.changes, &commit);
        }
        offset
    }

    /// A queue was read.
    fn visited(&mut self, now_ms: i64, pop: &mut Pop, key: Key, slice: QueueSlice) -> Step {
        self.counters.damaged += slice.damaged.len() as u64;
        let bounds = self.bounds(&key.topic, key.queue_id);
        let from = self.pop_from(&pop.request, &key, bounds);
        let flight = self.state.in_flight.get(&key.group, &key.topic, key.queue_id);
        let attempt = pop.request.attempt.as_deref();
        let mut messages = Vec::new();
        let mut kept = BytesMut::new();
        let mut all = true;
        for view in record::split(&slice.records).flatten() {
            // Popped in order before and acknowledged: not again.
            let times = match flight {
                Some(flight) if pop.request.order => flight.times(view.queue_offset, attempt),
                _ => Some(0),
            };
            match times {
                Some(times) => {
                    messages.push((view.queue_offset, times));
                    kept.extend_from_slice(view.bytes());
                }
                None => all = false,
            }
        }
        let left = bounds.max.saturating_sub(slice.next_offset);
        if messages.is_empty() {
            pop.at = slice.next_offset;
            pop.scans += 1;
            if left > 0 && pop.scans < SCANS_MAX {
                return Step::Again;
            }
            if left > 0 {
                self.pops.waits.touch(&key.topic, key.queue_id);
            }
            if flight.is_none() && pop.request.takes() && slice.next_offset > from {
                let (group, topic) = (&key.group, &key.topic);
                self.state.commit_lazily(now_ms, group, topic, key.queue_id, slice.next_offset);
            }
            return Step::Pass;
        }
        let records = if all { slice.records } else { kept.freeze() };
        pop.count += messages.len();
        pop.bytes += records.len();
        pop.rest += left;
        pop.found.push(Found { key, from, next: slice.next_offset, messages, records });
        Step::Pass
    }

    /// A queue was read from disk; `None`: it could not be.
    pub(crate) fn pop_read(
        &mut self,
        now_ms: i64,
        mut pop: Pop,
        slice: Option<QueueSlice>,
        out: &mut Vec<Effect>,
    ) {
        let step = match (slice, pop.held.last().cloned()) {
            (Some(slice), Some(key)) => self.visited(now_ms, &mut pop, key, slice),
            _ => Step::Pass,
        };
        self.release_held(&mut pop);
        if matches!(step, Step::Pass) {
            pop.pass();
        }
        self.go_on_with_pop(now_ms, pop, out);
    }

    /// Takes what was found, or waits.
    fn finish_pop(&mut self, now_ms: i64, mut pop: Pop, out: &mut Vec<Effect>) {
        if !self.peers.contains_key(&pop.request.conn) {
            return;
        }
        if pop.request.takes() {
            // A pop that waited for a read may have been overtaken, by an offset that was set.
            let mut found = std::mem::take(&mut pop.found);
            found.retain(|found| {
                let bounds = self.bounds(&found.key.topic, found.key.queue_id);
                self.pop_from(&pop.request, &found.key, bounds) == found.from
            });
            pop.found = found;
        }
        match pop.request.purpose {
            Purpose::Notify if pop.rest > 0 => self.notify(&pop, true, false, out),
            _ if pop.found.is_empty() => self.pop_nothing(now_ms, pop, out),
            Purpose::Take { invisible_ms, .. } => self.take_found(&pop, invisible_ms),
            Purpose::Peek { .. } | Purpose::Notify => {
                let answer = self.popped(&pop, 0, 0, "", "", None);
                out.push(Effect::Send { conn: pop.request.conn, command: answer });
            }
        }
    }

    fn take_found(&mut self, pop: &Pop, invisible_ms: i64) {
        let request = &pop.request;
        let (mut starts, mut messages, mut counts) =
            (QueueTexts::default(), QueueTexts::default(), QueueTexts::default());
        for found in &pop.found {
            let take = Take {
                key: found.key.clone(),
                next: found.next,
                order: request.order.then(|| request.attempt.clone().unwrap_or_default()),
                pop_ms: pop.pop_ms,
                visible_ms: pop.pop_ms + invisible_ms,
                messages: found.messages.clone(),
            };
            let from = found.from as i64;
            if self.state.resets.pulled(pop.pop_ms, request.conn, take.key.as_tuple(), from) == Pulled::Done {
                state::put_reset_done(&mut self.changes, take.key.as_tuple());
            }
            self.state.pop_taken(&take);
            state::put_pop_taken(&mut self.changes, &take);
            let (kind, queue_id) = (Kind::of(&found.key.topic), found.key.queue_id);
            starts.start(kind, queue_id, found.from);
            messages.messages(kind, queue_id, found.messages.iter().map(|(offset, _)| *offset));
            for (offset, times) in found.messages.iter().filter(|(_, times)| *times > 0) {
                counts.count(kind, queue_id, *offset, *times);
            }
            let least = found.messages.iter().map(|(_, times)| *times).min().unwrap_or_default();
            counts.queue_count(kind, queue_id, least);
        }
        self.counters.pulled += pop.count as u64;
        let counts = request.order.then_some(counts.as_str());
        let answer = self.popped(pop, pop.pop_ms, invisible_ms, starts.as_str(), messages.as_str(), counts);
        self.acks.wait_for_state(request.conn, answer);
    }

    /// The answer with messages. Those of a retry topic come as of the topic that was asked for, with a receipt.
    fn popped(
        &self,
        pop: &Pop,
        pop_ms: i64,
        invisible_ms: i64,
        starts: &str,
        messages: &str,
        counts: Option<&str>,
    ) -> Command {
        let revive_qid = if pop.request.order { receipt::ORDERED } else { 0 };
        let header = PopMessageResponse {
            pop_time: pop_ms,
            invisible_time: invisible_ms,
            revive_qid,
            rest_num: pop.rest as i64,
            start_offset_info: Some(starts),
            msg_offset_info: Some(messages),
            order_count_info: counts,
            ..Default::default()
        };
        let mut body = BytesMut::with_capacity(pop.bytes);
        for found in &pop.found {
            if found.key.topic == pop.request.topic {
                body.extend_from_slice(&found.records);
                continue;
            }
            let receipt = Receipt {
                start_offset: found.from as i64,
                pop_ms,
                invisible_ms,
                revive_queue: revive_qid,
                kind: Kind::of(&found.key.topic),
                broker: &self.config.name,
                queue_id: found.key.queue_id as i32,
                offset: None,
            };
            for view in record::split(&found.records).flatten() {
                let offset = Some(view.queue_offset as i64);
                put_retried(&view, &pop.request.topic, &Receipt { offset, ..receipt }, &mut body);
            }
        }
        let answer = pop.request.response.clone().with_remark("FOUND").with_header(&header);
        answer.with_body(body.freeze())
    }

    /// There is nothing (yet).
    fn pop_nothing(&mut self, now_ms: i64, pop: Pop, out: &mut Vec<Effect>) {
        let limits = &self.config.limits;
        let waits = pop.request.until_ms > now_ms && !self.draining;
        let room = self.pops.waits.has_room(&pop.request, limits);
        let full = self.state.in_flight.len() >= limits.in_flight_max && pop.request.takes();
        if waits && room && !full {
            return self.pops.waits.park(pop.request);
        }
        let (code, remark) = match pop.request.purpose {
            Purpose::Notify => return self.notify(&pop, false, waits, out),
            Purpose::Peek { .. } => (ResponseCode::PULL_NOT_FOUND, "NO_MESSAGE_IN_QUEUE".to_owned()),
            Purpose::Take { .. } if full => {
                let remark = format!("{} messages are in flight, the broker's limit", limits.in_flight_max);
                (ResponseCode::POLLING_FULL, remark)
            }
            Purpose::Take { .. } if waits => {
                (ResponseCode::POLLING_FULL, "so many requests wait that this one cannot".to_owned())
            }
            Purpose::Take { .. } => (ResponseCode::POLLING_TIMEOUT, "NO_MESSAGE_IN_QUEUE".to_owned()),
        };
        let invisible_time = match pop.request.purpose {
            Purpose::Take { invisible_ms, .. } => invisible_ms,
            Purpose::Peek { .. } | Purpose::Notify => 0,
        };
        let header = PopMessageResponse {
            pop_time: if invisible_time > 0 { pop.pop_ms } else { 0 },
            invisible_time,
            revive_qid: if pop.request.order { receipt::ORDERED } else { 0 },
            rest_num: pop.rest as i64,
            start_offset_info: Some(""),
            msg_offset_info: Some(""),
            order_count_info: pop.request.order.then_some(""),
            ..Default::default()
        };
        let answer = pop.refusal(code, &remark).with_header(&header);
        out.push(Effect::Send { conn: pop.request.conn, command: answer });
    }

    fn notify(&self, pop: &Pop, has_msg: bool, polling_full: bool, out: &mut Vec<Effect>) {
        let header = NotificationResponse { has_msg, polling_full, ..Default::default() };
        let answer = pop.request.response.clone().with_header(&header);
        out.push(Effect::Send { conn: pop.request.conn, command: answer });
    }

    /// Those who wait for what arrived are to be tried again.
    pub(crate) fn wake_pops(&mut self) {
        for (topic, queues, groups) in self.pops.waits.take_touched() {
            for group in groups {
                let there = |queue_id: &u32| self.to_pop(&group, &topic, *queue_id);
                let messages = queues.keys().map(there).sum();
                self.pops.waits.wake(&topic, &group, &queues, messages);
            }
        }
    }

    /// About how many messages a group can pop from a queue.
    fn to_pop(&self, group: &Arc<str>, topic: &Arc<str>, queue_id: u32) -> u64 {
        let bounds = self.bounds(topic, queue_id);
        let flight = self.state.in_flight.get(group, topic, queue_id);
        let from = match flight {
            Some(flight) if flight.order.is_some() => Some(flight.ordered_from()),
            Some(flight) => Some(flight.next),
            None => self.state.offsets.get(group, topic, queue_id),
        };
        bounds.max.saturating_sub(from.unwrap_or(bounds.min).max(bounds.min))
    }

    /// One of those whose wait is over.
    pub(crate) fn next_woken_pop(&mut self) -> Option<PopRequest> {
        self.pops.waits.next_woken()
    }

    /// All that wait are answered: the broker ends.
    pub(crate) fn release_pops(&mut self, now_ms: i64, out: &mut Vec<Effect>) {
        for id in self.pops.waits.all() {
            if let Some(request) = self.pops.waits.take(id) {
                self.serve_pop(now_ms, request, out);
            }
        }
    }
}

/// A message of a retry topic as one of the topic that it was first in. (One whose properties have no room for the
/// receipt goes without: clients then make it from the answer's texts.)
fn put_retried(view: &RecordView<'_>, topic: &str, receipt: &Receipt<'_>, out: &mut BytesMut) {
    let mut properties = PropertiesBuf::from(view.properties().0);
    properties.set(property::POP_CK, &receipt.to_string());
    let mut encoded = BytesMut::new();
    let record = NewRecord { topic, properties: properties.as_bytes(), ..view.into() };
    let whole = record.encode(&mut encoded).and_then(|()| record::strip_crc(&encoded, out));
    if whole.is_err() {
        out.extend_from_slice(view.bytes());
    }
}
