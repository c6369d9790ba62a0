//! `kerolox store verify`: everything of a directory that can be checked.

use super::apache::{self, QueueSums};
use super::index::Runs;
use super::{Look, Origin, Seen};
use crate::disk::Disk;
use crate::log::FRONTIER_PATH;
use crate::recovery::StateFold;
use crate::snapshot::{self, Snapshot, SnapshotError};
use crate::state::{KIND_APPLICATION_MIN, Own, describe, entries};
use crate::{Damage, OpenError, Position, Progress, STATE_TOPIC};
use kerolox_wire::record::RecordView;
use std::ops::ControlFlow;

/// Damaged places and faults that are told one by one; more are counted.
const TOLD_MAX: usize = 10_000;

/// What [`Look::verify`] looked at and found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Verified {
    pub origin: Origin,
    pub segments: u64,
    pub records: u64,
    /// Bytes of records.
    pub bytes: u64,
    /// Where the log was durable when the look began; `None`: the directory has no frontier that can be believed.
    pub flushed: Option<Position>,
    /// Where the log ends.
    pub end: Position,
    /// Records above the frontier: the next start keeps them.
    pub above: u64,
    pub state_records: u64,
    /// Damage in the log, the first 10,000 places.
    pub damaged: Vec<Damage>,
    pub damaged_count: u64,
    /// Index runs without a fault.
    pub runs: u64,
    pub snapshot: Option<Position>,
    /// Apache RocketMQ's consume queues that were compared with the log, and their units.
    pub queues: u64,
    pub units: u64,
    /// What is wrong beside the log, the first 10,000 faults.
    pub faults: Vec<Fault>,
    pub faults_count: u64,
}

/// What part of a directory a fault is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Part {
    /// How far the log was synced: without it a start reads the whole log and must guess where it ends.
    Frontier,
    /// Derived: the next start rebuilds it.
    Run,
    /// Derived, as long as the log has a whole dump.
    Snapshot,
    /// An entry of a sound record that does not say what it should.
    State,
    /// Apache RocketMQ's, derived: Kerolox reads the log instead.
    ConsumeQueue,
    /// Apache RocketMQ's, derived: Kerolox reads the log instead.
    IndexFile,
    /// Apache RocketMQ's topics, groups and offsets.
    Config,
}

/// Something that is wrong beside the log's records.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    pub part: Part,
    pub path: String,
    /// Byte of the file, or position of the log for [`Part::State`].
    pub at: Option<u64>,
    /// Topic, queue and offset that it is about.
    pub place: Option<(String, u32, u64)>,
    pub why: String,
}

impl Fault {
    pub fn of(part: Part, path: &str, why: String) -> Self {
        Self { part, path: path.to_owned(), at: None, place: None, why }
    }
}

/// Faults as they are found.
#[derive(Debug, Default)]
pub(super) struct Faults {
    pub(super) told: Vec<Fault>,
    pub(super) count: u64,
    /// The first thing of a newer format: nothing may be concluded from the rest then.
    pub(super) newer: Option<OpenError>,
}

impl Faults {
    pub(super) fn add(&mut self, fault: Fault) {
        self.count += 1;
        if self.told.len() < TOLD_MAX {
            self.told.push(fault);
        }
    }
}

impl Verified {
    /// Whether nothing at all is wrong.
    pub fn is_sound(&self) -> bool {
        self.damaged_count == 0 && self.faults_count == 0
    }

    fn record(&mut self, view: &RecordView<'_>) {
        self.records += 1;
        self.bytes += view.len() as u64;
        self.above += u64::from(self.flushed.is_some_and(|flushed| view.position >= flushed));
        self.state_records += u64::from(view.topic == STATE_TOPIC);
    }

    fn damage(&mut self, damage: &Damage) {
        self.damaged_count += 1;
        if self.damaged.len() < TOLD_MAX {
            self.damaged.push(damage.clone());
        }
    }
}

impl<D: Disk> Look<D> {
    /// Reads every record and all that is derived from them, and checks it. `fold` is given the state as the log says it.
    ///
    /// # Errors
    /// The directory cannot be read at all, or something of it is of a newer format. What cannot be read of a file is damage.
    pub fn verify(
        &self,
        fold: &mut dyn StateFold,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<Verified, OpenError> {
        let mut faults = Faults::default();
        let mut found = Verified {
            origin: self.origin(),
            flushed: self.facts().map(|f| f.flushed),
            ..Verified::default()
        };
        self.check_frontier(&mut faults);
        found.snapshot = self.check_snapshot(fold, &mut faults);
        fold.reset();
        let mut runs = Runs::list(self, &mut faults)?;
        let mut sums = QueueSums::new(self.origin() != Origin::Kerolox, self.facts().map(|f| f.crc_from));
        let mut visit = |seen: Seen<'_>| {
            match seen {
                Seen::Record(view) => {
                    found.record(view);
                    if view.topic == STATE_TOPIC && view.has_crc() {
                        check_entries(fold, view.position, None, view.body, &mut faults);
                    }
                    runs.record(view, &mut faults);
                    sums.record(view);
                }
                Seen::Damage(damage) => {
                    found.damage(damage);
                    runs.damage(damage.position, damage.position + damage.bytes);
                }
            }
            ControlFlow::Continue(())
        };
        let end = self.walk("reading the log", 0..Position::MAX, &mut visit, progress)?;
        (found.end, found.segments) = (end, self.segments_before(end));
        found.runs = runs.finish(end, &mut faults);
        if self.origin() != Origin::Kerolox {
            (found.queues, found.units) =
                self.check_queues(&sums, &mut found.damaged, end, &mut faults, progress)?;
            apache::check_index_files(&self.disk, end, &mut faults, progress)?;
        }
        if let Some(newer) = faults.newer {
            return Err(newer);
        }
        (found.faults, found.faults_count) = (faults.told, faults.count);
        Ok(found)
    }

    fn check_frontier(&self, faults: &mut Faults) {
        for why in &self.frontier.faults {
            faults.add(Fault::of(Part::Frontier, FRONTIER_PATH, why.clone()));
        }
        if !self.frontier.is_there && self.origin() != Origin::Apache && !self.files.is_empty() {
            faults.add(Fault::of(Part::Frontier, FRONTIER_PATH, "is missing".to_owned()));
        }
    }

    fn check_snapshot(&self, fold: &mut dyn StateFold, faults: &mut Faults) -> Option<Position> {
        match Snapshot::read(&self.disk) {
            Ok(None) => None,
            Ok(Some(snapshot)) => {
                fold.reset();
                check_entries(fold, snapshot.position, Some(snapshot::PATH), &snapshot.entries, faults);
                if self.facts().is_some_and(|facts| snapshot.position > facts.flushed) {
                    let why = format!("it is of position {}, behind the frontier", snapshot.position);
                    faults.add(Fault::of(Part::Snapshot, snapshot::PATH, why));
                }
                Some(snapshot.position)
            }
            Err(SnapshotError::TooNew { found, known }) => {
                faults.newer = Some(OpenError::TooNew { what: snapshot::PATH.to_owned(), found, known });
                None
            }
            Err(why) => {
                faults.add(Fault::of(Part::Snapshot, snapshot::PATH, why.to_string()));
                None
            }
        }
    }
}

fn knows(fold: &dyn StateFold, kind: u8) -> bool {
    if kind < KIND_APPLICATION_MIN { Own::knows(kind) } else { fold.knows(kind) }
}

/// Folds the entries of a state record or of the snapshot.
fn check_entries(
    fold: &mut dyn StateFold,
    position: Position,
    path: Option<&str>,
    stream: &[u8],
    faults: &mut Faults,
) {
    for entry in entries(stream) {
        let taken = match entry {
            Ok((kind, _)) if !knows(fold, kind) => {
                faults.newer.get_or_insert(OpenError::UnknownEntry { position, kind });
                continue;
            }
            Ok((kind, payload)) if kind < KIND_APPLICATION_MIN => describe(kind, payload).map(drop),
            Ok((kind, payload)) => fold.apply(kind, payload),
            Err(at) => Err(format!("entries are malformed at byte {at}")),
        };
        if let Err(why) = taken {
            let part = if path.is_some() { Part::Snapshot } else { Part::State };
            let path = path.unwrap_or("commitlog");
            faults.add(Fault { at: Some(position), ..Fault::of(part, path, why) });
        }
    }
}
