//! `--rot`: injuries of every part of a store, a few far apart in each start. What each cost is told apart by asking the log (by position), the
//! queues, the keys and the settings each for itself.

use super::injury::{Injury, files};
use super::{Options, copy, kept};
use crate::compare::server::{Kind, Server};
use crate::ledger::body::{Random, body};
use crate::ledger::client::Client;
use crate::ledger::producer::{Place, Producer};
use crate::ledger::verify::Verifier;
use crate::ledger::{QUEUES, TOPIC};
use anyhow::{Context, Result, ensure};
use kerolox_wire::body::{SubscriptionGroupConfig, from_json, to_json};
use kerolox_wire::header::{QueryMessage, UpdateConsumerOffset, ViewMessage};
use kerolox_wire::record::{RecordHead, RecordView, split};
use kerolox_wire::{Command, RequestCode};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::{Duration, Instant};

const MESSAGES: usize = 4_000;
/// Groups with offsets in each queue.
const GROUPS: usize = 20;
/// Several segments, and files of queues and keys that are full of what was written.
pub(super) const SETTINGS: &str = "flushDiskType=SYNC_FLUSH\nmappedFileSizeCommitLog=1048576\nmappedFileSizeConsumeQueue=6000\nmaxHashSlotNum=5000\nmaxIndexNum=20000\nflushConsumerOffsetInterval=500\n";
/// How long Apache may take to write down its offsets.
const WRITTEN_WAIT: Duration = Duration::from_secs(120);
/// How long a question about what may be damaged waits for its answer.
const ANSWER_WAIT: Duration = Duration::from_secs(2);

const LOG: &str = "log";
const QUEUE: &str = "queues";
const KEYS: &str = "keys";
/// Parts of a store, and where they are; those of one start side by side. Settings are asked for by their names.
fn parts(kind: Kind) -> [&'static [(&'static str, &'static [&'static str])]; 2] {
    match kind {
        Kind::Apache => [
            &[(LOG, &["commitlog"]), (QUEUE, &["consumequeue"]), (KEYS, &["index"])],
            &[
                ("topics", &["config/topics.json"]),
                ("groups", &["config/subscriptionGroup.json"]),
                ("offsets", &["config/consumerOffset.json"]),
            ],
        ],
        Kind::Kerolox => [
            &[(LOG, &["commitlog"]), (QUEUE, &["kerolox/runs"])],
            &[("snapshot, frontier", &["kerolox/snapshot", "kerolox/frontier"])],
        ],
    }
}

/// What injuries of one part came to.
#[derive(Debug, Default)]
pub(super) struct Cost {
    injuries: u64,
    harmless: u64,
    /// Records of the log, or entries of a table, that are gone or not served; the most of one injury; and those of all that were not hit.
    lost: u64,
    lost_most: u64,
    lost_beyond: u64,
    /// Wrong bytes, or what belongs elsewhere.
    wrong: u64,
    pub(super) failed_starts: u64,
}

impl Cost {
    fn add(&mut self, lost: u64, wrong: u64, hit: u64) {
        self.injuries += 1;
        self.harmless += u64::from(lost + wrong == 0);
        self.lost += lost;
        self.lost_most = self.lost_most.max(lost);
        self.lost_beyond += lost.saturating_sub(hit);
        self.wrong += wrong;
    }

    /// No more than what was hit, and nothing wrong.
    pub(super) fn is_held(&self) -> bool {
        self.lost_beyond + self.wrong + self.failed_starts == 0
    }
}

pub(super) type Costs = BTreeMap<&'static str, Cost>;

/// A store that is kept for copies, and what it promised.
struct Base<'a> {
    server: &'a Server,
    producer: Producer,
    /// Position and length of each message in the log, by its place.
    records: BTreeMap<(u32, u64), (u64, u64)>,
    settings: BTreeMap<&'static str, BTreeMap<String, Value>>,
}

/// Makes `count` injuries, half of them to a store that was ended in order and half to one that was killed.
pub(super) fn rot(server: &Server, kind: Kind, count: u64, options: &Options) -> Result<Costs> {
    let mut random = Random::new(options.seed);
    let mut costs = Costs::new();
    for (half, kill) in [(1, false), (2, true)] {
        let base = fill(server, kind, kill)?;
        // Some stores have nothing of a part: that is no reason to go on for ever.
        for round in 0..count as usize {
            if costs.values().map(|cost| cost.injuries).sum::<u64>() >= count * half / 2 {
                break;
            }
            let mut injuries = Vec::new();
            for (part, places) in *parts(kind).get(round % 2).context("a start")? {
                let found: Vec<_> =
                    places.iter().map(|at| files(&kept(server), at)).collect::<Result<_>>()?;
                injuries.extend(Injury::pick(part, &kept(server), &found.concat(), &mut random)?);
            }
            base.judge(&injuries, &mut costs)?;
        }
    }
    Ok(costs)
}

fn fill(server: &Server, kind: Kind, kill: bool) -> Result<Base<'_>> {
    let producer = super::begin_anew(server, MESSAGES)?;
    let mut client = Client::connect(server.broker())?;
    for n in 0..GROUPS {
        let group = format!("group-{n:02}");
        let config = SubscriptionGroupConfig { group_name: group.clone(), ..Default::default() };
        let request = Command::request(RequestCode::UPDATE_AND_CREATE_SUBSCRIPTIONGROUP);
        client.ask(request.with_body(to_json(&config)))?;
        for queue_id in 0..QUEUES as i32 {
            let header = UpdateConsumerOffset {
                consumer_group: &group,
                topic: TOPIC,
                queue_id,
                commit_offset: 10 + n as i64,
                ..UpdateConsumerOffset::default()
            };
            client.ask(Command::request(RequestCode::UPDATE_CONSUMER_OFFSET).with_header(&header))?;
        }
    }
    if kind == Kind::Apache {
        wait_until_written(&server.data().join("config/consumerOffset.json"))?;
    }
    super::keep(server, kill)?;
    // Some of the settings are others after a start, and after queues were read (their reader's group is one more), whatever was hurt:
    // they are asked for after that without injuries.
    server.start_to_first_send()?;
    Verifier::default().read_past_errors(server.broker())?;
    let settings = settings(&mut Client::connect(server.broker())?)?;
    server.kill()?;
    Ok(Base { server, producer, records: records(&kept(server))?, settings })
}

fn wait_until_written(path: &Path) -> Result<()> {
    let begun = Instant::now();
    let last = format!("group-{:02}", GROUPS - 1);
    while !std::fs::read_to_string(path).is_ok_and(|text| text.contains(&last)) {
        ensure!(begun.elapsed() < WRITTEN_WAIT, "{} was not written", path.display());
        std::thread::sleep(Duration::from_millis(50));
    }
    Ok(())
}

/// Where the messages lie in a log that is sound.
fn records(data: &Path) -> Result<BTreeMap<(u32, u64), (u64, u64)>> {
    let mut found = BTreeMap::new();
    for file in files(data, "commitlog")? {
        let bytes = std::fs::read(data.join(file))?;
        let mut rest = &bytes[..];
        while let Some(head) = RecordHead::peek(rest).filter(|head| head.is_record()) {
            let view = RecordView::parse(rest)?;
            if view.topic == TOPIC {
                found.insert((view.queue_id, view.queue_offset), (view.position, u64::from(head.total)));
            }
            rest = rest.get(head.total as usize..).unwrap_or_default();
        }
    }
    ensure!(found.len() == MESSAGES, "{} messages lie in the log", found.len());
    Ok(found)
}

/// The tables of settings as the broker says them.
fn settings(client: &mut Client) -> Result<BTreeMap<&'static str, BTreeMap<String, Value>>> {
    let mut all = BTreeMap::new();
    for (name, code, table) in [
        ("topics", RequestCode::GET_ALL_TOPIC_CONFIG, "topicConfigTable"),
        ("groups", RequestCode::GET_ALL_SUBSCRIPTIONGROUP_CONFIG, "subscriptionGroupTable"),
        ("offsets", RequestCode::GET_ALL_CONSUMER_OFFSET, "offsetTable"),
    ] {
        let answer = client.ask(Command::request(code))?;
        let said: Value = from_json(&answer.body)?;
        let table = said.get(table).and_then(Value::as_object).context("a table of settings")?;
        all.insert(name, table.clone().into_iter().collect());
    }
    Ok(all)
}

impl Base<'_> {
    /// A start with these injuries, each counted to its part. If it fails, each gets a start of its own.
    fn judge(&self, injuries: &[Injury], costs: &mut Costs) -> Result<()> {
        copy(&kept(self.server), &self.server.data())?;
        injuries.iter().try_for_each(|injury| injury.apply(&self.server.data()))?;
        let texts: Vec<String> = injuries.iter().map(Injury::text).collect();
        let result = self.server.start_to_first_send().and_then(|_| self.look(injuries));
        // Whatever state it is in; the next start begins with a copy.
        let _ = self.server.kill();
        match (result, injuries) {
            (Ok(found), _) => {
                for (injury, (lost, wrong)) in injuries.iter().zip(found) {
                    let hit = self.hit(injury);
                    println!("{}: {}: {lost} lost ({hit} hit), {wrong} wrong", injury.part, injury.text());
                    costs.entry(injury.part).or_default().add(lost, wrong, hit);
                }
            }
            (Err(why), [injury]) => {
                println!("{}: {}: would not start: {why:#}", injury.part, injury.text());
                let cost = costs.entry(injury.part).or_default();
                cost.injuries += 1;
                cost.failed_starts += 1;
            }
            (Err(why), _) => {
                println!("would not start with all of {}: {why:#}", texts.join(", "));
                injuries.iter().try_for_each(|one| self.judge(std::slice::from_ref(one), costs))?;
            }
        }
        Ok(())
    }

    /// What lies where an injury is: messages of the log, and entries of Apache's queues, keys and tables, of which one is allowed to be lost.
    fn hit(&self, injury: &Injury) -> u64 {
        match injury.part {
            LOG => self.hit_messages(injury).len() as u64,
            // Source: `ConsumeQueue.CQ_STORE_UNIT_SIZE`, `IndexFile.indexSize`.
            QUEUE | KEYS if injury.file.starts_with("consumequeue") || injury.file.starts_with("index") => {
                (injury.changed.end - 1) / 20 - injury.changed.start / 20 + 1
            }
            _ if injury.file.starts_with("config") => 1,
            _ => 0,
        }
    }

    fn hit_messages(&self, injury: &Injury) -> BTreeSet<(u32, u64)> {
        let name = injury.file.file_name().and_then(|name| name.to_str());
        let base = name.filter(|_| injury.part == LOG).and_then(|name| name.parse::<u64>().ok());
        let Some(base) = base else { return BTreeSet::new() };
        let hurt = base + injury.changed.start..base + injury.changed.end;
        let is_hit = |(at, len): &(u64, u64)| *at < hurt.end && at + len > hurt.start;
        self.records.iter().filter(|(_, record)| is_hit(record)).map(|(place, _)| *place).collect()
    }

    /// Of each injury: what is lost and what is wrong.
    fn look(&self, injuries: &[Injury]) -> Result<Vec<(u64, u64)>> {
        let mut verifier = Verifier::default();
        verifier.read_past_errors(self.server.broker())?;
        let hit: BTreeSet<_> = injuries.iter().flat_map(|injury| self.hit_messages(injury)).collect();
        let (of_log, of_queue): (Vec<&Place>, Vec<&Place>) =
            verifier.wrong().iter().partition(|place| hit.contains(&(place.queue_id, place.offset)));
        let mut client = self.client()?;
        let mut lost = BTreeMap::from([(LOG, 0), (QUEUE, 0), (KEYS, 0)]);
        let wrong = BTreeMap::from([(LOG, of_log.len() as u64), (QUEUE, of_queue.len() as u64)]);
        for (number, place) in self.producer.sent.iter().enumerate() {
            let place = place.context("all were acknowledged")?;
            let found = verifier.found((self.producer.id, number as u64)).is_some_and(|f| f.place == place);
            let what = match found {
                true if self.has_key(&mut client, number as u64)? => continue,
                true => KEYS,
                false if self.is_in_log(&mut client, place, number as u64)? => QUEUE,
                false => LOG,
            };
            *lost.entry(what).or_default() += 1;
        }
        // Messages that are served wrongly are not lost, too.
        for (what, wrong) in &wrong {
            lost.entry(what).and_modify(|lost: &mut u64| *lost = lost.saturating_sub(*wrong));
        }
        let now = settings(&mut client)?;
        let mut all: BTreeMap<&str, (u64, u64)> =
            self.settings.iter().map(|(name, before)| (*name, unlike(before, now.get(name)))).collect();
        let of_messages = |part: &str| (*lost.get(part).unwrap_or(&0), *wrong.get(part).unwrap_or(&0));
        all.extend([LOG, QUEUE, KEYS].map(|part| (part, of_messages(part))));
        let mut of_each: Vec<_> =
            injuries.iter().map(|injury| all.remove(injury.part).unwrap_or_default()).collect();
        // What else there is to see comes from the first of them.
        if let Some(first) = of_each.first_mut() {
            *first = all.values().fold(*first, |sum, other| (sum.0 + other.0, sum.1 + other.1));
        }
        Ok(of_each)
    }

    fn client(&self) -> Result<Client> {
        let mut client = Client::connect(self.server.broker())?;
        client.set_patience(ANSWER_WAIT)?;
        Ok(client)
    }

    fn has_key(&self, client: &mut Client, number: u64) -> Result<bool> {
        let key = format!("{}-{number}", self.producer.id);
        let header = QueryMessage {
            topic: TOPIC,
            key: &key,
            max_num: 32,
            begin_timestamp: 0,
            end_timestamp: i64::MAX,
            ..QueryMessage::default()
        };
        let answer = client.exchange(Command::request(RequestCode::QUERY_MESSAGE).with_header(&header))?;
        let sent = body(self.producer.id, number);
        Ok(split(&answer.body).map_while(Result::ok).any(|view| view.body == sent))
    }

    fn is_in_log(&self, client: &mut Client, place: Place, number: u64) -> Result<bool> {
        let (position, _) = self.records.get(&(place.queue_id, place.offset)).context("it was sent")?;
        let header = ViewMessage { topic: Some(TOPIC), offset: *position as i64, ..ViewMessage::default() };
        let answer = client.exchange(Command::request(RequestCode::VIEW_MESSAGE_BY_ID).with_header(&header));
        // Some questions about what is damaged have no answer, or end the connection.
        let Ok(answer) = answer else {
            *client = self.client()?;
            return Ok(false);
        };
        let sent = body(self.producer.id, number);
        Ok(RecordView::parse(&answer.body).is_ok_and(|view| view.body == sent))
    }
}

/// Entries of a table that are gone, and those that say something else.
fn unlike(before: &BTreeMap<String, Value>, now: Option<&BTreeMap<String, Value>>) -> (u64, u64) {
    let empty = BTreeMap::new();
    let now = now.unwrap_or(&empty);
    let (mut lost, mut wrong) = (0, 0);
    for (name, value) in before {
        match now.get(name) {
            None => lost += 1,
            Some(other) => wrong += u64::from(other != value),
        }
    }
    // What is new has no other name: an entry that became another one is lost and wrong, once each.
    let new = now.keys().filter(|name| !before.contains_key(*name)).count() as u64;
    (lost, wrong + new)
}
