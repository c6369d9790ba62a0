//! Connections that nobody wants: each goes through its own way of being a nuisance, again and again.

use crate::ledger::body::Random;
use anyhow::Result;
use bytes::{BufMut, BytesMut};
use kerolox_wire::header::{GetMaxOffset, PullMessage};
use kerolox_wire::{Command, RequestCode, frame, sys_flag};
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

/// Between two looks at the same connection.
const ROUND: Duration = Duration::from_millis(100);
/// A frame that is as long as frames may be.
const FRAME_BYTES: usize = 16 << 20;

/// What a connection does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    /// A byte of a good request now and then.
    Drip,
    /// Says nothing.
    Idle,
    /// Bytes that are no frame; calls that are taken back.
    Garbage,
    /// Promises 2 GiB; a header without end.
    Promise,
    /// Frames of 16 MiB, as fast as they are taken; messages without end.
    Large,
    /// Good requests with long answers, of which it takes none.
    Deaf,
}

impl Way {
    fn of(number: u64) -> Self {
        match number % 100 {
            0..=1 => Self::Large,
            2..=3 => Self::Deaf,
            4..=5 => Self::Garbage,
            6 => Self::Promise,
            7..=20 => Self::Idle,
            _ => Self::Drip,
        }
    }
}

/// What the hostile ones did.
#[derive(Default)]
pub(super) struct Deeds {
    pub(super) connects: AtomicU64,
    pub(super) refused: AtomicU64,
    pub(super) bytes: AtomicU64,
    /// Connections that were open when it was last counted.
    pub(super) open: AtomicU64,
}

/// Bytes that some of them send, made once.
pub(super) struct Stock {
    drip: Vec<u8>,
    garbage: Vec<u8>,
    promise: Vec<u8>,
    large: Vec<u8>,
    asks: Vec<u8>,
}

impl Stock {
    /// `topic` has messages to ask for.
    pub(super) fn new(topic: &str) -> Self {
        let mut random = Random::new(7);
        let header = GetMaxOffset { topic, ..GetMaxOffset::default() };
        let good = encoded(&Command::request(RequestCode::GET_MAX_OFFSET).with_header(&header));
        let body = vec![7; FRAME_BYTES - 4096];
        let pull = PullMessage {
            consumer_group: "flood-deaf",
            topic,
            max_msg_nums: 1024,
            sys_flag: sys_flag::pull::SUBSCRIPTION,
            subscription: Some("*"),
            expression_type: Some("TAG"),
            ..PullMessage::default()
        };
        let ask = encoded(&Command::request(RequestCode::PULL_MESSAGE).with_header(&pull));
        Self {
            drip: good,
            promise: vec![0x7f, 0xff, 0xff, 0xff, 0, 0, 0, 16],
            garbage: std::iter::repeat_with(|| random.next() as u8 | 1).take(4096).collect(),
            large: encoded(&Command::request(RequestCode::SEND_MESSAGE_V2).with_body(body)),
            asks: ask.repeat(32),
        }
    }

    /// The same for HTTP/2: calls that are taken back at once, a header without end, messages of which the last byte never comes on as
    /// many streams as there may be, pings and calls whose answers nobody reads.
    pub(super) fn of_http2() -> Self {
        let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0".to_vec();
        let begun = |pieces: &mut dyn Iterator<Item = Vec<u8>>| {
            pieces.fold(preface.clone(), |mut all, piece| {
                all.extend(piece);
                all
            })
        };
        let mut block = vec![0x83, 0x86];
        for (name, value) in [
            (":path", "/apache.rocketmq.v2.MessagingService/QueryRoute"),
            ("content-type", "application/grpc"),
            ("x-mq-client-id", "flood"),
        ] {
            block.push(0);
            block.push(name.len() as u8);
            block.extend(name.as_bytes());
            block.push(value.len() as u8);
            block.extend(value.as_bytes());
        }
        let head = |stream| h2_frame(1, 4, stream, &block);
        let empty = |stream| h2_frame(0, 1, stream, &[0; 5]);
        let long = |stream| {
            let begin = [0, 0, 0x3f, 0xff, 0xff];
            let piece = h2_frame(0, 0, stream, &[7; 16_000]);
            [head(stream), h2_frame(0, 0, stream, &begin), piece.repeat(8)].concat()
        };
        let ping = h2_frame(6, 0, 0, b"pingping");
        let streams = || (0..3_000).map(|n| 2 * n + 1);
        Self {
            drip: begun(&mut [head(1), empty(1)].into_iter()),
            garbage: begun(&mut streams().map(|n| [head(n), h2_frame(3, 0, n, &[0, 0, 0, 8])].concat())),
            promise: begun(
                &mut std::iter::once(h2_frame(1, 0, 1, &block))
                    .chain(std::iter::repeat_n(h2_frame(9, 0, 1, &block), 5_000)),
            ),
            large: begun(&mut streams().take(500).map(long)),
            asks: begun(&mut streams().map(|n| [ping.repeat(20), head(n), empty(n)].concat())),
        }
    }
}

/// A frame of HTTP/2. Source: RFC 9113, section 4.1.
fn h2_frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut frame = Vec::with_capacity(9 + payload.len());
    frame.put_uint(payload.len() as u64, 3);
    frame.put_slice(&[kind, flags]);
    frame.put_u32(stream);
    frame.put_slice(payload);
    frame
}

fn encoded(command: &Command) -> Vec<u8> {
    let mut out = BytesMut::new();
    frame::encode(command, &mut out);
    out.to_vec()
}

struct Nuisance {
    way: Way,
    stream: Option<TcpStream>,
    /// Bytes of its frame that were sent.
    sent: usize,
}

impl Nuisance {
    /// A little more of what it does; connects anew when it was thrown out.
    fn go_on<'a>(&mut self, address: SocketAddr, stock: &'a Stock, deeds: &Deeds) {
        let Some(stream) = &mut self.stream else {
            self.sent = 0;
            let connected = TcpStream::connect_timeout(&address, Duration::from_secs(1));
            self.stream = connected.and_then(|stream| stream.set_nonblocking(true).map(|()| stream)).ok();
            let counter = if self.stream.is_some() { &deeds.connects } else { &deeds.refused };
            counter.fetch_add(1, Ordering::Relaxed);
            return;
        };
        let rest = |bytes: &'a [u8]| bytes.get(self.sent % bytes.len()..).unwrap_or_default();
        let bytes: &[u8] = match self.way {
            // The last byte never comes.
            Way::Drip if self.sent + 1 < stock.drip.len() => {
                stock.drip.get(self.sent..=self.sent).unwrap_or_default()
            }
            Way::Drip | Way::Idle => &[],
            Way::Garbage => rest(&stock.garbage),
            Way::Promise => rest(&stock.promise),
            Way::Large => rest(&stock.large),
            Way::Deaf => rest(&stock.asks),
        };
        match stream.write(bytes) {
            Ok(count) => {
                self.sent += count;
                deeds.bytes.fetch_add(count as u64, Ordering::Relaxed);
            }
            Err(e) if e.kind() == ErrorKind::WouldBlock => {}
            Err(_) => self.stream = None,
        }
        // Also the quiet ones notice that they were thrown out.
        if let (Some(stream), true) = (&mut self.stream, self.way != Way::Deaf)
            && match stream.read(&mut [0; 4_096]) {
                Ok(count) => count == 0,
                Err(e) => e.kind() != ErrorKind::WouldBlock,
            }
        {
            self.stream = None;
        }
    }
}

/// Keeps `count` connections, the first of them `first`, until it is over.
pub(super) fn besiege(
    address: SocketAddr,
    (first, count): (u64, u64),
    stock: &Stock,
    deeds: &Arc<Deeds>,
    over: &AtomicBool,
) -> Result<()> {
    let way = |number| Nuisance { way: Way::of(number), stream: None, sent: 0 };
    let mut all: Vec<_> = (first..first + count).map(way).collect();
    let mut open_before = 0;
    while !over.load(Ordering::SeqCst) {
        all.iter_mut().for_each(|one| one.go_on(address, stock, deeds));
        let open = all.iter().filter(|one| one.stream.is_some()).count() as u64;
        deeds.open.fetch_add(open.wrapping_sub(open_before), Ordering::Relaxed);
        open_before = open;
        std::thread::sleep(ROUND);
    }
    Ok(())
}
