//! How much goes through the broker: by topic, by group and topic, and in all. Names and keys are those of Apache's
//! `BrokerStatsManager`. Memory only: after a restart all begins at 0, as there.
//!
//! A count costs a look-up or two and an addition; the passing of time costs nothing until somebody counts or looks.

mod rates;
mod series;

pub(crate) use rates::Totals;

use kerolox_store::Position;
use kerolox_wire::body::BrokerStatsItem;
use kerolox_wire::names;
use rates::{Latency, Rates};
use series::{SLOT_MS, Series};
use std::collections::{BTreeMap, HashMap};
use std::hash::{BuildHasherDefault, DefaultHasher};
use std::sync::Arc;

const DAY_MS: i64 = 86_400_000;

/// Messages and their bytes.
#[derive(Default)]
struct Flow {
    nums: Series,
    bytes: Series,
}

impl Flow {
    fn new(slot: u32) -> Self {
        Self { nums: Series::new(slot), bytes: Series::new(slot) }
    }

    fn add(&mut self, slot: u32, nums: u64, bytes: u64) {
        self.nums.add(slot, nums);
        self.bytes.add(slot, bytes);
    }
}

/// What a group does with a topic.
struct Group {
    got: Flow,
    acked: Series,
    taken: Series,
    sent_back: Series,
    /// By queue, the offset behind the last one that was pulled.
    pulled: Vec<u64>,
}

impl Group {
    fn new(slot: u32) -> Self {
        let series = || Series::new(slot);
        Self {
            got: Flow::new(slot),
            acked: series(),
            taken: series(),
            sent_back: series(),
            pulled: Vec::new(),
        }
    }

    fn is_idle(&self, slot: u32) -> bool {
        [&self.got.nums, &self.acked, &self.taken, &self.sent_back].iter().all(|series| series.is_idle(slot))
    }
}

struct Topic {
    put: Flow,
    /// Not counted as the clients' traffic.
    system: bool,
    groups: BTreeMap<Arc<str>, Group>,
}

/// The broker's own counters.
struct Whole {
    put: Series,
    got: Series,
    acked: Series,
    taken: Series,
    /// Without system topics.
    put_by_clients: Series,
    got_by_clients: Series,
}

/// Messages of clients since the start, and how many there were at the last two midnights (UTC).
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Days {
    pub(crate) now: u64,
    pub(crate) this_morning: u64,
    pub(crate) yesterday_morning: u64,
}

impl Days {
    fn new_day(&mut self) {
        self.yesterday_morning = self.this_morning;
        self.this_morning = self.now;
    }
}

/// All counters.
pub(crate) struct Stats {
    pub(crate) start_ms: i64,
    now_ms: i64,
    slot: u32,
    topics: HashMap<Arc<str>, Topic, BuildHasherDefault<DefaultHasher>>,
    /// Groups of all topics together, and how many there may be.
    pairs: usize,
    pairs_max: usize,
    /// Places for offsets in all [`Group::pulled`].
    pulled: usize,
    pulled_max: usize,
    /// The slot in which idle pairs were last looked for.
    swept: u32,
    whole: Whole,
    pub(crate) totals: Totals,
    /// Messages appended in this batch of inputs.
    fresh: u64,
    pub(crate) put_by_day: Days,
    pub(crate) got_by_day: Days,
    rates: Rates,
    latency: Latency,
}

impl Stats {
    /// `pairs_max`: groups of all topics together that are told apart; `pulled_max`: queues of such whose last pull is
    /// remembered.
    pub(crate) fn new(now_ms: i64, pairs_max: usize, pulled_max: usize) -> Self {
        let series = || Series::new(0);
        Self {
            start_ms: now_ms,
            now_ms,
            slot: 0,
            topics: HashMap::default(),
            pairs: 0,
            pairs_max,
            pulled: 0,
            pulled_max,
            swept: 0,
            whole: Whole {
                put: series(),
                got: series(),
                acked: series(),
                taken: series(),
                put_by_clients: series(),
                got_by_clients: series(),
            },
            totals: Totals::default(),
            fresh: 0,
            put_by_day: Days::default(),
            got_by_day: Days::default(),
            rates: Rates::new(now_ms),
            latency: Latency::new(now_ms),
        }
    }

    /// The time of what is counted from here on.
    pub(crate) fn advance(&mut self, now_ms: i64) {
        if now_ms.div_euclid(DAY_MS) != self.now_ms.div_euclid(DAY_MS) {
            self.put_by_day.new_day();
            self.got_by_day.new_day();
        }
        self.now_ms = now_ms;
        if self.rates.is_due(now_ms) {
            self.rates.advance(now_ms, self.totals);
            self.latency.advance(now_ms);
            self.slot = u32::try_from((now_ms - self.start_ms) / SLOT_MS).unwrap_or(u32::MAX);
        }
    }

    /// Counts a message that was appended to a topic's queue.
    pub(crate) fn put(&mut self, topic: &str, bytes: u64) {
        let slot = self.slot;
        self.totals.put += 1;
        self.totals.put_bytes += bytes;
        self.fresh += 1;
        self.whole.put.add(slot, 1);
        if !self.topics.contains_key(topic) {
            self.add_topic(topic);
        }
        let Some(topic) = self.topics.get_mut(topic) else { return };
        topic.put.add(slot, 1, bytes);
        if !topic.system {
            self.put_by_day.now += 1;
            self.whole.put_by_clients.add(slot, 1);
        }
    }

    /// Counts messages that a group got of a topic.
    pub(crate) fn got(&mut self, topic: &str, group: &Arc<str>, count: u64, bytes: u64) {
        let slot = self.slot;
        self.totals.found += 1;
        self.totals.given += count;
        self.whole.got.add(slot, count);
        if let Some(group) = self.group(topic, group) {
            group.got.add(slot, count, bytes);
        }
        if self.topics.get(topic).is_some_and(|topic| !topic.system) {
            self.got_by_day.now += count;
            self.whole.got_by_clients.add(slot, count);
        }
    }

    /// Counts a read for a consumer that found nothing.
    pub(crate) fn missed(&mut self) {
        self.totals.missed += 1;
    }

    /// A group pulled from a queue, and will go on at `next`.
    pub(crate) fn pulled(&mut self, topic: &str, group: &Arc<str>, queue_id: u32, next: u64) {
        let room = self.pulled_max.saturating_sub(self.pulled);
        let Some(group) = self.group(topic, group) else { return };
        let places = (queue_id as usize + 1).saturating_sub(group.pulled.len());
        if places > room {
            return;
        }
        group.pulled.resize(group.pulled.len() + places, 0);
        if let Some(offset) = group.pulled.get_mut(queue_id as usize) {
            *offset = next;
        }
        self.pulled += places;
    }

    /// Where a group will go on pulling; 0 if it never pulled.
    pub(crate) fn pull_offset(&self, topic: &str, group: &str, queue_id: u32) -> u64 {
        let group = self.topics.get(topic).and_then(|topic| topic.groups.get(group));
        group.and_then(|group| group.pulled.get(queue_id as usize)).copied().unwrap_or(0)
    }

    /// Counts messages that a group acknowledged one by one (pop).
    pub(crate) fn acked(&mut self, topic: &str, group: &Arc<str>, count: u64) {
        let slot = self.slot;
        self.whole.acked.add(slot, count);
        if let Some(group) = self.group(topic, group) {
            group.acked.add(slot, count);
        }
    }

    /// Counts messages that a group took to be acknowledged one by one (pop).
    pub(crate) fn taken(&mut self, topic: &str, group: &Arc<str>, count: u64) {
        let slot = self.slot;
        self.whole.taken.add(slot, count);
        if let Some(group) = self.group(topic, group) {
            group.taken.add(slot, count);
        }
    }

    /// Counts a message that a group sent back.
    pub(crate) fn sent_back(&mut self, topic: &str, group: &Arc<str>) {
        let slot = self.slot;
        if let Some(group) = self.group(topic, group) {
            group.sent_back.add(slot, 1);
        }
    }

    fn add_topic(&mut self, topic: &str) {
        let put = Flow::new(self.slot);
        let new = Topic { put, system: names::is_system_topic(topic), groups: BTreeMap::new() };
        self.topics.insert(Arc::from(topic), new);
    }

    /// The counters of a group and topic; `None` where there is no room for more.
    fn group(&mut self, topic: &str, group: &Arc<str>) -> Option<&mut Group> {
        let known = self.topics.get(topic).is_some_and(|topic| topic.groups.contains_key(group));
        if !known {
            if self.pairs >= self.pairs_max {
                self.sweep();
            }
            if self.pairs >= self.pairs_max {
                return None;
            }
            if !self.topics.contains_key(topic) {
                self.add_topic(topic);
            }
            let new = Group::new(self.slot);
            self.topics.get_mut(topic)?.groups.insert(Arc::clone(group), new);
            self.pairs += 1;
        }
        self.topics.get_mut(topic)?.groups.get_mut(group)
    }

    /// Forgets groups that did nothing for a day; looks once in a slot at most.
    fn sweep(&mut self) {
        if self.swept != self.slot {
            self.swept = self.slot;
            let slot = self.slot;
            self.retain_groups(|_, group| !group.is_idle(slot));
        }
    }

    fn retain_groups(&mut self, keep: impl Fn(&str, &Group) -> bool) {
        for topic in self.topics.values_mut() {
            topic.groups.retain(|name, group| keep(name, group));
        }
        let groups = self.topics.values().flat_map(|topic| topic.groups.values());
        (self.pairs, self.pulled) =
            groups.fold((0, 0), |(pairs, pulled), group| (pairs + 1, pulled + group.pulled.len()));
    }

    pub(crate) fn forget_topic(&mut self, topic: &str) {
        if let Some(topic) = self.topics.remove(topic) {
            self.pairs -= topic.groups.len();
            self.pulled -= topic.groups.values().map(|group| group.pulled.len()).sum::<usize>();
        }
    }

    pub(crate) fn forget_group(&mut self, group: &str) {
        self.retain_groups(|name, _| name != group);
    }

    /// The messages appended in this batch of inputs end at `end`.
    pub(crate) fn appended(&mut self, end: Position) {
        self.latency.appended(self.now_ms, end, std::mem::take(&mut self.fresh));
    }

    /// What lies below `confirmed` is as safe as the flush policy says.
    pub(crate) fn confirmed(&mut self, confirmed: Position) {
        self.latency.confirmed(self.now_ms, confirmed);
    }

    /// The last minute, hour and day of a counter by Apache's name and key; `None` where nothing was ever counted.
    pub(crate) fn view(&self, cluster: &str, name: &str, key: &str) -> Option<[BrokerStatsItem; 3]> {
        let series = match name {
            "TOPIC_PUT_NUMS" => &self.topics.get(key)?.put.nums,
            "TOPIC_PUT_SIZE" => &self.topics.get(key)?.put.bytes,
            _ => {
                if let Some((topic, group)) = key.split_once('@') {
                    let group = self.topics.get(topic)?.groups.get(group)?;
                    match name {
                        "GROUP_GET_NUMS" => &group.got.nums,
                        "GROUP_GET_SIZE" => &group.got.bytes,
                        "GROUP_ACK_NUMS" => &group.acked,
                        "GROUP_CK_NUMS" => &group.taken,
                        "SNDBCK_PUT_NUMS" => &group.sent_back,
                        _ => return None,
                    }
                } else {
                    self.of_broker(name).filter(|_| key == cluster)?
                }
            }
        };
        (!series.is_unused()).then(|| series.sums(self.slot))
    }

    fn of_broker(&self, name: &str) -> Option<&Series> {
        let whole = &self.whole;
        Some(match name {
            "BROKER_PUT_NUMS" => &whole.put,
            "BROKER_GET_NUMS" => &whole.got,
            "BROKER_ACK_NUMS" => &whole.acked,
            "BROKER_CK_NUMS" => &whole.taken,
            "BROKER_PUT_NUMS_WITHOUT_SYSTEM_TOPIC" => &whole.put_by_clients,
            "BROKER_GET_NUMS_WITHOUT_SYSTEM_TOPIC" => &whole.got_by_clients,
            _ => return None,
        })
    }

    /// Messages a second that are put into a topic, in the last minute.
    pub(crate) fn put_tps(&self, topic: &str) -> f64 {
        self.topics.get(topic).map_or(0.0, |topic| topic.put.nums.tps(self.slot))
    }

    /// Messages a second that a group gets of a topic, in the last minute.
    pub(crate) fn got_tps(&self, topic: &str, group: &str) -> f64 {
        let group = self.topics.get(topic).and_then(|topic| topic.groups.get(group));
        group.map_or(0.0, |group| group.got.nums.tps(self.slot))
    }

    /// `of` a second, in the last 10 s, 60 s and 600 s, separated by spaces, as Apache writes it.
    pub(crate) fn rates(&self, of: impl Fn(&Totals) -> u64) -> String {
        [10, 60, 600].map(|seconds| format!("{:?}", self.rates.tps(seconds, &of))).join(" ")
    }

    /// `of` a second, in the last minute.
    pub(crate) fn rate(&self, of: impl Fn(&Totals) -> u64) -> f64 {
        self.rates.tps(60, of)
    }

    pub(crate) fn latency(&self) -> &Latency {
        &self.latency
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: i64 = 1_000;

    fn stats() -> Stats {
        Stats::new(0, 4, 100)
    }

    #[track_caller]
    fn minute(stats: &Stats, name: &str, key: &str) -> Option<u64> {
        stats.view("c", name, key).map(|sums| sums[0].sum)
    }

    #[test]
    fn counts_are_found_under_apaches_names() {
        let (mut stats, group) = (stats(), Arc::from("g"));
        assert_eq!(stats.view("c", "BROKER_PUT_NUMS", "c"), None);
        stats.put("T", 100);
        stats.put("T", 50);
        stats.put(names::SCHEDULE_TOPIC, 1);
        stats.got("T", &group, 2, 150);
        stats.sent_back("T", &group);
        stats.acked("T", &group, 3);
        stats.taken("T", &group, 4);
        stats.advance(10 * SECOND);
        for (name, key, sum) in [
            ("TOPIC_PUT_NUMS", "T", 2),
            ("TOPIC_PUT_SIZE", "T", 150),
            ("GROUP_GET_NUMS", "T@g", 2),
            ("GROUP_GET_SIZE", "T@g", 150),
            ("SNDBCK_PUT_NUMS", "T@g", 1),
            ("GROUP_ACK_NUMS", "T@g", 3),
            ("GROUP_CK_NUMS", "T@g", 4),
            ("BROKER_PUT_NUMS", "c", 3),
            ("BROKER_GET_NUMS", "c", 2),
            ("BROKER_PUT_NUMS_WITHOUT_SYSTEM_TOPIC", "c", 2),
            ("BROKER_GET_NUMS_WITHOUT_SYSTEM_TOPIC", "c", 2),
            ("BROKER_ACK_NUMS", "c", 3),
            ("BROKER_CK_NUMS", "c", 4),
        ] {
            assert_eq!(minute(&stats, name, key), Some(sum), "{name}");
        }
        for (name, key) in
            [("TOPIC_PUT_NUMS", "U"), ("GROUP_GET_NUMS", "T@h"), ("BROKER_PUT_NUMS", "d"), ("NONE", "T")]
        {
            assert_eq!(minute(&stats, name, key), None, "{name} {key}");
        }
        assert!((stats.put_tps("T") - 0.2).abs() < 1e-9 && (stats.got_tps("T", "g") - 0.2).abs() < 1e-9);
        stats.forget_group("g");
        assert_eq!(minute(&stats, "GROUP_GET_NUMS", "T@g"), None);
        stats.forget_topic("T");
        assert_eq!(minute(&stats, "TOPIC_PUT_NUMS", "T"), None);
        assert_eq!((stats.pairs, stats.pulled), (0, 0));
    }

    #[test]
    fn pairs_and_queues_are_limited_and_idle_ones_make_room() {
        let mut stats = stats();
        let group = |n: usize| Arc::from(format!("g{n}"));
        for n in 0..6 {
            stats.got("T", &group(n), 1, 1);
        }
        assert_eq!((stats.pairs, minute(&stats, "GROUP_GET_NUMS", "T@g4")), (4, None));
        stats.pulled("T", &group(0), 89, 7);
        stats.pulled("T", &group(1), 10, 8);
        stats.pulled("T", &group(1), 9, 9);
        let offsets = [(0, 89), (1, 10), (1, 9)].map(|(n, queue)| stats.pull_offset("T", &group(n), queue));
        assert_eq!((offsets, stats.pulled), ([7, 0, 9], 100));
        stats.advance(26 * 3_600 * SECOND);
        stats.got("T", &group(0), 1, 1);
        stats.got("T", &group(5), 1, 1);
        assert_eq!((stats.pairs, stats.pulled), (2, 90));
    }

    #[test]
    fn messages_of_days_are_told_apart_at_midnight() {
        let mut stats = stats();
        stats.put("T", 1);
        stats.advance(DAY_MS);
        stats.put("T", 1);
        stats.put("T", 1);
        let days = stats.put_by_day;
        assert_eq!((days.now, days.this_morning, days.yesterday_morning), (3, 1, 0));
        stats.advance(2 * DAY_MS);
        let days = stats.put_by_day;
        assert_eq!((days.now, days.this_morning, days.yesterday_morning), (3, 3, 1));
    }
}
