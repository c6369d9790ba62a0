//! The real binary as a child process.

use anyhow::{Context, Result, bail, ensure};
use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

const BROKER_PORT: u16 = 10_911;
/// How long a clean end may take.
const END_WAIT: Duration = Duration::from_secs(30);

pub(crate) struct Broker {
    child: Mutex<Child>,
    address: SocketAddr,
}

impl Broker {
    /// Starts it and waits for its ready line.
    pub(crate) fn start(data: &Path, port_offset: u16, flags: &[String]) -> Result<Self> {
        let mut child = Command::new(binary())
            .args(["standalone", "--port-offset", &port_offset.to_string(), "--data"])
            .arg(data)
            .args(flags)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot start {}", binary().display()))?;
        let mut ready = String::new();
        BufReader::new(child.stdout.take().context("no standard output")?).read_line(&mut ready)?;
        let mut stderr = child.stderr.take().context("no standard error")?;
        if !ready.contains("ready in") {
            let mut why = String::new();
            let _ = stderr.read_to_string(&mut why);
            let _ = child.wait();
            bail!("kerolox did not become ready: {ready}{why}");
        }
        // Read on, so that it never blocks on a full pipe; what it says goes where we say things.
        std::thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(|line| line.ok()) {
                eprintln!("  kerolox: {line}");
            }
        });
        let address = SocketAddr::from(([127, 0, 0, 1], BROKER_PORT + port_offset));
        Ok(Self { child: Mutex::new(child), address })
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Memory that it holds, in MiB.
    pub(crate) fn memory_mib(&self) -> Result<u64> {
        let id = self.child.lock().unwrap_or_else(PoisonError::into_inner).id();
        let status = std::fs::read_to_string(format!("/proc/{id}/status"))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
        Ok(line.trim().trim_end_matches(" kB").trim().parse::<u64>()? >> 10)
    }

    /// SIGKILL, and gone when this returns.
    pub(crate) fn kill(&self) -> Result<()> {
        let mut child = self.child.lock().unwrap_or_else(PoisonError::into_inner);
        child.kill()?;
        child.wait()?;
        Ok(())
    }

    /// SIGTERM, and a clean exit.
    #[allow(clippy::zombie_processes)] // an error here ends this process too
    pub(crate) fn end(self) -> Result<()> {
        let mut child = self.child.into_inner().unwrap_or_else(PoisonError::into_inner);
        let asked = Command::new("kill").arg(child.id().to_string()).status()?;
        ensure!(asked.success(), "kill failed");
        let begun = Instant::now();
        while begun.elapsed() < END_WAIT {
            if let Some(status) = child.try_wait()? {
                ensure!(status.success(), "kerolox ended with {status}");
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        child.kill()?;
        child.wait()?;
        bail!("kerolox did not end within {} s of SIGTERM", END_WAIT.as_secs());
    }
}

/// The binary that is tried: that of this checkout, or the one that `KEROLOX` names.
pub(crate) fn binary() -> PathBuf {
    std::env::var_os("KEROLOX").map_or_else(|| target().join("release/kerolox"), PathBuf::from)
}

/// Cargo's target directory.
pub(crate) fn target() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| PathBuf::from("target"), PathBuf::from)
}
