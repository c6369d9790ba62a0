//! Lite topics.

use super::super::flags::{Flag, flag, switch};
use super::super::lite;
use super::{Ask, BROKER, BROKER_NAME, Family, GROUP, IN_CLUSTER, here};

const PARENT_TOPIC: Flag = flag("p", "parentTopic", "TOPIC", "The parent topic");
const LITE_TOPIC: Flag = flag("l", "liteTopic", "TOPIC", "The lite topic");
const CLIENT_ID: Flag = flag("c", "clientId", "ID", "Id of one client");

pub(super) const FAMILY: Family = Family {
    title: "Lite topics",
    commands: &[
        here("getBrokerLiteInfo", lite::brokers, "Show the figures of lite topics on brokers.")
            .asks(&[Ask::GET_BROKER_LITE_INFO])
            .takes(&[BROKER.one_of(0), IN_CLUSTER.one_of(0), switch("d", "showDetail", "Show more")]),
        here("getParentTopicInfo", lite::parent, "Show the lite topics of a parent topic.")
            .asks(&[Ask::GET_PARENT_TOPIC_INFO])
            .takes(&[PARENT_TOPIC.needed()]),
        here("getLiteTopicInfo", lite::topic, "Show a lite topic.").asks(&[Ask::GET_LITE_TOPIC_INFO]).takes(
            &[PARENT_TOPIC.needed(), LITE_TOPIC.needed(), switch("s", "showClientId", "Show the clients")],
        ),
        here("getLiteClientInfo", lite::client, "Show the lite topics of a client.")
            .asks(&[Ask::GET_LITE_CLIENT_INFO])
            .takes(&[
                PARENT_TOPIC.needed(),
                GROUP.needed(),
                CLIENT_ID.needed(),
                switch("s", "showDetail", "Show more"),
            ]),
        here("getLiteGroupInfo", lite::group, "Show how far behind a group of lite topics is.")
            .asks(&[Ask::GET_LITE_GROUP_INFO])
            .takes(&[
                PARENT_TOPIC.needed(),
                GROUP.needed(),
                LITE_TOPIC,
                flag("k", "topK", "N", "So many of each broker (20)"),
            ]),
        here("triggerLiteDispatch", lite::trigger, "Let a broker deliver lite topics again.")
            .asks(&[Ask::TRIGGER_LITE_DISPATCH])
            .takes(&[PARENT_TOPIC.needed(), GROUP.needed(), CLIENT_ID, BROKER_NAME]),
    ],
};
