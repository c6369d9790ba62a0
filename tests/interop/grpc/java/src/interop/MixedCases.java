package interop;

import static interop.Kit.check;
import static interop.Kit.equal;
import static interop.Kit.message;
import static interop.Kit.sameSet;

import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.stream.Collectors;
import org.apache.rocketmq.client.apis.consumer.SimpleConsumer;
import org.apache.rocketmq.client.apis.message.MessageView;
import org.apache.rocketmq.client.apis.producer.Producer;
import org.apache.rocketmq.client.apis.producer.Transaction;
import org.apache.rocketmq.client.apis.producer.TransactionResolution;
import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.consumer.listener.ConsumeConcurrentlyStatus;
import org.apache.rocketmq.client.consumer.listener.MessageListenerConcurrently;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.client.producer.LocalTransactionState;
import org.apache.rocketmq.client.producer.TransactionListener;
import org.apache.rocketmq.client.producer.TransactionMQProducer;
import org.apache.rocketmq.common.consumer.ConsumeFromWhere;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageExt;

/** One topic, used over gRPC and over Remoting (rocketmq-client 5.5.0). */
final class MixedCases {
    static void add(List<Main.Case> cases) {
        cases.add(new Main.Case("mixed.remoting_to_grpc", MixedCases::remotingToGrpc));
        cases.add(new Main.Case("mixed.grpc_to_remoting", MixedCases::grpcToRemoting));
        cases.add(new Main.Case("mixed.retry_counts", MixedCases::retryCounts));
    }

    private static <P extends DefaultMQProducer> P started(Kit kit, P producer) throws Exception {
        producer.setNamesrvAddr(Kit.NAMESRV);
        producer.setInstanceName(kit.fresh("I"));
        producer.setSendMsgTimeout(10_000);
        producer.start();
        kit.closed(producer::shutdown);
        return producer;
    }

    private static DefaultMQPushConsumer consumer(Kit kit, String group, String topic, MessageListenerConcurrently listener, boolean pops) throws Exception {
        DefaultMQPushConsumer consumer = new DefaultMQPushConsumer(group);
        consumer.setNamesrvAddr(Kit.NAMESRV);
        consumer.setInstanceName(kit.fresh("I"));
        consumer.setConsumeFromWhere(ConsumeFromWhere.CONSUME_FROM_FIRST_OFFSET);
        consumer.setClientRebalance(!pops);
        consumer.subscribe(topic, "*");
        consumer.registerMessageListener(listener);
        consumer.start();
        kit.closed(consumer::shutdown);
        return consumer;
    }

    private static Message remote(String topic, String body) {
        Message message = new Message(topic, "tag", "key-a key-b", body.getBytes(StandardCharsets.UTF_8));
        message.putUserProperty("city", "Köln 🏙");
        return message;
    }

    private static void remotingToGrpc(Kit kit) throws Exception {
        String topic = kit.topic("MIXED");
        DefaultMQProducer producer = started(kit, new DefaultMQProducer(kit.fresh("P")));
        // The client compresses what is longer than 4 KiB.
        String big = "compressible ".repeat(5000);
        Map<String, String> ids = new java.util.HashMap<>();
        for (String body : List.of("small", big)) {
            ids.put(body, producer.send(remote(topic, body)).getMsgId());
        }
        Message delayed = remote(topic, "delayed");
        long due = System.currentTimeMillis() + 3000;
        delayed.setDeliverTimeMs(due);
        ids.put("delayed", producer.send(delayed).getMsgId());
        // Several at a time.
        List<Message> batch = new ArrayList<>();
        for (int i = 0; i < 3; i++) {
            batch.add(remote(topic, "batch" + i));
        }
        producer.send(batch);
        TransactionMQProducer transactions = started(kit, new TransactionMQProducer(kit.fresh("P")) {
            {
                setTransactionListener(new TransactionListener() {
                    @Override
                    public LocalTransactionState executeLocalTransaction(Message message, Object arg) {
                        return (LocalTransactionState) arg;
                    }

                    @Override
                    public LocalTransactionState checkLocalTransaction(MessageExt message) {
                        return LocalTransactionState.COMMIT_MESSAGE;
                    }
                });
            }
        });
        ids.put("commit", transactions.sendMessageInTransaction(remote(topic, "commit"), LocalTransactionState.COMMIT_MESSAGE).getMsgId());
        transactions.sendMessageInTransaction(remote(topic, "rollback"), LocalTransactionState.ROLLBACK_MESSAGE);
        ids.put("checked", transactions.sendMessageInTransaction(remote(topic, "checked"), LocalTransactionState.UNKNOW).getMsgId());

        Inbox inbox = new Inbox();
        // (Apache's proxy makes no groups.)
        kit.push(kit.group(""), topic, inbox.listener());
        SimpleConsumer simple = kit.simple(kit.group(""), topic);
        List<MessageView> got = Kit.take(simple, 8, 60);
        List<String> want = new ArrayList<>(ids.keySet());
        want.addAll(List.of("batch0", "batch1", "batch2"));
        sameSet(want, Kit.bodies(got), "simple consumer");
        inbox.exactly(want, 30);
        got.addAll(inbox.all().stream().map(Inbox.Arrival::view).toList());
        for (MessageView view : got) {
            String body = Kit.body(view);
            if (ids.containsKey(body)) {
                equal(ids.get(body), view.getMessageId().toString(), "id");
            }
            equal("tag", view.getTag().orElse(""), "tag");
            equal(Set.of("key-a", "key-b"), new HashSet<>(view.getKeys()), "keys");
            equal("Köln 🏙", view.getProperties().get("city"), "property");
            equal(1, view.getDeliveryAttempt(), "attempt");
        }
        check(inbox.all().stream().filter(a -> a.body().equals("delayed")).allMatch(a -> a.atMs() >= due), "the delayed one came early");
        Kit.nothing(simple);
    }

    private static void grpcToRemoting(Kit kit) throws Exception {
        String topic = kit.topic("MIXED");
        Producer producer = kit.producer(view -> TransactionResolution.COMMIT, topic);
        List<MessageExt> got = new CopyOnWriteArrayList<>();
        List<Long> delayedAt = new CopyOnWriteArrayList<>();
        consumer(kit, kit.group(), topic, (messages, context) -> {
            messages.stream().filter(m -> new String(m.getBody()).equals("delayed")).forEach(m -> delayedAt.add(System.currentTimeMillis()));
            got.addAll(messages);
            return ConsumeConcurrentlyStatus.CONSUME_SUCCESS;
        }, false);
        String big = "compressible ".repeat(5000);
        Map<String, String> ids = new java.util.HashMap<>();
        long due = System.currentTimeMillis() + 4000;
        for (String body : List.of("small", big, "delayed", "grouped")) {
            var builder = message(topic, body).setTag("tag").setKeys("key-a", "key-b").addProperty("city", "Köln 🏙");
            switch (body) {
                case "delayed" -> builder.setDeliveryTimestamp(due);
                case "grouped" -> builder.setMessageGroup("g");
                default -> { }
            }
            ids.put(body, producer.send(builder.build()).getMessageId().toString());
        }
        for (String body : List.of("commit", "rollback", "checked")) {
            Transaction transaction = producer.beginTransaction();
            String id = producer.send(message(topic, body).setTag("tag").setKeys("key-a", "key-b").addProperty("city", "Köln 🏙").build(), transaction)
                .getMessageId().toString();
            switch (body) {
                case "commit" -> transaction.commit();
                case "rollback" -> transaction.rollback();
                default -> { }
            }
            if (!body.equals("rollback")) {
                ids.put(body, id);
            }
        }
        Kit.eventually(60, "all of them", () -> got.size() >= ids.size());
        equal(ids, got.stream().collect(Collectors.toMap(m -> new String(m.getBody(), StandardCharsets.UTF_8), MessageExt::getMsgId)), "bodies and ids");
        for (MessageExt message : got) {
            if (new String(message.getBody()).equals("small")) {
                kit.note("properties %s", new java.util.TreeSet<>(message.getProperties().keySet()));
            }
            equal("tag", message.getTags(), "tag");
            equal("key-a key-b", message.getKeys(), "keys");
            equal("Köln 🏙", message.getUserProperty("city"), "property");
            equal(0, message.getReconsumeTimes(), "retries");
        }
        check(delayedAt.size() == 1 && delayedAt.get(0) >= due, "the delayed one came early");
    }

    /** Members of one group, one after the other: attempts are counted on, whoever fails. */
    private static void retryCounts(Kit kit) throws Exception {
        String topic = kit.topic("NORMAL");
        String group = kit.group("");
        Kit.admin("setConsumeMode -n " + Kit.NAMESRV + " -c DefaultCluster -t " + topic + " -g " + group + " -m POP");
        kit.producer(topic).send(message(topic, "x").setTag("tag").addProperty("city", "Köln 🏙").build());
        SimpleConsumer grpc = kit.simple(group, topic);
        List<MessageView> first = new ArrayList<>();
        Kit.eventually(20, "the first attempt", () -> first.addAll(grpc.receive(1, Kit.INVISIBLE)));
        equal(1, first.get(0).getDeliveryAttempt(), "first attempt");
        grpc.changeInvisibleDuration(first.get(0), Duration.ofSeconds(3));

        List<MessageExt> got = new CopyOnWriteArrayList<>();
        DefaultMQPushConsumer remoting = consumer(kit, group, topic, (messages, context) -> {
            got.addAll(messages);
            context.setDelayLevelWhenNextConsume(1);
            return ConsumeConcurrentlyStatus.RECONSUME_LATER;
        }, true);
        Kit.eventually(60, "the second attempt, over Remoting", () -> !got.isEmpty());
        remoting.shutdown();
        equal(1, got.get(0).getReconsumeTimes(), "retries that Remoting sees");
        equal("Köln 🏙", got.get(0).getUserProperty("city"), "property that Remoting sees");

        int seen = got.size();
        List<MessageView> last = new ArrayList<>();
        Kit.eventually(90, "the third attempt", () -> last.addAll(grpc.receive(1, Kit.INVISIBLE)));
        equal(seen + 2, last.get(0).getDeliveryAttempt(), "third attempt");
        equal(first.get(0).getMessageId(), last.get(0).getMessageId(), "id");
        equal("tag", last.get(0).getTag().orElse(""), "tag");
        grpc.ack(last.get(0));
        Kit.nothing(grpc);
    }
}
