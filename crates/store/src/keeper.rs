//! Work in the background: preparing the log ahead of the writer, sealing index runs, retention.

use crate::disk::{Aligned, BLOCK_BYTES, Disk, DiskFile, is_full, write_all_at};
use crate::index::{RunDraft, RunFile, run_path};
use crate::log::{CLEAR_BYTES, Room, SegmentError, Shared, WriteError, is_direct, segment_path};
use crate::retention::{self, Candidate, Limits};
use crate::snapshot::Snapshot;
use crate::store::{SealJob, Sealed};
use crate::{DiskState, Gone, Position, StoreConfig};
use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

/// Blocks are written ahead in chunks of this size.
const CHUNK_BYTES: u64 = 2 << 20;
/// How often the frontier is made durable while the log grows.
const PERSIST_EVERY_MS: i64 = 50;
/// Pre-writing makes a sync cheaper, which matters when there are many small ones. Above this pace each sync carries so
/// much that it does not, and writing every byte twice takes a third of the broker's time.
const FAST_BYTES_PER_MS: u64 = 8 << 10;
/// How often the pace is looked at.
const PACE_EVERY_MS: i64 = 100;
/// Most segments that one call retires, so that a disk is not flooded with work.
const RETIRE_MAX: usize = 2;
/// Prepared segments that are kept ahead: expired ones beyond these are removed instead of recycled.
const READY_MAX: usize = 2;

/// The file whose presence at start means that the last end was not a clean one; as Apache's.
pub(crate) const ABORT: &str = "abort";

/// Work in the background: owned by one thread, called every second or so (more often under load: [`Keeper::prepare`])
/// and when there is a job.
pub struct Keeper<D: Disk> {
    shared: Arc<Shared<D>>,
    config: StoreConfig,
    /// Everything from here to the segment's end is still to be pre-written.
    prewritten: Position,
    /// The segment that is pre-written, by where it begins, and an open file of its own: a failed sync is reported once to
    /// each, and this one must not swallow the writer's.
    ahead: Option<(Position, D::File)>,
    zeros: Aligned,
    /// Index runs on disk, by where they begin.
    runs: BTreeMap<Position, RunAge>,
    said: Said,
    room: Arc<Room>,
    /// Index runs that found no room on the disk.
    unwritten: Vec<RunDraft>,
    /// Where the segment begins that the disk has no blocks for: nothing may go into it.
    dry: Option<Position>,
    /// The log's next segment found no room.
    cramped: bool,
    /// When the frontier was made durable last.
    persisted_ms: i64,
    /// The writer's pace: when it was looked at last, how far it was then, and whether it was fast.
    paced_ms: i64,
    paced_at: Position,
    fast: bool,
}

/// Where the whole state is said.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Said {
    /// Where the newest whole dump begins.
    pub(crate) dump: Position,
    /// The one before that.
    pub(crate) older_dump: Position,
    /// How long the newest is.
    pub(crate) dump_bytes: u64,
    /// The snapshot has the state, and not only the place of a dump.
    pub(crate) in_snapshot: bool,
}

impl Said {
    /// From here on the log is needed for the state, so that no single damaged block takes all of it.
    fn needed_from(self) -> Position {
        if self.in_snapshot { self.dump } else { self.older_dump }
    }
}

/// What retention needs to know of an index run.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RunAge {
    pub(crate) end: Position,
    pub(crate) newest_ms: Option<i64>,
}

impl<D: Disk> Keeper<D> {
    pub(crate) fn new(
        shared: Arc<Shared<D>>,
        config: StoreConfig,
        room: Arc<Room>,
        runs: BTreeMap<Position, RunAge>,
        said: Said,
        dry: Option<Position>,
    ) -> Self {
        let (prewritten, paced_at) = (shared.frontier.limit(), shared.written());
        let zeros = Aligned::zeroed(CHUNK_BYTES.min(config.segment_bytes) as usize);
        Self {
            shared,
            config,
            prewritten,
            ahead: None,
            zeros,
            runs,
            said,
            room,
            unwritten: Vec::new(),
            dry,
            cramped: false,
            persisted_ms: i64::MIN,
            paced_ms: i64::MIN,
            paced_at,
            fast: false,
        }
    }

    fn fenced(&self, what: &str, e: &dyn std::fmt::Display) -> WriteError {
        WriteError(self.shared.fence(format!("{what}: {e}")))
    }

    /// Prepares the log ahead of the writer in bounded steps, and makes the frontier durable if that was not done for a
    /// while; true if there is more to do right now. To be called at least every second, and under load often enough for
    /// the frontier (every 50 ms).
    ///
    /// # Errors
    /// The frontier or the log cannot be written: the log is fenced. A segment that cannot be created, or has no blocks, is no
    /// error: it shows as [`crate::AppendError::DiskFull`] when the log comes to the end of what there is.
    pub fn prepare(&mut self, now_ms: i64) -> Result<bool, WriteError> {
        if let Some(why) = self.shared.fenced() {
            return Err(WriteError(why.to_owned()));
        }
        // First, for a new segment may take its time.
        if now_ms.saturating_sub(self.persisted_ms) >= PERSIST_EVERY_MS || now_ms < self.persisted_ms {
            self.shared.frontier.persist().map_err(|e| self.fenced("syncing the frontier", &e))?;
            self.persisted_ms = now_ms;
        }
        let was_dry = self.dry.is_some();
        if was_dry && !self.allocate_dry().map_err(|e| self.fenced("allocating a segment", &e))? {
            return Ok(false);
        }
        self.create_segment();
        self.pace(now_ms);
        let more = self.prewrite().map_err(|e| self.fenced("preparing the log", &e))?;
        if let Some(base) = self.dry {
            self.limit_to(base);
            return Ok(false);
        }
        // What there is room for is told with the next call.
        Ok(more || was_dry)
    }

    /// The file of a segment that this program did not make may have no blocks for what is not written yet. Whether it has now.
    fn allocate_dry(&self) -> io::Result<bool> {
        let Some(segment) = self.dry.and_then(|at| self.shared.segments.find(at)) else { return Ok(true) };
        let missing = segment.end - self.shared.written().max(segment.base);
        // Not tried before it can be: some file systems keep what they had for half of it.
        if self.lacks(missing).is_some() {
            return Ok(false);
        }
        match segment.file.allocate(segment.end - segment.base) {
            Err(e) if is_full(&e) => Ok(false),
            allocated => allocated.map(|()| true),
        }
    }

    /// Whether the log grows so fast that pre-writing would only double the work.
    fn pace(&mut self, now_ms: i64) {
        let passed_ms = now_ms.saturating_sub(self.paced_ms);
        if !(0..PACE_EVERY_MS).contains(&passed_ms) {
            let written = self.shared.written();
            let grown = written.saturating_sub(self.paced_at);
            self.fast = passed_ms > 0 && grown / passed_ms.unsigned_abs() > FAST_BYTES_PER_MS;
            (self.paced_ms, self.paced_at) = (now_ms, written);
        }
    }

    /// The next segment is created when half of the last one is used. A writer that is faster creates its segments itself,
    /// and may count on half of the room there is now: if the disk fills up meanwhile, the log stops taking records before
    /// one of them finds no segment.
    pub(crate) fn create_segment(&mut self) {
        self.cramped = self.dry.is_some();
        if let Some(base) = self.dry {
            return self.limit_to(base);
        }
        let segment = self.shared.segments.segment_bytes();
        let mut ready = self.shared.segments.end().unwrap_or(0);
        if ready < self.shared.written() + segment / 2 {
            let refused = match self.lacks(segment) {
                // Blocks are not taken only to be given back, many times a second.
                Some(left) => Err(format!("{left} bytes are left")),
                None => self.shared.segments.create_next().map_err(|e| e.to_string()),
            };
            if let Err(why) = refused {
                let why = format!("cannot create the log's next segment: {why}");
                self.cramped = true;
                return self.room.limit(ready, why);
            }
            ready += segment;
        }
        let available = self.shared.disk.space().map_or(0, |space| space.available);
        let sure = ready.saturating_add(available / 2 / segment * segment);
        self.limit_to(sure);
    }

    /// What room the disk has, if it says that it has not so many bytes.
    fn lacks(&self, bytes: u64) -> Option<u64> {
        let space = self.shared.disk.space().ok().filter(|space| space.total() > 0)?;
        (space.available < bytes).then_some(space.available)
    }

    fn limit_to(&self, sure: Position) {
        self.room.limit(sure, format!("the disk has no room for the log beyond position {sure}"));
    }

    /// One chunk of zeros above the limit; when a whole stretch is done the limit moves behind it.
    fn prewrite(&mut self) -> io::Result<bool> {
        let stretch = self.config.ahead_bytes / 2;
        let limit = self.shared.frontier.limit();
        let target = (limit + stretch).next_multiple_of(BLOCK_BYTES as u64);
        let target = target.min(self.shared.segments.end().unwrap_or(0));
        // What has no blocks is tried at once.
        let was_dry = self.dry.take().is_some();
        if limit >= self.shared.written() + stretch && !was_dry || target <= limit {
            return Ok(false);
        }
        let (shared, prewritten, fast) = (&self.shared, self.prewritten, self.fast);
        let mut dry = None;
        let (ahead, zeros, direct) = (&mut self.ahead, &self.zeros, is_direct(&self.config));
        // The limit cannot move meanwhile, so the writer is below what is zeroed here.
        self.prewritten = shared.frontier.above_limit(|limit| {
            let from = prewritten.max(limit);
            let Some(segment) = shared.segments.find(from).filter(|_| from < target) else {
                return Ok(from.max(target));
            };
            if (segment.recycled || fast) && !was_dry {
                return Ok(target.min(segment.end));
            }
            let chunk = CHUNK_BYTES.min(target - from).min(segment.end - from);
            let file = match ahead.take() {
                Some((base, file)) if base == segment.base => file,
                _ if direct => shared.disk.open_direct(&segment_path(segment.base))?,
                _ => shared.disk.open(&segment_path(segment.base))?,
            };
            match write_all_at(&file, zeros.get(chunk as usize), from - segment.base) {
                Err(e) if is_full(&e) => {
                    dry = Some(segment.base);
                    return Ok(from);
                }
                written => written?,
            }
            file.sync_data()?;
            *ahead = Some((segment.base, file));
            Ok(from + chunk)
        })?;
        self.dry = dry;
        if self.prewritten < target {
            return Ok(dry.is_none());
        }
        self.shared.frontier.raise_limit(target)?;
        Ok(self.shared.frontier.limit() < self.shared.written() + stretch)
    }

    /// Writes index runs and the snapshot. What finds no room on the disk is tried again with the next job.
    ///
    /// # Errors
    /// They cannot be written. Nothing is lost (both are derived), but the disk is not to be trusted: the log is fenced.
    pub fn seal(&mut self, job: SealJob) -> Result<Sealed, WriteError> {
        if let Some(why) = self.shared.fenced() {
            return Err(WriteError(why.to_owned()));
        }
        let flushed = self.shared.frontier.flushed();
        if flushed < job.position {
            let why = format!("sealing up to {} while the log is flushed up to {flushed}", job.position);
            return Err(self.fenced("index", &why));
        }
        // What is sealed must be below the frontier that recovery finds.
        self.shared.frontier.persist().map_err(|e| self.fenced("syncing the frontier", &e))?;
        self.unwritten.extend(job.drafts);
        let mut runs = Vec::new();
        while let Some(draft) = self.unwritten.first() {
            match RunFile::write(&self.shared.disk, draft) {
                Ok((facts, places)) => {
                    let age = RunAge { end: facts.end, newest_ms: facts.times.map(|(_, newest)| newest) };
                    self.runs.insert(facts.start, age);
                    runs.push((Arc::new(facts), places));
                    self.unwritten.remove(0);
                }
                Err(e) if is_full(&e) => break,
                Err(e) => return Err(self.fenced("writing an index run", &e)),
            }
        }
        let unwritten = !self.unwritten.is_empty();
        let mut snapshot_failed = unwritten && job.state.is_some();
        if let Some(state) = job.state.as_ref().filter(|_| !unwritten) {
            match Snapshot::write(&self.shared.disk, state.position, job.dump, &[&state.own, &state.all]) {
                Ok(()) => self.said.in_snapshot = !state.own.is_empty(),
                Err(e) if is_full(&e) => snapshot_failed = true,
                Err(e) => return Err(self.fenced("writing the snapshot", &e)),
            }
        }
        // The dump is below the frontier: with it alone nothing of the state is missing.
        if job.dump.begin > self.said.dump {
            self.said.older_dump = std::mem::replace(&mut self.said.dump, job.dump.begin);
            self.said.dump_bytes = job.dump.len();
        }
        Ok(Sealed { runs, snapshot_failed, unwritten, dump: self.said.dump })
    }

    /// Deletes (or recycles) what retention allows; the new beginning of the log, and the state of the disk. A failure
    /// shows in the state: retention is tried again with the next call.
    pub fn retain(&mut self, now_ms: i64) -> (Position, DiskState) {
        let space = match self.shared.disk.space() {
            Ok(space) => space,
            Err(e) => {
                let full = Some(format!("the disk's free space cannot be told: {e}"));
                return (self.shared.min(), DiskState { full, ..DiskState::default() });
            }
        };
        let all = self.shared.segments.all();
        // The one that holds the log's end stays, though nothing may fit into it any more: a start wants to see it.
        let last = self.shared.frontier.flushed().saturating_sub(1);
        let active = self.shared.segments.find(last).map_or(0, |s| s.base);
        let candidates: Vec<Candidate> = all
            .iter()
            .map(|s| Candidate {
                end: s.end,
                bytes: s.end - s.base,
                newest_ms: self.newest_ms(s.base, s.end),
            })
            .collect();
        // Where the disk has no room for a further segment, that of one is made, whatever the ratio.
        let most_used = if self.cramped { (space.used_ratio() - f64::EPSILON).max(0.0) } else { 1.0 };
        let limits = Limits {
            retention_ms: self.room.retention_ms().unwrap_or(self.config.retention_ms),
            retention_bytes: self.config.retention_bytes,
            disk_clean_ratio: self.config.disk_clean_ratio.min(most_used),
            disk_full_ratio: self.config.disk_full_ratio,
            keep_from: active.min(self.said.needed_from()),
        };
        let log_bytes = self.shared.written().saturating_sub(self.shared.min());
        let decide = |limits: &Limits| {
            retention::decide(&candidates, now_ms, log_bytes, space.used_ratio(), space.total(), limits)
        };
        let needed_from = self.room.needed_from();
        let (go, mut state) = decide(&Limits { keep_from: limits.keep_from.min(needed_from), ..limits });
        state.space = Some(space);
        // What would go as well if nobody needed it.
        let wanted = decide(&limits).0.len().checked_sub(1).and_then(|last| candidates.get(last));
        state.wanted = wanted.map(|last| last.end).filter(|end| *end > needed_from);
        let but_for_dumps = Limits { keep_from: active.min(needed_from), ..limits };
        // In peace one only if none but the first is known: the next is made when the log has grown. And never one that takes what it gives.
        let kept = self.shared.written().saturating_sub(self.said.needed_from());
        let now = self.said.needed_from() == 0 || state.full.is_some() && kept > 3 * self.said.dump_bytes;
        state.dump_wanted = now && go.is_empty() && !decide(&but_for_dumps).0.is_empty();
        for (why, segment) in go.into_iter().zip(&all).take(RETIRE_MAX) {
            // While messages are refused, room is worth more than segments that are prepared.
            let recycle = space.used_ratio() <= limits.disk_full_ratio;
            if let Err(e) = self.retire(segment.end, recycle) {
                state.stuck = Some(e.to_string());
                break;
            }
            state.gone.push(Gone { from: segment.base, to: segment.end, why });
            if let Err(e) = self.remove_runs(segment.end) {
                state.stuck = Some(e);
                break;
            }
        }
        // It was reckoned as if all went that is to go.
        if state.stuck.is_some() && space.used_ratio() > limits.disk_full_ratio {
            state.full.get_or_insert("old segments cannot be removed".to_owned());
        }
        if !self.unwritten.is_empty() {
            state.full.get_or_insert("no room to write the index".to_owned());
        }
        (self.shared.min(), state)
    }

    /// Store time of the newest record of a segment, if its index is sealed without gaps.
    fn newest_ms(&self, base: Position, end: Position) -> Option<i64> {
        let mut at = base;
        let mut newest = None;
        for (start, age) in self.runs.range(base..end) {
            if *start != at {
                return None;
            }
            at = age.end;
            newest = newest.max(age.newest_ms);
        }
        // One without any sound record is as old as what follows.
        let follows = || self.runs.range(end..).find_map(|(_, age)| age.newest_ms);
        newest.or_else(follows).filter(|_| at == end)
    }

    /// The first segment, which ends at `end`, goes.
    fn retire(&mut self, end: Position, recycle: bool) -> Result<(), SegmentError> {
        let all = self.shared.segments.all();
        let ready = all.iter().filter(|s| s.base > self.shared.written()).count();
        // Readers are told before the file goes: what they miss then is gone, not damaged.
        self.room.goes_below(end);
        self.shared.set_min(end);
        // What lacks blocks needs them first.
        let recycle = recycle && ready < READY_MAX && self.dry.is_none();
        self.shared.segments.retire_first(recycle)
    }

    /// Those of what went.
    fn remove_runs(&mut self, end: Position) -> Result<(), String> {
        let gone: Vec<(Position, Position)> =
            self.runs.range(..end).map(|(start, age)| (*start, age.end)).collect();
        for (start, end) in gone {
            self.runs.remove(&start);
            match self.shared.disk.remove(&run_path(start, end)) {
                Err(e) if e.kind() != io::ErrorKind::NotFound => {
                    return Err(format!("index run {start}: {e}"));
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// What is left of a recycled segment's former life right behind the log's end goes: Apache RocketMQ, which may go on with the log,
    /// would take it for records.
    fn clear_end(&self) -> io::Result<()> {
        let end = self.shared.written();
        let Some(segment) = self.shared.segments.find(end) else { return Ok(()) };
        let bytes = CLEAR_BYTES.min((segment.end - end) as usize);
        write_all_at(&segment.file, self.zeros.get(bytes), end - segment.base)?;
        segment.file.sync_data()
    }

    /// Clean end: the frontier says so, `abort` is removed. The writer must have synced everything before.
    ///
    /// # Errors
    /// Something was not synced, or the disk refuses: the next start then recovers as after a crash.
    pub fn close(&mut self) -> Result<(), WriteError> {
        if let Some(why) = self.shared.fenced() {
            return Err(WriteError(why.to_owned()));
        }
        if self.shared.frontier.flushed() != self.shared.written() {
            return Err(WriteError("closing before everything was synced".to_owned()));
        }
        let unmark = || match self.shared.disk.remove(ABORT) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => Err(e),
            _ => Ok(()),
        };
        let closed = self.clear_end().and_then(|()| self.shared.frontier.close()).and_then(|()| unmark());
        let closed = closed.and_then(|()| self.shared.disk.sync_dir(""));
        closed.map_err(|e| self.fenced("closing", &e))
    }
}
