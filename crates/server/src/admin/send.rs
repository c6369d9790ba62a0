//! Messages that are sent.

use super::flags::{Args, Usage};
use super::out::{Cell, Table};
use super::session::{Session, addressed};
use super::{time, trace};
use anyhow::{Context, Result, bail};
use kerolox_wire::body::{MessageQueue, perm};
use kerolox_wire::header::{SendMessage, SendMessageResponse};
use kerolox_wire::names::TRACE_TOPIC;
use kerolox_wire::properties::{PropertiesBuf, name};
use kerolox_wire::{Command, RequestCode, ResponseCode};
use serde_json::json;
use std::time::Instant;

/// The producer group of clients that have none of their own.
const GROUP: &str = "CLIENT_INNER_PRODUCER";
/// Longest body that is made up to measure with.
const SIZE_MAX: usize = 4 << 20;

/// Sends to the queues of a topic, one after the other.
#[derive(Debug)]
pub(super) struct Sender {
    /// With the addresses of their masters.
    queues: Vec<(MessageQueue, String)>,
    next: usize,
    ids: Ids,
}

/// What became of a message.
#[derive(Debug)]
pub(super) struct Sent {
    pub(super) queue: MessageQueue,
    /// The address of the broker.
    pub(super) host: String,
    /// As Apache's clients call it.
    pub(super) status: &'static str,
    /// The id that this client gave it.
    pub(super) id: String,
    pub(super) offset_id: String,
    pub(super) offset: i64,
}

impl Sent {
    /// As Apache's class writes itself.
    pub(super) fn describe(&self) -> String {
        let MessageQueue { topic, broker_name, queue_id } = &self.queue;
        format!(
            "SendResult [sendStatus={}, msgId={}, offsetMsgId={}, messageQueue=MessageQueue [topic={topic}, \
             brokerName={broker_name}, queueId={queue_id}], queueOffset={}, recallHandle=null]",
            self.status, self.id, self.offset_id, self.offset
        )
    }
}

/// What several sends came to.
#[derive(Debug, Default)]
pub(super) struct Measured {
    pub(super) done: i64,
    pub(super) failed: i64,
    /// How long each took, in milliseconds.
    pub(super) ms: Vec<f64>,
}

impl Measured {
    /// Of all but the first, which opens the connection.
    pub(super) fn mean_ms(&self) -> f64 {
        let rest: Vec<_> = self.ms.iter().skip(1).collect();
        if rest.is_empty() { 0.0 } else { rest.iter().copied().sum::<f64>() / rest.len() as f64 }
    }
}

impl Sender {
    /// # Errors
    /// The topic has no route and none can be created, or no queue can be written.
    pub(super) fn new(session: &mut Session, topic: &str) -> Result<Self> {
        let route = match session.route_if_any(topic)? {
            Some(route) => route,
            // A broker creates it after this topic with the first message, if it may.
            None => session
                .route(kerolox_wire::names::AUTO_CREATE_TOPIC)
                .with_context(|| format!("the topic {topic} does not exist (updateTopic creates it)"))?,
        };
        let addresses = addressed(&route.broker_datas);
        let mut queues = Vec::new();
        for data in route.queue_datas.iter().filter(|data| data.perm & perm::WRITE != 0) {
            let Some((broker, address)) = addresses.iter().find(|(name, _)| *name == data.broker_name) else {
                continue;
            };
            queues.extend((0..data.write_queue_nums).map(|queue_id| {
                let topic = topic.to_owned();
                (MessageQueue { topic, broker_name: broker.clone(), queue_id }, address.clone())
            }));
        }
        queues.sort();
        if queues.is_empty() {
            bail!("no queue of the topic {topic} can be written (updateTopicPerm changes that)");
        }
        Ok(Self { queues, next: 0, ids: Ids::new() })
    }

    /// Keeps only the queues that `wanted` says.
    pub(super) fn retain(&mut self, wanted: impl Fn(&MessageQueue) -> bool) {
        self.queues.retain(|(queue, _)| wanted(queue));
    }

    /// Sends to the next queue.
    ///
    /// # Errors
    /// The broker cannot be asked or refuses.
    pub(super) fn send(
        &mut self,
        session: &mut Session,
        body: Vec<u8>,
        mut properties: PropertiesBuf,
    ) -> Result<Sent> {
        let chosen =
            self.queues.get(self.next % self.queues.len().max(1)).context("there is no such queue")?;
        let (queue, address) = chosen.clone();
        self.next += 1;
        let id = self.ids.next();
        properties.set(name::UNIQ_CLIENT_MESSAGE_ID_KEYIDX, &id);
        properties.set(name::WAIT_STORE_MSG_OK, "true");
        let properties = String::from_utf8_lossy(properties.as_bytes()).into_owned();
        let header = SendMessage {
            producer_group: GROUP,
            topic: &queue.topic,
            default_topic: kerolox_wire::names::AUTO_CREATE_TOPIC,
            default_topic_queue_nums: 4,
            queue_id: queue.queue_id,
            born_timestamp: time::now_ms(),
            properties: Some(&properties),
            reconsume_times: Some(0),
            unit_mode: Some(false),
            batch: Some(false),
            broker_name: Some(&queue.broker_name),
            ..SendMessage::default()
        };
        let mut request = Command::request(RequestCode::SEND_MESSAGE_V2).with_body(body);
        header.encode_v2(&mut request.fields);
        let mut answer = session.client.ask(&address, request)?;
        let status = match ResponseCode(answer.code) {
            ResponseCode::FLUSH_DISK_TIMEOUT => "FLUSH_DISK_TIMEOUT",
            ResponseCode::FLUSH_SLAVE_TIMEOUT => "FLUSH_SLAVE_TIMEOUT",
            ResponseCode::SLAVE_NOT_AVAILABLE => "SLAVE_NOT_AVAILABLE",
            _ => {
                answer = super::client::granted(&address, RequestCode::SEND_MESSAGE_V2, answer)?;
                "SEND_OK"
            }
        };
        let header: SendMessageResponse<'_> = answer.header()?;
        let (offset_id, offset) = (header.msg_id.to_owned(), header.queue_offset);
        let queue = MessageQueue { queue_id: header.queue_id, ..queue };
        Ok(Sent { queue, host: address, status, id, offset_id, offset })
    }

    /// Sends messages of a size, one after the other.
    pub(super) fn measure(&mut self, session: &mut Session, amount: u32, size: usize) -> Measured {
        let mut measured = Measured::default();
        for _ in 0..amount {
            let begun = Instant::now();
            match self.send(session, vec![b'a'; size.min(SIZE_MAX)], PropertiesBuf::new()) {
                Ok(_) => measured.done += 1,
                Err(_) => measured.failed += 1,
            }
            measured.ms.push(begun.elapsed().as_secs_f64() * 1_000.0);
        }
        measured
    }
}

/// Makes ids of messages as Apache's clients make them, so that they can tell when one was made: upper-case hex of address (4
/// bytes), process (2), what tells processes with the same number apart (4), ms since the month began (4) and a counter (2).
#[derive(Debug)]
struct Ids {
    head: String,
    count: u16,
}

impl Ids {
    fn new() -> Self {
        let (loopback, process) = (u32::from(std::net::Ipv4Addr::LOCALHOST), std::process::id() as u16);
        Self { head: format!("{loopback:08X}{process:04X}{:08X}", time::now_ms() as u32), count: 0 }
    }

    fn next(&mut self) -> String {
        self.count = self.count.wrapping_add(1);
        format!("{}{:08X}{:04X}", self.head, time::ms_of_month(time::now_ms()) as u32, self.count)
    }
}

static RESULTS: Table = Table {
    name: "sent",
    head: "%-32s  %-4s  %-20s    %s",
    row: "%-32s  %-4s  %-20s    %s",
    columns: &[
        ("#Broker Name", "brokerName"),
        ("#QID", "queueId"),
        ("#Send Result", "status"),
        ("#MsgId", "messageId"),
    ],
};

pub(super) fn one(args: &Args, session: &mut Session) -> Result<()> {
    let topic = args.need("topic")?;
    if args.has("qid") && !args.has("broker") {
        return Err(Usage("a queue (-i) needs its broker (-b)".to_owned()).into());
    }
    let mut sender = Sender::new(session, topic)?;
    let queue_id: Option<i32> = args.number("qid")?;
    let wanted = |queue: &MessageQueue| {
        args.get("broker").is_none_or(|broker| queue.broker_name == broker)
            && queue_id.is_none_or(|id| queue.queue_id == id)
    };
    sender.retain(wanted);
    let mut properties = PropertiesBuf::new();
    for (name, flag) in [(name::KEYS, "key"), (name::TAGS, "tags")] {
        if let Some(value) = args.get(flag) {
            properties.set(name, value);
        }
    }
    let body = args.need("body")?;
    let (at_ms, begun) = (time::now_ms(), Instant::now());
    let sent = sender.send(session, body.as_bytes().to_vec(), properties)?;
    let cost_ms = begun.elapsed().as_millis();
    session.out.head(&RESULTS);
    let queue = &sent.queue;
    let row = [(&queue.broker_name).into(), queue.queue_id.into(), sent.status.into(), (&sent.id).into()];
    session.out.row(&RESULTS, row);
    if args.is_true("msgTraceEnable") {
        let (tags, keys) = (args.get("tags").unwrap_or_default(), args.get("key").unwrap_or_default());
        let trace = trace::published(&sent, GROUP, [tags, keys], body.len(), at_ms, cost_ms);
        let mut properties = PropertiesBuf::new();
        properties.set(name::KEYS, format!("{} {keys}", sent.id).trim_end());
        Sender::new(session, TRACE_TOPIC)
            .and_then(|mut sender| sender.send(session, trace.into_bytes(), properties))
            .context("the message is sent, its trace is not")?;
    }
    Ok(())
}

fn size(args: &Args, flag: &str) -> Result<usize, Usage> {
    match args.number(flag)?.unwrap_or(128) {
        size if size <= SIZE_MAX => Ok(size),
        _ => Err(Usage(format!("--{flag}: at most {SIZE_MAX} bytes"))),
    }
}

pub(super) fn to_broker(args: &Args, session: &mut Session) -> Result<()> {
    let (topic, size) = (args.need("brokerName")?, size(args, "messageSize")?);
    let mut sender = Sender::new(session, topic)?;
    // The first, which opens the connection, does not count.
    sender.send(session, vec![b'a'; 16], PropertiesBuf::new())?;
    for _ in 0..args.number("count")?.unwrap_or(50u32) {
        let begun = Instant::now();
        let sent = sender.send(session, vec![b'a'; size], PropertiesBuf::new())?;
        let ms = begun.elapsed().as_millis();
        session.out.line(format!("rt={ms}ms, SendResult={}", sent.describe()));
        let sent = json!({"rtMs": ms as u64, "status": sent.status, "messageId": sent.id, "queueOffset": sent.offset});
        session.out.push("sent", sent);
    }
    Ok(())
}

static TRIPS: Table = Table {
    name: "sent",
    head: "%-32s  %-4s  %-20s    %s",
    row: "%-32s  %-4s  %-20s    %s",
    columns: &[
        ("#Broker Name", "brokerName"),
        ("#QID", "queueId"),
        ("#Send Result", "sent"),
        ("#RT", "rtMs"),
    ],
};

pub(super) fn round_trips(args: &Args, session: &mut Session) -> Result<()> {
    let size = size(args, "size")?;
    let mut sender = Sender::new(session, args.need("topic")?)?;
    session.out.head(&TRIPS);
    let mut all = Measured::default();
    let mut first_error = None;
    for i in 0..args.number("amount")?.unwrap_or(100usize) {
        let queue = sender.queues.get(i % sender.queues.len()).map(|(queue, _)| queue.clone());
        let begun = Instant::now();
        let result = sender.send(session, vec![b'a'; size], PropertiesBuf::new());
        let ms = begun.elapsed().as_secs_f64() * 1_000.0;
        all.ms.push(ms);
        let MessageQueue { broker_name, queue_id, .. } = queue.unwrap_or_default();
        let row =
            [broker_name.into(), queue_id.into(), result.is_ok().into(), Cell::shown(format!("{ms:.0}"), ms)];
        session.out.row(&TRIPS, row);
        if let Err(why) = result {
            first_error.get_or_insert(why);
        }
    }
    session.out.line(format!("Avg RT: {:.2}", all.mean_ms()));
    session.out.set("averageRtMs", all.mean_ms());
    first_error.map_or(Ok(()), Err)
}
