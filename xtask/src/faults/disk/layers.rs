//! Files and folders in memory, each in two layers: what a reader sees, and what a power cut leaves.
//!
//! A file's content becomes durable when the file is synced, a name when its folder is. In between a power cut may take all of
//! it, or keep any part: blocks, sectors of them, the first of the changed names.

use crate::ledger::body::Random;
use std::collections::{BTreeMap, BTreeSet};

pub(super) const BLOCK_BYTES: usize = 4096;
const SECTOR_BYTES: usize = 512;
pub(super) const ROOT: u64 = 1;
/// One in so many rewrites of a block that is not synced finds that the disk has written the earlier version meanwhile.
const WRITE_BACK: u64 = 16;

type Block = Box<[u8; BLOCK_BYTES]>;

/// Numbers of Linux's errors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(i32)]
pub(crate) enum Errno {
    NotFound = 2,
    Io = 5,
    Exists = 17,
    NotDir = 20,
    IsDir = 21,
    NoSpace = 28,
    NotEmpty = 39,
}

/// What a power cut leaves of what was not synced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cut {
    /// Nothing.
    Lost,
    /// Any blocks of 4 KiB, and the first of the changed names.
    Blocks,
    /// Any sectors of 512 bytes, and the first of the changed names.
    Sectors,
}

impl Cut {
    pub(crate) fn any(random: &mut Random) -> Self {
        match random.next() % 3 {
            0 => Self::Lost,
            1 => Self::Blocks,
            _ => Self::Sectors,
        }
    }
}

#[derive(Default)]
pub(super) struct File {
    pub(super) size: u64,
    /// Without those that are all zeros and were never written.
    blocks: BTreeMap<u64, Block>,
    /// There is room for so many bytes.
    reserved: u64,
    synced_size: u64,
    /// Of each block that was written since the last sync: what is durable; `None`: zeros.
    synced: BTreeMap<u64, Option<Block>>,
    /// The same of blocks whose sync failed: read as written, not on the disk, and no sync brings them there.
    failed: BTreeMap<u64, Option<Block>>,
}

#[derive(Default)]
pub(super) struct Folder {
    pub(super) names: BTreeMap<String, u64>,
    synced: BTreeMap<String, u64>,
}

pub(super) enum Node {
    File(File),
    Folder(Folder),
}

/// A change of names that happens as a whole: in a folder a name is given to a node, or to none.
type Change = Vec<(u64, String, Option<u64>)>;

pub(super) struct Layers {
    nodes: BTreeMap<u64, Node>,
    next: u64,
    /// Changes of names that are not durable, in their order.
    changes: Vec<Change>,
    random: Random,
    /// A sync of a file makes all names durable, as a file system with one journal does.
    pub(super) journal: bool,
    /// Syncs are answered and forgotten.
    pub(super) lying: bool,
}

impl Layers {
    pub(super) fn new(seed: u64) -> Self {
        let nodes = BTreeMap::from([(ROOT, Node::Folder(Folder::default()))]);
        let random = Random::new(seed);
        Self { nodes, next: ROOT + 1, changes: Vec::new(), random, journal: false, lying: false }
    }

    pub(super) fn node(&self, ino: u64) -> Result<&Node, Errno> {
        self.nodes.get(&ino).ok_or(Errno::NotFound)
    }

    pub(super) fn folder(&self, ino: u64) -> Result<&Folder, Errno> {
        match self.node(ino)? {
            Node::Folder(folder) => Ok(folder),
            Node::File(_) => Err(Errno::NotDir),
        }
    }

    pub(super) fn file(&mut self, ino: u64) -> Result<&mut File, Errno> {
        match self.nodes.get_mut(&ino).ok_or(Errno::NotFound)? {
            Node::File(file) => Ok(file),
            Node::Folder(_) => Err(Errno::IsDir),
        }
    }

    pub(super) fn lookup(&self, parent: u64, name: &str) -> Result<u64, Errno> {
        self.folder(parent)?.names.get(name).copied().ok_or(Errno::NotFound)
    }

    fn change(&mut self, change: Change) {
        for (folder, name, to) in &change {
            if let Some(Node::Folder(folder)) = self.nodes.get_mut(folder) {
                point(&mut folder.names, name, *to);
            }
        }
        self.changes.push(change);
    }

    pub(super) fn create(&mut self, parent: u64, name: &str, node: Node) -> Result<u64, Errno> {
        if self.folder(parent)?.names.contains_key(name) {
            return Err(Errno::Exists);
        }
        let ino = self.next;
        self.next += 1;
        self.nodes.insert(ino, node);
        self.change(vec![(parent, name.to_owned(), Some(ino))]);
        Ok(ino)
    }

    pub(super) fn remove(&mut self, parent: u64, name: &str) -> Result<(), Errno> {
        let ino = self.lookup(parent, name)?;
        if self.folder(ino).is_ok_and(|folder| !folder.names.is_empty()) {
            return Err(Errno::NotEmpty);
        }
        self.change(vec![(parent, name.to_owned(), None)]);
        Ok(())
    }

    pub(super) fn rename(&mut self, from: (u64, &str), to: (u64, &str)) -> Result<(), Errno> {
        let ino = self.lookup(from.0, from.1)?;
        self.folder(to.0)?;
        self.change(vec![(from.0, from.1.to_owned(), None), (to.0, to.1.to_owned(), Some(ino))]);
        Ok(())
    }

    pub(super) fn write(&mut self, ino: u64, offset: u64, data: &[u8]) -> Result<(), Errno> {
        let write_back = self.random.next().is_multiple_of(WRITE_BACK);
        self.file(ino)?.write(offset, data, write_back);
        Ok(())
    }

    /// Content and length of a file.
    pub(super) fn sync(&mut self, ino: u64) -> Result<(), Errno> {
        let (lying, journal) = (self.lying, self.journal);
        let file = self.file(ino)?;
        if !lying {
            file.synced.clear();
            file.synced_size = file.size;
        }
        if journal && !lying {
            self.keep_changes(|_| true);
        }
        Ok(())
    }

    /// Everything there is becomes durable.
    pub(super) fn sync_all(&mut self) {
        self.keep_changes(|_| true);
        let files: Vec<u64> = self.nodes.keys().copied().collect();
        for ino in files {
            // Folders have no content.
            let _ = self.sync(ino);
        }
    }

    /// A sync that fails.
    pub(super) fn fail_sync(&mut self, ino: u64) {
        if let Ok(file) = self.file(ino) {
            for (block, old) in std::mem::take(&mut file.synced) {
                file.failed.entry(block).or_insert(old);
            }
        }
    }

    /// The names of a folder.
    pub(super) fn sync_folder(&mut self, ino: u64) -> Result<(), Errno> {
        self.folder(ino)?;
        if !self.lying {
            self.keep_changes(|change| change.iter().any(|(folder, ..)| *folder == ino));
        }
        Ok(())
    }

    /// Makes changes of names durable, in their order.
    fn keep_changes(&mut self, which: impl Fn(&Change) -> bool) {
        let (kept, open) = std::mem::take(&mut self.changes).into_iter().partition(|change| which(change));
        self.changes = open;
        let kept: Vec<Change> = kept;
        for (folder, name, to) in kept.into_iter().flatten() {
            if let Some(Node::Folder(folder)) = self.nodes.get_mut(&folder) {
                point(&mut folder.synced, &name, to);
            }
        }
    }

    /// Leaves what is durable and what the cut keeps of the rest.
    pub(super) fn power_off(&mut self, cut: Cut) {
        let mut left =
            if cut == Cut::Lost { 0 } else { self.random.next() % (self.changes.len() as u64 + 1) };
        let changes = std::mem::take(&mut self.changes);
        for change in changes {
            if left == 0 {
                break;
            }
            left -= 1;
            self.changes.push(change);
        }
        self.keep_changes(|_| true);
        for node in self.nodes.values_mut() {
            match node {
                Node::File(file) => file.power_off(cut, &mut self.random),
                Node::Folder(folder) => folder.names.clone_from(&folder.synced),
            }
        }
        let mut reached = BTreeSet::new();
        self.reach(ROOT, &mut reached);
        self.nodes.retain(|ino, _| reached.contains(ino));
    }

    fn reach(&self, ino: u64, reached: &mut BTreeSet<u64>) {
        if let (true, Some(Node::Folder(folder))) = (reached.insert(ino), self.nodes.get(&ino)) {
            folder.names.values().for_each(|ino| self.reach(*ino, reached));
        }
    }
}

fn point(names: &mut BTreeMap<String, u64>, name: &str, to: Option<u64>) {
    match to {
        Some(ino) => names.insert(name.to_owned(), ino),
        None => names.remove(name),
    };
}

impl File {
    /// What there is of `len` bytes at `offset`.
    pub(super) fn read(&self, offset: u64, len: usize) -> Vec<u8> {
        let len = (self.size.saturating_sub(offset)).min(len as u64) as usize;
        let mut out = vec![0; len];
        each_block(offset, len, |block, within, range| {
            let from = self.blocks.get(&block).and_then(|bytes| bytes.get(within));
            if let (Some(from), Some(to)) = (from, out.get_mut(range)) {
                to.copy_from_slice(from);
            }
        });
        out
    }

    fn write(&mut self, offset: u64, data: &[u8], write_back: bool) {
        each_block(offset, data.len(), |block, within, range| {
            self.note(block, write_back);
            let bytes = self.blocks.entry(block).or_insert_with(|| Box::new([0; BLOCK_BYTES]));
            if let (Some(to), Some(from)) = (bytes.get_mut(within), data.get(range)) {
                to.copy_from_slice(from);
            }
        });
        self.size = self.size.max(offset + data.len() as u64);
    }

    /// A block is about to change: what is durable of it is kept apart.
    fn note(&mut self, block: u64, write_back: bool) {
        if let Some(old) = self.failed.remove(&block) {
            self.synced.insert(block, old);
        } else if write_back || !self.synced.contains_key(&block) {
            self.synced.insert(block, self.blocks.get(&block).cloned());
        }
    }

    pub(super) fn set_len(&mut self, len: u64) {
        let bytes = BLOCK_BYTES as u64;
        for block in self.blocks.range(len.div_ceil(bytes)..).map(|(block, _)| *block).collect::<Vec<_>>() {
            self.note(block, false);
            self.blocks.remove(&block);
        }
        let within = (len % bytes) as usize;
        if self.blocks.contains_key(&(len / bytes)) && len < self.size {
            self.note(len / bytes, false);
            if let Some(rest) = self.blocks.get_mut(&(len / bytes)).and_then(|b| b.get_mut(within..)) {
                rest.fill(0);
            }
        }
        self.size = len;
    }

    pub(super) fn reserve(&mut self, end: u64) {
        self.reserved = self.reserved.max(end);
    }

    /// Whether there is room for a write without asking for more.
    pub(super) fn has_room(&self, offset: u64, len: usize) -> bool {
        let mut all = true;
        if offset + len as u64 <= self.reserved {
            return true;
        }
        each_block(offset, len, |block, _, _| all &= self.blocks.contains_key(&block));
        all
    }

    fn power_off(&mut self, cut: Cut, random: &mut Random) {
        for (block, old) in std::mem::take(&mut self.synced) {
            let new = self.blocks.remove(&block);
            let kept = match cut {
                Cut::Lost => old,
                Cut::Blocks => {
                    if random.next().is_multiple_of(2) {
                        new
                    } else {
                        old
                    }
                }
                Cut::Sectors => Some(mixed(old, new, random)),
            };
            kept.map(|kept| self.blocks.insert(block, kept));
        }
        for (block, old) in std::mem::take(&mut self.failed) {
            self.blocks.remove(&block);
            old.map(|old| self.blocks.insert(block, old));
        }
        if cut == Cut::Lost || random.next().is_multiple_of(2) {
            let synced = self.synced_size;
            self.set_len(synced);
        }
        self.synced.clear();
        self.synced_size = self.size;
    }
}

/// Each sector from one or the other.
fn mixed(old: Option<Block>, new: Option<Block>, random: &mut Random) -> Block {
    let zeros = || Box::new([0; BLOCK_BYTES]);
    let (mut old, new) = (old.unwrap_or_else(zeros), new.unwrap_or_else(zeros));
    for (old, new) in old.chunks_mut(SECTOR_BYTES).zip(new.chunks(SECTOR_BYTES)) {
        if random.next().is_multiple_of(2) {
            old.copy_from_slice(new);
        }
    }
    old
}

/// Calls for each block of a range: its number, the part within it, the part of the range.
fn each_block(
    offset: u64,
    len: usize,
    mut then: impl FnMut(u64, std::ops::Range<usize>, std::ops::Range<usize>),
) {
    let mut done = 0;
    while done < len {
        let at = offset + done as u64;
        let within = (at % BLOCK_BYTES as u64) as usize;
        let part = (BLOCK_BYTES - within).min(len - done);
        then(at / BLOCK_BYTES as u64, within..within + part, done..done + part);
        done += part;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_file() -> (Layers, u64) {
        let mut layers = Layers::new(1);
        let ino = layers.create(ROOT, "f", Node::File(File::default())).unwrap();
        layers.sync_folder(ROOT).unwrap();
        (layers, ino)
    }

    fn content(layers: &mut Layers, ino: u64) -> Vec<u8> {
        layers.file(ino).unwrap().read(0, 100_000)
    }

    #[test]
    fn what_was_not_synced_is_lost_and_what_was_is_not() {
        let (mut layers, ino) = with_file();
        layers.write(ino, 0, &[1; 5000]).unwrap();
        layers.sync(ino).unwrap();
        layers.write(ino, 4000, &[2; 3000]).unwrap();
        assert_eq!(content(&mut layers, ino).len(), 7000);
        layers.power_off(Cut::Lost);
        assert_eq!(content(&mut layers, ino), [1; 5000]);
    }

    #[test]
    fn of_what_was_not_synced_any_part_is_kept() {
        for (cut, part) in [(Cut::Blocks, BLOCK_BYTES), (Cut::Sectors, SECTOR_BYTES)] {
            let (mut layers, ino) = with_file();
            let len = 64 * BLOCK_BYTES;
            layers.write(ino, 0, &vec![1; len]).unwrap();
            layers.sync(ino).unwrap();
            layers.write(ino, 0, &vec![2; len]).unwrap();
            layers.power_off(cut);
            let left = layers.file(ino).unwrap().read(0, len);
            assert!(left.contains(&1) && left.contains(&2), "{cut:?}");
            assert!(left.chunks(part).all(|part| part.windows(2).all(|two| two[0] == two[1])), "{cut:?}");
        }
    }

    #[test]
    fn names_are_durable_with_their_folder() {
        let (mut layers, ino) = with_file();
        layers.rename((ROOT, "f"), (ROOT, "g")).unwrap();
        layers.create(ROOT, "new", Node::File(File::default())).unwrap();
        layers.power_off(Cut::Lost);
        assert_eq!(layers.lookup(ROOT, "f"), Ok(ino));
        assert_eq!(layers.lookup(ROOT, "new"), Err(Errno::NotFound));
        layers.rename((ROOT, "f"), (ROOT, "g")).unwrap();
        layers.sync_folder(ROOT).unwrap();
        layers.remove(ROOT, "g").unwrap();
        layers.power_off(Cut::Lost);
        assert_eq!(layers.lookup(ROOT, "g"), Ok(ino));
    }

    #[test]
    fn what_a_failed_sync_lost_no_later_sync_brings_back() {
        let (mut layers, ino) = with_file();
        layers.write(ino, 0, &[1; 10]).unwrap();
        layers.sync(ino).unwrap();
        layers.write(ino, 0, &[2; 10]).unwrap();
        layers.fail_sync(ino);
        layers.sync(ino).unwrap();
        assert_eq!(content(&mut layers, ino), [2; 10]);
        layers.power_off(Cut::Blocks);
        assert_eq!(content(&mut layers, ino), [1; 10]);
    }

    #[test]
    fn with_a_journal_a_file_brings_its_name_along() {
        let mut layers = Layers::new(1);
        layers.journal = true;
        let ino = layers.create(ROOT, "f", Node::File(File::default())).unwrap();
        layers.sync(ino).unwrap();
        layers.power_off(Cut::Lost);
        assert_eq!(layers.lookup(ROOT, "f"), Ok(ino));
    }

    #[test]
    fn a_file_that_is_cut_short_reads_zeros_when_it_grows_again() {
        let (mut layers, ino) = with_file();
        layers.write(ino, 0, &[7; 6000]).unwrap();
        layers.sync(ino).unwrap();
        layers.file(ino).unwrap().set_len(100);
        layers.file(ino).unwrap().set_len(6000);
        let bytes = content(&mut layers, ino);
        assert!(bytes[..100].iter().all(|b| *b == 7) && bytes[100..].iter().all(|b| *b == 0));
        layers.power_off(Cut::Lost);
        assert_eq!(content(&mut layers, ino), [7; 6000]);
    }
}
