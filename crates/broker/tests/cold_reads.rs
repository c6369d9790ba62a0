//! What happens while the broker reads something else than a pop's messages from disk: what is sent back, delayed messages,
//! timers, half messages, what compaction keeps, offsets that are searched, messages that a certain consumer is to get. As in
//! `cold_reads_pop.rs` each read is held, something else happens, and the read ends with what there is then.

// A test may panic; that is how it fails.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

mod world;

use world::World;

const HELD: &str = "a read is held\n";

/// A world with a client, and the topic `T` of one queue.
fn world() -> World {
    let mut world = World::new();
    world.run("connect 1");
    create(&mut world, "T", "");
    world
}

fn create(world: &mut World, topic: &str, more: &str) {
    succeeds(
        world,
        &format!(
            "UPDATE_AND_CREATE_TOPIC 1 topic={topic} defaultTopic=TBW102 readQueueNums=1 writeQueueNums=1 perm=6 topicFilterType=SINGLE_TAG topicSysFlag=0 order=false {more}"
        ),
    );
}

/// Where the message lies, and the whole answer.
fn send(world: &mut World, topic: &str, flag: u32, properties: &str, body: &str) -> (u64, String) {
    let told = world.run(&format!("SEND_MESSAGE 1 producerGroup=p topic={topic} defaultTopic=TBW102 defaultTopicQueueNums=1 queueId=0 sysFlag={flag} bornTimestamp=1000000 flag=0 properties=UNIQ_KEY:{body}{properties} body={body}"))
        + &world.run("flush");
    let id = told.split_once("msgId=").unwrap_or_else(|| panic!("{told}")).1;
    (u64::from_str_radix(&id[16..32], 16).unwrap(), told)
}

/// (A batch may have an empty message.)
fn send_batch_of_one(world: &mut World, topic: &str, key: &str, body: &str) {
    world.run(&format!(
        "SEND_BATCH_MESSAGE 1 producerGroup=p topic={topic} defaultTopic=TBW102 defaultTopicQueueNums=1 queueId=0 sysFlag=0 bornTimestamp=5 flag=0 batch={key}:{body}"
    ));
}

/// Nothing of what was sent is in memory any more.
fn kill(world: &mut World) {
    world.run("kill");
    world.run("connect 1");
    world.run("connect 2");
}

/// Messages are damaged that a start found whole: one that it finds damaged is in no queue any more.
fn damage_after_start(world: &mut World, positions: &[u64]) {
    kill(world);
    for position in positions {
        world.run(&format!("damage {}", position + 90));
    }
}

#[track_caller]
fn succeeds(world: &mut World, command: &str) {
    let told = world.run(command) + &world.run("flush");
    assert!(told.contains("SUCCESS"), "{command}: {told}");
}

fn word<'a>(told: &'a str, name: &str) -> &'a str {
    let rest = told.split_once(name).unwrap_or_else(|| panic!("no {name}: {told}")).1;
    rest.split_whitespace().next().unwrap()
}

/// Bodies of what consumers get of queue 0 of a topic.
fn bodies(world: &mut World, topic: &str) -> Vec<String> {
    let told = world.run(&format!("GET_MIN_OFFSET 1 topic={topic} queueId=0"));
    let from = word(&told, "offset=").to_owned();
    let told = world.run(&format!("PULL_MESSAGE 1 consumerGroup=TOOLS_CONSUMER topic={topic} queueId=0 queueOffset={from} maxMsgNums=32 sysFlag=4 commitOffset=0 suspendTimeoutMillis=0 subVersion=0 subscription=*"));
    let lines = told.lines().filter(|line| line.starts_with("     "));
    lines.map(|line| line.split('"').nth(1).unwrap().to_owned()).collect()
}

fn after(world: &mut World, ms: u64) -> String {
    world.run(&format!("tick +{ms}")) + &world.run("flush") + &world.run("tick +0") + &world.run("flush")
}

// Messages sent back.

const SEND_BACK: &str = "CONSUMER_SEND_MSG_BACK 1 group=g delayLevel=0 maxReconsumeTimes=16 offset=";

fn consumer_is_there(world: &mut World, client: u32) {
    succeeds(
        world,
        &format!(
            r#"HEART_BEAT {client} json={{"clientID":"c{client}","consumerDataSet":[{{"groupName":"g","consumeType":"CONSUME_PASSIVELY"}}]}} version=493"#
        ),
    );
}

#[test]
fn a_group_deleted_while_a_message_is_sent_back_gets_nothing() {
    let mut world = world();
    let (one, _) = send(&mut world, "T", 0, "", "one");
    kill(&mut world);
    world.run("hold-reads");
    assert_eq!(world.run(&format!("{SEND_BACK}{one}")), HELD);
    succeeds(&mut world, "DELETE_SUBSCRIPTIONGROUP 1 groupName=g cleanOffset=true");
    let told = world.run("release-reads");
    assert!(told.contains("SUBSCRIPTION_GROUP_NOT_EXIST"), "{told}");
    after(&mut world, 60_000);
    assert!(bodies(&mut world, "%RETRY%g").is_empty());
}

#[test]
fn what_is_sent_back_when_a_shutdown_begins_is_safe_before_it_is_answered() {
    let mut world = world();
    let (one, _) = send(&mut world, "T", 0, "", "one");
    kill(&mut world);
    world.run("hold-reads");
    assert_eq!(world.run(&format!("{SEND_BACK}{one}")), HELD);
    world.run("shutdown");
    world.run("flush");
    assert_eq!(world.run("drained"), "false\n");
    assert_eq!(world.run("release-reads"), "");
    assert_eq!(world.run("drained"), "false\n");
    assert!(world.run("flush").contains("SUCCESS"));
    assert_eq!(world.run("drained"), "true\n");
    world.run("power-cut");
    world.run("connect 1");
    after(&mut world, 10_000);
    assert_eq!(bodies(&mut world, "%RETRY%g"), ["one"]);
}

#[test]
fn a_damaged_message_that_is_sent_back_is_refused_and_goes_nowhere() {
    let mut world = world();
    let (one, _) = send(&mut world, "T", 0, "", "one");
    world.run(&format!("damage {}", one + 90));
    kill(&mut world);
    for how in ["maxReconsumeTimes=16", "maxReconsumeTimes=0"] {
        let told = world.run(&format!("CONSUMER_SEND_MSG_BACK 1 group=g delayLevel=0 offset={one} {how}"));
        assert!(told.contains("SYSTEM_ERROR \"look message by offset failed"), "{told}");
    }
    after(&mut world, 10_000);
    assert!(bodies(&mut world, "%RETRY%g").is_empty());
    assert!(bodies(&mut world, "%DLQ%g").is_empty());
}

// Delay levels.

#[test]
fn delayed_messages_that_could_not_be_read_are_delivered_later() {
    let mut world = world();
    send(&mut world, "T", 0, ",DELAY:1", "one");
    kill(&mut world);
    world.run("hold-reads");
    assert_eq!(world.run("tick +1000"), HELD);
    world.run("fail-reads");
    after(&mut world, 99);
    assert!(bodies(&mut world, "T").is_empty());
    after(&mut world, 1);
    assert_eq!(bodies(&mut world, "T"), ["one"]);
}

#[test]
fn a_delayed_message_that_comes_while_its_level_is_read_is_delivered() {
    let mut world = world();
    send(&mut world, "T", 0, ",DELAY:1", "one");
    kill(&mut world);
    world.run("hold-reads");
    assert_eq!(world.run("tick +1000"), HELD);
    send(&mut world, "T", 0, ",DELAY:1", "two");
    world.run("tick +1000");
    world.run("release-reads");
    after(&mut world, 0);
    assert_eq!(bodies(&mut world, "T"), ["one", "two"]);
}

#[test]
fn a_damaged_delayed_message_is_in_nobodys_way() {
    let mut world = world();
    let (one, _) = send(&mut world, "T", 0, ",DELAY:1", "one");
    send(&mut world, "T", 0, ",DELAY:1", "two");
    let (three, _) = send(&mut world, "T", 0, ",DELAY:1", "three");
    damage_after_start(&mut world, &[one, three]);
    after(&mut world, 1_000);
    assert_eq!(bodies(&mut world, "T"), ["two"]);
    world.run("hold-reads");
    assert_eq!(world.run("tick +0"), "", "nobody looks at the last one again");
}

#[test]
fn delayed_messages_read_when_a_shutdown_begins_are_delivered_once() {
    let mut world = world();
    send(&mut world, "T", 0, ",DELAY:1", "one");
    kill(&mut world);
    world.run("hold-reads");
    assert_eq!(world.run("tick +1000"), HELD);
    world.run("shutdown");
    world.run("flush");
    world.run("release-reads");
    assert_eq!(world.run("drained"), "false\n", "what is delivered is not safe yet");
    world.run("flush");
    world.run("power-cut");
    world.run("connect 1");
    after(&mut world, 1_000);
    assert_eq!(bodies(&mut world, "T"), ["one"]);
}

// Timers.

/// A message for a time, and what recalls it.
fn send_timer(world: &mut World, due_ms: u64, body: &str) -> String {
    let (_, told) = send(world, "T", 0, &format!(",TIMER_DELIVER_MS:{}", 1_000_000 + due_ms), body);
    format!("RECALL_MESSAGE 1 topic=T recallHandle={}", word(&told, "recallHandle="))
}

/// A part of which nothing was left passed for the end: all later messages stayed unknown until the next start.
#[test]
fn timers_behind_a_part_of_the_index_that_is_lost_are_delivered() {
    let mut world = world();
    let due = format!(",TIMER_DELIVER_MS:{}", 1_000_000 + 60_000);
    let timers: Vec<u64> = (0..10).map(|n| send(&mut world, "T", 0, &due, &format!("m{n}")).0).collect();
    // With that the index is in a file.
    world.run("shutdown");
    world.run("flush");
    world.run("hold-reads");
    world.run("settings timer_entries_at_once=4");
    assert_eq!(world.run("tick +0"), HELD);
    for position in &timers[..4] {
        world.run(&format!("damage {}", position + 90));
    }
    world.run("damage-runs");
    assert_eq!(world.run("release-read"), HELD, "there is more");
    world.run("release-reads");
    world.run("connect 1");
    after(&mut world, 57_000);
    after(&mut world, 10_000);
    assert_eq!(bodies(&mut world, "T"), ["m4", "m5", "m6", "m7", "m8", "m9"]);
}

#[test]
fn a_timer_message_recalled_while_it_is_read_is_not_delivered() {
    let mut world = world();
    let recall = send_timer(&mut world, 5_000, "one");
    kill(&mut world);
    world.run("tick +0");
    world.run("hold-reads");
    assert_eq!(world.run("tick +3500"), HELD);
    assert_eq!(world.run(&recall), HELD);
    world.run("release-read 1");
    assert!(world.run("flush").contains("SUCCESS"));
    world.run("release-reads");
    after(&mut world, 1_500);
    kill(&mut world);
    after(&mut world, 0);
    assert!(bodies(&mut world, "T").is_empty());
}

#[test]
fn a_timer_message_delivered_while_its_recall_is_read_is_not_said_to_be_recalled() {
    let mut world = world();
    let recall = send_timer(&mut world, 5_000, "one");
    kill(&mut world);
    after(&mut world, 4_000);
    world.run("hold-reads");
    assert_eq!(world.run(&recall), HELD);
    after(&mut world, 1_000);
    let told = world.run("release-reads") + &world.run("flush");
    assert!(told.contains("ILLEGAL_OPERATION"), "{told}");
    assert_eq!(bodies(&mut world, "T"), ["one"]);
}

/// What waits was not known yet, and the answer said that the message had been delivered.
#[test]
fn a_recall_before_it_is_known_what_waits_is_put_off() {
    let mut world = world();
    let recall = send_timer(&mut world, 5_000, "one");
    kill(&mut world);
    world.run("hold-reads");
    assert_eq!(world.run("tick +0"), HELD);
    assert_eq!(world.run(&recall), HELD);
    let told = world.run("release-read 1");
    assert!(told.contains("SYSTEM_BUSY"), "{told}");
    world.run("release-reads");
    succeeds(&mut world, &recall);
    after(&mut world, 5_000);
    assert!(bodies(&mut world, "T").is_empty());
}

#[test]
fn timer_messages_that_come_while_the_others_are_looked_for_are_delivered_once() {
    let mut world = world();
    send_timer(&mut world, 5_000, "one");
    kill(&mut world);
    world.run("hold-reads");
    assert_eq!(world.run("tick +0"), HELD);
    send_timer(&mut world, 4_000, "two");
    let recall = send_timer(&mut world, 4_500, "three");
    assert_eq!(world.run(&recall), HELD);
    world.run("release-read 1");
    assert!(world.run("flush").contains("SUCCESS"));
    world.run("release-reads");
    after(&mut world, 4_000);
    after(&mut world, 1_000);
    kill(&mut world);
    after(&mut world, 1_000);
    assert_eq!(bodies(&mut world, "T"), ["two", "one"]);
}

#[test]
fn timer_messages_that_could_not_be_read_are_delivered_later() {
    let mut world = world();
    send_timer(&mut world, 5_000, "one");
    kill(&mut world);
    world.run("hold-reads");
    assert_eq!(world.run("tick +0"), HELD);
    assert_eq!(world.run("fail-read") + &world.run("tick +99"), "", "a pause");
    assert_eq!(world.run("tick +1"), HELD);
    world.run("release-read");
    assert_eq!(world.run("tick +4900"), HELD);
    world.run("fail-reads");
    after(&mut world, 99);
    assert!(bodies(&mut world, "T").is_empty());
    after(&mut world, 1);
    assert_eq!(bodies(&mut world, "T"), ["one"]);
}

#[test]
fn a_damaged_timer_message_is_in_nobodys_way() {
    let mut world = world();
    let (one, _) = send(&mut world, "T", 0, ",TIMER_DELIVER_MS:1001000", "one");
    send_timer(&mut world, 1_000, "two");
    let (three, _) = send(&mut world, "T", 0, ",TIMER_DELIVER_MS:1001000", "three");
    damage_after_start(&mut world, &[one, three]);
    after(&mut world, 1_000);
    assert_eq!(bodies(&mut world, "T"), ["two"]);
}

const LONG_MS: u64 = 260_000_000;

/// So much that retention takes what lies before it.
fn fill(world: &mut World) {
    for _ in 0..8 {
        succeeds(
            world,
            "SEND_MESSAGE 1 producerGroup=p topic=Fill defaultTopic=TBW102 defaultTopicQueueNums=1 queueId=0 sysFlag=0 bornTimestamp=1000000 flag=0 properties=UNIQ_KEY:f body-bytes=4194304",
        );
    }
}

#[test]
fn a_timer_message_recalled_while_it_is_read_to_be_moved_is_not_delivered() {
    let mut world = world();
    let recall = send_timer(&mut world, LONG_MS + 60_000, "one");
    fill(&mut world);
    world.run(&format!("tick +{LONG_MS}"));
    world.run("hold-reads");
    assert_eq!(world.run("retain"), HELD);
    assert_eq!(world.run(&recall), HELD);
    world.run("release-read 1");
    assert!(world.run("flush").contains("SUCCESS"));
    world.run("release-reads");
    world.run("retain");
    after(&mut world, 60_000);
    assert!(bodies(&mut world, "T").is_empty());
}

#[test]
fn a_timer_message_delivered_while_it_is_read_to_be_moved_is_delivered_once() {
    let mut world = world();
    send_timer(&mut world, LONG_MS + 1_500, "one");
    fill(&mut world);
    after(&mut world, LONG_MS);
    world.run("hold-reads");
    assert_eq!(world.run("retain"), HELD);
    after(&mut world, 1_500);
    assert_eq!(bodies(&mut world, "T"), ["one"]);
    world.run("release-reads");
    world.run("retain");
    after(&mut world, 60_000);
    assert_eq!(bodies(&mut world, "T"), ["one"]);
}

#[test]
fn what_could_not_be_read_to_be_moved_is_moved_later() {
    let mut world = world();
    create(&mut world, "C", COMPACTED);
    send(&mut world, "C", 0, ",KEYS:k", "kept");
    send_timer(&mut world, LONG_MS + 60_000, "one");
    fill(&mut world);
    world.run(&format!("tick +{LONG_MS}"));
    world.run("hold-reads");
    for _ in 0..2 {
        assert_eq!(world.run("retain"), HELD.repeat(2), "of timers, and of compaction topics");
        assert_eq!(world.run("fail-read") + &world.run("fail-read"), "");
    }
    world.run("release-reads");
    world.run("retain");
    after(&mut world, 60_000);
    assert_eq!((bodies(&mut world, "T"), bodies(&mut world, "C")), (vec!["one".into()], vec!["kept".into()]));
    let told = world.run("GET_MIN_OFFSET 1 topic=Fill queueId=0");
    assert!(!told.contains("offset=0"), "it is in the way of nothing: {told}");
}

// Half messages.

fn send_half(world: &mut World, body: &str) -> (u64, u64) {
    let (position, told) = send(world, "T", 4, ",TRAN_MSG:true,PGROUP:p", body);
    (position, word(&told, "queueOffset=").parse().unwrap())
}

const COMMIT: u32 = 8;
const ROLL_BACK: u32 = 12;

fn end((position, offset): (u64, u64), how: u32) -> String {
    format!(
        "END_TRANSACTION 1 producerGroup=p tranStateTableOffset={offset} commitLogOffset={position} commitOrRollback={how} msgId=m"
    )
}

fn producer_is_there(world: &mut World) {
    world.run(r#"HEART_BEAT 1 json={"clientID":"c1","producerDataSet":[{"groupName":"p"}]}"#);
}

#[test]
fn a_half_message_ended_while_it_is_read_to_be_ended_ends_once() {
    for (first, second, left) in [(COMMIT, COMMIT, 1), (COMMIT, ROLL_BACK, 1), (ROLL_BACK, COMMIT, 0)] {
        let mut world = world();
        let half = send_half(&mut world, "h");
        kill(&mut world);
        world.run("hold-reads");
        assert_eq!(world.run(&end(half, first)), HELD);
        assert_eq!(world.run(&end(half, second)), HELD);
        let told = world.run("release-reads") + &world.run("flush");
        assert_eq!(told.matches("-> 1 SUCCESS").count(), 1, "{told}");
        assert!(told.contains("Find prepared transaction message failed"), "{told}");
        assert_eq!(bodies(&mut world, "T").len(), left);
    }
}

#[test]
fn a_half_message_ended_while_it_is_read_for_a_question_is_not_asked_about() {
    for how in [COMMIT, ROLL_BACK] {
        let mut world = world();
        let half = send_half(&mut world, "h");
        kill(&mut world);
        producer_is_there(&mut world);
        world.run("hold-reads");
        assert_eq!(world.run("tick +6000"), HELD);
        assert_eq!(world.run(&end(half, how)), HELD);
        world.run("release-read 1");
        let told = world.run("flush") + &world.run("release-reads") + &world.run("tick +60000");
        assert!(!told.contains("CHECK_TRANSACTION_STATE"), "{told}");
    }
}

/// Each read that failed took one of the places for reads, for good: in the end nobody was asked any more.
#[test]
fn half_messages_that_could_not_be_read_for_a_question_are_asked_about_later() {
    let mut world = world();
    let halves: Vec<_> = (0..40).map(|n| send_half(&mut world, &format!("h{n}"))).collect();
    kill(&mut world);
    world.run("hold-reads");
    assert_eq!(world.run("tick +6000"), HELD.repeat(32));
    world.run("fail-reads");
    producer_is_there(&mut world);
    let told = world.run("tick +0") + &world.run("tick +30000") + &world.run("tick +0");
    for (n, (position, _)) in halves.iter().enumerate() {
        assert!(told.contains(&format!("commitLogOffset={position} ")), "h{n}: {told}");
    }
}

// Compaction topics.

const COMPACTED: &str = "attributes=+cleanup.policy=COMPACTION";

#[test]
fn a_compaction_topic_created_again_while_it_is_read_at_a_start_knows_nothing_of_the_old_one() {
    let mut world = world();
    create(&mut world, "C", COMPACTED);
    for body in ["old0", "old1", "old2"] {
        send(&mut world, "C", 0, ",KEYS:k", body);
    }
    // What is read next is not taken for read.
    create(&mut world, "D", COMPACTED);
    send(&mut world, "D", 0, ",KEYS:k", "other");
    kill(&mut world);
    world.run("hold-reads");
    assert_eq!(world.run("tick +0"), HELD);
    succeeds(&mut world, "DELETE_TOPIC_IN_BROKER 1 topic=C");
    create(&mut world, "C", COMPACTED);
    send(&mut world, "C", 0, ",KEYS:k", "new");
    world.run("release-reads");
    fill(&mut world);
    after(&mut world, LONG_MS);
    world.run("retain");
    assert_eq!(bodies(&mut world, "C"), ["new"]);
    assert_eq!(bodies(&mut world, "D"), ["other"]);
}

#[test]
fn a_compaction_topic_created_again_while_its_messages_are_moved_has_none_of_the_old_ones() {
    let mut world = world();
    create(&mut world, "C", COMPACTED);
    send(&mut world, "C", 0, ",KEYS:k", "old");
    fill(&mut world);
    after(&mut world, LONG_MS);
    world.run("hold-reads");
    assert_eq!(world.run("retain"), HELD);
    succeeds(&mut world, "DELETE_TOPIC_IN_BROKER 1 topic=C");
    create(&mut world, "C", COMPACTED);
    world.run("release-reads");
    world.run("flush");
    kill(&mut world);
    after(&mut world, 0);
    assert!(bodies(&mut world, "C").is_empty());
    for body in ["new0", "new1"] {
        send(&mut world, "C", 0, ",KEYS:j", body);
    }
    // It would be seen as soon as retention takes what has its offset now.
    fill(&mut world);
    after(&mut world, LONG_MS);
    world.run("retain");
    assert_eq!(bodies(&mut world, "C"), ["new1"]);
}

#[test]
fn a_message_that_is_not_its_keys_last_any_more_when_it_was_read_is_not_kept() {
    // An empty one ends its key.
    for (newer, safe) in [("new", true), ("", true), ("", false)] {
        let mut world = world();
        create(&mut world, "C", COMPACTED);
        send(&mut world, "C", 0, ",KEYS:k", "old");
        fill(&mut world);
        after(&mut world, LONG_MS);
        world.run("hold-reads");
        assert_eq!(world.run("retain"), HELD);
        send_batch_of_one(&mut world, "C", "k", newer);
        if safe {
            world.run("flush");
        }
        world.run("release-reads");
        world.run("flush");
        world.run("retain");
        assert_eq!(bodies(&mut world, "C"), [newer]);
        assert!(world.run("GET_MIN_OFFSET 1 topic=C queueId=0").contains("offset=1"));
    }
}

#[test]
fn a_compaction_topic_that_could_not_be_read_at_a_start_is_read_later() {
    let mut world = world();
    create(&mut world, "C", COMPACTED);
    send(&mut world, "C", 0, ",KEYS:k", "one");
    kill(&mut world);
    world.run("hold-reads");
    assert_eq!(world.run("tick +0"), HELD);
    assert_eq!(world.run("fail-read") + &world.run("tick +99"), "", "a pause");
    assert_eq!(world.run("tick +1"), HELD);
    world.run("release-reads");
    fill(&mut world);
    after(&mut world, LONG_MS);
    world.run("retain");
    assert_eq!(bodies(&mut world, "C"), ["one"]);
}

/// Simulation, seeds 700009 to 700059: the read found nothing but what came behind the segment that had gone, and whoever asked
/// went on from there.
#[test]
fn who_reads_a_compaction_topic_while_its_segment_goes_gets_what_was_kept() {
    let pull = "PULL_MESSAGE 1 consumerGroup=TOOLS_CONSUMER topic=C queueId=0 queueOffset=0 maxMsgNums=32 sysFlag=4 commitOffset=0 suspendTimeoutMillis=0 subVersion=0 subscription=*";
    let pop = "POP_MESSAGE 1 consumerGroup=g topic=C queueId=0 maxMsgNums=32 invisibleTime=10000 pollTime=0 bornTime=0 initMode=0";
    // Whether the broker learns that the segment went before the read ends, or after: the keeper tells when it is done.
    for (request, told_before) in [(pull, true), (pull, false), (pop, true), (pop, false)] {
        let mut world = world();
        // What the group that pops has still to read would stay.
        succeeds(&mut world, "UPDATE_BROKER_CONFIG 1 body=keepUnreadMessages=false");
        create(&mut world, "C", COMPACTED);
        for body in ["one", "two"] {
            send(&mut world, "C", 0, &format!(",KEYS:{body}"), body);
        }
        fill(&mut world);
        send(&mut world, "C", 0, ",KEYS:three", "three");
        after(&mut world, LONG_MS);
        world.run("hold-reads");
        assert_eq!(world.run(request), HELD);
        write_again(&mut world, 1);
        let first = first_of_fill(&mut world);
        world.run("retain-untold");
        if told_before {
            world.run("tell-retained");
        }
        let told = world.run("release-reads") + &world.run("flush");
        let come = |body: &&str| told.contains(&format!("\"{body}\""));
        let come: Vec<&str> = ["one", "two", "three"].into_iter().filter(come).collect();
        assert_eq!(come, ["one", "two"], "{request}, {told_before}: {told}");
        if !told_before {
            world.run("tell-retained");
        }
        assert!(first_of_fill(&mut world) > first, "nothing went");
    }
}

/// What is in the way of retention is read and written again: with the read of that number.
fn write_again(world: &mut World, read: u32) {
    assert_eq!(world.run("retain 1"), HELD);
    world.run(&format!("release-read {read}"));
    world.run("flush");
    // With the keeper's next report the broker says that it is not needed any more.
    assert_eq!(world.run("retain 1"), "");
}

fn first_of_fill(world: &mut World) -> u64 {
    word(&world.run("GET_MIN_OFFSET 1 topic=Fill queueId=0"), "offset=").parse().unwrap()
}

/// It was taken for gone, and never came again to the group that had popped it.
#[test]
fn a_popped_message_that_is_written_again_while_it_is_read_comes_again() {
    // The original is read, or what was written again before.
    for again in [false, true] {
        let mut world = world();
        succeeds(&mut world, "UPDATE_BROKER_CONFIG 1 body=keepUnreadMessages=false");
        create(&mut world, "C", COMPACTED);
        send(&mut world, "C", 0, ",KEYS:k", "one");
        let pop = "POP_MESSAGE 1 consumerGroup=g topic=C queueId=0 maxMsgNums=32 pollTime=0 bornTime=0 initMode=0 invisibleTime=";
        let invisible_ms = if again { LONG_MS + 10_000 } else { 10_000 };
        let told = world.run(&format!("{pop}{invisible_ms}")) + &world.run("flush");
        assert!(told.contains("\"one\""), "{told}");
        fill(&mut world);
        if again {
            after(&mut world, LONG_MS);
            world.run("retain");
            fill(&mut world);
        }
        world.run("hold-reads");
        assert_eq!(world.run(&format!("tick +{LONG_MS}")), HELD);
        write_again(&mut world, 1);
        let first = first_of_fill(&mut world);
        world.run("retain-untold");
        world.run("release-reads");
        world.run("flush");
        world.run("tell-retained");
        assert!(first_of_fill(&mut world) > first, "nothing went");
        after(&mut world, 2_000);
        after(&mut world, 2_000);
        let told = world.run(&format!("{pop}10000")) + &world.run("flush");
        assert!(told.contains("\"one\" reconsumed 1"), "{again}: {told}");
    }
}

// What is still to be read, or to be ended.

/// Everything was looked at once, when there was nobody but a group that had read it all: what began or went back until its segment was
/// to go was not known.
#[test]
fn what_a_group_begins_to_read_after_all_was_looked_at_stays() {
    let commit = |world: &mut World, group: &str, offset: u32| {
        world.run(&format!(
            "UPDATE_CONSUMER_OFFSET 1 consumerGroup={group} topic=T queueId=0 commitOffset={offset}"
        ));
        world.run("flush");
    };
    // Another group begins, or the same goes back; nothing has to stay of what is read by then.
    for (group, offset, left) in [("h", 1, vec!["one"]), ("g", 0, vec!["zero", "one"]), ("g", 2, vec![])] {
        let mut world = world();
        fill(&mut world);
        after(&mut world, LONG_MS / 2);
        send(&mut world, "T", 0, "", "zero");
        send(&mut world, "T", 0, "", "one");
        fill(&mut world);
        for group in ["g", "h"] {
            succeeds(
                &mut world,
                &format!(r#"UPDATE_AND_CREATE_SUBSCRIPTIONGROUP 1 json={{"groupName":"{group}"}}"#),
            );
        }
        commit(&mut world, "g", 2);
        after(&mut world, LONG_MS / 2);
        world.run("retain");
        assert!(first_of_fill(&mut world) > 0, "something went, and all was looked at");
        commit(&mut world, group, offset);
        after(&mut world, LONG_MS);
        world.run("retain");
        let found = bodies(&mut world, "T");
        assert!(
            found.ends_with(&left.iter().map(|body| (*body).to_owned()).collect::<Vec<_>>()),
            "{found:?}"
        );
        assert_eq!(found.is_empty(), left.is_empty(), "{group} from {offset} on: {found:?}");
    }
}

/// Simulation, seed 741801: a queue that is new after damage does not begin at 0, and passed for one whose first messages had gone: who
/// began with the newest one of it did not get those before.
#[test]
fn a_queue_that_is_new_after_damage_is_young() {
    let mut world = world();
    let (lost, _) = send(&mut world, "T", 0, "", "lost");
    world.run(&format!("damage {}", lost + 90));
    kill(&mut world);
    create(&mut world, "New", "");
    let (_, told) = send(&mut world, "New", 0, "", "one");
    assert_ne!(word(&told, "queueOffset="), "0");
    send(&mut world, "New", 0, "", "two");
    let told = world.run("POP_MESSAGE 1 consumerGroup=g topic=New queueId=0 maxMsgNums=32 invisibleTime=10000 pollTime=0 bornTime=0 initMode=1")
        + &world.run("flush");
    assert!(told.contains("\"one\"") && told.contains("\"two\""), "{told}");
    // Damage again: the next new queue begins still later.
    let (lost, _) = send(&mut world, "T", 0, "", "lost-too");
    world.run(&format!("damage {}", lost + 90));
    kill(&mut world);
    let told = world.run("POP_MESSAGE 1 consumerGroup=h topic=New queueId=0 maxMsgNums=32 invisibleTime=10000 pollTime=0 bornTime=0 initMode=1")
        + &world.run("flush");
    assert!(told.contains("\"one\"") && told.contains("\"two\""), "{told}");
}

/// It was set apart as soon as its segment was to go, and its producer's commit was refused.
#[test]
fn a_half_message_that_is_still_to_be_asked_about_stays() {
    for (checks, left) in [(100_000, vec!["h".to_owned()]), (1, Vec::new())] {
        let mut world = world();
        succeeds(&mut world, &format!("UPDATE_BROKER_CONFIG 1 body=transactionCheckMax={checks}"));
        let half = send_half(&mut world, "h");
        fill(&mut world);
        after(&mut world, LONG_MS);
        world.run("retain");
        let told = world.run(&end(half, COMMIT)) + &world.run("flush");
        assert_eq!(told.contains("SUCCESS"), !left.is_empty(), "{checks}: {told}");
        assert_eq!(bodies(&mut world, "T"), left, "{checks}");
    }
}

/// One whose producer had asked for more time before it is asked was set apart before it ever was.
#[test]
fn a_half_message_stays_while_its_producer_is_not_to_be_asked() {
    for (immunity_s, after_ms, stays) in
        [(900, 600_000, true), (900, 2_000_000, false), (i32::MAX, LONG_MS, false)]
    {
        let mut world = world();
        world.run("retention-bytes 1");
        world.run("connect 1");
        succeeds(&mut world, "UPDATE_BROKER_CONFIG 1 body=transactionCheckMax=1");
        let properties = format!(",TRAN_MSG:true,PGROUP:p,CHECK_IMMUNITY_TIME_IN_SECONDS:{immunity_s}");
        let (position, told) = send(&mut world, "T", 4, &properties, "h");
        fill(&mut world);
        after(&mut world, after_ms);
        world.run("retain");
        let told = world.run(&end((position, word(&told, "queueOffset=").parse().unwrap()), COMMIT))
            + &world.run("flush");
        assert_eq!(told.contains("SUCCESS"), stays, "{immunity_s} s, after {after_ms} ms: {told}");
    }
}

// What groups have still to read.

const MIN_OF_T: &str = "GET_MIN_OFFSET 1 topic=T queueId=0";

/// Of a retry topic of several queues only those counted as begun of which none had an offset.
#[test]
fn each_queue_of_a_retry_topic_is_kept_until_it_is_read() {
    let mut world = world();
    succeeds(
        &mut world,
        r#"UPDATE_AND_CREATE_SUBSCRIPTIONGROUP 1 json={"groupName":"g","retryQueueNums":2}"#,
    );
    create(&mut world, "%RETRY%g", "readQueueNums=2 writeQueueNums=2");
    for queue_id in [0, 1] {
        succeeds(
            &mut world,
            &format!(
                "SEND_MESSAGE 1 producerGroup=p topic=%RETRY%g defaultTopic=TBW102 defaultTopicQueueNums=1 queueId={queue_id} sysFlag=0 bornTimestamp=1000000 flag=0 properties=UNIQ_KEY:r body=r"
            ),
        );
    }
    succeeds(&mut world, "UPDATE_CONSUMER_OFFSET 1 consumerGroup=g topic=%RETRY%g queueId=0 commitOffset=1");
    fill(&mut world);
    after(&mut world, LONG_MS);
    world.run("retain");
    assert!(world.run("GET_MIN_OFFSET 1 topic=%RETRY%g queueId=1").contains("offset=0"));
    succeeds(&mut world, "UPDATE_CONSUMER_OFFSET 1 consumerGroup=g topic=%RETRY%g queueId=1 commitOffset=1");
    world.run("retain");
    assert!(world.run("GET_MIN_OFFSET 1 topic=%RETRY%g queueId=1").contains("offset=1"));
}

/// Its offsets were left when it was deleted; until retention looked again, nothing was kept for it.
#[test]
fn a_group_that_comes_back_goes_on_where_it_was() {
    let mut world = world();
    let group = r#"UPDATE_AND_CREATE_SUBSCRIPTIONGROUP 1 json={"groupName":"g"}"#;
    succeeds(&mut world, group);
    send(&mut world, "T", 0, "", "unread");
    succeeds(&mut world, "UPDATE_CONSUMER_OFFSET 1 consumerGroup=g topic=T queueId=0 commitOffset=0");
    succeeds(&mut world, "DELETE_SUBSCRIPTIONGROUP 1 groupName=g cleanOffset=false");
    fill(&mut world);
    after(&mut world, LONG_MS);
    world.run("retain 1");
    succeeds(&mut world, group);
    world.run("retain");
    assert!(world.run(MIN_OF_T).contains("offset=0"));
}

/// A group of light queues needs no settings, and was taken for deleted.
#[test]
fn a_light_group_without_settings_keeps_what_it_has_to_read() {
    let mut world = world();
    world.run("settings enableLmq=true");
    world.run("connect 1");
    succeeds(&mut world, "UPDATE_BROKER_CONFIG 1 body=autoCreateSubscriptionGroup:false");
    send(&mut world, "T", 0, ",INNER_MULTI_DISPATCH:%LMQ%q", "unread");
    succeeds(
        &mut world,
        "UPDATE_CONSUMER_OFFSET 1 consumerGroup=%LMQ%g topic=%LMQ%q queueId=0 commitOffset=0",
    );
    fill(&mut world);
    after(&mut world, LONG_MS);
    world.run("retain");
    assert!(world.run(MIN_OF_T).contains("offset=0"));
}

// Offsets that are searched.

#[test]
fn a_reset_of_a_topic_or_group_deleted_while_it_is_searched_leaves_nothing_behind() {
    for (delete, code) in [
        ("DELETE_TOPIC_IN_BROKER 1 topic=T", "TOPIC_NOT_EXIST"),
        ("DELETE_SUBSCRIPTIONGROUP 1 groupName=g cleanOffset=true", "SUBSCRIPTION_GROUP_NOT_EXIST"),
    ] {
        let mut world = world();
        send(&mut world, "T", 0, "", "one");
        consumer_is_there(&mut world, 1);
        kill(&mut world);
        world.run("hold-reads");
        let reset = "INVOKE_BROKER_TO_RESET_OFFSET 1 topic=T group=g timestamp=2000000 isForce=true";
        assert_eq!(world.run(reset), HELD);
        succeeds(&mut world, delete);
        let told = world.run("release-reads") + &world.run("flush");
        assert!(told.contains(code), "{told}");
        create(&mut world, "T", "");
        let told =
            world.run("QUERY_CONSUMER_OFFSET 1 consumerGroup=g topic=T queueId=0 setZeroIfNotFound=false");
        assert!(told.contains("QUERY_NOT_FOUND"), "{told}");
    }
}

// A message for a certain consumer.

/// The offsets that were found in the old topic lay beyond the messages of the new one: the group would never have got these.
#[test]
fn a_reset_of_a_topic_created_again_while_it_is_searched_sets_nothing() {
    let mut world = world();
    consumer_is_there(&mut world, 1);
    (0..3).for_each(|n| drop(send(&mut world, "T", 0, "", &n.to_string())));
    kill(&mut world);
    world.run("hold-reads");
    let reset = "INVOKE_BROKER_TO_RESET_OFFSET 1 topic=T group=g timestamp=2000000 isForce=true";
    assert_eq!(world.run(reset), HELD);
    succeeds(&mut world, "DELETE_TOPIC_IN_BROKER 1 topic=T");
    create(&mut world, "T", "");
    send(&mut world, "T", 0, "", "new");
    let told = world.run("release-reads") + &world.run("flush");
    assert!(told.contains("TOPIC_NOT_EXIST"), "{told}");
    let told = world.run("QUERY_CONSUMER_OFFSET 1 consumerGroup=g topic=T queueId=0 setZeroIfNotFound=false");
    assert!(told.contains("QUERY_NOT_FOUND"), "{told}");
    // One that was only changed is the same topic.
    kill(&mut world);
    world.run("hold-reads");
    assert_eq!(world.run(reset), HELD);
    create(&mut world, "T", "");
    let told = world.run("release-reads") + &world.run("flush");
    assert!(told.contains("SUCCESS"), "{told}");
}

#[test]
fn a_consumer_gone_while_a_message_for_it_is_read_is_said_not_to_be_online() {
    let mut world = world();
    let (one, _) = send(&mut world, "T", 0, "", "one");
    kill(&mut world);
    consumer_is_there(&mut world, 2);
    world.run("hold-reads");
    let direct = format!(
        "CONSUME_MESSAGE_DIRECTLY 1 consumerGroup=g clientId=c2 topic=T msgId=7F00000100002A9F{one:016X}"
    );
    assert_eq!(world.run(&direct), HELD);
    world.run("disconnect 2");
    let told = world.run("release-reads");
    assert!(told.contains("-> 1 SYSTEM_ERROR") && told.contains("not online"), "{told}");
}

/// Whoever wants no answer got one if it was that the disk cannot be read.
#[test]
fn a_request_that_wants_no_answer_gets_none_of_a_failed_read_either() {
    let mut world = world();
    let (position, _) = send(&mut world, "T", 0, "", "one");
    kill(&mut world);
    world.run("hold-reads");
    let view = format!("VIEW_MESSAGE_BY_ID 1 offset={position}");
    assert_eq!(world.run(&view), HELD);
    assert!(world.run("fail-reads").contains("-> 1 "), "who wants one gets it");
    world.run("hold-reads");
    for request in
        [view.as_str(), "QUERY_MESSAGE 1 topic=T key=k maxNum=1 beginTimestamp=0 endTimestamp=9000000"]
    {
        let oneway = request.replacen(" 1 ", " 1 oneway ", 1);
        assert_eq!(world.run(&oneway), HELD, "{oneway}");
    }
    assert_eq!(world.run("fail-reads"), "");
}
