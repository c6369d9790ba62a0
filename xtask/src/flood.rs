//! `cargo xtask flood`: honest clients work while thousands of connections drip bytes, send garbage or the longest frames, or take
//! no answers. The honest ones must not get an error, and the broker's memory must stay within its limits. With `--grpc` the hostile
//! ones speak HTTP/2, and honest ones send over gRPC too.

mod hostile;

use crate::ledger::client::Client;
use crate::ledger::process::{self, Broker};
use crate::ledger::producer::{self, Producer};
use crate::ledger::verify::Verifier;
use crate::ledger::{QUEUES, TOPIC};
use crate::steps;
use anyhow::{Context, Result, bail, ensure};
use hostile::{Deeds, Stock, besiege};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

const HONEST: u32 = 8;
/// Messages that are there from the start, for those who ask and do not listen.
const MESSAGES: usize = 20_000;
/// Threads that keep the hostile connections.
const BESIEGERS: u64 = 2;
/// `docs/operate/limits.md`: half-read requests 512 MiB and unsent answers 1 GiB of all connections, the log's tail 64 MiB and what
/// waits to be written 256 MiB; and the program itself.
const MEMORY_MIB_MAX: u64 = 1_536 + 64 + 256 + 200;

/// Its port for gRPC, without the offset.
const GRPC_PORT: u16 = 8081;
/// For those who send over gRPC.
const GRPC_TOPIC: &str = "flood-grpc";

struct Options {
    grpc: bool,
    connections: u64,
    seconds: u64,
    port_offset: u16,
}

fn options(args: &[String]) -> Result<Options> {
    let mut options = Options { grpc: false, connections: 10_000, seconds: 15, port_offset: 16_400 };
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        if arg == "--grpc" {
            options.grpc = true;
            continue;
        }
        let value = args.next().with_context(|| format!("{arg} needs a value"))?;
        match arg.as_str() {
            "--connections" => options.connections = value.parse()?,
            "--seconds" => options.seconds = value.parse()?,
            "--port-offset" => options.port_offset = value.parse()?,
            _ => bail!("flood: unknown option {arg}"),
        }
    }
    Ok(options)
}

/// What the honest clients saw.
#[derive(Default)]
struct Seen {
    latencies: Vec<Duration>,
    refused: u64,
}

impl Seen {
    fn report(&mut self, name: &str, time: Duration) {
        self.latencies.sort_unstable();
        let at = |q: f64| {
            let index = (self.latencies.len() as f64 * q) as usize;
            self.latencies
                .get(index.min(self.latencies.len().saturating_sub(1)))
                .map_or(0.0, |d| d.as_secs_f64() * 1e3)
        };
        let rate = self.latencies.len() as f64 / time.as_secs_f64();
        println!(
            "{name}: {rate:.0} sends/s, p50 {:.1} ms, p99 {:.1} ms, max {:.1} ms, {} refused",
            at(0.5),
            at(0.99),
            at(1.0),
            self.refused
        );
    }
}

/// True if no honest client was refused anything and the broker kept within its memory.
pub(crate) fn run(args: &[String]) -> Result<bool> {
    let options = options(args)?;
    raise_file_limit(options.connections + 1_000)?;
    steps::build_release()?;
    let data = process::target().join(format!("flood-{}", std::process::id()));
    let result = play(&options, &data);
    let _ = std::fs::remove_dir_all(&data);
    result
}

/// As many open files as are needed.
fn raise_file_limit(wanted: u64) -> Result<()> {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let current = limit.maximum.map_or(wanted, |maximum| maximum.min(wanted));
    setrlimit(Resource::Nofile, Rlimit { current: Some(current), maximum: limit.maximum })?;
    ensure!(current >= wanted, "only {current} open files are allowed, {wanted} are needed");
    Ok(())
}

fn play(options: &Options, data: &Path) -> Result<bool> {
    let broker = Broker::start(data, options.port_offset, &[])?;
    let address = broker.address();
    producer::create_topic(address, TOPIC)?;
    producer::create_topic(address, GRPC_TOPIC)?;
    let mut producers: Vec<_> = (0..HONEST).map(Producer::new).collect();
    producers.first_mut().context("no producer")?.send_all(address, MESSAGES)?;
    let time = Duration::from_secs(options.seconds);
    let before = broker.memory_mib()?;
    honest(&mut producers, address, time)?.report("alone", time);

    let (target, stock) = match options.grpc {
        true => (SocketAddr::from(([127, 0, 0, 1], GRPC_PORT + options.port_offset)), Stock::of_http2()),
        false => (address, Stock::new(TOPIC)),
    };
    let (deeds, over) = (Arc::new(Deeds::default()), AtomicBool::new(false));
    let (mut memory, mut grpc_kept) = (0, true);
    let mut seen = std::thread::scope(|scope| {
        let share = options.connections.div_ceil(BESIEGERS);
        for n in 0..BESIEGERS {
            let (deeds, over, stock) = (&deeds, &over, &stock);
            scope.spawn(move || besiege(target, (n * share, share), stock, deeds, over));
        }
        let watch = scope.spawn(|| most_memory(&broker, &over));
        let result = all_there(&deeds, options.connections).and_then(|()| {
            let grpc = options.grpc.then(|| scope.spawn(|| honest_grpc(target, options.seconds)));
            let seen = honest(&mut producers, address, time);
            if let Some(grpc) = grpc {
                grpc_kept = grpc.join().map_err(|_| anyhow::anyhow!("the gRPC client panicked"))??;
            }
            seen
        });
        over.store(true, Ordering::SeqCst);
        memory = watch.join().map_err(|_| anyhow::anyhow!("the watch panicked"))??;
        result
    })?;
    seen.report("besieged", time);
    println!(
        "{} connections at the end, {} made, {} refused, {} MiB sent by hostile ones; memory {before} MiB before, at most {memory} MiB",
        deeds.open.load(Ordering::Relaxed),
        deeds.connects.load(Ordering::Relaxed),
        deeds.refused.load(Ordering::Relaxed),
        deeds.bytes.load(Ordering::Relaxed) >> 20,
    );
    let mut verifier = Verifier::of(TOPIC, QUEUES);
    verifier.read(address)?;
    let totals = verifier.compare(&producers);
    broker.end()?;
    let kept = seen.refused == 0
        && grpc_kept
        && !seen.latencies.is_empty()
        && memory <= MEMORY_MIB_MAX
        && totals.lost + totals.corrupt + totals.duplicated + totals.displaced == 0;
    println!("{totals:?}\ntest flood ... {}", if kept { "ok" } else { "FAILED" });
    Ok(kept)
}

/// Waits until nearly all hostile connections are there: some are always being thrown out.
fn all_there(deeds: &Deeds, wanted: u64) -> Result<()> {
    let begun = Instant::now();
    while deeds.open.load(Ordering::Relaxed) * 10 < wanted * 9 {
        ensure!(begun.elapsed() < Duration::from_secs(60), "the hostile connections do not come up");
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}

fn most_memory(broker: &Broker, over: &AtomicBool) -> Result<u64> {
    let mut most = 0;
    while !over.load(Ordering::SeqCst) {
        most = most.max(broker.memory_mib()?);
        std::thread::sleep(Duration::from_millis(50));
    }
    Ok(most)
}

/// Honest clients that send over gRPC; true if all of it succeeded.
fn honest_grpc(address: SocketAddr, seconds: u64) -> Result<bool> {
    let mut command = std::process::Command::new(process::binary());
    command.args(["bench", "grpc", "--endpoint", &address.to_string(), "--topic", GRPC_TOPIC]);
    command.args(["--connections", "2", "--in-flight", "4", "--warm-up", "0.1"]);
    command.args(["--duration", &seconds.to_string(), "--json"]);
    let output = command.output().context("cannot run the gRPC bench")?;
    let said = String::from_utf8_lossy(&output.stdout);
    println!("over gRPC: {}{}", said.trim(), String::from_utf8_lossy(&output.stderr).trim());
    let result: serde_json::Value = serde_json::from_str(said.trim()).unwrap_or_default();
    let no_errors = result.get("errors").and_then(|errors| errors.as_object()).is_some_and(|e| e.is_empty());
    let messages = result.get("messages").and_then(serde_json::Value::as_u64);
    Ok(output.status.success() && no_errors && messages > Some(0))
}

/// Honest clients send, one message after the other; an error ends it all.
fn honest(producers: &mut [Producer], address: SocketAddr, time: Duration) -> Result<Seen> {
    let end = Instant::now() + time;
    std::thread::scope(|scope| {
        let threads: Vec<_> = producers
            .iter_mut()
            .map(|producer| {
                scope.spawn(move || -> Result<Seen> {
                    let mut client = Client::connect(address)?;
                    let mut seen = Seen::default();
                    while Instant::now() < end {
                        let begun = Instant::now();
                        let acknowledged = producer.send_with(&mut client)?;
                        seen.latencies.push(begun.elapsed());
                        seen.refused += u64::from(!acknowledged);
                    }
                    Ok(seen)
                })
            })
            .collect();
        let mut all = Seen::default();
        for thread in threads {
            let seen = thread.join().map_err(|_| anyhow::anyhow!("an honest client panicked"))??;
            all.latencies.extend(seen.latencies);
            all.refused += seen.refused;
        }
        Ok(all)
    })
}
