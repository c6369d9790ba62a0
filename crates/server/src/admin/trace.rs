//! What happened to a message, from the traces that clients write.

use super::flags::Args;
use super::message::Message;
use super::out::{Cell, Table};
use super::send::Sent;
use super::session::Session;
use super::time;
use anyhow::{Result, bail};
use kerolox_wire::names::TRACE_TOPIC;
use std::collections::BTreeMap;

const MAX_DEFAULT: i32 = 64;
/// Between the fields of a trace, and behind each trace.
const FIELD: char = '\u{1}';
const TRACE: char = '\u{2}';

/// What brokers call the place where they are unless they are told.
const REGION: &str = "DefaultRegion";

/// One event of a message's life.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Event {
    consumed: bool,
    group: String,
    host: String,
    at_ms: i64,
    cost_ms: i64,
    success: bool,
}

/// The events of one message in the body of a trace. What is not of a known shape is skipped: other versions write other fields.
fn events(body: &str, id: &str, host: &str) -> Vec<Event> {
    body.split(TRACE).filter_map(|trace| event(trace, id, host)).collect()
}

fn event(trace: &str, id: &str, host: &str) -> Option<Event> {
    let fields: Vec<&str> = trace.split(FIELD).collect();
    let at = |index: usize| fields.get(index).copied();
    let host = host.to_owned();
    match at(0)? {
        // type, time, region, group, topic, id, tags, keys, store host, length, cost, message type, [offset id,] success, …
        "Pub" if at(5)? == id => Some(Event {
            consumed: false,
            group: at(3)?.to_owned(),
            host,
            at_ms: at(1)?.parse().ok()?,
            cost_ms: at(10)?.parse().ok()?,
            success: at(if fields.len() == 13 { 12 } else { 13 }) == Some("true"),
        }),
        // type, request, id, cost, success, keys, code, time, group
        "SubAfter" if at(2)? == id => Some(Event {
            consumed: true,
            group: at(8).unwrap_or("null").to_owned(),
            host,
            at_ms: at(7).and_then(|at| at.parse().ok()).unwrap_or_default(),
            cost_ms: at(3)?.parse().ok()?,
            success: at(4)? == "true",
        }),
        _ => None,
    }
}

/// The trace of a message that was sent, as Apache's clients write it.
pub(super) fn published(
    sent: &Sent,
    group: &str,
    [tags, keys]: [&str; 2],
    body_bytes: usize,
    at_ms: i64,
    cost_ms: u128,
) -> String {
    /// The ordinal of a message that is neither delayed nor part of a transaction.
    const NORMAL: &str = "0";
    let (at, bytes, cost) = (at_ms.to_string(), body_bytes.to_string(), cost_ms.to_string());
    let fields = [
        "Pub",
        &at,
        REGION,
        group,
        &sent.queue.topic,
        &sent.id,
        tags,
        keys,
        &sent.host,
        &bytes,
        &cost,
        NORMAL,
        &sent.offset_id,
        "true",
    ];
    fields.join(&FIELD.to_string()) + &TRACE.to_string()
}

static PRODUCED: Table = Table {
    name: "produced",
    head: "%-10s %-20s %-20s %-20s %-10s %-10s",
    row: "%-10s %-20s %-20s %-20s %-10s %-10s",
    columns: &[
        ("#Type", "type"),
        ("#ProducerGroup", "group"),
        ("#ClientHost", "clientHost"),
        ("#SendTime", "time"),
        ("#CostTimes", "costMs"),
        ("#Status", "status"),
    ],
};

static CONSUMED: Table = Table {
    name: "consumed",
    columns: &[
        ("#Type", "type"),
        ("#ConsumerGroup", "group"),
        ("#ClientHost", "clientHost"),
        ("#ConsumerTime", "time"),
        ("#CostTimes", "costMs"),
        ("#Status", "status"),
    ],
    ..PRODUCED
};

fn row(session: &mut Session, table: &Table, kind: &str, event: &Event) {
    let row = [
        kind.into(),
        (&event.group).into(),
        (&event.host).into(),
        Cell::shown(time::to_second(event.at_ms), event.at_ms),
        Cell::shown(format!("{}ms", event.cost_ms), event.cost_ms),
        if event.success { "success" } else { "failed" }.into(),
    ];
    session.out.row(table, row);
}

pub(super) fn by_id(args: &Args, session: &mut Session) -> Result<()> {
    let (id, topic) = (args.need("msgId")?, args.get("traceTopic").unwrap_or(TRACE_TOPIC));
    let times =
        [args.number("beginTimestamp")?.unwrap_or(0), args.number("endTimestamp")?.unwrap_or(i64::MAX)];
    let max = args.number("maxNum")?.unwrap_or(MAX_DEFAULT);
    let found: Vec<Message> = super::query::keyed(session, topic, id, max, times)?;
    let mut all = Vec::new();
    for message in &found {
        let host = message.born_host().ip().to_string();
        all.extend(events(&String::from_utf8_lossy(&message.body), id, &host));
    }
    if all.is_empty() {
        bail!("the topic {topic} has no trace of the message {id}; do its clients write traces?");
    }
    for event in all.iter().filter(|event| !event.consumed) {
        session.out.head(&PRODUCED);
        row(session, &PRODUCED, "Pub", event);
        session.out.line("");
    }
    let mut groups: BTreeMap<&str, Vec<&Event>> = BTreeMap::new();
    for event in all.iter().filter(|event| event.consumed) {
        groups.entry(&event.group).or_default().push(event);
    }
    for events in groups.values() {
        session.out.head(&CONSUMED);
        events.iter().for_each(|event| row(session, &CONSUMED, "Sub", event));
        session.out.line("");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let sent = Sent {
            queue: kerolox_wire::body::MessageQueue { topic: "T".to_owned(), ..Default::default() },
            host: "h:1".to_owned(),
            status: "SEND_OK",
            id: "ID".to_owned(),
            offset_id: "OFF".to_owned(),
            offset: 0,
        };
        let trace = published(&sent, "PG", ["tag", "a b"], 3, 5, 7);
        let fields =
            "Pub 5 DefaultRegion PG T ID tag - h:1 3 7 0 OFF true".replace(' ', "\u{1}").replace('-', "a b");
        assert_eq!(trace, fields + "\u{2}");
        let read = events(&trace, "ID", "h").remove(0);
        assert_eq!((read.group.as_str(), read.at_ms, read.cost_ms, read.success), ("PG", 5, 7, true));
    }

    #[test]
    fn traces_of_several_versions_are_read() {
        let of = |fields: &[&str]| fields.join("\u{1}") + "\u{2}";
        let published =
            ["Pub", "5", "r", "PG", "T", "ID", "tag", "key", "h", "3", "7", "0", "off", "true", "c"];
        let old = ["Pub", "6", "r", "PG", "T", "ID", "tag", "key", "h", "3", "8", "0", "false"];
        let other = ["Pub", "5", "r", "PG", "T", "OTHER", "", "", "h", "3", "7", "0", "true"];
        let before = ["SubBefore", "5", "r", "CG", "req", "ID", "0", "key"];
        let after = ["SubAfter", "req", "ID", "9", "true", "key", "0", "77", "CG"];
        let body: String =
            [&published[..], &old, &other, &before, &after, &["Pub"], &["x"]].iter().map(|f| of(f)).collect();
        let event = |consumed, group: &str, at_ms, cost_ms, success| Event {
            consumed,
            group: group.to_owned(),
            host: "h".to_owned(),
            at_ms,
            cost_ms,
            success,
        };
        assert_eq!(
            events(&body, "ID", "h"),
            [event(false, "PG", 5, 7, true), event(false, "PG", 6, 8, false), event(true, "CG", 77, 9, true)]
        );
    }
}
