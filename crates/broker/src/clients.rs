//! Who is connected: producers and consumers by group, kept alive by heartbeats. Memory only.

use crate::input::ConnId;
use kerolox_wire::body::{ConsumerData, MessageModel, SubscriptionData};
use std::collections::{BTreeMap, BTreeSet};

/// A connected client as its last heartbeat described it.
#[derive(Debug, Clone)]
pub(crate) struct Client {
    pub(crate) id: String,
    pub(crate) heartbeat_ms: i64,
}

/// The consumers of one group, and what they subscribe to. All consumers of a group should subscribe to the same; where
/// they do not, the latest heartbeat counts, as on Apache.
#[derive(Debug, Default)]
pub(crate) struct ConsumerGroup {
    message_model: Option<MessageModel>,
    pub(crate) subscriptions: BTreeMap<String, SubscriptionData>,
    pub(crate) members: BTreeMap<ConnId, Client>,
}

impl ConsumerGroup {
    pub(crate) fn is_broadcasting(&self) -> bool {
        self.message_model == Some(MessageModel::Broadcasting)
    }

    /// Client ids in order, each once.
    pub(crate) fn client_ids(&self) -> Vec<&str> {
        let ids: BTreeSet<&str> = self.members.values().map(|client| &*client.id).collect();
        ids.into_iter().collect()
    }
}

/// Groups of one connection at most: a process has one connection for all its producers and consumers.
const GROUPS_OF_CLIENT_MAX: usize = 4_096;
/// Places in groups of all connections together.
const MEMBERSHIPS_MAX: usize = 500_000;
/// Length of a client's id, and of a group's name, in bytes.
const ID_BYTES_MAX: usize = 1_024;
const GROUP_BYTES_MAX: usize = 255;

/// All connected clients.
pub(crate) struct Clients {
    expiry_ms: i64,
    consumers: BTreeMap<String, ConsumerGroup>,
    producers: BTreeMap<String, BTreeMap<ConnId, Client>>,
    /// Groups of each connection, so that a lost connection is cheap to clean up.
    groups_of: BTreeMap<ConnId, BTreeSet<String>>,
    /// Entries of `groups_of` in all.
    memberships: usize,
    /// Apache's `heartbeatFingerprint` by group: tells whether subscriptions changed since.
    fingerprints: BTreeMap<String, i64>,
}

impl Clients {
    pub(crate) fn new(expiry_ms: i64) -> Self {
        Self {
            expiry_ms,
            consumers: BTreeMap::new(),
            producers: BTreeMap::new(),
            groups_of: BTreeMap::new(),
            memberships: 0,
            fingerprints: BTreeMap::new(),
        }
    }

    pub(crate) fn consumer_group(&self, group: &str) -> Option<&ConsumerGroup> {
        self.consumers.get(group)
    }

    /// Whether a client may be in these groups too.
    ///
    /// # Errors
    /// Names the limit that is in the way.
    pub(crate) fn check_room<'a>(
        &self,
        conn: ConnId,
        client_id: &str,
        groups: impl Iterator<Item = &'a str>,
    ) -> Result<(), String> {
        if client_id.len() > ID_BYTES_MAX {
            return Err(format!("the client's id is longer than {ID_BYTES_MAX} bytes"));
        }
        let known = self.groups_of.get(&conn);
        let mut new = BTreeSet::new();
        for group in groups {
            if group.len() > GROUP_BYTES_MAX {
                return Err(format!("a group's name is longer than {GROUP_BYTES_MAX} bytes"));
            }
            if !known.is_some_and(|known| known.contains(group)) {
                new.insert(group);
            }
        }
        if !new.is_empty() && known.map_or(0, BTreeSet::len) + new.len() > GROUPS_OF_CLIENT_MAX {
            return Err(format!("a client can be in {GROUPS_OF_CLIENT_MAX} groups"));
        }
        if !new.is_empty() && self.memberships + new.len() > MEMBERSHIPS_MAX {
            return Err(format!("all clients together have {MEMBERSHIPS_MAX} places in groups, the limit"));
        }
        Ok(())
    }

    fn note_group(&mut self, conn: ConnId, group: &str) {
        if self.groups_of.entry(conn).or_default().insert(group.to_owned()) {
            self.memberships += 1;
        }
    }

    /// Forgets that a connection has to do with a group, if it is neither producer nor consumer there any more.
    fn forget_group(&mut self, conn: ConnId, group: &str) {
        let produces = self.producers.get(group).is_some_and(|members| members.contains_key(&conn));
        let consumes = self.consumers.get(group).is_some_and(|group| group.members.contains_key(&conn));
        let Some(groups) = self.groups_of.get_mut(&conn).filter(|_| !produces && !consumes) else { return };
        if groups.remove(group) {
            self.memberships -= 1;
        }
        if groups.is_empty() {
            self.groups_of.remove(&conn);
        }
    }

    pub(crate) fn register_producer(&mut self, conn: ConnId, group: &str, client: Client) {
        self.note_group(conn, group);
        self.producers.entry(group.to_owned()).or_default().insert(conn, client);
    }

    /// Takes one consumer's heartbeat; whether members or subscribed topics of the group changed, so that all members
    /// are to be told. `with_subscriptions` is false for the short heartbeats of newer clients, which leave them out.
    pub(crate) fn register_consumer(
        &mut self,
        conn: ConnId,
        data: &ConsumerData,
        client: Client,
        with_subscriptions: bool,
    ) -> bool {
        self.note_group(conn, &data.group_name);
        let group = self.consumers.entry(data.group_name.clone()).or_default();
        group.message_model = data.message_model;
        let joined = group.members.insert(conn, client).is_none();
        if !with_subscriptions {
            return joined;
        }
        let topics_before: BTreeSet<String> = group.subscriptions.keys().cloned().collect();
        let subscribed: BTreeSet<String> =
            data.subscription_data_set.iter().map(|s| s.topic.clone()).collect();
        for subscription in &data.subscription_data_set {
            match group.subscriptions.get(&subscription.topic) {
                Some(known) if known.sub_version >= subscription.sub_version => {}
                _ => {
                    group.subscriptions.insert(subscription.topic.clone(), subscription.clone());
                }
            }
        }
        group.subscriptions.retain(|topic, _| subscribed.contains(topic));
        joined || topics_before != subscribed
    }

    /// Remembers the fingerprint of a group's heartbeat; whether it differs from the one known before.
    pub(crate) fn fingerprint_changed(&mut self, group: &str, fingerprint: i64) -> bool {
        self.fingerprints.insert(group.to_owned(), fingerprint).is_some_and(|known| known != fingerprint)
    }

    /// Where to send word that a group's members changed.
    pub(crate) fn members(&self, group: &str) -> impl Iterator<Item = ConnId> {
        self.consumers.get(group).into_iter().flat_map(|group| group.members.keys().copied())
    }

    pub(crate) fn unregister_producer(&mut self, conn: ConnId, group: &str) {
        if let Some(members) = self.producers.get_mut(group) {
            members.remove(&conn);
            if members.is_empty() {
                self.producers.remove(group);
            }
        }
        self.forget_group(conn, group);
    }

    /// Whether the consumer was a member.
    pub(crate) fn unregister_consumer(&mut self, conn: ConnId, group: &str) -> bool {
        let Some(members) = self.consumers.get_mut(group) else { return false };
        let was = members.members.remove(&conn).is_some();
        if members.members.is_empty() {
            self.consumers.remove(group);
            self.fingerprints.remove(group);
        }
        self.forget_group(conn, group);
        was
    }

    /// The connection is gone; the consumer groups that lost a member.
    pub(crate) fn disconnected(&mut self, conn: ConnId) -> Vec<String> {
        let groups = self.groups_of.remove(&conn).unwrap_or_default();
        self.memberships -= groups.len();
        groups
            .into_iter()
            .filter(|group| {
                self.unregister_producer(conn, group);
                self.unregister_consumer(conn, group)
            })
            .collect()
    }

    /// Connections whose heartbeats stopped.
    pub(crate) fn silent(&self, now_ms: i64) -> Vec<ConnId> {
        let silent = |client: &Client| now_ms - client.heartbeat_ms > self.expiry_ms;
        let consumers = self.consumers.values().flat_map(|group| &group.members);
        let producers = self.producers.values().flatten();
        let conns: BTreeSet<ConnId> =
            consumers.chain(producers).filter(|(_, client)| silent(client)).map(|(conn, _)| *conn).collect();
        conns.into_iter().collect()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.groups_of.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: ConnId = ConnId(1);
    const B: ConnId = ConnId(2);

    fn client() -> Client {
        Client { id: "c".into(), heartbeat_ms: 0 }
    }

    /// A connection could enter any number of groups, and those it left were remembered until its end.
    #[test]
    fn places_in_groups_are_bounded_and_given_back() {
        let mut clients = Clients::new(1_000);
        let names: Vec<String> = (0..=GROUPS_OF_CLIENT_MAX).map(|i| format!("g{i}")).collect();
        let all = || names.iter().map(String::as_str);
        assert_eq!(clients.check_room(A, "c", all()).unwrap_err(), "a client can be in 4096 groups");
        clients.check_room(A, "c", all().skip(1)).unwrap();
        all().skip(1).for_each(|name| clients.register_producer(A, name, client()));
        clients.check_room(A, "c", all().skip(1)).unwrap();
        assert!(clients.check_room(A, "c", all().take(1)).is_err());
        clients.check_room(B, "c", all().take(1)).unwrap();
        let consumer = ConsumerData { group_name: "g1".into(), ..ConsumerData::default() };
        clients.register_consumer(A, &consumer, client(), true);
        assert_eq!(clients.memberships, GROUPS_OF_CLIENT_MAX);
        clients.unregister_producer(A, "g1");
        assert_eq!(clients.memberships, GROUPS_OF_CLIENT_MAX, "still consumes there");
        assert!(clients.unregister_consumer(A, "g1"));
        assert_eq!(clients.memberships, GROUPS_OF_CLIENT_MAX - 1);
        clients.check_room(A, "c", all().take(1)).unwrap();
        assert!(clients.disconnected(A).is_empty());
        assert!(clients.is_empty() && clients.memberships == 0 && clients.producers.is_empty());
    }

    #[test]
    fn long_names_have_no_room() {
        let clients = Clients::new(1_000);
        assert!(clients.check_room(A, &"c".repeat(1_025), [].into_iter()).unwrap_err().contains("1024"));
        assert!(clients.check_room(A, "c", [&*"g".repeat(256)].into_iter()).unwrap_err().contains("255"));
    }
}
