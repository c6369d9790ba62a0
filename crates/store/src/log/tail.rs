//! The end of the log in memory: what was appended and not yet taken by the writer, and the recent past for readers.

use crate::Position;
use crate::log::WriteBatch;
use bytes::BytesMut;
use std::collections::VecDeque;

/// Memory is taken in blocks of this size, so that an append does not allocate.
const BLOCK_BYTES: usize = 1 << 20;

pub(crate) struct Tail {
    /// Appended since the last cut; begins at `pending_at`.
    pending: BytesMut,
    pending_at: Position,
    /// Cut batches that the writer has not been given yet.
    out: Vec<WriteBatch>,
    /// Cut batches, for readers; adjacent but for the ends of segments.
    recent: VecDeque<WriteBatch>,
    recent_bytes: usize,
    bytes_max: usize,
    block_bytes: usize,
}

impl Tail {
    pub(crate) fn new(at: Position, bytes_max: usize, segment_bytes: u64) -> Self {
        let block_bytes = BLOCK_BYTES.min(usize::try_from(segment_bytes).unwrap_or(BLOCK_BYTES));
        Self {
            pending: BytesMut::new(),
            pending_at: at,
            out: Vec::new(),
            recent: VecDeque::new(),
            recent_bytes: 0,
            bytes_max,
            block_bytes,
        }
    }

    /// Position that the next byte gets.
    pub(crate) fn end(&self) -> Position {
        self.pending_at + self.pending.len() as u64
    }

    /// Where to put `bytes` more bytes, in place.
    pub(crate) fn room(&mut self, bytes: usize) -> &mut BytesMut {
        if self.pending.capacity() - self.pending.len() < bytes {
            self.cut();
            // A new block rather than a longer one: nothing is copied.
            self.pending = BytesMut::with_capacity(bytes.max(self.block_bytes));
        }
        &mut self.pending
    }

    /// The rest of the segment stays unused: the log goes on at `position`.
    pub(crate) fn skip_to(&mut self, position: Position) {
        debug_assert!(position >= self.end());
        self.cut();
        self.pending_at = position;
    }

    fn cut(&mut self) {
        if self.pending.is_empty() {
            return;
        }
        let batch = WriteBatch { position: self.pending_at, bytes: self.pending.split().freeze() };
        self.pending_at = batch.end();
        self.recent_bytes += batch.bytes.len();
        self.recent.push_back(batch.clone());
        self.out.push(batch);
    }

    /// Everything appended since the last call.
    pub(crate) fn take(&mut self, out: &mut Vec<WriteBatch>) {
        self.cut();
        out.append(&mut self.out);
    }

    /// Bytes of a record if they are still here (and were taken by the writer).
    pub(crate) fn get(&self, position: Position, size: u32) -> Option<&[u8]> {
        let after = self.recent.partition_point(|b| b.position <= position);
        let batch = self.recent.get(after.checked_sub(1)?)?;
        let start = usize::try_from(position - batch.position).ok()?;
        batch.bytes.get(start..start + size as usize)
    }

    /// Forgets the oldest bytes beyond the limit, but nothing that is not yet `written`: until then nobody else has it.
    pub(crate) fn evict(&mut self, written: Position) {
        while self.recent_bytes > self.bytes_max {
            let Some(first) = self.recent.front().filter(|b| b.end() <= written) else { break };
            self.recent_bytes -= first.bytes.len();
            self.recent.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_come_back_until_evicted() {
        let mut tail = Tail::new(1000, 64, 1 << 20);
        let mut out = Vec::new();
        for i in 0..10u8 {
            tail.room(20).extend_from_slice(&[i; 20]);
            if i % 2 == 1 {
                tail.take(&mut out);
            }
        }
        assert_eq!(tail.end(), 1200);
        assert_eq!(
            out.iter().map(|b| (b.position, b.bytes.len())).collect::<Vec<_>>(),
            [(1000, 40), (1040, 40), (1080, 40), (1120, 40), (1160, 40)]
        );
        assert_eq!(tail.get(1020, 20), Some(&[1; 20][..]));
        assert_eq!(tail.get(1190, 20), None);
        tail.evict(1050);
        assert_eq!(tail.get(1020, 20), None);
        assert_eq!(tail.get(1040, 20), Some(&[2; 20][..]), "not written yet: kept beyond the limit");
        tail.evict(1200);
        assert_eq!(tail.get(1100, 20), None);
        assert_eq!(tail.get(1180, 20), Some(&[9; 20][..]));
        assert!(tail.recent_bytes <= 64);
    }

    #[test]
    fn records_stay_whole_across_blocks() {
        let mut tail = Tail::new(0, 1 << 30, 1 << 30);
        let mut out = Vec::new();
        for i in 0..5000u32 {
            tail.room(1000).extend_from_slice(&[i as u8; 1000]);
        }
        tail.take(&mut out);
        assert!(out.len() > 1 && out.iter().all(|b| b.bytes.len() % 1000 == 0 && b.position % 1000 == 0));
        assert_eq!(tail.get(1000 * 4321, 1000), Some(&[4321u32 as u8; 1000][..]));
    }
}
