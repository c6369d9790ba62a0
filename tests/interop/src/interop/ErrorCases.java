package interop;

import static interop.Kit.check;
import static interop.Kit.equal;
import static interop.Kit.fails;
import static interop.Kit.text;

import interop.Main.Case;
import interop.Main.Phase;
import java.util.List;
import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.exception.MQBrokerException;
import org.apache.rocketmq.client.exception.MQClientException;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.client.producer.SendResult;
import org.apache.rocketmq.client.producer.SendStatus;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageQueue;

/** What programs see when they ask for what cannot be. */
final class ErrorCases {
    /** The client's own code for a topic without a route. */
    private static final int NOT_FOUND_TOPIC = 10005;

    private ErrorCases() {}

    static void add(List<Case> cases) {
        cases.add(new Case("noauto.unknown_topic", Phase.TOGETHER, ErrorCases::unknownTopic));
        cases.add(new Case("error.names", Phase.TOGETHER, ErrorCases::names));
        cases.add(new Case("error.too_large", Phase.TOGETHER, ErrorCases::tooLarge));
        cases.add(new Case("error.queue_id", Phase.TOGETHER, ErrorCases::queueId));
        cases.add(new Case("error.no_route", Phase.TOGETHER, ErrorCases::noRoute));
        cases.add(new Case("error.duplicate_group", Phase.TOGETHER, ErrorCases::duplicateGroup));
    }

    private static void unknownTopic(Kit kit) throws Exception {
        DefaultMQProducer producer = kit.newProducer();
        producer.setNamesrvAddr(Kit.NAMESRV_NO_AUTO);
        producer.start();
        String unknown = kit.topic();
        MQClientException e = fails(MQClientException.class, "send to an unknown topic", () -> producer.send(new Message(unknown, text("x"))));
        equal(NOT_FOUND_TOPIC, e.getResponseCode(), "code of " + e);
        fails(MQClientException.class, "queues of an unknown topic", () -> producer.fetchPublishMessageQueues(unknown));
        // Asking for it explicitly works.
        String topic = kit.topic();
        DefaultMQProducer other = kit.newProducer();
        other.setNamesrvAddr(Kit.NAMESRV_NO_AUTO);
        other.start();
        // A broker is found through the route of some topic; createTopic needs one that exists everywhere.
        Kit.eventually(30, "topic created", () -> {
            try {
                Kit.createTopic(other, "SELF_TEST_TOPIC", topic, 2);
                return true;
            } catch (MQClientException again) {
                return false;
            }
        });
        Kit.eventually(60, "the created topic takes messages", () -> {
            try {
                return other.send(new Message(topic, text("x"))).getSendStatus() == SendStatus.SEND_OK;
            } catch (MQClientException again) {
                return false;
            }
        });
    }

    /** The client refuses bad names by itself (code 13 or -1); what a server answers is asked by tests/compare. */
    private static void names(Kit kit) throws Exception {
        DefaultMQProducer producer = kit.producer();
        for (String topic : new String[] {"", "../../x", "a b", "a.b", "主题", "a\u0007b", "n".repeat(128)}) {
            fails(MQClientException.class, "topic \"" + topic + "\"", () -> producer.send(new Message(topic, text("x"))));
        }
        String longest = ("L" + Kit.RUN + "-").repeat(20).substring(0, 127);
        equal(SendStatus.SEND_OK, producer.send(new Message(longest, text("x"))).getSendStatus(), "127 characters");
        for (String topic : new String[] {"SCHEDULE_TOPIC_XXXX", "RMQ_SYS_TRANS_HALF_TOPIC"}) {
            fails(MQClientException.class, "topic " + topic, () -> producer.send(new Message(topic, text("x"))));
        }
        String odd = "%odd|name-_" + Kit.RUN;
        equal(SendStatus.SEND_OK, producer.send(new Message(odd, text("x"))).getSendStatus(), "all allowed characters");
        for (String group : new String[] {"", "../../x", "a b", "DEFAULT_PRODUCER", "n".repeat(256)}) {
            DefaultMQProducer bad = kit.newProducer();
            bad.setProducerGroup(group);
            fails(MQClientException.class, "producer group \"" + group + "\"", () -> {
                bad.start();
                return null;
            });
        }
    }

    private static void tooLarge(Kit kit) throws Exception {
        DefaultMQProducer producer = kit.newProducer();
        producer.setMaxMessageSize(16 << 20);
        producer.setCompressMsgBodyOverHowmuch(Integer.MAX_VALUE);
        producer.setSendMsgTimeout(20000);
        producer.start();
        String topic = kit.createdTopic(producer, 1);
        for (int size : new int[] {(4 << 20) + 1, 8 << 20}) {
            MQBrokerException e = fails(MQBrokerException.class, size + " bytes", () -> producer.send(new Message(topic, new byte[size])));
            equal(13, e.getResponseCode(), "code for " + size + " bytes");
            check(e.getErrorMessage().contains("msg body length limit 4194304B"), "message %s", e.getErrorMessage());
        }
        SendResult result = producer.send(new Message(topic, text("still works")));
        equal(0L, result.getQueueOffset(), "offset after the refused ones");
    }

    private static void queueId(Kit kit) throws Exception {
        DefaultMQProducer producer = kit.producer();
        String topic = kit.createdTopic(producer, 4);
        String broker = Kit.queues(producer, topic).get(0).getBrokerName();
        for (int id : new int[] {4, 99, Integer.MAX_VALUE}) {
            MQBrokerException e = fails(MQBrokerException.class, "queue " + id, () -> producer.send(new Message(topic, text("x")), new MessageQueue(topic, broker, id)));
            equal(29, e.getResponseCode(), "code for queue " + id);
        }
        equal(0L, Kit.stored(producer, topic), "stored");
    }

    private static void noRoute(Kit kit) throws Exception {
        DefaultMQProducer producer = kit.newProducer();
        // Port 1 on this machine: nobody listens.
        producer.setNamesrvAddr("127.0.0.1:1");
        producer.start();
        Exception e = fails(Exception.class, "no name server", () -> producer.send(new Message(kit.topic(), text("x"))));
        // 5.3 names no address.
        check(String.valueOf(e.getMessage()).contains("127.0.0.1:1") || e.toString().contains("No route info") || e.toString().contains("connect to null failed"), "%s", e);
        // A topic that nobody has, in a query that must not create it.
        DefaultMQProducer good = kit.producer();
        String unknown = kit.topic();
        fails(MQClientException.class, "queues of an unknown topic", () -> good.fetchPublishMessageQueues(unknown));
    }

    private static void duplicateGroup(Kit kit) throws Exception {
        DefaultMQPushConsumer consumer = kit.pushConsumer(kit.group());
        new Inbox().attach(consumer, kit.topic(), "*");
        DefaultMQPushConsumer second = kit.pushConsumer(consumer.getConsumerGroup());
        second.setInstanceName(consumer.getInstanceName());
        fails(MQClientException.class, "the same group twice in one client", () -> new Inbox().attach(second, kit.topic(), "*"));
        fails(MQClientException.class, "the default consumer group", () -> new Inbox().attach(kit.pushConsumer("DEFAULT_CONSUMER"), kit.topic(), "*"));
    }
}
