//! Clients as the official ones behave: they find their brokers through name servers, send heartbeats, ask with time-outs, and
//! go on elsewhere when something fails.

pub mod admin;
pub mod caller;
pub mod consumer;
pub mod group_owner;
pub mod keeper;
pub mod lite;
pub mod locker;
pub mod owner;
pub mod popper;
pub mod producer;
mod sessions;

pub use sessions::{Actor, Client, Context, Out, Sessions};

use kerolox_wire::body::HeartbeatData;
use kerolox_wire::{Command, RequestCode, ResponseCode};

/// The group that all producers are of.
pub const PRODUCERS: &str = "sim-producers";
/// A topic that every broker has.
const EVERYWHERE: &str = "TBW102";

/// What a kind of client does, beside what all do.
pub trait Role {
    /// Why it asked something.
    type Asked;

    /// The topics whose routes it needs.
    fn topics(&self) -> &[&'static str];

    /// What it says of itself to its brokers: of most, who they are.
    fn heartbeat(&self, client: &str) -> HeartbeatData {
        HeartbeatData { client_id: client.to_owned(), ..HeartbeatData::default() }
    }

    /// It may do something.
    fn act(&mut self, sessions: &mut Sessions<Self::Asked>, context: &mut Context<'_>);

    /// A broker answered; `None`: it did not in time, or the connection broke.
    fn answered(
        &mut self,
        sessions: &mut Sessions<Self::Asked>,
        context: &mut Context<'_>,
        broker: usize,
        asked: Self::Asked,
        answer: Option<&Command>,
    );

    /// A broker asks something.
    fn asked(
        &mut self,
        _sessions: &mut Sessions<Self::Asked>,
        _context: &mut Context<'_>,
        _broker: usize,
        _question: &Command,
    ) {
    }

    /// The process dies and starts anew.
    fn restart(&mut self);
}

pub(crate) fn request(code: RequestCode, pairs: &[(&str, String)]) -> Command {
    let mut command = Command::request(code);
    for (name, value) in pairs {
        command.fields.push(name, value);
    }
    command
}

/// A send of one message, outside the topics that all read.
pub(crate) fn send(group: &str, topic: &str, properties: &str, body: String) -> Command {
    let pairs = [
        ("producerGroup", group),
        ("topic", topic),
        ("defaultTopic", EVERYWHERE),
        ("defaultTopicQueueNums", "1"),
        ("queueId", "0"),
        ("sysFlag", "0"),
        ("bornTimestamp", "0"),
        ("flag", "0"),
        ("properties", properties),
    ];
    request(RequestCode::SEND_MESSAGE, &pairs.map(|(name, value)| (name, value.to_owned()))).with_body(body)
}

/// A pull from queue 0 of a topic that does not wait.
pub(crate) fn pull(group: &str, topic: &str, offset: u64) -> Command {
    let offset = offset.to_string();
    let pairs = [
        ("consumerGroup", group),
        ("topic", topic),
        ("queueId", "0"),
        ("queueOffset", &offset),
        ("maxMsgNums", "32"),
        ("sysFlag", "4"),
        ("commitOffset", "0"),
        ("suspendTimeoutMillis", "0"),
        ("subVersion", "0"),
        ("subscription", "*"),
    ];
    request(RequestCode::PULL_MESSAGE, &pairs.map(|(name, value)| (name, value.to_owned())))
}

pub(crate) fn number(command: &Command, name: &str) -> u64 {
    command.fields.get(name).and_then(|text| text.parse().ok()).unwrap_or(0)
}

pub(crate) fn is_ok(command: &Command) -> bool {
    command.code == ResponseCode::SUCCESS.0
}
