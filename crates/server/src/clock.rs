//! The real clock, as the state machines are told it.

use std::cell::Cell;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Milliseconds since 1970, never going backwards and never standing still: where the system's clock was set back, time goes at half
/// its pace here until that has caught up.
#[derive(Default)]
pub(crate) struct Clock {
    /// The last moment that was told, and when that was.
    last: Cell<Option<(i64, Instant)>>,
}

impl Clock {
    pub(crate) fn now_ms(&self) -> i64 {
        let wall_ms = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_millis() as i64);
        let next = next(self.last.get(), wall_ms, Instant::now());
        self.last.set(Some(next));
        next.0
    }
}

fn next(last: Option<(i64, Instant)>, wall_ms: i64, now: Instant) -> (i64, Instant) {
    match last {
        Some((last_ms, then)) if wall_ms < last_ms => {
            let half_ms = now.duration_since(then).as_millis() as u64 / 2;
            // What is less than a millisecond counts the next time.
            (last_ms + half_ms as i64, then + Duration::from_millis(half_ms * 2))
        }
        _ => (wall_ms, now),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Time stood still: clients' polls were never over, locks of dead ones stayed, nothing was delivered that was due.
    #[test]
    fn a_clock_that_is_set_back_goes_on_at_half_its_pace() {
        let begun = Instant::now();
        let mut last = next(None, 1_000_000, begun);
        for ms in 1..=20_000 {
            let before = last.0;
            last = next(Some(last), 990_000 + ms, begun + Duration::from_millis(ms as u64));
            assert!((before..=before + 1).contains(&last.0));
        }
        assert_eq!(last.0, 1_010_000, "the system's clock has caught up");
        let later = begun + Duration::from_secs(21);
        assert_eq!(next(Some(last), 1_011_000, later), (1_011_000, later));
    }
}
