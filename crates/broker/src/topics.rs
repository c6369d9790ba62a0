//! Topics and their settings.

use crate::config::{BrokerConfig, Limits, perm};
use kerolox_wire::body::TopicConfig;
use kerolox_wire::names;
use std::collections::HashMap;
use std::hash::{BuildHasherDefault, DefaultHasher};
use std::sync::Arc;

/// Version of the topic table as name servers compare it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct DataVersion {
    pub(crate) timestamp_ms: i64,
    pub(crate) counter: i64,
}

/// All topics. System topics come from the settings, not from the log; see [`Topics::system`].
#[derive(Default)]
pub(crate) struct Topics {
    table: HashMap<Arc<str>, Topic, BuildHasherDefault<DefaultHasher>>,
    version: DataVersion,
    /// About as many bytes as a registration with all of them has.
    registration_bytes: usize,
}

/// A topic and whether the broker made it by itself, out of its settings.
pub(crate) struct Topic {
    pub(crate) config: TopicConfig,
    pub(crate) system: bool,
}

/// Why a topic could not be created.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum CreateError {
    NoDefaultTopic,
    NotInheritable,
    TooMany(usize),
    /// A registration with it would be longer than this.
    Registration(usize),
}

/// Bytes that a topic takes in a registration.
fn registration_bytes(config: &TopicConfig) -> usize {
    kerolox_wire::body::to_json(config).len() + config.topic_name.len() + 4
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
        self.insert(Topic { config, system });
        self.changed(now_ms);
    }

    /// Removes a topic that is none of the system's.
    pub(crate) fn remove(&mut self, now_ms: i64, name: &str) {
        if self.table.get(name).is_some_and(|topic| !topic.system)
            && let Some(topic) = self.table.remove(name)
        {
            self.registration_bytes -= registration_bytes(&topic.config);
            self.changed(now_ms);
        }
    }

    fn insert(&mut self, topic: Topic) {
        self.registration_bytes += registration_bytes(&topic.config);
        let before = self.table.insert(Arc::from(&*topic.config.topic_name), topic);
        self.registration_bytes -= before.map_or(0, |topic| registration_bytes(&topic.config));
    }

    /// Whether a registration has room for a topic, or for more of it than there is: name servers take what fits a frame.
    pub(crate) fn check_room(&self, config: &TopicConfig, bytes_max: usize) -> Result<(), CreateError> {
        let before = self.get(&config.topic_name).map_or(0, registration_bytes);
        match self.registration_bytes - before + registration_bytes(config) <= bytes_max {
            true => Ok(()),
            false => Err(CreateError::Registration(bytes_max)),
        }
    }

    fn changed(&mut self, now_ms: i64) {
        self.version = DataVersion { timestamp_ms: now_ms, counter: self.version.counter + 1 };
    }

    pub(crate) fn version(&self) -> DataVersion {
        self.version
    }

    /// All topics by name.
    pub(crate) fn sorted(&self) -> Vec<(&Arc<str>, &Topic)> {
        let mut all: Vec<_> = self.table.iter().collect();
        all.sort_unstable_by_key(|(name, _)| *name);
        all
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
        let config = TopicConfig {
            topic_filter_type: default.topic_filter_type.clone(),
            ..new(name, queues, default.perm & !perm::INHERIT)
        };
        self.check_room(&config, limits.registration_bytes_max)?;
        Ok(config)
    }

    /// Adds the topics that every broker has, with the settings' queue numbers and permissions. Source:
    /// `TopicConfigManager.init`.
    pub(crate) fn add_system(&mut self, now_ms: i64, config: &BrokerConfig) {
        let rw = perm::READ | perm::WRITE;
        let named = |usable| perm::INHERIT | if usable { rw } else { 0 };
        let default_queues = config.default_queues as i32;
        let mut system = vec![
            new(names::SELF_TEST_TOPIC, 1, rw),
            new(names::BENCHMARK_TOPIC, 1024, rw),
            new(&config.cluster, 16, named(config.cluster_topic)),
            new(&config.name, 1, named(config.broker_topic)),
            new(names::OFFSET_MOVED_TOPIC, 1, rw),
            new(names::SCHEDULE_TOPIC, config.delay_levels_ms.len().max(18) as i32, rw),
            new(names::WHEEL_TIMER_TOPIC, 1, rw),
            new(names::TRANS_HALF_TOPIC, 1, rw),
            new(names::TRANS_OP_HALF_TOPIC, 1, rw),
        ];
        if config.auto_create_topic {
            system.push(new(names::AUTO_CREATE_TOPIC, default_queues, named(true)));
        }
        if let Some(trace) = &config.trace_topic {
            system.push(new(trace, 1, rw));
        }
        for config in system {
            self.insert(Topic { config, system: true });
        }
        self.changed(now_ms);
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

    /// A registration beyond a frame was refused by the name server, which then forgot the broker: all its topics were
    /// gone for clients, until somebody deleted some.
    #[test]
    fn no_more_topics_than_a_registration_takes() {
        let mut topics = Topics::default();
        let config = |n: usize| new(&format!("topic-{n}"), 8, 6);
        let one = registration_bytes(&config(1));
        let limits = Limits { registration_bytes_max: 10 * one, ..Limits::default() };
        topics.put(0, TopicConfig { perm: 7, ..new("TBW102", 8, 7) });
        let mut count = 0;
        while let Ok(config) = topics.derive(&format!("topic-{count}"), "TBW102", 8, &limits) {
            topics.put(0, config);
            count += 1;
        }
        assert!((8..=9).contains(&count), "{count}");
        // What is there may be set again, and take less, but not more.
        topics.put(0, config(1));
        assert_eq!(topics.check_room(&config(1), limits.registration_bytes_max), Ok(()));
        let mut long = config(1);
        long.attributes.insert("+a".into(), "x".repeat(one));
        assert_eq!(
            topics.check_room(&long, limits.registration_bytes_max),
            Err(CreateError::Registration(10 * one))
        );
        let all: usize = topics.table.values().map(|topic| registration_bytes(&topic.config)).sum();
        assert_eq!(topics.registration_bytes, all);
    }
}
