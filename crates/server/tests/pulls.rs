//! Pulls of the real binary that ask for more than a connection takes at once.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

mod support;

use kerolox_wire::header::PullMessage;
use kerolox_wire::{Command, RequestCode, sys_flag};
use support::{Folder, Kerolox, Raw, send_request};

/// Hundreds of pulls of one write had their answers, 4 MiB each, made all at once: gigabytes. Then the connection was
/// closed, although its peer reads.
#[test]
fn many_pulls_of_large_messages_are_all_answered() {
    let folder = Folder::new("pulls");
    let kerolox = Kerolox::start(&folder.path("data"));
    let mut client = Raw::connect(kerolox.broker());
    assert_eq!(client.ask(&send_request("T", &vec![7; 4_000_000])).code, 0);
    let header = PullMessage {
        consumer_group: "g",
        topic: "T",
        max_msg_nums: 1,
        sys_flag: sys_flag::pull::SUBSCRIPTION,
        subscription: Some("*"),
        ..PullMessage::default()
    };
    for opaque in 0..40 {
        client.send(&Command { opaque, ..Command::request(RequestCode::PULL_MESSAGE).with_header(&header) });
    }
    for opaque in 0..40 {
        let answer = client.receive();
        assert_eq!((answer.code, answer.opaque), (0, opaque));
        assert!(answer.body.len() > 4_000_000);
    }
    kerolox.end();
}
