//! How far the log can go, told by the keeper and asked by the store; and from where on it is needed, the other way round.

use crate::Position;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

/// Where the log must stop because the disk may have no room for more segments. Shared, because between two reports of the
/// keeper the log may grow by more than what is left.
#[derive(Debug)]
pub(crate) struct Room {
    end: AtomicU64,
    why: Mutex<String>,
    needed_from: AtomicU64,
    gone_below: AtomicU64,
    /// How long messages are kept, in milliseconds; negative: as the settings say.
    retention_ms: AtomicI64,
}

impl Default for Room {
    fn default() -> Self {
        let most = || AtomicU64::new(Position::MAX);
        Self {
            end: most(),
            why: Mutex::default(),
            needed_from: most(),
            gone_below: AtomicU64::new(0),
            retention_ms: AtomicI64::new(-1),
        }
    }
}

impl Room {
    /// The log may go up to here and no further.
    pub(crate) fn end(&self) -> Position {
        self.end.load(Ordering::Acquire)
    }

    pub(crate) fn why(&self) -> String {
        self.why.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn limit(&self, end: Position, why: String) {
        *self.why.lock().unwrap_or_else(PoisonError::into_inner) = why;
        self.end.store(end, Ordering::Release);
    }

    /// Retention keeps what lies at or above this, however old.
    pub(crate) fn needed_from(&self) -> Position {
        self.needed_from.load(Ordering::Acquire)
    }

    pub(crate) fn need_from(&self, position: Position) {
        self.needed_from.store(position, Ordering::Release);
    }

    /// What lies below this went, or is going: nobody may find it any more.
    pub(crate) fn gone_below(&self) -> Position {
        self.gone_below.load(Ordering::Acquire)
    }

    pub(crate) fn goes_below(&self, end: Position) {
        self.gone_below.store(end, Ordering::Release);
    }

    /// How long messages are kept, if that is not as the settings say.
    pub(crate) fn retention_ms(&self) -> Option<i64> {
        Some(self.retention_ms.load(Ordering::Acquire)).filter(|ms| *ms >= 0)
    }

    pub(crate) fn retain_for(&self, ms: Option<i64>) {
        self.retention_ms.store(ms.unwrap_or(-1), Ordering::Release);
    }
}
