//! What the whole broker does in a second, and how long messages take to be safe.

use kerolox_store::Position;
use std::collections::VecDeque;

/// Longest time that rates look back on, in seconds.
const BACK_S: usize = 600;

/// What rates are known of, counted since the start.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Totals {
    /// Messages appended, those that the broker moves itself included.
    pub(crate) put: u64,
    /// Their bytes in the log.
    pub(crate) put_bytes: u64,
    /// Reads for consumers that found messages.
    pub(crate) found: u64,
    /// Reads for consumers that found none.
    pub(crate) missed: u64,
    /// Messages given to consumers.
    pub(crate) given: u64,
    /// Timer messages delivered.
    pub(crate) timers: u64,
}

/// Totals at each of the last seconds.
pub(crate) struct Rates {
    next_ms: i64,
    samples: VecDeque<Totals>,
}

impl Rates {
    pub(crate) fn new(now_ms: i64) -> Self {
        Self { next_ms: now_ms + 1_000, samples: VecDeque::from([Totals::default()]) }
    }

    /// Notes the totals of the seconds that passed since the last call.
    pub(crate) fn advance(&mut self, now_ms: i64, totals: Totals) {
        let passed = usize::try_from((now_ms - self.next_ms) / 1_000 + 1).unwrap_or(0);
        self.next_ms = self.next_ms.saturating_add(1_000 * passed as i64);
        for _ in 0..passed.min(BACK_S + 1) {
            self.samples.push_back(totals);
        }
        let surplus = self.samples.len().saturating_sub(BACK_S + 1);
        self.samples.drain(..surplus);
    }

    pub(crate) fn is_due(&self, now_ms: i64) -> bool {
        now_ms >= self.next_ms
    }

    /// A second, in the last `seconds` or since the start.
    pub(crate) fn tps(&self, seconds: usize, of: impl Fn(&Totals) -> u64) -> f64 {
        let back = seconds.min(self.samples.len().saturating_sub(1));
        let first = self.samples.len().saturating_sub(back + 1);
        match (self.samples.get(first), self.samples.back()) {
            (Some(first), Some(last)) if back > 0 => (of(last) - of(first)) as f64 / back as f64,
            _ => 0.0,
        }
    }
}

/// Greatest milliseconds of each step that times are told apart by, as Apache's `StoreStatsService` does; one more step
/// is for what takes longer.
fn steps_ms() -> impl Iterator<Item = i64> {
    let parts = [(1, 20), (2, 15), (5, 10), (10, 10), (50, 6), (100, 5), (1_000, 9)];
    parts.into_iter().flat_map(|(step, count)| std::iter::repeat_n(step, count)).scan(0, |sum, step| {
        *sum += step;
        Some(*sum)
    })
}

const STEPS: usize = 20 + 15 + 10 + 10 + 6 + 5 + 9 + 1;

/// Names and greatest milliseconds of the ranges that `putMessageDistributeTime` lists.
const RANGES: [(&str, i64); 13] = [
    ("[<=0ms]", 0),
    ("[0~10ms]", 10),
    ("[10~50ms]", 50),
    ("[50~100ms]", 100),
    ("[100~200ms]", 200),
    ("[200~500ms]", 500),
    ("[500ms~1s]", 1_000),
    ("[1~2s]", 2_000),
    ("[2~3s]", 3_000),
    ("[3~4s]", 4_000),
    ("[4~5s]", 5_000),
    ("[5~10s]", 10_000),
    ("[10s~]", i64::MAX),
];

/// How long messages took from their arrival to where they are acknowledged.
pub(crate) struct Latency {
    /// Messages by step, of this minute and the last one; the first place is for less than a millisecond.
    this_minute: [u64; STEPS + 1],
    last_minute: [u64; STEPS + 1],
    next_minute_ms: i64,
    pub(crate) max_ms: i64,
    /// Batches of the log that are not confirmed: where they end, when they came, and their messages.
    waiting: VecDeque<(Position, i64, u64)>,
}

impl Latency {
    pub(crate) fn new(now_ms: i64) -> Self {
        Self {
            this_minute: [0; STEPS + 1],
            last_minute: [0; STEPS + 1],
            next_minute_ms: now_ms + 60_000,
            max_ms: 0,
            waiting: VecDeque::new(),
        }
    }

    /// `messages` that came now end at `end`.
    pub(crate) fn appended(&mut self, now_ms: i64, end: Position, messages: u64) {
        if messages > 0 {
            self.waiting.push_back((end, now_ms, messages));
        }
    }

    pub(crate) fn confirmed(&mut self, now_ms: i64, confirmed: Position) {
        while let Some((_, since_ms, messages)) = self.waiting.pop_front_if(|(end, ..)| *end <= confirmed) {
            let took_ms = now_ms - since_ms;
            self.max_ms = self.max_ms.max(took_ms);
            let step =
                if took_ms <= 0 { 0 } else { 1 + steps_ms().take_while(|upto| *upto < took_ms).count() };
            if let Some(count) = self.this_minute.get_mut(step) {
                *count += messages;
            }
        }
    }

    pub(crate) fn advance(&mut self, now_ms: i64) {
        if now_ms >= self.next_minute_ms {
            let idle = now_ms - self.next_minute_ms >= 60_000;
            let this = std::mem::replace(&mut self.this_minute, [0; STEPS + 1]);
            self.last_minute = if idle { [0; STEPS + 1] } else { this };
            self.next_minute_ms = now_ms + 60_000;
        }
    }

    /// Greatest milliseconds and messages of each step, in the last whole minute.
    fn steps(&self) -> impl Iterator<Item = (i64, u64)> {
        let upto_ms = std::iter::once(0).chain(steps_ms()).chain([i64::MAX]);
        upto_ms.zip(self.last_minute)
    }

    /// What that part of the messages took at most, in milliseconds, as far as steps tell; beyond 10 s, 10 s.
    pub(crate) fn quantile_ms(&self, part: f64) -> f64 {
        let all: u64 = self.last_minute.iter().sum();
        let wanted = all as f64 * part;
        let (mut passed, mut below_ms) = (0.0, 0.0);
        for (upto_ms, count) in self.steps().filter(|_| all > 0) {
            let upto_ms = upto_ms.min(10_000) as f64;
            let count = count as f64;
            if count > 0.0 && passed + count >= wanted {
                return below_ms + (upto_ms - below_ms) * (wanted - passed) / count;
            }
            passed += count;
            below_ms = upto_ms;
        }
        0.0
    }

    /// `[<=0ms]:3 [0~10ms]:17 …`, of the last whole minute.
    pub(crate) fn ranges(&self) -> String {
        let mut steps = self.steps().peekable();
        let mut text = String::new();
        for (name, upto_ms) in RANGES {
            let mut count = 0;
            while let Some((_, of_step)) = steps.next_if(|(step_ms, _)| *step_ms <= upto_ms) {
                count += of_step;
            }
            text.push_str(&format!("{name}:{count} "));
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_of_ten_seconds_a_minute_and_ten() {
        let mut rates = Rates::new(0);
        let mut totals = Totals::default();
        let tps = |rates: &Rates| [10, 60, 600].map(|seconds| rates.tps(seconds, |t| t.put));
        assert_eq!(tps(&rates), [0.0; 3]);
        for second in 1..=5 {
            totals.put += 100;
            rates.advance(second * 1_000, totals);
        }
        assert_eq!(tps(&rates), [100.0; 3]);
        rates.advance(15_000, totals);
        assert_eq!(tps(&rates), [0.0, 500.0 / 15.0, 500.0 / 15.0]);
        rates.advance(1_000_000, totals);
        assert_eq!(tps(&rates), [0.0; 3]);
        assert!(!rates.is_due(1_000_999) && rates.is_due(1_001_000));
        assert_eq!(rates.samples.len(), BACK_S + 1);
    }

    #[test]
    fn the_last_minute_tells_how_long_messages_took() {
        let mut latency = Latency::new(0);
        latency.appended(10, 100, 98);
        latency.appended(20, 200, 1);
        latency.appended(30, 300, 1);
        latency.confirmed(12, 150);
        latency.confirmed(20_030, 250);
        assert_eq!(latency.quantile_ms(0.99), 0.0);
        latency.confirmed(20_030, 300);
        latency.advance(60_000);
        assert_eq!(latency.max_ms, 20_010);
        assert!(latency.ranges().starts_with("[<=0ms]:0 [0~10ms]:98 [10~50ms]:0 "), "{}", latency.ranges());
        assert!(latency.ranges().ends_with("[5~10s]:0 [10s~]:2 "), "{}", latency.ranges());
        assert!((latency.quantile_ms(0.5) - 1.0).abs() <= 1.0);
        assert_eq!(latency.quantile_ms(0.99), 10_000.0);
        latency.advance(119_999);
        assert!(latency.ranges().contains(":98"));
        latency.advance(120_000);
        assert!(!latency.ranges().contains(":98"));
    }

    #[test]
    fn steps_end_where_ranges_do() {
        assert_eq!(steps_ms().count() + 1, STEPS);
        assert_eq!(steps_ms().last(), Some(10_000));
        let inner = RANGES.iter().skip(1).take(11);
        assert!(inner.clone().all(|(_, upto)| steps_ms().any(|step| step == *upto)));
    }
}
