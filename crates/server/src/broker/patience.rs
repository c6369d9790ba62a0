//! Reads while nothing else goes on: at a start that takes over what Apache left, and at an end that gives it back.

use kerolox_store::ReadResult;
use std::thread::sleep;
use std::time::Duration;

/// Pause before what the disk refused is asked for again.
const PAUSE: Duration = Duration::from_millis(200);
/// How long one read is tried: twice the time after which the reader takes a place for damaged. A disk that is bad everywhere, of which
/// nothing is taken for damaged, ends it.
const WAIT_MS: i64 = 60_000;

/// Reads, again and again as long as the disk refuses and the reader has not given up the place. `now_ms` is of a clock that does not jump.
pub(super) fn read(now_ms: &dyn Fn() -> i64, execute: &dyn Fn(i64) -> ReadResult) -> ReadResult {
    read_with(now_ms, execute, &|| sleep(PAUSE))
}

fn read_with(now_ms: &dyn Fn() -> i64, execute: &dyn Fn(i64) -> ReadResult, pause: &dyn Fn()) -> ReadResult {
    let begun = now_ms();
    loop {
        let now = now_ms();
        match execute(now) {
            ReadResult::Failed(_) if now - begun < WAIT_MS => pause(),
            result => return result,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;

    /// What comes of a read of a place that is taken for damaged after so long.
    fn read_of(given_up_ms: i64) -> (ReadResult, i64) {
        let clock = Cell::new(5);
        let execute = |now: i64| match now - 5 < given_up_ms {
            true => ReadResult::Failed("a bad sector".to_owned()),
            false => ReadResult::Records(Vec::new()),
        };
        let read = read_with(&|| clock.get(), &execute, &|| clock.set(clock.get() + 200));
        (read, clock.get() - 5)
    }

    /// One sector, and no start took over anything any more: each asked once.
    #[test]
    fn a_sector_that_cannot_be_read_is_waited_for_until_it_is_given_up() {
        assert!(matches!(read_of(30_000), (ReadResult::Records(_), 30_000)));
        assert!(matches!(read_of(0), (ReadResult::Records(_), 0)));
    }

    #[test]
    fn a_disk_of_which_nothing_is_given_up_is_not_waited_for_without_end() {
        assert!(matches!(read_of(i64::MAX), (ReadResult::Failed(_), 60_000)));
    }
}
