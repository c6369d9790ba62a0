//! Lite topics: light topics below a parent topic whose `message.type` is LITE, one queue each (see [`crate::lmq`]), made by
//! the first message and gone when they were silent for long. Clients of a group that is bound to the parent
//! (`lite.bind.topic`) say which of them they consume (code 200071), and pop from all of them at once, in order
//! ([`crate::pop`]).
//!
//! Subscriptions live in memory only: clients repeat them, and those that do not are forgotten. For each client it is
//! known which of its lite topics may have something to pop; a message tells all clients that subscribe to its topic, and the
//! first that asks gets it. Source: `LiteSubscriptionRegistryImpl`, `LiteEventDispatcher`, `LiteLifecycleManager`.

mod admin;
mod expire;
mod subscribe;

pub(crate) use subscribe::bound_topic;

use crate::input::ConnId;
use kerolox_wire::names;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hash::{BuildHasherDefault, DefaultHasher};
use std::sync::Arc;

/// Lite topics of one client that are known to have something to pop. With more, they are looked for when these are done.
const READY_MAX: usize = 4_096;
/// Lite topics that one pop visits.
const VISITED_MAX: usize = 64;
/// A client that did not repeat its subscription for so long is forgotten: Apache's `liteSubscriptionCheckTimeoutMills`.
const SILENT_MS: i64 = 180_000;

type Hasher = BuildHasherDefault<DefaultHasher>;

/// What a client consumes.
pub(crate) struct Subscriber {
    conn: ConnId,
    group: Arc<str>,
    /// The parent topic.
    topic: Arc<str>,
    /// Queues of lite topics.
    queues: BTreeSet<Arc<str>>,
    /// All lite topics of the parent.
    wildcard: bool,
    /// Queues that may have something to pop.
    ready: BTreeSet<Arc<str>>,
    /// There may be more.
    rescan: bool,
    /// When it said so last, when it asked last, and when it got something last.
    updated_ms: i64,
    accessed_ms: i64,
    consumed_ms: i64,
}

/// Who waits for what a client may pop is parked under this name in place of a topic's; no topic is called so.
pub(crate) fn mailbox(client: &str) -> Arc<str> {
    Arc::from(format!("\0{client}"))
}

pub(crate) fn is_mailbox(topic: &str) -> bool {
    topic.starts_with('\0')
}

/// Subscriptions to lite topics, and how old these are.
pub(crate) struct Lite {
    clients: BTreeMap<Arc<str>, Subscriber>,
    /// Clients by the queues that they subscribe to, and those that subscribe to all below a parent topic.
    subscribers: HashMap<Arc<str>, BTreeSet<Arc<str>>, Hasher>,
    wildcards: HashMap<Arc<str>, BTreeSet<Arc<str>>, Hasher>,
    subscriptions: usize,
    /// Queues of lite topics, and when their last message was stored; `None`: not known since the start.
    queues: BTreeMap<Arc<str>, Option<i64>>,
    started_ms: i64,
    /// Where the search for old ones goes on, and when.
    scan_from: Option<Arc<str>>,
    scan_ms: i64,
}

impl Lite {
    pub(crate) fn new(now_ms: i64) -> Self {
        Self {
            clients: BTreeMap::new(),
            subscribers: HashMap::default(),
            wildcards: HashMap::default(),
            subscriptions: 0,
            queues: BTreeMap::new(),
            started_ms: now_ms,
            scan_from: None,
            scan_ms: now_ms,
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.clients.is_empty() && self.queues.is_empty()
    }

    /// A queue of a lite topic is there; `None`: since when is not known.
    pub(crate) fn stored(&mut self, queue: &str, store_ms: Option<i64>) {
        match self.queues.get_mut(queue) {
            Some(last) => *last = store_ms.or(*last),
            None => drop(self.queues.insert(Arc::from(queue), store_ms)),
        }
    }

    /// Whether the queue of a lite topic is there.
    pub(crate) fn has(&self, queue: &str) -> bool {
        self.queues.contains_key(queue)
    }

    /// Queues of lite topics below a parent, behind one of them.
    fn below<'a>(&'a self, parent: &str) -> impl Iterator<Item = &'a Arc<str>> {
        let prefix = names::lite_queue(parent, "");
        let from: &str = &prefix;
        let range = (std::ops::Bound::Included(from), std::ops::Bound::Unbounded);
        let all = self.queues.range::<str, _>(range).map(|(queue, _)| queue);
        all.take_while(move |queue| queue.starts_with(&prefix))
    }

    /// Clients (of a group) that consume a queue.
    fn consumers(&self, queue: &str, group: Option<&str>) -> Vec<Arc<str>> {
        let parent = names::lite_parts(queue).map(|(parent, _)| parent);
        let own = self.subscribers.get(queue).into_iter().flatten();
        let all = parent.and_then(|parent| self.wildcards.get(parent)).into_iter().flatten();
        let of_group = |client: &&Arc<str>| {
            let subscriber = self.clients.get(*client);
            subscriber.is_some_and(|subscriber| group.is_none_or(|group| *subscriber.group == *group))
        };
        own.chain(all).filter(of_group).cloned().collect()
    }

    /// A queue may have something to pop, for all who consume it (in a group): their names.
    pub(crate) fn ready(&mut self, queue: &Arc<str>, group: Option<&str>) -> Vec<Arc<str>> {
        let clients = self.consumers(queue, group);
        for client in &clients {
            self.ready_for(client, queue);
        }
        clients
    }

    fn ready_for(&mut self, client: &str, queue: &Arc<str>) {
        let Some(subscriber) = self.clients.get_mut(client) else { return };
        if subscriber.ready.len() < READY_MAX {
            subscriber.ready.insert(Arc::clone(queue));
        } else {
            subscriber.rescan = true;
        }
    }

    /// Queues for the client's next pop, which are given back with [`Lite::give_back`].
    pub(crate) fn take_ready(&mut self, now_ms: i64, client: &str) -> Vec<Arc<str>> {
        let Some(subscriber) = self.clients.get_mut(client) else { return Vec::new() };
        subscriber.accessed_ms = now_ms;
        let mut taken = Vec::new();
        while taken.len() < VISITED_MAX
            && let Some(queue) = subscriber.ready.pop_first()
        {
            taken.push(queue);
        }
        taken
    }

    /// These still have something to pop.
    pub(crate) fn give_back(&mut self, now_ms: i64, client: &str, popped: bool, queues: &[Arc<str>]) {
        if let Some(subscriber) = self.clients.get_mut(client)
            && popped
        {
            subscriber.consumed_ms = now_ms;
        }
        for queue in queues {
            let wanted = self.clients.get(client).is_some_and(|s| s.wildcard || s.queues.contains(queue));
            if wanted {
                self.ready_for(client, queue);
            }
        }
    }

    /// Queues among which a client's ready ones are to be looked for, if that is to be done.
    pub(crate) fn take_rescan(&mut self, client: &str) -> Vec<Arc<str>> {
        let Some(subscriber) = self.clients.get_mut(client) else { return Vec::new() };
        if !subscriber.ready.is_empty() || !std::mem::take(&mut subscriber.rescan) {
            return Vec::new();
        }
        let (wildcard, topic) = (subscriber.wildcard, Arc::clone(&subscriber.topic));
        match wildcard {
            true => self.below(&topic).cloned().collect(),
            false => self.clients.get(client).into_iter().flat_map(|s| s.queues.iter().cloned()).collect(),
        }
    }

    /// A client consumes a queue from now on; whether it did not before.
    fn subscribe(&mut self, client: &Arc<str>, queue: &Arc<str>) -> bool {
        let Some(subscriber) = self.clients.get_mut(client) else { return false };
        let new = subscriber.queues.insert(Arc::clone(queue));
        if new {
            self.subscriptions += 1;
            self.subscribers.entry(Arc::clone(queue)).or_default().insert(Arc::clone(client));
        }
        new
    }

    /// It does not any more; whether it did.
    fn unsubscribe(&mut self, client: &str, queue: &str) -> bool {
        let Some(subscriber) = self.clients.get_mut(client) else { return false };
        subscriber.ready.remove(queue);
        if !subscriber.queues.remove(queue) {
            return false;
        }
        self.subscriptions -= 1;
        if let Some(clients) = self.subscribers.get_mut(queue) {
            clients.remove(client);
            if clients.is_empty() {
                self.subscribers.remove(queue);
            }
        }
        true
    }

    fn remove_client(&mut self, client: &str) {
        let queues: Vec<Arc<str>> =
            self.clients.get(client).map(|s| s.queues.iter().cloned().collect()).unwrap_or_default();
        for queue in queues {
            self.unsubscribe(client, &queue);
        }
        let Some(gone) = self.clients.remove(client) else { return };
        if let Some(clients) = self.wildcards.get_mut(&gone.topic) {
            clients.remove(client);
            if clients.is_empty() {
                self.wildcards.remove(&gone.topic);
            }
        }
    }

    /// Clients that did not repeat their subscriptions are forgotten.
    fn forget_silent(&mut self, now_ms: i64) {
        let silent = self.clients.iter().filter(|(_, s)| now_ms - s.updated_ms > SILENT_MS);
        let silent: Vec<Arc<str>> = silent.map(|(client, _)| Arc::clone(client)).collect();
        for client in silent {
            self.remove_client(&client);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lite(clients: &[(&str, &str)]) -> Lite {
        let mut lite = Lite::new(0);
        for (client, group) in clients {
            lite.enter(0, ConnId(1), client, group, "P");
        }
        lite
    }

    #[test]
    fn a_queue_is_ready_for_all_who_consume_it() {
        let mut lite = lite(&[("c1", "g"), ("c2", "g"), ("c3", "h")]);
        let queue: Arc<str> = Arc::from("%LMQ%$P$a");
        for client in ["c1", "c3"] {
            assert!(lite.subscribe(&Arc::from(client), &queue));
        }
        assert!(!lite.subscribe(&Arc::from("c1"), &queue));
        assert_eq!(lite.subscriptions, 2);
        assert_eq!(lite.ready(&queue, None), [Arc::from("c1"), Arc::from("c3")]);
        assert_eq!(lite.take_ready(1, "c1"), [Arc::clone(&queue)]);
        assert!(lite.take_ready(1, "c1").is_empty() && lite.take_ready(1, "c2").is_empty());
        lite.give_back(2, "c1", true, &[Arc::clone(&queue)]);
        assert_eq!(lite.take_ready(3, "c1").len(), 1);
        assert!(lite.unsubscribe("c1", &queue) && !lite.unsubscribe("c1", &queue));
        lite.give_back(2, "c1", true, &[Arc::clone(&queue)]);
        assert!(lite.take_ready(3, "c1").is_empty(), "it does not want it any more");
        lite.remove_client("c3");
        assert_eq!((lite.subscriptions, lite.subscribers.len()), (0, 0));
    }

    #[test]
    fn those_that_are_too_many_to_be_remembered_are_looked_for() {
        let mut lite = lite(&[("c", "g")]);
        for i in 0..READY_MAX + 2 {
            let queue: Arc<str> = Arc::from(format!("%LMQ%$P${i}"));
            lite.stored(&queue, Some(1));
            lite.subscribe(&Arc::from("c"), &queue);
            lite.ready(&queue, None);
        }
        assert!(lite.take_rescan("c").is_empty(), "not before the others are done");
        while !lite.take_ready(1, "c").is_empty() {}
        assert_eq!(lite.take_rescan("c").len(), READY_MAX + 2);
        assert!(lite.take_rescan("c").is_empty());
        lite.stored("%LMQ%$Q$1", None);
        assert_eq!(lite.below("P").count(), READY_MAX + 2);
        assert_eq!(lite.below("Q").count(), 1);
    }

    #[test]
    fn clients_that_fall_silent_are_forgotten() {
        let mut lite = lite(&[("c", "g")]);
        lite.forget_silent(SILENT_MS);
        assert_eq!(lite.clients.len(), 1);
        lite.forget_silent(SILENT_MS + 1);
        assert!(lite.is_empty());
    }
}
