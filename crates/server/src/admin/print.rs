//! Messages of queues, read from the first to the last.

use super::flags::{Args, Usage};
use super::message::{Message, Queue};
use super::session::Session;
use super::time;
use anyhow::{Result, bail};
use encoding_rs::Encoding;
use serde_json::json;
use std::collections::BTreeMap;

/// Messages that one pull asks for.
const BATCH: i32 = 32;
/// Messages that `consumeMessage` prints if it is not told how many.
const COUNT_DEFAULT: i64 = 128;
const RULE: &str = "--------------------------------------------------------";

/// First offset and the one behind the last, between two times if they are given.
fn bounds(session: &mut Session, queue: &Queue<'_>, [from, to]: [Option<i64>; 2]) -> Result<(i64, i64)> {
    let start = match from {
        Some(from) => queue.at_time(session, from)?,
        None => queue.start(session)?,
    };
    let end = match to {
        Some(to) => queue.at_time(session, to)?,
        None => queue.end(session)?,
    };
    Ok((start, end))
}

fn times(args: &Args) -> Result<[Option<i64>; 2], Usage> {
    let at = |name: &str| args.get(name).map(time::parse).transpose();
    Ok([at("beginTimestamp")?, at("endTimestamp")?])
}

/// The encoding of bodies that a flag names; UTF-8 if it is not given.
///
/// # Errors
/// [`Usage`]: no such encoding is known.
pub(super) fn charset(args: &Args, flag: &str) -> Result<&'static Encoding, Usage> {
    let Some(label) = args.get(flag) else { return Ok(encoding_rs::UTF_8) };
    Encoding::for_label(label.as_bytes()).ok_or_else(|| Usage(format!("--{flag}: {label:?} is no encoding")))
}

fn print(session: &mut Session, message: &Message, charset: &'static Encoding, with_body: bool) {
    if session.out.is_json() {
        session.out.push("messages", message.json(charset));
        return;
    }
    let body = if with_body { message.text(charset) } else { "NOT PRINT BODY".into() };
    session.out.line(format!("MSGID: {} {} BODY: {body}", message.id(), message.describe()));
}

pub(super) fn topic(args: &Args, session: &mut Session) -> Result<()> {
    let charset = charset(args, "charsetName")?;
    let (topic, times) = (args.need("topic")?, times(args)?);
    let tags = args.get("subExpression").unwrap_or("*");
    let with_body = args.boolean("printBody").unwrap_or(true);
    let route = session.route(args.get("lmqParentTopic").unwrap_or(topic))?;
    session.out.set("messages", json!([]));
    for readable in super::topic::readable(topic, &route) {
        let Some(address) = address(&route, &readable.broker_name) else { continue };
        let queue = Queue { topic, broker: &readable.broker_name, address, id: readable.queue_id };
        let (min, max) = bounds(session, &queue, times)?;
        let shown = queue.describe();
        session.out.line(format!("minOffset={min}, maxOffset={max}, {shown}"));
        let mut at = min;
        while at < max {
            let pulled = queue.pull(session, tags, at, BATCH)?;
            match pulled.status {
                "FOUND" => {
                    pulled.messages.iter().for_each(|message| print(session, message, charset, with_body))
                }
                status => {
                    let what =
                        if status == "NO_MATCHED_MSG" { "no matched msg" } else { "print msg finished" };
                    session.out.line(format!("{shown} {what}. status={status}, offset={}", pulled.next));
                    if status != "NO_MATCHED_MSG" {
                        break;
                    }
                }
            }
            if pulled.next <= at {
                bail!("the broker does not say where {shown} goes on behind {at}");
            }
            at = pulled.next;
        }
        session.out.line(RULE);
    }
    Ok(())
}

/// Where to ask about the queues of the broker of a name.
fn address<'a>(route: &'a kerolox_wire::body::TopicRouteData, broker: &str) -> Option<&'a str> {
    let data = route.broker_datas.iter().find(|data| data.broker_name == broker)?;
    data.broker_addrs.values().next().map(String::as_str)
}

pub(super) fn queue(args: &Args, session: &mut Session) -> Result<()> {
    let charset = charset(args, "charsetName")?;
    let (topic, broker, times) = (args.need("topic")?, args.need("brokerName")?, times(args)?);
    let tags = args.get("subExpression").unwrap_or("*");
    let addresses = session.named(broker)?;
    let address = addresses.first().map_or("", String::as_str);
    let queue = Queue { topic, broker, address, id: args.number("queueId")?.unwrap_or_default() };
    let (mut at, max) = bounds(session, &queue, times)?;
    let mut counts: BTreeMap<String, i64> = BTreeMap::new();
    while at < max {
        let pulled = queue.pull(session, tags, at, BATCH)?;
        for message in &pulled.messages {
            if let Some(tag) = message.tags().filter(|tag| !tag.trim().is_empty()) {
                *counts.entry(tag.to_owned()).or_default() += 1;
            }
            if args.is_true("print msg") {
                print(session, message, charset, args.is_true("printBody"));
            }
        }
        // A tag that few messages have is looked for to the end.
        if !["FOUND", "NO_MATCHED_MSG"].contains(&pulled.status) || pulled.next <= at {
            break;
        }
        at = pulled.next;
    }
    if args.is_true("calculate") {
        let mut all: Vec<_> = counts.iter().collect();
        all.sort_by_key(|(tag, count)| (-**count, (*tag).clone()));
        for (tag, count) in all {
            session.out.line(super::out::format("Tag: %-30s Count: %s", &[tag, &count.to_string()]));
        }
        session.out.set("tags", json!(counts));
    }
    Ok(())
}

pub(super) fn consume(args: &Args, session: &mut Session) -> Result<()> {
    let topic = args.need("topic")?;
    let (count, times) = (args.number("MessageNumber")?.unwrap_or(COUNT_DEFAULT), times(args)?);
    let queue_id: Option<i32> = args.number("queueId")?;
    let from: Option<i64> = args.number("offset")?;
    if count <= 0 {
        return Err(Usage("-c must be a positive number".to_owned()).into());
    }
    if queue_id.is_some() && !args.has("brokerName") || from.is_some() && queue_id.is_none() {
        return Err(
            Usage("a queue (-i) needs its broker (-b), an offset (-o) its queue (-i)".to_owned()).into()
        );
    }
    if let [Some(begin), Some(end)] = times
        && begin > end
    {
        return Err(Usage("the time of -s is after that of -e".to_owned()).into());
    }
    let route = session.route(topic)?;
    let mut queues = super::topic::readable(topic, &route);
    if let (Some(broker), Some(id)) = (args.get("brokerName"), queue_id) {
        queues.retain(|queue| queue.broker_name == broker && queue.queue_id == id);
        if queues.is_empty() {
            bail!("the topic {topic} has no queue {id} to read on the broker {broker}");
        }
    }
    session.out.set("messages", json!([]));
    let mut left = count;
    for readable in queues {
        let Some(address) = address(&route, &readable.broker_name) else { continue };
        let queue = Queue { topic, broker: &readable.broker_name, address, id: readable.queue_id };
        let (min, mut max) = bounds(session, &queue, times)?;
        let min = min.max(from.unwrap_or(min));
        if max - min > left {
            session.out.line(match queue_id {
                Some(_) => format!("The oldler {left} message will be provided"),
                None => format!("The older {left} message of the {} queue will be provided", queue.id),
            });
            max = min + left;
        }
        left -= (max - min).max(0);
        read(session, &queue, min, max)?;
        if left == 0 {
            break;
        }
    }
    Ok(())
}

/// Prints the messages from `at` up to `max`.
fn read(session: &mut Session, queue: &Queue<'_>, mut at: i64, max: i64) -> Result<()> {
    let shown = queue.describe();
    while at < max {
        let pulled = queue.pull(session, "*", at, i32::try_from(max - at).unwrap_or(BATCH).min(BATCH))?;
        match pulled.status {
            "FOUND" => {
                session.out.line("Consume ok");
                pulled.messages.iter().for_each(|message| print(session, message, encoding_rs::UTF_8, true));
            }
            "NO_MATCHED_MSG" => {
                session.out.line(format!(
                    "{shown} no matched msg. status={}, offset={}",
                    pulled.status, pulled.next
                ));
            }
            _ => break,
        }
        if pulled.next <= at {
            break;
        }
        at = pulled.next;
    }
    session.out.line(format!("{shown} print msg finished. status=NO_NEW_MSG, offset={at}"));
    Ok(())
}
