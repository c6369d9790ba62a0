package interop;

import static interop.Kit.check;
import static interop.Kit.equal;
import static interop.Kit.message;
import static interop.Kit.sameSet;

import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import java.util.stream.IntStream;
import org.apache.rocketmq.client.apis.consumer.FilterExpression;
import org.apache.rocketmq.client.apis.consumer.SimpleConsumer;
import org.apache.rocketmq.client.apis.message.Message;
import org.apache.rocketmq.client.apis.message.MessageView;
import org.apache.rocketmq.client.apis.producer.Producer;
import org.apache.rocketmq.client.apis.producer.Transaction;
import org.apache.rocketmq.client.apis.producer.TransactionResolution;

/** Each type of message arrives with all that was sent, when it should. */
final class SendCases {
    static void add(List<Main.Case> cases) {
        cases.add(new Main.Case("send.kept_tls", kit -> kept(kit, true)));
        cases.add(new Main.Case("send.kept_plain", kit -> kept(kit, false)));
        cases.add(new Main.Case("send.delay", SendCases::delay));
        cases.add(new Main.Case("send.transaction", SendCases::transaction));
        cases.add(new Main.Case("send.fifo_order", SendCases::fifoOrder));
    }

    static byte[] noise(int length) {
        byte[] bytes = new byte[length];
        new Random(length).nextBytes(bytes);
        return bytes;
    }

    private static void kept(Kit kit, boolean tls) throws Exception {
        String topic = kit.topic("NORMAL");
        Producer producer = kit.closed(Kit.SDK.newProducerBuilder().setClientConfiguration(Kit.config(tls)).setTopics(topic).build());
        long before = System.currentTimeMillis();
        List<byte[]> bodies = List.of("x".getBytes(), "žluťoučký 🐎\n\0".getBytes(StandardCharsets.UTF_8), noise(256), noise(5000), noise(1 << 20));
        Map<String, Message> sent = new HashMap<>();
        for (byte[] body : bodies) {
            Message message = Kit.SDK.newMessageBuilder().setTopic(topic).setBody(body).setTag("tag-" + body.length)
                .setKeys("key-a", "ключ").addProperty("city", "Köln 🏙").addProperty("a b", "1=2;3").build();
            sent.put(producer.send(message).getMessageId().toString(), message);
        }
        // Without anything but a body.
        Message bare = message(topic, "bare").build();
        sent.put(producer.send(bare).getMessageId().toString(), bare);
        equal(6, sent.size(), "ids");

        SimpleConsumer consumer = kit.simple(Kit.config(tls), kit.group(), topic, FilterExpression.SUB_ALL, 5);
        List<MessageView> got = Kit.take(consumer, sent.size(), 30);
        sameSet(new ArrayList<>(sent.keySet()), got.stream().map(v -> v.getMessageId().toString()).toList(), "ids");
        for (MessageView view : got) {
            Message message = sent.get(view.getMessageId().toString());
            byte[] body = new byte[message.getBody().remaining()];
            message.getBody().duplicate().get(body);
            check(Arrays.equals(body, Kit.bytes(view)), "body of " + body.length + " bytes");
            equal(topic, view.getTopic(), "topic");
            equal(message.getTag(), view.getTag(), "tag");
            equal(new HashSet<>(message.getKeys()), new HashSet<>(view.getKeys()), "keys");
            equal(message.getProperties(), view.getProperties(), "properties");
            equal(1, view.getDeliveryAttempt(), "attempt");
            check(view.getMessageGroup().isEmpty() && view.getDeliveryTimestamp().isEmpty(), "neither group nor due time");
            check(!view.getBornHost().isEmpty() && view.getBornTimestamp() >= before && view.getBornTimestamp() <= System.currentTimeMillis(), "born");
        }
    }

    private static void delay(Kit kit) throws Exception {
        String topic = kit.topic("DELAY");
        Producer producer = kit.producer(topic);
        Inbox inbox = new Inbox();
        kit.push(kit.group(), topic, inbox.listener());
        long now = System.currentTimeMillis();
        Map<String, Long> due = Map.of("past", now - 5000, "2s", now + 2000, "3.5s", now + 3500, "6s", now + 6000);
        for (String body : due.keySet()) {
            producer.send(message(topic, body).setDeliveryTimestamp(due.get(body)).setTag("t").addProperty("p", body).build());
        }
        inbox.exactly(new ArrayList<>(due.keySet()), 30);
        for (Inbox.Arrival arrival : inbox.all()) {
            long late = arrival.atMs() - due.get(arrival.body());
            kit.note("%s: %d ms late", arrival.body(), late);
            check(late >= 0 && (arrival.body().equals("past") || late < 2500), arrival.body() + " came " + late + " ms after it was due");
            equal(due.get(arrival.body()), arrival.view().getDeliveryTimestamp().orElse(0L), "due time of " + arrival.body());
            equal(arrival.body(), arrival.view().getProperties().get("p"), "property");
        }
    }

    private static void transaction(Kit kit) throws Exception {
        String topic = kit.topic("TRANSACTION");
        Map<String, Integer> asked = new ConcurrentHashMap<>();
        Map<String, String> ids = new ConcurrentHashMap<>();
        List<String> wrong = new ArrayList<>();
        Producer producer = kit.producer(view -> {
            String body = Kit.body(view);
            boolean same = view.getMessageId().toString().equals(ids.get(body)) && view.getTopic().equals(topic)
                && view.getTag().equals(java.util.Optional.of("t")) && body.equals(view.getProperties().get("p"));
            if (!same) {
                wrong.add(view.toString());
            }
            int times = asked.merge(body, 1, Integer::sum);
            if (body.equals("check-later")) {
                return times < 3 ? TransactionResolution.UNKNOWN : TransactionResolution.COMMIT;
            }
            return body.equals("check-rollback") ? TransactionResolution.ROLLBACK : TransactionResolution.COMMIT;
        }, topic);
        for (String body : List.of("commit", "rollback", "check-commit", "check-rollback", "check-later")) {
            Transaction transaction = producer.beginTransaction();
            Message message = message(topic, body).setTag("t").setKeys("k").addProperty("p", body).build();
            // The id is known only after the send, and the question may come sooner than the line after it: it waits a second at least.
            ids.put(body, producer.send(message, transaction).getMessageId().toString());
            switch (body) {
                case "commit" -> transaction.commit();
                case "rollback" -> transaction.rollback();
                default -> { }
            }
        }
        SimpleConsumer consumer = kit.simple(kit.group(), topic);
        List<MessageView> got = Kit.take(consumer, 3, 60);
        Kit.eventually(30, "asked about the one to roll back", () -> asked.containsKey("check-rollback"));
        Kit.nothing(consumer);
        sameSet(List.of("commit", "check-commit", "check-later"), Kit.bodies(got), "committed");
        for (MessageView view : got) {
            equal(ids.get(Kit.body(view)), view.getMessageId().toString(), "id");
            equal("t", view.getTag().orElse(""), "tag");
            equal(Set.of("k"), new HashSet<>(view.getKeys()), "keys");
            equal(Kit.body(view), view.getProperties().get("p"), "property");
        }
        equal(List.of(), wrong, "what the checker saw");
        equal(Map.of("check-commit", 1, "check-rollback", 1, "check-later", 3), asked, "asked how often");
    }

    private static void fifoOrder(Kit kit) throws Exception {
        String topic = kit.topic("FIFO");
        Producer producer = kit.producer(topic);
        List<String> bodies = IntStream.range(0, 100).mapToObj(i -> "g" + i % 5 + ":" + i).toList();
        for (String body : bodies) {
            producer.send(message(topic, body).setMessageGroup(body.substring(0, 2)).build());
        }
        Inbox inbox = new Inbox();
        kit.push(kit.group("-o true"), topic, inbox.listener());
        SimpleConsumer simple = kit.simple(kit.group("-o true"), topic);
        List<MessageView> taken = Kit.take(simple, 100, 60);
        inbox.exactly(bodies, 60);
        sameSet(bodies, Kit.bodies(taken), "simple consumer");
        for (int g = 0; g < 5; g++) {
            String group = "g" + g;
            List<String> want = bodies.stream().filter(b -> b.startsWith(group)).toList();
            equal(want, inbox.bodies().stream().filter(b -> b.startsWith(group)).toList(), "order of a push consumer");
            equal(want, Kit.bodies(taken).stream().filter(b -> b.startsWith(group)).toList(), "order of a simple consumer");
        }
        check(taken.stream().allMatch(v -> Kit.body(v).startsWith(v.getMessageGroup().orElse("none"))), "message groups");
    }
}
