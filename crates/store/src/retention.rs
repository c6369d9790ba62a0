//! Which segments may go, decided from numbers alone.

use crate::{DiskState, Position, WhyGone};

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
    /// The oldest go while at least so much of the log is left.
    pub(crate) retention_bytes: u64,
    pub(crate) disk_clean_ratio: f64,
    pub(crate) disk_full_ratio: f64,
    /// Nothing at or above this goes: the segment being written, and what no later dump of the state makes dispensable.
    pub(crate) keep_from: Position,
}

/// Which of the oldest segments go now and why, one reason for each, and what state the disk is in. `log_bytes`: from the log's
/// beginning to its end.
///
/// By time: those whose newest record is older than the retention. By bytes: what the log has above its most. By room: the
/// oldest, one after the other, until the disk is used less than `disk_clean_ratio`, expired or not.
pub(crate) fn decide(
    segments: &[Candidate],
    now_ms: i64,
    mut log_bytes: u64,
    used_ratio: f64,
    total_bytes: u64,
    limits: &Limits,
) -> (Vec<WhyGone>, DiskState) {
    let mut used = used_ratio;
    let mut go = Vec::new();
    for segment in segments {
        let Some(newest_ms) = segment.newest_ms.filter(|_| segment.end <= limits.keep_from) else { break };
        let left = log_bytes.saturating_sub(segment.bytes);
        let why = if now_ms.saturating_sub(newest_ms) > limits.retention_ms {
            WhyGone::Expired { newest_ms }
        } else if left >= limits.retention_bytes {
            WhyGone::Bytes { log_bytes }
        } else if used > limits.disk_clean_ratio {
            WhyGone::Room { used_ratio: used }
        } else {
            break;
        };
        log_bytes = left;
        if total_bytes > 0 {
            used -= segment.bytes as f64 / total_bytes as f64;
        }
        go.push(why);
    }
    let full = (used > limits.disk_full_ratio).then(|| {
        format!(
            "{:.1} % of the disk are used, the limit is {:.1} %",
            used * 100.0,
            limits.disk_full_ratio * 100.0
        )
    });
    (go, DiskState { used_ratio: used, full, ..DiskState::default() })
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits {
        retention_ms: 1000,
        retention_bytes: 450,
        disk_clean_ratio: 0.85,
        disk_full_ratio: 0.9,
        keep_from: 400,
    };

    /// Segments of 100 bytes on a disk of 1000, by the store time of their newest record.
    fn segments(newest: &[Option<i64>]) -> Vec<Candidate> {
        let ends = (1..).map(|i| i * 100);
        newest.iter().zip(ends).map(|(ms, end)| Candidate { end, bytes: 100, newest_ms: *ms }).collect()
    }

    #[test]
    fn decisions() {
        const OLD: WhyGone = WhyGone::Expired { newest_ms: 0 };
        /// What, newest store times, now, bytes of the log, used, which go, whether the disk is full.
        type Case<'a> = (&'a str, &'a [Option<i64>], i64, u64, f64, &'a [WhyGone], bool);
        let room = |used_ratio| WhyGone::Room { used_ratio };
        let cases: &[Case<'_>] = &[
            ("none expired", &[Some(0), Some(10)], 1000, 200, 0.5, &[], false),
            ("the first expired", &[Some(0), Some(10)], 1001, 200, 0.5, &[OLD], false),
            ("both expired", &[Some(0), Some(0)], 1011, 200, 0.5, &[OLD, OLD], false),
            ("the active one never", &[Some(0); 5], 9999, 500, 0.99, &[OLD; 4], false),
            ("unknown age stays, and what follows", &[None, Some(0)], 9999, 200, 0.99, &[], true),
            ("one goes for room", &[Some(0); 4], 500, 400, 0.9, &[room(0.9)], false),
            (
                "as many as needed go for room",
                &[Some(0); 4],
                500,
                400,
                0.96,
                &[room(0.96), room(0.86)],
                false,
            ),
            ("full when nothing may go", &[], 500, 0, 0.901, &[], true),
            ("not full at the limit", &[], 500, 0, 0.9, &[], false),
            ("at most so many bytes", &[Some(0); 6], 500, 549, 0.5, &[], false),
            ("more than that", &[Some(0); 6], 500, 550, 0.5, &[WhyGone::Bytes { log_bytes: 550 }], false),
        ];
        for (what, newest, now_ms, log_bytes, used, go, full) in cases {
            let (why, state) = decide(&segments(newest), *now_ms, *log_bytes, *used, 1000, &LIMITS);
            assert_eq!((why.as_slice(), state.full.is_some()), (*go, *full), "{what}: {state:?}");
        }
    }

    #[test]
    fn the_reason_names_figures() {
        let (_, state) = decide(&[], 0, 0, 0.951, 1000, &LIMITS);
        assert_eq!(state.full.unwrap(), "95.1 % of the disk are used, the limit is 90.0 %");
    }
}
