//! Finding the broker of a topic and creating the topic.

use super::Server;
use anyhow::{Context, Result, bail};
use kerolox_net::Dialed;
use kerolox_wire::body::{self, TopicList};
use kerolox_wire::header::{CreateTopic, GetMaxOffset, GetRouteInfo, OffsetResponse, TopicQueue};
use kerolox_wire::{Command, RequestCode, ResponseCode};
use std::net::{SocketAddr, ToSocketAddrs};
use std::rc::Rc;
use std::time::Duration;

const TIMEOUT: Duration = Duration::from_secs(20);
/// Requests of a kind that are made at once.
const IN_FLIGHT: usize = 256;

pub(super) struct Broker {
    pub(super) address: SocketAddr,
    /// As the name server says; empty if none was asked.
    pub(super) name: String,
    dialed: Dialed,
}

impl Broker {
    /// The broker as named, or as the name server says.
    pub(super) async fn find(server: &Server) -> Result<Self> {
        let (name, address) = match &server.broker {
            Some(address) => (String::new(), address.clone()),
            None => ask(&server.namesrv, &server.topic).await?,
        };
        let address = address
            .to_socket_addrs()
            .with_context(|| format!("the broker's address {address:?} cannot be resolved"))?
            .next()
            .with_context(|| format!("the broker's address {address:?} resolves to nothing"))?;
        let (dialed, _) =
            Dialed::connect(address, TIMEOUT).await.with_context(|| format!("broker {address}"))?;
        Ok(Self { address, name, dialed })
    }

    pub(super) async fn create_topic(&self, topic: &str, queues: u32) -> Result<()> {
        self.create_typed_topic(topic, queues, None).await
    }

    /// With attributes: `+name=value,…`.
    pub(super) async fn create_typed_topic(
        &self,
        topic: &str,
        queues: u32,
        attributes: Option<&str>,
    ) -> Result<()> {
        let header = CreateTopic {
            topic,
            default_topic: "TBW102",
            read_queue_nums: queues as i32,
            write_queue_nums: queues as i32,
            perm: 6,
            topic_filter_type: "SINGLE_TAG",
            topic_sys_flag: Some(0),
            order: false,
            attributes,
            ..CreateTopic::default()
        };
        let request = Command::request(RequestCode::UPDATE_AND_CREATE_TOPIC).with_header(&header);
        self.ask(request, &format!("create topic {topic}")).await.map(drop)
    }

    /// Many of them, several at a time.
    pub(super) async fn create_topics(self: &Rc<Self>, topics: &[String], queues: u32) -> Result<()> {
        for some in topics.chunks(IN_FLIGHT) {
            let creations: Vec<_> = some
                .iter()
                .map(|topic| {
                    let (broker, topic) = (Rc::clone(self), topic.clone());
                    tokio::task::spawn_local(async move { broker.create_topic(&topic, queues).await })
                })
                .collect();
            for creation in creations {
                creation.await??;
            }
        }
        Ok(())
    }

    /// The offset behind the last message of a queue, or of the first one that is kept.
    pub(super) async fn offset(&self, topic: &str, queue_id: u32, max: bool) -> Result<i64> {
        let queue_id = queue_id as i32;
        let request = if max {
            let header = GetMaxOffset { topic, queue_id, ..GetMaxOffset::default() };
            Command::request(RequestCode::GET_MAX_OFFSET).with_header(&header)
        } else {
            let header = TopicQueue { topic, queue_id, ..TopicQueue::default() };
            Command::request(RequestCode::GET_MIN_OFFSET).with_header(&header)
        };
        let answer = self.ask(request, &format!("offset of queue {queue_id}")).await?;
        Ok(answer.header::<OffsetResponse<'_>>().context("the answer carries no offset")?.offset)
    }

    /// The answer, whatever it says.
    pub(super) async fn try_ask(&self, request: Command, what: &str) -> Result<Command> {
        self.dialed.request(request, TIMEOUT).await.with_context(|| what.to_owned())
    }

    /// A successful answer.
    pub(super) async fn ask(&self, request: Command, what: &str) -> Result<Command> {
        let answer = self.try_ask(request, what).await?;
        if answer.code != ResponseCode::SUCCESS.0 {
            bail!(
                "{what}: the broker answers {:?}: {}",
                ResponseCode(answer.code),
                answer.remark.unwrap_or_default()
            );
        }
        Ok(answer)
    }
}

/// A connection to a name server.
pub(super) struct Namesrv(Dialed);

impl Namesrv {
    pub(super) async fn connect(address: &str) -> Result<Self> {
        let (dialed, _) =
            Dialed::connect(address, TIMEOUT).await.with_context(|| format!("name server {address}"))?;
        Ok(Self(dialed))
    }

    /// Names of all topics.
    pub(super) async fn topics(&self) -> Result<Vec<String>> {
        let request = Command::request(RequestCode::GET_ALL_TOPIC_LIST_FROM_NAMESERVER);
        let answer = self.0.request(request, TIMEOUT).await.context("name server")?;
        let list: TopicList = body::from_json(&answer.body).context("the name server's list of topics")?;
        Ok(list.topic_list)
    }
}

/// Name and address of the topic's broker.
async fn ask(namesrv: &str, topic: &str) -> Result<(String, String)> {
    let (dialed, _) =
        Dialed::connect(namesrv, TIMEOUT).await.with_context(|| format!("name server {namesrv}"))?;
    // A topic that is not there yet will be created on the broker that takes new ones.
    for topic in [topic, "TBW102"] {
        let header = GetRouteInfo {
            topic: Some(topic),
            accept_standard_json_only: Some(true),
            ..GetRouteInfo::default()
        };
        let request = Command::request(RequestCode::GET_ROUTEINFO_BY_TOPIC).with_header(&header);
        let answer =
            dialed.request(request, TIMEOUT).await.with_context(|| format!("name server {namesrv}"))?;
        if answer.code == ResponseCode::SUCCESS.0 {
            return leader(&answer.body).with_context(|| format!("the route of {topic} names no broker"));
        }
    }
    bail!("the name server {namesrv} knows neither the topic {topic} nor a broker for new topics");
}

/// Name, and address of broker 0, of the first broker of a route.
fn leader(body: &[u8]) -> Option<(String, String)> {
    let route: serde_json::Value = serde_json::from_slice(body).ok()?;
    let broker = route.get("brokerDatas")?.get(0)?;
    let address = broker.get("brokerAddrs")?.get("0")?;
    Some((broker.get("brokerName")?.as_str()?.to_owned(), address.as_str()?.to_owned()))
}
