//! The command line.

use clap::{Args, Parser, Subcommand, ValueEnum};
use std::net::IpAddr;
use std::ops::Range;
use std::path::{Path, PathBuf};

/// A RocketMQ name server and broker that lose no acknowledged message.
///
/// Without a command: `standalone`, a name server and a broker in one process. Unmodified RocketMQ clients connect to
/// the name server, 127.0.0.1:9876 by default.
#[derive(Debug, Parser)]
#[command(name = "kerolox", version, args_conflicts_with_subcommands = true, max_term_width = 110)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
    #[command(flatten)]
    pub(crate) standalone: Standalone,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run a name server and a broker in one process (the default).
    Standalone(Standalone),
    /// Run a name server.
    Namesrv(Namesrv),
    /// Run a broker that registers with name servers.
    Broker(Broker),
    /// Serve clients of gRPC for brokers that name servers know. (A broker serves them itself, too.)
    Proxy(Proxy),
    /// Look after a data directory.
    #[command(subcommand)]
    Store(Store),
    /// Measure a broker, this one or any other that speaks RocketMQ's protocol, or the machine.
    #[command(subcommand)]
    Bench(crate::bench::Bench),
    /// Ask and change name servers and brokers, with the commands and flags of Apache RocketMQ's mqadmin.
    #[command(disable_help_flag = true)]
    Admin {
        /// A command and its flags; `kerolox admin help` lists them.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
}

#[derive(Debug, Args)]
pub(crate) struct Standalone {
    #[command(flatten)]
    pub(crate) place: Place,
    #[command(flatten)]
    pub(crate) network: Network,
    /// What clients are told to connect to. Default: the address that is listened on, or, if that is a wildcard, the
    /// machine's own address.
    #[arg(long, value_name = "HOST[:PORT]")]
    pub(crate) advertise: Option<String>,
    /// A broker.conf of Apache RocketMQ's; it may have keys of its namesrv.conf, too.
    #[arg(short = 'c', long = "config", value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct Namesrv {
    #[command(flatten)]
    pub(crate) network: Network,
    /// A namesrv.conf of Apache RocketMQ's.
    #[arg(short = 'c', long = "config", value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct Broker {
    /// The name servers to register with, separated by `;`. Default: the file's namesrvAddr, then the environment
    /// variable NAMESRV_ADDR.
    #[arg(short = 'n', long = "namesrv", value_name = "HOST:PORT")]
    pub(crate) namesrv: Option<String>,
    #[command(flatten)]
    pub(crate) place: Place,
    #[command(flatten)]
    pub(crate) network: Network,
    /// What clients are told to connect to. Default: the file's brokerIP1, then the address that is listened on, or, if
    /// that is a wildcard, the machine's own address.
    #[arg(long, value_name = "HOST[:PORT]")]
    pub(crate) advertise: Option<String>,
    /// A broker.conf of Apache RocketMQ's.
    #[arg(short = 'c', long = "config", value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct Proxy {
    /// The name servers to find brokers by, separated by `;`. Default: the file's namesrvAddr, then the environment
    /// variable NAMESRV_ADDR.
    #[arg(short = 'n', long = "namesrv", value_name = "HOST:PORT")]
    pub(crate) namesrv: Option<String>,
    #[command(flatten)]
    pub(crate) network: Network,
    /// What clients are told to connect to. Default: where they asked.
    #[arg(long, value_name = "HOST:PORT")]
    pub(crate) advertise: Option<String>,
    /// Settings, as in a broker.conf; those of gRPC count.
    #[arg(short = 'c', long = "config", value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
}

/// Exit codes: 0, nothing is wrong; 1, something is damaged; 2, the directory cannot be looked at.
#[derive(Debug, Subcommand)]
pub(crate) enum Store {
    /// Read every record and all that is derived from them, and check it. Writes nothing; a broker may run on it meanwhile.
    Verify(Directory),
    /// Count what there is: segments, topics, groups and how far they are behind, what waits. Writes nothing.
    Stat(Directory),
    /// Print records, messages and state, one on a line. Writes nothing.
    Dump(Dump),
    /// Mend what can be mended without inventing anything: says what it would do, and does it with --yes.
    Repair(Repair),
}

#[derive(Debug, Args)]
pub(crate) struct Directory {
    /// The data directory, Kerolox' own or Apache RocketMQ's (its storePathRootDir).
    #[arg(value_name = "DIR", default_value = "./kerolox-data")]
    dir: PathBuf,
    /// The same as DIR.
    #[arg(long, value_name = "DIR", conflicts_with = "dir")]
    data: Option<PathBuf>,
    /// As lines for people or as JSON.
    #[arg(long, value_enum, default_value_t)]
    pub(crate) output: Output,
    /// Show no progress.
    #[arg(short, long)]
    pub(crate) quiet: bool,
}

impl Directory {
    pub(crate) fn path(&self) -> &Path {
        self.data.as_deref().unwrap_or(&self.dir)
    }
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Output {
    #[default]
    Table,
    Json,
}

impl Output {
    pub(crate) fn is_json(self) -> bool {
        self == Self::Json
    }
}

#[derive(Debug, Args)]
pub(crate) struct Dump {
    #[command(flatten)]
    pub(crate) directory: Directory,
    /// Only this topic.
    #[arg(short, long)]
    pub(crate) topic: Option<String>,
    /// Only queues with this id.
    #[arg(long, value_name = "ID")]
    pub(crate) queue: Option<u32>,
    /// Only these queue offsets: 5, 5..10 (without 10), 5.. or ..10
    #[arg(long, value_name = "RANGE", value_parser = NumberRange::parse)]
    pub(crate) offset: Option<NumberRange>,
    /// Only from these positions of the log, written as --offset is.
    #[arg(long, value_name = "RANGE", value_parser = NumberRange::parse)]
    pub(crate) position: Option<NumberRange>,
    /// Only messages with this key.
    #[arg(long)]
    pub(crate) key: Option<String>,
    /// Only the message with this id, its producer's or an offset message id.
    #[arg(long)]
    pub(crate) id: Option<String>,
    /// Only what was stored then or later: now, milliseconds since 1970 or yyyy-MM-dd#HH:mm:ss:SSS
    #[arg(long, value_name = "TIME", value_parser = crate::admin::parse_time, allow_hyphen_values = true)]
    pub(crate) since: Option<i64>,
    /// Only what was stored then or earlier.
    #[arg(long, value_name = "TIME", value_parser = crate::admin::parse_time, allow_hyphen_values = true)]
    pub(crate) until: Option<i64>,
    /// Only state records.
    #[arg(long)]
    pub(crate) state: bool,
    /// How bodies are shown; text is unpacked where a client compressed it with zlib.
    #[arg(long, value_enum, default_value_t, value_name = "FORM")]
    pub(crate) body: BodyForm,
    /// Bytes of a body that are shown at most.
    #[arg(long, value_name = "N", default_value_t = 200)]
    pub(crate) body_bytes: usize,
    /// Stop after so many records.
    #[arg(long, value_name = "N")]
    pub(crate) limit: Option<u64>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum BodyForm {
    #[default]
    Text,
    Hex,
    Base64,
    None,
}

/// Numbers from one on, up to but without another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NumberRange(pub(crate) Range<u64>);

impl NumberRange {
    fn parse(text: &str) -> Result<Self, String> {
        let number = |text: &str| text.parse::<u64>().map_err(|_| format!("{text:?} is no number"));
        let Some((from, to)) = text.split_once("..") else {
            let one = number(text)?;
            return Ok(Self(one..one.saturating_add(1)));
        };
        let from = if from.is_empty() { 0 } else { number(from)? };
        let to = if to.is_empty() { u64::MAX } else { number(to)? };
        Ok(Self(from..to))
    }
}

#[derive(Debug, Args)]
pub(crate) struct Repair {
    #[command(flatten)]
    pub(crate) directory: Directory,
    /// Only say what would be done: so it is without --yes, too.
    #[arg(long, conflicts_with = "yes")]
    dry_run: bool,
    /// Carry it out. What is removed goes to lost+found in the directory.
    #[arg(long)]
    pub(crate) yes: bool,
    /// Cut off what an unfinished write left behind the end of the log, too. A start does that anyway.
    #[arg(long)]
    pub(crate) cut_tail: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Place {
    /// The data directory; created if it is not there. Default: the file's storePathRootDir, then ./kerolox-data.
    #[arg(long, value_name = "DIR")]
    pub(crate) data: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct Network {
    /// The address to listen on. Default: the file's bindAddress, then 127.0.0.1: connections from this machine only.
    #[arg(long, value_name = "ADDR")]
    pub(crate) listen: Option<IpAddr>,
    /// Added to every port.
    #[arg(long, value_name = "N", default_value_t = 0, allow_negative_numbers = true)]
    pub(crate) port_offset: i32,
}

/// What clap has to say about a command line that is not valid, as one line.
pub(crate) fn one_line(error: &clap::Error) -> String {
    let text = error.render().to_string();
    let parts: Vec<&str> = text
        .lines()
        .map(str::trim)
        .take_while(|line| !line.starts_with("Usage:") && !line.starts_with("For more information"))
        .filter(|line| !line.is_empty())
        .map(|line| line.trim_start_matches("error: ").trim_start_matches("tip: "))
        .collect();
    format!("{} (kerolox --help tells what there is)", parts.join("; "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn ranges_are_half_open() {
        let parse = |text| NumberRange::parse(text).map(|range| range.0);
        assert_eq!([parse("5"), parse("5..9"), parse("..9")], [Ok(5..6), Ok(5..9), Ok(0..9)]);
        assert_eq!(parse("5.."), Ok(5..u64::MAX));
        assert!(parse("five").is_err() && parse("5..x").is_err() && parse("-1").is_err());
    }

    #[test]
    fn a_bad_flag_is_one_line_with_a_hint() {
        let error = Cli::try_parse_from(["kerolox", "--prt-offset", "3"]).unwrap_err();
        assert_eq!(
            one_line(&error),
            "unexpected argument '--prt-offset' found; a similar argument exists: '--port-offset' \
             (kerolox --help tells what there is)"
        );
        let error = Cli::try_parse_from(["kerolox", "--listen", "nowhere"]).unwrap_err();
        assert_eq!(
            one_line(&error),
            "invalid value 'nowhere' for '--listen <ADDR>': invalid IP address syntax (kerolox --help tells what there is)"
        );
    }
}
