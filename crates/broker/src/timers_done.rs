//! What is durable of timer messages: how far they were delivered, and which are not to be.

use crate::timer::Due;
use std::collections::BTreeSet;

/// A fold of the log.
pub(crate) struct TimersDone {
    /// All up to this due time and offset were delivered.
    pub(crate) done: Due,
    /// Offset below which nothing is pending.
    pub(crate) floor: u64,
    /// Recalled, or moved to the end of the log.
    pub(crate) recalled: BTreeSet<Due>,
}

impl Default for TimersDone {
    fn default() -> Self {
        Self { done: (i64::MIN, 0), floor: 0, recalled: BTreeSet::new() }
    }
}

impl TimersDone {
    pub(crate) fn advance(&mut self, done: Due, floor: u64) {
        self.done = self.done.max(done);
        self.floor = self.floor.max(floor);
        // What is passed needs no mark any more.
        while self.recalled.first().is_some_and(|first| *first <= self.done) {
            self.recalled.pop_first();
        }
    }
}
