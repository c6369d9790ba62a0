//! Receipts of pop: by which a consumer says later which of the messages it took it means, and the three texts of an answer
//! from which clients make them. Source: Apache's `ExtraInfoUtil`, `KeyBuilder`.
//!
//! A receipt is `start-offset pop-ms invisible-ms revive-queue kind broker queue offset`, separated by spaces; the last is
//! missing in some.

use crate::names::RETRY_PREFIX;
use std::fmt::{self, Write};

/// The revive queue of what was popped in order. Messages popped without order name one of 0 to 7, which has no meaning
/// here.
pub const ORDERED: i32 = 999;

/// Which topic a popped message really lies in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// The one that was asked for.
    Normal,
    /// `%RETRY%group_topic`.
    Retry,
    /// `%RETRY%group+topic`.
    RetryV2,
}

impl Kind {
    /// The kind of a topic by its name.
    pub fn of(topic: &str) -> Self {
        match topic.strip_prefix(RETRY_PREFIX) {
            None => Self::Normal,
            Some(rest) if rest.contains('+') => Self::RetryV2,
            Some(_) => Self::Retry,
        }
    }

    /// `None` for what is none of the three texts.
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "0" => Some(Self::Normal),
            "1" => Some(Self::Retry),
            "2" => Some(Self::RetryV2),
            _ => None,
        }
    }

    /// The text that [`Kind::parse`] reads.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Normal => "0",
            Self::Retry => "1",
            Self::RetryV2 => "2",
        }
    }

    /// The topic that messages of this kind lie in.
    pub fn topic(self, topic: &str, group: &str) -> String {
        match self {
            Self::Normal => topic.to_owned(),
            Self::Retry => retry_topic(topic, group),
            Self::RetryV2 => format!("{RETRY_PREFIX}{group}+{topic}"),
        }
    }
}

/// Where messages of a topic lie that a group popped and did not acknowledge in time.
pub fn retry_topic(topic: &str, group: &str) -> String {
    format!("{RETRY_PREFIX}{group}_{topic}")
}

/// What a receipt says. It comes from a client: nothing of it is to be believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Receipt<'a> {
    /// Where the pop began to read.
    pub start_offset: i64,
    /// When the message was popped, in milliseconds.
    pub pop_ms: i64,
    /// For how long it is the consumer's own.
    pub invisible_ms: i64,
    /// [`ORDERED`], or any other number.
    pub revive_queue: i32,
    pub kind: Kind,
    pub broker: &'a str,
    pub queue_id: i32,
    pub offset: Option<i64>,
}

impl<'a> Receipt<'a> {
    /// `None` if the text is no receipt.
    pub fn parse(text: &'a str) -> Option<Self> {
        let mut items = text.split(' ');
        let mut item = || items.next();
        Some(Self {
            start_offset: item()?.parse().ok()?,
            pop_ms: item()?.parse().ok()?,
            invisible_ms: item()?.parse().ok()?,
            revive_queue: item()?.parse().ok()?,
            kind: Kind::parse(item()?)?,
            broker: item()?,
            queue_id: item()?.parse().ok()?,
            offset: item().map(str::parse).transpose().ok()?,
        })
    }

    pub fn is_ordered(&self) -> bool {
        self.revive_queue == ORDERED
    }
}

impl fmt::Display for Receipt<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = self.kind.as_str();
        let (start, pop, invisible, revive) =
            (self.start_offset, self.pop_ms, self.invisible_ms, self.revive_queue);
        write!(f, "{start} {pop} {invisible} {revive} {kind} {} {}", self.broker, self.queue_id)?;
        self.offset.map_or(Ok(()), |offset| write!(f, " {offset}"))
    }
}

/// What an answer says of the messages of each queue: entries `kind queue value`, separated by semicolons.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct QueueTexts(String);

impl QueueTexts {
    fn entry(&mut self, kind: Kind, key: fmt::Arguments<'_>, value: fmt::Arguments<'_>) {
        let separator = if self.0.is_empty() { "" } else { ";" };
        // holds because writing to a string cannot fail
        let _ = write!(self.0, "{separator}{} {key} {value}", kind.as_str());
    }

    /// `startOffsetInfo`: where the pop began to read a queue.
    pub fn start(&mut self, kind: Kind, queue_id: u32, offset: u64) {
        self.entry(kind, format_args!("{queue_id}"), format_args!("{offset}"));
    }

    /// `msgOffsetInfo`: which messages of a queue there are; at least one.
    pub fn messages(&mut self, kind: Kind, queue_id: u32, offsets: impl IntoIterator<Item = u64>) {
        let mut offsets = offsets.into_iter();
        let first = offsets.next().unwrap_or_default();
        self.entry(kind, format_args!("{queue_id}"), format_args!("{first}"));
        for offset in offsets {
            let _ = write!(self.0, ",{offset}");
        }
    }

    /// `orderCountInfo`: how often a message popped in order was consumed before.
    pub fn count(&mut self, kind: Kind, queue_id: u32, offset: u64, times: u32) {
        self.entry(kind, format_args!("qo{queue_id}%{offset}"), format_args!("{times}"));
    }

    /// `orderCountInfo` for older clients: the least of a queue's.
    pub fn queue_count(&mut self, kind: Kind, queue_id: u32, times: u32) {
        self.entry(kind, format_args!("{queue_id}"), format_args!("{times}"));
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn receipts_are_read_as_they_are_written() {
        for text in ["5 1700000000000 60000 3 0 broker-a 2 7", "0 1 0 999 1 b 0", "0 1 0 0 2 b -1 9"] {
            let receipt = Receipt::parse(text).unwrap();
            assert_eq!(receipt.to_string(), text);
            assert_eq!(receipt.is_ordered(), text.contains(" 999 "));
        }
    }

    #[test]
    fn other_texts_are_no_receipts() {
        for bad in
            ["", "x", "1 2 3 4 5 b 0 1", "1 2 3 4 0 b", "1 2 3 4 0 b x", "1 2 3 4 0 b 1 x", "1  2 3 4 0 b 1"]
        {
            assert_eq!(Receipt::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn kinds_are_topics() {
        for kind in [Kind::Normal, Kind::Retry, Kind::RetryV2] {
            assert_eq!(Kind::of(&kind.topic("T", "g")), kind);
        }
        assert_eq!(Kind::Retry.topic("T", "g"), "%RETRY%g_T");
    }

    #[test]
    fn texts_of_queues() {
        let mut texts = QueueTexts::default();
        texts.start(Kind::Normal, 3, 17);
        texts.messages(Kind::Retry, 0, [4, 5, 9]);
        texts.count(Kind::Normal, 3, 17, 2);
        texts.queue_count(Kind::Normal, 3, 0);
        assert_eq!(texts.as_str(), "0 3 17;1 0 4,5,9;0 qo3%17 2;0 3 0");
    }
}
