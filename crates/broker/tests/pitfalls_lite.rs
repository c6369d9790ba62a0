//! What a review found of lite topics, long lists and names that clients choose.

// A test may panic; that is how it fails.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

mod world;

use world::World;

const MINUTE_MS: u64 = 60_000;

/// A parent topic whose lite topics go after two hours, and a group.
fn world() -> World {
    let mut world = World::new();
    start(&mut world);
    world.run("UPDATE_AND_CREATE_TOPIC 1 topic=P defaultTopic=TBW102 readQueueNums=1 writeQueueNums=1 perm=6 topicFilterType=SINGLE_TAG topicSysFlag=0 order=false attributes=+message.type=LITE,+lite.topic.expiration=120");
    world.run(r#"UPDATE_AND_CREATE_SUBSCRIPTIONGROUP 1 json={"groupName":"g","attributes":{"+lite.bind.topic":"P"}}"#);
    world.run("flush");
    world
}

fn start(world: &mut World) {
    world.run("connect 1");
    world.run("connect 2");
}

/// Sends to a lite topic of `P`; where the message lies.
fn send(world: &mut World, lite: &str, body: &str) -> usize {
    let told = world.run(&format!("SEND_MESSAGE 2 producerGroup=p topic=P defaultTopic=TBW102 defaultTopicQueueNums=1 queueId=0 sysFlag=0 bornTimestamp=1000000 flag=0 properties=UNIQ_KEY:u,__LITE_TOPIC:{lite} body={body}")) + &world.run("flush");
    let at = told.find("msgId=").expect(&told) + 6 + 16;
    usize::from_str_radix(&told[at..at + 16], 16).unwrap()
}

fn subscribe(world: &mut World, conn: u32, action: &str, lite: &str) {
    let told = world.run(&format!(
        r#"LITE_SUBSCRIPTION_CTL {conn} json={{"subscriptionSet":[{{"action":"{action}","clientId":"c{conn}","group":"g","topic":"P","liteTopicSet":["{lite}"]}}]}}"#
    )) + &world.run("flush");
    assert!(told.contains("SUCCESS"), "{told}");
}

fn pop(world: &mut World, conn: u32, poll_ms: u32) -> String {
    world.run(&format!("POP_LITE_MESSAGE {conn} clientId=c{conn} consumerGroup=g topic=P maxMsgNum=32 invisibleTime=10000 pollTime={poll_ms} bornTime=1000000")) + &world.run("flush")
}

fn pull(world: &mut World, more: &str) -> String {
    world.run(&format!("PULL_MESSAGE 1 consumerGroup=TOOLS_CONSUMER queueId=0 queueOffset=0 maxMsgNums=32 sysFlag=4 commitOffset=0 suspendTimeoutMillis=0 subscription=* subVersion=1 {more}"))
}

/// Time passes, a minute at a time; the clients stay.
fn pass(world: &mut World, minutes: u64) {
    for _ in 0..minutes {
        world.run(&format!("tick +{MINUTE_MS}"));
        world.run("flush");
    }
}

fn count(told: &str) -> usize {
    told.matches(" P/0@").count()
}

/// Any name made an offset and a statistic: 64 KiB of it, of which the state said only a part.
#[test]
fn a_pull_names_a_lite_topic_that_can_be() {
    let mut world = world();
    send(&mut world, "a", "one");
    assert_eq!(count(&pull(&mut world, "topic=P liteTopic=a")), 1);
    for lite in ["a/b", &"x".repeat(70_000)] {
        let told = pull(&mut world, &format!("topic=P liteTopic={lite}"));
        assert!(told.contains("INVALID_PARAMETER"), "{told:.200}");
    }
    world.run("UPDATE_AND_CREATE_TOPIC 1 topic=N defaultTopic=TBW102 readQueueNums=1 writeQueueNums=1 perm=6 topicFilterType=SINGLE_TAG topicSysFlag=0 order=false");
    assert!(pull(&mut world, "topic=N liteTopic=a").contains("has no lite topics"));
}

/// It was taken for one that had been silent for ever, and went with all the good messages before it.
#[test]
fn a_lite_topic_whose_last_message_is_damaged_stays_for_its_time() {
    let mut world = world();
    send(&mut world, "a", "good");
    let last = send(&mut world, "a", "last");
    world.run(&format!("damage {}", last + 90));
    world.run("kill");
    start(&mut world);
    pass(&mut world, 30);
    assert_eq!(count(&pull(&mut world, "topic=P liteTopic=a")), 1, "the good one");
    pass(&mut world, 120);
    assert_eq!(count(&pull(&mut world, "topic=P liteTopic=a")), 0);
}

/// All its lite topics went, however fresh, when a topic's type was changed for a while.
#[test]
fn a_parent_that_is_of_another_type_for_a_while_keeps_its_lite_topics() {
    let mut world = world();
    send(&mut world, "a", "one");
    let set = |world: &mut World, of: &str| {
        world.run(&format!("UPDATE_AND_CREATE_TOPIC 1 topic=P defaultTopic=TBW102 readQueueNums=1 writeQueueNums=1 perm=6 topicFilterType=SINGLE_TAG topicSysFlag=0 order=false attributes=+message.type={of}"));
        world.run("flush");
    };
    set(&mut world, "NORMAL");
    pass(&mut world, 30);
    set(&mut world, "LITE");
    assert_eq!(count(&pull(&mut world, "topic=P liteTopic=a")), 1);
}

/// Nobody was told that there is something to pop again.
#[test]
fn a_lite_topic_whose_offset_goes_back_wakes_who_waits() {
    let mut world = world();
    world.run(r#"UPDATE_AND_CREATE_SUBSCRIPTIONGROUP 1 json={"groupName":"g","attributes":{"+lite.bind.topic":"P","+lite.sub.reset.offset.unsubscribe":"true"}}"#);
    for conn in [1, 2] {
        subscribe(&mut world, conn, "PARTIAL_ADD", "a");
    }
    send(&mut world, "a", "one");
    assert_eq!(count(&pop(&mut world, 1, 0)), 1);
    let told = world.run("ACK_MESSAGE 1 consumerGroup=g topic=P queueId=0 offset=0 liteTopic=a extraInfo=0,1000000,10000,999,0,broker-a,0,0");
    assert!((told + &world.run("flush")).contains("SUCCESS"));
    assert_eq!(pop(&mut world, 2, 15_000), "");
    let told = world.run(
        r#"LITE_SUBSCRIPTION_CTL 1 json={"subscriptionSet":[{"action":"PARTIAL_REMOVE","clientId":"c1","group":"g","topic":"P","liteTopicSet":["a"]}]}"#,
    ) + &world.run("tick +0") + &world.run("flush");
    assert_eq!(count(&told), 1, "{told}");
}

/// It was acknowledged, and in no lite topic.
#[test]
fn a_batch_is_for_no_lite_topic() {
    let mut world = world();
    let told = world.run("SEND_BATCH_MESSAGE 2 producerGroup=p topic=P defaultTopic=TBW102 defaultTopicQueueNums=1 queueId=0 sysFlag=0 bornTimestamp=5 flag=0 batch=true batch=one,@a:two");
    assert!(told.contains("MESSAGE_ILLEGAL \"a batch cannot be for lite topics"), "{told}");
}

/// Each name is a change and a look at all groups: four million of them in one request, or one of them four million times.
#[test]
fn lists_of_names_to_delete_have_an_end() {
    let mut world = world();
    for (code, list) in [("DELETE_TOPIC_IN_BROKER_LIST", "topicList"), ("5003", "groupList")] {
        let names: Vec<String> = (0..10_001).map(|n| format!("\"n{n}\"")).collect();
        let told = world.run(&format!("{code} 1 json={{\"{list}\":[{}]}}", names.join(",")));
        assert!(told.contains("10001 names are too many"), "{told:.300}");
    }
}

/// Group `a_b` with topic `c` and group `a` with topic `b_c` have one retry topic: with `c` the other's messages went.
#[test]
fn a_retry_topic_of_two_groups_stays_when_the_topic_of_one_is_deleted() {
    let mut world = world();
    for topic in ["c", "b_c"] {
        world.run(&format!("UPDATE_AND_CREATE_TOPIC 1 topic={topic} defaultTopic=TBW102 readQueueNums=1 writeQueueNums=1 perm=6 topicFilterType=SINGLE_TAG topicSysFlag=0 order=false"));
        world.run(&format!("SEND_MESSAGE 2 producerGroup=p topic={topic} defaultTopic=TBW102 defaultTopicQueueNums=1 queueId=0 sysFlag=0 bornTimestamp=1000000 flag=0 properties=UNIQ_KEY:u body=of-{topic}"));
    }
    for group in ["a_b", "a"] {
        world.run(&format!(r#"UPDATE_AND_CREATE_SUBSCRIPTIONGROUP 1 json={{"groupName":"{group}"}}"#));
    }
    world.run("flush");
    for (group, topic) in [("a_b", "c"), ("a", "b_c")] {
        let told = world.run(&format!("POP_MESSAGE 1 consumerGroup={group} topic={topic} queueId=0 maxMsgNums=32 bornTime=0 initMode=0 invisibleTime=1000 pollTime=0")) + &world.run("flush");
        assert!(told.contains("of-"), "{told}");
    }
    world.run("tick +1000");
    world.run("flush");
    let retried = |world: &mut World| pull(world, "topic=%RETRY%a_b_c").matches("of-").count();
    assert_eq!(retried(&mut world), 2);
    world.run("DELETE_TOPIC_IN_BROKER 1 topic=c");
    world.run("flush");
    assert_eq!(retried(&mut world), 2);
    world.run("DELETE_TOPIC_IN_BROKER 1 topic=b_c");
    world.run("flush");
    assert_eq!(retried(&mut world), 0);
}
