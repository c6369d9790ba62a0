//! Broken on purpose: variants that the exploration must find, or it proves nothing.

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
