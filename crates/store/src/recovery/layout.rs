//! What there is in a data directory.

use super::{OpenError, Rival};
use crate::disk::{Disk, read_up_to};
use crate::index::RUN_DIR;
use crate::log::{Frontier, FrontierFacts, LOG_DIR, Segment, segment_name, segment_path};
use crate::{Position, StoreConfig};
use std::sync::Arc;

/// The lock file, as Apache's.
const LOCK: &str = "lock";
/// Least size of a segment: so that each holds at least some records.
const SEGMENT_BYTES_MIN: u64 = 1024;

pub(super) struct Layout<D: Disk> {
    pub(super) lock: D::Lock,
    /// `None`: no frontier that can be believed.
    pub(super) facts: Option<FrontierFacts>,
    pub(super) rival: Rival,
    pub(super) clean: bool,
    pub(super) segment_bytes: u64,
    /// In order; there may be holes between them.
    pub(super) segments: Vec<Arc<Segment<D::File>>>,
    pub(super) min: Position,
}

impl<D: Disk> Layout<D> {
    pub(super) fn find(disk: &D, config: &StoreConfig) -> Result<Self, OpenError> {
        for dir in ["", LOG_DIR, RUN_DIR] {
            let what = if dir.is_empty() { "the data directory" } else { dir };
            disk.create_dir(dir).map_err(OpenError::io(format!("creating {what}")))?;
        }
        let lock = disk.lock(LOCK).map_err(|source| match source.kind() {
            std::io::ErrorKind::WouldBlock => OpenError::Locked(source.to_string()),
            _ => OpenError::Io { what: "locking the data directory".to_owned(), why: source },
        })?;
        let facts = Frontier::read(disk).map_err(OpenError::frontier)?;
        let files = disk.list(LOG_DIR).map_err(OpenError::io("listing the log"))?;
        let mut files: Vec<(Position, u64)> =
            files.iter().filter_map(|(name, len)| Some((segment_name(name)?, *len))).collect();
        files.sort_unstable();
        let segment_bytes = segment_bytes(config, facts.as_ref(), &files)?;
        let segments = open_segments(disk, &files, segment_bytes)?;
        let rival = Rival::find(disk, facts).map_err(OpenError::io("listing the data directory"))?;
        let clean = facts.is_none_or(|f| f.clean) && !rival.aborted;
        let min = segments.first().map_or(0, |s| s.base);
        let from = segments.iter().map(|s| Ok(Arc::clone(s)));
        let theirs =
            rival.has_all(min, from, None).map_err(OpenError::io("reading the beginning of the log"))?;
        let facts = facts.filter(|_| !theirs);
        let layout = Self { lock, facts, rival, clean, segment_bytes, segments, min };
        layout.check_end()?;
        Ok(layout)
    }

    /// Where the log was closed in order.
    pub(super) fn clean_end(&self) -> Option<Position> {
        self.facts.filter(|f| f.clean).map(|f| f.flushed)
    }

    /// The segment that the frontier is in must be there: nothing but a mistake takes it away.
    fn check_end(&self) -> Result<(), OpenError> {
        let Some(flushed) = self.facts.map(|f| f.flushed).filter(|f| *f > 0) else { return Ok(()) };
        let last = flushed - 1;
        if self.segments.iter().any(|s| (s.base..s.end).contains(&last)) {
            return Ok(());
        }
        let path = segment_path(last - last % self.segment_bytes);
        Err(OpenError::Layout(format!(
            "the log was on disk up to {flushed}, but the segment that held its end ({path}) is missing; put it back, or, if it is \
             lost for good, put an empty file in its place: what it held is named as damaged then, and offsets go on"
        )))
    }
}

fn segment_bytes(
    config: &StoreConfig,
    facts: Option<&FrontierFacts>,
    files: &[(Position, u64)],
) -> Result<u64, OpenError> {
    // Apache wants all files of a log to have the same size; a last one may have been caught half made.
    let there = files.iter().map(|(_, len)| *len).find(|len| *len >= SEGMENT_BYTES_MIN);
    let bytes = facts.map(|f| f.segment_bytes).or(there).unwrap_or(config.segment_bytes);
    if !(SEGMENT_BYTES_MIN..=u64::from(u32::MAX)).contains(&bytes) {
        let limits = format!("{SEGMENT_BYTES_MIN} to {}", u32::MAX);
        return Err(OpenError::Layout(format!("segments of {bytes} bytes: must be {limits}")));
    }
    Ok(bytes)
}

fn open_segments<D: Disk>(
    disk: &D,
    files: &[(Position, u64)],
    segment_bytes: u64,
) -> Result<Vec<Arc<Segment<D::File>>>, OpenError> {
    let mut segments: Vec<Arc<Segment<D::File>>> = Vec::with_capacity(files.len());
    for (base, _) in files {
        let path = segment_path(*base);
        if let Some(last) = segments.last().filter(|last| last.end > *base) {
            return Err(OpenError::Layout(format!(
                "segments {} and {path} overlap: with {segment_bytes} bytes a segment they are not of one log",
                segment_path(last.base)
            )));
        }
        let file = disk.open(&path).map_err(OpenError::io(format!("opening {path}")))?;
        segments.push(Arc::new(Segment { base: *base, end: base + segment_bytes, recycled: false, file }));
    }
    Ok(segments)
}

/// Whether a file of the log holds anything but zeros in a range.
pub(super) fn has_content<F: crate::disk::DiskFile>(
    file: &F,
    offset: u64,
    len: usize,
) -> std::io::Result<Option<Vec<u8>>> {
    let bytes = read_up_to(file, len, offset)?;
    Ok(bytes.iter().any(|b| *b != 0).then_some(bytes))
}
