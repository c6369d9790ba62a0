//! The open connections of a listener, and the way to answer them.

use crate::limits::Limits;
use crate::outbox::Outbox;
use crate::tls::{Session, Tls};
use bytes::BytesMut;
use kerolox_wire::Command;
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use tokio::net::tcp::OwnedWriteHalf;
use tokio::sync::Notify;

/// A connection; never reused in a process's life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConnId(pub u64);

/// Why a connection is gone.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Closed {
    #[error("the peer closed it")]
    ByPeer,
    #[error("the server closed it")]
    ByServer,
    #[error("{0}")]
    Io(String),
    #[error("it does not speak the protocol: {0}")]
    Malformed(String),
    #[error("a frame was not complete within {0} s")]
    SlowFrame(u64),
    #[error("it was idle for {0} s")]
    Idle(u64),
    #[error("its peer does not read: {unsent} bytes unsent, none taken for {seconds} s")]
    SlowReader { unsent: usize, seconds: u64 },
    #[error(
        "all connections together hold more than the limit of {limit} bytes, this one most of all: {held}"
    )]
    Memory { held: usize, limit: usize },
}

impl Closed {
    /// Whether somebody should look at it: the ends of ordinary connections are not worth a line in a log.
    pub fn is_noteworthy(&self) -> bool {
        matches!(
            self,
            Self::Malformed(_) | Self::SlowFrame(_) | Self::SlowReader { .. } | Self::Memory { .. }
        )
    }
}

/// What went through since the start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counters {
    pub accepted: u64,
    pub refused: u64,
    pub commands_in: u64,
    pub commands_out: u64,
    pub bytes_in: u64,
    pub bytes_out: u64,
}

/// One connection: shared between its task and the table.
pub(crate) struct Link {
    pub(crate) id: ConnId,
    pub(crate) peer: SocketAddr,
    pub(crate) stream: OwnedWriteHalf,
    pub(crate) outbox: RefCell<Outbox>,
    /// Whether anything came from it.
    pub(crate) heard: Cell<bool>,
    pub(crate) tls: RefCell<Option<Box<Session>>>,
    /// Wakes the task to look at the cells below.
    pub(crate) wake: Notify,
    /// The outbox could not be emptied: the task is to wait until the socket is writable.
    pub(crate) blocked: Cell<bool>,
    /// The task does not read until [`Link::is_overloaded`] ends.
    pub(crate) paused: Cell<bool>,
    /// In the table's list of connections to be flushed.
    dirty: Cell<bool>,
    pub(crate) closing: RefCell<Option<Closed>>,
    /// End it once the outbox is empty.
    pub(crate) close_when_sent: Cell<bool>,
    /// And then wait until the peer has taken that.
    pub(crate) lingers: Cell<bool>,
    /// Bytes that were read and are not handled.
    pub(crate) inbox_bytes: Cell<usize>,
    /// Bytes that the owner of the listener holds for it.
    owner_bytes: Cell<usize>,
    /// It is in the middle of a large frame.
    pub(crate) large: Cell<bool>,
    /// Its part of [`Connections::held`].
    held: Cell<usize>,
    /// Bytes of answers that are being made.
    promised: Cell<usize>,
    /// Requests read minus responses queued.
    pub(crate) parked: Cell<usize>,
    /// The sweep at which a byte last went either way.
    pub(crate) active_s: Cell<u64>,
    /// The sweep at which the peer last took a byte, or had nothing to take.
    pub(crate) taken_s: Cell<u64>,
    /// The sweep at which the first byte of a frame came that is not complete yet.
    pub(crate) partial_s: Cell<Option<u64>>,
}

impl Link {
    pub(crate) fn end(&self, why: Closed) {
        self.closing.borrow_mut().get_or_insert(why);
        self.wake.notify_one();
    }

    /// Bytes that its peer has to take, now or soon.
    fn unsent(&self) -> usize {
        self.outbox.borrow().len() + self.promised.get()
    }
}

/// The open connections of one listener. Single-threaded: share it by `Rc`.
pub struct Connections {
    pub(crate) limits: Limits,
    pub(crate) tls: Tls,
    links: RefCell<HashMap<ConnId, Rc<Link>>>,
    dirty: RefCell<Vec<Rc<Link>>>,
    spares: RefCell<Vec<BytesMut>>,
    next: Cell<u64>,
    /// Bytes that all connections hold.
    held: Cell<usize>,
    /// Connections in the middle of a large frame.
    large: Cell<usize>,
    pub(crate) now_s: Cell<u64>,
    counters: Cell<Counters>,
}

/// Buffers kept for the next to need one.
const SPARES_MAX: usize = 16;
/// While all connections get their turn, about so many reads' worth is read of large frames,
const LARGE_READS: usize = 8;
/// and of each of them no less than this part of a read: small reads cost more than they bring.
const LARGE_SHARES_MAX: usize = 16;
/// What a connection with TLS holds for that, about.
const TLS_BYTES: usize = 16 << 10;
/// A larger buffer is not kept.
const SPARE_BYTES_MAX: usize = 512 << 10;

impl Connections {
    /// No connections yet. The first is number 1: 0 is free for the owner's own use.
    pub fn new(limits: Limits) -> Rc<Self> {
        Self::with_tls(limits, Tls::default())
    }

    /// The same, for connections that may, or must, speak TLS.
    pub fn with_tls(limits: Limits, tls: Tls) -> Rc<Self> {
        Rc::new(Self {
            limits,
            tls,
            links: RefCell::default(),
            dirty: RefCell::default(),
            spares: RefCell::default(),
            next: Cell::new(1),
            held: Cell::new(0),
            large: Cell::new(0),
            now_s: Cell::new(0),
            counters: Cell::default(),
        })
    }

    /// Connections that come from now on see another certificate.
    pub fn replace_certificate(&self, config: Arc<rustls::ServerConfig>) {
        self.tls.replace(config);
    }

    /// Queues a command for a connection; it leaves with the next [`Self::flush`]. False if the connection is gone
    /// or about to go (the command is then dropped).
    pub fn send(&self, conn: ConnId, command: &Command) -> bool {
        self.queue(conn, |link, outbox| {
            outbox.push(command);
            if command.is_response() {
                link.parked.set(link.parked.get().saturating_sub(1));
            }
            self.count(|c| c.commands_out += 1);
        })
    }

    /// Queues what `write` appends, in the same way.
    pub fn send_bytes(&self, conn: ConnId, write: impl FnOnce(&mut BytesMut)) -> bool {
        self.queue(conn, |_, outbox| outbox.append(write))
    }

    fn queue(&self, conn: ConnId, fill: impl FnOnce(&Link, &mut Outbox)) -> bool {
        let links = self.links.borrow();
        let Some(link) = links.get(&conn).filter(|link| link.closing.borrow().is_none()) else {
            return false;
        };
        let mut outbox = link.outbox.borrow_mut();
        if outbox.is_empty() {
            outbox.lend(self.spare());
            link.taken_s.set(self.now_s.get());
        }
        fill(link, &mut outbox);
        if !link.dirty.replace(true) {
            self.dirty.borrow_mut().push(Rc::clone(link));
        }
        drop(outbox);
        let over = self.account(link);
        drop(links);
        if over {
            self.shed();
        }
        true
    }

    /// Notes how many bytes the owner of the listener holds for a connection; at the limit of all together the largest goes.
    pub fn note_owned(&self, conn: ConnId, bytes: usize) {
        let over = self.links.borrow().get(&conn).is_some_and(|link| {
            link.owner_bytes.set(bytes);
            self.account(link)
        });
        if over {
            self.shed();
        }
    }

    /// Seconds since the start, as limits count them.
    pub fn now_s(&self) -> u64 {
        self.now_s.get()
    }

    /// Notes what a connection holds now. True if that brought all together above their limit: then [`Self::shed`].
    fn account(&self, link: &Link) -> bool {
        if link.closing.borrow().is_some() {
            return false;
        }
        let tls = if link.tls.borrow().is_some() { TLS_BYTES } else { 0 };
        let now = tls + link.inbox_bytes.get() + link.owner_bytes.get() + link.outbox.borrow().len();
        let before = link.held.replace(now);
        self.held.set(self.held.get() - before + now);
        now > before && self.held.get() > self.limits.memory_bytes_max
    }

    /// Notes how many bytes a connection's reader holds; at the limit of all together the largest one goes.
    pub(crate) fn note_inbox(&self, link: &Link, bytes: usize) {
        link.inbox_bytes.set(bytes);
        if self.account(link) {
            self.shed();
        }
    }

    /// Notes whether a connection is in the middle of a large frame.
    pub(crate) fn note_large(&self, link: &Link, large: bool) {
        let before = link.large.replace(large);
        self.large.set(self.large.get() + usize::from(large) - usize::from(before));
    }

    /// The most that is read at a time from a connection in the middle of a large frame: the more of them there are, the
    /// less, so that short requests between them do not wait.
    pub(crate) fn large_read_bytes(&self) -> usize {
        let most = self.limits.read_bytes;
        (most * LARGE_READS / self.large.get().max(1)).clamp(most / LARGE_SHARES_MAX, most)
    }

    /// Ends those that hold most until the rest is within the limit.
    fn shed(&self) {
        let limit = self.limits.memory_bytes_max;
        let links = self.links.borrow();
        while self.held.get() > limit
            && let Some(largest) = links.values().max_by_key(|link| link.held.get())
            && largest.held.get() > 0
        {
            let held = self.disown(largest);
            largest.end(Closed::Memory { held, limit });
        }
    }

    /// What a connection holds does not count any more, since it goes.
    fn disown(&self, link: &Link) -> usize {
        let held = link.held.replace(0);
        self.held.set(self.held.get() - held);
        held
    }

    /// Writes what was queued since the last call, one vectored write for each connection; what a socket does not
    /// take now follows as soon as it does.
    pub fn flush(&self) {
        let mut dirty = std::mem::take(&mut *self.dirty.borrow_mut());
        for link in dirty.drain(..) {
            link.dirty.set(false);
            self.write(&link);
        }
        // Nothing was added meanwhile: `write` sends, it does not queue.
        *self.dirty.borrow_mut() = dirty;
    }

    /// Whether the peer of a connection has so much to take that nothing more should be done for it now. (So it is with
    /// one that is about to go.)
    pub fn is_overloaded(&self, conn: ConnId) -> bool {
        let links = self.links.borrow();
        let Some(link) = links.get(&conn) else { return false };
        link.closing.borrow().is_some() || self.has_enough(link)
    }

    /// Whether a peer has so much to take, or to wait for, that nothing more should be read from it.
    pub(crate) fn has_enough(&self, link: &Link) -> bool {
        let limits = &self.limits;
        let scarce = self.held.get() > limits.memory_bytes_max / 2;
        let pause = if scarce { limits.outbox_bytes_scarce } else { limits.outbox_bytes_pause };
        link.parked.get() > limits.parked_max || link.unsent() > pause
    }

    /// An answer of about so many bytes is being made for a connection: they count as if they were there, so that no more
    /// is asked for than the peer takes. To be given back with [`Self::delivered`] when the answer was sent.
    pub fn promise(&self, conn: ConnId, bytes: usize) {
        if let Some(link) = self.links.borrow().get(&conn) {
            link.promised.set(link.promised.get() + bytes);
        }
    }

    /// The answer of a [`Self::promise`] was sent, or there is none.
    pub fn delivered(&self, conn: ConnId, bytes: usize) {
        if let Some(link) = self.links.borrow().get(&conn) {
            link.promised.set(link.promised.get().saturating_sub(bytes));
            if link.paused.get() && !self.has_enough(link) {
                link.wake.notify_one();
            }
        }
    }

    /// Closes a connection after what was queued for it is written, and taken by its peer.
    pub fn close(&self, conn: ConnId) {
        if let Some(link) = self.links.borrow().get(&conn) {
            link.lingers.set(true);
            link.close_when_sent.set(true);
            link.wake.notify_one();
        }
    }

    /// Closes all connections after what was queued for them is written.
    pub fn close_all(&self) {
        for link in self.links.borrow().values() {
            link.close_when_sent.set(true);
            link.wake.notify_one();
        }
    }

    /// Number of open connections.
    pub fn len(&self) -> usize {
        self.links.borrow().len()
    }

    /// Whether no connection is open.
    pub fn is_empty(&self) -> bool {
        self.links.borrow().is_empty()
    }

    /// Bytes that wait to be taken by their peers.
    pub fn unsent(&self) -> usize {
        self.links.borrow().values().map(|l| l.outbox.borrow().len()).sum()
    }

    /// Bytes of memory that connections hold: requests that were not looked at, and answers that were not taken.
    pub fn held(&self) -> usize {
        self.held.get()
    }

    /// What went through since the start.
    pub fn counters(&self) -> Counters {
        self.counters.get()
    }

    pub(crate) fn count(&self, change: impl FnOnce(&mut Counters)) {
        let mut counters = self.counters.get();
        change(&mut counters);
        self.counters.set(counters);
    }

    pub(crate) fn add(&self, stream: OwnedWriteHalf, peer: SocketAddr) -> Rc<Link> {
        let id = ConnId(self.next.replace(self.next.get() + 1));
        let link = Rc::new(Link {
            id,
            peer,
            stream,
            outbox: RefCell::default(),
            heard: Cell::new(false),
            tls: RefCell::new(None),
            wake: Notify::new(),
            blocked: Cell::new(false),
            paused: Cell::new(false),
            dirty: Cell::new(false),
            closing: RefCell::new(None),
            close_when_sent: Cell::new(false),
            lingers: Cell::new(false),
            inbox_bytes: Cell::new(0),
            owner_bytes: Cell::new(0),
            large: Cell::new(false),
            promised: Cell::new(0),
            held: Cell::new(0),
            parked: Cell::new(0),
            active_s: Cell::new(self.now_s.get()),
            taken_s: Cell::new(self.now_s.get()),
            partial_s: Cell::new(None),
        });
        self.links.borrow_mut().insert(id, Rc::clone(&link));
        self.count(|c| c.accepted += 1);
        link
    }

    pub(crate) fn remove(&self, link: &Link) {
        self.links.borrow_mut().remove(&link.id);
        // It may still be in the list of those to be flushed, and must not count again.
        link.closing.borrow_mut().get_or_insert(Closed::ByServer);
        self.disown(link);
        self.note_large(link, false);
    }

    /// The peer's address of every connection, for lists.
    pub fn peers(&self) -> Vec<(ConnId, SocketAddr)> {
        let links = self.links.borrow();
        links.values().map(|l| (l.id, l.peer)).collect()
    }

    pub(crate) fn write(&self, link: &Link) {
        let mut outbox = link.outbox.borrow_mut();
        let before = outbox.len();
        let write = |slices: &[IoSlice<'_>]| match slices {
            [one] => link.stream.try_write(one),
            many => link.stream.try_write_vectored(many),
        };
        let result = match &mut *link.tls.borrow_mut() {
            None => outbox.write_to(write),
            Some(tls) => tls.write(&mut outbox, write),
        };
        let sent = before - outbox.len();
        if sent > 0 {
            link.active_s.set(self.now_s.get());
            link.taken_s.set(self.now_s.get());
            self.count(|c| c.bytes_out += sent as u64);
        }
        match result {
            Ok(true) => {
                self.keep_spare(outbox.reclaim());
                if link.blocked.replace(false) || link.close_when_sent.get() {
                    link.wake.notify_one();
                }
            }
            Ok(false) => {
                if !link.blocked.replace(true) {
                    link.wake.notify_one();
                }
            }
            Err(e) => link.end(closed_by(&e)),
        }
        drop(outbox);
        self.account(link);
        if link.paused.get() && !self.has_enough(link) {
            link.wake.notify_one();
        }
    }

    /// Once a second: ends what is idle or too slow.
    pub(crate) fn sweep(&self) {
        let now_s = self.now_s.get() + 1;
        self.now_s.set(now_s);
        let limits = &self.limits;
        let (frame_s_max, idle_s_max) = (limits.frame_s_max, limits.idle_s_max);
        for link in self.links.borrow().values() {
            let unsent = link.outbox.borrow().len();
            let is_short = unsent > limits.outbox_bytes_max || link.close_when_sent.get();
            let seconds = if is_short { limits.slow_s_max } else { idle_s_max };
            if unsent > 0 && now_s - link.taken_s.get() > seconds {
                link.end(Closed::SlowReader { unsent, seconds });
            } else if link.paused.get() {
                // We do not read: its frame is not late by its own doing.
                link.partial_s.set(link.partial_s.get().map(|_| now_s));
            } else if link.partial_s.get().is_some_and(|since| now_s - since > frame_s_max) {
                link.end(Closed::SlowFrame(frame_s_max));
            } else if now_s - link.active_s.get() > idle_s_max {
                link.end(Closed::Idle(idle_s_max));
            }
        }
    }

    /// An empty buffer, possibly with room already.
    pub(crate) fn spare(&self) -> BytesMut {
        self.spares.borrow_mut().pop().unwrap_or_default()
    }

    pub(crate) fn keep_spare(&self, buffer: BytesMut) {
        let mut spares = self.spares.borrow_mut();
        if buffer.is_empty()
            && buffer.capacity() > 0
            && buffer.capacity() <= SPARE_BYTES_MAX
            && spares.len() < SPARES_MAX
        {
            spares.push(buffer);
        }
    }
}

pub(crate) fn closed_by(error: &io::Error) -> Closed {
    match error.kind() {
        io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionAborted => {
            Closed::ByPeer
        }
        _ => Closed::Io(error.to_string()),
    }
}
