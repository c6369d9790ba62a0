//! A broker as a process: the state machine, its threads and sockets, its start and its end.

mod apache;
mod damage;
mod patience;
mod registration;
mod retained;
mod shell;
mod start;
mod threads;
mod untold;

pub(crate) use shell::Shell;
pub(crate) use start::Running;
