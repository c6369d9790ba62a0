//! Topics and groups: created, changed, deleted.

use super::judge::{Acked, Judge, Kind, Register};
use super::requests;
use super::worker::Worker;
use crate::ledger::body::Random;
use crate::ledger::client::Client;
use anyhow::{Context, Result, bail};
use kerolox_wire::body::{SubscriptionGroupWrapper, TopicConfig, from_json};
use kerolox_wire::header::{DeleteSubscriptionGroup, DeleteTopic, GetAllSubscriptionGroup, Topic};
use kerolox_wire::{Command, RequestCode, ResponseCode};

const NAMES: u32 = 6;

/// One topic or group, and the number that is changed of it; `None`: it does not exist.
struct Name {
    name: String,
    kind: Kind,
    is: Register<Option<i32>>,
}

pub(super) struct Names(Vec<Name>);

impl Names {
    pub(super) fn new() -> Self {
        let name = |kind, n| Name { name: format!("faults-{kind:?}-{n}"), kind, is: Register::new(None) };
        Self((0..NAMES).flat_map(|n| [name(Kind::Topic, n), name(Kind::Group, n)]).collect())
    }
}

impl Name {
    fn request(&self, next: Option<i32>) -> Command {
        match (self.kind, next) {
            (Kind::Topic, Some(queues)) => requests::topic_request(&self.name, queues),
            (Kind::Topic, None) => Command::request(RequestCode::DELETE_TOPIC_IN_BROKER)
                .with_header(&DeleteTopic { topic: &self.name, ..DeleteTopic::default() }),
            (_, Some(times)) => requests::group_request(&self.name, times),
            (_, None) => Command::request(RequestCode::DELETE_SUBSCRIPTIONGROUP).with_header(
                &DeleteSubscriptionGroup {
                    group_name: &self.name,
                    clean_offset: Some(true),
                    ..DeleteSubscriptionGroup::default()
                },
            ),
        }
    }
}

/// The queues of a topic.
fn queues_of(client: &mut Client, topic: &str) -> Result<Option<i32>> {
    let header = Topic { topic, ..Topic::default() };
    let answer = client.exchange(Command::request(RequestCode::GET_TOPIC_CONFIG).with_header(&header))?;
    match ResponseCode(answer.code) {
        ResponseCode::SUCCESS => Ok(Some(from_json::<TopicConfig>(&answer.body)?.read_queue_nums)),
        ResponseCode::TOPIC_NOT_EXIST => Ok(None),
        code => bail!("settings of {topic}: {code:?} {:?}", answer.remark),
    }
}

impl Worker for Names {
    fn prepare(&mut self, _: &mut Client) -> Result<()> {
        Ok(())
    }

    fn step(&mut self, client: &mut Client, random: &mut Random, acked: &mut Acked) -> Result<()> {
        let at = (random.next() % self.0.len() as u64) as usize;
        let name = self.0.get_mut(at).context("no such name")?;
        let exists = name.is.value().is_some_and(Option::is_some);
        let next =
            if exists && random.next().is_multiple_of(4) { None } else { Some(random.between(1, 12) as i32) };
        name.is.sent(next);
        let answer = client.exchange(name.request(next))?;
        if answer.code == ResponseCode::SUCCESS.0 {
            name.is.acknowledged();
            *acked.entry(name.kind).or_default() += 1;
        }
        Ok(())
    }

    fn check(&mut self, client: &mut Client, judge: &mut Judge) -> Result<()> {
        let request = Command::request(RequestCode::GET_ALL_SUBSCRIPTIONGROUP_CONFIG)
            .with_header(&GetAllSubscriptionGroup::default());
        let groups: SubscriptionGroupWrapper = from_json(&client.ask(request)?.body)?;
        for name in &mut self.0 {
            let found = match name.kind {
                Kind::Topic => queues_of(client, &name.name)?,
                _ => groups.subscription_group_table.get(&name.name).map(|group| group.retry_max_times),
            };
            name.is.found(found, name.kind, &name.name, judge);
        }
        Ok(())
    }
}
