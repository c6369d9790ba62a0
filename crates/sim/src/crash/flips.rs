//! Injuries of a store at rest, one at a time: whatever rots, all that is served is right, and what is lost is no more than
//! what was hit, and is named.

use super::Findings;
use super::bugs::Skipped;
use super::driver::{Driver, Kinds, Setup, key};
use super::explore::{play, sizes};
use super::injury::{self, Injury, KINDS};
use super::model::{Event, Expected, Messages, Model, Record, What};
use super::script::{QUEUES, Size, TOPICS, script};
use crate::random::Random;
use bytes::Bytes;
use kerolox_store::disk::{CrashMode, HostileDisk};
use kerolox_store::{Damage, FlushPolicy, Look, Position};
use std::collections::{BTreeMap, BTreeSet};

/// What became of injuries of one kind.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Count {
    /// Nothing that the store has to show was hit, or it has it twice.
    pub harmless: u64,
    /// Records were lost, and each of them was named.
    pub named: u64,
    /// Records lost by one injury, at most; and all together.
    pub records_max: u64,
    pub records: u64,
}

#[derive(Debug, Default)]
pub struct Tally {
    /// By kind and by place.
    pub counts: BTreeMap<(&'static str, &'static str), Count>,
    pub violations: Vec<String>,
}

impl Findings for Tally {
    fn total(&self) -> u64 {
        self.counts.values().map(|c| c.harmless + c.named).sum::<u64>() + self.violations.len() as u64
    }

    fn merge(&mut self, other: Self) {
        for (what, count) in other.counts {
            let mine = self.counts.entry(what).or_default();
            mine.harmless += count.harmless;
            mine.named += count.named;
            mine.records += count.records;
            mine.records_max = mine.records_max.max(count.records_max);
        }
        self.violations.extend(other.violations);
    }

    fn violations(&self) -> &[String] {
        &self.violations
    }
}

/// A store that nobody has open, and what it promised.
struct Base {
    disk: HostileDisk,
    journal: Vec<Event>,
    setup: Setup,
    /// Where its log ends.
    end: Position,
    /// Without index runs and snapshot.
    bare: bool,
}

/// The store after a script: closed in order, killed, or killed and without what is derived.
fn base(seed: u64, steps: usize) -> Result<Base, String> {
    let setup = Setup { flush: FlushPolicy::Sync, sizes: sizes(seed), bug: None };
    let (played, disk) = play(&script(seed, steps), &[], false, setup);
    if let Some(why) = played.violations.first() {
        return Err(why.clone());
    }
    let mut driver = Driver::open(disk.crash(CrashMode::Kill, 0), played.journal, setup)
        .map_err(|e| format!("cannot be opened: {e}"))?;
    driver.write(true);
    let end = driver.end();
    if seed.is_multiple_of(3) && !driver.close() {
        return Err(format!("cannot be closed: {:?}", driver.fenced));
    }
    let disk = driver.disk.crash(CrashMode::Kill, 0);
    let bare = seed % 3 == 1;
    if bare {
        super::explore::remove_derived(&disk);
    }
    Ok(Base { disk, journal: std::mem::take(&mut driver.journal), setup, end, bare })
}

/// Hurts the store that a script of about `steps` steps leaves behind, `count` times, each time from anew.
pub fn flips(seed: u64, steps: usize, count: u64, skipped: Option<Skipped>) -> Tally {
    let mut tally = Tally::default();
    let base = match base(seed, steps) {
        Ok(base) => base,
        Err(why) => {
            tally.violations.push(format!("script {seed}, before anything was hurt: {why}"));
            return tally;
        }
    };
    let model = Model::of(&base.journal);
    let mut random = Random::new(seed);
    for (tries, kind) in (0..20 * count).zip(KINDS.into_iter().cycle()) {
        if tally.total() >= count {
            break;
        }
        let disk = base.disk.crash(CrashMode::Kill, 0);
        let (name, injury) = match skipped {
            Some(skipped) => ("checksum skipped", skipped.hurt(&disk, &model, &mut random)),
            None => (kind.name(), injury::hurt(&disk, &model, base.end, kind, &mut random)),
        };
        let Some(injury) = injury else { continue };
        match judge(&base, &disk, &model, &injury) {
            Ok(lost) => {
                let count = tally.counts.entry((name, injury.place())).or_default();
                *if lost > 0 { &mut count.named } else { &mut count.harmless } += 1;
                count.records += lost;
                count.records_max = count.records_max.max(lost);
            }
            Err(why) => {
                let what = format!("script {seed}, try {tries}, {name} {}: {why}", injury.text());
                tally.violations.push(what);
                if tally.violations.len() > 20 {
                    return tally;
                }
            }
        }
    }
    tally
}

/// What an injury may cost.
struct Cost<'a> {
    injury: &'a Injury,
    /// The records that were hit.
    hit: Vec<&'a Record>,
    /// Nothing derived is there that could help.
    bare: bool,
}

impl Cost<'_> {
    fn is_hit(&self, position: Position) -> bool {
        self.hit.iter().any(|r| r.position == position)
    }

    fn hits(&self, what: impl Fn(&What) -> bool) -> bool {
        self.hit.iter().any(|r| what(&r.what))
    }

    /// Damage is told only where something was hurt.
    fn explains(&self, damage: &Damage) -> bool {
        let end = damage.position + damage.bytes;
        self.injury.of_log().any(|hurt| hurt.start < end && hurt.end > damage.position)
    }
}

/// Opens a store that was hurt, looks at everything, goes on, cuts the power and looks again. Gives the number of records
/// lost, or what is wrong.
fn judge(base: &Base, disk: &HostileDisk, model: &Model, injury: &Injury) -> Result<u64, String> {
    let overlaps = |r: &&Record| injury.of_log().any(|hurt| hurt.start < r.end && hurt.end > r.position);
    let cost = Cost { injury, hit: model.records.iter().filter(overlaps).collect(), bare: base.bare };
    let look_at = Look::open(disk.clone()).and_then(|look| look.verify(&mut Kinds::default(), &mut |_| {}));
    let verified = look_at.map_err(|e| format!("verify: {e}"))?;
    if let Some(damage) = verified.damaged.iter().find(|d| !cost.explains(d)) {
        return Err(format!("verify names {damage:?}"));
    }
    let mut driver = Driver::open(disk.clone(), base.journal.clone(), base.setup)
        .map_err(|e| format!("cannot be opened: {e}"))?;
    let (min, end) = (driver.report.log_min, driver.report.log_max);
    if end < model.acked || min > model.trimmed {
        return Err(format!("the log is {min}..{end}, {} was acknowledged", model.acked));
    }
    // Without a frontier `verify` cannot tell damage from the end of the log.
    let flushed = verified.flushed.unwrap_or(0);
    let named = |at| verified.damaged.iter().any(|d| (d.position..d.position + d.bytes).contains(&at));
    let unnamed = |r: &&&Record| {
        !matches!(r.what, What::Dump) && r.position >= min && r.end <= flushed && !named(r.position)
    };
    if let Some(record) = cost.hit.iter().find(unnamed) {
        return Err(format!("verify does not name the record at {}", record.position));
    }
    let lost = look(&driver, &cost, &[])?;
    go_on(&mut driver)?;
    let told = driver.report.damaged.clone();
    let journal = std::mem::take(&mut driver.journal);
    let after = driver.disk.crash(CrashMode::Lost, 0);
    drop(driver);
    let again = |why: String| format!("after going on and a power cut: {why}");
    let driver = Driver::open(after, journal, base.setup).map_err(|e| again(e.to_string()))?;
    look(&driver, &cost, &told).map_err(again)?;
    Ok(lost)
}

/// A message to each queue: none gets an offset that another one had.
fn go_on(driver: &mut Driver) -> Result<(), String> {
    driver.set_state(17, 20);
    for topic in TOPICS {
        (0..QUEUES).for_each(|queue_id| driver.send(topic, queue_id, Size::Body(40)));
    }
    driver.write(true);
    driver.fenced.as_ref().map_or(Ok(()), |why| Err(format!("fenced after recovery: {why}")))
}

/// Compares what the store shows with what it must show. `told`: what an earlier start has said, whose index leaves out what
/// was damaged. Gives the number of records lost.
fn look(driver: &Driver, cost: &Cost<'_>, told: &[Damage]) -> Result<u64, String> {
    let min = driver.report.log_min;
    let model = Model::of(&driver.journal);
    let expected = model.expected(min, driver.end());
    let (shown, damaged) = driver.shown()?;
    if let Some(damage) = driver.report.damaged.iter().chain(&damaged).find(|d| !cost.explains(d)) {
        return Err(format!("says {damage:?}"));
    }
    let told_of = |at| {
        let mut all = driver.report.damaged.iter().chain(told);
        all.any(|d| (d.position..d.position + d.bytes).contains(&at))
    };
    let named = |at| told_of(at) || damaged.iter().any(|d| d.position == at);
    let mut lost = BTreeSet::new();
    for (queue, (next, messages)) in &expected.queues {
        let none = (0, Messages::new());
        let (_, shown) = shown.queues.get(queue).unwrap_or(&none);
        let missing = messages.iter().filter(|(offset, _)| !shown.contains_key(offset));
        for (offset, (position, _)) in missing {
            if !cost.is_hit(*position) || !named(*position) {
                return Err(format!("{queue:?} offset {offset} at {position} is gone without a word"));
            }
            lost.insert(*position);
        }
        // Readers pass over offsets without a message.
        let skip: u64 = driver.report.damaged.iter().chain(told).map(|d| d.bytes).sum();
        // Also of a queue whose every message was hit, and of which nobody knows any more.
        let shown_next = driver.next_offset(*queue);
        if !(*next..=next + skip).contains(&shown_next) {
            return Err(format!("{queue:?}: next offset is {shown_next}, must be {next}"));
        }
    }
    served(&model, &expected, &shown, cost)?;
    let older = state(driver, &model, &expected, &shown, cost, &named)?;
    let of_state = cost.hits(|what| !matches!(what, What::Message { .. }));
    if let Some(error) = driver.report.state_errors.first().filter(|_| !of_state) {
        return Err(format!("state error: {error:?}"));
    }
    by_key(driver, &model, &expected, cost)?;
    Ok(lost.len() as u64 + older)
}

/// Every message that is served is one that was sent there, and none that was hit.
fn served(model: &Model, expected: &Expected, shown: &Expected, cost: &Cost<'_>) -> Result<(), String> {
    for (queue, (_, messages)) in &shown.queues {
        let must = expected.queues.get(queue).map(|(_, messages)| messages);
        for (offset, message) in messages {
            let sound = !cost.is_hit(message.0);
            // Without the record of its deletion, a topic is there as it was.
            let undeleted = || {
                cost.hits(|what| *what == What::TopicDeleted(queue.0))
                    && was_sent(model, queue, *offset, message)
            };
            if !sound || must.and_then(|m| m.get(offset)) != Some(message) && !undeleted() {
                return Err(format!("{queue:?} offset {offset} shows {}: {}", message.0, key(&message.1)));
            }
        }
    }
    Ok(())
}

fn was_sent(model: &Model, queue: &(&str, u32), offset: u64, (position, body): &(Position, Bytes)) -> bool {
    model.records.iter().filter(|r| r.position == *position).any(|r| match &r.what {
        What::Message { topic, queue_id, offset: own, light, body: sent } => {
            sent == body && ((*topic, *queue_id) == *queue && *own == offset || *light == Some(offset))
        }
        _ => false,
    })
}

/// The state is the newest, or, where a record of it was lost, what it was before that. Gives the number of kinds that are
/// not the newest.
fn state(
    driver: &Driver,
    model: &Model,
    expected: &Expected,
    shown: &Expected,
    cost: &Cost<'_>,
    named: &impl Fn(Position) -> bool,
) -> Result<u64, String> {
    let mut older = 0;
    for kind in 16..19 {
        let (is, must) = (shown.state.get(&kind), expected.state.get(&kind));
        if is == must {
            continue;
        }
        let of_kind = |r: &&Record| matches!(&r.what, What::State { kind: k, .. } if *k == kind);
        let newest = model.records.iter().filter(of_kind).rev();
        let value = |r: &Record| match &r.what {
            What::State { payload, .. } => Some(payload.clone()),
            _ => None,
        };
        // Those that were hit may still count: the state was said once more behind them.
        let mut hit = newest.clone().take_while(|r| cost.is_hit(r.position));
        let missed = hit.clone().position(|r| value(r).as_ref() == is);
        let missed = missed.unwrap_or(hit.clone().count());
        let last = newest.clone().nth(missed).and_then(value);
        let all_named = hit.by_ref().take(missed).all(|r| named(r.position));
        // What was said before the log's beginning was said once more in the snapshot and in dumps: all of them are gone.
        let twice = (cost.bare || cost.injury.hurt.len() > 1) && !driver.report.state_errors.is_empty();
        if !twice && (missed == 0 || !all_named || is != last.as_ref()) {
            let text = |payload: Option<&Bytes>| payload.map(|p| key(p));
            return Err(format!("state {kind} is {:?}, must be {:?}", text(is), text(must)));
        }
        older += 1;
    }
    Ok(older)
}

/// Some of the messages that can be asked for by key are, and no other answers.
fn by_key(driver: &Driver, model: &Model, expected: &Expected, cost: &Cost<'_>) -> Result<(), String> {
    let keyed = |(_, (position, body)): (&u64, &(Position, Bytes))| (*position, key(body));
    for ((topic, queue_id), (_, messages)) in
        expected.queues.iter().filter(|((topic, _), _)| TOPICS.contains(topic))
    {
        for (position, key) in messages.iter().map(keyed).filter(|(position, _)| position % 31 == 0) {
            let light = model
                .records
                .iter()
                .any(|r| r.position == position && matches!(r.what, What::Message { light: Some(_), .. }));
            let must = if light || cost.is_hit(position) { Vec::new() } else { vec![position] };
            let is = driver.by_key(topic, &key)?;
            if is != must {
                return Err(format!("{topic}:{queue_id}, key {key}: {is:?}, must be {must:?}"));
            }
        }
    }
    Ok(())
}
