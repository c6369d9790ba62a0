//! A pop under way: which queues it visits, what it finds, and what it takes.

use super::flight::{Flight, Taken};
use super::{
    ANSWERS_BYTES_MAX, BYTES_MAX, Found, Key, Pop, PopRequest, Purpose, SCAN_MAX, SCANS_MAX, Step, Take,
    lite, no_such_group,
};
use crate::Broker;
use crate::attributes;
use crate::effect::Effect;
use crate::pending::Pending;
use crate::resets::Pulled;
use crate::state;
use bytes::BytesMut;
use kerolox_store::{Bounds, QueueRead, QueueReadOutcome, QueueSlice};
use kerolox_wire::body::TopicConfig;
use kerolox_wire::header::{NotificationResponse, PopMessageResponse};
use kerolox_wire::names::RETRY_PREFIX;
use kerolox_wire::properties::{PropertiesBuf, name as property};
use kerolox_wire::receipt::{self, Kind, QueueTexts, Receipt};
use kerolox_wire::record::{self, NewRecord, RecordView};
use kerolox_wire::{Command, ResponseCode};
use std::collections::VecDeque;
use std::sync::Arc;

/// A client whose pop met what cannot be read pops again after so long at most: so it is told when the disk reads again, or gives
/// the place up.
const TROUBLED_MS: i64 = 5_000;

impl Broker {
    pub(crate) fn serve_pop(&mut self, now_ms: i64, request: PopRequest, out: &mut Vec<Effect>) {
        if self.acks.unplaced_bytes() >= ANSWERS_BYTES_MAX
            && !self.draining
            && self.pops.waits.has_room(&request, &self.config.limits)
        {
            return self.pops.waits.park_woken(request);
        }
        let turn = self.pops.turn;
        self.pops.turn += 1;
        let by_priority = self.is_by_priority(&request, turn);
        let queues = |topic: &Arc<str>, own: Option<u32>| -> VecDeque<(Arc<str>, u32)> {
            let count = self.state.topics.get(topic).map_or(0, |config| config.read_queue_nums.max(0) as u32);
            match own {
                // (None of a topic that was deleted while the request waited.)
                Some(queue_id) => {
                    (queue_id < count).then(|| (Arc::clone(topic), queue_id)).into_iter().collect()
                }
                // The higher the more urgent.
                None if by_priority => {
                    (0..count).rev().map(|queue_id| (Arc::clone(topic), queue_id)).collect()
                }
                None => {
                    let first = (turn % u64::from(count.max(1))) as u32;
                    (first..count).chain(0..first).map(|queue_id| (Arc::clone(topic), queue_id)).collect()
                }
            }
        };
        let mut all = queues(&request.topic, request.queue_id);
        let mut lite_queues = Vec::new();
        if let Some(lite) = &request.lite {
            lite_queues = self.lite_queues(now_ms, &request, &lite.id);
            all = lite_queues.iter().map(|queue| (Arc::clone(queue), 0)).collect();
        } else if !request.order {
            let retry = queues(&request.retry_topic, None);
            // What failed before has its turn first in one of five, as with Apache; never before what is urgent.
            let at = if turn.is_multiple_of(5) && !by_priority { 0 } else { all.len() };
            for (i, queue) in retry.into_iter().enumerate() {
                all.insert(at + i, queue);
            }
        }
        let pop = Pop {
            request,
            queues: all,
            from: 0,
            at: 0,
            news: self.pops.news,
            scans: 0,
            found: Vec::new(),
            count: 0,
            bytes: 0,
            rest: 0,
            pop_ms: now_ms,
            held: Vec::new(),
            lite_queues,
            kept: Vec::new(),
        };
        self.go_on_with_pop(now_ms, pop, out);
    }

    /// Whether a pop visits the queues of a topic of priorities from the most urgent on: as many of a hundred as the group wants.
    fn is_by_priority(&self, request: &PopRequest, turn: u64) -> bool {
        let topic = self.state.topics.get(&request.topic);
        let is_priority = |topic: &TopicConfig| {
            topic.attributes.get(attributes::MESSAGE_TYPE).is_some_and(|kind| kind == "PRIORITY")
        };
        if request.order || !topic.is_some_and(is_priority) {
            return false;
        }
        let group = self.state.groups.get(&request.group);
        let factor = group.and_then(|group| group.attributes.get(attributes::PRIORITY_FACTOR)?.parse().ok());
        turn % 100 < factor.unwrap_or(100)
    }

    fn go_on_with_pop(&mut self, now_ms: i64, mut pop: Pop, out: &mut Vec<Effect>) {
        if !self.has_group(&pop.request) {
            pop.queues.clear();
        }
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

    /// False for a group that was deleted while the request waited: nothing is to be kept of it any more.
    fn has_group(&self, request: &PopRequest) -> bool {
        self.state.groups.get(&request.group).is_some()
    }

    /// Whether a pop in order has to wait for others' messages.
    fn is_blocked(&self, now_ms: i64, request: &PopRequest, key: &Key) -> bool {
        let flight = self.state.in_flight.get(&key.group, &key.topic, key.queue_id);
        request.order && flight.is_some_and(|f| f.is_blocked(now_ms, request.attempt.as_deref()))
    }

    /// Queues of a pop that waited for a read are free for others.
    fn release_held(&mut self, pop: &mut Pop, failed: bool) {
        let unreadable = pop.held.last().cloned().filter(|_| failed);
        for key in std::mem::take(&mut pop.held) {
            self.pops.held.remove(&key);
            // One that cannot be read wakes nobody: those who wait would read it in turn, on and on.
            if unreadable.as_ref() != Some(&key) {
                self.can_be_popped(&key);
            }
        }
    }

    fn visit(&mut self, now_ms: i64, pop: &mut Pop, topic: &Arc<str>, queue_id: u32) -> Step {
        let request = &pop.request;
        let key = request.key(topic, queue_id);
        let bounds = self.bounds(topic, queue_id);
        if self.pops.held.contains(&key) || self.is_blocked(now_ms, request, &key) {
            return Step::Pass;
        }
        let take = matches!(request.purpose, Purpose::Take { .. });
        if take && self.offset_room(&request.group, topic, queue_id).is_err() {
            return Step::Pass;
        }
        if take && !request.order {
            self.leave_order(now_ms, &key);
        }
        let from = self.pop_from(request, &key, bounds);
        let at = pop.at.max(from);
        pop.from = from;
        if at >= bounds.max {
            return Step::Pass;
        }
        let room = request.count_max().saturating_sub(pop.count);
        let full = self.state.in_flight.len() + pop.count >= self.config.limits.in_flight_max;
        if request.purpose == Purpose::Notify || room == 0 || pop.bytes >= BYTES_MAX || full {
            pop.rest += bounds.max - at;
            return Step::Pass;
        }
        if let Some(step) = self.visit_kept(pop, &key, at, room) {
            return step;
        }
        let read = QueueRead {
            topic: Arc::clone(topic),
            queue_id,
            from: at,
            count_max: room as u32,
            bytes_max: (BYTES_MAX - pop.bytes) as u32,
            scan_max: SCAN_MAX,
            filter: pop.request.filter.clone(),
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

    /// What was popped in order, and became visible where it is, goes to the retry topic of a group that pops without order: also if
    /// nothing new comes.
    fn leave_order(&mut self, now_ms: i64, key: &Key) {
        let flight = self.state.in_flight.get(&key.group, &key.topic, key.queue_id);
        if let Some(flight) = flight.filter(|flight| flight.order.is_some() && flight.is_visible(now_ms)) {
            let next = flight.next;
            self.take_nothing(key.clone(), next, None);
        }
    }

    /// Says where the next pop begins, and whether it is in order.
    fn take_nothing(&mut self, key: Key, next: u64, order: Option<String>) {
        let take = Take { key, next, order, pop_ms: 0, visible_ms: 0, messages: Vec::new() };
        self.state.pop_taken(&take);
        state::put_pop_taken(&mut self.changes, &take);
    }

    /// A group's offset is written down before anything comes behind it in the log: otherwise a group that begins at the
    /// end would begin at another end after a restart.
    fn set_pop_offset(&mut self, key: &Key, offset: u64) -> u64 {
        if let Some(commit) = self.state.commit(&key.group, &key.topic, key.queue_id, offset) {
            state::put_offset(&mut self.changes, &commit);
        }
        offset
    }

    /// A queue was read.
    fn visited(&mut self, now_ms: i64, pop: &mut Pop, key: Key, slice: QueueSlice) -> Step {
        self.counters.damaged += slice.damaged.len() as u64;
        let bounds = self.bounds(&key.topic, key.queue_id);
        let flight = self.state.in_flight.get(&key.group, &key.topic, key.queue_id);
        let attempt = pop.request.attempt.as_deref();
        let mut messages = Vec::new();
        let mut kept = BytesMut::new();
        let mut all = true;
        for view in record::split(&slice.records).flatten() {
            let offset = view.offset_in(&key.topic, key.queue_id).unwrap_or(view.queue_offset);
            // Popped in order before and acknowledged: not again.
            let times = match flight {
                Some(flight) if pop.request.order => flight.times(offset, attempt),
                _ => Some(0),
            };
            match times {
                Some(times) => {
                    messages.push((offset, times));
                    kept.extend_from_slice(view.bytes());
                }
                None => all = false,
            }
        }
        if pop.request.order && matches!(pop.request.purpose, Purpose::Take { .. }) {
            self.end_missing(&key, &messages, slice.next_offset);
        }
        let from = self.pop_from(&pop.request, &key, bounds);
        let left = bounds.max.saturating_sub(slice.next_offset);
        if messages.is_empty() {
            pop.at = slice.next_offset;
            pop.scans += 1;
            if left > 0 && pop.scans < SCANS_MAX {
                return Step::Again;
            }
            if left > 0 {
                // For this pop as well, if it waits: it goes on after others.
                self.pops.touch(&key.topic, key.queue_id);
            }
            if matches!(pop.request.purpose, Purpose::Take { .. }) {
                self.pass_over(now_ms, &key, slice.next_offset);
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

    /// Of what was popped in order before, that which is gone, or which the filter passes by now, is done with: as long as
    /// it is the first that is not acknowledged, each pop begins there.
    fn end_missing(&mut self, key: &Key, messages: &[(u64, u32)], next_offset: u64) {
        let flight = self.state.in_flight.get(&key.group, &key.topic, key.queue_id);
        let taken = flight.into_iter().flat_map(|flight| flight.taken.range(..next_offset));
        let found = |offset: &u64| messages.iter().any(|(at, _)| at == offset);
        let missing: Vec<u64> = taken.map(|(at, _)| *at).filter(|at| !found(at)).collect();
        self.end_popped(key, &missing);
    }

    /// What was looked at and is not wanted is done with, so that nobody looks at it again.
    fn pass_over(&mut self, now_ms: i64, key: &Key, next: u64) {
        let (group, topic, queue_id) = (&key.group, &key.topic, key.queue_id);
        match self.state.in_flight.get(group, topic, queue_id) {
            Some(flight) if flight.next < next => {
                let (key, order) = (key.clone(), flight.order.clone());
                self.take_nothing(key, next, order);
            }
            None if self.state.offsets.get(group, topic, queue_id).is_none_or(|at| at < next) => {
                self.state.commit_lazily(now_ms, group, topic, queue_id, next);
            }
            _ => {}
        }
    }

    /// A queue was read from disk; `None`: it could not be.
    pub(crate) fn pop_read(
        &mut self,
        now_ms: i64,
        mut pop: Pop,
        slice: Option<QueueSlice>,
        out: &mut Vec<Effect>,
    ) {
        // The queue that was read is the first of those to be visited, unless its topic was deleted meanwhile.
        let failed = slice.is_none();
        if failed {
            pop.request.until_ms = pop.request.until_ms.min(now_ms + TROUBLED_MS);
        }
        let of_queue = std::mem::take(&mut pop.kept).is_empty();
        let at = pop.at.max(pop.from);
        let key = pop.held.last().cloned().filter(|_| self.has_group(&pop.request));
        let key = key.filter(|key| pop.queues.front() == Some(&(Arc::clone(&key.topic), key.queue_id)));
        if let Some(key) = key {
            let bounds = self.bounds(&key.topic, key.queue_id);
            let step = match slice {
                // Where the group stands was set anew meanwhile: it has not seen what lies there.
                Some(_) if self.pop_from(&pop.request, &key, bounds) != pop.from => {
                    pop.at = 0;
                    Step::Again
                }
                Some(slice)
                    if of_queue && self.was_overtaken(&key.topic, key.queue_id, at, slice.next_offset) =>
                {
                    Step::Again
                }
                Some(slice) => self.visited(now_ms, &mut pop, key, slice),
                None => Step::Pass,
            };
            if matches!(step, Step::Pass) {
                pop.pass();
            }
        }
        self.release_held(&mut pop, failed);
        self.go_on_with_pop(now_ms, pop, out);
    }

    /// Takes what was found, or waits.
    fn finish_pop(&mut self, now_ms: i64, mut pop: Pop, out: &mut Vec<Effect>) {
        let lite = pop.take_lite();
        let popped = !pop.found.is_empty();
        self.end_pop(now_ms, pop, out);
        if let Some((group, client, queues)) = lite {
            self.return_lite_queues(now_ms, &group, &client, popped, queues);
        }
    }

    fn end_pop(&mut self, now_ms: i64, mut pop: Pop, out: &mut Vec<Effect>) {
        if !self.peers.contains_key(&pop.request.conn) {
            return;
        }
        if !self.has_group(&pop.request) {
            let remark = no_such_group(&pop.request.group);
            let command = pop.refusal(ResponseCode::SUBSCRIPTION_GROUP_NOT_EXIST, &remark);
            return out.push(Effect::Send { conn: pop.request.conn, command });
        }
        if pop.request.takes() {
            let mut found = std::mem::take(&mut pop.found);
            found.retain(|found| self.can_be_taken(now_ms, &pop.request, found));
            pop.found = found;
        }
        // However long it waited for a read: messages are invisible from now on.
        pop.pop_ms = now_ms;
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

    /// A pop that waited may have been overtaken: by an offset that was set, in order by what clients said of messages that
    /// they have, or by its own repetition, whose receipts are those that count.
    fn can_be_taken(&mut self, now_ms: i64, request: &PopRequest, found: &Found) -> bool {
        let Key { group, topic, queue_id } = &found.key;
        let bounds = self.bounds(topic, *queue_id);
        if self.pop_from(request, &found.key, bounds) != found.from
            || self.is_blocked(now_ms, request, &found.key)
        {
            return false;
        }
        let flight = self.state.in_flight.get(group, topic, *queue_id).filter(|_| request.order);
        let attempt = request.attempt.as_deref();
        let unchanged = |(offset, times): &(u64, u32)| {
            let since = |taken: &Taken| taken.pop_ms > request.came_ms && taken.visible_ms > now_ms;
            let overtaken = |flight: &Flight| flight.taken.get(offset).is_some_and(since);
            flight.is_none_or(|f| f.times(*offset, attempt) == Some(*times) && !overtaken(f))
        };
        found.messages.iter().all(unchanged)
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
            let (topic, group, count) = (&take.key.topic, &take.key.group, take.messages.len() as u64);
            self.stats.got(topic, group, count, found.records.len() as u64);
            self.stats.taken(topic, group, count);
            self.stats.pulled(topic, group, take.key.queue_id, take.next);
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
        let lite_counts = request.lite.as_ref().map(|_| lite::counts(&pop.found));
        let counts = lite_counts.as_deref().or_else(|| request.order.then_some(counts.as_str()));
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
            if found.key.topic == pop.request.topic || pop.request.lite.is_some() {
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
        self.stats.missed();
        let limits = &self.config.limits;
        let waits = pop.request.until_ms > now_ms && !self.draining;
        let room = self.pops.waits.has_room(&pop.request, limits);
        let full = self.state.in_flight.len() >= limits.in_flight_max && pop.request.takes();
        if waits && room && !full {
            if pop.news == self.pops.news {
                self.pops.waits.park(pop.request);
            } else {
                // What came while it waited for a read woke others only.
                self.pops.waits.park_woken(pop.request);
            }
            return;
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
