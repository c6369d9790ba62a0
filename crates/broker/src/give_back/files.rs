//! The files below `config/`.

use super::{GivenBack, Progress, halves, timers};
use crate::Broker;
use crate::adopt::{ApacheFile, Offsets, is_own_group, is_own_topic};
use crate::offsets::Commit;
use kerolox_wire::body::{
    DataVersion, DelayOffsets, MessageRequestModes, SubscriptionGroupWrapper, TopicConfigSerializeWrapper,
    to_fastjson, to_json,
};
use kerolox_wire::names;
use std::collections::BTreeMap;

impl Broker {
    pub(super) fn say_files(&self, now_ms: i64, progress: &Progress, given: &mut GivenBack) {
        let version = DataVersion { counter: 1, state_version: 0, timestamp: now_ms };
        let offsets = self.offsets_for_apache(version, progress);
        let offsets_json = to_fastjson(&offsets);
        let delays = self.delays_for_apache(version, &mut given.lost);
        let modes = MessageRequestModes { message_request_mode_map: self.state.request_modes.clone() };
        given.files = vec![
            (ApacheFile::Topics, to_json(&self.topics_for_apache(version)).into()),
            (ApacheFile::Groups, to_json(&self.groups_for_apache(version)).into()),
            (ApacheFile::Offsets, offsets_json.into()),
            (ApacheFile::LmqOffsets, to_fastjson(&offsets.with_light_queues_apart()).into()),
            (ApacheFile::DelayOffsets, to_fastjson(&delays).into()),
            (ApacheFile::RequestModes, to_json(&modes).into()),
            (ApacheFile::OrderInfo, to_fastjson(&self.order_infos()).into()),
            (ApacheFile::TimerCheck, timers::check(progress, progress.first_timer, now_ms)),
        ];
    }

    fn topics_for_apache(&self, version: DataVersion) -> TopicConfigSerializeWrapper {
        let topics = self.state.topics.sorted().filter(|(name, _)| !is_own_topic(&self.config, name));
        TopicConfigSerializeWrapper {
            data_version: version,
            topic_config_table: topics
                .map(|(name, topic)| (name.to_string(), topic.config.clone()))
                .collect(),
        }
    }

    fn groups_for_apache(&self, version: DataVersion) -> SubscriptionGroupWrapper {
        let groups = self.state.groups.all().map(|group| (group.group_name.clone(), group.clone()));
        SubscriptionGroupWrapper {
            data_version: version,
            forbidden_table: self.state.forbidden.clone(),
            subscription_group_table: groups.collect(),
        }
    }

    /// Of groups that pop without order Apache wants to know where the next pop begins.
    fn offsets_for_apache(&self, version: DataVersion, progress: &Progress) -> Offsets {
        let next = |commit: &Commit| {
            let flight = self.state.in_flight.get(&commit.group, &commit.topic, commit.queue_id);
            let next = flight.filter(|flight| flight.order.is_none()).map(|flight| flight.next);
            (i64::from(commit.queue_id), next.unwrap_or(commit.offset).cast_signed())
        };
        let commits = self.state.offsets.all().filter(|commit| !is_own_group(&commit.group));
        let commits: Vec<Commit> = commits.collect();
        let queues = commits.chunk_by(|a, b| (&a.group, &a.topic) == (&b.group, &b.topic));
        let named = queues.filter_map(|queues| {
            let Commit { group, topic, .. } = queues.first()?;
            Some((format!("{topic}@{group}"), queues.iter().map(next).collect()))
        });
        let mut table: BTreeMap<String, BTreeMap<i64, i64>> = named.collect();
        let mut put = |name: String, queue_id: u32, offset: u64| {
            table.entry(name).or_default().insert(i64::from(queue_id), offset.cast_signed());
        };
        for (name, offset) in halves::offsets(progress.first_half, progress.first_op) {
            put(name, 0, offset);
        }
        self.revived().for_each(|(name, queue_id, offset)| put(name, queue_id, offset));
        Offsets::new(version, table)
    }

    /// Apache has a queue for each level, in their order.
    fn delays_for_apache(&self, data_version: DataVersion, lost: &mut Vec<String>) -> DelayOffsets {
        let mut offset_table = BTreeMap::new();
        for level in 1..=self.config.delay_levels_ms.len() {
            let queue = level as u32 - 1; // holds because there are 255 at most
            if self.delay_queue(level) == queue {
                let offset = self.state.delay_offsets.get(queue as usize).copied().unwrap_or(0);
                offset_table.insert(level as u32, offset);
            } else if self.waits_in(queue) {
                lost.push(format!(
                    "delay level {level} waits elsewhere than in queue {queue}, where Apache looks"
                ));
            }
        }
        for queue in offset_table.len()..self.state.delay_queues_ms.len() {
            if self.waits_in(queue as u32) && !offset_table.contains_key(&(queue as u32 + 1)) {
                lost.push(format!(
                    "messages that wait in queue {queue} of {}: no level's",
                    names::SCHEDULE_TOPIC
                ));
            }
        }
        DelayOffsets { data_version, offset_table }
    }

    fn waits_in(&self, queue_id: u32) -> bool {
        let offset = self.state.delay_offsets.get(queue_id as usize).copied().unwrap_or(0);
        offset < self.store.next_offset(names::SCHEDULE_TOPIC, queue_id)
    }
}
