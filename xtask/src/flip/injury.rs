//! One injury of a data directory at rest: a bit, a sector or a block that is not what it was.

use crate::ledger::body::Random;
use anyhow::{Context, Result};
use std::ops::Range;
use std::path::{Path, PathBuf};

/// The ways to rot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Flip,
    /// So many bytes, at a multiple of that, are zero.
    Zeroed(usize),
    /// A block of the same part of the store was also written here.
    Misdirected(usize),
}

/// Half of all are flips.
const WAYS: [Way; 4] = [Way::Flip, Way::Zeroed(512), Way::Flip, Way::Misdirected(4096)];

#[derive(Debug, Clone)]
pub(super) struct Injury {
    /// Which part of the store.
    pub(super) part: &'static str,
    way: &'static str,
    /// Relative to the data directory.
    pub(super) file: PathBuf,
    at: usize,
    new: Vec<u8>,
    /// From the first changed byte to the last.
    pub(super) changed: Range<u64>,
}

impl Injury {
    /// An injury of one of those files; `None` if what came up changes nothing.
    pub(super) fn pick(
        part: &'static str,
        data: &Path,
        files: &[PathBuf],
        random: &mut Random,
    ) -> Result<Option<Self>> {
        let Some((file, bytes, end)) = used(data, files, random)? else { return Ok(None) };
        let way = *WAYS.get(random.next() as usize % WAYS.len()).context("there are ways")?;
        let place = random.next() as usize % end;
        let (at, new, way) = match way {
            Way::Flip => {
                let flipped = bytes.get(place).copied().unwrap_or(0) ^ (1 << (random.next() % 8));
                (place, vec![flipped], "bit flipped")
            }
            Way::Zeroed(len) => (place - place % len, vec![0; len], "512 B zeroed"),
            Way::Misdirected(len) => {
                let Some((_, from, of_from)) = used(data, files, random)? else { return Ok(None) };
                let source = random.next() as usize % of_from;
                let block = from.get(source - source % len..).unwrap_or_default();
                (place - place % len, block.iter().take(len).copied().collect(), "4 KiB misdirected")
            }
        };
        let old = bytes.get(at..).unwrap_or_default();
        let new: Vec<u8> = new.into_iter().take(old.len()).collect();
        let unlike: Vec<usize> = (0..new.len()).filter(|i| new.get(*i) != old.get(*i)).collect();
        let (Some(first), Some(last)) = (unlike.first(), unlike.last()) else { return Ok(None) };
        let changed = (at + first) as u64..(at + last + 1) as u64;
        Ok(Some(Self { part, way, file, at, new, changed }))
    }

    pub(super) fn apply(&self, data: &Path) -> Result<()> {
        let path = data.join(&self.file);
        let mut bytes = std::fs::read(&path)?;
        let place = bytes.get_mut(self.at..self.at + self.new.len()).context("the file became shorter")?;
        place.copy_from_slice(&self.new);
        Ok(std::fs::write(&path, bytes)?)
    }

    pub(super) fn text(&self) -> String {
        format!("{} of {} at {}", self.way, self.file.display(), self.changed.start)
    }
}

type Used = (PathBuf, Vec<u8>, usize);

/// One of the files, its bytes, and how many of them lie before what was never written.
fn used(data: &Path, files: &[PathBuf], random: &mut Random) -> Result<Option<Used>> {
    let mut all = Vec::new();
    for file in files {
        let bytes = std::fs::read(data.join(file))?;
        let used = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
        if used > 0 {
            all.push((file.clone(), bytes, used));
        }
    }
    if all.is_empty() {
        return Ok(None);
    }
    let chosen = random.next() as usize % all.len();
    Ok(Some(all.swap_remove(chosen)))
}

/// All files below a folder of a data directory, or the file itself.
pub(super) fn files(data: &Path, below: &str) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut folders = vec![PathBuf::from(below)];
    while let Some(path) = folders.pop() {
        let full = data.join(&path);
        if full.is_file() {
            found.push(path);
        } else if full.is_dir() {
            for entry in std::fs::read_dir(full)? {
                folders.push(path.join(entry?.file_name()));
            }
        }
    }
    found.sort();
    Ok(found)
}
