//! Topics and their settings.

use crate::config::{BrokerConfig, Limits, perm};
use kerolox_wire::body::{DataVersion, TopicConfig};
use kerolox_wire::names;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hash::{BuildHasherDefault, DefaultHasher};
use std::ops::Bound::{Included, Unbounded};
use std::sync::Arc;

/// All topics. System topics come from the settings, not from the log; see [`Topics::system`].
#[derive(Default)]
pub(crate) struct Topics {
    table: HashMap<Arc<str>, Topic, BuildHasherDefault<DefaultHasher>>,
    /// All names in order, for answers that come in pages.
    names: BTreeSet<Arc<str>>,
    /// Names by the change that set their topic last: what a name server that knows an older version does not know.
    by_change: BTreeMap<i64, Arc<str>>,
    /// As name servers compare it. Its counter is the number of the last change.
    version: DataVersion,
    /// About as many bytes as a registration with all of them has.
    bytes: usize,
}

/// A topic and whether the broker made it by itself, out of its settings.
pub(crate) struct Topic {
    pub(crate) config: TopicConfig,
    pub(crate) system: bool,
    /// The change that set it last.
    change: i64,
}

/// Why a topic could not be created.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum CreateError {
    NoDefaultTopic,
    NotInheritable,
    TooMany(usize),
}

/// Bytes of a registration's topics. Whoever has more sends what changed, and everything in parts: a registration is one
/// frame, and both sides stand still while one is made and read.
pub(crate) const REGISTRATION_BYTES: usize = 1 << 20;

/// About as many bytes as a topic takes in a registration.
fn bytes(config: &TopicConfig) -> usize {
    let attributes = config.attributes.iter().map(|(name, value)| name.len() + value.len() + 6);
    2 * config.topic_name.len() + config.topic_filter_type.len() + 150 + attributes.sum::<usize>()
}

impl Topics {
    pub(crate) fn get(&self, name: &str) -> Option<&TopicConfig> {
        self.table.get(name).map(|topic| &topic.config)
    }

    /// The topic with its shared name.
    pub(crate) fn get_shared(&self, name: &str) -> Option<(&Arc<str>, &TopicConfig)> {
        self.table.get_key_value(name).map(|(name, topic)| (name, &topic.config))
    }

    pub(crate) fn is_system(&self, name: &str) -> bool {
        names::is_system_topic(name) || self.table.get(name).is_some_and(|topic| topic.system)
    }

    pub(crate) fn len(&self) -> usize {
        self.table.len()
    }

    /// Adds or replaces a topic.
    pub(crate) fn put(&mut self, now_ms: i64, config: TopicConfig) {
        let system = self.table.get(&*config.topic_name).is_some_and(|topic| topic.system);
        self.insert(now_ms, config, system);
    }

    /// Removes a topic that is none of the system's.
    pub(crate) fn remove(&mut self, now_ms: i64, name: &str) {
        if self.table.get(name).is_some_and(|topic| !topic.system) {
            self.drop_topic(now_ms, name);
        }
    }

    fn drop_topic(&mut self, now_ms: i64, name: &str) {
        if let Some(topic) = self.table.remove(name) {
            self.names.remove(name);
            self.by_change.remove(&topic.change);
            self.bytes -= bytes(&topic.config);
            self.version.next(now_ms);
        }
    }

    fn insert(&mut self, now_ms: i64, config: TopicConfig, system: bool) {
        self.version.next(now_ms);
        self.bytes += bytes(&config);
        let change = self.version.counter;
        let name: Arc<str> = Arc::from(&*config.topic_name);
        self.by_change.insert(change, Arc::clone(&name));
        self.names.insert(Arc::clone(&name));
        if let Some(before) = self.table.insert(name, Topic { config, system, change }) {
            self.by_change.remove(&before.change);
            self.bytes -= bytes(&before.config);
        }
    }

    /// What name servers are told of all topics changed.
    pub(crate) fn all_changed(&mut self, now_ms: i64) {
        let Self { table, names, by_change, version, .. } = self;
        by_change.clear();
        for name in names.iter() {
            if let Some(topic) = table.get_mut(name) {
                version.next(now_ms);
                topic.change = version.counter;
                by_change.insert(topic.change, Arc::clone(name));
            }
        }
    }

    pub(crate) fn version(&self) -> DataVersion {
        self.version
    }

    /// All topics by name.
    pub(crate) fn sorted(&self) -> impl Iterator<Item = (&Arc<str>, &Topic)> {
        self.names.iter().filter_map(|name| self.table.get_key_value(name))
    }

    /// All topics in no order, for those who look at very many often.
    pub(crate) fn unsorted(&self) -> impl Iterator<Item = (&Arc<str>, &Topic)> {
        self.table.iter()
    }

    /// All topics by name, from one on.
    pub(crate) fn from(&self, name: &str) -> impl Iterator<Item = (&Arc<str>, &Topic)> {
        let names = self.names.range::<str, _>((Included(name), Unbounded));
        names.filter_map(|name| self.table.get_key_value(name))
    }

    /// What a name server is to be told next that was told everything up to a version, and the version that it has then. All
    /// of it at once, where that is not more than `part_bytes_max`: one that drops what a registration does not name
    /// (`deleteTopicWithBrokerRegistration`) understands nothing else.
    pub(crate) fn news(
        &self,
        told: Option<DataVersion>,
        part_bytes_max: usize,
    ) -> (Vec<&TopicConfig>, DataVersion) {
        let after = told.filter(|_| self.bytes > part_bytes_max).map_or(0, |version| version.counter);
        let mut part = Vec::new();
        let mut part_bytes = 0;
        let mut last = after;
        for (change, name) in self.by_change.range(after.saturating_add(1)..) {
            let Some(topic) = self.table.get(name) else { continue };
            part_bytes += bytes(&topic.config);
            if part_bytes > part_bytes_max && !part.is_empty() {
                return (part, DataVersion { counter: last, ..self.version });
            }
            part.push(&topic.config);
            last = *change;
        }
        (part, self.version)
    }

    /// What a first send to an unknown topic creates: as many queues as the client asks for and the default topic
    /// has, with the default topic's permissions. Source: `TopicConfigManager.createTopicInSendMessageMethod`.
    pub(crate) fn derive(
        &self,
        name: &str,
        default_topic: &str,
        client_queues: i32,
        limits: &Limits,
    ) -> Result<TopicConfig, CreateError> {
        let default = self.get(default_topic).ok_or(CreateError::NoDefaultTopic)?;
        if default.perm & perm::INHERIT == 0 {
            return Err(CreateError::NotInheritable);
        }
        if self.len() >= limits.topics_max {
            return Err(CreateError::TooMany(limits.topics_max));
        }
        let queues = client_queues.min(default.write_queue_nums).max(0);
        Ok(TopicConfig {
            topic_filter_type: default.topic_filter_type.clone(),
            ..new(name, queues, default.perm & !perm::INHERIT)
        })
    }

    /// Adds the topics that every broker has, with the settings' queue numbers and permissions. Source:
    /// `TopicConfigManager.init`.
    /// `delay_queues`: those of delayed messages. Whether anything changed.
    pub(crate) fn add_system(&mut self, now_ms: i64, config: &BrokerConfig, delay_queues: usize) -> bool {
        let rw = perm::READ | perm::WRITE;
        let named = |usable| perm::INHERIT | if usable { rw } else { 0 };
        let default_queues = config.default_queues as i32;
        let mut system = vec![
            new(names::SELF_TEST_TOPIC, 1, rw),
            new(names::BENCHMARK_TOPIC, 1024, rw),
            new(&config.cluster, 16, named(config.cluster_topic)),
            new(&config.name, 1, named(config.broker_topic)),
            new(names::OFFSET_MOVED_TOPIC, 1, rw),
            new(names::SCHEDULE_TOPIC, delay_queues.max(18) as i32, rw),
            new(names::WHEEL_TIMER_TOPIC, 1, rw),
            new(names::TRANS_HALF_TOPIC, 1, rw),
            new(names::TRANS_OP_HALF_TOPIC, 1, rw),
        ];
        if config.store_replies {
            system.push(new(&names::reply_topic(&config.cluster), 1, rw));
        }
        if config.auto_create_topic {
            system.push(new(names::AUTO_CREATE_TOPIC, default_queues, named(true)));
        }
        if let Some(trace) = &config.trace_topic {
            system.push(new(trace, 1, rw));
        }
        let before = self.version;
        if !config.auto_create_topic {
            self.drop_topic(now_ms, names::AUTO_CREATE_TOPIC);
        }
        for config in system {
            let known = self.table.get(&*config.topic_name);
            if known.is_none_or(|topic| !topic.system || topic.config != config) {
                self.insert(now_ms, config, true);
            }
        }
        self.version != before
    }
}

/// A topic of `queues` queues for reading and writing, otherwise with Apache's defaults.
pub(crate) fn new(name: &str, queues: i32, perm: i32) -> TopicConfig {
    TopicConfig {
        topic_name: name.to_owned(),
        read_queue_nums: queues,
        write_queue_nums: queues,
        perm,
        topic_filter_type: "SINGLE_TAG".into(),
        topic_sys_flag: 0,
        order: false,
        attributes: Default::default(),
    }
}

/// As Apache prints a topic in its refusals.
pub(crate) fn text(config: &TopicConfig) -> String {
    let attributes: Vec<_> = config.attributes.iter().map(|(k, v)| format!("{k}={v}")).collect();
    format!(
        "TopicConfig [topicName={}, readQueueNums={}, writeQueueNums={}, perm={}, topicFilterType={}, topicSysFlag={}, order={}, attributes={{{}}}]",
        config.topic_name,
        config.read_queue_nums,
        config.write_queue_nums,
        perm::text(config.perm),
        config.topic_filter_type,
        config.topic_sys_flag,
        config.order,
        attributes.join(", "),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names<'a>(part: &[&'a TopicConfig]) -> Vec<&'a str> {
        part.iter().map(|config| &*config.topic_name).collect()
    }

    /// A registration beyond a frame was refused by the name server, which then forgot the broker: all its topics were
    /// gone for clients, until somebody deleted some.
    #[test]
    fn many_topics_are_told_in_parts_and_later_only_what_changed() {
        let mut topics = Topics::default();
        let count = REGISTRATION_BYTES / 80;
        (0..count).for_each(|n| topics.put(7, new(&format!("topic-{n:06}"), 8, 6)));
        let (mut told, mut seen, mut parts) = (None, Vec::new(), 0);
        while told != Some(topics.version()) {
            let (part, version) = topics.news(told, REGISTRATION_BYTES);
            assert!(part.iter().map(|config| bytes(config)).sum::<usize>() <= REGISTRATION_BYTES);
            assert!(told.is_none_or(|told| told < version));
            seen.extend(names(&part));
            (told, parts) = (Some(version), parts + 1);
        }
        assert!(parts >= 3, "{parts}");
        assert_eq!(seen.len(), count);
        assert!(seen.is_sorted());
        assert_eq!(topics.bytes, topics.table.values().map(|topic| bytes(&topic.config)).sum::<usize>());
        let before = told;
        topics.put(8, new("topic-000001", 9, 6));
        topics.put(9, new("topic-000002", 9, 6));
        topics.put(9, new("topic-000001", 10, 6));
        let (part, version) = topics.news(before, REGISTRATION_BYTES);
        assert_eq!(names(&part), ["topic-000002", "topic-000001"]);
        assert_eq!((version, version.timestamp), (topics.version(), 9));
        // A topic that is gone is nothing to tell of, but a change.
        topics.remove(10, "topic-000002");
        assert_eq!(names(&topics.news(Some(version), REGISTRATION_BYTES).0), Vec::<&str>::new());
        assert_ne!(topics.news(Some(version), REGISTRATION_BYTES).1, version);
    }

    #[test]
    fn few_topics_are_always_told_whole() {
        let mut topics = Topics::default();
        ["a", "b"].into_iter().for_each(|name| topics.put(7, new(name, 8, 6)));
        assert_eq!(names(&topics.news(Some(topics.version()), REGISTRATION_BYTES).0), ["a", "b"]);
        let (all, version) = topics.news(None, 1);
        assert_eq!((names(&all), version.counter), (vec!["a"], 1));
    }
}
