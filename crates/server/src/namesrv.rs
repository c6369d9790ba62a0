//! The main loop of a name server.

use crate::clock::Clock;
use crate::report;
use kerolox_namesrv::{ConnId, Namesrv, NamesrvConfig};
use kerolox_net as net;
use kerolox_net::{Closed, Connections};
use kerolox_wire::Command;
use std::cell::RefCell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

/// The connection of the broker in the same process: [`Connections`] number theirs from 1.
const IN_PROCESS: ConnId = 0;
/// How often the name server is asked whether something is due.
const TICK: Duration = Duration::from_secs(1);

/// A name server and the connections that it answers.
pub(crate) struct Shell {
    namesrv: RefCell<Namesrv>,
    clock: Clock,
    connections: Rc<Connections>,
}

impl Shell {
    pub(crate) fn new(config: NamesrvConfig, connections: Rc<Connections>) -> Rc<Self> {
        let namesrv = RefCell::new(Namesrv::with_config(config));
        Rc::new(Self { namesrv, clock: Clock::default(), connections })
    }

    /// Answers a broker in the same process.
    pub(crate) fn ask(&self, request: &Command) -> Command {
        self.namesrv.borrow_mut().handle(self.clock.now_ms(), IN_PROCESS, request)
    }

    /// Lets it forget what went silent. Runs until dropped.
    pub(crate) async fn tick(self: Rc<Self>) {
        let mut ticks = tokio::time::interval(TICK);
        loop {
            ticks.tick().await;
            self.namesrv.borrow_mut().tick(self.clock.now_ms());
        }
    }
}

impl net::Handler for Shell {
    fn connected(&self, _: net::ConnId, _: SocketAddr) {}

    fn batch(&self, conn: net::ConnId, commands: &mut Vec<Command>) {
        let now_ms = self.clock.now_ms();
        let mut namesrv = self.namesrv.borrow_mut();
        let mut rest = commands.drain(..);
        for request in rest.by_ref().filter(|c| !c.is_response()) {
            let answer = namesrv.handle(now_ms, conn.0, &request);
            if !request.is_oneway() {
                self.connections.send(conn, &answer);
            }
            if self.connections.is_overloaded(conn) {
                self.connections.flush();
                if self.connections.is_overloaded(conn) {
                    break;
                }
            }
        }
        let left: Vec<Command> = rest.collect();
        commands.extend(left);
        self.connections.flush();
    }

    fn closed(&self, conn: net::ConnId, peer: SocketAddr, why: Closed) {
        if why.is_noteworthy() {
            report::limited(&format!("name server: connection of {peer} closed: {why}"));
        }
        self.namesrv.borrow_mut().disconnected(conn.0);
    }

    fn refused(&self, why: String) {
        report::limited(&format!("name server: {why}"));
    }
}
