//! What retention must not take yet, and what it takes of single topics.
//!
//! The log goes by whole segments, oldest first, and the keeper asks for no permission: it is told a position from which on
//! everything is needed. That is the least of what waits for its time or its end (timers, delayed and half messages), what
//! topics of longer retention keep, and what consumer groups have still to read. When that is in the way of a disk
//! that fills up, messages are refused instead, and the answer names the group.

use crate::Broker;
use crate::attributes;
use crate::compaction::is_compacted;
use crate::effect::Effect;
use crate::groups::Groups;
use crate::offsets::Commit;
use crate::pop::Key;
use crate::topics::Topic;
use kerolox_store::{Position, TopicRetention};
use kerolox_wire::body::TopicConfig;
use kerolox_wire::names;
use std::collections::BTreeMap;
use std::sync::Arc;

/// How often topics that have a retention of their own are looked at.
const TOPICS_EVERY_MS: i64 = 10_000;
/// Offsets that are looked at for one report of the keeper.
const OFFSETS_AT_ONCE: usize = 20_000;
const HOUR_MS: i64 = 3_600_000;

/// What the broker knows of retention.
pub(crate) struct Retention {
    /// The keeper is to be told anew what is needed, when the changes of this batch are in the log.
    pub(crate) note_due: bool,
    topics_looked_at_ms: i64,
    /// The first place that a topic with a longer retention than the log's keeps.
    long_from: Option<Position>,
    unread: Unread,
    /// On a full disk: where the log ended when it became full.
    rolled_to: Option<Position>,
    /// What is needed first, and why, unless a group has still to read it.
    held: (Position, &'static str),
    /// Topics whose own retention took messages that nobody was told of yet, and how many.
    expired: Vec<(Arc<str>, u64)>,
}

/// Where the first message lies that a consumer group has still to read. Found by going over all offsets in parts, only when
/// something is to go; until then nothing may, whether or not that counts: topics with a longer retention are looked at then, too.
struct Unread {
    known: Lowest,
    /// Where the round that is under way goes on, and what it found so far.
    round: Option<(Next, Lowest)>,
}

/// First all offsets are looked at, then the retry topics in which their group has none yet.
enum Next {
    Offset(Key),
    Retry(Arc<str>),
}

#[derive(Clone)]
struct Lowest {
    position: Position,
    /// Whose offset that is.
    holder: Option<Commit>,
}

impl Default for Retention {
    fn default() -> Self {
        let known = Lowest { position: 0, holder: None };
        Self {
            note_due: false,
            topics_looked_at_ms: i64::MIN,
            long_from: None,
            unread: Unread { known, round: None },
            rolled_to: None,
            held: (0, ""),
            expired: Vec::new(),
        }
    }
}

/// The number that an attribute says, if it is one above 0.
fn positive(config: &TopicConfig, attribute: &str) -> Option<i64> {
    config.attributes.get(attribute)?.parse().ok().filter(|number| *number > 0)
}

impl Broker {
    /// Whether a group that has an offset of a topic may go on with it. It will not when it was deleted, or when its consumers are
    /// there and want other topics only. (Retry topics and light queues are not what clients name.)
    fn may_read(&self, group: &str, topic: &str) -> bool {
        let left = || {
            let wants = self.clients.consumer_group(group).map(|consumers| &consumers.subscriptions);
            !topic.starts_with('%')
                && wants.is_some_and(|wants| !wants.is_empty() && !wants.contains_key(topic))
        };
        let known = self.state.groups.get(group).is_some() || self.lmq_group(group).is_some();
        !Groups::is_system(group) && known && !left()
    }

    /// Retention wants to take the log up to `below`: which of it do consumer groups have still to read?
    pub(crate) fn look_for_unread(&mut self, now_ms: i64, below: Position) {
        let before = self.unread_from();
        if self.config.keep_unread {
            self.go_over_offsets(below);
        } else {
            self.retention.unread = Unread { known: Lowest { position: below, holder: None }, round: None };
        }
        if self.unread_from() > before {
            // A topic with a longer retention may have messages since the last look.
            self.look_at_topics(now_ms);
        }
    }

    fn go_over_offsets(&mut self, below: Position) {
        // What is appended after the round began is unread as well, for all that this round can tell.
        let end = self.store.watermarks().appended;
        let begin = || {
            let first = Key { group: Arc::from(""), topic: Arc::from(""), queue_id: 0 };
            (Next::Offset(first), Lowest { position: end, holder: None })
        };
        let (from, mut lowest) = self.retention.unread.round.take().unwrap_or_else(begin);
        let next = match from {
            Next::Offset(from) => match self.look_at_offsets(&from, &mut lowest) {
                Some(next) => Some(Next::Offset(next)),
                None => self.look_at_retries(names::RETRY_PREFIX, &mut lowest).map(Next::Retry),
            },
            Next::Retry(from) => self.look_at_retries(&from, &mut lowest).map(Next::Retry),
        };
        match next {
            Some(next) => self.retention.unread.round = Some((next, lowest)),
            // Of what lies above nobody asked: before that goes there is another round, for groups may begin to read what they did
            // not read.
            None if lowest.position > below => {
                self.retention.unread.known = Lowest { position: below, holder: None };
            }
            None => self.retention.unread.known = lowest,
        }
    }

    /// What waits for its time or its end below what retention wants moves to the end of the log, unless something stays there all the same.
    /// On a full disk only what the first segment has, and all of the log once: where nothing but that is in it, no room comes of it.
    pub(crate) fn make_way(&mut self, now_ms: i64, wanted: Option<Position>, out: &mut Vec<Effect>) {
        let full = self.store.disk().full.is_some();
        let once = *self.retention.rolled_to.get_or_insert(self.store.watermarks().appended);
        if !full {
            self.retention.rolled_to = None;
        }
        let below = wanted.unwrap_or(0).min(self.unread_from());
        self.give_up_halves(now_ms, below, out);
        let halves = self.state.halves.iter().next().map(|(position, _)| position);
        let stays = [halves, self.retention.long_from, full.then(|| self.store.first_segment_end())];
        let below = stays.into_iter().flatten().fold(below, Position::min);
        let below = if full && self.store.begin() >= once { 0 } else { below };
        self.roll_delays(now_ms, below);
        if below > 0 {
            self.roll_timers(below, out);
            self.roll_compacted(below, out);
        }
    }

    /// Groups began to read, or go back, at once: not only the next round knows of it.
    pub(crate) fn heed_lowered_offsets(&mut self) {
        let lowered = self.state.offsets.take_lowered();
        self.heed(lowered);
    }

    /// A group that may read (again) what it did not before: it was created, or its consumers subscribed otherwise.
    pub(crate) fn heed_group(&mut self, group: &str) {
        let offsets = self.state.offsets.of_group(group).collect();
        self.heed(offsets);
    }

    fn heed(&mut self, offsets: Vec<Commit>) {
        for Commit { group, topic, queue_id, offset } in offsets {
            if !self.may_read(&group, &topic) {
                continue;
            }
            let mut known = self.retention.unread.known.clone();
            self.lower(&mut known, (&group, &topic, queue_id, offset));
            self.retention.note_due |= known.position < self.retention.unread.known.position;
            self.retention.unread.known = known;
            if let Some((next, mut lowest)) = self.retention.unread.round.take() {
                self.lower(&mut lowest, (&group, &topic, queue_id, offset));
                self.retention.unread.round = Some((next, lowest));
            }
        }
    }

    /// A part of the offsets; where the next one begins.
    fn look_at_offsets(&self, from: &Key, lowest: &mut Lowest) -> Option<Key> {
        for (looked, (group, topic, queue_id, offset)) in self.state.offsets.from(from).enumerate() {
            if looked == OFFSETS_AT_ONCE {
                return Some(Key { group: Arc::clone(group), topic: Arc::clone(topic), queue_id });
            }
            if self.may_read(group, topic) {
                self.lower(lowest, (group, topic, queue_id, offset));
            }
        }
        None
    }

    /// A part of the retry topics; where the next one begins. What came back to a group is all its own: as long as it has no offset
    /// of a queue there, it has everything in it still to read.
    fn look_at_retries(&self, from: &str, lowest: &mut Lowest) -> Option<Arc<str>> {
        let retries =
            self.state.topics.from(from).take_while(|(name, _)| name.starts_with(names::RETRY_PREFIX));
        for (looked, (topic, Topic { config, .. })) in retries.enumerate() {
            if looked == OFFSETS_AT_ONCE {
                return Some(Arc::clone(topic));
            }
            let groups: Vec<_> = self.groups_of_retry(topic).collect();
            let Some(first) = groups.first() else { continue };
            for queue_id in 0..u32::try_from(config.read_queue_nums).unwrap_or(0) {
                if !groups.iter().any(|group| self.state.offsets.get(group, topic, queue_id).is_some()) {
                    self.lower(lowest, (first, topic, queue_id, 0));
                }
            }
        }
        None
    }

    /// Groups whose retry topic that may be: of a group that pulls it has the group's name, of one that pops more behind it.
    fn groups_of_retry<'a>(&'a self, topic: &'a str) -> impl Iterator<Item = &'a Arc<str>> {
        let rest = topic.strip_prefix(names::RETRY_PREFIX).unwrap_or_default();
        let ends = rest.match_indices('_').map(|(at, _)| at).chain([rest.len()]);
        let groups = ends.filter_map(|end| Some(self.state.groups.get_shared(rest.get(..end)?)?.0));
        groups.filter(|group| !Groups::is_system(group))
    }

    /// Whether a retry topic is, by its name, that of a group other than `group` as well: one that pulls, or pops from a topic there is.
    pub(crate) fn is_others_retry(&self, retry: &str, group: &str) -> bool {
        let rest = retry.strip_prefix(names::RETRY_PREFIX).unwrap_or_default();
        self.groups_of_retry(retry).filter(|other| ***other != *group).any(|other| {
            let topic = rest.get(other.len()..).and_then(|topic| topic.strip_prefix('_'));
            topic.is_none_or(|topic| self.state.topics.get(topic).is_some())
        })
    }

    fn lower(&self, lowest: &mut Lowest, (group, topic, queue_id, offset): (&Arc<str>, &Arc<str>, u32, u64)) {
        if let Some(position) = self.store.lies_from(topic, queue_id, offset)
            && position < lowest.position
        {
            let (group, topic) = (Arc::clone(group), Arc::clone(topic));
            *lowest = Lowest { position, holder: Some(Commit { group, topic, queue_id, offset }) };
        }
    }

    /// What the broker tells the keeper, so that it does not go with its segment. (What is added later lies behind all that.)
    pub(crate) fn note_needed(&mut self) {
        let loading = (!self.timers.is_loaded()).then_some(0);
        let halves = self.state.halves.iter().next().map(|(position, _)| position);
        // Queues of levels that never delivered anything have no offset yet.
        let delayed = (0..self.state.delay_queues_ms.len()).filter_map(|index| {
            let offset = self.state.delay_offsets.get(index).copied().unwrap_or(0);
            self.store.lies_from(names::SCHEDULE_TOPIC, index as u32, offset)
        });
        let needs = [
            (Some(self.unread_from()), ""),
            (loading, "it is not known yet which timer messages wait"),
            (self.timers.oldest(), "a timer message waits for its time"),
            (halves, "a half message waits for its end"),
            (delayed.min(), "a delayed message waits for its time"),
            (self.compaction.oldest(), "a compaction topic has its newest message of a key there"),
            (self.retention.long_from, "a topic keeps its messages longer (reserve.time)"),
        ];
        let needs = needs.into_iter().filter_map(|(position, why)| Some((position?, why)));
        let (first, why) = needs.min_by_key(|(position, _)| *position).unwrap_or((Position::MAX, ""));
        self.retention.held = (first, why);
        self.store.need_from(first);
    }

    /// From here on there may be something that a group has still to read.
    pub(crate) fn unread_from(&self) -> Position {
        self.retention.unread.known.position
    }

    /// Why old messages stay though retention would take them, if something needs them.
    pub fn held_by(&self) -> Option<String> {
        let wanted = self.store.disk().wanted?;
        let (_, why) = self.retention.held;
        if !why.is_empty() {
            return Some(why.to_owned()).filter(|_| self.retention.held.0 < wanted);
        }
        let Lowest { position, holder } = &self.retention.unread.known;
        let Commit { group, topic, queue_id, offset } = holder.as_ref().filter(|_| *position < wanted)?;
        Some(format!(
            "group {group} has still to read topic {topic}, queue {queue_id}, from offset {offset} on (let it read, reset its \
             offsets, delete the group, or set keepUnreadMessages=false)"
        ))
    }

    /// Topics whose own retention took messages since this was asked last, and how many.
    pub fn take_expired(&mut self) -> Vec<(Arc<str>, u64)> {
        std::mem::take(&mut self.retention.expired)
    }

    /// The first offset of each queue of a topic that a group has still to read, if that counts.
    fn first_unread(&self, topic: &str) -> BTreeMap<u32, u64> {
        let mut first = BTreeMap::new();
        let offsets = &self.state.offsets;
        let groups =
            offsets.groups_of(topic).filter(|group| self.config.keep_unread && self.may_read(group, topic));
        for (queue_id, offset) in groups.flat_map(|group| offsets.queues_of(group, topic)) {
            let known = first.entry(queue_id).or_insert(offset);
            *known = offset.min(*known);
        }
        first
    }

    /// The retention of topics, or the log's, was changed: until it was looked at anew, nothing goes.
    pub(crate) fn retention_changed(&mut self) {
        self.retention.topics_looked_at_ms = i64::MIN;
        self.retention.long_from = Some(0);
        self.retention.note_due = true;
    }

    /// Topics that keep their messages for a time of their own, or only so many bytes.
    pub(crate) fn expire_topics(&mut self, now_ms: i64) {
        if now_ms >= self.retention.topics_looked_at_ms.saturating_add(TOPICS_EVERY_MS) {
            self.look_at_topics(now_ms);
        }
    }

    fn look_at_topics(&mut self, now_ms: i64) {
        self.retention.topics_looked_at_ms = now_ms;
        let mut long_from = None;
        let own = self.state.topics.unsorted().filter_map(|(topic, Topic { config, .. })| {
            let hours = positive(config, attributes::RESERVE_TIME);
            let bytes = positive(config, attributes::RESERVE_BYTES);
            ((hours.is_some() || bytes.is_some()) && !is_compacted(config))
                .then(|| (Arc::clone(topic), hours, bytes))
        });
        let mut own: Vec<_> = own.collect();
        own.sort();
        for (topic, hours, bytes) in own {
            let before_ms = hours.map(|hours| now_ms.saturating_sub(hours.saturating_mul(HOUR_MS)));
            let retention = TopicRetention { before_ms, bytes_max: bytes.map(i64::unsigned_abs) };
            let unread = self.first_unread(&topic);
            let gone = self.store.expire(&topic, retention, |queue_id| unread.get(&queue_id).copied());
            if gone > 0 {
                self.retention.expired.push((Arc::clone(&topic), gone));
            }
            let longer = hours.is_some_and(|hours| hours > self.config.retention_hours);
            let longer_ms = before_ms.filter(|_| longer);
            let since = longer_ms.and_then(|before_ms| self.store.fresh_from(&topic, before_ms));
            long_from = long_from.into_iter().chain(since).min();
        }
        self.retention.long_from = long_from;
    }
}
