//! Opening a data directory: finding out where the log ends, what of it is damaged, and what it says.
//!
//! In steps: [`layout`] finds and locks what there is; [`walk`] goes over the log as far as neither index runs nor the
//! snapshot make that unnecessary, and tells torn writes from damage; [`fold`] rebuilds the state; [`mend`] makes the end
//! of the log durable and erases what lies behind it. Only then is a new frontier written.

mod course;
mod fold;
mod layout;
mod mend;
mod rival;
mod suspects;
mod walk;

use crate::disk::{BLOCK_BYTES, Disk, DiskFile};
use crate::index::{RUN_DIR, run_path};
use crate::keeper::{ABORT, Keeper, Said};
use crate::log::{FRONTIER_DIR, Frontier, FrontierError, FrontierFacts, Room, Segments, Shared, Writer};
use crate::snapshot;
use crate::state::STATE_FORMAT;
use crate::store::{Recovered, Store};
use crate::{Damage, Opened, Position, Reader, StoreConfig};
pub(crate) use course::Course;
use kerolox_wire::record::RecordView;
use layout::Layout;
pub(crate) use rival::Rival;
use std::io;
use std::sync::Arc;
use walk::{Walk, Walked};

/// The owner of the state that lives in state records, during recovery.
pub trait StateFold {
    /// Forget everything: a whole dump follows.
    fn reset(&mut self);
    /// Whether this release has entries of that kind (16 or above). The log is not opened if it says anything that is not
    /// known: it is a newer release's.
    fn knows(&self, _kind: u8) -> bool {
        true
    }
    /// One entry. `kind` is 16 or above (lower ones are the store's own). An error goes into the report; the entry is
    /// passed over.
    fn apply(&mut self, kind: u8, payload: &[u8]) -> Result<(), String>;
    /// A message, in the order of the log between the state records: for what is said by messages themselves.
    fn message(&mut self, _record: &RecordView<'_>) {}
}

/// Steps of recovery, for a progress line: bytes of the log.
#[derive(Debug, Clone, Copy)]
pub struct Progress {
    pub step: &'static str,
    pub done: u64,
    pub total: u64,
}

/// What recovery found and did.
#[derive(Debug, Clone, Default)]
pub struct Report {
    /// The last end was a clean one.
    pub clean: bool,
    pub log_min: Position,
    pub log_max: Position,
    /// Bytes of records above the durable frontier that were cut off.
    pub truncated_bytes: u64,
    /// Damage in the part of the log that was read. (Damage in what is indexed already shows when it is read.)
    pub damaged: Vec<Damage>,
    /// So many bytes may have been written behind the end that was found, and are not there.
    pub missing_bytes_max: u64,
    /// Bytes of the log that were read.
    pub scanned_bytes: u64,
    /// State entries that their owner did not take, and why.
    pub state_errors: Vec<(Position, String)>,
    /// The directory had no (readable) frontier: it is new, or Apache RocketMQ's, or the frontier was lost.
    pub without_frontier: bool,
    /// Size of segments, if another one was configured.
    pub segment_bytes_kept: Option<u64>,
}

/// Why a data directory cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process holds it; the message says which.
    #[error("{0}")]
    Locked(String),
    /// A newer release wrote it.
    #[error(
        "{what} is of format {found}; this Kerolox reads up to {known}: start the release that wrote it, or a newer one"
    )]
    TooNew { what: String, found: u32, known: u32 },
    /// A newer release wrote it: without this entry the state would not be whole, and the next dump would lose it for good.
    #[error(
        "the state record at position {position} of the log is of a format above {known} (it has an entry of kind {kind}); \
         this Kerolox reads up to {known}: start the release that wrote it, or a newer one",
        known = STATE_FORMAT
    )]
    UnknownEntry { position: Position, kind: u8 },
    #[error("{what}: {why}")]
    Io { what: String, why: io::Error },
    /// The files cannot be those of one log.
    #[error("{0}")]
    Layout(String),
}

impl OpenError {
    pub(crate) fn frontier(e: FrontierError) -> Self {
        match e {
            FrontierError::TooNew { found, known } => {
                Self::TooNew { what: "the data directory".to_owned(), found, known }
            }
            FrontierError::Io(why) => Self::Io { what: "reading the frontier".to_owned(), why },
        }
    }

    pub(crate) fn io(what: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let what = what.into();
        move |why| Self::Io { what, why }
    }
}

/// Recovers a data directory, or begins one. The state as of the end of the log is given to `fold`.
///
/// # Errors
/// The directory is in use, or of a newer format, or its files cannot be read or written, or are not those of one log.
/// Damage is no error: it is in the report.
pub fn open<D: Disk>(
    disk: D,
    config: &StoreConfig,
    fold: &mut dyn StateFold,
    progress: &mut dyn FnMut(Progress),
) -> Result<Opened<D>, OpenError> {
    let layout = Layout::find(&disk, config)?;
    let mut config = config.clone();
    let mut report = Report {
        clean: layout.clean,
        log_min: layout.min,
        without_frontier: layout.facts.is_none(),
        segment_bytes_kept: (config.segment_bytes != layout.segment_bytes).then_some(layout.segment_bytes),
        ..Report::default()
    };
    config.segment_bytes = layout.segment_bytes;
    let walked = Walk::new(&disk, &config, &layout, fold, progress, &mut report)?.run()?;
    let end = walked.end;
    report.log_max = end;
    note_holes(&layout, &mut report).map_err(OpenError::io("measuring the log's files"))?;
    report.missing_bytes_max = layout.facts.as_ref().map_or(0, |facts| facts.limit.saturating_sub(end));
    report.truncated_bytes =
        mend::mend(&disk, &layout, &walked).map_err(OpenError::io("mending the end of the log"))?;
    let usable = mend::usable(&disk, &layout, end)?;
    forget(&disk, &walked).map_err(OpenError::io("removing stale index files"))?;
    let facts = facts_from_now_on(&config, &layout, &walked);
    let frontier = Frontier::begin(&disk, facts).map_err(OpenError::io("writing the frontier"))?;
    mark_open(&disk).map_err(OpenError::io("creating the file `abort`"))?;

    let segments = Segments::new(disk.clone(), config.segment_bytes, usable.segments);
    if segments.end().is_none() {
        // A new log: whether there is room for it shows now, not with the first message.
        segments.create_next().map_err(|e| OpenError::Layout(format!("no room for the log: {e}")))?;
    }
    let dry = segments.find(end).filter(|_| usable.dry).map(|segment| segment.base);
    let segment_end = segments.find(end).map_or(end + config.segment_bytes, |s| s.end);
    let shared = Arc::new(Shared::new(disk, segments, frontier, facts.crc_from, layout.min, layout.lock));
    let Walked { index, state_next, dump, snapped, state_bytes, run_ages, drafts, in_snapshot, .. } = walked;
    let recovered = Recovered { index, end, segment_end, state_next, dump, snapped, state_bytes, drafts };
    let room = Arc::new(Room::default());
    // Where the dump before the last is nobody has looked for.
    let said = Said { dump: dump.begin, older_dump: 0, dump_bytes: dump.len(), in_snapshot };
    let mut keeper = Keeper::new(Arc::clone(&shared), config.clone(), Arc::clone(&room), run_ages, said, dry);
    // How far the log may go is known before anything is appended.
    keeper.create_segment();
    Ok(Opened {
        writer: Writer::new(Arc::clone(&shared), &config),
        keeper,
        reader: Reader::new(shared),
        store: Store::new(config, room, recovered),
        report,
    })
}

/// Files that are missing or cut short, where the walk did not come by: index runs say what was there.
fn note_holes<D: Disk>(layout: &Layout<D>, report: &mut Report) -> io::Result<()> {
    let flushed = layout.facts.map_or(0, |facts| facts.flushed);
    let mut at = layout.min;
    for segment in &layout.segments {
        let file_end = segment.base + segment.file.len()?;
        for (from, to, why) in [
            (at, segment.base, "the segment's file is missing"),
            (file_end, segment.end, "the segment's file ends there"),
        ] {
            let to = to.min(flushed);
            let known = |d: &Damage| d.position < to && d.position + d.bytes > from;
            if from < to && !report.damaged.iter().any(known) {
                let why = why.to_owned();
                report.damaged.push(Damage { position: from, bytes: to - from, record: None, why });
            }
        }
        at = segment.end;
    }
    Ok(())
}

fn facts_from_now_on<D: Disk>(config: &StoreConfig, layout: &Layout<D>, walked: &Walked) -> FrontierFacts {
    let old = layout.facts.as_ref();
    // What others wrote carries no checksums; what comes from now on does.
    let crc_from = if walked.foreign { walked.end } else { old.map_or(walked.end, |f| f.crc_from) };
    // A little room that is not prepared, so that the first append need not wait.
    let room = walked.end + config.ahead_bytes / 8;
    FrontierFacts {
        crc_from,
        segment_bytes: config.segment_bytes,
        flushed: walked.end,
        limit: room.max(old.map_or(0, |f| f.limit)).next_multiple_of(BLOCK_BYTES as u64),
        clean: false,
    }
}

/// Removes index runs and a snapshot that were not used: they speak of a log that is no more.
fn forget<D: Disk>(disk: &D, walked: &Walked) -> io::Result<()> {
    let remove = |path: &str| match disk.remove(path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(e),
        _ => Ok(()),
    };
    // A damaged run that was rebuilt has the same name.
    let rebuilt =
        |start: &Position, end: Position| walked.run_ages.get(start).is_some_and(|age| age.end == end);
    for (start, end) in walked.stale_runs.iter().filter(|(start, end)| !rebuilt(start, *end)) {
        remove(&run_path(*start, *end))?;
    }
    for name in &walked.stale_names {
        remove(&format!("{RUN_DIR}/{name}"))?;
    }
    if !walked.stale_runs.is_empty() || !walked.stale_names.is_empty() {
        disk.sync_dir(RUN_DIR)?;
    }
    if walked.stale_snapshot {
        remove(snapshot::PATH)?;
        disk.sync_dir(FRONTIER_DIR)?;
    }
    Ok(())
}

fn mark_open<D: Disk>(disk: &D) -> io::Result<()> {
    match disk.create(ABORT) {
        Ok(_) => disk.sync_dir(""),
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(e) => Err(e),
    }
}
