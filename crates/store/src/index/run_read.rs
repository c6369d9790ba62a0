//! Index runs: the files.

use super::keys::Key;
use super::run::{
    self, BLOCK_ENTRIES, BLOCK_KEYS, CRC_BYTES, Directory, ENTRY_BYTES, HEADER_BYTES, KEY_BYTES, Places,
    RunDraft, RunFacts,
};
use crate::Position;
use crate::disk::{Disk, DiskFile, read_exact_at, replace};
use crate::queue::Entry;
use std::io;
use std::sync::Arc;

pub(crate) const RUN_DIR: &str = "kerolox/runs";
const SUFFIX: &str = ".run";

fn file_name(start: Position, end: Position) -> String {
    format!("{start:020}-{end:020}{SUFFIX}")
}

pub(crate) fn run_path(start: Position, end: Position) -> String {
    format!("{RUN_DIR}/{}", file_name(start, end))
}

/// The range that a file name stands for; `None`: it is not that of a run.
pub(crate) fn run_name(name: &str) -> Option<(Position, Position)> {
    let (start, end) = name.strip_suffix(SUFFIX)?.split_once('-')?;
    Some((start.parse().ok()?, end.parse().ok()?))
}

/// Why a run cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RunError {
    #[error("index run: its {0} is damaged")]
    Damaged(&'static str),
    #[error("index run: it is of format {found}; this Kerolox reads up to {known}")]
    TooNew { found: u32, known: u32 },
    #[error("index run: {0}")]
    Io(#[from] io::Error),
}

/// An open run.
pub(crate) struct RunFile<F> {
    file: F,
    pub(crate) facts: RunFacts,
}

impl<F: DiskFile> RunFile<F> {
    /// Writes a run, durably.
    pub(crate) fn write<D: Disk<File = F>>(disk: &D, draft: &RunDraft) -> io::Result<(RunFacts, Places)> {
        let (bytes, facts, places) = run::encode(draft);
        replace(disk, RUN_DIR, &file_name(draft.start, draft.end), &bytes)?;
        Ok((facts, places))
    }

    pub(crate) fn open<D: Disk<File = F>>(
        disk: &D,
        start: Position,
        end: Position,
    ) -> Result<Self, RunError> {
        let file = disk.open(&run_path(start, end))?;
        let mut header = [0; HEADER_BYTES];
        match read_exact_at(&file, &mut header, 0) {
            Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => return Err(RunError::Damaged("header")),
            result => result?,
        }
        if let Some(found) = run::header_version(&header).filter(|version| *version > run::VERSION) {
            return Err(RunError::TooNew { found, known: run::VERSION });
        }
        let facts = run::decode_header(&header).ok_or(RunError::Damaged("header"))?;
        if (facts.start, facts.end) != (start, end) {
            return Err(RunError::Damaged("name or header"));
        }
        Ok(Self { file, facts })
    }

    fn read(&self, at: u64, bytes: u64, what: &'static str) -> Result<Vec<u8>, RunError> {
        // Numbers come from checksummed places, but a length is believed only up to the file's own.
        if at.checked_add(bytes).is_none_or(|end| self.file.len().is_ok_and(|len| end > len)) {
            return Err(RunError::Damaged(what));
        }
        let mut buf = vec![0; usize::try_from(bytes).map_err(|_| RunError::Damaged(what))?];
        match read_exact_at(&self.file, &mut buf, at) {
            Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => Err(RunError::Damaged(what)),
            result => Ok(result.map(|()| buf)?),
        }
    }

    pub(crate) fn directory(&self) -> Result<Directory, RunError> {
        let bytes = self.read(self.facts.directory_at, self.facts.directory_bytes, "directory")?;
        if crc32fast::hash(&bytes) != self.facts.directory_crc {
            return Err(RunError::Damaged("directory"));
        }
        // The rows lie before it.
        let fits = |row: &run::DirectoryRow| {
            row.at.saturating_add(u64::from(row.count) * ENTRY_BYTES as u64) <= self.facts.directory_at
        };
        let directory = run::decode_directory(&bytes);
        let directory = directory.filter(|d| d.topics.iter().flat_map(|(_, rows)| rows).all(fits));
        directory.ok_or(RunError::Damaged("directory"))
    }

    /// Entries `skip..skip + take` of a row with `count` entries at `at`.
    pub(crate) fn entries(&self, at: u64, count: u32, skip: u32, take: u32) -> Result<Vec<Entry>, RunError> {
        let take = take.min(count.saturating_sub(skip));
        if take == 0 {
            return Ok(Vec::new());
        }
        let (count, skip, take) = (count as usize, skip as usize, take as usize);
        let block_bytes = BLOCK_ENTRIES * ENTRY_BYTES + CRC_BYTES;
        let first = skip / BLOCK_ENTRIES;
        let last = (skip + take - 1) / BLOCK_ENTRIES;
        let entries_end = count.min((last + 1) * BLOCK_ENTRIES);
        let bytes = (entries_end - first * BLOCK_ENTRIES) * ENTRY_BYTES + (last - first + 1) * CRC_BYTES;
        let read = self.read(at + (first * block_bytes) as u64, bytes as u64, "entries")?;
        let mut out = Vec::with_capacity(entries_end - first * BLOCK_ENTRIES);
        for (i, block) in (first..).zip(read.chunks(block_bytes)) {
            let at = at + (i * block_bytes) as u64;
            let sound = run::decode_entries(block, self.facts.start, at, &mut out);
            sound.ok_or(RunError::Damaged("entries"))?;
        }
        out.drain(..skip - first * BLOCK_ENTRIES);
        out.truncate(take);
        Ok(out)
    }

    /// Reads all of it.
    pub(crate) fn verify(&self) -> Result<(), RunError> {
        for row in self.directory()?.topics.iter().flat_map(|(_, rows)| rows) {
            self.entries(row.at, row.count, 0, row.count)?;
        }
        let tops = self.tops()?;
        (0..tops.len()).try_for_each(|block| self.keys(block).map(drop))
    }

    fn tops(&self) -> Result<Vec<u64>, RunError> {
        let blocks = self.facts.key_count.div_ceil(BLOCK_KEYS as u64);
        let tops = self.read(self.facts.tops_at, blocks * 8 + CRC_BYTES as u64, "key index")?;
        run::decode_tops(&tops, self.facts.start, self.facts.tops_at).ok_or(RunError::Damaged("key index"))
    }

    /// The keys of one block.
    fn keys(&self, block: usize) -> Result<Vec<Key>, RunError> {
        let before = (block * BLOCK_KEYS) as u64;
        let count = self.facts.key_count.saturating_sub(before).min(BLOCK_KEYS as u64);
        let at = self.facts.keys_at + block as u64 * (BLOCK_KEYS * KEY_BYTES + CRC_BYTES) as u64;
        let bytes = self.read(at, count * KEY_BYTES as u64 + CRC_BYTES as u64, "keys")?;
        run::decode_keys(&bytes, self.facts.start, at).ok_or(RunError::Damaged("keys"))
    }

    /// Positions of records that carry a key with this hash, newest first, at most `max`.
    pub(crate) fn positions(&self, hash: u64, max: usize) -> Result<Vec<Position>, RunError> {
        let tops = self.tops()?;
        let mut found = Vec::new();
        // The hash may have begun in the block before the first one that begins with it.
        let from = tops.partition_point(|top| *top < hash).saturating_sub(1);
        for block in (from..tops.len()).take_while(|b| tops.get(*b).is_some_and(|top| *top <= hash)) {
            found.extend(self.keys(block)?.iter().filter(|(h, _)| *h == hash).map(|(_, position)| *position));
        }
        found.dedup();
        found.reverse();
        found.truncate(max);
        Ok(found)
    }
}

/// Runs that were opened recently, for readers.
pub(crate) struct OpenRuns<D: Disk> {
    disk: D,
    recent: std::sync::Mutex<std::collections::VecDeque<Arc<RunFile<D::File>>>>,
}

/// Runs kept open.
const OPEN_MAX: usize = 64;

impl<D: Disk> OpenRuns<D> {
    pub(crate) fn new(disk: D) -> Self {
        Self { disk, recent: std::sync::Mutex::default() }
    }

    pub(crate) fn get(&self, start: Position, end: Position) -> Result<Arc<RunFile<D::File>>, RunError> {
        let recent = || self.recent.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let known = recent().iter().find(|r| (r.facts.start, r.facts.end) == (start, end)).cloned();
        if let Some(run) = known {
            return Ok(run);
        }
        let run = Arc::new(RunFile::open(&self.disk, start, end)?);
        let mut recent = recent();
        recent.push_front(Arc::clone(&run));
        recent.truncate(OPEN_MAX);
        Ok(run)
    }
}
