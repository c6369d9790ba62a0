package interop;

import static interop.Kit.check;
import static interop.Kit.equal;
import static interop.Kit.fails;
import static interop.Kit.text;

import interop.Main.Case;
import interop.Main.Phase;
import java.text.SimpleDateFormat;
import java.util.ArrayList;
import java.util.Date;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeSet;
import org.apache.rocketmq.client.QueryResult;
import org.apache.rocketmq.client.consumer.DefaultLitePullConsumer;
import org.apache.rocketmq.client.consumer.DefaultMQPullConsumer;
import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.consumer.PullResult;
import org.apache.rocketmq.client.consumer.PullStatus;
import org.apache.rocketmq.client.exception.MQBrokerException;
import org.apache.rocketmq.client.exception.MQClientException;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.client.producer.SendResult;
import org.apache.rocketmq.common.consumer.ConsumeFromWhere;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageExt;
import org.apache.rocketmq.common.message.MessageQueue;

/** Where consumption starts and goes on, the pull consumers, what an administrator's calls say, look-ups. */
final class OffsetCases {
    /** What clients make of a query without a result: the broker's QUERY_NOT_FOUND, or a code of their own. */
    private static final Set<Integer> NOT_FOUND = Set.of(22, 208);

    private OffsetCases() {}

    static void add(List<Case> cases) {
        cases.add(new Case("offset.resume", Phase.TOGETHER, OffsetCases::resume));
        cases.add(new Case("offset.from_where", Phase.TOGETHER, OffsetCases::fromWhere));
        cases.add(new Case("offset.lite_pull_subscribe", Phase.TOGETHER, OffsetCases::litePullSubscribe));
        cases.add(new Case("offset.lite_pull_assign", Phase.TOGETHER, OffsetCases::litePullAssign));
        cases.add(new Case("offset.pull_consumer", Phase.TOGETHER, OffsetCases::pullConsumer));
        cases.add(new Case("offset.admin_calls", Phase.TOGETHER, OffsetCases::adminCalls));
        cases.add(new Case("lookup.view_and_query", Phase.TOGETHER, OffsetCases::lookUp));
        cases.add(new Case("topic.create", Phase.TOGETHER, OffsetCases::createTopic));
    }

    private static Set<String> send(DefaultMQProducer producer, String topic, String prefix, int count) throws Exception {
        Set<String> bodies = new TreeSet<>();
        for (int i = 0; i < count; i++) {
            producer.send(new Message(topic, text(prefix + i)));
            bodies.add(prefix + i);
        }
        return bodies;
    }

    private static void resume(Kit kit) throws Exception {
        DefaultMQProducer producer = kit.producer();
        String topic = kit.createdTopic(producer, 4);
        String group = kit.group();
        for (String round : new String[] {"a", "b", "c"}) {
            Set<String> want = send(producer, topic, round, 60);
            DefaultMQPushConsumer consumer = kit.pushConsumer(group);
            Inbox inbox = new Inbox().attach(consumer, topic, "*");
            inbox.awaitBodies(want, 60);
            consumer.shutdown();
            Kit.sameSet(want, inbox.bodies(), "bodies of round " + round);
            equal(60, inbox.size(), "deliveries of round " + round);
        }
    }

    /**
     * A new group on a young topic starts at its first message whatever it asks for, because the broker answers
     * offset 0 for it; only for a topic whose first messages are gone (or that is not in memory) the client's
     * choice would count. That is Apache's rule, and clients depend on missing nothing.
     */
    private static void fromWhere(Kit kit) throws Exception {
        DefaultMQProducer producer = kit.producer();
        String topic = kit.createdTopic(producer, 2);
        Set<String> want = send(producer, topic, "old", 20);
        Map<ConsumeFromWhere, Inbox> inboxes = new HashMap<>();
        for (ConsumeFromWhere where : new ConsumeFromWhere[] {ConsumeFromWhere.CONSUME_FROM_FIRST_OFFSET, ConsumeFromWhere.CONSUME_FROM_LAST_OFFSET, ConsumeFromWhere.CONSUME_FROM_TIMESTAMP}) {
            DefaultMQPushConsumer consumer = kit.pushConsumer(kit.group());
            consumer.setConsumeFromWhere(where);
            consumer.setConsumeTimestamp(new SimpleDateFormat("yyyyMMddHHmmss").format(new Date(System.currentTimeMillis() + 3_600_000)));
            inboxes.put(where, new Inbox().attach(consumer, topic, "*"));
        }
        want.addAll(send(producer, topic, "new", 20));
        for (Map.Entry<ConsumeFromWhere, Inbox> entry : inboxes.entrySet()) {
            entry.getValue().awaitBodies(want, 60);
            Kit.sameSet(want, entry.getValue().bodies(), "bodies " + entry.getKey());
            equal(40, entry.getValue().size(), "deliveries " + entry.getKey());
        }
    }

    private static void litePullSubscribe(Kit kit) throws Exception {
        DefaultMQProducer producer = kit.producer();
        String topic = kit.createdTopic(producer, 4);
        Set<String> want = send(producer, topic, "m", 100);
        String group = kit.group();
        DefaultLitePullConsumer consumer = kit.litePullConsumer(group);
        consumer.setAutoCommit(false);
        consumer.subscribe(topic, "*");
        consumer.start();
        Set<String> got = new TreeSet<>();
        int[] count = new int[1];
        Kit.eventually(60, "100 polled", () -> {
            for (MessageExt message : consumer.poll(200)) {
                got.add(text(message));
                count[0]++;
            }
            return got.size() >= 100;
        });
        Kit.sameSet(want, got, "polled");
        equal(100, count[0], "polled messages");
        consumer.commitSync();
        List<MessageQueue> queues = Kit.queues(producer, topic);
        // The committed offsets travel with the client's next round of persisting (5 s), at the latest with its end.
        consumer.shutdown();
        DefaultLitePullConsumer again = kit.litePullConsumer(group);
        again.subscribe(topic, "*");
        again.start();
        for (MessageQueue queue : queues) {
            equal(producer.maxOffset(queue), again.committed(queue), "committed offset of " + queue.getQueueId());
        }
        producer.send(new Message(topic, text("next")));
        List<String> next = new ArrayList<>();
        Kit.eventually(60, "the next one", () -> {
            again.poll(200).forEach(m -> next.add(text(m)));
            return !next.isEmpty();
        });
        equal(List.of("next"), next, "polled after the restart");
    }

    private static void litePullAssign(Kit kit) throws Exception {
        DefaultMQProducer producer = kit.producer();
        String topic = kit.createdTopic(producer, 2);
        List<MessageQueue> queues = Kit.queues(producer, topic);
        long[] times = new long[50];
        for (int i = 0; i < 50; i++) {
            producer.send(new Message(topic, text("m" + i)), queues.get(0));
            long now = System.currentTimeMillis();
            times[i] = now;
            while (System.currentTimeMillis() <= now + 1) {
                Thread.onSpinWait();
            }
        }
        DefaultLitePullConsumer consumer = kit.litePullConsumer(kit.group());
        consumer.setAutoCommit(false);
        consumer.start();
        equal(Set.copyOf(queues), Set.copyOf(consumer.fetchMessageQueues(topic)), "queues");
        consumer.assign(queues);
        MessageQueue queue = queues.get(0);
        consumer.seek(queue, 40);
        polled(consumer, range(40, 50), "after seek to 40");
        consumer.seekToBegin(queue);
        polled(consumer, range(0, 50), "after seek to the beginning");
        consumer.seekToEnd(queue);
        producer.send(new Message(topic, text("m50")), queue);
        polled(consumer, range(50, 51), "after seek to the end");
        Long at = consumer.offsetForTimestamp(queue, times[25] + 1);
        equal(26L, at, "offset for a time after message 25");
        consumer.seek(queue, at);
        polled(consumer, range(26, 51), "after seek to that time");
        fails(MQClientException.class, "seek beyond the end", () -> {
            consumer.seek(queue, 1000);
            return null;
        });
    }

    private static List<String> range(int from, int to) {
        List<String> bodies = new ArrayList<>();
        for (int i = from; i < to; i++) {
            bodies.add("m" + i);
        }
        return bodies;
    }

    /** A pull that was under way when the client seeked may still deliver (4.9.8), but then the wanted come, in order. */
    private static void polled(DefaultLitePullConsumer consumer, List<String> want, String what) throws Exception {
        List<String> bodies = new ArrayList<>();
        try {
            Kit.eventually(30, "", () -> {
                consumer.poll(100).forEach(m -> bodies.add(text(m)));
                return bodies.size() >= want.size() && want.equals(bodies.subList(bodies.size() - want.size(), bodies.size()));
            });
        } catch (AssertionError e) {
            equal(want, bodies, what);
        }
    }

    @SuppressWarnings("deprecation")
    private static void pullConsumer(Kit kit) throws Exception {
        DefaultMQProducer producer = kit.producer();
        String topic = kit.createdTopic(producer, 2);
        MessageQueue queue = Kit.queues(producer, topic).get(0);
        MessageQueue empty = Kit.queues(producer, topic).get(1);
        for (int i = 0; i < 100; i++) {
            producer.send(new Message(topic, i % 2 == 0 ? "Even" : "Odd", text("m" + i)), queue);
        }
        DefaultMQPullConsumer consumer = kit.pullConsumer(kit.group());
        equal(Set.copyOf(Kit.queues(producer, topic)), consumer.fetchSubscribeMessageQueues(topic), "queues");
        List<String> bodies = new ArrayList<>();
        long offset = 0;
        for (int round = 0; bodies.size() < 100 && round < 100; round++) {
            PullResult result = consumer.pull(queue, "*", offset, 32);
            equal(PullStatus.FOUND, result.getPullStatus(), "status at " + offset);
            check(result.getMsgFoundList().size() <= 32, "%d messages for 32", result.getMsgFoundList().size());
            equal(0L, result.getMinOffset(), "min offset");
            equal(100L, result.getMaxOffset(), "max offset");
            result.getMsgFoundList().forEach(m -> bodies.add(text(m)));
            equal(offset + result.getMsgFoundList().size(), result.getNextBeginOffset(), "next offset");
            offset = result.getNextBeginOffset();
        }
        equal(range(0, 100), bodies, "pulled bodies");
        PullResult odd = consumer.pull(queue, "Odd", 0, 5);
        equal(List.of("m1", "m3", "m5", "m7", "m9"), odd.getMsgFoundList().stream().map(Kit::text).toList(), "pulled by tag");
        equal(10L, odd.getNextBeginOffset(), "next offset by tag");
        PullResult none = consumer.pull(queue, "None", 0, 32);
        equal(PullStatus.NO_MATCHED_MSG, none.getPullStatus(), "status for a tag that nobody has");
        equal(100L, none.getNextBeginOffset(), "next offset for a tag that nobody has");
        PullResult atEnd = consumer.pull(queue, "*", 100, 32);
        equal(PullStatus.NO_NEW_MSG, atEnd.getPullStatus(), "status at the end");
        equal(100L, atEnd.getNextBeginOffset(), "next offset at the end");
        PullResult beyond = consumer.pull(queue, "*", 1000, 32);
        equal(PullStatus.OFFSET_ILLEGAL, beyond.getPullStatus(), "status beyond the end");
        equal(100L, beyond.getNextBeginOffset(), "next offset beyond the end");
        PullResult fromEmpty = consumer.pull(empty, "*", 0, 32);
        equal(PullStatus.NO_NEW_MSG, fromEmpty.getPullStatus(), "status of an empty queue");

        equal(-1L, consumer.fetchConsumeOffset(new MessageQueue(topic, queue.getBrokerName(), 77), true) < 0 ? -1L : 0L, "offset of a queue that is not there");
        consumer.updateConsumeOffset(queue, 42);
        equal(42L, consumer.fetchConsumeOffset(queue, false), "offset in the client");
        consumer.persist(queue);
        Kit.eventually(20, "offset at the broker", () -> consumer.fetchConsumeOffset(queue, true) == 42);
        // Blocks at the broker until the message comes.
        Thread later = new Thread(() -> {
            try {
                Thread.sleep(300);
                producer.send(new Message(topic, text("late")), empty);
            } catch (Exception e) {
                throw new IllegalStateException(e);
            }
        });
        later.start();
        long start = System.nanoTime();
        PullResult late = consumer.pullBlockIfNotFound(empty, "*", 0, 32);
        later.join();
        equal(PullStatus.FOUND, late.getPullStatus(), "status of the blocking pull");
        equal("late", text(late.getMsgFoundList().get(0)), "body of the blocking pull");
        check((System.nanoTime() - start) / 1e9 < 10, "blocking pull took %.1f s", (System.nanoTime() - start) / 1e9);
        MQBrokerException unknown = fails(MQBrokerException.class, "pull of an unknown topic", () -> consumer.pull(new MessageQueue("none_" + Kit.RUN, queue.getBrokerName(), 0), "*", 0, 32));
        equal(17, unknown.getResponseCode(), "code for an unknown topic");
        MQBrokerException illegal = fails(MQBrokerException.class, "pull of queue 99", () -> consumer.pull(new MessageQueue(topic, queue.getBrokerName(), 99), "*", 0, 32));
        equal(29, illegal.getResponseCode(), "code for queue 99");
    }

    private static void adminCalls(Kit kit) throws Exception {
        DefaultMQProducer producer = kit.producer();
        String topic = kit.createdTopic(producer, 2);
        MessageQueue queue = Kit.queues(producer, topic).get(0);
        MessageQueue empty = Kit.queues(producer, topic).get(1);
        long before = System.currentTimeMillis();
        long[] stored = new long[10];
        for (int i = 0; i < 10; i++) {
            producer.send(new Message(topic, text("m" + i)), queue);
            stored[i] = System.currentTimeMillis();
            while (System.currentTimeMillis() <= stored[i] + 2) {
                Thread.onSpinWait();
            }
        }
        equal(10L, producer.maxOffset(queue), "max offset");
        equal(0L, producer.minOffset(queue), "min offset");
        equal(0L, producer.maxOffset(empty), "max offset of an empty queue");
        equal(0L, producer.minOffset(empty), "min offset of an empty queue");
        equal(0L, producer.searchOffset(queue, before - 1000), "offset before the first");
        equal(5L, producer.searchOffset(queue, stored[4] + 1), "offset between two");
        equal(10L, producer.searchOffset(queue, System.currentTimeMillis() + 10_000), "offset after the last");
        equal(0L, producer.searchOffset(empty, before), "offset in an empty queue");
        long earliest = producer.earliestMsgStoreTime(queue);
        check(earliest >= before && earliest <= stored[0], "earliest store time %d, sent between %d and %d", earliest, before, stored[0]);
        equal(-1L, producer.earliestMsgStoreTime(empty), "earliest store time of an empty queue");
    }

    private static void lookUp(Kit kit) throws Exception {
        DefaultMQProducer producer = kit.producer();
        String topic = kit.createdTopic(producer, 4);
        // Apache's index knows whole seconds, rounded down: a range must begin a little earlier.
        long before = System.currentTimeMillis() - 2000;
        Map<String, SendResult> sent = new HashMap<>();
        for (int i = 0; i < 30; i++) {
            Message message = new Message(topic, "T", "all third-" + i % 3 + " own-" + i, text("m" + i));
            message.putUserProperty("n", Integer.toString(i));
            sent.put("m" + i, producer.send(message));
        }
        for (Map.Entry<String, SendResult> entry : sent.entrySet()) {
            SendResult result = entry.getValue();
            for (String id : new String[] {result.getOffsetMsgId(), result.getMsgId()}) {
                // The index follows the log a moment later.
                MessageExt[] found = new MessageExt[1];
                Kit.eventually(20, "view of " + id, () -> {
                    try {
                        found[0] = producer.viewMessage(topic, id);
                    } catch (MQClientException | MQBrokerException e) {
                        return false;
                    }
                    return found[0] != null;
                });
                equal(entry.getKey(), text(found[0]), "body by " + id);
                equal(topic, found[0].getTopic(), "topic by " + id);
                equal(result.getQueueOffset(), found[0].getQueueOffset(), "offset by " + id);
                equal(result.getMessageQueue().getQueueId(), found[0].getQueueId(), "queue by " + id);
                equal(entry.getKey().substring(1), found[0].getUserProperty("n"), "property by " + id);
            }
        }
        long end = System.currentTimeMillis() + 60_000;
        queried(producer, topic, "all", 64, before, end, 30);
        queried(producer, topic, "third-1", 64, before, end, 10);
        QueryResult own = queried(producer, topic, "own-7", 64, before, end, 1);
        equal("m7", text(own.getMessageList().get(0)), "body by key");
        equal(5, producer.queryMessage(topic, "all", 5, before, end).getMessageList().size(), "no more than asked for");
        queried(producer, topic, sent.get("m3").getMsgId(), 64, before, end, -1);
        MQClientException none = fails(MQClientException.class, "query for an unknown key", () -> producer.queryMessage(topic, "nokey", 64, before, end));
        equal(true, NOT_FOUND.contains(none.getResponseCode()), "not found is the code of " + none);
        MQClientException early = fails(MQClientException.class, "query before the first message", () -> producer.queryMessage(topic, "all", 64, 0, before - 3_600_000));
        equal(true, NOT_FOUND.contains(early.getResponseCode()), "not found is the code of " + early);
    }

    /** Queries until the index has caught up; -1: whatever comes, but no error other than "not found". */
    private static QueryResult queried(DefaultMQProducer producer, String topic, String key, int max, long begin, long end, int want) throws Exception {
        QueryResult[] result = new QueryResult[1];
        Kit.eventually(20, want + " messages with key " + key, () -> {
            try {
                result[0] = producer.queryMessage(topic, key, max, begin, end);
            } catch (MQClientException e) {
                equal(true, NOT_FOUND.contains(e.getResponseCode()), "not found is the code of " + e);
                return want < 0;
            }
            return want < 0 || result[0].getMessageList().size() >= want;
        });
        if (want >= 0) {
            equal(want, result[0].getMessageList().size(), "messages with key " + key);
        }
        return result[0];
    }

    private static void createTopic(Kit kit) throws Exception {
        DefaultMQProducer producer = kit.producer();
        String topic = kit.createdTopic(producer, 7);
        List<MessageQueue> queues = Kit.queues(producer, topic);
        equal(7, queues.size(), "queues");
        for (int i = 0; i < 7; i++) {
            equal(i, queues.get(i).getQueueId(), "queue id");
            equal(0L, producer.send(new Message(topic, text("x")), queues.get(i)).getQueueOffset(), "first offset");
        }
        // Once more with more queues: the topic grows.
        Kit.createTopic(producer, "TBW102", topic, 9);
        Kit.eventually(90, "9 queues", () -> producer.fetchPublishMessageQueues(topic).size() == 9);
        equal(7L, Kit.stored(producer, topic), "messages kept");
    }
}
