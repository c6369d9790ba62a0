//! The keeper of a compaction topic: of what retention takes the last message of each key stays, and whoever reads the topic from
//! its beginning learns all that is so.

use super::{Context, EVERYWHERE, Role, Sessions, is_ok, number, pull, send};
use kerolox_wire::Command;
use kerolox_wire::properties::name as property;
use kerolox_wire::record::RecordView;
use std::collections::{BTreeMap, BTreeSet};

const TOPIC: &str = "latest";
const GROUP: &str = "sim-keeper";
const KEYS: u64 = 8;
/// Messages between two readings, at most.
const MESSAGES: u64 = 40;

/// What is being done, or to be done next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    Create,
    Send { key: u64 },
    Read { offset: u64 },
}

pub struct Keeper {
    broker: usize,
    step: Step,
    /// Number of the message that was sent last; later ones have greater ones.
    sent: u64,
    /// Messages since the topic was read last.
    since: u64,
    /// Of each key: the number of the last message.
    acked: BTreeMap<u64, u64>,
    /// Messages whose send was not answered: their connection broke, and they may come behind later ones.
    loose: BTreeSet<u64>,
    /// What this reading found so far, and the number of the message before.
    found: BTreeMap<u64, u64>,
    before: u64,
    /// How often its broker had lost what it promised last.
    cuts: u64,
}

impl Keeper {
    /// Of the topic on one broker.
    pub fn new(broker: usize) -> Self {
        Self {
            broker,
            step: Step::Create,
            sent: 0,
            since: 0,
            acked: BTreeMap::new(),
            loose: BTreeSet::new(),
            found: BTreeMap::new(),
            before: 0,
            cuts: 0,
        }
    }

    fn command(&self) -> Command {
        match self.step {
            Step::Create => super::admin::create(TOPIC, 1, "+cleanup.policy=COMPACTION"),
            Step::Send { key } => {
                let properties = format!("KEYS\u{1}k{key}\u{2}n\u{1}{}\u{2}", self.sent);
                let body = "x".repeat((self.sent * 37 % 1_500) as usize + 1);
                send(GROUP, TOPIC, &properties, body)
            }
            Step::Read { offset } => pull(GROUP, TOPIC, offset),
        }
    }

    fn read(&mut self, context: &mut Context<'_>, offset: u64, answer: &Command) {
        let mut offset = offset;
        for view in kerolox_wire::record::split(&answer.body) {
            let told = view.as_ref().ok().and_then(told);
            let at = view.as_ref().map_or(0, |view| view.queue_offset);
            let in_order = |n: &u64| *n > self.before || self.loose.contains(n);
            let good = told.filter(|(_, n)| at >= offset && in_order(n) && *n <= self.sent);
            let Some((key, n)) = good else {
                let before = self.before;
                let what = format!("{TOPIC} of broker {} holds {told:?}@{at} behind {before}", self.broker);
                context.ledger.violated(what);
                return self.next(context);
            };
            self.before = if self.loose.contains(&n) { self.before } else { n };
            self.found.insert(key, n);
            offset = at + 1;
        }
        let next = number(answer, "nextBeginOffset").max(offset);
        if next > offset || is_ok(answer) {
            self.step = Step::Read { offset: next };
            return;
        }
        for (key, n) in &self.acked {
            let found = self.found.get(key);
            if found.is_none_or(|found| found < n && !self.loose.contains(found)) {
                let what =
                    format!("{TOPIC} of broker {} has {found:?} as the last of {key}, not {n}", self.broker);
                context.ledger.violated(what);
            }
        }
        self.next(context);
    }

    /// Another message, or everything from the beginning.
    fn next(&mut self, context: &mut Context<'_>) {
        let random = &mut *context.random;
        self.step = match context.closing || self.since >= MESSAGES || random.one_in(MESSAGES) {
            true => {
                (self.since, self.before) = (0, 0);
                self.found.clear();
                Step::Read { offset: 0 }
            }
            false => Step::Send { key: random.below(KEYS) },
        };
    }
}

/// The key of a message, and its number.
fn told(view: &RecordView<'_>) -> Option<(u64, u64)> {
    let properties = view.properties();
    let key = properties.get(property::KEYS)?.strip_prefix('k')?.parse().ok()?;
    Some((key, properties.get("n")?.parse().ok()?))
}

impl Role for Keeper {
    type Asked = Step;

    fn topics(&self) -> &[&'static str] {
        &[EVERYWHERE]
    }

    fn act(&mut self, sessions: &mut Sessions<Step>, context: &mut Context<'_>) {
        if context.ledger.lost_since(self.broker, &mut self.cuts) {
            // Nobody knows what is left of it, nor whether there is such a topic.
            self.acked.clear();
            self.step = Step::Create;
            return sessions.hang_up(context, self.broker);
        }
        if sessions.count() == 0 && sessions.is_open(self.broker) {
            if matches!(self.step, Step::Send { .. }) {
                self.sent += 1;
                self.since += 1;
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
            if matches!(asked, Step::Send { .. }) {
                self.loose.insert(self.sent);
            }
            return sessions.hang_up(context, broker);
        };
        match asked {
            Step::Read { offset } if is_ok(answer) || answer.fields.get("nextBeginOffset").is_some() => {
                self.read(context, offset, answer);
            }
            _ if !is_ok(answer) => {}
            Step::Send { key } => {
                self.acked.insert(key, self.sent);
                self.next(context);
            }
            Step::Create => self.next(context),
            Step::Read { .. } => {}
        }
    }

    /// What it does is on its own disk. What it sent before it died may still be under way, and come behind later ones (seed 806652).
    fn restart(&mut self) {
        self.loose.insert(self.sent);
    }
}
