package interop;

import static interop.Kit.check;
import static interop.Kit.equal;
import static interop.Kit.sameSet;
import static interop.Kit.text;

import interop.Main.Case;
import interop.Main.Phase;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeSet;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.concurrent.atomic.AtomicReference;
import org.apache.rocketmq.client.consumer.DefaultLitePullConsumer;
import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.consumer.MessageSelector;
import org.apache.rocketmq.client.consumer.listener.ConsumeConcurrentlyStatus;
import org.apache.rocketmq.client.consumer.listener.ConsumeOrderlyStatus;
import org.apache.rocketmq.client.consumer.listener.MessageListenerConcurrently;
import org.apache.rocketmq.client.consumer.listener.MessageListenerOrderly;
import org.apache.rocketmq.client.exception.MQClientException;
import org.apache.rocketmq.client.exception.RequestTimeoutException;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.client.producer.RequestCallback;
import org.apache.rocketmq.client.utils.MessageUtil;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageExt;
import org.apache.rocketmq.common.message.MessageQueue;
import org.apache.rocketmq.tools.admin.DefaultMQAdminExt;

/**
 * Each way of consuming, with the broker stopped and then killed in the middle of it. The cases run side by side and share
 * both restarts, so that they cost little more than one.
 */
final class AcrossRestartCases {
    /** Whether nothing comes twice when the broker was killed. Apache goes back to offsets that are some seconds old. */
    private static final boolean EXACT = Boolean.getBoolean("durable.offsets");

    /** Seconds until what was consumed before is consumed again. Apache's may take a minute to find its feet. */
    private static final int PATIENCE = EXACT ? 60 : 150;

    private AcrossRestartCases() {}

    static void add(List<Case> cases) {
        cases.add(new Case("restart.ordered", Phase.SHARED_HOOK, AcrossRestartCases::ordered));
        cases.add(new Case("restart.delay_levels", Phase.SHARED_HOOK, AcrossRestartCases::delayLevels));
        cases.add(new Case("restart.retry", Phase.SHARED_HOOK, AcrossRestartCases::retry));
        cases.add(new Case("restart.broadcasting", Phase.SHARED_HOOK, AcrossRestartCases::broadcasting));
        cases.add(new Case("restart.lite_pull", Phase.SHARED_HOOK, AcrossRestartCases::litePull));
        cases.add(new Case("restart.sql92", Phase.SHARED_HOOK, AcrossRestartCases::sql92));
        cases.add(new Case("restart.offsets", Phase.SHARED_HOOK, AcrossRestartCases::offsets));
        cases.add(new Case("restart.request", Phase.SHARED_HOOK, AcrossRestartCases::request));
    }

    /** What is sent in one step, and what the consumer has got, all of it, with repetitions only where Apache has them. */
    private static void send(DefaultMQProducer producer, String topic, Set<String> sent, String prefix) throws Exception {
        for (int i = 0; i < 20; i++) {
            Kit.sendUntilTaken(producer, new Message(topic, text(prefix + i)), null);
            sent.add(prefix + i);
        }
    }

    private static void verify(Kit kit, Inbox inbox, Set<String> sent) {
        sameSet(sent, inbox.bodies(), "bodies");
        if (EXACT) {
            equal(sent.size(), inbox.size(), "deliveries");
        }
        kit.note("%d delivered for %d", inbox.size(), sent.size());
    }

    /** Sending and consuming go on while the broker is away: no order ever jumps ahead, and none loses a step. */
    private static void ordered(Kit kit) throws Exception {
        DefaultMQProducer producer = kit.producer();
        String topic = kit.createdTopic(producer, 4);
        List<MessageQueue> queues = Kit.queues(producer, topic);
        DefaultMQPushConsumer consumer = kit.pushConsumer(kit.group());
        consumer.subscribe(topic, "*");
        Inbox inbox = new Inbox();
        consumer.registerMessageListener((MessageListenerOrderly) (messages, context) -> {
            messages.forEach(inbox::add);
            return ConsumeOrderlyStatus.SUCCESS;
        });
        consumer.start();
        AtomicBoolean stop = new AtomicBoolean();
        AtomicReference<Exception> failure = new AtomicReference<>();
        int[] steps = new int[1];
        Thread sender = new Thread(() -> {
            try {
                for (; !stop.get(); steps[0]++) {
                    for (MessageQueue queue : queues) {
                        Kit.sendUntilTaken(producer, new Message(topic, text(queue.getQueueId() + ":" + steps[0])), queue);
                    }
                    Thread.sleep(10);
                }
            } catch (Exception e) {
                failure.set(e);
            }
        });
        sender.start();
        try {
            for (int restarts = 0; restarts <= SharedRestart.VERBS.size(); restarts++) {
                int before = inbox.size();
                Kit.eventually(PATIENCE, "400 more after restart " + restarts, () -> failure.get() != null || inbox.size() >= before + 400);
                if (restarts < SharedRestart.VERBS.size()) {
                    kit.sharedRestart();
                }
            }
        } finally {
            stop.set(true);
            sender.join();
        }
        check(failure.get() == null, "sending: %s", failure.get());
        Set<String> sent = new TreeSet<>();
        for (int step = 0; step < steps[0]; step++) {
            for (MessageQueue queue : queues) {
                sent.add(queue.getQueueId() + ":" + step);
            }
        }
        inbox.awaitBodies(sent, PATIENCE);
        sameSet(sent, inbox.bodies(), "steps");
        Map<Integer, Integer> next = new HashMap<>();
        int repeated = 0;
        for (MessageExt message : inbox.messages()) {
            int step = Integer.parseInt(text(message).split(":")[1]);
            int want = next.getOrDefault(message.getQueueId(), 0);
            check(step <= want, "queue %d jumped from step %d to %d", message.getQueueId(), want, step);
            repeated += step < want ? 1 : 0;
            next.put(message.getQueueId(), Math.max(want, step + 1));
        }
        kit.note("%d delivered, %d of them again", inbox.size(), repeated);
    }

    /** Levels 4 to 6 are 2, 3 and 4 s here: what is pending when the broker goes comes when it is due, or once it is back. */
    private static void delayLevels(Kit kit) throws Exception {
        DefaultMQProducer producer = kit.producer();
        String topic = kit.createdTopic(producer, 4);
        Inbox inbox = new Inbox().attach(kit.pushConsumer(kit.group()), topic, "*");
        Set<String> sent = new TreeSet<>();
        for (String verb : SharedRestart.VERBS) {
            for (int i = 0; i < 30; i++) {
                Message message = new Message(topic, text(verb + i));
                message.setDelayTimeLevel(4 + i % 3);
                Kit.sendUntilTaken(producer, message, null);
                sent.add(verb + i);
            }
            kit.sharedRestart();
            inbox.awaitBodies(sent, PATIENCE);
        }
        for (MessageExt message : inbox.messages()) {
            int level = 4 + Integer.parseInt(text(message).substring(4)) % 3;
            long early = message.getBornTimestamp() + 1000L * (level - 2) - message.getStoreTimestamp();
            check(early <= 0, "%s of level %d came %d ms early", text(message), level, early);
            equal(topic, message.getTopic(), "topic of " + text(message));
        }
        verify(kit, inbox, sent);
    }

    /** A batch of which two are refused until nothing is left: the broker goes before the third and before the last attempt. */
    private static void retry(Kit kit) throws Exception {
        DefaultMQProducer producer = kit.producer();
        String topic = kit.createdTopic(producer, 1);
        String group = kit.group();
        // A consumer that comes before its group's retry topic is there looks for it 20 s later.
        Inbox warm = new Inbox();
        producer.send(new Message(topic, text("warm-up")));
        DefaultMQPushConsumer first = kit.pushConsumer(group);
        warm.attach(first, topic, "*").awaitBodies(Set.of("warm-up"), PATIENCE);
        first.shutdown();
        DefaultMQPushConsumer consumer = kit.pushConsumer(group);
        consumer.setMaxReconsumeTimes(3);
        consumer.subscribe(topic, "*");
        Inbox inbox = new Inbox();
        consumer.registerMessageListener((MessageListenerConcurrently) (messages, context) -> {
            messages.forEach(inbox::add);
            return text(messages.get(0)).startsWith("bad") ? ConsumeConcurrentlyStatus.RECONSUME_LATER : ConsumeConcurrentlyStatus.CONSUME_SUCCESS;
        });
        consumer.start();
        List<Message> batch = new ArrayList<>();
        Set<String> sent = new TreeSet<>(Set.of("bad1", "bad2", "good1", "good2"));
        for (String body : sent) {
            batch.add(new Message(topic, "T", "key-" + body, text(body)));
        }
        producer.send(batch, Kit.queues(producer, topic).get(0));
        for (int attempt = 1; attempt <= 2; attempt++) {
            int times = attempt;
            Kit.eventually(PATIENCE, "attempt " + times + " of both", () -> inbox.arrivals().stream().filter(a -> a.reconsumeTimes() == times).count() >= 2);
            kit.sharedRestart();
        }
        List<MessageExt> dead = RetryCases.deadLetters(kit, group, 2);
        for (String body : List.of("bad1", "bad2")) {
            List<Integer> attempts = inbox.of(m -> text(m).equals(body)).stream().map(Inbox.Arrival::reconsumeTimes).toList();
            equal(new TreeSet<>(Set.of(0, 1, 2, 3)), new TreeSet<>(attempts), "attempts of " + body);
            if (EXACT) {
                equal(4, attempts.size(), "attempts of " + body + ": " + attempts);
            }
            MessageExt letter = dead.stream().filter(m -> text(m).equals(body)).findFirst().orElseThrow();
            equal("key-" + body, letter.getKeys(), "keys of the dead letter");
            equal(4, letter.getReconsumeTimes(), "reconsumeTimes of the dead letter");
        }
        for (String body : List.of("good1", "good2")) {
            equal(1, inbox.of(m -> text(m).equals(body)).size(), "attempts of " + body);
        }
        kit.note("%d delivered, %d dead letters", inbox.size(), dead.size());
    }

    /** Every consumer of the group gets everything, before and after. */
    private static void broadcasting(Kit kit) throws Exception {
        DefaultMQProducer producer = kit.producer();
        String topic = kit.createdTopic(producer, 4);
        String group = kit.group();
        List<Inbox> inboxes = new ArrayList<>();
        for (int i = 0; i < 2; i++) {
            DefaultMQPushConsumer consumer = kit.pushConsumer(group);
            Kit.broadcasting(consumer);
            inboxes.add(new Inbox().attach(consumer, topic, "*"));
        }
        Set<String> sent = new TreeSet<>();
        for (int restarts = 0; restarts <= SharedRestart.VERBS.size(); restarts++) {
            if (restarts > 0) {
                kit.sharedRestart();
            }
            send(producer, topic, sent, restarts + "-");
            for (Inbox inbox : inboxes) {
                inbox.awaitBodies(sent, PATIENCE);
            }
        }
        for (Inbox inbox : inboxes) {
            verify(kit, inbox, sent);
        }
    }

    /** A lite pull consumer goes on; what it committed is what the broker says afterwards, and where another one starts. */
    private static void litePull(Kit kit) throws Exception {
        DefaultMQProducer producer = kit.producer();
        String topic = kit.createdTopic(producer, 2);
        String group = kit.group();
        DefaultLitePullConsumer consumer = kit.litePullConsumer(group);
        consumer.setAutoCommit(false);
        consumer.subscribe(topic, "*");
        consumer.start();
        Set<String> sent = new TreeSet<>();
        List<String> got = new ArrayList<>();
        for (int restarts = 0; restarts <= SharedRestart.VERBS.size(); restarts++) {
            if (restarts > 0) {
                kit.sharedRestart();
            }
            send(producer, topic, sent, restarts + "-");
            Kit.eventually(PATIENCE, "all polled after restart " + restarts, () -> {
                consumer.poll(100).forEach(m -> got.add(text(m)));
                return got.containsAll(sent);
            });
        }
        sameSet(sent, new TreeSet<>(got), "polled");
        if (EXACT) {
            equal(sent.size(), got.size(), "polled messages");
        }
    }

    /** The filter is the broker's, and it knows it anew after each restart. */
    private static void sql92(Kit kit) throws Exception {
        DefaultMQProducer producer = kit.producer();
        String topic = kit.createdTopic(producer, 4);
        DefaultMQPushConsumer consumer = kit.pushConsumer(kit.group());
        // Client 4.9 tells its filter with heartbeats only, each half minute unless it is told otherwise.
        consumer.setHeartbeatBrokerInterval(1_000);
        consumer.subscribe(topic, MessageSelector.bySql("n BETWEEN 5 AND 14 AND kind IN ('a', 'b')"));
        Inbox inbox = new Inbox();
        consumer.registerMessageListener((MessageListenerConcurrently) (messages, context) -> {
            messages.forEach(inbox::add);
            return ConsumeConcurrentlyStatus.CONSUME_SUCCESS;
        });
        consumer.start();
        Set<String> wanted = new TreeSet<>();
        for (int restarts = 0; restarts <= SharedRestart.VERBS.size(); restarts++) {
            if (restarts > 0) {
                kit.sharedRestart();
            }
            for (int i = 0; i < 30; i++) {
                Message message = new Message(topic, text(restarts + "-" + i));
                message.putUserProperty("n", Integer.toString(i));
                message.putUserProperty("kind", List.of("a", "b", "c").get(i % 3));
                Kit.sendUntilTaken(producer, message, null);
                if (i >= 5 && i <= 14 && i % 3 < 2) {
                    wanted.add(restarts + "-" + i);
                }
            }
            inbox.awaitBodies(wanted, PATIENCE);
        }
        verify(kit, inbox, wanted);
    }

    /** An offset that was answered is what the broker says afterwards: forward and back. */
    private static void offsets(Kit kit) throws Exception {
        DefaultMQProducer producer = kit.producer();
        String topic = kit.createdTopic(producer, 1);
        MessageQueue queue = Kit.queues(producer, topic).get(0);
        Set<String> sent = new TreeSet<>();
        send(producer, topic, sent, "m");
        String group = kit.group();
        // The group is there once somebody of it has come.
        DefaultMQPushConsumer consumer = kit.pushConsumer(group);
        new Inbox().attach(consumer, topic, "*").awaitBodies(sent, PATIENCE);
        consumer.shutdown();
        DefaultMQAdminExt admin = kit.admin();
        String broker = admin.examineTopicRouteInfo(topic).getBrokerDatas().get(0).selectBrokerAddr();
        long[] offsets = {17, 9};
        for (long offset : offsets) {
            admin.updateConsumeOffset(broker, group, queue, offset);
            kit.sharedRestart();
            DefaultLitePullConsumer reader = kit.litePullConsumer(group);
            reader.start();
            long[] committed = {-1};
            Kit.eventually(PATIENCE, "an answer", () -> {
                try {
                    committed[0] = reader.committed(queue);
                    return true;
                } catch (MQClientException e) {
                    // The broker is not known yet.
                    return false;
                }
            });
            equal(offset, committed[0], "committed");
        }
    }

    /**
     * A question that waits for its answer while the broker is away is answered, or fails within its time; the next ones are
     * answered. The broker knows the asker again once it has sent a heartbeat.
     */
    private static void request(Kit kit) throws Exception {
        DefaultMQProducer asker = kit.newProducer();
        asker.setHeartbeatBrokerInterval(1_000);
        asker.start();
        DefaultMQProducer replier = kit.producer();
        String topic = kit.createdTopic(asker, 1);
        DefaultMQPushConsumer consumer = kit.pushConsumer(kit.group());
        consumer.subscribe(topic, "*");
        Inbox questions = new Inbox();
        consumer.registerMessageListener((MessageListenerConcurrently) (messages, context) -> {
            messages.forEach(questions::add);
            return ConsumeConcurrentlyStatus.CONSUME_SUCCESS;
        });
        consumer.start();
        List<String> waited = new ArrayList<>();
        for (String verb : SharedRestart.VERBS) {
            CompletableFuture<Message> pending = ask(asker, topic, "over " + verb, 15_000);
            questions.awaitBodies(Set.of("over " + verb), PATIENCE);
            kit.sharedRestart();
            answer(replier, questions, "over " + verb);
            try {
                equal("answer to over " + verb, text(pending.get(40, TimeUnit.SECONDS)), "answer");
                waited.add("answered");
            } catch (ExecutionException e) {
                check(e.getCause() instanceof RequestTimeoutException, "a question over a restart failed otherwise: %s", e.getCause());
                waited.add("not in time");
            }
            for (int i = 0; i < 5; i++) {
                String body = verb + i;
                CompletableFuture<Message> next = ask(asker, topic, body, 60_000);
                questions.awaitBodies(Set.of(body), PATIENCE);
                answer(replier, questions, body);
                equal("answer to " + body, text(next.get(90, TimeUnit.SECONDS)), "answer");
            }
        }
        kit.note("over the restarts: %s", waited);
    }

    private static CompletableFuture<Message> ask(DefaultMQProducer asker, String topic, String body, long timeoutMs) throws Exception {
        CompletableFuture<Message> answer = new CompletableFuture<>();
        asker.request(new Message(topic, text(body)), new RequestCallback() {
            @Override
            public void onSuccess(Message message) {
                // The client says so with null when the question has been sent.
                if (message != null) {
                    answer.complete(message);
                }
            }

            @Override
            public void onException(Throwable e) {
                answer.completeExceptionally(e);
            }
        }, timeoutMs);
        return answer;
    }

    private static void answer(DefaultMQProducer replier, Inbox questions, String body) throws Exception {
        MessageExt question = questions.of(m -> text(m).equals(body)).get(0).message();
        Kit.sendUntilTaken(replier, MessageUtil.createReplyMessage(question, text("answer to " + body)), null);
    }
}
