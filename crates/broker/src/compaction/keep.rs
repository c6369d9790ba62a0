//! Compaction topics: what is read at a start, written again before its segment goes, and given to consumers.

use super::{KEPT_QUEUE, KeyHash, Message, Part};
use crate::Broker;
use crate::effect::Effect;
use crate::pending::Pending;
use crate::produce::{Draft, Refused};
use crate::pull::PullRequest;
use crate::subscription::Wanted;
use bytes::{Bytes, BytesMut};
use kerolox_store::{
    Appended, Bounds, NewMessage, Position, QueueRead, QueueReadOutcome, QueueSlice, ReadPlan,
};
use kerolox_wire::properties::{self, Properties, PropertiesBuf, name as property};
use kerolox_wire::record::{self, NewRecord, RecordView};
use kerolox_wire::{Command, ResponseCode, sys_flag};
use std::hash::{DefaultHasher, Hasher};
use std::sync::Arc;

/// Messages, and bytes of them, that are read at once at a start.
const LOAD_COUNT: u32 = 4_096;
const LOAD_BYTES: u32 = 1 << 20;
/// Messages that are written again at a time.
const ROLL_MAX: usize = 32;
/// Messages that were kept, of one read.
const READ_COUNT_MAX: usize = 32;
const READ_BYTES_MAX: usize = 256 << 10;
/// Pause after a read that failed.
const RETRY_MS: i64 = 100;

/// The hash of a message's key; `None`: it has none.
pub(crate) fn key_of(properties: Properties<'_>) -> Option<KeyHash> {
    let keys = properties.get(property::KEYS).filter(|keys| !keys.trim().is_empty())?;
    Some([0, 1].map(|half| {
        let mut hasher = DefaultHasher::new();
        hasher.write_u8(half);
        hasher.write(keys.as_bytes());
        hasher.finish()
    }))
}

fn message_of(view: &RecordView<'_>) -> Message {
    let kept = view.queue_id & KEPT_QUEUE != 0;
    let offset = if kept { view.prepared_transaction_offset as u64 } else { view.queue_offset };
    Message { offset, position: view.position, kept, ends: view.body.is_empty() }
}

/// A record as its consumers know it: one that was written again with the queue and the offset that it had. (The time of
/// storing is that of the copy.)
pub(crate) fn restored(record: Bytes) -> Bytes {
    let Ok(view) = RecordView::parse(&record) else { return record };
    if view.queue_id & KEPT_QUEUE == 0 {
        return record;
    }
    let original = NewRecord {
        queue_id: view.queue_id & !KEPT_QUEUE,
        queue_offset: message_of(&view).offset,
        prepared_transaction_offset: 0,
        ..(&view).into()
    };
    let (mut encoded, mut plain) = (BytesMut::new(), BytesMut::new());
    match original.encode(&mut encoded).and_then(|()| record::strip_crc(&encoded, &mut plain)) {
        Ok(()) => plain.freeze(),
        Err(_) => record,
    }
}

impl Broker {
    /// Which queues are to be read at a start.
    pub(crate) fn find_compacted(&mut self) {
        for (_, topic) in self.state.topics.sorted() {
            self.compaction.topic_put(&topic.config);
        }
        let queues = self.store.queues().filter(|(topic, ..)| self.compaction.has(topic));
        let parts = queues.map(|(topic, queue_id, Bounds { min, max })| Part {
            topic: Arc::clone(topic),
            queue_id,
            next: min,
            end: max,
        });
        let mut parts: Vec<Part> = parts.filter(|part| part.next < part.end).collect();
        // What was kept first: it is what consumers wait for.
        parts.sort_by(|a, b| {
            let order = |part: &Part| (part.queue_id < KEPT_QUEUE, part.queue_id);
            order(a).cmp(&order(b)).then_with(|| a.topic.cmp(&b.topic))
        });
        self.compaction.loading = parts.into();
    }

    /// Reads on, if something is still to be read.
    pub(crate) fn tick_compaction(&mut self, now_ms: i64, out: &mut Vec<Effect>) {
        if self.compaction.reading || now_ms < self.compaction.pause_until_ms {
            return;
        }
        if let Some(part) = self.compaction.loading.front() {
            let read = QueueRead {
                topic: Arc::clone(&part.topic),
                queue_id: part.queue_id,
                from: part.next,
                count_max: LOAD_COUNT,
                bytes_max: LOAD_BYTES,
                scan_max: LOAD_COUNT,
                filter: None,
            };
            let (topic, queue_id) = (Arc::clone(&part.topic), part.queue_id);
            self.compaction.reading = true;
            match self.store.read_queue(read) {
                // The rest is due with the next tick.
                QueueReadOutcome::Done(slice) => self.compacted_read(now_ms, &topic, queue_id, Some(slice)),
                QueueReadOutcome::Cold(plan) => {
                    self.start_read(plan, Pending::CompactedLoad { topic, queue_id }, out);
                }
            }
        }
    }

    /// A part was read; `None`: it could not be.
    pub(crate) fn compacted_read(
        &mut self,
        now_ms: i64,
        topic: &str,
        queue_id: u32,
        slice: Option<QueueSlice>,
    ) {
        let compaction = &mut self.compaction;
        compaction.reading = false;
        let Some(slice) = slice else {
            compaction.pause_until_ms = now_ms + RETRY_MS;
            return;
        };
        // A topic that was deleted meanwhile has no part any more. One that was created again has other messages.
        let Some(part) =
            compaction.loading.front_mut().filter(|part| (&*part.topic, part.queue_id) == (topic, queue_id))
        else {
            return;
        };
        let stuck = slice.next_offset <= part.next;
        part.next = slice.next_offset;
        let done = part.next >= part.end || stuck;
        self.counters.damaged += slice.damaged.len() as u64;
        for view in record::split(&slice.records).map_while(Result::ok) {
            let place = key_of(view.properties())
                .and_then(|key| compaction.place(view.topic, view.queue_id & !KEPT_QUEUE, key));
            if let Some(place) = place {
                compaction.see(place, message_of(&view));
            }
        }
        if done {
            compaction.loading.pop_front();
        }
        if !compaction.is_loading() {
            compaction.loaded();
        }
    }

    /// A message was appended to a compaction topic.
    pub(crate) fn compacted_appended(&mut self, message: &NewMessage<'_>, appended: &Appended) {
        let Some(key) = key_of(Properties(message.properties)) else { return };
        let kept = message.queue_id & KEPT_QUEUE != 0;
        let offset = if kept { message.prepared_transaction_offset as u64 } else { appended.queue_offset };
        let seen = Message { offset, position: appended.position, kept, ends: message.body.is_empty() };
        self.compaction.appended(message.topic, message.queue_id, key, appended.end, seen);
    }

    /// Whether a message may go to a topic that keeps the last one of each key. Source: `SendMessageProcessor.sendMessage`.
    pub(crate) fn refuse_uncompactable(&self, draft: &Draft) -> Result<(), Refused> {
        if !self.compaction.has(&draft.topic) {
            return Ok(());
        }
        let Some(key) = key_of(draft.properties.as_properties()) else {
            let remark = "Required message key is missing".to_owned();
            return Err(Refused(ResponseCode::MESSAGE_ILLEGAL, remark));
        };
        let max = self.config.limits.compacted_keys_max;
        if self.compaction.len() >= max && !self.compaction.knows(&draft.topic, draft.queue_id, &key) {
            let remark = format!("[COMPACTION]broker busy: its compaction topics have {max} keys, the limit");
            return Err(Refused(ResponseCode::SYSTEM_BUSY, remark));
        }
        Ok(())
    }

    /// Last messages that lie below a position are written again: the segment they lie in is to go.
    pub(crate) fn roll_compacted(&mut self, below: Position, out: &mut Vec<Effect>) {
        if self.compaction.rolling || self.compaction.is_loading() || self.draining {
            return;
        }
        let positions = self.compaction.below(below, ROLL_MAX);
        if !positions.is_empty() {
            self.compaction.rolling = true;
            let plan = self.store.plan_records(positions.clone());
            self.start_read(plan, Pending::RollCompacted { below, positions }, out);
        }
    }

    /// They were read; `None`: they could not be.
    pub(crate) fn compacted_rolled(
        &mut self,
        now_ms: i64,
        below: Position,
        positions: &[Position],
        found: Option<Vec<Option<Bytes>>>,
        out: &mut Vec<Effect>,
    ) {
        self.compaction.rolling = false;
        let Some(found) = found else { return };
        let changing = self.compaction.changing();
        for (position, record) in positions.iter().zip(found) {
            // One that is none any more, or soon will be, would outlive what took its place.
            let Some((place, offset)) = self.compaction.offset_at(*position) else { continue };
            if changing.contains(&place) {
                continue;
            }
            let Some(view) = record.as_deref().and_then(|bytes| RecordView::parse(bytes).ok()) else {
                self.counters.damaged += 1;
                self.compaction.lost(*position);
                continue;
            };
            let draft = Draft {
                topic: Arc::from(view.topic),
                queue_id: view.queue_id | KEPT_QUEUE,
                properties: PropertiesBuf::from(view.properties().0),
            };
            let kept = self.append_moved(true, now_ms, &view, &draft, |message| {
                // It may have been the end of a transaction: the copy is not.
                message.sys_flag &= !sys_flag::TRANSACTION_MASK;
                message.prepared_transaction_offset = offset as i64;
            });
            if kept.is_err() {
                // The log refuses for the moment: retention comes again.
                return;
            }
        }
        self.roll_compacted(below, out);
    }

    /// What was kept of a queue from an offset on, by offset and position; `None` while that is not known yet after a
    /// start.
    pub(crate) fn kept_from(
        &self,
        topic: &str,
        queue_id: u32,
        from: u64,
        count_max: usize,
    ) -> Option<Vec<(u64, Position)>> {
        if !self.compaction.has(topic) {
            return Some(Vec::new());
        }
        let below = self.store.first_left(topic, queue_id);
        if from < below && self.compaction.is_loading() {
            return None;
        }
        Some(self.compaction.kept(topic, queue_id, from, below, count_max.min(READ_COUNT_MAX)))
    }

    /// Whether messages of a queue that was read lie elsewhere by now: their segments went while the read was under way, and
    /// it may have passed over them. They are to be asked for again.
    pub(crate) fn was_overtaken(&self, topic: &str, queue_id: u32, from: u64, next: u64) -> bool {
        let kept = self.kept_from(topic, queue_id, from, 1);
        kept.is_none_or(|kept| kept.first().is_some_and(|(offset, _)| *offset < next))
    }

    /// Not more than one answer has room for.
    pub(crate) fn plan_kept(&self, kept: &[(u64, Position)]) -> ReadPlan {
        let positions = kept.iter().map(|(_, position)| *position).collect();
        self.store.plan_records_within(positions, READ_BYTES_MAX)
    }

    /// The message of an offset, by its position, if it was kept; `None` while that is not known yet.
    pub(crate) fn kept_one(&self, topic: &str, queue_id: u32, offset: u64) -> Option<Option<Position>> {
        let kept = self.kept_from(topic, queue_id, offset, 1)?;
        Some(kept.first().filter(|(at, _)| *at == offset).map(|(_, position)| *position))
    }

    /// Makes of what was kept and read what a read of the queue would give; `None`: it is to be asked for again.
    pub(crate) fn kept_slice(
        &mut self,
        (topic, queue_id): (&str, u32),
        kept: &[(u64, Position)],
        found: Vec<Option<Bytes>>,
        bytes_max: usize,
        filter: &Wanted,
    ) -> Option<QueueSlice> {
        let mut slice = QueueSlice::default();
        let mut records = BytesMut::new();
        let mut next = None;
        for ((offset, position), record) in kept.iter().zip(found) {
            let Some(record) = record else {
                if self.compaction.kept_at(topic, queue_id, *offset) != Some(*position) {
                    // It was written again meanwhile, or is a key's last message no more.
                    break;
                }
                self.counters.damaged += 1;
                next = Some(offset.saturating_add(1));
                continue;
            };
            let record = restored(record);
            if slice.count > 0 && records.len() + record.len() > bytes_max {
                break;
            }
            if wants(filter, &record) {
                records.extend_from_slice(&record);
                slice.count += 1;
            }
            next = Some(offset.saturating_add(1));
        }
        slice.records = records.freeze();
        slice.next_offset = next?;
        Some(slice)
    }

    /// Serves a pull from what was kept, if it asks for that; else gives it back.
    pub(crate) fn pull_compacted(
        &mut self,
        pull: PullRequest,
        from: u64,
        out: &mut Vec<Effect>,
    ) -> Option<PullRequest> {
        let Some(kept) = self.kept_from(&pull.topic, pull.queue_id, from, pull.count_max as usize) else {
            let why = "[COMPACTION]broker busy: what was kept of the topic is being read";
            let busy = Command { code: ResponseCode::SYSTEM_BUSY.into(), ..pull.response };
            out.push(Effect::Send { conn: pull.conn, command: busy.with_remark(why) });
            return None;
        };
        if kept.is_empty() {
            return Some(pull);
        }
        let plan = self.plan_kept(&kept);
        self.start_read(plan, Pending::PullCompacted { pull, kept }, out);
        None
    }

    /// What was kept was read for a pull.
    pub(crate) fn pull_compacted_read(
        &mut self,
        now_ms: i64,
        pull: PullRequest,
        kept: &[(u64, Position)],
        found: Vec<Option<Bytes>>,
        out: &mut Vec<Effect>,
    ) {
        let queue = (&*pull.topic, pull.queue_id);
        match self.kept_slice(queue, kept, found, pull.bytes_max as usize, &pull.filter) {
            Some(slice) => self.pull_read(pull, slice, out),
            None => self.serve_pull(now_ms, pull, out),
        }
    }
}

fn wants(filter: &Wanted, record: &[u8]) -> bool {
    let Some(filter) = filter else { return true };
    let tags = RecordView::parse(record).ok().and_then(|view| view.properties().get(property::TAGS));
    filter.tag(tags.map_or(0, properties::tag_code)) && filter.record(record)
}
