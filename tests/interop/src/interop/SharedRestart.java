package interop;

import java.util.List;
import java.util.concurrent.Phaser;

/**
 * Restarts of the broker that several cases share, because each costs seconds: it ends and starts again once all cases are
 * ready for it. A case that fails on the way is no longer waited for.
 */
final class SharedRestart {
    /** What is done to the broker before it starts again, in turn: every case must be there each time. */
    static final List<String> VERBS = List.of("stop", "kill");

    private volatile Throwable problem;
    private final Phaser ready = new Phaser() {
        @Override
        protected boolean onAdvance(int phase, int cases) {
            if (cases == 0) {
                return true;
            }
            try {
                Kit.hook(VERBS.get(phase));
                Kit.hook("start");
                return false;
            } catch (Exception e) {
                problem = e;
                return true;
            }
        }
    };

    SharedRestart(int cases) {
        ready.bulkRegister(cases);
    }

    /** Returns once the broker has been away and is back. */
    void await() throws Exception {
        ready.awaitAdvanceInterruptibly(ready.arrive());
        if (ready.isTerminated()) {
            throw new IllegalStateException("the broker was not restarted", problem);
        }
    }

    /** The case is over. */
    void leave() {
        ready.arriveAndDeregister();
    }
}
