//! Pitfalls of pop consumption, by the number of the issue in which they were told of Apache's broker, and those that were
//! found here.

// A test may panic; that is how it fails.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

mod world;

use world::World;

const TOPIC: &str = "UPDATE_AND_CREATE_TOPIC 1 topic=T defaultTopic=TBW102 readQueueNums=1 writeQueueNums=1 perm=6 topicFilterType=SINGLE_TAG topicSysFlag=0 order=false";

fn world() -> World {
    let mut world = World::new();
    world.run("connect 1");
    world.run("connect 2");
    world.run(TOPIC);
    world.run("flush");
    world
}

fn send(world: &mut World, tag: &str, body: &str) {
    world.run(&format!("SEND_MESSAGE 1 producerGroup=p topic=T defaultTopic=TBW102 defaultTopicQueueNums=1 queueId=0 sysFlag=0 bornTimestamp=5 flag=0 properties=UNIQ_KEY:{body},TAGS:{tag} body={body}"));
    world.run("flush");
}

/// What comes of a pop, now and with the next flush.
fn pop(world: &mut World, more: &str) -> String {
    let invisible = if more.contains("invisibleTime") { "" } else { " invisibleTime=60000" };
    let hold = if more.contains("pollTime") { "" } else { " pollTime=0" };
    world.run(&format!(
        "POP_MESSAGE 1 consumerGroup=g topic=T queueId=-1 maxMsgNums=32 bornTime=0 initMode=0{invisible}{hold}{more}"
    )) + &world.run("flush")
}

fn after(world: &mut World, ms: u64) -> String {
    world.run(&format!("tick +{ms}")) + &world.run("flush") + &world.run("flush")
}

/// The id went into the state with a length of 16 bits: the log could not be read any more after it.
#[test]
fn an_attempt_id_that_is_too_long_for_the_log_is_refused() {
    let mut world = world();
    send(&mut world, "A", "one");
    let told = pop(&mut world, &format!(" order=true attemptId={}", "x".repeat(70_000)));
    assert!(told.contains("INVALID_PARAMETER"), "{told:.200}");
    assert!(pop(&mut world, &format!(" order=true attemptId={}", "x".repeat(255))).contains("one"));
    world.run("kill");
    world.run("connect 1");
    assert!(!pop(&mut world, "").contains("one"));
    after(&mut world, 60_000);
    assert!(pop(&mut world, " order=true").contains("one"));
}

/// Messages were popped in order and came to be visible in place; then the group popped without order, and nobody saw to them
/// any more.
#[test]
fn a_group_that_leaves_order_loses_nothing() {
    let mut world = world();
    send(&mut world, "A", "one");
    assert!(pop(&mut world, " order=true").contains("one"));
    after(&mut world, 60_000);
    send(&mut world, "A", "two");
    assert!(pop(&mut world, "").contains("two"));
    after(&mut world, 0);
    assert!(pop(&mut world, "").contains("one"));
}

/// What a filter passes by was looked at again by each pop for as long as one message was in flight, and what lies further than
/// one pop looks was never found; with two who waited, the broker was busy for ever.
#[test]
fn issue_8472_sparse_filters_find_what_lies_far_behind_a_message_in_flight() {
    let mut world = world();
    send(&mut world, "B", "first");
    assert!(pop(&mut world, " expType=TAG exp=B invisibleTime=86400000").contains("first"));
    let bodies = vec!["x"; 1_000].join(",");
    for _ in 0..60 {
        world.run(&format!("SEND_BATCH_MESSAGE 1 producerGroup=p topic=T defaultTopic=TBW102 defaultTopicQueueNums=1 queueId=0 sysFlag=0 bornTimestamp=5 flag=0 batch=true properties=TAGS:A batch={bodies}"));
        world.run("flush");
    }
    send(&mut world, "B", "last");
    for _ in 0..2 {
        assert!(!pop(&mut world, " expType=TAG exp=C").contains("FOUND"));
    }
    world.run("kill");
    world.run("connect 1");
    send(&mut world, "C", "far");
    assert!(pop(&mut world, " expType=TAG exp=C").contains("far"));
}

/// Also #8479, #9956: in flight of a deleted topic, or in the topic that it comes again from, it came again in the topic that was
/// created under its name.
#[test]
fn issue_7724_a_topic_that_is_created_again_has_none_of_the_old_messages() {
    let mut world = world();
    send(&mut world, "A", "one");
    assert!(pop(&mut world, " invisibleTime=10").contains("one"));
    after(&mut world, 10);
    send(&mut world, "A", "two");
    assert!(pop(&mut world, " invisibleTime=1000").contains("two"));
    world.run("DELETE_TOPIC_IN_BROKER 1 topic=T");
    world.run("flush");
    world.run(TOPIC);
    send(&mut world, "A", "new");
    after(&mut world, 1_000);
    let told = pop(&mut world, "");
    assert!(told.contains("new") && !told.contains("one") && !told.contains("two"), "{told}");
    after(&mut world, 60_000);
    let told = pop(&mut world, "");
    assert!(told.contains("new") && !told.contains("one") && !told.contains("two"), "{told}");
}

/// A message that is acknowledged in time does not come again: not by a change of its time afterwards, not after a kill.
#[test]
fn issue_10736_what_is_acknowledged_is_not_resurrected() {
    let mut world = world();
    send(&mut world, "A", "one");
    assert!(pop(&mut world, "").contains("one"));
    let receipt = "consumerGroup=g topic=T queueId=0 offset=0 extraInfo=0,1000000,60000,0,0,broker-a,0,0";
    let told = world.run(&format!("ACK_MESSAGE 1 {receipt}")) + &world.run("flush");
    assert!(told.contains("SUCCESS"), "{told}");
    let told = world.run(&format!("CHANGE_MESSAGE_INVISIBLETIME 1 {receipt} invisibleTime=10"));
    assert!(told.contains("NO_MESSAGE"), "{told}");
    world.run("kill");
    world.run("connect 1");
    after(&mut world, 60_000);
    assert!(!pop(&mut world, "").contains("one"));
}

/// Also #7914: all of several messages that become visible at the same time come again, also after a power cut.
#[test]
fn issue_10276_messages_of_one_time_all_come_again() {
    let mut world = world();
    for body in ["one", "two", "three"] {
        send(&mut world, "A", body);
        assert!(pop(&mut world, "").contains(body));
    }
    world.run("power-cut");
    world.run("connect 1");
    after(&mut world, 60_000);
    let told = pop(&mut world, "");
    assert!(["one", "two", "three"].iter().all(|body| told.contains(body)), "{told}");
}

/// One entry of a batch that cannot be done does not keep the others from being done.
#[test]
fn issue_10658_a_batch_of_acknowledgements_is_done_as_far_as_it_can_be() {
    let mut world = world();
    send(&mut world, "A", "one");
    assert!(pop(&mut world, "").contains("one"));
    let ack = |topic: &str, start: i64| {
        format!(
            r#"{{"c":"g","t":"{topic}","r":"0","so":{start},"q":0,"rq":0,"pt":1000000,"it":60000,"b":"AQ=="}}"#
        )
    };
    let acks = [ack("none", 0), ack("T", 77), ack("T", i64::MAX), ack("T", -1), ack("T", 0)].join(",");
    let told = world.run(&format!("BATCH_ACK_MESSAGE 1 json={{\"acks\":[{acks}]}}")) + &world.run("flush");
    assert!(told.contains("SUCCESS"), "{told}");
    after(&mut world, 60_000);
    assert!(!pop(&mut world, "").contains("one"));
}

/// A group that begins at the end of a young queue misses nothing that was there before its first pop.
#[test]
fn issue_7117_a_group_that_begins_at_the_end_misses_nothing_of_a_new_queue() {
    let mut world = world();
    send(&mut world, "A", "one");
    send(&mut world, "A", "two");
    let told = world.run("POP_MESSAGE 1 consumerGroup=h topic=T queueId=-1 maxMsgNums=32 invisibleTime=60000 pollTime=0 bornTime=0 initMode=1")
        + &world.run("flush");
    assert!(told.contains("one") && told.contains("two"), "{told}");
}

/// Also #3503, #9105: what is slow is not given to another before its time, and a restart begins nothing from the start.
#[test]
fn issue_3787_slow_consumption_is_no_second_delivery() {
    let mut world = world();
    send(&mut world, "A", "slow");
    assert!(pop(&mut world, "").contains("slow"));
    after(&mut world, 59_999);
    assert!(!pop(&mut world, "").contains("slow"));
    let more = "consumerGroup=g topic=T queueId=0 offset=0 invisibleTime=60000 extraInfo=0,1000000,60000,0,0,broker-a,0,0";
    let told = world.run(&format!("CHANGE_MESSAGE_INVISIBLETIME 1 {more}")) + &world.run("flush");
    assert!(told.contains("SUCCESS"), "{told}");
    world.run("kill");
    world.run("connect 1");
    after(&mut world, 59_999);
    assert!(!pop(&mut world, "").contains("slow"));
    after(&mut world, 1);
    assert!(pop(&mut world, "").contains("slow"));
}

/// One message wakes one of those who wait, and those whom it does not concern not at all.
#[test]
fn issue_10034_a_message_wakes_one_who_wants_it() {
    let mut world = world();
    for tag in ["A", "B", "B"] {
        assert_eq!(pop(&mut world, &format!(" pollTime=20000 expType=TAG exp={tag}")), "");
    }
    world.run("SEND_MESSAGE 1 producerGroup=p topic=T defaultTopic=TBW102 defaultTopicQueueNums=1 queueId=0 sysFlag=0 bornTimestamp=5 flag=0 properties=UNIQ_KEY:u,TAGS:B body=b");
    let told = world.run("flush") + &world.run("flush") + &world.run("tick +0") + &world.run("flush");
    assert_eq!(told.matches("FOUND").count(), 1, "{told}");
    assert!(world.run("POLLING_INFO 1 consumerGroup=g topic=T queueId=-1").contains("pollingNum=2"));
}

/// Popped messages that a pull client of the group said it was done with came again after a restart, if there was a pop between.
#[test]
fn an_offset_that_comes_with_a_pull_ends_popped_messages_for_good() {
    let mut world = world();
    send(&mut world, "A", "one");
    send(&mut world, "A", "two");
    assert!(pop(&mut world, "").contains("one"));
    world.run("PULL_MESSAGE 1 consumerGroup=g topic=T queueId=0 queueOffset=2 maxMsgNums=32 sysFlag=5 commitOffset=2 suspendTimeoutMillis=0 subscription=* subVersion=1");
    send(&mut world, "A", "three");
    assert!(pop(&mut world, "").contains("three"));
    world.run("kill");
    world.run("connect 1");
    after(&mut world, 60_000);
    let told = pop(&mut world, "");
    assert!(told.contains("three") && !told.contains("one") && !told.contains("two"), "{told}");
}

/// Each pair of a group and a topic made a topic, without end.
#[test]
fn pop_makes_no_topics_beyond_the_limit() {
    let mut world = World::new();
    world.run("settings topics_max=20");
    world.run("connect 1");
    for n in 0..20 {
        world.run(&format!("SEND_MESSAGE 1 producerGroup=p topic=T{n} defaultTopic=TBW102 defaultTopicQueueNums=1 queueId=0 sysFlag=0 bornTimestamp=5 flag=0 properties=UNIQ_KEY:u body=b"));
    }
    world.run("flush");
    let told = world.run("POP_MESSAGE 1 consumerGroup=g topic=T0 queueId=-1 maxMsgNums=32 invisibleTime=1 pollTime=0 bornTime=0 initMode=0");
    assert!(told.contains("its limit"), "{told}");
}

/// Nothing saw to them while nothing new came.
#[test]
fn a_group_that_leaves_order_gets_what_it_had_popped_also_if_nothing_new_comes() {
    let mut world = world();
    send(&mut world, "A", "one");
    assert!(pop(&mut world, " order=true").contains("one"));
    after(&mut world, 60_000);
    pop(&mut world, "");
    after(&mut world, 0);
    assert!(pop(&mut world, "").contains("one"));
}

/// How far a group had committed came behind a message that came again in the log: after a restart it went back.
#[test]
fn a_commit_in_the_turn_in_which_a_message_comes_again_is_kept() {
    let mut world = world();
    world.run(&TOPIC.replace("topic=T ", "topic=%RETRY%g_T "));
    for body in ["b0", "b1", "b2", "b3"] {
        send(&mut world, "A", body);
    }
    let told = pop(&mut world, " invisibleTime=1000");
    assert!(told.contains("b0") && told.contains("b3"));
    for offset in [1, 2] {
        let receipt = format!("extraInfo=0,1000000,1000,0,0,broker-a,0,{offset}");
        let told =
            world.run(&format!("ACK_MESSAGE 1 consumerGroup=g topic=T queueId=0 offset={offset} {receipt}"));
        assert!((told + &world.run("flush")).contains("SUCCESS"));
    }
    let commit = "UPDATE_CONSUMER_OFFSET 1 consumerGroup=g topic=T queueId=0 commitOffset=2";
    let told = world.run_together(&[commit.to_owned(), "tick +1000".to_owned()]) + &world.run("flush");
    assert!(told.contains("SUCCESS"), "{told}");
    let asked = "QUERY_CONSUMER_OFFSET 1 consumerGroup=g topic=T queueId=0";
    let before = world.run(asked);
    world.run("kill");
    world.run("connect 1");
    assert_eq!(world.run(asked), before);
}

/// The clock was set back between two runs of the broker: what was popped stayed invisible until it was there again.
#[test]
fn a_clock_that_was_set_back_hides_nothing_for_longer_than_it_was_popped_for() {
    let mut world = world();
    send(&mut world, "A", "one");
    world.run("tick +100000000");
    assert!(pop(&mut world, "").contains("one"));
    world.now_ms -= 90_000_000;
    world.run("kill");
    world.run("connect 1");
    after(&mut world, 59_999);
    assert!(!pop(&mut world, "").contains("one"));
    after(&mut world, 1);
    assert!(pop(&mut world, "").contains("one"));
}

/// Groups `g` with topic `T_x` and `g_T` with `x` have one retry topic: what came again of the one ended the other's message after a
/// restart.
#[test]
fn two_groups_with_one_retry_topic_keep_their_own() {
    let mut world = world();
    let pop = |world: &mut World, group: &str, topic: &str| {
        world.run(&format!("POP_MESSAGE 1 consumerGroup={group} topic={topic} queueId=0 maxMsgNums=32 bornTime=0 initMode=0 invisibleTime=1000 pollTime=0")) + &world.run("flush")
    };
    for topic in ["T_x", "x"] {
        world.run(&TOPIC.replace("topic=T ", &format!("topic={topic} ")));
        world.run(&format!("SEND_MESSAGE 1 producerGroup=p topic={topic} defaultTopic=TBW102 defaultTopicQueueNums=1 queueId=0 sysFlag=0 bornTimestamp=5 flag=0 properties=UNIQ_KEY:u body=of-{topic}"));
        world.run("flush");
    }
    for group in ["g", "g_T"] {
        world.run(&format!(r#"UPDATE_AND_CREATE_SUBSCRIPTIONGROUP 1 json={{"groupName":"{group}"}}"#));
    }
    assert!(pop(&mut world, "g_T", "x").contains("of-x"));
    world.run("tick +500");
    assert!(pop(&mut world, "g", "T_x").contains("of-T"));
    // The first comes again; the second is still invisible when the broker is killed.
    world.run("tick +500");
    world.run("flush");
    world.run("kill");
    world.run("connect 1");
    after(&mut world, 500);
    after(&mut world, 500);
    let told = pop(&mut world, "g", "%RETRY%g_T_x");
    assert!(told.contains("of-x") && told.contains("of-T"), "{told}");
}
