//! The gRPC face of the real binary, asked by another implementation of HTTP/2.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

mod support;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use kerolox_proxy::v2::receive_message_response::Content;
use kerolox_proxy::v2::{
    AckMessageEntry, AckMessageRequest, AckMessageResponse, ChangeInvisibleDurationRequest,
    ChangeInvisibleDurationResponse, Code, EndTransactionRequest, EndTransactionResponse,
    Message as Content2, MessageQueue, MessageType, QueryRouteRequest, QueryRouteResponse,
    ReceiveMessageRequest, ReceiveMessageResponse, Resource, SendMessageRequest, SendMessageResponse,
    SystemProperties, TransactionResolution,
};
use kerolox_wire::header::CreateTopic;
use kerolox_wire::{Command, RequestCode};
use prost::Message;
use std::net::SocketAddr;
use std::process::Command as Process;
use support::{BINARY, Folder, Kerolox, PATIENCE, Raw, free_offset, grpc_address, namesrv_address};

/// A client's connection.
struct Client {
    runtime: tokio::runtime::Runtime,
    sender: h2::client::SendRequest<Bytes>,
    id: &'static str,
}

/// gRPC's own status, and what it says.
type Status = (String, String);

impl Client {
    fn connect(address: SocketAddr, id: &'static str) -> Self {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let sender = runtime.block_on(async {
            let stream = tokio::net::TcpStream::connect(address).await.unwrap();
            let (sender, connection) = h2::client::handshake(stream).await.unwrap();
            tokio::spawn(connection);
            sender
        });
        Self { runtime, sender, id }
    }

    /// Every message of the answer, and its end.
    fn call<A: Message + Default>(&self, name: &str, body: &[u8]) -> (Vec<A>, Status) {
        let call = async {
            let mut sender = self.sender.clone().ready().await.unwrap();
            let mut request = http::Request::post(format!("http://kerolox{name}"))
                .header("te", "trailers")
                .header("content-type", "application/grpc")
                .header("grpc-timeout", "9S");
            if !self.id.is_empty() {
                request = request.header("x-mq-client-id", self.id);
            }
            let (response, mut to) = sender.send_request(request.body(()).unwrap(), false).unwrap();
            let mut framed = BytesMut::new();
            framed.put_u8(0);
            framed.put_u32(body.len() as u32);
            framed.put_slice(body);
            to.send_data(framed.freeze(), true).unwrap();
            let (head, mut from) = response.await.unwrap().into_parts();
            let mut all = BytesMut::new();
            while let Some(data) = from.data().await {
                all.extend_from_slice(&data.unwrap());
            }
            let trailers = from.trailers().await.unwrap().unwrap_or(head.headers);
            let text = |name: &str| trailers.get(name).map_or("", |v| v.to_str().unwrap()).to_owned();
            let mut messages = Vec::new();
            while all.has_remaining() {
                assert_eq!(all.get_u8(), 0);
                let len = all.get_u32() as usize;
                messages.push(A::decode(all.split_to(len)).unwrap());
            }
            (messages, (text("grpc-status"), text("grpc-message")))
        };
        self.runtime.block_on(async { tokio::time::timeout(PATIENCE, call).await.unwrap() })
    }

    fn ask<A: Message + Default>(&self, name: &str, request: &impl Message) -> A {
        let path = format!("/apache.rocketmq.v2.MessagingService/{name}");
        let (mut answers, status) = self.call(&path, &request.encode_to_vec());
        assert_eq!((answers.len(), &*status.0), (1, "0"), "{status:?}");
        answers.remove(0)
    }

    fn send(&self, topic: &str, id: &str, kind: MessageType) -> SendMessageResponse {
        let mut system = SystemProperties { message_id: id.to_owned(), ..SystemProperties::default() };
        system.set_message_type(kind);
        let message = Content2 {
            topic: resource(topic),
            system_properties: Some(system),
            body: format!("body of {id}").into(),
            ..Content2::default()
        };
        self.ask("SendMessage", &SendMessageRequest { messages: vec![message] })
    }

    /// Messages, by their ids, and the code.
    fn receive(&self, topic: &str) -> (Vec<(String, SystemProperties)>, Code) {
        let request = ReceiveMessageRequest {
            group: resource("g"),
            message_queue: Some(MessageQueue { topic: resource(topic), ..MessageQueue::default() }),
            batch_size: 16,
            invisible_duration: Some(prost_types::Duration { seconds: 60, nanos: 0 }),
            long_polling_timeout: Some(prost_types::Duration { seconds: 5, nanos: 0 }),
            ..ReceiveMessageRequest::default()
        };
        let path = "/apache.rocketmq.v2.MessagingService/ReceiveMessage";
        let (answers, status) = self.call::<ReceiveMessageResponse>(path, &request.encode_to_vec());
        assert_eq!(status.0, "0");
        let (mut messages, mut code) = (Vec::new(), Code::Unspecified);
        for answer in answers {
            match answer.content.unwrap() {
                Content::Status(status) => code = status.code(),
                Content::Message(message) => {
                    let system = message.system_properties.unwrap();
                    messages.push((system.message_id.clone(), system));
                }
                Content::DeliveryTimestamp(_) => {}
            }
        }
        (messages, code)
    }

    fn ack(&self, topic: &str, handle: &str) -> Code {
        let entry = AckMessageEntry { receipt_handle: handle.to_owned(), ..AckMessageEntry::default() };
        let request =
            AckMessageRequest { group: resource("g"), topic: resource(topic), entries: vec![entry] };
        let answer: AckMessageResponse = self.ask("AckMessage", &request);
        assert_eq!(answer.entries[0].receipt_handle, handle);
        answer.status.unwrap().code()
    }
}

fn resource(name: &str) -> Option<Resource> {
    Some(Resource { name: name.to_owned(), ..Resource::default() })
}

fn standalone(data: &std::path::Path) -> impl Fn(u16) -> Process {
    move |offset| {
        let mut command = Process::new(BINARY);
        command.args(["standalone", "--data", data.to_str().unwrap(), "--port-offset", &offset.to_string()]);
        command
    }
}

fn create(server: &Kerolox, topic: &str, kind: &str) {
    let attributes = format!("+message.type={kind}");
    let header = CreateTopic {
        topic,
        default_topic: "TBW102",
        read_queue_nums: 1,
        write_queue_nums: 1,
        perm: 6,
        topic_filter_type: "SINGLE_TAG",
        topic_sys_flag: Some(0),
        attributes: Some(&attributes),
        ..Default::default()
    };
    let command = Command::request(RequestCode::UPDATE_AND_CREATE_TOPIC).with_header(&header);
    assert_eq!(Raw::connect(server.broker()).ask(&command).code, 0);
}

/// Receipts and transaction ids carry all that has to be known of a message: nothing was remembered by the process that gave them.
#[test]
fn handles_and_transactions_outlive_the_process() {
    let folder = Folder::new("grpc-restart");
    let data = folder.path("data");
    let server = Kerolox::spawn(standalone(&data));
    create(&server, "T", "NORMAL");
    create(&server, "TT", "TRANSACTION");
    let client = Client::connect(server.grpc(), "c");
    for id in ["A", "B"] {
        let answer = client.send("T", id, MessageType::Normal);
        assert_eq!(answer.status.unwrap().code(), Code::Ok);
        assert_eq!(answer.entries[0].message_id, id);
    }
    let answer = client.send("TT", "X", MessageType::Transaction);
    let transaction_id = answer.entries[0].transaction_id.clone();
    let (messages, code) = client.receive("T");
    assert_eq!((messages.len(), code), (2, Code::Ok));
    server.signal("-KILL");
    server.wait();

    let server = Kerolox::spawn(standalone(&data));
    let client = Client::connect(server.grpc(), "c");
    let handle =
        |id: &str| messages.iter().find(|(other, _)| other == id).unwrap().1.receipt_handle().to_owned();
    assert_eq!(client.ack("T", &handle("A")), Code::Ok);
    let request = ChangeInvisibleDurationRequest {
        group: resource("g"),
        topic: resource("T"),
        receipt_handle: handle("B"),
        invisible_duration: Some(prost_types::Duration { seconds: 0, nanos: 0 }),
        ..ChangeInvisibleDurationRequest::default()
    };
    let changed: ChangeInvisibleDurationResponse = client.ask("ChangeInvisibleDuration", &request);
    assert_eq!(changed.status.unwrap().code(), Code::Ok);
    let (again, _) = client.receive("T");
    let seen: Vec<_> = again.iter().map(|(id, system)| (&**id, system.delivery_attempt())).collect();
    assert_eq!(seen, [("B", 2)]);
    // The handle of before is out of date, and clients are to give up on it.
    let stale: ChangeInvisibleDurationResponse = client.ask("ChangeInvisibleDuration", &request);
    assert_eq!(
        (stale.status.unwrap().code(), stale.receipt_handle),
        (Code::InvalidReceiptHandle, handle("B"))
    );
    let mut end = EndTransactionRequest {
        topic: resource("TT"),
        message_id: "X".to_owned(),
        transaction_id,
        ..EndTransactionRequest::default()
    };
    end.set_resolution(TransactionResolution::Commit);
    let ended: EndTransactionResponse = client.ask("EndTransaction", &end);
    assert_eq!(ended.status.unwrap().code(), Code::Ok);
    assert_eq!(client.receive("TT").0[0].0, "X");
    server.end();
}

#[test]
fn bad_calls_are_told_and_disturb_nobody() {
    let folder = Folder::new("grpc-bad");
    let data = folder.path("data");
    let server = Kerolox::spawn(standalone(&data));
    create(&server, "T", "NORMAL");
    let client = Client::connect(server.grpc(), "c");
    let nameless = Client::connect(server.grpc(), "");
    let answer = nameless.send("T", "A", MessageType::Normal);
    assert_eq!(answer.status.unwrap().code(), Code::ClientIdRequired);
    let of = |path: &str, body: &[u8]| client.call::<SendMessageResponse>(path, body).1.0;
    assert_eq!(of("/apache.rocketmq.v2.MessagingService/Nothing", b""), "12");
    assert_eq!(of("/other.Service/SendMessage", b""), "12");
    assert_eq!(of("/apache.rocketmq.v2.MessagingService/SendMessage", b"\xff\xff\xff"), "13");
    let code = |topic: &str, id: &str| client.send(topic, id, MessageType::Normal).status.unwrap().code();
    assert_eq!(code("", "A"), Code::IllegalTopic);
    assert_eq!(code("T/../T", "A"), Code::IllegalTopic);
    assert_eq!(code("nowhere", "A"), Code::TopicNotFound);
    assert_eq!(code("T", ""), Code::IllegalMessageId);
    assert_eq!(
        client.send("T", "A", MessageType::Transaction).status.unwrap().code(),
        Code::MessagePropertyConflictWithType
    );
    assert_eq!(code("T", "A"), Code::Ok);
    let (messages, _) = client.receive("T");
    let handle = messages[0].1.receipt_handle();
    let fields: Vec<&str> = handle.split(' ').collect();
    let with = |at: usize, text: &str| {
        let mut fields = fields.clone();
        fields[at] = text;
        fields.join(" ")
    };
    let tampered = [
        "".to_owned(),
        "x".to_owned(),
        with(1, "1"),
        with(4, "9"),
        with(5, "another-broker"),
        with(6, "x"),
        format!("{handle} 1 2"),
        handle.repeat(1_000),
        // No such queue; and a guess at another message's receipt ends nothing.
        with(6, "77"),
        with(7, "5"),
    ];
    for bad in tampered {
        assert_eq!(client.ack("T", &bad), Code::InvalidReceiptHandle, "{bad}");
    }
    assert_eq!(client.ack("T", handle), Code::Ok);
    server.end();
}

#[test]
fn a_proxy_of_its_own_speaks_for_the_brokers_that_a_name_server_knows() {
    let folder = Folder::new("grpc-apart");
    let data = folder.path("data");
    let server = Kerolox::spawn(standalone(&data));
    create(&server, "T", "NORMAL");
    let namesrv = server.namesrv().to_string();
    let proxy = Kerolox::spawn(|offset| {
        let mut command = Process::new(BINARY);
        command.args(["proxy", "-n", &namesrv, "--port-offset", &offset.to_string()]);
        command
    });
    let apart = Client::connect(proxy.grpc(), "apart");
    let request = QueryRouteRequest { topic: resource("T"), endpoints: None };
    let route: QueryRouteResponse = apart.ask("QueryRoute", &request);
    let queue = &route.message_queues[0];
    let port = queue.broker.as_ref().unwrap().endpoints.as_ref().unwrap().addresses[0].port;
    assert_eq!((route.message_queues.len(), port), (1, i32::from(proxy.grpc().port())));
    let answer = apart.send("T", "A", MessageType::Normal);
    assert_eq!(answer.status.unwrap().code(), Code::Ok);
    // What one face gave, another takes.
    let (messages, _) = apart.receive("T");
    assert_eq!(messages[0].0, "A");
    let direct = Client::connect(server.grpc(), "direct");
    assert_eq!(direct.ack("T", messages[0].1.receipt_handle()), Code::Ok);
    // Its brokers go away and come back.
    server.signal("-KILL");
    server.wait();
    assert_ne!(apart.send("T", "B", MessageType::Normal).status.unwrap().code(), Code::Ok);
    proxy.end();
}

#[test]
fn a_port_in_use_is_no_reason_not_to_serve_the_rest() {
    let folder = Folder::new("grpc-port");
    let offset = free_offset();
    let _taken = std::net::TcpListener::bind(grpc_address(offset)).unwrap();
    let start = |more: &[&str]| {
        let mut command = standalone(&folder.path("data"))(offset);
        command.args(more);
        Kerolox::try_spawn(command, offset)
    };
    let server = start(&[]).unwrap();
    assert_eq!(
        Raw::connect(namesrv_address(offset))
            .ask(&Command::request(RequestCode::GET_BROKER_CLUSTER_INFO))
            .code,
        0
    );
    server.end();
    // Who asks for it is told.
    let config = folder.file("broker.conf", "grpcServerPort=8081\n");
    let why = start(&["-c", config.to_str().unwrap()]).err().unwrap();
    assert!(why.contains("the gRPC face cannot listen on"), "{why}");
}
