//! What went with its segment when it was old enough: nothing that a group which had begun has still to read.

use kerolox_store::Position;
use std::collections::BTreeMap;

/// Where a broker's log begins.
#[derive(Debug, Clone, Copy, Default)]
struct Beginning {
    now: Position,
    /// The same as long as not every group had an offset there: what such a group has to read keeps nothing.
    unheld: Position,
}

#[derive(Debug, Default)]
pub struct Gone {
    beginnings: BTreeMap<usize, Beginning>,
}

impl Gone {
    /// A broker's log begins at `min`; `held`: every group had an offset in every queue.
    pub fn began_at(&mut self, broker: usize, min: Position, held: bool) {
        let beginning = self.beginnings.entry(broker).or_default();
        if !held && min > beginning.now {
            beginning.unheld = min;
        }
        beginning.now = min.max(beginning.now);
    }

    /// Whether what lay there went.
    pub fn took(&self, broker: usize, position: Position) -> bool {
        self.beginnings.get(&broker).is_some_and(|beginning| position < beginning.now)
    }

    /// Whether it went before every group had to be waited for.
    pub fn took_unread(&self, broker: usize, position: Position) -> bool {
        self.beginnings.get(&broker).is_some_and(|beginning| position < beginning.unheld)
    }

    /// Bytes of all logs that went.
    pub fn bytes(&self) -> u64 {
        self.beginnings.values().map(|beginning| beginning.now).sum()
    }
}
