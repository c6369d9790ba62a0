//! What clients say of messages that they popped: done with (codes 200051 and 200151), or to be invisible for another
//! while (200053). Source: `AckMessageProcessor`, `ChangeInvisibleTimeProcessor`.

use super::{INVISIBLE_MS_MAX, Key, Take};
use crate::Broker;
use crate::effect::Effect;
use crate::input::ConnId;
use crate::produce::Refused;
use crate::pull::no_such_topic;
use crate::state;
use kerolox_wire::body::{BatchAck, BatchAckMessageRequestBody, from_json};
use kerolox_wire::header::{AckMessage, ChangeInvisibleTime, ChangeInvisibleTimeResponse};
use kerolox_wire::names;
use kerolox_wire::receipt::{Kind, ORDERED, Receipt};
use kerolox_wire::{Command, ResponseCode};

/// Messages that one entry of the state ends, at most.
const ENDED_MAX: usize = 4_096;

/// Which message a client speaks of.
struct Popped<'a> {
    group: &'a str,
    topic: &'a str,
    queue_id: i32,
    offset: i64,
    receipt: &'a str,
}

/// The message of a header: both kinds of headers name it in the same way.
macro_rules! popped {
    ($header:ident) => {
        Popped {
            group: $header.consumer_group,
            topic: $header.topic,
            queue_id: $header.queue_id,
            offset: $header.offset,
            receipt: $header.extra_info,
        }
    };
}

/// What is to become of a message in flight.
#[derive(Clone, Copy)]
struct Change {
    /// From now on.
    invisible_ms: i64,
    untried: bool,
    keep_receipt: bool,
}

fn stale(offset: u64) -> Refused {
    let remark = format!(
        "the message {offset} is not in flight with this receipt: it was acknowledged, or is delivered again"
    );
    Refused(ResponseCode::NO_MESSAGE, remark)
}

/// The lite topic that a header names.
fn lite_topic(named: Option<&str>) -> Option<&str> {
    named.filter(|lite| !lite.trim().is_empty())
}

impl Broker {
    /// Code 200051. An acknowledgement that comes late, or a second time, is a success too, as with Apache: it changes
    /// nothing.
    pub(crate) fn ack(&mut self, conn: ConnId, request: &Command, out: &mut Vec<Effect>) {
        let acked = request.header().map_err(Refused::from).and_then(|header: AckMessage<'_>| {
            let popped = popped!(header);
            let lite_queue;
            let (topic, queue_id, offset, receipt) = match lite_topic(header.lite_topic) {
                Some(lite) => {
                    let (queue, offset, receipt) = self.admit_popped_lite(&popped, lite, true)?;
                    lite_queue = queue;
                    (&*lite_queue, 0, offset, receipt)
                }
                None => {
                    let (queue_id, offset, receipt) = self.admit_popped(conn, &popped)?;
                    (popped.topic, queue_id, offset, receipt)
                }
            };
            let acked = self.ack_messages(popped.group, topic, queue_id, receipt.pop_ms, &[offset]);
            if acked == 0 && header.in_flight == Some(true) {
                return Err(stale(offset));
            }
            Ok(())
        });
        self.reply_change(conn, request, acked, out);
    }

    fn admit_popped<'a>(
        &self,
        conn: ConnId,
        popped: &Popped<'a>,
    ) -> Result<(u32, u64, Receipt<'a>), Refused> {
        let Popped { topic, queue_id, offset, .. } = *popped;
        let Some(config) = self.state.topics.get(topic) else {
            let remark = no_such_topic(topic);
            return Err(Refused(ResponseCode::TOPIC_NOT_EXIST, remark));
        };
        if !(0..config.read_queue_nums).contains(&queue_id) {
            let remark = self.no_such_queue(conn, topic, queue_id, config.read_queue_nums);
            return Err(Refused(ResponseCode::MESSAGE_ILLEGAL, remark));
        }
        let bounds = self.bounds(topic, queue_id as u32);
        let Some(offset) = u64::try_from(offset).ok().filter(|at| (bounds.min..=bounds.max).contains(at))
        else {
            let (min, max) = (bounds.min, bounds.max);
            let remark =
                format!("offset is illegal, key:{topic}@{queue_id}, commit:{offset}, store:{min}~{max}");
            return Err(Refused(ResponseCode::NO_MESSAGE, remark));
        };
        let receipt = Receipt::parse(popped.receipt).ok_or_else(|| {
            let remark = "extraInfo is not a receipt of a popped message".to_owned();
            Refused(ResponseCode::INVALID_PARAMETER, remark)
        })?;
        self.refuse_if_changes_wait()?;
        Ok((queue_id as u32, offset, receipt))
    }

    /// Code 200151. What is not in flight (any more) is passed over.
    pub(crate) fn ack_batch(&mut self, conn: ConnId, request: &Command, out: &mut Vec<Effect>) {
        let body = from_json::<BatchAckMessageRequestBody>(&request.body);
        let acked = self.refuse_if_changes_wait().and_then(|()| match body {
            Ok(body) if !body.acks.is_empty() => {
                body.acks.iter().for_each(|batch| self.ack_of_batch(batch));
                Ok(())
            }
            Ok(_) => Err(Refused(ResponseCode::NO_MESSAGE, "the body names no messages".to_owned())),
            Err(e) => Err(e.into()),
        });
        self.reply_change(conn, request, acked, out);
    }

    fn ack_of_batch(&mut self, batch: &BatchAck) {
        let Some((kind, queue_id)) = Kind::parse(&batch.retry).zip(u32::try_from(batch.queue_id).ok()) else {
            return;
        };
        let topic = kind.topic(&batch.topic, &batch.consumer_group);
        let first = batch.start_offset;
        let offset = |bit: u32| first.checked_add(i64::from(bit)).and_then(|at| u64::try_from(at).ok());
        let offsets: Vec<u64> = batch.bits.ones().filter_map(offset).collect();
        self.ack_messages(&batch.consumer_group, &topic, queue_id, batch.pop_ms, &offsets);
    }

    /// Ends those messages that are in flight since that time; how many.
    fn ack_messages(
        &mut self,
        group: &str,
        topic: &str,
        queue_id: u32,
        pop_ms: i64,
        offsets: &[u64],
    ) -> usize {
        let Some(key) = self.state.in_flight.key(group, topic, queue_id) else { return 0 };
        let current = |offset: &u64| {
            self.state.in_flight.message(&key, *offset).is_some_and(|taken| taken.pop_ms == pop_ms)
        };
        let offsets: Vec<u64> = offsets.iter().copied().filter(current).collect();
        if offsets.is_empty() {
            return 0;
        }
        let flight = self.state.in_flight.get(group, topic, queue_id);
        let ordered = flight.is_some_and(|flight| flight.order.is_some());
        self.stats.acked(&key.topic, &key.group, offsets.len() as u64);
        self.end_popped(&key, &offsets);
        if ordered {
            // The next may be waited for.
            self.can_be_popped(&key);
        }
        offsets.len()
    }

    /// Messages are in flight no more.
    pub(super) fn end_popped(&mut self, key: &Key, offsets: &[u64]) {
        // An entry must fit into a state record.
        for offsets in offsets.chunks(ENDED_MAX) {
            self.state.pop_ended(key, offsets);
            state::put_pop_ended(&mut self.changes, key, offsets);
        }
    }

    /// Code 200053.
    pub(crate) fn change_invisible(
        &mut self,
        now_ms: i64,
        conn: ConnId,
        request: &Command,
        out: &mut Vec<Effect>,
    ) {
        let changed = request.header().map_err(Refused::from).and_then(|header: ChangeInvisibleTime<'_>| {
            let popped = popped!(header);
            let change = Change {
                invisible_ms: header.invisible_time,
                untried: header.suspend == Some(true),
                keep_receipt: header.keep_receipt == Some(true),
            };
            if let Some(lite) = lite_topic(header.lite_topic) {
                let (queue, offset, receipt) = self.admit_popped_lite(&popped, lite, false)?;
                let popped = Popped { topic: &queue, ..popped };
                return self.put_off(now_ms, &popped, 0, offset, &receipt, change);
            }
            let (queue_id, offset, receipt) = self.admit_popped(conn, &popped)?;
            self.put_off(now_ms, &popped, queue_id, offset, &receipt, change)
        });
        match changed {
            Ok(_) if request.is_oneway() => {}
            Ok(header) => {
                let answer = request.respond(ResponseCode::SUCCESS).with_header(&header);
                self.acks.wait_for_state(conn, answer);
            }
            Err(Refused(code, remark)) => self.reply(conn, request, request.refuse(code, remark), out),
        }
    }

    /// A message that was popped from a lite topic: the topic's queue, and the message.
    fn admit_popped_lite<'a>(
        &self,
        popped: &Popped<'a>,
        lite: &str,
        ack: bool,
    ) -> Result<(String, u64, Receipt<'a>), Refused> {
        let invalid = |remark: &str| Refused(ResponseCode::INVALID_PARAMETER, remark.to_owned());
        let group = self.state.groups.get(popped.group);
        if ack && group.and_then(crate::lite::bound_topic) != Some(popped.topic) {
            return Err(invalid("group type or bind topic not match."));
        }
        let queue = names::lite_queue(popped.topic, lite);
        let offset = u64::try_from(popped.offset).ok().filter(|at| *at <= self.bounds(&queue, 0).max);
        let Some(offset) = offset else {
            return Err(Refused(ResponseCode::NO_MESSAGE, "ack offset illegal.".to_owned()));
        };
        let receipt = Receipt::parse(popped.receipt).filter(|receipt| receipt.is_ordered());
        let Some(receipt) = receipt.filter(|_| popped.queue_id == 0) else {
            return Err(invalid("ack queue illegal."));
        };
        self.refuse_if_changes_wait()?;
        Ok((queue, offset, receipt))
    }

    fn put_off(
        &mut self,
        now_ms: i64,
        popped: &Popped<'_>,
        queue_id: u32,
        offset: u64,
        receipt: &Receipt<'_>,
        change: Change,
    ) -> Result<ChangeInvisibleTimeResponse<'static>, Refused> {
        let Change { invisible_ms, untried, keep_receipt } = change;
        if !(0..=INVISIBLE_MS_MAX).contains(&invisible_ms) {
            let remark =
                format!("invisibleTime {invisible_ms} is not between 0 and {INVISIBLE_MS_MAX} milliseconds");
            return Err(Refused(ResponseCode::INVALID_PARAMETER, remark));
        }
        // Apache says yes to any receipt, and delivers what was acknowledged before once more.
        let stale = || stale(offset);
        let (group, topic) = (popped.group, popped.topic);
        let key = self.state.in_flight.key(group, topic, queue_id).ok_or_else(stale)?;
        let taken = self.state.in_flight.message(&key, offset);
        let taken = taken.filter(|taken| taken.pop_ms == receipt.pop_ms).ok_or_else(stale)?;
        let flight = self.state.in_flight.get(group, topic, queue_id).ok_or_else(stale)?;
        let (next, order) = (flight.next, flight.order.clone());
        // In order a message keeps its receipt.
        let pop_ms = if receipt.is_ordered() || keep_receipt { taken.pop_ms } else { now_ms };
        let visible_ms = now_ms + invisible_ms;
        let times = if untried { taken.untried() } else { taken.times };
        let take = Take { key, next, order, pop_ms, visible_ms, messages: vec![(offset, times)] };
        self.state.pop_taken(&take);
        state::put_pop_taken(&mut self.changes, &take);
        let revive_qid = if receipt.is_ordered() { ORDERED } else { receipt.revive_queue };
        Ok(ChangeInvisibleTimeResponse {
            pop_time: pop_ms,
            invisible_time: visible_ms - pop_ms,
            revive_qid,
            ..Default::default()
        })
    }
}
