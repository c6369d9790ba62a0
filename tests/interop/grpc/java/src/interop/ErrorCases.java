package interop;

import static interop.Kit.check;
import static interop.Kit.equal;
import static interop.Kit.message;
import static interop.Kit.refused;

import java.time.Duration;
import java.util.List;
import java.util.concurrent.Callable;
import org.apache.rocketmq.client.apis.ClientException;
import org.apache.rocketmq.client.apis.consumer.FilterExpression;
import org.apache.rocketmq.client.apis.consumer.FilterExpressionType;
import org.apache.rocketmq.client.apis.consumer.SimpleConsumer;
import org.apache.rocketmq.client.apis.message.MessageView;
import org.apache.rocketmq.client.apis.producer.Producer;

/** What is refused, with which code and exception; and what is not. */
final class ErrorCases {
    static void add(List<Main.Case> cases) {
        cases.add(new Main.Case("error.send", ErrorCases::send));
        cases.add(new Main.Case("error.topic", ErrorCases::topic));
        cases.add(new Main.Case("error.receive", ErrorCases::receive));
        cases.add(new Main.Case("error.group", ErrorCases::group));
    }

    private static void named(String exception, ClientException e) {
        equal(exception, e.getClass().getSimpleName(), "exception");
    }

    /** Refused by the client itself, by what the server's settings and routes say. */
    private static void refusedHere(String text, Callable<?> call) {
        try {
            call.call();
        } catch (Throwable failure) {
            for (Throwable t = failure; t != null; t = t.getCause()) {
                if (t.toString().contains(text)) {
                    return;
                }
            }
            throw new AssertionError("want " + text, failure);
        }
        throw new AssertionError("not refused");
    }

    private static void send(Kit kit) throws Exception {
        String normal = kit.topic("NORMAL");
        String fifo = kit.topic("FIFO");
        String delay = kit.topic("DELAY");
        Producer producer = kit.producer(normal, fifo, delay);
        long soon = System.currentTimeMillis() + 1000;
        for (Callable<?> wrong : List.<Callable<?>>of(
            () -> producer.send(message(normal, "x").setDeliveryTimestamp(soon).build()),
            () -> producer.send(message(normal, "x").setMessageGroup("g").build()),
            () -> producer.send(message(fifo, "x").build()),
            () -> producer.send(message(delay, "x").build()))) {
            refusedHere("message type not match", wrong);
        }
        refusedHere("body size exceeds", () -> producer.send(Kit.SDK.newMessageBuilder().setTopic(normal).setBody(new byte[(4 << 20) + 1]).build()));
        producer.send(Kit.SDK.newMessageBuilder().setTopic(normal).setBody(new byte[4 << 20]).build());
        named("BadRequestException", refused(40007, () -> producer.send(message(normal, "x").addProperty("TAGS", "t").build())));
        named("BadRequestException", refused(40004, () -> producer.send(message(normal, "x").setTag("a\u0001").build())));
        named("BadRequestException", refused(40005, () -> producer.send(message(normal, "x").setKeys("a\u0001").build())));
        named("BadRequestException", refused(40006, () -> producer.send(message(fifo, "x").setMessageGroup("g".repeat(64)).build())));
        // Apache's proxy allows a day, Kerolox what its broker allows: forty.
        named("BadRequestException", refused(40012, () -> producer.send(message(delay, "x").setDeliveryTimestamp(soon + 41L * 86_400_000).build())));
        named("RequestHeaderFieldsTooLargeException", refused(43101, () -> producer.send(message(normal, "x").addProperty("p", "v".repeat(16384)).build())));
        // Nothing of all that is there, and the producer still works.
        producer.send(message(normal, "good").build());
        List<MessageView> got = Kit.take(kit.simple(kit.group(), normal), 2, 30);
        equal(List.of("good"), Kit.bodies(got).stream().filter(b -> b.length() < 10).toList(), "arrived");
    }

    private static void topic(Kit kit) throws Exception {
        String topic = kit.topic("NORMAL");
        String unknown = kit.fresh("U");
        Producer producer = kit.producer(topic);
        named("NotFoundException", refused(40402, () -> producer.send(message(unknown, "x").build())));
        named("NotFoundException", refused(40402, () -> kit.producer(unknown)));
        named("NotFoundException", refused(40402, () -> kit.simple(kit.group(), unknown)));
        named("BadRequestException", refused(40002, () -> producer.send(message("SCHEDULE_TOPIC_XXXX", "x").build())));
        named("BadRequestException", refused(40002, () -> producer.send(message("t".repeat(128), "x").build())));
        // It is made meanwhile.
        Kit.admin("updateTopic -n " + Kit.NAMESRV + " -c DefaultCluster -t " + unknown + " -r 1 -w 1 -a +message.type=NORMAL");
        Kit.eventually(40, "the new topic takes messages", () -> {
            try {
                return producer.send(message(unknown, "x").build()) != null;
            } catch (ClientException e) {
                Thread.sleep(200);
                return false;
            }
        });
    }

    private static void receive(Kit kit) throws Exception {
        String topic = kit.topic("NORMAL");
        kit.producer(topic).send(message(topic, "x").build());
        SimpleConsumer consumer = kit.simple(kit.group(), topic);
        named("BadRequestException", refused(40011, () -> consumer.receive(1, Duration.ofSeconds(9))));
        named("BadRequestException", refused(40011, () -> consumer.receive(1, Duration.ofHours(13))));
        MessageView view = consumer.receive(1, Kit.INVISIBLE).get(0);
        named("BadRequestException", refused(40011, () -> {
            consumer.changeInvisibleDuration(view, Duration.ofHours(13));
            return null;
        }));
        SimpleConsumer wrong = kit.simple(Kit.CONFIG, kit.group(), topic, new FilterExpression("price >", FilterExpressionType.SQL92), 5);
        named("BadRequestException", refused(40010, () -> wrong.receive(1, Kit.INVISIBLE)));
    }

    /** A group that nobody has made is made; one of a system is not to be used. */
    private static void group(Kit kit) throws Exception {
        String topic = kit.topic("NORMAL");
        String group = kit.group();
        SimpleConsumer consumer = kit.simple(group, topic);
        kit.producer(topic).send(message(topic, "x").build());
        equal(List.of("x"), Kit.bodies(Kit.take(consumer, 1, 30)), "taken by a new group");
        check(Kit.admin("getConsumerConfig -n " + Kit.NAMESRV + " -g " + group).contains(group), "the group is there");
        check(Kit.admin("consumerConnection -n " + Kit.NAMESRV + " -g " + group).contains(topic), "its connections are listed");
        for (String bad : List.of("CID_RMQ_SYS_x", "g".repeat(121))) {
            try {
                kit.simple(bad, topic);
                throw new AssertionError("the group " + bad + " was not refused");
            } catch (IllegalStateException e) {
                // The client's start fails: the server closes its stream.
            }
        }
    }
}
