//! Answers that wait for durability.

use crate::effect::Effect;
use crate::input::ConnId;
use kerolox_store::Position;
use kerolox_wire::{Command, ResponseCode};
use std::collections::VecDeque;

/// An answer and who gets it.
struct Answer {
    conn: ConnId,
    command: Command,
    /// It also waits for name servers to be told of what changed.
    once_registered: bool,
}

/// Answers in the order of the log positions that they wait for. The only way an acknowledgement of a write leaves
/// the broker is [`Acks::release`], which is told the confirmed watermark.
#[derive(Default)]
pub(crate) struct Acks {
    waiting: VecDeque<(Position, Answer)>,
    /// Answers that wait for state changes which are not in the log yet: they get their position at the end of the batch.
    unplaced: Vec<Answer>,
    /// Bytes of their bodies.
    unplaced_bytes: usize,
}

impl Acks {
    /// `answer` may leave when everything below `end` is confirmed. Positions must not go down.
    pub(crate) fn wait(&mut self, end: Position, conn: ConnId, command: Command) {
        self.wait_at(end, Answer { conn, command, once_registered: false });
    }

    fn wait_at(&mut self, end: Position, answer: Answer) {
        debug_assert!(self.waiting.back().is_none_or(|(last, _)| *last <= end));
        self.waiting.push_back((end, answer));
    }

    /// `answer` may leave when the state changes of this batch are confirmed.
    pub(crate) fn wait_for_state(&mut self, conn: ConnId, command: Command) {
        self.wait_unplaced(Answer { conn, command, once_registered: false });
    }

    /// `answer` may leave when the state changes of this batch are confirmed and the name servers know of them.
    pub(crate) fn wait_for_registration(&mut self, conn: ConnId, command: Command) {
        self.wait_unplaced(Answer { conn, command, once_registered: true });
    }

    fn wait_unplaced(&mut self, answer: Answer) {
        self.unplaced_bytes += answer.command.body.len();
        self.unplaced.push(answer);
    }

    /// Bytes of the bodies that wait for state changes of this batch.
    pub(crate) fn unplaced_bytes(&self) -> usize {
        self.unplaced_bytes
    }

    /// The state changes of this batch end at `end`.
    pub(crate) fn place(&mut self, end: Position) {
        self.unplaced_bytes = 0;
        for answer in std::mem::take(&mut self.unplaced) {
            self.wait_at(end, answer);
        }
    }

    pub(crate) fn release(&mut self, confirmed: Position, out: &mut Vec<Effect>) {
        while let Some((_, answer)) = self.waiting.pop_front_if(|(end, _)| *end <= confirmed) {
            let Answer { conn, command, once_registered } = answer;
            out.push(match once_registered {
                false => Effect::Send { conn, command },
                true => Effect::SendOnceRegistered { conn, command },
            });
        }
    }

    /// The state changes of this batch could not be appended.
    pub(crate) fn fail_unplaced(&mut self, why: &str, out: &mut Vec<Effect>) {
        self.unplaced_bytes = 0;
        for Answer { conn, command, .. } in std::mem::take(&mut self.unplaced) {
            out.push(Effect::Send { conn, command: command.refuse_instead(ResponseCode::SYSTEM_BUSY, why) });
        }
    }

    /// The log is fenced: what waits is answered with the reason, none of it as a success.
    pub(crate) fn fail(&mut self, why: &str, out: &mut Vec<Effect>) {
        let unplaced = std::mem::take(&mut self.unplaced);
        let waiting = std::mem::take(&mut self.waiting).into_iter().map(|(_, answer)| answer);
        for Answer { conn, command, .. } in waiting.chain(unplaced) {
            out.push(Effect::Send { conn, command: command.refuse_instead(ResponseCode::SYSTEM_ERROR, why) });
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.waiting.is_empty() && self.unplaced.is_empty()
    }
}
