//! `kerolox bench`: load and measurements over RocketMQ's own protocol, against this broker or any other.
//!
//! Latencies are measured from the time at which a request was *meant* to start, so that a server that stalls does not
//! hide the requests that the stall kept from being sent. The generator is to be light: frames are built once and
//! patched, everything that is due leaves in one write, answers are looked at only as far as needed.

mod consume;
mod frames;
mod grpc;
mod limits;
mod lite;
mod measure;
mod null;
mod pop;
mod produce;
mod server;
mod timers;
mod topics;

use anyhow::Result;
use clap::{Args, Subcommand, ValueEnum};
use kerolox_wire::Encoding;
use std::path::PathBuf;

#[derive(Debug, Subcommand)]
pub(crate) enum Bench {
    /// Send messages and measure rate and latency.
    Produce(Produce),
    /// Receive messages with long polling and measure rate and, of messages that `bench produce` sent, latency end to end.
    Consume(Consume),
    /// Take messages by pop, acknowledge them, leave some, and measure rate and latency, and when those that were left come again.
    Pop(Pop),
    /// Create many topics, list them, write and read all their queues round-robin: how long each takes, and the memory after it.
    Topics(Topics),
    /// Send messages to many lite topics, pop them as their subscribers and acknowledge each.
    Lite(Lite),
    /// Send timer messages, most of them for much later and some for one moment, and measure how late those arrive.
    Timers(Timers),
    /// Send messages over gRPC, to a topic that is there, and measure rate and latency; or hold connections that do nothing.
    Grpc(Grpc),
    /// Serve the same requests and store nothing: what the network and the protocol alone allow.
    Null(Null),
    /// What this machine can do: syncs and bandwidth of the data folder's disk, loopback, memory.
    Limits(Limits),
}

#[derive(Debug, Clone, Args)]
pub(crate) struct Server {
    /// The name server to ask for the topic's broker.
    #[arg(
        short = 'n',
        long,
        value_name = "HOST:PORT",
        default_value = "127.0.0.1:9876",
        conflicts_with = "broker"
    )]
    pub(crate) namesrv: String,
    /// The broker, without asking a name server.
    #[arg(short = 'b', long, value_name = "HOST:PORT")]
    pub(crate) broker: Option<String>,
    #[arg(short, long, default_value = "kerolox-bench")]
    pub(crate) topic: String,
    /// Queues of the topic, which is created or changed to have that many.
    #[arg(short, long, default_value_t = 8, value_parser = clap::value_parser!(u32).range(1..=1024))]
    pub(crate) queues: u32,
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(crate) connections: u32,
    /// How headers are written.
    #[arg(long, value_enum, default_value_t = Header::Json)]
    pub(crate) encoding: Header,
    /// The broker's process, if it runs here: its CPU time is measured too. Several are separated by commas.
    #[arg(long, value_name = "PID", value_delimiter = ',')]
    pub(crate) pid: Vec<u32>,
    /// Seconds to measure.
    #[arg(short, long, value_name = "S", default_value_t = 10.0)]
    pub(crate) duration: f64,
    /// Seconds before that which do not count.
    #[arg(short, long, value_name = "S", default_value_t = 2.0)]
    pub(crate) warm_up: f64,
    /// End after that many messages, if it comes before the duration is over.
    #[arg(long, value_name = "N")]
    pub(crate) count: Option<u64>,
    /// Print the result as one JSON object.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum Header {
    Json,
    Rocketmq,
}

impl From<Header> for Encoding {
    fn from(header: Header) -> Self {
        match header {
            Header::Json => Self::Json,
            Header::Rocketmq => Self::Rocketmq,
        }
    }
}

#[derive(Debug, Clone, Args)]
pub(crate) struct Produce {
    #[command(flatten)]
    pub(crate) server: Server,
    /// Bytes of a message's body.
    #[arg(short, long, default_value_t = 1024, value_parser = clap::value_parser!(u32).range(1..=4_194_304))]
    pub(crate) size: u32,
    /// Requests in flight on each connection.
    #[arg(short, long, default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub(crate) in_flight: u32,
    /// Messages of a request; more than one is a batch send (code 320).
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=4096))]
    pub(crate) batch: u32,
    /// Messages a second, at fixed intervals. Default: as many as go.
    #[arg(short, long, value_name = "N")]
    pub(crate) rate: Option<f64>,
    /// Topics, written round-robin: the topic's name with a number behind it.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub(crate) topics: u32,
    /// Keys of the messages, in turn. Default: each has its own.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) keys: Option<u64>,
}

#[derive(Debug, Args)]
pub(crate) struct Topics {
    #[command(flatten)]
    pub(crate) produce: Produce,
    /// Messages of each queue.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub(crate) messages: u32,
}

#[derive(Debug, Args)]
pub(crate) struct Timers {
    #[command(flatten)]
    pub(crate) produce: Produce,
    /// Messages that are due in an hour or later.
    #[arg(long, value_name = "N", default_value_t = 1_000_000)]
    pub(crate) pending: u64,
    /// Messages that are due during the run.
    #[arg(long, value_name = "N", default_value_t = 100_000, value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) due: u64,
    /// Milliseconds in which those are due.
    #[arg(long, value_name = "MS", default_value_t = 1_000, value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) within: u64,
    /// Seconds from the beginning of their sending to the first that is due.
    #[arg(long, value_name = "S", default_value_t = 10)]
    pub(crate) lead: u64,
    /// Seconds that one may be late before it counts as lost.
    #[arg(long, value_name = "S", default_value_t = 30)]
    pub(crate) patience: u64,
}

#[derive(Debug, Args)]
pub(crate) struct Consume {
    #[command(flatten)]
    pub(crate) server: Server,
    #[arg(short, long, default_value = "kerolox-bench-consumer")]
    pub(crate) group: String,
    /// Begin with the oldest message instead of the next one.
    #[arg(long)]
    pub(crate) from_start: bool,
    /// End when everything that was there at the start has been received.
    #[arg(long)]
    pub(crate) to_end: bool,
    /// Messages of one answer at most.
    #[arg(long, default_value_t = 32, value_parser = clap::value_parser!(u32).range(1..=1024))]
    pub(crate) pull_batch: u32,
}

#[derive(Debug, Clone, Args)]
pub(crate) struct Pop {
    #[command(flatten)]
    pub(crate) server: Server,
    #[arg(short, long, default_value = "kerolox-bench-popper")]
    pub(crate) group: String,
    /// Pops in flight on each connection, each followed by its acknowledgement.
    #[arg(short, long, default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=1024))]
    pub(crate) in_flight: u32,
    /// Messages of one pop at most.
    #[arg(long, default_value_t = 32, value_parser = clap::value_parser!(u32).range(1..=32))]
    pub(crate) pop_batch: u32,
    /// Acknowledge each message by itself instead of all of a pop together.
    #[arg(long)]
    pub(crate) each: bool,
    /// Messages of a hundred that are not acknowledged the first time.
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = clap::value_parser!(u32).range(0..=100))]
    pub(crate) leave: u32,
    /// Milliseconds for which popped messages are invisible.
    #[arg(long, value_name = "MS", default_value_t = 60_000)]
    pub(crate) invisible: u64,
}

#[derive(Debug, Clone, Args)]
pub(crate) struct Lite {
    #[command(flatten)]
    pub(crate) server: Server,
    #[arg(short, long, default_value = "kerolox-bench-lite")]
    pub(crate) group: String,
    /// Lite topics. Each connection is a client that subscribes to its share of them.
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub(crate) lite_topics: u32,
    /// Messages of each lite topic.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub(crate) messages: u32,
    /// Bytes of a message's body.
    #[arg(short, long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=4_194_304))]
    pub(crate) size: u32,
    /// Sends, and later pops, in flight on each connection.
    #[arg(short, long, default_value_t = 16, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(crate) in_flight: u32,
}

#[derive(Debug, Args)]
pub(crate) struct Grpc {
    /// Where gRPC is served, without TLS.
    #[arg(short, long, value_name = "HOST:PORT", default_value = "127.0.0.1:8081")]
    pub(crate) endpoint: String,
    #[arg(short, long, default_value = "kerolox-bench")]
    pub(crate) topic: String,
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(crate) connections: u32,
    /// Calls in flight on each connection.
    #[arg(short, long, default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    pub(crate) in_flight: u32,
    /// Bytes of a message's body.
    #[arg(short, long, default_value_t = 1024, value_parser = clap::value_parser!(u32).range(1..=4_194_304))]
    pub(crate) size: u32,
    /// The broker's process, if it runs here: its CPU time is measured too. Several are separated by commas.
    #[arg(long, value_name = "PID", value_delimiter = ',')]
    pub(crate) pid: Vec<u32>,
    /// Seconds to measure.
    #[arg(short, long, value_name = "S", default_value_t = 10.0)]
    pub(crate) duration: f64,
    /// Seconds before that which do not count.
    #[arg(short, long, value_name = "S", default_value_t = 2.0)]
    pub(crate) warm_up: f64,
    /// Instead of sending, hold so many connections of producers that do nothing.
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) idle: u32,
    /// With --idle: speak TLS, and trust the certificate in this file (`kerolox/tls/certificate.pem` in the server's data).
    #[arg(long, value_name = "PEM", requires = "idle")]
    pub(crate) trust: Option<PathBuf>,
    /// Print the result as one JSON object.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Null {
    /// Port to listen on, on 127.0.0.1.
    #[arg(short, long, default_value_t = 10_911)]
    pub(crate) port: u16,
}

#[derive(Debug, Args)]
pub(crate) struct Limits {
    /// The folder whose disk is measured.
    #[arg(long, value_name = "DIR", default_value = "./kerolox-data")]
    pub(crate) data: PathBuf,
    /// Seconds for each figure.
    #[arg(long, value_name = "S", default_value_t = 1.0)]
    pub(crate) duration: f64,
    /// Print the result as one JSON object.
    #[arg(long)]
    pub(crate) json: bool,
}

pub(crate) fn run(bench: Bench) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let local = tokio::task::LocalSet::new();
    match bench {
        Bench::Produce(args) => local.block_on(&runtime, produce::run(args)),
        Bench::Consume(args) => local.block_on(&runtime, consume::run(args)),
        Bench::Pop(args) => local.block_on(&runtime, pop::run(args)),
        Bench::Topics(args) => local.block_on(&runtime, topics::run(args)),
        Bench::Lite(args) => local.block_on(&runtime, lite::run(args)),
        Bench::Timers(args) => local.block_on(&runtime, timers::run(args)),
        Bench::Grpc(args) => local.block_on(&runtime, grpc::run(args)),
        Bench::Null(args) => local.block_on(&runtime, null::run(args)),
        Bench::Limits(args) => limits::run(&args),
    }
}
