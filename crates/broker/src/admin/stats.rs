//! Counters and the broker's own figures (codes 28 and 315).

use super::progress::Untimed;
use crate::Broker;
use crate::effect::Effect;
use crate::input::ConnId;
use crate::pending::Pending;
use crate::query::header_or_refuse;
use kerolox_store::DiskState;
use kerolox_wire::body::{BrokerStatsData, KvTable, to_json};
use kerolox_wire::header::ViewBrokerStatsData;
use kerolox_wire::{Command, ResponseCode, names};
use std::collections::BTreeMap;

/// What Apache states of its thread pools' queues. There are none here, so that nothing waits in them.
const POOLS: [&str; 5] = ["send", "pull", "litePull", "query", "ack"];

impl Broker {
    /// Code 315.
    pub(crate) fn view_stats(&mut self, conn: ConnId, request: &Command, out: &mut Vec<Effect>) {
        let header: ViewBrokerStatsData<'_> = header_or_refuse!(self, conn, request, out);
        let (name, key) = (header.stats_name, header.stats_key);
        match self.stats.view(&self.config.cluster, name, key) {
            Some([stats_minute, stats_hour, stats_day]) => {
                let body = BrokerStatsData { stats_day, stats_hour, stats_minute };
                self.reply_body(conn, request, &body, out);
            }
            None => {
                let remark = format!("The stats <{name}> <{key}> not exist");
                self.reply(conn, request, request.refuse(ResponseCode::SYSTEM_ERROR, remark), out);
            }
        }
    }

    /// Code 28.
    pub(crate) fn runtime_info(
        &mut self,
        now_ms: i64,
        conn: ConnId,
        request: &Command,
        out: &mut Vec<Effect>,
    ) {
        let mut table = BTreeMap::new();
        let mut put = |key: &str, value: String| drop(table.insert(key.to_owned(), value));
        self.put_traffic(now_ms, &mut put);
        self.put_log(&mut put);
        self.put_waiting(now_ms, &mut put);
        for pool in POOLS {
            for what in ["QueueSize", "QueueCapacity", "QueueHeadWaitTimeMills"] {
                put(&format!("{pool}ThreadPool{what}"), "0".to_owned());
            }
        }
        for nothing in [
            "EndTransactionQueueSize",
            "EndTransactionThreadPoolQueueCapacity",
            "dispatchMaxBuffer",
            "dispatchBehindBytes",
            "pageCacheLockTimeMills",
            "remainTransientStoreBufferNumbs",
            "startAcceptSendRequestTimeStamp",
        ] {
            put(nothing, "0".to_owned());
        }
        put("brokerActive", (!self.draining).to_string());
        put("brokerVersionDesc", "V5_5_0".to_owned());
        put("keroloxVersion", env!("CARGO_PKG_VERSION").to_owned());
        let untimed = Untimed::Runtime(table);
        let any_message = self.store.queues().any(|(_, _, bounds)| bounds.max > bounds.min);
        if !any_message {
            return self.times_read(now_ms, conn, request, untimed, Vec::new(), out);
        }
        let plan = self.store.plan_first_time();
        self.start_read(plan, Pending::Times { conn, request: request.clone(), untimed }, out);
    }

    fn put_traffic(&self, now_ms: i64, put: &mut impl FnMut(&str, String)) {
        let (stats, totals) = (&self.stats, &self.stats.totals);
        let up_s = (now_ms - stats.start_ms).max(0) / 1_000;
        let (days, hours, minutes) = (up_s / 86_400, up_s / 3_600 % 24, up_s / 60 % 60);
        put("bootTimestamp", stats.start_ms.to_string());
        put("runtime", format!("[ {days} days, {hours} hours, {minutes} minutes, {} seconds ]", up_s % 60));
        put("putTps", stats.rates(|t| t.put));
        put("getFoundTps", stats.rates(|t| t.found));
        put("getMissTps", stats.rates(|t| t.missed));
        put("getTotalTps", stats.rates(|t| t.found + t.missed));
        // Up to 4.9 it was spelled with one r.
        put("getTransferredTps", stats.rates(|t| t.given));
        put("getTransferedTps", stats.rates(|t| t.given));
        put("putMessageTimesTotal", totals.put.to_string());
        put("putMessageSizeTotal", totals.put_bytes.to_string());
        let average = if totals.put > 0 { totals.put_bytes as f64 / totals.put as f64 } else { 0.0 };
        put("putMessageAverageSize", format!("{average:?}"));
        put("putMessageFailedTimes", self.counters.refused_sends.to_string());
        put("putMessageEntireTimeMax", stats.latency().max_ms.to_string());
        put("putMessageDistributeTime", stats.latency().ranges());
        put("putLatency99", format!("{:.2}", stats.latency().quantile_ms(0.99)));
        put("putLatency999", format!("{:.2}", stats.latency().quantile_ms(0.999)));
        // What memory answers takes no time that this clock could tell; reads from disk are not timed.
        put("getMessageEntireTimeMax", "0".to_owned());
        for (what, days) in [("Put", stats.put_by_day), ("Get", stats.got_by_day)] {
            put(&format!("msg{what}TotalYesterdayMorning"), days.yesterday_morning.to_string());
            put(&format!("msg{what}TotalTodayMorning"), days.this_morning.to_string());
            put(&format!("msg{what}TotalTodayNow"), days.now.to_string());
        }
    }

    fn put_log(&self, put: &mut impl FnMut(&str, String)) {
        let marks = self.store.watermarks();
        put("commitLogMinOffset", self.store.begin().to_string());
        put("commitLogMaxOffset", marks.appended.to_string());
        put("remainHowManyDataToFlush", byte_count(marks.appended - marks.flushed));
        let DiskState { space, used_ratio, .. } = self.store.disk();
        let ratio = match space {
            Some(_) => format!("{used_ratio:.2}"),
            // Not measured yet: Apache's answer where it cannot tell.
            None => "-1".to_owned(),
        };
        put("commitLogDiskRatio", ratio.clone());
        put("consumeQueueDiskRatio", ratio);
        if let Some(space) = space {
            let (total, free) = (byte_count(space.total()), byte_count(space.available));
            put("commitLogDirCapacity", format!("Total : {total}, Free : {free}."));
        }
    }

    /// What waits for its time.
    fn put_waiting(&self, now_ms: i64, put: &mut impl FnMut(&str, String)) {
        for (index, offset) in self.state.delay_offsets.iter().enumerate() {
            let max = self.bounds(names::SCHEDULE_TOPIC, index as u32).max;
            put(&format!("scheduleMessageOffset_{}", index + 1), format!("{offset},{max}"));
        }
        put("timerReadBehind", (self.timers.late_ms(now_ms) / 1_000).to_string());
        put("timerOffsetBehind", "0".to_owned());
        put("timerCongestNum", self.timers.len().to_string());
        put("timerEnqueueTps", format!("{:?}", self.stats.put_tps(names::WHEEL_TIMER_TOPIC)));
        put("timerDequeueTps", format!("{:?}", self.stats.rate(|t| t.timers)));
    }
}

/// The body of the answer to code 28.
pub(super) fn runtime_body(mut table: BTreeMap<String, String>, first_ms: Option<i64>) -> Vec<u8> {
    table.insert("earliestMessageTimeStamp".to_owned(), first_ms.unwrap_or(-1).to_string());
    to_json(&KvTable { table })
}

/// `512 B`, `1.5 GiB`: as Apache writes it and its tools read it.
fn byte_count(bytes: u64) -> String {
    if bytes < 1_024 {
        return format!("{bytes} B");
    }
    let (mut value, mut unit) = (bytes as f64 / 1_024.0, "KiB");
    for next in ["MiB", "GiB", "TiB", "PiB", "EiB"] {
        if value < 1_024.0 {
            break;
        }
        value /= 1_024.0;
        unit = next;
    }
    format!("{value:.1} {unit}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_counted_as_apache_counts_them() {
        for (bytes, text) in [
            (0, "0 B"),
            (1_023, "1023 B"),
            (1_024, "1.0 KiB"),
            (1_536 << 10, "1.5 MiB"),
            (252 << 30, "252.0 GiB"),
            (u64::MAX, "16.0 EiB"),
        ] {
            assert_eq!(byte_count(bytes), text);
        }
    }
}
