//! How bytes travel: frames over TCP, with TLS or without, in and out.
//!
//! [`listen`] accepts connections and hands all frames ([`Piece`]s) that one read of a socket brought to a [`Handler`] as one
//! batch. Answers go through [`Connections::send`] into the connection's outbox and leave with
//! [`Connections::flush`], one vectored write for all of a batch. Everything runs on one thread (a `LocalSet` of a
//! current-thread runtime), so that the owner can decide and answer without a hop.
//!
//! [`Dialed`] is the other side: requests and their responses over one connection, with timeouts.
//!
//! Nothing here knows what a command means. Every buffer has a limit, named in [`Limits`].

mod connections;
mod dialer;
mod limits;
mod listener;
mod outbox;
mod tls;

pub use connections::{Closed, ConnId, Connections, Counters};
pub use dialer::{DialError, Dialed};
pub use limits::Limits;
pub use listener::{Handler, Piece, listen};
pub use rustls;
pub use tls::{Tls, TlsPolicy};
