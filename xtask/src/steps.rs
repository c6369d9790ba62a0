//! The steps of `cargo xtask ci`, run one after the other; a failed one does not keep the next from running.

use crate::{faults, flip, flood, ledger, tidy, timers, transactions};
use anyhow::{Context, Result, bail, ensure};
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

pub(crate) struct Step {
    pub(crate) name: &'static str,
    what: &'static str,
    run: fn(&mut Tally) -> Result<()>,
}

pub(crate) const ALL: &[Step] = &[
    Step { name: "fmt", what: "formatting", run: fmt },
    Step { name: "clippy", what: "lints, warnings denied", run: clippy },
    Step { name: "tidy", what: "rules of the house", run: tidy_step },
    Step { name: "test", what: "tests of the workspace", run: test },
    Step { name: "fuzz", what: "fuzz targets build and replay their corpus", run: fuzz },
    Step { name: "ledger", what: "kill -9 under load loses nothing (short)", run: short_ledger },
    Step {
        name: "faults",
        what: "kill -9 and power cuts under all kinds of operations lose nothing (short)",
        run: short_faults,
    },
    Step { name: "transactions", what: "kill -9 breaks no transaction (short)", run: short_transactions },
    Step {
        name: "timers",
        what: "kill -9 neither loses nor hastens timer messages (short)",
        run: short_timers,
    },
    Step { name: "flip", what: "one flipped bit costs one record at most (short)", run: short_flip },
    Step { name: "flood", what: "hostile connections disturb nobody (short)", run: short_flood },
    Step { name: "answers", what: "the same requests, the same answers as Apache's", run: same_answers },
    Step { name: "mqadmin", what: "Apache's own mqadmin prints what it prints there", run: mqadmin },
    Step { name: "interop", what: "official clients", run: interop },
    Step { name: "grpc", what: "official clients of the gRPC protocol", run: grpc },
    Step { name: "compat", what: "a data directory of Apache's, opened, and given back", run: compat },
];

/// Passed and failed checks of all steps.
#[derive(Default)]
pub(crate) struct Tally {
    passed: usize,
    failed: usize,
    failures: Vec<String>,
    skipped: Vec<String>,
}

impl Tally {
    fn pass(&mut self, count: usize) {
        self.passed += count;
    }

    fn fail(&mut self, what: impl Into<String>) {
        self.failed += 1;
        self.failures.push(what.into());
    }

    fn check(&mut self, passed: bool, what: &str) {
        if passed { self.pass(1) } else { self.fail(what) }
    }
}

/// Runs the steps and prints the summary; true if nothing failed.
pub(crate) fn run(steps: &[Step]) -> Result<bool> {
    let mut tally = Tally::default();
    for step in steps {
        println!("\n== {}: {}", step.name, step.what);
        let start = Instant::now();
        if let Err(e) = (step.run)(&mut tally) {
            println!("{e:#}");
            tally.fail(format!("{}: {e:#}", step.name));
        }
        println!("== {} took {:.0} s", step.name, start.elapsed().as_secs_f64());
    }
    println!();
    for what in &tally.skipped {
        println!("SKIPPED: {what}");
    }
    for what in &tally.failures {
        println!("FAILED: {what}");
    }
    println!("{} passed, {} failed", tally.passed, tally.failed);
    Ok(tally.failed == 0)
}

pub(crate) fn cargo() -> Command {
    Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
}

/// Builds the binary that a task runs, unless `KEROLOX` names one.
pub(crate) fn build_release() -> Result<()> {
    if std::env::var_os("KEROLOX").is_some() {
        return Ok(());
    }
    let built = cargo()
        .args(["build", "--release", "--locked", "--quiet", "--package", "kerolox-server"])
        .status()?;
    ensure!(built.success(), "the release build failed");
    Ok(())
}

fn succeeds(command: &mut Command) -> Result<bool> {
    Ok(command.status().with_context(|| format!("cannot run {command:?}"))?.success())
}

fn fmt(tally: &mut Tally) -> Result<()> {
    tally.check(succeeds(cargo().args(["fmt", "--all", "--", "--check"]))?, "cargo fmt --check");
    Ok(())
}

fn clippy(tally: &mut Tally) -> Result<()> {
    let args = ["clippy", "--workspace", "--all-targets", "--locked", "--quiet", "--", "-D", "warnings"];
    tally.check(succeeds(cargo().args(args))?, "cargo clippy");
    Ok(())
}

fn tidy_step(tally: &mut Tally) -> Result<()> {
    for (name, check) in tidy::CHECKS {
        let problems = check(Path::new("."))?;
        for problem in &problems {
            println!("{name}: {problem}");
        }
        println!("tidy {name} ... {}", if problems.is_empty() { "ok" } else { "FAILED" });
        tally.check(problems.is_empty(), &format!("tidy {name}: {} problems", problems.len()));
    }
    Ok(())
}

fn test(tally: &mut Tally) -> Result<()> {
    let mut command = cargo();
    command.args(["test", "--workspace", "--locked", "--no-fail-fast"]);
    let succeeded = count_results(&mut command, tally)?;
    // What failed before it could count anything: a build that breaks, a test process that dies.
    if !succeeded && tally.failures.is_empty() {
        tally.fail("cargo test ended with an error");
    }
    Ok(())
}

/// Shows what a test runner prints and adds up its results: `test … FAILED` and `test result:` lines of cargo, `ok …` and
/// `FAILED …` lines of the interoperability tests.
fn count_results(command: &mut Command, tally: &mut Tally) -> Result<bool> {
    let mut child =
        command.stdout(Stdio::piped()).spawn().with_context(|| format!("cannot run {command:?}"))?;
    let stdout = child.stdout.take().context("no standard output")?;
    for line in BufReader::new(stdout).split(b'\n') {
        // What a suite prints of its input need not be text.
        let line = line?;
        let line = String::from_utf8_lossy(&line);
        println!("{line}");
        if let Some(result) = line.strip_prefix("test result: ") {
            tally.pass(number_before(result, " passed"));
        } else if let Some(name) = line.strip_prefix("test ").and_then(|l| l.strip_suffix(" ... FAILED")) {
            tally.fail(name);
        } else if line.starts_with("ok ") {
            tally.pass(1);
        } else if let Some(name) = line.strip_prefix("FAILED ") {
            tally.fail(name);
        }
    }
    Ok(child.wait()?.success())
}

fn number_before(text: &str, what: &str) -> usize {
    let before = text.split(what).next().unwrap_or_default();
    before.rsplit(' ').next().and_then(|n| n.parse().ok()).unwrap_or(0)
}

fn fuzz(tally: &mut Tally) -> Result<()> {
    if !Path::new("fuzz/Cargo.toml").exists() {
        bail!("there is no fuzz/Cargo.toml");
    }
    if Path::new("fuzz/run").exists() {
        let passed = count_results(Command::new("fuzz/run").arg("replay"), tally)?;
        tally.check(passed, "fuzz/run replay");
        return Ok(());
    }
    tally.check(
        succeeds(cargo().args(["build", "--release", "--manifest-path", "fuzz/Cargo.toml"]))?,
        "fuzz targets build",
    );
    Ok(())
}

fn short_ledger(tally: &mut Tally) -> Result<()> {
    let passed = ledger::run(&["--cycles".into(), "12".into()])?;
    tally.check(passed, "kill -9 ledger");
    Ok(())
}

fn short_faults(tally: &mut Tally) -> Result<()> {
    let run = |args: &str| faults::run(&args.split(' ').map(str::to_owned).collect::<Vec<_>>());
    tally.check(run("--cycles 8")?, "kill -9 under all kinds of operations");
    if let Some(why) = faults::disk_missing() {
        let what = format!("{why}; no disk failed and no power was cut");
        // A machine without the device (a container) cannot be helped; one with it can, in CI by root or fusermount3.
        return if Path::new("/dev/fuse").exists() { skip(tally, &what) } else { say_skipped(tally, &what) };
    }
    tally.check(run("--fault power --cycles 12 --seed 2")?, "power cuts under all kinds of operations");
    tally.check(run("--fault sync-error --cycles 6 --seed 3")?, "failed syncs under all kinds of operations");
    println!("a disk that forgets what was synced must be noticed:");
    let noticed = !run("--fault power --cycles 3 --disk lying")?;
    tally.check(noticed, "a disk that forgets what was synced was not noticed");
    Ok(())
}

fn short_transactions(tally: &mut Tally) -> Result<()> {
    let passed = transactions::run(&["--each", "500", "--kills", "6"].map(str::to_owned))?;
    tally.check(passed, "transactions under kill -9");
    Ok(())
}

fn short_timers(tally: &mut Tally) -> Result<()> {
    let passed = timers::run(&["--pending", "5000", "--due", "5000", "--kill"].map(str::to_owned))?;
    tally.check(passed, "timer messages under kill -9");
    Ok(())
}

fn short_flip(tally: &mut Tally) -> Result<()> {
    let passed = flip::run(&["--places".into(), "12".into(), "--apache-places".into(), "0".into()])?;
    tally.check(passed, "one flipped bit");
    Ok(())
}

fn short_flood(tally: &mut Tally) -> Result<()> {
    let passed = flood::run(&["--connections", "1000", "--seconds", "4"].map(str::to_owned))?;
    tally.check(passed, "hostile connections");
    let passed = flood::run(&["--grpc", "--connections", "1000", "--seconds", "4"].map(str::to_owned))?;
    tally.check(passed, "hostile connections of HTTP/2");
    Ok(())
}

fn same_answers(tally: &mut Tally) -> Result<()> {
    if missing_tools(tally, &["python3"], "answers were not compared with Apache's")? {
        return Ok(());
    }
    run_suite(tally, Command::new("tests/compare/answers.py").arg("check"), "tests/compare/answers.py")?;
    // What Apache's mqadmin printed, and `kerolox admin` prints.
    let mut check = Command::new("tests/compare/answers.py");
    run_suite(tally, check.args(["check", "--admin"]), "tests/compare/answers.py --admin")
}

fn mqadmin(tally: &mut Tally) -> Result<()> {
    if missing_tools(tally, &["python3", "java", "mvn"], "mqadmin was not tested")? {
        return Ok(());
    }
    let mut check = Command::new("tests/compare/answers.py");
    run_suite(tally, check.args(["check", "--mqadmin"]), "tests/compare/answers.py --mqadmin")
}

fn interop(tally: &mut Tally) -> Result<()> {
    if missing_tools(tally, &["java", "mvn"], "the official clients were not tested")? {
        return Ok(());
    }
    let mut run = Command::new("tests/interop/run");
    if missing_tools(tally, &["go"], "the official Go client was not tested")? {
        run.arg("--no-go");
    }
    run_suite(tally, &mut run, "tests/interop/run")
}

fn grpc(tally: &mut Tally) -> Result<()> {
    let mut run = Command::new("tests/interop/grpc/run");
    let suites: [(&[&str], &[&str]); 4] = [
        (&["java-5.0.7", "java-5.2.0"], &["java", "mvn"]),
        (&["go"], &["go"]),
        (&["python"], &["python3"]),
        (&["node"], &["node", "npm"]),
    ];
    let mut none = true;
    for (clients, tools) in suites {
        if !missing_tools(tally, tools, &format!("the gRPC clients {} were not tested", clients.join(", ")))?
        {
            for client in clients {
                run.args(["--client", client]);
            }
            none = false;
        }
    }
    if none { Ok(()) } else { run_suite(tally, &mut run, "tests/interop/grpc/run") }
}

fn compat(tally: &mut Tally) -> Result<()> {
    if missing_tools(tally, &["java", "mvn"], "no data directory of Apache's was opened")? {
        return Ok(());
    }
    run_suite(tally, &mut Command::new("tests/compat/run"), "tests/compat/run")
}

/// Runs a suite that starts the real binary, as it is released.
fn run_suite(tally: &mut Tally, command: &mut Command, name: &str) -> Result<()> {
    build_release()?;
    let before = tally.failed;
    let succeeded = count_results(command.env("KEROLOX", ledger::binary()), tally)?;
    if !succeeded && tally.failed == before {
        tally.fail(format!("{name} ended with an error"));
    }
    Ok(())
}

/// True if one of the tools is not there: said loudly, and in CI an error.
fn missing_tools(tally: &mut Tally, tools: &[&str], without: &str) -> Result<bool> {
    let found = |tool: &str| Command::new(tool).arg("-version").output().is_ok();
    let missing: Vec<_> = tools.iter().copied().filter(|tool| !found(tool)).collect();
    if missing.is_empty() {
        return Ok(false);
    }
    skip(tally, &format!("{} not found; {without}", missing.join(" and ")))?;
    Ok(true)
}

/// What cannot be done here: said loudly, and in CI an error.
fn skip(tally: &mut Tally, what: &str) -> Result<()> {
    if std::env::var_os("CI").is_some() {
        bail!("{what}, which CI must not skip");
    }
    say_skipped(tally, what)
}

fn say_skipped(tally: &mut Tally, what: &str) -> Result<()> {
    println!("\n!! {what} !!\n");
    tally.skipped.push(what.to_owned());
    Ok(())
}
