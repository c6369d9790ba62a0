//! Everything that can happen to a broker.

use kerolox_store::{DiskState, Position, ReadResult, Sealed};
use kerolox_wire::Command;
use std::net::SocketAddr;

/// A connection, named by the shell; never reused in a process's life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConnId(pub u64);

/// A read that the broker asked for with [`crate::Effect::Read`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ReadId(pub u64);

/// A question to a name server that the broker asked for with [`crate::Effect::AskNameServer`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct AskId(pub u64);

/// One thing that happened. Time comes beside it, as an argument of [`crate::Broker::handle`].
pub enum Input {
    /// A client connected.
    Connected { conn: ConnId, peer: SocketAddr },
    /// A frame came: a request, or the response to something that the broker asked the client.
    Command { conn: ConnId, command: Command },
    /// The connection is gone.
    Disconnected { conn: ConnId },
    /// The log's writer got this far.
    Written { written: Position, flushed: Position },
    /// A write or sync failed: nothing is acknowledged any more.
    WriteFailed { why: String },
    /// A read was executed.
    ReadDone { read: ReadId, result: ReadResult },
    /// A name server answered, or none did in time.
    NameServerAnswered { ask: AskId, answer: Option<Command> },
    /// An index run is on disk.
    Sealed(Sealed),
    /// Retention ran.
    Trimmed { min: Position, disk: DiskState },
    /// Time passed: due by [`crate::Broker::wake_ms`] at the latest.
    Tick,
    /// A clean end was asked for: writes are refused from now on, parked polls are released, the state is sealed.
    Shutdown,
}
