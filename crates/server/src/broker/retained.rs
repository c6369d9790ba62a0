//! Telling the operator what retention did and why, and what keeps it from doing more.

use crate::report;
use kerolox_broker::Broker;
use kerolox_store::{Gone, WhyGone};
use std::cell::Cell;

/// What keeps old messages is told again after so long.
const HELD_EVERY_MS: i64 = 3_600_000;

/// What was said last.
#[derive(Default)]
pub(crate) struct RetentionLines {
    held_said_ms: Cell<Option<i64>>,
}

impl RetentionLines {
    /// After a report of the keeper, which took `gone`, and no more if it is `stuck`.
    pub(crate) fn say(&self, now_ms: i64, gone: &[Gone], stuck: Option<String>, broker: &mut Broker) {
        gone.iter().for_each(|gone| report::line(&went(now_ms, gone)));
        for (topic, count) in broker.take_expired() {
            report::line(&format!(
                "retention: topic {topic} let go of its oldest {count} messages, as its own retention says"
            ));
        }
        let held = stuck.or_else(|| broker.held_by());
        let said = self.held_said_ms.get();
        if let Some(held) = &held
            && said.is_none_or(|said| now_ms - said >= HELD_EVERY_MS)
        {
            report::line(&format!("retention: old messages stay longer than the settings say: {held}"));
            self.held_said_ms.set(Some(now_ms));
        }
        if held.is_none() {
            self.held_said_ms.set(None);
        }
    }
}

fn went(now_ms: i64, gone: &Gone) -> String {
    let why = match gone.why {
        WhyGone::Expired { newest_ms: i64::MIN } => "there was no message in it".to_owned(),
        WhyGone::Expired { newest_ms } => {
            format!("its newest message is {:.1} h old", (now_ms - newest_ms) as f64 / 3_600_000.0)
        }
        WhyGone::Bytes { log_bytes } => {
            format!("the log had {:.1} GiB", log_bytes as f64 / f64::from(1 << 30))
        }
        WhyGone::Room { used_ratio } => format!("{:.1} % of the disk were in use", used_ratio * 100.0),
    };
    format!("retention: commitlog/{:020} went, positions {} to {}: {why}", gone.from, gone.from, gone.to)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons() {
        let said = |why| went(7_200_000, &Gone { from: 0, to: 1024, why });
        let begin = "retention: commitlog/00000000000000000000 went, positions 0 to 1024: ";
        let cases = [
            (WhyGone::Expired { newest_ms: 0 }, "its newest message is 2.0 h old"),
            (WhyGone::Expired { newest_ms: i64::MIN }, "there was no message in it"),
            (WhyGone::Bytes { log_bytes: 3 << 30 }, "the log had 3.0 GiB"),
            (WhyGone::Room { used_ratio: 0.871 }, "87.1 % of the disk were in use"),
        ];
        for (why, text) in cases {
            assert_eq!(said(why), format!("{begin}{text}"));
        }
    }
}
