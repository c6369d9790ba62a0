//! Reading records where they lie.

use super::{
    CRC_PROPERTY_BYTES, MAGIC_V1, MAGIC_V2, NewRecord, RecordError, RecordHead, crc, crc_property,
    split_crc_property,
};
use crate::message_id::MessageId;
use crate::properties::Properties;
use crate::sys_flag;
use bytes::{Buf, BytesMut};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// Up to this length, the checksum of the whole record tells of every single damaged byte. It lacks CRC-32's highest bit,
/// and so is blind to a change that would show in that bit alone; of all changes of one byte that is the case for one
/// value, 4,912,158 bytes before the end (then for none up to 8 MiB at least).
const CRC_ALONE_BYTES_MAX: usize = 4_912_158;

/// A record whose structure was found sound. Its checksums are looked at by [`RecordView::verify`] only.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RecordView<'a> {
    /// The whole record, and nothing else.
    bytes: &'a [u8],
    pub body_crc: u32,
    pub queue_id: u32,
    pub flag: i32,
    pub queue_offset: u64,
    /// Where the record says it lies.
    pub position: u64,
    pub sys_flag: i32,
    pub born_ms: i64,
    pub born_host: SocketAddr,
    pub store_ms: i64,
    pub store_host: SocketAddr,
    pub reconsume_times: i32,
    pub prepared_transaction_offset: i64,
    pub body: &'a [u8],
    pub topic: &'a str,
    /// Encoded, the checksum property included.
    pub raw_properties: &'a [u8],
}

/// The same message, to be written again.
impl<'a> From<&RecordView<'a>> for NewRecord<'a> {
    fn from(view: &RecordView<'a>) -> Self {
        Self {
            topic: view.topic,
            queue_id: view.queue_id,
            flag: view.flag,
            sys_flag: view.sys_flag,
            queue_offset: view.queue_offset,
            position: view.position,
            born_ms: view.born_ms,
            born_host: view.born_host,
            store_ms: view.store_ms,
            store_host: view.store_host,
            reconsume_times: view.reconsume_times,
            prepared_transaction_offset: view.prepared_transaction_offset,
            body: view.body,
            properties: view.properties().0,
        }
    }
}

impl<'a> RecordView<'a> {
    /// Reads the record at the start of `bytes`; more may follow it.
    ///
    /// # Errors
    /// The bytes are not a whole record: a length is negative, points beyond the record, or the parts do not add up.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, RecordError> {
        let head = RecordHead::peek(bytes).ok_or(RecordError::Short(bytes.len(), "head"))?;
        if !head.is_record() {
            return Err(RecordError::Magic(head.magic));
        }
        let total = head.total as usize;
        let bytes = bytes.get(..total).ok_or(RecordError::Short(bytes.len(), "announced length"))?;
        let mut rest = Rest { all: total, left: bytes };
        rest.take(8, "head")?;
        let body_crc = rest.u32("body checksum")?;
        let queue_id = rest.u32("queue id")?;
        let flag = rest.u32("flag")? as i32;
        let queue_offset = rest.u64("queue offset")?;
        let position = rest.u64("position")?;
        let sys_flag = rest.u32("system flag")? as i32;
        let born_ms = rest.u64("born time")? as i64;
        let born_host = rest.host(sys_flag & sys_flag::BORN_HOST_V6 != 0, "born host")?;
        let store_ms = rest.u64("store time")? as i64;
        let store_host = rest.host(sys_flag & sys_flag::STORE_HOST_V6 != 0, "store host")?;
        let reconsume_times = rest.u32("reconsume times")? as i32;
        let prepared_transaction_offset = rest.u64("prepared transaction offset")? as i64;
        let body_len = rest.u32("body length")? as i32;
        let body = rest.take_signed(body_len, "body")?;
        let topic_len = if head.magic == MAGIC_V2 {
            i32::from(rest.u16("topic length")? as i16)
        } else {
            debug_assert_eq!(head.magic, MAGIC_V1);
            i32::from(rest.u8("topic length")? as i8)
        };
        let topic = rest.take_signed(topic_len, "topic")?;
        let topic = std::str::from_utf8(topic).map_err(|_| RecordError::Topic)?;
        let properties_len = i32::from(rest.u16("properties length")? as i16);
        let raw_properties = rest.take_signed(properties_len, "properties")?;
        if !rest.left.is_empty() {
            return Err(RecordError::Length { said: total, parts: total - rest.left.len() });
        }
        Ok(Self {
            bytes,
            body_crc,
            queue_id,
            flag,
            queue_offset,
            position,
            sys_flag,
            born_ms,
            born_host,
            store_ms,
            store_host,
            reconsume_times,
            prepared_transaction_offset,
            body,
            topic,
            raw_properties,
        })
    }

    /// The whole record.
    pub fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// Length of the whole record.
    #[allow(clippy::len_without_is_empty)] // there is no empty record
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Properties without the checksum property.
    pub fn properties(&self) -> Properties<'a> {
        Properties(split_crc_property(self.raw_properties).map_or(self.raw_properties, |(rest, _)| rest))
    }

    /// Whether the record ends with a checksum over all of itself.
    pub fn has_crc(&self) -> bool {
        split_crc_property(self.raw_properties).is_some()
    }

    /// The message's offset in a queue that it belongs to: its own, or a further one (see
    /// [`crate::properties::further_queues`]).
    pub fn offset_in(&self, topic: &str, queue_id: u32) -> Option<u64> {
        if self.topic == topic {
            return (self.queue_id == queue_id).then_some(self.queue_offset);
        }
        if queue_id != 0 || !topic.starts_with(crate::names::LMQ_PREFIX) {
            return None;
        }
        let further = crate::properties::further_queues(self.topic, self.properties());
        further.into_iter().find(|(name, _)| *name == topic).map(|(_, offset)| offset)
    }

    /// The offset message id that clients know this record by.
    pub fn message_id(&self) -> MessageId {
        MessageId { host: self.store_host, position: self.position }
    }

    /// Checks that the record is what was written: the checksum over all of it if it carries one, else (and only
    /// without `crc_required`) the checksum over its body; and with `expect_position`, that it lies where it was put.
    ///
    /// # Errors
    /// What does not match.
    pub fn verify(&self, expect_position: Option<u64>, crc_required: bool) -> Result<(), RecordError> {
        match split_crc_property(self.raw_properties) {
            Some((_, property)) => {
                let covered =
                    self.bytes.split_last_chunk::<CRC_PROPERTY_BYTES>().map_or(self.bytes, |(c, _)| c);
                if crc_property(crc(covered)) != *property {
                    return Err(RecordError::RecordCrc);
                }
                if covered.len() > CRC_ALONE_BYTES_MAX {
                    self.verify_body()?;
                }
            }
            None if crc_required => return Err(RecordError::NoCrc),
            None => self.verify_body()?,
        }
        match expect_position {
            Some(found) if found != self.position => {
                Err(RecordError::Position { said: self.position, found })
            }
            _ => Ok(()),
        }
    }

    /// Checks the checksum over the body, whatever else is damaged.
    ///
    /// # Errors
    /// It does not match.
    pub fn verify_body(&self) -> Result<(), RecordError> {
        let found = crc(self.body);
        // Apache does not compute a checksum for an empty body everywhere.
        if found != self.body_crc && !self.body.is_empty() {
            return Err(RecordError::BodyCrc { said: self.body_crc, found });
        }
        Ok(())
    }

    /// Length of what [`Self::write_for_client`] appends.
    pub fn client_len(&self) -> usize {
        self.bytes.len() - if self.has_crc() { CRC_PROPERTY_BYTES } else { 0 }
    }

    /// Appends the record as clients shall see it: without the checksum property, lengths put right.
    pub fn write_for_client(&self, out: &mut BytesMut) {
        let Some((properties, _)) = split_crc_property(self.raw_properties) else {
            out.extend_from_slice(self.bytes);
            return;
        };
        let client_len = self.bytes.len() - CRC_PROPERTY_BYTES;
        let before = client_len - properties.len() - 2;
        out.reserve(client_len);
        out.extend_from_slice(&(client_len as u32).to_be_bytes());
        out.extend_from_slice(self.bytes.get(4..before).unwrap_or_default());
        out.extend_from_slice(&(properties.len() as u16).to_be_bytes());
        out.extend_from_slice(properties);
    }
}

/// Appends the one record in `record` as clients shall see it; see [`RecordView::write_for_client`].
///
/// # Errors
/// It is not a whole record.
pub fn strip_crc(record: &[u8], out: &mut BytesMut) -> Result<(), RecordError> {
    RecordView::parse(record).map(|view| view.write_for_client(out))
}

/// What is still to be read of a record.
struct Rest<'a> {
    all: usize,
    left: &'a [u8],
}

impl<'a> Rest<'a> {
    fn short(&self, what: &'static str) -> RecordError {
        RecordError::Short(self.all, what)
    }

    fn take(&mut self, len: usize, what: &'static str) -> Result<&'a [u8], RecordError> {
        let (part, left) = self.left.split_at_checked(len).ok_or_else(|| self.short(what))?;
        self.left = left;
        Ok(part)
    }

    /// A part whose length came from the record itself.
    fn take_signed(&mut self, len: i32, what: &'static str) -> Result<&'a [u8], RecordError> {
        self.take(usize::try_from(len).map_err(|_| RecordError::Negative(what, len))?, what)
    }

    fn u8(&mut self, what: &'static str) -> Result<u8, RecordError> {
        self.left.try_get_u8().map_err(|_| self.short(what))
    }

    fn u16(&mut self, what: &'static str) -> Result<u16, RecordError> {
        self.left.try_get_u16().map_err(|_| self.short(what))
    }

    fn u32(&mut self, what: &'static str) -> Result<u32, RecordError> {
        self.left.try_get_u32().map_err(|_| self.short(what))
    }

    fn u64(&mut self, what: &'static str) -> Result<u64, RecordError> {
        self.left.try_get_u64().map_err(|_| self.short(what))
    }

    fn host(&mut self, v6: bool, what: &'static str) -> Result<SocketAddr, RecordError> {
        let ip: IpAddr = if v6 {
            let octets: [u8; 16] = self.take(16, what)?.try_into().map_err(|_| self.short(what))?;
            Ipv6Addr::from(octets).into()
        } else {
            Ipv4Addr::from(self.u32(what)?).into()
        };
        let port = self.u32(what)? as i32;
        Ok(SocketAddr::new(ip, u16::try_from(port).map_err(|_| RecordError::Port(port))?))
    }
}

/// The records of a byte string that holds nothing else, as answers to pulls do. Ends after the first error.
pub fn split(mut bytes: &[u8]) -> impl Iterator<Item = Result<RecordView<'_>, RecordError>> {
    std::iter::from_fn(move || {
        if bytes.is_empty() {
            return None;
        }
        let record = RecordView::parse(bytes);
        bytes = record.as_ref().ok().and_then(|record| bytes.get(record.len()..)).unwrap_or_default();
        Some(record)
    })
}
