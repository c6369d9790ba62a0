//! Taking over what Apache RocketMQ keeps beside its log.
//!
//! Apache's settings, offsets and progress are files that it writes now and then, and what is in flight is said by messages of system
//! topics. When a directory comes from there, all of it is made into state entries once, appended to the log, and Kerolox goes on from
//! them. A file is taken over once: its checksum is among the entries, and the checksums of the files that Kerolox writes
//! itself, for the way back, are there before the files are.
//!
//! Sources: `ConfigManager` and its heirs (files), `TransactionalMessageServiceImpl.check`, `PopReviveService`, `TimerMessageStore`.

mod files;
mod halves;
mod pops;
mod timers;

pub use files::{ApacheFile, ApacheFiles};
pub(crate) use files::{Offsets, is_own_group, is_own_topic};
pub(crate) use halves::GROUP as HALF_GROUP;
pub(crate) use pops::{
    CheckPoint, GROUP as REVIVE_GROUP, OrderInfo, OrderInfos, TOPIC_PREFIX as REVIVE_TOPIC_PREFIX,
};

use crate::Broker;
use crate::config::BrokerConfig;
use crate::state::{self, State};
use kerolox_store::{
    AppendError, Position, QueueEntry, QueueRead, QueueReadOutcome, QueueSlice, ReadPlan, ReadResult,
    StateFold, Store, WriteBatch, WriteError,
};
use kerolox_wire::names;
use kerolox_wire::record::{self, RecordView};
use std::collections::BTreeSet;
use std::ops::{ControlFlow, Range};
use std::sync::Arc;

/// Messages, and bytes of them, that are read at once.
const READ_COUNT: u32 = 4_096;
const READ_BYTES: u32 = 4 << 20;
/// Entries of the index that are read at once.
const ENTRIES: u32 = 64 << 10;

/// As if it were a file: the time on those that a clean end wrote, in seconds, in the place of a checksum.
pub(crate) const MODIFIED: &str = "modified";

/// What was taken over.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Adopted {
    /// State entries, to be appended to the log.
    pub entries: Vec<u8>,
    /// Files that were not known.
    pub files: usize,
    /// Those that are as an earlier time left them, and so do not count.
    pub old_files: Vec<&'static str>,
    /// Topics whose messages lie in the log, and which are no more.
    pub gone_topics: BTreeSet<String>,
    pub topics: usize,
    pub groups: usize,
    pub offsets: usize,
    pub half_messages: usize,
    pub timers: usize,
    pub in_flight: usize,
}

/// Reads of the log while nothing else goes on.
pub(crate) struct Log<'a> {
    pub(crate) store: &'a Store,
    pub(crate) read: &'a mut dyn FnMut(&ReadPlan) -> ReadResult,
}

impl Log<'_> {
    /// Messages of a queue with offsets of a range, in order, until there is one that is not wanted any more.
    ///
    /// # Errors
    /// The disk cannot be read.
    fn each(
        &mut self,
        topic: &str,
        queue_id: u32,
        offsets: Range<u64>,
        take: &mut dyn FnMut(&RecordView<'_>) -> ControlFlow<()>,
    ) -> Result<(), String> {
        let Some(bounds) = self.store.bounds(topic, queue_id) else { return Ok(()) };
        let topic: Arc<str> = Arc::from(topic);
        let mut next = offsets.start.max(bounds.min);
        let end = offsets.end.min(bounds.max);
        while next < end {
            let count = u32::try_from(end - next).unwrap_or(u32::MAX).min(READ_COUNT);
            let read = QueueRead {
                topic: Arc::clone(&topic),
                queue_id,
                from: next,
                count_max: count,
                bytes_max: READ_BYTES,
                scan_max: count,
                filter: None,
            };
            let slice = self.slice(read).map_err(|why| format!("reading {topic}: {why}"))?;
            let done = record::split(&slice.records).map_while(Result::ok).any(|view| take(&view).is_break());
            if done || slice.next_offset <= next {
                break;
            }
            next = slice.next_offset;
        }
        Ok(())
    }

    /// What the index knows of the messages of a queue from an offset on, in order.
    ///
    /// # Errors
    /// The disk cannot be read.
    pub(crate) fn each_entry(
        &mut self,
        topic: &str,
        queue_id: u32,
        from: u64,
        take: &mut dyn FnMut(QueueEntry),
    ) -> Result<(), String> {
        let Some(bounds) = self.store.bounds(topic, queue_id) else { return Ok(()) };
        let mut next = from.max(bounds.min);
        while next < bounds.max {
            let plan = self.store.plan_entries(topic, queue_id, next, ENTRIES);
            let entries = match (self.read)(&plan) {
                ReadResult::Entries(entries) => entries,
                ReadResult::Failed(why) => return Err(format!("reading {topic}: {why}")),
                _ => return Err(format!("reading {topic}: an answer to another question")),
            };
            // A part of which damage left nothing is not the end.
            next = entries.last().map_or(next.saturating_add(ENTRIES.into()), |last| last.offset + 1);
            entries.into_iter().for_each(&mut *take);
        }
        Ok(())
    }

    fn slice(&mut self, read: QueueRead) -> Result<QueueSlice, String> {
        match self.store.read_queue(read) {
            QueueReadOutcome::Done(slice) => Ok(slice),
            QueueReadOutcome::Cold(plan) => match (self.read)(&plan) {
                ReadResult::Queue(slice) => Ok(slice),
                ReadResult::Failed(why) => Err(why),
                _ => Err("an answer to another question".to_owned()),
            },
        }
    }
}

impl State {
    /// Takes over what Apache left in the files that are not known yet, and in the log.
    ///
    /// # Errors
    /// A file that cannot be understood, or a disk that cannot be read; nothing is to be changed then.
    pub fn adopt(
        &mut self,
        config: &BrokerConfig,
        store: &Store,
        files: &ApacheFiles,
        read: &mut dyn FnMut(&ReadPlan) -> ReadResult,
    ) -> Result<Adopted, String> {
        let old = files
            .checksums()
            .filter(|(name, crc)| self.knows_crc(name, *crc) && !self.is_newest_known(name, *crc));
        let old_files = old.map(|(name, _)| name).collect();
        let new = files.except(self);
        let mut adopted = Adopted { files: new.len(), old_files, ..Adopted::default() };
        if adopted.files > 0 {
            self.adopt_new(config, files, &new, &mut Log { store, read }, &mut adopted)?;
        }
        // What lies there now is remembered longest: however often a clean end cannot write its files, they are not taken for new ones.
        // And what others wrote is taken over now, or never.
        let to_be_said = |name: &str, crc| self.others_wrote || !self.is_newest_known(name, crc);
        for (name, crc) in files.checksums().filter(|(name, crc)| to_be_said(name, *crc)) {
            state::put_known_file(&mut adopted.entries, name, crc);
        }
        self.apply_all(&adopted.entries)?;
        if adopted.files > 0 && files.get(ApacheFile::Topics).is_some() {
            adopted.gone_topics = self.topics_without_settings(config, store);
        }
        Ok(adopted)
    }

    /// Whether a clean end of Kerolox put this time on the files it wrote for Apache: in whole seconds, which no other file has but by rare
    /// chance.
    pub fn put_time(&self, modified_s: u32) -> bool {
        self.known_files.iter().any(|known| (&*known.0, known.1) == (MODIFIED, modified_s))
    }

    /// Whether a file of Apache's with just these bytes was written by Kerolox, or taken over.
    pub fn knows_file(&self, file: ApacheFile, bytes: &[u8]) -> bool {
        self.knows_crc(file.name(), crc32fast::hash(bytes))
    }

    fn knows_crc(&self, name: &str, crc: u32) -> bool {
        self.known_files.iter().any(|known| (&*known.0, known.1) == (name, crc))
    }

    fn adopt_new(
        &self,
        config: &BrokerConfig,
        files: &ApacheFiles,
        new: &ApacheFiles,
        log: &mut Log<'_>,
        adopted: &mut Adopted,
    ) -> Result<(), String> {
        let offsets = files.offsets()?;
        // Whoever edits a file of settings changes nothing of what waits: Apache, from version 5 on, writes `timercheck` each second. One
        // that has no timers wrote messages at least, if anything of what waits ended there.
        let without_timers = self.others_wrote || files.get(ApacheFile::TimerCheck).is_none();
        let new_offsets = new.get(ApacheFile::Offsets).or(new.get(ApacheFile::LmqOffsets));
        let was_there =
            new.get(ApacheFile::TimerCheck).is_some() || (without_timers && new_offsets.is_some());
        new.settings(self, config, !was_there, adopted)?;
        if !was_there {
            return new.request_modes(adopted);
        }
        // They have no version: what Apache wrote may be what was known long ago.
        files.request_modes(adopted)?;
        halves::adopt(self, &offsets, log, adopted)?;
        timers::adopt(self, files, log, adopted)?;
        pops::adopt(self, files, &offsets, log, adopted)
    }

    fn is_newest_known(&self, name: &str, crc: u32) -> bool {
        self.known_files.iter().rfind(|known| known.0 == name).is_some_and(|known| known.1 == crc)
    }

    /// As the next start will understand it.
    pub(crate) fn apply_all(&mut self, entries: &[u8]) -> Result<(), String> {
        for entry in kerolox_store::state::entries(entries) {
            let (kind, payload) = entry.map_err(|at| format!("entry at {at} is malformed"))?;
            self.apply(kind, payload)?;
        }
        Ok(())
    }

    /// Topics that have messages and no settings: they were deleted.
    fn topics_without_settings(&self, config: &BrokerConfig, store: &Store) -> BTreeSet<String> {
        let gone = |topic: &str| {
            self.topics.get(topic).is_none()
                && !is_own_topic(config, topic)
                && !topic.starts_with(names::LMQ_PREFIX)
        };
        store.queues().filter(|(topic, ..)| gone(topic)).map(|(topic, ..)| topic.to_string()).collect()
    }
}

/// How far was written, and how far synced.
type WriteResult = Result<(Position, Position), WriteError>;

impl Broker {
    /// Puts into the log what was taken over, a record at a time: it may be more than can wait to be written. To be called before
    /// anything else; `write` is [`kerolox_store::Writer::write`].
    ///
    /// # Errors
    /// The log takes nothing.
    pub fn take_over(
        &mut self,
        now_ms: i64,
        adopted: &Adopted,
        write: &mut dyn FnMut(&[WriteBatch]) -> WriteResult,
    ) -> Result<(), String> {
        let refused = |e: AppendError| e.to_string();
        for topic in &adopted.gone_topics {
            self.store.delete_topic(now_ms, topic, Vec::new()).map_err(refused)?;
        }
        let mut rest = &*adopted.entries;
        while !rest.is_empty() {
            let (record, behind) = rest.split_at(state::record_len(rest, self.store.state_bytes_max()));
            self.store.append_state(now_ms, record).map_err(refused)?;
            rest = behind;
            let mut batches = Vec::new();
            self.store.take_writes(&mut batches);
            let (written, flushed) = write(&batches).map_err(|e| e.0)?;
            self.store.advance(written, flushed);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
