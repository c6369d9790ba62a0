//! The face itself: connections, their calls and clients, and the way from a frame to an answer.

use crate::brokers::{Brokers, FaceEnd, Hub, Link};
use crate::calls;
use crate::client::Client;
use crate::http2::{self, Event, Frame, Scratch};
use crate::known::{Known, Place};
use crate::status::{Refusal, Result};
use crate::v2::Code;
use kerolox_net as net;
use kerolox_net::{Closed, ConnId, Connections};
use kerolox_wire::fields::Fields;
use prost::Message;
use std::cell::{Cell, RefCell};
use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;
use tokio::sync::Notify;

/// What a face is told at its start. Names of Apache's `ProxyConfig` in brackets.
pub struct Config {
    /// The port that routes name (`grpcServerPort`).
    pub port: u16,
    /// `HOST:PORT` that routes name for this face, where clients do not reach it by the address they ask at.
    pub advertise: Option<String>,
    /// Bytes of a message's body (`maxMessageSize`).
    pub body_bytes_max: usize,
    /// How far ahead a message may be timed, in milliseconds (`maxDelayTimeMills`).
    pub delay_ms_max: i64,
    /// Whether topics take messages of their type only (`enableTopicMessageTypeCheck`).
    pub check_message_types: bool,
    /// Name servers, for a face without a broker of its own.
    pub name_servers: Vec<String>,
    pub http2: http2::Limits,
    /// Milliseconds since the epoch.
    pub now_ms: Box<dyn Fn() -> i64>,
    /// What somebody who runs the process should read.
    pub report: Box<dyn Fn(&str)>,
}

/// One connection.
struct Conn {
    peer: SocketAddr,
    http: http2::Connection,
    /// Clients that were heard by it last: nearly always one.
    clients: usize,
    /// Streams of telemetry, and whose.
    telemetry: Vec<(u32, Rc<Client>)>,
    /// Calls that messages were received by, the latest, and whose.
    received: VecDeque<(u32, Rc<Client>)>,
    /// Receives under way.
    receives: Rc<Cell<usize>>,
}

/// Seconds that a client whose connection broke has to come back by another.
const COMES_BACK_S: u64 = 20;
/// One that says nothing for so many seconds is gone, though its connection be shared and there. (They send heartbeats every 10 s.)
const SILENT_S: u64 = 120;
/// Calls that are remembered for the messages that were received by them.
const RECEIVED_MAX: usize = 64;
/// Receives of a connection at a time, with those that their client has taken back: the broker waits for messages for all of them.
const RECEIVES_MAX: usize = 1_024;
/// While all are told to go, it is looked so often who has.
const DRAIN_LOOK: Duration = Duration::from_millis(20);
/// Clients of one connection.
const CLIENTS_MAX: usize = 1_024;

pub struct Face {
    pub(crate) config: Config,
    pub(crate) connections: Rc<Connections>,
    pub(crate) brokers: Brokers,
    conns: RefCell<HashMap<ConnId, Conn>>,
    scratch: RefCell<Scratch>,
    events: RefCell<Vec<Event>>,
    flush: Notify,
    /// By their ids.
    clients: RefCell<HashMap<String, Rc<Client>>>,
    /// For what no client asks.
    pub(crate) own: Rc<Client>,
    pub(crate) known: Known,
    /// Counts what is chosen in turn.
    pub(crate) turn: Cell<usize>,
    pub(crate) counters: Cell<Counters>,
    /// Bytes of messages that are on their way to brokers.
    sending: Cell<usize>,
    /// Calls a second, in and out: what the last full second had, and the counters at its end.
    rates: Cell<((f64, f64), Counters)>,
}

/// More than that on their way: further sends are refused.
const SENDING_BYTES_MAX: usize = 256 << 20;

/// Bytes of a message on its way to a broker.
pub(crate) struct Sending {
    face: Rc<Face>,
    bytes: usize,
}

impl Drop for Sending {
    fn drop(&mut self) {
        self.face.sending.set(self.face.sending.get() - self.bytes);
    }
}

/// A receive that is under way.
pub(crate) struct Receiving(Rc<Cell<usize>>);

impl Drop for Receiving {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}

/// What went through since the start.
#[derive(Debug, Clone, Copy, Default)]
pub struct Counters {
    pub calls: u64,
    pub sent: u64,
    pub received: u64,
}

/// A call: who waits for its answer, and where.
#[derive(Clone)]
pub(crate) struct Call {
    pub(crate) face: Rc<Face>,
    pub(crate) client: Rc<Client>,
    pub(crate) conn: ConnId,
    pub(crate) stream: u32,
    /// How long the client waits, if it said so.
    pub(crate) timeout: Option<Duration>,
}

impl Call {
    pub(crate) fn now_ms(&self) -> i64 {
        (self.face.config.now_ms)()
    }

    /// Answers with one message, and ends. False if nobody waits any more.
    pub(crate) fn answer(&self, message: &impl Message) -> bool {
        let answer = |http: &mut http2::Connection, out: &mut bytes::BytesMut| {
            let sent = http.send(self.stream, message, out);
            http.finish(self.stream, 0, "", out);
            sent
        };
        self.face.with_http(self.conn, answer).unwrap_or(false)
    }

    /// Sends one of several messages.
    pub(crate) fn send(&self, message: &impl Message) -> bool {
        self.face.send(self.conn, self.stream, message)
    }

    /// Ends with a status of gRPC's.
    pub(crate) fn finish(&self, status: u32, why: &str) {
        self.face.finish(self.conn, self.stream, status, why);
    }

    /// The client's connection to a broker.
    pub(crate) async fn link(&self, place: &Place) -> Result<Rc<Link>> {
        self.client.link(&self.face, place).await
    }
}

impl Face {
    fn new(config: Config, connections: Rc<Connections>, brokers: Brokers) -> Rc<Self> {
        let nowhere = SocketAddr::from(([127, 0, 0, 1], 0));
        Rc::new(Self {
            config,
            connections,
            brokers,
            conns: RefCell::default(),
            scratch: RefCell::default(),
            events: RefCell::default(),
            flush: Notify::new(),
            clients: RefCell::default(),
            own: Client::new("kerolox-proxy", "OTHER", nowhere, (ConnId(0), 0)),
            known: Known::default(),
            turn: Cell::default(),
            counters: Cell::default(),
            sending: Cell::default(),
            rates: Cell::default(),
        })
    }

    /// A face with the broker of its process. Must be made on the thread that serves it, inside a `LocalSet`.
    pub fn with_broker(config: Config, connections: Rc<Connections>, end: FaceEnd) -> Rc<Self> {
        let face = Self::new(config, connections, Brokers::Local(Hub::start(end)));
        face.start();
        face
    }

    /// A face for brokers that name servers know.
    pub fn apart(config: Config, connections: Rc<Connections>) -> Rc<Self> {
        let brokers = Brokers::remote(config.name_servers.clone());
        let face = Self::new(config, connections, brokers);
        face.start();
        face
    }

    fn start(self: &Rc<Self>) {
        // A woken task runs after all that were woken before it: the answers of many calls leave together.
        let face = Rc::clone(self);
        tokio::task::spawn_local(async move {
            loop {
                face.flush.notified().await;
                face.connections.flush();
            }
        });
        tokio::task::spawn_local(crate::renew::run(Rc::downgrade(self)));
        let face = Rc::clone(self);
        tokio::task::spawn_local(async move {
            let mut seconds = tokio::time::interval(Duration::from_secs(1));
            loop {
                seconds.tick().await;
                face.sweep();
                face.sweep_clients();
                if let Brokers::Local(hub) = &face.brokers {
                    hub.sweep();
                }
                let (now, (_, before)) = (face.counters(), face.rates.get());
                let rates = ((now.sent - before.sent) as f64, (now.received - before.received) as f64);
                face.rates.set((rates, now));
            }
        });
    }

    pub fn counters(&self) -> Counters {
        self.counters.get()
    }

    /// Messages a second that came and went, in the last second.
    pub(crate) fn rates(&self) -> (f64, f64) {
        self.rates.get().0
    }

    /// Everybody is told to go elsewhere; calls under way are finished, telemetry is ended, and connections that have no more calls
    /// are closed.
    pub fn drain(self: &Rc<Self>) {
        let ids: Vec<ConnId> = self.conns.borrow().keys().copied().collect();
        for id in ids {
            self.with_http(id, |http, out| http.drain(out));
            let telemetry: Vec<u32> = self
                .conns
                .borrow()
                .get(&id)
                .map_or(Vec::new(), |conn| conn.telemetry.iter().map(|t| t.0).collect());
            for stream in telemetry {
                self.forget_telemetry(id, stream);
                self.finish(id, stream, 0, "");
            }
        }
        let face = Rc::clone(self);
        tokio::task::spawn_local(async move {
            loop {
                tokio::time::sleep(DRAIN_LOOK).await;
                face.sweep();
            }
        });
    }

    /// All clients that are there.
    pub(crate) fn clients(&self) -> Vec<Rc<Client>> {
        self.clients.borrow().values().cloned().collect()
    }

    fn with_http<T>(
        &self,
        id: ConnId,
        act: impl FnOnce(&mut http2::Connection, &mut bytes::BytesMut) -> T,
    ) -> Option<T> {
        let mut conns = self.conns.borrow_mut();
        let conn = conns.get_mut(&id)?;
        let mut result = None;
        let held = conn.http.held();
        self.connections.send_bytes(id, |out| result = Some(act(&mut conn.http, out)));
        if conn.http.held() != held {
            self.connections.note_owned(id, conn.http.held());
        }
        self.flush.notify_one();
        result
    }

    pub(crate) fn send(&self, id: ConnId, stream: u32, message: &impl Message) -> bool {
        self.with_http(id, |http, out| http.send(stream, message, out)).unwrap_or(false)
    }

    pub(crate) fn finish(&self, id: ConnId, stream: u32, status: u32, why: &str) {
        self.with_http(id, |http, out| http.finish(stream, status, why, out));
    }

    /// Bytes that a client does not take though they are for it.
    pub(crate) fn untaken(&self, id: ConnId) -> usize {
        self.conns.borrow().get(&id).map_or(0, |conn| conn.http.queued())
    }

    fn sweep(self: &Rc<Self>) {
        let now_s = self.connections.now_s();
        let ids: Vec<ConnId> = self.conns.borrow().keys().copied().collect();
        for id in ids {
            let mut events = Vec::new();
            let has_calls = |conn: &Conn| conn.http.streams().next().is_some();
            if self.conns.borrow().get(&id).is_some_and(has_calls) {
                self.with_http(id, |http, out| http.sweep(now_s, &self.config.http2, out, &mut events));
            }
            events.into_iter().for_each(|event| self.event(id, event));
            if self.conns.borrow().get(&id).is_some_and(|conn| conn.http.is_drained()) {
                self.connections.close(id);
            }
        }
    }

    fn event(self: &Rc<Self>, id: ConnId, event: Event) {
        match event {
            Event::Message { stream, head: Some(head), message } => {
                if let Some(call) = self.admit(id, stream, &head) {
                    calls::begin(call, head.get(":path").unwrap_or_default(), message);
                }
            }
            // (More than one message where one is meant: the first is being answered.)
            Event::Message { stream, head: None, message } => {
                if let Some(client) = self.telemetry_of(id, stream) {
                    calls::telemetry::take(self, &client, (id, stream), message);
                }
            }
            Event::Ended { stream } => {
                if self.telemetry_of(id, stream).is_some() {
                    self.forget_telemetry(id, stream);
                    self.finish(id, stream, 0, "");
                }
            }
            Event::Cancelled { stream } => {
                self.forget_telemetry(id, stream);
                if let Some(client) = self.forget_received(id, stream) {
                    client.give_back(self, (id, stream));
                }
            }
        }
    }

    fn telemetry_of(&self, id: ConnId, stream: u32) -> Option<Rc<Client>> {
        let conns = self.conns.borrow();
        let streams = &conns.get(&id)?.telemetry;
        streams.iter().find(|(s, _)| *s == stream).map(|(_, client)| Rc::clone(client))
    }

    pub(crate) fn note_telemetry(&self, call: &Call) {
        if let Some(conn) = self.conns.borrow_mut().get_mut(&call.conn) {
            conn.telemetry.push((call.stream, Rc::clone(&call.client)));
        }
    }

    /// Messages were received by a call: should it be taken back, they were not read.
    pub(crate) fn note_received(&self, call: &Call) {
        if let Some(conn) = self.conns.borrow_mut().get_mut(&call.conn)
            && conn.received.back().is_none_or(|(stream, _)| *stream != call.stream)
        {
            if conn.received.len() >= RECEIVED_MAX {
                conn.received.pop_front();
            }
            conn.received.push_back((call.stream, Rc::clone(&call.client)));
        }
    }

    fn forget_received(&self, id: ConnId, stream: u32) -> Option<Rc<Client>> {
        let mut conns = self.conns.borrow_mut();
        let received = &mut conns.get_mut(&id)?.received;
        let place = received.iter().position(|(other, _)| *other == stream)?;
        received.remove(place).map(|(_, client)| client)
    }

    /// A receive begins, and is under way as long as the answer is kept.
    pub(crate) fn receiving(&self, id: ConnId) -> Result<Receiving> {
        let receives = self.conns.borrow().get(&id).map(|conn| Rc::clone(&conn.receives));
        let receives = receives.unwrap_or_default();
        if receives.get() >= RECEIVES_MAX {
            let why = format!("a connection is for {RECEIVES_MAX} receives at a time");
            return Err(Refusal::new(Code::TooManyRequests, why));
        }
        receives.set(receives.get() + 1);
        Ok(Receiving(receives))
    }

    pub(crate) fn forget_telemetry(&self, id: ConnId, stream: u32) {
        if let Some(conn) = self.conns.borrow_mut().get_mut(&id) {
            conn.telemetry.retain(|(s, client)| {
                if *s == stream && client.telemetry.get() == Some((id, stream)) {
                    client.telemetry.set(None);
                }
                *s != stream
            });
        }
    }

    /// Who calls; `None` if the connection is gone, or the caller was told what is wrong.
    fn admit(self: &Rc<Self>, id: ConnId, stream: u32, head: &Fields) -> Option<Call> {
        let Some(client) = self.client(id, head) else {
            let why = format!("a connection is for {CLIENTS_MAX} clients at most");
            self.finish(id, stream, calls::RESOURCE_EXHAUSTED, &why);
            return None;
        };
        let timeout = head.get("grpc-timeout").and_then(timeout);
        Some(Call { face: Rc::clone(self), client, conn: id, stream, timeout })
    }

    /// The client of a call, by its id; one without is another each time. `None` if the connection has too many.
    fn client(&self, id: ConnId, head: &Fields) -> Option<Rc<Client>> {
        let name = head.get("x-mq-client-id").unwrap_or_default();
        let heard = (id, self.connections.now_s());
        let mut conns = self.conns.borrow_mut();
        let mut clients = self.clients.borrow_mut();
        let conn = conns.get_mut(&id)?;
        if let Some(client) = clients.get(name) {
            let (before, _) = client.heard.replace(heard);
            client.lost_s.set(None);
            if before != id {
                conn.clients += 1;
                if let Some(before) = conns.get_mut(&before) {
                    before.clients -= 1;
                }
            }
            return Some(Rc::clone(client));
        }
        let client = Client::new(name, head.get("x-mq-language").unwrap_or("OTHER"), conn.peer, heard);
        if !name.trim().is_empty() {
            if conn.clients >= CLIENTS_MAX {
                return None;
            }
            conn.clients += 1;
            clients.insert(name.to_owned(), Rc::clone(&client));
        }
        Some(client)
    }

    /// Clients that have gone without a word: what they held comes again.
    fn sweep_clients(self: &Rc<Self>) {
        let now_s = self.connections.now_s();
        for client in self.clients() {
            let (conn, heard_s) = client.heard.get();
            let is_there = self.conns.borrow().contains_key(&conn);
            if !is_there && client.lost_s.get().is_none() {
                client.lost_s.set(Some(now_s));
                client.close_links();
                client.forget_unread((self.config.now_ms)());
            }
            let lost = client.lost_s.get().is_some_and(|lost_s| now_s - lost_s >= COMES_BACK_S);
            if lost || now_s - heard_s >= SILENT_S {
                crate::renew::let_go(self, client.held.take());
                self.leave(&client);
                if let Some((conn, stream)) = client.telemetry.take() {
                    // It shall say again what it is, should it live.
                    self.forget_telemetry(conn, stream);
                    self.finish(conn, stream, 0, "");
                }
            }
        }
    }

    /// A client is gone.
    pub(crate) fn leave(&self, client: &Rc<Client>) {
        let mut clients = self.clients.borrow_mut();
        if clients.get(&client.id).is_some_and(|known| Rc::ptr_eq(known, client)) {
            clients.remove(&client.id);
            if let Some(conn) = self.conns.borrow_mut().get_mut(&client.heard.get().0) {
                conn.clients -= 1;
            }
        }
        client.close();
    }

    /// Counts bytes as on their way, as long as the answer is kept.
    pub(crate) fn sending(self: &Rc<Self>, bytes: usize) -> Result<Sending> {
        let all = self.sending.get() + bytes;
        if all > SENDING_BYTES_MAX {
            let why = format!("{SENDING_BYTES_MAX} bytes of messages are on their way to brokers, the limit");
            return Err(Refusal::new(Code::TooManyRequests, why));
        }
        self.sending.set(all);
        Ok(Sending { face: Rc::clone(self), bytes })
    }

    /// The next number of a round robin.
    pub(crate) fn next_turn(&self) -> usize {
        self.turn.replace(self.turn.get().wrapping_add(1))
    }

    pub(crate) fn count(&self, change: impl FnOnce(&mut Counters)) {
        let mut counters = self.counters.get();
        change(&mut counters);
        self.counters.set(counters);
    }
}

/// `grpc-timeout`: a number of at most 8 digits and a unit. Those of decades mean none.
fn timeout(text: &str) -> Option<Duration> {
    let (number, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let number: u64 = number.parse().ok()?;
    Some(match unit {
        "H" => Duration::from_secs(number.checked_mul(3_600)?),
        "M" => Duration::from_secs(number.checked_mul(60)?),
        "S" => Duration::from_secs(number),
        "m" => Duration::from_millis(number),
        "u" => Duration::from_micros(number),
        "n" => Duration::from_nanos(number),
        _ => return None,
    })
}

impl net::Piece for Frame {
    fn cut(inbox: &mut bytes::BytesMut, _: &net::Limits) -> std::result::Result<Option<Self>, String> {
        http2::cut(inbox)
    }

    // Calls are counted by the connection's own limits.
    fn is_answered(&self) -> bool {
        false
    }

    fn bytes(&self) -> usize {
        match self {
            Self::Preface => 0,
            Self::Frame { payload, .. } => payload.len(),
        }
    }
}

/// The listener's side. (A type of its own: calls need the face by `Rc`.)
pub struct Listener(pub Rc<Face>);

impl net::Handler for Listener {
    type Piece = Frame;

    fn connected(&self, id: ConnId, peer: SocketAddr) {
        let conn = Conn {
            peer,
            http: http2::Connection::default(),
            clients: 0,
            telemetry: Vec::new(),
            received: VecDeque::new(),
            receives: Rc::default(),
        };
        self.0.conns.borrow_mut().insert(id, conn);
    }

    fn batch(&self, id: ConnId, frames: &mut Vec<Frame>) {
        let face = &self.0;
        let now_s = face.connections.now_s();
        let mut events = face.events.take();
        let mut fault = None;
        let mut held = 0;
        face.connections.send_bytes(id, |out| {
            let mut conns = face.conns.borrow_mut();
            let Some(conn) = conns.get_mut(&id) else { return };
            let scratch = &mut *face.scratch.borrow_mut();
            for frame in frames.drain(..) {
                if let Err(why) =
                    conn.http.take(frame, now_s, (&face.config.http2, scratch), out, &mut events)
                {
                    conn.http.fail(&why, out);
                    fault = Some(why);
                    return;
                }
            }
            conn.http.settle(out);
            held = conn.http.held();
        });
        face.connections.note_owned(id, held);
        frames.clear();
        for event in events.drain(..) {
            face.event(id, event);
        }
        *face.events.borrow_mut() = events;
        if let Some(why) = fault {
            (face.config.report)(&format!("connection {} of gRPC closed: {why}", id.0));
            face.connections.close(id);
        }
        face.flush.notify_one();
    }

    fn closed(&self, id: ConnId, peer: SocketAddr, why: Closed) {
        if why.is_noteworthy() {
            (self.0.config.report)(&format!("connection of {peer} closed: {why}"));
        }
        let conn = self.0.conns.borrow_mut().remove(&id);
        // Its clients may come back by another: they are looked for.
        for (stream, client) in conn.into_iter().flat_map(|conn| conn.telemetry) {
            if client.telemetry.get() == Some((id, stream)) {
                client.telemetry.set(None);
            }
        }
    }

    fn refused(&self, why: String) {
        (self.0.config.report)(&why);
    }
}
