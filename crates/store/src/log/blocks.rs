//! Whole blocks for writes that go past the operating system's cache.
//!
//! Such a write must begin and end at a block's border, in the file and in memory. A log's end lies anywhere, so the
//! block that holds it is written again, with the same bytes up to the end, by the write that follows.

use crate::disk::{Aligned, BLOCK_BYTES, DiskFile, read_exact_at, write_all_at};
use std::io;

/// Bytes of one write at most.
pub(crate) const BUFFER_BYTES_MAX: usize = 1 << 20;

/// Appends to a file in whole blocks.
pub(crate) struct Blocks {
    /// Begins with what is known of the block that holds the file's end.
    buffer: Aligned,
    bytes: usize,
    /// Where that end is; `None` at the beginning and after another file.
    end: Option<u64>,
}

impl Blocks {
    /// `bytes` are written at once at most: a multiple of a block.
    pub(crate) fn new(bytes: usize) -> Self {
        debug_assert!(bytes > 0 && bytes.is_multiple_of(BLOCK_BYTES));
        Self { buffer: Aligned::zeroed(bytes), bytes, end: None }
    }

    /// Another file follows.
    pub(crate) fn forget(&mut self) {
        self.end = None;
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
        let mut filled = (offset % BLOCK_BYTES as u64) as usize;
        let mut at = offset - filled as u64;
        if self.end.take() != Some(offset) && filled > 0 {
            read_exact_at(file, self.buffer.get_mut(BLOCK_BYTES), at)?;
        }
        for mut piece in pieces {
            while !piece.is_empty() {
                let (_, free) = self.buffer.get_mut(self.bytes).split_at_mut(filled);
                let (now, rest) = piece.split_at(piece.len().min(free.len()));
                let (to, _) = free.split_at_mut(now.len());
                to.copy_from_slice(now);
                filled += now.len();
                piece = rest;
                if filled == self.bytes {
                    write_all_at(file, self.buffer.get(filled), at)?;
                    at += filled as u64;
                    filled = 0;
                }
            }
        }
        let whole = filled.next_multiple_of(BLOCK_BYTES);
        if whole > 0 {
            self.buffer.get_mut(whole).split_at_mut(filled).1.fill(0);
            write_all_at(file, self.buffer.get(whole), at)?;
        }
        // The next write begins with the block that this one ended in.
        let last = filled - filled % BLOCK_BYTES;
        self.buffer.get_mut(whole).copy_within(last.., 0);
        self.end = Some(at + filled as u64);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::{Disk, HostileDisk, OpKind, read_all};
    use proptest::prelude::*;

    const BUFFER: usize = 2 * BLOCK_BYTES;

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
            let mut blocks = Blocks::new(BUFFER);
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
        let mut blocks = Blocks::new(BUFFER);
        let mut want = Vec::new();
        for len in [BUFFER, 10, 2 * BUFFER - 10, 5, BUFFER - 5] {
            let piece: Vec<u8> = (0..len).map(|i| (i % 251) as u8).collect();
            blocks.append(&direct, std::iter::once(&*piece), want.len() as u64).unwrap();
            want.extend_from_slice(&piece);
        }
        assert_eq!(want, read_all(&file).unwrap()[..want.len()]);
    }

    /// The end of one file is not that of another, wherever it is.
    #[test]
    fn another_file_keeps_what_its_block_began_with() {
        let disk = HostileDisk::default();
        let mut blocks = Blocks::new(BUFFER);
        for (name, byte) in [("f", 1), ("g", 2)] {
            let file = disk.create(name).unwrap();
            file.allocate(BUFFER as u64).unwrap();
            write_all_at(&file, &[byte; 100], 0).unwrap();
            blocks.forget();
            blocks.append(&file, std::iter::once(&[byte + 10; 50][..]), 100).unwrap();
            let content = read_all(&file).unwrap();
            assert!(content[..100].iter().all(|b| *b == byte), "{name}");
            // The next file's end is where this one's was.
            blocks.end = Some(100);
        }
    }

    /// A log that grows is not read, and nothing is written that is not there.
    #[test]
    fn a_file_that_grows_is_not_read() {
        let disk = HostileDisk::default();
        let file = disk.create("f").unwrap();
        file.allocate(1 << 20).unwrap();
        let mut blocks = Blocks::new(BUFFER);
        let count = |kind| disk.counts().get(kind);
        let mut at = 0;
        for len in [10, 5, BLOCK_BYTES - 15, 7, BUFFER - 7, 3] {
            blocks.append(&file, std::iter::once(&vec![7; len][..]), at).unwrap();
            at += len as u64;
        }
        assert_eq!((count(OpKind::Read), count(OpKind::Write)), (0, 6));
        blocks.forget();
        blocks.append(&file, std::iter::once(&[7][..]), at).unwrap();
        assert_eq!(count(OpKind::Read), 1, "the block that holds the end");
        blocks.forget();
        blocks.append(&file, std::iter::once(&[7][..]), BUFFER as u64 * 3).unwrap();
        assert_eq!(count(OpKind::Read), 1, "at a border there is nothing before");
    }
}
