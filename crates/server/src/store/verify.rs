//! `kerolox store verify`: everything of a data directory is read and checked. A broker may run on it meanwhile.

use super::progress::Shown;
use super::{Sound, config, look, show};
use crate::cli;
use anyhow::{Context, Result};
use kerolox_broker::State;
use kerolox_store::disk::RealDisk;
use kerolox_store::{Look, Origin, Verified};
use serde_json::{Value, json};
use std::time::Instant;

pub(super) fn run(args: &cli::Directory) -> Result<Sound> {
    let data = args.path();
    let begun = Instant::now();
    let look = look(data)?;
    let found = verify(&look, args)?;
    if args.output.is_json() {
        show::line(&json(&found, &look, args).to_string());
    } else {
        table(&found, &look, begun.elapsed().as_secs_f64());
    }
    Ok(found.is_sound())
}

/// What is wrong with a directory.
pub(super) fn verify(look: &Look<RealDisk>, args: &cli::Directory) -> Result<Verified> {
    let data = args.path();
    let mut shown = Shown::new(args.quiet);
    let mut found = look
        .verify(&mut State::default(), &mut |progress| shown.tell(progress))
        .with_context(|| format!("cannot verify the data directory {}", data.display()))?;
    if found.origin != Origin::Kerolox {
        let faults = config::faults(data)?;
        found.faults_count += faults.len() as u64;
        found.faults.extend(faults);
    }
    Ok(found)
}

fn table(found: &Verified, look: &Look<RealDisk>, seconds: f64) {
    for damage in &found.damaged {
        show::line(&format!("damaged: {}", show::damage(damage, look)));
    }
    for fault in &found.faults {
        show::line(&show::fault(fault));
    }
    let told = (found.damaged.len() + found.faults.len()) as u64;
    if let Some(more) = (found.damaged_count + found.faults_count).checked_sub(told).filter(|more| *more > 0)
    {
        show::line(&format!("{more} more are not told one by one"));
    }
    let mut derived = format!("{} index runs", found.runs);
    if found.origin != Origin::Kerolox {
        derived = format!("{derived}, {} consume queues ({} units)", found.queues, found.units);
    }
    show::line(&format!(
        "{} records ({}, {} of state) in {} segments, {derived}; written by {}; checked in {seconds:.1} s: {} damaged, {} other faults",
        found.records,
        show::bytes(found.bytes),
        found.state_records,
        found.segments,
        show::origin(found.origin),
        found.damaged_count,
        found.faults_count
    ));
    if found.above > 0 {
        show::line(&format!("{} records above the frontier: the next start keeps them", found.above));
    }
    if found.damaged_count > 0 {
        show::line("damaged records are not served, all others are");
    }
}

fn json(found: &Verified, look: &Look<RealDisk>, args: &cli::Directory) -> Value {
    json!({
        "directory": args.path().display().to_string(),
        "origin": show::origin(found.origin),
        "sound": found.is_sound(),
        "segments": found.segments,
        "records": found.records,
        "bytes": found.bytes,
        "stateRecords": found.state_records,
        "flushed": found.flushed,
        "end": found.end,
        "aboveFrontier": found.above,
        "indexRuns": found.runs,
        "snapshot": found.snapshot,
        "consumeQueues": found.queues,
        "units": found.units,
        "damagedCount": found.damaged_count,
        "damaged": found.damaged.iter().map(|damage| show::damage_json(damage, look)).collect::<Vec<_>>(),
        "faultsCount": found.faults_count,
        "faults": found.faults.iter().map(show::fault_json).collect::<Vec<_>>(),
    })
}
