//! What came of a world, and of many.

use std::collections::BTreeMap;
use std::fmt;

/// What came of a world.
#[derive(Debug, Clone, Default)]
pub struct Outcome {
    pub violations: Vec<String>,
    /// CRC-32 over the whole history: equal for equal seeds.
    pub history_crc: u32,
    pub events: u64,
    /// The history, if it was wanted.
    pub trace: String,
    pub sent: u64,
    pub acked: u64,
    pub read: u64,
    pub popped: u64,
    pub simulated_ms: i64,
    /// What went wrong, and how often.
    pub faults: BTreeMap<&'static str, u64>,
}

impl Outcome {
    /// Something went wrong.
    pub fn fault(&mut self, what: &'static str) {
        *self.faults.entry(what).or_default() += 1;
    }

    /// How often something went wrong.
    pub fn count(&self, what: &str) -> u64 {
        self.faults.get(what).copied().unwrap_or(0)
    }

    /// Adds the figures of another world.
    pub fn add(&mut self, other: &Self) {
        self.events += other.events;
        self.sent += other.sent;
        self.acked += other.acked;
        self.read += other.read;
        self.popped += other.popped;
        self.simulated_ms += other.simulated_ms;
        for (what, count) in &other.faults {
            *self.faults.entry(what).or_default() += count;
        }
    }
}

/// One line for people.
impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} events, {} messages, {} acknowledged, {} places read, {} popped, {} s simulated",
            self.events,
            self.sent,
            self.acked,
            self.read,
            self.popped,
            self.simulated_ms / 1_000,
        )?;
        self.faults.iter().try_for_each(|(what, count)| write!(f, "; {what} {count}"))
    }
}
