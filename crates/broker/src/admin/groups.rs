//! Consumer groups: created, listed, deleted; which topics they consume; offsets copied from one to another (codes 200, 201,
//! 207, 225, 300, 314, 343, 352, 5003).

use super::{body, distinct, page};
use crate::Broker;
use crate::attributes;
use crate::effect::Effect;
use crate::groups::Groups;
use crate::input::ConnId;
use crate::offsets::Commit;
use crate::produce::Refused;
use crate::query::header_or_refuse;
use crate::state::{self, State};
use kerolox_wire::body::{
    DataVersion, GroupList, SubscriptionGroupConfig, SubscriptionGroupList, SubscriptionGroupWrapper,
    TopicList,
};
use kerolox_wire::header::{
    CloneGroupOffset, DeleteSubscriptionGroup, DeleteSubscriptionGroupList, GetAllSubscriptionGroup,
    GetAllSubscriptionGroupResponse, Group, Topic,
};
use kerolox_wire::{Command, ResponseCode, names};
use std::collections::BTreeSet;

/// A group's settings as JSON: they are part of every dump of the state.
const SETTINGS_BYTES_MAX: usize = 64 << 10;

impl Broker {
    /// Code 200.
    pub(crate) fn create_group(&mut self, conn: ConnId, request: &Command, out: &mut Vec<Effect>) {
        let done = body(request).and_then(|config: SubscriptionGroupConfig| self.set_groups(vec![config]));
        self.reply_change(conn, request, done, out);
    }

    /// Code 225: all of them, or none.
    pub(crate) fn create_groups(&mut self, conn: ConnId, request: &Command, out: &mut Vec<Effect>) {
        let done =
            body(request).and_then(|list: SubscriptionGroupList| self.set_groups(list.group_config_list));
        self.reply_change(conn, request, done, out);
    }

    fn set_groups(&mut self, mut configs: Vec<SubscriptionGroupConfig>) -> Result<(), Refused> {
        self.refuse_if_draining()?;
        self.refuse_if_changes_wait()?;
        for config in &mut configs {
            let known = self.state.groups.get(&config.group_name).map(|known| &known.attributes);
            let changes = config.attributes.iter().map(|(name, value)| (&**name, &**value));
            config.attributes = attributes::alter(attributes::OF_GROUPS, known, changes)
                .map_err(|why| Refused(ResponseCode::SYSTEM_ERROR, why))?;
        }
        let invalid = |remark: String| Refused(ResponseCode::INVALID_PARAMETER, remark);
        let limits = &self.config.limits;
        for config in &configs {
            names::check_group(&config.group_name).map_err(|e| invalid(e.to_string()))?;
            if !(0..=limits.queues_max as i32).contains(&config.retry_queue_nums) {
                let max = limits.queues_max;
                return Err(invalid(format!(
                    "retryQueueNums {} is not between 0 and {max}",
                    config.retry_queue_nums
                )));
            }
            let bytes = kerolox_wire::body::to_json(config).len();
            if bytes > SETTINGS_BYTES_MAX {
                return Err(invalid(format!(
                    "settings of {bytes} bytes exceed the limit of {SETTINGS_BYTES_MAX}"
                )));
            }
        }
        let new: BTreeSet<&str> = configs.iter().map(|config| &*config.group_name).collect();
        let new = new.iter().filter(|name| self.state.groups.get(name).is_none()).count();
        if self.state.groups.len() + new > limits.groups_max {
            let remark = format!(
                "the broker has {} groups, {} is the limit",
                self.state.groups.len(),
                limits.groups_max
            );
            return Err(Refused(ResponseCode::SYSTEM_ERROR, remark));
        }
        for config in configs {
            if self.state.groups.get(&config.group_name) != Some(&config) {
                let name = config.group_name.clone();
                state::put_group(&mut self.changes, &config);
                self.state.groups.put(config);
                self.heed_group(&name);
            }
        }
        Ok(())
    }

    /// Code 207.
    pub(crate) fn delete_group(&mut self, conn: ConnId, request: &Command, out: &mut Vec<Effect>) {
        let header: DeleteSubscriptionGroup<'_> = header_or_refuse!(self, conn, request, out);
        let clean = header.clean_offset == Some(true);
        let done = self.try_delete_groups(&[header.group_name], clean);
        self.reply_change(conn, request, done, out);
    }

    /// Code 5003: the body is a list of names.
    pub(crate) fn delete_groups(&mut self, conn: ConnId, request: &Command, out: &mut Vec<Effect>) {
        let header: DeleteSubscriptionGroupList = header_or_refuse!(self, conn, request, out);
        let clean = header.clean_offset == Some(true);
        let done = body(request)
            .and_then(|list: GroupList| self.try_delete_groups(&distinct(&list.group_list)?, clean));
        self.reply_change(conn, request, done, out);
    }

    /// One that is not there is none too many, as there.
    fn try_delete_groups(&mut self, groups: &[&str], clean_offsets: bool) -> Result<(), Refused> {
        self.refuse_if_draining()?;
        self.refuse_if_changes_wait()?;
        if let Some(system) = groups.iter().find(|group| Groups::is_system(group)) {
            let remark = format!("the group {system} is the system's");
            return Err(Refused(ResponseCode::INVALID_PARAMETER, remark));
        }
        let State { groups: known, offsets, .. } = &self.state;
        let there = |group: &&&str| known.get(group).is_some() || offsets.topics_of(group).next().is_some();
        for group in groups.iter().filter(there).copied().collect::<Vec<_>>() {
            state::put_group_deleted(&mut self.changes, group, clean_offsets);
            self.state.delete_group(group, clean_offsets);
            self.stats.forget_group(group);
        }
        Ok(())
    }

    /// Code 201: all groups, or a page of them.
    pub(crate) fn all_groups(&mut self, conn: ConnId, request: &Command, out: &mut Vec<Effect>) {
        let data_version = DataVersion { counter: self.state.groups.changes(), ..DataVersion::default() };
        let asked: GetAllSubscriptionGroup<'_> = header_or_refuse!(self, conn, request, out);
        let (skip, take) = page(data_version, asked.group_seq, asked.max_group_num, asked.data_version);
        let groups = self.state.groups.all().skip(skip).take(take);
        let forbidden =
            groups.clone().filter_map(|group| self.state.forbidden.get_key_value(&group.group_name));
        let table = SubscriptionGroupWrapper {
            data_version,
            forbidden_table: forbidden.map(|(group, topics)| (group.clone(), topics.clone())).collect(),
            subscription_group_table: groups.map(|group| (group.group_name.clone(), group.clone())).collect(),
        };
        let header = GetAllSubscriptionGroupResponse {
            total_group_num: i32::try_from(self.state.groups.len()).unwrap_or(i32::MAX),
            ..Default::default()
        };
        let answer = request.respond(ResponseCode::SUCCESS).with_header(&header);
        self.reply(conn, request, answer.with_body(kerolox_wire::body::to_json(&table)), out);
    }

    /// Code 352.
    pub(crate) fn one_group(&mut self, conn: ConnId, request: &Command, out: &mut Vec<Effect>) {
        let header: Group<'_> = header_or_refuse!(self, conn, request, out);
        if self.state.groups.get(header.group).is_none() {
            self.auto_create_group(header.group);
        }
        match self.state.groups.get(header.group).cloned() {
            Some(config) => self.reply_body(conn, request, &config, out),
            None => {
                let code = ResponseCode::SUBSCRIPTION_GROUP_NOT_EXIST;
                self.reply(conn, request, request.refuse(code, "No group in this broker"), out);
            }
        }
    }

    /// Code 300: groups that consume a topic, or did.
    pub(crate) fn groups_of_topic(&mut self, conn: ConnId, request: &Command, out: &mut Vec<Effect>) {
        let header: Topic<'_> = header_or_refuse!(self, conn, request, out);
        let online = self.clients.subscribers(header.topic).map(str::to_owned);
        let committed = self.state.offsets.groups_of(header.topic).map(|group| group.to_string());
        let groups: BTreeSet<String> = online.chain(committed).collect();
        self.reply_body(conn, request, &GroupList { group_list: groups.into_iter().collect() }, out);
    }

    /// Code 343: topics of which a group has offsets.
    pub(crate) fn topics_of_group(&mut self, conn: ConnId, request: &Command, out: &mut Vec<Effect>) {
        let header: Group<'_> = header_or_refuse!(self, conn, request, out);
        let topic_list = self.state.offsets.topics_of(header.group).map(|topic| topic.to_string()).collect();
        let broker_addr = Some(self.config.address.clone());
        self.reply_body(conn, request, &TopicList { broker_addr, topic_list }, out);
    }

    /// Code 314: a group takes over the offsets of another.
    pub(crate) fn clone_offsets(&mut self, conn: ConnId, request: &Command, out: &mut Vec<Effect>) {
        let header: CloneGroupOffset<'_> = header_or_refuse!(self, conn, request, out);
        let done = self.try_clone_offsets(&header);
        self.reply_change(conn, request, done, out);
    }

    fn try_clone_offsets(&mut self, header: &CloneGroupOffset<'_>) -> Result<(), Refused> {
        self.refuse_if_draining()?;
        self.refuse_if_changes_wait()?;
        let (from, to) = (header.src_group, header.dest_group);
        names::check_group(to).map_err(|e| Refused(ResponseCode::INVALID_PARAMETER, e.to_string()))?;
        let only = header.topic.filter(|topic| !topic.trim().is_empty());
        let subscribed = self.clients.consumer_group(from).filter(|_| header.offline != Some(true));
        let wanted = |topic: &str| {
            only.is_none_or(|only| topic == only)
                && self.state.topics.get(topic).is_some()
                // As on Apache: what consumers that are online do not subscribe to any more is left out.
                && subscribed.is_none_or(|s| s.subscriptions.is_empty() || s.subscriptions.contains_key(topic))
        };
        let offsets: Vec<_> = self.state.offsets.of_group(from).filter(|c| wanted(&c.topic)).collect();
        // Consumers that are under way would commit their own offsets over the copied ones.
        let online = self.clients.consumer_group(to).is_some();
        // All of them, or none.
        for commit in &offsets {
            self.offset_room(to, &commit.topic, commit.queue_id)
                .map_err(|why| Refused(ResponseCode::INVALID_PARAMETER, why))?;
        }
        let max = self.config.limits.offsets_max;
        let is_new = |c: &&Commit| self.state.offsets.get(to, &c.topic, c.queue_id).is_none();
        let new = offsets.iter().filter(is_new).count();
        if self.state.offsets.len() + new > max {
            let remark = format!("{new} offsets more are too many, the broker keeps {max}");
            return Err(Refused(ResponseCode::INVALID_PARAMETER, remark));
        }
        for commit in offsets {
            match online {
                true => self.reset_offset(to, &commit.topic, commit.queue_id, commit.offset),
                false => {
                    self.set_offset(to, &commit.topic, commit.queue_id, commit.offset);
                }
            }
        }
        Ok(())
    }
}
