//! `kerolox store verify`, and what readers get of a damaged log, with the real binary.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

mod support;

use kerolox_wire::header::{PullMessage, PullMessageResponse};
use kerolox_wire::record::{RecordHead, RecordView};
use kerolox_wire::{Command, RequestCode, sys_flag};
use std::os::unix::fs::FileExt;
use std::path::Path;
use support::{Folder, Kerolox, Raw, run, send_request};

/// Flips a bit of the first place where these bytes are; that place.
fn flip(path: &Path, bytes: &[u8]) -> usize {
    let content = std::fs::read(path).unwrap();
    let at = content.windows(bytes.len()).position(|w| w == bytes).unwrap();
    let file = std::fs::OpenOptions::new().write(true).open(path).unwrap();
    file.write_all_at(&[content[at] ^ 1], at as u64).unwrap();
    at
}

fn verify(data: &Path) -> (Option<i32>, String) {
    let output = run(&["store", "verify", "--data", data.to_str().unwrap()]);
    (output.status.code(), String::from_utf8(output.stdout).unwrap())
}

#[test]
fn a_damaged_record_is_named_and_not_served_and_all_others_are() {
    let folder = Folder::new("damaged");
    let data = folder.path("data");
    let kerolox = Kerolox::start(&data);
    let mut client = Raw::connect(kerolox.broker());
    for i in 0..100 {
        assert_eq!(client.ask(&send_request("T", format!("body number {i}.").as_bytes())).code, 0);
    }
    let (code, said) = verify(&data);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains(" in 1 segments and ") && said.ends_with(" 0 damaged\n"), "{said}");
    kerolox.end();
    let segment = data.join("commitlog/00000000000000000000");
    flip(&segment, b"body number 42.");
    let (code, said) = verify(&data);
    assert_eq!(code, Some(1), "{said}");
    let line = said.lines().find(|l| l.starts_with("damaged: ")).unwrap();
    assert!(line.starts_with("damaged: commitlog/00000000000000000000 at byte "), "{line}");
    assert!(line.contains("topic T, queue 0, offset 42: "), "{line}");

    let kerolox = Kerolox::start(&data);
    let mut client = Raw::connect(kerolox.broker());
    let mut bodies = Vec::new();
    let mut queue_offset = 0;
    while queue_offset < 100 {
        let header = PullMessage {
            consumer_group: "g",
            topic: "T",
            queue_offset,
            max_msg_nums: 32,
            sys_flag: sys_flag::pull::SUBSCRIPTION,
            subscription: Some("*"),
            ..PullMessage::default()
        };
        let answer = client.ask(&Command::request(RequestCode::PULL_MESSAGE).with_header(&header));
        queue_offset = answer.header::<PullMessageResponse<'_>>().unwrap().next_begin_offset;
        let mut rest = &answer.body[..];
        while let Some(head) = RecordHead::peek(rest) {
            bodies.push(String::from_utf8(RecordView::parse(rest).unwrap().body.to_vec()).unwrap());
            rest = &rest[head.total as usize..];
        }
    }
    let want: Vec<_> = (0..100).filter(|i| *i != 42).map(|i| format!("body number {i}.")).collect();
    assert_eq!(bodies, want);
    let said = kerolox.says().unwrap();
    assert!(said.contains("DAMAGED record, not served: commitlog/00000000000000000000 at byte "), "{said}");
    assert!(said.contains("topic T, queue 0, offset 42: "), "{said}");
    kerolox.end();
}

#[test]
fn a_directory_that_is_none_is_one_line() {
    let line = support::refusal(&["store", "verify", "--data", "/nowhere"], 1);
    assert!(line.starts_with("kerolox: cannot verify the data directory /nowhere: "), "{line}");
}
