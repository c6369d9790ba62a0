use super::*;

/// What Apache 5.5.0 writes, and that our reading and writing of it gives the same bytes.
fn same<T: Serialize + DeserializeOwned + PartialEq + std::fmt::Debug>(fastjson: &str) -> T {
    let value: T = from_json(fastjson.as_bytes()).unwrap();
    assert_eq!(String::from_utf8(to_fastjson(&value)).unwrap(), fastjson);
    let standard = to_json(&value);
    assert_eq!(serde_json::from_slice::<T>(&standard).unwrap(), value);
    value
}

#[test]
fn heartbeat() {
    let data: HeartbeatData = same(
        r#"{"clientID":"1.2.3.4@5","consumerDataSet":[{"consumeFromWhere":"CONSUME_FROM_LAST_OFFSET","consumeType":"CONSUME_PASSIVELY","groupName":"CG","messageModel":"CLUSTERING","subscriptionDataSet":[{"classFilterMode":false,"codeSet":[65,66],"expressionType":"TAG","subString":"A||B","subVersion":1700000000000,"tagsSet":["A","B"],"topic":"T"}],"unitMode":false}],"heartbeatFingerprint":0,"producerDataSet":[{"groupName":"PG"}],"withoutSub":false}"#,
    );
    let consumer = &data.consumer_data_set[0];
    assert_eq!(consumer.consume_type, Some(ConsumeType::Passively));
    assert_eq!(consumer.subscription_data_set[0].code_set, [65, 66]);
}

#[test]
fn heartbeat_with_ordinals_nulls_and_unknown_members() {
    let body = br#"{"clientID":"c","what":{"ever":[1]},"producerDataSet":null,"consumerDataSet":[{"consumeFromWhere":4,
        "consumeType":1,"messageModel":99,"groupName":"g","subscriptionDataSet":null}]}"#;
    let data: HeartbeatData = from_json(body).unwrap();
    assert!(data.producer_data_set.is_empty());
    let consumer = &data.consumer_data_set[0];
    assert_eq!(consumer.consume_from_where, Some(ConsumeFromWhere::FirstOffset));
    assert_eq!((consumer.consume_type, consumer.message_model), (Some(ConsumeType::Passively), None));
}

#[test]
fn heartbeats_of_the_go_and_cpp_clients_quote_numbers() {
    let body = br#"{"clientID":"c","producerDataSet":[],"consumerDataSet":[{"consumeFromWhere":"CONSUME_FROM_FIRST_OFFSET",
        "consumeType":"CONSUME_PASSIVELY","messageModel":"CLUSTERING","groupName":"g","unitMode":"true","subscriptionDataSet":[
        {"topic":"T","subString":"A||B","subVersion":"1700000000000","tagsSet":["A","B"],"codeSet":["65","-2147483648"]},
        {"topic":"U","subString":"*","subVersion":"","tagsSet":null,"codeSet":null}]}]}"#;
    let data: HeartbeatData = from_json(body).unwrap();
    let subscriptions = &data.consumer_data_set[0].subscription_data_set;
    assert!(data.consumer_data_set[0].unit_mode);
    assert_eq!(subscriptions[0].code_set, [65, i32::MIN]);
    assert_eq!(subscriptions[0].sub_version, 1_700_000_000_000);
    assert_eq!((subscriptions[1].sub_version, subscriptions[1].code_set.len()), (0, 0));
    assert!(from_json::<SubscriptionData>(br#"{"subVersion":"many"}"#).is_err());
    assert!(from_json::<SubscriptionData>(br#"{"codeSet":["2147483648"]}"#).is_err());
}

#[test]
fn locks_and_lists() {
    let lock: LockBatchRequestBody = same(
        r#"{"clientId":"id","consumerGroup":"CG","mqSet":[{"brokerName":"b","queueId":1,"topic":"T"}],"onlyThisBroker":false}"#,
    );
    assert_eq!(lock.mq_set[0].queue_id, 1);
    same::<LockBatchResponseBody>(r#"{"lockOKMQSet":[{"brokerName":"b","queueId":1,"topic":"T"}]}"#);
    same::<GetConsumerListByGroupResponseBody>(r#"{"consumerIdList":["a","b"]}"#);
    same::<TopicList>(r#"{"topicList":["T"]}"#);
    same::<KvTable>(r#"{"table":{"k":"v"}}"#);
    let group: SubscriptionGroupConfig = from_json(b"{}").unwrap();
    assert_eq!(group, SubscriptionGroupConfig::default());
    assert_eq!(
        String::from_utf8(to_fastjson(&SubscriptionGroupConfig { group_name: "G".into(), ..group })).unwrap(),
        r#"{"attributes":{},"brokerId":0,"consumeBroadcastEnable":true,"consumeEnable":true,"consumeFromMinEnable":true,"consumeMessageOrderly":false,"consumeTimeoutMinute":15,"groupName":"G","groupRetryPolicy":{"type":"CUSTOMIZED"},"groupSysFlag":0,"notifyConsumerIdsChangedEnable":true,"retryMaxTimes":16,"retryQueueNums":1,"whichBrokerWhenConsumeSlowly":1}"#
    );
}

#[test]
fn routes_have_bare_integer_keys() {
    let route: TopicRouteData = same(
        r#"{"brokerDatas":[{"brokerAddrs":{0:"127.0.0.1:10911",1:"127.0.0.1:20911"},"brokerName":"b","cluster":"cl","enableActingMaster":false}],"filterServerTable":{},"queueDatas":[{"brokerName":"b","perm":6,"readQueueNums":4,"topicSysFlag":0,"writeQueueNums":4}],"topicQueueMappingByBroker":{"b":{"bname":"b","currIdMap":{0:1},"dirty":false,"epoch":9,"scope":"__global__","topic":"T","totalQueues":4}}}"#,
    );
    assert_eq!(route.broker_datas[0].broker_addrs[&1], "127.0.0.1:20911");
    let standard = String::from_utf8(to_json(&route)).unwrap();
    assert!(standard.contains(r#"{"0":"127.0.0.1:10911","1":"127.0.0.1:20911"}"#), "{standard}");
    same::<ClusterInfo>(
        r#"{"brokerAddrTable":{"b":{"brokerAddrs":{0:"127.0.0.1:10911"},"brokerName":"b","cluster":"cl","enableActingMaster":false}},"clusterAddrTable":{"cl":["b"]}}"#,
    );
    same::<BrokerMemberGroup>(r#"{"brokerAddrs":{0:"x:1"},"brokerName":"b","cluster":"cl"}"#);
}

const COMPRESSED: &str = "78da2d8e4b0bc2301084a3bfa4ccd5280a3e30370f52041fa8c58b4848d3d516daa624e9414affbb5164195866e71b9631c63b68d3d69e2cc48ac379e5e946d615a6869871f8a2a260560dc4a2678c0d82c649340fb38caebb63bcdfca6413471d4621e8d48b26fedd10048ea7cb61b3c7171ade1f7f34ef90d6aafade5370e8d6da5d7650a1bd9b8a59cf9115d6bf219eaa74c4418dd139c43a3ca6cdaf55ca576952554a19706f9a420733f9ed5e95e7965a7210f3fe033c303f58";

#[test]
fn registrations_in_both_forms() {
    let text = r#"{"filterServerList":[],"topicConfigSerializeWrapper":{"dataVersion":{"counter":7,"stateVersion":1,"timestamp":5},"mappingDataVersion":{"counter":0,"stateVersion":0,"timestamp":6},"topicConfigTable":{"T":{"attributes":{"+message.type":"NORMAL"},"order":false,"perm":6,"readQueueNums":4,"topicFilterType":"SINGLE_TAG","topicName":"T","topicSysFlag":0,"writeQueueNums":4}},"topicQueueMappingInfoMap":{"T":{"bname":"b","currIdMap":{0:1},"dirty":false,"epoch":9,"scope":"__global__","topic":"T","totalQueues":4}}}}"#;
    let plain: RegisterBrokerBody = same(text);
    let bytes: Vec<u8> = (0..COMPRESSED.len())
        .step_by(2)
        .map(|i| u8::from_str_radix(&COMPRESSED[i..i + 2], 16).unwrap())
        .collect();
    let mut compressed = RegisterBrokerBody::read(&bytes, true).unwrap();
    // The compressed form does not carry it.
    compressed.topic_config_serialize_wrapper.mapping_data_version.timestamp = 6;
    assert_eq!(compressed, plain);
    assert_eq!(RegisterBrokerBody::read(text.as_bytes(), false).unwrap(), plain);
    for cut in 0..bytes.len() {
        assert!(RegisterBrokerBody::read(&bytes[..cut], true).is_err(), "cut at {cut}");
    }
}

#[test]
fn a_compressed_registration_that_says_it_is_not_is_read() {
    let bytes: Vec<u8> = (0..COMPRESSED.len())
        .step_by(2)
        .map(|i| u8::from_str_radix(&COMPRESSED[i..i + 2], 16).unwrap())
        .collect();
    let said = RegisterBrokerBody::read(&bytes, true).unwrap();
    assert_eq!(RegisterBrokerBody::read(&bytes, false).unwrap(), said);
    assert_eq!(said.topic_config_serialize_wrapper.topic_config_table.len(), 1);
}

#[test]
fn a_compression_bomb_is_refused() {
    let bomb = miniz_oxide::deflate::compress_to_vec_zlib(&vec![0u8; REGISTRATION_BYTES_MAX + 1], 9);
    assert!(bomb.len() < 100_000);
    assert!(matches!(RegisterBrokerBody::read(&bomb, true), Err(BodyError::Compressed(_))));
}

#[test]
fn keys_that_are_objects_become_strings() {
    use std::collections::BTreeMap;
    let body = br#"{"offsetTable":{{"brokerName":"b:\"{}","queueId":0,"topic":"T"}:{"a":1},{"x":2}:3}, "n":{-1:2, 7 :[{0:1}]}}"#;
    let value: BTreeMap<String, serde_json::Value> = from_json(body).unwrap();
    let table = value["offsetTable"].as_object().unwrap();
    assert_eq!(table.len(), 2);
    assert_eq!(table[r#"{"x":2}"#], 3);
    let key = table.keys().next().unwrap();
    let queue: MessageQueue = serde_json::from_str(key).unwrap();
    assert_eq!(queue, MessageQueue { broker_name: "b:\"{}".into(), queue_id: 0, topic: "T".into() });
    assert_eq!(value["n"]["-1"], 2);
}

#[test]
fn keys_that_are_strings_keep_their_quotes() {
    use std::collections::BTreeMap;
    let strings = BTreeMap::from([("", 1), ("0", 2), ("a\"b\\\n", 3), ("ä", 4)]);
    assert_eq!(to_fastjson(&strings), serde_json::to_vec(&strings).unwrap());
    let nested = BTreeMap::from([(-5i64, BTreeMap::from([("1", vec![1, 2])]))]);
    assert_eq!(String::from_utf8(to_fastjson(&nested)).unwrap(), r#"{-5:{"1":[1,2]}}"#);
}

#[test]
fn what_is_no_json_is_refused_whatever_its_depth() {
    for text in
        ["", "{", "[", "{0", "{0:", "{{", "{{{{:1}", "nonsense", "{\"a\":}", "{0:1}}", "{:1}", "\"", "{\"\\"]
    {
        assert!(from_json::<HeartbeatData>(text.as_bytes()).is_err(), "{text}");
    }
    for deep in ["[".repeat(1 << 20), "{".repeat(1 << 20), "{0:".repeat(1 << 20), "{\"a\":".repeat(1 << 20)] {
        assert!(from_json::<serde_json::Value>(deep.as_bytes()).is_err());
    }
}

#[test]
fn lite_topics() {
    same::<GetBrokerLiteInfoResponseBody>(
        r#"{"cqTableSize":8,"currentLmqNum":3,"eventMapSize":1,"groupMeta":{"P":["g"]},"liteSubscriptionCount":3,"maxLmqNum":20000,"offsetTableSize":2,"orderInfoCount":2,"storeType":"default","topicMeta":{"P":20}}"#,
    );
    same::<GetParentTopicInfoResponseBody>(
        r#"{"groups":["g"],"liteTopicCount":3,"lmqNum":3,"topic":"P","ttl":20}"#,
    );
    same::<GetLiteTopicInfoResponseBody>(
        r#"{"liteTopic":"a","parentTopic":"P","shardingToBroker":true,"subscriber":[{"clientId":"c1","group":"g"}],"topicOffset":{"lastUpdateTimestamp":1795839491312,"maxOffset":3,"minOffset":0}}"#,
    );
    same::<GetLiteClientInfoResponseBody>(
        r#"{"clientId":"c1","group":"g","lastAccessTime":1795839492319,"lastConsumeTime":0,"liteTopicCount":2,"liteTopicSet":["%LMQ%$P$a","%LMQ%$P$b"],"parentTopic":"P"}"#,
    );
    same::<GetLiteGroupInfoResponseBody>(
        r#"{"earliestUnconsumedTimestamp":1795839491312,"group":"g","liteTopic":"a","liteTopicOffsetWrapper":{"brokerOffset":3,"consumerOffset":2,"lastTimestamp":1795839490266,"pullOffset":0},"parentTopic":"P","totalLagCount":1}"#,
    );
    same::<GetLiteGroupInfoResponseBody>(
        r#"{"earliestUnconsumedTimestamp":-1,"group":"g","lagCountTopK":[{"earliestUnconsumedTimestamp":1795839491312,"lagCount":1,"liteTopic":"a"}],"lagTimestampTopK":[],"parentTopic":"P","totalLagCount":2}"#,
    );
    let body = br#"{"subscriptionSet":[{"action":"PARTIAL_ADD","clientId":"c","group":"g","liteTopicSet":null,"topic":"P","offsetOption":{"type":"TAIL_N","value":3},"version":1}]}"#;
    let body: LiteSubscriptionCtlRequestBody = from_json(body).unwrap();
    let option = body.subscription_set[0].offset_option.as_ref().unwrap();
    assert_eq!((&*option.kind, option.value), ("TAIL_N", 3));
}
