//! `kerolox store verify`: reads every record of a data directory and checks it. A broker may run on it meanwhile.

use crate::report;
use anyhow::{Context, Result, bail};
use kerolox_store::disk::RealDisk;
use kerolox_store::{Damage, Position, Progress, verify};
use std::path::Path;
use std::time::{Duration, Instant};

/// How often progress is told.
const PROGRESS_EVERY: Duration = Duration::from_secs(1);

pub(crate) fn run(data: &Path) -> Result<()> {
    let shown = data.display();
    let begun = Instant::now();
    let mut last = begun;
    let mut progress = |progress: Progress| {
        if last.elapsed() >= PROGRESS_EVERY {
            last = Instant::now();
            let Progress { step, done, total } = progress;
            report::line(&format!("{step}: {done} of {total}"));
        }
    };
    let found = verify(&RealDisk::new(data), &mut progress)
        .with_context(|| format!("cannot verify the data directory {shown}"))?;
    let bases = bases(data);
    for damage in &found.damaged {
        println!("damaged: {}", describe(damage, &bases));
    }
    for (run, why) in &found.damaged_runs {
        println!("index run {run} is damaged and will be rebuilt when it is missed: {why}");
    }
    println!(
        "{} records ({} bytes) in {} segments and {} index runs checked in {:.1} s, {} damaged",
        found.records,
        found.bytes,
        found.segments,
        found.runs,
        begun.elapsed().as_secs_f64(),
        found.damaged.len()
    );
    if !found.damaged.is_empty() {
        bail!("{shown} has {} damaged records; they are not served, all others are", found.damaged.len());
    }
    Ok(())
}

/// Where the segments begin.
fn bases(data: &Path) -> Vec<Position> {
    let Ok(entries) = std::fs::read_dir(data.join("commitlog")) else { return Vec::new() };
    let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    let mut bases: Vec<Position> = names.filter_map(|name| name.parse().ok()).collect();
    bases.sort_unstable();
    bases
}

fn describe(damage: &Damage, bases: &[Position]) -> String {
    let base = bases.iter().rev().find(|base| **base <= damage.position).copied().unwrap_or(0);
    let record = match &damage.record {
        Some((topic, queue, offset)) => format!("topic {topic}, queue {queue}, offset {offset}"),
        None => "topic unknown".to_owned(),
    };
    let at = damage.position - base;
    format!("commitlog/{base:020} at byte {at}, {} bytes, {record}: {}", damage.bytes, damage.why)
}
