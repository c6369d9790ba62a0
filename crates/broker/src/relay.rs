//! Requests of the broker's own that clients have not answered yet: who waits for the answer, and until when.

use crate::input::ConnId;
use std::collections::{BTreeMap, BTreeSet};

/// Which request of which connection.
type Key = (ConnId, i32);

/// Unanswered requests by connection and number (`opaque`), and by deadline. `T` is who waits. An answer is taken only from
/// the connection that was asked, and only once.
pub(crate) struct Relays<T> {
    last_opaque: i32,
    waiting: BTreeMap<Key, (i64, T)>,
    deadlines: BTreeSet<(i64, Key)>,
}

impl<T> Default for Relays<T> {
    fn default() -> Self {
        Self { last_opaque: 0, waiting: BTreeMap::new(), deadlines: BTreeSet::new() }
    }
}

impl<T> Relays<T> {
    /// Unanswered requests.
    pub(crate) fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Notes a request to `conn`; the number that it is to carry.
    pub(crate) fn ask(&mut self, conn: ConnId, deadline_ms: i64, who: T) -> i32 {
        // A number comes again after four billion others: whoever still waits under it then is passed over.
        loop {
            self.last_opaque = self.last_opaque.wrapping_add(1);
            if !self.waiting.contains_key(&(conn, self.last_opaque)) {
                break;
            }
        }
        let key = (conn, self.last_opaque);
        self.waiting.insert(key, (deadline_ms, who));
        self.deadlines.insert((deadline_ms, key));
        self.last_opaque
    }

    /// Who waits for this answer; `None`: it was not asked for, came before, or is too late.
    pub(crate) fn answered(&mut self, conn: ConnId, opaque: i32) -> Option<T> {
        let key = (conn, opaque);
        let (deadline_ms, who) = self.waiting.remove(&key)?;
        self.deadlines.remove(&(deadline_ms, key));
        Some(who)
    }

    /// Those whom this connection will not answer any more.
    pub(crate) fn disconnected(&mut self, conn: ConnId) -> Vec<T> {
        let keys = self.waiting.range((conn, i32::MIN)..=(conn, i32::MAX)).map(|((_, opaque), _)| *opaque);
        let opaques: Vec<i32> = keys.collect();
        opaques.into_iter().filter_map(|opaque| self.answered(conn, opaque)).collect()
    }

    /// Those whose time is up.
    pub(crate) fn overdue(&mut self, now_ms: i64) -> Vec<T> {
        let due: Vec<Key> =
            self.deadlines.iter().take_while(|(at, _)| *at <= now_ms).map(|(_, key)| *key).collect();
        due.into_iter().filter_map(|(conn, opaque)| self.answered(conn, opaque)).collect()
    }

    /// When the first of them is overdue.
    pub(crate) fn wake_ms(&self) -> Option<i64> {
        self.deadlines.first().map(|(at, _)| *at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: ConnId = ConnId(1);
    const B: ConnId = ConnId(2);

    #[test]
    fn an_answer_counts_once_and_only_from_who_was_asked() {
        let mut relays = Relays::default();
        let first = relays.ask(A, 100, "first");
        let second = relays.ask(A, 50, "second");
        assert_ne!(first, second);
        assert_eq!(relays.wake_ms(), Some(50));
        assert_eq!(relays.answered(B, first), None);
        assert_eq!(relays.answered(A, first), Some("first"));
        assert_eq!(relays.answered(A, first), None);
        assert_eq!(relays.overdue(49), Vec::<&str>::new());
        assert_eq!(relays.overdue(50), ["second"]);
        assert_eq!(relays.answered(A, second), None);
        assert_eq!((relays.len(), relays.wake_ms()), (0, None));
    }

    #[test]
    fn a_lost_connection_answers_nobody_any_more() {
        let mut relays = Relays::default();
        relays.ask(A, 100, 1);
        relays.ask(B, 100, 2);
        relays.ask(A, 100, 3);
        assert_eq!(relays.disconnected(A), [1, 3]);
        assert_eq!((relays.len(), relays.overdue(100)), (1, vec![2]));
    }

    #[test]
    fn numbers_that_wrap_around_pass_over_those_that_are_waited_for() {
        let mut relays = Relays { last_opaque: i32::MAX, ..Relays::default() };
        assert_eq!(relays.ask(A, 1, 'a'), i32::MIN);
        relays.last_opaque = i32::MAX;
        assert_eq!(relays.ask(A, 1, 'b'), i32::MIN + 1);
    }
}
