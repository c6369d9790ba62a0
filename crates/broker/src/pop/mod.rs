//! Popping messages (codes 200050, 200052, 200054, 200055): the broker says which messages a client gets, and each is
//! acknowledged by itself. What is popped and not acknowledged in time comes again: see [`revive`].
//!
//! A pop visits the queues of its topic and of the retry topic that belongs to topic and group, reads from each what the
//! group has not popped yet, and at the end takes all of it with one entry of the state per queue; the answer leaves when
//! these are as safe as the flush policy says. While it waits for a read from disk, other pops pass its queues by.
//! Source of the rules: `PopMessageProcessor`, `ConsumerOrderInfoManager`, `NotificationProcessor`, `PeekMessageProcessor`.

mod ack;
mod flight;
mod kept;
mod lite;
mod revive;
mod serve;
mod wait;

pub(crate) use flight::{Flight, InFlight, Key, Take};

use crate::Broker;
use crate::config::perm;
use crate::effect::Effect;
use crate::input::ConnId;
use crate::lite::is_mailbox;
use crate::parked::Waits;
use crate::produce::Refused;
use crate::pull::no_such_topic;
use crate::subscription::{self, Wanted};
use bytes::Bytes;
use kerolox_store::Position;
use kerolox_wire::header::{Notification, PeekMessage, PollingInfo, PollingInfoResponse, PopMessage};
use kerolox_wire::receipt;
use kerolox_wire::{Command, ResponseCode};
use lite::LiteClient;
use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use wait::{News, PopWaits, Touched};

/// Messages of one pop at most, as Apache's.
const COUNT_MAX: i32 = 32;
/// Bytes of messages in one answer (or one message that is larger), as of a pull.
const BYTES_MAX: usize = 256 << 10;
/// Bytes of answers that wait for one state record: with more, a pop waits for the next.
const ANSWERS_BYTES_MAX: usize = 16 << 20;
/// Queue entries looked at in one read, and reads of one pop that find nothing that is wanted before others have their
/// turn (each of its queues is read once all the same).
const SCAN_MAX: u32 = 800;
const SCANS_MAX: u32 = 64;
/// Longest that a pop is held, and that messages are invisible.
const HOLD_MS_MAX: i64 = 120_000;
const INVISIBLE_MS_MAX: i64 = 365 * 86_400_000;
/// Bytes of an attempt's id, which is kept with what it took; clients send 36.
const ATTEMPT_BYTES_MAX: usize = 255;

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
    /// It is from all lite topics of a client.
    lite: Option<LiteClient>,
    came_ms: i64,
    /// When the answer "nothing" is due; no waiting if that has passed.
    until_ms: i64,
}

impl PopRequest {
    /// Where messages for it may arrive.
    fn topics(&self) -> Vec<Arc<str>> {
        if let Some(lite) = &self.lite {
            return vec![Arc::clone(&lite.mailbox)];
        }
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
    /// Where the group stands in the queue that is being visited, and up to where that was looked at.
    from: u64,
    at: u64,
    /// [`Pops::news`] when it began.
    news: u64,
    /// Reads of all queues that found nothing.
    scans: u32,
    found: Vec<Found>,
    count: usize,
    bytes: usize,
    /// Messages that were left.
    rest: u64,
    pop_ms: i64,
    /// Queues that others pass by meanwhile.
    held: Vec<Key>,
    /// Of a pop from lite topics: all its queues.
    lite_queues: Vec<Arc<str>>,
    /// What is being read of a compaction topic's kept messages.
    kept: Vec<(u64, Position)>,
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
    }

    /// Topics were deleted: what was found in them is not there any more, and what is read from them now neither.
    fn forget_topics(&mut self, gone: impl Fn(&str) -> bool) {
        self.queues.retain(|(topic, _)| !gone(topic));
        self.found.retain(|found| !gone(&found.key.topic));
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
    /// Counts what those who wait could be woken for.
    news: u64,
    /// Messages that are read to be delivered again.
    reviving: usize,
}

impl Pops {
    pub(crate) fn arrived(&mut self, topic: &Arc<str>, queue_id: u32, tag_code: i64) {
        self.news += 1;
        self.waits.arrived(topic, queue_id, tag_code);
    }

    /// What lies in a queue can be popped (again).
    pub(crate) fn touch(&mut self, topic: &str, queue_id: u32) {
        self.news += 1;
        self.waits.touch(topic, queue_id);
    }

    pub(crate) fn disconnected(&mut self, conn: ConnId) {
        self.waits.disconnected(conn);
    }
}

/// Who may ask again and get the same.
fn attempt(id: Option<&str>) -> Result<Option<String>, Refused> {
    if id.is_some_and(|id| id.len() > ATTEMPT_BYTES_MAX) {
        let remark = format!("attemptId is longer than {ATTEMPT_BYTES_MAX} bytes");
        return Err(Refused(ResponseCode::INVALID_PARAMETER, remark));
    }
    Ok(id.map(str::to_owned))
}

fn no_such_group(group: &str) -> String {
    format!("subscription group [{group}] does not exist, {}", crate::FAQ)
}

impl Broker {
    /// Code 200050.
    pub(crate) fn pop(&mut self, now_ms: i64, conn: ConnId, request: &Command, out: &mut Vec<Effect>) {
        let admitted = self.admit_take(now_ms, conn, request);
        self.serve_admitted(now_ms, conn, request, admitted, out);
    }

    fn serve_admitted(
        &mut self,
        now_ms: i64,
        conn: ConnId,
        request: &Command,
        admitted: Result<PopRequest, Refused>,
        out: &mut Vec<Effect>,
    ) {
        match admitted {
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
        self.refuse_if_draining()?;
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
        pop.attempt = attempt(header.attempt_id)?;
        self.refuse_without_retry_topic(&pop)?;
        pop.filter_bytes = filter.as_ref().and(header.exp).map_or(0, str::len);
        pop.filter = filter;
        pop.came_ms = now_ms;
        pop.until_ms = now_ms + header.poll_time.clamp(0, HOLD_MS_MAX);
        Ok(pop)
    }

    /// What is not acknowledged needs a topic to come again from.
    fn refuse_without_retry_topic(&self, pop: &PopRequest) -> Result<(), Refused> {
        let (topics, max) = (&self.state.topics, self.config.limits.topics_max);
        if pop.order || topics.len() < max || topics.get(&pop.retry_topic).is_some() {
            return Ok(());
        }
        let remark =
            format!("no room for topic[{}]: the broker has {max} topics, its limit", pop.retry_topic);
        Err(Refused(ResponseCode::SYSTEM_ERROR, remark))
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
            let remark = no_such_topic(topic);
            return Err(Refused(ResponseCode::TOPIC_NOT_EXIST, remark));
        };
        if !perm::readable(config.perm) {
            let remark = format!("the topic[{topic}] peeking message is forbidden");
            return Err(Refused(ResponseCode::NO_PERMISSION, remark));
        }
        if queue_id >= config.read_queue_nums {
            let remark = self.no_such_queue(conn, topic, queue_id, config.read_queue_nums);
            return Err(Refused(ResponseCode::INVALID_PARAMETER, remark));
        }
        let topic = Arc::clone(topic);
        if self.state.groups.get(group).is_none() {
            self.auto_create_group(group);
        }
        let Some((group, config)) = self.state.groups.get_shared(group).filter(|_| !group.is_empty()) else {
            return Err(Refused(ResponseCode::SUBSCRIPTION_GROUP_NOT_EXIST, no_such_group(group)));
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
            lite: None,
            came_ms: i64::MAX,
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
        self.serve_admitted(now_ms, conn, request, admitted, out);
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
            pop.attempt = attempt(header.attempt_id)?;
            pop.until_ms = now_ms + header.poll_time.clamp(0, HOLD_MS_MAX);
            Ok(pop)
        });
        self.serve_admitted(now_ms, conn, request, admitted, out);
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
        if is_mailbox(topic) {
            return u64::MAX;
        }
        let bounds = self.bounds(topic, queue_id);
        let flight = self.state.in_flight.get(group, topic, queue_id);
        let from = match flight {
            Some(flight) if flight.order.is_some() => Some(flight.ordered_from()),
            Some(flight) => Some(flight.next),
            None => self.state.offsets.get(group, topic, queue_id),
        };
        bounds.max.saturating_sub(from.unwrap_or(bounds.min).max(bounds.min))
    }

    /// Queues that a pop visits, about.
    pub(crate) fn queues_of_pop(&self, request: &PopRequest) -> usize {
        let count = || self.state.topics.get(&request.topic).map_or(0, |config| config.read_queue_nums);
        if request.queue_id.is_some() { 1 } else { usize::try_from(count()).unwrap_or(0) + 1 }
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
