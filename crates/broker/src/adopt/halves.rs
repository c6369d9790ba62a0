//! Half messages that Apache has not ended: those from its progress on that no operation message names.

use super::files::Offsets;
use super::{Adopted, Log};
use crate::state::{self, State};
use kerolox_wire::names;
use std::collections::HashSet;
use std::ops::ControlFlow;

/// The group in which Apache counts how far it looked. Source: `TransactionalMessageUtil.buildConsumerGroup`.
pub(crate) const GROUP: &str = "CID_RMQ_SYS_TRANS";

/// The fold of the log knows all half messages without a commit; here go those that were rolled back, or written again
/// after a check.
pub(super) fn adopt(
    state: &State,
    offsets: &Offsets,
    log: &mut Log<'_>,
    adopted: &mut Adopted,
) -> Result<(), String> {
    let begin = offsets.get(GROUP, names::TRANS_HALF_TOPIC, 0).unwrap_or(0);
    let looked = offsets.get(GROUP, names::TRANS_OP_HALF_TOPIC, 0).unwrap_or(0);
    let mut ended = HashSet::new();
    log.each(names::TRANS_OP_HALF_TOPIC, 0, looked..u64::MAX, &mut |view| {
        // One offset, or since version 5 several, each with a comma behind it.
        let text = std::str::from_utf8(view.body).unwrap_or_default();
        ended.extend(text.split(',').filter_map(|offset| offset.trim().parse::<u64>().ok()));
        ControlFlow::Continue(())
    })?;
    for (position, half) in state.halves.iter() {
        match half.offset < begin || ended.contains(&half.offset) {
            true => state::put_half_end(&mut adopted.entries, position),
            false => adopted.half_messages += 1,
        }
    }
    Ok(())
}
