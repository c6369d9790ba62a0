//! Settings that may be changed while the broker runs (code 25). Nothing that is a path, a command, an address or the form of
//! the store is among them, ever: that was CVE-2023-33246.

use crate::config::{BrokerConfig, parse_delay_levels};
use kerolox_wire::body::MessageRequestMode;
use std::collections::BTreeMap;

/// Longest value.
const VALUE_BYTES_MAX: usize = 4_096;
/// Of a value that is refused, so much is repeated.
const SHOWN_CHARS_MAX: usize = 64;

/// One key, under Apache's name.
pub(crate) struct Hot {
    pub(crate) name: &'static str,
    /// What a value must be.
    expects: &'static str,
    /// `None`: the value is not valid, and nothing was changed.
    set: fn(&mut BrokerConfig, &str) -> Option<()>,
    show: fn(&BrokerConfig) -> String,
}

impl Hot {
    pub(crate) fn show(&self, config: &BrokerConfig) -> String {
        (self.show)(config)
    }
}

fn boolean(text: &str) -> Option<bool> {
    match text {
        "true" => Some(true),
        "false" => Some(false),
        _ => None,
    }
}

fn number(text: &str, from: i64, to: i64) -> Option<i64> {
    text.parse().ok().filter(|number| (from..=to).contains(number))
}

macro_rules! flag {
    ($name:literal, $field:ident) => {
        Hot {
            name: $name,
            expects: "true or false",
            set: |config, text| Some(config.$field = boolean(text)?),
            show: |config| config.$field.to_string(),
        }
    };
}

macro_rules! int {
    ($name:literal, $field:ident as $type:ty, $from:literal to $to:literal) => {
        int!($name, $field as $type, $from to $to, 1)
    };
    ($name:literal, $field:ident as $type:ty, $from:literal to $to:literal, $scale:literal) => {
        Hot {
            name: $name,
            expects: concat!("a whole number from ", $from, " to ", $to),
            set: |config, text| Some(config.$field = number(text, $from, $to)? as $type * $scale),
            show: |config| (config.$field / $scale).to_string(),
        }
    };
}

/// By name. What is valid is what the table of configuration files says too; a test compares them.
pub(crate) const KEYS: &[Hot] = &[
    flag!("autoCreateSubscriptionGroup", auto_create_group),
    flag!("autoCreateTopicEnable", auto_create_topic),
    Hot {
        name: "brokerPermission",
        expects: "2, 4 or 6",
        set: |config, text| {
            config.permission = number(text, 2, 6).filter(|bits| bits % 2 == 0)? as i32;
            Some(())
        },
        show: |config| config.permission.to_string(),
    },
    flag!("brokerTopicEnable", broker_topic),
    flag!("clusterTopicEnable", cluster_topic),
    Hot {
        name: "defaultMessageRequestMode",
        expects: "PULL or POP",
        set: |config, text| {
            config.request_mode = MessageRequestMode::from_name(text)?;
            Some(())
        },
        show: |config| config.request_mode.name().to_owned(),
    },
    int!("defaultPopShareQueueNum", pop_share as i32, -1 to 1024),
    int!("defaultTopicQueueNums", default_queues as u32, 1 to 1024),
    int!("fileReservedTime", retention_hours as i64, 1 to 87600),
    flag!("keepUnreadMessages", keep_unread),
    flag!("litePullMessageEnable", lite_pull),
    flag!("longPollingEnable", long_polling),
    Hot {
        name: "messageDelayLevel",
        expects: "1 to 64 numbers, each followed by s, m, h or d, separated by spaces",
        set: |config, text| {
            config.delay_levels_ms = parse_delay_levels(text).ok()?;
            Some(())
        },
        show: |config| config.delay_levels_ms.iter().map(|ms| delay_text(*ms)).collect::<Vec<_>>().join(" "),
    },
    flag!("recallMessageEnable", recall),
    flag!("rejectTransactionMessage", reject_transactions),
    int!("shortPollingTimeMills", short_polling_ms as i64, 0 to 600000),
    int!("timerMaxDelaySec", timer_max_delay_ms as i64, 1 to 31536000000, 1000),
    flag!("traceOn", trace_on),
    int!("transactionCheckInterval", transaction_check_interval_ms as i64, 1 to 86400000),
    int!("transactionCheckMax", transaction_check_max as u32, 0 to 1000000),
    int!("transactionTimeOut", transaction_timeout_ms as i64, 1 to 86400000),
];

/// `90000` as `90s`, `7200000` as `2h`.
fn delay_text(ms: i64) -> String {
    let seconds = ms / 1_000;
    for (unit, scale) in [('d', 86_400), ('h', 3_600), ('m', 60)] {
        if seconds > 0 && seconds % scale == 0 {
            return format!("{}{unit}", seconds / scale);
        }
    }
    format!("{seconds}s")
}

/// Keys that [`crate::BrokerConfig`] lets change while the broker runs, for the documentation and tests.
pub fn hot_keys() -> impl Iterator<Item = &'static str> {
    KEYS.iter().map(|key| key.name)
}

pub(crate) fn is_hot(name: &str) -> bool {
    KEYS.iter().any(|key| key.name == name)
}

/// Sets a key.
///
/// # Errors
/// Names key and value and says what it must be.
pub fn set(config: &mut BrokerConfig, name: &str, value: &str) -> Result<(), String> {
    let key = KEYS.iter().find(|key| key.name == name).ok_or_else(|| format!("{name} is not a key"))?;
    let valid = value.len() <= VALUE_BYTES_MAX && (key.set)(config, value).is_some();
    let shown = || value.chars().take(SHOWN_CHARS_MAX).collect::<String>();
    if valid { Ok(()) } else { Err(format!("{name}={} is not valid: it must be {}", shown(), key.expects)) }
}

/// The settings with what was changed at run time. What is not valid any more (another version changed it) is left out.
pub(crate) fn with(base: &BrokerConfig, changed: &BTreeMap<String, String>) -> BrokerConfig {
    let mut config = base.clone();
    for (name, value) in changed {
        let _ = set(&mut config, name, value);
    }
    config
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config() -> BrokerConfig {
        BrokerConfig::new("b", "127.0.0.1:1".parse().unwrap())
    }

    #[test]
    fn every_key_takes_what_it_shows_and_nothing_else() {
        assert!(KEYS.windows(2).all(|w| w[0].name < w[1].name));
        for key in KEYS {
            let (mut set_to, shown) = (config(), key.show(&config()));
            set(&mut set_to, key.name, &shown).unwrap();
            assert_eq!(key.show(&set_to), shown, "{}", key.name);
            for bad in ["", "x", "-2", "99999999999999999999", "TRUE", "1e3", "../x", "`reboot`"] {
                let why = set(&mut set_to, key.name, bad).unwrap_err();
                assert!(why.starts_with(key.name), "{why}");
                assert_eq!(key.show(&set_to), shown, "{}={bad}", key.name);
            }
        }
    }

    #[test]
    fn cve_2023_33246_nothing_dangerous_is_hot() {
        let never =
            ["path", "home", "filterserver", "dir", "addr", "brokerip", "port", "plugin", "acl", "command"];
        for name in hot_keys() {
            assert!(!never.iter().any(|never| name.to_lowercase().contains(never)), "{name}");
        }
    }

    #[test]
    fn a_long_value_is_not_repeated_whole() {
        let why = set(&mut config(), "defaultTopicQueueNums", &"9".repeat(VALUE_BYTES_MAX + 1)).unwrap_err();
        assert!(why.len() < 200 && why.contains(&format!("={} is not valid", "9".repeat(64))), "{why}");
    }

    #[test]
    fn delays_are_shown_as_they_are_written() {
        let mut config = config();
        set(&mut config, "messageDelayLevel", "1s 90s 2m 3h 1d 0s").unwrap();
        let shown = KEYS.iter().find(|key| key.name == "messageDelayLevel").unwrap().show(&config);
        assert_eq!(shown, "1s 90s 2m 3h 1d 0s");
    }
}
