//! Everything that a broker can ask of its shell.

use crate::input::{AskId, ConnId, ReadId};
use kerolox_store::{ReadPlan, SealJob, WriteBatch};
use kerolox_wire::Command;

/// One thing to be done, in the order given.
pub enum Effect {
    /// Send a response, or a request of the broker's own, to a client. Dropped if the connection is gone.
    Send { conn: ConnId, command: Command },
    /// The same once every name server that can be reached was told of the topics as they are now.
    SendOnceRegistered { conn: ConnId, command: Command },
    /// Close a connection.
    Close { conn: ConnId },
    /// Write this to the log; sync as the policy says; report [`crate::Input::Written`].
    Write(WriteBatch),
    /// Execute on any thread; report [`crate::Input::ReadDone`]. `conn` is the client that waits for it, if one does.
    Read { read: ReadId, conn: Option<ConnId>, plan: ReadPlan },
    /// Once the log is flushed up to the job's position: let the keeper seal; report [`crate::Input::Sealed`].
    Seal(SealJob),
    /// Ask any name server this, and report [`crate::Input::NameServerAnswered`] in any case.
    AskNameServer { ask: AskId, command: Command },
    /// Topics or their settings changed: register with the name servers now rather than at the next beat.
    /// [`crate::Broker::registration`] gives the request.
    Register,
    /// The log is fenced: end the process after what was queued to clients is sent. Says why.
    Stop { why: String },
}

impl Effect {
    /// Bytes of the body that is to be sent, now or when a read is done: what a client makes the shell keep in memory.
    pub fn body_len(&self) -> usize {
        match self {
            Self::Send { command, .. } | Self::SendOnceRegistered { command, .. } => command.body.len(),
            Self::Read { conn: Some(_), plan, .. } => plan.answer_bytes(),
            _ => 0,
        }
    }
}
