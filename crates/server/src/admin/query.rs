//! Single messages, found by their ids, keys and places.

use super::flags::{Args, Usage};
use super::message::{Message, Queue, messages};
use super::out::{Cell, Table};
use super::print::charset;
use super::session::Session;
use super::time;
use anyhow::{Context, Result, bail};
use encoding_rs::Encoding;
use kerolox_wire::header::{QueryMessage, ViewMessage};
use kerolox_wire::message_id::MessageId;
use kerolox_wire::{Command, RequestCode, ResponseCode};
use serde_json::{Value, json};

/// How far around now a message is looked for by its unique id, unless times are given: 36 hours.
const AROUND_MS: i64 = 36 * 60 * 60 * 1_000;
/// Messages with one unique id that are asked for.
const UNIQUE_MAX: i32 = 32;
const KEYS_MAX: i32 = 64;
const HOUR_MS: i64 = 60 * 60 * 1_000;

/// What is looked for.
#[derive(Debug, Clone)]
struct Wanted<'a> {
    topic: &'a str,
    key: &'a str,
    max: i32,
    /// Stored from when to when, in milliseconds.
    times: [i64; 2],
    unique: bool,
    /// `K` or `T`.
    kind: Option<&'a str>,
    last_key: Option<&'a str>,
}

/// Asks every broker that `route_topic` is on; oldest first.
fn find(session: &mut Session, wanted: &Wanted<'_>, route_topic: &str) -> Result<Vec<Message>> {
    let [begin_timestamp, end_timestamp] = wanted.times;
    let mut found = Vec::new();
    for (broker, address) in session.brokers_of(route_topic)? {
        let header = QueryMessage {
            topic: wanted.topic,
            key: wanted.key,
            max_num: wanted.max,
            begin_timestamp,
            end_timestamp,
            unique_key: Some(wanted.unique),
            index_type: wanted.kind,
            last_key: wanted.last_key,
            ..QueryMessage::default()
        };
        let request = Command::request(RequestCode::QUERY_MESSAGE).with_header(&header);
        let answer = session.client.ask(&address, request)?;
        if ResponseCode(answer.code) == ResponseCode::QUERY_NOT_FOUND {
            continue;
        }
        let answer = super::client::granted(&address, RequestCode::QUERY_MESSAGE, answer)?;
        found.extend(messages(&answer, &broker)?);
    }
    if wanted.unique {
        found.retain(|message| message.id() == wanted.key);
    }
    found.sort_by_key(|message| message.store_ms);
    Ok(found)
}

/// Where brokers are found for a command that may name another topic for it.
fn route_topic<'a>(args: &'a Args, topic: &'a str) -> &'a str {
    args.get("cluster").unwrap_or(topic)
}

/// The messages with a unique id.
fn unique(session: &mut Session, args: &Args, id: &str, times: Option<[i64; 2]>) -> Result<Vec<Message>> {
    let topic = args.need("topic")?;
    let now = time::now_ms();
    let wanted = Wanted {
        topic,
        key: id,
        max: UNIQUE_MAX,
        times: times.unwrap_or([now - AROUND_MS, now + AROUND_MS]),
        unique: true,
        kind: None,
        last_key: None,
    };
    let found = find(session, &wanted, route_topic(args, topic))?;
    if found.is_empty() {
        bail!("the topic {topic} has no message {id}");
    }
    Ok(found)
}

/// The message of an offset message id, or of a unique id.
fn of_id(session: &mut Session, args: &Args, id: &str) -> Result<Message> {
    let topic = args.need("topic")?;
    // A unique id has 32 digits too: one that names no broker of the topic is one.
    let place = id.parse::<MessageId>().ok();
    let brokers = session.brokers_of(route_topic(args, topic))?;
    let broker = place.and_then(|place| {
        let host = place.host.to_string();
        brokers.into_iter().find(|(_, address)| *address == host).map(|broker| (broker, place.position))
    });
    let Some(((broker, address), position)) = broker else {
        let first = unique(session, args, id, None)?.into_iter().next();
        return first.with_context(|| format!("the topic {topic} has no message {id}"));
    };
    let header = ViewMessage { topic: Some(topic), offset: position.cast_signed(), ..ViewMessage::default() };
    let request = Command::request(RequestCode::VIEW_MESSAGE_BY_ID).with_header(&header);
    let answer = session.client.done(&address, request)?;
    let message = messages(&answer, &broker)?.into_iter().next().context("the answer holds no message")?;
    if message.topic != topic {
        bail!("the message {id} is of the topic {}, not {topic}", message.topic);
    }
    Ok(message)
}

/// The encoding in which bodies are to be shown, if they are.
fn body_format(args: &Args) -> Result<Option<&'static Encoding>, Usage> {
    if args.has("bodyFormat") { charset(args, "bodyFormat").map(Some) } else { Ok(None) }
}

/// Shows all of a message.
fn show(
    session: &mut Session,
    message: &Message,
    index: usize,
    with_id: bool,
    body_as: Option<&'static Encoding>,
) -> Result<()> {
    let path = message.write_body(index)?;
    let mut text = message.details(with_id);
    let path = path.to_string_lossy();
    text.push_str(&super::out::format("%-20s %s\n", &["Message Body Path:", &path]));
    if let Some(charset) = body_as {
        let body = message.text(charset);
        text.push_str(&super::out::format("%-20s %s\n", &["Message Body:", &body]));
    }
    session.out.text(&text);
    let mut json = message.json(body_as.unwrap_or(encoding_rs::UTF_8));
    if let Value::Object(members) = &mut json {
        members.insert("bodyPath".to_owned(), json!(path));
    }
    session.out.push("messages", json);
    super::track::show(session, message)
}

pub(super) fn by_id(args: &Args, session: &mut Session) -> Result<()> {
    let body_as = body_format(args)?;
    let ids = args.need("msgId")?.split(',').map(str::trim).filter(|id| !id.is_empty());
    for id in ids {
        let message = of_id(session, args, id)?;
        if let (Some(group), Some(client)) = (args.get("consumerGroup"), args.get("clientId")) {
            super::track::push(session, &message, group, client)?;
        } else if args.is_true("sendMessage") {
            resend(session, &message, id)?;
        } else {
            show(session, &message, 0, true, body_as)?;
        }
    }
    Ok(())
}

/// Sends a message again, to its topic.
fn resend(session: &mut Session, message: &Message, id: &str) -> Result<()> {
    let properties = message.properties.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let mut sender = super::send::Sender::new(session, &message.topic)?;
    let sent = sender.send(session, message.body.clone(), properties)?;
    session.out.line(format!("prepare resend msg. originalMsgId={id}{}", sent.describe()));
    session.out.push("sent", json!({"original": id, "messageId": sent.id, "status": sent.status}));
    Ok(())
}

static KEYED: Table = Table {
    name: "messages",
    head: "%-50s %4s %40s %-200s",
    row: "%-50s %4d %40d %-200s",
    columns: &[
        ("#Message ID", "messageId"),
        ("#QID", "queueId"),
        ("#Offset", "queueOffset"),
        ("#IndexKey", "indexKey"),
    ],
};

pub(super) fn by_key(args: &Args, session: &mut Session) -> Result<()> {
    let (topic, key) = (args.need("topic")?, args.need("msgKey")?);
    let kind = args.get("keyType").unwrap_or("K");
    if !["K", "T"].contains(&kind) {
        return Err(Usage(format!("-p {kind:?} is neither K (keys) nor T (tags)")).into());
    }
    let wanted = Wanted {
        topic,
        key,
        max: args.number("maxNum")?.unwrap_or(KEYS_MAX),
        times: [
            args.number("beginTimestamp")?.unwrap_or(0),
            args.number("endTimestamp")?.unwrap_or(i64::MAX),
        ],
        unique: false,
        kind: Some(kind),
        last_key: args.get("lastKey"),
    };
    let found = find(session, &wanted, route_topic(args, topic))?;
    session.out.head(&KEYED);
    for message in found {
        let (hour, id) = (message.store_ms - message.store_ms.rem_euclid(HOUR_MS), message.id());
        let index_key = format!("{hour}@{topic}@{kind}@{key}@{id}@{}", message.position);
        let offset = Cell::shown(message.queue_offset.to_string(), message.queue_offset);
        let queue_id = Cell::shown(message.queue_id.to_string(), message.queue_id);
        session.out.row(&KEYED, [id.into(), queue_id, offset, index_key.into()]);
    }
    Ok(())
}

pub(super) fn by_unique_key(args: &Args, session: &mut Session) -> Result<()> {
    let times = match (args.number("startTime")?, args.number("endTime")?) {
        (Some(begin), Some(end)) => Some([begin, end]),
        _ => None,
    };
    let found = unique(session, args, args.need("msgId")?, times)?;
    if let (Some(group), Some(client), Some(first)) =
        (args.get("consumerGroup"), args.get("clientId"), found.first())
    {
        return super::track::push(session, first, group, client);
    }
    let count = if args.has("showAll") { found.len() } else { 1 };
    for (index, message) in found.iter().take(count).enumerate() {
        show(session, message, index, false, None)?;
    }
    Ok(())
}

pub(super) fn by_offset(args: &Args, session: &mut Session) -> Result<()> {
    let body_as = body_format(args)?;
    let (topic, broker) = (args.need("topic")?, args.need("brokerName")?);
    let addresses = match args.get("routeTopic") {
        Some(other) => {
            let brokers = session.brokers_of(other)?;
            brokers.into_iter().filter(|(name, _)| name == broker).map(|(_, address)| address).collect()
        }
        None => session.named(broker)?,
    };
    let address = addresses.first().with_context(|| format!("there is no broker {broker}"))?;
    let (id, offset) =
        (args.number("queueId")?.unwrap_or_default(), args.number("offset")?.unwrap_or_default());
    let queue = Queue { topic, broker, address, id };
    let pulled = queue.pull(session, "*", offset, 1)?;
    let at_offset =
        |message: &&Message| i64::try_from(message.queue_offset).is_ok_and(|found| found == offset);
    match pulled.messages.iter().find(at_offset) {
        Some(message) => show(session, message, 0, true, body_as),
        None => bail!("{} has no message at {offset} ({})", queue.describe(), pulled.status),
    }
}

/// The messages of a topic that have a key.
pub(super) fn keyed(
    session: &mut Session,
    topic: &str,
    key: &str,
    max: i32,
    times: [i64; 2],
) -> Result<Vec<Message>> {
    let wanted = Wanted { topic, key, max, times, unique: false, kind: Some("K"), last_key: None };
    find(session, &wanted, topic)
}
