//! Attributes of topics and groups: which there are, and how they are changed. Source: Apache's `TopicAttributes`,
//! `SubscriptionGroupAttributes`, `AttributeUtil` and `AttributeParser` (5.5).

use std::collections::BTreeMap;

/// What a value must be.
#[derive(Debug, Clone, Copy)]
enum Kind {
    OneOf(&'static [&'static str]),
    Range(i64, i64),
    Bool,
    Text,
}

/// An attribute that a topic or a group may have.
#[derive(Debug)]
pub(crate) struct Attribute {
    name: &'static str,
    /// May be set, changed and removed after the creation.
    changeable: bool,
    kind: Kind,
}

const fn fixed(name: &'static str, values: &'static [&'static str]) -> Attribute {
    Attribute { name, changeable: false, kind: Kind::OneOf(values) }
}

const fn free(name: &'static str, kind: Kind) -> Attribute {
    Attribute { name, changeable: true, kind }
}

/// `DELETE`: retention takes old messages; `COMPACTION`: it leaves the last message of each key.
pub(crate) const CLEANUP_POLICY: &str = "cleanup.policy";
/// Hours for which the topic's messages are kept, whatever the log's own retention says; not above 0: as that says. (In Apache of its
/// tiered store only.)
pub(crate) const RESERVE_TIME: &str = "reserve.time";
/// Bytes of the topic's messages above which the oldest go. Kerolox's own.
pub(crate) const RESERVE_BYTES: &str = "reserve.bytes";
pub(crate) const MESSAGE_TYPE: &str = "message.type";
/// Minutes without a message after which a lite topic goes; not above 0: never.
pub(crate) const LITE_EXPIRATION: &str = "lite.topic.expiration";

/// Longest `lite.topic.expiration`: 30 days in minutes.
const LITE_EXPIRATION_MAX: i64 = 30 * 24 * 60;
const MESSAGE_TYPES: &[&str] =
    &["UNSPECIFIED", "NORMAL", "FIFO", "DELAY", "TRANSACTION", "PRIORITY", "LITE", "MIXED"];

/// Pops of a hundred that take the most urgent messages of a topic of priorities first.
pub(crate) const PRIORITY_FACTOR: &str = "priority.factor";

pub(crate) const OF_TOPICS: &[Attribute] = &[
    fixed("queue.type", &["SimpleCQ", "BatchCQ"]),
    fixed(CLEANUP_POLICY, &["DELETE", "COMPACTION"]),
    free(MESSAGE_TYPE, Kind::OneOf(MESSAGE_TYPES)),
    free(RESERVE_TIME, Kind::Range(-1, i64::MAX)),
    free(RESERVE_BYTES, Kind::Range(-1, i64::MAX)),
    free(LITE_EXPIRATION, Kind::Range(-1, LITE_EXPIRATION_MAX)),
];

pub(crate) const OF_GROUPS: &[Attribute] = &[
    free(PRIORITY_FACTOR, Kind::Range(0, 100)),
    free("lite.bind.topic", Kind::Text),
    free("lite.sub.model", Kind::OneOf(&["Shared", "Exclusive"])),
    free("lite.sub.reset.offset.exclusive", Kind::Bool),
    free("lite.sub.reset.offset.unsubscribe", Kind::Bool),
    free("lite.sub.client.quota", Kind::Range(-1, i64::MAX)),
    free("lite.sub.client.max.event.cnt", Kind::Range(10, i64::MAX)),
    free("lite.sub.wildcard", Kind::Text),
];

impl Attribute {
    fn check(&self, value: &str) -> Result<(), String> {
        match self.kind {
            Kind::Text => Ok(()),
            Kind::OneOf(values) if values.contains(&value) => Ok(()),
            Kind::OneOf(values) => Err(format!("value is not in set: [{}]", values.join(", "))),
            Kind::Bool if ["true", "false"].iter().any(|word| value.eq_ignore_ascii_case(word)) => Ok(()),
            Kind::Bool => Err("boolean attribute format is wrong.".to_owned()),
            Kind::Range(min, max) => match value.parse::<i64>() {
                Ok(number) if (min..=max).contains(&number) => Ok(()),
                Ok(_) => Err(format!("value is not in range({min}, {max})")),
                Err(_) => Err(format!("For input string: {value:?}")),
            },
        }
    }
}

/// The pairs of `+name=value,-name,…`, signs included.
///
/// # Errors
/// Names the part that is neither.
pub(crate) fn parse(changes: &str) -> Result<Vec<(&str, &str)>, String> {
    let parts = changes.split(',').filter(|part| !part.is_empty());
    parts
        .map(|part| match part.split_once('=') {
            Some((name, value)) if name.starts_with('+') && !value.is_empty() => Ok((name, value)),
            Some((name, _)) => Err(format!("add/alter attribute format is wrong: {name}")),
            None if part.starts_with('-') => Ok((part, "")),
            None => Err(format!("delete attribute format is wrong: {part}")),
        })
        .collect()
}

/// What `known` is after changes (names with their sign, and values) were applied; `None`: it is created now.
///
/// # Errors
/// A change is not possible; the text is Apache's.
pub(crate) fn alter<'a>(
    table: &[Attribute],
    known: Option<&BTreeMap<String, String>>,
    changes: impl IntoIterator<Item = (&'a str, &'a str)>,
) -> Result<BTreeMap<String, String>, String> {
    let mut after = known.cloned().unwrap_or_default();
    let mut seen = Vec::new();
    for (signed, value) in changes {
        let mut chars = signed.chars();
        let sign = chars.next();
        let name = chars.as_str();
        if name.is_empty() || name.contains(['+', '-']) {
            return Err("kv string format wrong.".to_owned());
        }
        if seen.contains(&name) {
            return Err(format!("alter duplication key. key: {name}"));
        }
        seen.push(name);
        match (sign, known) {
            (Some('+'), _) => {}
            (_, None) => {
                return Err(format!("only add attribute is supported while creating topic. key: {name}"));
            }
            (Some('-'), Some(known)) if known.contains_key(name) => {}
            (Some('-'), Some(_)) => return Err(format!("attempt to delete a nonexistent key: {name}")),
            _ => return Err(format!("wrong format key: {name}")),
        }
        let attribute = table.iter().find(|attribute| attribute.name == name);
        let attribute = attribute.ok_or_else(|| format!("unsupported key: {name}"))?;
        if known.is_some() && !attribute.changeable {
            return Err(format!("attempt to update an unchangeable attribute. key: {name}"));
        }
        if sign == Some('-') {
            after.remove(name);
        } else {
            attribute.check(value)?;
            after.insert(name.to_owned(), value.to_owned());
        }
    }
    Ok(after)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn topic(known: Option<&[(&str, &str)]>, changes: &str) -> Result<String, String> {
        let known: Option<BTreeMap<String, String>> =
            known.map(|pairs| pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect());
        let after = alter(OF_TOPICS, known.as_ref(), parse(changes)?)?;
        Ok(after.iter().map(|(k, v)| format!("{k}={v}")).collect::<Vec<_>>().join(","))
    }

    /// Recorded from Apache 5.5.0, which names sets in the order of a hash table.
    #[test]
    fn changes_as_apache_takes_and_refuses_them() {
        let new = |changes| topic(None, changes);
        let old = |changes| topic(Some(&[("cleanup.policy", "COMPACTION")]), changes);
        let refused = |text: &str| Err::<String, _>(text.to_owned());
        assert_eq!(new(""), Ok(String::new()));
        assert_eq!(
            new("+queue.type=BatchCQ,+cleanup.policy=COMPACTION"),
            Ok("cleanup.policy=COMPACTION,queue.type=BatchCQ".into())
        );
        assert_eq!(new("+cleanup.policy=WHAT"), refused("value is not in set: [DELETE, COMPACTION]"));
        assert_eq!(
            new("-cleanup.policy"),
            refused("only add attribute is supported while creating topic. key: cleanup.policy")
        );
        assert_eq!(new("+reserve.time=x"), refused("For input string: \"x\""));
        assert_eq!(new("+reserve.time=-2"), refused("value is not in range(-1, 9223372036854775807)"));
        assert_eq!(new("+unknown=1"), refused("unsupported key: unknown"));
        assert_eq!(new("*a=b"), refused("add/alter attribute format is wrong: *a"));
        assert_eq!(new("+x"), refused("delete attribute format is wrong: +x"));
        let fixed = "attempt to update an unchangeable attribute. key: cleanup.policy";
        assert_eq!(old("+cleanup.policy=DELETE"), refused(fixed));
        assert_eq!(old("-cleanup.policy"), refused(fixed));
        assert_eq!(old("+message.type=NORMAL"), Ok("cleanup.policy=COMPACTION,message.type=NORMAL".into()));
        assert_eq!(old("-message.type"), refused("attempt to delete a nonexistent key: message.type"));
        assert_eq!(
            old("+message.type=FIFO,+message.type=FIFO"),
            refused("alter duplication key. key: message.type")
        );
    }

    #[test]
    fn attributes_of_groups() {
        let group = |changes| alter(OF_GROUPS, None, parse(changes).unwrap());
        assert!(group("+lite.bind.topic=P,+lite.sub.model=Exclusive").is_ok());
        assert!(group("+lite.sub.model=Both").is_err());
        assert!(group("+lite.sub.client.max.event.cnt=9").is_err());
        assert!(group("+lite.sub.reset.offset.exclusive=yes").is_err());
        assert!(group("+lite.sub.reset.offset.exclusive=TRUE").is_ok());
    }
}
