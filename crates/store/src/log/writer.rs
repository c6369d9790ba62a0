//! The log's writer.

use crate::Position;
use crate::disk::{BLOCK_BYTES, Disk, DiskFile, write_slices_at};
use crate::log::blocks::{BUFFER_BYTES_MAX, Blocks};
use crate::log::{Segment, Shared, WriteBatch, segment_path};
use crate::{FlushPolicy, StoreConfig};
use std::io::IoSlice;
use std::sync::Arc;

/// The log's writer: owned by one thread.
pub struct Writer<D: Disk> {
    shared: Arc<Shared<D>>,
    written: Position,
    flushed: Position,
    /// Where the writer moves the limit when the keeper did not.
    ahead_bytes: u64,
    /// Segments written since the last sync, the last one being written to.
    open: Vec<Open<D::File>>,
    /// Past the operating system's cache: a failed write is then known at once, nothing is copied once more, and no
    /// memory is taken. (Under asynchronous flush the cache is what makes an answer fast.)
    direct: Option<Blocks>,
}

/// A segment as the writer opened it.
struct Open<F> {
    segment: Arc<Segment<F>>,
    /// Its own: a failed sync is reported once to each open file.
    file: F,
    dirty: bool,
}

/// Why nothing more will be written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the log is fenced: {0}")]
pub struct WriteError(pub String);

impl<D: Disk> Writer<D> {
    pub(crate) fn new(shared: Arc<Shared<D>>, config: &StoreConfig) -> Self {
        let at = shared.frontier.flushed();
        // No more than is prepared at a time.
        let bytes = config.ahead_bytes as usize / BLOCK_BYTES * BLOCK_BYTES;
        let direct = is_direct(config).then(|| Blocks::new(bytes.clamp(BLOCK_BYTES, BUFFER_BYTES_MAX)));
        Self { shared, written: at, flushed: at, ahead_bytes: config.ahead_bytes, open: Vec::new(), direct }
    }

    /// Writes and, with `sync`, makes durable all batches (in order, without gaps but for the ends of segments) and all
    /// that was written before. On success says how far: written, flushed.
    ///
    /// # Errors
    /// Any failed or short write or failed sync: the writer is fenced for ever, nothing of the batches counts.
    pub fn write(&mut self, batches: &[WriteBatch], sync: bool) -> Result<(Position, Position), WriteError> {
        let done = match self.shared.fenced() {
            Some(why) => Err(why.to_owned()),
            None => self.write_all(batches).and_then(|()| if sync { self.sync() } else { Ok(()) }),
        };
        match done {
            Ok(()) => Ok((self.written, self.flushed)),
            Err(why) => Err(WriteError(self.shared.fence(why))),
        }
    }

    fn write_all(&mut self, mut batches: &[WriteBatch]) -> Result<(), String> {
        while let Some(first) = batches.first() {
            let segment = self.segment_at(first.position)?;
            let ends_of_prior = std::iter::once(first.position).chain(batches.iter().map(WriteBatch::end));
            let together = batches
                .iter()
                .zip(ends_of_prior)
                .take_while(|(b, prior)| b.position == *prior && b.position < segment.end)
                .count();
            // Holds because the first batch always belongs to the run.
            debug_assert!(together > 0);
            let (run, rest) = batches.split_at(together.max(1));
            self.write_run(&segment, run)?;
            batches = rest;
        }
        Ok(())
    }

    /// The segment for the next batch, which must begin where the last one ended or at the next segment.
    fn segment_at(&mut self, position: Position) -> Result<Arc<Segment<D::File>>, String> {
        if position != self.written {
            let last = self.shared.segments.find(self.written);
            if last.is_none_or(|last| last.end != position) {
                return Err(format!("write at {position} does not follow {}", self.written));
            }
        }
        let segment = self.shared.segments.find_or_create(position).map_err(|e| e.to_string())?;
        if self.open.last().is_none_or(|last| last.segment.base != segment.base) {
            let path = segment_path(segment.base);
            let disk = &self.shared.disk;
            let file = if self.direct.is_some() { disk.open_direct(&path) } else { disk.open(&path) };
            let file = file.map_err(|e| format!("opening {path} for writing: {e}"))?;
            self.open.push(Open { segment: Arc::clone(&segment), file, dirty: false });
            self.direct.iter_mut().for_each(Blocks::forget);
        }
        Ok(segment)
    }

    /// Writes adjacent batches of one segment with one call.
    fn write_run(&mut self, segment: &Segment<D::File>, run: &[WriteBatch]) -> Result<(), String> {
        let (Some(first), Some(last)) = (run.first(), run.last()) else { return Ok(()) };
        let (start, end) = (first.position, last.end());
        if end > segment.end {
            return Err(format!("write of {start}..{end} crosses the end of its segment at {}", segment.end));
        }
        // Whole blocks are written.
        let touched = end.next_multiple_of(BLOCK_BYTES as u64).min(segment.end);
        if touched > self.shared.frontier.limit() {
            let limit = touched + self.ahead_bytes;
            let raised = self.shared.frontier.raise_limit(limit);
            raised.map_err(|e| format!("moving the frontier's limit to {limit}: {e}"))?;
        }
        let Some(open) = self.open.last_mut() else { return Err("no segment is open".to_owned()) };
        open.dirty = true;
        let offset = start - segment.base;
        let pieces = run.iter().map(|batch| &*batch.bytes);
        let wrote = match &mut self.direct {
            Some(blocks) => blocks.append(&open.file, pieces, offset),
            None => write_slices_at(&open.file, &pieces.map(IoSlice::new).collect::<Vec<_>>(), offset),
        };
        wrote.map_err(|e| format!("writing {start}..{end}: {e}"))?;
        self.written = end;
        self.shared.set_written(end);
        Ok(())
    }

    fn sync(&mut self) -> Result<(), String> {
        for open in self.open.iter_mut().filter(|open| open.dirty) {
            let synced = open.file.sync_data();
            synced.map_err(|e| format!("syncing segment {:020}: {e}", open.segment.base))?;
            open.dirty = false;
        }
        self.open.drain(..self.open.len().saturating_sub(1));
        if self.written > self.flushed {
            let noted = self.shared.frontier.note_flushed(self.written);
            noted.map_err(|e| format!("noting the frontier {}: {e}", self.written))?;
            self.flushed = self.written;
        }
        Ok(())
    }
}

/// Whether the log is written in whole blocks, past the operating system's cache.
pub(crate) fn is_direct(config: &StoreConfig) -> bool {
    config.flush == FlushPolicy::Sync && config.segment_bytes.is_multiple_of(BLOCK_BYTES as u64)
}
