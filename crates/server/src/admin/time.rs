//! Times as Apache's tools show and read them, in the time zone of this machine.

use super::flags::Usage;
use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use std::time::{SystemTime, UNIX_EPOCH};

/// To the second: `2026-01-31 23:59:59`.
pub(super) fn to_second(ms: i64) -> String {
    show(ms, "%Y-%m-%d %H:%M:%S")
}

/// To the millisecond, with a comma before it.
pub(super) fn to_millisecond(ms: i64) -> String {
    format!("{},{:03}", show(ms, "%Y-%m-%d %H:%M:%S"), ms.rem_euclid(1_000))
}

/// All digits down to the millisecond, without anything between.
pub(super) fn digits(ms: i64) -> String {
    format!("{}{:03}", show(ms, "%Y%m%d%H%M%S"), ms.rem_euclid(1_000))
}

fn show(ms: i64, format: &str) -> String {
    match Timestamp::from_millisecond(ms) {
        Ok(time) => time.to_zoned_datetime(TimeZone::system()).strftime(format).to_string(),
        Err(_) => ms.to_string(),
    }
}

pub(super) fn now_ms() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as i64)
}

/// Milliseconds since the month began.
pub(super) fn ms_of_month(ms: i64) -> i64 {
    let begun = Timestamp::from_millisecond(ms).ok().and_then(|time| {
        let first = time.to_zoned_datetime(TimeZone::system()).first_of_month().ok()?;
        Some(first.start_of_day().ok()?.timestamp().as_millisecond())
    });
    begun.map_or(0, |begun| ms - begun)
}

/// Reads `now`, milliseconds since 1970, or `yyyy-MM-dd#HH:mm:ss:SSS`.
pub(super) fn parse(text: &str) -> Result<i64, Usage> {
    if text == "now" {
        return Ok(now_ms());
    }
    if let Ok(ms) = text.parse() {
        return Ok(ms);
    }
    let (seconds, ms) = text.rsplit_once(':').unwrap_or((text, "0"));
    let date = DateTime::strptime("%Y-%m-%d#%H:%M:%S", seconds).ok();
    let date = date.and_then(|date| date.to_zoned_datetime(TimeZone::system()).ok());
    match (date, ms.parse::<i64>()) {
        (Some(date), Ok(ms @ 0..1_000)) => Ok(date.timestamp().as_millisecond() + ms),
        _ => Err(Usage(format!(
            "{text:?} is no time: now, milliseconds since 1970 or yyyy-MM-dd#HH:mm:ss:SSS"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_there_and_back() {
        for ms in [0, 1_700_000_000_123, 951_782_400_999] {
            let text = to_millisecond(ms).replace(' ', "#").replace(',', ":");
            assert_eq!(parse(&text).unwrap(), ms);
            assert!(to_millisecond(ms).starts_with(&to_second(ms)));
        }
        assert_eq!(parse("-1").unwrap(), -1);
        let second = parse("2026-02-02#00:00:00:005").unwrap();
        assert_eq!(ms_of_month(second), 24 * 60 * 60 * 1_000 + 5);
        assert!((now_ms() - parse("now").unwrap()).abs() < 10_000);
        for text in ["", "then", "2026-01-31", "2026-02-31#00:00:00:000", "2026-01-31#00:00:00:1000"] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
