//! `kerolox admin`: what operators ask of name servers and brokers, under the names and with the flags of Apache's `mqadmin`,
//! against any server that speaks the Remoting protocol.

mod client;
mod completion;
mod docs;
mod flags;
mod help;
mod out;
mod session;
mod table;
mod time;

mod auth;
mod broker;
mod cluster;
mod cold;
mod consumer;
mod export;
mod group;
mod ha;
mod lite;
mod message;
mod namesrv;
mod offset;
mod print;
mod query;
mod running;
mod send;
mod stats;
mod topic;
mod trace;
mod track;

use self::flags::{Args, Usage};
use self::session::Session;
use self::table::Runs;
use anyhow::Result;
use std::process::ExitCode;

pub(crate) use self::message::unpacked;

/// A time as these tools show it, to the second.
pub(crate) fn show_time(ms: i64) -> String {
    time::to_second(ms)
}

/// Reads `now`, milliseconds since 1970, or `yyyy-MM-dd#HH:mm:ss:SSS`.
pub(crate) fn parse_time(text: &str) -> Result<i64, String> {
    time::parse(text).map_err(|why| why.to_string())
}

/// Carries a command line out (what stands behind `kerolox admin`) and says on standard error why it could not.
///
/// Exit codes: 0 done, 1 a server refused or could not be reached, [`crate::EXIT_USAGE`] wrong usage.
pub(crate) fn main(arguments: &[String]) -> ExitCode {
    match run(arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("kerolox: {}", crate::one_line(&why));
            if why.is::<Usage>() { ExitCode::from(crate::EXIT_USAGE) } else { ExitCode::FAILURE }
        }
    }
}

fn run(arguments: &[String]) -> Result<()> {
    let Some((name, arguments)) = arguments.split_first() else {
        out::print(&help::overview());
        return Ok(());
    };
    match (name.as_str(), arguments) {
        ("help" | "-h" | "--help", []) => out::print(&help::overview()),
        ("help", [name, ..]) => out::print(&help::of(command(name)?)),
        ("completion", [shell]) => out::print(&completion::script(shell)?),
        ("completion", _) => return Err(completion::usage().into()),
        _ => {
            let command = command(name)?;
            let args = Args::parse(command, arguments).map_err(|Usage(why)| {
                Usage(format!("{why} (kerolox admin help {} tells what it takes)", command.name))
            })?;
            if args.has("help") {
                out::print(&help::of(command));
                return Ok(());
            }
            match command.runs {
                Runs::Never(why) => anyhow::bail!("{}: {why}", command.name),
                Runs::Here(function) => {
                    let mut session = Session::new(&args)?;
                    function(&args, &mut session)?;
                    session.out.finish();
                }
            }
        }
    }
    Ok(())
}

fn command(name: &str) -> Result<&'static table::Command, Usage> {
    table::find(name).ok_or_else(|| {
        let near = help::nearest(name).map(|near| format!("; is {near} meant?")).unwrap_or_default();
        Usage(format!("there is no command {name:?}{near} (kerolox admin help lists them)"))
    })
}
