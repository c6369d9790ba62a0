//! The kinds of process: a name server, a broker, both, a gRPC face; and a broker has a face too.

use crate::broker;
use crate::{cli, grpc, namesrv, report, settings};
use anyhow::{Context, Result, bail};
use kerolox_net::{Connections, Limits, listen};
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::rc::Rc;
use std::time::{Duration, Instant};
use tokio::net::{TcpListener, TcpSocket};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::task::LocalSet;

pub(crate) fn standalone(args: &cli::Standalone) -> Result<()> {
    let (namesrv, broker, grpc, warnings) = settings::standalone(args)?;
    serve(Parts { namesrv: Some(namesrv), broker: Some(broker), grpc }, &warnings)
}

pub(crate) fn namesrv(args: &cli::Namesrv) -> Result<()> {
    let (namesrv, warnings) = settings::namesrv(args)?;
    serve(Parts { namesrv: Some(namesrv), ..Parts::default() }, &warnings)
}

pub(crate) fn broker(args: &cli::Broker) -> Result<()> {
    let (broker, grpc, warnings) = settings::broker(args)?;
    serve(Parts { broker: Some(broker), grpc, ..Parts::default() }, &warnings)
}

pub(crate) fn proxy(args: &cli::Proxy) -> Result<()> {
    let (grpc, warnings) = settings::proxy(args)?;
    serve(Parts { grpc: Some(grpc), ..Parts::default() }, &warnings)
}

/// What a process is to have.
#[derive(Default)]
struct Parts {
    namesrv: Option<settings::Namesrv>,
    broker: Option<settings::Broker>,
    grpc: Option<settings::Grpc>,
}

fn serve(mut parts: Parts, warnings: &[String]) -> Result<()> {
    let begun = Instant::now();
    for warning in warnings {
        report::line(&format!("warning: {warning}"));
    }
    let data = parts.broker.as_ref().map(|broker| broker.data.clone());
    let listeners = [
        parts.namesrv.as_mut().map(|n| &mut n.limits),
        parts.broker.as_mut().map(|b| &mut b.limits),
        parts.grpc.as_mut().map(|g| &mut g.limits),
    ];
    let clamped = leave_files(data.as_deref(), listeners.into_iter().flatten().collect());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let result = LocalSet::new().block_on(&runtime, process(parts, clamped, begun));
    // A name that is being resolved must not hold up the end.
    runtime.shutdown_timeout(Duration::from_millis(10));
    result
}

async fn process(parts: Parts, clamped: Option<String>, begun: Instant) -> Result<()> {
    let Parts { namesrv, broker, grpc } = parts;
    let mut signals = Signals::new()?;
    let binds =
        [namesrv.as_ref().map(|n| n.bind), broker.as_ref().map(|b| b.bind), grpc.as_ref().map(|g| g.bind)];
    let mut ready = Vec::new();
    // Ports first: that one is in use should not be found out after a long recovery.
    let broker_listener = match &broker {
        Some(broker) => Some(bind(broker.bind, "broker")?),
        None => None,
    };
    let grpc = match grpc {
        Some(settings) => bind_grpc(&settings)?.map(|listener| (settings, listener)),
        None => None,
    };
    let namesrv = match namesrv {
        Some(settings) => {
            ready.push(format!("name server {}", settings.bind));
            Some(start_namesrv(settings)?)
        }
        None => None,
    };
    let mut running = None;
    if let (Some(settings), Some(listener)) = (broker, broker_listener) {
        let config = &settings.broker;
        ready.push(format!("broker {} at {}", config.name, settings.bind));
        if config.address != settings.bind.to_string() {
            ready.push(format!("advertised as {}", config.address));
        }
        ready.push(format!("data {}", settings.data.display()));
        let started = broker::Running::start(settings, listener, namesrv).await?;
        ready.extend(recovered(&started.report));
        running = Some(started);
    }
    let face = match grpc {
        Some((settings, listener)) => {
            ready.push(format!("gRPC {}", settings.bind));
            Some(start_face(settings, listener, running.as_ref())?)
        }
        None => None,
    };
    warn_of_open(binds.into_iter().flatten());
    if let Some(warning) = clamped {
        report::line(&warning);
    }
    say_ready(&ready, begun.elapsed());
    let Some(running) = running else {
        signals.next().await;
        if let Some(mut face) = face {
            tokio::select! {
                () = face.drain() => {}
                () = signals.next() => report::line("asked again: ending now"),
            }
            face.end();
        }
        report::line("stopped");
        return Ok(());
    };
    tokio::select! {
        () = signals.next() => {
            running.end(face, async { signals.next().await }).await?;
            report::line("stopped cleanly");
            Ok(())
        }
        why = running.stopped() => {
            running.abandon().await;
            bail!("stopped: {why}");
        }
    }
}

fn warn_of_open(mut binds: impl Iterator<Item = SocketAddr>) {
    if let Some(open) = binds.find(|bind| !bind.ip().is_loopback()) {
        report::line(&format!(
            "warning: listening on {} without access control: whoever can connect may read and write everything",
            open.ip()
        ));
    }
}

fn start_face(
    settings: settings::Grpc,
    listener: std::net::TcpListener,
    broker: Option<&broker::Running>,
) -> Result<grpc::Running> {
    let broker = broker.map(|broker| {
        let (face_end, broker_end) = kerolox_proxy::local(&broker.name);
        grpc::connect(&broker.shell, broker_end);
        face_end
    });
    grpc::Running::start(settings, listener, broker)
}

/// The port of gRPC; `None` where it is in use and nobody asked for it: several brokers may share a machine.
fn bind_grpc(settings: &settings::Grpc) -> Result<Option<std::net::TcpListener>> {
    match bind(settings.bind, "gRPC face").and_then(|listener| Ok(listener.into_std()?)) {
        Ok(listener) => Ok(Some(listener)),
        Err(e) if settings.wanted => Err(e),
        Err(e) => {
            report::line(&format!("warning: gRPC is not served: {e:#} (or set grpcServerPort, 0 for none)"));
            Ok(None)
        }
    }
}

fn start_namesrv(settings: settings::Namesrv) -> Result<Rc<namesrv::Shell>> {
    let listener = bind(settings.bind, "name server")?;
    let connections = Connections::new(settings.limits);
    let shell = namesrv::Shell::new(settings.config, settings.kv_path, Rc::clone(&connections))?;
    tokio::task::spawn_local(listen(listener, connections, Rc::clone(&shell)));
    tokio::task::spawn_local(Rc::clone(&shell).tick());
    Ok(shell)
}

/// Connections that the kernel keeps until they are accepted: with the usual 128, most of the clients that come back at
/// once after a restart wait for a second or more. The kernel cuts it to its own limit.
const BACKLOG: u32 = 4096;

fn listen_on(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    // As `TcpListener::bind` does: a port whose last connections linger can be used again.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

fn bind(address: SocketAddr, what: &str) -> Result<TcpListener> {
    let hint = |e: &io::Error| match e.kind() {
        io::ErrorKind::AddrInUse => {
            "; stop the process that uses this port, or shift all ports with --port-offset N"
        }
        io::ErrorKind::AddrNotAvailable => "; --listen must be an address of this machine",
        io::ErrorKind::PermissionDenied => "; ports below 1024 need privileges: choose another",
        _ => "",
    };
    match listen_on(address) {
        Ok(listener) => Ok(listener),
        Err(e) => bail!("the {what} cannot listen on {address}: {e}{}", hint(&e)),
    }
}

/// What recovery did, where a person would want to know.
fn recovered(report: &kerolox_store::Report) -> Vec<String> {
    let mut notes = Vec::new();
    if !report.clean {
        notes.push(format!("recovered ({} bytes of an unfinished write cut off)", report.truncated_bytes));
    }
    if !report.damaged.is_empty() {
        notes.push(format!("{} DAMAGED records set apart", report.damaged.len()));
    }
    notes
}

fn say_ready(parts: &[String], elapsed: Duration) {
    use io::Write;
    let version = env!("CARGO_PKG_VERSION");
    let millis = elapsed.as_secs_f64() * 1e3;
    let mut out = io::stdout().lock();
    // A closed standard output is no reason not to serve.
    let _ = writeln!(out, "kerolox {version} ready in {millis:.0} ms: {}", parts.join(", "));
    let _ = out.flush();
}

/// The signals that ask for the end.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn new() -> Result<Self> {
        let listen = |kind| signal(kind).context("cannot listen for signals");
        Ok(Self { terminate: listen(SignalKind::terminate())?, interrupt: listen(SignalKind::interrupt())? })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

/// Raises the limit of open files as far as this user may, and keeps enough of them from connections: a log that cannot open its
/// next segment is fenced. What somebody should know of it.
fn leave_files(data: Option<&Path>, listeners: Vec<&mut Limits>) -> Option<String> {
    let files = raise_file_limit()?;
    let segments = data.and_then(|data| std::fs::read_dir(data.join("commitlog")).ok());
    let most = connections_max(files, segments.map_or(0, Iterator::count), listeners.len());
    for limits in listeners {
        limits.connections_max = limits.connections_max.min(most);
    }
    (most < FEW_CONNECTIONS).then(|| {
        format!("warning: this process may open {files} files at most (ulimit -n): enough for {most} connections of each listener")
    })
}

/// Files that are not connections, beside the segments that there are: new segments, index runs, the rest of the program.
const OTHER_FILES: usize = 1024;

/// Fewer than so many for each listener are worth a line at start; otherwise the one that is refused is.
const FEW_CONNECTIONS: usize = 4096;

/// Connections of each listener for which there are files enough.
fn connections_max(files: usize, segments: usize, listeners: usize) -> usize {
    let others = (OTHER_FILES + segments).min(files / 2);
    (files - others) / listeners.max(1)
}

/// As many open files as this user may have: how many, if there is a limit.
fn raise_file_limit() -> Option<usize> {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    let files = if setrlimit(Resource::Nofile, raised).is_ok() { limit.maximum } else { limit.current };
    files.and_then(|files| usize::try_from(files).ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpStream;

    #[test]
    fn connections_leave_files_to_the_log() {
        assert_eq!(connections_max(1 << 20, 10, 2), 523_771);
        assert_eq!(connections_max(4_096, 72, 2), 1_500);
        assert_eq!(connections_max(1_024, 5, 1), 512, "half of what there is, at most");
    }

    /// 128 fitted, and clients beyond them tried again after a second, then three, then seven.
    #[test]
    fn many_clients_may_come_at_once() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let listener = runtime.block_on(async { listen_on("127.0.0.1:0".parse().unwrap()) }).unwrap();
        let address = listener.local_addr().unwrap();
        let most = std::fs::read_to_string("/proc/sys/net/core/somaxconn").ok();
        let most: usize = most.and_then(|text| text.trim().parse().ok()).unwrap_or(128);
        // Nobody accepts them.
        let connect = |_| TcpStream::connect_timeout(&address, Duration::from_millis(900)).unwrap();
        let open: Vec<TcpStream> = (0..most.min(500)).map(connect).collect();
        assert_eq!(open.len(), most.min(500));
    }
}
