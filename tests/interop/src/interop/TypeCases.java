package interop;

import static interop.Kit.check;
import static interop.Kit.equal;
import static interop.Kit.eventually;
import static interop.Kit.text;

import interop.Main.Case;
import interop.Main.Phase;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeSet;
import java.util.concurrent.atomic.AtomicInteger;
import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.consumer.listener.ConsumeOrderlyStatus;
import org.apache.rocketmq.client.consumer.listener.MessageListenerOrderly;
import org.apache.rocketmq.client.exception.MQClientException;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.client.producer.SendResult;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageAccessor;
import org.apache.rocketmq.common.message.MessageExt;
import org.apache.rocketmq.tools.admin.DefaultMQAdminExt;

/** Kinds of messages: traces, priorities, one order for a whole topic. */
final class TypeCases {
    private static final String TRACE_TOPIC = "RMQ_SYS_TRACE_TOPIC";

    private TypeCases() {}

    static void add(List<Case> cases) {
        cases.add(new Case("type.trace", Phase.TOGETHER, TypeCases::trace));
        cases.add(new Case("type.priority", Phase.TOGETHER, TypeCases::priority));
        cases.add(new Case("type.global_order", Phase.TOGETHER, TypeCases::globalOrder));
        cases.add(new Case("type.order_conf", Phase.TOGETHER, TypeCases::orderConf));
    }

    /** A producer and a consumer that trace: who sent and who consumed a message can be looked up by its id. */
    private static void trace(Kit kit) throws Exception {
        DefaultMQProducer producer = kit.tracingProducer();
        String topic = kit.createdTopic(producer, 1);
        SendResult sent = producer.send(new Message(topic, "TagA", "traced", text("follow me")));
        DefaultMQPushConsumer consumer = kit.tracingConsumer(kit.group());
        new Inbox().attach(consumer, topic, "*").await(1, 30);
        Set<String> kinds = new TreeSet<>();
        eventually(60, "traces of sending and consuming", () -> {
            for (MessageExt trace : traces(producer, sent.getMsgId())) {
                for (String one : text(trace).split("\u0002")) {
                    if (one.contains(sent.getMsgId())) {
                        kinds.add(one.substring(0, one.indexOf('\u0001')));
                    }
                }
            }
            return kinds.containsAll(Set.of("Pub", "SubBefore", "SubAfter"));
        });
        equal(Set.of("Pub", "SubBefore", "SubAfter"), kinds, "traces");
    }

    private static List<MessageExt> traces(DefaultMQProducer producer, String id) throws InterruptedException {
        try {
            return producer.queryMessage(TRACE_TOPIC, id, 32, 0, System.currentTimeMillis() + 60_000).getMessageList();
        } catch (MQClientException e) {
            // The topic is created by the first trace, and none has come yet.
            return List.of();
        }
    }

    /** A priority chooses the queue, unless the message is ordered or delayed. */
    private static void priority(Kit kit) throws Exception {
        DefaultMQProducer producer = kit.producer();
        String topic = kit.createdTopic(producer, 4);
        Map<String, Integer> queues = Map.of("0", 0, "2", 2, "3", 3, "9", 3);
        for (int i = 0; i < 5; i++) {
            for (Map.Entry<String, Integer> entry : queues.entrySet()) {
                Message message = new Message(topic, text(entry.getKey()));
                MessageAccessor.putProperty(message, "_SYS_MSG_PRIORITY_", entry.getKey());
                SendResult sent = producer.send(message, Kit.queues(producer, topic).get(1));
                equal(entry.getValue(), sent.getMessageQueue().getQueueId(), "queue of priority " + entry.getKey());
            }
        }
        Message ordered = new Message(topic, text("ordered"));
        MessageAccessor.putProperty(ordered, "_SYS_MSG_PRIORITY_", "3");
        MessageAccessor.putProperty(ordered, "__SHARDINGKEY", "key");
        equal(1, producer.send(ordered, Kit.queues(producer, topic).get(1)).getMessageQueue().getQueueId(), "queue of an ordered one");
        Inbox inbox = new Inbox().attach(kit.pushConsumer(kit.group()), topic, "*");
        inbox.await(21, 30);
        for (MessageExt message : inbox.messages()) {
            int want = text(message).equals("ordered") ? 1 : queues.get(text(message));
            equal(want, message.getQueueId(), "queue of " + text(message));
            equal(text(message).equals("ordered") ? null : text(message), message.getProperty("_SYS_MSG_PRIORITY_"), "its priority");
        }
    }

    /** A topic of one queue is one order: it passes from consumer to consumer without a gap. */
    private static void globalOrder(Kit kit) throws Exception {
        DefaultMQProducer producer = kit.producer();
        String topic = kit.createdTopic(producer, 1);
        int count = 300;
        for (int i = 0; i < count; i++) {
            producer.send(new Message(topic, text("m" + i)), Kit.queues(producer, topic).get(0));
        }
        List<String> got = new ArrayList<>();
        AtomicInteger consumers = new AtomicInteger();
        String group = kit.group();
        while (consumers.get() < 3) {
            int number = consumers.incrementAndGet();
            DefaultMQPushConsumer consumer = kit.pushConsumer(group);
            consumer.subscribe(topic, "*");
            consumer.registerMessageListener((MessageListenerOrderly) (messages, context) -> {
                synchronized (got) {
                    // The first two stop taking after a third each; what they leave is for the next.
                    if (got.size() >= number * count / 3) {
                        return ConsumeOrderlyStatus.SUSPEND_CURRENT_QUEUE_A_MOMENT;
                    }
                    messages.forEach(m -> got.add(text(m)));
                    return ConsumeOrderlyStatus.SUCCESS;
                }
            });
            consumer.start();
            int want = number * count / 3;
            eventually(90, "consumer " + number + " has its third", () -> {
                synchronized (got) {
                    return got.size() >= want;
                }
            });
            consumer.shutdown();
        }
        check(got.size() == count, "%d consumed", got.size());
        for (int i = 0; i < count; i++) {
            equal("m" + i, got.get(i), "message " + i);
        }
    }

    /** One order for a topic of several queues: name servers tell producers which queues they may use. */
    private static void orderConf(Kit kit) throws Exception {
        DefaultMQProducer producer = kit.producer();
        String topic = kit.createdTopic(producer, 4);
        DefaultMQAdminExt admin = kit.admin();
        String broker = Kit.queues(producer, topic).get(0).getBrokerName();
        admin.createOrUpdateOrderConf(topic, broker + ":1", true);
        // Whoever asks from now on is told so.
        DefaultMQProducer told = kit.producer();
        equal(1, told.fetchPublishMessageQueues(topic).size(), "queues to send to");
        List<String> want = new ArrayList<>();
        for (int i = 0; i < 100; i++) {
            SendResult sent = told.send(new Message(topic, text("m" + i)));
            equal(0, sent.getMessageQueue().getQueueId(), "queue of message " + i);
            equal((long) i, sent.getQueueOffset(), "offset of message " + i);
            want.add("m" + i);
        }
        DefaultMQPushConsumer consumer = kit.pushConsumer(kit.group());
        consumer.subscribe(topic, "*");
        Inbox inbox = new Inbox();
        consumer.registerMessageListener((MessageListenerOrderly) (messages, context) -> {
            messages.forEach(inbox::add);
            return ConsumeOrderlyStatus.SUCCESS;
        });
        consumer.start();
        inbox.await(100, 60);
        equal(want, inbox.messages().stream().map(Kit::text).toList(), "order");
    }
}
