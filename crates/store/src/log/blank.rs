//! The filler behind the last record of a segment.
//!
//! Apache writes 8 bytes, the length of the rest and a magic, and leaves the rest as it is. In a recycled segment those
//! could be left from its former life, at the very same place. So where there is room Kerolox adds what Apache ignores:
//! the filler's position and a checksum. (Where there is none, the keeper has zeroed those last bytes when it recycled.)

use crate::Position;
use bytes::{BufMut, BytesMut};
use kerolox_wire::record::{self, RecordHead};

/// Length of a filler with position and checksum: `left u32 | magic u32 | position u64 | CRC-32 of these u32`.
pub(crate) const BLANK_MARK_BYTES: usize = 20;

/// Appends a filler for the `left` last bytes of a segment, which begin at `position`.
pub(crate) fn encode_blank(left: u64, position: Position, out: &mut BytesMut) {
    debug_assert!(left >= record::BLANK_BYTES_MIN as u64);
    let start = out.len();
    // Holds because segments are shorter than 4 GiB (checked when the log is opened).
    record::encode_blank(left as u32, out);
    if left >= BLANK_MARK_BYTES as u64 {
        out.put_u64(position);
        let crc = crc32fast::hash(out.get(start..).unwrap_or_default());
        out.put_u32(crc);
    }
}

/// Whether `bytes` (up to the end of the segment or less) begin with a filler for the `left` bytes from `position` on.
/// `marked`: it must carry position and checksum if there is room for them.
pub(crate) fn is_blank(bytes: &[u8], left: u64, position: Position, marked: bool) -> bool {
    let Some(head) = RecordHead::peek(bytes) else { return false };
    if !head.is_blank() || u64::from(head.total) != left {
        return false;
    }
    if !marked || left < BLANK_MARK_BYTES as u64 {
        return true;
    }
    let mut expected = BytesMut::with_capacity(BLANK_MARK_BYTES);
    encode_blank(left, position, &mut expected);
    bytes.starts_with(&expected)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filler_counts_only_at_its_own_place() {
        for left in [8, 19, 20, 500] {
            let mut out = BytesMut::new();
            encode_blank(left, 1000, &mut out);
            assert_eq!(out.len(), if left < 20 { 8 } else { 20 });
            assert!(is_blank(&out, left, 1000, true));
            assert!(!is_blank(&out, left + 1, 1000, true));
            assert_eq!(is_blank(&out, left, 2000, true), left < 20, "{left}");
            assert!(is_blank(&out, left, 2000, false));
            for at in 0..out.len() {
                let mut bad = out.clone();
                bad[at] ^= 1;
                assert!(!is_blank(&bad, left, 1000, true), "{left} {at}");
            }
        }
    }
}
