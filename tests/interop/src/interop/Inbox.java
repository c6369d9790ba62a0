package interop;

import java.util.ArrayList;
import java.util.List;
import java.util.Set;
import java.util.TreeSet;
import java.util.function.Predicate;
import java.util.stream.Collectors;
import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.consumer.listener.ConsumeConcurrentlyStatus;
import org.apache.rocketmq.client.consumer.listener.MessageListenerConcurrently;
import org.apache.rocketmq.common.message.MessageExt;

/** What a consumer got, in the order in which it got it. */
final class Inbox {
    /** One delivery: the message, when it came, and which attempt it was, as it was at that moment. */
    record Arrival(MessageExt message, long nanos, int reconsumeTimes, String consumer) {}

    private final List<Arrival> arrivals = new ArrayList<>();

    synchronized void add(MessageExt message, String consumer) {
        arrivals.add(new Arrival(message, System.nanoTime(), message.getReconsumeTimes(), consumer));
        notifyAll();
    }

    void add(MessageExt message) {
        add(message, "");
    }

    synchronized int size() {
        return arrivals.size();
    }

    synchronized List<Arrival> arrivals() {
        return new ArrayList<>(arrivals);
    }

    List<MessageExt> messages() {
        return arrivals().stream().map(Arrival::message).collect(Collectors.toList());
    }

    List<Arrival> of(Predicate<MessageExt> wanted) {
        return arrivals().stream().filter(a -> wanted.test(a.message())).collect(Collectors.toList());
    }

    Set<String> bodies() {
        return messages().stream().map(Kit::text).collect(Collectors.toCollection(TreeSet::new));
    }

    /** Waits for at least this many deliveries. */
    void await(int count, int seconds) throws Exception {
        try {
            Kit.eventually(seconds, "", () -> size() >= count);
        } catch (AssertionError e) {
            throw new AssertionError("want " + count + " deliveries, got " + size() + " within " + seconds + " s");
        }
    }

    /** Waits until the set of bodies is complete, however often each came. */
    void awaitBodies(Set<String> want, int seconds) throws Exception {
        try {
            int[] looked = new int[1];
            Kit.eventually(seconds, "all bodies", () -> {
                int size = size();
                if (size < want.size() || size == looked[0]) {
                    return want.isEmpty();
                }
                looked[0] = size;
                return bodies().containsAll(want);
            });
        } catch (AssertionError e) {
            Kit.sameSet(want, bodies(), e.getMessage());
        }
    }

    /** Subscribes, listens concurrently, takes everything at once and starts. */
    Inbox attach(DefaultMQPushConsumer consumer, String topic, String tags) throws Exception {
        consumer.subscribe(topic, tags);
        String who = consumer.getInstanceName();
        consumer.registerMessageListener((MessageListenerConcurrently) (messages, context) -> {
            for (MessageExt message : messages) {
                add(message, who);
            }
            return ConsumeConcurrentlyStatus.CONSUME_SUCCESS;
        });
        consumer.start();
        return this;
    }
}
