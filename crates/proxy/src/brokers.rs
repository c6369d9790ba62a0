//! Where the commands go that calls are made into: to the broker of the same process, or to brokers elsewhere.

use crate::status::Refusal;
use crate::v2::Code;
use kerolox_net::{DialError, Dialed};
use kerolox_wire::{Command, ResponseCode};
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};

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

/// The broker's ends of what [`local`] makes.
pub struct BrokerEnd {
    pub from_face: mpsc::UnboundedReceiver<ToBroker>,
    pub to_face: mpsc::UnboundedSender<FromBroker>,
}

/// The face's end, to be taken to its thread.
pub struct FaceEnd {
    broker: String,
    to: mpsc::UnboundedSender<ToBroker>,
    from: mpsc::UnboundedReceiver<FromBroker>,
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

/// What a broker asks of a client of its own accord.
pub(crate) type Asked = mpsc::UnboundedReceiver<Command>;

/// Answers that are waited for, by the request's number.
type Waiting = HashMap<i32, oneshot::Sender<Command>>;

/// A connection to the broker of the process.
struct Virtual {
    waiting: Waiting,
    asked: mpsc::UnboundedSender<Command>,
}

/// The switchboard of connections to the broker of the process.
pub(crate) struct Hub {
    pub(crate) broker: Rc<str>,
    to: mpsc::UnboundedSender<ToBroker>,
    open: RefCell<HashMap<u64, Virtual>>,
    next_conn: Cell<u64>,
    next_opaque: Cell<i32>,
}

impl Hub {
    pub(crate) fn new(end: FaceEnd) -> (Rc<Self>, mpsc::UnboundedReceiver<FromBroker>) {
        let hub = Self {
            broker: end.broker.into(),
            to: end.to,
            open: RefCell::default(),
            next_conn: Cell::new(1),
            next_opaque: Cell::new(1),
        };
        (Rc::new(hub), end.from)
    }

    /// Takes what the broker says.
    pub(crate) fn take(&self, from: FromBroker) {
        match from {
            FromBroker::Command { conn, command } => {
                let mut open = self.open.borrow_mut();
                let Some(connection) = open.get_mut(&conn) else { return };
                // Who gave up is not told.
                if !command.is_response() {
                    let _ = connection.asked.send(command);
                } else if let Some(waiter) = connection.waiting.remove(&command.opaque) {
                    let _ = waiter.send(command);
                }
            }
            FromBroker::Closed { conn } => drop(self.open.borrow_mut().remove(&conn)),
        }
    }

    fn connect(self: &Rc<Self>, peer: SocketAddr) -> (Link, Asked) {
        let conn = self.next_conn.replace(self.next_conn.get() + 1);
        let (asked, receiver) = mpsc::unbounded_channel();
        self.open.borrow_mut().insert(conn, Virtual { waiting: HashMap::new(), asked });
        self.say(ToBroker::Connected { conn, peer });
        (Link::Local { conn, hub: Rc::clone(self) }, receiver)
    }

    fn say(&self, what: ToBroker) {
        // Fails when the broker is gone: then the process ends, and all who wait with it.
        let _ = self.to.send(what);
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
    Local { conn: u64, hub: Rc<Hub> },
    Remote(Dialed),
}

impl Link {
    /// Sends a request and waits for its answer; `parked` is how long the request itself may wait.
    pub(crate) async fn call(&self, mut command: Command, parked: Duration) -> Result<Command, Refusal> {
        match self {
            Self::Local { conn, hub } => {
                let opaque = hub.next_opaque.replace(hub.next_opaque.get().wrapping_add(1));
                command.opaque = opaque;
                let (waiter, answer) = oneshot::channel();
                match hub.open.borrow_mut().get_mut(conn) {
                    Some(connection) => drop(connection.waiting.insert(opaque, waiter)),
                    None => return Err(gone()),
                }
                hub.say(ToBroker::Command { conn: *conn, command });
                answer.await.map_err(|_| gone())
            }
            Self::Remote(dialed) => {
                dialed.request(command, parked + ANSWER_WAIT).await.map_err(|e| unreachable(&e))
            }
        }
    }

    /// Sends a command that nobody answers.
    pub(crate) async fn tell(&self, command: Command) {
        match self {
            Self::Local { conn, hub } => hub.say(ToBroker::Command { conn: *conn, command }),
            // Whoever waits for what it leads to finds out.
            Self::Remote(dialed) => drop(dialed.send(command).await),
        }
    }

    pub(crate) fn is_closed(&self) -> bool {
        match self {
            Self::Local { conn, hub } => !hub.open.borrow().contains_key(conn),
            Self::Remote(dialed) => dialed.is_closed(),
        }
    }

    /// Nothing is sent any more, and nobody waits.
    pub(crate) fn close(&self) {
        if let Self::Local { conn, hub } = self
            && hub.open.borrow_mut().remove(conn).is_some()
        {
            hub.say(ToBroker::Disconnected { conn: *conn });
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
    pub(crate) async fn connect(&self, address: &str, peer: SocketAddr) -> Result<(Link, Asked), Refusal> {
        match self {
            Self::Local(hub) => Ok(hub.connect(peer)),
            Self::Remote(_) => {
                let (dialed, mut requests) =
                    Dialed::connect(address, ANSWER_WAIT).await.map_err(|e| unreachable(&e))?;
                let (asked, receiver) = mpsc::unbounded_channel();
                tokio::task::spawn_local(async move {
                    while let Some(command) = requests.recv().await {
                        let _ = asked.send(command);
                    }
                });
                Ok((Link::Remote(dialed), receiver))
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
