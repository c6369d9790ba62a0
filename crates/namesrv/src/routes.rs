//! Which broker has which queues of which topic, and which brokers live. Source: Apache's `RouteInfoManager`.

use crate::{BROKER_EXPIRY_MS, ConnId, Refusal, limits};
use kerolox_wire::body::{
    BrokerData, ClusterInfo, DataVersion, QueueData, RegisterBrokerBody, TopicConfig,
    TopicConfigAndMappingSerializeWrapper, TopicQueueMappingInfo, TopicRouteData, perm,
};
use kerolox_wire::names;
use std::collections::{BTreeMap, BTreeSet};

/// The id of a master; replicas have higher ones.
const MASTER_ID: i64 = 0;
/// Topics of this prefix are there for brokers to find each other.
const SYNC_MEMBER_PREFIX: &str = "SYNC_BROKER_MEMBER_";
const UNIT: i32 = 1;
const UNIT_SUB: i32 = 1 << 1;

/// A broker process, whatever its name and id: it may change those.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct BrokerKey {
    cluster: String,
    addr: String,
}

impl BrokerKey {
    pub(crate) fn new(cluster: &str, addr: &str) -> Self {
        Self { cluster: cluster.to_owned(), addr: addr.to_owned() }
    }
}

/// A broker process that is alive.
#[derive(Debug)]
struct Live {
    heard_ms: i64,
    timeout_ms: i64,
    version: DataVersion,
    conn: ConnId,
    ha_addr: String,
    /// Others deleted queues that it registered: it is to be asked for all of them again.
    deprived: bool,
}

impl Live {
    /// The last moment at which it counts as alive.
    fn until_ms(&self) -> i64 {
        self.heard_ms.saturating_add(self.timeout_ms)
    }
}

/// What a broker says when it registers.
pub(crate) struct Registration<'a> {
    pub(crate) key: BrokerKey,
    pub(crate) name: &'a str,
    pub(crate) id: i64,
    pub(crate) ha_addr: &'a str,
    pub(crate) zone: Option<&'a str>,
    pub(crate) timeout_ms: Option<i64>,
    /// `None`: the broker is too old to know of acting masters.
    pub(crate) acting_master: Option<bool>,
    pub(crate) conn: ConnId,
    pub(crate) delete_missing: bool,
    pub(crate) body: RegisterBrokerBody,
}

/// What a replica is told of its master.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Master {
    pub(crate) addr: String,
    pub(crate) ha_addr: String,
}

#[derive(Debug, Default)]
pub(crate) struct Routes {
    /// By topic, then broker name. No inner map is empty.
    topics: BTreeMap<String, BTreeMap<String, QueueData>>,
    /// By broker name. Every one has an address.
    brokers: BTreeMap<String, BrokerData>,
    /// Broker names by cluster.
    clusters: BTreeMap<String, BTreeSet<String>>,
    live: BTreeMap<BrokerKey, Live>,
    filter_servers: BTreeMap<BrokerKey, Vec<String>>,
    /// Of static topics: by topic, then broker name.
    mappings: BTreeMap<String, BTreeMap<String, TopicQueueMappingInfo>>,
}

impl Routes {
    /// Takes a broker in, or takes over what it says anew. A replica is told where its master is.
    pub(crate) fn register(&mut self, now_ms: i64, r: Registration<'_>) -> Result<Option<Master>, Refusal> {
        let wrapper = &r.body.topic_config_serialize_wrapper;
        let others = self.brokers.get(r.name).map(|broker| &broker.broker_addrs);
        let holder = others.and_then(|addrs| addrs.get(&r.id)).filter(|addr| **addr != r.key.addr);
        let holder = holder.map(|addr| BrokerKey { cluster: r.key.cluster.clone(), addr: addr.clone() });
        if let Some(holder) = holder.and_then(|key| self.live.get(&key))
            && holder.version.state_version > wrapper.data_version.state_version
        {
            // Somebody newer has this id: the registration is taken for outdated and changes nothing.
            self.unregister(&r.key, r.name);
            return Ok(None);
        }
        let known = others.is_some_and(|addrs| addrs.contains_key(&r.id));
        if !known && wrapper.topic_config_table.len() == 1 {
            // A single topic is a later addition, and of a broker that is not there (any more) not to be had.
            return Err(Refusal::error("register broker failed"));
        }
        self.check_room(&r)?;

        self.take_from_names(&r.key, |broker| {
            broker.cluster == r.key.cluster && broker.broker_name != r.name
        });
        let is_new = self.put_address(&r);
        let lowest = self.brokers.get(r.name).and_then(|broker| broker.broker_addrs.keys().min().copied());
        let is_prime_replica = r.acting_master.is_some() && r.id != MASTER_ID && Some(r.id) == lowest;
        let changed = is_new || self.live.get(&r.key).is_none_or(|live| live.version != wrapper.data_version);
        if r.id == MASTER_ID || is_prime_replica {
            if r.delete_missing && wrapper.topic_queue_mapping_info_map.is_empty() {
                self.drop_missing(r.name, &wrapper.topic_config_table);
            }
            let read_only = is_prime_replica && r.acting_master == Some(true);
            self.put_topics(r.name, wrapper, changed, read_only);
        }
        let live = Live {
            heard_ms: now_ms,
            timeout_ms: r.timeout_ms.unwrap_or(BROKER_EXPIRY_MS),
            version: wrapper.data_version,
            conn: r.conn,
            ha_addr: r.ha_addr.to_owned(),
            // It may not have said all.
            deprived: self.live.get(&r.key).is_some_and(|live| live.deprived),
        };
        self.live.insert(r.key.clone(), live);
        if r.body.filter_server_list.is_empty() {
            self.filter_servers.remove(&r.key);
        } else {
            self.filter_servers.insert(r.key.clone(), r.body.filter_server_list);
        }
        Ok(if r.id == MASTER_ID { None } else { self.master_of(r.name, &r.key.cluster) })
    }

    fn check_room(&self, r: &Registration<'_>) -> Result<(), Refusal> {
        // One that registers under a name of another cluster's leaves its address there, in Apache too.
        let addresses = self.brokers.values().map(|broker| broker.broker_addrs.len()).sum();
        let is_there = self.live.contains_key(&r.key)
            && self.brokers.get(r.name).is_some_and(|broker| has_address(broker, &r.key.addr));
        if self.live.len().max(addresses) >= limits::BROKERS_MAX && !is_there {
            return Err(Refusal::error(format!("there are {} brokers already", limits::BROKERS_MAX)));
        }
        let wrapper = &r.body.topic_config_serialize_wrapper;
        let table = &wrapper.topic_config_table;
        if self.topics.len() + table.len() > limits::TOPICS_MAX {
            let new = table.values().filter(|config| !self.topics.contains_key(&config.topic_name)).count();
            check_count(self.topics.len() + new, limits::TOPICS_MAX, "topics")?;
        }
        self.check_entries(table.values().map(|config| (config.topic_name.as_str(), r.name)))?;
        let mappings = &wrapper.topic_queue_mapping_info_map;
        let queues = |mapping: &TopicQueueMappingInfo| 1 + mapping.curr_id_map.len();
        let mapped: usize = mappings.values().map(queues).sum();
        let kept = self.mappings.iter().flat_map(|(topic, by_broker)| {
            by_broker.iter().filter(|(name, _)| *name != r.name || !mappings.contains_key(topic))
        });
        let mapped = mapped + kept.map(|(_, mapping)| queues(mapping)).sum::<usize>();
        check_count(mapped, limits::MAPPED_MAX, "mapped queues")
    }

    /// Whether there is room for these topics, each with a broker that has it.
    fn check_entries<'a>(
        &self,
        new: impl ExactSizeIterator<Item = (&'a str, &'a str)>,
    ) -> Result<(), Refusal> {
        if (self.topics.len() + new.len()) * (self.brokers.len() + 1) <= limits::ENTRIES_MAX {
            return Ok(()); // no need to count them
        }
        let is_new = |(topic, name): &(&str, &str)| {
            !self.topics.get(*topic).is_some_and(|queues| queues.contains_key(*name))
        };
        let all = self.topics.values().map(BTreeMap::len).sum::<usize>() + new.filter(is_new).count();
        check_count(all, limits::ENTRIES_MAX, "topics, each counted on each of its brokers")
    }

    /// True if the name did not have this id before.
    fn put_address(&mut self, r: &Registration<'_>) -> bool {
        self.clusters.entry(r.key.cluster.clone()).or_default().insert(r.name.to_owned());
        let broker = self.brokers.entry(r.name.to_owned()).or_insert_with(|| BrokerData {
            broker_name: r.name.to_owned(),
            cluster: r.key.cluster.clone(),
            ..BrokerData::default()
        });
        broker.enable_acting_master = r.acting_master.unwrap_or(false);
        broker.zone_name = r.zone.map(str::to_owned);
        // A broker that changed its id (a replica that became the master) is not there twice.
        broker.broker_addrs.retain(|id, addr| *addr != r.key.addr || *id == r.id);
        broker.broker_addrs.insert(r.id, r.key.addr.clone()).is_none_or(|old| old.is_empty())
    }

    fn drop_missing(&mut self, name: &str, table: &BTreeMap<String, TopicConfig>) {
        self.topics.retain(|topic, queues| {
            if !table.contains_key(topic) {
                queues.remove(name);
            }
            !queues.is_empty()
        });
    }

    fn put_topics(
        &mut self,
        name: &str,
        wrapper: &TopicConfigAndMappingSerializeWrapper,
        changed: bool,
        read_only: bool,
    ) {
        for config in wrapper.topic_config_table.values() {
            let queues = self.topics.entry(config.topic_name.clone()).or_default();
            if changed || !queues.contains_key(name) {
                let perm = if read_only { config.perm & !perm::WRITE } else { config.perm };
                queues.insert(
                    name.to_owned(),
                    QueueData {
                        broker_name: name.to_owned(),
                        perm,
                        read_queue_nums: config.read_queue_nums,
                        topic_sys_flag: config.topic_sys_flag,
                        write_queue_nums: config.write_queue_nums,
                    },
                );
            }
        }
        if changed {
            for (topic, mapping) in &wrapper.topic_queue_mapping_info_map {
                self.mappings
                    .entry(topic.clone())
                    .or_default()
                    .insert(mapping.bname.clone(), mapping.clone());
            }
        }
    }

    fn master_of(&self, name: &str, cluster: &str) -> Option<Master> {
        let addr = self.brokers.get(name)?.broker_addrs.get(&MASTER_ID)?;
        let live = self.live.get(&BrokerKey::new(cluster, addr))?;
        Some(Master { addr: addr.clone(), ha_addr: live.ha_addr.clone() })
    }

    /// Notes that a broker lives.
    pub(crate) fn beat(&mut self, now_ms: i64, key: &BrokerKey) {
        self.live.entry(key.clone()).and_modify(|live| live.heard_ms = now_ms);
    }

    /// The same. The version of what it registered, if it did and that is still there: brokers of Kerolox, unlike Apache's, do not
    /// say again what is known.
    pub(crate) fn known(&mut self, now_ms: i64, key: &BrokerKey, name: &str) -> Option<DataVersion> {
        let live = self.live.get_mut(key)?;
        live.heard_ms = now_ms;
        let is_deprived = std::mem::take(&mut live.deprived);
        let has_name = self.brokers.get(name).is_some_and(|broker| has_address(broker, &key.addr));
        (has_name && !is_deprived).then_some(live.version)
    }

    /// Takes a broker process out, whatever name it says is its own; with the last one of a name go the name and its queues.
    pub(crate) fn unregister(&mut self, key: &BrokerKey, said: &str) {
        self.live.remove(key);
        self.filter_servers.remove(key);
        self.take_from_names(key, |broker| broker.cluster == key.cluster || broker.broker_name == said);
    }

    /// Takes a broker process out of names.
    fn take_from_names(&mut self, key: &BrokerKey, of: impl Fn(&BrokerData) -> bool) {
        let goes = |broker: &&BrokerData| has_address(broker, &key.addr) && of(broker);
        let names: Vec<String> =
            self.brokers.values().filter(goes).map(|broker| broker.broker_name.clone()).collect();
        for name in &names {
            let Some(broker) = self.brokers.get_mut(name) else { continue };
            broker.broker_addrs.retain(|_, addr| *addr != key.addr);
            if broker.broker_addrs.is_empty() {
                self.drop_name(name);
            } else if broker.enable_acting_master && broker.broker_addrs.keys().all(|id| *id > MASTER_ID) {
                // Without a master there is nothing to write to.
                self.set_perm(name, |perm| perm & !perm::WRITE);
            }
        }
    }

    fn drop_name(&mut self, name: &str) {
        self.brokers.remove(name);
        self.clusters.retain(|_, names| {
            names.remove(name);
            !names.is_empty()
        });
        self.topics.retain(|_, queues| {
            queues.remove(name);
            !queues.is_empty()
        });
        self.mappings.retain(|_, by_broker| {
            by_broker.remove(name);
            !by_broker.is_empty()
        });
    }

    pub(crate) fn disconnected(&mut self, conn: ConnId) {
        self.take_out(|live| live.conn == conn);
    }

    pub(crate) fn expire(&mut self, now_ms: i64) {
        self.take_out(|live| live.until_ms() < now_ms);
    }

    pub(crate) fn next_expiry_ms(&self) -> Option<i64> {
        self.live.values().map(|live| live.until_ms().saturating_add(1)).min()
    }

    fn take_out(&mut self, goes: impl Fn(&Live) -> bool) {
        let gone: Vec<BrokerKey> =
            self.live.iter().filter(|(_, live)| goes(live)).map(|(key, _)| key.clone()).collect();
        gone.iter().for_each(|key| self.unregister(key, ""));
    }

    /// The route of a topic, if a broker that has it is there.
    pub(crate) fn route(&self, topic: &str, acting_masters: bool) -> Option<TopicRouteData> {
        let queues = self.topics.get(topic)?;
        let mut broker_datas: Vec<BrokerData> =
            queues.keys().filter_map(|name| self.brokers.get(name)).cloned().collect();
        if broker_datas.is_empty() {
            return None;
        }
        let mut filter_server_table = BTreeMap::new();
        if !self.filter_servers.is_empty() {
            for broker in &broker_datas {
                for addr in broker.broker_addrs.values() {
                    if let Some(servers) = self.filter_servers.get(&BrokerKey::new(&broker.cluster, addr)) {
                        filter_server_table.insert(addr.clone(), servers.clone());
                    }
                }
            }
        }
        let is_member_topic =
            topic.strip_prefix(names::SYSTEM_PREFIX).is_some_and(|rest| rest.starts_with(SYNC_MEMBER_PREFIX));
        if acting_masters && !is_member_topic {
            broker_datas.iter_mut().for_each(|broker| promote(broker, queues));
        }
        Some(TopicRouteData {
            broker_datas,
            filter_server_table,
            order_topic_conf: None,
            queue_datas: queues.values().cloned().collect(),
            topic_queue_mapping_by_broker: self.mappings.get(topic).cloned(),
        })
    }

    /// Queues that a topic has beside those that its brokers registered. All brokers must be known.
    pub(crate) fn register_topic(&mut self, topic: &str, queue_datas: Vec<QueueData>) -> Result<(), Refusal> {
        if !queue_datas.iter().all(|queue| self.brokers.contains_key(&queue.broker_name)) {
            return Ok(());
        }
        if !self.topics.contains_key(topic) {
            check_count(self.topics.len() + 1, limits::TOPICS_MAX, "topics")?;
        }
        self.check_entries(queue_datas.iter().map(|queue| (topic, queue.broker_name.as_str())))?;
        let queues = self.topics.entry(topic.to_owned()).or_default();
        queues.extend(queue_datas.into_iter().map(|queue| (queue.broker_name.clone(), queue)));
        Ok(())
    }

    /// Forgets a topic on the brokers of a cluster, or on all, until they say again that they have it.
    pub(crate) fn delete_topic(&mut self, topic: &str, cluster: Option<&str>) {
        let Some(queues) = self.topics.get_mut(topic) else { return };
        let of_cluster = cluster.map(|cluster| self.clusters.get(cluster));
        let goes = |name: &String| of_cluster.is_none_or(|names| names.is_some_and(|n| n.contains(name)));
        let gone: BTreeSet<String> = queues.keys().filter(|name| goes(name)).cloned().collect();
        queues.retain(|name, _| !gone.contains(name));
        if queues.is_empty() {
            self.topics.remove(topic);
        }
        let brokers: Vec<&BrokerData> = gone.iter().filter_map(|name| self.brokers.get(name)).collect();
        for (key, live) in &mut self.live {
            live.deprived |= brokers.iter().any(|broker| has_address(broker, &key.addr));
        }
    }

    /// Changes the permission of all topics on a broker; how many those are.
    pub(crate) fn set_perm(&mut self, name: &str, change: impl Fn(i32) -> i32) -> i32 {
        let queues = self.topics.values_mut().filter_map(|queues| queues.get_mut(name));
        queues.map(|queue| queue.perm = change(queue.perm)).count() as i32
    }

    pub(crate) fn addresses(&self, name: &str) -> BTreeMap<i64, String> {
        self.brokers.get(name).map(|broker| broker.broker_addrs.clone()).unwrap_or_default()
    }

    pub(crate) fn cluster_info(&self) -> ClusterInfo {
        let names = |names: &BTreeSet<String>| names.iter().cloned().collect();
        ClusterInfo {
            broker_addr_table: self.brokers.clone(),
            cluster_addr_table: self
                .clusters
                .iter()
                .map(|(cluster, set)| (cluster.clone(), names(set)))
                .collect(),
        }
    }

    pub(crate) fn topics(&self) -> Vec<String> {
        self.topics.keys().cloned().collect()
    }

    pub(crate) fn topics_of_cluster(&self, cluster: &str) -> Vec<String> {
        let Some(names) = self.clusters.get(cluster) else {
            return Vec::new();
        };
        let has = |queues: &BTreeMap<String, QueueData>| queues.keys().any(|name| names.contains(name));
        self.topics.iter().filter(|(_, queues)| has(queues)).map(|(topic, _)| topic.clone()).collect()
    }

    /// Topics named as clusters and brokers, and the address of some broker.
    pub(crate) fn system_topics(&self) -> (Vec<String>, Option<String>) {
        let topics: BTreeSet<&String> =
            self.clusters.iter().flat_map(|(cluster, names)| std::iter::once(cluster).chain(names)).collect();
        let addr = self.brokers.values().find_map(|broker| broker.broker_addrs.values().next().cloned());
        (topics.into_iter().cloned().collect(), addr)
    }

    /// Topics by their two unit flags: is one, has unit subscribers.
    pub(crate) fn unit_topics(&self, wanted: fn(bool, bool) -> bool) -> Vec<String> {
        let flags = |queues: &BTreeMap<String, QueueData>| {
            queues.values().next().is_some_and(|queue| {
                wanted(queue.topic_sys_flag & UNIT != 0, queue.topic_sys_flag & UNIT_SUB != 0)
            })
        };
        self.topics.iter().filter(|(_, queues)| flags(queues)).map(|(topic, _)| topic.clone()).collect()
    }
}

fn has_address(broker: &BrokerData, addr: &str) -> bool {
    broker.broker_addrs.values().any(|a| a == addr)
}

fn check_count(count: usize, max: usize, what: &str) -> Result<(), Refusal> {
    let too_many = || Refusal::error(format!("there would be more than {max} {what}"));
    (count <= max).then_some(()).ok_or_else(too_many)
}

/// Shows the replica with the lowest id as the master, if there is none and nobody is to write.
fn promote(broker: &mut BrokerData, queues: &BTreeMap<String, QueueData>) {
    let writable = queues.get(&broker.broker_name).is_none_or(|queue| queue.perm & perm::WRITE != 0);
    if !broker.enable_acting_master || writable || broker.broker_addrs.contains_key(&MASTER_ID) {
        return;
    }
    if let Some((_, addr)) = broker.broker_addrs.pop_first() {
        broker.broker_addrs.insert(MASTER_ID, addr);
    }
}
