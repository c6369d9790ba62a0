//! Frames: round trips in both encodings, leniency, and limits that hold before anything is allocated.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)] // a panic is how a test fails

use bytes::{Bytes, BytesMut};
use kerolox_wire::frame::{self, FRAME_BYTES_MAX, FrameError, HEADER_BYTES_MAX};
use kerolox_wire::{Command, Encoding, Fields, Language};
use proptest::prelude::*;

fn framed(header: &[u8], body: &[u8], encoding: u8) -> BytesMut {
    let mut out = BytesMut::new();
    out.extend_from_slice(&((4 + header.len() + body.len()) as u32).to_be_bytes());
    out.extend_from_slice(&((u32::from(encoding) << 24) | header.len() as u32).to_be_bytes());
    out.extend_from_slice(header);
    out.extend_from_slice(body);
    out
}

fn decode(stream: &mut BytesMut) -> Result<Option<Command>, FrameError> {
    frame::decode(stream, FRAME_BYTES_MAX)
}

fn json(header: &str) -> Result<Command, FrameError> {
    decode(&mut framed(header.as_bytes(), b"", 0)).map(Option::unwrap)
}

prop_compose! {
    /// Any command that the encoding can carry.
    fn commands()(
        encoding in prop_oneof![Just(Encoding::Json), Just(Encoding::Rocketmq)],
        code in any::<i32>(), language in 0u8..14, version in any::<i32>(), opaque in any::<i32>(), flag in any::<i32>(),
        remark in proptest::option::of("\\PC{0,20}|[\u{0}-\u{ff}]{0,20}"),
        pairs in proptest::collection::vec(("\\PC{0,8}|[\u{0}-\u{20}]{1,4}", "\\PC{0,40}|[\u{0}-\u{20}\"\\\\/]{0,9}"), 0..12),
        body in proptest::collection::vec(any::<u8>(), 0..200),
    ) -> Command {
        let mut fields = Fields::new();
        for (key, value) in &pairs {
            // A key sent twice is legal; two commands are equal if the last values are, which counts every pair.
            if fields.get(key).is_none() {
                fields.push(key, value);
            }
        }
        let short = |n: i32| if encoding == Encoding::Rocketmq { i32::from(n as i16) } else { n };
        let remark = remark.filter(|text| encoding == Encoding::Json || !text.is_empty());
        Command {
            code: short(code), language: Language(language), version: short(version), opaque, flag, remark, fields,
            encoding, body: Bytes::from(body),
        }
    }
}

proptest! {
    #[test]
    fn what_is_written_reads_back(commands in proptest::collection::vec(commands(), 1..4)) {
        let mut stream = BytesMut::new();
        commands.iter().for_each(|command| frame::encode(command, &mut stream));
        for command in &commands {
            prop_assert_eq!(decode(&mut stream), Ok(Some(command.clone())));
        }
        prop_assert!(stream.is_empty());
    }

    #[test]
    fn a_frame_may_come_in_any_pieces(command in commands(), cut in any::<prop::sample::Index>()) {
        let whole = frame::to_bytes(&command);
        let cut = cut.index(whole.len());
        let mut stream = BytesMut::from(&whole[..cut]);
        prop_assert_eq!(decode(&mut stream), Ok(None));
        stream.extend_from_slice(&whole[cut..]);
        prop_assert_eq!(decode(&mut stream), Ok(Some(command)));
    }

    #[test]
    fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _ = decode(&mut BytesMut::from(&bytes[..]));
    }

    #[test]
    fn no_damage_panics(command in commands(), at in any::<prop::sample::Index>(), with in any::<u8>()) {
        let mut bytes = frame::to_bytes(&command).to_vec();
        let at = at.index(bytes.len());
        bytes[at] = with;
        let _ = decode(&mut BytesMut::from(&bytes[..]));
    }

    #[test]
    fn no_header_panics(header in "[\\PC\u{0}-\u{20}{}\\[\\]\":,0-9]{0,60}", encoding in 0u8..3) {
        let _ = decode(&mut framed(header.as_bytes(), b"body", encoding));
    }
}

#[test]
fn limits_hold_before_anything_is_allocated() {
    for length in [FRAME_BYTES_MAX as u32 + 1, 1 << 30, i32::MAX as u32, u32::MAX] {
        // Four bytes are enough to say no, and a stream is not grown for a frame that will not be taken.
        let mut stream = BytesMut::from(&length.to_be_bytes()[..]);
        let before = stream.capacity();
        assert_eq!(decode(&mut stream), Err(FrameError::TooLong(length as usize, FRAME_BYTES_MAX)));
        assert_eq!(stream.capacity(), before);
    }
    for length in 0..4u32 {
        assert_eq!(
            decode(&mut BytesMut::from(&length.to_be_bytes()[..])),
            Err(FrameError::TooShort(length as usize))
        );
    }
    // The largest frame is waited for, but only once its header is plausible.
    let mut stream = BytesMut::from(&(FRAME_BYTES_MAX as u32).to_be_bytes()[..]);
    assert_eq!(decode(&mut stream), Ok(None));
    assert!(stream.capacity() < 1 << 16);
    for (mark, wanted) in [
        (0x00ff_ffff_u32, FrameError::HeaderTooLong { header: 0x00ff_ffff, frame: FRAME_BYTES_MAX }),
        (
            HEADER_BYTES_MAX as u32 + 1,
            FrameError::HeaderTooLong { header: HEADER_BYTES_MAX + 1, frame: FRAME_BYTES_MAX },
        ),
        (0x0200_0002, FrameError::UnknownEncoding(2)),
        (0xff00_0002, FrameError::UnknownEncoding(255)),
    ] {
        let mut stream = stream.clone();
        stream.extend_from_slice(&mark.to_be_bytes());
        assert_eq!(decode(&mut stream), Err(wanted));
        assert!(stream.capacity() < 1 << 16);
    }
}

#[test]
fn a_header_longer_than_its_frame_is_refused() {
    let mut stream = framed(b"{}", b"", 0);
    stream[7] = 3;
    assert_eq!(decode(&mut stream), Err(FrameError::HeaderTooLong { header: 3, frame: 6 }));
}

#[test]
fn json_headers_are_read_leniently() {
    let command = json(
        r#" {"opaque" : 7, "unknown":{"deep":[[[{}]]]}, "code":"105", "version":null, "language":"KLINGON",
            "extFields":{"a":1,"b":true,"c":null,"d":"\u00e4\n","e":-1.5}, "flag":0, "remark":null} "#,
    )
    .unwrap();
    assert_eq!((command.code, command.opaque, command.version, command.flag), (105, 7, 0, 0));
    assert_eq!((command.language, command.remark), (Language::OTHER, None));
    assert_eq!(
        command.fields.iter().collect::<Vec<_>>(),
        [("a", "1"), ("b", "true"), ("d", "ä\n"), ("e", "-1.5")]
    );
    assert_eq!(json("{}").unwrap().code, 0);
    assert_eq!(json(r#"{"code":1,"extFields":null,"language":null}"#).unwrap().fields.len(), 0);
    let deep = format!(r#"{{"x":{}{},"code":5}}"#, "[".repeat(10_000), "]".repeat(10_000));
    assert_eq!(json(&deep).unwrap().code, 5);
}

#[test]
fn headers_that_mean_nothing_are_refused() {
    for header in [
        "",
        "[]",
        "null",
        "nonsense",
        "{\"code\":1",
        "{\"code\":1}x",
        "{\"code\":4294967296}",
        "{\"code\":-2147483649}",
        "{\"code\":\"x\"}",
        "{\"code\":1.5}",
        "{\"extFields\":[]}",
        "{\"extFields\":{\"a\":{}}}",
        "{\"remark\":5}",
    ] {
        assert!(matches!(json(header), Err(FrameError::BadHeader(Encoding::Json, _))), "{header}");
    }
    assert!(decode(&mut framed(b"{\"remark\":\"\xff\"}", b"", 0)).is_err());
}

#[test]
fn binary_headers_with_lying_lengths_are_refused() {
    let command = Command::request(310).with_remark("why");
    let mut command = Command { encoding: Encoding::Rocketmq, ..command };
    command.fields.push("key", "value");
    let whole = frame::to_bytes(&command);
    let header = &whole[8..];
    // remark length, fields length, key length, value length
    for (at, len) in [(13, 4), (20, 4), (24, 2), (29, 4)] {
        for fill in [0xff_u8, 0x7f] {
            let mut bad = header.to_vec();
            bad[at..at + len].fill(0xff);
            bad[at] = fill;
            let got = decode(&mut framed(&bad, b"", 1));
            assert!(matches!(got, Err(FrameError::BadHeader(Encoding::Rocketmq, _))), "{at}: {got:?}");
        }
    }
    for cut in (0..header.len()).filter(|cut| *cut != 20) {
        let got = decode(&mut framed(&header[..cut], b"", 1));
        assert!(got.is_err(), "cut at {cut}: {got:?}");
    }
    // Where the fields would begin it may end.
    assert_eq!(decode(&mut framed(&header[..20], b"", 1)).unwrap().unwrap().fields.len(), 0);
}

/// A peer that announced 16 MiB had them reserved at once.
#[test]
fn room_is_made_as_a_frame_arrives() {
    let whole = frame::to_bytes(&Command::request(1).with_body(vec![7; 15 << 20]));
    let mut stream = BytesMut::from(&whole[..8]);
    assert_eq!(frame::decode(&mut stream, FRAME_BYTES_MAX), Ok(None));
    assert!(stream.capacity() <= 300 << 10, "{}", stream.capacity());
    for chunk in whole[8..].chunks(100_000) {
        assert_eq!(frame::decode(&mut stream, FRAME_BYTES_MAX), Ok(None));
        assert!(
            stream.capacity() <= stream.len() * 4 + (600 << 10),
            "{} {}",
            stream.len(),
            stream.capacity()
        );
        stream.extend_from_slice(chunk);
    }
    assert_eq!(frame::decode(&mut stream, FRAME_BYTES_MAX).unwrap().unwrap().body.len(), 15 << 20);
}
