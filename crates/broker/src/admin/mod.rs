//! Administration, and what the broker tells name servers.

mod clients;
mod config;
mod groups;
mod progress;
pub(crate) mod reset;
mod stats;
mod topics;
mod upkeep;

pub(crate) use progress::{Untimed, place};

use crate::Broker;
use crate::config::perm;
use crate::effect::Effect;
use crate::input::ConnId;
use crate::produce::Refused;
use crate::topics::REGISTRATION_BYTES;
use kerolox_wire::body::{
    DataVersion, RegisterBrokerBody, TopicConfig, TopicConfigAndMappingSerializeWrapper, from_json, to_json,
};
use kerolox_wire::codes::State;
use kerolox_wire::header::{BrokerIdentity, RegisterBroker};
use kerolox_wire::{Command, RequestCode, ResponseCode};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::collections::BTreeSet;

impl Broker {
    /// Requests of administrators; what is none of them either is not known.
    pub(crate) fn administer(
        &mut self,
        now_ms: i64,
        conn: ConnId,
        code: RequestCode,
        request: &Command,
        out: &mut Vec<Effect>,
    ) {
        match code {
            RequestCode::UPDATE_AND_CREATE_TOPIC => self.create_topic(now_ms, conn, request, out),
            RequestCode::UPDATE_AND_CREATE_TOPIC_LIST => self.create_topics(now_ms, conn, request, out),
            RequestCode::GET_ALL_TOPIC_CONFIG => self.all_topics(conn, request, out),
            RequestCode::GET_TOPIC_CONFIG => self.one_topic(conn, request, out),
            RequestCode::GET_SYSTEM_TOPIC_LIST_FROM_BROKER => self.system_topics(conn, request, out),
            RequestCode::DELETE_TOPIC_IN_BROKER => self.delete_topic(now_ms, conn, request, out),
            RequestCode::DELETE_TOPIC_IN_BROKER_LIST => self.delete_topics(now_ms, conn, request, out),
            RequestCode::UPDATE_AND_CREATE_SUBSCRIPTIONGROUP => self.create_group(conn, request, out),
            RequestCode::UPDATE_AND_CREATE_SUBSCRIPTIONGROUP_LIST => self.create_groups(conn, request, out),
            RequestCode::GET_ALL_SUBSCRIPTIONGROUP_CONFIG => self.all_groups(conn, request, out),
            RequestCode::GET_SUBSCRIPTIONGROUP_CONFIG => self.one_group(conn, request, out),
            RequestCode::DELETE_SUBSCRIPTIONGROUP => self.delete_group(conn, request, out),
            RequestCode::DELETE_SUBSCRIPTION_GROUP_LIST => self.delete_groups(conn, request, out),
            RequestCode::QUERY_TOPIC_CONSUME_BY_WHO => self.groups_of_topic(conn, request, out),
            RequestCode::QUERY_TOPICS_BY_CONSUMER => self.topics_of_group(conn, request, out),
            RequestCode::INVOKE_BROKER_TO_RESET_OFFSET => self.reset_offsets(conn, request, out),
            RequestCode::INVOKE_BROKER_TO_GET_CONSUMER_STATUS => {
                self.consumer_status(now_ms, conn, request, out);
            }
            RequestCode::GET_CONSUMER_RUNNING_INFO => self.running_info(now_ms, conn, request, out),
            RequestCode::CONSUME_MESSAGE_DIRECTLY => self.consume_directly(conn, request, out),
            RequestCode::CLONE_GROUP_OFFSET => self.clone_offsets(conn, request, out),
            RequestCode::SET_MESSAGE_REQUEST_MODE => self.set_request_mode(conn, request, out),
            RequestCode::GET_ALL_MESSAGE_REQUEST_MODE => self.all_request_modes(conn, request, out),
            // Apache moves what is in flight from one of its stores to the other: here there is one.
            RequestCode::POP_ROLLBACK => {
                self.reply(conn, request, request.respond(ResponseCode::SUCCESS), out)
            }
            RequestCode::GET_CONSUMER_CONNECTION_LIST => self.consumer_connections(conn, request, out),
            RequestCode::GET_PRODUCER_CONNECTION_LIST => self.producer_connections(conn, request, out),
            RequestCode::GET_BROKER_LITE_INFO
            | RequestCode::GET_PARENT_TOPIC_INFO
            | RequestCode::GET_LITE_TOPIC_INFO
            | RequestCode::GET_LITE_CLIENT_INFO
            | RequestCode::GET_LITE_GROUP_INFO
            | RequestCode::TRIGGER_LITE_DISPATCH => self.lite_info(now_ms, conn, code, request, out),
            RequestCode::GET_ALL_PRODUCER_INFO => self.all_producers(conn, request, out),
            RequestCode::VIEW_BROKER_STATS_DATA => self.view_stats(conn, request, out),
            RequestCode::GET_BROKER_RUNTIME_INFO => self.runtime_info(now_ms, conn, request, out),
            RequestCode::GET_TOPIC_STATS_INFO => self.topic_stats(now_ms, conn, request, out),
            RequestCode::GET_CONSUME_STATS => self.consume_stats(now_ms, conn, request, out),
            RequestCode::GET_BROKER_CONSUME_STATS => self.broker_consume_stats(now_ms, conn, request, out),
            RequestCode::QUERY_CONSUME_TIME_SPAN => self.time_spans(now_ms, conn, request, out),
            RequestCode::QUERY_CORRECTION_OFFSET => self.correction_offset(conn, request, out),
            RequestCode::QUERY_CONSUME_QUEUE => self.queue_entries(conn, request, out),
            RequestCode::QUERY_SUBSCRIPTION_BY_CONSUMER => self.subscription_of(conn, request, out),
            _ => self.administer_settings(now_ms, conn, code, request, out),
        }
    }

    fn administer_settings(
        &mut self,
        now_ms: i64,
        conn: ConnId,
        code: RequestCode,
        request: &Command,
        out: &mut Vec<Effect>,
    ) {
        match code {
            RequestCode::UPDATE_BROKER_CONFIG => self.update_config(now_ms, conn, request, out),
            RequestCode::GET_BROKER_CONFIG => self.show_config(conn, request, out),
            RequestCode::UPDATE_AND_GET_GROUP_FORBIDDEN => self.group_forbidden(conn, request, out),
            RequestCode::CLEAN_UNUSED_TOPIC => self.clean_unused_topics(now_ms, conn, request, out),
            RequestCode::CLEAN_EXPIRED_CONSUMEQUEUE | RequestCode::DELETE_EXPIRED_COMMITLOG => {
                self.nothing_to_clean(conn, request, out);
            }
            RequestCode::GET_ALL_CONSUMER_OFFSET => self.all_offsets(conn, request, out),
            RequestCode::GET_ALL_DELAY_OFFSET => self.all_delay_offsets(conn, request, out),
            RequestCode::CHECK_ROCKSDB_CQ_WRITE_PROGRESS => self.no_rocksdb_to_check(conn, request, out),
            RequestCode::GET_BROKER_HA_STATUS => self.ha_status(conn, request, out),
            RequestCode::RESET_MASTER_FLUSH_OFFSET => self.reset_master_flush_offset(conn, request, out),
            _ => {
                let refused = match code.request().map(|row| row.state) {
                    Some(State::Refused(with)) => upkeep::why_refused(code).map(|why| (with, why.to_owned())),
                    _ => None,
                };
                let unknown = || {
                    let remark = format!(" request type {} not supported", request.code);
                    (ResponseCode::REQUEST_CODE_NOT_SUPPORTED, remark)
                };
                let (with, remark) = refused.unwrap_or_else(unknown);
                self.reply(conn, request, request.refuse(with, remark), out);
            }
        }
    }

    /// Answers with a body.
    pub(crate) fn reply_body(
        &mut self,
        conn: ConnId,
        request: &Command,
        body: &impl Serialize,
        out: &mut Vec<Effect>,
    ) {
        let answer = request.respond(ResponseCode::SUCCESS).with_body(to_json(body));
        self.reply(conn, request, answer, out);
    }

    /// Answers a change of the state: a success when it is as safe as the flush policy says.
    pub(crate) fn reply_change(
        &mut self,
        conn: ConnId,
        request: &Command,
        done: Result<(), Refused>,
        out: &mut Vec<Effect>,
    ) {
        match done {
            Ok(()) if request.is_oneway() => {}
            Ok(()) => self.acks.wait_for_state(conn, request.respond(ResponseCode::SUCCESS)),
            Err(Refused(code, remark)) => self.reply(conn, request, request.refuse(code, remark), out),
        }
    }

    /// The version of the topic table: what a name server knows of it that was told everything.
    pub fn topics_version(&self) -> DataVersion {
        self.state.topics.version()
    }

    /// The question whether a name server knows this version of the topic table (code 322), by which it also learns that the
    /// broker lives.
    pub fn version_query(&self) -> Command {
        let body = to_json(&self.topics_version());
        Command::request(RequestCode::QUERY_DATA_VERSION).with_header(&self.identity()).with_body(body)
    }

    /// The next request by which a name server that was told everything up to `told` learns of this broker and its topics,
    /// and the version that it knows then: the newest one, unless there is more to tell. Each part has a version of its own,
    /// because a name server takes settings of known topics over from a version that is new to it only. `whole`: it names all
    /// topics, however many, for one that drops what a registration does not name.
    pub fn registration(&self, told: Option<DataVersion>, whole: bool) -> (Command, DataVersion) {
        let part_bytes_max = if whole { usize::MAX } else { REGISTRATION_BYTES };
        let (topics, data_version) = self.state.topics.news(told, part_bytes_max);
        let body = RegisterBrokerBody {
            topic_config_serialize_wrapper: TopicConfigAndMappingSerializeWrapper {
                topic_config_table: topics.into_iter().map(|topic| self.told_topic(topic)).collect(),
                data_version,
                ..Default::default()
            },
            filter_server_list: Vec::new(),
        };
        let body = to_json(&body);
        let header = RegisterBroker {
            broker_name: &self.config.name,
            broker_addr: &self.config.address,
            cluster_name: &self.config.cluster,
            ha_server_addr: &self.config.ha_address,
            broker_id: self.config.id,
            compressed: Some(false),
            body_crc32: Some(kerolox_wire::record::crc(&body) as i32),
            ..Default::default()
        };
        let request = Command::request(RequestCode::REGISTER_BROKER).with_header(&header).with_body(body);
        (request, data_version)
    }

    /// A topic as name servers are told of it: nobody is to choose a broker that does not let him.
    fn told_topic(&self, topic: &TopicConfig) -> (String, TopicConfig) {
        let mut told = topic.clone();
        let permission = self.config.permission;
        if !perm::readable(permission) || !perm::writable(permission) {
            told.perm &= permission;
        }
        (topic.topic_name.clone(), told)
    }

    /// The request by which a name server learns that this broker leaves.
    pub fn unregistration(&self) -> Command {
        Command::request(RequestCode::UNREGISTER_BROKER).with_header(&self.identity())
    }

    fn identity(&self) -> BrokerIdentity<'_> {
        BrokerIdentity {
            broker_name: &self.config.name,
            broker_addr: &self.config.address,
            cluster_name: &self.config.cluster,
            broker_id: self.config.id,
            ..Default::default()
        }
    }
}

/// Entries of a page of topics or groups at most: Apache's `splitMetadataSize`.
const PAGE_MAX: usize = 2_000;

/// Which entries of a table of that version a client asks for, as (how many to skip, how many to take): all (older clients
/// do), or a page from `seq` on. One whose version is not the table's begins anew. Source: Apache's `subTopicConfigTable`.
fn page(version: DataVersion, seq: Option<i32>, max: Option<i32>, known: Option<&str>) -> (usize, usize) {
    if seq.is_none() && max.is_none() && known.is_none() {
        return (0, usize::MAX);
    }
    let is_same = known.and_then(|json| from_json(json.as_bytes()).ok()) == Some(version);
    let number = |number: Option<i32>| number.and_then(|n| usize::try_from(n).ok());
    (number(seq).filter(|_| is_same).unwrap_or(0), number(max).unwrap_or(PAGE_MAX).min(PAGE_MAX))
}

/// What a request's body says.
fn body<T: DeserializeOwned>(request: &Command) -> Result<T, Refused> {
    Ok(from_json(&request.body)?)
}

/// Names that one request may list.
const NAMES_MAX: usize = 10_000;

/// The names of a list, each once. Each is a change, and a look at all groups: nothing else goes on meanwhile.
fn distinct(list: &[String]) -> Result<Vec<&str>, Refused> {
    let names: BTreeSet<&str> = list.iter().map(String::as_str).collect();
    match names.len() {
        0..=NAMES_MAX => Ok(names.into_iter().collect()),
        many => Err(Refused(
            ResponseCode::INVALID_PARAMETER,
            format!("{many} names are too many for one request, {NAMES_MAX} is the limit"),
        )),
    }
}
