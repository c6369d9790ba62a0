"""A raw RocketMQ Remoting client in plain Python: just enough to ask any server any question, right or wrong.

Nothing here validates what it sends. That is the point: the scripts beside it send things that no official client would.
"""

import json
import socket
import struct
import threading

_OPAQUE = 0
_OPAQUE_LOCK = threading.Lock()

RESPONSE_FLAG = 1
ONEWAY_FLAG = 2


def next_opaque():
    global _OPAQUE
    with _OPAQUE_LOCK:
        _OPAQUE += 1
        return _OPAQUE


def json_frame(code, fields=None, body=b"", opaque=None, flag=0, language="JAVA", version=493, **extra):
    """One request frame with a JSON header. `extra` overrides or adds top-level header keys; None removes one."""
    header = {
        "code": code,
        "language": language,
        "version": version,
        "opaque": next_opaque() if opaque is None else opaque,
        "flag": flag,
        "extFields": {k: str(v) for k, v in (fields or {}).items() if v is not None},
        "serializeTypeCurrentRPC": "JSON",
    }
    header.update(extra)
    header = {k: v for k, v in header.items() if v is not None}
    data = json.dumps(header).encode()
    return frame(data, body, 0)


def binary_frame(code, fields=None, body=b"", opaque=None, flag=0, language=0, version=493, remark=None):
    """One request frame with a ROCKETMQ binary header."""
    ext = b""
    for key, value in (fields or {}).items():
        if value is None:
            continue
        k, v = key.encode(), str(value).encode()
        ext += struct.pack(">h", len(k)) + k + struct.pack(">i", len(v)) + v
    mark = (remark or "").encode()
    code16 = code & 0xFFFF
    if code16 >= 0x8000:
        code16 -= 0x10000
    head = struct.pack(
        ">hbhiii", code16, language, version, next_opaque() if opaque is None else opaque, flag, len(mark)
    )
    head += mark + struct.pack(">i", len(ext)) + ext
    return frame(head, body, 1)


def frame(header, body=b"", kind=0, header_length=None, total=None):
    """Lays out one frame; `header_length` and `total` lie about the sizes when given."""
    hlen = len(header) if header_length is None else header_length
    length = 4 + len(header) + len(body) if total is None else total
    return struct.pack(">iI", length, (kind << 24) | (hlen & 0xFFFFFF)) + header + body


class Answer:
    """What came back: `code`, `remark`, `fields`, `body`, `flag`, `opaque`, and `kind` (0 JSON, 1 binary header)."""

    def __init__(self, kind, header, body):
        self.kind = kind
        self.body = body
        if kind == 0:
            head = json.loads(header)
            self.code = head.get("code")
            self.flag = head.get("flag", 0)
            self.opaque = head.get("opaque")
            self.language = head.get("language")
            self.version = head.get("version")
            self.remark = head.get("remark")
            self.fields = head.get("extFields") or {}
            return
        self.code, self.language, self.version, self.opaque, self.flag, mark = struct.unpack_from(">hbhiii", header)
        at = 17
        self.remark = header[at : at + mark].decode() if mark else None
        at += mark
        (ext,) = struct.unpack_from(">i", header, at)
        at += 4
        end = at + ext
        self.fields = {}
        while at < end:
            (n,) = struct.unpack_from(">h", header, at)
            key = header[at + 2 : at + 2 + n].decode()
            at += 2 + n
            (n,) = struct.unpack_from(">i", header, at)
            self.fields[key] = header[at + 4 : at + 4 + n].decode()
            at += 4 + n


class Closed(Exception):
    """The server closed the connection."""


class Silent(Exception):
    """Nothing came within the limit; the connection is still open."""


class Connection:
    """One TCP connection. `ask` sends a request and waits for the answer with its opaque."""

    def __init__(self, address, timeout=5.0):
        host, port = address.rsplit(":", 1)
        self.sock = socket.create_connection((host, int(port)), timeout=10)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.timeout = timeout
        self.buffer = b""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.sock.close()

    def send(self, data):
        self.sock.settimeout(30)
        try:
            self.sock.sendall(data)
        except (BrokenPipeError, ConnectionResetError) as error:
            raise Closed(str(error)) from error

    def _take(self, count):
        while len(self.buffer) < count:
            try:
                more = self.sock.recv(1 << 20)
            except socket.timeout as error:
                raise Silent() from error
            except ConnectionResetError as error:
                raise Closed("reset") from error
            if not more:
                raise Closed("end of stream")
            self.buffer += more
        data, self.buffer = self.buffer[:count], self.buffer[count:]
        return data

    def read(self, timeout=None):
        """The next frame of the server, answer or request."""
        self.sock.settimeout(self.timeout if timeout is None else timeout)
        (length,) = struct.unpack(">i", self._take(4))
        data = self._take(length)
        (mark,) = struct.unpack_from(">I", data)
        kind, hlen = mark >> 24, mark & 0xFFFFFF
        return Answer(kind, data[4 : 4 + hlen], data[4 + hlen :])

    def wait(self, opaque, timeout=None):
        """The answer to `opaque`; requests of the server that come in between are dropped."""
        while True:
            answer = self.read(timeout)
            if answer.flag & RESPONSE_FLAG and answer.opaque == opaque:
                return answer

    def ask(self, code, fields=None, body=b"", timeout=None, binary=False, **extra):
        opaque = next_opaque()
        make = binary_frame if binary else json_frame
        self.send(make(code, fields, body, opaque=opaque, **extra))
        return self.wait(opaque, timeout)


def properties(pairs):
    return "".join(f"{k}\x01{v}\x02" for k, v in pairs.items())


def pairs(encoded):
    """The other way round."""
    return dict(one.split("\x01", 1) for one in encoded.split("\x02") if "\x01" in one)


def send_fields(topic, queue=0, group="compare_pg", props=None, **extra):
    """Header of SEND_MESSAGE (10)."""
    fields = {
        "producerGroup": group,
        "topic": topic,
        "defaultTopic": "TBW102",
        "defaultTopicQueueNums": 4,
        "queueId": queue,
        "sysFlag": 0,
        "bornTimestamp": 1700000000000,
        "flag": 0,
        "properties": properties(props or {}),
        "reconsumeTimes": 0,
        "unitMode": "false",
        "maxReconsumeTimes": 0,
        "batch": "false",
    }
    fields.update(extra)
    return fields


V2_NAMES = {
    "producerGroup": "a",
    "topic": "b",
    "defaultTopic": "c",
    "defaultTopicQueueNums": "d",
    "queueId": "e",
    "sysFlag": "f",
    "bornTimestamp": "g",
    "flag": "h",
    "properties": "i",
    "reconsumeTimes": "j",
    "unitMode": "k",
    "maxReconsumeTimes": "l",
    "batch": "m",
    "brokerName": "n",
}


def v2(fields):
    """The same header as SEND_MESSAGE_V2 (310) names it."""
    return {V2_NAMES.get(k, k): v for k, v in fields.items()}


def pull_fields(group, topic, queue=0, offset=0, **extra):
    """Header of PULL_MESSAGE (11); sysFlag 4 = carries its subscription."""
    fields = {
        "consumerGroup": group,
        "topic": topic,
        "queueId": queue,
        "queueOffset": offset,
        "maxMsgNums": 32,
        "sysFlag": 4,
        "commitOffset": 0,
        "suspendTimeoutMillis": 0,
        "subscription": "*",
        "subVersion": 0,
        "expressionType": "TAG",
    }
    fields.update(extra)
    return fields


def handle(answer, index, broker="broker-a"):
    """The receipt handle of one message of a pop's answer (of one queue), as clients put it together."""
    retry, queue, start = answer.fields["startOffsetInfo"].split(";")[0].split(" ")
    offset = answer.fields["msgOffsetInfo"].split(";")[0].split(" ")[2].split(",")[index]
    pop_time, invisible, revive = (answer.fields[name] for name in ("popTime", "invisibleTime", "reviveQid"))
    return " ".join([start, pop_time, invisible, revive, retry, broker, queue, offset])


def records(body):
    """Splits the body of a pull answer into records: dicts of queueOffset, physicalOffset, topic, body, properties."""
    out, at = [], 0
    while at + 4 <= len(body):
        (size,) = struct.unpack_from(">i", body, at)
        if size <= 0 or at + size > len(body):
            break
        rec = body[at : at + size]
        (magic, body_crc, queue_id, flag, queue_offset, physical, sys_flag, born) = struct.unpack_from(">IIiiqqiq", rec, 4)
        p = 4 + 4 + 4 + 4 + 4 + 8 + 8 + 4 + 8
        p += 20 if sys_flag & (1 << 4) else 8
        p += 8
        p_store = p
        p += 20 if sys_flag & (1 << 5) else 8
        (reconsume,) = struct.unpack_from(">i", rec, p)
        p += 4 + 8
        (blen,) = struct.unpack_from(">i", rec, p)
        p += 4
        data = rec[p : p + blen]
        p += blen
        if magic == 0xDAA320A7:
            tlen, p = rec[p], p + 1
        else:
            (tlen,) = struct.unpack_from(">h", rec, p)
            p += 2
        topic = rec[p : p + tlen].decode("utf-8", "replace")
        p += tlen
        (plen,) = struct.unpack_from(">H", rec, p)
        raw = rec[p + 2 : p + 2 + plen].decode("utf-8", "replace")
        props = pairs(raw)
        out.append(
            {
                "size": size,
                "queueId": queue_id,
                "queueOffset": queue_offset,
                "physicalOffset": physical,
                "offsetId": f"{rec[p_store:p_store + 8].hex().upper()}{physical:016X}",
                "sysFlag": sys_flag,
                "flag": flag,
                "bornTimestamp": born,
                "bodyCrc": body_crc,
                "reconsumeTimes": reconsume,
                "topic": topic,
                "body": data,
                "properties": props,
            }
        )
        at += size
    return out
