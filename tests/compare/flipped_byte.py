#!/usr/bin/env python3
"""One flipped byte in the log of a cleanly stopped broker: what is still served, and is it right?

    flipped_byte.py run KIND [--messages N] [--random N] [--seed N] [--kill] [--out FILE]   KIND: kerolox or apache
    flipped_byte.py table FILE [FILE ...]                                                   Markdown

Sends N messages (each acknowledged under SYNC_FLUSH), stops the broker cleanly (or with kill -9), keeps a copy of its data. Then for each
place: the copy again, one bit pattern flipped in one byte of the CommitLog, start, read every queue from its first offset
to its last with plain pulls, and compare each body with what was sent. env: KEROLOX or APACHE_LIB as for
tests/interop/server, which starts and stops the brokers.
"""

import argparse
import hashlib
import json
import os
import random
import re
import shutil
import struct
import subprocess
import sys
import tempfile
import time

import remoting as r

HERE = os.path.dirname(os.path.abspath(__file__))
SERVER = os.path.join(HERE, "..", "interop", "server")
TOPIC = "Flip"
QUEUES = 4
SEGMENT = 8 << 20
# Where the fields of a record begin, from its first byte (both hosts IPv4).
FIELDS = {
    "its size": 0,
    "its magic number": 7,
    "its stored checksum": 9,
    "its queue id": 15,
    "its queue offset": 27,
    "its physical offset": 35,
    "its store time": 63,
    "its body length": 87,
    "its body": 500,
}


def body(i):
    """1 KiB that follows from the number."""
    return b"%08d" % i + hashlib.sha512(b"%d" % i).digest() * 16


class Broker:
    """A broker under test with its folder."""

    def __init__(self, kind, folder, offset):
        self.kind, self.folder = kind, folder
        os.makedirs(os.path.join(folder, "logs"), exist_ok=True)
        self.write("kind", kind)
        self.write("offset", str(offset))
        self.write("broker.conf", f"flushDiskType=SYNC_FLUSH\nautoCreateTopicEnable=true\nmappedFileSizeCommitLog={SEGMENT}\n")
        self.address = f"127.0.0.1:{10911 + offset}"
        self.data = os.path.join(folder, "data")

    def write(self, name, text):
        with open(os.path.join(self.folder, name), "w", encoding="ascii") as file:
            file.write(text)

    def do(self, verb):
        done = subprocess.run([SERVER, self.folder, verb], capture_output=True, text=True, timeout=180, check=False)
        return done.returncode == 0

    def log_lines(self, wanted):
        """Lines of the program's own log that match."""
        lines = []
        logs = os.path.join(self.folder, "logs")
        for name in sorted(os.listdir(logs)):
            path = os.path.join(logs, name)
            if os.path.isfile(path):
                with open(path, encoding="utf-8", errors="replace") as file:
                    lines += [line.strip() for line in file if wanted.search(line)]
        return lines

    def clear_logs(self):
        logs = os.path.join(self.folder, "logs")
        for name in os.listdir(logs):
            path = os.path.join(logs, name)
            if os.path.isfile(path):
                os.truncate(path, 0)


def send_all(address, count):
    """Sends with up to 64 in flight, each until it is acknowledged; the queue offset of each."""
    offsets = [None] * count
    to_send = list(range(count - 1, -1, -1))
    with r.Connection(address, 60) as c:
        waiting = {}
        while to_send or waiting:
            batch = b""
            while to_send and len(waiting) < 64:
                number = to_send.pop()
                opaque = r.next_opaque()
                fields = r.v2(r.send_fields(TOPIC, number % QUEUES, props={"UNIQ_KEY": f"K{number:031d}", "TAGS": "T"}))
                batch += r.json_frame(310, fields, body(number), opaque=opaque)
                waiting[opaque] = number
            if batch:
                c.send(batch)
            answer = c.read()
            number = waiting.pop(answer.opaque)
            if answer.code == 2:  # busy, not processed: Apache under load
                to_send.append(number)
            elif answer.code != 0:
                raise RuntimeError(f"send {number}: {answer.code} {answer.remark}")
            else:
                offsets[number] = int(answer.fields["queueOffset"])
    return offsets


def read_all(address, offsets):
    """(intact, wrong, missing): numbers of the messages served as sent, served otherwise, and not served."""
    count = len(offsets)
    seen, wrong, stuck = set(), 0, []
    with r.Connection(address, 30) as c:
        for queue in range(QUEUES):
            offset, end, tries = 0, None, 0
            while end is None or offset < end:
                answer = c.ask(11, r.pull_fields("TOOLS_CONSUMER", TOPIC, queue, offset, maxMsgNums=32))
                fields = answer.fields
                if answer.code not in (0, 19, 20, 21):
                    stuck.append(f"queue {queue} offset {offset}: {answer.code} {answer.remark}")
                    break
                end = int(fields.get("maxOffset") or 0)
                following = int(fields.get("nextBeginOffset") or 0)
                if answer.code == 0:
                    for record in r.records(answer.body):
                        text = record["body"]
                        number = int(text[:8]) if text[:8].isdigit() else -1
                        right = 0 <= number < count and text == body(number) and record["topic"] == TOPIC
                        right = right and record["queueId"] == queue == number % QUEUES and record["queueOffset"] == offsets[number]
                        right = right and record["properties"].get("UNIQ_KEY") == f"K{number:031d}"
                        if right:
                            seen.add(number)
                        else:
                            wrong += 1
                if following <= offset:
                    tries += 1
                    # A consumer would hang here; to count what is behind, go one on after a few tries.
                    following = offset + 1 if tries > 3 else offset
                    if tries == 4 and offset < end:
                        stuck.append(f"queue {queue} hangs at {offset}")
                else:
                    tries = 0
                offset = following
    return len(seen), wrong, count - len(seen), stuck


class Log:
    """The segments of a CommitLog and where its records are."""

    def __init__(self, folder):
        self.folder = os.path.join(folder, "commitlog")
        self.segments = sorted(name for name in os.listdir(self.folder) if name.isdigit())
        self.records = []
        for number, name in enumerate(self.segments):
            with open(os.path.join(self.folder, name), "rb") as file:
                data = file.read()
            at = 0
            while at + 8 <= len(data):
                size, magic = struct.unpack_from(">iI", data, at)
                if size <= 0 or at + size > len(data) or magic not in (0xDAA320A7, 0xDAA320AB):
                    break
                (physical,) = struct.unpack_from(">q", data, at + 28)
                if physical != int(name) + at:
                    break
                self.records.append((number, at, size))
                at += size

    def of(self, segment):
        return [record for record in self.records if record[0] == segment]


def flip(path, at, mask):
    with open(path, "r+b") as file:
        file.seek(at)
        value = file.read(1)[0]
        file.seek(at)
        file.write(bytes([value ^ mask]))


def places(log, count, seed):
    """(label, segment, byte in it, mask): chosen ones, then random ones."""
    # Messages of ours are of one size; state records of the server itself are of others.
    sizes = [size for _, _, size in log.records]
    ours = max(set(sizes), key=sizes.count)
    used = sorted({segment for segment, _, _ in log.records})
    newest, first = used[-1], used[0]

    def middle(segment):
        records = [record for record in log.of(segment) if record[2] == ours]
        return records[len(records) // 2]

    for label, segment in (("first", first), ("middle", used[len(used) // 2]), ("last but one", used[-2]), ("newest", newest)):
        _, at, _ = middle(segment)
        yield f"body, {label} segment", segment, at + FIELDS["its body"], 0x10
    for label, where in FIELDS.items():
        _, at, _ = middle(newest)
        yield f"newest segment, {label}", newest, at + where, 0x10
    _, at, size = middle(newest)
    yield "newest segment, its topic", newest, at + 88 + 1032 + 2, 0x01
    yield "newest segment, its properties", newest, at + size - 10, 0x10
    segment, at, size = [record for record in log.records if record[2] == ours][-1]
    yield "body of the last message", segment, at + FIELDS["its body"], 0x10
    chosen = random.Random(seed)
    for number in range(count):
        segment, at, size = chosen.choice(log.records)
        yield f"random {number + 1}", segment, at + chosen.randrange(size), 1 << chosen.randrange(8)


def run(args):
    folder = tempfile.mkdtemp(prefix="flipped.")
    broker = Broker(args.kind, folder, args.offset)
    results = {"kind": args.kind, "messages": args.messages, "segment": SEGMENT, "seed": args.seed, "killed": args.kill, "places": []}
    damage = re.compile(r"damage|corrupt|checksum|crc|quarantine", re.IGNORECASE)
    try:
        if not broker.do("start"):
            raise RuntimeError("the broker does not start")
        time.sleep(0 if args.kind == "kerolox" else 3)
        offsets = send_all(broker.address, args.messages)
        intact, wrong, missing, stuck = read_all(broker.address, offsets)
        if (intact, wrong, missing) != (args.messages, 0, 0):
            raise RuntimeError(f"before any damage: {intact} intact, {wrong} wrong, {missing} missing {stuck}")
        if not broker.do("kill" if args.kill else "stop"):
            raise RuntimeError("the broker does not end")
        keep = os.path.join(folder, "keep")
        subprocess.run(["cp", "-a", "--sparse=always", broker.data, keep], check=True)
        log = Log(keep)
        print(f"{args.kind}: {args.messages} acknowledged, {len(log.records)} records in {len(log.segments)} segments", file=sys.stderr)
        for label, segment, at, mask in places(log, args.random, args.seed):
            shutil.rmtree(broker.data)
            subprocess.run(["cp", "-a", "--sparse=always", keep, broker.data], check=True)
            flip(os.path.join(broker.data, "commitlog", log.segments[segment]), at, mask)
            broker.clear_logs()
            begin = time.monotonic()
            started = broker.do("start")
            one = {"place": label, "segment": segment, "byte": at, "mask": mask, "started": started}
            if started:
                one["start_s"] = round(time.monotonic() - begin, 2)
                intact, wrong, missing, stuck = read_all(broker.address, offsets)
                one.update({"intact": intact, "wrong": wrong, "missing": missing, "stuck": stuck})
                broker.do("stop")
            else:
                one.update({"intact": 0, "wrong": 0, "missing": args.messages, "stuck": ["does not start"]})
            one["said"] = broker.log_lines(damage)[:3]
            results["places"].append(one)
            print(json.dumps(one), file=sys.stderr)
    finally:
        broker.do("end")
        if not args.keep:
            shutil.rmtree(folder)
    text = json.dumps(results, indent=1)
    if args.out:
        with open(args.out, "w", encoding="utf-8") as file:
            file.write(text + "\n")
    else:
        print(text)
    if args.kind == "kerolox":
        bad = [p for p in results["places"] if p["wrong"] or p["missing"] > 1 or p["stuck"] or (p["missing"] and not p["said"])]
        print(f"{len(results['places']) - len(bad)} passed, {len(bad)} failed", file=sys.stderr)
        return 1 if bad else 0
    return 0


def table(args):
    runs = []
    for path in args.files:
        with open(path, encoding="utf-8") as file:
            runs.append(json.load(file))
    names = {"apache": "Apache 5.5.0", "kerolox": "Kerolox"}
    head = " | ".join(f"{names[run['kind']]}: lost, served wrong" for run in runs)
    print(f"| flipped byte | {head} |")
    print("|---|" + "---|" * len(runs))
    labels = [p["place"] for p in runs[0]["places"] if not p["place"].startswith("random")]
    for label in labels:
        cells = []
        for run in runs:
            found = [p for p in run["places"] if p["place"] == label]
            cells.append(f"{found[0]['missing']:,}, {found[0]['wrong']:,}" if found else "–")
        print(f"| {label} | " + " | ".join(cells) + " |")
    cells = []
    for run in runs:
        chosen = [p for p in run["places"] if p["place"].startswith("random")]
        lost = sorted(p["missing"] for p in chosen)
        wrong = sum(1 for p in chosen if p["wrong"])
        cells.append(
            f"{len(chosen)} places: median {lost[len(lost) // 2]:,}, most {lost[-1]:,} lost; wrong bytes served in {wrong}" if lost else "–"
        )
    print("| random places | " + " | ".join(cells) + " |")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    sub = parser.add_subparsers(dest="command", required=True)
    p = sub.add_parser("run")
    p.add_argument("kind", choices=["kerolox", "apache"])
    p.add_argument("--messages", type=int, default=40000)
    p.add_argument("--random", type=int, default=20)
    p.add_argument("--seed", type=int, default=1)
    p.add_argument("--offset", type=int, default=15000, help="added to the ports")
    p.add_argument("--kill", action="store_true", help="end the broker with kill -9 instead of a clean stop")
    p.add_argument("--out")
    p.add_argument("--keep", action="store_true")
    p = sub.add_parser("table")
    p.add_argument("files", nargs="+")
    args = parser.parse_args()
    return {"run": run, "table": table}[args.command](args)


if __name__ == "__main__":
    sys.exit(main())
