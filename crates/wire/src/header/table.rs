//! The headers, one row each. Field names are Apache's long names in snake case; every field that Apache requires is
//! required here. Source: the classes of `org.apache.rocketmq.remoting.protocol.header`.

use crate::fields::Fields;
use crate::header::Value;

headers! {
    /// `SEND_MESSAGE` 10 (long names), `SEND_MESSAGE_V2` 310 and `SEND_BATCH_MESSAGE` 320 (letters); all of them are
    /// read under either name. [`SendMessage::encode_v2`] writes the letters.
    SendMessage {
        producer_group: &'a str = "producerGroup" | "a",
        topic: &'a str = "topic" | "b",
        /// The topic whose settings a topic that is created by this send takes over.
        default_topic: &'a str = "defaultTopic" | "c",
        default_topic_queue_nums: i32 = "defaultTopicQueueNums" | "d",
        /// -1: any.
        queue_id: i32 = "queueId" | "e",
        sys_flag: i32 = "sysFlag" | "f",
        born_timestamp: i64 = "bornTimestamp" | "g",
        flag: i32 = "flag" | "h",
        /// Encoded; see [`crate::properties`].
        properties: Option<&'a str> = "properties" | "i",
        reconsume_times: Option<i32> = "reconsumeTimes" | "j",
        unit_mode: Option<bool> = "unitMode" | "k",
        max_reconsume_times: Option<i32> = "maxReconsumeTimes" | "l",
        batch: Option<bool> = "batch" | "m",
        broker_name: Option<&'a str> = "bname" | "n",
    }

    SendMessageResponse {
        /// Offset message id; of a batch all of them, separated by commas.
        msg_id: &'a str = "msgId",
        queue_id: i32 = "queueId",
        queue_offset: i64 = "queueOffset",
        transaction_id: Option<&'a str> = "transactionId",
        batch_uniq_id: Option<&'a str> = "batchUniqId",
        recall_handle: Option<&'a str> = "recallHandle",
    }

    /// `PULL_MESSAGE` 11 and `LITE_PULL_MESSAGE` 361.
    PullMessage {
        consumer_group: &'a str = "consumerGroup",
        topic: &'a str = "topic",
        queue_id: i32 = "queueId",
        queue_offset: i64 = "queueOffset",
        max_msg_nums: i32 = "maxMsgNums",
        /// Bits: see [`crate::sys_flag::pull`].
        sys_flag: i32 = "sysFlag",
        commit_offset: i64 = "commitOffset",
        suspend_timeout_millis: i64 = "suspendTimeoutMillis",
        subscription: Option<&'a str> = "subscription",
        sub_version: i64 = "subVersion",
        expression_type: Option<&'a str> = "expressionType",
        max_msg_bytes: Option<i32> = "maxMsgBytes",
        request_source: Option<i32> = "requestSource",
        /// Spelled so.
        proxy_forward_client_id: Option<&'a str> = "proxyFrowardClientId",
        lite_topic: Option<&'a str> = "liteTopic",
        broker_name: Option<&'a str> = "bname",
    }

    /// `PUSH_REPLY_MESSAGE_TO_CLIENT` 326: a reply, as its asker gets it.
    ReplyMessage {
        producer_group: &'a str = "producerGroup",
        topic: &'a str = "topic",
        default_topic: &'a str = "defaultTopic",
        default_topic_queue_nums: i32 = "defaultTopicQueueNums",
        queue_id: i32 = "queueId",
        sys_flag: i32 = "sysFlag",
        born_timestamp: i64 = "bornTimestamp",
        flag: i32 = "flag",
        /// Encoded; see [`crate::properties`].
        properties: Option<&'a str> = "properties",
        reconsume_times: Option<i32> = "reconsumeTimes",
        unit_mode: Option<bool> = "unitMode",
        /// Who replied, `HOST:PORT`.
        born_host: &'a str = "bornHost",
        store_host: &'a str = "storeHost",
        store_timestamp: i64 = "storeTimestamp",
    }

    PullMessageResponse {
        suggest_which_broker_id: i64 = "suggestWhichBrokerId",
        next_begin_offset: i64 = "nextBeginOffset",
        min_offset: i64 = "minOffset",
        max_offset: i64 = "maxOffset",
        offset_delta: Option<i64> = "offsetDelta",
        topic_sys_flag: Option<i32> = "topicSysFlag",
        group_sys_flag: Option<i32> = "groupSysFlag",
        forbidden_type: Option<i32> = "forbiddenType",
    }

    /// `POP_MESSAGE` 200050.
    PopMessage {
        consumer_group: &'a str = "consumerGroup",
        topic: &'a str = "topic",
        /// Negative: any.
        queue_id: i32 = "queueId",
        max_msg_nums: i32 = "maxMsgNums",
        invisible_time: i64 = "invisibleTime",
        /// How long to wait for a message, in milliseconds.
        poll_time: i64 = "pollTime",
        /// By the client's clock.
        born_time: i64 = "bornTime",
        /// Where a group without an offset begins: 0 at the first message, 1 at the last.
        init_mode: i32 = "initMode",
        exp_type: Option<&'a str> = "expType",
        exp: Option<&'a str> = "exp",
        order: Option<bool> = "order",
        attempt_id: Option<&'a str> = "attemptId",
        broker_name: Option<&'a str> = "bname",
    }

    /// The answer to `POP_MESSAGE` 200050 and `PEEK_MESSAGE` 200052; for the texts see [`crate::receipt`].
    PopMessageResponse {
        pop_time: i64 = "popTime",
        invisible_time: i64 = "invisibleTime",
        revive_qid: i32 = "reviveQid",
        /// Messages that wait behind those of the answer.
        rest_num: i64 = "restNum",
        start_offset_info: Option<&'a str> = "startOffsetInfo",
        msg_offset_info: Option<&'a str> = "msgOffsetInfo",
        order_count_info: Option<&'a str> = "orderCountInfo",
    }

    /// `ACK_MESSAGE` 200051.
    AckMessage {
        consumer_group: &'a str = "consumerGroup",
        /// The topic in which the message really lies.
        topic: &'a str = "topic",
        queue_id: i32 = "queueId",
        /// The receipt.
        extra_info: &'a str = "extraInfo",
        offset: i64 = "offset",
        lite_topic: Option<&'a str> = "liteTopic",
        /// Kerolox' own: it is no success if the message is not in flight with this receipt (any more).
        in_flight: Option<bool> = "inFlight",
        broker_name: Option<&'a str> = "bname",
    }

    /// `POP_LITE_MESSAGE` 200070. Answered with [`PopMessageResponse`].
    PopLiteMessage {
        client_id: &'a str = "clientId",
        consumer_group: &'a str = "consumerGroup",
        /// The parent topic.
        topic: &'a str = "topic",
        max_msg_num: i32 = "maxMsgNum",
        invisible_time: i64 = "invisibleTime",
        /// How long to wait for a message, in milliseconds.
        poll_time: i64 = "pollTime",
        /// By the client's clock.
        born_time: i64 = "bornTime",
        attempt_id: Option<&'a str> = "attemptId",
        broker_name: Option<&'a str> = "bname",
    }

    /// `NOTIFY_UNSUBSCRIBE_LITE` 200073.
    NotifyUnsubscribeLite {
        lite_topic: &'a str = "liteTopic",
        consumer_group: &'a str = "consumerGroup",
        client_id: &'a str = "clientId",
    }

    /// `GET_LITE_TOPIC_INFO` 200076.
    GetLiteTopicInfo {
        parent_topic: &'a str = "parentTopic",
        lite_topic: &'a str = "liteTopic",
    }

    /// `GET_LITE_CLIENT_INFO` 200077.
    GetLiteClientInfo {
        parent_topic: &'a str = "parentTopic",
        group: &'a str = "group",
        client_id: &'a str = "clientId",
        /// Lite topics to name.
        max_count: Option<i32> = "maxCount",
    }

    /// `GET_LITE_GROUP_INFO` 200078.
    GetLiteGroupInfo {
        group: &'a str = "group",
        lite_topic: Option<&'a str> = "liteTopic",
        /// Lite topics to name.
        top_k: Option<i32> = "topK",
    }

    /// `TRIGGER_LITE_DISPATCH` 200079.
    TriggerLiteDispatch {
        group: &'a str = "group",
        /// All of the group without.
        client_id: Option<&'a str> = "clientId",
    }

    /// `CHANGE_MESSAGE_INVISIBLETIME` 200053.
    ChangeInvisibleTime {
        consumer_group: &'a str = "consumerGroup",
        /// The topic in which the message really lies.
        topic: &'a str = "topic",
        queue_id: i32 = "queueId",
        /// The receipt.
        extra_info: &'a str = "extraInfo",
        offset: i64 = "offset",
        /// From now on.
        invisible_time: i64 = "invisibleTime",
        lite_topic: Option<&'a str> = "liteTopic",
        /// It was not tried: the next delivery counts as this one.
        suspend: Option<bool> = "suspend",
        /// Kerolox' own: the receipt stays as it is, whoever has it need not be told.
        keep_receipt: Option<bool> = "keepReceipt",
        broker_name: Option<&'a str> = "bname",
    }

    ChangeInvisibleTimeResponse {
        pop_time: i64 = "popTime",
        invisible_time: i64 = "invisibleTime",
        revive_qid: i32 = "reviveQid",
    }

    /// `PEEK_MESSAGE` 200052.
    PeekMessage {
        consumer_group: &'a str = "consumerGroup",
        topic: &'a str = "topic",
        queue_id: i32 = "queueId",
        max_msg_nums: i32 = "maxMsgNums",
        broker_name: Option<&'a str> = "bname",
    }

    /// `NOTIFICATION` 200054: whether there is something to pop.
    Notification {
        consumer_group: &'a str = "consumerGroup",
        topic: &'a str = "topic",
        queue_id: i32 = "queueId",
        poll_time: i64 = "pollTime",
        born_time: i64 = "bornTime",
        order: Option<bool> = "order",
        attempt_id: Option<&'a str> = "attemptId",
        broker_name: Option<&'a str> = "bname",
    }

    NotificationResponse {
        has_msg: bool = "hasMsg",
        polling_full: bool = "pollingFull",
    }

    /// `POLLING_INFO` 200055: how many wait for messages of a queue.
    PollingInfo {
        consumer_group: &'a str = "consumerGroup",
        topic: &'a str = "topic",
        queue_id: i32 = "queueId",
        broker_name: Option<&'a str> = "bname",
    }

    PollingInfoResponse {
        polling_num: i32 = "pollingNum",
    }

    /// `CONSUMER_SEND_MSG_BACK` 36.
    ConsumerSendMsgBack {
        /// Position of the message in the log.
        offset: i64 = "offset",
        group: &'a str = "group",
        /// 0: the broker decides by the number of attempts; negative: to the dead-letter queue at once.
        delay_level: i32 = "delayLevel",
        origin_msg_id: Option<&'a str> = "originMsgId",
        origin_topic: Option<&'a str> = "originTopic",
        unit_mode: Option<bool> = "unitMode",
        max_reconsume_times: Option<i32> = "maxReconsumeTimes",
        broker_name: Option<&'a str> = "bname",
    }

    /// `QUERY_CONSUMER_OFFSET` 14.
    QueryConsumerOffset {
        consumer_group: &'a str = "consumerGroup",
        topic: &'a str = "topic",
        queue_id: i32 = "queueId",
        set_zero_if_not_found: Option<bool> = "setZeroIfNotFound",
        broker_name: Option<&'a str> = "bname",
    }

    /// `UPDATE_CONSUMER_OFFSET` 15.
    UpdateConsumerOffset {
        consumer_group: &'a str = "consumerGroup",
        topic: &'a str = "topic",
        queue_id: i32 = "queueId",
        commit_offset: i64 = "commitOffset",
        broker_name: Option<&'a str> = "bname",
    }

    /// `GET_MIN_OFFSET` 31 and `GET_EARLIEST_MSG_STORETIME` 32.
    TopicQueue {
        topic: &'a str = "topic",
        queue_id: i32 = "queueId",
        broker_name: Option<&'a str> = "bname",
    }

    /// `GET_MAX_OFFSET` 30. An early Go client sends its `SEARCH_OFFSET_BY_TIMESTAMP` under this number: then with a `timestamp`.
    GetMaxOffset {
        topic: &'a str = "topic",
        queue_id: i32 = "queueId",
        committed: Option<bool> = "committed",
        timestamp: Option<i64> = "timestamp",
        broker_name: Option<&'a str> = "bname",
    }

    /// `SEARCH_OFFSET_BY_TIMESTAMP` 29.
    SearchOffset {
        topic: &'a str = "topic",
        queue_id: i32 = "queueId",
        timestamp: i64 = "timestamp",
        /// `LOWER` (also when absent) or `UPPER`, in any case.
        boundary_type: Option<&'a str> = "boundaryType",
        lite_topic: Option<&'a str> = "liteTopic",
        broker_name: Option<&'a str> = "bname",
    }

    /// The answer to 14, 29, 30 and 31.
    OffsetResponse {
        offset: i64 = "offset",
    }

    /// The answer to `GET_EARLIEST_MSG_STORETIME` 32.
    TimestampResponse {
        timestamp: i64 = "timestamp",
    }

    /// `END_TRANSACTION` 37.
    EndTransaction {
        topic: Option<&'a str> = "topic",
        producer_group: &'a str = "producerGroup",
        /// Offset of the half message in the half topic's queue.
        tran_state_table_offset: i64 = "tranStateTableOffset",
        /// Position of the half message in the log.
        commit_log_offset: i64 = "commitLogOffset",
        /// One of the transaction values of [`crate::sys_flag`]; 0: not decided.
        commit_or_rollback: i32 = "commitOrRollback",
        from_transaction_check: Option<bool> = "fromTransactionCheck",
        msg_id: &'a str = "msgId",
        transaction_id: Option<&'a str> = "transactionId",
        broker_name: Option<&'a str> = "bname",
    }

    /// `CHECK_TRANSACTION_STATE` 39.
    CheckTransactionState {
        topic: Option<&'a str> = "topic",
        tran_state_table_offset: i64 = "tranStateTableOffset",
        commit_log_offset: i64 = "commitLogOffset",
        msg_id: Option<&'a str> = "msgId",
        transaction_id: Option<&'a str> = "transactionId",
        offset_msg_id: Option<&'a str> = "offsetMsgId",
        broker_name: Option<&'a str> = "bname",
    }

    /// `RESUME_CHECK_HALF_MESSAGE` 323.
    ResumeCheckHalfMessage {
        /// The offset message id of the half message that was given up.
        msg_id: &'a str = "msgId",
        topic: Option<&'a str> = "topic",
    }

    /// `RECALL_MESSAGE` 370.
    RecallMessage {
        producer_group: Option<&'a str> = "producerGroup",
        topic: &'a str = "topic",
        /// See [`crate::recall`].
        recall_handle: &'a str = "recallHandle",
        broker_name: Option<&'a str> = "bname",
    }

    RecallMessageResponse {
        msg_id: &'a str = "msgId",
    }

    /// `UNREGISTER_CLIENT` 35.
    UnregisterClient {
        client_id: &'a str = "clientID",
        producer_group: Option<&'a str> = "producerGroup",
        consumer_group: Option<&'a str> = "consumerGroup",
    }

    /// `GET_CONSUMER_LIST_BY_GROUP` 38 and `NOTIFY_CONSUMER_IDS_CHANGED` 40.
    ConsumerGroup {
        consumer_group: &'a str = "consumerGroup",
    }

    /// `VIEW_MESSAGE_BY_ID` 33.
    ViewMessage {
        topic: Option<&'a str> = "topic",
        /// Position in the log.
        offset: i64 = "offset",
    }

    /// `QUERY_MESSAGE` 12.
    QueryMessage {
        topic: &'a str = "topic",
        key: &'a str = "key",
        max_num: i32 = "maxNum",
        begin_timestamp: i64 = "beginTimestamp",
        end_timestamp: i64 = "endTimestamp",
        /// `true`: `key` is a client's unique id, not one of KEYS.
        unique_key: Option<bool> = "_UNIQUE_KEY_QUERY",
        index_type: Option<&'a str> = "indexType",
        last_key: Option<&'a str> = "lastKey",
    }

    QueryMessageResponse {
        index_last_update_timestamp: i64 = "indexLastUpdateTimestamp",
        index_last_update_phyoffset: i64 = "indexLastUpdatePhyoffset",
    }

    /// `UPDATE_AND_CREATE_TOPIC` 17.
    CreateTopic {
        topic: &'a str = "topic",
        default_topic: &'a str = "defaultTopic",
        read_queue_nums: i32 = "readQueueNums",
        write_queue_nums: i32 = "writeQueueNums",
        perm: i32 = "perm",
        topic_filter_type: &'a str = "topicFilterType",
        topic_sys_flag: Option<i32> = "topicSysFlag",
        order: bool = "order",
        /// `+name=value,-name`.
        attributes: Option<&'a str> = "attributes",
        force: Option<bool> = "force",
    }

    /// `DELETE_TOPIC_IN_BROKER` 215.
    DeleteTopic {
        topic: &'a str = "topic",
    }

    /// `GET_ALL_TOPIC_CONFIG` 21: without any of these all topics are meant.
    GetAllTopicConfig {
        /// The first topic of the page, counted from 0.
        topic_seq: Option<i32> = "topicSeq",
        max_topic_num: Option<i32> = "maxTopicNum",
        /// Version of the table that the page continues, as JSON.
        data_version: Option<&'a str> = "dataVersion",
    }

    /// The answer to `GET_ALL_TOPIC_CONFIG` 21.
    GetAllTopicConfigResponse {
        total_topic_num: i32 = "totalTopicNum",
    }

    /// `GET_ALL_SUBSCRIPTIONGROUP_CONFIG` 201: without any of these all groups are meant.
    GetAllSubscriptionGroup {
        /// The first group of the page, counted from 0.
        group_seq: Option<i32> = "groupSeq",
        max_group_num: Option<i32> = "maxGroupNum",
        /// Version of the table that the page continues, as JSON.
        data_version: Option<&'a str> = "dataVersion",
    }

    /// The answer to `GET_ALL_SUBSCRIPTIONGROUP_CONFIG` 201.
    GetAllSubscriptionGroupResponse {
        total_group_num: i32 = "totalGroupNum",
    }

    /// `DELETE_SUBSCRIPTIONGROUP` 207.
    DeleteSubscriptionGroup {
        group_name: &'a str = "groupName",
        /// Its offsets go too.
        clean_offset: Option<bool> = "cleanOffset",
    }

    /// `DELETE_SUBSCRIPTION_GROUP_LIST` 5003; the names are in the body.
    DeleteSubscriptionGroupList {
        clean_offset: Option<bool> = "cleanOffset",
    }

    /// `QUERY_TOPICS_BY_CONSUMER` 343 and `GET_SUBSCRIPTIONGROUP_CONFIG` 352.
    Group {
        group: &'a str = "group",
    }

    /// `GET_PRODUCER_CONNECTION_LIST` 204.
    ProducerGroup {
        producer_group: &'a str = "producerGroup",
    }

    /// `CLONE_GROUP_OFFSET` 314.
    CloneGroupOffset {
        src_group: &'a str = "srcGroup",
        dest_group: &'a str = "destGroup",
        /// None: all topics.
        topic: Option<&'a str> = "topic",
        offline: Option<bool> = "offline",
    }

    /// `INVOKE_BROKER_TO_RESET_OFFSET` 222, and `RESET_CONSUMER_CLIENT_OFFSET` 220 with which it may reach the clients.
    ResetOffset {
        topic: &'a str = "topic",
        group: &'a str = "group",
        /// None or negative: all queues.
        queue_id: Option<i32> = "queueId",
        /// None or -1: the one at `timestamp`.
        offset: Option<i64> = "offset",
        /// Milliseconds; negative: the end of the queue.
        timestamp: i64 = "timestamp",
        /// Forward too, not only back.
        is_force: bool = "isForce",
    }

    /// `INVOKE_BROKER_TO_GET_CONSUMER_STATUS` 223, and `GET_CONSUMER_STATUS_FROM_CLIENT` 221.
    GetConsumerStatus {
        topic: &'a str = "topic",
        group: &'a str = "group",
        /// The id of the only client that is asked.
        client_addr: Option<&'a str> = "clientAddr",
    }

    /// `GET_CONSUMER_RUNNING_INFO` 307, from administrators to the broker and on to the client.
    GetConsumerRunningInfo {
        consumer_group: &'a str = "consumerGroup",
        client_id: &'a str = "clientId",
        /// With the stacks of all threads.
        jstack_enable: Option<bool> = "jstackEnable",
    }

    /// `CONSUME_MESSAGE_DIRECTLY` 309, from administrators to the broker and, with the message, on to the client.
    ConsumeMessageDirectly {
        consumer_group: &'a str = "consumerGroup",
        client_id: &'a str = "clientId",
        /// The offset message id.
        msg_id: &'a str = "msgId",
        broker_name: Option<&'a str> = "brokerName",
        topic: Option<&'a str> = "topic",
        topic_sys_flag: Option<i32> = "topicSysFlag",
        group_sys_flag: Option<i32> = "groupSysFlag",
    }

    /// The answer to `GET_BROKER_CONFIG` 26.
    ConfigVersion {
        /// A data version as JSON.
        version: &'a str = "version",
    }

    /// `UPDATE_AND_GET_GROUP_FORBIDDEN` 353.
    UpdateGroupForbidden {
        group: &'a str = "group",
        topic: &'a str = "topic",
        /// None: only asks.
        readable: Option<bool> = "readable",
    }

    /// `VIEW_BROKER_STATS_DATA` 315.
    ViewBrokerStatsData {
        stats_name: &'a str = "statsName",
        stats_key: &'a str = "statsKey",
    }

    /// `GET_CONSUME_STATS` 208.
    GetConsumeStats {
        consumer_group: &'a str = "consumerGroup",
        /// None, or blank: all that the group consumes.
        topic: Option<&'a str> = "topic",
        /// Separated by `;`: these, whatever the group subscribes to.
        topic_list: Option<&'a str> = "topicList",
    }

    /// `GET_BROKER_CONSUME_STATS` 317.
    GetBrokerConsumeStats {
        /// Only ordered topics.
        is_order: Option<bool> = "isOrder",
    }

    /// `QUERY_CONSUME_TIME_SPAN` 303 and `QUERY_SUBSCRIPTION_BY_CONSUMER` 345.
    TopicGroup {
        topic: &'a str = "topic",
        group: &'a str = "group",
    }

    /// `QUERY_CORRECTION_OFFSET` 308.
    QueryCorrectionOffset {
        /// Separated by `,`.
        filter_groups: Option<&'a str> = "filterGroups",
        compare_group: &'a str = "compareGroup",
        topic: &'a str = "topic",
    }

    /// `QUERY_CONSUME_QUEUE` 321.
    QueryConsumeQueue {
        topic: &'a str = "topic",
        queue_id: i32 = "queueId",
        index: i64 = "index",
        count: i32 = "count",
        consumer_group: Option<&'a str> = "consumerGroup",
    }

    /// `GET_ROUTEINFO_BY_TOPIC` 105.
    GetRouteInfo {
        topic: Option<&'a str> = "topic",
        accept_standard_json_only: Option<bool> = "acceptStandardJsonOnly",
        /// Only brokers of the zone [`Self::zone_name`] are wanted.
        zone_mode: Option<bool> = "__ZONE_MODE",
        zone_name: Option<&'a str> = "__ZONE_NAME",
    }

    /// `REGISTER_BROKER` 103.
    RegisterBroker {
        broker_name: &'a str = "brokerName",
        broker_addr: &'a str = "brokerAddr",
        cluster_name: &'a str = "clusterName",
        ha_server_addr: &'a str = "haServerAddr",
        broker_id: i64 = "brokerId",
        heartbeat_timeout_millis: Option<i64> = "heartbeatTimeoutMillis",
        enable_acting_master: Option<bool> = "enableActingMaster",
        /// The body is deflated.
        compressed: Option<bool> = "compressed",
        /// Checksum of the body as it is sent; 0: none.
        body_crc32: Option<i32> = "bodyCrc32",
        zone_name: Option<&'a str> = "__ZONE_NAME",
    }

    RegisterBrokerResponse {
        ha_server_addr: Option<&'a str> = "haServerAddr",
        master_addr: Option<&'a str> = "masterAddr",
    }

    /// `UNREGISTER_BROKER` 104 and `QUERY_DATA_VERSION` 322.
    BrokerIdentity {
        broker_name: &'a str = "brokerName",
        broker_addr: &'a str = "brokerAddr",
        cluster_name: &'a str = "clusterName",
        broker_id: i64 = "brokerId",
    }

    QueryDataVersionResponse {
        changed: bool = "changed",
    }

    /// `BROKER_HEARTBEAT` 904.
    BrokerHeartbeat {
        cluster_name: &'a str = "clusterName",
        broker_addr: &'a str = "brokerAddr",
        broker_name: &'a str = "brokerName",
        broker_id: Option<i64> = "brokerId",
        epoch: Option<i32> = "epoch",
        max_offset: Option<i64> = "maxOffset",
        confirm_offset: Option<i64> = "confirmOffset",
        heartbeat_timeout_millis: Option<i64> = "heartbeatTimeoutMills",
        election_priority: Option<i32> = "electionPriority",
    }

    /// `PUT_KV_CONFIG` 100.
    PutKvConfig {
        namespace: &'a str = "namespace",
        key: &'a str = "key",
        value: &'a str = "value",
    }

    /// `GET_KV_CONFIG` 101 and `DELETE_KV_CONFIG` 102.
    KvConfigKey {
        namespace: &'a str = "namespace",
        key: &'a str = "key",
    }

    GetKvConfigResponse {
        value: Option<&'a str> = "value",
    }

    /// `GET_KVLIST_BY_NAMESPACE` 219.
    KvNamespace {
        namespace: &'a str = "namespace",
    }

    /// `WIPE_WRITE_PERM_OF_BROKER` 205 and `ADD_WRITE_PERM_OF_BROKER` 327.
    BrokerName {
        broker_name: &'a str = "brokerName",
    }

    WipeWritePermResponse {
        wipe_topic_count: i32 = "wipeTopicCount",
    }

    AddWritePermResponse {
        add_topic_count: i32 = "addTopicCount",
    }

    /// `GET_TOPICS_BY_CLUSTER` 224.
    Cluster {
        cluster: &'a str = "cluster",
    }

    /// `GET_BROKER_MEMBER_GROUP` 901.
    GetBrokerMemberGroup {
        cluster_name: &'a str = "clusterName",
        broker_name: &'a str = "brokerName",
    }

    /// `DELETE_TOPIC_IN_NAMESRV` 216.
    DeleteTopicInNamesrv {
        topic: &'a str = "topic",
        cluster_name: Option<&'a str> = "clusterName",
    }

    /// `GET_TOPIC_STATS_INFO` 202, `REGISTER_TOPIC_IN_NAMESRV` 217, `QUERY_TOPIC_CONSUME_BY_WHO` 300 and
    /// `GET_TOPIC_CONFIG` 351.
    Topic {
        topic: &'a str = "topic",
    }
}

impl SendMessage<'_> {
    /// Writes the single letters of `SEND_MESSAGE_V2` and `SEND_BATCH_MESSAGE`, which Apache wants there.
    pub fn encode_v2(&self, fields: &mut Fields) {
        self.producer_group.write("a", fields);
        self.topic.write("b", fields);
        self.default_topic.write("c", fields);
        self.default_topic_queue_nums.write("d", fields);
        self.queue_id.write("e", fields);
        self.sys_flag.write("f", fields);
        self.born_timestamp.write("g", fields);
        self.flag.write("h", fields);
        self.properties.write("i", fields);
        self.reconsume_times.write("j", fields);
        self.unit_mode.write("k", fields);
        self.max_reconsume_times.write("l", fields);
        self.batch.write("m", fields);
        self.broker_name.write("n", fields);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::header::{Header, HeaderError};

    fn send() -> SendMessage<'static> {
        SendMessage {
            producer_group: "PG",
            topic: "T",
            default_topic: "TBW102",
            default_topic_queue_nums: 4,
            queue_id: 1,
            sys_flag: 2,
            born_timestamp: 3,
            flag: 5,
            properties: Some("a\u{1}b\u{2}"),
            reconsume_times: Some(6),
            unit_mode: Some(false),
            max_reconsume_times: Some(16),
            batch: Some(true),
            broker_name: Some("broker-a"),
            ..Default::default()
        }
    }

    #[test]
    fn send_reads_long_names_and_letters() {
        let (mut long, mut letters) = (Fields::new(), Fields::new());
        send().encode(&mut long);
        send().encode_v2(&mut letters);
        assert_eq!((long.get("maxReconsumeTimes"), letters.get("l")), (Some("16"), Some("16")));
        assert_eq!((long.len(), letters.len()), (14, 14));
        assert!(letters.iter().all(|(k, _)| k.len() == 1));
        assert_eq!(SendMessage::decode(&long), Ok(send()));
        assert_eq!(SendMessage::decode(&letters), Ok(send()));
    }

    #[test]
    fn a_missing_or_bad_field_is_named() {
        let mut fields = Fields::new();
        fields.push("topic", "T");
        assert_eq!(TopicQueue::decode(&fields), Err(HeaderError::Missing("queueId")));
        let bad: Fields = [("topic", "T"), ("queueId", "4x")].into_iter().collect();
        let bad = TopicQueue::decode(&bad).unwrap_err();
        assert_eq!(bad.to_string(), "the custom field <queueId> is not a valid 32-bit number: \"4x\"");
        fields.push("queueId", "4");
        assert_eq!(TopicQueue::decode(&fields).unwrap().queue_id, 4);
    }

    #[test]
    fn booleans_are_read_as_java_reads_them() {
        for (text, value) in [("true", true), ("TRUE", true), ("false", false), ("1", false), ("", false)] {
            let fields: Fields = [("changed", text)].into_iter().collect();
            assert_eq!(QueryDataVersionResponse::decode(&fields).unwrap().changed, value, "{text}");
        }
    }
}
