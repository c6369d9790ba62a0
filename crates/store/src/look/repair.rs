//! `kerolox store repair`: what can be mended without inventing anything. Nothing is deleted: what is removed goes to a folder below
//! `lost+found`, and no good record is ever touched.

use super::verify::{Part, Verified};
use super::{Look, Origin};
use crate::disk::{BLOCK_BYTES, Disk, DiskFile, read_all, read_up_to, write_all_at};
use crate::log::{
    FRONTIER_DIR, FRONTIER_PATH, Found, Frontier, FrontierFacts, LOG_DIR, Scanner, Segment, segment_path,
};
use crate::{OpenError, Position};
use std::collections::BTreeSet;
use std::io;

/// Bytes that are moved at once.
const CHUNK_BYTES: u64 = 1 << 20;

/// What lies behind the end of the log: what a write that nobody was told of left there.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tail {
    /// From the log's end on.
    pub position: Position,
    /// Up to the last byte that is not zero.
    pub bytes: u64,
    /// Whole records among that, behind something that is none.
    pub records: u64,
}

/// One thing to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Mend {
    /// A derived file goes to `lost+found`: the next start rebuilds it from the log.
    SetAside { path: String, why: String },
    /// The frontier is written anew: with what its sound copies say, or with what the log says.
    Frontier { facts: FrontierNow, from_log: bool, why: String },
    /// The tail is kept in `lost+found` and zeroed.
    CutTail(Tail),
}

/// What a frontier is to say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FrontierNow {
    pub(super) facts: FrontierFacts,
}

impl FrontierNow {
    pub fn flushed(&self) -> Position {
        self.facts.flushed
    }
}

/// What is to be done, and what cannot be.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Plan {
    pub mends: Vec<Mend>,
    /// What is wrong and stays so, and why.
    pub left: Vec<String>,
    /// The tail, if it is there and is not to be cut.
    pub tail: Option<Tail>,
}

impl<D: Disk> Look<D> {
    /// What can be done about what was found. `cut_tail`: what lies behind the log's end may be cut off.
    ///
    /// # Errors
    /// The log cannot be read.
    pub fn plan(&self, found: &Verified, cut_tail: bool) -> Result<Plan, OpenError> {
        let mut plan = Plan::default();
        let mut seen = BTreeSet::new();
        for fault in found.faults.iter().filter(|f| matches!(f.part, Part::Run | Part::Snapshot)) {
            if seen.insert(&fault.path) {
                plan.mends.push(Mend::SetAside { path: fault.path.clone(), why: fault.why.clone() });
            }
        }
        let tail = self.tail(found.end)?;
        let is_cut = tail.is_none() || cut_tail;
        match tail {
            Some(tail) if cut_tail => plan.mends.push(Mend::CutTail(tail)),
            tail => plan.tail = tail,
        }
        let frontier: Vec<&str> =
            found.faults.iter().filter(|f| f.part == Part::Frontier).map(|f| f.why.as_str()).collect();
        if !frontier.is_empty() {
            self.plan_frontier(found, is_cut, frontier.join("; "), &mut plan)?;
        }
        self.leave(found, &mut plan);
        Ok(plan)
    }

    fn plan_frontier(
        &self,
        found: &Verified,
        is_cut: bool,
        why: String,
        plan: &mut Plan,
    ) -> Result<(), OpenError> {
        if let Some(facts) = self.facts() {
            plan.mends.push(Mend::Frontier { facts: FrontierNow { facts }, from_log: false, why });
        } else if found.damaged_count > 0 {
            plan.left.push(format!(
                "{FRONTIER_PATH}: {why}. The log is damaged, so that only a start can tell where it ends: it reads all of it"
            ));
        } else if !is_cut {
            plan.left.push(format!(
                "{FRONTIER_PATH}: {why}. It can be written anew once what lies behind the log's end is cut off: --cut-tail"
            ));
        } else {
            let crc_from = self.crc_from(found.end)?;
            let segment_bytes = self.files.first().map_or(0, |(_, len)| *len);
            let limit = found.end.next_multiple_of(BLOCK_BYTES as u64);
            let facts = FrontierFacts { crc_from, segment_bytes, flushed: found.end, limit, clean: false };
            plan.mends.push(Mend::Frontier { facts: FrontierNow { facts }, from_log: true, why });
        }
        Ok(())
    }

    /// What nobody can mend.
    fn leave(&self, found: &Verified, plan: &mut Plan) {
        if found.damaged_count > 0 {
            plan.left.push(format!(
                "{} damaged places of the log: they stay as they are and are not served; all other records are",
                found.damaged_count
            ));
        }
        let count = |part| found.faults.iter().filter(|f| f.part == part).count();
        for (part, what) in [
            (Part::State, "state entries that say nothing: they are passed over"),
            (
                Part::ConsumeQueue,
                "faults of consume queues: Kerolox reads the log instead; Apache RocketMQ makes them anew once the folder `consumequeue` is moved away",
            ),
            (
                Part::IndexFile,
                "faults of index files: Kerolox reads the log instead; Apache RocketMQ makes them anew once the folder `index` is moved away",
            ),
        ] {
            if count(part) > 0 {
                plan.left.push(format!("{} {what}", count(part)));
            }
        }
    }

    /// The first position from which on all records carry a checksum over all of themselves.
    fn crc_from(&self, end: Position) -> Result<Position, OpenError> {
        let mut from = self.begin();
        let mut visit = |seen: super::Seen<'_>| {
            if let super::Seen::Record(view) = seen
                && !view.has_crc()
            {
                from = view.position + view.len() as u64;
            }
            std::ops::ControlFlow::Continue(())
        };
        self.walk("reading the log", 0..end, &mut visit, &mut |_| {})?;
        Ok(from)
    }

    /// What lies between the end of the log and where it may have been written.
    fn tail(&self, end: Position) -> Result<Option<Tail>, OpenError> {
        // Apache erases nothing: what it left behind its end is nothing to worry about.
        if self.origin() == Origin::Apache {
            return Ok(None);
        }
        let limit = self.facts().map_or(Position::MAX, |facts| facts.limit);
        let mut tail = Tail { position: end, ..Tail::default() };
        for (base, len) in &self.files {
            let (from, to) = (end.max(*base), limit.min(base + len));
            if from < to {
                self.tail_in(*base, *len, from, to, &mut tail)
                    .map_err(OpenError::io(format!("reading {}", segment_path(*base))))?;
            }
        }
        Ok((tail.bytes > 0).then_some(tail))
    }

    fn tail_in(
        &self,
        base: Position,
        len: u64,
        from: Position,
        to: Position,
        tail: &mut Tail,
    ) -> io::Result<()> {
        let segment =
            Segment { base, end: base + len, recycled: false, file: self.disk.open(&segment_path(base))? };
        let mut at = from;
        while at < to {
            let bytes = read_up_to(&segment.file, CHUNK_BYTES.min(to - at) as usize, at - base)?;
            if let Some(last) = bytes.iter().rposition(|b| *b != 0) {
                tail.bytes = at + last as u64 + 1 - tail.position;
            }
            at += CHUNK_BYTES;
        }
        let mut scanner = Scanner::new(&segment, Position::MAX, Some(segment.end));
        let mut at = from;
        while let Some(next) = scanner.search(at, to, |found| matches!(found, Found::Record(_)))? {
            tail.records += 1;
            at = next;
        }
        Ok(())
    }

    /// Does what was planned, in order, and keeps what it removes below the folder `lost`.
    ///
    /// # Errors
    /// A file cannot be moved or written: what was done before stays done.
    pub fn mend(&self, mends: &[Mend], lost: &str) -> Result<(), OpenError> {
        for mend in mends {
            match mend {
                Mend::SetAside { path, .. } => self.set_aside(path, lost),
                Mend::Frontier { facts, from_log, .. } => {
                    let synced = if *from_log { self.sync_log() } else { Ok(()) };
                    synced.and_then(|()| self.write_frontier(facts.facts, lost))
                }
                Mend::CutTail(tail) => self.cut_tail(*tail, lost),
            }
            .map_err(OpenError::io(match mend {
                Mend::SetAside { path, .. } => format!("moving {path} to {lost}"),
                Mend::Frontier { .. } => format!("writing {FRONTIER_PATH}"),
                Mend::CutTail(_) => "cutting off the tail of the log".to_owned(),
            }))?;
        }
        Ok(())
    }

    fn set_aside(&self, path: &str, lost: &str) -> io::Result<()> {
        let (dir, name) = path.rsplit_once('/').unwrap_or(("", path));
        let to = format!("{lost}/{dir}");
        self.disk.create_dir(&to)?;
        self.disk.rename(path, &format!("{to}/{name}"))?;
        self.disk.sync_dir(&to)?;
        self.disk.sync_dir(dir)
    }

    /// What was read may be in the operating system's cache only.
    fn sync_log(&self) -> io::Result<()> {
        for (base, _) in &self.files {
            self.disk.open(&segment_path(*base))?.sync_data()?;
        }
        self.disk.sync_dir(LOG_DIR)
    }

    /// The old one is kept as a copy: at no moment is there none.
    fn write_frontier(&self, facts: FrontierFacts, lost: &str) -> io::Result<()> {
        if self.frontier.is_there {
            let bytes = self.disk.open(FRONTIER_PATH).and_then(|old| read_all(&old));
            // One that cannot be read leaves nothing to keep.
            if let Ok(bytes) = bytes {
                self.keep(&format!("{lost}/{FRONTIER_DIR}"), "frontier", |copy| {
                    write_all_at(copy, &bytes, 0)
                })?;
            }
        }
        self.disk.create_dir(FRONTIER_DIR)?;
        Frontier::begin(&self.disk, facts).map(drop)
    }

    fn keep(&self, dir: &str, name: &str, fill: impl FnOnce(&D::File) -> io::Result<()>) -> io::Result<()> {
        self.disk.create_dir(dir)?;
        let copy = self.disk.create(&format!("{dir}/{name}"))?;
        fill(&copy)?;
        copy.sync_data()?;
        self.disk.sync_dir(dir)
    }

    fn cut_tail(&self, tail: Tail, lost: &str) -> io::Result<()> {
        let end = tail.position + tail.bytes;
        for (base, len) in &self.files {
            let (from, to) = (tail.position.max(*base), end.min(base + len));
            if from >= to {
                continue;
            }
            let file = self.disk.open(&segment_path(*base))?;
            let chunks = || (from..to).step_by(CHUNK_BYTES as usize).map(|at| (at, CHUNK_BYTES.min(to - at)));
            self.keep(&format!("{lost}/{LOG_DIR}"), &format!("{from:020}.tail"), |copy| {
                chunks().try_for_each(|(at, len)| {
                    write_all_at(copy, &read_up_to(&file, len as usize, at - base)?, at - from)
                })
            })?;
            chunks().try_for_each(|(at, len)| write_all_at(&file, &vec![0; len as usize], at - base))?;
            file.sync_data()?;
        }
        Ok(())
    }
}
