package interop;

import static interop.Kit.check;
import static interop.Kit.equal;
import static interop.Kit.text;

import interop.Main.Case;
import interop.Main.Phase;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeSet;
import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.consumer.listener.ConsumeConcurrentlyContext;
import org.apache.rocketmq.client.consumer.listener.ConsumeConcurrentlyStatus;
import org.apache.rocketmq.client.consumer.listener.MessageListenerConcurrently;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.client.producer.SendResult;
import org.apache.rocketmq.client.producer.SendStatus;
import org.apache.rocketmq.common.consumer.ConsumeFromWhere;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageExt;

/** The program of every tutorial, as users write it: nothing set but what they set. */
final class ClassicCases {
    private ClassicCases() {}

    static void add(List<Case> cases) {
        cases.add(new Case("classic.program", Phase.TOGETHER, ClassicCases::program));
        cases.add(new Case("classic.consumer_first", Phase.TOGETHER, ClassicCases::consumerFirst));
    }

    private static void program(Kit kit) throws Exception {
        String topic = "TopicTest" + Kit.RUN;
        DefaultMQProducer producer = new DefaultMQProducer("please_rename_unique_group_name_" + Kit.RUN);
        producer.setNamesrvAddr(Kit.NAMESRV);
        producer.setRetryTimesWhenSendFailed(3);
        producer.start();
        kit.atEnd(producer::shutdown);
        Map<String, SendResult> sent = new HashMap<>();
        Set<String> ids = new HashSet<>();
        Map<Integer, Long> next = new HashMap<>();
        for (int i = 0; i < 100; i++) {
            Message message = new Message(topic, "TagA", "OrderID" + i, text("Hello world " + i));
            SendResult result = producer.send(message);
            equal(SendStatus.SEND_OK, result.getSendStatus(), "status");
            equal(topic, result.getMessageQueue().getTopic(), "topic of the answer");
            check(ids.add(result.getMsgId()) && result.getMsgId().matches("[0-9A-F]{32}([0-9A-F]{16,24})?"), "message id %s", result.getMsgId());
            check(ids.add(result.getOffsetMsgId()) && result.getOffsetMsgId().matches("[0-9A-F]{32}"), "offset id %s", result.getOffsetMsgId());
            int queue = result.getMessageQueue().getQueueId();
            equal(next.getOrDefault(queue, 0L), result.getQueueOffset(), "offset in queue " + queue);
            next.put(queue, result.getQueueOffset() + 1);
            sent.put("Hello world " + i, result);
        }
        // Created through TBW102 (8 queues) with the producer's default of 4.
        equal(4, Kit.queues(producer, topic).size(), "queues of the automatically created topic");
        equal(Set.of(0, 1, 2, 3), next.keySet(), "queues used");

        DefaultMQPushConsumer consumer = new DefaultMQPushConsumer("please_rename_unique_group_name_4_" + Kit.RUN);
        consumer.setNamesrvAddr(Kit.NAMESRV);
        consumer.setConsumeFromWhere(ConsumeFromWhere.CONSUME_FROM_FIRST_OFFSET);
        consumer.subscribe(topic, "*");
        Inbox inbox = new Inbox();
        consumer.registerMessageListener(new MessageListenerConcurrently() {
            @Override
            public ConsumeConcurrentlyStatus consumeMessage(List<MessageExt> messages, ConsumeConcurrentlyContext context) {
                messages.forEach(inbox::add);
                return ConsumeConcurrentlyStatus.CONSUME_SUCCESS;
            }
        });
        consumer.start();
        kit.atEnd(consumer::shutdown);
        inbox.await(100, 60);
        equal(100L, Kit.stored(producer, topic), "messages in the topic");
        equal(100, inbox.size(), "deliveries");
        for (MessageExt message : inbox.messages()) {
            verify(message, topic, sent.remove(text(message)));
        }
        check(sent.isEmpty(), "never delivered: %s", sent.keySet());
    }

    private static void verify(MessageExt message, String topic, SendResult result) {
        check(result != null, "never sent, or delivered twice: %s", text(message));
        String number = text(message).substring("Hello world ".length());
        equal(topic, message.getTopic(), "topic");
        equal("TagA", message.getTags(), "tags");
        equal("OrderID" + number, message.getKeys(), "keys");
        equal(result.getMsgId(), message.getMsgId(), "message id");
        equal(result.getMessageQueue().getQueueId(), message.getQueueId(), "queue");
        equal(result.getMessageQueue().getBrokerName(), message.getBrokerName(), "broker");
        equal(result.getQueueOffset(), message.getQueueOffset(), "queue offset");
        equal(0, message.getReconsumeTimes(), "reconsumeTimes");
        equal(0, message.getSysFlag(), "sysFlag");
        equal(0, message.getFlag(), "flag");
        equal((int) Kit.crc(message.getBody()) & 0x7FFFFFFF, message.getBodyCRC(), "body checksum");
        check(message.getStoreTimestamp() >= message.getBornTimestamp(), "stored before it was born");
        check(message.getCommitLogOffset() >= 0, "place in the log");
        check(message.getBornHostString().length() > 0, "born host");
        Map<String, String> properties = Kit.properties(message);
        Map<String, String> want = new HashMap<>();
        want.put("TAGS", "TagA");
        want.put("KEYS", "OrderID" + number);
        want.put("UNIQ_KEY", result.getMsgId());
        want.put("CLUSTER", "DefaultCluster");
        want.put("MSG_REGION", "DefaultRegion");
        want.put("TRACE_ON", "true");
        // 5.x leaves the default of WAIT away.
        want.put("WAIT", properties.getOrDefault("WAIT", "true"));
        properties.putIfAbsent("WAIT", "true");
        equal(new java.util.TreeMap<>(want), new java.util.TreeMap<>(properties), "properties");
    }

    /** The consumer starts before its topic exists, finds it when the first message creates it, and misses none. */
    private static void consumerFirst(Kit kit) throws Exception {
        String topic = kit.topic();
        Inbox inbox = new Inbox().attach(kit.pushConsumer(kit.group()), topic, "*");
        DefaultMQProducer producer = kit.producer();
        List<String> sent = new ArrayList<>();
        for (int i = 0; i < 20; i++) {
            producer.send(new Message(topic, text("m" + i)));
            sent.add("m" + i);
        }
        inbox.awaitBodies(new TreeSet<>(sent), 90);
        equal(20, inbox.size(), "deliveries");
    }
}
