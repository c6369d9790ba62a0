//! Mending the end of the log, before anything is appended to it.
//!
//! What lies between the old frontier and the end was written but perhaps never reached the disk, even if it reads well
//! (pages count as clean after a failed sync): it is written again and synced. What lies behind the end, up to where the
//! log may have been written, is erased, so that nothing that was cut off can ever be taken for a record again when
//! later appends come to end right before it (apache/rocketmq 10666).

use super::OpenError;
use super::layout::{Layout, has_content};
use super::walk::Walked;
use crate::Position;
use crate::disk::{Disk, DiskFile, is_full, read_up_to, write_all_at};
use crate::log::{CLEAR_BYTES, Segment, clear_ends, said_position, segment_path};
use kerolox_wire::record::RecordHead;
use std::io;
use std::sync::Arc;

const CHUNK_BYTES: u64 = 1 << 20;

/// Makes `..end` durable and erases what lies behind. Gives the bytes of records that were cut off.
pub(super) fn mend<D: Disk>(disk: &D, layout: &Layout<D>, walked: &Walked) -> io::Result<u64> {
    let end = walked.end;
    let known = layout.facts.filter(|_| !walked.foreign_end);
    // After a clean end everything written is below the frontier.
    if layout.clean && known.is_some_and(|f| f.flushed == end) {
        return Ok(0);
    }
    let rewrite_from = known.map_or(end, |f| f.flushed);
    // Without a frontier (or with a foreign end) the whole rest of the log may have been written.
    let erase_to = known.map_or(Position::MAX, |f| f.limit);
    let mut truncated = end;
    for segment in &layout.segments {
        if segment.end <= rewrite_from && known.is_some() {
            continue;
        }
        let mut touched = rewrite(segment, rewrite_from.max(segment.base), end.min(segment.end))?;
        let (from, to) = (end.max(segment.base), erase_to.min(segment.end));
        touched |= erase(segment, from, to, known.is_some(), &mut truncated)?;
        if touched || known.is_none() {
            segment.file.sync_data()?;
        }
    }
    if layout.segments.is_empty() {
        return Ok(0);
    }
    // The names too: a segment that was created right before a crash.
    disk.sync_dir(crate::log::LOG_DIR)?;
    Ok(truncated - end)
}

fn rewrite<F: DiskFile>(segment: &Segment<F>, mut from: Position, to: Position) -> io::Result<bool> {
    let mut any = false;
    while from < to {
        let len = CHUNK_BYTES.min(to - from);
        let mut bytes = read_up_to(&segment.file, len as usize, from - segment.base)?;
        bytes.resize(len as usize, 0);
        write_all_at(&segment.file, &bytes, from - segment.base)?;
        any = true;
        from += len;
    }
    Ok(any)
}

/// Zeroes a part. `all`: also what reads as zeros: a start before this one may have zeroed it and failed to sync, and what the disk
/// holds then comes back when nobody remembers the zeros any more. (Without a frontier the part may be as long as all segments are:
/// then only what is not zero yet.) `truncated` moves behind the last record found at its own place.
fn erase<F: DiskFile>(
    segment: &Segment<F>,
    mut from: Position,
    to: Position,
    all: bool,
    truncated: &mut Position,
) -> io::Result<bool> {
    let mut any = false;
    while from < to {
        let len = CHUNK_BYTES.min(to - from);
        let content = has_content(&segment.file, from - segment.base, len as usize);
        if let Ok(Some(bytes)) = &content {
            *truncated = (*truncated).max(last_own_end(bytes, from).min(segment.end));
        }
        // What cannot be read is not wanted either.
        if all || !matches!(content, Ok(None)) {
            write_all_at(&segment.file, &vec![0; len as usize], from - segment.base)?;
            any = true;
        }
        from += len;
    }
    Ok(any)
}

/// Where the last of the records ends that say they lie where they do. For the report only.
fn last_own_end(bytes: &[u8], base: Position) -> Position {
    let starts = (0..bytes.len()).filter_map(|i| {
        let here = bytes.get(i..)?;
        let head = RecordHead::peek(here).filter(|h| h.is_record())?;
        let position = base + i as u64;
        (said_position(here)? == position).then_some(position + u64::from(head.total))
    });
    starts.max().unwrap_or(0)
}

/// The segments that the log goes on with: all up to its end, and those prepared behind it, put in order. Their blocks are
/// allocated, whoever made them. `dry`: the disk has none for the one that the log ends in.
pub(super) struct Usable<F> {
    pub(super) segments: Vec<Arc<Segment<F>>>,
    pub(super) dry: bool,
}

pub(super) fn usable<D: Disk>(
    disk: &D,
    layout: &Layout<D>,
    end: Position,
) -> Result<Usable<D::File>, OpenError> {
    let mut usable: Vec<Arc<Segment<D::File>>> = Vec::with_capacity(layout.segments.len());
    let (mut removed, mut dry) = (false, false);
    for segment in &layout.segments {
        let path = segment_path(segment.base);
        let failed = |what: &str| OpenError::io(format!("{what} {path}"));
        let behind = segment.base >= end;
        let len = segment.file.len().map_err(failed("measuring"))?;
        let adjacent = usable.last().is_none_or(|last| last.end == segment.base);
        // Caught half made by a crash; it holds nothing.
        let mut useless = behind && (len < layout.segment_bytes || !adjacent || dry);
        if segment.end > end && !useless {
            match segment.file.allocate(layout.segment_bytes) {
                // Some file systems keep what they had for half of it.
                Err(e) if is_full(&e) && !behind => {
                    let cut = segment.file.set_len(end - segment.base);
                    cut.and_then(|()| segment.file.set_len(layout.segment_bytes))
                        .map_err(failed("cutting"))?;
                    dry = true;
                }
                Err(e) if is_full(&e) => useless = true,
                allocated => allocated
                    .and_then(|()| if len < layout.segment_bytes { segment.file.sync_data() } else { Ok(()) })
                    .map_err(failed("extending"))?,
            }
        }
        if useless {
            disk.remove(&path).map_err(failed("removing"))?;
            removed = true;
            continue;
        }
        if behind {
            let ends = [0, layout.segment_bytes - CLEAR_BYTES as u64];
            let is_clear = |at| matches!(has_content(&segment.file, at, CLEAR_BYTES), Ok(None));
            if !ends.into_iter().all(is_clear) {
                clear_ends(&segment.file, layout.segment_bytes).map_err(failed("clearing"))?;
            }
        }
        usable.push(Arc::clone(segment));
    }
    if removed {
        disk.sync_dir(crate::log::LOG_DIR).map_err(OpenError::io("syncing the log's directory"))?;
    }
    Ok(Usable { segments: usable, dry })
}
