//! The commands, one row each: names and flags are those of Apache RocketMQ 5.5.0's `mqadmin`. Dispatch, parsing of flags, help,
//! completion and `docs/compat.md` come from here.

use super::flags::{Flag, needed, one_of, optional, switch};
use super::{
    Args, Session, auth, broker, cluster, cold, consumer, export, group, ha, lite, namesrv, offset, print,
    query, send, stats, topic, trace,
};
use anyhow::Result;
use kerolox_wire::RequestCode as Ask;

/// What carries a command out.
pub(super) type Function = fn(&Args, &mut Session) -> Result<()>;

#[derive(Debug, Clone, Copy)]
pub(super) enum Runs {
    Here(Function),
    /// It makes no sense with Kerolox, for this reason.
    Never(&'static str),
}

/// One row of the table.
#[derive(Debug)]
pub(super) struct Command {
    pub(super) name: &'static str,
    /// What it does, in one sentence.
    pub(super) summary: &'static str,
    pub(super) runs: Runs,
    /// The requests without which it cannot do what it is for.
    pub(super) asks: &'static [Ask],
    /// Its own flags; [`super::flags::GLOBAL`] has those of all commands.
    pub(super) flags: &'static [Flag],
}

/// Commands that belong together.
#[derive(Debug)]
pub(super) struct Family {
    pub(super) title: &'static str,
    pub(super) commands: &'static [Command],
}

/// All commands.
pub(super) fn all() -> impl Iterator<Item = &'static Command> {
    FAMILIES.iter().flat_map(|family| family.commands)
}

/// The command of a name, in whatever case as with Apache.
pub(super) fn find(name: &str) -> Option<&'static Command> {
    all().find(|command| command.name.eq_ignore_ascii_case(name))
}

pub(super) const FAMILIES: &[Family] = &[
    Family {
        title: "Topics",
        commands: &[
            Command {
                name: "updateTopic",
                summary: "Create a topic or change its settings.",
                runs: Runs::Here(topic::update),
                asks: &[Ask::UPDATE_AND_CREATE_TOPIC],
                flags: &[
                    one_of(0, "b", "brokerAddr", "HOST:PORT", "Ask this broker"),
                    one_of(0, "c", "clusterName", "CLUSTER", "Ask the brokers of this cluster"),
                    optional("a", "attributes", "LIST", "Attributes to change: +name=value,-name"),
                    needed("t", "topic", "TOPIC", "The topic"),
                    optional("r", "readQueueNums", "N", "Queues that can be read (8)"),
                    optional("w", "writeQueueNums", "N", "Queues that can be written (8)"),
                    optional("p", "perm", "N", "2: write, 4: read, 6: both"),
                    optional("o", "order", "BOOL", "Whether the topic is ordered"),
                    optional("u", "unit", "BOOL", "Whether it is a unit topic"),
                    optional("s", "hasUnitSub", "BOOL", "Whether units subscribe to it"),
                ],
            },
            Command {
                name: "updateTopicList",
                summary: "Create or change the topics of a JSON file.",
                runs: Runs::Here(topic::update_list),
                asks: &[Ask::UPDATE_AND_CREATE_TOPIC_LIST],
                flags: &[
                    one_of(0, "b", "brokerAddr", "HOST:PORT", "Ask this broker"),
                    one_of(0, "c", "clusterName", "CLUSTER", "Ask the brokers of this cluster"),
                    needed("f", "filename", "FILE", "JSON file with a list of settings"),
                ],
            },
            Command {
                name: "deleteTopic",
                summary: "Delete a topic from a cluster and from the name servers.",
                runs: Runs::Here(topic::delete),
                asks: &[Ask::DELETE_TOPIC_IN_BROKER, Ask::DELETE_TOPIC_IN_NAMESRV],
                flags: &[
                    needed("t", "topic", "TOPIC", "The topic"),
                    needed("c", "clusterName", "CLUSTER", "Delete it from this cluster"),
                ],
            },
            Command {
                name: "updateTopicPerm",
                summary: "Change whether a topic can be read and written.",
                runs: Runs::Here(topic::update_perm),
                asks: &[Ask::UPDATE_AND_CREATE_TOPIC],
                flags: &[
                    optional("b", "brokerAddr", "HOST:PORT", "Ask this broker"),
                    optional("c", "clusterName", "CLUSTER", "Ask the brokers of this cluster"),
                    needed("t", "topic", "TOPIC", "The topic"),
                    needed("p", "perm", "N", "2: write, 4: read, 6: both"),
                ],
            },
            Command {
                name: "topicRoute",
                summary: "Show where the queues of a topic are.",
                runs: Runs::Here(topic::route),
                asks: &[Ask::GET_ROUTEINFO_BY_TOPIC],
                flags: &[
                    needed("t", "topic", "TOPIC", "The topic"),
                    switch("l", "list", "A table instead of JSON"),
                ],
            },
            Command {
                name: "topicStatus",
                summary: "Show the offsets of each queue of a topic.",
                runs: Runs::Here(topic::status),
                asks: &[Ask::GET_TOPIC_STATS_INFO],
                flags: &[
                    needed("t", "topic", "TOPIC", "The topic"),
                    optional("c", "cluster", "TOPIC", "Find the brokers by the route of this topic"),
                ],
            },
            Command {
                name: "topicClusterList",
                summary: "List the clusters that have a topic.",
                runs: Runs::Here(topic::clusters),
                asks: &[Ask::GET_BROKER_CLUSTER_INFO],
                flags: &[needed("t", "topic", "TOPIC", "The topic")],
            },
            Command {
                name: "topicList",
                summary: "List all topics.",
                runs: Runs::Here(topic::list),
                asks: &[Ask::GET_ALL_TOPIC_LIST_FROM_NAMESERVER, Ask::QUERY_TOPIC_CONSUME_BY_WHO],
                flags: &[switch("c", "clusterModel", "With cluster and groups of each topic")],
            },
            Command {
                name: "updateOrderConf",
                summary: "Show, set or delete the order configuration of a topic.",
                runs: Runs::Here(topic::order_conf),
                asks: &[Ask::PUT_KV_CONFIG, Ask::GET_KV_CONFIG, Ask::DELETE_KV_CONFIG],
                flags: &[
                    needed("t", "topic", "TOPIC", "The topic"),
                    optional("v", "orderConf", "CONF", "Queues of each broker: name:number;name:number"),
                    needed("m", "method", "METHOD", "put, get or delete"),
                ],
            },
            Command {
                name: "allocateMQ",
                summary: "Show which queues each of several consumers would get.",
                runs: Runs::Here(topic::allocate),
                asks: &[Ask::GET_ROUTEINFO_BY_TOPIC],
                flags: &[
                    needed("t", "topic", "TOPIC", "The topic"),
                    needed("i", "ipList", "LIST", "Clients, separated by commas"),
                ],
            },
            Command {
                name: "statsAll",
                summary: "Show rates, totals and backlog of topics and their groups.",
                runs: Runs::Here(stats::all),
                asks: &[Ask::VIEW_BROKER_STATS_DATA, Ask::GET_CONSUME_STATS, Ask::QUERY_TOPIC_CONSUME_BY_WHO],
                flags: &[
                    switch("a", "activeTopic", "Only topics with traffic today"),
                    optional("t", "topic", "TOPIC", "The topic"),
                ],
            },
            Command {
                name: "updateStaticTopic",
                summary: "Create a topic whose queue ids do not depend on brokers.",
                runs: Runs::Never(
                    "Kerolox has no static topics: a queue stays on the broker that it was created on",
                ),
                asks: &[],
                flags: &[
                    one_of(0, "c", "clusters", "LIST", "Clusters, separated by commas"),
                    one_of(0, "b", "brokers", "LIST", "Brokers, separated by commas"),
                    needed("t", "topic", "TOPIC", "The topic"),
                    needed("qn", "totalQueueNum", "N", "How many queues in all"),
                    optional("mf", "mapFile", "FILE", "File with the mapping"),
                    optional("fr", "forceReplace", "BOOL", "Replace an old mapping"),
                ],
            },
            Command {
                name: "remappingStaticTopic",
                summary: "Move the queues of a static topic to other brokers.",
                runs: Runs::Never(
                    "Kerolox has no static topics: a queue stays on the broker that it was created on",
                ),
                asks: &[],
                flags: &[
                    one_of(0, "c", "clusters", "LIST", "Clusters, separated by commas"),
                    one_of(0, "b", "brokers", "LIST", "Brokers, separated by commas"),
                    needed("t", "topic", "TOPIC", "The topic"),
                    optional("mf", "mapFile", "FILE", "File with the mapping"),
                    optional("fr", "forceReplace", "BOOL", "Replace an old mapping"),
                ],
            },
        ],
    },
    Family {
        title: "Consumers and producers",
        commands: &[
            Command {
                name: "updateSubGroup",
                summary: "Create a consumer group or change its settings.",
                runs: Runs::Here(group::update),
                asks: &[Ask::UPDATE_AND_CREATE_SUBSCRIPTIONGROUP],
                flags: &[
                    optional("b", "brokerAddr", "HOST:PORT", "Ask this broker"),
                    optional("c", "clusterName", "CLUSTER", "Ask the brokers of this cluster"),
                    needed("g", "groupName", "GROUP", "The consumer group"),
                    optional("s", "consumeEnable", "BOOL", "Whether the group may consume (true)"),
                    optional(
                        "m",
                        "consumeFromMinEnable",
                        "BOOL",
                        "Whether it may begin at the oldest message (true)",
                    ),
                    optional(
                        "d",
                        "consumeBroadcastEnable",
                        "BOOL",
                        "Whether every member may get every message (true)",
                    ),
                    optional(
                        "o",
                        "consumeMessageOrderly",
                        "BOOL",
                        "Whether the group consumes in order (false)",
                    ),
                    optional("q", "retryQueueNums", "N", "Queues of the retry topic (1)"),
                    optional("r", "retryMaxTimes", "N", "Attempts before the dead-letter queue (16)"),
                    optional("p", "groupRetryPolicy", "JSON", "How long retries wait"),
                    optional("i", "brokerId", "ID", "Id of the broker to consume from"),
                    optional("w", "whichBrokerWhenConsumeSlowly", "ID", "Broker to consume from when behind"),
                    optional("a", "notifyConsumerIdsChanged", "BOOL", "Tell members of changes (true)"),
                    optional("", "attributes", "LIST", "Attributes to change: +name=value,-name"),
                ],
            },
            Command {
                name: "updateSubGroupList",
                summary: "Create or change the consumer groups of a JSON file.",
                runs: Runs::Here(group::update_list),
                asks: &[Ask::UPDATE_AND_CREATE_SUBSCRIPTIONGROUP_LIST],
                flags: &[
                    one_of(0, "b", "brokerAddr", "HOST:PORT", "Ask this broker"),
                    one_of(0, "c", "clusterName", "CLUSTER", "Ask the brokers of this cluster"),
                    needed("f", "filename", "FILE", "JSON file with a list of settings"),
                ],
            },
            Command {
                name: "deleteSubGroup",
                summary: "Delete a consumer group, its retry and its dead-letter topic.",
                runs: Runs::Here(group::delete),
                asks: &[Ask::DELETE_SUBSCRIPTIONGROUP, Ask::DELETE_TOPIC_IN_BROKER],
                flags: &[
                    optional("b", "brokerAddr", "HOST:PORT", "Ask this broker"),
                    optional("c", "clusterName", "CLUSTER", "Ask the brokers of this cluster"),
                    needed("g", "groupName", "GROUP", "The consumer group"),
                    optional("r", "removeOffset", "BOOL", "Its offsets go too"),
                ],
            },
            Command {
                name: "getConsumerConfig",
                summary: "Show the settings of a consumer group.",
                runs: Runs::Here(group::config),
                asks: &[Ask::GET_ALL_SUBSCRIPTIONGROUP_CONFIG],
                flags: &[needed("g", "groupName", "GROUP", "The consumer group")],
            },
            Command {
                name: "setConsumeMode",
                summary: "Let a group pull or pop a topic.",
                runs: Runs::Here(group::set_mode),
                asks: &[Ask::SET_MESSAGE_REQUEST_MODE],
                flags: &[
                    optional("b", "brokerAddr", "HOST:PORT", "Ask this broker"),
                    optional("c", "clusterName", "CLUSTER", "Ask the brokers of this cluster"),
                    needed("t", "topicName", "TOPIC", "The topic"),
                    needed("g", "groupName", "GROUP", "The consumer group"),
                    needed("m", "mode", "MODE", "PULL or POP"),
                    optional("q", "popShareQueueNum", "N", "How many clients may share a queue (0: all)"),
                ],
            },
            Command {
                name: "consumerProgress",
                summary: "Show how far behind a group is, or all groups.",
                runs: Runs::Here(consumer::progress),
                asks: &[Ask::GET_CONSUME_STATS, Ask::GET_CONSUMER_CONNECTION_LIST],
                flags: &[
                    optional("g", "groupName", "GROUP", "The consumer group"),
                    optional("t", "topicName", "TOPIC", "The topic"),
                    optional("s", "showClientIP", "BOOL", "Show which client has each queue"),
                    optional("c", "cluster", "CLUSTER", "Find the brokers by the route of this name"),
                ],
            },
            Command {
                name: "consumerConnection",
                summary: "Show the clients and subscriptions of a consumer group.",
                runs: Runs::Here(consumer::connections),
                asks: &[Ask::GET_CONSUMER_CONNECTION_LIST],
                flags: &[
                    needed("g", "consumerGroup", "GROUP", "The consumer group"),
                    optional("b", "brokerAddr", "HOST:PORT", "Ask this broker"),
                ],
            },
            Command {
                name: "consumerStatus",
                summary: "Show what the clients of a group are doing, as they tell it.",
                runs: Runs::Here(consumer::status),
                asks: &[Ask::GET_CONSUMER_RUNNING_INFO],
                flags: &[
                    needed("g", "consumerGroup", "GROUP", "The consumer group"),
                    optional("i", "clientId", "ID", "Id of one client"),
                    optional("b", "brokerAddr", "HOST:PORT", "Ask this broker"),
                    switch("s", "jstack", "Stacks of the client's threads too"),
                ],
            },
            Command {
                name: "producerConnection",
                summary: "Show the clients of a producer group.",
                runs: Runs::Here(consumer::producer_connections),
                asks: &[Ask::GET_PRODUCER_CONNECTION_LIST],
                flags: &[
                    needed("g", "producerGroup", "GROUP", "The producer group"),
                    needed("t", "topic", "TOPIC", "The topic"),
                ],
            },
            Command {
                name: "producer",
                summary: "Show every producer that is connected to a broker.",
                runs: Runs::Here(consumer::producers),
                asks: &[Ask::GET_ALL_PRODUCER_INFO],
                flags: &[needed("b", "broker", "HOST:PORT", "Ask this broker")],
            },
            Command {
                name: "startMonitoring",
                summary: "Watch consumers all the time.",
                runs: Runs::Never(
                    "it would run for ever and write to a log; let `kerolox admin consumerProgress` and `consumerStatus` run by your scheduler instead",
                ),
                asks: &[],
                flags: &[],
            },
        ],
    },
    Family {
        title: "Offsets",
        commands: &[
            Command {
                name: "resetOffsetByTime",
                summary: "Let a group go on from a point in time.",
                runs: Runs::Here(offset::reset_by_time),
                asks: &[Ask::INVOKE_BROKER_TO_RESET_OFFSET],
                flags: &[
                    needed("g", "group", "GROUP", "The consumer group"),
                    needed("t", "topic", "TOPIC", "The topic"),
                    needed("s", "timestamp", "TIME", "now, milliseconds, or yyyy-MM-dd#HH:mm:ss:SSS"),
                    optional("f", "force", "BOOL", "Go back too, not only forward (true)"),
                    optional("c", "cluster", "CLUSTER", "Find the brokers by the route of this name"),
                    optional("b", "broker", "HOST:PORT", "Only on this broker, with -q"),
                    optional("q", "queue", "N", "Only this queue, with -b"),
                    optional("o", "offset", "OFFSET", "Set this offset instead, with -b and -q"),
                ],
            },
            Command {
                name: "skipAccumulatedMessage",
                summary: "Let a group skip all that it has not consumed.",
                runs: Runs::Here(offset::skip),
                asks: &[Ask::INVOKE_BROKER_TO_RESET_OFFSET],
                flags: &[
                    needed("g", "group", "GROUP", "The consumer group"),
                    needed("t", "topic", "TOPIC", "The topic"),
                    optional("f", "force", "BOOL", "Go back too, not only forward (true)"),
                    optional("c", "cluster", "CLUSTER", "Find the brokers by the route of this name"),
                ],
            },
            Command {
                name: "cloneGroupOffset",
                summary: "Copy the offsets of one group to another.",
                runs: Runs::Here(offset::copy),
                asks: &[Ask::GET_CONSUME_STATS, Ask::UPDATE_CONSUMER_OFFSET],
                flags: &[
                    needed("s", "srcGroup", "GROUP", "The group to copy from"),
                    needed("d", "destGroup", "GROUP", "The group to copy to"),
                    needed("t", "topic", "TOPIC", "The topic"),
                    optional("o", "offline", "BOOL", "Whether the group is offline"),
                ],
            },
            Command {
                name: "queryCq",
                summary: "Show the entries of a queue.",
                runs: Runs::Here(offset::queue_entries),
                asks: &[Ask::QUERY_CONSUME_QUEUE],
                flags: &[
                    needed("t", "topic", "TOPIC", "The topic"),
                    needed("q", "queue", "N", "Queue id"),
                    needed("i", "index", "OFFSET", "First offset"),
                    optional("c", "count", "N", "How many entries (10)"),
                    optional("b", "broker", "HOST:PORT", "Ask this broker"),
                    optional("g", "consumer", "GROUP", "Show whether this group's filter takes the messages"),
                ],
            },
        ],
    },
    Family {
        title: "Messages",
        commands: &[
            Command {
                name: "queryMsgById",
                summary: "Show the message of an offset message id.",
                runs: Runs::Here(query::by_id),
                asks: &[Ask::VIEW_MESSAGE_BY_ID, Ask::CONSUME_MESSAGE_DIRECTLY],
                flags: &[
                    needed("t", "topic", "TOPIC", "The topic"),
                    needed("i", "msgId", "ID", "Id of the message"),
                    optional("g", "consumerGroup", "GROUP", "The consumer group"),
                    optional("d", "clientId", "ID", "Id of one client"),
                    optional("s", "sendMessage", "BOOL", "Send the message again"),
                    optional("u", "unitName", "NAME", "Unit of the client"),
                    optional("f", "bodyFormat", "NAME", "Print the body in this encoding (UTF-8)"),
                    optional("c", "cluster", "CLUSTER", "Find the brokers by the route of this name"),
                ],
            },
            Command {
                name: "queryMsgByKey",
                summary: "List the messages that have a key.",
                runs: Runs::Here(query::by_key),
                asks: &[Ask::QUERY_MESSAGE],
                flags: &[
                    needed("t", "topic", "TOPIC", "The topic"),
                    needed("k", "msgKey", "KEY", "A key of the message"),
                    optional("b", "beginTimestamp", "MS", "Only messages from this time on, in milliseconds"),
                    optional("e", "endTimestamp", "MS", "Only messages up to this time, in milliseconds"),
                    optional("m", "maxNum", "N", "At most so many messages (64)"),
                    optional("c", "cluster", "CLUSTER", "Find the brokers by the route of this name"),
                    optional("p", "keyType", "TYPE", "K: key, T: tag"),
                    optional("l", "lastKey", "KEY", "Go on behind this key"),
                ],
            },
            Command {
                name: "queryMsgByUniqueKey",
                summary: "Show the message of an id that its producer gave it.",
                runs: Runs::Here(query::by_unique_key),
                asks: &[Ask::QUERY_MESSAGE, Ask::CONSUME_MESSAGE_DIRECTLY],
                flags: &[
                    needed("i", "msgId", "ID", "Id of the message"),
                    optional("g", "consumerGroup", "GROUP", "The consumer group"),
                    optional("d", "clientId", "ID", "Id of one client"),
                    needed("t", "topic", "TOPIC", "The topic"),
                    switch("a", "showAll", "Every message with this id, up to 32"),
                    optional("c", "cluster", "CLUSTER", "Find the brokers by the route of this name"),
                    optional("s", "startTime", "MS", "Only messages from this time on, in milliseconds"),
                    optional("e", "endTime", "MS", "Only messages up to this time, in milliseconds"),
                ],
            },
            Command {
                name: "queryMsgByOffset",
                summary: "Show the message at an offset of a queue.",
                runs: Runs::Here(query::by_offset),
                asks: &[Ask::PULL_MESSAGE],
                flags: &[
                    needed("t", "topic", "TOPIC", "The topic"),
                    needed("b", "brokerName", "BROKER", "Name of the broker"),
                    needed("i", "queueId", "N", "Queue id"),
                    needed("o", "offset", "OFFSET", "An offset in the queue"),
                    optional("f", "bodyFormat", "NAME", "Print the body in this encoding (UTF-8)"),
                    optional("r", "routeTopic", "TOPIC", "Find the broker by the route of this topic"),
                ],
            },
            Command {
                name: "queryMsgTraceById",
                summary: "Show what happened to a message.",
                runs: Runs::Here(trace::by_id),
                asks: &[Ask::QUERY_MESSAGE],
                flags: &[
                    needed("i", "msgId", "ID", "Id of the message"),
                    optional("t", "traceTopic", "TOPIC", "Topic of the traces (RMQ_SYS_TRACE_TOPIC)"),
                    optional("b", "beginTimestamp", "MS", "Only traces from this time on, in milliseconds"),
                    optional("e", "endTimestamp", "MS", "Only traces up to this time, in milliseconds"),
                    optional("c", "maxNum", "N", "At most so many traces (64)"),
                ],
            },
            Command {
                name: "printMsg",
                summary: "Print the messages of a topic.",
                runs: Runs::Here(print::topic),
                asks: &[Ask::PULL_MESSAGE],
                flags: &[
                    needed("t", "topic", "TOPIC", "The topic"),
                    optional("c", "charsetName", "NAME", "Encoding of bodies (UTF-8; no other is known)"),
                    optional("s", "subExpression", "TAGS", "Only messages with these tags, as TagA || TagB"),
                    optional(
                        "b",
                        "beginTimestamp",
                        "TIME",
                        "From this time on: milliseconds, or yyyy-MM-dd#HH:mm:ss:SSS",
                    ),
                    optional(
                        "e",
                        "endTimestamp",
                        "TIME",
                        "Up to this time: milliseconds, or yyyy-MM-dd#HH:mm:ss:SSS",
                    ),
                    optional("d", "printBody", "BOOL", "Print bodies too (true)"),
                    optional("l", "lmqParentTopic", "TOPIC", "Find the brokers by the route of this topic"),
                ],
            },
            Command {
                name: "printMsgByQueue",
                summary: "Print the messages of a queue, or count their tags.",
                runs: Runs::Here(print::queue),
                asks: &[Ask::PULL_MESSAGE],
                flags: &[
                    needed("t", "topic", "TOPIC", "The topic"),
                    needed("a", "brokerName", "BROKER", "Name of the broker"),
                    needed("i", "queueId", "N", "Queue id"),
                    optional("c", "charsetName", "NAME", "Encoding of bodies (UTF-8; no other is known)"),
                    optional("s", "subExpression", "TAGS", "Only messages with these tags, as TagA || TagB"),
                    optional(
                        "b",
                        "beginTimestamp",
                        "TIME",
                        "From this time on: milliseconds, or yyyy-MM-dd#HH:mm:ss:SSS",
                    ),
                    optional(
                        "e",
                        "endTimestamp",
                        "TIME",
                        "Up to this time: milliseconds, or yyyy-MM-dd#HH:mm:ss:SSS",
                    ),
                    optional("p", "print msg", "BOOL", "Print each message"),
                    optional("d", "printBody", "BOOL", "Print bodies too"),
                    optional("f", "calculate", "BOOL", "Count the messages of each tag"),
                ],
            },
            Command {
                name: "consumeMessage",
                summary: "Print messages, a few of each queue or of one queue.",
                runs: Runs::Here(print::consume),
                asks: &[Ask::PULL_MESSAGE],
                flags: &[
                    needed("t", "topic", "TOPIC", "The topic"),
                    optional("b", "brokerName", "BROKER", "Name of the broker"),
                    optional("i", "queueId", "N", "Queue id"),
                    optional("o", "offset", "OFFSET", "An offset in the queue"),
                    optional("g", "consumerGroup", "GROUP", "The consumer group"),
                    optional(
                        "s",
                        "beginTimestamp",
                        "TIME",
                        "From this time on: milliseconds, or yyyy-MM-dd#HH:mm:ss:SSS",
                    ),
                    optional(
                        "e",
                        "endTimestamp",
                        "TIME",
                        "Up to this time: milliseconds, or yyyy-MM-dd#HH:mm:ss:SSS",
                    ),
                    optional("c", "MessageNumber", "N", "At most so many messages (128)"),
                ],
            },
            Command {
                name: "sendMessage",
                summary: "Send a message.",
                runs: Runs::Here(send::one),
                asks: &[Ask::SEND_MESSAGE_V2],
                flags: &[
                    needed("t", "topic", "TOPIC", "The topic"),
                    needed("p", "body", "TEXT", "Body of the message"),
                    optional("k", "key", "KEYS", "Keys of the message, separated by spaces"),
                    optional("c", "tags", "TAG", "Tag of the message"),
                    optional("b", "broker", "BROKER", "Send to the broker of this name"),
                    optional("i", "qid", "N", "Send to this queue"),
                    optional("m", "msgTraceEnable", "BOOL", "Write a trace of the message"),
                ],
            },
            Command {
                name: "sendMsgStatus",
                summary: "Send messages to a broker's own topic and show how long each takes.",
                runs: Runs::Here(send::to_broker),
                asks: &[Ask::SEND_MESSAGE_V2],
                flags: &[
                    needed("b", "brokerName", "BROKER", "Topic of the broker itself, as broker-a"),
                    optional("s", "messageSize", "BYTES", "Size of each message (128)"),
                    optional("c", "count", "N", "How many (50)"),
                ],
            },
            Command {
                name: "checkMsgSendRT",
                summary: "Send messages to each queue of a topic and show how long each takes.",
                runs: Runs::Here(send::round_trips),
                asks: &[Ask::SEND_MESSAGE_V2],
                flags: &[
                    needed("t", "topic", "TOPIC", "The topic"),
                    optional("a", "amount", "N", "How many messages (100)"),
                    optional("s", "size", "BYTES", "Size of each message (128)"),
                ],
            },
            Command {
                name: "dumpCompactionLog",
                summary: "Print the messages of a file of a compaction log.",
                runs: Runs::Never(
                    "Kerolox has one log and no files of compaction; `kerolox store verify` reads it, printMsg prints a topic",
                ),
                asks: &[],
                flags: &[optional("f", "file", "FILE", "The file")],
            },
        ],
    },
    Family {
        title: "Brokers",
        commands: &[
            Command {
                name: "brokerStatus",
                summary: "Show the figures of a running broker.",
                runs: Runs::Here(broker::status),
                asks: &[Ask::GET_BROKER_RUNTIME_INFO],
                flags: &[
                    one_of(0, "b", "brokerAddr", "HOST:PORT", "Ask this broker"),
                    one_of(0, "c", "clusterName", "CLUSTER", "Ask the brokers of this cluster"),
                ],
            },
            Command {
                name: "brokerConsumeStats",
                summary: "Show the groups of a broker that are behind.",
                runs: Runs::Here(broker::consume_stats),
                asks: &[Ask::GET_BROKER_CONSUME_STATS],
                flags: &[
                    needed("b", "brokerAddr", "HOST:PORT", "Ask this broker"),
                    optional("t", "timeoutMillis", "MS", "How long the broker may take (50000)"),
                    optional("l", "level", "N", "Only queues that are so far behind (0)"),
                    optional("o", "order", "BOOL", "Whether the topic is ordered"),
                ],
            },
            Command {
                name: "getBrokerConfig",
                summary: "Show the configuration of brokers.",
                runs: Runs::Here(broker::config),
                asks: &[Ask::GET_BROKER_CONFIG],
                flags: &[
                    one_of(0, "b", "brokerAddr", "HOST:PORT", "Ask this broker"),
                    one_of(0, "c", "clusterName", "CLUSTER", "Ask the brokers of this cluster"),
                ],
            },
            Command {
                name: "updateBrokerConfig",
                summary: "Change a key of the configuration of brokers.",
                runs: Runs::Here(broker::update_config),
                asks: &[Ask::UPDATE_BROKER_CONFIG],
                flags: &[
                    optional("b", "brokerAddr", "HOST:PORT", "Ask this broker"),
                    optional("c", "clusterName", "CLUSTER", "Ask the brokers of this cluster"),
                    optional("a", "updateAllBroker", "BOOL", "Replicas too, not only masters"),
                    needed("k", "key", "KEY", "The key"),
                    needed("v", "value", "VALUE", "Its new value"),
                ],
            },
            Command {
                name: "cleanExpiredCQ",
                summary: "Remove queue entries of messages that are gone.",
                runs: Runs::Here(broker::clean_queues),
                asks: &[Ask::CLEAN_EXPIRED_CONSUMEQUEUE],
                flags: &[
                    optional("b", "brokerAddr", "HOST:PORT", "Ask this broker"),
                    optional("c", "cluster", "CLUSTER", "Ask the brokers of this cluster"),
                ],
            },
            Command {
                name: "cleanUnusedTopic",
                summary: "Remove queues of topics that are gone.",
                runs: Runs::Here(broker::clean_topics),
                asks: &[Ask::CLEAN_UNUSED_TOPIC],
                flags: &[
                    optional("b", "brokerAddr", "HOST:PORT", "Ask this broker"),
                    optional("c", "cluster", "CLUSTER", "Ask the brokers of this cluster"),
                ],
            },
            Command {
                name: "deleteExpiredCommitLog",
                summary: "Remove expired segments of the log.",
                runs: Runs::Here(broker::delete_expired),
                asks: &[Ask::DELETE_EXPIRED_COMMITLOG],
                flags: &[
                    optional("n", "namesrvAddr", "ADDRS", "Name servers, separated by ;"),
                    optional("b", "brokerAddr", "HOST:PORT", "Ask this broker"),
                    optional("c", "cluster", "CLUSTER", "Ask the brokers of this cluster"),
                ],
            },
            Command {
                name: "getColdDataFlowCtrInfo",
                summary: "Show the limits of reading cold data.",
                runs: Runs::Here(cold::info),
                asks: &[Ask::GET_COLD_DATA_FLOW_CTR_INFO],
                flags: &[
                    optional("b", "brokerAddr", "HOST:PORT", "Ask this broker"),
                    optional("c", "clusterName", "CLUSTER", "Ask the brokers of this cluster"),
                ],
            },
            Command {
                name: "updateColdDataFlowCtrGroupConfig",
                summary: "Set a group's limit of reading cold data.",
                runs: Runs::Here(cold::update),
                asks: &[Ask::UPDATE_COLD_DATA_FLOW_CTR_CONFIG],
                flags: &[
                    optional("b", "brokerAddr", "HOST:PORT", "Ask this broker"),
                    optional("c", "clusterName", "CLUSTER", "Ask the brokers of this cluster"),
                    needed("g", "consumerGroup", "GROUP", "The consumer group"),
                    needed(
                        "v",
                        "threshold",
                        "BYTES",
                        "Bytes of cold data that the group may read in a second",
                    ),
                ],
            },
            Command {
                name: "removeColdDataFlowCtrGroupConfig",
                summary: "Remove a group's limit of reading cold data.",
                runs: Runs::Here(cold::remove),
                asks: &[Ask::REMOVE_COLD_DATA_FLOW_CTR_CONFIG],
                flags: &[
                    optional("b", "brokerAddr", "HOST:PORT", "Ask this broker"),
                    optional("c", "clusterName", "CLUSTER", "Ask the brokers of this cluster"),
                    needed("g", "consumerGroup", "GROUP", "The consumer group"),
                ],
            },
            Command {
                name: "setCommitLogReadAheadMode",
                summary: "Set how the log is read ahead.",
                runs: Runs::Here(cold::read_ahead),
                asks: &[Ask::SET_COMMITLOG_READ_MODE],
                flags: &[
                    optional("b", "brokerAddr", "HOST:PORT", "Ask this broker"),
                    optional("c", "clusterName", "CLUSTER", "Ask the brokers of this cluster"),
                    needed("m", "commitLogReadAheadMode", "MODE", "0: read ahead, 1: do not"),
                ],
            },
            Command {
                name: "switchTimerEngine",
                summary: "Change what keeps timer messages.",
                runs: Runs::Never("Kerolox has one engine for timer messages, and nothing to switch to"),
                asks: &[],
                flags: &[
                    one_of(0, "b", "brokerAddr", "HOST:PORT", "Ask this broker"),
                    one_of(0, "c", "clusterName", "CLUSTER", "Ask the brokers of this cluster"),
                    needed("e", "engineType", "TYPE", "R or F"),
                ],
            },
            Command {
                name: "addBroker",
                summary: "Start a broker in a broker container.",
                runs: Runs::Never(
                    "Kerolox runs one broker in each process: there is no container; start or stop a process instead",
                ),
                asks: &[],
                flags: &[
                    needed("c", "brokerContainerAddr", "HOST:PORT", "Address of the container"),
                    needed("b", "brokerConfigPath", "FILE", "Configuration of the broker"),
                ],
            },
            Command {
                name: "removeBroker",
                summary: "End a broker in a broker container.",
                runs: Runs::Never(
                    "Kerolox runs one broker in each process: there is no container; start or stop a process instead",
                ),
                asks: &[],
                flags: &[
                    needed("c", "brokerContainerAddr", "HOST:PORT", "Address of the container"),
                    needed("b", "brokerIdentity", "NAME", "cluster:broker:id"),
                ],
            },
        ],
    },
    Family {
        title: "Clusters and name servers",
        commands: &[
            Command {
                name: "clusterList",
                summary: "Show all brokers with their load.",
                runs: Runs::Here(cluster::list),
                asks: &[Ask::GET_BROKER_CLUSTER_INFO, Ask::GET_BROKER_RUNTIME_INFO],
                flags: &[
                    switch("m", "moreStats", "Numbers of messages instead"),
                    optional("i", "interval", "SECONDS", "Ask again every so many seconds"),
                    optional("c", "clusterName", "CLUSTER", "Only this cluster"),
                ],
            },
            Command {
                name: "clusterRT",
                summary: "Send messages to each broker and show how long they take.",
                runs: Runs::Here(cluster::round_trips),
                asks: &[Ask::SEND_MESSAGE_V2],
                flags: &[
                    optional("a", "amount", "N", "How many messages (100)"),
                    optional("s", "size", "BYTES", "Size of each message (128)"),
                    optional("c", "cluster", "CLUSTER", "Only this cluster"),
                    optional("p", "print log", "BOOL", "Print lines for a log"),
                    optional("m", "machine room", "NAME", "Name of the place, for the log (noname)"),
                    optional("i", "interval", "SECONDS", "Measure again every so many seconds"),
                ],
            },
            Command {
                name: "wipeWritePerm",
                summary: "Take write permission from a broker on all name servers.",
                runs: Runs::Here(namesrv::wipe),
                asks: &[Ask::WIPE_WRITE_PERM_OF_BROKER],
                flags: &[needed("b", "brokerName", "BROKER", "Name of the broker")],
            },
            Command {
                name: "addWritePerm",
                summary: "Give write permission back to a broker on all name servers.",
                runs: Runs::Here(namesrv::add),
                asks: &[Ask::ADD_WRITE_PERM_OF_BROKER],
                flags: &[needed("b", "brokerName", "BROKER", "Name of the broker")],
            },
            Command {
                name: "updateKvConfig",
                summary: "Set a key of the name servers' table.",
                runs: Runs::Here(namesrv::put_kv),
                asks: &[Ask::PUT_KV_CONFIG],
                flags: &[
                    needed("s", "namespace", "NAMESPACE", "The namespace"),
                    needed("k", "key", "KEY", "The key"),
                    needed("v", "value", "VALUE", "Its new value"),
                ],
            },
            Command {
                name: "deleteKvConfig",
                summary: "Delete a key of the name servers' table.",
                runs: Runs::Here(namesrv::delete_kv),
                asks: &[Ask::DELETE_KV_CONFIG],
                flags: &[
                    needed("s", "namespace", "NAMESPACE", "The namespace"),
                    needed("k", "key", "KEY", "The key"),
                ],
            },
            Command {
                name: "getNamesrvConfig",
                summary: "Show the configuration of name servers.",
                runs: Runs::Here(namesrv::config),
                asks: &[Ask::GET_NAMESRV_CONFIG],
                flags: &[],
            },
            Command {
                name: "updateNamesrvConfig",
                summary: "Change a key of the configuration of name servers.",
                runs: Runs::Here(namesrv::update_config),
                asks: &[Ask::UPDATE_NAMESRV_CONFIG],
                flags: &[
                    needed("k", "key", "KEY", "The key"),
                    needed("v", "value", "VALUE", "Its new value"),
                ],
            },
        ],
    },
    Family {
        title: "Export",
        commands: &[
            Command {
                name: "exportMetadata",
                summary: "Write topics and groups to a JSON file.",
                runs: Runs::Here(export::metadata),
                asks: &[Ask::GET_ALL_TOPIC_CONFIG, Ask::GET_ALL_SUBSCRIPTIONGROUP_CONFIG],
                flags: &[
                    optional("c", "clusterName", "CLUSTER", "Ask the brokers of this cluster"),
                    optional("b", "brokerAddr", "HOST:PORT", "Ask this broker"),
                    optional("f", "filePath", "DIR", "Folder to write to (/tmp/rocketmq/export)"),
                    switch("t", "topic", "Topics only"),
                    switch("g", "subscriptionGroup", "Groups only"),
                    switch("s", "specialTopic", "Retry and dead-letter topics too"),
                ],
            },
            Command {
                name: "exportConfigs",
                summary: "Write the configuration of brokers and name servers to a JSON file.",
                runs: Runs::Here(export::configs),
                asks: &[Ask::GET_BROKER_CONFIG],
                flags: &[
                    needed("c", "clusterName", "CLUSTER", "Ask the brokers of this cluster"),
                    optional("f", "filePath", "DIR", "Folder to write to (/tmp/rocketmq/export)"),
                ],
            },
            Command {
                name: "exportMetrics",
                summary: "Write the figures of brokers to a JSON file.",
                runs: Runs::Here(export::metrics),
                asks: &[Ask::GET_BROKER_RUNTIME_INFO, Ask::GET_ALL_SUBSCRIPTIONGROUP_CONFIG],
                flags: &[
                    needed("c", "clusterName", "CLUSTER", "Ask the brokers of this cluster"),
                    optional("f", "filePath", "DIR", "Folder to write to (/tmp/rocketmq/export)"),
                ],
            },
            Command {
                name: "exportPopRecord",
                summary: "Move the records of pop consumers to another store.",
                runs: Runs::Never(
                    "Kerolox keeps what pop consumers hold in the log: there is nothing to move",
                ),
                asks: &[],
                flags: &[
                    optional("c", "clusterName", "CLUSTER", "Ask the brokers of this cluster"),
                    optional("b", "brokerAddr", "HOST:PORT", "Ask this broker"),
                    optional("d", "dryRun", "BOOL", "Show only what would be done"),
                ],
            },
            Command {
                name: "exportMetadataInRocksDB",
                summary: "Print settings that are kept in RocksDB.",
                runs: Runs::Never("Kerolox keeps nothing in RocksDB: all its state is in the log"),
                asks: &[],
                flags: &[
                    needed("p", "path", "DIR", "Folder of the database"),
                    needed("t", "configType", "TYPE", "topics, subscriptionGroups or consumerOffsets"),
                    optional("j", "jsonEnable", "BOOL", "Print JSON"),
                ],
            },
            Command {
                name: "rocksDBConfigToJson",
                summary: "Print settings that are kept in RocksDB as JSON.",
                runs: Runs::Never("Kerolox keeps nothing in RocksDB: all its state is in the log"),
                asks: &[],
                flags: &[
                    optional("t", "configType", "TYPE", "topics, subscriptionGroups or consumerOffsets"),
                    optional("p", "configPath", "DIR", "Folder of the database"),
                    optional("e", "exportFile", "FILE", "File to write"),
                    optional("j", "jsonEnable", "BOOL", "Print JSON"),
                    optional("n", "nameserverAddr", "ADDRS", "Name servers, separated by ;"),
                    optional("c", "cluster", "CLUSTER", "Ask the brokers of this cluster"),
                    optional("b", "brokerAddr", "HOST:PORT", "Ask this broker"),
                ],
            },
            Command {
                name: "checkRocksdbCqWriteProgress",
                summary: "Compare queues in RocksDB with queue files.",
                runs: Runs::Never("Kerolox keeps nothing in RocksDB: all its state is in the log"),
                asks: &[],
                flags: &[
                    needed("c", "cluster", "CLUSTER", "Ask the brokers of this cluster"),
                    needed("n", "nameserverAddr", "ADDRS", "Name servers, separated by ;"),
                    optional("t", "topic", "TOPIC", "The topic"),
                    optional("cf", "checkFrom", "MS", "Check from this time on"),
                ],
            },
        ],
    },
    Family {
        title: "Replication",
        commands: &[
            Command {
                name: "haStatus",
                summary: "Show how far the replicas of masters are.",
                runs: Runs::Here(ha::status),
                asks: &[Ask::GET_BROKER_HA_STATUS],
                flags: &[
                    optional("c", "clusterName", "CLUSTER", "Ask the masters of this cluster"),
                    optional("b", "brokerAddr", "HOST:PORT", "Ask this broker"),
                    optional("i", "interval", "SECONDS", "Ask again every so many seconds"),
                ],
            },
            Command {
                name: "getBrokerEpoch",
                summary: "Show the epochs of brokers.",
                runs: Runs::Here(ha::epochs),
                asks: &[Ask::GET_BROKER_EPOCH_CACHE],
                flags: &[
                    one_of(0, "c", "clusterName", "CLUSTER", "Ask the brokers of this cluster"),
                    one_of(0, "b", "brokerName", "BROKER", "Ask the brokers of this name"),
                    optional("i", "interval", "SECONDS", "Ask again every so many seconds"),
                ],
            },
            Command {
                name: "getSyncStateSet",
                summary: "Show which replicas are in sync.",
                runs: Runs::Never("there is no controller: this version of Kerolox does not replicate"),
                asks: &[],
                flags: &[
                    needed("a", "controllerAddress", "HOST:PORT", "Address of the controller"),
                    optional("c", "clusterName", "CLUSTER", "Ask the brokers of this cluster"),
                    optional("b", "brokerName", "BROKER", "Name of the broker"),
                    optional("i", "interval", "SECONDS", "Ask again every so many seconds"),
                ],
            },
            Command {
                name: "getControllerMetaData",
                summary: "Show who leads the controllers.",
                runs: Runs::Never("there is no controller: this version of Kerolox does not replicate"),
                asks: &[],
                flags: &[needed("a", "controllerAddress", "HOST:PORT", "Address of the controller")],
            },
            Command {
                name: "getControllerConfig",
                summary: "Show the configuration of controllers.",
                runs: Runs::Never("there is no controller: this version of Kerolox does not replicate"),
                asks: &[],
                flags: &[needed("a", "controllerAddress", "HOST:PORT", "Address of the controller")],
            },
            Command {
                name: "updateControllerConfig",
                summary: "Change a key of the configuration of controllers.",
                runs: Runs::Never("there is no controller: this version of Kerolox does not replicate"),
                asks: &[],
                flags: &[
                    needed("a", "controllerAddress", "HOST:PORT", "Address of the controller"),
                    needed("k", "key", "KEY", "The key"),
                    needed("v", "value", "VALUE", "Its new value"),
                ],
            },
            Command {
                name: "electMaster",
                summary: "Make a broker the master.",
                runs: Runs::Never("there is no controller: this version of Kerolox does not replicate"),
                asks: &[],
                flags: &[
                    needed("a", "controllerAddress", "HOST:PORT", "Address of the controller"),
                    needed("b", "brokerId", "ID", "Id of the broker that is to be master"),
                    needed("bn", "brokerName", "BROKER", "Name of the broker"),
                    needed("c", "clusterName", "CLUSTER", "Ask the brokers of this cluster"),
                ],
            },
            Command {
                name: "cleanBrokerMetadata",
                summary: "Let the controller forget a broker.",
                runs: Runs::Never("there is no controller: this version of Kerolox does not replicate"),
                asks: &[],
                flags: &[
                    needed("a", "controllerAddress", "HOST:PORT", "Address of the controller"),
                    optional("b", "brokerControllerIdsToClean", "LIST", "Ids, separated by ;"),
                    needed("bn", "brokerName", "BROKER", "Name of the broker"),
                    optional("c", "clusterName", "CLUSTER", "Ask the brokers of this cluster"),
                    switch("l", "cleanLivingBroker", "Brokers that are alive too"),
                ],
            },
            Command {
                name: "resetMasterFlushOffset",
                summary: "Set a replica's idea of how far its master is.",
                runs: Runs::Never("there is no controller: this version of Kerolox does not replicate"),
                asks: &[],
                flags: &[
                    optional("b", "brokerAddr", "HOST:PORT", "Ask this broker"),
                    optional("o", "offset", "OFFSET", "The position"),
                ],
            },
        ],
    },
    Family {
        title: "Users and permissions",
        commands: &[
            Command {
                name: "createUser",
                summary: "Create a user.",
                runs: Runs::Here(auth::create_user),
                asks: &[Ask::AUTH_CREATE_USER],
                flags: &[
                    one_of(0, "c", "clusterName", "CLUSTER", "Ask the brokers of this cluster"),
                    one_of(0, "b", "brokerAddr", "HOST:PORT", "Ask this broker"),
                    needed("u", "username", "USER", "Name of the user"),
                    needed("p", "password", "PASSWORD", "The password"),
                    optional("t", "userType", "TYPE", "Super or Normal"),
                ],
            },
            Command {
                name: "updateUser",
                summary: "Change a user.",
                runs: Runs::Here(auth::update_user),
                asks: &[Ask::AUTH_UPDATE_USER],
                flags: &[
                    one_of(0, "c", "clusterName", "CLUSTER", "Ask the brokers of this cluster"),
                    one_of(0, "b", "brokerAddr", "HOST:PORT", "Ask this broker"),
                    needed("u", "username", "USER", "Name of the user"),
                    one_of(1, "p", "password", "PASSWORD", "The password"),
                    one_of(1, "t", "userType", "TYPE", "Super or Normal"),
                    one_of(1, "s", "userStatus", "STATUS", "enable or disable"),
                ],
            },
            Command {
                name: "deleteUser",
                summary: "Delete a user.",
                runs: Runs::Here(auth::delete_user),
                asks: &[Ask::AUTH_DELETE_USER],
                flags: &[
                    one_of(0, "c", "clusterName", "CLUSTER", "Ask the brokers of this cluster"),
                    one_of(0, "b", "brokerAddr", "HOST:PORT", "Ask this broker"),
                    needed("u", "username", "USER", "Name of the user"),
                ],
            },
            Command {
                name: "getUser",
                summary: "Show a user.",
                runs: Runs::Here(auth::get_user),
                asks: &[Ask::AUTH_GET_USER],
                flags: &[
                    one_of(0, "b", "brokerAddr", "HOST:PORT", "Ask this broker"),
                    one_of(0, "c", "clusterName", "CLUSTER", "Ask the brokers of this cluster"),
                    optional("u", "username", "USER", "Name of the user"),
                ],
            },
            Command {
                name: "listUser",
                summary: "List users.",
                runs: Runs::Here(auth::list_users),
                asks: &[Ask::AUTH_LIST_USER],
                flags: &[
                    one_of(0, "b", "brokerAddr", "HOST:PORT", "Ask this broker"),
                    one_of(0, "c", "clusterName", "CLUSTER", "Ask the brokers of this cluster"),
                    optional("f", "filter", "TEXT", "Only users with this in the name"),
                ],
            },
            Command {
                name: "copyUser",
                summary: "Copy users from one broker to another.",
                runs: Runs::Here(auth::copy_users),
                asks: &[
                    Ask::AUTH_LIST_USER,
                    Ask::AUTH_GET_USER,
                    Ask::AUTH_CREATE_USER,
                    Ask::AUTH_UPDATE_USER,
                ],
                flags: &[
                    needed("f", "fromBroker", "HOST:PORT", "Broker to copy from"),
                    needed("t", "toBroker", "HOST:PORT", "Broker to copy to"),
                    optional("u", "usernames", "LIST", "Only these users, separated by commas"),
                ],
            },
            Command {
                name: "createAcl",
                summary: "Create rules of what a user may do.",
                runs: Runs::Here(auth::create_acl),
                asks: &[Ask::AUTH_CREATE_ACL],
                flags: &[
                    one_of(0, "c", "clusterName", "CLUSTER", "Ask the brokers of this cluster"),
                    one_of(0, "b", "brokerAddr", "HOST:PORT", "Ask this broker"),
                    needed("s", "subject", "SUBJECT", "Whom the rules are about, as User:NAME"),
                    needed(
                        "r",
                        "resources",
                        "LIST",
                        "Resources, as Topic:NAME or Group:NAME, separated by commas",
                    ),
                    needed(
                        "a",
                        "actions",
                        "LIST",
                        "Pub, Sub, Create, Update, Delete, Get, List or All, separated by commas",
                    ),
                    optional("i", "sourceIp", "LIST", "Addresses that the rule is for, separated by commas"),
                    needed("d", "decision", "DECISION", "Allow or Deny"),
                ],
            },
            Command {
                name: "updateAcl",
                summary: "Change rules of what a user may do.",
                runs: Runs::Here(auth::update_acl),
                asks: &[Ask::AUTH_UPDATE_ACL],
                flags: &[
                    one_of(0, "c", "clusterName", "CLUSTER", "Ask the brokers of this cluster"),
                    one_of(0, "b", "brokerAddr", "HOST:PORT", "Ask this broker"),
                    needed("s", "subject", "SUBJECT", "Whom the rules are about, as User:NAME"),
                    needed(
                        "r",
                        "resources",
                        "LIST",
                        "Resources, as Topic:NAME or Group:NAME, separated by commas",
                    ),
                    needed(
                        "a",
                        "actions",
                        "LIST",
                        "Pub, Sub, Create, Update, Delete, Get, List or All, separated by commas",
                    ),
                    needed("d", "decision", "DECISION", "Allow or Deny"),
                    optional("i", "sourceIp", "LIST", "Addresses that the rule is for, separated by commas"),
                ],
            },
            Command {
                name: "deleteAcl",
                summary: "Delete rules of what a user may do.",
                runs: Runs::Here(auth::delete_acl),
                asks: &[Ask::AUTH_DELETE_ACL],
                flags: &[
                    one_of(0, "c", "clusterName", "CLUSTER", "Ask the brokers of this cluster"),
                    one_of(0, "b", "brokerAddr", "HOST:PORT", "Ask this broker"),
                    needed("s", "subject", "SUBJECT", "Whom the rules are about, as User:NAME"),
                    optional(
                        "r",
                        "resources",
                        "LIST",
                        "Resources, as Topic:NAME or Group:NAME, separated by commas",
                    ),
                ],
            },
            Command {
                name: "getAcl",
                summary: "Show what a user may do.",
                runs: Runs::Here(auth::get_acl),
                asks: &[Ask::AUTH_GET_ACL],
                flags: &[
                    one_of(0, "b", "brokerAddr", "HOST:PORT", "Ask this broker"),
                    one_of(0, "c", "clusterName", "CLUSTER", "Ask the brokers of this cluster"),
                    optional("s", "subject", "SUBJECT", "Whom the rules are about, as User:NAME"),
                ],
            },
            Command {
                name: "listAcl",
                summary: "List what users may do.",
                runs: Runs::Here(auth::list_acls),
                asks: &[Ask::AUTH_LIST_ACL],
                flags: &[
                    one_of(0, "b", "brokerAddr", "HOST:PORT", "Ask this broker"),
                    one_of(0, "c", "clusterName", "CLUSTER", "Ask the brokers of this cluster"),
                    optional("s", "subject", "SUBJECT", "Whom the rules are about, as User:NAME"),
                    optional("r", "resource", "RESOURCE", "Only rules about this resource"),
                ],
            },
            Command {
                name: "copyAcl",
                summary: "Copy rules from one broker to another.",
                runs: Runs::Here(auth::copy_acls),
                asks: &[Ask::AUTH_LIST_ACL, Ask::AUTH_GET_ACL, Ask::AUTH_CREATE_ACL, Ask::AUTH_UPDATE_ACL],
                flags: &[
                    needed("f", "fromBroker", "HOST:PORT", "Broker to copy from"),
                    needed("t", "toBroker", "HOST:PORT", "Broker to copy to"),
                    optional("s", "subjects", "LIST", "Only these subjects, separated by commas"),
                ],
            },
        ],
    },
    Family {
        title: "Lite topics",
        commands: &[
            Command {
                name: "getBrokerLiteInfo",
                summary: "Show the figures of lite topics on brokers.",
                runs: Runs::Here(lite::brokers),
                asks: &[Ask::GET_BROKER_LITE_INFO],
                flags: &[
                    one_of(0, "b", "brokerAddr", "HOST:PORT", "Ask this broker"),
                    one_of(0, "c", "cluster", "CLUSTER", "Ask the brokers of this cluster"),
                    switch("d", "showDetail", "Show more"),
                ],
            },
            Command {
                name: "getParentTopicInfo",
                summary: "Show the lite topics of a parent topic.",
                runs: Runs::Here(lite::parent),
                asks: &[Ask::GET_PARENT_TOPIC_INFO],
                flags: &[needed("p", "parentTopic", "TOPIC", "The parent topic")],
            },
            Command {
                name: "getLiteTopicInfo",
                summary: "Show a lite topic.",
                runs: Runs::Here(lite::topic),
                asks: &[Ask::GET_LITE_TOPIC_INFO],
                flags: &[
                    needed("p", "parentTopic", "TOPIC", "The parent topic"),
                    needed("l", "liteTopic", "TOPIC", "The lite topic"),
                    switch("s", "showClientId", "Show the clients"),
                ],
            },
            Command {
                name: "getLiteClientInfo",
                summary: "Show the lite topics of a client.",
                runs: Runs::Here(lite::client),
                asks: &[Ask::GET_LITE_CLIENT_INFO],
                flags: &[
                    needed("p", "parentTopic", "TOPIC", "The parent topic"),
                    needed("g", "group", "GROUP", "The consumer group"),
                    needed("c", "clientId", "ID", "Id of one client"),
                    switch("s", "showDetail", "Show more"),
                ],
            },
            Command {
                name: "getLiteGroupInfo",
                summary: "Show how far behind a group of lite topics is.",
                runs: Runs::Here(lite::group),
                asks: &[Ask::GET_LITE_GROUP_INFO],
                flags: &[
                    needed("p", "parentTopic", "TOPIC", "The parent topic"),
                    needed("g", "group", "GROUP", "The consumer group"),
                    optional("l", "liteTopic", "TOPIC", "The lite topic"),
                    optional("k", "topK", "N", "So many of each broker (20)"),
                ],
            },
            Command {
                name: "triggerLiteDispatch",
                summary: "Let a broker deliver lite topics again.",
                runs: Runs::Here(lite::trigger),
                asks: &[Ask::TRIGGER_LITE_DISPATCH],
                flags: &[
                    needed("p", "parentTopic", "TOPIC", "The parent topic"),
                    needed("g", "group", "GROUP", "The consumer group"),
                    optional("c", "clientId", "ID", "Id of one client"),
                    optional("b", "brokerName", "BROKER", "Name of the broker"),
                ],
            },
        ],
    },
];
