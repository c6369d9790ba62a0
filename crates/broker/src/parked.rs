//! Requests that wait: by the order in which they came, by deadline and by connection, within limits.

use crate::config::Limits;
use crate::input::ConnId;
use std::collections::{BTreeMap, BTreeSet};

/// Identifies a parked request; grows, so that the order of parking is the order of waking.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct HoldId(u64);

/// A request that can wait.
pub(crate) trait Waits {
    fn conn(&self) -> ConnId;
    /// When the answer "nothing" is due.
    fn until_ms(&self) -> i64;
    /// Bytes of the expression that its filter was made from, if it is the request's own.
    fn filter_bytes(&self) -> usize;
}

pub(crate) struct Parked<R> {
    next: u64,
    parked: BTreeMap<HoldId, R>,
    deadlines: BTreeSet<(i64, HoldId)>,
    connections: BTreeMap<ConnId, BTreeSet<HoldId>>,
    /// Bytes of the expressions that parked requests brought along.
    filter_bytes: usize,
}

impl<R> Default for Parked<R> {
    fn default() -> Self {
        Self {
            next: 0,
            parked: BTreeMap::new(),
            deadlines: BTreeSet::new(),
            connections: BTreeMap::new(),
            filter_bytes: 0,
        }
    }
}

impl<R: Waits> Parked<R> {
    /// Whether one more may be parked: within the limits of all together, of its connection, and of the expressions that
    /// requests bring along (those that bring none are not held up by others that do).
    pub(crate) fn has_room(&self, request: &R, limits: &Limits) -> bool {
        let own = self.connections.get(&request.conn()).map_or(0, BTreeSet::len);
        let filters = self.filter_bytes + request.filter_bytes();
        self.parked.len() < limits.parked_max
            && own < limits.parked_of_connection_max
            && (request.filter_bytes() == 0 || filters <= limits.parked_filter_bytes_max)
    }

    pub(crate) fn park(&mut self, request: R) -> HoldId {
        let id = HoldId(self.next);
        self.next += 1;
        self.deadlines.insert((request.until_ms(), id));
        self.filter_bytes += request.filter_bytes();
        self.connections.entry(request.conn()).or_default().insert(id);
        self.parked.insert(id, request);
        id
    }

    pub(crate) fn get(&self, id: HoldId) -> Option<&R> {
        self.parked.get(&id)
    }

    pub(crate) fn take(&mut self, id: HoldId) -> Option<R> {
        let request = self.parked.remove(&id)?;
        self.deadlines.remove(&(request.until_ms(), id));
        self.filter_bytes -= request.filter_bytes();
        if let Some(ids) = self.connections.get_mut(&request.conn()) {
            ids.remove(&id);
            if ids.is_empty() {
                self.connections.remove(&request.conn());
            }
        }
        Some(request)
    }

    /// All whose time is up.
    pub(crate) fn overdue(&self, now_ms: i64) -> Vec<HoldId> {
        self.deadlines.iter().take_while(|(at, _)| *at <= now_ms).map(|(_, id)| *id).collect()
    }

    pub(crate) fn all(&self) -> Vec<HoldId> {
        self.parked.keys().copied().collect()
    }

    pub(crate) fn those(&self, wanted: impl Fn(&R) -> bool) -> Vec<HoldId> {
        self.parked.iter().filter(|(_, request)| wanted(request)).map(|(id, _)| *id).collect()
    }

    pub(crate) fn of_connection(&self, conn: ConnId) -> Vec<HoldId> {
        self.connections.get(&conn).into_iter().flatten().copied().collect()
    }

    pub(crate) fn next_deadline_ms(&self) -> Option<i64> {
        self.deadlines.first().map(|(at, _)| *at)
    }
}
