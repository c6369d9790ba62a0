package interop;

import static interop.Kit.check;
import static interop.Kit.equal;
import static interop.Kit.message;
import static interop.Kit.sameSet;

import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.TimeUnit;
import org.apache.rocketmq.client.apis.consumer.FilterExpression;
import org.apache.rocketmq.client.apis.consumer.FilterExpressionType;
import org.apache.rocketmq.client.apis.consumer.SimpleConsumer;
import org.apache.rocketmq.client.apis.message.MessageView;
import org.apache.rocketmq.client.apis.producer.Producer;

/** The simple consumer. */
final class ReceiveCases {
    static void add(List<Main.Case> cases) {
        cases.add(new Main.Case("simple.not_acked", ReceiveCases::notAcked));
        cases.add(new Main.Case("simple.invisible", ReceiveCases::invisible));
        cases.add(new Main.Case("simple.fifo_waits", ReceiveCases::fifoWaits));
        cases.add(new Main.Case("simple.filters", ReceiveCases::filters));
        cases.add(new Main.Case("simple.wakes", ReceiveCases::wakes));
        cases.add(new Main.Case("simple.many_groups", ReceiveCases::manyGroups));
    }

    private static MessageView one(SimpleConsumer consumer, Duration invisible, int seconds) throws Exception {
        List<MessageView> got = new ArrayList<>();
        Kit.eventually(seconds, "a message", () -> got.addAll(consumer.receive(1, invisible)));
        equal(1, got.size(), "messages");
        return got.get(0);
    }

    /** What is not acknowledged comes again after its time; the old receipt is worth nothing then. */
    private static void notAcked(Kit kit) throws Exception {
        String topic = kit.topic("NORMAL");
        kit.producer(topic).send(message(topic, "x").build());
        SimpleConsumer consumer = kit.simple(kit.group(), topic);
        MessageView first = one(consumer, Duration.ofSeconds(10), 20);
        long start = System.nanoTime();
        MessageView second = one(consumer, Duration.ofSeconds(30), 25);
        double waited = (System.nanoTime() - start) / 1e9;
        kit.note("again after %.1f s", waited);
        check(waited > 9 && waited < 13, "came again after " + waited + " s, not 10");
        equal(1, first.getDeliveryAttempt(), "first attempt");
        equal(2, second.getDeliveryAttempt(), "second attempt");
        equal(first.getMessageId(), second.getMessageId(), "id");
        Kit.refused(40013, () -> {
            consumer.ack(first);
            return null;
        });
        Kit.refused(40013, () -> {
            consumer.changeInvisibleDuration(first, Duration.ofSeconds(20));
            return null;
        });
        consumer.ack(second);
        Kit.nothing(consumer);
    }

    /** Longer and shorter; attempts are counted; acknowledged with the receipt of the change. */
    private static void invisible(Kit kit) throws Exception {
        String topic = kit.topic("NORMAL");
        kit.producer(topic).send(message(topic, "x").build());
        SimpleConsumer consumer = kit.simple(kit.group(), topic);
        for (int attempt = 1; attempt <= 4; attempt++) {
            MessageView view = one(consumer, Duration.ofSeconds(60), 20);
            equal(attempt, view.getDeliveryAttempt(), "attempt");
            consumer.changeInvisibleDuration(view, Duration.ofSeconds(1));
        }
        MessageView last = one(consumer, Duration.ofSeconds(10), 20);
        // Twenty seconds instead of ten: acknowledged after the ten.
        consumer.changeInvisibleDuration(last, Duration.ofSeconds(20));
        long start = System.nanoTime();
        while (System.nanoTime() - start < 11_000_000_000L) {
            equal(List.of(), consumer.receive(1, Duration.ofSeconds(10)), "still invisible");
        }
        consumer.ack(last);
        Kit.nothing(consumer);
        Kit.nothing(consumer);
    }

    /** The rest of a queue waits for what is not acknowledged. */
    private static void fifoWaits(Kit kit) throws Exception {
        String topic = kit.topic("FIFO", 1);
        Producer producer = kit.producer(topic);
        for (String body : List.of("1", "2", "3")) {
            producer.send(message(topic, body).setMessageGroup("g").build());
        }
        SimpleConsumer consumer = kit.simple(kit.group("-o true"), topic);
        MessageView first = one(consumer, Duration.ofSeconds(60), 20);
        equal("1", Kit.body(first), "first");
        Kit.nothing(consumer);
        consumer.changeInvisibleDuration(first, Duration.ofSeconds(1));
        MessageView again = one(consumer, Duration.ofSeconds(60), 20);
        equal("1", Kit.body(again), "again the first");
        equal(2, again.getDeliveryAttempt(), "attempt");
        consumer.ack(again);
        equal(List.of("2", "3"), Kit.bodies(Kit.take(consumer, 2, 20)), "the others");
        Kit.nothing(consumer);
    }

    private static void filters(Kit kit) throws Exception {
        String topic = kit.topic("NORMAL");
        Producer producer = kit.producer(topic);
        for (int i = 0; i < 12; i++) {
            String tag = List.of("a", "b", "c", "ab").get(i % 4);
            producer.send(message(topic, tag + i).setTag(tag).addProperty("price", "" + i).addProperty("region", i % 2 == 0 ? "eu" : "us").build());
        }
        producer.send(message(topic, "untagged").build());
        SimpleConsumer tags = kit.simple(Kit.CONFIG, kit.group(), topic, new FilterExpression("a || b"), 5);
        SimpleConsumer sql = kit.simple(Kit.CONFIG, kit.group(), topic,
            new FilterExpression("price BETWEEN 3 AND 10 AND region = 'eu' AND TAGS IN ('a', 'c')", FilterExpressionType.SQL92), 5);
        sameSet(List.of("a0", "b1", "a4", "b5", "a8", "b9"), Kit.bodies(Kit.take(tags, 6, 30)), "tags");
        sameSet(List.of("a4", "c6", "a8", "c10"), Kit.bodies(Kit.take(sql, 4, 30)), "sql");
        Kit.nothing(tags);
        Kit.nothing(sql);
        // The subscription of a running client changes.
        tags.subscribe(topic, new FilterExpression("c"));
        producer.send(message(topic, "a-new").setTag("a").build());
        producer.send(message(topic, "c-new").setTag("c").build());
        equal(List.of("c-new"), Kit.bodies(Kit.take(tags, 1, 30)), "changed subscription");
    }

    /** A message that is sent while a receive waits at the server comes at once. */
    private static void wakes(Kit kit) throws Exception {
        String topic = kit.topic("NORMAL");
        Producer producer = kit.producer(topic);
        SimpleConsumer consumer = kit.simple(Kit.CONFIG, kit.group(), topic, FilterExpression.SUB_ALL, 20);
        producer.send(message(topic, "first").build());
        Kit.take(consumer, 1, 30);
        List<Long> times = new ArrayList<>();
        for (int round = 0; round < 4; round++) {
            CompletableFuture<List<MessageView>> receiving = consumer.receiveAsync(8, Kit.INVISIBLE);
            // Nothing shows that it waits at the server: it must still wait after this.
            Thread.sleep(700);
            check(!receiving.isDone(), "the receive did not wait");
            long start = System.nanoTime();
            producer.send(message(topic, "r" + round).build());
            List<MessageView> got = receiving.get(15, TimeUnit.SECONDS);
            times.add((System.nanoTime() - start) / 1_000_000);
            equal(List.of("r" + round), Kit.bodies(got), "woken with");
            consumer.ack(got.get(0));
        }
        kit.note("woken after %s ms", times);
        check(times.stream().allMatch(t -> t < 3000) && times.stream().anyMatch(t -> t < 1000), "woken too late: " + times);
    }

    /** Each group gets everything, once. */
    private static void manyGroups(Kit kit) throws Exception {
        String topic = kit.topic("NORMAL");
        Producer producer = kit.producer(topic);
        List<String> bodies = new ArrayList<>();
        for (int i = 0; i < 40; i++) {
            bodies.add("m" + i);
            producer.send(message(topic, "m" + i).build());
        }
        for (int g = 0; g < 2; g++) {
            String group = kit.group();
            // Two members share them.
            SimpleConsumer one = kit.simple(group, topic);
            SimpleConsumer other = kit.simple(group, topic);
            List<String> got = new ArrayList<>();
            Kit.eventually(40, "all of them", () -> {
                for (SimpleConsumer member : List.of(one, other)) {
                    for (MessageView view : got.size() < 40 ? member.receive(5, Kit.INVISIBLE) : List.<MessageView>of()) {
                        got.add(Kit.body(view));
                        member.ack(view);
                    }
                }
                return got.size() >= 40;
            });
            sameSet(bodies, got, "group " + g);
        }
    }
}
