//! Frames: the pieces that a connection's bytes are cut into. Source: RFC 9113, sections 4 and 6.

use bytes::{Buf, BufMut, Bytes, BytesMut};

/// What each client says first; it looks like no frame that could be.
pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// Bytes of a frame but its payload.
pub(super) const HEAD_BYTES: usize = 9;
/// Longest payload that we take: what every peer may send without asking.
pub(super) const PAYLOAD_BYTES_MAX: usize = 16_384;

/// Types of frames.
pub(super) mod kind {
    pub(in super::super) const DATA: u8 = 0;
    pub(in super::super) const HEADERS: u8 = 1;
    pub(in super::super) const PRIORITY: u8 = 2;
    pub(in super::super) const RST_STREAM: u8 = 3;
    pub(in super::super) const SETTINGS: u8 = 4;
    pub(in super::super) const PUSH_PROMISE: u8 = 5;
    pub(in super::super) const PING: u8 = 6;
    pub(in super::super) const GOAWAY: u8 = 7;
    pub(in super::super) const WINDOW_UPDATE: u8 = 8;
    pub(in super::super) const CONTINUATION: u8 = 9;
}

/// Flags of frames.
pub(super) mod flag {
    pub(in super::super) const ACK: u8 = 1;
    pub(in super::super) const END_STREAM: u8 = 1;
    pub(in super::super) const END_HEADERS: u8 = 4;
    pub(in super::super) const PADDED: u8 = 8;
    pub(in super::super) const PRIORITY: u8 = 0x20;
}

/// One frame, or the preface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Frame {
    Preface,
    Frame { kind: u8, flags: u8, stream: u32, payload: Bytes },
}

/// Takes the next frame off `bytes`; `None` if it is not all there.
///
/// # Errors
/// What the peer speaks is not HTTP/2, or the frame is longer than [`PAYLOAD_BYTES_MAX`].
pub fn cut(bytes: &mut BytesMut) -> Result<Option<Frame>, String> {
    let Some(head) = bytes.first_chunk::<HEAD_BYTES>() else {
        let start = PREFACE.get(..bytes.len()).unwrap_or_default();
        // A frame of 5 MiB, which cannot be, or another protocol: not to be waited for.
        return if bytes.first() == Some(&b'P') && **bytes != *start {
            Err(stranger(bytes))
        } else {
            Ok(None)
        };
    };
    let [l2, l1, l0, kind, flags, id @ ..] = *head;
    if head.starts_with(b"PRI * H") {
        if bytes.len() < PREFACE.len() {
            return Ok(None);
        }
        return match bytes.split_to(PREFACE.len()) == PREFACE {
            true => Ok(Some(Frame::Preface)),
            false => Err("the preface of HTTP/2 is garbled".to_owned()),
        };
    }
    let len = u32::from_be_bytes([0, l2, l1, l0]) as usize;
    if len > PAYLOAD_BYTES_MAX {
        return Err(stranger(bytes));
    }
    if bytes.len() < HEAD_BYTES + len {
        return Ok(None);
    }
    bytes.advance(HEAD_BYTES);
    let stream = u32::from_be_bytes(id) & (u32::MAX >> 1);
    Ok(Some(Frame::Frame { kind, flags, stream, payload: bytes.split_to(len).freeze() }))
}

fn stranger(bytes: &[u8]) -> String {
    let start = String::from_utf8_lossy(bytes.get(..bytes.len().min(16)).unwrap_or_default());
    format!("this is no HTTP/2 with frames up to {PAYLOAD_BYTES_MAX} bytes; it begins with {start:?}")
}

pub(super) fn write_head(len: usize, kind: u8, flags: u8, stream: u32, out: &mut BytesMut) {
    let [_, l2, l1, l0] = (len as u32).to_be_bytes();
    out.put_slice(&[l2, l1, l0, kind, flags]);
    out.put_u32(stream);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_cut_wherever_the_reads_end() {
        let mut whole = BytesMut::from(PREFACE);
        write_head(3, kind::DATA, flag::END_STREAM, 7, &mut whole);
        whole.put_slice(b"abc");
        write_head(0, kind::SETTINGS, 0, 0, &mut whole);
        let frame = |kind, flags, stream, payload: &'static [u8]| Frame::Frame {
            kind,
            flags,
            stream,
            payload: Bytes::from_static(payload),
        };
        let want = [Frame::Preface, frame(0, 1, 7, b"abc"), frame(4, 0, 0, b"")];
        for step in [1, 2, 5, whole.len()] {
            let (mut inbox, mut got) = (BytesMut::new(), Vec::new());
            for piece in whole.chunks(step) {
                inbox.put_slice(piece);
                while let Some(frame) = cut(&mut inbox).unwrap() {
                    got.push(frame);
                }
            }
            assert_eq!(got, want);
        }
    }

    #[test]
    fn other_protocols_are_told_apart_at_once() {
        for other in ["POST / HTTP/1.1\r\n", "PUT", "GET / HTTP/1.1\r\n", "PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n"]
        {
            assert!(cut(&mut BytesMut::from(other)).is_err(), "{other}");
        }
        assert_eq!(cut(&mut BytesMut::from("PRI * HT")), Ok(None));
        let mut long = BytesMut::new();
        write_head(PAYLOAD_BYTES_MAX + 1, 0, 0, 1, &mut long);
        assert!(cut(&mut long).is_err());
    }
}
