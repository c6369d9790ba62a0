//! The simulation as a test: few seeds, the same each time, and proof that its checks bite.

use kerolox_sim::Outcome;
use kerolox_sim::bug::Bug;
use kerolox_sim::world::{Options, run};
use kerolox_store::FlushPolicy;

fn play(seed: u64, flush: FlushPolicy, bug: Option<Bug>) -> Outcome {
    run(Options { seed, duration_ms: 20_000, flush, bug, trace: false })
}

#[test]
fn one_seed_is_one_history_byte_for_byte() {
    let options = Options { seed: 7, duration_ms: 20_000, flush: FlushPolicy::Sync, bug: None, trace: true };
    let (first, second) = (run(options.clone()), run(options));
    assert!(first.events > 1_000, "{first}");
    assert_eq!(first.trace, second.trace);
    assert_eq!(first.history_crc, second.history_crc);
    assert_ne!(first.history_crc, play(8, FlushPolicy::Sync, None).history_crc);
}

#[test]
fn nothing_promised_is_lost_under_sync_flush() {
    let mut power_cuts = 0;
    for seed in 0..16 {
        let outcome = play(seed, FlushPolicy::Sync, None);
        assert!(outcome.violations.is_empty(), "seed {seed}: {:#?}", outcome.violations);
        assert!(outcome.acked > 50 && outcome.popped > 100, "seed {seed}: {outcome}");
        power_cuts += outcome.count("power cuts");
    }
    assert!(power_cuts > 20, "{power_cuts}");
}

#[test]
fn nothing_promised_before_the_flush_interval_is_lost_under_async_flush() {
    for seed in 100..108 {
        let outcome = play(seed, FlushPolicy::Async { interval_ms: 500 }, None);
        assert!(outcome.violations.is_empty(), "seed {seed}: {:#?}", outcome.violations);
        assert!(outcome.acked > 50, "seed {seed}: {outcome}");
    }
}

#[test]
fn checks_bite() {
    for bug in Bug::ALL {
        let wanted = match bug {
            Bug::EarlyTimer => "early",
            Bug::LostTimer => "never came",
            Bug::LostCommit => "was committed at",
            Bug::UndoneRollBack => "was rolled back and came",
            Bug::ForgottenAck => "was acknowledged by sim-pop and came again",
            Bug::MistakenAck => "and never came again",
            Bug::ShortenedTime => "ms early",
            Bug::ForgottenOrder => "out of order",
            Bug::SkippedCrc => "holds bytes that nobody sent",
            Bug::LostOffset | Bug::OffsetBack => "rolled back",
            Bug::TakenUnread => "never came",
            Bug::LostPopEnd => "was acknowledged by sim-pop",
            Bug::SharedLock => "the lock that",
            Bug::MistakenKey => "as the last of 3",
            Bug::LostPriority => "of priority 1 went to queue 0",
            Bug::MistakenReply => "came altered, or to another",
            Bug::MistakenRoom => "of rooms was acknowledged and came again",
            Bug::DuplicateOffset | Bug::LateSync => "acknowledged at",
            Bug::AckBeforeFlush | Bug::AckBeforeSync | Bug::AlteredBody => "",
        };
        let flush = match bug {
            Bug::LateSync => FlushPolicy::Async { interval_ms: 500 },
            _ => FlushPolicy::Sync,
        };
        let caught = (0..80)
            .any(|seed| play(seed, flush, Some(bug)).violations.iter().any(|found| found.contains(wanted)));
        assert!(caught, "{bug:?} went unnoticed");
    }
}
