//! Directories as Apache leaves them, and as nobody should.

use super::{Adopted, ApacheFile, ApacheFiles, ENTRIES, Log};
use crate::config::BrokerConfig;
use crate::halves::Half;
use crate::produce::Draft;
use crate::state::{self, State};
use crate::{Broker, Effect, GivenBack, Input};
use bytes::{Buf, Bytes};
use kerolox_store::disk::HostileDisk;
use kerolox_store::{
    AppendError, Appended, NewMessage, Opened, QueueEntry, QueueRead, QueueReadOutcome, ReadPlan, ReadResult,
    Reader, Store, StoreConfig, Writer,
};
use kerolox_wire::body::TopicConfig;
use kerolox_wire::names;
use kerolox_wire::properties::PropertiesBuf;
use kerolox_wire::record;
use std::collections::BTreeMap;
use std::sync::Arc;

mod again;

const NOW_MS: i64 = 1_700_000_000_000;
const REVIVE: &str = "rmq_sys_REVIVE_LOG_DefaultCluster";

/// A data directory whose log is open.
struct Dir {
    store: Store,
    writer: Writer<HostileDisk>,
    reader: Reader<HostileDisk>,
    state: State,
    config: BrokerConfig,
}

impl Dir {
    fn new() -> Self {
        let host = "127.0.0.1:10911".parse().unwrap();
        let mut state = State::default();
        let config = StoreConfig { segment_bytes: 1 << 20, store_host: host, ..StoreConfig::default() };
        let opened = kerolox_store::open(HostileDisk::default(), &config, &mut state, &mut |_| {}).unwrap();
        let Opened { store, writer, reader, .. } = opened;
        Self { store, writer, reader, state, config: BrokerConfig::new("broker-a", host) }
    }

    fn put(&mut self, topic: &str, properties: &[(&str, &str)], body: &str) -> Appended {
        let properties: PropertiesBuf = properties.iter().copied().collect();
        let message = NewMessage {
            topic,
            queue_id: 0,
            flag: 0,
            sys_flag: 0,
            born_ms: NOW_MS,
            born_host: self.config.host,
            reconsume_times: 0,
            prepared_transaction_offset: 0,
            body: body.as_bytes(),
            properties: properties.as_bytes(),
        };
        self.store.append(NOW_MS, &message).unwrap()
    }

    fn messages(&mut self, topic: &str, count: u32) {
        for i in 0..count {
            self.put(topic, &[], &i.to_string());
        }
    }

    fn timer(&mut self, due_ms: i64, id: &str, properties: &[(&str, &str)]) -> u64 {
        let due = due_ms.to_string();
        let mut all = vec![("TIMER_OUT_MS", &*due), ("UNIQ_KEY", id), ("REAL_TOPIC", "T"), ("REAL_QID", "0")];
        all.extend(properties);
        self.put(names::WHEEL_TIMER_TOPIC, &all, "timer").queue_offset
    }

    fn half(&mut self) {
        let half = self.put(names::TRANS_HALF_TOPIC, &[("REAL_TOPIC", "T")], "half");
        let since_ms = NOW_MS;
        let half_of = Half { offset: half.queue_offset, since_ms, immunity_s: -1, checks: 0 };
        self.state.halves.put(half.position, half_of);
    }

    /// A check point or an acknowledgement that is in Apache's wheel.
    fn pop_timer(&mut self, tag: &str, body: &str) {
        let due = (NOW_MS + 60_000).to_string();
        let properties = [("TAGS", tag), ("TIMER_OUT_MS", &due), ("REAL_TOPIC", REVIVE), ("REAL_QID", "0")];
        self.put(names::WHEEL_TIMER_TOPIC, &properties, body);
    }

    fn settle(&mut self) {
        let mut writes = Vec::new();
        self.store.take_writes(&mut writes);
        let (written, flushed) = self.writer.write(&writes, true).unwrap();
        self.store.advance(written, flushed);
    }

    fn adopt(&mut self, files: &ApacheFiles) -> Result<Adopted, String> {
        self.settle();
        let reader = &self.reader;
        self.state.adopt(&self.config, &self.store, files, &mut |plan| reader.execute(plan, NOW_MS))
    }

    /// Offsets in flight of a group and topic, queue 0.
    fn in_flight(&self, group: &str, topic: &str) -> Vec<u64> {
        let flight = self.state.in_flight.get(group, topic, 0);
        flight.map(|flight| flight.taken.keys().copied().collect()).unwrap_or_default()
    }
}

fn files(some: &[(ApacheFile, &str)]) -> ApacheFiles {
    ApacheFiles(some.iter().map(|(file, text)| (*file, Bytes::copy_from_slice(text.as_bytes()))).collect())
}

impl ApacheFiles {
    /// All was delivered before that time, and all below that offset is in the wheel.
    fn with_timers_read(mut self, read_ms: i64, queue_offset: i64) -> Self {
        let bytes = [read_ms, 0, queue_offset, queue_offset].map(i64::to_be_bytes).concat();
        self.0.insert(ApacheFile::TimerCheck, bytes.into());
        self
    }
}

const CHECK_POINT: &str = r#"{"bm":0,"bn":"broker-a","c":"G","d":[0,1,2,3],"it":60000,"n":4,"pt":1699999999000,"q":0,"ro":0,"so":0,"t":"T"}"#;

fn offsets_of(next: u64) -> String {
    format!(r#"{{"offsetTable":{{"T@G":{{0:{next}}}}}}}"#)
}

/// Its `ao` is -1, which is no offset: acknowledged messages came again.
#[test]
fn acknowledgements_that_came_as_a_batch_count() {
    let mut dir = Dir::new();
    dir.messages("T", 4);
    dir.pop_timer("ck", CHECK_POINT);
    let rest = r#""bn":"broker-a","c":"G","pt":1699999999000,"q":0,"so":0,"t":"T"}"#;
    dir.pop_timer("ack", &format!(r#"{{"ao":0,{rest}"#));
    dir.pop_timer("bAck", &format!(r#"{{"ao":-1,"aol":[1,2],{rest}"#));
    let adopted =
        dir.adopt(&files(&[(ApacheFile::Offsets, &offsets_of(4))]).with_timers_read(NOW_MS, 0)).unwrap();
    assert_eq!((dir.in_flight("G", "T"), adopted.in_flight, adopted.timers), (vec![3], 1, 0));
    assert_eq!(
        dir.state.in_flight.message(&dir.state.in_flight.key("G", "T", 0).unwrap(), 3).unwrap().visible_ms,
        1_700_000_059_000
    );
}

#[test]
fn a_check_point_says_itself_what_was_acknowledged_and_that_may_be_its_last_bit() {
    let mut dir = Dir::new();
    dir.messages("T", 32);
    dir.pop_timer(
        "ck",
        &CHECK_POINT
            .replace("[0,1,2,3]", "[]")
            .replace(r#""n":4"#, r#""n":32"#)
            .replace(r#""bm":0"#, r#""bm":-2"#),
    );
    dir.adopt(&files(&[(ApacheFile::Offsets, &offsets_of(32))]).with_timers_read(NOW_MS, 0)).unwrap();
    assert_eq!(dir.in_flight("G", "T"), [0]);
}

/// Apache's #8479: what was popped of a topic that was deleted came from the one that was created again.
#[test]
fn issue_8479_what_was_popped_of_a_deleted_topic_is_not_in_flight_of_a_new_one() {
    let mut dir = Dir::new();
    dir.pop_timer("ck", CHECK_POINT);
    dir.messages("T", 4);
    dir.adopt(&files(&[(ApacheFile::Offsets, &offsets_of(4))]).with_timers_read(NOW_MS, 0)).unwrap();
    assert!(dir.in_flight("G", "T").is_empty());
}

/// Apache writes offsets down every 5 s, check points at once.
#[test]
fn a_group_whose_offset_was_not_written_down_goes_on_behind_what_it_popped() {
    let mut dir = Dir::new();
    dir.messages("T", 8);
    dir.pop_timer("ck", CHECK_POINT);
    dir.pop_timer(
        "ck",
        &CHECK_POINT
            .replace(r#""so":0"#, r#""so":6"#)
            .replace("[0,1,2,3]", "[0]")
            .replace(r#""n":4"#, r#""n":1"#),
    );
    dir.adopt(&files(&[(ApacheFile::Offsets, &offsets_of(1))]).with_timers_read(NOW_MS, 0)).unwrap();
    // Nothing says what became of 4 and 5.
    assert_eq!(
        (dir.in_flight("G", "T"), dir.state.in_flight.get("G", "T", 0).unwrap().next),
        (vec![0, 1, 2, 3], 4)
    );
}

#[test]
fn what_apaches_consumer_has_taken_is_done_with() {
    let mut dir = Dir::new();
    dir.messages("T", 4);
    dir.put(REVIVE, &[("TAGS", "ck")], CHECK_POINT);
    let table = format!(r#"{{"offsetTable":{{"T@G":{{0:4}},"{REVIVE}@CID_RMQ_SYS_REVIVE_GROUP":{{0:0}}}}}}"#);
    dir.adopt(&files(&[(ApacheFile::Offsets, &table)]).with_timers_read(NOW_MS, 0)).unwrap();
    assert!(dir.in_flight("G", "T").is_empty());
}

/// Version 5.5 writes the id alone, unless it is told otherwise: recalled messages came.
#[test]
fn recalled_timer_messages_do_not_come_whichever_way_they_are_named() {
    let mut dir = Dir::new();
    let due = NOW_MS + 30_000;
    let offsets = ["a", "b", "c"].map(|id| dir.timer(due, id, &[]));
    dir.timer(due, "r1", &[("TIMER_DEL_UNIQKEY", "a")]);
    dir.timer(due, "r2", &[("TIMER_DEL_UNIQKEY", "T+b")]);
    let adopted = dir.adopt(&files(&[]).with_timers_read(NOW_MS, 0)).unwrap();
    assert_eq!((adopted.timers, dir.state.timers.done), (1, (NOW_MS - 1, u64::MAX)));
    let recalled = |offset: u64| dir.state.timers.recalled.contains(&(due, offset));
    assert_eq!(offsets.map(recalled), [true, true, false]);
}

#[test]
fn timer_messages_that_were_due_and_never_in_the_wheel_come() {
    let mut dir = Dir::new();
    dir.timer(NOW_MS - 5_000, "delivered", &[]);
    dir.timer(NOW_MS - 4_000, "not taken", &[]);
    dir.timer(NOW_MS + 4_000, "pending", &[]);
    // Put anew, as far ones are: the last one counts.
    dir.timer(NOW_MS + 4_000, "pending", &[]);
    let adopted = dir.adopt(&files(&[]).with_timers_read(NOW_MS, 1)).unwrap();
    assert_eq!((adopted.timers, dir.state.timers.done.0, dir.state.timers.floor), (2, NOW_MS - 4_001, 1));
}

#[test]
fn half_messages_end_by_apaches_messages_and_by_its_progress() {
    let mut dir = Dir::new();
    (0..6).for_each(|_| dir.half());
    dir.put(names::TRANS_OP_HALF_TOPIC, &[("TAGS", "d")], "2,4,");
    let table = r#"{"offsetTable":{"RMQ_SYS_TRANS_HALF_TOPIC@CID_RMQ_SYS_TRANS":{0:1},"RMQ_SYS_TRANS_OP_HALF_TOPIC@CID_RMQ_SYS_TRANS":{0:0}}}"#;
    let adopted = dir.adopt(&files(&[(ApacheFile::Offsets, table)])).unwrap();
    let pending: Vec<u64> = dir.state.halves.iter().map(|(_, half)| half.offset).collect();
    assert_eq!((pending, adopted.half_messages), (vec![1, 3, 5], 3));
}

#[test]
fn a_file_is_taken_over_once_and_settings_alone_change_nothing_that_waits() {
    let mut dir = Dir::new();
    dir.messages("T", 4);
    dir.pop_timer("ck", CHECK_POINT);
    let topics = |perm: u32| {
        format!(
            r#"{{"topicConfigTable":{{"T":{{"topicName":"T","perm":{perm},"readQueueNums":4,"writeQueueNums":4}}}}}}"#
        )
    };
    let both = |perm| {
        files(&[(ApacheFile::Topics, &topics(perm)), (ApacheFile::Offsets, &offsets_of(4))])
            .with_timers_read(NOW_MS, 0)
    };
    assert_eq!(dir.adopt(&both(6)).unwrap().files, 3);
    assert_eq!(dir.adopt(&both(6)).unwrap(), Adopted::default());
    // Somebody edits a file, after Kerolox was there for a while.
    let key = dir.state.in_flight.key("G", "T", 0).unwrap();
    dir.state.pop_ended(&key, &[0, 1, 2, 3]);
    dir.state.commit("G", "T", 0, 9);
    let adopted = dir.adopt(&both(4)).unwrap();
    assert_eq!((adopted.topics, adopted.offsets, adopted.in_flight), (1, 0, 0));
    assert_eq!(dir.state.topics.get("T").unwrap().perm, 4);
    assert_eq!((dir.in_flight("G", "T"), dir.state.offsets.get("G", "T", 0)), (vec![], Some(9)));
}

#[test]
fn topics_and_groups_that_apache_deleted_are_gone() {
    let mut dir = Dir::new();
    dir.messages("Old", 2);
    dir.messages("T", 2);
    let text = r#"{"topicConfigTable":{"T":{"topicName":"T"}}}"#;
    let adopted = dir.adopt(&files(&[(ApacheFile::Topics, text)])).unwrap();
    assert_eq!(adopted.gone_topics.into_iter().collect::<Vec<_>>(), ["Old"]);
    dir.adopt(&files(&[(
        ApacheFile::Groups,
        r#"{"subscriptionGroupTable":{"G":{"groupName":"G"}},"forbiddenTable":{"G":{"T":4}}}"#,
    )]))
    .unwrap();
    assert!(dir.state.groups.get("G").is_some() && dir.state.is_read_forbidden("G", "T"));
    dir.adopt(&files(&[
        (ApacheFile::Topics, r#"{"topicConfigTable":{}}"#),
        (ApacheFile::Groups, r#"{"subscriptionGroupTable":{}}"#),
    ]))
    .unwrap();
    assert!(dir.state.topics.get("T").is_none() && dir.state.groups.get("G").is_none());
}

/// The newer file counts: Apache leaves the other as it was.
#[test]
fn offsets_of_light_message_queues_are_taken_over() {
    let mut dir = Dir::new();
    let light =
        r#"{"dataVersion":{"timestamp":9},"lmqOffsetTable":{"%LMQ%q@%LMQ%c":7},"offsetTable":{"T@G":{0:5}}}"#;
    let others = r#"{"dataVersion":{"timestamp":8},"offsetTable":{"T@G":{0:1}}}"#;
    dir.adopt(&files(&[(ApacheFile::Offsets, others), (ApacheFile::LmqOffsets, light)])).unwrap();
    assert_eq!(
        (dir.state.offsets.get("%LMQ%c", "%LMQ%q", 0), dir.state.offsets.get("G", "T", 0)),
        (Some(7), Some(5))
    );
}

#[test]
fn a_file_that_cannot_be_understood_is_named_and_changes_nothing() {
    use ApacheFile as F;
    let long = "x".repeat(70_000);
    let wrong = [
        (F::Topics, "{\"topicConfigTable\":{\"T\":{\"topi".to_owned()),
        (F::Topics, "{\"topicConfigTable\":7}".to_owned()),
        // All topics, groups or offsets would count as deleted.
        (F::Topics, "{}".to_owned()),
        (F::Topics, "[]".to_owned()),
        (F::Topics, "{\"topicConfigTable\":null}".to_owned()),
        (F::Topics, "{\"topicConfigTabel\":{}}".to_owned()),
        (F::Groups, "{}".to_owned()),
        (F::Offsets, "{}".to_owned()),
        // A topic of a hundred million queues takes all memory as soon as somebody asks for them.
        (
            F::Topics,
            "{\"topicConfigTable\":{\"T\":{\"topicName\":\"T\",\"writeQueueNums\":99999999}}}".to_owned(),
        ),
        (F::Topics, "{\"topicConfigTable\":{\"T\":{\"topicName\":\"T\",\"readQueueNums\":-1}}}".to_owned()),
        (
            F::Topics,
            "{\"topicConfigTable\":{\"T\":{\"topicName\":\"T\",\"perm\":99999999999999999999}}}".to_owned(),
        ),
        (F::Topics, format!("{{\"topicConfigTable\":{{\"T\":{{\"topicName\":\"{long}\"}}}}}}")),
        (F::Topics, "[".repeat(100_000)),
        (F::Groups, "{\"subscriptionGroupTable\":{\"G\":[]}}".to_owned()),
        (F::Groups, "{\"subscriptionGroupTable\":{\"\":{}}}".to_owned()),
        (F::Offsets, "{\"offsetTable\":{\"T@G\":{0:1e99}}}".to_owned()),
        (F::Offsets, "\0\0\0\0".to_owned()),
        (F::LmqOffsets, "{\"lmqOffsetTable\":[]}".to_owned()),
        (F::DelayOffsets, "{\"offsetTable\":{\"1\":-5}}".to_owned()),
        (F::DelayOffsets, "{\"offsetTable\":{\"40\":5}}".to_owned()),
        (F::RequestModes, "{\"messageRequestModeMap\":3}".to_owned()),
        (F::OrderInfo, "{\"table\":{\"T@G\":{\"0\":{\"o\":[\"x\"]}}}}".to_owned()),
        (F::TimerCheck, "short".to_owned()),
    ];
    for (file, text) in wrong {
        let mut dir = Dir::new();
        let why = dir.adopt(&files(&[(F::Offsets, r#"{"offsetTable":{}}"#), (file, &text)])).unwrap_err();
        assert!(why.contains(&format!("config/{}", file.name())), "{why}");
        assert!(dir.state.known_files.is_empty() && dir.state.topics.get("T").is_none(), "{why}");
    }
}

#[test]
fn numbers_and_names_that_make_no_sense_do_no_harm() {
    let mut dir = Dir::new();
    dir.messages("T", 2);
    let max = u64::MAX;
    for body in [
        format!(
            r#"{{"so":{max},"pt":{0},"it":{0},"n":255,"q":0,"t":"T","c":"G","d":[{max},1,2]}}"#,
            i64::MAX
        ),
        format!(r#"{{"so":0,"pt":{0},"it":{0},"n":2,"q":4294967295,"t":"T","c":"G"}}"#, i64::MIN),
        r#"{"so":0,"pt":1,"it":1,"n":200,"q":0,"t":"T","c":"G","bm":-1}"#.to_owned(),
        r#"{"so":-1}"#.to_owned(),
        "cut {".to_owned(),
    ] {
        dir.pop_timer("ck", &body);
        dir.pop_timer("ack", &body);
    }
    let order = format!(
        r#"{{"table":{{"T@G":{{"0":{{"popTime":{0},"i":{0},"o":[{max},{max}],"cm":-1}},"1":{{"o":[5,{max}]}}}},"noAt":{{"0":{{"o":[1]}}}}}}}}"#,
        i64::MAX
    );
    let offsets = format!(
        r#"{{"offsetTable":{{"T@G":{{0:-7,-1:3,99999999999:4}},"@":{{0:1}},"{}@G":{{0:1}}}}}}"#,
        "x".repeat(9_000)
    );
    let all = files(&[(ApacheFile::OrderInfo, &order), (ApacheFile::Offsets, &offsets)]);
    let adopted = dir.adopt(&all.with_timers_read(i64::MIN, -1)).unwrap();
    assert_eq!(adopted.offsets, 0);
}

/// Gives the directory back, and takes it over with nothing but what was given back.
fn there_and_back(dir: Dir) -> (State, GivenBack, BrokerConfig) {
    let Dir { store, mut writer, reader, state, config } = dir;
    let mut broker = Broker::new(config.clone(), NOW_MS, store, state);
    let given = broker.give_back(NOW_MS, &mut |plan| reader.execute(plan, NOW_MS)).unwrap();
    let mut effects = Vec::new();
    broker.finish_batch(NOW_MS, &mut effects);
    let writes = effects.into_iter().filter_map(|effect| match effect {
        Effect::Write(batch) => Some(batch),
        _ => None,
    });
    let (written, flushed) = writer.write(&writes.collect::<Vec<_>>(), true).unwrap();
    broker.handle(NOW_MS, Input::Written { written, flushed }, &mut Vec::new());
    let files = ApacheFiles(given.files.iter().cloned().collect::<BTreeMap<_, _>>());
    let mut meanwhile = files.clone();
    meanwhile.0.insert(ApacheFile::TimerCheck, given.meanwhile.clone());
    assert!(meanwhile.except(&broker.state).0.is_empty());
    // Kerolox itself has nothing to learn from them.
    let again =
        broker.state.adopt(&config, &broker.store, &files, &mut |plan| reader.execute(plan, NOW_MS)).unwrap();
    assert_eq!(again, Adopted::default());
    let mut other = State { halves: std::mem::take(&mut broker.state.halves), ..State::default() };
    other.offsets.set("CID_RMQ_SYS_REVIVE_GROUP", names::WHEEL_TIMER_TOPIC, 0, 0);
    other.adopt(&config, &broker.store, &files, &mut |plan| reader.execute(plan, NOW_MS)).unwrap();
    (other, given, config)
}

#[test]
fn what_is_given_back_is_what_is_taken_over() {
    let mut dir = Dir::new();
    let queues = r#"{"topicConfigTable":{"T":{"topicName":"T"},"U":{"topicName":"U"}}}"#;
    let groups = r#"{"subscriptionGroupTable":{"G":{"groupName":"G"}},"forbiddenTable":{"G":{"U":4}}}"#;
    let order = r#"{"table":{"U@G":{"0":{"popTime":1699999999000,"i":60000,"o":[2,1],"oc":{"2":3},"cm":0,"a":"x"}}}}"#;
    dir.messages("T", 40);
    dir.messages("U", 4);
    dir.pop_timer("ck", CHECK_POINT);
    let pending = dir.timer(NOW_MS + 5_500, "pending", &[]);
    dir.timer(NOW_MS - 5_000, "delivered", &[]);
    let table = r#"{"offsetTable":{"T@G":{0:4},"U@G":{0:2}}}"#;
    let delays = r#"{"offsetTable":{"1":3,"18":4}}"#;
    let all = files(&[
        (ApacheFile::Topics, queues),
        (ApacheFile::Groups, groups),
        (ApacheFile::OrderInfo, order),
        (ApacheFile::Offsets, table),
        (ApacheFile::DelayOffsets, delays),
    ]);
    dir.adopt(&all.with_timers_read(NOW_MS, 9)).unwrap();
    (0..5).for_each(|_| dir.half());
    let ended: Vec<u64> = dir
        .state
        .halves
        .iter()
        .filter(|(_, half)| [0, 2].contains(&half.offset))
        .map(|half| half.0)
        .collect();
    ended.iter().for_each(|position| dir.state.halves.remove(*position));
    let before = (dir.in_flight("G", "T"), dir.in_flight("G", "U"));
    let position = dir.store.watermarks().appended;
    let (state, given, _) = there_and_back(dir);
    let after = |topic: &str| state.in_flight.get("G", topic, 0).unwrap();
    assert_eq!(before.0, after("T").taken.keys().copied().collect::<Vec<_>>());
    assert_eq!(before.1, after("U").taken.keys().copied().collect::<Vec<_>>());
    assert_eq!((after("T").next, after("U").order.as_deref(), after("U").taken[&2].times), (4, Some("x"), 3));
    assert_eq!(after("T").taken[&0].visible_ms, 1_700_000_059_000);
    assert_eq!((state.offsets.get("G", "T", 0), state.offsets.get("G", "U", 0)), (Some(0), Some(2)));
    assert_eq!((state.delay_offsets.first(), state.delay_offsets.get(17)), (Some(&3), Some(&4)));
    assert!(state.topics.get("U").is_some() && state.is_read_forbidden("G", "U"));
    assert_eq!(state.halves.iter().map(|(_, half)| half.offset).collect::<Vec<_>>(), [1, 3, 4]);
    // The pending one, and the topic's last where Apache does not look: it goes on behind that.
    assert_eq!(given.timers.iter().map(|timer| timer.due_ms - NOW_MS).collect::<Vec<_>>(), [5_000, -1_000]);
    assert!(given.timers.iter().all(|timer| timer.position < position));
    // While that is not in its place, Apache reads on from the pending one.
    let next = |mut check: &[u8]| (check.get_i64(), check.get_i64(), check.get_u64());
    let (_, check) = given.files.last().unwrap();
    assert_eq!((next(&given.meanwhile).2, next(check).2), (pending, pending + 2));
    assert!(
        state.timers.done < (NOW_MS + 5_500, pending)
            && !state.timers.recalled.contains(&(NOW_MS + 5_500, pending))
    );
    assert!(given.lost.is_empty(), "{:?}", given.lost);
}

/// Levels that were changed while Kerolox ran: Apache would look into other queues.
#[test]
fn what_waits_where_apache_does_not_look_is_named() {
    let mut dir = Dir::new();
    dir.state.delay_queues_ms = dir.config.delay_levels_ms.clone();
    dir.state.delay_queues_ms.swap(0, 1);
    for _ in 0..2 {
        dir.put(names::SCHEDULE_TOPIC, &[("REAL_TOPIC", "T"), ("REAL_QID", "0")], "waits");
    }
    dir.settle();
    let (_, given, _) = there_and_back(dir);
    let delays = given.files.iter().find(|(file, _)| *file == ApacheFile::DelayOffsets).unwrap();
    assert!(String::from_utf8_lossy(&delays.1).contains("{3:0"), "{:?}", delays.1);
    assert!(given.lost.iter().any(|what| what.contains("delay level 1 ")), "{:?}", given.lost);
}

/// A full disk, end for end: what lay there was forgotten, and then taken for what Apache had written since. Topics that were not in it were
/// deleted.
#[test]
fn files_that_clean_ends_could_not_replace_are_never_taken_for_new_ones() {
    let mut dir = Dir::new();
    let old = files(&[(ApacheFile::Topics, r#"{"topicConfigTable":{"T":{"topicName":"T"}}}"#)]);
    dir.adopt(&old).unwrap();
    dir.state.topics.put(NOW_MS, TopicConfig { topic_name: "U".to_owned(), ..TopicConfig::default() });
    for end in 0..20 {
        let mut entries = Vec::new();
        state::put_known_file(&mut entries, ApacheFile::Topics.name(), end);
        state::put_known_file(&mut entries, ApacheFile::Topics.name(), end + 100);
        dir.state.apply_all(&entries).unwrap();
        let adopted = dir.adopt(&old).unwrap();
        assert_eq!((adopted.files, &*adopted.old_files), (0, &["topics.json"][..]), "{end}");
    }
    assert!(dir.state.topics.get("U").is_some());
}

/// They have no version: what Apache was told may be what was so once.
#[test]
fn request_modes_that_were_known_once_count_if_apache_was_there_since() {
    let mut dir = Dir::new();
    let modes = |mode: &str| {
        let text = format!(
            r#"{{"messageRequestModeMap":{{"T":{{"G":{{"topic":"T","consumerGroup":"G","mode":"{mode}"}}}}}}}}"#
        );
        files(&[(ApacheFile::RequestModes, &text)])
    };
    let now = |dir: &Dir| format!("{:?}", dir.state.request_modes["T"]["G"].mode).to_uppercase();
    dir.adopt(&modes("POP").with_timers_read(NOW_MS, 0)).unwrap();
    dir.adopt(&modes("PULL").with_timers_read(NOW_MS, 0)).unwrap();
    assert_eq!(now(&dir), "PULL");
    dir.adopt(&modes("POP").with_timers_read(NOW_MS + 1_000, 0)).unwrap();
    assert_eq!(now(&dir), "POP");
}

/// More than may wait to be written at once: such a start was refused, as if the disk were slow.
#[test]
fn what_is_taken_over_may_be_more_than_can_wait_to_be_written() {
    let host = "127.0.0.1:10911".parse().unwrap();
    let config = StoreConfig { backlog_bytes_max: 1 << 20, store_host: host, ..StoreConfig::default() };
    let mut state = State::default();
    let opened = kerolox_store::open(HostileDisk::default(), &config, &mut state, &mut |_| {}).unwrap();
    let Opened { store, mut writer, .. } = opened;
    let mut adopted = Adopted::default();
    for queue_id in 0..100_000 {
        state::put_offset_of(&mut adopted.entries, ("Group", "Topic", queue_id), 7);
    }
    assert!(adopted.entries.len() > 2 << 20);
    let mut broker = Broker::new(BrokerConfig::new("broker-a", host), NOW_MS, store, state);
    broker.take_over(NOW_MS, &adopted, &mut |batches| writer.write(batches, true)).unwrap();
    let marks = broker.store.watermarks();
    assert!(marks.flushed > 2 << 20 && marks.flushed == marks.appended);
}

/// A part of which damage left nothing passed for the end: Apache was not given the timers behind it.
#[test]
fn entries_behind_a_lost_part_of_the_index_are_found() {
    let mut dir = Dir::new();
    let count = u64::from(ENTRIES) + 2;
    for _ in 0..count {
        dir.put("T", &[], "");
    }
    dir.settle();
    let entry = |offset| QueueEntry { offset, position: 0, size: 0, tag_code: 0 };
    let mut parts = [Vec::new(), vec![entry(count - 2), entry(count - 1)]].into_iter();
    let mut read = |_: &ReadPlan| ReadResult::Entries(parts.next().unwrap());
    let mut found = Vec::new();
    let mut log = Log { store: &dir.store, read: &mut read };
    log.each_entry("T", 0, 0, &mut |entry| found.push(entry.offset)).unwrap();
    assert_eq!(found, [count - 2, count - 1]);
}

/// Runs what is due of a directory's messages that wait, and gives the broker.
fn deliver(dir: Dir, now_ms: i64) -> Broker {
    let Dir { store, mut writer, reader, state, config } = dir;
    let mut broker = Broker::new(config, now_ms, store, state);
    let mut inputs = vec![Input::Tick];
    for _ in 0..10 {
        let mut effects = Vec::new();
        inputs.drain(..).for_each(|input| broker.handle(now_ms, input, &mut effects));
        broker.finish_batch(now_ms, &mut effects);
        let mut writes = Vec::new();
        for effect in effects {
            match effect {
                Effect::Write(batch) => writes.push(batch),
                Effect::Read { read, plan, .. } => {
                    inputs.push(Input::ReadDone { read, result: reader.execute(&plan, now_ms) });
                }
                _ => {}
            }
        }
        let (written, flushed) = writer.write(&writes, true).unwrap();
        inputs.extend([Input::Written { written, flushed }, Input::Tick]);
    }
    broker
}

/// Clients may send to the timer topic of an Apache: such a message was delivered to the topic of the state, and the next start believed it.
#[test]
fn a_timer_message_for_a_topic_of_the_broker_itself_goes_nowhere() {
    for (topic, queue_id) in [
        (kerolox_store::STATE_TOPIC, "0"),
        (names::WHEEL_TIMER_TOPIC, "0"),
        (names::TRANS_HALF_TOPIC, "0"),
        ("T", "1073741824"),
    ] {
        let mut dir = Dir::new();
        let due = (NOW_MS + 10).to_string();
        let properties =
            [("TIMER_OUT_MS", &*due), ("UNIQ_KEY", "a"), ("REAL_TOPIC", topic), ("REAL_QID", queue_id)];
        dir.put(names::WHEEL_TIMER_TOPIC, &properties, "timer");
        dir.timer(NOW_MS + 10, "b", &[]);
        dir.settle();
        let broker = deliver(dir, NOW_MS + 1_000);
        assert_eq!(broker.store.bounds("T", 0).map(|bounds| bounds.max), Some(1), "{topic}");
        assert_eq!(broker.counters.delay_astray, 1, "{topic}");
    }
}

/// Apache takes properties up to 32,767 bytes: such a message was refused by the log again and again, and all that waited behind it did so
/// for ever.
#[test]
fn messages_of_the_longest_properties_are_in_nobodys_way() {
    let mut dir = Dir::new();
    dir.put("U", &[], "original");
    dir.settle();
    let mut broker = deliver(dir, NOW_MS);
    let records = only(&broker, "U");
    let view = record::split(&records).next().unwrap().unwrap();
    let own = [("MSG_REGION", "DefaultRegion"), ("TRACE_ON", "true")];
    // One that fits without what Apache's broker added, and one that never does.
    for (len, fits) in [(record::PROPERTIES_BYTES_MAX - 20, true), (record::PROPERTIES_BYTES_MAX, false)] {
        let pad = "x".repeat(len);
        let properties: PropertiesBuf = own.into_iter().chain([("p", &*pad)]).collect();
        let draft = Draft { topic: Arc::from("T"), queue_id: 0, properties };
        let moved = broker.append_again(NOW_MS, &view, &draft, |_| {});
        assert_eq!(moved.is_ok(), fits, "{len}");
        broker.or_astray(moved).unwrap();
        assert_eq!(broker.counters.delay_astray, u64::from(!fits));
    }
    let moved = Err(AppendError::Backlog(1));
    assert_eq!(broker.or_astray(moved), Err(AppendError::Backlog(1)), "it is tried again");
}

/// The first message of a topic.
fn only(broker: &Broker, topic: &str) -> Bytes {
    match broker.store.read_queue(QueueRead::one(Arc::from(topic), 0, 0)) {
        QueueReadOutcome::Done(slice) => slice.records,
        QueueReadOutcome::Cold(_) => panic!("it is new"),
    }
}

/// Its producer may have set a time of days before it is asked: what had ended was remembered until then.
#[test]
fn of_a_half_message_that_was_committed_nothing_is_left() {
    let mut dir = Dir::new();
    let half = [("REAL_TOPIC", "T"), ("REAL_QID", "0"), ("CHECK_IMMUNITY_TIME_IN_SECONDS", "900000")];
    let at = dir.put(names::TRANS_HALF_TOPIC, &half, "half");
    dir.state.halves.put(at.position, Half { offset: 0, since_ms: NOW_MS, immunity_s: 900_000, checks: 0 });
    dir.settle();
    let mut broker = deliver(dir, NOW_MS);
    let records = only(&broker, names::TRANS_HALF_TOPIC);
    let view = record::split(&records).next().unwrap().unwrap();
    assert_eq!(broker.checks_scheduled(), 1);
    broker.commit(NOW_MS, at.position, &view).unwrap();
    assert_eq!(broker.checks_scheduled(), 0);
}

/// A directory of Kerolox's own with other delays kept the messages of a new one behind Apache's eighteen queues, where Apache does not look.
#[test]
fn other_delays_from_the_beginning_have_apaches_queues() {
    let mut dir = Dir::new();
    dir.config.delay_levels_ms[14] = 45_000;
    let broker = deliver(dir, NOW_MS);
    assert_eq!(
        (1..=18).map(|level| broker.delay_queue(level)).collect::<Vec<_>>(),
        (0..18).collect::<Vec<_>>()
    );
    // Where something waits already, by other delays, it stays where it is.
    let mut dir = Dir::new();
    dir.put(names::SCHEDULE_TOPIC, &[("REAL_TOPIC", "T"), ("REAL_QID", "0"), ("DELAY", "1")], "waits");
    dir.settle();
    dir.config.delay_levels_ms[14] = 45_000;
    let broker = deliver(dir, NOW_MS);
    assert_eq!((broker.delay_queue(15), broker.delay_queue(16)), (18, 15));
}
