import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;
import org.apache.rocketmq.client.consumer.DefaultLitePullConsumer;
import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.consumer.listener.ConsumeConcurrentlyStatus;
import org.apache.rocketmq.client.consumer.listener.ConsumeOrderlyStatus;
import org.apache.rocketmq.client.consumer.listener.MessageListenerConcurrently;
import org.apache.rocketmq.client.consumer.listener.MessageListenerOrderly;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.client.producer.SendCallback;
import org.apache.rocketmq.client.producer.SendResult;
import org.apache.rocketmq.common.consumer.ConsumeFromWhere;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageQueue;

/**
 * Makes a client of any version say everything that plain producers and consumers say:
 *
 *   java [-Drocketmq.serialize.type=ROCKETMQ] -cp 'LIB/*' Traffic.java 127.0.0.1:PORT TAG
 */
public class Traffic {
    static String namesrv;
    static String topic;

    public static void main(String[] args) throws Exception {
        namesrv = args[0];
        topic = "Traffic" + args[1];
        DefaultMQProducer producer = new DefaultMQProducer("PG_" + args[1]);
        producer.setNamesrvAddr(namesrv);
        producer.start();
        createTopic(producer);
        Thread.sleep(2000);
        DefaultMQPushConsumer push = push("CG_" + args[1], "one");
        SendResult sent = null;
        for (int i = 0; i < 20; i++) {
            Message m = new Message(topic, i % 2 == 0 ? "TagA" : "TagB", "key" + i, ("body \u00e4 " + i).getBytes(StandardCharsets.UTF_8));
            m.putUserProperty("user", "v\u4e3b\u9898\"\\\n" + i);
            sent = producer.send(m);
        }
        producer.sendOneway(new Message(topic, "TagA", "body".getBytes()));
        CountDownLatch async = new CountDownLatch(1);
        producer.send(new Message(topic, "TagA", "async".getBytes()), new SendCallback() {
            public void onSuccess(SendResult r) {
                async.countDown();
            }

            public void onException(Throwable e) {
                e.printStackTrace();
                async.countDown();
            }
        });
        async.await(5, TimeUnit.SECONDS);
        List<Message> batch = new ArrayList<>();
        for (int i = 0; i < 3; i++) {
            batch.add(new Message(topic, "TagB", "batch" + i, "x".getBytes()));
        }
        producer.send(batch);
        Message later = new Message(topic, "TagA", "delayed".getBytes());
        later.setDelayTimeLevel(1);
        producer.send(later);

        DefaultMQPushConsumer second = push("CG_" + args[1], "two");
        DefaultMQPushConsumer orderly = new DefaultMQPushConsumer("OG_" + args[1]);
        orderly.setNamesrvAddr(namesrv);
        orderly.setConsumeFromWhere(ConsumeFromWhere.CONSUME_FROM_FIRST_OFFSET);
        orderly.subscribe(topic, "TagA || TagB");
        orderly.registerMessageListener((MessageListenerOrderly) (msgs, context) -> ConsumeOrderlyStatus.SUCCESS);
        orderly.start();
        DefaultLitePullConsumer lite = new DefaultLitePullConsumer("LG_" + args[1]);
        lite.setNamesrvAddr(namesrv);
        lite.subscribe(topic, "*");
        lite.start();
        for (int i = 0; i < 25; i++) {
            lite.poll(1000);
        }
        MessageQueue mq = sent.getMessageQueue();
        System.out.println("max " + producer.maxOffset(mq) + " min " + producer.minOffset(mq) + " search "
            + producer.searchOffset(mq, 0) + " earliest " + producer.earliestMsgStoreTime(mq));
        System.out.println("view " + producer.viewMessage(topic, sent.getOffsetMsgId()));
        System.out.println("query " + producer.queryMessage(topic, "key1", 32, 0, Long.MAX_VALUE).getMessageList().size());
        Thread.sleep(3000);
        second.shutdown();
        Thread.sleep(8000);
        orderly.shutdown();
        lite.shutdown();
        push.shutdown();
        producer.shutdown();
        System.exit(0);
    }

    /** Version 5 wants attributes too. */
    static void createTopic(DefaultMQProducer producer) throws Exception {
        for (java.lang.reflect.Method m : DefaultMQProducer.class.getMethods()) {
            if (m.getName().equals("createTopic") && m.getParameterCount() == 3) {
                m.invoke(producer, "TBW102", topic, 2);
                return;
            }
            if (m.getName().equals("createTopic") && m.getParameterCount() == 4) {
                m.invoke(producer, "TBW102", topic, 2, new java.util.HashMap<>());
                return;
            }
        }
    }

    static DefaultMQPushConsumer push(String group, String instance) throws Exception {
        AtomicInteger count = new AtomicInteger();
        DefaultMQPushConsumer push = new DefaultMQPushConsumer(group);
        push.setInstanceName(instance);
        push.setNamesrvAddr(namesrv);
        push.setConsumeFromWhere(ConsumeFromWhere.CONSUME_FROM_TIMESTAMP);
        push.subscribe(topic, "TagA");
        push.registerMessageListener((MessageListenerConcurrently) (msgs, context) ->
            count.incrementAndGet() % 5 == 0 ? ConsumeConcurrentlyStatus.RECONSUME_LATER : ConsumeConcurrentlyStatus.CONSUME_SUCCESS);
        push.start();
        return push;
    }
}
