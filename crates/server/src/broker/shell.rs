//! The main loop of a broker: sockets, timers and threads on one side, the state machine on the other.
//!
//! Inputs are handled as they come. Their effects are carried out once everything that is ready has been handled:
//! [`Shell::finish_batches`] is woken by the first input, and a woken task runs after all that were woken before it. So the
//! requests of all connections that became readable together make one write, and their answers one write each.

use super::damage::DamageLines;
use super::patience;
use super::retained::RetentionLines;
use super::threads::{Disk, KeeperThread, ReaderThreads, Report, WriterThread};
use super::untold::Untold;
use crate::clock::{Clock, elapsed_ms};
use crate::report;
use kerolox_broker::{AskId, Broker, ConnId, Counters, Effect, GivenBack, Input, ReadId};
use kerolox_net as net;
use kerolox_net::{Closed, Connections};
use kerolox_proxy::{AT_ONCE, FromBroker, ToBroker};
use kerolox_store::{DiskState, Position, ReadPlan, ReadResult, Reader, SealJob};
use kerolox_wire::Command;
use kerolox_wire::body::DataVersion;
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;
use tokio::sync::{Notify, mpsc, oneshot, watch};

/// A broker and everything that its effects need.
pub(crate) struct Shell {
    core: RefCell<Core>,
    clock: Clock,
    connections: Rc<Connections>,
    threads: RefCell<Option<Threads>>,
    /// Inputs were handled whose effects are to be carried out.
    handled: Notify,
    /// [`Broker::wake_ms`] moved closer.
    rearmed: Notify,
    wake_ms: Cell<Option<i64>>,
    /// Questions to name servers.
    asks: mpsc::UnboundedSender<(Asker, Command)>,
    /// Counts up when registration with the name servers is wanted now.
    register: watch::Sender<u64>,
    /// A name server took a registration.
    pub(crate) registered: Notify,
    untold: RefCell<Untold>,
    /// The log is fenced, or the shell cannot go on: why.
    stopped: RefCell<Option<String>>,
    pub(crate) stop: Notify,
    progress: Cell<Progress>,
    /// When the keeper was last told that the log grows.
    grew_ms: Cell<i64>,
    damage: DamageLines,
    retained: RetentionLines,
    /// Bytes of messages in effects that are not carried out.
    held: Cell<usize>,
    /// Reads under way that clients wait for, and the bytes that their answers may have.
    promises: RefCell<HashMap<ReadId, (net::ConnId, usize)>>,
    /// The gRPC face of the process.
    face: RefCell<Option<mpsc::UnboundedSender<Vec<FromBroker>>>>,
    /// What is for the face, until all of a batch is.
    for_face: RefCell<Vec<FromBroker>>,
}

/// Set in the numbers of connections that the face of the process numbers.
const OF_FACE: u64 = 1 << 63;

/// Who asks name servers something.
pub(crate) enum Asker {
    Broker(AskId),
    Face(oneshot::Sender<Option<Command>>),
}

/// While the log grows, the keeper is told so this often.
const GREW_EVERY_MS: i64 = 500;

/// The time that the broker is told does not go as the one does that is slept by: one is set, the other stands still while the machine
/// sleeps. So it is looked at this often at least.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Bytes of messages that effects of one connection's requests may hold before they are carried out.
const HELD_BYTES_MAX: usize = 4 << 20;
/// The same for all connections and reads: hundreds of them may be ready at once.
const HELD_ALL_BYTES_MAX: usize = 16 << 20;

struct Core {
    broker: Broker,
    effects: Vec<Effect>,
    /// Waiting until the log is flushed up to their position.
    seals: Vec<SealJob>,
}

pub(crate) struct Threads {
    pub(crate) writer: WriterThread,
    pub(crate) keeper: KeeperThread,
    pub(crate) readers: ReaderThreads,
}

/// How far things are, for the clean end.
#[derive(Debug, Clone, Copy, Default)]
struct Progress {
    handed_to_writer: Position,
    flushed: Position,
    seals_running: usize,
    reads_running: usize,
}

impl Shell {
    pub(crate) fn new(
        broker: Broker,
        connections: Rc<Connections>,
        threads: Threads,
        damage: DamageLines,
        asks: mpsc::UnboundedSender<(Asker, Command)>,
    ) -> Rc<Self> {
        // What was there is safe already: nobody will report it.
        let flushed = broker.watermarks().flushed;
        let progress = Progress { handed_to_writer: flushed, flushed, ..Progress::default() };
        Rc::new(Self {
            core: RefCell::new(Core { broker, effects: Vec::new(), seals: Vec::new() }),
            clock: Clock::default(),
            connections,
            threads: RefCell::new(Some(threads)),
            handled: Notify::new(),
            rearmed: Notify::new(),
            wake_ms: Cell::new(None),
            asks,
            register: watch::Sender::new(0),
            registered: Notify::new(),
            untold: RefCell::default(),
            stopped: RefCell::new(None),
            stop: Notify::new(),
            progress: Cell::new(progress),
            grew_ms: Cell::new(0),
            damage,
            retained: RetentionLines::default(),
            held: Cell::new(0),
            promises: RefCell::default(),
            face: RefCell::default(),
            for_face: RefCell::default(),
        })
    }

    pub(crate) fn input(&self, input: Input) {
        self.handle(self.clock.now_ms(), input);
        self.handled.notify_one();
    }

    /// Handles one input; bytes of messages in what is to be sent for it.
    fn handle(&self, now_ms: i64, input: Input) -> usize {
        let core = &mut *self.core.borrow_mut();
        let before = core.effects.len();
        core.broker.handle(now_ms, input, &mut core.effects);
        let bytes = core.effects.iter().skip(before).map(Effect::body_len).sum();
        self.held.set(self.held.get() + bytes);
        bytes
    }

    fn holds_much(&self) -> bool {
        self.held.get() >= HELD_ALL_BYTES_MAX
    }

    pub(crate) fn counters(&self) -> Counters {
        self.core.borrow().broker.counters()
    }

    /// See [`Broker::topics_version`].
    pub(crate) fn topics_version(&self) -> DataVersion {
        self.core.borrow().broker.topics_version()
    }

    /// See [`Broker::version_query`].
    pub(crate) fn version_query(&self) -> Command {
        self.core.borrow().broker.version_query()
    }

    /// See [`Broker::registration`].
    pub(crate) fn registration(&self, told: Option<DataVersion>, whole: bool) -> (Command, DataVersion) {
        self.core.borrow().broker.registration(told, whole)
    }

    /// The request with which the broker takes leave of a name server.
    pub(crate) fn unregistration(&self) -> Command {
        self.core.borrow().broker.unregistration()
    }

    /// Changes whenever registration is wanted.
    pub(crate) fn registrations(&self) -> watch::Receiver<u64> {
        self.register.subscribe()
    }

    /// One more name server is told of the topics; its number.
    pub(crate) fn add_name_server(&self) -> usize {
        self.untold.borrow_mut().add()
    }

    /// A name server was told everything up to this version of the topics; `None`: it cannot be reached.
    pub(crate) fn note_registered(&self, number: usize, version: Option<DataVersion>) {
        if version.is_some() {
            self.registered.notify_one();
        }
        let due = self.untold.borrow_mut().told(number, version.map(|version| version.counter));
        self.send_due(due);
        self.flush();
    }

    /// Nobody waits for name servers any more.
    pub(crate) fn stop_registering(&self) {
        let due = self.untold.borrow_mut().give_up();
        self.send_due(due);
        self.flush();
    }

    fn send_due(&self, due: Vec<(ConnId, Command)>) {
        due.into_iter().for_each(|(conn, command)| self.carry_out(Effect::Send { conn, command }));
    }

    /// Carries out effects whenever there are some. Runs until dropped.
    pub(crate) async fn finish_batches(self: Rc<Self>) {
        loop {
            self.handled.notified().await;
            self.finish_batch();
        }
    }

    pub(crate) fn finish_batch(&self) {
        let (mut effects, wake_ms) = {
            let core = &mut *self.core.borrow_mut();
            core.broker.finish_batch(self.clock.now_ms(), &mut core.effects);
            self.held.set(0);
            (std::mem::take(&mut core.effects), core.broker.wake_ms())
        };
        for effect in effects.drain(..) {
            self.carry_out(effect);
        }
        self.flush();
        self.core.borrow_mut().effects = effects;
        self.start_due_seals();
        let before = self.wake_ms.replace(wake_ms);
        if wake_ms.is_some_and(|at| before.is_none_or(|b| at < b)) {
            self.rearmed.notify_one();
        }
    }

    fn carry_out(&self, effect: Effect) {
        match effect {
            Effect::Send { conn, command } if conn.0 & OF_FACE != 0 => {
                self.to_face(FromBroker::Command { conn: conn.0 & !OF_FACE, command });
            }
            Effect::Send { conn, command } => drop(self.connections.send(net::ConnId(conn.0), &command)),
            Effect::SendOnceRegistered { conn, command } => {
                let version = self.topics_version().counter;
                let due = self.untold.borrow_mut().wait(version, conn, command);
                self.send_due(due);
            }
            Effect::Close { conn } if conn.0 & OF_FACE != 0 => {
                self.to_face(FromBroker::Closed { conn: conn.0 & !OF_FACE });
            }
            Effect::Close { conn } => self.connections.close(net::ConnId(conn.0)),
            Effect::Write(batch) => {
                self.note(|p| p.handed_to_writer = batch.end());
                self.with_threads(|t| t.writer.push(batch));
            }
            Effect::Read { read, conn, plan } => {
                self.note(|p| p.reads_running += 1);
                if let Some(conn) = conn.map(|conn| net::ConnId(conn.0)) {
                    let bytes = plan.answer_bytes();
                    self.connections.promise(conn, bytes);
                    self.promises.borrow_mut().insert(read, (conn, bytes));
                }
                self.with_threads(|t| t.readers.read(read, plan));
            }
            Effect::Seal(job) => self.core.borrow_mut().seals.push(job),
            // Fails when the end has begun: then nobody waits.
            Effect::AskNameServer { ask, command } => drop(self.asks.send((Asker::Broker(ask), command))),
            Effect::Register => self.register.send_modify(|n| *n += 1),
            Effect::Stop { why } => self.stop_because(why),
        }
    }

    /// The process has a gRPC face.
    pub(crate) fn set_face(&self, face: mpsc::UnboundedSender<Vec<FromBroker>>) {
        *self.face.borrow_mut() = Some(face);
    }

    fn to_face(&self, said: FromBroker) {
        self.for_face.borrow_mut().push(said);
        if self.for_face.borrow().len() >= AT_ONCE {
            self.flush_face();
        }
    }

    /// What was queued for connections and for the face leaves.
    fn flush(&self) {
        self.connections.flush();
        self.flush_face();
    }

    fn flush_face(&self) {
        let said = self.for_face.take();
        if !said.is_empty()
            && let Some(face) = &*self.face.borrow()
        {
            // Fails when the face is gone, and its clients with it.
            let _ = face.send(said);
        }
    }

    /// Takes what the face says, all of which goes into one batch.
    pub(crate) fn take_from_face(&self, said: Vec<ToBroker>) {
        let now_ms = self.clock.now_ms();
        for said in said {
            let input = match said {
                ToBroker::Connected { conn, peer } => Input::Connected { conn: ConnId(conn | OF_FACE), peer },
                ToBroker::Command { conn, command } => {
                    Input::Command { conn: ConnId(conn | OF_FACE), command }
                }
                ToBroker::Disconnected { conn } => Input::Disconnected { conn: ConnId(conn | OF_FACE) },
                ToBroker::NameServer { command, answer } => {
                    // Fails when the end has begun: then nobody waits.
                    let _ = self.asks.send((Asker::Face(answer), command));
                    continue;
                }
            };
            self.handle(now_ms, input);
            if self.holds_much() {
                self.finish_batch();
            }
        }
        self.handled.notify_one();
    }

    fn start_due_seals(&self) {
        let flushed = self.progress.get().flushed;
        let core = &mut *self.core.borrow_mut();
        let mut waiting = Vec::new();
        for job in core.seals.drain(..) {
            if job.position <= flushed {
                self.note(|p| p.seals_running += 1);
                self.with_threads(|t| t.keeper.seal(job));
            } else {
                waiting.push(job);
            }
        }
        core.seals = waiting;
    }

    /// Says what the threads report to the broker. Runs until dropped.
    pub(crate) async fn take_reports(self: Rc<Self>, mut reports: mpsc::UnboundedReceiver<Report>) {
        while let Some(report) = reports.recv().await {
            self.take_report(report);
            while let Ok(report) = reports.try_recv() {
                if self.holds_much() {
                    self.finish_batch();
                }
                self.take_report(report);
            }
        }
    }

    fn take_report(&self, report: Report) {
        self.input(match report {
            Report::Written { written, flushed } => {
                self.note(|p| p.flushed = flushed);
                let now_ms = self.clock.now_ms();
                if now_ms >= self.grew_ms.get() + GREW_EVERY_MS {
                    self.grew_ms.set(now_ms);
                    self.with_threads(|t| t.keeper.grew());
                }
                Input::Written { written, flushed }
            }
            Report::WriteFailed { why } => Input::WriteFailed { why },
            Report::ReadDone { read, result } => {
                self.note(|p| p.reads_running -= 1);
                if let Some((conn, bytes)) = self.promises.borrow_mut().remove(&read) {
                    self.connections.delivered(conn, bytes);
                }
                if let ReadResult::Queue(slice) = &result {
                    slice.damaged.iter().for_each(|found| self.damage.say(found));
                }
                Input::ReadDone { read, result }
            }
            Report::Sealed(sealed) => {
                self.note(|p| p.seals_running -= 1);
                Input::Sealed(sealed)
            }
            Report::Trimmed { min, disk } => return self.trimmed(min, disk),
        });
    }

    fn trimmed(&self, min: Position, mut disk: DiskState) {
        let (gone, stuck) = (std::mem::take(&mut disk.gone), disk.stuck.take());
        self.input(Input::Trimmed { min, disk });
        self.retained.say(self.clock.now_ms(), &gone, stuck, &mut self.core.borrow_mut().broker);
    }

    /// Lets the broker know that time passed, when it asked to. Runs until dropped.
    pub(crate) async fn tick(self: Rc<Self>) {
        loop {
            let Some(at) = self.wake_ms.get() else {
                self.rearmed.notified().await;
                continue;
            };
            let wait_ms = u64::try_from(at.saturating_sub(self.clock.now_ms())).unwrap_or(0);
            if wait_ms == 0 {
                // The batch that this starts says when to wake next; should it forget, not at once again.
                self.wake_ms.set(None);
                self.input(Input::Tick);
                continue;
            }
            let wait = Duration::from_millis(wait_ms).min(LOOK_EVERY);
            tokio::select! {
                () = self.rearmed.notified() => {}
                () = tokio::time::sleep(wait) => {}
            }
        }
    }

    /// Whether everything that was appended is safe and everything that was asked for is done. What clients have not taken
    /// yet does not count: one that does not read would hold up the end.
    pub(crate) fn is_settled(&self) -> bool {
        let p = self.progress.get();
        self.core.borrow().broker.is_drained()
            && p.flushed >= p.handed_to_writer
            && p.seals_running == 0
            && p.reads_running == 0
            && self.core.borrow().seals.is_empty()
    }

    /// See [`Broker::give_back`]. What it says is in the log once the shell is settled again.
    pub(crate) fn give_back(&self, reader: &Reader<Disk>) -> Result<GivenBack, String> {
        let given = {
            let core = &mut *self.core.borrow_mut();
            let until_ms = elapsed_ms() + patience::END_MS;
            let mut read = |plan: &ReadPlan| patience::read(until_ms, reader, plan);
            core.broker.give_back(self.now_ms(), &mut read)
        };
        self.finish_batch();
        given
    }

    pub(crate) fn now_ms(&self) -> i64 {
        self.clock.now_ms()
    }

    pub(crate) fn take_threads(&self) -> Option<Threads> {
        self.threads.borrow_mut().take()
    }

    pub(crate) fn stopped(&self) -> Option<String> {
        self.stopped.borrow().clone()
    }

    pub(crate) fn stop_because(&self, why: String) {
        self.stopped.borrow_mut().get_or_insert(why);
        self.stop.notify_one();
    }

    fn note(&self, change: impl FnOnce(&mut Progress)) {
        let mut progress = self.progress.get();
        change(&mut progress);
        self.progress.set(progress);
    }

    fn with_threads(&self, act: impl FnOnce(&Threads)) {
        // After the end nothing is left to do for them.
        if let Some(threads) = &*self.threads.borrow() {
            act(threads);
        }
    }
}

impl net::Handler for Shell {
    type Piece = Command;

    fn connected(&self, conn: net::ConnId, peer: SocketAddr) {
        self.input(Input::Connected { conn: ConnId(conn.0), peer });
    }

    fn batch(&self, conn: net::ConnId, commands: &mut Vec<Command>) {
        let now_ms = self.clock.now_ms();
        let mut rest = commands.drain(..);
        let mut bytes = 0;
        for command in rest.by_ref() {
            bytes += self.handle(now_ms, Input::Command { conn: ConnId(conn.0), command });
            if bytes >= HELD_BYTES_MAX || self.holds_much() {
                bytes = 0;
                self.finish_batch();
                if self.connections.is_overloaded(conn) {
                    break;
                }
            }
        }
        let left: Vec<Command> = rest.collect();
        commands.extend(left);
        self.handled.notify_one();
    }

    fn closed(&self, conn: net::ConnId, peer: SocketAddr, why: Closed) {
        if why.is_noteworthy() {
            report::limited(&format!("connection of {peer} closed: {why}"));
        }
        self.input(Input::Disconnected { conn: ConnId(conn.0) });
    }

    fn refused(&self, why: String) {
        report::limited(&why);
    }
}
