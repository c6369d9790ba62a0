//! A server to be measured: Kerolox or Apache RocketMQ, in a folder of its own.

use crate::ledger::{binary, client::Client, process::target};
use anyhow::{Context, Result, bail, ensure};
use kerolox_wire::header::SendMessage;
use kerolox_wire::{Command as Request, RequestCode};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// How long a start may take.
const START_WAIT: Duration = Duration::from_secs(120);
const BROKER_PORT: u16 = 10_911;
const NAMESRV_PORT: u16 = 9_876;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Apache,
    Kerolox,
}

impl Kind {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Apache => "apache",
            Self::Kerolox => "kerolox",
        }
    }
}

pub(crate) struct Server {
    dir: PathBuf,
    /// Below 21,000: from 32,768 on, Linux gives ports to whoever connects somewhere.
    offset: u16,
    apache: PathBuf,
}

/// The jars of Apache's broker and name server, from Maven Central, once.
pub(crate) fn fetch_apache() -> Result<PathBuf> {
    let lib = std::path::absolute(target().join("interop/apache-5.5.0"))?;
    let done = lib.join(".done");
    if !done.exists() {
        let fetched = Command::new("mvn")
            .args([
                "-B",
                "-q",
                "-f",
                "tests/interop/apache.xml",
                "dependency:copy-dependencies",
                "-DincludeScope=runtime",
            ])
            .arg(format!("-DoutputDirectory={}", lib.display()))
            .status()
            .context("cannot run Maven")?;
        ensure!(fetched.success(), "Maven could not fetch Apache RocketMQ");
        std::fs::write(done, "")?;
    }
    Ok(lib)
}

/// Lines of `broker.conf`: however full this machine's disk is, no segment goes before its time and nothing is refused. (Apache
/// takes nothing above its defaults, 85 and 90 %.)
pub(crate) const ANY_DISK: &str = "diskSpaceCleanForciblyRatio=99\ndiskSpaceWarningLevelRatio=99\n";

impl Server {
    /// A folder below `task`'s own, with nothing in it but the settings.
    pub(crate) fn prepare(
        task: &str,
        kind: Kind,
        settings: &str,
        offset: u16,
        apache: &Path,
    ) -> Result<Self> {
        let dir = std::path::absolute(target().join(task).join(kind.name()))?;
        if dir.exists() {
            std::fs::remove_dir_all(&dir)?;
        }
        std::fs::create_dir_all(&dir)?;
        std::fs::write(dir.join("kind"), kind.name())?;
        std::fs::write(dir.join("offset"), offset.to_string())?;
        std::fs::write(dir.join("broker.conf"), settings)?;
        Ok(Self { dir, offset, apache: apache.to_owned() })
    }

    /// The data directory.
    pub(crate) fn data(&self) -> PathBuf {
        self.dir.join("data")
    }

    /// What a Kerolox has said on standard error so far.
    pub(crate) fn said(&self) -> String {
        std::fs::read_to_string(self.dir.join("logs/kerolox.log")).unwrap_or_default()
    }

    pub(crate) fn broker(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], BROKER_PORT + self.offset))
    }

    pub(crate) fn namesrv(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], NAMESRV_PORT + self.offset))
    }

    fn script(&self, verb: &str) -> Result<Command> {
        let mut command = Command::new("tests/interop/server");
        command.arg(&self.dir).arg(verb).env("KEROLOX", std::path::absolute(binary())?);
        command.env("APACHE_LIB", &self.apache).env("APACHE_HEAP", "2g").stdin(Stdio::null());
        Ok(command)
    }

    /// Starts it and sends one message as often as it takes; the time from the start to the acknowledgement.
    pub(crate) fn start_to_first_send(&self) -> Result<Duration> {
        let begun = Instant::now();
        let mut starting = self.script("start")?.spawn()?;
        let sent = loop {
            if self.send_one().is_ok() {
                break begun.elapsed();
            }
            if starting.try_wait()?.is_some_and(|ended| !ended.success()) {
                bail!("the start failed");
            }
            if begun.elapsed() > START_WAIT {
                bail!("no send was acknowledged within {} s of the start", START_WAIT.as_secs());
            }
            std::thread::sleep(Duration::from_millis(1));
        };
        ensure!(starting.wait()?.success(), "the start failed");
        Ok(sent)
    }

    fn send_one(&self) -> Result<()> {
        let header = SendMessage {
            producer_group: "compare",
            topic: "FirstSend",
            default_topic: "TBW102",
            default_topic_queue_nums: 4,
            ..SendMessage::default()
        };
        let mut request = Request::request(RequestCode::SEND_MESSAGE_V2).with_body("first");
        header.encode_v2(&mut request.fields);
        Client::connect(self.broker())?.ask(request).map(drop)
    }

    pub(crate) fn stop(&self) -> Result<()> {
        ensure!(self.script("stop")?.status()?.success(), "the end failed");
        Ok(())
    }

    pub(crate) fn kill(&self) -> Result<()> {
        ensure!(self.script("kill")?.status()?.success(), "the kill failed");
        Ok(())
    }

    /// Everything, whatever state it is in.
    pub(crate) fn end(&self) {
        let _ = self.script("end").and_then(|mut script| Ok(script.status()?));
        let _ = std::fs::remove_dir_all(self.dir.join("data"));
    }

    pub(crate) fn pid(&self) -> Result<u32> {
        let text = std::fs::read_to_string(self.dir.join("broker.pid")).context("no broker runs")?;
        Ok(text.trim().parse()?)
    }

    /// The broker's process and, where it is apart, the name server's.
    fn pids(&self) -> Result<Vec<u32>> {
        let mut pids = vec![self.pid()?];
        if let Ok(text) = std::fs::read_to_string(self.dir.join("namesrv.pid")) {
            pids.push(text.trim().parse()?);
        }
        Ok(pids)
    }

    pub(crate) fn memory_mib(&self) -> Result<f64> {
        let mut kib = 0.0;
        for pid in self.pids()? {
            let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
            let line = status.lines().find_map(|l| l.strip_prefix("VmRSS:")).context("no VmRSS")?;
            kib += line.trim().trim_end_matches(" kB").trim().parse::<f64>()?;
        }
        Ok(kib / 1024.0)
    }

    /// User and system time of all its processes; the kernel counts in hundredths of a second.
    pub(crate) fn cpu_seconds(&self) -> Result<f64> {
        let mut ticks = 0.0;
        for pid in self.pids()? {
            let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
            let (_, fields) = stat.rsplit_once(") ").context("no process name")?;
            let numbers = fields.split(' ').skip(11).take(2).map(str::parse::<f64>);
            ticks += numbers.collect::<Result<Vec<_>, _>>()?.iter().sum::<f64>();
        }
        Ok(ticks / 100.0)
    }
}
