//! Workloads: what a broker does to its store, in an order made from a seed.

use crate::random::Random;
use kerolox_store::disk::CrashMode;

/// One thing that a broker does to its store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Appends a message to a queue of a topic.
    Send {
        topic: &'static str,
        queue_id: u32,
        size: Size,
    },
    /// Sets one kind of the state.
    State {
        kind: u8,
        bytes: usize,
    },
    DeleteTopic(&'static str),
    /// Writes what was appended, and syncs it.
    Flush,
    /// Writes what was appended.
    Write,
    /// The keeper prepares the log ahead, as far as it will.
    Prepare,
    /// Dump and seal, if they are due.
    Chores,
    Seal,
    Retain,
    /// Reads all queues.
    Read,
    /// The process ends in order and starts again.
    Restart,
    /// The process dies, or the machine loses power, and starts again.
    Crash {
        mode: CrashMode,
        seed: u64,
    },
}

/// How large a message is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Size {
    Body(usize),
    /// What leaves exactly so many bytes in the segment, if that can be done with a small message.
    Leaving(usize),
}

pub const TOPICS: [&str; 2] = ["A", "Bees"];
pub const QUEUES: u32 = 2;
/// The light message queue that some messages belong to besides.
pub const LIGHT: &str = "%LMQ%light";

/// A workload of about `steps` steps.
pub fn script(seed: u64, steps: usize) -> Vec<Step> {
    let mut random = Random::new(seed);
    let mut script = Vec::with_capacity(steps + 2);
    while script.len() < steps {
        script.push(step(&mut random));
    }
    script.push(Step::Flush);
    script
}

fn step(random: &mut Random) -> Step {
    match random.below(100) {
        0..=49 => send(random),
        50..=57 => Step::State { kind: 16 + random.below(3) as u8, bytes: random.below(60) as usize },
        58 => Step::DeleteTopic(TOPICS[1]),
        59..=74 => Step::Flush,
        75..=79 => Step::Write,
        80..=85 => Step::Prepare,
        86..=91 => Step::Chores,
        92 => Step::Seal,
        93..=94 => Step::Retain,
        95..=96 => Step::Read,
        97 => Step::Restart,
        _ => Step::Crash { mode: mode(random), seed: random.draw() },
    }
}

fn send(random: &mut Random) -> Step {
    let topic = if random.one_in(3) { TOPICS[1] } else { TOPICS[0] };
    let size = match random.below(10) {
        // Around Apache's rule for the end of a segment: 8 bytes must be left.
        0 => Size::Leaving(6 + random.below(20) as usize),
        1 => Size::Body(300 + random.below(900) as usize),
        _ => Size::Body(random.below(160) as usize),
    };
    Step::Send { topic, queue_id: random.below(u64::from(QUEUES)) as u32, size }
}

fn mode(random: &mut Random) -> CrashMode {
    let modes = crate::crash::explore::MODES;
    let chosen = random.below(modes.len() as u64) as usize;
    modes.into_iter().nth(chosen).unwrap_or(CrashMode::Kill)
}
