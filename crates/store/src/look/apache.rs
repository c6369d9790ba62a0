//! Apache RocketMQ's files beside the log: consume queues, index files, and the files of its settings.
//!
//! Consume queues are compared with the log by sums, queue by queue: of what records say of their places, and of what units say.
//! Where they differ, which a topic that was deleted and made again suffices for, each unit of the queue is looked up in the log.

use super::index::{place_hash, places};
use super::verify::{Fault, Faults, Part};
use super::{Look, list};
use crate::disk::{Disk, DiskFile, read_up_to};
use crate::log::{Found, Scanner, Segment, segment_path};
use crate::{Damage, OpenError, Position, Progress};
use kerolox_wire::names;
use kerolox_wire::record::RecordView;
use kerolox_wire::sys_flag::INNER_BATCH;
use std::collections::{BTreeMap, BTreeSet};
use std::io;

/// A consume queue's unit: `position u64 | size u32 | tag code i64`.
const UNIT_BYTES: u64 = 20;
/// Units read at once.
const UNITS: u64 = 50_000;
/// Faults told of one file.
const FILE_FAULTS_MAX: usize = 20;

/// What a unit of a consume queue says.
#[derive(Debug, Clone, Copy)]
struct Unit {
    offset: u64,
    position: Position,
    size: u32,
}

/// Sums over the places of records, by topic and queue.
#[derive(Debug, Default)]
pub(super) struct QueueSums {
    wanted: bool,
    /// Apache's part of the log ends here.
    upto: Position,
    sums: BTreeMap<String, BTreeMap<u32, u64>>,
    /// Topics whose consume queues have units of another kind: those of inner batches.
    batched: BTreeSet<String>,
}

fn unit_hash(topic: &str, queue_id: u32, unit: Unit) -> u64 {
    let place = place_hash(topic, queue_id, unit.offset);
    (place ^ unit.position).wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ u64::from(unit.size)
}

impl QueueSums {
    pub(super) fn new(wanted: bool, upto: Option<Position>) -> Self {
        Self { wanted, upto: upto.unwrap_or(Position::MAX), ..Self::default() }
    }

    pub(super) fn record(&mut self, view: &RecordView<'_>) {
        if !self.wanted || view.position >= self.upto {
            return;
        }
        if view.sys_flag & INNER_BATCH != 0 {
            self.batched.insert(view.topic.to_owned());
            return;
        }
        let (position, size) = (view.position, view.len() as u32); // holds because a record's length is a u32
        places(view, |topic, queue_id, offset| {
            if !self.sums.contains_key(topic) {
                self.sums.insert(topic.to_owned(), BTreeMap::new());
            }
            let sum = self.sums.get_mut(topic).map(|queues| queues.entry(queue_id).or_default());
            let hash = unit_hash(topic, queue_id, Unit { offset, position, size });
            if let Some(sum) = sum {
                *sum = sum.wrapping_add(hash);
            }
        });
    }
}

/// A consume queue.
struct Queue<'a> {
    topic: &'a str,
    id: u32,
    /// Where its files begin in it, with their paths, in order.
    files: Vec<(u64, String)>,
}

impl<D: Disk> Look<D> {
    /// Compares consume queues with the log, and says of damage what records they know there. How many queues and units there are.
    pub(super) fn check_queues(
        &self,
        sums: &QueueSums,
        damaged: &mut [Damage],
        end: Position,
        faults: &mut Faults,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<(u64, u64), OpenError> {
        let (mut queues, mut units) = (0, 0);
        let total = sums.sums.values().map(BTreeMap::len).sum::<usize>() as u64;
        let all =
            sums.sums.iter().flat_map(|(topic, ids)| ids.iter().map(move |(id, sum)| (topic, *id, *sum)));
        for (done, (topic, id, sum)) in (0..).zip(all) {
            progress(Progress { step: "checking consume queues", done, total });
            // No path is made of what is no name.
            let is_name = names::check_topic(topic).is_ok() || topic.starts_with(names::LMQ_PREFIX);
            if !is_name || topic.contains(['/', '.']) || sums.batched.contains(topic) {
                continue;
            }
            let Some(queue) = self.queue(topic, id)? else { continue };
            queues += 1;
            let mut is = 0_u64;
            units += self.each_unit(&queue, faults, &mut |_, _, unit, _| {
                if unit.position >= self.begin() && unit.position < sums.upto {
                    is = is.wrapping_add(unit_hash(topic, id, unit));
                }
            })?;
            if is != sum {
                self.look_up(&queue, sums.upto.min(end), damaged, faults)?;
            }
        }
        Ok((queues, units))
    }

    fn queue<'a>(&self, topic: &'a str, id: u32) -> Result<Option<Queue<'a>>, OpenError> {
        let dir = format!("consumequeue/{topic}/{id}");
        let mut files: Vec<(u64, String)> = list(&self.disk, &dir)?
            .into_iter()
            .filter_map(|(name, _)| Some((crate::log::segment_name(&name)?, format!("{dir}/{name}"))))
            .collect();
        files.sort_unstable();
        Ok((!files.is_empty()).then_some(Queue { topic, id, files }))
    }

    /// Shows all units of a queue that are one: path, byte, unit, faults. How many there are.
    fn each_unit(
        &self,
        queue: &Queue<'_>,
        faults: &mut Faults,
        show: &mut dyn FnMut(&str, u64, Unit, &mut Faults),
    ) -> Result<u64, OpenError> {
        let mut count = 0;
        for (base, path) in &queue.files {
            let file = match self.disk.open(path) {
                Err(e) if e.kind() == io::ErrorKind::NotFound => continue,
                file => file.map_err(OpenError::io(format!("opening {path}")))?,
            };
            let mut at = 0;
            loop {
                let bytes = match read_up_to(&file, (UNITS * UNIT_BYTES) as usize, at) {
                    Ok(bytes) => bytes,
                    Err(e) => {
                        let fault = Fault::of(Part::ConsumeQueue, path, format!("cannot be read: {e}"));
                        faults.add(Fault { at: Some(at), ..fault });
                        break;
                    }
                };
                for (i, unit) in (0..).zip(bytes.chunks_exact(UNIT_BYTES as usize)) {
                    let byte = at + i * UNIT_BYTES;
                    if let Some(unit) = unit_of(unit, (base + byte) / UNIT_BYTES) {
                        count += 1;
                        show(path, byte, unit, faults);
                    }
                }
                at += UNITS * UNIT_BYTES;
                if bytes.len() as u64 != UNITS * UNIT_BYTES {
                    break;
                }
            }
        }
        Ok(count)
    }

    /// Looks up each unit of a queue in the log.
    fn look_up(
        &self,
        queue: &Queue<'_>,
        end: Position,
        damaged: &mut [Damage],
        faults: &mut Faults,
    ) -> Result<(), OpenError> {
        let mut log = OpenSegment { look: self, open: None };
        let mut failed = None;
        let mut told = 0;
        let mut show = |path: &str, byte: u64, unit: Unit, faults: &mut Faults| {
            if unit.position < self.begin() || told >= FILE_FAULTS_MAX {
                return;
            }
            let place = (queue.topic.to_owned(), queue.id, unit.offset);
            let after = damaged.partition_point(|d| d.position <= unit.position);
            let damage = after.checked_sub(1).and_then(|i| damaged.get_mut(i));
            if let Some(damage) = damage.filter(|d| unit.position < d.position + d.bytes) {
                damage.record.get_or_insert(place);
                return;
            }
            let why = match log.says(unit, queue) {
                Ok(true) => return,
                Ok(false) if unit.position >= end => {
                    format!("points at {}, behind the log's end {end}", unit.position)
                }
                Ok(false) => {
                    format!("points at {}, where no record of this queue and offset lies", unit.position)
                }
                Err(e) => {
                    failed.get_or_insert(e);
                    return;
                }
            };
            told += 1;
            faults.add(Fault {
                at: Some(byte),
                place: Some(place),
                ..Fault::of(Part::ConsumeQueue, path, why)
            });
        };
        // What cannot be read was told with the sums.
        self.each_unit(queue, &mut Faults::default(), &mut |path, byte, unit, _| {
            show(path, byte, unit, faults)
        })?;
        failed.map_or(Ok(()), |e| Err(OpenError::io("reading the log")(e)))
    }
}

/// `None`: it was never written, or fills the queue's beginning up.
fn unit_of(bytes: &[u8], offset: u64) -> Option<Unit> {
    let (position, rest) = bytes.split_first_chunk()?;
    let size = u32::from_be_bytes(*rest.first_chunk()?);
    let is_filler = size == 0 || size == i32::MAX as u32;
    (!is_filler).then_some(Unit { offset, position: u64::from_be_bytes(*position), size })
}

/// The segment that was read last.
struct OpenSegment<'a, D: Disk> {
    look: &'a Look<D>,
    open: Option<Segment<D::File>>,
}

impl<D: Disk> OpenSegment<'_, D> {
    /// Whether a record lies where a unit says, and says the same.
    fn says(&mut self, unit: Unit, queue: &Queue<'_>) -> io::Result<bool> {
        let position = unit.position;
        if self.open.as_ref().is_none_or(|open| !(open.base..open.end).contains(&position)) {
            let base = self.look.segment_of(position);
            let len = self.look.files.iter().find(|(other, _)| *other == base).map_or(0, |(_, len)| *len);
            if position < base || position >= base + len {
                return Ok(false);
            }
            let file = self.look.disk.open(&segment_path(base))?;
            self.open = Some(Segment { base, end: base + len, recycled: false, file });
        }
        let Some(segment) = &self.open else { return Ok(false) };
        Ok(match Scanner::small(segment, Position::MAX).at(position)? {
            Found::Record(view) => {
                let mut is = false;
                places(&view, |topic, queue_id, offset| {
                    is |= (topic, queue_id, offset) == (queue.topic, queue.id, unit.offset);
                });
                is && view.len() == unit.size as usize
            }
            Found::Blank | Found::Bad(_) => false,
        })
    }
}

/// Header of an index file.
const INDEX_HEAD_BYTES: usize = 40;
/// Slots and entries of an index file, unless Apache was told otherwise.
const INDEX_SLOTS: u64 = 5_000_000;
const INDEX_ENTRIES: u64 = 20_000_000;
const INDEX_ENTRY_BYTES: u64 = 20;

/// Checks Apache's key index: its files say which part of the log they cover, and their entries lie in it and are chained backwards.
pub(super) fn check_index_files<D: Disk>(
    disk: &D,
    end: Position,
    faults: &mut Faults,
    progress: &mut dyn FnMut(Progress),
) -> Result<(), OpenError> {
    let files = list(disk, "index")?;
    let total = files.len() as u64;
    for (done, (name, len)) in (0..).zip(files) {
        progress(Progress { step: "checking index files", done, total });
        let path = format!("index/{name}");
        let checked = disk.open(&path).and_then(|file| check_index_file(&file, len, end));
        match checked {
            Err(e) if e.kind() == io::ErrorKind::NotFound => {}
            Err(e) => faults.add(Fault::of(Part::IndexFile, &path, format!("cannot be read: {e}"))),
            Ok(found) => {
                for (at, why) in found {
                    faults.add(Fault { at: Some(at), ..Fault::of(Part::IndexFile, &path, why) });
                }
            }
        }
    }
    Ok(())
}

fn check_index_file(file: &impl DiskFile, len: u64, end: Position) -> io::Result<Vec<(u64, String)>> {
    let head = read_up_to(file, INDEX_HEAD_BYTES, 0)?;
    let long = |at: usize| head.get(at..).and_then(|b| b.first_chunk()).map(|b| u64::from_be_bytes(*b));
    let count = head.get(36..).and_then(|b| b.first_chunk()).map(|b| u32::from_be_bytes(*b));
    let (Some(first), Some(last), Some(count)) = (long(16), long(24), count) else {
        return Ok(vec![(0, "is shorter than its header".to_owned())]);
    };
    let count = u64::from(count);
    let mut found = Vec::new();
    if first > last || last >= end.max(1) {
        found.push((16, format!("says that it covers {first} to {last} of a log that ends at {end}")));
    }
    // One with other numbers of slots and entries cannot be told from a damaged one.
    let usual = INDEX_HEAD_BYTES as u64 + INDEX_SLOTS * 4 + INDEX_ENTRIES * INDEX_ENTRY_BYTES;
    if len != usual {
        return Ok(found);
    }
    if count > INDEX_ENTRIES {
        found.push((36, format!("says that it has {count} entries of {INDEX_ENTRIES}")));
        return Ok(found);
    }
    let mut number = 1;
    while number < count && found.len() < FILE_FAULTS_MAX {
        let at = INDEX_HEAD_BYTES as u64 + INDEX_SLOTS * 4 + number * INDEX_ENTRY_BYTES;
        let some = (count - number).min(UNITS);
        let bytes = read_up_to(file, (some * INDEX_ENTRY_BYTES) as usize, at)?;
        for (entry, i) in bytes.chunks_exact(INDEX_ENTRY_BYTES as usize).zip(0..) {
            let position = entry.get(4..).and_then(|b| b.first_chunk()).map_or(0, |b| u64::from_be_bytes(*b));
            let before = entry.get(16..).and_then(|b| b.first_chunk()).map_or(0, |b| u32::from_be_bytes(*b));
            let byte = at + i * INDEX_ENTRY_BYTES;
            if !(first..=last).contains(&position) {
                found.push((
                    byte,
                    format!("entry {} points at {position}, outside of {first} to {last}", number + i),
                ));
            } else if u64::from(before) >= number + i {
                found.push((
                    byte,
                    format!("entry {} is chained to {before}, which is not before it", number + i),
                ));
            }
            if found.len() >= FILE_FAULTS_MAX {
                break;
            }
        }
        number += some;
    }
    Ok(found)
}

/// A file of Apache's settings.
#[derive(Debug)]
pub struct ConfigFile {
    pub path: String,
    pub content: io::Result<Vec<u8>>,
}

/// Longest file of settings that is read: 512 MiB.
const CONFIG_BYTES_MAX: u64 = 512 << 20;

/// The JSON files of Apache RocketMQ's folder `config`, and their older copies (`.bak`), one at a time.
///
/// # Errors
/// The folder cannot be listed.
pub fn config_files<D: Disk>(disk: &D) -> Result<impl Iterator<Item = ConfigFile>, OpenError> {
    let mut files = list(disk, "config")?;
    files.retain(|(name, _)| name.ends_with(".json") || name.ends_with(".json.bak"));
    files.sort_unstable();
    let disk = disk.clone();
    Ok(files.into_iter().map(move |(name, len)| {
        let path = format!("config/{name}");
        let content = match len {
            0..=CONFIG_BYTES_MAX => disk.open(&path).and_then(|file| read_up_to(&file, len as usize, 0)),
            _ => Err(io::Error::other("is too long to be one")),
        };
        ConfigFile { path, content }
    }))
}
