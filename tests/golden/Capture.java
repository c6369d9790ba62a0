import java.io.File;
import java.io.PrintStream;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.TreeMap;
import java.util.concurrent.ConcurrentHashMap;
import org.apache.rocketmq.common.BrokerConfig;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageAccessor;
import org.apache.rocketmq.common.message.MessageDecoder;
import org.apache.rocketmq.common.message.MessageExtBrokerInner;
import org.apache.rocketmq.common.message.MessageVersion;
import org.apache.rocketmq.common.sysflag.MessageSysFlag;
import org.apache.rocketmq.remoting.CommandCustomHeader;
import org.apache.rocketmq.remoting.protocol.LanguageCode;
import org.apache.rocketmq.remoting.protocol.RemotingCommand;
import org.apache.rocketmq.remoting.protocol.SerializeType;
import org.apache.rocketmq.remoting.protocol.header.ConsumerSendMsgBackRequestHeader;
import org.apache.rocketmq.remoting.protocol.header.PullMessageRequestHeader;
import org.apache.rocketmq.remoting.protocol.header.PullMessageResponseHeader;
import org.apache.rocketmq.remoting.protocol.header.SendMessageRequestHeader;
import org.apache.rocketmq.remoting.protocol.header.SendMessageRequestHeaderV2;
import org.apache.rocketmq.remoting.protocol.header.SendMessageResponseHeader;
import org.apache.rocketmq.store.DefaultMessageStore;
import org.apache.rocketmq.store.DispatchRequest;
import org.apache.rocketmq.store.PutMessageResult;
import org.apache.rocketmq.store.SelectMappedBufferResult;
import org.apache.rocketmq.store.config.FlushDiskType;
import org.apache.rocketmq.store.config.MessageStoreConfig;
import org.apache.rocketmq.store.stats.BrokerStatsManager;

/**
 * Lets Apache RocketMQ 5.5.0 write what crates/wire has to read and write, byte for byte:
 *
 *   java -cp 'LIB/*' Capture.java crates/wire/testdata
 *
 * Nothing in it depends on the time or the machine, so that a second run gives the same files.
 */
public class Capture {
    static Path out;

    public static void main(String[] args) throws Exception {
        out = Path.of(args[0]);
        try (PrintStream p = file("frames.txt")) {
            frames(p);
        }
        try (PrintStream p = file("records.txt")) {
            records(p);
        }
        try (PrintStream p = file("batches.txt")) {
            batches(p);
        }
        try (PrintStream p = file("ids.txt")) {
            ids(p);
        }
        try (PrintStream p = file("properties.txt")) {
            properties(p);
        }
        try (PrintStream p = file("tags.txt")) {
            tags(p);
        }
        System.exit(0);
    }

    static PrintStream file(String name) throws Exception {
        return new PrintStream(Files.newOutputStream(out.resolve(name)), false, StandardCharsets.UTF_8);
    }

    static String hex(byte[] bytes) {
        StringBuilder s = new StringBuilder();
        for (byte b : bytes) {
            s.append(String.format("%02x", b));
        }
        return s.length() == 0 ? "-" : s.toString();
    }

    static String hex(String text) {
        return hex(text.getBytes(StandardCharsets.UTF_8));
    }

    static byte[] bytes(ByteBuffer buffer) {
        byte[] bytes = new byte[buffer.remaining()];
        buffer.get(bytes);
        return bytes;
    }

    /** name JSON-frame ROCKETMQ-frame */
    static void frames(PrintStream p) throws Exception {
        StringBuilder controls = new StringBuilder();
        for (char c = 0; c < 0x21; c++) {
            controls.append(c);
        }
        String odd = controls + "\"\\/'<>&\u007f\u0080\u009f\u00a0\u2028\u2029\ufeff\uffff\u00e4\u4e3b\u9898\ud83d\ude00";
        for (String text : List.of("", "x", odd)) {
            String name = text.isEmpty() ? "empty" : text.length() == 1 ? "plain" : "odd";
            frame(p, "send-v1-" + name, 10, send(text), null, "body", 1);
            SendMessageRequestHeaderV2 v2 = SendMessageRequestHeaderV2.createSendMessageRequestHeaderV2(send(text));
            frame(p, "send-v2-" + name, 310, v2, null, text, 2);
            frame(p, "remark-" + name, 17, null, text, "", 3);
        }
        frame(p, "bare", 34, null, null, null, 4);
        PullMessageRequestHeader pull = new PullMessageRequestHeader();
        pull.setConsumerGroup("CG");
        pull.setTopic("TopicTest");
        pull.setQueueId(3);
        pull.setQueueOffset(Long.MAX_VALUE);
        pull.setMaxMsgNums(32);
        pull.setSysFlag(6);
        pull.setCommitOffset(0L);
        pull.setSuspendTimeoutMillis(15000L);
        pull.setSubscription("TagA || TagB");
        pull.setSubVersion(1700000000000L);
        pull.setMaxMsgBytes(Integer.MAX_VALUE);
        pull.setExpressionType("TAG");
        frame(p, "pull", 11, pull, null, null, Integer.MAX_VALUE);
        ConsumerSendMsgBackRequestHeader back = new ConsumerSendMsgBackRequestHeader();
        back.setOffset(4711L);
        back.setGroup("CG");
        back.setDelayLevel(0);
        back.setOriginTopic("TopicTest");
        back.setOriginMsgId("7F00000100002A9F0000000000001267");
        back.setMaxReconsumeTimes(16);
        back.setBrokerName("broker-a");
        frame(p, "send-back", 36, back, null, null, -1);
        SendMessageResponseHeader sent = new SendMessageResponseHeader();
        sent.setMsgId("7F00000100002A9F0000000000001267");
        sent.setQueueId(1);
        sent.setQueueOffset(42L);
        sent.setTransactionId("0A0B0C");
        answer(p, "sent", 0, sent, null, null);
        PullMessageResponseHeader pulled = new PullMessageResponseHeader();
        pulled.setSuggestWhichBrokerId(0L);
        pulled.setNextBeginOffset(8L);
        pulled.setMinOffset(0L);
        pulled.setMaxOffset(100L);
        answer(p, "pulled", 0, pulled, "FOUND", "records");
        answer(p, "not-supported", 3, null, " request type 9999 not supported", null);
    }

    static SendMessageRequestHeader send(String text) {
        SendMessageRequestHeader h = new SendMessageRequestHeader();
        h.setProducerGroup("PG");
        h.setTopic("TopicTest");
        h.setDefaultTopic("TBW102");
        h.setDefaultTopicQueueNums(4);
        h.setQueueId(1);
        h.setSysFlag(0);
        h.setBornTimestamp(1700000000000L);
        h.setFlag(0);
        h.setProperties("KEYS\001k\002X\001" + text + "\002");
        h.setReconsumeTimes(0);
        h.setUnitMode(false);
        h.setMaxReconsumeTimes(16);
        h.setBatch(false);
        h.setBrokerName("broker-a");
        return h;
    }

    static void frame(PrintStream p, String name, int code, CommandCustomHeader header, String remark, String body, int opaque)
        throws Exception {
        p.print(name);
        for (SerializeType type : SerializeType.values()) {
            RemotingCommand c = RemotingCommand.createRequestCommand(code, header);
            common(c, remark, body, opaque, type);
            p.print(" " + hex(bytes(c.encode())));
        }
        p.println();
    }

    static void answer(PrintStream p, String name, int code, CommandCustomHeader header, String remark, String body)
        throws Exception {
        p.print(name);
        for (SerializeType type : SerializeType.values()) {
            RemotingCommand c = RemotingCommand.createResponseCommandWithHeader(code, header);
            common(c, remark, body, 77, type);
            p.print(" " + hex(bytes(c.encode())));
        }
        p.println();
    }

    static void common(RemotingCommand c, String remark, String body, int opaque, SerializeType type) {
        c.setRemark(remark);
        c.setOpaque(opaque);
        c.setVersion(513);
        c.setLanguage(LanguageCode.JAVA);
        c.setSerializeTypeCurrentRPC(type);
        if (body != null) {
            c.setBody(body.getBytes(StandardCharsets.UTF_8));
        }
    }

    /** name record; written by a store of its own, with and without the checksum over the whole record */
    static void records(PrintStream p) throws Exception {
        for (boolean crc : new boolean[] {true, false}) {
            Path dir = Files.createTempDirectory("capture");
            MessageStoreConfig config = new MessageStoreConfig();
            config.setStorePathRootDir(dir.toString());
            config.setStorePathCommitLog(dir + "/commitlog");
            config.setMappedFileSizeCommitLog(1 << 20);
            config.setHaListenPort(0);
            config.setFlushDiskType(FlushDiskType.ASYNC_FLUSH);
            config.setEnabledAppendPropCRC(crc);
            config.setForceVerifyPropCRC(crc);
            DefaultMessageStore store = new DefaultMessageStore(config, new BrokerStatsManager("C", false), null,
                new BrokerConfig(), new ConcurrentHashMap<>());
            store.load();
            store.start();
            String v4 = "10.1.2.3";
            String v6 = "2001:db8::7";
            record(p, store, crc, "plain", "TopicTest", "hello", "KEYS\001k\002TAGS\001TagA\002", v4, v4, 0);
            record(p, store, crc, "no-properties", "T", "x", "", v4, v4, 0);
            record(p, store, crc, "null-properties", "T", "x", null, v4, v4, 0);
            record(p, store, crc, "open-properties", "T", "x", "a\001b", v4, v4, 0);
            record(p, store, crc, "odd-properties", "T", "x", "\002a\001\u4e3b\u9898\002\001\002", v4, v4, 0);
            record(p, store, crc, "empty-body", "T", "", "a\001b\002", v4, v4, 0);
            record(p, store, crc, "topic-127", "t".repeat(127), "x", "a\001b\002", v4, v4, 0);
            record(p, store, crc, "topic-128", "t".repeat(128), "x", "a\001b\002", v4, v4, 0);
            record(p, store, crc, "topic-255", "t".repeat(255), "x", "a\001b\002", v4, v4, 0);
            record(p, store, crc, "born-v6", "T", "x", "a\001b\002", v6, v4, 0);
            record(p, store, crc, "store-v6", "T", "x", "a\001b\002", v4, v6, 0);
            record(p, store, crc, "both-v6", "t".repeat(200), "x", "a\001b", v6, v6, 0);
            record(p, store, crc, "flags", "T", "x", "a\001b\002", v4, v4, MessageSysFlag.COMPRESSED_FLAG | MessageSysFlag.COMPRESSION_ZSTD_TYPE);
            record(p, store, crc, "prepared", "T", "x", "a\001b\002", v4, v4, MessageSysFlag.TRANSACTION_PREPARED_TYPE);
            store.shutdown();
            store.destroy();
        }
    }

    static void record(PrintStream p, DefaultMessageStore store, boolean crc, String name, String topic, String body,
        String properties, String born, String host, int sysFlag) throws Exception {
        MessageExtBrokerInner m = new MessageExtBrokerInner();
        m.setTopic(topic);
        m.setVersion(MessageVersion.valueOfMagicCode(
            topic.length() > 127 ? MessageDecoder.MESSAGE_MAGIC_CODE_V2 : MessageDecoder.MESSAGE_MAGIC_CODE));
        m.setBody(body.getBytes(StandardCharsets.UTF_8));
        MessageAccessor.setProperties(m, new TreeMap<>());
        m.setPropertiesString(properties);
        m.setQueueId(2);
        m.setFlag(7);
        m.setSysFlag(sysFlag);
        m.setBornTimestamp(1700000000123L);
        m.setBornHost(new InetSocketAddress(InetAddress.getByName(born), 54321));
        m.setStoreHost(new InetSocketAddress(InetAddress.getByName(host), 10911));
        if (born.contains(":")) {
            m.setBornHostV6Flag();
        }
        if (host.contains(":")) {
            m.setStoreHostAddressV6Flag();
        }
        m.setReconsumeTimes(3);
        m.setPreparedTransactionOffset(99);
        PutMessageResult put = store.putMessage(m);
        if (!put.isOk()) {
            System.err.println("store refused " + name + ": " + put.getPutMessageStatus());
            return;
        }
        long offset = put.getAppendMessageResult().getWroteOffset();
        int size = put.getAppendMessageResult().getWroteBytes();
        SelectMappedBufferResult got = store.selectOneMessageByOffset(offset, size);
        byte[] bytes = bytes(got.getByteBuffer());
        got.release();
        // The time of storing is the only thing that is not ours: put in a fixed one, and the checksum that goes with it.
        int at = 56 + (born.contains(":") ? 12 : 0);
        ByteBuffer.wrap(bytes).putLong(at, 1700000000456L);
        if (crc) {
            ByteBuffer covered = ByteBuffer.wrap(bytes, 0, size - 20);
            ByteBuffer tail = ByteBuffer.wrap(bytes, size - 20, 20);
            MessageDecoder.createCrc32(tail, org.apache.rocketmq.common.UtilAll.crc32(covered));
        }
        DispatchRequest checked = store.getCommitLog().checkMessageAndReturnSize(ByteBuffer.wrap(bytes), true, false, true);
        if (!checked.isSuccess() || checked.getMsgSize() != size) {
            throw new IllegalStateException("Apache does not take its own record " + name);
        }
        p.println(name + (crc ? "-crc " : " ") + hex(bytes));
    }

    /** name batch-body */
    static void batches(PrintStream p) {
        List<Message> all = new ArrayList<>();
        for (int i = 0; i < 3; i++) {
            Message m = new Message("TopicTest", "Tag" + i, "key" + i, i, ("body " + i).getBytes(StandardCharsets.UTF_8), true);
            all.add(m);
            p.println("batch-of-" + all.size() + " " + hex(MessageDecoder.encodeMessages(all)));
        }
        Message bare = new Message();
        bare.setBody(new byte[0]);
        p.println("empty-message " + hex(MessageDecoder.encodeMessages(Arrays.asList(bare))));
    }

    /** address port position id */
    static void ids(PrintStream p) throws Exception {
        for (String host : List.of("127.0.0.1", "255.255.255.255", "0.0.0.0", "::1", "2001:db8::7")) {
            for (long position : new long[] {0, 4711, 1L << 40, Long.MAX_VALUE}) {
                InetSocketAddress address = new InetSocketAddress(InetAddress.getByName(host), 10911);
                p.println(host + " 10911 " + position + " " + MessageDecoder.createMessageId(address, position));
            }
        }
    }

    /** encoded-properties, then name=value of everything Apache finds in them, all in hex */
    static void properties(PrintStream p) {
        Random random = new Random(7);
        HashSet<String> seen = new HashSet<>();
        String alphabet = "ab\001\002\001\002\u4e3b";
        while (seen.size() < 400) {
            StringBuilder s = new StringBuilder();
            for (int i = random.nextInt(14); i > 0; i--) {
                s.append(alphabet.charAt(random.nextInt(alphabet.length())));
            }
            if (!seen.add(s.toString())) {
                continue;
            }
            p.print(hex(s.toString()));
            Map<String, String> found = new TreeMap<>(MessageDecoder.string2messageProperties(s.toString()));
            for (Map.Entry<String, String> e : found.entrySet()) {
                p.print(" " + hex(e.getKey()) + "=" + hex(e.getValue()));
            }
            p.println();
        }
    }

    /** tags-in-hex code */
    static void tags(PrintStream p) {
        for (String t : List.of("TagA", "TagB", "*", "a b", "\u4e3b\u9898", "\ud83d\ude00", "polygenelubricants",
            "the quick brown fox jumps over the lazy dog")) {
            p.println(hex(t) + " " + MessageExtBrokerInner.tagsString2tagsCode(t));
        }
    }
}
