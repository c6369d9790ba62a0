//! The body of `SEND_BATCH_MESSAGE`: messages of one topic and queue, one behind the other, each
//! `total i32 | magic i32 | body crc i32 | flag i32 | body: length i32 · bytes | properties: length i16 · bytes`.
//!
//! As Apache, nobody looks at the first three: clients write the length into the first (Apache's own count by it) and
//! zeros into the others. Source: Apache's `MessageDecoder.encodeMessage` and `MessageExtEncoder.encode`.

use bytes::{Buf, BufMut, BytesMut};

/// Length of a message with neither body nor properties.
pub const BATCH_MESSAGE_BYTES_MIN: usize = 22;

/// One message of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchMessage<'a> {
    pub flag: i32,
    pub body: &'a [u8],
    /// Encoded; see [`crate::properties`].
    pub properties: &'a [u8],
}

/// A batch body does not hold what its lengths say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("message {index} of the batch: its {what} is not there")]
pub struct BatchError {
    /// Counted from 0.
    pub index: usize,
    pub what: &'static str,
}

/// The messages of a batch body. Ends after the first error. At most `body.len() / 22` items.
pub fn messages(body: &[u8]) -> BatchMessages<'_> {
    BatchMessages { left: body, index: 0 }
}

/// See [`messages`].
#[derive(Debug, Clone)]
pub struct BatchMessages<'a> {
    left: &'a [u8],
    index: usize,
}

impl<'a> BatchMessages<'a> {
    fn take_message(&mut self) -> Result<BatchMessage<'a>, &'static str> {
        let (_, left) = self.left.split_at_checked(12).ok_or("head")?;
        self.left = left;
        let flag = self.left.try_get_i32().map_err(|_| "flag")?;
        let body_len = self.left.try_get_i32().map_err(|_| "body length")?;
        let body = self.take_part(body_len).ok_or("body")?;
        let properties_len = self.left.try_get_i16().map_err(|_| "properties length")?;
        let properties = self.take_part(properties_len.into()).ok_or("properties")?;
        Ok(BatchMessage { flag, body, properties })
    }

    fn take_part(&mut self, len: i32) -> Option<&'a [u8]> {
        let (part, left) = self.left.split_at_checked(usize::try_from(len).ok()?)?;
        self.left = left;
        Some(part)
    }
}

impl<'a> Iterator for BatchMessages<'a> {
    type Item = Result<BatchMessage<'a>, BatchError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.left.is_empty() {
            return None;
        }
        let index = self.index;
        self.index += 1;
        let message = self.take_message();
        if message.is_err() {
            self.left = &[];
        }
        Some(message.map_err(|what| BatchError { index, what }))
    }
}

/// Appends a message to a batch body. The caller keeps body and properties within their limits
/// (i32 and i16: what [`crate::record::NewRecord::encode`] would refuse is not to be sent).
pub fn encode(message: &BatchMessage<'_>, out: &mut BytesMut) {
    debug_assert!(message.properties.len() <= i16::MAX as usize && message.body.len() <= i32::MAX as usize);
    out.put_u32((BATCH_MESSAGE_BYTES_MIN + message.body.len() + message.properties.len()) as u32);
    out.put_bytes(0, 8);
    out.put_i32(message.flag);
    out.put_u32(message.body.len() as u32);
    out.put_slice(message.body);
    out.put_u16(message.properties.len() as u16);
    out.put_slice(message.properties);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_and_back() {
        let all = [
            BatchMessage { flag: 7, body: b"one", properties: b"a\x01b\x02" },
            BatchMessage { flag: -1, body: b"", properties: b"" },
        ];
        let mut body = BytesMut::new();
        all.iter().for_each(|m| encode(m, &mut body));
        assert_eq!(body.len(), 22 + 7 + 22);
        assert_eq!(messages(&body).collect::<Result<Vec<_>, _>>().unwrap(), all);
        assert_eq!(messages(b"").count(), 0);
    }

    #[test]
    fn lying_lengths_end_the_batch() {
        let mut body = BytesMut::new();
        encode(&BatchMessage { flag: 0, body: b"one", properties: b"" }, &mut body);
        let first = body.clone();
        encode(&BatchMessage { flag: 0, body: b"two", properties: b"" }, &mut body);
        for (at, len, what) in [(16, 4, "body"), (23, 2, "properties")] {
            for high in [0x7f, 0xff] {
                let mut bad = body.clone();
                bad[first.len() + at..first.len() + at + len].fill(0xff);
                bad[first.len() + at] = high;
                let got: Vec<_> = messages(&bad).collect();
                assert_eq!(got.len(), 2, "{what}");
                assert_eq!(got[0].unwrap().body, b"one");
                assert_eq!(got[1], Err(BatchError { index: 1, what }), "at {at}");
            }
        }
        for cut in first.len() + 1..body.len() {
            assert!(messages(&body[..cut]).last().unwrap().is_err(), "cut at {cut}");
        }
    }
}
