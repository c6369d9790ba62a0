//! How a broker ends, and what it does when the disk is full or fails: the real binary.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

mod support;

use kerolox_wire::header::{GetMaxOffset, OffsetResponse, PullMessage, UpdateConsumerOffset};
use kerolox_wire::{Command, RequestCode, ResponseCode, sys_flag};
use std::path::PathBuf;
use std::time::{Duration, Instant};
use support::{Folder, Kerolox, PATIENCE, Raw, send_request, small_disk};

fn max_offset(client: &mut Raw, topic: &str) -> i64 {
    let header = GetMaxOffset { topic, queue_id: 0, ..GetMaxOffset::default() };
    let answer = client.ask(&Command::request(RequestCode::GET_MAX_OFFSET).with_header(&header));
    answer.header::<OffsetResponse<'_>>().unwrap().offset
}

/// A poll behind the last message, which is parked.
fn parked_pull(topic: &str, offset: i64) -> Command {
    let header = PullMessage {
        consumer_group: "g",
        topic,
        queue_offset: offset,
        max_msg_nums: 32,
        sys_flag: sys_flag::pull::SUSPEND | sys_flag::pull::SUBSCRIPTION,
        suspend_timeout_millis: 60_000,
        subscription: Some("*"),
        expression_type: Some("TAG"),
        ..PullMessage::default()
    };
    Command { opaque: 99, ..Command::request(RequestCode::PULL_MESSAGE).with_header(&header) }
}

#[test]
fn an_end_answers_parked_polls_and_keeps_every_message() {
    let folder = Folder::new("end");
    let data = folder.path("data");
    let kerolox = Kerolox::start(&data);
    let mut client = Raw::connect(kerolox.broker());
    for i in 0..100 {
        assert_eq!(client.ask(&send_request("T", format!("{i}").as_bytes())).code, 0);
    }
    client.send(&parked_pull("T", 100));
    // Answered requests behind the poll show that it was parked.
    assert_eq!(max_offset(&mut client, "T"), 100);
    kerolox.signal("-TERM");
    let answer = client.receive();
    assert_eq!((answer.opaque, answer.code), (99, ResponseCode::PULL_NOT_FOUND.0), "{:?}", answer.remark);
    assert!(client.is_closed());
    let begun = Instant::now();
    assert_eq!(kerolox.wait().0, Some(0));
    assert!(begun.elapsed() < Duration::from_secs(5), "took {:?}", begun.elapsed());

    let kerolox = Kerolox::start(&data);
    assert!(!kerolox.ready.contains("recovered"), "{}", kerolox.ready);
    assert_eq!(max_offset(&mut Raw::connect(kerolox.broker()), "T"), 100);
    kerolox.end();
}

/// It was waited for until the time to drain, a minute, was over.
#[test]
fn a_client_that_does_not_read_does_not_hold_up_the_end() {
    let folder = Folder::new("slow");
    let kerolox = Kerolox::start(&folder.path("data"));
    let mut client = Raw::connect(kerolox.broker());
    let body = vec![b'x'; 200 << 10];
    for _ in 0..40 {
        assert_eq!(client.ask(&send_request("Big", &body)).code, 0);
    }
    // Asks for much and takes nothing.
    let mut slow = Raw::connect(kerolox.broker());
    for offset in 0..40 {
        slow.send(&parked_pull("Big", offset));
    }
    assert_eq!(max_offset(&mut client, "Big"), 40);
    kerolox.signal("-TERM");
    let (code, said) = kerolox.wait();
    assert_eq!(code, Some(0), "{said:?}");
    assert!(!said.iter().any(|line| line.contains("drain")), "{said:?}");
    drop(slow);
}

/// A broker with segments of 64 MiB on a disk of `megabytes`, and the disk's folder as this process sees it.
fn on_small_disk(folder: &Folder, megabytes: u32) -> Option<(Kerolox, PathBuf)> {
    let conf = folder.file("broker.conf", "mappedFileSizeCommitLog=67108864\n");
    small_disk(folder, megabytes, "true")?;
    let kerolox = Kerolox::spawn(|offset| {
        let then = format!("exec \"$2\" --data \"$1/data\" --port-offset {offset} -c {}", conf.display());
        small_disk(folder, megabytes, &then).unwrap()
    });
    let seen = format!("/proc/{}/root{}", kerolox.pid(), folder.path("mount").display());
    Some((kerolox, seen.into()))
}

fn fill(disk: &std::path::Path) {
    let mut filler = std::fs::File::create(disk.join("filler")).unwrap();
    while std::io::Write::write_all(&mut filler, &[0; 4096]).is_ok() {}
}

#[test]
fn a_disk_that_fills_up_refuses_sends_serves_reads_and_takes_sends_again() {
    let folder = Folder::new("fills");
    let Some((kerolox, disk)) = on_small_disk(&folder, 120) else { return };
    let mut client = Raw::connect(kerolox.broker());
    assert_eq!(client.ask(&send_request("T", b"first")).code, 0);
    fill(&disk);
    let body = vec![b'x'; 4 << 10];
    let begun = Instant::now();
    let refused = loop {
        let answer = client.ask(&send_request("T", &body));
        if answer.code != 0 {
            break answer;
        }
        assert!(begun.elapsed() < PATIENCE, "a full disk takes messages for ever");
    };
    assert_eq!(refused.code, ResponseCode::SERVICE_NOT_AVAILABLE.0, "{:?}", refused.remark);
    let remark = refused.remark.unwrap();
    assert!(remark.starts_with("service not available now: the disk is full: "), "{remark}");
    let kept = max_offset(&mut client, "T");
    let answer = client.ask(&parked_pull("T", 0));
    assert_eq!(answer.code, 0, "what is there is served: {:?}", answer.remark);
    std::fs::remove_file(disk.join("filler")).unwrap();
    while client.ask(&send_request("T", b"again")).code != 0 {
        assert!(begun.elapsed() < PATIENCE * 2, "there is room again and sends are still refused");
        std::thread::sleep(Duration::from_millis(50));
    }
    assert_eq!(max_offset(&mut client, "T"), kept + 1);
    kerolox.end();
}

/// A disk that fills up with what a group has still to read takes no more, and says who it is; when the group has read, the oldest go.
#[test]
fn a_disk_full_of_unread_messages_names_the_group() {
    let folder = Folder::new("unread");
    let Some((kerolox, _)) = on_small_disk(&folder, 400) else { return };
    let mut client = Raw::connect(kerolox.broker());
    let group = Command::request(RequestCode::UPDATE_AND_CREATE_SUBSCRIPTIONGROUP);
    assert_eq!(client.ask(&group.with_body(r#"{"groupName":"slow"}"#)).code, 0);
    let commit = |client: &mut Raw, commit_offset: i64| {
        let header = UpdateConsumerOffset {
            consumer_group: "slow",
            topic: "T",
            queue_id: 0,
            commit_offset,
            ..UpdateConsumerOffset::default()
        };
        let answer = client.ask(&Command::request(RequestCode::UPDATE_CONSUMER_OFFSET).with_header(&header));
        assert_eq!(answer.code, 0, "{:?}", answer.remark);
    };
    let body = vec![b'x'; 1 << 20];
    assert_eq!(client.ask(&send_request("T", &body)).code, 0);
    commit(&mut client, 1);
    let begun = Instant::now();
    let held = "; group slow has still to read topic T, queue 0, from offset 1 on (let it read, ";
    let mut said = false;
    while !said {
        let answer = client.ask(&send_request("T", &body));
        said = answer.remark.is_some_and(|remark| remark.contains(held));
        assert!(begun.elapsed() < PATIENCE, "a full disk takes messages for ever, or does not say why not");
    }
    let stored = max_offset(&mut client, "T");
    let header = GetMaxOffset { topic: "T", queue_id: 0, ..GetMaxOffset::default() };
    let min = Command::request(RequestCode::GET_MIN_OFFSET).with_header(&header);
    assert_eq!(client.ask(&min).header::<OffsetResponse<'_>>().unwrap().offset, 0, "nothing went");
    commit(&mut client, stored);
    while client.ask(&send_request("T", &body)).code != 0 {
        assert!(begun.elapsed() < PATIENCE * 2, "the group has read and sends are still refused");
        std::thread::sleep(Duration::from_millis(50));
    }
    assert!(client.ask(&min).header::<OffsetResponse<'_>>().unwrap().offset > 1);
    kerolox.signal("-TERM");
    let (code, said) = kerolox.wait();
    assert_eq!(code, Some(0), "{said:?}");
    let count = |text: &str| said.iter().filter(|line| line.contains(text)).count();
    assert_eq!(
        count("retention: commitlog/00000000000000000000 went, positions 0 to 67108864: "),
        1,
        "{said:?}"
    );
    assert_eq!(
        count("retention: old messages stay longer than the settings say: group slow has still"),
        1,
        "{said:?}"
    );
}

/// What is sealed at the end is derived: it can be left out, and the log is whole.
#[test]
fn a_disk_that_cannot_take_the_seal_does_not_spoil_the_end() {
    let folder = Folder::new("unsealed");
    let Some((kerolox, disk)) = on_small_disk(&folder, 120) else { return };
    let mut client = Raw::connect(kerolox.broker());
    assert_eq!(client.ask(&send_request("T", b"first")).code, 0);
    fill(&disk);
    kerolox.signal("-TERM");
    let (code, said) = kerolox.wait();
    assert_eq!(code, Some(0), "{said:?}");
    assert!(said.last().unwrap().ends_with("stopped cleanly"), "{said:?}");
}

/// The blocks of the log are taken away behind the broker's back, so that a write fails.
#[test]
fn a_write_that_fails_is_not_acknowledged_and_ends_the_broker_with_a_clear_last_line() {
    let folder = Folder::new("fenced");
    let Some((kerolox, disk)) = on_small_disk(&folder, 120) else { return };
    let mut client = Raw::connect(kerolox.broker());
    assert_eq!(client.ask(&send_request("T", b"first")).code, 0);
    let segment = disk.join("data/commitlog/00000000000000000000");
    let file = std::fs::OpenOptions::new().write(true).open(segment).unwrap();
    file.set_len(0).unwrap();
    file.set_len(64 << 20).unwrap();
    let begun = Instant::now();
    let remark = loop {
        fill(&disk);
        // Two blocks at least, for the one that the last write used may be there.
        let answer = client.ask(&send_request("T", &[b'x'; 16 << 10]));
        assert_ne!(answer.code, 0);
        let remark = answer.remark.unwrap();
        if !remark.contains("the disk is full") {
            break remark;
        }
        // It was measured between the two: once more.
        std::fs::remove_file(disk.join("filler")).unwrap();
        while client.ask(&send_request("T", b"again")).code != 0 {
            assert!(begun.elapsed() < PATIENCE, "there is room again and sends are still refused");
            std::thread::sleep(Duration::from_millis(50));
        }
    };
    // Where a block or two were left, less was written than should have been.
    let no_room = |text: &str| text.contains("No space left on device") || text.contains("short write: ");
    assert!(no_room(&remark), "{remark}");
    let (code, said) = kerolox.wait();
    assert_eq!(code, Some(1), "{said:?}");
    let last = said.last().unwrap();
    assert!(last.starts_with("kerolox: stopped: ") && no_room(last), "{last}");
}
