//! Compaction topics against a model: whatever is sent, taken by retention and cut off by crashes, the last safe message of
//! each key is there, at its offset and in order.

// A test may panic; that is how it fails.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

mod world;

use std::collections::BTreeMap;
use world::World;

const QUEUES: u64 = 2;
const KEYS: u64 = 6;

/// What was acknowledged: by queue and key, offset and body of the last message; and where each queue ends.
#[derive(Default)]
struct Model {
    last: BTreeMap<(u64, u64), (u64, String)>,
    next: [u64; QUEUES as usize],
}

struct Random(u64);

impl Random {
    fn below(&mut self, n: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % n
    }
}

fn send(world: &mut World, queue: u64, key: u64, body: &str) {
    world.run(&format!("SEND_BATCH_MESSAGE 1 producerGroup=p topic=C defaultTopic=TBW102 defaultTopicQueueNums=1 queueId={queue} sysFlag=0 bornTimestamp=5 flag=0 batch=k{key}:{body}"));
}

/// What a consumer gets of a queue that begins at its least offset: offset, key, body.
fn consume(world: &mut World, queue: u64) -> Vec<(u64, u64, String)> {
    let number = |told: &str, name: &str| -> u64 {
        told.split_once(name)
            .unwrap_or_else(|| panic!("{told}"))
            .1
            .split_whitespace()
            .next()
            .unwrap()
            .parse()
            .unwrap()
    };
    for _ in 0..8 {
        world.run("tick +1");
    }
    let told = world.run(&format!("GET_MIN_OFFSET 1 topic=C queueId={queue}"));
    let mut from = number(&told, "offset=");
    let mut got = Vec::new();
    loop {
        let told = world.run(&format!("PULL_MESSAGE 1 consumerGroup=g topic=C queueId={queue} queueOffset={from} maxMsgNums=3 sysFlag=4 commitOffset=0 suspendTimeoutMillis=0 subVersion=0 subscription=*"));
        if told.contains("OFFSET_OVERFLOW_ONE") || told.contains("NO_MESSAGE_IN_QUEUE") {
            return got;
        }
        assert!(told.contains("FOUND") || told.contains("NO_MATCHED"), "{told}");
        for line in told.lines().filter(|line| line.trim_start().starts_with("C/")) {
            let (place, rest) = line.trim().split_once(' ').unwrap();
            let (at, offset) = place.split_once('@').unwrap();
            assert_eq!(at, format!("C/{queue}"));
            let body = rest.split('"').nth(1).unwrap().to_owned();
            got.push((offset.parse().unwrap(), number(rest, "KEYS=k"), body));
        }
        let next = number(&told, "nextBeginOffset=");
        assert!(next > from, "{told}");
        from = next;
    }
}

fn check(world: &mut World, model: &Model, seed: u64, step: usize) {
    for queue in 0..QUEUES {
        let got = consume(world, queue);
        assert!(got.is_sorted_by(|a, b| a.0 < b.0), "seed {seed} step {step}: {got:?}");
        for key in 0..KEYS {
            let last = got.iter().rev().find(|(_, k, _)| *k == key);
            let got_last = last.map(|(offset, _, body)| (*offset, body.clone()));
            match model.last.get(&(queue, key)) {
                // An end is there as long as the log has it.
                Some((_, body)) if body.is_empty() => {
                    assert!(
                        got_last.is_none_or(|(_, body)| body.is_empty()),
                        "seed {seed} step {step} key {key}"
                    );
                }
                expected => {
                    assert_eq!(got_last.as_ref(), expected, "seed {seed} step {step} key {key}: {got:?}")
                }
            }
        }
    }
}

#[test]
fn the_last_message_of_each_key_survives_retention_and_crashes() {
    for seed in 1..=12 {
        let mut random = Random(seed * 0x9e37_79b9);
        let mut model = Model::default();
        let mut world = World::new();
        world.run("connect 1");
        world.run("UPDATE_AND_CREATE_TOPIC 1 topic=C defaultTopic=TBW102 readQueueNums=2 writeQueueNums=2 perm=6 topicFilterType=SINGLE_TAG topicSysFlag=0 order=false attributes=+cleanup.policy=COMPACTION");
        world.run("flush");
        for step in 0..60 {
            match random.below(10) {
                0..5 => {
                    let (queue, key) = (random.below(QUEUES), random.below(KEYS));
                    let body = if random.below(6) == 0 { String::new() } else { format!("s{step}") };
                    send(&mut world, queue, key, &body);
                    if random.below(8) == 0 {
                        // Not acknowledged, and gone with the crash.
                        world.run("power-cut");
                        world.run("connect 1");
                    } else {
                        world.run("flush");
                        let offset = model.next[queue as usize];
                        model.next[queue as usize] += 1;
                        model.last.insert((queue, key), (offset, body));
                    }
                }
                5..8 => {
                    for _ in 0..=random.below(3) {
                        world.run("SEND_MESSAGE 1 producerGroup=p topic=Fill defaultTopic=TBW102 defaultTopicQueueNums=1 queueId=0 sysFlag=0 bornTimestamp=5 flag=0 properties=UNIQ_KEY:f body-bytes=4194304");
                        world.run("flush");
                    }
                }
                8 => {
                    world.run("tick +130000000");
                    world.run("retain");
                }
                _ => {
                    let crash = if random.below(2) == 0 { "kill" } else { "power-cut" };
                    world.run(crash);
                    world.run("connect 1");
                }
            }
            if step % 10 == 9 {
                check(&mut world, &model, seed, step);
            }
        }
    }
}
