//! Header blocks: read whole, written plain. Source: RFC 7541.

use super::huffman;
use std::collections::VecDeque;

/// What a peer's header block did wrong: the connection cannot go on, its table is not known any more, or means much work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Malformed;

/// Bytes of the dynamic table, as of every peer that is not told otherwise.
pub(super) const TABLE_BYTES_MAX: usize = 4_096;
/// What the standard counts for an entry beyond its texts.
const ENTRY_BYTES: usize = 32;

/// An entry of the dynamic table: name and value in one piece.
struct Entry {
    text: Box<[u8]>,
    name_len: usize,
}

impl Entry {
    fn bytes(&self) -> usize {
        self.text.len() + ENTRY_BYTES
    }
}

/// Reads the header blocks of one connection, in order.
#[derive(Default)]
pub(super) struct Decoder {
    entries: VecDeque<Entry>,
    bytes: usize,
    /// [`TABLE_BYTES_MAX`] less what the peer wants.
    bytes_waived: usize,
}

/// Texts that are put together while a block is read. One for all connections: a block is read in one go.
#[derive(Default)]
pub struct Scratch {
    name: Vec<u8>,
    value: Vec<u8>,
}

impl Decoder {
    /// Says each field of a block, names in small letters as they came. What is said after `list_max` bytes of fields (as the
    /// standard counts them) is left out, and the answer is false: the table has to follow even so. With more than `block_max` bytes
    /// it is malformed.
    pub(super) fn decode(
        &mut self,
        mut block: &[u8],
        (list_max, block_max): (usize, usize),
        scratch: &mut Scratch,
        mut field: impl FnMut(&[u8], &[u8]),
    ) -> Result<bool, Malformed> {
        let mut said = 0usize;
        let mut say = |name: &[u8], value: &[u8]| {
            said = said.saturating_add(name.len() + value.len() + ENTRY_BYTES);
            if said <= list_max {
                field(name, value);
            }
            if said <= block_max { Ok(()) } else { Err(Malformed) }
        };
        let mut may_resize = true;
        while let Some(&first) = block.first() {
            match first {
                0x80.. => {
                    let index = number(&mut block, 7)?;
                    let (name, value) = self.entry(index)?;
                    say(name, value)?;
                }
                0x20..=0x3f => {
                    let bytes = number(&mut block, 5)?;
                    if !may_resize || bytes > TABLE_BYTES_MAX {
                        return Err(Malformed);
                    }
                    self.bytes_waived = TABLE_BYTES_MAX - bytes;
                    self.evict(0);
                    continue;
                }
                _ => {
                    let is_kept = first >= 0x40;
                    let index = number(&mut block, if is_kept { 6 } else { 4 })?;
                    let Scratch { name, value } = &mut *scratch;
                    if index > 0 {
                        name.clear();
                        name.extend_from_slice(self.entry(index)?.0);
                    } else {
                        text(&mut block, name)?;
                    }
                    text(&mut block, value)?;
                    say(name, value)?;
                    if is_kept {
                        self.keep(name, value);
                    }
                }
            }
            may_resize = false;
        }
        Ok(said <= list_max)
    }

    fn entry(&self, index: usize) -> Result<(&[u8], &[u8]), Malformed> {
        let index = index.checked_sub(1).ok_or(Malformed)?;
        if let Some((name, value)) = STATIC.get(index) {
            return Ok((name.as_bytes(), value.as_bytes()));
        }
        let entry = self.entries.get(index - STATIC.len()).ok_or(Malformed)?;
        entry.text.split_at_checked(entry.name_len).ok_or(Malformed)
    }

    fn keep(&mut self, name: &[u8], value: &[u8]) {
        let bytes = name.len() + value.len() + ENTRY_BYTES;
        self.evict(bytes);
        if bytes <= TABLE_BYTES_MAX - self.bytes_waived {
            self.bytes += bytes;
            self.entries.push_front(Entry { text: [name, value].concat().into(), name_len: name.len() });
        }
    }

    /// Makes room for so many bytes, or as many as can be.
    fn evict(&mut self, room: usize) {
        while self.bytes + room > TABLE_BYTES_MAX - self.bytes_waived
            && let Some(entry) = self.entries.pop_back()
        {
            self.bytes -= entry.bytes();
        }
    }
}

/// A number whose first bits are the last ones of a byte.
fn number(block: &mut &[u8], bits: u32) -> Result<usize, Malformed> {
    let mask = (1usize << bits) - 1;
    let mut value = usize::from(take(block)?) & mask;
    if value < mask {
        return Ok(value);
    }
    // Four more bytes hold more than any block is long.
    for shift in [0, 7, 14, 21] {
        let byte = usize::from(take(block)?);
        value += (byte & 0x7f) << shift;
        if byte < 0x80 {
            return Ok(value);
        }
    }
    Err(Malformed)
}

fn take(block: &mut &[u8]) -> Result<u8, Malformed> {
    let (first, rest) = block.split_first().ok_or(Malformed)?;
    *block = rest;
    Ok(*first)
}

fn text(block: &mut &[u8], out: &mut Vec<u8>) -> Result<(), Malformed> {
    let is_huffman = block.first().is_some_and(|first| first & 0x80 != 0);
    let len = number(block, 7)?;
    let (text, rest) = block.split_at_checked(len).ok_or(Malformed)?;
    *block = rest;
    out.clear();
    if !is_huffman {
        out.extend_from_slice(text);
    } else if !huffman::decode(text, text.len() * 2, out) {
        return Err(Malformed);
    }
    Ok(())
}

/// Writes a field that the peer does not keep, its name by its number in the static table.
pub(super) fn write_indexed(index: usize, value: &[u8], out: &mut impl Extend<u8>) {
    write_number(0, 4, index, out);
    write_text(value, out);
}

/// Writes a field that the peer does not keep.
pub(super) fn write_literal(name: &str, value: &[u8], out: &mut impl Extend<u8>) {
    out.extend([0]);
    write_text(name.as_bytes(), out);
    write_text(value, out);
}

fn write_text(text: &[u8], out: &mut impl Extend<u8>) {
    write_number(0, 7, text.len(), out);
    out.extend(text.iter().copied());
}

fn write_number(first: u8, bits: u32, value: usize, out: &mut impl Extend<u8>) {
    let mask = (1usize << bits) - 1;
    if value < mask {
        out.extend([first | value as u8]);
        return;
    }
    out.extend([first | mask as u8]);
    let mut rest = value - mask;
    while rest >= 0x80 {
        out.extend([rest as u8 | 0x80]);
        rest >>= 7;
    }
    out.extend([rest as u8]);
}

/// The number of `:status`.
pub(super) const STATUS: usize = 8;

/// Source: RFC 7541, appendix A.
const STATIC: [(&str, &str); 61] = [
    (":authority", ""),
    (":method", "GET"),
    (":method", "POST"),
    (":path", "/"),
    (":path", "/index.html"),
    (":scheme", "http"),
    (":scheme", "https"),
    (":status", "200"),
    (":status", "204"),
    (":status", "206"),
    (":status", "304"),
    (":status", "400"),
    (":status", "404"),
    (":status", "500"),
    ("accept-charset", ""),
    ("accept-encoding", "gzip, deflate"),
    ("accept-language", ""),
    ("accept-ranges", ""),
    ("accept", ""),
    ("access-control-allow-origin", ""),
    ("age", ""),
    ("allow", ""),
    ("authorization", ""),
    ("cache-control", ""),
    ("content-disposition", ""),
    ("content-encoding", ""),
    ("content-language", ""),
    ("content-length", ""),
    ("content-location", ""),
    ("content-range", ""),
    ("content-type", ""),
    ("cookie", ""),
    ("date", ""),
    ("etag", ""),
    ("expect", ""),
    ("expires", ""),
    ("from", ""),
    ("host", ""),
    ("if-match", ""),
    ("if-modified-since", ""),
    ("if-none-match", ""),
    ("if-range", ""),
    ("if-unmodified-since", ""),
    ("last-modified", ""),
    ("link", ""),
    ("location", ""),
    ("max-forwards", ""),
    ("proxy-authenticate", ""),
    ("proxy-authorization", ""),
    ("range", ""),
    ("referer", ""),
    ("refresh", ""),
    ("retry-after", ""),
    ("server", ""),
    ("set-cookie", ""),
    ("strict-transport-security", ""),
    ("transfer-encoding", ""),
    ("user-agent", ""),
    ("vary", ""),
    ("via", ""),
    ("www-authenticate", ""),
];

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(decoder: &mut Decoder, block: &[u8]) -> Result<Vec<(String, String)>, Malformed> {
        let mut fields = Vec::new();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        decoder.decode(block, (1 << 20, 1 << 20), &mut Scratch::default(), |n, v| {
            fields.push((text(n), text(v)))
        })?;
        Ok(fields)
    }

    fn fields(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    /// RFC 7541, appendix C.4: three requests on one connection.
    #[test]
    fn examples_of_the_standard() {
        let mut decoder = Decoder::default();
        let first = [
            0x82, 0x86, 0x84, 0x41, 0x8c, 0xf1, 0xe3, 0xc2, 0xe5, 0xf2, 0x3a, 0x6b, 0xa0, 0xab, 0x90, 0xf4,
            0xff,
        ];
        let base =
            [(":method", "GET"), (":scheme", "http"), (":path", "/"), (":authority", "www.example.com")];
        assert_eq!(read(&mut decoder, &first).unwrap(), fields(&base));
        assert_eq!(decoder.bytes, 57);
        let second = [0x82, 0x86, 0x84, 0xbe, 0x58, 0x86, 0xa8, 0xeb, 0x10, 0x64, 0x9c, 0xbf];
        let mut want = fields(&base);
        want.extend(fields(&[("cache-control", "no-cache")]));
        assert_eq!(read(&mut decoder, &second).unwrap(), want);
        let third = [
            0x82, 0x87, 0x85, 0xbf, 0x40, 0x88, 0x25, 0xa8, 0x49, 0xe9, 0x5b, 0xa9, 0x7d, 0x7f, 0x89, 0x25,
            0xa8, 0x49, 0xe9, 0x5b, 0xb8, 0xe8, 0xb4, 0xbf,
        ];
        let want = fields(&[
            (":method", "GET"),
            (":scheme", "https"),
            (":path", "/index.html"),
            (":authority", "www.example.com"),
            ("custom-key", "custom-value"),
        ]);
        assert_eq!(read(&mut decoder, &third).unwrap(), want);
        assert_eq!((decoder.bytes, decoder.entries.len()), (164, 3));
    }

    #[test]
    fn the_table_forgets_the_oldest_and_follows_the_peer() {
        let mut decoder = Decoder::default();
        let literal = |name: &str, value: &str| {
            let mut block = vec![0x40];
            write_text(name.as_bytes(), &mut block);
            write_text(value.as_bytes(), &mut block);
            block
        };
        let long = "x".repeat(2_000);
        for name in ["a", "b", "c"] {
            read(&mut decoder, &literal(name, &long)).unwrap();
        }
        assert_eq!((decoder.bytes, decoder.entries.len()), (2 * 2_033, 2));
        assert_eq!(read(&mut decoder, &[0xbf]).unwrap(), fields(&[("b", &long)]));
        assert_eq!(read(&mut decoder, &[0xc0]), Err(Malformed), "that one went");
        // A table of 2,040 bytes has room for one; of none, for none.
        let mut smaller = Vec::new();
        write_number(0x20, 5, 2_040, &mut smaller);
        read(&mut decoder, &smaller).unwrap();
        assert_eq!(decoder.entries.len(), 1);
        read(&mut decoder, &[0x20]).unwrap();
        read(&mut decoder, &literal("d", "e")).unwrap();
        assert_eq!((decoder.bytes, decoder.entries.len()), (0, 0));
        // It grows to what is the most, and no further, and only before the first field.
        let mut block = Vec::new();
        write_number(0x20, 5, TABLE_BYTES_MAX, &mut block);
        read(&mut decoder, &block).unwrap();
        read(&mut decoder, &literal("d", "e")).unwrap();
        assert_eq!(decoder.entries.len(), 1);
        let mut block = Vec::new();
        write_number(0x20, 5, TABLE_BYTES_MAX + 1, &mut block);
        assert_eq!(read(&mut decoder, &block), Err(Malformed));
        assert_eq!(read(&mut decoder, &[0x82, 0x20]), Err(Malformed));
        // One that is longer than the table empties it.
        read(&mut decoder, &literal("f", &"y".repeat(TABLE_BYTES_MAX))).unwrap();
        assert!(decoder.entries.is_empty());
    }

    #[test]
    fn long_lists_are_cut_off_and_the_table_follows() {
        let mut decoder = Decoder::default();
        let mut block = vec![0x40];
        write_text(b"name", &mut block);
        write_text(b"value", &mut block);
        block.extend([0x82, 0xbe]);
        let mut said = 0;
        let whole = decoder.decode(&block, (50, 1 << 20), &mut Scratch::default(), |_, _| said += 1);
        assert_eq!((whole, said, decoder.entries.len()), (Ok(false), 1, 1));
    }

    #[test]
    fn malformed_blocks_are_refused() {
        let cases: [&[u8]; 7] = [
            &[0x80],                                     // no entry 0
            &[0xbe],                                     // none there
            &[0x40],                                     // ends in the middle
            &[0x00, 0x05, b'a'],                         // a name that is cut off
            &[0x00, 0x01, b'a', 0x82, 0xff, 0xff],       // a text that is none
            &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x0f], // a number without end
            &[0x3f, 0xff, 0xff, 0xff, 0x7f],             // a table of 256 MiB
        ];
        for bad in cases {
            assert_eq!(read(&mut Decoder::default(), bad), Err(Malformed), "{bad:x?}");
        }
    }

    proptest! {
        #[test]
        fn what_we_write_is_read(name in "[a-z-]{1,200}", value in proptest::collection::vec(any::<u8>(), 0..300)) {
            let mut block = vec![0x88];
            write_literal(&name, &value, &mut block);
            write_indexed(31, b"application/grpc", &mut block);
            let mut got = Vec::new();
            let mut decoder = Decoder::default();
            let whole = decoder
                .decode(&block, (1 << 20, 1 << 20), &mut Scratch::default(), |n, v| got.push((n.to_vec(), v.to_vec())));
            prop_assert_eq!(whole, Ok(true));
            let want: [(&[u8], &[u8]); 3] =
                [(b":status", b"200"), (name.as_bytes(), &value), (b"content-type", b"application/grpc")];
            prop_assert_eq!(got.len(), 3);
            for ((n, v), (name, value)) in got.iter().zip(want) {
                prop_assert_eq!((&**n, &**v), (name, value));
            }
        }

        #[test]
        fn any_bytes_are_read_or_refused(blocks in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..100), 0..5)) {
            let mut decoder = Decoder::default();
            for block in blocks {
                let _ = read(&mut decoder, &block);
                prop_assert!(decoder.bytes <= TABLE_BYTES_MAX);
                prop_assert_eq!(decoder.bytes, decoder.entries.iter().map(Entry::bytes).sum::<usize>());
            }
        }
    }
}
