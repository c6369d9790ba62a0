//! `cargo xtask ledger`: a real `kerolox` is loaded, killed with SIGKILL at a random time, started again and asked for every
//! message that it ever acknowledged. Bodies are a function of (producer, number), so that every byte can be checked.

pub(crate) mod body;
pub(crate) mod client;
pub(crate) mod process;
pub(crate) mod producer;
pub(crate) mod verify;

use crate::steps;
use anyhow::{Context, Result, bail};
use process::Broker;
pub(crate) use process::binary;
use producer::Producer;
use std::time::{Duration, Instant};
use verify::Verifier;

pub(crate) const TOPIC: &str = "ledger";
pub(crate) const QUEUES: u32 = 8;
/// Producers, each with a connection of its own.
const PRODUCERS: u32 = 4;
/// Load between two kills, at random within.
const LOAD_MS: (u64, u64) = (50, 1_200);
/// The whole log is read again after so many cycles, and at the end.
const WHOLE_EVERY: u32 = 25;

/// What a run found.
#[derive(Debug, Default)]
pub(crate) struct Totals {
    pub(crate) acknowledged: u64,
    pub(crate) lost: u64,
    pub(crate) corrupt: u64,
    /// Found more often than sent.
    pub(crate) duplicated: u64,
    /// Not at the offset that the acknowledgement named.
    pub(crate) displaced: u64,
    /// Stored though the kill came before their acknowledgement: allowed, and counted.
    pub(crate) unacknowledged: u64,
}

struct Options {
    cycles: u32,
    seed: u64,
    port_offset: u16,
    flags: Vec<String>,
    keep: bool,
}

fn options(args: &[String]) -> Result<Options> {
    let mut options = Options { cycles: 300, seed: 1, port_offset: 16_000, flags: Vec::new(), keep: false };
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        let mut value = || args.next().with_context(|| format!("{arg} needs a value"));
        match arg.as_str() {
            "--cycles" => options.cycles = value()?.parse()?,
            "--seed" => options.seed = value()?.parse()?,
            "--port-offset" => options.port_offset = value()?.parse()?,
            "--config" => options.flags.extend(["-c".to_owned(), value()?.clone()]),
            "--keep" => options.keep = true,
            _ => bail!("ledger: unknown option {arg}"),
        }
    }
    Ok(options)
}

/// True if nothing was lost.
pub(crate) fn run(args: &[String]) -> Result<bool> {
    let options = options(args)?;
    steps::build_release()?;
    let data = process::target().join(format!("ledger-{}", std::process::id()));
    if data.exists() {
        std::fs::remove_dir_all(&data)?;
    }
    let result = cycles(&options, &data);
    if options.keep {
        println!("data kept in {}", data.display());
    } else {
        let _ = std::fs::remove_dir_all(&data);
    }
    result
}

fn cycles(options: &Options, data: &std::path::Path) -> Result<bool> {
    let mut random = body::Random::new(options.seed);
    let mut producers: Vec<_> = (0..PRODUCERS).map(Producer::new).collect();
    let mut verifier = Verifier::default();
    let mut restarts = Vec::new();
    let mut broker = Broker::start(data, options.port_offset, &options.flags)?;
    producer::create_topic(broker.address(), TOPIC)?;
    for cycle in 1..=options.cycles {
        let load = Duration::from_millis(random.between(LOAD_MS.0, LOAD_MS.1));
        producer::load(&mut producers, broker.address(), load, random.next(), || broker.kill())?;
        let begun = Instant::now();
        broker = Broker::start(data, options.port_offset, &options.flags)?;
        producers.first_mut().context("no producer")?.send_one(broker.address())?;
        restarts.push(begun.elapsed());
        if cycle % WHOLE_EVERY == 0 || cycle == options.cycles {
            verifier = Verifier::default();
        }
        verifier.read(broker.address())?;
        let totals = verifier.compare(&producers);
        if cycle % 10 == 0 || totals.lost + totals.corrupt > 0 || cycle == options.cycles {
            println!("cycle {cycle}: {totals:?}");
        }
        if totals.lost + totals.corrupt + totals.duplicated + totals.displaced > 0 {
            println!("test kill_9_ledger ... FAILED (seed {}, cycle {cycle})", options.seed);
            return Ok(false);
        }
    }
    broker.end()?;
    report(options, &mut restarts, &verifier.compare(&producers));
    Ok(true)
}

fn report(options: &Options, restarts: &mut [Duration], totals: &Totals) {
    restarts.sort_unstable();
    let at = |q: f64| {
        let index = ((restarts.len() as f64 * q).ceil() as usize).saturating_sub(1);
        restarts.get(index).map_or(0.0, |d| d.as_secs_f64() * 1e3)
    };
    println!(
        "kill -9 ledger: {} cycles, seed {}: {} acknowledged, {} lost, {} corrupt, {} duplicated, {} displaced, {} stored unacknowledged",
        options.cycles,
        options.seed,
        totals.acknowledged,
        totals.lost,
        totals.corrupt,
        totals.duplicated,
        totals.displaced,
        totals.unacknowledged
    );
    println!(
        "restart to first acknowledged send: p50 {:.1} ms, p99 {:.1} ms, max {:.1} ms",
        at(0.5),
        at(0.99),
        at(1.0)
    );
}
