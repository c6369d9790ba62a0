package interop;

import static interop.Kit.check;
import static interop.Kit.equal;
import static interop.Kit.text;

import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import java.util.TreeSet;
import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.consumer.PopResult;
import org.apache.rocketmq.client.consumer.PopStatus;
import org.apache.rocketmq.client.consumer.listener.ConsumeConcurrentlyStatus;
import org.apache.rocketmq.client.consumer.listener.MessageListenerConcurrently;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.client.producer.LocalTransactionState;
import org.apache.rocketmq.client.producer.SendResult;
import org.apache.rocketmq.client.producer.TransactionListener;
import org.apache.rocketmq.client.producer.TransactionMQProducer;
import org.apache.rocketmq.common.TopicConfig;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageAccessor;
import org.apache.rocketmq.common.message.MessageConst;
import org.apache.rocketmq.common.message.MessageExt;
import org.apache.rocketmq.common.message.MessageQueue;
import org.apache.rocketmq.common.message.MessageRequestMode;
import org.apache.rocketmq.remoting.protocol.subscription.SubscriptionGroupConfig;
import org.apache.rocketmq.tools.admin.DefaultMQAdminExt;

/** What one server wrote: messages of every kind, topics, groups, offsets, and what of it is still to come. */
final class Written {
    private static final String ACCESS = "TBW102";
    private static final int QUEUES = 4;
    /** Of what is pending, after the moment of writing: long enough for a stop and a start of either server. */
    static final int PENDING_S = Integer.getInteger("pending", 75);
    /** The writer has neither pop nor timers. */
    static final boolean OLD = Boolean.getBoolean("old");
    /** Light message queues are on. */
    static final boolean LIGHT = Boolean.getBoolean("light");
    /** The level of messageDelayLevel with that delay. */
    private static final int PENDING_LEVEL = 15;

    final String prefix;
    final String broker;
    /** Of each group, topic and queue. */
    final Map<String, Long> offsets = new TreeMap<>();
    final Map<String, String> settings = new TreeMap<>();
    /** What waits, by topic and body, and when it is due. */
    final Map<String, Map<String, Long>> pending = new TreeMap<>();
    final Set<String> committed = new TreeSet<>();
    final Set<String> rolledBack = new TreeSet<>();
    /** Popped and not acknowledged: body, and until when nobody may have it. */
    final Map<String, Long> invisible = new TreeMap<>();
    final Set<String> acknowledged = new TreeSet<>();
    final Set<String> neverPopped = new TreeSet<>();
    /** What is to be popped in order, and when its first is due. */
    final List<String> inOrder = new ArrayList<>();
    long inOrderDue;
    /** Light message queues that messages of a topic are in too. */
    final List<MessageQueue> lightQueues = new ArrayList<>();
    /** Bodies that failed once. */
    final Set<String> retried = new TreeSet<>();
    Map<String, String> served;

    private final DefaultMQProducer producer;
    private final DefaultMQAdminExt admin;
    private final Kit kit;

    private Written(Kit kit, String prefix) throws Exception {
        this.kit = kit;
        this.prefix = prefix;
        this.producer = kit.producer();
        this.admin = kit.admin();
        List<String> brokers = new ArrayList<>();
        Kit.eventually(60, "a broker that is known", () -> {
            brokers.clear();
            admin.examineBrokerClusterInfo().getBrokerAddrTable().values().forEach(b -> brokers.add(b.selectBrokerAddr()));
            return !brokers.isEmpty();
        });
        this.broker = brokers.get(0);
    }

    String topic(String kind) {
        return prefix + "-" + kind;
    }

    String group(String kind) {
        return "G-" + prefix + "-" + kind;
    }

    List<String> topics() {
        return List.of(topic("plain"), topic("order"), topic("delay"), topic("timer"), topic("transaction"), topic("retry"), topic("pop"), topic("dead"));
    }

    /** Writes all of it through the server that is running. */
    static Written write(Kit kit, String prefix) throws Exception {
        Written written = new Written(kit, prefix);
        written.topicsAndGroups();
        written.plain();
        written.ordered();
        if (!OLD) {
            written.pop();
            written.popInOrder();
        }
        if (LIGHT) {
            written.light();
        }
        written.dead();
        written.transactions();
        written.retries();
        written.waiting();
        written.consume();
        written.remember();
        return written;
    }

    private void topic(String kind, String type, int perm, boolean order) throws Exception {
        TopicConfig config = new TopicConfig(topic(kind), QUEUES, QUEUES, perm);
        config.setOrder(order);
        if (!OLD) {
            config.setAttributes(new HashMap<>(Map.of("+message.type", type)));
        }
        admin.createAndUpdateTopicConfig(broker, config);
    }

    private void topicsAndGroups() throws Exception {
        topic("plain", "NORMAL", 6, false);
        topic("order", "FIFO", 6, true);
        topic("delay", "DELAY", 6, false);
        topic("timer", "DELAY", 6, false);
        topic("transaction", "TRANSACTION", 6, false);
        topic("retry", "NORMAL", 6, false);
        topic("pop", "NORMAL", 6, false);
        topic("fifo", "FIFO", 6, false);
        topic("dead", "NORMAL", 6, false);
        topic("readonly", "NORMAL", 4, false);
        topic("gone", "NORMAL", 6, false);
        for (String kind : topics()) {
            Kit.eventually(60, "route of " + kind, () -> {
                try {
                    return Kit.queues(producer, kind).size() == QUEUES;
                } catch (Exception e) {
                    return false;
                }
            });
        }
        SubscriptionGroupConfig config = new SubscriptionGroupConfig();
        config.setGroupName(group("settings"));
        config.setRetryMaxTimes(7);
        config.setRetryQueueNums(2);
        config.setConsumeBroadcastEnable(false);
        config.setConsumeTimeoutMinute(3);
        admin.createAndUpdateSubscriptionGroupConfig(broker, config);
        config = new SubscriptionGroupConfig();
        config.setGroupName(group("dead"));
        config.setRetryMaxTimes(0);
        admin.createAndUpdateSubscriptionGroupConfig(broker, config);
        for (String kind : List.of("retry", "pop", "fifo", "plain", "gone")) {
            config = new SubscriptionGroupConfig();
            config.setGroupName(group(kind));
            admin.createAndUpdateSubscriptionGroupConfig(broker, config);
        }
        if (OLD) {
            return;
        }
        admin.setMessageRequestMode(broker, topic("pop"), group("pop"), MessageRequestMode.POP, 2, 5_000);
        admin.setMessageRequestMode(broker, topic("order"), group("plain"), MessageRequestMode.PULL, 0, 5_000);
    }

    private void plain() throws Exception {
        List<MessageQueue> queues = Kit.queues(producer, topic("plain"));
        for (int i = 0; i < 240; i++) {
            // Small ones, and ones that the client compresses; a large one here and there.
            byte[] body = i % 60 == 7 ? Kit.noise(i, 300_000) : i % 10 == 3 ? text("compressed " + "abc".repeat(3_000) + i) : text("plain " + i);
            Message message = new Message(topic("plain"), i % 3 == 0 ? "A" : "B", prefix + "-key-" + i + " " + prefix + "-all", body);
            message.setFlag(i);
            message.putUserProperty("number", Integer.toString(i));
            message.putUserProperty("text", "Grüße, 世界 " + i);
            producer.send(message, queues.get(i % QUEUES));
        }
        List<Message> batch = new ArrayList<>();
        for (int i = 0; i < 16; i++) {
            batch.add(new Message(topic("plain"), "batch", prefix + "-batch-" + i, text("of a batch " + i)));
        }
        producer.send(batch, queues.get(1));
        // A topic that was deleted stays so, with its messages and its group's offsets.
        Kit.eventually(60, "route", () -> Kit.queues(producer, topic("gone")).size() == QUEUES);
        producer.send(new Message(topic("gone"), text("gone")));
        admin.deleteTopicInBroker(java.util.Set.of(broker), topic("gone"));
        admin.deleteSubscriptionGroup(broker, group("gone"), true);
    }

    private void ordered() throws Exception {
        for (int i = 0; i < 90; i++) {
            Message message = new Message(topic("order"), "o", "", text("order " + i % 9 + " " + i / 9));
            message.putUserProperty(MessageConst.PROPERTY_SHARDING_KEY, "k" + i % 9);
            producer.send(message, (all, m, key) -> all.get((Integer) key % all.size()), i % 9);
        }
    }

    private void pop() throws Exception {
        for (int i = 0; i < 60; i++) {
            producer.send(new Message(topic("pop"), text("pop " + i)));
        }
        PopCases.Popper popper = new PopCases.Popper(producer, topic("pop"), group("pop"));
        List<MessageExt> popped = new ArrayList<>();
        long end = System.currentTimeMillis() + 60_000;
        while (popped.size() < 40) {
            check(System.currentTimeMillis() < end, "only %d were popped", popped.size());
            long before = System.currentTimeMillis();
            for (MessageExt message : popper.pop(8, PENDING_S * 1_000, 1_000)) {
                popped.add(message);
                invisible.put(text(message), before + PENDING_S * 1_000);
            }
        }
        for (MessageExt message : popped.subList(0, 10)) {
            popper.ack(message);
        }
        popper.ackAll(popped.subList(10, 20));
        for (MessageExt message : popped.subList(0, 20)) {
            acknowledged.add(text(message));
            invisible.remove(text(message));
        }
        for (int i = 0; i < 60; i++) {
            if (!acknowledged.contains("pop " + i) && !invisible.containsKey("pop " + i)) {
                neverPopped.add("pop " + i);
            }
        }
    }

    /** The first is acknowledged, and three are not: nobody may have those behind them before. */
    private void popInOrder() throws Exception {
        for (int i = 0; i < 8; i++) {
            producer.send(new Message(topic("fifo"), text("fifo " + i)), Kit.queues(producer, topic("fifo")).get(0));
        }
        PopCases.Popper popper = new PopCases.Popper(producer, topic("fifo"), group("fifo"));
        Kit.eventually(60, "a pop in order", () -> {
            inOrderDue = System.currentTimeMillis() + PENDING_S * 1_000;
            PopResult popped = popper.pop(0, 4, PENDING_S * 1_000, 1_000, true, "a", "*");
            if (popped.getPopStatus() != PopStatus.FOUND) {
                return false;
            }
            equal(4, popped.getMsgFoundList().size(), "popped in order");
            popper.ack(popped.getMsgFoundList().get(0));
            return true;
        });
        for (int i = 1; i < 8; i++) {
            inOrder.add("fifo " + i);
        }
    }

    String lightGroup() {
        return "%LMQ%" + group("light");
    }

    private void light() throws Exception {
        String name = Kit.queues(producer, topic("plain")).get(0).getBrokerName();
        for (String queue : List.of("-x", "-y")) {
            lightQueues.add(new MessageQueue("%LMQ%" + prefix + queue, name, 0));
        }
        for (int i = 0; i < 20; i++) {
            Message message = new Message(topic("plain"), text("light " + i));
            String names = lightQueues.get(i % 2).getTopic() + (i % 5 == 0 ? "," + lightQueues.get((i + 1) % 2).getTopic() : "");
            MessageAccessor.putProperty(message, MessageConst.PROPERTY_INNER_MULTI_DISPATCH, names);
            producer.send(message);
        }
        // Apache takes any group with such a name for known.
        SubscriptionGroupConfig config = new SubscriptionGroupConfig();
        config.setGroupName(lightGroup());
        admin.createAndUpdateSubscriptionGroupConfig(broker, config);
        for (MessageQueue queue : lightQueues) {
            admin.updateConsumeOffset(broker, lightGroup(), queue, 7);
        }
    }

    /** Messages that fail at once and may not be tried again: dead letters. */
    private void dead() throws Exception {
        Set<String> failed = new TreeSet<>();
        for (int i = 0; i < 8; i++) {
            producer.send(new Message(topic("dead"), text("dead " + i)));
        }
        DefaultMQPushConsumer consumer = failing("dead", failed);
        Kit.eventually(60, "eight that fail", () -> failed.size() == 8);
        Kit.eventually(60, "dead letters", () -> {
            try {
                return Kit.stored(producer, "%DLQ%" + group("dead")) == 8;
            } catch (Exception e) {
                return false;
            }
        });
        consumer.shutdown();
    }

    private DefaultMQPushConsumer failing(String kind, Set<String> failed) throws Exception {
        DefaultMQPushConsumer consumer = kit.pushConsumer(group(kind));
        if (kind.equals("dead")) {
            consumer.setMaxReconsumeTimes(0);
        }
        consumer.subscribe(topic(kind), "*");
        consumer.registerMessageListener((MessageListenerConcurrently) (messages, context) -> {
            context.setDelayLevelWhenNextConsume(PENDING_LEVEL);
            synchronized (failed) {
                messages.forEach(m -> failed.add(text(m)));
            }
            return ConsumeConcurrentlyStatus.RECONSUME_LATER;
        });
        consumer.start();
        return consumer;
    }

    private void transactions() throws Exception {
        TransactionMQProducer transactions = transactionProducer(kit, LocalTransactionState.UNKNOW);
        for (int i = 0; i < 40; i++) {
            String body = List.of("commit", "rollback", "later-commit", "later-rollback").get(i % 4) + " " + i;
            transactions.sendMessageInTransaction(new Message(topic("transaction"), "t", prefix + "-transaction-" + i, text(body)), null);
            (body.contains("commit") ? committed : rolledBack).add(body);
        }
        transactions.shutdown();
    }

    /** A producer of the group that began the transactions; what is said when asked for those that are to be ended later. */
    TransactionMQProducer transactionProducer(Kit kit, LocalTransactionState whenAsked) throws Exception {
        TransactionMQProducer transactions = kit.transactionProducer(new TransactionListener() {
            @Override
            public LocalTransactionState executeLocalTransaction(Message message, Object argument) {
                return text(message).startsWith("commit") ? LocalTransactionState.COMMIT_MESSAGE
                    : text(message).startsWith("rollback") ? LocalTransactionState.ROLLBACK_MESSAGE : LocalTransactionState.UNKNOW;
            }

            @Override
            public LocalTransactionState checkLocalTransaction(MessageExt message) {
                boolean commit = text(message).contains("commit");
                return whenAsked == LocalTransactionState.UNKNOW ? whenAsked
                    : commit ? LocalTransactionState.COMMIT_MESSAGE : LocalTransactionState.ROLLBACK_MESSAGE;
            }
        });
        transactions.setProducerGroup(group("transaction"));
        transactions.start();
        return transactions;
    }

    /** Each fails once; half of them are due at once, and the others when all that waits is. */
    private void retries() throws Exception {
        for (int i = 0; i < 10; i++) {
            producer.send(new Message(topic("retry"), text("retry " + i)));
        }
        DefaultMQPushConsumer consumer = failing("retry", retried);
        Kit.eventually(60, "ten that fail", () -> retried.size() == 10);
        // They have been handed back when their offsets are committed.
        Kit.eventually(60, "handed back", () -> {
            consumer.getDefaultMQPushConsumerImpl().persistConsumerOffset();
            return Kit.committed(consumer, topic("retry")) == 10;
        });
        consumer.shutdown();
    }

    private void waiting() throws Exception {
        for (int i = 0; i < 20; i++) {
            Message message = new Message(topic("delay"), "d", "", text("delay " + i));
            message.setDelayTimeLevel(i % 2 == 0 ? 1 : PENDING_LEVEL);
            long due = System.currentTimeMillis() + (i % 2 == 0 ? 1_000 : PENDING_S * 1_000);
            producer.send(message);
            pending.computeIfAbsent(topic("delay"), t -> new TreeMap<>()).put("delay " + i, due);
            if (OLD) {
                continue;
            }
            message = new Message(topic("timer"), "t", "", text("timer " + i));
            due = (System.currentTimeMillis() / 1_000 + (i % 2 == 0 ? 2 : PENDING_S)) * 1_000;
            message.setDeliverTimeMs(due);
            SendResult sent = producer.send(message);
            if (i % 10 == 9) {
                producer.recallMessage(topic("timer"), sent.getRecallHandle());
            } else {
                pending.computeIfAbsent(topic("timer"), t -> new TreeMap<>()).put("timer " + i, due);
            }
        }
    }

    /** Offsets in the middle of queues. */
    private void consume() throws Exception {
        for (MessageQueue queue : Kit.queues(producer, topic("plain"))) {
            long half = producer.maxOffset(queue) / 2 + queue.getQueueId();
            admin.updateConsumeOffset(broker, group("plain"), queue, half);
        }
    }

    /** What the server says now. */
    private void remember() throws Exception {
        Kit.eventually(60, "what is due at once", () -> Kit.stored(producer, topic("delay")) == 10 && Kit.stored(producer, topic("timer")) == (OLD ? 0 : 10));
        Kit.eventually(60, "committed transactions", () -> Kit.stored(producer, topic("transaction")) == 10);
        offsets.putAll(State.offsets(kit, this));
        settings.putAll(State.settings(kit, admin, this));
        served = State.served(kit, this);
        equal(true, served.size() > (OLD ? 350 : 400), "messages served");
    }
}
