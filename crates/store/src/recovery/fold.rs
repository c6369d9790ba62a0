//! Folding state records into the state.

use super::StateFold;
use crate::state::{KIND_APPLICATION_MIN, Own, entries};
use crate::store::Dump;
use crate::{Position, STATE_TOPIC};
use kerolox_wire::record::RecordView;

/// What a state record means to the store's own part of the state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum StoreChange {
    QueueNext {
        topic: String,
        queue_id: u32,
        next: u64,
    },
    TopicDeleted {
        topic: String,
    },
    /// Everything before was said again.
    Dumped,
}

pub(super) struct Fold<'a> {
    application: &'a mut dyn StateFold,
    pub(super) state_next: u64,
    pub(super) dump: Dump,
    dumping: Option<Dumping>,
    pub(super) errors: Vec<(Position, String)>,
}

/// A dump whose end was not seen yet.
struct Dumping {
    begin: Position,
    parts: u32,
    /// All entries but those that frame the dump.
    entries: Vec<u8>,
}

impl<'a> Fold<'a> {
    pub(super) fn new(application: &'a mut dyn StateFold, dump: Dump) -> Self {
        application.reset();
        Self { application, state_next: 0, dump, dumping: None, errors: Vec::new() }
    }

    /// A whole state: what a snapshot says, or a dump.
    pub(super) fn whole(&mut self, position: Position, stream: &[u8]) -> Vec<StoreChange> {
        self.application.reset();
        self.apply(position, stream)
    }

    /// The next state record of the log.
    pub(super) fn record(&mut self, position: Position, end: Position, stream: &[u8]) -> Vec<StoreChange> {
        let first = entries(stream).next().and_then(Result::ok);
        let own = first.and_then(|(kind, payload)| Own::parse(kind, payload).ok().flatten());
        match own {
            Some(Own::DumpPart { number: 0 }) => {
                self.dumping = Some(Dumping { begin: position, parts: 0, entries: Vec::new() });
                self.dump_part(0, stream);
                Vec::new()
            }
            Some(Own::DumpPart { number }) => {
                self.dump_part(number, stream);
                Vec::new()
            }
            Some(Own::DumpEnd { begin, parts }) => self.dump_end(position, end, begin, parts),
            _ => {
                // A dump that was cut short by a crash, followed by life going on.
                self.dumping = None;
                self.apply(position, stream)
            }
        }
    }

    /// The next message of the log.
    pub(super) fn message(&mut self, record: &RecordView<'_>) {
        self.application.message(record);
    }

    fn dump_part(&mut self, number: u32, stream: &[u8]) {
        let mut walk = entries(stream);
        walk.next();
        match &mut self.dumping {
            Some(dumping) if dumping.parts == number => {
                dumping.entries.extend_from_slice(stream.get(walk.at()..).unwrap_or_default());
                dumping.parts += 1;
            }
            // A part is missing: this dump says nothing.
            _ => self.dumping = None,
        }
    }

    fn dump_end(
        &mut self,
        position: Position,
        end: Position,
        begin: Position,
        parts: u32,
    ) -> Vec<StoreChange> {
        let empty = Dumping { begin: position, parts: 0, entries: Vec::new() };
        let dumping = self.dumping.take().or((parts == 0).then_some(empty));
        let Some(dumping) = dumping.filter(|d| (d.begin, d.parts) == (begin, parts)) else {
            return Vec::new();
        };
        self.dump = Dump { begin, end: Some(end) };
        let mut changes = vec![StoreChange::Dumped];
        changes.extend(self.whole(position, &dumping.entries));
        changes
    }

    fn apply(&mut self, position: Position, stream: &[u8]) -> Vec<StoreChange> {
        let mut changes = Vec::new();
        for entry in entries(stream) {
            let (kind, payload) = match entry {
                Ok(entry) => entry,
                Err(at) => {
                    self.errors.push((position, format!("state record is malformed at byte {at}")));
                    break;
                }
            };
            if kind >= KIND_APPLICATION_MIN {
                if let Err(why) = self.application.apply(kind, payload) {
                    self.errors.push((position, why));
                }
                continue;
            }
            match Own::parse(kind, payload) {
                Ok(Some(Own::QueueNext { topic, next, .. })) if topic == STATE_TOPIC => {
                    self.state_next = self.state_next.max(next);
                }
                Ok(Some(Own::QueueNext { topic, queue_id, next })) => {
                    changes.push(StoreChange::QueueNext { topic: topic.to_owned(), queue_id, next });
                }
                Ok(Some(Own::TopicDeleted { topic })) => {
                    changes.push(StoreChange::TopicDeleted { topic: topic.to_owned() });
                }
                Ok(Some(Own::DumpPart { .. } | Own::DumpEnd { .. })) => {
                    self.errors.push((position, "a dump's frame inside of a state record".to_owned()));
                }
                Ok(None) => self.errors.push((position, format!("state entry of unknown kind {kind}"))),
                Err(why) => self.errors.push((position, why)),
            }
        }
        changes
    }
}

/// The deletions of topics in a state record.
pub(super) fn deletions(stream: &[u8]) -> Vec<StoreChange> {
    let deleted = |(kind, payload)| match Own::parse(kind, payload) {
        Ok(Some(Own::TopicDeleted { topic })) => Some(StoreChange::TopicDeleted { topic: topic.to_owned() }),
        _ => None,
    };
    entries(stream).filter_map(|entry| deleted(entry.ok()?)).collect()
}

/// Finds whole dumps without folding them.
#[derive(Debug, Default)]
pub(super) struct DumpFinder {
    open: Option<(Position, u32)>,
    pub(super) last: Option<Position>,
}

impl DumpFinder {
    pub(super) fn record(&mut self, position: Position, stream: &[u8]) {
        let first = entries(stream).next().and_then(Result::ok);
        match first.and_then(|(kind, payload)| Own::parse(kind, payload).ok().flatten()) {
            Some(Own::DumpPart { number: 0 }) => self.open = Some((position, 1)),
            Some(Own::DumpPart { number }) => {
                self.open =
                    self.open.filter(|(_, parts)| *parts == number).map(|(at, parts)| (at, parts + 1));
            }
            Some(Own::DumpEnd { begin, parts }) => {
                let open = self.open.take().or((parts == 0).then_some((position, 0)));
                if open == Some((begin, parts)) {
                    self.last = Some(begin);
                }
            }
            _ => self.open = None,
        }
    }
}
