"""The requests of the differential test, as data: stories of steps. See exchange.py for what a step may say.

Names such as `$T` are of one story alone. Every story creates what it needs. A step whose code Kerolox does not serve yet is skipped
(answers.py reads the table of codes).
"""

import struct

import remoting as r

BORN = 1700000000000
HEARTBEAT, PULL, SEND, CREATE_TOPIC = 34, 11, 310, 17


def ask(name, code, fields=None, body=b"", **more):
    return {"name": name, "code": code, "fields": fields or {}, "body": body, **more}


def do(code, fields=None, body=b"", **more):
    """A step whose answer is not compared."""
    return {"code": code, "fields": fields or {}, "body": body, **more}


def namesrv(name, code, fields=None, body=b"", **more):
    return ask(name, code, fields, body, to="namesrv", **more)


def create(topic, queues=2, perm=6, **more):
    fields = {
        "topic": topic, "defaultTopic": "TBW102", "readQueueNums": queues, "writeQueueNums": queues, "perm": perm,
        "topicFilterType": "SINGLE_TAG", "topicSysFlag": 0, "order": "false", **more,
    }
    return fields


def topic(name="$T", queues=2, perm=6, **more):
    return do(CREATE_TOPIC, create(name, queues, perm, **more))


def group(name="$G", **more):
    config = {
        "groupName": name, "consumeEnable": True, "consumeFromMinEnable": True, "consumeBroadcastEnable": True, "retryQueueNums": 1,
        "retryMaxTimes": 16, "brokerId": 0, "whichBrokerWhenConsumeSlowly": 1, "notifyConsumerIdsChangedEnable": True, **more,
    }
    return do(200, body=config)


def send(topic="$T", queue=0, props=None, **more):
    return r.v2(r.send_fields(topic, queue, props=props, bornTimestamp=BORN, **more))


def long_send(topic="$T", queue=0, props=None, **more):
    return r.send_fields(topic, queue, props=props, bornTimestamp=BORN, **more)


def sent(body, topic="$T", queue=0, props=None, **more):
    return do(SEND, send(topic, queue, props), body, **more)


def pull(topic="$T", group="$G", queue=0, offset=0, **more):
    return r.pull_fields(group, topic, queue, offset, **more)


def pulled(name, records, topic="$T", group="$G", queue=0, offset=0, code=PULL, **more):
    """Pulls until as many records are there: what is stored may be readable a little later."""
    fields = pull(topic, group, queue, offset, **more)
    return ask(name, code, fields, kind="records", until={"code": 0, "records": records}, seconds=30)


def subscription(topic="$T", expression="*", kind="TAG", version=1, tags=(), codes=()):
    return {
        "topic": topic, "subString": expression, "expressionType": kind, "subVersion": version, "tagsSet": list(tags),
        "codeSet": list(codes), "classFilterMode": False,
    }


def heartbeat(client="$client", group=None, producer=None, subscriptions=None, model="CLUSTERING", kind="CONSUME_PASSIVELY"):
    consumers = []
    if group:
        consumers = [{
            "groupName": group, "consumeType": kind, "messageModel": model, "consumeFromWhere": "CONSUME_FROM_FIRST_OFFSET",
            "subscriptionDataSet": subscriptions if subscriptions is not None else [subscription()], "unitMode": False,
        }]
    producers = [{"groupName": producer}] if producer else []
    return {"clientID": client, "consumerDataSet": consumers, "producerDataSet": producers}


def beat(client="c", **more):
    """A heartbeat of the connection `client`, whose id is `$id_client`."""
    return do(HEARTBEAT, body=heartbeat(client=f"$id_{client}", **more), client=client)


def one_of_batch(body, props=""):
    body, props = body.encode(), props.encode()
    size = 4 + 4 + 4 + 4 + 4 + len(body) + 2 + len(props)
    return struct.pack(">iiiii", size, 0, 0, 0, len(body)) + body + struct.pack(">h", len(props)) + props


STORIES = {}

# ---------------------------------------------------------------------------------------------------------- messages

STORIES["send"] = [
    topic(),
    ask("everything, code 310", 310, send(props={"TAGS": "TagA", "KEYS": "k1 k2", "UNIQ_KEY": "$uniq", "user": "ü=1", "WAIT": "true"}), "hello"),
    ask("code 10", 10, long_send(props={"TAGS": "TagB", "UNIQ_KEY": "$uniqb"}), "long names"),
    ask("without an id of its own", 310, send(props={}), "bare"),
    ask("the broker chooses the queue", 310, send(queue=-1, topic="$Single"), "any", mask=["queueId"]),
    ask("flag, sysFlag and attempts are kept", 310, send(flag=7, sysFlag=1, reconsumeTimes=2), "flags"),
    ask("WAIT=false", 310, send(props={"WAIT": "false"}), "not waited for"),
    ask("sharding key", 310, send(queue=1, props={"SHARDING_KEY": "s"}), "sharded"),
    ask("other encoding of the header", 310, send(queue=1), "binary", binary=True),
    {"step": "oneway", "code": 310, "fields": send(queue=1), "body": "oneway"},
    pulled("what is stored in queue 0", 5),
    pulled("what is stored in queue 1", 3, queue=1),
    ask("a topic that is not there", 310, send("$New", props={"TAGS": "x"}), "first"),
    ask("the topic that it created", 351, {"topic": "$New"}),
    ask("a default topic that is not there", 310, send("$Never", defaultTopic="$None"), "x"),
    ask("queue beyond", 310, send(queue=2), "x"),
    ask("empty topic", 310, send(""), "x"),
    ask("topic with a slash", 310, send("a/b"), "x"),
    ask("a schedule topic", 310, send("SCHEDULE_TOPIC_XXXX"), "x"),
    ask("the half topic", 310, send("RMQ_SYS_TRANS_HALF_TOPIC"), "x"),
    ask("4 MiB and 1", 310, send(), b"x" * ((4 << 20) + 1)),
    ask("no body", 310, send()),
    ask("no fields", 310, {}, "x"),
    ask("bad number", 310, {**send(), "e": "x"}, "x"),
]

STORIES["batch"] = [
    topic(),
    ask("three messages", 320, send(batch="true"), one_of_batch("a", "TAGS\x01TagA\x02UNIQ_KEY\x01$uniq1\x02")
        + one_of_batch("b", "KEYS\x01k\x02") + one_of_batch("c")),
    ask("with a common id", 320, send(batch="true", props={"UNIQ_KEY": "batch-unique-id"}), one_of_batch("d") + one_of_batch("e")),
    pulled("what is stored", 5),
    ask("to a retry topic", 320, send("%RETRY%$G", batch="true"), one_of_batch("a")),
    ask("cut off", 320, send(batch="true"), one_of_batch("a")[:-1]),
    ask("no body", 320, send(batch="true")),
    ask("with a delay", 320, send(batch="true", props={"DELAY": "2"}), one_of_batch("late") + one_of_batch("later")),
    ask("queue beyond", 320, send(queue=5, batch="true"), one_of_batch("a")),
]

STORIES["pull"] = [
    topic(),
    group(),
    *[sent(f"m{i}", props={"TAGS": f"Tag{i % 3}"}) for i in range(6)],
    pulled("from the start", 6),
    ask("at most two", PULL, pull(maxMsgNums=2), kind="records"),
    ask("from the middle", PULL, pull(offset=4), kind="records"),
    ask("at the end, not waiting", PULL, pull(offset=6)),
    ask("beyond the end", PULL, pull(offset=100)),
    ask("before the start", PULL, pull(offset=-1)),
    ask("an empty queue", PULL, pull(queue=1)),
    ask("an empty queue, from 50", PULL, pull(queue=1, offset=50)),
    ask("queue beyond", PULL, pull(queue=2)),
    ask("queue -1", PULL, pull(queue=-1)),
    ask("unknown topic", PULL, pull(topic="$None")),
    ask("unknown group", PULL, pull(group="$NewG"), kind="records"),
    ask("a group with a bad name", PULL, pull(group="a/b")),
    ask("lite pull", 361, pull(), kind="records"),
    ask("one tag", PULL, pull(subscription="Tag1"), kind="records"),
    ask("two tags", PULL, pull(subscription="Tag0 || Tag2"), kind="records"),
    ask("a tag that nobody has", PULL, pull(subscription="Tag9"), kind="records"),
    ask("bad SQL", PULL, pull(subscription="a >", expressionType="SQL92"), kind="records"),
    ask("SQL", PULL, pull(subscription="TAGS = 'Tag1'", expressionType="SQL92"), kind="records"),
    ask("another kind of expression", PULL, pull(subscription="x", expressionType="XYZ"), kind="records"),
    ask("nothing of its own, and not connected", PULL, pull(sysFlag=0)),
    ask("commits on the way", PULL, pull(offset=6, sysFlag=5, commitOffset=3)),
    ask("what it committed", 14, {"consumerGroup": "$G", "topic": "$T", "queueId": 0}),
    ask("no fields", PULL),
    ask("other encoding of the header", PULL, pull(maxMsgNums=1), kind="records", binary=True),
    ask("few bytes", PULL, pull(maxMsgBytes=300), kind="records"),
]

STORIES["pull that waits"] = [
    topic(queues=1),
    group(),
    sent("first"),
    pulled("the first", 1),
    {"step": "later", "as": "parked", "client": "w", "code": PULL, "fields": pull(offset=1, sysFlag=6, suspendTimeoutMillis=20000)},
    ask("meanwhile", 30, {"topic": "$T", "queueId": 0}, client="w"),
    sent("second"),
    {"step": "answer", "as": "parked", "name": "when a message comes", "client": "w", "kind": "records"},
    ask("nothing within its time", PULL, pull(offset=2, sysFlag=6, suspendTimeoutMillis=1500), client="w"),
    {"step": "later", "as": "tag", "client": "w", "code": PULL, "fields": pull(offset=2, sysFlag=6, suspendTimeoutMillis=20000, subscription="TagZ")},
    sent("third", props={"TAGS": "TagA"}),
    sent("fourth", props={"TAGS": "TagZ"}),
    {"step": "answer", "as": "tag", "name": "when one with its tag comes", "client": "w", "kind": "records"},
]

OFFSETS = {"topic": "$T", "queueId": 0}
STORIES["offsets"] = [
    topic(),
    group(),
    *[sent(f"m{i}") for i in range(3)],
    pulled("messages", 3),
    ask("largest", 30, OFFSETS, until={"fields": {"offset": "3"}}),
    ask("largest of an empty queue", 30, {**OFFSETS, "queueId": 1}),
    ask("largest, committed", 30, {**OFFSETS, "committed": "true"}),
    ask("largest, with the time of an early Go client", 30, {**OFFSETS, "timestamp": 1}),
    ask("smallest", 31, OFFSETS),
    ask("smallest of an unknown topic", 31, {**OFFSETS, "topic": "$None"}),
    ask("largest of a queue beyond", 30, {**OFFSETS, "queueId": 7}),
    ask("time of the first message", 32, OFFSETS),
    ask("time of the first message of an empty queue", 32, {**OFFSETS, "queueId": 1}),
    ask("at time 0", 29, {**OFFSETS, "timestamp": 0}),
    ask("at time 0, upper", 29, {**OFFSETS, "timestamp": 0, "boundaryType": "UPPER"}),
    ask("at a time to come", 29, {**OFFSETS, "timestamp": 32503680000000}),
    ask("at a time to come, lower", 29, {**OFFSETS, "timestamp": 32503680000000, "boundaryType": "lower"}),
    ask("at a time, empty queue", 29, {**OFFSETS, "queueId": 1, "timestamp": 5}),
    ask("none committed yet", 14, {**OFFSETS, "consumerGroup": "$G"}),
    ask("none committed yet, no zero", 14, {**OFFSETS, "consumerGroup": "$G", "setZeroIfNotFound": "false"}),
    ask("of an unknown group", 14, {**OFFSETS, "consumerGroup": "$NoG"}),
    ask("of an unknown topic", 14, {"consumerGroup": "$G", "topic": "$None", "queueId": 0}),
    ask("commit", 15, {**OFFSETS, "consumerGroup": "$G", "commitOffset": 2}),
    ask("committed", 14, {**OFFSETS, "consumerGroup": "$G"}),
    ask("commit backwards", 15, {**OFFSETS, "consumerGroup": "$G", "commitOffset": 1}),
    ask("committed backwards", 14, {**OFFSETS, "consumerGroup": "$G"}),
    ask("commit beyond the end", 15, {**OFFSETS, "consumerGroup": "$G", "commitOffset": 99}),
    ask("commit for an unknown group", 15, {**OFFSETS, "consumerGroup": "$NoG", "commitOffset": 1}),
    ask("commit for an unknown topic", 15, {"consumerGroup": "$G", "topic": "$None", "queueId": 0, "commitOffset": 1}),
    ask("commit without an offset", 15, {**OFFSETS, "consumerGroup": "$G"}),
    ask("copied to another group", 314, {"srcGroup": "$G", "destGroup": "$G2", "topic": "$T", "offline": "false"}),
    ask("the copy", 14, {**OFFSETS, "consumerGroup": "$G2"}),
]

STORIES["session"] = [
    topic(),
    ask("a producer", HEARTBEAT, body=heartbeat("$id_p", producer="$P"), client="p"),
    ask("its connections", 204, {"producerGroup": "$P"}),
    ask("connections of an unknown producer group", 204, {"producerGroup": "$NoP"}),
    ask("a consumer", HEARTBEAT, body=heartbeat("$id_a", group="$G"), client="a"),
    ask("the same again", HEARTBEAT, body=heartbeat("$id_a", group="$G"), client="a"),
    ask("another member", HEARTBEAT, body=heartbeat("$id_b", group="$G"), client="b"),
    {"step": "push", "name": "the first is told", "code": 40, "client": "a"},
    ask("members", 38, {"consumerGroup": "$G"}),
    ask("members of an unknown group", 38, {"consumerGroup": "$NoG"}),
    ask("their connections", 203, {"consumerGroup": "$G"}),
    ask("connections of an unknown group", 203, {"consumerGroup": "$NoG"}),
    ask("who consumes the topic", 300, {"topic": "$T"}),
    ask("what the group subscribes to", 345, {"group": "$G", "topic": "$T"}),
    ask("the group as it was created", 352, {"group": "$G"}),
    ask("its retry topic", 351, {"topic": "%RETRY%$G"}),
    ask("a subscription is checked", 46, body={"clientId": "$id_a", "group": "$G", "namespace": "", "subscriptionData": subscription()}),
    ask("a filter is checked", 46, body={"clientId": "$id_a", "group": "$G", "subscriptionData": subscription(expression="a = 1", kind="SQL92")}),
    ask("a bad filter is checked", 46, body={"clientId": "$id_a", "group": "$G", "subscriptionData": subscription(expression="a >", kind="SQL92")}),
    ask("no body is checked", 46),
    ask("one leaves", 35, {"clientID": "$id_b", "consumerGroup": "$G"}, client="b"),
    ask("who is left", 38, {"consumerGroup": "$G"}),
    ask("the producer leaves", 35, {"clientID": "$id_p", "producerGroup": "$P"}, client="p"),
    ask("no producer is left", 204, {"producerGroup": "$P"}),
    ask("leaving without an id", 35, {"consumerGroup": "$G"}, client="a"),
    ask("heartbeat without a body", HEARTBEAT),
    ask("numbers in quotes", HEARTBEAT, body=heartbeat("$id_q", group="$GQ", subscriptions=[subscription(version="17", codes=["2598919"], tags=["TagA"], expression="TagA")]), client="q"),
    ask("what they became", 203, {"consumerGroup": "$GQ"}),
    ask("broadcasting", HEARTBEAT, body=heartbeat("$id_r", group="$GB", model="BROADCASTING"), client="r"),
    ask("broadcasting members", 203, {"consumerGroup": "$GB"}),
]

QUEUES = [{"topic": "$T", "brokerName": "broker-a", "queueId": i} for i in range(2)]
STORIES["locks"] = [
    topic(),
    beat("a", group="$G"),
    beat("b", group="$G"),
    ask("both queues", 41, body={"consumerGroup": "$G", "clientId": "$id_a", "mqSet": QUEUES}, client="a"),
    ask("again by the same", 41, body={"consumerGroup": "$G", "clientId": "$id_a", "mqSet": QUEUES[:1]}, client="a"),
    ask("by another", 41, body={"consumerGroup": "$G", "clientId": "$id_b", "mqSet": QUEUES}, client="b"),
    ask("given back by another", 42, body={"consumerGroup": "$G", "clientId": "$id_b", "mqSet": QUEUES}, client="b"),
    ask("given back", 42, body={"consumerGroup": "$G", "clientId": "$id_a", "mqSet": QUEUES[:1]}, client="a"),
    ask("by another, after that", 41, body={"consumerGroup": "$G", "clientId": "$id_b", "mqSet": QUEUES}, client="b"),
    ask("none", 41, body={"consumerGroup": "$G", "clientId": "$id_b", "mqSet": []}, client="b"),
    ask("no body", 41),
    ask("no body to give back", 42),
]


def back(**more):
    return {"offset": "$pos", "group": "$G", "delayLevel": 0, "originMsgId": "$uniq", "originTopic": "$T", "unitMode": "false", "maxReconsumeTimes": 3, **more}


STORIES["retry and dead letters"] = [
    topic(queues=1),
    beat("a", group="$G"),
    sent("poison", props={"TAGS": "TagA", "KEYS": "k", "UNIQ_KEY": "$uniq", "user": "u"}),
    {**pulled("the message", 1), "keep": {"pos": "record.physicalOffset"}},
    ask("sent back", 36, back()),
    {**pulled("from the retry topic", 1, topic="%RETRY%$G"), "keep": {"pos": "record.physicalOffset"}},
    ask("sent back with a level", 36, back(delayLevel=4)),
    {**pulled("from the retry topic again", 1, topic="%RETRY%$G", offset=1), "keep": {"pos": "record.physicalOffset"}},
    ask("sent back to the dead letters", 36, back(delayLevel=-1)),
    pulled("the dead letter", 1, topic="%DLQ%$G"),
    ask("the dead-letter topic", 351, {"topic": "%DLQ%$G"}),
    ask("attempts are over", 36, back(maxReconsumeTimes=0)),
    pulled("both dead letters", 2, topic="%DLQ%$G"),
    ask("of an unknown group", 36, back(group="$NoG")),
    ask("a position that is none", 36, back(offset=99999999999)),
    ask("no fields", 36),
    ask("sent by the client to the retry topic", 310, send("%RETRY%$G", reconsumeTimes=1, maxReconsumeTimes=3, props={"DELAY": "3", "RETRY_TOPIC": "$T"}), "by hand"),
    pulled("what the client sent", 1, topic="%RETRY%$G", offset=2),
    ask("sent by the client, attempts over", 310, send("%RETRY%$G", reconsumeTimes=4, maxReconsumeTimes=3, props={"RETRY_TOPIC": "$T"}), "over"),
    pulled("three dead letters", 3, topic="%DLQ%$G"),
    group("$Few", retryMaxTimes=0),
    ask("a group that never retries", 36, {**back(group="$Few"), "maxReconsumeTimes": None}),
    pulled("its dead letter", 1, topic="%DLQ%$Few"),
]

STORIES["delays"] = [
    topic(queues=1),
    ask("level 1", 310, send(props={"DELAY": "1", "TAGS": "TagA", "user": "u"}), "level 1"),
    pulled("what level 1 became", 1),
    ask("level beyond the last", 310, send("$Far", props={"DELAY": "99"}), "far"),
    ask("level 0", 310, send(props={"DELAY": "0"}), "now"),
    ask("level -1", 310, send(props={"DELAY": "-1"}), "now too"),
    pulled("level 0 and -1 do not wait", 3),
    ask("a level that is no number", 310, send(props={"DELAY": "x"}), "x"),
    ask("by TIMER_DELAY_SEC", 310, send(props={"TIMER_DELAY_SEC": "1", "TAGS": "TagT"}), "a second"),
    pulled("what a second became", 4),
    ask("by TIMER_DELAY_MS", 310, send(props={"TIMER_DELAY_MS": "1500"}), "1500 ms"),
    pulled("what 1500 ms became", 5),
    ask("by a time that has passed", 310, send(props={"TIMER_DELIVER_MS": "1000"}), "long ago"),
    pulled("what is long past does not wait", 6),
    ask("too far ahead", 310, send(props={"TIMER_DELAY_SEC": "99999999"}), "x"),
    ask("a time that is no number", 310, send(props={"TIMER_DELIVER_MS": "x"}), "x"),
    ask("to be recalled", 310, send(props={"TIMER_DELAY_SEC": "60", "UNIQ_KEY": "$uniq"}), "recall me", keep={"handle": "fields.recallHandle"}),
    ask("recalled", 370, {"topic": "$T", "recallHandle": "$handle", "producerGroup": "$P"}),
    ask("recalled by garbage", 370, {"topic": "$T", "recallHandle": "garbage", "producerGroup": "$P"}),
    ask("recalled for an unknown topic", 370, {"topic": "$None", "recallHandle": "$handle", "producerGroup": "$P"}),
    ask("recalled without a handle", 370, {"topic": "$T"}),
    ask("a delay level in a transaction", 310, send(sysFlag=4, props={"TRAN_MSG": "true", "PGROUP": "$P", "DELAY": "2", "UNIQ_KEY": "$uniq2"}), "both", mask=["queueOffset"]),
]


def half(uniq, **props):
    """Apache does not ask about half messages that look days old."""
    fields = send(sysFlag=4, props={"TRAN_MSG": "true", "PGROUP": "$P", "UNIQ_KEY": uniq, "TAGS": "TagT", **props}, group="$P")
    return {**fields, "g": "$now"}


def end(decision, **more):
    return {"producerGroup": "$P", "tranStateTableOffset": "$qo", "commitLogOffset": "$pos", "commitOrRollback": decision, "msgId": "$uniq", "fromTransactionCheck": "false", "transactionId": "$uniq", "topic": "$T", **more}


STORIES["transactions"] = [
    topic(queues=1),
    do(HEARTBEAT, body=heartbeat("$id_p", producer="$P"), client="p"),
    ask("a half message", 310, half("$uniq", user="u", KEYS="k"), "commit", client="p", mask=["queueOffset"]),
    ask("nobody sees it", PULL, pull()),
    {"step": "push", "name": "the producer is asked", "code": 39, "client": "p", "kind": "records", "mask": ["queueOffset"],
     "keep": {"pos": "fields.commitLogOffset", "qo": "fields.tranStateTableOffset"}},
    ask("committed by another group", 37, end(8, producerGroup="$Other"), client="p"),
    ask("committed with another offset", 37, end(8, tranStateTableOffset=987654), client="p"),
    ask("committed", 37, end(8, fromTransactionCheck="true"), client="p"),
    pulled("what it became", 1),
    ask("a position that is none", 37, end(8, commitLogOffset=99999999999), client="p"),
    ask("not decided", 37, end(0), client="p", seconds=2),
    ask("no fields", 37),
    ask("another half message", 310, half("$uniqr"), "rollback", client="p", mask=["queueOffset"]),
    {"step": "push", "name": "the producer is asked again", "code": 39, "client": "p", "kind": "records", "mask": ["queueOffset"],
     "keep": {"pos": "fields.commitLogOffset", "qo": "fields.tranStateTableOffset"}},
    ask("rolled back", 37, end(12, msgId="$uniqr", transactionId="$uniqr"), client="p"),
    ask("nothing came of it", PULL, pull(offset=1)),
    ask("resumed by garbage", 323, {"msgId": "garbage", "topic": "$T"}),
]

STORIES["lookups"] = [
    topic(queues=1),
    sent("one", props={"KEYS": "ka kb", "UNIQ_KEY": "$uniq", "TAGS": "TagA"}),
    sent("two", props={"KEYS": "ka"}),
    {**pulled("the messages", 2), "keep": {"pos": "record.physicalOffset"}},
    ask("by a key", 12, {"topic": "$T", "key": "ka", "maxNum": 32, "beginTimestamp": 0, "endTimestamp": 32503680000000}, kind="records", until={"code": 0, "records": 2}),
    ask("by another key", 12, {"topic": "$T", "key": "kb", "maxNum": 32, "beginTimestamp": 0, "endTimestamp": 32503680000000}, kind="records", until={"code": 0}),
    ask("by unique id", 12, {"topic": "$T", "key": "$uniq", "maxNum": 32, "beginTimestamp": 0, "endTimestamp": 32503680000000, "_UNIQUE_KEY_QUERY": "true"}, kind="records", until={"code": 0}),
    ask("at most one", 12, {"topic": "$T", "key": "ka", "maxNum": 1, "beginTimestamp": 0, "endTimestamp": 32503680000000}, kind="records"),
    ask("by a key that nobody has", 12, {"topic": "$T", "key": "none", "maxNum": 32, "beginTimestamp": 0, "endTimestamp": 32503680000000}),
    ask("before they were stored", 12, {"topic": "$T", "key": "ka", "maxNum": 32, "beginTimestamp": 0, "endTimestamp": 1000}),
    ask("in an unknown topic", 12, {"topic": "$None", "key": "ka", "maxNum": 32, "beginTimestamp": 0, "endTimestamp": 32503680000000}),
    ask("no fields", 12),
    ask("by position", 33, {"offset": "$pos", "topic": "$T"}, kind="records"),
    ask("by a position that is none", 33, {"offset": 99999999999, "topic": "$T"}),
    ask("no position", 33),
    ask("entries of the queue", 321, {"topic": "$T", "queueId": 0, "index": 0, "count": 10, "consumerGroup": "$G"}),
]

STORIES["sql filters"] = [
    topic(queues=1),
    *[sent(f"m{i}", props={"n": str(i), "kind": "ab"[i % 2], "TAGS": "TagA"}) for i in range(6)],
    ask("a heartbeat with SQL", HEARTBEAT, body=heartbeat("$id_a", group="$G", subscriptions=[subscription(expression="n > 2 AND kind = 'a'", kind="SQL92", version=5)]), client="a"),
    pulled("by what the heartbeat said", 1, sysFlag=0, subVersion=5, expressionType="SQL92"),
    ask("a heartbeat with bad SQL", HEARTBEAT, body=heartbeat("$id_b", group="$GB", subscriptions=[subscription(expression="n >", kind="SQL92", version=5)]), client="b"),
    ask("a pull by it", PULL, pull(group="$GB", sysFlag=0, subVersion=5, expressionType="SQL92"), client="b", kind="records"),
    ask("BETWEEN and NOT", PULL, pull(subscription="n BETWEEN 1 AND 3 AND NOT kind = 'a'", expressionType="SQL92"), kind="records"),
    ask("IN and IS NULL", PULL, pull(subscription="n IN ('1', '4') OR other IS NOT NULL", expressionType="SQL92"), kind="records"),
    ask("CONTAINS", PULL, pull(subscription="kind CONTAINS 'b'", expressionType="SQL92"), kind="records"),
]

# ----------------------------------------------------------------------------------------------------- administration

TABLES = {"only": ["topicConfigTable", "$T"]}
STORIES["topics"] = [
    ask("created", 17, create("$T", 3)),
    ask("shown", 351, {"topic": "$T"}),
    ask("changed", 17, create("$T", 4, perm=4)),
    ask("shown changed", 351, {"topic": "$T"}),
    ask("among all", 21, {}, only=["topicConfigTable", "$T"], mask=["totalTopicNum"]),
    ask("created with attributes", 17, create("$FIFO", attributes="+message.type=FIFO")),
    ask("shown with attributes", 351, {"topic": "$FIFO"}),
    ask("attributes that there are none", 17, create("$T2", attributes="+no.such=1")),
    ask("attributes in a bad shape", 17, create("$T2", attributes="message.type=FIFO")),
    ask("a message type that there is none", 17, create("$T2", attributes="+message.type=XYZ")),
    ask("several", 18, body={"topicConfigList": [
        {"topicName": "$A", "readQueueNums": 1, "writeQueueNums": 1, "perm": 6, "topicFilterType": "SINGLE_TAG", "topicSysFlag": 0, "order": False, "attributes": {}},
        {"topicName": "$B", "readQueueNums": 2, "writeQueueNums": 2, "perm": 6, "topicFilterType": "SINGLE_TAG", "topicSysFlag": 0, "order": False, "attributes": {}}]}),
    ask("the second of them", 351, {"topic": "$B"}),
    ask("an unknown one", 351, {"topic": "$None"}),
    ask("with an empty name", 17, create("")),
    ask("with a bad name", 17, create("a b")),
    ask("a system topic", 17, create("SCHEDULE_TOPIC_XXXX")),
    ask("with no fields", 17),
    ask("static", 513, create("$Static"), body={"topic": "$Static", "totalQueues": 1, "bname": "broker-a", "epoch": 1, "dirty": False, "currIdMap": {}, "hostedQueues": {}}),
    sent("m", "$A"),
    pulled("a message", 1, topic="$A"),
    ask("system topics", 305, {}),
    ask("deleted", 215, {"topic": "$A"}),
    ask("shown deleted", 351, {"topic": "$A"}),
    ask("pulled deleted", PULL, pull(topic="$A")),
    ask("deleted twice", 215, {"topic": "$A"}),
    ask("a system topic deleted", 215, {"topic": "SCHEDULE_TOPIC_XXXX"}),
    ask("no name deleted", 215, {"topic": ""}),
    ask("several deleted", 5002, body={"topicNameList": ["$B", "$T"]}),
    ask("shown deleted with others", 351, {"topic": "$B"}),
]

STORIES["a topic that may not be written or read"] = [
    topic("$ReadOnly", perm=4),
    ask("sent to a topic that is read only", 310, send("$ReadOnly"), "x"),
    topic("$WriteOnly", perm=2),
    sent("x", "$WriteOnly"),
    ask("pulled from a topic that is write only", PULL, pull(topic="$WriteOnly")),
    topic("$Nothing", perm=0),
    ask("sent to a topic without permissions", 310, send("$Nothing"), "x"),
]

STORIES["message types of topics"] = [
    topic("$Normal", attributes="+message.type=NORMAL"),
    topic("$Delay", attributes="+message.type=DELAY"),
    topic("$Fifo", attributes="+message.type=FIFO"),
    topic("$Trans", attributes="+message.type=TRANSACTION"),
    ask("a delayed one to NORMAL", 310, send("$Normal", props={"DELAY": "1"}), "x"),
    ask("a plain one to NORMAL", 310, send("$Normal"), "x"),
    ask("a plain one to DELAY", 310, send("$Delay"), "x"),
    ask("a delayed one to DELAY", 310, send("$Delay", props={"DELAY": "1"}), "x"),
    ask("a plain one to FIFO", 310, send("$Fifo"), "x"),
    ask("a half one to NORMAL", 310, send("$Normal", sysFlag=4, props={"TRAN_MSG": "true", "PGROUP": "p"}), "x", mask=["queueOffset"]),
    ask("a plain one to TRANSACTION", 310, send("$Trans"), "x"),
]

GROUP = {
    "groupName": "$G", "consumeEnable": True, "consumeFromMinEnable": False, "consumeBroadcastEnable": True, "retryQueueNums": 2,
    "retryMaxTimes": 5, "brokerId": 0, "whichBrokerWhenConsumeSlowly": 1, "notifyConsumerIdsChangedEnable": True, "consumeMessageOrderly": True,
    "consumeTimeoutMinute": 20, "groupSysFlag": 0, "groupRetryPolicy": {"type": "EXPONENTIAL", "exponentialRetryPolicy": {"initial": 5000, "max": 7200000, "multiplier": 2}},
}
STORIES["groups"] = [
    ask("created", 200, body=GROUP),
    ask("shown", 352, {"group": "$G"}),
    ask("among all", 201, {}, only=["subscriptionGroupTable", "$G"], mask=["totalGroupNum"]),
    ask("changed", 200, body={**GROUP, "retryMaxTimes": 7, "consumeEnable": False}),
    ask("shown changed", 352, {"group": "$G"}),
    topic(),
    ask("pulled while it may not consume", PULL, pull()),
    ask("shown unknown", 352, {"group": "$NoG"}),
    ask("several", 225, body={"groupConfigList": [{**GROUP, "groupName": "$A"}, {**GROUP, "groupName": "$B"}]}),
    ask("the second of them", 352, {"group": "$B"}),
    ask("with attributes", 200, body={**GROUP, "groupName": "$C", "attributes": {"+priority.factor": "5"}}),
    ask("without a body", 200),
    ask("with a bad name", 200, body={**GROUP, "groupName": "a/b"}),
    ask("forbidden to read, asked", 353, {"group": "$A", "topic": "$T"}),
    ask("forbidden to read", 353, {"group": "$A", "topic": "$T", "readable": "false"}),
    ask("forbidden to read, pulled", PULL, pull(group="$A")),
    ask("topics that it consumes", 343, {"group": "$A"}),
    do(15, {"consumerGroup": "$A", "topic": "$T", "queueId": 0, "commitOffset": 0}),
    ask("topics that it consumes by now", 343, {"group": "$A"}),
    ask("deleted", 207, {"groupName": "$A", "cleanOffset": "true"}),
    ask("shown deleted", 352, {"group": "$A"}),
    ask("deleted twice", 207, {"groupName": "$A"}),
    ask("several deleted", 5003, {"cleanOffset": "false"}, body={"groupNameList": ["$B", "$C"]}),
    ask("no name deleted", 207),
]

STORIES["statistics"] = [
    topic(),
    beat("a", group="$G"),
    sent("one"),
    sent("two"),
    pulled("messages", 2),
    do(15, {"consumerGroup": "$G", "topic": "$T", "queueId": 0, "commitOffset": 1}),
    ask("of a topic", 202, {"topic": "$T"}),
    ask("of an unknown topic", 202, {"topic": "$None"}),
    ask("of a group", 208, {"consumerGroup": "$G"}),
    ask("of a group in a topic", 208, {"consumerGroup": "$G", "topic": "$T"}),
    ask("of an unknown group", 208, {"consumerGroup": "$NoG"}),
    ask("time span", 303, {"topic": "$T", "group": "$G"}),
    ask("time span of an unknown topic", 303, {"topic": "$None", "group": "$G"}),
    ask("corrected offsets", 308, {"filterGroups": "", "compareGroup": "$G", "topic": "$T"}),
    ask("of all groups", 317, {"isOrder": "false"}, codes=True),
    ask("of the broker, by an unknown name", 315, {"statsName": "TOPIC_PUT_NUMS", "statsKey": "$None"}),
    ask("of the broker, by a name that there is none", 315, {"statsName": "NO_SUCH", "statsKey": "$T"}),
    ask("of the broker at run time", 28, {}, codes=True),
    ask("members seen by producers", 328, {}, codes=True),
]

STORIES["configuration"] = [
    ask("shown", 26, {}, codes=True),
    ask("changed", 25, {}, "flushDelayOffsetInterval=9000"),
    ask("a path", 25, {}, "brokerConfigPath=/tmp/x"),
    ask("no such key", 25, {}, "noSuchKey=1"),
    ask("not a line", 25, {}, "garbage"),
    ask("nothing", 25, {}),
    namesrv("of the name server, shown", 319, {}, codes=True),
    namesrv("of the name server, a path", 318, {}, "configStorePath=/tmp/x"),
    namesrv("of the name server, nothing", 318, {}),
]

STORIES["maintenance"] = [
    ask("empty queues cleaned", 306),
    ask("unused topics cleaned", 316),
    ask("expired segments deleted", 329),
    ask("progress of another kind of index", 354, {"topic": "TBW102", "checkStoreTime": 0}),
    ask("configuration of another kind of store", 355, {"configType": "topics"}, codes=True),
    ask("cold data limits", 2003),
    ask("cold data limit set", 2001, {}, "$G=1000"),
    ask("cold data limit removed", 2002, {}, "$G"),
    ask("read mode", 2004, {"READ_MODE": "NORMAL"}, codes=True),
    ask("another timer engine", 5001, {"engineType": "R"}),
    ask("HA status", 907, codes=True),
    ask("epochs", 1007),
    ask("all offsets", 43, codes=True),
    ask("delay offsets", 45, codes=True),
    ask("timer check point", 60, codes=True),
    ask("timer metrics", 61, codes=True),
]

STORIES["users and policies, when nobody asks for them"] = [
    ask("a user created", 3001, {"username": "$U"}, body={"username": "$U", "password": "p", "userType": "Normal"}),
    ask("a user shown", 3004, {"username": "$U"}),
    ask("users", 3005, {"filter": "$U"}),
    ask("a policy created", 3006, {"subject": "User:$U"}, body={"subject": "User:$U", "policies": []}),
    ask("policies", 3010, {"subjectFilter": "$U"}),
    ask("a user deleted", 3003, {"username": "$U"}),
]

# -------------------------------------------------------------------------------- what the broker asks of its clients

DIRECT = {"order": False, "autoCommit": True, "consumeResult": "CR_SUCCESS", "remark": "well", "spentTimeMills": 7}
STORIES["asked of clients"] = [
    topic(queues=1),
    beat("a", group="$G"),
    sent("m", props={"UNIQ_KEY": "$uniq"}),
    {**pulled("the message", 1), "keep": {"pos": "record.physicalOffset"}},
    {"step": "later", "as": "info", "client": "admin", "code": 307, "fields": {"consumerGroup": "$G", "clientId": "$id_a", "jstackEnable": "false"}},
    {"step": "push", "name": "running info, asked of the client", "code": 307, "client": "a", "reply": {"body": {"properties": {"x": "1"}}}},
    {"step": "answer", "as": "info", "name": "running info", "client": "admin"},
    ask("running info of a client that is not there", 307, {"consumerGroup": "$G", "clientId": "nobody"}),
    ask("running info of a group that is not there", 307, {"consumerGroup": "$NoG", "clientId": "nobody"}),
    ask("a message consumed by nobody", 309, {"consumerGroup": "$G", "clientId": "nobody", "msgId": "$none", "brokerName": "broker-a"}),
    {"step": "later", "as": "status", "client": "admin", "code": 223, "fields": {"topic": "$T", "group": "$G", "clientAddr": ""}},
    {"step": "push", "name": "status, asked of the client", "code": 221, "client": "a", "reply": {"body": {"messageQueueTable": {}}}},
    {"step": "answer", "as": "status", "name": "status", "client": "admin"},
    ask("status of a group that is not there", 223, {"topic": "$T", "group": "$NoG", "clientAddr": ""}),
    ask("offsets reset to the start", 222, {"topic": "$T", "group": "$G", "timestamp": 0, "isForce": "true"}),
    {"step": "push", "name": "the client is told", "code": 220, "client": "a", "seconds": 2},
    ask("offsets reset to the end", 222, {"topic": "$T", "group": "$G", "timestamp": -1, "isForce": "true"}),
    ask("offsets of an unknown topic reset", 222, {"topic": "$None", "group": "$G", "timestamp": 0, "isForce": "true"}),
    ask("offsets of an unknown group reset", 222, {"topic": "$T", "group": "$NoG", "timestamp": 0, "isForce": "true"}),
    ask("a queue's offset reset", 222, {"topic": "$T", "group": "$G", "queueId": 0, "offset": 0, "timestamp": 0, "isForce": "true"}),
]

REPLY = {"CORRELATION_ID": "$corr", "REPLY_TO_CLIENT": "$id_asker", "TTL": "3000", "MSG_TYPE": "reply"}


def answered(name, code, fields):
    """A reply, on its way through the broker to the client that asked, which confirms it."""
    return [
        {"step": "later", "as": "reply", "client": "answerer", "code": code, "fields": fields, "body": "answer"},
        {"step": "push", "name": f"{name}, at the asker", "code": 326, "client": "asker", "reply": {}, "seconds": 10},
        {"step": "answer", "as": "reply", "name": name, "client": "answerer"},
    ]


STORIES["requests and replies"] = [
    topic(queues=1),
    do(HEARTBEAT, body=heartbeat("$id_asker", producer="$P"), client="asker"),
    do(HEARTBEAT, body=heartbeat("$id_answerer", producer="$P2"), client="answerer"),
    ask("a request", 310, send(props={"CORRELATION_ID": "$corr", "REPLY_TO_CLIENT": "$id_asker", "TTL": "3000", "UNIQ_KEY": "$uniq"}), "question", client="asker"),
    pulled("the request as it is stored", 1),
    *answered("the reply", 325, send("DefaultCluster_REPLY_TOPIC", props={**REPLY, "UNIQ_KEY": "$uniq2"})),
    *answered("the reply by long names", 324, long_send("DefaultCluster_REPLY_TOPIC", props={**REPLY, "UNIQ_KEY": "$uniq3"})),
    *answered("a reply without a correlation", 325, send("DefaultCluster_REPLY_TOPIC", props={"REPLY_TO_CLIENT": "$id_asker", "MSG_TYPE": "reply"})),
    ask("a reply to a client that is not there", 325, send("DefaultCluster_REPLY_TOPIC", props={**REPLY, "REPLY_TO_CLIENT": "nobody"}), "lost", client="answerer"),
    ask("a reply to nobody", 325, send("DefaultCluster_REPLY_TOPIC", props={"CORRELATION_ID": "$corr", "MSG_TYPE": "reply"}), "lost", client="answerer"),
]

# ----------------------------------------------------------------------------------------------------------------- pop

POP, ACK, PEEK, CHANGE, NOTIFY, POLLING, ROLLBACK, BATCH_ACK = 200050, 200051, 200052, 200053, 200054, 200055, 200056, 200151
POP_MASK = ["popTime", "reviveQid", "startOffsetInfo", "msgOffsetInfo", "orderCountInfo", "POP_CK", "1ST_POP_TIME"]


def pop(queue=0, **more):
    """A pop that has a broker name carries its receipt handles in the properties."""
    return {
        "consumerGroup": "$G", "topic": "$T", "queueId": queue, "maxMsgNums": 8, "invisibleTime": 60000, "pollTime": 0, "bornTime": "$now",
        "initMode": 0, "expType": "TAG", "exp": "*", "order": "false", "attemptId": "", **more,
    }


def popped(name, records, **more):
    client = more.pop("client", "c")
    keep = more.pop("keep", {})
    return ask(name, POP, pop(**more), kind="records", until={"code": 0, "records": records}, seconds=20, mask=POP_MASK, client=client, keep=keep)


def receipt(offset=0, **more):
    return {"consumerGroup": "$G", "topic": "$T", "queueId": 0, "extraInfo": "$handle", "offset": offset, **more}


STORIES["pop"] = [
    topic(queues=1),
    group(),
    *[sent(f"m{i}", props={"TAGS": f"Tag{i % 2}"}) for i in range(6)],
    pulled("the messages", 6),
    ask("peeked", PEEK, {"consumerGroup": "$G", "topic": "$T", "queueId": 0, "maxMsgNums": 3}, kind="records", mask=POP_MASK),
    popped("two", 2, maxMsgNums=2, keep={"handle": "handle.0", "handle1": "handle.1"}),
    ask("one acknowledged", ACK, receipt()),
    ask("acknowledged twice", ACK, receipt()),
    ask("acknowledged as another", ACK, receipt(offset=1)),
    ask("acknowledged with garbage", ACK, receipt(extraInfo="garbage")),
    ask("acknowledged beyond the queue", ACK, receipt(offset=99)),
    ask("acknowledged in an unknown topic", ACK, receipt(topic="$None")),
    ask("acknowledged in a queue beyond", ACK, receipt(queueId=7)),
    ask("acknowledged without a handle", ACK, receipt(extraInfo=None)),
    popped("the next two", 2, maxMsgNums=2, keep={"handle": "handle.0", "handle3": "handle.1"}),
    ask("its time changed", CHANGE, receipt(offset=2, invisibleTime=1000), mask=POP_MASK),
    ask("acknowledged with the handle from before", ACK, receipt(offset=2)),
    popped("the rest", 2),
    popped("comes again when its time is over", 1),
    ask("time changed with garbage", CHANGE, receipt(extraInfo="garbage", invisibleTime=1000)),
    ask("time changed in an unknown topic", CHANGE, receipt(topic="$None", invisibleTime=1000)),
    ask("is there something", NOTIFY, {"consumerGroup": "$G", "topic": "$T", "queueId": 0, "pollTime": 0, "bornTime": "$now"}),
    ask("is there something in an unknown topic", NOTIFY, {"consumerGroup": "$G", "topic": "$None", "queueId": 0, "pollTime": 0, "bornTime": "$now"}),
    ask("who polls", POLLING, {"consumerGroup": "$G", "topic": "$T", "queueId": 0}),
    ask("several acknowledged", BATCH_ACK, body={"brokerName": "broker-a", "acks": []}),
    ask("several acknowledged, without a body", BATCH_ACK),
    ask("nothing is left", POP, pop(), mask=POP_MASK),
    ask("from all queues", POP, pop(queue=-1), mask=POP_MASK),
    ask("other encoding of the header", POP, pop(), mask=POP_MASK, binary=True),
    ask("an unknown topic", POP, pop(topic="$None")),
    ask("a queue beyond", POP, pop(queue=7)),
    ask("a group with a bad name", POP, pop(consumerGroup="a/b")),
    ask("too many at once", POP, pop(maxMsgNums=33)),
    ask("bad SQL", POP, pop(exp="a >", expType="SQL92")),
    ask("no fields", POP),
    ask("no fields peeked", PEEK),
    ask("no fields acknowledged", ACK),
    ask("no fields changed", CHANGE),
    ask("no fields notified", NOTIFY),
    ask("no fields polled", POLLING),
    {"step": "later", "as": "poll", "client": "w", "code": POP, "fields": pop(pollTime=15000)},
    sent("late", props={"TAGS": "Tag0"}),
    {"step": "answer", "as": "poll", "name": "one that waits gets what comes", "client": "w", "kind": "records", "mask": POP_MASK},
    ask("one that waits gets nothing", POP, pop(pollTime=500), client="w", mask=POP_MASK),
    {"step": "later", "as": "notified", "client": "w", "code": NOTIFY, "fields": {"consumerGroup": "$G", "topic": "$T", "queueId": 0, "pollTime": 15000, "bornTime": "$now"}},
    sent("later", props={"TAGS": "Tag0"}),
    {"step": "answer", "as": "notified", "name": "one is told that something came", "client": "w"},
]

IN_ORDER = {"order": "true", "maxMsgNums": 2}
STORIES["pop in order"] = [
    topic(queues=1),
    group("$G", consumeMessageOrderly=True),
    *[sent(f"m{i}") for i in range(4)],
    pulled("the messages", 4),
    popped("two", 2, **IN_ORDER, attemptId="one", keep={"handle": "handle.0", "handle1": "handle.1"}),
    popped("the same attempt again", 2, **IN_ORDER, attemptId="one", keep={"handle": "handle.0", "handle1": "handle.1"}),
    ask("no more before they are acknowledged", POP, pop(**IN_ORDER, attemptId="two"), kind="records", mask=POP_MASK),
    ask("the first acknowledged", ACK, receipt()),
    ask("still no more", POP, pop(**IN_ORDER, attemptId="three"), kind="records", mask=POP_MASK),
    ask("the second's time changed", CHANGE, receipt(offset=1, extraInfo="$handle1", invisibleTime=500), mask=[*POP_MASK, "invisibleTime"]),
    popped("the second comes again, with the next", 2, **IN_ORDER, attemptId="four", keep={"handle": "handle.0"}),
    ask("acknowledged", ACK, receipt(offset=1)),
]

STORIES["assignments"] = [
    topic(),
    beat("a", group="$G"),
    ask("by queues", 400, body={"topic": "$T", "consumerGroup": "$G", "clientId": "$id_a", "strategyName": "AVG", "messageModel": "CLUSTERING"}, client="a"),
    ask("of an unknown strategy", 400, body={"topic": "$T", "consumerGroup": "$G", "clientId": "$id_a", "strategyName": "NONE", "messageModel": "CLUSTERING"}, client="a"),
    ask("of an unknown topic", 400, body={"topic": "$None", "consumerGroup": "$G", "clientId": "$id_a", "strategyName": "AVG", "messageModel": "CLUSTERING"}, client="a"),
    ask("broadcasting", 400, body={"topic": "$T", "consumerGroup": "$G", "clientId": "$id_a", "strategyName": "AVG", "messageModel": "BROADCASTING"}, client="a"),
    ask("the mode becomes pop", 401, body={"topic": "$T", "consumerGroup": "$G", "mode": "POP", "popShareQueueNum": 0}),
    ask("by pop", 400, body={"topic": "$T", "consumerGroup": "$G", "clientId": "$id_a", "strategyName": "AVG", "messageModel": "CLUSTERING"}, client="a"),
    ask("modes", 402, {}, only=["messageRequestModeMap", "$T"]),
    ask("the mode of a retry topic", 401, body={"topic": "%RETRY%$G", "consumerGroup": "$G", "mode": "POP", "popShareQueueNum": 0}),
    ask("no body", 400),
    ask("no mode", 401),
]

# ---------------------------------------------------------------------------------------------------------- name server


def registration(topics):
    table = {name: {"topicName": name, "readQueueNums": 2, "writeQueueNums": 2, "perm": 6, "topicFilterType": "SINGLE_TAG", "topicSysFlag": 0, "order": False} for name in topics}
    return {
        "topicConfigSerializeWrapper": {"topicConfigTable": table, "dataVersion": {"timestamp": 1, "counter": 1, "stateVersion": 0}},
        "filterServerList": [],
    }


BROKER = {"brokerName": "$broker", "brokerAddr": "10.9.8.7:10911", "clusterName": "$cluster", "haServerAddr": "10.9.8.7:10912", "brokerId": 0}
STORIES["name server: routes"] = [
    topic(),
    namesrv("of a topic", 105, {"topic": "$T"}, until={"code": 0}),
    namesrv("of a topic, standard JSON", 105, {"topic": "$T", "acceptStandardJsonOnly": "true"}),
    namesrv("of an unknown topic", 105, {"topic": "$None"}),
    namesrv("of no topic", 105),
    namesrv("cluster", 106, only=["brokerAddrTable", "broker-a"]),
    namesrv("all topics", 206, only=["topicList", "$T"]),
    namesrv("topics of the cluster", 224, {"cluster": "DefaultCluster"}, only=["topicList", "$T"]),
    namesrv("topics of an unknown cluster", 224, {"cluster": "$None"}),
    namesrv("system topics", 304, codes=True),
    namesrv("a broker registers", 103, BROKER, body=registration(["$X", "$X2"])),
    namesrv("its topic's route", 105, {"topic": "$X"}),
    namesrv("its data version", 322, {k: v for k, v in BROKER.items() if k != "haServerAddr"}, body={"timestamp": 1, "counter": 1, "stateVersion": 0}),
    namesrv("another data version", 322, {k: v for k, v in BROKER.items() if k != "haServerAddr"}, body={"timestamp": 2, "counter": 7, "stateVersion": 0}),
    namesrv("its heartbeat", 904, {"clusterName": "$cluster", "brokerAddr": "10.9.8.7:10911", "brokerName": "$broker", "brokerId": 0}),
    namesrv("its group", 901, {"clusterName": "$cluster", "brokerName": "$broker"}),
    namesrv("the topics of its cluster", 224, {"cluster": "$cluster"}),
    namesrv("a topic for it", 217, {"topic": "$Y"}, body={"brokerDatas": [], "queueDatas": [{"brokerName": "$broker", "readQueueNums": 1, "writeQueueNums": 1, "perm": 6, "topicSysFlag": 0}], "filterServerTable": {}}),
    namesrv("that topic's route", 105, {"topic": "$Y"}),
    namesrv("written no more", 205, {"brokerName": "$broker"}),
    namesrv("the route without writing", 105, {"topic": "$X"}),
    namesrv("written again", 327, {"brokerName": "$broker"}),
    namesrv("the route with writing", 105, {"topic": "$X"}),
    namesrv("an unknown broker written no more", 205, {"brokerName": "$None"}),
    namesrv("a topic deleted", 216, {"topic": "$Y"}),
    namesrv("a topic deleted in a cluster", 216, {"topic": "$X", "clusterName": "$cluster"}),
    namesrv("the route of a deleted topic", 105, {"topic": "$Y"}),
    namesrv("it leaves", 104, {k: v for k, v in BROKER.items() if k != "haServerAddr"}),
    namesrv("the route after it left", 105, {"topic": "$X"}),
    namesrv("a broker without a name", 103, {"brokerAddr": "10.9.8.7:10911"}),
    namesrv("unit topics", 311),
    namesrv("topics with unit subscriptions", 312),
    namesrv("others with unit subscriptions", 313),
]

STORIES["name server: values"] = [
    namesrv("put", 100, {"namespace": "$N", "key": "k", "value": "v ü"}),
    namesrv("got", 101, {"namespace": "$N", "key": "k"}),
    namesrv("all", 219, {"namespace": "$N"}),
    namesrv("of an unknown key", 101, {"namespace": "$N", "key": "none"}),
    namesrv("of an unknown namespace", 219, {"namespace": "$None"}),
    namesrv("deleted", 102, {"namespace": "$N", "key": "k"}),
    namesrv("after that", 101, {"namespace": "$N", "key": "k"}),
    namesrv("deleted twice", 102, {"namespace": "$N", "key": "k"}),
    namesrv("put without a value", 100, {"namespace": "$N", "key": "k"}),
    namesrv("put without fields", 100),
]
