package interop;

import static interop.Kit.check;
import static interop.Kit.equal;
import static interop.Kit.text;

import interop.Main.Case;
import interop.Main.Phase;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.Semaphore;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.atomic.AtomicIntegerArray;
import java.util.concurrent.atomic.AtomicReference;
import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.consumer.listener.ConsumeConcurrentlyStatus;
import org.apache.rocketmq.client.consumer.listener.MessageListenerConcurrently;
import org.apache.rocketmq.client.exception.MQBrokerException;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.client.producer.SendCallback;
import org.apache.rocketmq.client.producer.SendResult;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageExt;
import org.apache.rocketmq.common.message.MessageQueue;

/** Many messages, and how fast one of them comes through. */
final class LoadCases {
    /** How many messages the large case sends. */
    private static final int MESSAGES = Integer.getInteger("messages", 100_000);
    private static final int SYSTEM_BUSY = 2;

    private LoadCases() {}

    static void add(List<Case> cases) {
        cases.add(new Case("load.exactly_as_sent", Phase.ALONE, LoadCases::exactlyAsSent));
        cases.add(new Case("load.long_poll_latency", Phase.ALONE, LoadCases::latency));
    }

    /** Message number i: everything about it follows from i, so that the receiver can check all of it. */
    private static Message message(String topic, int i) {
        byte[] body = i % 500 == 0 ? text(("compressible " + i + " ").repeat(600)) : Kit.noise(i, 1 + i * 31 % 1500);
        Message message = new Message(topic, "Tag" + i % 3, "key-" + i, body);
        message.putUserProperty("i", Integer.toString(i));
        message.putUserProperty("crc", Long.toString(Kit.crc(body)));
        message.setFlag(i);
        return message;
    }

    /** A fifth synchronous, three fifths asynchronous, a fifth one-way; everything arrives, once, unchanged. */
    private static void exactlyAsSent(Kit kit) throws Exception {
        DefaultMQProducer producer = kit.newProducer();
        producer.setSendMsgTimeout(20_000);
        producer.start();
        String topic = kit.createdTopic(producer, 8);
        AtomicIntegerArray seen = new AtomicIntegerArray(MESSAGES);
        AtomicInteger distinct = new AtomicInteger();
        AtomicInteger deliveries = new AtomicInteger();
        AtomicReference<String> wrong = new AtomicReference<>();
        DefaultMQPushConsumer consumer = kit.pushConsumer(kit.group());
        consumer.setConsumeMessageBatchMaxSize(32);
        consumer.subscribe(topic, "*");
        consumer.registerMessageListener((MessageListenerConcurrently) (messages, context) -> {
            for (MessageExt got : messages) {
                deliveries.incrementAndGet();
                int i = Integer.parseInt(got.getUserProperty("i"));
                String difference = difference(message(topic, i), got);
                if (difference != null) {
                    wrong.compareAndSet(null, "message " + i + ": " + difference);
                }
                if (seen.incrementAndGet(i) == 1) {
                    distinct.incrementAndGet();
                }
            }
            return ConsumeConcurrentlyStatus.CONSUME_SUCCESS;
        });
        consumer.start();
        long start = System.nanoTime();
        AtomicInteger busy = new AtomicInteger();
        send(producer, topic, busy);
        kit.note("sent in %.1f s", (System.nanoTime() - start) / 1e9);
        if (busy.get() > 0) {
            kit.note("%d answered busy and sent again", busy.get());
        }
        int limit = 180;
        try {
            Kit.eventually(limit, "all delivered", () -> distinct.get() == MESSAGES);
        } catch (AssertionError e) {
            throw new AssertionError(distinct.get() + " of " + MESSAGES + " delivered within " + limit + " s, stored " + Kit.stored(producer, topic) + "; " + wrong.get());
        }
        kit.note("delivered in %.1f s", (System.nanoTime() - start) / 1e9);
        equal(null, wrong.get(), "what arrived otherwise than it was sent");
        equal((long) MESSAGES, Kit.stored(producer, topic), "stored");
        equal(MESSAGES, deliveries.get(), "deliveries");
    }

    private static String difference(Message want, MessageExt got) {
        if (!Arrays.equals(want.getBody(), got.getBody())) {
            return "body of " + got.getBody().length + " bytes, crc " + Kit.crc(got.getBody()) + " for " + got.getUserProperty("crc");
        }
        for (Map.Entry<String, String> property : want.getProperties().entrySet()) {
            String value = got.getProperty(property.getKey());
            if (!property.getValue().equals(value) && !property.getKey().equals("WAIT")) {
                return "property " + property + ", got " + value;
            }
        }
        return want.getFlag() == got.getFlag() ? null : "flag " + got.getFlag();
    }

    private static void send(DefaultMQProducer producer, String topic, AtomicInteger busy) throws Exception {
        int threads = 8;
        List<MessageQueue> queues = Kit.queues(producer, topic);
        Semaphore inFlight = new Semaphore(128);
        AtomicReference<Throwable> failure = new AtomicReference<>();
        ExecutorService senders = Executors.newFixedThreadPool(threads);
        List<Future<?>> done = new ArrayList<>();
        for (int t = 0; t < threads; t++) {
            int first = t;
            done.add(senders.submit(() -> {
                for (int i = first; i < MESSAGES; i += threads) {
                    Message message = message(topic, i);
                    switch (i / threads % 5) {
                        case 0 -> sync(producer, message, busy);
                        case 4 -> producer.sendOneway(message, queues.get(i % queues.size()));
                        default -> async(producer, message, inFlight, busy, failure);
                    }
                }
                return null;
            }));
        }
        for (Future<?> one : done) {
            one.get();
        }
        senders.shutdown();
        check(inFlight.tryAcquire(128, 60, TimeUnit.SECONDS), "asynchronous sends without an answer");
        if (failure.get() != null) {
            throw new AssertionError("asynchronous send", failure.get());
        }
    }

    /** "Busy" means not processed: then it is sent again, which cannot double it. */
    private static void sync(DefaultMQProducer producer, Message message, AtomicInteger busy) throws Exception {
        while (true) {
            try {
                producer.send(message);
                return;
            } catch (MQBrokerException e) {
                if (e.getResponseCode() != SYSTEM_BUSY) {
                    throw e;
                }
                busy.incrementAndGet();
            }
        }
    }

    private static void async(DefaultMQProducer producer, Message message, Semaphore inFlight, AtomicInteger busy, AtomicReference<Throwable> failure) throws Exception {
        inFlight.acquire();
        producer.send(message, new SendCallback() {
            @Override
            public void onSuccess(SendResult result) {
                inFlight.release();
            }

            @Override
            public void onException(Throwable e) {
                inFlight.release();
                if (e instanceof MQBrokerException && ((MQBrokerException) e).getResponseCode() == SYSTEM_BUSY) {
                    busy.incrementAndGet();
                    try {
                        sync(producer, message, busy);
                        return;
                    } catch (Exception again) {
                        failure.compareAndSet(null, again);
                    }
                }
                failure.compareAndSet(null, e);
            }
        });
    }

    /** From the call of send to the listener of a consumer whose long polls are parked at the broker. */
    private static void latency(Kit kit) throws Exception {
        DefaultMQProducer producer = kit.producer();
        String topic = kit.createdTopic(producer, 4);
        Inbox inbox = new Inbox();
        Map<String, Long> started = new ConcurrentHashMap<>();
        inbox.attach(kit.pushConsumer(kit.group()), topic, "*");
        producer.send(new Message(topic, text("warm-up")));
        inbox.await(1, 60);
        int count = 200;
        for (int i = 0; i < count; i++) {
            started.put("m" + i, System.nanoTime());
            producer.send(new Message(topic, text("m" + i)));
            inbox.await(i + 2, 30);
        }
        List<Double> millis = new ArrayList<>();
        for (Inbox.Arrival arrival : inbox.arrivals()) {
            Long start = started.get(text(arrival.message()));
            if (start != null) {
                millis.add((arrival.nanos() - start) / 1e6);
            }
        }
        millis.sort(null);
        equal(count, millis.size(), "deliveries");
        double median = millis.get(count / 2);
        kit.note("median %.2f ms, p99 %.2f ms, max %.2f ms", median, millis.get(count * 99 / 100), millis.get(count - 1));
        check(median < 100, "median %.1f ms", median);
        check(millis.get(count - 1) < 2000, "slowest %.1f ms", millis.get(count - 1));
    }
}
