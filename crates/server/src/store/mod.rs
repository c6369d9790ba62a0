//! `kerolox store …`: looking into a data directory, Kerolox' own or Apache RocketMQ's, and mending it.
//!
//! Exit codes: 0, nothing is wrong; 1, something is damaged; 2, the directory cannot be looked at. Only `repair --yes` writes.

mod config;
mod dump;
mod progress;
mod repair;
mod show;
mod stat;
mod verify;

use crate::cli;
use anyhow::{Context, Result, bail};
use kerolox_store::Look;
use kerolox_store::disk::RealDisk;
use std::path::Path;
use std::process::ExitCode;

/// Something is damaged.
const EXIT_DAMAGED: u8 = 1;
/// The directory cannot be looked at.
const EXIT_CANNOT: u8 = 2;

/// What was looked at is as it should be.
type Sound = bool;

pub(crate) fn run(command: &cli::Store) -> ExitCode {
    let done = match command {
        cli::Store::Verify(args) => verify::run(args),
        cli::Store::Stat(args) => stat::run(args),
        cli::Store::Dump(args) => dump::run(args),
        cli::Store::Repair(args) => repair::run(args),
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(EXIT_DAMAGED),
        Err(e) => {
            eprintln!("kerolox: {}", crate::one_line(&e));
            ExitCode::from(EXIT_CANNOT)
        }
    }
}

/// Opens a directory for looking: nothing can be written through this.
fn look(data: &Path) -> Result<Look<RealDisk>> {
    let shown = data.display();
    let look = Look::open(RealDisk::read_only(data))
        .with_context(|| format!("cannot look into the data directory {shown}"))?;
    if look.is_empty() {
        bail!("cannot look into {shown}: it is no data directory, there is no log in commitlog/");
    }
    Ok(look)
}
