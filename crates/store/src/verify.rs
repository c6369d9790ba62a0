//! Looking over a data directory without touching it: `kerolox store verify`.

use crate::disk::Disk;
use crate::index::{RUN_DIR, RunFile, run_name};
use crate::log::{Found, Frontier, LOG_DIR, Scanner, Segment, segment_name, segment_path};
use crate::{Damage, OpenError, Position, Progress};
use std::sync::Arc;

/// What [`verify`] looked at and found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Verified {
    pub segments: u64,
    pub records: u64,
    /// Bytes of records.
    pub bytes: u64,
    /// Where the log was durable when the look began; `None`: the directory has no frontier, everything was looked at.
    pub flushed: Option<Position>,
    pub damaged: Vec<Damage>,
    pub runs: u64,
    /// Index runs that are damaged (no harm: they are rebuilt), and how.
    pub damaged_runs: Vec<(String, String)>,
}

/// Reads every record below the frontier and every index run, and checks them; tells progress after each segment. A broker may have the directory open
/// meanwhile; what retention takes away under this reader's hands then shows as missing.
///
/// # Errors
/// The directory is of a newer format, or cannot be read at all.
pub fn verify<D: Disk>(disk: &D, progress: &mut dyn FnMut(Progress)) -> Result<Verified, OpenError> {
    let facts = Frontier::read(disk).map_err(OpenError::frontier)?;
    let mut files: Vec<Position> = disk
        .list(LOG_DIR)
        .map_err(OpenError::io("listing the log"))?
        .iter()
        .filter_map(|(name, _)| segment_name(name))
        .collect();
    files.sort_unstable();
    let flushed = facts.map(|f| f.flushed);
    let crc_from = facts.map_or(Position::MAX, |f| f.crc_from);
    let mut found = Verified { flushed, ..Verified::default() };
    let begin = files.first().copied().unwrap_or(0);
    let total = flushed.or(files.last().copied()).unwrap_or(0).saturating_sub(begin);
    let mut at = begin;
    for base in files {
        if flushed.is_some_and(|flushed| base >= flushed) {
            break;
        }
        if base > at {
            let why = "the segment's file is missing".to_owned();
            found.damaged.push(Damage { position: at, bytes: base - at, record: None, why });
        }
        let path = segment_path(base);
        let file = match disk.open(&path) {
            // Retention of a running broker took it away meanwhile.
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
                at = base + facts.map_or(0, |f| f.segment_bytes);
                continue;
            }
            file => file.map_err(OpenError::io(format!("opening {path}")))?,
        };
        let len = crate::disk::DiskFile::len(&file).map_err(OpenError::io(format!("measuring {path}")))?;
        let end = base + facts.map_or(len, |f| f.segment_bytes);
        let segment = Arc::new(Segment { base, end, recycled: false, file });
        walk(&segment, crc_from, flushed, &mut found).map_err(OpenError::io(format!("reading {path}")))?;
        found.segments += 1;
        at = end;
        progress(Progress { step: "verifying", done: at - begin, total });
    }
    runs(disk, &mut found)?;
    Ok(found)
}

fn walk<F: crate::disk::DiskFile>(
    segment: &Segment<F>,
    crc_from: Position,
    flushed: Option<Position>,
    found: &mut Verified,
) -> std::io::Result<()> {
    let upto = flushed.unwrap_or(Position::MAX).min(segment.end);
    let mut scanner = Scanner::new(segment, crc_from, Some(upto));
    let mut at = segment.base;
    while at < upto {
        let why = match scanner.at(at)? {
            Found::Record(view) => {
                found.records += 1;
                found.bytes += view.len() as u64;
                at += view.len() as u64;
                continue;
            }
            Found::Blank => return Ok(()),
            Found::Bad(why) => why.to_string(),
        };
        let next = scanner.search(at, upto, |f| !matches!(f, Found::Bad(_)))?;
        // Without a frontier nobody can tell the log's end from damage.
        if next.is_none() && flushed.is_none() {
            return Ok(());
        }
        let next = next.unwrap_or(upto);
        let record = scanner.claim(at)?.map(|v| (v.topic.to_owned(), v.queue_id, v.queue_offset));
        found.damaged.push(Damage { position: at, bytes: next - at, record, why });
        at = next;
    }
    Ok(())
}

fn runs<D: Disk>(disk: &D, found: &mut Verified) -> Result<(), OpenError> {
    let names = match disk.list(RUN_DIR) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        names => names.map_err(OpenError::io("listing index runs"))?,
    };
    for (name, _) in names {
        let Some((start, end)) = run_name(&name) else { continue };
        found.runs += 1;
        if let Err(why) = RunFile::open(disk, start, end).and_then(|run| run.verify()) {
            found.damaged_runs.push((name, why.to_string()));
        }
    }
    Ok(())
}
