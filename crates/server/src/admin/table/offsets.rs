//! Offsets.

use super::super::flags::{Flag, flag};
use super::super::offset;
use super::{Ask, BY_ROUTE_OF, Family, GROUP, THE_BROKER, TOPIC, here};

const FORCE: Flag = flag("f", "force", "BOOL", "Go back too, not only forward (true)");

pub(super) const FAMILY: Family = Family {
    title: "Offsets",
    commands: &[
        here("resetOffsetByTime", offset::reset_by_time, "Let a group go on from a point in time.")
            .asks(&[Ask::INVOKE_BROKER_TO_RESET_OFFSET])
            .takes(&[
                GROUP.needed(),
                TOPIC.needed(),
                flag("s", "timestamp", "TIME", "now, milliseconds, or yyyy-MM-dd#HH:mm:ss:SSS").needed(),
                FORCE,
                BY_ROUTE_OF,
                flag("b", "broker", "HOST:PORT", "Only on this broker, with -q"),
                flag("q", "queue", "N", "Only this queue, with -b"),
                flag("o", "offset", "OFFSET", "Set this offset instead, with -b and -q"),
            ]),
        here("skipAccumulatedMessage", offset::skip, "Let a group skip all that it has not consumed.")
            .asks(&[Ask::INVOKE_BROKER_TO_RESET_OFFSET])
            .takes(&[GROUP.needed(), TOPIC.needed(), FORCE, BY_ROUTE_OF]),
        here("cloneGroupOffset", offset::copy, "Copy the offsets of one group to another.")
            .asks(&[Ask::GET_CONSUME_STATS, Ask::UPDATE_CONSUMER_OFFSET])
            .takes(&[
                flag("s", "srcGroup", "GROUP", "The group to copy from").needed(),
                flag("d", "destGroup", "GROUP", "The group to copy to").needed(),
                TOPIC.needed(),
                flag("o", "offline", "BOOL", "Whether the group is offline"),
            ]),
        here("queryCq", offset::queue_entries, "Show the entries of a queue.")
            .asks(&[Ask::QUERY_CONSUME_QUEUE])
            .takes(&[
                TOPIC.needed(),
                flag("q", "queue", "N", "Queue id").needed(),
                flag("i", "index", "OFFSET", "First offset").needed(),
                flag("c", "count", "N", "How many entries (10)"),
                THE_BROKER,
                flag("g", "consumer", "GROUP", "Show whether this group's filter takes the messages"),
            ]),
    ],
};
