//! The walk over the log: what index runs do not cover is indexed, what the snapshot does not cover is folded, and what
//! is no record is told apart: torn (above the frontier, the log ends there) or damaged (below it, quarantined).

use super::course::Course;
use super::fold::{DumpFinder, Fold, StoreChange};
use super::layout::Layout;
use super::suspects::{Suspect, Suspects};
use super::{OpenError, Progress, Report, StateFold};
use crate::disk::{Disk, DiskFile};
use crate::index::{Index, Indexed, RUN_DIR, RunDraft, RunError, RunFile, run_name, run_path};
use crate::keeper::RunAge;
use crate::log::{Found, Scanner, Segment};
use crate::queue::Entry;
use crate::snapshot::{self, Snapshot, SnapshotError};
use crate::store::{Dump, is_queued};
use crate::{Damage, Position, STATE_TOPIC, StoreConfig};
use kerolox_wire::names;
use kerolox_wire::properties::{further_queues, name};
use kerolox_wire::record::{RECORD_BYTES_MIN, RecordView};
use kerolox_wire::sys_flag::INNER_BATCH;
use std::collections::BTreeMap;
use std::collections::HashMap;
use std::io;
use std::sync::Arc;

/// Progress is told after so many bytes.
const PROGRESS_BYTES: u64 = 16 << 20;

/// What the walk found.
pub(super) struct Walked {
    pub(super) end: Position,
    /// The log was (also) written by somebody else.
    pub(super) foreign: bool,
    /// In particular its end, above the frontier.
    pub(super) foreign_end: bool,
    pub(super) index: Index,
    pub(super) state_next: u64,
    pub(super) dump: Dump,
    pub(super) snapped: Position,
    pub(super) state_bytes: u64,
    pub(super) run_ages: BTreeMap<Position, RunAge>,
    /// Runs that are not written: the next seal does it.
    pub(super) drafts: Vec<RunDraft>,
    pub(super) stale_runs: Vec<(Position, Position)>,
    pub(super) stale_names: Vec<String>,
    pub(super) stale_snapshot: bool,
    /// The snapshot has the state.
    pub(super) in_snapshot: bool,
}

pub(super) struct Walk<'a, D: Disk> {
    disk: &'a D,
    config: &'a StoreConfig,
    layout: &'a Layout<D>,
    progress: &'a mut dyn FnMut(Progress),
    report: &'a mut Report,
    fold: Fold<'a>,
    /// The state before anything is folded, until the walk gets there.
    snapshot: Option<Snapshot>,
    /// Folding begins here.
    fold_from: Position,
    course: Course,
    walked: Walked,
    doubts: Vec<Doubt>,
    /// First offset of queues that nothing is known of, and of light message queues.
    begin: (u64, u64),
    /// The newest whole dump behind damage that may have hit the state.
    fold_again_from: Option<Position>,
    suspects: Suspects,
    told: u64,
}

/// A region that may have held the last messages of queues.
struct Doubt {
    position: Position,
    end: Position,
    /// How many records it may have had at most.
    records: u64,
    /// Its only record's own queue is known: it may have belonged to light message queues besides.
    further_only: bool,
}

/// Where the walk stands after something that is no record.
enum After {
    Next(Position),
    End,
}

/// What the walk needs of a record when its bytes are no longer at hand.
struct Claim {
    topic: String,
    queue_id: u32,
    offset: u64,
    queued: bool,
    bytes: u64,
    /// That is where the damage is, and not in what else it says.
    body_damaged: bool,
}

impl<'a, D: Disk> Walk<'a, D> {
    pub(super) fn new(
        disk: &'a D,
        config: &'a StoreConfig,
        layout: &'a Layout<D>,
        fold: &'a mut dyn StateFold,
        progress: &'a mut dyn FnMut(Progress),
        report: &'a mut Report,
    ) -> Result<Self, OpenError> {
        let facts = layout.facts;
        let own_from_zero =
            layout.min == 0 && (facts.is_some_and(|f| f.crc_from == 0) || layout.segments.is_empty());
        let dump = Dump { begin: 0, end: own_from_zero.then_some(0) };
        let mut walk = Self {
            disk,
            config,
            layout,
            progress,
            report,
            fold: Fold::new(fold, dump),
            snapshot: None,
            fold_from: layout.min,
            course: Course::new(layout.rival, facts, false),
            walked: Walked {
                end: layout.min,
                foreign: facts.is_none() && !layout.segments.is_empty(),
                foreign_end: false,
                index: Index::new(layout.min),
                state_next: 0,
                dump,
                snapped: 0,
                state_bytes: 0,
                run_ages: BTreeMap::new(),
                drafts: Vec::new(),
                stale_runs: Vec::new(),
                stale_names: Vec::new(),
                stale_snapshot: false,
                in_snapshot: false,
            },
            doubts: Vec::new(),
            begin: (0, 0),
            fold_again_from: None,
            suspects: Suspects::default(),
            told: 0,
        };
        walk.choose_start()?;
        Ok(walk)
    }

    /// Where folding begins: the snapshot, else the newest whole dump, else the beginning of the log.
    fn choose_start(&mut self) -> Result<(), OpenError> {
        let snapshot = match Snapshot::read(self.disk) {
            Err(SnapshotError::TooNew { found, known }) => {
                return Err(OpenError::TooNew { what: snapshot::PATH.to_owned(), found, known });
            }
            // The log says the same.
            Err(_) => None,
            Ok(snapshot) => snapshot,
        };
        let known = self.course.flushed.unwrap_or(0);
        let usable =
            |s: &Snapshot| (self.layout.min..=known).contains(&s.position) && self.course.flushed.is_some();
        let failed = |e| OpenError::io("looking for a dump of the state")(e);
        match snapshot {
            Some(snapshot) if usable(&snapshot) && self.has_state(&snapshot).map_err(failed)? => {
                self.fold_from = snapshot.position;
                self.walked.snapped = snapshot.position;
                self.walked.in_snapshot = !snapshot.entries.is_empty();
                self.snapshot = Some(snapshot);
            }
            _ => {
                self.walked.stale_snapshot = true;
                if let Some(dump) = self.find_dump(self.layout.min, known).map_err(failed)? {
                    self.fold_from = dump;
                }
            }
        }
        Ok(())
    }

    /// Whether a snapshot has the state. That of a large state only says where a dump begins, which may be damaged by now.
    fn has_state(&mut self, snapshot: &Snapshot) -> io::Result<bool> {
        let Some(end) = snapshot.dump.end.filter(|_| snapshot.entries.is_empty()) else { return Ok(true) };
        Ok(self.find_dump(snapshot.position, end)? == Some(snapshot.position))
    }

    /// The newest whole dump in `from..to`.
    fn find_dump(&mut self, from: Position, to: Position) -> io::Result<Option<Position>> {
        let mut finder = DumpFinder::default();
        for segment in self.layout.segments.iter().rev() {
            let scanner = self.course.scanner(segment);
            let base = segment.base.max(from);
            let end = each_record(scanner, base, to.min(segment.end), |view| {
                if view.topic == STATE_TOPIC {
                    finder.record(view.position, view.body);
                }
            })?;
            self.report.scanned_bytes += end - base;
            if let Some(begin) = finder.newest(base) {
                return Ok(Some(begin));
            }
        }
        Ok(None)
    }

    /// Some of the state may have been in a damaged region, and all of it was said again behind that: folds from there.
    fn fold_again(&mut self, begin: Position, end: Position) -> io::Result<()> {
        self.fold.restart(begin);
        for segment in &self.layout.segments {
            let scanner = self.course.scanner(segment);
            each_record(scanner, segment.base.max(begin), end.min(segment.end), |view| {
                match view.topic == STATE_TOPIC {
                    // The store's own part is right already.
                    true => drop(Self::fold_record(&mut self.fold, view)),
                    false => self.fold.message(view),
                }
            })?;
        }
        Ok(())
    }

    pub(super) fn run(mut self) -> Result<Walked, OpenError> {
        let runs = self.list_runs()?;
        let mut at = self.layout.min;
        for (start, end) in runs {
            // Opened one at a time; read before the gap before it is closed, so that a damaged one becomes a part of it.
            let run = RunFile::open(self.disk, start, end).and_then(|run| Ok((run.directory()?, run.facts)));
            if let Err(RunError::TooNew { found, known }) = run {
                return Err(OpenError::TooNew { what: run_path(start, end), found, known });
            }
            let Some((directory, facts)) = run.ok().filter(|_| start >= at) else {
                self.walked.stale_runs.push((start, end));
                continue;
            };
            self.walk(at, start)?;
            self.cut(start);
            let folded = end > self.fold_from;
            let batches =
                if folded { self.fold_only(start.max(self.fold_from), end)? } else { Batches::new() };
            let newest_ms = facts.times.map(|(_, newest)| newest);
            self.course.newest_ms = self.course.newest_ms.max(newest_ms.unwrap_or(i64::MIN));
            self.walked.run_ages.insert(start, RunAge { end, newest_ms });
            self.walked.index.load(Arc::new(facts), &directory);
            for ((topic, queue_id), (offset, count)) in batches {
                // A run says how many records there are, not how many offsets the last one takes.
                if self.walked.index.queues.find(&topic, queue_id).is_some_and(|q| q.next == offset + 1) {
                    self.walked.index.expect_next(&topic, queue_id, offset + count);
                }
            }
            at = end;
        }
        self.walked.index.open_at = at;
        let end = self.walk(at, Position::MAX)?;
        self.walked.foreign_end = self.course.went_on;
        self.walked.foreign |= self.course.went_on;
        if let Some(begin) = self.fold_again_from {
            self.fold_again(begin, end).map_err(OpenError::io("folding the state again"))?;
        }
        self.suspects.settle_all(&mut self.walked.index);
        self.reach(Position::MAX);
        if let Some((position, kind)) = self.fold.unknown {
            return Err(OpenError::UnknownEntry { position, kind });
        }
        self.settle_doubts();
        self.walked.end = end;
        self.walked.state_next = self.fold.state_next;
        self.walked.dump = self.fold.dump;
        self.walked.state_bytes = self.fold.state_bytes;
        if self.fold.dump.end.is_none() && !self.walked.foreign {
            let why = "the log's beginning is gone and no whole dump of the state was found".to_owned();
            self.fold.errors.push((self.layout.min, why));
        }
        self.report.state_errors.append(&mut self.fold.errors);
        Ok(self.walked)
    }

    /// Ranges of the index runs that may be believed, in order.
    fn list_runs(&mut self) -> Result<Vec<(Position, Position)>, OpenError> {
        let names = self.disk.list(RUN_DIR).map_err(OpenError::io("listing index runs"))?;
        let mut runs = Vec::new();
        for (name, _) in names {
            match run_name(&name) {
                // A run of what the frontier does not vouch for may speak of a log that is no more.
                Some((start, end))
                    if self.course.flushed.is_some_and(|flushed| end <= flushed) && start < end =>
                {
                    runs.push((start, end));
                }
                Some(range) => self.walked.stale_runs.push(range),
                None => self.walked.stale_names.push(name),
            }
        }
        runs.sort_unstable();
        Ok(runs)
    }

    fn segment_at(&self, position: Position) -> Option<Arc<Segment<D::File>>> {
        let after = self.layout.segments.partition_point(|s| s.base <= position);
        let segment = self.layout.segments.get(after.checked_sub(1)?)?;
        (position < segment.end).then(|| Arc::clone(segment))
    }

    /// The state is needed as of `position`: if folding begins before, it begins now.
    fn reach(&mut self, position: Position) {
        if position < self.fold_from {
            return;
        }
        if let Some(snapshot) = self.snapshot.take() {
            self.fold.dump = snapshot.dump;
            let changes = self.fold.snapshot(snapshot.position, &snapshot.entries);
            self.doubts.retain(|doubt| doubt.end > snapshot.position);
            self.change(changes, true);
        }
    }

    fn change(&mut self, changes: Vec<StoreChange>, deletions: bool) {
        for change in changes {
            match change {
                StoreChange::QueueNext { topic, queue_id, next } => {
                    self.walked.index.expect_next(&topic, queue_id, next);
                }
                StoreChange::NewQueues { next, lmq_next } => {
                    self.begin = (self.begin.0.max(next), self.begin.1.max(lmq_next))
                }
                StoreChange::TopicDeleted { topic } if deletions => self.walked.index.delete_topic(&topic),
                StoreChange::TopicDeleted { topic } => self.walked.index.queues.delete(&topic),
                StoreChange::Dumped { begin } => {
                    self.doubts.retain(|doubt| doubt.end > begin);
                    let hit = |d: &Damage| d.position < begin && d.position + d.bytes > self.fold_from;
                    if self.report.damaged.iter().any(hit) {
                        self.fold_again_from = Some(begin);
                    }
                }
            }
        }
    }

    /// Folds the state of a range that an index run covers. Gives each queue's last batch in it.
    fn fold_only(&mut self, from: Position, to: Position) -> Result<Batches, OpenError> {
        let mut batches = Batches::new();
        self.reach(from);
        // A run lies in one segment.
        let Some(segment) = self.segment_at(from) else {
            self.damage(from, to, "the segment's file is missing", None);
            return Ok(batches);
        };
        let mut scanner = self.course.scanner(&segment);
        let mut at = from;
        while at < to {
            let found = scanner.at(at).map_err(unread(at))?;
            let next = match found {
                Found::Record(view) => {
                    if view.topic == STATE_TOPIC {
                        let changes = Self::fold_record(&mut self.fold, &view);
                        self.change(changes, false);
                    } else {
                        self.fold.message(&view);
                        let count = offsets_taken(&view, self.course.crc_from);
                        if count > 1 && is_queued(view.sys_flag) {
                            batches
                                .insert((view.topic.to_owned(), view.queue_id), (view.queue_offset, count));
                        }
                    }
                    at + view.len() as u64
                }
                Found::Blank => to,
                Found::Bad(why) => {
                    let why = why.to_string();
                    match self.bad(&mut scanner, at, to.min(segment.end), &why)? {
                        After::Next(next) => next,
                        After::End => to,
                    }
                }
            };
            self.tell(at, next);
            at = next;
        }
        Ok(batches)
    }

    fn fold_record(fold: &mut Fold<'_>, view: &RecordView<'_>) -> Vec<StoreChange> {
        fold.state_next = fold.state_next.max(view.queue_offset + 1);
        if view.has_crc() {
            fold.check_kinds(view.position, view.body);
        }
        fold.record(view.position, view.position + view.len() as u64, view.body)
    }

    /// Indexes (and folds) `from..to`, or up to the end of the log, and says where that is.
    fn walk(&mut self, from: Position, to: Position) -> Result<Position, OpenError> {
        let mut at = from;
        self.walked.index.open_at = from;
        while at < to {
            self.reach(at);
            let Some(segment) = self.segment_at(at) else {
                match self.missing(at, to)? {
                    After::Next(next) => at = next,
                    After::End => break,
                }
                self.cut(at);
                continue;
            };
            match self.walk_segment(&segment, at, to)? {
                After::Next(next) => at = next,
                After::End => return Ok(self.walked.end),
            }
            if at == segment.end {
                self.cut(at);
            }
        }
        Ok(at.min(to))
    }

    /// Up to the end of the segment, or to `to`. At the log's end leaves it in `walked.end`.
    fn walk_segment(
        &mut self,
        segment: &Segment<D::File>,
        from: Position,
        to: Position,
    ) -> Result<After, OpenError> {
        let mut scanner = self.course.scanner(segment);
        let mut at = from;
        while at < to.min(segment.end) {
            self.reach(at);
            if self.layout.clean_end() == Some(at) && self.others_went_on(at)? {
                scanner = self.course.scanner(segment);
            }
            let found = scanner.at(at).map_err(unread(at))?;
            let before = at;
            match found {
                Found::Record(view) => {
                    at += view.len() as u64;
                    self.record(&view);
                }
                Found::Blank => at = segment.end,
                Found::Bad(_) if self.others_went_on(at)? => {
                    scanner = self.course.scanner(segment);
                }
                Found::Bad(why) => {
                    let why = why.to_string();
                    match self.bad(&mut scanner, at, to.min(segment.end), &why)? {
                        After::Next(next) => at = next,
                        After::End => {
                            self.walked.end = at;
                            return Ok(After::End);
                        }
                    }
                }
            }
            self.tell(before, at);
            if at - self.walked.index.open_at >= self.config.run_bytes {
                self.cut(at);
            }
        }
        Ok(After::Next(at))
    }

    /// Whether Apache RocketMQ went on with the log at `at`, above the frontier. From there on the log is its.
    fn others_went_on(&mut self, at: Position) -> Result<bool, OpenError> {
        let segments = segments_from(self.layout, at);
        self.course.others_went_on(at, segments).map_err(unread(at))
    }

    /// Indexes and folds a record.
    fn record(&mut self, view: &RecordView<'_>) {
        self.course.newest_ms = self.course.newest_ms.max(view.store_ms);
        let folded = view.position >= self.fold_from;
        let index = &mut self.walked.index;
        let indexed = Indexed {
            position: view.position,
            size: view.len() as u32, // holds because a record's length is a u32
            store_ms: view.store_ms,
            topic: view.topic,
            properties: view.properties(),
        };
        if view.topic == STATE_TOPIC {
            index.add(indexed, None);
            // A deletion counts for the index wherever it stands; the rest only from where folding begins.
            let changes = if folded {
                Self::fold_record(&mut self.fold, view)
            } else {
                super::fold::deletions(view.body)
            };
            self.change(changes, true);
            return;
        }
        if folded {
            self.fold.message(view);
        }
        if !is_queued(view.sys_flag) {
            index.add(indexed, None);
            return;
        }
        let queue = index.queues.index_or_new(view.topic, view.queue_id);
        let count = offsets_taken(view, self.course.crc_from);
        if view.has_crc() {
            for (name, offset) in further_queues(view.topic, view.properties()) {
                let further = index.queues.index_or_new(name, 0);
                self.suspects.settle(index, further);
                index.queues.begin_anew_below(further, offset);
            }
            self.suspects.settle(index, queue);
            index.queues.begin_anew_below(queue, view.queue_offset);
            index.add(indexed, Some((queue, view.queue_offset)));
            index.queues.takes(queue, view.queue_offset, count);
        } else {
            let tag_code = index.add(indexed, None).tag_code;
            let entry = Entry { position: view.position, size: indexed.size, tag_code };
            self.suspects.add(index, queue, Suspect { offset: view.queue_offset, count, entry });
            for (name, offset) in further_queues(view.topic, view.properties()) {
                let further = index.queues.index_or_new(name, 0);
                self.suspects.add(index, further, Suspect { offset, count: 1, entry });
            }
        }
    }

    /// There is no file for this part of the log.
    fn missing(&mut self, at: Position, to: Position) -> Result<After, OpenError> {
        let next = self.layout.segments.iter().map(|s| s.base).find(|base| *base > at);
        let next =
            self.course.behind_hole(at, next, || segments_from(self.layout, at)).map_err(unread(at))?;
        let Some(next) = next else {
            self.walked.end = at;
            return Ok(After::End);
        };
        self.damage(at, next.min(to), "the segment's file is missing", None);
        Ok(After::Next(next.min(to)))
    }

    /// What lies at `at` is no record.
    fn bad(
        &mut self,
        scanner: &mut Scanner<'_, D::File>,
        at: Position,
        to: Position,
        why: &str,
    ) -> Result<After, OpenError> {
        let next = self.course.behind_bad(scanner, at, to, segments_from(self.layout, at));
        let Some(next) = next.map_err(unread(at))? else { return Ok(After::End) };
        let claim = scanner.claim(at).map_err(unread(at))?.map(|view| Claim {
            topic: view.topic.to_owned(),
            queue_id: view.queue_id,
            offset: view.queue_offset,
            queued: is_queued(view.sys_flag),
            bytes: view.len() as u64,
            body_damaged: view.verify_body().is_err(),
        });
        self.damage(at, next, why, claim);
        Ok(After::Next(next))
    }

    /// Quarantines a region. Offsets of messages that may have been in it must not be given away again.
    fn damage(&mut self, position: Position, end: Position, why: &str, claim: Option<Claim>) {
        let bytes = end - position;
        let single = claim.as_ref().filter(|c| c.bytes == bytes);
        let further_only = single.is_some_and(|c| self.believe(c));
        let records = single.map_or(bytes.div_ceil(RECORD_BYTES_MIN as u64), |_| 1);
        self.doubts.push(Doubt { position, end, records, further_only });
        let record = claim.map(|c| (c.topic, c.queue_id, c.offset));
        self.report.damaged.push(Damage { position, bytes, record, why: why.to_owned() });
    }

    /// Whether what a damaged record says of itself is right; then its offset is left out. It is if it fits what is known and the
    /// damage shows elsewhere: one flipped bit leads to a queue that may happen to expect that offset.
    fn believe(&mut self, claim: &Claim) -> bool {
        if !claim.body_damaged {
            return false;
        }
        let next = claim.offset.saturating_add(1);
        if claim.topic == STATE_TOPIC {
            let fits = claim.offset == self.fold.state_next || self.fold.state_next == 0;
            if fits {
                self.fold.state_next = next;
            }
            return fits;
        }
        let queues = &self.walked.index.queues;
        let queue = queues.find(&claim.topic, claim.queue_id).filter(|_| claim.queued);
        let fits = queue.is_some_and(|q| q.next == claim.offset);
        if fits {
            self.walked.index.expect_next(&claim.topic, claim.queue_id, next);
        }
        fits
    }

    /// Queues that have no message behind a damaged region may have had their last ones in it: their next offsets skip
    /// as many as there may have been. Readers pass over offsets without a message. So do queues that are not known, for
    /// all of their messages may have been there.
    fn settle_doubts(&mut self) {
        for Doubt { position, records, further_only, .. } in std::mem::take(&mut self.doubts) {
            if !further_only {
                self.fold.state_next += records;
                self.begin.0 += records;
            }
            self.begin.1 += records;
            for queue in self.walked.index.queues.iter_mut().filter(|q| q.last_end <= position) {
                if !further_only || queue.topic.starts_with(names::LMQ_PREFIX) {
                    queue.next += records;
                }
            }
        }
        self.walked.index.queues.begin_at(self.begin);
    }

    /// Ends the open run at `end` and writes it.
    fn cut(&mut self, end: Position) {
        self.suspects.settle_all(&mut self.walked.index);
        if end <= self.walked.index.open_at {
            self.walked.index.open_at = end;
            return;
        }
        let draft = self.walked.index.cut(end);
        // A run that leaves out what is damaged is written once this start has got through, and said so: the next would not
        // look there again.
        if self.report.damaged.iter().any(|d| d.position < end && d.position + d.bytes > draft.start) {
            self.walked.drafts.push(draft);
            return;
        }
        match RunFile::write(self.disk, &draft) {
            Ok((facts, places)) => {
                let newest_ms = facts.times.map(|(_, newest)| newest);
                self.walked.run_ages.insert(facts.start, RunAge { end: facts.end, newest_ms });
                self.walked.index.sealed(Arc::new(facts), &places);
            }
            // Derived: the index lives in memory then, and the next seal tries again.
            Err(_) => self.walked.drafts.push(draft),
        }
    }

    /// `from..at` was read.
    fn tell(&mut self, from: Position, at: Position) {
        self.report.scanned_bytes += at - from;
        let total = self.layout.segments.last().map_or(0, |s| s.end);
        let done = at.saturating_sub(self.layout.min);
        if done >= self.told + PROGRESS_BYTES {
            self.told = done;
            (self.progress)(Progress { step: "reading the log", done, total: total - self.layout.min });
        }
    }
}

/// The segments that end behind `at`.
fn segments_from<D: Disk>(
    layout: &Layout<D>,
    at: Position,
) -> impl Iterator<Item = io::Result<Arc<Segment<D::File>>>> {
    layout.segments.iter().filter(move |s| s.end > at).map(|s| Ok(Arc::clone(s)))
}

/// The log cannot be read where nobody knows whether it goes on.
fn unread(at: Position) -> impl FnOnce(io::Error) -> OpenError {
    OpenError::io(format!(
        "reading the log at {at}, where it may end (if that stays so: copy the files of `commitlog` past their bad sectors, as ddrescue does, and put \
         the copies in their places; what is lost then is named)"
    ))
}

/// Batches that are one record, by topic and queue: the offset, and how many it takes.
type Batches = HashMap<(String, u32), (u64, u64)>;

/// How many offsets a record takes: one, but for Apache's batches that are stored as they are (topics with `queue.type=BatchCQ`).
/// Kerolox has no such topics: what it stores, from `crc_from` on, takes one. Source: `CommitLog.getMessageNum`.
fn offsets_taken(view: &RecordView<'_>, crc_from: Position) -> u64 {
    let batch = view.sys_flag & INNER_BATCH != 0 && view.position < crc_from;
    let number = view.properties().get(name::INNER_NUM).filter(|_| batch);
    number.and_then(|number| number.parse::<u16>().ok()).map_or(1, |number| u64::from(number.max(1)))
}

/// Shows all records in `from..to` (none if it begins behind its end) of a segment that can be read; where that ended.
fn each_record<F: DiskFile>(
    mut scanner: Scanner<'_, F>,
    from: Position,
    to: Position,
    mut show: impl FnMut(&RecordView<'_>),
) -> io::Result<Position> {
    let mut at = from;
    while at < to {
        at = match scanner.at(at)? {
            Found::Record(view) => {
                show(&view);
                at + view.len() as u64
            }
            Found::Blank => break,
            Found::Bad(_) => match scanner.search(at, to, |f| !matches!(f, Found::Bad(_)))? {
                Some(next) => next,
                None => break,
            },
        };
    }
    Ok(at)
}
