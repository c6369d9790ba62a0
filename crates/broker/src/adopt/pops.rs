//! Messages that were popped from Apache and not acknowledged.
//!
//! Without order, a pop is a check point (tag `ck`) and each acknowledgement a message (`ack`, `bAck`), sent as timer messages to a
//! topic of Apache's own, whose consumer hands out again what is due. In order, they are in `consumerOrderInfo.json`.

use super::files::{self, ApacheFiles, Offsets};
use super::timers::Check;
use super::{Adopted, ApacheFile, Log};
use crate::pop::{Key, Take};
use crate::state::{self, State};
use kerolox_wire::body::from_json;
use kerolox_wire::names;
use kerolox_wire::properties::name as property;
use kerolox_wire::record::RecordView;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;
use std::sync::Arc;

/// Start of the topic's name; the cluster's name follows. Source: `PopAckConstants`.
pub(crate) const TOPIC_PREFIX: &str = "rmq_sys_REVIVE_LOG_";
pub(crate) const GROUP: &str = "CID_RMQ_SYS_REVIVE_GROUP";
/// Apache may have written down that something was delivered before the message that says so was on disk: what a power cut took of these
/// last ones still waits in the timer topic.
const SYNCED_MS: i64 = 60_000;
/// Messages of one pop in order that are looked at: Apache has a bit for each.
const ORDERED_MAX: usize = 64;

/// Source: `PopCheckPoint`.
#[derive(Serialize, Deserialize)]
pub(crate) struct CheckPoint {
    #[serde(rename = "so")]
    pub(crate) start: u64,
    #[serde(rename = "pt")]
    pub(crate) pop_ms: i64,
    #[serde(rename = "it")]
    pub(crate) invisible_ms: i64,
    /// A bit for each message.
    #[serde(rename = "bm", default)]
    pub(crate) acknowledged: i32,
    #[serde(rename = "n")]
    pub(crate) count: u8,
    #[serde(rename = "q")]
    pub(crate) queue_id: u32,
    #[serde(rename = "t")]
    pub(crate) topic: String,
    #[serde(rename = "c")]
    pub(crate) group: String,
    /// Distances of the messages from the start; absent: one after the other.
    #[serde(rename = "d", default)]
    pub(crate) distances: Option<Vec<u64>>,
    #[serde(rename = "bn", default)]
    pub(crate) broker: Option<String>,
}

impl CheckPoint {
    /// Offsets of its messages, and whether each is acknowledged.
    fn messages(&self) -> impl Iterator<Item = (u64, bool)> {
        let distance = |index: u32| match &self.distances {
            Some(distances) if !distances.is_empty() => distances.get(index as usize).copied(),
            _ => Some(u64::from(index)),
        };
        let bits = self.acknowledged.cast_unsigned();
        (0..u32::from(self.count)).map_while(move |index| {
            let offset = self.start.checked_add(distance(index)?)?;
            Some((offset, bits.checked_shr(index).is_some_and(|rest| rest & 1 == 1)))
        })
    }
}

/// Source: `AckMsg`, `BatchAckMsg`.
#[derive(Deserialize)]
struct Ack {
    /// -1 in a batch.
    #[serde(rename = "ao", alias = "ackOffset", default)]
    offset: Option<i64>,
    #[serde(rename = "aol", alias = "ackOffsetList", default)]
    offsets: Vec<u64>,
    #[serde(rename = "so", alias = "startOffset")]
    start: u64,
    #[serde(rename = "c", alias = "consumerGroup")]
    group: String,
    #[serde(rename = "t", alias = "topic")]
    topic: String,
    #[serde(rename = "q", alias = "queueId")]
    queue_id: u32,
    #[serde(rename = "pt", alias = "popTime")]
    pop_ms: i64,
}

/// Group, topic, queue.
type Queue = (String, String, u32);
/// Which pop of a queue: time, first offset.
type Id = (i64, u64);

/// What one pop took and when it is due again.
struct Popped {
    due_ms: i64,
    /// Where its check point lies: messages behind it are others, of a topic that was created again.
    position: u64,
    all: Vec<u64>,
    left: BTreeSet<u64>,
    /// Apache has done with it.
    done: bool,
}

/// By queue and in the order of time. What Apache has done with is not in here, but for what says where a group goes on: a topic may hold
/// days of it.
#[derive(Default)]
pub(super) struct Pops {
    by_id: BTreeMap<Queue, BTreeMap<Id, Popped>>,
    acks: Vec<Ack>,
}

/// Whether a timer message is a check point or an acknowledgement.
pub(super) fn is_of_pop(view: &RecordView<'_>) -> bool {
    view.properties().get(property::REAL_TOPIC).is_some_and(|topic| topic.starts_with(TOPIC_PREFIX))
}

impl Pops {
    /// What cannot be understood is passed over, as Apache does. `done`: Apache has done with it, or with it here.
    fn see(&mut self, view: &RecordView<'_>, done: bool, offsets: &Offsets) {
        match view.properties().get(property::TAGS) {
            Some("ck") => {
                let Ok(ck) = from_json::<CheckPoint>(view.body) else { return };
                let next = offsets.get(&ck.group, &ck.topic, ck.queue_id).unwrap_or(0);
                let left = ck.messages().filter(|(_, acknowledged)| !acknowledged).map(|(offset, _)| offset);
                let popped = Popped {
                    due_ms: ck.pop_ms.saturating_add(ck.invisible_ms),
                    position: view.position,
                    all: ck.messages().map(|(offset, _)| offset).collect(),
                    left: left.collect(),
                    done,
                };
                let (id, queue) = ((ck.pop_ms, ck.start), (ck.group, ck.topic, ck.queue_id));
                let held = self.by_id.get(&queue).and_then(|pops| pops.get(&id));
                if held.is_some_and(|held| held.position > view.position) {
                    // Apache put it again, for what it could not let come again: the newer one says what is left.
                    return;
                }
                if !done || popped.all.iter().any(|offset| *offset >= next) {
                    self.by_id.entry(queue).or_default().insert(id, popped);
                } else if let Some(pops) = self.by_id.get_mut(&queue) {
                    pops.remove(&id);
                }
            }
            Some("ack" | "bAck") if !done => self.acks.extend(from_json::<Ack>(view.body)),
            _ => {}
        }
    }

    /// Check points and acknowledgements.
    #[cfg(test)]
    pub(super) fn len(&self) -> (usize, usize) {
        (self.by_id.values().map(BTreeMap::len).sum(), self.acks.len())
    }

    /// What waits in the timer topic, and what Apache's consumer has not taken yet.
    pub(super) fn of(
        state: &State,
        files: &ApacheFiles,
        offsets: &Offsets,
        log: &mut Log<'_>,
    ) -> Result<Self, String> {
        let mut pops = Self::default();
        let check = Check::of(files)?.map(|check| check.earlier_by(SYNCED_MS));
        let delivered = |view: &RecordView<'_>| check.as_ref().is_some_and(|check| check.delivered(view));
        let queues = log.store.queues().filter(|(topic, ..)| topic.starts_with(TOPIC_PREFIX));
        let queues: Vec<(Arc<str>, u32)> =
            queues.map(|(topic, queue_id, _)| (Arc::clone(topic), queue_id)).collect();
        // What lies before is Kerolox's own past.
        let first = state.offsets.get(GROUP, names::WHEEL_TIMER_TOPIC, 0).unwrap_or(0);
        log.each(names::WHEEL_TIMER_TOPIC, 0, first..u64::MAX, &mut |view| {
            if is_of_pop(view) {
                pops.see(view, delivered(view), offsets);
            }
            ControlFlow::Continue(())
        })?;
        for (topic, queue_id) in queues {
            let taken = offsets.get(GROUP, &topic, queue_id);
            log.each(&topic, queue_id, 0..u64::MAX, &mut |view| {
                pops.see(view, taken.is_some_and(|taken| view.queue_offset <= taken), offsets);
                ControlFlow::Continue(())
            })?;
        }
        Ok(pops)
    }

    fn acknowledge(&mut self) {
        for ack in std::mem::take(&mut self.acks) {
            let pops = self.by_id.get_mut(&(ack.group, ack.topic, ack.queue_id));
            let Some(popped) = pops.and_then(|pops| pops.get_mut(&(ack.pop_ms, ack.start))) else { continue };
            let one = ack.offset.and_then(|offset| u64::try_from(offset).ok());
            for offset in ack.offsets.into_iter().chain(one) {
                popped.left.remove(&offset);
            }
        }
    }
}

/// Where a group is to go on popping: at Apache's offset, or, if Apache was killed before it wrote that down, behind what its check points
/// name without a gap.
fn next(
    (group, topic, queue_id): &Queue,
    pops: &BTreeMap<Id, Popped>,
    offsets: &Offsets,
    log: &mut Log<'_>,
) -> Result<u64, String> {
    let mut next = offsets.get(group, topic, *queue_id).unwrap_or(0);
    let mut taken: BTreeMap<u64, u64> = BTreeMap::new();
    for popped in pops.values() {
        taken.extend(
            popped.all.iter().filter(|offset| **offset >= next).map(|offset| (*offset, popped.position)),
        );
    }
    let end = taken.last_key_value().map_or(next, |(last, _)| last.saturating_add(1));
    if taken.contains_key(&next) {
        log.each(topic, *queue_id, next..end, &mut |view| {
            let is_taken =
                taken.get(&view.queue_offset).is_some_and(|check_point| view.position < *check_point);
            if view.queue_offset != next || !is_taken {
                return ControlFlow::Break(());
            }
            next += 1;
            ControlFlow::Continue(())
        })?;
    }
    Ok(next)
}

/// What of a pop is in flight: not acknowledged, still there, and (see Apache's #8479) not of a topic that was created again since.
fn left(
    topic: &str,
    queue_id: u32,
    popped: &Popped,
    next: u64,
    log: &mut Log<'_>,
) -> Result<Vec<(u64, u32)>, String> {
    let (Some(first), Some(last)) = (popped.left.first(), popped.left.last()) else { return Ok(Vec::new()) };
    let mut left = Vec::new();
    log.each(topic, queue_id, *first..last.saturating_add(1).min(next), &mut |view| {
        let offset = view.queue_offset;
        if popped.left.contains(&offset) && view.position < popped.position {
            left.push((offset, 0));
        }
        ControlFlow::Continue(())
    })?;
    Ok(left)
}

/// What is in flight: of check points, and what is in order.
pub(super) fn adopt(
    state: &State,
    files: &ApacheFiles,
    offsets: &Offsets,
    log: &mut Log<'_>,
    adopted: &mut Adopted,
) -> Result<(), String> {
    let mut pops = Pops::of(state, files, offsets, log)?;
    for key in state.in_flight.keys() {
        state::put_pop_cleared(&mut adopted.entries, key.as_tuple());
    }
    pops.acknowledge();
    for (queue, pops) in &pops.by_id {
        let next = next(queue, pops, offsets, log)?;
        let (group, topic, queue_id) = queue;
        for ((pop_ms, _), popped) in pops.iter().filter(|(_, popped)| !popped.done) {
            let take = Take {
                key: Key { group: Arc::from(&**group), topic: Arc::from(&**topic), queue_id: *queue_id },
                next,
                order: None,
                pop_ms: *pop_ms,
                visible_ms: popped.due_ms,
                messages: left(topic, *queue_id, popped, next, log)?,
            };
            if !take.messages.is_empty() {
                adopted.in_flight += take.messages.len();
                state::put_pop_taken(&mut adopted.entries, &take);
            }
        }
    }
    in_order(files, adopted)
}

/// Source: `ConsumerOrderInfoManager`.
#[derive(Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct OrderInfos {
    /// By `TOPIC@GROUP` and queue.
    pub(crate) table: BTreeMap<String, BTreeMap<u32, OrderInfo>>,
}

#[derive(Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct OrderInfo {
    #[serde(rename = "popTime")]
    pub(crate) pop_ms: i64,
    #[serde(rename = "i")]
    pub(crate) invisible_ms: Option<i64>,
    /// The first offset, then distances from it.
    #[serde(rename = "o")]
    pub(crate) offsets: Vec<u64>,
    /// Times at which messages are visible again, where they were changed.
    #[serde(rename = "ot", skip_serializing_if = "Option::is_none")]
    pub(crate) visible_ms: Option<BTreeMap<u64, i64>>,
    #[serde(rename = "oc", skip_serializing_if = "Option::is_none")]
    pub(crate) times: Option<BTreeMap<u64, u32>>,
    /// A bit for each that is acknowledged.
    #[serde(rename = "cm")]
    pub(crate) acknowledged: i64,
    #[serde(rename = "a", skip_serializing_if = "Option::is_none")]
    pub(crate) attempt: Option<String>,
}

fn in_order(files: &ApacheFiles, adopted: &mut Adopted) -> Result<(), String> {
    let Some(infos) = files.json::<OrderInfos>(ApacheFile::OrderInfo)? else { return Ok(()) };
    for (name, queues) in &infos.table {
        let Some((topic, group)) = files::topic_and_group(name) else { continue };
        for (queue_id, info) in queues {
            let key = Key { group: Arc::from(group), topic: Arc::from(topic), queue_id: *queue_id };
            for take in info.takes(&key) {
                state::put_pop_taken(&mut adopted.entries, &take);
                adopted.in_flight += 1;
            }
        }
    }
    Ok(())
}

impl OrderInfo {
    /// Each message apart: each may have a time of its own.
    fn takes(&self, key: &Key) -> Vec<Take> {
        let Some(first) = self.offsets.first() else { return Vec::new() };
        let rest = self.offsets.iter().skip(1).map_while(|distance| first.checked_add(*distance));
        let offsets: Vec<u64> = std::iter::once(*first).chain(rest).take(ORDERED_MAX).collect();
        let Some(next) = offsets.last().and_then(|last| last.checked_add(1)) else { return Vec::new() };
        let bits = self.acknowledged.cast_unsigned();
        let left =
            (0..).zip(&offsets).filter(|(bit, _)| bits.checked_shr(*bit).is_none_or(|rest| rest & 1 == 0));
        let take = |(_, offset): (u32, &u64)| {
            let changed = self.visible_ms.as_ref().and_then(|times| times.get(offset)).copied();
            let times = self.times.as_ref().and_then(|times| times.get(offset)).copied();
            Take {
                key: key.clone(),
                next,
                order: Some(self.attempt.clone().unwrap_or_default()),
                pop_ms: self.pop_ms,
                visible_ms: changed.unwrap_or(self.pop_ms.saturating_add(self.invisible_ms.unwrap_or(0))),
                messages: vec![(*offset, times.unwrap_or(0))],
            }
        };
        left.map(take).collect()
    }
}
