//! Messages that are due later, by the millisecond and by delay level, and their recall.

use super::judge::{Acked, Judge, Kind};
use super::requests::{self, now_ms};
use super::worker::Worker;
use crate::ledger::body::{Random, body};
use crate::ledger::client::Client;
use crate::ledger::verify::Verifier;
use anyhow::{Context, Result};
use kerolox_wire::header::{RecallMessage, SendMessageResponse};
use kerolox_wire::{Command, RequestCode, ResponseCode};
use std::time::{Duration, Instant};

const TOPIC: &str = "faults-timers";
const ID: u32 = 20;
/// Until a message is due, in milliseconds.
const DUE_MS: (u64, u64) = (100, 2_000);
/// One that is to be recalled is due so late that the recall is in time.
const RECALLED_DUE_MS: i64 = 4_000;
/// What still does not come so long after it was due is lost.
const PATIENCE: Duration = Duration::from_secs(20);

struct Timed {
    due_ms: i64,
    acked: Option<Instant>,
    /// A recall was sent; when it was acknowledged, if it was.
    recall: Option<Option<Instant>>,
    /// It was doubled or early, and was counted.
    judged: bool,
}

#[derive(Default)]
pub(super) struct Timers {
    sent: Vec<Timed>,
    corrupt: u64,
}

impl Timers {
    /// A new message, and whether it is to be recalled.
    fn request(&mut self, random: &mut Random) -> (usize, bool, Command) {
        let number = self.sent.len();
        let recall = random.next().is_multiple_of(4);
        let level = !recall && random.next().is_multiple_of(4);
        let due_ms = match (recall, level) {
            (true, _) => now_ms() + RECALLED_DUE_MS,
            // Delay level 1.
            (_, true) => now_ms() + 1_000,
            _ => now_ms() + random.between(DUE_MS.0, DUE_MS.1) as i64,
        };
        self.sent.push(Timed { due_ms, acked: None, recall: None, judged: false });
        let when =
            if level { "DELAY\u{1}1\u{2}".to_owned() } else { format!("TIMER_DELIVER_MS\u{1}{due_ms}\u{2}") };
        let properties = requests::properties(ID, number as u64, &when);
        (number, recall, requests::send(TOPIC, 0, &properties, body(ID, number as u64)))
    }

    fn recall(&mut self, client: &mut Client, number: usize, handle: &str, acked: &mut Acked) -> Result<()> {
        let header = RecallMessage {
            producer_group: Some(requests::PRODUCER_GROUP),
            topic: TOPIC,
            recall_handle: handle,
            ..RecallMessage::default()
        };
        self.timed(number)?.recall = Some(None);
        let answer = client.exchange(Command::request(RequestCode::RECALL_MESSAGE).with_header(&header))?;
        if answer.code == ResponseCode::SUCCESS.0 {
            self.timed(number)?.recall = Some(Some(Instant::now()));
            *acked.entry(Kind::Recall).or_default() += 1;
        }
        Ok(())
    }

    fn timed(&mut self, number: usize) -> Result<&mut Timed> {
        self.sent.get_mut(number).context("no such message")
    }

    /// Reads what was delivered, and counts, once, what came twice, early or altered.
    fn look(&mut self, client: &mut Client, judge: &mut Judge) -> Verifier {
        let mut read = Verifier::of(TOPIC, 1);
        if let Err(e) = read.read_with(client) {
            judge.failed(format_args!("reading {TOPIC} ended: {e:#}"));
        }
        for _ in self.corrupt..read.corrupt() {
            judge.corrupt(Kind::Timer, "wrong bytes");
        }
        self.corrupt = self.corrupt.max(read.corrupt());
        for (number, timed) in self.sent.iter_mut().enumerate().filter(|(_, timed)| !timed.judged) {
            let Some(found) = read.found((ID, number as u64)) else { continue };
            let early = found.stored_ms < timed.due_ms;
            if found.times > 1 {
                judge.doubled(Kind::Timer, format_args!("message {number}"));
            }
            if let (true, Some(at)) = (early, timed.acked) {
                let (due, stored) = (timed.due_ms, found.stored_ms);
                judge.early(Kind::Timer, at, format_args!("message {number}: {stored}, not {due}"));
            }
            timed.judged = early || found.times > 1;
        }
        read
    }

    /// Whether something is still to be waited for.
    fn is_missing(&self, read: &Verifier, judge: &Judge) -> bool {
        self.sent.iter().enumerate().any(|(number, timed)| {
            let promised = timed.recall.is_none() && timed.acked.is_some_and(|at| !judge.may_be_gone(at));
            promised && read.found((ID, number as u64)).is_none()
        })
    }
}

impl Worker for Timers {
    fn prepare(&mut self, client: &mut Client) -> Result<()> {
        requests::create_topic(client, TOPIC, 1)
    }

    fn step(&mut self, client: &mut Client, random: &mut Random, acked: &mut Acked) -> Result<()> {
        let (number, recall, request) = self.request(random);
        let answer = client.exchange(request)?;
        if answer.code != ResponseCode::SUCCESS.0 {
            return Ok(());
        }
        self.timed(number)?.acked = Some(Instant::now());
        *acked.entry(Kind::Timer).or_default() += 1;
        let header: SendMessageResponse<'_> = answer.header()?;
        match header.recall_handle {
            Some(handle) if recall => self.recall(client, number, handle, acked),
            _ => Ok(()),
        }
    }

    fn check(&mut self, client: &mut Client, judge: &mut Judge) -> Result<()> {
        self.look(client, judge);
        Ok(())
    }

    fn settle(&mut self, client: &mut Client, judge: &mut Judge) -> Result<()> {
        // Recalled ones must have had their time, too, before it is said that they do not come.
        let last_ms = self.sent.iter().map(|timed| timed.due_ms).max().unwrap_or_default();
        let until_due = Duration::from_millis(u64::try_from(last_ms - now_ms()).unwrap_or_default());
        std::thread::sleep(until_due + Duration::from_millis(200));
        let end = Instant::now() + PATIENCE;
        let mut read = self.look(client, judge);
        while self.is_missing(&read, judge) && Instant::now() < end {
            std::thread::sleep(Duration::from_millis(50));
            read = self.look(client, judge);
        }
        for (number, timed) in self.sent.iter().enumerate() {
            let there = read.found((ID, number as u64)).is_some();
            match (timed.acked, timed.recall) {
                (Some(at), None) if !there => judge.lost(Kind::Timer, at, format_args!("message {number}")),
                (_, Some(Some(at))) if there => {
                    judge.lost(Kind::Recall, at, format_args!("message {number} was delivered"));
                }
                _ => {}
            }
        }
        Ok(())
    }
}
