//! The name server as brokers and clients see it.

use crate::{BROKER_EXPIRY_MS, Namesrv};
use kerolox_wire::body::{
    self, ClusterInfo, DataVersion, RegisterBrokerBody, TopicConfig, TopicList, TopicRouteData,
};
use kerolox_wire::header::{BrokerIdentity, RegisterBroker, RegisterBrokerResponse};
use kerolox_wire::{Command, RequestCode, ResponseCode};

const OK: i32 = 0;

/// A registration of a broker with topics `name:queues`.
fn registration(name: &str, id: i64, address: &str, version: i64, topics: &[(&str, i32)]) -> Command {
    let mut body = RegisterBrokerBody::default();
    let wrapper = &mut body.topic_config_serialize_wrapper;
    wrapper.data_version = DataVersion { counter: version, ..DataVersion::default() };
    for (topic, queues) in topics {
        let config = TopicConfig {
            topic_name: (*topic).to_owned(),
            read_queue_nums: *queues,
            write_queue_nums: *queues,
            perm: 6,
            ..TopicConfig::default()
        };
        wrapper.topic_config_table.insert((*topic).to_owned(), config);
    }
    let body = body::to_json(&body);
    let header = RegisterBroker {
        broker_name: name,
        broker_addr: address,
        cluster_name: "C",
        ha_server_addr: "127.0.0.1:10912",
        broker_id: id,
        body_crc32: Some(kerolox_wire::record::crc(&body) as i32),
        ..Default::default()
    };
    Command::request(RequestCode::REGISTER_BROKER).with_header(&header).with_body(body)
}

fn route(namesrv: &mut Namesrv, topic: &str) -> Option<TopicRouteData> {
    let mut request = Command::request(RequestCode::GET_ROUTEINFO_BY_TOPIC);
    request.fields.push("topic", topic);
    let answer = namesrv.handle(0, 99, &request);
    (answer.code == OK).then(|| body::from_json(&answer.body).unwrap())
}

fn ask(namesrv: &mut Namesrv, code: RequestCode, fields: &[(&str, &str)]) -> Command {
    let mut request = Command::request(code);
    for (name, value) in fields {
        request.fields.push(name, value);
    }
    namesrv.handle(0, 99, &request)
}

#[test]
fn a_topic_is_found_on_all_brokers_that_have_it() {
    let mut namesrv = Namesrv::new();
    assert_eq!(namesrv.handle(0, 1, &registration("a", 0, "1.1.1.1:1", 1, &[("T", 8), ("U", 1)])).code, OK);
    assert_eq!(namesrv.handle(0, 2, &registration("b", 0, "2.2.2.2:1", 1, &[("T", 4), ("V", 4)])).code, OK);
    assert_eq!(namesrv.handle(0, 3, &registration("b", 1, "3.3.3.3:1", 1, &[])).code, OK);
    let route_t = route(&mut namesrv, "T").unwrap();
    let queues: Vec<_> = route_t.queue_datas.iter().map(|q| (&*q.broker_name, q.write_queue_nums)).collect();
    assert_eq!(queues, [("a", 8), ("b", 4)]);
    assert_eq!(route_t.broker_datas[1].broker_addrs[&0], "2.2.2.2:1");
    assert_eq!(route_t.broker_datas[1].broker_addrs[&1], "3.3.3.3:1");
    assert_eq!(route(&mut namesrv, "U").unwrap().broker_datas.len(), 1);
    let unknown = ask(&mut namesrv, RequestCode::GET_ROUTEINFO_BY_TOPIC, &[("topic", "None")]);
    assert_eq!(unknown.code, i32::from(ResponseCode::TOPIC_NOT_EXIST));
    assert_eq!(
        unknown.remark.unwrap(),
        "No topic route info in name server for the topic: None\nSee https://rocketmq.apache.org/docs/bestPractice/06FAQ for further details."
    );
}

#[test]
fn a_replica_is_told_its_master() {
    let mut namesrv = Namesrv::new();
    namesrv.handle(0, 1, &registration("a", 0, "1.1.1.1:1", 1, &[("T", 8), ("V", 4)]));
    let answer = namesrv.handle(0, 2, &registration("a", 1, "2.2.2.2:1", 1, &[]));
    let header: RegisterBrokerResponse<'_> = answer.header().unwrap();
    assert_eq!((header.master_addr, header.ha_server_addr), (Some("1.1.1.1:1"), Some("127.0.0.1:10912")));
}

#[test]
fn topics_change_only_with_the_data_version() {
    let mut namesrv = Namesrv::new();
    namesrv.handle(0, 1, &registration("a", 0, "1.1.1.1:1", 1, &[("T", 8), ("V", 4)]));
    namesrv.handle(0, 1, &registration("a", 0, "1.1.1.1:1", 1, &[("T", 2), ("V", 4)]));
    assert_eq!(route(&mut namesrv, "T").unwrap().queue_datas[0].write_queue_nums, 8);
    namesrv.handle(0, 1, &registration("a", 0, "1.1.1.1:1", 2, &[("T", 2), ("V", 4)]));
    assert_eq!(route(&mut namesrv, "T").unwrap().queue_datas[0].write_queue_nums, 2);
    // Asked whether it changed, with the version it has and with another.
    let identity = BrokerIdentity {
        broker_name: "a",
        broker_addr: "1.1.1.1:1",
        cluster_name: "C",
        ..Default::default()
    };
    for (counter, changed) in [(2, "false"), (3, "true")] {
        let version = DataVersion { counter, ..DataVersion::default() };
        let request = Command::request(RequestCode::QUERY_DATA_VERSION);
        let request = request.with_header(&identity).with_body(body::to_json(&version));
        assert_eq!(namesrv.handle(0, 1, &request).fields.get("changed"), Some(changed));
    }
}

#[test]
fn a_broker_goes_with_its_connection_its_word_or_its_silence() {
    for how in ["connection", "word", "silence"] {
        let mut namesrv = Namesrv::new();
        namesrv.handle(0, 1, &registration("a", 0, "1.1.1.1:1", 1, &[("T", 8), ("V", 4)]));
        match how {
            "connection" => namesrv.disconnected(1),
            "word" => {
                let fields = [
                    ("brokerName", "a"),
                    ("brokerAddr", "1.1.1.1:1"),
                    ("clusterName", "C"),
                    ("brokerId", "0"),
                ];
                assert_eq!(ask(&mut namesrv, RequestCode::UNREGISTER_BROKER, &fields).code, OK);
            }
            _ => {
                namesrv.tick(BROKER_EXPIRY_MS);
                assert!(route(&mut namesrv, "T").is_some(), "not yet");
                namesrv.tick(BROKER_EXPIRY_MS + 10_000);
            }
        }
        assert!(route(&mut namesrv, "T").is_none(), "{how}");
        assert_eq!(namesrv.wake_ms(), None);
    }
}

#[test]
fn a_reconnected_broker_stays_when_its_old_connection_closes() {
    let mut namesrv = Namesrv::new();
    namesrv.handle(0, 1, &registration("a", 0, "1.1.1.1:1", 1, &[("T", 8), ("V", 4)]));
    namesrv.handle(5, 2, &registration("a", 0, "1.1.1.1:1", 1, &[("T", 8), ("V", 4)]));
    namesrv.disconnected(1);
    assert!(route(&mut namesrv, "T").is_some());
}

#[test]
fn write_permission_can_be_wiped_and_given_back() {
    let mut namesrv = Namesrv::new();
    namesrv.handle(0, 1, &registration("a", 0, "1.1.1.1:1", 1, &[("T", 8), ("U", 8)]));
    let wiped = ask(&mut namesrv, RequestCode::WIPE_WRITE_PERM_OF_BROKER, &[("brokerName", "a")]);
    assert_eq!(wiped.fields.get("wipeTopicCount"), Some("2"));
    assert_eq!(route(&mut namesrv, "T").unwrap().queue_datas[0].perm, 4);
    let added = ask(&mut namesrv, RequestCode::ADD_WRITE_PERM_OF_BROKER, &[("brokerName", "a")]);
    assert_eq!(added.fields.get("addTopicCount"), Some("2"));
    assert_eq!(route(&mut namesrv, "T").unwrap().queue_datas[0].perm, 6);
}

#[test]
fn lists_for_administrators() {
    let mut namesrv = Namesrv::new();
    namesrv.handle(0, 1, &registration("a", 0, "1.1.1.1:1", 1, &[("T", 8), ("U", 8)]));
    let all = ask(&mut namesrv, RequestCode::GET_ALL_TOPIC_LIST_FROM_NAMESERVER, &[]);
    assert_eq!(body::from_json::<TopicList>(&all.body).unwrap().topic_list, ["T", "U"]);
    let cluster = ask(&mut namesrv, RequestCode::GET_TOPICS_BY_CLUSTER, &[("cluster", "C")]);
    assert_eq!(body::from_json::<TopicList>(&cluster.body).unwrap().topic_list, ["T", "U"]);
    let info: ClusterInfo =
        body::from_json(&ask(&mut namesrv, RequestCode::GET_BROKER_CLUSTER_INFO, &[]).body).unwrap();
    assert_eq!(info.cluster_addr_table["C"], ["a"]);
    assert_eq!(ask(&mut namesrv, RequestCode::DELETE_TOPIC_IN_NAMESRV, &[("topic", "T")]).code, OK);
    assert!(route(&mut namesrv, "T").is_none());
}

#[test]
fn key_value_table() {
    let mut namesrv = Namesrv::new();
    let pair = [("namespace", "n"), ("key", "k"), ("value", "v")];
    let missing = ask(&mut namesrv, RequestCode::GET_KV_CONFIG, &pair);
    assert_eq!(missing.code, i32::from(ResponseCode::QUERY_NOT_FOUND));
    assert_eq!(missing.remark.unwrap(), "No config item, Namespace: n Key: k");
    assert_eq!(ask(&mut namesrv, RequestCode::PUT_KV_CONFIG, &pair).code, OK);
    assert_eq!(ask(&mut namesrv, RequestCode::GET_KV_CONFIG, &pair).fields.get("value"), Some("v"));
    assert_eq!(
        &ask(&mut namesrv, RequestCode::GET_KVLIST_BY_NAMESPACE, &pair).body[..],
        br#"{"table":{"k":"v"}}"#
    );
    assert_eq!(ask(&mut namesrv, RequestCode::DELETE_KV_CONFIG, &pair).code, OK);
    let empty = ask(&mut namesrv, RequestCode::GET_KVLIST_BY_NAMESPACE, &pair);
    assert_eq!((empty.code, &empty.body[..]), (OK, &br#"{"table":{}}"#[..]));
    assert_eq!(namesrv.kv()["n"].len(), 0);
}

#[test]
fn what_is_not_understood_is_refused() {
    let mut namesrv = Namesrv::new();
    let unknown = ask(&mut namesrv, RequestCode(12345), &[]);
    assert_eq!((unknown.code, &*unknown.remark.unwrap()), (3, " request type 12345 not supported"));
    assert_eq!(ask(&mut namesrv, RequestCode::REGISTER_BROKER, &[]).code, 1);
    assert_eq!(ask(&mut namesrv, RequestCode::UNREGISTER_BROKER, &[]).code, OK);
    let mut damaged = registration("a", 0, "1.1.1.1:1", 1, &[("T", 8), ("V", 4)]);
    damaged.body = damaged.body.slice(1..);
    assert_eq!(namesrv.handle(0, 1, &damaged).remark.unwrap(), "crc32 not match");
    assert!(route(&mut namesrv, "T").is_none());
}
