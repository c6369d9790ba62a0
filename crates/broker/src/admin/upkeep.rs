//! Upkeep, and what one broker can say of replication and the like (codes 43, 45, 306, 316, 329, 353, 354, 907, 908); and why
//! what makes no sense here is refused.

use crate::Broker;
use crate::config::perm;
use crate::effect::Effect;
use crate::input::ConnId;
use crate::produce::Refused;
use crate::query::header_or_refuse;
use crate::state;
use kerolox_wire::body::{
    CheckRocksDbResult, ConsumerOffsets, DataVersion, DelayOffsets, GroupForbidden, HaClientRuntimeInfo,
    HaRuntimeInfo, to_fastjson,
};
use kerolox_wire::header::UpdateGroupForbidden;
use kerolox_wire::{Command, RequestCode, ResponseCode, names};
use std::collections::{BTreeMap, BTreeSet};

/// Offsets in one answer: with the longest names about 60 MiB, usually 8; clients take 16.
const OFFSETS_SHOWN_MAX: usize = 200_000;
/// Pairs of group and topic that something is forbidden of.
const FORBIDDEN_MAX: usize = 100_000;

impl Broker {
    /// Code 316: queues of topics that are not there any more go. (Light message queues never have a topic of their own.)
    pub(crate) fn clean_unused_topics(
        &mut self,
        now_ms: i64,
        conn: ConnId,
        request: &Command,
        out: &mut Vec<Effect>,
    ) {
        let queues = self.store.queues().map(|(topic, ..)| topic);
        let lasts = |topic: &str| names::is_system_topic(topic) || topic.starts_with(names::LMQ_PREFIX);
        let unused: BTreeSet<String> = queues
            .filter(|topic| self.state.topics.get(topic).is_none() && !lasts(topic))
            .map(|topic| topic.to_string())
            .collect();
        let unused: Vec<&str> = unused.iter().map(String::as_str).collect();
        let done = self.try_delete_topics(now_ms, &unused);
        self.reply_change(conn, request, done, out);
    }

    /// Codes 306 and 329: it is done already, because it is done all the time.
    pub(crate) fn nothing_to_clean(&mut self, conn: ConnId, request: &Command, out: &mut Vec<Effect>) {
        self.reply(conn, request, request.respond(ResponseCode::SUCCESS), out);
    }

    /// Code 353.
    pub(crate) fn group_forbidden(&mut self, conn: ConnId, request: &Command, out: &mut Vec<Effect>) {
        let header: UpdateGroupForbidden<'_> = header_or_refuse!(self, conn, request, out);
        let (group, topic) = (header.group, header.topic);
        let done = header.readable.map_or(Ok(()), |readable| self.try_forbid(group, topic, !readable));
        if let Err(Refused(code, remark)) = done {
            return self.reply(conn, request, request.refuse(code, remark), out);
        }
        let body = GroupForbidden {
            group: group.to_owned(),
            readable: !self.state.is_read_forbidden(group, topic),
            topic: topic.to_owned(),
        };
        if header.readable.is_none() {
            return self.reply_body(conn, request, &body, out);
        }
        if !request.is_oneway() {
            let body = kerolox_wire::body::to_json(&body);
            self.acks.wait_for_state(conn, request.respond(ResponseCode::SUCCESS).with_body(body));
        }
    }

    fn try_forbid(&mut self, group: &str, topic: &str, forbid: bool) -> Result<(), Refused> {
        self.refuse_if_draining()?;
        self.refuse_if_changes_wait()?;
        let invalid = |remark: String| Refused(ResponseCode::INVALID_PARAMETER, remark);
        names::check_group(group).map_err(|e| invalid(e.to_string()))?;
        names::check_topic(topic).map_err(|e| invalid(e.to_string()))?;
        if self.state.is_read_forbidden(group, topic) == forbid {
            return Ok(());
        }
        let all: usize = self.state.forbidden.values().map(BTreeMap::len).sum();
        if forbid && all >= FORBIDDEN_MAX {
            return Err(invalid(format!(
                "{FORBIDDEN_MAX} pairs of group and topic are forbidden, the limit"
            )));
        }
        let bits = if forbid { perm::READ } else { 0 };
        self.state.forbid(group, topic, bits);
        state::put_forbidden(&mut self.changes, group, topic, bits);
        Ok(())
    }

    /// Code 43.
    pub(crate) fn all_offsets(&mut self, conn: ConnId, request: &Command, out: &mut Vec<Effect>) {
        if self.state.offsets.len() > OFFSETS_SHOWN_MAX {
            let remark = format!(
                "the broker keeps {} offsets, an answer has room for {OFFSETS_SHOWN_MAX}: ask for one group (208)",
                self.state.offsets.len()
            );
            return self.reply(conn, request, request.refuse(ResponseCode::SYSTEM_ERROR, remark), out);
        }
        let mut offset_table: BTreeMap<String, BTreeMap<u32, u64>> = BTreeMap::new();
        for commit in self.state.offsets.all() {
            let queues = offset_table.entry(format!("{}@{}", commit.topic, commit.group)).or_default();
            queues.insert(commit.queue_id, commit.offset);
        }
        let body = to_fastjson(&ConsumerOffsets { data_version: DataVersion::default(), offset_table });
        self.reply(conn, request, request.respond(ResponseCode::SUCCESS).with_body(body), out);
    }

    /// Code 45: by level.
    pub(crate) fn all_delay_offsets(&mut self, conn: ConnId, request: &Command, out: &mut Vec<Effect>) {
        let level = |level: usize| {
            let offset = self.state.delay_offsets.get(self.delay_queue(level) as usize).copied();
            (level as u32, offset.unwrap_or(0))
        };
        let offset_table = (1..=self.config.delay_levels_ms.len()).map(level).collect();
        let body = to_fastjson(&DelayOffsets { data_version: DataVersion::default(), offset_table });
        self.reply(conn, request, request.respond(ResponseCode::SUCCESS).with_body(body), out);
    }

    /// Code 354.
    pub(crate) fn no_rocksdb_to_check(&mut self, conn: ConnId, request: &Command, out: &mut Vec<Effect>) {
        let body =
            CheckRocksDbResult { check_result: "there is no RocksDB: no need to check", check_status: 0 };
        self.reply_body(conn, request, &body, out);
    }

    /// Code 907: a master without replicas.
    pub(crate) fn ha_status(&mut self, conn: ConnId, request: &Command, out: &mut Vec<Effect>) {
        let body = HaRuntimeInfo {
            ha_client_runtime_info: HaClientRuntimeInfo::default(),
            ha_connection_info: [],
            in_sync_slave_nums: 0,
            master: true,
            master_commit_log_max_offset: self.store.watermarks().appended,
        };
        self.reply_body(conn, request, &body, out);
    }

    /// Code 908: on a master it does nothing, there as well.
    pub(crate) fn reset_master_flush_offset(
        &mut self,
        conn: ConnId,
        request: &Command,
        out: &mut Vec<Effect>,
    ) {
        self.reply(conn, request, request.respond(ResponseCode::SUCCESS), out);
    }
}

/// Why a request that the table of codes refuses is refused; Apache's words where it refuses too.
pub(super) fn why_refused(code: RequestCode) -> Option<&'static str> {
    Some(match code {
        RequestCode::GET_TIMER_CHECK_POINT => {
            "The checkpoint is null: what timer messages were delivered is in the log, there is no timer log"
        }
        RequestCode::GET_TIMER_METRICS => {
            "The timer message store is null: how many wait is told by the runtime information (timerCongestNum)"
        }
        RequestCode::EXPORT_ROCKSDB_CONFIG_TO_JSON => {
            "there is no RocksDB: topics, groups and offsets are listed by the codes 21, 201 and 43"
        }
        RequestCode::UPDATE_AND_CREATE_STATIC_TOPIC => {
            "static topics are not supported: a queue stays on the broker that it was created on"
        }
        RequestCode::GET_BROKER_EPOCH_CACHE => "this request only for controllerMode ",
        RequestCode::UPDATE_COLD_DATA_FLOW_CTR_CONFIG
        | RequestCode::REMOVE_COLD_DATA_FLOW_CTR_CONFIG
        | RequestCode::GET_COLD_DATA_FLOW_CTR_INFO => {
            "there is no flow control of cold data: cold reads have threads of their own and hold up nobody else"
        }
        RequestCode::SET_COMMITLOG_READ_MODE => {
            "the log is not mapped into memory: there is no read-ahead mode to set"
        }
        // Apache fails with an exception while access control is off, its default.
        RequestCode::AUTH_CREATE_USER
        | RequestCode::AUTH_UPDATE_USER
        | RequestCode::AUTH_DELETE_USER
        | RequestCode::AUTH_GET_USER
        | RequestCode::AUTH_LIST_USER
        | RequestCode::AUTH_CREATE_ACL
        | RequestCode::AUTH_UPDATE_ACL
        | RequestCode::AUTH_DELETE_ACL
        | RequestCode::AUTH_GET_ACL
        | RequestCode::AUTH_LIST_ACL => {
            "access control is off: this broker keeps no users and no rules, and would ask nobody for them"
        }
        RequestCode::SWITCH_TIMER_ENGINE => "param error: there is one timer engine",
        _ => return None,
    })
}
