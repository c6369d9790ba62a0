//! `cargo xtask`: the tasks of this repository. `cargo xtask ci` is what continuous integration runs.

mod compare;
mod faults;
mod flip;
mod flood;
mod ledger;
mod steps;
mod tidy;
mod timers;
mod transactions;

use anyhow::{Result, bail};
use std::path::PathBuf;
use std::process::ExitCode;

const HELP: &str = "cargo xtask TASK

  ci            everything below that a change must pass, with a summary line
  fmt           formatting
  clippy        lints, warnings denied
  tidy          the rules of the house that no compiler knows
  test          the tests of the workspace
  fuzz          fuzz targets build and replay their corpus
  answers       the requests of tests/compare, their answers compared with Apache's recorded ones; what kerolox admin prints with
                what mqadmin prints (needs Python 3)
  mqadmin       Apache's own mqadmin against the real binary, compared with what it prints there (needs Python 3, a JDK and Maven)
  interop       official clients against the real binary (needs a JDK, Maven and Go)
  compat        a data directory of Apache RocketMQ's, opened and given back (needs a JDK and Maven)
  ledger [--cycles N] [--seed N]
                kill -9 under load, restart, verify every acknowledged message
  transactions [--each N] [--kills N] [--seed N]
                transactions of all kinds under kill -9: all committed ones delivered, none rolled back
  timers [--pending N] [--due N] [--kill]
                timer messages by the million: none lost, none early, how late (with a kill -9 in the middle)
  flip [--places N] [--apache-places N] [--rot N] [--apache-rot N] [--seed N]
                one bit of the log flipped at a random place: what is lost, here and with Apache
  faults [--fault kill|power|sync-error|write-error|read-error|full|slow] [--flush sync|async] [--cycles N] [--seed N]
         [--server kerolox|apache] [--disk strict|journal|lying] [--jobs N]
                all kinds of operations, a fault, a start, and everything that was acknowledged verified (all faults
                but kill need /dev/fuse)
  flood [--connections N] [--seconds N]
                thousands of hostile connections beside honest clients
  compare [--rounds N] [--only PART]
                Apache RocketMQ and Kerolox alternately through `kerolox bench` (needs a JDK and Maven)
";

fn main() -> ExitCode {
    let mut args = std::env::args().skip(1);
    let task = args.next().unwrap_or_default();
    let rest: Vec<String> = args.collect();
    match run(&task, &rest) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(e) => {
            eprintln!("xtask: {e:#}");
            ExitCode::FAILURE
        }
    }
}

/// True if everything passed.
fn run(task: &str, rest: &[String]) -> Result<bool> {
    std::env::set_current_dir(root())?;
    match task {
        "ci" => steps::run(steps::ALL),
        "ledger" => ledger::run(rest),
        "transactions" => transactions::run(rest),
        "timers" => timers::run(rest),
        "flip" => flip::run(rest),
        "flood" => flood::run(rest),
        "faults" => faults::run(rest),
        "compare" => compare::run(rest),
        _ => match steps::ALL.iter().find(|step| step.name == task) {
            Some(step) => steps::run(std::slice::from_ref(step)),
            None => {
                print!("{HELP}");
                if task.is_empty() { Ok(true) } else { bail!("there is no task {task:?}") }
            }
        },
    }
}

/// The root of the repository.
fn root() -> PathBuf {
    let manifest = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    manifest.parent().map_or_else(|| manifest.clone(), PathBuf::from)
}
