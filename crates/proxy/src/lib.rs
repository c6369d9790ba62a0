//! The gRPC face: protobuf calls become commands, for the broker of the same process or for brokers elsewhere.
//!
//! [`http2`] makes calls of frames; [`Face`] finds out whose a call is and begins it (`calls`); a call asks brokers by commands, each
//! client over connections of its own as if it were a client of Remoting (`client`, `brokers`), and answers. Nothing that matters
//! is kept here: receipts and transaction ids carry all that is needed (`handle`, `transaction_id`), so that any face can go on for
//! any other, and for itself after a restart.

mod asked;
mod brokers;
mod calls;
mod check;
mod client;
mod face;
mod handle;
pub mod http2;
mod known;
mod message;
mod renew;
mod status;
mod transaction_id;

pub use brokers::{AT_ONCE, BrokerEnd, FaceEnd, FromBroker, ToBroker, local};
pub use face::{Config, Counters, Face, Listener};

/// The calls and their contents, as `proto/` defines them.
#[allow(missing_docs, clippy::all, unreachable_pub)]
pub mod v2 {
    include!(concat!(env!("OUT_DIR"), "/apache.rocketmq.v2.rs"));
}
