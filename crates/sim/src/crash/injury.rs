//! What rots: a bit, a sector or a block of a store at rest, changed behind its back; and the same with checksums made to
//! fit, as if nobody looked at them.

use super::model::{Model, What};
use crate::random::Random;
use kerolox_store::disk::HostileDisk;
use std::ops::Range;

/// The ways to rot. `Zeroed` and `Misdirected`: so many bytes, at a multiple of that.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Flip,
    Zeroed(usize),
    /// A block was also written where another one, of the same or another file, belongs.
    Misdirected(usize),
    /// The same, and its own place still has what it had before: zeros. Both places are in the log.
    Lost(usize),
}

/// Half of all are flips.
pub const KINDS: [Kind; 8] = [
    Kind::Flip,
    Kind::Zeroed(512),
    Kind::Misdirected(512),
    Kind::Lost(512),
    Kind::Flip,
    Kind::Zeroed(4096),
    Kind::Misdirected(4096),
    Kind::Lost(4096),
];

impl Kind {
    pub fn name(self) -> &'static str {
        match self {
            Self::Flip => "flipped bit",
            Self::Zeroed(512) => "zeroed 512 B",
            Self::Zeroed(_) => "zeroed 4 KiB",
            Self::Misdirected(512) => "misdirected 512 B",
            Self::Misdirected(_) => "misdirected 4 KiB",
            Self::Lost(512) => "misdirected 512 B, own place stale",
            Self::Lost(_) => "misdirected 4 KiB, own place stale",
        }
    }

    fn bytes(self) -> usize {
        match self {
            Self::Flip => 1,
            Self::Zeroed(bytes) | Self::Misdirected(bytes) | Self::Lost(bytes) => bytes,
        }
    }
}

/// What was hurt of a disk: files and the bytes of them that are not what they were.
#[derive(Debug, Default)]
pub struct Injury {
    pub hurt: Vec<(String, Vec<Range<usize>>)>,
}

impl Injury {
    /// The part of the store that was hurt; the last one, of several.
    pub fn place(&self) -> &'static str {
        let path = self.hurt.last().map_or("", |(path, _)| path.as_str());
        match path {
            "kerolox/snapshot" => "snapshot",
            "kerolox/frontier" => "frontier",
            path if path.starts_with("kerolox/runs/") => "index run",
            _ => "log",
        }
    }

    /// What was hurt, in a few words.
    pub fn text(&self) -> String {
        let text = |(path, ranges): &(String, Vec<Range<usize>>)| {
            let (first, last) = (ranges.first().map_or(0, |r| r.start), ranges.last().map_or(0, |r| r.end));
            format!("{path} {first}..{last}")
        };
        self.hurt.iter().map(text).collect::<Vec<_>>().join(", ")
    }

    /// Ranges of the log that were hurt, as positions.
    pub fn of_log(&self) -> impl Iterator<Item = Range<u64>> {
        let base = |path: &str| path.strip_prefix("commitlog/").and_then(|name| name.parse::<u64>().ok());
        let based = self.hurt.iter().filter_map(move |(path, ranges)| Some((base(path)?, ranges)));
        based
            .flat_map(|(base, ranges)| ranges.iter().map(move |r| base + r.start as u64..base + r.end as u64))
    }

    fn change(&mut self, disk: &HostileDisk, path: &str, at: usize, new: &[u8]) {
        let mut changed = Vec::new();
        disk.tamper(path, |bytes| {
            let old = bytes.get_mut(at..).unwrap_or_default();
            for (i, (byte, new)) in old.iter_mut().zip(new).enumerate().filter(|(_, (old, new))| *old != *new)
            {
                *byte = *new;
                match changed.last_mut() {
                    Some(Range { end, .. }) if *end == at + i => *end += 1,
                    _ => changed.push(at + i..at + i + 1),
                }
            }
        });
        if !changed.is_empty() {
            self.hurt.push((path.to_owned(), changed));
        }
    }
}

/// Hurts a disk, whose log ends at `end`, in one place. `None`: what came up would change nothing.
pub fn hurt(disk: &HostileDisk, model: &Model, end: u64, kind: Kind, random: &mut Random) -> Option<Injury> {
    let mut injury = Injury::default();
    let in_log = matches!(kind, Kind::Lost(_));
    let (path, at) = place(disk, model, end, kind.bytes(), in_log, random)?;
    match kind {
        Kind::Flip => {
            let byte = disk.content(&path)?.get(at).copied()?;
            injury.change(disk, &path, at, &[byte ^ 1 << random.below(8)]);
        }
        Kind::Zeroed(bytes) => injury.change(disk, &path, at, &vec![0; bytes]),
        Kind::Misdirected(bytes) | Kind::Lost(bytes) => {
            let (from, from_at) = place(disk, model, end, bytes, in_log, random)?;
            let content = disk.content(&from)?;
            let block = content.get(from_at..)?.iter().take(bytes).copied().collect::<Vec<_>>();
            // Nothing but blocks that were ever written goes astray.
            if (&from, from_at) == (&path, at) || block.iter().all(|b| *b == 0) {
                return None;
            }
            if in_log {
                injury.change(disk, &from, from_at, &vec![0; bytes]);
            }
            injury.change(disk, &path, at, &block);
        }
    }
    (!injury.hurt.is_empty()).then_some(injury)
}

/// A file and a place in it: of the log, half of the time.
fn place(
    disk: &HostileDisk,
    model: &Model,
    end: u64,
    bytes: usize,
    in_log: bool,
    random: &mut Random,
) -> Option<(String, usize)> {
    let paths = disk.paths();
    let logs: Vec<&String> = paths.iter().filter(|p| p.starts_with("commitlog/")).collect();
    let position = match random.below(10) {
        0 => random.below(end + end / 8 + 1),
        // State records are few among messages.
        1 | 2 => {
            let of_state = model.records.iter().filter(|r| !matches!(r.what, What::Message { .. }));
            let chosen = of_state.clone().nth(random.below(of_state.count().max(1) as u64) as usize)?;
            chosen.position + random.below(chosen.end - chosen.position)
        }
        3..=5 => random.below(end.max(1)),
        _ if in_log => random.below(end.max(1)),
        6 => return in_file(disk, "kerolox/snapshot", bytes, random),
        7 => return in_file(disk, "kerolox/frontier", bytes, random),
        _ => {
            let runs: Vec<&String> = paths.iter().filter(|p| p.starts_with("kerolox/runs/")).collect();
            let run = runs.get(random.below(runs.len().max(1) as u64) as usize)?;
            return in_file(disk, run, bytes, random);
        }
    };
    let base = |path: &str| path.trim_start_matches("commitlog/").parse::<u64>().unwrap_or(u64::MAX);
    let path = logs.into_iter().rev().find(|path| base(path) <= position)?;
    let at = (position - base(path)) as usize;
    let len = disk.content(path)?.len();
    (at < len).then(|| (path.clone(), at - at % bytes))
}

fn in_file(disk: &HostileDisk, path: &str, bytes: usize, random: &mut Random) -> Option<(String, usize)> {
    let len = disk.content(path)?.len() as u64;
    let at = random.below(len.max(1));
    // Most of a frontier's blocks is not used.
    let at =
        if path == "kerolox/frontier" && random.one_in(2) { at - at % 4096 + at % 40 } else { at } as usize;
    Some((path.to_owned(), at - at % bytes))
}
