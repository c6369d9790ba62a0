//! Connections that nobody wants: each goes through its own way of being a nuisance, again and again.

use crate::ledger::body::Random;
use anyhow::Result;
use bytes::BytesMut;
use kerolox_wire::header::{GetMaxOffset, PullMessage};
use kerolox_wire::{Command, RequestCode, frame, sys_flag};
use std::io::{ErrorKind, Write};
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
    /// Bytes that are no frame.
    Garbage,
    /// Promises 2 GiB.
    Promise,
    /// Frames of 16 MiB, as fast as they are taken.
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
            garbage: std::iter::repeat_with(|| random.next() as u8 | 1).take(4096).collect(),
            large: encoded(&Command::request(RequestCode::SEND_MESSAGE_V2).with_body(body)),
            asks: ask.repeat(32),
        }
    }
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
    fn go_on(&mut self, address: SocketAddr, stock: &Stock, deeds: &Deeds) {
        let Some(stream) = &mut self.stream else {
            self.sent = 0;
            let connected = TcpStream::connect_timeout(&address, Duration::from_secs(1));
            self.stream = connected.and_then(|stream| stream.set_nonblocking(true).map(|()| stream)).ok();
            let counter = if self.stream.is_some() { &deeds.connects } else { &deeds.refused };
            counter.fetch_add(1, Ordering::Relaxed);
            return;
        };
        let rest = |bytes: &'static [u8]| bytes;
        let bytes: &[u8] = match self.way {
            // The last byte never comes.
            Way::Drip if self.sent + 1 < stock.drip.len() => {
                stock.drip.get(self.sent..=self.sent).unwrap_or_default()
            }
            Way::Drip | Way::Idle => rest(&[]),
            Way::Garbage => &stock.garbage,
            Way::Promise => rest(&[0x7f, 0xff, 0xff, 0xff, 0, 0, 0, 16]),
            Way::Large => stock.large.get(self.sent % stock.large.len()..).unwrap_or_default(),
            Way::Deaf => &stock.asks,
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
        if let (Some(stream), true) = (&self.stream, self.way != Way::Deaf)
            && !matches!(stream.peek(&mut [0]), Err(e) if e.kind() == ErrorKind::WouldBlock)
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
