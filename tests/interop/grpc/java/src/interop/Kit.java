package interop;

import java.io.Closeable;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.TreeSet;
import java.util.concurrent.Callable;
import java.util.concurrent.ConcurrentLinkedQueue;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;
import org.apache.rocketmq.client.apis.ClientConfiguration;
import org.apache.rocketmq.client.apis.ClientException;
import org.apache.rocketmq.client.apis.ClientServiceProvider;
import org.apache.rocketmq.client.apis.consumer.FilterExpression;
import org.apache.rocketmq.client.apis.consumer.MessageListener;
import org.apache.rocketmq.client.apis.consumer.SimpleConsumer;
import org.apache.rocketmq.client.apis.message.MessageBuilder;
import org.apache.rocketmq.client.apis.message.MessageView;
import org.apache.rocketmq.client.apis.producer.Producer;
import org.apache.rocketmq.client.apis.producer.TransactionChecker;

/** What a case works with: fresh names, clients that are closed when it ends, waits with limits, checks. */
final class Kit {
    static final String ENDPOINT = System.getenv("ENDPOINT");
    static final String NAMESRV = System.getenv("NAMESRV");
    static final String ADMIN = System.getenv("ADMIN");
    /** Command that takes start, stop or kill and does that to the broker; empty: it cannot be done. */
    static final String HOOK = System.getenv("HOOK") == null ? "" : System.getenv("HOOK");
    static final ClientServiceProvider SDK = ClientServiceProvider.loadService();

    private static final String RUN = Long.toString(System.currentTimeMillis(), 36);
    private static final AtomicInteger COUNTER = new AtomicInteger();

    private final String name;
    private final ConcurrentLinkedQueue<Closeable> clients = new ConcurrentLinkedQueue<>();
    private final ConcurrentLinkedQueue<String> notes = new ConcurrentLinkedQueue<>();

    Kit(String name) {
        this.name = name.replace('.', '_');
    }

    void note(String format, Object... args) {
        notes.add(String.format(format, args));
    }

    String notes() {
        return String.join("; ", notes);
    }

    /** Push consumers take a long poll to close: nobody waits for them. */
    void close() {
        for (Closeable client : clients) {
            closeSoon(client);
        }
    }

    static void closeSoon(Closeable client) {
        Thread closing = new Thread(() -> {
            try {
                client.close();
            } catch (Exception e) {
                // It is gone anyhow.
            }
        });
        closing.setDaemon(true);
        closing.start();
    }

    <C extends Closeable> C closed(C client) {
        clients.add(client);
        return client;
    }

    // Names, topics, groups.

    String fresh(String kind) {
        return kind + "_" + name + "_" + COUNTER.incrementAndGet() + "_" + RUN;
    }

    String topic(String type, int queues) throws Exception {
        String topic = fresh("T");
        admin("updateTopic -n " + NAMESRV + " -c DefaultCluster -t " + topic + " -r " + queues + " -w " + queues + " -a +message.type=" + type);
        return topic;
    }

    String topic(String type) throws Exception {
        return topic(type, 4);
    }

    String group(String settings) throws Exception {
        String group = fresh("G");
        admin("updateSubGroup -n " + NAMESRV + " -c DefaultCluster -g " + group + " " + settings);
        return group;
    }

    /** Server-made at its first use. */
    String group() {
        return fresh("G");
    }

    static String admin(String arguments) throws IOException, InterruptedException {
        return shell(ADMIN + " " + arguments);
    }

    static void hook(String verb) throws IOException, InterruptedException {
        shell(HOOK + " " + verb);
    }

    private static String shell(String command) throws IOException, InterruptedException {
        Process process = new ProcessBuilder("bash", "-c", command + " </dev/null").redirectErrorStream(true).start();
        String output = new String(process.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
        check(process.waitFor(60, TimeUnit.SECONDS) && process.exitValue() == 0, command + ": " + output);
        return output;
    }

    // Clients. TLS is the default, as it is the client's.

    static ClientConfiguration config(boolean tls) {
        return ClientConfiguration.newBuilder().setEndpoints(ENDPOINT).enableSsl(tls).setRequestTimeout(Duration.ofSeconds(10)).build();
    }

    static final ClientConfiguration CONFIG = config(true);

    Producer producer(String... topics) throws ClientException {
        return closed(SDK.newProducerBuilder().setClientConfiguration(CONFIG).setTopics(topics).build());
    }

    Producer producer(TransactionChecker checker, String... topics) throws ClientException {
        return closed(SDK.newProducerBuilder().setClientConfiguration(CONFIG).setTopics(topics).setTransactionChecker(checker).build());
    }

    SimpleConsumer simple(ClientConfiguration config, String group, String topic, FilterExpression filter, int awaitSeconds) throws ClientException {
        return closed(SDK.newSimpleConsumerBuilder().setClientConfiguration(config).setConsumerGroup(group)
            .setAwaitDuration(Duration.ofSeconds(awaitSeconds)).setSubscriptionExpressions(new HashMap<>(Map.of(topic, filter))).build());
    }

    SimpleConsumer simple(String group, String topic) throws ClientException {
        return simple(CONFIG, group, topic, FilterExpression.SUB_ALL, 5);
    }

    void push(ClientConfiguration config, String group, String topic, FilterExpression filter, MessageListener listener) throws ClientException {
        closed(SDK.newPushConsumerBuilder().setClientConfiguration(config).setConsumerGroup(group)
            .setSubscriptionExpressions(new HashMap<>(Map.of(topic, filter))).setMessageListener(listener).build());
    }

    void push(String group, String topic, MessageListener listener) throws ClientException {
        push(CONFIG, group, topic, FilterExpression.SUB_ALL, listener);
    }

    static MessageBuilder message(String topic, String body) {
        return SDK.newMessageBuilder().setTopic(topic).setBody(body.getBytes(StandardCharsets.UTF_8));
    }

    // Receiving.

    static final Duration INVISIBLE = Duration.ofSeconds(30);

    /** Receives until as many messages have come; they are acknowledged. */
    static List<MessageView> take(SimpleConsumer consumer, int count, int seconds) throws ClientException {
        List<MessageView> got = new ArrayList<>();
        long end = System.nanoTime() + seconds * 1_000_000_000L;
        while (got.size() < count) {
            check(System.nanoTime() < end, got.size() + " of " + count + " messages came in " + seconds + " s: " + bodies(got));
            for (MessageView view : consumer.receive(32, INVISIBLE)) {
                got.add(view);
                consumer.ack(view);
            }
        }
        return got;
    }

    /** Nothing (more) comes within a long poll of 5 s. */
    static void nothing(SimpleConsumer consumer) throws ClientException {
        equal(List.of(), bodies(consumer.receive(32, INVISIBLE)), "came although nothing should");
    }

    static byte[] bytes(MessageView view) {
        ByteBuffer buffer = view.getBody().duplicate();
        byte[] bytes = new byte[buffer.remaining()];
        buffer.get(bytes);
        return bytes;
    }

    static String body(MessageView view) {
        return new String(bytes(view), StandardCharsets.UTF_8);
    }

    static List<String> bodies(List<MessageView> views) {
        return views.stream().map(Kit::body).toList();
    }

    // Waits and checks.

    static void eventually(int seconds, String what, Callable<Boolean> condition) throws Exception {
        long end = System.nanoTime() + seconds * 1_000_000_000L;
        while (!condition.call()) {
            check(System.nanoTime() < end, "not within " + seconds + " s: " + what);
            Thread.sleep(5);
        }
    }

    static void check(boolean holds, String what) {
        if (!holds) {
            throw new AssertionError(what);
        }
    }

    static void equal(Object want, Object got, String what) {
        check(want.equals(got), what + ": want " + brief(want) + ", got " + brief(got));
    }

    static void sameSet(List<String> want, List<String> got, String what) {
        equal(new TreeSet<>(want), new TreeSet<>(got), what);
        equal(want.size(), got.size(), what + ", how many: " + brief(got));
    }

    /** The call must fail with this code, whatever wraps it; gives what failed. */
    static ClientException refused(int code, Callable<?> call) {
        try {
            call.call();
        } catch (Throwable failure) {
            for (Throwable t = failure; t != null; t = t.getCause()) {
                if (t instanceof ClientException e && e.getMessage().contains("response-code=" + code)) {
                    return e;
                }
            }
            throw new AssertionError("want code " + code, failure);
        }
        throw new AssertionError("not refused, want code " + code);
    }

    private static String brief(Object value) {
        String text = value.toString();
        return text.length() > 300 ? text.substring(0, 300) + "…" : text;
    }
}
