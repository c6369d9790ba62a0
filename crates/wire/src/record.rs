//! Message records: how a message lies in the CommitLog, and how it comes out of a pull.
//!
//! ```text
//! total i32 | magic u32 | body crc i32 | queue i32 | flag i32 | queue offset i64 | position i64 | sys flag i32 |
//! born ms i64 | born host | store ms i64 | store host | reconsume times i32 | prepared transaction offset i64 |
//! body: length i32 · bytes | topic: length u8 (magic V1) or i16 (V2) · bytes | properties: length i16 · bytes
//! ```
//! Big-endian. A host is `address · port i32`, 8 bytes, or 20 where the bit for it in `sys flag` says IPv6. Both checksums are
//! CRC-32 (IEEE) without its highest bit. Every record that Kerolox writes ends with the 20-byte property
//! `__CRC32# \x01 dddddddddd \x02`: ten decimal digits, the least significant first, of the checksum of everything before it.
//!
//! Source: Apache's `MessageExtEncoder`, `MessageDecoder` and `CommitLog.checkMessageAndReturnSize`.

pub mod batch;
mod view;

pub use view::{RecordView, split, strip_crc};

use crate::properties::{NAME_VALUE_SEPARATOR, PROPERTY_SEPARATOR};
use crate::sys_flag;
use bytes::{BufMut, BytesMut};
use std::net::{IpAddr, SocketAddr};

/// Magic of a record whose topic length is one byte.
pub const MAGIC_V1: u32 = 0xDAA3_20A7;
/// Magic of a record whose topic length is two bytes: for topics longer than 127 bytes.
pub const MAGIC_V2: u32 = 0xDAA3_20AB;
/// Magic of the filler at the end of a segment: `total` is all that is left of it, only the first 8 bytes have a meaning.
pub const MAGIC_BLANK: u32 = 0xCBD4_3194;

/// Length of the checksum property that ends a record.
pub const CRC_PROPERTY_BYTES: usize = 20;
/// Length of a filler's head, and so the least that may be left behind the last record of a segment.
pub const BLANK_BYTES_MIN: usize = 8;
/// Length of the shortest possible record: IPv4, nothing in it.
pub const RECORD_BYTES_MIN: usize = 91;
/// Longest properties that [`NewRecord`] takes: with a separator and the checksum they must fit a signed 16-bit length.
pub const PROPERTIES_BYTES_MAX: usize = i16::MAX as usize - CRC_PROPERTY_BYTES - 1;
/// Longest topic of a V1 record.
pub const TOPIC_BYTES_V1_MAX: usize = 127;

/// Where the fields before the first host lie.
pub const QUEUE_OFFSET_AT: usize = 20;
pub const POSITION_AT: usize = 28;
pub const SYS_FLAG_AT: usize = 36;

/// Why bytes are not a record, or a record cannot be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    #[error("record ends at byte {0}, inside its {1}")]
    Short(usize, &'static str),
    #[error("magic {0:#010x} is not a record's")]
    Magic(u32),
    #[error("{0} is {1}")]
    Negative(&'static str, i32),
    #[error("record says it is {said} bytes long, its parts are {parts}")]
    Length { said: usize, parts: usize },
    #[error("port {0}")]
    Port(i32),
    #[error("topic is not UTF-8")]
    Topic,
    #[error("body checksum is {found:#x}, record says {said:#x}")]
    BodyCrc { said: u32, found: u32 },
    #[error("record checksum does not match")]
    RecordCrc,
    #[error("record carries no checksum")]
    NoCrc,
    #[error("record says it lies at {said}, found at {found}")]
    Position { said: u64, found: u64 },
    #[error("{what} of {bytes} bytes exceeds the limit of {max}")]
    TooLong { what: &'static str, bytes: usize, max: usize },
}

/// The first 8 bytes: how long a record claims to be, and what it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RecordHead {
    /// Not checked against anything.
    pub total: u32,
    pub magic: u32,
}

impl RecordHead {
    /// `None` if there are fewer than 8 bytes.
    pub fn peek(prefix: &[u8]) -> Option<Self> {
        let (total, rest) = prefix.split_first_chunk()?;
        let magic = rest.first_chunk()?;
        Some(Self { total: u32::from_be_bytes(*total), magic: u32::from_be_bytes(*magic) })
    }

    pub const fn is_record(self) -> bool {
        matches!(self.magic, MAGIC_V1 | MAGIC_V2)
    }

    pub const fn is_blank(self) -> bool {
        self.magic == MAGIC_BLANK
    }
}

/// The checksum of both kinds.
pub fn crc(bytes: &[u8]) -> u32 {
    crc32fast::hash(bytes) & 0x7fff_ffff
}

/// The property that carries `crc`.
pub(crate) fn crc_property(mut crc: u32) -> [u8; CRC_PROPERTY_BYTES] {
    let mut property = *b"__CRC32#\x010000000000\x02";
    for digit in property.iter_mut().skip(9).take(10) {
        *digit = b'0' + (crc % 10) as u8;
        crc /= 10;
    }
    property
}

/// Appends the 8 bytes that fill a segment of which `left` bytes are left.
pub fn encode_blank(left: u32, out: &mut BytesMut) {
    out.put_u32(left);
    out.put_u32(MAGIC_BLANK);
}

/// A message to be written. The IPv6 bits of `sys_flag` need not be right: they follow the addresses.
#[derive(Debug, Clone, Copy)]
pub struct NewRecord<'a> {
    pub topic: &'a str,
    pub queue_id: u32,
    pub flag: i32,
    pub sys_flag: i32,
    pub queue_offset: u64,
    pub position: u64,
    pub born_ms: i64,
    pub born_host: SocketAddr,
    pub store_ms: i64,
    pub store_host: SocketAddr,
    pub reconsume_times: i32,
    pub prepared_transaction_offset: i64,
    pub body: &'a [u8],
    /// Encoded properties without a checksum property; see [`crate::properties`].
    pub properties: &'a [u8],
}

impl NewRecord<'_> {
    /// Exactly how many bytes [`Self::encode`] appends.
    pub fn encoded_len(&self) -> usize {
        let host = |host: SocketAddr| if host.ip().to_canonical().is_ipv4() { 8 } else { 20 };
        RECORD_BYTES_MIN - 16
            + host(self.born_host)
            + host(self.store_host)
            + self.body.len()
            + usize::from(self.is_v2())
            + self.topic.len()
            + self.properties_len()
    }

    /// Appends the record, checksums and all.
    ///
    /// # Errors
    /// [`RecordError::TooLong`] if topic, body or properties do not fit their length fields; nothing is appended.
    pub fn encode(&self, out: &mut BytesMut) -> Result<(), RecordError> {
        let limit = |what, bytes: usize, max: usize| {
            if bytes > max { Err(RecordError::TooLong { what, bytes, max }) } else { Ok(()) }
        };
        limit("topic", self.topic.len(), i16::MAX as usize)?;
        limit("body", self.body.len(), i32::MAX as usize - 256 * 1024)?;
        limit("properties", self.properties.len(), PROPERTIES_BYTES_MAX)?;
        let (total, start) = (self.encoded_len(), out.len());
        let (born, store) = (self.born_host.ip().to_canonical(), self.store_host.ip().to_canonical());
        let v6 = |ip: IpAddr, bit: i32| if ip.is_ipv6() { bit } else { 0 };
        let sys_flag = (self.sys_flag & !(sys_flag::BORN_HOST_V6 | sys_flag::STORE_HOST_V6))
            | v6(born, sys_flag::BORN_HOST_V6)
            | v6(store, sys_flag::STORE_HOST_V6);
        out.reserve(total);
        out.put_u32(total as u32);
        out.put_u32(if self.is_v2() { MAGIC_V2 } else { MAGIC_V1 });
        out.put_u32(crc(self.body));
        out.put_u32(self.queue_id);
        out.put_i32(self.flag);
        out.put_u64(self.queue_offset);
        out.put_u64(self.position);
        out.put_i32(sys_flag);
        out.put_i64(self.born_ms);
        put_host(born, self.born_host.port(), out);
        out.put_i64(self.store_ms);
        put_host(store, self.store_host.port(), out);
        out.put_i32(self.reconsume_times);
        out.put_i64(self.prepared_transaction_offset);
        out.put_u32(self.body.len() as u32);
        out.put_slice(self.body);
        if self.is_v2() {
            out.put_u16(self.topic.len() as u16);
        } else {
            out.put_u8(self.topic.len() as u8);
        }
        out.put_slice(self.topic.as_bytes());
        out.put_u16(self.properties_len() as u16);
        out.put_slice(self.properties);
        if self.separator_missing() {
            out.put_u8(PROPERTY_SEPARATOR);
        }
        let crc = crc(out.get(start..).unwrap_or_default());
        out.put_slice(&crc_property(crc));
        debug_assert_eq!(out.len() - start, total);
        Ok(())
    }

    fn is_v2(&self) -> bool {
        self.topic.len() > TOPIC_BYTES_V1_MAX
    }

    fn separator_missing(&self) -> bool {
        self.properties.last().is_some_and(|b| *b != PROPERTY_SEPARATOR)
    }

    fn properties_len(&self) -> usize {
        self.properties.len() + usize::from(self.separator_missing()) + CRC_PROPERTY_BYTES
    }
}

fn put_host(ip: IpAddr, port: u16, out: &mut BytesMut) {
    match ip {
        IpAddr::V4(ip) => out.put_slice(&ip.octets()),
        IpAddr::V6(ip) => out.put_slice(&ip.octets()),
    }
    out.put_u32(u32::from(port));
}

/// Whether encoded properties end with a checksum property; the rest of them if so.
fn split_crc_property(properties: &[u8]) -> Option<(&[u8], &[u8; CRC_PROPERTY_BYTES])> {
    let (rest, property) = properties.split_last_chunk::<CRC_PROPERTY_BYTES>()?;
    let named = property.starts_with(b"__CRC32#\x01") && property.ends_with(&[PROPERTY_SEPARATOR]);
    let own = rest.last().is_none_or(|b| *b == PROPERTY_SEPARATOR);
    debug_assert_eq!(crc_property(0).get(8), Some(&NAME_VALUE_SEPARATOR));
    (named && own).then_some((rest, property))
}

#[cfg(test)]
mod tests;
