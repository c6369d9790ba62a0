//! All states of a script: every crash point, every way to crash there; and every call, failed in every way.

use super::Findings;
use super::bugs::Bug;
use super::driver::{Driver, SIZES, Setup, Sizes};
use super::model::{Event, Model};
use super::script::{Step, script};
use kerolox_store::FlushPolicy;
use kerolox_store::disk::{CrashMode, Fault, FaultAction, HostileDisk, Moment, OpKind};
use std::collections::BTreeMap;

/// The ways to crash that are tried at each point.
pub const MODES: [CrashMode; 7] = [
    CrashMode::Kill,
    CrashMode::KillEvicted,
    CrashMode::Lost,
    CrashMode::Torn { sector: 512 },
    CrashMode::Torn { sector: 4096 },
    CrashMode::Reordered { sector: 512 },
    CrashMode::Reordered { sector: 4096 },
];

/// About as many calls of its disk has a start.
const START_CALLS: u64 = 97;

/// What was tried, and what was wrong.
#[derive(Debug, Default)]
pub struct Summary {
    /// States recovered, by the way they came about.
    pub states: BTreeMap<&'static str, u64>,
    pub crash_points: u64,
    /// Un-acknowledged records that recovery kept, and that it cut off.
    pub kept: u64,
    pub cut: u64,
    /// What the scripts made the store do to its disk: kind of call and directory.
    pub calls: BTreeMap<(OpKind, String), u64>,
    pub violations: Vec<String>,
}

impl Findings for Summary {
    fn total(&self) -> u64 {
        self.states.values().sum()
    }

    fn merge(&mut self, other: Self) {
        other.states.into_iter().for_each(|(kind, n)| *self.states.entry(kind).or_default() += n);
        self.crash_points += other.crash_points;
        self.kept += other.kept;
        self.cut += other.cut;
        other.calls.into_iter().for_each(|(call, n)| *self.calls.entry(call).or_default() += n);
        self.violations.extend(other.violations);
    }

    fn violations(&self) -> &[String] {
        &self.violations
    }
}

impl Summary {
    fn count(&mut self, kind: &'static str) {
        *self.states.entry(kind).or_default() += 1;
    }
}

fn name(mode: CrashMode) -> &'static str {
    match mode {
        CrashMode::Kill => "kill -9",
        CrashMode::KillEvicted => "kill -9, pages of failed syncs dropped",
        CrashMode::Lost => "power cut, un-synced lost",
        CrashMode::Torn { sector: 512 } => "power cut, torn at 512 B",
        CrashMode::Torn { .. } => "power cut, torn at 4 KiB",
        CrashMode::Reordered { sector: 512 } => "power cut, any 512 B sectors kept",
        CrashMode::Reordered { .. } => "power cut, any 4 KiB blocks kept",
    }
}

pub(super) fn sizes(seed: u64) -> Sizes {
    let [one, several, odd] = SIZES;
    match seed % 8 {
        2 | 3 => several,
        6 => odd,
        _ => one,
    }
}

/// Every fourth script runs under asynchronous flush.
fn policy(seed: u64) -> FlushPolicy {
    if seed.is_multiple_of(4) { FlushPolicy::Async { interval_ms: 500 } } else { FlushPolicy::Sync }
}

/// One script, played once without faults.
pub struct Played {
    pub moments: Vec<Moment>,
    pub journal: Vec<Event>,
    pub violations: Vec<String>,
    pub calls: u64,
    pub trace: Vec<(OpKind, String)>,
}

/// Plays a script from an empty disk, with faults injected into the calls named (counted over the whole script).
pub fn play(steps: &[Step], faults: &[Fault], record: bool, setup: Setup) -> (Played, HostileDisk) {
    let mut disk = HostileDisk::default();
    let mut played = Played {
        moments: Vec::new(),
        journal: Vec::new(),
        violations: Vec::new(),
        calls: 0,
        trace: Vec::new(),
    };
    let arm = |disk: &HostileDisk, before: u64| {
        let ahead = faults.iter().filter(|f| f.call >= before);
        disk.set_faults(ahead.map(|f| Fault { call: f.call - before, action: f.action }).collect());
        if record {
            disk.record();
            disk.trace();
        }
    };
    arm(&disk, 0);
    let (mut before, mut came) = (0, CrashMode::Kill);
    let mut steps = steps.iter();
    loop {
        let promised = Model::of(&played.journal);
        let mut driver = match Driver::open(disk.clone(), std::mem::take(&mut played.journal), setup) {
            Ok(driver) => driver,
            Err(e) => {
                if faults.is_empty() {
                    played.violations.push(format!("cannot be opened: {e}"));
                }
                played.calls = before + disk.calls();
                played.journal = promised_journal(&promised);
                played.moments.extend(disk.take_history());
                return (played, disk);
            }
        };
        if faults.is_empty()
            && let Err(why) = driver.check(&promised, came)
        {
            played.violations.push(format!("in the script: {why}"));
        }
        let restart = play_life(&mut driver, &disk, &mut steps);
        if faults.is_empty()
            && let Some(why) = &driver.fenced
        {
            played.violations.push(format!("fenced without a fault: {why}"));
        }
        played.journal = std::mem::take(&mut driver.journal);
        if restart.as_ref().is_some_and(|(_, mode)| *mode != CrashMode::Kill) {
            played.journal.push(Event::PowerCut);
        }
        drop(driver);
        played.moments.extend(disk.take_history());
        played.trace.extend(disk.take_trace());
        let Some(next) = restart else {
            played.calls = before + disk.calls();
            return (played, disk);
        };
        before += disk.calls();
        (disk, came) = next;
        arm(&disk, before);
    }
}

/// Plays one life of the store: up to a restart or a crash (the disk after it, and how it came), or to the end.
fn play_life<'a>(
    driver: &mut Driver,
    disk: &HostileDisk,
    steps: &mut impl Iterator<Item = &'a Step>,
) -> Option<(HostileDisk, CrashMode)> {
    loop {
        match steps.next()? {
            Step::Restart => {
                return driver.close().then(|| (disk.crash(CrashMode::Kill, 0), CrashMode::Kill));
            }
            Step::Crash { mode, seed } => return Some((disk.crash(*mode, *seed), *mode)),
            step if !driver.play(*step) => return None,
            _ => {}
        }
    }
}

/// A journal that means the same as a model.
fn promised_journal(model: &Model) -> Vec<Event> {
    let appended = model.records.iter().cloned().map(Event::Appended);
    appended.chain([Event::Acked(model.acked), Event::Trimmed(model.trimmed)]).collect()
}

/// Recovers a disk and checks it against what was promised; then goes on, cuts the power, and checks again.
fn verify(
    (disk, mode): (HostileDisk, CrashMode),
    journal: &[Event],
    setup: Setup,
    summary: &mut Summary,
) -> Result<(), String> {
    let promised = Model::of(journal);
    let mut driver =
        Driver::open(disk, journal.to_vec(), setup).map_err(|e| format!("cannot be opened: {e}"))?;
    driver.check(&promised, mode)?;
    let end = driver.report.log_max;
    let cut: Vec<_> = promised.cut(end).cloned().collect();
    summary.cut += cut.len() as u64;
    let kept = promised.records.iter().filter(|r| r.end > promised.acked && r.end <= end);
    summary.kept += kept.count() as u64;
    driver.append_twins(&cut);
    if let Some(why) = &driver.fenced {
        return Err(format!("fenced after recovery: {why}"));
    }
    let journal = std::mem::take(&mut driver.journal);
    let after = driver.disk.crash(CrashMode::Lost, 0);
    drop(driver);
    if setup.bug == Some(Bug::AlteredRecord) {
        super::bugs::alter(&after);
    }
    let promised = Model::of(&journal);
    let again = Driver::open(after, journal, setup).map_err(|e| format!("cannot be opened again: {e}"))?;
    again.check(&promised, CrashMode::Lost).map_err(|why| format!("after going on and a power cut: {why}"))
}

/// Crashes a script at every point, in every way; `seeds` times where chance plays a part.
pub fn crashes(seed: u64, steps: usize, seeds: u64, bug: Option<Bug>) -> Summary {
    let mut summary = Summary::default();
    let steps = script(seed, steps);
    let setup = Setup { flush: policy(seed), sizes: sizes(seed), bug };
    let (played, _) = play(&steps, &[], true, setup);
    summary.violations.extend(played.violations.iter().map(|why| format!("script {seed}: {why}")));
    for (kind, path) in &played.trace {
        let dir = path.rsplit_once('/').map_or("", |(dir, _)| dir);
        *summary.calls.entry((*kind, dir.to_owned())).or_default() += 1;
    }
    for (point, moment) in played.moments.iter().enumerate() {
        summary.crash_points += 1;
        let journal = played.journal.get(..moment.mark as usize).unwrap_or(&played.journal);
        for mode in MODES {
            let chance = matches!(mode, CrashMode::Torn { .. } | CrashMode::Reordered { .. });
            let tries = if chance && moment.pending() > 0 { seeds } else { 1 };
            for try_seed in 0..tries {
                let mut states = vec![(name(mode), moment.crash(mode, try_seed))];
                if mode == CrashMode::Lost {
                    states
                        .push(("power cut, all derived files lost", without_derived(moment.crash(mode, 0))));
                    let failed = after_a_failed_start(&moment.crash(mode, 0), setup, point as u64);
                    states.push(("power cut, a start that fails, power cut", failed));
                }
                for (kind, disk) in states {
                    summary.count(kind);
                    if let Err(why) = verify((disk, mode), journal, setup, &mut summary) {
                        let after = moment.kind;
                        let what = format!(
                            "script {seed}, point {point} after {after:?}, {kind}, seed {try_seed}: {why}"
                        );
                        summary.violations.push(what);
                    }
                }
                if summary.violations.len() > 20 {
                    return summary;
                }
            }
        }
    }
    summary
}

/// What a start that fails at one of its calls, and then loses the power, leaves to the next one.
fn after_a_failed_start(disk: &HostileDisk, setup: Setup, chance: u64) -> HostileDisk {
    disk.set_faults(vec![Fault { call: chance * 31 % START_CALLS, action: FaultAction::Io }]);
    drop(Driver::open(disk.clone(), Vec::new(), setup));
    let mode = if chance.is_multiple_of(2) { CrashMode::Lost } else { CrashMode::Reordered { sector: 4096 } };
    disk.crash(mode, chance)
}

/// Index runs and snapshot are conveniences: nothing may be missing without them.
fn without_derived(disk: HostileDisk) -> HostileDisk {
    remove_derived(&disk);
    disk
}

pub(super) fn remove_derived(disk: &HostileDisk) {
    let derived = |path: &String| path.starts_with("kerolox/runs/") || path.starts_with("kerolox/snapshot");
    disk.paths().iter().filter(|path| derived(path)).for_each(|path| {
        disk.tamper_remove(path);
    });
}

/// Fails every call of a script in every way, one at a time.
pub fn faults(seed: u64, steps: usize, bug: Option<Bug>) -> Summary {
    let mut summary = Summary::default();
    let steps = script(seed, steps);
    let setup = Setup { flush: policy(seed), sizes: sizes(seed), bug };
    let (whole, _) = play(&steps, &[], false, setup);
    for call in 0..whole.calls {
        for action in [FaultAction::Io, FaultAction::NoSpace, FaultAction::Short] {
            let (played, disk) = play(&steps, &[Fault { call, action }], false, setup);
            let hit = disk.faults_hit().first().cloned();
            // Not every call can fail in every way.
            let Some((_, kind, path)) = hit else { continue };
            for (mode, try_seed) in [
                (CrashMode::Kill, 0),
                (CrashMode::KillEvicted, 0),
                (CrashMode::Lost, 0),
                (CrashMode::Reordered { sector: 512 }, call),
            ] {
                summary.count(fault_name(action, kind));
                if let Err(why) =
                    verify((disk.crash(mode, try_seed), mode), &played.journal, setup, &mut summary)
                {
                    let what = format!(
                        "script {seed}, {action:?} in call {call}, {kind:?} {path}, then {mode:?}: {why}"
                    );
                    summary.violations.push(what);
                    if summary.violations.len() > 20 {
                        return summary;
                    }
                }
            }
        }
    }
    summary
}

fn fault_name(action: FaultAction, kind: OpKind) -> &'static str {
    match (action, kind) {
        (FaultAction::Io, OpKind::SyncData | OpKind::SyncDir) => "EIO in a sync",
        (FaultAction::Io, OpKind::Write) => "EIO in a write",
        (FaultAction::Io, OpKind::Read) => "EIO in a read",
        (FaultAction::Io, _) => "EIO in another call",
        (FaultAction::NoSpace, _) => "ENOSPC",
        (FaultAction::Short, _) => "short write",
    }
}
