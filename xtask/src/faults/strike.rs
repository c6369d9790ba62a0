//! What goes wrong in the middle of the load.

use super::disk::{Cut, Disk, Fault};
use super::target::Target;
use crate::ledger::body::Random;
use anyhow::{Context, Result, bail};
use std::time::{Duration, Instant};

/// How long it may take until the server runs into a fault that waits for it.
const STRIKE_WAIT: Duration = Duration::from_secs(2);
/// How long the disk is full or slow before the end, and how long the server has to end by itself.
const TROUBLE: Duration = Duration::from_millis(200);
const SLOW: Duration = Duration::from_millis(2);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Strike {
    Kill,
    /// SIGKILL and a power cut.
    Power,
    /// One sync, or write, fails; then SIGKILL, and half of the times a power cut.
    SyncError,
    WriteError,
    /// SIGKILL, and a read fails during the start, which may be refused; the one after it must not be.
    ReadError,
    /// For a moment there is no room; then as after a failed sync.
    Full,
    Slow,
}

impl Strike {
    pub(super) fn named(name: &str) -> Result<Self> {
        Ok(match name {
            "kill" => Self::Kill,
            "power" => Self::Power,
            "sync-error" => Self::SyncError,
            "write-error" => Self::WriteError,
            "read-error" => Self::ReadError,
            "full" => Self::Full,
            "slow" => Self::Slow,
            _ => bail!("faults: there is no fault {name}"),
        })
    }

    /// The fault; the server is gone when this returns: since when, if the power was cut.
    pub(super) fn play(
        self,
        target: &mut Target,
        disk: Option<&mut Disk>,
        random: &mut Random,
    ) -> Result<Option<Instant>> {
        let Some(disk) = disk else { return target.kill().map(|()| None) };
        match self {
            Self::SyncError => wait_for(disk, Fault::Sync),
            Self::WriteError => wait_for(disk, Fault::Write),
            Self::Full => {
                disk.set_full(true);
                std::thread::sleep(TROUBLE);
            }
            Self::Slow => {
                disk.set_delay(SLOW);
                std::thread::sleep(TROUBLE);
            }
            Self::Kill | Self::Power | Self::ReadError => {}
        }
        let at = Instant::now();
        target.kill()?;
        disk.heal();
        let cut = match self {
            Self::Kill | Self::ReadError => false,
            Self::Power => true,
            _ => random.next().is_multiple_of(2),
        };
        if cut {
            disk.power_cut(Cut::any(random))?;
        }
        Ok(cut.then_some(at))
    }

    /// The start after the fault.
    pub(super) fn start(self, target: &mut Target, disk: Option<&mut Disk>) -> Result<()> {
        if self != Self::ReadError {
            return target.start();
        }
        let disk = disk.context("no disk of our own")?;
        disk.arm(Fault::Read);
        let refused = target.start().is_err();
        disk.heal();
        if refused { target.start() } else { Ok(()) }
    }
}

/// Until the server has run into the fault, and a moment more.
fn wait_for(disk: &Disk, fault: Fault) {
    disk.arm(fault);
    let begun = Instant::now();
    while !disk.has_struck() && begun.elapsed() < STRIKE_WAIT {
        std::thread::sleep(Duration::from_millis(1));
    }
    std::thread::sleep(TROUBLE);
}
