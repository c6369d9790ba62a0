//! Index runs against the log: each entry must point at a record of its queue and offset.

use super::Look;
use super::verify::{Fault, Faults, Part};
use crate::disk::Disk;
use crate::index::{RUN_DIR, RunError, RunFile, keys, run_name, run_path};
use crate::log::segment_path;
use crate::store::is_queued;
use crate::{OpenError, Position, STATE_TOPIC};
use kerolox_wire::properties::further_queues;
use kerolox_wire::record::RecordView;
use std::collections::{HashSet, VecDeque};
use std::io;

/// Places that are remembered of one run's range: 200 MB. A longer run is not compared with the log.
const PLACES_MAX: usize = 4 << 20;
/// Entries read at once.
const ENTRIES: u32 = 16 << 10;
/// Wrong entries of one run that are told.
const WRONG_MAX: usize = 20;

/// Position and length of a record, and the hash of a place in a queue that it has.
type Place = (Position, u32, u64);

/// A number for a place in a queue.
pub(super) fn place_hash(topic: &str, queue_id: u32, offset: u64) -> u64 {
    let mut key = [0; 12];
    let (queue, at) = key.split_at_mut(4);
    queue.copy_from_slice(&queue_id.to_be_bytes());
    at.copy_from_slice(&offset.to_be_bytes());
    keys::hash(topic, &key)
}

/// All places in queues that a record has.
pub(super) fn places(view: &RecordView<'_>, mut show: impl FnMut(&str, u32, u64)) {
    if view.topic == STATE_TOPIC || !is_queued(view.sys_flag) {
        return;
    }
    show(view.topic, view.queue_id, view.queue_offset);
    for (name, offset) in further_queues(view.topic, view.properties()) {
        show(name, 0, offset);
    }
}

/// Checks runs while the walk passes the ranges that they index.
pub(super) struct Runs<'a, D: Disk> {
    look: &'a Look<D>,
    ahead: VecDeque<(Position, Position)>,
    places: HashSet<Place>,
    /// Damaged ranges: what lies there is not asked for.
    damaged: Vec<(Position, Position)>,
    pub(super) checked: u64,
}

impl<'a, D: Disk> Runs<'a, D> {
    pub(super) fn list(look: &'a Look<D>, faults: &mut Faults) -> Result<Self, OpenError> {
        let mut ahead = Vec::new();
        for (name, _) in super::list(&look.disk, RUN_DIR)? {
            match run_name(&name) {
                Some(range) => ahead.push(range),
                // The keeper writes runs under such names first.
                None if name.ends_with(".tmp") => {}
                None => faults.add(Fault::of(
                    Part::Run,
                    &format!("{RUN_DIR}/{name}"),
                    "is no index run".to_owned(),
                )),
            }
        }
        ahead.sort_unstable();
        Ok(Self { look, ahead: ahead.into(), places: HashSet::new(), damaged: Vec::new(), checked: 0 })
    }

    pub(super) fn record(&mut self, view: &RecordView<'_>, faults: &mut Faults) {
        self.pass(view.position, faults);
        let inside = self.ahead.front().is_some_and(|(start, _)| view.position >= *start);
        if inside && self.places.len() <= PLACES_MAX {
            let (position, size) = (view.position, view.len() as u32); // holds because a record's length is a u32
            places(view, |topic, queue_id, offset| {
                self.places.insert((position, size, place_hash(topic, queue_id, offset)));
            });
        }
    }

    pub(super) fn damage(&mut self, from: Position, to: Position) {
        self.damaged.push((from, to));
    }

    /// Checks the runs that end at or before `position`.
    pub(super) fn pass(&mut self, position: Position, faults: &mut Faults) {
        while let Some((start, end)) = self.ahead.front().copied().filter(|(_, end)| *end <= position) {
            self.ahead.pop_front();
            self.check(start, end, faults);
            self.places.clear();
            self.damaged.retain(|(_, to)| *to > end);
        }
    }

    /// The log ended at `end`: a run that goes beyond it speaks of a log that is no more.
    pub(super) fn finish(mut self, end: Position, faults: &mut Faults) -> u64 {
        self.pass(end, faults);
        for (start, run_end) in std::mem::take(&mut self.ahead) {
            let why = format!("it ends at {run_end}, behind the log's end {end}");
            faults.add(Fault::of(Part::Run, &run_path(start, run_end), why));
        }
        self.checked
    }

    fn check(&mut self, start: Position, end: Position, faults: &mut Faults) {
        let path = run_path(start, end);
        // Retention of a running broker took the segment away meanwhile: there is nothing left to compare with.
        if self.look.disk.open(&segment_path(self.look.segment_of(start))).is_err() {
            return;
        }
        match self.compare(start, end, &path, faults) {
            Ok(()) => self.checked += 1,
            // It went with its segment, or a sealed one took its place.
            Err(RunError::Io(e)) if e.kind() == io::ErrorKind::NotFound => {}
            Err(RunError::TooNew { found, known }) => {
                faults.newer.get_or_insert(OpenError::TooNew { what: path, found, known });
            }
            Err(why) => faults.add(Fault::of(Part::Run, &path, why.to_string())),
        }
    }

    /// Whether a position lies in a damaged range; these came in the order of the log.
    fn is_damaged(&self, position: Position) -> bool {
        let after = self.damaged.partition_point(|(from, _)| *from <= position);
        after.checked_sub(1).and_then(|i| self.damaged.get(i)).is_some_and(|(_, to)| position < *to)
    }

    fn compare(
        &self,
        start: Position,
        end: Position,
        path: &str,
        faults: &mut Faults,
    ) -> Result<(), RunError> {
        let run = RunFile::open(&self.look.disk, start, end)?;
        run.verify()?;
        if self.places.len() > PLACES_MAX {
            return Ok(());
        }
        let mut wrong = 0;
        for (topic, rows) in &run.directory()?.topics {
            for row in rows {
                let mut skip = 0;
                while skip < row.count && wrong < WRONG_MAX {
                    let entries = run.entries(row.at, row.count, skip, ENTRIES)?;
                    for (offset, entry) in (row.first + u64::from(skip)..).zip(&entries) {
                        let hash = place_hash(topic, row.queue_id, offset);
                        let position = entry.position;
                        let damaged = self.is_damaged(position);
                        if wrong < WRONG_MAX
                            && !damaged
                            && !self.places.contains(&(position, entry.size, hash))
                        {
                            wrong += 1;
                            let why =
                                format!("its entry points at position {position}, where no such record lies");
                            let place = Some((topic.clone(), row.queue_id, offset));
                            faults.add(Fault { place, ..Fault::of(Part::Run, path, why) });
                        }
                    }
                    skip += entries.len().max(1) as u32;
                }
            }
        }
        Ok(())
    }
}
