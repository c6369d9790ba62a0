package interop;

import static interop.Kit.check;
import static interop.Kit.equal;
import static interop.Kit.fails;
import static interop.Kit.noise;
import static interop.Kit.text;

import interop.Main.Case;
import interop.Main.Phase;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.TreeSet;
import java.util.concurrent.ArrayBlockingQueue;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.TimeUnit;
import org.apache.rocketmq.client.exception.MQClientException;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.client.producer.SendCallback;
import org.apache.rocketmq.client.producer.SendResult;
import org.apache.rocketmq.client.producer.SendStatus;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageExt;
import org.apache.rocketmq.common.message.MessageQueue;

/** Ways to send, sizes, properties, compression, batches, delays. */
final class SendCases {
    private static final int MIB = 1 << 20;

    private SendCases() {}

    static void add(List<Case> cases) {
        cases.add(new Case("send.modes", Phase.TOGETHER, SendCases::modes));
        cases.add(new Case("send.sizes", Phase.TOGETHER, SendCases::sizes));
        cases.add(new Case("send.compressed", Phase.TOGETHER, SendCases::compressed));
        cases.add(new Case("send.properties", Phase.TOGETHER, SendCases::properties));
        cases.add(new Case("send.batch", Phase.TOGETHER, SendCases::batch));
        cases.add(new Case("send.delay_level", Phase.TOGETHER, SendCases::delayLevel));
    }

    private static void modes(Kit kit) throws Exception {
        DefaultMQProducer producer = kit.producer();
        String topic = kit.createdTopic(producer, 4);
        List<MessageQueue> queues = Kit.queues(producer, topic);
        Map<String, Integer> wantQueue = new HashMap<>();
        BlockingQueue<Object> answers = new ArrayBlockingQueue<>(100);
        SendCallback callback = new SendCallback() {
            @Override
            public void onSuccess(SendResult result) {
                answers.add(result);
            }

            @Override
            public void onException(Throwable e) {
                answers.add(e);
            }
        };
        for (int i = 0; i < 10; i++) {
            MessageQueue queue = queues.get(i % 4);
            SendResult result = producer.send(new Message(topic, text("sync" + i)));
            wantQueue.put("sync" + i, result.getMessageQueue().getQueueId());
            result = producer.send(new Message(topic, text("queue" + i)), queue);
            equal(queue, result.getMessageQueue(), "queue of the answer");
            wantQueue.put("queue" + i, queue.getQueueId());
            producer.send(new Message(topic, text("selector" + i)), (all, message, arg) -> all.get((Integer) arg % all.size()), i);
            wantQueue.put("selector" + i, null);
            producer.send(new Message(topic, text("async" + i)), queue, callback);
            wantQueue.put("async" + i, queue.getQueueId());
            producer.sendOneway(new Message(topic, text("oneway" + i)), queue);
            wantQueue.put("oneway" + i, queue.getQueueId());
        }
        for (int i = 0; i < 10; i++) {
            Object answer = answers.poll(10, TimeUnit.SECONDS);
            check(answer instanceof SendResult && ((SendResult) answer).getSendStatus() == SendStatus.SEND_OK, "async answer: %s", answer);
        }
        Inbox inbox = new Inbox().attach(kit.pushConsumer(kit.group()), topic, "*");
        inbox.awaitBodies(new TreeSet<>(wantQueue.keySet()), 60);
        Kit.eventually(10, "50 stored", () -> Kit.stored(producer, topic) == 50);
        equal(50, inbox.size(), "deliveries");
        for (MessageExt message : inbox.messages()) {
            Integer queue = wantQueue.get(text(message));
            if (queue != null) {
                equal(queue, message.getQueueId(), "queue of " + text(message));
            }
        }
    }

    private static void sizes(Kit kit) throws Exception {
        DefaultMQProducer producer = kit.newProducer();
        producer.setCompressMsgBodyOverHowmuch(Integer.MAX_VALUE);
        producer.setSendMsgTimeout(20000);
        producer.start();
        String topic = kit.createdTopic(producer, 1);
        List<byte[]> bodies = new ArrayList<>();
        for (int size : new int[] {1, 2, 3, 100, 1023, 1024, 1025, 4095, 4096, 4097, 65535, 65536, MIB, 4 * MIB - 1, 4 * MIB}) {
            byte[] body = noise(size, size);
            bodies.add(body);
            equal((long) bodies.size() - 1, producer.send(new Message(topic, body)).getQueueOffset(), "offset of size " + size);
        }
        byte[] zeros = new byte[5000];
        bodies.add(zeros);
        producer.send(new Message(topic, zeros));
        MQClientException empty = fails(MQClientException.class, "empty body", () -> producer.send(new Message(topic, new byte[0])));
        equal(13, empty.getResponseCode(), "code for an empty body");
        MQClientException large = fails(MQClientException.class, "4 MiB + 1", () -> producer.send(new Message(topic, new byte[4 * MIB + 1])));
        equal(13, large.getResponseCode(), "code for 4 MiB + 1");
        Inbox inbox = new Inbox().attach(kit.pushConsumer(kit.group()), topic, "*");
        inbox.await(bodies.size(), 60);
        equal((long) bodies.size(), Kit.stored(producer, topic), "stored");
        equal(bodies.size(), inbox.size(), "deliveries");
        for (MessageExt message : inbox.messages()) {
            byte[] want = bodies.get((int) message.getQueueOffset());
            equal(want, message.getBody(), "body at " + message.getQueueOffset());
            equal((int) Kit.crc(want) & 0x7FFFFFFF, message.getBodyCRC(), "stored checksum at " + message.getQueueOffset());
            equal(0, message.getSysFlag(), "sysFlag");
        }
    }

    private static void compressed(Kit kit) throws Exception {
        DefaultMQProducer producer = kit.newProducer();
        producer.setSendMsgTimeout(20000);
        producer.start();
        String topic = kit.createdTopic(producer, 1);
        List<byte[]> bodies = new ArrayList<>();
        for (int size : new int[] {4095, 4096, 4097, 100_000, 4 * MIB}) {
            bodies.add(text("abcdefgh".repeat(size / 8 + 1).substring(0, size)));
            bodies.add(size < MIB ? noise(size + 1, size) : text("z".repeat(size)));
        }
        for (byte[] body : bodies) {
            producer.send(new Message(topic, body));
        }
        Inbox inbox = new Inbox().attach(kit.pushConsumer(kit.group()), topic, "*");
        inbox.await(bodies.size(), 60);
        equal(bodies.size(), inbox.size(), "deliveries");
        for (MessageExt message : inbox.messages()) {
            byte[] want = bodies.get((int) message.getQueueOffset());
            equal(want, message.getBody(), "body at " + message.getQueueOffset());
            if (want[0] == 'a' || want[0] == 'z') {
                equal(want.length >= 4096, message.getStoreSize() < want.length, "stored compressed, " + want.length + " bytes in " + message.getStoreSize());
            }
        }
    }

    private static void properties(Kit kit) throws Exception {
        DefaultMQProducer producer = kit.producer();
        String topic = kit.createdTopic(producer, 1);
        List<Message> sent = new ArrayList<>();
        Message plain = new Message(topic, text("plain"));
        sent.add(plain);
        Message unicode = new Message(topic, "标签", "ключ 鍵 🔑", text("unicode ✓"));
        unicode.putUserProperty("città", "Zürich – 東京 😀");
        unicode.putUserProperty("spaces and = : , ; | { } \" '", " x ");
        unicode.setFlag(0x12345678);
        sent.add(unicode);
        Message many = new Message(topic, "T", "k1 k2 k3", text("many"));
        for (int i = 0; i < 500; i++) {
            many.putUserProperty("property-" + i, "value-" + i * 7);
        }
        sent.add(many);
        Message keys = new Message(topic, text("keys"));
        keys.setKeys(List.of("a", "b", "c"));
        keys.setBuyerId("buyer");
        keys.setWaitStoreMsgOK(false);
        keys.setFlag(-1);
        sent.add(keys);
        Message large = new Message(topic, text("large"));
        large.putUserProperty("large", "v".repeat(30_000));
        sent.add(large);
        List<SendResult> results = new ArrayList<>();
        for (Message message : sent) {
            results.add(producer.send(message));
        }
        Message tooLarge = new Message(topic, text("too large"));
        tooLarge.putUserProperty("large", "v".repeat(33_000));
        var refused = fails(org.apache.rocketmq.client.exception.MQBrokerException.class, "33,000 bytes of properties", () -> producer.send(tooLarge));
        equal(13, refused.getResponseCode(), "code for too large properties");

        Inbox inbox = new Inbox().attach(kit.pushConsumer(kit.group()), topic, "*");
        inbox.await(sent.size(), 60);
        equal(sent.size(), inbox.size(), "deliveries");
        for (MessageExt got : inbox.messages()) {
            Message want = sent.get((int) got.getQueueOffset());
            equal(want.getBody(), got.getBody(), "body");
            equal(want.getFlag(), got.getFlag(), "flag of " + text(want));
            Map<String, String> properties = new HashMap<>(want.getProperties());
            properties.put("CLUSTER", "DefaultCluster");
            properties.put("MSG_REGION", "DefaultRegion");
            properties.put("TRACE_ON", "true");
            properties.put("UNIQ_KEY", results.get((int) got.getQueueOffset()).getMsgId());
            // The broker drops WAIT=true: it is the default.
            Map<String, String> had = Kit.properties(got);
            properties.remove("WAIT", "true");
            had.remove("WAIT", "true");
            equal(new java.util.TreeMap<>(properties), new java.util.TreeMap<>(had), "properties of " + text(want));
        }
    }

    private static void batch(Kit kit) throws Exception {
        DefaultMQProducer producer = kit.producer();
        String topic = kit.createdTopic(producer, 4);
        MessageQueue queue = Kit.queues(producer, topic).get(2);
        List<Message> batch = new ArrayList<>();
        for (int i = 0; i < 500; i++) {
            Message message = new Message(topic, i % 2 == 0 ? "Even" : "Odd", "key-" + i, noise(i, 1 + i * 3));
            message.putUserProperty("i", Integer.toString(i));
            message.setFlag(i);
            batch.add(message);
        }
        SendResult result = producer.send(batch, queue);
        equal(SendStatus.SEND_OK, result.getSendStatus(), "status");
        equal(queue, result.getMessageQueue(), "queue");
        equal(0L, result.getQueueOffset(), "offset of the batch's first message");
        String[] ids = result.getMsgId().split(",");
        String[] places = result.getOffsetMsgId().split(",");
        equal(500, ids.length, "ids in the answer");
        equal(500, places.length, "offset ids in the answer");
        // A batch of one, then a batch to a queue of the client's choice.
        equal(500L, producer.send(List.of(new Message(topic, text("one"))), queue).getQueueOffset(), "offset after the batch");
        producer.send(List.of(new Message(topic, "Even", text("x")), new Message(topic, "Even", text("y"))));

        Inbox odd = new Inbox().attach(kit.pushConsumer(kit.group()), topic, "Odd");
        Inbox inbox = new Inbox().attach(kit.pushConsumer(kit.group()), topic, "*");
        inbox.await(503, 60);
        equal(503L, Kit.stored(producer, topic), "stored");
        equal(503, inbox.size(), "deliveries");
        boolean[] seen = new boolean[500];
        for (MessageExt got : inbox.messages()) {
            if (got.getUserProperty("i") == null) {
                continue;
            }
            int i = Integer.parseInt(got.getUserProperty("i"));
            check(!seen[i], "message %d came twice", i);
            seen[i] = true;
            equal((long) i, got.getQueueOffset(), "offset of message " + i);
            equal(2, got.getQueueId(), "queue of message " + i);
            equal(batch.get(i).getBody(), got.getBody(), "body of message " + i);
            equal("key-" + i, got.getKeys(), "keys of message " + i);
            equal(i % 2 == 0 ? "Even" : "Odd", got.getTags(), "tags of message " + i);
            equal(i, got.getFlag(), "flag of message " + i);
            equal(ids[i], got.getMsgId(), "id of message " + i);
        }
        for (boolean one : seen) {
            check(one, "a message of the batch is missing");
        }
        // Offset ids of a batch name the single records.
        MessageExt viewed = producer.viewMessage(topic, places[123]);
        equal("key-123", viewed.getKeys(), "message at the 124th offset id");
        odd.await(250, 30);
        equal(250, odd.size(), "deliveries of tag Odd");

        fails(MQClientException.class, "empty batch", () -> producer.send(new ArrayList<Message>()));
        List<Message> tooLarge = new ArrayList<>();
        for (int i = 0; i < 50; i++) {
            tooLarge.add(new Message(topic, noise(i, 100_000)));
        }
        // The client (4 MiB for the whole batch) refuses it itself.
        MQClientException large = fails(MQClientException.class, "batch of 5 MB", () -> producer.send(tooLarge));
        equal(13, large.getResponseCode(), "code for a batch of 5 MB");
    }

    /** Level 4 is 2 s in the settings of the run; the message must come then, in its own topic, as it was sent. */
    private static void delayLevel(Kit kit) throws Exception {
        DefaultMQProducer producer = kit.producer();
        String topic = kit.createdTopic(producer, 1);
        Inbox inbox = new Inbox().attach(kit.pushConsumer(kit.group()), topic, "*");
        Message message = new Message(topic, "TagD", "keyD", text("delayed"));
        message.setDelayTimeLevel(4);
        message.putUserProperty("p", "q");
        long start = System.nanoTime();
        SendResult result = producer.send(message);
        equal(SendStatus.SEND_OK, result.getSendStatus(), "status");
        inbox.await(1, 60);
        Inbox.Arrival arrival = inbox.arrivals().get(0);
        double seconds = (arrival.nanos() - start) / 1e9;
        kit.note("2 s level came after %.2f s", seconds);
        MessageExt got = arrival.message();
        long stored = got.getStoreTimestamp() - got.getBornTimestamp();
        check(stored >= 1000 && stored < 10_000, "stored in its topic after %d ms", stored);
        equal(topic, got.getTopic(), "topic");
        equal(0L, got.getQueueOffset(), "offset");
        equal("TagD", got.getTags(), "tags");
        equal("keyD", got.getKeys(), "keys");
        equal(result.getMsgId(), got.getMsgId(), "id");
        equal("delayed", text(got), "body");
        equal("q", got.getUserProperty("p"), "user property");
        equal(topic, got.getProperty("REAL_TOPIC"), "REAL_TOPIC");
        equal("0", got.getProperty("REAL_QID"), "REAL_QID");
        // Apache means to drop DELAY, but writes the properties before it does.
        check(got.getProperty("DELAY") == null || got.getProperty("DELAY").equals("4"), "DELAY %s", got.getProperty("DELAY"));
        equal(1, inbox.size(), "deliveries");
    }
}
