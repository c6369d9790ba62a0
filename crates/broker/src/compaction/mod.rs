//! Compaction topics (`cleanup.policy=COMPACTION`): of what retention takes, the last message of each key stays.
//!
//! Within the retention time such a topic is like any other. Before a segment goes, the last message of a key that lies in
//! it is written once more at the end of the log, into a queue of the same topic whose id has the bit [`KEPT_QUEUE`]; the
//! record's `prepared transaction offset` says which offset it has for consumers. Those who ask for offsets below the
//! queue's own beginning are given these. `docs/adr/0007-compaction-topics.md` says why.
//!
//! Which message is a key's last is known in memory only, and read from the topic again at each start; until that is done
//! nothing of the log goes. Nothing is taken for a key's last message before it is confirmed.

mod keep;

pub(crate) use keep::restored;

use kerolox_store::{Bounds, Position};
use kerolox_wire::body::TopicConfig;
use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::hash::{BuildHasherDefault, DefaultHasher};
use std::sync::Arc;

/// Set in the id of the queue that holds what was kept of the queue without it. Clients can name no such queue: their
/// ids end far below.
pub(crate) const KEPT_QUEUE: u32 = 1 << 30;

/// Hash of a message's whole `KEYS`. So long that two keys do not share one.
pub(crate) type KeyHash = [u64; 2];
/// Number of a queue in memory; never used for another.
type Number = usize;
type Hasher = BuildHasherDefault<DefaultHasher>;

/// A message of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Message {
    /// As consumers count.
    pub(super) offset: u64,
    pub(super) position: Position,
    /// It was written again.
    pub(super) kept: bool,
    /// It has no body: its key is no more.
    pub(super) ends: bool,
}

#[derive(Default)]
struct Queue {
    last: HashMap<KeyHash, Message, Hasher>,
    /// Of the last messages those that were written again, by offset.
    kept: BTreeMap<u64, Position>,
}

/// Whose last message lies somewhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Place {
    queue: Number,
    key: KeyHash,
}

/// Appended and not confirmed yet.
struct Pending {
    end: Position,
    place: Place,
    message: Message,
}

/// Entries of a queue that are still to be read at a start.
pub(super) struct Part {
    pub(super) topic: Arc<str>,
    /// As the store counts: with [`KEPT_QUEUE`] where that is what is read.
    pub(super) queue_id: u32,
    pub(super) next: u64,
    pub(super) end: u64,
}

/// All compaction topics.
#[derive(Default)]
pub(crate) struct Compaction {
    topics: HashMap<Arc<str>, BTreeMap<u32, Number>, Hasher>,
    /// `None`: of a topic that was deleted.
    queues: Vec<Option<Queue>>,
    /// All last messages, by where they lie.
    places: BTreeMap<Position, Place>,
    pending: VecDeque<Pending>,
    /// What of the topics was not read yet since the start; those that were kept first.
    loading: VecDeque<Part>,
    /// A part is being read.
    reading: bool,
    /// Nothing is read before then.
    pause_until_ms: i64,
    /// Last messages are being read to be written again.
    rolling: bool,
}

/// Whether a topic keeps the last message of each key.
pub(crate) fn is_compacted(config: &TopicConfig) -> bool {
    config.attributes.get(crate::attributes::CLEANUP_POLICY).is_some_and(|policy| policy == "COMPACTION")
}

impl Compaction {
    /// A topic is there, or was changed.
    pub(crate) fn topic_put(&mut self, config: &TopicConfig) {
        if is_compacted(config) && !self.has(&config.topic_name) {
            self.topics.insert(Arc::from(&*config.topic_name), BTreeMap::new());
        }
    }

    pub(crate) fn topic_deleted(&mut self, topic: &str) {
        let Some(gone) = self.topics.remove(topic) else { return };
        let gone: HashSet<Number> = gone.into_values().collect();
        for number in &gone {
            if let Some(queue) = self.queues.get_mut(*number) {
                *queue = None;
            }
        }
        self.places.retain(|_, place| !gone.contains(&place.queue));
        self.loading.retain(|part| *part.topic != *topic);
    }

    pub(crate) fn has(&self, topic: &str) -> bool {
        !self.topics.is_empty() && self.topics.contains_key(topic)
    }

    fn queue(&self, topic: &str, queue_id: u32) -> Option<&Queue> {
        self.queues.get(*self.topics.get(topic)?.get(&queue_id)?)?.as_ref()
    }

    /// The place of a key; `None` for a topic that is none of these.
    fn place(&mut self, topic: &str, queue_id: u32, key: KeyHash) -> Option<Place> {
        let queues = self.topics.get_mut(topic)?;
        let next = self.queues.len();
        let queue = *queues.entry(queue_id & !KEPT_QUEUE).or_insert(next);
        if queue == next {
            self.queues.push(Some(Queue::default()));
        }
        Some(Place { queue, key })
    }

    /// Keys with a message.
    pub(crate) fn len(&self) -> usize {
        self.places.len() + self.pending.len()
    }

    /// Whether a key has a message already.
    pub(crate) fn knows(&self, topic: &str, queue_id: u32, key: &KeyHash) -> bool {
        self.queue(topic, queue_id).is_some_and(|queue| queue.last.contains_key(key))
    }

    /// Whether what there was before the start is not known yet.
    pub(crate) fn is_loading(&self) -> bool {
        !self.loading.is_empty()
    }

    /// Where the first message lies that must stay.
    pub(crate) fn oldest(&self) -> Option<Position> {
        match self.is_loading() {
            true => Some(0),
            false => self.places.first_key_value().map(|(position, _)| *position),
        }
    }

    pub(crate) fn wake_ms(&self) -> Option<i64> {
        (self.is_loading() && !self.reading).then_some(self.pause_until_ms)
    }

    /// A queue's bounds, what was kept included.
    pub(crate) fn widen(&self, topic: &str, queue_id: u32, bounds: Bounds) -> Bounds {
        if !self.has(topic) {
            return bounds;
        }
        let first = self.queue(topic, queue_id).and_then(|queue| queue.kept.first_key_value());
        let min = match first {
            // What was kept may begin anywhere.
            _ if self.is_loading() => 0,
            Some((first, _)) => bounds.min.min(*first),
            None => bounds.min,
        };
        Bounds { min, ..bounds }
    }

    /// A message of a compaction topic was appended.
    fn appended(&mut self, topic: &str, queue_id: u32, key: KeyHash, end: Position, message: Message) {
        if let Some(place) = self.place(topic, queue_id, key) {
            self.pending.push_back(Pending { end, place, message });
        }
    }

    /// The log is safe up to there.
    pub(crate) fn confirmed(&mut self, confirmed: Position) {
        while let Some(pending) = self.pending.pop_front_if(|pending| pending.end <= confirmed) {
            self.see(pending.place, pending.message);
        }
    }

    /// A message that is there: the last of its key, or an older one. (Of one that was written again, the later copy.)
    fn see(&mut self, place: Place, message: Message) {
        let loading = self.is_loading();
        let Some(queue) = self.queues.get_mut(place.queue).and_then(Option::as_mut) else { return };
        if let Some(known) = queue.last.get(&place.key) {
            if (known.offset, known.position) >= (message.offset, message.position) {
                return;
            }
            self.places.remove(&known.position);
            queue.kept.remove(&known.offset);
        }
        if message.ends {
            // An older one may still turn up: it is remembered that long.
            match loading {
                true => drop(queue.last.insert(place.key, message)),
                false => drop(queue.last.remove(&place.key)),
            }
            return;
        }
        queue.last.insert(place.key, message);
        self.places.insert(message.position, place);
        if message.kept {
            queue.kept.insert(message.offset, message.position);
        }
    }

    /// All parts were read.
    fn loaded(&mut self) {
        for queue in self.queues.iter_mut().flatten() {
            queue.last.retain(|_, message| !message.ends);
        }
    }

    /// Of what was kept of a queue, `count` messages from an offset on, up to where the queue itself begins.
    fn kept(&self, topic: &str, queue_id: u32, from: u64, below: u64, count: usize) -> Vec<(u64, Position)> {
        let Some(queue) = self.queue(topic, queue_id).filter(|_| from < below) else { return Vec::new() };
        queue.kept.range(from..below).take(count).map(|(offset, position)| (*offset, *position)).collect()
    }

    fn kept_at(&self, topic: &str, queue_id: u32, offset: u64) -> Option<Position> {
        self.queue(topic, queue_id)?.kept.get(&offset).copied()
    }

    /// Keys that have a message which is not confirmed yet: nothing older of theirs is to be written again.
    fn changing(&self) -> HashSet<Place, Hasher> {
        self.pending.iter().map(|pending| pending.place).collect()
    }

    /// The first last messages that lie below `position`, `count` of them at most.
    fn below(&self, position: Position, count: usize) -> Vec<Position> {
        let changing = self.changing();
        let old = self.places.range(..position).filter(|(_, place)| !changing.contains(place));
        old.take(count).map(|(position, _)| *position).collect()
    }

    /// The offset, for consumers, of the last message that lies at a position.
    fn offset_at(&self, position: Position) -> Option<(Place, u64)> {
        let place = *self.places.get(&position)?;
        let message = self.queues.get(place.queue)?.as_ref()?.last.get(&place.key)?;
        Some((place, message.offset))
    }

    /// The last message that lies at a position cannot be read.
    fn lost(&mut self, position: Position) {
        let Some(place) = self.places.remove(&position) else { return };
        if let Some(queue) = self.queues.get_mut(place.queue).and_then(Option::as_mut)
            && let Some(message) = queue.last.remove(&place.key)
        {
            queue.kept.remove(&message.offset);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::topics;

    const KEY: KeyHash = [1, 2];

    fn compaction() -> Compaction {
        let mut compaction = Compaction::default();
        let mut config = topics::new("T", 1, 6);
        config.attributes.insert("cleanup.policy".into(), "COMPACTION".into());
        compaction.topic_put(&config);
        compaction.topic_put(&topics::new("U", 1, 6));
        assert!(compaction.has("T") && !compaction.has("U"));
        compaction
    }

    fn message(offset: u64, position: Position) -> Message {
        Message { offset, position, kept: false, ends: false }
    }

    /// Appends and confirms.
    fn put(compaction: &mut Compaction, key: KeyHash, message: Message) {
        compaction.appended("T", 0, key, message.position + 1, message);
        compaction.confirmed(message.position + 1);
    }

    #[test]
    fn only_what_is_confirmed_takes_the_place_of_what_is_there() {
        let mut compaction = compaction();
        put(&mut compaction, KEY, message(0, 100));
        compaction.appended("T", 0, KEY, 300, message(1, 200));
        assert_eq!(compaction.oldest(), Some(100));
        assert!(compaction.below(150, 9).is_empty(), "it is about to be an old one");
        compaction.confirmed(299);
        assert_eq!(compaction.oldest(), Some(100));
        compaction.confirmed(300);
        assert_eq!(compaction.oldest(), Some(200));
        assert_eq!((compaction.below(201, 9), compaction.len()), (vec![200], 1));
    }

    #[test]
    fn what_was_written_again_keeps_its_offset_until_a_newer_one_comes() {
        let mut compaction = compaction();
        put(&mut compaction, KEY, message(5, 100));
        put(&mut compaction, [3, 4], message(6, 150));
        let copy = Message { kept: true, ..message(5, 400) };
        put(&mut compaction, KEY, copy);
        assert_eq!(compaction.oldest(), Some(150));
        assert_eq!(compaction.kept("T", 0, 0, 6, 9), [(5, 400)]);
        assert!(compaction.kept("T", 0, 0, 5, 9).is_empty(), "the queue itself has it still");
        let bounds = Bounds { min: 6, max: 7 };
        assert_eq!(compaction.widen("T", 0, bounds), Bounds { min: 5, max: 7 });
        assert_eq!(compaction.widen("U", 0, bounds), bounds);
        put(&mut compaction, KEY, message(7, 500));
        assert!(compaction.kept("T", 0, 0, 7, 9).is_empty());
        // The copy of an older one turns up late.
        put(&mut compaction, KEY, Message { position: 600, ..copy });
        assert!(compaction.kept("T", 0, 0, 7, 9).is_empty());
        put(&mut compaction, [3, 4], Message { ends: true, ..message(8, 700) });
        assert_eq!((compaction.oldest(), compaction.len()), (Some(500), 1));
        compaction.topic_deleted("T");
        assert_eq!((compaction.oldest(), compaction.len()), (None, 0));
    }

    #[test]
    fn an_end_that_is_seen_before_what_it_ends_is_remembered_while_loading() {
        let mut compaction = compaction();
        let part = Part { topic: Arc::from("T"), queue_id: 0, next: 0, end: 9 };
        compaction.loading.push_back(part);
        assert_eq!(compaction.oldest(), Some(0), "nothing goes before all is known");
        assert_eq!(compaction.widen("T", 0, Bounds { min: 6, max: 7 }).min, 0);
        put(&mut compaction, KEY, Message { ends: true, ..message(8, 700) });
        put(&mut compaction, KEY, Message { kept: true, ..message(3, 500) });
        compaction.loading.clear();
        compaction.loaded();
        assert_eq!((compaction.oldest(), compaction.knows("T", 0, &KEY)), (None, false));
    }

    #[test]
    fn what_cannot_be_read_is_in_the_way_of_nothing() {
        let mut compaction = compaction();
        put(&mut compaction, KEY, Message { kept: true, ..message(5, 100) });
        assert_eq!(compaction.offset_at(100).map(|(_, offset)| offset), Some(5));
        compaction.lost(100);
        assert_eq!((compaction.oldest(), compaction.kept_at("T", 0, 5)), (None, None));
    }
}
