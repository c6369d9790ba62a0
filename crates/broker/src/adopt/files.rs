//! Apache's files below `config/`.

use super::Adopted;
use crate::config::BrokerConfig;
use crate::offsets::Commit;
use crate::state::{self, State};
use bytes::Bytes;
use kerolox_wire::body::{
    self, DataVersion, MessageRequestModes, SubscriptionGroupWrapper, TopicConfigSerializeWrapper,
};
use kerolox_wire::names;
use serde::de::{DeserializeOwned, IgnoredAny};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A file below `config/` that Apache keeps something durable in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ApacheFile {
    Topics,
    Groups,
    Offsets,
    /// Offsets of light message queues.
    LmqOffsets,
    DelayOffsets,
    RequestModes,
    /// What is popped in order.
    OrderInfo,
    TimerCheck,
}

impl ApacheFile {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::Topics,
        Self::Groups,
        Self::Offsets,
        Self::LmqOffsets,
        Self::DelayOffsets,
        Self::RequestModes,
        Self::OrderInfo,
        Self::TimerCheck,
    ];

    /// Its name. Source: `BrokerPathConfigHelper`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Topics => "topics.json",
            Self::Groups => "subscriptionGroup.json",
            Self::Offsets => "consumerOffset.json",
            Self::LmqOffsets => "lmqConsumerOffset.json",
            Self::DelayOffsets => "delayOffset.json",
            Self::RequestModes => "messageRequestMode.json",
            Self::OrderInfo => "consumerOrderInfo.json",
            Self::TimerCheck => "timercheck",
        }
    }

    /// What Apache always writes into it. Without that, all that is there would count as deleted.
    fn table(self) -> Option<&'static str> {
        match self {
            Self::Topics => Some("topicConfigTable"),
            Self::Groups => Some("subscriptionGroupTable"),
            Self::Offsets => Some("offsetTable"),
            _ => None,
        }
    }
}

/// What the files of a directory say.
#[derive(Debug, Clone, Default)]
pub struct ApacheFiles(pub BTreeMap<ApacheFile, Bytes>);

/// Longest name of a topic, of a group, or of a light message queue, that is taken over.
const NAME_BYTES_MAX: usize = 4_096;

/// Offsets by `TOPIC@GROUP` and queue.
#[derive(Debug, Default, Clone, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct Offsets {
    data_version: DataVersion,
    /// Of light message queues, which have no further queues.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    lmq_offset_table: BTreeMap<String, i64>,
    offset_table: BTreeMap<String, BTreeMap<i64, i64>>,
}

impl Offsets {
    pub(crate) fn new(data_version: DataVersion, offset_table: BTreeMap<String, BTreeMap<i64, i64>>) -> Self {
        Self { data_version, offset_table, lmq_offset_table: BTreeMap::new() }
    }

    /// As Apache keeps them with light message queues on. Source: `LmqConsumerOffsetManager`.
    pub(crate) fn with_light_queues_apart(self) -> Self {
        let is_light =
            |name: &str| topic_and_group(name).is_some_and(|(_, group)| group.starts_with(names::LMQ_PREFIX));
        let (light, others): (BTreeMap<_, _>, BTreeMap<_, _>) =
            self.offset_table.into_iter().partition(|(name, _)| is_light(name));
        let first = |(name, queues): (String, BTreeMap<i64, i64>)| Some((name, *queues.get(&0)?));
        Self {
            data_version: self.data_version,
            lmq_offset_table: light.into_iter().filter_map(first).collect(),
            offset_table: others,
        }
    }

    /// Of a group of Apache's own.
    pub(super) fn get(&self, group: &str, topic: &str, queue_id: u32) -> Option<u64> {
        let offset = *self.offset_table.get(&format!("{topic}@{group}"))?.get(&i64::from(queue_id))?;
        u64::try_from(offset).ok()
    }
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct DelayOffsets {
    offset_table: BTreeMap<usize, u64>,
}

impl ApacheFiles {
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn checksums(&self) -> impl Iterator<Item = (&'static str, u32)> {
        self.0.iter().map(|(file, bytes)| (file.name(), crc32fast::hash(bytes)))
    }

    /// Without those whose checksums are known.
    pub(super) fn except(&self, state: &State) -> Self {
        let new = self.0.iter().filter(|(file, bytes)| !state.knows_file(**file, bytes));
        Self(new.map(|(file, bytes)| (*file, bytes.clone())).collect())
    }

    pub(super) fn get(&self, file: ApacheFile) -> Option<&[u8]> {
        self.0.get(&file).map(|bytes| &**bytes)
    }

    pub(super) fn json<T: DeserializeOwned>(&self, file: ApacheFile) -> Result<Option<T>, String> {
        let read = |bytes| -> Result<T, String> {
            let failed = |e| format!("config/{}: {e}", file.name());
            if let Some(table) = file.table() {
                let all: BTreeMap<String, Option<IgnoredAny>> = body::from_json(bytes).map_err(failed)?;
                if !matches!(all.get(table), Some(Some(_))) {
                    return Err(format!(
                        "config/{} has no `{table}`, which Apache RocketMQ always writes: put the right file there, or remove this one",
                        file.name()
                    ));
                }
            }
            body::from_json(bytes).map_err(failed)
        };
        self.get(file).map(read).transpose()
    }

    /// All offsets, whether known or not. With light message queues on, Apache keeps them in a file of their own, and leaves the other as
    /// it was: the newer one counts.
    pub(super) fn offsets(&self) -> Result<Offsets, String> {
        let one: Offsets = self.json(ApacheFile::Offsets)?.unwrap_or_default();
        let other: Offsets = self.json(ApacheFile::LmqOffsets)?.unwrap_or_default();
        Ok(if other.data_version.timestamp > one.data_version.timestamp { other } else { one })
    }

    pub(super) fn request_modes(&self, adopted: &mut Adopted) -> Result<(), String> {
        if let Some(modes) = self.json::<MessageRequestModes>(ApacheFile::RequestModes)? {
            let modes = modes.message_request_mode_map.values().flat_map(BTreeMap::values);
            modes.for_each(|mode| state::put_request_mode(&mut adopted.entries, mode));
        }
        Ok(())
    }

    /// Topics, groups, offsets: what is said by files alone. `waits_on`: nothing else is taken over, and what is in flight stays so.
    pub(super) fn settings(
        &self,
        state: &State,
        config: &BrokerConfig,
        waits_on: bool,
        adopted: &mut Adopted,
    ) -> Result<(), String> {
        self.topics(state, config, adopted)?;
        self.groups(state, adopted)?;
        self.delays(config, adopted)?;
        self.consumed(state, waits_on, adopted)
    }

    /// Offsets of groups. Those that the file does not have are no more: their topics were deleted, and may be there anew.
    fn consumed(&self, state: &State, waits_on: bool, adopted: &mut Adopted) -> Result<(), String> {
        if self.get(ApacheFile::Offsets).or(self.get(ApacheFile::LmqOffsets)).is_none() {
            return Ok(());
        }
        let mut offsets = self.offsets()?;
        for (name, offset) in std::mem::take(&mut offsets.lmq_offset_table) {
            offsets.offset_table.entry(name).or_default().insert(0, offset);
        }
        let table = offsets.offset_table;
        let is_there = |known: &Commit| {
            let queues = table.get(&format!("{}@{}", known.topic, known.group));
            queues.is_some_and(|queues| queues.contains_key(&i64::from(known.queue_id)))
        };
        let waits = |known: &Commit| {
            waits_on && state.in_flight.get(&known.group, &known.topic, known.queue_id).is_some()
        };
        let known = state.offsets.all().filter(|known| !is_own_group(&known.group));
        for gone in known.filter(|known| !is_there(known) && !waits(known)) {
            state::put_offset_forgotten(&mut adopted.entries, (&gone.group, &gone.topic, gone.queue_id));
        }
        for (name, queues) in &table {
            let named = topic_and_group(name).filter(|(_, group)| !is_own_group(group));
            let Some((topic, group)) = named else { continue };
            for (queue_id, offset) in queues {
                let (Ok(queue_id), Ok(offset)) = (u32::try_from(*queue_id), u64::try_from(*offset)) else {
                    continue;
                };
                consumed_to(state, waits_on, (group, topic, queue_id), offset, &mut adopted.entries);
                adopted.offsets += 1;
            }
        }
        Ok(())
    }

    fn topics(&self, state: &State, config: &BrokerConfig, adopted: &mut Adopted) -> Result<(), String> {
        let Some(topics) = self.json::<TopicConfigSerializeWrapper>(ApacheFile::Topics)? else {
            return Ok(());
        };
        let table = topics.topic_config_table;
        for (_, known) in state.topics.sorted().filter(|(_, topic)| !topic.system) {
            if !table.contains_key(&known.config.topic_name) {
                state::put_topic_deleted(&mut adopted.entries, &known.config.topic_name);
            }
        }
        for topic in table.values().filter(|topic| !is_own_topic(config, &topic.topic_name)) {
            check_name(ApacheFile::Topics, &topic.topic_name)?;
            let most = config.limits.queues_max;
            for (what, count) in [("read", topic.read_queue_nums), ("write", topic.write_queue_nums)] {
                if !u32::try_from(count).is_ok_and(|count| count <= most) {
                    return Err(format!(
                        "config/topics.json: the topic {} has {what}QueueNums {count}, and a topic can have {most} queues: correct it",
                        topic.topic_name
                    ));
                }
            }
            state::put_topic(&mut adopted.entries, topic);
            adopted.topics += 1;
        }
        Ok(())
    }

    fn groups(&self, state: &State, adopted: &mut Adopted) -> Result<(), String> {
        let Some(groups) = self.json::<SubscriptionGroupWrapper>(ApacheFile::Groups)? else { return Ok(()) };
        let table = groups.subscription_group_table;
        for known in state.groups.all().filter(|known| !table.contains_key(&known.group_name)) {
            state::put_group_deleted(&mut adopted.entries, &known.group_name, false);
        }
        for group in table.values() {
            check_name(ApacheFile::Groups, &group.group_name)?;
            state::put_group(&mut adopted.entries, group);
            adopted.groups += 1;
        }
        for (group, topics) in &state.forbidden {
            let there = groups.forbidden_table.get(group);
            for topic in topics.keys().filter(|topic| !there.is_some_and(|there| there.contains_key(*topic)))
            {
                state::put_forbidden(&mut adopted.entries, group, topic, 0);
            }
        }
        for (group, topics) in &groups.forbidden_table {
            for (topic, bits) in topics.iter().filter(|(topic, _)| is_name(group) && is_name(topic)) {
                state::put_forbidden(&mut adopted.entries, group, topic, *bits);
            }
        }
        Ok(())
    }

    /// Level n's messages wait in queue n − 1, by the levels of Apache's broker, which must be this one's.
    fn delays(&self, config: &BrokerConfig, adopted: &mut Adopted) -> Result<(), String> {
        let Some(delays) = self.json::<DelayOffsets>(ApacheFile::DelayOffsets)? else { return Ok(()) };
        state::put_delay_queues(&mut adopted.entries, &config.delay_levels_ms);
        for (level, offset) in &delays.offset_table {
            match level.checked_sub(1).filter(|index| *index < config.delay_levels_ms.len()) {
                Some(index) => state::put_delay_offset(&mut adopted.entries, index, *offset),
                None => {
                    return Err(format!(
                        "config/delayOffset.json has level {level}, and messageDelayLevel {} levels: give this broker the messageDelayLevel that Apache's had",
                        config.delay_levels_ms.len()
                    ));
                }
            }
        }
        Ok(())
    }
}

/// An offset of a file. Where messages are in flight without order it is the next pop's: what is in flight below it is not done with.
fn consumed_to(state: &State, waits_on: bool, queue: (&str, &str, u32), offset: u64, out: &mut Vec<u8>) {
    if state.resets.leads_away(queue, offset) {
        state::put_reset_done(out, queue);
    }
    let key = state.in_flight.key(queue.0, queue.1, queue.2).filter(|_| waits_on);
    let mut takes = key.map(|key| state.in_flight.takes(&key)).unwrap_or_default();
    takes.retain(|take| take.order.is_none());
    if !takes.is_empty() {
        state::put_pop_cleared(out, queue);
    }
    state::put_offset_of(out, queue, offset);
    for mut take in takes {
        take.next = offset;
        take.messages.retain(|(taken, _)| *taken < offset);
        if !take.messages.is_empty() {
            state::put_pop_taken(out, &take);
        }
    }
}

/// The parts of `TOPIC@GROUP`; `None` if they cannot be names: nothing can be consumed under them.
pub(super) fn topic_and_group(name: &str) -> Option<(&str, &str)> {
    let (topic, group) = name.split_once('@')?;
    (is_name(topic) && is_name(group)).then_some((topic, group))
}

fn check_name(file: ApacheFile, name: &str) -> Result<(), String> {
    let no_name = || format!("config/{}: a name of {} bytes", file.name(), name.len());
    is_name(name).then_some(()).ok_or_else(no_name)
}

/// As long as Apache's records allow, which is more than clients may ask for.
fn is_name(name: &str) -> bool {
    !name.is_empty() && name.len() <= NAME_BYTES_MAX
}

/// Groups in which Apache counts its own progress.
pub(crate) fn is_own_group(group: &str) -> bool {
    group.starts_with("CID_RMQ_SYS_")
}

/// Topics that each broker makes for itself.
pub(crate) fn is_own_topic(config: &BrokerConfig, topic: &str) -> bool {
    let reply = names::reply_topic(&config.cluster);
    names::is_system_topic(topic) || [&*config.cluster, &*config.name, &*reply].contains(&topic)
}
