//! Messages.

use super::super::flags::{Flag, flag, switch};
use super::super::{print, query, send, trace};
use super::{AMOUNT, Ask, BROKER_NAME, BY_ROUTE_OF, CONSUMER_GROUP, Family, SIZE, TOPIC, here, never};

const MESSAGE_ID: Flag = flag("i", "msgId", "ID", "Id of the message");
const TO_CLIENT: Flag = flag("d", "clientId", "ID", "Id of one client");
const BODY_FORMAT: Flag = flag("f", "bodyFormat", "NAME", "Print the body in this encoding (UTF-8)");
const QUEUE_ID: Flag = flag("i", "queueId", "N", "Queue id");
const OFFSET: Flag = flag("o", "offset", "OFFSET", "An offset in the queue");
const CHARSET: Flag = flag("c", "charsetName", "NAME", "Encoding of bodies, as GBK (UTF-8)");
const TAGS: Flag = flag("s", "subExpression", "TAGS", "Only messages with these tags, as TagA || TagB");
const BEGIN: Flag =
    flag("b", "beginTimestamp", "TIME", "From this time on: milliseconds, or yyyy-MM-dd#HH:mm:ss:SSS");
const END: Flag =
    flag("e", "endTimestamp", "TIME", "Up to this time: milliseconds, or yyyy-MM-dd#HH:mm:ss:SSS");
const NO_COMPACTION_LOG: &str = "Kerolox has one log and no files of compaction; `kerolox store dump` prints it, \
    printMsg prints a topic";

pub(super) const FAMILY: Family = Family {
    title: "Messages",
    commands: &[
        here("queryMsgById", query::by_id, "Show the message of an offset message id.")
            .asks(&[Ask::VIEW_MESSAGE_BY_ID, Ask::CONSUME_MESSAGE_DIRECTLY])
            .takes(&[
                TOPIC.needed(),
                MESSAGE_ID.needed(),
                CONSUMER_GROUP,
                TO_CLIENT,
                flag("s", "sendMessage", "BOOL", "Send the message again"),
                flag("u", "unitName", "NAME", "Unit of the client"),
                BODY_FORMAT,
                BY_ROUTE_OF,
            ]),
        here("queryMsgByKey", query::by_key, "List the messages that have a key.")
            .asks(&[Ask::QUERY_MESSAGE])
            .takes(&[
                TOPIC.needed(),
                flag("k", "msgKey", "KEY", "A key of the message").needed(),
                flag("b", "beginTimestamp", "MS", "Only messages from this time on, in milliseconds"),
                flag("e", "endTimestamp", "MS", "Only messages up to this time, in milliseconds"),
                flag("m", "maxNum", "N", "At most so many messages (64)"),
                BY_ROUTE_OF,
                flag("p", "keyType", "TYPE", "K: key, T: tag"),
                flag("l", "lastKey", "KEY", "Go on behind this key"),
            ]),
        here(
            "queryMsgByUniqueKey",
            query::by_unique_key,
            "Show the message of an id that its producer gave it.",
        )
        .asks(&[Ask::QUERY_MESSAGE, Ask::CONSUME_MESSAGE_DIRECTLY])
        .takes(&[
            MESSAGE_ID.needed(),
            CONSUMER_GROUP,
            TO_CLIENT,
            TOPIC.needed(),
            switch("a", "showAll", "Every message with this id, up to 32"),
            BY_ROUTE_OF,
            flag("s", "startTime", "MS", "Only messages from this time on, in milliseconds"),
            flag("e", "endTime", "MS", "Only messages up to this time, in milliseconds"),
        ]),
        here("queryMsgByOffset", query::by_offset, "Show the message at an offset of a queue.")
            .asks(&[Ask::PULL_MESSAGE])
            .takes(&[
                TOPIC.needed(),
                BROKER_NAME.needed(),
                QUEUE_ID.needed(),
                OFFSET.needed(),
                BODY_FORMAT,
                flag("r", "routeTopic", "TOPIC", "Find the broker by the route of this topic"),
            ]),
        here("queryMsgTraceById", trace::by_id, "Show what happened to a message.")
            .asks(&[Ask::QUERY_MESSAGE])
            .takes(&[
                MESSAGE_ID.needed(),
                flag("t", "traceTopic", "TOPIC", "Topic of the traces (RMQ_SYS_TRACE_TOPIC)"),
                flag("b", "beginTimestamp", "MS", "Only traces from this time on, in milliseconds"),
                flag("e", "endTimestamp", "MS", "Only traces up to this time, in milliseconds"),
                flag("c", "maxNum", "N", "At most so many traces (64)"),
            ]),
        here("printMsg", print::topic, "Print the messages of a topic.").asks(&[Ask::PULL_MESSAGE]).takes(&[
            TOPIC.needed(),
            CHARSET,
            TAGS,
            BEGIN,
            END,
            flag("d", "printBody", "BOOL", "Print bodies too (true)"),
            flag("l", "lmqParentTopic", "TOPIC", "Find the brokers by the route of this topic"),
        ]),
        here("printMsgByQueue", print::queue, "Print the messages of a queue, or count their tags.")
            .asks(&[Ask::PULL_MESSAGE])
            .takes(&[
                TOPIC.needed(),
                flag("a", "brokerName", "BROKER", "Name of the broker").needed(),
                QUEUE_ID.needed(),
                CHARSET,
                TAGS,
                BEGIN,
                END,
                flag("p", "print msg", "BOOL", "Print each message"),
                flag("d", "printBody", "BOOL", "Print bodies too"),
                flag("f", "calculate", "BOOL", "Count the messages of each tag"),
            ]),
        here("consumeMessage", print::consume, "Print messages, a few of each queue or of one queue.")
            .asks(&[Ask::PULL_MESSAGE])
            .takes(&[
                TOPIC.needed(),
                BROKER_NAME,
                QUEUE_ID,
                OFFSET,
                CONSUMER_GROUP,
                Flag { short: "s", ..BEGIN },
                END,
                flag("c", "MessageNumber", "N", "At most so many messages (128)"),
            ]),
        here("sendMessage", send::one, "Send a message.").asks(&[Ask::SEND_MESSAGE_V2]).takes(&[
            TOPIC.needed(),
            flag("p", "body", "TEXT", "Body of the message").needed(),
            flag("k", "key", "KEYS", "Keys of the message, separated by spaces"),
            flag("c", "tags", "TAG", "Tag of the message"),
            flag("b", "broker", "BROKER", "Send to the broker of this name"),
            flag("i", "qid", "N", "Send to this queue"),
            flag("m", "msgTraceEnable", "BOOL", "Write a trace of the message"),
        ]),
        here(
            "sendMsgStatus",
            send::to_broker,
            "Send messages to a broker's own topic and show how long each takes.",
        )
        .asks(&[Ask::SEND_MESSAGE_V2])
        .takes(&[
            flag("b", "brokerName", "BROKER", "Topic of the broker itself, as broker-a").needed(),
            flag("s", "messageSize", "BYTES", "Size of each message (128)"),
            flag("c", "count", "N", "How many (50)"),
        ]),
        here(
            "checkMsgSendRT",
            send::round_trips,
            "Send messages to each queue of a topic and show how long each takes.",
        )
        .asks(&[Ask::SEND_MESSAGE_V2])
        .takes(&[TOPIC.needed(), AMOUNT, SIZE]),
        never("dumpCompactionLog", NO_COMPACTION_LOG, "Print the messages of a file of a compaction log.")
            .takes(&[flag("f", "file", "FILE", "The file")]),
    ],
};
