//! Where the commands go that calls are made into: to the broker of the same process, or to brokers elsewhere.

use crate::status::Refusal;
use crate::v2::Code;
use kerolox_net::{DialError, Dialed};
use kerolox_wire::{Command, ResponseCode};
use std::cell::{Cell, RefCell};
use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;
use tokio::sync::{Notify, mpsc, oneshot};

/// What the face tells the broker of its process. Connections are numbered by the face.
pub enum ToBroker {
    Connected {
        conn: u64,
        peer: SocketAddr,
    },
    Command {
        conn: u64,
        command: Command,
    },
    Disconnected {
        conn: u64,
    },
    /// A question to any name server.
    NameServer {
        command: Command,
        answer: oneshot::Sender<Option<Command>>,
    },
}

/// What the broker of the process tells the face.
pub enum FromBroker {
    Command { conn: u64, command: Command },
    Closed { conn: u64 },
}

/// So much is passed on at once at most, from either side: the other one can begin.
pub const AT_ONCE: usize = 64;

/// The broker's ends of what [`local`] makes. What comes together goes together: each side wakes the other's thread once for it.
pub struct BrokerEnd {
    pub from_face: mpsc::UnboundedReceiver<Vec<ToBroker>>,
    pub to_face: mpsc::UnboundedSender<Vec<FromBroker>>,
}

/// The face's end, to be taken to its thread.
pub struct FaceEnd {
    broker: String,
    to: mpsc::UnboundedSender<Vec<ToBroker>>,
    from: mpsc::UnboundedReceiver<Vec<FromBroker>>,
}

/// The way between a face and the broker of its process, which may run on other threads. What waits on it is bounded by the calls
/// that clients may have open.
pub fn local(broker: &str) -> (FaceEnd, BrokerEnd) {
    let (to, from_face) = mpsc::unbounded_channel();
    let (to_face, from) = mpsc::unbounded_channel();
    (FaceEnd { broker: broker.to_owned(), to, from }, BrokerEnd { from_face, to_face })
}

/// All brokers that there are for a face.
pub(crate) enum Brokers {
    Local(Rc<Hub>),
    Remote(Remote),
}

/// What a broker asks of a client of its own accord. (A channel of tokio's takes 5 KiB from the start, and most clients are never asked.)
#[derive(Default)]
pub(crate) struct Asked {
    queue: RefCell<VecDeque<Command>>,
    over: Cell<bool>,
    changed: Notify,
}

impl Asked {
    fn push(&self, command: Command) {
        self.queue.borrow_mut().push_back(command);
        self.changed.notify_one();
    }

    /// Nothing more is asked.
    fn end(&self) {
        self.over.set(true);
        self.changed.notify_one();
    }

    /// The next question; `None` at the end.
    pub(crate) async fn next(&self) -> Option<Command> {
        loop {
            if let Some(command) = self.queue.borrow_mut().pop_front() {
                return Some(command);
            }
            if self.over.get() {
                return None;
            }
            self.changed.notified().await;
        }
    }
}

/// Answers that are waited for, by the request's number.
type Waiting = HashMap<i32, oneshot::Sender<Command>>;

/// A connection to the broker of the process.
struct Virtual {
    waiting: Waiting,
    asked: Rc<Asked>,
    closed: bool,
}

impl Drop for Virtual {
    fn drop(&mut self) {
        self.asked.end();
    }
}

/// The switchboard of connections to the broker of the process.
pub(crate) struct Hub {
    pub(crate) broker: Rc<str>,
    to: mpsc::UnboundedSender<Vec<ToBroker>>,
    /// What was not passed on yet.
    said: RefCell<Vec<ToBroker>>,
    has_said: Notify,
    open: RefCell<HashMap<u64, Virtual>>,
    /// Connections that were closed since the last sweep, and before it.
    closing: RefCell<[Vec<u64>; 2]>,
    next_conn: Cell<u64>,
    next_opaque: Cell<i32>,
}

impl Hub {
    /// Takes and passes on what is said by tasks of its own.
    pub(crate) fn start(mut end: FaceEnd) -> Rc<Self> {
        let hub = Rc::new(Self {
            broker: end.broker.into(),
            to: end.to,
            said: RefCell::default(),
            has_said: Notify::new(),
            open: RefCell::default(),
            closing: RefCell::default(),
            next_conn: Cell::new(1),
            next_opaque: Cell::new(1),
        });
        let taker = Rc::clone(&hub);
        tokio::task::spawn_local(async move {
            while let Some(said) = end.from.recv().await {
                said.into_iter().for_each(|said| taker.take(said));
            }
        });
        let teller = Rc::clone(&hub);
        tokio::task::spawn_local(async move {
            loop {
                // A woken task runs after all that were woken before it: the calls that came together are passed on together.
                teller.has_said.notified().await;
                teller.tell();
            }
        });
        hub
    }

    fn take(&self, from: FromBroker) {
        match from {
            FromBroker::Command { conn, command } => {
                let mut open = self.open.borrow_mut();
                let Some(connection) = open.get_mut(&conn) else { return };
                // Who gave up is not told.
                if !command.is_response() {
                    connection.asked.push(command);
                } else if let Some(waiter) = connection.waiting.remove(&command.opaque) {
                    let _ = waiter.send(command);
                }
            }
            FromBroker::Closed { conn } => self.disconnect(conn),
        }
    }

    fn connect(self: &Rc<Self>, peer: SocketAddr) -> (Link, Rc<Asked>) {
        let conn = self.next_conn.replace(self.next_conn.get() + 1);
        let asked = Rc::<Asked>::default();
        let open = Virtual { waiting: HashMap::new(), asked: Rc::clone(&asked), closed: false };
        self.open.borrow_mut().insert(conn, open);
        self.say(ToBroker::Connected { conn, peer });
        (Link::Local { conn, hub: Rc::clone(self) }, asked)
    }

    fn disconnect(&self, conn: u64) {
        match self.open.borrow_mut().get_mut(&conn) {
            Some(open) if !open.closed => open.closed = true,
            _ => return,
        }
        self.say(ToBroker::Disconnected { conn });
        let [new, _] = &mut *self.closing.borrow_mut();
        new.push(conn);
    }

    /// Once a second: answers that were under way when a connection was closed have come by now. (Messages that were popped by them
    /// were given back.)
    pub(crate) fn sweep(&self) {
        let [new, old] = &mut *self.closing.borrow_mut();
        for conn in std::mem::replace(old, std::mem::take(new)) {
            self.open.borrow_mut().remove(&conn);
        }
    }

    fn say(&self, what: ToBroker) {
        let count = {
            let mut said = self.said.borrow_mut();
            said.push(what);
            said.len()
        };
        match count {
            AT_ONCE.. => self.tell(),
            _ => self.has_said.notify_one(),
        }
    }

    fn tell(&self) {
        let said = self.said.take();
        if !said.is_empty() {
            // Fails when the broker is gone: then the process ends, and all who wait with it.
            let _ = self.to.send(said);
        }
    }
}

/// Brokers that a name server knows.
pub(crate) struct Remote {
    name_servers: Vec<String>,
    dialed: RefCell<Option<Rc<Dialed>>>,
}

/// How long a broker or name server elsewhere may take, beyond what a request waits by itself.
const ANSWER_WAIT: Duration = Duration::from_secs(3);

/// A client's connection to one broker.
pub(crate) enum Link {
    Local {
        conn: u64,
        hub: Rc<Hub>,
    },
    Remote {
        dialed: Dialed,
        /// An answer did not come: whoever is at the other end, it is not to be relied on.
        lost: Cell<bool>,
    },
}

impl Link {
    /// Sends a request and waits for its answer; `parked` is how long the request itself may wait.
    pub(crate) async fn call(&self, mut command: Command, parked: Duration) -> Result<Command, Refusal> {
        match self {
            Self::Local { conn, hub } => {
                let opaque = hub.next_opaque.replace(hub.next_opaque.get().wrapping_add(1));
                command.opaque = opaque;
                let (waiter, answer) = oneshot::channel();
                match hub.open.borrow_mut().get_mut(conn).filter(|open| !open.closed) {
                    Some(open) => drop(open.waiting.insert(opaque, waiter)),
                    None => return Err(gone()),
                }
                hub.say(ToBroker::Command { conn: *conn, command });
                answer.await.map_err(|_| gone())
            }
            Self::Remote { dialed, lost } => {
                dialed.request(command, parked + ANSWER_WAIT).await.map_err(|e| {
                    lost.set(lost.get() || matches!(e, DialError::Timeout(_)));
                    unreachable(&e)
                })
            }
        }
    }

    /// Sends a command that nobody answers.
    pub(crate) async fn tell(&self, command: Command) {
        match self {
            Self::Local { conn, hub } => hub.say(ToBroker::Command { conn: *conn, command }),
            // Whoever waits for what it leads to finds out.
            Self::Remote { dialed, .. } => drop(dialed.send(command).await),
        }
    }

    pub(crate) fn is_closed(&self) -> bool {
        match self {
            Self::Local { conn, hub } => hub.open.borrow().get(conn).is_none_or(|open| open.closed),
            Self::Remote { dialed, lost } => lost.get() || dialed.is_closed(),
        }
    }

    /// Nothing is sent any more, and nobody waits.
    pub(crate) fn close(&self) {
        if let Self::Local { conn, hub } = self {
            hub.disconnect(*conn);
        }
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.close();
    }
}

fn gone() -> Refusal {
    Refusal::new(Code::InternalServerError, "the connection to the broker is closed")
}

fn unreachable(error: &DialError) -> Refusal {
    let code = match error {
        DialError::Timeout(_) => Code::ProxyTimeout,
        _ => Code::InternalServerError,
    };
    Refusal::new(code, format!("the broker cannot be asked: {error}"))
}

impl Brokers {
    pub(crate) fn remote(name_servers: Vec<String>) -> Self {
        Self::Remote(Remote { name_servers, dialed: RefCell::new(None) })
    }

    /// Connects a client to the broker at `address` (of no account for the one of the process).
    pub(crate) async fn connect(
        &self,
        address: &str,
        peer: SocketAddr,
    ) -> Result<(Link, Rc<Asked>), Refusal> {
        match self {
            Self::Local(hub) => Ok(hub.connect(peer)),
            Self::Remote(_) => {
                let (dialed, mut requests) =
                    Dialed::connect(address, ANSWER_WAIT).await.map_err(|e| unreachable(&e))?;
                let asked = Rc::<Asked>::default();
                let teller = Rc::clone(&asked);
                tokio::task::spawn_local(async move {
                    while let Some(command) = requests.recv().await {
                        teller.push(command);
                    }
                    teller.end();
                });
                Ok((Link::Remote { dialed, lost: Cell::new(false) }, asked))
            }
        }
    }

    /// Asks any name server.
    pub(crate) async fn name_server(&self, command: Command) -> Result<Command, Refusal> {
        let none = || Refusal::new(Code::InternalServerError, "no name server can be asked");
        match self {
            Self::Local(hub) => {
                let (answer, answered) = oneshot::channel();
                hub.say(ToBroker::NameServer { command, answer });
                answered.await.ok().flatten().ok_or_else(none)
            }
            Self::Remote(remote) => {
                let open = remote.dialed.borrow().clone().filter(|dialed| !dialed.is_closed());
                if let Some(open) = open
                    && let Ok(answer) = open.request(command.clone(), ANSWER_WAIT).await
                {
                    return Ok(answer);
                }
                for address in &remote.name_servers {
                    if let Ok((open, _)) = Dialed::connect(address.as_str(), ANSWER_WAIT).await
                        && let Ok(answer) = open.request(command.clone(), ANSWER_WAIT).await
                    {
                        *remote.dialed.borrow_mut() = Some(Rc::new(open));
                        return Ok(answer);
                    }
                }
                Err(none())
            }
        }
    }
}

/// The answer if it is a success, else what is to be told of it.
pub(crate) fn success(answer: Command) -> Result<Command, Refusal> {
    match answer.code == ResponseCode::SUCCESS.0 {
        true => Ok(answer),
        false => Err(Refusal::of(&answer)),
    }
}
