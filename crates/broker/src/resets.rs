//! Offsets that an administrator set while consumers may be under way: how they are brought to begin there, and how
//! commits of what they have still in hand are kept from undoing it.
//!
//! Apache forgets a reset with the first pull that it told of it, so that the offset which that very pull carries, or a
//! commit that the client sends before it obeys (4.x takes 10 s), undoes the reset for good if the client ends there.
//! Here a reset stays in force until a consumer begins at it, or was told and had time enough to.

use crate::dump::queues_from;
use crate::input::ConnId;
use crate::pop::Key;
use std::collections::BTreeMap;
use std::sync::Arc;

/// How long after the first word of it a consumer may take to obey: 4.x clients wait for 10 s, and then for up to 20 s for
/// their next sharing of queues. One that goes on elsewhere after that has its reasons.
const OBEY_MS: i64 = 60_000;

/// A reset that no consumer has begun at yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Reset {
    offset: u64,
    /// Who was told of it last, and when somebody was first.
    told: Option<(ConnId, i64)>,
}

impl Reset {
    fn is_over(&self, now_ms: i64) -> bool {
        self.told.is_some_and(|(_, since)| now_ms.saturating_sub(since) >= OBEY_MS)
    }
}

/// What a reset means for a pull.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Pulled {
    /// Nothing: there is none, or its client was told and pulls elsewhere all the same.
    Free,
    /// The same; and there is none any more.
    Done,
    /// The client is to go on from there.
    Moved(u64),
}

type Queues = BTreeMap<u32, Reset>;

/// Resets in force by group, topic and queue. Who was told is not part of the durable state: after a restart it is told again.
#[derive(Default)]
pub(crate) struct Resets {
    groups: BTreeMap<Arc<str>, BTreeMap<Arc<str>, Queues>>,
}

impl Resets {
    pub(crate) fn put(&mut self, group: &str, topic: &str, queue_id: u32, offset: u64) {
        let topics = self.groups.entry(Arc::from(group)).or_default();
        topics.entry(Arc::from(topic)).or_default().insert(queue_id, Reset { offset, told: None });
    }

    fn get_mut(&mut self, group: &str, topic: &str, queue_id: u32) -> Option<&mut Reset> {
        self.groups.get_mut(group)?.get_mut(topic)?.get_mut(&queue_id)
    }

    pub(crate) fn remove(&mut self, group: &str, topic: &str, queue_id: u32) {
        let Some(topics) = self.groups.get_mut(group) else { return };
        if let Some(queues) = topics.get_mut(topic) {
            queues.remove(&queue_id);
            if queues.is_empty() {
                topics.remove(topic);
            }
        }
        if topics.is_empty() {
            self.groups.remove(group);
        }
    }

    /// A consumer pulls.
    pub(crate) fn pulled(
        &mut self,
        now_ms: i64,
        conn: ConnId,
        (group, topic, queue_id): (&str, &str, u32),
        from: i64,
    ) -> Pulled {
        let Some(reset) = self.get_mut(group, topic, queue_id) else { return Pulled::Free };
        if i64::try_from(reset.offset) == Ok(from) || reset.is_over(now_ms) {
            self.remove(group, topic, queue_id);
            return Pulled::Done;
        }
        match reset.told {
            // It sought this place itself; or pulls several times at once.
            Some((told, _)) if told == conn => Pulled::Free,
            told => {
                reset.told = Some((conn, told.map_or(now_ms, |(_, since)| since)));
                Pulled::Moved(reset.offset)
            }
        }
    }

    /// Whether a commit is to be passed over: it says how far its consumer came before the reset.
    pub(crate) fn outdates(&self, now_ms: i64, queue: (&str, &str, u32), offset: u64) -> bool {
        let reset = self.elsewhere(queue, offset);
        reset.is_some_and(|reset| !reset.is_over(now_ms))
    }

    pub(crate) fn forget_topic(&mut self, topic: &str) {
        self.groups.retain(|_, topics| {
            topics.remove(topic);
            !topics.is_empty()
        });
    }

    pub(crate) fn forget_group(&mut self, group: &str) {
        self.groups.remove(group);
    }

    /// Whether consumers are to begin somewhere else.
    pub(crate) fn leads_away(&self, queue: (&str, &str, u32), offset: u64) -> bool {
        self.elsewhere(queue, offset).is_some()
    }

    fn elsewhere(&self, (group, topic, queue_id): (&str, &str, u32), offset: u64) -> Option<&Reset> {
        let reset = self.groups.get(group)?.get(topic)?.get(&queue_id)?;
        Some(reset).filter(|reset| reset.offset != offset)
    }

    /// Group, topic, queue and offset of each from one on.
    pub(crate) fn from<'a>(
        &'a self,
        key: &'a Key,
    ) -> impl Iterator<Item = (&'a Arc<str>, &'a Arc<str>, u32, u64)> {
        queues_from(&self.groups, key)
            .map(|(group, topic, queue_id, reset)| (group, topic, queue_id, reset.offset))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: ConnId = ConnId(1);
    const B: ConnId = ConnId(2);
    const QUEUE: (&str, &str, u32) = ("g", "t", 0);

    fn resets() -> Resets {
        let mut resets = Resets::default();
        resets.put("g", "t", 0, 5);
        resets
    }

    #[test]
    fn a_reset_is_in_force_until_a_consumer_begins_at_it() {
        let mut resets = resets();
        assert!(resets.outdates(0, QUEUE, 9) && !resets.outdates(0, QUEUE, 5));
        assert!(!resets.outdates(0, ("g", "t", 1), 9) && !resets.outdates(0, ("h", "t", 0), 9));
        assert_eq!(resets.pulled(0, A, QUEUE, 9), Pulled::Moved(5));
        assert!(resets.outdates(10_000, QUEUE, 9));
        assert_eq!(resets.pulled(10_000, A, QUEUE, 5), Pulled::Done);
        assert!(!resets.outdates(10_000, QUEUE, 9));
        assert_eq!(resets.pulled(10_001, A, QUEUE, 9), Pulled::Free);
        assert!(resets.groups.is_empty());
    }

    #[test]
    fn one_who_does_not_obey_is_told_once_and_let_go_in_the_end() {
        let mut resets = resets();
        assert_eq!(resets.pulled(0, A, QUEUE, 9), Pulled::Moved(5));
        assert_eq!(resets.pulled(1, A, QUEUE, 9), Pulled::Free);
        assert_eq!(resets.pulled(2, B, QUEUE, -1), Pulled::Moved(5));
        assert!(resets.outdates(OBEY_MS - 1, QUEUE, 9) && !resets.outdates(OBEY_MS, QUEUE, 9));
        assert_eq!(resets.pulled(OBEY_MS, A, QUEUE, 9), Pulled::Done);
        assert!(resets.groups.is_empty());
    }

    #[test]
    fn a_reset_waits_for_consumers_that_are_away() {
        let resets = resets();
        assert!(resets.outdates(i64::MAX, QUEUE, 9));
    }

    #[test]
    fn topics_and_groups_take_their_resets_along() {
        let mut resets = resets();
        resets.put("g", "u", 1, 6);
        resets.put("h", "u", 1, 7);
        resets.forget_topic("t");
        let from = Key { group: Arc::from("g"), topic: Arc::from(""), queue_id: 0 };
        let left: Vec<_> = resets.from(&from).map(|(g, t, q, at)| (&**g, &**t, q, at)).collect();
        assert_eq!(left, [("g", "u", 1, 6), ("h", "u", 1, 7)]);
        resets.forget_group("g");
        resets.forget_topic("u");
        assert!(resets.groups.is_empty());
    }
}
