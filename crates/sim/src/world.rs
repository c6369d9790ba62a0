//! One seed, one history: the real broker and name server between simulated clients and a hostile disk.

use crate::bug::Bug;
use crate::check::Ledger;
use crate::client::{self, Client, Out, Role};
use crate::popping;
use crate::random::Random;
use kerolox_broker::{Broker, BrokerConfig, ConnId, Effect, Input, ReadId, State};
use kerolox_namesrv::Namesrv;
use kerolox_store::disk::{CrashMode, HostileDisk};
use kerolox_store::{FlushPolicy, Keeper, ReadPlan, Reader, SealJob, StoreConfig, WriteBatch, Writer};
use kerolox_wire::{Command, RequestCode};
use std::collections::BTreeMap;
use std::fmt::Write;

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

/// What came of it.
#[derive(Debug, Clone, Default)]
pub struct Outcome {
    pub violations: Vec<String>,
    /// CRC-32 over the whole history: equal for equal seeds.
    pub history_crc: u32,
    pub events: u64,
    pub trace: String,
    pub sent: u64,
    pub acked: u64,
    pub read: u64,
    pub popped: u64,
    pub kills: u64,
    pub power_cuts: u64,
    pub cut_connections: u64,
    pub lost_frames: u64,
    pub simulated_ms: i64,
}

const TOPICS: [&str; 2] = ["orders", "payments"];
const QUEUES: u32 = 4;
const START_MS: i64 = 1_700_000_000_000;
const SEGMENT_BYTES: u64 = 128 * 1024;
/// How often a broker may want to be woken at one millisecond.
const TICKS_MAX: u32 = 10_000;

enum Event {
    /// A client may do something.
    Act(usize),
    ToBroker {
        conn: ConnId,
        command: Command,
    },
    ToClient {
        conn: ConnId,
        command: Command,
    },
    ToNamesrv {
        client: Option<usize>,
        command: Command,
    },
    FromNamesrv {
        client: usize,
        command: Command,
    },
    Connect(usize),
    /// The writer takes what has queued up.
    Write {
        life: u64,
    },
    Written {
        life: u64,
        written: u64,
        flushed: u64,
    },
    Read {
        life: u64,
        read: ReadId,
        plan: Box<ReadPlan>,
    },
    Seal {
        life: u64,
        job: Box<SealJob>,
    },
    Tick {
        life: u64,
    },
    Keep {
        life: u64,
    },
    Start,
    Fault,
}

/// A broker process.
struct Process {
    broker: Broker,
    writer: Writer<HostileDisk>,
    keeper: Keeper<HostileDisk>,
    reader: Reader<HostileDisk>,
    writes: Vec<WriteBatch>,
    writing: bool,
    tick_at: Option<i64>,
}

struct World {
    options: Options,
    random: Random,
    now_ms: i64,
    queue: BTreeMap<(i64, u64), Event>,
    next_event: u64,
    disk: HostileDisk,
    process: Option<Process>,
    /// Counts processes, so that what an earlier one began does not reach a later one.
    life: u64,
    namesrv: Namesrv,
    clients: Vec<Client>,
    conns: BTreeMap<ConnId, usize>,
    next_conn: u64,
    /// When the last frame of a connection arrives, to the broker and back: a connection keeps its order.
    arrivals: BTreeMap<(ConnId, bool), i64>,
    ledger: Ledger,
    /// Nothing goes wrong any more, and nothing new is begun.
    closing: bool,
    /// No connection breaks any more.
    calm: bool,
    /// The last millisecond at which the broker wanted to be woken, and how often in it.
    ticks: (i64, u32),
    outcome: Outcome,
    history: crc32fast::Hasher,
}

/// Plays one seed from beginning to end.
pub fn run(options: Options) -> Outcome {
    let mut world = World::new(options);
    let end = START_MS + world.options.duration_ms;
    world.at(0, Event::Start);
    world.at(50, Event::Fault);
    for client in 0..world.clients.len() {
        world.at(client as i64, Event::Connect(client));
        world.at(5 + client as i64, Event::Act(client));
    }
    world.play_until(end);
    world.finish();
    world.outcome
}

impl World {
    fn new(options: Options) -> Self {
        let mut clients = vec![Client::new(Role::Producer), Client::new(Role::Producer)];
        for topic in TOPICS {
            clients.extend(
                (0..QUEUES).map(|queue_id| Client::new(Role::Consumer { topic: topic.into(), queue_id })),
            );
        }
        for (number, popping) in (0..).zip(popping::ALL.iter().flat_map(|popping| [popping; 2])) {
            clients.push(Client::new(Role::Popper { popping: *popping, number }));
        }
        Self {
            random: Random::new(options.seed),
            now_ms: START_MS,
            queue: BTreeMap::new(),
            next_event: 0,
            disk: HostileDisk::new(1 << 30),
            process: None,
            life: 0,
            namesrv: Namesrv::new(),
            clients,
            conns: BTreeMap::new(),
            next_conn: 0,
            arrivals: BTreeMap::new(),
            ledger: Ledger::default(),
            closing: false,
            calm: false,
            ticks: (0, 0),
            outcome: Outcome::default(),
            history: crc32fast::Hasher::new(),
            options,
        }
    }

    fn at(&mut self, delay_ms: i64, event: Event) {
        self.next_event += 1;
        self.queue.insert((self.now_ms + delay_ms, self.next_event), event);
    }

    /// A network or disk delay.
    fn delay(&mut self) -> i64 {
        if self.random.one_in(50) { self.random.between(50, 2_000) } else { self.random.between(0, 5) }
    }

    /// Delay of the next frame of a connection: as long as it likes, but not before those that were sent before it.
    fn frame_delay(&mut self, conn: ConnId, to_broker: bool) -> i64 {
        let at = self.now_ms + self.delay();
        let last = self.arrivals.entry((conn, to_broker)).or_insert(at);
        *last = at.max(*last);
        *last - self.now_ms
    }

    fn note(&mut self, text: std::fmt::Arguments<'_>) {
        let line = format!("{} {text}\n", self.now_ms - START_MS);
        self.history.update(line.as_bytes());
        self.outcome.events += 1;
        if self.options.trace {
            self.outcome.trace.push_str(&line);
        }
    }

    fn play_until(&mut self, end_ms: i64) {
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
            Event::Act(client) => self.act(client),
            Event::Connect(client) => self.connect(client),
            // What a broken connection held is gone.
            Event::ToBroker { conn, command } if self.conns.contains_key(&conn) => {
                self.note(format_args!("{conn:?} asks {} {}", command.code, command.opaque));
                let command = match self.options.bug {
                    Some(bug) => bug.mistake(command, &mut self.random),
                    None => command,
                };
                self.feed(Input::Command { conn, command });
            }
            Event::ToClient { conn, command } => self.reach_client(conn, command),
            Event::ToNamesrv { client, command } => self.reach_namesrv(client, &command),
            Event::FromNamesrv { client, command } => self.answered(client, &command),
            Event::Write { life } if life == self.life => self.write(),
            Event::Written { life, written, flushed } if life == self.life => {
                self.note(format_args!("written {written} flushed {flushed}"));
                self.feed(Input::Written { written, flushed });
            }
            Event::Read { life, read, plan } if life == self.life => {
                if let Some(result) =
                    self.process.as_ref().map(|process| process.reader.execute(&plan, self.now_ms))
                {
                    self.feed(Input::ReadDone { read, result });
                }
            }
            Event::Seal { life, job } if life == self.life => self.seal(*job),
            Event::Tick { life } if life == self.life => {
                self.ticks = if self.ticks.0 == self.now_ms {
                    (self.now_ms, self.ticks.1 + 1)
                } else {
                    (self.now_ms, 0)
                };
                if self.ticks.1 > TICKS_MAX {
                    self.ledger.violations.push("the broker is busy with nothing".to_owned());
                    return;
                }
                if let Some(process) = &mut self.process {
                    process.tick_at = None;
                }
                let true_ms = self.now_ms;
                self.now_ms += if self.options.bug == Some(Bug::EarlyTimer) { 400 } else { 0 };
                self.feed(Input::Tick);
                self.now_ms = true_ms;
            }
            Event::Keep { life } if life == self.life => self.keep(),
            Event::Start => self.start(),
            Event::Fault => self.fault(),
            // Left over from a process that is gone.
            Event::ToBroker { .. }
            | Event::Write { .. }
            | Event::Written { .. }
            | Event::Read { .. }
            | Event::Seal { .. }
            | Event::Tick { .. }
            | Event::Keep { .. } => {}
        }
    }

    fn start(&mut self) {
        if self.process.is_some() {
            return;
        }
        self.life += 1;
        let host = std::net::SocketAddr::from(([127, 0, 0, 1], 10911));
        let config = StoreConfig {
            segment_bytes: SEGMENT_BYTES,
            run_bytes: SEGMENT_BYTES / 2,
            flush: self.options.flush,
            tail_bytes: 16 * 1024,
            ahead_bytes: SEGMENT_BYTES,
            store_host: host,
            ..StoreConfig::default()
        };
        let mut state = State::default();
        match kerolox_store::open(self.disk.clone(), &config, &mut state, &mut |_| {}) {
            Ok(opened) => {
                let report = format!("{:?}", opened.report);
                self.note(format_args!("broker starts: {report}"));
                let config = BrokerConfig {
                    delay_levels_ms: vec![client::DELAY_MS],
                    transaction_timeout_ms: 500,
                    transaction_check_interval_ms: 500,
                    transaction_check_max: u32::MAX,
                    seed: self.options.seed,
                    ..BrokerConfig::new("broker-a", host)
                };
                self.process = Some(Process {
                    broker: Broker::new(config, self.now_ms, opened.store, state),
                    writer: opened.writer,
                    keeper: opened.keeper,
                    reader: opened.reader,
                    writes: Vec::new(),
                    writing: false,
                    tick_at: None,
                });
                self.feed(Input::Tick);
                self.at(20, Event::Keep { life: self.life });
            }
            Err(e) => self.ledger.violations.push(format!("the data directory does not open: {e}")),
        }
    }

    /// Gives an input to the broker, if there is one, and sets going what it asks for.
    fn feed(&mut self, input: Input) {
        let Some(process) = &mut self.process else { return };
        let mut effects = Vec::new();
        process.broker.handle(self.now_ms, input, &mut effects);
        process.broker.finish_batch(self.now_ms, &mut effects);
        for effect in effects {
            self.effect(effect);
        }
        let Some(process) = &mut self.process else { return };
        let sooner = |wake: &i64| process.tick_at.is_none_or(|at| *wake < at);
        if let Some(wake) = process.broker.wake_ms().filter(sooner) {
            process.tick_at = Some(wake);
            let delay = (wake - self.now_ms).max(0);
            self.at(delay, Event::Tick { life: self.life });
        }
    }

    fn effect(&mut self, effect: Effect) {
        let life = self.life;
        match effect {
            Effect::Send { conn, command } => {
                let delay = self.frame_delay(conn, false);
                self.at(delay, Event::ToClient { conn, command });
            }
            Effect::Close { conn } => self.cut(conn),
            Effect::Write(batch) => {
                let early = self.options.bug == Some(Bug::AckBeforeFlush);
                let end = batch.position + batch.bytes.len() as u64;
                let Some(process) = &mut self.process else { return };
                process.writes.push(batch);
                if !std::mem::replace(&mut process.writing, true) {
                    let delay = self.delay();
                    self.at(delay, Event::Write { life });
                }
                if early {
                    self.at(0, Event::Written { life, written: end, flushed: end });
                }
            }
            Effect::Read { read, plan, .. } => {
                let delay = self.delay();
                self.at(delay, Event::Read { life, read, plan: Box::new(plan) });
            }
            Effect::Seal(job) => {
                let delay = self.delay();
                self.at(delay, Event::Seal { life, job: Box::new(job) });
            }
            Effect::Register => {
                if let Some(command) =
                    self.process.as_ref().map(|process| process.broker.registration(None, false).0)
                {
                    let delay = self.delay();
                    self.at(delay, Event::ToNamesrv { client: None, command });
                }
            }
            // No client of this world asks for assignments.
            Effect::AskNameServer { .. } => {}
            Effect::Stop { why } => {
                self.ledger.violations.push(format!("the broker stopped without a disk fault: {why}"))
            }
        }
    }

    /// The writer thread: one write and one sync for all that has queued up.
    fn write(&mut self) {
        let life = self.life;
        let Some(process) = &mut self.process else { return };
        process.writing = false;
        let batches = std::mem::take(&mut process.writes);
        let no_sync = self.options.bug == Some(Bug::AckBeforeSync)
            || matches!(self.options.flush, FlushPolicy::Async { .. }) && !self.random.one_in(8);
        match process.writer.write(&batches, !no_sync) {
            Ok((written, mut flushed)) => {
                if self.options.bug == Some(Bug::AckBeforeSync) {
                    flushed = written;
                }
                let delay = self.delay();
                self.at(delay, Event::Written { life, written, flushed });
            }
            Err(e) => self.ledger.violations.push(format!("writing failed without a disk fault: {e}")),
        }
    }

    fn seal(&mut self, job: SealJob) {
        let Some(process) = &mut self.process else { return };
        let flushed = process.broker.watermarks().flushed;
        if flushed < job.position {
            let (life, delay) = (self.life, 1 + self.delay());
            return self.at(delay, Event::Seal { life, job: Box::new(job) });
        }
        match process.keeper.seal(job) {
            Ok(sealed) => self.feed(Input::Sealed(sealed)),
            Err(e) => self.ledger.violations.push(format!("sealing failed without a disk fault: {e}")),
        }
    }

    /// The keeper thread's round.
    fn keep(&mut self) {
        let Some(process) = &mut self.process else { return };
        if let Err(e) = process.keeper.prepare(self.now_ms) {
            self.ledger.violations.push(format!("preparing failed without a disk fault: {e}"));
        }
        let life = self.life;
        self.at(20, Event::Keep { life });
    }

    fn connect(&mut self, client: usize) {
        let Some(state) = self.clients.get_mut(client).filter(|state| state.conn.is_none()) else { return };
        if self.process.is_none() {
            let delay = 100 + self.delay();
            return self.at(delay, Event::Connect(client));
        }
        self.next_conn += 1;
        let conn = ConnId(self.next_conn);
        state.conn = Some(conn);
        self.conns.insert(conn, client);
        self.note(format_args!("client {client} connects as {conn:?}"));
        self.feed(Input::Connected { conn, peer: std::net::SocketAddr::from(([10, 0, 0, 1], 4_000)) });
    }

    fn act(&mut self, client: usize) {
        let topics = TOPICS.map(str::to_owned);
        let topics = if self.closing { &[] } else { &topics[..] };
        let Some(state) = self.clients.get_mut(client) else { return };
        let out = state.act(self.now_ms, &mut self.random, topics, &mut self.ledger);
        self.send(client, out);
        let pause = self.random.between(1, 60);
        self.at(pause, Event::Act(client));
    }

    fn send(&mut self, client: usize, out: Vec<Out>) {
        let conn = self.clients.get(client).and_then(|state| state.conn);
        for out in out {
            // A frame on a connection is not lost alone, but its connection may die under it.
            match (out, conn) {
                (Out::Broker(command), Some(conn)) => {
                    if !self.calm && self.random.one_in(2_000) {
                        self.outcome.lost_frames += 1;
                        self.cut(conn);
                        return;
                    }
                    let delay = self.frame_delay(conn, true);
                    self.at(delay, Event::ToBroker { conn, command });
                }
                (Out::Namesrv(command), _) => {
                    let delay = self.delay();
                    self.at(delay, Event::ToNamesrv { client: Some(client), command });
                }
                (Out::Broker(_), None) => {}
            }
        }
    }

    /// A connection breaks, for both sides.
    fn cut(&mut self, conn: ConnId) {
        if let Some(client) = self.conns.remove(&conn) {
            self.arrivals.remove(&(conn, true));
            self.arrivals.remove(&(conn, false));
            self.outcome.cut_connections += 1;
            self.note(format_args!("{conn:?} of client {client} breaks"));
            if let Some(state) = self.clients.get_mut(client) {
                state.disconnected();
            }
            let delay = 10 + self.delay();
            self.at(delay, Event::Connect(client));
            self.feed(Input::Disconnected { conn });
        }
    }

    fn reach_client(&mut self, conn: ConnId, command: Command) {
        let Some(client) = self.conns.get(&conn).copied() else { return };
        self.note(format_args!(
            "{conn:?} gets {} {} {:08x}",
            command.code,
            command.opaque,
            crc32fast::hash(&command.body)
        ));
        let command = match self.options.bug {
            Some(bug) => bug.alter(command, &mut self.random),
            None => command,
        };
        if command.is_response() {
            self.answered(client, &command);
        } else if let Some(state) = self.clients.get_mut(client) {
            let out = state.asked(&command);
            self.send(client, out);
        }
    }

    fn answered(&mut self, client: usize, command: &Command) {
        let Some(state) = self.clients.get_mut(client) else { return };
        let out = state.answered(self.now_ms, &mut self.random, self.closing, command, &mut self.ledger);
        self.send(client, out);
    }

    fn reach_namesrv(&mut self, client: Option<usize>, command: &Command) {
        // The broker's connection is 0, clients' begin at 1.
        let conn = client.map_or(0, |client| client as u64 + 1);
        let answer = self.namesrv.handle(self.now_ms, conn, command);
        self.note(format_args!("name server: {} -> {}", command.code, answer.code));
        if let Some(client) = client {
            let delay = self.delay();
            self.at(delay, Event::FromNamesrv { client, command: answer });
        }
    }

    /// Something goes wrong.
    fn fault(&mut self) {
        match self.random.below(6) {
            0 => self.kill(),
            // Asynchronous flush promises nothing for a power cut but a window, which is not checked here.
            1 if self.options.flush != FlushPolicy::Sync => self.kill(),
            1 => self.power_cut(),
            2 => {
                let clients = self.clients.len() as u64;
                let client = self.random.below(clients) as usize;
                if let Some(state) = self.clients.get_mut(client) {
                    let conn = state.conn;
                    state.restart();
                    self.note(format_args!("client {client} dies"));
                    if let Some(conn) = conn {
                        self.cut(conn);
                    }
                }
            }
            _ => {
                let conns: Vec<ConnId> = self.conns.keys().copied().collect();
                if let Some(conn) = conns.get(self.random.below(conns.len().max(1) as u64) as usize) {
                    self.cut(*conn);
                }
            }
        }
        let pause = self.random.between(100, 3_000);
        self.at(pause, Event::Fault);
    }

    /// The process dies; what it wrote stays.
    fn kill(&mut self) {
        if self.process.take().is_none() {
            return;
        }
        self.outcome.kills += 1;
        self.note(format_args!("kill -9"));
        let seed = self.random.draw();
        self.disk = self.disk.crash(CrashMode::Kill, seed);
        self.gone();
    }

    /// The machine dies; what was not synced may be lost, torn or out of order.
    fn power_cut(&mut self) {
        if self.process.take().is_none() {
            return;
        }
        self.outcome.power_cuts += 1;
        let mode = match self.random.below(4) {
            3 => CrashMode::Reordered { sector: 512 },
            0 => CrashMode::Lost,
            1 => CrashMode::Torn { sector: 512 },
            _ => CrashMode::Torn { sector: 4096 },
        };
        let seed = self.random.draw();
        self.note(format_args!("power cut, {mode:?}"));
        self.disk = self.disk.crash(mode, seed);
        self.gone();
    }

    fn gone(&mut self) {
        // Whatever the dead process had under way is void.
        self.life += 1;
        let conns: Vec<ConnId> = self.conns.keys().copied().collect();
        for conn in conns {
            self.cut(conn);
        }
        let pause = self.random.between(1, 500);
        self.at(pause, Event::Start);
    }

    /// No more faults: everything promised is looked for.
    fn finish(&mut self) {
        self.queue.retain(|_, event| !matches!(event, Event::Fault));
        self.closing = true;
        self.start();
        // Long enough for delayed messages to fall due, and for producers to be asked what they left open.
        let end = self.now_ms + 15_000;
        self.play_until(end);
        let sync = self.options.flush == FlushPolicy::Sync;
        if sync {
            self.power_cut();
        } else {
            self.kill();
        }
        self.queue.retain(|_, event| matches!(event, Event::Start));
        self.start();
        let end = self.now_ms + 1_000;
        self.play_until(end);
        self.pop_what_is_left();
        self.ledger.begin_last_reading();
        for topic in TOPICS {
            for queue_id in 0..QUEUES {
                self.read_all(topic, queue_id);
            }
        }
        self.ledger.finish(self.now_ms);
        self.ledger.finish_pops();
        let mut violations = std::mem::take(&mut self.ledger.violations);
        self.outcome.violations.append(&mut violations);
        self.outcome.sent = self.ledger.sent();
        self.outcome.acked = self.ledger.acked_count() as u64;
        self.outcome.read = self.ledger.read_count() as u64;
        self.outcome.popped = self.ledger.flights.count();
        self.outcome.simulated_ms = self.now_ms - START_MS;
        self.outcome.history_crc = self.history.clone().finalize();
    }

    /// Clients that pop go on for so long that what nobody acknowledged comes again.
    fn pop_what_is_left(&mut self) {
        self.calm = true;
        for client in 0..self.clients.len() {
            if self.clients.get(client).is_some_and(|state| matches!(state.role, Role::Popper { .. })) {
                self.at(1, Event::Connect(client));
                self.at(2, Event::Act(client));
            }
        }
        let end = self.now_ms + 20_000;
        self.play_until(end);
    }

    /// Reads a queue from its beginning to its end, past all clients.
    fn read_all(&mut self, topic: &str, queue_id: u32) {
        let conn = ConnId(u64::MAX);
        let mut offset = 0;
        loop {
            let mut request = Command::request(RequestCode::PULL_MESSAGE);
            let numbers = [
                ("queueId", u64::from(queue_id)),
                ("queueOffset", offset),
                ("maxMsgNums", 32),
                ("sysFlag", 4),
                ("commitOffset", 0),
                ("suspendTimeoutMillis", 0),
                ("subVersion", 0),
            ];
            for (name, value) in numbers {
                request.fields.push(name, &value.to_string());
            }
            for (name, value) in
                [("consumerGroup", "TOOLS_CONSUMER"), ("topic", topic), ("subscription", "*")]
            {
                request.fields.push(name, value);
            }
            let Some(answer) = self.ask_directly(conn, request) else { return };
            client::record_pulled(self.now_ms, &answer.body, topic, queue_id, &mut self.ledger);
            let next =
                answer.fields.get("nextBeginOffset").and_then(|text| text.parse().ok()).unwrap_or(offset);
            if next <= offset {
                return;
            }
            offset = next;
        }
    }

    fn ask_directly(&mut self, conn: ConnId, request: Command) -> Option<Command> {
        let process = self.process.as_mut()?;
        let mut inputs = vec![Input::Command { conn, command: request }];
        while let Some(input) = inputs.pop() {
            let mut effects = Vec::new();
            process.broker.handle(self.now_ms, input, &mut effects);
            for effect in effects {
                match effect {
                    Effect::Send { conn: to, command } if to == conn => return Some(command),
                    Effect::Read { read, plan, .. } => {
                        inputs.push(Input::ReadDone {
                            read,
                            result: process.reader.execute(&plan, self.now_ms),
                        });
                    }
                    _ => {}
                }
            }
        }
        None
    }
}

impl Outcome {
    /// One line for people.
    pub fn summary(&self) -> String {
        let mut text = String::new();
        // holds because writing to a string cannot fail
        let _ = write!(
            text,
            "{} events, {} sent, {} acknowledged, {} read, {} popped, {} kills, {} power cuts, {} cut connections, {} s simulated, history {:08x}",
            self.events,
            self.sent,
            self.acked,
            self.read,
            self.popped,
            self.kills,
            self.power_cuts,
            self.cut_connections,
            self.simulated_ms / 1_000,
            self.history_crc
        );
        text
    }
}
