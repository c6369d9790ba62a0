//! `kerolox store stat`: what there is in a directory. What sound index runs say need not be read from the log.

use super::index::places;
use super::{Look, Origin, Seen, list};
use crate::disk::{Disk, Space};
use crate::index::{RUN_DIR, RunFile, run_name};
use crate::log::{FRONTIER_DIR, Found, Scanner, Segment, segment_path};
use crate::recovery::StateFold;
use crate::snapshot::Snapshot;
use crate::state::{KIND_APPLICATION_MIN, Own, entries};
use crate::{OpenError, Position, Progress, STATE_TOPIC};
use kerolox_wire::names;
use kerolox_wire::properties::name;
use std::collections::BTreeMap;
use std::ops::ControlFlow;

/// Entries of a run read at once.
const ENTRIES: u32 = 16 << 10;
/// Timer messages whose due times are remembered: 64 MB.
const TIMERS_MAX: usize = 4 << 20;

/// What [`Look::stat`] counted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Stat {
    pub origin: Origin,
    pub segments: u64,
    /// Where the log begins and ends.
    pub begin: Position,
    pub end: Position,
    /// How far it was synced, if the directory says so.
    pub flushed: Option<Position>,
    /// Bytes of all files, by directory (`""`: the root).
    pub files: BTreeMap<&'static str, u64>,
    /// Room in the file system.
    pub space: Option<Space>,
    /// Least and greatest store time, ms.
    pub times: Option<(i64, i64)>,
    /// Messages of all topics, and bytes of their records; those in light message queues, too, count once.
    pub messages: u64,
    pub bytes: u64,
    pub topics: BTreeMap<String, TopicStat>,
    pub runs: u64,
    /// Position and bytes of the snapshot.
    pub snapshot: Option<(Position, u64)>,
    /// Damaged places of the log, as far as it had to be read.
    pub damaged: u64,
    /// Due time and offset of timer messages, at most 4,194,304 of them.
    pub timers: Vec<(i64, u64)>,
}

/// A topic's messages.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TopicStat {
    pub messages: u64,
    /// Of their records.
    pub bytes: u64,
    /// Store time of the newest, ms.
    pub newest_ms: Option<i64>,
    newest: Option<Position>,
    pub queues: BTreeMap<u32, QueueStat>,
}

/// A queue's messages: offsets `min..max`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QueueStat {
    pub min: u64,
    pub max: u64,
    pub messages: u64,
}

impl Stat {
    fn message(&mut self, topic: &str, queue_id: u32, offset: u64, position: Position, size: u32) {
        if !self.topics.contains_key(topic) {
            self.topics.insert(topic.to_owned(), TopicStat::default());
        }
        let Some(stat) = self.topics.get_mut(topic) else { return };
        stat.messages += 1;
        stat.bytes += u64::from(size);
        stat.newest = stat.newest.max(Some(position));
        let queue =
            stat.queues.entry(queue_id).or_insert(QueueStat { min: offset, max: offset, messages: 0 });
        // One that begins anew, as Apache's do when a topic is deleted and made again.
        if offset < queue.min {
            *queue = QueueStat { min: offset, max: offset, messages: 0 };
        }
        queue.max = queue.max.max(offset + 1);
        queue.messages += 1;
    }

    fn time(&mut self, least: i64, greatest: i64) {
        let (first, last) = self.times.unwrap_or((least, greatest));
        self.times = Some((first.min(least), last.max(greatest)));
    }

    fn timer(&mut self, due_ms: i64, offset: u64) {
        if self.timers.len() < TIMERS_MAX {
            self.timers.push((due_ms, offset));
        }
    }

    /// A topic's next offsets, and its deletion.
    fn own(&mut self, own: &Own<'_>) {
        match own {
            Own::TopicDeleted { topic } => drop(self.topics.remove(*topic)),
            Own::QueueNext { topic, queue_id, next } if *topic != STATE_TOPIC => {
                let queues = &mut self.topics.entry((*topic).to_owned()).or_default().queues;
                let queue =
                    queues.entry(*queue_id).or_insert(QueueStat { min: *next, max: *next, messages: 0 });
                queue.max = queue.max.max(*next);
            }
            _ => {}
        }
    }
}

impl<D: Disk> Look<D> {
    /// Counts what there is. `fold` is given the state as of the log's end.
    ///
    /// # Errors
    /// The directory cannot be read.
    pub fn stat(
        &self,
        fold: &mut dyn StateFold,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<Stat, OpenError> {
        let facts = self.facts();
        let mut stat = Stat {
            origin: self.origin(),
            begin: self.begin(),
            flushed: facts.map(|f| f.flushed),
            space: self.disk.space().ok(),
            ..Stat::default()
        };
        for dir in ["", crate::log::LOG_DIR, FRONTIER_DIR, RUN_DIR, "index", "config"] {
            let bytes = list(&self.disk, dir)?.iter().map(|(_, len)| len).sum();
            stat.files.insert(dir, bytes);
        }
        fold.reset();
        let fold_from = self.stat_snapshot(&mut stat, fold);
        let mut at = stat.begin;
        for (start, end) in self.runs()? {
            if start < at || end > fold_from || facts.is_none_or(|f| end > f.flushed) {
                continue;
            }
            if start > at {
                self.stat_walk(at, start, fold_from, &mut stat, fold, progress)?;
                at = start;
            }
            // A damaged one is as good as none.
            if let Ok(()) = self.stat_run(start, end, &mut stat) {
                at = end;
            }
            progress(Progress {
                step: "counting",
                done: at - stat.begin,
                total: self.about_end() - stat.begin,
            });
        }
        stat.end = self.stat_walk(at, Position::MAX, fold_from, &mut stat, fold, progress)?;
        stat.segments = self.segments_before(stat.end);
        for (_, topic) in stat.topics.iter().filter(|(name, _)| !name.starts_with(names::LMQ_PREFIX)) {
            stat.messages += topic.messages;
            stat.bytes += topic.bytes;
        }
        self.newest(&mut stat);
        Ok(stat)
    }

    fn runs(&self) -> Result<Vec<(Position, Position)>, OpenError> {
        let files = list(&self.disk, RUN_DIR)?;
        let mut runs: Vec<_> = files.iter().filter_map(|(name, _)| run_name(name)).collect();
        runs.sort_unstable();
        Ok(runs)
    }

    /// Folds the snapshot, if it can be used; where folding the log begins.
    fn stat_snapshot(&self, stat: &mut Stat, fold: &mut dyn StateFold) -> Position {
        let Ok(Some(snapshot)) = Snapshot::read(&self.disk) else { return self.begin() };
        stat.snapshot = Some((snapshot.position, snapshot.entries.len() as u64));
        let flushed = self.facts().map_or(0, |f| f.flushed);
        if !(self.begin()..=flushed).contains(&snapshot.position) {
            return self.begin();
        }
        for (kind, payload) in entries(&snapshot.entries).flatten() {
            match Own::parse(kind, payload) {
                Ok(Some(own)) => stat.own(&own),
                _ if kind >= KIND_APPLICATION_MIN => drop(fold.apply(kind, payload)),
                _ => {}
            }
        }
        snapshot.position
    }

    fn stat_run(
        &self,
        start: Position,
        end: Position,
        stat: &mut Stat,
    ) -> Result<(), crate::index::RunError> {
        let run = RunFile::open(&self.disk, start, end)?;
        run.verify()?;
        let directory = run.directory()?;
        directory.deleted.iter().for_each(|topic| drop(stat.topics.remove(topic)));
        for (topic, rows) in &directory.topics {
            for row in rows {
                let mut skip = 0;
                while skip < row.count {
                    let entries = run.entries(row.at, row.count, skip, ENTRIES)?;
                    for (offset, entry) in (row.first + u64::from(skip)..).zip(&entries) {
                        stat.message(topic, row.queue_id, offset, entry.position, entry.size);
                        if topic == names::WHEEL_TIMER_TOPIC {
                            stat.timer(entry.tag_code, offset);
                        }
                    }
                    skip += entries.len().max(1) as u32;
                }
            }
        }
        if let Some((least, greatest)) = run.facts.times {
            stat.time(least, greatest);
        }
        stat.runs += 1;
        Ok(())
    }

    fn stat_walk(
        &self,
        from: Position,
        to: Position,
        fold_from: Position,
        stat: &mut Stat,
        fold: &mut dyn StateFold,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<Position, OpenError> {
        let mut visit = |seen: Seen<'_>| {
            let Seen::Record(view) = seen else {
                stat.damaged += 1;
                return ControlFlow::Continue(());
            };
            stat.time(view.store_ms, view.store_ms);
            if view.topic == STATE_TOPIC {
                for (kind, payload) in entries(view.body).flatten().filter(|_| view.has_crc()) {
                    match Own::parse(kind, payload) {
                        // Next offsets count from where the state does.
                        Ok(Some(own))
                            if view.position >= fold_from || matches!(own, Own::TopicDeleted { .. }) =>
                        {
                            stat.own(&own);
                        }
                        _ if kind >= KIND_APPLICATION_MIN && view.position >= fold_from => {
                            let _ = fold.apply(kind, payload);
                        }
                        _ => {}
                    }
                }
                return ControlFlow::Continue(());
            }
            if view.position >= fold_from {
                fold.message(view);
            }
            let size = view.len() as u32; // holds because a record's length is a u32
            places(view, |topic, queue_id, offset| {
                stat.message(topic, queue_id, offset, view.position, size)
            });
            if view.topic == names::WHEEL_TIMER_TOPIC {
                let due = view.properties().get(name::TIMER_OUT_MS).and_then(|due| due.parse().ok());
                due.into_iter().for_each(|due| stat.timer(due, view.queue_offset));
            }
            ControlFlow::Continue(())
        };
        self.walk("counting", from..to, &mut visit, progress)
    }

    /// Asks the log when the newest message of each topic was stored.
    fn newest(&self, stat: &mut Stat) {
        for topic in stat.topics.values_mut() {
            let Some(position) = topic.newest else { continue };
            let base = self.segment_of(position);
            let Ok(file) = self.disk.open(&segment_path(base)) else { continue };
            let Some((_, len)) = self.files.iter().find(|(other, _)| *other == base) else { continue };
            if position >= base + len {
                continue;
            }
            let segment = Segment { base, end: base + len, recycled: false, file };
            if let Ok(Found::Record(view)) = Scanner::small(&segment, Position::MAX).at(position) {
                topic.newest_ms = Some(view.store_ms);
            }
        }
    }
}
