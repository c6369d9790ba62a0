//! Telling name servers where the broker is and what topics it has.

use super::shell::Shell;
use crate::{namesrv, report};
use kerolox_net::Dialed;
use kerolox_wire::{Command, ResponseCode};
use std::rc::Rc;
use std::time::{Duration, Instant};
use tokio::sync::watch;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// Wait after the first failure; doubled after each further one.
const RETRY_FIRST: Duration = Duration::from_millis(100);
const RETRY_MAX: Duration = Duration::from_secs(5);
/// How long a name server may take to answer that the broker is leaving.
const LEAVE_TIMEOUT: Duration = Duration::from_secs(1);

/// A registration names all topics: where it takes the loop longer than this, further ones are made rarely enough to take
/// at most a tenth of its time, however fast topics are created.
const LONG: Duration = Duration::from_millis(2);
const PAUSE_FACTOR: u32 = 9;
const PAUSE_MAX: Duration = Duration::from_secs(2);

/// How long to wait after a registration that took the loop so long.
fn pause(took: Duration) -> Duration {
    if took < LONG { Duration::ZERO } else { (took * PAUSE_FACTOR).min(PAUSE_MAX) }
}

#[derive(Clone, Copy)]
pub(crate) struct Timing {
    pub(crate) every: Duration,
    pub(crate) timeout: Duration,
}

/// Registers with the name server of this process at once, whenever something changed, and at intervals.
pub(crate) async fn in_process(broker: Rc<Shell>, namesrv: Rc<namesrv::Shell>, timing: Timing) {
    let mut changes = broker.registrations();
    loop {
        changes.mark_unchanged();
        let begun = Instant::now();
        let answer = namesrv.ask(&broker.registration());
        let took = begun.elapsed();
        if answer.code != ResponseCode::SUCCESS.0 {
            report::line(&format!("registration was refused: {}", refusal(&answer)));
        }
        broker.note_registered();
        tokio::time::sleep(pause(took)).await;
        let _ = tokio::time::timeout(timing.every, changes.changed()).await;
    }
}

/// The same with a name server at an address, which may be a name that resolves anew each time.
pub(crate) async fn remote(broker: Rc<Shell>, address: String, timing: Timing) {
    let mut changes = broker.registrations();
    let mut dialed = None;
    let mut retry = RETRY_FIRST;
    let mut failed = false;
    loop {
        changes.mark_unchanged();
        match register(&broker, &address, &mut dialed, timing.timeout).await {
            Ok(took) => {
                if std::mem::take(&mut failed) {
                    report::line(&format!("registered with name server {address} again"));
                }
                retry = RETRY_FIRST;
                broker.note_registered();
                tokio::time::sleep(pause(took)).await;
                wait(&mut changes, timing.every).await;
            }
            Err(why) => {
                dialed = None;
                if !std::mem::replace(&mut failed, true) {
                    report::line(&format!("cannot register with name server {address}: {why}; trying again"));
                }
                tokio::time::sleep(retry).await;
                retry = (retry * 2).min(RETRY_MAX);
            }
        }
    }
}

async fn wait(changes: &mut watch::Receiver<u64>, time: Duration) {
    let _ = tokio::time::timeout(time, changes.changed()).await;
}

async fn register(
    broker: &Shell,
    address: &str,
    dialed: &mut Option<Dialed>,
    timeout: Duration,
) -> Result<Duration, String> {
    // Registers at intervals much longer than a connection may be idle: a closed one is no failure.
    let open = match dialed.take().filter(|d| !d.is_closed()) {
        Some(open) => open,
        None => Dialed::connect(address, CONNECT_TIMEOUT).await.map_err(|e| e.to_string())?.0,
    };
    let begun = Instant::now();
    let request = broker.registration();
    let took = begun.elapsed();
    let answer = open.request(request, timeout).await.map_err(|e| e.to_string())?;
    *dialed = Some(open);
    if answer.code == ResponseCode::SUCCESS.0 { Ok(took) } else { Err(refusal(&answer)) }
}

fn refusal(answer: &Command) -> String {
    format!("{:?} {}", ResponseCode(answer.code), answer.remark.as_deref().unwrap_or_default())
}

/// Tells the name servers that the broker leaves, so that clients stop choosing it.
pub(crate) async fn leave(broker: &Shell, namesrv: Option<&namesrv::Shell>, addresses: &[String]) {
    let request = broker.unregistration();
    if let Some(namesrv) = namesrv {
        namesrv.ask(&request);
    }
    for address in addresses {
        let told = async {
            let (dialed, _) = Dialed::connect(address.as_str(), LEAVE_TIMEOUT).await.ok()?;
            dialed.request(request.clone(), LEAVE_TIMEOUT).await.ok()
        };
        // A name server that cannot be told finds out by itself.
        let _ = tokio::time::timeout(LEAVE_TIMEOUT, told).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A hundred thousand new topics, each followed by a registration that names all, kept the loop for an hour.
    #[test]
    fn long_registrations_are_rare() {
        assert_eq!(pause(Duration::from_micros(1_999)), Duration::ZERO);
        assert_eq!(pause(Duration::from_millis(10)), Duration::from_millis(90));
        assert_eq!(pause(Duration::from_secs(1)), PAUSE_MAX);
    }
}
