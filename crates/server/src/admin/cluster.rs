//! Clusters: their brokers, and how those are doing.

use super::flags::{Args, Usage};
use super::out::{Cell, Table};
use super::send::Sender;
use super::session::Session;
use super::time;
use anyhow::Result;
use kerolox_wire::body::{ClusterInfo, KvTable};
use kerolox_wire::{Command, RequestCode};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::Duration;

static LOADS: Table = Table {
    name: "brokers",
    head: "%-22s  %-22s  %-4s  %-22s %-16s  %16s  %30s  %-22s  %-11s  %-12s  %-8s  %-10s",
    row: "%-22s  %-22s  %-4s  %-22s %-16s  %16s  %30s  %-22s  %11s  %-12s  %-8s  %10s",
    columns: &[
        ("#Cluster Name", "cluster"),
        ("#Broker Name", "brokerName"),
        ("#BID", "brokerId"),
        ("#Addr", "address"),
        ("#Version", "version"),
        ("#InTPS(LOAD)", "in"),
        ("#OutTPS(LOAD)", "out"),
        ("#Timer(Progress)", "timer"),
        ("#PCWait(ms)", "pageCacheLockTimeMills"),
        ("#Hour", "hours"),
        ("#SPACE", "commitLogDiskRatio"),
        ("#ACTIVATED", "active"),
    ],
};

static TOTALS: Table = Table {
    name: "brokers",
    head: "%-16s  %-32s %14s %14s %14s %14s",
    row: "%-16s  %-32s %14d %14d %14d %14d",
    columns: &[
        ("#Cluster Name", "cluster"),
        ("#Broker Name", "brokerName"),
        ("#InTotalYest", "inTotalYesterday"),
        ("#OutTotalYest", "outTotalYesterday"),
        ("#InTotalToday", "inTotalToday"),
        ("#OutTotalToday", "outTotalToday"),
    ],
};

/// The figures of a running broker.
#[derive(Debug, Default)]
struct Figures(BTreeMap<String, String>);

impl Figures {
    /// None at all where the broker does not tell them.
    fn of(session: &mut Session, address: &str) -> Self {
        let request = Command::request(RequestCode::GET_BROKER_RUNTIME_INFO);
        Self(session.body::<KvTable>(address, request).map(|table| table.table).unwrap_or_default())
    }

    fn text(&self, key: &str) -> &str {
        self.0.get(key).map_or("", String::as_str)
    }

    /// The first number of several; 0 if there is none.
    fn number(&self, key: &str) -> f64 {
        self.text(key).split(' ').next().and_then(|first| first.parse().ok()).unwrap_or_default()
    }

    /// How many more `now` than `before`.
    fn grown(&self, now: &str, before: &str) -> i64 {
        (self.number(now) - self.number(before)) as i64
    }

    /// A load: rate, and for each kind of request how many wait and how long the first has waited.
    fn load(&self, rate: &str, kinds: &[&str]) -> Cell {
        let part = |kind: &&str| {
            let or_none = |key: String| match self.text(&key) {
                "" if *kind == "ack" => "N".to_owned(),
                text => text.to_owned(),
            };
            let size = or_none(format!("{kind}ThreadPoolQueueSize"));
            format!("{size},{}ms", or_none(format!("{kind}ThreadPoolQueueHeadWaitTimeMills")))
        };
        let rate = self.number(rate);
        let parts: Vec<_> = kinds.iter().map(part).collect();
        Cell::shown(format!("{rate:9.2}({})", parts.join("|")), json!({"tps": rate, "load": parts}))
    }

    fn timer(&self) -> Cell {
        let [read, offset, congest, enqueue, dequeue] =
            ["timerReadBehind", "timerOffsetBehind", "timerCongestNum", "timerEnqueueTps", "timerDequeueTps"]
                .map(|key| self.number(key));
        Cell::shown(
            format!("{read}-{offset}({:.1}w, {enqueue:.1}, {dequeue:.1})", congest / 10_000.0),
            json!({"readBehind": read, "offsetBehind": offset, "congested": congest, "enqueueTps": enqueue, "dequeueTps": dequeue}),
        )
    }

    /// How many hours back the oldest message was stored.
    fn hours(&self) -> f64 {
        let earliest: Option<i64> = self.text("earliestMessageTimeStamp").parse().ok();
        earliest.map_or(0.0, |earliest| (time::now_ms() - earliest) as f64 / 3_600_000.0)
    }
}

/// Cluster and broker by name, and id and address of each.
fn each(info: &ClusterInfo, only: Option<&str>) -> Vec<(String, String, i64, String)> {
    let mut all = Vec::new();
    for (cluster, names) in &info.cluster_addr_table {
        if only.is_some_and(|only| only != cluster) {
            continue;
        }
        let mut names: Vec<_> = names.iter().collect();
        names.sort();
        for data in names.into_iter().filter_map(|name| info.broker_addr_table.get(name)) {
            for (id, address) in &data.broker_addrs {
                all.push((cluster.clone(), data.broker_name.clone(), *id, address.clone()));
            }
        }
    }
    all
}

pub(super) fn list(args: &Args, session: &mut Session) -> Result<()> {
    repeat(args, session, |args, session| {
        let info = match args.get("clusterName") {
            Some(cluster) => session.cluster(cluster).and_then(|_| session.clusters())?,
            None => session.clusters()?,
        };
        let brokers = each(&info, args.get("clusterName"));
        if args.has("moreStats") {
            totals(session, brokers)
        } else {
            loads(session, brokers)
        }
        Ok(())
    })
}

/// Does something once, or with `--interval` again and again, until it fails or nobody reads any more.
pub(super) fn repeat(
    args: &Args,
    session: &mut Session,
    once: fn(&Args, &mut Session) -> Result<()>,
) -> Result<()> {
    once(args, session)?;
    let Some(seconds) = args.number::<u64>("interval")? else { return Ok(()) };
    if seconds == 0 {
        return Err(Usage("-i must be at least one second".to_owned()).into());
    }
    loop {
        session.out.finish();
        std::thread::sleep(Duration::from_secs(seconds));
        once(args, session)?;
    }
}

fn loads(session: &mut Session, brokers: Vec<(String, String, i64, String)>) {
    session.out.head(&LOADS);
    for (cluster, name, id, address) in brokers {
        let figures = Figures::of(session, &address);
        let (hours, space) = (figures.hours(), figures.number("commitLogDiskRatio"));
        let active = figures.text("brokerActive") == "true";
        let row = [
            cluster.into(),
            name.into(),
            id.into(),
            address.into(),
            figures.text("brokerVersionDesc").into(),
            figures.load("putTps", &["send"]),
            figures.load("getTransferredTps", &["pull", "ack"]),
            figures.timer(),
            figures.text("pageCacheLockTimeMills").into(),
            Cell::shown(format!("{hours:.2}"), hours),
            Cell::shown(format!("{space:.4}"), space),
            active.into(),
        ];
        session.out.row(&LOADS, row);
    }
}

fn totals(session: &mut Session, brokers: Vec<(String, String, i64, String)>) {
    session.out.head(&TOTALS);
    for (cluster, name, _, address) in brokers {
        let figures = Figures::of(session, &address);
        let row = [
            cluster.into(),
            name.into(),
            figures.grown("msgPutTotalTodayMorning", "msgPutTotalYesterdayMorning").into(),
            figures.grown("msgGetTotalTodayMorning", "msgGetTotalYesterdayMorning").into(),
            figures.grown("msgPutTotalTodayNow", "msgPutTotalTodayMorning").into(),
            figures.grown("msgGetTotalTodayNow", "msgGetTotalTodayMorning").into(),
        ];
        session.out.row(&TOTALS, row);
    }
}

static TRIPS: Table = Table {
    name: "brokers",
    head: "%-24s  %-24s  %-4s  %-8s  %-8s",
    row: "%-24s  %-24s  %-8s  %-16s  %-16s",
    columns: &[
        ("#Cluster Name", "cluster"),
        ("#Broker Name", "brokerName"),
        ("#RT", "rtMs"),
        ("#successCount", "successCount"),
        ("#failCount", "failCount"),
    ],
};

pub(super) fn round_trips(args: &Args, session: &mut Session) -> Result<()> {
    repeat(args, session, |args, session| {
        let (amount, size): (u32, usize) =
            (args.number("amount")?.unwrap_or(100), args.number("size")?.unwrap_or(128));
        let info = match args.get("cluster") {
            Some(cluster) => session.cluster(cluster).and_then(|_| session.clusters())?,
            None => session.clusters()?,
        };
        let for_log = args.is_true("print log");
        if !for_log {
            session.out.head(&TRIPS);
        }
        let mut brokers: Vec<_> =
            each(&info, args.get("cluster")).into_iter().map(|(cluster, name, ..)| (cluster, name)).collect();
        brokers.dedup();
        for (cluster, name) in brokers {
            let mut sender = Sender::new(session, &name)?;
            let sent = sender.measure(session, amount, size);
            let mean = sent.mean_ms();
            if for_log {
                let (now, room) =
                    (time::to_second(time::now_ms()), args.get("machine room").unwrap_or("noname"));
                session.out.line(format!("{now}|{room}|{cluster}|{name}|{mean:.0}"));
            } else {
                let row = [
                    cluster.into(),
                    name.into(),
                    Cell::shown(format!("{mean:.2}"), Value::from(mean)),
                    sent.done.into(),
                    sent.failed.into(),
                ];
                session.out.row(&TRIPS, row);
            }
        }
        Ok(())
    })
}
