//! The gRPC face of a process: a thread of its own, so that handshakes and floods there do not hold up the broker, its certificate,
//! and the way between it and the broker.

use crate::broker::Shell;
use crate::clock::Clock;
use crate::report;
use crate::settings;
use anyhow::{Context, Result, anyhow, bail};
use kerolox_net::rustls::ServerConfig;
use kerolox_net::rustls::pki_types::pem::PemObject;
use kerolox_net::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use kerolox_net::{Connections, Tls, TlsPolicy, listen};
use kerolox_proxy::{BrokerEnd, Config, Face, FaceEnd, Listener, ToBroker};
use std::fs;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime};
use tokio::sync::mpsc;
use tokio::task::LocalSet;

/// How often it is looked whether the certificate's files changed.
const CERTIFICATE_EVERY: Duration = Duration::from_secs(5);
/// How long clients have to finish their calls and go elsewhere: a broker lets go of receives that wait, one elsewhere answers them when
/// their time is over.
const DRAIN_WAIT: Duration = Duration::from_secs(5);
const DRAIN_WAIT_APART: Duration = Duration::from_secs(25);

/// A face that runs.
pub(crate) struct Running {
    /// Dropped, or told: the end.
    stop: mpsc::UnboundedSender<()>,
    drained: mpsc::UnboundedReceiver<()>,
    drain_wait: Duration,
    thread: JoinHandle<()>,
}

impl Running {
    /// Starts the face on its own thread.
    ///
    /// # Errors
    /// The certificate cannot be read or made.
    pub(crate) fn start(
        settings: settings::Grpc,
        listener: std::net::TcpListener,
        broker: Option<FaceEnd>,
    ) -> Result<Self> {
        let tls = match settings.tls {
            TlsPolicy::Disabled => None,
            _ => Some(certificate(&settings)?),
        };
        let drain_wait = if broker.is_some() { DRAIN_WAIT } else { DRAIN_WAIT_APART };
        let (stop, stopped) = mpsc::unbounded_channel();
        let (done, drained) = mpsc::unbounded_channel();
        let thread = std::thread::Builder::new().name("grpc".to_owned()).spawn(move || {
            let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
                Ok(runtime) => runtime,
                Err(e) => return report::line(&format!("gRPC is not served: {e}")),
            };
            LocalSet::new().block_on(&runtime, serve(settings, listener, tls, broker, stopped, done));
        })?;
        Ok(Self { stop, drained, drain_wait, thread })
    }

    /// Clients are told to go elsewhere; returns when they are gone, or have had the time for it.
    pub(crate) async fn drain(&mut self) {
        // Fails where the thread is gone: so are the clients.
        let _ = self.stop.send(());
        let _ = tokio::time::timeout(self.drain_wait, self.drained.recv()).await;
    }

    /// Closes all connections.
    pub(crate) fn end(self) {
        drop(self.stop);
        // A panic there was reported there.
        let _ = self.thread.join();
    }
}

async fn serve(
    settings: settings::Grpc,
    listener: std::net::TcpListener,
    tls: Option<Arc<ServerConfig>>,
    broker: Option<FaceEnd>,
    mut stopped: mpsc::UnboundedReceiver<()>,
    done: mpsc::UnboundedSender<()>,
) {
    let listener = match tokio::net::TcpListener::from_std(listener) {
        Ok(listener) => listener,
        Err(e) => return report::line(&format!("gRPC is not served: {e}")),
    };
    let tls = tls.map_or_else(Tls::default, |config| Tls::new(settings.tls, config));
    let connections = Connections::with_tls(settings.limits.clone(), tls);
    let clock = Clock::default();
    let config = Config {
        port: settings.bind.port(),
        advertise: settings.advertise.clone(),
        body_bytes_max: settings.body_bytes_max,
        delay_ms_max: settings.delay_ms_max,
        check_message_types: settings.check_message_types,
        name_servers: settings.namesrv.clone(),
        http2: settings.http2.clone(),
        now_ms: Box::new(move || clock.now_ms()),
        report: Box::new(report::limited),
    };
    let face = match broker {
        Some(end) => Face::with_broker(config, Rc::clone(&connections), end),
        None => Face::apart(config, Rc::clone(&connections)),
    };
    if let Some((certificate, key)) = settings.certificate.clone() {
        tokio::task::spawn_local(follow(certificate, key, Rc::clone(&connections)));
    }
    let accept = tokio::task::spawn_local(listen(
        listener,
        Rc::clone(&connections),
        Rc::new(Listener(Rc::clone(&face))),
    ));
    if stopped.recv().await.is_some() {
        accept.abort();
        face.drain();
        tokio::select! {
            () = async { while !connections.is_empty() { tokio::time::sleep(Duration::from_millis(5)).await } } => {}
            _ = stopped.recv() => {}
        }
        let _ = done.send(());
        stopped.recv().await;
    }
    connections.close_all();
    // What was queued leaves; who does not take it is not waited for.
    tokio::time::sleep(Duration::from_millis(20)).await;
}

/// Takes the face's side of the broker's inputs, until the face is gone.
pub(crate) async fn take(shell: Rc<Shell>, mut from_face: mpsc::UnboundedReceiver<Vec<ToBroker>>) {
    while let Some(said) = from_face.recv().await {
        shell.take_from_face(said);
        // Others have their turn.
        tokio::task::yield_now().await;
    }
}

/// The broker's end of the way to its face.
pub(crate) fn connect(shell: &Rc<Shell>, end: BrokerEnd) {
    shell.set_face(end.to_face);
    tokio::task::spawn_local(take(Rc::clone(shell), end.from_face));
}

/// The certificate that the settings name, or one of our own making.
fn certificate(settings: &settings::Grpc) -> Result<Arc<ServerConfig>> {
    if let Some((certificate, key)) = &settings.certificate {
        return read(certificate, key);
    }
    let names = vec!["localhost".to_owned(), settings.bind.ip().to_string()];
    match &settings.data {
        None => {
            let (certificate, key) = make(names)?;
            config(certificate.as_bytes(), key.as_bytes())
        }
        Some(data) => {
            let folder = data.join("kerolox").join("tls");
            let (certificate, key) = (folder.join("certificate.pem"), folder.join("key.pem"));
            if !certificate.exists() || !key.exists() {
                let (certificate_text, key_text) = make(names)?;
                fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
                write(&key, &key_text)?;
                write(&certificate, &certificate_text)?;
            }
            read(&certificate, &key)
        }
    }
}

/// A key that others may not read.
fn write(path: &Path, text: &str) -> Result<()> {
    let shown = path.display();
    let mut file = fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path)
        .with_context(|| format!("cannot write {shown}"))?;
    file.write_all(text.as_bytes()).with_context(|| format!("cannot write {shown}"))?;
    file.sync_all().with_context(|| format!("cannot write {shown}"))
}

/// A certificate signed by itself, and its key: clients that check certificates are to be told to trust it.
fn make(names: Vec<String>) -> Result<(String, String)> {
    let made = rcgen::generate_simple_self_signed(names).context("cannot make a certificate")?;
    Ok((made.cert.pem(), made.signing_key.serialize_pem()))
}

fn read(certificate: &Path, key: &Path) -> Result<Arc<ServerConfig>> {
    let bytes = |path: &Path| fs::read(path).with_context(|| format!("cannot read {}", path.display()));
    config(&bytes(certificate)?, &bytes(key)?).with_context(|| {
        format!("the certificate {} and the key {} cannot be used", certificate.display(), key.display())
    })
}

fn config(certificate: &[u8], key: &[u8]) -> Result<Arc<ServerConfig>> {
    let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(certificate)
        .collect::<Result<_, _>>()
        .map_err(|e| anyhow!("the certificate is no PEM: {e}"))?;
    if chain.is_empty() {
        bail!("there is no certificate in it");
    }
    let key = PrivateKeyDer::from_pem_slice(key).map_err(|e| anyhow!("the key is no PEM: {e}"))?;
    let mut config = ServerConfig::builder().with_no_client_auth().with_single_cert(chain, key)?;
    config.alpn_protocols = vec![b"h2".to_vec()];
    Ok(Arc::new(config))
}

/// Takes over other certificates when their files change. What cannot be used is told, and the old one stays.
async fn follow(certificate: PathBuf, key: PathBuf, connections: Rc<Connections>) {
    let changed = |path: &Path| fs::metadata(path).and_then(|meta| meta.modified()).ok();
    let state = || -> [Option<SystemTime>; 2] { [changed(&certificate), changed(&key)] };
    let mut known = state();
    loop {
        tokio::time::sleep(CERTIFICATE_EVERY).await;
        let now = state();
        if now == known {
            continue;
        }
        match read(&certificate, &key) {
            Ok(config) => {
                known = now;
                connections.replace_certificate(config);
                report::line(&format!("the certificate {} was read again", certificate.display()));
            }
            // Both files may not be there yet: it is tried again.
            Err(e) => {
                report::line(&format!("the certificate was not read again, the old one is used: {e:#}"))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_certificate_is_told() {
        let (certificate, key) = make(vec!["localhost".to_owned()]).unwrap();
        config(certificate.as_bytes(), key.as_bytes()).unwrap();
        let (_, other) = make(vec!["localhost".to_owned()]).unwrap();
        for (certificate, key) in [("", &*key), (&*certificate, ""), ("x", "y"), (&*certificate, &*other)] {
            assert!(config(certificate.as_bytes(), key.as_bytes()).is_err());
        }
    }
}
