//! A command: one request or response, whichever way its header was written.

mod binary;
mod json;
mod scan;

use crate::codes::ResponseCode;
use crate::fields::Fields;
use crate::frame::{FRAME_BYTES_MAX, FrameError, HEADER_BYTES_MAX};
use crate::header::{Header, HeaderError};
use crate::language::Language;
use bytes::{Bytes, BytesMut};

/// How a header is written: the first byte of the frame's header mark. A request is answered in kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[repr(u8)]
pub enum Encoding {
    /// A JSON object with string fields: what nearly all clients send.
    #[default]
    Json = 0,
    /// Apache's `RocketMQSerializable`: code and version as signed 16 bits, fields as length-prefixed strings.
    Rocketmq = 1,
}

impl Encoding {
    pub(crate) fn from_byte(byte: u8) -> Option<Self> {
        match byte {
            0 => Some(Self::Json),
            1 => Some(Self::Rocketmq),
            _ => None,
        }
    }
}

/// Bit 0 of `flag`: this is a response.
const FLAG_RESPONSE: i32 = 1;
/// Bit 1 of `flag`: no response is wanted.
const FLAG_ONEWAY: i32 = 2;

/// The `version` that Kerolox states: the ordinal of `V5_5_0` in Apache's `MQVersion`. Clients compare it
/// (for example to see whether a broker can filter by SQL92).
pub const VERSION: i32 = 513;

/// One request or response.
#[derive(Debug, Clone, PartialEq)]
pub struct Command {
    /// A request code, or in a response a response code. In the binary encoding only its low 16 bits travel.
    pub code: i32,
    pub language: Language,
    /// Ordinal of the peer's version in Apache's `MQVersion`.
    pub version: i32,
    /// Chosen by the requester, repeated in the response.
    pub opaque: i32,
    pub flag: i32,
    /// Text for people: in a response that failed, why.
    pub remark: Option<String>,
    pub fields: Fields,
    pub encoding: Encoding,
    pub body: Bytes,
}

impl Command {
    /// A request with no fields and no body; the sender sets `opaque`.
    pub fn request(code: impl Into<i32>) -> Self {
        Self {
            code: code.into(),
            language: Language::JAVA,
            version: VERSION,
            opaque: 0,
            flag: 0,
            remark: None,
            fields: Fields::new(),
            encoding: Encoding::Json,
            body: Bytes::new(),
        }
    }

    /// What is needed of a request to answer it later, in little memory: no fields, no body.
    pub fn bare(&self) -> Self {
        Self { remark: None, fields: Fields::new(), body: Bytes::new(), ..*self }
    }

    /// A response to `self`, in the same encoding.
    pub fn respond(&self, code: impl Into<i32>) -> Self {
        Self { opaque: self.opaque, flag: FLAG_RESPONSE, encoding: self.encoding, ..Self::request(code) }
    }

    /// A response to `self` that says why something was not done.
    pub fn refuse(&self, code: impl Into<i32>, remark: impl Into<String>) -> Self {
        self.respond(code).with_remark(remark)
    }

    /// The same response, unless it would be longer than a frame that clients take (they close the connection): then why it
    /// is not sent.
    #[must_use]
    pub fn within_frame(self) -> Self {
        let (bytes, max) = (self.body.len(), FRAME_BYTES_MAX - HEADER_BYTES_MAX);
        if bytes <= max {
            return self;
        }
        let remark =
            format!("the answer has {bytes} bytes, more than the {max} of a frame: ask for it in parts");
        self.refuse_instead(ResponseCode::SYSTEM_ERROR, remark)
    }

    /// The same response with another outcome: why something was not done after all.
    #[must_use]
    pub fn refuse_instead(self, code: impl Into<i32>, remark: impl Into<String>) -> Self {
        Self {
            code: code.into(),
            remark: Some(remark.into()),
            fields: Fields::new(),
            body: Bytes::new(),
            ..self
        }
    }

    #[must_use]
    pub fn with_remark(mut self, remark: impl Into<String>) -> Self {
        self.remark = Some(remark.into());
        self
    }

    #[must_use]
    pub fn with_body(mut self, body: impl Into<Bytes>) -> Self {
        self.body = body.into();
        self
    }

    /// Adds the fields of a typed header.
    #[must_use]
    pub fn with_header<'a>(mut self, header: &impl Header<'a>) -> Self {
        header.encode(&mut self.fields);
        self
    }

    /// Reads the fields as a typed header.
    ///
    /// # Errors
    /// A required field is missing or a value is not of its type; the error names it.
    pub fn header<'a, H: Header<'a>>(&'a self) -> Result<H, HeaderError> {
        H::decode(&self.fields)
    }

    pub fn is_response(&self) -> bool {
        self.flag & FLAG_RESPONSE != 0
    }

    pub fn is_oneway(&self) -> bool {
        self.flag & FLAG_ONEWAY != 0
    }

    #[must_use]
    pub fn oneway(mut self) -> Self {
        self.flag |= FLAG_ONEWAY;
        self
    }

    pub(crate) fn decode_header(encoding: Encoding, header: &[u8], body: Bytes) -> Result<Self, FrameError> {
        match encoding {
            Encoding::Json => match scan::decode(header, &body) {
                Some(command) => Ok(command),
                None => json::decode(header, body),
            },
            Encoding::Rocketmq => binary::decode(header, body),
        }
        .map_err(|why| FrameError::BadHeader(encoding, why))
    }

    pub(crate) fn encode_header(&self, out: &mut BytesMut) {
        match self.encoding {
            Encoding::Json => json::encode(self, out),
            Encoding::Rocketmq => binary::encode(self, out),
        }
    }
}
