//! What goes wrong with disks: calls that fail, once or for a while, no room, and content that changes below what was synced.

use crate::bug::Bug;
use crate::cast::TOPICS;
use crate::check::Queue;
use crate::message;
use crate::network::Node;
use crate::world::{Event, World};
use bytes::BytesMut;
use kerolox_store::Position;
use kerolox_store::disk::{Disk, FaultAction, OpKind, Trouble};
use kerolox_wire::record::{NewRecord, RecordHead, RecordView};

/// What a disk writes at once.
const BLOCK_BYTES: usize = 4096;

pub(crate) const CAPACITY: u64 = 1 << 30;

/// Kinds of calls that fail together.
const KINDS: &[(&str, &[OpKind])] = &[
    ("EIO in reads", &[OpKind::Read]),
    ("EIO in writes", &[OpKind::Write]),
    ("EIO in syncs", &[OpKind::SyncData, OpKind::SyncDir]),
    ("EIO in other calls", &[OpKind::Open, OpKind::Create, OpKind::Rename, OpKind::Remove, OpKind::Allocate]),
];

/// A record of the log, as far as it matters here.
struct Record {
    position: Position,
    len: usize,
    topic: String,
    queue_id: u32,
    offset: u64,
    sent: Option<message::Sent>,
}

impl World {
    /// Calls of one kind fail: one, a few, or all for a while.
    pub(crate) fn fail_calls(&mut self) {
        let broker = self.any_broker();
        let kind = self.random.below(KINDS.len() as u64) as usize;
        let lasting = self.random.one_in(3);
        let left = if lasting { u32::MAX } else { self.random.between(1, 3) as u32 };
        let (Some(&(what, kinds)), Some(machine)) = (KINDS.get(kind), self.brokers.get_mut(broker)) else {
            return;
        };
        machine.trouble = Some(Trouble { kinds, action: FaultAction::Io, left });
        machine.disk.set_trouble(machine.trouble);
        machine.troubled = true;
        self.outcome.fault(what);
        let how = if lasting { "all" } else { "a few" };
        self.note(format_args!("{}: {what}, {how}", Node::Broker(broker)));
        let ends_ms = self.random.between(500, 6_000);
        self.at(ends_ms, Event::DiskHeals(broker));
    }

    /// There is no room for a while.
    pub(crate) fn fill_disk(&mut self) {
        let broker = self.any_broker();
        let Some(machine) = self.brokers.get_mut(broker) else { return };
        let used = machine.disk.space().map_or(0, |space| space.used);
        machine.disk.set_capacity(used);
        machine.troubled = true;
        self.outcome.fault("disks filled");
        self.note(format_args!("{}: no room beyond {used} bytes", Node::Broker(broker)));
        let ends_ms = self.random.between(500, 6_000);
        self.at(ends_ms, Event::DiskHeals(broker));
    }

    pub(crate) fn heal_disk(&mut self, broker: usize) {
        let Some(machine) = self.brokers.get_mut(broker) else { return };
        machine.trouble = None;
        machine.disk.set_trouble(None);
        machine.disk.set_capacity(CAPACITY);
        self.note(format_args!("{}: the disk is well again", Node::Broker(broker)));
    }

    /// Bits flip, a write goes astray or is lost after all: in one block of messages below what was synced.
    pub(crate) fn damage_log(&mut self) {
        let broker = self.any_broker();
        let Some((path, base)) = self.any_segment(broker) else { return };
        let records = self.records(broker, &path, base);
        let Some(at) = self.any_block(&records) else { return };
        let begin = (at - base) as usize;
        let hit = |r: &&Record| r.position < at + BLOCK_BYTES as u64 && at < r.position + r.len as u64;
        let (what, draw) = match self.random.below(3) {
            0 => ("bit rot", self.random.draw()),
            1 => ("misdirected writes", self.random.draw()),
            _ => ("writes lost after all", 0),
        };
        let hit: Vec<&Record> = records.iter().filter(hit).collect();
        let victim = hit.get(draw as usize % hit.len().max(1)).copied();
        // Bits flip in one record; a block takes all along that lie in it.
        let hit: Vec<&Record> = if what == "bit rot" { victim.into_iter().collect() } else { hit };
        for record in &hit {
            let queue = Queue { broker, topic: record.topic.clone(), queue_id: record.queue_id };
            self.ledger.damaged.hit(queue, record.offset, record.sent, record.position);
        }
        self.outcome.fault(what);
        self.note(format_args!("{}: {what} at {at}, {} records", Node::Broker(broker), hit.len()));
        let unchecked = self.options.bug == Some(Bug::SkippedCrc);
        let Some(machine) = self.brokers.get(broker) else { return };
        machine.disk.damage(&path, |bytes| match (what, victim) {
            ("bit rot", Some(record)) => {
                let from = (record.position - base) as usize;
                let Some(bytes) = bytes.get_mut(from..from + record.len) else { return };
                if unchecked { alter_and_mend(bytes) } else { flip(bytes, draw) }
            }
            ("misdirected writes", _) => {
                let blocks = bytes.len() / BLOCK_BYTES;
                let other = (begin / BLOCK_BYTES + 1 + draw as usize % (blocks - 1).max(1)) % blocks;
                let other = other * BLOCK_BYTES;
                bytes.copy_within(other..other + BLOCK_BYTES, begin);
            }
            _ => bytes.iter_mut().skip(begin).take(BLOCK_BYTES).for_each(|b| *b = 0),
        });
    }

    /// Something changes in what is derived from the log: nobody may notice.
    pub(crate) fn damage_derived(&mut self) {
        let broker = self.any_broker();
        let draw = self.random.draw();
        let Some(machine) = self.brokers.get(broker) else { return };
        let derived = |path: &String| {
            path.starts_with("kerolox/runs/") || path == "kerolox/snapshot" || path == "kerolox/frontier"
        };
        let paths: Vec<String> = machine.disk.paths().into_iter().filter(derived).collect();
        let Some(path) = paths.get(draw as usize % paths.len().max(1)) else { return };
        machine.disk.damage(path, |bytes| flip(bytes, draw));
        self.outcome.fault("bit rot in derived files");
        self.note(format_args!("{}: bit rot in {path}", Node::Broker(broker)));
    }

    pub(crate) fn any_broker(&mut self) -> usize {
        self.random.below(self.brokers.len() as u64) as usize
    }

    fn any_segment(&mut self, broker: usize) -> Option<(String, Position)> {
        let paths = self.brokers.get(broker)?.disk.paths().into_iter();
        let segments = paths.filter_map(|path| {
            let base = path.strip_prefix("commitlog/")?.parse().ok()?;
            Some((path, base))
        });
        let segments: Vec<(String, Position)> = segments.collect();
        segments.get(self.random.below(segments.len().max(1) as u64) as usize).cloned()
    }

    /// The records of a segment that are synced for sure, up to the first that cannot be read.
    fn records(&self, broker: usize, path: &str, base: Position) -> Vec<Record> {
        let mut records = Vec::new();
        let Some(machine) = self.brokers.get(broker) else { return records };
        let Some(process) = &machine.process else { return records };
        let flushed = process.broker.watermarks().flushed;
        let content = machine.disk.content(path).unwrap_or_default();
        let mut at = 0;
        while let Some(rest) = content.get(at..) {
            let len =
                RecordHead::peek(rest).filter(|head| head.is_record()).map_or(0, |head| head.total as usize);
            let position = base + at as u64;
            let bytes = rest.get(..len).filter(|_| len > 0 && position + len as u64 <= flushed);
            let Some(view) = bytes.and_then(|bytes| RecordView::parse(bytes).ok()) else { break };
            if view.position != position {
                break;
            }
            let (topic, queue_id, offset) = (view.topic.to_owned(), view.queue_id, view.queue_offset);
            records.push(Record { position, len, topic, queue_id, offset, sent: message::sent(&view) });
            at += len;
        }
        records
    }

    /// A block in which nothing lies but messages of the topics that are looked at in the end.
    fn any_block(&mut self, records: &[Record]) -> Option<Position> {
        let block = BLOCK_BYTES as u64;
        let (first, last) = (records.first()?, records.last()?);
        let blocks = first.position.div_ceil(block)..(last.position + last.len as u64) / block;
        let whole = |number: &u64| {
            let (begin, end) = (number * block, (number + 1) * block);
            let mut inside = records.iter().filter(|r| r.position < end && begin < r.position + r.len as u64);
            inside.all(|record| TOPICS.contains(&record.topic.as_str()))
        };
        let good: Vec<u64> = blocks.filter(whole).collect();
        let number = good.get(self.random.below(good.len().max(1) as u64) as usize)?;
        Some(number * block)
    }
}

fn flip(bytes: &mut [u8], draw: u64) {
    let at = (draw >> 8) as usize % bytes.len().max(1);
    if let Some(byte) = bytes.get_mut(at) {
        *byte ^= 1 << (draw % 8);
    }
}

/// What a broker without checksums would make of a bit that flips.
fn alter_and_mend(bytes: &mut [u8]) {
    let mut out = BytesMut::new();
    let Ok(view) = RecordView::parse(bytes) else { return };
    let mut body = view.body.to_vec();
    body.iter_mut().take(1).for_each(|b| *b ^= 1);
    let altered = NewRecord { body: &body, ..NewRecord::from(&view) };
    if altered.encode(&mut out).is_ok() && out.len() == bytes.len() {
        bytes.copy_from_slice(&out);
    }
}
