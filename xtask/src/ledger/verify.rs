//! Reading everything back.

use super::body::{body, origin};
use super::client::Client;
use super::producer::{Place, Producer};
use super::{QUEUES, TOPIC, Totals};
use anyhow::{Context, Result, bail};
use kerolox_wire::header::{GetMaxOffset, OffsetResponse, PullMessage, PullMessageResponse};
use kerolox_wire::record::{RecordHead, RecordView};
use kerolox_wire::{Command, RequestCode, ResponseCode, sys_flag};
use std::collections::HashMap;
use std::net::SocketAddr;

/// Places of a queue that are passed over because they cannot be read.
const ERRORS_MAX: u32 = 64;

/// A message that was read back.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Found {
    /// Where it was first.
    pub(crate) place: Place,
    pub(crate) times: u32,
    /// When the broker stored it.
    pub(crate) stored_ms: i64,
}

/// What was read back so far.
pub(crate) struct Verifier {
    topic: String,
    /// Of each queue: where to read on.
    next: Vec<u64>,
    found: HashMap<(u32, u64), Found>,
    /// Where what was served is not what was sent.
    wrong: Vec<Place>,
}

impl Default for Verifier {
    fn default() -> Self {
        Self::of(TOPIC, QUEUES)
    }
}

impl Verifier {
    /// Of a topic with that many queues, from their beginnings.
    pub(crate) fn of(topic: &str, queues: u32) -> Self {
        let next = vec![0; queues as usize];
        Self { topic: topic.to_owned(), next, found: HashMap::new(), wrong: Vec::new() }
    }

    /// Reads all queues on to their ends.
    pub(crate) fn read(&mut self, address: SocketAddr) -> Result<()> {
        self.read_with(&mut Client::connect(address)?)
    }

    pub(crate) fn read_with(&mut self, client: &mut Client) -> Result<()> {
        (0..self.next.len() as u32).try_for_each(|queue_id| self.read_queue(client, queue_id))
    }

    fn read_queue(&mut self, client: &mut Client, queue_id: u32) -> Result<()> {
        let header =
            GetMaxOffset { topic: &self.topic, queue_id: queue_id as i32, ..GetMaxOffset::default() };
        let request = Command::request(RequestCode::GET_MAX_OFFSET).with_header(&header);
        let end = client.ask(request)?.header::<OffsetResponse<'_>>()?.offset as u64;
        while self.next.get(queue_id as usize).is_some_and(|next| *next < end) {
            self.pull(client, queue_id)?;
        }
        Ok(())
    }

    /// What was read of a message, by its producer and number.
    pub(crate) fn found(&self, of: (u32, u64)) -> Option<Found> {
        self.found.get(&of).copied()
    }

    /// Records that are not what was sent.
    pub(crate) fn corrupt(&self) -> u64 {
        self.wrong.len() as u64
    }

    /// Where they were served.
    pub(crate) fn wrong(&self) -> &[Place] {
        &self.wrong
    }

    /// Reads all queues, passing over what cannot be read; a queue that has too much of it is given up.
    ///
    /// # Errors
    /// There is no broker.
    pub(crate) fn read_past_errors(&mut self, address: SocketAddr) -> Result<()> {
        for queue_id in 0..self.next.len() {
            let mut errors = 0;
            let mut client = Client::connect(address)?;
            while errors < ERRORS_MAX && self.read_queue(&mut client, queue_id as u32).is_err() {
                errors += 1;
                client = Client::connect(address)?;
                self.next.iter_mut().skip(queue_id).take(1).for_each(|next| *next += 1);
            }
        }
        Ok(())
    }

    fn pull(&mut self, client: &mut Client, queue_id: u32) -> Result<()> {
        let next = self.next.get_mut(queue_id as usize).context("no such queue")?;
        let header = PullMessage {
            consumer_group: "ledger-verifier",
            topic: &self.topic,
            queue_id: queue_id as i32,
            queue_offset: *next as i64,
            max_msg_nums: 1024,
            sys_flag: sys_flag::pull::SUBSCRIPTION,
            subscription: Some("*"),
            expression_type: Some("TAG"),
            ..PullMessage::default()
        };
        let request = Command::request(RequestCode::PULL_MESSAGE).with_header(&header);
        let opaque = client.send(vec![request])?;
        let answer = client.receive()?;
        anyhow::ensure!(answer.opaque == opaque, "an answer to nothing");
        match ResponseCode(answer.code) {
            ResponseCode::SUCCESS
            | ResponseCode::PULL_RETRY_IMMEDIATELY
            | ResponseCode::PULL_OFFSET_MOVED => {}
            code => bail!("pull of queue {queue_id} at {next}: {code:?} {:?}", answer.remark),
        }
        let header: PullMessageResponse<'_> = answer.header().context("answer to a pull")?;
        let (before, after) = (*next, header.next_begin_offset as u64);
        anyhow::ensure!(after > before, "pull of queue {queue_id} at {before} does not get on");
        *next = after;
        self.take(queue_id, before, &answer.body)
    }

    fn take(&mut self, queue_id: u32, mut offset: u64, mut bytes: &[u8]) -> Result<()> {
        while let Some(head) = RecordHead::peek(bytes) {
            let Ok(record) = RecordView::parse(bytes) else {
                // What a client cannot decode is wrong bytes served. What follows it is asked for anew.
                self.wrong.push(Place { queue_id, offset });
                self.next.iter_mut().skip(queue_id as usize).take(1).for_each(|next| *next = offset + 1);
                return Ok(());
            };
            let place = Place { queue_id: record.queue_id, offset: record.queue_offset };
            // Offsets only grow; what is missing in between was passed over as damaged, and counts as lost if it was
            // acknowledged.
            if place.queue_id != queue_id || place.offset < offset {
                self.wrong.push(Place { queue_id, offset });
            }
            offset = record.queue_offset + 1;
            match origin(record.body) {
                Some((producer, number)) if record.body == body(producer, number) => {
                    let found = Found { place, times: 0, stored_ms: record.store_ms };
                    self.found.entry((producer, number)).or_insert(found).times += 1;
                }
                _ => self.wrong.push(place),
            }
            bytes = bytes.get(head.total as usize..).unwrap_or_default();
        }
        Ok(())
    }

    /// What was read against what was acknowledged.
    pub(crate) fn compare(&self, producers: &[Producer]) -> Totals {
        let mut totals = Totals { corrupt: self.corrupt(), ..Totals::default() };
        for producer in producers {
            for (number, place) in producer.sent.iter().enumerate() {
                let found = self.found.get(&(producer.id, number as u64));
                if let Some(found) = found {
                    totals.duplicated += u64::from(found.times > 1);
                }
                match (place, found) {
                    (Some(_), None) => totals.lost += 1,
                    (Some(place), Some(found)) => totals.displaced += u64::from(found.place != *place),
                    (None, Some(_)) => totals.unacknowledged += 1,
                    (None, None) => {}
                }
                totals.acknowledged += u64::from(place.is_some());
            }
        }
        totals
    }
}
