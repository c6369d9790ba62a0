//! The gRPC face of the real binary, asked by another implementation of HTTP/2.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

mod support;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use kerolox_net::rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use kerolox_proxy::v2::list_message_request::SearchKey;
use kerolox_proxy::v2::receive_message_response::Content;
use kerolox_proxy::v2::settings::PubSub;
use kerolox_proxy::v2::telemetry_command::Command as Told;
use kerolox_proxy::v2::{
    self, AckMessageEntry, AckMessageRequest, AckMessageResponse, ChangeInvisibleDurationRequest,
    ChangeInvisibleDurationResponse, ClientType, Code, EndTransactionRequest, EndTransactionResponse,
    Message as Content2, MessageQueue, MessageType, QueryRouteRequest, QueryRouteResponse,
    ReceiveMessageRequest, ReceiveMessageResponse, Resource, SendMessageRequest, SendMessageResponse,
    Settings, Status, Subscription, SubscriptionEntry, SystemProperties, TelemetryCommand, ThreadStackTrace,
    TransactionResolution, VerifyMessageResult,
};
use kerolox_wire::header::CreateTopic;
use kerolox_wire::{Command, RequestCode};
use prost::Message;
use std::io::{Read, Write};
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
type Ended = (String, String);

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
    fn call<A: Message + Default>(&self, name: &str, body: &[u8]) -> (Vec<A>, Ended) {
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
            to.send_data(prefixed(body), true).unwrap();
            let (head, mut from) = response.await.unwrap().into_parts();
            let mut all = BytesMut::new();
            while let Some(data) = from.data().await {
                let data = data.unwrap();
                from.flow_control().release_capacity(data.len()).unwrap();
                all.extend_from_slice(&data);
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
        self.ask_service("MessagingService", name, request)
    }

    fn ask_service<A: Message + Default>(&self, service: &str, name: &str, request: &impl Message) -> A {
        let path = format!("/apache.rocketmq.v2.{service}/{name}");
        let (mut answers, status) = self.call(&path, &request.encode_to_vec());
        assert_eq!((answers.len(), &*status.0), (1, "0"), "{status:?}");
        answers.remove(0)
    }

    /// Becomes a member of group `g` that answers what it is asked, as long as the client lives.
    fn join(&self, topic: &str) {
        let subscriptions = vec![SubscriptionEntry { topic: resource(topic), expression: None }];
        let subscription = Subscription { group: resource("g"), subscriptions, ..Subscription::default() };
        let mut settings =
            Settings { pub_sub: Some(PubSub::Subscription(subscription)), ..Settings::default() };
        settings.set_client_type(ClientType::PushConsumer);
        let framed = |command: Told| {
            let status = Some(Status { code: Code::Ok.into(), message: String::new() });
            framed(&TelemetryCommand { status, command: Some(command) })
        };
        let (joined, has_joined) = std::sync::mpsc::channel();
        let (sender, id) = (self.sender.clone(), self.id);
        self.runtime.spawn(async move {
            let mut sender = sender.ready().await.unwrap();
            let request = http::Request::post("http://kerolox/apache.rocketmq.v2.MessagingService/Telemetry")
                .header("content-type", "application/grpc")
                .header("x-mq-client-id", id);
            let (response, mut to) = sender.send_request(request.body(()).unwrap(), false).unwrap();
            to.send_data(framed(Told::Settings(settings)), false).unwrap();
            let mut from = response.await.unwrap().into_body();
            while let Some(Ok(data)) = from.data().await {
                // One message in each frame, behind its prefix.
                match TelemetryCommand::decode(&data[5..]).unwrap().command.unwrap() {
                    Told::Settings(_) => joined.send(()).unwrap(),
                    Told::PrintThreadStackTraceCommand(asked) => {
                        let thread_stack_trace = Some("main at work".to_owned());
                        let answer = ThreadStackTrace { nonce: asked.nonce, thread_stack_trace };
                        to.send_data(framed(Told::ThreadStackTrace(answer)), false).unwrap();
                    }
                    Told::VerifyMessageCommand(asked) => {
                        assert_eq!(asked.message.unwrap().body, "body of A");
                        let answer = VerifyMessageResult { nonce: asked.nonce };
                        to.send_data(framed(Told::VerifyMessageResult(answer)), false).unwrap();
                    }
                    other => panic!("{other:?}"),
                }
            }
        });
        has_joined.recv_timeout(PATIENCE).unwrap();
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

    /// Begins to receive as push consumers do.
    async fn begin_receive(&self, topic: &str) -> (h2::client::ResponseFuture, h2::SendStream<Bytes>) {
        let request = ReceiveMessageRequest {
            group: resource("g"),
            message_queue: Some(MessageQueue { topic: resource(topic), ..MessageQueue::default() }),
            batch_size: 1,
            auto_renew: true,
            long_polling_timeout: Some(prost_types::Duration { seconds: 20, nanos: 0 }),
            ..ReceiveMessageRequest::default()
        };
        let mut sender = self.sender.clone().ready().await.unwrap();
        let path = "http://kerolox/apache.rocketmq.v2.MessagingService/ReceiveMessage";
        let http = http::Request::post(path)
            .header("content-type", "application/grpc")
            .header("x-mq-client-id", self.id);
        let (response, mut to) = sender.send_request(http.body(()).unwrap(), false).unwrap();
        to.send_data(framed(&request), true).unwrap();
        (response, to)
    }

    /// Receives, and takes the call back when it is answered, before its end is read.
    fn receive_and_go(&self, topic: &str) {
        let call = async {
            let (response, mut to) = self.begin_receive(topic).await;
            // About what it has room for comes, and is not taken: the rest cannot.
            let mut from = response.await.unwrap().into_body();
            let mut bytes = 0;
            while bytes < 60_000 {
                bytes += from.data().await.unwrap().unwrap().len();
            }
            to.send_reset(h2::Reason::CANCEL);
        };
        self.runtime.block_on(async { tokio::time::timeout(PATIENCE, call).await.unwrap() });
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

/// A message as gRPC sends it.
fn framed(message: &impl Message) -> Bytes {
    prefixed(&message.encode_to_vec())
}

fn prefixed(message: &[u8]) -> Bytes {
    let mut framed = BytesMut::new();
    framed.put_u8(0);
    framed.put_u32(message.len() as u32);
    framed.put_slice(message);
    framed.freeze()
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

/// The face renewed it as long as its client lived: the client knew nothing of it.
#[test]
fn a_message_that_its_client_did_not_read_comes_again_soon() {
    let folder = Folder::new("grpc-unread");
    let server = Kerolox::spawn(standalone(&folder.path("data")));
    create(&server, "T", "NORMAL");
    let client = Client::connect(server.grpc(), "c");
    client.join("T");
    let mut system = SystemProperties { message_id: "long".to_owned(), ..SystemProperties::default() };
    system.set_message_type(MessageType::Normal);
    let message = Content2 {
        topic: resource("T"),
        system_properties: Some(system),
        body: vec![b'x'; 200_000].into(),
        ..Content2::default()
    };
    let sent: SendMessageResponse =
        client.ask("SendMessage", &SendMessageRequest { messages: vec![message] });
    assert_eq!(sent.status.unwrap().code(), Code::Ok);
    let begun = std::time::Instant::now();
    client.receive_and_go("T");
    let (again, _) = client.receive("T");
    let seen: Vec<_> = again.iter().map(|(id, system)| (&**id, system.delivery_attempt())).collect();
    assert_eq!(seen, [("long", 2)]);
    assert!(begun.elapsed().as_secs() < 30, "it came by itself, when its time was over");
    server.end();
}

/// A call that waits is answered, not broken off, and no other begins.
#[test]
fn a_clean_end_answers_what_is_under_way() {
    let folder = Folder::new("grpc-end");
    let server = Kerolox::spawn(standalone(&folder.path("data")));
    create(&server, "T", "NORMAL");
    create(&server, "U", "NORMAL");
    let client = Client::connect(server.grpc(), "c");
    client.join("T");
    let (response, _to) = client.runtime.block_on(client.begin_receive("T"));
    // It waits by now: this came behind it.
    assert_eq!(client.send("U", "A", MessageType::Normal).status.unwrap().code(), Code::Ok);
    let begun = std::time::Instant::now();
    server.signal("-TERM");
    let answered = async {
        let mut from = response.await.unwrap().into_body();
        let first = from.data().await.unwrap().unwrap();
        while let Some(data) = from.data().await {
            data.unwrap();
        }
        assert_eq!(from.trailers().await.unwrap().unwrap()["grpc-status"], "0");
        match ReceiveMessageResponse::decode(&first[5..]).unwrap().content {
            Some(Content::Status(status)) => assert_eq!(status.code(), Code::MessageNotFound),
            other => panic!("{other:?}"),
        }
        client.sender.clone().ready().await.expect_err("a call may begin")
    };
    let why = client.runtime.block_on(async { tokio::time::timeout(PATIENCE, answered).await.unwrap() });
    assert!(why.is_go_away() && why.reason() == Some(h2::Reason::NO_ERROR), "{why}");
    assert!(begun.elapsed().as_secs() < 15, "it waited until its own time was over");
    assert_eq!(server.wait().0, Some(0));
}

/// Each call of the service `Admin`.
#[test]
fn operators_see_and_change_what_there_is() {
    let folder = Folder::new("grpc-admin");
    let server = Kerolox::spawn(standalone(&folder.path("data")));
    create(&server, "T", "NORMAL");
    let member = Client::connect(server.grpc(), "member");
    member.join("T");
    for id in ["A", "B"] {
        assert_eq!(member.send("T", id, MessageType::Normal).status.unwrap().code(), Code::Ok);
    }
    let (messages, _) = member.receive("T");
    assert_eq!(member.ack("T", messages[0].1.receipt_handle()), Code::Ok);

    // Who asks need not say who it is.
    let operator = Client::connect(server.grpc(), "");
    macro_rules! ask {
        ($call:literal, $request:ident { $($field:ident: $value:expr),* }, $answer:ident) => {{
            #[allow(clippy::needless_update)] // some have no other field
            let request = v2::$request { $($field: $value,)* ..Default::default() };
            operator.ask_service::<v2::$answer>("Admin", $call, &request)
        }};
    }
    let is_ok = |status: Option<Status>| assert_eq!(status.unwrap().code(), Code::Ok);
    let (topic, group) = (|| resource("T"), || resource("g"));

    let status = ask!(
        "DescribeTopicStatus",
        DescribeTopicStatusRequest { topic: topic() },
        DescribeTopicStatusResponse
    );
    assert_eq!(status.topic_message_type(), MessageType::Normal);
    assert_eq!(status.description(), "readQueueNums=1, writeQueueNums=1, perm=6");
    let route = ask!("GetTopicRoute", GetTopicRouteRequest { topic: topic() }, GetTopicRouteResponse);
    assert!(route.topic_route_data.contains(&server.broker().to_string()), "{}", route.topic_route_data);

    let list = ask!("ListSubscription", ListSubscriptionRequest { topic: topic() }, ListSubscriptionResponse);
    let seen: Vec<_> =
        list.subscription_info.iter().map(|s| (&*s.group.as_ref().unwrap().name, s.online)).collect();
    assert_eq!(seen, [("g", true)]);
    let list = ask!(
        "DescribeSubscription",
        DescribeSubscriptionRequest { group: group() },
        DescribeSubscriptionResponse
    );
    let of = &list.client_subscription_info[0];
    assert_eq!(of.client_info.as_ref().unwrap().client_id, "member");
    assert_eq!(of.subscription_info.as_ref().unwrap().expression.as_ref().unwrap().expression, "*");
    let list = ask!(
        "ListConsumerConnection",
        ListConsumerConnectionRequest { group: group() },
        ListConsumerConnectionResponse
    );
    assert_eq!(
        list.client_info.iter().map(|c| (&*c.client_id, &*c.egress_ip)).collect::<Vec<_>>(),
        [("member", "127.0.0.1")]
    );
    let gone = ask!(
        "DeleteSubscription",
        DeleteSubscriptionRequest { topic: topic(), group: group() },
        DeleteSubscriptionResponse
    );
    assert_eq!(gone.status.unwrap().code(), Code::NotFound);

    let behind = ask!(
        "DescribeGroupAccumulation",
        DescribeGroupAccumulationRequest { group: group() },
        DescribeGroupAccumulationResponse
    );
    let of_topic = &behind.topic_accumulation["T"];
    assert_eq!((of_topic.accumulation, of_topic.inflight_messages, of_topic.ready_messages), (1, 1, 0));
    let spans = ask!(
        "QueryTimeSpan",
        QueryTimeSpanRequest { group: group(), topics: vec![topic().unwrap()] },
        QueryTimeSpanResponse
    );
    let span = &spans.queue_time_span_list[0];
    assert!(0 < span.min_timestamp && span.min_timestamp <= span.max_timestamp, "{span:?}");

    for key in [SearchKey::MessageId("A".to_owned()), SearchKey::MessageKey("A".to_owned())] {
        let found = ask!(
            "QueryMessage",
            ListMessageRequest { topic: topic(), search_key: Some(key) },
            ListMessageResponse
        );
        assert_eq!(found.messages.iter().map(|m| &*m.body).collect::<Vec<_>>(), [b"body of A"]);
    }
    let stacks = ask!(
        "PrintThreadStackTrace",
        PrintThreadStackTraceRequest { group: group(), client_id: "member".to_owned() },
        PrintThreadStackTraceResponse
    );
    assert_eq!(stacks.thread_stack_trace(), "main at work");
    let info = ask!(
        "GetConsumerRunningInfo",
        GetConsumerRunningInfoRequest { group: group(), client_id: "member".to_owned() },
        GetConsumerRunningInfoResponse
    );
    assert_eq!(info.consumer_running_info.unwrap().subscriptions["T"].expression, "*");
    let verified = ask!(
        "VerifyMessage",
        VerifyMessageRequest {
            group: group(),
            topic: topic(),
            client_id: "member".to_owned(),
            message_id: "A".to_owned()
        },
        VerifyMessageResponse
    );
    is_ok(verified.status);
    let nobody = ask!(
        "VerifyMessage",
        VerifyMessageRequest {
            group: group(),
            topic: topic(),
            client_id: "nobody".to_owned(),
            message_id: "A".to_owned()
        },
        VerifyMessageResponse
    );
    assert_ne!(nobody.status.unwrap().code(), Code::Ok);

    let sent = ask!(
        "AdminSendMessage",
        AdminSendMessageRequest {
            topic: topic(),
            tag: Some("t".to_owned()),
            body: Bytes::from_static(b"by hand")
        },
        AdminSendMessageResponse
    );
    is_ok(sent.status);
    let (messages, _) = member.receive("T");
    assert_eq!(
        messages.iter().map(|(id, system)| (&**id, system.tag())).collect::<Vec<_>>(),
        [(&*sent.message_id, "t")]
    );
    let past = Some(prost_types::Timestamp { seconds: 1, nanos: 0 });
    is_ok(
        ask!(
            "ResetGroupOffset",
            ResetGroupOffsetRequest { group: group(), topic: topic(), reset_timestamp: past },
            ResetGroupOffsetResponse
        )
        .status,
    );
    let (again, _) = member.receive("T");
    assert_eq!(again.iter().map(|(id, _)| &**id).collect::<Vec<_>>(), ["A", "B", &*sent.message_id]);

    let stats = ask!("GetProxyRuntimeStats", GetProxyRuntimeStatsRequest {}, GetProxyRuntimeStatsResponse);
    assert_eq!((stats.connections, stats.consumers, stats.producers), (2, 1, 0));
    let said = ask!("ChangeLogLevel", ChangeLogLevelRequest { level: 1 }, ChangeLogLevelResponse);
    assert!(said.remark.contains("no levels"), "{}", said.remark);
    server.end();
}

/// Whether a client that trusts only this certificate is greeted as HTTP/2 greets.
fn is_greeted(address: SocketAddr, trusted: &rcgen::Certificate) -> bool {
    let mut roots = RootCertStore::empty();
    roots.add(trusted.der().clone()).unwrap();
    let mut config = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec()];
    let name = "localhost".try_into().unwrap();
    let session = ClientConnection::new(std::sync::Arc::new(config), name).unwrap();
    let stream = std::net::TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut stream = StreamOwned::new(session, stream);
    let mut settings = [0; 4];
    let greeted = stream
        .write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0")
        .and_then(|()| stream.read_exact(&mut settings));
    greeted.is_ok() && stream.conn.alpn_protocol() == Some(b"h2") && settings[3] == 4
}

#[test]
fn own_certificates_are_served_and_read_again_when_they_change() {
    let folder = Folder::new("grpc-tls");
    let [old, new] =
        ["old", "new"].map(|_| rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap());
    let install = |made: &rcgen::CertifiedKey<rcgen::KeyPair>| {
        folder.file("key.pem", &made.signing_key.serialize_pem());
        folder.file("certificate.pem", &made.cert.pem())
    };
    let certificate = install(&old);
    let config = format!(
        "tlsCertPath={}\ntlsKeyPath={}\n",
        certificate.display(),
        certificate.with_file_name("key.pem").display()
    );
    let config = folder.file("broker.conf", &config);
    let data = folder.path("data");
    let server = Kerolox::spawn(|offset| {
        let mut command = standalone(&data)(offset);
        command.args(["-c", config.to_str().unwrap()]);
        command
    });
    create(&server, "T", "NORMAL");
    let plain = Client::connect(server.grpc(), "plain");
    assert!(is_greeted(server.grpc(), &old.cert) && !is_greeted(server.grpc(), &new.cert));
    // What cannot be used changes nothing.
    folder.file("certificate.pem", "nonsense");
    while !server.says().unwrap().contains("the certificate was not read again") {}
    assert!(is_greeted(server.grpc(), &old.cert));
    install(&new);
    while !server.says().unwrap().contains("was read again") {}
    assert!(is_greeted(server.grpc(), &new.cert) && !is_greeted(server.grpc(), &old.cert));
    assert_eq!(plain.send("T", "A", MessageType::Normal).status.unwrap().code(), Code::Ok);
    server.end();
}
