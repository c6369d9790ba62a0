#!/usr/bin/env python3
"""The differential test: the requests of requests.py and bad_input.py, or with --mqadmin the commands of commands.py, and what Apache
RocketMQ 5.5.0 answers to them.

    answers.py record [--mqadmin] [STORY ...]        starts Apache (jars: folder APACHE_LIB), asks it, writes recorded.json
    answers.py check [--mqadmin|--admin] [STORY ...] starts the binary KEROLOX, asks it, compares field by field; exit code 1 on a difference
    answers.py show [--mqadmin|--admin] [STORY ...]  prints what KEROLOX answers now

--admin: the same commands by `kerolox admin` instead of Apache's mqadmin, and once more with `--output json`, which must be JSON.

STORY: a part of a story's name. A difference is fine if differences.json has a reason for it: `at` is a pattern of
`story: step: path`, `is` what Kerolox has there, `apache` what Apache has, `why` the reason, `by` the tool if it is of commands. A line
of that file that nothing needs is an error too.
"""

import fnmatch
import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import bad_input
import exchange
import requests
from commands import COMMANDS

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
MQADMIN = "--mqadmin" in sys.argv
ADMIN = "--admin" in sys.argv
STORIES = COMMANDS if MQADMIN or ADMIN else requests.STORIES
RECORDED = HERE / ("recorded-mqadmin.json" if MQADMIN or ADMIN else "recorded.json")
DIFFERENCES = HERE / "differences.json"
SERVER = ROOT / "tests" / "interop" / "server"
CONFIG = [
    "brokerName=broker-a",
    "brokerClusterName=DefaultCluster",
    "autoCreateTopicEnable=true",
    "flushDiskType=SYNC_FLUSH",
    "enablePropertyFilter=true",
    "recallMessageEnable=true",
    "messageDelayLevel=1s 1s 1s 2s 3s 4s 5s 6s 7s 8s 9s 10s 20s 30s 1m 10m 1h 2h",
]
# Apache puts a half message anew into its queue with each question, and counts answers every 3 s only.
WAITS = {"apache": 6000, "kerolox": 500}
ABSENT = "<absent>"
BAD_INPUT = "bad input"


def planned():
    """The codes that Kerolox does not serve yet: their steps are skipped."""
    rows = re.findall(r"^\s+(\d+) [A-Z_0-9]+ [A-D] \[[\w ]+\] Planned;", (ROOT / "crates/wire/src/codes.rs").read_text(), re.M)
    return {int(code) for code in rows}


class Server:
    """The server under test, in a folder of its own."""

    def __init__(self, kind):
        self.kind = kind

    def __enter__(self):
        self.folder = tempfile.TemporaryDirectory(prefix="answers-")
        folder = Path(self.folder.name)
        offset = int(os.environ.get("OFFSET", 10000 + os.getpid() % 900 * 10))
        wait = WAITS[self.kind]
        lines = [*CONFIG, f"transactionTimeOut={wait}", f"transactionCheckInterval={wait}"]
        (folder / "kind").write_text(self.kind)
        (folder / "offset").write_text(str(offset))
        (folder / "broker.conf").write_text("\n".join(lines) + "\n")
        subprocess.run([SERVER, folder, "start"], check=True)
        return {"namesrv": f"127.0.0.1:{9876 + offset}", "broker": f"127.0.0.1:{10911 + offset}"}

    def __exit__(self, *_):
        subprocess.run([SERVER, self.folder.name, "end"], check=False)
        self.folder.cleanup()


def tools():
    """The jars of Apache's mqadmin: the folder MQADMIN_LIB, or fetched once."""
    if "MQADMIN_LIB" in os.environ:
        return os.environ["MQADMIN_LIB"]
    folder = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "interop" / "tools-5.5.0"
    if not (folder / ".done").exists():
        pom = ROOT / "tests" / "interop" / "client.xml"
        options = ["-Drocketmq.artifact=rocketmq-tools", "-Drocketmq.version=5.5.0", "-DincludeScope=runtime", f"-DoutputDirectory={folder}"]
        subprocess.run(["mvn", "-B", "-q", "-f", pom, "dependency:copy-dependencies", *options], check=True)
        (folder / ".done").touch()
    return str(folder)


def tool(namesrv, as_json):
    """What carries the commands out."""
    if MQADMIN:
        return exchange.Mqadmin(namesrv, tools())
    return exchange.KeroloxAdmin(namesrv, as_json) if ADMIN else None


def answers(kind, parts, skip=(), as_json=False):
    """The answers by `story: step`, and what was wrong with the tool."""
    with Server(kind) as addresses:
        mqadmin = tool(addresses["namesrv"], as_json)
        wanted = lambda story: not parts or any(part in story for part in parts)  # noqa: E731
        given = exchange.play(
            STORIES,
            addresses,
            mqadmin=mqadmin,
            skip=lambda step: step.get("code") in skip,
            wanted=wanted,
            log=lambda line: print(line, file=sys.stderr) if os.environ.get("VERBOSE") else None,
        )
        if mqadmin is None and wanted(BAD_INPUT):
            given.update(bad_input.answers(addresses))
        return given, getattr(mqadmin, "problems", [])


def names(recorded):
    """What is compared: the names of steps, by story."""
    stories = {story: [f"{story}: {step['name']}" for step in steps if "name" in step] for story, steps in STORIES.items()}
    if STORIES is not COMMANDS:
        stories[BAD_INPUT] = [name for name in recorded if name.startswith(BAD_INPUT + ":")]
    return stories


def record(parts):
    recorded = json.loads(RECORDED.read_text())["answers"] if parts else {}
    recorded.update(answers("apache", parts)[0])
    kept = {name: recorded[name] for story in names(recorded).values() for name in story if name in recorded}
    lines = [f"  {json.dumps(name)}: {json.dumps(answer, ensure_ascii=False)}" for name, answer in kept.items()]
    RECORDED.write_text('{\n "name": "Apache 5.5.0",\n "answers": {\n' + ",\n".join(lines) + "\n }\n}\n")
    print(f"{len(kept)} answers recorded")
    return 0


def told(answer):
    """What a tool printed, whichever it is: a refusal as its code, a failure as that, properties sorted."""
    lines = []
    for line in answer.get("lines", []):
        refused = re.search(r"CODE: (\d+) DESC|\(code \w+ (\d+)\)$", line)
        if refused and ("Exception: " in line or line.startswith("kerolox: ")):
            lines.append(f"refused: {refused[1] or refused[2]}")
        elif re.search(r"(SubCommandException|RuntimeException): |^kerolox: ", line):
            lines.append("failed")
        elif not re.match(r"(For more information, please visit|See) .*bestPractice/06FAQ", line):
            lines.append(re.sub(r"\b[Pp]roperties[:=] ?\{(.*?)\}", lambda m: ", ".join(sorted(m[1].split(", "))), line))
    return {"lines": sorted(set(lines) - ({"failed"} if any(line.startswith("refused") for line in lines) else set()))}


def differences(want, got, path=""):
    """Paths at which two answers differ, with what is there. Of a Java exception only the code counts: the rest is an accident."""
    if path == "" and want.get("remark") == "<EXCEPTION>":
        want, got = {"code": want["code"]}, {"code": got.get("code")}
    if isinstance(want, dict) and isinstance(got, dict):
        for key in sorted(set(want) | set(got), key=str):
            yield from differences(want.get(key, ABSENT), got.get(key, ABSENT), f"{path}/{key}")
    elif isinstance(want, list) and isinstance(got, list) and len(want) == len(got):
        for i, (one, other) in enumerate(zip(want, got)):
            yield from differences(one, other, f"{path}/{i}")
    elif isinstance(want, list) and isinstance(got, list) and all(isinstance(line, str) for line in want + got):
        yield from ((f"{path}/{line}", line, ABSENT) for line in want if line not in got)
        yield from ((f"{path}/{line}", ABSENT, line) for line in got if line not in want)
    elif want != got:
        yield path, want, got


def check(parts):
    recorded = json.loads(RECORDED.read_text())["answers"]
    reasons = [reason for reason in json.loads(DIFFERENCES.read_text()) if ("admin" if ADMIN else "mqadmin" if MQADMIN else "") in as_list(reason.get("by", ""))]
    used = set()
    skipped = planned()
    got, problems = answers("kerolox", parts, skipped)
    if ADMIN:
        recorded = {name: told(answer) for name, answer in recorded.items()}
        got = {name: told(answer) for name, answer in got.items()}
        problems += answers("kerolox", parts, skipped, as_json=True)[1]
    passed, failed = 0, len(problems)
    for problem in problems:
        print(f"FAILED answers: kerolox admin {problem}")
    waiting = sum(1 for steps in STORIES.values() for step in steps if "name" in step and step.get("code") in skipped)
    for story, steps in names(recorded).items():
        same = explained = 0
        problems = []
        for name in steps:
            if name not in got:
                continue
            found = list(differences(recorded.get(name, {"not": "recorded"}), got[name]))
            unexplained = [d for d in found if not reasons_for(reasons, name, d, used)]
            problems += [f"{name}{path}: Apache {text(want)}, here {text(have)}" for path, want, have in unexplained]
            same += not found
            explained += bool(found)
        if same + explained == 0:
            continue
        passed, failed = passed + (not problems), failed + bool(problems)
        result = "FAILED" if problems else "ok    "
        print(f"{result} answers {story}: {same} the same, {explained} different" + (" for a reason" if explained and not problems else ""))
        for problem in problems:
            print(f"       {problem}")
    for i, reason in enumerate(reasons):
        if i not in used and not parts:
            failed += 1
            print(f"FAILED answers: nothing differs any more at {reason['at']!r}: {reason['why']}")
    if waiting:
        print(f"       {waiting} requests wait for codes that are planned")
    print(f"{passed} passed, {failed} failed")
    return 1 if failed else 0


def reasons_for(reasons, name, difference, used):
    path, want, have = difference
    fitting = [i for i, reason in enumerate(reasons) if fits(reason, f"{name}: {path}", want, have)]
    used.update(fitting)
    return fitting


def text(value):
    return json.dumps(value, ensure_ascii=False)


def fits(reason, place, want, have):
    if not any(fnmatch.fnmatchcase(place, glob(pattern)) for pattern in as_list(reason["at"])):
        return False
    return ("is" not in reason or have in as_list(reason["is"])) and ("apache" not in reason or want == reason["apache"])


def as_list(value):
    return value if isinstance(value, list) else [value]


def glob(pattern):
    """Only `*` is special."""
    return pattern.replace("[", "[[]").replace("?", "[?]")


def show(parts):
    for name, answer in answers("kerolox", parts)[0].items():
        print(name)
        print(json.dumps(answer, indent=1, ensure_ascii=False))
    return 0


if __name__ == "__main__":
    command, *parts = [word for word in sys.argv[1:] if word not in ("--mqadmin", "--admin")] or [""]
    commands = {"record": record, "check": check, "show": show}
    if command not in commands:
        sys.exit(__doc__)
    sys.exit(commands[command](parts))
