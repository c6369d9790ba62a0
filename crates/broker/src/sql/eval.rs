//! What the parts of a condition mean for one message.

use super::{Expr, Order, Part};
use std::cmp::Ordering;

/// A value: properties are texts, constants may be anything.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Value<'a> {
    Null,
    Bool(bool),
    Int(i32),
    Long(i64),
    Double(f64),
    Text(&'a str),
    Owned(String),
}

/// Values that cannot be compared: the whole condition is not true then.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Incomparable;

/// Three-valued: `None` is unknown.
type Truth = Result<Option<bool>, Incomparable>;

impl Value<'_> {
    pub(super) fn is_number(&self) -> bool {
        matches!(self, Self::Int(_) | Self::Long(_) | Self::Double(_))
    }

    pub(super) fn negated(&self) -> Self {
        match self {
            Self::Int(n) => Self::Int(n.wrapping_neg()),
            Self::Long(n) => Self::Long(n.wrapping_neg()),
            Self::Double(n) => Self::Double(-n),
            _ => Self::Null,
        }
    }

    fn text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            Self::Owned(text) => Some(text),
            _ => None,
        }
    }
}

/// Java's `Double.valueOf`.
fn double(text: &str) -> Option<f64> {
    let text = text.trim_matches(|c: char| c <= ' ');
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    if unsigned.starts_with(|c: char| c.is_ascii_digit() || c == '.') {
        return text.strip_suffix(['f', 'F', 'd', 'D']).unwrap_or(text).parse().ok();
    }
    matches!(unsigned, "NaN" | "Infinity").then(|| text.parse().ok()).flatten()
}

/// How a number compares with another value, which is converted to its type where it is a text.
fn with_text(number: &Value<'_>, text: &str) -> Result<Ordering, Incomparable> {
    match number {
        Value::Bool(b) => Ok(b.cmp(&text.eq_ignore_ascii_case("true"))),
        Value::Int(n) => text.parse().map(|t: i32| n.cmp(&t)).map_err(|_| Incomparable),
        Value::Long(n) => text.parse().map(|t: i64| n.cmp(&t)).map_err(|_| Incomparable),
        Value::Double(n) => double(text).map(|t| n.total_cmp(&t)).ok_or(Incomparable),
        _ => Ok(Ordering::Less),
    }
}

/// Source: Apache's `ComparisonExpression.__compare`. What has no common type is "less".
pub(super) fn compare(left: &Value<'_>, right: &Value<'_>) -> Result<Ordering, Incomparable> {
    match (left.text(), right.text()) {
        (Some(a), Some(b)) => return Ok(a.encode_utf16().cmp(b.encode_utf16())),
        (Some(text), None) => return with_text(right, text).map(Ordering::reverse),
        // Apache casts the wrong side here.
        (None, Some(_)) if matches!(left, Value::Bool(_)) => return Err(Incomparable),
        (None, Some(text)) => return with_text(left, text),
        (None, None) => {}
    }
    let whole = |value: &Value<'_>| match value {
        Value::Int(n) => Some(i64::from(*n)),
        Value::Long(n) => Some(*n),
        _ => None,
    };
    let fraction = |value: &Value<'_>| match value {
        Value::Double(n) => Some(*n),
        value => whole(value).map(|n| n as f64),
    };
    Ok(match (left, right) {
        (Value::Bool(a), Value::Bool(b)) => a.cmp(b),
        _ => match (whole(left), whole(right)) {
            (Some(a), Some(b)) => a.cmp(&b),
            _ => match (fraction(left), fraction(right)) {
                (Some(a), Some(b)) => a.total_cmp(&b),
                _ => Ordering::Less,
            },
        },
    })
}

impl Expr {
    pub(super) fn is_true(&self, properties: &[Option<&str>]) -> bool {
        self.truth(properties) == Ok(Some(true))
    }

    fn value<'a>(&'a self, properties: &[Option<&'a str>]) -> Result<Value<'a>, Incomparable> {
        Ok(match self {
            Self::Constant(Value::Owned(text)) => Value::Text(text),
            Self::Constant(value) => value.clone(),
            Self::Property(number) => {
                properties.get(*number).copied().flatten().map_or(Value::Null, Value::Text)
            }
            Self::Negate(inner) => inner.value(properties)?.negated(),
            condition => condition.truth(properties)?.map_or(Value::Null, Value::Bool),
        })
    }

    fn truth(&self, properties: &[Option<&str>]) -> Truth {
        match self {
            Self::Constant(Value::Bool(value)) => Ok(Some(*value)),
            Self::Not(inner) => Ok(inner.truth(properties)?.map(|value| !value)),
            // A property is a text, never true itself; where it is missing, nothing is known.
            Self::Cast(inner) => Ok((inner.value(properties)? != Value::Null).then_some(false)),
            Self::And(a, b) => junction(a, b, properties, false),
            Self::Or(a, b) => junction(a, b, properties, true),
            Self::IsNull(inner) => Ok(Some(inner.value(properties)? == Value::Null)),
            Self::Equal(a, b) => equal(&a.value(properties)?, &b.value(properties)?),
            Self::Compare(order, a, b) => ordered(*order, &a.value(properties)?, &b.value(properties)?),
            Self::Text { part, of, search, not } => {
                let value = of.value(properties)?;
                let Some(text) = value.text().filter(|_| !search.is_empty()) else { return Ok(Some(false)) };
                let found = match part {
                    Part::Contains => text.contains(search.as_str()),
                    Part::StartsWith => text.starts_with(search.as_str()),
                    Part::EndsWith => text.ends_with(search.as_str()),
                };
                Ok(Some(found != *not))
            }
            Self::In { property, list, not } => {
                let value = properties.get(*property).copied().flatten();
                let found = value.map(|value| list.binary_search_by(|one| one.as_str().cmp(value)).is_ok());
                Ok(found.map(|found| found != *not))
            }
            Self::Constant(_) | Self::Property(_) | Self::Negate(_) => Ok(None),
        }
    }
}

/// `OR` where `decides` is true, `AND` where it is false: one side that has this value decides.
fn junction(a: &Expr, b: &Expr, properties: &[Option<&str>], decides: bool) -> Truth {
    let left = a.truth(properties)?;
    if left == Some(decides) {
        return Ok(left);
    }
    let right = b.truth(properties)?;
    if right == Some(decides) {
        return Ok(right);
    }
    Ok(left.and(right))
}

fn equal(left: &Value<'_>, right: &Value<'_>) -> Truth {
    match (left, right) {
        (Value::Null, Value::Null) => Ok(Some(true)),
        (Value::Null, _) => Ok(None),
        (_, Value::Null) => Ok(Some(false)),
        _ => Ok(Some(compare(left, right)?.is_eq())),
    }
}

fn ordered(order: Order, left: &Value<'_>, right: &Value<'_>) -> Truth {
    if [left, right].contains(&&Value::Null) {
        return Ok(None);
    }
    let ordering = match (left.text(), right.text()) {
        // Two properties: as numbers.
        (Some(a), Some(b)) => double(a).zip(double(b)).ok_or(Incomparable).map(|(a, b)| a.total_cmp(&b))?,
        _ => compare(left, right)?,
    };
    Ok(Some(match order {
        Order::Less => ordering.is_lt(),
        Order::LessOrEqual => ordering.is_le(),
        Order::Greater => ordering.is_gt(),
        Order::GreaterOrEqual => ordering.is_ge(),
    }))
}
