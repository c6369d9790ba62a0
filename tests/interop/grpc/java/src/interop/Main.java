package interop;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Locale;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;

/**
 * Runs the cases: first those that mostly wait, side by side; then those that restart the broker. One line for each,
 * `N passed, N failed` at the end, exit code 1 if one failed. Arguments: parts of the names of the cases to run (none: all).
 */
public final class Main {
    interface Body {
        void run(Kit kit) throws Exception;
    }

    record Case(String name, Body body) {}

    private static final int SIDE_BY_SIDE = Integer.getInteger("together", 16);
    private static final int LIMIT_SECONDS = Integer.getInteger("limit", 240);
    private static final String LABEL = System.getProperty("label", "");

    private static int passed;
    private static int failed;
    private static int skipped;

    public static void main(String[] args) throws Exception {
        List<Case> cases = new ArrayList<>();
        LoadCases.add(cases);
        SendCases.add(cases);
        ReceiveCases.add(cases);
        PushCases.add(cases);
        ErrorCases.add(cases);
        MixedCases.add(cases);
        try {
            Class.forName("interop.NewCases").getDeclaredMethod("add", List.class).invoke(null, cases);
        } catch (ClassNotFoundException e) {
            System.out.println("       not for this client: NewCases");
        }
        if (args.length > 0) {
            cases.removeIf(c -> Arrays.stream(args).noneMatch(c.name()::contains));
        }
        long start = System.nanoTime();
        ExecutorService runners = Executors.newFixedThreadPool(SIDE_BY_SIDE);
        cases.stream().filter(c -> !restarts(c)).forEach(c -> runners.submit(() -> run(c)));
        runners.shutdown();
        runners.awaitTermination(1, TimeUnit.HOURS);
        cases.stream().filter(Main::restarts).forEach(Main::run);
        String more = skipped > 0 ? ", " + skipped + " skipped" : "";
        System.out.printf(Locale.ROOT, "%d passed, %d failed%s (%s, %.0f s)%n", passed, failed, more, LABEL, (System.nanoTime() - start) / 1e9);
        System.out.flush();
        // Clients that are still closing (it takes them a long poll) must not keep the process.
        Runtime.getRuntime().halt(failed > 0 ? 1 : 0);
    }

    private static boolean restarts(Case one) {
        return one.name().startsWith("restart.");
    }

    private static void run(Case one) {
        long start = System.nanoTime();
        if (restarts(one) && Kit.HOOK.isEmpty()) {
            report("skip", one, 0, "the broker cannot be restarted here", null);
            return;
        }
        Kit kit = new Kit(one.name());
        Throwable failure = null;
        ExecutorService runner = Executors.newSingleThreadExecutor(r -> new Thread(r, one.name()));
        try {
            runner.submit(() -> {
                try {
                    one.body().run(kit);
                } finally {
                    kit.close();
                }
                return null;
            }).get(LIMIT_SECONDS, TimeUnit.SECONDS);
        } catch (ExecutionException e) {
            failure = e.getCause();
        } catch (TimeoutException | InterruptedException e) {
            failure = new AssertionError("not done within " + LIMIT_SECONDS + " s");
        } finally {
            runner.shutdownNow();
        }
        report(failure == null ? "ok" : "FAILED", one, (System.nanoTime() - start) / 1e9, kit.notes(), failure);
    }

    private static synchronized void report(String result, Case one, double seconds, String notes, Throwable failure) {
        switch (result) {
            case "ok" -> passed++;
            case "skip" -> skipped++;
            default -> failed++;
        }
        System.out.printf(Locale.ROOT, "%-6s %s %-28s %6.1f s  %s%n", result, LABEL, one.name(), seconds, notes);
        for (Throwable t = failure; t != null; t = t.getCause()) {
            System.out.println("       " + t);
            Arrays.stream(t.getStackTrace()).filter(f -> f.getClassName().startsWith("interop.")).limit(4).forEach(f -> System.out.println("         at " + f));
        }
        System.out.flush();
    }
}
