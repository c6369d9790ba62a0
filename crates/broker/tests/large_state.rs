//! A state that is too large to be said at once.

// A test may panic; that is how it fails.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

mod world;

use world::World;

const TOPICS: u32 = 6_000;

fn create(world: &mut World, topic: &str) {
    let told = world.run(&format!("UPDATE_AND_CREATE_TOPIC 1 topic={topic} defaultTopic=TBW102 readQueueNums=2 writeQueueNums=2 perm=6 topicFilterType=SINGLE_TAG topicSysFlag=0 order=false"));
    assert_eq!(told, "");
}

fn send(world: &mut World, bytes: usize) {
    world.run(&format!("SEND_MESSAGE 1 producerGroup=p topic=filler defaultTopic=TBW102 defaultTopicQueueNums=1 queueId=0 sysFlag=0 bornTimestamp=5 flag=0 properties= body={}", "x".repeat(bytes)));
}

/// The topics with their settings, without the table's version.
fn topics(world: &mut World) -> String {
    let told = world.run("GET_ALL_TOPIC_CONFIG 1");
    let (_, table) = told.split_once("\"topicConfigTable\"").unwrap_or_else(|| panic!("{told}"));
    table.to_owned()
}

/// All clients used to wait while a dump was made, a third of a second for 81 MB.
#[test]
fn a_large_state_is_dumped_in_parts_with_requests_served_between() {
    let mut world = World::new();
    world.run("connect 1");
    for i in 0..TOPICS {
        create(&mut world, &format!("topic-with-a-long-name-so-that-the-state-is-large-{i:05}"));
    }
    world.run("flush");
    // Into the next segment: a dump begins.
    (0..6).for_each(|_| send(&mut world, 3_000_000));
    let mut longest = 0;
    for i in 0..12 {
        let before = world.appended();
        world.run("flush");
        longest = longest.max(world.appended() - before);
        create(&mut world, &format!("between-{i}"));
        let gone = format!("topic-with-a-long-name-so-that-the-state-is-large-{:05}", i * 500);
        world.run(&format!("DELETE_TOPIC_IN_BROKER 1 topic={gone}"));
    }
    assert!((200_000..400_000).contains(&longest), "{longest} bytes of a dump at once");
    let before = topics(&mut world);
    assert!(
        before.contains("between-11") && !before.contains("large-05500"),
        "deleted while the dump was made"
    );
    // The segments before it go, once it and the next dump are sealed: from here on these alone say what was in them.
    for _ in 0..24 {
        send(&mut world, 3_000_000);
        world.run("flush");
    }
    world.run("tick +300000000");
    world.run("retain");
    world.run("connect 1");
    let begin = world.run("GET_MIN_OFFSET 1 topic=filler queueId=0");
    assert!(!begin.contains("offset=0"), "{begin}");
    world.run("lose-derived");
    world.run("connect 1");
    assert_eq!(world.run("GET_MIN_OFFSET 1 topic=filler queueId=0"), begin);
    let after = topics(&mut world);
    assert!(after == before, "{} and {} bytes of topics", before.len(), after.len());
}
