//! `crash --states N`: explores crash states of scripted workloads until that many were recovered and checked, then fails
//! every call of some scripts, then shows that broken variants are found. Progress on stderr, summary on stdout.

mod campaign;

use campaign::campaign;
use kerolox_sim::crash::Findings;
use kerolox_sim::crash::bugs::{BUGS, Bug};
use kerolox_sim::crash::explore::{crashes, faults};
use std::process::ExitCode;
use std::time::Instant;

const USAGE: &str = "usage: crash [--states N] [--from SEED] [--steps N] [--seeds N] [--faults SCRIPTS] [--jobs N] | crash --script SEED";

struct Args {
    states: u64,
    from: u64,
    steps: usize,
    seeds: u64,
    faults: u64,
    jobs: u64,
    script: Option<u64>,
}

fn args() -> Option<Args> {
    let mut args = Args { states: 100_000, from: 1, steps: 80, seeds: 3, faults: 3, jobs: 2, script: None };
    let mut given = std::env::args().skip(1);
    while let Some(name) = given.next() {
        let value: u64 = given.next()?.parse().ok()?;
        match name.as_str() {
            "--states" => args.states = value,
            "--from" => args.from = value,
            "--steps" => args.steps = value as usize,
            "--seeds" => args.seeds = value,
            "--faults" => args.faults = value,
            "--jobs" => args.jobs = value,
            "--script" => args.script = Some(value),
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
    let mut all = match args.script {
        Some(seed) => crashes(seed, args.steps, args.seeds, None),
        None => {
            campaign(args.from, args.jobs, args.states, |seed| crashes(seed, args.steps, args.seeds, None))
        }
    };
    let scripts = args.script.map_or(args.from..args.from + args.faults, |seed| seed..seed + 1);
    for seed in scripts {
        all.merge(faults(seed, args.steps, None));
        eprintln!("every call of script {seed} failed: {} states, {:.0?}", all.total(), begun.elapsed());
    }
    let found = args.script.is_some() || bugs_are_found();
    println!(
        "{} crash points, {} states recovered and checked in {:.0?}:",
        all.crash_points,
        all.total(),
        begun.elapsed()
    );
    all.states.iter().for_each(|(kind, count)| println!("  {count:>9}  {kind}"));
    println!("un-acknowledged records: {} kept, {} cut off", all.kept, all.cut);
    println!("what the scripts did to the disk (reads and openings apart):");
    let changes = all.calls.iter().filter(|((kind, _), _)| kind.changes());
    changes.for_each(|((kind, dir), count)| println!("  {count:>9}  {kind:?} {dir}/"));
    all.violations.iter().for_each(|violation| println!("VIOLATION: {violation}"));
    println!("{} violations", all.violations.len());
    if all.violations.is_empty() && found { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Each broken variant must be noticed within a few scripts.
fn bugs_are_found() -> bool {
    let mut all = true;
    for (name, bug) in BUGS {
        let explore = |seed| match bug {
            Bug::AckFailedSync => faults(seed, 60, Some(bug)),
            _ => crashes(seed, 80, 1, Some(bug)),
        };
        let first = (1..=20).find_map(|seed| explore(seed).violations.into_iter().next());
        match &first {
            Some(violation) => println!("broken on purpose, {name}: found: {violation}"),
            None => println!("broken on purpose, {name}: NOT FOUND"),
        }
        all &= first.is_some();
    }
    all
}
