//! Parked pops: clients that wait until there is something to pop.

use super::PopRequest;
use crate::config::Limits;
use crate::hold::TAGS_MAX;
use crate::input::ConnId;
use crate::parked::{HoldId, Parked};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hash::{BuildHasherDefault, DefaultHasher};
use std::sync::Arc;

/// What came for a queue since those who wait were last woken.
#[derive(Debug, Clone)]
pub(crate) enum News {
    /// Messages with these tag codes.
    Tags(Vec<i64>),
    /// Anything: what was there already can be popped now.
    Any,
}

/// Queues of a topic with news.
pub(crate) type Touched = BTreeMap<u32, News>;

/// Who waits, by group.
type Groups = BTreeMap<Arc<str>, BTreeSet<HoldId>>;

/// Parked pops by the topics that they pop from and by group. A message is for one of a group.
#[derive(Default)]
pub(crate) struct PopWaits {
    parked: Parked<PopRequest>,
    topics: HashMap<Arc<str>, Groups, BuildHasherDefault<DefaultHasher>>,
    touched: BTreeMap<Arc<str>, Touched>,
    /// Those that are to be tried again.
    woken: BTreeSet<HoldId>,
}

impl PopWaits {
    pub(crate) fn has_room(&self, request: &PopRequest, limits: &Limits) -> bool {
        self.parked.has_room(request, limits)
    }

    /// Parks one that is to be tried again as soon as others had their turn.
    pub(crate) fn park_woken(&mut self, request: PopRequest) {
        let id = self.park(request);
        self.woken.insert(id);
    }

    pub(crate) fn park(&mut self, request: PopRequest) -> HoldId {
        let (group, topics) = (Arc::clone(&request.group), request.topics());
        let id = self.parked.park(request);
        for topic in topics {
            self.topics.entry(topic).or_default().entry(Arc::clone(&group)).or_default().insert(id);
        }
        id
    }

    pub(crate) fn take(&mut self, id: HoldId) -> Option<PopRequest> {
        let request = self.parked.take(id)?;
        self.woken.remove(&id);
        for topic in request.topics() {
            if let Some(groups) = self.topics.get_mut(&topic) {
                if let Some(ids) = groups.get_mut(&request.group) {
                    ids.remove(&id);
                    if ids.is_empty() {
                        groups.remove(&request.group);
                    }
                }
                if groups.is_empty() {
                    self.topics.remove(&topic);
                }
            }
        }
        Some(request)
    }

    /// A message with this tag became visible in a queue.
    pub(crate) fn arrived(&mut self, topic: &Arc<str>, queue_id: u32, tag_code: i64) {
        if !self.topics.contains_key(topic) {
            return;
        }
        let queues = self.touched.entry(Arc::clone(topic)).or_default();
        let news = queues.entry(queue_id).or_insert_with(|| News::Tags(Vec::new()));
        if let News::Tags(tags) = news {
            if tags.len() >= TAGS_MAX {
                *news = News::Any;
            } else if !tags.contains(&tag_code) {
                tags.push(tag_code);
            }
        }
    }

    /// What lies in a queue can be popped (again).
    pub(crate) fn touch(&mut self, topic: &str, queue_id: u32) {
        if let Some((topic, _)) = self.topics.get_key_value(topic) {
            self.touched.entry(Arc::clone(topic)).or_default().insert(queue_id, News::Any);
        }
    }

    /// Topics and their queues with news, and the groups that wait for them.
    pub(crate) fn take_touched(&mut self) -> Vec<(Arc<str>, Touched, Vec<Arc<str>>)> {
        let touched = std::mem::take(&mut self.touched);
        let groups = |topic: &Arc<str>| {
            self.topics.get(topic).map(|groups| groups.keys().cloned().collect()).unwrap_or_default()
        };
        touched
            .into_iter()
            .map(|(topic, queues)| (groups(&topic), topic, queues))
            .map(|(g, t, q)| (t, q, g))
            .collect()
    }

    /// Those of a group who want the news, in order of parking, are to be tried again: no more of them than there are
    /// messages, so that many waiters do not all run for one. (Those who only ask whether there is something, all.)
    pub(crate) fn wake(&mut self, topic: &Arc<str>, group: &Arc<str>, queues: &Touched, messages: u64) {
        let Some(ids) = self.topics.get(topic).and_then(|groups| groups.get(group)) else { return };
        let mut left = messages;
        for id in ids {
            if left == 0 {
                break;
            }
            let Some(request) = self.parked.get(*id) else { continue };
            if request.wants(topic, queues) {
                left -= u64::from(request.takes());
                self.woken.insert(*id);
            }
        }
    }

    pub(crate) fn next_woken(&mut self) -> Option<PopRequest> {
        while let Some(id) = self.woken.pop_first() {
            let request = self.take(id);
            if request.is_some() {
                return request;
            }
        }
        None
    }

    /// When there is something to be done without any news.
    pub(crate) fn wake_ms(&self) -> Option<i64> {
        if self.woken.is_empty() && self.touched.is_empty() {
            self.parked.next_deadline_ms()
        } else {
            Some(0)
        }
    }

    pub(crate) fn overdue(&self, now_ms: i64) -> Vec<HoldId> {
        self.parked.overdue(now_ms)
    }

    pub(crate) fn all(&self) -> Vec<HoldId> {
        self.parked.all()
    }

    pub(crate) fn disconnected(&mut self, conn: ConnId) {
        for id in self.parked.of_connection(conn) {
            self.take(id);
        }
    }

    /// How many of a group wait for a queue of a topic, or for any (`None`).
    pub(crate) fn count(&self, topic: &str, group: &str, queue_id: Option<u32>) -> usize {
        let ids = self.topics.get(topic).and_then(|groups| groups.get(group));
        let waits = |id: &&HoldId| self.parked.get(**id).is_some_and(|request| request.queue_id == queue_id);
        ids.into_iter().flatten().filter(waits).count()
    }
}
