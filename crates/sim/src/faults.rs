//! What goes wrong in a world, and when.

use crate::network::Node;
use crate::world::{Event, World};
use kerolox_store::disk::CrashMode;

impl World {
    /// Something goes wrong.
    pub(crate) fn fault(&mut self) {
        match self.random.below(18) {
            0 | 1 => self.kill(),
            2 | 3 => self.power_cut(),
            4 => {
                let client = self.any(self.clients.len());
                self.outcome.fault("clients killed");
                self.kill_client(client);
            }
            5 => {
                let namesrv = self.any(self.namesrvs.len());
                self.outcome.fault("name servers killed");
                self.kill_namesrv(namesrv);
            }
            6 => self.cut_link(),
            7 => self.jump_clock(),
            8 | 9 => self.fail_calls(),
            10 => self.fill_disk(),
            11 => self.damage_log(),
            12 => self.damage_derived(),
            _ => self.cut_connection(),
        }
        let pause_ms = self.random.between(100, 2_000);
        self.at(pause_ms, Event::Fault);
    }

    fn any(&mut self, of: usize) -> usize {
        self.random.below(of.max(1) as u64) as usize
    }

    fn kill(&mut self) {
        let broker = self.any(self.brokers.len());
        if self.crash(broker, CrashMode::Kill) {
            self.outcome.fault("kills");
        }
    }

    fn power_cut(&mut self) {
        let broker = self.any(self.brokers.len());
        let mode = match self.random.below(4) {
            3 => CrashMode::Reordered { sector: 512 },
            0 => CrashMode::Lost,
            1 => CrashMode::Torn { sector: 512 },
            _ => CrashMode::Torn { sector: 4096 },
        };
        if self.crash(broker, mode) {
            self.outcome.fault("power cuts");
        }
    }

    fn cut_connection(&mut self) {
        let conns = self.network.all();
        let conn = conns.get(self.any(conns.len())).copied();
        if let Some(conn) = conn {
            self.outcome.fault("connections reset");
            self.broken(conn, crate::network::Side::Dialer);
        }
    }

    /// Nothing gets from one node to another, or from it to any, or to it from any, for a while.
    fn cut_link(&mut self) {
        let nodes = self.brokers.len() + self.namesrvs.len() + self.clients.len();
        let node = |world: &mut Self| {
            let number = world.any(nodes);
            let (brokers, namesrvs) = (world.brokers.len(), world.namesrvs.len());
            match number {
                n if n < brokers => Node::Broker(n),
                n if n < brokers + namesrvs => Node::Namesrv(n - brokers),
                n => Node::Client(n - brokers - namesrvs),
            }
        };
        let one = Some(node(self));
        let other = if self.random.one_in(2) { Some(node(self)) } else { None };
        let (from, to) = if self.random.one_in(2) { (one, other) } else { (other, one) };
        let until_ms = self.now_ms + self.random.between(100, 8_000);
        self.outcome.fault("one-way partitions");
        self.note(format_args!("nothing gets from {from:?} to {to:?} until {until_ms}"));
        self.network.cut(from, to, until_ms);
    }

    /// Mostly by as much as a time server mends; sometimes by as much as somebody mistypes.
    fn jump_clock(&mut self) {
        let broker = self.any(self.brokers.len());
        let most_ms = if self.random.one_in(5) { 3_600_000 } else { 3_000 };
        let by_ms = self.random.between(-most_ms, most_ms);
        self.outcome.fault(if by_ms < 0 { "clocks set back" } else { "clocks set forward" });
        self.note(format_args!("the clock of {} jumps by {by_ms} ms", Node::Broker(broker)));
        if let Some(clock) = self.ledger.clocks.get_mut(broker) {
            clock.jump(by_ms);
        }
    }
}
