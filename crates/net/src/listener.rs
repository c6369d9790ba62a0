//! Accepting connections and reading frames from them.

use crate::connections::{Closed, ConnId, Connections, Link, closed_by};
use crate::limits::Limits;
use crate::tls::Mode;
use bytes::{BufMut, BytesMut};
use kerolox_wire::Command;
use kerolox_wire::frame;
use std::future::{Future, poll_fn};
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::AsyncReadExt;
use tokio::net::TcpListener;
use tokio::net::tcp::OwnedReadHalf;

/// What the bytes of a listener's connections are cut into.
pub trait Piece: Sized + 'static {
    /// Takes the next piece off `inbox`; `None` if it is not all there.
    ///
    /// # Errors
    /// What is there can never become one: why.
    fn cut(inbox: &mut BytesMut, limits: &Limits) -> Result<Option<Self>, String>;
    /// Whether one [`Connections::send`] of a response answers it.
    fn is_answered(&self) -> bool;
    /// Bytes of memory that it holds.
    fn bytes(&self) -> usize;
}

impl Piece for Command {
    fn cut(inbox: &mut BytesMut, limits: &Limits) -> Result<Option<Self>, String> {
        frame::decode(inbox, limits.frame_bytes_max).map_err(|e| e.to_string())
    }

    fn is_answered(&self) -> bool {
        !self.is_response() && !self.is_oneway()
    }

    fn bytes(&self) -> usize {
        self.body.len()
    }
}

/// What the owner of a listener is told, on the thread that it runs on.
pub trait Handler: 'static {
    type Piece: Piece;
    fn connected(&self, conn: ConnId, peer: SocketAddr);
    /// All that one read brought, at least one piece, in order. What is left in `pieces` is offered again, before
    /// anything more is read, once the connection [is overloaded](Connections::is_overloaded) no more: short requests may
    /// have long answers.
    fn batch(&self, conn: ConnId, pieces: &mut Vec<Self::Piece>);
    fn closed(&self, conn: ConnId, peer: SocketAddr, why: Closed);
    /// A connection beyond the limit was closed right away, or could not be accepted.
    fn refused(&self, why: String);
}

/// Reads from one connection before others get their turn.
const READS_PER_TURN: usize = 4;
/// A partial frame up to this size is copied out of the buffer that it was read into.
const SMALL_BYTES_MAX: usize = 4 << 10;
/// How long a peer that is told that a connection ends may take for its own end, and how much it may say until then.
const LINGER: Duration = Duration::from_secs(5);
const LINGER_BYTES_MAX: usize = 1 << 20;
/// Wait after a failed accept (file descriptors ran out): the connection stays in the kernel's queue.
const ACCEPT_RETRY: Duration = Duration::from_millis(100);

/// Accepts connections and serves each in a task of its own, until the future is dropped (connections that are
/// open then go on). Must run inside a `LocalSet`.
pub async fn listen<H: Handler>(listener: TcpListener, connections: Rc<Connections>, handler: Rc<H>) {
    let mut sweep = tokio::time::interval(Duration::from_secs(1));
    sweep.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = sweep.tick() => { connections.sweep(); continue }
        };
        match accepted {
            Ok((stream, peer)) if connections.len() < connections.limits.connections_max => {
                // Costs latency only if it fails; the connection works without.
                let _ = stream.set_nodelay(true);
                let (from, to) = stream.into_split();
                let link = connections.add(to, peer);
                handler.connected(link.id, peer);
                tokio::task::spawn_local(serve(from, link, Rc::clone(&connections), Rc::clone(&handler)));
            }
            Ok((_, peer)) => {
                connections.count(|c| c.refused += 1);
                handler.refused(format!(
                    "connection from {peer} refused: {} are open, which is the limit",
                    connections.limits.connections_max
                ));
            }
            Err(e) => {
                handler.refused(format!("cannot accept a connection: {e}"));
                tokio::time::sleep(ACCEPT_RETRY).await;
            }
        }
    }
}

async fn serve<H: Handler>(
    from: OwnedReadHalf,
    link: Rc<Link>,
    connections: Rc<Connections>,
    handler: Rc<H>,
) {
    let reader = Reader {
        from,
        link: &link,
        connections: &connections,
        handler: &*handler,
        inbox: BytesMut::new(),
        split: false,
        grown: false,
        pieces: Vec::new(),
        peer_closed: false,
    };
    let why = reader.exchange().await;
    connections.remove(&link);
    handler.closed(link.id, link.peer, why);
}

/// The reading side of one connection.
struct Reader<'a, H: Handler> {
    from: OwnedReadHalf,
    link: &'a Link,
    connections: &'a Connections,
    handler: &'a H,
    inbox: BytesMut,
    /// Frames were taken off `inbox`: it is a part of a larger piece of memory.
    split: bool,
    /// `inbox` was made larger than one read needs, for a large frame.
    grown: bool,
    /// Cut and not handled: empty whenever something is read.
    pieces: Vec<H::Piece>,
    /// TLS says that the peer says no more.
    peer_closed: bool,
}

impl<H: Handler> Reader<'_, H> {
    /// Reads and writes until the connection ends.
    async fn exchange(mut self) -> Closed {
        let link = self.link;
        loop {
            if let Some(why) = link.closing.borrow_mut().take() {
                return why;
            }
            // (Blocked: what is encrypted is not in the outbox any more.)
            if link.close_when_sent.get() && link.outbox.borrow().is_empty() && !link.blocked.get() {
                if link.lingers.get() {
                    // Who takes no notice is not waited for.
                    let _ = tokio::time::timeout(LINGER, self.linger()).await;
                }
                return Closed::ByServer;
            }
            link.paused.set(self.connections.has_enough(link));
            if !link.paused.get() && !self.pieces.is_empty() {
                self.handler.batch(link.id, &mut self.pieces);
                self.release();
                // Others get their turn, however fast this peer takes its answers.
                tokio::task::yield_now().await;
                continue;
            }
            tokio::select! {
                biased;
                () = link.wake.notified() => {}
                ready = link.stream.writable(), if link.blocked.get() => match ready {
                    Ok(()) => self.connections.write(link),
                    Err(e) => return closed_by(&e),
                },
                ready = self.from.readable(), if !link.paused.get() => {
                    let turn = match ready {
                        Ok(()) => self.turn().await,
                        Err(e) => Err(closed_by(&e)),
                    };
                    match turn {
                        // (The runtime itself lets a task go on while its socket has something.)
                        Ok(true) => tokio::task::yield_now().await,
                        Ok(false) => {}
                        Err(why) => return why,
                    }
                }
            }
        }
    }

    /// Says that nothing more comes, and waits for the peer's end: were it closed while the peer says something, the system would answer
    /// that with a reset, and the peer would lose what it has not read yet.
    async fn linger(&mut self) {
        if let Some(tls) = &mut *self.link.tls.borrow_mut() {
            tls.close();
        }
        self.connections.write(self.link);
        // Fails if the peer has gone.
        let _ = rustix::net::shutdown(self.link.stream.as_ref(), rustix::net::Shutdown::Write);
        let mut left = LINGER_BYTES_MAX;
        while left > 0 {
            let mut ignored = BytesMut::with_capacity(4 << 10);
            match self.from.read_buf(&mut ignored).await {
                Ok(count @ 1..) => left = left.saturating_sub(count),
                _ => return,
            }
        }
    }

    /// True if others are to get their turn before more is read.
    async fn turn(&mut self) -> Result<bool, Closed> {
        for _ in 0..READS_PER_TURN {
            let (more, handled) = self.read().await?;
            if !more || !self.pieces.is_empty() || self.connections.has_enough(self.link) {
                return Ok(false);
            }
            // What was read is work enough for now, or a part of much.
            if handled || self.link.large.get() {
                break;
            }
        }
        Ok(true)
    }

    /// One read and all that follows from it: whether the socket may have more, and whether anything was handled. Never waits.
    async fn read(&mut self) -> Result<(bool, bool), Closed> {
        let limits = &self.connections.limits;
        if self.inbox.len() <= SMALL_BYTES_MAX && self.inbox.capacity() <= SMALL_BYTES_MAX {
            let small = std::mem::replace(&mut self.inbox, self.connections.spare());
            self.inbox.extend_from_slice(&small);
        }
        if self.inbox.capacity() - self.inbox.len() < limits.read_bytes / 4 {
            self.grown |= self.inbox.len() > SMALL_BYTES_MAX;
            self.inbox.reserve(limits.read_bytes);
        }
        // Room for a large frame is not read full at once: others wait for their turn.
        let most =
            if self.link.large.get() { self.connections.large_read_bytes() } else { limits.read_bytes };
        let room = (self.inbox.capacity() - self.inbox.len()).min(most);
        let count = match self.read_plain(room).await {
            Ok(0) => return Err(Closed::ByPeer),
            Ok(count) => count,
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => {
                self.release();
                return Ok((false, false));
            }
            Err(e) if e.kind() == io::ErrorKind::InvalidData => return Err(Closed::Malformed(e.to_string())),
            Err(e) => return Err(closed_by(&e)),
        };
        let malformed = self.cut();
        self.note(count);
        let handles = !self.pieces.is_empty();
        if handles {
            self.handler.batch(self.link.id, &mut self.pieces);
        }
        self.release();
        match malformed {
            Some(why) => Err(Closed::Malformed(why)),
            None if self.peer_closed => Err(Closed::ByPeer),
            None => Ok((count == room, handles)),
        }
    }

    /// Reads into the inbox; bytes that came. Of a connection with TLS fewer may be there to be looked at.
    async fn read_plain(&mut self, room: usize) -> io::Result<usize> {
        let link = self.link;
        if link.tls.borrow().is_none() {
            let count = read_now(&mut self.from, &mut self.inbox, room).await?;
            if count > 0 && !link.heard.replace(true) {
                match self.connections.tls.mode(self.inbox.first().copied()) {
                    Mode::Plain => return Ok(count),
                    Mode::Refused => {
                        return Err(io::Error::new(
                            io::ErrorKind::InvalidData,
                            "without TLS, which this port wants",
                        ));
                    }
                    Mode::Tls(session) => *link.tls.borrow_mut() = Some(session),
                }
                let raw = self.inbox.split();
                self.decrypt(&raw)?;
            }
            return Ok(count);
        }
        let mut raw = self.connections.spare();
        raw.reserve(room);
        let count = read_now(&mut self.from, &mut raw, room).await;
        let result = count.and_then(|count| self.decrypt(&raw).map(|()| count));
        raw.clear();
        self.connections.keep_spare(raw);
        result
    }

    fn decrypt(&mut self, raw: &[u8]) -> io::Result<()> {
        let result = match &mut *self.link.tls.borrow_mut() {
            Some(tls) => tls.read(raw, &mut self.inbox),
            None => Ok(false),
        };
        // Handshakes, and what is wrong with them.
        self.connections.write(self.link);
        self.peer_closed |= result?;
        Ok(())
    }

    /// All whole pieces; what is wrong with the next one, if it can never become one.
    fn cut(&mut self) -> Option<String> {
        loop {
            match Piece::cut(&mut self.inbox, &self.connections.limits) {
                Ok(Some(piece)) => {
                    self.split = true;
                    self.pieces.push(piece);
                }
                Ok(None) => return None,
                Err(e) => return Some(e),
            }
        }
    }

    /// Keeps the figures that limits look at.
    fn note(&self, count: usize) {
        let now_s = self.connections.now_s.get();
        let link = self.link;
        link.active_s.set(now_s);
        self.connections.count(|c| {
            c.bytes_in += count as u64;
            c.commands_in += self.pieces.len() as u64;
        });
        let is_handshaking = link.tls.borrow().as_ref().is_some_and(|tls| tls.is_handshaking());
        if self.inbox.is_empty() && !is_handshaking {
            link.partial_s.set(None);
        } else if !self.pieces.is_empty() || link.partial_s.get().is_none() {
            link.partial_s.set(Some(now_s));
        }
        let waiting = self.pieces.iter().filter(|piece| piece.is_answered()).count();
        link.parked.set(link.parked.get() + waiting);
    }

    /// A connection that waits holds no more memory than its partial frame needs: many may send a byte now and then, and
    /// what is left behind a large frame must not keep the memory of that frame.
    fn release(&mut self) {
        if self.inbox.len() <= SMALL_BYTES_MAX || std::mem::take(&mut self.split) {
            let small = BytesMut::from(&*self.inbox);
            let mut large = std::mem::replace(&mut self.inbox, small);
            large.clear();
            if !std::mem::take(&mut self.grown) {
                self.connections.keep_spare(large);
            }
        }
        self.connections.note_large(self.link, self.inbox.len() > self.connections.limits.read_bytes / 4);
        let unhandled: usize = self.pieces.iter().map(Piece::bytes).sum();
        self.connections.note_inbox(self.link, self.inbox.capacity() + unhandled);
    }
}

/// Reads what is there, up to `max` bytes. Unlike `try_read`, a read that did not fill the buffer lets the runtime know that the
/// socket is empty, which saves the system call that would find that out.
async fn read_now(from: &mut OwnedReadHalf, inbox: &mut BytesMut, max: usize) -> io::Result<usize> {
    poll_fn(|cx| match poll_read_buf(Pin::new(&mut *from), cx, inbox, max) {
        Poll::Ready(result) => Poll::Ready(result),
        Poll::Pending => Poll::Ready(Err(io::ErrorKind::WouldBlock.into())),
    })
    .await
}

fn poll_read_buf(
    from: Pin<&mut OwnedReadHalf>,
    cx: &mut Context<'_>,
    inbox: &mut BytesMut,
    max: usize,
) -> Poll<io::Result<usize>> {
    let mut room = inbox.limit(max);
    let future = from.get_mut().read_buf(&mut room);
    std::pin::pin!(future).poll(cx)
}
