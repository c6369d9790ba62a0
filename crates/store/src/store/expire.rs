//! Retention of a topic of its own: shorter than the log's, its messages leave their queues before their segments go; longer,
//! its segments stay.

use crate::index::{Index, RunFacts};
use crate::queue::{Piece, Queue, bytes_of};
use crate::{Position, Store};
use std::collections::BTreeMap;
use std::sync::Arc;

/// What a topic may keep. Counted in whole index runs: what lies in the same run as something that stays, stays.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TopicRetention {
    /// Messages stored before this may go; `None`: whatever their age, only the log's own retention takes them.
    pub before_ms: Option<i64>,
    /// The oldest go while at least so many bytes of the topic's records are left, all queues together.
    pub bytes_max: Option<u64>,
}

impl Store {
    /// Lets those messages of a topic leave its queues that its retention does not keep, but none that `needed_from` (by queue:
    /// the first offset that somebody has still to read, if anybody has) says is needed. Gives how many went. It is not
    /// remembered over a start: to be called again then.
    pub fn expire(
        &mut self,
        topic: &str,
        retention: TopicRetention,
        needed_from: impl Fn(u32) -> Option<u64>,
    ) -> u64 {
        let Index { queues, runs, .. } = &mut self.index;
        let ids: Vec<u32> = queues.ids_of(topic).collect();
        let bytes_in =
            |queue: &Queue| queue.pieces.iter().map(|piece| piece.bytes).sum::<u64>() + bytes_of(&queue.open);
        let mut bytes: u64 = ids.iter().filter_map(|id| queues.find(topic, *id)).map(bytes_in).sum();
        let mut gone = 0;
        loop {
            // The oldest that nobody needs.
            let fronts = ids.iter().filter_map(|id| Some((*id, queues.find(topic, *id)?.pieces.front()?)));
            let free = fronts.filter(|(id, piece)| {
                piece.at.is_some() && needed_from(*id).is_none_or(|needed| piece.end() <= needed)
            });
            let Some((id, piece)) = free.min_by_key(|(_, piece)| piece.run) else { break };
            let newest_ms = newest_ms(runs, piece);
            let old = retention.before_ms.zip(newest_ms).is_some_and(|(before, newest)| newest < before);
            let much = retention.bytes_max.is_some_and(|most| bytes.saturating_sub(piece.bytes) >= most);
            if !old && !much {
                break;
            }
            bytes -= piece.bytes;
            gone += u64::from(piece.count);
            if let Some(queue) = queues.index(topic, id).and_then(|index| queues.get_mut(index)) {
                queue.pieces.pop_front();
            }
        }
        gone
    }

    /// Where the first index run lies that has a message of a topic and one that is not older than `since_ms`.
    pub fn fresh_from(&self, topic: &str, since_ms: i64) -> Option<Position> {
        let Index { queues, runs, .. } = &self.index;
        let fresh = |piece: &&Piece| newest_ms(runs, piece).is_none_or(|newest| newest >= since_ms);
        let first = |queue: &Queue| queue.pieces.iter().find(fresh).map(|piece| piece.run);
        queues.ids_of(topic).filter_map(|id| queues.find(topic, id)).filter_map(first).min()
    }
}

/// Store time of the newest record of a piece's run.
fn newest_ms(runs: &BTreeMap<Position, Arc<RunFacts>>, piece: &Piece) -> Option<i64> {
    runs.get(&piece.run)?.times.map(|(_, newest)| newest)
}
