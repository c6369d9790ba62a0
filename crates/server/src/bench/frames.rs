//! Frames of send requests that are built once and patched, and answers that are only glanced at.

use anyhow::{Context, Result, ensure};
use bytes::BytesMut;
use kerolox_wire::header::SendMessage;
use kerolox_wire::record::batch::{self, BatchMessage};
use kerolox_wire::{Command, Encoding, RequestCode, frame};

/// Opaques have ten digits, so that they can be patched into JSON: this plus a number below [`SLOTS_MAX`].
pub(super) const OPAQUE_BASE: i32 = 1_000_000_000;
pub(super) const SLOTS_MAX: i32 = 1_000_000_000;
/// Leads the body of a message that carries the time at which it was to be sent, in ns since 1970, behind it.
pub(super) const STAMP: &[u8; 8] = b"KLXSTAMP";
pub(super) const STAMP_BYTES: usize = 16;

/// A stand-in for the unique id that clients give each message: 32 hex digits of which the last 16 are patched.
const ID: &str = "4B4C580000000000FEDCBA9876543210";

/// One send request, to be patched.
pub(super) struct Template {
    bytes: Vec<u8>,
    opaque: Place,
    ids: Vec<usize>,
    stamps: Vec<usize>,
    /// Where the topic's number is.
    number: usize,
    /// Where the time is at which it is to be delivered.
    due: Option<usize>,
    keys: Option<u64>,
}

/// What is different in each request.
#[derive(Debug, Clone, Copy)]
pub(super) struct Patch {
    /// The topic's number, if topics are numbered.
    pub(super) topic: Option<u32>,
    pub(super) opaque: i32,
    /// The unique id, of the first message of a batch.
    pub(super) serial: u64,
    /// What the bodies say.
    pub(super) stamp_ns: u64,
    /// When a timer message is due.
    pub(super) due_ms: u64,
}

/// Stands where that goes.
const DUE: &str = "1000000000000";

enum Place {
    Digits(usize),
    Binary(usize),
}

/// The name of a topic that is one of several.
pub(super) fn numbered(topic: &str, number: u32) -> String {
    format!("{topic}-{number:06}")
}

/// Digits of that number.
const NUMBER_DIGITS: usize = 6;

pub(super) struct Shape<'a> {
    /// The first of them, if there are several.
    pub(super) topic: &'a str,
    pub(super) queue_id: u32,
    pub(super) size: usize,
    pub(super) batch: u32,
    pub(super) encoding: Encoding,
    pub(super) born_ms: i64,
    /// Timer messages.
    pub(super) timed: bool,
    /// How many keys the messages have in turn; each its own, otherwise.
    pub(super) keys: Option<u64>,
}

impl Template {
    pub(super) fn new(shape: &Shape<'_>) -> Result<Self> {
        let timer = if shape.timed { format!("TIMER_DELIVER_MS\u{1}{DUE}\u{2}") } else { String::new() };
        let properties =
            format!("KEYS\u{1}k{ID}\u{2}UNIQ_KEY\u{1}{ID}\u{2}WAIT\u{1}true\u{2}{timer}TAGS\u{1}TagA\u{2}");
        let mut body = vec![b'x'; shape.size];
        if let Some(head) = body.first_chunk_mut::<8>().filter(|_| shape.size >= STAMP_BYTES) {
            *head = *STAMP;
        }
        let header = SendMessage {
            producer_group: "kerolox-bench",
            topic: shape.topic,
            default_topic: "TBW102",
            default_topic_queue_nums: 4,
            queue_id: shape.queue_id as i32,
            born_timestamp: shape.born_ms,
            properties: (shape.batch == 1).then_some(properties.as_str()),
            reconsume_times: Some(0),
            unit_mode: Some(false),
            batch: Some(shape.batch > 1),
            ..SendMessage::default()
        };
        let (code, body) = if shape.batch == 1 {
            (RequestCode::SEND_MESSAGE_V2, body)
        } else {
            let mut all = BytesMut::new();
            for _ in 0..shape.batch {
                batch::encode(
                    &BatchMessage { flag: 0, body: &body, properties: properties.as_bytes() },
                    &mut all,
                );
            }
            (RequestCode::SEND_BATCH_MESSAGE, all.to_vec())
        };
        let mut command = Command::request(code).with_body(body);
        header.encode_v2(&mut command.fields);
        command.encoding = shape.encoding;
        command.opaque = OPAQUE_BASE;
        let bytes = frame::to_bytes(&command).to_vec();
        let opaque = match shape.encoding {
            Encoding::Json => {
                Place::Digits(find(&bytes, b"\"opaque\":").next().context("no opaque in the frame")? + 9)
            }
            // Behind length, mark, code, language and version.
            Encoding::Rocketmq => Place::Binary(4 + 4 + 2 + 1 + 2),
        };
        let ids = find(&bytes, ID.as_bytes()).map(|at| at + 16).collect();
        let stamps = find(&bytes, STAMP).map(|at| at + STAMP.len()).collect();
        let topic = find(&bytes, shape.topic.as_bytes()).next().context("no topic in the frame")?;
        let number = (topic + shape.topic.len()).saturating_sub(NUMBER_DIGITS);
        let due = if shape.timed { find(&bytes, DUE.as_bytes()).next() } else { None };
        let template = Self { bytes, opaque, ids, stamps, number, due, keys: shape.keys };
        template.check(shape)?;
        Ok(template)
    }

    /// That a patched frame means what it should.
    fn check(&self, shape: &Shape<'_>) -> Result<()> {
        let mut out = BytesMut::new();
        let opaque = OPAQUE_BASE + 123_456_789;
        self.write(Patch { topic: None, opaque, serial: 42, stamp_ns: 43, due_ms: 44 }, &mut out);
        let command = frame::decode(&mut out, usize::MAX)?.context("the frame is not whole")?;
        ensure!(command.opaque == opaque && command.encoding == shape.encoding, "opaque");
        let header: SendMessage<'_> = command.header()?;
        ensure!(header.topic == shape.topic && header.queue_id == shape.queue_id as i32, "header");
        Ok(())
    }

    pub(super) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Appends the frame with what is different in it.
    pub(super) fn write(&self, patch: Patch, out: &mut BytesMut) {
        let Patch { topic, opaque, serial, stamp_ns, due_ms } = patch;
        let start = out.len();
        out.extend_from_slice(&self.bytes);
        let Some(frame) = out.get_mut(start..) else { return };
        match self.opaque {
            Place::Digits(at) => put_digits::<10>(frame, at, opaque.unsigned_abs().into()),
            Place::Binary(at) => put(frame, at, opaque.to_be_bytes()),
        }
        if let Some(topic) = topic {
            put_digits::<NUMBER_DIGITS>(frame, self.number, topic.into());
        }
        if let Some(at) = self.due {
            put_digits::<{ DUE.len() }>(frame, at, due_ms);
        }
        for (i, at) in self.ids.iter().enumerate() {
            let id = serial + i as u64 / 2;
            // The key comes first.
            let keys = self.keys.filter(|_| i.is_multiple_of(2));
            put(frame, *at, hex(keys.map_or(id, |keys| id % keys)));
        }
        for at in &self.stamps {
            put(frame, *at, stamp_ns.to_be_bytes());
        }
    }
}

fn put<const N: usize>(frame: &mut [u8], at: usize, value: [u8; N]) {
    if let Some(place) = frame.get_mut(at..).and_then(|rest| rest.first_chunk_mut()) {
        *place = value;
    }
}

fn put_digits<const N: usize>(frame: &mut [u8], at: usize, mut value: u64) {
    let mut digits = [b'0'; N];
    for digit in digits.iter_mut().rev() {
        *digit += (value % 10) as u8;
        value /= 10;
    }
    put(frame, at, digits);
}

fn hex(value: u64) -> [u8; 16] {
    let mut shift = 64;
    [(); 16].map(|()| {
        shift -= 4;
        let nibble = (value >> shift) as u8 & 15;
        nibble + if nibble < 10 { b'0' } else { b'A' - 10 }
    })
}

fn find<'a>(within: &'a [u8], what: &'a [u8]) -> impl Iterator<Item = usize> + 'a {
    within.windows(what.len()).enumerate().filter(move |(_, w)| *w == what).map(|(i, _)| i)
}

/// What matters of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Glance {
    /// Bytes of the whole frame.
    pub(super) len: usize,
    pub(super) code: i32,
    pub(super) opaque: i32,
    pub(super) is_response: bool,
    /// Where the body starts.
    pub(super) body: usize,
}

/// Looks at the frame at the start of `bytes`, if it is all there.
pub(super) fn glance(bytes: &[u8]) -> Result<Option<Glance>> {
    let Some(head) = bytes.first_chunk::<8>() else { return Ok(None) };
    let [a, b, c, d, encoding, e, f, g] = *head;
    let len = 4 + u32::from_be_bytes([a, b, c, d]) as usize;
    let header_len = u32::from_be_bytes([0, e, f, g]) as usize;
    let Some(frame) = bytes.get(..len) else { return Ok(None) };
    let header = frame.get(8..8 + header_len).context("an answer's header does not fit its frame")?;
    let (code, opaque, flag) = match encoding {
        0 => glance_json(header).context("an answer's header is not the JSON that was expected")?,
        _ => glance_binary(header).context("an answer's header is too short")?,
    };
    Ok(Some(Glance { len, code, opaque, is_response: flag & 1 != 0, body: 8 + header_len }))
}

fn glance_binary(header: &[u8]) -> Option<(i32, i32, i32)> {
    let (code, rest) = header.split_first_chunk::<2>()?;
    let (opaque, rest) = rest.get(3..)?.split_first_chunk::<4>()?;
    let flag = rest.first_chunk::<4>()?;
    Some((i16::from_be_bytes(*code).into(), i32::from_be_bytes(*opaque), i32::from_be_bytes(*flag)))
}

/// Servers write the fields in alphabetical order, and so `code` first and `flag` and `opaque` near the end. Where that is not
/// so the search is longer, not wrong: field values that look alike are strings, in which a quote would be escaped.
fn glance_json(header: &[u8]) -> Option<(i32, i32, i32)> {
    let forward = |name: &[u8]| header.windows(name.len()).position(|w| w == name).map(|at| at + name.len());
    let backward =
        |name: &[u8]| header.windows(name.len()).rposition(|w| w == name).map(|at| at + name.len());
    let number = |at: usize| {
        let digits = header.get(at..)?;
        let (negative, digits) = digits.strip_prefix(b"-").map_or((false, digits), |rest| (true, rest));
        let value =
            digits.iter().take_while(|b| b.is_ascii_digit()).fold(0i64, |v, b| v * 10 + i64::from(b - b'0'));
        i32::try_from(if negative { -value } else { value }).ok()
    };
    Some((
        number(forward(b"\"code\":")?)?,
        number(backward(b"\"opaque\":")?)?,
        number(backward(b"\"flag\":")?)?,
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use kerolox_wire::properties::Properties;

    fn shape(encoding: Encoding, batch: u32) -> Shape<'static> {
        let born_ms = 1_700_000_000_000;
        Shape { topic: "T", queue_id: 3, size: 100, batch, encoding, born_ms, timed: false, keys: None }
    }

    fn patch(opaque: i32, serial: u64) -> Patch {
        Patch { topic: None, opaque, serial, stamp_ns: 99, due_ms: 1_800_000_000_123 }
    }

    #[test]
    fn a_patched_frame_is_a_send_request() {
        for encoding in [Encoding::Json, Encoding::Rocketmq] {
            let template = Template::new(&shape(encoding, 1)).unwrap();
            let mut out = BytesMut::new();
            template.write(patch(OPAQUE_BASE + 7, 0xABCDEF), &mut out);
            assert_eq!(out.len(), template.len());
            let command = frame::decode(&mut out, 1 << 20).unwrap().unwrap();
            assert_eq!((command.code, command.opaque), (310, OPAQUE_BASE + 7));
            let header: SendMessage<'_> = command.header().unwrap();
            let properties = Properties(header.properties.unwrap().as_bytes());
            assert_eq!(properties.get("UNIQ_KEY"), Some("4B4C5800000000000000000000ABCDEF"));
            assert_eq!(properties.get("KEYS"), Some("k4B4C5800000000000000000000ABCDEF"));
            assert_eq!(command.body[..16], [&STAMP[..], &99u64.to_be_bytes()].concat());
        }
    }

    #[test]
    fn a_timer_message_says_when_it_is_due() {
        let template = Template::new(&Shape { timed: true, ..shape(Encoding::Json, 1) }).unwrap();
        let mut out = BytesMut::new();
        template.write(patch(OPAQUE_BASE, 1), &mut out);
        let command = frame::decode(&mut out, 1 << 20).unwrap().unwrap();
        let header: SendMessage<'_> = command.header().unwrap();
        let properties = Properties(header.properties.unwrap().as_bytes());
        assert_eq!(properties.get("TIMER_DELIVER_MS"), Some("1800000000123"));
    }

    #[test]
    fn keys_come_in_turn_and_ids_do_not() {
        let template = Template::new(&Shape { keys: Some(7), ..shape(Encoding::Json, 1) }).unwrap();
        let mut out = BytesMut::new();
        template.write(patch(OPAQUE_BASE, 16), &mut out);
        let command = frame::decode(&mut out, 1 << 20).unwrap().unwrap();
        let header: SendMessage<'_> = command.header().unwrap();
        let properties = Properties(header.properties.unwrap().as_bytes());
        assert!(properties.get("KEYS").unwrap().ends_with("0002"));
        assert!(properties.get("UNIQ_KEY").unwrap().ends_with("0010"));
    }

    #[test]
    fn topics_of_any_number_are_written() {
        for encoding in [Encoding::Json, Encoding::Rocketmq] {
            let first = numbered("many", 0);
            let template = Template::new(&Shape { topic: &first, ..shape(encoding, 1) }).unwrap();
            let mut out = BytesMut::new();
            template.write(Patch { topic: Some(98_765), ..patch(OPAQUE_BASE, 1) }, &mut out);
            let command = frame::decode(&mut out, 1 << 20).unwrap().unwrap();
            assert_eq!(command.header::<SendMessage<'_>>().unwrap().topic, numbered("many", 98_765));
        }
    }

    #[test]
    fn messages_of_a_batch_have_ids_of_their_own() {
        let template = Template::new(&shape(Encoding::Json, 3)).unwrap();
        let mut out = BytesMut::new();
        template.write(patch(OPAQUE_BASE, 10), &mut out);
        let command = frame::decode(&mut out, 1 << 20).unwrap().unwrap();
        assert_eq!(command.code, 320);
        let ids: Vec<_> = batch::messages(&command.body)
            .map(|m| Properties(m.unwrap().properties).get("UNIQ_KEY").unwrap()[28..].to_owned())
            .collect();
        assert_eq!(ids, ["000A", "000B", "000C"]);
    }

    #[test]
    fn glances_see_what_decoding_sees() {
        for encoding in [Encoding::Json, Encoding::Rocketmq] {
            let mut request = Command::request(RequestCode::SEND_MESSAGE_V2);
            request.encoding = encoding;
            request.opaque = 77;
            let mut answer = request.refuse(2, "busy \"opaque\":5,\"code\":6").with_body("body");
            answer.fields.push("msgId", "\"opaque\":1");
            let bytes = frame::to_bytes(&answer);
            for cut in 0..bytes.len() {
                assert_eq!(glance(&bytes[..cut]).unwrap(), None);
            }
            let seen = glance(&bytes).unwrap().unwrap();
            assert_eq!((seen.len, seen.code, seen.opaque, seen.is_response), (bytes.len(), 2, 77, true));
            assert_eq!(bytes[seen.body..seen.len], b"body"[..]);
        }
    }
}
