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
 * Runs the cases: first those that mostly wait, side by side; then those that load the server, alone; then those
 * that restart it, each by itself; then those that share its restarts. One line for each, `N passed, N failed` at the end, exit code 1 if one failed.
 *
 * <p>Arguments: parts of the names of the cases to run (none: all). Settings are system properties, see {@link Kit}.
 */
public final class Main {
    enum Phase { TOGETHER, ALONE, HOOK, SHARED_HOOK }

    interface Body {
        void run(Kit kit) throws Exception;
    }

    record Case(String name, Phase phase, Body body) {}

    private static final int SIDE_BY_SIDE = Integer.getInteger("together", 6);
    private static final int LIMIT_SECONDS = Integer.getInteger("limit", 240);
    private static final String LABEL = System.getProperty("label", "");

    private static int passed;
    private static int failed;
    private static int skipped;

    public static void main(String[] args) throws Exception {
        List<Case> cases = new ArrayList<>();
        ClassicCases.add(cases);
        SendCases.add(cases);
        TagCases.add(cases);
        GroupCases.add(cases);
        RetryCases.add(cases);
        OrderCases.add(cases);
        OffsetCases.add(cases);
        ErrorCases.add(cases);
        TypeCases.add(cases);
        RelayCases.add(cases);
        RequestReplyCases.add(cases);
        LoadCases.add(cases);
        WaitingCases.add(cases);
        RestartCases.add(cases);
        AcrossRestartCases.add(cases);
        addCasesOfNewerClients(cases);
        if (args.length > 0) {
            cases.removeIf(c -> Arrays.stream(args).noneMatch(c.name()::contains));
        }
        long start = System.nanoTime();
        runAll(cases, Phase.TOGETHER, SIDE_BY_SIDE);
        runAll(cases, Phase.ALONE, 1);
        runAll(cases, Phase.HOOK, 1);
        runSharing(cases);
        String more = skipped > 0 ? ", " + skipped + " skipped" : "";
        System.out.printf(Locale.ROOT, "%d passed, %d failed%s (%s, %.0f s)%n", passed, failed, more, LABEL, (System.nanoTime() - start) / 1e9);
        System.out.flush();
        // Threads of clients that a failed case left behind must not keep the process.
        Runtime.getRuntime().halt(failed > 0 ? 1 : 0);
    }

    /** Cases of newer clients are not compiled for older ones. */
    private static void addCasesOfNewerClients(List<Case> cases) throws ReflectiveOperationException {
        for (String name : List.of("PopCases", "CompactionCases", "LiteCases")) {
            try {
                Class.forName("interop." + name).getDeclaredMethod("add", List.class).invoke(null, cases);
            } catch (ClassNotFoundException e) {
                System.out.println("       not for this client: " + name);
            }
        }
    }

    private static void runAll(List<Case> cases, Phase phase, int threads) throws Exception {
        ExecutorService runners = Executors.newFixedThreadPool(threads);
        List<Future<?>> results = new ArrayList<>();
        for (Case one : cases) {
            if (one.phase() == phase) {
                results.add(runners.submit(() -> run(one, null)));
            }
        }
        for (Future<?> result : results) {
            result.get();
        }
        runners.shutdown();
    }

    private static void runSharing(List<Case> cases) throws Exception {
        List<Case> sharing = cases.stream().filter(c -> c.phase() == Phase.SHARED_HOOK).toList();
        SharedRestart restart = new SharedRestart(sharing.size());
        List<Thread> threads = new ArrayList<>();
        for (Case one : sharing) {
            Thread thread = new Thread(() -> run(one, restart));
            threads.add(thread);
            thread.start();
        }
        for (Thread thread : threads) {
            thread.join();
        }
    }

    private static void run(Case one, SharedRestart restart) {
        boolean restarts = one.phase() == Phase.HOOK || one.phase() == Phase.SHARED_HOOK;
        boolean cannot = restarts && Kit.HOOK == null || one.name().startsWith("noauto") && Kit.NAMESRV_NO_AUTO == null;
        if (cannot) {
            report("skip", one, 0, "", null);
            return;
        }
        long start = System.nanoTime();
        Kit kit = new Kit(one.name(), restart);
        Throwable failure = bounded(one, kit);
        double seconds = (System.nanoTime() - start) / 1e9;
        report(failure == null ? "ok" : "FAILED", one, seconds, kit.notes(), failure);
    }

    private static Throwable bounded(Case one, Kit kit) {
        ExecutorService runner = Executors.newSingleThreadExecutor(r -> new Thread(r, one.name()));
        try {
            Future<?> result = runner.submit(() -> {
                try {
                    one.body().run(kit);
                } finally {
                    kit.over();
                    kit.close();
                }
                return null;
            });
            result.get(LIMIT_SECONDS, TimeUnit.SECONDS);
            return null;
        } catch (ExecutionException e) {
            return e.getCause();
        } catch (TimeoutException | InterruptedException e) {
            return new AssertionError("not done within " + LIMIT_SECONDS + " s; last note: " + kit.notes());
        } finally {
            runner.shutdownNow();
        }
    }

    private static synchronized void report(String result, Case one, double seconds, String notes, Throwable failure) {
        switch (result) {
            case "ok" -> passed++;
            case "skip" -> skipped++;
            default -> failed++;
        }
        System.out.printf(Locale.ROOT, "%-6s %s %-30s %6.1f s  %s%n", result, LABEL, one.name(), seconds, notes);
        if (failure != null) {
            System.out.println("       " + failure);
            for (Throwable t = failure; t != null; t = t.getCause()) {
                Arrays.stream(t.getStackTrace()).filter(f -> f.getClassName().startsWith("interop.")).limit(4).forEach(f -> System.out.println("         at " + f));
            }
        }
        System.out.flush();
    }
}
