package interop;

import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import org.apache.rocketmq.client.consumer.DefaultMQPullConsumer;
import org.apache.rocketmq.client.consumer.PullResult;
import org.apache.rocketmq.client.consumer.PullStatus;
import org.apache.rocketmq.client.impl.MQClientAPIImpl;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.common.TopicConfig;
import org.apache.rocketmq.common.message.MessageExt;
import org.apache.rocketmq.common.message.MessageQueue;
import org.apache.rocketmq.common.message.MessageQueueAssignment;
import org.apache.rocketmq.remoting.protocol.body.SubscriptionGroupWrapper;
import org.apache.rocketmq.remoting.protocol.body.TopicConfigSerializeWrapper;
import org.apache.rocketmq.remoting.protocol.header.QueryConsumerOffsetRequestHeader;
import org.apache.rocketmq.remoting.protocol.heartbeat.MessageModel;
import org.apache.rocketmq.remoting.protocol.subscription.SubscriptionGroupConfig;
import org.apache.rocketmq.tools.admin.DefaultMQAdminExt;

/** What a server tells of what was written: messages, offsets, settings, each in words that can be compared. */
final class State {
    private State() {}

    /** Every message of the topics that were written to, and of what groups were handed back, by its place. */
    @SuppressWarnings("deprecation")
    static Map<String, String> served(Kit kit, Written written) throws Exception {
        Map<String, String> all = new TreeMap<>();
        DefaultMQPullConsumer consumer = kit.pullConsumer("TOOLS_CONSUMER");
        List<String> topics = new ArrayList<>(written.topics());
        topics.add("%DLQ%" + written.group("dead"));
        List<MessageQueue> queues = new ArrayList<>();
        for (String topic : topics) {
            queues.addAll(consumer.fetchSubscribeMessageQueues(topic));
        }
        queues.addAll(written.lightQueues);
        for (MessageQueue queue : queues) {
            long offset = consumer.minOffset(queue);
            long end = consumer.maxOffset(queue);
            while (offset < end) {
                PullResult result = consumer.pull(queue, "*", offset, 32);
                if (result.getPullStatus() == PullStatus.FOUND) {
                    for (MessageExt message : result.getMsgFoundList()) {
                        all.put(queue.getTopic() + " " + queue.getQueueId() + " " + message.getQueueOffset(), words(message));
                    }
                }
                Kit.check(result.getNextBeginOffset() > offset, "%s %d stands still: %s", queue, offset, result);
                offset = result.getNextBeginOffset();
            }
        }
        return all;
    }

    private static String words(MessageExt message) {
        TreeMap<String, String> properties = new TreeMap<>(Kit.properties(message));
        // Kerolox's checksum of the whole record, which Apache shows.
        properties.remove("__CRC32#");
        return String.join(" ", message.getMsgId(), message.getTopic(), "" + message.getQueueId(), "" + message.getQueueOffset(), "" + message.getCommitLogOffset(),
            "" + message.getFlag(), "" + message.getSysFlag(), "" + message.getBornTimestamp(), "" + message.getBornHost(), "" + message.getStoreTimestamp(),
            "" + message.getStoreHost(), "" + message.getReconsumeTimes(), "" + message.getPreparedTransactionOffset(), "" + message.getBodyCRC(),
            "" + message.getBody().length, "" + Kit.crc(message.getBody()), properties.toString());
    }

    /** Of each group, topic and queue; what is popped apart, for whose offsets each server has rules of its own. */
    static Map<String, Long> offsets(Kit kit, Written written) throws Exception {
        Map<String, Long> all = new TreeMap<>();
        DefaultMQProducer producer = kit.producer();
        MQClientAPIImpl api = producer.getDefaultMQProducerImpl().getMqClientFactory().getMQClientAPIImpl();
        Map<String, List<MessageQueue>> queues = new TreeMap<>();
        for (String kind : List.of("plain", "dead", "retry")) {
            queues.put(written.group(kind), Kit.queues(producer, written.topic(kind)));
        }
        queues.put(written.lightGroup(), written.lightQueues);
        for (String group : queues.keySet()) {
            for (MessageQueue queue : queues.get(group)) {
                QueryConsumerOffsetRequestHeader header = new QueryConsumerOffsetRequestHeader();
                header.setConsumerGroup(group);
                header.setTopic(queue.getTopic());
                header.setQueueId(queue.getQueueId());
                all.put(group + " " + queue.getTopic() + " " + queue.getQueueId(), api.queryConsumerOffset(written.broker, header, 5_000));
            }
        }
        return all;
    }

    /** Of the topics and groups, and whether these pop. */
    static Map<String, String> settings(Kit kit, DefaultMQAdminExt admin, Written written) throws Exception {
        Map<String, String> all = new TreeMap<>();
        MQClientAPIImpl api = kit.producer().getDefaultMQProducerImpl().getMqClientFactory().getMQClientAPIImpl();
        for (String[] pair : Written.OLD ? new String[0][] : new String[][] {{"pop", "pop"}, {"order", "plain"}, {"plain", "plain"}}) {
            String topic = written.topic(pair[0]);
            String group = written.group(pair[1]);
            Kit.eventually(60, "the mode of " + group, () -> {
                Set<MessageQueueAssignment> queues = api.queryAssignment(written.broker, topic, group, "c", "AVG", MessageModel.BROADCASTING, 5_000);
                queues.forEach(queue -> all.put("mode " + topic + " " + group, "" + queue.getMode()));
                return !queues.isEmpty();
            });
        }
        TopicConfigSerializeWrapper topics = admin.getAllTopicConfig(written.broker, 10_000);
        for (TopicConfig config : topics.getTopicConfigTable().values()) {
            // Where what was popped goes when its time is over is made then.
            boolean popped = config.getTopicName().startsWith("%RETRY%" + written.group("pop"));
            if (config.getTopicName().contains(written.prefix + "-") && !popped) {
                all.put("topic " + config.getTopicName(), config + " " + config.getAttributes());
            }
        }
        SubscriptionGroupWrapper groups = admin.getAllSubscriptionGroup(written.broker, 10_000);
        for (SubscriptionGroupConfig config : groups.getSubscriptionGroupTable().values()) {
            if (config.getGroupName().startsWith("G-" + written.prefix)) {
                all.put("group " + config.getGroupName(), config.toString());
            }
        }
        return all;
    }
}
