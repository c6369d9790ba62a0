//! Apache's configuration files: every key known, every value checked.

mod doc;
pub(crate) mod key;
mod table;

use crate::file;
use anyhow::{Context, Result, bail};
use kerolox_wire::java_properties;
use key::{Key, Of, State};
use std::collections::BTreeMap;
use std::path::Path;
use table::KEYS;

/// Bytes of a configuration file at most: what is in it is read line by line.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// Unknown keys for which the nearest known one is looked for: it is an effort.
const SUGGESTIONS_MAX: usize = 20;

/// Which of Apache's files a file is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    Broker,
    Namesrv,
    /// A `broker.conf` that may also have the keys of `namesrv.conf`, for the name server in the same process.
    Standalone,
}

impl Role {
    fn reads(self, of: Of) -> bool {
        match of {
            Of::Broker | Of::Store | Of::Auth | Of::Own => self != Self::Namesrv,
            Of::Namesrv => self != Self::Broker,
            Of::Server | Of::Client => true,
        }
    }

    fn file_name(self) -> &'static str {
        match self {
            Self::Broker | Self::Standalone => "broker.conf",
            Self::Namesrv => "namesrv.conf",
        }
    }
}

/// The honoured values of a file, or none.
#[derive(Debug, Default)]
pub(crate) struct Values {
    honoured: Vec<(&'static Key, String)>,
    /// To be shown: what was passed over and why.
    pub(crate) warnings: Vec<String>,
}

impl Values {
    /// Reads and checks a file.
    ///
    /// # Errors
    /// One line that names file, line, key, value and what is allowed.
    pub(crate) fn read(path: &Path, role: Role) -> Result<Self> {
        let shown = path.display();
        let bytes = file::read(path, FILE_BYTES_MAX)
            .with_context(|| format!("cannot read the configuration file {shown}"))?;
        Self::parse(&java_properties::text_of(&bytes), &shown.to_string(), role)
    }

    pub(crate) fn parse(text: &str, file: &str, role: Role) -> Result<Self> {
        let entries = match java_properties::parse(text) {
            Ok(entries) => entries,
            Err((line, why)) => bail!("{file}:{line}: {why}"),
        };
        let mut values = Self::default();
        for entry in entries {
            let value = entry.value.trim();
            let place = format!("{file}:{}", entry.line);
            match KEYS.iter().find(|k| k.name == entry.key && role.reads(k.of)) {
                Some(key) => values.take(key, value, &place)?,
                None => {
                    let suggest = values.warnings.len() < SUGGESTIONS_MAX;
                    values.warnings.push(unknown(&entry.key, &place, role, suggest));
                }
            }
        }
        Ok(values)
    }

    fn take(&mut self, key: &'static Key, value: &str, place: &str) -> Result<()> {
        let name = key.name;
        match key.state {
            State::Honoured(_) if !key.kind.admits(value) => {
                bail!("{place}: {name}={value} is not valid: it must be {}", key.kind)
            }
            State::Honoured(_) => {
                // The last one counts, as in Java.
                self.honoured.retain(|(k, _)| k.name != name);
                self.honoured.push((key, value.to_owned()));
            }
            State::Ignored(why) if value != key.default => {
                self.warnings.push(format!("{place}: {name}={value} has no effect: {why}"));
            }
            State::Refused { inert, why } if !inert.contains(&value) => {
                bail!(
                    "{place}: {name}={value} is refused: {why} (remove the line, or set {name}={})",
                    inert.join(" or ")
                )
            }
            State::Ignored(_) | State::Refused { .. } => {}
        }
        Ok(())
    }

    /// The value of an honoured key, if the file has it.
    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        debug_assert!(
            KEYS.iter().any(|k| k.name == name && matches!(k.state, State::Honoured(_))),
            "{name} is not an honoured key"
        );
        self.honoured.iter().find(|(k, _)| k.name == name).map(|(_, v)| v.as_str()).filter(|v| !v.is_empty())
    }

    /// Every key of a broker that has an effect, or would have one, and what it is set to: for who asks the broker. (Keys of access
    /// control are nobody's business: CVE-2024-23321.)
    pub(crate) fn shown(&self) -> BTreeMap<String, String> {
        let keys = KEYS.iter().filter(|key| Role::Broker.reads(key.of) && key.of != Of::Auth);
        keys.filter(|key| !matches!(key.state, State::Ignored(_)))
            .map(|key| {
                let set =
                    self.honoured.iter().find(|(k, _)| k.name == key.name).map(|(_, value)| value.as_str());
                let default = if key.here.is_empty() { key.default } else { key.here };
                (key.name.to_owned(), set.unwrap_or(default).to_owned())
            })
            .collect()
    }

    /// As [`Self::text`], for numbers.
    pub(crate) fn number(&self, name: &str) -> Option<i64> {
        self.text(name).and_then(|v| v.parse().ok())
    }

    /// As [`Self::text`], for true and false.
    pub(crate) fn flag(&self, name: &str) -> Option<bool> {
        self.text(name).map(|v| v == "true")
    }
}

fn unknown(name: &str, place: &str, role: Role, suggest: bool) -> String {
    if let Some(other) = KEYS.iter().find(|k| k.name == name) {
        let belongs = if other.of == Of::Namesrv { Role::Namesrv } else { Role::Broker };
        return format!("{place}: {name} has no effect here: it belongs in {}", belongs.file_name());
    }
    let typos_max = 1 + name.len() / 4;
    let near = |k: &&Key| suggest && role.reads(k.of) && name.len().abs_diff(k.name.len()) <= typos_max;
    let nearest = KEYS.iter().filter(near).min_by_key(|k| distance(name, k.name));
    match nearest {
        Some(key) if distance(name, key.name) <= typos_max => {
            format!("{place}: {name} is not a known key and has no effect; is {} meant?", key.name)
        }
        _ => format!("{place}: {name} is not a known key and has no effect"),
    }
}

/// Edit distance of two names, upper and lower case alike.
fn distance(a: &str, b: &str) -> usize {
    let (a, b) = (a.to_ascii_lowercase().into_bytes(), b.to_ascii_lowercase().into_bytes());
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut diagonal = i;
        let mut left = i + 1;
        for (slot, y) in row.iter_mut().skip(1).zip(&b) {
            let above = *slot;
            let replaced = diagonal + usize::from(x != y);
            diagonal = above;
            left = replaced.min(above + 1).min(left + 1);
            *slot = left;
        }
        if let Some(first) = row.first_mut() {
            *first = i + 1;
        }
    }
    row.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Values, String> {
        Values::parse(text, "broker.conf", Role::Broker).map_err(|e| e.to_string())
    }

    #[test]
    fn honoured_values_are_read_and_the_last_counts() {
        let values =
            parse("brokerName=a\nbrokerName = broker-b \nmaxMessageSize=65536\nautoCreateTopicEnable:false")
                .unwrap();
        assert_eq!(values.text("brokerName"), Some("broker-b"));
        assert_eq!(values.number("maxMessageSize"), Some(65536));
        assert_eq!(values.flag("autoCreateTopicEnable"), Some(false));
        assert_eq!(values.text("brokerClusterName"), None);
        assert_eq!(values.warnings, [""; 0]);
    }

    #[test]
    fn bad_values_are_named_with_what_is_allowed() {
        for (text, error) in [
            (
                "\nlistenPort=66666",
                "broker.conf:2: listenPort=66666 is not valid: it must be a whole number from 1 to 65535",
            ),
            (
                "flushDiskType=SYNC",
                "broker.conf:1: flushDiskType=SYNC is not valid: it must be one of SYNC_FLUSH, ASYNC_FLUSH",
            ),
            (
                "autoCreateTopicEnable=yes",
                "broker.conf:1: autoCreateTopicEnable=yes is not valid: it must be true or false",
            ),
            (
                "brokerName=../x",
                "broker.conf:1: brokerName=../x is not valid: it must be 1 to 127 letters, digits and any of `-_.%|`",
            ),
            (
                "brokerRole=SLAVE",
                "broker.conf:1: brokerRole=SLAVE is refused: replication is not served yet: no copy of a message would exist (remove the line, or set brokerRole=ASYNC_MASTER)",
            ),
            (
                "aclEnable=true",
                "broker.conf:1: aclEnable=true is refused: access control is not served yet, and without it the broker would be open (remove the line, or set aclEnable=false)",
            ),
            ("x=\\u00", "broker.conf:1: \\u00 is not an escape: four hex digits must follow"),
        ] {
            assert_eq!(parse(text).unwrap_err(), error);
        }
    }

    #[test]
    fn what_has_no_effect_is_said() {
        let text = "deleteWhen=04\ndeleteWhen=05\nbrokerNam=x\nscanNotActiveBrokerInterval=1\nfrobnicate=1\nuseTLS=false";
        assert_eq!(
            parse(text).unwrap().warnings,
            [
                "broker.conf:2: deleteWhen=05 has no effect: expired segments go as soon as they expire, one at a time",
                "broker.conf:3: brokerNam is not a known key and has no effect; is brokerName meant?",
                "broker.conf:4: scanNotActiveBrokerInterval has no effect here: it belongs in namesrv.conf",
                "broker.conf:5: frobnicate is not a known key and has no effect",
            ]
        );
    }

    #[test]
    fn a_file_of_nothing_but_unknown_names_is_soon_done_with() {
        let long = format!("{}=1\nbrokerNam=x\n", "x".repeat(500_000));
        let warnings = parse(&(long + &"listenPorts=1\n".repeat(30_000))).unwrap().warnings;
        assert_eq!(warnings.len(), 30_002);
        assert!(warnings[1].ends_with("is brokerName meant?"), "{}", warnings[1]);
        assert_eq!(warnings.iter().filter(|w| w.ends_with("meant?")).count(), SUGGESTIONS_MAX - 1);
    }

    #[test]
    fn defaults_of_honoured_keys_are_valid_and_no_key_stands_twice_in_a_file() {
        for role in [Role::Broker, Role::Namesrv, Role::Standalone] {
            let keys: Vec<_> = KEYS.iter().filter(|k| role.reads(k.of)).collect();
            for (i, key) in keys.iter().enumerate() {
                let twice = keys[..i]
                    .iter()
                    .any(|k| k.name == key.name && k.of != Of::Client && key.of != Of::Client);
                // In one file for both, it is the broker's.
                let second = role == Role::Standalone && key.of == Of::Namesrv;
                assert!(!twice || second, "{} stands twice", key.name);
                if matches!(key.state, State::Honoured(_)) {
                    for default in [key.default, key.here] {
                        assert!(default.is_empty() || key.kind.admits(default), "{}={default}", key.name);
                    }
                }
                if let State::Refused { inert, .. } = key.state {
                    assert!(inert.contains(&key.default) || key.default.is_empty(), "{}", key.name);
                }
            }
        }
    }

    #[test]
    fn distances() {
        for (a, b, d) in
            [("", "", 0), ("abc", "", 3), ("kitten", "sitting", 3), ("brokerNam", "brokerName", 1)]
        {
            assert_eq!((distance(a, b), distance(b, a)), (d, d));
        }
    }
}
