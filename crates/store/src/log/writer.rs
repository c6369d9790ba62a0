//! The log's writer.

use crate::Position;
use crate::disk::{Disk, DiskFile};
use crate::log::{Segment, Shared, WriteBatch};
use std::io::IoSlice;
use std::sync::Arc;

/// The log's writer: owned by one thread.
pub struct Writer<D: Disk> {
    shared: Arc<Shared<D>>,
    written: Position,
    flushed: Position,
    /// Where the writer moves the limit when the keeper did not.
    ahead_bytes: u64,
    /// Segments written since the last sync.
    dirty: Vec<Arc<Segment<D::File>>>,
}

/// Why nothing more will be written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the log is fenced: {0}")]
pub struct WriteError(pub String);

impl<D: Disk> Writer<D> {
    pub(crate) fn new(shared: Arc<Shared<D>>, ahead_bytes: u64) -> Self {
        let at = shared.frontier.flushed();
        Self { shared, written: at, flushed: at, ahead_bytes, dirty: Vec::new() }
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
        if self.dirty.last().is_none_or(|last| last.base != segment.base) {
            self.dirty.push(Arc::clone(&segment));
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
        if end > self.shared.frontier.limit() {
            let limit = end + self.ahead_bytes;
            let raised = self.shared.frontier.raise_limit(limit);
            raised.map_err(|e| format!("moving the frontier's limit to {limit}: {e}"))?;
        }
        let slices: Vec<IoSlice<'_>> = run.iter().map(|b| IoSlice::new(&b.bytes)).collect();
        let wrote = segment.file.write_at(&slices, start - segment.base);
        let wrote = wrote.map_err(|e| format!("writing {start}..{end}: {e}"))?;
        if wrote as u64 != end - start {
            return Err(format!("writing {start}..{end}: short write of {wrote} bytes"));
        }
        self.written = end;
        self.shared.set_written(end);
        Ok(())
    }

    fn sync(&mut self) -> Result<(), String> {
        for segment in &self.dirty {
            let synced = segment.file.sync_data();
            synced.map_err(|e| format!("syncing segment {:020}: {e}", segment.base))?;
        }
        self.dirty.clear();
        if self.written > self.flushed {
            let noted = self.shared.frontier.note_flushed(self.written);
            noted.map_err(|e| format!("noting the frontier {}: {e}", self.written))?;
            self.flushed = self.written;
        }
        Ok(())
    }
}
