//! `docs/protocol/codes.md` is the tables of `codes.rs`, in words. With `KEROLOX_WRITE_DOCS=1` the test writes it.

#![allow(clippy::unwrap_used)] // a panic is how a test fails

use kerolox_wire::codes::{Group, Plane, State};
use kerolox_wire::{RequestCode, ResponseCode};
use std::fmt::Write;

fn plane(plane: &Plane) -> &'static str {
    match plane {
        Plane::Broker => "broker",
        Plane::Namesrv => "name server",
        Plane::Client => "client",
        Plane::Controller => "controller",
        Plane::Proxy => "proxy",
        Plane::Container => "broker container",
    }
}

fn state(state: State) -> String {
    match state {
        State::Done => "done".to_owned(),
        State::Planned => "planned".to_owned(),
        State::Refused(code) => format!("refused with {}", code.0),
    }
}

fn rendered() -> String {
    let mut out = String::from(
        "# Codes\n\nEvery request of RocketMQ 5.5 and what Kerolox does with it. This page is made from \
         `crates/wire/src/codes.rs`\n(`KEROLOX_WRITE_DOCS=1 cargo test -p kerolox-wire --test docs`).\n\n\
         *done*: served, or sent where a client is asked. *planned*: answered 3, `REQUEST_CODE_NOT_SUPPORTED`, \
         until it is.\nNumbers above 32767 are accepted cut to 16 bits too, as the ROCKETMQ header cuts them \
         (200050 arrives as 3442).\n",
    );
    for (group, title) in [
        (Group::A, "Clients that produce and consume"),
        (Group::B, "Administrators"),
        (Group::C, "Brokers, name servers and controllers among themselves"),
        (Group::D, "Rare, dead or removed"),
    ] {
        let rows: Vec<_> = RequestCode::ALL.iter().filter(|row| row.group == group).collect();
        let done = rows.iter().filter(|row| row.state == State::Done).count();
        write!(out, "\n## {title} ({done} of {} done)\n\n", rows.len()).unwrap();
        out.push_str("| code | name | asked | state |\n|---:|---|---|---|\n");
        for row in rows {
            let planes: Vec<_> = row.planes.iter().map(plane).collect();
            let state = state(row.state);
            writeln!(out, "| {} | `{}` | {} | {state} |", row.code.0, row.name, planes.join(", ")).unwrap();
        }
    }
    out.push_str("\n## Responses\n\n| code | name |\n|---:|---|\n");
    for (code, name) in ResponseCode::ALL {
        writeln!(out, "| {} | `{name}` |", code.0).unwrap();
    }
    out
}

#[test]
fn the_page_of_codes_is_the_table() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/protocol/codes.md");
    let wanted = rendered();
    if std::env::var_os("KEROLOX_WRITE_DOCS").is_some() {
        std::fs::write(path, &wanted).unwrap();
    }
    assert_eq!(std::fs::read_to_string(path).unwrap_or_default(), wanted, "run it with KEROLOX_WRITE_DOCS=1");
}
