//! The world around the real broker and name server, faked under one seed: clock, network, disk, crashes, and clients with
//! retries that remember what they were promised. The same seed gives the same history, byte for byte.
//!
//! [`crash`] explores the store alone: every crash point and every failed call of scripted workloads.
//!
//! [`world::run`] plays one seed and returns what happened and what was violated.

pub mod bug;
pub mod check;
pub mod client;
pub mod crash;
pub mod flights;
pub mod popping;
pub mod random;
pub mod world;
