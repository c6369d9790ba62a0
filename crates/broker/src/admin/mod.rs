//! Administration, and what the broker tells name servers.

mod clients;
mod groups;
pub(crate) mod reset;
mod topics;

use crate::Broker;
use crate::effect::Effect;
use crate::input::ConnId;
use crate::produce::Refused;
use kerolox_wire::body::{RegisterBrokerBody, from_json, to_json};
use kerolox_wire::header::RegisterBroker;
use kerolox_wire::{Command, RequestCode, ResponseCode};
use serde::Serialize;
use serde::de::DeserializeOwned;

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
            RequestCode::GET_CONSUMER_CONNECTION_LIST => self.consumer_connections(conn, request, out),
            RequestCode::GET_PRODUCER_CONNECTION_LIST => self.producer_connections(conn, request, out),
            RequestCode::GET_ALL_PRODUCER_INFO => self.all_producers(conn, request, out),
            _ => {
                let remark = format!(" request type {} not supported", request.code);
                let refusal = request.refuse(ResponseCode::REQUEST_CODE_NOT_SUPPORTED, remark);
                self.reply(conn, request, refusal, out);
            }
        }
    }

    /// Answers with a body.
    fn reply_body(&mut self, conn: ConnId, request: &Command, body: &impl Serialize, out: &mut Vec<Effect>) {
        let answer = request.respond(ResponseCode::SUCCESS).with_body(to_json(body));
        self.reply(conn, request, answer, out);
    }

    /// Answers a change of the state: a success when it is as safe as the flush policy says.
    fn reply_change(
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

    /// The request by which a name server learns of this broker and its topics.
    pub fn registration(&self) -> Command {
        let body = RegisterBrokerBody {
            topic_config_serialize_wrapper: self.topic_table(),
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
        Command::request(RequestCode::REGISTER_BROKER).with_header(&header).with_body(body)
    }

    /// The request by which a name server learns that this broker leaves.
    pub fn unregistration(&self) -> Command {
        let header = kerolox_wire::header::BrokerIdentity {
            broker_name: &self.config.name,
            broker_addr: &self.config.address,
            cluster_name: &self.config.cluster,
            broker_id: self.config.id,
            ..Default::default()
        };
        Command::request(RequestCode::UNREGISTER_BROKER).with_header(&header)
    }
}

/// What a request's body says.
fn body<T: DeserializeOwned>(request: &Command) -> Result<T, Refused> {
    Ok(from_json(&request.body)?)
}
