//! One key of a configuration file: what it may be and what is done with it.

use std::fmt;

/// The class of Apache's that the key comes from, and so the files in which it may stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Of {
    Broker,
    Store,
    Namesrv,
    Server,
    Client,
    Auth,
    /// Kerolox's own: Apache's has none of that name.
    Own,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Kind {
    Bool,
    /// From, to.
    Int(i64, i64),
    Float,
    Text,
    /// A name as brokers and clusters have.
    Name,
    /// Apache's `messageDelayLevel`.
    Delays,
    Choice(&'static [&'static str]),
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum State {
    /// Does this.
    Honoured(&'static str),
    /// Any value but the default is passed over with a warning: why.
    Ignored(&'static str),
    /// Only these values are accepted: why.
    Refused { inert: &'static [&'static str], why: &'static str },
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct Key {
    pub(crate) of: Of,
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
    /// Apache's default.
    pub(crate) default: &'static str,
    /// Kerolox's own default where it differs.
    pub(crate) here: &'static str,
    #[cfg_attr(not(test), allow(dead_code))] // for the documentation
    pub(crate) unit: &'static str,
    pub(crate) state: State,
}

/// Longest name of a broker or cluster.
const NAME_CHARS_MAX: usize = 127;

impl Kind {
    /// Whether `value` is one of this kind.
    pub(crate) fn admits(self, value: &str) -> bool {
        match self {
            Self::Bool => value == "true" || value == "false",
            Self::Int(from, to) => value.parse::<i64>().is_ok_and(|v| (from..=to).contains(&v)),
            Self::Float => value.parse::<f64>().is_ok_and(f64::is_finite),
            Self::Text => true,
            Self::Name => {
                !value.is_empty()
                    && value.len() <= NAME_CHARS_MAX
                    && value.chars().all(|c| c.is_ascii_alphanumeric() || "-_.%|".contains(c))
            }
            Self::Delays => kerolox_broker::config::parse_delay_levels(value).is_ok(),
            Self::Choice(values) => values.contains(&value),
        }
    }
}

/// What is allowed, to follow "must be".
impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bool => f.write_str("true or false"),
            Self::Int(i64::MIN, i64::MAX) => f.write_str("a whole number"),
            Self::Int(from, to) => write!(f, "a whole number from {from} to {to}"),
            Self::Float => f.write_str("a number"),
            Self::Text => f.write_str("text"),
            Self::Name => {
                write!(f, "1 to {NAME_CHARS_MAX} letters, digits and any of `-_.%|`")
            }
            Self::Delays => {
                f.write_str("1 to 64 numbers, each followed by s, m, h or d, separated by spaces")
            }
            Self::Choice(values) => write!(f, "one of {}", values.join(", ")),
        }
    }
}
