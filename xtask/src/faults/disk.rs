//! A disk of our own below a server's data directory, which loses power, fails and lies when it is told to.

mod layers;
mod mount;

pub(crate) use layers::Cut;

use anyhow::{Context, Result};
use fuser::{BackgroundSession, MountOption};
use layers::Layers;
use mount::{Mounted, lock};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// The next call of this kind fails with EIO, once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    Sync,
    Write,
    Read,
}

struct State {
    layers: Layers,
    /// The power is gone: what still comes (the kernel's cache) is answered and forgotten.
    off: bool,
    full: bool,
    /// What each call takes longer.
    delay: Duration,
    fault: Option<Fault>,
    /// The kernel may cache: mapped files need it.
    cached: bool,
}

impl State {
    /// Whether a fault is due now; then it is over.
    fn strikes(&mut self, fault: Fault) -> bool {
        let strikes = self.fault == Some(fault) && !self.off;
        if strikes {
            self.fault = None;
        }
        strikes
    }
}

/// How the disk is built.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Build {
    pub(crate) seed: u64,
    /// Files may be mapped into memory; the kernel caches.
    pub(crate) cached: bool,
    /// A sync of a file makes all names durable.
    pub(crate) journal: bool,
    /// Syncs are answered and forgotten.
    pub(crate) lying: bool,
}

pub(crate) struct Disk {
    at: PathBuf,
    state: Arc<Mutex<State>>,
    session: Option<BackgroundSession>,
}

/// Why this machine does not let us mount a disk of our own, if it does not.
pub(crate) fn missing() -> Option<String> {
    let at = std::env::temp_dir().join(format!("faults-{}", std::process::id()));
    let tried = Disk::mount(&at, Build::default()).map(drop);
    let _ = std::fs::remove_dir(at);
    tried.err().map(|e| format!("{e:#}"))
}

impl Disk {
    /// An empty disk, mounted at a folder, which is made.
    pub(crate) fn mount(at: &Path, build: Build) -> Result<Self> {
        std::fs::create_dir_all(at)?;
        let mut layers = Layers::new(build.seed);
        (layers.journal, layers.lying) = (build.journal, build.lying);
        let state = State {
            layers,
            off: false,
            full: false,
            delay: Duration::ZERO,
            fault: None,
            cached: build.cached,
        };
        let mut disk = Self { at: at.to_owned(), state: Arc::new(Mutex::new(state)), session: None };
        disk.power_on()?;
        Ok(disk)
    }

    fn power_on(&mut self) -> Result<()> {
        let options = [MountOption::FSName("faults".to_owned()), MountOption::NoAtime];
        let mounted = fuser::spawn_mount2(Mounted(Arc::clone(&self.state)), &self.at, &options);
        self.session = Some(mounted.context("cannot mount a file system of our own (that takes root)")?);
        Ok(())
    }

    /// The power goes, and comes again. Nobody may have a file open any more.
    pub(crate) fn power_cut(&mut self, cut: Cut) -> Result<()> {
        lock(&self.state).off = true;
        self.unmount();
        lock(&self.state).power_off(cut);
        self.power_on()
    }

    fn unmount(&mut self) {
        // What is left of the session unmounts. (Its own `join` panics if the kernel aborts a call meanwhile.)
        let serving = self.session.take().map(|session| session.guard);
        let _ = serving.map(std::thread::JoinHandle::join);
    }

    /// Makes durable what the server has written.
    pub(crate) fn sync_all(&self) {
        lock(&self.state).layers.sync_all();
    }

    pub(crate) fn arm(&self, fault: Fault) {
        lock(&self.state).fault = Some(fault);
    }

    /// Whether an armed fault has happened.
    pub(crate) fn has_struck(&self) -> bool {
        lock(&self.state).fault.is_none()
    }

    pub(crate) fn set_full(&self, full: bool) {
        lock(&self.state).full = full;
    }

    pub(crate) fn set_delay(&self, delay: Duration) {
        lock(&self.state).delay = delay;
    }

    /// Takes back what was armed or set.
    pub(crate) fn heal(&self) {
        let mut state = lock(&self.state);
        (state.full, state.delay, state.fault) = (false, Duration::ZERO, None);
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        lock(&self.state).off = true;
        self.unmount();
    }
}
