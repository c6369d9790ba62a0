//! Messages as their producers have them.

use kerolox_wire::record::RecordView;
use std::fmt::Write;

/// Number of a message, which its body begins with.
pub type Id = u64;

/// A message and which of its sends it comes from: one that is sent again may be there twice, and each of the two counts.
pub type Sent = (Id, u64);

/// What a producer wants of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Plain,
    /// Its priority is the queue that it goes to.
    Priority(u32),
    /// By delay level 1.
    Delayed,
    /// At a time of the broker's clock.
    Timed {
        due_ms: i64,
    },
    /// A half message. `ends`: its producer says so at once, rather than when it is asked.
    Half {
        ends: bool,
    },
}

/// Delay level 1 of the simulated brokers.
pub const DELAY_MS: i64 = 1_000;

#[derive(Debug, Clone)]
pub struct Message {
    pub id: Id,
    pub topic: &'static str,
    pub tag: &'static str,
    pub kind: Kind,
}

/// Tags of messages, in turn.
pub const TAGS: [&str; 3] = ["red", "green", "blue"];

impl Message {
    /// Its properties, as of its `tries`th send.
    pub fn properties(&self, tries: u64) -> String {
        let Self { id, tag, .. } = self;
        let mut text =
            format!("UNIQ_KEY\u{1}m{id}\u{2}TRY\u{1}{tries}\u{2}TAGS\u{1}{tag}\u{2}n\u{1}{}\u{2}", id % 10);
        // holds because writing to a string cannot fail
        let _ = match self.kind {
            Kind::Plain => Ok(()),
            Kind::Priority(queue) => write!(text, "_SYS_MSG_PRIORITY_\u{1}{queue}\u{2}"),
            Kind::Delayed => write!(text, "DELAY\u{1}1\u{2}"),
            Kind::Timed { due_ms } => write!(text, "TIMER_DELIVER_MS\u{1}{due_ms}\u{2}"),
            Kind::Half { .. } => {
                write!(text, "TRAN_MSG\u{1}true\u{2}PGROUP\u{1}{}\u{2}", crate::clients::PRODUCERS)
            }
        };
        text
    }
}

/// Whether a transaction is committed in the end: of every three one is rolled back.
pub fn commits(id: Id) -> bool {
    !id.is_multiple_of(3)
}

/// How often a message cannot be consumed by a group that sends such back: twice makes it a dead letter.
pub fn failures(id: Id) -> i32 {
    match id % 12 {
        0 => 2,
        6 => 1,
        _ => 0,
    }
}

/// A message's body: its number, and bytes that no other has.
pub fn body(id: Id) -> String {
    let mut text = id.to_string();
    let len = (id.wrapping_mul(2_654_435_761) >> 7) % 2_000;
    let mut x = id.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    while (text.len() as u64) < len {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        // holds because writing to a string cannot fail
        let _ = write!(text, " {x:x}");
    }
    text
}

/// Which message a record is, if its body is whole, and which send it comes from.
pub fn sent(view: &RecordView<'_>) -> Option<Sent> {
    let text = std::str::from_utf8(view.body).ok()?;
    let id = text.split(' ').next()?.parse().ok()?;
    if body(id) != text {
        return None;
    }
    Some((id, view.properties().get("TRY")?.parse().ok()?))
}
