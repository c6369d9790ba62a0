//! A gRPC face and the broker behind it, with a client that makes the calls of the input. Each call is answered, and another client
//! is served as if nothing were.

use crate::broker::World;
use bytes::{Buf, BufMut, Bytes, BytesMut};
use kerolox_net::{Connections, listen};
use kerolox_proxy::http2::{self, Frame, PREFACE};
use kerolox_proxy::v2::receive_message_response::Content;
use kerolox_proxy::v2::{
    AckMessageEntry, AckMessageRequest, AckMessageResponse, ChangeInvisibleDurationRequest, Code,
    EndTransactionRequest, ForwardMessageToDeadLetterQueueRequest, Message as OneMessage, MessageQueue,
    RecallMessageRequest, ReceiveMessageRequest, ReceiveMessageResponse, Resource, SendMessageRequest,
    SendMessageResponse, SystemProperties,
};
use kerolox_proxy::{Config, Face, Listener, local};
use prost::Message;
use prost_types::Duration as Span;
use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::LocalSet;
use tokio::time::{sleep, timeout};

/// The calls that the input can name, by their place here.
pub const CALLS: [&str; 33] = [
    "SendMessage",
    "ReceiveMessage",
    "AckMessage",
    "ChangeInvisibleDuration",
    "ForwardMessageToDeadLetterQueue",
    "EndTransaction",
    "RecallMessage",
    "Telemetry",
    "QueryRoute",
    "QueryAssignment",
    "Heartbeat",
    "NotifyClientTermination",
    "SyncLiteSubscription",
    "PullMessage",
    "UpdateOffset",
    "GetOffset",
    "QueryOffset",
    "ChangeLogLevel",
    "DescribeTopicStatus",
    "ListSubscription",
    "DescribeSubscription",
    "DeleteSubscription",
    "DescribeGroupAccumulation",
    "ListConsumerConnection",
    "ResetGroupOffset",
    "QueryMessage",
    "PrintThreadStackTrace",
    "VerifyMessage",
    "AdminSendMessage",
    "GetConsumerRunningInfo",
    "GetTopicRoute",
    "QueryTimeSpan",
    "GetProxyRuntimeStats",
];
/// The first so many are of the clients' service, the others of the operators'.
const OF_CLIENTS: usize = 17;
const CALLS_MAX: usize = 40;
/// Nothing waits longer for its answer, in time of the world.
const ANSWER_WAIT: Duration = Duration::from_secs(600);
const TICK_MS: u64 = 250;

/// Calls one after the other: a byte that names the call (the highest bit: its client does not wait, and may say more), the length of the
/// request in two, the request. What the broker gave out can be said in it as `@0`, `@1`, and so on; `@0x7` is the first with byte 7 changed.
pub fn grpc(data: &[u8]) {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    let world = Rc::new(RefCell::new(World::new()));
    LocalSet::new().block_on(&runtime, converse(data, Rc::clone(&world)));
    drop(runtime);
    Rc::into_inner(world).expect("nobody else has it").into_inner().end();
}

async fn converse(mut data: &[u8], world: Rc<RefCell<World>>) {
    let address = serve(&world).await;
    let mut client = Client::connect(address, "fuzz").await;
    for _ in 0..CALLS_MAX {
        let [call, high, low, rest @ ..] = data else { break };
        let len = usize::from(u16::from_be_bytes([*high, *low])).min(rest.len());
        let (request, rest) = rest.split_at(len);
        data = rest;
        let number = usize::from(call & 0x7f) % CALLS.len();
        client.call(number, client.fill(number, request), call & 0x80 == 0).await;
    }
    honest(address).await;
}

/// Somebody else sends, receives and acknowledges.
async fn honest(address: std::net::SocketAddr) {
    let mut client = Client::connect(address, "honest").await;
    let resource = |name: &str| Some(Resource { name: name.to_owned(), ..Resource::default() });
    let message = OneMessage {
        topic: resource("Honest"),
        system_properties: Some(SystemProperties {
            message_id: "H".to_owned(),
            message_type: 1,
            ..SystemProperties::default()
        }),
        body: b"honest".to_vec().into(),
        ..OneMessage::default()
    };
    let sent = client.call(0, SendMessageRequest { messages: vec![message] }.encode_to_vec(), true).await;
    assert_eq!(SendMessageResponse::decode(&*sent[0]).unwrap().status.unwrap().code(), Code::Ok);
    let receive = ReceiveMessageRequest {
        group: resource("honest"),
        message_queue: Some(MessageQueue { topic: resource("Honest"), ..MessageQueue::default() }),
        batch_size: 32,
        invisible_duration: Some(Span { seconds: 60, nanos: 0 }),
        long_polling_timeout: Some(Span { seconds: 5, nanos: 0 }),
        ..ReceiveMessageRequest::default()
    };
    let got = client.call(1, receive.encode_to_vec(), true).await;
    assert!(got.iter().any(|part| part.windows(6).any(|window| window == b"honest")));
    let receipt = client.said.last().cloned().expect("a receipt");
    let entry = AckMessageEntry { receipt_handle: receipt, ..AckMessageEntry::default() };
    let ack =
        AckMessageRequest { group: resource("honest"), topic: resource("Honest"), entries: vec![entry] };
    let answer = client.call(2, ack.encode_to_vec(), true).await;
    assert_eq!(AckMessageResponse::decode(&*answer[0]).unwrap().status.unwrap().code(), Code::Ok);
}

/// Starts the face, and lets time go by for the broker.
async fn serve(world: &Rc<RefCell<World>>) -> std::net::SocketAddr {
    let (face_end, mut broker_end) = local("broker-a");
    world.borrow_mut().has_face(broker_end.to_face);
    let connections = Connections::new(kerolox_net::Limits::default());
    let clock = Rc::clone(world);
    let config = Config {
        port: 8081,
        advertise: None,
        body_bytes_max: 4_096,
        delay_ms_max: 86_400_000,
        check_message_types: true,
        name_servers: Vec::new(),
        http2: http2::Limits::default(),
        now_ms: Box::new(move || clock.borrow().now_ms()),
        // (Seen with the input that broke something.)
        report: Box::new(|line| eprintln!("{line}")),
    };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let face = Face::with_broker(config, Rc::clone(&connections), face_end);
    tokio::task::spawn_local(listen(listener, connections, Rc::new(Listener(face))));
    let broker = Rc::clone(world);
    tokio::task::spawn_local(async move {
        while let Some(said) = broker_end.from_face.recv().await {
            broker.borrow_mut().hear_face(said);
        }
    });
    let broker = Rc::clone(world);
    tokio::task::spawn_local(async move {
        loop {
            sleep(Duration::from_millis(TICK_MS)).await;
            broker.borrow_mut().tick(TICK_MS as i64);
        }
    });
    address
}

struct Client {
    stream: TcpStream,
    inbox: BytesMut,
    id: &'static str,
    next_stream: u32,
    /// Receipts, transaction ids and recall handles that were given out.
    said: Vec<String>,
    /// Answers of calls that are not over: what is whole and what is not.
    open: HashMap<u32, (usize, BytesMut)>,
}

impl Client {
    async fn connect(address: std::net::SocketAddr, id: &'static str) -> Self {
        let mut stream = TcpStream::connect(address).await.unwrap();
        // The world's time does not wait for the network's.
        stream.set_nodelay(true).unwrap();
        let mut hello = BytesMut::from(PREFACE);
        // Windows as large as can be: of a stream, of the connection.
        hello.put_slice(&[0, 0, 6, 4, 0, 0, 0, 0, 0, 0, 4, 0x7f, 0xff, 0xff, 0xff]);
        hello.put_slice(&[0, 0, 4, 8, 0, 0, 0, 0, 0, 0x7f, 0, 0, 0]);
        stream.write_all(&hello).await.unwrap();
        Self { stream, inbox: BytesMut::new(), id, next_stream: 1, said: Vec::new(), open: HashMap::new() }
    }

    /// Makes a call; the messages of its answer, if it is waited for.
    async fn call(&mut self, number: usize, request: Vec<u8>, waits: bool) -> Vec<Bytes> {
        let service = if number < OF_CLIENTS { "MessagingService" } else { "Admin" };
        let path = format!("/apache.rocketmq.v2.{service}/{}", CALLS[number]);
        let stream = self.next_stream;
        self.next_stream += 2;
        let mut block = Vec::new();
        for (name, value) in [
            (":method", "POST"),
            (":scheme", "http"),
            (":path", &path),
            ("content-type", "application/grpc"),
            ("x-mq-client-id", self.id),
        ] {
            for text in [name, value] {
                if text == name {
                    block.push(0);
                }
                block.push(text.len() as u8);
                block.extend_from_slice(text.as_bytes());
            }
        }
        let mut out = BytesMut::new();
        head(block.len(), 1, 4, stream, &mut out);
        out.put_slice(&block);
        let mut message = BytesMut::new();
        message.put_u8(0);
        message.put_u32(request.len() as u32);
        message.put_slice(&request);
        while message.len() > 16_384 {
            head(16_384, 0, 0, stream, &mut out);
            out.put_slice(&message.split_to(16_384));
        }
        head(message.len(), 0, u8::from(waits), stream, &mut out);
        out.put_slice(&message);
        self.open.insert(stream, (number, BytesMut::new()));
        self.stream.write_all(&out).await.unwrap();
        if waits {
            let answer = timeout(ANSWER_WAIT, self.answer(Some(stream))).await;
            return answer.unwrap_or_else(|_| panic!("{} is never answered", CALLS[number]));
        }
        // What comes by itself.
        let _ = timeout(Duration::from_millis(10), self.answer(None)).await;
        Vec::new()
    }

    /// Reads until a call is over.
    async fn answer(&mut self, until: Option<u32>) -> Vec<Bytes> {
        loop {
            while let Some(frame) = http2::cut(&mut self.inbox).unwrap() {
                let Frame::Frame { kind, flags, stream, payload } = frame else { panic!("a preface") };
                assert_ne!(kind, 7, "the connection is closed: {:?}", payload.escape_ascii().to_string());
                if kind == 0 {
                    self.open.get_mut(&stream).expect("data of a call").1.put_slice(&payload);
                }
                let over = kind == 3 || (kind == 1 && flags & 1 != 0);
                if over && let Some((number, answer)) = self.open.remove(&stream) {
                    let messages = self.whole(number, answer);
                    if until == Some(stream) {
                        return messages;
                    }
                }
            }
            let open: Vec<_> = self.open.values().map(|(number, _)| CALLS[*number]).collect();
            let count = self.stream.read_buf(&mut self.inbox).await.unwrap();
            assert!(count > 0, "the connection was closed, with these calls open: {open:?}");
        }
    }

    /// The messages of an answer; what they give out is kept.
    fn whole(&mut self, number: usize, mut answer: BytesMut) -> Vec<Bytes> {
        let mut messages = Vec::new();
        while answer.has_remaining() {
            assert_eq!(answer.get_u8(), 0);
            let len = answer.get_u32() as usize;
            messages.push(answer.split_to(len).freeze());
        }
        for message in &messages {
            match CALLS[number] {
                "SendMessage" => {
                    for entry in SendMessageResponse::decode(&**message).unwrap().entries {
                        self.said.extend([entry.transaction_id, entry.recall_handle]);
                    }
                }
                "ReceiveMessage" => {
                    if let Some(Content::Message(message)) =
                        ReceiveMessageResponse::decode(&**message).unwrap().content
                    {
                        self.said.extend(message.system_properties.and_then(|s| s.receipt_handle));
                    }
                }
                _ => {}
            }
        }
        self.said.retain(|said| !said.is_empty());
        messages
    }

    /// The request with what was given out where it says so.
    fn fill(&self, number: usize, request: &[u8]) -> Vec<u8> {
        fn with<M: Message + Default>(request: &[u8], change: impl FnOnce(&mut M)) -> Vec<u8> {
            let Ok(mut message) = M::decode(request) else { return request.to_vec() };
            change(&mut message);
            message.encode_to_vec()
        }
        match CALLS[number] {
            "AckMessage" => with(request, |m: &mut AckMessageRequest| {
                m.entries.iter_mut().for_each(|entry| self.say(&mut entry.receipt_handle));
            }),
            "ChangeInvisibleDuration" => {
                with(request, |m: &mut ChangeInvisibleDurationRequest| self.say(&mut m.receipt_handle))
            }
            "ForwardMessageToDeadLetterQueue" => {
                with(request, |m: &mut ForwardMessageToDeadLetterQueueRequest| {
                    self.say(&mut m.receipt_handle);
                })
            }
            "EndTransaction" => {
                with(request, |m: &mut EndTransactionRequest| self.say(&mut m.transaction_id))
            }
            "RecallMessage" => with(request, |m: &mut RecallMessageRequest| self.say(&mut m.recall_handle)),
            _ => request.to_vec(),
        }
    }

    fn say(&self, text: &mut String) {
        let Some(reference) = text.strip_prefix('@') else { return };
        let (number, changed) = reference.split_once('x').unwrap_or((reference, ""));
        let number: usize = number.parse().unwrap_or(0);
        let Some(said) = self.said.get(number % self.said.len().max(1)) else { return };
        let mut bytes = said.clone().into_bytes();
        if let Ok(place) = changed.parse::<usize>() {
            let place = place % bytes.len();
            bytes[place] ^= 1;
        }
        *text = String::from_utf8_lossy(&bytes).into_owned();
    }
}

fn head(len: usize, kind: u8, flags: u8, stream: u32, out: &mut BytesMut) {
    out.put_slice(&[(len >> 16) as u8, (len >> 8) as u8, len as u8, kind, flags]);
    out.put_u32(stream);
}
