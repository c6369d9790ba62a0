//! A whole broker on a disk in memory, told what is written in the language of the broker's stories, as far as that can be
//! read. Every request is answered, once; and the state is what the log says.

use kerolox_broker::{Broker, BrokerConfig, ConnId, Effect, Input, ReadId, State};
use kerolox_proxy::{FromBroker, ToBroker};
use kerolox_store::disk::{CrashMode, HostileDisk};
use kerolox_store::{Keeper, ReadResult, Reader, StoreConfig, WriteBatch, Writer};
use kerolox_wire::{Command, Encoding, RequestCode, ResponseCode};
use std::collections::BTreeMap;
use tokio::sync::mpsc::UnboundedSender;

/// Connections of the face.
const OF_FACE: u64 = 1 << 63;
const LINES_MAX: usize = 100;
const WORDS_MAX: usize = 40;
const BODY_BYTES_MAX: usize = 20_000;
/// What one line may ask of the disk in turn.
const ROUNDS_MAX: u32 = 20_000;

pub(crate) struct World {
    now_ms: i64,
    disk: HostileDisk,
    parts: Parts,
    opaque: i32,
    /// The connections that the story's numbers mean now; none is ever used again.
    conns: BTreeMap<u64, ConnId>,
    conns_ever: u64,
    /// Requests that are not answered yet.
    asked: BTreeMap<i32, ConnId>,
    holds_reads: bool,
    face: Option<UnboundedSender<Vec<FromBroker>>>,
}

struct Parts {
    broker: Broker,
    writer: Writer<HostileDisk>,
    keeper: Keeper<HostileDisk>,
    reader: Reader<HostileDisk>,
    writes: Vec<WriteBatch>,
    reads: Vec<(ReadId, ReadResult)>,
}

fn open(disk: &HostileDisk, now_ms: i64) -> Parts {
    let host = ([127, 0, 0, 1], 10911).into();
    let config = StoreConfig {
        segment_bytes: 64 << 10,
        run_bytes: 16 << 10,
        tail_bytes: 32 << 10,
        ahead_bytes: 16 << 10,
        message_bytes_max: 16 << 10,
        retention_ms: 60_000,
        ..StoreConfig::new(host)
    };
    let mut state = State::default();
    let opened = kerolox_store::open(disk.clone(), &config, &mut state, &mut |_| {}).unwrap();
    assert!(opened.report.damaged.is_empty(), "{:?}", opened.report.damaged);
    assert!(opened.report.state_errors.is_empty(), "{:?}", opened.report.state_errors);
    let mut config = BrokerConfig { young_bytes: 8 << 10, ..BrokerConfig::new("broker-a", host) };
    (config.lmq, config.check_message_types) = (true, true);
    Parts {
        broker: Broker::new(config, now_ms, opened.store, state),
        writer: opened.writer,
        keeper: opened.keeper,
        reader: opened.reader,
        writes: Vec::new(),
        reads: Vec::new(),
    }
}

/// The story in `data`.
pub fn broker(data: &[u8]) {
    let mut world = World::new();
    for line in String::from_utf8_lossy(data).lines().take(LINES_MAX) {
        world.line(line);
    }
    world.end();
}

impl World {
    pub(crate) fn new() -> Self {
        let disk = HostileDisk::default();
        let parts = open(&disk, 1_000_000);
        let mut world = Self {
            now_ms: 1_000_000,
            disk,
            parts,
            opaque: 0,
            conns: BTreeMap::new(),
            conns_ever: 0,
            asked: BTreeMap::new(),
            holds_reads: false,
            face: None,
        };
        world.feed(Vec::new());
        world
    }

    pub(crate) fn now_ms(&self) -> i64 {
        self.now_ms
    }

    /// A face is there, with topics for it.
    pub(crate) fn has_face(&mut self, face: UnboundedSender<Vec<FromBroker>>) {
        self.face = Some(face);
        for (topic, kind) in [
            ("Honest", "NORMAL"),
            ("N", "NORMAL"),
            ("F", "FIFO"),
            ("D", "DELAY"),
            ("X", "TRANSACTION"),
            ("P", "PRIORITY"),
            ("L", "LITE"),
        ] {
            self.line(&format!(
                "UPDATE_AND_CREATE_TOPIC 1 topic={topic} defaultTopic=TBW102 readQueueNums=2 writeQueueNums=2 perm=6 \
                 topicFilterType=SINGLE_TAG topicSysFlag=0 order=false attributes=+message.type={kind}"
            ));
        }
        self.flush(true);
    }

    /// Takes what the face says; all of it is written down at once.
    pub(crate) fn hear_face(&mut self, said: Vec<ToBroker>) {
        let mut inputs = Vec::new();
        for said in said {
            inputs.push(match said {
                ToBroker::Connected { conn, peer } => Input::Connected { conn: ConnId(conn | OF_FACE), peer },
                ToBroker::Command { conn, command } => {
                    Input::Command { conn: ConnId(conn | OF_FACE), command }
                }
                ToBroker::Disconnected { conn } => Input::Disconnected { conn: ConnId(conn | OF_FACE) },
                ToBroker::NameServer { command, answer } => {
                    let _ = answer.send(route(&command));
                    continue;
                }
            });
        }
        self.feed(inputs);
        self.flush(true);
    }

    /// Time goes by.
    pub(crate) fn tick(&mut self, by_ms: i64) {
        self.now_ms += by_ms;
        self.feed(vec![Input::Tick]);
        self.flush(true);
    }

    fn line(&mut self, line: &str) {
        let (verb, rest) = line.split_once(' ').unwrap_or((line, ""));
        let conn = rest.split(' ').next().and_then(|n| n.parse().ok()).unwrap_or(1) % 4;
        match verb {
            "flush" => self.flush(true),
            "write" => self.flush(false),
            "tick" => {
                let by: i64 = rest.trim_start_matches('+').parse().unwrap_or(1);
                self.now_ms += by.clamp(0, 1 << 40);
                self.feed(vec![Input::Tick]);
            }
            "retain" => {
                let (min, disk) = self.parts.keeper.retain(self.now_ms);
                self.feed(vec![Input::Trimmed { min, disk }]);
            }
            "hold-reads" => self.holds_reads = true,
            "release-reads" => self.release_reads(),
            "connect" => {
                self.conn(conn);
            }
            "disconnect" => {
                if let Some(conn) = self.conns.remove(&conn) {
                    self.asked.retain(|_, asker| *asker != conn);
                    self.feed(vec![Input::Disconnected { conn }]);
                }
            }
            "kill" => self.restart(CrashMode::Kill, false),
            "power-cut" => self.restart(CrashMode::Lost, false),
            "lose-derived" => self.restart(CrashMode::Lost, true),
            "answer" => self.answer(conn, rest),
            _ => self.request(verb, conn, rest),
        }
    }

    fn conn(&mut self, number: u64) -> ConnId {
        if let Some(conn) = self.conns.get(&number) {
            return *conn;
        }
        self.conns_ever += 1;
        let conn = ConnId(self.conns_ever);
        self.conns.insert(number, conn);
        self.feed(vec![Input::Connected { conn, peer: ([10, 0, 0, 1], 4000).into() }]);
        conn
    }

    fn restart(&mut self, mode: CrashMode, lose_derived: bool) {
        self.asked.clear();
        self.conns.clear();
        self.holds_reads = false;
        self.disk = self.disk.crash(mode, 1);
        if lose_derived {
            let derived = |path: &&String| path.contains("/runs/") || path.ends_with("snapshot");
            for path in self.disk.paths().iter().filter(derived) {
                self.disk.tamper_remove(path);
            }
        }
        self.parts = open(&self.disk, self.now_ms);
        self.feed(Vec::new());
    }

    fn flush(&mut self, sync: bool) {
        let writes = std::mem::take(&mut self.parts.writes);
        let (written, flushed) = self.parts.writer.write(&writes, sync).unwrap();
        self.feed(vec![Input::Written { written, flushed }]);
    }

    fn release_reads(&mut self) {
        self.holds_reads = false;
        let held = std::mem::take(&mut self.parts.reads);
        self.feed(held.into_iter().map(|(read, result)| Input::ReadDone { read, result }).collect());
    }

    /// A client answers what the broker may have asked it.
    fn answer(&mut self, conn: u64, rest: &str) {
        let conn = self.conn(conn);
        let mut command = Command::request(0).respond(0);
        fill(&mut command, rest);
        if let Some(opaque) = command.fields.get("opaque").and_then(|n| n.parse().ok()) {
            command.opaque = opaque;
        }
        self.feed(vec![Input::Command { conn, command }]);
    }

    fn request(&mut self, code: &str, conn: u64, rest: &str) {
        let named = RequestCode::ALL.iter().find(|request| request.name == code).map(|r| i32::from(r.code));
        let Some(code) = named.or_else(|| code.parse().ok()) else { return };
        let conn = self.conn(conn);
        let mut command = Command::request(code);
        self.opaque += 1;
        command.opaque = self.opaque;
        fill(&mut command, rest);
        if rest.split(' ').any(|word| word == "oneway") {
            command = command.oneway();
        } else {
            self.asked.insert(self.opaque, conn);
        }
        self.feed(vec![Input::Command { conn, command }]);
    }

    /// Gives inputs to the broker, and does what it asks.
    fn feed(&mut self, mut inputs: Vec<Input>) {
        for _ in 0..ROUNDS_MAX {
            let parts = &mut self.parts;
            let (mut effects, mut for_face) = (Vec::new(), Vec::new());
            for input in std::mem::take(&mut inputs) {
                parts.broker.handle(self.now_ms, input, &mut effects);
            }
            parts.broker.finish_batch(self.now_ms, &mut effects);
            for effect in effects {
                match effect {
                    Effect::Send { conn, command } | Effect::SendOnceRegistered { conn, command }
                        if conn.0 & OF_FACE != 0 =>
                    {
                        for_face.push(FromBroker::Command { conn: conn.0 & !OF_FACE, command });
                    }
                    Effect::Close { conn } if conn.0 & OF_FACE != 0 => {
                        for_face.push(FromBroker::Closed { conn: conn.0 & !OF_FACE });
                    }
                    Effect::Send { conn, command } | Effect::SendOnceRegistered { conn, command }
                        if command.is_response() =>
                    {
                        let asker = self.asked.remove(&command.opaque);
                        let gone = !self.conns.values().any(|living| *living == conn);
                        assert!(gone || asker == Some(conn), "an answer that nobody waits for: {command:?}");
                    }
                    Effect::Send { .. } | Effect::SendOnceRegistered { .. } | Effect::Register => {}
                    Effect::Close { conn } => {
                        self.conns.retain(|_, living| *living != conn);
                        self.asked.retain(|_, asker| *asker != conn);
                        inputs.push(Input::Disconnected { conn });
                    }
                    Effect::Write(batch) => parts.writes.push(batch),
                    Effect::Read { read, plan, .. } => {
                        let result = parts.reader.execute(&plan, self.now_ms);
                        match self.holds_reads {
                            true => parts.reads.push((read, result)),
                            false => inputs.push(Input::ReadDone { read, result }),
                        }
                    }
                    Effect::Seal(job) => {
                        let writes = std::mem::take(&mut parts.writes);
                        let (written, flushed) = parts.writer.write(&writes, true).unwrap();
                        inputs.push(Input::Written { written, flushed });
                        inputs.push(Input::Sealed(parts.keeper.seal(job).unwrap()));
                    }
                    Effect::AskNameServer { ask, command } => {
                        let answer = route(&command);
                        inputs.push(Input::NameServerAnswered { ask, answer });
                    }
                    Effect::Stop { why } => panic!("stop: {why}"),
                }
            }
            if let Some(face) = self.face.as_ref().filter(|_| !for_face.is_empty()) {
                let _ = face.send(for_face);
            }
            if inputs.is_empty() {
                return;
            }
        }
        panic!("the broker asked for something {ROUNDS_MAX} times, and again");
    }

    /// A clean end: whoever still waits is answered; what the log says, with and without what is derived, is the state.
    pub(crate) fn end(mut self) {
        self.release_reads();
        self.flush(true);
        self.feed(vec![Input::Shutdown]);
        for _ in 0..20 {
            self.flush(true);
            if self.asked.is_empty() && self.parts.broker.is_drained() {
                break;
            }
            self.now_ms += 60_000;
            self.feed(vec![Input::Tick]);
        }
        assert!(self.asked.is_empty(), "never answered: {:?}", self.asked);
        assert!(self.parts.broker.is_drained(), "shutdown has no end");
        let state = self.parts.broker.state().dump();
        for lose_derived in [false, true] {
            self.restart(CrashMode::Lost, lose_derived);
            assert_eq!(entries(&self.parts.broker.state().dump()), entries(&state), "{lose_derived}");
        }
    }
}

/// To be read in a failure.
fn entries(stream: &[u8]) -> Vec<(u8, String)> {
    let entry = |entry: Result<(u8, &[u8]), usize>| entry.map(|(k, p)| (k, p.escape_ascii().to_string()));
    kerolox_store::state::entries(stream).map(|e| entry(e).unwrap()).collect()
}

/// `name=value … body=TEXT`, as in stories.
fn fill(command: &mut Command, rest: &str) {
    for word in rest.split(' ').filter(|word| !word.is_empty()).skip(1).take(WORDS_MAX) {
        match word.split_once('=') {
            Some(("language", name)) => command.language = kerolox_wire::Language::from_name(name),
            Some(("version", n)) => command.version = n.parse().unwrap_or(0),
            Some(("code", n)) => command.code = n.parse().unwrap_or(0),
            Some(("remark", text)) => command.remark = Some(text.to_owned()),
            None if word == "binary" => command.encoding = Encoding::Rocketmq,
            Some(("json", json)) => command.body = json.as_bytes().to_vec().into(),
            Some(("body", text)) => command.body = text.replace('_', " ").into_bytes().into(),
            Some(("batch", bodies)) => command.body = batch(bodies).into(),
            Some(("extraInfo", receipt)) => command.fields.push("extraInfo", &receipt.replace(',', " ")),
            Some(("body-bytes", n)) => {
                command.body = vec![b'x'; n.parse().unwrap_or(0).min(BODY_BYTES_MAX)].into();
            }
            Some(("properties", list)) => {
                let one = |p: &str| p.replacen(':', "\u{1}", 1) + "\u{2}";
                command.fields.push("properties", &list.split(',').map(one).collect::<String>());
            }
            Some((name, value)) => command.fields.push(name, value),
            None => {}
        }
    }
}

/// What a name server says: two brokers have the topic. One whose name begins with `none` nobody has.
fn route(request: &Command) -> Option<Command> {
    let topic = request.fields.get("topic")?;
    let queue = |broker: &str| {
        format!(r#"{{"brokerName":"{broker}","perm":6,"readQueueNums":2,"writeQueueNums":2}}"#)
    };
    let broker = |name: &str| {
        format!(r#"{{"cluster":"c","brokerName":"{name}","brokerAddrs":{{"0":"127.0.0.1:10911"}}}}"#)
    };
    let answer = request.respond(ResponseCode::SUCCESS);
    let [a, b] = ["broker-a", "broker-b"];
    let (brokers, queues) = (format!("{},{}", broker(a), broker(b)), format!("{},{}", queue(a), queue(b)));
    let body = format!(r#"{{"brokerDatas":[{brokers}],"queueDatas":[{queues}]}}"#);
    (!topic.starts_with("none")).then(|| answer.with_body(body.into_bytes()))
}

/// A batch body of messages `TEXT` separated by commas.
fn batch(bodies: &str) -> Vec<u8> {
    let mut out = Vec::new();
    for body in bodies.split(',') {
        out.extend_from_slice(&(22 + body.len() as u32).to_be_bytes());
        out.extend_from_slice(&[0; 12]);
        out.extend_from_slice(&(body.len() as u32).to_be_bytes());
        out.extend_from_slice(body.as_bytes());
        out.extend_from_slice(&[0; 2]);
    }
    out
}
