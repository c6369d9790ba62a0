//! Scripts, one after the other on several threads, until there was enough of what they try.

use kerolox_sim::crash::Findings;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

/// Violations after which a campaign ends.
const VIOLATIONS_MAX: usize = 20;

/// Runs scripts from seed `from` on with `jobs` threads until `wanted` tries were made, or much was found. Progress on standard
/// error.
pub(crate) fn campaign<F: Findings>(from: u64, jobs: u64, wanted: u64, one: impl Fn(u64) -> F + Sync) -> F {
    let begun = Instant::now();
    let next = AtomicU64::new(from);
    let enough = AtomicBool::new(wanted == 0);
    let all = Mutex::new(F::default());
    std::thread::scope(|scope| {
        for _ in 0..jobs.max(1) {
            scope.spawn(|| {
                while !enough.load(Ordering::Relaxed) {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    let found = one(seed);
                    let Ok(mut all) = all.lock() else { return };
                    all.merge(found);
                    let (done, wrong) = (all.total(), all.violations().len());
                    eprintln!(
                        "script {seed}: {done} of {wanted}, {wrong} violations, {:.0?}",
                        begun.elapsed()
                    );
                    if done >= wanted || wrong > VIOLATIONS_MAX {
                        enough.store(true, Ordering::Relaxed);
                    }
                }
            });
        }
    });
    all.into_inner().unwrap_or_default()
}
