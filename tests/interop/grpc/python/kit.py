"""What the cases work with: fresh names, clients that are shut down when a case ends, waits with limits, and the runner."""
import os
import subprocess
import threading
import time
import traceback
from collections import Counter, defaultdict
from concurrent.futures import ThreadPoolExecutor

from rocketmq import (ClientConfiguration, ConsumeResult, Credentials, FilterExpression, LitePushConsumer, LiteSimpleConsumer, Message,
                      MessageListener, Producer, PushConsumer, SimpleConsumer, TransactionChecker)

ENDPOINT, NAMESRV, HOOK = (os.environ.get(name, "") for name in ("ENDPOINT", "NAMESRV", "HOOK"))
TRUSTED = bool(os.environ.get("GRPC_DEFAULT_SSL_ROOTS_FILE_PATH"))
PATIENCE = float(os.environ.get("PATIENCE", 3))  # busy machines: waits may last so many times as long; they end when what they wait for has come
RUN = f"{int(time.time() * 1000) % 10**10:x}"  # no run sees the messages of another
ALL = FilterExpression("*")


def command(line, *words):
    done = subprocess.run([*line.split(), *words], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=120)
    assert done.returncode == 0, f"{words}: code {done.returncode}, {done.stdout}"
    return done.stdout


def admin(*words):
    return command(os.environ["ADMIN"], words[0], "-n", NAMESRV, *words[1:])


def hook(verb):
    """start, stop or kill the broker."""
    command(HOOK, verb)


def eventually(seconds, what, condition):
    end = time.monotonic() + seconds * PATIENCE
    while not (value := condition()):
        assert time.monotonic() < end, f"not within {seconds * PATIENCE} s: {what() if callable(what) else what}"
        time.sleep(0.01)
    return value


def equal(want, got, what):
    if isinstance(want, list) and len(want) > 50:
        more, less = Counter(got) - Counter(want), Counter(want) - Counter(got)
        assert not more and not less, f"{what}: {sum(more.values())} too much: {brief(more)}; {sum(less.values())} missing: {brief(less)}"
    assert want == got, f"{what}: want {brief(want)}, got {brief(got)}"


def brief(value):
    text = repr(value)
    return text if len(text) < 400 else text[:400] + "…"


def raises(code, call, *arguments):
    """The call fails with this code, or one of these, of the server, or with an exception of just this class of the client."""
    try:
        result = call(*arguments)
    except Exception as e:
        held = type(e) is code if isinstance(code, type) else getattr(e, "code", None) in (code if isinstance(code, tuple) else (code,))
        assert held, f"want {code}, got {type(e).__name__}: {e}"
        return e
    raise AssertionError(f"want {code}, but it succeeded: {brief(result)}")


def noise(seed, length):
    """The same bytes for the same seed; they do not compress."""
    out, state = bytearray(), seed * 0x9E3779B97F4A7C15 % 2**64 + 1
    while len(out) < length:
        state = state * 6364136223846793005 % 2**64 + 1442695040888963407
        out += (state % 2**64).to_bytes(8, "little")
    return bytes(out[:length])


def message(topic, body, tag=None, keys=(), properties=None, **more):
    m = Message()
    m.topic, m.body = topic, body if isinstance(body, bytes) else body.encode()
    if tag:
        m.tag = tag
    for key in keys:
        m.keys = key  # adds one
    for key, value in (properties or {}).items():
        m.add_property(key, value)
    for name, value in more.items():  # message_group, delivery_timestamp (seconds), priority, lite_topic
        setattr(m, name, value)
    return m


class Checker(TransactionChecker):
    """`decide(body, times asked)` answers the server's questions."""

    def __init__(self, decide):
        self.decide, self.asked = decide, defaultdict(list)

    def check(self, message):
        body = message.body.decode()
        self.asked[body].append(message)
        return self.decide(body, len(self.asked[body]))


class Inbox(MessageListener):
    """What a consumer got, in the order in which it got it: (message, time). `verdict(message)` false: consumption fails."""

    def __init__(self, verdict=None):
        self.verdict, self.got, self.lock = verdict or (lambda m: True), [], threading.Lock()

    def add(self, m):
        with self.lock:
            self.got.append((m, time.time()))

    def consume(self, message):
        self.add(message)
        return ConsumeResult.SUCCESS if self.verdict(message) else ConsumeResult.FAILURE

    def bodies(self):
        with self.lock:
            return [m.body.decode() for m, _ in self.got]

    def await_all(self, want, seconds):
        """Waits until each body has come, however often."""
        eventually(seconds, lambda: f"{brief(sorted(set(want) - set(self.bodies())))} of {len(want)}", lambda: set(want) <= set(self.bodies()))

    def exactly(self, want, seconds):
        """Waits until each body has come; nothing else did, and nothing twice."""
        self.await_all(want, seconds)
        equal(sorted(want), sorted(self.bodies()), "deliveries")


class Kit:
    counter, counter_lock = 0, threading.Lock()

    def __init__(self, name):
        self.name, self.notes, self.endings = name.replace(".", "_"), [], []

    def note(self, text):
        self.notes.append(text)

    def fresh(self, kind):
        with Kit.counter_lock:
            Kit.counter += 1
            return f"{kind}_py_{self.name}_{Kit.counter}_{RUN}"

    def topic(self, kind="NORMAL"):
        name = self.fresh("T")
        admin("updateTopic", "-c", "DefaultCluster", "-t", name, "-r", "4", "-w", "4", "-a", f"+message.type={kind}")
        return name

    def group(self, *flags):
        name = self.fresh("G")
        admin("updateSubGroup", "-c", "DefaultCluster", "-g", name, *flags)
        return name

    def started(self, client):
        client.startup()
        self.endings.append(client.shutdown)
        return client

    def configuration(self):
        return ClientConfiguration(ENDPOINT, Credentials(), "", 10)

    def producer(self, *topics, checker=None, tls=False):
        return self.started(Producer(self.configuration(), topics, checker=checker, tls_enable=tls))

    def simple(self, group, topic, filter=ALL, wait=5, tls=False):
        return self.started(SimpleConsumer(self.configuration(), group, {topic: filter}, await_duration=wait, tls_enable=tls))

    def push(self, group, topic, inbox, filter=ALL, tls=False):
        self.started(PushConsumer(self.configuration(), group, inbox, {topic: filter}, tls_enable=tls))
        return inbox

    def lite_push(self, group, topic, inbox):
        return self.started(LitePushConsumer(self.configuration(), group, topic, inbox))

    def lite_simple(self, group, topic):
        return self.started(LiteSimpleConsumer(topic, self.configuration(), group, await_duration=5))

    def close(self):
        for ending in reversed(self.endings):
            try:
                ending()
            except Exception as e:
                self.note(f"while shutting down: {type(e).__name__} {e}")


def drain(consumer, want, seconds, invisible=60, ack=True):
    """Receives (and acknowledges) until as many messages have come; gives them."""
    got, end = [], time.monotonic() + seconds * PATIENCE
    with ThreadPoolExecutor(8) as pool:
        while len(got) < want and time.monotonic() < end:
            batch = consumer.receive(32, invisible)
            list(pool.map(consumer.ack, batch if ack else []))
            got += batch
    return got


def run(cases, arguments):
    """`cases`: (name, phase, body); those of phase 0 side by side, then the others one by one (phase 2: needs HOOK)."""
    totals, started = defaultdict(int), time.monotonic()

    def one(name, phase, body):
        if phase == 2 and not HOOK or name.startswith("tls") and not TRUSTED:
            totals["skipped"] += 1
            return print(f"SKIPPED py {name}: {'no certificate' if HOOK else 'no HOOK'}", flush=True)
        kit, begun, failure = Kit(name), time.monotonic(), None
        try:
            body(kit)
        except Exception as e:
            where = [f"at {f.name}:{f.lineno} {f.line}" for f in traceback.extract_tb(e.__traceback__) if f.filename.endswith("cases.py")]
            failure = "\n".join([f"{type(e).__name__}: {e}", *where])
        kit.close()
        totals["failed" if failure else "passed"] += 1
        print(f"{'FAILED' if failure else 'ok':6} py {name:28} {time.monotonic() - begun:6.1f} s  {'; '.join(kit.notes)}", flush=True)
        if failure:
            print("       " + failure.replace("\n", "\n       "), flush=True)

    chosen = [c for c in cases if not arguments or any(a in c[0] for a in arguments)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda c: one(*c), [c for c in chosen if c[1] == 0]))
    for case in chosen:
        if case[1] > 0:
            one(*case)
    more = f", {totals['skipped']} skipped" if totals["skipped"] else ""
    print(f"{totals['passed']} passed, {totals['failed']} failed{more} (py, {time.monotonic() - started:.0f} s)", flush=True)
    os._exit(1 if totals["failed"] else 0)  # threads of clients that a failed case left behind must not keep the process
