package interop;

import static interop.Kit.equal;
import static interop.Kit.text;

import interop.Main.Case;
import interop.Main.Phase;
import java.util.Comparator;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.TreeSet;
import org.apache.rocketmq.client.exception.MQClientException;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.common.TopicConfig;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageExt;
import org.apache.rocketmq.common.message.MessageQueue;
import org.apache.rocketmq.tools.admin.DefaultMQAdminExt;

/** Compaction topics: topics have attributes from client 5 on. */
final class CompactionCases {
    private CompactionCases() {}

    static void add(List<Case> cases) {
        cases.add(new Case("restart.compaction", Phase.SHARED_HOOK, CompactionCases::compaction));
    }

    /** Creates a topic with attributes, each as `+name` and value. (A producer's createTopic takes attributes, and drops them.) */
    static String topic(Kit kit, DefaultMQProducer producer, int queues, Map<String, String> attributes) throws Exception {
        DefaultMQAdminExt admin = kit.admin();
        String known = kit.createdTopic(producer, 1);
        String broker = admin.examineTopicRouteInfo(known).getBrokerDatas().get(0).selectBrokerAddr();
        TopicConfig config = new TopicConfig(kit.topic(), queues, queues);
        config.getAttributes().putAll(attributes);
        admin.createAndUpdateTopicConfig(broker, config);
        Kit.eventually(60, "the route of " + config.getTopicName(), () -> {
            try {
                return producer.fetchPublishMessageQueues(config.getTopicName()).size() == queues;
            } catch (MQClientException e) {
                Thread.sleep(20);
                return false;
            }
        });
        return config.getTopicName();
    }

    /** Whoever reads a compaction topic anew finds every key, and its latest value last. */
    private static void compaction(Kit kit) throws Exception {
        DefaultMQProducer producer = kit.producer();
        String topic = topic(kit, producer, 2, Map.of("+cleanup.policy", "COMPACTION"));
        List<MessageQueue> queues = Kit.queues(producer, topic);
        Map<String, String> latest = new TreeMap<>();
        for (int restarts = 0; restarts <= SharedRestart.VERBS.size(); restarts++) {
            if (restarts > 0) {
                kit.sharedRestart();
            }
            for (int round = 0; round < 3; round++) {
                for (int key = restarts * 2; key < 20; key++) {
                    String value = restarts + "-" + round + "-" + key;
                    Kit.sendUntilTaken(producer, new Message(topic, "T", "k" + key, text(value)), queues.get(key % 2));
                    latest.put("k" + key, value);
                }
            }
            Inbox inbox = new Inbox().attach(kit.pushConsumer(kit.group()), topic, "*");
            inbox.awaitBodies(new TreeSet<>(latest.values()), 60);
            Map<String, String> last = new TreeMap<>();
            inbox.messages().stream().sorted(Comparator.comparingLong(MessageExt::getQueueOffset)).forEach(m -> last.put(m.getKeys(), text(m)));
            equal(latest, last, "latest of each key after " + restarts + " restarts");
            kit.note("%d delivered", inbox.size());
        }
    }
}
