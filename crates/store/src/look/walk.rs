//! The walk over the log of a directory that is looked into: records, and what should be one.

use super::Look;
use crate::disk::{Disk, DiskFile, read_up_to};
use crate::log::{Found, LOG_DIR, Scanner, Segment, segment_name, segment_path};
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
    /// Below this a bad record is damage. `None`: nobody knows, as in Apache's directories.
    flushed: Option<Position>,
    crc_from: Position,
    newest_ms: i64,
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
        let walk = Walk {
            look: self,
            step,
            flushed: facts.map(|f| f.flushed),
            crc_from: facts.map_or(Position::MAX, |f| f.crc_from),
            newest_ms: i64::MIN,
            told: begin,
            begin,
            visit,
            progress,
        };
        walk.run(begin, range.end)
    }
}

impl<D: Disk> Walk<'_, D> {
    fn run(mut self, begin: Position, to: Position) -> Result<Position, OpenError> {
        let mut at = begin;
        for (base, len) in &self.look.files {
            let end = base + self.look.facts().map_or(*len, |f| f.segment_bytes);
            if end <= at || *base >= to {
                continue;
            }
            if *base > at && self.missing(at, *base).is_break() {
                return Ok(*base);
            }
            let path = segment_path(*base);
            let file = match self.look.disk.open(&path) {
                // Retention of a running broker took it away meanwhile.
                Err(e) if e.kind() == io::ErrorKind::NotFound => {
                    at = end;
                    continue;
                }
                file => file.map_err(OpenError::io(format!("opening {path}")))?,
            };
            let segment = Segment { base: *base, end, recycled: false, file };
            at = at.max(*base);
            match self.segment(&segment, at, to).map_err(OpenError::io(format!("reading {path}")))? {
                After::Next(next) => at = next,
                After::End(end) => return Ok(end),
            }
        }
        if let Some(flushed) = self.flushed.map(|flushed| flushed.min(to)).filter(|flushed| at < *flushed) {
            let _ = self.missing(at, flushed);
            at = flushed;
        }
        Ok(at)
    }

    fn missing(&mut self, at: Position, to: Position) -> ControlFlow<()> {
        let why = "the segment's file is missing".to_owned();
        (self.visit)(Seen::Damage(&Damage { position: at, bytes: to - at, record: None, why }))
    }

    fn segment(&mut self, segment: &Segment<D::File>, from: Position, to: Position) -> io::Result<After> {
        let mut scanner = self.scanner(segment);
        let mut at = from;
        // Whoever asks for a part of the log need not know where its records begin.
        if from > segment.base && from == self.begin && matches!(scanner.at(from)?, Found::Bad(_)) {
            let next = scanner.search(from, segment.end, |found| !matches!(found, Found::Bad(_)))?;
            at = next.unwrap_or(segment.end);
        }
        while at < segment.end.min(to) {
            if self.others_went_on(segment, at)? {
                self.flushed = None;
                self.crc_from = Position::MAX;
                scanner = self.scanner(segment);
            }
            let why = match scanner.at(at)? {
                Found::Record(view) => {
                    self.newest_ms = self.newest_ms.max(view.store_ms);
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

    /// One for which what cannot be read is bad, and no error.
    fn scanner<'s>(&self, segment: &'s Segment<D::File>) -> Scanner<'s, D::File> {
        Scanner::new(segment, self.crc_from, Some(segment.end))
    }

    fn tell(&mut self, at: Position) {
        if at >= self.told + PROGRESS_BYTES {
            self.told = at;
            let total = self.look.about_end().saturating_sub(self.begin);
            (self.progress)(Progress { step: self.step, done: (at - self.begin).min(total), total });
        }
    }

    /// Whether Apache RocketMQ went on with the log behind the frontier: after a clean end whatever lies there is its work, after
    /// another one its checkpoint file must know of messages that are newer than all of ours.
    fn others_went_on(&self, segment: &Segment<D::File>, at: Position) -> io::Result<bool> {
        let Some(facts) = self.look.facts().filter(|_| self.flushed.is_some_and(|flushed| at >= flushed))
        else {
            return Ok(false);
        };
        let newer = self.look.rival_ms.is_some_and(|ms| ms > self.newest_ms);
        if !(facts.clean && at == facts.flushed || newer) {
            return Ok(false);
        }
        Ok(match Scanner::new(segment, Position::MAX, Some(segment.end)).at(at)? {
            Found::Record(view) => !view.has_crc() || facts.clean,
            Found::Blank => self.next_goes_on(segment.end)?,
            Found::Bad(_) => false,
        })
    }

    /// Whether a segment begins there with a record that is not older than all before.
    fn next_goes_on(&self, base: Position) -> io::Result<bool> {
        let Some((_, len)) = self.look.files.iter().find(|(other, _)| *other == base) else {
            return Ok(false);
        };
        let file = match self.look.disk.open(&segment_path(base)) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(false),
            file => file?,
        };
        let segment = Segment { base, end: base + len, recycled: false, file };
        let found =
            Scanner::new(&segment, Position::MAX, Some(segment.end)).at(base).map(|found| match found {
                Found::Record(view) => view.store_ms >= self.newest_ms,
                Found::Blank | Found::Bad(_) => false,
            })?;
        Ok(found)
    }

    /// What lies at `at` is no record: damage, or the end.
    fn bad(
        &mut self,
        segment: &Segment<D::File>,
        scanner: &mut Scanner<'_, D::File>,
        at: Position,
        why: String,
    ) -> io::Result<After> {
        if self.flushed.is_some_and(|flushed| at >= flushed) {
            return Ok(After::End(at));
        }
        let upto = self.flushed.unwrap_or(segment.end).min(segment.end);
        let (unknown, newest_ms) = (self.flushed.is_none(), self.newest_ms);
        let next = scanner.search(at, upto, |found| match found {
            // Without a frontier, an older record is one that was cut off once and never erased.
            Found::Record(view) => !unknown || view.store_ms >= newest_ms,
            Found::Blank => !unknown,
            Found::Bad(_) => false,
        })?;
        let next = match next {
            Some(next) => next,
            None if !unknown => upto,
            None if self.next_goes_on(segment.end)? => segment.end,
            None => return Ok(After::End(at)),
        };
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
