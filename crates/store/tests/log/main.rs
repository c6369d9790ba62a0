//! The store through its one door, on a hostile disk. Each file is a theme; [`world`] is the door.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::type_complexity, dropping_copy_types)] // all of this is tests

mod append;
mod damage;
mod faults;
mod fold;
mod foreign;
mod index;
mod lmq;
mod look;
mod real;
mod recovery;
mod retention;
mod search;
mod segments;
mod state;
mod unreadable;
mod walking;
mod world;
