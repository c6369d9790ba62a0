//! Receipt handles: the broker's receipt of a popped message, and behind it the message's position in the log. Nothing else has to
//! be known of a message to acknowledge it, so a handle outlives the face that gave it. Source: Apache's `ReceiptHandle`.

use crate::status::{Refusal, Result};
use crate::v2::Code;
use kerolox_wire::receipt::Receipt;
use std::fmt;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Handle<'a> {
    /// With its offset.
    pub(crate) receipt: Receipt<'a>,
    pub(crate) offset: i64,
    /// -1: not known.
    pub(crate) position: i64,
    /// The receipt's own text.
    pub(crate) text: &'a str,
}

impl<'a> Handle<'a> {
    pub(crate) fn parse(text: &'a str) -> Result<Self> {
        let invalid = || {
            Refusal::new(Code::InvalidReceiptHandle, "the receipt handle is not one of a received message")
        };
        let fields = text.split(' ').count();
        let (own, position) = match fields {
            8 => (text, -1),
            9 => {
                let (own, position) = text.rsplit_once(' ').ok_or_else(invalid)?;
                (own, position.parse().map_err(|_| invalid())?)
            }
            _ => return Err(invalid()),
        };
        let receipt = Receipt::parse(own).ok_or_else(invalid)?;
        let offset = receipt.offset.ok_or_else(invalid)?;
        Ok(Self { receipt, offset, position, text: own })
    }

    /// When the message may be delivered again.
    pub(crate) fn visible_ms(&self) -> i64 {
        self.receipt.pop_ms.saturating_add(self.receipt.invisible_ms)
    }

    pub(crate) fn check_current(&self, now_ms: i64) -> Result<()> {
        match self.visible_ms() > now_ms {
            true => Ok(()),
            false => Err(Refusal::new(Code::InvalidReceiptHandle, "receipt handle is expired")),
        }
    }

    /// The topic that the message really lies in.
    pub(crate) fn topic(&self, topic: &str, group: &str) -> String {
        self.receipt.kind.topic(topic, group)
    }
}

impl fmt::Display for Handle<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.receipt, self.position)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn handles_are_read_as_they_are_written() {
        let text = "5 1700000000000 60000 3 0 broker-a 2 7 4096";
        let handle = Handle::parse(text).unwrap();
        assert_eq!((handle.to_string().as_str(), handle.offset, handle.position), (text, 7, 4_096));
        assert_eq!(handle.text, "5 1700000000000 60000 3 0 broker-a 2 7");
        assert_eq!(Handle::parse(handle.text).unwrap().position, -1);
        assert!(handle.check_current(1_700_000_059_999).is_ok());
        assert_eq!(handle.check_current(1_700_000_060_000).unwrap_err().code, Code::InvalidReceiptHandle);
        for bad in ["", "x", "5 1 2 3 0 b 2", "5 1 2 3 0 b 2 7 x", "5 1 2 3 0 b 2 7 8 9", "5 1 2 3 9 b 2 7 8"]
        {
            assert_eq!(Handle::parse(bad).unwrap_err().code, Code::InvalidReceiptHandle, "{bad}");
        }
    }
}
