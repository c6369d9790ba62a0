//! The end of a world: nothing goes wrong any more, and everything that was promised is looked for.

use crate::cast::{DEAD_LETTERS, QUEUES, RETRYING, TOPICS};
use crate::check::Queue;
use crate::clients::{number, request};
use crate::world::{SEGMENT_BYTES, World};
use kerolox_broker::{ConnId, Effect, Input};
use kerolox_store::FlushPolicy;
use kerolox_store::disk::CrashMode;
use kerolox_wire::record::RecordView;
use kerolox_wire::{Command, RequestCode};

/// Long enough for delayed messages to fall due, and for producers to be asked what they left open.
const CLOSING_MS: i64 = 15_000;
/// So long that what nobody acknowledged comes again.
const LAST_MS: i64 = 20_000;

impl World {
    pub(crate) fn finish(&mut self) {
        self.end_faults();
        self.network.heal();
        (0..self.brokers.len()).for_each(|broker| self.heal_disk(broker));
        self.closing = true;
        let now_ms = self.now_ms;
        for clock in &mut self.ledger.clocks {
            clock.catch_up(now_ms);
        }
        self.play_until(now_ms + CLOSING_MS);
        for broker in 0..self.brokers.len() {
            let kept = self.options.flush != FlushPolicy::Sync && self.random.one_in(2);
            self.crash(broker, if kept { CrashMode::Kill } else { CrashMode::Lost });
        }
        self.play_until(self.now_ms + LAST_MS);
        let retry = RETRYING.retry_topic.unwrap_or_default();
        for broker in 0..self.brokers.len() {
            for topic in [retry, DEAD_LETTERS] {
                self.read_returned(topic, &Queue { broker, topic: topic.to_owned(), queue_id: 0 });
            }
        }
        self.ledger.begin_last_reading();
        for broker in 0..self.brokers.len() {
            for topic in TOPICS {
                for queue_id in 0..QUEUES {
                    self.read_all(&Queue { broker, topic: topic.to_owned(), queue_id });
                }
            }
        }
        self.ledger.finish((RETRYING.topic, retry, DEAD_LETTERS));
        let mut violations = std::mem::take(&mut self.ledger.violations);
        self.outcome.violations.append(&mut violations);
        let (sent, acked, read) = self.ledger.counts();
        (self.outcome.sent, self.outcome.acked, self.outcome.read) = (sent, acked, read);
        self.outcome.popped = self.ledger.flights.count();
        self.outcome.faults.insert("records damaged", self.ledger.damaged.count() as u64);
        self.outcome.faults.insert("log segments gone", self.ledger.gone.bytes() / SEGMENT_BYTES);
        self.outcome.faults.insert("segments lost", self.network.losses);
        self.outcome.faults.insert("segments late", self.network.delays);
    }

    fn read_all(&mut self, queue: &Queue) {
        self.read(queue, |world, view| {
            world.ledger.seen(world.now_ms, queue, view);
        });
    }

    /// What came back to a group, or was given up.
    fn read_returned(&mut self, topic: &'static str, queue: &Queue) {
        self.read(queue, |world, view| {
            if let Some((id, _)) = world.ledger.checked(world.now_ms, queue, view) {
                world.ledger.groups.returned.insert((topic, id));
            }
        });
    }

    /// Reads a queue from its beginning to its end, past all clients.
    fn read(&mut self, queue: &Queue, mut take: impl FnMut(&mut Self, &RecordView<'_>)) {
        let mut offset = 0;
        loop {
            let numbers = [
                ("queueId", u64::from(queue.queue_id)),
                ("queueOffset", offset),
                ("maxMsgNums", 32),
                ("sysFlag", 4),
                ("commitOffset", 0),
                ("suspendTimeoutMillis", 0),
                ("subVersion", 0),
            ];
            let mut pull =
                request(RequestCode::PULL_MESSAGE, &numbers.map(|(name, n)| (name, n.to_string())));
            for (name, value) in
                [("consumerGroup", "TOOLS_CONSUMER"), ("topic", &queue.topic), ("subscription", "*")]
            {
                pull.fields.push(name, value);
            }
            let Some(answer) = self.ask_directly(queue.broker, pull) else { return };
            for view in kerolox_wire::record::split(&answer.body) {
                match view {
                    Ok(view) => take(self, &view),
                    Err(e) => self.ledger.violated(format!("{queue:?} gave no whole records: {e}")),
                }
            }
            let next = number(&answer, "nextBeginOffset");
            if next <= offset {
                return;
            }
            offset = next;
        }
    }

    fn ask_directly(&mut self, broker: usize, command: Command) -> Option<Command> {
        let conn = ConnId(u64::MAX);
        let now_ms = self.ledger.clocks.get_mut(broker)?.now(self.now_ms);
        let mut inputs = vec![Input::Command { conn, command }];
        while let Some(input) = inputs.pop() {
            let process = self.brokers.get_mut(broker)?.process.as_mut()?;
            let mut effects = Vec::new();
            process.broker.handle(now_ms, input, &mut effects);
            for effect in effects {
                match effect {
                    Effect::Send { conn: to, command } if to == conn => return Some(command),
                    Effect::Read { read, plan, .. } => {
                        let process = self.brokers.get(broker)?.process.as_ref()?;
                        let result = process.reader.execute(&plan, self.now_ms);
                        self.note_damage(broker, &result);
                        inputs.push(Input::ReadDone { read, result });
                    }
                    _ => {}
                }
            }
        }
        None
    }
}
