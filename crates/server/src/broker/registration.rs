//! Telling name servers where the broker is and what topics it has.

use super::shell::{Asker, Shell};
use crate::{namesrv, report};
use kerolox_broker::Input;
use kerolox_net::Dialed;
use kerolox_wire::body::{self, DataVersion};
use kerolox_wire::header::QueryDataVersionResponse;
use kerolox_wire::{Command, ResponseCode};
use std::rc::Rc;
use std::time::{Duration, Instant};
use tokio::sync::{mpsc, watch};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// Wait after the first failure; doubled after each further one.
const RETRY_FIRST: Duration = Duration::from_millis(100);
const RETRY_MAX: Duration = Duration::from_secs(5);
/// Pause before a connection that ended is made again.
const RECONNECT: Duration = Duration::from_secs(1);
/// How long a name server may take to answer that the broker is leaving.
const LEAVE_TIMEOUT: Duration = Duration::from_secs(1);
/// The same for a question of the broker's.
const ASK_TIMEOUT: Duration = Duration::from_secs(1);

/// Where a registration takes the loop longer than this, further ones are made rarely enough to take at most a tenth of its
/// time, however fast topics are created.
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

/// A connection to a name server, and what it was told.
#[derive(Default)]
struct Session {
    dialed: Option<Dialed>,
    told: Option<DataVersion>,
}

/// Registers with the name server of this process at once, whenever something changed, and at intervals.
pub(crate) async fn in_process(broker: Rc<Shell>, namesrv: Rc<namesrv::Shell>, timing: Timing) {
    let mut changes = broker.registrations();
    let number = broker.add_name_server();
    let mut told = None;
    loop {
        changes.mark_unchanged();
        let begun = Instant::now();
        let ask = async |request| {
            // Others have their turn between two parts.
            tokio::task::yield_now().await;
            Ok(namesrv.ask(&request))
        };
        let whole = namesrv.drops_what_is_not_named();
        if let Err(why) = tell(&broker, &mut told, whole, ask).await {
            report::line(&format!("registration was refused: {why}"));
        }
        broker.note_registered(number, told);
        tokio::time::sleep(pause(begun.elapsed())).await;
        let _ = tokio::time::timeout(timing.every, changes.changed()).await;
    }
}

/// The same with a name server at an address, which may be a name that resolves anew each time.
pub(crate) async fn remote(broker: Rc<Shell>, address: String, timing: Timing) {
    let mut changes = broker.registrations();
    let number = broker.add_name_server();
    let mut session = Session::default();
    let mut retry = RETRY_FIRST;
    let mut failed = false;
    loop {
        changes.mark_unchanged();
        match register(&broker, &address, &mut session, timing.timeout).await {
            Ok(took) => {
                if std::mem::take(&mut failed) {
                    report::line(&format!("registered with name server {address} again"));
                }
                retry = RETRY_FIRST;
                broker.note_registered(number, session.told);
                tokio::time::sleep(pause(took)).await;
                wait(&mut changes, &session, timing.every).await;
            }
            Err(why) => {
                session = Session::default();
                broker.note_registered(number, None);
                if !std::mem::replace(&mut failed, true) {
                    report::line(&format!("cannot register with name server {address}: {why}; trying again"));
                }
                tokio::time::sleep(retry).await;
                retry = (retry * 2).min(RETRY_MAX);
            }
        }
    }
}

/// Until a registration is wanted, or is due, or the connection has ended: with it the name server has forgotten the broker, if it is
/// there at all.
async fn wait(changes: &mut watch::Receiver<u64>, session: &Session, every: Duration) {
    let ended = async {
        match &session.dialed {
            Some(dialed) => dialed.closed().await,
            None => std::future::pending().await,
        }
        // One that ends each of them must not be asked without a pause.
        tokio::time::sleep(RECONNECT).await;
    };
    tokio::select! {
        _ = tokio::time::timeout(every, changes.changed()) => {}
        () = ended => {}
    }
}

async fn register(
    broker: &Shell,
    address: &str,
    session: &mut Session,
    timeout: Duration,
) -> Result<Duration, String> {
    let open = match session.dialed.take().filter(|d| !d.is_closed()) {
        Some(open) => open,
        None => {
            // For the name server the broker goes with the connection over which it registered.
            session.told = None;
            Dialed::connect(address, CONNECT_TIMEOUT).await.map_err(|e| e.to_string())?.0
        }
    };
    let ask = async |request| open.request(request, timeout).await.map_err(|e| e.to_string());
    let took = tell(broker, &mut session.told, false, ask).await?;
    session.dialed = Some(open);
    Ok(took)
}

/// Tells a name server what it does not know yet, and that the broker lives; how long that took the loop. `told` is what it
/// was told last; `whole` as of [`kerolox_broker::Broker::registration`].
async fn tell(
    broker: &Shell,
    told: &mut Option<DataVersion>,
    whole: bool,
    ask: impl AsyncFn(Command) -> Result<Command, String>,
) -> Result<Duration, String> {
    let target = broker.topics_version();
    let before = match told.take() {
        Some(version) => {
            let answer = ask(broker.version_query()).await?;
            if answer.code == ResponseCode::SUCCESS.0 && !is_changed(&answer) {
                *told = Some(target);
                return Ok(Duration::ZERO);
            }
            // It may have forgotten everything, or somebody else told it something.
            Some(version).filter(|version| known(&answer) == Some(*version))
        }
        None => None,
    };
    let mut version = before;
    let mut took = Duration::ZERO;
    // What changes meanwhile has its turn later.
    while version.is_none_or(|version| version.counter < target.counter) {
        let begun = Instant::now();
        let (request, next) = broker.registration(version, whole);
        took += begun.elapsed();
        let answer = ask(request).await?;
        if answer.code != ResponseCode::SUCCESS.0 {
            return Err(refusal(&answer));
        }
        version = Some(next);
    }
    *told = version;
    Ok(took)
}

/// What a name server answers to the question whether it knows the topics' version.
fn is_changed(answer: &Command) -> bool {
    answer.header::<QueryDataVersionResponse>().is_ok_and(|header| header.changed)
}

/// The version that it does know, if any.
fn known(answer: &Command) -> Option<DataVersion> {
    body::from_json(&answer.body).ok()
}

/// Asks name servers what the broker and its face want to know, one question after the other. Runs until the broker is gone.
pub(crate) async fn answer(
    broker: Rc<Shell>,
    namesrv: Option<Rc<namesrv::Shell>>,
    addresses: Vec<String>,
    mut asked: mpsc::UnboundedReceiver<(Asker, Command)>,
) {
    let mut dialed = None;
    while let Some((asker, command)) = asked.recv().await {
        let answer = match &namesrv {
            Some(namesrv) => Some(namesrv.ask(&command)),
            None => ask_any(&addresses, &mut dialed, &command).await,
        };
        match asker {
            Asker::Broker(ask) => broker.input(Input::NameServerAnswered { ask, answer }),
            // Who gave up is not told.
            Asker::Face(waiter) => drop(waiter.send(answer)),
        }
    }
}

/// The first answer that one of them gives; the one that gave it is asked first the next time.
async fn ask_any(addresses: &[String], dialed: &mut Option<Dialed>, command: &Command) -> Option<Command> {
    if let Some(open) = dialed.take().filter(|open| !open.is_closed())
        && let Ok(answer) = open.request(command.clone(), ASK_TIMEOUT).await
    {
        *dialed = Some(open);
        return Some(answer);
    }
    for address in addresses {
        if let Ok((open, _)) = Dialed::connect(address.as_str(), ASK_TIMEOUT).await
            && let Ok(answer) = open.request(command.clone(), ASK_TIMEOUT).await
        {
            *dialed = Some(open);
            return Some(answer);
        }
    }
    None
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
