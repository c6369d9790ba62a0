//! Damage below the frontier: exactly what is hit is lost, everything else is served.

use crate::world::*;
use kerolox_store::Bounds;
use kerolox_store::disk::{CrashMode, HostileDisk};

struct Sent {
    position: u64,
    end: u64,
    /// Queue, offset, body; `None` for state and the like.
    message: Option<(u32, u64, String)>,
}

/// Two and a half segments of messages in three queues, with state and dumps between, all flushed.
fn log() -> (World, Vec<Sent>) {
    let mut w = World::open(HostileDisk::default());
    let mut sent = Vec::new();
    let mut i = 0;
    while w.store.watermarks().appended < SEGMENT * 5 / 2 {
        i += 1;
        let (queue, body) = (i % 3, format!("body of message {i} {}", "y".repeat(i as usize * 37 % 300)));
        let a = w.send("Topic", queue, &body);
        sent.push(Sent { position: a.position, end: a.end, message: Some((queue, a.queue_offset, body)) });
        if i % 9 == 0 {
            let a = w.set_state(16 + (i % 5) as u8, format!("state {i}").as_bytes());
            sent.push(Sent { position: a.position, end: a.end, message: None });
        }
        w.chores();
    }
    (w, sent)
}

fn segment_path(position: u64) -> String {
    format!("commitlog/{:020}", position - position % SEGMENT)
}

/// All messages but the one hit, and then a new message in each queue gets an offset that no message ever had.
fn check(mut w: World, sent: &[Sent], hit: u64, what: &str) {
    let lost = sent.iter().find(|s| (s.position..s.end).contains(&hit)).and_then(|s| s.message.as_ref());
    for queue in 0..3 {
        let of_queue = sent.iter().filter_map(|s| s.message.as_ref()).filter(|m| m.0 == queue);
        let last = of_queue.clone().map(|m| m.1).max().unwrap();
        let want: Vec<_> = of_queue.filter(|m| Some(*m) != lost).map(|m| (m.1, m.2.clone())).collect();
        let (found, _) = w.all("Topic", queue);
        let found: Vec<_> = found.into_iter().map(|(o, m)| (o, String::from_utf8(m.body).unwrap())).collect();
        assert!(found == want, "{what}, byte {hit}, lost {lost:?}, queue {queue}: {found:?}");
        let next = w.send("Topic", queue, "new").queue_offset;
        assert!(next > last, "{what}, byte {hit}: offset {next} of queue {queue} is given away twice");
    }
    w.flush();
    for queue in 0..3 {
        assert_eq!(w.all("Topic", queue).0.last().unwrap().1.body, b"new", "{what}, byte {hit}");
    }
}

/// Apache rewinds the segment at the first bad record and deletes all that follow: 10,000 of 20,000 acknowledged messages
/// gone for one bit, at a clean restart (window L4).
#[test]
fn l4_one_flipped_byte_loses_that_record_only() {
    let (w, sent) = log();
    let end = w.store.watermarks().flushed;
    let sealed = w.disk.crash(CrashMode::Lost, 0);
    // Without index and snapshot, recovery itself walks over the damage.
    let bare = sealed.crash(CrashMode::Lost, 0);
    let derived: Vec<_> =
        bare.paths().into_iter().filter(|p| p.contains("/runs/") || p.ends_with("snapshot")).collect();
    assert!(derived.len() > 5, "{derived:?}");
    derived.iter().for_each(|path| assert!(bare.tamper_remove(path)));
    let mut places: Vec<u64> = (0..end).step_by(23).collect();
    // Every byte of the newest record, and around each border.
    places.extend(sent.last().unwrap().position..end);
    places.extend(sent.iter().flat_map(|s| [s.position, s.position + 5, s.position + 31, s.end - 1]));
    for hit in places {
        for (what, disk) in [("sealed", &sealed), ("bare", &bare)] {
            let disk = disk.crash(CrashMode::Lost, 0);
            disk.tamper(&segment_path(hit), |log| log[(hit % SEGMENT) as usize] ^= 1 << (hit % 8));
            let w = World::open(disk);
            assert_eq!(w.report.log_max, end, "{what}, byte {hit}: nothing is cut off");
            let record = sent.iter().find(|s| (s.position..s.end).contains(&hit));
            if let (Some(record), "bare") = (record, what) {
                let reported: Vec<u64> = w.report.damaged.iter().map(|d| d.position).collect();
                assert_eq!(reported, [record.position], "{what}, byte {hit}");
            }
            check(w, &sent, hit, what);
        }
    }
}

/// A length that happens to lead to the beginning of a later record took all between along (script 5227 of the flip campaign).
#[test]
fn a_damaged_length_that_leads_to_a_later_record_loses_one_record() {
    let (w, sent) = log();
    let end = w.store.watermarks().flushed;
    let bare = w.disk.crash(CrashMode::Lost, 0);
    let derived: Vec<_> =
        bare.paths().into_iter().filter(|p| p.contains("/runs/") || p.ends_with("snapshot")).collect();
    derived.iter().for_each(|path| assert!(bare.tamper_remove(path)));
    for (record, later) in sent.iter().zip(sent.iter().skip(4)).step_by(5) {
        if segment_path(record.position) != segment_path(later.position) {
            continue;
        }
        let disk = bare.crash(CrashMode::Lost, 0);
        let (hit, length) = (record.position, (later.position - record.position) as u32);
        let at = (hit % SEGMENT) as usize;
        disk.tamper(&segment_path(hit), |log| log[at..at + 4].copy_from_slice(&length.to_be_bytes()));
        let w = World::open(disk);
        assert_eq!(w.report.log_max, end);
        let told: Vec<_> = w.report.damaged.iter().map(|d| (d.position, d.bytes)).collect();
        assert_eq!(told, [(hit, record.end - hit)]);
        check(w, &sent, hit, "length");
    }
}

#[test]
fn damage_is_told_by_position_topic_queue_and_offset() {
    let (w, sent) = log();
    let of = sent.iter().find(|s| s.message.as_ref().is_some_and(|m| m.0 == 1 && m.1 == 7)).unwrap();
    let hit = of.position + 90;
    let disk = w.disk.crash(CrashMode::Lost, 0);
    disk.tamper(&segment_path(hit), |log| log[(hit % SEGMENT) as usize] ^= 1);
    disk.tamper_remove("kerolox/snapshot");
    disk.paths().iter().filter(|p| p.contains("/runs/")).for_each(|p| drop(disk.tamper_remove(p)));
    let w = World::open(disk);
    let [damage] = &w.report.damaged[..] else { panic!("{:?}", w.report.damaged) };
    assert_eq!((damage.position, damage.bytes), (of.position, of.end - of.position));
    assert_eq!(damage.record, Some(("Topic".to_owned(), 1, 7)));
    assert_eq!(damage.why, "record checksum does not match");
    // Recovery leaves the offset out; a sealed index still knows it, and says so when it is read.
    let disk = w.disk.crash(CrashMode::Lost, 0);
    let mut w = World::open(disk);
    w.seal();
    assert_eq!(w.all("Topic", 1).0.iter().filter(|(offset, _)| *offset == 7).count(), 0);
    let (w, _) = log();
    let disk = w.close();
    disk.tamper(&segment_path(hit), |log| log[(hit % SEGMENT) as usize] ^= 1);
    let w = World::open(disk);
    assert!(w.report.damaged.is_empty(), "not read at start");
    assert_eq!(w.all("Topic", 1).1, [of.position]);
    assert_eq!(w.by_position(&[of.position]), [None]);
}

#[test]
fn verify_finds_every_flipped_record_and_nothing_else() {
    let (w, sent) = log();
    let disk = w.disk.crash(CrashMode::Kill, 0);
    let look = crate::look::verify;
    let sound = look(&disk);
    assert!(sound.is_sound(), "{sound:?}");
    assert!(sound.records >= sent.len() as u64 && sound.runs > 5 && sound.segments == 3, "{sound:?}");
    assert_eq!(sound.flushed, Some(w.store.watermarks().flushed));
    for of in sent.iter().step_by(7) {
        let hurt = disk.crash(CrashMode::Kill, 0);
        let hit = of.position + 70;
        hurt.tamper(&segment_path(hit), |log| log[(hit % SEGMENT) as usize] ^= 1);
        let before = hurt.calls();
        let found = look(&hurt);
        assert!(hurt.calls() > before);
        let places: Vec<_> = found.damaged.iter().map(|d| (d.position, d.bytes)).collect();
        assert_eq!(places, [(of.position, of.end - of.position)]);
        assert_eq!(found.records, sound.records - 1);
        if let Some((queue, offset, _)) = &of.message {
            assert_eq!(found.damaged[0].record, Some(("Topic".to_owned(), *queue, *offset)));
        }
    }
    for path in disk.paths().iter().filter(|p| p.contains("/runs/")) {
        let len = disk.content(path).unwrap().len();
        for at in (0..len).step_by(37) {
            let hurt = disk.crash(CrashMode::Kill, 0);
            hurt.tamper(path, |bytes| bytes[at] ^= 1);
            let found = look(&hurt);
            assert_eq!(found.faults.iter().map(|f| &f.path).collect::<Vec<_>>(), [path], "byte {at}");
        }
    }
}

#[test]
fn larger_damage_loses_what_it_covers() {
    let (w, sent) = log();
    let end = w.store.watermarks().flushed;
    for (from, bytes) in
        [(3000, 5000), (SEGMENT - 3000, 3000), (SEGMENT - 2000, 4000), (0, SEGMENT), (end - 4000, 4000)]
    {
        let disk = w.disk.crash(CrashMode::Lost, 0);
        for at in from..from + bytes {
            disk.tamper(&segment_path(at), |log| log[(at % SEGMENT) as usize] = 0xda);
        }
        disk.tamper_remove("kerolox/snapshot");
        disk.paths().iter().filter(|p| p.contains("/runs/")).for_each(|p| drop(disk.tamper_remove(p)));
        let mut w = World::open(disk);
        assert_eq!(w.report.log_max, end, "{from} {bytes}");
        for queue in 0..3 {
            let of_queue = sent.iter().filter(|s| s.message.as_ref().is_some_and(|m| m.0 == queue));
            let want: Vec<u64> = of_queue
                .clone()
                .filter(|s| s.end <= from || s.position >= from + bytes)
                .map(|s| s.message.as_ref().unwrap().1)
                .collect();
            let found: Vec<u64> = w.all("Topic", queue).0.iter().map(|(offset, _)| *offset).collect();
            assert_eq!(found, want, "{from} {bytes} queue {queue}");
            let last = of_queue.map(|s| s.message.as_ref().unwrap().1).max().unwrap();
            assert!(w.send("Topic", queue, "new").queue_offset > last, "{from} {bytes} queue {queue}");
        }
    }
}

/// A start that then failed had written the index without what is damaged, and the next did not look there again: nobody said
/// so (simulation, seed 512215).
#[test]
fn damage_is_named_by_each_start_until_one_went_on() {
    let (w, sent) = log();
    let disk = w.disk.crash(CrashMode::Lost, 0);
    let hit = &sent[10];
    disk.tamper(&segment_path(0), |log| log[hit.position as usize + 95] ^= 1);
    disk.paths().iter().filter(|p| p.contains("/runs/")).for_each(|p| drop(disk.tamper_remove(p)));
    for _ in 0..3 {
        let w = World::open(disk.clone());
        assert_eq!(w.report.damaged.iter().map(|d| d.position).collect::<Vec<_>>(), [hit.position]);
    }
    let mut w = World::open(disk.clone());
    w.seal();
    drop(w);
    assert!(World::open(disk).report.damaged.is_empty(), "it is in the index now");
}

/// What the snapshot says ends where it was written, and the damage does not.
#[test]
fn damage_on_both_sides_of_the_snapshot_gives_no_offset_twice() {
    let mut w = World::open(HostileDisk::default());
    w.send("Lone", 0, "first");
    let before = w.send("Topic", 0, "before");
    w.seal();
    let lost = w.send("Lone", 0, "lost");
    w.send("Topic", 0, "behind");
    w.flush();
    let disk = w.disk.crash(CrashMode::Kill, 0);
    disk.paths().iter().filter(|p| p.contains("/runs/")).for_each(|p| drop(disk.tamper_remove(p)));
    let (from, to) = (before.position as usize, lost.end as usize);
    disk.tamper(&segment_path(0), |log| log[from..to].fill(0xda));
    let next = World::open(disk).send("Lone", 0, "new").queue_offset;
    assert!(next > lost.queue_offset, "{next}");
}

/// A flip in the queue's id, or in the topic, that leads to a queue which expects that very offset: the lost one's was given away again.
#[test]
fn a_record_that_claims_to_be_of_another_queue_is_not_believed() {
    for (at, what) in [(15, "queue id"), (88 + 4 + 1, "topic")] {
        let mut w = World::open(HostileDisk::default());
        let queues = [("A", 0), ("A", 1), ("C", 1)];
        (0..2).for_each(|_| queues.iter().for_each(|(topic, queue)| drop(w.send(topic, *queue, "body"))));
        let lost = w.send("A", 1, "lost");
        w.flush();
        let disk = w.disk.crash(CrashMode::Kill, 0);
        // Queue 1 becomes queue 0, topic A becomes topic C.
        disk.tamper(&segment_path(0), |log| log[lost.position as usize + at] ^= if at == 15 { 1 } else { 2 });
        let mut w = World::open(disk);
        let claim = w.report.damaged[0].record.clone().unwrap();
        assert!(queues.contains(&(&claim.0, claim.1)) && claim != ("A".to_owned(), 1, 2), "{claim:?}");
        assert!(w.send("A", 1, "new").queue_offset > lost.queue_offset, "{what}");
    }
}

/// A bit flipped in its offset, or all of it and more.
#[test]
fn a_damaged_state_record_moves_no_offsets_far() {
    for hit in [20..21, 20..28, 20..100] {
        let mut w = World::open(HostileDisk::default());
        (0..3).for_each(|_| drop(w.set_state(20, b"value")));
        let last = w.set_state(20, b"lost");
        w.flush();
        let disk = w.disk.crash(CrashMode::Kill, 0);
        let at = last.position as usize;
        disk.tamper(&segment_path(0), |log| log[at + hit.start..at + hit.end].fill(0xff));
        let next = World::open(disk).set_state(20, b"new").queue_offset;
        assert!((4..10).contains(&next), "{hit:?}: {next}");
    }
}

/// It began at offset 0 again: a group that had read the lost messages took the new ones for read.
#[test]
fn a_queue_all_of_whose_messages_are_lost_does_not_begin_anew() {
    let mut w = World::open(HostileDisk::default());
    w.send("Topic", 0, "first");
    let lost = [w.send("Lone", 0, "lost"), w.send("Lone", 0, "lost too")];
    w.send("Topic", 0, "last");
    w.flush();
    let disk = w.disk.crash(CrashMode::Kill, 0);
    let (from, to) = (lost[0].position as usize, lost[1].end as usize);
    disk.tamper(&segment_path(0), |log| log[from..to].fill(0xda));
    let mut w = World::open(disk);
    let begin = w.store.next_offset("Lone", 0);
    assert!(begin >= 2, "{begin}");
    assert_eq!((w.store.next_offset("New", 0), w.store.begins_at("New")), (begin, begin));
    assert_eq!(w.send("Lone", 0, "new").queue_offset, begin);
    w.flush();
    assert_eq!(w.all("Lone", 0).0[0].1.body, b"new");
    assert_eq!(w.store.bounds("Lone", 0), Some(Bounds { min: begin, max: begin + 1 }));
    // It holds after a clean end, when nobody looks at the damage again; and when the snapshot is gone, by the dump.
    let mut w = World::open(w.close());
    assert_eq!(w.store.next_offset("New", 0), begin);
    w.dump();
    let disk = w.close();
    disk.tamper_remove("kerolox/snapshot");
    assert_eq!(World::open(disk).store.next_offset("New", 0), begin);
}

#[test]
fn a_missing_segment_in_the_middle_is_damage() {
    let (w, sent) = log();
    let disk = w.disk.crash(CrashMode::Lost, 0);
    disk.tamper_remove(&segment_path(SEGMENT));
    let w = World::open(disk);
    let kept = |s: &Sent| s.position < SEGMENT || s.position >= 2 * SEGMENT;
    for queue in 0..3 {
        let want: Vec<u64> = sent
            .iter()
            .filter(|s| kept(s))
            .filter_map(|s| s.message.as_ref())
            .filter(|m| m.0 == queue)
            .map(|m| m.1)
            .collect();
        assert_eq!(w.all("Topic", queue).0.iter().map(|m| m.0).collect::<Vec<_>>(), want);
    }
}
