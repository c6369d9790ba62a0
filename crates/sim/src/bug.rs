//! Brokers that are wrong on purpose, to see that the checks bite.

use crate::random::Random;
use kerolox_wire::fields::Fields;
use kerolox_wire::{Command, RequestCode};

/// Ways in which a broker could be wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bug {
    /// Says that writes are on stable storage when they are not even written.
    AckBeforeFlush,
    /// Says that writes are on stable storage when they are only written.
    AckBeforeSync,
    /// Messages come with another body.
    AlteredBody,
    /// The clock by which it delivers is ahead.
    EarlyTimer,
    /// Some timer messages are put off by a day.
    LostTimer,
    /// Some commits are taken for roll-backs.
    LostCommit,
    /// Some roll-backs are taken for commits.
    UndoneRollBack,
    /// Some acknowledgements of popped messages are answered and not done.
    ForgottenAck,
    /// Some acknowledgements of popped messages are taken for those of their neighbours.
    MistakenAck,
    /// Some demands for more time are taken for shorter ones than is answered.
    ShortenedTime,
    /// Pops in order are taken for others.
    ForgottenOrder,
    /// What was damaged on the disk is served.
    SkippedCrc,
    /// Some state records that carry offsets are passed over at a start.
    LostOffset,
    /// Some state records that carry acknowledgements of pops are.
    LostPopEnd,
    /// Some commits of offsets are taken for those of lower ones.
    OffsetBack,
    /// Some messages are told to lie where the one before does.
    DuplicateOffset,
    /// What is old goes, whoever has still to read it.
    TakenUnread,
    /// Under asynchronous flush: syncs much later than it says.
    LateSync,
    /// Gives a lock to whoever asks for it.
    SharedLock,
    /// Some messages of a key are taken for those of another.
    MistakenKey,
    /// Some messages of a priority are taken for those of none.
    LostPriority,
    /// Replies are handed over as those to another request.
    MistakenReply,
    /// Some acknowledgements of one lite topic are taken for those of another.
    MistakenRoom,
}

impl Bug {
    /// All of them.
    pub const ALL: [Self; 23] = [
        Self::AckBeforeFlush,
        Self::AckBeforeSync,
        Self::AlteredBody,
        Self::EarlyTimer,
        Self::LostTimer,
        Self::LostCommit,
        Self::UndoneRollBack,
        Self::ForgottenAck,
        Self::MistakenAck,
        Self::ShortenedTime,
        Self::ForgottenOrder,
        Self::SkippedCrc,
        Self::LostOffset,
        Self::LostPopEnd,
        Self::OffsetBack,
        Self::DuplicateOffset,
        Self::TakenUnread,
        Self::LateSync,
        Self::SharedLock,
        Self::MistakenKey,
        Self::LostPriority,
        Self::MistakenReply,
        Self::MistakenRoom,
    ];

    /// The kind of state entries (`docs/formats/broker-state.md`) of which a broker with this bug passes some over at a start.
    pub(crate) fn forgets(self) -> Option<u8> {
        match self {
            Self::LostOffset => Some(20),
            Self::LostPopEnd => Some(33),
            _ => None,
        }
    }

    /// A request as a broker with this bug understands it.
    pub(crate) fn mistake(self, mut command: Command, random: &mut Random) -> Command {
        let acks = command.code == RequestCode::ACK_MESSAGE.0;
        let (name, right, wrong) = match self {
            Self::LostTimer => {
                ("properties", "TIMER_DELIVER_MS\u{1}1", "TIMER_DELAY_SEC\u{1}86400\u{2}_\u{1}")
            }
            Self::LostCommit => ("commitOrRollback", "8", "12"),
            Self::UndoneRollBack => ("commitOrRollback", "12", "8"),
            Self::SharedLock if command.code == RequestCode::LOCK_BATCH_MQ.0 => {
                let body = String::from_utf8_lossy(&command.body).replace("locker-1", "locker-0");
                command.body = body.into();
                return command;
            }
            Self::MistakenKey => ("properties", "KEYS\u{1}k3", "KEYS\u{1}k4"),
            Self::LostPriority => ("properties", "_SYS_MSG_PRIORITY_\u{1}1", "_SYS_MSG_PRIORITY_\u{1}x"),
            Self::MistakenRoom => ("liteTopic", "a", "b"),
            Self::ForgottenOrder => ("order", "true", "false"),
            Self::OffsetBack if random.one_in(4) => {
                return with_field(command, "commitOffset", |offset| altered(offset, |offset| offset - 1));
            }
            Self::ForgottenAck if acks => ("consumerGroup", "sim", "another"),
            Self::MistakenAck if acks => {
                return with_field(command, "offset", |offset| altered(offset, |offset| offset ^ 1));
            }
            _ => return command,
        };
        match random.one_in(4) {
            true => with_field(command, name, |value| value.replace(right, wrong)),
            false => command,
        }
    }

    /// What a broker with this bug gives instead of what it should.
    pub(crate) fn alter(self, mut command: Command, random: &mut Random) -> Command {
        match self {
            Self::ShortenedTime if command.fields.get("restNum").is_none() => {
                with_field(command, "invisibleTime", |ms| altered(ms, |ms| ms * 2))
            }
            Self::DuplicateOffset if random.one_in(4) => {
                with_field(command, "queueOffset", |offset| altered(offset, |offset| (offset - 1).max(0)))
            }
            Self::MistakenReply if command.code == RequestCode::PUSH_REPLY_MESSAGE_TO_CLIENT.0 => {
                with_field(command, "properties", |text| {
                    text.replace("CORRELATION_ID\u{1}", "CORRELATION_ID\u{1}1")
                })
            }
            Self::AlteredBody if command.body.len() > 200 && random.one_in(20) => {
                let mut bytes = command.body.to_vec();
                bytes.iter_mut().filter(|b| b.is_ascii_digit()).for_each(|b| *b = b'7');
                command.body = bytes.into();
                command
            }
            _ => command,
        }
    }
}

fn altered(number: &str, change: impl Fn(i64) -> i64) -> String {
    number.parse().map_or(String::new(), |number| change(number).to_string())
}

/// The same with a field changed, if it has it.
fn with_field(mut command: Command, name: &str, change: impl Fn(&str) -> String) -> Command {
    let changed = |(key, value): (&str, &str)| match key == name {
        true => (key.to_owned(), change(value)),
        false => (key.to_owned(), value.to_owned()),
    };
    let pairs: Vec<(String, String)> = command.fields.iter().map(changed).collect();
    command.fields = Fields::new();
    pairs.iter().for_each(|(key, value)| command.fields.push(key, value));
    command
}
