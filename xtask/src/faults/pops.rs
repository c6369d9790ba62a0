//! Messages that a group pops: acknowledged, given more time, or left until their time is over.

use super::judge::{Acked, Judge, Kind};
use super::requests::{self, now_ms};
use super::worker::Worker;
use crate::ledger::body::{Random, body, origin};
use crate::ledger::client::Client;
use anyhow::{Context, Result};
use kerolox_wire::header::{
    AckMessage, ChangeInvisibleTime, ChangeInvisibleTimeResponse, PopMessage, PopMessageResponse,
};
use kerolox_wire::receipt::{Kind as Lies, Receipt};
use kerolox_wire::record::{self, RecordView};
use kerolox_wire::{Command, RequestCode, ResponseCode};
use std::time::{Duration, Instant};

const TOPIC: &str = "faults-pops";
const GROUP: &str = "faults-poppers";
const QUEUES: u32 = 4;
const ID: u32 = 30;
const BROKER: &str = "broker-a";
const INVISIBLE_MS: i64 = 1_500;
const CHANGED_MS: (u64, u64) = (500, 2_500);
/// What does not come (again) so long after everything is visible is lost.
const PATIENCE: Duration = Duration::from_secs(40);
/// After the last one that is waited for: an acknowledged one that comes again comes within it.
const SILENCE: Duration = Duration::from_millis(300);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ack {
    No,
    /// And not acknowledged itself.
    Sent,
    At(Instant),
}

struct Message {
    acked: Option<Instant>,
    ack: Ack,
    /// Until when, by the broker's clock, it was promised to nobody else, and when that was promised.
    invisible: Option<(i64, Instant)>,
    judged: bool,
}

/// A message of an answer, and how it is named in requests.
struct Popped {
    number: usize,
    topic: String,
    queue_id: i32,
    offset: i64,
    receipt: String,
}

#[derive(Default)]
pub(super) struct Pops {
    sent: Vec<Message>,
    /// What was found while it worked; the judge is asked later.
    again: Vec<(Kind, Instant, usize)>,
    corrupt: u64,
}

impl Pops {
    fn send(&mut self, client: &mut Client, random: &mut Random, acked: &mut Acked) -> Result<()> {
        for _ in 0..random.between(1, 3) {
            let number = self.sent.len();
            self.sent.push(Message { acked: None, ack: Ack::No, invisible: None, judged: false });
            let properties = requests::properties(ID, number as u64, "");
            let queue = (random.next() % u64::from(QUEUES)) as i32;
            let answer =
                client.exchange(requests::send(TOPIC, queue, &properties, body(ID, number as u64)))?;
            if answer.code == ResponseCode::SUCCESS.0 {
                self.message(number)?.acked = Some(Instant::now());
                *acked.entry(Kind::Popped).or_default() += 1;
            }
        }
        Ok(())
    }

    fn message(&mut self, number: usize) -> Result<&mut Message> {
        self.sent.get_mut(number).context("no such message")
    }

    fn pop(&mut self, client: &mut Client) -> Result<Vec<Popped>> {
        let header = PopMessage {
            consumer_group: GROUP,
            topic: TOPIC,
            queue_id: -1,
            max_msg_nums: 16,
            invisible_time: INVISIBLE_MS,
            born_time: now_ms(),
            exp_type: Some("TAG"),
            exp: Some("*"),
            ..PopMessage::default()
        };
        let answer = client.exchange(Command::request(RequestCode::POP_MESSAGE).with_header(&header))?;
        if answer.code != ResponseCode::SUCCESS.0 {
            return Ok(Vec::new());
        }
        let header: PopMessageResponse<'_> = answer.header()?;
        let mut popped = Vec::new();
        for view in record::split(&answer.body) {
            let Ok(view) = view else {
                self.corrupt += 1;
                break;
            };
            popped.extend(self.take(&header, &view));
        }
        Ok(popped)
    }

    /// What a delivery says about earlier promises.
    fn take(&mut self, header: &PopMessageResponse<'_>, view: &RecordView<'_>) -> Option<Popped> {
        let of = origin(view.body).filter(|of| of.0 == ID && view.body == body(of.0, of.1));
        let Some(number) = of.map(|of| of.1 as usize).filter(|number| *number < self.sent.len()) else {
            self.corrupt += 1;
            return None;
        };
        let message = self.sent.get_mut(number)?;
        match (message.ack, message.invisible) {
            (Ack::At(at), _) => {
                self.again.push((Kind::Ack, at, number));
                // Lost once, however often it comes.
                message.ack = Ack::Sent;
            }
            (_, Some((until, at))) if header.pop_time < until => {
                self.again.push((Kind::Invisible, at, number));
            }
            _ => {}
        }
        message.invisible = Some((header.pop_time + header.invisible_time, Instant::now()));
        let own = view.properties().get("POP_CK").and_then(Receipt::parse);
        let kind = own.map_or(Lies::of(view.topic), |receipt| receipt.kind);
        let receipt = Receipt {
            start_offset: start(header, kind, view.queue_id).unwrap_or(view.queue_offset as i64),
            pop_ms: header.pop_time,
            invisible_ms: header.invisible_time,
            revive_queue: header.revive_qid,
            kind,
            broker: BROKER,
            queue_id: view.queue_id as i32,
            offset: Some(view.queue_offset as i64),
        };
        Some(Popped {
            number,
            topic: kind.topic(TOPIC, GROUP),
            queue_id: view.queue_id as i32,
            offset: view.queue_offset as i64,
            receipt: receipt.to_string(),
        })
    }

    fn ack(&mut self, client: &mut Client, popped: &Popped, acked: &mut Acked) -> Result<()> {
        let header = AckMessage {
            consumer_group: GROUP,
            topic: &popped.topic,
            queue_id: popped.queue_id,
            extra_info: &popped.receipt,
            offset: popped.offset,
            ..AckMessage::default()
        };
        self.message(popped.number)?.ack = Ack::Sent;
        let answer = client.exchange(Command::request(RequestCode::ACK_MESSAGE).with_header(&header))?;
        if answer.code == ResponseCode::SUCCESS.0 {
            // One that comes too late, to Apache too, is answered with success and changes nothing.
            let message = self.message(popped.number)?;
            if message.invisible.is_some_and(|(until, _)| now_ms() < until) {
                message.ack = Ack::At(Instant::now());
                *acked.entry(Kind::Ack).or_default() += 1;
            }
        }
        Ok(())
    }

    fn give_time(&mut self, client: &mut Client, popped: &Popped, ms: u64, acked: &mut Acked) -> Result<()> {
        let header = ChangeInvisibleTime {
            consumer_group: GROUP,
            topic: &popped.topic,
            queue_id: popped.queue_id,
            extra_info: &popped.receipt,
            offset: popped.offset,
            invisible_time: ms as i64,
            ..ChangeInvisibleTime::default()
        };
        // Unless it is acknowledged it may be the old time or the new one.
        self.message(popped.number)?.invisible = None;
        let request = Command::request(RequestCode::CHANGE_MESSAGE_INVISIBLETIME).with_header(&header);
        let answer = client.exchange(request)?;
        if answer.code == ResponseCode::SUCCESS.0 {
            let header: ChangeInvisibleTimeResponse = answer.header()?;
            let until = header.pop_time + header.invisible_time;
            self.message(popped.number)?.invisible = Some((until, Instant::now()));
            *acked.entry(Kind::Invisible).or_default() += 1;
        }
        Ok(())
    }

    /// Promised, and not said to be done with.
    fn is_open(&self, judge: &Judge) -> bool {
        self.sent.iter().any(|m| m.ack == Ack::No && m.acked.is_some_and(|at| !judge.may_be_gone(at)))
    }
}

/// Where the pop began to read a queue.
fn start(header: &PopMessageResponse<'_>, kind: Lies, queue_id: u32) -> Option<i64> {
    let prefix = format!("{} {queue_id} ", kind.as_str());
    let mut entries = header.start_offset_info?.split(';');
    entries.find_map(|entry| entry.strip_prefix(&prefix)?.parse().ok())
}

impl Worker for Pops {
    fn prepare(&mut self, client: &mut Client) -> Result<()> {
        requests::create_topic(client, TOPIC, QUEUES)?;
        client.ask(requests::group_request(GROUP, 100)).map(drop)
    }

    fn step(&mut self, client: &mut Client, random: &mut Random, acked: &mut Acked) -> Result<()> {
        self.send(client, random, acked)?;
        for popped in self.pop(client)? {
            match random.next() % 8 {
                0..=4 => self.ack(client, &popped, acked)?,
                5 | 6 => {
                    let ms = random.between(CHANGED_MS.0, CHANGED_MS.1);
                    self.give_time(client, &popped, ms, acked)?;
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn check(&mut self, _: &mut Client, judge: &mut Judge) -> Result<()> {
        for (kind, at, number) in self.again.drain(..) {
            match kind {
                Kind::Ack => judge.lost(kind, at, format_args!("message {number} came again")),
                _ => judge.early(kind, at, format_args!("message {number} came to another")),
            }
        }
        for _ in 0..std::mem::take(&mut self.corrupt) {
            judge.corrupt(Kind::Popped, "wrong bytes");
        }
        Ok(())
    }

    fn settle(&mut self, client: &mut Client, judge: &mut Judge) -> Result<()> {
        let (end, mut acked) = (Instant::now() + PATIENCE, Acked::default());
        let mut last = Instant::now();
        while (self.is_open(judge) || last.elapsed() < SILENCE) && Instant::now() < end {
            let popped = self.pop(client)?;
            if popped.is_empty() {
                std::thread::sleep(Duration::from_millis(20));
            } else {
                last = Instant::now();
            }
            for popped in popped {
                self.ack(client, &popped, &mut acked)?;
            }
        }
        judge.acknowledged(&acked);
        for (number, message) in self.sent.iter_mut().enumerate() {
            if let (Ack::No, Some(at), false) = (message.ack, message.acked, message.judged) {
                judge.lost(Kind::Popped, at, format_args!("message {number} does not come"));
                message.judged = true;
            }
        }
        self.check(client, judge)
    }
}
