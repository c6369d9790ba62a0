//! Offsets set by an administrator while consumers may be under way (codes 222 and 220). As on Apache 5 the broker sets them
//! itself and lets the next pulls know; see [`crate::resets`]. With `useServerSideResetOffset=false` it only passes the order
//! on to the clients, as Apache 4 did. Source: `AdminBrokerProcessor.resetOffsetInner`, `Broker2Client.resetOffset`.

use crate::Broker;
use crate::effect::Effect;
use crate::input::ConnId;
use crate::pending::Pending;
use crate::produce::Refused;
use crate::state;
use bytes::Bytes;
use kerolox_store::Boundary;
use kerolox_wire::body::{
    MessageQueue, QueueOffsets, TopicConfig, reset_offset_body, reset_offset_body_for_c,
};
use kerolox_wire::header::ResetOffset;
use kerolox_wire::{Command, Language, RequestCode, ResponseCode};
use std::sync::Arc;

/// An admitted reset, while the offsets are searched one queue after the other.
pub(crate) struct Reset {
    pub(crate) conn: ConnId,
    pub(crate) request: Command,
    group: Arc<str>,
    topic: Arc<str>,
    /// Negative: the ends of the queues.
    timestamp_ms: i64,
    /// Forward too.
    force: bool,
    /// Queues that are left to search: from this one to below that one.
    next: u32,
    end: u32,
    found: Vec<(u32, u64)>,
}

impl Reset {
    fn add(&mut self, offset: u64) {
        self.found.push((self.next, offset));
        self.next += 1;
    }
}

fn no_such_topic(topic: &str) -> Refused {
    Refused(ResponseCode::TOPIC_NOT_EXIST, format!("Topic {topic} does not exist"))
}

impl Broker {
    /// Code 222.
    pub(crate) fn reset_offsets(&mut self, conn: ConnId, request: &Command, out: &mut Vec<Effect>) {
        match self.admit_reset(conn, request) {
            Ok(reset) => self.search_resets(reset, out),
            Err(Refused(code, remark)) => self.reply(conn, request, request.refuse(code, remark), out),
        }
    }

    fn admit_reset(&self, conn: ConnId, request: &Command) -> Result<Reset, Refused> {
        let header: ResetOffset<'_> = request.header()?;
        self.refuse_if_draining()?;
        let (topic, config) = self.resettable(header.topic, header.group)?;
        let queues = config.read_queue_nums.max(0) as u32;
        let mut reset = Reset {
            conn,
            request: request.clone(),
            group: Arc::from(header.group),
            topic: Arc::clone(topic),
            timestamp_ms: header.timestamp,
            force: header.is_force,
            next: 0,
            end: queues,
            found: Vec::new(),
        };
        if let Some(queue_id) = header.queue_id.and_then(|id| u32::try_from(id).ok()) {
            if queue_id >= queues {
                let remark = format!("queueId {queue_id} is not below {queues}, topic is {topic}");
                return Err(Refused(ResponseCode::INVALID_PARAMETER, remark));
            }
            (reset.next, reset.end) = (queue_id, queue_id + 1);
            if let Some(offset) = header.offset.filter(|offset| *offset != -1) {
                let bounds = self.bounds(topic, queue_id);
                let wanted = u64::try_from(offset).ok().filter(|o| (bounds.min..=bounds.max).contains(o));
                let Some(wanted) = wanted else {
                    let (min, max) = (bounds.min, bounds.max);
                    let remark = format!("Target offset {offset} not in consume queue range [{min}-{max}]");
                    return Err(Refused(ResponseCode::SYSTEM_ERROR, remark));
                };
                reset.add(wanted);
            }
        }
        if queues == 0 {
            return Err(Refused(ResponseCode::SYSTEM_ERROR, "No queues to reset.".to_owned()));
        }
        Ok(reset)
    }

    /// The topic, if it and the group are there.
    fn resettable(&self, topic: &str, group: &str) -> Result<(&Arc<str>, &TopicConfig), Refused> {
        let Some(found) = self.state.topics.get_shared(topic) else {
            return Err(no_such_topic(topic));
        };
        if self.state.groups.get(group).is_none() {
            let remark = format!("Group {group} does not exist");
            return Err(Refused(ResponseCode::SUBSCRIPTION_GROUP_NOT_EXIST, remark));
        }
        Ok(found)
    }

    fn search_resets(&mut self, mut reset: Reset, out: &mut Vec<Effect>) {
        while reset.next < reset.end {
            if reset.timestamp_ms >= 0 {
                let (topic, queue_id, at) = (&reset.topic, reset.next, reset.timestamp_ms);
                let plan = self.store.plan_search_time(topic, queue_id, at, Boundary::Lower);
                return self.start_read(plan, Pending::Reset(reset), out);
            }
            let end = self.bounds(&reset.topic, reset.next).max;
            reset.add(end);
        }
        self.resets_found(reset, out);
    }

    /// The offset of one queue was found.
    pub(crate) fn reset_searched(&mut self, mut reset: Reset, offset: u64, out: &mut Vec<Effect>) {
        reset.add(offset);
        self.search_resets(reset, out);
    }

    fn resets_found(&mut self, reset: Reset, out: &mut Vec<Effect>) {
        // They may have been deleted while it was searched; in a topic that was created again, other messages have these offsets.
        let there = self.resettable(&reset.topic, &reset.group).and_then(|(topic, _)| {
            if Arc::ptr_eq(topic, &reset.topic) { Ok(()) } else { Err(no_such_topic(topic)) }
        });
        let done = there.and_then(|()| match self.config.server_side_reset {
            true => self.reset_here(&reset),
            false => self.reset_at_clients(&reset, out),
        });
        let (conn, request) = (reset.conn, &reset.request);
        match done {
            Ok(_) if request.is_oneway() => {}
            Ok(offsets) => {
                let answer = request.respond(ResponseCode::SUCCESS);
                self.acks.wait_for_state(conn, answer.with_body(reset_offset_body(&offsets)));
            }
            Err(Refused(code, remark)) => self.reply(conn, request, request.refuse(code, remark), out),
        }
    }

    fn reset_here(&mut self, reset: &Reset) -> Result<QueueOffsets, Refused> {
        self.refuse_if_draining()?;
        self.refuse_if_changes_wait()?;
        for (queue_id, _) in &reset.found {
            self.offset_room(&reset.group, &reset.topic, *queue_id)
                .map_err(|why| Refused(ResponseCode::SYSTEM_ERROR, why))?;
        }
        for (queue_id, offset) in &reset.found {
            self.reset_offset(&reset.group, &reset.topic, *queue_id, *offset);
        }
        Ok(self.queue_offsets(&reset.topic, reset.found.iter().copied()))
    }

    /// Sets an offset, and lets nothing of what the group's consumers have in hand undo it.
    pub(super) fn reset_offset(&mut self, group: &str, topic: &str, queue_id: u32, offset: u64) {
        self.set_offset(group, topic, queue_id, offset);
        state::put_reset(&mut self.changes, (group, topic, queue_id), offset);
        self.state.resets.put(group, topic, queue_id, offset);
        // Those who wait at the end of the queue learn of it at once.
        self.woken.extend(self.holds.of_group(topic, queue_id, group));
        self.pops.touch(topic, queue_id);
    }

    /// An administrator says where a group stands: what it popped before counts no more.
    pub(super) fn set_offset(&mut self, group: &str, topic: &str, queue_id: u32, offset: u64) {
        if self.state.in_flight.get(group, topic, queue_id).is_some() {
            self.state.in_flight.clear(group, topic, queue_id);
            state::put_pop_cleared(&mut self.changes, (group, topic, queue_id));
        }
        if let Some(commit) = self.state.commit(group, topic, queue_id, offset) {
            state::put_offset(&mut self.changes, &commit);
        }
    }

    fn queue_offsets(&self, topic: &str, offsets: impl Iterator<Item = (u32, u64)>) -> QueueOffsets {
        let queue = |queue_id: u32| MessageQueue {
            broker_name: self.config.name.clone(),
            queue_id: queue_id as i32,
            topic: topic.to_owned(),
        };
        offsets.map(|(queue_id, offset)| (queue(queue_id), offset as i64)).collect()
    }

    /// The clients are told to begin there and to commit it; nothing is kept here.
    fn reset_at_clients(&mut self, reset: &Reset, out: &mut Vec<Effect>) -> Result<QueueOffsets, Refused> {
        let (group, topic) = (&*reset.group, &*reset.topic);
        let mut offsets = Vec::with_capacity(reset.found.len());
        for (queue_id, found) in &reset.found {
            let Some(committed) = self.state.offsets.get(group, topic, *queue_id) else {
                let remark = format!("THe consumer group <{group}> not exist");
                return Err(Refused(ResponseCode::SYSTEM_ERROR, remark));
            };
            offsets.push((*queue_id, if reset.force { *found } else { committed.min(*found) }));
        }
        let offsets = self.queue_offsets(topic, offsets.into_iter());
        let Some(members) = self.clients.consumer_group(group).map(|group| &group.members) else {
            let remark = format!(
                "Consumer not online, so can not reset offset, Group: {group} Topic: {topic} Timestamp: {}",
                reset.timestamp_ms
            );
            return Err(Refused(ResponseCode::CONSUMER_NOT_ONLINE, remark));
        };
        let header = ResetOffset { topic, group, timestamp: reset.timestamp_ms, ..Default::default() };
        let order = Command::request(RequestCode::RESET_CONSUMER_CLIENT_OFFSET).with_header(&header).oneway();
        let [plain, for_c] =
            [reset_offset_body(&offsets), reset_offset_body_for_c(&offsets)].map(Bytes::from);
        for (conn, client) in members {
            // Apache goes by what the administrator's tool says of itself.
            let in_c = [client.language, reset.request.language].contains(&Language::CPP);
            let body = if in_c { for_c.clone() } else { plain.clone() };
            out.push(Effect::Send { conn: *conn, command: order.clone().with_body(body) });
        }
        Ok(offsets)
    }
}
