package interop;

import static interop.Kit.check;
import static interop.Kit.equal;
import static interop.Kit.text;

import interop.Main.Case;
import interop.Main.Phase;
import java.lang.reflect.Method;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Set;
import java.util.TreeSet;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.atomic.AtomicInteger;
import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.consumer.MessageSelector;
import org.apache.rocketmq.client.consumer.listener.ConsumeConcurrentlyStatus;
import org.apache.rocketmq.client.consumer.listener.MessageListenerConcurrently;
import org.apache.rocketmq.client.exception.MQBrokerException;
import org.apache.rocketmq.client.exception.MQClientException;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.client.producer.LocalTransactionState;
import org.apache.rocketmq.client.producer.SendResult;
import org.apache.rocketmq.client.producer.SendStatus;
import org.apache.rocketmq.client.producer.TransactionListener;
import org.apache.rocketmq.client.producer.TransactionMQProducer;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageAccessor;
import org.apache.rocketmq.common.message.MessageExt;

/**
 * Messages that wait: for the end of their transaction, or for a time of their own; and those that nobody wants. The server
 * runs with short times for questions about transactions.
 */
final class WaitingCases {
    private static final String DELIVER_MS = "TIMER_DELIVER_MS";
    private static final String DELAY_MS = "TIMER_DELAY_MS";
    private static final String DELAY_SEC = "TIMER_DELAY_SEC";
    /** Apache rounds due times down to seconds, Kerolox does not. */
    private static final long EARLY_MS = Boolean.getBoolean("durable.offsets") ? 0 : 1000;

    private WaitingCases() {}

    static void add(List<Case> cases) {
        cases.add(new Case("transaction.ends", Phase.TOGETHER, WaitingCases::transactions));
        cases.add(new Case("timer.deliver", Phase.TOGETHER, WaitingCases::timers));
        cases.add(new Case("timer.recall", Phase.TOGETHER, WaitingCases::recall));
        cases.add(new Case("sql92.filter", Phase.TOGETHER, WaitingCases::sql92));
        cases.add(new Case("restart.transactions_and_timers", Phase.HOOK, WaitingCases::restart));
    }

    /** What is decided for a message follows from its body: `commit`, `rollback`, or `asked-…` on the second question. */
    private static final class Decider implements TransactionListener {
        final Map<String, AtomicInteger> asked = new ConcurrentHashMap<>();
        final Map<String, String> wrong = new ConcurrentHashMap<>();

        @Override
        public LocalTransactionState executeLocalTransaction(Message message, Object argument) {
            String body = new String(message.getBody());
            if (!argument.equals("argument of " + body)) {
                wrong.put(body, "argument " + argument);
            }
            return body.startsWith("commit") ? LocalTransactionState.COMMIT_MESSAGE
                : body.startsWith("rollback") ? LocalTransactionState.ROLLBACK_MESSAGE : LocalTransactionState.UNKNOW;
        }

        @Override
        public LocalTransactionState checkLocalTransaction(MessageExt message) {
            String body = text(message);
            if (!Objects.equals(message.getTransactionId(), message.getProperty("UNIQ_KEY"))) {
                wrong.put(body, "transaction id " + message.getTransactionId());
            }
            if (asked.computeIfAbsent(body, b -> new AtomicInteger()).incrementAndGet() < 2) {
                return LocalTransactionState.UNKNOW;
            }
            return body.startsWith("asked-commit") ? LocalTransactionState.COMMIT_MESSAGE : LocalTransactionState.ROLLBACK_MESSAGE;
        }
    }

    private static void sendHalf(TransactionMQProducer producer, String topic, String body) throws Exception {
        Message message = new Message(topic, "TagT", "key-" + body, text(body));
        message.putUserProperty("for", body);
        SendResult result = producer.sendMessageInTransaction(message, "argument of " + body);
        equal(SendStatus.SEND_OK, result.getSendStatus(), "status of " + body);
    }

    private static void transactions(Kit kit) throws Exception {
        Decider decider = new Decider();
        TransactionMQProducer producer = kit.transactionProducer(decider);
        producer.start();
        String topic = kit.createdTopic(producer, 4);
        Inbox inbox = new Inbox().attach(kit.pushConsumer(kit.group()), topic, "TagT");
        Set<String> wanted = new TreeSet<>();
        for (int i = 0; i < 10; i++) {
            for (String kind : List.of("commit-", "rollback-", "asked-commit-", "asked-rollback-")) {
                sendHalf(producer, topic, kind + i);
                if (kind.contains("commit")) {
                    wanted.add(kind + i);
                }
            }
        }
        inbox.awaitBodies(wanted, 200);
        Kit.eventually(60, "all asked", () -> decider.asked.keySet().stream().filter(b -> b.startsWith("asked")).count() == 20);
        Kit.sameSet(wanted, inbox.bodies(), "delivered");
        equal(Map.of(), decider.wrong, "what the listener was told wrongly");
        for (MessageExt message : inbox.messages()) {
            equal(text(message), message.getUserProperty("for"), "property");
            equal("key-" + text(message), message.getKeys(), "keys");
            equal(topic, message.getTopic(), "topic");
        }
        kit.note("%d asked", decider.asked.size());
    }

    private static Message timed(String topic, String body, String property, long value) {
        Message message = new Message(topic, "TagW", text(body));
        MessageAccessor.putProperty(message, property, Long.toString(value));
        return message;
    }

    private static void timers(Kit kit) throws Exception {
        DefaultMQProducer producer = kit.producer();
        String topic = kit.createdTopic(producer, 4);
        Inbox inbox = new Inbox().attach(kit.pushConsumer(kit.group()), topic, "*");
        Map<String, Long> due = new HashMap<>();
        for (int i = 0; i < 60; i++) {
            long now = System.currentTimeMillis();
            long delay = 2000 + i * 37L % 3000;
            switch (i % 3) {
                case 0 -> producer.send(timed(topic, "m" + i, DELIVER_MS, now + delay));
                case 1 -> producer.send(timed(topic, "m" + i, DELAY_MS, delay));
                default -> {
                    delay = 3000;
                    producer.send(timed(topic, "m" + i, DELAY_SEC, 3));
                }
            }
            due.put("m" + i, now + delay);
        }
        producer.send(timed(topic, "past", DELIVER_MS, System.currentTimeMillis() - 5000));
        due.put("past", 0L);
        inbox.awaitBodies(new TreeSet<>(due.keySet()), 60);
        equal(61, inbox.size(), "deliveries");
        long late = 0;
        for (Inbox.Arrival arrival : inbox.arrivals()) {
            String body = text(arrival.message());
            long by = arrival.message().getStoreTimestamp() - due.get(body);
            check(by >= -EARLY_MS, "%s was stored %d ms early", body, -by);
            late = body.equals("past") ? late : Math.max(late, by);
        }
        kit.note("latest %d ms late", late);
        check(late < 5000, "latest %d ms late", late);
        try {
            producer.send(timed(topic, "far", DELIVER_MS, System.currentTimeMillis() + 400L * 86_400_000));
            check(false, "400 days ahead was taken");
        } catch (MQBrokerException e) {
            equal(13, e.getResponseCode(), "code for 400 days");
        }
    }

    /** Recall came with 5.4: called by its name, so that older clients compile. */
    private static void recall(Kit kit) throws Exception {
        DefaultMQProducer producer = kit.producer();
        Method recall = null;
        for (Method method : producer.getClass().getMethods()) {
            if (method.getName().equals("recallMessage") && method.getParameterCount() == 2) {
                recall = method;
            }
        }
        if (recall == null) {
            kit.note("not in this client");
            return;
        }
        String topic = kit.createdTopic(producer, 4);
        Inbox inbox = new Inbox().attach(kit.pushConsumer(kit.group()), topic, "*");
        Set<String> wanted = new TreeSet<>();
        for (int i = 0; i < 10; i++) {
            SendResult sent = producer.send(timed(topic, "m" + i, DELAY_MS, 6000));
            if (i % 2 == 0) {
                wanted.add("m" + i);
                continue;
            }
            String handle = (String) sent.getClass().getMethod("getRecallHandle").invoke(sent);
            equal(sent.getMsgId(), recall.invoke(producer, topic, handle), "id of what was recalled");
        }
        inbox.awaitBodies(wanted, 60);
        producer.send(new Message(topic, text("last")));
        wanted.add("last");
        inbox.awaitBodies(wanted, 60);
        Kit.sameSet(wanted, inbox.bodies(), "delivered");
    }

    private static void sql92(Kit kit) throws Exception {
        DefaultMQProducer producer = kit.producer();
        String topic = kit.createdTopic(producer, 4);
        DefaultMQPushConsumer consumer = kit.pushConsumer(kit.group());
        consumer.subscribe(topic, MessageSelector.bySql("n BETWEEN 3 AND 7 AND (kind IN ('a', 'b') OR kind IS NULL) AND NOT (name CONTAINS 'x')"));
        Inbox inbox = new Inbox();
        consumer.registerMessageListener((MessageListenerConcurrently) (messages, context) -> {
            messages.forEach(inbox::add);
            return ConsumeConcurrentlyStatus.CONSUME_SUCCESS;
        });
        consumer.start();
        Set<String> wanted = new TreeSet<>();
        for (int i = 0; i < 100; i++) {
            Message message = new Message(topic, text("m" + i));
            int n = i % 10;
            String kind = List.of("a", "b", "c", "").get(i % 4);
            String name = i % 5 == 0 ? "an x in it" : "plain";
            message.putUserProperty("n", Integer.toString(n));
            message.putUserProperty("name", name);
            if (!kind.isEmpty()) {
                message.putUserProperty("kind", kind);
            }
            producer.send(message);
            if (n >= 3 && n <= 7 && !kind.equals("c") && i % 5 != 0) {
                wanted.add("m" + i);
            }
        }
        inbox.awaitBodies(wanted, 60);
        Kit.sameSet(wanted, inbox.bodies(), "delivered");
        equal(wanted.size(), inbox.size(), "deliveries");
        DefaultMQPushConsumer bad = kit.pushConsumer(kit.group());
        bad.subscribe(topic, MessageSelector.bySql("n > 'x'"));
        bad.registerMessageListener((MessageListenerConcurrently) (messages, context) -> ConsumeConcurrentlyStatus.CONSUME_SUCCESS);
        try {
            bad.start();
            check(false, "a consumer with a malformed condition started");
        } catch (MQClientException e) {
            equal(23, e.getResponseCode(), "code for a malformed condition: " + e.getMessage());
        }
    }

    /** The broker is killed while half messages and timers wait: all that is to come comes, and nothing else. */
    private static void restart(Kit kit) throws Exception {
        Decider decider = new Decider();
        TransactionMQProducer producer = kit.transactionProducer(decider);
        producer.setSendMsgTimeout(10_000);
        producer.start();
        String topic = kit.createdTopic(producer, 4);
        Inbox inbox = new Inbox().attach(kit.pushConsumer(kit.group()), topic, "*");
        Set<String> wanted = new TreeSet<>();
        for (int i = 0; i < 20; i++) {
            sendHalf(producer, topic, (i % 2 == 0 ? "asked-commit-" : "asked-rollback-") + i);
            producer.send(timed(topic, "timer-" + i, DELAY_MS, 3000 + 100 * i));
            wanted.add("timer-" + i);
            if (i % 2 == 0) {
                wanted.add("asked-commit-" + i);
            }
        }
        Kit.hook("kill");
        Kit.hook("start");
        inbox.awaitBodies(wanted, 120);
        Kit.eventually(90, "all asked", () -> decider.asked.values().stream().filter(n -> n.get() >= 2).count() == 20);
        Kit.sameSet(wanted, inbox.bodies(), "delivered");
        kit.note("%d delivered for %d", inbox.size(), wanted.size());
    }
}
