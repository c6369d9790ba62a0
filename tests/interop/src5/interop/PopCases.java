package interop;

import static interop.Kit.check;
import static interop.Kit.equal;
import static interop.Kit.sameSet;
import static interop.Kit.text;

import interop.Main.Case;
import interop.Main.Phase;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeSet;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.TimeUnit;
import java.util.stream.Collectors;
import org.apache.rocketmq.client.consumer.AckResult;
import org.apache.rocketmq.client.consumer.AckStatus;
import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.consumer.PopResult;
import org.apache.rocketmq.client.consumer.PopStatus;
import org.apache.rocketmq.client.consumer.listener.ConsumeConcurrentlyStatus;
import org.apache.rocketmq.client.consumer.listener.MessageListenerConcurrently;
import org.apache.rocketmq.client.impl.MQClientAPIImpl;
import org.apache.rocketmq.client.impl.factory.MQClientInstance;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageConst;
import org.apache.rocketmq.common.message.MessageExt;
import org.apache.rocketmq.common.message.MessageQueue;
import org.apache.rocketmq.common.message.MessageRequestMode;
import org.apache.rocketmq.remoting.protocol.header.AckMessageRequestHeader;
import org.apache.rocketmq.remoting.protocol.header.ChangeInvisibleTimeRequestHeader;
import org.apache.rocketmq.remoting.protocol.header.ExtraInfoUtil;
import org.apache.rocketmq.remoting.protocol.header.PopMessageRequestHeader;

/** Pop consumption, which clients have from version 5 on: with the client's own calls, and by a push consumer. */
final class PopCases {
    private static final int QUEUES = 4;
    /** Whether messages come again at the millisecond. Apache looks every second or so, and later when it has much to do. */
    private static final boolean EXACT = Boolean.getBoolean("durable.offsets");
    private static final long LATE_MS = EXACT ? 1_000 : 30_000;

    private PopCases() {}

    static void add(List<Case> cases) {
        cases.add(new Case("pop.ack", Phase.TOGETHER, PopCases::ack));
        cases.add(new Case("pop.comes_again", Phase.TOGETHER, PopCases::comesAgain));
        cases.add(new Case("pop.tags", Phase.TOGETHER, PopCases::tags));
        cases.add(new Case("pop.order", Phase.TOGETHER, PopCases::order));
        cases.add(new Case("pop.push", Phase.TOGETHER, PopCases::push));
        cases.add(new Case("pop.after_kill", Phase.HOOK, PopCases::afterKill));
    }

    /** The calls of a client, made to wait for their answers. */
    static final class Popper {
        private final MQClientInstance factory;
        private final MQClientAPIImpl api;
        private final String broker;
        private final String topic;
        private final String group;

        Popper(DefaultMQProducer producer, String topic, String group) throws Exception {
            this.factory = producer.getDefaultMQProducerImpl().getMqClientFactory();
            this.api = factory.getMQClientAPIImpl();
            List<MessageQueue> queues = Kit.queues(producer, topic);
            this.broker = queues.get(0).getBrokerName();
            // Without it the broker's address is not known before the first message is sent.
            factory.updateTopicRouteInfoFromNameServer(topic);
            this.topic = topic;
            this.group = group;
        }

        String address() {
            return factory.findBrokerAddressInPublish(broker);
        }

        PopResult pop(int queue, int count, long invisibleMs, long pollMs, boolean order, String attempt, String tags) throws Exception {
            PopMessageRequestHeader header = new PopMessageRequestHeader();
            header.setConsumerGroup(group);
            header.setTopic(topic);
            header.setQueueId(queue);
            header.setMaxMsgNums(count);
            header.setInvisibleTime(invisibleMs);
            header.setPollTime(pollMs);
            header.setBornTime(System.currentTimeMillis());
            header.setInitMode(0);
            header.setExpType("TAG");
            header.setExp(tags);
            header.setOrder(order);
            header.setAttemptId(attempt);
            CompletableFuture<PopResult> done = new CompletableFuture<>();
            api.popMessageAsync(broker, address(), header, pollMs + 10_000, Answers.ofPop(done));
            return done.get(pollMs + 15_000, TimeUnit.MILLISECONDS);
        }

        List<MessageExt> pop(int count, long invisibleMs, long pollMs) throws Exception {
            PopResult result = pop(-1, count, invisibleMs, pollMs, false, null, "*");
            return result.getPopStatus() == PopStatus.FOUND ? result.getMsgFoundList() : List.of();
        }

        void ack(MessageExt message) throws Exception {
            String receipt = message.getProperty(MessageConst.PROPERTY_POP_CK);
            String[] items = ExtraInfoUtil.split(receipt);
            AckMessageRequestHeader header = new AckMessageRequestHeader();
            header.setTopic(ExtraInfoUtil.getRealTopic(items, topic, group));
            header.setQueueId(ExtraInfoUtil.getQueueId(items));
            header.setOffset(ExtraInfoUtil.getQueueOffset(items));
            header.setConsumerGroup(group);
            header.setExtraInfo(receipt);
            CompletableFuture<AckResult> done = new CompletableFuture<>();
            api.ackMessageAsync(address(), 10_000, Answers.ofAck(done), header);
            equal(AckStatus.OK, done.get(15, TimeUnit.SECONDS).getStatus(), "answer to an ack");
        }

        void ackAll(List<MessageExt> messages) throws Exception {
            List<String> receipts = messages.stream().map(m -> m.getProperty(MessageConst.PROPERTY_POP_CK)).collect(Collectors.toList());
            CompletableFuture<AckResult> done = new CompletableFuture<>();
            api.batchAckMessageAsync(address(), 10_000, Answers.ofAck(done), topic, group, receipts);
            equal(AckStatus.OK, done.get(15, TimeUnit.SECONDS).getStatus(), "answer to a batch of acks");
        }

        AckResult invisible(MessageExt message, long ms) throws Exception {
            String receipt = message.getProperty(MessageConst.PROPERTY_POP_CK);
            String[] items = ExtraInfoUtil.split(receipt);
            ChangeInvisibleTimeRequestHeader header = new ChangeInvisibleTimeRequestHeader();
            header.setTopic(ExtraInfoUtil.getRealTopic(items, topic, group));
            header.setQueueId(ExtraInfoUtil.getQueueId(items));
            header.setOffset(ExtraInfoUtil.getQueueOffset(items));
            header.setConsumerGroup(group);
            header.setExtraInfo(receipt);
            header.setInvisibleTime(ms);
            CompletableFuture<AckResult> done = new CompletableFuture<>();
            api.changeInvisibleTimeAsync(broker, address(), header, 10_000, Answers.ofAck(done));
            return done.get(15, TimeUnit.SECONDS);
        }

        /** Pops until there were so many. */
        List<MessageExt> popAll(int count, long invisibleMs) throws Exception {
            List<MessageExt> all = new ArrayList<>();
            long limit = System.nanoTime() + 60_000_000_000L;
            while (all.size() < count && System.nanoTime() < limit) {
                all.addAll(pop(32, invisibleMs, 2_000));
            }
            equal(count, all.size(), "messages popped");
            return all;
        }
    }

    private static Set<String> send(DefaultMQProducer producer, String topic, int count) throws Exception {
        Set<String> bodies = new TreeSet<>();
        for (int i = 0; i < count; i++) {
            String body = "body-" + i;
            Message message = new Message(topic, i % 2 == 0 ? "even" : "odd", "key-" + i, text(body));
            message.putUserProperty("number", Integer.toString(i));
            producer.send(message);
            bodies.add(body);
        }
        return bodies;
    }

    private static Set<String> bodies(List<MessageExt> messages) {
        Set<String> bodies = messages.stream().map(Kit::text).collect(Collectors.toCollection(TreeSet::new));
        equal(messages.size(), bodies.size(), "different bodies");
        return bodies;
    }

    /** Each is given once; what is acknowledged, one by one or by the batch, does not come again. */
    private static void ack(Kit kit) throws Exception {
        DefaultMQProducer producer = kit.producer();
        String topic = kit.createdTopic(producer, QUEUES);
        Popper popper = new Popper(producer, topic, kit.group());
        Set<String> sent = send(producer, topic, 200);
        List<MessageExt> popped = popper.popAll(200, 5_000);
        sameSet(sent, bodies(popped), "bodies");
        for (MessageExt message : popped) {
            int number = Integer.parseInt(message.getUserProperty("number"));
            equal("body-" + number, text(message), "body of " + number);
            equal("key-" + number, message.getKeys(), "keys of " + number);
            equal(number % 2 == 0 ? "even" : "odd", message.getTags(), "tags of " + number);
            equal(topic, message.getTopic(), "topic of " + number);
            equal(0, message.getReconsumeTimes(), "attempts of " + number);
        }
        for (MessageExt message : popped.subList(0, 50)) {
            popper.ack(message);
        }
        popper.ackAll(popped.subList(50, 200));
        long until = System.currentTimeMillis() + 5_000 + (EXACT ? 1_000 : 10_000);
        while (System.currentTimeMillis() < until) {
            equal(List.of(), popper.pop(32, 5_000, 1_000), "messages after all are acknowledged");
        }
    }

    /** What is not acknowledged comes again when its time is over, never before; so does what got another time. */
    private static void comesAgain(Kit kit) throws Exception {
        DefaultMQProducer producer = kit.producer();
        String topic = kit.createdTopic(producer, QUEUES);
        Popper popper = new Popper(producer, topic, kit.group());
        send(producer, topic, 30);
        long start = System.currentTimeMillis();
        List<MessageExt> popped = popper.popAll(30, 8_000);
        long taken = System.currentTimeMillis();
        List<MessageExt> kept = popped.subList(0, 3);
        List<MessageExt> shorter = popped.subList(3, 6);
        popper.ackAll(popped.subList(6, 30));
        for (MessageExt message : shorter) {
            equal(AckStatus.OK, popper.invisible(message, 2_000).getStatus(), "a shorter time");
        }
        long changed = System.currentTimeMillis();
        List<MessageExt> again = new ArrayList<>();
        long last = 0;
        while (again.size() < 6 && System.currentTimeMillis() < taken + 8_000 + LATE_MS) {
            List<MessageExt> found = popper.pop(32, 60_000, 2_000);
            last = System.currentTimeMillis();
            for (MessageExt message : found) {
                boolean wasShorter = shorter.stream().anyMatch(m -> text(m).equals(text(message)));
                long least = wasShorter ? taken + 2_000 : start + 8_000;
                long most = (wasShorter ? changed + 2_000 : taken + 8_000) + LATE_MS;
                check(last >= least && last <= most, "%s came %d ms after the pops", text(message), last - start);
                equal(1, message.getReconsumeTimes(), "attempts of " + text(message));
                equal(topic, message.getTopic(), "topic of " + text(message));
                again.add(message);
            }
        }
        List<MessageExt> want = new ArrayList<>(kept);
        want.addAll(shorter);
        sameSet(bodies(want), bodies(again), "what came again");
        for (MessageExt message : again) {
            popper.ack(message);
        }
        equal(List.of(), popper.pop(32, 5_000, 1_000), "messages after all are acknowledged");
        if (EXACT) {
            // Apache says yes, and what was acknowledged comes again.
            equal(AckStatus.NO_EXIST, popper.invisible(kept.get(0), 1_000).getStatus(), "a time for what is acknowledged");
        }
        kit.note("the last came again %d ms after its pop", last - taken);
    }

    private static void tags(Kit kit) throws Exception {
        DefaultMQProducer producer = kit.producer();
        String topic = kit.createdTopic(producer, 1);
        Popper popper = new Popper(producer, topic, kit.group());
        Set<String> sent = send(producer, topic, 40);
        List<MessageExt> popped = new ArrayList<>();
        long limit = System.nanoTime() + 60_000_000_000L;
        while (popped.size() < 20 && System.nanoTime() < limit) {
            PopResult result = popper.pop(-1, 32, 60_000, 2_000, false, null, "odd");
            if (result.getPopStatus() == PopStatus.FOUND) {
                popped.addAll(result.getMsgFoundList());
            }
        }
        sent.removeIf(body -> Integer.parseInt(body.substring(5)) % 2 == 0);
        sameSet(sent, bodies(popped), "those with the tag");
    }

    /** In order a queue gives nothing more until what it gave is acknowledged. */
    private static void order(Kit kit) throws Exception {
        DefaultMQProducer producer = kit.producer();
        String topic = kit.createdTopic(producer, 1);
        Popper popper = new Popper(producer, topic, kit.group());
        send(producer, topic, 9);
        List<String> seen = new ArrayList<>();
        for (int round = 0; round < 3; round++) {
            PopResult result = popper.pop(0, 3, 20_000, 5_000, true, "attempt-" + round, "*");
            equal(PopStatus.FOUND, result.getPopStatus(), "round " + round);
            PopResult blocked = popper.pop(0, 3, 20_000, 500, true, "other-" + round, "*");
            check(blocked.getPopStatus() != PopStatus.FOUND, "a pop while the queue is blocked found %s", blocked);
            for (MessageExt message : result.getMsgFoundList()) {
                seen.add(text(message));
                popper.ack(message);
            }
        }
        List<String> want = new ArrayList<>();
        for (int i = 0; i < 9; i++) {
            want.add("body-" + i);
        }
        equal(want, seen, "order");
    }

    /** A push consumer that the broker told to pop: one in five fails at first. */
    private static void push(Kit kit) throws Exception {
        DefaultMQProducer producer = kit.producer();
        String topic = kit.createdTopic(producer, QUEUES);
        String group = kit.group();
        Popper popper = new Popper(producer, topic, group);
        // The group is there once somebody has asked for its messages.
        popper.pop(1, 1_000, 100);
        popper.api.setMessageRequestMode(popper.address(), topic, group, MessageRequestMode.POP, 0, 10_000);
        DefaultMQPushConsumer consumer = kit.pushConsumer(group);
        consumer.setClientRebalance(false);
        consumer.subscribe(topic, "*");
        Map<String, Integer> attempts = new ConcurrentHashMap<>();
        Set<String> withoutReceipt = ConcurrentHashMap.newKeySet();
        Set<String> done = ConcurrentHashMap.newKeySet();
        consumer.registerMessageListener((MessageListenerConcurrently) (messages, context) -> {
            ConsumeConcurrentlyStatus status = ConsumeConcurrentlyStatus.CONSUME_SUCCESS;
            for (MessageExt message : messages) {
                if (message.getProperty(MessageConst.PROPERTY_POP_CK) == null) {
                    withoutReceipt.add(text(message));
                }
                int attempt = attempts.merge(text(message), 1, Integer::sum);
                if (Integer.parseInt(message.getUserProperty("number")) % 5 == 0 && attempt == 1) {
                    status = ConsumeConcurrentlyStatus.RECONSUME_LATER;
                } else {
                    done.add(text(message));
                }
            }
            return status;
        });
        consumer.start();
        Set<String> sent = send(producer, topic, 100);
        Kit.eventually(120, "all consumed", () -> done.size() == sent.size());
        sameSet(sent, new HashSet<>(done), "consumed");
        equal(Set.of(), withoutReceipt, "messages that were not popped");
        for (Map.Entry<String, Integer> entry : attempts.entrySet()) {
            boolean failed = Integer.parseInt(entry.getKey().substring(5)) % 5 == 0;
            equal(failed ? 2 : 1, entry.getValue(), "attempts of " + entry.getKey());
        }
    }

    /** What was acknowledged before a kill -9 stays so, and what was not comes again after its time. */
    private static void afterKill(Kit kit) throws Exception {
        DefaultMQProducer producer = kit.producer();
        String topic = kit.createdTopic(producer, QUEUES);
        Popper popper = new Popper(producer, topic, kit.group());
        send(producer, topic, 100);
        List<MessageExt> popped = popper.popAll(100, 30_000);
        long taken = System.currentTimeMillis();
        popper.ackAll(popped.subList(0, 60));
        Kit.hook("kill");
        Kit.hook("start");
        Set<String> want = bodies(popped.subList(60, 100));
        List<MessageExt> again = new ArrayList<>();
        Set<String> missing = new HashSet<>(want);
        long first = 0;
        while (!missing.isEmpty() && System.currentTimeMillis() < taken + 30_000 + LATE_MS + 20_000) {
            try {
                List<MessageExt> found = popper.pop(32, 120_000, 5_000);
                first = first == 0 && !found.isEmpty() ? System.currentTimeMillis() : first;
                again.addAll(found);
                found.forEach(message -> missing.remove(text(message)));
            } catch (Exception e) {
                // The broker is not back yet.
                TimeUnit.MILLISECONDS.sleep(200);
            }
        }
        equal(Set.of(), missing, "what did not come again");
        if (EXACT) {
            // Apache keeps what is in flight in memory for a while, and after a kill gives all of it again at once.
            sameSet(want, bodies(again), "what came again");
            check(first >= taken + 29_000, "the first came again %d ms after the pops", first - taken);
        }
    }
}
