//! Cutting a byte stream into frames.
//!
//! A frame is `length u32 | encoding u8 · header length u24 | header | body`, all big-endian; `length` counts
//! everything after itself. Source: Apache's `NettyDecoder` and `RemotingCommand.decode`.

use crate::command::{Command, Encoding};
use bytes::{Buf, BufMut, Bytes, BytesMut};

/// Largest frame that is admitted by default, length field excluded: with it, Apache's
/// `com.rocketmq.remoting.frameMaxLength` of 16 MiB.
pub const FRAME_BYTES_MAX: usize = 16 * 1024 * 1024 - 4;
/// Largest header that is admitted: 64 KiB of fields are far beyond what any client sends (properties, the
/// largest of them, are limited to 32 KiB).
pub const HEADER_BYTES_MAX: usize = 256 * 1024;

/// Why a stream cannot be read any further. The peer is not speaking this protocol (or not a sane version of
/// it): the connection is to be closed, nothing else is affected.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    #[error("frame of {0} bytes exceeds the limit of {1}")]
    TooLong(usize, usize),
    #[error("frame of {0} bytes is shorter than its own header mark")]
    TooShort(usize),
    #[error("header of {header} bytes does not fit its frame of {frame}")]
    HeaderTooLong { header: usize, frame: usize },
    #[error("header encoding {0} is neither JSON (0) nor ROCKETMQ (1)")]
    UnknownEncoding(u8),
    #[error("header is not valid {0:?}: {1}")]
    BadHeader(Encoding, String),
}

/// Room that is made at least, and at most beyond as much as there is already, for a frame that is not complete: what a
/// peer announces costs memory only as it arrives.
const ROOM_BYTES: usize = 256 * 1024;

/// Takes the next whole frame off the front of `stream`; `Ok(None)` when more bytes are needed (and room is made for
/// some of them).
///
/// # Errors
/// See [`FrameError`]; `stream` is then of no further use.
pub fn decode(stream: &mut BytesMut, frame_bytes_max: usize) -> Result<Option<Command>, FrameError> {
    let Some(length) = stream.first_chunk::<4>().map(|b| u32::from_be_bytes(*b) as usize) else {
        return Ok(None);
    };
    if length > frame_bytes_max {
        return Err(FrameError::TooLong(length, frame_bytes_max));
    }
    if length < 4 {
        return Err(FrameError::TooShort(length));
    }
    if stream.len() < 8 {
        return Ok(None);
    }
    let mark = stream.get(4..8).and_then(|b| b.try_into().ok()).map_or(0, u32::from_be_bytes);
    let encoding = (mark >> 24) as u8;
    let header_len = (mark & 0x00ff_ffff) as usize;
    if header_len > length - 4 || header_len > HEADER_BYTES_MAX {
        return Err(FrameError::HeaderTooLong { header: header_len, frame: length });
    }
    let encoding = Encoding::from_byte(encoding).ok_or(FrameError::UnknownEncoding(encoding))?;
    if stream.len() < 4 + length {
        stream.reserve((4 + length - stream.len()).min(stream.len().max(ROOM_BYTES)));
        return Ok(None);
    }
    stream.advance(8);
    let mut frame = stream.split_to(length - 4).freeze();
    let header = frame.split_to(header_len);
    Command::decode_header(encoding, &header, frame).map(Some)
}

/// Appends `command` as one frame to `out`, header and body.
pub fn encode(command: &Command, out: &mut BytesMut) {
    encode_head(command, out);
    out.put_slice(&command.body);
}

/// Appends the frame of `command` without its body, whose length it announces: the body can then follow
/// from where it lies, uncopied.
pub fn encode_head(command: &Command, out: &mut BytesMut) {
    let start = out.len();
    out.put_bytes(0, 8);
    command.encode_header(out);
    let header_len = out.len() - start - 8;
    let length = (4 + header_len + command.body.len()) as u32;
    let mark = (u32::from(command.encoding as u8) << 24) | header_len as u32;
    // holds because the eight bytes were put just above
    #[allow(clippy::indexing_slicing)]
    {
        out[start..start + 4].copy_from_slice(&length.to_be_bytes());
        out[start + 4..start + 8].copy_from_slice(&mark.to_be_bytes());
    }
}

/// [`encode`] into a buffer of its own.
pub fn to_bytes(command: &Command) -> Bytes {
    let mut out = BytesMut::with_capacity(256 + command.body.len());
    encode(command, &mut out);
    out.freeze()
}
