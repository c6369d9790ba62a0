//! Telling the operator which records of the log are damaged.

use crate::report;
use kerolox_store::{Damage, Position};
use std::cell::RefCell;
use std::collections::BTreeSet;

/// Damaged places that are told one by one.
pub(crate) const DAMAGE_LINES_MAX: usize = 1_000;

/// Says each damaged place once, by file and offset.
pub(crate) struct DamageLines {
    segment_bytes: u64,
    said: RefCell<BTreeSet<Position>>,
}

impl DamageLines {
    pub(crate) fn new(segment_bytes: u64) -> Self {
        Self { segment_bytes: segment_bytes.max(1), said: RefCell::default() }
    }

    /// This record is damaged and not served.
    pub(crate) fn say(&self, found: &Damage) {
        let mut said = self.said.borrow_mut();
        if said.len() >= DAMAGE_LINES_MAX || !said.insert(found.position) {
            return;
        }
        let record = match &found.record {
            Some((topic, queue, offset)) => format!("topic {topic}, queue {queue}, offset {offset}"),
            None => "topic unknown".to_owned(),
        };
        let place = self.place(found.position);
        report::line(&format!(
            "DAMAGED record, not served: {place}, {} bytes, {record}: {}",
            found.bytes, found.why
        ));
        if said.len() == DAMAGE_LINES_MAX {
            report::line("more damaged records are not told one by one");
        }
    }

    fn place(&self, position: Position) -> String {
        let base = position - position % self.segment_bytes;
        format!("commitlog/{base:020} at byte {} (position {position})", position - base)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_told_by_file_and_byte() {
        let lines = DamageLines::new(1 << 20);
        assert_eq!(lines.place(5), "commitlog/00000000000000000000 at byte 5 (position 5)");
        assert_eq!(lines.place((3 << 20) + 7), "commitlog/00000000000003145728 at byte 7 (position 3145735)");
    }
}
