//! Append, flush, read: what goes in comes out.

use crate::world::*;
use kerolox_store::disk::HostileDisk;
use kerolox_store::{Bounds, Visible};

#[test]
fn nothing_is_visible_before_it_is_flushed() {
    let mut w = World::open(HostileDisk::default());
    let a = w.send("T", 0, "one");
    let b = w.send("T", 1, "two");
    assert_eq!((a.position, a.queue_offset, b.queue_offset), (0, 0, 0));
    assert_eq!(a.end, b.position);
    assert_eq!(w.store.bounds("T", 0), Some(Bounds { min: 0, max: 0 }));
    w.write(false);
    assert_eq!(w.store.watermarks().written, b.end);
    assert_eq!(w.store.watermarks().confirmed, 0);
    assert_eq!(w.store.next_visible(), None);
    w.flush();
    assert_eq!(w.store.watermarks().confirmed, b.end);
    let seen: Vec<(u32, u64)> = std::iter::from_fn(|| w.store.next_visible())
        .map(|Visible { queue_id, offset, .. }| (queue_id, offset))
        .collect();
    assert_eq!(seen, [(0, 0), (1, 0)]);
    assert_eq!(w.bodies("T", 0), ["one"]);
    assert_eq!(w.bodies("T", 1), ["two"]);
    assert_eq!(w.store.bounds("T", 2), None);
    assert_eq!(w.store.bounds("U", 0), None);
}

#[test]
fn messages_come_back_hot_cold_and_after_restarts() {
    let mut w = World::open(HostileDisk::default());
    let mut sent = Vec::new();
    for round in 0..4 {
        for i in 0..100 {
            let mut m = Message::new(
                "Topic",
                i % 3,
                format!("body {round} {i} {}", "x".repeat(i as usize * 3)).as_bytes(),
            );
            m.tags = format!("Tag{}", i % 2);
            m.keys = format!("k{i} r{round}");
            let appended = w.append(&m);
            sent.push((appended.position, appended.queue_offset, m));
            if i % 10 == 9 {
                w.chores();
            }
        }
        for queue_id in 0..3 {
            let want: Vec<_> =
                sent.iter().filter(|s| s.2.queue_id == queue_id).map(|s| (s.1, s.2.clone())).collect();
            assert_eq!(w.all("Topic", queue_id), (want, vec![]), "round {round}");
        }
        let positions: Vec<u64> = sent.iter().map(|s| s.0).collect();
        let bodies: Vec<_> =
            sent.iter().map(|s| Some(String::from_utf8(s.2.body.clone()).unwrap())).collect();
        assert_eq!(w.by_position(&positions), bodies);
        assert_eq!(w.by_key("Topic", &format!("r{round}"), 1000, 0, i64::MAX).len(), 100);
        assert_eq!(w.by_key("Topic", "k7", 1000, 0, i64::MAX).len(), round + 1);
        let now = w.now;
        w = World::open(w.close());
        w.now = now;
        assert!(w.report.clean && w.report.damaged.is_empty(), "{:?}", w.report);
        assert!(w.report.scanned_bytes == 0, "{:?}", w.report);
    }
}
