package interop;

import static interop.Kit.check;
import static interop.Kit.equal;
import static interop.Kit.message;
import static interop.Kit.refused;
import static interop.Kit.sameSet;

import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.stream.Collectors;
import org.apache.rocketmq.client.apis.consumer.LitePushConsumer;
import org.apache.rocketmq.client.apis.consumer.SimpleConsumer;
import org.apache.rocketmq.client.apis.message.MessageView;
import org.apache.rocketmq.client.apis.producer.Producer;
import org.apache.rocketmq.client.apis.producer.SendReceipt;

/** What clients have from 5.2 on: recall, priorities, lite topics. */
final class NewCases {
    static void add(List<Main.Case> cases) {
        cases.add(new Main.Case("recall", NewCases::recall));
        cases.add(new Main.Case("priority", NewCases::priority));
        cases.add(new Main.Case("lite.topics", NewCases::liteTopics));
        cases.add(new Main.Case("lite.retried", NewCases::liteRetried));
        cases.add(new Main.Case("lite.error", NewCases::liteError));
    }

    private static void recall(Kit kit) throws Exception {
        String topic = kit.topic("DELAY");
        String normal = kit.topic("NORMAL");
        Producer producer = kit.producer(topic, normal);
        Inbox inbox = new Inbox();
        kit.push(kit.group(), topic, inbox.listener());
        long due = System.currentTimeMillis() + 5000;
        SendReceipt recalled = null;
        for (String body : List.of("before", "recalled", "after")) {
            SendReceipt receipt = producer.send(message(topic, body).setDeliveryTimestamp(due).build());
            recalled = body.equals("recalled") ? receipt : recalled;
        }
        SendReceipt taken = recalled;
        equal(taken.getMessageId().toString(), producer.recallMessage(topic, taken.getRecallHandle()).getMessageId().toString(), "id");
        String last = producer.send(message(topic, "last").setDeliveryTimestamp(due + 1500).build()).getRecallHandle();
        inbox.exactly(List.of("before", "after", "last"), 40);
        check(inbox.all().stream().allMatch(a -> a.atMs() >= due), "early");
        for (String bad : List.of("nonsense", last)) {
            try {
                producer.recallMessage(topic, bad);
                throw new AssertionError("recalled with " + bad);
            } catch (org.apache.rocketmq.client.apis.ClientException e) {
                kit.note("%s", e.getMessage().replaceAll(".*response-code=(\\d+).*?\\] *", "$1 "));
            }
        }
        refused(40014, () -> producer.recallMessage(normal, last));
    }

    private static void priority(Kit kit) throws Exception {
        String topic = kit.topic("PRIORITY");
        Producer producer = kit.producer(topic);
        List<String> bodies = new ArrayList<>();
        for (int priority : new int[] {1, 0, 3, 2, 3, 1}) {
            String body = "p" + priority + "-" + bodies.size();
            bodies.add(body);
            producer.send(message(topic, body).setPriority(priority).setTag("t").build());
        }
        List<MessageView> got = Kit.take(kit.simple(kit.group(), topic), bodies.size(), 30);
        equal(List.of("p3-2", "p3-4", "p2-3", "p1-0", "p1-5", "p0-1"), Kit.bodies(got), "the most urgent first");
        check(got.stream().allMatch(v -> Kit.body(v).startsWith("p" + v.getPriority().orElse(-1) + "-")), "priorities");
    }

    private static LitePushConsumer lite(Kit kit, String group, String topic, Inbox inbox) throws Exception {
        return kit.closed(Kit.SDK.newLitePushConsumerBuilder().setClientConfiguration(Kit.CONFIG).setConsumerGroup(group).bindTopic(topic)
            .setMessageListener(inbox.listener(a -> a.body().startsWith("bad") && a.attempt() < 3)).build());
    }

    private static void liteTopics(Kit kit) throws Exception {
        String topic = kit.topic("LITE");
        String group = kit.group("-o true --attributes +lite.bind.topic=" + topic);
        Producer producer = kit.producer(topic);
        Inbox inbox = new Inbox();
        LitePushConsumer consumer = lite(kit, group, topic, inbox);
        Inbox others = new Inbox();
        LitePushConsumer other = lite(kit, group, topic, others);
        consumer.subscribeLite("a");
        consumer.subscribeLite("b");
        other.subscribeLite("c");
        List<String> want = new ArrayList<>();
        for (int i = 0; i < 5; i++) {
            for (String name : List.of("a", "b", "c", "d")) {
                producer.send(message(topic, name + i).setLiteTopic(name).setTag("t").setKeys("k").addProperty("p", name).build());
                want.add(name + i);
            }
        }
        inbox.exactly(want.stream().filter(b -> b.startsWith("a") || b.startsWith("b")).toList(), 30);
        others.exactly(want.stream().filter(b -> b.startsWith("c")).toList(), 30);
        for (Inbox.Arrival arrival : inbox.all()) {
            equal(arrival.body().substring(0, 1), arrival.view().getLiteTopic().orElse(""), "lite topic");
            equal(arrival.body().substring(0, 1), arrival.view().getProperties().get("p"), "property");
            equal("t", arrival.view().getTag().orElse(""), "tag");
        }
        Map<String, List<String>> order = inbox.bodies().stream().collect(Collectors.groupingBy(b -> b.substring(0, 1)));
        equal(List.of("a0", "a1", "a2", "a3", "a4"), order.get("a"), "order within a lite topic");
        // One less and one more.
        consumer.unsubscribeLite("a");
        consumer.subscribeLite("e");
        for (String name : List.of("a", "b", "e")) {
            producer.send(message(topic, name + "-new").setLiteTopic(name).build());
        }
        Kit.eventually(30, "b and e", () -> inbox.bodies().containsAll(List.of("b-new", "e-new")));
        consumer.subscribeLite("a");
        Kit.eventually(30, "a, now that it is subscribed again", () -> inbox.bodies().contains("a-new"));
        check(inbox.bodies().indexOf("a-new") > inbox.bodies().indexOf("b-new"), "nothing came while it was not subscribed");
        equal(13, inbox.size(), "deliveries");
    }

    private static void liteRetried(Kit kit) throws Exception {
        String topic = kit.topic("LITE");
        Producer producer = kit.producer(topic);
        Inbox inbox = new Inbox();
        LitePushConsumer consumer = lite(kit, kit.group("--attributes +lite.bind.topic=" + topic), topic, inbox);
        consumer.subscribeLite("l");
        for (String body : List.of("first", "bad", "last")) {
            producer.send(message(topic, body).setLiteTopic("l").build());
        }
        Kit.eventually(60, "all", () -> inbox.size() >= 5);
        equal(List.of(1, 2, 3), inbox.attempts("bad"), "attempts");
        sameSet(List.of("first", "bad", "bad", "bad", "last"), inbox.bodies(), "deliveries");
    }

    private static void liteError(Kit kit) throws Exception {
        String topic = kit.topic("LITE");
        String plain = kit.topic("NORMAL");
        String group = kit.group("--attributes +lite.bind.topic=" + topic);
        String regular = kit.group("");
        // Lite consumers and others do not share groups; and a lite group has one topic.
        for (var wrong : List.<java.util.concurrent.Callable<?>>of(
            () -> lite(kit, regular, topic, new Inbox()),
            () -> kit.simple(group, topic),
            () -> lite(kit, group, plain, new Inbox()))) {
            try {
                wrong.call();
            } catch (IllegalStateException e) {
                // The client's start fails: the server closes its stream.
                continue;
            }
            throw new AssertionError("a client was not refused");
        }
        Producer producer = kit.producer(topic);
        refused(40020, () -> producer.send(message(topic, "x").setLiteTopic("a b").build()));
        refused(40020, () -> producer.send(message(topic, "x").setLiteTopic("l".repeat(65)).build()));
    }
}
