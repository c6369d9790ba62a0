package interop;

import static interop.Kit.check;
import static interop.Kit.equal;
import static interop.Kit.message;

import java.time.Duration;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.ConcurrentLinkedQueue;
import java.util.concurrent.Semaphore;
import java.util.concurrent.atomic.AtomicBoolean;
import org.apache.rocketmq.client.apis.ClientException;
import org.apache.rocketmq.client.apis.consumer.ConsumeResult;
import org.apache.rocketmq.client.apis.consumer.SimpleConsumer;
import org.apache.rocketmq.client.apis.message.MessageView;
import org.apache.rocketmq.client.apis.producer.Producer;
import org.apache.rocketmq.client.apis.producer.Transaction;
import org.apache.rocketmq.client.apis.producer.TransactionResolution;

/** Many messages, and a broker that goes and comes back. */
final class LoadCases {
    static void add(List<Main.Case> cases) {
        cases.add(new Main.Case("load.burst", LoadCases::burst));
        cases.add(new Main.Case("restart.stop", kit -> restart(kit, "stop")));
        cases.add(new Main.Case("restart.kill", kit -> restart(kit, "kill")));
        cases.add(new Main.Case("restart.held", LoadCases::held));
    }

    private static void burst(Kit kit) throws Exception {
        String topic = kit.topic("NORMAL");
        Producer producer = kit.producer(topic);
        Inbox inbox = new Inbox();
        kit.push(kit.group(), topic, inbox.listener());
        List<String> bodies = new ArrayList<>();
        ConcurrentLinkedQueue<Throwable> failures = new ConcurrentLinkedQueue<>();
        Semaphore window = new Semaphore(64);
        long start = System.nanoTime();
        for (int i = 0; i < 5000; i++) {
            bodies.add("m" + i);
            window.acquire();
            producer.sendAsync(message(topic, "m" + i).build()).whenComplete((receipt, failure) -> {
                if (failure != null) {
                    failures.add(failure);
                }
                window.release();
            });
        }
        window.acquire(64);
        kit.note("sent in %.1f s", (System.nanoTime() - start) / 1e9);
        check(failures.isEmpty(), failures.size() + " sends failed: " + failures.peek());
        inbox.exactly(bodies, 90);
        kit.note("all there after %.1f s", (System.nanoTime() - start) / 1e9);
    }

    /** Sending and consuming go on; all that was acknowledged to a sender reaches each group. */
    private static void restart(Kit kit, String verb) throws Exception {
        String topic = kit.topic("NORMAL");
        Producer producer = kit.producer(topic);
        SimpleConsumer simple = kit.simple(kit.group(), topic);
        Set<String> pushed = ConcurrentHashMap.newKeySet();
        Set<String> taken = ConcurrentHashMap.newKeySet();
        Set<String> acknowledged = ConcurrentHashMap.newKeySet();
        kit.push(kit.group(), topic, view -> {
            pushed.add(Kit.body(view));
            return ConsumeResult.SUCCESS;
        });
        AtomicBoolean over = new AtomicBoolean();
        Thread sending = new Thread(() -> {
            for (int i = 0; !over.get(); i++) {
                try {
                    producer.send(message(topic, "m" + i).build());
                    acknowledged.add("m" + i);
                    Thread.sleep(2);
                } catch (ClientException | RuntimeException e) {
                    i--;
                } catch (InterruptedException e) {
                    return;
                }
            }
        });
        Thread taking = new Thread(() -> {
            while (!over.get() || !taken.containsAll(acknowledged)) {
                try {
                    for (MessageView view : simple.receive(32, Duration.ofSeconds(10))) {
                        taken.add(Kit.body(view));
                        simple.ack(view);
                    }
                } catch (ClientException | RuntimeException e) {
                    // Again.
                }
            }
        });
        sending.setDaemon(true);
        taking.setDaemon(true);
        sending.start();
        taking.start();
        Kit.eventually(40, "both run", () -> pushed.size() > 100 && taken.size() > 100);
        Kit.hook(verb);
        Thread.sleep(300);
        Kit.hook("start");
        long start = System.nanoTime();
        int sent = acknowledged.size();
        int seen = pushed.size();
        int got = taken.size();
        Kit.eventually(90, "a send", () -> acknowledged.size() > sent);
        kit.note("sends after %.1f s", (System.nanoTime() - start) / 1e9);
        Kit.eventually(90, "the push consumer goes on", () -> pushed.size() > seen + 50);
        kit.note("push consumer after %.1f s", (System.nanoTime() - start) / 1e9);
        Kit.eventually(90, "the simple consumer goes on", () -> taken.size() > got + 50);
        kit.note("simple consumer after %.1f s", (System.nanoTime() - start) / 1e9);
        Kit.eventually(60, "more sends", () -> acknowledged.size() > sent + 200);
        over.set(true);
        sending.join(30_000);
        // What was under way with the restart comes again after 60 s at the latest.
        Kit.eventually(90, "all that was acknowledged, at both", () -> pushed.containsAll(acknowledged) && taken.containsAll(acknowledged));
        kit.note("%d messages, all after %.1f s", acknowledged.size(), (System.nanoTime() - start) / 1e9);
    }

    /** What the server has to keep in mind: receipts, delayed messages, half messages. */
    private static void held(Kit kit) throws Exception {
        String topic = kit.topic("MIXED");
        Set<String> asked = ConcurrentHashMap.newKeySet();
        Producer producer = kit.producer(view -> {
            asked.add(Kit.body(view));
            return Kit.body(view).equals("checked") ? TransactionResolution.COMMIT : TransactionResolution.UNKNOWN;
        }, topic);
        producer.send(message(topic, "received").build());
        SimpleConsumer consumer = kit.simple(kit.group(), topic);
        List<MessageView> received = new ArrayList<>();
        Kit.eventually(20, "the first", () -> received.addAll(consumer.receive(1, Duration.ofSeconds(120))));
        producer.send(message(topic, "delayed").setDeliveryTimestamp(System.currentTimeMillis() + 3000).build());
        Transaction open = producer.beginTransaction();
        producer.send(message(topic, "half").build(), open);
        Transaction forgotten = producer.beginTransaction();
        producer.send(message(topic, "checked").build(), forgotten);
        Kit.hook("kill");
        Kit.hook("start");
        Kit.eventually(60, "acknowledged with the receipt of before", () -> {
            try {
                consumer.ack(received.get(0));
                return true;
            } catch (ClientException | RuntimeException e) {
                // The connection is made anew; but a code of the server is none.
                check(!e.toString().contains("response-code"), e.toString());
                Thread.sleep(100);
                return false;
            }
        });
        Kit.eventually(60, "the end of a transaction of before", () -> {
            try {
                open.commit();
                return true;
            } catch (ClientException | RuntimeException e) {
                // Version 5.0.7 does not wait for its connection.
                check(!e.toString().contains("response-code"), e.toString());
                Thread.sleep(100);
                return false;
            }
        });
        List<String> got = new ArrayList<>();
        Kit.eventually(60, "the others", () -> {
            try {
                for (MessageView view : consumer.receive(32, Kit.INVISIBLE)) {
                    got.add(Kit.body(view));
                    consumer.ack(view);
                }
            } catch (ClientException | RuntimeException e) {
                check(!e.toString().contains("response-code"), e.toString());
                Thread.sleep(100);
            }
            return got.size() >= 3;
        });
        Kit.nothing(consumer);
        equal(Set.of("delayed", "half", "checked"), new HashSet<>(got), "what was held");
        equal(3, got.size(), "deliveries " + got);
        check(asked.contains("checked"), "the checker was asked");
    }
}
