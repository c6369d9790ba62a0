//! Consumer offsets: how far each group has consumed each queue.

use std::collections::BTreeMap;
use std::sync::Arc;

type Queues = BTreeMap<u32, u64>;

/// Committed offsets by group, topic and queue, and those that came with pulls and are not in the log yet.
#[derive(Default)]
pub(crate) struct Offsets {
    groups: BTreeMap<Arc<str>, BTreeMap<Arc<str>, Queues>>,
    /// Changed by pulls since the last state record.
    lazy: BTreeMap<(Arc<str>, Arc<str>, u32), u64>,
    lazy_since_ms: Option<i64>,
}

/// One committed offset.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Commit {
    pub(crate) group: Arc<str>,
    pub(crate) topic: Arc<str>,
    pub(crate) queue_id: u32,
    pub(crate) offset: u64,
}

impl Offsets {
    pub(crate) fn get(&self, group: &str, topic: &str, queue_id: u32) -> Option<u64> {
        self.groups.get(group)?.get(topic)?.get(&queue_id).copied()
    }

    /// Sets an offset; `None` where it already is so.
    pub(crate) fn set(&mut self, group: &str, topic: &str, queue_id: u32, offset: u64) -> Option<Commit> {
        let (group, topics) = entry(&mut self.groups, group);
        let (topic, queues) = entry(topics, topic);
        if queues.insert(queue_id, offset) == Some(offset) {
            return None;
        }
        Some(Commit { group, topic, queue_id, offset })
    }

    /// Sets an offset that came along with a pull: it goes into the log with the next state record or after a while.
    pub(crate) fn set_lazily(&mut self, now_ms: i64, group: &str, topic: &str, queue_id: u32, offset: u64) {
        if let Some(c) = self.set(group, topic, queue_id, offset) {
            self.lazy.insert((c.group, c.topic, queue_id), offset);
            self.lazy_since_ms.get_or_insert(now_ms);
        }
    }

    /// When the first offset of [`Offsets::take_lazy`] came.
    pub(crate) fn lazy_since_ms(&self) -> Option<i64> {
        self.lazy_since_ms
    }

    pub(crate) fn take_lazy(&mut self) -> impl Iterator<Item = Commit> {
        self.lazy_since_ms = None;
        std::mem::take(&mut self.lazy).into_iter().map(|((group, topic, queue_id), offset)| Commit {
            group,
            topic,
            queue_id,
            offset,
        })
    }

    pub(crate) fn all(&self) -> impl Iterator<Item = Commit> {
        self.groups.iter().flat_map(|(group, topics)| {
            topics.iter().flat_map(move |(topic, queues)| {
                queues.iter().map(move |(queue_id, offset)| Commit {
                    group: Arc::clone(group),
                    topic: Arc::clone(topic),
                    queue_id: *queue_id,
                    offset: *offset,
                })
            })
        })
    }
}

/// The value at `name`, made if need be, and the shared name: looking up allocates nothing.
fn entry<'a, V: Default>(map: &'a mut BTreeMap<Arc<str>, V>, name: &str) -> (Arc<str>, &'a mut V) {
    let name = map.get_key_value(name).map_or_else(|| Arc::from(name), |(shared, _)| Arc::clone(shared));
    let value = map.entry(Arc::clone(&name)).or_default();
    (name, value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lazy_offsets_are_visible_at_once_and_taken_once() {
        let mut offsets = Offsets::default();
        offsets.set_lazily(5, "g", "t", 0, 10);
        offsets.set_lazily(9, "g", "t", 0, 12);
        offsets.set_lazily(9, "g", "t", 1, 0);
        assert_eq!(offsets.get("g", "t", 0), Some(12));
        assert_eq!(offsets.lazy_since_ms(), Some(5));
        let taken: Vec<_> = offsets.take_lazy().map(|c| (c.queue_id, c.offset)).collect();
        assert_eq!(taken, [(0, 12), (1, 0)]);
        assert_eq!(offsets.take_lazy().count(), 0);
        assert_eq!(offsets.lazy_since_ms(), None);
        assert_eq!(offsets.all().count(), 2);
    }

    #[test]
    fn an_offset_may_go_back_and_no_change_is_no_commit() {
        let mut offsets = Offsets::default();
        assert!(offsets.set("g", "t", 0, 10).is_some());
        assert!(offsets.set("g", "t", 0, 10).is_none());
        assert!(offsets.set("g", "t", 0, 3).is_some());
        assert_eq!(offsets.get("g", "t", 0), Some(3));
    }
}
