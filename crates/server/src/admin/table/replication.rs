//! Replication.

use super::super::flags::{Flag, flag, switch};
use super::super::ha;
use super::{Ask, BROKER, BROKER_NAME, CLUSTER, Family, INTERVAL, KEY, VALUE, here, never};

const CONTROLLER: Flag = flag("a", "controllerAddress", "HOST:PORT", "Address of the controller");
const BROKER_NAME_BN: Flag = flag("bn", "brokerName", "BROKER", "Name of the broker");
const NO_CONTROLLER: &str = "there is no controller: this version of Kerolox does not replicate";

pub(super) const FAMILY: Family = Family {
    title: "Replication",
    commands: &[
        here("haStatus", ha::status, "Show how far the replicas of masters are.")
            .asks(&[Ask::GET_BROKER_HA_STATUS])
            .takes(&[
                flag("c", "clusterName", "CLUSTER", "Ask the masters of this cluster"),
                BROKER,
                INTERVAL,
            ]),
        here("getBrokerEpoch", ha::epochs, "Show the epochs of brokers.")
            .asks(&[Ask::GET_BROKER_EPOCH_CACHE])
            .takes(&[
                CLUSTER.one_of(0),
                flag("b", "brokerName", "BROKER", "Ask the brokers of this name").one_of(0),
                INTERVAL,
            ]),
        never("getSyncStateSet", NO_CONTROLLER, "Show which replicas are in sync.").takes(&[
            CONTROLLER.needed(),
            CLUSTER,
            BROKER_NAME,
            INTERVAL,
        ]),
        never("getControllerMetaData", NO_CONTROLLER, "Show who leads the controllers.")
            .takes(&[CONTROLLER.needed()]),
        never("getControllerConfig", NO_CONTROLLER, "Show the configuration of controllers.")
            .takes(&[CONTROLLER.needed()]),
        never("updateControllerConfig", NO_CONTROLLER, "Change a key of the configuration of controllers.")
            .takes(&[CONTROLLER.needed(), KEY.needed(), VALUE.needed()]),
        never("electMaster", NO_CONTROLLER, "Make a broker the master.").takes(&[
            CONTROLLER.needed(),
            flag("b", "brokerId", "ID", "Id of the broker that is to be master").needed(),
            BROKER_NAME_BN.needed(),
            CLUSTER.needed(),
        ]),
        never("cleanBrokerMetadata", NO_CONTROLLER, "Let the controller forget a broker.").takes(&[
            CONTROLLER.needed(),
            flag("b", "brokerControllerIdsToClean", "LIST", "Ids, separated by ;"),
            BROKER_NAME_BN.needed(),
            CLUSTER,
            switch("l", "cleanLivingBroker", "Brokers that are alive too"),
        ]),
        here(
            "resetMasterFlushOffset",
            ha::reset_master_offset,
            "Set a replica's idea of how far its master is; a master takes no notice.",
        )
        .asks(&[Ask::RESET_MASTER_FLUSH_OFFSET])
        .takes(&[BROKER, flag("o", "offset", "OFFSET", "The position")]),
    ],
};
