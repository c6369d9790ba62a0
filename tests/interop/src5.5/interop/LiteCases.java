package interop;

import static interop.Kit.check;
import static interop.Kit.equal;
import static interop.Kit.text;

import interop.Main.Case;
import interop.Main.Phase;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeSet;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.TimeUnit;
import java.util.stream.Collectors;
import org.apache.rocketmq.client.consumer.AckResult;
import org.apache.rocketmq.client.consumer.AckStatus;
import org.apache.rocketmq.client.consumer.PopResult;
import org.apache.rocketmq.client.consumer.PopStatus;
import org.apache.rocketmq.client.impl.MQClientAPIImpl;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.common.lite.LiteSubscriptionAction;
import org.apache.rocketmq.common.lite.LiteSubscriptionDTO;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageAccessor;
import org.apache.rocketmq.common.message.MessageConst;
import org.apache.rocketmq.common.message.MessageExt;
import org.apache.rocketmq.remoting.protocol.RemotingCommand;
import org.apache.rocketmq.remoting.protocol.RequestCode;
import org.apache.rocketmq.remoting.protocol.body.LiteSubscriptionCtlRequestBody;
import org.apache.rocketmq.remoting.protocol.header.AckMessageRequestHeader;
import org.apache.rocketmq.remoting.protocol.header.ExtraInfoUtil;
import org.apache.rocketmq.remoting.protocol.header.LiteSubscriptionCtlRequestHeader;
import org.apache.rocketmq.remoting.protocol.header.PopLiteMessageRequestHeader;
import org.apache.rocketmq.remoting.protocol.subscription.SubscriptionGroupConfig;
import org.apache.rocketmq.tools.admin.DefaultMQAdminExt;

/** Lite topics, which clients have from 5.5 on, with the client's own calls: proxies use these. */
final class LiteCases {
    /** Kerolox keeps what is in flight and what was acknowledged over a kill. Apache goes back to offsets that are some seconds old. */
    private static final boolean DURABLE = Boolean.getBoolean("durable.offsets");

    private LiteCases() {}

    static void add(List<Case> cases) {
        cases.add(new Case("lite.two_clients", Phase.TOGETHER, LiteCases::twoClients));
        cases.add(new Case("lite.exclusive", Phase.TOGETHER, LiteCases::exclusive));
        cases.add(new Case("lite.admin", Phase.TOGETHER, LiteCases::admin));
        cases.add(new Case("restart.lite_topics", Phase.SHARED_HOOK, LiteCases::acrossRestarts));
    }

    /** A parent topic and a group that is bound to it. */
    private static final class Parent {
        final DefaultMQProducer producer;
        final DefaultMQAdminExt admin;
        final String topic;
        final String group;
        final String broker;

        Parent(Kit kit, Map<String, String> groupAttributes) throws Exception {
            producer = kit.producer();
            admin = kit.admin();
            topic = CompactionCases.topic(kit, producer, 1, Map.of("+message.type", "LITE", "+lite.topic.expiration", "60"));
            group = kit.group();
            broker = admin.examineTopicRouteInfo(topic).getBrokerDatas().get(0).selectBrokerAddr();
            SubscriptionGroupConfig config = new SubscriptionGroupConfig();
            config.setGroupName(group);
            config.getAttributes().put("+lite.bind.topic", topic);
            config.getAttributes().putAll(groupAttributes);
            admin.createAndUpdateSubscriptionGroupConfig(broker, config);
        }

        void send(String lite, String... bodies) throws Exception {
            for (String body : bodies) {
                Message message = new Message(topic, text(body));
                MessageAccessor.putProperty(message, "__LITE_TOPIC", lite);
                Kit.sendUntilTaken(producer, message, null);
            }
        }
    }

    /** A client with a connection of its own. */
    private static final class Consumer {
        private final Parent parent;
        private final MQClientAPIImpl api;
        final String id;

        Consumer(Kit kit, Parent parent) throws Exception {
            this.parent = parent;
            DefaultMQProducer connection = kit.producer();
            connection.getDefaultMQProducerImpl().getMqClientFactory().updateTopicRouteInfoFromNameServer(parent.topic);
            this.api = connection.getDefaultMQProducerImpl().getMqClientFactory().getMQClientAPIImpl();
            this.id = connection.getDefaultMQProducerImpl().getMqClientFactory().getClientId();
        }

        void subscribe(LiteSubscriptionAction action, String... liteTopics) throws Exception {
            LiteSubscriptionDTO entry = new LiteSubscriptionDTO();
            entry.setAction(action).setClientId(id).setGroup(parent.group).setTopic(parent.topic).setLiteTopicSet(Set.of(liteTopics));
            LiteSubscriptionCtlRequestBody body = new LiteSubscriptionCtlRequestBody();
            body.setSubscriptionSet(Set.of(entry));
            RemotingCommand request = RemotingCommand.createRequestCommand(RequestCode.LITE_SUBSCRIPTION_CTL, new LiteSubscriptionCtlRequestHeader());
            request.setBody(body.encode());
            RemotingCommand answer = api.getRemotingClient().invokeSync(parent.broker, request, 10_000);
            check(answer.getCode() == 0, "a subscription was answered with code %d, %s", answer.getCode(), answer.getRemark());
        }

        List<MessageExt> pop(int count, long invisibleMs, long pollMs) throws Exception {
            PopLiteMessageRequestHeader header = new PopLiteMessageRequestHeader();
            header.setClientId(id);
            header.setConsumerGroup(parent.group);
            header.setTopic(parent.topic);
            header.setMaxMsgNum(count);
            header.setInvisibleTime(invisibleMs);
            header.setPollTime(pollMs);
            header.setBornTime(System.currentTimeMillis());
            CompletableFuture<PopResult> done = new CompletableFuture<>();
            api.popLiteMessageAsync("broker", parent.broker, header, pollMs + 10_000, Answers.ofPop(done));
            PopResult result = done.get(pollMs + 15_000, TimeUnit.MILLISECONDS);
            return result.getPopStatus() == PopStatus.FOUND ? result.getMsgFoundList() : List.of();
        }

        /** Pops until there were so many, acknowledging what the next ones wait for. */
        List<String> consume(int count) throws Exception {
            List<String> bodies = new ArrayList<>();
            Kit.eventually(60, count + " messages for " + id, () -> {
                for (MessageExt message : pop(32, 60_000, 1_000)) {
                    bodies.add(text(message));
                    ack(message);
                }
                return bodies.size() >= count;
            });
            equal(count, bodies.size(), "messages for " + id + ": " + bodies);
            return bodies;
        }

        void ack(MessageExt message) throws Exception {
            String receipt = message.getProperty(MessageConst.PROPERTY_POP_CK);
            String[] items = ExtraInfoUtil.split(receipt);
            AckMessageRequestHeader header = new AckMessageRequestHeader();
            header.setTopic(parent.topic);
            header.setLiteTopic(liteOf(message));
            header.setQueueId(ExtraInfoUtil.getQueueId(items));
            header.setOffset(ExtraInfoUtil.getQueueOffset(items));
            header.setConsumerGroup(parent.group);
            header.setExtraInfo(receipt);
            CompletableFuture<AckResult> done = new CompletableFuture<>();
            api.ackLiteMessageAsync(parent.broker, 10_000, Answers.ofAck(done), header);
            equal(AckStatus.OK, done.get(15, TimeUnit.SECONDS).getStatus(), "answer to an ack");
        }
    }

    /** The lite topic of a message: `%LMQ%$parent$lite` is its queue. */
    private static String liteOf(MessageExt message) {
        String queue = message.getProperty(MessageConst.PROPERTY_INNER_MULTI_DISPATCH);
        return queue.substring(queue.lastIndexOf('$') + 1);
    }

    private static List<String> bodies(List<MessageExt> messages) {
        return messages.stream().map(Kit::text).collect(Collectors.toList());
    }

    /** Each gets what it subscribes to, every lite topic in its order, and nothing else. */
    private static void twoClients(Kit kit) throws Exception {
        Parent parent = new Parent(kit, Map.of());
        Consumer one = new Consumer(kit, parent);
        Consumer two = new Consumer(kit, parent);
        one.subscribe(LiteSubscriptionAction.PARTIAL_ADD, "a", "b");
        two.subscribe(LiteSubscriptionAction.COMPLETE_ADD, "c");
        parent.send("a", "a0", "a1", "a2");
        parent.send("b", "b0", "b1");
        parent.send("c", "c0", "c1");
        parent.send("d", "nobody's");
        List<String> got = one.consume(5);
        equal(List.of("a0", "a1", "a2"), got.stream().filter(b -> b.startsWith("a")).toList(), "those of a");
        equal(List.of("b0", "b1"), got.stream().filter(b -> b.startsWith("b")).toList(), "those of b");
        equal(List.of("c0", "c1"), two.consume(2), "those of c");
        one.subscribe(LiteSubscriptionAction.PARTIAL_REMOVE, "b");
        if (DURABLE) {
            // Apache may still give what comes for b.
            parent.send("b", "b2");
        }
        parent.send("a", "a3");
        equal(List.of("a3"), one.consume(1), "those of a after b is given up");
        equal(List.of(), bodies(one.pop(32, 60_000, 500)), "what is left for the first");
        // What is not acknowledged comes again, and holds up what is behind it.
        parent.send("c", "c2", "c3");
        List<MessageExt> first = new ArrayList<>();
        Kit.eventually(30, "c2", () -> first.addAll(two.pop(1, 3_000, 1_000)));
        equal(List.of("c2"), bodies(first), "one of c");
        equal(List.of(), bodies(two.pop(32, 3_000, 500)), "of c while one is in flight");
        equal(List.of("c2", "c3"), two.consume(2), "those of c again");
    }

    /** The last who subscribes to a lite topic of an exclusive group has it alone. */
    private static void exclusive(Kit kit) throws Exception {
        Parent parent = new Parent(kit, Map.of("+lite.sub.model", "Exclusive"));
        Consumer one = new Consumer(kit, parent);
        Consumer two = new Consumer(kit, parent);
        one.subscribe(LiteSubscriptionAction.PARTIAL_ADD, "a");
        parent.send("a", "for one");
        equal(List.of("for one"), one.consume(1), "before");
        two.subscribe(LiteSubscriptionAction.PARTIAL_ADD, "a");
        parent.send("a", "for two");
        equal(List.of("for two"), two.consume(1), "after");
        equal(List.of(), bodies(one.pop(32, 60_000, 500)), "what is left for the first");
    }

    private static boolean isBetween(long before, long time) {
        return time >= before && time <= System.currentTimeMillis();
    }

    /** What operators ask. */
    private static void admin(Kit kit) throws Exception {
        Parent parent = new Parent(kit, Map.of());
        Consumer one = new Consumer(kit, parent);
        one.subscribe(LiteSubscriptionAction.PARTIAL_ADD, "a", "b");
        long before = System.currentTimeMillis();
        parent.send("a", "a0", "a1", "a2");
        parent.send("b", "b0");
        boolean[] first = {false};
        Kit.eventually(30, "the first of a", () -> {
            for (MessageExt message : one.pop(1, 60_000, 1_000)) {
                one.ack(message);
                first[0] |= text(message).equals("a0");
            }
            return first[0];
        });
        var broker = parent.admin.getBrokerLiteInfo(parent.broker);
        equal(60, broker.getTopicMeta().get(parent.topic), "expiry of the parent");
        equal(Set.of(parent.group), broker.getGroupMeta().get(parent.topic), "groups of the parent");
        var info = parent.admin.getParentTopicInfo(parent.broker, parent.topic);
        equal(60, info.getTtl(), "expiry");
        equal(Set.of(parent.group), info.getGroups(), "groups");
        equal(2, info.getLiteTopicCount(), "lite topics");
        var lite = parent.admin.getLiteTopicInfo(parent.broker, parent.topic, "a");
        equal(3L, lite.getTopicOffset().getMaxOffset(), "offset behind the last");
        equal(Set.of(one.id), lite.getSubscriber().stream().map(s -> s.clientId).collect(Collectors.toSet()), "subscribers");
        var client = parent.admin.getLiteClientInfo(parent.broker, parent.topic, parent.group, one.id);
        equal(2, client.getLiteTopicCount(), "lite topics of the client");
        equal(2, client.getLiteTopicSet().size(), "named lite topics of the client");
        var group = parent.admin.getLiteGroupInfo(parent.broker, parent.group, "a", 0);
        equal(2L, group.getTotalLagCount(), "how far behind in a");
        equal(3L, group.getLiteTopicOffsetWrapper().getBrokerOffset(), "broker's offset");
        equal(1L, group.getLiteTopicOffsetWrapper().getConsumerOffset(), "group's offset");
        check(isBetween(before, group.getEarliestUnconsumedTimestamp()), "a1 waits since %d, not %d", group.getEarliestUnconsumedTimestamp(), before);
        check(isBetween(before, group.getLiteTopicOffsetWrapper().getLastTimestamp()), "a0 is of %d, not %d", group.getLiteTopicOffsetWrapper().getLastTimestamp(), before);
        var lags = parent.admin.getLiteGroupInfo(parent.broker, parent.group, null, 10);
        equal(-1L, lags.getEarliestUnconsumedTimestamp(), "time that Apache does not collect unless it is told to");
        var worst = lags.getLagCountTopK().get(0);
        equal("a 2", worst.getLiteTopic() + " " + worst.getLagCount(), "where the group is behind most");
        parent.admin.triggerLiteDispatch(parent.broker, parent.group, one.id);
        Kit.eventually(30, "the last of a", () -> {
            List<MessageExt> popped = one.pop(32, 60_000, 1_000);
            for (MessageExt message : popped) {
                one.ack(message);
            }
            return bodies(popped).contains("a2");
        });
    }

    /** What was acknowledged stays so over a stop and a kill, what was not comes again; who subscribed does so again. */
    private static void acrossRestarts(Kit kit) throws Exception {
        Parent parent = new Parent(kit, Map.of());
        Consumer one = new Consumer(kit, parent);
        for (String verb : SharedRestart.VERBS) {
            one.subscribe(LiteSubscriptionAction.COMPLETE_ADD, "a", "b");
            parent.send("a", verb + "-a0", verb + "-a1");
            parent.send("b", verb + "-b0");
            Set<String> got = new TreeSet<>();
            List<MessageExt> kept = new ArrayList<>();
            Kit.eventually(60, "all of this round", () -> {
                for (MessageExt message : one.pop(1, 5_000, 1_000)) {
                    if (text(message).endsWith("a1")) {
                        kept.add(message);
                    } else {
                        one.ack(message);
                    }
                    got.add(text(message));
                }
                return got.size() == 3;
            });
            equal(1, kept.size(), "messages in flight");
            kit.sharedRestart();
            Kit.eventually(60, "a subscription is taken", () -> {
                try {
                    one.subscribe(LiteSubscriptionAction.COMPLETE_ADD, "a", "b");
                    return true;
                } catch (Exception e) {
                    return false;
                }
            });
            if (verb.equals("stop") || DURABLE) {
                equal(List.of(verb + "-a1"), one.consume(1), "what comes again");
                equal(List.of(), bodies(one.pop(32, 60_000, 500)), "what is left");
            } else {
                Kit.eventually(60, "what was not acknowledged comes again", () -> {
                    List<MessageExt> popped = one.pop(32, 60_000, 1_000);
                    for (MessageExt message : popped) {
                        one.ack(message);
                    }
                    return bodies(popped).contains(verb + "-a1");
                });
            }
        }
    }
}
