//! How a broker begins and ends.

use super::apache;
use super::damage::{DAMAGE_LINES_MAX, DamageLines};
use super::patience;
use super::registration::{self, Timing};
use super::shell::{Shell, Threads};
use super::threads::{Disk, KeeperThread, ReaderThreads, WriterThread};
use crate::clock::{Clock, elapsed_ms};
use crate::settings;
use crate::{grpc, namesrv, report};
use anyhow::{Context, Result, anyhow, bail};
use kerolox_broker::{Adopted, Broker, Input, State};
use kerolox_net::{Connections, listen};
use kerolox_store::{FlushPolicy, Opened, Progress, ReadPlan, Reader, Report, Store};
use std::path::PathBuf;
use std::rc::Rc;
use std::time::{Duration, Instant};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

/// How long the end waits for answers to be taken and the log to be sealed.
const DRAIN_WAIT: Duration = Duration::from_secs(60);
/// A connection is closed once no request has come for so long: whoever was answered as the end began asks once more, and
/// version 4.9 of the Java client waits half a minute for a request that went lost with its connection.
const QUIET: Duration = Duration::from_millis(50);
/// It is closed after so long, whatever comes.
const QUIET_WAIT: Duration = Duration::from_millis(500);
/// How long clients have to take what was queued for them, once everything else is done.
const CLOSE_WAIT: Duration = Duration::from_secs(1);
/// How long the first registration is waited for before the broker calls itself ready without it.
const REGISTER_WAIT: Duration = Duration::from_secs(2);
/// How often a status line may come, when something happened.
const STATUS_EVERY: Duration = Duration::from_secs(10);
/// Recovery that takes longer says how far it is, this often.
const PROGRESS_EVERY: Duration = Duration::from_secs(1);

/// A broker that runs.
pub(crate) struct Running {
    pub(crate) shell: Rc<Shell>,
    connections: Rc<Connections>,
    namesrv: Option<Rc<namesrv::Shell>>,
    namesrv_addresses: Vec<String>,
    /// The tasks that register, one for each name server.
    registrations: Vec<JoinHandle<()>>,
    data: PathBuf,
    timer_file_bytes: u64,
    reader: Reader<Disk>,
    pub(crate) name: String,
    pub(crate) report: Report,
}

impl Running {
    /// Recovers the data directory and begins to serve on `listener`. Must run inside a `LocalSet`.
    pub(crate) async fn start(
        settings: settings::Broker,
        listener: TcpListener,
        namesrv: Option<Rc<namesrv::Shell>>,
    ) -> Result<Self> {
        let mut state = State::default();
        let Opened { store, mut writer, mut keeper, reader, report } = open(&settings, &mut state)?;
        let damage = DamageLines::new(report.segment_bytes_kept.unwrap_or(settings.store.segment_bytes));
        tell(&report, &settings, &damage);
        let (reports, from_threads) = mpsc::unbounded_channel();
        let now_ms = Clock::default().now_ms();
        let adopted = adopt(&settings, &mut state, &store, &reader).inspect_err(|_| {
            // Nothing was appended: whoever goes on with the directory, Apache say, finds it as after an end in order.
            if let Err(e) = keeper.close() {
                report::line(&format!("the log could not be closed: {e}"));
            }
        })?;
        let name = settings.broker.name.clone();
        let mut broker = Broker::new(settings.broker, now_ms, store, state);
        broker
            .take_over(now_ms, &adopted, &mut |batches| writer.write(batches, true))
            .map_err(|why| anyhow!("cannot put into the log what Apache RocketMQ left: {why}"))?;
        apache::tell(&adopted);
        for (name, value) in broker.changed_config() {
            report::line(&format!(
                "{name}={value} was set at run time and goes before the configuration file (an empty value takes it back)"
            ));
        }
        let connections = Connections::new(settings.limits);
        let threads = Threads {
            writer: WriterThread::start(writer, settings.store.flush, reports.clone())?,
            keeper: KeeperThread::start(keeper, reports.clone())?,
            readers: ReaderThreads::start(&reader, &reports)?,
        };
        let (asks, asked) = mpsc::unbounded_channel();
        let shell = Shell::new(broker, Rc::clone(&connections), threads, damage, asks);
        tokio::task::spawn_local(Rc::clone(&shell).finish_batches());
        tokio::task::spawn_local(Rc::clone(&shell).take_reports(from_threads));
        tokio::task::spawn_local(Rc::clone(&shell).tick());
        tokio::task::spawn_local(status(Rc::clone(&shell), Rc::clone(&connections)));
        tokio::task::spawn_local(listen(listener, Rc::clone(&connections), Rc::clone(&shell)));
        // What recovery left to be written goes out, and the first timer is set.
        shell.finish_batch();
        let timing = Timing { every: settings.register_every, timeout: settings.register_timeout };
        let mut registrations = Vec::new();
        if let Some(namesrv) = &namesrv {
            let task = registration::in_process(Rc::clone(&shell), Rc::clone(namesrv), timing);
            registrations.push(tokio::task::spawn_local(task));
        }
        let answers =
            registration::answer(Rc::clone(&shell), namesrv.clone(), settings.namesrv.clone(), asked);
        tokio::task::spawn_local(answers);
        for address in &settings.namesrv {
            let task = registration::remote(Rc::clone(&shell), address.clone(), timing);
            registrations.push(tokio::task::spawn_local(task));
        }
        if tokio::time::timeout(REGISTER_WAIT, shell.registered.notified()).await.is_err() {
            report::line("no name server has taken the registration yet: clients cannot find this broker");
        }
        Ok(Self {
            shell,
            connections,
            namesrv,
            namesrv_addresses: settings.namesrv,
            registrations,
            data: settings.data,
            timer_file_bytes: settings.timer_file_bytes,
            reader,
            name,
            report,
        })
    }

    /// Until the log is fenced; why.
    pub(crate) async fn stopped(&self) -> String {
        loop {
            if let Some(why) = self.shell.stopped() {
                return why;
            }
            self.shell.stop.notified().await;
        }
    }

    /// Ends cleanly: refuses writes, answers what waits, syncs and seals the log, releases the directory.
    /// `hurry` is resolved when somebody asks for the end a second time: then nobody is waited for but the disk.
    ///
    /// # Errors
    /// The log could not be closed: the next start recovers as after a crash.
    pub(crate) async fn end(
        self,
        mut face: Option<grpc::Running>,
        hurry: impl Future<Output = ()>,
    ) -> Result<()> {
        self.stop_registering();
        registration::leave(&self.shell, self.namesrv.as_deref(), &self.namesrv_addresses).await;
        self.shell.input(Input::Shutdown);
        self.shell.finish_batch();
        let end = async {
            if let Some(face) = &mut face {
                face.drain().await;
            }
            self.quiet_and_given_back().await;
        };
        tokio::select! {
            drained = tokio::time::timeout(DRAIN_WAIT, end) => {
                if drained.is_err() {
                    report::line(
                        "the time to drain is over; ending with work left, and without what Apache RocketMQ would need",
                    );
                }
            }
            () = hurry => report::line("asked again: ending now, without what Apache RocketMQ would need"),
        }
        self.connections.close_all();
        let _ = tokio::time::timeout(CLOSE_WAIT, self.closed()).await;
        if let Some(face) = face {
            face.end();
        }
        let threads = self.shell.take_threads().ok_or_else(|| anyhow!("ended twice"))?;
        drop(threads.readers);
        threads.writer.end();
        let mut keeper = threads.keeper.end().ok_or_else(|| anyhow!("the keeper is gone"))?;
        if let Some(why) = self.shell.stopped() {
            bail!("stopped: {why}");
        }
        keeper.close().map_err(|e| anyhow!("the log was synced but could not be closed: {e}"))
    }

    /// Name servers are told of nothing more but that the broker leaves.
    fn stop_registering(&self) {
        self.registrations.iter().for_each(JoinHandle::abort);
        self.shell.stop_registering();
    }

    async fn quiet_and_given_back(&self) {
        let _ = tokio::time::timeout(QUIET_WAIT, self.quiet()).await;
        self.settled().await;
        if self.shell.stopped().is_some() {
            return;
        }
        let given = self.shell.give_back(&self.reader);
        self.settled().await;
        if self.shell.stopped().is_none() {
            apache::give_back(&self.data, given, self.timer_file_bytes, self.shell.now_ms());
        }
    }

    async fn settled(&self) {
        while !self.shell.is_settled() && self.shell.stopped().is_none() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    async fn quiet(&self) {
        let mut seen = None;
        while !self.connections.is_empty() && seen != Some(self.connections.counters().commands_in) {
            seen = Some(self.connections.counters().commands_in);
            tokio::time::sleep(QUIET).await;
        }
    }

    async fn closed(&self) {
        while !self.connections.is_empty() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    /// Lets what was queued for clients go out, after the log was fenced.
    pub(crate) async fn abandon(self) {
        self.stop_registering();
        self.connections.close_all();
        let _ = tokio::time::timeout(CLOSE_WAIT, self.closed()).await;
    }
}

fn open(settings: &settings::Broker, state: &mut State) -> Result<Opened<Disk>> {
    let shown = settings.data.display();
    let begun = Instant::now();
    let mut last = begun;
    let mut progress = |progress: Progress| {
        if last.elapsed() >= PROGRESS_EVERY {
            last = Instant::now();
            let Progress { step, done, total } = progress;
            report::line(&format!("recovering {shown}: {step}, {done} of {total}"));
        }
    };
    let disk = Disk::new(&settings.data);
    kerolox_store::open(disk, &settings.store, state, &mut progress)
        .with_context(|| format!("cannot open the data directory {shown}"))
}

/// Makes what Apache RocketMQ left a part of the state, in memory.
fn adopt(
    settings: &settings::Broker,
    state: &mut State,
    store: &Store,
    reader: &Reader<Disk>,
) -> Result<Adopted> {
    let files = apache::read(&settings.data, state)?;
    let mut read = |plan: &ReadPlan| patience::read(elapsed_ms() + patience::START_MS, reader, plan);
    let adopted = state
        .adopt(&settings.broker, store, &files, &mut read)
        .map_err(|why| anyhow!("cannot take over what Apache RocketMQ left: {why}"))?;
    state.check(&settings.broker).map_err(|why| anyhow!(why))?;
    Ok(adopted)
}

/// What recovery found that somebody should know.
fn tell(report: &Report, settings: &settings::Broker, damage: &DamageLines) {
    for found in &report.damaged {
        damage.say(found);
    }
    for (position, why) in report.state_errors.iter().take(DAMAGE_LINES_MAX) {
        report::line(&format!("a state record at position {position} of the log was not understood: {why}"));
    }
    if let Some(bytes) = report.segment_bytes_kept {
        let wanted = settings.store.segment_bytes;
        report::line(&format!(
            "warning: the log keeps its segments of {bytes} bytes; mappedFileSizeCommitLog={wanted} counts for a new log only"
        ));
    }
    if let (FlushPolicy::Async { interval_ms }, false) =
        (settings.store.flush, report.clean || report.without_frontier)
    {
        report::line(&format!(
            "asynchronous flush, and the last end was not a clean one: a kill loses nothing; if the power failed, what was \
             acknowledged in the last {interval_ms} ms (flushIntervalCommitLog) before the last acknowledgement may be \
             lost, at most {} bytes; the log goes on at position {}",
            report.missing_bytes_max, report.log_max
        ));
    }
    if report.without_frontier && report.log_max > 0 {
        report::line(
            "warning: the data directory has no frontier: how far the log was synced had to be guessed from the log itself",
        );
    }
}

/// A line now and then about what happens, while something happens.
async fn status(shell: Rc<Shell>, connections: Rc<Connections>) {
    let mut ticks = tokio::time::interval(STATUS_EVERY);
    ticks.tick().await;
    let mut before = shell.counters();
    loop {
        ticks.tick().await;
        let now = shell.counters();
        let (sent, pulled) = (now.sent - before.sent, now.pulled - before.pulled);
        before = now;
        if sent + pulled > 0 {
            let seconds = STATUS_EVERY.as_secs();
            report::line(&format!(
                "{} sends/s, {} messages/s to consumers, {} connections",
                sent / seconds,
                pulled / seconds,
                connections.len()
            ));
        }
    }
}
