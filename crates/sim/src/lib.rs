//! The world around the real brokers and name servers, faked under one seed: clocks, network, disks, crashes, and clients with
//! retries that remember what they were promised. The same seed gives the same history, byte for byte.
//!
//! [`world::run`] plays one seed and returns what happened and what was violated. In reading order: `world` is the loop of
//! events, `network` carries frames, `broker` is a machine with a disk and a `clock` on which a real broker runs, `faults` and `disks` are
//! what goes wrong, `cast` and `clients` are who plays, `check` is what is promised, `finish` looks for all of it in the end.
//!
//! [`crash`] explores the store alone: every crash point and every failed call of scripted workloads.

mod broker;
pub mod bug;
mod cast;
pub mod check;
pub mod clients;
pub mod clock;
pub mod crash;
mod disks;
mod faults;
mod finish;
pub mod message;
pub mod network;
mod outcome;
pub mod random;
pub mod trace;
pub mod world;

pub use outcome::Outcome;
