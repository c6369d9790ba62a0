//! What must be there: a plain list of what was appended, promised and cut off.

use crate::crash::script::LIGHT;
use bytes::Bytes;
use kerolox_store::Position;
use std::collections::{BTreeMap, BTreeSet};

/// Something that happened to the log, as its user saw it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    Appended(Record),
    /// Everything up to here was promised.
    Acked(Position),
    /// Everything up to here is the operating system's: the death of the process does not take it.
    Written(Position),
    /// The machine lost power: what was only the operating system's may be gone.
    PowerCut,
    /// Retention may have removed everything below.
    Trimmed(Position),
    /// A recovery found the log to end here: what was appended behind is no more.
    Recovered(Position),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    pub position: Position,
    pub end: Position,
    pub what: What,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum What {
    /// `light`: its offset in the light message queue, if it belongs to that.
    Message {
        topic: &'static str,
        queue_id: u32,
        offset: u64,
        light: Option<u64>,
        body: Bytes,
    },
    State {
        kind: u8,
        payload: Bytes,
    },
    TopicDeleted(&'static str),
    Dump,
}

/// The journal's meaning.
#[derive(Debug, Clone, Default)]
pub struct Model {
    /// In log order.
    pub records: Vec<Record>,
    pub acked: Position,
    pub written: Position,
    pub trimmed: Position,
}

/// Messages by offset.
pub type Messages = BTreeMap<u64, (Position, Bytes)>;

/// What a recovered store must show.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Expected {
    /// By topic and queue: next offset, and the messages.
    pub queues: BTreeMap<(&'static str, u32), (u64, Messages)>,
    pub state: BTreeMap<u8, Bytes>,
}

impl Model {
    pub fn of(journal: &[Event]) -> Self {
        let mut model = Self::default();
        journal.iter().for_each(|event| model.take(event));
        model
    }

    pub fn take(&mut self, event: &Event) {
        match event {
            Event::Appended(record) => self.records.push(record.clone()),
            Event::Acked(position) => self.acked = self.acked.max(*position),
            Event::Written(position) => self.written = self.written.max(*position),
            Event::PowerCut => self.written = 0,
            Event::Trimmed(position) => self.trimmed = self.trimmed.max(*position),
            Event::Recovered(end) => {
                self.records.retain(|r| r.end <= *end);
                // What a recovery finds is confirmed from then on.
                self.acked = self.acked.max(*end);
                self.written = *end;
            }
        }
    }

    /// What a store must show whose log is `min..end`.
    pub fn expected(&self, min: Position, end: Position) -> Expected {
        let mut expected = Expected::default();
        for record in self.records.iter().filter(|r| r.end <= end) {
            match &record.what {
                What::Message { topic, queue_id, offset, light, body } => {
                    let own = ((*topic, *queue_id), *offset);
                    for (queue, offset) in [Some(own), light.map(|at| ((LIGHT, 0), at))].into_iter().flatten()
                    {
                        let (next, messages) = expected.queues.entry(queue).or_default();
                        *next = offset + 1;
                        if record.position >= min {
                            messages.insert(offset, (record.position, body.clone()));
                        }
                    }
                }
                What::State { kind, payload } => {
                    expected.state.insert(*kind, payload.clone());
                }
                What::TopicDeleted(topic) => expected.queues.retain(|(t, _), _| t != topic),
                What::Dump => {}
            }
        }
        expected
    }

    /// Records behind the end: they were cut off.
    pub fn cut(&self, end: Position) -> impl Iterator<Item = &Record> {
        self.records.iter().filter(move |r| r.end > end)
    }

    /// Where the log can end after a crash, as far as it is known here (dumps are made of several records).
    pub fn ends(&self) -> BTreeSet<Position> {
        self.records.iter().map(|r| r.end).collect()
    }
}
