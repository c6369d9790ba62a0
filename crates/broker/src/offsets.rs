//! Consumer offsets: how far each group has consumed each queue.

use crate::dump::queues_from;
use crate::pop::Key;
use std::collections::BTreeMap;
use std::sync::Arc;

type Queues = BTreeMap<u32, u64>;

/// Committed offsets by group, topic and queue, and those that came with pulls and are not in the log yet.
#[derive(Default)]
pub(crate) struct Offsets {
    groups: BTreeMap<Arc<str>, BTreeMap<Arc<str>, Queues>>,
    /// Offsets in `groups`.
    len: usize,
    /// Changed by pulls since the last state record.
    lazy: BTreeMap<(Arc<str>, Arc<str>, u32), u64>,
    lazy_since_ms: Option<i64>,
    /// See [`Offsets::watch`].
    lowered: Option<Vec<Commit>>,
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

    /// Number of offsets.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Sets an offset; `None` where it already is so, and in the log. One that came with a pull is not in the log yet: it
    /// is this commit's now, so that it neither stays out of the log nor gets there behind this one.
    pub(crate) fn set(&mut self, group: &str, topic: &str, queue_id: u32, offset: u64) -> Option<Commit> {
        let commit = self.put(group, topic, queue_id, offset);
        if self.lazy.is_empty() {
            return commit;
        }
        let key = (Arc::from(group), Arc::from(topic), queue_id);
        let was_lazy = self.lazy.remove(&key).is_some();
        if self.lazy.is_empty() {
            self.lazy_since_ms = None;
        }
        commit.or_else(|| was_lazy.then_some(Commit { group: key.0, topic: key.1, queue_id, offset }))
    }

    fn put(&mut self, group: &str, topic: &str, queue_id: u32, offset: u64) -> Option<Commit> {
        let (group, topics) = entry(&mut self.groups, group);
        let (topic, queues) = entry(topics, topic);
        let before = queues.insert(queue_id, offset);
        self.len += usize::from(before.is_none());
        if before == Some(offset) {
            return None;
        }
        let commit = Commit { group, topic, queue_id, offset };
        if let Some(lowered) = self.lowered.as_mut().filter(|_| before.is_none_or(|before| offset < before)) {
            lowered.push(commit.clone());
        }
        Some(commit)
    }

    /// Sets an offset that came along with a pull: it goes into the log with the next state record or after a while.
    pub(crate) fn set_lazily(&mut self, now_ms: i64, group: &str, topic: &str, queue_id: u32, offset: u64) {
        if let Some(c) = self.put(group, topic, queue_id, offset) {
            self.lazy.insert((c.group, c.topic, queue_id), offset);
            self.lazy_since_ms.get_or_insert(now_ms);
        }
    }

    /// From now on it is noted what is set anew, or back.
    pub(crate) fn watch(&mut self) {
        self.lowered = Some(Vec::new());
    }

    /// What was set anew, or back, since this was asked last.
    pub(crate) fn take_lowered(&mut self) -> Vec<Commit> {
        self.lowered.as_mut().map(std::mem::take).unwrap_or_default()
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

    /// Group, topic, queue and offset of each from one on.
    pub(crate) fn from<'a>(
        &'a self,
        key: &'a Key,
    ) -> impl Iterator<Item = (&'a Arc<str>, &'a Arc<str>, u32, u64)> {
        queues_from(&self.groups, key)
            .map(|(group, topic, queue_id, offset)| (group, topic, queue_id, *offset))
    }

    pub(crate) fn all(&self) -> impl Iterator<Item = Commit> {
        self.groups.keys().flat_map(|group| self.of_group(group))
    }

    /// All offsets of a group.
    pub(crate) fn of_group(&self, group: &str) -> impl Iterator<Item = Commit> {
        self.groups.get_key_value(group).into_iter().flat_map(|(group, topics)| {
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

    /// A group's offsets of a topic, by queue.
    pub(crate) fn queues_of(&self, group: &str, topic: &str) -> impl Iterator<Item = (u32, u64)> {
        let queues = self.groups.get(group).and_then(|topics| topics.get(topic));
        queues.into_iter().flatten().map(|(queue_id, offset)| (*queue_id, *offset))
    }

    /// Groups that have offsets of a topic.
    pub(crate) fn groups_of(&self, topic: &str) -> impl Iterator<Item = &Arc<str>> {
        self.groups.iter().filter(move |(_, topics)| topics.contains_key(topic)).map(|(group, _)| group)
    }

    /// Topics that a group has offsets of.
    pub(crate) fn topics_of(&self, group: &str) -> impl Iterator<Item = &Arc<str>> {
        self.groups.get(group).into_iter().flat_map(BTreeMap::keys)
    }

    pub(crate) fn forget(&mut self, group: &str, topic: &str, queue_id: u32) {
        let Some(topics) = self.groups.get_mut(group) else { return };
        let Some(queues) = topics.get_mut(topic) else { return };
        self.len -= usize::from(queues.remove(&queue_id).is_some());
        if queues.is_empty() {
            topics.remove(topic);
        }
        if topics.is_empty() {
            self.groups.remove(group);
        }
        self.lazy.remove(&(Arc::from(group), Arc::from(topic), queue_id));
    }

    pub(crate) fn forget_topic(&mut self, topic: &str) {
        self.lazy.retain(|(_, of, _), _| **of != *topic);
        let len = &mut self.len;
        self.groups.retain(|_, topics| {
            *len -= topics.remove(topic).map_or(0, |queues| queues.len());
            !topics.is_empty()
        });
    }

    pub(crate) fn forget_group(&mut self, group: &str) {
        self.lazy.retain(|(of, ..), _| **of != *group);
        let topics = self.groups.remove(group).unwrap_or_default();
        self.len -= topics.values().map(BTreeMap::len).sum::<usize>();
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

    /// Found by restart.resume_after_kill of the interop suite: the last commit of a consumer that goes repeats what its
    /// last pull said, was taken for known, and a kill -9 then lost it.
    #[test]
    fn a_commit_of_what_a_pull_said_is_a_change() {
        let mut offsets = Offsets::default();
        offsets.set_lazily(5, "g", "t", 0, 10);
        let commit = offsets.set("g", "t", 0, 10).unwrap();
        assert_eq!((&*commit.group, &*commit.topic, commit.queue_id, commit.offset), ("g", "t", 0, 10));
        assert_eq!(offsets.take_lazy().count(), 0);
        assert_eq!(offsets.lazy_since_ms(), None);
        assert!(offsets.set("g", "t", 0, 10).is_none());
    }

    /// An offset that came with a pull must not follow a newer commit into the log: the fold would go back to it.
    #[test]
    fn a_commit_replaces_what_a_pull_said() {
        let mut offsets = Offsets::default();
        offsets.set_lazily(5, "g", "t", 0, 10);
        offsets.set_lazily(6, "g", "t", 1, 4);
        assert_eq!(offsets.set("g", "t", 0, 12).unwrap().offset, 12);
        assert_eq!(offsets.lazy_since_ms(), Some(5));
        let left: Vec<_> = offsets.take_lazy().map(|c| (c.queue_id, c.offset)).collect();
        assert_eq!(left, [(1, 4)]);
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
