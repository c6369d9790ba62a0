package interop;

import static interop.Kit.equal;
import static interop.Kit.text;

import interop.Main.Case;
import interop.Main.Phase;
import java.util.List;
import java.util.Set;
import java.util.TreeSet;
import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageQueue;

/** Subscriptions by tag get exactly their tags. */
final class TagCases {
    private TagCases() {}

    static void add(List<Case> cases) {
        cases.add(new Case("tags.or", Phase.TOGETHER, kit -> subscribed(kit, "TagA || TagB", Set.of("TagA", "TagB"))));
        // "Aa" and "BB" have the same hash, which is all that a broker's queue entry knows of a tag.
        cases.add(new Case("tags.same_hash", Phase.TOGETHER, kit -> subscribed(kit, "Aa", Set.of("Aa"))));
        cases.add(new Case("tags.unicode", Phase.TOGETHER, kit -> subscribed(kit, "标签||TagA", Set.of("标签", "TagA"))));
        cases.add(new Case("tags.sparse", Phase.TOGETHER, TagCases::sparse));
        cases.add(new Case("tags.two_groups", Phase.TOGETHER, TagCases::twoGroups));
    }

    private static void subscribed(Kit kit, String expression, Set<String> tags) throws Exception {
        DefaultMQProducer producer = kit.producer();
        String topic = kit.createdTopic(producer, 4);
        List<MessageQueue> queues = Kit.queues(producer, topic);
        Set<String> want = new TreeSet<>();
        for (int i = 0; i < 40; i++) {
            for (String tag : new String[] {"TagA", "TagB", "TagC", "Aa", "BB", "标签", "", "tagA"}) {
                String body = tag + i;
                producer.send(new Message(topic, tag, text(body)), queues.get(i % 4));
                if (tags.contains(tag)) {
                    want.add(body);
                }
            }
        }
        // The last message of each queue is wanted: when it is there, all before it have been decided.
        String last = tags.iterator().next();
        for (MessageQueue queue : queues) {
            String body = "last" + queue.getQueueId();
            producer.send(new Message(topic, last, text(body)), queue);
            want.add(body);
        }
        DefaultMQPushConsumer consumer = kit.pushConsumer(kit.group());
        Inbox inbox = new Inbox().attach(consumer, topic, expression);
        inbox.awaitBodies(want, 60);
        Kit.sameSet(want, inbox.bodies(), "bodies");
        equal(want.size(), inbox.size(), "deliveries");
    }

    /** One wanted message behind 5,000 unwanted ones: the broker must skip them, in one pull or in many. */
    private static void sparse(Kit kit) throws Exception {
        DefaultMQProducer producer = kit.producer();
        String topic = kit.createdTopic(producer, 1);
        MessageQueue queue = Kit.queues(producer, topic).get(0);
        for (int b = 0; b < 50; b++) {
            List<Message> batch = new java.util.ArrayList<>();
            for (int i = 0; i < 100; i++) {
                batch.add(new Message(topic, "No", text("no")));
            }
            producer.send(batch, queue);
        }
        producer.send(new Message(topic, "Yes", text("yes1")), queue);
        Inbox inbox = new Inbox().attach(kit.pushConsumer(kit.group()), topic, "Yes");
        inbox.awaitBodies(Set.of("yes1"), 60);
        // And as a parked consumer, woken by messages it does not want.
        for (int i = 0; i < 20; i++) {
            producer.send(new Message(topic, "No", text("no")), queue);
        }
        producer.send(new Message(topic, "Yes", text("yes2")), queue);
        inbox.awaitBodies(Set.of("yes1", "yes2"), 60);
        equal(2, inbox.size(), "deliveries");
    }

    /** Two groups on one topic: each gets its own part, and each keeps its own offsets. */
    private static void twoGroups(Kit kit) throws Exception {
        DefaultMQProducer producer = kit.producer();
        String topic = kit.createdTopic(producer, 4);
        Inbox a = new Inbox().attach(kit.pushConsumer(kit.group()), topic, "TagA");
        Inbox all = new Inbox().attach(kit.pushConsumer(kit.group()), topic, "*");
        Set<String> wantA = new TreeSet<>();
        Set<String> wantAll = new TreeSet<>();
        for (int i = 0; i < 60; i++) {
            String tag = i % 3 == 0 ? "TagA" : "TagB";
            producer.send(new Message(topic, tag, text("m" + i)));
            wantAll.add("m" + i);
            if (i % 3 == 0) {
                wantA.add("m" + i);
            }
        }
        all.awaitBodies(wantAll, 60);
        a.awaitBodies(wantA, 60);
        Kit.sameSet(wantA, a.bodies(), "group of TagA");
        Kit.sameSet(wantAll, all.bodies(), "group of all");
        equal(20, a.size(), "deliveries to the group of TagA");
        equal(60, all.size(), "deliveries to the group of all");
    }
}
