//! A broker and a name server apart: what the name server is told when there are more topics than one registration takes.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

mod support;

use kerolox_wire::body::{self, CreateTopicListRequestBody, TopicConfig, TopicList, TopicRouteData};
use kerolox_wire::header::{DeleteTopic, GetRouteInfo, QueryDataVersionResponse};
use kerolox_wire::{Command, RequestCode, ResponseCode};
use std::net::{SocketAddr, TcpListener};
use std::time::{Duration, Instant};
use support::{BINARY, Folder, Kerolox, PATIENCE, Raw};

/// Three registrations' worth.
const TOPICS: usize = 6_000;

fn name(n: usize) -> String {
    format!("{n:06}-{}", "x".repeat(100))
}

fn topic(n: usize, queues: i32) -> TopicConfig {
    TopicConfig {
        topic_name: name(n),
        read_queue_nums: queues,
        write_queue_nums: queues,
        ..TopicConfig::default()
    }
}

fn create(broker: &mut Raw, topic_config_list: Vec<TopicConfig>) {
    let body = body::to_json(&CreateTopicListRequestBody { topic_config_list });
    let request = Command::request(RequestCode::UPDATE_AND_CREATE_TOPIC_LIST).with_body(body);
    let answer = broker.ask(&request);
    assert_eq!(answer.code, ResponseCode::SUCCESS.0, "{:?}", answer.remark);
}

/// Queues of a topic, as the name server says.
fn queues(namesrv: &mut Raw, topic: &str) -> Option<i32> {
    let header =
        GetRouteInfo { topic: Some(topic), accept_standard_json_only: Some(true), ..GetRouteInfo::default() };
    let answer = namesrv.ask(&Command::request(RequestCode::GET_ROUTEINFO_BY_TOPIC).with_header(&header));
    let route: TopicRouteData = body::from_json(&answer.body).ok()?;
    route.queue_datas.first().map(|queues| queues.write_queue_nums)
}

fn known(namesrv: &mut Raw) -> usize {
    let answer = namesrv.ask(&Command::request(RequestCode::GET_ALL_TOPIC_LIST_FROM_NAMESERVER));
    let list: TopicList = body::from_json(&answer.body).unwrap();
    list.topic_list.iter().filter(|topic| topic.ends_with("xxx")).count()
}

#[track_caller]
fn wait(what: &str, mut is_so: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < PATIENCE, "{what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn namesrv(offset: u16) -> std::process::Command {
    let mut command = std::process::Command::new(BINARY);
    command.args(["namesrv", "--port-offset", &offset.to_string()]);
    command
}

/// With `deleteTopicWithBrokerRegistration`, which a process that is both honours, each part of a registration hid the topics of
/// the parts before it: a third of six thousand had a route.
#[test]
fn more_topics_than_a_registration_takes_are_all_found_in_one_process_that_drops_what_is_not_named() {
    let folder = Folder::new("registration-whole");
    let conf = folder.file("broker.conf", "deleteTopicWithBrokerRegistration=true\n");
    let both = Kerolox::spawn(|offset| {
        let mut command = std::process::Command::new(BINARY);
        command.args(["standalone", "--port-offset", &offset.to_string()]);
        command.arg("-c").arg(&conf).arg("--data").arg(folder.path("data"));
        command
    });
    let mut client = Raw::connect(both.broker());
    let mut routes = Raw::connect(both.namesrv());
    for from in (0..TOPICS).step_by(1_000) {
        create(&mut client, (from..from + 1_000).map(|n| topic(n, 4)).collect());
    }
    wait("all are there", || known(&mut routes) == TOPICS);
    create(&mut client, vec![topic(17, 5)]);
    wait("a change arrives", || queues(&mut routes, &name(17)) == Some(5));
    assert_eq!(known(&mut routes), TOPICS);
    let header = DeleteTopic { topic: &name(18), ..DeleteTopic::default() };
    client.ask(&Command::request(RequestCode::DELETE_TOPIC_IN_BROKER).with_header(&header));
    wait("one that is gone is dropped", || queues(&mut routes, &name(18)).is_none());
    assert_eq!(known(&mut routes), TOPICS - 1);
    both.end();
}

/// The answer came when the topic was safe, and who then asked a name server for it was told that there is none: consumers ask again
/// after half a minute.
#[test]
fn who_created_a_topic_finds_it_at_every_name_server_at_once() {
    let folder = Folder::new("registration-at-once");
    let (one, other) = (Kerolox::spawn(namesrv), Kerolox::spawn(namesrv));
    let addresses = format!("{};{}", one.namesrv(), other.namesrv());
    let broker = Kerolox::spawn(|offset| {
        let mut command = std::process::Command::new(BINARY);
        command.args(["broker", "-n", &addresses, "--port-offset", &offset.to_string(), "--data"]);
        command.arg(folder.path("data"));
        command
    });
    let mut client = Raw::connect(broker.broker());
    let mut routes = [Raw::connect(one.namesrv()), Raw::connect(other.namesrv())];
    for n in 0..200 {
        create(&mut client, vec![topic(n, 4)]);
        routes.iter_mut().for_each(|namesrv| assert_eq!(queues(namesrv, &name(n)), Some(4), "topic {n}"));
    }
    // Nobody waits for one that is gone.
    drop(other);
    create(&mut client, vec![topic(200, 4)]);
    assert_eq!(queues(&mut routes[0], &name(200)), Some(4));
    broker.end();
    drop(one);
}

#[test]
fn more_topics_than_a_registration_takes_are_all_found() {
    let folder = Folder::new("registration");
    let conf = folder.file("broker.conf", "registerNameServerPeriod=1000\n");
    let first = Kerolox::spawn(namesrv);
    let address: SocketAddr = first.namesrv();
    let broker = Kerolox::spawn(|offset| {
        let mut command = std::process::Command::new(BINARY);
        command.args(["broker", "-n", &address.to_string(), "--port-offset", &offset.to_string()]);
        command.arg("-c").arg(&conf).arg("--data").arg(folder.path("data"));
        command
    });
    let mut client = Raw::connect(broker.broker());
    let mut routes = Raw::connect(address);
    for from in (0..TOPICS).step_by(1_000) {
        create(&mut client, (from..from + 1_000).map(|n| topic(n, 4)).collect());
    }
    wait("all are there", || known(&mut routes) == TOPICS);
    // Settings of one that is known are taken over, wherever it is among the others.
    create(&mut client, vec![topic(17, 5)]);
    wait("a change arrives", || queues(&mut routes, &name(17)) == Some(5));
    assert_eq!(queues(&mut routes, &name(TOPICS - 1)), Some(4));

    // One that forgot everything is told everything.
    let offset = first.offset;
    drop(first);
    let second = Kerolox::try_spawn(namesrv(offset), offset).unwrap();
    let mut routes = Raw::connect(address);
    wait("all are there again", || known(&mut routes) == TOPICS);
    assert_eq!(queues(&mut routes, &name(17)), Some(5));
    broker.end();
    drop(second);
}

/// A name server of the test's own, a broker of which it took the first registration, and the connection over which that came.
fn broker_at_own_namesrv(folder: &Folder, period_ms: u32) -> (Kerolox, TcpListener, Raw) {
    let conf = folder.file("broker.conf", &format!("registerNameServerPeriod={period_ms}\n"));
    let namesrv = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = namesrv.local_addr().unwrap().to_string();
    let first = std::thread::spawn(move || {
        let session = take_registration(&namesrv);
        (namesrv, session)
    });
    let broker = Kerolox::spawn(|offset| {
        let mut command = std::process::Command::new(BINARY);
        command.args(["broker", "-n", &address, "--port-offset", &offset.to_string()]);
        command.arg("-c").arg(&conf).arg("--data").arg(folder.path("data"));
        command
    });
    let (namesrv, session) = first.join().unwrap();
    (broker, namesrv, session)
}

fn take_registration(namesrv: &TcpListener) -> Raw {
    let mut session = Raw::of(namesrv.accept().unwrap().0);
    let registration = session.receive();
    assert_eq!(registration.code, RequestCode::REGISTER_BROKER.0);
    session.send(&registration.respond(ResponseCode::SUCCESS));
    session
}

/// It was found out when the next registration was due; and a name server that still knew the version was not told more, and then
/// took the broker out with its old connection.
#[test]
fn a_broker_whose_connection_to_a_name_server_ended_registers_all_at_once() {
    let folder = Folder::new("registration-again");
    let (broker, namesrv, session) = broker_at_own_namesrv(&folder, 60_000);
    let begun = Instant::now();
    drop(session);
    let _session = take_registration(&namesrv);
    assert!(begun.elapsed() < PATIENCE, "took {:?}", begun.elapsed());
    drop(broker);
}

/// A registration that was under way, or became due, while the broker drained brought it back among those that clients choose.
#[test]
fn a_broker_that_took_leave_does_not_register_again() {
    let folder = Folder::new("registration-leave");
    let (broker, namesrv, mut session) = broker_at_own_namesrv(&folder, 1_000);
    let query = session.receive();
    assert_eq!(query.code, RequestCode::QUERY_DATA_VERSION.0);
    broker.signal("-TERM");
    let mut leaving = Raw::of(namesrv.accept().unwrap().0);
    let leave = leaving.receive();
    assert_eq!(leave.code, RequestCode::UNREGISTER_BROKER.0);
    let changed = QueryDataVersionResponse { changed: true, ..Default::default() };
    session.send(&query.respond(ResponseCode::SUCCESS).with_header(&changed));
    assert!(session.is_closed(), "it registered again");
    leaving.send(&leave.respond(ResponseCode::SUCCESS));
    let (code, said) = broker.wait();
    assert_eq!(code, Some(0), "{said:?}");
}
