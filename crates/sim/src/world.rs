//! One seed, one history: real brokers and name servers between simulated clients, on a hostile network and hostile disks.

use crate::broker::{Machine, Retention, Step};
use crate::bug::Bug;
use crate::check::Ledger;
use crate::clients::{Actor, Context, Out};
use crate::network::{Network, Node, Side};
use crate::random::Random;
use crate::trace::Trace;
use crate::{cast, outcome::Outcome};
use kerolox_broker::{ConnId, Input};
use kerolox_namesrv::Namesrv;
use kerolox_store::FlushPolicy;
use kerolox_wire::{Command, RequestCode, ResponseCode};
use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};

/// What to play.
#[derive(Debug, Clone)]
pub struct Options {
    pub seed: u64,
    /// Simulated time during which things go wrong.
    pub duration_ms: i64,
    pub flush: FlushPolicy,
    /// Break this on purpose, to see that the checks bite.
    pub bug: Option<Bug>,
    /// Keep the history as text.
    pub trace: bool,
}

pub(crate) const BROKERS: usize = 3;
const NAMESRVS: usize = 2;
pub(crate) const START_MS: i64 = 1_700_000_000_000;
pub(crate) const SEGMENT_BYTES: u64 = 128 * 1024;

pub(crate) enum Event {
    /// A client may do something.
    Act(usize),
    /// A connection is asked for at the listener.
    Dial {
        from: Node,
        to: Node,
    },
    Dialed {
        from: Node,
        to: Node,
        conn: Option<ConnId>,
    },
    /// A frame arrives at a side of a connection.
    Frame {
        conn: ConnId,
        to: Side,
        command: Command,
    },
    /// A side learns that a connection is no more.
    Broken {
        conn: ConnId,
        side: Side,
    },
    Step {
        broker: usize,
        life: u64,
        step: Step,
    },
    StartBroker(usize),
    StartNamesrv(usize),
    DiskHeals(usize),
    Fault,
}

pub(crate) struct World {
    pub(crate) options: Options,
    pub(crate) random: Random,
    pub(crate) retention: Retention,
    pub(crate) now_ms: i64,
    queue: BTreeMap<(i64, u64), Event>,
    next_event: u64,
    pub(crate) network: Network,
    pub(crate) brokers: Vec<Machine>,
    /// `None`: it is down.
    pub(crate) namesrvs: Vec<Option<Namesrv>>,
    pub(crate) clients: Vec<Box<dyn Actor>>,
    pub(crate) ledger: Ledger,
    /// Nothing goes wrong any more, and nothing new is begun.
    pub(crate) closing: bool,
    pub(crate) outcome: Outcome,
    trace: Trace,
}

/// Plays one seed from beginning to end.
pub fn run(options: Options) -> Outcome {
    let mut world = World::new(options);
    for broker in 0..BROKERS {
        world.at(broker as i64, Event::StartBroker(broker));
    }
    for client in 0..world.clients.len() {
        world.at(5 + client as i64, Event::Act(client));
    }
    world.at(500, Event::Fault);
    world.play_until(START_MS + world.options.duration_ms);
    world.finish();
    world.outcome.events = world.trace.events;
    world.outcome.history_crc = world.trace.crc();
    world.outcome.trace = world.trace.text.take().unwrap_or_default();
    world.outcome.simulated_ms = world.now_ms - START_MS;
    world.outcome
}

impl World {
    fn new(options: Options) -> Self {
        let mut ledger = Ledger::new(BROKERS);
        let mut random = Random::new(options.seed);
        Self {
            retention: Retention::choose(&mut random),
            random,
            now_ms: START_MS,
            queue: BTreeMap::new(),
            next_event: 0,
            network: Network::default(),
            brokers: (0..BROKERS).map(|_| Machine::new()).collect(),
            namesrvs: (0..NAMESRVS).map(|_| Some(Namesrv::new())).collect(),
            clients: cast::clients(&mut ledger),
            ledger,
            closing: false,
            outcome: Outcome::default(),
            trace: Trace::new(options.trace),
            options,
        }
    }

    pub(crate) fn at(&mut self, delay_ms: i64, event: Event) {
        self.next_event += 1;
        self.queue.insert((self.now_ms + delay_ms, self.next_event), event);
    }

    /// No fault that was to come does.
    pub(crate) fn end_faults(&mut self) {
        self.queue.retain(|_, event| !matches!(event, Event::Fault));
    }

    pub(crate) fn note(&mut self, what: std::fmt::Arguments<'_>) {
        self.trace.note(self.now_ms - START_MS, what);
    }

    pub(crate) fn play_until(&mut self, end_ms: i64) {
        while let Some(entry) = self.queue.first_entry() {
            if entry.key().0 > end_ms {
                break;
            }
            let ((at, _), event) = entry.remove_entry();
            self.now_ms = at;
            self.happen(event);
        }
        self.now_ms = end_ms;
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Act(client) => {
                self.with_client(client, |actor, context| actor.act(context));
                let pause_ms = self.random.between(1, 60);
                self.at(pause_ms, Event::Act(client));
            }
            Event::Dial { from, to } => self.accept(from, to),
            Event::Dialed { from, to, conn } => {
                // It may be broken before it was ever used.
                let conn = conn.filter(|conn| self.network.node(*conn, Side::Dialer).is_some());
                match from {
                    Node::Client(client) => self.with_client(client, |actor, cx| actor.dialed(cx, to, conn)),
                    Node::Broker(broker) => self.broker_dialed(broker, to, conn),
                    Node::Namesrv(_) => {}
                }
            }
            Event::Frame { conn, to, command } => self.frame(conn, to, command),
            Event::Broken { conn, side } => self.broken(conn, side),
            Event::Step { broker, life, step } => self.step(broker, life, step),
            Event::StartBroker(broker) => self.start_broker(broker),
            Event::StartNamesrv(namesrv) => self.start_namesrv(namesrv),
            Event::DiskHeals(broker) => self.heal_disk(broker),
            Event::Fault => self.fault(),
        }
    }

    /// Lets a client do something, and does what it wants.
    fn with_client(&mut self, client: usize, act: impl FnOnce(&mut dyn Actor, &mut Context<'_>)) {
        let Some(actor) = self.clients.get_mut(client) else { return };
        let mut context = Context {
            now_ms: self.now_ms,
            random: &mut self.random,
            ledger: &mut self.ledger,
            closing: self.closing,
            namesrvs: NAMESRVS,
            out: Vec::new(),
        };
        act(actor.as_mut(), &mut context);
        for out in context.out {
            match out {
                Out::Dial(to) => self.dial(Node::Client(client), to),
                Out::HangUp(conn) => {
                    self.network.deafen(conn, Side::Listener);
                    self.hang_up(conn, Side::Dialer);
                }
                Out::Send(conn, command) => self.send(conn, Side::Dialer, command),
            }
        }
    }

    pub(crate) fn dial(&mut self, from: Node, to: Node) {
        match self.network.dial(self.now_ms, from, to, &mut self.random) {
            Ok(delay_ms) => self.at(delay_ms, Event::Dial { from, to }),
            Err(delay_ms) => self.at(delay_ms, Event::Dialed { from, to, conn: None }),
        }
    }

    fn accept(&mut self, from: Node, to: Node) {
        let up = match to {
            Node::Broker(broker) => self.brokers.get(broker).is_some_and(|machine| machine.process.is_some()),
            Node::Namesrv(namesrv) => self.namesrvs.get(namesrv).is_some_and(Option::is_some),
            Node::Client(_) => false,
        };
        let conn = up.then(|| self.network.connect(from, to));
        self.note(format_args!("{from} dials {to}: {conn:?}"));
        if let (Some(conn), Node::Broker(broker)) = (conn, to) {
            let number = if let Node::Client(client) = from { client } else { 0 };
            let peer = SocketAddr::from((Ipv4Addr::new(10, 0, 1, number as u8), 4_000));
            self.feed(broker, Input::Connected { conn, peer });
        }
        let delay_ms = self.network.delay(&mut self.random);
        self.at(delay_ms, Event::Dialed { from, to, conn });
    }

    pub(crate) fn send(&mut self, conn: ConnId, from: Side, command: Command) {
        let fate = self.network.send(self.now_ms, conn, from, &mut self.random);
        if let Some(delay_ms) = fate.arrives {
            self.at(delay_ms, Event::Frame { conn, to: from.other(), command });
        }
        if let Some((here_ms, there_ms)) = fate.breaks {
            self.at(here_ms, Event::Broken { conn, side: from });
            self.at(there_ms, Event::Broken { conn, side: from.other() });
        }
    }

    /// A side closes a connection; the other one learns it.
    pub(crate) fn hang_up(&mut self, conn: ConnId, side: Side) {
        self.vanish(conn, side, false);
    }

    /// A side is gone; the other one learns it, after a long time if nobody is left to say so.
    pub(crate) fn vanish(&mut self, conn: ConnId, side: Side, silently: bool) {
        if self.network.close(conn, side).is_some() {
            let delay_ms = match silently {
                true => self.random.between(100, 4_000),
                false => self.network.delay(&mut self.random),
            };
            self.at(delay_ms, Event::Broken { conn, side: side.other() });
        }
    }

    /// A side learns that a connection is no more.
    pub(crate) fn broken(&mut self, conn: ConnId, side: Side) {
        let Some(node) = self.network.node(conn, side) else { return };
        self.hang_up(conn, side);
        self.note(format_args!("{node} loses {conn:?}"));
        match (node, side) {
            (Node::Client(client), _) => self.with_client(client, |actor, cx| actor.broken(cx, conn)),
            (Node::Broker(broker), Side::Listener) => self.feed(broker, Input::Disconnected { conn }),
            (Node::Broker(broker), Side::Dialer) => self.uplink_broken(broker, conn),
            (Node::Namesrv(namesrv), _) => {
                if let Some(namesrv) = self.namesrvs.get_mut(namesrv).and_then(Option::as_mut) {
                    namesrv.disconnected(conn.0);
                }
            }
        }
    }

    fn frame(&mut self, conn: ConnId, to: Side, command: Command) {
        let Some(node) = self.network.node(conn, to).filter(|_| self.network.hears(conn, to)) else { return };
        let said = said(&command);
        self.note(format_args!("{conn:?} → {node}: {said}"));
        match node {
            Node::Client(client) => {
                let command = match self.options.bug {
                    Some(bug) => bug.alter(command, &mut self.random),
                    None => command,
                };
                self.with_client(client, |actor, context| actor.frame(context, conn, &command));
            }
            Node::Broker(broker) if to == Side::Dialer => self.name_server_answered(broker, command),
            Node::Broker(broker) => {
                let command = match self.options.bug {
                    Some(bug) => bug.mistake(command, &mut self.random),
                    None => command,
                };
                self.feed(broker, Input::Command { conn, command });
            }
            Node::Namesrv(namesrv) => {
                let Some(namesrv) = self.namesrvs.get_mut(namesrv).and_then(Option::as_mut) else { return };
                namesrv.tick(self.now_ms);
                let answer = namesrv.handle(self.now_ms, conn.0, &command);
                self.send(conn, Side::Listener, answer);
            }
        }
    }

    fn start_namesrv(&mut self, namesrv: usize) {
        self.note(format_args!("{} starts", Node::Namesrv(namesrv)));
        if let Some(place) = self.namesrvs.get_mut(namesrv) {
            place.get_or_insert_default();
        }
    }

    /// A name server dies, and forgets everything.
    pub(crate) fn kill_namesrv(&mut self, namesrv: usize) {
        let node = Node::Namesrv(namesrv);
        if self.namesrvs.get_mut(namesrv).and_then(Option::take).is_none() {
            return;
        }
        self.note(format_args!("{node} dies"));
        for (conn, side) in self.network.of(node) {
            self.vanish(conn, side, false);
        }
        let pause_ms = self.random.between(1, 3_000);
        self.at(pause_ms, Event::StartNamesrv(namesrv));
    }

    /// A client dies, and starts anew.
    pub(crate) fn kill_client(&mut self, client: usize) {
        let node = Node::Client(client);
        self.note(format_args!("{node} dies"));
        if let Some(actor) = self.clients.get_mut(client) {
            actor.restart();
        }
        for (conn, side) in self.network.of(node) {
            self.vanish(conn, side, false);
        }
    }
}

/// A command, for people.
fn said(command: &Command) -> String {
    let name = match command.is_response() {
        true => ResponseCode(command.code).name(),
        false => RequestCode(command.code).name(),
    };
    let mut text = format!("{} {}", name.unwrap_or("?"), command.opaque);
    for (key, value) in command.fields.iter().filter(|(key, _)| TOLD.contains(key)) {
        text.extend([" ", key, "=", value]);
    }
    if !command.body.is_empty() {
        text.push_str(&format!(" [{} bytes {:08x}]", command.body.len(), crc32fast::hash(&command.body)));
    }
    text
}

/// Fields that a history shows.
const TOLD: &[&str] = &[
    "topic",
    "queueId",
    "queueOffset",
    "nextBeginOffset",
    "commitOffset",
    "offset",
    "consumerGroup",
    "popTime",
    "invisibleTime",
    "commitOrRollback",
    "tranStateTableOffset",
];
