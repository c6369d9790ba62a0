//! What callers are told: one table from the brokers' answers to the codes that clients branch on.

use crate::v2::{Code, Status};
use kerolox_wire::{Command, ResponseCode};

/// Why a call is not done: the status of its answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) code: Code,
    pub(crate) message: String,
}

pub(crate) type Result<T> = std::result::Result<T, Refusal>;

/// What a broker's refusal is to a client; all others are [`Code::InternalServerError`]. Apache's proxy has the first five, and
/// 50001 for the rest, which tells nobody what to mend.
pub(crate) const CODES: &[(ResponseCode, Code)] = &[
    (ResponseCode::SYSTEM_BUSY, Code::TooManyRequests),
    (ResponseCode::REQUEST_CODE_NOT_SUPPORTED, Code::NotImplemented),
    (ResponseCode::SUBSCRIPTION_GROUP_NOT_EXIST, Code::ConsumerGroupNotFound),
    (ResponseCode::LMQ_QUOTA_EXCEEDED, Code::LiteTopicQuotaExceeded),
    (ResponseCode::LITE_SUBSCRIPTION_QUOTA_EXCEEDED, Code::LiteSubscriptionQuotaExceeded),
    (ResponseCode::TOPIC_NOT_EXIST, Code::TopicNotFound),
    (ResponseCode::NO_PERMISSION, Code::Forbidden),
    (ResponseCode::MESSAGE_ILLEGAL, Code::BadRequest),
    (ResponseCode::INVALID_PARAMETER, Code::BadRequest),
    (ResponseCode::SUBSCRIPTION_PARSE_FAILED, Code::IllegalFilterExpression),
    (ResponseCode::FLOW_CONTROL, Code::TooManyRequests),
    (ResponseCode::POLLING_FULL, Code::TooManyRequests),
    (ResponseCode::FLUSH_DISK_TIMEOUT, Code::MasterPersistenceTimeout),
    (ResponseCode::FLUSH_SLAVE_TIMEOUT, Code::SlavePersistenceTimeout),
    (ResponseCode::SLAVE_NOT_AVAILABLE, Code::HaNotAvailable),
    (ResponseCode::QUERY_NOT_FOUND, Code::OffsetNotFound),
];

impl Refusal {
    pub(crate) fn new(code: Code, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }

    /// What a broker's answer comes to.
    pub(crate) fn of(answer: &Command) -> Self {
        let found = CODES.iter().find(|(code, _)| code.0 == answer.code);
        let message = answer.remark.clone().unwrap_or_else(|| answer.code.to_string());
        Self { code: found.map_or(Code::InternalServerError, |(_, code)| *code), message }
    }

    /// Whether it says only that nobody could be asked just now.
    pub(crate) fn is_of_the_moment(&self) -> bool {
        self.code as i32 >= Code::TooManyRequests as i32
    }

    pub(crate) fn status(&self) -> Status {
        Status { code: self.code.into(), message: self.message.clone() }
    }
}

/// `OK`.
pub(crate) fn ok() -> Status {
    said(Code::Ok)
}

/// A code with nothing to add but its name.
pub(crate) fn said(code: Code) -> Status {
    Status { code: code.into(), message: code.as_str_name().to_owned() }
}

/// The status of a call for several things: the one code that they have in common, or that there are several.
pub(crate) fn of_all<'a>(mut statuses: impl Iterator<Item = &'a Status>) -> Status {
    let Some(first) = statuses.next() else { return ok() };
    match statuses.all(|status| status.code == first.code) {
        true => first.clone(),
        false => said(Code::MultipleResults),
    }
}
