//! `sim SEED`: plays one seed and prints its history. `sim --seeds N [--from SEED] [--jobs N]`: plays many.

use kerolox_sim::Outcome;
use kerolox_sim::world::{Options, run};
use kerolox_store::FlushPolicy;
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

const USAGE: &str =
    "usage: sim SEED | sim --seeds N [--from SEED] [--jobs N] [--seconds SIMULATED] [--async] [--json]";

/// How often it says how far it is.
const PROGRESS_EVERY: Duration = Duration::from_secs(10);

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let has = |name: &str| args.iter().any(|a| a == name);
    let flag = |name: &str| {
        args.iter().position(|a| a == name).and_then(|i| args.get(i + 1)).map(|v| v.parse::<u64>())
    };
    let number = |name: &str, default: u64| flag(name).unwrap_or(Ok(default));
    let flush = if has("--async") { FlushPolicy::Async { interval_ms: 500 } } else { FlushPolicy::Sync };
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
        println!("seed {seed}: {outcome}; history {:08x}", outcome.history_crc);
        outcome.violations.iter().for_each(|violation| println!("VIOLATION: {violation}"));
        return if outcome.violations.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE };
    }
    let mode = if has("--async") { " --async" } else { "" };
    let campaign = Campaign {
        first: from,
        seeds,
        replay: format!("--seconds {seconds}{mode}"),
        next: AtomicU64::new(from),
        state: Mutex::default(),
        started: Instant::now(),
    };
    campaign.play(jobs, options);
    let took = campaign.started.elapsed();
    let state = campaign.state.into_inner().unwrap_or_else(PoisonError::into_inner);
    println!("{}", if has("--json") { json(&state, took) } else { table(&state, took) });
    if state.failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Many seeds.
struct Campaign {
    first: u64,
    seeds: u64,
    /// Flags with which one of them is played alone.
    replay: String,
    next: AtomicU64,
    state: Mutex<State>,
    started: Instant,
}

#[derive(Default)]
struct State {
    played: u64,
    failed: Vec<u64>,
    total: Outcome,
    told: Duration,
}

impl Campaign {
    fn play(&self, jobs: u64, options: impl Fn(u64, bool) -> Options + Sync) {
        std::thread::scope(|scope| {
            for _ in 0..jobs.max(1) {
                scope.spawn(|| {
                    loop {
                        let seed = self.next.fetch_add(1, Ordering::Relaxed);
                        if seed >= self.first + self.seeds {
                            return;
                        }
                        self.played(seed, &run(options(seed, false)));
                    }
                });
            }
        });
    }

    fn played(&self, seed: u64, outcome: &Outcome) {
        let state = &mut *self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.played += 1;
        state.total.add(outcome);
        if !outcome.violations.is_empty() {
            state.failed.push(seed);
            outcome.violations.iter().for_each(|violation| println!("seed {seed}: VIOLATION: {violation}"));
            println!(
                "seed {seed}: replay with: cargo run --release -p kerolox-sim -- {seed} {}",
                self.replay
            );
        }
        let passed = self.started.elapsed();
        if passed >= state.told + PROGRESS_EVERY || state.played == self.seeds {
            state.told = passed;
            eprintln!(
                "{} of {} seeds, {} failed, {passed:.0?}",
                state.played,
                self.seeds,
                state.failed.len()
            );
        }
    }
}

/// The figures, by name.
fn figures(state: &State, took: Duration) -> Vec<(&str, u64)> {
    let State { total, .. } = state;
    let simulated_s = total.simulated_ms as u64 / 1_000;
    let mut figures = vec![
        ("seeds", state.played),
        ("seeds with violations", state.failed.len() as u64),
        ("events", total.events),
        ("messages", total.sent),
        ("acknowledged", total.acked),
        ("places read", total.read),
        ("popped", total.popped),
        ("seconds simulated", simulated_s),
        ("seconds taken", took.as_secs()),
        ("simulated / taken", (simulated_s as f64 / took.as_secs_f64().max(0.001)) as u64),
    ];
    figures.extend(total.faults.iter().map(|(what, count)| (*what, *count)));
    figures
}

fn table(state: &State, took: Duration) -> String {
    let lines: Vec<String> =
        figures(state, took).iter().map(|(name, figure)| format!("{figure:>12}  {name}")).collect();
    lines.join("\n")
}

fn json(state: &State, took: Duration) -> String {
    let object: serde_json::Map<String, serde_json::Value> =
        figures(state, took).into_iter().map(|(name, figure)| (name.to_owned(), figure.into())).collect();
    serde_json::Value::from(object).to_string()
}
