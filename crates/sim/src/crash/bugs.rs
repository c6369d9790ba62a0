//! Broken on purpose: variants that the exploration must find, or it proves nothing.

use super::injury::Injury;
use super::model::{Model, What};
use crate::random::Random;
use bytes::BytesMut;
use kerolox_store::disk::{HostileDisk, Sabotage};
use kerolox_wire::record::{NewRecord, RecordView};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bug {
    /// Acknowledges what is written and not yet synced.
    AckBeforeFlush,
    /// Acknowledges although the sync failed (apache/rocketmq 2706).
    AckFailedSync,
    /// The disk only pretends to do something that the store relies on.
    Sabotage(Sabotage),
    /// A record that was altered and whose checksums were made to fit: as if nobody looked at checksums.
    AlteredRecord,
}

/// All of them, by name.
pub const BUGS: [(&str, Bug); 7] = [
    ("ack-before-flush", Bug::AckBeforeFlush),
    ("ack-failed-sync", Bug::AckFailedSync),
    ("log-not-synced", Bug::Sabotage(Sabotage::Syncs("commitlog"))),
    ("log-directory-not-synced", Bug::Sabotage(Sabotage::DirSyncs("commitlog"))),
    ("truncation-not-erased", Bug::Sabotage(Sabotage::Zeroing("commitlog"))),
    ("frontier-not-synced", Bug::Sabotage(Sabotage::Syncs("kerolox/frontier"))),
    ("checksums-unchecked", Bug::AlteredRecord),
];

/// Changes a byte of the newest message and makes its checksums fit.
pub(super) fn alter(disk: &HostileDisk) {
    let logs = disk.paths().into_iter().filter(|p| p.starts_with("commitlog/"));
    for path in logs {
        disk.tamper(&path, |bytes| {
            let base: u64 = path.trim_start_matches("commitlog/").parse().unwrap_or(0);
            let mut at = 0;
            while let Some(view) = bytes.get(at..).and_then(|b| RecordView::parse(b).ok()) {
                let len = view.len();
                let ours = view.position == base + at as u64 && view.topic == super::script::TOPICS[0];
                if ours && let Some(altered) = altered(&view) {
                    bytes.splice(at..at + len, altered);
                }
                at += len;
            }
        });
    }
}

fn altered(view: &RecordView<'_>) -> Option<Vec<u8>> {
    let mut body = view.body.to_vec();
    *body.last_mut()? ^= 1;
    let record = NewRecord { body: &body, ..view.into() };
    let mut out = BytesMut::new();
    record.encode(&mut out).ok()?;
    Some(out.to_vec())
}

/// A checksum that nobody looks at: what rots below it is not noticed, as if it had been made to fit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Skipped {
    Record,
    Run,
    Snapshot,
    Frontier,
}

/// All of them, by name.
pub const SKIPPED: [(&str, Skipped); 4] = [
    ("checksums of records skipped", Skipped::Record),
    ("checksums of index runs skipped", Skipped::Run),
    ("checksum of the snapshot skipped", Skipped::Snapshot),
    ("checksums of the frontier skipped", Skipped::Frontier),
];

impl Skipped {
    /// Flips a bit that the checksum covers. `None`: there is no such file.
    pub(super) fn hurt(self, disk: &HostileDisk, model: &Model, random: &mut Random) -> Option<Injury> {
        let mut choose = |from: usize, to: usize| from + random.below((to - from).max(1) as u64) as usize;
        let paths = disk.paths();
        let chosen = match self {
            Self::Record => {
                let messages = model.records.iter().filter(|r| matches!(r.what, What::Message { .. }));
                let record = messages.clone().nth(choose(0, messages.count()))?;
                let base = |path: &str| path.strip_prefix("commitlog/")?.parse::<u64>().ok();
                let mut logs = paths.iter().rev().filter_map(|path| Some((path, base(path)?)));
                let (path, base) = logs.find(|(_, base)| *base <= record.position)?;
                let at = (record.position - base) as usize;
                disk.tamper(path, |bytes| {
                    let view = bytes.get(at..).and_then(|b| RecordView::parse(b).ok());
                    if let Some(altered) = view.and_then(|view| altered(&view)) {
                        bytes.splice(at..at + altered.len(), altered);
                    }
                });
                (path.clone(), at..at + 1)
            }
            Self::Run => {
                let runs: Vec<&String> = paths.iter().filter(|p| p.starts_with("kerolox/runs/")).collect();
                let path = runs.get(choose(0, runs.len()))?;
                let bytes = disk.content(path)?;
                let number = |at: usize| {
                    let bytes = bytes.get(at..)?.first_chunk()?;
                    usize::try_from(u64::from_be_bytes(*bytes)).ok()
                };
                let (directory, len) = (number(RUN_DIRECTORY_AT)?, number(RUN_DIRECTORY_AT + 8)?);
                let at = choose(directory, directory + len);
                disk.tamper(path, |bytes| {
                    flip(bytes, at);
                    fit(bytes, directory..directory + len, RUN_DIRECTORY_AT + 16);
                    fit(bytes, 0..RUN_DIRECTORY_AT + 20, RUN_DIRECTORY_AT + 20);
                });
                ((*path).clone(), at..at + 1)
            }
            Self::Snapshot => {
                let path = "kerolox/snapshot";
                let len = disk.content(path)?.len();
                let at = choose(12, len - 4);
                disk.tamper(path, |bytes| {
                    flip(bytes, at);
                    fit(bytes, 0..len - 4, len - 4);
                });
                (path.to_owned(), at..at + 1)
            }
            Self::Frontier => {
                let path = "kerolox/frontier";
                let slot = 4096 * choose(1, 4);
                let at = slot + choose(12, 20);
                disk.tamper(path, |bytes| {
                    flip(bytes, at);
                    fit(bytes, slot..slot + 28, slot + 28);
                });
                (path.to_owned(), at..at + 1)
            }
        };
        Some(Injury { hurt: vec![(chosen.0, vec![chosen.1])] })
    }
}

/// Where a run's header says where its directory is (`docs/formats/run.md`).
const RUN_DIRECTORY_AT: usize = 68;

fn flip(bytes: &mut [u8], at: usize) {
    if let Some(byte) = bytes.get_mut(at) {
        *byte ^= 1 << (at % 8);
    }
}

/// Makes a checksum fit what it covers.
fn fit(bytes: &mut [u8], covered: std::ops::Range<usize>, at: usize) {
    let crc = crc32fast::hash(bytes.get(covered).unwrap_or_default()).to_be_bytes();
    if let Some(place) = bytes.get_mut(at..at + crc.len()) {
        place.copy_from_slice(&crc);
    }
}
