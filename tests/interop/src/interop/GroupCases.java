package interop;

import static interop.Kit.check;
import static interop.Kit.equal;
import static interop.Kit.text;

import interop.Main.Case;
import interop.Main.Phase;
import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeSet;
import java.util.concurrent.ConcurrentSkipListSet;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicBoolean;
import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageExt;
import org.apache.rocketmq.common.message.MessageQueue;

/** Consumers of one group share the queues, and take over from each other; broadcasting ones do not. */
final class GroupCases {
    private static final int QUEUES = 8;

    private GroupCases() {}

    static void add(List<Case> cases) {
        cases.add(new Case("group.rebalance", Phase.TOGETHER, GroupCases::rebalance));
        cases.add(new Case("group.killed_member", Phase.TOGETHER, GroupCases::killedMember));
        cases.add(new Case("group.broadcasting", Phase.TOGETHER, GroupCases::broadcasting));
    }

    /** Sends to all queues in turn until it is told to stop. */
    private static final class Stream implements AutoCloseable {
        final Set<String> sent = new ConcurrentSkipListSet<>();
        private final AtomicBoolean stop = new AtomicBoolean();
        private final Thread thread;
        private volatile Exception failure;

        Stream(DefaultMQProducer producer, String topic, List<MessageQueue> queues) {
            thread = new Thread(() -> {
                try {
                    for (int i = 0; !stop.get(); i++) {
                        producer.send(new Message(topic, text("m" + i)), queues.get(i % queues.size()));
                        sent.add("m" + i);
                        Thread.sleep(3);
                    }
                } catch (Exception e) {
                    failure = e;
                }
            });
            thread.start();
        }

        @Override
        public void close() throws Exception {
            stop.set(true);
            thread.join();
            if (failure != null) {
                throw failure;
            }
        }
    }

    /** Who got the newest message of each queue. */
    private static Map<Integer, String> owners(Inbox inbox) {
        Map<Integer, String> owners = new HashMap<>();
        for (Inbox.Arrival arrival : inbox.arrivals()) {
            owners.put(arrival.message().getQueueId(), arrival.consumer());
        }
        return owners;
    }

    private static boolean owns(Inbox inbox, String consumer, int queues) {
        return owners(inbox).values().stream().filter(consumer::equals).count() == queues;
    }

    private static void rebalance(Kit kit) throws Exception {
        DefaultMQProducer producer = kit.producer();
        String topic = kit.createdTopic(producer, QUEUES);
        String group = kit.group();
        Inbox inbox = new Inbox();
        DefaultMQPushConsumer a = kit.pushConsumer(group);
        DefaultMQPushConsumer b = kit.pushConsumer(group);
        String nameA = a.getInstanceName();
        String nameB = b.getInstanceName();
        Set<String> sent;
        try (Stream stream = new Stream(producer, topic, Kit.queues(producer, topic))) {
            inbox.attach(a, topic, "*");
            Kit.eventually(60, "the only consumer has all queues", () -> owns(inbox, nameA, QUEUES));
            long start = System.nanoTime();
            inbox.attach(b, topic, "*");
            Kit.eventually(60, "each has half of the queues", () -> owns(inbox, nameA, QUEUES / 2) && owns(inbox, nameB, QUEUES / 2));
            kit.note("shared after %.1f s", (System.nanoTime() - start) / 1e9);
            start = System.nanoTime();
            b.shutdown();
            Kit.eventually(60, "the one that stays has all queues", () -> owns(inbox, nameA, QUEUES));
            kit.note("taken over after %.1f s", (System.nanoTime() - start) / 1e9);
            stream.close();
            sent = stream.sent;
        }
        inbox.awaitBodies(new TreeSet<>(sent), 60);
        Kit.sameSet(new TreeSet<>(sent), inbox.bodies(), "bodies");
        kit.note("%d sent, %d delivered", sent.size(), inbox.size());
    }

    private static void killedMember(Kit kit) throws Exception {
        DefaultMQProducer producer = kit.producer();
        String topic = kit.createdTopic(producer, QUEUES);
        String group = kit.group();
        Inbox inbox = new Inbox();
        Set<String> other = new ConcurrentSkipListSet<>();
        Set<Integer> otherQueues = java.util.concurrent.ConcurrentHashMap.newKeySet();
        Set<String> sent;
        try (Stream stream = new Stream(producer, topic, Kit.queues(producer, topic))) {
            inbox.attach(kit.pushConsumer(group), topic, "*");
            Process process = start(topic, group);
            kit.atEnd(process::destroyForcibly);
            Thread reader = new Thread(() -> {
                try (BufferedReader lines = new BufferedReader(new InputStreamReader(process.getInputStream()))) {
                    for (String line = lines.readLine(); line != null; line = lines.readLine()) {
                        String[] parts = line.split(" ");
                        if (parts.length == 3 && parts[0].equals("got")) {
                            otherQueues.add(Integer.parseInt(parts[1]));
                            other.add(parts[2]);
                        }
                    }
                } catch (java.io.IOException e) {
                    // The process was killed in the middle of a line.
                }
            });
            reader.start();
            Kit.eventually(90, "the other process gets half of the queues", () -> otherQueues.size() >= QUEUES / 2 && other.size() > 100);
            long start = System.nanoTime();
            process.destroyForcibly().waitFor(10, TimeUnit.SECONDS);
            reader.join(10_000);
            Set<Integer> lost = new HashSet<>(otherQueues);
            int before = inbox.size();
            Kit.eventually(120, "its queues are taken over", () -> {
                Set<Integer> taken = new HashSet<>();
                List<MessageExt> messages = inbox.messages();
                messages.subList(before, messages.size()).forEach(m -> taken.add(m.getQueueId()));
                return taken.containsAll(lost) && taken.size() == QUEUES;
            });
            kit.note("killed member's queues taken over after %.1f s", (System.nanoTime() - start) / 1e9);
            stream.close();
            sent = stream.sent;
        }
        Set<String> want = new TreeSet<>(sent);
        want.removeAll(other);
        inbox.awaitBodies(want, 60);
        Set<String> got = inbox.bodies();
        got.addAll(other);
        Kit.sameSet(new TreeSet<>(sent), got, "bodies at both");
        check(other.size() > 10, "the killed member got only %d messages", other.size());
    }

    private static Process start(String topic, String group) throws Exception {
        List<String> command = new ArrayList<>(List.of(Path.of(System.getProperty("java.home"), "bin", "java").toString(), "-Xmx128m"));
        for (String key : new String[] {"namesrv", "user.home", "rocketmq.serialize.type"}) {
            if (System.getProperty(key) != null) {
                command.add("-D" + key + "=" + System.getProperty(key));
            }
        }
        command.addAll(List.of("-cp", System.getProperty("java.class.path"), "interop.ConsumerProcess", topic, group));
        return new ProcessBuilder(command).redirectError(ProcessBuilder.Redirect.DISCARD).start();
    }

    private static void broadcasting(Kit kit) throws Exception {
        DefaultMQProducer producer = kit.producer();
        String topic = kit.createdTopic(producer, 4);
        String group = kit.group();
        List<Inbox> inboxes = new ArrayList<>();
        Set<String> want = new TreeSet<>();
        for (int i = 0; i < 50; i++) {
            producer.send(new Message(topic, text("before" + i)));
            want.add("before" + i);
        }
        DefaultMQPushConsumer first = null;
        for (int i = 0; i < 2; i++) {
            DefaultMQPushConsumer consumer = kit.pushConsumer(group);
            Kit.broadcasting(consumer);
            inboxes.add(new Inbox().attach(consumer, topic, "*"));
            first = first == null ? consumer : first;
        }
        for (int i = 0; i < 50; i++) {
            producer.send(new Message(topic, text("after" + i)));
            want.add("after" + i);
        }
        for (Inbox inbox : inboxes) {
            inbox.awaitBodies(want, 60);
            Kit.sameSet(want, inbox.bodies(), "bodies of one of the consumers");
            equal(want.size(), inbox.size(), "deliveries to one of the consumers");
        }
        // It keeps its offsets itself: the same consumer goes on where it was.
        String instance = first.getInstanceName();
        first.shutdown();
        producer.send(new Message(topic, text("later")));
        DefaultMQPushConsumer again = kit.pushConsumer(group);
        again.setInstanceName(instance);
        Kit.broadcasting(again);
        Inbox inbox = new Inbox().attach(again, topic, "*");
        inbox.awaitBodies(Set.of("later"), 60);
        equal(Set.of("later"), inbox.bodies(), "bodies after its restart");
    }
}
