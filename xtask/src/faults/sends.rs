//! Plain messages: single ones and batches, several in flight; or in order, one after the other.

use super::judge::{Acked, Judge, Kind};
use super::requests::{self, PRODUCER_GROUP};
use super::worker::Worker;
use crate::ledger::body::{Random, body};
use crate::ledger::client::Client;
use crate::ledger::producer::Place;
use crate::ledger::verify::Verifier;
use anyhow::{Context, Result};
use bytes::BytesMut;
use kerolox_wire::header::{SendMessage, SendMessageResponse};
use kerolox_wire::record::batch::{self, BatchMessage};
use kerolox_wire::{Command, RequestCode, ResponseCode};
use std::collections::HashMap;
use std::ops::Range;
use std::time::Instant;

const QUEUES: u32 = 4;

/// A message that was sent.
struct Sent {
    kind: Kind,
    acked: Option<(Place, Instant)>,
    /// It was lost, doubled or elsewhere, and was counted.
    judged: bool,
}

pub(super) struct Sends {
    id: u32,
    topic: String,
    ordered: bool,
    sent: Vec<Sent>,
    corrupt: u64,
}

impl Sends {
    pub(super) fn new(id: u32, ordered: bool) -> Self {
        Self { id, topic: topic(id), ordered, sent: Vec::new(), corrupt: 0 }
    }

    /// A new message of that kind: its number and its properties.
    fn next(&mut self, kind: Kind) -> (u64, String) {
        let number = self.sent.len() as u64;
        self.sent.push(Sent { kind, acked: None, judged: false });
        (number, requests::properties(self.id, number, ""))
    }

    fn single(&mut self, random: &mut Random) -> (Range<u64>, Command) {
        let kind = if self.ordered { Kind::Ordered } else { Kind::Send };
        let queue = if self.ordered { 0 } else { random.next() % u64::from(QUEUES) };
        let (number, properties) = self.next(kind);
        let properties =
            if self.ordered { format!("{properties}__SHARDINGKEY\u{1}one\u{2}") } else { properties };
        let request = requests::send(&self.topic, queue as i32, &properties, body(self.id, number));
        (number..number + 1, request)
    }

    fn batch(&mut self, random: &mut Random) -> (Range<u64>, Command) {
        let first = self.sent.len() as u64;
        let mut bodies = BytesMut::new();
        for _ in 0..random.between(2, 8) {
            let (number, properties) = self.next(Kind::Batch);
            let body = body(self.id, number);
            batch::encode(
                &BatchMessage { flag: 0, body: &body, properties: properties.as_bytes() },
                &mut bodies,
            );
        }
        let header = SendMessage {
            producer_group: PRODUCER_GROUP,
            topic: &self.topic,
            default_topic: "TBW102",
            default_topic_queue_nums: 4,
            queue_id: (random.next() % u64::from(QUEUES)) as i32,
            batch: Some(true),
            ..SendMessage::default()
        };
        let mut request = Command::request(RequestCode::SEND_BATCH_MESSAGE).with_body(bodies.freeze());
        header.encode_v2(&mut request.fields);
        (first..self.sent.len() as u64, request)
    }

    fn answered(&mut self, numbers: Range<u64>, answer: &Command, acked: &mut Acked) -> Result<()> {
        if answer.code != ResponseCode::SUCCESS.0 {
            // A refusal is no promise.
            return Ok(());
        }
        let header: SendMessageResponse<'_> = answer.header()?;
        let now = Instant::now();
        for (offset, number) in (header.queue_offset as u64..).zip(numbers) {
            let sent = self.sent.get_mut(number as usize).context("an answer to nothing")?;
            sent.acked = Some((Place { queue_id: header.queue_id as u32, offset }, now));
            *acked.entry(sent.kind).or_default() += 1;
        }
        Ok(())
    }
}

/// The topic of one worker.
pub(super) fn topic(id: u32) -> String {
    format!("faults-{id}")
}

impl Worker for Sends {
    fn prepare(&mut self, client: &mut Client) -> Result<()> {
        requests::create_topic(client, &self.topic, QUEUES)
    }

    fn step(&mut self, client: &mut Client, random: &mut Random, acked: &mut Acked) -> Result<()> {
        let mut requests = Vec::new();
        let mut numbers = Vec::new();
        for _ in 0..if self.ordered { 1 } else { random.between(1, 8) } {
            let batch = !self.ordered && random.next().is_multiple_of(3);
            let (range, request) = if batch { self.batch(random) } else { self.single(random) };
            numbers.push(range);
            requests.push(request);
        }
        let first = client.send(requests)?;
        let mut waiting: HashMap<i32, Range<u64>> = (first..).zip(numbers).collect();
        while !waiting.is_empty() {
            let answer = client.receive()?;
            let numbers = waiting.remove(&answer.opaque).context("an answer to nothing")?;
            self.answered(numbers, &answer, acked)?;
        }
        Ok(())
    }

    fn check(&mut self, client: &mut Client, judge: &mut Judge) -> Result<()> {
        let mut read = Verifier::of(&self.topic, QUEUES);
        if let Err(e) = read.read_with(client) {
            judge.failed(format_args!("reading {} ended: {e:#}", self.topic));
        }
        let any = if self.ordered { Kind::Ordered } else { Kind::Send };
        for _ in self.corrupt..read.corrupt() {
            judge.corrupt(any, format_args!("wrong bytes in {}", self.topic));
        }
        self.corrupt = self.corrupt.max(read.corrupt());
        for (number, sent) in self.sent.iter_mut().enumerate().filter(|(_, sent)| !sent.judged) {
            let name = format_args!("message {number} of {}", self.topic);
            match (read.found((self.id, number as u64)), sent.acked) {
                (Some(found), _) if found.times > 1 => judge.doubled(sent.kind, name),
                (Some(found), Some((place, _))) if found.place != place => {
                    judge.corrupt(sent.kind, format_args!("{name} is at {:?}, not {place:?}", found.place));
                }
                (None, Some((place, at))) => judge.lost(sent.kind, at, format_args!("{name} at {place:?}")),
                _ => continue,
            }
            sent.judged = true;
        }
        Ok(())
    }
}
