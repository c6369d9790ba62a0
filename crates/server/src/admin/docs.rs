//! `docs/compat.md`, written from the tables of commands and of request codes.
#![cfg(test)]

use super::table::{Command, FAMILIES, Runs};
use kerolox_wire::RequestCode;
use kerolox_wire::codes::State;
use std::fmt::Write;

fn page() -> String {
    let mut out = String::from(HEAD);
    let all = || FAMILIES.iter().flat_map(|family| family.commands);
    let here = all().filter(|command| state(command) == "done").count();
    let never = all().filter(|command| matches!(command.runs, Runs::Never(_))).count();
    let total = all().count();
    writeln!(
        out,
        "## Commands\n\n{total} commands: {here} done, {} wait for requests, {never} make no sense here.",
        total - here - never
    )
    .unwrap();
    for family in FAMILIES {
        writeln!(out, "\n### {}\n\n| command | does | state |\n|---|---|---|", family.title).unwrap();
        for command in family.commands {
            writeln!(out, "| `{}` | {} | {} |", command.name, command.summary, state(command)).unwrap();
        }
    }
    out.push_str(CODES);
    for row in RequestCode::ALL {
        let state = match row.state {
            State::Done => "done".to_owned(),
            State::Planned => "planned".to_owned(),
            State::Refused(code) => format!("refused with {}", code.0),
        };
        let used: Vec<_> =
            all().filter(|c| c.asks.contains(&row.code)).map(|c| format!("`{}`", c.name)).collect();
        writeln!(out, "| {} | `{}` | {state} | {} |", row.code.0, row.name, used.join(", ")).unwrap();
    }
    out
}

/// `done`, or what it waits for, or why it does nothing.
fn state(command: &Command) -> String {
    if let Runs::Never(why) = command.runs {
        return format!("does nothing: {why}");
    }
    let not_done = |code: &&RequestCode| code.request().is_none_or(|row| row.state != State::Done);
    let missing: Vec<_> = command.asks.iter().filter(not_done).map(|code| code.0.to_string()).collect();
    if missing.is_empty() { "done".to_owned() } else { format!("waits for {}", missing.join(", ")) }
}

const HEAD: &str = "# Compatibility with Apache RocketMQ 5.5

What `mqadmin` and Remoting clients can ask, and what Kerolox does with it. `kerolox admin` has every command of `mqadmin`, with its
flags; `mqadmin` itself works against Kerolox with those that are done. A command that waits for requests works against Apache's servers.

This page is made from `crates/server/src/admin/table` and `crates/wire/src/codes.rs`; a test compares them
(`KEROLOX_WRITE_DOCS=1 cargo test -p kerolox-server compatibility_page` writes it).

`kerolox admin` prints what `mqadmin` prints but for this:

- Lists are sorted, where Apache's are in the order of a hash table.
- `topicStatus` gives the sum of the brokers' rates; `mqadmin` gives 0. `resetOffsetByTime` of one queue resets to 0 too; `mqadmin` does
  not. `cloneGroupOffset` copies the offsets of its topic; `mqadmin` those of all topics. `clusterRT` measures once unless it is given
  `-i`. `exportPopRecord -d true` changes nothing; with `mqadmin`, `-d false` does not.
- `--output json` prints the same data as one JSON document: numbers as numbers, times in milliseconds. `--timeout SECONDS` bounds
  each request (5 s by default).
- The exit code is 0 if it was done, 1 if a server refused or could not be reached, 2 for wrong usage. What went wrong is one line on
  standard error; `mqadmin` prints a stack trace and exits with 0.
- An unknown cluster, broker or group is an error; `mqadmin` prints nothing or a line.

";

const CODES: &str = "
## Requests

Which command asks what. [The codes](protocol/codes.md) says who is asked.

| code | name | state | commands |
|---:|---|---|---|
";

#[test]
fn compatibility_page() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/compat.md");
    let wanted = page();
    if std::env::var_os("KEROLOX_WRITE_DOCS").is_some() {
        std::fs::write(path, &wanted).unwrap();
    }
    assert!(
        std::fs::read_to_string(path).unwrap_or_default() == wanted,
        "docs/compat.md is not what the tables say: write it with KEROLOX_WRITE_DOCS=1"
    );
}
