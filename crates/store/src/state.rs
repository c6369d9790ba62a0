//! State records: everything durable that is not a message is a fold of them.
//!
//! The body of a state record is an *entry stream*: `kind u8 | length u32 BE | payload`, repeated. Kinds below 16 are the
//! store's own ([`Own`]); what the others mean is their owner's business. `docs/formats/state.md` draws the bytes.

use crate::Position;

/// Lowest kind that is not the store's own.
pub const KIND_APPLICATION_MIN: u8 = 16;
/// Version of the kinds of entries, the application's too; a new kind raises it (`docs/formats/versions.md`).
pub const STATE_FORMAT: u32 = 1;
/// Largest entry stream of one state record.
pub const STATE_BYTES_MAX: usize = 1 << 20;

/// Bytes of an entry before its payload.
pub const HEAD_BYTES: usize = 5;
const DUMP_PART: u8 = 1;
const DUMP_END: u8 = 2;
const QUEUE_NEXT: u8 = 3;
const TOPIC_DELETED: u8 = 4;
const NEW_QUEUES: u8 = 5;

/// Appends one entry.
pub fn put(out: &mut Vec<u8>, kind: u8, payload: &[u8]) {
    debug_assert!(u32::try_from(payload.len()).is_ok());
    out.push(kind);
    out.extend_from_slice(&(payload.len() as u32).to_be_bytes());
    out.extend_from_slice(payload);
}

/// The same, with a payload that is written in place.
pub fn put_with(out: &mut Vec<u8>, kind: u8, write: impl FnOnce(&mut Vec<u8>)) {
    out.extend_from_slice(&[kind, 0, 0, 0, 0]);
    let start = out.len();
    write(out);
    let len = (out.len() - start) as u32;
    if let Some(place) = out.get_mut(start - 4..start) {
        place.copy_from_slice(&len.to_be_bytes());
    }
}

/// The entries of a stream; `Err` with the byte offset where it is malformed, and then no more.
pub fn entries(stream: &[u8]) -> Entries<'_> {
    Entries { stream, at: 0 }
}

/// See [`entries`].
#[derive(Debug, Clone)]
pub struct Entries<'a> {
    stream: &'a [u8],
    at: usize,
}

impl Entries<'_> {
    /// Byte offset of the entry that comes next.
    pub(crate) fn at(&self) -> usize {
        self.at
    }
}

impl<'a> Iterator for Entries<'a> {
    type Item = Result<(u8, &'a [u8]), usize>;

    fn next(&mut self) -> Option<Self::Item> {
        let rest = self.stream.get(self.at..).filter(|rest| !rest.is_empty())?;
        let Some((kind, payload)) = split_entry(rest) else {
            let at = std::mem::replace(&mut self.at, self.stream.len());
            return Some(Err(at));
        };
        self.at += HEAD_BYTES + payload.len();
        Some(Ok((kind, payload)))
    }
}

fn split_entry(rest: &[u8]) -> Option<(u8, &[u8])> {
    let (kind, rest) = rest.split_first()?;
    let (len, rest) = rest.split_first_chunk::<4>()?;
    Some((*kind, rest.get(..u32::from_be_bytes(*len) as usize)?))
}

/// The store's own entries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Own<'a> {
    /// First entry of a record that is a part of a dump of the whole state; counted from 0.
    DumpPart { number: u32 },
    /// The dump that began at that position ends here, after so many parts. It counts if none of them is missing.
    DumpEnd { begin: Position, parts: u32 },
    /// Offset that the next message of a queue gets.
    QueueNext { topic: &'a str, queue_id: u32, next: u64 },
    /// All queues of the topic are gone.
    TopicDeleted { topic: &'a str },
    /// First offset of a queue that does not exist yet, and of a light message queue.
    NewQueues { next: u64, lmq_next: u64 },
}

impl<'a> Own<'a> {
    pub(crate) fn put(&self, out: &mut Vec<u8>) {
        match self {
            Self::DumpPart { number } => put(out, DUMP_PART, &number.to_be_bytes()),
            Self::DumpEnd { begin, parts } => {
                let mut payload = [0; 12];
                let (a, b) = payload.split_at_mut(8);
                a.copy_from_slice(&begin.to_be_bytes());
                b.copy_from_slice(&parts.to_be_bytes());
                put(out, DUMP_END, &payload);
            }
            Self::QueueNext { topic, queue_id, next } => {
                put_with(out, QUEUE_NEXT, |payload| {
                    payload.extend_from_slice(&queue_id.to_be_bytes());
                    payload.extend_from_slice(&next.to_be_bytes());
                    payload.extend_from_slice(topic.as_bytes());
                });
            }
            Self::TopicDeleted { topic } => put(out, TOPIC_DELETED, topic.as_bytes()),
            Self::NewQueues { next, lmq_next } => put_with(out, NEW_QUEUES, |payload| {
                payload.extend_from_slice(&next.to_be_bytes());
                payload.extend_from_slice(&lmq_next.to_be_bytes());
            }),
        }
    }

    /// Whether this release has entries of that kind (below 16).
    pub(crate) fn knows(kind: u8) -> bool {
        matches!(kind, DUMP_PART | DUMP_END | QUEUE_NEXT | TOPIC_DELETED | NEW_QUEUES)
    }

    /// `Ok(None)` for a kind that this version does not know.
    pub(crate) fn parse(kind: u8, payload: &'a [u8]) -> Result<Option<Self>, String> {
        let malformed = || format!("state entry of kind {kind} with {} bytes is malformed", payload.len());
        let text = |bytes| std::str::from_utf8(bytes).map_err(|_| malformed());
        Ok(Some(match kind {
            DUMP_PART => {
                let number = payload.first_chunk().ok_or_else(malformed)?;
                Self::DumpPart { number: u32::from_be_bytes(*number) }
            }
            DUMP_END => {
                let (begin, rest) = payload.split_first_chunk().ok_or_else(malformed)?;
                let parts = rest.first_chunk().ok_or_else(malformed)?;
                Self::DumpEnd { begin: u64::from_be_bytes(*begin), parts: u32::from_be_bytes(*parts) }
            }
            QUEUE_NEXT => {
                let (queue_id, rest) = payload.split_first_chunk().ok_or_else(malformed)?;
                let (next, topic) = rest.split_first_chunk().ok_or_else(malformed)?;
                let (queue_id, next) = (u32::from_be_bytes(*queue_id), u64::from_be_bytes(*next));
                Self::QueueNext { topic: text(topic)?, queue_id, next }
            }
            TOPIC_DELETED => Self::TopicDeleted { topic: text(payload)? },
            NEW_QUEUES => {
                let (next, rest) = payload.split_first_chunk().ok_or_else(malformed)?;
                let lmq_next = rest.first_chunk().ok_or_else(malformed)?;
                let (next, lmq_next) = (u64::from_be_bytes(*next), u64::from_be_bytes(*lmq_next));
                Self::NewQueues { next, lmq_next }
            }
            _ => return Ok(None),
        }))
    }
}

/// An entry in words, for people who look into a log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Words {
    pub name: &'static str,
    /// What it is about.
    pub key: String,
    /// What it says of that.
    pub value: String,
}

impl Words {
    pub fn new(name: &'static str, key: impl Into<String>, value: impl Into<String>) -> Self {
        Self { name, key: key.into(), value: value.into() }
    }
}

/// One of the store's own entries (of a kind below 16) in words.
///
/// # Errors
/// It is malformed, or its kind is not known.
pub fn describe(kind: u8, payload: &[u8]) -> Result<Words, String> {
    let own = Own::parse(kind, payload)?
        .ok_or_else(|| format!("entry kind {kind} is not known to this version"))?;
    Ok(match own {
        Own::DumpPart { number } => Words::new("dump part", format!("part {number}"), ""),
        Own::DumpEnd { begin, parts } => {
            Words::new("dump end", format!("dump from position {begin} on"), format!("{parts} parts"))
        }
        Own::QueueNext { topic, queue_id, next } => Words::new(
            "queue next",
            format!("topic {topic}, queue {queue_id}"),
            format!("next offset {next}"),
        ),
        Own::TopicDeleted { topic } => {
            Words::new("topic deleted", format!("topic {topic}"), "its queues are gone")
        }
        Own::NewQueues { next, lmq_next } => Words::new(
            "new queues",
            "queues that do not exist yet",
            format!("first offset {next}, of a light message queue {lmq_next}"),
        ),
    })
}

/// Cuts an entry stream into record bodies of about `bytes_max` (one entry may be longer).
pub(crate) fn split(stream: &[u8], bytes_max: usize) -> Result<Vec<&[u8]>, usize> {
    let mut parts = Vec::new();
    let mut start = 0;
    let mut walk = entries(stream);
    loop {
        let before = walk.at();
        match walk.next() {
            None => break,
            Some(Err(at)) => return Err(at),
            Some(Ok(_)) if walk.at() - start > bytes_max && before > start => {
                parts.push(stream.get(start..before).unwrap_or_default());
                start = before;
            }
            Some(Ok(_)) => {}
        }
    }
    parts.extend(stream.get(start..).filter(|last| !last.is_empty()));
    Ok(parts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_read_back_and_malformed_ones_say_where() {
        let mut stream = Vec::new();
        put(&mut stream, 16, b"one");
        put(&mut stream, 255, b"");
        let good = stream.len();
        assert_eq!(entries(&stream).collect::<Vec<_>>(), [Ok((16, &b"one"[..])), Ok((255, &b""[..]))]);
        stream.extend_from_slice(&[17, 0, 0, 0, 9, 1]);
        assert_eq!(entries(&stream).last(), Some(Err(good)));
        assert_eq!(entries(&stream).count(), 3);
        assert_eq!(entries(&[]).count(), 0);
    }

    #[test]
    fn own_entries_read_back() {
        let all = [
            Own::DumpPart { number: 3 },
            Own::DumpEnd { begin: 1 << 40, parts: 7 },
            Own::QueueNext { topic: "TopicTest", queue_id: 3, next: 1 << 33 },
            Own::NewQueues { next: 45, lmq_next: 1 << 33 },
            Own::TopicDeleted { topic: "t" },
        ];
        let mut stream = Vec::new();
        all.iter().for_each(|own| own.put(&mut stream));
        let back: Vec<_> =
            entries(&stream).map(|e| e.unwrap()).map(|(k, p)| Own::parse(k, p).unwrap().unwrap()).collect();
        assert_eq!(back, all);
        assert_eq!(Own::parse(9, b"what"), Ok(None));
        assert!(Own::parse(QUEUE_NEXT, b"short").is_err());
        assert!(Own::parse(TOPIC_DELETED, &[0xff]).is_err());
    }

    #[test]
    fn split_keeps_entries_whole() {
        let mut stream = Vec::new();
        for i in 0..10u8 {
            put(&mut stream, 16 + i, &vec![i; usize::from(i) * 10]);
        }
        for max in [1, 30, 100, 1000] {
            let parts = split(&stream, max).unwrap();
            assert_eq!(parts.concat(), stream);
            for part in &parts {
                assert!(entries(part).all(|e| e.is_ok()));
                assert!(part.len() <= max || entries(part).count() == 1, "{max}");
            }
        }
        assert_eq!(split(&[], 10), Ok(vec![]));
        assert_eq!(split(&stream[..stream.len() - 1], 1000), Err(stream.len() - 95));
    }
}
