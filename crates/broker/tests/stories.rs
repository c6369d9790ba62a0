//! Stories: what a broker does, told as commands and the effects that each has.
//!
//! Each file of `testdata/` is a list of blocks `command`, `----`, what came of it, an empty line. Run with
//! `UPDATE_STORIES=1` to write what really comes of each command into the files, and read the difference.

// A test may panic; that is how it fails.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

mod world;

use std::fmt::Write;
use std::path::Path;
use world::World;

#[test]
fn stories() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata");
    let update = std::env::var_os("UPDATE_STORIES").is_some();
    let mut files: Vec<_> = std::fs::read_dir(&folder).unwrap().map(|f| f.unwrap().path()).collect();
    files.retain(|file| file.extension().is_some_and(|extension| extension == "txt"));
    files.sort();
    assert!(!files.is_empty());
    for file in files {
        let told = std::fs::read_to_string(&file).unwrap();
        let happened = tell(&told);
        if update {
            std::fs::write(&file, happened).unwrap();
        } else {
            assert_same(&file, &told, &happened);
        }
    }
}

/// Runs the commands of a story and gives the story as it really goes.
fn tell(story: &str) -> String {
    let mut world = World::new();
    let mut out = String::new();
    for block in story.split("\n\n") {
        let block = block.trim_matches('\n');
        if block.is_empty() {
            continue;
        }
        let (commands, _) = block.split_once("\n----").unwrap_or((block, ""));
        if !out.is_empty() {
            out.push('\n');
        }
        writeln!(out, "{commands}").unwrap();
        let commands: Vec<&str> = commands.lines().filter(|line| !line.starts_with('#')).collect();
        if commands.is_empty() {
            continue;
        }
        writeln!(out, "----").unwrap();
        for command in commands {
            out.push_str(&world.run(command));
        }
    }
    out
}

#[track_caller]
fn assert_same(file: &Path, told: &str, happened: &str) {
    for (i, (told, happened)) in told.lines().zip(happened.lines()).enumerate() {
        assert_eq!(told, happened, "{}:{}", file.display(), i + 1);
    }
    assert_eq!(told.lines().count(), happened.lines().count(), "{}", file.display());
}

/// Thousands who wait for one message of 4 MiB had their copies made all at once.
#[test]
fn waiters_for_a_large_message_are_answered_in_portions() {
    let mut world = World::new();
    world.run("connect 1");
    let send = "SEND_MESSAGE 1 producerGroup=p topic=T defaultTopic=TBW102 defaultTopicQueueNums=1 queueId=0 sysFlag=0 bornTimestamp=5 flag=0";
    world.run(&format!("{send} properties=UNIQ_KEY:u1 body=first"));
    world.run("flush");
    for _ in 0..10 {
        let parked = world.run("PULL_MESSAGE 1 consumerGroup=g topic=T queueId=0 queueOffset=1 maxMsgNums=32 sysFlag=6 commitOffset=0 suspendTimeoutMillis=15000 subscription=* subVersion=1");
        assert_eq!(parked, "");
    }
    world.run(&format!("{send} properties=UNIQ_KEY:u2 body-bytes=4194304"));
    let answers = |told: String| told.matches("nextBeginOffset=2").count();
    assert_eq!(answers(world.run("flush")), 4);
    assert_eq!(answers(world.run("tick +0")), 4);
    assert_eq!(answers(world.run("tick +0")), 2);
    assert_eq!(answers(world.run("tick +0")), 0);
}

/// One read of a connection held thousands of pops: their answers, which wait for the state, were made all at once.
#[test]
fn pops_of_large_messages_are_answered_in_portions() {
    let mut world = World::new();
    world.run("connect 1");
    let send = "SEND_MESSAGE 1 producerGroup=p topic=T defaultTopic=TBW102 defaultTopicQueueNums=1 queueId=0 sysFlag=0 bornTimestamp=5 flag=0";
    world.run(&format!("{send} properties=UNIQ_KEY:u1 body-bytes=4194304"));
    world.run("flush");
    let pop = |group| {
        format!(
            "POP_MESSAGE 1 consumerGroup=g{group} topic=T queueId=0 maxMsgNums=32 invisibleTime=60000 pollTime=0 bornTime=0 initMode=0"
        )
    };
    let pops: Vec<String> = (0..6).map(pop).collect();
    let told = world.run_together(&pops);
    assert_eq!(told, "");
    let answers = |told: String| told.matches("msgOffsetInfo=0 0 ").count();
    assert_eq!(answers(world.run("flush")), 4);
    world.run("tick +0");
    assert_eq!(answers(world.run("flush")), 2);
}

/// The name of a group that nobody had went into the state's changes, was too long for the log, and stayed first among them:
/// nothing that came after it was ever durable.
#[test]
fn deleting_a_name_that_is_too_long_for_the_log_stops_no_later_change() {
    let mut world = World::new();
    world.run("connect 1");
    world.run("SEND_MESSAGE 1 producerGroup=p topic=T defaultTopic=TBW102 defaultTopicQueueNums=4 queueId=0 sysFlag=0 bornTimestamp=5 flag=0 properties=UNIQ_KEY:u1 body=one");
    world.run("HEART_BEAT 1 json={\"clientID\":\"c\",\"consumerDataSet\":[{\"groupName\":\"g\"}]}");
    world.run("flush");
    for name in ["nobody".to_owned(), "x".repeat(70_000), "x".repeat(2_000_000)] {
        for (code, list) in
            [("DELETE_SUBSCRIPTION_GROUP_LIST", "groupList"), ("DELETE_TOPIC_IN_BROKER_LIST", "topicList")]
        {
            let told = world.run(&format!("{code} 1 json={{\"{list}\":[\"{name}\"]}}")) + &world.run("flush");
            assert!(told.contains("-> 1 SUCCESS"), "{code}: {told}");
        }
    }
    let told = world.run("UPDATE_CONSUMER_OFFSET 1 consumerGroup=g topic=T queueId=0 commitOffset=1")
        + &world.run("flush");
    assert!(told.contains("-> 1 SUCCESS"), "{told}");
    world.run("kill");
    world.run("connect 2");
    let told = world.run("QUERY_CONSUMER_OFFSET 2 consumerGroup=g topic=T queueId=0");
    assert!(told.contains("offset=1"), "{told}");
}

/// Messages that are due later filled the memory for those read ahead; one that was due before them was then never read, and
/// nothing was delivered any more until a restart.
#[test]
fn a_timer_message_is_read_however_many_later_ones_wait() {
    let mut world = World::new();
    world.run("connect 1");
    let send = "SEND_MESSAGE 1 producerGroup=p topic=T defaultTopic=TBW102 defaultTopicQueueNums=1 queueId=0 sysFlag=0 bornTimestamp=5 flag=0";
    for n in 0..18 {
        world.run(&format!("{send} properties=TIMER_DELIVER_MS:1001900,UNIQ_KEY:late{n} body-bytes=4000000"));
        world.run("flush");
    }
    world.run("tick +1");
    world.run(&format!("{send} properties=TIMER_DELIVER_MS:1000500,UNIQ_KEY:early body=early"));
    world.run("flush");
    world.run("tick +500");
    world.run("flush");
    assert!(world.run("GET_MAX_OFFSET 1 topic=T queueId=0").contains("offset=1"));
    for _ in 0..18 {
        world.run("tick +1500");
        world.run("flush");
    }
    assert!(world.run("GET_MAX_OFFSET 1 topic=T queueId=0").contains("offset=19"));
}

/// The answer was longer than any client's frame: it closed the connection and asked again.
#[test]
fn a_list_that_no_frame_takes_is_refused_and_comes_in_pages() {
    let mut world = World::new();
    world.run("connect 1");
    let expression = "x".repeat(60_000);
    for n in 0..300 {
        let told = world.run(&format!(
            "UPDATE_AND_CREATE_SUBSCRIPTIONGROUP 1 json={{\"groupName\":\"g{n}\",\"subscriptionDataSet\":[{{\"topic\":\"T\",\"expression\":\"{expression}\"}}]}}"
        )) + &world.run("flush");
        assert!(told.contains("-> 1 SUCCESS"), "{told:.200}");
    }
    let told = world.run("GET_ALL_SUBSCRIPTIONGROUP_CONFIG 1");
    assert!(told.contains("SYSTEM_ERROR") && told.contains("ask for it in parts"), "{told:.200}");
    let told = world.run("GET_ALL_SUBSCRIPTIONGROUP_CONFIG 1 groupSeq=0 maxGroupNum=20");
    assert!(told.contains("SUCCESS totalGroupNum=310"), "{told:.200}");
    assert_eq!(told.matches("\"groupName\"").count(), 20);
}

#[test]
fn the_table_of_codes_says_what_is_served() {
    use kerolox_wire::codes::{Plane, RequestCode, State};
    for row in RequestCode::ALL {
        let mut world = World::new();
        world.run("connect 1");
        let told = world.run(&format!("{} 1", row.name)) + &world.run("flush");
        let unknown = told.contains(&format!(" request type {} not supported", row.code.0));
        match row.state {
            State::Refused(with) if !unknown && row.planes.contains(&Plane::Broker) => {
                assert!(told.contains(with.name().unwrap()), "{:?}: {told}", row.code);
            }
            state => {
                let served = row.planes.contains(&Plane::Broker) && state == State::Done;
                assert_eq!(unknown, !served, "{:?}: {told}", row.code);
            }
        }
        assert!(!told.is_empty(), "{:?} is not answered", row.code);
    }
}
