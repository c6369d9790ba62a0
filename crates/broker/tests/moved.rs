//! A message that was moved is a record of its own, and what ends its original another behind it. When a crash (here: rot) leaves
//! the first without the second, the message must not be moved again. Found by the simulation (seeds 200015, 200082, 200088, 200114,
//! 200145 at that time) and by power cuts on the real binary (three timer messages of a million).

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)] // a test may panic; that is how it fails

mod world;

use world::World;

/// A world with a client, the topic `T` of one queue and the group `g`.
fn world() -> World {
    let mut world = World::new();
    world.run("connect 1");
    world.run("UPDATE_AND_CREATE_TOPIC 1 topic=T defaultTopic=TBW102 readQueueNums=1 writeQueueNums=1 perm=6 topicFilterType=SINGLE_TAG topicSysFlag=0 order=false");
    world.run(r#"UPDATE_AND_CREATE_SUBSCRIPTIONGROUP 1 json={"groupName":"g"}"#);
    world.run("flush");
    world
}

fn send(world: &mut World, topic: &str, properties: &str, body: &str) {
    world.run(&format!("SEND_MESSAGE 1 producerGroup=p topic={topic} defaultTopic=TBW102 defaultTopicQueueNums=1 queueId=0 sysFlag=0 bornTimestamp=1000000 flag=0 properties={properties}UNIQ_KEY:{body} body={body}"));
    world.run("flush");
}

fn max_offset(world: &mut World, topic: &str) -> String {
    world.run(&format!("GET_MAX_OFFSET 1 topic={topic} queueId=0"))
}

fn pop(world: &mut World) -> String {
    let told = world.run("POP_MESSAGE 1 consumerGroup=g topic=T queueId=-1 maxMsgNums=32 invisibleTime=10000 pollTime=0 bornTime=0 initMode=0");
    told + &world.run("flush")
}

/// Time passes, in steps, and what happens is written.
fn pass(world: &mut World, ms: u64) {
    for _ in 0..20 {
        world.run(&format!("tick +{}", ms / 20));
        world.run("flush");
    }
}

/// The move is there, the end of the original is not: after the start nothing is moved again.
fn once(world: &mut World, topic: &str, count: u32) {
    let moved = format!("-> 1 SUCCESS offset={count}\n");
    assert_eq!(max_offset(world, topic), moved, "before the start");
    let said = world.run("rot-last-state");
    assert!(!said.contains("panicked"), "{said}");
    world.run("connect 1");
    pass(world, 30_000);
    assert_eq!(max_offset(world, topic), moved);
}

#[test]
fn a_timer_message_whose_end_was_lost_is_delivered_once() {
    let mut world = world();
    send(&mut world, "T", "TIMER_DELIVER_MS:1001000,", "a");
    send(&mut world, "T", "TIMER_DELIVER_MS:1001000,", "b");
    pass(&mut world, 2_000);
    once(&mut world, "T", 2);
}

#[test]
fn a_delayed_message_whose_end_was_lost_is_delivered_once() {
    let mut world = world();
    send(&mut world, "T", "DELAY:1,", "a");
    send(&mut world, "T", "DELAY:1,", "b");
    pass(&mut world, 2_000);
    once(&mut world, "T", 2);
}

#[test]
fn a_popped_message_whose_end_was_lost_comes_again_once() {
    let mut world = world();
    send(&mut world, "T", "", "a");
    assert!(pop(&mut world).contains("\"a\""));
    pass(&mut world, 11_000);
    once(&mut world, "%RETRY%g_T", 1);
    // And from the retry topic.
    assert!(pop(&mut world).contains("\"a\""));
    pass(&mut world, 11_000);
    once(&mut world, "%RETRY%g_T", 2);
}

#[test]
fn a_half_message_that_was_given_up_and_whose_end_was_lost_is_given_up_once() {
    let mut world = world();
    for setting in ["transactionCheckMax:0", "transactionTimeOut:1000", "transactionCheckInterval:1000"] {
        world.run(&format!("UPDATE_BROKER_CONFIG 1 body={setting}"));
    }
    world.run("SEND_MESSAGE 1 producerGroup=p topic=T defaultTopic=TBW102 defaultTopicQueueNums=1 queueId=0 sysFlag=4 bornTimestamp=1000000 flag=0 properties=TRAN_MSG:true,PGROUP:p,UNIQ_KEY:h body=h");
    world.run("flush");
    pass(&mut world, 60_000);
    once(&mut world, "TRANS_CHECK_MAX_TIME_TOPIC", 1);
}

#[test]
fn a_timer_message_that_was_kept_from_retention_and_whose_end_was_lost_is_delivered_once() {
    const THREE_DAYS_AND_MORE_MS: i64 = 260_000_000;
    let mut world = world();
    send(&mut world, "T", &format!("TIMER_DELIVER_MS:{},", 1_000_000 + 2 * THREE_DAYS_AND_MORE_MS), "a");
    for _ in 0..8 {
        world.run("SEND_MESSAGE 1 producerGroup=p topic=Fill defaultTopic=TBW102 defaultTopicQueueNums=1 queueId=0 sysFlag=0 bornTimestamp=1000000 flag=0 properties=UNIQ_KEY:f body-bytes=4194304");
        world.run("flush");
    }
    world.run(&format!("tick +{THREE_DAYS_AND_MORE_MS}"));
    world.run("retain 1");
    assert_eq!(max_offset(&mut world, "rmq_sys_wheel_timer"), "-> 1 SUCCESS offset=2\n");
    world.run("rot-last-state");
    world.run("connect 1");
    world.run(&format!("tick +{THREE_DAYS_AND_MORE_MS}"));
    pass(&mut world, 2_000);
    assert_eq!(max_offset(&mut world, "T"), "-> 1 SUCCESS offset=1\n");
}
