//! What is allowed: the broker as one pure state machine.
//!
//! [`Broker::handle`] takes one [`Input`] at a time and appends [`Effect`]s; [`Broker::finish_batch`] ends a batch of
//! inputs that came together. Nothing here reads a clock, touches a disk or a socket, or draws a random number that is
//! not seeded: the same inputs at the same times give the same effects.

mod acks;
mod admin;
mod adopt;
mod ask;
mod assignment;
mod attributes;
mod clients;
mod compaction;
pub mod config;
mod delay;
mod dump;
mod effect;
mod give_back;
mod groups;
mod halves;
mod hold;
pub mod hot;
mod input;
mod lite;
mod lmq;
mod locks;
mod look;
mod moved;
mod offsets;
mod parked;
mod pending;
mod pop;
mod produce;
mod pull;
mod query;
mod relay;
mod reply;
mod resets;
mod retention;
mod retry;
mod sent;
mod session;
pub mod sql;
mod state;
mod stats;
mod subscription;
mod timer;
mod timers_done;
mod topics;
mod transaction;

pub use adopt::{Adopted, ApacheFile, ApacheFiles};
pub use config::BrokerConfig;
pub use effect::Effect;
pub use give_back::{GivenBack, PendingTimer, TimerLogFile, timer_log};
pub use input::{AskId, ConnId, Input, ReadId};
pub use look::{Waiting, describe};
pub use state::State;

use acks::Acks;
use ask::{Asked, Surveys};
use assignment::Assignments;
use clients::Clients;
use compaction::Compaction;
use delay::Delay;
use dump::Dump;
use hold::Holds;
use kerolox_store::{AppendError, Bounds, DiskState, Position, Store, Watermarks};
use kerolox_wire::body::DataVersion;
use kerolox_wire::names;
use kerolox_wire::properties::PropertiesBuf;
use kerolox_wire::{Command, RequestCode, ResponseCode};
use lite::Lite;
use locks::Locks;
use parked::HoldId;
use pending::Pending;
use pop::Pops;
use relay::Relays;
use retention::Retention;
use stats::Stats;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hash::{BuildHasherDefault, DefaultHasher};
use std::net::SocketAddr;
use timer::Timers;
use transaction::Checks;

/// Where Apache's refusals point to.
const FAQ: &str = "\nSee https://rocketmq.apache.org/docs/bestPractice/06FAQ for further details.";

/// Requests whose answer is messages, or that there are some: nobody who wants no answer is given any.
const GIVE_MESSAGES: &[RequestCode] = &[
    RequestCode::PULL_MESSAGE,
    RequestCode::LITE_PULL_MESSAGE,
    RequestCode::POP_MESSAGE,
    RequestCode::POP_LITE_MESSAGE,
    RequestCode::PEEK_MESSAGE,
    RequestCode::NOTIFICATION,
];

/// Requests whose bodies are read.
const HAVE_BODIES: &[RequestCode] = &[
    RequestCode::UPDATE_BROKER_CONFIG,
    RequestCode::LITE_SUBSCRIPTION_CTL,
    RequestCode::BATCH_ACK_MESSAGE,
    RequestCode::QUERY_ASSIGNMENT,
    RequestCode::SET_MESSAGE_REQUEST_MODE,
    RequestCode::UPDATE_AND_CREATE_TOPIC_LIST,
    RequestCode::DELETE_TOPIC_IN_BROKER_LIST,
    RequestCode::UPDATE_AND_CREATE_SUBSCRIPTIONGROUP,
    RequestCode::UPDATE_AND_CREATE_SUBSCRIPTIONGROUP_LIST,
    RequestCode::DELETE_SUBSCRIPTION_GROUP_LIST,
    RequestCode::SEND_MESSAGE,
    RequestCode::SEND_MESSAGE_V2,
    RequestCode::SEND_BATCH_MESSAGE,
    RequestCode::SEND_REPLY_MESSAGE,
    RequestCode::SEND_REPLY_MESSAGE_V2,
    RequestCode::HEART_BEAT,
    RequestCode::CHECK_CLIENT_CONFIG,
    RequestCode::LOCK_BATCH_MQ,
    RequestCode::UNLOCK_BATCH_MQ,
];

/// How often clients and locks are looked through for those that went silent: Apache's 10 s.
const EXPIRY_SCAN_MS: i64 = 10_000;

/// Bytes of messages that are given to woken consumers at a time.
const WOKEN_BYTES_MAX: usize = 16 << 20;

/// Queues that woken pops look into at a time.
const WOKEN_QUEUES_MAX: usize = 100_000;

/// What happened since the start, for the status line and metrics.
#[derive(Debug, Clone, Copy, Default)]
pub struct Counters {
    /// Messages appended (a batch counts once per request).
    pub sent: u64,
    /// Messages given to consumers.
    pub pulled: u64,
    /// Requests refused.
    pub refused: u64,
    /// Sends refused.
    pub refused_sends: u64,
    /// Damaged records that readers passed over.
    pub damaged: u64,
    /// Deliveries of delayed messages that the log refused for the moment.
    pub delay_refused: u64,
    /// Delayed messages that do not say where they should go.
    pub delay_astray: u64,
}

/// One broker.
pub struct Broker {
    /// As the configuration file has them.
    base: BrokerConfig,
    /// With what was changed at run time.
    config: BrokerConfig,
    config_version: DataVersion,
    store: Store,
    state: State,
    /// State entries of this batch that are not in the log yet.
    changes: Vec<u8>,
    acks: Acks,
    clients: Clients,
    /// Consumer groups whose members changed in this batch.
    changed_groups: BTreeSet<String>,
    locks: Locks,
    holds: Holds,
    /// Parked pulls that found a message and are not answered yet.
    woken: BTreeSet<HoldId>,
    pops: Pops,
    assignments: Assignments,
    delay: Delay,
    dump: Option<Dump>,
    checks: Checks,
    timers: Timers,
    compaction: Compaction,
    retention: Retention,
    lite: Lite,
    reads: HashMap<ReadId, Pending, BuildHasherDefault<DefaultHasher>>,
    next_read: u64,
    /// What clients were asked and have not answered.
    relays: Relays<Asked>,
    surveys: Surveys,
    peers: BTreeMap<ConnId, SocketAddr>,
    next_expiry_ms: i64,
    random: u64,
    own_properties: PropertiesBuf,
    register_due: bool,
    draining: bool,
    /// The state of a clean end was sealed.
    sealed_for_shutdown: bool,
    stopped: bool,
    counters: Counters,
    stats: Stats,
}

impl Broker {
    /// A broker over a recovered store and the state that recovery folded.
    pub fn new(config: BrokerConfig, now_ms: i64, store: Store, mut state: State) -> Self {
        let base = config;
        let config = hot::with(&base, &state.config);
        state.groups.add_system();
        let mut broker = Self {
            acks: Acks::default(),
            clients: Clients::new(config.client_expiry_ms, config.sql92),
            changed_groups: BTreeSet::new(),
            locks: Locks::new(config.lock_expiry_ms, config.limits.locks_max),
            holds: Holds::default(),
            woken: BTreeSet::new(),
            pops: Pops::default(),
            assignments: Assignments::default(),
            delay: Delay::new(),
            dump: None,
            checks: Checks::default(),
            timers: Timers::new(),
            compaction: Compaction::default(),
            retention: Retention::default(),
            lite: Lite::new(now_ms),
            reads: HashMap::default(),
            next_read: 0,
            relays: Relays::default(),
            surveys: Surveys::default(),
            peers: BTreeMap::new(),
            next_expiry_ms: now_ms + EXPIRY_SCAN_MS,
            random: config.seed ^ 0x9e37_79b9_7f4a_7c15,
            own_properties: sent::own_properties(&config),
            register_due: true,
            draining: false,
            sealed_for_shutdown: false,
            stopped: false,
            counters: Counters::default(),
            stats: Stats::new(now_ms, config.limits.stats_max, config.limits.offsets_max),
            changes: Vec::new(),
            base,
            config_version: DataVersion::default(),
            config: config.clone(),
            store,
            state,
        };
        broker.take_config(now_ms, config);
        broker.state.in_flight.heed_clock(now_ms);
        broker.schedule_checks(now_ms);
        broker.find_compacted();
        broker.find_lite_topics();
        broker.expire_topics(now_ms);
        broker.state.offsets.watch();
        broker.note_needed();
        broker
    }

    /// One thing happened. Effects are appended to `out` in the order in which they are to be done.
    pub fn handle(&mut self, now_ms: i64, input: Input, out: &mut Vec<Effect>) {
        self.stats.advance(now_ms);
        match input {
            Input::Connected { conn, peer } => {
                self.peers.insert(conn, peer);
            }
            Input::Command { conn, command } => self.command(now_ms, conn, command, out),
            Input::Disconnected { conn } => self.disconnected(conn, out),
            Input::Written { written, flushed } => self.written(now_ms, written, flushed, out),
            Input::WriteFailed { why } => self.fence(now_ms, &why, out),
            Input::ReadDone { read, result } => self.read_done(now_ms, read, result, out),
            Input::NameServerAnswered { ask, answer } => self.name_server_answered(ask, answer.as_ref(), out),
            Input::Sealed(run) => self.store.sealed(run),
            Input::Trimmed { min, disk } => self.trimmed(now_ms, min, disk, out),
            Input::Tick => self.tick(now_ms, out),
            Input::Shutdown => self.shutdown(now_ms, out),
        }
    }

    fn command(&mut self, now_ms: i64, conn: ConnId, mut request: Command, out: &mut Vec<Effect>) {
        if request.is_response() {
            return self.client_answered(conn, request, out);
        }
        let code = RequestCode::from_wire(request.code);
        if !HAVE_BODIES.contains(&code) {
            // One that nobody asks for is not kept while the request waits for a read.
            request.body = bytes::Bytes::new();
        }
        if request.is_oneway() && GIVE_MESSAGES.contains(&code) {
            return;
        }
        match code {
            RequestCode::SEND_MESSAGE | RequestCode::SEND_MESSAGE_V2 | RequestCode::SEND_BATCH_MESSAGE => {
                self.send(now_ms, conn, &request, out);
            }
            RequestCode::SEND_REPLY_MESSAGE | RequestCode::SEND_REPLY_MESSAGE_V2 => {
                self.send_reply(now_ms, conn, &request, out);
            }
            RequestCode::PULL_MESSAGE | RequestCode::LITE_PULL_MESSAGE => {
                self.pull(now_ms, conn, &request, out)
            }
            RequestCode::POP_MESSAGE => self.pop(now_ms, conn, &request, out),
            RequestCode::POP_LITE_MESSAGE => self.pop_lite(now_ms, conn, &request, out),
            RequestCode::LITE_SUBSCRIPTION_CTL => self.lite_subscription(now_ms, conn, &request, out),
            RequestCode::ACK_MESSAGE => self.ack(conn, &request, out),
            RequestCode::BATCH_ACK_MESSAGE => self.ack_batch(conn, &request, out),
            RequestCode::CHANGE_MESSAGE_INVISIBLETIME => self.change_invisible(now_ms, conn, &request, out),
            RequestCode::QUERY_ASSIGNMENT => self.query_assignment(conn, &request, out),
            RequestCode::PEEK_MESSAGE => self.peek(now_ms, conn, &request, out),
            RequestCode::NOTIFICATION => self.notification(now_ms, conn, &request, out),
            RequestCode::POLLING_INFO => self.polling_info(conn, &request, out),
            RequestCode::CONSUMER_SEND_MSG_BACK => self.send_back(now_ms, conn, request, out),
            RequestCode::END_TRANSACTION => self.end_transaction(now_ms, conn, request, out),
            RequestCode::RECALL_MESSAGE => self.recall(conn, request, out),
            RequestCode::RESUME_CHECK_HALF_MESSAGE => self.resume_half(conn, request, out),
            RequestCode::QUERY_CONSUMER_OFFSET => self.query_offset(conn, &request, out),
            RequestCode::UPDATE_CONSUMER_OFFSET => self.update_offset(now_ms, conn, &request, out),
            RequestCode::GET_MAX_OFFSET => self.max_offset(conn, &request, out),
            RequestCode::GET_MIN_OFFSET => self.min_offset(conn, &request, out),
            RequestCode::SEARCH_OFFSET_BY_TIMESTAMP => self.search_offset(conn, &request, out),
            RequestCode::GET_EARLIEST_MSG_STORETIME => self.earliest(conn, &request, out),
            RequestCode::QUERY_MESSAGE => self.query(conn, &request, out),
            RequestCode::VIEW_MESSAGE_BY_ID => self.view(conn, &request, out),
            RequestCode::HEART_BEAT => self.heartbeat(now_ms, conn, &request, out),
            RequestCode::UNREGISTER_CLIENT => self.unregister_client(conn, &request, out),
            RequestCode::CHECK_CLIENT_CONFIG => self.check_client_config(conn, &request, out),
            RequestCode::GET_CONSUMER_LIST_BY_GROUP => self.consumer_list(conn, &request, out),
            RequestCode::LOCK_BATCH_MQ => self.lock_queues(now_ms, conn, &request, out),
            RequestCode::UNLOCK_BATCH_MQ => self.unlock_queues(conn, &request, out),
            _ => self.administer(now_ms, conn, code, &request, out),
        }
    }

    /// Sends an answer that waits for nothing, unless the request wants none. One that no client would take is not sent.
    fn reply(&mut self, conn: ConnId, request: &Command, answer: Command, out: &mut Vec<Effect>) {
        let answer = answer.within_frame();
        if answer.code != i32::from(ResponseCode::SUCCESS) {
            self.counters.refused += 1;
        }
        if !request.is_oneway() {
            out.push(Effect::Send { conn, command: answer });
        }
    }

    fn disconnected(&mut self, conn: ConnId, out: &mut Vec<Effect>) {
        self.will_not_answer(conn, out);
        self.peers.remove(&conn);
        self.holds.disconnected(conn);
        self.pops.disconnected(conn);
        self.changed_groups.extend(self.clients.disconnected(conn));
    }

    /// The log got further: answers leave, consumers wake.
    fn written(&mut self, now_ms: i64, written: u64, flushed: u64, out: &mut Vec<Effect>) {
        self.store.advance(written, flushed);
        let confirmed = self.store.watermarks().confirmed;
        self.stats.confirmed(confirmed);
        self.acks.release(confirmed, out);
        self.compaction.confirmed(confirmed);
        while let Some(message) = self.store.next_visible() {
            self.holds.arrived(&message.topic, message.queue_id, message.tag_code);
            self.pops.arrived(&message.topic, message.queue_id, message.tag_code);
            if message.topic.starts_with(names::LMQ_PREFIX) {
                self.lite_arrived(&message.topic);
            }
            if &*message.topic == names::SCHEDULE_TOPIC {
                self.delay.arrived(now_ms, message.queue_id as usize);
            }
        }
        self.woken.extend(self.holds.woken());
        self.serve_woken(now_ms, out);
    }

    /// Answers those whose wait is over, as many as [`WOKEN_BYTES_MAX`] allows: the rest is due with the next tick, after
    /// the shell has passed on what there is. Many who wait for one large message would otherwise need as many copies of
    /// it at once.
    fn serve_woken(&mut self, now_ms: i64, out: &mut Vec<Effect>) {
        self.wake_pops();
        let mut queues = 0;
        while self.acks.unplaced_bytes() < WOKEN_BYTES_MAX
            && queues < WOKEN_QUEUES_MAX
            && let Some(pop) = self.next_woken_pop()
        {
            queues += self.queues_of_pop(&pop);
            self.serve_pop(now_ms, pop, out);
        }
        let mut bytes = 0;
        while bytes < WOKEN_BYTES_MAX
            && let Some(id) = self.woken.pop_first()
        {
            let served = out.len();
            // One that is gone, or whose time was up meanwhile, is not there any more.
            if let Some(pull) = self.holds.take(id) {
                self.serve_pull(now_ms, pull, out);
            }
            bytes += out.iter().skip(served).map(Effect::body_len).sum::<usize>();
        }
    }

    /// Retention ran; what is in its way moves to the end of the log.
    fn trimmed(&mut self, now_ms: i64, min: Position, disk: DiskState, out: &mut Vec<Effect>) {
        let wanted = disk.wanted;
        self.store.trimmed(min, disk);
        self.expire_topics(now_ms);
        if let Some(wanted) = wanted {
            self.look_for_unread(now_ms, wanted);
        }
        self.make_way(now_ms, wanted, out);
        self.retention.note_due = true;
    }

    fn fence(&mut self, now_ms: i64, why: &str, out: &mut Vec<Effect>) {
        if self.stopped {
            return;
        }
        self.stopped = true;
        self.store.fence(why);
        self.acks.fail(why, out);
        self.start_draining(now_ms, out);
        out.push(Effect::Stop { why: why.to_owned() });
    }

    /// Whoever waits is answered that there is nothing. Who then asks again is refused, and comes later: answered as before it
    /// would ask until the connection closes, and lose the request that is under way then.
    fn start_draining(&mut self, now_ms: i64, out: &mut Vec<Effect>) {
        for id in self.holds.all() {
            if let Some(mut pull) = self.holds.take(id) {
                // Nothing is parked again, whatever its deadline.
                pull.hold_until_ms = now_ms;
                self.serve_pull(now_ms, pull, out);
            }
        }
        self.draining = true;
        self.release_pops(now_ms, out);
    }

    fn tick(&mut self, now_ms: i64, out: &mut Vec<Effect>) {
        self.store.forget_gone();
        self.tick_pops(now_ms, out);
        self.serve_woken(now_ms, out);
        self.answers_overdue(now_ms, out);
        for id in self.holds.overdue(now_ms) {
            if let Some(pull) = self.holds.take(id) {
                self.serve_pull(now_ms, pull, out);
            }
        }
        self.tick_delay(now_ms, out);
        self.tick_transactions(now_ms, out);
        self.tick_timers(now_ms, out);
        self.tick_compaction(now_ms, out);
        if now_ms >= self.next_expiry_ms {
            self.next_expiry_ms = now_ms + EXPIRY_SCAN_MS;
            self.tick_lite(now_ms, out);
            self.locks.expire(now_ms);
            for conn in self.clients.silent(now_ms) {
                self.changed_groups.extend(self.clients.disconnected(conn));
                out.push(Effect::Close { conn });
            }
        }
    }

    fn shutdown(&mut self, now_ms: i64, out: &mut Vec<Effect>) {
        self.start_draining(now_ms, out);
        self.finish_batch(now_ms, out);
    }

    /// Ends a batch of inputs: state changes of the batch go into the log as one record, and everything appended goes to
    /// the writer.
    pub fn finish_batch(&mut self, now_ms: i64, out: &mut Vec<Effect>) {
        self.notify_changed_groups(out);
        let lazy_due = self
            .state
            .offsets
            .lazy_since_ms()
            .is_some_and(|since| now_ms - since >= self.config.offset_flush_ms);
        if lazy_due || self.draining || !self.changes.is_empty() {
            for commit in self.state.offsets.take_lazy() {
                state::put_offset(&mut self.changes, &commit);
            }
        }
        if let Err(e) = self.write_changes(now_ms) {
            // The changes stay where they are and are tried again; who waits for them learns why.
            self.acks.fail_unplaced(&e.to_string(), out);
        }
        self.heed_lowered_offsets();
        if self.retention.note_due && self.changes.is_empty() {
            self.retention.note_due = false;
            self.note_needed();
        }
        self.acks.place(self.store.watermarks().appended);
        self.stats.appended(self.store.watermarks().appended);
        self.dump_and_seal(now_ms, out);
        let mut writes = Vec::new();
        self.store.take_writes(&mut writes);
        out.extend(writes.into_iter().map(Effect::Write));
        // Under asynchronous flush, and for answers without a change, the watermark may be past already.
        self.acks.release(self.store.watermarks().confirmed, out);
        if std::mem::take(&mut self.register_due) {
            out.push(Effect::Register);
        }
    }

    fn write_changes(&mut self, now_ms: i64) -> Result<(), AppendError> {
        let mut done = 0;
        let mut appended = Ok(());
        while let Some(rest) = self.changes.get(done..).filter(|rest| !rest.is_empty() && appended.is_ok()) {
            let record =
                rest.get(..state::record_len(rest, self.store.state_bytes_max())).unwrap_or_default();
            appended = self.store.append_state(now_ms, record).map(|_| done += record.len());
        }
        self.changes.drain(..done);
        appended
    }

    /// When [`Input::Tick`] is due next.
    pub fn wake_ms(&self) -> Option<i64> {
        let lazy = self.state.offsets.lazy_since_ms().map(|since| since + self.config.offset_flush_ms);
        let idle = self.clients.is_empty() && self.locks.is_empty() && self.lite.is_empty();
        let expiry = (!idle).then_some(self.next_expiry_ms);
        let delay = self.delay.wake_ms().filter(|_| !self.draining);
        let woken = (!self.woken.is_empty()).then_some(0);
        let checks = self.checks.wake_ms().filter(|_| !self.draining);
        let timers = self.timers.wake_ms(self.bounds(names::WHEEL_TIMER_TOPIC, 0).max);
        let timers = timers.filter(|_| !self.draining);
        let compaction = self.compaction.wake_ms().filter(|_| !self.draining);
        let held = self.holds.next_deadline_ms();
        let dump =
            self.dump.as_ref().and_then(|dump| dump.wake_ms).filter(|_| !self.draining && !self.stopped);
        [
            woken,
            self.relays.wake_ms(),
            held,
            self.pops_wake_ms(),
            delay,
            checks,
            timers,
            compaction,
            dump,
            lazy,
            expiry,
        ]
        .into_iter()
        .flatten()
        .min()
    }

    /// Whether a shutdown has nothing left to wait for: all is answered and sealed.
    pub fn is_drained(&self) -> bool {
        let watermarks = self.store.watermarks();
        self.draining
            && self.acks.is_empty()
            && self.reads.is_empty()
            && watermarks.flushed >= watermarks.appended
    }

    /// What is durable but for messages, with what is not in the log yet.
    pub fn state(&self) -> &State {
        &self.state
    }

    pub fn watermarks(&self) -> Watermarks {
        self.store.watermarks()
    }

    pub fn counters(&self) -> Counters {
        self.counters
    }

    pub fn config(&self) -> &BrokerConfig {
        &self.config
    }

    fn bounds(&self, topic: &str, queue_id: u32) -> Bounds {
        let bounds = self.store.bounds(topic, queue_id).unwrap_or(Bounds { min: 0, max: 0 });
        self.compaction.widen(topic, queue_id, bounds)
    }

    fn peer(&self, conn: ConnId) -> SocketAddr {
        self.peers.get(&conn).copied().unwrap_or(self.config.host)
    }

    fn peer_text(&self, conn: ConnId) -> String {
        self.peer(conn).to_string()
    }

    /// The next of a seeded sequence (xorshift64*).
    fn random(&mut self) -> u64 {
        self.random ^= self.random >> 12;
        self.random ^= self.random << 25;
        self.random ^= self.random >> 27;
        self.random.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn any_queue(&mut self, queues: i32) -> u32 {
        let queues = u64::try_from(queues).unwrap_or(1).max(1);
        (self.random() % queues) as u32
    }
}
