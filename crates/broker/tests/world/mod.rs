//! One broker on a disk in memory, driven by text commands; its effects as text.

use kerolox_broker::{Broker, BrokerConfig, ConnId, Effect, Input, ReadId, State};
use kerolox_store::disk::{CrashMode, HostileDisk};
use kerolox_store::{
    DiskState, FlushPolicy, Keeper, Position, ReadPlan, ReadResult, Reader, StoreConfig, WriteBatch, Writer,
    state,
};
use kerolox_wire::body::{RegisterBrokerBody, from_json};
use kerolox_wire::record;
use kerolox_wire::{Command, RequestCode, ResponseCode};
use std::collections::BTreeMap;
use std::fmt::Write;

/// The clock at the beginning of a story.
const START_MS: i64 = 1_000_000;
const SEGMENT_BYTES: usize = 16 << 20;
/// What one command may ask of the disk in turn: more than that has no end.
const ROUNDS_MAX: u32 = 10_000;
/// Names in the order in which they are printed; others follow.
const SHOWN_PROPERTIES: [&str; 13] = [
    "1ST_POP_TIME",
    "POP_CK",
    "TAGS",
    "KEYS",
    "DELAY",
    "REAL_TOPIC",
    "REAL_QID",
    "RETRY_TOPIC",
    "ORIGIN_MESSAGE_ID",
    "UNIQ_KEY",
    "INNER_MULTI_DISPATCH",
    "INNER_MULTI_QUEUE_OFFSET",
    "a",
];

pub(crate) struct World {
    pub(crate) now_ms: i64,
    disk: HostileDisk,
    parts: Option<Parts>,
    flush: FlushPolicy,
    message_bytes_max: usize,
    backlog_bytes_max: u64,
    retention_bytes: u64,
    settings: Vec<(String, String)>,
    opaque: i32,
    /// Reads are done at once, and told of later.
    holds_reads: bool,
    /// Whether the broker was drained before the last batch ended.
    drained_within: bool,
}

struct Parts {
    broker: Broker,
    writer: Writer<HostileDisk>,
    keeper: Keeper<HostileDisk>,
    reader: Reader<HostileDisk>,
    writes: Vec<WriteBatch>,
    /// Asked for, and held.
    reads: Vec<(ReadId, ReadPlan)>,
    /// What retention did, and the broker does not know yet.
    untold: Option<(Position, DiskState)>,
}

impl World {
    pub(crate) fn new() -> Self {
        let mut world = Self {
            now_ms: START_MS,
            disk: HostileDisk::default(),
            parts: None,
            flush: FlushPolicy::Sync,
            message_bytes_max: 4 << 20,
            retention_bytes: u64::MAX,
            backlog_bytes_max: 256 << 20,
            settings: Vec::new(),
            opaque: 0,
            holds_reads: false,
            drained_within: false,
        };
        world.open();
        world
    }

    fn open(&mut self) -> String {
        let host = "127.0.0.1:10911".parse().unwrap();
        let config = StoreConfig {
            segment_bytes: SEGMENT_BYTES as u64,
            flush: self.flush,
            message_bytes_max: self.message_bytes_max,
            store_host: host,
            backlog_bytes_max: self.backlog_bytes_max,
            retention_bytes: self.retention_bytes,
            ..StoreConfig::default()
        };
        let mut state = State::default();
        let opened = kerolox_store::open(self.disk.clone(), &config, &mut state, &mut |_| {}).unwrap();
        let mut config = BrokerConfig { young_bytes: 64 << 10, ..BrokerConfig::new("broker-a", host) };
        for (key, value) in &self.settings {
            match &**key {
                "storeReplyMessageEnable" => config.store_replies = value == "true",
                "enableTopicMessageTypeCheck" => config.check_message_types = value == "true",
                "enableMixedMessageType" => config.mixed_types = value == "true",
                "notifyConsumerIdsChangedEnable" => config.notify_changes = value == "true",
                "rejectPullConsumerEnable" => config.reject_pull_consumers = value == "true",
                "topics_max" => config.limits.topics_max = value.parse().unwrap(),
                "useServerSideResetOffset" => config.server_side_reset = value == "true",
                "enableLmq" => config.lmq = value == "true",
                "lmq_max" => config.limits.lmq_max = value.parse().unwrap(),
                "lite_subscriptions_max" => {
                    config.limits.lite_subscriptions_max = value.parse().unwrap();
                }
                "reads_max" => config.limits.reads_max = value.parse().unwrap(),
                "relays_max" => config.limits.relays_max = value.parse().unwrap(),
                "timer_entries_at_once" => config.limits.timer_entries_at_once = value.parse().unwrap(),
                _ => panic!("{key}?"),
            }
        }
        let broker = Broker::new(config, self.now_ms, opened.store, state);
        self.parts = Some(Parts {
            broker,
            writer: opened.writer,
            keeper: opened.keeper,
            reader: opened.reader,
            writes: Vec::new(),
            reads: Vec::new(),
            untold: None,
        });
        self.feed(Vec::new())
    }

    /// Runs one command and tells what came of it, a line each.
    pub(crate) fn run(&mut self, command: &str) -> String {
        let (verb, rest) = command.split_once(' ').unwrap_or((command, ""));
        match verb {
            "flush" => self.flush(true),
            "write" => self.flush(false),
            "tick" => {
                self.now_ms += rest.trim_start_matches('+').parse::<i64>().unwrap();
                self.feed(vec![Input::Tick])
            }
            // What retention takes, it takes; some of it only after the broker has moved what it needs.
            "retain" => self.retain(rest.parse().unwrap_or(8)),
            "retain-untold" => self.retain_untold(),
            "tell-retained" => self.tell_retained(),
            "shutdown" => self.feed(vec![Input::Shutdown]),
            "drained" => format!("{}\n", self.parts.as_ref().unwrap().broker.is_drained()),
            // The same before the last batch ended: the shell may ask then.
            "drained-within" => format!("{}\n", self.drained_within),
            // From now on reads end when the story says so, and find what there is then.
            "hold-reads" => {
                self.holds_reads = true;
                String::new()
            }
            // One of them ends: the first, or the one of a number.
            "release-read" => self.release_read(rest, |found| found),
            "release-reads" => self.release_reads(|found| found),
            "fail-read" => self.release_read(rest, failed),
            "fail-reads" => self.release_reads(failed),
            "async" => {
                self.flush = FlushPolicy::Async { interval_ms: 500 };
                self.parts = None;
                self.open()
            }
            // A restart with other settings, named as in `broker.conf`.
            "settings" => {
                self.settings = rest.split(' ').map(|s| s.split_once('=').unwrap()).map(owned).collect();
                self.parts = None;
                self.open()
            }
            // A restart with another limit of bodies.
            "body-limit" => {
                self.message_bytes_max = rest.parse().unwrap();
                self.parts = None;
                self.open()
            }
            // A restart with a log that takes no more than so many bytes that are not written yet.
            "backlog-limit" => {
                self.backlog_bytes_max = rest.parse().unwrap();
                self.parts = None;
                self.open()
            }
            // A restart with a log that retention keeps to so many bytes.
            "retention-bytes" => {
                self.retention_bytes = rest.parse().unwrap();
                self.parts = None;
                self.open()
            }
            // A restart; before it, another version of the broker took a setting at run time.
            "foreign-setting" => {
                self.parts = None;
                self.set_as_another_version(rest);
                self.open()
            }
            // Flips a bit of the log at a position, as a medium may; read from there after a restart.
            // The entries of every index run are damaged.
            "damage-runs" => {
                for path in self.disk.paths().iter().filter(|path| path.ends_with(".run")) {
                    self.disk.tamper(path, |bytes| bytes[100] ^= 1);
                }
                String::new()
            }
            "damage" => {
                let position: usize = rest.parse().unwrap();
                let path = format!("commitlog/{:020}", position - position % SEGMENT_BYTES);
                assert!(self.disk.tamper(&path, |bytes| bytes[position % SEGMENT_BYTES] ^= 1), "{path}");
                String::new()
            }
            "kill" => {
                self.parts = None;
                self.disk = self.disk.crash(CrashMode::Kill, 1);
                self.open()
            }
            // A restart that has nothing but the log.
            "lose-derived" => {
                self.parts = None;
                self.disk = self.disk.crash(CrashMode::Lost, 1);
                let derived = |path: &String| path.contains("/runs/") || path.ends_with("snapshot");
                for path in self.disk.paths().into_iter().filter(derived) {
                    assert!(self.disk.tamper_remove(&path));
                }
                self.open()
            }
            "power-cut" => {
                self.parts = None;
                self.disk = self.disk.crash(CrashMode::Lost, 1);
                self.open()
            }
            // A restart that finds the last record of the state rotten, as if the log had been cut before it.
            "rot-last-state" => {
                // Of its body, which ends before the topic and its length: then it is known whose record it was.
                self.parts = None;
                self.disk = self.disk.crash(CrashMode::Kill, 1);
                let mut logs: Vec<String> = self.disk.paths();
                logs.retain(|path| path.starts_with("commitlog/"));
                logs.sort();
                let topic = kerolox_store::STATE_TOPIC.as_bytes();
                let last = |bytes: &[u8]| bytes.windows(topic.len()).rposition(|window| window == topic);
                let rotten = logs.iter().rev().any(|path| {
                    let at = last(&self.disk.content(path).unwrap());
                    at.is_some_and(|at| self.disk.tamper(path, |bytes| bytes[at - 3] ^= 1))
                });
                assert!(rotten);
                self.open()
            }
            // What name servers are told of a topic, and under which number.
            "told" => {
                let (command, version) = self.parts.as_ref().unwrap().broker.registration(None, false);
                let body: RegisterBrokerBody = from_json(&command.body).unwrap();
                let topics = body.topic_config_serialize_wrapper.topic_config_table;
                format!("{rest}: perm {}, change {}\n", topics[rest].perm, version.counter)
            }
            "fail-sync" => {
                let why = "sync failed: Input/output error".to_owned();
                self.feed(vec![Input::WriteFailed { why }])
            }
            "connect" => {
                let conn = conn(rest);
                let peer = format!("10.0.0.{}:4000", conn.0).parse().unwrap();
                self.feed(vec![Input::Connected { conn, peer }])
            }
            "disconnect" => self.feed(vec![Input::Disconnected { conn: conn(rest) }]),
            "answer" => self.answer(rest),
            _ => self.request(verb, rest),
        }
    }

    /// Where the log ends.
    #[allow(dead_code)] // not each test that has a world needs it
    pub(crate) fn appended(&self) -> u64 {
        self.parts.as_ref().unwrap().broker.watermarks().appended
    }

    /// No more segments can be made: the log takes what the last one has room for.
    #[allow(dead_code)] // not each test that has a world needs it
    pub(crate) fn fill_disk(&mut self) {
        self.disk.set_capacity(0);
        self.parts.as_mut().unwrap().keeper.prepare(self.now_ms).unwrap();
    }

    /// From now on the disk is full by the settings, though there is room.
    #[allow(dead_code)] // not each test that has a world needs it
    pub(crate) fn crowd_disk(&mut self) {
        let used: usize = self.disk.paths().iter().map(|path| self.disk.content(path).unwrap().len()).sum();
        self.disk.set_capacity(used as u64 * 100 / 92);
    }

    fn flush(&mut self, sync: bool) -> String {
        let parts = self.parts.as_mut().unwrap();
        let writes = std::mem::take(&mut parts.writes);
        let (written, flushed) = parts.writer.write(&writes, sync).unwrap();
        self.feed(vec![Input::Written { written, flushed }])
    }

    fn set_as_another_version(&self, setting: &str) {
        let (name, value) = setting.split_once('=').unwrap();
        let payload = [&[0, name.len() as u8], name.as_bytes(), value.as_bytes()].concat();
        let mut entries = Vec::new();
        state::put(&mut entries, 56, &payload);
        let config = StoreConfig { segment_bytes: SEGMENT_BYTES as u64, ..StoreConfig::default() };
        let mut opened =
            kerolox_store::open(self.disk.clone(), &config, &mut State::default(), &mut |_| {}).unwrap();
        opened.store.append_state(self.now_ms, &entries).unwrap();
        let mut writes = Vec::new();
        opened.store.take_writes(&mut writes);
        opened.writer.write(&writes, true).unwrap();
    }

    fn release_read(&mut self, number: &str, ends: impl Fn(ReadResult) -> ReadResult) -> String {
        let parts = self.parts.as_mut().unwrap();
        let (read, plan) = parts.reads.remove(number.parse().unwrap_or(0));
        let result = ends(parts.reader.execute(&plan, self.now_ms));
        self.feed(vec![Input::ReadDone { read, result }])
    }

    fn release_reads(&mut self, ends: impl Fn(ReadResult) -> ReadResult) -> String {
        self.holds_reads = false;
        let parts = self.parts.as_mut().unwrap();
        let execute = |(read, plan)| {
            let result = ends(parts.reader.execute(&plan, self.now_ms));
            Input::ReadDone { read, result }
        };
        let inputs = std::mem::take(&mut parts.reads).into_iter().map(execute).collect();
        self.feed(inputs)
    }

    /// Segments go, and the broker is not told yet: [`World::tell_retained`] does.
    fn retain_untold(&mut self) -> String {
        let parts = self.parts.as_mut().unwrap();
        parts.untold = Some(parts.keeper.retain(self.now_ms));
        String::new()
    }

    fn tell_retained(&mut self) -> String {
        let (min, disk) = self.parts.as_mut().unwrap().untold.take().unwrap();
        self.feed(vec![Input::Trimmed { min, disk }])
    }

    /// As often as it may take: two segments go at a time, and what is moved before must be safe first.
    fn retain(&mut self, times: u32) -> String {
        let mut told = String::new();
        for _ in 0..times {
            let (min, disk) = self.parts.as_mut().unwrap().keeper.retain(self.now_ms);
            told.push_str(&self.feed(vec![Input::Trimmed { min, disk }]));
            told.push_str(&self.flush(true));
        }
        told
    }

    /// `CODE CONN name=value … body=TEXT`: a request. `oneway` as a word of its own, `binary` for the ROCKETMQ encoding.
    fn request(&mut self, code: &str, rest: &str) -> String {
        let input = self.input(code, rest);
        self.feed(vec![input])
    }

    /// Runs what came within one turn of the broker: requests, and `tick +N`.
    #[allow(dead_code)] // not each test that has a world needs it
    pub(crate) fn run_together(&mut self, requests: &[String]) -> String {
        let input = |request: &String| match request.split_once(' ').unwrap() {
            ("tick", ms) => {
                self.now_ms += ms.trim_start_matches('+').parse::<i64>().unwrap();
                Input::Tick
            }
            (code, rest) => self.input(code, rest),
        };
        let inputs = requests.iter().map(input).collect();
        self.feed(inputs)
    }

    fn input(&mut self, code: &str, rest: &str) -> Input {
        let named = RequestCode::ALL.iter().find(|request| request.name == code);
        let code = named.map_or_else(
            || code.parse().unwrap_or_else(|_| panic!("{code} is no command")),
            |request| i32::from(request.code),
        );
        let mut words = rest.split(' ').filter(|word| !word.is_empty());
        let conn = conn(words.next().expect("a connection"));
        let mut command = Command::request(code);
        self.opaque += 1;
        command.opaque = self.opaque;
        for word in words {
            match word.split_once('=') {
                Some(("language", name)) => command.language = kerolox_wire::Language::from_name(name),
                Some(("version", n)) => command.version = n.parse().unwrap(),
                None if word == "oneway" => command = command.oneway(),
                None if word == "binary" => command.encoding = kerolox_wire::Encoding::Rocketmq,
                Some(("json", json)) => command.body = json.as_bytes().to_vec().into(),
                Some(("body", text)) => command.body = text.replace('_', " ").into_bytes().into(),
                Some(("batch", bodies)) => command.body = batch(bodies).into(),
                // A receipt's items are written with commas between them.
                Some(("extraInfo", receipt)) => {
                    command.fields.push("extraInfo", &receipt.replace(',', " "));
                }
                Some(("body-bytes", n)) => command.body = vec![b'x'; n.parse().unwrap()].into(),
                // Properties are written name:value,name:value.
                Some(("properties", list)) => {
                    let text =
                        list.split(',').map(|p| p.replacen(':', "\u{1}", 1) + "\u{2}").collect::<String>();
                    command.fields.push("properties", &text);
                }
                Some((name, value)) => command.fields.push(name, value),
                None => panic!("{word}?"),
            }
        }
        Input::Command { conn, command }
    }

    /// `answer CONN opaque=N code=N remark=TEXT name=value … json=TEXT`: a client answers what the broker asked it.
    fn answer(&mut self, rest: &str) -> String {
        let mut words = rest.split(' ').filter(|word| !word.is_empty());
        let conn = conn(words.next().expect("a connection"));
        let mut command = Command::request(0).respond(0);
        for (name, value) in words.map(|word| word.split_once('=').expect("name=value")) {
            match name {
                "opaque" => command.opaque = value.parse().unwrap(),
                "code" => command.code = value.parse().unwrap(),
                "remark" => command.remark = Some(value.replace('_', " ")),
                "json" => command.body = value.as_bytes().to_vec().into(),
                _ => command.fields.push(name, value),
            }
        }
        self.feed(vec![Input::Command { conn, command }])
    }

    /// Gives inputs to the broker, and does what it asks: seals at once, reads as well unless the story holds
    /// them, writes when the story says so.
    fn feed(&mut self, inputs: Vec<Input>) -> String {
        let mut told = String::new();
        let mut inputs = inputs;
        for _ in 0..ROUNDS_MAX {
            let parts = self.parts.as_mut().unwrap();
            let mut effects = Vec::new();
            for input in std::mem::take(&mut inputs) {
                parts.broker.handle(self.now_ms, input, &mut effects);
            }
            self.drained_within = parts.broker.is_drained();
            parts.broker.finish_batch(self.now_ms, &mut effects);
            for effect in effects {
                match effect {
                    Effect::Send { conn, command } | Effect::SendOnceRegistered { conn, command } => {
                        told.push_str(&show(conn, &command))
                    }
                    Effect::Close { conn } => writeln!(told, "-> {} closed", conn.0).unwrap(),
                    Effect::Write(batch) => parts.writes.push(batch),
                    Effect::Read { read, plan, .. } => {
                        if self.holds_reads {
                            parts.reads.push((read, plan));
                            told.push_str("a read is held\n");
                        } else {
                            let result = parts.reader.execute(&plan, self.now_ms);
                            inputs.push(Input::ReadDone { read, result });
                        }
                    }
                    Effect::Seal(job) => {
                        let writes = std::mem::take(&mut parts.writes);
                        let (written, flushed) = parts.writer.write(&writes, true).unwrap();
                        inputs.push(Input::Written { written, flushed });
                        inputs.push(Input::Sealed(parts.keeper.seal(job).unwrap()));
                    }
                    Effect::Register => {}
                    Effect::AskNameServer { ask, command } => {
                        inputs.push(Input::NameServerAnswered { ask, answer: route(&command) });
                    }
                    Effect::Stop { why } => writeln!(told, "stop: {why}").unwrap(),
                }
            }
            if inputs.is_empty() {
                return told;
            }
        }
        panic!("the broker asked for something {ROUNDS_MAX} times, and again; it answered: {told}");
    }
}

fn failed(_: ReadResult) -> ReadResult {
    ReadResult::Failed("Input/output error".to_owned())
}

fn owned((key, value): (&str, &str)) -> (String, String) {
    (key.to_owned(), value.to_owned())
}

/// What a name server says: two brokers have the topic. One whose name begins with `none` nobody has.
fn route(request: &Command) -> Option<Command> {
    let topic = request.fields.get("topic").unwrap();
    let queues = |broker: &str, count, perm| {
        format!(
            r#"{{"brokerName":"{broker}","perm":{perm},"readQueueNums":{count},"writeQueueNums":{count}}}"#
        )
    };
    let queues = [queues("broker-b", 2, 6), queues("broker-a", 3, 6), queues("broker-c", 3, 2)].join(",");
    let answer = request.respond(ResponseCode::SUCCESS);
    (!topic.starts_with("none"))
        .then(|| answer.with_body(format!("{{\"queueDatas\":[{queues}]}}").into_bytes()))
}

fn conn(text: &str) -> ConnId {
    ConnId(text.parse().expect("a connection number"))
}

/// A batch body of messages `TEXT` or `KEY:TEXT` separated by commas.
fn batch(bodies: &str) -> Vec<u8> {
    let mut out = Vec::new();
    for message in bodies.split(',') {
        let (key, body) = message.split_once(':').unwrap_or(("", message));
        let mut properties = format!("UNIQ_KEY\u{1}id-{body}\u{2}");
        if let Some(lite) = key.strip_prefix('@') {
            properties.push_str(&format!("__LITE_TOPIC\u{1}{lite}\u{2}"));
        } else if !key.is_empty() {
            properties.push_str(&format!("KEYS\u{1}{key}\u{2}"));
        }
        let total = 4 + 4 + 4 + 4 + 4 + body.len() + 2 + properties.len();
        out.extend_from_slice(&(total as u32).to_be_bytes());
        out.extend_from_slice(&[0; 12]);
        out.extend_from_slice(&(body.len() as u32).to_be_bytes());
        out.extend_from_slice(body.as_bytes());
        out.extend_from_slice(&(properties.len() as u16).to_be_bytes());
        out.extend_from_slice(properties.as_bytes());
    }
    out
}

/// `-> CONN CODE remark | fields`, and the messages of the body.
fn show(conn: ConnId, command: &Command) -> String {
    let mut line = format!("-> {} ", conn.0);
    match command.is_response() {
        true => line.push_str(ResponseCode(command.code).name().unwrap_or("?")),
        false => line.push_str(RequestCode(command.code).name().unwrap_or("?")),
    }
    if !command.is_response() && !command.is_oneway() {
        write!(line, " opaque={}", command.opaque).unwrap();
    }
    if let Some(remark) = &command.remark {
        write!(line, " {:?}", remark.replace(FAQ, "…")).unwrap();
    }
    let hidden = ["MSG_REGION", "TRACE_ON", "suggestWhichBrokerId", "topicSysFlag", "groupSysFlag"];
    let fields: BTreeMap<_, _> = command.fields.iter().filter(|(k, _)| !hidden.contains(k)).collect();
    for (k, v) in fields {
        write!(line, " {k}={v}").unwrap();
    }
    line.push('\n');
    let reply =
        !command.is_response() && command.code == i32::from(RequestCode::PUSH_REPLY_MESSAGE_TO_CLIENT);
    if command.body.starts_with(b"{") || reply {
        writeln!(line, "     {}", String::from_utf8_lossy(&command.body)).unwrap();
    } else if command.body.first().is_some_and(u8::is_ascii_graphic) {
        // A record begins with the high byte of its length.
        for text in String::from_utf8_lossy(&command.body).lines() {
            writeln!(line, "     {text}").unwrap();
        }
    } else {
        for message in record::split(&command.body) {
            line.push_str(&show_message(&message.expect("a whole record")));
        }
    }
    line
}

const FAQ: &str = "See https://rocketmq.apache.org/docs/bestPractice/06FAQ for further details.";

fn show_message(message: &record::RecordView<'_>) -> String {
    let body = match message.body {
        long if long.len() > 60 => format!("{} bytes", long.len()),
        short => format!("{:?}", String::from_utf8_lossy(short)),
    };
    let mut line = format!("     {}/{}@{} {body}", message.topic, message.queue_id, message.queue_offset);
    if message.reconsume_times > 0 {
        write!(line, " reconsumed {}", message.reconsume_times).unwrap();
    }
    for name in SHOWN_PROPERTIES {
        if let Some(value) = message.properties().get(name) {
            write!(line, " {name}={value}").unwrap();
        }
    }
    line.push('\n');
    line
}
