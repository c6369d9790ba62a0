//! Looking into a data directory, Kerolox' own or Apache RocketMQ's, without changing it. A broker may run on it meanwhile: what
//! retention takes away under the looker's hands is passed over.
//!
//! `walk` goes over the log and tells records from damage by the rules of recovery; `verify` checks all there is, `stat` counts,
//! `repair` mends what can be mended without inventing anything.

mod apache;
mod index;
mod repair;
mod stat;
mod verify;
mod walk;

pub use apache::{ConfigFile, config_files};
pub use repair::{Mend, Plan, Tail};
pub use stat::{QueueStat, Stat, TopicStat};
pub use verify::{Fault, Part, Verified};
pub use walk::Seen;

use crate::disk::Disk;
use crate::log::{FrontierFacts, FrontierLook, LOG_DIR, Segment, segment_name, segment_path};
use crate::recovery::Rival;
use crate::{OpenError, Position};
use std::io;

/// Who wrote a data directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Origin {
    #[default]
    Kerolox,
    Apache,
    /// Apache RocketMQ first, then Kerolox.
    Both,
}

/// A data directory that is looked into.
pub struct Look<D: Disk> {
    disk: D,
    frontier: FrontierLook,
    rival: Rival,
    origin: Origin,
    /// Where segments begin, and the lengths of their files.
    files: Vec<(Position, u64)>,
}

impl<D: Disk> Look<D> {
    /// # Errors
    /// There is no log, it cannot be looked at, or it is of a newer format.
    pub fn open(disk: D) -> Result<Self, OpenError> {
        let frontier = FrontierLook::read(&disk).map_err(OpenError::frontier)?;
        let mut files: Vec<_> = disk
            .list(LOG_DIR)
            .map_err(OpenError::io("listing the log"))?
            .iter()
            .filter_map(|(name, len)| Some((segment_name(name)?, *len)))
            .collect();
        files.sort_unstable();
        let ours = frontier.is_there || !list(&disk, crate::index::RUN_DIR)?.is_empty();
        let theirs =
            ["config", "index"].iter().any(|dir| list(&disk, dir).is_ok_and(|files| !files.is_empty()))
                || disk.open("checkpoint").is_ok();
        let origin = match (ours, theirs) {
            // A clean end of ours writes what Apache needs, too: the log says whose it is.
            (true, true)
                if frontier
                    .facts
                    .is_some_and(|f| files.first().is_none_or(|(base, _)| f.crc_from <= *base)) =>
            {
                Origin::Kerolox
            }
            (true, true) => Origin::Both,
            (false, true) => Origin::Apache,
            (false, false) if !files.is_empty() => Origin::Apache,
            _ => Origin::Kerolox,
        };
        let rival =
            Rival::find(&disk, frontier.facts).map_err(OpenError::io("listing the data directory"))?;
        let mut look = Self { rival, disk, frontier, origin, files };
        let theirs = rival.has_all(look.begin(), look.segments_from(0), Some(Position::MAX));
        if theirs.map_err(OpenError::io("reading the beginning of the log"))? {
            look.frontier.facts = None;
        }
        Ok(look)
    }

    /// Whether there is no log.
    pub fn is_empty(&self) -> bool {
        self.files.is_empty()
    }

    pub fn origin(&self) -> Origin {
        self.origin
    }

    fn facts(&self) -> Option<FrontierFacts> {
        self.frontier.facts
    }

    /// Where the log begins.
    pub fn begin(&self) -> Position {
        self.files.first().map_or(0, |(base, _)| *base)
    }

    /// Segments that the log has come to, which ends there: not those that are prepared for what follows.
    fn segments_before(&self, end: Position) -> u64 {
        self.files.iter().filter(|(base, _)| *base < end).count() as u64
    }

    /// Where the segment begins that holds a position.
    pub fn segment_of(&self, position: Position) -> Position {
        let after = self.files.partition_point(|(base, _)| *base <= position);
        after.checked_sub(1).and_then(|i| self.files.get(i)).map_or(0, |(base, _)| *base)
    }

    /// Where the segment ends that begins at `base`, by its file's length if nothing else is known: in any case where the next begins.
    fn end_of(&self, base: Position, len: u64) -> Position {
        let next = self.files.get(self.files.partition_point(|(other, _)| *other <= base));
        let end = base.saturating_add(self.facts().map_or(len, |facts| facts.segment_bytes));
        next.map_or(end, |(next, _)| end.min(*next))
    }

    /// `None`: retention of a running broker took it away meanwhile.
    fn segment(&self, base: Position, len: u64) -> Option<io::Result<Segment<D::File>>> {
        let segment = |file| Segment { base, end: self.end_of(base, len), recycled: false, file };
        match self.disk.open(&segment_path(base)) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => None,
            file => Some(file.map(segment)),
        }
    }

    /// The segments that end behind `at`.
    fn segments_from(&self, at: Position) -> impl Iterator<Item = io::Result<Segment<D::File>>> {
        let files = self.files.iter().filter(move |(base, len)| self.end_of(*base, *len) > at);
        files.filter_map(|(base, len)| self.segment(*base, *len))
    }

    /// About where the log ends: for progress.
    fn about_end(&self) -> Position {
        let files_end = self.files.last().map_or(0, |(base, len)| base.saturating_add(*len));
        self.facts().map_or(files_end, |facts| facts.flushed)
    }
}

/// Names and lengths of a directory's files; none if there is no such directory.
fn list<D: Disk>(disk: &D, dir: &str) -> Result<Vec<(String, u64)>, OpenError> {
    match disk.list(dir) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        files => files.map_err(OpenError::io(format!("listing {dir}"))),
    }
}
