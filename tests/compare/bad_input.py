"""Requests that no well-behaved client sends, and what a server answers to them.

A case is a function; its answer is what `describe` makes of one, or what became of the connection. Addresses, times and this run's names
are masked.
"""

import json
import re
import socket
import struct
import time

import remoting as r

MIB = 1 << 20
RUN = f"{int(time.time()) % 1000000:06d}"
TOPIC = f"bad_{RUN}"
GROUP = f"badg_{RUN}"
CASES = []


def describe(answer, *keys):
    out = {"code": answer.code, "remark": answer.remark}
    if keys:
        out["fields"] = {k: answer.fields[k] for k in keys if k in answer.fields}
    if answer.kind:
        out["header"] = "binary"
    return out


def outcome(function, *args):
    """Runs one case; a closed or silent connection is an answer too."""
    try:
        return function(*args)
    except r.Closed:
        return {"connection": "closed, no answer"}
    except r.Silent:
        return {"connection": "open, no answer"}


def one(address, code, fields=None, body=b"", keys=(), **extra):
    with r.Connection(address) as c:
        return describe(c.ask(code, fields, body, **extra), *keys)


def alive_after(address, raw, wait=1.5):
    """Sends raw bytes; tells whether an answer came and whether the connection still answers a proper request."""
    with r.Connection(address, wait) as c:
        first = None
        try:
            c.send(raw)
            answer = c.read(wait)
            first = describe(answer)
            first["flag"] = answer.flag
        except r.Silent:
            first = None
        except r.Closed:
            return {"connection": "closed, no answer"}
        try:
            probe = c.ask(105, {"topic": "TBW102"}, timeout=wait)
            state = f"open, next request answered {probe.code}"
        except r.Closed:
            if first is None:
                return {"connection": "closed, no answer"}
            state = "closed after it"
        except r.Silent:
            state = "open, deaf to the next request"
        return {**(first or {"answer": "none"}), "connection": state}


NAMES = {
    "empty": "",
    "path": "../../x",
    "slash": "a/b",
    "space": "a b",
    "dot": "a.b",
    "control character": "a\x07b",
    "newline": "a\nb",
    "NUL": "a\x00b",
    "unicode": "主题",
    "127 characters": "n" * 127,
    "128 characters": "n" * 128,
    "200 characters": "n" * 200,
    "255 characters": "n" * 255,
    "256 characters": "n" * 256,
    "40000 characters": "n" * 40000,
    "percent and pipe": "%RETRY%x|y",
}
SYSTEM_NAMES = ["TBW102", "SCHEDULE_TOPIC_XXXX", "RMQ_SYS_TRANS_HALF_TOPIC", "OFFSET_MOVED_EVENT", "SELF_TEST_TOPIC", "BenchmarkTest", "rmq_sys_wheel_timer"]


def build_cases(broker, namesrv):
    b, n = broker, namesrv

    # -- codes
    for code in (0, 1, 9, 99, 330, 6001, 12345, 32767, -1, 2147483647):
        CASES.append(("broker", f"request code {code}", lambda code=code: one(b, code)))
        CASES.append(("namesrv", f"request code {code}", lambda code=code: one(n, code)))
    CASES.append(("broker", "request code 105 without fields", lambda: one(b, 105)))
    CASES.append(("broker", "request code 106 (name server's)", lambda: one(b, 106)))
    CASES.append(("namesrv", "request code 310 (broker's)", lambda: one(n, 310, r.v2(r.send_fields(TOPIC)), b"x")))
    CASES.append(("broker", "unknown code, binary header", lambda: one(b, 12345, binary=True)))
    CASES.append(("broker", "unknown code, language 77 in binary header", lambda: one(b, 12345, binary=True, language=77)))
    CASES.append(("broker", "unknown code, language \"KLINGON\" in JSON", lambda: one(b, 12345, language="KLINGON")))
    CASES.append(("broker", "unknown code, version 99999", lambda: one(b, 12345, version=99999)))

    # -- names in sends
    for label, name in NAMES.items():
        CASES.append(
            ("broker", f"send 310, topic {label}", lambda name=name: one(b, 310, r.v2(r.send_fields(name)), b"x"))
        )
    for label in ("empty", "path", "control character", "127 characters", "256 characters"):
        name = NAMES[label]
        CASES.append(("broker", f"send 10, topic {label}", lambda name=name: one(b, 10, r.send_fields(name), b"x")))
        CASES.append(
            (
                "broker",
                f"send 310, producer group {label}",
                lambda name=name: one(b, 310, r.v2(r.send_fields(TOPIC, group=name)), b"x"),
            )
        )
    for name in SYSTEM_NAMES:
        CASES.append(("broker", f"send 310, topic {name}", lambda name=name: one(b, 310, r.v2(r.send_fields(name)), b"x")))

    # -- sends
    send = lambda body=b"x", **kw: one(b, 310, r.v2({**r.send_fields(TOPIC), **kw}), body, keys=("queueId",))  # noqa: E731
    CASES.append(("broker", "send 310, good (creates the topic)", send))
    CASES.append(("broker", "send 310, empty body", lambda: send(b"")))
    CASES.append(("broker", "send 310, body of 4 MiB", lambda: send(b"x" * (4 * MIB))))
    CASES.append(("broker", "send 310, body of 4 MiB + 1", lambda: send(b"x" * (4 * MIB + 1))))
    CASES.append(("broker", "send 310, body of 8 MiB", lambda: send(b"x" * (8 * MIB))))
    CASES.append(("broker", "send 310, body of 15 MiB", lambda: send(b"x" * (15 * MIB))))
    for queue in (-1, -2, -2147483648):  # the broker chooses one
        CASES.append(("broker", f"send 310, queue id {queue} of 4", lambda queue=queue: one(b, 310, r.v2(r.send_fields(TOPIC, queue)), b"x")))
    for queue in (3, 4, 7, 8, 9, 16, 1000, 2147483647):
        CASES.append(("broker", f"send 310, queue id {queue} of 4", lambda queue=queue: send(queueId=queue)))
    CASES.append(("broker", "send 310, queue id \"abc\"", lambda: send(queueId="abc")))
    CASES.append(("broker", "send 310, queue id missing", lambda: send(queueId=None)))
    CASES.append(("broker", "send 310, topic missing", lambda: send(topic=None)))
    CASES.append(("broker", "send 310, producer group missing", lambda: send(producerGroup=None)))
    CASES.append(("broker", "send 310, properties missing", lambda: send(properties=None)))
    CASES.append(("broker", "send 310, no fields at all", lambda: one(b, 310, None, b"x")))
    CASES.append(("broker", "send 10, no fields at all", lambda: one(b, 10, None, b"x")))
    CASES.append(("broker", "send 320, no fields at all", lambda: one(b, 320, None, b"x")))
    for size in (32766, 32767, 32768, 40000, 65535, 65536, 70000):
        CASES.append(
            ("broker", f"send 310, properties of {size} bytes", lambda size=size: send(properties="k\x01" + "v" * (size - 3) + "\x02"))
        )
    CASES.append(("broker", "send 310, properties without separators", lambda: send(properties="garbage")))
    CASES.append(("broker", "send 310, default topic unknown", lambda: one(b, 310, r.v2(r.send_fields(f"bad_nodefault_{RUN}", defaultTopic=f"none_{RUN}")), b"x")))
    CASES.append(("broker", "send 310, 0 default queues", lambda: one(b, 310, r.v2(r.send_fields(f"bad_zeroq_{RUN}", defaultTopicQueueNums=0)), b"x")))
    CASES.append(("broker", "send 310, -5 default queues", lambda: one(b, 310, r.v2(r.send_fields(f"bad_negq_{RUN}", defaultTopicQueueNums=-5)), b"x")))
    CASES.append(("broker", "send 310, delay level 99", lambda: send(properties=r.properties({"DELAY": "99"}))))
    CASES.append(("broker", "send 310, delay level -3", lambda: send(properties=r.properties({"DELAY": "-3"}))))
    CASES.append(("broker", "send 310, delay level \"abc\"", lambda: send(properties=r.properties({"DELAY": "abc"}))))
    CASES.append(("broker", "send 310, retry topic of an unknown group", lambda: one(b, 310, r.v2(r.send_fields(f"%RETRY%nog_{RUN}")), b"x")))
    CASES.append(("broker", "send 310, transaction half, then left alone", lambda: one(b, 310, r.v2(r.send_fields(TOPIC, sysFlag=4, props={"TRAN_MSG": "true", "PGROUP": "p"})), b"x")))

    # -- batches
    def batch(data, **kw):
        return one(b, 320, r.v2(r.send_fields(TOPIC, batch="true", **kw)), data)

    good = struct.pack(">iiIii", 4 + 4 + 4 + 4 + 4 + 1 + 2, 0, 0, 0, 1) + b"x" + struct.pack(">h", 0)
    CASES.append(("broker", "batch 320, one good message", lambda: batch(good)))
    CASES.append(("broker", "batch 320, empty body", lambda: batch(b"")))
    CASES.append(("broker", "batch 320, garbage", lambda: batch(b"\xff" * 100)))
    CASES.append(("broker", "batch 320, cut in the middle", lambda: batch(good[:-3])))
    CASES.append(("broker", "batch 320, message size 0", lambda: batch(struct.pack(">i", 0) + good[4:])))
    CASES.append(("broker", "batch 320, message size beyond the body", lambda: batch(struct.pack(">i", 1000) + good[4:])))
    CASES.append(("broker", "batch 320, body size beyond the message", lambda: batch(good[:16] + struct.pack(">i", 1000) + good[20:])))
    CASES.append(("broker", "batch 320 to a retry topic", lambda: one(b, 320, r.v2(r.send_fields(f"%RETRY%{GROUP}", batch="true")), good)))
    CASES.append(("broker", "batch 320, topic of 256 characters", lambda: one(b, 320, r.v2(r.send_fields("n" * 256, batch="true")), good)))
    CASES.append(("broker", "batch 320, 5 MiB", lambda: batch(good * (5 * MIB // len(good)))))

    # -- pulls, from a topic with 20 small messages in queue 0
    pulled = f"pull_{RUN}"

    def fill():
        for _ in range(20):
            last = one(b, 310, r.v2(r.send_fields(pulled)), b"x", keys=("queueOffset",))
        return last

    CASES.append(("broker", "send 310, 20 times", fill))
    pull = lambda group=GROUP, topic=pulled, **kw: one(  # noqa: E731
        b, 11, r.pull_fields(group, topic, **kw), keys=("nextBeginOffset", "minOffset", "maxOffset")
    )
    CASES.append(("broker", "pull 11, good", pull))
    CASES.append(("broker", "pull 11, unknown topic", lambda: pull(topic=f"none_{RUN}")))
    for label in ("empty", "path", "control character", "128 characters"):
        CASES.append(("broker", f"pull 11, topic {label}", lambda name=NAMES[label]: pull(topic=name)))
        CASES.append(("broker", f"pull 11, group {label}", lambda name=NAMES[label]: pull(group=name)))
    for queue in (-1, 4, 8, 1000):
        CASES.append(("broker", f"pull 11, queue id {queue} of 4", lambda queue=queue: pull(queue=queue)))
    for offset in (-1, 1000000, 9223372036854775807, -9223372036854775808):
        CASES.append(("broker", f"pull 11, offset {offset}", lambda offset=offset: pull(offset=offset)))
    CASES.append(("broker", "pull 11, offset of an empty queue beyond", lambda: pull(queue=2, offset=50)))
    CASES.append(("broker", "pull 11, maxMsgNums 0", lambda: pull(maxMsgNums=0)))
    CASES.append(("broker", "pull 11, maxMsgNums -1", lambda: pull(maxMsgNums=-1)))
    CASES.append(("broker", "pull 11, no own subscription, group not connected", lambda: pull(sysFlag=0)))
    CASES.append(("broker", "pull 11, subscription null", lambda: pull(subscription=None)))
    CASES.append(("broker", "pull 11, SQL92 malformed", lambda: pull(expressionType="SQL92", subscription="a >")))
    CASES.append(("broker", "pull 11, expression type XYZ", lambda: pull(expressionType="XYZ", subscription="a")))
    CASES.append(("broker", "pull 11, no fields", lambda: one(b, 11)))
    CASES.append(("broker", "pull 361, good", lambda: one(b, 361, r.pull_fields(GROUP, pulled), keys=("nextBeginOffset", "minOffset", "maxOffset"))))

    # -- offsets
    ask = lambda code, **fields: one(b, code, fields, keys=("offset", "timestamp"))  # noqa: E731
    for code, name in ((30, "max offset"), (31, "min offset"), (32, "earliest store time")):
        CASES.append(("broker", f"{name} {code}, unknown topic", lambda code=code: ask(code, topic=f"none_{RUN}", queueId=0)))
        CASES.append(("broker", f"{name} {code}, queue -1", lambda code=code: ask(code, topic=pulled, queueId=-1)))
        CASES.append(("broker", f"{name} {code}, queue 99", lambda code=code: ask(code, topic=pulled, queueId=99)))
        CASES.append(("broker", f"{name} {code}, no fields", lambda code=code: ask(code)))
        CASES.append(("broker", f"{name} {code}, topic path", lambda code=code: ask(code, topic="../../x", queueId=0)))
    CASES.append(("broker", "search offset 29, unknown topic", lambda: ask(29, topic=f"none_{RUN}", queueId=0, timestamp=1)))
    CASES.append(("broker", "search offset 29, queue 99", lambda: ask(29, topic=pulled, queueId=99, timestamp=1)))
    CASES.append(("broker", "search offset 29, timestamp -1", lambda: ask(29, topic=pulled, queueId=0, timestamp=-1)))
    CASES.append(("broker", "search offset 29, timestamp missing", lambda: ask(29, topic=pulled, queueId=0)))
    CASES.append(("broker", "search offset 29, far future", lambda: ask(29, topic=pulled, queueId=0, timestamp=99999999999999)))
    CASES.append(("broker", "query offset 14, unknown group, known topic", lambda: ask(14, consumerGroup=f"new_{RUN}", topic=pulled, queueId=0)))
    CASES.append(("broker", "query offset 14, unknown group, unknown topic", lambda: ask(14, consumerGroup=f"new_{RUN}", topic=f"none_{RUN}", queueId=0)))
    CASES.append(("broker", "query offset 14, setZeroIfNotFound=false", lambda: ask(14, consumerGroup=f"new_{RUN}", topic=pulled, queueId=0, setZeroIfNotFound="false")))
    CASES.append(("broker", "query offset 14, queue 99", lambda: ask(14, consumerGroup=f"new_{RUN}", topic=pulled, queueId=99)))
    CASES.append(("broker", "query offset 14, no fields", lambda: ask(14)))
    CASES.append(("broker", "update offset 15, unknown group", lambda: ask(15, consumerGroup=f"new2_{RUN}", topic=pulled, queueId=0, commitOffset=1)))
    CASES.append(("broker", "update offset 15, unknown topic", lambda: ask(15, consumerGroup=GROUP, topic=f"none_{RUN}", queueId=0, commitOffset=1)))
    CASES.append(("broker", "update offset 15, queue 99", lambda: ask(15, consumerGroup=GROUP, topic=pulled, queueId=99, commitOffset=1)))
    CASES.append(("broker", "update offset 15, offset -5", lambda: ask(15, consumerGroup=GROUP, topic=pulled, queueId=0, commitOffset=-5)))
    CASES.append(("broker", "update offset 15, offset beyond the end", lambda: ask(15, consumerGroup=GROUP, topic=pulled, queueId=1, commitOffset=1000)))
    CASES.append(("broker", "update offset 15, offset missing", lambda: ask(15, consumerGroup=GROUP, topic=pulled, queueId=0)))
    CASES.append(("broker", "update offset 15, group path", lambda: ask(15, consumerGroup="../../x", topic=pulled, queueId=0, commitOffset=1)))

    # -- look-ups
    CASES.append(("broker", "view 33, offset 1 (inside a record)", lambda: one(b, 33, {"offset": 1})))
    CASES.append(("broker", "view 33, offset -1", lambda: one(b, 33, {"offset": -1})))
    CASES.append(("broker", "view 33, offset beyond the end", lambda: one(b, 33, {"offset": 1 << 50})))
    CASES.append(("broker", "view 33, no fields", lambda: one(b, 33)))
    query = dict(topic=TOPIC, key="nokey", maxNum=32, beginTimestamp=0, endTimestamp=9999999999999)
    CASES.append(("broker", "query 12, unknown key", lambda: one(b, 12, query)))
    CASES.append(("broker", "query 12, unknown topic", lambda: one(b, 12, {**query, "topic": f"none_{RUN}"})))
    CASES.append(("broker", "query 12, maxNum -1", lambda: one(b, 12, {**query, "maxNum": -1})))
    CASES.append(("broker", "query 12, no fields", lambda: one(b, 12)))

    # -- send back
    back = dict(offset=1, group=GROUP, delayLevel=0, originMsgId="x", originTopic=TOPIC, unitMode="false", maxReconsumeTimes=16)
    CASES.append(("broker", "send back 36, unknown group", lambda: one(b, 36, {**back, "group": f"nog_{RUN}"})))
    CASES.append(("broker", "send back 36, offset inside a record", lambda: one(b, 36, {**back, "group": GROUP})))
    CASES.append(("broker", "send back 36, offset beyond the end", lambda: one(b, 36, {**back, "offset": 1 << 50})))
    CASES.append(("broker", "send back 36, group path", lambda: one(b, 36, {**back, "group": "../../x"})))
    CASES.append(("broker", "send back 36, no fields", lambda: one(b, 36)))

    # -- sessions
    hb = lambda **kw: json.dumps({"clientID": f"1.2.3.4@{RUN}", "consumerDataSet": [], "producerDataSet": [], **kw}).encode()  # noqa: E731
    cons = lambda group, topic=TOPIC, **kw: {  # noqa: E731
        "groupName": group, "consumeType": "CONSUME_PASSIVELY", "messageModel": "CLUSTERING",
        "consumeFromWhere": "CONSUME_FROM_LAST_OFFSET", "unitMode": False,
        "subscriptionDataSet": [{"topic": topic, "subString": "*", "classFilterMode": False, "tagsSet": [], "codeSet": [], "subVersion": 1, "expressionType": "TAG", **kw}],
    }
    CASES.append(("broker", "heartbeat 34, empty body", lambda: one(b, 34)))
    CASES.append(("broker", "heartbeat 34, garbage body", lambda: one(b, 34, None, b"garbage")))
    CASES.append(("broker", "heartbeat 34, {}", lambda: one(b, 34, None, b"{}")))
    CASES.append(("broker", "heartbeat 34, no groups", lambda: one(b, 34, None, hb())))
    for label in ("empty", "path", "control character", "128 characters", "256 characters"):
        CASES.append(("broker", f"heartbeat 34, consumer group {label}", lambda name=NAMES[label]: one(b, 34, None, hb(consumerDataSet=[cons(name)]))))
        CASES.append(("broker", f"heartbeat 34, producer group {label}", lambda name=NAMES[label]: one(b, 34, None, hb(producerDataSet=[{"groupName": name}]))))
    CASES.append(("broker", "heartbeat 34, subscription to a path", lambda: one(b, 34, None, hb(consumerDataSet=[cons(GROUP, "../../x")]))))
    CASES.append(("broker", "heartbeat 34, malformed SQL", lambda: one(b, 34, None, hb(consumerDataSet=[cons(f"sql_{RUN}", subString="a >", expressionType="SQL92")]))))
    CASES.append(("broker", "check client 46, malformed SQL", lambda: one(b, 46, None, json.dumps({"clientId": "x", "group": f"sql_{RUN}", "namespace": "", "subscriptionData": cons("g", subString="a >", expressionType="SQL92")["subscriptionDataSet"][0]}).encode())))
    CASES.append(("broker", "check client 46, empty body", lambda: one(b, 46)))
    CASES.append(("broker", "unregister 35, unknown client", lambda: one(b, 35, {"clientID": "nobody", "producerGroup": "x", "consumerGroup": "y"})))
    CASES.append(("broker", "unregister 35, no fields", lambda: one(b, 35)))
    CASES.append(("broker", "consumer list 38, unknown group", lambda: one(b, 38, {"consumerGroup": f"nog_{RUN}"})))
    CASES.append(("broker", "consumer list 38, no fields", lambda: one(b, 38)))
    lock = lambda body: one(b, 41, None, body)  # noqa: E731
    CASES.append(("broker", "lock 41, empty body", lambda: lock(b"")))
    CASES.append(("broker", "lock 41, garbage", lambda: lock(b"garbage")))
    CASES.append(("broker", "lock 41, unknown group and topic", lambda: lock(json.dumps({"consumerGroup": f"nog_{RUN}", "clientId": "c", "mqSet": [{"topic": f"none_{RUN}", "brokerName": "broker-a", "queueId": 7}]}).encode())))
    CASES.append(("broker", "unlock 42, not locked", lambda: one(b, 42, None, json.dumps({"consumerGroup": f"nog_{RUN}", "clientId": "c", "mqSet": [{"topic": f"none_{RUN}", "brokerName": "broker-a", "queueId": 7}]}).encode())))

    # -- topics
    def create(topic, **kw):
        fields = dict(topic=topic, defaultTopic="TBW102", readQueueNums=4, writeQueueNums=4, perm=6, topicFilterType="SINGLE_TAG", topicSysFlag=0, order="false")
        fields.update(kw)
        return one(b, 17, fields)

    for label, name in NAMES.items():
        CASES.append(("broker", f"create topic 17, name {label}", lambda name=name: create(name)))
    for name in SYSTEM_NAMES:
        CASES.append(("broker", f"create topic 17, {name}", lambda name=name: create(name)))
    CASES.append(("broker", "create topic 17, 0 queues", lambda: create(f"bad_c0_{RUN}", readQueueNums=0, writeQueueNums=0)))
    CASES.append(("broker", "create topic 17, -1 queues", lambda: create(f"bad_cn_{RUN}", readQueueNums=-1, writeQueueNums=-1)))
    CASES.append(("broker", "create topic 17, perm 99", lambda: create(f"bad_cp_{RUN}", perm=99)))
    CASES.append(("broker", "create topic 17, filter type XYZ", lambda: create(f"bad_cf_{RUN}", topicFilterType="XYZ")))
    CASES.append(("broker", "create topic 17, no fields", lambda: one(b, 17)))

    def with_perm(perm, ask_after):
        name = f"bad_perm{perm}_{RUN}"
        create(name, perm=perm)
        return ask_after(name)

    CASES.append(("broker", "send 310 to a read-only topic", lambda: with_perm(4, lambda t: one(b, 310, r.v2(r.send_fields(t)), b"x"))))
    CASES.append(("broker", "pull 11 from a write-only topic", lambda: with_perm(2, lambda t: one(b, 11, r.pull_fields(GROUP, t)))))

    # -- name server
    for label in ("empty", "path", "control character", "256 characters"):
        CASES.append(("namesrv", f"route 105, topic {label}", lambda name=NAMES[label]: one(n, 105, {"topic": name})))
    CASES.append(("namesrv", "route 105, unknown topic", lambda: one(n, 105, {"topic": f"none_{RUN}"})))
    CASES.append(("namesrv", "route 105, no fields", lambda: one(n, 105)))
    CASES.append(("namesrv", "register 103, no fields", lambda: one(n, 103)))
    CASES.append(("namesrv", "unregister 104, no fields", lambda: one(n, 104)))
    CASES.append(("namesrv", "unregister 104, unknown broker", lambda: one(n, 104, {"brokerName": "nobody", "brokerAddr": "1.2.3.4:5", "clusterName": "none", "brokerId": 0})))
    CASES.append(("namesrv", "get kv 101, unknown", lambda: one(n, 101, {"namespace": "x", "key": "y"})))

    # -- frames
    head = json.dumps({"code": 12345, "language": "JAVA", "version": 493, "opaque": 7, "flag": 0}).encode()
    frames = {
        "HTTP request": b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        "random bytes": bytes((i * 37 + 11) % 251 for i in range(512)),
        "length 0": struct.pack(">i", 0),
        "length 1": struct.pack(">i", 1) + b"x",
        "length 3": struct.pack(">i", 3) + b"xyz",
        "length 4, header length 0": struct.pack(">iI", 4, 0),
        "length -1": struct.pack(">i", -1),
        "length 16 MiB - 4 announced": struct.pack(">iI", 16 * MIB - 4, len(head)) + head,
        "length 16 MiB - 3 announced": struct.pack(">iI", 16 * MIB - 3, len(head)) + head,
        "length 16 MiB announced": struct.pack(">iI", 16 * MIB, len(head)) + head,
        "length 16 MiB + 1 announced": struct.pack(">iI", 16 * MIB + 1, len(head)) + head,
        "length 2 GiB - 1 announced": struct.pack(">iI", 0x7FFFFFFF, len(head)) + head,
        "header longer than the frame": r.frame(head, header_length=len(head) + 1000),
        "header length 16777215": r.frame(head, header_length=0xFFFFFF),
        "header type 2": r.frame(head, kind=2),
        "header type 9": r.frame(head, kind=9),
        "header type 128": r.frame(head, kind=128),
        "JSON header is not JSON": r.frame(b"this is not json"),
        "JSON header is a list": r.frame(b"[1,2,3]"),
        "JSON header is {}": r.frame(b"{}"),
        "JSON header is null": r.frame(b"null"),
        "JSON header, code is text": r.frame(b'{"code":"abc","opaque":7}'),
        "JSON header, code is \"105\"": r.frame(b'{"code":"12345","opaque":7}'),
        "JSON header, extFields with numbers": r.frame(b'{"code":12345,"opaque":7,"extFields":{"a":1,"b":true,"c":null}}'),
        "JSON header, unknown keys": r.frame(b'{"code":12345,"opaque":7,"surprise":{"x":[1]}}'),
        "JSON header, not UTF-8": r.frame(b'{"code":12345,"opaque":7,"remark":"\xff\xfe"}'),
        "JSON header, code over 32 bits": r.frame(b'{"code":99999999999,"opaque":7}'),
        "JSON header, deep nesting": r.frame(b'{"code":12345,"opaque":7,"x":' + b"[" * 2000 + b"]" * 2000 + b"}"),
        "binary header, cut": r.frame(r.binary_frame(12345, {"a": "b"})[8:-3], kind=1),
        "binary header, 5 bytes": r.frame(b"\x00\x01\x00\x00\x00", kind=1),
        "binary header, negative remark length": r.frame(struct.pack(">hbhiii", 12345, 0, 493, 7, 0, -5) + struct.pack(">i", 0), kind=1),
        "binary header, remark length beyond": r.frame(struct.pack(">hbhiii", 12345, 0, 493, 7, 0, 5000) + struct.pack(">i", 0), kind=1),
        "binary header, fields length beyond": r.frame(struct.pack(">hbhiii", 12345, 0, 493, 7, 0, 0) + struct.pack(">i", 5000), kind=1),
        "binary header, field with a negative length": r.frame(struct.pack(">hbhiii", 12345, 0, 493, 7, 0, 0) + struct.pack(">ihi", 6, -1, -1), kind=1),
        "one-way, unknown code": r.json_frame(12345, opaque=7, flag=2),
        "answer to nothing asked": r.json_frame(0, opaque=4242, flag=1),
    }
    for label, raw in frames.items():
        CASES.append(("broker", f"frame: {label}", lambda raw=raw: alive_after(b, raw)))
        CASES.append(("namesrv", f"frame: {label}", lambda raw=raw: alive_after(n, raw)))

    def slow():
        with r.Connection(b) as c:
            raw = r.json_frame(12345, opaque=99)
            for i in range(0, len(raw), 16):
                c.send(raw[i : i + 16])
                time.sleep(0.02)
            return describe(c.wait(99))

    def half():
        with r.Connection(b) as c:
            c.send(r.json_frame(12345)[:20])
        return one(b, 12345)

    def pipelined():
        with r.Connection(b) as c:
            ids = [r.next_opaque() for _ in range(50)]
            c.send(b"".join(r.json_frame(12345, opaque=i) for i in ids))
            got = [c.read().opaque for _ in ids]
            return {"answers": len(got), "all opaques": sorted(got) == ids}

    CASES.append(("broker", "frame: slow writer, 16 bytes at a time", slow))
    CASES.append(("broker", "frame: half, then closed; next client", half))
    CASES.append(("broker", "frame: 50 requests in one write", pipelined))


def build_no_auto(b):
    """Cases of a broker that creates no topics; it is told so first, and told otherwise at the end."""

    def creating(value):
        return one(b, 25, None, f"autoCreateTopicEnable={value}\n".encode())

    CASES.append(("no-auto", "creation switched off", lambda: creating("false")))
    CASES.append(("no-auto", "send 310, unknown topic", lambda: one(b, 310, r.v2(r.send_fields(f"none_{RUN}")), b"x")))
    CASES.append(("no-auto", "send 10, unknown topic", lambda: one(b, 10, r.send_fields(f"none_{RUN}"), b"x")))
    CASES.append(("no-auto", "batch 320, unknown topic", lambda: one(b, 320, r.v2(r.send_fields(f"none_{RUN}", batch="true")), b"x")))
    CASES.append(("no-auto", "pull 11, unknown topic", lambda: one(b, 11, r.pull_fields(GROUP, f"none_{RUN}"))))
    CASES.append(("no-auto", "send 310, TBW102", lambda: one(b, 310, r.v2(r.send_fields("TBW102")), b"x")))
    CASES.append(("no-auto", "creation switched on", lambda: creating("true")))


MASKS = [
    (re.compile(r"/?(\d{1,3}\.){3}\d{1,3}:\d+"), "<ADDR>"),
    (re.compile(r"127\.0\.0\.1|0\.0\.0\.0"), "<HOST>"),
    (re.compile(RUN), "<RUN>"),
    (re.compile(r"\b\d{13}\b"), "<MILLIS>"),
    (re.compile(r"n{40,}"), lambda m: f"<n x {len(m.group(0))}>"),
    (re.compile(r"^(java|com\.alibaba|org\.apache)\..*", re.DOTALL), "<EXCEPTION>"),
]


def mask(value):
    if isinstance(value, dict):
        return {k: mask(v) for k, v in value.items() if v not in (None, {}, "")}
    if isinstance(value, str):
        for pattern, to in MASKS:
            value = pattern.sub(to, value)
        return value if len(value) <= 400 else value[:400] + "…"
    return value


def answers(addresses):
    """The answers of a server, by `bad input: whom: what`."""
    build_cases(addresses["broker"], addresses["namesrv"])
    build_no_auto(addresses["broker"])
    out = {}
    for where, name, function in CASES:
        try:
            result = outcome(function)
        except (OSError, socket.timeout, ValueError, struct.error) as error:
            result = {"connection": f"broken: {type(error).__name__}: {error}"}
        out[f"bad input: {where}: {name}"] = mask(result)
    return out
