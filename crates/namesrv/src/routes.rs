//! The route table: which brokers there are, and which topics they have.

use crate::BROKER_EXPIRY_MS;
use crate::limits::{BROKERS_MAX, TOPICS_MAX};
use kerolox_wire::body::{BrokerData, DataVersion, QueueData, TopicConfig};
use std::collections::{BTreeMap, BTreeSet};

/// A connection as the shell numbers them.
pub type ConnId = u64;
/// Values by namespace and key.
pub type KvTable = BTreeMap<String, BTreeMap<String, String>>;

/// What a broker says of itself when it registers.
pub(crate) struct Registration<'a> {
    pub(crate) cluster: &'a str,
    pub(crate) name: &'a str,
    pub(crate) address: &'a str,
    pub(crate) id: i64,
    pub(crate) ha_address: &'a str,
    pub(crate) expiry_ms: Option<i64>,
    pub(crate) enable_acting_master: Option<bool>,
    pub(crate) version: DataVersion,
    pub(crate) topics: Vec<TopicConfig>,
}

/// A registered broker process.
struct Live {
    name: String,
    id: i64,
    conn: ConnId,
    updated_ms: i64,
    expiry_ms: i64,
    version: DataVersion,
    ha_address: String,
}

/// Where a replica finds its master.
#[derive(Default)]
pub(crate) struct Master {
    pub(crate) address: Option<String>,
    pub(crate) ha_address: Option<String>,
}

#[derive(Default)]
pub(crate) struct Routes {
    /// By broker name.
    pub(crate) brokers: BTreeMap<String, BrokerData>,
    /// By cluster and address.
    live: BTreeMap<(String, String), Live>,
    /// By topic and broker name.
    pub(crate) topics: BTreeMap<String, BTreeMap<String, QueueData>>,
}

impl Routes {
    pub(crate) fn is_empty(&self) -> bool {
        self.live.is_empty()
    }

    /// Takes a registration in.
    pub(crate) fn register(
        &mut self,
        now_ms: i64,
        conn: ConnId,
        new: Registration<'_>,
    ) -> Result<Master, String> {
        let key = (new.cluster.to_owned(), new.address.to_owned());
        if self.live.len() >= BROKERS_MAX && !self.live.contains_key(&key) {
            return Err(format!("{BROKERS_MAX} brokers are registered, the limit"));
        }
        if let Some(data) = self.brokers.get(new.name).filter(|data| data.cluster != new.cluster) {
            return Err(format!("broker name {} belongs to cluster {}", new.name, data.cluster));
        }
        if let Some(newer) = self.newer_holder(&new) {
            return Err(format!(
                "broker {} id {} is registered with newer state from {newer}",
                new.name, new.id
            ));
        }
        let data = self.brokers.entry(new.name.to_owned()).or_insert_with(|| BrokerData {
            cluster: new.cluster.to_owned(),
            broker_name: new.name.to_owned(),
            ..BrokerData::default()
        });
        data.enable_acting_master = new.enable_acting_master.unwrap_or(false);
        // A process that changed its role has one entry, under its new id.
        data.broker_addrs.retain(|id, address| address != new.address || *id == new.id);
        let first = data.broker_addrs.insert(new.id, new.address.to_owned()).is_none();
        let lowest = data.broker_addrs.keys().next() == Some(&new.id);
        let acting = lowest && new.id != 0 && new.enable_acting_master.is_some();
        let read_only = acting && data.enable_acting_master;
        let changed = self.live.get(&key).is_none_or(|live| live.version != new.version);
        if (first || changed) && (new.id == 0 || acting) {
            self.put_topics(new.name, &new.topics, read_only)?;
        }
        let live = Live {
            name: new.name.to_owned(),
            id: new.id,
            conn,
            updated_ms: now_ms,
            expiry_ms: new.expiry_ms.filter(|ms| *ms > 0).unwrap_or(BROKER_EXPIRY_MS),
            version: new.version,
            ha_address: new.ha_address.to_owned(),
        };
        self.live.insert(key, live);
        Ok(self.master_of(new.cluster, new.name, new.id))
    }

    /// The address of a live process that has the same broker id and a higher state version, if there is one.
    fn newer_holder(&self, new: &Registration<'_>) -> Option<String> {
        let address = self.brokers.get(new.name)?.broker_addrs.get(&new.id).filter(|a| *a != new.address)?;
        let live = self.live.get(&(new.cluster.to_owned(), address.clone()))?;
        (live.version.state_version > new.version.state_version).then(|| address.clone())
    }

    fn put_topics(&mut self, broker: &str, topics: &[TopicConfig], read_only: bool) -> Result<(), String> {
        for topic in topics {
            if self.topics.len() >= TOPICS_MAX && !self.topics.contains_key(&topic.topic_name) {
                return Err(format!("{TOPICS_MAX} topics are registered, the limit"));
            }
            let data = QueueData {
                broker_name: broker.to_owned(),
                read_queue_nums: topic.read_queue_nums,
                write_queue_nums: topic.write_queue_nums,
                perm: if read_only { topic.perm & !2 } else { topic.perm },
                topic_sys_flag: topic.topic_sys_flag,
            };
            self.topics.entry(topic.topic_name.clone()).or_default().insert(broker.to_owned(), data);
        }
        Ok(())
    }

    fn master_of(&self, cluster: &str, name: &str, id: i64) -> Master {
        let address = self.brokers.get(name).and_then(|data| data.broker_addrs.get(&0)).filter(|_| id != 0);
        let live = address.and_then(|address| self.live.get(&(cluster.to_owned(), address.clone())));
        Master {
            address: address.filter(|_| live.is_some()).cloned(),
            ha_address: live.map(|live| live.ha_address.clone()),
        }
    }

    /// A sign of life; whether the broker is known.
    pub(crate) fn beat(&mut self, now_ms: i64, cluster: &str, address: &str) -> Option<&DataVersion> {
        let live = self.live.get_mut(&(cluster.to_owned(), address.to_owned()))?;
        live.updated_ms = now_ms;
        Some(&live.version)
    }

    pub(crate) fn unregister(&mut self, cluster: &str, address: &str) {
        let Some(live) = self.live.remove(&(cluster.to_owned(), address.to_owned())) else { return };
        let Some(data) = self.brokers.get_mut(&live.name) else { return };
        if data.broker_addrs.get(&live.id).is_some_and(|known| known == address) {
            data.broker_addrs.remove(&live.id);
        }
        if data.broker_addrs.is_empty() {
            self.brokers.remove(&live.name);
            self.topics.retain(|_, brokers| {
                brokers.remove(&live.name);
                !brokers.is_empty()
            });
        } else if data.enable_acting_master && !data.broker_addrs.contains_key(&0) {
            // Replicas are left, and none may take writes.
            for queues in self.topics.values_mut().filter_map(|brokers| brokers.get_mut(&live.name)) {
                queues.perm &= !2;
            }
        }
    }

    pub(crate) fn disconnected(&mut self, conn: ConnId) {
        self.unregister_where(|live| live.conn == conn);
    }

    pub(crate) fn expire(&mut self, now_ms: i64) {
        self.unregister_where(|live| now_ms - live.updated_ms > live.expiry_ms);
    }

    fn unregister_where(&mut self, gone: impl Fn(&Live) -> bool) {
        let keys: Vec<_> =
            self.live.iter().filter(|(_, live)| gone(live)).map(|(key, _)| key.clone()).collect();
        for (cluster, address) in keys {
            self.unregister(&cluster, &address);
        }
    }

    /// Broker names by cluster.
    pub(crate) fn clusters(&self) -> BTreeMap<String, BTreeSet<String>> {
        let mut clusters: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for data in self.brokers.values() {
            clusters.entry(data.cluster.clone()).or_default().insert(data.broker_name.clone());
        }
        clusters
    }

    /// Applies `change` to the permission of every queue of a broker; to how many topics.
    pub(crate) fn change_perm(&mut self, broker: &str, change: impl Fn(i32) -> i32) -> i32 {
        let mut count = 0;
        for queues in self.topics.values_mut().filter_map(|brokers| brokers.get_mut(broker)) {
            queues.perm = change(queues.perm);
            count += 1;
        }
        count
    }
}
