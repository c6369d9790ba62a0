//! The owner of a group that is deleted and created again while all runs: after each new beginning nothing is left of what the
//! group had consumed before, and nobody else touches it.

use super::{Context, Role, Sessions, is_ok, number, request};
use kerolox_wire::body::{SubscriptionGroupConfig, to_json};
use kerolox_wire::{Command, RequestCode, ResponseCode};

const TOPIC: &str = "orders";
const GROUP: &str = "sim-group-owner";
/// Far beyond the queue's end, so that nothing is kept for the group's sake.
const FIRST_OFFSET: u64 = 1_000_000;

/// What is being done, or to be done next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    Create,
    Commit,
    /// What is expected: the offset that was committed, or none.
    Query {
        committed: bool,
    },
    Delete,
}

pub struct GroupOwner {
    broker: usize,
    /// Lives of the group so far; each has an offset of its own.
    life: u64,
    step: Step,
    /// How often its broker had lost what it promised last when this life began.
    cuts: u64,
}

impl GroupOwner {
    /// Of the group on one broker.
    pub fn new(broker: usize) -> Self {
        Self { broker, life: 0, step: Step::Create, cuts: 0 }
    }

    fn offset(&self) -> u64 {
        FIRST_OFFSET + self.life
    }

    fn command(&self) -> Command {
        let mut place = vec![
            ("consumerGroup", GROUP.to_owned()),
            ("topic", TOPIC.to_owned()),
            ("queueId", "0".to_owned()),
        ];
        match self.step {
            Step::Create => {
                let config = SubscriptionGroupConfig {
                    group_name: GROUP.to_owned(),
                    ..SubscriptionGroupConfig::default()
                };
                Command::request(RequestCode::UPDATE_AND_CREATE_SUBSCRIPTIONGROUP).with_body(to_json(&config))
            }
            Step::Commit => {
                place.push(("commitOffset", self.offset().to_string()));
                request(RequestCode::UPDATE_CONSUMER_OFFSET, &place)
            }
            Step::Query { .. } => {
                place.push(("setZeroIfNotFound", "false".to_owned()));
                request(RequestCode::QUERY_CONSUMER_OFFSET, &place)
            }
            Step::Delete => request(
                RequestCode::DELETE_SUBSCRIPTIONGROUP,
                &[("groupName", GROUP.to_owned()), ("cleanOffset", "true".to_owned())],
            ),
        }
    }

    fn told(&self, context: &mut Context<'_>, committed: bool, answer: &Command) {
        let offset = is_ok(answer).then(|| number(answer, "offset"));
        let expected = committed.then(|| self.offset());
        if offset != expected {
            let (broker, life) = (self.broker, self.life);
            let what = format!(
                "{GROUP} of broker {broker} has offset {offset:?} in its life {life}, not {expected:?}"
            );
            context.ledger.violated(what);
        }
    }
}

impl Role for GroupOwner {
    type Asked = Step;

    fn topics(&self) -> &[&'static str] {
        &[TOPIC]
    }

    fn act(&mut self, sessions: &mut Sessions<Step>, context: &mut Context<'_>) {
        if context.ledger.lost_since(self.broker, &mut self.cuts) {
            // Nobody knows what is left of this life.
            self.step = Step::Delete;
            return sessions.hang_up(context, self.broker);
        }
        if sessions.count() == 0 && sessions.open_brokers(TOPIC).contains(&self.broker) {
            sessions.ask(context, self.broker, self.command(), self.step);
        }
    }

    fn answered(
        &mut self,
        sessions: &mut Sessions<Step>,
        context: &mut Context<'_>,
        broker: usize,
        asked: Step,
        answer: Option<&Command>,
    ) {
        let Some(answer) = answer else {
            // What is still on its way must not come later: it would be taken for something of another life.
            return sessions.hang_up(context, broker);
        };
        match asked {
            Step::Query { committed } if is_ok(answer) || answer.code == ResponseCode::QUERY_NOT_FOUND.0 => {
                self.told(context, committed, answer);
                self.step = if committed { Step::Delete } else { Step::Create };
            }
            _ if !is_ok(answer) => {}
            Step::Create => self.step = Step::Commit,
            Step::Commit => self.step = Step::Query { committed: true },
            Step::Delete => {
                self.life += 1;
                self.step = Step::Query { committed: false };
            }
            Step::Query { .. } => {}
        }
    }

    /// What it does is on its own disk.
    fn restart(&mut self) {}
}
