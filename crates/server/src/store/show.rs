//! How things of a data directory are shown.

use kerolox_store::{Damage, Fault, Look, Origin, Part, disk::RealDisk};
use serde_json::{Value, json};
use std::borrow::Cow;
use std::io::Write;

/// Writes a line to standard output. Where nobody reads it any more there is nobody to tell; where it cannot be written, a full disk
/// say, that is the end.
pub(super) fn line(text: &str) {
    if let Err(e) = written(writeln!(std::io::stdout(), "{text}")) {
        eprintln!("kerolox: {}", crate::one_line(&e));
        std::process::exit(super::EXIT_CANNOT.into());
    }
}

/// What became of a line: that nobody reads it is no error.
pub(super) fn written(result: std::io::Result<()>) -> anyhow::Result<()> {
    match result {
        Err(e) if e.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(anyhow::Error::new(e).context("cannot write the output"))
        }
        _ => Ok(()),
    }
}

/// A size for people.
pub(super) fn bytes(count: u64) -> String {
    let mut size = count as f64;
    let mut unit = "B";
    for next in ["KiB", "MiB", "GiB", "TiB", "PiB"] {
        if size < 1024.0 {
            break;
        }
        (size, unit) = (size / 1024.0, next);
    }
    if unit == "B" { format!("{count} B") } else { format!("{size:.1} {unit}") }
}

/// Text of a log without anything that a terminal would take for an order.
pub(super) fn clean(text: &str) -> Cow<'_, str> {
    if text.chars().any(char::is_control) {
        let escaped =
            text.chars().map(|c| if c.is_control() { c.escape_default().to_string() } else { c.into() });
        Cow::Owned(escaped.collect())
    } else {
        Cow::Borrowed(text)
    }
}

pub(super) fn origin(origin: Origin) -> &'static str {
    match origin {
        Origin::Kerolox => "Kerolox",
        Origin::Apache => "Apache RocketMQ",
        Origin::Both => "Apache RocketMQ, then Kerolox",
    }
}

/// What a fault does to who starts on the directory.
pub(super) fn harm(part: Part) -> &'static str {
    match part {
        Part::Frontier => "a start reads the whole log; `kerolox store repair` writes it anew",
        Part::Run => "none: it is rebuilt from the log",
        Part::Snapshot => "none as long as the log has the whole state: a start reads it from there",
        Part::State => "the entry is passed over",
        Part::ConsumeQueue | Part::IndexFile => "none for Kerolox, which reads the log instead",
        Part::Config => "what it says is not known",
    }
}

fn part(part: Part) -> &'static str {
    match part {
        Part::Frontier => "frontier",
        Part::Run => "index run",
        Part::Snapshot => "snapshot",
        Part::State => "state entry",
        Part::ConsumeQueue => "consume queue",
        Part::IndexFile => "index file",
        Part::Config => "settings",
    }
}

fn place(record: Option<&(String, u32, u64)>) -> Option<String> {
    record.map(|(topic, queue, offset)| format!("topic {}, queue {queue}, offset {offset}", clean(topic)))
}

pub(super) fn damage(damage: &Damage, look: &Look<RealDisk>) -> String {
    let base = look.segment_of(damage.position);
    let record = place(damage.record.as_ref()).unwrap_or_else(|| "topic unknown".to_owned());
    let at = damage.position - base;
    format!(
        "commitlog/{base:020} at byte {at} (position {}), {} bytes, {record}: {}",
        damage.position, damage.bytes, damage.why
    )
}

pub(super) fn damage_json(damage: &Damage, look: &Look<RealDisk>) -> Value {
    let base = look.segment_of(damage.position);
    let (topic, queue, offset) = parts(damage.record.as_ref());
    json!({
        "file": format!("commitlog/{base:020}"),
        "byte": damage.position - base,
        "position": damage.position,
        "bytes": damage.bytes,
        "topic": topic,
        "queue": queue,
        "offset": offset,
        "why": damage.why,
    })
}

fn parts(record: Option<&(String, u32, u64)>) -> (Option<&str>, Option<u32>, Option<u64>) {
    (record.map(|r| &*r.0), record.map(|r| r.1), record.map(|r| r.2))
}

pub(super) fn fault(fault: &Fault) -> String {
    let at = match (fault.at, fault.part) {
        (None, _) => String::new(),
        (Some(at), Part::State | Part::Snapshot) => format!(" at position {at}"),
        (Some(at), _) => format!(" at byte {at}"),
    };
    let about = place(fault.place.as_ref()).map(|place| format!(", {place}")).unwrap_or_default();
    let (part, harm) = (part(fault.part), harm(fault.part));
    format!("{part}: {}{at}{about}: {}. Harm: {harm}", clean(&fault.path), fault.why)
}

pub(super) fn fault_json(fault: &Fault) -> Value {
    let (topic, queue, offset) = parts(fault.place.as_ref());
    json!({
        "part": part(fault.part),
        "file": fault.path,
        "at": fault.at,
        "topic": topic,
        "queue": queue,
        "offset": offset,
        "why": fault.why,
        "harm": harm(fault.part),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_hostile_text() {
        assert_eq!(
            [bytes(0), bytes(1023), bytes(1536), bytes(3 << 40)],
            ["0 B", "1023 B", "1.5 KiB", "3.0 TiB"]
        );
        assert_eq!(clean("plain ü"), "plain ü");
        assert_eq!(clean("\u{1b}[2J\n"), "\\u{1b}[2J\\n");
    }
}
