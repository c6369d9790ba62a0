//! Reads while nothing else goes on: at a start that takes over what Apache left, and at an end that gives it back.

use super::threads::Disk;
use crate::clock::elapsed_ms;
use kerolox_store::{ReadPlan, ReadResult, Reader};
use std::thread::sleep;
use std::time::Duration;

/// Pause before what the disk refused is asked for again.
const PAUSE: Duration = Duration::from_millis(200);
/// How long a start tries each: twice the time after which the reader takes a place for damaged. A disk that is bad everywhere, of which
/// nothing is taken for damaged, ends it.
pub(super) const START_MS: i64 = 60_000;
/// An end tries for so long, all its reads together: nothing else goes on meanwhile.
pub(super) const END_MS: i64 = 40_000;

/// Reads, again and again as long as the disk refuses and the reader has not given up the place, but not behind `until_ms` of
/// [`elapsed_ms`].
pub(super) fn read(until_ms: i64, reader: &Reader<Disk>, plan: &ReadPlan) -> ReadResult {
    read_with(until_ms, &elapsed_ms, &|now_ms| reader.execute(plan, now_ms), &|| sleep(PAUSE))
}

fn read_with(
    until_ms: i64,
    now_ms: &dyn Fn() -> i64,
    execute: &dyn Fn(i64) -> ReadResult,
    pause: &dyn Fn(),
) -> ReadResult {
    loop {
        let now = now_ms();
        match execute(now) {
            ReadResult::Failed(_) if now < until_ms => pause(),
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
        let read = read_with(5 + START_MS, &|| clock.get(), &execute, &|| clock.set(clock.get() + 200));
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
