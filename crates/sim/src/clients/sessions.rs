//! What all clients have in common: connections to name servers and brokers, routes, heartbeats, requests under way.

use super::{Role, is_ok, request};
use crate::check::Ledger;
use crate::network::{Node, broker_number};
use crate::random::Random;
use kerolox_broker::ConnId;
use kerolox_wire::body::{
    GetConsumerListByGroupResponseBody, HeartbeatData, TopicRouteData, from_json, to_json,
};
use kerolox_wire::{Command, RequestCode, ResponseCode};
use std::collections::{BTreeMap, BTreeSet};

/// A request that got no answer for so long is given up.
const TIMEOUT_MS: i64 = 3_000;
/// How often routes are asked for and heartbeats sent: both more often than real clients do (30 s).
const ROUTES_EVERY_MS: i64 = 1_000;
const BEAT_EVERY_MS: i64 = 1_000;
/// A broker that could not be reached is tried again after so long.
const REDIAL_MS: i64 = 300;

/// What a client may use of the world.
pub struct Context<'a> {
    pub now_ms: i64,
    pub random: &'a mut Random,
    pub ledger: &'a mut Ledger,
    /// Nothing new is begun, and what goes on is finished.
    pub closing: bool,
    pub namesrvs: usize,
    /// What the client wants done.
    pub out: Vec<Out>,
}

#[derive(Debug)]
pub enum Out {
    Dial(Node),
    HangUp(ConnId),
    Send(ConnId, Command),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Link {
    Dialing,
    Open(ConnId),
    Failed { retry_ms: i64 },
}

enum Asking<A> {
    Route(&'static str),
    Beat,
    Own(A),
}

struct Waiting<A> {
    deadline_ms: i64,
    to: Node,
    asking: Asking<A>,
}

/// Queues of a topic: broker, queues to write to, queues to read from.
pub(super) type Route = Vec<(usize, u32, u32)>;

/// See the module. `A`: why the client asked something.
pub struct Sessions<A> {
    /// The client's id, as brokers know it.
    pub name: String,
    links: BTreeMap<Node, Link>,
    waiting: BTreeMap<i32, Waiting<A>>,
    next_opaque: i32,
    pub routes: BTreeMap<&'static str, Route>,
    /// The name server that is asked, until it fails.
    namesrv: usize,
    route_asked_ms: BTreeMap<&'static str, i64>,
    beat_ms: BTreeMap<usize, i64>,
}

impl<A> Sessions<A> {
    fn new(name: String) -> Self {
        Self {
            name,
            links: BTreeMap::new(),
            waiting: BTreeMap::new(),
            next_opaque: 0,
            routes: BTreeMap::new(),
            namesrv: 0,
            route_asked_ms: BTreeMap::new(),
            beat_ms: BTreeMap::new(),
        }
    }

    /// Whether a broker can be asked now.
    pub fn is_open(&self, broker: usize) -> bool {
        matches!(self.links.get(&Node::Broker(broker)), Some(Link::Open(_)))
    }

    /// Whether something of that kind is under way.
    pub fn awaits(&self, wanted: impl Fn(usize, &A) -> bool) -> bool {
        self.own().any(|(broker, asked)| wanted(broker, asked))
    }

    /// Requests under way.
    pub fn count(&self) -> usize {
        self.own().count()
    }

    fn own(&self) -> impl Iterator<Item = (usize, &A)> {
        self.waiting.values().filter_map(|waiting| match (waiting.to, &waiting.asking) {
            (Node::Broker(broker), Asking::Own(asked)) => Some((broker, asked)),
            _ => None,
        })
    }

    /// Brokers of a topic's route that can be asked now.
    pub fn open_brokers(&self, topic: &str) -> Vec<usize> {
        let route = self.routes.get(topic).into_iter().flatten();
        route.map(|(broker, ..)| *broker).filter(|broker| self.is_open(*broker)).collect()
    }

    /// Asks a broker; one that is not connected never answers.
    pub fn ask(&mut self, context: &mut Context<'_>, broker: usize, command: Command, asked: A) {
        self.ask_node(context, Node::Broker(broker), command, Asking::Own(asked));
    }

    fn ask_node(&mut self, context: &mut Context<'_>, to: Node, mut command: Command, asking: Asking<A>) {
        self.next_opaque += 1;
        command.opaque = self.next_opaque;
        let deadline_ms = context.now_ms + TIMEOUT_MS;
        self.waiting.insert(self.next_opaque, Waiting { deadline_ms, to, asking });
        if let Some(Link::Open(conn)) = self.links.get(&to) {
            context.out.push(Out::Send(*conn, command));
        }
    }

    /// Tells a broker something that is not answered.
    pub fn tell(&self, context: &mut Context<'_>, broker: usize, command: Command) {
        if let Some(Link::Open(conn)) = self.links.get(&Node::Broker(broker)) {
            context.out.push(Out::Send(*conn, command.oneway()));
        }
    }

    /// Says yes to a broker's question.
    pub fn answer(&self, context: &mut Context<'_>, broker: usize, question: &Command) {
        if let Some(Link::Open(conn)) = self.links.get(&Node::Broker(broker)) {
            context.out.push(Out::Send(*conn, question.respond(ResponseCode::SUCCESS)));
        }
    }

    /// Closes the connection to a broker: what is under way to it gets there no more.
    pub fn hang_up(&mut self, context: &mut Context<'_>, broker: usize) {
        if let Some(Link::Open(conn)) = self.links.remove(&Node::Broker(broker)) {
            context.out.push(Out::HangUp(conn));
        }
    }

    /// True if it is connected; else that is seen to.
    fn reach(&mut self, context: &mut Context<'_>, to: Node) -> bool {
        match self.links.get(&to) {
            Some(Link::Open(_)) => return true,
            Some(Link::Dialing) => return false,
            Some(Link::Failed { retry_ms }) if *retry_ms > context.now_ms => return false,
            _ => {}
        }
        self.links.insert(to, Link::Dialing);
        context.out.push(Out::Dial(to));
        false
    }

    /// Routes, connections and heartbeats.
    fn tend(&mut self, context: &mut Context<'_>, topics: &[&'static str], heartbeat: &HeartbeatData) {
        let namesrv = Node::Namesrv(self.namesrv);
        if self.reach(context, namesrv) {
            for topic in topics {
                let last = self.route_asked_ms.get(topic).copied().unwrap_or(0);
                if context.now_ms - last >= ROUTES_EVERY_MS {
                    self.route_asked_ms.insert(topic, context.now_ms);
                    let command =
                        request(RequestCode::GET_ROUTEINFO_BY_TOPIC, &[("topic", (*topic).to_owned())]);
                    self.ask_node(context, namesrv, command, Asking::Route(topic));
                }
            }
        } else if matches!(self.links.get(&namesrv), Some(Link::Failed { .. })) {
            self.namesrv = (self.namesrv + 1) % context.namesrvs;
        }
        let brokers: BTreeSet<usize> = self.routes.values().flatten().map(|(broker, ..)| *broker).collect();
        for broker in brokers {
            let last = self.beat_ms.get(&broker).copied().unwrap_or(0);
            if self.reach(context, Node::Broker(broker)) && context.now_ms - last >= BEAT_EVERY_MS {
                self.beat_ms.insert(broker, context.now_ms);
                let command = Command::request(RequestCode::HEART_BEAT).with_body(to_json(heartbeat));
                self.ask_node(context, Node::Broker(broker), command, Asking::Beat);
            }
        }
    }

    /// Takes out requests that will not be answered any more.
    fn give_up(&mut self, lost: impl Fn(&Waiting<A>) -> bool) -> Vec<(usize, A)> {
        let lost: Vec<i32> =
            self.waiting.iter().filter(|(_, waiting)| lost(waiting)).map(|(opaque, _)| *opaque).collect();
        let taken = lost.into_iter().filter_map(|opaque| self.waiting.remove(&opaque));
        let own = taken.filter_map(|waiting| match (waiting.to, waiting.asking) {
            (Node::Broker(broker), Asking::Own(asked)) => Some((broker, asked)),
            _ => None,
        });
        own.collect()
    }

    fn route_answered(&mut self, topic: &'static str, answer: &Command) {
        if !is_ok(answer) {
            self.routes.remove(topic);
            return;
        }
        let route: TopicRouteData = from_json(&answer.body).unwrap_or_default();
        let mut queues: Route = route
            .queue_datas
            .iter()
            .filter_map(|q| {
                let broker = broker_number(&q.broker_name)?;
                Some((broker, q.write_queue_nums.try_into().ok()?, q.read_queue_nums.try_into().ok()?))
            })
            .collect();
        queues.sort_unstable();
        self.routes.insert(topic, queues);
    }
}

/// A client of any kind, as the world sees it.
pub trait Actor {
    /// It may do something.
    fn act(&mut self, context: &mut Context<'_>);
    /// A connection that it asked for is there, or cannot be had.
    fn dialed(&mut self, context: &mut Context<'_>, to: Node, conn: Option<ConnId>);
    /// A connection broke: everything under way failed.
    fn broken(&mut self, context: &mut Context<'_>, conn: ConnId);
    /// A frame came.
    fn frame(&mut self, context: &mut Context<'_>, conn: ConnId, command: &Command);
    /// The process dies and starts anew, without any connection.
    fn restart(&mut self);
}

pub struct Client<R: Role> {
    sessions: Sessions<R::Asked>,
    role: R,
}

impl<R: Role> Client<R> {
    pub fn new(name: String, role: R) -> Self {
        Self { sessions: Sessions::new(name), role }
    }

    fn failed(&mut self, context: &mut Context<'_>, lost: impl Fn(&Waiting<R::Asked>) -> bool) {
        for (broker, asked) in self.sessions.give_up(lost) {
            self.role.answered(&mut self.sessions, context, broker, asked, None);
        }
    }

    fn peer(&self, conn: ConnId) -> Option<Node> {
        self.sessions.links.iter().find(|(_, link)| **link == Link::Open(conn)).map(|(node, _)| *node)
    }
}

impl<R: Role> Actor for Client<R> {
    fn act(&mut self, context: &mut Context<'_>) {
        let now_ms = context.now_ms;
        self.failed(context, |waiting| waiting.deadline_ms <= now_ms);
        let heartbeat = self.role.heartbeat(&self.sessions.name);
        self.sessions.tend(context, self.role.topics(), &heartbeat);
        self.role.act(&mut self.sessions, context);
    }

    fn dialed(&mut self, context: &mut Context<'_>, to: Node, conn: Option<ConnId>) {
        let link = self.sessions.links.get(&to);
        match (link, conn) {
            (Some(Link::Dialing), Some(conn)) => {
                self.sessions.links.insert(to, Link::Open(conn));
                if let Node::Broker(broker) = to {
                    self.sessions.beat_ms.remove(&broker);
                }
            }
            (Some(Link::Dialing), None) => {
                let retry_ms = context.now_ms + REDIAL_MS;
                self.sessions.links.insert(to, Link::Failed { retry_ms });
            }
            // Asked for by the process before this one.
            (_, Some(conn)) => context.out.push(Out::HangUp(conn)),
            (_, None) => {}
        }
    }

    fn broken(&mut self, context: &mut Context<'_>, conn: ConnId) {
        let Some(node) = self.peer(conn) else { return };
        let retry_ms = context.now_ms + context.random.between(1, 50);
        self.sessions.links.insert(node, Link::Failed { retry_ms });
        self.failed(context, |waiting| waiting.to == node);
    }

    fn frame(&mut self, context: &mut Context<'_>, conn: ConnId, command: &Command) {
        let Some(node) = self.peer(conn) else { return };
        if !command.is_response() {
            if let Node::Broker(broker) = node {
                self.role.asked(&mut self.sessions, context, broker, command);
            }
            return;
        }
        let Some(waiting) = self.sessions.waiting.remove(&command.opaque) else { return };
        match (waiting.asking, node) {
            (Asking::Route(topic), _) => self.sessions.route_answered(topic, command),
            (Asking::Own(asked), Node::Broker(broker)) => {
                self.role.answered(&mut self.sessions, context, broker, asked, Some(command));
            }
            _ => {}
        }
    }

    fn restart(&mut self) {
        let name = std::mem::take(&mut self.sessions.name);
        let opaque = self.sessions.next_opaque;
        self.sessions = Sessions::new(name);
        self.sessions.next_opaque = opaque;
        self.role.restart();
    }
}

/// The ids of a group's consumers, from the answer to `GET_CONSUMER_LIST_BY_GROUP`.
pub(super) fn consumer_ids(answer: &Command) -> Vec<String> {
    let body: GetConsumerListByGroupResponseBody = from_json(&answer.body).unwrap_or_default();
    let mut ids = body.consumer_id_list;
    ids.sort();
    ids
}
