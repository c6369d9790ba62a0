//! Executes read plans: entries from index runs, records from the log, every one verified before it is served.

use crate::disk::Disk;
use crate::index::{OpenRuns, RunFacts};
use crate::log::{Found, Scanner, Shared, said_position};
use crate::plan::{KEY_ANSWER_BYTES_MAX, PlanEntries, PlanPiece, ReadPlan, TimeOf, Work};
use crate::queue::Entry;
use crate::store::{Gather, Next, is_queued};
use crate::unreadable::Unreadable;
use crate::{Boundary, Position, QueueEntry, QueueRead, QueueSlice, ReadResult, STATE_TOPIC};
use bytes::{Bytes, BytesMut};
use kerolox_wire::frame::FRAME_BYTES_MAX;
use kerolox_wire::names;
use kerolox_wire::properties::{Properties, name};
use kerolox_wire::record::{RECORD_BYTES_MIN, RecordHead, RecordView};
use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

/// Entries that are taken from an index run at once.
const ENTRIES_AT_ONCE: u32 = 1024;
/// Neighbouring records are read with one call up to so many bytes …
const SPAN_BYTES_MAX: u64 = 256 << 10;
/// … if no more than so many unwanted ones lie between two of them.
const SPAN_GAP_MAX: u64 = 4 << 10;

/// Executes read plans; cheap to clone, for any thread.
pub struct Reader<D: Disk> {
    shared: Arc<Shared<D>>,
    runs: Arc<OpenRuns<D>>,
    /// Rows of damaged runs, newest first.
    rebuilt: Arc<Mutex<VecDeque<Rebuilt>>>,
    unreadable: Arc<Unreadable>,
}

impl<D: Disk> Clone for Reader<D> {
    fn clone(&self) -> Self {
        Self {
            shared: Arc::clone(&self.shared),
            runs: Arc::clone(&self.runs),
            rebuilt: Arc::clone(&self.rebuilt),
            unreadable: Arc::clone(&self.unreadable),
        }
    }
}

/// Where a message lies, or what became of it.
type Slot = Result<Entry, Lost>;

/// A message that a damaged run had, and that the log has no record of (any more).
#[derive(Clone, Copy)]
struct Lost {
    /// The part of the log that it was in, and whose damage took it, if there is one.
    region: Option<(Position, Position)>,
}

/// A row of a run.
type Row = Arc<Vec<Slot>>;

/// A row of a damaged run, read from the log.
struct Rebuilt {
    run: Position,
    topic: Box<str>,
    queue_id: u32,
    first: u64,
    row: Row,
}

/// Rows of damaged runs that are kept, so that a damaged one is not read from the log again and again.
const REBUILT_MAX: usize = 16;

/// What a walk over the log meets.
enum Scanned<'a, 'b> {
    Record(&'a RecordView<'b>),
    /// No record, from here to there.
    Bad(Position, Position),
}

/// Bytes of the log that were read together.
#[derive(Default)]
struct Span {
    at: Position,
    bytes: Vec<u8>,
}

impl Span {
    fn get(&self, position: Position, size: u32) -> Option<&[u8]> {
        let start = usize::try_from(position.checked_sub(self.at)?).ok()?;
        self.bytes.get(start..start.checked_add(size as usize)?)
    }
}

/// Which record must lie somewhere.
struct Expected<'a> {
    topic: &'a str,
    queue_id: u32,
    offset: u64,
}

impl<D: Disk> Reader<D> {
    pub(crate) fn new(shared: Arc<Shared<D>>) -> Self {
        let runs = Arc::new(OpenRuns::new(shared.disk.clone()));
        Self { shared, runs, rebuilt: Arc::default(), unreadable: Arc::default() }
    }

    /// Does what a plan says. What the disk refuses to read makes it [`ReadResult::Failed`], to be tried again later; after 30 s of
    /// refusals the place counts as damaged, and is passed over. `now_ms` is of any clock that does not jump.
    pub fn execute(&self, plan: &ReadPlan, now_ms: i64) -> ReadResult {
        let reading = Reading { reader: self, shared: &self.shared, now_ms, failed: RefCell::default() };
        let result = reading.execute(plan);
        match reading.failed.into_inner() {
            Some(why) => ReadResult::Failed(why),
            None => result,
        }
    }
}

/// One plan being executed.
struct Reading<'a, D: Disk> {
    reader: &'a Reader<D>,
    shared: &'a Shared<D>,
    now_ms: i64,
    /// The disk refused something that is not given up yet: the result is worth nothing.
    failed: RefCell<Option<String>>,
}

impl<D: Disk> Reading<'_, D> {
    fn execute(&self, plan: &ReadPlan) -> ReadResult {
        match &plan.work {
            Work::Queue { read, end, pieces } => ReadResult::Queue(self.queue(read, *end, pieces)),
            Work::Records { positions, bytes_max } => {
                let (mut records, mut bytes) = (Vec::new(), 0);
                for position in positions {
                    if bytes >= *bytes_max {
                        break;
                    }
                    let record = self.record(*position, plan.confirmed).as_deref().and_then(for_client);
                    bytes += record.as_ref().map_or(0, Bytes::len);
                    records.push(record);
                }
                ReadResult::Records(records)
            }
            Work::Entries { topic, queue_id, pieces } => {
                let all = pieces.iter().flat_map(|piece| {
                    let entries = self.entries(piece, 0, piece.count, topic, *queue_id);
                    (piece.first..).zip(entries).filter_map(|(offset, entry)| {
                        let Entry { position, size, tag_code } = entry.ok()?;
                        Some(QueueEntry { offset, position, size, tag_code })
                    })
                });
                ReadResult::Entries(all.collect())
            }
            Work::SearchTime { topic, queue_id, time_ms, boundary, min, max, pieces } => {
                let times = Times { reading: self, topic, queue_id: *queue_id, pieces };
                ReadResult::Offset(times.search(*time_ms, *boundary, *min, *max))
            }
            Work::Times(times) => ReadResult::Times(times.iter().map(|time| self.time(time)).collect()),
            Work::FirstTime => ReadResult::Times(vec![self.first_time(plan.confirmed)]),
            Work::QueryKey { .. } => ReadResult::Records(self.query_key(plan)),
        }
    }

    /// `len` bytes of the log; `None` if they are gone, or given up.
    fn read(&self, position: Position, len: usize) -> Option<Vec<u8>> {
        // Once more at once: most troubles are over then.
        let part = position..position + len as u64;
        match self.shared.read(position, len).or_else(|_| self.shared.read(position, len)) {
            Ok(bytes) => {
                self.reader.unreadable.fine(part);
                bytes
            }
            Err(e) => {
                self.refused(part, &e);
                None
            }
        }
    }

    /// The disk refused to read something; true if that is to be taken for damage.
    fn refused(&self, part: Range<Position>, e: &io::Error) -> bool {
        let position = part.start;
        let given_up = self.reader.unreadable.gives_up(part, self.now_ms);
        if !given_up {
            self.failed.borrow_mut().get_or_insert_with(|| format!("the log at {position}: {e}"));
        }
        given_up
    }

    fn has_failed(&self) -> bool {
        self.failed.borrow().is_some()
    }

    fn queue(&self, read: &QueueRead, end: u64, pieces: &[PlanPiece]) -> QueueSlice {
        let mut gather = Gather::new(read);
        let mut span = Span::default();
        for piece in pieces {
            gather.pass_to(piece.first);
            let mut done = 0;
            while done < piece.count {
                let take = ENTRIES_AT_ONCE.min(piece.count - done);
                let entries = self.entries(piece, done, take, &read.topic, read.queue_id);
                let first = piece.first + u64::from(done);
                if self.has_failed()
                    || self.gather(&mut gather, first, &entries, &mut span, read) == Next::Enough
                {
                    // What was gathered before the trouble is good.
                    if gather.next_offset() > read.from {
                        self.failed.take();
                    }
                    return gather.finish();
                }
                done += take;
                gather.pass_to(first + u64::from(take));
            }
        }
        gather.pass_to(end);
        gather.finish()
    }

    /// Takes what is wanted of consecutive entries.
    fn gather(
        &self,
        gather: &mut Gather<'_>,
        first: u64,
        entries: &[Slot],
        span: &mut Span,
        read: &QueueRead,
    ) -> Next {
        for (i, (offset, entry)) in (first..).zip(entries).enumerate() {
            if gather.scan_left() == 0 {
                return Next::Enough;
            }
            let entry = match entry {
                Ok(entry) => entry,
                Err(lost) => {
                    if let Some((from, to)) = lost.region.filter(|(from, _)| *from >= self.shared.min()) {
                        gather.damaged(offset, from, to - from, "its index is damaged, too".to_owned());
                    }
                    gather.pass_to(offset + 1);
                    continue;
                }
            };
            if !gather.wants(offset, entry) {
                continue;
            }
            if gather.is_full(entry) {
                return Next::Enough;
            }
            if span.get(entry.position, entry.size).is_none() {
                *span = self.read_span(entry, entries.get(i + 1..).unwrap_or_default(), read.bytes_max);
            }
            let expected = Expected { topic: &read.topic, queue_id: read.queue_id, offset };
            // What could not be read, or was read wrongly, is read once more before that is believed.
            for again in [false, true] {
                let bytes = span.get(entry.position, entry.size).ok_or_else(|| "cannot be read".to_owned());
                match bytes.and_then(|b| self.verified(b, entry, &expected)) {
                    Ok(view) => {
                        if gather.add(offset, &view) == Next::Enough {
                            return Next::Enough;
                        }
                        break;
                    }
                    Err(_) if !again => {
                        let bytes = self.read(entry.position, entry.size as usize).unwrap_or_default();
                        *span = Span { at: entry.position, bytes };
                    }
                    Err(_) if self.has_failed() => return Next::Enough,
                    Err(why) => {
                        // Gone with its segment is not damaged.
                        if entry.position >= self.shared.min() {
                            gather.damaged(offset, entry.position, u64::from(entry.size), why);
                        }
                        gather.pass_to(offset + 1);
                    }
                }
            }
        }
        Next::GoOn
    }

    /// Reads a record together with those that follow closely. What cannot be read is left out.
    fn read_span(&self, entry: &Entry, following: &[Slot], bytes_max: u32) -> Span {
        let at = entry.position;
        let alone = at + u64::from(entry.size);
        let mut end = alone;
        let room = SPAN_BYTES_MAX.min(u64::from(bytes_max));
        for next in following.iter().flatten() {
            let next_end = next.position + u64::from(next.size);
            if next.position < end || next.position - end > SPAN_GAP_MAX || next_end - at > room {
                break;
            }
            end = next_end;
        }
        let read = |end: Position| {
            let bytes = self.shared.read(at, (end - at) as usize).ok()?;
            self.reader.unreadable.fine(at..end);
            bytes
        };
        // A bad sector in the neighbourhood must not take this record along.
        let bytes = read(end).or_else(|| if end > alone { read(alone) } else { None });
        Span { at, bytes: bytes.unwrap_or_default() }
    }

    /// The record, if it is the one that must lie there; else what is wrong.
    fn verified<'a>(
        &self,
        bytes: &'a [u8],
        entry: &Entry,
        expected: &Expected<'_>,
    ) -> Result<RecordView<'a>, String> {
        let view = RecordView::parse(bytes).map_err(|e| e.to_string())?;
        view.verify(Some(entry.position), entry.position >= self.shared.crc_from)
            .map_err(|e| e.to_string())?;
        let same = view.len() == entry.size as usize
            && view.offset_in(expected.topic, expected.queue_id) == Some(expected.offset);
        if !same {
            let found = format!("{}:{} offset {}", view.topic, view.queue_id, view.queue_offset);
            return Err(format!("another record lies there: {found}"));
        }
        Ok(view)
    }

    /// Entries `skip..skip + take` of a piece; if the index run is damaged, from the log itself.
    fn entries(&self, piece: &PlanPiece, skip: u32, take: u32, topic: &str, queue_id: u32) -> Vec<Slot> {
        match &piece.entries {
            PlanEntries::Memory { entries, skip: before } => {
                let from = before + skip as usize;
                let some = entries.get(from..).unwrap_or_default().iter().take(take as usize);
                some.map(|e| Ok(*e)).collect()
            }
            PlanEntries::Disk { run, at, row_count, skip: before, row_first } => {
                let open = self.reader.runs.get(run.start, run.end);
                match open.and_then(|r| r.entries(*at, *row_count, before + skip, take)) {
                    Ok(entries) if entries.len() == take as usize => entries.into_iter().map(Ok).collect(),
                    _ => {
                        let row = self.rebuilt_row(run, topic, queue_id, *row_first, *row_count);
                        let from = (before + skip) as usize;
                        row.get(from..from + take as usize).unwrap_or_default().to_vec()
                    }
                }
            }
        }
    }

    /// Entries of a row of a run, read from the log because the run is damaged.
    fn rebuilt_row(&self, run: &RunFacts, topic: &str, queue_id: u32, first: u64, count: u32) -> Row {
        let rebuilt = || self.reader.rebuilt.lock().unwrap_or_else(PoisonError::into_inner);
        let same =
            |r: &&Rebuilt| (r.run, r.queue_id, r.first) == (run.start, queue_id, first) && *r.topic == *topic;
        if let Some(known) = rebuilt().iter().find(same) {
            return Arc::clone(&known.row);
        }
        let mut found = vec![Err(Lost { region: None }); count as usize];
        // From the first to the last damaged region between two messages, by the place behind the one before.
        let mut regions: BTreeMap<usize, (Position, Position)> = BTreeMap::new();
        let mut next = 0;
        self.scan(run, |seen| match seen {
            Scanned::Record(view) => {
                let offset = is_queued(view.sys_flag).then(|| view.offset_in(topic, queue_id)).flatten();
                let at = offset.and_then(|offset| usize::try_from(offset.checked_sub(first)?).ok());
                if let Some((at, slot)) = at.and_then(|at| Some((at, found.get_mut(at)?))) {
                    *slot = Ok(entry_of(view));
                    next = at + 1;
                }
            }
            Scanned::Bad(from, to) => regions.entry(next).or_insert((from, to)).1 = to,
        });
        next = 0;
        for (at, slot) in found.iter_mut().enumerate() {
            match slot {
                Ok(_) => next = at + 1,
                Err(lost) => lost.region = regions.get(&next).copied(),
            }
        }
        let row: Row = Arc::new(found);
        if self.has_failed() {
            return row;
        }
        let entry = Rebuilt { run: run.start, topic: topic.into(), queue_id, first, row: Arc::clone(&row) };
        let mut rebuilt = rebuilt();
        rebuilt.push_front(entry);
        rebuilt.truncate(REBUILT_MAX);
        row
    }

    /// Walks over a run's range of the log. An unreadable part that is given up is damaged.
    fn scan(&self, run: &RunFacts, mut visit: impl FnMut(Scanned<'_, '_>)) {
        match self.scan_strictly(run, None, &mut visit) {
            Ok(()) => self.reader.unreadable.fine(run.start..run.end),
            // Nothing of what cannot be read is an error now, nor what shares its last block with the next run.
            Err(e) if self.refused(run.start..run.end, &e) => {
                let _ = self.scan_strictly(run, Some(Position::MAX), &mut visit);
            }
            Err(_) => {}
        }
    }

    /// The same; what cannot be read below `given_up` counts as damaged, from there on it is an error.
    fn scan_strictly(
        &self,
        run: &RunFacts,
        given_up: Option<Position>,
        visit: &mut impl FnMut(Scanned<'_, '_>),
    ) -> io::Result<()> {
        let Some(segment) = self.shared.segments.find(run.start) else { return Ok(()) };
        let mut scanner = Scanner::new(&segment, self.shared.crc_from, given_up);
        let mut at = run.start;
        while at < run.end {
            at = match scanner.at(at)? {
                Found::Record(view) => {
                    visit(Scanned::Record(&view));
                    at + view.len() as u64
                }
                Found::Blank => return Ok(()),
                Found::Bad(_) => {
                    let next = scanner.search(at, run.end, |f| !matches!(f, Found::Bad(_)))?;
                    let next = next.unwrap_or(run.end);
                    visit(Scanned::Bad(at, next));
                    next
                }
            };
        }
        Ok(())
    }

    fn time(&self, time: &TimeOf) -> Option<i64> {
        match time {
            TimeOf::Known(time) => *time,
            TimeOf::Record { topic, queue_id, piece } => {
                Times { reading: self, topic, queue_id: *queue_id, pieces: std::slice::from_ref(piece) }
                    .store_ms(0)
            }
        }
    }

    fn first_time(&self, confirmed: Position) -> Option<i64> {
        let bytes = self.any_record(self.shared.min(), confirmed)?;
        Some(RecordView::parse(&bytes).ok()?.store_ms)
    }

    /// The whole record that begins at a position below `confirmed`, verified. State records are nobody's business.
    fn record(&self, position: Position, confirmed: Position) -> Option<Vec<u8>> {
        let bytes = self.any_record(position, confirmed)?;
        (RecordView::parse(&bytes).ok()?.topic != STATE_TOPIC).then_some(bytes)
    }

    fn any_record(&self, position: Position, confirmed: Position) -> Option<Vec<u8>> {
        if position < self.shared.min() || position + RECORD_BYTES_MIN as u64 > confirmed {
            return None;
        }
        // What was read wrongly once is read again before that is believed.
        self.try_record(position, confirmed).or_else(|| self.try_record(position, confirmed))
    }

    fn try_record(&self, position: Position, confirmed: Position) -> Option<Vec<u8>> {
        let bytes = self.read(position, RECORD_BYTES_MIN)?;
        let head = RecordHead::peek(&bytes).filter(|h| h.is_record())?;
        let len = u64::from(head.total);
        // Anybody may ask for any position, and have sent what lies there: no length is believed of what does not know its place, nor one
        // that nobody could be given.
        let can_be = RECORD_BYTES_MIN as u64..=FRAME_BYTES_MAX as u64;
        if said_position(&bytes) != Some(position) || !can_be.contains(&len) || position + len > confirmed {
            return None;
        }
        let bytes = self.read(position, len as usize)?;
        let view = RecordView::parse(&bytes).ok()?;
        view.verify(Some(position), position >= self.shared.crc_from).ok()?;
        Some(bytes)
    }

    fn query_key(&self, plan: &ReadPlan) -> Vec<Option<Bytes>> {
        let Work::QueryKey { topic, key, hash, count_max, from_ms, to_ms, chunks, runs } = &plan.work else {
            return Vec::new();
        };
        let mut found = Vec::new();
        let (mut last, mut looked, mut bytes_found) = (Position::MAX, 0, 0);
        let mut consider = |position: Position| {
            let room = found.len() < *count_max && bytes_found < KEY_ANSWER_BYTES_MAX;
            // A key may stand twice in one message.
            if room && position < last && looked < KEY_RECORDS_MAX {
                last = position;
                looked += 1;
                let bytes = self.record(position, plan.confirmed);
                let view = bytes.as_deref().and_then(|b| RecordView::parse(b).ok());
                let wanted = view.is_some_and(|v| {
                    v.topic == topic
                        && (*from_ms..=*to_ms).contains(&v.store_ms)
                        && has_key(v.properties(), key)
                });
                if wanted {
                    bytes_found += bytes.as_ref().map_or(0, Vec::len);
                    found.push(bytes.as_deref().and_then(for_client));
                }
            }
            room && looked < KEY_RECORDS_MAX
        };
        for chunk in chunks.iter().rev() {
            let matching = chunk.iter().rev().filter(|(h, _)| h == hash);
            matching.for_each(|(_, position)| {
                consider(*position);
            });
        }
        for run in runs.values().rev() {
            if run.times.is_none_or(|(least, greatest)| least > *to_ms || greatest < *from_ms) {
                continue;
            }
            let positions = self.key_positions(run, topic, key, *hash);
            if !positions.into_iter().all(&mut consider) {
                break;
            }
        }
        found
    }

    /// Records of a run that carry a key (or another with the same hash), newest first.
    fn key_positions(&self, run: &RunFacts, topic: &str, key: &str, hash: u64) -> Vec<Position> {
        let open = self.reader.runs.get(run.start, run.end);
        if let Ok(positions) = open.and_then(|r| r.positions(hash, KEY_POSITIONS_MAX)) {
            return positions;
        }
        let mut positions = Vec::new();
        self.scan(run, |seen| match seen {
            Scanned::Record(view) if view.topic == topic && has_key(view.properties(), key) => {
                positions.push(view.position);
            }
            _ => {}
        });
        positions.sort_unstable_by(|a, b| b.cmp(a));
        positions.dedup();
        positions.truncate(KEY_POSITIONS_MAX);
        positions
    }
}

/// Records that are looked at for one key: all together, and of one run.
const KEY_RECORDS_MAX: usize = 20_000;
const KEY_POSITIONS_MAX: usize = 10_000;

fn entry_of(view: &RecordView<'_>) -> Entry {
    let tags = view.properties().get(name::TAGS);
    let tags = tags.map_or(0, kerolox_wire::properties::tag_code);
    let due = view.properties().get(name::TIMER_OUT_MS).filter(|_| view.topic == names::WHEEL_TIMER_TOPIC);
    Entry {
        position: view.position,
        size: view.len() as u32, // holds because a record's length is a u32
        tag_code: due.and_then(|due| due.parse().ok()).unwrap_or(tags),
    }
}

fn has_key(properties: Properties<'_>, key: &str) -> bool {
    properties.get(name::UNIQ_CLIENT_MESSAGE_ID_KEYIDX) == Some(key)
        || properties.get(name::KEYS).is_some_and(|keys| keys.split(' ').any(|k| k == key))
}

fn for_client(record: &[u8]) -> Option<Bytes> {
    let mut out = BytesMut::with_capacity(record.len());
    kerolox_wire::record::strip_crc(record, &mut out).ok()?;
    Some(out.freeze())
}

/// A queue's entries by number, gaps left out, for a search by time.
struct Times<'a, D: Disk> {
    reading: &'a Reading<'a, D>,
    topic: &'a str,
    queue_id: u32,
    pieces: &'a [PlanPiece],
}

impl<D: Disk> Times<'_, D> {
    fn search(&self, time_ms: i64, boundary: Boundary, min: u64, max: u64) -> u64 {
        let all: u64 = self.pieces.iter().map(|p| u64::from(p.count)).sum();
        let before = |store_ms: i64| match boundary {
            Boundary::Lower => store_ms < time_ms,
            Boundary::Upper => store_ms <= time_ms,
        };
        let (mut low, mut high) = (0, all);
        while low < high {
            let middle = low + (high - low) / 2;
            match self.first_readable(middle, high) {
                // All of the upper half is damaged: it decides nothing.
                None => high = middle,
                Some((at, store_ms)) if before(store_ms) => low = at + 1,
                Some(_) => high = middle,
            }
        }
        match boundary {
            Boundary::Lower => self.offset(low).unwrap_or(max),
            Boundary::Upper => low.checked_sub(1).and_then(|at| self.offset(at)).unwrap_or(min),
        }
    }

    fn locate(&self, mut number: u64) -> Option<(&PlanPiece, u32)> {
        for piece in self.pieces {
            if number < u64::from(piece.count) {
                return Some((piece, number as u32)); // holds because a count is a u32
            }
            number -= u64::from(piece.count);
        }
        None
    }

    fn offset(&self, number: u64) -> Option<u64> {
        self.locate(number).map(|(piece, skip)| piece.first + u64::from(skip))
    }

    /// The first message from `number` on, below `upto`, that can be read; and when it was stored.
    fn first_readable(&self, number: u64, upto: u64) -> Option<(u64, i64)> {
        (number..upto).find_map(|at| Some((at, self.store_ms(at)?)))
    }

    fn store_ms(&self, number: u64) -> Option<i64> {
        let (piece, skip) = self.locate(number)?;
        let entry = self.reading.entries(piece, skip, 1, self.topic, self.queue_id).first()?.ok()?;
        let bytes = self.reading.read(entry.position, entry.size as usize)?;
        let offset = piece.first + u64::from(skip);
        let expected = Expected { topic: self.topic, queue_id: self.queue_id, offset };
        self.reading.verified(&bytes, &entry, &expected).ok().map(|view| view.store_ms)
    }
}
