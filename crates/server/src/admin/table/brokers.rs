//! Brokers.

use super::super::flags::{Flag, flag};
use super::super::{broker, cold};
use super::{Ask, BROKER, CLUSTER, CONSUMER_GROUP, Family, IN_CLUSTER, KEY, ORDER, VALUE, here, never};

const CONTAINER: Flag = flag("c", "brokerContainerAddr", "HOST:PORT", "Address of the container");
const NO_CONTAINER: &str =
    "Kerolox runs one broker in each process: there is no container; start or stop a process instead";

pub(super) const FAMILY: Family = Family {
    title: "Brokers",
    commands: &[
        here("brokerStatus", broker::status, "Show the figures of a running broker.")
            .asks(&[Ask::GET_BROKER_RUNTIME_INFO])
            .takes(&[BROKER.one_of(0), CLUSTER.one_of(0)]),
        here("brokerConsumeStats", broker::consume_stats, "Show the groups of a broker that are behind.")
            .asks(&[Ask::GET_BROKER_CONSUME_STATS])
            .takes(&[
                BROKER.needed(),
                flag("t", "timeoutMillis", "MS", "How long the broker may take (50000)"),
                flag("l", "level", "N", "Only queues that are so far behind (0)"),
                ORDER,
            ]),
        here("getBrokerConfig", broker::config, "Show the configuration of brokers.")
            .asks(&[Ask::GET_BROKER_CONFIG])
            .takes(&[BROKER.one_of(0), CLUSTER.one_of(0)]),
        here("updateBrokerConfig", broker::update_config, "Change a key of the configuration of brokers.")
            .asks(&[Ask::UPDATE_BROKER_CONFIG])
            .takes(&[
                BROKER,
                CLUSTER,
                flag("a", "updateAllBroker", "BOOL", "Replicas too, not only masters"),
                KEY.needed(),
                VALUE.needed(),
            ]),
        here("cleanExpiredCQ", broker::clean_queues, "Remove queue entries of messages that are gone.")
            .asks(&[Ask::CLEAN_EXPIRED_CONSUMEQUEUE])
            .takes(&[BROKER, IN_CLUSTER]),
        here("cleanUnusedTopic", broker::clean_topics, "Remove queues of topics that are gone.")
            .asks(&[Ask::CLEAN_UNUSED_TOPIC])
            .takes(&[BROKER, IN_CLUSTER]),
        here("deleteExpiredCommitLog", broker::delete_expired, "Remove expired segments of the log.")
            .asks(&[Ask::DELETE_EXPIRED_COMMITLOG])
            .takes(&[flag("n", "namesrvAddr", "ADDRS", "Name servers, separated by ;"), BROKER, IN_CLUSTER]),
        here("getColdDataFlowCtrInfo", cold::info, "Show the limits of reading cold data.")
            .asks(&[Ask::GET_COLD_DATA_FLOW_CTR_INFO])
            .takes(&[BROKER, CLUSTER]),
        here("updateColdDataFlowCtrGroupConfig", cold::update, "Set a group's limit of reading cold data.")
            .asks(&[Ask::UPDATE_COLD_DATA_FLOW_CTR_CONFIG])
            .takes(&[
                BROKER,
                CLUSTER,
                CONSUMER_GROUP.needed(),
                flag("v", "threshold", "BYTES", "Bytes of cold data that the group may read in a second")
                    .needed(),
            ]),
        here(
            "removeColdDataFlowCtrGroupConfig",
            cold::remove,
            "Remove a group's limit of reading cold data.",
        )
        .asks(&[Ask::REMOVE_COLD_DATA_FLOW_CTR_CONFIG])
        .takes(&[BROKER, CLUSTER, CONSUMER_GROUP.needed()]),
        here("setCommitLogReadAheadMode", cold::read_ahead, "Set how the log is read ahead.")
            .asks(&[Ask::SET_COMMITLOG_READ_MODE])
            .takes(&[
                BROKER,
                CLUSTER,
                flag("m", "commitLogReadAheadMode", "MODE", "0: read ahead, 1: do not").needed(),
            ]),
        never(
            "switchTimerEngine",
            "Kerolox has one engine for timer messages, and nothing to switch to",
            "Change what keeps timer messages.",
        )
        .takes(&[
            BROKER.one_of(0),
            CLUSTER.one_of(0),
            flag("e", "engineType", "TYPE", "R or F").needed(),
        ]),
        never("addBroker", NO_CONTAINER, "Start a broker in a broker container.").takes(&[
            CONTAINER.needed(),
            flag("b", "brokerConfigPath", "FILE", "Configuration of the broker").needed(),
        ]),
        never("removeBroker", NO_CONTAINER, "End a broker in a broker container.")
            .takes(&[CONTAINER.needed(), flag("b", "brokerIdentity", "NAME", "cluster:broker:id").needed()]),
    ],
};
