//! What writer, keeper and readers share.

use crate::Position;
use crate::disk::Disk;
use crate::log::{Frontier, Segments};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

/// One per open store.
pub(crate) struct Shared<D: Disk> {
    pub(crate) disk: D,
    pub(crate) segments: Segments<D>,
    pub(crate) frontier: Frontier<D::File>,
    /// See `FrontierFacts::crc_from`.
    pub(crate) crc_from: Position,
    /// Where the log begins.
    min: AtomicU64,
    /// How far the writer has written.
    written: AtomicU64,
    fenced: OnceLock<String>,
    /// Keeps other processes out.
    _lock: D::Lock,
}

impl<D: Disk> Shared<D> {
    pub(crate) fn new(
        disk: D,
        segments: Segments<D>,
        frontier: Frontier<D::File>,
        crc_from: Position,
        min: Position,
        lock: D::Lock,
    ) -> Self {
        let (min, written) = (AtomicU64::new(min), AtomicU64::new(frontier.flushed()));
        Self { disk, segments, frontier, crc_from, min, written, fenced: OnceLock::new(), _lock: lock }
    }

    pub(crate) fn min(&self) -> Position {
        self.min.load(Ordering::Acquire)
    }

    pub(crate) fn set_min(&self, min: Position) {
        debug_assert!(min >= self.min());
        self.min.store(min, Ordering::Release);
    }

    pub(crate) fn written(&self) -> Position {
        self.written.load(Ordering::Acquire)
    }

    pub(crate) fn set_written(&self, written: Position) {
        self.written.store(written, Ordering::Release);
    }

    /// From now on nothing is written any more. Gives the first reason there was.
    pub(crate) fn fence(&self, why: String) -> String {
        self.fenced.get_or_init(|| why).clone()
    }

    pub(crate) fn fenced(&self) -> Option<&str> {
        self.fenced.get().map(String::as_str)
    }
}
