//! What nobody well-behaved sends, over a raw socket to the real binary: the exact answer, or a closed connection, and
//! everybody else goes on.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

mod support;

use kerolox_wire::header::SendMessageResponse;
use kerolox_wire::{Command, Encoding, Language, frame};
use std::io::Write;
use std::time::Duration;
use support::{Folder, Kerolox, Raw, send_request};

/// That a well-behaved client is served; the queue offset of its message.
fn sends(client: &mut Raw) -> i64 {
    let answer = client.ask(&send_request("Good", b"good"));
    assert_eq!(answer.code, 0, "{:?}", answer.remark);
    answer.header::<SendMessageResponse<'_>>().unwrap().queue_offset
}

#[test]
fn garbage_and_wrong_frames_close_their_own_connection_only() {
    let folder = Folder::new("garbage");
    let kerolox = Kerolox::start(&folder.path("data"));
    let mut good = Raw::connect(kerolox.broker());
    let first = sends(&mut good);
    let too_long = (16u32 * 1024 * 1024 + 1).to_be_bytes();
    let cases: [(&str, Vec<u8>); 6] = [
        ("HTTP", b"GET / HTTP/1.1\r\nHost: x\r\n\r\n".to_vec()),
        ("TLS", [&[0x16, 3, 1, 2, 0, 1, 0, 1][..], &[0xfc; 300]].concat()),
        ("a frame beyond 16 MiB", [&too_long[..], &[0; 4]].concat()),
        ("an unknown header encoding", vec![0, 0, 0, 8, 7, 0, 0, 0, 0, 0, 0, 0]),
        ("a header longer than its frame", vec![0, 0, 0, 8, 0, 0, 1, 0, 0, 0, 0, 0]),
        ("a header that is no JSON", [&[0, 0, 0, 8, 0, 0, 0, 4][..], b"{\"a\""].concat()),
    ];
    for address in [kerolox.broker(), kerolox.namesrv()] {
        for (what, bytes) in &cases {
            let mut bad = Raw::connect(address);
            bad.stream.write_all(bytes).unwrap();
            assert!(bad.is_closed(), "{what} at {address}");
        }
    }
    assert_eq!(sends(&mut good), first + 1);
    let said = kerolox.says().unwrap();
    assert!(said.contains("closed: it does not speak the protocol: "), "{said}");
    kerolox.end();
}

#[test]
fn half_frames_and_slow_writers_wait_without_holding_up_others() {
    let folder = Folder::new("half");
    let kerolox = Kerolox::start(&folder.path("data"));
    let mut good = Raw::connect(kerolox.broker());
    sends(&mut good);
    // A large frame is announced, and does not come.
    let mut half = Raw::connect(kerolox.broker());
    half.stream.write_all(&[0, 0xff, 0xff, 0xf0, 0, 0, 1, 0, b'{']).unwrap();
    // A frame comes byte by byte.
    let mut slow = Raw::connect(kerolox.broker());
    for byte in frame::to_bytes(&send_request("Slow", b"slow")).iter() {
        slow.stream.write_all(&[*byte]).unwrap();
    }
    assert_eq!(slow.receive().code, 0);
    sends(&mut good);
    half.stream.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
    let waiting = std::io::Read::read(&mut half.stream, &mut [0; 1]).unwrap_err();
    assert_eq!(waiting.kind(), std::io::ErrorKind::WouldBlock, "the rest may still come");
    drop(half);
    sends(&mut good);
    kerolox.end();
}

#[test]
fn unknown_codes_are_answered_in_kind_whatever_the_language() {
    let folder = Folder::new("unknown");
    let kerolox = Kerolox::start(&folder.path("data"));
    for address in [kerolox.broker(), kerolox.namesrv()] {
        for encoding in [Encoding::Json, Encoding::Rocketmq] {
            for (code, language) in [(9_999, Language(0)), (9_999, Language(200)), (-5, Language(12))] {
                let mut request =
                    Command { opaque: 77, language, encoding, version: 9_999, ..Command::request(code) };
                let mut client = Raw::connect(address);
                let answer = client.ask(&request);
                assert_eq!((answer.code, answer.opaque, answer.encoding), (3, 77, encoding));
                assert_eq!(
                    answer.remark.as_deref(),
                    Some(format!(" request type {code} not supported").as_str())
                );
                // One-way: no answer, and the connection goes on.
                request.flag |= 2;
                client.send(&request);
                request.flag = 0;
                request.opaque = 78;
                assert_eq!(client.ask(&request).opaque, 78);
            }
        }
    }
    kerolox.end();
}

#[test]
fn an_unknown_language_name_is_served() {
    let folder = Folder::new("language");
    let kerolox = Kerolox::start(&folder.path("data"));
    let mut client = Raw::connect(kerolox.broker());
    let mut head = bytes::BytesMut::new();
    frame::encode_head(&send_request("Good", b"x"), &mut head);
    let header = String::from_utf8(head[8..].to_vec()).unwrap();
    let header =
        header.replace("\"JAVA\"", "\"KLINGON\"").replace("\"version\":", "\"novel\":[{}],\"version\":");
    let mut bytes = ((4 + header.len() + 1) as u32).to_be_bytes().to_vec();
    bytes.extend_from_slice(&(header.len() as u32).to_be_bytes());
    bytes.extend_from_slice(header.as_bytes());
    bytes.push(b'x');
    client.stream.write_all(&bytes).unwrap();
    let answer = client.receive();
    assert_eq!(answer.code, 0, "{:?}", answer.remark);
    kerolox.end();
}

#[test]
fn bad_names_and_bodies_get_apaches_answers() {
    let folder = Folder::new("names");
    let kerolox = Kerolox::start(&folder.path("data"));
    let long = "t".repeat(128);
    let mut client = Raw::connect(kerolox.broker());
    for (topic, code, remark) in [
        (
            "../../x",
            29,
            "The specified topic: ../../x, contains illegal characters, allowing only ^[%|a-zA-Z0-9_-]+$",
        ),
        ("", 29, "The specified topic is blank."),
        (
            "a\u{1}b",
            29,
            "The specified topic: a\u{1}b, contains illegal characters, allowing only ^[%|a-zA-Z0-9_-]+$",
        ),
        (&long, 29, &format!("The specified topic: {long}, is longer than topic max length: 127")),
    ] {
        let answer = client.ask(&send_request(topic, b"x"));
        assert_eq!(
            (answer.code, answer.remark.unwrap_or_default().lines().next()),
            (code, Some(remark)),
            "{topic:?}"
        );
    }
    let most = vec![b'x'; 4 << 20];
    assert_eq!(client.ask(&send_request("Good", &most)).code, 0);
    assert_eq!(client.ask(&send_request("Good", &[&most[..], b"x"].concat())).code, 13);
    let entries: Vec<_> =
        std::fs::read_dir(folder.path("data")).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert!(
        entries.iter().all(|name| ["commitlog", "kerolox", "lock", "abort"].iter().any(|n| name == n)),
        "{entries:?}"
    );
    kerolox.end();
}

/// Connections took every file that the process may open, and the log, which could not open its next segment, was fenced.
#[test]
fn connections_leave_the_log_files_to_open() {
    let folder = Folder::new("files");
    let kerolox = Kerolox::spawn(|offset| {
        let mut command = std::process::Command::new("sh");
        let script = format!("ulimit -n 600 && exec \"$0\" --data \"$1\" --port-offset {offset}");
        command.args(["-c", &script, support::BINARY]).arg(folder.path("data"));
        command
    });
    let said = kerolox.says().unwrap();
    let warning = "may open 600 files at most (ulimit -n): enough for 100 connections of each listener";
    assert!(said.contains(warning), "{said}");
    let mut open: Vec<Raw> = (0..101).map(|_| Raw::connect(kerolox.broker())).collect();
    assert!(open[100].is_closed(), "one too many");
    assert_eq!(open[0].ask(&send_request("T", b"first")).code, 0);
    kerolox.end();
}
