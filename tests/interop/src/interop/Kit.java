package interop;

import java.lang.reflect.InvocationTargetException;
import java.lang.reflect.Method;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Set;
import java.util.TreeSet;
import java.util.concurrent.Callable;
import java.util.concurrent.ConcurrentLinkedDeque;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.zip.CRC32;
import org.apache.rocketmq.client.ClientConfig;
import org.apache.rocketmq.client.consumer.DefaultLitePullConsumer;
import org.apache.rocketmq.client.consumer.DefaultMQPullConsumer;
import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.exception.MQBrokerException;
import org.apache.rocketmq.client.exception.MQClientException;
import org.apache.rocketmq.client.impl.factory.MQClientInstance;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.client.producer.SendResult;
import org.apache.rocketmq.client.producer.SendStatus;
import org.apache.rocketmq.client.producer.TransactionListener;
import org.apache.rocketmq.client.producer.TransactionMQProducer;
import org.apache.rocketmq.common.consumer.ConsumeFromWhere;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageExt;
import org.apache.rocketmq.common.message.MessageQueue;
import org.apache.rocketmq.remoting.exception.RemotingException;
import org.apache.rocketmq.tools.admin.DefaultMQAdminExt;

/** What a case works with: fresh names, clients that are shut down when it ends, waits with limits, checks. */
final class Kit implements AutoCloseable {
    /** Address of the name server under test. */
    static final String NAMESRV = System.getProperty("namesrv", "127.0.0.1:9876");
    /** A second server with autoCreateTopicEnable=false; null: there is none. */
    static final String NAMESRV_NO_AUTO = System.getProperty("namesrv.noauto");
    /** Command that takes start, stop or kill and does that to the broker; null: it cannot be done. */
    static final String HOOK = System.getProperty("hook");
    /** Differs from run to run, so that no run sees the messages of another. */
    static final String RUN = Long.toString(System.currentTimeMillis() % 10_000_000_000L, 36);
    private static final AtomicInteger COUNTER = new AtomicInteger();

    final String name;
    private final SharedRestart restart;
    private final List<String> notes = new ArrayList<>();
    private final ConcurrentLinkedDeque<Runnable> endings = new ConcurrentLinkedDeque<>();

    /** `restart`: the restarts that the case shares with others; null: none. */
    Kit(String name, SharedRestart restart) {
        this.name = name.replaceAll("[^A-Za-z0-9]", "_");
        this.restart = restart;
    }

    /** Waits until the cases that run beside this one are ready too, and the broker has been away and is back. */
    void sharedRestart() throws Exception {
        restart.await();
    }

    /** Nobody waits for this case any more. */
    void over() {
        if (restart != null) {
            restart.leave();
        }
    }

    String topic() {
        return "T_" + name + "_" + COUNTER.incrementAndGet() + "_" + RUN;
    }

    String group() {
        return "G_" + name + "_" + COUNTER.incrementAndGet() + "_" + RUN;
    }

    /** Adds to what the case's line shows. */
    synchronized void note(String format, Object... args) {
        notes.add(String.format(format, args));
    }

    synchronized String notes() {
        return String.join("; ", notes);
    }

    void atEnd(Runnable ending) {
        endings.push(ending);
    }

    @Override
    public void close() {
        for (Runnable ending = endings.poll(); ending != null; ending = endings.poll()) {
            ending.run();
        }
    }

    /** A client of its own: clients with the same instance name would share connections and threads. */
    private <T extends ClientConfig> T apart(T client) {
        client.setNamesrvAddr(NAMESRV);
        client.setInstanceName(name + "_" + COUNTER.incrementAndGet());
        return client;
    }

    DefaultMQProducer newProducer() {
        DefaultMQProducer producer = apart(new DefaultMQProducer(group()));
        atEnd(producer::shutdown);
        return producer;
    }

    DefaultMQProducer producer() throws Exception {
        DefaultMQProducer producer = newProducer();
        producer.start();
        return producer;
    }

    DefaultMQProducer tracingProducer() throws Exception {
        DefaultMQProducer producer = apart(new DefaultMQProducer(group(), true, null));
        atEnd(producer::shutdown);
        producer.start();
        return producer;
    }

    /** Not started yet. */
    DefaultMQPushConsumer tracingConsumer(String group) {
        DefaultMQPushConsumer consumer = apart(new DefaultMQPushConsumer(group, true, null));
        consumer.setConsumeFromWhere(ConsumeFromWhere.CONSUME_FROM_FIRST_OFFSET);
        atEnd(consumer::shutdown);
        return consumer;
    }

    DefaultMQAdminExt admin() throws Exception {
        DefaultMQAdminExt admin = apart(new DefaultMQAdminExt(20_000));
        atEnd(admin::shutdown);
        admin.start();
        return admin;
    }

    /** Not started yet. */
    TransactionMQProducer transactionProducer(TransactionListener listener) {
        TransactionMQProducer producer = apart(new TransactionMQProducer(group()));
        producer.setTransactionListener(listener);
        atEnd(producer::shutdown);
        return producer;
    }

    /** Not started yet. A group without offsets starts at the first message. */
    DefaultMQPushConsumer pushConsumer(String group) {
        DefaultMQPushConsumer consumer = apart(new DefaultMQPushConsumer(group));
        consumer.setConsumeFromWhere(ConsumeFromWhere.CONSUME_FROM_FIRST_OFFSET);
        consumer.setPollNameServerInterval(1000);
        // Without it a shutdown commits what is before the message whose listener has not returned yet: that comes again.
        consumer.setAwaitTerminationMillisWhenShutdown(5000);
        atEnd(consumer::shutdown);
        return consumer;
    }

    DefaultLitePullConsumer litePullConsumer(String group) {
        DefaultLitePullConsumer consumer = apart(new DefaultLitePullConsumer(group));
        consumer.setConsumeFromWhere(ConsumeFromWhere.CONSUME_FROM_FIRST_OFFSET);
        atEnd(consumer::shutdown);
        return consumer;
    }

    @SuppressWarnings("deprecation")
    DefaultMQPullConsumer pullConsumer(String group) throws Exception {
        DefaultMQPullConsumer consumer = apart(new DefaultMQPullConsumer(group));
        atEnd(consumer::shutdown);
        consumer.start();
        return consumer;
    }

    /** The enum MessageModel moved between packages from 4.9 to 5.x, so it is set by its name. */
    static void broadcasting(DefaultMQPushConsumer consumer) throws Exception {
        for (Method method : consumer.getClass().getMethods()) {
            if (method.getName().equals("setMessageModel")) {
                for (Object model : method.getParameterTypes()[0].getEnumConstants()) {
                    if (model.toString().equals("BROADCASTING")) {
                        method.invoke(consumer, model);
                    }
                }
            }
        }
    }

    /** createTopic(key, topic, queues) of 4.9 has a fourth argument in 5.x. */
    static void createTopic(DefaultMQProducer producer, String key, String topic, int queues) throws Exception {
        for (Method method : producer.getClass().getMethods()) {
            Class<?>[] types = method.getParameterTypes();
            if (!method.getName().equals("createTopic") || types[2] != int.class) {
                continue;
            }
            try {
                if (types.length == 3) {
                    method.invoke(producer, key, topic, queues);
                    return;
                }
                if (types.length == 4 && types[3] == Map.class) {
                    method.invoke(producer, key, topic, queues, new HashMap<String, String>());
                    return;
                }
            } catch (InvocationTargetException e) {
                throw (Exception) e.getCause();
            }
        }
        throw new IllegalStateException("no createTopic with a number of queues");
    }

    /** Creates a topic and waits until its route is known; a broker that has just started may not be known at first. */
    String createdTopic(DefaultMQProducer producer, int queues) throws Exception {
        String topic = topic();
        String[] problem = new String[1];
        try {
            eventually(60, "", () -> {
                try {
                    createTopic(producer, "TBW102", topic, queues);
                    return producer.fetchPublishMessageQueues(topic).size() == queues;
                } catch (MQClientException e) {
                    problem[0] = e.toString();
                    Thread.sleep(100);
                    return false;
                }
            });
        } catch (AssertionError e) {
            throw new AssertionError("topic " + topic + " not created within 60 s: " + problem[0]);
        }
        return topic;
    }

    /** Queues of a topic in the order of their ids. */
    static List<MessageQueue> queues(DefaultMQProducer producer, String topic) throws Exception {
        List<MessageQueue> queues = new ArrayList<>(producer.fetchPublishMessageQueues(topic));
        queues.sort(null);
        return queues;
    }

    /** Sends until the broker has taken it: what was stored without an answer is there twice. */
    static SendResult sendUntilTaken(DefaultMQProducer producer, Message message, MessageQueue queue) throws Exception {
        SendResult[] taken = new SendResult[1];
        eventually(90, "send of " + text(message), () -> {
            try {
                taken[0] = queue == null ? producer.send(message) : producer.send(message, queue);
                return taken[0].getSendStatus() == SendStatus.SEND_OK;
            } catch (MQClientException | RemotingException | MQBrokerException e) {
                Thread.sleep(20);
                return false;
            }
        });
        return taken[0];
    }

    /** How many messages the broker holds in all queues of a topic. */
    static long stored(DefaultMQProducer producer, String topic) throws Exception {
        long sum = 0;
        for (MessageQueue queue : queues(producer, topic)) {
            sum += producer.maxOffset(queue) - producer.minOffset(queue);
        }
        return sum;
    }

    /** The offsets, in all, that the broker has of a consumer's group in a topic. (The header's class moved from 4.9 to 5.x.) */
    static long committed(DefaultMQPushConsumer consumer, String topic) throws Exception {
        MQClientInstance client = consumer.getDefaultMQPushConsumerImpl().getmQClientFactory();
        long sum = 0;
        for (MessageQueue queue : consumer.fetchSubscribeMessageQueues(topic)) {
            String broker = client.findBrokerAddressInPublish(queue.getBrokerName());
            for (Method query : client.getMQClientAPIImpl().getClass().getMethods()) {
                if (!query.getName().equals("queryConsumerOffset")) {
                    continue;
                }
                Object header = query.getParameterTypes()[1].getDeclaredConstructor().newInstance();
                header.getClass().getMethod("setConsumerGroup", String.class).invoke(header, consumer.getConsumerGroup());
                header.getClass().getMethod("setTopic", String.class).invoke(header, topic);
                header.getClass().getMethod("setQueueId", Integer.class).invoke(header, queue.getQueueId());
                try {
                    sum += (Long) query.invoke(client.getMQClientAPIImpl(), broker, header, 5000L);
                } catch (InvocationTargetException e) {
                    // None yet.
                    if (!(e.getCause() instanceof MQBrokerException)) {
                        throw e;
                    }
                }
            }
        }
        return sum;
    }

    /** Does start, stop or kill to the broker under test. */
    static void hook(String verb) throws Exception {
        Process process = new ProcessBuilder("bash", "-c", HOOK + " " + verb).inheritIO().start();
        if (!process.waitFor(120, TimeUnit.SECONDS) || process.exitValue() != 0) {
            process.destroyForcibly();
            throw new IllegalStateException("hook " + verb + " failed");
        }
    }

    /** Waits until the condition holds, looking every few milliseconds. */
    static void eventually(int seconds, String what, Callable<Boolean> condition) throws Exception {
        long end = System.nanoTime() + TimeUnit.SECONDS.toNanos(seconds);
        while (!condition.call()) {
            if (System.nanoTime() > end) {
                throw new AssertionError("not within " + seconds + " s: " + what);
            }
            Thread.sleep(5);
        }
    }

    static void check(boolean holds, String format, Object... args) {
        if (!holds) {
            throw new AssertionError(String.format(format, args));
        }
    }

    static void equal(Object want, Object got, String what) {
        if (!Objects.equals(want, got)) {
            throw new AssertionError(what + ": want " + brief(want) + ", got " + brief(got));
        }
    }

    static void equal(byte[] want, byte[] got, String what) {
        if (!Arrays.equals(want, got)) {
            throw new AssertionError(what + ": want " + want.length + " bytes crc " + crc(want) + ", got " + got.length + " bytes crc " + crc(got));
        }
    }

    /** Compares sets and names what is missing and what is too much. */
    static void sameSet(Set<?> want, Set<?> got, String what) {
        Set<Object> missing = new TreeSet<>(want);
        missing.removeAll(got);
        Set<Object> extra = new TreeSet<>(got);
        extra.removeAll(want);
        check(missing.isEmpty() && extra.isEmpty(), "%s: %d missing %s, %d too much %s", what, missing.size(), brief(missing), extra.size(), brief(extra));
    }

    private static String brief(Object value) {
        String text = String.valueOf(value);
        return text.length() <= 300 ? text : text.substring(0, 300) + "…";
    }

    /** Runs what must fail and gives back how. */
    static <T extends Exception> T fails(Class<T> type, String what, Callable<?> action) {
        try {
            Object result = action.call();
            throw new AssertionError(what + ": must fail, got " + brief(result));
        } catch (Exception e) {
            if (type.isInstance(e)) {
                return type.cast(e);
            }
            throw new AssertionError(what + ": want " + type.getSimpleName() + ", got " + e, e);
        }
    }

    static long crc(byte[] bytes) {
        CRC32 crc = new CRC32();
        crc.update(bytes);
        return crc.getValue();
    }

    /** The same bytes for the same seed, on every machine; they do not compress. */
    static byte[] noise(long seed, int length) {
        byte[] bytes = new byte[length];
        long state = seed * 0x9E3779B97F4A7C15L + 1;
        for (int i = 0; i < length; i++) {
            state ^= state << 13;
            state ^= state >>> 7;
            state ^= state << 17;
            bytes[i] = (byte) state;
        }
        return bytes;
    }

    static byte[] text(String text) {
        return text.getBytes(java.nio.charset.StandardCharsets.UTF_8);
    }

    static String text(Message message) {
        return new String(message.getBody(), java.nio.charset.StandardCharsets.UTF_8);
    }

    /** Properties as the sender or the broker set them, without what the receiving client adds for itself. */
    static Map<String, String> properties(MessageExt message) {
        Map<String, String> properties = new HashMap<>(message.getProperties());
        for (String own : new String[] {"MIN_OFFSET", "MAX_OFFSET", "CONSUME_START_TIME"}) {
            properties.remove(own);
        }
        return properties;
    }
}
