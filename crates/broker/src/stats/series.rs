//! A counter with its last minute, hour and day, as Apache's `StatsItem` shows them: what happened in the whole
//! intervals of 10 s, 10 min and 1 h that lie behind, the one under way left out.
//!
//! Nothing runs while nothing happens: a count goes to the interval of now, and whoever comes later, to count or to look,
//! moves on to his own and clears what lies between.

use kerolox_wire::body::BrokerStatsItem;

/// Length of the shortest interval.
pub(crate) const SLOT_MS: i64 = 10_000;

/// How many slots an interval has, and how many intervals are looked back on.
struct Window {
    slots: u32,
    back: u32,
}

const MINUTE: Window = Window { slots: 1, back: 6 };
const HOUR: Window = Window { slots: 60, back: 6 };
const DAY: Window = Window { slots: 360, back: 24 };

impl Window {
    fn interval(&self, slot: u32) -> u32 {
        slot / self.slots
    }
}

/// What was counted in some interval. The numbers stop at their greatest value rather than begin anew: that would take
/// a million a second for an hour.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
struct Count {
    /// Of whatever is counted.
    sum: u64,
    /// Calls that counted.
    times: u32,
}

impl Count {
    fn add(&mut self, other: Self) {
        self.sum = self.sum.saturating_add(other.sum);
        self.times = self.times.saturating_add(other.times);
    }
}

/// Counts by interval number modulo the length: those looked back on and the one under way.
#[derive(Debug, Clone)]
struct Past {
    minute: [Count; MINUTE.back as usize + 1],
    hour: [Count; HOUR.back as usize + 1],
    day: [Count; DAY.back as usize + 1],
}

impl Past {
    fn new() -> Self {
        let none = Count::default();
        Self {
            minute: [none; MINUTE.back as usize + 1],
            hour: [none; HOUR.back as usize + 1],
            day: [none; DAY.back as usize + 1],
        }
    }

    fn rings(&mut self) -> [(&Window, &mut [Count]); 3] {
        [(&MINUTE, &mut self.minute[..]), (&HOUR, &mut self.hour[..]), (&DAY, &mut self.day[..])]
    }
}

/// One counter.
#[derive(Debug, Clone, Default)]
pub(crate) struct Series {
    /// The slot in which counting began.
    first: u32,
    /// The slot that `now` belongs to.
    slot: u32,
    /// Something was counted once.
    used: bool,
    now: Count,
    /// `None`: nothing happened for a day.
    past: Option<Box<Past>>,
}

impl Series {
    pub(crate) fn new(slot: u32) -> Self {
        Self { first: slot, slot, ..Self::default() }
    }

    /// Counts one call in a slot that is not before those of earlier calls.
    pub(crate) fn add(&mut self, slot: u32, sum: u64) {
        if slot != self.slot {
            self.move_on(slot);
        }
        self.used = true;
        self.now.add(Count { sum, times: 1 });
    }

    /// Whether nothing was counted in the last day.
    pub(crate) fn is_idle(&self, slot: u32) -> bool {
        slot.saturating_sub(self.slot) > DAY.slots * (DAY.back + 1)
    }

    /// Whether nothing was ever counted.
    pub(crate) fn is_unused(&self) -> bool {
        !self.used
    }

    fn move_on(&mut self, slot: u32) {
        if self.is_idle(slot) {
            self.past = None;
        } else if self.past.is_some() || self.now != Count::default() {
            let past = self.past.get_or_insert_with(|| Box::new(Past::new()));
            for (window, ring) in past.rings() {
                let len = ring.len() as u32;
                let (from, to) = (window.interval(self.slot), window.interval(slot));
                let mut at = |interval: u32, change: &mut dyn FnMut(&mut Count)| {
                    if let Some(count) = ring.get_mut((interval % len) as usize) {
                        change(count);
                    }
                };
                at(from, &mut |count| count.add(self.now));
                (from.saturating_add(1).max(to.saturating_sub(window.back))..=to)
                    .for_each(|interval| at(interval, &mut |count| *count = Count::default()));
            }
        }
        self.now = Count::default();
        self.slot = slot;
    }

    /// The last minute, hour and day.
    pub(crate) fn sums(&self, slot: u32) -> [BrokerStatsItem; 3] {
        let mut moved = self.clone();
        if slot != self.slot {
            moved.move_on(slot);
        }
        let mut past = moved.past.unwrap_or_else(|| Box::new(Past::new()));
        past.rings().map(|(window, ring)| {
            let under_way = window.interval(slot) % ring.len() as u32;
            let mut all = Count::default();
            for (_, count) in (0..).zip(ring.iter()).filter(|(at, _)| *at != under_way) {
                all.add(*count);
            }
            let intervals = (window.interval(slot) - window.interval(self.first)).min(window.back);
            let seconds = f64::from(intervals * window.slots) * (SLOT_MS / 1_000) as f64;
            let of = |divisor: f64| if divisor > 0.0 { all.sum as f64 / divisor } else { 0.0 };
            BrokerStatsItem { avgpt: of(f64::from(all.times)), sum: all.sum, tps: of(seconds) }
        })
    }

    /// A second, in the last minute.
    pub(crate) fn tps(&self, slot: u32) -> f64 {
        let [minute, ..] = self.sums(slot);
        minute.tps
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(series: &Series, slot: u32, sums: [u64; 3], tps: f64) {
        let found = series.sums(slot);
        assert_eq!(found.map(|window| window.sum), sums, "slot {slot}");
        assert!((found[0].tps - tps).abs() < 1e-9, "slot {slot}: {}", found[0].tps);
    }

    #[test]
    fn intervals_count_when_they_are_over_and_as_long_as_their_window() {
        let mut series = Series::new(7);
        series.add(7, 20);
        series.add(7, 40);
        check(&series, 7, [0, 0, 0], 0.0);
        check(&series, 8, [60, 0, 0], 6.0);
        assert!((series.sums(8)[0].avgpt - 30.0).abs() < 1e-9);
        check(&series, 9, [60, 0, 0], 3.0);
        series.add(9, 60);
        check(&series, 13, [120, 0, 0], 2.0);
        check(&series, 14, [60, 0, 0], 1.0);
        check(&series, 16, [0, 0, 0], 0.0);
        check(&series, 59, [0, 0, 0], 0.0);
        check(&series, 60, [0, 120, 0], 0.0);
        check(&series, 359, [0, 120, 0], 0.0);
        check(&series, 360, [0, 120, 120], 0.0);
        check(&series, 60 * 7, [0, 0, 120], 0.0);
        check(&series, 360 * 24, [0, 0, 120], 0.0);
        check(&series, 360 * 25, [0, 0, 0], 0.0);
        series.add(360 * 25, 10);
        check(&series, 360 * 25 + 1, [10, 0, 0], 10.0 / 60.0);
        check(&series, u32::MAX, [0, 0, 0], 0.0);
    }

    /// The rings give what a list of all counts gives, whatever the pauses.
    #[test]
    fn rings_agree_with_a_list() {
        let (mut series, mut all, mut slot, mut random) = (Series::new(0), Vec::new(), 0u32, 1u64);
        for _ in 0..3_000 {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            slot += [0, 0, 1, 3, 6, 7, 61, 400][(random >> 60) as usize % 8];
            series.add(slot, random >> 40);
            all.push((slot, random >> 40));
            let look = slot + (random >> 50) as u32 % 500;
            let expected = [&MINUTE, &HOUR, &DAY].map(|window| {
                let now = window.interval(look);
                let counted = all.iter().filter(|(at, _)| {
                    let at = window.interval(*at);
                    at < now && at + window.back >= now
                });
                counted.map(|(_, sum)| sum).sum::<u64>()
            });
            assert_eq!(series.sums(look).map(|sum| sum.sum), expected, "{slot} {look}");
        }
    }

    #[test]
    fn a_series_without_a_past_takes_no_memory_for_it() {
        let mut series = Series::new(0);
        series.add(0, 1);
        assert!(series.past.is_none());
        series.add(1, 1);
        assert!(series.past.is_some());
        series.add(100_000, 1);
        assert!(series.past.is_none());
        assert!(size_of::<Series>() <= 40 && size_of::<Past>() <= 39 * 16);
    }
}
