package interop;

import static interop.Kit.check;
import static interop.Kit.equal;
import static interop.Kit.message;
import static interop.Kit.sameSet;

import java.util.ArrayList;
import java.util.List;
import java.util.stream.IntStream;
import org.apache.rocketmq.client.apis.consumer.FilterExpression;
import org.apache.rocketmq.client.apis.consumer.FilterExpressionType;
import org.apache.rocketmq.client.apis.consumer.SimpleConsumer;
import org.apache.rocketmq.client.apis.message.MessageView;
import org.apache.rocketmq.client.apis.producer.Producer;

/** The push consumer. */
final class PushCases {
    static void add(List<Main.Case> cases) {
        cases.add(new Main.Case("push.dead_letter", PushCases::deadLetter));
        cases.add(new Main.Case("push.fifo_dead_letter", PushCases::fifoDeadLetter));
        cases.add(new Main.Case("push.retried", PushCases::retried));
        cases.add(new Main.Case("push.fifo_retried", PushCases::fifoRetried));
        cases.add(new Main.Case("push.filters_plain", PushCases::filters));
        cases.add(new Main.Case("push.wakes", PushCases::wakes));
        cases.add(new Main.Case("push.slow", PushCases::slow));
    }

    private static List<String> send(Kit kit, String topic, int count) throws Exception {
        Producer producer = kit.producer(topic);
        List<String> bodies = IntStream.range(0, count).mapToObj(i -> "m" + i).toList();
        for (String body : bodies) {
            producer.send(message(topic, body).setTag("t").setKeys("k-" + body).addProperty("p", body).build());
        }
        return bodies;
    }

    /** Failed messages come again, later each time, with their attempt counted; the others are not held up. */
    private static void retried(Kit kit) throws Exception {
        String topic = kit.topic("NORMAL");
        Inbox inbox = new Inbox();
        kit.push(kit.group(), topic, inbox.listener(a -> {
            if (a.body().equals("m2") && a.attempt() == 1) {
                throw new IllegalStateException("a listener that throws has failed too");
            }
            return a.body().equals("m1") && a.attempt() < 3;
        }));
        List<String> bodies = send(kit, topic, 10);
        Kit.eventually(60, "all, and m1 three times", () -> inbox.attempts("m1").size() >= 3 && inbox.attempts("m2").size() >= 2 && inbox.size() >= 13);
        for (String body : bodies) {
            equal(body.equals("m1") ? List.of(1, 2, 3) : body.equals("m2") ? List.of(1, 2) : List.of(1), inbox.attempts(body), "attempts of " + body);
        }
        List<Long> times = inbox.all().stream().filter(a -> a.body().equals("m1")).map(Inbox.Arrival::atMs).toList();
        kit.note("again after %d ms, then %d ms", times.get(1) - times.get(0), times.get(2) - times.get(1));
        check(times.get(1) - times.get(0) >= 900 && times.get(2) - times.get(1) > times.get(1) - times.get(0), "retries wait longer each time");
    }

    /** A failure is repeated at its place; other groups go on. */
    private static void fifoRetried(Kit kit) throws Exception {
        String topic = kit.topic("FIFO");
        Producer producer = kit.producer(topic);
        Inbox inbox = new Inbox();
        kit.push(kit.group("-o true"), topic, inbox.listener(a -> a.body().equals("a2") && a.attempt() < 3));
        for (int i = 0; i < 5; i++) {
            for (String group : List.of("a", "b", "c")) {
                producer.send(message(topic, group + i).setMessageGroup(group).build());
            }
        }
        Kit.eventually(60, "all of them", () -> inbox.size() >= 17);
        equal(List.of("a0", "a1", "a2", "a2", "a2", "a3", "a4"), inbox.bodies().stream().filter(b -> b.startsWith("a")).toList(), "group a");
        equal(List.of("b0", "b1", "b2", "b3", "b4"), inbox.bodies().stream().filter(b -> b.startsWith("b")).toList(), "group b");
        equal(List.of("c0", "c1", "c2", "c3", "c4"), inbox.bodies().stream().filter(b -> b.startsWith("c")).toList(), "group c");
        equal(List.of(1, 2, 3), inbox.attempts("a2"), "attempts");
    }

    private static void dead(Kit kit, String group, List<String> bodies) throws Exception {
        String dead = "%DLQ%" + group;
        List<SimpleConsumer> consumer = new ArrayList<>();
        Kit.eventually(40, "a topic " + dead, () -> {
            try {
                return consumer.add(kit.simple(kit.group(), dead));
            } catch (Exception | Error e) {
                Thread.sleep(500);
                return false;
            }
        });
        List<MessageView> got = Kit.take(consumer.get(0), bodies.size(), 30);
        sameSet(bodies, Kit.bodies(got), "dead letters");
        for (MessageView view : got) {
            equal("t", view.getTag().orElse(""), "tag");
            equal(List.of("k-" + Kit.body(view)), List.copyOf(view.getKeys()), "keys");
            equal(Kit.body(view), view.getProperties().get("p"), "property");
        }
        Kit.nothing(consumer.get(0));
    }

    /** One retry is allowed: the third time it is a dead letter. */
    private static void deadLetter(Kit kit) throws Exception {
        String topic = kit.topic("NORMAL");
        String group = kit.group("-r 1");
        Inbox inbox = new Inbox();
        kit.push(group, topic, inbox.listener(a -> a.body().equals("m0") || a.body().equals("m3")));
        send(kit, topic, 5);
        Kit.eventually(40, "two attempts", () -> inbox.attempts("m0").size() >= 2 && inbox.attempts("m3").size() >= 2);
        dead(kit, group, List.of("m0", "m3"));
        equal(List.of(1, 2), inbox.attempts("m0"), "attempts");
        equal(List.of(1, 2), inbox.attempts("m3"), "attempts");
        equal(7, inbox.size(), "deliveries: " + inbox.bodies());
    }

    private static void fifoDeadLetter(Kit kit) throws Exception {
        String topic = kit.topic("FIFO", 1);
        String group = kit.group("-o true -r 1");
        Producer producer = kit.producer(topic);
        Inbox inbox = new Inbox();
        kit.push(group, topic, inbox.listener(a -> a.body().equals("m1")));
        for (String body : List.of("m0", "m1", "m2")) {
            producer.send(message(topic, body).setMessageGroup("g").setTag("t").setKeys("k-" + body).addProperty("p", body).build());
        }
        Kit.eventually(40, "the last", () -> inbox.bodies().contains("m2"));
        dead(kit, group, List.of("m1"));
        equal(List.of("m0", "m1", "m1", "m2"), inbox.bodies(), "order");
        equal(List.of(1, 2), inbox.attempts("m1"), "attempts");
    }

    private static void filters(Kit kit) throws Exception {
        String topic = kit.topic("NORMAL");
        Producer producer = kit.closed(Kit.SDK.newProducerBuilder().setClientConfiguration(Kit.config(false)).setTopics(topic).build());
        Inbox tags = new Inbox();
        Inbox sql = new Inbox();
        kit.push(Kit.config(false), kit.group(), topic, new FilterExpression("a||b"), tags.listener());
        kit.push(Kit.config(false), kit.group(), topic, new FilterExpression("n > 5 OR s STARTSWITH 'x'", FilterExpressionType.SQL92), sql.listener());
        for (int i = 0; i < 9; i++) {
            String tag = List.of("a", "b", "c").get(i % 3);
            producer.send(message(topic, tag + i).setTag(tag).addProperty("n", "" + i).addProperty("s", i == 2 ? "xy" : "yx").build());
        }
        tags.exactly(List.of("a0", "b1", "a3", "b4", "a6", "b7"), 30);
        sql.exactly(List.of("c2", "a6", "b7", "c8"), 30);
    }

    private static void wakes(Kit kit) throws Exception {
        String topic = kit.topic("NORMAL");
        Producer producer = kit.producer(topic);
        Inbox inbox = new Inbox();
        kit.push(kit.group(), topic, inbox.listener());
        producer.send(message(topic, "first").build());
        inbox.exactly(List.of("first"), 30);
        List<Long> times = new ArrayList<>();
        for (int round = 0; round < 4; round++) {
            // So that its next receive waits at the server.
            Thread.sleep(700);
            int before = inbox.size();
            long start = System.nanoTime();
            producer.send(message(topic, "r" + round).build());
            Kit.eventually(15, "woken", () -> inbox.size() > before);
            times.add((System.nanoTime() - start) / 1_000_000);
        }
        kit.note("woken after %s ms", times);
        check(times.stream().allMatch(t -> t < 3000) && times.stream().anyMatch(t -> t < 1000), "woken too late: " + times);
    }

    /** A listener takes longer than messages are invisible (60 s): nothing comes twice meanwhile. */
    private static void slow(Kit kit) throws Exception {
        String topic = kit.topic("NORMAL");
        Inbox inbox = new Inbox();
        kit.push(kit.group(), topic, inbox.listener(a -> {
            try {
                Thread.sleep(a.body().equals("m0") ? 70_000 : 0);
            } catch (InterruptedException e) {
                Thread.currentThread().interrupt();
            }
            return false;
        }));
        List<String> bodies = send(kit, topic, 3);
        inbox.exactly(bodies, 30);
        long end = System.nanoTime() + 72_000_000_000L;
        Kit.eventually(80, "its listener is done", () -> {
            equal(3, inbox.size(), "deliveries");
            return System.nanoTime() > end;
        });
    }
}
