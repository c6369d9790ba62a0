package interop;

import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import org.apache.rocketmq.client.consumer.DefaultMQPullConsumer;
import org.apache.rocketmq.client.consumer.PullResult;
import org.apache.rocketmq.client.consumer.PullStatus;
import org.apache.rocketmq.client.impl.MQClientAPIImpl;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.common.TopicConfig;
import org.apache.rocketmq.common.message.MessageExt;
import org.apache.rocketmq.common.message.MessageQueue;
import org.apache.rocketmq.remoting.protocol.body.SubscriptionGroupWrapper;
import org.apache.rocketmq.remoting.protocol.body.TopicConfigSerializeWrapper;
import org.apache.rocketmq.remoting.protocol.header.QueryConsumerOffsetRequestHeader;
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
        for (String topic : topics) {
            for (MessageQueue queue : consumer.fetchSubscribeMessageQueues(topic)) {
                long offset = consumer.minOffset(queue);
                long end = consumer.maxOffset(queue);
                while (offset < end) {
                    PullResult result = consumer.pull(queue, "*", offset, 32);
                    if (result.getPullStatus() == PullStatus.FOUND) {
                        for (MessageExt message : result.getMsgFoundList()) {
                            all.put(topic + " " + queue.getQueueId() + " " + message.getQueueOffset(), words(message));
                        }
                    }
                    Kit.check(result.getNextBeginOffset() > offset, "%s %d stands still: %s", queue, offset, result);
                    offset = result.getNextBeginOffset();
                }
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
        for (String kind : List.of("plain", "dead", "retry")) {
            for (MessageQueue queue : Kit.queues(producer, written.topic(kind))) {
                QueryConsumerOffsetRequestHeader header = new QueryConsumerOffsetRequestHeader();
                header.setConsumerGroup(written.group(kind));
                header.setTopic(queue.getTopic());
                header.setQueueId(queue.getQueueId());
                MQClientAPIImpl api = producer.getDefaultMQProducerImpl().getMqClientFactory().getMQClientAPIImpl();
                all.put(written.group(kind) + " " + queue.getTopic() + " " + queue.getQueueId(), api.queryConsumerOffset(written.broker, header, 5_000));
            }
        }
        return all;
    }

    /** Of the topics and groups. */
    static Map<String, String> settings(DefaultMQAdminExt admin, Written written) throws Exception {
        Map<String, String> all = new TreeMap<>();
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
