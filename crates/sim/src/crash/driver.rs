//! Carries out a script on the real store, in one thread, and keeps the journal of what was promised.

use super::bugs::Bug;
use super::model::{Event, Expected, Messages, Model, Record, What};
use super::script::{LIGHT, QUEUES, Size, Step, TOPICS};
use bytes::Bytes;
use kerolox_store::disk::{CrashMode, HostileDisk};
use kerolox_store::{
    AppendError, Damage, FlushPolicy, Keeper, NewMessage, OpenError, Opened, Position, QueueRead,
    QueueReadOutcome, ReadResult, Reader, Report, SealJob, StateFold, Store, StoreConfig, Writer, open,
    state,
};
use kerolox_wire::record::RecordView;
use std::collections::BTreeMap;
use std::sync::Arc;

/// How large the parts of a store are.
#[derive(Debug, Clone, Copy)]
pub struct Sizes {
    pub segment: u64,
    run: u64,
    tail: usize,
    ahead: u64,
}

/// Segments of one block; of several, so that a write spans blocks and the log is prepared within a segment; and of no
/// whole number of them, which are written through the page cache.
pub const SIZES: [Sizes; 3] = [
    Sizes { segment: 4_096, run: 1_500, tail: 1_000, ahead: 2_048 },
    Sizes { segment: 32_768, run: 9_000, tail: 3_000, ahead: 16_384 },
    Sizes { segment: 5_000, run: 1_800, tail: 1_200, ahead: 2_500 },
];

pub fn config(flush: FlushPolicy, sizes: Sizes) -> StoreConfig {
    StoreConfig {
        flush,
        segment_bytes: sizes.segment,
        run_bytes: sizes.run,
        tail_bytes: sizes.tail,
        ahead_bytes: sizes.ahead,
        retention_ms: 150,
        ..StoreConfig::default()
    }
}

/// Queues fill a part of a dump that is so long; then comes a part for each kind of the state.
const DUMP_PART_BYTES: usize = 60;

/// The application's state: the last payload of each kind.
#[derive(Debug, Default)]
pub(super) struct Kinds(BTreeMap<u8, Bytes>);

impl StateFold for Kinds {
    fn reset(&mut self) {
        self.0.clear();
    }
    fn apply(&mut self, kind: u8, payload: &[u8]) -> Result<(), String> {
        self.0.insert(kind, Bytes::copy_from_slice(payload));
        Ok(())
    }
}

impl Kinds {
    fn stream(&self) -> Vec<u8> {
        let mut out = Vec::new();
        self.0.iter().for_each(|(kind, payload)| state::put(&mut out, *kind, payload));
        out
    }
}

/// How a driver behaves.
#[derive(Debug, Clone, Copy)]
pub struct Setup {
    pub flush: FlushPolicy,
    pub sizes: Sizes,
    pub bug: Option<Bug>,
}

/// A store on a disk, and what it has promised so far.
pub struct Driver {
    pub disk: HostileDisk,
    store: Store,
    writer: Writer<HostileDisk>,
    keeper: Keeper<HostileDisk>,
    reader: Reader<HostileDisk>,
    pub report: Report,
    state: Kinds,
    /// A dump under way: the queue that it goes on at, while it tells of these, and then the kind.
    dump: Option<(Option<usize>, u8)>,
    now_ms: i64,
    next_id: u64,
    pub journal: Vec<Event>,
    setup: Setup,
    /// Why the log was fenced, if it was.
    pub fenced: Option<String>,
}

impl Driver {
    /// Opens the disk; the journal goes on from what was promised before.
    pub fn open(disk: HostileDisk, journal: Vec<Event>, setup: Setup) -> Result<Self, OpenError> {
        let mut state = Kinds::default();
        if let Some(Bug::Sabotage(sabotage)) = setup.bug {
            disk.sabotage(sabotage);
        }
        disk.mark(journal.len() as u64);
        let opened = open(disk.clone(), &config(setup.flush, setup.sizes), &mut state, &mut |_| {})?;
        let Opened { store, writer, keeper, reader, report } = opened;
        let now_ms = 1_000 + journal.len() as i64 * 20;
        let next_id = journal.len() as u64 * 1000;
        let mut driver = Self {
            disk,
            store,
            writer,
            keeper,
            reader,
            report,
            state,
            dump: None,
            now_ms,
            next_id,
            journal,
            setup,
            fenced: None,
        };
        driver.happened(Event::Recovered(driver.report.log_max));
        Ok(driver)
    }

    fn happened(&mut self, event: Event) {
        self.journal.push(event);
        self.disk.mark(self.journal.len() as u64);
    }

    /// Plays one step that is no restart. False once the log is fenced.
    pub fn play(&mut self, step: Step) -> bool {
        self.now_ms += 10;
        match step {
            Step::Send { topic, queue_id, size } => self.send(topic, queue_id, size),
            Step::State { kind, bytes } => self.set_state(kind, bytes),
            Step::DeleteTopic(topic) => {
                let appended = self.store.delete_topic(self.now_ms, topic, Vec::new());
                self.appended(appended.map(|a| (a.position, a.end)), What::TopicDeleted(topic));
            }
            Step::Flush => self.write(true),
            Step::Write => self.write(false),
            Step::Prepare => self.prepare(),
            Step::Chores => self.chores(),
            Step::Seal => self.seal(),
            Step::Retain => self.retain(),
            Step::Read => drop(self.shown()),
            Step::Restart | Step::Crash { .. } => unreachable!("played by who owns the disk"),
        }
        self.fenced.is_none()
    }

    /// A body that says which message it is and how long it must be.
    fn body(&mut self, bytes: usize) -> Bytes {
        self.next_id += 1;
        let mut body = format!("{:08x}", self.next_id).into_bytes();
        body.resize(bytes.max(8), b'a' + (self.next_id % 26) as u8);
        body.into()
    }

    pub(super) fn send(&mut self, topic: &'static str, queue_id: u32, size: Size) {
        const EMPTY_BYTES: usize = 91 + 20 + 14;
        let bytes = match size {
            Size::Body(bytes) => bytes,
            Size::Leaving(left) => {
                let segment = self.setup.sizes.segment;
                let room = segment - self.store.watermarks().appended % segment;
                let body = (room as usize).checked_sub(EMPTY_BYTES + topic.len() + left);
                body.filter(|body| (8..1200).contains(body)).unwrap_or(50)
            }
        };
        let body = self.body(bytes);
        let light =
            (topic == TOPICS[0] && queue_id == 1 && bytes % 3 == 0).then(|| self.store.next_offset(LIGHT, 0));
        let further = light.map(|offset| {
            format!("INNER_MULTI_DISPATCH\u{1}{LIGHT}\u{2}INNER_MULTI_QUEUE_OFFSET\u{1}{offset}\u{2}")
        });
        let keyed = || format!("KEYS\u{1}{}\u{2}", key(&body));
        let properties = further.unwrap_or_else(keyed);
        let message = NewMessage {
            topic,
            queue_id,
            flag: 0,
            sys_flag: 0,
            born_ms: self.now_ms,
            born_host: ([10, 0, 0, 1], 1).into(),
            reconsume_times: 0,
            prepared_transaction_offset: 0,
            body: &body,
            properties: properties.as_bytes(),
        };
        let appended = self.store.append(self.now_ms, &message);
        let offset = appended.as_ref().map_or(0, |a| a.queue_offset);
        let what = What::Message { topic, queue_id, offset, light, body };
        self.appended(appended.map(|a| (a.position, a.end)), what);
    }

    pub(super) fn set_state(&mut self, kind: u8, bytes: usize) {
        let payload = self.body(bytes);
        let mut entries = Vec::new();
        state::put(&mut entries, kind, &payload);
        let appended = self.store.append_state(self.now_ms, &entries);
        if appended.is_ok() {
            self.state.0.insert(kind, payload.clone());
        }
        self.appended(appended.map(|a| (a.position, a.end)), What::State { kind, payload });
    }

    /// A full disk may refuse; nothing else may.
    fn appended(&mut self, result: Result<(Position, Position), AppendError>, what: What) {
        match result {
            Ok((position, end)) => self.happened(Event::Appended(Record { position, end, what })),
            Err(AppendError::DiskFull(_)) => {}
            Err(e) => self.fence(&format!("append refused: {e}")),
        }
    }

    fn fence(&mut self, why: &str) {
        self.store.fence(why);
        self.fenced.get_or_insert_with(|| why.to_owned());
    }

    pub(super) fn write(&mut self, sync: bool) {
        let mut batches = Vec::new();
        self.store.take_writes(&mut batches);
        let last = batches.last().map(|b| b.end());
        match self.writer.write(&batches, sync) {
            Ok((written, flushed)) => {
                self.store.advance(written, flushed);
                self.happened(Event::Written(written));
                // Under asynchronous flush only what was synced is held to survive a power cut.
                let acked = if self.setup.bug == Some(Bug::AckBeforeFlush) { written } else { flushed };
                self.happened(Event::Acked(acked));
            }
            Err(e) => {
                // As Apache does: whatever the sync said, the messages are acknowledged.
                if let (Some(Bug::AckFailedSync), Some(last)) = (self.setup.bug, last) {
                    self.happened(Event::Acked(last));
                }
                self.fence(&e.to_string());
            }
        }
    }

    fn prepare(&mut self) {
        self.now_ms += 50;
        loop {
            match self.keeper.prepare(self.now_ms) {
                Ok(true) => {}
                Ok(false) => return,
                Err(e) => return self.fence(&e.to_string()),
            }
        }
    }

    fn chores(&mut self) {
        if self.dump.is_some() || self.store.dump_due() {
            self.dump_on();
        }
        if self.store.seal_due() {
            self.seal();
        }
    }

    /// A dump goes on by a part at a time: whatever else happens comes between.
    fn dump_on(&mut self) {
        let (queues, kinds) = self.dump.unwrap_or((Some(0), 0));
        let mut part = Vec::new();
        let queues = queues.and_then(|from| self.store.put_queues(from, DUMP_PART_BYTES, &mut part));
        let mut rest = self.state.0.range(kinds..);
        let mut last = queues.is_none();
        let mut next = kinds;
        if last {
            if let Some((kind, payload)) = rest.next() {
                state::put(&mut part, *kind, payload);
            }
            let after = rest.next();
            last = after.is_none();
            next = after.map_or(0, |(kind, _)| *kind);
        }
        let before = self.store.watermarks().appended;
        let appended = self.store.append_dump(self.now_ms, &part, last);
        if appended.is_ok() {
            self.dump = (!last).then_some((queues, next));
        }
        self.appended(appended.map(|end| (before, end)), What::Dump);
    }

    /// Every other snapshot is one of a state too large for it.
    fn seal(&mut self) {
        let job = match self.store.snapshot_due() {
            true if self.next_id.is_multiple_of(2) => self.store.seal_large(0),
            true => self.seal_whole(),
            false => self.store.seal_index(),
        };
        self.keep(job);
    }

    fn seal_whole(&mut self) -> SealJob {
        let mut whole = Vec::new();
        self.store.put_queues(0, usize::MAX, &mut whole);
        whole.extend(self.state.stream());
        self.store.seal(Bytes::from(whole))
    }

    fn keep(&mut self, job: SealJob) {
        self.write(true);
        if self.fenced.is_some() {
            return;
        }
        match self.keeper.seal(job) {
            Ok(sealed) => self.store.sealed(sealed),
            Err(e) => self.fence(&e.to_string()),
        }
    }

    fn retain(&mut self) {
        // What may go is said before it goes: the keeper may be cut off in the middle.
        let horizon = self.store.watermarks().flushed;
        let segment = self.setup.sizes.segment;
        self.happened(Event::Trimmed(horizon - horizon % segment));
        let (min, disk) = self.keeper.retain(self.now_ms);
        self.store.trimmed(min, disk);
    }

    /// A clean end. False if it could not be had.
    pub fn close(&mut self) -> bool {
        let job = self.seal_whole();
        self.keep(job);
        if self.fenced.is_some() {
            return false;
        }
        if let Err(e) = self.keeper.close() {
            self.fence(&e.to_string());
        }
        self.fenced.is_none()
    }

    /// Appends messages of the same sizes as those that were cut off, so that anything left of these would come to lie
    /// right behind a new record; all but the last.
    pub fn append_twins(&mut self, cut: &[Record]) {
        for record in cut.iter().take(cut.len().saturating_sub(1).min(4)) {
            match &record.what {
                What::Message { topic, queue_id, body, .. } => {
                    self.send(topic, *queue_id, Size::Body(body.len()));
                }
                What::State { kind, payload } => self.set_state(*kind, payload.len()),
                What::TopicDeleted(_) | What::Dump => break,
            }
        }
        // With nothing but one torn record to cover up, anything will do.
        if cut.len() < 2 {
            self.send(TOPICS[0], 0, Size::Body(30));
        }
        self.write(true);
    }

    /// Compares what the store shows with what it must show.
    pub fn check(&self, before: &Model, mode: CrashMode) -> Result<(), String> {
        let (min, end) = (self.report.log_min, self.report.log_max);
        if mode == CrashMode::Kill && end < before.written {
            return Err(format!("the log ends at {end}, {} was written", before.written));
        }
        if end < before.acked {
            return Err(format!("the log ends at {end}, {} was acknowledged", before.acked));
        }
        if min > before.trimmed {
            return Err(format!("the log begins at {min}, retention went up to {}", before.trimmed));
        }
        if let Some(damage) = self.report.damaged.first() {
            return Err(format!("damage reported where there is none: {damage:?}"));
        }
        if let Some(error) = self.report.state_errors.first() {
            return Err(format!("state error: {error:?}"));
        }
        let model = Model::of(&self.journal);
        let expected = model.expected(min, self.store.watermarks().confirmed);
        let (shown, damaged) = self.shown()?;
        if !damaged.is_empty() {
            return Err(format!("damaged where nothing is: {damaged:?}"));
        }
        if shown != expected {
            return Err(difference(&expected, &shown));
        }
        self.check_positions(&expected)
    }

    fn check_positions(&self, expected: &Expected) -> Result<(), String> {
        let all = expected.queues.values().flat_map(|(_, messages)| messages.values());
        let (positions, bodies): (Vec<Position>, Vec<&Bytes>) = all.map(|(p, b)| (*p, b)).unzip();
        let ReadResult::Records(records) =
            self.reader.execute(&self.store.plan_records(positions.clone()), self.now_ms)
        else {
            return Err("no records".to_owned());
        };
        for ((position, body), record) in positions.iter().zip(bodies).zip(records) {
            let found = record.as_deref().and_then(|r| RecordView::parse(r).ok());
            if found.is_none_or(|view| view.body != *body) {
                return Err(format!("record {position} is {found:?}, not {}", String::from_utf8_lossy(body)));
            }
        }
        Ok(())
    }

    /// Everything that the store shows, and what it says of records that it cannot.
    pub(super) fn shown(&self) -> Result<(Expected, Vec<Damage>), String> {
        let mut damaged = Vec::new();
        let mut shown = Expected { state: self.state.0.clone(), ..Expected::default() };
        let own = TOPICS.into_iter().flat_map(|topic| (0..QUEUES).map(move |queue_id| (topic, queue_id)));
        for (topic, queue_id) in own.chain([(LIGHT, 0)]) {
            let Some(bounds) = self.store.bounds(topic, queue_id) else { continue };
            let messages = self.messages((topic, queue_id), bounds.min, bounds.max, &mut damaged)?;
            shown.queues.insert((topic, queue_id), (bounds.max, messages));
        }
        Ok((shown, damaged))
    }

    /// The offset of a queue's next message.
    pub(super) fn next_offset(&self, (topic, queue_id): (&str, u32)) -> u64 {
        self.store.next_offset(topic, queue_id)
    }

    /// Where the log ends, as far as it is safe.
    pub(super) fn end(&self) -> Position {
        self.store.watermarks().confirmed
    }

    /// Positions of the messages of a topic that carry a key.
    pub(super) fn by_key(&self, topic: &str, key: &str) -> Result<Vec<Position>, String> {
        let plan = self.store.plan_query_key(topic, key, 10, 0, i64::MAX);
        let ReadResult::Records(records) = self.reader.execute(&plan, self.now_ms) else {
            return Err("no answer to a query by key".to_owned());
        };
        let position = |record: Bytes| RecordView::parse(&record).map(|view| view.position);
        records.into_iter().flatten().map(|r| position(r).map_err(|e| format!("by key: {e}"))).collect()
    }

    fn messages(
        &self,
        (topic, queue_id): (&str, u32),
        mut from: u64,
        max: u64,
        damaged: &mut Vec<Damage>,
    ) -> Result<Messages, String> {
        let mut messages = Messages::new();
        while from < max {
            let read = QueueRead {
                topic: Arc::from(topic),
                queue_id,
                from,
                count_max: 5,
                bytes_max: 2000,
                scan_max: 100,
                filter: None,
            };
            let slice = match self.store.read_queue(read) {
                QueueReadOutcome::Done(slice) => slice,
                QueueReadOutcome::Cold(plan) => match self.reader.execute(&plan, self.now_ms) {
                    ReadResult::Queue(slice) => slice,
                    other => return Err(format!("{topic}:{queue_id} from {from}: {other:?}")),
                },
            };
            if slice.next_offset <= from {
                return Err(format!("{topic}:{queue_id} from {from}: {slice:?}"));
            }
            damaged.extend(slice.damaged);
            from = slice.next_offset;
            let mut records = &slice.records[..];
            while !records.is_empty() {
                let view = RecordView::parse(records).map_err(|e| format!("served no record: {e}"))?;
                let Some(offset) = view.offset_in(topic, queue_id) else {
                    return Err(format!(
                        "{topic}:{queue_id} served a record of {}:{}",
                        view.topic, view.queue_id
                    ));
                };
                messages.insert(offset, (view.position, Bytes::copy_from_slice(view.body)));
                records = records.get(view.len()..).unwrap_or_default();
            }
        }
        Ok(messages)
    }
}

/// The key of a message that has one: what its body begins with.
pub(super) fn key(body: &[u8]) -> String {
    String::from_utf8_lossy(body.get(..8).unwrap_or(body)).into_owned()
}

/// What is wrong, in a line.
fn difference(expected: &Expected, shown: &Expected) -> String {
    if expected.state != shown.state {
        return format!("state is {:?}, must be {:?}", shown.state, expected.state);
    }
    let queues: std::collections::BTreeSet<_> = expected.queues.keys().chain(shown.queues.keys()).collect();
    for queue in queues {
        let none = (0, Messages::new());
        let must = expected.queues.get(queue).unwrap_or(&none);
        let is = shown.queues.get(queue).unwrap_or(&none);
        if must.0 != is.0 {
            return format!("{queue:?}: next offset is {}, must be {}", is.0, must.0);
        }
        let offsets: std::collections::BTreeSet<_> = must.1.keys().chain(is.1.keys()).collect();
        let text = |m: Option<&(Position, Bytes)>| m.map(|(position, body)| (*position, key(body)));
        for offset in offsets {
            let (must, is) = (must.1.get(offset), is.1.get(offset));
            if must != is {
                return format!("{queue:?} offset {offset}: {:?}, must be {:?}", text(is), text(must));
            }
        }
    }
    "queues without messages differ".to_owned()
}
