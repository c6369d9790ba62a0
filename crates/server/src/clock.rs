//! The real clock, as the state machines are told it.

use std::cell::Cell;
use std::time::{SystemTime, UNIX_EPOCH};

/// Milliseconds since 1970, never going backwards: while the system's clock is set back, time stands still here.
#[derive(Default)]
pub(crate) struct Clock {
    last_ms: Cell<i64>,
}

impl Clock {
    pub(crate) fn now_ms(&self) -> i64 {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_millis() as i64);
        let now = now.max(self.last_ms.get());
        self.last_ms.set(now);
        now
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_stands_still_rather_than_going_back() {
        let clock = Clock::default();
        let now = clock.now_ms();
        clock.last_ms.set(now + 3_600_000);
        assert_eq!(clock.now_ms(), now + 3_600_000);
    }
}
