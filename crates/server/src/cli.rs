//! The command line.

use clap::{Args, Parser, Subcommand};
use std::net::IpAddr;
use std::path::PathBuf;

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

#[derive(Debug, Subcommand)]
pub(crate) enum Store {
    /// Read every record and check it; a broker may run on the directory meanwhile. Fails if something is damaged.
    Verify {
        /// The data directory.
        #[arg(long, value_name = "DIR", default_value = "./kerolox-data")]
        data: PathBuf,
    },
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
