//! Creating topics (code 17), and what the broker tells name servers.

use crate::Broker;
use crate::effect::Effect;
use crate::input::ConnId;
use crate::produce::Refused;
use crate::state;
use kerolox_store::AppendError;
use kerolox_wire::body::{
    DataVersion, RegisterBrokerBody, TopicConfig, TopicConfigAndMappingSerializeWrapper, to_json,
};
use kerolox_wire::header::{CreateTopic, RegisterBroker};
use kerolox_wire::{Command, RequestCode, ResponseCode};

/// A topic's attributes, names and values. They go to the name server with each registration, which is one frame.
const ATTRIBUTES_BYTES_MAX: usize = 4_096;

impl Broker {
    pub(crate) fn create_topic(
        &mut self,
        now_ms: i64,
        conn: ConnId,
        request: &Command,
        out: &mut Vec<Effect>,
    ) {
        match self.try_create_topic(now_ms, request) {
            Ok(()) => {
                self.acks.wait(self.store.watermarks().appended, conn, request.respond(ResponseCode::SUCCESS))
            }
            Err(Refused(code, remark)) => self.reply(conn, request, request.refuse(code, remark), out),
        }
    }

    fn try_create_topic(&mut self, now_ms: i64, request: &Command) -> Result<(), Refused> {
        let header: CreateTopic<'_> =
            request.header().map_err(|e| Refused(ResponseCode::SYSTEM_ERROR, e.to_string()))?;
        let invalid = |remark: String| Refused(ResponseCode::INVALID_PARAMETER, remark);
        self.refuse_if_draining()?;
        kerolox_wire::names::check_topic(header.topic).map_err(|e| invalid(e.to_string()))?;
        if self.state.topics.is_system(header.topic) {
            return Err(invalid(format!("The topic[{}] is conflict with system topic.", header.topic)));
        }
        let queues_max = self.config.limits.queues_max;
        for (what, queues) in
            [("readQueueNums", header.read_queue_nums), ("writeQueueNums", header.write_queue_nums)]
        {
            if !(0..=queues_max as i32).contains(&queues) {
                return Err(invalid(format!("{what} {queues} is not between 0 and {queues_max}")));
            }
        }
        if !(0..16).contains(&header.perm) {
            return Err(invalid(format!(
                "perm {} is not a sum of 1 (inherit), 2 (write), 4 (read), 8 (priority)",
                header.perm
            )));
        }
        let filter_type = header.topic_filter_type;
        if !["SINGLE_TAG", "MULTI_TAG"].contains(&filter_type) {
            let remark = format!("topicFilterType = [{filter_type}] value invalid");
            return Err(Refused(ResponseCode::SYSTEM_ERROR, remark));
        }
        let topics_max = self.config.limits.topics_max;
        let known = self.state.topics.get(header.topic);
        if known.is_none() && self.state.topics.len() >= topics_max {
            return Err(Refused(
                ResponseCode::SYSTEM_ERROR,
                format!("the broker has {topics_max} topics, its limit"),
            ));
        }
        let config = TopicConfig {
            topic_name: header.topic.to_owned(),
            read_queue_nums: header.read_queue_nums,
            write_queue_nums: header.write_queue_nums,
            perm: header.perm,
            topic_filter_type: filter_type.to_owned(),
            topic_sys_flag: header.topic_sys_flag.unwrap_or(0),
            order: header.order,
            attributes: attributes(known, header.attributes).map_err(invalid)?,
        };
        let bytes_max = self.config.limits.registration_bytes_max;
        if self.state.topics.check_room(&config, bytes_max).is_err() {
            return Err(Refused(ResponseCode::SYSTEM_ERROR, crate::produce::unregistrable(bytes_max)));
        }
        if known != Some(&config) {
            self.put_topic(now_ms, config).map_err(|e| self.refused(&e))?;
        }
        Ok(())
    }

    /// Sets a topic, in memory and in the log, before anything that relies on it is appended.
    pub(crate) fn put_topic(&mut self, now_ms: i64, config: TopicConfig) -> Result<(), AppendError> {
        let mut entry = Vec::new();
        state::put_topic(&mut entry, &config);
        self.write_changes(now_ms)?;
        self.store.append_state(now_ms, &entry)?;
        self.state.topics.put(now_ms, config);
        self.register_due = true;
        Ok(())
    }

    /// The request by which a name server learns of this broker and its topics.
    pub fn registration(&self) -> Command {
        let version = self.state.topics.version();
        let table = self
            .state
            .topics
            .sorted()
            .into_iter()
            .map(|(name, topic)| (name.to_string(), topic.config.clone()));
        let body = RegisterBrokerBody {
            topic_config_serialize_wrapper: TopicConfigAndMappingSerializeWrapper {
                topic_config_table: table.collect(),
                data_version: DataVersion {
                    state_version: 0,
                    timestamp: version.timestamp_ms,
                    counter: version.counter,
                },
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

/// A topic's attributes after `+name=value,-name` was applied to what it has. Source: Apache's `AttributeParser`.
fn attributes(
    known: Option<&TopicConfig>,
    change: Option<&str>,
) -> Result<std::collections::BTreeMap<String, String>, String> {
    let mut attributes = known.map(|config| config.attributes.clone()).unwrap_or_default();
    for part in change.unwrap_or_default().split(',').filter(|part| !part.is_empty()) {
        let bad = || format!("attribute {part:?} is neither +name=value nor -name");
        if let Some(name) = part.strip_prefix('-') {
            attributes.remove(name);
        } else {
            let (name, value) = part.strip_prefix('+').and_then(|p| p.split_once('=')).ok_or_else(bad)?;
            attributes.insert(name.to_owned(), value.to_owned());
        }
    }
    let bytes: usize = attributes.iter().map(|(name, value)| name.len() + value.len()).sum();
    if bytes > ATTRIBUTES_BYTES_MAX {
        return Err(format!("attributes of {bytes} bytes exceed the limit of {ATTRIBUTES_BYTES_MAX}"));
    }
    Ok(attributes)
}
