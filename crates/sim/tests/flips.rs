//! A fixed, small part of what rots (`cargo run --release -p kerolox-sim --bin flips` hurts a million times).

use kerolox_sim::crash::Findings;
use kerolox_sim::crash::bugs::SKIPPED;
use kerolox_sim::crash::flips::{Tally, flips};

#[test]
fn what_rots_is_named_or_harmless_and_nothing_else_is_lost() {
    let mut all = Tally::default();
    for seed in 1..=12 {
        all.merge(flips(seed, 150, 250, None));
    }
    assert!(all.violations.is_empty(), "{:#?}", all.violations);
    assert_eq!(all.total(), 12 * 250);
    for place in ["log", "index run", "snapshot", "frontier"] {
        let of_place = all.counts.iter().filter(|((kind, at), _)| *kind == "flipped bit" && *at == place);
        let count = of_place.map(|(_, count)| *count).next().unwrap_or_default();
        assert!(count.harmless > 20, "{place}: {count:?}");
        // One record at most in the log, none by what is derived.
        assert_eq!(count.records_max, u64::from(place == "log"), "{place}: {count:?}");
        assert_eq!(count.named > 100, place == "log", "{place}: {count:?}");
    }
}

/// A campaign that cannot fail proves nothing.
#[test]
fn skipped_checksums_are_noticed() {
    for (name, skipped) in SKIPPED {
        let found = (1..=6).any(|seed| !flips(seed, 150, 50, Some(skipped)).violations.is_empty());
        assert!(found, "{name}: went unnoticed");
    }
}
