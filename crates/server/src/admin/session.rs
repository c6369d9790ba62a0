//! One run of a command: its connections, the name servers, and what several commands look up.

use super::client::{Client, granted, is_refusal};
use super::flags::{Args, Usage};
use super::out::Out;
use anyhow::{Context, Result, anyhow};
use kerolox_wire::body::{self, BrokerData, ClusterInfo, TopicRouteData};
use kerolox_wire::header::GetRouteInfo;
use kerolox_wire::{Command, RequestCode, ResponseCode};
use serde::de::DeserializeOwned;
use std::time::Duration;

const NAMESRV_DEFAULT: &str = "127.0.0.1:9876";
const TIMEOUT_DEFAULT: Duration = Duration::from_secs(5);
/// The id of a master among the brokers of its name.
const MASTER: i64 = 0;

#[derive(Debug)]
pub(super) struct Session {
    pub(super) client: Client,
    pub(super) namesrvs: Vec<String>,
    pub(super) out: Out,
}

impl Session {
    /// # Errors
    /// [`Usage`]: no name server, or a flag of all commands is not valid.
    pub(super) fn new(args: &Args) -> Result<Self> {
        let given = ["namesrvAddr", "nameserverAddr"].into_iter().find_map(|long| {
            super::flags::flags(args.command).any(|flag| flag.long == long).then(|| args.get(long)).flatten()
        });
        let text = given.map(str::to_owned).or_else(|| std::env::var("NAMESRV_ADDR").ok());
        let text = text.as_deref().map(str::trim).filter(|text| !text.is_empty()).unwrap_or(NAMESRV_DEFAULT);
        let namesrvs: Vec<String> =
            text.split(';').map(str::trim).filter(|s| !s.is_empty()).map(str::to_owned).collect();
        if namesrvs.is_empty() {
            return Err(Usage(format!("-n {text:?} names no server")).into());
        }
        let timeout = match args.number::<f64>("timeout")? {
            None => TIMEOUT_DEFAULT,
            Some(seconds) => Duration::try_from_secs_f64(seconds)
                .ok()
                .filter(|timeout| (Duration::from_millis(1)..=Duration::from_secs(86_400)).contains(timeout))
                .ok_or_else(|| Usage("--timeout must be from 0.001 to 86400 seconds".to_owned()))?,
        };
        Ok(Self { client: Client::new(timeout), namesrvs, out: Out::new(args.wants_json()?) })
    }

    /// Asks the first name server that can be reached; the answer is `SUCCESS`.
    ///
    /// # Errors
    /// None can be reached, or the one that was refused.
    pub(super) fn namesrv(&mut self, request: &Command) -> Result<Command> {
        let mut last = anyhow!("there is no name server");
        for server in self.namesrvs.clone() {
            match self.client.ask(&server, request.clone()) {
                Ok(answer) => {
                    return granted(&format!("name server {server}"), RequestCode(request.code), answer);
                }
                Err(why) => {
                    last = why.context("no name server answers (-n or NAMESRV_ADDR says where they are)");
                }
            }
        }
        Err(last)
    }

    /// Asks all name servers, one after the other.
    ///
    /// # Errors
    /// The first that cannot be reached or refuses; those after it are asked nevertheless.
    pub(super) fn every_namesrv(&mut self, request: &Command) -> Result<()> {
        let mut first = Ok(());
        for server in self.namesrvs.clone() {
            let result = self.client.done(&server, request.clone()).map(drop);
            first = first.and(result);
        }
        first
    }

    /// The body of the answer of a server that did what was asked.
    pub(super) fn body<T: DeserializeOwned>(&mut self, server: &str, request: Command) -> Result<T> {
        let code = RequestCode(request.code);
        let answer = self.client.done(server, request)?;
        read(&answer).with_context(|| format!("{server}, asked {code:?}"))
    }

    /// # Errors
    /// No name server answers, or the topic has no route.
    pub(super) fn route(&mut self, topic: &str) -> Result<TopicRouteData> {
        let header = GetRouteInfo {
            topic: Some(topic),
            accept_standard_json_only: Some(true),
            ..GetRouteInfo::default()
        };
        let request = Command::request(RequestCode::GET_ROUTEINFO_BY_TOPIC).with_header(&header);
        read(&self.namesrv(&request)?)
    }

    /// The route, unless the name server says that there is none.
    pub(super) fn route_if_any(&mut self, topic: &str) -> Result<Option<TopicRouteData>> {
        match self.route(topic) {
            Err(why) if is_refusal(&why, ResponseCode::TOPIC_NOT_EXIST) => Ok(None),
            other => other.map(Some),
        }
    }

    /// The broker of each name that a topic is on: where to ask about it, name and address.
    pub(super) fn brokers_of(&mut self, topic: &str) -> Result<Vec<(String, String)>> {
        let route = self.route(topic)?;
        Ok(addressed(&route.broker_datas))
    }

    pub(super) fn clusters(&mut self) -> Result<ClusterInfo> {
        read(&self.namesrv(&Command::request(RequestCode::GET_BROKER_CLUSTER_INFO))?)
    }

    /// The brokers of a cluster, by name.
    ///
    /// # Errors
    /// The name servers know no such cluster.
    pub(super) fn cluster(&mut self, name: &str) -> Result<Vec<BrokerData>> {
        let info = self.clusters()?;
        let Some(names) = info.cluster_addr_table.get(name) else {
            let known: Vec<_> = info.cluster_addr_table.keys().cloned().collect();
            let known = if known.is_empty() { "no cluster at all".to_owned() } else { known.join(", ") };
            return Err(anyhow!("there is no cluster {name}; the name server knows {known}"));
        };
        let mut brokers: Vec<_> =
            names.iter().filter_map(|name| info.broker_addr_table.get(name)).cloned().collect();
        brokers.sort_by(|a, b| a.broker_name.cmp(&b.broker_name));
        Ok(brokers)
    }

    /// The addresses of the masters of a cluster.
    ///
    /// # Errors
    /// No such cluster, or no master in it.
    pub(super) fn masters(&mut self, cluster: &str) -> Result<Vec<String>> {
        let brokers = self.cluster(cluster)?;
        let masters: Vec<_> = brokers.iter().filter_map(master).map(str::to_owned).collect();
        if masters.is_empty() {
            return Err(anyhow!("no master of the cluster {cluster} is registered"));
        }
        Ok(masters)
    }

    /// The addresses of all brokers of a cluster, masters first of each name.
    pub(super) fn members(&mut self, cluster: &str) -> Result<Vec<String>> {
        let brokers = self.cluster(cluster)?;
        Ok(brokers.iter().flat_map(|data| data.broker_addrs.values().cloned()).collect())
    }

    /// The masters that a command means: the broker of one flag, or those of the cluster of the other.
    ///
    /// # Errors
    /// [`Usage`] where neither is given.
    pub(super) fn meant(&mut self, args: &Args, broker: &str, cluster: &str) -> Result<Vec<String>> {
        match (args.get(broker), args.get(cluster)) {
            (Some(address), _) => Ok(vec![address.to_owned()]),
            (None, Some(cluster)) => self.masters(cluster),
            (None, None) => Err(Usage(format!("missing: one of --{broker}, --{cluster}")).into()),
        }
    }

    /// The addresses of the brokers of a name, the master first.
    ///
    /// # Errors
    /// The name servers know no such broker.
    pub(super) fn named(&mut self, name: &str) -> Result<Vec<String>> {
        let info = self.clusters()?;
        let addresses: Vec<_> = info
            .broker_addr_table
            .get(name)
            .into_iter()
            .flat_map(|b| b.broker_addrs.values().cloned())
            .collect();
        if addresses.is_empty() {
            let known: Vec<_> = info.broker_addr_table.keys().cloned().collect();
            return Err(anyhow!("there is no broker {name}; the name server knows {}", known.join(", ")));
        }
        Ok(addresses)
    }
}

/// Reads the body of an answer.
pub(super) fn read<T: DeserializeOwned>(answer: &Command) -> Result<T> {
    body::from_json(&answer.body).context("the answer cannot be read")
}

/// The address of the master.
pub(super) fn master(data: &BrokerData) -> Option<&str> {
    data.broker_addrs.get(&MASTER).map(String::as_str)
}

/// Name and address of each: the master's, or that of another where there is none.
pub(super) fn addressed(brokers: &[BrokerData]) -> Vec<(String, String)> {
    let mut all: Vec<_> = brokers
        .iter()
        .filter_map(|data| Some((data.broker_name.clone(), data.broker_addrs.values().next()?.clone())))
        .collect();
    all.sort();
    all
}
