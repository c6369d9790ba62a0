//! Messages that wait: what went wrong with timers, transactions, offsets and sharing of queues elsewhere, does not here.
//! Tests are named by the issue (of apache/rocketmq) that tells of it; `docs/pitfalls.md` is the list.

// A test may panic; that is how it fails.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

mod world;

use world::World;

/// A world with a client, and the topic `T` of one queue.
fn world() -> World {
    let mut world = World::new();
    world.run("connect 1");
    world.run("UPDATE_AND_CREATE_TOPIC 1 topic=T defaultTopic=TBW102 readQueueNums=1 writeQueueNums=1 perm=6 topicFilterType=SINGLE_TAG topicSysFlag=0 order=false");
    world.run("flush");
    world
}

fn send(world: &mut World, flag: u32, properties: &str, body: &str) -> String {
    world.run(&format!("SEND_MESSAGE 1 producerGroup=p topic=T defaultTopic=TBW102 defaultTopicQueueNums=1 queueId=0 sysFlag={flag} bornTimestamp=1000000 flag=0 properties={properties} {body}"))
}

/// A message for a time of its own, in milliseconds after the beginning; `body` is its unique key, too.
fn send_timer(world: &mut World, due_ms: i64, body: &str) -> String {
    let properties = format!("TIMER_DELIVER_MS:{},UNIQ_KEY:{body}", 1_000_000 + due_ms);
    send(world, 0, &properties, &format!("body={body}"))
}

/// A half message; gives where it lies, and its offset among the half messages.
fn send_half(world: &mut World, more: &str, body: &str) -> (u64, u64) {
    let properties = format!("TRAN_MSG:true,PGROUP:p,UNIQ_KEY:{body}{more}");
    let told = send(world, 4, &properties, &format!("body={body}")) + &world.run("flush");
    (position(&told), number(&told, "queueOffset="))
}

const COMMIT: u32 = 8;
const ROLL_BACK: u32 = 12;
const UNKNOWN: u32 = 0;

fn end(world: &mut World, (position, offset): (u64, u64), how: u32, more: &str) -> String {
    world.run(&format!("END_TRANSACTION 1 {more} producerGroup=p tranStateTableOffset={offset} commitLogOffset={position} commitOrRollback={how} msgId=m")) + &world.run("flush")
}

fn producer_is_there(world: &mut World) {
    world.run(r#"HEART_BEAT 1 json={"clientID":"c1","producerDataSet":[{"groupName":"p"}]}"#);
}

/// How the answer to a send says where the message lies.
fn position(told: &str) -> u64 {
    let id = told.split_once("msgId=").unwrap_or_else(|| panic!("{told}")).1;
    u64::from_str_radix(&id[16..32], 16).unwrap()
}

fn number(told: &str, name: &str) -> u64 {
    let rest = told.split_once(name).unwrap_or_else(|| panic!("no {name}: {told}")).1;
    rest.split_whitespace().next().unwrap().parse().unwrap()
}

/// Bodies of what consumers get of queue 0 of a topic, by its offsets.
fn bodies(world: &mut World, topic: &str) -> Vec<String> {
    let mut got = Vec::new();
    let min = number(&world.run(&format!("GET_MIN_OFFSET 1 topic={topic} queueId=0")), "offset=");
    loop {
        let (from, offset) = (got.len(), min + got.len() as u64);
        let told = world.run(&format!("PULL_MESSAGE 1 consumerGroup=TOOLS_CONSUMER topic={topic} queueId=0 queueOffset={offset} maxMsgNums=32 sysFlag=4 commitOffset=0 suspendTimeoutMillis=0 subVersion=0 subscription=*"));
        let lines = told.lines().filter(|line| line.starts_with("     "));
        got.extend(
            lines.map(|line| line.split_once(' ').unwrap().1.trim().split(' ').nth(1).unwrap().to_owned()),
        );
        if got.len() == from {
            return got.iter().map(|body| body.trim_matches('"').to_owned()).collect();
        }
    }
}

fn restart(world: &mut World, how: &str) {
    world.run(how);
    world.run("connect 1");
    world.run("tick +0");
}

/// Ticks until nothing more is due; each tick's deliveries are written.
fn deliver(world: &mut World) {
    for _ in 0..40 {
        world.run("tick +100");
        world.run("flush");
    }
}

// Timers.

/// A delivery that failed was tried four times and then forgotten (#7927, #7923); or all that were delivered with it came
/// again (#6984). Here the log refuses again and again, through restarts.
#[test]
fn issue_7927_7923_6984_what_the_log_refuses_is_delivered_later_and_once() {
    let mut world = world();
    let sent: Vec<String> = (0..60).map(|n| format!("m{n:02}")).collect();
    for body in &sent {
        send_timer(&mut world, 5_000, body);
        world.run("flush");
    }
    world.run("backlog-limit 1500");
    restart(&mut world, "kill");
    world.run("tick +5000");
    let mut delivered = Vec::new();
    for round in 0..40 {
        // Refused more often than anybody would count.
        for _ in 0..10 {
            world.run("tick +100");
        }
        world.run("flush");
        let now = bodies(&mut world, "T");
        assert!(now.len() < delivered.len() + 12, "the log took {} at once", now.len() - delivered.len());
        delivered = now;
        if round % 5 == 4 {
            restart(&mut world, "power-cut");
        }
    }
    assert_eq!(delivered, sent);
}

/// What was cut off at the end of the log was still in the wheel and its log: a message that nobody had sent for a time was
/// taken for one, for ever (#10668), or those after it were passed over (#7480).
#[test]
fn issue_10668_7480_timers_know_nothing_of_what_was_cut_off() {
    let mut world = world();
    send_timer(&mut world, 5_000, "kept");
    world.run("flush");
    for n in 0..5 {
        send_timer(&mut world, 4_000, &format!("lost{n}"));
    }
    restart(&mut world, "power-cut");
    // What comes lies where those were, and in their places among the timer messages.
    send(&mut world, 0, "UNIQ_KEY:plain", "body=plain");
    send_timer(&mut world, 6_000, "after");
    send_timer(&mut world, 3_000, "before");
    world.run("flush");
    world.run("tick +6000");
    deliver(&mut world);
    assert_eq!(bodies(&mut world, "T"), ["plain", "before", "kept", "after"]);
    restart(&mut world, "kill");
    deliver(&mut world);
    assert_eq!(bodies(&mut world, "T").len(), 4);
}

/// The wheel was not to be had again from its log (#9735), and how far it was delivered was written at leisure: a restart
/// delivered again (#3473). Here a restart comes after each step of a story.
#[test]
fn issue_9735_3473_a_restart_at_any_step_delivers_each_once() {
    let recall = {
        let mut world = world();
        let told = send_timer(&mut world, 3_000, "recalled") + &world.run("flush");
        told.split_once("recallHandle=").unwrap().1.split(' ').next().unwrap().to_owned()
    };
    let steps = 24;
    for how in ["kill", "power-cut"] {
        for at in 0..steps {
            let mut world = world();
            for step in 0..steps {
                match step {
                    0 => drop(send_timer(&mut world, 3_000, "recalled") + &world.run("flush")),
                    1..8 => drop(
                        send_timer(&mut world, 5_000 - 500 * step, &format!("m{step}")) + &world.run("flush"),
                    ),
                    8 => drop(
                        world.run(&format!("RECALL_MESSAGE 1 topic=T recallHandle={recall}"))
                            + &world.run("flush"),
                    ),
                    _ => drop(world.run("tick +400") + &world.run("flush")),
                }
                if step == at {
                    restart(&mut world, how);
                }
            }
            assert_eq!(
                bodies(&mut world, "T"),
                ["m7", "m6", "m5", "m4", "m3", "m2", "m1"],
                "{how} after step {at}"
            );
        }
    }
}

/// A message as long as the limit was longer with the properties that waiting adds; it could not be read, and no timer went
/// off any more.
#[test]
fn issue_9654_the_longest_message_blocks_no_timer() {
    let mut world = world();
    let more = "x".repeat(200);
    send(&mut world, 0, &format!("TIMER_DELIVER_MS:1001000,UNIQ_KEY:long,more:{more}"), "body-bytes=4194304");
    send_timer(&mut world, 2_000, "next");
    world.run("flush");
    for how in ["tick +0", "kill"] {
        restart(&mut world, how);
        world.run("tick +1000");
        deliver(&mut world);
    }
    assert_eq!(bodies(&mut world, "T"), ["4194304", "next"]);
}

/// What waits longer than the log is kept was moved to the end of it more than once.
#[test]
fn issue_11156_what_is_moved_ahead_of_retention_is_delivered_once() {
    const THREE_DAYS_AND_MORE_MS: i64 = 260_000_000;
    let mut world = world();
    for n in 0..20 {
        send_timer(&mut world, 4 * THREE_DAYS_AND_MORE_MS + n, &format!("m{n:02}"));
    }
    world.run("flush");
    for how in ["kill", "tick +0", "power-cut"] {
        for _ in 0..8 {
            world.run("SEND_MESSAGE 1 producerGroup=p topic=Fill defaultTopic=TBW102 defaultTopicQueueNums=1 queueId=0 sysFlag=0 bornTimestamp=1000000 flag=0 properties=UNIQ_KEY:f body-bytes=4194304");
            world.run("flush");
        }
        world.run(&format!("tick +{THREE_DAYS_AND_MORE_MS}"));
        world.run("retain");
        restart(&mut world, how);
        world.run("retain");
    }
    // They were moved: the segment that they came into is gone.
    let left = world.run("GET_MIN_OFFSET 1 topic=Fill queueId=0");
    assert!(number(&left, "offset=") >= 4, "{left}");
    assert!(number(&world.run("GET_MAX_OFFSET 1 topic=rmq_sys_wheel_timer queueId=0"), "offset=") > 20);
    assert_eq!(bodies(&mut world, "T").len(), 0);
    world.run(&format!("tick +{}", THREE_DAYS_AND_MORE_MS + 20));
    deliver(&mut world);
    restart(&mut world, "kill");
    deliver(&mut world);
    assert_eq!(bodies(&mut world, "T"), (0..20).map(|n| format!("m{n:02}")).collect::<Vec<_>>());
}

// Transactions.

/// One whose time without questions ended in the very millisecond of the check was never asked about.
#[test]
fn issue_544_a_half_message_is_asked_about_in_the_millisecond_its_immunity_ends() {
    let mut world = world();
    producer_is_there(&mut world);
    send_half(&mut world, ",CHECK_IMMUNITY_TIME_IN_SECONDS:10", "h");
    assert_eq!(world.run("tick +9999"), "");
    assert!(world.run("tick +1").contains("CHECK_TRANSACTION_STATE"));
}

/// Looking at a half message that was not to be asked about yet counted as asking: it was given up without a question
/// (#8311), and nobody could bring it back (dashboard#4435).
#[test]
fn issue_8311_dashboard_4435_only_questions_count_and_what_is_given_up_comes_back() {
    let mut world = world();
    send_half(&mut world, ",CHECK_IMMUNITY_TIME_IN_SECONDS:600", "h");
    producer_is_there(&mut world);
    for _ in 0..59 {
        assert_eq!(world.run("tick +10000"), "");
        producer_is_there(&mut world);
    }
    let mut asked = 0;
    for _ in 0..60 {
        asked += world.run("tick +10000").matches("CHECK_TRANSACTION_STATE").count();
        world.run("flush");
        producer_is_there(&mut world);
    }
    assert_eq!(asked, 15);
    assert_eq!(bodies(&mut world, "TRANS_CHECK_MAX_TIME_TOPIC"), ["h"]);
    // It lies somewhere before what comes next.
    let end = position(&(send(&mut world, 0, "UNIQ_KEY:u", "body=next") + &world.run("flush")));
    let resumed = (0..end).rev().any(|at| {
        let id = format!("7F00000100002A9F{at:016X}");
        let told = world.run(&format!("RESUME_CHECK_HALF_MESSAGE 1 msgId={id}")) + &world.run("flush");
        told.contains("SUCCESS")
    });
    assert!(resumed);
    producer_is_there(&mut world);
    assert!(world.run("tick +600000").contains("CHECK_TRANSACTION_STATE"));
}

/// Producers were asked about half messages that they had ended, when many were among others that were not.
#[test]
fn issue_1517_nobody_is_asked_about_what_was_ended() {
    let mut world = world();
    producer_is_there(&mut world);
    let halves: Vec<_> = (0..90).map(|n| send_half(&mut world, "", &format!("h{n}"))).collect();
    for (n, half) in halves.iter().enumerate().rev() {
        match n % 3 {
            0 => drop(end(&mut world, *half, COMMIT, "oneway")),
            1 => drop(end(&mut world, *half, ROLL_BACK, "oneway")),
            _ => {}
        }
    }
    for how in ["tick +0", "kill", "power-cut"] {
        restart(&mut world, how);
        producer_is_there(&mut world);
        let mut told = String::new();
        // Reads for questions go a few at a time.
        for step in [30_000, 0, 0, 0] {
            told += &world.run(&format!("tick +{step}"));
        }
        world.run("flush");
        for (n, (position, _)) in halves.iter().enumerate() {
            let asked = told.matches(&format!("commitLogOffset={position} ")).count();
            assert_eq!(asked, usize::from(n % 3 == 2), "h{n} after {how}");
        }
    }
}

/// A producer that did not know yet when it was asked, and then committed, was asked on and on.
#[test]
fn issue_8158_questions_end_with_a_commit_that_comes_late() {
    let mut world = world();
    producer_is_there(&mut world);
    let half = send_half(&mut world, "", "h");
    for wait in [6_000, 30_000] {
        assert!(world.run(&format!("tick +{wait}")).contains("CHECK_TRANSACTION_STATE"));
        assert!(end(&mut world, half, UNKNOWN, "fromTransactionCheck=true").contains("SUCCESS"));
    }
    assert!(end(&mut world, half, COMMIT, "").contains("SUCCESS"));
    for _ in 0..20 {
        assert_eq!(world.run("tick +30000"), "");
        producer_is_there(&mut world);
    }
    assert_eq!(bodies(&mut world, "T"), ["h"]);
}

/// A half message that could not be read ended the round of checks before the round's progress was kept: the next rounds
/// asked about the same messages again and got no further (#1568, #9500).
#[test]
fn issue_1568_9500_a_damaged_half_message_is_in_nobodys_way() {
    let mut world = world();
    let halves: Vec<_> = (0..60).map(|n| send_half(&mut world, "", &format!("h{n}"))).collect();
    for (position, _) in &halves[..40] {
        world.run(&format!("damage {}", position + 90));
    }
    restart(&mut world, "kill");
    producer_is_there(&mut world);
    let mut told = String::new();
    for step in [6_000, 0, 0, 0] {
        told += &world.run(&format!("tick +{step}"));
    }
    assert_eq!(told.matches("CHECK_TRANSACTION_STATE").count(), 20, "{told}");
    assert!(end(&mut world, halves[59], COMMIT, "").contains("SUCCESS"));
    assert!(world.run("tick +29999").is_empty(), "asked again before its time");
    assert_eq!(bodies(&mut world, "T"), ["h59"]);
}

/// A one-way commit that got lost was never made up for. Here one is lost on its way, and one by a power cut.
#[test]
fn issue_2840_a_lost_commit_is_asked_for() {
    let mut world = world();
    let half = send_half(&mut world, "", "h");
    world.run(&format!("END_TRANSACTION 1 oneway producerGroup=p tranStateTableOffset={} commitLogOffset={} commitOrRollback={COMMIT} msgId=m", half.1, half.0));
    restart(&mut world, "power-cut");
    assert_eq!(bodies(&mut world, "T").len(), 0);
    producer_is_there(&mut world);
    let asked = world.run("tick +6000");
    assert!(asked.contains(&format!("commitLogOffset={} ", half.0)), "{asked}");
    end(&mut world, half, COMMIT, "oneway fromTransactionCheck=true");
    restart(&mut world, "power-cut");
    assert_eq!(bodies(&mut world, "T"), ["h"]);
}

// Offsets.

fn consumer(id: &str) -> String {
    format!(
        r#"json={{"clientID":"{id}","consumerDataSet":[{{"groupName":"g","consumeType":"CONSUME_PASSIVELY","messageModel":"CLUSTERING","consumeFromWhere":"CONSUME_FROM_LAST_OFFSET","subscriptionDataSet":[{{"topic":"T","subString":"*","subVersion":1}}]}}]}}"#
    )
}

fn committed(world: &mut World) -> u64 {
    let told = world.run("QUERY_CONSUMER_OFFSET 1 consumerGroup=g topic=T queueId=0");
    number(&told, "offset=")
}

/// The file of offsets was destroyed by a power cut, or seconds behind; all was consumed again (#3401), in order from the
/// least offset (#1825). Here power goes after each answered commit.
#[test]
fn issue_3401_1825_a_commit_that_was_answered_survives_each_power_cut() {
    let mut world = world();
    for n in 0..10 {
        send(&mut world, 0, "UNIQ_KEY:u", &format!("body=m{n}"));
    }
    world.run(&format!("HEART_BEAT 1 {}", consumer("c1")));
    for offset in 1..=10 {
        world.run(&format!(
            "UPDATE_CONSUMER_OFFSET 1 consumerGroup=g topic=T queueId=0 commitOffset={offset}"
        ));
        assert!(world.run("flush").contains("SUCCESS"));
        restart(&mut world, "power-cut");
        assert_eq!(committed(&mut world), offset);
    }
}

/// A restart of the broker lost where a group that pops was: it began at 0 again.
#[test]
fn issue_3503_a_group_that_pops_goes_on_where_it_was() {
    let mut world = world();
    for n in 0..4 {
        send(&mut world, 0, "UNIQ_KEY:u", &format!("body=m{n}"));
    }
    world.run("flush");
    let pop = "POP_MESSAGE 1 consumerGroup=g topic=T queueId=0 maxMsgNums=2 invisibleTime=60000 pollTime=0 bornTime=0 initMode=0";
    let first = world.run(pop) + &world.run("flush");
    assert!(first.contains("\"m0\"") && first.contains("\"m1\"") && !first.contains("\"m2\""), "{first}");
    for offset in 0..2 {
        world.run(&format!("ACK_MESSAGE 1 consumerGroup=g topic=T queueId=0 offset={offset} extraInfo=0,1000000,60000,0,0,broker-a,0,{offset}"));
        assert!(world.run("flush").contains("SUCCESS"));
    }
    for how in ["kill", "power-cut", "power-cut"] {
        restart(&mut world, how);
        assert_eq!(committed(&mut world), 2, "after {how}");
    }
    let next = world.run(pop) + &world.run("flush");
    assert!(next.contains("\"m2\"") && !next.contains("\"m1\""), "{next}");
}

/// A consumer got what was not on stable storage yet and committed behind it; after a crash other messages had those offsets,
/// and were never consumed (#8239, #2830).
#[test]
fn issue_8239_2830_no_offset_passes_what_a_crash_may_take() {
    let mut world = world();
    world.run(&format!("HEART_BEAT 1 {}", consumer("c1")));
    send(&mut world, 0, "UNIQ_KEY:u", "body=safe");
    world.run("flush");
    for n in 0..3 {
        send(&mut world, 0, "UNIQ_KEY:u", &format!("body=lost{n}"));
        world.run("write");
    }
    assert_eq!(bodies(&mut world, "T"), ["safe"]);
    let pop = "POP_MESSAGE 1 consumerGroup=g topic=T queueId=0 maxMsgNums=32 invisibleTime=60000 pollTime=0 bornTime=0 initMode=0";
    let popped = world.run(pop) + &world.run("write");
    assert!(!popped.contains("lost"), "{popped}");
    restart(&mut world, "power-cut");
    send(&mut world, 0, "UNIQ_KEY:u", "body=new");
    world.run("flush");
    assert_eq!(bodies(&mut world, "T"), ["safe", "new"]);
}

/// L12: a message can ask not to wait for stable storage; it is waited for all the same.
#[test]
fn l12_a_producer_that_does_not_want_to_wait_gets_no_answer_before_the_flush() {
    let mut world = world();
    assert_eq!(send(&mut world, 0, "WAIT:false,UNIQ_KEY:u", "body=m"), "");
    assert_eq!(world.run("write"), "");
    assert!(world.run("flush").contains("SUCCESS"));
    restart(&mut world, "power-cut");
    assert_eq!(bodies(&mut world, "T"), ["m"]);
}

// Sharing of queues.

/// Members of a group were told different lists of who they are (#2732), and told of changes over and over (seatunnel#9959).
#[test]
fn issue_2732_all_members_see_the_same_group_and_only_changes_are_told() {
    let mut world = world();
    let list = "consumerIdList\":[\"c1\",\"c2\",\"c3\"]";
    for n in 1..=3 {
        world.run(&format!("connect {n}"));
        let told = world.run(&format!("HEART_BEAT {n} {}", consumer(&format!("c{n}"))));
        assert_eq!(told.matches("NOTIFY_CONSUMER_IDS_CHANGED").count(), n, "{told}");
    }
    for _ in 0..20 {
        world.run("tick +10000");
        for n in 1..=3 {
            let told = world.run(&format!("HEART_BEAT {n} {}", consumer(&format!("c{n}"))));
            assert!(!told.contains("NOTIFY"), "{told}");
            let told = world.run(&format!("GET_CONSUMER_LIST_BY_GROUP {n} consumerGroup=g"));
            assert!(told.contains(list), "{told}");
        }
    }
    assert_eq!(world.run("disconnect 2").matches("NOTIFY_CONSUMER_IDS_CHANGED").count(), 2);
    for n in [1, 3] {
        let told = world.run(&format!("GET_CONSUMER_LIST_BY_GROUP {n} consumerGroup=g"));
        assert!(told.contains("consumerIdList\":[\"c1\",\"c3\"]"), "{told}");
    }
}

/// In order was consumed no more when the only broker that keeps locks was gone (#1459, #2485): here it is back with its
/// log, and gives the locks to who comes, without waiting for old ones to run out.
#[test]
fn issue_1459_2485_after_a_restart_queues_are_locked_again_at_once() {
    let mut world = world();
    world.run("connect 2");
    let lock = |n: u32| {
        format!(
            r#"LOCK_BATCH_MQ {n} json={{"consumerGroup":"g","clientId":"c{n}","mqSet":[{{"topic":"T","brokerName":"broker-a","queueId":0}}]}}"#
        )
    };
    let has = |told: String| told.contains("\"queueId\":0");
    assert!(has(world.run(&lock(1))));
    assert!(!has(world.run(&lock(2))));
    world.run("kill");
    world.run("connect 1");
    world.run("connect 2");
    assert!(has(world.run(&lock(1))));
    assert!(!has(world.run(&lock(2))), "and only one has it");
}

/// What the log had not taken when it was fenced was said to be kept where it was asked for a second time: the second of two
/// equal commits changes nothing, and was taken for one that waits for nothing (seed 761605 of the simulation).
#[test]
fn a_commit_that_the_log_never_took_is_never_acknowledged() {
    let mut world = world();
    let body = format!("body={}", "x".repeat(1_030_000));
    for _ in 0..16 {
        send(&mut world, 0, "", &body);
        world.run("flush");
    }
    world.fill_disk();
    let mut offset = 0;
    let mut commit = |world: &mut World, again: bool| {
        offset += u64::from(!again);
        let asked = format!(
            "UPDATE_CONSUMER_OFFSET 1 consumerGroup=TOOLS_CONSUMER topic=T queueId=0 commitOffset={offset}"
        );
        world.run(&asked) + &world.run("flush")
    };
    let refused = (0..2_000).map(|_| commit(&mut world, false)).find(|told| !told.contains("SUCCESS"));
    assert!(refused.unwrap().contains("SYSTEM_BUSY"));
    assert!(commit(&mut world, true).contains("SYSTEM_BUSY"));
    assert!(world.run("fail-sync").contains("stop:"));
    let told = commit(&mut world, true);
    assert!(told.contains("SYSTEM_BUSY"), "{told}");
}

/// What a client sent to the timer topic itself was delivered to whatever topic it named: also as a record of the state, which the next
/// start would have believed.
#[test]
fn nobody_sends_to_the_timer_topic() {
    let mut world = world();
    for code in ["SEND_MESSAGE", "SEND_BATCH_MESSAGE"] {
        let told = world.run(&format!("{code} 1 producerGroup=p topic=rmq_sys_wheel_timer defaultTopic=TBW102 defaultTopicQueueNums=1 queueId=0 sysFlag=0 bornTimestamp=5 flag=0 batch=true properties=TIMER_OUT_MS:1,REAL_TOPIC:T,REAL_QID:0 body=state"));
        assert!(told.contains("Sending message to topic[rmq_sys_wheel_timer] is forbidden"), "{told}");
    }
}

/// That its producer was asked came behind its end in the log: after a restart it was asked about again, and delivered twice.
#[test]
fn a_half_message_committed_in_the_turn_of_its_check_has_ended() {
    let mut world = world();
    producer_is_there(&mut world);
    let half = send_half(&mut world, ",CHECK_IMMUNITY_TIME_IN_SECONDS:10", "h");
    let commit = format!(
        "END_TRANSACTION 1 producerGroup=p tranStateTableOffset={} commitLogOffset={} commitOrRollback={COMMIT} msgId=m",
        half.1, half.0
    );
    let told = world.run_together(&["tick +10000".to_owned(), commit]);
    assert!(told.contains("CHECK_TRANSACTION_STATE"), "{told}");
    assert!(world.run("flush").contains("SUCCESS"));
    restart(&mut world, "kill");
    producer_is_there(&mut world);
    assert_eq!(world.run("tick +60000"), "");
    assert_eq!(bodies(&mut world, "T"), ["h"]);
}

/// Refused only when they were committed, nobody learned of it: clients commit without waiting for an answer.
#[test]
fn a_half_message_for_a_time_too_far_away_is_refused_when_it_is_sent() {
    let mut world = world();
    let told =
        send(&mut world, 4, "TRAN_MSG:true,PGROUP:p,UNIQ_KEY:h,TIMER_DELIVER_MS:9000000000000", "body=h");
    assert!(told.contains("MESSAGE_ILLEGAL"), "{told}");
}

/// The clock was set back between two runs of the broker: half messages were not asked about until it was there again.
#[test]
fn a_clock_that_was_set_back_keeps_no_producer_from_being_asked() {
    let mut world = world();
    world.run("tick +100000000");
    send_half(&mut world, ",CHECK_IMMUNITY_TIME_IN_SECONDS:10", "h");
    world.now_ms -= 90_000_000;
    restart(&mut world, "kill");
    producer_is_there(&mut world);
    assert_eq!(world.run("tick +9999"), "");
    assert!(world.run("tick +1").contains("CHECK_TRANSACTION_STATE"));
}

/// The settings and offsets went in another record than the messages: one without the other, and what was sent next had offsets that groups
/// had read.
#[test]
fn a_topic_goes_whole_or_not_at_all() {
    let mut world = world();
    for body in ["body=1", "body=2", "body=3"] {
        send(&mut world, 0, "", body);
    }
    world.run("UPDATE_CONSUMER_OFFSET 1 consumerGroup=TOOLS_CONSUMER topic=T queueId=0 commitOffset=3");
    world.run("flush");
    world.run("DELETE_TOPIC_IN_BROKER 1 topic=T");
    world.run("flush");
    let said = world.run("rot-last-state");
    assert!(!said.contains("panicked"), "{said}");
    world.run("connect 1");
    let told = world.run("QUERY_CONSUMER_OFFSET 1 consumerGroup=TOOLS_CONSUMER topic=T queueId=0");
    assert!(told.contains("offset=3"), "{told}");
    let told = world.run("GET_MAX_OFFSET 1 topic=T queueId=0");
    assert!(number(&told, "offset=") >= 3, "{told}");
}

/// A pull that waited for a topic which was deleted and created again was taken for one that is too far: its group did not get the
/// first messages.
#[test]
fn a_pull_that_waits_for_a_topic_is_answered_when_it_is_deleted() {
    let mut world = world();
    send(&mut world, 0, "", "body=old");
    world.run("flush");
    let pull = "PULL_MESSAGE 1 consumerGroup=TOOLS_CONSUMER topic=T queueId=0 queueOffset=1 maxMsgNums=32 sysFlag=6 commitOffset=0 suspendTimeoutMillis=15000 subscription=* subVersion=1";
    assert_eq!(world.run(pull), "");
    let told = world.run("DELETE_TOPIC_IN_BROKER 1 topic=T") + &world.run("tick +0") + &world.run("flush");
    assert!(told.contains("nextBeginOffset=0"), "{told}");
}

/// A clean end took a pull that was told of a reset a moment ago for one that does not obey: the reset was over, and the consumer's last
/// commit undid it.
#[test]
fn a_reset_outlives_a_clean_end() {
    let mut world = world();
    world.run("connect 2");
    world.run(r#"HEART_BEAT 2 json={"clientID":"c2","consumerDataSet":[{"groupName":"g","consumeType":"CONSUME_PASSIVELY","messageModel":"CLUSTERING","subscriptionDataSet":[{"topic":"T","subString":"*"}]}]}"#);
    for body in ["body=1", "body=2"] {
        send(&mut world, 0, "", body);
    }
    world.run("UPDATE_CONSUMER_OFFSET 2 consumerGroup=g topic=T queueId=0 commitOffset=2");
    world.run("flush");
    let pull = "PULL_MESSAGE 2 consumerGroup=g topic=T queueId=0 queueOffset=2 maxMsgNums=32 sysFlag=6 commitOffset=0 suspendTimeoutMillis=15000 subscription=* subVersion=1";
    for _ in 0..2 {
        assert_eq!(world.run(pull), "");
    }
    let told = world
        .run("INVOKE_BROKER_TO_RESET_OFFSET 1 topic=T group=g queueId=0 offset=0 timestamp=-1 isForce=true");
    assert_eq!((told + &world.run("flush")).matches("OFFSET_RESET").count(), 1, "the other goes on waiting");
    world.run("shutdown");
    let told = world.run("UPDATE_CONSUMER_OFFSET 2 consumerGroup=g topic=T queueId=0 commitOffset=2");
    assert!(told.contains("Offset has been previously reset"), "{told}");
}

/// Topics were looked at every ten seconds: a message that came since the last look went with the log that turned over meanwhile.
#[test]
fn a_topic_with_a_longer_retention_keeps_what_came_since_it_was_looked_at() {
    for keeps_unread in [true, false] {
        let mut world = world();
        world.run("UPDATE_AND_CREATE_TOPIC 1 topic=Long defaultTopic=TBW102 readQueueNums=1 writeQueueNums=1 perm=6 topicFilterType=SINGLE_TAG topicSysFlag=0 order=false attributes=+reserve.time=200");
        world.run("flush");
        restart(&mut world, "retention-bytes 12582912");
        if !keeps_unread {
            world.run("UPDATE_BROKER_CONFIG 1 body=keepUnreadMessages=false");
            world.run("flush");
        }
        world.run("retain 2");
        world.run("SEND_MESSAGE 1 producerGroup=p topic=Long defaultTopic=TBW102 defaultTopicQueueNums=1 queueId=0 sysFlag=0 bornTimestamp=5 flag=0 body=kept");
        world.run("flush");
        for n in 0..12 {
            send(&mut world, 0, &format!("UNIQ_KEY:f{n}"), "body-bytes=4000000");
            world.run("flush");
            world.run("retain 2");
        }
        assert_eq!(bodies(&mut world, "Long"), ["kept"], "{keeps_unread}");
    }
}

/// One delayed message held up the log until its time had come, and on a full disk all producers with it.
#[test]
fn delayed_messages_go_on_waiting_at_the_end_of_the_log() {
    for full in [false, true] {
        let mut world = world();
        restart(&mut world, "retention-bytes 12582912");
        for n in 0..100 {
            send(&mut world, 0, &format!("DELAY:18,UNIQ_KEY:d{n}"), &format!("body=d{n}"));
        }
        send(&mut world, 0, "DELAY:3,UNIQ_KEY:soon", "body=soon");
        world.run("flush");
        for n in 0..12 {
            send(&mut world, 0, &format!("UNIQ_KEY:f{n}"), "body-bytes=4000000");
            world.run("flush");
            for _ in 0..if full { 0 } else { 4 } {
                world.run("retain 1");
                world.run("tick +0");
            }
        }
        if full {
            // Nothing is taken any more but what makes room.
            world.crowd_disk();
            world.run("retain 1");
            assert!(send(&mut world, 0, "UNIQ_KEY:no", "body=no").contains("SERVICE_NOT_AVAILABLE"));
            // One of them is due now.
            world.run("tick +10000");
            for _ in 0..8 {
                world.run("retain 1");
                world.run("tick +1000");
            }
        }
        let begin = number(&world.run("GET_MIN_OFFSET 1 topic=T queueId=0"), "offset=");
        assert!(begin > 3, "{full}: {begin}");
        let sent = send(&mut world, 0, "UNIQ_KEY:yes", "body=yes") + &world.run("flush");
        assert!(sent.contains("SUCCESS"), "{full}: {sent}");
        restart(&mut world, "kill");
        let waits =
            |world: &mut World| bodies(world, "T").iter().filter(|body| body.starts_with('d')).count();
        world.run("tick +10000");
        (0..20).for_each(|_| drop(world.run("flush") + &world.run("tick +100")));
        assert_eq!(waits(&mut world), 0);
        assert_eq!(bodies(&mut world, "T").iter().filter(|body| *body == "soon").count(), 1);
        world.run("tick +7150000");
        (0..20).for_each(|_| drop(world.run("flush") + &world.run("tick +10")));
        assert_eq!(waits(&mut world), 0, "not before their time");
        world.run("tick +50000");
        for _ in 0..2 {
            (0..20).for_each(|_| drop(world.run("flush") + &world.run("tick +100")));
            assert_eq!(waits(&mut world), 100, "once");
            restart(&mut world, "kill");
        }
    }
}
