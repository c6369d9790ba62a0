//! Topics.

use super::super::flags::{Flag, flag, switch};
use super::super::{stats, topic};
use super::{Ask, BROKER, CLUSTER, Family, ORDER, SETTINGS_FILE, TOPIC, here, never};

const PERM: Flag = flag("p", "perm", "N", "2: write, 4: read, 6: both");
const CLUSTERS: Flag = flag("c", "clusters", "LIST", "Clusters, separated by commas");
const BROKERS: Flag = flag("b", "brokers", "LIST", "Brokers, separated by commas");
const MAP_FILE: Flag = flag("mf", "mapFile", "FILE", "File with the mapping");
const REPLACE: Flag = flag("fr", "forceReplace", "BOOL", "Replace an old mapping");
const NO_STATIC_TOPICS: &str =
    "Kerolox has no static topics: a queue stays on the broker that it was created on";

pub(super) const FAMILY: Family = Family {
    title: "Topics",
    commands: &[
        here("updateTopic", topic::update, "Create a topic or change its settings.")
            .asks(&[Ask::UPDATE_AND_CREATE_TOPIC])
            .takes(&[
                BROKER.one_of(0),
                CLUSTER.one_of(0),
                flag("a", "attributes", "LIST", "Attributes to change: +name=value,-name"),
                TOPIC.needed(),
                flag("r", "readQueueNums", "N", "Queues that can be read (8)"),
                flag("w", "writeQueueNums", "N", "Queues that can be written (8)"),
                PERM,
                ORDER,
                flag("u", "unit", "BOOL", "Whether it is a unit topic"),
                flag("s", "hasUnitSub", "BOOL", "Whether units subscribe to it"),
            ]),
        here("updateTopicList", topic::update_list, "Create or change the topics of a JSON file.")
            .asks(&[Ask::UPDATE_AND_CREATE_TOPIC_LIST])
            .takes(&[BROKER.one_of(0), CLUSTER.one_of(0), SETTINGS_FILE.needed()]),
        here("deleteTopic", topic::delete, "Delete a topic from a cluster and from the name servers.")
            .asks(&[Ask::DELETE_TOPIC_IN_BROKER, Ask::DELETE_TOPIC_IN_NAMESRV])
            .takes(&[
                TOPIC.needed(),
                flag("c", "clusterName", "CLUSTER", "Delete it from this cluster").needed(),
            ]),
        here("updateTopicPerm", topic::update_perm, "Change whether a topic can be read and written.")
            .asks(&[Ask::UPDATE_AND_CREATE_TOPIC])
            .takes(&[BROKER, CLUSTER, TOPIC.needed(), PERM.needed()]),
        here("topicRoute", topic::route, "Show where the queues of a topic are.")
            .asks(&[Ask::GET_ROUTEINFO_BY_TOPIC])
            .takes(&[TOPIC.needed(), switch("l", "list", "A table instead of JSON")]),
        here("topicStatus", topic::status, "Show the offsets of each queue of a topic.")
            .asks(&[Ask::GET_TOPIC_STATS_INFO])
            .takes(&[
                TOPIC.needed(),
                flag("c", "cluster", "TOPIC", "Find the brokers by the route of this topic"),
            ]),
        here("topicClusterList", topic::clusters, "List the clusters that have a topic.")
            .asks(&[Ask::GET_BROKER_CLUSTER_INFO])
            .takes(&[TOPIC.needed()]),
        here("topicList", topic::list, "List all topics.")
            .asks(&[Ask::GET_ALL_TOPIC_LIST_FROM_NAMESERVER, Ask::QUERY_TOPIC_CONSUME_BY_WHO])
            .takes(&[switch("c", "clusterModel", "With cluster and groups of each topic")]),
        here("updateOrderConf", topic::order_conf, "Show, set or delete the order configuration of a topic.")
            .asks(&[Ask::PUT_KV_CONFIG, Ask::GET_KV_CONFIG, Ask::DELETE_KV_CONFIG])
            .takes(&[
                TOPIC.needed(),
                flag("v", "orderConf", "CONF", "Queues of each broker: name:number;name:number"),
                flag("m", "method", "METHOD", "put, get or delete").needed(),
            ]),
        here("allocateMQ", topic::allocate, "Show which queues each of several consumers would get.")
            .asks(&[Ask::GET_ROUTEINFO_BY_TOPIC])
            .takes(&[TOPIC.needed(), flag("i", "ipList", "LIST", "Clients, separated by commas").needed()]),
        here("statsAll", stats::all, "Show rates, totals and backlog of topics and their groups.")
            .asks(&[Ask::VIEW_BROKER_STATS_DATA, Ask::GET_CONSUME_STATS, Ask::QUERY_TOPIC_CONSUME_BY_WHO])
            .takes(&[switch("a", "activeTopic", "Only topics with traffic today"), TOPIC]),
        never(
            "updateStaticTopic",
            NO_STATIC_TOPICS,
            "Create a topic whose queue ids do not depend on brokers.",
        )
        .takes(&[
            CLUSTERS.one_of(0),
            BROKERS.one_of(0),
            TOPIC.needed(),
            flag("qn", "totalQueueNum", "N", "How many queues in all").needed(),
            MAP_FILE,
            REPLACE,
        ]),
        never(
            "remappingStaticTopic",
            NO_STATIC_TOPICS,
            "Move the queues of a static topic to other brokers.",
        )
        .takes(&[CLUSTERS.one_of(0), BROKERS.one_of(0), TOPIC.needed(), MAP_FILE, REPLACE]),
    ],
};
