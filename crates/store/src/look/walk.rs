//! The walk over the log of a directory that is looked into: records, and what should be one.

use super::Look;
use crate::disk::{Disk, DiskFile, read_up_to};
use crate::log::{Found, LOG_DIR, Scanner, Segment, segment_name, segment_path};
use crate::recovery::Course;
use crate::{Damage, OpenError, Position, Progress};
use kerolox_wire::record::RecordView;
use std::io;
use std::ops::{ControlFlow, Range};

/// Progress is told after so many bytes.
const PROGRESS_BYTES: u64 = 16 << 20;
/// A disk fails in units of this size.
const SECTOR_BYTES: u64 = 4096;

/// What the walk comes upon.
#[derive(Debug)]
pub enum Seen<'a> {
    Record(&'a RecordView<'a>),
    Damage(&'a Damage),
}

type Visit<'a> = dyn FnMut(Seen<'_>) -> ControlFlow<()> + 'a;

struct Walk<'a, D: Disk> {
    look: &'a Look<D>,
    step: &'static str,
    course: Course,
    told: Position,
    begin: Position,
    visit: &'a mut Visit<'a>,
    progress: &'a mut dyn FnMut(Progress),
}

/// Where the walk stands.
enum After {
    Next(Position),
    /// The log ends there, or who looks has seen enough.
    End(Position),
}

impl<D: Disk> Look<D> {
    /// Shows the records of a part of the log, and what is damaged there, up to the log's end; where it ended. Records above the
    /// frontier are shown as long as each follows the one before. `range` may begin between records.
    ///
    /// # Errors
    /// A file cannot be opened. What cannot be read of one counts as damaged.
    pub fn walk<'a>(
        &'a self,
        step: &'static str,
        range: Range<Position>,
        visit: &'a mut Visit<'a>,
        progress: &'a mut dyn FnMut(Progress),
    ) -> Result<Position, OpenError> {
        let facts = self.facts();
        let begin = range.start.max(self.begin());
        let mut walk = Walk {
            look: self,
            step,
            course: Course::new(self.rival, facts, true),
            told: begin,
            begin,
            visit,
            progress,
        };
        if let Some(end) = facts.filter(|f| f.clean && f.flushed < begin).map(|f| f.flushed) {
            // Whoever asks for a part behind it does not come by there.
            walk.others_went_on(end).map_err(OpenError::io(format!("searching the log from {end}")))?;
        }
        walk.run(begin, range.end)
    }
}

impl<D: Disk> Walk<'_, D> {
    fn run(mut self, begin: Position, to: Position) -> Result<Position, OpenError> {
        let mut at = begin;
        for (base, len) in &self.look.files {
            let end = self.look.end_of(*base, *len);
            if end <= at || *base >= to {
                continue;
            }
            let path = segment_path(*base);
            let failed = |e| OpenError::io(format!("reading {path}"))(e);
            while at < *base {
                match self.missing(at, *base).map_err(failed)? {
                    After::Next(next) => at = next,
                    After::End(end) => return Ok(end),
                }
            }
            let Some(segment) = self.look.segment(*base, *len).transpose().map_err(failed)? else {
                at = end;
                continue;
            };
            match self.segment(&segment, at, to).map_err(failed)? {
                After::Next(next) => at = next,
                After::End(end) => return Ok(end),
            }
        }
        if let Some(flushed) =
            self.course.flushed.map(|flushed| flushed.min(to)).filter(|flushed| at < *flushed)
        {
            let _ = self.hole(at, flushed);
            at = flushed;
        }
        Ok(at)
    }

    /// There is no file for what lies between `at` and the next segment, which begins at `base`.
    fn missing(&mut self, at: Position, base: Position) -> io::Result<After> {
        let next = self.course.behind_hole(at, Some(base), || self.look.segments_from(at))?;
        let Some(next) = next else { return Ok(After::End(at)) };
        Ok(match self.hole(at, next) {
            ControlFlow::Continue(()) => After::Next(next),
            ControlFlow::Break(()) => After::End(next),
        })
    }

    fn hole(&mut self, at: Position, to: Position) -> ControlFlow<()> {
        let why = "the segment's file is missing".to_owned();
        (self.visit)(Seen::Damage(&Damage { position: at, bytes: to - at, record: None, why }))
    }

    fn segment(&mut self, segment: &Segment<D::File>, from: Position, to: Position) -> io::Result<After> {
        let mut scanner = self.course.scanner(segment);
        let mut at = from;
        // Whoever asks for a part of the log need not know where its records begin.
        if from > segment.base && from == self.begin && matches!(scanner.at(from)?, Found::Bad(_)) {
            let next = scanner.search(from, segment.end, |found| !matches!(found, Found::Bad(_)))?;
            at = next.unwrap_or(segment.end);
        }
        while at < segment.end.min(to) {
            if self.look.facts().is_some_and(|f| f.clean && f.flushed == at) && self.others_went_on(at)? {
                scanner = self.course.scanner(segment);
            }
            let why = match scanner.at(at)? {
                Found::Record(view) => {
                    self.course.newest_ms = self.course.newest_ms.max(view.store_ms);
                    if (self.visit)(Seen::Record(&view)).is_break() {
                        return Ok(After::End(at));
                    }
                    at += view.len() as u64;
                    self.tell(at);
                    continue;
                }
                Found::Blank => {
                    at = segment.end;
                    break;
                }
                Found::Bad(_) if self.others_went_on(at)? => {
                    scanner = self.course.scanner(segment);
                    continue;
                }
                Found::Bad(why) => why.to_string(),
            };
            match self.bad(segment, &mut scanner, at, why)? {
                After::Next(next) => at = next,
                end => return Ok(end),
            }
            self.tell(at);
        }
        self.tell(at);
        Ok(After::Next(at))
    }

    fn tell(&mut self, at: Position) {
        if at >= self.told + PROGRESS_BYTES {
            self.told = at;
            let total = self.look.about_end().saturating_sub(self.begin);
            (self.progress)(Progress { step: self.step, done: (at - self.begin).min(total), total });
        }
    }

    fn others_went_on(&mut self, at: Position) -> io::Result<bool> {
        self.course.others_went_on(at, self.look.segments_from(at))
    }

    /// What lies at `at` is no record: damage, or the end.
    fn bad(
        &mut self,
        segment: &Segment<D::File>,
        scanner: &mut Scanner<'_, D::File>,
        at: Position,
        why: String,
    ) -> io::Result<After> {
        let next = self.course.behind_bad(scanner, at, segment.end, self.look.segments_from(at))?;
        let Some(next) = next else { return Ok(After::End(at)) };
        // A segment that became another one under this reader's hands.
        let there = self.look.disk.list(LOG_DIR)?;
        if !there.iter().any(|(name, _)| segment_name(name) == Some(segment.base)) {
            return Ok(After::Next(segment.end));
        }
        let record = scanner.claim(at)?.map(|v| (v.topic.to_owned(), v.queue_id, v.queue_offset));
        let why = unreadable(segment, at, next).unwrap_or(why);
        let damage = Damage { position: at, bytes: next - at, record, why };
        Ok(match (self.visit)(Seen::Damage(&damage)) {
            ControlFlow::Continue(()) => After::Next(next),
            ControlFlow::Break(()) => After::End(at),
        })
    }
}

/// What the disk says instead of giving the bytes of a damaged place.
fn unreadable<F: DiskFile>(segment: &Segment<F>, from: Position, to: Position) -> Option<String> {
    let first = (from - segment.base) / SECTOR_BYTES;
    let last = (to - segment.base).div_ceil(SECTOR_BYTES);
    (first..last).find_map(|sector| {
        let at = sector * SECTOR_BYTES;
        let e = read_up_to(&segment.file, SECTOR_BYTES as usize, at).err()?;
        let code = if e.raw_os_error() == Some(EIO) { "EIO, " } else { "" };
        Some(format!("cannot be read ({code}from byte {at} of the file on): {e}"))
    })
}

/// Linux' number of "input/output error".
const EIO: i32 = 5;
