//! The name server as brokers and clients see it.

use crate::{BROKER_EXPIRY_MS, Namesrv, NamesrvConfig, kv_file, kv_of_file, limits};
use kerolox_wire::body::{
    self, ClusterInfo, DataVersion, RegisterBrokerBody, TopicConfig, TopicList, TopicQueueMappingInfo,
    TopicRouteData,
};
use kerolox_wire::header::{
    BrokerIdentity, QueryDataVersionResponse, RegisterBroker, RegisterBrokerResponse,
};
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

/// Whether a broker is to register again, asked with the version that it registered. As Kerolox' brokers do, it does so if told.
fn ask_version(namesrv: &mut Namesrv, name: &str, cluster: &str, address: &str) -> (bool, bool) {
    let identity = BrokerIdentity {
        broker_name: name,
        broker_addr: address,
        cluster_name: cluster,
        ..Default::default()
    };
    let version = DataVersion { counter: 1, ..DataVersion::default() };
    let request = Command::request(RequestCode::QUERY_DATA_VERSION).with_header(&identity);
    let answer = namesrv.handle(0, 1, &request.with_body(body::to_json(&version)));
    (answer.header::<QueryDataVersionResponse>().unwrap().changed, answer.body.is_empty())
}

fn of_cluster(cluster: &str, mut registration: Command) -> Command {
    registration.fields.push("clusterName", cluster);
    registration
}

const CHANGED_ALL: (bool, bool) = (true, true);
const UNCHANGED: (bool, bool) = (false, false);

/// Kerolox' brokers do not repeat what is known: they were told "unchanged" for ever, and nobody found the topic.
#[test]
fn a_topic_deleted_here_comes_back_where_brokers_still_have_it() {
    for cluster in ["", "C"] {
        let mut namesrv = Namesrv::new();
        let topics = [("T", 8), ("U", 8)];
        namesrv.handle(0, 1, &registration("a", 0, "1.1.1.1:1", 1, &topics));
        namesrv.handle(0, 2, &registration("b", 0, "2.2.2.2:1", 1, &[("V", 8), ("W", 8)]));
        assert_eq!(ask_version(&mut namesrv, "a", "C", "1.1.1.1:1"), UNCHANGED);
        let fields = [("topic", "T"), ("clusterName", cluster)];
        assert_eq!(ask(&mut namesrv, RequestCode::DELETE_TOPIC_IN_NAMESRV, &fields).code, OK);
        assert!(route(&mut namesrv, "T").is_none());
        // What it says of another topic meanwhile is not all.
        namesrv.handle(0, 1, &registration("a", 0, "1.1.1.1:1", 1, &[("X", 8)]));
        assert_eq!(ask_version(&mut namesrv, "b", "C", "2.2.2.2:1"), UNCHANGED);
        assert_eq!(ask_version(&mut namesrv, "a", "C", "1.1.1.1:1"), CHANGED_ALL);
        namesrv.handle(0, 1, &registration("a", 0, "1.1.1.1:1", 1, &topics));
        assert!(route(&mut namesrv, "T").is_some());
        assert_eq!(ask_version(&mut namesrv, "a", "C", "1.1.1.1:1"), UNCHANGED);
    }
}

/// The old process went with the name, and the new one, alive and "unchanged", had no route any more.
#[test]
fn a_broker_whose_name_another_process_took_along_registers_again() {
    let mut namesrv = Namesrv::new();
    let topics = [("T", 8), ("U", 8)];
    for (conn, address) in [(1, "1.1.1.1:1"), (2, "2.2.2.2:1"), (3, "1.1.1.1:1")] {
        namesrv.handle(0, conn, &registration("a", 0, address, 1, &topics));
    }
    namesrv.disconnected(3);
    assert!(route(&mut namesrv, "T").is_none());
    assert_eq!(ask_version(&mut namesrv, "a", "C", "2.2.2.2:1"), CHANGED_ALL);
    namesrv.handle(0, 2, &registration("a", 0, "2.2.2.2:1", 1, &topics));
    assert!(route(&mut namesrv, "T").is_some());
}

#[test]
fn a_broker_that_changed_its_cluster_or_name_is_found_and_goes_when_it_does() {
    let mut namesrv = Namesrv::new();
    let topics = [("T", 8), ("U", 8)];
    namesrv.handle(0, 1, &registration("a", 0, "1.1.1.1:1", 1, &topics));
    // Its cluster, before the old connection is known to be gone.
    namesrv.handle(0, 2, &of_cluster("D", registration("a", 0, "1.1.1.1:1", 1, &topics)));
    namesrv.disconnected(1);
    if route(&mut namesrv, "T").is_none() {
        assert_eq!(ask_version(&mut namesrv, "a", "D", "1.1.1.1:1"), CHANGED_ALL);
        namesrv.handle(0, 2, &of_cluster("D", registration("a", 0, "1.1.1.1:1", 1, &topics)));
    }
    assert!(route(&mut namesrv, "T").is_some());
    // Its name: the old one would have stayed for ever, with its topics.
    namesrv.handle(0, 3, &of_cluster("D", registration("b", 0, "1.1.1.1:1", 1, &topics)));
    let names = |namesrv: &mut Namesrv| {
        let route = route(namesrv, "T");
        route.map(|route| route.broker_datas.into_iter().map(|b| b.broker_name).collect::<Vec<_>>())
    };
    assert_eq!(names(&mut namesrv), Some(vec!["b".to_owned()]));
    let fields =
        [("brokerName", "wrong"), ("brokerAddr", "1.1.1.1:1"), ("clusterName", "D"), ("brokerId", "0")];
    assert_eq!(ask(&mut namesrv, RequestCode::UNREGISTER_BROKER, &fields).code, OK);
    assert_eq!(names(&mut namesrv), None);
    let info = ask(&mut namesrv, RequestCode::GET_BROKER_CLUSTER_INFO, &[]);
    assert_eq!(body::from_json::<ClusterInfo>(&info.body).unwrap(), ClusterInfo::default());
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

/// What a real Apache 5.5.0 answered; `tests/golden/namesrv.py` recorded it.
const RECORDED: &str = include_str!("../testdata/apache-5.5.0.txt");

fn frame(hex: &str) -> Command {
    let bytes: Vec<u8> =
        (0..hex.len()).step_by(2).map(|i| u8::from_str_radix(&hex[i..i + 2], 16).unwrap()).collect();
    kerolox_wire::frame::decode(&mut bytes.as_slice().into(), 1 << 24).unwrap().unwrap()
}

/// JSON with its lists in an order of their own: Apache's come out of hash tables.
fn in_order(body: &[u8]) -> serde_json::Value {
    fn sort(value: &mut serde_json::Value) {
        match value {
            serde_json::Value::Array(list) => {
                list.iter_mut().for_each(sort);
                list.sort_by_key(ToString::to_string);
            }
            serde_json::Value::Object(map) => map.values_mut().for_each(sort),
            _ => {}
        }
    }
    let mut value = if body.is_empty() { serde_json::Value::Null } else { body::from_json(body).unwrap() };
    sort(&mut value);
    value
}

fn compare(name: &str, how: &str, got: &Command, want: &Command) -> Option<String> {
    let text = |c: &Command| format!("{c:?} {}", String::from_utf8_lossy(&c.body));
    let same_body =
        |got: &[u8], want: &[u8]| if how == "exact" { got == want } else { in_order(got) == in_order(want) };
    let same = match how {
        "refused" => got.code == 1,
        "code" => got.code == want.code,
        _ => {
            (got.code, &got.remark, &got.fields) == (want.code, &want.remark, &want.fields)
                && same_body(&got.body, &want.body)
        }
    };
    (!same).then(|| format!("{name}\n   got {}\n  want {}", text(got), text(want)))
}

#[test]
fn answers_are_apaches() {
    let mut namesrv = Namesrv::new();
    let (mut now_ms, mut asked, mut different) = (1_700_000_000_000, 0, Vec::new());
    for line in RECORDED.lines() {
        let words: Vec<&str> = line.split(' ').collect();
        match words[..] {
            ["ask", name, conn, how, request, answer] => {
                let got = namesrv.handle(now_ms, conn.parse().unwrap(), &frame(request));
                different.extend(compare(name, how, &got, &frame(answer)));
                asked += 1;
            }
            ["close", conn] => namesrv.disconnected(conn.parse().unwrap()),
            ["wait", ms] => {
                now_ms += ms.parse::<i64>().unwrap();
                namesrv.tick(now_ms);
            }
            _ => panic!("{line}"),
        }
    }
    assert!(asked > 140, "{asked} questions");
    assert!(different.is_empty(), "{} of {asked} differ:\n{}", different.len(), different.join("\n"));
}

#[test]
fn the_table_of_codes_says_what_is_served() {
    use kerolox_wire::codes::{Plane, State};
    for row in RequestCode::ALL {
        let served = ask(&mut Namesrv::new(), row.code, &[]).code != 3;
        let said = row.planes.contains(&Plane::Namesrv) && row.state == State::Done;
        assert_eq!(served, said, "{:?}", row.code);
    }
}

#[test]
fn with_acting_masters_a_replica_stands_in_for_reading() {
    let config = NamesrvConfig { support_acting_master: true, ..NamesrvConfig::default() };
    let mut namesrv = Namesrv::with_config(config);
    let acting = |id: i64, address: &str| {
        let mut request = registration("a", id, address, 1, &[("T", 8), ("rmq_sys_SYNC_BROKER_MEMBER_a", 1)]);
        request.fields.push("enableActingMaster", "true");
        request
    };
    namesrv.handle(0, 1, &acting(0, "1.1.1.1:1"));
    namesrv.handle(0, 2, &acting(3, "3.3.3.3:1"));
    let addresses = |namesrv: &mut Namesrv, topic| {
        let route = route(namesrv, topic).unwrap();
        (
            route.broker_datas[0].broker_addrs.clone().into_iter().collect::<Vec<_>>(),
            route.queue_datas[0].perm,
        )
    };
    let both = vec![(0, "1.1.1.1:1".to_owned()), (3, "3.3.3.3:1".to_owned())];
    assert_eq!(addresses(&mut namesrv, "T"), (both, 6));
    namesrv.disconnected(1);
    assert_eq!(addresses(&mut namesrv, "T"), (vec![(0, "3.3.3.3:1".to_owned())], 4));
    // Brokers look for each other by such topics: they see things as they are.
    assert_eq!(addresses(&mut namesrv, "rmq_sys_SYNC_BROKER_MEMBER_a").0, [(3, "3.3.3.3:1".to_owned())]);
}

#[test]
fn registrations_can_drop_topics_if_so_configured() {
    for delete_topic_with_broker_registration in [false, true] {
        let mut namesrv = Namesrv::with_config(NamesrvConfig {
            delete_topic_with_broker_registration,
            ..NamesrvConfig::default()
        });
        namesrv.handle(0, 1, &registration("a", 0, "1.1.1.1:1", 1, &[("T", 8), ("U", 8)]));
        namesrv.handle(0, 1, &registration("a", 0, "1.1.1.1:1", 2, &[("U", 8), ("V", 8)]));
        assert_eq!(route(&mut namesrv, "T").is_none(), delete_topic_with_broker_registration);
        assert!(route(&mut namesrv, "U").is_some() && route(&mut namesrv, "V").is_some());
    }
}

#[test]
fn a_silent_broker_is_forgotten_when_it_is_due() {
    let mut namesrv = Namesrv::new();
    assert_eq!(namesrv.wake_ms(), None);
    namesrv.handle(1_000, 1, &registration("a", 0, "1.1.1.1:1", 1, &[("T", 8), ("V", 4)]));
    assert_eq!(namesrv.wake_ms(), Some(1_000 + BROKER_EXPIRY_MS + 1));
    let fields = [("brokerName", "a"), ("brokerAddr", "1.1.1.1:1"), ("clusterName", "C")];
    let mut beat = Command::request(RequestCode::BROKER_HEARTBEAT);
    fields.iter().for_each(|(name, value)| beat.fields.push(name, value));
    namesrv.handle(5_000, 1, &beat);
    let due = namesrv.wake_ms().unwrap();
    assert_eq!(due, 5_000 + BROKER_EXPIRY_MS + 1);
    namesrv.tick(due - 1);
    assert!(route(&mut namesrv, "T").is_some());
    namesrv.tick(due);
    assert!(route(&mut namesrv, "T").is_none());
    // A time-out beyond all measure is no overflow.
    let mut forever = registration("a", 0, "1.1.1.1:1", 1, &[("T", 8), ("V", 4)]);
    forever.fields.push("heartbeatTimeoutMillis", &i64::MAX.to_string());
    namesrv.handle(due, 1, &forever);
    assert_eq!(namesrv.wake_ms(), Some(i64::MAX));
}

#[test]
fn names_and_numbers_have_limits() {
    let mut namesrv = Namesrv::new();
    let long = "n".repeat(limits::NAME_BYTES_MAX + 1);
    for (name, address) in [(&*long, "1.1.1.1:1"), ("a", &*long), ("a\nb", "1.1.1.1:1"), ("a", "1.1.1.1\0:1")]
    {
        let answer = namesrv.handle(0, 1, &registration(name, 0, address, 1, &[("T", 8), ("V", 4)]));
        assert_eq!(answer.code, 1, "{name} {address}");
        assert!(answer.remark.unwrap().starts_with("a name or address "));
    }
    // A topic that could not be asked for is left out, the others stay.
    let long = "t".repeat(limits::TOPIC_BYTES_MAX + 1);
    let odd = [("T", 8), (&*long, 8), ("a\u{1}b", 8), ("", 8), ("broker.example.com", 1)];
    assert_eq!(namesrv.handle(0, 1, &registration("a", 0, "1.1.1.1:1", 1, &odd)).code, OK);
    let all = ask(&mut namesrv, RequestCode::GET_ALL_TOPIC_LIST_FROM_NAMESERVER, &[]);
    assert_eq!(body::from_json::<TopicList>(&all.body).unwrap().topic_list, ["T", "broker.example.com"]);

    for i in 1..limits::BROKERS_MAX {
        let name = format!("b{i}");
        assert_eq!(namesrv.handle(0, 1, &registration(&name, 0, &name, 1, &[])).code, OK);
    }
    let answer = namesrv.handle(0, 1, &registration("more", 0, "more", 1, &[]));
    assert_eq!((answer.code, &*answer.remark.unwrap()), (1, "there are 4096 brokers already"));
    assert_eq!(namesrv.handle(0, 1, &registration("b7", 0, "b7", 2, &[])).code, OK, "a known one goes on");

    let value = "v".repeat(limits::KV_BYTES_MAX + 1);
    let pair = [("namespace", "n"), ("key", "k"), ("value", &*value)];
    assert_eq!(ask(&mut namesrv, RequestCode::PUT_KV_CONFIG, &pair).code, 1);
    let table = (0..limits::KV_PAIRS_MAX).map(|i| (i.to_string(), String::new())).collect();
    namesrv.set_kv([("n".to_owned(), table)].into());
    let pair = |key| [("namespace", "n"), ("key", key), ("value", "v")];
    assert_eq!(ask(&mut namesrv, RequestCode::PUT_KV_CONFIG, &pair("new")).code, 1);
    assert_eq!(ask(&mut namesrv, RequestCode::PUT_KV_CONFIG, &pair("7")).code, OK);
}

#[test]
fn what_brokers_say_beside_their_topics_has_limits() {
    let mut namesrv = Namesrv::new();
    let mut say = |address: &str, change: &dyn Fn(&mut RegisterBrokerBody)| {
        let mut request = registration("a", 0, address, 1, &[("T", 8), ("U", 8)]);
        let mut body: RegisterBrokerBody = body::from_json(&request.body).unwrap();
        change(&mut body);
        request = request.with_body(body::to_json(&body));
        request.fields.push("bodyCrc32", "0");
        let answer = namesrv.handle(0, 1, &request);
        (answer.code, answer.remark.unwrap_or_default(), route(&mut namesrv, "T"))
    };
    let mapping = |bname: &str, queues: usize| TopicQueueMappingInfo {
        bname: bname.to_owned(),
        curr_id_map: (0..queues as i32).map(|id| (id, id)).collect(),
        ..TopicQueueMappingInfo::default()
    };
    let (code, why, _) = say("1.1.1.1:1", &|body| {
        body.filter_server_list = vec![String::new(); limits::FILTER_SERVERS_MAX + 1];
    });
    assert_eq!((code, &*why), (1, "more than 64 filter servers"));
    let (code, why, _) = say("1.1.1.1:1", &|body| body.filter_server_list = vec!["f".repeat(256)]);
    assert_eq!((code, &*why), (1, "a name or address is longer than 255 bytes"));
    let (code, why, _) = say("1.1.1.1:1", &|body| {
        let map = &mut body.topic_config_serialize_wrapper.topic_queue_mapping_info_map;
        map.insert("T".to_owned(), mapping("a", limits::MAPPED_MAX));
    });
    assert_eq!((code, &*why), (1, "there would be more than 1000000 mapped queues"));
    // Another name's mapping would have stayed when this broker goes.
    let (code, _, route) = say("1.1.1.1:1", &|body| {
        let map = &mut body.topic_config_serialize_wrapper.topic_queue_mapping_info_map;
        map.insert("T".to_owned(), mapping("b", 1));
        map.insert("U".to_owned(), mapping("a", 1));
    });
    assert_eq!((code, route.unwrap().topic_queue_mapping_by_broker), (OK, None));
}

/// Each pair within its limit, they were as long as gigabytes together.
#[test]
fn key_value_pairs_have_a_limit_together_and_so_has_their_file() {
    let mut namesrv = Namesrv::new();
    let value = "v".repeat(limits::KV_BYTES_MAX);
    let fits = limits::KV_ALL_BYTES_MAX / limits::KV_BYTES_MAX - 1;
    let table = |pairs: usize| (0..pairs).map(|i| (i.to_string(), value.clone())).collect();
    namesrv.set_kv([("n".to_owned(), table(fits))].into());
    let pair = |key| [("namespace", "n"), ("key", key), ("value", &*value)];
    assert_eq!(ask(&mut namesrv, RequestCode::PUT_KV_CONFIG, &pair("0")).code, OK, "it is there already");
    let refused = ask(&mut namesrv, RequestCode::PUT_KV_CONFIG, &pair("new"));
    let why = "all pairs together are longer than 67108864 bytes";
    assert_eq!((refused.code, refused.remark.as_deref()), (1, Some(why)));
    let file = kv_file(namesrv.kv());
    assert_eq!(kv_of_file(&file).as_ref(), Ok(namesrv.kv()));
    assert_eq!(kv_of_file(&kv_file(&[("n".to_owned(), table(fits + 1))].into())), Err(why.to_owned()));
    for (file, error) in [
        (&b"{\"configTable\":{\"n\":{\"k\":7}}}"[..], "invalid type"),
        (b"{\"configTable\":", "EOF"),
        (&[b'['; 1000], "invalid type"),
    ] {
        let why = kv_of_file(file).unwrap_err();
        assert!(why.contains(error), "{why}");
    }
}

#[test]
fn too_many_topics_are_refused_and_nothing_of_them_stays() {
    let mut namesrv = Namesrv::new();
    let names: Vec<String> = (0..=limits::BROKER_TOPICS_MAX).map(|i| format!("t{i}")).collect();
    let topics: Vec<(&str, i32)> = names.iter().map(|name| (name.as_str(), 1)).collect();
    let answer = namesrv.handle(0, 1, &registration("a", 0, "1.1.1.1:1", 1, &topics));
    assert_eq!((answer.code, &*answer.remark.unwrap()), (1, "more than 200000 topics on one broker"));
    assert!(route(&mut namesrv, "t0").is_none());
    for (i, broker) in ["b", "c", "d", "e", "f", "g"].into_iter().enumerate() {
        let names: Vec<String> = (0..limits::BROKER_TOPICS_MAX).map(|t| format!("{broker}{t}")).collect();
        let topics: Vec<(&str, i32)> = names.iter().map(|name| (name.as_str(), 1)).collect();
        let answer = namesrv.handle(0, 1, &registration(broker, 0, broker, 1, &topics));
        let fits = (i + 1) * limits::BROKER_TOPICS_MAX <= limits::TOPICS_MAX;
        assert_eq!(answer.code == OK, fits, "{broker}: {:?}", answer.remark);
        assert_eq!(route(&mut namesrv, &names[0]).is_some(), fits);
    }
}
