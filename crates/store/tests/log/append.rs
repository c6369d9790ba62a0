//! Append, flush, read: what goes in comes out.

use crate::world::*;
use kerolox_store::disk::{CrashMode, HostileDisk};
use kerolox_store::{Bounds, StoreConfig, Visible};

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

/// What a broker asks of queues, apart from their messages.
#[test]
fn what_is_known_of_queues() {
    let mut w = World::open(HostileDisk::default());
    assert_eq!(
        (w.store.lies_from("T", 0, 0), w.store.span_bytes("T", 0), w.store.first_left("T", 0)),
        (None, 0, 0)
    );
    assert!(!w.store.has_queues("T") && w.store.begins_at("T") == 0);
    let first = w.send("T", 0, "one").position;
    assert!(w.store.has_queues("T") && !w.store.has_queues("U"));
    let end = w.send("U", 0, "two").end;
    assert_eq!(w.store.span_bytes("T", 0), end - first, "of the open run");
    assert_eq!((w.store.lies_from("T", 0, 0), w.store.lies_from("T", 0, 1)), (Some(first), None));
    w.flush();
    w.seal_index();
    let sealed = w.store.watermarks().appended;
    let end = w.send("T", 0, &"x".repeat(1000)).end;
    assert_eq!(w.store.span_bytes("T", 0), end - first);
    assert_eq!(w.store.span_bytes("none", 0), end - sealed, "as if it began now, up to a run");
    assert_eq!((w.store.lies_from("T", 0, 0), w.store.lies_from("T", 0, 1)), (Some(first), Some(sealed)));
    let queues: Vec<_> =
        w.store.queues().map(|(topic, id, bounds)| (topic.to_string(), id, bounds.max)).collect();
    assert_eq!(queues.len(), 2, "{queues:?}");
    // Until all is confirmed nobody may read it.
    assert_eq!(w.store.bounds("T", 0).unwrap().max, 1);
    w.flush();
    assert_eq!(w.store.bounds("T", 0).unwrap().max, 2);
}

/// What retention takes just now is not waited for, though the bounds do not say so yet.
#[test]
fn the_first_offset_that_is_left_is_known_before_the_bounds_are() {
    let mut w = World::open(HostileDisk::default());
    w.grow(3 * SEGMENT);
    w.dump();
    w.seal();
    assert_eq!((w.store.first_left("T", 0), w.store.begin()), (0, 0));
    w.now += 1_000_000;
    let (min, disk) = w.keeper.retain(w.now);
    assert_eq!(w.store.bounds("T", 0).unwrap().min, 0, "it was not told yet");
    let left = w.store.first_left("T", 0);
    assert!(left > 1);
    w.store.trimmed(min, disk);
    assert_eq!((w.store.bounds("T", 0).unwrap().min, w.store.begin()), (left, min));
    assert_eq!(w.store.disk().gone.len(), 2);
}

/// The room that is not prepared at first: a start need not wait for it, and what it may have to mend after a crash is no more.
#[test]
fn a_new_log_has_a_little_room_that_is_not_prepared() {
    let config = StoreConfig { ahead_bytes: 80 << 10, segment_bytes: 4 * SEGMENT, ..config() };
    let w = World::open_with(HostileDisk::default(), &config);
    let again = World::open_with(w.disk.crash(CrashMode::Kill, 0), &config);
    assert_eq!(again.report.missing_bytes_max, 12 << 10);
    let mut w = again;
    let end = w.send("T", 0, "one").end;
    w.flush();
    w.keeper.prepare(w.now + 1_000).unwrap();
    let again = World::open_with(w.disk.crash(CrashMode::Kill, 0), &config);
    assert!(again.report.log_max == end && again.report.missing_bytes_max > 0);
}

/// What is let go of goes only when all that was appended until then is flushed: it may be a copy of it. What is held counts at once.
#[test]
fn what_is_needed_is_let_go_of_when_its_copy_is_safe() {
    let mut w = World::open(HostileDisk::default());
    w.grow(3 * SEGMENT);
    w.dump();
    w.seal();
    w.now += 1_000_000;
    w.send("T", 0, "not flushed");
    w.store.need_from(0);
    w.retain();
    assert_eq!((w.store.disk().gone.len(), w.store.disk().wanted), (0, Some(3 * SEGMENT)), "at once");
    w.send("T", 0, "a copy");
    w.store.need_from(SEGMENT);
    w.retain();
    assert_eq!(w.store.disk().gone.len(), 0, "it is not flushed yet");
    w.flush();
    w.retain();
    assert_eq!((w.store.disk().gone.len(), w.store.begin()), (1, SEGMENT));
}

/// The keeper did not come by: the writer makes room for itself, and for a little more, so that it need not do so each time.
#[test]
fn a_writer_ahead_of_its_keeper_makes_room_for_no_more_than_is_prepared() {
    let mut w = World::open(HostileDisk::default());
    let raised = (0..12).map(|_| {
        let end = w.send("T", 0, &"x".repeat(1000)).end;
        w.flush();
        let limit = end + World::open(w.disk.crash(CrashMode::Kill, 0)).report.missing_bytes_max;
        assert!((end..=end.next_multiple_of(4096) + (8 << 10)).contains(&limit), "{limit} for {end}");
        limit
    });
    let mut raised: Vec<u64> = raised.collect();
    raised.dedup();
    assert!((2..=4).contains(&raised.len()), "{raised:?}");
}

#[test]
fn a_flush_of_nothing_new_does_not_go_to_the_disk() {
    let mut w = World::open(HostileDisk::default());
    for sent in [false, true] {
        if sent {
            w.send("T", 0, "one");
            w.flush();
        }
        let before = w.disk.calls();
        w.flush();
        assert_eq!(w.disk.calls(), before, "sent: {sent}");
    }
}
