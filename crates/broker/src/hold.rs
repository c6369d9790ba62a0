//! Parked pulls: consumers that wait for the next message of a queue.

use crate::input::ConnId;
use crate::pull::PullRequest;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hash::{BuildHasherDefault, DefaultHasher};
use std::sync::Arc;

/// Identifies a parked pull; grows, so that the order of parking is the order of waking.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct HoldId(u64);

type Hasher = BuildHasherDefault<DefaultHasher>;

/// Parked pulls by queue, by deadline and by connection. A message wakes only those of its own queue.
#[derive(Default)]
pub(crate) struct Holds {
    next: u64,
    parked: BTreeMap<HoldId, PullRequest>,
    deadlines: BTreeSet<(i64, HoldId)>,
    queues: HashMap<Arc<str>, BTreeMap<u32, Vec<HoldId>>, Hasher>,
    connections: BTreeMap<ConnId, BTreeSet<HoldId>>,
}

impl Holds {
    pub(crate) fn len(&self) -> usize {
        self.parked.len()
    }

    /// Parks until [`PullRequest::hold_until_ms`].
    pub(crate) fn park(&mut self, pull: PullRequest) {
        let id = HoldId(self.next);
        self.next += 1;
        self.deadlines.insert((pull.hold_until_ms, id));
        let queue = self.queues.entry(Arc::clone(&pull.topic)).or_default().entry(pull.queue_id).or_default();
        queue.push(id);
        self.connections.entry(pull.conn).or_default().insert(id);
        self.parked.insert(id, pull);
    }

    /// Those that wait for a message of this queue with this tag: to be taken and tried again.
    pub(crate) fn woken_by(&self, topic: &str, queue_id: u32, tag_code: i64, woken: &mut Vec<HoldId>) {
        let Some(ids) = self.queues.get(topic).and_then(|queues| queues.get(&queue_id)) else { return };
        let wants = |id: &&HoldId| self.parked.get(id).is_some_and(|pull| pull.wants(tag_code));
        woken.extend(ids.iter().filter(wants));
    }

    /// All whose time is up.
    pub(crate) fn overdue(&self, now_ms: i64, due: &mut Vec<HoldId>) {
        due.extend(self.deadlines.iter().take_while(|(at, _)| *at <= now_ms).map(|(_, id)| *id));
    }

    pub(crate) fn all(&self) -> Vec<HoldId> {
        self.parked.keys().copied().collect()
    }

    pub(crate) fn next_deadline_ms(&self) -> Option<i64> {
        self.deadlines.first().map(|(at, _)| *at)
    }

    pub(crate) fn take(&mut self, id: HoldId) -> Option<PullRequest> {
        let pull = self.parked.remove(&id)?;
        self.deadlines.remove(&(pull.hold_until_ms, id));
        if let Some(queues) = self.queues.get_mut(&pull.topic) {
            if let Some(ids) = queues.get_mut(&pull.queue_id) {
                ids.retain(|other| *other != id);
                if ids.is_empty() {
                    queues.remove(&pull.queue_id);
                }
            }
            if queues.is_empty() {
                self.queues.remove(&pull.topic);
            }
        }
        if let Some(ids) = self.connections.get_mut(&pull.conn) {
            ids.remove(&id);
            if ids.is_empty() {
                self.connections.remove(&pull.conn);
            }
        }
        Some(pull)
    }

    /// The connection is gone, and with it whoever waited.
    pub(crate) fn disconnected(&mut self, conn: ConnId) {
        for id in self.connections.remove(&conn).unwrap_or_default() {
            self.take(id);
        }
    }
}
