//! Consumers in order, as far as locks go: of those that lock the same queue one has it at a time.

use super::{Context, EVERYWHERE, Role, Sessions, is_ok};
use crate::network::broker_name;
use kerolox_wire::body::{LockBatchRequestBody, LockBatchResponseBody, MessageQueue, from_json, to_json};
use kerolox_wire::{Command, RequestCode};

const GROUP: &str = "sim-locks";
const TOPIC: &str = "orders";

/// What is being done, or to be done next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    Lock { asked_ms: i64 },
    Unlock,
}

pub struct Locker {
    broker: usize,
    name: String,
    step: Step,
    /// When it does something next.
    next_ms: i64,
}

impl Locker {
    /// Of queue 0 of a topic on one broker.
    pub fn new(broker: usize, name: &str) -> Self {
        Self { broker, name: name.to_owned(), step: Step::Unlock, next_ms: 0 }
    }

    fn command(&self) -> Command {
        let queue =
            MessageQueue { topic: TOPIC.to_owned(), broker_name: broker_name(self.broker), queue_id: 0 };
        let body = LockBatchRequestBody {
            client_id: self.name.clone(),
            consumer_group: GROUP.to_owned(),
            mq_set: vec![queue],
            only_this_broker: false,
        };
        let code = match self.step {
            Step::Lock { .. } => RequestCode::LOCK_BATCH_MQ,
            Step::Unlock => RequestCode::UNLOCK_BATCH_MQ,
        };
        Command::request(code).with_body(to_json(&body))
    }
}

impl Role for Locker {
    type Asked = Step;

    fn topics(&self) -> &[&'static str] {
        &[EVERYWHERE]
    }

    fn act(&mut self, sessions: &mut Sessions<Step>, context: &mut Context<'_>) {
        let now_ms = context.now_ms;
        if now_ms < self.next_ms || sessions.count() > 0 || !sessions.is_open(self.broker) {
            return;
        }
        if let Step::Lock { asked_ms } = &mut self.step {
            *asked_ms = now_ms;
        } else {
            context.ledger.locks.given_up(&self.name);
        }
        sessions.ask(context, self.broker, self.command(), self.step);
    }

    fn answered(
        &mut self,
        sessions: &mut Sessions<Step>,
        context: &mut Context<'_>,
        broker: usize,
        asked: Step,
        answer: Option<&Command>,
    ) {
        let now_ms = context.now_ms;
        let Some(answer) = answer.filter(|answer| is_ok(answer)) else {
            // An unlock that is still on its way must not come when it has locked again.
            context.ledger.locks.given_up(&self.name);
            self.step = Step::Unlock;
            return sessions.hang_up(context, broker);
        };
        if let Step::Lock { asked_ms } = asked {
            let body: LockBatchResponseBody = from_json(&answer.body).unwrap_or_default();
            if !body.lock_ok_mq_set.is_empty() {
                let ledger = &mut *context.ledger;
                let other = ledger.locks.given(&ledger.clocks, broker, &self.name, asked_ms, now_ms);
                other.into_iter().for_each(|what| ledger.violated(what));
            }
        }
        self.step = match asked {
            Step::Lock { .. } if context.random.one_in(4) => Step::Unlock,
            _ => Step::Lock { asked_ms: 0 },
        };
        self.next_ms = now_ms + context.random.between(0, 1_500);
    }

    fn restart(&mut self) {
        self.step = Step::Unlock;
    }
}
