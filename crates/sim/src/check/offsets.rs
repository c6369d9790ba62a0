//! Consumer offsets: what a group is told is what one of its members committed, and none that another, acknowledged before, had
//! taken the place of.

use super::Queue;
use std::collections::BTreeMap;

/// A commit by its number in [`Offsets`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommitId(Key, usize);

type Key = (&'static str, Queue);

#[derive(Debug, Clone, Copy)]
struct Commit {
    offset: u64,
    sent_ms: i64,
    acked_ms: Option<i64>,
}

#[derive(Debug, Default)]
pub struct Offsets {
    commits: BTreeMap<Key, Vec<Commit>>,
}

impl Offsets {
    /// Somebody commits an offset.
    pub fn commit(&mut self, now_ms: i64, group: &'static str, queue: Queue, offset: u64) -> CommitId {
        let key = (group, queue);
        let commits = self.commits.entry(key.clone()).or_default();
        commits.push(Commit { offset, sent_ms: now_ms, acked_ms: None });
        CommitId(key, commits.len() - 1)
    }

    /// The broker said that it is safe.
    pub fn acked(&mut self, now_ms: i64, id: &CommitId) {
        if let Some(commit) = self.commits.get_mut(&id.0).and_then(|commits| commits.get_mut(id.1)) {
            commit.acked_ms = Some(now_ms);
        }
    }

    /// Commits that a broker acknowledged at `from_ms` or later may be as if they had never been, or not.
    pub(super) fn power_lost(&mut self, broker: usize, from_ms: i64) {
        for ((_, queue), commits) in &mut self.commits {
            if queue.broker == broker {
                for commit in commits {
                    commit.acked_ms = commit.acked_ms.filter(|at| *at < from_ms);
                }
            }
        }
    }

    /// Whether it is safe that a group has an offset somewhere.
    pub fn has_any(&self, group: &'static str, queue: &Queue) -> bool {
        let commits = self.commits.get(&(group, queue.clone()));
        commits.is_some_and(|commits| commits.iter().any(|commit| commit.acked_ms.is_some()))
    }

    /// A group that asked at `asked_ms` was told its offset (`None`: it has none). What is wrong with that?
    pub fn told(
        &self,
        asked_ms: i64,
        group: &'static str,
        queue: &Queue,
        offset: Option<u64>,
    ) -> Option<String> {
        let commits = self.commits.get(&(group, queue.clone())).map_or(&[][..], Vec::as_slice);
        // Whatever was acknowledged before this began has been overwritten by then.
        let last = commits.iter().filter(|c| c.acked_ms.is_some_and(|at| at < asked_ms));
        let Some(last_began_ms) = last.map(|c| c.sent_ms).max() else {
            let any = offset.is_none_or(|offset| offset == 0 || commits.iter().any(|c| c.offset == offset));
            return (!any)
                .then(|| format!("{group} has offset {offset:?} in {queue:?}, which nobody committed"));
        };
        let possible =
            |c: &&Commit| Some(c.offset) == offset && c.acked_ms.is_none_or(|at| at >= last_began_ms);
        if commits.iter().any(|c| possible(&c)) {
            return None;
        }
        let promised = commits.iter().filter(|c| c.sent_ms == last_began_ms).map(|c| c.offset).max();
        Some(format!("offset of {group} in {queue:?} rolled back from {promised:?} to {offset:?}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_commit_counts_or_one_that_went_on_meanwhile() {
        let queue = Queue { broker: 0, topic: "T".into(), queue_id: 0 };
        let mut offsets = Offsets::default();
        assert_eq!(offsets.told(5, "g", &queue, None), None);
        assert!(offsets.told(5, "g", &queue, Some(7)).is_some());
        let first = offsets.commit(10, "g", queue.clone(), 1);
        assert_eq!(offsets.told(11, "g", &queue, Some(1)), None);
        assert_eq!(offsets.told(11, "g", &queue, None), None);
        offsets.acked(12, &first);
        assert!(offsets.told(13, "g", &queue, None).is_some_and(|why| why.contains("rolled back")));
        let second = offsets.commit(14, "g", queue.clone(), 2);
        let lost = offsets.commit(14, "g", queue.clone(), 3);
        offsets.acked(16, &second);
        assert!(offsets.told(17, "g", &queue, Some(1)).is_some());
        assert_eq!(offsets.told(17, "g", &queue, Some(2)), None);
        // It was never answered: it may have been carried out at any time.
        assert_eq!(offsets.told(17, "g", &queue, Some(3)), None);
        offsets.acked(18, &lost);
        assert_eq!(offsets.told(19, "g", &queue, Some(2)), None);
    }
}
