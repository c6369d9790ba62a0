//! What a consuming client tells of itself: shown, and looked at for troubles.

use super::out::format;
use kerolox_wire::body::{ConsumerRunningInfo, MessageQueue, ProcessQueueInfo, from_json};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// A client that was just started may not know its subscriptions yet.
const SETTLED_AFTER_MS: i64 = 2 * 60 * 1_000;
/// Messages that lie so long in a client are not being consumed.
const BLOCKED_AFTER_MS: i64 = 60 * 1_000;

#[derive(Debug, Clone, PartialEq)]
pub(super) struct Running(pub(super) ConsumerRunningInfo);

impl Running {
    fn property(&self, name: &str) -> String {
        match self.0.properties.get(name) {
            Some(Value::String(text)) => text.clone(),
            Some(other) => other.to_string(),
            None => String::new(),
        }
    }

    pub(super) fn is_push(&self) -> bool {
        self.property("PROP_CONSUME_TYPE") == "CONSUME_PASSIVELY"
    }

    /// The queues that it has, in order.
    fn queues(&self) -> Vec<(MessageQueue, &ProcessQueueInfo)> {
        let read = |(key, info)| Some((from_json::<MessageQueue>(str::as_bytes(key)).ok()?, info));
        let mut all: Vec<_> =
            self.0.mq_table.iter().map(|(key, info)| (key.as_str(), info)).filter_map(read).collect();
        all.sort_by(|(a, _), (b, _)| {
            (&a.topic, &a.broker_name, a.queue_id).cmp(&(&b.topic, &b.broker_name, b.queue_id))
        });
        all
    }

    /// As Apache's class writes itself.
    pub(super) fn describe(&self) -> String {
        let mut out = String::from("#Consumer Properties#\n");
        let mut line = |text: String| {
            out.push_str(&text);
            out.push('\n');
        };
        for name in self.0.properties.keys() {
            line(format("%-40s: %s", &[name, &self.property(name)]));
        }
        line("\n\n#Consumer Subscription#".to_owned());
        let mut subscriptions: Vec<_> = self.0.subscription_set.iter().collect();
        subscriptions.sort_by(|a, b| a.topic.cmp(&b.topic));
        for (i, data) in subscriptions.iter().enumerate() {
            let (number, mode) = ((i + 1).to_string(), data.class_filter_mode.to_string());
            let cells = [number.as_str(), &data.topic, &mode, &data.sub_string];
            line(format("%03d Topic: %-40s ClassFilter: %-8s SubExpression: %s", &cells));
        }
        let titles = |last| ["#Topic", "#Broker Name", "#QID", last];
        line("\n\n#Consumer Offset#".to_owned());
        line(format("%-64s  %-32s  %-4s  %-20s", &titles("#Consumer Offset")));
        for (queue, info) in self.queues() {
            let (id, offset) = (queue.queue_id.to_string(), info.commit_offset.to_string());
            line(format("%-32s  %-32s  %-4d  %-20d", &[&queue.topic, &queue.broker_name, &id, &offset]));
        }
        line("\n\n#Consumer MQ Detail#".to_owned());
        line(format("%-64s  %-32s  %-4s  %-20s", &titles("#ProcessQueueInfo")));
        for (queue, info) in self.queues() {
            let (id, info) = (queue.queue_id.to_string(), describe(info));
            line(format("%-64s  %-32s  %-4d  %s", &[&queue.topic, &queue.broker_name, &id, &info]));
        }
        line("\n\n#Consumer Pop Detail#".to_owned());
        line(format("%-32s  %-32s  %-4s  %-20s", &titles("#ProcessQueueInfo")));
        for (key, info) in &self.0.mq_pop_table {
            let Ok(queue) = from_json::<MessageQueue>(key.as_bytes()) else { continue };
            let info = format!(
                "PopProcessQueueInfo [waitAckCount:{}, droped:{}, lastPopTimestamp:{}]",
                info.wait_ack_count, info.droped, info.last_pop_timestamp
            );
            let id = queue.queue_id.to_string();
            line(format("%-32s  %-32s  %-4d  %s", &[&queue.topic, &queue.broker_name, &id, &info]));
        }
        self.describe_rates(&mut out);
        out
    }

    fn describe_rates(&self, out: &mut String) {
        let mut line = |text: String| {
            out.push_str(&text);
            out.push('\n');
        };
        line("\n\n#Consumer RT&TPS#".to_owned());
        let titles = [
            "#Topic",
            "#Pull RT",
            "#Pull TPS",
            "#Consume RT",
            "#ConsumeOK TPS",
            "#ConsumeFailed TPS",
            "#ConsumeFailedMsgsInHour",
        ];
        line(format("%-64s  %14s %14s %14s %14s %18s %25s", &titles));
        for (topic, s) in &self.0.status_table {
            let rates = [s.pull_rt, s.pull_tps, s.consume_rt, s.consume_ok_tps, s.consume_failed_tps];
            let [a, b, c, d, e] = rates.map(|rate| format!("{rate:.2}"));
            let failed = s.consume_failed_msgs.to_string();
            line(format("%-32s  %14s %14s %14s %14s %18s %25d", &[topic, &a, &b, &c, &d, &e, &failed]));
        }
        if let Some(info) = &self.0.user_consumer_info {
            line("\n\n#User Consume Info#".to_owned());
            info.iter().for_each(|(name, value)| line(format("%-40s: %s", &[name, value])));
        }
        if let Some(jstack) = &self.0.jstack {
            out.push_str("\n\n#Consumer jstack#\n");
            out.push_str(jstack);
        }
    }

    pub(super) fn json(&self) -> Value {
        let queues: Vec<_> =
            self.queues().into_iter().map(|(queue, info)| json!({"queue": queue, "info": info})).collect();
        json!({
            "properties": self.0.properties,
            "subscriptions": self.0.subscription_set,
            "queues": queues,
            "rates": self.0.status_table,
            "userConsumerInfo": self.0.user_consumer_info,
            "jstack": self.0.jstack,
        })
    }

    /// What looks wrong with its queues.
    pub(super) fn troubles(&self, client_id: &str, now_ms: i64) -> Vec<String> {
        if !self.is_push() {
            return Vec::new();
        }
        let ordered = self.property("PROP_CONSUMEORDERLY").eq_ignore_ascii_case("true");
        let trouble = |(queue, info): (MessageQueue, &ProcessQueueInfo)| {
            let queue = format!(
                "MessageQueue [topic={}, brokerName={}, queueId={}]",
                queue.topic, queue.broker_name, queue.queue_id
            );
            let waits = now_ms - info.last_consume_timestamp;
            if ordered && !info.locked {
                let since = now_ms - info.last_lock_timestamp;
                Some(format!("{client_id} {queue} can't lock for a while, {since}ms"))
            } else if ordered && info.droped && info.try_unlock_times > 0 {
                Some(format!("{client_id} {queue} unlock {} times, still failed", info.try_unlock_times))
            } else if !ordered && waits > BLOCKED_AFTER_MS && info.cached_msg_count > 0 {
                Some(format!("{client_id} {queue} can't consume for a while, maybe blocked, {waits}ms"))
            } else {
                None
            }
        };
        self.queues().into_iter().filter_map(trouble).collect()
    }
}

fn describe(info: &ProcessQueueInfo) -> String {
    let compact = |ms: i64| super::time::digits(ms);
    format!(
        "ProcessQueueInfo [commitOffset={}, cachedMsgMinOffset={}, cachedMsgMaxOffset={}, cachedMsgCount={}, \
         cachedMsgSizeInMiB={}, transactionMsgMinOffset={}, transactionMsgMaxOffset={}, transactionMsgCount={}, \
         locked={}, tryUnlockTimes={}, lastLockTimestamp={}, droped={}, lastPullTimestamp={}, lastConsumeTimestamp={}]",
        info.commit_offset,
        info.cached_msg_min_offset,
        info.cached_msg_max_offset,
        info.cached_msg_count,
        info.cached_msg_size_in_mib,
        info.transaction_msg_min_offset,
        info.transaction_msg_max_offset,
        info.transaction_msg_count,
        info.locked,
        info.try_unlock_times,
        compact(info.last_lock_timestamp),
        info.droped,
        compact(info.last_pull_timestamp),
        compact(info.last_consume_timestamp),
    )
}

/// Whether the members of a group that push, once they had time to settle, subscribe to the same.
pub(super) fn same_subscriptions(all: &BTreeMap<String, Running>, now_ms: i64) -> bool {
    let Some(first) = all.values().next() else { return true };
    let started: i64 = first.property("PROP_CONSUMER_START_TIMESTAMP").parse().unwrap_or(now_ms);
    if !first.is_push() || now_ms - started <= SETTLED_AFTER_MS {
        return true;
    }
    let of = |running: &Running| {
        let mut all: Vec<_> = running
            .0
            .subscription_set
            .iter()
            .map(|data| (data.topic.clone(), data.sub_string.clone()))
            .collect();
        all.sort();
        all
    };
    all.values().all(|running| of(running) == of(first))
}

#[cfg(test)]
mod tests {
    use super::*;
    use kerolox_wire::body::from_json;

    /// As a Java client of 5.5.0 writes it, cut to what matters.
    const ANSWER: &str = r#"{"jstack":null,"mqPopTable":{{"brokerName":"b","queueId":1,"topic":"T"}:{"droped":false,"lastPopTimestamp":5,"waitAckCount":2}},
        "mqTable":{{"brokerName":"b","queueId":0,"topic":"T"}:{"cachedMsgCount":3,"cachedMsgSizeInMiB":1,"commitOffset":7,"lastConsumeTimestamp":1000,"locked":false}},
        "properties":{"PROP_CONSUME_TYPE":"CONSUME_PASSIVELY","PROP_CONSUMER_START_TIMESTAMP":"0","PROP_CONSUMEORDERLY":"false"},
        "statusTable":{"T":{"consumeFailedMsgs":1,"consumeFailedTPS":0.5,"consumeOKTPS":2.0,"consumeRT":3.0,"pullRT":4.0,"pullTPS":5.0}},
        "subscriptionSet":[{"topic":"T","subString":"*","classFilterMode":false}],"userConsumerInfo":{}}"#;

    #[test]
    fn a_clients_answer_is_shown_as_apache_shows_it() {
        let running = Running(from_json(ANSWER.as_bytes()).unwrap());
        let text = running.describe();
        let squeezed = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
        for part in [
            "#Consumer Properties#\nPROP_CONSUMEORDERLY                     : false\n",
            "\n\n#Consumer Subscription#\n001 Topic: T                                        ClassFilter: false    SubExpression: *\n",
            "#Consumer Offset     \nT                                 b                                 0     7                   \n",
            "[commitOffset=7, cachedMsgMinOffset=0, cachedMsgMaxOffset=0, cachedMsgCount=3, cachedMsgSizeInMiB=1, ",
            "PopProcessQueueInfo [waitAckCount:2, droped:false, lastPopTimestamp:5]\n",
            "          4.00           5.00           3.00           2.00               0.50                         1\n",
            "\n\n#User Consume Info#\n",
        ] {
            assert!(squeezed(&text).contains(&squeezed(part)), "{part}\n{text}");
        }
        assert_eq!(running.json()["queues"][0]["info"]["commitOffset"], 7);
    }

    #[test]
    fn troubles_are_found() {
        let mut running = Running(from_json(ANSWER.as_bytes()).unwrap());
        assert_eq!(
            running.troubles("c", 62_000),
            [
                "c MessageQueue [topic=T, brokerName=b, queueId=0] can't consume for a while, maybe blocked, 61000ms"
            ]
        );
        assert!(running.troubles("c", 60_000).is_empty());
        running.0.properties.insert("PROP_CONSUMEORDERLY".to_owned(), json!(true));
        assert_eq!(
            running.troubles("c", 500),
            ["c MessageQueue [topic=T, brokerName=b, queueId=0] can't lock for a while, 500ms"]
        );
        let mut all: BTreeMap<_, _> =
            [("a".to_owned(), running.clone()), ("b".to_owned(), running.clone())].into();
        assert!(same_subscriptions(&all, 1_000_000));
        if let Some(other) = all.get_mut("b") {
            other.0.subscription_set.clear();
        }
        assert!(!same_subscriptions(&all, 1_000_000));
        assert!(same_subscriptions(&all, 100_000), "they may not have settled yet");
    }
}
