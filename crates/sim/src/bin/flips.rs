//! `flips --count N`: hurts stores at rest, one bit, sector or block at a time, and looks at everything that they show then;
//! afterwards shows that skipped checksums are noticed. Progress on stderr, summary on stdout.

mod campaign;

use campaign::campaign;
use kerolox_sim::crash::Findings;
use kerolox_sim::crash::bugs::SKIPPED;
use kerolox_sim::crash::flips::flips;
use std::process::ExitCode;
use std::time::Instant;

const USAGE: &str = "usage: flips [--count N] [--from SEED] [--steps N] [--each N] [--jobs N]";

struct Args {
    count: u64,
    from: u64,
    steps: usize,
    /// Injuries of the store of one script.
    each: u64,
    jobs: u64,
}

fn args() -> Option<Args> {
    let mut args = Args { count: 100_000, from: 1, steps: 150, each: 500, jobs: 2 };
    let mut given = std::env::args().skip(1);
    while let Some(name) = given.next() {
        let value: u64 = given.next()?.parse().ok()?;
        match name.as_str() {
            "--count" => args.count = value,
            "--from" => args.from = value,
            "--steps" => args.steps = value as usize,
            "--each" => args.each = value,
            "--jobs" => args.jobs = value,
            _ => return None,
        }
    }
    Some(args)
}

fn main() -> ExitCode {
    let Some(args) = args() else {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    };
    let begun = Instant::now();
    let all = campaign(args.from, args.jobs, args.count, |seed| flips(seed, args.steps, args.each, None));
    println!("{} injuries in {:.0?}:", all.total(), begun.elapsed());
    println!("{:>36} {:>10}  {:>9} {:>9} {:>8} {:>8}", "", "", "harmless", "named", "records", "at most");
    for ((kind, place), count) in &all.counts {
        let numbers = [count.harmless, count.named];
        println!(
            "{kind:>36} {place:>10}  {:>9} {:>9} {:>8} {:>8}",
            numbers[0], numbers[1], count.records, count.records_max
        );
    }
    all.violations.iter().for_each(|violation| println!("VIOLATION: {violation}"));
    println!("{} violations", all.violations.len());
    let found = skipped_are_found(&args);
    if all.violations.is_empty() && found { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn skipped_are_found(args: &Args) -> bool {
    let mut all = true;
    for (name, skipped) in SKIPPED {
        let first =
            (1..=6).find_map(|seed| flips(seed, args.steps, 50, Some(skipped)).violations.into_iter().next());
        match &first {
            Some(violation) => println!("broken on purpose, {name}: found: {violation}"),
            None => println!("broken on purpose, {name}: NOT FOUND"),
        }
        all &= first.is_some();
    }
    all
}
