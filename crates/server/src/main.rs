//! The program: reads its command line, runs what it asks for, and says in one line why it could not.

mod admin;
mod bench;
mod broker;
mod cli;
mod clock;
mod config;
mod file;
mod grpc;
mod namesrv;
mod report;
mod run;
mod settings;
mod store;

use clap::Parser;
use std::process::ExitCode;

/// What one thread makes another frees: commands between the gRPC face, the broker and the writer. The usual allocator spends a quarter of
/// a gRPC call on that (docs/performance.md).
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// The exit code of a command line that is not valid.
const EXIT_USAGE: u8 = 2;

fn main() -> ExitCode {
    // The allocator asks for pages of 2 MiB, of which an idle process would hold six. Where that cannot be forbidden it does.
    let _ = rustix::thread::disable_transparent_huge_pages(true);
    let cli = match cli::Cli::try_parse() {
        Ok(cli) => cli,
        Err(e) if !e.use_stderr() => {
            // Help or the version was asked for; a closed standard output is no error.
            let _ = e.print();
            return ExitCode::SUCCESS;
        }
        Err(e) => {
            eprintln!("kerolox: {}", cli::one_line(&e));
            return ExitCode::from(EXIT_USAGE);
        }
    };
    match run(cli) {
        Ok(code) => code,
        Err(e) => {
            eprintln!("kerolox: {}", one_line(&e));
            ExitCode::FAILURE
        }
    }
}

fn run(cli: cli::Cli) -> anyhow::Result<ExitCode> {
    match cli.command.unwrap_or(cli::Command::Standalone(cli.standalone)) {
        cli::Command::Bench(bench) => bench::run(bench),
        cli::Command::Standalone(args) => run::standalone(&args),
        cli::Command::Namesrv(args) => run::namesrv(&args),
        cli::Command::Broker(args) => run::broker(&args),
        cli::Command::Proxy(args) => run::proxy(&args),
        // Which say themselves what went wrong.
        cli::Command::Store(command) => return Ok(store::run(&command)),
        cli::Command::Admin { arguments } => return Ok(admin::main(&arguments)),
    }
    .map(|()| ExitCode::SUCCESS)
}

/// The error and its causes, without line breaks.
fn one_line(error: &anyhow::Error) -> String {
    format!("{error:#}").split_whitespace().collect::<Vec<_>>().join(" ")
}
