//! `cargo xtask compare`: Apache RocketMQ and Kerolox, alternately, on the same machine in the same run, under the same load
//! from `kerolox bench`. Apache comes from Maven Central.

pub(crate) mod server;
mod table;

use crate::steps;
use anyhow::{Context, Result, bail};
use serde_json::Value;
use server::{Kind, Server};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use table::Figures;

struct Options {
    rounds: u32,
    only: Vec<String>,
    seconds: u32,
    warm_up: u32,
    offset: u16,
    json: Option<PathBuf>,
}

fn options(args: &[String]) -> Result<Options> {
    let mut options =
        Options { rounds: 3, only: Vec::new(), seconds: 10, warm_up: 15, offset: 17_000, json: None };
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        let value = args.next().with_context(|| format!("{arg} needs a value"))?;
        match arg.as_str() {
            "--rounds" => options.rounds = value.parse()?,
            "--only" => options.only = value.split(',').map(str::to_owned).collect(),
            "--seconds" => options.seconds = value.parse()?,
            "--warm-up" => options.warm_up = value.parse()?,
            "--port-offset" => options.offset = value.parse()?,
            "--json" => options.json = Some(value.into()),
            _ => bail!("compare: unknown option {arg}; parts are {}", PARTS.map(|p| p.name).join(", ")),
        }
    }
    Ok(options)
}

/// One thing to measure.
struct Part {
    name: &'static str,
    title: &'static str,
    /// Lines of `broker.conf`.
    settings: &'static str,
    measure: fn(&Options, &Server, &mut Figures) -> Result<()>,
}

const PARTS: [Part; 11] = [
    Part {
        name: "start",
        title: "start, idle",
        settings: "flushDiskType=SYNC_FLUSH\n",
        measure: start_and_idle,
    },
    Part {
        name: "async",
        title: "1 KiB sends, 8 × 64 in flight, asynchronous flush",
        settings: "flushDiskType=ASYNC_FLUSH\n",
        measure: sends,
    },
    Part {
        name: "sync",
        title: "1 KiB sends, 8 × 64 in flight, synchronous flush",
        settings: "flushDiskType=SYNC_FLUSH\n",
        measure: sends,
    },
    Part {
        name: "single",
        title: "synchronous flush, 1 in flight",
        settings: "flushDiskType=SYNC_FLUSH\n",
        measure: single,
    },
    Part {
        name: "batch",
        title: "batches of 32 × 1 KiB, 8 × 4 in flight, asynchronous flush",
        settings: "flushDiskType=ASYNC_FLUSH\n",
        measure: batches,
    },
    Part {
        name: "e2e",
        title: "5,000/s with a long-polling consumer, synchronous flush, end to end",
        settings: "flushDiskType=SYNC_FLUSH\n",
        measure: end_to_end,
    },
    Part {
        name: "topics",
        title: "1,000 topics × 8 queues, round-robin, asynchronous flush",
        settings: "flushDiskType=ASYNC_FLUSH\n",
        measure: topics,
    },
    Part {
        name: "replay",
        title: "reading 1 GiB from its start",
        settings: "flushDiskType=ASYNC_FLUSH\n",
        measure: replay,
    },
    Part {
        name: "pop",
        title: "pop of 32 × 1 KiB, 8 × 4 in flight, all acknowledged, asynchronous flush",
        settings: "flushDiskType=ASYNC_FLUSH\n",
        measure: pop,
    },
    Part {
        name: "leave",
        title: "pop, 10 % left for their invisible time of 10 s, synchronous flush",
        settings: "flushDiskType=SYNC_FLUSH\n",
        measure: pop_and_leave,
    },
    Part {
        name: "lite",
        title: "10,000 lite topics × 20 messages of 100 B, 8 × 16 in flight, asynchronous flush",
        settings: "flushDiskType=ASYNC_FLUSH\nenableLmq=true\nenableMultiDispatch=true\n",
        measure: lite,
    },
];

/// Always true: figures neither pass nor fail.
pub(crate) fn run(args: &[String]) -> Result<bool> {
    let options = options(args)?;
    steps::build_release()?;
    let apache = server::fetch_apache()?;
    let mut figures = Figures::default();
    for round in 1..=options.rounds {
        for part in
            PARTS.iter().filter(|p| options.only.is_empty() || options.only.iter().any(|o| o == p.name))
        {
            for kind in [Kind::Apache, Kind::Kerolox] {
                println!("== round {round}, {}: {}", part.name, kind.name());
                let server = Server::prepare("compare", kind, part.settings, options.offset, &apache)?;
                figures.begin(part.title, kind);
                let result = (part.measure)(&options, &server, &mut figures);
                server.end();
                // One that fails under the load is a finding; the others go on.
                if let Err(e) = result {
                    println!("   {e:#}");
                    figures.note(format!("failed: {e:#}"));
                }
            }
        }
        println!("\n{}", figures.markdown());
        if let Some(path) = &options.json {
            std::fs::write(path, figures.json().to_string())?;
        }
    }
    Ok(true)
}

/// Runs `kerolox bench` and gives its result; also adds its usual figures under `prefix`.
fn bench(server: &Server, figures: &mut Figures, prefix: &str, what: &str, args: &[&str]) -> Result<Value> {
    let broker = server.broker().to_string();
    bench_at(server, &["--broker", &broker], figures, prefix, what, args)
}

/// The same by way of the name server, or not.
fn bench_at(
    server: &Server,
    at: &[&str],
    figures: &mut Figures,
    prefix: &str,
    what: &str,
    args: &[&str],
) -> Result<Value> {
    let pid = server.pid()?.to_string();
    let output = Command::new(crate::ledger::binary())
        .args(["bench", what, "--pid", &pid, "--json"])
        .args(at)
        .args(args)
        .stderr(Stdio::null())
        .output()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let result: Value = serde_json::from_str(text.trim()).with_context(|| format!("bench said {text:?}"))?;
    println!("   {text}");
    let number = |pointer: &str| result.pointer(pointer).and_then(Value::as_f64);
    for (name, pointer) in [
        ("messages/s", "/messages_per_s"),
        ("p50 ms", "/latency_ms/p50"),
        ("p99 ms", "/latency_ms/p99"),
        ("p99.9 ms", "/latency_ms/p99_9"),
        ("max ms", "/latency_ms/max"),
        ("broker CPU-µs/message", "/broker_cpu_s_per_million"),
        ("left", "/left"),
        ("came again", "/came_again"),
        ("too early", "/too_early"),
        ("at most late, ms", "/late_ms_max"),
    ] {
        if let Some(value) = number(pointer) {
            figures.add(&format!("{prefix}{name}"), value);
        }
    }
    let errors = result.pointer("/errors").and_then(Value::as_object);
    let errors: u64 = errors.map_or(0, |all| all.values().filter_map(Value::as_u64).sum());
    figures.add(&format!("{prefix}errors"), errors as f64);
    Ok(result)
}

fn start_and_idle(_: &Options, server: &Server, figures: &mut Figures) -> Result<()> {
    let first = server.start_to_first_send()?;
    figures.add("start to first acknowledged send, ms", first.as_secs_f64() * 1e3);
    std::thread::sleep(Duration::from_secs(5));
    let before = server.cpu_seconds()?;
    let begun = Instant::now();
    std::thread::sleep(Duration::from_secs(10));
    figures.add(
        "idle CPU, % of a core",
        (server.cpu_seconds()? - before) / begun.elapsed().as_secs_f64() * 100.0,
    );
    figures.add("idle memory (RSS, name server included), MiB", server.memory_mib()?);
    // Again over what is there: a clean end, then a start.
    server.stop()?;
    figures.add("restart to first acknowledged send, ms", server.start_to_first_send()?.as_secs_f64() * 1e3);
    Ok(())
}

fn times(options: &Options) -> [String; 4] {
    ["--duration".into(), options.seconds.to_string(), "--warm-up".into(), options.warm_up.to_string()]
}

fn loaded(options: &Options, server: &Server, figures: &mut Figures, args: &[&str]) -> Result<()> {
    server.start_to_first_send()?;
    let times = times(options);
    let args: Vec<&str> = times.iter().map(String::as_str).chain(args.iter().copied()).collect();
    bench(server, figures, "", "produce", &args).map(drop)
}

fn sends(options: &Options, server: &Server, figures: &mut Figures) -> Result<()> {
    loaded(options, server, figures, &["--connections", "8", "--in-flight", "64"])
}

fn single(options: &Options, server: &Server, figures: &mut Figures) -> Result<()> {
    loaded(options, server, figures, &["--connections", "1", "--in-flight", "1"])
}

fn batches(options: &Options, server: &Server, figures: &mut Figures) -> Result<()> {
    loaded(options, server, figures, &["--connections", "8", "--in-flight", "4", "--batch", "32"])
}

fn topics(options: &Options, server: &Server, figures: &mut Figures) -> Result<()> {
    let args = ["--topics", "1000", "--topic", "many", "--connections", "8", "--in-flight", "64"];
    loaded(options, server, figures, &args)
}

fn end_to_end(options: &Options, server: &Server, figures: &mut Figures) -> Result<()> {
    server.start_to_first_send()?;
    let broker = server.broker().to_string();
    let seconds = (options.warm_up + options.seconds + 5).to_string();
    let mut producer = Command::new(crate::ledger::binary())
        .args([
            "bench",
            "produce",
            "--broker",
            &broker,
            "--rate",
            "5000",
            "--warm-up",
            "0",
            "--duration",
            &seconds,
        ])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()?;
    let times = times(options);
    let args: Vec<&str> = times.iter().map(String::as_str).collect();
    let result = bench(server, figures, "", "consume", &args);
    producer.kill()?;
    producer.wait()?;
    result.map(drop)
}

fn replay(_: &Options, server: &Server, figures: &mut Figures) -> Result<()> {
    server.start_to_first_send()?;
    let fill =
        ["--count", "1048576", "--duration", "600", "--warm-up", "0", "--batch", "32", "--in-flight", "4"];
    bench(server, &mut Figures::default(), "", "produce", &fill)?;
    // From the disk, as far as this user can have it so.
    server.stop()?;
    let _ = Command::new("sync").status();
    let dropped = std::fs::write("/proc/sys/vm/drop_caches", "3").is_ok();
    figures.add("page cache dropped (1: yes)", f64::from(u8::from(dropped)));
    server.start_to_first_send()?;
    let read = ["--from-start", "--to-end", "--warm-up", "0", "--duration", "600"];
    bench(server, figures, "", "consume", &read).map(drop)
}

/// Fills a topic, then pops from it. Receipts carry the broker's name, so it is the name server that is asked.
fn popped(server: &Server, figures: &mut Figures, count: &str, args: &[&str]) -> Result<()> {
    server.start_to_first_send()?;
    let fill = ["--count", count, "--duration", "600", "--warm-up", "0", "--batch", "32", "--in-flight", "4"];
    bench(server, &mut Figures::default(), "", "produce", &fill)?;
    let namesrv = server.namesrv().to_string();
    bench_at(server, &["--namesrv", &namesrv], figures, "", "pop", args).map(drop)
}

fn pop(options: &Options, server: &Server, figures: &mut Figures) -> Result<()> {
    let times = times(options);
    let args: Vec<&str> = times.iter().map(String::as_str).collect();
    // More than the fastest of them takes in that time.
    popped(server, figures, "4000000", &args)
}

fn pop_and_leave(_: &Options, server: &Server, figures: &mut Figures) -> Result<()> {
    let args = ["--warm-up", "0", "--duration", "40", "--leave", "10", "--invisible", "10000"];
    popped(server, figures, "200000", &args)
}

/// Sent, then popped by eight clients that each subscribe to an eighth of the lite topics, and acknowledged one by one.
fn lite(_: &Options, server: &Server, figures: &mut Figures) -> Result<()> {
    server.start_to_first_send()?;
    let namesrv = server.namesrv().to_string();
    let args = ["--topic", "parent", "--lite-topics", "10000", "--messages", "20"];
    let result = bench_at(server, &["--namesrv", &namesrv], &mut Figures::default(), "", "lite", &args)?;
    for (step, what) in [("send", "sent"), ("pop", "popped and acknowledged")] {
        for (name, figure) in [
            ("messages/s", "messages_per_s"),
            ("p50 ms", "p50_ms"),
            ("p99 ms", "p99_ms"),
            ("broker CPU-µs/message", "broker_cpu_s_per_million"),
            ("memory after, MiB", "memory_mib"),
        ] {
            let value = result.get(step).and_then(|step| step.get(figure)).and_then(Value::as_f64);
            figures.add(&format!("{what}: {name}"), value.unwrap_or(f64::NAN));
        }
    }
    Ok(())
}
