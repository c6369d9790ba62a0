//! What is sent beside messages: settings, windows, resets, header blocks.

use super::connection::{CONNECTION_WINDOW, Limits, STREAM_WINDOW, WINDOW_FIRST};
use super::frame::{self, flag, kind};
use bytes::{BufMut, BytesMut};
use std::fmt::Write;

pub(super) const SETTINGS_HEADER_TABLE_SIZE: u16 = 1;
const SETTINGS_MAX_CONCURRENT_STREAMS: u16 = 3;
pub(super) const SETTINGS_INITIAL_WINDOW_SIZE: u16 = 4;
const SETTINGS_MAX_HEADER_LIST_SIZE: u16 = 6;

pub(super) fn greet(limits: &Limits, out: &mut BytesMut) {
    let settings = [
        (SETTINGS_MAX_CONCURRENT_STREAMS, limits.streams_max),
        (SETTINGS_INITIAL_WINDOW_SIZE, STREAM_WINDOW as u32),
        (SETTINGS_MAX_HEADER_LIST_SIZE, limits.header_bytes_max as u32),
    ];
    frame::write_head(settings.len() * 6, kind::SETTINGS, 0, 0, out);
    for (name, value) in settings {
        out.put_u16(name);
        out.put_u32(value);
    }
    give_back(0, CONNECTION_WINDOW - WINDOW_FIRST as usize, out);
}

pub(super) fn give_back(id: u32, bytes: usize, out: &mut BytesMut) {
    frame::write_head(4, kind::WINDOW_UPDATE, 0, id, out);
    out.put_u32(bytes as u32);
}

pub(super) fn reset(id: u32, code: u32, out: &mut BytesMut) {
    frame::write_head(4, kind::RST_STREAM, 0, id, out);
    out.put_u32(code);
}

pub(super) fn go_away(last: u32, code: u32, why: &str, out: &mut BytesMut) {
    frame::write_head(8 + why.len(), kind::GOAWAY, 0, 0, out);
    out.put_u32(last);
    out.put_u32(code);
    out.put_slice(why.as_bytes());
}

/// The header block that an answer begins with: `:status: 200` and `content-type: application/grpc`.
pub(super) fn opening() -> &'static [u8] {
    b"\x88\x0f\x10\x10application/grpc"
}

/// The header block that the answer of a successful call ends with: `grpc-status: 0`.
pub(super) const SUCCESS: &[u8] = b"\0\x0bgrpc-status\x010";

/// A header block of ours; the first one begins with what is due of the table.
pub(super) fn write_block(shrink: &mut Option<bool>, id: u32, flags: u8, block: &[u8], out: &mut BytesMut) {
    const NO_TABLE: &[u8] = b"\x20";
    let first = if shrink.as_mut().is_some_and(std::mem::take) { NO_TABLE } else { &[] };
    frame::write_head(first.len() + block.len(), kind::HEADERS, flag::END_HEADERS | flags, id, out);
    out.put_slice(first);
    out.put_slice(block);
}

/// As gRPC wants the text of a status: printable ASCII but the percent sign.
pub(super) fn percent_encoded(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b' '..=b'~' if byte != b'%' => out.push(char::from(byte)),
            // holds because a text can always be written to
            _ => drop(write!(out, "%{byte:02X}")),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::super::hpack::{Decoder, Scratch};
    use super::*;

    #[test]
    fn fixed_blocks_are_what_they_say() {
        let read = |block: &[u8]| {
            let mut said = Vec::new();
            let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
            let whole = Decoder::default()
                .decode(block, (999, 999), &mut Scratch::default(), |n, v| said.push((text(n), text(v))));
            assert_eq!(whole, Ok(true));
            said
        };
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        assert_eq!(read(opening()), [pair(":status", "200"), pair("content-type", "application/grpc")]);
        assert_eq!(read(SUCCESS), [pair("grpc-status", "0")]);
    }

    #[test]
    fn texts_of_a_status_are_encoded() {
        assert_eq!(percent_encoded("100% ü\n"), "100%25 %C3%BC%0A");
    }
}
