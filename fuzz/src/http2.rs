//! What a client of gRPC may send on one connection, and a server that answers in ways that the calls choose.

use bytes::BytesMut;
use kerolox_proxy::http2::{Connection, Event, Frame, Limits, Scratch, cut};
use std::collections::HashMap;

const LIMITS: Limits = Limits {
    streams_max: 8,
    streams_per_s: 64,
    resets_per_s: 8,
    header_bytes_max: 1_024,
    message_bytes_max: 4_096,
    message_s_max: 3,
};
/// Kinds and flags of frames, RFC 9113, section 6.
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const END_STREAM: u8 = 1;

/// Calls, and whether what they end with was sent.
type Calls = HashMap<u32, bool>;

/// The bytes of a connection. The first byte of a call's message says how it is answered.
pub fn http2(data: &[u8]) {
    let mut inbox = BytesMut::from(data);
    let (mut connection, mut scratch, mut out) = (Connection::default(), Scratch::default(), BytesMut::new());
    let (mut events, mut open, mut over) = (Vec::new(), HashMap::new(), Calls::new());
    let mut now_s = 0;
    let mut taken = 0;
    while let Ok(Some(frame)) = cut(&mut inbox) {
        taken += match &frame {
            Frame::Preface => 0,
            Frame::Frame { payload, .. } => payload.len(),
        };
        if connection.take(frame, now_s, (&LIMITS, &mut scratch), &mut out, &mut events).is_err() {
            break;
        }
        for event in std::mem::take(&mut events) {
            now_s += heard(event, &mut connection, &mut open, &mut out);
        }
        connection.settle(&mut out);
        connection.sweep(now_s, &LIMITS, &mut out, &mut events);
        for event in std::mem::take(&mut events) {
            heard(event, &mut connection, &mut open, &mut out);
        }
        let held = connection.held() - connection.queued();
        let most = taken + LIMITS.streams_max as usize * 2_048;
        assert!(held <= most, "{held} bytes are held of {taken} that came");
        assert!(connection.streams().count() <= LIMITS.streams_max as usize);
        said(&mut out, &mut over);
    }
    let all: Vec<u32> = connection.streams().collect();
    for stream in all {
        connection.finish(stream, 0, "", &mut out);
    }
    said(&mut out, &mut over);
}

/// What is open: whether its client may say more.
type Open = HashMap<u32, bool>;

/// Answers, and says by how many seconds it took.
fn heard(event: Event, connection: &mut Connection, open: &mut Open, out: &mut BytesMut) -> u64 {
    match event {
        Event::Message { stream, head, message } => {
            match head {
                Some(head) => {
                    let bytes: usize = head.iter().map(|(name, value)| name.len() + value.len()).sum();
                    assert!(bytes <= LIMITS.header_bytes_max);
                    assert_eq!(open.insert(stream, true), None, "a call begins twice");
                }
                None => assert_eq!(open.get(&stream), Some(&true), "a message of no call"),
            }
            assert!(message.len() <= LIMITS.message_bytes_max);
            match message.first() {
                Some(0) => {
                    connection.send(stream, &message, out);
                    connection.finish(stream, 0, "", out);
                }
                Some(1) => {
                    // False if the client does not wait any more.
                    (0..3).for_each(|_| _ = connection.send(stream, &vec![b'x'; 30_000], out));
                }
                Some(2) => connection.finish(stream, 13, "what it was: 100 %, \u{fc}", out),
                Some(3) => connection.drain(out),
                Some(4) => return 1,
                _ => {}
            }
        }
        Event::Ended { stream } => {
            assert_eq!(open.insert(stream, false), Some(true), "the end of no call");
            connection.finish(stream, 0, "", out);
        }
        Event::Cancelled { stream } => {
            open.insert(stream, false);
            assert!(!connection.send(stream, &vec![1], out), "who went away is told something");
        }
    }
    0
}

/// What was sent is frames, and of each call nothing behind its end.
fn said(out: &mut BytesMut, over: &mut Calls) {
    while let Some(frame) = cut(out).unwrap() {
        let Frame::Frame { kind, flags, stream, .. } = frame else { panic!("servers send no preface") };
        if matches!(kind, DATA | HEADERS) {
            let ends = flags & END_STREAM != 0;
            assert_ne!(over.insert(stream, ends), Some(true), "something behind the end of {stream}");
        } else if kind == RST_STREAM {
            over.insert(stream, true);
        }
    }
    assert!(out.is_empty(), "a frame that is cut off");
}
