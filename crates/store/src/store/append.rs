//! Appending: where a record gets its place.

use super::seal::{LOG_TO_STATE, SNAPSHOT_BYTES_MAX};
use super::{Dumping, Store, Unconfirmed};
use crate::Position;
use crate::index::Indexed;
use crate::log::{BLANK_MARK_BYTES, encode_blank};
use crate::queue::QueueIndex;
use crate::state::{self, Own, STATE_BYTES_MAX};
use crate::{STATE_TOPIC, Watermarks};
use kerolox_wire::properties::Properties;
use kerolox_wire::record::{BLANK_BYTES_MIN, NewRecord, PROPERTIES_BYTES_MAX};
use kerolox_wire::sys_flag;

/// A message to be appended. `properties` is the encoded property string (`name\x01value\x02…`), without a CRC property.
#[derive(Debug, Clone)]
pub struct NewMessage<'a> {
    pub topic: &'a str,
    pub queue_id: u32,
    pub flag: i32,
    pub sys_flag: i32,
    pub born_ms: i64,
    pub born_host: std::net::SocketAddr,
    pub reconsume_times: i32,
    pub prepared_transaction_offset: i64,
    pub body: &'a [u8],
    pub properties: &'a [u8],
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Appended {
    pub position: Position,
    /// Position just behind the record: the ack waits until `confirmed` reaches it.
    pub end: Position,
    /// 0 for what belongs to no queue (prepared and rolled back transactions).
    pub queue_offset: u64,
    pub store_ms: i64,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AppendError {
    #[error("body of {0} bytes exceeds the limit of {1}")]
    BodyTooLarge(usize, usize),
    #[error("properties of {0} bytes exceed the limit of {1}")]
    PropertiesTooLarge(usize, usize),
    #[error("topic of {0} bytes exceeds the limit of {1}")]
    TopicTooLong(usize, usize),
    #[error("record of {0} bytes does not fit a segment of {1}")]
    SegmentTooSmall(usize, u64),
    #[error("state entries are malformed at byte {0}, or longer than {STATE_BYTES_MAX} bytes")]
    BadState(usize),
    #[error("{0} bytes wait to be written; the disk does not keep up")]
    Backlog(u64),
    #[error("the disk is full: {0}")]
    DiskFull(String),
    #[error("the log is fenced: {0}")]
    Fenced(String),
}

impl AppendError {
    /// Whether the same record will never be taken.
    pub fn is_final(&self) -> bool {
        match self {
            Self::BodyTooLarge(..)
            | Self::PropertiesTooLarge(..)
            | Self::TopicTooLong(..)
            | Self::SegmentTooSmall(..)
            | Self::BadState(_) => true,
            Self::Backlog(_) | Self::DiskFull(_) | Self::Fenced(_) => false,
        }
    }
}

impl Store {
    /// Appends a message: assigns its position and queue offset, encodes it into the write buffer. It becomes
    /// visible and acknowledgeable when `confirmed` passes [`Appended::end`].
    pub fn append(&mut self, now_ms: i64, message: &NewMessage<'_>) -> Result<Appended, AppendError> {
        let limit = self.config.message_bytes_max;
        if message.body.len() > limit {
            return Err(AppendError::BodyTooLarge(message.body.len(), limit));
        }
        self.append_again(now_ms, message)
    }

    /// As [`Store::append`], for a message that the log has taken before: the limit of bodies may have been another one
    /// then.
    pub fn append_again(&mut self, now_ms: i64, message: &NewMessage<'_>) -> Result<Appended, AppendError> {
        if let Some(why) = &self.disk.full {
            return Err(AppendError::DiskFull(why.clone()));
        }
        self.append_kept(now_ms, message)
    }

    /// As [`Store::append_again`], also where messages are refused because the disk is full: retention makes room when this is
    /// done.
    pub fn append_kept(&mut self, now_ms: i64, message: &NewMessage<'_>) -> Result<Appended, AppendError> {
        if message.properties.len() > PROPERTIES_BYTES_MAX {
            return Err(AppendError::PropertiesTooLarge(message.properties.len(), PROPERTIES_BYTES_MAX));
        }
        if message.topic.len() > i16::MAX as usize {
            return Err(AppendError::TopicTooLong(message.topic.len(), i16::MAX as usize));
        }
        let record = NewRecord {
            topic: message.topic,
            queue_id: message.queue_id,
            flag: message.flag,
            sys_flag: message.sys_flag,
            queue_offset: 0,
            position: 0,
            born_ms: message.born_ms,
            born_host: message.born_host,
            store_ms: now_ms,
            store_host: self.config.store_host,
            reconsume_times: message.reconsume_times,
            prepared_transaction_offset: message.prepared_transaction_offset,
            body: message.body,
            properties: message.properties,
        };
        self.admit(record.encoded_len())?;
        let queued = is_queued(message.sys_flag);
        let queue = queued.then(|| self.index.queues.index_or_new(message.topic, message.queue_id));
        let offset = queue.and_then(|q| self.index.queues.get(q)).map_or(0, |q| q.next);
        Ok(self.place(NewRecord { queue_offset: offset, ..record }, queue))
    }

    /// Bytes of entries of several that go into one state record: small enough for any segment.
    pub fn state_bytes_max(&self) -> usize {
        STATE_BYTES_MAX.min(self.config.segment_bytes as usize / 4)
    }

    /// Appends a state record: `entries` is a [`state`] entry stream of at most 1 MiB.
    pub fn append_state(&mut self, now_ms: i64, entries: &[u8]) -> Result<Appended, AppendError> {
        if entries.len() > STATE_BYTES_MAX {
            return Err(AppendError::BadState(STATE_BYTES_MAX));
        }
        if let Some(Err(at)) = state::entries(entries).find(Result::is_err) {
            return Err(AppendError::BadState(at));
        }
        let record = self.state_record(now_ms, entries);
        // It may say what became of messages that were let in before it: these must not be in the log without it.
        let backlog_max = self.config.backlog_bytes_max;
        self.admit_below(record.encoded_len(), backlog_max + backlog_max / 4)?;
        Ok(self.place(record, None))
    }

    /// The state is to be said once more: the owner of the state should begin to, through [`Store::append_dump`]. In a new
    /// segment, or with each run of the index if the state is too large for snapshots; and never before the log has grown by
    /// so many times as much, unless retention needs it to make room.
    pub fn dump_due(&self) -> bool {
        let wanted = self.disk.dump_wanted && self.dump.begin <= self.sealed_dump;
        let Some(end) = self.dump.end.filter(|_| !wanted) else { return true };
        let grown = self.marks.appended - end;
        let segment = self.segment_end - self.config.segment_bytes;
        let large = self.state_bytes > SNAPSHOT_BYTES_MAX as u64;
        (end < segment || large && grown >= self.config.run_bytes) && grown >= LOG_TO_STATE * self.state_bytes
    }

    /// Appends a part of a dump (an entry stream of any length, split into records as needed); `last`: the last one. Nothing, or
    /// all of it. The parts together are the whole state: what [`Store::put_queues`] says, and then what the owner of the
    /// state does. Each says its share as of now; what changes between two parts is in the log between them. Gives the
    /// log's end.
    pub fn append_dump(&mut self, now_ms: i64, part: &[u8], last: bool) -> Result<Position, AppendError> {
        let bodies = state::split(part, self.state_bytes_max()).map_err(AppendError::BadState)?;
        self.admit_dump(now_ms, &bodies)?;
        let mut dumping = self.dumping.take().unwrap_or_default();
        for body in bodies {
            let mut part = Vec::with_capacity(body.len() + DUMP_ENTRY_BYTES_MAX);
            Own::DumpPart { number: dumping.parts }.put(&mut part);
            part.extend_from_slice(body);
            let placed = self.place(self.state_record(now_ms, &part), None);
            dumping.begin.get_or_insert(placed.position);
            dumping.parts += 1;
            dumping.bytes += body.len() as u64;
        }
        match last {
            true => self.end_dump(now_ms, dumping),
            false => self.dumping = Some(dumping),
        }
        Ok(self.marks.appended)
    }

    fn end_dump(&mut self, now_ms: i64, Dumping { begin, parts, bytes }: Dumping) {
        // The state may be nothing at all: the dump then is its own end.
        if begin.is_none() {
            let end_len = self.state_record(now_ms, &dump_end(0, parts)).encoded_len();
            self.roll_for(end_len);
        }
        let begin = begin.unwrap_or(self.marks.appended);
        let end = dump_end(begin, parts);
        let last = self.place(self.state_record(now_ms, &end), None);
        self.dump = super::Dump { begin, end: Some(last.end) };
        self.state_bytes = bytes;
    }

    /// Asked once for all records of a part, and the end.
    fn admit_dump(&self, now_ms: i64, bodies: &[&[u8]]) -> Result<(), AppendError> {
        let longest = bodies.iter().map(|b| b.len()).max().unwrap_or(0);
        if longest > STATE_BYTES_MAX {
            return Err(AppendError::BadState(STATE_BYTES_MAX));
        }
        let overhead = self.state_record(now_ms, &[]).encoded_len() + DUMP_ENTRY_BYTES_MAX;
        self.admit(longest + overhead)?;
        let all: usize = bodies.iter().map(|b| b.len() + overhead).sum::<usize>() + overhead;
        // Each roll may leave the room of one record unused.
        let reach = self.marks.appended + (all + 2 * (longest + overhead)) as u64;
        if reach > self.room_end() {
            return Err(AppendError::DiskFull(self.room.why()));
        }
        Ok(())
    }

    /// Forgets all queues of a topic (its messages stay in the log until retention takes them). Appends the state entry, in one
    /// record with what its owner has to say of it (`entries`): the one is not there without the other.
    pub fn delete_topic(
        &mut self,
        now_ms: i64,
        topic: &str,
        mut entries: Vec<u8>,
    ) -> Result<Appended, AppendError> {
        Own::TopicDeleted { topic }.put(&mut entries);
        let appended = self.append_state(now_ms, &entries)?;
        self.index.delete_topic(topic);
        Ok(appended)
    }

    /// Appends the store's own part of the state, from the queue numbered `from` on, in about `bytes_max` bytes: the next
    /// offset of each queue, and where new ones begin. Gives the number to go on at.
    pub fn put_queues(&self, from: usize, bytes_max: usize, out: &mut Vec<u8>) -> Option<usize> {
        let (next, lmq_next) = self.index.queues.begin();
        if from == 0 && lmq_next > 0 {
            Own::NewQueues { next, lmq_next }.put(out);
        }
        for (number, queue) in self.index.queues.numbered(from) {
            if out.len() >= bytes_max {
                return Some(number);
            }
            Own::QueueNext { topic: &queue.topic, queue_id: queue.queue_id, next: queue.next }.put(out);
        }
        None
    }

    fn state_record<'a>(&self, now_ms: i64, body: &'a [u8]) -> NewRecord<'a> {
        NewRecord {
            topic: STATE_TOPIC,
            queue_id: 0,
            flag: 0,
            sys_flag: 0,
            queue_offset: self.state_next,
            position: 0,
            born_ms: now_ms,
            born_host: self.config.store_host,
            store_ms: now_ms,
            store_host: self.config.store_host,
            reconsume_times: 0,
            prepared_transaction_offset: 0,
            body,
            properties: &[],
        }
    }

    /// Whether all records of a batch, `bytes` of log at most and none longer than `longest`, may be appended now, one after
    /// the other.
    ///
    /// # Errors
    /// As [`Store::append`] would give for one of them.
    pub fn admit_batch(&self, bytes: usize, longest: usize) -> Result<(), AppendError> {
        if let Some(why) = &self.fenced {
            return Err(AppendError::Fenced(why.clone()));
        }
        let Watermarks { appended, written, .. } = self.marks;
        if appended - written + bytes as u64 >= self.config.backlog_bytes_max {
            return Err(AppendError::Backlog(appended - written));
        }
        if (longest + BLANK_BYTES_MIN) as u64 > self.config.segment_bytes {
            return Err(AppendError::SegmentTooSmall(longest, self.config.segment_bytes));
        }
        // Each roll may leave the room of one record unused.
        let rolls = bytes as u64 / self.config.segment_bytes + 2;
        if appended + bytes as u64 + rolls * (longest + BLANK_BYTES_MIN) as u64 > self.room_end() {
            return Err(AppendError::DiskFull(self.room.why()));
        }
        Ok(())
    }

    /// Where the room for the log ends: the same for all of a turn, so that what was admitted together is taken together.
    fn room_end(&self) -> Position {
        let end = self.room_end.get().unwrap_or_else(|| self.room.end());
        self.room_end.set(Some(end));
        end
    }

    /// Whether a record of that length may be appended now.
    fn admit(&self, bytes: usize) -> Result<(), AppendError> {
        self.admit_below(bytes, self.config.backlog_bytes_max)
    }

    /// The same where `backlog_max` bytes may wait to be written.
    fn admit_below(&self, bytes: usize, backlog_max: u64) -> Result<(), AppendError> {
        if let Some(why) = &self.fenced {
            return Err(AppendError::Fenced(why.clone()));
        }
        let Watermarks { appended, written, .. } = self.marks;
        if appended - written >= backlog_max {
            return Err(AppendError::Backlog(appended - written));
        }
        let needed = (bytes + BLANK_BYTES_MIN) as u64;
        if needed > self.config.segment_bytes {
            return Err(AppendError::SegmentTooSmall(bytes, self.config.segment_bytes));
        }
        let next = if needed > self.segment_end - appended { self.config.segment_bytes } else { 0 };
        if self.segment_end + next > self.room_end() {
            return Err(AppendError::DiskFull(self.room.why()));
        }
        Ok(())
    }

    /// Goes to the next segment if a record of that length does not fit this one, by Apache's rule.
    fn roll_for(&mut self, len: usize) {
        if (len + BLANK_BYTES_MIN) as u64 > self.segment_end - self.marks.appended {
            self.roll();
        }
    }

    /// Gives a record its position and puts it there. It was admitted.
    fn place(&mut self, mut record: NewRecord<'_>, queue: Option<QueueIndex>) -> Appended {
        let len = record.encoded_len();
        self.roll_for(len);
        record.position = self.marks.appended;
        let encoded = record.encode(self.tail.room(len));
        assert!(encoded.is_ok(), "record was admitted and does not encode: {encoded:?}");
        let end = self.tail.end();
        assert_eq!(end, record.position + len as u64, "record is not as long as announced");
        self.marks.appended = end;
        let indexed = Indexed {
            position: record.position,
            size: len as u32, // holds because it fits a segment
            store_ms: record.store_ms,
            topic: record.topic,
            properties: Properties(record.properties),
        };
        let added = self.index.add(indexed, queue.map(|q| (q, record.queue_offset)));
        let tag_code = added.tag_code;
        match queue {
            Some(queue) => {
                self.unconfirmed.push_back(Unconfirmed { end, queue, offset: record.queue_offset, tag_code });
            }
            None if record.topic == STATE_TOPIC => self.state_next += 1,
            None => {}
        }
        let further = added.further.into_iter();
        self.unconfirmed.extend(further.map(|(queue, offset)| Unconfirmed { end, queue, offset, tag_code }));
        Appended {
            position: record.position,
            end,
            queue_offset: record.queue_offset,
            store_ms: record.store_ms,
        }
    }

    /// Goes to the next segment: the rest of this one is filled, and its index run ends.
    fn roll(&mut self) {
        let left = self.segment_end - self.marks.appended;
        encode_blank(left, self.marks.appended, self.tail.room(BLANK_MARK_BYTES));
        self.tail.skip_to(self.segment_end);
        self.marks.appended = self.segment_end;
        self.drafts.push(self.index.cut(self.segment_end));
        self.segment_end += self.config.segment_bytes;
    }
}

/// Longest entry that a dump adds to its records: kind, length, payload of `DumpEnd`.
const DUMP_ENTRY_BYTES_MAX: usize = 5 + 12;

fn dump_end(begin: Position, parts: u32) -> Vec<u8> {
    let mut entries = Vec::with_capacity(DUMP_ENTRY_BYTES_MAX);
    Own::DumpEnd { begin, parts }.put(&mut entries);
    entries
}

/// Whether a record belongs to its queue: prepared and rolled back transactions do not, as in Apache.
pub(crate) fn is_queued(sys_flags: i32) -> bool {
    !matches!(
        sys_flag::transaction(sys_flags),
        sys_flag::TRANSACTION_PREPARED | sys_flag::TRANSACTION_ROLLBACK
    )
}
