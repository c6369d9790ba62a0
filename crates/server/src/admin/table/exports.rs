//! Export.

use super::super::export;
use super::super::flags::{Flag, flag, switch};
use super::{Ask, BROKER, CLUSTER, Family, IN_CLUSTER, TOPIC, here, never};

const FOLDER: Flag = flag("f", "filePath", "DIR", "Folder to write to (/tmp/rocketmq/export)");
const CONFIG_TYPE: Flag = flag("t", "configType", "TYPE", "topics, subscriptionGroups or consumerOffsets");
const AS_JSON: Flag = flag("j", "jsonEnable", "BOOL", "Print JSON");
const NAME_SERVERS: Flag = flag("n", "nameserverAddr", "ADDRS", "Name servers, separated by ;");
const NO_ROCKSDB: &str = "Kerolox keeps nothing in RocksDB: all its state is in the log";

pub(super) const FAMILY: Family = Family {
    title: "Export",
    commands: &[
        here("exportMetadata", export::metadata, "Write topics and groups to a JSON file.")
            .asks(&[Ask::GET_ALL_TOPIC_CONFIG, Ask::GET_ALL_SUBSCRIPTIONGROUP_CONFIG])
            .takes(&[
                CLUSTER,
                BROKER,
                FOLDER,
                switch("t", "topic", "Topics only"),
                switch("g", "subscriptionGroup", "Groups only"),
                switch("s", "specialTopic", "Retry and dead-letter topics too"),
            ]),
        here(
            "exportConfigs",
            export::configs,
            "Write the configuration of brokers and name servers to a JSON file.",
        )
        .asks(&[Ask::GET_BROKER_CONFIG])
        .takes(&[CLUSTER.needed(), FOLDER]),
        here("exportMetrics", export::metrics, "Write the figures of brokers to a JSON file.")
            .asks(&[Ask::GET_BROKER_RUNTIME_INFO, Ask::GET_ALL_SUBSCRIPTIONGROUP_CONFIG])
            .takes(&[CLUSTER.needed(), FOLDER]),
        here(
            "exportPopRecord",
            export::pop_records,
            "Move what pop consumers hold from where older versions kept it.",
        )
        .asks(&[Ask::POP_ROLLBACK])
        .takes(&[CLUSTER, BROKER, flag("d", "dryRun", "BOOL", "Show only what would be done")]),
        never("exportMetadataInRocksDB", NO_ROCKSDB, "Print settings that are kept in RocksDB.").takes(&[
            flag("p", "path", "DIR", "Folder of the database").needed(),
            CONFIG_TYPE.needed(),
            AS_JSON,
        ]),
        never("rocksDBConfigToJson", NO_ROCKSDB, "Print settings that are kept in RocksDB as JSON.").takes(
            &[
                CONFIG_TYPE,
                flag("p", "configPath", "DIR", "Folder of the database"),
                flag("e", "exportFile", "FILE", "File to write"),
                AS_JSON,
                NAME_SERVERS,
                IN_CLUSTER,
                BROKER,
            ],
        ),
        never("checkRocksdbCqWriteProgress", NO_ROCKSDB, "Compare queues in RocksDB with queue files.")
            .takes(&[
                IN_CLUSTER.needed(),
                NAME_SERVERS.needed(),
                TOPIC,
                flag("cf", "checkFrom", "MS", "Check from this time on"),
            ]),
    ],
};
