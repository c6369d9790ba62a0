//! The walk over a segment: what lies at a position, and where the next valid record is.

use crate::Position;
use crate::disk::{Disk, DiskFile, read_up_to};
use crate::log::blank::is_blank;
use crate::log::{Segment, Shared};
use kerolox_wire::record::{
    MAGIC_BLANK, MAGIC_V1, MAGIC_V2, POSITION_AT, RECORD_BYTES_MIN, RecordError, RecordHead, RecordView,
};
use std::borrow::Borrow;
use std::io;

/// Length and magic number.
const HEAD_BYTES: usize = 8;
/// Bytes that are read at once.
const WINDOW_BYTES: usize = 1 << 20;

/// What lies at a position.
#[derive(Debug)]
pub(crate) enum Found<'a> {
    /// A whole record, verified, at its own place.
    Record(RecordView<'a>),
    /// The rest of the segment is unused.
    Blank,
    /// Neither.
    Bad(RecordError),
}

/// Reads one segment.
pub(crate) struct Scanner<'a, F> {
    segment: &'a Segment<F>,
    crc_from: Position,
    /// Below this what cannot be read counts as damaged; from here on it is an error.
    safe_below: Position,
    window: Vec<u8>,
    window_at: Position,
    window_bytes: usize,
}

/// A disk fails in units of this size.
const SECTOR_BYTES: u64 = 4096;

impl<'a, F: DiskFile> Scanner<'a, F> {
    /// From `crc_from` on, records must carry a checksum over all of themselves. Below `flushed` an unreadable sector
    /// reads as zeros; above it nobody could tell whether something was there.
    pub(crate) fn new(segment: &'a Segment<F>, crc_from: Position, flushed: Option<Position>) -> Self {
        let safe_below = flushed.unwrap_or(0);
        let (window, window_at) = (Vec::new(), segment.base);
        Self { segment, crc_from, safe_below, window, window_at, window_bytes: WINDOW_BYTES }
    }

    /// For one look at one place, which may be damaged.
    pub(crate) fn small(segment: &'a Segment<F>, crc_from: Position) -> Self {
        Self { window_bytes: SECTOR_BYTES as usize, ..Self::new(segment, crc_from, Some(segment.end)) }
    }

    /// `len` bytes, of which the first `needed` must be had.
    fn read(&self, position: Position, len: usize, needed: usize) -> io::Result<Vec<u8>> {
        let (file, base) = (&self.segment.file, self.segment.base);
        let error = match read_up_to(file, len, position - base) {
            Ok(mut bytes) => {
                // A file shorter than its segment reads as zeros: bad, like anything that is not a record.
                bytes.resize(len, 0);
                return Ok(bytes);
            }
            Err(e) => e,
        };
        let (mut bytes, mut at, end) = (Vec::with_capacity(len), position, position + len as u64);
        while at < end {
            let next = (at - base + 1).next_multiple_of(SECTOR_BYTES).min(end - base) + base;
            match read_up_to(file, (next - at) as usize, at - base) {
                Ok(sector) => bytes.extend_from_slice(&sector),
                Err(_) if next <= self.safe_below => {}
                // Nobody asked for it yet, and perhaps nobody will.
                Err(_) if at >= position + needed as u64 => return Ok(bytes),
                Err(_) => return Err(error),
            }
            bytes.resize((next - position) as usize, 0);
            at = next;
        }
        Ok(bytes)
    }

    /// Bytes from `position` on: at least `bytes`, unless the segment ends before.
    fn bytes(&mut self, position: Position, bytes: usize) -> io::Result<&[u8]> {
        debug_assert!(position >= self.segment.base && position <= self.segment.end);
        let left = usize::try_from(self.segment.end - position).map_err(io::Error::other)?;
        let wanted = bytes.min(left);
        let inside = position >= self.window_at
            && position - self.window_at + wanted as u64 <= self.window.len() as u64;
        if !inside {
            let len = wanted.max(self.window_bytes.min(left));
            self.window = self.read(position, len, wanted)?;
            self.window_at = position;
        }
        let start = usize::try_from(position - self.window_at).map_err(io::Error::other)?;
        Ok(self.window.get(start..).unwrap_or_default())
    }

    /// Whether no record and no filler ever began at `position`, or all of its head was lost.
    pub(crate) fn is_zero(&mut self, position: Position) -> io::Result<bool> {
        Ok(self.bytes(position, HEAD_BYTES)?.iter().take(HEAD_BYTES).all(|b| *b == 0))
    }

    /// What lies at `position`.
    pub(crate) fn at(&mut self, position: Position) -> io::Result<Found<'_>> {
        let (left, crc_from) = (self.segment.end - position, self.crc_from);
        // No more than is needed to see that nothing is there: what lies behind the end may not be readable.
        let first = self.bytes(position, HEAD_BYTES)?;
        let Some(head) = RecordHead::peek(first) else {
            return Ok(Found::Bad(RecordError::Short(first.len(), "head")));
        };
        if !head.is_record() && !head.is_blank() {
            return Ok(Found::Bad(RecordError::Magic(head.magic)));
        }
        let head_bytes = self.bytes(position, RECORD_BYTES_MIN)?;
        if head.is_blank() {
            let blank = is_blank(head_bytes, left, position, position >= crc_from);
            return Ok(if blank { Found::Blank } else { Found::Bad(RecordError::Magic(MAGIC_BLANK)) });
        }
        // Before a length that may be garbage is believed: a record knows its place.
        if let Some(said) = said_position(head_bytes).filter(|said| *said != position) {
            return Ok(Found::Bad(RecordError::Position { said, found: position }));
        }
        if u64::from(head.total) > left {
            return Ok(Found::Bad(RecordError::Short(left as usize, "announced length")));
        }
        let bytes = self.bytes(position, head.total as usize)?;
        Ok(match RecordView::parse(bytes) {
            Ok(view) => match view.verify(Some(position), position >= crc_from) {
                Ok(()) => Found::Record(view),
                Err(e) => Found::Bad(e),
            },
            Err(e) => Found::Bad(e),
        })
    }

    /// The record at `position` as far as it can be read, without believing its checksums.
    pub(crate) fn claim(&mut self, position: Position) -> io::Result<Option<RecordView<'_>>> {
        let left = self.segment.end - position;
        let Some(head) = RecordHead::peek(self.bytes(position, RECORD_BYTES_MIN)?) else { return Ok(None) };
        if u64::from(head.total) > left {
            return Ok(None);
        }
        Ok(RecordView::parse(self.bytes(position, head.total as usize)?).ok())
    }

    /// The first place in `from..upto` where a valid record or filler lies that `accept`s. A record that belongs here, whose parts are
    /// as long together as it says to be, and which is followed by a valid one, is believed in this: its bytes are not searched.
    pub(crate) fn search(
        &mut self,
        bad: Position,
        upto: Position,
        mut accept: impl FnMut(&Found<'_>) -> bool,
    ) -> io::Result<Option<Position>> {
        let upto = upto.min(self.segment.end);
        let crc_required = bad >= self.crc_from;
        let own = self.claim(bad)?.filter(|view| belongs(view, bad, crc_required));
        if let Some(bytes) = own.map(|view| view.len()) {
            let next = bad + bytes as u64;
            if next < upto && accept(&self.at(next)?) {
                return Ok(Some(next));
            }
        }
        let mut from = bad + 1;
        while let Some(candidate) = self.candidate(from, upto)? {
            if accept(&self.at(candidate)?) {
                return Ok(Some(candidate));
            }
            from = candidate + 1;
        }
        Ok(None)
    }

    /// The first place in `from..upto` that looks like a record or filler.
    fn candidate(&mut self, mut from: Position, upto: Position) -> io::Result<Option<Position>> {
        const MAGICS: [[u8; 4]; 3] =
            [MAGIC_V1.to_be_bytes(), MAGIC_V2.to_be_bytes(), MAGIC_BLANK.to_be_bytes()];
        while from < upto {
            let segment_end = self.segment.end;
            let bytes = self.bytes(from, RECORD_BYTES_MIN)?;
            let at_end = from + bytes.len() as u64 >= segment_end;
            // Of a window that is not the last, the end is looked at with the next one.
            let places = if at_end { bytes.len() } else { bytes.len() - RECORD_BYTES_MIN + 1 };
            let found = (0..places).find(|i| {
                let Some(here) = bytes.get(*i..).and_then(|b| b.get(4..)) else { return false };
                here.first_chunk().is_some_and(|magic| MAGICS.contains(magic))
            });
            if let Some(i) = found {
                let at = from + i as u64;
                return Ok((at < upto).then_some(at));
            }
            from += places.max(1) as u64;
        }
        Ok(None)
    }
}

/// Where the log goes on from `at` on, where nothing says how far it was written. `segments`: those that end behind `at`, in order.
/// In the segment that holds `at`, only with a record that is not older than all before (`newest_ms`): an older one was cut off once,
/// and Apache RocketMQ, which only moves its end, did not erase it. In a later one with any: Apache removes those that it cuts off.
/// Records must be `accept`ed besides. `flushed`: see [`Scanner::new`].
pub(crate) fn goes_on<F: DiskFile, S: Borrow<Segment<F>>>(
    segments: impl Iterator<Item = io::Result<S>>,
    at: Position,
    newest_ms: i64,
    flushed: Option<Position>,
    accept: impl Fn(&RecordView<'_>) -> bool,
) -> io::Result<Option<Position>> {
    for segment in segments {
        let segment = segment?;
        let segment = segment.borrow();
        let mut scanner = Scanner::new(segment, Position::MAX, flushed);
        let accept = |found: &Found<'_>| match found {
            Found::Record(view) => (segment.base > at || view.store_ms >= newest_ms) && accept(view),
            Found::Blank | Found::Bad(_) => false,
        };
        let from = at.max(segment.base);
        let next = match accept(&scanner.at(from)?) {
            true => Some(from),
            false => scanner.search(from, segment.end, accept)?,
        };
        if next.is_some() {
            return Ok(next);
        }
    }
    Ok(None)
}

/// Whether a damaged record was written at `position`: it says so, or would be sound if it did. (One that a disk wrote to a wrong place knows
/// nothing of what lies behind it there.)
fn belongs(view: &RecordView<'_>, position: Position, crc_required: bool) -> bool {
    let mut bytes = view.bytes().to_vec();
    if let Some(said) = bytes.get_mut(POSITION_AT..POSITION_AT + 8) {
        said.copy_from_slice(&position.to_be_bytes());
    }
    let sound = |view: RecordView<'_>| view.verify(Some(position), crc_required).is_ok();
    view.position == position || RecordView::parse(&bytes).is_ok_and(sound)
}

/// Where the record at the start of `bytes` says it lies.
pub(crate) fn said_position(bytes: &[u8]) -> Option<Position> {
    Some(u64::from_be_bytes(*bytes.get(POSITION_AT..)?.first_chunk()?))
}

impl<D: Disk> Shared<D> {
    /// Reads `len` bytes at a position; `None` if no segment holds them (any more).
    pub(crate) fn read(&self, position: Position, len: usize) -> io::Result<Option<Vec<u8>>> {
        let Some(segment) = self.segments.find(position) else { return Ok(None) };
        if position + len as u64 > segment.end {
            return Ok(None);
        }
        let bytes = read_up_to(&segment.file, len, position - segment.base)?;
        Ok((bytes.len() == len).then_some(bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::{HostileDisk, read_all, write_all_at};
    use bytes::BytesMut;
    use kerolox_wire::record::NewRecord;

    const SECTOR: usize = SECTOR_BYTES as usize;

    /// A segment of 8 sectors that begins at 32,768 and has records of `body` bytes one after the other; where these lie.
    fn segment(disk: &HostileDisk, body: usize) -> (Segment<crate::disk::HostileFile>, Vec<Position>) {
        let (base, end) = (8 * SECTOR_BYTES, 16 * SECTOR_BYTES);
        let (mut bytes, mut places) = (BytesMut::new(), Vec::new());
        let body = vec![b'b'; body];
        while bytes.len() + body.len() + 200 < (end - base) as usize {
            let position = base + bytes.len() as u64;
            bytes.extend_from_slice(&record(position, places.len() as u64, &body));
            places.push(position);
        }
        let file = disk.create("f").unwrap();
        file.set_len(end - base).unwrap();
        write_all_at(&file, &bytes, 0).unwrap();
        (Segment { base, end, recycled: false, file }, places)
    }

    fn record(position: Position, queue_offset: u64, body: &[u8]) -> BytesMut {
        let host = ([127, 0, 0, 1], 1).into();
        let new = NewRecord {
            topic: "T",
            queue_id: 0,
            flag: 0,
            sys_flag: 0,
            queue_offset,
            position,
            born_ms: 1,
            born_host: host,
            store_ms: 1,
            store_host: host,
            reconsume_times: 0,
            prepared_transaction_offset: 0,
            body,
            properties: b"",
        };
        let mut bytes = BytesMut::new();
        new.encode(&mut bytes).unwrap();
        bytes
    }

    fn next_record(segment: &Segment<crate::disk::HostileFile>, bad: Position) -> Option<Position> {
        let mut scanner = Scanner::new(segment, 0, None);
        assert!(matches!(scanner.at(bad).unwrap(), Found::Bad(RecordError::Position { .. })));
        scanner.search(bad, segment.end, |found| matches!(found, Found::Record(_))).unwrap()
    }

    /// Found by flips, script 21172: the disk wrote the head of a longer record in the place of another one, and its length led
    /// behind the next, which was taken along.
    #[test]
    fn the_length_of_a_misdirected_record_is_not_believed() {
        let disk = HostileDisk::default();
        let (segment, places) = segment(&disk, 900);
        let len = (places[1] - places[0]) as usize;
        let stray = record(segment.base - SECTOR_BYTES, 0, &vec![b's'; 900 + len]);
        assert_eq!(stray.len(), 2 * len);
        write_all_at(&segment.file, &stray[..512], 0).unwrap();
        assert_eq!(next_record(&segment, places[0]), Some(places[1]));
    }

    #[test]
    fn what_a_record_with_a_damaged_position_carries_is_no_record() {
        const BODY_AT: u64 = 88;
        let disk = HostileDisk::default();
        let (segment, places) = segment(&disk, 900);
        let len = (places[1] - places[0]) as usize;
        let mut inner = record(places[0] + BODY_AT, 0, b"inner").to_vec();
        inner.resize(900, b'b');
        let mut outer = record(places[0], 0, &inner);
        assert_eq!(outer.len(), len);
        outer[POSITION_AT] ^= 1;
        write_all_at(&segment.file, &outer, 0).unwrap();
        assert_eq!(next_record(&segment, places[0]), Some(places[1]));
    }

    #[test]
    fn an_unreadable_sector_costs_the_records_that_lie_in_it() {
        let disk = HostileDisk::default();
        let (segment, places) = segment(&disk, 900);
        for bad in 0..8 {
            disk.bad_sectors("f", bad * SECTOR..(bad + 1) * SECTOR);
            for below in [0, bad as u64, bad as u64 + 1, 8] {
                let flushed = segment.base + below * SECTOR_BYTES;
                let hit =
                    segment.base + bad as u64 * SECTOR_BYTES..segment.base + (bad as u64 + 1) * SECTOR_BYTES;
                for (i, position) in places.iter().enumerate() {
                    let end = places.get(i + 1).copied().unwrap_or(position + 1100);
                    let touched = *position < hit.end && end > hit.start;
                    // Another one each time: nothing was read before.
                    let found =
                        Scanner::new(&segment, 0, Some(flushed)).at(*position).map(|found| match found {
                            Found::Record(view) => view.position == *position,
                            _ => false,
                        });
                    // Below the frontier it is damage, above it nobody can tell.
                    let want = if !touched { Some(true) } else { (flushed >= hit.end).then_some(false) };
                    assert_eq!(found.ok(), want, "sector {bad}, flushed {flushed}, record {position}");
                }
            }
        }
    }

    /// The whole segment is read in pieces, however long its records are.
    #[test]
    fn a_walk_and_a_search_see_every_record() {
        for body in [0, 100, 4000, 20_000] {
            let disk = HostileDisk::default();
            let (segment, places) = segment(&disk, body);
            let mut scanner = Scanner::new(&segment, 0, Some(segment.end));
            for at in &places {
                assert!(matches!(scanner.at(*at).unwrap(), Found::Record(_)), "{at}");
            }
            let after = places.last().unwrap() + 1;
            assert!(matches!(scanner.at(after).unwrap(), Found::Bad(_)));
            // From the byte behind each record's first one, the next record is found.
            for pair in places.windows(2) {
                let sound = |f: &Found<'_>| matches!(f, Found::Record(_));
                assert_eq!(scanner.search(pair[0], segment.end, sound).unwrap(), Some(pair[1]));
                assert_eq!(scanner.search(pair[0] + 1, segment.end, sound).unwrap(), Some(pair[1]));
                assert_eq!(scanner.search(pair[0] + 1, pair[1], sound).unwrap(), None, "not at the limit");
            }
            assert_eq!(scanner.search(after, segment.end, |_| true).unwrap(), None);
            assert!(
                scanner.bytes(segment.base, 8).unwrap().len() >= segment.end as usize - segment.base as usize
            );
        }
    }

    /// A segment of 8 sectors with one record at its beginning, `len` bytes long.
    fn one_of(disk: &HostileDisk, len: usize) -> Segment<crate::disk::HostileFile> {
        let (segment, _) = segment(disk, 30_000);
        let fixed = record(segment.base, 0, b"").len();
        let bytes = record(segment.base, 0, &vec![b'b'; len - fixed]);
        assert_eq!(bytes.len(), len);
        write_all_at(&segment.file, &bytes, 0).unwrap();
        segment
    }

    #[test]
    fn a_record_may_fill_its_segment() {
        let disk = HostileDisk::default();
        let segment = one_of(&disk, 8 * SECTOR);
        assert!(matches!(Scanner::new(&segment, 0, None).at(segment.base).unwrap(), Found::Record(_)));
        write_all_at(&segment.file, b"?", 200).unwrap();
        let mut scanner = Scanner::new(&segment, 0, None);
        assert!(matches!(scanner.at(segment.base).unwrap(), Found::Bad(_)));
        assert_eq!(scanner.claim(segment.base).unwrap().map(|view| view.len()), Some(8 * SECTOR));
    }

    /// Else a gibibyte is read because one bit of a length flipped.
    #[test]
    fn no_more_is_read_than_a_record_can_have() {
        let disk = HostileDisk::default();
        let segment = one_of(&disk, 200);
        for total in [8 * SECTOR as u32 + 1, u32::MAX] {
            write_all_at(&segment.file, &total.to_be_bytes(), 0).unwrap();
            let mut scanner = Scanner::small(&segment, 0);
            assert!(matches!(scanner.at(segment.base).unwrap(), Found::Bad(RecordError::Short(..))));
            assert!(scanner.claim(segment.base).unwrap().is_none());
            assert_eq!(scanner.window.len(), SECTOR);
        }
    }

    #[test]
    fn a_read_around_a_bad_sector_gives_what_was_asked_for() {
        let disk = HostileDisk::default();
        let (segment, _) = segment(&disk, 100);
        disk.bad_sectors("f", SECTOR..2 * SECTOR);
        let scanner = Scanner::new(&segment, 0, Some(segment.end));
        for (from, len) in [(0, 2 * SECTOR + 10), (10, SECTOR), (100, 8 * SECTOR - 100), (SECTOR, 1)] {
            let read = scanner.read(segment.base + from as u64, len, len).unwrap();
            let mut want = read_all(&disk.open("whole").unwrap_or_else(|_| whole(&disk))).unwrap();
            want[SECTOR..2 * SECTOR].fill(0);
            assert!(read[..len] == want[from..from + len], "{len} from {from}");
            assert!(read.len() <= want.len() - from);
        }
    }

    /// The same content in a file without bad sectors.
    fn whole(disk: &HostileDisk) -> crate::disk::HostileFile {
        let file = disk.create("whole").unwrap();
        write_all_at(&file, &disk.content("f").unwrap(), 0).unwrap();
        file
    }

    /// Of Apache's records nothing but the body is checked; what such a damaged one carries is no record either.
    #[test]
    fn what_a_damaged_record_of_apache_carries_is_no_record() {
        const BODY_AT: u64 = 88;
        let disk = HostileDisk::default();
        let (segment, places) = segment(&disk, 900);
        let mut inner = record(places[0] + BODY_AT, 0, b"inner").to_vec();
        inner.resize(900, b'b');
        let mut outer = record(places[0], 0, &inner);
        // Without the checksum over all, that is; and its position is damaged.
        let properties = outer.len() - 20;
        outer[properties..].fill(b'p');
        outer[POSITION_AT] ^= 1;
        write_all_at(&segment.file, &outer, 0).unwrap();
        let sound = |found: &Found<'_>| matches!(found, Found::Record(_));
        let mut scanner = Scanner::new(&segment, Position::MAX, None);
        assert_eq!(scanner.search(places[0], segment.end, sound).unwrap(), Some(places[1]));
        // Where ours begin, it would have one.
        let mut scanner = Scanner::new(&segment, 0, None);
        assert_ne!(scanner.search(places[0], segment.end, sound).unwrap(), Some(places[1]));
    }

    /// A candidate may lie across the border of two windows.
    #[test]
    fn a_search_sees_every_place() {
        for shift in 0..RECORD_BYTES_MIN + 10 {
            let disk = HostileDisk::default();
            let file = disk.create("f").unwrap();
            let segment = Segment { base: 0, end: 4 * SECTOR_BYTES, recycled: false, file };
            segment.file.set_len(segment.end).unwrap();
            let at = SECTOR_BYTES - shift as u64;
            write_all_at(&segment.file, &record(at, 0, b"here"), at).unwrap();
            let sound = |found: &Found<'_>| matches!(found, Found::Record(_));
            let mut scanner = Scanner::small(&segment, 0);
            assert_eq!(scanner.search(0, segment.end, sound).unwrap(), Some(at));
            let mut scanner = Scanner::small(&segment, 0);
            assert_eq!(scanner.search(0, at, sound).unwrap(), None, "not at the limit");
            assert_eq!(scanner.search(0, at + 1, sound).unwrap(), Some(at));
        }
    }
}
