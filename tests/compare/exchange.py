"""Plays the stories of requests.py against a server and gives what it answered, masked so that two servers can be compared.

A story is a list of steps, each with a name. `$name` in a field or body stands for a value kept from an earlier answer, or for a
name of this story alone; in answers such values become `$name` again. Addresses, times and positions in the log are masked.
"""

import json
import os
import re
import shlex
import struct
import subprocess
import tempfile
import time
from pathlib import Path

import remoting as r

NOW_SPAN_MS = 400 * 86_400_000
WAIT_S = 60

# Members and header fields that are times, sizes or positions in one server's log, or its own.
MASKED = {
    "physicalOffset", "size", "bodyCrc32", "indexLastUpdateTimestamp", "indexLastUpdatePhyoffset", "stateVersion", "counter",
    "commitLogOffset", "offsetId", "lastUpdateTimestamp", "recallHandle", "tranStateTableOffset", "physicOffset", "physicSize",
    "delayTime", "consumeTimeStamp", "minTimeStamp", "maxTimeStamp", "storeTimestamp", "version", "bornHost", "storeHost", "opaque",
}
MASKS = [
    (re.compile(r"/?(\d{1,3}\.){3}\d{1,3}:\d+"), "<ADDR>"),
    (re.compile(r"/?127\.0\.0\.1|0\.0\.0\.0"), "<HOST>"),
    (re.compile(r"(commitLogOffset=|CommitLog Offset:\s+|physicOffset=|MaxOffset\s+)\d+"), r"\1<POSITION>"),
    (re.compile(r"(TPS:\s+)[\d.]+"), r"\1<RATE>"),
    (re.compile(r"/\S*/answers-\w+"), "<FOLDER>"),
    (re.compile(r"((?:store|physic)Size=)\d+"), r"\1<SIZE>"),
    (re.compile(r"\b7F0000010000[0-9A-F]{20}\b"), "<OFFSET_ID>"),
    (re.compile(r"\b[0-9A-F]{32,56}\b"), "<UNIQUE_ID>"),
    (re.compile(r"\d{4}-\d\d-\d\d[ #]\d\d:\d\d:\d\d([:,.]\d{3})?"), "<DATE>"),
]
MILLIS = re.compile(r"(?<![0-9A-Za-z])1[5-9]\d{11}(?!\d)")
EXCEPTION = re.compile(r"^(java|com\.alibaba|org\.apache)\.")


class Fastjson:
    """JSON as fastjson writes it: keys may be numbers or objects. Such keys become the text of their JSON."""

    def __init__(self, text):
        self.text, self.at = text, 0
        self.decoder = json.JSONDecoder()

    def space(self):
        while self.at < len(self.text) and self.text[self.at] in " \t\r\n":
            self.at += 1

    def value(self):
        self.space()
        first = self.text[self.at]
        if first == "{":
            return self.members()
        if first == "[":
            return self.elements()
        value, self.at = self.decoder.raw_decode(self.text, self.at)
        return value

    def members(self):
        out = {}
        self.at += 1
        self.space()
        while self.text[self.at] != "}":
            key = self.value()
            self.space()
            self.at += 1  # the colon
            out[key if isinstance(key, str) else json.dumps(key, sort_keys=True)] = self.value()
            self.comma()
        self.at += 1
        return out

    def elements(self):
        out = []
        self.at += 1
        self.space()
        while self.text[self.at] != "]":
            out.append(self.value())
            self.comma()
        self.at += 1
        return out

    def comma(self):
        self.space()
        if self.text[self.at] == ",":
            self.at += 1
            self.space()


def sorted_lists(value):
    """Java's sets have no order: lists are compared sorted."""
    if isinstance(value, dict):
        return {key: sorted_lists(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return sorted((sorted_lists(v) for v in value), key=lambda v: json.dumps(v, sort_keys=True))
    return value


def decoded(body, kind):
    """A body as data: `records` of messages, `json`, `lines` of key=value, or told from its first byte."""
    if not body:
        return None
    if kind == "records":
        return [{**rec, "body": rec["body"].decode("utf-8", "replace")} for rec in r.records(body)]
    text = body.decode("utf-8", "replace")
    if kind == "lines":
        return dict(line.split("=", 1) for line in text.splitlines() if "=" in line)
    if text[0] in "{[":
        return sorted_lists(Fastjson(text).value())
    return text


class Mqadmin:
    """Apache's own mqadmin as a process that takes one command after the other."""

    def __init__(self, namesrv, jars):
        self.folder = tempfile.TemporaryDirectory(prefix="mqadmin-")
        command = ["java", f"-Duser.home={self.folder.name}", f"-Drocketmq.home.dir={self.folder.name}", f"-Drocketmq.namesrv.addr={namesrv}",
                   "-cp", jars + "/*", str(Path(__file__).with_name("Mqadmin.java"))]
        env = {**os.environ, "NAMESRV_ADDR": namesrv}
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=env, text=True, cwd=self.folder.name)

    def begin(self, words):
        self.process.stdin.write("\t".join(words) + "\n")
        self.process.stdin.flush()

    def printed(self):
        lines = []
        for line in self.process.stdout:
            if line == "@@@ end\n":
                return lines
            lines.append(line.rstrip("\n"))
        return ["the process ended"]

    def close(self):
        self.process.stdin.close()
        self.process.wait(30)
        self.folder.cleanup()


class KeroloxAdmin:
    """`kerolox admin`, which takes the same commands. With `as_json` it prints JSON: what is no JSON is kept as a problem."""

    def __init__(self, namesrv, as_json):
        self.folder = tempfile.TemporaryDirectory(prefix="mqadmin-")
        self.as_json = as_json
        self.env = {**os.environ, "NAMESRV_ADDR": namesrv}
        self.problems = []

    def begin(self, words):
        self.words = [*words, "--output", "json"] if self.as_json else words
        command = [os.path.abspath(os.environ["KEROLOX"]), "admin", *self.words]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=self.env, text=True, cwd=self.folder.name)

    def printed(self):
        out, err = self.process.communicate()
        code = self.process.returncode
        ended_well = err == "" if code == 0 else code in (1, 2) and re.fullmatch(r"kerolox: .+\n", err)
        if not ended_well or (self.as_json and not self.is_json(out, code)):
            self.problems.append(f"{' '.join(self.words)}: exit code {code}, {out!r}, {err!r}")
        return (out + err).splitlines()

    @staticmethod
    def is_json(out, code):
        """One document, or none if it failed."""
        if code != 0 and out == "":
            return True
        try:
            return isinstance(json.loads(out), dict)
        except ValueError:
            return False

    def close(self):
        self.folder.cleanup()


class Player:
    """Plays one story: its connections and the values that it kept."""

    def __init__(self, story, addresses, run, mqadmin=None):
        self.story, self.addresses, self.run = story, addresses, run
        self.values = {**addresses, "folder": mqadmin.folder.name} if mqadmin else {}
        self.mqadmin = mqadmin
        self.connections = {}
        self.waiting = {}
        self.pushed = {}

    def close(self):
        """Clients that go are forgotten at once: the next story begins without them."""
        for connection in self.connections.values():
            connection.close()

    # -- values

    def value(self, name):
        if name == "now":
            return int(time.time() * 1000)
        if name not in self.values:
            self.values[name] = f"{name}_{self.story}_{self.run}"
        return self.values[name]

    def fill(self, thing):
        if isinstance(thing, str):
            return re.sub(r"\$([A-Za-z]\w*)", lambda m: str(self.value(m.group(1))), thing)
        if isinstance(thing, dict):
            return {self.fill(k): self.fill(v) for k, v in thing.items()}
        if isinstance(thing, list):
            return [self.fill(v) for v in thing]
        return thing

    def mask_text(self, text):
        for name, value in sorted(self.values.items(), key=lambda kv: -len(str(kv[1]))):
            if len(str(value)) >= 6:
                text = text.replace(str(value), f"${name}")
        for pattern, to in MASKS:
            text = pattern.sub(to, text)
        now = time.time() * 1000
        near = lambda m: "<NOW>" if abs(int(m.group(0)) - now) < NOW_SPAN_MS else m.group(0)  # noqa: E731
        text = re.sub(r"(@\$\w+@)\d+", r"\1<POSITION>", text)
        text = MILLIS.sub(near, text)
        return text if len(text) <= 2000 else text[:2000] + "…"

    def mask(self, value, masked, key=None):
        if isinstance(value, dict):
            return {self.mask_text(str(k)): self.mask(v, masked, k) for k, v in value.items()}
        if isinstance(value, list):
            return [self.mask(v, masked) for v in value]
        if key in masked and value is not None:
            return f"<{key}>"
        if isinstance(value, str):
            return self.mask_text(value)
        if isinstance(value, int) and not isinstance(value, bool):
            text = self.mask_text(str(value))
            return text if text != str(value) else value
        return value

    # -- steps

    def connection(self, step):
        key = (step.get("client", "c"), step.get("to", "broker"))
        if key not in self.connections:
            self.connections[key] = r.Connection(self.addresses[key[1]], WAIT_S)
        return self.connections[key]

    def request(self, step):
        body = step.get("body", b"")
        if isinstance(body, (dict, list)):
            body = json.dumps(self.fill(body)).encode()
        elif isinstance(body, str):
            body = self.fill(body).encode()
        fields = self.fill(step.get("fields", {}))
        return fields, body

    def send(self, step):
        fields, body = self.request(step)
        opaque = r.next_opaque()
        make = r.binary_frame if step.get("binary") else r.json_frame
        extra = {"language": 0} if step.get("binary") else {}
        self.connection(step).send(make(step["code"], fields, body, opaque=opaque, flag=step.get("flag", 0), **extra))
        return opaque

    def read(self, step, wanted, seconds):
        """The next frame on the step's connection for which `wanted` holds; requests of the server that come before it are kept."""
        connection = self.connection(step)
        kept = self.pushed.setdefault(id(connection), [])
        for frame in kept:
            if wanted(frame):
                kept.remove(frame)
                return frame
        end = time.time() + seconds
        while True:
            left = end - time.time()
            if left <= 0:
                raise r.Silent()
            frame = connection.read(left)
            if wanted(frame):
                return frame
            kept.append(frame)

    def describe(self, step, answer):
        for name, path in step.get("keep", {}).items():
            self.values[name] = self.find(answer, path)
        out = {"code": answer.code, "remark": answer.remark, "fields": answer.fields, "body": decoded(answer.body, step.get("kind"))}
        if answer.kind:
            out["header"] = "binary"
        for path in step.get("only", []):
            out["body"] = self.pick(out["body"], self.fill(path))
        if step.get("codes"):
            out = {"code": out["code"]}
        if "properties" in out["fields"]:
            out["fields"] = {**out["fields"], "properties": r.pairs(out["fields"]["properties"])}
        out = self.mask(out, MASKED | set(step.get("mask", ())))
        remark = out.get("remark")
        if remark and EXCEPTION.match(remark):
            out["remark"] = "<EXCEPTION>"
        return {k: v for k, v in out.items() if v not in (None, {}, "")}

    @staticmethod
    def find(answer, path):
        """`fields.msgId`, `record.physicalOffset` of the first record, or `handle.1`: the receipt handle of the second message of a pop."""
        kind, name = path.split(".", 1)
        if kind == "fields":
            return answer.fields.get(name)
        if kind == "handle":
            return r.handle(answer, int(name))
        return r.records(answer.body)[0][name]

    @staticmethod
    def pick(body, path):
        """The part of a body at a path of keys; `a,b` keeps these keys of each."""
        for key in path.split("/"):
            if isinstance(body, dict):
                body = {k: body.get(k) for k in key.split(",")} if "," in key else body.get(key)
            elif isinstance(body, list):
                body = [v for v in body if v == key]
        return body

    def play(self, step):
        kind = step.get("step", "ask")
        seconds = step.get("seconds", WAIT_S)
        if kind == "later":
            self.waiting[step["as"]] = self.send(step)
            return None
        if kind == "oneway":
            self.send({**step, "flag": r.ONEWAY_FLAG})
            return None
        if kind == "answer":
            opaque = self.waiting.pop(step["as"])
            return self.describe(step, self.read(step, lambda f: f.flag & 1 and f.opaque == opaque, seconds))
        if kind == "mqadmin":
            return self.command(step)
        if kind == "push":
            return self.push(step)
        until = step.get("until")
        end = time.time() + seconds
        while True:
            opaque = self.send(step)
            answer = self.read(step, lambda f: f.flag & 1 and f.opaque == opaque, seconds)
            if until is None or self.holds(until, step, answer) or time.time() > end:
                return self.describe(step, answer)
            time.sleep(0.05)

    def holds(self, until, step, answer):
        body = decoded(answer.body, step.get("kind"))
        for path in step.get("only", []):
            body = self.pick(body, self.fill(path))
        if "code" in until and answer.code != until["code"]:
            return False
        if "records" in until and len(body or []) < until["records"]:
            return False
        if "contains" in until and self.fill(until["contains"]) not in json.dumps(body):
            return False
        return all(answer.fields.get(k) == v for k, v in until.get("fields", {}).items())

    def command(self, step):
        """What mqadmin prints, as a sorted list of lines of words."""
        for name, content in step.get("files", {}).items():
            Path(self.mqadmin.folder.name, name).write_text(json.dumps(self.fill(content)))
        end = time.time() + 20
        while True:
            self.mqadmin.begin(shlex.split(self.fill(step["command"])))
            try:
                for inner in step.get("during", []):
                    self.play({"seconds": 10, **inner})
            finally:
                printed = self.mqadmin.printed()
            if "until" not in step or self.fill(step["until"]) in "\n".join(printed) or time.time() > end:
                break
        kept = [self.fill(word) for word in step.get("lines", [])]
        printed = [line for line in printed if not kept or any(word in line for word in kept)]
        # The stacks of Java's exceptions are an accident.
        printed = [line for line in printed if line.strip() and not re.match(r"\s+at |\s*\.\.\. \d+ more|\s*\w+ \[", line)]
        rows = [self.mask_text(line).split() for line in printed]
        if step.get("first"):
            rows = [[row[0].rstrip(":")] for row in rows]
        for row in rows:
            for i in step.get("words", []):
                if -len(row) <= i < len(row):
                    row[i] = "<…>"
        return {"lines": sorted(" ".join(row) for row in rows)}

    def push(self, step):
        """A request that the server makes to the client; answered if the step says with what."""
        frame = self.read(step, lambda f: not f.flag & 1 and f.code == step["code"], step.get("seconds", WAIT_S))
        if "reply" in step:
            fields, body = self.request(step["reply"])
            reply = r.json_frame(step["reply"].get("code", 0), fields, body, opaque=frame.opaque, flag=1)
            self.connection(step).send(reply)
        return self.describe(step, frame)


def play(stories, addresses, skip=lambda step: False, wanted=lambda story: True, log=lambda *_: None, mqadmin=None):
    """Plays the stories; gives the answers by `story: step`."""
    run = f"{int(time.time() * 10) % 100000000:08d}"
    out = {}
    for story, steps in stories.items():
        if not wanted(story):
            continue
        player = Player(re.sub(r"[^A-Za-z0-9]+", "_", story), addresses, run, mqadmin)
        start = time.time()
        for step in steps:
            name = f"{story}: {step['name']}" if "name" in step else None
            if skip(step):
                continue
            try:
                answer = player.play(step)
            except r.Closed:
                answer = {"connection": "closed"}
            except r.Silent:
                answer = {"connection": "no answer"}
            except (OSError, KeyError, IndexError, struct.error, ValueError) as error:
                answer = {"broken": f"{type(error).__name__}: {error}"}
            if name and answer is not None:
                out[name] = answer
        player.close()
        log(f"{story}: {time.time() - start:.1f} s")
    return out
