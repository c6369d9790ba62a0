//! What bytes mean on RocketMQ's wire and in its log: frames, commands, codes, headers, message records and
//! properties. Nothing here does IO, reads a clock or keeps state between calls.
//!
//! In suggested reading order: [`frame`] cuts a byte stream into frames, [`command`] gives a frame its meaning
//! (JSON or ROCKETMQ binary header), [`codes`] names what can be asked and answered, [`header`] turns the
//! string fields of a command into typed structs and [`body`] the JSON that it may carry, [`names`] says what may be called what,
//! [`record`] is a message as the CommitLog keeps it and [`properties`] is what is written on it.
//!
//! `docs/formats/wire.md` and `docs/formats/commitlog.md` draw the bytes.

pub mod base64;
pub mod body;
pub mod codes;
pub mod command;
pub mod fields;
pub mod frame;
pub mod header;
pub mod java_properties;
pub mod language;
pub mod message_id;
pub mod names;
pub mod properties;
pub mod recall;
pub mod receipt;
pub mod record;
pub mod sys_flag;

pub use codes::{RequestCode, ResponseCode};
pub use command::{Command, Encoding};
pub use fields::Fields;
pub use language::Language;
pub use message_id::MessageId;
