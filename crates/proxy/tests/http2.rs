//! The HTTP/2 side: against another implementation as the client, and frame by frame at its limits.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

use bytes::{BufMut, Bytes, BytesMut};
use kerolox_proxy::http2::{Connection, Event, Fault, Frame, Limits, PREFACE, Scratch, cut};
use kerolox_proxy::v2::{Resource, Status};
use prost::Message;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;

/// Answers each message with itself and ends when the client does; a topic named "fail" with an error.
async fn echo(mut socket: DuplexStream) {
    let (mut connection, limits, mut scratch) =
        (Connection::default(), Limits::default(), Scratch::default());
    let (mut inbox, mut out, mut events) = (BytesMut::new(), BytesMut::new(), Vec::new());
    while socket.read_buf(&mut inbox).await.unwrap() > 0 {
        while let Some(frame) = cut(&mut inbox).unwrap() {
            connection.take(frame, 0, (&limits, &mut scratch), &mut out, &mut events).unwrap();
        }
        connection.settle(&mut out);
        for event in events.drain(..) {
            match event {
                Event::Message { stream, message, .. } => {
                    let resource = Resource::decode(message).unwrap();
                    match &*resource.name {
                        "fail" => connection.finish(stream, 3, "it fails: 100%", &mut out),
                        _ => assert!(connection.send(stream, &resource, &mut out)),
                    }
                }
                Event::Ended { stream } => connection.finish(stream, 0, "", &mut out),
                Event::Cancelled { .. } => {}
            }
        }
        socket.write_all_buf(&mut out).await.unwrap();
        assert!(connection.held() < 64 << 20);
    }
}

fn framed(name: &str) -> Bytes {
    let message = Resource { name: name.to_owned(), ..Resource::default() }.encode_to_vec();
    let mut out = BytesMut::new();
    out.put_u8(0);
    out.put_u32(message.len() as u32);
    out.put_slice(&message);
    out.freeze()
}

fn request() -> http::Request<()> {
    http::Request::post("http://a/apache.rocketmq.v2.MessagingService/Echo")
        .header("te", "trailers")
        .header("content-type", "application/grpc")
        .header("x-mq-client-id", "a-client-with-quite-a-long-name@1@2")
        .body(())
        .unwrap()
}

/// Small and large messages, many at a time, through windows smaller than a message, with header tables in use.
#[tokio::test]
async fn another_implementation_is_understood() {
    let (here, there) = tokio::io::duplex(4_096);
    tokio::spawn(echo(there));
    let (client, connection) = h2::client::Builder::new()
        .initial_window_size(10_000)
        .initial_connection_window_size(70_000)
        .handshake::<_, Bytes>(here)
        .await
        .unwrap();
    tokio::spawn(async move { connection.await.unwrap() });
    let mut calls = Vec::new();
    for number in 0..200usize {
        let mut client = client.clone().ready().await.unwrap();
        calls.push(tokio::spawn(async move {
            let (response, mut body) = client.send_request(request(), false).unwrap();
            let name = number.to_string().repeat([1, 100, 16_384, 50_000][number % 4]);
            body.send_data(framed(&name), true).unwrap();
            let (head, mut got) = response.await.unwrap().into_parts();
            assert_eq!(head.status, http::StatusCode::OK);
            assert_eq!(head.headers["content-type"], "application/grpc");
            let mut bytes = Vec::new();
            while let Some(data) = got.data().await {
                let data = data.unwrap();
                got.flow_control().release_capacity(data.len()).unwrap();
                bytes.extend_from_slice(&data);
            }
            assert!(bytes == framed(&name));
            assert_eq!(got.trailers().await.unwrap().unwrap()["grpc-status"], "0");
        }));
    }
    for call in calls {
        call.await.unwrap();
    }
    let mut client = client.ready().await.unwrap();
    let (response, mut body) = client.send_request(request(), false).unwrap();
    body.send_data(framed("fail"), true).unwrap();
    let headers = response.await.unwrap().into_parts().0.headers;
    assert_eq!(headers["grpc-status"], "3");
    assert_eq!(headers["grpc-message"], "it fails: 100%25");
}

/// A client that is played frame by frame.
struct Peer {
    connection: Connection,
    limits: Limits,
    now_s: u64,
    out: BytesMut,
    events: Vec<Event>,
}

/// A frame that came: type, flags, stream, payload.
type Came = (u8, u8, u32, Bytes);

impl Peer {
    fn new(limits: Limits) -> Self {
        let connection = Connection::default();
        let mut peer = Self { connection, limits, now_s: 1, out: BytesMut::new(), events: Vec::new() };
        peer.take(Frame::Preface).unwrap();
        assert_eq!(peer.frames().iter().map(|f| f.0).collect::<Vec<_>>(), [SETTINGS, WINDOW_UPDATE]);
        peer
    }

    fn take(&mut self, frame: Frame) -> Result<(), Fault> {
        let (scratch, out) = (&mut Scratch::default(), &mut self.out);
        self.connection.take(frame, self.now_s, (&self.limits, scratch), out, &mut self.events)?;
        self.connection.settle(&mut self.out);
        Ok(())
    }

    fn say(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Result<(), Fault> {
        self.take(Frame::Frame { kind, flags, stream, payload: Bytes::copy_from_slice(payload) })
    }

    fn open(&mut self, stream: u32) {
        self.say(HEADERS, 4, stream, &head(&[])).unwrap();
    }

    fn call(&mut self, stream: u32) {
        self.open(stream);
        self.say(DATA, 1, stream, &framed("a")).unwrap();
    }

    /// What was sent since this was asked last.
    fn frames(&mut self) -> Vec<Came> {
        let mut frames = Vec::new();
        while let Some(Frame::Frame { kind, flags, stream, payload }) = cut(&mut self.out).unwrap() {
            frames.push((kind, flags, stream, payload));
        }
        frames
    }

    fn last(&mut self) -> Came {
        self.frames().pop().unwrap()
    }

    fn answer(&mut self, stream: u32) {
        assert!(self.connection.send(stream, &Status::default(), &mut self.out));
        self.connection.finish(stream, 0, "", &mut self.out);
    }
}

/// The header block of a call, without Huffman's code and without the table.
fn head(more: &[(&str, &str)]) -> Vec<u8> {
    let mut block = vec![0x83, 0x86];
    for (name, value) in [(":path", "/a/b"), ("content-type", "application/grpc")].iter().chain(more) {
        block.push(0);
        for text in [name, value] {
            assert!(text.len() < 127 || text.len() < 127 + 128);
            match text.len() {
                0..127 => block.push(text.len() as u8),
                _ => block.extend([127, (text.len() - 127) as u8]),
            }
            block.extend(text.bytes());
        }
    }
    block
}

fn code(payload: &[u8]) -> u32 {
    u32::from_be_bytes(payload[..4].try_into().unwrap())
}

#[test]
fn calls_beyond_the_limit_are_refused_and_those_before_go_on() {
    let mut peer = Peer::new(Limits { streams_max: 2, ..Limits::default() });
    for stream in [1, 3, 5] {
        peer.open(stream);
    }
    let (kind, _, stream, payload) = peer.last();
    assert_eq!((kind, stream, code(&payload)), (RST_STREAM, 5, 7), "refused, the client may try again");
    peer.say(DATA, 1, 5, &framed("a")).unwrap();
    assert!(peer.events.is_empty(), "what is still on its way for the refused call means nothing");
    peer.say(DATA, 1, 1, &framed("a")).unwrap();
    assert_eq!(peer.events.len(), 2);
    peer.answer(1);
    peer.open(7);
    assert_eq!(peer.connection.streams().count(), 2);
}

#[test]
fn calls_of_a_second_are_limited() {
    let mut peer = Peer::new(Limits { streams_per_s: 3, ..Limits::default() });
    for stream in [1, 3, 5, 7] {
        peer.call(stream);
        if stream < 7 {
            peer.answer(stream);
        }
    }
    assert_eq!((peer.last().0, peer.connection.streams().count()), (RST_STREAM, 0));
    peer.now_s += 1;
    peer.call(9);
    assert_eq!(peer.connection.streams().count(), 1);
}

#[test]
fn rapid_resets_close_the_connection() {
    let mut peer = Peer::new(Limits { resets_per_s: 10, ..Limits::default() });
    let mut end = Ok(());
    for number in 0..11 {
        let stream = 2 * number + 1;
        peer.call(stream);
        end = peer.say(RST_STREAM, 0, stream, &[0, 0, 0, 8]);
        assert_eq!(end.is_ok(), number < 10);
        assert_eq!(peer.events.last(), Some(&Event::Cancelled { stream }));
    }
    peer.frames();
    let fault = end.unwrap_err();
    assert!(fault.to_string().contains("taken back"), "{fault}");
    peer.connection.fail(&fault, &mut peer.out);
    let (kind, _, _, payload) = peer.last();
    assert_eq!((kind, code(&payload[4..])), (GOAWAY, 11));
}

#[test]
fn long_headers_are_answered_with_431_and_endless_ones_close() {
    let mut peer = Peer::new(Limits { header_bytes_max: 500, ..Limits::default() });
    let long = "x".repeat(250);
    let block = head(&[("a", &long), ("b", &long)]);
    peer.say(HEADERS, 4, 1, &block).unwrap();
    let frames = peer.frames();
    assert_eq!((frames[0].0, frames[0].1, frames[0].2), (HEADERS, 5, 1));
    assert!(frames[0].3.ends_with(b"431"));
    assert_eq!((frames[1].0, code(&frames[1].3)), (RST_STREAM, 0));
    assert_eq!(peer.connection.streams().count(), 0);
    // In pieces the same; a block that does not end at all is too much.
    peer.say(HEADERS, 0, 3, &block).unwrap();
    peer.say(CONTINUATION, 4, 3, &[]).unwrap();
    assert!(peer.frames()[0].3.ends_with(b"431"));
    peer.say(HEADERS, 0, 5, &block).unwrap();
    let end = (0..9).map(|_| peer.say(CONTINUATION, 0, 5, &[0; 4_000])).find(Result::is_err);
    assert!(end.unwrap().unwrap_err().why.contains("without end"));
}

#[test]
fn messages_that_are_too_long_or_compressed_end_their_call_alone() {
    let mut peer = Peer::new(Limits { message_bytes_max: 100, ..Limits::default() });
    peer.open(1);
    peer.open(3);
    peer.say(DATA, 0, 1, &[0, 0, 0, 0, 101]).unwrap();
    let frames = peer.frames();
    assert_eq!((frames[0].0, frames[0].1, frames[0].2), (HEADERS, 5, 1));
    let text = String::from_utf8_lossy(&frames[0].3).into_owned();
    assert!(text.contains("grpc-status\u{1}8") && text.contains("101 bytes, the limit is 100"), "{text:?}");
    assert_eq!(frames[1].0, RST_STREAM);
    peer.say(DATA, 0, 3, &[1, 0, 0, 0, 1, 9]).unwrap();
    assert!(String::from_utf8_lossy(&peer.frames()[0].3).contains("grpc-status\u{2}12"));
    peer.say(DATA, 0, 1, &[0; 100]).unwrap();
    assert!(peer.events.is_empty());
    peer.call(5);
    assert_eq!(peer.events.len(), 2);
}

#[test]
fn a_message_that_does_not_come_is_given_up() {
    let mut peer = Peer::new(Limits { message_s_max: 30, ..Limits::default() });
    peer.open(1);
    peer.say(DATA, 0, 1, b"\0\0").unwrap();
    peer.open(3);
    peer.say(DATA, 0, 3, &framed("a")).unwrap();
    peer.frames();
    peer.connection.sweep(31, &peer.limits, &mut peer.out, &mut peer.events);
    assert!(peer.frames().is_empty());
    peer.connection.sweep(32, &peer.limits, &mut peer.out, &mut peer.events);
    let (kind, _, stream, payload) = peer.last();
    assert_eq!((kind, stream, code(&payload)), (RST_STREAM, 1, 8));
    assert_eq!(peer.connection.streams().collect::<Vec<_>>(), [3], "the other one waits for us");
    // So is one whose answer is not taken, and one of a stream that stays open whose next message ends in the middle.
    peer.now_s = 100;
    let resource = Resource { name: "n".repeat(70_000), ..Resource::default() };
    assert!(peer.connection.send(3, &resource, &mut peer.out));
    peer.open(5);
    peer.say(DATA, 0, 5, &framed("a")).unwrap();
    peer.now_s = 120;
    peer.say(DATA, 0, 5, b"\0\0").unwrap();
    peer.events.clear();
    peer.connection.sweep(131, &peer.limits, &mut peer.out, &mut peer.events);
    assert_eq!(peer.events, [Event::Cancelled { stream: 3 }]);
    assert_eq!(peer.connection.held(), 2);
    peer.events.clear();
    peer.connection.sweep(151, &peer.limits, &mut peer.out, &mut peer.events);
    assert_eq!((&*peer.events, peer.connection.held()), (&[Event::Cancelled { stream: 5 }][..], 0));
}

#[test]
fn what_a_client_does_not_take_waits_within_its_windows() {
    let mut peer = Peer::new(Limits::default());
    let window = |bytes: u32| [&[0, 4][..], &bytes.to_be_bytes()].concat();
    peer.say(SETTINGS, 0, 0, &window(10)).unwrap();
    peer.call(1);
    peer.frames();
    let resource = Resource { name: "n".repeat(100), ..Resource::default() };
    assert!(peer.connection.send(1, &resource, &mut peer.out));
    peer.connection.finish(1, 0, "", &mut peer.out);
    let frames = peer.frames();
    assert_eq!(frames.iter().map(|f| (f.0, f.3.len())).collect::<Vec<_>>(), [(HEADERS, 20), (DATA, 10)]);
    assert_eq!(peer.connection.queued(), 97);
    peer.say(WINDOW_UPDATE, 0, 1, &7u32.to_be_bytes()).unwrap();
    assert_eq!(peer.last().3.len(), 7);
    // A smaller initial window may make one negative, a larger one opens all.
    peer.say(SETTINGS, 0, 0, &window(0)).unwrap();
    peer.say(WINDOW_UPDATE, 0, 1, &10u32.to_be_bytes()).unwrap();
    assert_eq!((peer.frames().len(), peer.connection.queued()), (1, 90));
    peer.say(SETTINGS, 0, 0, &window(1_000)).unwrap();
    let frames = peer.frames();
    assert_eq!(frames.iter().map(|f| f.0).collect::<Vec<_>>(), [SETTINGS, DATA, HEADERS]);
    assert_eq!((peer.connection.queued(), peer.connection.streams().count()), (0, 0));
    // What waits for a client that gives up is forgotten.
    peer.say(SETTINGS, 0, 0, &window(0)).unwrap();
    peer.call(3);
    assert!(peer.connection.send(3, &resource, &mut peer.out));
    assert_eq!(peer.connection.held(), 107);
    peer.say(RST_STREAM, 0, 3, &[0; 4]).unwrap();
    assert_eq!(peer.connection.held(), 0);
    assert!(!peer.connection.send(3, &resource, &mut peer.out));
}

#[test]
fn windows_are_given_back_while_a_message_comes() {
    let mut peer = Peer::new(Limits::default());
    peer.open(1);
    let mut sent = 0;
    peer.say(DATA, 0, 1, &[0, 0, 0xf0, 0, 0]).unwrap();
    peer.frames();
    let mut given = 0;
    for _ in 0..200 {
        peer.say(DATA, 0, 1, &[0; 16_384]).unwrap();
        sent += 16_384;
        given += peer
            .frames()
            .iter()
            .filter(|f| f.0 == WINDOW_UPDATE && f.2 == 1)
            .map(|f| code(&f.3))
            .sum::<u32>();
    }
    assert!(sent - given < 1 << 20);
    assert!(peer.connection.held() >= sent as usize, "and what came is counted");
    // A call that is over in our eyes: only the connection's window is given back.
    peer.connection.finish(1, 13, "", &mut peer.out);
    assert_eq!(peer.connection.held(), 0);
}

/// The official client for Python opens one again after a restart, and has something to say on it minutes later.
#[test]
fn a_call_may_wait_with_its_first_message_and_counts_meanwhile() {
    let mut peer = Peer::new(Limits::default());
    peer.say(HEADERS, 4, 1, &head(&[("x-mq-client-id", &"c".repeat(200)), ("other", &"o".repeat(250))]))
        .unwrap();
    peer.connection.sweep(1_000, &peer.limits, &mut peer.out, &mut peer.events);
    assert_eq!(peer.connection.streams().count(), 1);
    let held = peer.connection.held();
    assert!((400..1_000).contains(&held), "{held}");
    peer.say(DATA, 0, 1, &framed("a")).unwrap();
    match peer.events.last().unwrap() {
        Event::Message { head: Some(head), .. } => {
            assert_eq!(head.iter().map(|(name, _)| name).collect::<Vec<_>>(), [":path", "x-mq-client-id"]);
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(peer.connection.held(), 0);
}

#[test]
fn one_byte_behind_a_message_does_not_keep_its_memory() {
    let mut peer = Peer::new(Limits::default());
    peer.open(1);
    let message = framed(&"n".repeat(20_000));
    peer.say(DATA, 0, 1, &message[..16_000]).unwrap();
    peer.now_s = 20;
    peer.say(DATA, 0, 1, &[&message[16_000..], b"\0"].concat()).unwrap();
    let Some(Event::Message { message, .. }) = peer.events.pop() else { panic!("a message") };
    assert!(message.try_into_mut().is_ok(), "nobody else has a part of it");
    // It got on: the rest has its time from now.
    peer.connection.sweep(50, &peer.limits, &mut peer.out, &mut peer.events);
    assert_eq!(peer.connection.streams().count(), 1);
}

/// Of a call that is over the library for Node.js, in old versions, says so once more.
#[test]
fn a_reset_of_a_call_that_is_over_counts_only_if_it_takes_it_back() {
    let mut peer = Peer::new(Limits { resets_per_s: 1, ..Limits::default() });
    peer.call(1);
    peer.answer(1);
    peer.events.clear();
    for _ in 0..10 {
        peer.say(RST_STREAM, 0, 1, &[0; 4]).unwrap();
    }
    assert!(peer.events.is_empty());
    // It may not have read what it was given.
    peer.say(RST_STREAM, 0, 1, &[0, 0, 0, 8]).unwrap();
    assert_eq!(peer.events, [Event::Cancelled { stream: 1 }]);
    assert!(peer.say(RST_STREAM, 0, 1, &[0, 0, 0, 8]).is_err());
}

#[test]
fn calls_that_their_client_breaks_off_count_as_taken_back() {
    for broken in [&[1, 0, 0, 0, 0][..], &[0, 0]] {
        let mut peer = Peer::new(Limits { resets_per_s: 3, ..Limits::default() });
        let mut end = (0..5u32).map(|number| {
            peer.open(2 * number + 1);
            let data = [&framed("a")[..], broken].concat();
            peer.say(DATA, 1, 2 * number + 1, &data).is_err()
        });
        assert_eq!(end.position(|is_err| is_err), Some(3), "{broken:?}");
    }
}

#[test]
fn a_refused_call_whose_answer_waits_takes_nothing_more() {
    let mut peer = Peer::new(Limits { message_bytes_max: 100, ..Limits::default() });
    peer.say(SETTINGS, 0, 0, &[0, 4, 0, 0, 0, 0]).unwrap();
    peer.open(1);
    peer.say(DATA, 0, 1, &framed("a")).unwrap();
    assert!(peer.connection.send(
        1,
        &Resource { name: "n".repeat(50), ..Resource::default() },
        &mut peer.out
    ));
    let queued = peer.connection.queued();
    peer.say(DATA, 0, 1, &[0, 0, 0, 0]).unwrap();
    peer.say(DATA, 0, 1, &[255; 50]).unwrap();
    peer.events.clear();
    peer.say(DATA, 0, 1, &framed("b")).unwrap();
    peer.say(DATA, 1, 1, &[]).unwrap();
    assert!(peer.events.is_empty(), "{:?}", peer.events);
    assert_eq!(peer.connection.held(), queued);
    peer.frames();
    peer.say(SETTINGS, 0, 0, &[0, 4, 0, 0, 1, 0]).unwrap();
    assert_eq!(peer.frames().iter().map(|f| f.0).collect::<Vec<_>>(), [SETTINGS, DATA, HEADERS]);
    assert_eq!(peer.connection.streams().count(), 0);
}

/// RFC 7541, section 4.2: who wants a smaller table waits for that to be said, and some break the connection off otherwise.
#[test]
fn a_smaller_table_is_agreed_to_in_the_first_header_block() {
    let mut peer = Peer::new(Limits::default());
    peer.say(SETTINGS, 0, 0, &[0, 1, 0, 0, 0, 0]).unwrap();
    for (stream, first) in [(1, 0x20), (3, 0x88)] {
        peer.call(stream);
        peer.frames();
        peer.answer(stream);
        assert_eq!(peer.frames()[0].3[0], first);
    }
}

#[test]
fn texts_that_end_a_call_fit_into_a_frame() {
    let mut peer = Peer::new(Limits::default());
    peer.call(1);
    peer.frames();
    peer.connection.finish(1, 12, &"\u{fc}".repeat(20_000), &mut peer.out);
    let (kind, _, _, payload) = peer.last();
    assert_eq!(kind, HEADERS);
    assert!((3_000..4_000).contains(&payload.len()), "{}", payload.len());
}

#[test]
fn a_header_block_that_stands_for_megabytes_closes_the_connection() {
    let mut peer = Peer::new(Limits::default());
    // An entry of the table with a long name, named again and again.
    let name = [&[0x40, 127, 0xa1, 0x1e][..], &[b'n'; 4_000], &[0]].concat();
    let block = [head(&[]), name, [0x7e, 0].repeat(1_000)].concat();
    assert!(peer.say(HEADERS, 4, 1, &block).unwrap_err().why.contains("cannot be read"));
}

#[test]
fn nothing_is_looked_at_after_a_fault() {
    let mut peer = Peer::new(Limits::default());
    let fault = peer.say(HEADERS, 4, 1, &[0x80]).unwrap_err();
    peer.connection.fail(&fault, &mut peer.out);
    peer.call(3);
    assert!(peer.events.is_empty());
}

#[test]
fn draining_takes_two_steps_and_loses_no_call() {
    let mut peer = Peer::new(Limits::default());
    peer.call(1);
    peer.connection.drain(&mut peer.out);
    let frames = peer.frames();
    assert_eq!(frames.iter().map(|f| f.0).collect::<Vec<_>>(), [GOAWAY, PING]);
    assert_eq!(code(&frames[0].3), (1 << 31) - 1);
    // This call was under way when the client was told.
    peer.call(3);
    peer.say(PING, 1, 0, &frames[1].3).unwrap();
    let (kind, _, _, payload) = peer.last();
    assert_eq!((kind, code(&payload)), (GOAWAY, 3));
    assert!(!peer.connection.is_drained());
    // One that comes in spite of it is not looked at, nor that it is taken back.
    peer.call(5);
    peer.say(RST_STREAM, 0, 5, &[0, 0, 0, 8]).unwrap();
    assert_eq!(peer.events.len(), 4);
    peer.answer(1);
    peer.answer(3);
    assert!(peer.connection.is_drained());
    // Who has said nothing yet misses nothing.
    let mut silent = Connection::default();
    let mut out = BytesMut::new();
    silent.drain(&mut out);
    assert!(silent.is_drained() && out.is_empty());
}

#[test]
fn what_is_no_http2_is_refused() {
    type Case = (&'static str, u8, u8, u32, Vec<u8>);
    let cases: Vec<Case> = vec![
        ("on stream 0", DATA, 0, 0, vec![]),
        ("on stream 1", SETTINGS, 0, 1, vec![]),
        ("not opened", DATA, 0, 1, vec![]),
        ("not opened", RST_STREAM, 0, 1, vec![0; 4]),
        ("open odd streams", HEADERS, 4, 2, head(&[])),
        ("cannot be read", HEADERS, 4, 1, vec![0x80]),
        ("more padding", HEADERS, 4 | 8, 1, vec![9, 0]),
        ("cut off", SETTINGS, 0, 0, vec![0; 5]),
        ("than 8", PING, 0, 0, vec![0; 7]),
        ("than 4", WINDOW_UPDATE, 0, 0, vec![0; 3]),
        ("by nothing", WINDOW_UPDATE, 0, 0, vec![0; 4]),
        ("beyond", WINDOW_UPDATE, 0, 0, vec![0x7f, 0xff, 0xff, 0xff]),
        ("beyond", SETTINGS, 0, 0, vec![0, 4, 0xff, 0xff, 0xff, 0xff]),
        ("did not begin", CONTINUATION, 4, 1, vec![]),
        ("promise", 5, 0, 1, vec![]),
    ];
    for (why, kind, flags, stream, payload) in cases {
        let fault = Peer::new(Limits::default()).say(kind, flags, stream, &payload).unwrap_err();
        assert!(fault.why.contains(why), "{why}: {fault}");
    }
    let mut peer = Peer::new(Limits::default());
    assert!(peer.take(Frame::Preface).is_err());
    let mut bare = Peer { connection: Connection::default(), ..Peer::new(Limits::default()) };
    assert!(bare.say(PING, 0, 0, &[0; 8]).unwrap_err().why.contains("preface"));
    let mut peer = Peer::new(Limits::default());
    peer.say(HEADERS, 0, 1, &head(&[])).unwrap();
    assert!(peer.say(PING, 0, 0, &[0; 8]).unwrap_err().why.contains("interrupted"));
    // Unknown types mean nothing.
    Peer::new(Limits::default()).say(0xee, 0xff, 77, &[1, 2, 3]).unwrap();
    assert_eq!(PREFACE.len(), 24);
}

#[test]
fn padding_and_priorities_are_looked_past_and_trailers_end_a_call() {
    let mut peer = Peer::new(Limits::default());
    let block = [&[3][..], &[0; 5], &head(&[("x-mq-client-id", "c")]), &[0; 3]].concat();
    peer.say(HEADERS, 4 | 8 | 0x20, 1, &block).unwrap();
    peer.say(DATA, 8, 1, &[&[2][..], &framed("a"), &[0; 2]].concat()).unwrap();
    let Some(Event::Message { stream: 1, head: Some(fields), message }) = peer.events.pop() else { panic!() };
    assert_eq!((fields.get(":path"), fields.get("x-mq-client-id")), (Some("/a/b"), Some("c")));
    assert_eq!(Resource::decode(message).unwrap().name, "a");
    peer.say(HEADERS, 5, 1, &[]).unwrap();
    assert_eq!(peer.events, [Event::Ended { stream: 1 }]);
    // A call without a message cannot be answered otherwise.
    peer.say(HEADERS, 5, 3, &head(&[])).unwrap();
    assert!(String::from_utf8_lossy(&peer.last().3).contains("grpc-status\u{2}13"));
    assert_eq!(peer.events.len(), 1);
    // Other uses of HTTP: not here.
    peer.say(HEADERS, 5, 5, &[0x82, 0x84, 0x86]).unwrap();
    assert!(peer.last().3.ends_with(b"415"));
}
