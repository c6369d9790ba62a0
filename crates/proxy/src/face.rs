//! The face itself: connections, their calls and clients, and the way from a frame to an answer.

use crate::brokers::{Brokers, FaceEnd, Hub, Link, success};
use crate::calls;
use crate::client::Client;
use crate::http2::{self, Event, Frame, Scratch};
use crate::status::{Refusal, Result};
use crate::v2::Code;
use kerolox_net as net;
use kerolox_net::{Closed, ConnId, Connections};
use kerolox_wire::body::{
    BrokerData, QueueData, SubscriptionGroupConfig, TopicConfig, TopicRouteData, from_json,
};
use kerolox_wire::fields::Fields;
use kerolox_wire::header::{GetRouteInfo, Group, Topic};
use kerolox_wire::{Command, RequestCode};
use prost::Message;
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
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

/// Where a broker is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) name: Rc<str>,
    /// `HOST:PORT`; empty for the broker of the process.
    pub(crate) address: String,
}

/// What is known of a topic for a while.
pub(crate) struct View {
    pub(crate) config: TopicConfig,
    /// Masters with a queue, in the order of their names, and their queues.
    pub(crate) masters: Vec<(Place, QueueData)>,
}

/// How long something may be believed that a broker said: it is asked again after that.
const LOCAL_MS: i64 = 1_000;
const REMOTE_MS: i64 = 10_000;
/// Topics and groups that are remembered.
const REMEMBERED_MAX: usize = 20_000;

/// One connection.
struct Conn {
    peer: SocketAddr,
    http: http2::Connection,
    /// Its clients by their ids: nearly always one.
    clients: Vec<Rc<Client>>,
    /// Streams of telemetry, and whose.
    telemetry: Vec<(u32, Rc<Client>)>,
}

/// A client whose connection broke has so long to come back by another.
const COMES_BACK: Duration = Duration::from_secs(20);
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
    /// For what no client asks.
    pub(crate) own: Rc<Client>,
    topics: RefCell<HashMap<String, (i64, Rc<View>)>>,
    groups: RefCell<HashMap<String, (i64, Rc<SubscriptionGroupConfig>)>>,
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
        let sent = self.face.send(self.client.conn, self.stream, message);
        self.finish(0, "");
        sent
    }

    /// Sends one of several messages.
    pub(crate) fn send(&self, message: &impl Message) -> bool {
        self.face.send(self.client.conn, self.stream, message)
    }

    /// Ends with a status of gRPC's.
    pub(crate) fn finish(&self, status: u32, why: &str) {
        self.face.finish(self.client.conn, self.stream, status, why);
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
            own: Client::new("kerolox-proxy", "OTHER", nowhere, ConnId(0)),
            topics: RefCell::default(),
            groups: RefCell::default(),
            turn: Cell::default(),
            counters: Cell::default(),
            sending: Cell::default(),
            rates: Cell::default(),
        })
    }

    /// A face with the broker of its process. Must be made on the thread that serves it, inside a `LocalSet`.
    pub fn with_broker(config: Config, connections: Rc<Connections>, end: FaceEnd) -> Rc<Self> {
        let (hub, mut from) = Hub::new(end);
        let face = Self::new(config, connections, Brokers::Local(Rc::clone(&hub)));
        tokio::task::spawn_local(async move {
            while let Some(said) = from.recv().await {
                hub.take(said);
            }
        });
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
        self.conns.borrow().values().flat_map(|conn| conn.clients.iter().cloned()).collect()
    }

    fn with_http<T>(
        &self,
        id: ConnId,
        act: impl FnOnce(&mut http2::Connection, &mut bytes::BytesMut) -> T,
    ) -> Option<T> {
        let mut conns = self.conns.borrow_mut();
        let conn = conns.get_mut(&id)?;
        let mut result = None;
        let queued = conn.http.queued();
        self.connections.send_bytes(id, |out| result = Some(act(&mut conn.http, out)));
        if conn.http.queued() != queued {
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
                    calls::telemetry::take(self, &client, stream, message);
                }
            }
            Event::Ended { stream } => {
                if self.telemetry_of(id, stream).is_some() {
                    self.forget_telemetry(id, stream);
                    self.finish(id, stream, 0, "");
                }
            }
            Event::Cancelled { stream } => self.forget_telemetry(id, stream),
        }
    }

    fn telemetry_of(&self, id: ConnId, stream: u32) -> Option<Rc<Client>> {
        let conns = self.conns.borrow();
        let streams = &conns.get(&id)?.telemetry;
        streams.iter().find(|(s, _)| *s == stream).map(|(_, client)| Rc::clone(client))
    }

    pub(crate) fn note_telemetry(&self, client: &Rc<Client>, stream: u32) {
        if let Some(conn) = self.conns.borrow_mut().get_mut(&client.conn) {
            conn.telemetry.push((stream, Rc::clone(client)));
        }
    }

    pub(crate) fn forget_telemetry(&self, id: ConnId, stream: u32) {
        if let Some(conn) = self.conns.borrow_mut().get_mut(&id) {
            conn.telemetry.retain(|(s, client)| {
                if *s == stream && client.telemetry.get() == Some(stream) {
                    client.telemetry.set(None);
                }
                *s != stream
            });
        }
    }

    /// Who calls; `None` if the connection is gone, or the caller was told what is wrong.
    fn admit(self: &Rc<Self>, id: ConnId, stream: u32, head: &Fields) -> Option<Call> {
        let name = head.get("x-mq-client-id").unwrap_or_default();
        let client = {
            let mut conns = self.conns.borrow_mut();
            let conn = conns.get_mut(&id)?;
            match conn.clients.iter().find(|client| client.id == name) {
                Some(client) => Rc::clone(client),
                None => {
                    let language = head.get("x-mq-language").unwrap_or("OTHER");
                    let client = Client::new(name, language, conn.peer, id);
                    if conn.clients.len() >= CLIENTS_MAX {
                        drop(conns);
                        let why = format!("a connection is for {CLIENTS_MAX} clients at most");
                        self.finish(id, stream, RESOURCE_EXHAUSTED, &why);
                        return None;
                    }
                    if !name.trim().is_empty() {
                        conn.clients.push(Rc::clone(&client));
                    }
                    client
                }
            }
        };
        Some(Call {
            face: Rc::clone(self),
            client,
            stream,
            timeout: head.get("grpc-timeout").and_then(timeout),
        })
    }

    /// A client lost its connection. It may come back by another one, with what it holds: only if it stays away that comes again.
    fn let_go_later(self: &Rc<Self>, client: Rc<Client>) {
        if client.held.borrow().is_empty() {
            return;
        }
        let face = Rc::clone(self);
        tokio::task::spawn_local(async move {
            tokio::time::sleep(COMES_BACK).await;
            let back = face.clients().into_iter().find(|other| other.id == client.id);
            match back {
                Some(other) => other.held.borrow_mut().extend(client.held.borrow_mut().drain()),
                None => crate::renew::let_go(&face, &client),
            }
        });
    }

    /// A client said that it leaves.
    pub(crate) fn leave(&self, client: &Rc<Client>) {
        if let Some(conn) = self.conns.borrow_mut().get_mut(&client.conn) {
            conn.clients.retain(|other| !Rc::ptr_eq(other, client));
        }
        client.close();
    }

    /// The broker of the process, if it has one.
    pub(crate) fn here(&self) -> Option<Place> {
        match &self.brokers {
            Brokers::Local(hub) => Some(Place { name: Rc::clone(&hub.broker), address: String::new() }),
            Brokers::Remote(_) => None,
        }
    }

    fn believed_ms(&self) -> i64 {
        if self.here().is_some() { LOCAL_MS } else { REMOTE_MS }
    }

    /// What name servers say of a topic.
    pub(crate) async fn route(&self, topic: &str) -> Result<TopicRouteData> {
        let header =
            GetRouteInfo { topic: Some(topic), accept_standard_json_only: Some(true), ..Default::default() };
        let command = Command::request(RequestCode::GET_ROUTEINFO_BY_TOPIC).with_header(&header);
        let answer = success(self.brokers.name_server(command).await?)?;
        from_json(&answer.body).map_err(|e| Refusal::new(Code::InternalServerError, e.to_string()))
    }

    /// A topic as brokers have it.
    pub(crate) async fn view(self: &Rc<Self>, topic: &str) -> Result<Rc<View>> {
        let now_ms = (self.config.now_ms)();
        if let Some((until_ms, view)) = self.topics.borrow().get(topic)
            && now_ms < *until_ms
        {
            return Ok(Rc::clone(view));
        }
        let view = Rc::new(self.fetch_view(topic).await?);
        let mut topics = self.topics.borrow_mut();
        if topics.len() >= REMEMBERED_MAX {
            topics.clear();
        }
        topics.insert(topic.to_owned(), (now_ms + self.believed_ms(), Rc::clone(&view)));
        Ok(view)
    }

    async fn fetch_view(self: &Rc<Self>, topic: &str) -> Result<View> {
        if let Some(here) = self.here() {
            let config = self.topic_config(&here, topic).await?;
            let queues = QueueData {
                broker_name: here.name.to_string(),
                perm: config.perm,
                read_queue_nums: config.read_queue_nums,
                write_queue_nums: config.write_queue_nums,
                topic_sys_flag: config.topic_sys_flag,
            };
            return Ok(View { config, masters: vec![(here, queues)] });
        }
        let masters = masters(self.route(topic).await?);
        let mut why = no_queue(topic);
        for (place, _) in &masters {
            match self.topic_config(place, topic).await {
                Ok(config) => return Ok(View { config, masters }),
                Err(e) => why = e,
            }
        }
        Err(why)
    }

    async fn topic_config(self: &Rc<Self>, place: &Place, topic: &str) -> Result<TopicConfig> {
        let header = Topic { topic, ..Default::default() };
        let command = Command::request(RequestCode::GET_TOPIC_CONFIG).with_header(&header);
        let link = self.own.link(self, place).await?;
        let answer = success(link.call(command, Duration::ZERO).await?)?;
        from_json(&answer.body).map_err(|e| Refusal::new(Code::InternalServerError, e.to_string()))
    }

    /// A group as a broker of a topic has it (of no account for the broker of the process); brokers create it where they may.
    pub(crate) async fn group(
        self: &Rc<Self>,
        group: &str,
        topic: Option<&str>,
    ) -> Result<Rc<SubscriptionGroupConfig>> {
        let now_ms = (self.config.now_ms)();
        if let Some((until_ms, config)) = self.groups.borrow().get(group)
            && now_ms < *until_ms
        {
            return Ok(Rc::clone(config));
        }
        let unknown = || Refusal::new(Code::ConsumerGroupNotFound, format!("group not found: {group}"));
        let place = match (self.here(), topic) {
            (Some(here), _) => here,
            (None, Some(topic)) => {
                let view = self.view(topic).await?;
                view.masters.first().map(|(place, _)| place.clone()).ok_or_else(unknown)?
            }
            (None, None) => return Err(unknown()),
        };
        let header = Group { group, ..Default::default() };
        let command = Command::request(RequestCode::GET_SUBSCRIPTIONGROUP_CONFIG).with_header(&header);
        let link = self.own.link(self, &place).await?;
        let answer = success(link.call(command, Duration::ZERO).await?)?;
        let config: SubscriptionGroupConfig =
            from_json(&answer.body).map_err(|e| Refusal::new(Code::InternalServerError, e.to_string()))?;
        let config = Rc::new(config);
        let mut groups = self.groups.borrow_mut();
        if groups.len() >= REMEMBERED_MAX {
            groups.clear();
        }
        groups.insert(group.to_owned(), (now_ms + self.believed_ms(), Rc::clone(&config)));
        Ok(config)
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

pub(crate) fn no_queue(topic: &str) -> Refusal {
    Refusal::new(Code::TopicNotFound, format!("No topic route info in name server for the topic: {topic}"))
}

/// Masters with queues of a topic, by their names.
pub(crate) fn masters(route: TopicRouteData) -> Vec<(Place, QueueData)> {
    let mut queues = route.queue_datas;
    queues.sort_by(|a, b| a.broker_name.cmp(&b.broker_name));
    let address = |name: &str, brokers: &[BrokerData]| {
        brokers.iter().find(|broker| broker.broker_name == name)?.broker_addrs.get(&0).cloned()
    };
    let place = |queue: QueueData| {
        let address = address(&queue.broker_name, &route.broker_datas)?;
        Some((Place { name: Rc::from(&*queue.broker_name), address }, queue))
    };
    queues.into_iter().filter_map(place).collect()
}

const RESOURCE_EXHAUSTED: u32 = 8;

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
        let conn =
            Conn { peer, http: http2::Connection::default(), clients: Vec::new(), telemetry: Vec::new() };
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
        for client in conn.into_iter().flat_map(|conn| conn.clients) {
            client.close();
            self.0.let_go_later(client);
        }
    }

    fn refused(&self, why: String) {
        (self.0.config.report)(&why);
    }
}
