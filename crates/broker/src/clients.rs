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

/// All connected clients.
pub(crate) struct Clients {
    expiry_ms: i64,
    consumers: BTreeMap<String, ConsumerGroup>,
    producers: BTreeMap<String, BTreeMap<ConnId, Client>>,
    /// Groups of each connection, so that a lost connection is cheap to clean up.
    groups_of: BTreeMap<ConnId, BTreeSet<String>>,
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
            fingerprints: BTreeMap::new(),
        }
    }

    pub(crate) fn consumer_group(&self, group: &str) -> Option<&ConsumerGroup> {
        self.consumers.get(group)
    }

    pub(crate) fn register_producer(&mut self, conn: ConnId, group: &str, client: Client) {
        self.groups_of.entry(conn).or_default().insert(group.to_owned());
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
        self.groups_of.entry(conn).or_default().insert(data.group_name.clone());
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
    }

    /// Whether the consumer was a member.
    pub(crate) fn unregister_consumer(&mut self, conn: ConnId, group: &str) -> bool {
        let Some(members) = self.consumers.get_mut(group) else { return false };
        let was = members.members.remove(&conn).is_some();
        if members.members.is_empty() {
            self.consumers.remove(group);
            self.fingerprints.remove(group);
        }
        was
    }

    /// The connection is gone; the consumer groups that lost a member.
    pub(crate) fn disconnected(&mut self, conn: ConnId) -> Vec<String> {
        let groups = self.groups_of.remove(&conn).unwrap_or_default();
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
