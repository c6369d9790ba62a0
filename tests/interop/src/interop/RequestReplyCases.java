package interop;

import static interop.Kit.check;
import static interop.Kit.equal;
import static interop.Kit.fails;
import static interop.Kit.noise;
import static interop.Kit.sameSet;
import static interop.Kit.text;

import interop.Main.Case;
import interop.Main.Phase;
import java.util.List;
import java.util.Set;
import java.util.TreeSet;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicReference;
import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.consumer.listener.ConsumeConcurrentlyStatus;
import org.apache.rocketmq.client.consumer.listener.MessageListenerConcurrently;
import org.apache.rocketmq.client.exception.RequestTimeoutException;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.client.producer.RequestCallback;
import org.apache.rocketmq.client.utils.MessageUtil;
import org.apache.rocketmq.common.MQVersion;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageExt;

/** Producers that ask and consumers that reply. */
final class RequestReplyCases {
    private RequestReplyCases() {}

    static void add(List<Case> cases) {
        cases.add(new Case("request.async", Phase.TOGETHER, RequestReplyCases::async));
        // Client 5.3.1 gives up a synchronous request long before its time is over, with Apache too.
        if (!MQVersion.getVersionDesc(MQVersion.CURRENT_VERSION).equals("V5_3_1")) {
            cases.add(new Case("request.sync", Phase.TOGETHER, RequestReplyCases::sync));
            cases.add(new Case("request.timeout", Phase.TOGETHER, RequestReplyCases::timeout));
        }
    }

    /** What a replier makes of a question. */
    private static byte[] answerTo(byte[] question) {
        byte[] answer = new byte[question.length];
        for (int i = 0; i < answer.length; i++) {
            answer[i] = (byte) ~question[answer.length - 1 - i];
        }
        return answer;
    }

    /** Answers everything in a topic; what went wrong with that. */
    private static AtomicReference<Exception> replier(Kit kit, DefaultMQProducer producer, String topic) throws Exception {
        AtomicReference<Exception> problem = new AtomicReference<>();
        DefaultMQPushConsumer consumer = kit.pushConsumer(kit.group());
        consumer.subscribe(topic, "*");
        consumer.registerMessageListener((MessageListenerConcurrently) (messages, context) -> {
            for (MessageExt question : messages) {
                try {
                    Message answer = MessageUtil.createReplyMessage(question, answerTo(question.getBody()));
                    answer.putUserProperty("asked", question.getUserProperty("number"));
                    producer.send(answer, 3000);
                } catch (Exception e) {
                    problem.compareAndSet(null, e);
                }
            }
            return ConsumeConcurrentlyStatus.CONSUME_SUCCESS;
        });
        consumer.start();
        return problem;
    }

    private static Message question(String topic, String number, byte[] body) {
        Message question = new Message(topic, body);
        question.putUserProperty("number", number);
        return question;
    }

    /** Small ones, and large ones in both directions, which clients compress above 4 KiB. */
    private static void sync(Kit kit) throws Exception {
        DefaultMQProducer asker = kit.producer();
        DefaultMQProducer other = kit.producer();
        String topic = kit.createdTopic(asker, 4);
        AtomicReference<Exception> problem = replier(kit, other, topic);
        int[] sizes = {1, 100, 4_000, 5_000, 100_000, 1_000_000};
        for (int i = 0; i < 60; i++) {
            // Half of them compress.
            byte[] body = i % 2 == 0 ? noise(i, sizes[i % sizes.length]) : new byte[sizes[i % sizes.length]];
            Message answer = asker.request(question(topic, "n" + i, body), 30_000);
            equal(answerTo(body), answer.getBody(), "answer " + i);
            equal("n" + i, answer.getUserProperty("asked"), "property " + i);
            check(answer.getProperty("CORRELATION_ID") != null, "correlation of %d", i);
        }
        check(problem.get() == null, "replying failed: %s", problem.get());
    }

    private static void async(Kit kit) throws Exception {
        DefaultMQProducer asker = kit.producer();
        DefaultMQProducer other = kit.producer();
        String topic = kit.createdTopic(asker, 4);
        AtomicReference<Exception> problem = replier(kit, other, topic);
        int count = 200;
        CountDownLatch left = new CountDownLatch(count);
        Set<String> answers = ConcurrentHashMap.newKeySet();
        AtomicReference<Throwable> failure = new AtomicReference<>();
        Set<String> want = new TreeSet<>();
        for (int i = 0; i < count; i++) {
            byte[] body = text("question " + i);
            want.add("n" + i + " " + new String(answerTo(body), "ISO-8859-1"));
            asker.request(question(topic, "n" + i, body), new RequestCallback() {
                @Override
                public void onSuccess(Message answer) {
                    answers.add(answer.getUserProperty("asked") + " " + new String(answer.getBody(), java.nio.charset.StandardCharsets.ISO_8859_1));
                    left.countDown();
                }

                @Override
                public void onException(Throwable e) {
                    failure.compareAndSet(null, e);
                    left.countDown();
                }
            }, 60_000);
        }
        check(left.await(90, TimeUnit.SECONDS), "%d not answered", left.getCount());
        check(failure.get() == null, "asking failed: %s", failure.get());
        check(problem.get() == null, "replying failed: %s", problem.get());
        sameSet(want, answers, "answers");
    }

    /** Nobody replies. */
    private static void timeout(Kit kit) throws Exception {
        DefaultMQProducer asker = kit.producer();
        String topic = kit.createdTopic(asker, 1);
        long start = System.nanoTime();
        fails(RequestTimeoutException.class, "asking nobody", () -> asker.request(new Message(topic, text("anybody?")), 1500));
        long ms = (System.nanoTime() - start) / 1_000_000;
        check(ms >= 1400 && ms < 10_000, "gave up after %d ms", ms);
    }
}
