//! Records: whatever is written reads back, and no damage goes unnoticed.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)] // a panic is how a test fails

use bytes::BytesMut;
use kerolox_wire::properties::{Properties, PropertiesBuf};
use kerolox_wire::record::{NewRecord, RecordView, batch, strip_crc};
use proptest::prelude::*;
use std::net::{IpAddr, SocketAddr};

/// The fields of a record, owned.
#[derive(Debug, Clone)]
struct Fields {
    topic: String,
    queue_id: u32,
    flag: i32,
    sys_flag: i32,
    queue_offset: u64,
    position: u64,
    times: (i64, i64),
    hosts: (SocketAddr, SocketAddr),
    reconsume_times: i32,
    prepared: i64,
    body: Vec<u8>,
    properties: Vec<u8>,
}

impl Fields {
    fn record(&self) -> NewRecord<'_> {
        NewRecord {
            topic: &self.topic,
            queue_id: self.queue_id,
            flag: self.flag,
            sys_flag: self.sys_flag,
            queue_offset: self.queue_offset,
            position: self.position,
            born_ms: self.times.0,
            born_host: self.hosts.0,
            store_ms: self.times.1,
            store_host: self.hosts.1,
            reconsume_times: self.reconsume_times,
            prepared_transaction_offset: self.prepared,
            body: &self.body,
            properties: &self.properties,
        }
    }

    fn encoded(&self) -> BytesMut {
        let mut out = BytesMut::new();
        self.record().encode(&mut out).unwrap();
        assert_eq!(out.len(), self.record().encoded_len());
        out
    }
}

fn hosts() -> impl Strategy<Value = SocketAddr> {
    let canonical = |ip: IpAddr| ip.to_canonical();
    (any::<IpAddr>().prop_map(canonical), any::<u16>()).prop_map(SocketAddr::from)
}

prop_compose! {
    fn fields()(
        topic in "[%|a-zA-Z0-9_-]{1,140}|\\PC{0,20}",
        numbers in any::<(u32, i32, i32, u64, u64, i32, i64)>(),
        times in any::<(i64, i64)>(),
        hosts in (hosts(), hosts()),
        body in proptest::collection::vec(any::<u8>(), 0..300),
        properties in prop_oneof![
            proptest::collection::vec(any::<u8>(), 0..60),
            proptest::collection::vec(("[a-zA-Z]{1,9}", "\\PC{1,9}"), 0..5).prop_map(|pairs| {
                PropertiesBuf::from_iter(pairs.iter().map(|(n, v)| (n.as_str(), v.as_str()))).into_bytes()
            }),
        ],
    ) -> Fields {
        let (queue_id, flag, sys_flag, queue_offset, position, reconsume_times, prepared) = numbers;
        Fields {
            topic, queue_id, flag, sys_flag, queue_offset, position, times, hosts, reconsume_times, prepared, body,
            properties,
        }
    }
}

proptest! {
    #[test]
    fn what_is_written_reads_back(f in fields(), more in proptest::collection::vec(any::<u8>(), 0..9)) {
        let mut bytes = f.encoded();
        let len = bytes.len();
        bytes.extend_from_slice(&more);
        let view = RecordView::parse(&bytes).unwrap();
        prop_assert_eq!(view.len(), len);
        prop_assert_eq!(view.verify(Some(f.position), true), Ok(()));
        prop_assert!(view.verify(Some(f.position.wrapping_add(1)), true).is_err());
        prop_assert_eq!(view.topic, &f.topic);
        prop_assert_eq!((view.queue_id, view.flag), (f.queue_id, f.flag));
        prop_assert_eq!(view.sys_flag & !0x30, f.sys_flag & !0x30);
        prop_assert_eq!((view.queue_offset, view.position), (f.queue_offset, f.position));
        prop_assert_eq!((view.born_ms, view.store_ms), f.times);
        prop_assert_eq!((view.born_host, view.store_host), f.hosts);
        prop_assert_eq!((view.reconsume_times, view.prepared_transaction_offset), (f.reconsume_times, f.prepared));
        prop_assert_eq!(view.body, &f.body[..]);
        // A separator may have been added, nothing else.
        let kept = view.properties().0;
        prop_assert_eq!(kept.strip_suffix(b"\x02").unwrap_or(kept), f.properties.strip_suffix(b"\x02").unwrap_or(&f.properties));

        let mut client = BytesMut::new();
        view.write_for_client(&mut client);
        prop_assert_eq!(client.len(), view.client_len());
        let seen = RecordView::parse(&client).unwrap();
        prop_assert_eq!(seen.raw_properties, kept);
        prop_assert_eq!((seen.body, seen.topic, seen.position), (view.body, view.topic, view.position));
    }

    #[test]
    fn damage_is_noticed(f in fields(), at in any::<prop::sample::Index>(), flip in 1u8..) {
        let mut bytes = f.encoded();
        let at = at.index(bytes.len());
        bytes[at] ^= flip;
        let verdict = RecordView::parse(&bytes).and_then(|view| view.verify(Some(f.position), true));
        prop_assert!(verdict.is_err(), "byte {} ^ {:#x}", at, flip);
    }

    #[test]
    fn damage_of_several_bytes_is_noticed(
        f in fields(), damage in proptest::collection::vec((any::<prop::sample::Index>(), 1u8..), 2..20),
    ) {
        let whole = f.encoded();
        let mut bytes = whole.clone();
        for (at, flip) in &damage {
            let at = at.index(bytes.len());
            bytes[at] ^= flip;
        }
        prop_assume!(bytes != whole);
        prop_assert!(RecordView::parse(&bytes).and_then(|view| view.verify(Some(f.position), true)).is_err());
    }

    #[test]
    fn a_torn_record_is_noticed(f in fields(), cut in any::<prop::sample::Index>(), stale in fields()) {
        let bytes = f.encoded();
        let cut = cut.index(bytes.len());
        prop_assert!(RecordView::parse(&bytes[..cut]).is_err());
        // The rest of it is what lay there before: zeros, or another record.
        let mut zeros = bytes.clone();
        zeros[cut..].fill(0);
        if zeros != bytes {
            prop_assert!(RecordView::parse(&zeros).and_then(|view| view.verify(Some(f.position), true)).is_err());
        }
        let mut mixed = BytesMut::from(&bytes[..cut]);
        let old = stale.encoded();
        let rest: Vec<u8> = old.iter().copied().cycle().take(bytes.len() - cut).collect();
        mixed.extend_from_slice(&rest);
        if mixed != bytes && cut > 0 {
            prop_assert!(RecordView::parse(&mixed).and_then(|view| view.verify(Some(f.position), true)).is_err());
        }
    }

    #[test]
    fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200), v2 in any::<bool>()) {
        let _ = RecordView::parse(&bytes);
        let mut record = vec![0, 0, 0, 0, 0xda, 0xa3, 0x20, if v2 { 0xab } else { 0xa7 }];
        record.extend_from_slice(&bytes);
        let len = record.len() as u32;
        record[..4].copy_from_slice(&len.to_be_bytes());
        if let Ok(view) = RecordView::parse(&record) {
            let _ = view.verify(None, false);
            let _ = view.properties().iter().count();
            strip_crc(&record, &mut BytesMut::new()).unwrap();
        }
        prop_assert!(batch::messages(&bytes).count() <= bytes.len() / 22 + 1);
        let _ = Properties(&bytes).iter().count();
    }

    #[test]
    fn properties_are_a_map(start in "[ab\u{1}\u{2}]{0,12}", edits in proptest::collection::vec(("[abc]", "[xy\u{1}\u{2}]{0,3}"), 0..8)) {
        let mut properties = PropertiesBuf::from(&*start);
        let mut model: std::collections::BTreeMap<String, String> =
            properties.as_properties().iter().map(|(n, v)| (n.to_owned(), v.to_owned())).collect();
        for (name, value) in &edits {
            properties.set(name, value);
            let value: String = value.chars().filter(|c| *c > '\u{2}').collect();
            model.remove(name);
            if !value.is_empty() {
                model.insert(name.clone(), value.clone());
            }
            let found: std::collections::BTreeMap<String, String> =
                properties.as_properties().iter().map(|(n, v)| (n.to_owned(), v.to_owned())).collect();
            prop_assert_eq!(&found, &model);
            prop_assert_eq!(properties.as_properties().get(name).unwrap_or_default(), &value);
        }
    }
}

/// The one place where the checksum of the whole record is blind to one value of one byte: the body's sees it.
#[test]
fn the_blind_spot_of_a_checksum_without_its_highest_bit_is_covered() {
    let body = vec![7u8; 5_500_000];
    let f = Fields {
        topic: "T".into(),
        queue_id: 0,
        flag: 0,
        sys_flag: 0,
        queue_offset: 0,
        position: 0,
        times: (0, 0),
        hosts: ("1.2.3.4:5".parse().unwrap(), "1.2.3.4:5".parse().unwrap()),
        reconsume_times: 0,
        prepared: 0,
        body,
        properties: Vec::new(),
    };
    let whole = f.encoded();
    let mut bytes = whole.clone();
    let at = whole.len() - 20 - 1 - 4_912_158;
    bytes[at] ^= 146;
    let covered = whole.len() - 20;
    assert_eq!(kerolox_wire::record::crc(&bytes[..covered]), kerolox_wire::record::crc(&whole[..covered]));
    assert!(RecordView::parse(&bytes).unwrap().verify(None, true).is_err());
    bytes[at] ^= 1;
    assert!(RecordView::parse(&bytes).unwrap().verify(None, true).is_err());
}
