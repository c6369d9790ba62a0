//! What the program tells the person who started it. The ready line goes to standard output, all else to standard error.

use std::io::Write;
use std::sync::Mutex;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// One line, with the time (UTC), to standard error.
pub(crate) fn line(text: &str) {
    // A closed standard error must not end a broker.
    let _ = writeln!(std::io::stderr(), "{} {text}", now());
}

/// The time, UTC: `2026-01-31T23:59:59Z`.
pub(crate) fn now() -> String {
    utc(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default())
}

/// As [`line`], at most one a second: for what a peer can cause at will.
pub(crate) fn limited(text: &str) {
    static LAST: Mutex<Option<(Instant, u64)>> = Mutex::new(None);
    let Ok(mut last) = LAST.lock() else { return };
    match &mut *last {
        Some((at, kept_back)) if at.elapsed() < Duration::from_secs(1) => *kept_back += 1,
        Some((at, kept_back)) => {
            let kept = std::mem::take(kept_back);
            *at = Instant::now();
            let more =
                if kept > 0 { format!(" ({kept} more such lines were kept back)") } else { String::new() };
            line(&format!("{text}{more}"));
        }
        None => {
            *last = Some((Instant::now(), 0));
            line(text);
        }
    }
}

/// `2026-01-31T23:59:59Z`.
fn utc(since_1970: Duration) -> String {
    let s = since_1970.as_secs();
    let (mut day, time) = ((s / 86_400) as i64, s % 86_400);
    // Days to civil date, Howard Hinnant's algorithm: eras of 400 years beginning on 1 March.
    day += 719_468;
    let era = day / 146_097;
    let of_era = day % 146_097;
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    format!("{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}Z", time / 3600, time / 60 % 60, time % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates() {
        for (s, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_827_696, "2000-02-29T12:34:56Z"),
            (1_767_225_599, "2025-12-31T23:59:59Z"),
            (1_772_323_200, "2026-03-01T00:00:00Z"),
        ] {
            assert_eq!(utc(Duration::from_secs(s)), text);
        }
    }
}
