package interop;

import static interop.Kit.check;
import static interop.Kit.equal;
import static interop.Kit.text;

import interop.Main.Case;
import interop.Main.Phase;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeSet;
import org.apache.rocketmq.client.consumer.DefaultMQPullConsumer;
import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.consumer.PullResult;
import org.apache.rocketmq.client.consumer.PullStatus;
import org.apache.rocketmq.client.consumer.listener.ConsumeConcurrentlyStatus;
import org.apache.rocketmq.client.consumer.listener.MessageListenerConcurrently;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.client.producer.SendResult;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageExt;
import org.apache.rocketmq.common.message.MessageQueue;

/**
 * Messages that a consumer refuses come back, later each time, and end in the group's dead-letter topic. The server
 * runs with messageDelayLevel `1s 1s 1s 2s 3s …`: the first retry is level 3.
 */
final class RetryCases {
    private RetryCases() {}

    static void add(List<Case> cases) {
        cases.add(new Case("retry.until_dead_letter", Phase.TOGETHER, RetryCases::untilDeadLetter));
        cases.add(new Case("retry.then_success", Phase.TOGETHER, RetryCases::thenSuccess));
        cases.add(new Case("retry.straight_to_dead_letter", Phase.TOGETHER, RetryCases::straight));
        cases.add(new Case("retry.part_of_a_batch", Phase.TOGETHER, RetryCases::partOfBatch));
        cases.add(new Case("retry.send_message_back", Phase.TOGETHER, RetryCases::sendMessageBack));
    }

    private static void untilDeadLetter(Kit kit) throws Exception {
        DefaultMQProducer producer = kit.producer();
        String topic = kit.createdTopic(producer, 4);
        String group = kit.group();
        DefaultMQPushConsumer consumer = kit.pushConsumer(group);
        consumer.setMaxReconsumeTimes(3);
        consumer.subscribe(topic, "TagA || TagR");
        Inbox inbox = new Inbox();
        consumer.registerMessageListener((MessageListenerConcurrently) (messages, context) -> {
            for (MessageExt message : messages) {
                inbox.add(message);
                switch (text(message)) {
                    case "later" -> {
                        return ConsumeConcurrentlyStatus.RECONSUME_LATER;
                    }
                    case "throws" -> throw new IllegalStateException("on purpose");
                    case "null" -> {
                        return null;
                    }
                    default -> { }
                }
            }
            return ConsumeConcurrentlyStatus.CONSUME_SUCCESS;
        });
        consumer.start();
        Map<String, SendResult> sent = new HashMap<>();
        for (String body : new String[] {"later", "good", "throws", "null"}) {
            Message message = new Message(topic, body.equals("later") ? "TagR" : "TagA", "key-" + body, text(body));
            message.putUserProperty("user", body + " property");
            sent.put(body, producer.send(message));
        }
        inbox.await(3 * 4 + 1, 150);
        for (String body : new String[] {"later", "throws", "null"}) {
            List<Inbox.Arrival> attempts = inbox.of(m -> text(m).equals(body));
            equal(4, attempts.size(), "attempts of " + body);
            for (int i = 0; i < 4; i++) {
                equal(i, attempts.get(i).reconsumeTimes(), "reconsumeTimes of attempt " + i + " of " + body);
                verifyAttempt(attempts.get(i).message(), i, topic, group, sent.get(body), body);
            }
            // Levels 4 and 5 are 2 s and 3 s. (The first retry also waits for the client to learn of its retry topic.)
            double second = (attempts.get(2).nanos() - attempts.get(1).nanos()) / 1e9;
            double third = (attempts.get(3).nanos() - attempts.get(2).nanos()) / 1e9;
            check(second > 1.2 && third > 2.2, "retries of %s after %.2f s and %.2f s", body, second, third);
            if (body.equals("later")) {
                kit.note("retries after %.1f, %.1f, %.1f s", (attempts.get(1).nanos() - attempts.get(0).nanos()) / 1e9, second, third);
            }
        }
        equal(1, inbox.of(m -> text(m).equals("good")).size(), "attempts of a good message");
        for (MessageExt dead : deadLetters(kit, group, 3)) {
            String body = text(dead);
            equal("%DLQ%" + group, dead.getTopic(), "topic of the dead letter");
            equal("key-" + body, dead.getKeys(), "keys of the dead letter");
            equal(body + " property", dead.getUserProperty("user"), "user property of the dead letter");
            equal(topic, dead.getProperty("RETRY_TOPIC"), "RETRY_TOPIC of the dead letter");
            equal(sent.remove(body).getOffsetMsgId(), dead.getProperty("ORIGIN_MESSAGE_ID"), "ORIGIN_MESSAGE_ID of the dead letter " + body);
            equal(4, dead.getReconsumeTimes(), "reconsumeTimes of the dead letter");
            check(Set.of("0", "null").contains(String.valueOf(dead.getProperty("DELAY"))), "DELAY of the dead letter %s", dead.getProperty("DELAY"));
        }
        equal(Set.of("good"), sent.keySet(), "messages without a dead letter");
        equal(13, inbox.size(), "deliveries");
    }

    private static void verifyAttempt(MessageExt message, int attempt, String topic, String group, SendResult sent, String body) {
        equal(topic, message.getTopic(), "topic shown to the listener");
        equal(sent.getMsgId(), message.getMsgId(), "id");
        equal("key-" + body, message.getKeys(), "keys");
        equal(body.equals("later") ? "TagR" : "TagA", message.getTags(), "tags");
        equal(body + " property", message.getUserProperty("user"), "user property");
        if (attempt == 0) {
            equal(null, message.getProperty("RETRY_TOPIC"), "RETRY_TOPIC of the first attempt");
            equal(sent.getQueueOffset(), message.getQueueOffset(), "offset of the first attempt");
            return;
        }
        equal(topic, message.getProperty("RETRY_TOPIC"), "RETRY_TOPIC");
        equal(sent.getOffsetMsgId(), message.getProperty("ORIGIN_MESSAGE_ID"), "ORIGIN_MESSAGE_ID");
        equal("%RETRY%" + group, message.getProperty("REAL_TOPIC"), "REAL_TOPIC");
        equal("0", message.getProperty("REAL_QID"), "REAL_QID");
        equal(Integer.toString(2 + attempt), message.getProperty("DELAY"), "DELAY");
        equal(0, message.getQueueId(), "queue of the retry topic");
    }

    /** Reads the dead letters of a group with a pull consumer, as a tool would. */
    @SuppressWarnings("deprecation")
    static List<MessageExt> deadLetters(Kit kit, String group, int count) throws Exception {
        DefaultMQPullConsumer puller = kit.pullConsumer(kit.group());
        String topic = "%DLQ%" + group;
        List<MessageExt> letters = new ArrayList<>();
        Kit.eventually(60, count + " dead letters of " + group, () -> {
            letters.clear();
            Set<MessageQueue> queues;
            try {
                queues = puller.fetchSubscribeMessageQueues(topic);
            } catch (org.apache.rocketmq.client.exception.MQClientException e) {
                return false;
            }
            equal(1, queues.size(), "queues of the dead-letter topic");
            for (MessageQueue queue : queues) {
                PullResult result = puller.pull(queue, "*", 0, 32);
                if (result.getPullStatus() == PullStatus.FOUND) {
                    letters.addAll(result.getMsgFoundList());
                }
            }
            return letters.size() >= count;
        });
        equal(count, letters.size(), "dead letters");
        return letters;
    }

    private static void thenSuccess(Kit kit) throws Exception {
        DefaultMQProducer producer = kit.producer();
        String topic = kit.createdTopic(producer, 4);
        String group = kit.group();
        DefaultMQPushConsumer consumer = kit.pushConsumer(group);
        consumer.subscribe(topic, "*");
        Inbox inbox = new Inbox();
        consumer.registerMessageListener((MessageListenerConcurrently) (messages, context) -> {
            messages.forEach(inbox::add);
            return messages.get(0).getReconsumeTimes() < 2 ? ConsumeConcurrentlyStatus.RECONSUME_LATER : ConsumeConcurrentlyStatus.CONSUME_SUCCESS;
        });
        consumer.start();
        int count = 50;
        Set<String> want = new TreeSet<>();
        for (int i = 0; i < count; i++) {
            producer.send(new Message(topic, text("m" + i)));
            want.add("m" + i);
        }
        inbox.await(3 * count, 120);
        for (String body : want) {
            List<Integer> times = inbox.of(m -> text(m).equals(body)).stream().map(Inbox.Arrival::reconsumeTimes).toList();
            equal(List.of(0, 1, 2), times, "attempts of " + body);
        }
        // Progress of the retry topic is committed: the same group gets nothing again after a restart but what is new.
        consumer.shutdown();
        producer.send(new Message(topic, text("new")));
        Inbox again = new Inbox().attach(kit.pushConsumer(group), topic, "*");
        again.awaitBodies(Set.of("new"), 60);
        equal(Set.of("new"), again.bodies(), "bodies after the restart");
        equal(3 * count, inbox.size(), "deliveries before the restart");
    }

    private static void straight(Kit kit) throws Exception {
        DefaultMQProducer producer = kit.producer();
        String topic = kit.createdTopic(producer, 1);
        String group = kit.group();
        DefaultMQPushConsumer consumer = kit.pushConsumer(group);
        consumer.subscribe(topic, "*");
        Inbox inbox = new Inbox();
        consumer.registerMessageListener((MessageListenerConcurrently) (messages, context) -> {
            messages.forEach(inbox::add);
            context.setDelayLevelWhenNextConsume(-1);
            return ConsumeConcurrentlyStatus.RECONSUME_LATER;
        });
        consumer.start();
        SendResult sent = producer.send(new Message(topic, "T", "k", text("dead at once")));
        inbox.await(1, 60);
        MessageExt dead = deadLetters(kit, group, 1).get(0);
        equal("dead at once", text(dead), "body");
        equal(sent.getMsgId(), dead.getMsgId(), "id");
        equal(sent.getOffsetMsgId(), dead.getProperty("ORIGIN_MESSAGE_ID"), "ORIGIN_MESSAGE_ID");
        equal(topic, dead.getProperty("RETRY_TOPIC"), "RETRY_TOPIC");
        equal(1, inbox.size(), "attempts");
    }

    /** Of a batch, only what comes after the acknowledged part is retried. */
    private static void partOfBatch(Kit kit) throws Exception {
        DefaultMQProducer producer = kit.producer();
        String topic = kit.createdTopic(producer, 1);
        MessageQueue queue = Kit.queues(producer, topic).get(0);
        List<Message> batch = new ArrayList<>();
        for (int i = 0; i < 10; i++) {
            batch.add(new Message(topic, text("m" + i)));
        }
        producer.send(batch, queue);
        DefaultMQPushConsumer consumer = kit.pushConsumer(kit.group());
        consumer.setConsumeMessageBatchMaxSize(10);
        consumer.subscribe(topic, "*");
        Inbox inbox = new Inbox();
        consumer.registerMessageListener((MessageListenerConcurrently) (messages, context) -> {
            messages.forEach(inbox::add);
            if (messages.size() == 10) {
                context.setAckIndex(5);
            }
            return ConsumeConcurrentlyStatus.CONSUME_SUCCESS;
        });
        consumer.start();
        inbox.await(14, 90);
        List<Inbox.Arrival> arrivals = inbox.arrivals();
        equal(10L, arrivals.stream().filter(a -> a.reconsumeTimes() == 0).count(), "first attempts");
        Set<String> retried = new TreeSet<>();
        arrivals.stream().filter(a -> a.reconsumeTimes() == 1).forEach(a -> retried.add(text(a.message())));
        Kit.sameSet(new TreeSet<>(Set.of("m6", "m7", "m8", "m9")), retried, "retried");
        equal(14, inbox.size(), "deliveries");
    }

    /** The call that a program makes itself, with a level of its choice (5: 3 s). */
    private static void sendMessageBack(Kit kit) throws Exception {
        DefaultMQProducer producer = kit.producer();
        String topic = kit.createdTopic(producer, 1);
        DefaultMQPushConsumer consumer = kit.pushConsumer(kit.group());
        consumer.subscribe(topic, "*");
        Inbox inbox = new Inbox();
        List<Exception> failures = new ArrayList<>();
        consumer.registerMessageListener((MessageListenerConcurrently) (messages, context) -> {
            for (MessageExt message : messages) {
                inbox.add(message);
                try {
                    if (message.getReconsumeTimes() == 0) {
                        consumer.sendMessageBack(message, 5);
                    }
                } catch (Exception e) {
                    failures.add(e);
                }
            }
            return ConsumeConcurrentlyStatus.CONSUME_SUCCESS;
        });
        consumer.start();
        producer.send(new Message(topic, text("warm-up")));
        inbox.await(2, 90);
        producer.send(new Message(topic, text("back")));
        inbox.await(4, 60);
        List<Inbox.Arrival> attempts = inbox.of(m -> text(m).equals("back"));
        equal(2, attempts.size(), "attempts");
        double seconds = (attempts.get(1).nanos() - attempts.get(0).nanos()) / 1e9;
        check(seconds > 2.0 && seconds < 15, "came back after %.2f s", seconds);
        equal(1, attempts.get(1).reconsumeTimes(), "reconsumeTimes");
        equal(topic, attempts.get(1).message().getTopic(), "topic");
        check(failures.isEmpty(), "sendMessageBack: %s", failures);
    }
}
