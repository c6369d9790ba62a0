//! The wall clock of a machine: it may be wrong, and jump; and what its process was told, which never goes back.

/// See the module. All times are milliseconds; the true ones are the world's.
#[derive(Debug, Clone, Default)]
pub struct Clock {
    /// How far it is ahead of the true time.
    ahead_ms: i64,
    /// What this process was told last: while the clock is behind it, time stands still, as in the program's shell.
    last_ms: Option<i64>,
    /// Readings, by true time, wherever one is not as far from the true time as the one before.
    readings: Vec<(i64, i64)>,
}

impl Clock {
    pub fn now(&mut self, true_ms: i64) -> i64 {
        let wall_ms = true_ms + self.ahead_ms;
        let told_ms = self.last_ms.map_or(wall_ms, |last| wall_ms.max(last));
        self.last_ms = Some(told_ms);
        if self.readings.last().is_none_or(|(at, told)| told - at != told_ms - true_ms) {
            self.readings.push((true_ms, told_ms));
        }
        told_ms
    }

    /// In how many true milliseconds the process is told this time, or a later one.
    pub fn until(&self, true_ms: i64, told_ms: i64) -> i64 {
        match self.last_ms {
            Some(last) if told_ms <= last => 0,
            _ => (told_ms - self.ahead_ms - true_ms).max(0),
        }
    }

    pub fn jump(&mut self, by_ms: i64) {
        self.ahead_ms += by_ms;
    }

    /// From now on it is never behind anything that it ever said, and right if that was right.
    pub fn catch_up(&mut self, true_ms: i64) {
        let highest = self.readings.iter().map(|(at, told)| told - at).max();
        self.ahead_ms = highest.unwrap_or(0).max(0);
        self.now(true_ms);
    }

    /// Another process: it knows nothing of what the one before was told.
    pub fn restart(&mut self) {
        self.last_ms = None;
    }

    /// The lowest and the highest that the processes may have been told between two true times.
    pub fn range(&self, from_ms: i64, to_ms: i64) -> (i64, i64) {
        // In one millisecond it may be told two times: before a jump, and after.
        let begin = self.readings.partition_point(|(at, _)| *at < from_ms).saturating_sub(1);
        let (mut lowest, mut highest) = (i64::MAX, i64::MIN);
        let mut readings = self.readings.iter().skip(begin).peekable();
        while let Some((at, told)) = readings.next() {
            if *at > to_ms {
                break;
            }
            let next = readings.peek();
            let end_ms = next.map_or(to_ms, |(at, _)| (*at).min(to_ms));
            let first = told + (from_ms - at).max(0);
            lowest = lowest.min(next.map_or(first, |(_, told)| first.min(*told)));
            highest = highest.max(told.saturating_add((end_ms - at).max(0)));
        }
        match lowest == i64::MAX {
            true => (from_ms, to_ms),
            false => (lowest, highest),
        }
    }

    /// Whether what runs since `from_ms` of the true time had surely not come to `until_ms` of its own by `now_ms`. One that was set back
    /// may have been there before.
    pub fn is_before(&self, from_ms: i64, now_ms: i64, until_ms: i64) -> bool {
        !self.went_back(from_ms, now_ms) && self.range(from_ms, now_ms).1 < until_ms
    }

    /// When, of the true time, it may first have told this time; `by_ms` at the latest.
    pub fn first_told(&self, told_ms: i64, by_ms: i64) -> i64 {
        let ends = self.readings.iter().skip(1).map(|(at, _)| *at).chain([by_ms]);
        let mut told = self.readings.iter().zip(ends).filter_map(|((at, told), end)| {
            (*told..=told + end - at).contains(&told_ms).then_some(at + told_ms - told)
        });
        told.next().map_or(by_ms, |first| first.min(by_ms))
    }

    /// Whether it was set back between two true times: then what one process was told may be less than what one before was.
    pub fn went_back(&self, from_ms: i64, to_ms: i64) -> bool {
        let pairs = self.readings.iter().zip(self.readings.iter().skip(1));
        let mut inside = pairs.filter(|(_, (at, _))| (from_ms..=to_ms).contains(at));
        inside.any(|((before_at, before), (at, told))| told - at < before - before_at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_never_told_less_but_the_next_one_may_be() {
        let mut clock = Clock::default();
        assert_eq!(clock.now(1_000), 1_000);
        clock.jump(500);
        assert_eq!((clock.now(1_000), clock.until(1_000, 1_600)), (1_500, 100));
        clock.jump(-700);
        assert_eq!((clock.now(1_100), clock.until(1_100, 1_600)), (1_500, 700));
        assert_eq!(clock.until(1_100, 1_400), 0);
        clock.restart();
        assert_eq!(clock.now(1_100), 900);
        clock.catch_up(1_200);
        assert_eq!(clock.now(1_200), 1_700);
    }

    #[test]
    fn what_was_told_between_two_times() {
        let mut clock = Clock::default();
        clock.now(1_000);
        clock.jump(500);
        clock.now(1_100);
        assert_eq!(clock.range(1_000, 1_050), (1_000, 1_050));
        assert_eq!(clock.range(1_050, 1_200), (1_050, 1_700));
        assert_eq!(clock.range(1_150, 1_200), (1_650, 1_700));
        clock.jump(-1_000);
        clock.restart();
        clock.now(1_300);
        assert_eq!(clock.range(1_150, 1_400), (800, 1_800));
        assert!(clock.went_back(1_150, 1_400) && !clock.went_back(1_000, 1_150));
        assert_eq!(Clock::default().range(3, 4), (3, 4));
        assert_eq!((clock.first_told(1_050, 1_100), clock.first_told(1_650, 1_400)), (1_050, 1_150));
        assert_eq!((clock.first_told(850, 1_400), clock.first_told(2_000, 1_400)), (1_350, 1_400));
        // Seed 300457: a message was stored in the very millisecond in which the clock was set right.
        clock.catch_up(1_300);
        assert_eq!(clock.range(1_300, 1_301), (800, 1_801));
    }
}
