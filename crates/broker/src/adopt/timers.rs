//! Timer messages that Apache has not delivered.

use super::files::ApacheFiles;
use super::{Adopted, ApacheFile, Log, pops};
use crate::state::{self, State};
use crate::timer::Due;
use crate::timers_done::TimersDone;
use bytes::Buf;
use kerolox_wire::names;
use kerolox_wire::properties::name as property;
use kerolox_wire::record::RecordView;
use std::collections::{BTreeSet, HashMap, HashSet};
use std::ops::ControlFlow;

/// How far Apache is. Source: `TimerCheckpoint`.
pub(super) struct Check {
    /// All that was due before was delivered, to the second.
    read_ms: i64,
    /// All below was put into its wheel.
    queue_offset: u64,
}

impl Check {
    /// What `timercheck` says, if it is there.
    pub(super) fn of(files: &ApacheFiles) -> Result<Option<Self>, String> {
        files.get(ApacheFile::TimerCheck).map(Self::read).transpose()
    }

    pub(super) fn earlier_by(self, ms: i64) -> Self {
        Self { read_ms: self.read_ms.saturating_sub(ms), ..self }
    }

    /// Whether Apache delivered what lies in its timer topic.
    pub(super) fn delivered(&self, view: &RecordView<'_>) -> bool {
        view.queue_offset < self.queue_offset && due(view).is_some_and(|due| due.0 < self.read_ms)
    }

    fn read(mut bytes: &[u8]) -> Result<Self, String> {
        let mut number = || bytes.try_get_i64().map_err(|_| "config/timercheck is too short".to_owned());
        let (read_ms, _, queue_offset) = (number()?, number()?, number()?);
        Ok(Self { read_ms, queue_offset: u64::try_from(queue_offset).unwrap_or(0) })
    }
}

/// What a timer message is known by where it was written again: topic and id.
fn id(view: &RecordView<'_>) -> Option<(String, String)> {
    let properties = view.properties();
    let id = properties.get(property::UNIQ_CLIENT_MESSAGE_ID_KEYIDX)?;
    Some((properties.get(property::REAL_TOPIC)?.to_owned(), id.to_owned()))
}

fn due(view: &RecordView<'_>) -> Option<Due> {
    Some((view.properties().get(property::TIMER_OUT_MS)?.parse().ok()?, view.queue_offset))
}

/// Those in front of Apache's progress are done, but not those that were never put into its wheel. Of those behind it, recalls
/// end what they name and themselves, and of one that was written again (far ones are, every two days) the last counts.
pub(super) fn adopt(
    state: &State,
    files: &ApacheFiles,
    log: &mut Log<'_>,
    adopted: &mut Adopted,
) -> Result<(), String> {
    let Some(check) = Check::of(files)? else { return Ok(()) };
    let mut done: Due = (check.read_ms.saturating_sub(1), u64::MAX);
    log.each(names::WHEEL_TIMER_TOPIC, 0, check.queue_offset..u64::MAX, &mut |view| {
        let first = due(view).map_or(i64::MAX, |due| due.0);
        done = done.min((first.saturating_sub(1), u64::MAX));
        ControlFlow::Continue(())
    })?;
    let mut waiting: BTreeSet<Due> = BTreeSet::new();
    let mut by_id: HashMap<(String, String), Due> = HashMap::new();
    let mut ended: BTreeSet<Due> = BTreeSet::new();
    // Ids, with `appendTopicForTimerDeleteKey` (always, up to version 5.4) `TOPIC+ID`.
    let mut recalled: HashSet<String> = HashSet::new();
    log.each(names::WHEEL_TIMER_TOPIC, 0, state.timers.floor..u64::MAX, &mut |view| {
        let Some(due) = due(view) else { return ControlFlow::Continue(()) };
        if check.delivered(view) {
            // Behind the first that waits: it is no longer in front of all that does.
            ended.extend(Some(due).filter(|due| *due > done));
        } else if let Some(id) = view.properties().get(property::TIMER_DEL_UNIQKEY) {
            recalled.insert(id.to_owned());
            ended.insert(due);
        } else if pops::is_of_pop(view) {
            ended.insert(due);
        } else {
            waiting.insert(due);
            ended.extend(id(view).and_then(|id| by_id.insert(id, due)));
        }
        ControlFlow::Continue(())
    })?;
    for ((topic, id), due) in &by_id {
        if recalled.contains(id) || recalled.contains(&format!("{topic}+{id}")) {
            ended.insert(*due);
        }
    }
    // Those that Kerolox itself ended are not in Apache's wheel.
    let pending = || waiting.difference(&ended).filter(|due| !state.timers.recalled.contains(due));
    adopted.timers = pending().count();
    let end = log.store.bounds(names::WHEEL_TIMER_TOPIC, 0).map_or(0, |bounds| bounds.max);
    let floor = pending().map(|due| due.1).min().unwrap_or(end);
    state::put_timer_done(&mut adopted.entries, &TimersDone { done, floor, recalled: BTreeSet::new() });
    ended.iter().for_each(|due| state::put_timer_recalled(&mut adopted.entries, *due));
    Ok(())
}
