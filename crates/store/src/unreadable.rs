//! Places that the disk refuses to read. A disk that is in trouble for a moment must not make a message pass for damaged: that
//! would be passed over, and what waits for its time would be given up. One bad sector must not hold up a queue for ever.

use crate::Position;
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::{Mutex, PoisonError};

/// A place that could not be read for so long counts as damaged.
pub(crate) const GIVEN_UP_MS: i64 = 30_000;
/// Nobody met it for so long (clients are made to try again every few seconds): what happens next is another trouble.
const FORGOTTEN_MS: i64 = GIVEN_UP_MS / 2;
/// What lies so near belongs to the same trouble.
const NEAR_BYTES: u64 = 1 << 20;
/// With so many places it is not a place that is bad, but the disk: then nothing is given up.
const PLACES_MAX: usize = 1024;

/// Since when places cannot be read.
#[derive(Default)]
pub(crate) struct Unreadable(Mutex<BTreeMap<Position, Trouble>>);

#[derive(Clone, Copy)]
struct Trouble {
    /// Where what was asked for ends.
    end: Position,
    first_ms: i64,
    last_ms: i64,
}

impl Unreadable {
    /// A part could not be read; whether that has been so for so long that it counts as damaged. `now_ms` is of a clock that
    /// does not jump.
    pub(crate) fn gives_up(&self, part: Range<Position>, now_ms: i64) -> bool {
        let place = part.start;
        let mut places = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if places.len() >= PLACES_MAX {
            places.retain(|_, trouble| now_ms - trouble.last_ms < FORGOTTEN_MS);
        }
        let near = places.range(place.saturating_sub(NEAR_BYTES)..=place.saturating_add(NEAR_BYTES));
        let fresh = near.filter(|(_, trouble)| now_ms - trouble.last_ms < FORGOTTEN_MS);
        let first_ms = fresh.map(|(_, trouble)| trouble.first_ms).min().unwrap_or(now_ms);
        let many = places.len() >= PLACES_MAX;
        if !many || places.contains_key(&place) {
            let end = places.get(&place).map_or(part.end, |trouble| trouble.end.max(part.end));
            places.insert(place, Trouble { end, first_ms, last_ms: now_ms });
        }
        !many && now_ms - first_ms >= GIVEN_UP_MS
    }

    /// All of a part could be read. A trouble of more than that is not over: the head of a record may lie in a good sector.
    pub(crate) fn fine(&self, part: Range<Position>) {
        let mut places = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if !places.is_empty() {
            places.retain(|place, trouble| *place < part.start || trouble.end > part.end);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(place: Position) -> Range<Position> {
        place..place + 10
    }

    #[test]
    fn a_place_is_given_up_after_its_time() {
        let unreadable = Unreadable::default();
        assert!(!unreadable.gives_up(at(100), 0));
        for now_ms in (0..GIVEN_UP_MS).step_by(FORGOTTEN_MS as usize - 1) {
            assert!(!unreadable.gives_up(at(100), now_ms), "after {now_ms}");
        }
        assert!(!unreadable.gives_up(at(100), GIVEN_UP_MS - 1));
        assert!(unreadable.gives_up(at(100), GIVEN_UP_MS));
        assert!(
            unreadable.gives_up(at(100 + NEAR_BYTES), GIVEN_UP_MS),
            "its neighbour is of the same trouble"
        );
        assert!(!unreadable.gives_up(at(100 + 3 * NEAR_BYTES), GIVEN_UP_MS));
    }

    #[test]
    fn a_trouble_that_passed_is_forgotten() {
        let unreadable = Unreadable::default();
        assert!(!unreadable.gives_up(at(100), 0));
        unreadable.fine(50..109);
        unreadable.fine(101..200);
        assert!(
            !unreadable.gives_up(at(100), GIVEN_UP_MS - FORGOTTEN_MS - 1),
            "what lies beside it is not it"
        );
        assert!(!unreadable.gives_up(at(100), GIVEN_UP_MS - 2));
        unreadable.fine(100..110);
        assert!(!unreadable.gives_up(at(100), GIVEN_UP_MS));
        assert!(!unreadable.gives_up(at(100), GIVEN_UP_MS + FORGOTTEN_MS), "nobody tried meanwhile");
    }

    #[test]
    fn a_disk_that_is_bad_everywhere_makes_nothing_damaged() {
        let unreadable = Unreadable::default();
        for now_ms in [0, 14_000, 28_000, 40_000] {
            for place in 0..=PLACES_MAX as u64 {
                assert!(!unreadable.gives_up(at(place * 3 * NEAR_BYTES), now_ms), "{place} after {now_ms}");
            }
        }
    }
}
