//! `cargo xtask timers`: `kerolox bench timers` against the real `kerolox`, which is killed with SIGKILL while the messages
//! are due, if that is asked for. Nothing may be lost or early.

use crate::ledger::process::{self, Broker, binary};
use crate::steps;
use anyhow::{Context, Result, bail};
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

struct Options {
    pending: String,
    due: String,
    lead: String,
    kill: bool,
    port_offset: u16,
}

fn options(args: &[String]) -> Result<Options> {
    let mut options = Options {
        pending: "1000000".to_owned(),
        due: "100000".to_owned(),
        lead: "5".to_owned(),
        kill: false,
        port_offset: 16_200,
    };
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        let mut value = || args.next().with_context(|| format!("{arg} needs a value"));
        match arg.as_str() {
            "--pending" => options.pending = value()?.clone(),
            "--due" => options.due = value()?.clone(),
            "--lead" => options.lead = value()?.clone(),
            "--kill" => options.kill = true,
            "--port-offset" => options.port_offset = value()?.parse()?,
            _ => bail!("timers: unknown option {arg}"),
        }
    }
    Ok(options)
}

/// True if nothing was lost or early.
pub(crate) fn run(args: &[String]) -> Result<bool> {
    let options = options(args)?;
    steps::build_release()?;
    let data = process::target().join(format!("timers-{}", std::process::id()));
    let result = play(&options, &data);
    let _ = std::fs::remove_dir_all(&data);
    result
}

fn play(options: &Options, data: &Path) -> Result<bool> {
    let mut broker = Broker::start(data, options.port_offset, &[])?;
    let mut bench = Command::new(binary())
        .args(["bench", "timers", "--json", "--size", "100", "--topic", "timers", "--broker"])
        .arg(broker.address().to_string())
        .args(["--pending", &options.pending, "--due", &options.due, "--lead", &options.lead])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    if options.kill {
        wait_for_the_middle(&mut bench)?;
        broker.kill()?;
        broker = Broker::start(data, options.port_offset, &[])?;
    }
    let mut figures = String::new();
    bench.stdout.take().context("no standard output")?.read_to_string(&mut figures)?;
    let kept = bench.wait()?.success();
    broker.end()?;
    println!("{}", figures.trim_end());
    let name = if options.kill { "timers_under_kill_9" } else { "timers" };
    println!("test {name} ... {}", if kept { "ok" } else { "FAILED" });
    Ok(kept)
}

/// Half of the messages are due before this returns.
fn wait_for_the_middle(bench: &mut Child) -> Result<()> {
    let mut said = BufReader::new(bench.stderr.take().context("no standard error")?).lines();
    let (from, to) = loop {
        let line = said.next().context("the load generator ended early")??;
        let range = line.strip_prefix("due from ").and_then(|rest| rest.split_once(" to "));
        if let Some((from, to)) = range {
            break (from.parse::<u64>()?, to.parse::<u64>()?);
        }
    };
    // Read on, so that it never blocks on a full pipe.
    std::thread::spawn(move || said.for_each(drop));
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?;
    std::thread::sleep(Duration::from_millis(u64::midpoint(from, to)).saturating_sub(now));
    Ok(())
}
