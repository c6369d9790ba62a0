//! Half messages that were neither committed nor rolled back: a fold of the log.
//!
//! A half message's own record says that it is there, and the record that a commit appends to the real topic says, in
//! its `prepared transaction offset`, which one it ends: so a commit cannot be half done. Only roll-backs and checks need
//! state entries.

use kerolox_wire::names;
use kerolox_wire::properties::{Properties, name as property};
use kerolox_wire::record::RecordView;
use kerolox_wire::sys_flag;
use std::collections::BTreeMap;

/// A half message that waits for its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Half {
    /// Its offset in the half topic's only queue.
    pub(crate) offset: u64,
    /// When it was stored, or when its producer was asked last.
    pub(crate) since_ms: i64,
    /// Seconds that its producer asked not to be asked for (`CHECK_IMMUNITY_TIME_IN_SECONDS`); negative: as the broker
    /// is set up.
    pub(crate) immunity_s: i32,
    /// How often its producer was asked.
    pub(crate) checks: u32,
}

/// All of them, by their position in the log.
#[derive(Default)]
pub(crate) struct Halves {
    pending: BTreeMap<u64, Half>,
}

/// What a record means to half messages.
pub(crate) struct Stored<'a> {
    pub(crate) topic: &'a str,
    pub(crate) position: u64,
    pub(crate) queue_offset: u64,
    pub(crate) sys_flag: i32,
    pub(crate) store_ms: i64,
    pub(crate) prepared_transaction_offset: i64,
    pub(crate) properties: Properties<'a>,
}

impl Stored<'_> {
    /// Whether a message of this topic and flag can mean anything here: most do not.
    pub(crate) fn matters(topic: &str, sys_flag: i32) -> bool {
        sys_flag::transaction(sys_flag) == sys_flag::TRANSACTION_COMMIT || topic == names::TRANS_HALF_TOPIC
    }
}

impl<'a> From<&RecordView<'a>> for Stored<'a> {
    fn from(view: &RecordView<'a>) -> Self {
        Self {
            topic: view.topic,
            position: view.position,
            queue_offset: view.queue_offset,
            sys_flag: view.sys_flag,
            store_ms: view.store_ms,
            prepared_transaction_offset: view.prepared_transaction_offset,
            properties: view.properties(),
        }
    }
}

impl Halves {
    /// A message was appended. Gives the position of the half message that began or ended with it.
    pub(crate) fn stored(&mut self, stored: &Stored<'_>) -> Option<u64> {
        if stored.topic == names::TRANS_HALF_TOPIC {
            let text = |name| stored.properties.get(name);
            let immunity = text(property::CHECK_IMMUNITY_TIME_IN_SECONDS).and_then(|s| s.parse().ok());
            let half = Half {
                offset: stored.queue_offset,
                since_ms: stored.store_ms,
                immunity_s: immunity.unwrap_or(-1),
                checks: text(property::TRANSACTION_CHECK_TIMES).and_then(|n| n.parse().ok()).unwrap_or(0),
            };
            self.pending.insert(stored.position, half);
            return Some(stored.position);
        }
        let commits = sys_flag::transaction(stored.sys_flag) == sys_flag::TRANSACTION_COMMIT;
        let ended = u64::try_from(stored.prepared_transaction_offset).ok().filter(|_| commits)?;
        self.pending.remove(&ended).map(|_| ended)
    }

    pub(crate) fn get(&self, position: u64) -> Option<Half> {
        self.pending.get(&position).copied()
    }

    pub(crate) fn put(&mut self, position: u64, half: Half) {
        self.pending.insert(position, half);
    }

    pub(crate) fn remove(&mut self, position: u64) {
        self.pending.remove(&position);
    }

    /// All from a position on.
    pub(crate) fn from(&self, position: u64) -> impl Iterator<Item = (u64, Half)> {
        self.pending.range(position..).map(|(position, half)| (*position, *half))
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (u64, Half)> {
        self.pending.iter().map(|(position, half)| (*position, *half))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stored(topic: &str, position: u64, prepared: i64) -> Stored<'_> {
        Stored {
            topic,
            position,
            queue_offset: position / 100,
            sys_flag: sys_flag::TRANSACTION_COMMIT,
            store_ms: 5,
            prepared_transaction_offset: prepared,
            properties: Properties(b"CHECK_IMMUNITY_TIME_IN_SECONDS\x0130\x02"),
        }
    }

    #[test]
    fn a_half_message_lives_until_a_commit_names_it() {
        let mut halves = Halves::default();
        halves.stored(&stored(names::TRANS_HALF_TOPIC, 100, 0));
        halves.stored(&stored(names::TRANS_HALF_TOPIC, 300, 0));
        assert_eq!(halves.get(100), Some(Half { offset: 1, since_ms: 5, immunity_s: 30, checks: 0 }));
        assert_eq!(halves.stored(&stored("T", 400, 0)), None);
        assert_eq!(halves.stored(&stored("T", 500, 100)), Some(100));
        assert_eq!(halves.iter().map(|(position, _)| position).collect::<Vec<_>>(), [300]);
        // A record that only mentions it does not end it.
        let mention = Stored { sys_flag: 0, ..stored("T", 600, 300) };
        assert_eq!(halves.stored(&mention), None);
        assert!(halves.get(300).is_some());
    }
}
