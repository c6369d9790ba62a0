//! Answers that wait until name servers know of the topics that they are about.

use kerolox_broker::ConnId;
use kerolox_wire::Command;
use std::collections::VecDeque;

/// Answers that wait, at most: beyond it the oldest wait no longer.
const WAITING_MAX: usize = 10_000;

/// What name servers know, and who waits for it.
#[derive(Default)]
pub(crate) struct Untold {
    /// Of each name server the version of the topics that it was told; `None` while it cannot be reached: nobody waits for it.
    told: Vec<Option<i64>>,
    /// By the version, which only grows.
    waiting: VecDeque<(i64, ConnId, Command)>,
}

impl Untold {
    /// One more name server, which knows of nothing yet; its number.
    pub(crate) fn add(&mut self) -> usize {
        self.told.push(Some(i64::MIN));
        self.told.len() - 1
    }

    /// What may be sent now that this one was told that version, or could not be told anything.
    pub(crate) fn told(&mut self, number: usize, version: Option<i64>) -> Vec<(ConnId, Command)> {
        self.told.iter_mut().skip(number).take(1).for_each(|told| *told = version);
        self.due()
    }

    /// Waits for that version; what may be sent by now.
    pub(crate) fn wait(&mut self, version: i64, conn: ConnId, command: Command) -> Vec<(ConnId, Command)> {
        self.waiting.push_back((version, conn, command));
        self.due()
    }

    /// Nobody will be told any more.
    pub(crate) fn give_up(&mut self) -> Vec<(ConnId, Command)> {
        self.told.clear();
        self.due()
    }

    fn due(&mut self) -> Vec<(ConnId, Command)> {
        let known = self.told.iter().flatten().min().copied().unwrap_or(i64::MAX);
        let due = |(version, ..): &mut (i64, ConnId, Command)| *version <= known;
        let due = std::iter::from_fn(|| match self.waiting.len() > WAITING_MAX {
            true => self.waiting.pop_front(),
            false => self.waiting.pop_front_if(due),
        });
        due.map(|(_, conn, command)| (conn, command)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kerolox_wire::RequestCode;

    fn conns(sent: &[(ConnId, Command)]) -> Vec<u64> {
        sent.iter().map(|(conn, _)| conn.0).collect()
    }

    #[test]
    fn answers_wait_for_every_name_server_that_can_be_reached() {
        let command = || Command::request(RequestCode::HEART_BEAT);
        let mut untold = Untold::default();
        assert_eq!(conns(&untold.wait(1, ConnId(1), command())), [1], "there is no name server");
        let (a, b) = (untold.add(), untold.add());
        assert!(untold.wait(2, ConnId(2), command()).is_empty());
        assert!(untold.wait(3, ConnId(3), command()).is_empty());
        assert!(untold.told(a, Some(3)).is_empty());
        assert_eq!(conns(&untold.told(b, Some(2))), [2]);
        assert_eq!(conns(&untold.told(b, None)), [3], "b cannot be reached");
        assert_eq!(conns(&untold.wait(3, ConnId(4), command())), [4]);
        assert!(untold.wait(4, ConnId(5), command()).is_empty(), "a was not told yet");
        assert!(untold.told(b, Some(4)).is_empty());
        (1..WAITING_MAX as u64).for_each(|n| assert!(untold.wait(4, ConnId(n + 10), command()).is_empty()));
        assert_eq!(conns(&untold.wait(4, ConnId(9), command())), [5], "too many wait");
        assert_eq!(untold.give_up().len(), WAITING_MAX);
        assert_eq!(conns(&untold.wait(9, ConnId(6), command())), [6]);
    }
}
