//! Who is connected: producers and consumers by group, kept alive by heartbeats. Memory only.

use crate::input::ConnId;
use crate::subscription::{self, Unfit, Wanted, code_filter};
use kerolox_wire::Language;
use kerolox_wire::body::{ConsumeFromWhere, ConsumeType, ConsumerData, MessageModel, SubscriptionData};
use std::collections::{BTreeMap, BTreeSet};

/// A connected client as its last heartbeat described it.
#[derive(Debug, Clone)]
pub(crate) struct Client {
    pub(crate) id: String,
    pub(crate) language: Language,
    /// Ordinal in Apache's `MQVersion`.
    pub(crate) version: i32,
    pub(crate) heartbeat_ms: i64,
}

/// The consumers of one group, and what they subscribe to. All consumers of a group should subscribe to the same; where
/// they do not, the latest heartbeat counts, as on Apache.
#[derive(Default)]
pub(crate) struct ConsumerGroup {
    pub(crate) message_model: Option<MessageModel>,
    pub(crate) consume_type: Option<ConsumeType>,
    pub(crate) consume_from_where: Option<ConsumeFromWhere>,
    pub(crate) subscriptions: BTreeMap<String, Subscription>,
    pub(crate) members: BTreeMap<ConnId, Client>,
}

/// What a group wants of a topic.
pub(crate) struct Subscription {
    pub(crate) data: SubscriptionData,
    /// Made once, for all pulls.
    pub(crate) filter: Result<Wanted, Unfit>,
}

impl Subscription {
    fn new(data: &SubscriptionData, sql92: bool) -> Self {
        let filter = match subscription::is_tag(Some(&data.expression_type)) {
            true => Ok(code_filter(data.code_set.iter().map(|code| i64::from(*code)))),
            false => subscription::filter(sql92, Some(&data.expression_type), Some(&data.sub_string)),
        };
        Self { data: data.clone(), filter }
    }
}

/// What a subscription's filter is made from.
fn wants(data: &SubscriptionData) -> (&str, &str, &[i32]) {
    (&data.expression_type, &data.sub_string, &data.code_set)
}

/// What a consumer's heartbeat brought.
pub(crate) struct Heard {
    /// Members or subscribed topics of the group changed: all members are to be told.
    pub(crate) regroups: bool,
    /// What the group wants of a topic changed: who waits by the old filter would pass over what only the new one wants.
    pub(crate) refilters: bool,
    /// It left out its subscriptions, and the broker knows none.
    pub(crate) unknown: bool,
}

/// About how much memory a subscription takes, in bytes.
fn weight(data: &SubscriptionData) -> usize {
    let tags: usize = data.tags_set.iter().map(|tag| 32 + tag.len()).sum();
    256 + 2 * data.topic.len()
        + data.expression_type.len()
        + data.sub_string.len()
        + tags
        + 24 * data.code_set.len()
}

impl ConsumerGroup {
    fn knows(&self, data: &SubscriptionData) -> bool {
        self.subscriptions.get(&data.topic).is_some_and(|known| known.data.sub_version >= data.sub_version)
    }

    fn weight(&self) -> usize {
        self.subscriptions.values().map(|s| weight(&s.data)).sum()
    }

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
/// Bytes of what all groups subscribe to.
const SUBSCRIPTION_BYTES_MAX: usize = 256 << 20;
/// Length of a client's id, and of a group's name, in bytes.
const ID_BYTES_MAX: usize = 1_024;
const GROUP_BYTES_MAX: usize = 255;

/// All connected clients.
pub(crate) struct Clients {
    expiry_ms: i64,
    /// Whether consumers may filter by SQL92.
    sql92: bool,
    consumers: BTreeMap<String, ConsumerGroup>,
    producers: BTreeMap<String, BTreeMap<ConnId, Client>>,
    /// The connection of each producer that heartbeats by its client id: the latest, where it is used twice.
    producer_ids: BTreeMap<String, ConnId>,
    /// Groups of each connection, so that a lost connection is cheap to clean up.
    groups_of: BTreeMap<ConnId, BTreeSet<String>>,
    /// Entries of `groups_of` in all.
    memberships: usize,
    /// Weight of all subscriptions.
    subscription_bytes: usize,
    /// Apache's `heartbeatFingerprint` by group: tells whether subscriptions changed since.
    fingerprints: BTreeMap<String, i64>,
}

impl Clients {
    pub(crate) fn new(expiry_ms: i64, sql92: bool) -> Self {
        Self {
            expiry_ms,
            sql92,
            consumers: BTreeMap::new(),
            producers: BTreeMap::new(),
            producer_ids: BTreeMap::new(),
            groups_of: BTreeMap::new(),
            memberships: 0,
            subscription_bytes: 0,
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

    /// Whether what a client's consumers subscribe to may be kept.
    ///
    /// # Errors
    /// Names the limit that is in the way.
    pub(crate) fn check_subscriptions(&self, consumers: &[ConsumerData]) -> Result<(), String> {
        let mut new = 0;
        for consumer in consumers {
            let group = self.consumers.get(&consumer.group_name);
            let unknown =
                consumer.subscription_data_set.iter().filter(|s| !group.is_some_and(|g| g.knows(s)));
            new += unknown.map(weight).sum::<usize>();
        }
        if new > 0 && self.subscription_bytes + new > SUBSCRIPTION_BYTES_MAX {
            let limit = SUBSCRIPTION_BYTES_MAX >> 20;
            return Err(format!("what all groups subscribe to takes {limit} MiB, the limit"));
        }
        Ok(())
    }

    fn note_group(&mut self, conn: ConnId, group: &str) {
        if self.groups_of.entry(conn).or_default().insert(group.to_owned()) {
            self.memberships += 1;
        }
    }

    /// Forgets a producer's id unless its connection goes by it in another group.
    fn forget_producer_id(&mut self, conn: ConnId, id: &str) {
        let groups = self.groups_of.get(&conn).into_iter().flatten();
        let mut elsewhere = groups.filter_map(|group| self.producers.get(group)?.get(&conn));
        if self.producer(id) == Some(conn) && !elsewhere.any(|client| client.id == id) {
            self.producer_ids.remove(id);
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
        self.producer_ids.insert(client.id.clone(), conn);
        let id = client.id.clone();
        let before = self.producers.entry(group.to_owned()).or_default().insert(conn, client);
        if let Some(before) = before.filter(|before| before.id != id) {
            self.forget_producer_id(conn, &before.id);
        }
    }

    /// Takes one consumer's heartbeat. `with_subscriptions` is false for the short heartbeats of newer clients, which leave
    /// them out.
    pub(crate) fn register_consumer(
        &mut self,
        conn: ConnId,
        data: &ConsumerData,
        client: Client,
        with_subscriptions: bool,
    ) -> Heard {
        self.note_group(conn, &data.group_name);
        let group = self.consumers.entry(data.group_name.clone()).or_default();
        group.message_model = data.message_model;
        group.consume_type = data.consume_type;
        group.consume_from_where = data.consume_from_where;
        let joined = group.members.insert(conn, client).is_none();
        if !with_subscriptions {
            let unknown = group.subscriptions.is_empty();
            return Heard { regroups: joined, refilters: false, unknown };
        }
        let before = group.weight();
        let (mut topics_changed, mut refilters) = (false, false);
        for subscription in data.subscription_data_set.iter().filter(|s| !group.knows(s)).collect::<Vec<_>>()
        {
            let subscribed = Subscription::new(subscription, self.sql92);
            match group.subscriptions.insert(subscription.topic.clone(), subscribed) {
                Some(before) => refilters |= wants(&before.data) != wants(subscription),
                None => (topics_changed, refilters) = (true, true),
            }
        }
        let subscribed: BTreeSet<&str> = data.subscription_data_set.iter().map(|s| &*s.topic).collect();
        let count = group.subscriptions.len();
        group.subscriptions.retain(|topic, _| subscribed.contains(&**topic));
        topics_changed |= group.subscriptions.len() != count;
        self.subscription_bytes = self.subscription_bytes + group.weight() - before;
        Heard { regroups: joined || topics_changed, refilters, unknown: false }
    }

    /// Remembers the fingerprint of a group's heartbeat; whether it differs from the one known before.
    pub(crate) fn fingerprint_changed(&mut self, group: &str, fingerprint: i64) -> bool {
        self.fingerprints.insert(group.to_owned(), fingerprint).is_some_and(|known| known != fingerprint)
    }

    /// Where to send word that a group's members changed.
    pub(crate) fn members(&self, group: &str) -> impl Iterator<Item = ConnId> {
        self.consumers.get(group).into_iter().flat_map(|group| group.members.keys().copied())
    }

    /// A group's consumer by its client id: where it was heard of last, for a broken connection is seen to be gone late.
    pub(crate) fn consumer(&self, group: &str, client_id: &str) -> Option<(ConnId, &Client)> {
        let members = self.consumers.get(group)?.members.iter();
        let named = members.filter(|(_, client)| client.id == client_id);
        named.map(|(conn, client)| (*conn, client)).max_by_key(|(conn, client)| (client.heartbeat_ms, *conn))
    }

    /// One of a group's producers; which, `turn` decides.
    pub(crate) fn any_producer(&self, group: &str, turn: u64) -> Option<ConnId> {
        let members = self.producers.get(group)?;
        let number = turn.checked_rem(members.len() as u64)?;
        members.keys().nth(number as usize).copied()
    }

    /// The connection of a producer, by its client id.
    pub(crate) fn producer(&self, client_id: &str) -> Option<ConnId> {
        self.producer_ids.get(client_id).copied()
    }

    /// A group's producers.
    pub(crate) fn producers(&self, group: &str) -> impl Iterator<Item = (ConnId, &Client)> {
        self.producers.get(group).into_iter().flatten().map(|(conn, client)| (*conn, client))
    }

    pub(crate) fn producer_groups(&self) -> impl Iterator<Item = &str> {
        self.producers.keys().map(String::as_str)
    }

    /// Groups with connected consumers that subscribe to a topic.
    pub(crate) fn subscribers(&self, topic: &str) -> impl Iterator<Item = &str> {
        self.consumers
            .iter()
            .filter(move |(_, group)| group.subscriptions.contains_key(topic))
            .map(|(name, _)| name.as_str())
    }

    pub(crate) fn unregister_producer(&mut self, conn: ConnId, group: &str) {
        let Some(members) = self.producers.get_mut(group) else { return };
        let gone = members.remove(&conn);
        if members.is_empty() {
            self.producers.remove(group);
        }
        if let Some(client) = gone {
            self.forget_producer_id(conn, &client.id);
        }
        self.forget_group(conn, group);
    }

    /// Whether the consumer was a member.
    pub(crate) fn unregister_consumer(&mut self, conn: ConnId, group: &str) -> bool {
        let Some(members) = self.consumers.get_mut(group) else { return false };
        let was = members.members.remove(&conn).is_some();
        if members.members.is_empty() {
            self.subscription_bytes -= members.weight();
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
        Client { id: "c".into(), language: Language::JAVA, version: 0, heartbeat_ms: 0 }
    }

    /// A connection could enter any number of groups, and those it left were remembered until its end.
    #[test]
    fn places_in_groups_are_bounded_and_given_back() {
        let mut clients = Clients::new(1_000, true);
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

    /// Heartbeats could make the broker keep as many subscriptions, of as many bytes, as they liked.
    #[test]
    fn subscriptions_are_bounded_and_given_back() {
        let mut clients = Clients::new(1_000, true);
        let consumer = |group: &str, version: i64| {
            let sub_string = "x".repeat(SUBSCRIPTION_BYTES_MAX / 2);
            let one = SubscriptionData { sub_string, sub_version: version, ..SubscriptionData::default() };
            vec![ConsumerData {
                group_name: group.into(),
                subscription_data_set: vec![one],
                ..ConsumerData::default()
            }]
        };
        let first = consumer("g1", 1);
        clients.check_subscriptions(&first).unwrap();
        clients.register_consumer(A, &first[0], client(), true);
        clients.check_subscriptions(&first).unwrap(); // what is known goes on
        let why = clients.check_subscriptions(&consumer("g2", 1)).unwrap_err();
        assert_eq!(why, "what all groups subscribe to takes 256 MiB, the limit");
        assert!(clients.check_subscriptions(&consumer("g1", 2)).is_err());
        clients.disconnected(A);
        assert_eq!(clients.subscription_bytes, 0);
        clients.check_subscriptions(&consumer("g2", 1)).unwrap();
    }

    #[test]
    fn producers_are_known_by_their_ids_as_long_as_they_are_there() {
        let mut clients = Clients::new(1_000, true);
        let named = |id: &str| Client { id: id.into(), ..client() };
        clients.register_producer(A, "g", named("a"));
        clients.register_producer(A, "h", named("a"));
        clients.unregister_producer(A, "g");
        assert_eq!(clients.producer("a"), Some(A));
        // The same client comes back on another connection before the old one is seen to be gone.
        clients.register_producer(B, "g", named("a"));
        clients.disconnected(A);
        assert_eq!(clients.producer("a"), Some(B));
        // One that changes its id with every beat is not remembered by all of them.
        (0..9).for_each(|n| clients.register_producer(B, "g", named(&format!("a{n}"))));
        assert_eq!((clients.producer("a8"), clients.producer_ids.len()), (Some(B), 1));
        clients.register_producer(B, "h", named("b"));
        clients.unregister_producer(B, "g");
        clients.disconnected(B);
        assert!(clients.producer_ids.is_empty());
    }

    #[test]
    fn long_names_have_no_room() {
        let clients = Clients::new(1_000, true);
        assert!(clients.check_room(A, &"c".repeat(1_025), [].into_iter()).unwrap_err().contains("1024"));
        assert!(clients.check_room(A, "c", [&*"g".repeat(256)].into_iter()).unwrap_err().contains("255"));
    }
}
