//! A directory that was Kerolox's comes back: from Apache, or from somebody who edited a file.

use super::*;
use crate::adopt::REVIVE_GROUP;
use crate::adopt::pops::Pops;
use crate::pop::Take;
use kerolox_wire::record::{RecordView, strip_crc};

const T: (&str, &str, u32) = ("G", "T", 0);

impl Dir {
    /// A message as Apache writes it is folded, as recovery does.
    fn others_write(&mut self) {
        self.put("Other", &[], "theirs");
        self.settle();
        let read = QueueRead::one(Arc::from("Other"), 0, 0);
        let QueueReadOutcome::Done(slice) = self.store.read_queue(read) else { panic!("it is new") };
        let mut stripped = bytes::BytesMut::new();
        if strip_crc(&slice.records, &mut stripped).is_err() {
            stripped = slice.records.into();
        }
        let view = RecordView::parse(&stripped).unwrap();
        assert!(!view.has_crc());
        kerolox_store::StateFold::message(&mut self.state, &view);
    }

    /// Popped without order and not acknowledged.
    fn pop(&mut self, messages: std::ops::Range<u64>) {
        let (group, topic, queue_id) = T;
        let key = crate::pop::Key { group: Arc::from(group), topic: Arc::from(topic), queue_id };
        let next = messages.end;
        let messages = messages.map(|offset| (offset, 0)).collect();
        let take = Take { key, next, order: None, pop_ms: NOW_MS, visible_ms: NOW_MS + 60_000, messages };
        self.state.pop_taken(&take);
    }

    fn next(&self) -> u64 {
        self.state.in_flight.get("G", "T", 0).map_or(0, |flight| flight.next)
    }
}

fn table(offsets: &str) -> ApacheFiles {
    files(&[(ApacheFile::Offsets, &format!(r#"{{"offsetTable":{{{offsets}}}}}"#))])
        .with_timers_read(NOW_MS, 0)
}

/// A line for another group was edited: all that was in flight was taken for consumed.
#[test]
fn a_changed_offsets_file_ends_nothing_that_is_in_flight() {
    let mut dir = Dir::new();
    dir.messages("T", 20);
    dir.adopt(&table(r#""T@G":{0:0}"#)).unwrap();
    dir.pop(0..4);
    dir.adopt(&table(r#""T@G":{0:4},"T@H":{0:7}"#)).unwrap();
    assert_eq!((dir.in_flight("G", "T"), dir.next()), (vec![0, 1, 2, 3], 4));
    assert_eq!((dir.state.offsets.get("G", "T", 0), dir.state.offsets.get("H", "T", 0)), (Some(0), Some(7)));
    // An offset is where the next pop begins, and what it takes again is not in flight.
    dir.adopt(&table(r#""T@G":{0:9}"#)).unwrap();
    assert_eq!((dir.in_flight("G", "T"), dir.next()), (vec![0, 1, 2, 3], 9));
    dir.adopt(&table(r#""T@G":{0:2}"#)).unwrap();
    assert_eq!((dir.in_flight("G", "T"), dir.next()), (vec![0, 1], 2));
    // Whoever takes out the line takes out nothing that waits.
    dir.adopt(&table(r#""T@H":{0:7}"#)).unwrap();
    assert_eq!((dir.in_flight("G", "T"), dir.next()), (vec![0, 1], 2));
}

/// Version 4.9, or `timerWheelEnable=false`: it never writes `timercheck`, and Kerolox' own was there and known.
#[test]
fn what_waits_is_taken_over_also_from_an_apache_without_timers() {
    let progress = |half| {
        table(&format!(
            r#""RMQ_SYS_TRANS_HALF_TOPIC@CID_RMQ_SYS_TRANS":{{0:{half}}},"RMQ_SYS_TRANS_OP_HALF_TOPIC@CID_RMQ_SYS_TRANS":{{0:0}}"#
        ))
    };
    let pending = |dir: &Dir| dir.state.halves.iter().map(|(_, half)| half.offset).collect::<Vec<u64>>();
    let mut dir = Dir::new();
    (0..4).for_each(|_| dir.half());
    dir.adopt(&progress(0)).unwrap();
    // Nobody was there but somebody with an editor.
    dir.adopt(&progress(1)).unwrap();
    assert_eq!(pending(&dir), [0, 1, 2, 3]);
    dir.others_write();
    dir.adopt(&progress(2)).unwrap();
    assert_eq!(pending(&dir), [2, 3]);
    dir.adopt(&progress(3)).unwrap();
    assert_eq!(pending(&dir), [2, 3], "that was taken over");
    // One that was killed before it wrote any file.
    dir.others_write();
    dir.adopt(&progress(3)).unwrap();
    dir.adopt(&progress(4)).unwrap();
    assert_eq!(pending(&dir), [2, 3], "it is Kerolox that was there since");
}

/// What the group read of Apache came again, or what lay before was passed over.
#[test]
fn a_reset_is_over_when_a_group_went_on_at_apache() {
    let mut dir = Dir::new();
    dir.state.commit("G", "T", 0, 100);
    dir.state.resets.put("G", "T", 0, 100);
    dir.adopt(&table(r#""T@G":{0:100}"#)).unwrap();
    assert!(dir.state.resets.outdates(NOW_MS, T, 10_000));
    dir.adopt(&table(r#""T@G":{0:10000}"#)).unwrap();
    assert!(!dir.state.resets.outdates(NOW_MS, T, 10_001));
    assert_eq!(dir.state.offsets.get("G", "T", 0), Some(10_000));
}

/// A topic that was deleted there and made again: its messages were passed over up to the old offset.
#[test]
fn offsets_that_apache_deleted_are_gone() {
    let mut dir = Dir::new();
    dir.messages("T", 20);
    dir.adopt(&table(r#""T@G":{0:8,1:5},"U@G":{0:3}"#)).unwrap();
    dir.state.offsets.set("CID_RMQ_SYS_REVIVE_GROUP", names::WHEEL_TIMER_TOPIC, 0, 1);
    dir.state.resets.put("G", "T", 0, 8);
    dir.pop(0..4);
    dir.adopt(&table(r#""T@G":{1:2},"U@G":{0:3}"#).with_timers_read(NOW_MS + 1_000, 0)).unwrap();
    let left = dir.state.offsets.all().map(|known| format!("{}@{}", known.topic, known.queue_id));
    assert_eq!(left.collect::<Vec<_>>(), ["rmq_sys_wheel_timer@0", "T@1", "U@0"]);
    assert_eq!((dir.state.offsets.len(), dir.in_flight("G", "T")), (3, vec![]));
    assert!(!dir.state.resets.outdates(NOW_MS, T, 1));
}

#[test]
fn what_apache_allowed_again_is_allowed() {
    let mut dir = Dir::new();
    let forbidden = |table: &str| {
        let text = format!(
            r#"{{"subscriptionGroupTable":{{"G":{{"groupName":"G"}}}},"forbiddenTable":{{{table}}}}}"#
        );
        files(&[(ApacheFile::Groups, &text)])
    };
    let now = |dir: &Dir| ["T", "U"].map(|topic| dir.state.is_read_forbidden("G", topic));
    dir.adopt(&forbidden(r#""G":{"T":4,"U":4}"#)).unwrap();
    assert_eq!(now(&dir), [true, true]);
    dir.adopt(&forbidden(r#""G":{"U":4}"#)).unwrap();
    assert_eq!(now(&dir), [false, true]);
    dir.adopt(&forbidden("")).unwrap();
    assert_eq!(now(&dir), [false, false]);
}

/// A message that was never in Apache's wheel and due long ago: what was due since came again.
#[test]
fn what_apache_delivered_does_not_come_again_because_an_older_message_was_left() {
    let mut dir = Dir::new();
    let far = dir.timer(NOW_MS + 9_000, "far", &[]);
    let delivered = dir.timer(NOW_MS - 3_000, "delivered", &[]);
    let before = dir.timer(NOW_MS - 6_000, "delivered before", &[]);
    let left = dir.timer(NOW_MS - 5_000, "left", &[]);
    let adopted = dir.adopt(&files(&[]).with_timers_read(NOW_MS, 3)).unwrap();
    let timers = &dir.state.timers;
    let comes = |due_ms: i64, offset: u64| {
        (NOW_MS + due_ms, offset) > timers.done && !timers.recalled.contains(&(NOW_MS + due_ms, offset))
    };
    assert_eq!((adopted.timers, timers.floor), (2, far));
    assert!(comes(9_000, far) && comes(-5_000, left));
    assert!(!comes(-3_000, delivered) && !comes(-6_000, before));
}

/// Days of them, in both topics: a start needed memory for each.
#[test]
fn check_points_that_apache_has_done_with_are_not_kept() {
    let mut dir = Dir::new();
    dir.messages("T", 10);
    let ack = r#"{"ao":0,"bn":"broker-a","c":"G","pt":1699999999000,"q":0,"so":0,"t":"T"}"#;
    let at = |start: u64| CHECK_POINT.replace(r#""so":0"#, &format!(r#""so":{start}"#));
    for tag_and_body in [("ck", &*at(0)), ("ack", ack), ("ck", &*at(4))] {
        dir.pop_timer(tag_and_body.0, tag_and_body.1);
        dir.put(REVIVE, &[("TAGS", tag_and_body.0)], tag_and_body.1);
    }
    dir.settle();
    let kept = |dir: &Dir, next: u64, taken: u64, read_ms: i64| {
        let text =
            format!(r#"{{"offsetTable":{{"T@G":{{0:{next}}},"{REVIVE}@{REVIVE_GROUP}":{{0:{taken}}}}}}}"#);
        let all = files(&[(ApacheFile::Offsets, &text)]).with_timers_read(read_ms, 3);
        let mut read = |plan: &ReadPlan| dir.reader.execute(plan, NOW_MS);
        let mut log = Log { store: &dir.store, read: &mut read };
        Pops::of(&dir.state, &all, &all.offsets().unwrap(), &mut log).unwrap().len()
    };
    let delivered_ms = NOW_MS + 121_000;
    assert_eq!(kept(&dir, 8, 2, delivered_ms), (0, 0), "all of it is the past");
    assert_eq!(kept(&dir, 8, 1, delivered_ms), (1, 0), "one is still to be taken");
    assert_eq!(kept(&dir, 6, 2, delivered_ms), (1, 0), "one says where the group goes on");
    assert_eq!(kept(&dir, 8, 2, NOW_MS), (0, 1), "it was taken, whatever the timer topic says");
}
