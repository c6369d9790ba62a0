package interop;

import static interop.Kit.check;
import static interop.Kit.equal;
import static interop.Kit.text;

import java.util.ArrayList;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeSet;
import org.apache.rocketmq.client.consumer.DefaultMQPullConsumer;
import org.apache.rocketmq.client.consumer.PopResult;
import org.apache.rocketmq.client.consumer.PopStatus;
import org.apache.rocketmq.client.consumer.PullResult;
import org.apache.rocketmq.client.consumer.PullStatus;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.client.producer.LocalTransactionState;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageExt;
import org.apache.rocketmq.common.message.MessageQueue;
import org.apache.rocketmq.tools.admin.DefaultMQAdminExt;

/**
 * One data directory, opened by one server after the other. Arguments: words for the hook, and `write PREFIX` and `check PREFIX`, in the order
 * in which they are done: `start write a stop become:kerolox start check a write b stop become:apache start check a check b`.
 */
final class Compat {
    /** How late what waits may be: Apache looks now and then, and twice as long in vain after a start. */
    private static final int LATE_S = 90;
    /** Apache rounds due times down to seconds. */
    private static final long EARLY_MS = 1_000;

    private Compat() {}

    public static void main(String[] steps) throws Exception {
        Map<String, Written> all = new HashMap<>();
        int failed = 0;
        boolean clean = true;
        boolean apache = true;
        for (int i = 0; i < steps.length; i++) {
            long start = System.currentTimeMillis();
            String what = steps[i];
            try (Kit kit = new Kit("compat" + i, null)) {
                switch (steps[i]) {
                    case "write":
                        what += " " + steps[++i];
                        all.put(steps[i], Written.write(kit, steps[i]));
                        break;
                    case "check":
                        what += " " + steps[++i];
                        failed += checkAll(kit, all.get(steps[i]), clean);
                        break;
                    default:
                        apache = steps[i].startsWith("become:") ? steps[i].equals("become:apache") : apache;
                        clean &= !steps[i].equals("kill") || !apache;
                        Kit.hook(steps[i]);
                        break;
                }
                System.out.printf("done   %-20s %.1f s%n", what, (System.currentTimeMillis() - start) / 1e3);
            }
        }
        System.out.printf("%d failed%n", failed);
        System.exit(failed > 0 ? 1 : 0);
    }

    private interface Check {
        void run() throws Exception;
    }

    private static int failed(String what, Check check) {
        try {
            check.run();
            System.out.printf("ok     %s%n", what);
            return 0;
        } catch (Throwable e) {
            System.out.printf("FAILED %s: %s%n", what, e);
            if (!(e instanceof AssertionError)) {
                e.printStackTrace(System.out);
            }
            return 1;
        }
    }

    /** All that was written is there, and what waited comes. {@code clean}: Apache was never killed; a killed Kerolox is no excuse. */
    private static int checkAll(Kit kit, Written written, boolean clean) throws Exception {
        DefaultMQProducer producer = kit.producer();
        DefaultMQAdminExt admin = kit.admin();
        Kit.eventually(60, "a route", () -> {
            try {
                return Kit.queues(producer, written.topic("plain")).size() > 0;
            } catch (Exception e) {
                return false;
            }
        });
        int failed = 0;
        failed += failed("settings (" + written.settings.size() + ")", () -> sameMap(written.settings, State.settings(kit, admin, written)));
        failed += failed("offsets (" + written.offsets.size() + ")", () -> sameMap(written.offsets, State.offsets(kit, written)));
        failed += failed("messages (" + written.served.size() + ")", () -> {
            Map<String, String> now = State.served(kit, written);
            now.keySet().retainAll(written.served.keySet());
            sameMap(written.served, now);
        });
        failed += failed("found by key and id", () -> found(admin, written));
        if (!Written.OLD) {
            failed += failed("pop", () -> pop(producer, written, clean));
            failed += failed("pop in order", () -> popInOrder(producer, written, clean));
            failed += failed("timers", () -> waiting(kit, written, "timer", clean));
        }
        failed += failed("transactions", () -> transactions(kit, written));
        failed += failed("delayed", () -> waiting(kit, written, "delay", clean));
        failed += failed("retries", () -> retries(kit, written));
        failed += failed("deleted topic", () -> {
            List<String> topics = new ArrayList<>(admin.fetchAllTopicList().getTopicList());
            check(!topics.contains(written.topic("gone")), "%s is there again", written.topic("gone"));
        });
        return failed;
    }

    private static void sameMap(Map<String, ?> want, Map<String, ?> got) {
        Kit.sameSet(want.keySet(), got.keySet(), "keys");
        want.forEach((key, value) -> equal(value, got.get(key), key));
    }

    private static void found(DefaultMQAdminExt admin, Written written) throws Exception {
        for (int i = 0; i < 240; i += 13) {
            String key = written.prefix + "-key-" + i;
            List<MessageExt> messages = admin.queryMessage(written.topic("plain"), key, 32, 0, Long.MAX_VALUE).getMessageList();
            equal(1, messages.size(), "messages with key " + key);
            equal("" + i, messages.get(0).getUserProperty("number"), "number of " + key);
            MessageExt same = admin.viewMessage(written.topic("plain"), messages.get(0).getMsgId());
            equal("" + i, same.getUserProperty("number"), "number of the message with the id of " + key);
        }
        equal(32, admin.queryMessage(written.topic("plain"), written.prefix + "-all", 32, 0, Long.MAX_VALUE).getMessageList().size(), "messages of one key");
    }

    /** What was acknowledged never comes, what was taken comes when its time is over, what was not at once. */
    private static void pop(DefaultMQProducer producer, Written written, boolean clean) throws Exception {
        PopCases.Popper popper = new PopCases.Popper(producer, written.topic("pop"), written.group("pop"));
        Set<String> come = new TreeSet<>();
        int twice = 0;
        long end = System.currentTimeMillis() + LATE_S * 1_000;
        Set<String> want = new TreeSet<>(written.neverPopped);
        want.addAll(written.invisible.keySet());
        while (!come.containsAll(want) && System.currentTimeMillis() < end) {
            for (MessageExt message : popper.pop(8, 300_000, 1_000)) {
                String body = text(message);
                long early = written.invisible.getOrDefault(body, 0L) - System.currentTimeMillis();
                check(early <= EARLY_MS, "%s came %d ms early", body, early);
                check(!written.acknowledged.contains(body) || !clean, "%s was acknowledged and came", body);
                twice += come.add(body) ? 0 : 1;
                popper.ack(message);
            }
        }
        come.removeAll(written.acknowledged);
        Kit.sameSet(want, come, "popped");
        check(twice == 0 || !clean, "%d came twice", twice);
        written.acknowledged.addAll(come);
        written.invisible.clear();
        written.neverPopped.clear();
    }

    /** What is popped in order comes in order, when the first of it is due. */
    private static void popInOrder(DefaultMQProducer producer, Written written, boolean clean) throws Exception {
        PopCases.Popper popper = new PopCases.Popper(producer, written.topic("fifo"), written.group("fifo"));
        List<String> come = new ArrayList<>();
        long end = System.currentTimeMillis() + LATE_S * 1_000;
        while (!come.containsAll(written.inOrder) && System.currentTimeMillis() < end) {
            PopResult popped = popper.pop(0, 8, 300_000, 1_000, true, "b", "*");
            for (MessageExt message : popped.getPopStatus() == PopStatus.FOUND ? popped.getMsgFoundList() : List.<MessageExt>of()) {
                long early = written.inOrderDue - System.currentTimeMillis();
                check(early <= EARLY_MS || !clean, "%s came %d ms early", text(message), early);
                come.add(text(message));
                popper.ack(message);
            }
        }
        if (!clean) {
            come.remove("fifo 0");
        }
        equal(written.inOrder, come, "popped in order");
        written.inOrder.clear();
    }

    private static void transactions(Kit kit, Written written) throws Exception {
        // A producer that sends nothing is known to no broker.
        Message known = new Message(written.topic("transaction"), text("commit " + kit.name));
        written.transactionProducer(kit, LocalTransactionState.COMMIT_MESSAGE).sendMessageInTransaction(known, null);
        written.committed.add("commit " + kit.name);
        Set<String> come = new TreeSet<>();
        try {
            Kit.eventually(LATE_S, "committed ones", () -> {
                come.clear();
                come.addAll(bodies(kit, written.topic("transaction")).keySet());
                check(come.stream().noneMatch(written.rolledBack::contains), "rolled back and came: %s", come);
                return come.containsAll(written.committed);
            });
        } catch (AssertionError e) {
            Kit.sameSet(written.committed, come, e.getMessage());
        }
    }

    private static void waiting(Kit kit, Written written, String kind, boolean clean) throws Exception {
        Map<String, Long> want = written.pending.get(written.topic(kind));
        Map<String, List<MessageExt>> come = new HashMap<>();
        try {
            Kit.eventually(LATE_S, "all that waited", () -> {
                come.clear();
                come.putAll(bodies(kit, written.topic(kind)));
                return come.keySet().containsAll(want.keySet());
            });
        } catch (AssertionError e) {
            Kit.sameSet(want.keySet(), come.keySet(), e.getMessage());
        }
        Kit.sameSet(want.keySet(), come.keySet(), "what came");
        come.forEach((body, messages) -> {
            check(messages.size() == 1 || !clean, "%s came %d times", body, messages.size());
            long early = want.get(body) - messages.get(0).getStoreTimestamp();
            check(early <= EARLY_MS, "%s came %d ms early", body, early);
        });
    }

    private static void retries(Kit kit, Written written) throws Exception {
        if (written.retried.isEmpty()) {
            return;
        }
        Inbox inbox = new Inbox().attach(kit.pushConsumer(written.group("retry")), written.topic("retry"), "*");
        inbox.awaitBodies(written.retried, LATE_S);
        Kit.sameSet(written.retried, inbox.bodies(), "tried again");
        inbox.arrivals().forEach(arrival -> equal(1, arrival.reconsumeTimes(), "times of " + text(arrival.message())));
        written.retried.clear();
    }

    /** All that a topic has, by body. */
    @SuppressWarnings("deprecation")
    private static Map<String, List<MessageExt>> bodies(Kit kit, String topic) throws Exception {
        Map<String, List<MessageExt>> all = new HashMap<>();
        DefaultMQPullConsumer consumer = kit.pullConsumer("TOOLS_CONSUMER");
        for (MessageQueue queue : new HashSet<>(consumer.fetchSubscribeMessageQueues(topic))) {
            long offset = consumer.minOffset(queue);
            long end = consumer.maxOffset(queue);
            while (offset < end) {
                PullResult result = consumer.pull(queue, "*", offset, 32);
                if (result.getPullStatus() == PullStatus.FOUND) {
                    result.getMsgFoundList().forEach(m -> all.computeIfAbsent(text(m), t -> new ArrayList<>()).add(m));
                }
                offset = result.getNextBeginOffset();
            }
        }
        consumer.shutdown();
        return all;
    }
}
