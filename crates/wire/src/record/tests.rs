use super::*;
use crate::properties::PropertiesBuf;

fn sample<'a>(topic: &'a str, body: &'a [u8], properties: &'a [u8]) -> NewRecord<'a> {
    NewRecord {
        topic,
        queue_id: 3,
        flag: 7,
        sys_flag: 0,
        queue_offset: 41,
        position: 1 << 40,
        born_ms: 1_700_000_000_123,
        born_host: "10.1.2.3:54321".parse().unwrap(),
        store_ms: 1_700_000_000_456,
        store_host: "192.168.0.9:10911".parse().unwrap(),
        reconsume_times: 2,
        prepared_transaction_offset: -1,
        body,
        properties,
    }
}

fn encoded(record: &NewRecord<'_>) -> BytesMut {
    let mut out = BytesMut::from(&b"before"[..]);
    record.encode(&mut out).unwrap();
    let out = out.split_off(6);
    assert_eq!(out.len(), record.encoded_len());
    out
}

#[test]
fn a_record_reads_back() {
    let new = sample("TopicTest", b"hello", b"TAGS\x01TagA\x02");
    let bytes = encoded(&new);
    let view = RecordView::parse(&bytes).unwrap();
    view.verify(Some(1 << 40), true).unwrap();
    assert_eq!((view.topic, view.body, view.queue_id, view.flag), ("TopicTest", &b"hello"[..], 3, 7));
    assert_eq!((view.queue_offset, view.position), (41, 1 << 40));
    assert_eq!((view.born_ms, view.store_ms), (1_700_000_000_123, 1_700_000_000_456));
    assert_eq!((view.born_host, view.store_host), (new.born_host, new.store_host));
    assert_eq!((view.reconsume_times, view.prepared_transaction_offset), (2, -1));
    assert_eq!(view.properties().0, b"TAGS\x01TagA\x02");
    assert_eq!(view.message_id().to_string(), "C0A8000900002A9F0000010000000000");
    assert_eq!(view.body_crc, crc(b"hello"));
    let wrong = view.verify(Some(5), true);
    assert_eq!(wrong, Err(RecordError::Position { said: 1 << 40, found: 5 }));
}

#[test]
fn clients_do_not_see_the_checksum() {
    for (properties, seen) in
        [(&b""[..], &b""[..]), (b"a\x01b", b"a\x01b\x02"), (b"a\x01b\x02", b"a\x01b\x02")]
    {
        let bytes = encoded(&sample("T", b"x", properties));
        let mut out = BytesMut::new();
        strip_crc(&bytes, &mut out).unwrap();
        assert_eq!(out.len(), bytes.len() - CRC_PROPERTY_BYTES);
        let view = RecordView::parse(&out).unwrap();
        assert_eq!(view.raw_properties, seen);
        assert!(!view.has_crc());
        view.verify(None, false).unwrap();
        assert_eq!(view.verify(None, true), Err(RecordError::NoCrc));
        // What has none stays as it is.
        let mut again = BytesMut::new();
        strip_crc(&out, &mut again).unwrap();
        assert_eq!(again, out);
    }
}

#[test]
fn topics_up_to_127_bytes_are_v1() {
    for (len, magic) in [(1, MAGIC_V1), (127, MAGIC_V1), (128, MAGIC_V2), (255, MAGIC_V2), (300, MAGIC_V2)] {
        let topic = "t".repeat(len);
        let bytes = encoded(&sample(&topic, b"x", b""));
        assert_eq!(RecordHead::peek(&bytes), Some(RecordHead { total: bytes.len() as u32, magic }));
        let view = RecordView::parse(&bytes).unwrap();
        view.verify(None, true).unwrap();
        assert_eq!(view.topic, topic);
    }
}

#[test]
fn address_families_set_their_bits() {
    let (v4, v6) = ("1.2.3.4:5", "[2001:db8::7]:65535");
    for (born, store) in [(v4, v4), (v4, v6), (v6, v4), (v6, v6)] {
        let new = NewRecord {
            born_host: born.parse().unwrap(),
            store_host: store.parse().unwrap(),
            // A producer's own idea of the bits does not count.
            sys_flag: sys_flag::BORN_HOST_V6 | sys_flag::STORE_HOST_V6 | sys_flag::COMPRESSED,
            ..sample("T", b"x", b"")
        };
        let bytes = encoded(&new);
        let view = RecordView::parse(&bytes).unwrap();
        assert_eq!((view.born_host, view.store_host), (new.born_host, new.store_host));
        assert_eq!(view.sys_flag & sys_flag::COMPRESSED, sys_flag::COMPRESSED);
    }
    let mapped = NewRecord { born_host: "[::ffff:1.2.3.4]:5".parse().unwrap(), ..sample("T", b"x", b"") };
    let bytes = encoded(&mapped);
    assert_eq!(RecordView::parse(&bytes).unwrap().born_host, v4.parse().unwrap());
}

#[test]
fn limits_are_refused_and_leave_nothing() {
    let long = vec![b'p'; PROPERTIES_BYTES_MAX + 1];
    let mut out = BytesMut::new();
    assert!(matches!(
        sample("T", b"", &long).encode(&mut out),
        Err(RecordError::TooLong { what: "properties", .. })
    ));
    assert!(out.is_empty());
    let bytes = encoded(&sample("T", b"", &long[1..]));
    let view = RecordView::parse(&bytes).unwrap();
    assert_eq!(view.raw_properties.len(), i16::MAX as usize);
    view.verify(None, true).unwrap();
    let topic = "t".repeat(i16::MAX as usize + 1);
    assert!(matches!(
        sample(&topic, b"", b"").encode(&mut out),
        Err(RecordError::TooLong { what: "topic", .. })
    ));
}

#[test]
fn every_flipped_byte_and_every_cut_is_noticed() {
    let properties =
        PropertiesBuf::from_iter([("KEYS", "k1 k2"), ("TAGS", "TagA"), ("UNIQ_KEY", "0123456789")]);
    for topic in ["TopicTest".to_owned(), "t".repeat(200)] {
        let bytes = encoded(&sample(&topic, b"the body of the message", properties.as_bytes()));
        for at in 0..bytes.len() {
            for flip in 1..=255u8 {
                let mut bad = bytes.clone();
                bad[at] ^= flip;
                let verdict = RecordView::parse(&bad).and_then(|v| v.verify(Some(1 << 40), true));
                assert!(verdict.is_err(), "byte {at} ^ {flip:#x} went unnoticed");
            }
            assert!(RecordView::parse(&bytes[..at]).is_err(), "cut at {at} went unnoticed");
        }
    }
}

#[test]
fn negative_lengths_are_malformed() {
    let bytes = encoded(&sample("T", b"x", b""));
    for (at, len, what) in [(84, 4, "body"), (89, 1, "topic"), (91, 2, "properties")] {
        let mut bad = bytes.clone();
        bad[at..at + len].fill(0xff);
        assert_eq!(RecordView::parse(&bad).unwrap_err(), RecordError::Negative(what, -1));
    }
}

#[test]
fn blank_filler() {
    let mut out = BytesMut::new();
    encode_blank(4096, &mut out);
    let head = RecordHead::peek(&out).unwrap();
    assert!(head.is_blank() && !head.is_record());
    assert_eq!(head.total, 4096);
    assert_eq!(RecordHead::peek(&out[..7]), None);
    assert_eq!(RecordView::parse(&out), Err(RecordError::Magic(MAGIC_BLANK)));
}
