//! Where the log goes on behind what is no record, or that it ends there: one rule for a start and for who only looks.

use super::Rival;
use crate::Position;
use crate::disk::DiskFile;
use crate::log::{Found, FrontierFacts, Scanner, Segment, goes_on};
use std::borrow::Borrow;
use std::io;

/// What is known of how far the log goes, while somebody walks over it.
pub(crate) struct Course {
    rival: Rival,
    /// Below this a bad record is damage. `None`: nobody knows.
    pub(crate) flushed: Option<Position>,
    /// From here on each record must carry a checksum over all of itself.
    pub(crate) crc_from: Position,
    /// Store time of the newest record so far.
    pub(crate) newest_ms: i64,
    /// Apache RocketMQ went on with it behind the frontier.
    pub(crate) went_on: bool,
    /// What cannot be read above the frontier counts as damaged, too. (For a start it is an error: it would overwrite it.)
    lenient: bool,
}

impl Course {
    pub(crate) fn new(rival: Rival, facts: Option<FrontierFacts>, lenient: bool) -> Self {
        let crc_from = facts.map_or(Position::MAX, |f| f.crc_from);
        let flushed = facts.map(|f| f.flushed);
        Self { rival, flushed, crc_from, newest_ms: i64::MIN, went_on: false, lenient }
    }

    pub(crate) fn scanner<'s, F: DiskFile>(&self, segment: &'s Segment<F>) -> Scanner<'s, F> {
        Scanner::new(segment, self.crc_from, self.safe_below())
    }

    /// Below this what cannot be read counts as damaged.
    fn safe_below(&self) -> Option<Position> {
        if self.lenient { Some(Position::MAX) } else { self.flushed }
    }

    /// Whether Apache RocketMQ went on with the log at `at`, above the frontier. From there on the log is its: no frontier, no
    /// checksums over whole records. `segments`: those that end behind `at`, in order.
    pub(crate) fn others_went_on<F: DiskFile, S: Borrow<Segment<F>>>(
        &mut self,
        at: Position,
        segments: impl Iterator<Item = io::Result<S>>,
    ) -> io::Result<bool> {
        let above = self.flushed.is_some_and(|flushed| at >= flushed);
        let went_on = match above {
            true => self.rival.went_on(at, self.newest_ms, segments, self.safe_below())?,
            false => None,
        };
        if let Some(newest_ms) = went_on {
            self.went_on = true;
            self.newest_ms = newest_ms;
            self.flushed = None;
            self.crc_from = Position::MAX;
        }
        Ok(went_on.is_some())
    }

    /// Where the log goes on behind `at`, from where on a file is missing; the next that is there begins at `next`. `None`: it ends.
    pub(crate) fn behind_hole<F: DiskFile, S: Borrow<Segment<F>>, I: Iterator<Item = io::Result<S>>>(
        &mut self,
        at: Position,
        next: Option<Position>,
        segments: impl Fn() -> I,
    ) -> io::Result<Option<Position>> {
        self.others_went_on(at, segments())?;
        Ok(match self.flushed {
            Some(flushed) if at < flushed => Some(next.unwrap_or(flushed).min(flushed)),
            None if self.goes_on(at, segments())?.is_some() => next,
            _ => None,
        })
    }

    /// Where the log goes on behind what lies at `at` of a segment and is no record: at `to` (the segment's end or before) at the latest.
    /// `None`: it ends.
    pub(crate) fn behind_bad<F: DiskFile, S: Borrow<Segment<F>>>(
        &self,
        scanner: &mut Scanner<'_, F>,
        at: Position,
        to: Position,
        segments: impl Iterator<Item = io::Result<S>>,
    ) -> io::Result<Option<Position>> {
        match self.flushed {
            Some(flushed) if at >= flushed => Ok(None),
            Some(flushed) => {
                let upto = flushed.min(to);
                let next = scanner.search(at, upto, |found| !matches!(found, Found::Bad(_)))?;
                Ok(Some(next.unwrap_or(upto)))
            }
            None => Ok(self.goes_on(at, segments)?.map(|next| next.min(to))),
        }
    }

    /// Where it goes on if nothing says how far it was written.
    fn goes_on<F: DiskFile, S: Borrow<Segment<F>>>(
        &self,
        at: Position,
        segments: impl Iterator<Item = io::Result<S>>,
    ) -> io::Result<Option<Position>> {
        goes_on(segments, at, self.newest_ms, self.safe_below(), |_| true)
    }
}
