//! Timer messages: delivered at any millisecond, up to a longest delay, and recalled before it (code 370).
//!
//! They wait in `rmq_sys_wheel_timer`, whose queue entries carry the due time in place of a tag code: what is pending is
//! read from the index at a start and kept in order of due times. Delivery goes strictly in this order, so two numbers
//! say durably what was delivered: the due time and the offset of the last one. Messages that are due soon are read
//! ahead. Source of the rules: `HookUtils.handleScheduleMessage`, `RecallMessageProcessor`.

use crate::Broker;
use crate::effect::Effect;
use crate::input::ConnId;
use crate::moved::Origin;
use crate::pending::Pending;
use crate::produce::{Draft, Refused};
use crate::query::header_or_refuse;
use crate::state;
use crate::transaction::real_draft;
use bytes::Bytes;
use kerolox_store::{QueueEntry, QueueRead, QueueReadOutcome};
use kerolox_wire::header::{RecallMessage, RecallMessageResponse};
use kerolox_wire::names;
use kerolox_wire::properties::{Properties, PropertiesBuf, name as property};
use kerolox_wire::recall::RecallHandle;
use kerolox_wire::record::RecordView;
use kerolox_wire::{Command, ResponseCode};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// How long before its time a message is read.
const AHEAD_MS: i64 = 2_000;
/// Messages that are read at once, and bytes of those that wait in memory for their time.
const AHEAD_COUNT: usize = 512;
const AHEAD_BYTES_MAX: usize = 64 << 20;
/// Messages delivered at a time: others get their turn.
const DELIVER_MAX: usize = 2_048;
/// Pause after a delivery that the log refused, or a read that failed.
const RETRY_MS: i64 = 100;
/// Messages that are moved to the end of the log at a time, so that the segment they lie in can go.
const ROLL_MAX: usize = 1_024;

/// A timer message by its due time in milliseconds and its offset.
pub(crate) type Due = (i64, u64);

/// Where timer messages stand. What is durable of it: see `state`.
pub(crate) struct Timers {
    topic: Arc<str>,
    /// Pending and still to be read.
    unread: BTreeSet<Due>,
    /// Pending, and read ahead of their time.
    ahead: BTreeMap<Due, Ahead>,
    /// All that is pending.
    by_offset: BTreeMap<u64, Waiting>,
    /// Offset from which the index is still to be read; nothing is delivered before that.
    loading: Option<u64>,
    ready_bytes: usize,
    /// A read is under way.
    reading: bool,
    /// Nothing is tried before then.
    pause_until_ms: i64,
    /// Being moved to the end of the log.
    rolling: bool,
}

enum Ahead {
    Reading,
    Ready(Bytes),
    /// Damaged, or gone.
    Missing,
}

#[derive(Debug, Clone, Copy)]
struct Waiting {
    due_ms: i64,
    position: u64,
}

impl Timers {
    pub(crate) fn new() -> Self {
        Self {
            topic: Arc::from(names::WHEEL_TIMER_TOPIC),
            unread: BTreeSet::new(),
            ahead: BTreeMap::new(),
            by_offset: BTreeMap::new(),
            loading: Some(0),
            ready_bytes: 0,
            reading: false,
            pause_until_ms: 0,
            rolling: false,
        }
    }

    /// Whether all that is pending is known.
    pub(crate) fn is_loaded(&self) -> bool {
        self.loading.is_none()
    }

    /// How long the message that is due first has been due.
    pub(crate) fn late_ms(&self, now_ms: i64) -> i64 {
        let next = [self.unread.first(), self.ahead.keys().next()].into_iter().flatten().min();
        next.map_or(0, |due| now_ms.saturating_sub(due.0).max(0))
    }

    pub(crate) fn len(&self) -> usize {
        self.by_offset.len()
    }

    fn insert(&mut self, due_ms: i64, offset: u64, position: u64) {
        self.unread.insert((due_ms, offset));
        self.by_offset.insert(offset, Waiting { due_ms, position });
    }

    fn remove(&mut self, due: Due) {
        self.by_offset.remove(&due.1);
        self.unread.remove(&due);
        if let Some(Ahead::Ready(bytes)) = self.ahead.remove(&due) {
            self.ready_bytes -= bytes.len();
        }
    }

    /// Where the first message lies that is still needed.
    pub(crate) fn oldest(&self) -> Option<u64> {
        self.by_offset.first_key_value().map(|(_, waiting)| waiting.position)
    }

    /// The next message, if it was read.
    fn next_ahead(&self) -> Option<(Due, &Ahead)> {
        let (due, ahead) = self.ahead.first_key_value()?;
        self.unread.first().is_none_or(|unread| due < unread).then_some((*due, ahead))
    }

    /// How many may be read now: however much waits already, the next message is read.
    fn read_max(&self) -> usize {
        match self.ready_bytes > AHEAD_BYTES_MAX {
            true => usize::from(self.next_ahead().is_none()),
            false => AHEAD_COUNT,
        }
    }

    /// When there is something to do, given that messages below the offset `visible` are safe: one that is due before it is
    /// safe has to wait, and is no reason to look again and again.
    pub(crate) fn wake_ms(&self, visible: u64) -> Option<i64> {
        if self.loading.is_some() {
            return Some(self.pause_until_ms).filter(|_| !self.reading);
        }
        let unread = self.unread.first().filter(|due| due.1 < visible && !self.reading);
        let read_ms = unread.filter(|_| self.read_max() > 0).map(|due| due.0.saturating_sub(AHEAD_MS));
        let next = self.next_ahead().filter(|(_, ahead)| !matches!(ahead, Ahead::Reading));
        let deliver_ms = next.map(|(due, _)| due.0);
        let at = [read_ms, deliver_ms].into_iter().flatten().min()?;
        Some(at.max(self.pause_until_ms))
    }
}

impl Broker {
    /// Reads the index from where something may be pending. Called once at a start, and after each part.
    pub(crate) fn load_timers(&mut self, out: &mut Vec<Effect>) {
        let Some(next) = self.timers.loading else { return };
        let bounds = self.bounds(names::WHEEL_TIMER_TOPIC, 0);
        let from = next.max(bounds.min).max(self.state.timers.floor);
        if from >= bounds.max {
            self.timers.loading = None;
            return;
        }
        self.timers.loading = Some(from);
        self.timers.reading = true;
        let count = self.config.limits.timer_entries_at_once;
        let plan = self.store.plan_entries(names::WHEEL_TIMER_TOPIC, 0, from, count);
        self.start_read(plan, Pending::TimerIndex, out);
    }

    /// A part of the index was read; `None`: it could not be.
    pub(crate) fn timers_loaded(
        &mut self,
        now_ms: i64,
        entries: Option<Vec<QueueEntry>>,
        out: &mut Vec<Effect>,
    ) {
        self.timers.reading = false;
        let Some(entries) = entries else {
            self.timers.pause_until_ms = now_ms + RETRY_MS;
            return;
        };
        // What is lost has no entries: a part of which nothing is left is not the end.
        let count = u64::from(self.config.limits.timer_entries_at_once);
        let behind = self.timers.loading.unwrap_or(0).saturating_add(count);
        let next = entries.last().map_or(behind, |last| last.offset + 1);
        for entry in entries {
            let due = (entry.tag_code, entry.offset);
            // What was appended meanwhile is there already.
            if due > self.state.timers.done && !self.state.timers.recalled.contains(&due) {
                self.timers.insert(due.0, due.1, entry.position);
            }
        }
        self.timers.loading = Some(next);
        self.load_timers(out);
        if self.timers.loading.is_none() {
            self.tick_timers(now_ms, out);
        }
    }

    /// A message that asks for a time of its own waits in the timer topic. Source: `HookUtils.transformTimerMessage`.
    pub(crate) fn redirect_timed(&mut self, now_ms: i64, draft: &mut Draft) -> Result<(), Refused> {
        let max_ms = self.config.timer_max_delay_ms;
        let illegal = || {
            let remark = format!(
                "timer message illegal, the delay time should not be bigger than the max delay {max_ms}ms; or if set del msg, the delay time should be bigger than the current time"
            );
            Refused(ResponseCode::MESSAGE_ILLEGAL, remark)
        };
        let properties = draft.properties.as_properties();
        let number = |name| properties.get(name).map(|text| text.parse::<i64>().map_err(|_| illegal()));
        let deliver_ms = match (number(property::TIMER_DELAY_SEC), number(property::TIMER_DELAY_MS)) {
            (Some(seconds), _) => now_ms.saturating_add(seconds?.saturating_mul(1_000)),
            (None, Some(millis)) => now_ms.saturating_add(millis?),
            (None, None) => match number(property::TIMER_DELIVER_MS) {
                Some(at) => at?,
                None => return Ok(()),
            },
        };
        if deliver_ms <= now_ms {
            return Ok(());
        }
        if deliver_ms - now_ms > max_ms {
            return Err(illegal());
        }
        if self.timers.len() >= self.config.limits.timers_max {
            let max = self.config.limits.timers_max;
            let remark = format!("timer message is under flow control, max num limit is {max}");
            return Err(Refused(ResponseCode::SYSTEM_ERROR, remark));
        }
        self.wait_until(deliver_ms, draft);
        Ok(())
    }

    /// A message waits for a time.
    pub(crate) fn wait_until(&self, deliver_ms: i64, draft: &mut Draft) {
        // A clock that was ahead has delivered up to then already.
        let deliver_ms = deliver_ms.max(self.state.timers.done.0.saturating_add(1));
        draft.properties.set(property::TIMER_OUT_MS, &deliver_ms.to_string());
        draft.wait_in(Arc::clone(&self.timers.topic), 0);
    }

    /// A message was appended to the timer topic.
    pub(crate) fn timer_appended(&mut self, properties: Properties<'_>, offset: u64, position: u64) {
        let due_ms = properties.get(property::TIMER_OUT_MS).and_then(|text| text.parse().ok());
        self.timers.insert(due_ms.unwrap_or(0), offset, position);
    }

    /// Delivers what is due, and reads ahead what will be.
    pub(crate) fn tick_timers(&mut self, now_ms: i64, out: &mut Vec<Effect>) {
        if self.draining || now_ms < self.timers.pause_until_ms {
            return;
        }
        if self.timers.loading.is_some() {
            if !self.timers.reading {
                self.load_timers(out);
            }
            return;
        }
        self.read_ahead(now_ms, out);
        self.deliver_timers(now_ms);
    }

    fn deliver_timers(&mut self, now_ms: i64) {
        let visible = self.bounds(names::WHEEL_TIMER_TOPIC, 0).max;
        let mut done = None;
        for _ in 0..DELIVER_MAX {
            let Some((due, ahead)) = self.timers.next_ahead().filter(|(due, _)| due.0 <= now_ms) else {
                break;
            };
            let found = match ahead {
                Ahead::Reading => break,
                Ahead::Ready(bytes) => Some(bytes.clone()),
                Ahead::Missing => None,
            };
            match found.map(|bytes| self.deliver_timer(now_ms, due.1, &bytes)) {
                Some(Err(_)) => {
                    // The log refuses for the moment, and tells the next sender why.
                    self.counters.delay_refused += 1;
                    self.timers.pause_until_ms = now_ms + RETRY_MS;
                    break;
                }
                Some(Ok(())) => self.stats.totals.timers += 1,
                None => self.counters.damaged += 1,
            }
            self.timers.remove(due);
            done = Some(due);
        }
        if let Some(done) = done {
            let floor = self.timers.by_offset.first_key_value().map_or(visible, |(offset, _)| *offset);
            self.state.timers.advance(done, floor.min(visible));
            state::put_timer_done(&mut self.changes, &self.state.timers);
        }
    }

    fn deliver_timer(
        &mut self,
        now_ms: i64,
        offset: u64,
        bytes: &[u8],
    ) -> Result<(), kerolox_store::AppendError> {
        let view = RecordView::parse(bytes).ok();
        let Some((view, draft)) = view.and_then(|view| Some((view, real_draft(&view)?))) else {
            self.counters.delay_astray += 1;
            return Ok(());
        };
        let moved = self.append_again(now_ms, &view, &draft, |copy| Origin::Timer(offset).name_in(copy));
        self.or_astray(moved)
    }

    fn read_ahead(&mut self, now_ms: i64, out: &mut Vec<Effect>) {
        if self.timers.reading {
            return;
        }
        let visible = self.bounds(names::WHEEL_TIMER_TOPIC, 0).max;
        let soon = self.timers.unread.range(..=(now_ms + AHEAD_MS, u64::MAX));
        let wanted: Vec<Due> =
            soon.filter(|due| due.1 < visible).take(self.timers.read_max()).copied().collect();
        let mut cold = Vec::new();
        for due in wanted {
            self.timers.unread.remove(&due);
            self.timers.ahead.insert(due, Ahead::Reading);
            let read = QueueRead::one(Arc::clone(&self.timers.topic), 0, due.1);
            match self.store.read_queue(read) {
                QueueReadOutcome::Done(slice) if slice.count == 1 => {
                    self.timer_read(due.1, Some(slice.records))
                }
                _ => cold.push(due.1),
            }
        }
        // In order of their places, so that neighbours are read together.
        cold.sort_unstable();
        let place = |offset: &u64| self.timers.by_offset.get(offset).map(|waiting| waiting.position);
        let positions: Vec<u64> = cold.iter().filter_map(place).collect();
        if !positions.is_empty() {
            self.timers.reading = true;
            let plan = self.store.plan_records(positions);
            self.start_read(plan, Pending::Timers { offsets: cold }, out);
        }
    }

    fn timer_read(&mut self, offset: u64, found: Option<Bytes>) {
        // One that was recalled meanwhile is not waited for.
        let Some(due) = self.timers.by_offset.get(&offset).map(|waiting| (waiting.due_ms, offset)) else {
            return;
        };
        self.timers.ready_bytes += found.as_ref().map_or(0, Bytes::len);
        self.timers.ahead.insert(due, found.map_or(Ahead::Missing, Ahead::Ready));
    }

    /// Messages were read ahead; `None`: they could not be.
    pub(crate) fn timers_read(
        &mut self,
        now_ms: i64,
        offsets: &[u64],
        found: Option<Vec<Option<Bytes>>>,
        out: &mut Vec<Effect>,
    ) {
        self.timers.reading = false;
        if let Some(found) = found {
            for (offset, record) in offsets.iter().zip(found) {
                self.timer_read(*offset, record);
            }
        } else {
            self.timers.pause_until_ms = now_ms + RETRY_MS;
            for offset in offsets {
                let waiting = self.timers.by_offset.get(offset);
                if let Some(due) = waiting.map(|waiting| (waiting.due_ms, *offset)) {
                    self.timers.ahead.remove(&due);
                    self.timers.unread.insert(due);
                }
            }
        }
        self.tick_timers(now_ms, out);
    }

    /// Moves pending messages below `position` to the end of the log: the segment they lie in is to go.
    pub(crate) fn roll_timers(&mut self, below: u64, out: &mut Vec<Effect>) {
        if self.timers.rolling || self.timers.loading.is_some() || self.draining {
            return;
        }
        let oldest = self.timers.by_offset.iter().take_while(|(_, waiting)| waiting.position < below);
        let (offsets, positions): (Vec<u64>, Vec<u64>) =
            oldest.take(ROLL_MAX).map(|(offset, waiting)| (*offset, waiting.position)).unzip();
        if !offsets.is_empty() {
            self.timers.rolling = true;
            let plan = self.store.plan_records(positions);
            self.start_read(plan, Pending::RollTimers { offsets }, out);
        }
    }

    pub(crate) fn timers_rolled(&mut self, now_ms: i64, offsets: &[u64], found: Option<Vec<Option<Bytes>>>) {
        self.timers.rolling = false;
        for (offset, record) in offsets.iter().zip(found.unwrap_or_default()) {
            let Some(waiting) = self.timers.by_offset.get(offset).copied() else { continue };
            let view = record.as_deref().and_then(|bytes| RecordView::parse(bytes).ok());
            if let Some(view) = view {
                let properties = PropertiesBuf::from(view.properties().0);
                let draft = Draft { topic: Arc::clone(&self.timers.topic), queue_id: 0, properties };
                let kept = self.append_moved(true, now_ms, &view, &draft, |copy| {
                    Origin::TimerKept(*offset).name_in(copy)
                });
                match kept {
                    // It waits where it is.
                    Err(e) if e.is_final() => continue,
                    Err(_) => return,
                    Ok(_) => {}
                }
            } else {
                self.counters.damaged += 1;
            }
            self.cancel_timer((waiting.due_ms, *offset));
        }
    }

    /// A pending message is not to be delivered.
    fn cancel_timer(&mut self, due: Due) {
        self.timers.remove(due);
        self.state.timers.recalled.insert(due);
        state::put_timer_recalled(&mut self.changes, due);
    }

    /// Code 370. The handle names topic, broker, due time and unique id; the message is found by its id.
    pub(crate) fn recall(&mut self, conn: ConnId, request: Command, out: &mut Vec<Effect>) {
        match self.admit_recall(&request) {
            Ok(handle) => {
                let plan = self.store.plan_query_key(names::WHEEL_TIMER_TOPIC, &handle.id, 32, 0, i64::MAX);
                self.start_read(plan, Pending::Recall { conn, request, handle }, out);
            }
            Err(Refused(code, remark)) => self.reply(conn, &request, request.refuse(code, remark), out),
        }
    }

    fn admit_recall(&self, request: &Command) -> Result<RecallHandle, Refused> {
        let header: RecallMessage<'_> = request.header()?;
        self.refuse_if_draining()?;
        if !self.config.recall {
            return Err(Refused(ResponseCode::NO_PERMISSION, "recall failed, operation is forbidden".into()));
        }
        if self.state.topics.get(header.topic).is_none() {
            let remark = format!("recall failed, the topic[{}] not exist", header.topic);
            return Err(Refused(ResponseCode::TOPIC_NOT_EXIST, remark));
        }
        let illegal = |remark: &str| Refused(ResponseCode::ILLEGAL_OPERATION, remark.to_owned());
        let handle =
            RecallHandle::parse(header.recall_handle).ok_or_else(|| illegal("recall handle is invalid"))?;
        if handle.topic != header.topic {
            return Err(illegal("recall failed, topic not match"));
        }
        if handle.broker != self.config.name {
            return Err(illegal("recall failed, broker service not available"));
        }
        Ok(handle)
    }

    pub(crate) fn recall_found(
        &mut self,
        conn: ConnId,
        request: &Command,
        handle: &RecallHandle,
        found: &[Option<Bytes>],
        out: &mut Vec<Effect>,
    ) {
        let header: RecallMessage<'_> = header_or_refuse!(self, conn, request, out);
        let meant = |view: &RecordView<'_>| {
            view.properties().get(property::UNIQ_CLIENT_MESSAGE_ID_KEYIDX) == Some(&handle.id)
                && view.properties().get(property::REAL_TOPIC) == Some(header.topic)
        };
        let views = found.iter().flatten().filter_map(|bytes| RecordView::parse(bytes).ok());
        let pending = views.filter(meant).find_map(|view| {
            let waiting = self.timers.by_offset.get(&view.queue_offset)?;
            Some((waiting.due_ms, view.queue_offset))
        });
        if pending.is_none() && !self.timers.is_loaded() {
            let remark = "[TIMER]broker busy: what waits is being read";
            return self.reply(conn, request, request.refuse(ResponseCode::SYSTEM_BUSY, remark), out);
        }
        let Some(due) = pending else {
            let remark = "recall failed, timestamp invalid: the message was delivered or recalled before";
            let refusal = request.refuse(ResponseCode::ILLEGAL_OPERATION, remark);
            return self.reply(conn, request, refusal, out);
        };
        self.cancel_timer(due);
        let answer = RecallMessageResponse { msg_id: &handle.id, ..Default::default() };
        if !request.is_oneway() {
            self.acks.wait_for_state(conn, request.respond(ResponseCode::SUCCESS).with_header(&answer));
        }
    }

    /// What a producer needs to recall a message that it has just sent, if that waits for its time.
    pub(crate) fn recall_handle(&self, draft: &Draft, id: &str) -> Option<String> {
        if !self.config.recall || *draft.topic != *names::WHEEL_TIMER_TOPIC {
            return None;
        }
        let properties = draft.properties.as_properties();
        let topic = properties.get(property::REAL_TOPIC)?.to_owned();
        if topic.starts_with(names::RETRY_PREFIX) {
            return None;
        }
        let deliver_ms = properties.get(property::TIMER_OUT_MS)?.parse().ok()?;
        let handle = RecallHandle { topic, broker: self.config.name.clone(), deliver_ms, id: id.to_owned() };
        Some(handle.to_string())
    }
}
