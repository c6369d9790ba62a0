//! What waits to be written to one connection.

use bytes::{Buf, Bytes, BytesMut};
use kerolox_wire::{Command, frame};
use std::collections::VecDeque;
use std::io::{self, IoSlice};

/// Bodies from this size on are not copied behind their header but written from where they lie.
const BODY_BYTES_UNCOPIED: usize = 16 << 10;
/// Smaller ones are put together up to this size: a peer that takes its answers slowly pins no more than that beyond them.
const TAIL_BYTES_MAX: usize = 64 << 10;
/// Pieces handed to one vectored write.
const SLICES_MAX: usize = 64;

/// Unsent bytes in order: `chunks` first, then `tail`.
#[derive(Default)]
pub(crate) struct Outbox {
    chunks: VecDeque<Bytes>,
    tail: BytesMut,
    bytes: usize,
}

impl Outbox {
    /// Takes what `write` appends.
    pub(crate) fn append(&mut self, write: impl FnOnce(&mut BytesMut)) {
        self.turn_over();
        let before = self.tail.len();
        write(&mut self.tail);
        self.bytes += self.tail.len() - before;
    }

    fn turn_over(&mut self) {
        if self.tail.len() > TAIL_BYTES_MAX {
            self.chunks.push_back(std::mem::take(&mut self.tail).freeze());
        }
    }

    pub(crate) fn push(&mut self, command: &Command) {
        self.turn_over();
        let before = self.tail.len();
        if command.body.len() < BODY_BYTES_UNCOPIED {
            frame::encode(command, &mut self.tail);
            self.bytes += self.tail.len() - before;
        } else {
            frame::encode_head(command, &mut self.tail);
            self.bytes += self.tail.len() - before + command.body.len();
            self.chunks.push_back(self.tail.split().freeze());
            self.chunks.push_back(command.body.clone());
        }
    }

    /// Unsent bytes.
    pub(crate) fn len(&self) -> usize {
        self.bytes
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.bytes == 0
    }

    /// Writes as much as `write` takes; true when nothing is left.
    pub(crate) fn write_to(
        &mut self,
        mut write: impl FnMut(&[IoSlice<'_>]) -> io::Result<usize>,
    ) -> io::Result<bool> {
        while self.bytes > 0 {
            let written = {
                let mut slices = [IoSlice::new(&[]); SLICES_MAX];
                let mut count = 0;
                let pieces = self.chunks.iter().map(Bytes::as_ref).chain([self.tail.as_ref()]);
                for (slot, piece) in slices.iter_mut().zip(pieces.filter(|p| !p.is_empty())) {
                    *slot = IoSlice::new(piece);
                    count += 1;
                }
                match write(slices.get(..count).unwrap_or_default()) {
                    Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                    Ok(n) => n,
                    Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                    Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
                    Err(e) => return Err(e),
                }
            };
            self.advance(written);
        }
        Ok(true)
    }

    fn advance(&mut self, mut written: usize) {
        self.bytes -= written;
        while let Some(first) = self.chunks.front_mut() {
            if written < first.len() {
                first.advance(written);
                return;
            }
            written -= first.len();
            self.chunks.pop_front();
        }
        if written == self.tail.len() {
            self.tail.clear();
        } else {
            self.tail.advance(written);
        }
    }

    /// Takes over a buffer to encode into, if this has none.
    pub(crate) fn lend(&mut self, spare: BytesMut) {
        if self.tail.capacity() == 0 {
            self.tail = spare;
        }
    }

    /// Gives the buffer back once everything is written, so that an idle connection holds none.
    pub(crate) fn reclaim(&mut self) -> BytesMut {
        self.chunks = VecDeque::new();
        let mut tail = std::mem::take(&mut self.tail);
        tail.clear();
        tail
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drain(outbox: &mut Outbox, step: usize) -> Vec<u8> {
        let mut got = Vec::new();
        outbox
            .write_to(|slices| {
                let before = got.len();
                for byte in slices.iter().flat_map(|s| s.iter()).take(step) {
                    got.push(*byte);
                }
                Ok(got.len() - before)
            })
            .unwrap();
        got
    }

    #[test]
    fn bytes_leave_in_order_whatever_the_step_and_the_body_size() {
        let commands: Vec<Command> = [0, 10, BODY_BYTES_UNCOPIED, 7, 3 * BODY_BYTES_UNCOPIED, 1]
            .into_iter()
            .enumerate()
            .map(|(i, len)| Command::request(i as i32).with_body(vec![i as u8; len]))
            .collect();
        let want: Vec<u8> = commands.iter().flat_map(|c| frame::to_bytes(c).to_vec()).collect();
        for step in [1, 13, 1000, usize::MAX] {
            let mut outbox = Outbox::default();
            commands.iter().for_each(|c| outbox.push(c));
            assert_eq!(outbox.len(), want.len());
            assert_eq!(drain(&mut outbox, step), want);
            assert!(outbox.is_empty());
        }
    }

    #[test]
    fn would_block_keeps_the_rest() {
        let mut outbox = Outbox::default();
        let command = Command::request(1).with_body(vec![1; 100]);
        outbox.push(&command);
        let mut first = true;
        let done = outbox.write_to(|s| {
            if std::mem::take(&mut first) {
                Ok(s[0].len().min(9))
            } else {
                Err(io::ErrorKind::WouldBlock.into())
            }
        });
        assert!(!done.unwrap());
        assert_eq!(drain(&mut outbox, usize::MAX), frame::to_bytes(&command)[9..]);
    }
}
