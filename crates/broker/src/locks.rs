//! Queue locks of ordered consumption: one client of a group owns a queue, until it unlocks or stops renewing.
//! Memory only, as in Apache's `RebalanceLockManager`.

use std::collections::BTreeMap;

/// A queue as clients name it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct LockedQueue {
    pub(crate) topic: String,
    pub(crate) queue_id: i32,
}

struct Lock {
    client: String,
    renewed_ms: i64,
}

/// Length of the names in a lock, in bytes.
const NAME_BYTES_MAX: usize = 1_024;

pub(crate) struct Locks {
    expiry_ms: i64,
    held_max: usize,
    /// Locks in `groups`.
    held: usize,
    groups: BTreeMap<String, BTreeMap<LockedQueue, Lock>>,
}

impl Locks {
    /// At most `held_max` locks are given away at a time.
    pub(crate) fn new(expiry_ms: i64, held_max: usize) -> Self {
        Self { expiry_ms, held_max, held: 0, groups: BTreeMap::new() }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.groups.is_empty()
    }

    /// Takes or renews the lock of `queue`; whether `client` has it now.
    pub(crate) fn lock(&mut self, now_ms: i64, group: &str, client: &str, queue: LockedQueue) -> bool {
        let known = self.groups.get(group).is_some_and(|locks| locks.contains_key(&queue));
        let too_long = [group, client, &queue.topic].iter().any(|name| name.len() > NAME_BYTES_MAX);
        if !known && (self.held >= self.held_max || too_long) {
            return false;
        }
        if !self.groups.contains_key(group) {
            self.groups.insert(group.to_owned(), BTreeMap::new());
        }
        let Some(locks) = self.groups.get_mut(group) else { return false };
        match locks.get_mut(&queue) {
            Some(lock) if lock.client != client && now_ms - lock.renewed_ms <= self.expiry_ms => false,
            Some(lock) => {
                lock.renewed_ms = now_ms;
                if lock.client != client {
                    client.clone_into(&mut lock.client);
                }
                true
            }
            None => {
                locks.insert(queue, Lock { client: client.to_owned(), renewed_ms: now_ms });
                self.held += 1;
                true
            }
        }
    }

    /// Gives a lock up; without effect on another client's.
    pub(crate) fn unlock(&mut self, group: &str, client: &str, queue: &LockedQueue) {
        if let Some(locks) = self.groups.get_mut(group) {
            if locks.get(queue).is_some_and(|lock| lock.client == client) {
                locks.remove(queue);
                self.held -= 1;
            }
            if locks.is_empty() {
                self.groups.remove(group);
            }
        }
    }

    /// Whether any queue of the group is locked, which shows that the group consumes in order.
    pub(crate) fn any_held(&self, now_ms: i64, group: &str) -> bool {
        let held = |lock: &Lock| now_ms - lock.renewed_ms <= self.expiry_ms;
        self.groups.get(group).is_some_and(|locks| locks.values().any(held))
    }

    /// Forgets what expired long ago.
    pub(crate) fn expire(&mut self, now_ms: i64) {
        for locks in self.groups.values_mut() {
            locks.retain(|_, lock| now_ms - lock.renewed_ms <= self.expiry_ms);
        }
        self.groups.retain(|_, locks| !locks.is_empty());
        self.held = self.groups.values().map(BTreeMap::len).sum();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn queue(queue_id: i32) -> LockedQueue {
        LockedQueue { topic: "T".into(), queue_id }
    }

    #[test]
    fn one_owner_until_unlock_or_expiry() {
        let mut locks = Locks::new(60_000, 10);
        assert!(locks.lock(0, "g", "a", queue(1)));
        assert!(!locks.lock(60_000, "g", "b", queue(1)), "still held at exactly the expiry time");
        assert!(locks.lock(60_000, "h", "b", queue(1)), "groups do not share locks");
        assert!(locks.lock(60_001, "g", "b", queue(1)), "expired");
        assert!(!locks.lock(60_002, "g", "a", queue(1)));
        locks.unlock("g", "a", &queue(1));
        assert!(!locks.lock(60_003, "g", "a", queue(1)), "another's unlock has no effect");
        locks.unlock("g", "b", &queue(1));
        assert!(locks.lock(60_003, "g", "a", queue(1)));
    }

    #[test]
    fn renewal_extends_and_expiry_frees_memory() {
        let mut locks = Locks::new(100, 10);
        assert!(locks.lock(0, "g", "a", queue(1)));
        assert!(locks.lock(90, "g", "a", queue(1)));
        assert!(locks.any_held(190, "g"));
        assert!(!locks.any_held(191, "g"));
        locks.expire(191);
        assert!(locks.groups.is_empty());
    }

    /// Locks were given to anybody for any queue, without end.
    #[test]
    fn no_more_locks_than_the_limit() {
        let mut locks = Locks::new(100, 2);
        assert!(locks.lock(0, "g", "a", queue(1)) && locks.lock(0, "h", "a", queue(1)));
        assert!(!locks.lock(0, "g", "a", queue(2)));
        assert!(locks.lock(50, "g", "a", queue(1)), "what is held is renewed");
        locks.unlock("g", "a", &queue(1));
        assert!(locks.lock(50, "g", "a", queue(2)));
        locks.expire(101);
        assert_eq!(locks.held, 1);
        assert!(locks.lock(101, "g", "a", queue(3)));
        let long = LockedQueue { topic: "t".repeat(1_025), queue_id: 0 };
        locks.expire(1_000);
        assert!(!locks.lock(1_000, "g", "a", long));
        assert!(locks.is_empty());
    }
}
