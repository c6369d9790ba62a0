//! gRPC over HTTP/2, the server's side: a state machine of one connection that takes frames and says what they mean.
//!
//! A library would cost more than all the rest of a call: the `h2` crate needs about 11 µs of a processor for one call of 1 KiB and holds
//! 21 KiB for a connection that does nothing (docs/adr/0009). Sources: RFC 9113, and gRPC's own
//! "gRPC over HTTP2".

mod connection;
mod frame;
mod hpack;
mod huffman;
mod stream;
mod write;

pub use connection::{Connection, Event, Fault, Limits};
pub use frame::{Frame, PREFACE, cut};
pub use hpack::Scratch;
