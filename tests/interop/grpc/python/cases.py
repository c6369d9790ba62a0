"""The cases with the Python client; arguments: parts of the names of the cases to run. What the server is to do: docs/protocol/grpc-apache.md."""
import sys
import threading
import time
from collections import Counter, defaultdict
from concurrent.futures import ThreadPoolExecutor

from rocketmq import FilterExpression, TransactionResolution
from rocketmq.grpc_protocol import FilterType
from rocketmq.v5.exception import IllegalArgumentException

from kit import (ALL, Checker, Inbox, admin, drain, equal, eventually, hook, message, noise, raises, run)

COMMIT, ROLLBACK, UNKNOWN = (TransactionResolution.COMMIT, TransactionResolution.ROLLBACK, TransactionResolution.TRANSACTION_RESOLUTION_UNSPECIFIED)
BODIES = {"one": b"x", "text": "Grüße, 世界 🚀".encode(), "binary": bytes(range(256)) * 3, "large": noise(7, 1024 * 1024)}


def send_normal(kit, tls=False):
    """Everything of a message is kept exactly."""
    topic, group = kit.topic(), kit.group()
    producer, consumer = kit.producer(topic, tls=tls), kit.simple(group, topic, tls=tls)
    properties = {"plain": "1", "schlüssel": "Wert mit Leerzeichen = 世界", "long": "v" * 4000}
    sent = {name: producer.send(message(topic, body, "tag-ä", (f"k1-{name}", "k2"), properties)).message_id for name, body in BODIES.items()}
    bare = producer.send(message(topic, "bare")).message_id
    got = {m.message_id: m for m in drain(consumer, len(BODIES) + 1, 20)}
    equal({*sent.values(), bare}, set(got), "message ids")
    for name, body in BODIES.items():
        m = got[sent[name]]
        assert m.body == body and not m.corrupted, f"the body {name} differs"
        equal((topic, "tag-ä", {f"k1-{name}", "k2"}, properties, 1), (m.topic, m.tag, m.keys, m.properties, m.delivery_attempt), name)
        assert abs(m.born_timestamp - time.time() * 1000) < 60_000, m.born_timestamp
    m = got[bare]
    equal((b"bare", None, set(), {}, None, 1), (m.body, m.tag, m.keys, m.properties, m.message_group, m.message_type), "bare")


def send_async(kit):
    topic, group = kit.topic(), kit.group()
    producer = kit.producer(topic)
    futures = [producer.send_async(message(topic, f"a{i}")) for i in range(200)]
    ids = {f.result(20).message_id for f in futures}
    equal(200, len(ids), "ids")
    equal(sorted(ids), sorted(m.message_id for m in drain(kit.simple(group, topic), 200, 30)), "received")


def send_fifo(kit):
    """Each message group comes in its order, to a push consumer and to a simple one."""
    topic = kit.topic("FIFO")
    producer, inbox = kit.producer(topic), Inbox()
    kit.push(kit.group("-o", "true"), topic, inbox)
    simple = kit.simple(kit.group("-o", "true"), topic)
    want = [(f"g{i % 5}", f"{i:03}") for i in range(100)]
    for group, body in want:
        producer.send(message(topic, body, message_group=group))
    inbox.exactly([body for _, body in want], 30)
    for got in ([m for m, _ in inbox.got], drain(simple, 100, 40)):
        equal(100, len(got), "messages")
        for group in {g for g, _ in want}:
            equal([b for g, b in want if g == group], [m.body.decode() for m in got if m.message_group == group], group)


def send_delay(kit):
    """Not early, and soon after; what is recalled does not come."""
    topic, inbox = kit.topic("DELAY"), Inbox()
    producer = kit.producer(topic)
    kit.push(kit.group(), topic, inbox)
    producer.send(message(topic, "over", delivery_timestamp=int(time.time()) - 5))  # its time is over: at once
    inbox.await_all({"over"}, 20)
    now = int(time.time())
    due, sent = {f"d{s}": now + s for s in (-5, 3, 4, 6)}, {}
    for body, at in due.items():
        producer.send(message(topic, body, "t", delivery_timestamp=at))
        sent[body] = time.time()
    recalled = [producer.send(message(topic, f"recalled{i}", delivery_timestamp=now + 5)) for i in range(3)]
    for receipt in recalled:
        equal(receipt.message_id, producer.recall_message(topic, receipt.recall_handle), "recalled")
    raises((40000, 50001), producer.recall_message, topic, "no handle")  # Apache: the latter
    inbox.exactly(["over", *due], 20)
    got = [(m, m.body.decode(), at) for m, at in inbox.got if m.body != b"over"]
    late = {body: at - max(due[body], sent[body] - 0.5) for _, body, at in got}
    kit.note(", ".join(f"{b} +{s:.2f} s" for b, s in late.items()))
    assert all(0 <= s < 3 for s in late.values()), late
    for m, body, _ in got:
        equal(due[body] * 1000, m.delivery_timestamp, "delivery timestamp")


def send_transaction(kit):
    """Commit, roll back; undecided ones are asked about until they are decided."""
    topic, inbox = kit.topic("TRANSACTION"), Inbox()
    checker = Checker(lambda body, times: UNKNOWN if times == 1 else ROLLBACK if "rollback" in body else COMMIT)
    producer = kit.producer(topic, checker=checker)
    kit.push(kit.group(), topic, inbox)
    ids = {}
    for body in ("commit", "rollback", "asked-commit", "asked-rollback"):
        transaction = producer.begin_transaction()
        ids[body] = producer.send(message(topic, body, "t", ("k",), {"p": body}), transaction).message_id
        if not body.startswith("asked"):
            getattr(transaction, body)()
    eventually(40, lambda: f"asked twice, but {[(b, len(m)) for b, m in checker.asked.items()]}",
               lambda: all(len(checker.asked[f"asked-{end}"]) >= 2 for end in ("commit", "rollback")))
    inbox.await_all({"commit", "asked-commit"}, 20)
    last = producer.begin_transaction()
    producer.send(message(topic, "last"), last)
    last.commit()
    inbox.exactly(["commit", "asked-commit", "last"], 20)
    equal({"asked-commit", "asked-rollback"}, set(b for b, m in checker.asked.items() if m), "asked")
    for m in [*checker.asked["asked-commit"], *(m for m, _ in inbox.got if m.body == b"asked-commit")]:
        equal((ids["asked-commit"], topic, "t", {"k"}, "asked-commit"), (m.message_id, m.topic, m.tag, m.keys, m.properties["p"]), "asked about")
    kit.note(f"asked {[len(m) for m in checker.asked.values()]} times")


def send_priority(kit):
    """The priority is kept, and higher ones come first."""
    topic, group = kit.topic("PRIORITY"), kit.group()
    producer = kit.producer(topic)
    want = [(p, f"p{p}-{i}") for p in range(4) for i in range(3)]
    for priority, body in want:
        producer.send(message(topic, body, priority=priority))
    got = drain(kit.simple(group, topic), 12, 20)
    equal(sorted(want), sorted((m.priority, m.body.decode()) for m in got), "messages")
    equal(sorted((p for p, _ in want), reverse=True), [m.priority for m in got], "order")


def send_lite(kit):
    """A lite consumer gets its lite topics only. (subscribe_lite of this client spreads a name into letters: one letter each.)"""
    topic = kit.topic("LITE")
    producer, inbox = kit.producer(topic), Inbox()
    consumer = kit.lite_push(kit.group("--attributes", f"+lite.bind.topic={topic}"), topic, inbox)
    consumer.subscribe_lite("x")
    consumer.subscribe_lite("y")
    want = [f"{lite}{i}" for i in range(5) for lite in "xyz"]
    for body in want:
        producer.send(message(topic, body, "t", lite_topic=body[0]))
    inbox.exactly([b for b in want if b[0] != "z"], 20)
    equal({b: b[0] for b in inbox.bodies()}, {m.body.decode(): m.lite_topic for m, _ in inbox.got}, "lite topics")
    consumer.unsubscribe_lite("y")
    for body in ("y-more", "x-more"):
        producer.send(message(topic, body, lite_topic=body[0]))
    inbox.exactly([*(b for b in want if b[0] != "z"), "x-more"], 20)


def lite_simple(kit):
    """A lite simple consumer; Apache 5.5.0 does not take it yet."""
    topic = kit.topic("LITE")
    producer = kit.producer(topic)
    consumer = kit.lite_simple(kit.group("--attributes", f"+lite.bind.topic={topic}"), topic)
    # Its quota is 0 until its settings are answered.
    eventually(10, "settings", lambda: consumer._init_settings_event.is_set())
    consumer.subscribe_lite("x")
    for body in ("x1", "z1", "x2"):
        producer.send(message(topic, body, lite_topic=body[0]))
    equal(["x1", "x2"], sorted(m.body.decode() for m in drain(consumer, 2, 20)), "received")


def simple_consumer(kit):
    """Acknowledged ones do not come again, others do, with a growing attempt; a changed duration counts from its call."""
    topic, group = kit.topic(), kit.group()
    producer, consumer = kit.producer(topic), kit.simple(group, topic)
    for body in ("ack", "change", "leave", "extend"):
        producer.send(message(topic, body))
    got, when = defaultdict(list), {}
    last = time.monotonic()
    while time.monotonic() < last + 11.5:  # until all that could come again would have
        asked = time.time()
        for m in consumer.receive(32, 10):
            last = time.monotonic()
            body, now = m.body.decode(), time.time()
            if got[body]:
                assert now >= when[body], f"{body} came {when[body] - now:.2f} s early"
                kit.note(f"{body} {m.delivery_attempt} +{now - when[body]:.2f} s")
            got[body].append(m.delivery_attempt)
            # The server cannot have given it earlier.
            when[body] = asked + 10
            if body == "change" and len(got[body]) < 3:
                when[body] = time.time() + 2
                consumer.change_invisible_duration(m, 2)
            elif body == "extend":
                consumer.change_invisible_duration(m, 120)
            elif body == "ack" or len(got[body]) > 1:
                consumer.ack(m)
    equal({"ack": [1], "change": [1, 2, 3], "leave": [1, 2], "extend": [1]}, dict(got), "attempts")


def push_concurrent(kit):
    """Failed ones come again to the group, to one of its consumers, with a growing attempt."""
    topic, group = kit.topic(), kit.group()
    producer = kit.producer(topic)
    inboxes = [Inbox(lambda m: not m.body.startswith(b"fail") or m.delivery_attempt > 1) for _ in range(2)]
    for inbox in inboxes:
        kit.push(group, topic, inbox)
    want = [f"ok{i}" for i in range(190)] + [f"fail{i}" for i in range(10)]
    for body in want:
        producer.send(message(topic, body))
    got = lambda: Counter((m.body.decode(), m.delivery_attempt) for inbox in inboxes for m, _ in inbox.got)
    wanted = Counter([(b, 1) for b in want] + [(b, 2) for b in want if b.startswith("fail")])
    eventually(30, lambda: f"{len(wanted - got())} deliveries", lambda: not wanted - got())
    equal(Counter(), got() - wanted, "more than wanted")
    kit.note(" and ".join(str(len(inbox.got)) for inbox in inboxes))


def push_fifo(kit):
    """A failing message holds up its message group only, and keeps its order; used up attempts lead to the dead letters."""
    topic, group = kit.topic("FIFO"), kit.group("-o", "true", "-r", "2")
    failing = Counter()

    def verdict(m):
        failing[m.body] += 1
        return m.body == b"a-2" and failing[m.body] > 1 or m.body not in (b"a-2", b"b-2")

    inbox, producer = Inbox(verdict), kit.producer(topic)
    kit.push(group, topic, inbox)
    for i in range(6):
        for g in "abc":
            producer.send(message(topic, f"{g}-{i}", message_group=g))
    want = {"a": ["a-0", "a-1", "a-2", "a-2", "a-3", "a-4", "a-5"], "b": ["b-0", "b-1", "b-2", "b-2", "b-2", "b-3", "b-4", "b-5"], "c": [f"c-{i}" for i in range(6)]}
    inbox.await_all(sum(want.values(), []), 40)
    for g, bodies in want.items():
        equal(bodies, [b for b in inbox.bodies() if b[0] == g], f"group {g}")
    dead_letters(kit, group, ["b-2"])


def dead_letters(kit, group, want):
    """What a consumer finds in the dead-letter topic of the group."""
    topic = f"%DLQ%{group}"
    eventually(30, f"route of {topic}", lambda: topic in admin("topicList"))
    got = drain(kit.simple(kit.group(), topic), len(want), 30)
    equal(sorted(want), sorted(m.body.decode() for m in got), topic)


def push_dead_letter(kit):
    """A message that fails as often as the group allows is in %DLQ%group, and does not come again."""
    topic, group = kit.topic(), kit.group("-r", "1")
    inbox, producer = Inbox(lambda m: m.body != b"bad"), kit.producer(topic)
    kit.push(group, topic, inbox)
    for body in ("good", "bad"):
        producer.send(message(topic, body, properties={"p": body}))
    inbox.await_all({"good", "bad"}, 20)
    dead_letters(kit, group, ["bad"])
    equal([1, 2], [m.delivery_attempt for m, _ in inbox.got if m.body == b"bad"], "attempts")


def filters(kit):
    """By tags and by SQL, for simple and push consumers."""
    topic = kit.topic()
    producer = kit.producer(topic)
    sql = "n BETWEEN 3 AND 6 AND (city = 'Köln' OR TAGS = 'c')"
    tags, sqls = FilterExpression("a||b"), FilterExpression(sql, FilterType.SQL)
    boxes = [kit.push(kit.group(), topic, Inbox(), f) for f in (tags, sqls)]
    simples = [kit.simple(kit.group(), topic, f) for f in (tags, sqls)]
    by_tag, by_sql = [], []
    for i in range(40):
        tag, n, city = "abcd"[i % 4], i % 8, "Köln" if i % 3 else "Bonn"
        producer.send(message(topic, f"{i}", tag, properties={"n": str(n), "city": city}))
        by_tag += [f"{i}"] if tag in "ab" else []
        by_sql += [f"{i}"] if 3 <= n <= 6 and (city == "Köln" or tag == "c") else []
    for want, box, simple in zip((by_tag, by_sql), boxes, simples):
        box.exactly(want, 20)
        equal(sorted(want), sorted(m.body.decode() for m in drain(simple, len(want), 30)), "simple")


def errors_send(kit):
    """The codes of refused sends; what the client itself refuses is asked of the server with the client's checks off."""
    topic, fifo, timed, transactional = kit.topic(), kit.topic("FIFO"), kit.topic("DELAY"), kit.topic("TRANSACTION")
    producer, unchecked = kit.producer(topic, fifo), kit.producer(topic)
    unchecked.reset_setting = lambda settings: None
    unchecked._Producer__validate_message_type, unchecked._Producer__max_body_size = False, 2**30

    raises(Exception, producer.send, message(kit.fresh("none"), "x"))  # the client hides the code of a route that is not there
    raises(IllegalArgumentException, producer.send, message(fifo, "x"))
    raises(40014, unchecked.send, message(fifo, "x"))
    raises(40014, unchecked.send, message(topic, "x", message_group="g"))
    raises(40014, unchecked.send, message(topic, "x", delivery_timestamp=int(time.time()) + 9))
    raises(40014, unchecked.send, message(topic, "x", priority=1))
    raises(40014, unchecked.send, message(topic, "x", lite_topic="l"))
    raises(40014, unchecked.send, message(transactional, "x"))
    raises(41301, unchecked.send, message(topic, bytes(4 * 1024 * 1024 + 1)))
    raises(40007, producer.send, message(topic, "x", properties={"KEYS": "x"}))
    raises(43101, producer.send, message(topic, "x", properties={f"p{i}": "v" for i in range(129)}))
    raises(43101, producer.send, message(topic, "x", properties={"p": "v" * 16384}))
    raises(40004, producer.send, message(topic, "x", tag="t\x01"))
    raises(40005, producer.send, message(topic, "x", keys=("k\x01",)))
    raises(40006, unchecked.send, message(fifo, "x", message_group="g" * 64))
    raises(40012, producer.send, message(timed, "x", delivery_timestamp=int(time.time()) + 41 * 86_400))  # Apache takes a day, Kerolox forty
    raises(Exception, producer.send, message("RMQ_SYS_TRACE_TOPIC", "x"))
    producer.send(message(topic, bytes(4 * 1024 * 1024)))
    equal([4 * 1024 * 1024], [len(m.body) for m in drain(kit.simple(kit.group(), topic), 1, 20)], "the one that was taken")


def errors_receive(kit):
    topic, group = kit.topic(), kit.fresh("G_unknown")
    producer, consumer = kit.producer(topic), kit.simple(group, topic)
    for body in ("late", "renewed", "twice"):
        producer.send(message(topic, body))
    got = {}
    eventually(20, "3 messages", lambda: got.update({m.body.decode(): m for m in consumer.receive(32, 60)}) or len(got) == 3)
    assert group in admin("getConsumerConfig", "-g", group), "the unknown group was not created"
    late, renewed, twice = got["late"], got["renewed"], got["twice"]
    raises(40011, consumer.change_invisible_duration, twice, 13 * 3600)
    consumer.ack(twice)
    consumer.ack(twice)  # already acknowledged: no failure
    consumer.change_invisible_duration(renewed, 60)
    consumer.ack(renewed)
    consumer.change_invisible_duration(late, 1)
    old = late.receipt_handle
    again = []
    eventually(20, "the late one again", lambda: again.extend(consumer.receive(32, 60)) or again)
    equal(["late"], [m.body.decode() for m in again], "again")
    raises(40013, consumer.ack, late)
    raises(40013, consumer.change_invisible_duration, late, 10)
    late.receipt_handle = old[: len(old) // 2]
    raises(40013, consumer.ack, late)
    consumer.ack(again[0])
    raises(40011, consumer.receive, 1, 13 * 3600)
    raises(40010, kit.simple(kit.group(), topic, FilterExpression("a >", FilterType.SQL)).receive, 1, 10)
    raises(Exception, kit.simple(kit.group(), kit.fresh("none")).receive, 1, 10)


def polls(kit):
    """A receive that finds nothing waits as long as it was asked to, and what comes meanwhile is delivered at once."""
    topic = kit.topic()
    producer, consumer, inbox = kit.producer(topic), kit.simple(kit.group(), topic, wait=15), Inbox()
    kit.push(kit.group(), topic, inbox)
    producer.send(message(topic, "first"))
    equal(1, len(drain(consumer, 1, 20)), "the first")
    inbox.await_all({"first"}, 20)
    delays = []
    for i in range(8):
        waiting = consumer.receive_async(1, 60)
        time.sleep(0.7 + i / 10)  # meanwhile it has arrived and waits
        producer.send(message(topic, f"m{i}"))
        sent = time.time()
        [m] = waiting.result(20)
        delays.append(time.time() - sent)
        consumer.ack(m)
        inbox.await_all({f"m{i}"}, 10)
        delays.append(inbox.got[-1][1] - sent)
    delays.sort()
    kit.note(f"delivered {delays[8]:.2f} s after the send, {delays[15]:.2f} s at most")
    assert delays[8] < 0.5 and delays[15] < 3, delays  # a lost wake-up would take 10 s
    empty = kit.simple(kit.group(), topic, FilterExpression("nothing"), wait=6)
    start = time.monotonic()
    equal([], empty.receive(1, 10), "nothing")
    took = time.monotonic() - start
    kit.note(f"an empty receive of 6 s took {took:.1f} s")
    assert 5 <= took < 8.5, took


def burst(kit):
    """5,000 messages, two push consumers of one group and one simple consumer: the exact set, none doubled."""
    topic, group = kit.topic(), kit.group()
    producer, inboxes = kit.producer(topic), [Inbox(), Inbox()]
    for inbox in inboxes:
        kit.push(group, topic, inbox)
    simple = kit.simple(kit.group(), topic)
    want = [f"{i:05}" for i in range(5000)]
    start = time.monotonic()
    with ThreadPoolExecutor(16) as pool:
        list(pool.map(lambda body: producer.send(message(topic, body)), want))
    sent = time.monotonic()
    all_bodies = lambda: [b for inbox in inboxes for b in inbox.bodies()]
    eventually(120, lambda: f"{len(set(want) - set(all_bodies()))} messages", lambda: set(want) <= set(all_bodies()))
    kit.note(f"sent in {sent - start:.1f} s, consumed {time.monotonic() - sent:.1f} s later by {[len(i.got) for i in inboxes]}")
    equal(sorted(want), sorted(m.body.decode() for m in drain(simple, 5000, 120, invisible=600, ack=False)), "simple")
    equal(sorted(want), sorted(all_bodies()), "push")


def restart(kit):
    """Killed, then stopped, under load: what was acknowledged comes, what waited goes on waiting, and all clients go on by themselves."""
    topic, fifo, delay, transactional = kit.topic(), kit.topic("FIFO"), kit.topic("DELAY"), kit.topic("TRANSACTION")
    checker = Checker(lambda body, times: ROLLBACK if "rollback" in body else COMMIT)
    producer, halves = kit.producer(topic, fifo, delay), kit.producer(transactional, checker=checker)
    inbox, ordered, delayed, decided, taken = Inbox(), Inbox(), Inbox(), Inbox(), Inbox()
    kit.push(kit.group(), topic, inbox)
    kit.push(kit.group("-o", "true"), fifo, ordered)
    kit.push(kit.group(), delay, delayed)
    kit.push(kit.group(), transactional, decided)
    simple = kit.simple(kit.group(), topic)
    sent = {topic: [], fifo: []}
    over, failures = threading.Event(), Counter()

    def sender(target):
        i = 0
        while not over.is_set():
            i += 1
            try:
                producer.send(message(target, f"{i:06}", **({"message_group": f"g{i % 3}"} if target == fifo else {})))
                sent[target].append(f"{i:06}")
                time.sleep(0.003)
            except Exception:
                failures["sends"] += 1
                time.sleep(0.02)

    def receiver():
        while not over.is_set() or not set(sent[topic]) <= set(taken.bodies()):
            try:
                for m in simple.receive(32, 20):
                    taken.add(m)
                    simple.ack(m)
            except Exception:
                failures["receives"] += 1
                time.sleep(0.1)

    threads = [threading.Thread(target=sender, args=(t,), daemon=True) for t in sent] + [threading.Thread(target=receiver, daemon=True)]
    for thread in threads:
        thread.start()
    watched = {"push": inbox, "fifo": ordered, "simple": taken}
    progress = lambda: {**{f"send {'fifo' if t == fifo else 'normal'}": len(s) for t, s in sent.items()}, **{n: len(b.got) for n, b in watched.items()}}
    due, now = {}, int(time.time())
    for i in range(5):
        transaction = halves.begin_transaction()
        halves.send(message(transactional, f"{('commit', 'rollback')[i % 2]}{i}"), transaction)
        due[f"d{i}"] = now + 6 + 4 * i
        producer.send(message(delay, f"d{i}", delivery_timestamp=due[f"d{i}"]))
    for verb in ("kill", "stop"):
        before = progress()
        eventually(60, "100 more of everything", lambda: all(n >= before[k] + 100 for k, n in progress().items()))
        hook(verb)
        hook("start")
        back, before, waiting, took = time.monotonic(), progress(), set(progress()), {}
        while waiting:
            for name in [n for n in waiting if progress()[n] > before[n]]:
                took[name] = time.monotonic() - back
                waiting.remove(name)
            assert time.monotonic() < back + 90, f"{waiting} did not go on within 90 s after {verb}"
            time.sleep(0.05)
        kit.note(f"after {verb}: " + ", ".join(f"{n} {s:.1f} s" for n, s in took.items()))
    over.set()
    for name, want, box in (("push", sent[topic], inbox), ("fifo", sent[fifo], ordered), ("simple", sent[topic], taken)):
        box.await_all(want, 90)
        kit.note(f"{name}: {len(want)} acknowledged, {len(box.got)} delivered")
    firsts = list(dict.fromkeys(ordered.bodies()))
    for g in range(3):
        bodies = [b for b in firsts if int(b) % 3 == g]
        equal(sorted(bodies), bodies, f"order of message group g{g}")
    delayed.await_all(due, 60)
    equal([], [m.body for m, at in delayed.got if at < due[m.body.decode()]], "early ones")
    # The client opens its telemetry again only with its next settings, after up to 10 minutes: another producer of the topic is asked.
    again = kit.producer(transactional, checker=checker)
    equal({"commit0", "commit2", "commit4"}, set(eventually(60, "decisions", lambda: len(set(decided.bodies())) == 3 and decided.bodies())), "decided")
    kit.note(f"failed: {dict(failures)}")


def tls(kit):
    send_normal(kit, tls=True)
    topic, inbox = kit.topic(), Inbox()
    kit.push(kit.group(), topic, inbox, tls=True)
    producers = [kit.producer(topic, tls=encrypted) for encrypted in (True, False)]
    want = [f"{i}" for i in range(100)]
    for body in want:
        producers[int(body) % 2].send(message(topic, body))
    inbox.exactly(want, 20)


TOGETHER, ALONE, HOOK = range(3)
run([
    ("polls", TOGETHER, polls),
    ("dead_letter.push", TOGETHER, push_dead_letter),
    ("push.fifo", TOGETHER, push_fifo),
    ("simple", TOGETHER, simple_consumer),
    ("send.transaction", TOGETHER, send_transaction),
    ("send.delay_recall", TOGETHER, send_delay),
    ("send.normal", TOGETHER, send_normal),
    ("send.async", TOGETHER, send_async),
    ("send.fifo", TOGETHER, send_fifo),
    ("send.priority", TOGETHER, send_priority),
    ("send.lite", TOGETHER, send_lite),
    ("lite_simple", TOGETHER, lite_simple),
    ("push.concurrent", TOGETHER, push_concurrent),
    ("filters", TOGETHER, filters),
    ("errors.send", TOGETHER, errors_send),
    ("errors.receive", TOGETHER, errors_receive),
    ("tls", TOGETHER, tls),
    ("burst", ALONE, burst),
    ("restart", HOOK, restart),
], sys.argv[1:])
