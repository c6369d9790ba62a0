//! SQL92 filters: what a consumer wants, as a condition over the properties of messages.
//!
//! The grammar and what it means are those of Apache's `SelectorParser` and its expressions, down to where a comparison of
//! a text that is no number makes the whole condition untrue; see `docs/protocol/sql92.md`. A condition is compiled once
//! ([`Sql::parse`]); for each message its properties are read once, and each part of the condition is looked at once.

mod eval;
mod lex;
mod parse;

use eval::Value;
use kerolox_store::Filter;
use kerolox_wire::record::RecordView;
use std::collections::HashMap;
use std::fmt;

/// Longest condition, in bytes.
pub const BYTES_MAX: usize = 16 * 1024;
/// Parts of a condition: constants, properties and operators.
const PARTS_MAX: usize = 2_048;
/// How deep parts may be nested.
const DEPTH_MAX: usize = 64;

/// Why a text is no condition, and where (in bytes).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SqlError {
    pub at: usize,
    pub why: String,
}

impl fmt::Display for SqlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the SQL92 expression is not valid at byte {}: {}", self.at, self.why)
    }
}

/// A compiled condition.
#[derive(Debug)]
pub struct Sql {
    root: Expr,
    /// Properties that it mentions; parts name them by number.
    names: HashMap<Box<str>, usize>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Order {
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    Contains,
    StartsWith,
    EndsWith,
}

#[derive(Debug)]
enum Expr {
    Constant(Value<'static>),
    Property(usize),
    Negate(Box<Self>),
    Not(Box<Self>),
    /// A property in the place of a condition.
    Cast(Box<Self>),
    And(Box<Self>, Box<Self>),
    Or(Box<Self>, Box<Self>),
    Equal(Box<Self>, Box<Self>),
    IsNull(Box<Self>),
    Compare(Order, Box<Self>, Box<Self>),
    Text {
        part: Part,
        of: Box<Self>,
        search: String,
        not: bool,
    },
    In {
        property: usize,
        list: Vec<String>,
        not: bool,
    },
}

impl Sql {
    /// # Errors
    /// The text is not in the grammar, compares what cannot be compared, or exceeds a limit.
    pub fn parse(text: &str) -> Result<Self, SqlError> {
        if text.len() > BYTES_MAX {
            let why = format!("it is {} bytes long, the limit is {BYTES_MAX}", text.len());
            return Err(SqlError { at: BYTES_MAX, why });
        }
        parse::parse(text)
    }

    /// Whether the condition is true for these properties (the last of several of one name counts).
    pub fn matches<'a>(&self, properties: impl Iterator<Item = (&'a str, &'a str)>) -> bool {
        let mut values = vec![None; self.names.len()];
        for (name, value) in properties {
            if let Some(slot) = self.names.get(name).and_then(|number| values.get_mut(*number)) {
                *slot = Some(value);
            }
        }
        self.root.is_true(&values)
    }
}

impl Filter for Sql {
    fn tag(&self, _: i64) -> bool {
        true
    }

    fn record(&self, record: &[u8]) -> bool {
        RecordView::parse(record).is_ok_and(|view| self.matches(view.properties().iter()))
    }
}

#[cfg(test)]
mod tests;
