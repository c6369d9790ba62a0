//! `sim SEED`: plays one seed and prints its history. `sim --seeds N [--from SEED] [--jobs N]`: plays many.

use kerolox_sim::world::{Options, run};
use kerolox_store::FlushPolicy;
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

const USAGE: &str =
    "usage: sim SEED | sim --seeds N [--from SEED] [--jobs N] [--seconds SIMULATED] [--async]";

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let flag = |name: &str| {
        args.iter().position(|a| a == name).and_then(|i| args.get(i + 1)).map(|v| v.parse::<u64>())
    };
    let number = |name: &str, default: u64| flag(name).unwrap_or(Ok(default));
    let flush = match args.iter().any(|a| a == "--async") {
        true => FlushPolicy::Async { interval_ms: 500 },
        false => FlushPolicy::Sync,
    };
    let (Ok(seeds), Ok(from), Ok(jobs), Ok(seconds)) =
        (number("--seeds", 0), number("--from", 0), number("--jobs", 1), number("--seconds", 30))
    else {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    };
    let options =
        |seed, trace| Options { seed, duration_ms: seconds as i64 * 1_000, flush, bug: None, trace };
    if seeds == 0 {
        let Some(Ok(seed)) = args.first().map(|seed| seed.parse()) else {
            eprintln!("{USAGE}");
            return ExitCode::from(2);
        };
        let outcome = run(options(seed, true));
        print!("{}", outcome.trace);
        println!("seed {seed}: {}", outcome.summary());
        return report(seed, &outcome.violations);
    }
    play_many(seeds, from, jobs, options)
}

fn report(seed: u64, violations: &[String]) -> ExitCode {
    for violation in violations {
        println!("seed {seed}: VIOLATION: {violation}");
    }
    if violations.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn play_many(seeds: u64, from: u64, jobs: u64, options: impl Fn(u64, bool) -> Options + Sync) -> ExitCode {
    let next = AtomicU64::new(from);
    let totals = Mutex::new((0u64, 0u64, 0u64, 0u64, 0u64, 0i64, 0u64));
    let failed = AtomicU64::new(0);
    let started = std::time::Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..jobs.max(1) {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= from + seeds {
                        return;
                    }
                    let outcome = run(options(seed, false));
                    if !outcome.violations.is_empty() {
                        failed.fetch_add(1, Ordering::Relaxed);
                        report(seed, &outcome.violations);
                        println!("seed {seed}: replay with: cargo run --release -p kerolox-sim -- {seed}");
                    }
                    if let Ok(mut t) = totals.lock() {
                        t.0 += 1;
                        t.1 += outcome.acked;
                        t.2 += outcome.kills;
                        t.3 += outcome.power_cuts;
                        t.4 += outcome.cut_connections;
                        t.5 += outcome.simulated_ms;
                        t.6 += outcome.popped;
                        if t.0.is_multiple_of((seeds / 20).max(1)) {
                            eprintln!(
                                "{} of {seeds} seeds, {} failed, {:.0?}",
                                t.0,
                                failed.load(Ordering::Relaxed),
                                started.elapsed()
                            );
                        }
                    }
                }
            });
        }
    });
    let failed = failed.load(Ordering::Relaxed);
    if let Ok(t) = totals.lock() {
        println!(
            "{} seeds, {failed} failed; {} acknowledged, {} popped, {} kills, {} power cuts, {} cut connections; {} s simulated in {:.1?}",
            t.0,
            t.1,
            t.6,
            t.2,
            t.3,
            t.4,
            t.5 / 1_000,
            started.elapsed()
        );
    }
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
