//! `cargo xtask transactions`: half messages that are committed, rolled back, left open and decided when the broker asks,
//! or left by a producer that is gone, while the real `kerolox` is killed with SIGKILL again and again. At the end every
//! message that was to be committed must have been delivered, and none that was to be rolled back.

mod producer;

use crate::ledger::body::{Random, origin};
use crate::ledger::client::Client;
use crate::ledger::process::{self, Broker};
use crate::steps;
use anyhow::{Context, Result, bail, ensure};
use kerolox_wire::header::{CreateTopic, GetMaxOffset, OffsetResponse, PullMessage, PullMessageResponse};
use kerolox_wire::record::{RecordHead, RecordView};
use kerolox_wire::{Command, RequestCode, sys_flag};
use producer::Producer;
use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

pub(crate) const TOPIC: &str = "transactions";
const PRODUCERS: u32 = 2;
/// Load between two kills, at random within.
const LOAD_MS: (u64, u64) = (100, 800);
/// Once nobody kills the broker any more: until nothing came for so long it is listened. What is left open is asked about
/// many times in it.
const SILENCE: Duration = Duration::from_secs(5);

/// Producers are asked soon and often: a run has minutes, not hours.
const SETTINGS: &str = "transactionTimeOut=300\ntransactionCheckInterval=300\ntransactionCheckMax=1000000\n";

/// What becomes of a transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Plan {
    Commit,
    RollBack,
    /// The producer says that it does not know, and decides when it is asked.
    Unknown,
    /// The producer says nothing, as one that crashed; another one of its group is asked.
    Silence,
}

impl Plan {
    pub(crate) const ALL: [Self; 4] = [Self::Commit, Self::RollBack, Self::Unknown, Self::Silence];

    pub(crate) fn of(number: u64) -> Self {
        match number % 4 {
            0 => Self::Commit,
            1 => Self::RollBack,
            2 => Self::Unknown,
            _ => Self::Silence,
        }
    }

    /// What is decided in the end.
    pub(crate) fn commits(number: u64) -> bool {
        match Self::of(number) {
            Self::Commit => true,
            Self::RollBack => false,
            Self::Unknown | Self::Silence => (number / 4).is_multiple_of(2),
        }
    }
}

struct Options {
    each: u64,
    kills: u32,
    seed: u64,
    port_offset: u16,
}

fn options(args: &[String]) -> Result<Options> {
    let mut options = Options { each: 10_000, kills: 40, seed: 1, port_offset: 16_100 };
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        let mut value = || args.next().with_context(|| format!("{arg} needs a value"));
        match arg.as_str() {
            "--each" => options.each = value()?.parse()?,
            "--kills" => options.kills = value()?.parse()?,
            "--seed" => options.seed = value()?.parse()?,
            "--port-offset" => options.port_offset = value()?.parse()?,
            _ => bail!("transactions: unknown option {arg}"),
        }
    }
    Ok(options)
}

/// True if everything promised was kept.
pub(crate) fn run(args: &[String]) -> Result<bool> {
    let options = options(args)?;
    steps::build_release()?;
    let folder = process::target().join(format!("transactions-{}", std::process::id()));
    std::fs::create_dir_all(&folder)?;
    let result = play(&options, &folder);
    let _ = std::fs::remove_dir_all(&folder);
    result
}

fn play(options: &Options, folder: &Path) -> Result<bool> {
    let conf = folder.join("broker.conf");
    std::fs::write(&conf, SETTINGS)?;
    let flags = ["-c".to_owned(), conf.display().to_string()];
    let start = || Broker::start(&folder.join("data"), options.port_offset, &flags);
    let mut random = Random::new(options.seed);
    let count = options.each * 4 / u64::from(PRODUCERS);
    let mut producers: Vec<Producer> = (0..PRODUCERS).map(|id| Producer::new(id, count)).collect();
    let mut broker = start()?;
    create_topic(broker.address())?;
    let begun = Instant::now();
    let mut kills = 0;
    // To each kill its part of the messages, so that they are all under way in some cycle.
    for kill in 1..=options.kills {
        producers.iter_mut().for_each(|p| p.allow(count * u64::from(kill) / u64::from(options.kills)));
        let time = Duration::from_millis(random.between(LOAD_MS.0, LOAD_MS.1));
        with_load(&mut producers, broker.address(), || {
            std::thread::sleep(time);
            broker.kill()
        })?;
        kills += 1;
        broker = start()?;
    }
    producers.iter_mut().for_each(|p| p.allow(count));
    let mut delivered = Delivered::default();
    with_load(&mut producers, broker.address(), || delivered.settle(broker.address()))?;
    broker.end()?;
    let totals = delivered.compare(&producers);
    println!(
        "transactions: {} of each kind, seed {}, {kills} kills, {:.0} s: {totals:?}",
        options.each,
        options.seed,
        begun.elapsed().as_secs_f64()
    );
    let kept = totals.lost + totals.rolled_back + totals.corrupt == 0
        && totals.acknowledged.iter().all(|(_, count)| *count > 0);
    println!("test transactions_under_kill_9 ... {}", if kept { "ok" } else { "FAILED" });
    Ok(kept)
}

/// All producers are at work while `then` goes on; they end with it.
fn with_load(
    producers: &mut [Producer],
    address: SocketAddr,
    then: impl FnOnce() -> Result<()>,
) -> Result<()> {
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let over = &over;
        let threads: Vec<_> =
            producers.iter_mut().map(|p| scope.spawn(move || p.work(address, over))).collect();
        let result = then();
        over.store(true, Ordering::SeqCst);
        for thread in threads {
            thread.join().map_err(|_| anyhow::anyhow!("a producer panicked"))?;
        }
        result
    })
}

fn create_topic(address: SocketAddr) -> Result<()> {
    let header = CreateTopic {
        topic: TOPIC,
        default_topic: "TBW102",
        read_queue_nums: 1,
        write_queue_nums: 1,
        perm: 6,
        topic_filter_type: "SINGLE_TAG",
        ..CreateTopic::default()
    };
    let request = Command::request(RequestCode::UPDATE_AND_CREATE_TOPIC).with_header(&header);
    Client::connect(address)?.ask(request).map(drop)
}

/// What a run found.
#[derive(Debug, Default)]
#[allow(dead_code)] // it is printed
struct Totals {
    /// Half messages that were acknowledged, by what was to become of them.
    acknowledged: std::collections::BTreeMap<Plan, u64>,
    /// Delivered more than once.
    duplicated: u64,
    /// Acknowledged, to be committed, and never delivered.
    lost: u64,
    /// To be rolled back, and delivered.
    rolled_back: u64,
    corrupt: u64,
}

/// What consumers got.
#[derive(Default)]
struct Delivered {
    next: i64,
    times: HashMap<(u32, u64), u32>,
    corrupt: u64,
}

impl Delivered {
    /// Reads until nothing comes any more.
    fn settle(&mut self, address: SocketAddr) -> Result<()> {
        let mut client = Client::connect(address)?;
        let mut last = Instant::now();
        while last.elapsed() < SILENCE {
            let before = self.next;
            self.read(&mut client)?;
            if self.next > before {
                last = Instant::now();
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    fn read(&mut self, client: &mut Client) -> Result<()> {
        let header = GetMaxOffset { topic: TOPIC, queue_id: 0, ..GetMaxOffset::default() };
        let request = Command::request(RequestCode::GET_MAX_OFFSET).with_header(&header);
        let end = client.ask(request)?.header::<OffsetResponse<'_>>()?.offset;
        while self.next < end {
            let header = PullMessage {
                consumer_group: "transactions-verifier",
                topic: TOPIC,
                queue_offset: self.next,
                max_msg_nums: 1024,
                sys_flag: sys_flag::pull::SUBSCRIPTION,
                subscription: Some("*"),
                expression_type: Some("TAG"),
                ..PullMessage::default()
            };
            let answer = client.ask(Command::request(RequestCode::PULL_MESSAGE).with_header(&header))?;
            let next = answer.header::<PullMessageResponse<'_>>()?.next_begin_offset;
            ensure!(next > self.next, "a pull at {} does not get on", self.next);
            self.next = next;
            self.take(&answer.body);
        }
        Ok(())
    }

    fn take(&mut self, mut bytes: &[u8]) {
        while let Some(head) = RecordHead::peek(bytes) {
            let view = RecordView::parse(bytes).ok();
            match view.and_then(|view| origin(view.body).filter(|of| view.body == producer::body_of(*of))) {
                Some(of) => *self.times.entry(of).or_default() += 1,
                None => self.corrupt += 1,
            }
            bytes = bytes.get(head.total as usize..).unwrap_or_default();
        }
    }

    fn compare(&self, producers: &[Producer]) -> Totals {
        let mut totals = Totals { corrupt: self.corrupt, ..Totals::default() };
        for plan in Plan::ALL {
            totals.acknowledged.insert(plan, 0);
        }
        for producer in producers {
            for number in producer.acknowledged() {
                *totals.acknowledged.entry(Plan::of(number)).or_default() += 1;
                let delivered = self.times.contains_key(&(producer.id, number));
                totals.lost += u64::from(Plan::commits(number) && !delivered);
            }
        }
        for ((_, number), times) in &self.times {
            totals.duplicated += u64::from(*times > 1);
            totals.rolled_back += u64::from(!Plan::commits(*number));
        }
        totals
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn acknowledged(numbers: &[u64]) -> Vec<Producer> {
        let mut producer = Producer::new(0, 100);
        numbers.iter().for_each(|number| producer.note_acknowledged(*number));
        vec![producer]
    }

    fn delivered(numbers: &[u64]) -> Delivered {
        let times = numbers.iter().map(|number| ((0, *number), 1)).collect();
        Delivered { times, ..Delivered::default() }
    }

    /// A verifier that finds nothing proves nothing.
    #[test]
    fn what_is_broken_is_found() {
        // 0 commits, 1 rolls back, 2 and 3 are committed when asked, 6 and 7 rolled back.
        let producers = acknowledged(&[0, 1, 2, 3, 6, 7]);
        let totals = delivered(&[0, 2, 3]).compare(&producers);
        assert_eq!((totals.lost, totals.rolled_back), (0, 0));
        assert_eq!(delivered(&[0, 3]).compare(&producers).lost, 1);
        assert_eq!(delivered(&[0, 1, 2, 3]).compare(&producers).rolled_back, 1);
        assert_eq!(delivered(&[0, 2, 3, 6]).compare(&producers).rolled_back, 1);
        let mut bytes = Delivered::default();
        bytes.take(&[0, 0, 0, 100]);
        assert_eq!(bytes.corrupt, 0, "no whole record");
    }
}
