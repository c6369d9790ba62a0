//! Whether another program, Apache RocketMQ, went on with the log behind the frontier.

use crate::Position;
use crate::disk::{Disk, DiskFile, read_up_to};
use crate::keeper::ABORT;
use crate::log::{FrontierFacts, Scanner, Segment, goes_on};
use std::borrow::Borrow;
use std::io;
use std::iter;

/// Apache's checkpoint file.
const CHECKPOINT: &str = "checkpoint";

/// What a directory says of it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rival {
    facts: Option<FrontierFacts>,
    /// Store time of the newest message that it knew of.
    newest_ms: Option<i64>,
    /// The file `abort` is there: it, or a start of ours, did not end in order.
    pub(super) aborted: bool,
}

impl Rival {
    pub(crate) fn find<D: Disk>(disk: &D, facts: Option<FrontierFacts>) -> io::Result<Self> {
        let aborted = disk.list("")?.iter().any(|(name, _)| name == ABORT);
        Ok(Self { facts, newest_ms: newest_ms(disk), aborted })
    }

    /// Whether it went on after a clean end and stayed until nothing of ours was left in the log, which now begins at `begin`: there is no
    /// frontier then. The other arguments: as of [`Self::went_on`].
    pub(crate) fn has_all<F: DiskFile, S: Borrow<Segment<F>>>(
        &self,
        begin: Position,
        segments: impl Iterator<Item = io::Result<S>>,
        flushed: Option<Position>,
    ) -> io::Result<bool> {
        let Some(facts) = self.facts.filter(|f| f.clean && f.flushed <= begin) else { return Ok(false) };
        Ok(self.went_on(facts.flushed, i64::MIN, segments, flushed)?.is_some())
    }

    /// Whether it went on at `at`, where the log of ours ends. After a clean end whatever lies there is its work; after another
    /// one, records without our checksum are if its checkpoint file knows of a message that is newer than all of ours (`newest_ms`).
    /// Its first record may be damaged: one that follows says as much. `segments`, `flushed`: see [`goes_on`]. Gives the time from which on
    /// records behind damage count as its.
    pub(crate) fn went_on<F: DiskFile, S: Borrow<Segment<F>>>(
        &self,
        at: Position,
        newest_ms: i64,
        mut segments: impl Iterator<Item = io::Result<S>>,
        flushed: Option<Position>,
    ) -> io::Result<Option<i64>> {
        let clean = self.facts.is_some_and(|f| f.clean && f.flushed == at);
        let newer = self.newest_ms.is_some_and(|ms| ms > newest_ms);
        let Some(first) = segments.next().filter(|_| clean || newer).transpose()? else { return Ok(None) };
        let untouched = !newer && !self.aborted && first.borrow().base <= at;
        if untouched && Scanner::new(first.borrow(), Position::MAX, flushed).is_zero(at)? {
            return Ok(None);
        }
        // Nothing of ours was ever left there after a clean end.
        let newest_ms = if clean { i64::MIN } else { newest_ms };
        let segments = iter::once(Ok(first)).chain(segments);
        let found = goes_on(segments, at, newest_ms, flushed, |view| clean || !view.has_crc())?;
        Ok(found.map(|_| newest_ms))
    }
}

/// The first number of the checkpoint file (`StoreCheckpoint.physicMsgTimestamp`). A hint: an unreadable one is none.
fn newest_ms<D: Disk>(disk: &D) -> Option<i64> {
    let bytes = read_up_to(&disk.open(CHECKPOINT).ok()?, 8, 0).ok()?;
    Some(i64::from_be_bytes(*bytes.first_chunk()?))
}
