//! The durable frontier: how far the log was synced, and how far it may have been written. Kept apart from the log, so
//! that recovery can tell a torn write (above it) from damage (below it), and knows what it must erase.
//!
//! `docs/formats/frontier.md` draws the file: one block with what does not change, then three slots, each in a
//! block of its own so that a torn write hits one, then the first block once more. Slot 0 is written after each sync of the log and never synced: it is exact
//! after the death of the process. Slots 1 and 2 are written and synced in turn, so that one is whole after a power cut.
//! Positions only grow; recovery believes the greatest of all valid slots.

use crate::Position;
use crate::disk::{BLOCK_BYTES, Disk, DiskFile, read_exact_at, replace, write_all_at};
use std::collections::BTreeMap;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Directory of everything that is Kerolox' own.
pub(crate) const FRONTIER_DIR: &str = "kerolox";
pub(crate) const FRONTIER_NAME: &str = "frontier";
pub(crate) const FRONTIER_PATH: &str = "kerolox/frontier";

/// Version of the whole data directory's format.
const VERSION: u32 = 1;
const MAGIC: &[u8; 8] = b"KERLXFRO";
const FACTS_BYTES: usize = 8 + 4 + 8 + 8;
const SLOT_BYTES: usize = 8 + 4 + 8 + 8;
const FLAG_CLEAN: u32 = 1;

#[derive(Debug, thiserror::Error)]
pub(crate) enum FrontierError {
    #[error("format version {found}; this program knows {known}")]
    TooNew { found: u32, known: u32 },
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// What the file says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FrontierFacts {
    /// Each record from here on was written by Kerolox and must carry a checksum over all of itself.
    pub(crate) crc_from: Position,
    pub(crate) segment_bytes: u64,
    /// The log was on stable storage up to here.
    pub(crate) flushed: Position,
    /// Nothing from here on was ever written.
    pub(crate) limit: Position,
    /// The log was closed in order, and ends at `flushed`.
    pub(crate) clean: bool,
}

/// The file as somebody sees it who looks into a directory.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct FrontierLook {
    pub(crate) is_there: bool,
    /// `None`: it says nothing that can be believed.
    pub(crate) facts: Option<FrontierFacts>,
    /// What is wrong with it, part by part.
    pub(crate) faults: Vec<String>,
}

impl FrontierLook {
    pub(crate) fn read<D: Disk>(disk: &D) -> Result<Self, FrontierError> {
        let look = Self::read_once(disk)?;
        // A running broker may have been writing a slot just then.
        if look.faults.is_empty() { Ok(look) } else { Self::read_once(disk) }
    }

    fn read_once<D: Disk>(disk: &D) -> Result<Self, FrontierError> {
        let file = match disk.open(FRONTIER_PATH) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Self::default()),
            file => file?,
        };
        let (bytes, unread) = match read_blocks(&file) {
            Err(e) => {
                let faults = vec![format!("cannot be read: {e}")];
                return Ok(Self { is_there: true, facts: None, faults });
            }
            Ok(read) => read,
        };
        let facts = decode(&bytes)?;
        let mut faults = Vec::new();
        let mut check = |block: usize, what: &str, is_sound: fn(&[u8]) -> bool| {
            if let Some(e) = unread.get(&block) {
                faults.push(format!("{what} cannot be read: {e}"));
            } else if !bytes.get(block * BLOCK_BYTES..).is_some_and(is_sound) {
                faults.push(format!("{what} is damaged"));
            }
        };
        let is_head = |block: &[u8]| decode_head(block).is_some();
        check(0, "block 0, what does not change,", is_head);
        // Files of earlier releases have no block 4.
        if bytes.len() > 4 * BLOCK_BYTES {
            check(4, "block 4, the copy of block 0,", is_head);
        }
        for block in 1..=3 {
            check(block, &format!("copy {block} of 3"), |block| Slot::decode(block).is_some());
        }
        Ok(Self { is_there: true, facts, faults })
    }
}

/// A slot: `seq u64 | flags u32 | flushed u64 | limit u64 | CRC-32 u32`.
#[derive(Debug, Clone, Copy)]
struct Slot {
    seq: u64,
    clean: bool,
    flushed: Position,
    limit: Position,
}

impl Slot {
    fn encode(self) -> [u8; SLOT_BYTES + 4] {
        let mut bytes = Vec::with_capacity(SLOT_BYTES + 4);
        bytes.extend_from_slice(&self.seq.to_be_bytes());
        bytes.extend_from_slice(&(if self.clean { FLAG_CLEAN } else { 0 }).to_be_bytes());
        bytes.extend_from_slice(&self.flushed.to_be_bytes());
        bytes.extend_from_slice(&self.limit.to_be_bytes());
        bytes.extend_from_slice(&crc32fast::hash(&bytes).to_be_bytes());
        let mut slot = [0; SLOT_BYTES + 4];
        slot.copy_from_slice(&bytes);
        slot
    }

    fn decode(block: &[u8]) -> Option<Self> {
        let (body, rest) = block.split_at_checked(SLOT_BYTES)?;
        let crc = u32::from_be_bytes(*rest.first_chunk()?);
        let (seq, body) = body.split_first_chunk()?;
        let (flags, body) = body.split_first_chunk()?;
        let (flushed, body) = body.split_first_chunk()?;
        let limit = body.first_chunk()?;
        let slot = Self {
            seq: u64::from_be_bytes(*seq),
            clean: u32::from_be_bytes(*flags) & FLAG_CLEAN != 0,
            flushed: u64::from_be_bytes(*flushed),
            limit: u64::from_be_bytes(*limit),
        };
        (crc == crc32fast::hash(block.get(..SLOT_BYTES)?) && slot.flushed <= slot.limit).then_some(slot)
    }
}

/// The frontier of an open log.
pub(crate) struct Frontier<F> {
    file: F,
    flushed: AtomicU64,
    limit: AtomicU64,
    durable: Mutex<Durable>,
}

#[derive(Debug)]
struct Durable {
    seq: u64,
    flushed: Position,
}

impl<F: DiskFile> Frontier<F> {
    /// What the file of a data directory says; `None` if there is none, or none that can be believed.
    pub(crate) fn read<D: Disk<File = F>>(disk: &D) -> Result<Option<FrontierFacts>, FrontierError> {
        let file = match disk.open(FRONTIER_PATH) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            file => file?,
        };
        let (bytes, unread) = read_blocks(&file)?;
        match (decode(&bytes)?, unread.into_values().next()) {
            // What the others say is not enough: nobody knows what this one says.
            (None, Some(e)) => Err(e.into()),
            (facts, _) => Ok(facts),
        }
    }

    /// Writes a new file that says `facts` and makes it the frontier, durably.
    pub(crate) fn begin<D: Disk<File = F>>(disk: &D, facts: FrontierFacts) -> io::Result<Self> {
        assert!(facts.flushed <= facts.limit, "flushed {} above limit {}", facts.flushed, facts.limit);
        replace(disk, FRONTIER_DIR, FRONTIER_NAME, &encode(facts))?;
        let file = disk.open(FRONTIER_PATH)?;
        Ok(Self {
            file,
            flushed: AtomicU64::new(facts.flushed),
            limit: AtomicU64::new(facts.limit),
            durable: Mutex::new(Durable { seq: 1, flushed: facts.flushed }),
        })
    }

    /// Nothing from here on was ever written: the writer stays below it.
    pub(crate) fn limit(&self) -> Position {
        self.limit.load(Ordering::Acquire)
    }

    pub(crate) fn flushed(&self) -> Position {
        self.flushed.load(Ordering::Acquire)
    }

    /// The log was synced up to here: noted for recovery after the death of this process, before anyone is told.
    /// Called by the writer only.
    pub(crate) fn note_flushed(&self, flushed: Position) -> io::Result<()> {
        debug_assert!(flushed >= self.flushed());
        let slot = Slot { seq: 0, clean: false, flushed, limit: self.limit().max(flushed) };
        write_all_at(&self.file, &slot.encode(), BLOCK_BYTES as u64)?;
        self.flushed.store(flushed, Ordering::Release);
        Ok(())
    }

    /// Allows writing up to the end of the block that holds `limit`, durably: no block is written on both sides of it.
    pub(crate) fn raise_limit(&self, limit: Position) -> io::Result<()> {
        let limit = limit.next_multiple_of(BLOCK_BYTES as u64);
        let mut durable = self.durable();
        if limit <= self.limit() {
            return Ok(());
        }
        self.write_durable(&mut durable, limit, false)?;
        self.limit.store(limit, Ordering::Release);
        Ok(())
    }

    /// Does something above the limit, which cannot be raised meanwhile.
    pub(crate) fn above_limit<T>(&self, act: impl FnOnce(Position) -> io::Result<T>) -> io::Result<T> {
        let _durable = self.durable();
        act(self.limit())
    }

    /// Makes `flushed` durable if it has grown since the last time.
    pub(crate) fn persist(&self) -> io::Result<()> {
        let mut durable = self.durable();
        if self.flushed() > durable.flushed {
            self.write_durable(&mut durable, self.limit(), false)?;
        }
        Ok(())
    }

    /// Says, durably, that the log was closed in order.
    pub(crate) fn close(&self) -> io::Result<()> {
        let mut durable = self.durable();
        self.write_durable(&mut durable, self.limit(), true)
    }

    fn durable(&self) -> MutexGuard<'_, Durable> {
        self.durable.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn write_durable(&self, durable: &mut Durable, limit: Position, clean: bool) -> io::Result<()> {
        let slot = Slot { seq: durable.seq + 1, clean, flushed: self.flushed(), limit };
        let place = 2 + slot.seq % 2;
        write_all_at(&self.file, &slot.encode(), place * BLOCK_BYTES as u64)?;
        self.file.sync_data()?;
        *durable = Durable { seq: slot.seq, flushed: slot.flushed };
        Ok(())
    }
}

/// A whole new file: the facts, all slots alike, and the facts once more, in a block that nothing else is written near.
fn encode(facts: FrontierFacts) -> Vec<u8> {
    let mut head = Vec::with_capacity(FACTS_BYTES + 4);
    head.extend_from_slice(MAGIC);
    head.extend_from_slice(&VERSION.to_be_bytes());
    head.extend_from_slice(&facts.crc_from.to_be_bytes());
    head.extend_from_slice(&facts.segment_bytes.to_be_bytes());
    head.extend_from_slice(&crc32fast::hash(&head).to_be_bytes());
    let slot =
        |seq| Slot { seq, clean: facts.clean, flushed: facts.flushed, limit: facts.limit }.encode().to_vec();
    let mut bytes = Vec::with_capacity(5 * BLOCK_BYTES);
    for block in [head.clone(), slot(0), slot(0), slot(1), head] {
        bytes.extend_from_slice(&block);
        bytes.resize(bytes.len().next_multiple_of(BLOCK_BYTES), 0);
    }
    bytes
}

/// The file's bytes, in which a block that cannot be read is zeros; and why it cannot, by its number.
fn read_blocks(file: &impl DiskFile) -> io::Result<(Vec<u8>, BTreeMap<usize, io::Error>)> {
    let len = file.len()?.min(5 * BLOCK_BYTES as u64);
    let mut bytes = vec![0; len as usize]; // holds because it is short
    let mut unread = BTreeMap::new();
    for (number, block) in bytes.chunks_mut(BLOCK_BYTES).enumerate() {
        if let Err(e) = read_exact_at(file, block, (number * BLOCK_BYTES) as u64) {
            block.fill(0);
            unread.insert(number, e);
        }
    }
    Ok((bytes, unread))
}

/// Twice as much as settings allow.
const SEGMENT_BYTES_MAX: u64 = 2 << 30;

/// Version, *crc from* and size of segments, from one of the two places.
fn decode_head(block: &[u8]) -> Option<(u32, Position, u64)> {
    let (head, rest) = block.split_at_checked(FACTS_BYTES)?;
    if rest.first_chunk() != Some(&crc32fast::hash(head).to_be_bytes()) {
        return None;
    }
    let (version, facts) = head.strip_prefix(MAGIC)?.split_first_chunk()?;
    let (crc_from, facts) = facts.split_first_chunk()?;
    let segment_bytes = facts.first_chunk()?;
    Some((u32::from_be_bytes(*version), u64::from_be_bytes(*crc_from), u64::from_be_bytes(*segment_bytes)))
}

fn decode(bytes: &[u8]) -> Result<Option<FrontierFacts>, FrontierError> {
    let mut blocks = bytes.chunks(BLOCK_BYTES);
    let (first, last) = (blocks.next(), bytes.get(4 * BLOCK_BYTES..));
    let head = first.and_then(decode_head).or_else(|| last.and_then(decode_head));
    let Some((version, crc_from, segment_bytes)) = head else { return Ok(None) };
    if version > VERSION {
        return Err(FrontierError::TooNew { found: version, known: VERSION });
    }
    // Whoever believed it would look for the log's end for ever.
    if segment_bytes > SEGMENT_BYTES_MAX {
        return Ok(None);
    }
    let slots: Vec<Slot> = blocks.take(3).filter_map(Slot::decode).collect();
    let (Some(flushed), Some(limit)) =
        (slots.iter().map(|s| s.flushed).max(), slots.iter().map(|s| s.limit).max())
    else {
        return Ok(None);
    };
    // The last durable word counts: a later life of the log writes a new file, which is not clean.
    let clean = slots.iter().max_by_key(|s| s.seq).is_some_and(|s| s.clean && s.flushed == flushed);
    Ok(Some(FrontierFacts { crc_from, segment_bytes, flushed, limit, clean }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::{CrashMode, Fault, FaultAction, HostileDisk};

    const FACTS: FrontierFacts =
        FrontierFacts { crc_from: 7, segment_bytes: 1 << 20, flushed: 100, limit: 500, clean: false };

    fn disk() -> HostileDisk {
        let disk = HostileDisk::default();
        disk.create_dir(FRONTIER_DIR).unwrap();
        disk
    }

    /// Found by fuzzing: a verification looked for the end of the log for minutes.
    #[test]
    fn segments_of_an_impossible_size_are_not_believed() {
        for (segment_bytes, believed) in
            [(SEGMENT_BYTES_MAX, true), (SEGMENT_BYTES_MAX + 1, false), (1 << 60, false)]
        {
            let (disk, facts) = (disk(), FrontierFacts { segment_bytes, ..FACTS });
            Frontier::begin(&disk, facts).unwrap();
            assert_eq!(Frontier::read(&disk).unwrap(), believed.then_some(facts), "{segment_bytes}");
        }
    }

    #[test]
    fn the_greatest_slot_counts() {
        let disk = disk();
        assert_eq!(Frontier::read(&disk).unwrap(), None);
        let frontier = Frontier::begin(&disk, FACTS).unwrap();
        assert_eq!(Frontier::read(&disk).unwrap(), Some(FACTS));
        frontier.note_flushed(300).unwrap();
        assert_eq!(Frontier::read(&disk).unwrap(), Some(FrontierFacts { flushed: 300, ..FACTS }));
        frontier.raise_limit(4_000).unwrap();
        frontier.note_flushed(400).unwrap();
        let lost = disk.crash(CrashMode::Lost, 0);
        assert_eq!(
            Frontier::read(&lost).unwrap(),
            Some(FrontierFacts { flushed: 300, limit: 4_096, ..FACTS })
        );
        let killed = disk.crash(CrashMode::Kill, 0);
        assert_eq!(
            Frontier::read(&killed).unwrap(),
            Some(FrontierFacts { flushed: 400, limit: 4_096, ..FACTS })
        );
        frontier.close().unwrap();
        let closed = FrontierFacts { flushed: 400, limit: 4_096, clean: true, ..FACTS };
        assert_eq!(Frontier::read(&disk.crash(CrashMode::Lost, 0)).unwrap(), Some(closed));
    }

    #[test]
    fn a_look_names_what_is_wrong_and_only_that() {
        let disk = disk();
        assert_eq!(FrontierLook::read(&disk).unwrap(), FrontierLook::default());
        Frontier::begin(&disk, FACTS).unwrap();
        let sound = FrontierLook { is_there: true, facts: Some(FACTS), faults: Vec::new() };
        assert_eq!(FrontierLook::read(&disk).unwrap(), sound);
        for (block, what) in [(0, "block 0, "), (1, "copy 1 of 3"), (3, "copy 3 of 3"), (4, "block 4, ")] {
            let hurt = disk.crash(CrashMode::Kill, 0);
            assert!(hurt.tamper(FRONTIER_PATH, |bytes| bytes[block * BLOCK_BYTES + 9] ^= 1));
            let look = FrontierLook::read(&hurt).unwrap();
            assert!(look.facts == Some(FACTS) && look.faults.len() == 1, "{look:?}");
            assert!(look.faults[0].starts_with(what) && look.faults[0].ends_with("is damaged"), "{look:?}");
        }
        // One of an earlier release, without block 4.
        disk.open(FRONTIER_PATH).unwrap().set_len(4 * BLOCK_BYTES as u64).unwrap();
        assert_eq!(FrontierLook::read(&disk).unwrap(), sound);
        disk.set_faults(vec![Fault { call: disk.calls(), action: FaultAction::Io }]);
        assert!(FrontierLook::read(&disk).is_err(), "it is there, and cannot be opened");
    }

    #[test]
    fn no_lost_block_takes_the_truth_along() {
        let disk = disk();
        let frontier = Frontier::begin(&disk, FACTS).unwrap();
        frontier.raise_limit(4_000).unwrap();
        frontier.note_flushed(800).unwrap();
        frontier.persist().unwrap();
        let len = disk.content(FRONTIER_PATH).unwrap().len();
        let truth = FrontierFacts { flushed: 800, limit: 4_096, ..FACTS };
        for at in (0..len).filter(|at| at % BLOCK_BYTES < 40) {
            let hurt = disk.crash(CrashMode::Kill, 0);
            hurt.tamper(FRONTIER_PATH, |bytes| bytes[at] ^= 0x10);
            assert_eq!(Frontier::read(&hurt).unwrap(), Some(truth), "byte {at}");
        }
        for block in (0..len).step_by(BLOCK_BYTES) {
            let hurt = disk.crash(CrashMode::Kill, 0);
            hurt.tamper(FRONTIER_PATH, |bytes| bytes[block..block + BLOCK_BYTES].fill(0xda));
            assert_eq!(Frontier::read(&hurt).unwrap(), Some(truth), "block at {block}");
        }
        for cut in [0, 7, 20, 4096, 5000, 9000] {
            let hurt = disk.crash(CrashMode::Kill, 0);
            hurt.tamper(FRONTIER_PATH, |bytes| bytes.truncate(cut));
            assert!(Frontier::read(&hurt).unwrap().is_none_or(|f| f.flushed <= 800), "cut at {cut}");
        }
    }

    /// A slot that rots after a power cut takes back no more than its own word: slots are written in turn.
    #[test]
    fn the_slot_before_the_last_is_still_there() {
        let disk = disk();
        let frontier = Frontier::begin(&disk, FACTS).unwrap();
        for step in 1..6 {
            frontier.raise_limit(4_096 * step).unwrap();
            for block in [2, 3] {
                let hurt = disk.crash(CrashMode::Lost, 0);
                hurt.tamper(FRONTIER_PATH, |bytes| bytes[block * BLOCK_BYTES..][..32].fill(0xda));
                let limit = Frontier::read(&hurt).unwrap().unwrap().limit;
                assert!(limit >= 4_096 * (step - 1), "step {step}, block {block}: {limit}");
            }
        }
    }

    #[test]
    fn what_is_durable_already_is_not_written_again() {
        let disk = disk();
        let frontier = Frontier::begin(&disk, FACTS).unwrap();
        frontier.note_flushed(200).unwrap();
        frontier.persist().unwrap();
        let before = disk.calls();
        frontier.persist().unwrap();
        frontier.raise_limit(4_096).unwrap();
        let raised = disk.calls();
        frontier.raise_limit(4_096).unwrap();
        assert_eq!((raised - before, disk.calls() - raised), (2, 0), "a write and a sync");
    }

    /// A frontier that is there and cannot be opened is not taken for none.
    #[test]
    fn a_frontier_that_cannot_be_opened_is_an_error() {
        let disk = disk();
        Frontier::begin(&disk, FACTS).unwrap();
        disk.restart_count();
        disk.set_faults(vec![Fault { call: 0, action: FaultAction::Io }]);
        assert!(Frontier::read(&disk).is_err());
    }

    /// It kept the directory from being opened.
    #[test]
    fn an_unreadable_block_costs_no_more_than_its_own_word() {
        let disk = disk();
        Frontier::begin(&disk, FACTS).unwrap();
        for block in 0..5 {
            let hurt = disk.crash(CrashMode::Kill, 0);
            hurt.bad_sectors(FRONTIER_PATH, block * BLOCK_BYTES..(block + 1) * BLOCK_BYTES);
            assert_eq!(Frontier::read(&hurt).unwrap(), Some(FACTS), "block {block}");
            let look = FrontierLook::read(&hurt).unwrap();
            assert_eq!((look.facts, look.faults.len()), (Some(FACTS), 1), "block {block}");
            assert!(look.faults[0].contains("cannot be read"), "{:?}", look.faults);
        }
        // Nothing of it can be read: that is not none.
        disk.bad_sectors(FRONTIER_PATH, 0..5 * BLOCK_BYTES);
        assert!(Frontier::read(&disk).is_err());
        let look = FrontierLook::read(&disk).unwrap();
        assert_eq!((look.is_there, look.facts, look.faults.len()), (true, None, 5));
    }

    /// As it was written before there was a second copy of the first block.
    #[test]
    fn a_file_of_four_blocks_is_understood() {
        let disk = disk();
        Frontier::begin(&disk, FACTS).unwrap();
        disk.tamper(FRONTIER_PATH, |bytes| bytes.truncate(4 * BLOCK_BYTES));
        assert_eq!(Frontier::read(&disk).unwrap(), Some(FACTS));
        disk.tamper(FRONTIER_PATH, |bytes| bytes[20] ^= 1);
        assert_eq!(Frontier::read(&disk).unwrap(), None);
    }

    #[test]
    fn a_newer_format_is_refused_by_name() {
        let disk = disk();
        Frontier::begin(&disk, FACTS).unwrap();
        disk.tamper(FRONTIER_PATH, |bytes| {
            bytes[11] = 9;
            let crc = crc32fast::hash(&bytes[..FACTS_BYTES]);
            bytes[FACTS_BYTES..FACTS_BYTES + 4].copy_from_slice(&crc.to_be_bytes());
        });
        let refused = Frontier::read(&disk).unwrap_err().to_string();
        assert_eq!(refused, "format version 9; this program knows 1");
    }

    #[test]
    fn a_crash_while_a_slot_is_written_leaves_the_other() {
        let disk = disk();
        let frontier = Frontier::begin(&disk, FACTS).unwrap();
        disk.record();
        for step in 1..20 {
            frontier.note_flushed(100 + step).unwrap();
            frontier.raise_limit(4_096 * step).unwrap();
        }
        for (i, moment) in disk.take_history().iter().enumerate() {
            for seed in 0..8 {
                let facts = Frontier::read(&moment.crash(CrashMode::Torn { sector: 8 }, seed)).unwrap();
                let facts = facts.expect("one slot is always whole");
                // Three calls a step: slot 0, slot 1 or 2, sync.
                assert!(facts.limit >= 4_096 * ((i as u64 + 1) / 3), "{i} {facts:?}");
            }
        }
    }

    /// Made by another program from `docs/formats/frontier.md`.
    #[test]
    fn bytes_are_pinned() {
        let bytes = encode(FACTS);
        let hex = |at: usize| bytes[at..at + 32].iter().map(|b| format!("{b:02x}")).collect::<String>();
        assert_eq!(bytes.len(), 5 * BLOCK_BYTES);
        assert_eq!(hex(0), hex(16384));
        assert_eq!(hex(0), "4b45524c5846524f0000000100000000000000070000000000100000310f84a9");
        assert_eq!(hex(4096), "000000000000000000000000000000000000006400000000000001f42234a005");
        assert_eq!(hex(12288), "000000000000000100000000000000000000006400000000000001f4bdee239b");
        let closed = Slot { seq: 2, clean: true, flushed: 100, limit: 500 }.encode();
        let closed: String = closed.iter().map(|b| format!("{b:02x}")).collect();
        assert_eq!(closed, "000000000000000200000001000000000000006400000000000001f441566a3b");
    }
}
