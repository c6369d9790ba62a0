//! Where the queues of a topic are, and which of them a consumer asks.

use super::send::accepted;
use crate::check;
use crate::face::Call;
use crate::known::Place;
use crate::status::{Refusal, Result, ok};
use crate::v2::{
    Address, AddressScheme, Assignment, Broker, Code, Endpoints, MessageQueue, MessageType, Permission,
    QueryAssignmentRequest, QueryAssignmentResponse, QueryRouteRequest, QueryRouteResponse,
};
use kerolox_wire::body::{BrokerData, QueueData, perm};
use std::net::IpAddr;

/// `HOST:PORT` as clients want it.
fn endpoints(address: &str, port: Option<u16>) -> Endpoints {
    let (host, own_port) = address.rsplit_once(':').unwrap_or((address, ""));
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let scheme = match host.parse() {
        Ok(IpAddr::V4(_)) => AddressScheme::IPv4,
        Ok(IpAddr::V6(_)) => AddressScheme::IPv6,
        Err(_) => AddressScheme::DomainName,
    };
    let port = port.or_else(|| own_port.parse().ok()).unwrap_or_default();
    let addresses = vec![Address { host: host.to_owned(), port: i32::from(port) }];
    Endpoints { scheme: scheme.into(), addresses }
}

/// Where a client finds the face that speaks for a broker: this one where it asked, unless the settings say otherwise.
fn endpoints_of(call: &Call, broker: &BrokerData, asked: Option<&Endpoints>) -> Endpoints {
    let (here, config) = (call.face.here(), &call.face.config);
    let address = broker.broker_addrs.get(&0).or_else(|| broker.broker_addrs.values().next());
    let beside_broker = || endpoints(address.map_or("", String::as_str), Some(config.port));
    // One that is apart speaks for all; one with a broker only for that.
    if here.as_ref().is_some_and(|here| *here.name != *broker.broker_name) {
        return beside_broker();
    }
    match (&config.advertise, asked.filter(|asked| !asked.addresses.is_empty())) {
        (Some(advertise), _) => endpoints(advertise, None),
        (None, Some(asked)) => asked.clone(),
        (None, None) => beside_broker(),
    }
}

pub(crate) async fn query_route(call: Call, request: QueryRouteRequest) -> Result<QueryRouteResponse> {
    let topic = check::topic(request.topic.as_ref())?;
    let route = call.face.route(topic).await?;
    // A topic may have queues on other brokers alone; what it takes is then checked there.
    let accept: &[MessageType] = match call.face.view(topic).await {
        Ok(view) => accepted(&view),
        Err(_) => super::send::types("MIXED"),
    };
    let mut message_queues = Vec::new();
    for queues in &route.queue_datas {
        let broker = route.broker_datas.iter().find(|broker| broker.broker_name == queues.broker_name);
        let Some(broker) = broker else { continue };
        for id in broker.broker_addrs.keys() {
            let place = Broker {
                name: broker.broker_name.clone(),
                id: i32::try_from(*id).unwrap_or(i32::MAX),
                endpoints: Some(endpoints_of(&call, broker, request.endpoints.as_ref())),
            };
            message_queues.extend(permissions(queues).into_iter().zip(0..).map(|(permission, id)| {
                MessageQueue {
                    topic: request.topic.clone(),
                    id,
                    permission: permission.into(),
                    broker: Some(place.clone()),
                    accept_message_types: accept.iter().map(|kind| (*kind).into()).collect(),
                }
            }));
        }
    }
    Ok(QueryRouteResponse { status: Some(ok()), message_queues })
}

/// Of each queue of a broker, in the order that Apache's proxy numbers them by.
fn permissions(queues: &QueueData) -> Vec<Permission> {
    let (read, write) = (queues.read_queue_nums.max(0) as usize, queues.write_queue_nums.max(0) as usize);
    let (may_read, may_write) = (queues.perm & perm::READ != 0, queues.perm & perm::WRITE != 0);
    let (only_read, only_write, both, none) = match (may_read, may_write) {
        (true, true) => {
            let both = read.min(write);
            (read - both, write - both, both, 0)
        }
        (true, false) => (read, 0, 0, 0),
        (false, true) => (0, write, 0, 0),
        (false, false) => (0, 0, 0, read.max(write).max(1)),
    };
    let all = [
        (Permission::Read, only_read),
        (Permission::Write, only_write),
        (Permission::ReadWrite, both),
        (Permission::None, none),
    ];
    all.into_iter().flat_map(|(permission, count)| std::iter::repeat_n(permission, count)).collect()
}

pub(crate) async fn query_assignment(
    call: Call,
    request: QueryAssignmentRequest,
) -> Result<QueryAssignmentResponse> {
    let topic = check::topic(request.topic.as_ref())?;
    let group = check::group(request.group.as_ref())?;
    let route = call.face.route(topic).await?;
    // A group that is not there yet is not ordered.
    let by_queue = match call.face.group(group, Some(topic)).await {
        Ok(config) => config.consume_message_orderly && !config.attributes.contains_key("lite.bind.topic"),
        Err(refusal) if refusal.is_of_the_moment() => return Err(refusal),
        Err(_) => false,
    };
    let mut assignments = Vec::new();
    for queues in &route.queue_datas {
        let broker = route.broker_datas.iter().find(|broker| broker.broker_name == queues.broker_name);
        let broker = broker.filter(|broker| broker.broker_addrs.contains_key(&0));
        let readable = queues.perm & perm::READ != 0 && queues.read_queue_nums > 0;
        let Some(broker) = broker.filter(|_| readable) else { continue };
        let may_write = queues.perm & perm::WRITE != 0;
        let permission = if may_write { Permission::ReadWrite } else { Permission::Read };
        let ids = if by_queue { 0..queues.read_queue_nums } else { -1..0 };
        assignments.extend(ids.map(|id| Assignment {
            message_queue: Some(MessageQueue {
                topic: request.topic.clone(),
                id,
                permission: permission.into(),
                broker: Some(Broker {
                    name: broker.broker_name.clone(),
                    id: 0,
                    endpoints: Some(endpoints_of(&call, broker, request.endpoints.as_ref())),
                }),
                accept_message_types: Vec::new(),
            }),
        }));
    }
    if assignments.is_empty() {
        return Err(Refusal::new(Code::Forbidden, "no readable queue"));
    }
    Ok(QueryAssignmentResponse { status: Some(ok()), assignments })
}

impl crate::face::Face {
    /// A broker by its name, of those that have queues of a topic.
    pub(crate) async fn place(self: &std::rc::Rc<Self>, broker: &str, topic: &str) -> Result<Place> {
        let unknown = || Refusal::new(Code::BadRequest, format!("cannot find broker {broker}"));
        if let Some(here) = self.here() {
            return if *here.name == *broker { Ok(here) } else { Err(unknown()) };
        }
        let view = self.view(topic).await?;
        let found = view.masters.iter().find(|(place, _)| *place.name == *broker);
        found.map(|(place, _)| place.clone()).ok_or_else(unknown)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_told_apart() {
        let cases = [
            ("10.0.0.1:10911", AddressScheme::IPv4, "10.0.0.1"),
            ("[fe80::1]:10911", AddressScheme::IPv6, "fe80::1"),
            ("broker-a.example:10911", AddressScheme::DomainName, "broker-a.example"),
        ];
        for (address, scheme, host) in cases {
            let endpoints = endpoints(address, Some(8081));
            assert_eq!(endpoints.scheme(), scheme);
            assert_eq!(endpoints.addresses, [Address { host: host.to_owned(), port: 8081 }]);
        }
        assert_eq!(endpoints("a:99", None).addresses[0].port, 99);
    }

    #[test]
    fn queues_are_numbered_by_what_they_may() {
        let of = |perm, read_queue_nums, write_queue_nums| {
            permissions(&QueueData { perm, read_queue_nums, write_queue_nums, ..QueueData::default() })
        };
        use Permission::{None, Read, ReadWrite, Write};
        assert_eq!(of(6, 2, 2), [ReadWrite, ReadWrite]);
        assert_eq!(of(6, 3, 1), [Read, Read, ReadWrite]);
        assert_eq!(of(6, 1, 2), [Write, ReadWrite]);
        assert_eq!((of(4, 1, 2), of(2, 1, 2), of(0, 0, 0)), (vec![Read], vec![Write; 2], vec![None]));
    }
}
