//! The network between clients, brokers and name servers: connections keep the order of their frames and lose none alone, but
//! a frame may take long, and a connection over which nothing gets any more breaks, for each side at another time.
//! A broken link may be so in one direction only: then requests are carried out whose answers never come.

use crate::random::Random;
use kerolox_broker::ConnId;
use std::collections::BTreeMap;
use std::fmt;

/// Who talks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Node {
    Client(usize),
    Broker(usize),
    Namesrv(usize),
}

impl fmt::Display for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Client(n) => write!(f, "client-{n}"),
            Self::Broker(n) => write!(f, "{}", broker_name(*n)),
            Self::Namesrv(n) => write!(f, "namesrv-{n}"),
        }
    }
}

/// `broker-a`, `broker-b` …
pub fn broker_name(number: usize) -> String {
    format!("broker-{}", char::from(b'a' + number as u8)) // holds because there are few
}

/// The broker of a name that [`broker_name`] gave.
pub fn broker_number(name: &str) -> Option<usize> {
    let letter = name.strip_prefix("broker-")?.bytes().next()?;
    letter.checked_sub(b'a').map(usize::from)
}

/// One of the two ends of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Side {
    Dialer,
    Listener,
}

impl Side {
    pub fn other(self) -> Self {
        match self {
            Self::Dialer => Self::Listener,
            Self::Listener => Self::Dialer,
        }
    }
}

/// What one side of a connection knows and did.
#[derive(Debug, Clone, Copy)]
struct End {
    node: Node,
    open: bool,
    /// Nothing of what it sends arrives any more.
    stalled: bool,
    /// The other side broke it off: what is still on its way from there is dropped.
    deaf: bool,
    /// When its last frame arrives.
    arrives_ms: i64,
}

#[derive(Debug)]
struct Connection {
    dialer: End,
    listener: End,
}

impl Connection {
    fn end(&mut self, side: Side) -> &mut End {
        match side {
            Side::Dialer => &mut self.dialer,
            Side::Listener => &mut self.listener,
        }
    }
}

/// What becomes of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fate {
    /// In so many milliseconds.
    pub arrives: Option<i64>,
    /// The connection breaks, for the sender and for the other, in so many milliseconds.
    pub breaks: Option<(i64, i64)>,
}

const LOST: Fate = Fate { arrives: None, breaks: None };

/// Nothing gets from one node to another (`None`: to or from any) for a while.
#[derive(Debug)]
struct Cut {
    from: Option<Node>,
    to: Option<Node>,
    until_ms: i64,
}

/// How long a segment is sent again before the sender gives up.
const RETRANSMIT_MS: i64 = 3_000;
/// How often a segment is lost, and for how long those that follow it.
const LOSSES: u64 = 1_500;
const LOSS_MS: (i64, i64) = (200, 6_000);

#[derive(Debug, Default)]
pub struct Network {
    connections: BTreeMap<ConnId, Connection>,
    cuts: Vec<Cut>,
    next: u64,
    /// Nothing is lost any more.
    pub calm: bool,
    /// Segments that were lost.
    pub losses: u64,
    /// Frames that were held up for more than 50 ms.
    pub delays: u64,
}

impl Network {
    /// Opens a connection.
    pub fn connect(&mut self, dialer: Node, listener: Node) -> ConnId {
        self.next += 1;
        let end = |node| End { node, open: true, stalled: false, deaf: false, arrives_ms: 0 };
        self.connections
            .insert(ConnId(self.next), Connection { dialer: end(dialer), listener: end(listener) });
        ConnId(self.next)
    }

    /// Who is at a side of a connection, as long as it has it open.
    pub fn node(&mut self, conn: ConnId, side: Side) -> Option<Node> {
        let end = self.connections.get_mut(&conn)?.end(side);
        end.open.then_some(end.node)
    }

    /// Connections that a node has open.
    pub fn of(&self, node: Node) -> Vec<(ConnId, Side)> {
        let mut all = Vec::new();
        for (conn, connection) in &self.connections {
            for (side, end) in [(Side::Dialer, connection.dialer), (Side::Listener, connection.listener)] {
                if end.open && end.node == node {
                    all.push((*conn, side));
                }
            }
        }
        all
    }

    /// All that somebody has open.
    pub fn all(&self) -> Vec<ConnId> {
        self.connections.keys().copied().collect()
    }

    /// Nothing gets from one node to the other.
    pub fn cut(&mut self, from: Option<Node>, to: Option<Node>, until_ms: i64) {
        self.cuts.push(Cut { from, to, until_ms });
    }

    /// Everything gets everywhere again.
    pub fn heal(&mut self) {
        self.cuts.clear();
        self.calm = true;
    }

    fn blocked_until(&mut self, now_ms: i64, from: Node, to: Node) -> Option<i64> {
        self.cuts.retain(|cut| cut.until_ms > now_ms);
        let hit = |cut: &&Cut| cut.from.is_none_or(|n| n == from) && cut.to.is_none_or(|n| n == to);
        self.cuts.iter().filter(hit).map(|cut| cut.until_ms).max()
    }

    /// How long a segment takes.
    pub fn delay(&mut self, random: &mut Random) -> i64 {
        if random.one_in(50) {
            self.delays += 1;
            return random.between(50, if self.calm { 100 } else { 2_000 });
        }
        random.between(0, 5)
    }

    /// In how many milliseconds a dialer reaches a listener, or finds that it cannot.
    pub fn dial(&mut self, now_ms: i64, from: Node, to: Node, random: &mut Random) -> Result<i64, i64> {
        let blocked = self.blocked_until(now_ms, from, to).max(self.blocked_until(now_ms, to, from));
        match blocked {
            Some(until_ms) => Err((until_ms - now_ms).min(RETRANSMIT_MS)),
            None => Ok(self.delay(random)),
        }
    }

    /// A side sends a frame.
    pub fn send(&mut self, now_ms: i64, conn: ConnId, side: Side, random: &mut Random) -> Fate {
        let Some(connection) = self.connections.get_mut(&conn) else { return LOST };
        let (from, to) = (*connection.end(side), connection.end(side.other()).node);
        if !from.open || from.stalled {
            return LOST;
        }
        let mut out = self.blocked_until(now_ms, from.node, to);
        let back = self.blocked_until(now_ms, to, from.node);
        if !self.calm && random.one_in(LOSSES) {
            self.losses += 1;
            out = out.max(Some(now_ms + random.between(LOSS_MS.0, LOSS_MS.1)));
        }
        let gives_up = |until: Option<i64>| until.is_some_and(|until_ms| until_ms - now_ms > RETRANSMIT_MS);
        let breaks = (gives_up(out) || gives_up(back))
            .then(|| (RETRANSMIT_MS + random.between(0, 2_000), RETRANSMIT_MS + random.between(0, 6_000)));
        let held_ms = out.map_or(0, |until_ms| until_ms - now_ms);
        let delay_ms = held_ms + self.delay(random);
        let Some(connection) = self.connections.get_mut(&conn) else { return LOST };
        let end = connection.end(side);
        end.stalled = breaks.is_some();
        if gives_up(out) {
            return Fate { arrives: None, breaks };
        }
        end.arrives_ms = end.arrives_ms.max(now_ms + delay_ms);
        Fate { arrives: Some(end.arrives_ms - now_ms), breaks }
    }

    /// A side takes nothing any more of what is still on its way.
    pub fn deafen(&mut self, conn: ConnId, side: Side) {
        if let Some(connection) = self.connections.get_mut(&conn) {
            connection.end(side).deaf = true;
        }
    }

    /// Nothing arrives any more of what a node sent.
    pub fn silence(&mut self, node: Node) {
        for Connection { dialer, listener } in self.connections.values_mut() {
            listener.deaf |= dialer.node == node;
            dialer.deaf |= listener.node == node;
        }
    }

    /// Whether a side takes what arrives.
    pub fn hears(&mut self, conn: ConnId, side: Side) -> bool {
        self.connections.get_mut(&conn).is_some_and(|connection| !connection.end(side).deaf)
    }

    /// A side has the connection no more. Who is at the other side, if it still has it.
    pub fn close(&mut self, conn: ConnId, side: Side) -> Option<Node> {
        let connection = self.connections.get_mut(&conn)?;
        connection.end(side).open = false;
        let other = *connection.end(side.other());
        if !other.open {
            self.connections.remove(&conn);
        }
        other.open.then_some(other.node)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: Node = Node::Client(0);
    const B: Node = Node::Broker(0);

    #[test]
    fn frames_of_a_connection_keep_their_order() {
        let (mut network, mut random) = (Network { calm: true, ..Network::default() }, Random::new(1));
        let conn = network.connect(A, B);
        let mut last = 0;
        for now in 0..2_000 {
            let at = now + network.send(now, conn, Side::Dialer, &mut random).arrives.unwrap();
            assert!(at >= last, "{at} after {last}");
            last = at;
        }
        assert!(network.delays > 10, "{}", network.delays);
    }

    #[test]
    fn a_lost_segment_stalls_and_breaks_the_connection_for_both() {
        let (mut network, mut random) = (Network::default(), Random::new(1));
        let conn = network.connect(A, B);
        network.cut(Some(A), Some(B), 10_000);
        let fate = network.send(0, conn, Side::Dialer, &mut random);
        assert!(fate.arrives.is_none() && fate.breaks.is_some(), "{fate:?}");
        // What follows does not pass it, however good the link is again.
        assert_eq!(network.send(20_000, conn, Side::Dialer, &mut random), LOST);
        assert_eq!(network.close(conn, Side::Dialer), Some(B));
        assert_eq!(network.close(conn, Side::Listener), None);
        assert!(network.all().is_empty());
    }

    /// The request arrives, but nobody learns it.
    #[test]
    fn a_cut_of_the_way_back_lets_requests_through() {
        let (mut network, mut random) = (Network::default(), Random::new(1));
        let conn = network.connect(A, B);
        network.cut(Some(B), None, 10_000);
        let fate = network.send(0, conn, Side::Dialer, &mut random);
        assert!(fate.arrives.is_some() && fate.breaks.is_some(), "{fate:?}");
        assert!(network.send(0, conn, Side::Listener, &mut random).arrives.is_none());
        assert!(network.dial(0, A, B, &mut random).is_err());
    }

    #[test]
    fn a_short_cut_only_delays() {
        let (mut network, mut random) = (Network::default(), Random::new(1));
        let conn = network.connect(A, B);
        network.cut(None, Some(B), 1_000);
        let fate = network.send(0, conn, Side::Dialer, &mut random);
        assert!(fate.arrives.is_some_and(|ms| ms >= 1_000) && fate.breaks.is_none(), "{fate:?}");
    }
}
