//! A fixed, small part of the crash exploration (`cargo run --release -p kerolox-sim --bin crash` does a million states).

use kerolox_sim::crash::Findings;
use kerolox_sim::crash::bugs::{BUGS, Bug};
use kerolox_sim::crash::explore::{Summary, crashes, faults};
use kerolox_store::disk::OpKind;

fn sound(summary: &Summary) {
    assert!(summary.violations.is_empty(), "{:#?}", summary.violations);
}

#[test]
fn every_crash_point_recovers() {
    let mut all = Summary::default();
    for seed in 1..=8 {
        all.merge(crashes(seed, 80, 1, None));
    }
    sound(&all);
    assert!(all.total() > 8_000, "{} states", all.total());
    assert!(all.cut > 1_000 && all.kept > 1_000, "cut {}, kept {}", all.cut, all.kept);
    // The scripts do what they are there for: segments roll and are recycled, runs and snapshots are written.
    let did = |kind, dir: &str| all.calls.get(&(kind, dir.to_owned())).copied().unwrap_or(0);
    assert!(did(OpKind::Allocate, "commitlog") > 10, "new segments");
    assert!(did(OpKind::Rename, "commitlog") > 1, "recycled segments");
    assert!(did(OpKind::Rename, "kerolox/runs") > 10, "index runs");
    assert!(did(OpKind::Remove, "kerolox/runs") > 10, "index runs removed");
}

#[test]
fn every_failed_call_fences_and_recovers() {
    let mut all = Summary::default();
    for seed in 1..=2 {
        all.merge(faults(seed, 60, None));
    }
    sound(&all);
    for kind in
        ["EIO in a sync", "EIO in a write", "EIO in a read", "EIO in another call", "ENOSPC", "short write"]
    {
        assert!(all.states.get(kind).is_some_and(|n| *n > 50), "{kind}: {:?}", all.states);
    }
}

/// An exploration that cannot fail proves nothing.
#[test]
fn broken_variants_are_found() {
    for (name, bug) in BUGS {
        let explore = |seed| match bug {
            Bug::AckFailedSync => faults(seed, 40, Some(bug)),
            _ => crashes(seed, 80, 1, Some(bug)),
        };
        assert!((1..=5).any(|seed| !explore(seed).violations.is_empty()), "{name} went unnoticed");
    }
}
