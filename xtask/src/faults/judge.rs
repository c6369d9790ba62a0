//! What was acknowledged against what is there: counted by kind of operation, the same for whoever is tried.

use std::collections::BTreeMap;
use std::fmt::{self, Display};
use std::time::{Duration, Instant};

/// Violations that are printed one by one; the rest is only counted.
const TOLD_MAX: u64 = 40;

/// A kind of operation that is acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    Send,
    Batch,
    Ordered,
    /// A message that is due later.
    Timer,
    Recall,
    /// A consumer group's offset.
    Commit,
    /// A message sent to a group that pops: it must come, and come again until it is acknowledged.
    Popped,
    Ack,
    /// A popped message's invisible time, also a changed one.
    Invisible,
    Half,
    End,
    Topic,
    Group,
}

#[derive(Debug, Default, Clone, Copy)]
struct Count {
    acknowledged: u64,
    /// Not there, though it must be.
    lost: u64,
    /// Not there, and acknowledged so shortly before a power cut that the configuration allows it.
    within_window: u64,
    /// Other bytes, or at another offset.
    corrupt: u64,
    doubled: u64,
    early: u64,
}

impl Count {
    /// What must not be. A message that is delivered in its time may be there twice: if its delivery was kept and what
    /// says so, right behind it in the same write, was not, it is delivered again.
    fn bad(&self, kind: Kind) -> u64 {
        let doubled = if kind == Kind::Timer { 0 } else { self.doubled };
        self.lost + self.corrupt + doubled + self.early
    }
}

/// Operations of a worker that were acknowledged since it was last asked.
pub(crate) type Acked = BTreeMap<Kind, u64>;

/// When the power was cut.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PowerCut {
    /// When the last operation that was acknowledged before it had been sent, at least. A disk that does not sync for
    /// longer than the window must hold up all acknowledgements, and so this too.
    pub(crate) last_sent: Instant,
    /// Just before the server was killed.
    pub(crate) from: Instant,
    /// Nobody waited for its answers any more.
    pub(crate) to: Instant,
}

/// Keeps the counts of a run.
#[derive(Debug, Default)]
pub(crate) struct Judge {
    counts: BTreeMap<Kind, Count>,
    /// What a power cut may take of what was acknowledged before it.
    window: Duration,
    cuts: Vec<PowerCut>,
    /// The oldest that power cuts took, by the time from its acknowledgement to when the last acknowledged operation
    /// before the cut was sent, and to the cut.
    oldest: (Duration, Duration),
    told: u64,
    /// Starts that failed, and reads that broke off.
    pub(crate) failures: u64,
}

impl Judge {
    pub(crate) fn new(window: Duration) -> Self {
        Self { window, ..Self::default() }
    }

    /// The power was cut: what was acknowledged within the window before the last acknowledged operation was sent, or since, may
    /// be gone.
    pub(crate) fn cut(&mut self, cut: PowerCut) {
        self.cuts.push(cut);
    }

    pub(crate) fn acknowledged(&mut self, acked: &Acked) {
        for (kind, count) in acked {
            self.count(*kind).acknowledged += count;
        }
    }

    /// What was acknowledged at `at` is not there.
    pub(crate) fn lost(&mut self, kind: Kind, at: Instant, what: impl Display) {
        if self.excused(at) {
            self.count(kind).within_window += 1;
            return;
        }
        self.count(kind).lost += 1;
        let age = at.elapsed().as_millis();
        self.tell(format_args!("LOST {kind:?}, acknowledged {age} ms ago: {what}"));
    }

    pub(crate) fn corrupt(&mut self, kind: Kind, what: impl Display) {
        self.count(kind).corrupt += 1;
        self.tell(format_args!("WRONG {kind:?}: {what}"));
    }

    pub(crate) fn doubled(&mut self, kind: Kind, what: impl Display) {
        self.count(kind).doubled += 1;
        self.tell(format_args!("DOUBLED {kind:?}: {what}"));
    }

    pub(crate) fn early(&mut self, kind: Kind, at: Instant, what: impl Display) {
        if self.excused(at) {
            self.count(kind).within_window += 1;
            return;
        }
        self.count(kind).early += 1;
        self.tell(format_args!("EARLY {kind:?}: {what}"));
    }

    pub(crate) fn failed(&mut self, what: impl Display) {
        self.failures += 1;
        self.tell(format_args!("FAILED: {what}"));
    }

    /// What another one counted.
    pub(crate) fn add(&mut self, other: Self) {
        for (kind, c) in other.counts {
            let sum = self.count(kind);
            sum.acknowledged += c.acknowledged;
            sum.lost += c.lost;
            sum.within_window += c.within_window;
            sum.corrupt += c.corrupt;
            sum.doubled += c.doubled;
            sum.early += c.early;
        }
        self.note_age(other.oldest);
        self.failures += other.failures;
    }

    /// Whether a power cut may have taken what was acknowledged at `at`; its age is kept if it is.
    fn excused(&mut self, at: Instant) -> bool {
        let Some(ages) = self.ages(at) else { return false };
        self.note_age(ages);
        true
    }

    fn note_age(&mut self, (to_last, to_cut): (Duration, Duration)) {
        self.oldest = (self.oldest.0.max(to_last), self.oldest.1.max(to_cut));
    }

    /// Whether a power cut may have taken what was acknowledged at `at`.
    pub(crate) fn may_be_gone(&self, at: Instant) -> bool {
        self.ages(at).is_some()
    }

    /// From an acknowledgement to when the last acknowledged operation was sent, and to the power cut, if the window
    /// allows to lose it.
    fn ages(&self, at: Instant) -> Option<(Duration, Duration)> {
        let cut = self.cuts.iter().find(|cut| at <= cut.to)?;
        let age = cut.last_sent.saturating_duration_since(at);
        let excused = age <= self.window && self.window > Duration::ZERO;
        excused.then(|| (age, cut.from.saturating_duration_since(at)))
    }

    fn count(&mut self, kind: Kind) -> &mut Count {
        self.counts.entry(kind).or_default()
    }

    fn tell(&mut self, what: fmt::Arguments<'_>) {
        self.told += 1;
        if self.told <= TOLD_MAX {
            println!("   {what}");
        }
    }

    /// Nothing was lost, altered, doubled (delayed messages apart) or early, and everything could be read.
    pub(crate) fn is_clean(&self) -> bool {
        self.failures == 0 && self.counts.iter().all(|(kind, count)| count.bad(*kind) == 0)
    }

    /// One line for people who wait.
    pub(crate) fn summary(&self) -> String {
        let sum = |of: fn(&Count) -> u64| self.counts.values().map(of).sum::<u64>();
        format!(
            "{} acknowledged, {} lost, {} within the window, {} corrupt, {} doubled, {} early, {} failures",
            sum(|c| c.acknowledged),
            sum(|c| c.lost),
            sum(|c| c.within_window),
            sum(|c| c.corrupt),
            sum(|c| c.doubled),
            sum(|c| c.early),
            self.failures
        )
    }

    /// Kinds of which nothing was acknowledged: a run that tries nothing finds nothing.
    pub(crate) fn untried(&self, kinds: &[Kind]) -> Vec<Kind> {
        let tried = |kind: &Kind| self.counts.get(kind).is_some_and(|count| count.acknowledged > 0);
        kinds.iter().copied().filter(|kind| !tried(kind)).collect()
    }

    pub(crate) fn table(&self) -> String {
        use fmt::Write;
        let mut out =
            "| operation | acknowledged | lost | within the window | corrupt | doubled | early |\n|---|---:|---:|---:|---:|---:|---:|\n".to_owned();
        for (kind, c) in &self.counts {
            // holds because writing to a string cannot fail
            let _ = writeln!(
                out,
                "| {kind:?} | {} | {} | {} | {} | {} | {} |",
                c.acknowledged, c.lost, c.within_window, c.corrupt, c.doubled, c.early
            );
        }
        let (to_last, to_cut) = (self.oldest.0.as_millis(), self.oldest.1.as_millis());
        if to_cut > 0 {
            let _ = writeln!(
                out,
                "The oldest that a power cut took was acknowledged {to_last} ms before the last acknowledged operation was sent, and {to_cut} ms before the cut."
            );
        }
        out
    }
}

/// A value that is set again and again by one who waits for each answer.
#[derive(Debug, Clone)]
pub(crate) struct Register<T> {
    /// What was acknowledged since it was last looked at, the latest last; at least one.
    known: Vec<(Instant, T)>,
    /// Sent since, and not acknowledged: not answered, or with an error, which may have come in between.
    doubts: Vec<T>,
}

impl<T: PartialEq + Clone + fmt::Debug> Register<T> {
    pub(crate) fn new(value: T) -> Self {
        Self { known: vec![(Instant::now(), value)], doubts: Vec::new() }
    }

    /// As it is, if nothing went wrong.
    pub(crate) fn value(&self) -> Option<&T> {
        self.known.last().map(|(_, value)| value)
    }

    pub(crate) fn sent(&mut self, value: T) {
        self.doubts.push(value);
    }

    /// The one that was sent last was acknowledged.
    pub(crate) fn acknowledged(&mut self) {
        let last = self.doubts.pop();
        self.doubts.clear();
        self.known.extend(last.map(|value| (Instant::now(), value)));
    }

    /// What is there after a start.
    pub(crate) fn found(&mut self, seen: T, kind: Kind, name: &str, judge: &mut Judge) {
        let newest = self.known.last().is_some_and(|(_, value)| *value == seen);
        if !newest && !self.doubts.contains(&seen) {
            // Everything that came after what is seen was lost: the oldest of it says whether it may have been.
            let at = self.known.iter().rposition(|(_, value)| *value == seen);
            let lost = at.map_or(self.known.first(), |at| self.known.get(at + 1));
            if let Some((acked, _)) = lost {
                let wanted = self.value();
                judge.lost(kind, *acked, format_args!("{name} is {seen:?}, not {wanted:?}"));
            }
        }
        *self = Self::new(seen);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bad(judge: &Judge, kind: Kind) -> (u64, u64) {
        judge.counts.get(&kind).map_or((0, 0), |c| (c.lost, c.within_window))
    }

    /// A judge that finds nothing proves nothing.
    #[test]
    fn losses_are_found_and_only_the_window_excuses() {
        let ms = Duration::from_millis;
        let mut judge = Judge::new(ms(500));
        let acked = Instant::now();
        judge.lost(Kind::Send, acked, "");
        assert_eq!(bad(&judge, Kind::Send), (1, 0), "nobody cut the power");
        let from = acked + ms(400);
        judge.cut(PowerCut { last_sent: from, from, to: from + ms(10) });
        judge.lost(Kind::Send, acked, "");
        assert_eq!(bad(&judge, Kind::Send), (1, 1));
        judge.lost(Kind::Send, from + ms(5), "");
        assert_eq!(bad(&judge, Kind::Send), (1, 2), "answered while the power went");
        judge.lost(Kind::Send, from + ms(15), "");
        assert_eq!(bad(&judge, Kind::Send), (2, 2), "after the cut");
        let from = acked + ms(2_000);
        judge.cut(PowerCut { last_sent: acked + ms(1_510), from, to: from });
        judge.lost(Kind::Ack, acked + ms(1_000), "");
        assert_eq!(
            bad(&judge, Kind::Ack),
            (1, 0),
            "what was sent more than the window later was acknowledged"
        );
        judge.lost(Kind::Ack, acked + ms(1_010), "");
        assert_eq!(bad(&judge, Kind::Ack), (1, 1), "nothing was acknowledged while the disk did not sync");
        assert_eq!(judge.oldest, (ms(500), ms(990)));
        let mut synchronous = Judge::new(Duration::ZERO);
        synchronous.cut(PowerCut { last_sent: acked, from: acked, to: acked });
        synchronous.lost(Kind::Send, acked, "");
        assert_eq!(bad(&synchronous, Kind::Send), (1, 0), "nothing excuses");
        assert!(!judge.is_clean());
        assert_eq!(judge.untried(&[Kind::Send]), [Kind::Send]);
    }

    #[test]
    fn a_register_may_be_what_was_acknowledged_or_not_answered_and_nothing_else() {
        let mut judge = Judge::new(Duration::ZERO);
        let mut register = Register::new(1);
        register.sent(2);
        register.acknowledged();
        register.sent(3);
        register.sent(4);
        for seen in [2, 3, 4] {
            register.clone().found(seen, Kind::Commit, "", &mut judge);
            assert!(judge.is_clean(), "{seen}");
        }
        register.clone().found(1, Kind::Commit, "", &mut judge);
        assert_eq!(bad(&judge, Kind::Commit), (1, 0), "rolled back");
        register.acknowledged();
        register.clone().found(3, Kind::Commit, "", &mut judge);
        assert_eq!(bad(&judge, Kind::Commit), (2, 0), "came before what was acknowledged");
    }
}
