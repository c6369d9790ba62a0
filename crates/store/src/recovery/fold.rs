//! Folding state records into the state.

use super::StateFold;
use crate::state::{KIND_APPLICATION_MIN, Own, entries};
use crate::store::Dump;
use crate::{Position, STATE_TOPIC};
use kerolox_wire::record::RecordView;
use std::collections::BTreeMap;

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
    NewQueues {
        next: u64,
        lmq_next: u64,
    },
    /// Everything that was before that position was said again.
    Dumped {
        begin: Position,
    },
}

pub(super) struct Fold<'a> {
    application: &'a mut dyn StateFold,
    pub(super) state_next: u64,
    pub(super) dump: Dump,
    /// Bytes of the whole state when it was said last.
    pub(super) state_bytes: u64,
    dumping: Option<Dumping>,
    pub(super) errors: Vec<(Position, String)>,
    /// The first entry of a kind that nobody here knows: a newer release's.
    pub(super) unknown: Option<(Position, u8)>,
}

/// A dump whose end was not seen yet.
struct Dumping {
    begin: Position,
    parts: u32,
    bytes: u64,
}

impl<'a> Fold<'a> {
    pub(super) fn new(application: &'a mut dyn StateFold, dump: Dump) -> Self {
        application.reset();
        Self {
            application,
            state_next: 0,
            dump,
            state_bytes: 0,
            dumping: None,
            errors: Vec::new(),
            unknown: None,
        }
    }

    /// What a snapshot says.
    pub(super) fn snapshot(&mut self, position: Position, stream: &[u8]) -> Vec<StoreChange> {
        self.application.reset();
        self.state_bytes = stream.len() as u64;
        self.check_kinds(position, stream);
        self.apply(position, stream)
    }

    /// Notes an entry of a newer release. Not for what Apache RocketMQ's clients may have sent to the state's topic.
    pub(super) fn check_kinds(&mut self, position: Position, stream: &[u8]) {
        let unknown = |kind: u8| match kind < KIND_APPLICATION_MIN {
            true => !Own::knows(kind),
            false => !self.application.knows(kind),
        };
        let kinds = entries(stream).map_while(Result::ok).map(|(kind, _)| kind);
        if self.unknown.is_none() {
            self.unknown = kinds.into_iter().find(|kind| unknown(*kind)).map(|kind| (position, kind));
        }
    }

    /// Begins anew at a dump. (An entry that nobody knows is not forgotten: one that lies behind it would be found again.)
    pub(super) fn restart(&mut self, begin: Position) {
        self.application.reset();
        self.errors.retain(|(position, _)| *position < begin);
    }

    /// The next state record of the log. A part of a dump is nothing new, unless folding began with that dump: it says what its
    /// share of the state was when it was appended, and what changed before that is overridden by it, what changes later follows.
    pub(super) fn record(&mut self, position: Position, end: Position, stream: &[u8]) -> Vec<StoreChange> {
        let mut walk = entries(stream);
        let first = walk.next().and_then(Result::ok);
        match first.and_then(|(kind, payload)| Own::parse(kind, payload).ok().flatten()) {
            Some(Own::DumpPart { number }) => {
                self.dump_part(position, number, stream.len() as u64);
                self.apply(position, stream.get(walk.at()..).unwrap_or_default())
            }
            Some(Own::DumpEnd { begin, parts }) => self.dump_end(position, end, begin, parts),
            _ => self.apply(position, stream),
        }
    }

    /// The next message of the log.
    pub(super) fn message(&mut self, record: &RecordView<'_>) {
        self.application.message(record);
    }

    fn dump_part(&mut self, position: Position, number: u32, bytes: u64) {
        match &mut self.dumping {
            _ if number == 0 => self.dumping = Some(Dumping { begin: position, parts: 1, bytes }),
            Some(dumping) if dumping.parts == number => {
                dumping.parts += 1;
                dumping.bytes += bytes;
            }
            // A part is missing, or was read before folding began: this dump does not count.
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
        let empty = Dumping { begin: position, parts: 0, bytes: 0 };
        let dumping = self.dumping.take().or((parts == 0).then_some(empty));
        let Some(dumping) = dumping.filter(|d| (d.begin, d.parts) == (begin, parts)) else {
            return Vec::new();
        };
        self.dump = Dump { begin, end: Some(end) };
        self.state_bytes = dumping.bytes;
        vec![StoreChange::Dumped { begin }]
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
                Ok(Some(Own::NewQueues { next, lmq_next })) => {
                    changes.push(StoreChange::NewQueues { next, lmq_next });
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

/// Finds the newest whole dump without folding it, from the log's end backwards.
#[derive(Debug, Default)]
pub(super) struct DumpFinder {
    /// Numbers of parts, by position.
    parts: BTreeMap<Position, u32>,
    /// Ends, by position: where their dumps begin, and how many parts these have.
    ends: BTreeMap<Position, (Position, u32)>,
}

impl DumpFinder {
    /// A state record: segments from the last to the first.
    pub(super) fn record(&mut self, position: Position, stream: &[u8]) {
        let first = entries(stream).next().and_then(Result::ok);
        match first.and_then(|(kind, payload)| Own::parse(kind, payload).ok().flatten()) {
            Some(Own::DumpPart { number }) => drop(self.parts.insert(position, number)),
            Some(Own::DumpEnd { begin, parts }) => drop(self.ends.insert(position, (begin, parts))),
            _ => {}
        }
    }

    /// Where the newest whole dump begins, as far as all from `from` on was seen; `None`: look further back.
    pub(super) fn newest(&self, from: Position) -> Option<Position> {
        let candidates = self.ends.iter().rev().take_while(|(_, (begin, _))| *begin >= from);
        candidates
            .filter(|(end, (begin, parts))| self.is_whole(*begin, **end, *parts))
            .map(|(_, (b, _))| *b)
            .next()
    }

    fn is_whole(&self, begin: Position, end: Position, parts: u32) -> bool {
        let starts = if parts == 0 { begin == end } else { self.parts.contains_key(&begin) };
        starts && begin <= end && self.parts.range(begin..end).map(|(_, number)| *number).eq(0..parts)
    }
}
