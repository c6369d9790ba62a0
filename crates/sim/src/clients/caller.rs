//! Request and reply: a client sends requests, and, being its own servant, reads them and replies; the broker hands each reply to
//! the client that the request names. Who replied is told that it arrived only if it did.

use super::{Context, EVERYWHERE, Role, Sessions, is_ok, number, pull, send};
use kerolox_wire::body::{HeartbeatData, ProducerData};
use kerolox_wire::properties::{Properties, name as property};
use kerolox_wire::{Command, RequestCode};

const TOPIC: &str = "calls";
const GROUP: &str = "sim-caller";

/// What is being done, or to be done next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    Create,
    Call,
    Serve { offset: u64 },
    Reply,
}

pub struct Caller {
    broker: usize,
    name: String,
    step: Step,
    /// Number of the request.
    call: u64,
    /// Where the last one that was acknowledged lies.
    at: u64,
    /// The process that asked now got its reply.
    replied: bool,
    cuts: u64,
}

impl Caller {
    /// Of a topic on one broker.
    pub fn new(broker: usize, name: &str) -> Self {
        Self { broker, name: name.to_owned(), step: Step::Create, call: 0, at: 0, replied: false, cuts: 0 }
    }

    fn properties(&self) -> String {
        let (correlation, asker) = (property::CORRELATION_ID, property::MESSAGE_REPLY_TO_CLIENT);
        format!("{correlation}\u{1}{}\u{2}{asker}\u{1}{}\u{2}", self.call, self.name)
    }

    fn command(&self) -> Command {
        match self.step {
            Step::Create => super::admin::create(TOPIC, 1, ""),
            Step::Call => send(GROUP, TOPIC, &self.properties(), format!("call {}", self.call)),
            Step::Serve { offset } => pull(GROUP, TOPIC, offset),
            Step::Reply => {
                let reply = send(GROUP, TOPIC, &self.properties(), format!("reply {}", self.call));
                Command { code: RequestCode::SEND_REPLY_MESSAGE.0, ..reply }
            }
        }
    }

    /// Looks for its request where it is said to lie.
    fn serve(&mut self, context: &mut Context<'_>, answer: &Command) {
        let wanted = (self.at, format!("call {}", self.call));
        let first = kerolox_wire::record::split(&answer.body).next().and_then(Result::ok);
        let found = first.map(|view| (view.queue_offset, String::from_utf8_lossy(view.body).into_owned()));
        self.step = Step::Reply;
        if found.as_ref() != Some(&wanted) {
            self.step = Step::Call;
            // It may have gone with its segment: nobody else has still to read it.
            if found.is_none_or(|(at, _)| at <= wanted.0) && number(answer, "minOffset") <= wanted.0 {
                let what = format!("{TOPIC} of broker {} holds not {wanted:?}", self.broker);
                context.ledger.violated(what);
            }
        }
    }
}

impl Role for Caller {
    type Asked = Step;

    fn topics(&self) -> &[&'static str] {
        &[EVERYWHERE]
    }

    fn heartbeat(&self, client: &str) -> HeartbeatData {
        let producer = ProducerData { group_name: GROUP.to_owned() };
        HeartbeatData {
            client_id: client.to_owned(),
            producer_data_set: vec![producer],
            ..HeartbeatData::default()
        }
    }

    fn act(&mut self, sessions: &mut Sessions<Step>, context: &mut Context<'_>) {
        if context.ledger.lost_since(self.broker, &mut self.cuts) {
            self.step = Step::Create;
            return sessions.hang_up(context, self.broker);
        }
        if sessions.count() > 0 || !sessions.is_open(self.broker) {
            return;
        }
        if self.step == Step::Call {
            self.call += 1;
            self.replied = false;
        }
        sessions.ask(context, self.broker, self.command(), self.step);
    }

    fn answered(
        &mut self,
        _sessions: &mut Sessions<Step>,
        context: &mut Context<'_>,
        broker: usize,
        asked: Step,
        answer: Option<&Command>,
    ) {
        let Some(answer) = answer else {
            // One that was perhaps sent is not sent again.
            self.step = if asked == Step::Create { Step::Create } else { Step::Call };
            return;
        };
        match asked {
            Step::Serve { .. } if is_ok(answer) || answer.fields.get("nextBeginOffset").is_some() => {
                self.serve(context, answer);
            }
            Step::Create | Step::Serve { .. } if !is_ok(answer) => {}
            Step::Create => self.step = Step::Call,
            Step::Call if is_ok(answer) => {
                self.at = number(answer, "queueOffset");
                self.step = Step::Serve { offset: self.at };
            }
            Step::Reply if is_ok(answer) && !self.replied => {
                let what = format!("broker {broker} says that reply {} arrived, and it did not", self.call);
                context.ledger.violated(what);
            }
            // If the reply was refused, its broker did not know yet that the client is there.
            _ => self.step = Step::Call,
        }
    }

    fn asked(
        &mut self,
        sessions: &mut Sessions<Step>,
        context: &mut Context<'_>,
        broker: usize,
        question: &Command,
    ) {
        if question.code != RequestCode::PUSH_REPLY_MESSAGE_TO_CLIENT.0 {
            return;
        }
        let properties = question.fields.get("properties").unwrap_or_default().to_owned();
        let call =
            Properties(properties.as_bytes()).get(property::CORRELATION_ID).and_then(|n| n.parse().ok());
        let good = call.is_some_and(|call: u64| {
            call <= self.call && question.body == format!("reply {call}").into_bytes()
        });
        if !good {
            let what = format!("a reply to call {call:?} of {} came altered, or to another", self.call);
            context.ledger.violated(what);
        }
        self.replied |= call == Some(self.call);
        sessions.answer(context, broker, question);
    }

    /// The next process knows nothing of this one's calls but their number.
    fn restart(&mut self) {
        self.step = if self.step == Step::Create { Step::Create } else { Step::Call };
    }
}
