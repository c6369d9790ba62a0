//! One stream: a call, from its first frame to its trailers.

use bytes::{Buf, Bytes, BytesMut};
use kerolox_wire::fields::Fields;
use std::collections::VecDeque;

/// Bytes before each message: whether it is compressed, and its length.
pub(super) const PREFIX_BYTES: usize = 5;

/// What a list of headers takes beside its texts.
const HEAD_BYTES: usize = 256;

/// Why a message cannot be taken.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Unfit {
    Compressed,
    TooLong(usize),
}

pub(super) struct Stream {
    /// What the call said of itself; handed out with its first message.
    pub(super) head: Option<Fields>,
    head_bytes: usize,
    /// When it last got on: was opened, had no message in the middle, or its client took something.
    pub(super) since_s: u64,
    /// The beginning of a message that is not all there.
    inbox: BytesMut,
    /// The peer sends nothing more.
    pub(super) ended: bool,
    /// Bytes of its own window that the peer used and that were not given back.
    pub(super) used: usize,
    /// Bytes that the peer takes.
    pub(super) window: i64,
    /// The response's header was sent.
    pub(super) opened: bool,
    /// What waits for a window.
    pub(super) outbox: VecDeque<Bytes>,
    /// The header block that ends it, once the outbox is empty.
    pub(super) trailers: Option<Bytes>,
}

impl Stream {
    pub(super) fn new(head: Fields, since_s: u64, window: i64) -> Self {
        let texts: usize = head.iter().map(|(name, value)| name.len() + value.len()).sum();
        Self {
            head_bytes: size_of::<Self>() + HEAD_BYTES + texts,
            head: Some(head),
            since_s,
            inbox: BytesMut::new(),
            ended: false,
            used: 0,
            window,
            opened: false,
            outbox: VecDeque::new(),
            trailers: None,
        }
    }

    /// Bytes of memory that it holds of what the peer sent, with itself while there is no message.
    pub(super) fn held(&self) -> usize {
        self.inbox.len() + if self.head.is_some() { self.head_bytes } else { 0 }
    }

    /// What comes is of no interest any more.
    pub(super) fn give_up_reading(&mut self) {
        (self.head, self.inbox) = (None, BytesMut::new());
    }

    /// Whether its client keeps us waiting: with the rest of a message, or with taking what is for it. (With its first message it may
    /// wait: that of Python opens a stream of telemetry minutes before it has anything to say.)
    pub(super) fn is_waiting(&self) -> bool {
        self.is_cut_off() || !self.outbox.is_empty()
    }

    /// Whether it ends in the middle of a message.
    pub(super) fn is_cut_off(&self) -> bool {
        !self.inbox.is_empty()
    }

    /// Takes what came, and the messages that are whole with it.
    pub(super) fn receive(
        &mut self,
        mut piece: Bytes,
        max: usize,
        mut message: impl FnMut(Bytes),
    ) -> Result<(), Unfit> {
        while self.inbox.is_empty()
            && let Some(len) = length(&piece, max)?
            && piece.len() >= PREFIX_BYTES + len
        {
            piece.advance(PREFIX_BYTES);
            message(piece.split_to(len));
        }
        if piece.is_empty() {
            return Ok(());
        }
        self.inbox.extend_from_slice(&piece);
        let mut whole = false;
        while let Some(len) = length(&self.inbox, max)?
            && self.inbox.len() >= PREFIX_BYTES + len
        {
            self.inbox.advance(PREFIX_BYTES);
            message(self.inbox.split_to(len).freeze());
            whole = true;
        }
        if whole {
            // What is left must not keep the memory of what it came with.
            self.inbox = BytesMut::from(&*self.inbox);
        }
        Ok(())
    }
}

/// The length of the message that `bytes` begin with, if its prefix is there.
fn length(bytes: &[u8], max: usize) -> Result<Option<usize>, Unfit> {
    let Some([compressed, len @ ..]) = bytes.first_chunk::<PREFIX_BYTES>() else { return Ok(None) };
    let len = u32::from_be_bytes(*len) as usize;
    match (compressed, len > max) {
        (_, true) => Err(Unfit::TooLong(len)),
        (0, false) => Ok(Some(len)),
        _ => Err(Unfit::Compressed),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_cut_wherever_frames_end() {
        let whole = b"\0\0\0\0\x03abc\0\0\0\0\0\0\0\0\0\x02de";
        for step in 1..=whole.len() {
            let mut stream = Stream::new(Fields::new(), 0, 0);
            let mut got = Vec::new();
            for piece in whole.chunks(step) {
                stream.receive(Bytes::copy_from_slice(piece), 3, |message| got.push(message)).unwrap();
            }
            assert_eq!(got, [&b"abc"[..], b"", b"de"]);
            assert!(!stream.is_cut_off());
        }
    }

    #[test]
    fn unfit_messages_are_told_apart() {
        let mut stream = Stream::new(Fields::new(), 0, 0);
        let mut take = |bytes: &'static [u8]| stream.receive(Bytes::from_static(bytes), 3, |_| ());
        assert_eq!(take(b"\0\0\0\0"), Ok(()));
        assert_eq!(take(b"\x04"), Err(Unfit::TooLong(4)));
        let mut stream = Stream::new(Fields::new(), 0, 0);
        assert_eq!(stream.receive(Bytes::from_static(b"\x01\0\0\0\x01a"), 3, |_| ()), Err(Unfit::Compressed));
    }
}
