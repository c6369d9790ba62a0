//! `kerolox store dump`: records of the log as lines, one at a time whatever their number. A broker may run on it meanwhile.

use super::progress::Shown;
use super::{Sound, look, show};
use crate::admin::{show_time, unpacked};
use crate::cli::{self, BodyForm};
use anyhow::{Context, Result};
use kerolox_store::disk::RealDisk;
use kerolox_store::{Look, STATE_TOPIC, Seen, state};
use kerolox_wire::properties::name;
use kerolox_wire::record::RecordView;
use kerolox_wire::{MessageId, base64};
use serde_json::{Map, Value, json};
use std::io::{BufWriter, StdoutLock, Write};
use std::ops::{ControlFlow, Range};

pub(super) fn run(args: &cli::Dump) -> Result<Sound> {
    let look = look(args.directory.path())?;
    // An offset message id says where the message lies; but a unique id of a client may look like one.
    if let Some(position) = args.id.as_deref().and_then(position_of) {
        let told = Dumper::new(args).over(&look, position..position + 1)?;
        if told.shown > 0 {
            return Ok(told.damaged == 0);
        }
    }
    let Range { start, end } = args.position.clone().map_or(0..u64::MAX, |range| range.0);
    let told = Dumper::new(args).over(&look, start..end)?;
    Ok(told.damaged == 0)
}

fn position_of(id: &str) -> Option<u64> {
    id.parse::<MessageId>().ok().map(|id| id.position)
}

/// What was told.
struct Dumper<'a> {
    args: &'a cli::Dump,
    out: BufWriter<StdoutLock<'static>>,
    shown: u64,
    damaged: u64,
    /// Why a line could not be written.
    failed: std::io::Result<()>,
}

impl<'a> Dumper<'a> {
    fn new(args: &'a cli::Dump) -> Self {
        Self { args, out: BufWriter::new(std::io::stdout().lock()), shown: 0, damaged: 0, failed: Ok(()) }
    }

    /// Whether anybody reads on.
    fn line(&mut self, line: &str) -> bool {
        self.failed = writeln!(self.out, "{line}");
        self.failed.is_ok()
    }

    fn over(mut self, look: &Look<RealDisk>, range: Range<u64>) -> Result<Self> {
        let args = self.args;
        // Lines that pass by say enough of how far it is.
        let mut shown =
            Shown::new(args.directory.quiet || std::io::IsTerminal::is_terminal(&std::io::stdout()));
        let mut visit = |seen: Seen<'_>| match seen {
            Seen::Record(view) if self.wants(view) => self.record(view),
            Seen::Record(_) => ControlFlow::Continue(()),
            Seen::Damage(damage) => {
                self.damaged += 1;
                let line = match args.directory.output.is_json() {
                    true => json!({"damaged": show::damage_json(damage, look)}).to_string(),
                    false => format!("damaged: {}", show::damage(damage, look)),
                };
                if self.line(&line) { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
            }
        };
        look.walk("reading the log", range, &mut visit, &mut |progress| shown.tell(progress))
            .with_context(|| format!("cannot read the data directory {}", args.directory.path().display()))?;
        drop(shown);
        let failed = std::mem::replace(&mut self.failed, Ok(()));
        show::written(failed.and_then(|()| self.out.flush()))?;
        Ok(self)
    }

    fn wants(&self, view: &RecordView<'_>) -> bool {
        let args = self.args;
        let property = |name: &str| view.properties().get(name).unwrap_or_default();
        let is_state = view.topic == STATE_TOPIC;
        (!args.state || is_state)
            && args.topic.as_ref().is_none_or(|topic| topic == view.topic)
            && args.queue.is_none_or(|queue| queue == view.queue_id && !is_state)
            && args.offset.as_ref().is_none_or(|range| range.0.contains(&view.queue_offset) && !is_state)
            && args.since.is_none_or(|since| view.store_ms >= since)
            && args.until.is_none_or(|until| view.store_ms <= until)
            && args.key.as_ref().is_none_or(|key| property(name::KEYS).split(' ').any(|word| word == key))
            && args.id.as_ref().is_none_or(|id| {
                property(name::UNIQ_CLIENT_MESSAGE_ID_KEYIDX) == id || position_of(id) == Some(view.position)
            })
    }

    fn record(&mut self, view: &RecordView<'_>) -> ControlFlow<()> {
        self.shown += 1;
        let json = self.args.directory.output.is_json();
        let written = match (view.topic == STATE_TOPIC, json) {
            (_, true) => self.line(&self.json(view).to_string()),
            (false, false) => self.line(&self.text(view)),
            (true, false) => state_lines(view, self.args.body_bytes).iter().all(|line| self.line(line)),
        };
        let enough = self.args.limit.is_some_and(|limit| self.shown >= limit);
        if written && !enough { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    }

    fn text(&self, view: &RecordView<'_>) -> String {
        let pairs = view.properties().iter().filter(|(name, _)| *name != CRC_PROPERTY);
        let properties: Vec<String> = pairs.map(|(name, value)| format!("{name}={value}")).collect();
        let (topic, properties) = (show::clean(view.topic), properties.join(" "));
        let body = self.body(view).map_or(String::new(), |body| format!(" | {body}"));
        format!(
            "{} {topic} queue {} offset {} at position {}, {} bytes, from {} | {}{body}",
            show_time(view.store_ms),
            view.queue_id,
            view.queue_offset,
            view.position,
            view.len(),
            view.born_host,
            show::clean(&properties)
        )
    }

    /// The body in the form that is wanted, cut to the limit.
    fn body(&self, view: &RecordView<'_>) -> Option<String> {
        let body = match self.args.body {
            BodyForm::None => return None,
            BodyForm::Text => unpacked(view.body, view.sys_flag),
            BodyForm::Hex | BodyForm::Base64 => view.body.to_vec(),
        };
        let some = body.get(..self.args.body_bytes).unwrap_or(&body);
        let mut out = String::new();
        match self.args.body {
            BodyForm::Text => out.push_str(&show::clean(&String::from_utf8_lossy(some))),
            BodyForm::Hex => some.iter().for_each(|byte| out.push_str(&format!("{byte:02x}"))),
            _ => {
                base64::encode(some, &mut out);
                out = out.replace('-', "+").replace('_', "/");
            }
        }
        if some.len() < body.len() && !self.args.directory.output.is_json() {
            out.push_str(&format!("… ({} bytes in all)", body.len()));
        }
        Some(out)
    }

    fn json(&self, view: &RecordView<'_>) -> Value {
        let pairs = view.properties();
        let properties: Map<String, Value> = pairs
            .iter()
            .filter(|(name, _)| *name != CRC_PROPERTY)
            .map(|(name, value)| (name.to_owned(), value.into()))
            .collect();
        let mut out = json!({
            "position": view.position,
            "size": view.len(),
            "topic": view.topic,
            "queueId": view.queue_id,
            "queueOffset": view.queue_offset,
            "storeMs": view.store_ms,
            "storeHost": view.store_host.to_string(),
            "bornMs": view.born_ms,
            "bornHost": view.born_host.to_string(),
            "flag": view.flag,
            "sysFlag": view.sys_flag,
            "reconsumeTimes": view.reconsume_times,
            "preparedTransactionOffset": view.prepared_transaction_offset,
            "offsetMessageId": MessageId { host: view.store_host, position: view.position }.to_string(),
            "properties": properties,
            "bodyBytes": view.body.len(),
        });
        let (member, value) = match view.topic == STATE_TOPIC {
            true => ("entries", Some(entries(view).into())),
            false => ("body", self.body(view).map(Value::from)),
        };
        if let (Value::Object(out), Some(value)) = (&mut out, value) {
            out.insert(member.to_owned(), value);
        }
        out
    }
}

/// The property that carries a record's checksum.
const CRC_PROPERTY: &str = "__CRC32#";

/// The entries of a state record in words, for people.
fn state_lines(view: &RecordView<'_>, bytes_max: usize) -> Vec<String> {
    let place = format!("{} state at position {}", show_time(view.store_ms), view.position);
    let line = |entry: Result<(u8, &[u8]), usize>| match entry {
        Err(at) => format!("{place}: malformed at byte {at}"),
        Ok((kind, payload)) => match kerolox_broker::describe(kind, payload) {
            Ok(words) => {
                let value: String = words.value.chars().take(bytes_max).collect();
                let cut = if value.len() < words.value.len() { "…" } else { "" };
                let value = show::clean(&value);
                format!("{place}: {}: {}: {value}{cut}", words.name, show::clean(&words.key))
            }
            Err(why) => format!("{place}: kind {kind}, {} bytes: {why}", payload.len()),
        },
    };
    state::entries(view.body).map(line).collect()
}

fn entries(view: &RecordView<'_>) -> Vec<Value> {
    let value = |entry: Result<(u8, &[u8]), usize>| match entry {
        Err(at) => json!({"why": format!("malformed at byte {at}")}),
        Ok((kind, payload)) => match kerolox_broker::describe(kind, payload) {
            Ok(words) => json!({"kind": kind, "name": words.name, "key": words.key, "value": words.value}),
            Err(why) => json!({"kind": kind, "why": why}),
        },
    };
    state::entries(view.body).map(value).collect()
}
