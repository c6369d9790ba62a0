//! What disks lost of what they had said was safe: exactly the records that lay there may be missing, and somebody must say so.

use super::{Place, Queue};
use crate::message::{Id, Sent};
use kerolox_store::{Damage, Position};
use kerolox_wire::record::RECORD_BYTES_MIN;
use std::collections::{BTreeMap, BTreeSet};

#[derive(Debug, Default)]
pub struct Damaged {
    /// Records that lie in damaged blocks, and where in the log.
    places: BTreeMap<Place, Position>,
    sents: BTreeSet<Sent>,
    ids: BTreeSet<Id>,
    /// Parts of a broker's log that it named as damaged: their ends by broker and beginning.
    named: BTreeMap<(usize, Position), Position>,
    /// How many offsets of a queue a broker may have passed over at its starts.
    passed_over: BTreeMap<usize, u64>,
}

impl Damaged {
    /// A record lies in a damaged block.
    pub fn hit(&mut self, queue: Queue, offset: u64, sent: Option<Sent>, position: Position) {
        self.places.insert(Place { queue, offset }, position);
        self.sents.extend(sent);
        self.ids.extend(sent.map(|(id, _)| id));
    }

    /// A broker said that something is damaged.
    pub fn named(&mut self, broker: usize, damage: &Damage) {
        let end = self.named.entry((broker, damage.position)).or_default();
        *end = (damage.position + damage.bytes.max(1)).max(*end);
    }

    /// A broker said so at a start. A queue that has nothing behind may have had its last messages there: its offsets go on behind
    /// as many as there is room for, lest one be given away again.
    pub fn named_at_start(&mut self, broker: usize, damage: &Damage) {
        self.named(broker, damage);
        *self.passed_over.entry(broker).or_default() += damage.bytes.div_ceil(RECORD_BYTES_MIN as u64);
    }

    /// How many offsets of a broker's queue may never have been given to a message.
    pub(super) fn passed_over(&self, broker: usize) -> u64 {
        self.passed_over.get(&broker).copied().unwrap_or(0)
    }

    pub fn is_hit(&self, place: &Place) -> bool {
        self.places.contains_key(place)
    }

    /// Whether one of a message's records was damaged, the whole message or one of its sends.
    pub fn has_hit(&self, id: Id) -> bool {
        self.ids.contains(&id)
    }

    pub fn has_hit_send(&self, sent: &Sent) -> bool {
        self.sents.contains(sent)
    }

    /// What is wrong with a message not being at its place any more, if anything.
    pub(super) fn excuses(&self, place: &Place) -> Result<(), &'static str> {
        let position = *self.places.get(place).ok_or("is lost")?;
        let broker = place.queue.broker;
        let before = self.named.range((broker, 0)..=(broker, position));
        let named = before.into_iter().any(|(_, end)| *end > position);
        if named { Ok(()) } else { Err("is damaged, and nobody said so") }
    }

    /// Records that lie in damaged blocks.
    pub fn count(&self) -> usize {
        self.places.len()
    }
}
