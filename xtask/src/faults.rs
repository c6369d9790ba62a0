//! `cargo xtask faults`: a real server under a load of all kinds of operations meets a fault, is started again, and is asked
//! for everything that it ever acknowledged. Kerolox and Apache RocketMQ, in the same way.

mod commits;
mod disk;
mod judge;
mod names;
mod pops;
mod requests;
mod sends;
mod strike;
mod target;
mod timers;
mod transactions;
mod worker;

use crate::compare::server::{Kind as Tried, fetch_apache};
use crate::ledger::body::Random;
use crate::ledger::client::Client;
use crate::steps;
use anyhow::{Context, Result, bail, ensure};
use disk::{Build, Disk};
use judge::{Acked, Judge, Kind, PowerCut};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use strike::Strike;
use target::Target;
use worker::Worker;

/// Load between two faults, in milliseconds.
const LOAD_MS: (u64, u64) = (30, 300);
/// Pause of a worker between its steps: the ledger is read whole after each start, and is to stay readable.
const PAUSE_US: (u64, u64) = (0, 3_000);
/// With an empty data directory again after so many faults.
const CYCLES_OF_A_LIFE: u32 = 20;
/// From the ports of one server to those of the next.
const PORTS_OF_A_LANE: u16 = 10;
/// Under asynchronous flush: `flushIntervalCommitLog` of the settings.
const WINDOW: Duration = Duration::from_millis(WINDOW_MS);
/// Less than most loads last: else nothing that a life acknowledges would have to survive its cut.
const WINDOW_MS: u64 = 100;
const EVERY_KIND: [Kind; 13] = [
    Kind::Send,
    Kind::Batch,
    Kind::Ordered,
    Kind::Timer,
    Kind::Recall,
    Kind::Commit,
    Kind::Popped,
    Kind::Ack,
    Kind::Invisible,
    Kind::Half,
    Kind::End,
    Kind::Topic,
    Kind::Group,
];

struct Options {
    tried: Tried,
    strike: Strike,
    cycles: u32,
    seed: u64,
    flush: &'static str,
    offset: u16,
    life: u32,
    /// As many servers at once, each with its share of the cycles.
    jobs: u32,
    /// Of our own disk: a file's sync makes names durable; syncs are answered and forgotten.
    journal: bool,
    lying: bool,
}

fn options(args: &[String]) -> Result<Options> {
    let mut options = Options {
        tried: Tried::Kerolox,
        strike: Strike::Kill,
        cycles: 100,
        seed: 1,
        flush: "SYNC_FLUSH",
        offset: 16_300,
        life: CYCLES_OF_A_LIFE,
        jobs: 1,
        journal: false,
        lying: false,
    };
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        let value = args.next().with_context(|| format!("{arg} needs a value"))?;
        match arg.as_str() {
            "--server" if value == "kerolox" => options.tried = Tried::Kerolox,
            "--server" if value == "apache" => options.tried = Tried::Apache,
            "--flush" if value == "sync" => options.flush = "SYNC_FLUSH",
            "--flush" if value == "async" => options.flush = "ASYNC_FLUSH",
            "--fault" => options.strike = Strike::named(value)?,
            "--disk" if value == "strict" => {}
            "--disk" if value == "journal" => options.journal = true,
            "--disk" if value == "lying" => options.lying = true,
            "--cycles" => options.cycles = value.parse()?,
            "--life" => options.life = value.parse()?,
            "--jobs" => options.jobs = value.parse()?,
            "--seed" => options.seed = value.parse()?,
            "--port-offset" => options.offset = value.parse()?,
            _ => bail!("faults: unknown option {arg} {value}"),
        }
    }
    Ok(options)
}

/// Why no disk of our own can be mounted here, if none can.
pub(crate) fn disk_missing() -> Option<String> {
    disk::missing()
}

/// True if nothing that was acknowledged was lost, altered, doubled or early.
pub(crate) fn run(args: &[String]) -> Result<bool> {
    let options = options(args)?;
    steps::build_release()?;
    let apache = if options.tried == Tried::Apache { fetch_apache()? } else { Path::new("").to_owned() };
    let begun = Instant::now();
    let judge = std::thread::scope(|scope| {
        let lane = |lane| {
            scope.spawn({
                let (options, apache) = (&options, &apache);
                move || play(options, lane, apache)
            })
        };
        let lanes: Vec<_> = (0..options.jobs).map(lane).collect();
        let mut judge = Judge::default();
        for lane in lanes {
            judge.add(lane.join().map_err(|_| anyhow::anyhow!("a lane panicked"))??);
        }
        Ok::<_, anyhow::Error>(judge)
    })?;
    println!(
        "{}, {:?}, {}: {} cycles, seed {}, {:.0} s: {}\n{}",
        options.tried.name(),
        options.strike,
        options.flush,
        options.cycles.div_ceil(options.jobs) * options.jobs,
        options.seed,
        begun.elapsed().as_secs_f64(),
        judge.summary(),
        judge.table()
    );
    let untried = judge.untried(&EVERY_KIND);
    ensure!(options.lying || untried.is_empty(), "nothing of {untried:?} was acknowledged");
    println!(
        "test faults ... {}",
        match (options.lying, judge.is_clean()) {
            (false, true) => "ok",
            (false, false) => "FAILED",
            (true, false) => "ok: the lying disk was noticed",
            (true, true) => "FAILED: the lying disk was not noticed",
        }
    );
    Ok(judge.is_clean())
}

/// One server and its share of the cycles.
fn play(options: &Options, lane: u32, apache: &Path) -> Result<Judge> {
    let offset = options.offset + lane as u16 * PORTS_OF_A_LANE;
    let name = format!("faults-{offset}");
    let mut target = Target::new(options.tried, &name, options.flush, offset, apache, options.strike)?;
    let mut judge = Judge::new(if options.flush == "ASYNC_FLUSH" { WINDOW } else { Duration::ZERO });
    let result = lives(options, lane, &mut target, &mut judge);
    target.end();
    result.map(|()| judge)
}

/// One data directory after the other.
fn lives(options: &Options, lane: u32, target: &mut Target, judge: &mut Judge) -> Result<()> {
    let mut random = Random::new(options.seed * 1_000 + u64::from(lane));
    let begun = Instant::now();
    let (share, mut played) = (options.cycles.div_ceil(options.jobs), 0);
    while played < share {
        let cycles = options.life.min(share - played);
        let mut disk = empty(options, target, &mut random)?;
        let result = life(options, cycles, target, disk.as_mut(), judge, &mut random);
        if let Err(e) = result {
            judge.failed(format_args!("{e:#}"));
            let _ = target.kill();
        }
        played += cycles;
        let seconds = begun.elapsed().as_secs_f64();
        println!("{lane}: cycle {played}/{share}, {seconds:.0} s: {}", judge.summary());
    }
    Ok(())
}

/// An empty data directory, on a disk of our own where the fault is the disk's.
fn empty(options: &Options, target: &Target, random: &mut Random) -> Result<Option<Disk>> {
    let data = target.data();
    if data.exists() {
        std::fs::remove_dir_all(&data)?;
    }
    if options.strike == Strike::Kill {
        return Ok(None);
    }
    let cached = options.tried == Tried::Apache;
    let build = Build { seed: random.next(), cached, journal: options.journal, lying: options.lying };
    Disk::mount(&data, build).map(Some)
}

fn workers() -> Vec<Box<dyn Worker>> {
    vec![
        Box::new(sends::Sends::new(0, false)),
        Box::new(sends::Sends::new(1, false)),
        Box::new(sends::Sends::new(2, true)),
        Box::new(timers::Timers::default()),
        Box::new(commits::Commits::new()),
        Box::new(pops::Pops::default()),
        Box::new(transactions::Transactions::default()),
        Box::new(names::Names::new()),
    ]
}

/// From an empty data directory to the last check.
fn life(
    options: &Options,
    cycles: u32,
    target: &mut Target,
    mut disk: Option<&mut Disk>,
    judge: &mut Judge,
    random: &mut Random,
) -> Result<()> {
    let (strike, mut workers) = (options.strike, workers());
    target.start()?;
    let mut client = Client::connect(target.address())?;
    workers.iter_mut().try_for_each(|worker| worker.prepare(&mut client))?;
    drop(client);
    // Who writes its settings without a sync has had the time that an operating system takes to do it.
    if let (Some(disk), true) = (&disk, options.journal) {
        target.stop()?;
        disk.sync_all();
        target.start()?;
    }
    for _ in 0..cycles {
        let time = Duration::from_millis(random.between(LOAD_MS.0, LOAD_MS.1));
        let (seed, address) = (random.next(), target.address());
        let fault = || strike.play(target, disk.as_deref_mut(), random);
        let (acked, cut) = load(&mut workers, address, seed, time, fault)?;
        judge.acknowledged(&acked);
        cut.into_iter().for_each(|cut| judge.cut(cut));
        strike.start(target, disk.as_deref_mut())?;
        check(&mut workers, target, judge, |worker, client, judge| worker.check(client, judge))?;
        if options.lying && !judge.is_clean() {
            // Noticed. Nobody need wait for what cannot come.
            return target.stop();
        }
    }
    check(&mut workers, target, judge, |worker, client, judge| worker.settle(client, judge))?;
    // A clean end loses nothing either.
    target.stop()?;
    target.start()?;
    check(&mut workers, target, judge, |worker, client, judge| worker.check(client, judge))?;
    target.stop()
}

fn check(
    workers: &mut [Box<dyn Worker>],
    target: &Target,
    judge: &mut Judge,
    how: fn(&mut dyn Worker, &mut Client, &mut Judge) -> Result<()>,
) -> Result<()> {
    for worker in workers {
        how(worker.as_mut(), &mut Client::connect(target.address())?, judge)?;
    }
    Ok(())
}

/// All workers work until the fault breaks their connections; what was acknowledged, and what the fault says.
fn load(
    workers: &mut [Box<dyn Worker>],
    address: SocketAddr,
    seed: u64,
    time: Duration,
    strike: impl FnOnce() -> Result<Option<Instant>>,
) -> Result<(Acked, Option<PowerCut>)> {
    let (struck, mut last_sent) = (AtomicBool::new(false), Instant::now());
    std::thread::scope(|scope| {
        let struck = &struck;
        let threads: Vec<_> = workers
            .iter_mut()
            .zip(seed..)
            .map(|(worker, seed)| scope.spawn(move || work(worker.as_mut(), address, seed, struck)))
            .collect();
        std::thread::sleep(time);
        struck.store(true, Ordering::SeqCst);
        let result = strike();
        let mut all = Acked::default();
        for thread in threads {
            let (acked, last) = thread.join().map_err(|_| anyhow::anyhow!("a worker panicked"))??;
            acked.into_iter().for_each(|(kind, count)| *all.entry(kind).or_default() += count);
            last_sent = last.map_or(last_sent, |last| last_sent.max(last));
        }
        result.map(|cut| (all, cut.map(|from| PowerCut { last_sent, from, to: Instant::now() })))
    })
}

/// Works until the connection breaks, as it must. Says what was acknowledged, and when the last step was begun that had
/// acknowledgements.
fn work(
    worker: &mut dyn Worker,
    address: SocketAddr,
    seed: u64,
    struck: &AtomicBool,
) -> Result<(Acked, Option<Instant>)> {
    let mut random = Random::new(seed);
    let (mut acked, mut last) = (Acked::default(), None);
    let mut until_broken = || -> Result<()> {
        let mut client = Client::connect(address)?;
        loop {
            let (begun, before) = (Instant::now(), acked.values().sum::<u64>());
            worker.step(&mut client, &mut random, &mut acked)?;
            if acked.values().sum::<u64>() > before {
                last = Some(begun);
            }
            std::thread::sleep(Duration::from_micros(random.between(PAUSE_US.0, PAUSE_US.1)));
        }
    };
    let ended = until_broken();
    ensure!(struck.load(Ordering::SeqCst), "a connection broke before the fault: {ended:?}");
    Ok((acked, last))
}
