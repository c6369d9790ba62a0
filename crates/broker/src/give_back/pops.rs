//! What is in flight: without order a check point for each pop, in order a file.

use crate::Broker;
use crate::adopt::{CheckPoint, OrderInfo, OrderInfos, REVIVE_GROUP, REVIVE_TOPIC_PREFIX};
use crate::pop::{Flight, Key, Take};
use crate::state;
use kerolox_store::AppendError;
use kerolox_wire::body::to_json;
use kerolox_wire::names;
use kerolox_wire::properties::name as property;
use std::collections::BTreeMap;

/// Messages that a check point has bits for.
const MESSAGES_MAX: usize = 32;
/// How long before a message is visible again its check point is due. Source: `PopAckConstants.ackTimeInterval`.
const AHEAD_MS: i64 = 1_000;

impl Broker {
    /// Appends the check points of all that is in flight without order, as timer messages of Apache's; to Kerolox they mean nothing.
    pub(super) fn check_points(&mut self, now_ms: i64, entries: &mut Vec<u8>) -> Result<(), AppendError> {
        let keys: Vec<Key> = self.state.in_flight.keys().collect();
        let takes = keys.iter().flat_map(|key| self.state.in_flight.takes(key));
        let takes: Vec<Take> = takes.filter(|take| take.order.is_none()).collect();
        for take in &takes {
            for messages in take.messages.chunks(MESSAGES_MAX) {
                self.check_point(now_ms, take, messages, entries)?;
            }
        }
        Ok(())
    }

    /// Source: `PopMessageProcessor.buildCkMsg`, `HookUtils.transformTimerMessage`.
    fn check_point(
        &mut self,
        now_ms: i64,
        take: &Take,
        messages: &[(u64, u32)],
        entries: &mut Vec<u8>,
    ) -> Result<(), AppendError> {
        let Some((start, _)) = messages.first() else { return Ok(()) };
        let check_point = CheckPoint {
            start: *start,
            pop_ms: take.pop_ms,
            invisible_ms: take.visible_ms.saturating_sub(take.pop_ms),
            acknowledged: 0,
            count: messages.len() as u8, // holds because a chunk has 32
            queue_id: take.key.queue_id,
            topic: take.key.topic.to_string(),
            group: take.key.group.to_string(),
            distances: Some(messages.iter().map(|(offset, _)| offset - start).collect()),
            broker: Some(self.config.name.clone()),
        };
        let deliver_ms = take.visible_ms.saturating_sub(AHEAD_MS);
        let due_ms = deliver_ms - deliver_ms.rem_euclid(1_000);
        let id = format!(
            "{}@{}@{start}@{}@{}@{}@ck",
            take.key.topic, take.key.queue_id, take.key.group, take.pop_ms, self.config.name
        );
        let appended = self.append_for_apache(
            now_ms,
            (names::WHEEL_TIMER_TOPIC, 0),
            &[
                (property::TAGS, "ck"),
                (property::UNIQ_CLIENT_MESSAGE_ID_KEYIDX, &id),
                (property::TIMER_DELIVER_MS, &deliver_ms.to_string()),
                (property::TIMER_OUT_MS, &due_ms.to_string()),
                (property::REAL_TOPIC, &format!("{REVIVE_TOPIC_PREFIX}{}", self.config.cluster)),
                (property::REAL_QUEUE_ID, "0"),
            ],
            &to_json(&check_point),
        )?;
        state::put_timer_recalled(entries, (due_ms, appended.queue_offset));
        Ok(())
    }

    /// All that Apache put into its revive topic is done with: it goes on behind that.
    pub(super) fn revived(&self) -> impl Iterator<Item = (String, u32, u64)> {
        let queues = self.store.queues().filter(|(topic, ..)| topic.starts_with(REVIVE_TOPIC_PREFIX));
        queues.filter_map(|(topic, queue_id, bounds)| {
            Some((format!("{topic}@{REVIVE_GROUP}"), queue_id, bounds.max.checked_sub(1)?))
        })
    }

    /// What is in flight in order. Source: `ConsumerOrderInfoManager`.
    pub(super) fn order_infos(&self) -> OrderInfos {
        let mut infos = OrderInfos::default();
        for key in self.state.in_flight.keys() {
            let flight = self.state.in_flight.get(&key.group, &key.topic, key.queue_id);
            if let Some(info) = flight.and_then(order_info) {
                let queues = infos.table.entry(format!("{}@{}", key.topic, key.group)).or_default();
                queues.insert(key.queue_id, info);
            }
        }
        infos
    }
}

fn order_info(flight: &Flight) -> Option<OrderInfo> {
    let attempt = flight.order.as_ref()?;
    let (first, taken) = flight.taken.first_key_value()?;
    // Apache has a bit for each: those behind are popped when these are acknowledged.
    let offsets: Vec<u64> = flight.taken.keys().copied().take(u64::BITS as usize).collect();
    let times: BTreeMap<u64, u32> =
        flight.taken.iter().map(|(offset, taken)| (*offset, taken.before())).collect();
    let visible_ms = flight.taken.iter().map(|(offset, taken)| (*offset, taken.visible_ms)).collect();
    let distance = |(index, offset): (usize, &u64)| if index == 0 { *offset } else { offset - first };
    Some(OrderInfo {
        pop_ms: taken.pop_ms,
        invisible_ms: Some(taken.visible_ms.saturating_sub(taken.pop_ms)),
        offsets: offsets.iter().enumerate().map(distance).collect(),
        visible_ms: Some(visible_ms),
        times: Some(times),
        acknowledged: 0,
        attempt: Some(attempt.clone()).filter(|attempt| !attempt.is_empty()),
    })
}

/// Check points in front of this offset of the timer topic are Kerolox's past.
pub(super) fn put_known_timers(entries: &mut Vec<u8>, next: u64) {
    state::put_offset_of(entries, (REVIVE_GROUP, names::WHEEL_TIMER_TOPIC, 0), next);
}
