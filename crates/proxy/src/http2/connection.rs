//! One connection: frames in, events and bytes out.

use super::frame::{self, Frame, PAYLOAD_BYTES_MAX, flag, kind};
use super::hpack::{self, Decoder, Scratch};
use super::stream::{PREFIX_BYTES, Stream, Unfit};
use super::write::{
    SETTINGS_HEADER_TABLE_SIZE, SETTINGS_INITIAL_WINDOW_SIZE, SUCCESS, give_back, go_away, greet, opening,
    percent_encoded, reset, write_block,
};
use bytes::{Buf, BufMut, Bytes, BytesMut};
use kerolox_wire::fields::Fields;
use prost::Message;
use std::collections::HashMap;

/// What one connection may do. The behaviour at each limit is tested in `tests/http2.rs`.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Calls at a time; one more is refused, and the client tries again.
    pub streams_max: u32,
    /// Calls that begin within a second; one more is refused.
    pub streams_per_s: u32,
    /// Calls within a second that the client takes back, above which the connection is closed ("rapid reset").
    pub resets_per_s: u32,
    /// Bytes of what a call says of itself (its headers); with more it is answered with status 431.
    pub header_bytes_max: usize,
    /// Bytes of a message of a call; a longer one is refused.
    pub message_bytes_max: usize,
    /// Seconds within which a message that was begun must be there, the first one of a call too, and within which a client must
    /// take something of what is for it.
    pub message_s_max: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            streams_max: 1_024,
            streams_per_s: 50_000,
            resets_per_s: 1_000,
            header_bytes_max: 16 << 10,
            message_bytes_max: 16 << 20,
            message_s_max: 30,
        }
    }
}

/// What the frames of a client mean.
#[derive(Debug, PartialEq)]
pub enum Event {
    /// A message of a call. With the first one comes what the call says of itself: its headers by their names in small letters,
    /// `:path` the call's name.
    Message { stream: u32, head: Option<Fields>, message: Bytes },
    /// The client sends no more messages. (Not said of a call whose answer is complete.)
    Ended { stream: u32 },
    /// The client takes a call back: nothing can be sent any more, and what was sent it may not have read, though it be the whole answer.
    Cancelled { stream: u32 },
}

/// Why a connection cannot go on. The client is told with [`Connection::fail`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{why} (HTTP/2 error {code})")]
pub struct Fault {
    code: u32,
    pub why: String,
}

/// Error codes, RFC 9113, section 7.
mod error {
    pub(super) const NO_ERROR: u32 = 0;
    pub(super) const PROTOCOL_ERROR: u32 = 1;
    pub(super) const FLOW_CONTROL_ERROR: u32 = 3;
    pub(super) const STREAM_CLOSED: u32 = 5;
    pub(super) const FRAME_SIZE_ERROR: u32 = 6;
    pub(super) const REFUSED_STREAM: u32 = 7;
    pub(super) const CANCEL: u32 = 8;
    pub(super) const COMPRESSION_ERROR: u32 = 9;
    pub(super) const ENHANCE_YOUR_CALM: u32 = 11;
}

/// gRPC's own status codes, of calls that never reach what answers them.
mod status {
    pub(super) const RESOURCE_EXHAUSTED: u32 = 8;
    pub(super) const UNIMPLEMENTED: u32 = 12;
    pub(super) const INTERNAL: u32 = 13;
}

/// What each side may send before it hears anything, and of a connection always at first.
pub(super) const WINDOW_FIRST: i64 = 65_535;
/// Our window of a stream, and of a connection: what is on the way must fit, or a call waits for us.
pub(super) const STREAM_WINDOW: usize = 1 << 20;
pub(super) const CONNECTION_WINDOW: usize = 4 << 20;
/// No window may be larger.
const WINDOW_MAX: i64 = (1 << 31) - 1;
/// Bytes of a text that ends a call; what clients said may be in it, and it must fit into a frame however it is encoded.
const WHY_BYTES_MAX: usize = 1_024;
/// Bytes of a header block, unpacked: a few bytes can stand for thousands.
const BLOCK_BYTES_MAX: usize = 1 << 20;
/// What is kept of a call's headers.
const KEPT: [&[u8]; 4] = [b":path", b"grpc-timeout", b"x-mq-client-id", b"x-mq-language"];
/// Names the ping that tells when a client has seen that the connection will go.
const DRAIN_PING: &[u8; 8] = b"draining";

/// How far the end of a connection is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Going {
    No,
    /// The client was told that it will go.
    Told,
    /// Calls that begin now are not looked at.
    Last,
}

/// A header block that goes on in further frames.
struct Block {
    stream: u32,
    ends_stream: bool,
    bytes: BytesMut,
}

/// What happened in a second.
#[derive(Default)]
struct Second {
    at_s: u64,
    streams: u32,
    resets: u32,
}

/// The state of one connection.
pub struct Connection {
    greeted: bool,
    /// It cannot go on: nothing of it is looked at.
    failed: bool,
    /// The peer wants a smaller table of headers than is usual, and must be told that we use none (RFC 7541, section 4.2).
    table_to_shrink: Option<bool>,
    /// Windows have grown: what waits for them is to be sent.
    pump_due: bool,
    decoder: Decoder,
    streams: HashMap<u32, Stream>,
    /// The latest that the client opened.
    last: u32,
    block: Option<Block>,
    /// Bytes that the peer takes on all streams together, and at first on each.
    window: i64,
    stream_window: i64,
    /// Bytes of our window that were used and not given back.
    used: usize,
    /// Bytes in outboxes of streams.
    queued: usize,
    /// Bytes of memory that streams hold of what the peer sent.
    kept: usize,
    going: Going,
    second: Second,
}

impl Default for Connection {
    fn default() -> Self {
        Self {
            greeted: false,
            failed: false,
            table_to_shrink: None,
            pump_due: false,
            decoder: Decoder::default(),
            streams: HashMap::new(),
            last: 0,
            block: None,
            window: WINDOW_FIRST,
            stream_window: WINDOW_FIRST,
            used: 0,
            queued: 0,
            kept: 0,
            going: Going::No,
            second: Second::default(),
        }
    }
}

fn fault<T>(code: u32, why: impl Into<String>) -> Result<T, Fault> {
    Err(Fault { code, why: why.into() })
}

impl Connection {
    /// Takes a frame: says what it means, and appends to `out` what is to be sent for it. After the last one that came [`Self::settle`]
    /// is due.
    ///
    /// # Errors
    /// The connection cannot go on: tell the client with [`Self::fail`], and close it.
    pub fn take(
        &mut self,
        frame: Frame,
        now_s: u64,
        (limits, scratch): (&Limits, &mut Scratch),
        out: &mut BytesMut,
        events: &mut Vec<Event>,
    ) -> Result<(), Fault> {
        if self.failed {
            return Ok(());
        }
        let Frame::Frame { kind, flags, stream, payload } = frame else {
            if std::mem::replace(&mut self.greeted, true) {
                return fault(error::PROTOCOL_ERROR, "a second preface");
            }
            greet(limits, out);
            return Ok(());
        };
        if !self.greeted {
            return fault(error::PROTOCOL_ERROR, "the preface of HTTP/2 is missing");
        }
        self.note_second(now_s);
        if let Some(block) = &self.block
            && (kind != kind::CONTINUATION || block.stream != stream)
        {
            return fault(error::PROTOCOL_ERROR, "a header block was interrupted");
        }
        check_place(kind, stream)?;
        match kind {
            kind::DATA => self.data(stream, flags, payload, limits, out, events),
            kind::HEADERS => {
                let block = header_block(flags, payload)?;
                let of = (stream, flags & flag::END_STREAM != 0);
                if flags & flag::END_HEADERS != 0 {
                    return self.headers(of, &block, now_s, (limits, scratch), out, events);
                }
                self.block = Some(Block { stream, ends_stream: of.1, bytes: BytesMut::from(&*block) });
                Ok(())
            }
            kind::CONTINUATION => match self.further_block(flags, &payload, limits)? {
                Some(block) => {
                    let of = (stream, block.ends_stream);
                    self.headers(of, &block.bytes, now_s, (limits, scratch), out, events)
                }
                None => Ok(()),
            },
            kind::PRIORITY => match payload.len() {
                5 => Ok(()),
                _ => fault(error::FRAME_SIZE_ERROR, "a priority of another length than 5"),
            },
            kind::RST_STREAM => self.taken_back(stream, &payload, limits, events),
            kind::SETTINGS => self.settings(flags, payload, out),
            kind::PING => self.ping(flags, &payload, out),
            kind::WINDOW_UPDATE => self.window_update(stream, &payload, out),
            kind::PUSH_PROMISE => fault(error::PROTOCOL_ERROR, "clients promise nothing"),
            // A client that goes ends its calls and closes; what we do not know we ignore.
            _ => Ok(()),
        }
    }

    /// A header block goes on; the whole of it once it ends.
    fn further_block(&mut self, flags: u8, payload: &[u8], limits: &Limits) -> Result<Option<Block>, Fault> {
        let Some(mut block) = self.block.take() else {
            return fault(error::PROTOCOL_ERROR, "a header block goes on that did not begin");
        };
        if block.bytes.len() + payload.len() > 2 * limits.header_bytes_max + PAYLOAD_BYTES_MAX {
            return fault(error::ENHANCE_YOUR_CALM, "a header block without end");
        }
        block.bytes.put_slice(payload);
        if flags & flag::END_HEADERS != 0 {
            return Ok(Some(block));
        }
        self.block = Some(block);
        Ok(None)
    }

    /// The client resets a stream.
    fn taken_back(
        &mut self,
        stream: u32,
        code: &[u8],
        limits: &Limits,
        events: &mut Vec<Event>,
    ) -> Result<(), Fault> {
        let Ok(code) = <[u8; 4]>::try_from(code) else {
            return fault(error::FRAME_SIZE_ERROR, "a reset of another length than 4");
        };
        if stream > self.last {
            return match self.going {
                Going::Last => Ok(()),
                _ => fault(error::PROTOCOL_ERROR, "a stream was reset that was not opened"),
            };
        }
        // Old versions of the library for Node.js do so at the end of every call.
        if self.forget(stream).is_none() && u32::from_be_bytes(code) == error::NO_ERROR {
            return Ok(());
        }
        self.cancel(stream, limits, events)
    }

    /// The client takes a call back, or breaks it off.
    fn cancel(&mut self, stream: u32, limits: &Limits, events: &mut Vec<Event>) -> Result<(), Fault> {
        events.push(Event::Cancelled { stream });
        self.second.resets += 1;
        match self.second.resets > limits.resets_per_s {
            true => fault(error::ENHANCE_YOUR_CALM, "too many calls were taken back within a second"),
            false => Ok(()),
        }
    }

    fn note_second(&mut self, now_s: u64) {
        if self.second.at_s != now_s {
            self.second = Second { at_s: now_s, ..Second::default() };
        }
    }

    fn headers(
        &mut self,
        (id, ends_stream): (u32, bool),
        block: &[u8],
        now_s: u64,
        (limits, scratch): (&Limits, &mut Scratch),
        out: &mut BytesMut,
        events: &mut Vec<Event>,
    ) -> Result<(), Fault> {
        let is_new = id > self.last;
        let mut head = Fields::with_capacity(if is_new { 4 } else { 0 }, if is_new { 192 } else { 0 });
        let mut is_post = false;
        let mut is_grpc = false;
        let mut unreadable = false;
        let most = (limits.header_bytes_max, BLOCK_BYTES_MAX);
        let whole = self.decoder.decode(block, most, scratch, |name, value| {
            if !is_new {
                return;
            }
            match name {
                b":method" => is_post = value == b"POST",
                b"content-type" => is_grpc = value.starts_with(b"application/grpc"),
                _ if !KEPT.contains(&name) => {}
                _ => match (str::from_utf8(name), str::from_utf8(value)) {
                    (Ok(name), Ok(value)) => head.push(name, value),
                    _ => unreadable = true,
                },
            }
        });
        let Ok(whole) = whole else {
            return fault(error::COMPRESSION_ERROR, "a header block that cannot be read");
        };
        if !is_new {
            // The end of a call, or of one that is over here already.
            if let Some(stream) = self.streams.get_mut(&id) {
                if stream.ended || !ends_stream {
                    return fault(error::PROTOCOL_ERROR, "a second header within a call");
                }
                return self.end(id, limits, out, events);
            }
            return Ok(());
        }
        if id.is_multiple_of(2) {
            return fault(error::PROTOCOL_ERROR, format!("clients open odd streams, not {id}"));
        }
        if self.going == Going::Last {
            return Ok(());
        }
        self.last = id;
        self.second.streams += 1;
        if self.second.streams > limits.streams_per_s || self.streams.len() >= limits.streams_max as usize {
            reset(id, error::REFUSED_STREAM, out);
            return Ok(());
        }
        if !whole {
            self.refuse_http(id, b"431", ends_stream, out);
            return Ok(());
        }
        if !is_post || !is_grpc || unreadable {
            self.refuse_http(id, b"415", ends_stream, out);
            return Ok(());
        }
        let stream = Stream::new(head, now_s, self.stream_window);
        self.kept += stream.held();
        self.streams.insert(id, stream);
        match ends_stream {
            true => self.end(id, limits, out, events),
            false => Ok(()),
        }
    }

    fn data(
        &mut self,
        id: u32,
        flags: u8,
        payload: Bytes,
        limits: &Limits,
        out: &mut BytesMut,
        events: &mut Vec<Event>,
    ) -> Result<(), Fault> {
        if id > self.last && self.going != Going::Last {
            return fault(error::PROTOCOL_ERROR, "data of a stream that was not opened");
        }
        let bytes = payload.len();
        let piece = unpad(flags, payload)?;
        self.used += bytes;
        // All of it is looked at right away: what is kept counts as the connection's memory.
        if self.used >= CONNECTION_WINDOW / 2 {
            give_back(0, std::mem::take(&mut self.used), out);
        }
        // A call that is over here: its client does not know yet.
        let Some(stream) = self.streams.get_mut(&id) else { return Ok(()) };
        if stream.ended {
            return fault(error::STREAM_CLOSED, "data behind the end of a stream");
        }
        stream.used += bytes;
        let ends_stream = flags & flag::END_STREAM != 0;
        if stream.used >= STREAM_WINDOW / 2 && !ends_stream {
            give_back(id, std::mem::take(&mut stream.used), out);
        }
        // It was refused, and that waits for a window.
        if stream.trailers.is_some() {
            stream.ended |= ends_stream;
            return Ok(());
        }
        let (held, was_waiting) = (stream.held(), stream.is_waiting());
        let mut head = stream.head.take();
        let before = events.len();
        let unfit = stream.receive(piece, limits.message_bytes_max, |message| {
            events.push(Event::Message { stream: id, head: head.take(), message });
        });
        stream.head = head;
        if !was_waiting || events.len() > before {
            stream.since_s = self.second.at_s;
        }
        self.kept = self.kept - held + stream.held();
        if let Err(unfit) = unfit {
            let (status, why) = match unfit {
                Unfit::TooLong(len) => {
                    let max = limits.message_bytes_max;
                    (status::RESOURCE_EXHAUSTED, format!("a message of {len} bytes, the limit is {max}"))
                }
                Unfit::Compressed => {
                    (status::UNIMPLEMENTED, "compressed messages are not taken: send them as they are".into())
                }
            };
            stream.ended |= ends_stream;
            let was_known = stream.head.is_none();
            self.finish(id, status, &why, out);
            return if was_known { self.cancel(id, limits, events) } else { Ok(()) };
        }
        match ends_stream {
            true => self.end(id, limits, out, events),
            false => Ok(()),
        }
    }

    /// The client sends nothing more on a stream.
    fn end(
        &mut self,
        id: u32,
        limits: &Limits,
        out: &mut BytesMut,
        events: &mut Vec<Event>,
    ) -> Result<(), Fault> {
        let Some(stream) = self.streams.get_mut(&id) else { return Ok(()) };
        stream.ended = true;
        if stream.trailers.is_some() {
            return Ok(());
        }
        if stream.head.is_some() || stream.is_cut_off() {
            let was_known = stream.head.is_none();
            self.finish(id, status::INTERNAL, "the call ended before its message did", out);
            if was_known {
                return self.cancel(id, limits, events);
            }
        } else {
            events.push(Event::Ended { stream: id });
        }
        Ok(())
    }

    fn settings(&mut self, flags: u8, mut payload: Bytes, out: &mut BytesMut) -> Result<(), Fault> {
        if flags & flag::ACK != 0 {
            return Ok(());
        }
        if !payload.len().is_multiple_of(6) {
            return fault(error::FRAME_SIZE_ERROR, "settings that are cut off");
        }
        let mut window = self.stream_window;
        while payload.has_remaining() {
            let (name, value) = (payload.get_u16(), payload.get_u32());
            if name == SETTINGS_INITIAL_WINDOW_SIZE {
                window = i64::from(value);
                if window > WINDOW_MAX {
                    return fault(error::FLOW_CONTROL_ERROR, "an initial window beyond what can be");
                }
            } else if name == SETTINGS_HEADER_TABLE_SIZE && (value as usize) < hpack::TABLE_BYTES_MAX {
                self.table_to_shrink.get_or_insert(true);
            }
        }
        let more = window - self.stream_window;
        if more != 0 {
            self.stream_window = window;
            self.streams.values_mut().for_each(|stream| stream.window += more);
            self.pump_due = true;
        }
        frame::write_head(0, kind::SETTINGS, flag::ACK, 0, out);
        Ok(())
    }

    fn ping(&mut self, flags: u8, payload: &[u8], out: &mut BytesMut) -> Result<(), Fault> {
        if payload.len() != 8 {
            return fault(error::FRAME_SIZE_ERROR, "a ping of another length than 8");
        }
        if flags & flag::ACK == 0 {
            frame::write_head(8, kind::PING, flag::ACK, 0, out);
            out.put_slice(payload);
        } else if payload == DRAIN_PING && self.going == Going::Told {
            self.going = Going::Last;
            go_away(self.last, error::NO_ERROR, "", out);
        }
        Ok(())
    }

    fn window_update(&mut self, id: u32, payload: &[u8], out: &mut BytesMut) -> Result<(), Fault> {
        let Ok(bytes) = <[u8; 4]>::try_from(payload) else {
            return fault(error::FRAME_SIZE_ERROR, "a window update of another length than 4");
        };
        let more = i64::from(u32::from_be_bytes(bytes) & (u32::MAX >> 1));
        if more == 0 {
            return fault(error::PROTOCOL_ERROR, "a window that grows by nothing");
        }
        if id == 0 {
            self.window += more;
            if self.window > WINDOW_MAX {
                return fault(error::FLOW_CONTROL_ERROR, "a window beyond what can be");
            }
            self.pump_due = true;
        } else if let Some(stream) = self.streams.get_mut(&id) {
            stream.window += more;
            if stream.window > WINDOW_MAX {
                return fault(error::FLOW_CONTROL_ERROR, "a window beyond what can be");
            }
            self.pump(id, out);
        }
        Ok(())
    }

    /// Sends a message of a call's answer. False if nobody waits for it any more.
    pub fn send(&mut self, id: u32, message: &impl Message, out: &mut BytesMut) -> bool {
        let Some(stream) = self.streams.get_mut(&id).filter(|stream| stream.trailers.is_none()) else {
            return false;
        };
        if !std::mem::replace(&mut stream.opened, true) {
            write_block(&mut self.table_to_shrink, id, 0, opening(), out);
        }
        let len = message.encoded_len();
        let bytes = PREFIX_BYTES + len;
        let fits = bytes <= PAYLOAD_BYTES_MAX && bytes as i64 <= self.window.min(stream.window);
        let write = |out: &mut BytesMut| {
            out.put_u8(0);
            out.put_u32(len as u32);
            // holds because the buffer grows
            let _ = message.encode(out);
        };
        if stream.outbox.is_empty() && fits {
            frame::write_head(bytes, kind::DATA, 0, id, out);
            write(out);
            self.window -= bytes as i64;
            stream.window -= bytes as i64;
            return true;
        }
        let mut piece = BytesMut::with_capacity(bytes);
        write(&mut piece);
        self.queued += bytes;
        if !stream.is_waiting() {
            stream.since_s = self.second.at_s;
        }
        stream.outbox.push_back(piece.freeze());
        self.pump(id, out);
        true
    }

    /// Ends a call's answer with gRPC's status, 0 for one that succeeded, and why.
    pub fn finish(&mut self, id: u32, status: u32, why: &str, out: &mut BytesMut) {
        let Some(stream) = self.streams.get_mut(&id).filter(|stream| stream.trailers.is_none()) else {
            return;
        };
        self.kept -= stream.held();
        stream.give_up_reading();
        if status == 0 && stream.opened && stream.outbox.is_empty() {
            write_block(&mut self.table_to_shrink, id, flag::END_STREAM, SUCCESS, out);
            return self.close(id, out);
        }
        let mut block = Vec::new();
        if !std::mem::replace(&mut stream.opened, true) {
            block.extend_from_slice(opening());
        }
        hpack::write_literal("grpc-status", status.to_string().as_bytes(), &mut block);
        if !why.is_empty() {
            let why = why.get(..why.floor_char_boundary(WHY_BYTES_MAX)).unwrap_or_default();
            hpack::write_literal("grpc-message", percent_encoded(why).as_bytes(), &mut block);
        }
        stream.trailers = Some(block.into());
        self.pump(id, out);
    }

    /// Sends what the windows admit of a stream, and its end.
    fn pump(&mut self, id: u32, out: &mut BytesMut) {
        let Some(stream) = self.streams.get_mut(&id) else { return };
        while let Some(piece) = stream.outbox.front_mut() {
            let room = self.window.min(stream.window).min(PAYLOAD_BYTES_MAX as i64);
            let len = piece.len().min(usize::try_from(room).unwrap_or(0));
            if len == 0 {
                return;
            }
            frame::write_head(len, kind::DATA, 0, id, out);
            out.put_slice(&piece.split_to(len));
            self.window -= len as i64;
            stream.window -= len as i64;
            stream.since_s = self.second.at_s;
            self.queued -= len;
            if piece.is_empty() {
                stream.outbox.pop_front();
            }
        }
        if let Some(trailers) = stream.trailers.take() {
            write_block(&mut self.table_to_shrink, id, flag::END_STREAM, &trailers, out);
            self.close(id, out);
        }
    }

    /// Sends what larger windows admit. (Not for each frame that makes one larger: there may be thousands in one read.)
    pub fn settle(&mut self, out: &mut BytesMut) {
        if !std::mem::take(&mut self.pump_due) || self.queued == 0 {
            return;
        }
        let waiting = |(id, stream): (&u32, &Stream)| (!stream.outbox.is_empty()).then_some(*id);
        let mut ids: Vec<u32> = self.streams.iter().filter_map(waiting).collect();
        ids.sort_unstable();
        for id in ids {
            if self.window <= 0 {
                return;
            }
            self.pump(id, out);
        }
    }

    /// Answers with a status of HTTP, for who does not speak gRPC.
    fn refuse_http(&mut self, id: u32, status: &[u8], ends_stream: bool, out: &mut BytesMut) {
        let mut block = Vec::new();
        hpack::write_indexed(hpack::STATUS, status, &mut block);
        write_block(&mut self.table_to_shrink, id, flag::END_STREAM, &block, out);
        if !ends_stream {
            reset(id, error::NO_ERROR, out);
        }
    }

    /// A call's answer is complete: what its client may still send is of no interest.
    fn close(&mut self, id: u32, out: &mut BytesMut) {
        if self.forget(id).is_some_and(|stream| !stream.ended) {
            reset(id, error::NO_ERROR, out);
        }
    }

    fn forget(&mut self, id: u32) -> Option<Stream> {
        let stream = self.streams.remove(&id)?;
        self.queued -= stream.outbox.iter().map(Bytes::len).sum::<usize>();
        self.kept -= stream.held();
        if self.streams.is_empty() {
            // What many calls at a time needed is not kept.
            self.streams.shrink_to(16);
        }
        Some(stream)
    }

    /// Gives up calls whose message does not come, or whose answer is not taken.
    pub fn sweep(&mut self, now_s: u64, limits: &Limits, out: &mut BytesMut, events: &mut Vec<Event>) {
        // What is sent from now on counts from now on, though the client says nothing.
        self.note_second(now_s);
        let is_late = |stream: &Stream| stream.is_waiting() && now_s > stream.since_s + limits.message_s_max;
        let late: Vec<u32> =
            self.streams.iter().filter(|(_, stream)| is_late(stream)).map(|(id, _)| *id).collect();
        for id in late {
            if self.forget(id).is_some_and(|stream| stream.head.is_none()) {
                events.push(Event::Cancelled { stream: id });
            }
            reset(id, error::CANCEL, out);
        }
    }

    /// Tells the client that the connection will go: it opens no more calls here, and those that are under way are
    /// finished. Two steps (RFC 9113, section 6.8), the second once the client has seen the first, so that none is lost on the way.
    pub fn drain(&mut self, out: &mut BytesMut) {
        if self.going == Going::No {
            self.going = Going::Told;
            if !self.greeted {
                return;
            }
            go_away(WINDOW_MAX as u32, error::NO_ERROR, "", out);
            frame::write_head(8, kind::PING, 0, 0, out);
            out.put_slice(DRAIN_PING);
        }
    }

    /// Whether there is nobody who would miss the connection: the client was told that it goes, and all its calls are finished; or it
    /// has said nothing yet.
    pub fn is_drained(&self) -> bool {
        (self.going == Going::Last && self.streams.is_empty()) || (self.going != Going::No && !self.greeted)
    }

    /// Tells the client why the connection ends. What it says after that is not looked at.
    pub fn fail(&mut self, fault: &Fault, out: &mut BytesMut) {
        self.failed = true;
        go_away(self.last, fault.code, &fault.why, out);
    }

    /// Calls that were opened and not answered.
    pub fn streams(&self) -> impl Iterator<Item = u32> {
        self.streams.keys().copied()
    }

    /// Bytes of memory that its calls hold: headers of calls that have no message yet, messages that are not complete, and answers that
    /// the client does not take.
    pub fn held(&self) -> usize {
        self.queued + self.kept + self.block.as_ref().map_or(0, |block| block.bytes.len())
    }

    /// Bytes that wait for the client to open its windows.
    pub fn queued(&self) -> usize {
        self.queued
    }
}

/// Some frames are about the connection, some about a stream.
fn check_place(kind: u8, stream: u32) -> Result<(), Fault> {
    let of_connection = matches!(kind, kind::SETTINGS | kind::PING | kind::GOAWAY);
    let of_stream =
        matches!(kind, kind::DATA | kind::HEADERS | kind::PRIORITY | kind::RST_STREAM | kind::CONTINUATION);
    match (of_connection && stream != 0) || (of_stream && stream == 0) {
        true => fault(error::PROTOCOL_ERROR, format!("a frame of type {kind} on stream {stream}")),
        false => Ok(()),
    }
}

/// The header block of a frame that begins one: without padding and priority.
fn header_block(flags: u8, payload: Bytes) -> Result<Bytes, Fault> {
    let mut block = unpad(flags, payload)?;
    if flags & flag::PRIORITY != 0 {
        if block.len() < 5 {
            return fault(error::FRAME_SIZE_ERROR, "a header block without its priority");
        }
        block.advance(5);
    }
    Ok(block)
}

/// The payload without its padding.
fn unpad(flags: u8, mut payload: Bytes) -> Result<Bytes, Fault> {
    if flags & flag::PADDED != 0 {
        let padding = payload.first().map_or(usize::MAX, |bytes| usize::from(*bytes));
        if payload.len() <= padding {
            return fault(error::PROTOCOL_ERROR, "more padding than payload");
        }
        payload.advance(1);
        payload.truncate(payload.len() - padding);
    }
    Ok(payload)
}
