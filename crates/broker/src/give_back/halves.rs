//! Half messages that ended: Apache knows them by messages that name their offsets.

use crate::Broker;
use crate::adopt::HALF_GROUP;
use kerolox_store::AppendError;
use kerolox_wire::names;
use kerolox_wire::properties::name as property;
use std::collections::BTreeSet;

/// Source: `TransactionalMessageUtil.REMOVE_TAG`.
const ENDED_TAG: &str = "d";
/// Bytes of one message that names half messages: Apache reads 32 at a time, and asks for what is not in the first of them.
const BODY_BYTES_MAX: usize = 64 << 10;

impl Broker {
    /// Offset of the first half message that is pending, or behind all of them.
    pub(super) fn first_half(&self) -> u64 {
        let end = self.store.next_offset(names::TRANS_HALF_TOPIC, 0);
        self.state.halves.iter().map(|(_, half)| half.offset).min().unwrap_or(end)
    }

    /// Names those that ended behind the first that did not.
    pub(super) fn end_halves(&mut self, now_ms: i64, first: u64) -> Result<(), AppendError> {
        let pending: BTreeSet<u64> = self.state.halves.iter().map(|(_, half)| half.offset).collect();
        let end = self.store.next_offset(names::TRANS_HALF_TOPIC, 0);
        let mut body = String::new();
        for offset in first..end {
            if !pending.contains(&offset) {
                body.push_str(&format!("{offset},"));
            }
            if body.len() >= BODY_BYTES_MAX || (offset + 1 == end && !body.is_empty()) {
                let topic = (names::TRANS_OP_HALF_TOPIC, 0);
                self.append_for_apache(now_ms, topic, &[(property::TAGS, ENDED_TAG)], body.as_bytes())?;
                body.clear();
            }
        }
        Ok(())
    }
}

/// How far Apache's search for half messages is.
pub(super) fn offsets(first_half: u64, first_op: u64) -> [(String, u64); 2] {
    [(names::TRANS_HALF_TOPIC, first_half), (names::TRANS_OP_HALF_TOPIC, first_op)]
        .map(|(topic, offset)| (format!("{topic}@{HALF_GROUP}"), offset))
}
