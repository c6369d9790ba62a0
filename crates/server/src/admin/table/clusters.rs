//! Clusters and name servers.

use super::super::flags::{Flag, flag, switch};
use super::super::{cluster, namesrv};
use super::{AMOUNT, Ask, BROKER_NAME, Family, INTERVAL, KEY, SIZE, VALUE, here};

const NAMESPACE: Flag = flag("s", "namespace", "NAMESPACE", "The namespace");

pub(super) const FAMILY: Family = Family {
    title: "Clusters and name servers",
    commands: &[
        here("clusterList", cluster::list, "Show all brokers with their load.")
            .asks(&[Ask::GET_BROKER_CLUSTER_INFO, Ask::GET_BROKER_RUNTIME_INFO])
            .takes(&[
                switch("m", "moreStats", "Numbers of messages instead"),
                INTERVAL,
                flag("c", "clusterName", "CLUSTER", "Only this cluster"),
            ]),
        here("clusterRT", cluster::round_trips, "Send messages to each broker and show how long they take.")
            .asks(&[Ask::SEND_MESSAGE_V2])
            .takes(&[
                AMOUNT,
                SIZE,
                flag("c", "cluster", "CLUSTER", "Only this cluster"),
                flag("p", "print log", "BOOL", "Print lines for a log"),
                flag("m", "machine room", "NAME", "Name of the place, for the log (noname)"),
                flag("i", "interval", "SECONDS", "Measure again every so many seconds"),
            ]),
        here("wipeWritePerm", namesrv::wipe, "Take write permission from a broker on all name servers.")
            .asks(&[Ask::WIPE_WRITE_PERM_OF_BROKER])
            .takes(&[BROKER_NAME.needed()]),
        here("addWritePerm", namesrv::add, "Give write permission back to a broker on all name servers.")
            .asks(&[Ask::ADD_WRITE_PERM_OF_BROKER])
            .takes(&[BROKER_NAME.needed()]),
        here("updateKvConfig", namesrv::put_kv, "Set a key of the name servers' table.")
            .asks(&[Ask::PUT_KV_CONFIG])
            .takes(&[NAMESPACE.needed(), KEY.needed(), VALUE.needed()]),
        here("deleteKvConfig", namesrv::delete_kv, "Delete a key of the name servers' table.")
            .asks(&[Ask::DELETE_KV_CONFIG])
            .takes(&[NAMESPACE.needed(), KEY.needed()]),
        here("getNamesrvConfig", namesrv::config, "Show the configuration of name servers.")
            .asks(&[Ask::GET_NAMESRV_CONFIG]),
        here(
            "updateNamesrvConfig",
            namesrv::update_config,
            "Change a key of the configuration of name servers.",
        )
        .asks(&[Ask::UPDATE_NAMESRV_CONFIG])
        .takes(&[KEY.needed(), VALUE.needed()]),
    ],
};
