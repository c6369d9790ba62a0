//! Offsets of consumer groups, committed one after the other.

use super::judge::{Acked, Judge, Kind, Register};
use super::requests;
use super::worker::Worker;
use crate::ledger::body::Random;
use crate::ledger::client::Client;
use anyhow::{Context, Result, bail};
use kerolox_wire::header::{OffsetResponse, QueryConsumerOffset, UpdateConsumerOffset};
use kerolox_wire::{Command, RequestCode, ResponseCode};

const TOPIC: &str = "faults-commits";
const QUEUES: u32 = 4;
const GROUPS: u32 = 3;

/// The offsets of each group in each queue.
pub(super) struct Commits(Vec<(String, u32, Register<i64>)>);

impl Commits {
    pub(super) fn new() -> Self {
        let groups = (0..GROUPS).map(|n| format!("faults-committers-{n}"));
        let offsets = groups.flat_map(|g| (0..QUEUES).map(move |q| (g.clone(), q, Register::new(0))));
        Self(offsets.collect())
    }
}

impl Worker for Commits {
    fn prepare(&mut self, client: &mut Client) -> Result<()> {
        requests::create_topic(client, TOPIC, QUEUES)?;
        for queue in 0..QUEUES {
            // Something to be at 0 of.
            client.ask(requests::send(TOPIC, queue as i32, "", vec![0]))?;
        }
        for (group, ..) in &self.0 {
            client.ask(requests::group_request(group, 16))?;
        }
        Ok(())
    }

    fn step(&mut self, client: &mut Client, random: &mut Random, acked: &mut Acked) -> Result<()> {
        let at = (random.next() % self.0.len() as u64) as usize;
        let (group, queue, offset) = self.0.get_mut(at).context("no such offset")?;
        let next = offset.value().copied().unwrap_or_default() + random.between(1, 50) as i64;
        let header = UpdateConsumerOffset {
            consumer_group: group,
            topic: TOPIC,
            queue_id: *queue as i32,
            commit_offset: next,
            ..UpdateConsumerOffset::default()
        };
        offset.sent(next);
        let request = Command::request(RequestCode::UPDATE_CONSUMER_OFFSET).with_header(&header);
        let answer = client.exchange(request)?;
        if answer.code == ResponseCode::SUCCESS.0 {
            offset.acknowledged();
            *acked.entry(Kind::Commit).or_default() += 1;
        }
        Ok(())
    }

    fn check(&mut self, client: &mut Client, judge: &mut Judge) -> Result<()> {
        for (group, queue, offset) in &mut self.0 {
            let header = QueryConsumerOffset {
                consumer_group: group,
                topic: TOPIC,
                queue_id: *queue as i32,
                ..QueryConsumerOffset::default()
            };
            let answer =
                client.exchange(Command::request(RequestCode::QUERY_CONSUMER_OFFSET).with_header(&header))?;
            let found = match ResponseCode(answer.code) {
                ResponseCode::SUCCESS => answer.header::<OffsetResponse<'_>>()?.offset,
                ResponseCode::QUERY_NOT_FOUND => 0,
                code => bail!("offset of {group}: {code:?} {:?}", answer.remark),
            };
            offset.found(found, Kind::Commit, &format!("offset of {group} in queue {queue}"), judge);
        }
        Ok(())
    }
}
