//! Producers that keep sends in flight until the broker is killed, and remember what was acknowledged.

use super::body::{Random, body};
use super::client::Client;
use super::{QUEUES, TOPIC};
use anyhow::{Context, Result, ensure};
use kerolox_wire::header::{CreateTopic, SendMessage, SendMessageResponse};
use kerolox_wire::{Command, RequestCode, ResponseCode};
use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Sends in flight on each connection: at random, anew in each cycle.
const IN_FLIGHT_MAX: u64 = 64;

/// Where an acknowledgement says that a message is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) queue_id: u32,
    pub(crate) offset: u64,
}

pub(crate) struct Producer {
    pub(crate) id: u32,
    /// Messages sent so far, by number; their places once acknowledged.
    pub(crate) sent: Vec<Option<Place>>,
}

impl Producer {
    pub(crate) fn new(id: u32) -> Self {
        Self { id, sent: Vec::new() }
    }

    fn request(&mut self) -> (u64, Command) {
        let number = self.sent.len() as u64;
        self.sent.push(None);
        let properties = format!("KEYS\u{1}{}-{number}\u{2}WAIT\u{1}true\u{2}", self.id);
        let header = SendMessage {
            producer_group: "ledger",
            topic: TOPIC,
            default_topic: "TBW102",
            default_topic_queue_nums: 4,
            queue_id: (number % u64::from(QUEUES)) as i32,
            properties: Some(&properties),
            ..SendMessage::default()
        };
        let mut command = Command::request(RequestCode::SEND_MESSAGE_V2).with_body(body(self.id, number));
        header.encode_v2(&mut command.fields);
        (number, command)
    }

    fn acknowledged(&mut self, number: u64, answer: &Command) -> Result<()> {
        if answer.code != ResponseCode::SUCCESS.0 {
            // A refusal is no promise.
            return Ok(());
        }
        let header: SendMessageResponse<'_> = answer.header()?;
        let place = Place { queue_id: header.queue_id as u32, offset: header.queue_offset as u64 };
        *self.sent.get_mut(number as usize).context("an answer to nothing")? = Some(place);
        Ok(())
    }

    /// One message; whether it was acknowledged.
    pub(crate) fn send_with(&mut self, client: &mut Client) -> Result<bool> {
        let (number, command) = self.request();
        let answer = client.exchange(command)?;
        self.acknowledged(number, &answer)?;
        Ok(self.sent.last().is_some_and(Option::is_some))
    }

    /// One message, acknowledged.
    pub(crate) fn send_one(&mut self, address: SocketAddr) -> Result<()> {
        let acknowledged = self.send_with(&mut Client::connect(address)?)?;
        ensure!(acknowledged, "the first send after a start was not acknowledged");
        Ok(())
    }

    /// Sends that many messages and waits until each is acknowledged.
    pub(crate) fn send_all(&mut self, address: SocketAddr, count: usize) -> Result<()> {
        let mut client = Client::connect(address)?;
        while self.sent.len() < count {
            let first = self.sent.len() as u64;
            let burst = (count - self.sent.len()).min(IN_FLIGHT_MAX as usize);
            let requests = (0..burst).map(|_| self.request().1).collect();
            let opaque = client.send(requests)?;
            for _ in 0..burst {
                let answer = client.receive()?;
                self.acknowledged(first + (answer.opaque - opaque) as u64, &answer)?;
            }
        }
        ensure!(self.sent.iter().all(Option::is_some), "a send was refused");
        Ok(())
    }

    /// Sends until the connection breaks, as it must.
    fn load(&mut self, address: SocketAddr, seed: u64, killed: &AtomicBool) -> Result<()> {
        let mut client = Client::connect(address)?;
        let in_flight = Random::new(seed ^ u64::from(self.id)).between(1, IN_FLIGHT_MAX);
        let mut waiting = HashMap::new();
        let result = self.exchange(&mut client, in_flight as usize, &mut waiting);
        ensure!(killed.load(Ordering::SeqCst), "the connection broke before the kill: {result:?}");
        Ok(())
    }

    fn exchange(
        &mut self,
        client: &mut Client,
        in_flight: usize,
        waiting: &mut HashMap<i32, u64>,
    ) -> Result<()> {
        loop {
            let mut requests = Vec::new();
            let mut numbers = Vec::new();
            while waiting.len() + requests.len() < in_flight {
                let (number, request) = self.request();
                requests.push(request);
                numbers.push(number);
            }
            let first = client.send(requests)?;
            waiting.extend(numbers.into_iter().enumerate().map(|(i, number)| (first + i as i32, number)));
            let answer = client.receive()?;
            let number = waiting.remove(&answer.opaque).context("an answer to nothing")?;
            self.acknowledged(number, &answer)?;
        }
    }
}

/// The topic that is written and read, with its queues.
pub(crate) fn create_topic(address: SocketAddr, topic: &str) -> Result<()> {
    let header = CreateTopic {
        topic,
        default_topic: "TBW102",
        read_queue_nums: QUEUES as i32,
        write_queue_nums: QUEUES as i32,
        perm: 6,
        topic_filter_type: "SINGLE_TAG",
        ..CreateTopic::default()
    };
    let request = Command::request(RequestCode::UPDATE_AND_CREATE_TOPIC).with_header(&header);
    Client::connect(address)?.ask(request).map(drop)
}

/// All producers send for `time`, then `kill` strikes while they do.
pub(crate) fn load(
    producers: &mut [Producer],
    address: SocketAddr,
    time: Duration,
    seed: u64,
    kill: impl FnOnce() -> Result<()>,
) -> Result<()> {
    let killed = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let killed = &killed;
        let threads: Vec<_> =
            producers.iter_mut().map(|p| scope.spawn(move || p.load(address, seed, killed))).collect();
        std::thread::sleep(time);
        killed.store(true, Ordering::SeqCst);
        kill()?;
        for thread in threads {
            thread.join().map_err(|_| anyhow::anyhow!("a producer panicked"))??;
        }
        Ok(())
    })
}
