package interop;

import static interop.Kit.check;
import static interop.Kit.equal;
import static interop.Kit.text;

import interop.Main.Case;
import interop.Main.Phase;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.atomic.AtomicBoolean;
import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.consumer.listener.ConsumeOrderlyStatus;
import org.apache.rocketmq.client.consumer.listener.MessageListenerOrderly;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageExt;

/** Ordered consumption: what one queue holds is handled in its order, by one consumer at a time. */
final class OrderCases {
    private static final int QUEUES = 4;

    private OrderCases() {}

    static void add(List<Case> cases) {
        cases.add(new Case("order.one_consumer", Phase.TOGETHER, OrderCases::oneConsumer));
        cases.add(new Case("order.suspend", Phase.TOGETHER, OrderCases::suspend));
        cases.add(new Case("order.rebalance", Phase.TOGETHER, OrderCases::rebalance));
    }

    private static void send(DefaultMQProducer producer, String topic, int order, int step) throws Exception {
        Message message = new Message(topic, "T", "order-" + order, text(order + ":" + step));
        producer.send(message, (queues, m, arg) -> queues.get((Integer) arg % queues.size()), order);
    }

    private static int order(MessageExt message) {
        return Integer.parseInt(text(message).split(":")[0]);
    }

    private static int step(MessageExt message) {
        return Integer.parseInt(text(message).split(":")[1]);
    }

    private static void oneConsumer(Kit kit) throws Exception {
        DefaultMQProducer producer = kit.producer();
        String topic = kit.createdTopic(producer, QUEUES);
        DefaultMQPushConsumer consumer = kit.pushConsumer(kit.group());
        consumer.subscribe(topic, "*");
        Inbox inbox = new Inbox();
        Map<Integer, AtomicBoolean> busy = new ConcurrentHashMap<>();
        List<String> overlaps = new ArrayList<>();
        consumer.registerMessageListener((MessageListenerOrderly) (messages, context) -> {
            int queue = messages.get(0).getQueueId();
            AtomicBoolean mine = busy.computeIfAbsent(queue, q -> new AtomicBoolean());
            if (!mine.compareAndSet(false, true)) {
                overlaps.add("queue " + queue);
            }
            messages.forEach(inbox::add);
            mine.set(false);
            return ConsumeOrderlyStatus.SUCCESS;
        });
        consumer.start();
        int orders = 10;
        int steps = 100;
        for (int step = 0; step < steps; step++) {
            for (int order = 0; order < orders; order++) {
                send(producer, topic, order, step);
            }
        }
        inbox.await(orders * steps, 90);
        Map<Integer, Integer> next = new HashMap<>();
        Map<Integer, Long> offsets = new HashMap<>();
        for (MessageExt message : inbox.messages()) {
            equal(next.getOrDefault(order(message), 0), step(message), "step of order " + order(message));
            next.put(order(message), step(message) + 1);
            equal(offsets.getOrDefault(message.getQueueId(), 0L), message.getQueueOffset(), "offset in queue " + message.getQueueId());
            offsets.put(message.getQueueId(), message.getQueueOffset() + 1);
            equal(order(message) % QUEUES, message.getQueueId(), "queue of order " + order(message));
        }
        equal(orders * steps, inbox.size(), "deliveries");
        check(overlaps.isEmpty(), "two at a time: %s", overlaps);
    }

    /** A message that is not done yet holds up its own queue, and only that. */
    private static void suspend(Kit kit) throws Exception {
        DefaultMQProducer producer = kit.producer();
        String topic = kit.createdTopic(producer, QUEUES);
        DefaultMQPushConsumer consumer = kit.pushConsumer(kit.group());
        consumer.setSuspendCurrentQueueTimeMillis(300);
        consumer.subscribe(topic, "*");
        Inbox inbox = new Inbox();
        Map<String, Integer> tries = new ConcurrentHashMap<>();
        AtomicBoolean release = new AtomicBoolean();
        consumer.registerMessageListener((MessageListenerOrderly) (messages, context) -> {
            MessageExt message = messages.get(0);
            if (text(message).equals("1:5")) {
                int attempt = tries.merge("1:5", 1, Integer::sum);
                if (attempt == 2) {
                    throw new IllegalStateException("on purpose");
                }
                if (attempt < 4 || !release.get()) {
                    return ConsumeOrderlyStatus.SUSPEND_CURRENT_QUEUE_A_MOMENT;
                }
            }
            messages.forEach(inbox::add);
            return ConsumeOrderlyStatus.SUCCESS;
        });
        consumer.start();
        for (int step = 0; step < 10; step++) {
            for (int order = 0; order < QUEUES; order++) {
                send(producer, topic, order, step);
            }
        }
        Kit.eventually(60, "other queues done, five tries", () -> inbox.of(m -> order(m) != 1).size() == 30 && tries.getOrDefault("1:5", 0) >= 5);
        equal(5, inbox.of(m -> order(m) == 1).size(), "messages before the suspended one");
        release.set(true);
        inbox.await(40, 60);
        Map<Integer, Integer> next = new HashMap<>();
        for (MessageExt message : inbox.messages()) {
            equal(next.getOrDefault(order(message), 0), step(message), "step of order " + order(message));
            next.put(order(message), step(message) + 1);
        }
        Inbox.Arrival held = inbox.of(m -> text(m).equals("1:5")).get(0);
        check(held.message().getReconsumeTimes() >= 4, "reconsumeTimes of the suspended message: %d", held.message().getReconsumeTimes());
        equal(40, inbox.size(), "deliveries");
    }

    /** A second consumer comes and goes: nothing lost, and no queue ever jumps ahead or is handled by two at once. */
    private static void rebalance(Kit kit) throws Exception {
        DefaultMQProducer producer = kit.producer();
        String topic = kit.createdTopic(producer, QUEUES);
        String group = kit.group();
        Inbox inbox = new Inbox();
        Map<Integer, String> inside = new ConcurrentHashMap<>();
        Set<String> overlaps = ConcurrentHashMap.newKeySet();
        AtomicBoolean stop = new AtomicBoolean();
        List<Exception> failures = new ArrayList<>();
        Map<Integer, Integer> sent = new HashMap<>();
        Thread sender = new Thread(() -> {
            try {
                for (int step = 0; !stop.get(); step++) {
                    for (int order = 0; order < QUEUES; order++) {
                        send(producer, topic, order, step);
                        sent.put(order, step + 1);
                    }
                    Thread.sleep(5);
                }
            } catch (Exception e) {
                failures.add(e);
            }
        });
        sender.start();
        try {
            DefaultMQPushConsumer a = orderly(kit, group, topic, inbox, inside, overlaps);
            Kit.eventually(60, "the first consumer works on all queues", () -> queuesOf(inbox, a, 0).size() == QUEUES);
            int before = inbox.size();
            long start = System.nanoTime();
            DefaultMQPushConsumer b = orderly(kit, group, topic, inbox, inside, overlaps);
            Kit.eventually(90, "the second works on half of them", () -> queuesOf(inbox, b, before).size() == QUEUES / 2);
            kit.note("shared after %.1f s", (System.nanoTime() - start) / 1e9);
            start = System.nanoTime();
            b.shutdown();
            int after = inbox.size();
            Kit.eventually(120, "the first works on all again", () -> queuesOf(inbox, a, after).size() == QUEUES);
            kit.note("taken over after %.1f s", (System.nanoTime() - start) / 1e9);
        } finally {
            stop.set(true);
            sender.join();
        }
        check(failures.isEmpty(), "sender: %s", failures);
        Kit.eventually(60, "all steps of all orders", () -> {
            Map<Integer, Integer> last = new HashMap<>();
            inbox.messages().forEach(m -> last.merge(order(m), step(m) + 1, Math::max));
            return last.equals(sent);
        });
        Map<Integer, Integer> next = new HashMap<>();
        int repeated = 0;
        for (MessageExt message : inbox.messages()) {
            int want = next.getOrDefault(order(message), 0);
            check(step(message) <= want, "order %d jumped from %d to %d", order(message), want, step(message));
            repeated += step(message) < want ? 1 : 0;
            next.put(order(message), Math.max(want, step(message) + 1));
        }
        check(overlaps.isEmpty(), "handled by two at once: %s", overlaps);
        kit.note("%d delivered, %d of them again", inbox.size(), repeated);
    }

    private static DefaultMQPushConsumer orderly(Kit kit, String group, String topic, Inbox inbox, Map<Integer, String> inside, Set<String> overlaps) throws Exception {
        DefaultMQPushConsumer consumer = kit.pushConsumer(group);
        String name = consumer.getInstanceName();
        consumer.subscribe(topic, "*");
        consumer.registerMessageListener((MessageListenerOrderly) (messages, context) -> {
            int queue = messages.get(0).getQueueId();
            String other = inside.put(queue, name);
            if (other != null && !other.equals(name)) {
                overlaps.add(queue + " by " + other + " and " + name);
            }
            messages.forEach(m -> inbox.add(m, name));
            inside.remove(queue, name);
            return ConsumeOrderlyStatus.SUCCESS;
        });
        consumer.start();
        return consumer;
    }

    private static Set<Integer> queuesOf(Inbox inbox, DefaultMQPushConsumer consumer, int from) {
        Set<Integer> queues = new HashSet<>();
        List<Inbox.Arrival> arrivals = inbox.arrivals();
        for (Inbox.Arrival arrival : arrivals.subList(Math.min(from, arrivals.size()), arrivals.size())) {
            if (arrival.consumer().equals(consumer.getInstanceName())) {
                queues.add(arrival.message().getQueueId());
            }
        }
        return queues;
    }
}
