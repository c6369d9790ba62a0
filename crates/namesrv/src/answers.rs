//! One function for each request: decode and validate, ask the tables, answer.

use crate::routes::{BrokerKey, Registration};
use crate::{ConnId, Namesrv, Refusal, limits};
use kerolox_wire::body::{
    self, BrokerMemberGroup, DataVersion, GetBrokerMemberGroupResponseBody, RegisterBrokerBody,
    TopicConfigSerializeWrapper, TopicList, TopicRouteData, to_fastjson, to_json,
};
use kerolox_wire::header::{
    AddWritePermResponse, BrokerHeartbeat, BrokerIdentity, BrokerName, Cluster, DeleteTopicInNamesrv,
    GetBrokerMemberGroup, GetKvConfigResponse, GetRouteInfo, KvConfigKey, KvNamespace, PutKvConfig,
    QueryDataVersionResponse, RegisterBroker, RegisterBrokerResponse, Topic, WipeWritePermResponse,
};
use kerolox_wire::{Command, ResponseCode, record};

/// Ordinal of `V3_0_11`: older brokers register with a bare table of topics.
const VERSION_3_0_11: i32 = 37;
/// Ordinal of `V4_9_4`: newer clients read standard JSON.
const VERSION_4_9_4: i32 = 401;
/// Namespace of the queues' order of ordered topics.
const ORDER_TOPIC_CONFIG: &str = "ORDER_TOPIC_CONFIG";

type Answer = Result<Command, Refusal>;

impl Namesrv {
    pub(crate) fn route(&self, request: &Command) -> Answer {
        let header: GetRouteInfo<'_> = request.header()?;
        let topic = header.topic.unwrap_or("null");
        let Some(mut route) = self.routes.route(topic, self.config.support_acting_master) else {
            return Err(Refusal::new(
                ResponseCode::TOPIC_NOT_EXIST,
                format!(
                    "No topic route info in name server for the topic: {topic}\n\
                     See https://rocketmq.apache.org/docs/bestPractice/06FAQ for further details."
                ),
            ));
        };
        if self.config.order_message_enable {
            route.order_topic_conf = self.kv.get(ORDER_TOPIC_CONFIG, topic).map(str::to_owned);
        }
        let body = match header.zone_name.filter(|zone| !zone.trim().is_empty()) {
            Some(zone) if header.zone_mode == Some(true) => to_fastjson(&of_zone(route, zone)),
            _ if request.version >= VERSION_4_9_4 || header.accept_standard_json_only == Some(true) => {
                to_json(&route)
            }
            _ => to_fastjson(&route),
        };
        Ok(request.respond(ResponseCode::SUCCESS).with_body(body))
    }

    pub(crate) fn register_broker(&mut self, now_ms: i64, conn: ConnId, request: &Command) -> Answer {
        let header: RegisterBroker<'_> = request.header()?;
        for name in [header.cluster_name, header.broker_name, header.broker_addr, header.ha_server_addr] {
            check_name(name)?;
        }
        check_name(header.zone_name.unwrap_or_default())?;
        let said = header.body_crc32.unwrap_or_default();
        if said != 0 && said as u32 != record::crc(&request.body) {
            return Err(Refusal::error("crc32 not match"));
        }
        let mut body = registration_body(request, header.compressed == Some(true))?;
        let wrapper = &mut body.topic_config_serialize_wrapper;
        // What could never be asked for is not kept.
        wrapper.topic_config_table.retain(|_, config| is_topic(&config.topic_name));
        // Apache's brokers tell of their own mappings only.
        wrapper.topic_queue_mapping_info_map.retain(|topic, mapping| {
            let is_short = |text: &str| text.len() <= limits::TOPIC_BYTES_MAX;
            let is_own = mapping.bname == header.broker_name;
            is_own && is_topic(topic) && is_short(&mapping.topic) && is_short(&mapping.scope)
        });
        if wrapper.topic_config_table.len() > limits::BROKER_TOPICS_MAX {
            return Err(Refusal::error(format!(
                "more than {} topics on one broker",
                limits::BROKER_TOPICS_MAX
            )));
        }
        if body.filter_server_list.len() > limits::FILTER_SERVERS_MAX {
            return Err(Refusal::error(format!("more than {} filter servers", limits::FILTER_SERVERS_MAX)));
        }
        body.filter_server_list.iter().try_for_each(|server| check_name(server))?;
        let registered = self.routes.register(
            now_ms,
            Registration {
                key: BrokerKey::new(header.cluster_name, header.broker_addr),
                name: header.broker_name,
                id: header.broker_id,
                ha_addr: header.ha_server_addr,
                zone: header.zone_name,
                timeout_ms: header.heartbeat_timeout_millis,
                acting_master: header.enable_acting_master,
                conn,
                delete_missing: self.config.delete_topic_with_broker_registration,
                body,
            },
        )?;
        let answer = request.respond(ResponseCode::SUCCESS).with_header(&RegisterBrokerResponse {
            ha_server_addr: registered.as_ref().map(|master| master.ha_addr.as_str()),
            master_addr: registered.as_ref().map(|master| master.addr.as_str()),
            ..Default::default()
        });
        let order =
            self.kv.list(ORDER_TOPIC_CONFIG).filter(|_| self.config.return_order_topic_config_to_broker);
        Ok(match order {
            Some(table) => answer.with_body(to_fastjson(&table)),
            None => answer,
        })
    }

    pub(crate) fn unregister_broker(&mut self, request: &Command) -> Answer {
        if !request.fields.is_empty() {
            let header: BrokerIdentity<'_> = request.header()?;
            let key = BrokerKey::new(header.cluster_name, header.broker_addr);
            self.routes.unregister(&key, header.broker_name);
        }
        Ok(request.respond(ResponseCode::SUCCESS))
    }

    pub(crate) fn broker_heartbeat(&mut self, now_ms: i64, request: &Command) -> Answer {
        let header: BrokerHeartbeat<'_> = request.header()?;
        self.routes.beat(now_ms, &BrokerKey::new(header.cluster_name, header.broker_addr));
        Ok(request.respond(ResponseCode::SUCCESS))
    }

    pub(crate) fn query_data_version(&mut self, now_ms: i64, request: &Command) -> Answer {
        let header: BrokerIdentity<'_> = request.header()?;
        let asked: DataVersion = json(request)?;
        let key = BrokerKey::new(header.cluster_name, header.broker_addr);
        let known = self.routes.known(now_ms, &key, header.broker_name);
        let answer = request
            .respond(ResponseCode::SUCCESS)
            .with_header(&QueryDataVersionResponse { changed: known != Some(asked), ..Default::default() });
        Ok(match known {
            Some(version) => answer.with_body(to_fastjson(&version)),
            None => answer,
        })
    }

    pub(crate) fn cluster_info(&self, request: &Command) -> Answer {
        Ok(request.respond(ResponseCode::SUCCESS).with_body(to_fastjson(&self.routes.cluster_info())))
    }

    pub(crate) fn member_group(&self, request: &Command) -> Answer {
        let header: GetBrokerMemberGroup<'_> = request.header()?;
        let body = GetBrokerMemberGroupResponseBody {
            broker_member_group: BrokerMemberGroup {
                broker_addrs: self.routes.addresses(header.broker_name),
                broker_name: header.broker_name.to_owned(),
                cluster: header.cluster_name.to_owned(),
            },
        };
        // The remark is Apache's, by oversight.
        Ok(request.refuse(ResponseCode::SUCCESS, "not set any response code").with_body(to_fastjson(&body)))
    }

    pub(crate) fn register_topic(&mut self, request: &Command) -> Answer {
        let header: Topic<'_> = request.header()?;
        let route: TopicRouteData = json(request)?;
        if is_topic(header.topic) && !route.queue_datas.is_empty() {
            self.routes.register_topic(header.topic, route.queue_datas)?;
        }
        Ok(request.respond(ResponseCode::SUCCESS))
    }

    pub(crate) fn delete_topic(&mut self, request: &Command) -> Answer {
        let header: DeleteTopicInNamesrv<'_> = request.header()?;
        self.routes.delete_topic(header.topic, header.cluster_name.filter(|cluster| !cluster.is_empty()));
        Ok(request.respond(ResponseCode::SUCCESS))
    }

    pub(crate) fn wipe_write_perm(&mut self, request: &Command) -> Answer {
        let header: BrokerName<'_> = request.header()?;
        let wipe_topic_count = self.routes.set_perm(header.broker_name, |perm| perm & !body::perm::WRITE);
        let answer = WipeWritePermResponse { wipe_topic_count, ..Default::default() };
        Ok(request.respond(ResponseCode::SUCCESS).with_header(&answer))
    }

    pub(crate) fn add_write_perm(&mut self, request: &Command) -> Answer {
        let header: BrokerName<'_> = request.header()?;
        let add_topic_count =
            self.routes.set_perm(header.broker_name, |_| body::perm::READ | body::perm::WRITE);
        let answer = AddWritePermResponse { add_topic_count, ..Default::default() };
        Ok(request.respond(ResponseCode::SUCCESS).with_header(&answer))
    }

    pub(crate) fn all_topics(&self, request: &Command) -> Answer {
        if !self.config.enable_all_topic_list {
            return Err(Refusal::error("disable"));
        }
        topic_list(request, None, self.routes.topics())
    }

    pub(crate) fn topics_by_cluster(&self, request: &Command) -> Answer {
        if !self.config.enable_topic_list {
            return Err(Refusal::error("disable"));
        }
        let header: Cluster<'_> = request.header()?;
        topic_list(request, None, self.routes.topics_of_cluster(header.cluster))
    }

    pub(crate) fn system_topics(&self, request: &Command) -> Answer {
        let (topics, broker_addr) = self.routes.system_topics();
        topic_list(request, broker_addr, topics)
    }

    pub(crate) fn unit_topics(&self, request: &Command, wanted: fn(bool, bool) -> bool) -> Answer {
        if !self.config.enable_topic_list {
            return Err(Refusal::error("disable"));
        }
        topic_list(request, None, self.routes.unit_topics(wanted))
    }

    pub(crate) fn put_kv(&mut self, request: &Command) -> Answer {
        let header: PutKvConfig<'_> = request.header()?;
        self.kv.put(header.namespace, header.key, header.value)?;
        Ok(request.respond(ResponseCode::SUCCESS))
    }

    pub(crate) fn get_kv(&self, request: &Command) -> Answer {
        let KvConfigKey { namespace, key, .. } = request.header()?;
        let value = self.kv.get(namespace, key).ok_or_else(|| {
            let remark = format!("No config item, Namespace: {namespace} Key: {key}");
            Refusal::new(ResponseCode::QUERY_NOT_FOUND, remark)
        })?;
        let answer = GetKvConfigResponse { value: Some(value), ..Default::default() };
        Ok(request.respond(ResponseCode::SUCCESS).with_header(&answer))
    }

    pub(crate) fn delete_kv(&mut self, request: &Command) -> Answer {
        let header: KvConfigKey<'_> = request.header()?;
        self.kv.delete(header.namespace, header.key);
        Ok(request.respond(ResponseCode::SUCCESS))
    }

    pub(crate) fn kv_list(&self, request: &Command) -> Answer {
        let KvNamespace { namespace, .. } = request.header()?;
        let table = self.kv.list(namespace).ok_or_else(|| {
            Refusal::new(ResponseCode::QUERY_NOT_FOUND, format!("No config item, Namespace: {namespace}"))
        })?;
        Ok(request.respond(ResponseCode::SUCCESS).with_body(to_fastjson(&table)))
    }
}

fn topic_list(request: &Command, broker_addr: Option<String>, topic_list: Vec<String>) -> Answer {
    let body = to_fastjson(&TopicList { broker_addr, topic_list });
    Ok(request.respond(ResponseCode::SUCCESS).with_body(body))
}

fn json<T: serde::de::DeserializeOwned>(request: &Command) -> Result<T, Refusal> {
    body::from_json(&request.body).map_err(|why| Refusal::error(why.to_string()))
}

/// What a broker says of itself: nothing at all, since 3.0.11 a whole body, before that a table of topics.
fn registration_body(request: &Command, compressed: bool) -> Result<RegisterBrokerBody, Refusal> {
    if request.body.is_empty() {
        return Ok(RegisterBrokerBody::default());
    }
    if request.version >= VERSION_3_0_11 {
        return RegisterBrokerBody::read(&request.body, compressed)
            .map_err(|why| Refusal::error(why.to_string()));
    }
    let old: TopicConfigSerializeWrapper = json(request)?;
    let mut body = RegisterBrokerBody::default();
    body.topic_config_serialize_wrapper.data_version = old.data_version;
    body.topic_config_serialize_wrapper.topic_config_table = old.topic_config_table;
    Ok(body)
}

/// Names of clusters and brokers and addresses may be anything printable that is not too long.
fn check_name(name: &str) -> Result<(), Refusal> {
    if name.len() > limits::NAME_BYTES_MAX {
        return Err(Refusal::error(format!(
            "a name or address is longer than {} bytes",
            limits::NAME_BYTES_MAX
        )));
    }
    if name.chars().any(char::is_control) {
        return Err(Refusal::error(format!("a name or address has control characters: {name:?}")));
    }
    Ok(())
}

/// Brokers register topics named as themselves too, so that more than a client may use is legal here.
fn is_topic(name: &str) -> bool {
    !name.is_empty() && name.len() <= limits::TOPIC_BYTES_MAX && !name.chars().any(char::is_control)
}

/// The part of a route that lies in a zone, and brokers that have lost their master wherever they are.
fn of_zone(mut route: TopicRouteData, zone: &str) -> TopicRouteData {
    let stays = |broker: &body::BrokerData| {
        !broker.broker_addrs.contains_key(&0)
            || broker.zone_name.as_ref().is_some_and(|name| name.eq_ignore_ascii_case(zone))
    };
    let gone: Vec<body::BrokerData> = route.broker_datas.iter().filter(|b| !stays(b)).cloned().collect();
    route.broker_datas.retain(stays);
    route.queue_datas.retain(|queue| gone.iter().all(|broker| broker.broker_name != queue.broker_name));
    for address in gone.iter().flat_map(|broker| broker.broker_addrs.values()) {
        route.filter_server_table.remove(address);
    }
    route
}
