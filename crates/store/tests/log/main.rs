//! The store through its one door, on a hostile disk. Each file is a theme; [`world`] is the door.

mod append;
mod world;
