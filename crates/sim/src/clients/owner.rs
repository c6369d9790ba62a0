//! The owner of a topic that is deleted and created again while all runs: after each new beginning there is nothing in it but what
//! was sent since, from offset 0 on, and nobody else touches it.

use super::{Context, EVERYWHERE, Role, Sessions, is_ok, number, pull, request, send};
use kerolox_store::Position;
use kerolox_wire::message_id::MessageId;
use kerolox_wire::record::RecordView;
use kerolox_wire::{Command, RequestCode, ResponseCode};

const TOPIC: &str = "scratch";
const GROUP: &str = "sim-owner";
/// Messages of one life of the topic, at most.
const MESSAGES: u64 = 12;

/// What is being done, or to be done next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    Delete,
    Create,
    Send,
    Commit,
    Read { offset: u64 },
}

pub struct Owner {
    broker: usize,
    /// Lives of the topic so far.
    life: u64,
    step: Step,
    /// How often its broker had lost what it promised last when this life began.
    cuts: u64,
    /// Offsets of messages that were acknowledged in this life, where in the log they lie, and how many sends of it were begun.
    acked: Vec<(u64, Position)>,
    begun: u64,
}

impl Owner {
    /// Of the topic on one broker.
    pub fn new(broker: usize) -> Self {
        Self { broker, life: 0, step: Step::Delete, cuts: 0, acked: Vec::new(), begun: 0 }
    }

    fn command(&self) -> Command {
        let topic = ("topic", TOPIC.to_owned());
        let queue = ("queueId", "0".to_owned());
        let group = ("consumerGroup", GROUP.to_owned());
        match self.step {
            Step::Delete => request(RequestCode::DELETE_TOPIC_IN_BROKER, &[topic]),
            Step::Create => super::admin::create(TOPIC, 1, ""),
            Step::Send => send(GROUP, TOPIC, "", format!("{} {}", self.life, self.begun)),
            Step::Commit => {
                let offset = ("commitOffset", (self.acked.len() as u64).to_string());
                request(RequestCode::UPDATE_CONSUMER_OFFSET, &[group, topic, queue, offset])
            }
            Step::Read { offset } => pull(GROUP, TOPIC, offset),
        }
    }

    fn read(&mut self, context: &mut Context<'_>, offset: u64, answer: &Command) {
        let mut offset = offset;
        for view in kerolox_wire::record::split(&answer.body) {
            let told = view.as_ref().ok().map(|view| (view.queue_offset, message(view)));
            let good = told.is_some_and(|(at, of)| {
                at >= offset && of.is_some_and(|(life, number)| life == self.life && number <= self.begun)
            });
            if !good {
                let what =
                    format!("{TOPIC} of broker {} in its life {} holds {told:?}", self.broker, self.life);
                context.ledger.violated(what);
            }
            let Some((at, _)) = told else { return };
            self.acked.retain(|(acked, _)| *acked != at);
            offset = at + 1;
        }
        let next = number(answer, "nextBeginOffset");
        if next > offset || is_ok(answer) {
            self.step = Step::Read { offset: next.max(offset) };
            return;
        }
        let (broker, life) = (self.broker, self.life);
        self.acked.retain(|(_, position)| !context.ledger.gone.took(broker, *position));
        if !self.acked.is_empty() {
            let what = format!("{TOPIC} of broker {broker} lost {:?} in its life {life}", self.acked);
            context.ledger.violated(what);
        }
        self.step = Step::Delete;
    }
}

/// The life and number that a message was sent as.
fn message(view: &RecordView<'_>) -> Option<(u64, u64)> {
    let (life, number) = std::str::from_utf8(view.body).ok()?.split_once(' ')?;
    Some((life.parse().ok()?, number.parse().ok()?))
}

impl Role for Owner {
    type Asked = Step;

    fn topics(&self) -> &[&'static str] {
        &[EVERYWHERE]
    }

    fn act(&mut self, sessions: &mut Sessions<Step>, context: &mut Context<'_>) {
        if context.ledger.lost_since(self.broker, &mut self.cuts) {
            // Nobody knows what is left of this life.
            self.step = Step::Delete;
            return sessions.hang_up(context, self.broker);
        }
        let idle = sessions.count() == 0 && sessions.is_open(self.broker);
        if idle && !(context.closing && self.step == Step::Delete) {
            if self.step == Step::Send {
                self.begun += 1;
            }
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
        let gone = asked == Step::Delete && answer.code == ResponseCode::TOPIC_NOT_EXIST.0;
        match asked {
            Step::Read { offset } if is_ok(answer) || answer.fields.get("nextBeginOffset").is_some() => {
                self.read(context, offset, answer);
            }
            _ if !(is_ok(answer) || gone) => {}
            Step::Delete => {
                self.life += 1;
                self.acked.clear();
                self.begun = 0;
                self.step = Step::Create;
            }
            Step::Create => self.step = Step::Send,
            Step::Send => {
                let id = answer.fields.get("msgId").and_then(|id| id.parse::<MessageId>().ok());
                self.acked.push((number(answer, "queueOffset"), id.map_or(0, |id| id.position)));
                if self.begun >= MESSAGES || context.random.one_in(10) {
                    self.step = Step::Commit;
                }
            }
            Step::Commit => self.step = Step::Read { offset: 0 },
            Step::Read { .. } => {}
        }
    }

    /// What it does is on its own disk.
    fn restart(&mut self) {}
}
