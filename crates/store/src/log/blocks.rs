//! Whole blocks for writes that go past the operating system's cache.
//!
//! Such a write must begin and end at a block's border, in the file and in memory. A log's end lies anywhere, so the
//! block that holds it is written again, with the same bytes up to the end, by the write that follows.

use crate::disk::{DiskFile, read_exact_at, write_all_at};
use std::io;

/// What devices and file systems want writes to be multiples of.
pub(crate) const BLOCK_BYTES: usize = 4096;
/// Bytes of one write at most.
const BUFFER_BYTES: usize = 1 << 20;

/// Memory that begins at a block's border: that of `memory` from `start` on.
pub(crate) struct Aligned {
    memory: Vec<u8>,
    start: usize,
}

impl Aligned {
    pub(crate) fn zeroed(bytes: usize) -> Self {
        let memory = vec![0; bytes + BLOCK_BYTES];
        // The address decides nothing but where in the memory the buffer begins.
        let start = (memory.as_ptr() as usize).next_multiple_of(BLOCK_BYTES) - memory.as_ptr() as usize;
        Self { memory, start }
    }

    pub(crate) fn get(&self, bytes: usize) -> &[u8] {
        self.memory.get(self.start..self.start + bytes).unwrap_or_default()
    }

    pub(crate) fn get_mut(&mut self) -> &mut [u8] {
        let end = self.memory.len() - BLOCK_BYTES + self.start;
        self.memory.get_mut(self.start..end).unwrap_or_default()
    }
}

/// Appends to a file in whole blocks.
pub(crate) struct Blocks {
    buffer: Aligned,
    /// Where the file's next byte goes, and the bytes before it that lie in the same block.
    next: Option<(u64, Vec<u8>)>,
}

impl Blocks {
    pub(crate) fn new() -> Self {
        Self { buffer: Aligned::zeroed(BUFFER_BYTES), next: None }
    }

    /// Another file follows.
    pub(crate) fn forget(&mut self) {
        self.next = None;
    }

    /// Writes pieces one after the other at `offset`, which need not be a block's border; the rest of the last block
    /// becomes zero.
    ///
    /// # Errors
    /// A failed read or write, or a short write: how much was written is not known.
    pub(crate) fn append<'a>(
        &mut self,
        file: &impl DiskFile,
        pieces: impl Iterator<Item = &'a [u8]>,
        offset: u64,
    ) -> io::Result<()> {
        let known = self.next.take().filter(|(next, _)| *next == offset);
        let in_block = (offset % BLOCK_BYTES as u64) as usize;
        let mut at = offset - in_block as u64;
        let buffer = self.buffer.get_mut();
        let (head, _) = buffer.split_at_mut(in_block);
        match known {
            Some((_, bytes)) => head.copy_from_slice(&bytes),
            None => head.copy_from_slice(&read_block(file, at, in_block)?),
        }
        let mut filled = in_block;
        for mut piece in pieces {
            while !piece.is_empty() {
                let (_, free) = self.buffer.get_mut().split_at_mut(filled);
                let (now, rest) = piece.split_at(piece.len().min(free.len()));
                let (to, _) = free.split_at_mut(now.len());
                to.copy_from_slice(now);
                filled += now.len();
                piece = rest;
                if filled == BUFFER_BYTES {
                    write_all_at(file, self.buffer.get(BUFFER_BYTES), at)?;
                    at += BUFFER_BYTES as u64;
                    filled = 0;
                }
            }
        }
        let whole = filled.next_multiple_of(BLOCK_BYTES);
        if whole > 0 {
            self.buffer.get_mut().split_at_mut(filled).1.iter_mut().take(whole - filled).for_each(|b| *b = 0);
            write_all_at(file, self.buffer.get(whole), at)?;
        }
        let last = self.buffer.get(filled).chunks_exact(BLOCK_BYTES).remainder().to_vec();
        self.next = Some((at + filled as u64, last));
        Ok(())
    }
}

/// The first bytes of a block that is there already.
fn read_block(file: &impl DiskFile, at: u64, bytes: usize) -> io::Result<Vec<u8>> {
    let mut block = Aligned::zeroed(BLOCK_BYTES);
    if bytes > 0 {
        read_exact_at(file, block.get_mut(), at)?;
    }
    Ok(block.get(bytes).to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::{Disk, HostileDisk, read_all};
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn pieces_of_any_size_are_written_as_they_are(
            sizes in proptest::collection::vec(proptest::collection::vec(1_usize..9_000, 1..4), 1..20),
            start in 0_usize..10_000,
            forget in any::<bool>(),
        ) {
            let disk = HostileDisk::default();
            let file = disk.create("f").unwrap();
            let mut want: Vec<u8> = (0..start).map(|i| i as u8).collect();
            file.allocate(1 << 20).unwrap();
            write_all_at(&file, &want, 0).unwrap();
            let direct = disk.open_direct("f").unwrap();
            let mut blocks = Blocks::new();
            for sizes in sizes {
                let offset = want.len() as u64;
                let pieces: Vec<Vec<u8>> = sizes.iter().map(|size| vec![*size as u8 | 1; *size]).collect();
                blocks.append(&direct, pieces.iter().map(Vec::as_slice), offset).unwrap();
                pieces.iter().for_each(|piece| want.extend_from_slice(piece));
                if forget {
                    blocks.forget();
                }
            }
            let got = read_all(&file).unwrap();
            prop_assert_eq!(&got[..want.len()], &want[..]);
            prop_assert!(got[want.len()..].iter().all(|byte| *byte == 0));
        }
    }

    #[test]
    fn more_than_the_buffer_takes_goes_in_parts() {
        let disk = HostileDisk::default();
        let file = disk.create("f").unwrap();
        file.allocate(4 << 20).unwrap();
        let direct = disk.open_direct("f").unwrap();
        let mut blocks = Blocks::new();
        let mut want = Vec::new();
        for len in [BUFFER_BYTES, 10, 2 * BUFFER_BYTES - 10, 5, BUFFER_BYTES - 5] {
            let piece: Vec<u8> = (0..len).map(|i| (i % 251) as u8).collect();
            blocks.append(&direct, std::iter::once(&*piece), want.len() as u64).unwrap();
            want.extend_from_slice(&piece);
        }
        assert_eq!(want, read_all(&file).unwrap());
    }
}
