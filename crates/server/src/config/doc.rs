//! `docs/operate/configuration.md`, written from the table.
#![cfg(test)]

use super::key::{Key, Kind, Of, State};
use super::table::KEYS;
use std::fmt::Write;

fn page() -> String {
    let mut out = String::from(HEAD);
    let _ = writeln!(out, "\n## Honoured\n\n| key | file | value | default | does |\n|---|---|---|---|---|");
    for key in KEYS {
        if let State::Honoured(what) = key.state {
            let _ = writeln!(
                out,
                "| `{}` | {} | {} | {} | {} |",
                key.name,
                file(key),
                value(key),
                default(key),
                cell(what)
            );
        }
    }
    let hot: Vec<String> = kerolox_broker::hot::hot_keys().map(|name| format!("`{name}`")).collect();
    let _ = writeln!(out, "\n{RUNNING}\n\nOf a broker: {}.", hot.join(", "));
    let _ = writeln!(out, "\n## Refused\n\n| key | file | accepted | why |\n|---|---|---|---|");
    for key in KEYS {
        if let State::Refused { inert, why } = key.state {
            let inert: Vec<_> = inert
                .iter()
                .map(|v| if v.is_empty() { "(empty)".into() } else { format!("`{v}`") })
                .collect();
            let _ =
                writeln!(out, "| `{}` | {} | {} | {} |", key.name, file(key), inert.join(", "), cell(why));
        }
    }
    let _ = writeln!(out, "\n## Without effect\n\nAny value but Apache's default gives a warning.\n");
    let mut reasons: Vec<&str> = Vec::new();
    for key in KEYS {
        if let State::Ignored(why) = key.state
            && !reasons.contains(&why)
        {
            reasons.push(why);
        }
    }
    for reason in reasons {
        let named = |key: &&Key| matches!(key.state, State::Ignored(why) if why == reason);
        let keys: Vec<_> = KEYS.iter().filter(named).map(|k| format!("`{}`", k.name)).collect();
        let _ = writeln!(out, "- **{reason}**: {}", keys.join(", "));
    }
    out
}

const RUNNING: &str = "## Changed while the server runs

`mqadmin updateBrokerConfig` (code 25) changes the keys below, of all values of a request all or none; another key is refused with a reason, ever:
no path, no command, no address and nothing about the form of the store can be changed from afar. What was changed is in the log and goes
before the configuration file at the next start, which says so in a line; an empty value takes it back. `getBrokerConfig` (code 26) shows what counts.
`messageDelayLevel` displaces nothing that waits: each message is due when it was meant to be. `updateNamesrvConfig` (code 318) changes the name
server's flags in memory: the next start goes by `namesrv.conf` again.";

const HEAD: &str = "# Configuration files

`-c FILE` reads Apache RocketMQ's properties files: `broker.conf` for `kerolox broker` and `kerolox standalone`, `namesrv.conf` for
`kerolox namesrv`. For `kerolox standalone`, which is both, keys of either may be in the one file (`listenPort` is the
broker's). Every key of Apache RocketMQ 5.5.0 is known and is honoured, refused, or has no effect. A value that is not valid ends the start
with one line that names file, line and what is allowed; an unknown key gives a warning that names the nearest known one. Flags of the
command line go before the file.

This page is generated from the table in `crates/server/src/config/table.rs`; a test compares them
(`KEROLOX_BLESS=1 cargo test -p kerolox-server configuration_page` writes it).
";

fn file(key: &Key) -> &'static str {
    match key.of {
        Of::Broker | Of::Store | Of::Auth | Of::Own => "broker",
        Of::Namesrv => "namesrv",
        Of::Server | Of::Client => "both",
    }
}

fn value(key: &Key) -> String {
    let kind = match key.kind {
        Kind::Choice(values) => values.iter().map(|v| format!("`{v}`")).collect::<Vec<_>>().join(" "),
        Kind::Int(i64::MIN, i64::MAX) => "number".into(),
        Kind::Int(from, to) => format!("{from}–{to}"),
        Kind::Bool => "`true` `false`".into(),
        Kind::Float => "number".into(),
        Kind::Text => "text".into(),
        Kind::Name => "name".into(),
        Kind::Delays => "delays".into(),
    };
    if key.unit.is_empty() { kind } else { format!("{kind} {}", key.unit) }
}

fn default(key: &Key) -> String {
    match (key.here, key.default) {
        ("", "") => String::new(),
        ("", default) => format!("`{default}`"),
        (here, "") => format!("`{here}`"),
        (here, default) if here == default => format!("`{here}`"),
        (here, default) => format!("`{here}` (Apache: `{default}`)"),
    }
}

fn cell(text: &str) -> String {
    text.replace('|', "\\|")
}

/// What a running broker takes is what a configuration file takes.
#[test]
fn hot_keys_are_honoured_ones_with_the_same_values() {
    let host = "127.0.0.1:10911".parse().unwrap();
    let taken = |name: &str, value: &str| {
        kerolox_broker::hot::set(&mut kerolox_broker::BrokerConfig::new("b", host), name, value).is_ok()
    };
    for name in kerolox_broker::hot::hot_keys() {
        let key = KEYS.iter().find(|key| key.name == name).unwrap();
        assert!(matches!(key.state, State::Honoured(_)), "{name}");
        assert!(taken(name, key.default), "{name}={}", key.default);
        let mut values =
            ["", "true", "false", "2", "4", "6", "7", "1s", "1s 2h", "x"].map(str::to_owned).to_vec();
        if let Kind::Int(from, to) = key.kind {
            values.extend([from - 1, from, to, to + 1].map(|number| number.to_string()));
        }
        for value in values {
            assert_eq!(taken(name, &value), key.kind.admits(&value), "{name}={value}");
        }
    }
}

#[test]
fn configuration_page() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/operate/configuration.md");
    if std::env::var_os("KEROLOX_BLESS").is_some() {
        std::fs::write(path, page()).unwrap();
    }
    let there = std::fs::read_to_string(path).unwrap_or_default();
    assert!(
        there == page(),
        "docs/operate/configuration.md is not what the table says: write it with KEROLOX_BLESS=1"
    );
}
