//! Who is tried: a Kerolox or an Apache RocketMQ, which is started, killed and started again.

use super::WINDOW_MS;
use super::strike::Strike;
use crate::compare::server::{ANY_DISK, Kind, Server};
use crate::ledger::process::Broker;
use anyhow::{Context, Result};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

/// What both are told; what only Apache needs follows.
const SETTINGS: &str = "brokerName=broker-a
mappedFileSizeCommitLog=4194304
transactionCheckMax=100000
";
const APACHE_SETTINGS: &str = "recallMessageEnable=true
maxTransferCountOnMessageInMemory=1024
maxTransferCountOnMessageInDisk=1024
maxTransferBytesOnMessageInMemory=4194304
maxTransferBytesOnMessageInDisk=4194304
mappedFileSizeConsumeQueue=200000
maxHashSlotNum=50000
maxIndexNum=200000
waitTimeMillsInSendQueue=5000
";

pub(super) struct Target {
    kind: Kind,
    server: Server,
    offset: u16,
    settings: PathBuf,
    /// A running Kerolox.
    broker: Option<Broker>,
}

impl Target {
    /// `name` is that of its folder.
    pub(super) fn new(
        kind: Kind,
        name: &str,
        flush: &str,
        offset: u16,
        apache: &Path,
        strike: Strike,
    ) -> Result<Self> {
        let apaches = if kind == Kind::Apache { APACHE_SETTINGS } else { "" };
        // All others have a disk of their own, and it may be full.
        let disk = if strike == Strike::Kill { ANY_DISK } else { "" };
        let settings =
            format!("{SETTINGS}flushDiskType={flush}\nflushIntervalCommitLog={WINDOW_MS}\n{apaches}{disk}");
        let server = Server::prepare(name, kind, &settings, offset, apache)?;
        let file = server.data().with_file_name("broker.conf");
        Ok(Self { kind, server, offset, settings: file, broker: None })
    }

    pub(super) fn data(&self) -> PathBuf {
        self.server.data()
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.server.broker()
    }

    pub(super) fn start(&mut self) -> Result<()> {
        if self.kind == Kind::Apache {
            return self.server.start_to_first_send().map(drop);
        }
        let flags = ["-c".to_owned(), self.settings.display().to_string()];
        self.broker = Some(Broker::start(&self.server.data(), self.offset, &flags)?);
        Ok(())
    }

    /// SIGKILL, and gone when this returns; harmless if it has ended already.
    pub(super) fn kill(&mut self) -> Result<()> {
        match self.kind {
            Kind::Apache => self.server.kill(),
            Kind::Kerolox => self.broker.take().map_or(Ok(()), |broker| broker.kill()),
        }
    }

    /// In order.
    pub(super) fn stop(&mut self) -> Result<()> {
        match self.kind {
            Kind::Apache => self.server.stop(),
            Kind::Kerolox => self.broker.take().context("nothing runs")?.end(),
        }
    }

    /// Everything that still runs, whatever state it is in.
    pub(super) fn end(&mut self) {
        self.broker.take().map(|broker| broker.kill());
        self.server.end();
    }
}
