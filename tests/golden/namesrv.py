#!/usr/bin/env python3
"""Asks a real name server a fixed list of questions and records every frame, sent and received.

    namesrv.py HOST:PORT > crates/namesrv/testdata/apache-5.5.0.txt

The name server must be fresh. The test `answers_are_apaches` of crates/namesrv replays the requests and compares the
answers. One line for each step:

    ask NAME CONN HOW REQUEST ANSWER     frames in hex; HOW is `exact` (same body, byte for byte), `same` (same body as
                                         JSON, order of lists aside), `code` (only the code: the rest is an accident), or
                                         `refused` (Apache stumbles on without what is missing; Kerolox answers 1)
    close CONN                           the connection closes, and the server is given time to notice
    wait MS                              time passes
"""

import json
import pathlib
import socket
import struct
import sys
import time
import zlib

sys.path.insert(0, str(pathlib.Path(__file__).parent.parent / "compare"))
import remoting as r  # noqa: E402

ADDRESS = sys.argv[1]
SOCKETS = {}


def connect(conn):
    if conn not in SOCKETS:
        host, port = ADDRESS.rsplit(":", 1)
        SOCKETS[conn] = socket.create_connection((host, int(port)))
    return SOCKETS[conn]


def read_frame(sock):
    def take(n):
        data = b""
        while len(data) < n:
            more = sock.recv(n - len(data))
            if not more:
                raise SystemExit("the server closed the connection")
            data += more
        return data

    head = take(4)
    return head + take(struct.unpack(">i", head)[0])


def ask(name, conn, code, fields=None, body=b"", how="same", **extra):
    if isinstance(body, (dict, list)):
        body = json.dumps(body, separators=(",", ":")).encode()
    request = r.json_frame(code, fields, body, **{"version": 513, **extra})
    sock = connect(conn)
    sock.sendall(request)
    answer = read_frame(sock)
    print("ask", name, conn, how, request.hex(), answer.hex())


def close(conn):
    SOCKETS.pop(conn).close()
    time.sleep(1)
    print("close", conn)


def wait(ms):
    time.sleep(ms / 1000)
    print("wait", ms)


def broker(name, addr, id=0, cluster="C", **extra):
    fields = {"brokerName": name, "brokerAddr": addr, "clusterName": cluster, "brokerId": id}
    return {**fields, "haServerAddr": addr.split(":")[0] + ":10912", **extra}


def identity(name, addr, id=0, cluster="C"):
    return {"brokerName": name, "brokerAddr": addr, "clusterName": cluster, "brokerId": id}


def topic(name, queues=4, perm=6, flag=0):
    return {
        "attributes": {},
        "order": False,
        "perm": perm,
        "readQueueNums": queues,
        "topicFilterType": "SINGLE_TAG",
        "topicName": name,
        "topicSysFlag": flag,
        "writeQueueNums": queues,
    }


def version(counter, state=0, timestamp=1700000000000):
    return {"counter": counter, "stateVersion": state, "timestamp": timestamp}


def table(*topics, ver=None, mappings=None, filters=()):
    return {
        "filterServerList": list(filters),
        "topicConfigSerializeWrapper": {
            "dataVersion": ver or version(1),
            "mappingDataVersion": version(0),
            "topicConfigTable": {t["topicName"]: t for t in topics},
            "topicQueueMappingDetailMap": {},
            "topicQueueMappingInfoMap": mappings or {},
        },
    }


def compressed(*topics, ver=None, mappings=None):
    def piece(data):
        return struct.pack(">i", len(data)) + data

    def text(value):
        return json.dumps(value, separators=(",", ":")).encode()

    out = piece(text(ver or version(1))) + struct.pack(">i", len(topics))
    for t in topics:
        line = f"{t['topicName']} {t['readQueueNums']} {t['writeQueueNums']} {t['perm']} {t['topicFilterType']}"
        out += piece((line + (" {}" if mappings is not None else "")).encode())
    out += piece(b"[]")
    if mappings is not None:
        out += struct.pack(">i", len(mappings))
        for m in mappings:
            out += piece(text(m))
    return zlib.compress(out)


def mapping(name, bname, ids):
    return {
        "bname": bname,
        "currIdMap": ids,
        "dirty": False,
        "epoch": 9,
        "scope": "__global__",
        "topic": name,
        "totalQueues": 4,
    }


def routes(name, conn, t, **extra):
    """A route in the three ways in which it is written."""
    ask(f"{name}-new", conn, 105, {"topic": t}, **extra)
    ask(f"{name}-old", conn, 105, {"topic": t}, version=300, **extra)
    ask(f"{name}-standard", conn, 105, {"topic": t, "acceptStandardJsonOnly": "true"}, version=300, **extra)


def empty_server():
    ask("route-of-nothing", 9, 105, {"topic": "T"})
    ask("route-without-topic", 9, 105)
    ask("unknown-code", 9, 12345)
    ask("cluster-info-empty", 9, 106, how="exact")
    ask("all-topics-empty", 9, 206, how="exact")
    ask("system-topics-empty", 9, 304, how="exact")
    ask("member-group-empty", 9, 901, {"clusterName": "C", "brokerName": "a"}, how="exact")
    ask("wipe-unknown", 9, 205, {"brokerName": "a"})
    ask("unregister-unknown", 9, 104, identity("a", "1.1.1.1:1"))
    ask("beat-unknown", 9, 904, identity("a", "1.1.1.1:1"))
    ask("version-unknown", 9, 322, identity("a", "1.1.1.1:1"), version(1))
    ask("delete-unknown", 9, 216, {"topic": "T"})
    ask("register-no-fields", 9, 103, how="code")
    ask("register-bad-crc", 1, 103, broker("a", "1.1.1.1:1", bodyCrc32=77), table(topic("T"), topic("U")))
    ask("register-bad-body", 1, 103, broker("a", "1.1.1.1:1"), b"{nonsense", how="code")
    ask("register-bad-deflate", 1, 103, broker("a", "1.1.1.1:1", compressed="true"), b"nonsense", how="code")


def one_broker():
    body = json.dumps(table(topic("T", 8), topic("U", 2, flag=1), topic("V", 2, flag=2), topic("W", 2, flag=3)))
    body = body.encode()
    crc = zlib.crc32(body) & 0x7FFFFFFF
    ask("one-topic-of-a-stranger", 1, 103, broker("a", "1.1.1.1:1"), table(topic("T")))
    ask("register", 1, 103, broker("a", "1.1.1.1:1", bodyCrc32=crc, compressed="false"), body)
    routes("route", 9, "T", how="exact")
    ask("route-of-nothing-2", 9, 105, {"topic": "None"})
    ask("version-same", 1, 322, identity("a", "1.1.1.1:1"), version(1))
    ask("version-other", 1, 322, identity("a", "1.1.1.1:1"), version(2))
    ask("version-other-time", 1, 322, identity("a", "1.1.1.1:1"), version(1, timestamp=1))
    ask("version-no-body", 1, 322, identity("a", "1.1.1.1:1"), how="refused")
    ask("beat", 1, 904, identity("a", "1.1.1.1:1"))
    ask("same-version-other-queues", 1, 103, broker("a", "1.1.1.1:1"), table(topic("T", 2), topic("U", 2)))
    ask("route-unchanged", 9, 105, {"topic": "T"}, how="exact")
    ask("one-more-topic", 1, 103, broker("a", "1.1.1.1:1"), table(topic("X", 3), ver=version(2)))
    ask("route-of-one-more", 9, 105, {"topic": "X"}, how="exact")
    ask("route-still-there", 9, 105, {"topic": "T"}, how="exact")
    ask("cluster-info", 9, 106, how="exact")
    ask("all-topics", 9, 206)
    ask("topics-by-cluster", 9, 224, {"cluster": "C"})
    ask("topics-by-other-cluster", 9, 224, {"cluster": "D"})
    ask("topics-without-cluster", 9, 224, how="refused")
    ask("system-topics", 9, 304)
    ask("unit-topics", 9, 311)
    ask("unit-sub-topics", 9, 312)
    ask("unit-sub-ununit-topics", 9, 313)
    ask("member-group", 9, 901, {"clusterName": "Z", "brokerName": "a"}, how="exact")
    ask("wipe", 9, 205, {"brokerName": "a"})
    ask("route-wiped", 9, 105, {"topic": "T"}, how="exact")
    ask("wiped-and-registered", 1, 103, broker("a", "1.1.1.1:1"), table(topic("T", 8), ver=version(2)))
    ask("route-still-wiped", 9, 105, {"topic": "T"}, how="exact")
    ask("add", 9, 327, {"brokerName": "a"})
    ask("route-added", 9, 105, {"topic": "T"}, how="exact")
    ask("wipe-without-name", 9, 205, how="refused")


def replicas():
    ask("replica", 2, 103, broker("a", "2.2.2.2:1", 1), table(topic("T", 16), topic("Y"), ver=version(5)))
    ask("route-with-replica", 9, 105, {"topic": "T"}, how="exact")
    ask("route-of-replicas-topic", 9, 105, {"topic": "Y"})
    routes("route-two-addresses", 9, "T")
    acting = broker("a", "3.3.3.3:1", 2, enableActingMaster="true")
    ask("acting-replica", 3, 103, acting, table(topic("T", 16), ver=version(5)))
    ask("acting-replica-first", 3, 103, acting, table(topic("T", 16), topic("Y"), ver=version(5)))
    ask("route-acting", 9, 105, {"topic": "T"})
    ask("member-group-3", 9, 901, {"clusterName": "C", "brokerName": "a"})
    ask("replica-becomes-2", 2, 103, broker("a", "2.2.2.2:1", 5), table(topic("T"), topic("Y"), ver=version(6)))
    ask("member-group-moved", 9, 901, {"clusterName": "C", "brokerName": "a"})
    ask("replica-bare", 4, 103, broker("a", "4.4.4.4:1", 9))
    ask("member-group-bare", 9, 901, {"clusterName": "C", "brokerName": "a"})
    close(4)
    ask("member-group-closed", 9, 901, {"clusterName": "C", "brokerName": "a"})
    ask("master-state-2", 1, 103, broker("a", "1.1.1.1:1"), table(topic("T", 8), topic("U"), ver=version(1, state=2)))
    ask("usurper", 5, 103, broker("a", "5.5.5.5:1"), table(topic("T", 1), topic("U"), ver=version(9, state=1)))
    ask("route-after-usurper", 9, 105, {"topic": "T"})
    ask("successor", 5, 103, broker("a", "5.5.5.5:1"), table(topic("T", 1), topic("U"), ver=version(1, state=3)))
    ask("route-after-successor", 9, 105, {"topic": "T"})
    ask("unregister-master", 5, 104, identity("a", "5.5.5.5:1"))
    time.sleep(0.5)
    ask("route-without-master", 9, 105, {"topic": "T"})
    acting = broker("a", "3.3.3.3:1", 2, enableActingMaster="true")
    prime = table(topic("T", 16), topic("Y"), ver=version(7))
    ask("prime-replica", 3, 103, acting, prime)
    ask("route-of-prime-replica", 9, 105, {"topic": "T"})
    ask("route-of-prime-replica-2", 9, 105, {"topic": "Y"})
    ask("acting-master-2", 6, 103, broker("m", "6.6.6.6:1", 0, enableActingMaster="true"), table(topic("M"), topic("N")))
    ask("acting-slave-2", 7, 103, broker("m", "7.7.7.7:1", 1, enableActingMaster="true"), table(topic("M"), topic("N")))
    ask("acting-route", 9, 105, {"topic": "M"})
    close(6)
    ask("acting-route-masterless", 9, 105, {"topic": "M"})
    close(7)
    ask("acting-route-gone", 9, 105, {"topic": "M"})
    close(2)
    close(3)
    ask("cluster-info-2", 9, 106)
    ask("all-topics-2", 9, 206)


def several_brokers():
    ask("b", 12, 103, broker("b", "2.2.2.2:2"), table(topic("T", 8), topic("OnlyB")))
    ask("c", 13, 103, broker("c", "3.3.3.3:2", cluster="D"), table(topic("T", 4, perm=4), topic("OnlyC")))
    ask("route-three", 9, 105, {"topic": "T"})
    ask("cluster-info-three", 9, 106)
    ask("system-topics-three", 9, 304, how="code")
    ask("topics-by-D", 9, 224, {"cluster": "D"})
    ask("delete-in-D", 9, 216, {"topic": "T", "clusterName": "D"})
    ask("route-not-in-D", 9, 105, {"topic": "T"})
    ask("delete-in-unknown", 9, 216, {"topic": "T", "clusterName": "None"})
    ask("delete-everywhere", 9, 216, {"topic": "T"})
    ask("route-deleted", 9, 105, {"topic": "T"})
    ask("back-again", 12, 103, broker("b", "2.2.2.2:2"), table(topic("T", 8), topic("OnlyB")))
    ask("route-back", 9, 105, {"topic": "T"})
    ask("same-name-other-cluster", 14, 103, broker("b", "4.4.4.4:2", 7, cluster="D"), table(topic("T"), topic("E")))
    ask("cluster-info-both", 9, 106)
    close(14)
    ask("cluster-info-both-closed", 9, 106)
    queue = {"brokerName": "b", "perm": 6, "readQueueNums": 1, "topicSysFlag": 0, "writeQueueNums": 1}
    ask("topic-to-namesrv", 12, 217, {"topic": "Solo"}, {"queueDatas": [queue], "brokerDatas": []})
    ask("topic-of-stranger", 12, 217, {"topic": "Solo2"}, {"queueDatas": [{**queue, "brokerName": "x"}]})
    ask("topic-no-queues", 12, 217, {"topic": "Solo3"}, {"queueDatas": []})
    ask("route-solo", 9, 105, {"topic": "Solo"})
    ask("route-solo2", 9, 105, {"topic": "Solo2"})
    ask("route-solo3", 9, 105, {"topic": "Solo3"})
    ask("filters", 12, 103, broker("b", "2.2.2.2:2"), table(topic("T", 8), filters=["9.9.9.9:9"], ver=version(2)))
    ask("route-filters", 9, 105, {"topic": "T"})
    ask("no-filters", 12, 103, broker("b", "2.2.2.2:2"), table(topic("T", 8), ver=version(2)))
    ask("route-no-filters", 9, 105, {"topic": "T"})
    zone = broker("z", "8.8.8.8:2", __ZONE_NAME="east")
    ask("zoned", 15, 103, zone, table(topic("T", 8), topic("Z")))
    ask("route-zones", 9, 105, {"topic": "T"})
    for name in ("east", "EAST", "west"):
        ask(f"route-{name}", 9, 105, {"topic": "T", "__ZONE_MODE": "true", "__ZONE_NAME": name})
    ask("route-no-zone-mode", 9, 105, {"topic": "T", "__ZONE_MODE": "false", "__ZONE_NAME": "east"})
    close(15)


def other_forms():
    maps = [mapping("S", "s", {"0": 1, "1": 0})]
    fields = broker("s", "1.2.3.4:3", compressed="true")
    ask("compressed-5", 16, 103, fields, compressed(topic("S"), topic("R", 3, 4), mappings=maps))
    routes("route-static", 9, "S")
    ask("route-compressed", 9, 105, {"topic": "R"}, how="exact")
    fields = broker("o", "1.2.3.4:4", compressed="true")
    ask("compressed-4", 17, 103, fields, compressed(topic("O"), topic("P")), version=409)
    ask("route-compressed-4", 9, 105, {"topic": "O"}, how="exact")
    old = {"topicConfigTable": {"Q1": topic("Q1"), "Q2": topic("Q2")}, "dataVersion": version(3)}
    ask("register-3.0", 18, 103, broker("q", "1.2.3.4:5"), old, version=30)
    ask("route-3.0", 9, 105, {"topic": "Q1"}, how="exact")
    static = table(topic("S2"), topic("S3"), mappings={"S2": mapping("S2", "t", {"0": 0})})
    ask("json-static", 19, 103, broker("t", "1.2.3.4:6"), static)
    ask("route-json-static", 9, 105, {"topic": "S2"})
    odd = table(topic("A1"), topic("A2"))
    odd["topicConfigSerializeWrapper"]["topicConfigTable"] = {"key1": topic("A1"), "key2": topic("A2")}
    ask("keys-are-not-names", 20, 103, broker("u", "1.2.3.4:7"), odd)
    ask("route-by-name", 9, 105, {"topic": "A1"})
    ask("route-by-key", 9, 105, {"topic": "key1"})
    ask("short-lived", 21, 103, broker("v", "1.2.3.4:8", heartbeatTimeoutMillis=1000), table(topic("B1"), topic("B2")))
    ask("route-short-lived", 9, 105, {"topic": "B1"}, how="exact")
    wait(8000)
    ask("route-expired", 9, 105, {"topic": "B1"})


def settings():
    ask("kv-get-missing", 9, 101, {"namespace": "n", "key": "k"})
    ask("kv-list-missing", 9, 219, {"namespace": "n"})
    ask("kv-delete-missing", 9, 102, {"namespace": "n", "key": "k"})
    ask("kv-put", 9, 100, {"namespace": "n", "key": "k", "value": "v"})
    ask("kv-get", 9, 101, {"namespace": "n", "key": "k"})
    ask("kv-get-other", 9, 101, {"namespace": "n", "key": "x"})
    ask("kv-list", 9, 219, {"namespace": "n"}, how="exact")
    ask("kv-delete", 9, 102, {"namespace": "n", "key": "k"})
    ask("kv-list-empty", 9, 219, {"namespace": "n"}, how="exact")
    ask("kv-put-nothing", 9, 100, how="code")
    ask("order-put", 9, 100, {"namespace": "ORDER_TOPIC_CONFIG", "key": "R", "value": "s:3"})
    ask("order-registered", 12, 103, broker("b", "2.2.2.2:2"), table(topic("T", 8), ver=version(2)))
    ask("order-route", 9, 105, {"topic": "R"})


empty_server()
one_broker()
replicas()
several_brokers()
other_forms()
settings()
