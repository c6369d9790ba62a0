//! What is known of topics and groups: asked of brokers and name servers, and believed for a while. Where nobody can be asked the
//! old is believed on, so that clients are served as long as their brokers are there.

use crate::brokers::{Brokers, success};
use crate::face::Face;
use crate::status::{Refusal, Result};
use crate::v2::Code;
use kerolox_wire::body::{
    BrokerData, QueueData, SubscriptionGroupConfig, TopicConfig, TopicRouteData, from_json,
};
use kerolox_wire::header::{GetRouteInfo, Group, Topic};
use kerolox_wire::{Command, RequestCode};
use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::time::Duration;

/// Where a broker is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) name: Rc<str>,
    /// `HOST:PORT`; empty for the broker of the process.
    pub(crate) address: String,
}

/// What is known of a topic for a while.
pub(crate) struct View {
    pub(crate) config: TopicConfig,
    /// Masters with a queue, in the order of their names, and their queues.
    pub(crate) masters: Vec<(Place, QueueData)>,
}

/// How long something may be believed: it is asked again after that.
const LOCAL_MS: i64 = 1_000;
const REMOTE_MS: i64 = 10_000;
/// And when nobody could be asked.
const AGAIN_MS: i64 = 1_000;
/// Names of each kind that are remembered.
const REMEMBERED_MAX: usize = 20_000;

/// What was said of names, and until when it is believed, in milliseconds.
struct Believed<T>(RefCell<HashMap<String, (i64, Rc<T>)>>);

impl<T> Default for Believed<T> {
    fn default() -> Self {
        Self(RefCell::default())
    }
}

impl<T> Believed<T> {
    fn get(&self, name: &str, now_ms: i64) -> Option<Rc<T>> {
        let all = self.0.borrow();
        all.get(name).filter(|(until_ms, _)| now_ms < *until_ms).map(|(_, known)| Rc::clone(known))
    }

    /// What is believed now that this was said.
    fn hear(&self, name: &str, now_ms: i64, for_ms: i64, said: Result<T>) -> Result<Rc<T>> {
        let mut all = self.0.borrow_mut();
        match said {
            Ok(known) => {
                if all.len() >= REMEMBERED_MAX {
                    all.clear();
                }
                let known = Rc::new(known);
                all.insert(name.to_owned(), (now_ms + for_ms, Rc::clone(&known)));
                Ok(known)
            }
            Err(refusal) if refusal.is_of_the_moment() => match all.get_mut(name) {
                Some((until_ms, known)) => {
                    *until_ms = now_ms + AGAIN_MS;
                    Ok(Rc::clone(known))
                }
                None => Err(refusal),
            },
            Err(refusal) => {
                all.remove(name);
                Err(refusal)
            }
        }
    }
}

/// All that is believed.
#[derive(Default)]
pub(crate) struct Known {
    routes: Believed<TopicRouteData>,
    topics: Believed<View>,
    groups: Believed<SubscriptionGroupConfig>,
}

impl Face {
    /// The broker of the process, if it has one.
    pub(crate) fn here(&self) -> Option<Place> {
        match &self.brokers {
            Brokers::Local(hub) => Some(Place { name: Rc::clone(&hub.broker), address: String::new() }),
            Brokers::Remote(_) => None,
        }
    }

    fn believed_ms(&self) -> i64 {
        if self.here().is_some() { LOCAL_MS } else { REMOTE_MS }
    }

    /// What name servers say of a topic.
    pub(crate) async fn route(&self, topic: &str) -> Result<Rc<TopicRouteData>> {
        let now_ms = (self.config.now_ms)();
        if let Some(route) = self.known.routes.get(topic, now_ms) {
            return Ok(route);
        }
        let header =
            GetRouteInfo { topic: Some(topic), accept_standard_json_only: Some(true), ..Default::default() };
        let command = Command::request(RequestCode::GET_ROUTEINFO_BY_TOPIC).with_header(&header);
        let said = self.brokers.name_server(command).await.and_then(success).and_then(|a| parsed(&a));
        self.known.routes.hear(topic, now_ms, self.believed_ms(), said)
    }

    /// A topic as brokers have it.
    pub(crate) async fn view(self: &Rc<Self>, topic: &str) -> Result<Rc<View>> {
        let now_ms = (self.config.now_ms)();
        if let Some(view) = self.known.topics.get(topic, now_ms) {
            return Ok(view);
        }
        let said = self.ask_view(topic).await;
        self.known.topics.hear(topic, now_ms, self.believed_ms(), said)
    }

    async fn ask_view(self: &Rc<Self>, topic: &str) -> Result<View> {
        if let Some(here) = self.here() {
            let config = self.topic_config(&here, topic).await?;
            let queues = QueueData {
                broker_name: here.name.to_string(),
                perm: config.perm,
                read_queue_nums: config.read_queue_nums,
                write_queue_nums: config.write_queue_nums,
                topic_sys_flag: config.topic_sys_flag,
            };
            return Ok(View { config, masters: vec![(here, queues)] });
        }
        let masters = masters(&*self.route(topic).await?);
        let mut why = no_queue(topic);
        for (place, _) in &masters {
            match self.topic_config(place, topic).await {
                Ok(config) => return Ok(View { config, masters }),
                Err(e) => why = e,
            }
        }
        Err(why)
    }

    async fn topic_config(self: &Rc<Self>, place: &Place, topic: &str) -> Result<TopicConfig> {
        let header = Topic { topic, ..Default::default() };
        self.ask_own(place, Command::request(RequestCode::GET_TOPIC_CONFIG).with_header(&header)).await
    }

    async fn ask_own<T: serde::de::DeserializeOwned>(
        self: &Rc<Self>,
        place: &Place,
        command: Command,
    ) -> Result<T> {
        let link = self.own.link(self, place).await?;
        parsed(&success(link.call(command, Duration::ZERO).await?)?)
    }

    /// A group as a broker of a topic has it (of no account for the broker of the process); brokers create it where they may.
    pub(crate) async fn group(
        self: &Rc<Self>,
        group: &str,
        topic: Option<&str>,
    ) -> Result<Rc<SubscriptionGroupConfig>> {
        let now_ms = (self.config.now_ms)();
        if let Some(config) = self.known.groups.get(group, now_ms) {
            return Ok(config);
        }
        let said = self.ask_group(group, topic).await;
        self.known.groups.hear(group, now_ms, self.believed_ms(), said)
    }

    async fn ask_group(self: &Rc<Self>, group: &str, topic: Option<&str>) -> Result<SubscriptionGroupConfig> {
        let places: Vec<Place> = match (self.here(), topic) {
            (Some(here), _) => vec![here],
            (None, Some(topic)) => {
                self.view(topic).await?.masters.iter().map(|(place, _)| place.clone()).collect()
            }
            (None, None) => Vec::new(),
        };
        let mut why = Refusal::new(Code::ConsumerGroupNotFound, format!("group not found: {group}"));
        for place in places {
            match self.group_at(&place, group).await {
                Ok(config) => return Ok(config),
                Err(e) => why = e,
            }
        }
        Err(why)
    }

    /// A group as one broker has it.
    pub(crate) async fn group_at(
        self: &Rc<Self>,
        place: &Place,
        group: &str,
    ) -> Result<SubscriptionGroupConfig> {
        let header = Group { group, ..Default::default() };
        let command = Command::request(RequestCode::GET_SUBSCRIPTIONGROUP_CONFIG).with_header(&header);
        self.ask_own(place, command).await
    }
}

fn parsed<T: serde::de::DeserializeOwned>(answer: &Command) -> Result<T> {
    from_json(&answer.body).map_err(|e| Refusal::new(Code::InternalServerError, e.to_string()))
}

pub(crate) fn no_queue(topic: &str) -> Refusal {
    Refusal::new(Code::TopicNotFound, format!("No topic route info in name server for the topic: {topic}"))
}

/// Masters with queues of a topic, by their names.
fn masters(route: &TopicRouteData) -> Vec<(Place, QueueData)> {
    let mut queues = route.queue_datas.clone();
    queues.sort_by(|a, b| a.broker_name.cmp(&b.broker_name));
    let address = |name: &str, brokers: &[BrokerData]| {
        brokers.iter().find(|broker| broker.broker_name == name)?.broker_addrs.get(&0).cloned()
    };
    let place = |queue: QueueData| {
        let address = address(&queue.broker_name, &route.broker_datas)?;
        Some((Place { name: Rc::from(&*queue.broker_name), address }, queue))
    };
    queues.into_iter().filter_map(place).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A proxy whose name servers had gone served nobody, though all brokers were there.
    #[test]
    fn what_was_known_is_believed_on_while_nobody_can_be_asked() {
        let known = Believed::default();
        let refused = |code| Err(Refusal::new(code, ""));
        assert!(known.hear("T", 0, 10, refused(Code::InternalServerError)).is_err());
        assert_eq!(*known.hear("T", 0, 10, Ok(7)).unwrap(), 7);
        assert_eq!((known.get("T", 9).as_deref(), known.get("T", 10)), (Some(&7), None));
        for code in [Code::InternalServerError, Code::ProxyTimeout, Code::TooManyRequests] {
            assert_eq!(*known.hear("T", 10, 10, refused(code)).unwrap(), 7);
        }
        assert_eq!(known.get("T", 10 + AGAIN_MS - 1).as_deref(), Some(&7));
        // That it is gone is an answer.
        assert_eq!(
            known.hear("T", 20, 10, refused(Code::TopicNotFound)).unwrap_err().code,
            Code::TopicNotFound
        );
        assert!(known.hear("T", 20, 10, refused(Code::InternalServerError)).is_err());
    }
}
