//! Search by time, by key, with filters and limits.

use crate::world::*;
use kerolox_store::disk::HostileDisk;
use kerolox_store::{Boundary, Filter, Place, QueueRead, ReadResult, TimesOutcome};
use std::sync::Arc;

fn search(w: &World, time_ms: i64, boundary: Boundary) -> u64 {
    match w.reader.execute(&w.store.plan_search_time("T", 0, time_ms, boundary), w.now) {
        ReadResult::Offset(offset) => offset,
        other => panic!("{other:?}"),
    }
}

#[test]
fn search_by_time() {
    let mut w = World::open(HostileDisk::default());
    // Offsets 0..300; three messages share each store time 10, 20, 30 …
    for i in 0..300 {
        w.now = i / 3 * 10 + 9;
        w.send("T", 0, &"x".repeat(100));
        w.send("Other", 0, "between");
        if i % 20 == 0 {
            w.flush();
            if w.store.seal_due() {
                w.seal();
            }
        }
    }
    w.flush();
    let check = |w: &World, what: &str| {
        for (time_ms, lower, upper) in [
            (i64::MIN, 0, 0),
            (9, 0, 0),
            (10, 0, 2),
            (15, 3, 2),
            (20, 3, 5),
            (500, 147, 149),
            (990, 294, 296),
            (1000, 297, 299),
            (1001, 300, 299),
            (i64::MAX, 300, 299),
        ] {
            assert_eq!(search(w, time_ms, Boundary::Lower), lower, "{what} {time_ms} lower");
            assert_eq!(search(w, time_ms, Boundary::Upper), upper, "{what} {time_ms} upper");
        }
    };
    check(&w, "open");
    let w = World::open(w.close());
    check(&w, "closed");
    let plan = w.store.plan_search_time("Nowhere", 0, 5, Boundary::Lower);
    assert!(matches!(w.reader.execute(&plan, w.now), ReadResult::Offset(0)));
}

#[test]
fn query_by_key() {
    let mut w = World::open(HostileDisk::default());
    for i in 0..120 {
        let mut m = Message::new("T", i % 4, format!("{i} {}", "x".repeat(150)).as_bytes());
        m.keys = format!("a{} even{} same", i, i % 2);
        w.append(&m);
        w.append(&Message { topic: "U".to_owned(), ..m });
        w.chores();
    }
    for step in ["open", "closed"] {
        let newest = w.by_key("T", "same", 5, 0, i64::MAX);
        let numbers: Vec<_> = newest.iter().map(|b| b.split(' ').next().unwrap()).collect();
        assert_eq!(numbers, ["119", "118", "117", "116", "115"], "{step}: newest first");
        assert_eq!(w.by_key("T", "even1", 1000, 0, i64::MAX).len(), 60);
        assert_eq!(w.by_key("T", "a7", 1000, 0, i64::MAX).len(), 1);
        assert!(w.by_key("T", "a", 1000, 0, i64::MAX).is_empty(), "no prefix");
        assert!(w.by_key("V", "same", 1000, 0, i64::MAX).is_empty());
        assert!(w.by_key("T", "same", 1000, 0, 10).is_empty());
        let all = w.by_key("T", "same", 1000, 0, i64::MAX).len();
        assert_eq!(all, 120, "{step}");
        w = World::open(w.close());
    }
}

/// 32 KiB of one-letter keys would take half a megabyte of index each.
#[test]
fn a_message_with_very_many_keys_is_indexed_by_the_first_64() {
    let mut w = World::open(HostileDisk::default());
    let keys: Vec<String> = (0..200).map(|i| format!("k{i}")).collect();
    w.append(&Message { keys: keys.join(" "), ..Message::new("T", 0, b"many") });
    w.flush();
    assert_eq!(w.by_key("T", "k63", 10, 0, i64::MAX), ["many"]);
    assert!(w.by_key("T", "k64", 10, 0, i64::MAX).is_empty());
}

struct OnlyTag(i64);

impl Filter for OnlyTag {
    fn tag(&self, tag_code: i64) -> bool {
        tag_code == self.0
    }
}

struct BodyHas(u8);

impl Filter for BodyHas {
    fn tag(&self, _: i64) -> bool {
        true
    }
    fn record(&self, record: &[u8]) -> bool {
        kerolox_wire::record::RecordView::parse(record).unwrap().body.contains(&self.0)
    }
}

#[test]
fn filters_and_limits_hold_hot_and_cold() {
    let mut w = World::open(HostileDisk::default());
    for i in 0..200 {
        let mut m = Message::new(
            "T",
            0,
            format!("{}{}", if i % 10 == 0 { "@" } else { "." }, "x".repeat(100)).as_bytes(),
        );
        m.tags = if i % 50 == 49 { "rare" } else { "often" }.to_owned();
        w.append(&m);
        w.chores();
    }
    let offsets = |w: &World, read: QueueRead| {
        let slice = w.read(read);
        (views(&slice.records).iter().map(|v| v.queue_offset).collect::<Vec<_>>(), slice.next_offset)
    };
    // Java's "rare".hashCode().
    let rare: Arc<dyn Filter> = Arc::new(OnlyTag(3_493_026));
    assert_eq!(kerolox_wire::properties::tag_code("rare"), 3_493_026);
    let body: Arc<dyn Filter> = Arc::new(BodyHas(b'@'));
    for step in ["open", "closed"] {
        let base = read("T", 0);
        let tagged = QueueRead { filter: Some(Arc::clone(&rare)), ..base.clone() };
        assert_eq!(offsets(&w, tagged.clone()), (vec![49, 99, 149, 199], 200), "{step}");
        assert_eq!(offsets(&w, QueueRead { count_max: 2, ..tagged.clone() }), (vec![49, 99], 100), "{step}");
        // Looks at no more entries than asked for, and says where it stopped.
        assert_eq!(offsets(&w, QueueRead { scan_max: 30, ..tagged.clone() }), (vec![], 30), "{step}");
        assert_eq!(offsets(&w, QueueRead { scan_max: 60, ..tagged.clone() }), (vec![49], 60), "{step}");
        let with_body = QueueRead { filter: Some(Arc::clone(&body)), from: 5, count_max: 3, ..base.clone() };
        assert_eq!(offsets(&w, with_body), (vec![10, 20, 30], 31), "{step}");
        // At least one, and no more bytes than asked for.
        assert_eq!(offsets(&w, QueueRead { bytes_max: 1, ..base.clone() }), (vec![0], 1), "{step}");
        let slice = w.read(QueueRead { bytes_max: 1000, ..base.clone() });
        assert!(
            slice.records.len() <= 1000 && slice.count >= 4,
            "{step}: {} in {}",
            slice.count,
            slice.records.len()
        );
        assert_eq!(offsets(&w, QueueRead { from: 200, ..base.clone() }), (vec![], 200));
        assert_eq!(offsets(&w, QueueRead { from: 999, ..base.clone() }), (vec![], 999));
        w = World::open(w.close());
    }
}

#[test]
fn store_times_of_many_messages_in_one_plan() {
    let mut w = World::open(HostileDisk::default());
    assert_eq!(times(&w, &[("T", 0, 0)]), [None]);
    for i in 0..100 {
        w.now = 1_000 + i;
        w.send("T", (i % 2) as u32, &"x".repeat(100));
        w.send("U", 0, "between");
        if i % 20 == 0 {
            w.flush();
            if w.store.seal_due() {
                w.seal();
            }
        }
    }
    let wanted = [("T", 0, 0), ("U", 0, 99), ("T", 1, 7), ("T", 1, 50), ("T", 9, 0), ("T", 0, u64::MAX)];
    let expected = [Some(1_001), Some(1_101), Some(1_016), None, None, None];
    // What is not visible is not told of.
    assert_eq!(times(&w, &wanted[1..2]), [None]);
    w.flush();
    let last = w.store.read_times(places(&wanted[1..2]));
    assert!(matches!(last, TimesOutcome::Done(times) if times == [Some(1_101)]), "it is in memory");
    assert_eq!(times(&w, &wanted), expected);
    let first = |w: &World| match w.reader.execute(&w.store.plan_first_time(), w.now) {
        ReadResult::Times(times) => times,
        other => panic!("{other:?}"),
    };
    assert_eq!(first(&w), [Some(1_001)]);
    let w = World::open(w.close());
    assert!(matches!(w.store.read_times(places(&wanted)), TimesOutcome::Cold(_)), "none of it is");
    assert_eq!(times(&w, &wanted), expected);
    assert_eq!(first(&w), [Some(1_001)]);
}

fn places(wanted: &[(&str, u32, u64)]) -> Vec<Place> {
    let place = |(topic, queue_id, offset): &(&str, u32, u64)| Place {
        topic: Arc::from(*topic),
        queue_id: *queue_id,
        offset: *offset,
    };
    wanted.iter().map(place).collect()
}

fn times(w: &World, wanted: &[(&str, u32, u64)]) -> Vec<Option<i64>> {
    match w.store.read_times(places(wanted)) {
        TimesOutcome::Done(times) => times,
        TimesOutcome::Cold(plan) => match w.reader.execute(&plan, w.now) {
            ReadResult::Times(times) => times,
            other => panic!("{other:?}"),
        },
    }
}
