//! A store on a hostile disk, driven in one thread.

use bytes::Bytes;
use kerolox_store::disk::{Disk, HostileDisk};
use kerolox_store::{
    AppendError, Appended, Keeper, NewMessage, OpenError, Opened, QueueRead, QueueReadOutcome, QueueSlice,
    ReadResult, Reader, Report, SealJob, StateFold, Store, StoreConfig, WriteBatch, WriteError, Writer, open,
};
use kerolox_wire::properties::PropertiesBuf;
use kerolox_wire::record::RecordView;
use std::collections::BTreeMap;
use std::sync::Arc;

pub(crate) const SEGMENT: u64 = 16 << 10;

pub(crate) fn config() -> StoreConfig {
    StoreConfig {
        segment_bytes: SEGMENT,
        run_bytes: 4 << 10,
        tail_bytes: 8 << 10,
        ahead_bytes: 8 << 10,
        retention_ms: 1000,
        ..StoreConfig::default()
    }
}

/// State as these tests keep it: the last payload of each kind.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Kinds(pub(crate) BTreeMap<u8, Vec<u8>>);

impl StateFold for Kinds {
    fn reset(&mut self) {
        self.0.clear();
    }
    fn apply(&mut self, kind: u8, payload: &[u8]) -> Result<(), String> {
        if payload == b"refuse" {
            return Err("refused".to_owned());
        }
        self.0.insert(kind, payload.to_vec());
        Ok(())
    }
}

impl Kinds {
    pub(crate) fn stream(&self) -> Vec<u8> {
        let mut out = Vec::new();
        self.0.iter().for_each(|(kind, payload)| kerolox_store::state::put(&mut out, *kind, payload));
        out
    }
}

/// A message as it is appended and as it comes back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Message {
    pub(crate) topic: String,
    pub(crate) queue_id: u32,
    pub(crate) body: Vec<u8>,
    pub(crate) tags: String,
    pub(crate) keys: String,
}

impl Message {
    pub(crate) fn new(topic: &str, queue_id: u32, body: &[u8]) -> Self {
        let (topic, body) = (topic.to_owned(), body.to_vec());
        Self { topic, queue_id, body, tags: String::new(), keys: String::new() }
    }

    pub(crate) fn of(view: &RecordView<'_>) -> Self {
        let property = |name| view.properties().get(name).unwrap_or_default().to_owned();
        assert!(!view.has_crc(), "clients must not see the checksum property");
        Self {
            topic: view.topic.to_owned(),
            queue_id: view.queue_id,
            body: view.body.to_vec(),
            tags: property("TAGS"),
            keys: property("KEYS"),
        }
    }
}

pub(crate) struct World<D: Disk = HostileDisk> {
    pub(crate) disk: D,
    pub(crate) store: Store,
    pub(crate) writer: Writer<D>,
    pub(crate) keeper: Keeper<D>,
    pub(crate) reader: Reader<D>,
    pub(crate) report: Report,
    pub(crate) state: Kinds,
    pub(crate) now: i64,
}

impl World {
    /// Bytes of all files.
    pub(crate) fn used(&self) -> u64 {
        self.disk.paths().iter().map(|path| self.disk.content(path).unwrap().len() as u64).sum()
    }
}

impl<D: Disk> World<D> {
    pub(crate) fn try_open(disk: D, config: &StoreConfig) -> Result<Self, OpenError> {
        let mut state = Kinds::default();
        let Opened { store, writer, keeper, reader, report } =
            open(disk.clone(), config, &mut state, &mut |_| {})?;
        Ok(Self { disk, store, writer, keeper, reader, report, state, now: 1000 })
    }

    pub(crate) fn open(disk: D) -> Self {
        Self::open_with(disk, &config())
    }

    pub(crate) fn open_with(disk: D, config: &StoreConfig) -> Self {
        Self::try_open(disk, config).unwrap()
    }

    pub(crate) fn try_append(&mut self, message: &Message) -> Result<Appended, AppendError> {
        let mut properties = PropertiesBuf::new();
        for (name, value) in [("TAGS", &message.tags), ("KEYS", &message.keys)] {
            if !value.is_empty() {
                properties.set(name, value);
            }
        }
        self.now += 1;
        self.store.append(
            self.now,
            &NewMessage {
                topic: &message.topic,
                queue_id: message.queue_id,
                flag: 0,
                sys_flag: 0,
                born_ms: self.now,
                born_host: "1.2.3.4:5".parse().unwrap(),
                reconsume_times: 0,
                prepared_transaction_offset: 0,
                body: &message.body,
                properties: properties.as_bytes(),
            },
        )
    }

    pub(crate) fn append(&mut self, message: &Message) -> Appended {
        self.try_append(message).unwrap()
    }

    /// A plain message of a length.
    pub(crate) fn send(&mut self, topic: &str, queue_id: u32, body: &str) -> Appended {
        self.append(&Message::new(topic, queue_id, body.as_bytes()))
    }

    /// Sets a kind of the state.
    pub(crate) fn set_state(&mut self, kind: u8, payload: &[u8]) -> Appended {
        let mut entries = Vec::new();
        kerolox_store::state::put(&mut entries, kind, payload);
        self.now += 1;
        let appended = self.store.append_state(self.now, &entries).unwrap();
        let _ = self.state.apply(kind, payload);
        appended
    }

    pub(crate) fn try_write(&mut self, sync: bool) -> Result<(), WriteError> {
        let mut batches: Vec<WriteBatch> = Vec::new();
        self.store.take_writes(&mut batches);
        let (written, flushed) = self.writer.write(&batches, sync)?;
        self.store.advance(written, flushed);
        Ok(())
    }

    pub(crate) fn write(&mut self, sync: bool) {
        self.try_write(sync).unwrap();
    }

    pub(crate) fn flush(&mut self) {
        self.write(true);
    }

    pub(crate) fn prepare(&mut self) {
        self.now += 50;
        while self.keeper.prepare(self.now).unwrap() {}
    }

    /// The whole state as an entry stream.
    pub(crate) fn whole(&self) -> Vec<u8> {
        let mut out = Vec::new();
        assert_eq!(self.store.put_queues(0, usize::MAX, &mut out), None);
        out.extend(self.state.stream());
        out
    }

    pub(crate) fn dump(&mut self) {
        self.now += 1;
        self.store.append_dump(self.now, &self.whole(), true).unwrap();
    }

    pub(crate) fn seal(&mut self) {
        let job = self.store.seal(Bytes::from(self.whole()));
        self.keep(job);
    }

    /// As with a state too large for snapshots.
    pub(crate) fn seal_large(&mut self) {
        let job = self.store.seal_large(0);
        self.keep(job);
    }

    /// Without the state.
    pub(crate) fn seal_index(&mut self) {
        let job = self.store.seal_index();
        self.keep(job);
    }

    fn keep(&mut self, job: SealJob) {
        self.flush();
        let sealed = self.keeper.seal(job).unwrap();
        self.store.sealed(sealed);
    }

    /// As a broker does between requests.
    pub(crate) fn chores(&mut self) {
        if self.store.dump_due() {
            self.dump();
        }
        self.flush();
        if self.store.seal_due() {
            if self.store.snapshot_due() { self.seal() } else { self.seal_index() }
        }
        self.prepare();
    }

    /// Messages until the log is so long.
    pub(crate) fn grow(&mut self, bytes: u64) {
        while self.store.watermarks().appended < bytes {
            self.send("T", 0, &"m".repeat(300));
            self.chores();
        }
    }

    /// Retention now.
    pub(crate) fn retain(&mut self) {
        let (min, disk) = self.keeper.retain(self.now);
        self.store.trimmed(min, disk);
    }

    /// A clean end; the disk stays.
    pub(crate) fn close(mut self) -> D {
        self.seal();
        self.keeper.close().unwrap();
        self.disk
    }

    pub(crate) fn read(&self, read: QueueRead) -> QueueSlice {
        match self.store.read_queue(read) {
            QueueReadOutcome::Done(slice) => slice,
            QueueReadOutcome::Cold(plan) => match self.reader.execute(&plan, self.now) {
                ReadResult::Queue(slice) => slice,
                other => panic!("{other:?}"),
            },
        }
    }

    /// Everything of a queue, by offset; and what was damaged.
    pub(crate) fn all(&self, topic: &str, queue_id: u32) -> (Vec<(u64, Message)>, Vec<u64>) {
        self.all_by(topic, queue_id, 7)
    }

    pub(crate) fn all_by(
        &self,
        topic: &str,
        queue_id: u32,
        count_max: u32,
    ) -> (Vec<(u64, Message)>, Vec<u64>) {
        let mut messages = Vec::new();
        let mut damaged = Vec::new();
        let Some(bounds) = self.store.bounds(topic, queue_id) else { return (messages, damaged) };
        let mut from = bounds.min;
        while from < bounds.max {
            let read = QueueRead { from, count_max, ..read(topic, queue_id) };
            let slice = self.read(read);
            assert!(slice.next_offset > from, "no progress at {from} of {bounds:?}: {slice:?}");
            from = slice.next_offset;
            damaged.extend(slice.damaged.iter().map(|d| d.position));
            let views = views(&slice.records);
            assert_eq!(views.len(), slice.count as usize);
            messages.extend(views.iter().map(|v| (v.queue_offset, Message::of(v))));
        }
        assert_eq!(from, bounds.max, "reads end at the queue's end");
        (messages, damaged)
    }

    pub(crate) fn bodies(&self, topic: &str, queue_id: u32) -> Vec<String> {
        let (messages, damaged) = self.all(topic, queue_id);
        assert!(damaged.is_empty(), "unexpected damage at {damaged:?}");
        messages.into_iter().map(|(_, m)| String::from_utf8(m.body).unwrap()).collect()
    }

    /// Bodies of records by position, `None` where there is none.
    pub(crate) fn by_position(&self, positions: &[u64]) -> Vec<Option<String>> {
        let plan = self.store.plan_records(positions.to_vec());
        bodies_of(self.reader.execute(&plan, self.now))
    }

    pub(crate) fn by_key(&self, topic: &str, key: &str, max: u32, from_ms: i64, to_ms: i64) -> Vec<String> {
        let plan = self.store.plan_query_key(topic, key, max, from_ms, to_ms);
        bodies_of(self.reader.execute(&plan, self.now)).into_iter().map(Option::unwrap).collect()
    }
}

fn bodies_of(result: ReadResult) -> Vec<Option<String>> {
    let ReadResult::Records(records) = result else { panic!("{result:?}") };
    let body = |bytes: Bytes| {
        let view = RecordView::parse(&bytes).unwrap();
        String::from_utf8(view.body.to_vec()).unwrap()
    };
    records.into_iter().map(|r| r.map(body)).collect()
}

/// A read from the beginning without limits that matter.
pub(crate) fn read(topic: &str, queue_id: u32) -> QueueRead {
    QueueRead {
        topic: Arc::from(topic),
        queue_id,
        from: 0,
        count_max: 1000,
        bytes_max: 1 << 20,
        scan_max: 10_000,
        filter: None,
    }
}

pub(crate) fn views(mut records: &[u8]) -> Vec<RecordView<'_>> {
    let mut all = Vec::new();
    while !records.is_empty() {
        let view = RecordView::parse(records).unwrap();
        records = &records[view.len()..];
        all.push(view);
    }
    all
}
