//! Names of topics and groups: what is a valid one, and which have a meaning. They are checked once, where a request
//! is decoded; no path is ever built from one. Source: Apache's `TopicValidator` (5.5).

use std::fmt;

/// Longest name of a topic, in characters.
pub const TOPIC_CHARS_MAX: usize = 127;
/// Longest name of a retry or dead-letter topic.
pub const RETRY_TOPIC_CHARS_MAX: usize = 255;
/// Longest name of a lite topic: the proxy's `maxLiteTopicSize`.
pub const LITE_TOPIC_CHARS_MAX: usize = 64;
/// Longest name of a group: a retry topic must be made of it.
pub const GROUP_CHARS_MAX: usize = 120;

/// A group's messages that wait to be tried again are in the topic of this prefix and the group's name.
pub const RETRY_PREFIX: &str = "%RETRY%";
/// The same for messages that ran out of attempts.
pub const DLQ_PREFIX: &str = "%DLQ%";
/// Light message queues: queues 0 of names with this prefix, which hold messages of other topics.
pub const LMQ_PREFIX: &str = "%LMQ%";
/// Separates the parts of a lite topic's queue name, `%LMQ%$PARENT$LITE`. No topic's name has it.
pub const LITE_SEPARATOR: char = '$';
/// Topics with this prefix are the system's.
pub const SYSTEM_PREFIX: &str = "rmq_sys_";

/// The topic whose settings automatically created topics take over.
pub const AUTO_CREATE_TOPIC: &str = "TBW102";
/// Where delayed messages wait, one queue for each delay level.
pub const SCHEDULE_TOPIC: &str = "SCHEDULE_TOPIC_XXXX";
pub const BENCHMARK_TOPIC: &str = "BenchmarkTest";
pub const SELF_TEST_TOPIC: &str = "SELF_TEST_TOPIC";
pub const OFFSET_MOVED_TOPIC: &str = "OFFSET_MOVED_EVENT";
pub const TRACE_TOPIC: &str = "RMQ_SYS_TRACE_TOPIC";
pub const TRANS_HALF_TOPIC: &str = "RMQ_SYS_TRANS_HALF_TOPIC";
pub const TRANS_OP_HALF_TOPIC: &str = "RMQ_SYS_TRANS_OP_HALF_TOPIC";
/// Where messages with a delivery time wait.
pub const WHEEL_TIMER_TOPIC: &str = "rmq_sys_wheel_timer";
pub const TRANS_CHECK_MAX_TIME_TOPIC: &str = "TRANS_CHECK_MAX_TIME_TOPIC";

/// Topics that are the system's and, in the second column, may not be sent to by clients. All others that begin with
/// [`SYSTEM_PREFIX`] are the system's too.
const SYSTEM_TOPICS: [(&str, bool); 12] = [
    (AUTO_CREATE_TOPIC, false),
    (BENCHMARK_TOPIC, false),
    ("CHECKPOINT_TOPIC", false),
    (OFFSET_MOVED_TOPIC, true),
    ("RMQ_SYS_ROCKSDB_TRANS_HALF_TOPIC", true),
    ("RMQ_SYS_ROCKSDB_TRANS_OP_HALF_TOPIC", true),
    (TRACE_TOPIC, false),
    (TRANS_HALF_TOPIC, true),
    (TRANS_OP_HALF_TOPIC, true),
    (SCHEDULE_TOPIC, true),
    (SELF_TEST_TOPIC, true),
    (TRANS_CHECK_MAX_TIME_TOPIC, true),
];

/// Why a name is not one. The text is Apache's, for the client; it repeats the name as it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NameError {
    Blank { kind: &'static str },
    Illegal { kind: &'static str, name: String },
    TooLong { kind: &'static str, name: String, max: usize },
    RetryTopicTooLong { name: String },
}

impl std::error::Error for NameError {}

impl fmt::Display for NameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Blank { kind } => write!(f, "The specified {kind} is blank."),
            Self::Illegal { kind, name } => {
                write!(
                    f,
                    "The specified {kind}: {name}, contains illegal characters, allowing only ^[%|a-zA-Z0-9_-]+$"
                )
            }
            Self::TooLong { kind, name, max } => {
                write!(f, "The specified {kind}: {name}, is longer than {kind} max length: {max}")
            }
            Self::RetryTopicTooLong { name } => write!(
                f,
                "The specified topic is DLQ or Retry topic: {name}, and it's longer than topic max length: {RETRY_TOPIC_CHARS_MAX}"
            ),
        }
    }
}

/// Whether `name` may name a topic.
///
/// # Errors
/// It is blank, has other characters than `%|a-zA-Z0-9_-`, or is longer than [`TOPIC_CHARS_MAX`] ([`RETRY_TOPIC_CHARS_MAX`] for
/// retry and dead-letter topics); asked in this order.
pub fn check_topic(name: &str) -> Result<(), NameError> {
    check_characters("topic", name)?;
    if name.starts_with(RETRY_PREFIX) || name.starts_with(DLQ_PREFIX) {
        if name.len() > RETRY_TOPIC_CHARS_MAX {
            return Err(NameError::RetryTopicTooLong { name: name.to_owned() });
        }
        return Ok(());
    }
    check_length("topic", name, TOPIC_CHARS_MAX)
}

/// Whether `name` may name a group.
///
/// # Errors
/// As [`check_topic`], with [`GROUP_CHARS_MAX`].
pub fn check_group(name: &str) -> Result<(), NameError> {
    check_characters("group", name)?;
    check_length("group", name, GROUP_CHARS_MAX)
}

fn check_characters(kind: &'static str, name: &str) -> Result<(), NameError> {
    if name.chars().all(is_java_whitespace) {
        return Err(NameError::Blank { kind });
    }
    let legal = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'%' | b'|' | b'_' | b'-');
    if !name.bytes().all(legal) {
        return Err(NameError::Illegal { kind, name: name.to_owned() });
    }
    Ok(())
}

/// For names of legal characters only, where a character is a byte.
fn check_length(kind: &'static str, name: &str, max: usize) -> Result<(), NameError> {
    if name.len() > max {
        return Err(NameError::TooLong { kind, name: name.to_owned(), max });
    }
    Ok(())
}

/// Java's `Character.isWhitespace`: no no-break spaces, but the four separators of ASCII.
fn is_java_whitespace(c: char) -> bool {
    matches!(c, '\t'..='\r' | '\u{1c}'..=' ' | '\u{1680}' | '\u{2000}'..='\u{2006}' | '\u{2008}'..='\u{200a}'
        | '\u{2028}' | '\u{2029}' | '\u{205f}' | '\u{3000}')
}

/// Whether a topic is the system's, and so not to be created or deleted by clients.
pub fn is_system_topic(topic: &str) -> bool {
    topic.starts_with(SYSTEM_PREFIX) || SYSTEM_TOPICS.iter().any(|(name, _)| *name == topic)
}

/// Whether clients may not send to a topic.
pub fn is_send_forbidden(topic: &str) -> bool {
    SYSTEM_TOPICS.iter().any(|(name, forbidden)| *forbidden && *name == topic)
}

/// Whether messages of a topic may belong to light message queues too. Source: `MixAll.topicAllowsLMQ`.
pub fn allows_lmq(topic: &str) -> bool {
    let waiting = topic == SCHEDULE_TOPIC || topic.starts_with(SYSTEM_PREFIX);
    !waiting && !topic.starts_with(RETRY_PREFIX) && !topic.starts_with(DLQ_PREFIX)
}

/// The queue that holds the messages of a lite topic.
pub fn lite_queue(parent: &str, lite: &str) -> String {
    format!("{LMQ_PREFIX}{LITE_SEPARATOR}{parent}{LITE_SEPARATOR}{lite}")
}

/// Whether `name` may name a lite topic. Source: the proxy's `GrpcValidator.validateLiteTopic`.
///
/// # Errors
/// It is blank, has other characters than `a-zA-Z0-9_-`, or is longer than [`LITE_TOPIC_CHARS_MAX`].
pub fn check_lite_topic(name: &str) -> Result<(), NameError> {
    let kind = "lite topic";
    check_characters(kind, name)?;
    if name.contains(['%', '|']) {
        return Err(NameError::Illegal { kind, name: name.to_owned() });
    }
    check_length(kind, name, LITE_TOPIC_CHARS_MAX)
}

/// Parent topic and lite topic of a queue that holds a lite topic's messages.
pub fn lite_parts(queue: &str) -> Option<(&str, &str)> {
    let (parent, lite) =
        queue.strip_prefix(LMQ_PREFIX)?.strip_prefix(LITE_SEPARATOR)?.split_once(LITE_SEPARATOR)?;
    (!parent.is_empty() && !lite.is_empty() && !lite.contains(LITE_SEPARATOR)).then_some((parent, lite))
}

/// The retry topic of a group.
pub fn retry_topic(group: &str) -> String {
    format!("{RETRY_PREFIX}{group}")
}

/// Where replies go that producers of a cluster ask for.
pub fn reply_topic(cluster: &str) -> String {
    format!("{cluster}_REPLY_TOPIC")
}

/// The dead-letter topic of a group.
pub fn dlq_topic(group: &str) -> String {
    format!("{DLQ_PREFIX}{group}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cve_2019_17572_and_other_bad_names_get_apaches_texts() {
        let text = |name: &str| check_topic(name).map_err(|e| e.to_string());
        let illegal = |name: &str| {
            let tail = "contains illegal characters, allowing only ^[%|a-zA-Z0-9_-]+$";
            Err(format!("The specified topic: {name}, {tail}"))
        };
        for blank in ["", " ", " \t\u{1c}\u{3000}"] {
            assert_eq!(text(blank), Err("The specified topic is blank.".to_owned()));
        }
        for bad in ["../../x", "a/b", "a b", "a.b", "a\u{7}b", "a\nb", "a\0b", "主题", "\u{a0}", "\u{85}"] {
            assert_eq!(text(bad), illegal(bad));
        }
        for good in ["a", "TopicTest", "%RETRY%g", "a|b%c_d-e", &"x".repeat(127)] {
            assert_eq!(text(good), Ok(()));
        }
        let long = "x".repeat(128);
        assert_eq!(
            text(&long),
            Err(format!("The specified topic: {long}, is longer than topic max length: 127"))
        );
        // Characters are looked at before the length.
        assert_eq!(text(&"é".repeat(500)), illegal(&"é".repeat(500)));
        let retry = format!("%RETRY%{}", "x".repeat(249));
        assert_eq!(
            text(&retry),
            Err(format!(
                "The specified topic is DLQ or Retry topic: {retry}, and it's longer than topic max length: 255"
            ))
        );
        assert_eq!(text(&retry[..255]), Ok(()));
        assert_eq!(text(&format!("%DLQ%{long}")), Ok(()));
    }

    #[test]
    fn groups() {
        assert_eq!(check_group(&"g".repeat(120)), Ok(()));
        let long = "g".repeat(121);
        assert_eq!(
            check_group(&long).unwrap_err().to_string(),
            format!("The specified group: {long}, is longer than group max length: 120")
        );
        assert_eq!(check_group("").unwrap_err().to_string(), "The specified group is blank.");
    }

    #[test]
    fn system_topics() {
        assert!(is_system_topic("TBW102") && !is_send_forbidden("TBW102"));
        assert!(is_system_topic("rmq_sys_wheel_timer") && !is_send_forbidden("rmq_sys_wheel_timer"));
        assert!(is_system_topic(SCHEDULE_TOPIC) && is_send_forbidden(SCHEDULE_TOPIC));
        assert!(!is_system_topic("%RETRY%g") && !is_system_topic("TopicTest"));
        assert_eq!((retry_topic("g"), dlq_topic("g")), ("%RETRY%g".to_owned(), "%DLQ%g".to_owned()));
    }

    #[test]
    fn lite_topics_and_their_queues() {
        assert_eq!(lite_parts(&lite_queue("P", "a")), Some(("P", "a")));
        for bad in ["%LMQ%a", "%LMQ%$P", "%LMQ%$P$", "%LMQ%$$a", "%LMQ%$P$a$b", "P$a"] {
            assert_eq!(lite_parts(bad), None, "{bad}");
        }
        assert!(check_lite_topic("a_B-9").is_ok() && check_lite_topic(&"x".repeat(64)).is_ok());
        for bad in ["", " ", "a%", "a|b", "a$b", "../a", &"x".repeat(65)] {
            assert!(check_lite_topic(bad).is_err(), "{bad}");
        }
    }
}
