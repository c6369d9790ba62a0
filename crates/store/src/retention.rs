//! Which segments may go, decided from numbers alone.

use crate::{DiskState, Position};

/// A segment of the log, as retention sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Candidate {
    pub(crate) end: Position,
    pub(crate) bytes: u64,
    /// Store time of its newest record; `None` while that is not known: then it stays.
    pub(crate) newest_ms: Option<i64>,
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    pub(crate) retention_ms: i64,
    pub(crate) disk_clean_ratio: f64,
    pub(crate) disk_full_ratio: f64,
    /// Nothing at or above this goes: the segment being written, and what no later dump of the state makes dispensable.
    pub(crate) keep_from: Position,
}

/// How many of the oldest segments go now, and what state the disk is in.
///
/// By time: those whose newest record is older than the retention. By room: the oldest, one after the other, until the
/// disk is used less than `disk_clean_ratio`, expired or not.
pub(crate) fn decide(
    segments: &[Candidate],
    now_ms: i64,
    used_ratio: f64,
    total_bytes: u64,
    limits: &Limits,
) -> (usize, DiskState) {
    let mut used = used_ratio;
    let mut go = 0;
    for segment in segments {
        let may = segment.end <= limits.keep_from && segment.newest_ms.is_some();
        let expired = segment.newest_ms.is_some_and(|ms| now_ms.saturating_sub(ms) > limits.retention_ms);
        if !may || !(expired || used > limits.disk_clean_ratio) {
            break;
        }
        if total_bytes > 0 {
            used -= segment.bytes as f64 / total_bytes as f64;
        }
        go += 1;
    }
    let full = (used > limits.disk_full_ratio).then(|| {
        format!(
            "{:.1} % of the disk are used, the limit is {:.1} %",
            used * 100.0,
            limits.disk_full_ratio * 100.0
        )
    });
    (go, DiskState { space: None, used_ratio: used, full, wanted: None })
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits =
        Limits { retention_ms: 1000, disk_clean_ratio: 0.85, disk_full_ratio: 0.9, keep_from: 400 };

    /// Segments of 100 bytes on a disk of 1000, by the store time of their newest record.
    fn segments(newest: &[Option<i64>]) -> Vec<Candidate> {
        let ends = (1..).map(|i| i * 100);
        newest.iter().zip(ends).map(|(ms, end)| Candidate { end, bytes: 100, newest_ms: *ms }).collect()
    }

    #[test]
    fn decisions() {
        /// What, newest store times, now, used, how many go, whether the disk is full.
        type Case<'a> = (&'a str, &'a [Option<i64>], i64, f64, usize, bool);
        let cases: &[Case<'_>] = &[
            ("none expired", &[Some(0), Some(10)], 1000, 0.5, 0, false),
            ("the first expired", &[Some(0), Some(10)], 1001, 0.5, 1, false),
            ("both expired", &[Some(0), Some(10)], 1011, 0.5, 2, false),
            ("the active one never", &[Some(0); 5], 9999, 0.99, 4, false),
            ("unknown age stays, and what follows", &[None, Some(0)], 9999, 0.99, 0, true),
            ("one goes for room", &[Some(0); 4], 500, 0.9, 1, false),
            ("as many as needed go for room", &[Some(0); 4], 500, 0.96, 2, false),
            ("full when nothing may go", &[], 500, 0.901, 0, true),
            ("not full at the limit", &[], 500, 0.9, 0, false),
        ];
        for (what, newest, now_ms, used, go, full) in cases {
            let (count, state) = decide(&segments(newest), *now_ms, *used, 1000, &LIMITS);
            assert_eq!((count, state.full.is_some()), (*go, *full), "{what}: {state:?}");
        }
    }

    #[test]
    fn the_reason_names_figures() {
        let (_, state) = decide(&[], 0, 0.951, 1000, &LIMITS);
        assert_eq!(state.full.unwrap(), "95.1 % of the disk are used, the limit is 90.0 %");
    }
}
