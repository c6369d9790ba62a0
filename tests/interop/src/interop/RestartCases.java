package interop;

import static interop.Kit.check;
import static interop.Kit.equal;
import static interop.Kit.text;

import interop.Main.Case;
import interop.Main.Phase;
import java.util.ArrayList;
import java.util.List;
import java.util.Set;
import java.util.TreeSet;
import java.util.concurrent.ConcurrentSkipListSet;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.locks.LockSupport;
import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.client.producer.SendStatus;
import org.apache.rocketmq.common.message.Message;

/** The broker stops, or is killed, and comes back: nothing acknowledged is lost, and clients go on by themselves. */
final class RestartCases {
    private static final int KILLS = Integer.getInteger("kills", 3);
    /** Between two sends of a sender: what is kept for the comparison must fit into memory however long a consumer waits. */
    private static final long SEND_PAUSE_NANOS = 3_000_000;

    private RestartCases() {}

    static void add(List<Case> cases) {
        cases.add(new Case("restart.resume_at_offset", Phase.HOOK, kit -> resume(kit, "stop")));
        cases.add(new Case("restart.resume_after_kill", Phase.HOOK, kit -> resume(kit, "kill")));
        cases.add(new Case("restart.kill_under_load", Phase.HOOK, RestartCases::killUnderLoad));
    }

    /** Consumes, stops the consumer, ends and starts the broker, sends more: the group gets only what is new. */
    private static void resume(Kit kit, String verb) throws Exception {
        DefaultMQProducer producer = kit.producer();
        String topic = kit.createdTopic(producer, 4);
        String group = kit.group();
        DefaultMQPushConsumer consumer = kit.pushConsumer(group);
        Inbox inbox = new Inbox().attach(consumer, topic, "*");
        Set<String> old = new TreeSet<>();
        for (int i = 0; i < 100; i++) {
            producer.send(new Message(topic, text("old" + i)));
            old.add("old" + i);
        }
        inbox.awaitBodies(old, 60);
        Kit.eventually(60, "commit of " + old.size(), () -> {
            consumer.getDefaultMQPushConsumerImpl().persistConsumerOffset();
            return Kit.committed(consumer, topic) == old.size();
        });
        // What is told may have come with a pull. A commit is a one-way request: it has arrived when a later question on its
        // connection is answered, and it is durable when a message behind it is acknowledged.
        consumer.getDefaultMQPushConsumerImpl().persistConsumerOffset();
        equal((long) old.size(), Kit.committed(consumer, topic), "committed");
        consumer.shutdown();
        producer.send(new Message(kit.topic(), text("behind the commits")));
        Kit.hook(verb);
        Kit.hook("start");
        Set<String> fresh = new TreeSet<>();
        for (int i = 0; i < 50; i++) {
            Kit.sendUntilTaken(producer, new Message(topic, text("new" + i)), null);
            fresh.add("new" + i);
        }
        Inbox again = new Inbox().attach(kit.pushConsumer(group), topic, "*");
        again.awaitBodies(fresh, 90);
        Set<String> repeated = new TreeSet<>(again.bodies());
        repeated.removeAll(fresh);
        kit.note("%d delivered again", repeated.size());
        // Killed, Apache may go back to offsets up to 5 s old; Kerolox's offsets are as durable as its messages.
        if (verb.equals("stop") || Boolean.getBoolean("durable.offsets")) {
            equal(Set.of(), repeated, "delivered again after " + verb);
        }
        equal(150L, Kit.stored(producer, topic), "stored");
    }

    private static void killUnderLoad(Kit kit) throws Exception {
        DefaultMQProducer producer = kit.newProducer();
        producer.setRetryTimesWhenSendFailed(3);
        producer.start();
        String topic = kit.createdTopic(producer, 8);
        Inbox inbox = new Inbox().attach(kit.pushConsumer(kit.group()), topic, "*");
        Set<String> acknowledged = new ConcurrentSkipListSet<>();
        AtomicBoolean stop = new AtomicBoolean();
        AtomicInteger errors = new AtomicInteger();
        List<Thread> senders = new ArrayList<>();
        for (int t = 0; t < 4; t++) {
            int number = t;
            Thread sender = new Thread(() -> {
                for (int i = 0; !stop.get(); i++) {
                    String body = number + "-" + i;
                    try {
                        if (producer.send(new Message(topic, text(body))).getSendStatus() == SendStatus.SEND_OK) {
                            acknowledged.add(body);
                        }
                        LockSupport.parkNanos(SEND_PAUSE_NANOS);
                    } catch (Exception e) {
                        errors.incrementAndGet();
                        LockSupport.parkNanos(10_000_000);
                    }
                }
            });
            senders.add(sender);
            sender.start();
        }
        List<String> gaps = new ArrayList<>();
        try {
            for (int kill = 0; kill < KILLS; kill++) {
                int before = acknowledged.size();
                int received = inbox.size();
                // A consumer whose first rebalance fails waits 20 s of its own accord.
                Kit.eventually(60, "500 more acknowledged, and consumption under way",
                    () -> acknowledged.size() > before + 500 && inbox.size() > received);
                Kit.hook("kill");
                long down = System.nanoTime();
                Kit.hook("start");
                int at = acknowledged.size();
                Kit.eventually(90, "acknowledged after the restart", () -> acknowledged.size() > at);
                double sending = (System.nanoTime() - down) / 1e9;
                int delivered = inbox.size();
                Kit.eventually(120, "the consumer goes on", () -> inbox.size() > delivered);
                gaps.add(String.format("%.1f s and %.1f s", sending, (System.nanoTime() - down) / 1e9));
            }
        } finally {
            stop.set(true);
            for (Thread sender : senders) {
                sender.join();
            }
        }
        inbox.awaitBodies(new TreeSet<>(acknowledged), 120);
        Set<String> lost = new TreeSet<>(acknowledged);
        lost.removeAll(inbox.bodies());
        check(lost.isEmpty(), "%d acknowledged messages lost: %s", lost.size(), lost);
        kit.note("%d acknowledged, %d delivered, %d sends failed, acknowledging and delivering again after %s", acknowledged.size(), inbox.size(), errors.get(), gaps);
    }
}
