//! Parked pulls: consumers that wait for the next message of a queue.

use crate::config::Limits;
use crate::input::ConnId;
use crate::parked::{HoldId, Parked};
use crate::pull::PullRequest;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hash::{BuildHasherDefault, DefaultHasher};
use std::sync::Arc;

type Hasher = BuildHasherDefault<DefaultHasher>;

/// Different tags of a queue's new messages that its parked pulls are asked about. With more, all of them are woken:
/// one that then finds nothing is told so and asks again.
pub(crate) const TAGS_MAX: usize = 32;

/// Those who wait for one queue, and the different tag codes of what came for it since [`Holds::woken`].
#[derive(Default)]
struct Waiting {
    ids: BTreeSet<HoldId>,
    news: Vec<i64>,
}

/// Parked pulls by queue. A message wakes only those of its own queue.
#[derive(Default)]
pub(crate) struct Holds {
    parked: Parked<PullRequest>,
    queues: HashMap<Arc<str>, BTreeMap<u32, Waiting>, Hasher>,
    /// Queues with news.
    touched: Vec<(Arc<str>, u32)>,
}

impl Holds {
    pub(crate) fn has_room(&self, pull: &PullRequest, limits: &Limits) -> bool {
        self.parked.has_room(pull, limits)
    }

    /// Parks until [`PullRequest::hold_until_ms`].
    pub(crate) fn park(&mut self, pull: PullRequest) {
        let (topic, queue_id) = (Arc::clone(&pull.topic), pull.queue_id);
        let id = self.parked.park(pull);
        self.queues.entry(topic).or_default().entry(queue_id).or_default().ids.insert(id);
    }

    /// A message with this tag became visible in a queue.
    pub(crate) fn arrived(&mut self, topic: &Arc<str>, queue_id: u32, tag_code: i64) {
        let waiting = self.queues.get_mut(topic).and_then(|queues| queues.get_mut(&queue_id));
        let Some(waiting) = waiting else { return };
        if waiting.news.is_empty() {
            self.touched.push((Arc::clone(topic), queue_id));
        }
        if waiting.news.len() <= TAGS_MAX && !waiting.news.contains(&tag_code) {
            waiting.news.push(tag_code);
        }
    }

    /// Those that want one of the messages that arrived since the last call, in order of parking: to be taken and tried
    /// again. Each is asked once for all messages of its queue, so that many messages and many waiters do not multiply.
    pub(crate) fn woken(&mut self) -> Vec<HoldId> {
        let mut woken = Vec::new();
        for (topic, queue_id) in self.touched.drain(..) {
            let waiting = self.queues.get_mut(&topic).and_then(|queues| queues.get_mut(&queue_id));
            let Some(waiting) = waiting else { continue };
            let news = std::mem::take(&mut waiting.news);
            let wants = |id: &&HoldId| {
                let pull = self.parked.get(**id);
                news.len() > TAGS_MAX || pull.is_some_and(|pull| news.iter().any(|tag| pull.wants(*tag)))
            };
            woken.extend(waiting.ids.iter().filter(wants));
        }
        woken.sort_unstable();
        woken
    }

    /// All whose time is up.
    pub(crate) fn overdue(&self, now_ms: i64) -> Vec<HoldId> {
        self.parked.overdue(now_ms)
    }

    /// Those of a group that wait for a queue.
    pub(crate) fn of_group(&self, topic: &str, queue_id: u32, group: &str) -> Vec<HoldId> {
        let waiting = self.queues.get(topic).and_then(|queues| queues.get(&queue_id));
        let of_group = |id: &&HoldId| self.parked.get(**id).is_some_and(|pull| *pull.group == *group);
        waiting.map_or(Vec::new(), |waiting| waiting.ids.iter().filter(of_group).copied().collect())
    }

    /// Those that wait by the subscriptions of some groups.
    pub(crate) fn by_subscriptions_of(&self, groups: &BTreeSet<&str>) -> Vec<HoldId> {
        let by_them = |pull: &PullRequest| pull.has_groups_filter() && groups.contains(&*pull.group);
        self.parked.those(by_them)
    }

    /// All that wait for a topic.
    pub(crate) fn of_topic(&self, topic: &str) -> Vec<HoldId> {
        let queues = self.queues.get(topic).into_iter().flat_map(BTreeMap::values);
        queues.flat_map(|waiting| waiting.ids.iter().copied()).collect()
    }

    pub(crate) fn all(&self) -> Vec<HoldId> {
        self.parked.all()
    }

    pub(crate) fn next_deadline_ms(&self) -> Option<i64> {
        self.parked.next_deadline_ms()
    }

    pub(crate) fn take(&mut self, id: HoldId) -> Option<PullRequest> {
        let pull = self.parked.take(id)?;
        if let Some(queues) = self.queues.get_mut(&pull.topic) {
            if let Some(waiting) = queues.get_mut(&pull.queue_id) {
                waiting.ids.remove(&id);
                if waiting.ids.is_empty() {
                    queues.remove(&pull.queue_id);
                }
            }
            if queues.is_empty() {
                self.queues.remove(&pull.topic);
            }
        }
        Some(pull)
    }

    /// The connection is gone, and with it whoever waited.
    pub(crate) fn disconnected(&mut self, conn: ConnId) {
        for id in self.parked.of_connection(conn) {
            self.take(id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::subscription::code_filter;

    fn holds(topic: &Arc<str>, count: u64, tags: &[i64]) -> Holds {
        let mut holds = Holds::default();
        for conn in 0..count {
            let filter = code_filter(tags.iter().copied());
            holds.park(PullRequest::waiting(ConnId(conn), topic, filter));
        }
        holds
    }

    /// A list of every pair of a message and a waiter took gigabytes, and the loop minutes, when 60,000 pulls of one
    /// connection waited and a batch of 60,000 messages came.
    #[test]
    fn many_messages_and_many_waiters_do_not_multiply() {
        let topic: Arc<str> = Arc::from("T");
        let mut holds = holds(&topic, 20_000, &[]);
        for _ in 0..20_000 {
            holds.arrived(&topic, 0, 0);
        }
        let woken = holds.woken();
        assert_eq!(woken.len(), 20_000, "each once");
        assert!(woken.is_sorted());
        assert!(holds.woken().is_empty(), "news are told once");
        for conn in 0..20_000 {
            holds.disconnected(ConnId(conn));
        }
        assert_eq!((holds.all().len(), holds.queues.len(), holds.next_deadline_ms()), (0, 0, None));
    }

    /// Expressions of one client, up to their limit, ended long polling for all others too.
    #[test]
    fn one_client_does_not_take_the_room_of_all() {
        let topic: Arc<str> = Arc::from("T");
        let limits = Limits {
            parked_max: 4,
            parked_of_connection_max: 2,
            parked_filter_bytes_max: 100,
            ..Limits::default()
        };
        let pull = |conn, filter_bytes| {
            let mut pull = PullRequest::waiting(ConnId(conn), &topic, None);
            pull.filter_bytes = filter_bytes;
            pull
        };
        let mut holds = Holds::default();
        holds.park(pull(1, 90));
        assert!(!holds.has_room(&pull(2, 11), &limits));
        assert!(holds.has_room(&pull(2, 10), &limits) && holds.has_room(&pull(2, 0), &limits));
        holds.park(pull(1, 0));
        assert!(!holds.has_room(&pull(1, 0), &limits) && holds.has_room(&pull(2, 0), &limits));
        holds.park(pull(2, 0));
        holds.park(pull(2, 0));
        assert!(!holds.has_room(&pull(3, 0), &limits));
        holds.disconnected(ConnId(1));
        assert!(holds.has_room(&pull(3, 100), &limits));
    }

    #[test]
    fn tags_decide_up_to_a_number_of_different_ones() {
        let topic: Arc<str> = Arc::from("T");
        let mut holds = holds(&topic, 3, &[-1]);
        for tag in 1..=TAGS_MAX as i64 {
            holds.arrived(&topic, 0, tag);
            holds.arrived(&topic, 0, tag);
        }
        assert!(holds.woken().is_empty());
        holds.arrived(&topic, 0, 1);
        holds.arrived(&topic, 0, -1);
        assert_eq!(holds.woken().len(), 3);
        for tag in 0..=TAGS_MAX as i64 {
            holds.arrived(&topic, 0, tag);
        }
        assert_eq!(holds.woken().len(), 3, "so many that nobody is asked");
        holds.arrived(&topic, 1, -1);
        assert!(holds.woken().is_empty(), "another queue");
    }
}
