//! Locks of one queue: who believes to have it, and whether two do.

use crate::clock::Clock;
use std::collections::BTreeMap;

/// How long a lock that nobody renews stays, by the broker's clock.
const EXPIRY_MS: i64 = 60_000;

#[derive(Debug, Default)]
pub struct Locks {
    /// Who has it from which broker, and when it asked for it last.
    held: BTreeMap<String, (usize, i64)>,
    /// When each broker ended last: its locks are in memory only.
    ended_ms: BTreeMap<usize, i64>,
}

impl Locks {
    /// A broker gave the lock to `client`, which asked at `asked_ms`; what is wrong with that.
    pub fn given(
        &mut self,
        clocks: &[Clock],
        broker: usize,
        client: &str,
        asked_ms: i64,
        now_ms: i64,
    ) -> Option<String> {
        if self.ended_ms.get(&broker).is_some_and(|ended| *ended >= asked_ms) {
            return None;
        }
        let expired = |since_ms: i64| {
            let (lowest, highest) =
                clocks.get(broker).map_or((since_ms, now_ms), |c| c.range(since_ms, now_ms));
            highest - lowest > EXPIRY_MS
        };
        // Its answer came when the time was over: nobody knows since when another has it.
        if expired(asked_ms) {
            return None;
        }
        let held = |(other, (by, since)): &(&String, &(usize, i64))| {
            *by == broker && *other != client && !expired(*since)
        };
        let other = self.held.iter().find(held);
        let what = other.map(|(other, (_, since))| {
            format!("{client} was given at {now_ms} the lock that {other} had asked for at {since} and has")
        });
        self.held.insert(client.to_owned(), (broker, asked_ms));
        what
    }

    /// It does not count on it any more.
    pub fn given_up(&mut self, client: &str) {
        self.held.remove(client);
    }

    /// A broker ended.
    pub fn ended(&mut self, broker: usize, now_ms: i64) {
        self.held.retain(|_, (by, _)| *by != broker);
        self.ended_ms.insert(broker, now_ms);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_at_a_time() {
        let mut locks = Locks::default();
        assert_eq!(locks.given(&[], 0, "a", 10, 20), None);
        assert_eq!(locks.given(&[], 0, "a", 30, 40), None);
        assert!(locks.given(&[], 0, "b", 30, 60_030).is_some(), "a has it");
        locks.given_up("b");
        assert_eq!(locks.given(&[], 0, "b", 60_000, 60_031), None, "a did not renew it");
        locks.ended(1, 60_035);
        assert!(locks.given(&[], 0, "c", 60_036, 60_037).is_some(), "another broker ended");
        locks.ended(0, 60_040);
        assert_eq!(locks.given(&[], 0, "c", 60_040, 60_050), None, "that was before");
        assert_eq!(locks.given(&[], 0, "d", 60_041, 60_050), None);
        assert!(locks.given(&[], 0, "c", 60_060, 60_070).is_some());
    }
}
