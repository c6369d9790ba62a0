//! What an operator can decide about a broker. The program fills it from flags and Apache's `broker.conf`.

use kerolox_wire::body::MessageRequestMode;
use std::net::SocketAddr;

/// Settings of one broker. Field names follow Apache's keys, which are named at each.
#[derive(Debug, Clone)]
pub struct BrokerConfig {
    /// `brokerClusterName`.
    pub cluster: String,
    /// `brokerName`: the replica group that clients see.
    pub name: String,
    /// `brokerId`: 0 is the master.
    pub id: i64,
    /// What clients are told to connect to, `HOST:PORT`.
    pub address: String,
    /// The address that goes into records and message ids.
    pub host: SocketAddr,
    /// Where replicas connect, `HOST:PORT`.
    pub ha_address: String,
    /// `regionId`, told to clients for message traces.
    pub region: String,
    /// `traceOn`, likewise.
    pub trace_on: bool,
    /// `brokerPermission`: bits of [`perm`].
    pub permission: i32,
    /// `autoCreateTopicEnable`.
    pub auto_create_topic: bool,
    /// `autoCreateSubscriptionGroup`.
    pub auto_create_group: bool,
    /// `defaultTopicQueueNums`: queues of an auto-created topic, at most.
    pub default_queues: u32,
    /// `clusterTopicEnable`, `brokerTopicEnable`: whether the topics named as cluster and broker can be used.
    pub cluster_topic: bool,
    pub broker_topic: bool,
    /// `traceTopicEnable`, `msgTraceTopicName`.
    pub trace_topic: Option<String>,
    /// `maxMessageSize`: largest body in bytes.
    pub message_bytes_max: usize,
    /// `messageDelayLevel` in milliseconds; the first is level 1.
    pub delay_levels_ms: Vec<i64>,
    /// `rejectTransactionMessage`.
    pub reject_transactions: bool,
    /// `transactionTimeOut`: age of a half message at which its producer is asked first, unless it set a time itself.
    pub transaction_timeout_ms: i64,
    /// `transactionCheckInterval`: from one question to the next.
    pub transaction_check_interval_ms: i64,
    /// `transactionCheckMax`: questions after which a half message is given up.
    pub transaction_check_max: u32,
    /// `timerMaxDelaySec`: how far ahead a message may be timed. Apache's default is three days.
    pub timer_max_delay_ms: i64,
    /// `recallMessageEnable`.
    pub recall: bool,
    /// `enableTopicMessageTypeCheck`: whether a topic takes only messages of its `message.type`.
    pub check_message_types: bool,
    /// `enableMixedMessageType`: whether topics may be created that take messages of all types.
    pub mixed_types: bool,
    /// `notifyConsumerIdsChangedEnable`: whether consumers are told at once that others came or went.
    pub notify_changes: bool,
    /// `rejectPullConsumerEnable`: whether only consumers that send heartbeats, and do not decide themselves what they pull, are served.
    pub reject_pull_consumers: bool,
    /// `storeReplyMessageEnable`: whether replies go into the log too.
    pub store_replies: bool,
    /// `useServerSideResetOffset`: whether the broker resets offsets itself, or has its clients do it.
    pub server_side_reset: bool,
    /// `longPollingEnable`; without it a pull is held for `short_polling_ms`.
    pub long_polling: bool,
    /// `shortPollingTimeMills`.
    pub short_polling_ms: i64,
    /// `enablePropertyFilter`: whether consumers may filter by SQL92.
    pub sql92: bool,
    /// `enableLmq` and `enableMultiDispatch`: producers may name light message queues for their messages, and consumers
    /// read these as topics. (Lite topics are served without.)
    pub lmq: bool,
    /// `litePullMessageEnable`.
    pub lite_pull: bool,
    /// `defaultMessageRequestMode`: how clients that ask for their queues get messages, where nobody said it of their group.
    pub request_mode: MessageRequestMode,
    /// `defaultPopShareQueueNum`: with how many others they share their queues then; 0 or less: with all.
    pub pop_share: i32,
    /// A group without an offset begins at 0 in a queue whose first message lies at most so many bytes of log back, whatever
    /// its `ConsumeFromWhere` says: Apache's `accessMessageInMemoryMaxRatio` (40 %) of the machine's memory.
    pub young_bytes: u64,
    /// A client that sent no heartbeat for so long is dropped: Apache's `CHANNEL_EXPIRED_TIMEOUT`, 120 s.
    pub client_expiry_ms: i64,
    /// A queue lock that was not renewed for so long is free: Apache's `rocketmq.broker.rebalance.lockMaxLiveTime`, 60 s.
    pub lock_expiry_ms: i64,
    /// `fileReservedTime`: hours for which messages are kept. The store is told by its own settings; this one counts when it was
    /// changed at run time.
    pub retention_hours: i64,
    /// `keepUnreadMessages`: messages that a consumer group has still to read stay, however old; a disk that fills up refuses new
    /// ones then.
    pub keep_unread: bool,
    /// Keys of configuration files that have an effect, and what they are set to: for those who ask (code 26).
    pub shown: std::collections::BTreeMap<String, String>,
    /// Offsets that came with pulls are written to the log at least this often.
    pub offset_flush_ms: i64,
    /// Upper bounds; see `docs/operate/limits.md`.
    pub limits: Limits,
    /// Seed of the choice among retry and dead-letter queues.
    pub seed: u64,
}

/// Numbers that keep a hostile or careless client from taking the broker's memory.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Parked pulls in all.
    pub parked_max: usize,
    /// Parked pulls of one connection.
    pub parked_of_connection_max: usize,
    /// Bytes of the tag expressions that parked pulls brought along.
    pub parked_filter_bytes_max: usize,
    /// Topics, system topics included.
    pub topics_max: usize,
    /// Consumer groups.
    pub groups_max: usize,
    /// Reads under way on reader threads.
    pub reads_max: usize,
    /// Queues of one topic, and ids of queues that offsets are kept for.
    pub queues_max: u32,
    /// Bytes of state changes that wait for the log to take them, above which commits of offsets are refused.
    pub changes_bytes_max: usize,
    /// Committed offsets of all groups.
    pub offsets_max: usize,
    /// Timer messages that wait.
    pub timers_max: usize,
    /// Entries of the timers' index that are read at once at a start.
    pub timer_entries_at_once: u32,
    /// Requests that wait for answers of clients.
    pub relays_max: usize,
    /// Light message queues, those of lite topics included.
    pub lmq_max: usize,
    /// Lite topics that clients subscribe to, counted for each.
    pub lite_subscriptions_max: usize,
    /// Keys of all compaction topics: about 130 bytes of memory each.
    pub compacted_keys_max: usize,
    /// Popped messages that are not acknowledged.
    pub in_flight_max: usize,
    /// Held queue locks.
    pub locks_max: usize,
    /// Pairs of a topic and a group that statistics tell apart.
    pub stats_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            parked_max: 200_000,
            parked_of_connection_max: 40_000,
            parked_filter_bytes_max: 64 << 20,
            topics_max: 200_000,
            groups_max: 100_000,
            reads_max: 4_096,
            queues_max: 8_192,
            changes_bytes_max: 4 << 20,
            offsets_max: 2_000_000,
            timers_max: 20_000_000,
            timer_entries_at_once: 64 << 10,
            relays_max: 10_000,
            lmq_max: 1_000_000,
            lite_subscriptions_max: 100_000,
            compacted_keys_max: 2_000_000,
            in_flight_max: 4_000_000,
            locks_max: 500_000,
            stats_max: 200_000,
        }
    }
}

/// Apache's default `messageDelayLevel`: `1s 5s 10s 30s 1m … 10m 20m 30m 1h 2h`.
pub const DELAY_LEVELS_DEFAULT: &str = "1s 5s 10s 30s 1m 2m 3m 4m 5m 6m 7m 8m 9m 10m 20m 30m 1h 2h";

impl BrokerConfig {
    /// Apache's defaults for a broker that clients reach at `host`.
    pub fn new(name: &str, host: SocketAddr) -> Self {
        Self {
            cluster: "DefaultCluster".into(),
            name: name.into(),
            id: 0,
            address: host.to_string(),
            host,
            ha_address: SocketAddr::new(host.ip(), host.port().saturating_add(1)).to_string(),
            region: "DefaultRegion".into(),
            trace_on: true,
            permission: perm::READ | perm::WRITE,
            auto_create_topic: true,
            auto_create_group: true,
            default_queues: 8,
            cluster_topic: true,
            broker_topic: true,
            trace_topic: None,
            message_bytes_max: 4 * 1024 * 1024,
            delay_levels_ms: parse_delay_levels(DELAY_LEVELS_DEFAULT).unwrap_or_default(),
            reject_transactions: false,
            transaction_timeout_ms: 6_000,
            transaction_check_interval_ms: 30_000,
            transaction_check_max: 15,
            timer_max_delay_ms: 40 * 86_400_000,
            recall: true,
            check_message_types: false,
            mixed_types: false,
            notify_changes: true,
            reject_pull_consumers: false,
            store_replies: true,
            server_side_reset: true,
            long_polling: true,
            short_polling_ms: 1_000,
            sql92: true,
            lmq: false,
            lite_pull: true,
            request_mode: MessageRequestMode::Pull,
            pop_share: -1,
            young_bytes: 8 << 30,
            client_expiry_ms: 120_000,
            lock_expiry_ms: 60_000,
            offset_flush_ms: 1_000,
            retention_hours: 72,
            keep_unread: true,
            shown: std::collections::BTreeMap::new(),
            limits: Limits::default(),
            seed: 0,
        }
    }
}

/// Reads Apache's `messageDelayLevel`: numbers with unit `s`, `m`, `h` or `d`, separated by spaces; 1 to 64 levels.
///
/// # Errors
/// Names the level that cannot be read.
pub fn parse_delay_levels(text: &str) -> Result<Vec<i64>, String> {
    let levels = text.split_whitespace().map(parse_delay).collect::<Result<Vec<_>, _>>()?;
    if levels.is_empty() || levels.len() > 64 {
        return Err(format!("{} delay levels; there must be 1 to 64", levels.len()));
    }
    Ok(levels)
}

fn parse_delay(level: &str) -> Result<i64, String> {
    let bad = || format!("delay level {level:?} is not a number followed by s, m, h or d");
    let unit = level.chars().last().ok_or_else(bad)?;
    let scale = match unit {
        's' => 1_000,
        'm' => 60_000,
        'h' => 3_600_000,
        'd' => 86_400_000,
        _ => return Err(bad()),
    };
    let number: i64 = level.strip_suffix(unit).and_then(|n| n.parse().ok()).ok_or_else(bad)?;
    number.checked_mul(scale).filter(|ms| *ms >= 0).ok_or_else(bad)
}

/// Permission bits of topics and brokers. Source: Apache's `PermName`.
pub mod perm {
    pub const INHERIT: i32 = 1;
    pub const WRITE: i32 = 2;
    pub const READ: i32 = 4;
    pub const PRIORITY: i32 = 8;

    pub fn readable(perm: i32) -> bool {
        perm & READ != 0
    }

    pub fn writable(perm: i32) -> bool {
        perm & WRITE != 0
    }

    /// As Apache prints it: `RW-`, `RWX` with inheritance.
    pub fn text(perm: i32) -> String {
        let bit = |mask, letter| if perm & mask != 0 { letter } else { '-' };
        [bit(READ, 'R'), bit(WRITE, 'W'), bit(INHERIT, 'X')].iter().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn apaches_delay_levels() {
        let levels = parse_delay_levels(DELAY_LEVELS_DEFAULT).unwrap();
        assert_eq!(levels.len(), 18);
        assert_eq!((levels[0], levels[2], levels[4], levels[17]), (1_000, 10_000, 60_000, 7_200_000));
    }

    #[test]
    fn bad_delay_levels_are_named() {
        for bad in ["", "5", "s", "1x", "-1s", "1s 99999999999999999d", "1s,5s"] {
            assert!(parse_delay_levels(bad).is_err(), "{bad:?}");
        }
    }
}
