//! Consumers and producers.

use super::super::flags::{Flag, flag, switch};
use super::super::{consumer, group};
use super::{
    Ask, BROKER, BY_ROUTE_OF, CLUSTER, CONSUMER_GROUP, Family, SETTINGS_FILE, THE_BROKER, TOPIC, here, never,
};

const GROUP_NAME: Flag = flag("g", "groupName", "GROUP", "The consumer group");
const TOPIC_NAME: Flag = flag("t", "topicName", "TOPIC", "The topic");
const RUNS_FOR_EVER: &str = "it would run for ever and write to a log; let `kerolox admin consumerProgress` and \
    `consumerStatus` run by your scheduler instead";

pub(super) const FAMILY: Family = Family {
    title: "Consumers and producers",
    commands: &[
        here("updateSubGroup", group::update, "Create a consumer group or change its settings.")
            .asks(&[Ask::UPDATE_AND_CREATE_SUBSCRIPTIONGROUP])
            .takes(&[
                BROKER,
                CLUSTER,
                GROUP_NAME.needed(),
                flag("s", "consumeEnable", "BOOL", "Whether the group may consume (true)"),
                flag(
                    "m",
                    "consumeFromMinEnable",
                    "BOOL",
                    "Whether it may begin at the oldest message (true)",
                ),
                flag(
                    "d",
                    "consumeBroadcastEnable",
                    "BOOL",
                    "Whether every member may get every message (true)",
                ),
                flag("o", "consumeMessageOrderly", "BOOL", "Whether the group consumes in order (false)"),
                flag("q", "retryQueueNums", "N", "Queues of the retry topic (1)"),
                flag("r", "retryMaxTimes", "N", "Attempts before the dead-letter queue (16)"),
                flag("p", "groupRetryPolicy", "JSON", "How long retries wait"),
                flag("i", "brokerId", "ID", "Id of the broker to consume from"),
                flag("w", "whichBrokerWhenConsumeSlowly", "ID", "Broker to consume from when behind"),
                flag("a", "notifyConsumerIdsChanged", "BOOL", "Tell members of changes (true)"),
                flag("", "attributes", "LIST", "Attributes to change: +name=value,-name"),
            ]),
        here(
            "updateSubGroupList",
            group::update_list,
            "Create or change the consumer groups of a JSON file.",
        )
        .asks(&[Ask::UPDATE_AND_CREATE_SUBSCRIPTIONGROUP_LIST])
        .takes(&[BROKER.one_of(0), CLUSTER.one_of(0), SETTINGS_FILE.needed()]),
        here(
            "deleteSubGroup",
            group::delete,
            "Delete a consumer group, its retry and its dead-letter topic.",
        )
        .asks(&[Ask::DELETE_SUBSCRIPTIONGROUP, Ask::DELETE_TOPIC_IN_BROKER])
        .takes(&[
            BROKER,
            CLUSTER,
            GROUP_NAME.needed(),
            flag("r", "removeOffset", "BOOL", "Its offsets go too"),
        ]),
        here("getConsumerConfig", group::config, "Show the settings of a consumer group.")
            .asks(&[Ask::GET_ALL_SUBSCRIPTIONGROUP_CONFIG])
            .takes(&[GROUP_NAME.needed()]),
        here("setConsumeMode", group::set_mode, "Let a group pull or pop a topic.")
            .asks(&[Ask::SET_MESSAGE_REQUEST_MODE])
            .takes(&[
                BROKER,
                CLUSTER,
                TOPIC_NAME.needed(),
                GROUP_NAME.needed(),
                flag("m", "mode", "MODE", "PULL or POP").needed(),
                flag("q", "popShareQueueNum", "N", "How many clients may share a queue (0: all)"),
            ]),
        here("consumerProgress", consumer::progress, "Show how far behind a group is, or all groups.")
            .asks(&[Ask::GET_CONSUME_STATS, Ask::GET_CONSUMER_CONNECTION_LIST])
            .takes(&[
                GROUP_NAME,
                TOPIC_NAME,
                flag("s", "showClientIP", "BOOL", "Show which client has each queue"),
                BY_ROUTE_OF,
            ]),
        here(
            "consumerConnection",
            consumer::connections,
            "Show the clients and subscriptions of a consumer group.",
        )
        .asks(&[Ask::GET_CONSUMER_CONNECTION_LIST])
        .takes(&[CONSUMER_GROUP.needed(), BROKER]),
        here(
            "consumerStatus",
            consumer::status,
            "Show what the clients of a group are doing, as they tell it.",
        )
        .asks(&[Ask::GET_CONSUMER_RUNNING_INFO])
        .takes(&[
            CONSUMER_GROUP.needed(),
            flag("i", "clientId", "ID", "Id of one client"),
            BROKER,
            switch("s", "jstack", "Stacks of the client's threads too"),
        ]),
        here("producerConnection", consumer::producer_connections, "Show the clients of a producer group.")
            .asks(&[Ask::GET_PRODUCER_CONNECTION_LIST])
            .takes(&[flag("g", "producerGroup", "GROUP", "The producer group").needed(), TOPIC.needed()]),
        here("producer", consumer::producers, "Show every producer that is connected to a broker.")
            .asks(&[Ask::GET_ALL_PRODUCER_INFO])
            .takes(&[THE_BROKER.needed()]),
        never("startMonitoring", RUNS_FOR_EVER, "Watch consumers all the time."),
    ],
};
