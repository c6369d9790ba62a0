package interop;

import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Set;
import java.util.function.Predicate;
import org.apache.rocketmq.client.apis.consumer.ConsumeResult;
import org.apache.rocketmq.client.apis.consumer.MessageListener;
import org.apache.rocketmq.client.apis.message.MessageView;

/** What a push consumer got, in that order. */
final class Inbox {
    record Arrival(String body, int attempt, MessageView view, long atMs) {}

    private final List<Arrival> got = new ArrayList<>();

    synchronized Arrival add(MessageView view) {
        Arrival arrival = new Arrival(Kit.body(view), view.getDeliveryAttempt(), view, System.currentTimeMillis());
        got.add(arrival);
        return arrival;
    }

    /** Fails what is to fail. */
    MessageListener listener(Predicate<Arrival> fails) {
        return view -> fails.test(add(view)) ? ConsumeResult.FAILURE : ConsumeResult.SUCCESS;
    }

    MessageListener listener() {
        return listener(arrival -> false);
    }

    synchronized List<Arrival> all() {
        return List.copyOf(got);
    }

    synchronized int size() {
        return got.size();
    }

    List<String> bodies() {
        return all().stream().map(Arrival::body).toList();
    }

    /** How often it was delivered, with which attempts: `[1, 2]`. */
    List<Integer> attempts(String body) {
        return all().stream().filter(a -> a.body().equals(body)).map(Arrival::attempt).toList();
    }

    void exactly(List<String> want, int seconds) throws Exception {
        Set<String> wanted = new HashSet<>(want);
        try {
            Kit.eventually(seconds, "", () -> size() >= want.size() && bodies().containsAll(wanted));
        } catch (AssertionError e) {
            List<String> missing = new ArrayList<>(want);
            missing.removeAll(new HashSet<>(bodies()));
            throw new AssertionError(missing.size() + " of " + want.size() + " missing after " + seconds + " s, first: " + missing.stream().limit(5).toList());
        }
        Kit.sameSet(want, bodies(), "deliveries");
    }
}
