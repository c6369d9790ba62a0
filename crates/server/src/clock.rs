//! The real clock, as the state machines are told it.

use std::cell::Cell;
use std::sync::LazyLock;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Milliseconds since 1970, never going backwards and never standing still: where the system's clock was set back, time goes at three
/// quarters of its pace here until that has caught up: clients wait for their polls by a clock of their own, and not much longer than they
/// asked for.
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
            let quarter_ms = now.duration_since(then).as_millis() as u64 / 4;
            // What is less than that counts the next time.
            (last_ms + quarter_ms as i64 * 3, then + Duration::from_millis(quarter_ms * 4))
        }
        _ => (wall_ms, now),
    }
}

/// Milliseconds since this was asked first: for readers of the log, which want a clock that does not jump, and all the same one.
pub(crate) fn elapsed_ms() -> i64 {
    static BEGUN: LazyLock<Instant> = LazyLock::new(Instant::now);
    i64::try_from(BEGUN.elapsed().as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Time stood still: clients' polls were never over, locks of dead ones stayed, nothing was delivered that was due.
    #[test]
    fn a_clock_that_is_set_back_goes_on_slower() {
        let begun = Instant::now();
        let mut last = next(None, 1_000_000, begun);
        for ms in 1..=40_000 {
            let before = last.0;
            last = next(Some(last), 990_000 + ms, begun + Duration::from_millis(ms as u64));
            assert!((before..=before + 3).contains(&last.0));
        }
        assert_eq!(last.0, 1_030_000, "the system's clock has caught up");
        let later = begun + Duration::from_secs(41);
        assert_eq!(next(Some(last), 1_031_000, later), (1_031_000, later));
    }
}
