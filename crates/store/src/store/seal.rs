//! Sealing: handing what memory knows of the log to the keeper.

use super::{Dump, Store};
use crate::Position;
use crate::index::run::Places;
use crate::index::{RUN_KEYS_MAX, RunDraft, RunFacts};
use crate::state::Own;
use crate::{STATE_TOPIC, state};
use bytes::Bytes;
use std::sync::Arc;

/// Index runs and a snapshot to be written by [`crate::Keeper::seal`].
pub struct SealJob {
    /// The log must be flushed up to here first.
    pub position: Position,
    pub(crate) drafts: Vec<RunDraft>,
    /// For the snapshot. `None`: an older one still does.
    pub(crate) state: Option<WholeState>,
    /// The last whole dump: retention keeps everything from its beginning on.
    pub(crate) dump: Dump,
}

/// As entry streams.
pub(crate) struct WholeState {
    /// What the log says up to here.
    pub(crate) position: Position,
    /// How many state records there were.
    pub(crate) own: Vec<u8>,
    pub(crate) all: Bytes,
}

/// Bytes of log to a byte of state: the whole state is said again (in a snapshot, in the log) when the log has grown by so
/// many times as much. So it costs what is appended a fixed part, however large it is.
pub(super) const LOG_TO_STATE: u64 = 8;

/// Longest state that goes into a snapshot while the broker serves: all of it must be said at once.
pub const SNAPSHOT_BYTES_MAX: usize = 1 << 20;

/// What [`crate::Keeper::seal`] wrote.
pub struct Sealed {
    pub(crate) runs: Vec<(Arc<RunFacts>, Places)>,
    /// The job had the state, and the disk no room for it.
    pub(crate) snapshot_failed: bool,
    /// It had no room for an index run: the next job tries again.
    pub(crate) unwritten: bool,
    /// Where the newest dump begins that retention reckons with.
    pub(crate) dump: Position,
}

impl Store {
    /// Whether it is time to seal the open index run; if so [`Store::seal`] should be called.
    pub fn seal_due(&self) -> bool {
        !self.sealing && (!self.drafts.is_empty() || self.is_run_long() || self.seal_again)
    }

    fn is_run_long(&self) -> bool {
        let open = self.marks.appended - self.index.open_at;
        open >= self.config.run_bytes || self.index.keys.len() >= RUN_KEYS_MAX
    }

    /// Whether a snapshot of the state is due with the next seal: [`Store::seal`] or [`Store::seal_large`] rather than
    /// [`Store::seal_index`].
    pub fn snapshot_due(&self) -> bool {
        self.marks.appended - self.snapped >= LOG_TO_STATE * self.state_bytes
    }

    /// Closes the open run at `appended`; `state` is the whole state as of now (entry stream), what [`Store::put_queues`] says
    /// included. The job belongs to [`crate::Keeper::seal`] once `flushed` has reached [`SealJob::position`].
    pub fn seal(&mut self, state: Bytes) -> SealJob {
        debug_assert!(state::entries(&state).all(|e| e.is_ok()));
        let mut own = Vec::new();
        Own::QueueNext { topic: STATE_TOPIC, queue_id: 0, next: self.state_next }.put(&mut own);
        self.state_bytes = (own.len() + state.len()) as u64;
        let position = self.marks.appended;
        self.snap(WholeState { position, own, all: state })
    }

    /// The same for a state of more than `bytes`, which is too long for a snapshot: that says where the last whole dump begins,
    /// and nothing else, for from there on the log says everything.
    pub fn seal_large(&mut self, bytes: usize) -> SealJob {
        self.state_bytes = self.state_bytes.max(bytes as u64);
        match self.dump.end {
            Some(_) if self.dump.begin > self.snapped => {
                self.snap(WholeState { position: self.dump.begin, own: Vec::new(), all: Bytes::new() })
            }
            _ => self.seal_index(),
        }
    }

    fn snap(&mut self, state: WholeState) -> SealJob {
        self.snapped_before = std::mem::replace(&mut self.snapped, state.position);
        self.close_run(Some(state))
    }

    /// The same without the state: a start reads it from the older snapshot and the log behind that.
    pub fn seal_index(&mut self) -> SealJob {
        self.close_run(None)
    }

    fn close_run(&mut self, state: Option<WholeState>) -> SealJob {
        let position = self.marks.appended;
        let mut drafts = std::mem::take(&mut self.drafts);
        // A further attempt on a full disk makes no runs of next to nothing.
        let only_again = self.seal_again && drafts.is_empty() && state.is_none() && !self.is_run_long();
        if position > self.index.open_at && !only_again {
            drafts.push(self.index.cut(position));
        }
        self.sealing = true;
        self.seal_again = false;
        SealJob { position, drafts, state, dump: self.dump }
    }

    /// The keeper wrote these runs: their entries can be read from disk and leave memory. A snapshot that it had no room for
    /// is due again with the next seal.
    pub fn sealed(&mut self, sealed: Sealed) {
        self.sealing = false;
        (self.unwritten, self.sealed_dump) = (sealed.unwritten, sealed.dump);
        // Whether another one is wanted the next look of retention says.
        self.disk.dump_wanted = false;
        if sealed.snapshot_failed {
            self.snapped = self.snapped_before;
        }
        for (facts, places) in sealed.runs {
            self.index.sealed(facts, &places);
        }
    }
}
