package interop;

import static interop.Kit.check;
import static interop.Kit.equal;
import static interop.Kit.eventually;
import static interop.Kit.fails;
import static interop.Kit.sameSet;
import static interop.Kit.text;

import interop.Main.Case;
import interop.Main.Phase;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeSet;
import java.util.concurrent.atomic.AtomicReference;
import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.consumer.listener.ConsumeConcurrentlyStatus;
import org.apache.rocketmq.client.consumer.listener.MessageListenerConcurrently;
import org.apache.rocketmq.client.exception.MQClientException;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.client.producer.SendResult;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageQueue;
import org.apache.rocketmq.tools.admin.DefaultMQAdminExt;

/** What administrators ask of consumers that are under way: by way of the broker, with Apache's own admin client. */
final class RelayCases {
    private static final int COUNT = 20;

    private RelayCases() {}

    static void add(List<Case> cases) {
        cases.add(new Case("relay.running_info", Phase.TOGETHER, RelayCases::runningInfo));
        cases.add(new Case("relay.inconsistent_group", Phase.TOGETHER, RelayCases::inconsistentGroup));
        cases.add(new Case("relay.consume_directly", Phase.TOGETHER, RelayCases::consumeDirectly));
        cases.add(new Case("reset.online_back", Phase.TOGETHER, RelayCases::resetOnlineBack));
        cases.add(new Case("reset.offline", Phase.TOGETHER, RelayCases::resetOffline));
        cases.add(new Case("reset.clone_online", Phase.TOGETHER, RelayCases::cloneOnline));
    }

    /** Sends messages PREFIX0, PREFIX1, … to the topic's queues in turn; their bodies. */
    private static Set<String> send(DefaultMQProducer producer, String topic, String prefix) throws Exception {
        List<MessageQueue> queues = Kit.queues(producer, topic);
        Set<String> bodies = new TreeSet<>();
        for (int i = 0; i < COUNT; i++) {
            producer.send(new Message(topic, text(prefix + i)), queues.get(i % queues.size()));
            bodies.add(prefix + i);
        }
        return bodies;
    }

    /** Waits until the broker has these offsets, in all, of a consumer's group. */
    private static void committed(DefaultMQPushConsumer consumer, String topic, long want) throws Exception {
        long[] got = new long[1];
        try {
            eventually(30, "", () -> {
                got[0] = Kit.committed(consumer, topic);
                return got[0] == want;
            });
        } catch (AssertionError e) {
            throw new AssertionError("committed: want " + want + " in all, got " + got[0] + " after 30 s");
        }
    }

    /** A consumer that has got all that was sent to its topic of four queues. */
    private record Consuming(DefaultMQProducer producer, String topic, String group, Set<String> sent, DefaultMQPushConsumer consumer, Inbox inbox) {
        static Consuming start(Kit kit) throws Exception {
            DefaultMQProducer producer = kit.producer();
            String topic = kit.createdTopic(producer, 4);
            String group = kit.group();
            Set<String> sent = send(producer, topic, "m");
            DefaultMQPushConsumer consumer = kit.pushConsumer(group);
            Inbox inbox = new Inbox().attach(consumer, topic, "*");
            inbox.awaitBodies(sent, 30);
            return new Consuming(producer, topic, group, sent, consumer, inbox);
        }
    }

    private static void runningInfo(Kit kit) throws Exception {
        DefaultMQAdminExt admin = kit.admin();
        Consuming consuming = Consuming.start(kit);
        String topic = consuming.topic();
        String group = consuming.group();
        String id = consuming.consumer().getDefaultMQPushConsumerImpl().getmQClientFactory().getClientId();

        var info = admin.getConsumerRunningInfo(group, id, false);
        equal("CONSUME_PASSIVELY", String.valueOf(info.getProperties().get("PROP_CONSUME_TYPE")), "how it consumes");
        equal(4, (int) info.getMqTable().keySet().stream().filter(mq -> mq.getTopic().equals(topic)).count(), "its queues");
        check(info.getSubscriptionSet().stream().anyMatch(s -> s.getTopic().equals(topic)), "what it subscribes to: %s", info.getSubscriptionSet());
        check(info.getJstack() == null, "no stacks wanted");
        var full = admin.getConsumerRunningInfo(group, id, true);
        check(full.getJstack().contains("java.lang.Thread"), "stacks wanted: %s", full.getJstack());

        Map<String, Map<MessageQueue, Long>> status = admin.getConsumeStatus(topic, group, "");
        equal(Set.of(id), status.keySet(), "clients that told how far they are");
        equal(4, status.get(id).size(), "queues of which it told");
        equal((long) COUNT, status.get(id).values().stream().mapToLong(Long::longValue).sum(), "how far it is");

        MQClientException unknown = fails(MQClientException.class, "asking one that is not there", () -> admin.getConsumerRunningInfo(group, "nobody", false));
        equal(1, unknown.getResponseCode(), "code");
        check(unknown.getMessage().contains("The Consumer <" + group + "> <nobody> not online"), "text: %s", unknown.getMessage());
    }

    /** Members of a group that subscribe to different things: what mqadmin consumerStatus finds. */
    private static void inconsistentGroup(Kit kit) throws Exception {
        DefaultMQAdminExt admin = kit.admin();
        DefaultMQProducer producer = kit.producer();
        String topic = kit.createdTopic(producer, 4);
        String group = kit.group();
        List<DefaultMQPushConsumer> consumers = List.of(kit.pushConsumer(group), kit.pushConsumer(group), kit.pushConsumer(group));
        for (int i = 0; i < consumers.size(); i++) {
            new Inbox().attach(consumers.get(i), topic, i == 2 ? "TagA" : "*");
        }
        eventually(60, "all are known", () -> admin.examineConsumerConnectionInfo(group).getConnectionSet().size() == 3);
        check(consistent(admin, group, consumers.subList(0, 2)), "two that subscribe to the same");
        check(!consistent(admin, group, consumers), "three of which one subscribes to something else");
    }

    /**
     * Whether clients subscribe to the same, as Apache's tool looks at it: by topic and expression. (The tool itself does so only with clients
     * that have been up for two minutes.)
     */
    private static boolean consistent(DefaultMQAdminExt admin, String group, List<DefaultMQPushConsumer> consumers) throws Exception {
        Set<Object> different = new HashSet<>();
        for (DefaultMQPushConsumer consumer : consumers) {
            String id = consumer.getDefaultMQPushConsumerImpl().getmQClientFactory().getClientId();
            Set<String> subscribed = new TreeSet<>();
            admin.getConsumerRunningInfo(group, id, false).getSubscriptionSet().forEach(s -> subscribed.add(s.getTopic() + "@" + s.getSubString()));
            check(subscribed.size() == 2, "a topic and the retry topic: %s", subscribed);
            different.add(subscribed);
        }
        return different.size() == 1;
    }

    private static void consumeDirectly(Kit kit) throws Exception {
        DefaultMQAdminExt admin = kit.admin();
        DefaultMQProducer producer = kit.producer();
        String topic = kit.createdTopic(producer, 1);
        String group = kit.group();
        SendResult sent = producer.send(new Message(topic, "TagA", "the-key", text("look at me")));
        AtomicReference<String> way = new AtomicReference<>("once");
        Inbox inbox = new Inbox();
        DefaultMQPushConsumer consumer = kit.pushConsumer(group);
        consumer.subscribe(topic, "*");
        consumer.registerMessageListener((MessageListenerConcurrently) (messages, context) -> {
            messages.forEach(m -> inbox.add(m, way.get()));
            if (way.get().equals("throw")) {
                throw new IllegalStateException("not now");
            }
            return way.get().equals("later") ? ConsumeConcurrentlyStatus.RECONSUME_LATER : ConsumeConcurrentlyStatus.CONSUME_SUCCESS;
        });
        consumer.start();
        inbox.await(1, 30);
        String id = consumer.getDefaultMQPushConsumerImpl().getmQClientFactory().getClientId();
        Map<String, String> results = Map.of("once", "CR_SUCCESS", "later", "CR_LATER", "throw", "CR_THROW_EXCEPTION");
        int count = 1;
        for (String one : List.of("once", "later", "throw")) {
            way.set(one);
            // By its offset id and by its unique id.
            for (String messageId : List.of(sent.getOffsetMsgId(), sent.getMsgId())) {
                var result = admin.consumeMessageDirectly(group, id, topic, messageId);
                equal(results.get(one), String.valueOf(result.getConsumeResult()), "how it went, " + one);
                inbox.await(++count, 10);
                var arrival = inbox.arrivals().get(count - 1);
                equal("look at me", text(arrival.message()), "body");
                equal("the-key", arrival.message().getKeys(), "key");
                equal(one, arrival.consumer(), "way");
            }
        }
        way.set("once");
        check(inbox.size() == count, "it came %d times", inbox.size());
    }

    /** Consumed, committed, and set back while the consumer waits for more: all of it once more, and then on from there. */
    private static void resetOnlineBack(Kit kit) throws Exception {
        DefaultMQAdminExt admin = kit.admin();
        Consuming consuming = Consuming.start(kit);
        String topic = consuming.topic();
        Inbox inbox = consuming.inbox();
        committed(consuming.consumer(), topic, COUNT);
        equal(COUNT, inbox.size(), "deliveries before");

        Map<MessageQueue, Long> reset = admin.resetOffsetByTimestamp(topic, consuming.group(), 0, true);
        equal(4, reset.size(), "queues reset");
        equal(0L, reset.values().stream().mapToLong(Long::longValue).sum(), "reset to");
        // A 4.x client takes 10 s to obey, and then up to 20 s until it shares out the queues again.
        inbox.await(2 * COUNT, 60);
        Set<String> sent = new TreeSet<>(consuming.sent());
        sent.addAll(send(consuming.producer(), topic, "n"));
        inbox.awaitBodies(sent, 60);
        for (String body : sent) {
            equal(body.startsWith("m") ? 2 : 1, inbox.of(m -> text(m).equals(body)).size(), "deliveries of " + body);
        }
        committed(consuming.consumer(), topic, 2 * COUNT);
    }

    /** Set while nobody consumes: to a time between two batches, and to the end. */
    private static void resetOffline(Kit kit) throws Exception {
        DefaultMQAdminExt admin = kit.admin();
        DefaultMQProducer producer = kit.producer();
        String topic = kit.createdTopic(producer, 2);
        String group = kit.group();
        Set<String> first = send(producer, topic, "a");
        DefaultMQPushConsumer consumer = kit.pushConsumer(group);
        Inbox inbox = new Inbox().attach(consumer, topic, "*");
        inbox.awaitBodies(first, 30);
        committed(consumer, topic, COUNT);
        consumer.shutdown();
        Thread.sleep(50);
        long between = System.currentTimeMillis();
        Thread.sleep(50);
        Set<String> second = send(producer, topic, "b");
        DefaultMQPushConsumer later = kit.pushConsumer(group);
        Inbox rest = new Inbox().attach(later, topic, "*");
        rest.awaitBodies(second, 30);
        committed(later, topic, 2 * COUNT);
        later.shutdown();

        admin.resetOffsetByTimestamp(topic, group, between, true);
        DefaultMQPushConsumer back = kit.pushConsumer(group);
        Inbox again = new Inbox().attach(back, topic, "*");
        again.awaitBodies(second, 30);
        committed(back, topic, 2 * COUNT);
        back.shutdown();
        sameSet(second, again.bodies(), "from the time on");
        equal(COUNT, again.size(), "deliveries");

        Set<String> skipped = send(producer, topic, "c");
        admin.resetOffsetByTimestamp(topic, group, -1, true);
        Set<String> last = send(producer, topic, "d");
        DefaultMQPushConsumer end = kit.pushConsumer(group);
        Inbox after = new Inbox().attach(end, topic, "*");
        after.awaitBodies(last, 30);
        committed(end, topic, 4 * COUNT);
        sameSet(last, after.bodies(), "from the end on, without " + skipped.size());
    }

    /** The offsets of one group are given to another whose consumer is under way. */
    private static void cloneOnline(Kit kit) throws Exception {
        // Apache writes the offsets under the group, and the next commit of its consumer undoes that.
        boolean keeps = Boolean.getBoolean("durable.offsets");
        DefaultMQAdminExt admin = kit.admin();
        DefaultMQProducer producer = kit.producer();
        String topic = kit.createdTopic(producer, 1);
        Set<String> sent = send(producer, topic, "m");
        String behind = kit.group();
        DefaultMQPushConsumer slow = kit.pushConsumer(behind);
        new Inbox().attach(slow, topic, "*").awaitBodies(sent, 30);
        committed(slow, topic, COUNT);
        slow.shutdown();
        admin.resetOffsetByTimestamp(topic, behind, 0, true);
        String group = kit.group();
        DefaultMQPushConsumer consumer = kit.pushConsumer(group);
        Inbox inbox = new Inbox().attach(consumer, topic, "*");
        inbox.awaitBodies(sent, 30);
        committed(consumer, topic, COUNT);
        admin.cloneGroupOffset(behind, group, topic, true);
        if (keeps) {
            inbox.await(2 * COUNT, 60);
        }
        committed(consumer, topic, COUNT);
        equal(keeps ? 2 * COUNT : COUNT, inbox.size(), "deliveries");
    }
}
