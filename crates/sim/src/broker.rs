//! A broker's machine: its disk, its clock, and the process around the real broker and store, whose threads the world plays.

use crate::bug::Bug;
use crate::cast::all_began;
use crate::disks::CAPACITY;
use crate::message::DELAY_MS;
use crate::network::{Node, Side, broker_name};
use crate::random::Random;
use crate::world::{Event, SEGMENT_BYTES, World};
use kerolox_broker::{AskId, Broker, BrokerConfig, ConnId, Effect, Input, ReadId, State};
use kerolox_store::disk::{CrashMode, HostileDisk, Trouble};
use kerolox_store::{
    DiskState, FlushPolicy, Keeper, Position, ReadPlan, ReadResult, Reader, SealJob, StateFold, StoreConfig,
    WriteBatch, Writer,
};
use kerolox_wire::Command;
use kerolox_wire::record::RecordView;
use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};

/// How often the keeper looks after the log.
const KEEP_EVERY_MS: i64 = 50;
/// How often it lets retention run.
const RETAIN_EVERY_MS: i64 = 250;
/// How often a broker registers, if nothing changes: the program does it every 30 s.
const BEAT_EVERY_MS: i64 = 1_000;
/// How long a name server may take to answer a broker.
const ASK_TIMEOUT_MS: i64 = 1_000;
/// How long a process takes to end after its log was fenced, and until it is started again after it could not be.
const EXIT_MS: i64 = 5;
const RESTART_MS: i64 = 500;
/// How long a turn lasts at most.
const TURN_MS_MAX: i64 = 3;
/// How often a broker may want to be woken at one millisecond.
const TICKS_MAX: u32 = 10_000;

/// What one of a broker's threads does next, or its name servers said.
pub(crate) enum Step {
    /// The writer takes what has queued up.
    Write,
    /// Under asynchronous flush it syncs what it wrote some time ago.
    Sync,
    Written {
        written: Position,
        flushed: Position,
    },
    Read {
        read: ReadId,
        plan: Box<ReadPlan>,
    },
    Seal(Box<SealJob>),
    Tick,
    Keep,
    /// Old segments went.
    Trimmed {
        min: Position,
        disk: Box<DiskState>,
    },
    Beat,
    /// What came within a turn is written and answered.
    EndTurn,
    AskTimeout(i32),
    /// It ends itself, because its disk failed.
    Exit,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Uplink {
    Dialing,
    Open(ConnId),
}

/// A broker process.
pub(crate) struct Process {
    pub(crate) broker: Broker,
    writer: Writer<HostileDisk>,
    keeper: Keeper<HostileDisk>,
    pub(crate) reader: Reader<HostileDisk>,
    /// What came of the inputs of the turn that is under way, if one is.
    turn: Option<Vec<Effect>>,
    writes: Vec<WriteBatch>,
    writing: bool,
    /// Since when there is something that was written and not synced.
    unsynced_ms: Option<i64>,
    /// When it wants to be woken, by its clock.
    tick_at: Option<i64>,
    retained_ms: i64,
    uplinks: BTreeMap<usize, Uplink>,
    /// Questions to name servers that are not answered yet.
    asks: BTreeMap<i32, AskId>,
    next_opaque: i32,
    /// The last millisecond at which the broker wanted to be woken, and how often in it.
    ticks: (i64, u32),
}

/// See the module.
pub(crate) struct Machine {
    pub(crate) disk: HostileDisk,
    pub(crate) process: Option<Process>,
    /// Counts processes, so that what an earlier one began does not reach a later one.
    life: u64,
    /// What the disk suffers from for a while.
    pub(crate) trouble: Option<Trouble>,
    /// Since the process started its disk failed, or had no room: it may end itself.
    pub(crate) troubled: bool,
}

impl Machine {
    fn full(&self) -> bool {
        self.disk.capacity() < CAPACITY
    }

    pub(crate) fn new() -> Self {
        let disk = HostileDisk::new(CAPACITY);
        Self { disk, process: None, life: 0, trouble: None, troubled: false }
    }
}

/// A state that forgets some of what the log says, if that is the bug.
struct Forgetful<'a> {
    state: &'a mut State,
    kind: Option<u8>,
    told: u64,
}

impl StateFold for Forgetful<'_> {
    fn reset(&mut self) {
        self.state.reset();
    }

    fn apply(&mut self, kind: u8, payload: &[u8]) -> Result<(), String> {
        self.told += u64::from(self.kind == Some(kind));
        match self.kind == Some(kind) && self.told.is_multiple_of(3) {
            true => Ok(()),
            false => self.state.apply(kind, payload),
        }
    }

    fn message(&mut self, record: &RecordView<'_>) {
        self.state.message(record);
    }
}

/// For how long messages are kept, and how many bytes of them.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Retention {
    ms: i64,
    bytes: u64,
}

impl Retention {
    /// In most worlds nothing goes: all of it is looked for in the end.
    pub(crate) fn choose(random: &mut Random) -> Self {
        match random.below(6) {
            0 => Self { ms: 4_000, bytes: u64::MAX },
            1 => Self { ms: i64::MAX, bytes: 2 * SEGMENT_BYTES },
            _ => Self { ms: i64::MAX, bytes: u64::MAX },
        }
    }
}

fn store_config(flush: FlushPolicy, retention: Retention, host: SocketAddr) -> StoreConfig {
    StoreConfig {
        retention_ms: retention.ms,
        retention_bytes: retention.bytes,
        segment_bytes: SEGMENT_BYTES,
        run_bytes: SEGMENT_BYTES / 2,
        flush,
        tail_bytes: 16 * 1024,
        ahead_bytes: SEGMENT_BYTES,
        // Nothing goes for room: how much is used changes from one fault to the next.
        disk_clean_ratio: f64::INFINITY,
        ..StoreConfig::new(host)
    }
}

impl World {
    pub(crate) fn step(&mut self, broker: usize, life: u64, step: Step) {
        let true_ms = self.now_ms;
        // What a process that is gone left over does not happen.
        let Some(machine) = self.brokers.get_mut(broker).filter(|machine| machine.life == life) else {
            return;
        };
        let Some(process) = &mut machine.process else { return };
        match step {
            Step::Write | Step::Sync => self.write(broker),
            Step::Written { written, flushed } => {
                self.note(format_args!("{}: written {written} flushed {flushed}", Node::Broker(broker)));
                self.feed(broker, Input::Written { written, flushed });
            }
            Step::Read { read, plan } => {
                let result = process.reader.execute(&plan, true_ms);
                self.note_damage(broker, &result);
                self.feed(broker, Input::ReadDone { read, result });
            }
            Step::Seal(job) => self.seal(broker, *job),
            Step::Tick => {
                let ticks = if process.ticks.0 == self.now_ms { process.ticks.1 + 1 } else { 0 };
                process.ticks = (self.now_ms, ticks);
                process.tick_at = None;
                if ticks > TICKS_MAX {
                    return self.ledger.violated(format!("{} is busy with nothing", Node::Broker(broker)));
                }
                self.feed(broker, Input::Tick);
            }
            Step::Keep => self.keep(broker),
            Step::Trimmed { min, disk } => self.feed(broker, Input::Trimmed { min, disk: *disk }),
            Step::Beat => {
                self.beat(broker);
                self.later(broker, BEAT_EVERY_MS, Step::Beat);
            }
            Step::Exit => self.exit(broker),
            Step::EndTurn => self.end_turn(broker),
            Step::AskTimeout(opaque) => {
                if let Some(ask) = process.asks.remove(&opaque) {
                    self.feed(broker, Input::NameServerAnswered { ask, answer: None });
                }
            }
        }
    }

    /// Something that the process which runs now does later.
    fn later(&mut self, broker: usize, delay_ms: i64, step: Step) {
        if let Some(Machine { life, .. }) = self.brokers.get(broker) {
            let life = *life;
            self.at(delay_ms, Event::Step { broker, life, step });
        }
    }

    /// How long a disk takes.
    fn disk_delay(&mut self) -> i64 {
        if self.random.one_in(50) { self.random.between(50, 2_000) } else { self.random.between(0, 5) }
    }

    pub(crate) fn start_broker(&mut self, broker: usize) {
        let Some(machine) = self.brokers.get_mut(broker).filter(|machine| machine.process.is_none()) else {
            return;
        };
        machine.life += 1;
        let host = SocketAddr::from((Ipv4Addr::new(10, 0, 0, broker as u8 + 1), 10911));
        let config = store_config(self.options.flush, self.retention, host);
        let mut state = State::default();
        machine.troubled = machine.trouble.is_some() || machine.full();
        machine.disk.set_trouble(machine.trouble);
        let kind = self.options.bug.and_then(Bug::forgets);
        let mut fold = Forgetful { state: &mut state, kind, told: 0 };
        match kerolox_store::open(machine.disk.clone(), &config, &mut fold, &mut |_| {}) {
            Ok(opened) => {
                for damage in &opened.report.damaged {
                    self.ledger.damaged.named_at_start(broker, damage);
                }
                let config = BrokerConfig {
                    delay_levels_ms: vec![DELAY_MS],
                    transaction_timeout_ms: 500,
                    transaction_check_interval_ms: 500,
                    transaction_check_max: u32::MAX,
                    client_expiry_ms: 5_000,
                    keep_unread: self.options.bug != Some(Bug::TakenUnread),
                    seed: self.options.seed,
                    ..BrokerConfig::new(&broker_name(broker), host)
                };
                let now_ms = self.broker_clock(broker);
                self.note(format_args!("{} starts: {:?}", Node::Broker(broker), opened.report));
                let process = Process {
                    broker: Broker::new(config, now_ms, opened.store, state),
                    writer: opened.writer,
                    keeper: opened.keeper,
                    reader: opened.reader,
                    turn: None,
                    writes: Vec::new(),
                    writing: false,
                    unsynced_ms: None,
                    tick_at: None,
                    retained_ms: i64::MIN,
                    uplinks: BTreeMap::new(),
                    asks: BTreeMap::new(),
                    next_opaque: 0,
                    ticks: (0, 0),
                };
                if let Some(machine) = self.brokers.get_mut(broker) {
                    machine.process = Some(process);
                }
                self.feed(broker, Input::Tick);
                self.later(broker, KEEP_EVERY_MS, Step::Keep);
                self.later(broker, BEAT_EVERY_MS, Step::Beat);
            }
            Err(e) if machine.troubled => {
                self.note(format_args!("{} does not start: {e}", Node::Broker(broker)));
                self.at(RESTART_MS, Event::StartBroker(broker));
            }
            Err(e) => self.ledger.violated(format!("the data directory does not open: {e}")),
        }
    }

    /// What a broker says is damaged.
    pub(crate) fn note_damage(&mut self, broker: usize, result: &ReadResult) {
        if let ReadResult::Queue(slice) = result {
            slice.damaged.iter().for_each(|damage| self.ledger.damaged.named(broker, damage));
        }
    }

    /// The process ends because its log is fenced; sometimes the machine with it.
    fn exit(&mut self, broker: usize) {
        let mode = match self.random.below(3) {
            0 => CrashMode::Kill,
            1 => CrashMode::Lost,
            _ => CrashMode::KillEvicted,
        };
        if self.crash(broker, mode) {
            self.outcome.fault("brokers that ended themselves");
        }
    }

    /// What a broker is told the time is.
    fn broker_clock(&mut self, broker: usize) -> i64 {
        let now_ms = self.now_ms;
        let told_ms = self.ledger.clocks.get_mut(broker).map_or(now_ms, |clock| clock.now(now_ms));
        told_ms + if self.options.bug == Some(Bug::EarlyTimer) { 400 } else { 0 }
    }

    fn process(&mut self, broker: usize) -> Option<&mut Process> {
        self.brokers.get_mut(broker)?.process.as_mut()
    }

    /// Gives an input to a broker, if it runs, and sets going what it asks for: at once, or with what comes within the same turn.
    pub(crate) fn feed(&mut self, broker: usize, input: Input) {
        let now_ms = self.broker_clock(broker);
        let (goes_on, turn_ms) = (self.random.one_in(4), self.random.between(0, TURN_MS_MAX));
        let Some(process) = self.process(broker) else { return };
        let began = process.turn.is_none();
        process.broker.handle(now_ms, input, process.turn.get_or_insert_default());
        match goes_on {
            false => self.end_turn(broker),
            true if began => self.later(broker, turn_ms, Step::EndTurn),
            true => {}
        }
    }

    fn end_turn(&mut self, broker: usize) {
        let now_ms = self.broker_clock(broker);
        let Some(process) = self.process(broker) else { return };
        let Some(mut effects) = process.turn.take() else { return };
        process.broker.finish_batch(now_ms, &mut effects);
        for effect in effects {
            self.effect(broker, effect);
        }
        let Some(process) = self.process(broker) else { return };
        let sooner = |wake: &i64| process.tick_at.is_none_or(|at| *wake < at);
        if let Some(wake_ms) = process.broker.wake_ms().filter(sooner) {
            process.tick_at = Some(wake_ms);
            let clock = self.ledger.clocks.get(broker);
            let delay_ms = clock.map_or(0, |clock| clock.until(self.now_ms, wake_ms));
            self.later(broker, delay_ms, Step::Tick);
        }
    }

    fn effect(&mut self, broker: usize, effect: Effect) {
        match effect {
            Effect::Send { conn, command } | Effect::SendOnceRegistered { conn, command } => {
                self.send(conn, Side::Listener, command)
            }
            Effect::Close { conn } => {
                self.hang_up(conn, Side::Listener);
                self.feed(broker, Input::Disconnected { conn });
            }
            Effect::Write(batch) => {
                let end = batch.end();
                let Some(process) = self.process(broker) else { return };
                process.writes.push(batch);
                if !std::mem::replace(&mut process.writing, true) {
                    let delay_ms = self.disk_delay();
                    self.later(broker, delay_ms, Step::Write);
                }
                if self.options.bug == Some(Bug::AckBeforeFlush) {
                    self.later(broker, 0, Step::Written { written: end, flushed: end });
                }
            }
            Effect::Read { read, plan, .. } => {
                let delay_ms = self.disk_delay();
                self.later(broker, delay_ms, Step::Read { read, plan: Box::new(plan) });
            }
            Effect::Seal(job) => {
                let delay_ms = self.disk_delay();
                self.later(broker, delay_ms, Step::Seal(Box::new(job)));
            }
            Effect::Register => self.beat(broker),
            Effect::AskNameServer { ask, command } => self.ask_name_server(broker, ask, command),
            Effect::Stop { why } => {
                if !self.brokers.get(broker).is_some_and(|machine| machine.troubled) {
                    let what = format!("{} stopped without a disk fault: {why}", Node::Broker(broker));
                    self.ledger.violated(what);
                }
                self.note(format_args!("{} stops: {why}", Node::Broker(broker)));
                self.later(broker, EXIT_MS, Step::Exit);
            }
        }
    }

    /// The writer thread: one write and one sync for all that has queued up. Under asynchronous flush the sync is put off, but not
    /// for longer than the interval.
    fn write(&mut self, broker: usize) {
        let (now_ms, bug) = (self.now_ms, self.options.bug);
        let interval_ms = match self.options.flush {
            FlushPolicy::Async { .. } if bug == Some(Bug::LateSync) => 10_000,
            FlushPolicy::Async { interval_ms } if !self.random.one_in(8) => interval_ms as i64,
            _ => 0,
        };
        let Some(process) = self.process(broker) else { return };
        process.writing = false;
        let batches = std::mem::take(&mut process.writes);
        let unsynced_ms = *process.unsynced_ms.get_or_insert(now_ms);
        let lazy = now_ms - unsynced_ms < interval_ms;
        let no_sync = bug == Some(Bug::AckBeforeSync) || lazy;
        if !lazy {
            process.unsynced_ms = None;
        }
        match process.writer.write(&batches, !no_sync) {
            Ok((written, flushed)) => {
                let flushed = if bug == Some(Bug::AckBeforeSync) { written } else { flushed };
                let delay_ms = self.disk_delay();
                self.later(broker, delay_ms, Step::Written { written, flushed });
                if lazy && unsynced_ms == now_ms {
                    self.later(broker, interval_ms, Step::Sync);
                }
            }
            Err(e) => self.feed(broker, Input::WriteFailed { why: e.to_string() }),
        }
    }

    fn seal(&mut self, broker: usize, job: SealJob) {
        let Some(process) = self.process(broker) else { return };
        if process.broker.watermarks().flushed < job.position {
            let delay_ms = 1 + self.disk_delay();
            return self.later(broker, delay_ms, Step::Seal(Box::new(job)));
        }
        match process.keeper.seal(job) {
            Ok(sealed) => self.feed(broker, Input::Sealed(sealed)),
            Err(e) => self.feed(broker, Input::WriteFailed { why: e.to_string() }),
        }
    }

    /// The keeper thread's round.
    fn keep(&mut self, broker: usize) {
        let (true_ms, now_ms) = (self.now_ms, self.broker_clock(broker));
        let Some(process) = self.process(broker) else { return };
        let prepared = process.keeper.prepare(now_ms);
        let mut trimmed = None;
        if true_ms - process.retained_ms.max(0) >= RETAIN_EVERY_MS {
            process.retained_ms = true_ms;
            trimmed = Some(process.keeper.retain(now_ms));
        }
        if let Err(e) = prepared {
            return self.feed(broker, Input::WriteFailed { why: e.to_string() });
        }
        if let Some((min, disk)) = trimmed {
            let held = all_began(&self.ledger, broker);
            self.ledger.gone.began_at(broker, min, held);
            for gone in &disk.gone {
                self.note(format_args!("{}: {gone:?}", Node::Broker(broker)));
            }
            // The broker learns of it later than those that read just then.
            let delay_ms = if self.random.one_in(2) { 0 } else { self.disk_delay() };
            self.later(broker, delay_ms, Step::Trimmed { min, disk: Box::new(disk) });
        }
        self.later(broker, KEEP_EVERY_MS, Step::Keep);
    }

    /// Registers with all name servers.
    fn beat(&mut self, broker: usize) {
        for namesrv in 0..self.namesrvs.len() {
            let Some(process) = self.process(broker) else { return };
            match process.uplinks.get(&namesrv) {
                Some(Uplink::Open(conn)) => {
                    let conn = *conn;
                    self.register(broker, conn);
                }
                Some(Uplink::Dialing) => {}
                None => {
                    process.uplinks.insert(namesrv, Uplink::Dialing);
                    self.dial(Node::Broker(broker), Node::Namesrv(namesrv));
                }
            }
        }
    }

    /// Everything, in as many parts as it takes.
    fn register(&mut self, broker: usize, conn: ConnId) {
        let mut version = None;
        loop {
            let Some(process) = self.process(broker) else { return };
            let target = process.broker.topics_version();
            let (command, next) = process.broker.registration(version, false);
            self.send(conn, Side::Dialer, command);
            if next.counter >= target.counter || version == Some(next) {
                return;
            }
            version = Some(next);
        }
    }

    fn ask_name_server(&mut self, broker: usize, ask: AskId, mut command: Command) {
        let Some(process) = self.process(broker) else { return };
        process.next_opaque += 1;
        let opaque = process.next_opaque;
        command.opaque = opaque;
        process.asks.insert(opaque, ask);
        let open = process.uplinks.values().find_map(|uplink| match uplink {
            Uplink::Open(conn) => Some(*conn),
            Uplink::Dialing => None,
        });
        if let Some(conn) = open {
            self.send(conn, Side::Dialer, command);
        }
        self.later(broker, ASK_TIMEOUT_MS, Step::AskTimeout(opaque));
    }

    /// A connection to a name server is there, or cannot be had.
    pub(crate) fn broker_dialed(&mut self, broker: usize, to: Node, conn: Option<ConnId>) {
        let Node::Namesrv(namesrv) = to else { return };
        let uplinks = self.process(broker).map(|process| &mut process.uplinks);
        match (uplinks, conn) {
            (Some(uplinks), Some(conn)) if uplinks.get(&namesrv) == Some(&Uplink::Dialing) => {
                uplinks.insert(namesrv, Uplink::Open(conn));
                self.register(broker, conn);
            }
            (Some(uplinks), None) => {
                uplinks.remove(&namesrv);
            }
            // Asked for by the process before this one.
            (_, Some(conn)) => self.hang_up(conn, Side::Dialer),
            (None, None) => {}
        }
    }

    /// A connection of a broker to a name server broke.
    pub(crate) fn uplink_broken(&mut self, broker: usize, conn: ConnId) {
        if let Some(process) = self.process(broker) {
            process.uplinks.retain(|_, uplink| *uplink != Uplink::Open(conn));
        }
    }

    /// A name server answered a broker.
    pub(crate) fn name_server_answered(&mut self, broker: usize, answer: Command) {
        let Some(process) = self.process(broker) else { return };
        if let Some(ask) = process.asks.remove(&answer.opaque) {
            self.feed(broker, Input::NameServerAnswered { ask, answer: Some(answer) });
        }
    }

    /// The process dies, or the machine with it: what was not synced may then be lost, torn or out of order.
    pub(crate) fn crash(&mut self, broker: usize, mode: CrashMode) -> bool {
        let seed = self.random.draw();
        let Some(machine) = self.brokers.get_mut(broker) else { return false };
        if machine.process.take().is_none() {
            return false;
        }
        machine.life += 1;
        machine.disk = machine.disk.crash(mode, seed);
        if let (FlushPolicy::Async { interval_ms }, true) = (self.options.flush, mode != CrashMode::Kill) {
            // The last sync that succeeded may be that old: then nothing was promised any more.
            self.ledger.power_lost(broker, self.now_ms - interval_ms as i64 - EXIT_MS);
            // What it said last would arrive too late to be taken for lost.
            self.network.silence(Node::Broker(broker));
        }
        if let Some(clock) = self.ledger.clocks.get_mut(broker) {
            clock.restart();
        }
        self.ledger.locks.ended(broker, self.now_ms);
        self.note(format_args!("{} dies: {mode:?}", Node::Broker(broker)));
        // The machine that is still there says so to whoever is connected; one without power says nothing.
        let silent = mode != CrashMode::Kill;
        for (conn, side) in self.network.of(Node::Broker(broker)) {
            self.vanish(conn, side, silent);
        }
        let pause_ms = self.random.between(1, 500);
        self.at(pause_ms, Event::StartBroker(broker));
        true
    }
}
