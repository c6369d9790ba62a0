//! Requests and their answers.

use crate::Namesrv;
use crate::limits::KV_MAX;
use crate::routes::{ConnId, Registration};
use kerolox_wire::body::{self, ClusterInfo, KvTable, RegisterBrokerBody, TopicList, TopicRouteData};
use kerolox_wire::header::{
    AddWritePermResponse, BrokerHeartbeat, BrokerIdentity, BrokerName, Cluster, DeleteTopicInNamesrv,
    GetKvConfigResponse, KvConfigKey, KvNamespace, PutKvConfig, QueryDataVersionResponse, RegisterBroker,
    RegisterBrokerResponse, WipeWritePermResponse,
};
use kerolox_wire::{Command, ResponseCode};
use std::collections::BTreeSet;

/// Where Apache's refusals point to.
const FAQ: &str = "\nSee https://rocketmq.apache.org/docs/bestPractice/06FAQ for further details.";
const ORDER_TOPIC_CONFIG: &str = "ORDER_TOPIC_CONFIG";
/// Permission bits of a queue: read and write.
const READ_WRITE: i32 = 6;
const WRITE: i32 = 2;

/// A request that cannot be read is answered with a system error and this text.
type Answer = Result<Command, String>;

fn text(error: impl ToString) -> String {
    error.to_string()
}

impl Namesrv {
    pub(crate) fn route(&self, request: &Command) -> Answer {
        // Not read as a header: Apache treats an absent topic as one that is not there.
        let topic = request.fields.get("topic").unwrap_or("null");
        let brokers = self.routes.topics.get(topic);
        let queue_datas: Vec<_> = brokers.into_iter().flat_map(|b| b.values().cloned()).collect();
        let known = |name: &String| self.routes.brokers.get(name).cloned();
        let broker_datas: Vec<_> = brokers.into_iter().flat_map(|b| b.keys().filter_map(known)).collect();
        if broker_datas.is_empty() {
            let remark = format!("No topic route info in name server for the topic: {topic}{FAQ}");
            return Ok(request.refuse(ResponseCode::TOPIC_NOT_EXIST, remark));
        }
        let order_topic_conf = self.kv.get(ORDER_TOPIC_CONFIG).and_then(|table| table.get(topic)).cloned();
        let route =
            TopicRouteData { queue_datas, broker_datas, order_topic_conf, ..TopicRouteData::default() };
        Ok(request.respond(ResponseCode::SUCCESS).with_body(body::to_json(&route)))
    }

    pub(crate) fn register_broker(&mut self, now_ms: i64, conn: ConnId, request: &Command) -> Answer {
        let header: RegisterBroker<'_> = request.header().map_err(text)?;
        let crc = header.body_crc32.unwrap_or(0) as u32;
        if crc != 0 && crc != kerolox_wire::record::crc(&request.body) {
            return Ok(request.refuse(ResponseCode::SYSTEM_ERROR, "crc32 not match"));
        }
        let body = match request.body.is_empty() {
            true => RegisterBrokerBody::default(),
            false => {
                RegisterBrokerBody::read(&request.body, header.compressed == Some(true)).map_err(text)?
            }
        };
        let wrapper = body.topic_config_serialize_wrapper;
        let registration = Registration {
            cluster: header.cluster_name,
            name: header.broker_name,
            address: header.broker_addr,
            id: header.broker_id,
            ha_address: header.ha_server_addr,
            expiry_ms: header.heartbeat_timeout_millis,
            enable_acting_master: header.enable_acting_master,
            version: wrapper.data_version,
            topics: wrapper.topic_config_table.into_values().collect(),
        };
        let master = self.routes.register(now_ms, conn, registration)?;
        let header = RegisterBrokerResponse {
            ha_server_addr: master.ha_address.as_deref(),
            master_addr: master.address.as_deref(),
            ..Default::default()
        };
        Ok(request.respond(ResponseCode::SUCCESS).with_header(&header))
    }

    pub(crate) fn unregister_broker(&mut self, request: &Command) -> Answer {
        if let Ok(header) = request.header::<BrokerIdentity<'_>>() {
            self.routes.unregister(header.cluster_name, header.broker_addr);
        }
        Ok(request.respond(ResponseCode::SUCCESS))
    }

    pub(crate) fn broker_heartbeat(&mut self, now_ms: i64, request: &Command) -> Answer {
        let header: BrokerHeartbeat<'_> = request.header().map_err(text)?;
        self.routes.beat(now_ms, header.cluster_name, header.broker_addr);
        Ok(request.respond(ResponseCode::SUCCESS))
    }

    pub(crate) fn query_data_version(&mut self, now_ms: i64, request: &Command) -> Answer {
        let header: BrokerIdentity<'_> = request.header().map_err(text)?;
        let asked: body::DataVersion = body::from_json(&request.body).map_err(text)?;
        let known = self.routes.beat(now_ms, header.cluster_name, header.broker_addr);
        let changed = known != Some(&asked);
        let answer = request.respond(ResponseCode::SUCCESS);
        let answer = answer.with_header(&QueryDataVersionResponse { changed, ..Default::default() });
        Ok(match known {
            Some(version) => answer.with_body(body::to_json(version)),
            None => answer,
        })
    }

    pub(crate) fn cluster_info(&self, request: &Command) -> Answer {
        let clusters = self.routes.clusters().into_iter();
        let info = ClusterInfo {
            broker_addr_table: self.routes.brokers.clone(),
            cluster_addr_table: clusters
                .map(|(name, brokers)| (name, brokers.into_iter().collect()))
                .collect(),
        };
        Ok(request.respond(ResponseCode::SUCCESS).with_body(body::to_json(&info)))
    }

    pub(crate) fn topic_list(&self, request: &Command) -> Answer {
        self.topics_answer(request, self.routes.topics.keys().cloned().collect())
    }

    pub(crate) fn topics_by_cluster(&self, request: &Command) -> Answer {
        let header: Cluster<'_> = request.header().map_err(text)?;
        let clusters = self.routes.clusters();
        let Some(brokers) = clusters.get(header.cluster) else {
            return self.topics_answer(request, Vec::new());
        };
        let has = |(_, queues): &(&String, &std::collections::BTreeMap<String, body::QueueData>)| {
            queues.keys().any(|broker| brokers.contains(broker))
        };
        let topics = self.routes.topics.iter().filter(has).map(|(topic, _)| topic.clone()).collect();
        self.topics_answer(request, topics)
    }

    /// Apache's name server counts the names of clusters and brokers as system topics.
    pub(crate) fn system_topics(&self, request: &Command) -> Answer {
        let mut names: BTreeSet<String> = BTreeSet::new();
        for (cluster, brokers) in self.routes.clusters() {
            names.insert(cluster);
            names.extend(brokers);
        }
        let address =
            self.routes.brokers.values().find_map(|data| data.broker_addrs.values().next().cloned());
        let list = TopicList { broker_addr: address, topic_list: names.into_iter().collect() };
        Ok(request.respond(ResponseCode::SUCCESS).with_body(body::to_json(&list)))
    }

    fn topics_answer(&self, request: &Command, topic_list: Vec<String>) -> Answer {
        let list = TopicList { topic_list, ..TopicList::default() };
        Ok(request.respond(ResponseCode::SUCCESS).with_body(body::to_json(&list)))
    }

    pub(crate) fn delete_topic(&mut self, request: &Command) -> Answer {
        let header: DeleteTopicInNamesrv<'_> = request.header().map_err(text)?;
        match header.cluster_name.filter(|cluster| !cluster.is_empty()) {
            Some(cluster) => {
                let clusters = self.routes.clusters();
                let of_cluster = clusters.get(cluster).cloned().unwrap_or_default();
                if let Some(queues) = self.routes.topics.get_mut(header.topic) {
                    queues.retain(|broker, _| !of_cluster.contains(broker));
                }
                self.routes.topics.retain(|_, queues| !queues.is_empty());
            }
            None => {
                self.routes.topics.remove(header.topic);
            }
        }
        Ok(request.respond(ResponseCode::SUCCESS))
    }

    pub(crate) fn wipe_write_perm(&mut self, request: &Command) -> Answer {
        let header: BrokerName<'_> = request.header().map_err(text)?;
        let wipe_topic_count = self.routes.change_perm(header.broker_name, |perm| perm & !WRITE);
        let header = WipeWritePermResponse { wipe_topic_count, ..Default::default() };
        Ok(request.respond(ResponseCode::SUCCESS).with_header(&header))
    }

    pub(crate) fn add_write_perm(&mut self, request: &Command) -> Answer {
        let header: BrokerName<'_> = request.header().map_err(text)?;
        let add_topic_count = self.routes.change_perm(header.broker_name, |_| READ_WRITE);
        let header = AddWritePermResponse { add_topic_count, ..Default::default() };
        Ok(request.respond(ResponseCode::SUCCESS).with_header(&header))
    }

    pub(crate) fn put_kv(&mut self, request: &Command) -> Answer {
        let header: PutKvConfig<'_> = request.header().map_err(text)?;
        if header.namespace.is_empty() || header.key.is_empty() {
            return Ok(request.refuse(ResponseCode::SYSTEM_ERROR, "namespace or key is null"));
        }
        if self.kv.values().map(std::collections::BTreeMap::len).sum::<usize>() >= KV_MAX {
            return Ok(request
                .refuse(ResponseCode::SYSTEM_ERROR, format!("the table holds {KV_MAX} pairs, the limit")));
        }
        let table = self.kv.entry(header.namespace.to_owned()).or_default();
        table.insert(header.key.to_owned(), header.value.to_owned());
        Ok(request.respond(ResponseCode::SUCCESS))
    }

    pub(crate) fn get_kv(&self, request: &Command) -> Answer {
        let header: KvConfigKey<'_> = request.header().map_err(text)?;
        let value = self.kv.get(header.namespace).and_then(|table| table.get(header.key));
        Ok(match value {
            Some(value) => {
                let header = GetKvConfigResponse { value: Some(value), ..Default::default() };
                request.respond(ResponseCode::SUCCESS).with_header(&header)
            }
            None => {
                let remark = format!("No config item, Namespace: {} Key: {}", header.namespace, header.key);
                request.refuse(ResponseCode::QUERY_NOT_FOUND, remark)
            }
        })
    }

    pub(crate) fn delete_kv(&mut self, request: &Command) -> Answer {
        let header: KvConfigKey<'_> = request.header().map_err(text)?;
        if let Some(table) = self.kv.get_mut(header.namespace) {
            table.remove(header.key);
            if table.is_empty() {
                self.kv.remove(header.namespace);
            }
        }
        Ok(request.respond(ResponseCode::SUCCESS))
    }

    pub(crate) fn kv_list(&self, request: &Command) -> Answer {
        let header: KvNamespace<'_> = request.header().map_err(text)?;
        Ok(match self.kv.get(header.namespace) {
            Some(table) => {
                let body = KvTable { table: table.clone() };
                request.respond(ResponseCode::SUCCESS).with_body(body::to_json(&body))
            }
            None => {
                let remark = format!("No config item, Namespace: {}", header.namespace);
                request.refuse(ResponseCode::QUERY_NOT_FOUND, remark)
            }
        })
    }
}
