//! The files of the log: one after the other, each named by the position of its first byte.

use crate::Position;
use crate::disk::{Disk, DiskFile, is_full, write_all_at};
use crate::log::BLANK_MARK_BYTES;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

/// Directory of the segments, as Apache's `storePathCommitLog`.
pub(crate) const LOG_DIR: &str = "commitlog";

/// Path of the segment whose first byte is at `base`.
pub(crate) fn segment_path(base: Position) -> String {
    format!("{LOG_DIR}/{base:020}")
}

/// The position that a file name stands for. (One beyond Apache's signed numbers stands for none: no segment fits behind it.)
pub(crate) fn segment_name(name: &str) -> Option<Position> {
    let digits = name.len() == 20 && name.bytes().all(|b| b.is_ascii_digit());
    name.parse().ok().filter(|position| digits && i64::try_from(*position).is_ok())
}

#[derive(Debug)]
pub(crate) struct Segment<F> {
    /// Position of the first byte.
    pub(crate) base: Position,
    /// Position behind the last byte.
    pub(crate) end: Position,
    /// Its blocks have been written before: preparing it needs nothing.
    pub(crate) recycled: bool,
    pub(crate) file: F,
}

/// What could not be done to which segment.
#[derive(Debug, thiserror::Error)]
#[error("segment {path}: {step}: {source}")]
pub(crate) struct SegmentError {
    pub(crate) path: String,
    pub(crate) step: &'static str,
    pub(crate) source: io::Error,
}

/// All segments, shared by writer, keeper and readers. In order of position; the last ones may be prepared only.
pub(crate) struct Segments<D: Disk> {
    disk: D,
    /// Size of segments that are created.
    segment_bytes: u64,
    list: RwLock<Vec<Arc<Segment<D::File>>>>,
    /// One change of the list's files at a time.
    changing: Mutex<()>,
}

impl<D: Disk> Segments<D> {
    pub(crate) fn new(disk: D, segment_bytes: u64, list: Vec<Arc<Segment<D::File>>>) -> Self {
        debug_assert!(list.iter().zip(list.iter().skip(1)).all(|(a, b)| a.end <= b.base));
        Self { disk, segment_bytes, list: RwLock::new(list), changing: Mutex::new(()) }
    }

    pub(crate) fn segment_bytes(&self) -> u64 {
        self.segment_bytes
    }

    /// The segment that holds a position.
    pub(crate) fn find(&self, position: Position) -> Option<Arc<Segment<D::File>>> {
        let list = self.list.read().unwrap_or_else(PoisonError::into_inner);
        let after = list.partition_point(|s| s.base <= position);
        let segment = list.get(after.checked_sub(1)?)?;
        (position < segment.end).then(|| Arc::clone(segment))
    }

    /// All of them, in order.
    pub(crate) fn all(&self) -> Vec<Arc<Segment<D::File>>> {
        self.list.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Where the last segment ends: the base of the next one.
    pub(crate) fn end(&self) -> Option<Position> {
        self.list.read().unwrap_or_else(PoisonError::into_inner).last().map(|s| s.end)
    }

    /// The segment for a position, created if it is the next one.
    pub(crate) fn find_or_create(&self, position: Position) -> Result<Arc<Segment<D::File>>, SegmentError> {
        loop {
            if let Some(segment) = self.find(position) {
                return Ok(segment);
            }
            let _one = self.change();
            if let Some(segment) = self.find(position) {
                return Ok(segment);
            }
            let base = self.end().unwrap_or(position);
            if base > position {
                let source = io::Error::other(format!("position {position} lies in no segment"));
                return Err(SegmentError { path: segment_path(position), step: "find", source });
            }
            self.create_at(base)?;
        }
    }

    /// Creates the segment that begins where the last one ends.
    pub(crate) fn create_next(&self) -> Result<(), SegmentError> {
        let _one = self.change();
        self.create_at(self.end().unwrap_or(0))
    }

    fn change(&self) -> MutexGuard<'_, ()> {
        self.changing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// All blocks are allocated now, so that a full disk shows here and not in the middle of the segment.
    fn create_at(&self, base: Position) -> Result<(), SegmentError> {
        let path = segment_path(base);
        let failed = |step, source| SegmentError { path: segment_path(base), step, source };
        let file = match self.disk.create(&path) {
            // Left from an attempt that failed half way, maybe of one that was to be recycled.
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {
                self.disk.remove(&path).and_then(|()| self.disk.create(&path))
            }
            result => result,
        };
        let file = file.map_err(|e| failed("create", e))?;
        let filled = file
            .allocate(self.segment_bytes)
            .map_err(|e| failed("allocate", e))
            .and_then(|()| file.sync_data().map_err(|e| failed("sync", e)))
            .and_then(|()| self.disk.sync_dir(LOG_DIR).map_err(|e| failed("sync directory of", e)));
        if let Err(e) = filled {
            drop(file);
            // Best effort: an empty segment that nobody knows does no harm, it only takes room.
            let _ = self.disk.remove(&path);
            return Err(e);
        }
        self.push(base, file, false);
        Ok(())
    }

    fn push(&self, base: Position, file: D::File, recycled: bool) {
        let segment = Segment { base, end: base + self.segment_bytes, recycled, file };
        let mut list = self.list.write().unwrap_or_else(PoisonError::into_inner);
        debug_assert!(list.last().is_none_or(|last| last.end <= base));
        list.push(Arc::new(segment));
    }

    /// Takes the first segment away: its file becomes the next segment (`recycle`) or is removed. If that fails it stays the
    /// first, to be taken away later: one that nobody knows would be there again after the next start, before a hole.
    pub(crate) fn retire_first(&self, recycle: bool) -> Result<(), SegmentError> {
        let _one = self.change();
        let Some((first, end)) = self.all().first().cloned().zip(self.end()) else { return Ok(()) };
        let failed = |step, source| SegmentError { path: segment_path(first.base), step, source };
        let recycled = match recycle && first.end - first.base == self.segment_bytes {
            true => self.recycle(first.base, end),
            false => self.remove(first.base).map(|()| None),
        };
        let recycled = recycled.map_err(|(step, source)| failed(step, source))?;
        self.list.write().unwrap_or_else(PoisonError::into_inner).remove(0);
        if let Some(file) = recycled {
            self.push(end, file, true);
        }
        Ok(())
    }

    /// One that is not there any more was removed, or renamed, by an attempt that failed later.
    fn remove(&self, base: Position) -> Result<(), (&'static str, io::Error)> {
        match self.disk.remove(&segment_path(base)) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(("remove", e)),
            _ => {}
        }
        self.disk.sync_dir(LOG_DIR).map_err(|e| ("sync directory of", e))
    }

    fn recycle(&self, base: Position, end: Position) -> Result<Option<D::File>, (&'static str, io::Error)> {
        let new = segment_path(end);
        match self.disk.rename(&segment_path(base), &new) {
            // An attempt that failed later renamed it.
            Err(e) if e.kind() == io::ErrorKind::NotFound => return self.remove(end).map(|()| None),
            renamed => renamed.map_err(|e| ("recycle", e))?,
        }
        self.disk.sync_dir(LOG_DIR).map_err(|e| ("sync directory of", e))?;
        // Only now that the old name is gone for good may its content be touched.
        let file = self.disk.open(&new).map_err(|e| ("open recycled", e))?;
        // One that another program made may have no blocks for all of itself.
        match file.allocate(self.segment_bytes) {
            Err(e) if is_full(&e) => return self.remove(end).map(|()| None),
            allocated => allocated.map_err(|e| ("allocate recycled", e))?,
        }
        clear_ends(&file, self.segment_bytes).map_err(|e| ("clear ends of", e))?;
        Ok(Some(file))
    }
}

/// Bytes at both ends of a prepared segment that hold nothing of a former life: as many as a filler has.
pub(crate) const CLEAR_BYTES: usize = BLANK_MARK_BYTES;

/// Zeroes what could be taken for something of the log: at the end, where a short filler would lie (see `blank`), and at the beginning,
/// for Apache RocketMQ: it takes the first record of its last file for one of the log wherever that says to lie.
pub(crate) fn clear_ends(file: &impl DiskFile, segment_bytes: u64) -> io::Result<()> {
    for at in [0, segment_bytes - CLEAR_BYTES as u64] {
        write_all_at(file, &[0; CLEAR_BYTES], at)?;
    }
    file.sync_data()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::{FaultAction, HostileDisk, OpKind, Trouble, read_all};

    const BYTES: u64 = 1 << 16;

    /// Two segments of which the first is `first_bytes` long, full of ones.
    fn segments(first_bytes: u64) -> (HostileDisk, Segments<HostileDisk>) {
        let disk = HostileDisk::default();
        disk.create_dir(LOG_DIR).unwrap();
        let file = disk.create(&segment_path(0)).unwrap();
        write_all_at(&file, &vec![1; first_bytes as usize], 0).unwrap();
        let first = Segment { base: 0, end: first_bytes, recycled: false, file };
        let segments = Segments::new(disk.clone(), BYTES, vec![Arc::new(first)]);
        segments.create_next().unwrap();
        (disk, segments)
    }

    fn fails_once(disk: &HostileDisk, kinds: &'static [OpKind]) {
        disk.set_trouble(Some(Trouble { kinds, action: FaultAction::Io, left: 1 }));
    }

    #[test]
    fn names_are_twenty_digits() {
        assert_eq!(segment_name("00000000000000065536"), Some(65_536));
        for name in ["65536", "+0000000000000065536", "0000000000000065536x", "09223372036854775808"] {
            assert_eq!(segment_name(name), None, "{name}");
        }
    }

    #[test]
    fn a_recycled_segment_has_nothing_of_its_former_life_at_its_ends() {
        let (disk, segments) = segments(BYTES);
        segments.retire_first(true).unwrap();
        assert_eq!(disk.paths(), [segment_path(BYTES), segment_path(2 * BYTES)]);
        let last = segments.find(2 * BYTES).unwrap();
        assert!(last.recycled);
        let content = read_all(&last.file).unwrap();
        assert_eq!(content.len() as u64, BYTES);
        let (begin, rest) = content.split_at(CLEAR_BYTES);
        let (middle, end) = rest.split_at(rest.len() - CLEAR_BYTES);
        assert!(begin.iter().chain(end).all(|byte| *byte == 0) && middle.iter().all(|byte| *byte == 1));
    }

    #[test]
    fn one_of_another_size_is_not_recycled() {
        let (disk, segments) = segments(2 * BYTES);
        segments.retire_first(true).unwrap();
        assert_eq!(disk.paths(), [segment_path(2 * BYTES)]);
        assert_eq!(segments.end(), Some(3 * BYTES));
    }

    #[test]
    fn what_could_not_be_taken_away_stays_the_first() {
        for (recycle, kinds) in [(true, &[OpKind::Rename]), (false, &[OpKind::Remove])] {
            let (disk, segments) = segments(BYTES);
            fails_once(&disk, kinds);
            let failed = segments.retire_first(recycle).unwrap_err();
            assert_eq!(failed.path, segment_path(0));
            assert_eq!(disk.paths(), [segment_path(0), segment_path(BYTES)]);
            assert_eq!(segments.all().first().map(|first| first.base), Some(0));
            segments.retire_first(recycle).unwrap();
            assert_eq!(segments.find(0).map(|segment| segment.base), None);
        }
    }

    #[test]
    fn a_segment_that_is_gone_is_not_created_again() {
        let (disk, segments) = segments(BYTES);
        segments.retire_first(false).unwrap();
        assert_eq!(segments.find_or_create(BYTES - 1).unwrap_err().step, "find");
        assert_eq!(disk.paths(), [segment_path(BYTES)]);
        assert_eq!(segments.find_or_create(3 * BYTES).unwrap().base, 3 * BYTES);
        assert_eq!(segments.all().len(), 3, "with the one before it");
    }

    #[test]
    fn what_an_attempt_left_behind_is_made_anew_and_other_errors_are_told() {
        let (disk, segments) = segments(BYTES);
        let left = disk.create(&segment_path(2 * BYTES)).unwrap();
        write_all_at(&left, &[1; 100], 0).unwrap();
        segments.create_next().unwrap();
        assert!(read_all(&segments.find(2 * BYTES).unwrap().file).unwrap().iter().all(|byte| *byte == 0));
        fails_once(&disk, &[OpKind::Create]);
        assert_eq!(segments.create_next().unwrap_err().step, "create");
        assert_eq!(segments.end(), Some(3 * BYTES));
    }
}
