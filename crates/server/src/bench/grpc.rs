//! `bench grpc`: sends over gRPC, as official clients of version 5 send: one message in a call, many calls at a time on each
//! connection. Frames are built once and patched; of answers no more is looked at than their end and their code. Also: connections
//! that do nothing, to see what they cost.

use super::Grpc;
use super::measure::{Measured, ProgressLine};
use anyhow::{Context, Result, anyhow, bail};
use bytes::{Buf, BufMut, BytesMut};
use kerolox_net::rustls::pki_types::pem::PemObject;
use kerolox_net::rustls::pki_types::{CertificateDer, ServerName};
use kerolox_net::rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use kerolox_proxy::http2::PREFACE;
use kerolox_proxy::v2::{
    ClientType, Language, Message as Content, MessageType, Publishing, Resource, SendMessageRequest,
    SendMessageResponse, Settings, SystemProperties, TelemetryCommand, Ua, settings, telemetry_command,
};
use prost::Message;
use std::cell::{Cell, RefCell};
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use tokio::net::TcpStream;

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;
const END_STREAM: u8 = 1;
const ACK: u8 = 1;
const END_HEADERS: u8 = 4;
const HEAD_BYTES: usize = 9;
/// Bytes that a server takes before it says how many.
const WINDOW_FIRST: i64 = 65_535;
/// What we take: answers are short, and given back in large steps.
const OWN_WINDOW: u32 = 1 << 30;
/// How long answers are waited for at the end.
const END_WAIT: Duration = Duration::from_secs(10);
/// `OK`.
const OK: i32 = 20_000;

/// Stands where a message's id goes: digits of a number behind zeros.
const ID: &str = "00000000000000000000000000000000";

pub(super) async fn run(args: Grpc) -> Result<()> {
    if args.idle > 0 {
        return idle(&args);
    }
    let shared = Rc::new(Shared {
        template: Template::new(&args)?,
        measured: RefCell::new(Measured::new(args.warm_up, args.duration, &args.pid)?),
        serial: Cell::new(SystemTime::now().duration_since(UNIX_EPOCH)?.as_nanos() as u64),
    });
    let mut lanes = Vec::new();
    for number in 0..args.connections {
        let lane = Lane::connect(&args, number, Rc::clone(&shared)).await?;
        lanes.push(tokio::task::spawn_local(lane.run()));
    }
    let mut progress = ProgressLine::new();
    let mut ticks = tokio::time::interval(Duration::from_millis(100));
    let (mut tick, mut over_at) = (0u32, None);
    while !lanes.iter().all(tokio::task::JoinHandle::is_finished) {
        ticks.tick().await;
        tick += 1;
        let now = Instant::now();
        shared.measured.borrow_mut().watch_cpu(now);
        if tick.is_multiple_of(10) {
            progress.show(&shared.measured.borrow());
        }
        if shared.measured.borrow().is_over(now) && now.duration_since(*over_at.get_or_insert(now)) > END_WAIT
        {
            shared.measured.borrow_mut().failed("answers that never came".into());
            break;
        }
    }
    progress.end();
    let mut measured = shared.measured.replace(Measured::new(0.0, 0.0, &[])?);
    measured.end(Instant::now());
    measured.watch_cpu(Instant::now());
    measured.report("grpc", args.json, &[])
}

/// Holds connections that have told of themselves and say nothing more, until it is interrupted or the time is over.
fn idle(args: &Grpc) -> Result<()> {
    let trusted = args.trust.as_deref().map(trust).transpose()?;
    let mut open: Vec<Box<dyn Io>> = Vec::new();
    for number in 0..args.idle {
        let stream = std::net::TcpStream::connect(&args.endpoint).context("connect")?;
        let mut stream: Box<dyn Io> = match &trusted {
            None => Box::new(stream),
            Some(config) => {
                let name = ServerName::try_from("localhost")?;
                Box::new(StreamOwned::new(ClientConnection::new(Arc::clone(config), name)?, stream))
            }
        };
        let mut out = BytesMut::from(PREFACE);
        write_head(0, SETTINGS, 0, 0, &mut out);
        let told = hello(&args.topic);
        headers("Telemetry", number, 1, false, &mut out);
        data(&told, 0, 1, &mut out);
        stream.write_all(&out)?;
        stream.flush()?;
        // The settings came: that is all there is to do.
        let mut inbox = [0; 512];
        while stream.read(&mut inbox)? == inbox.len() {}
        open.push(stream);
    }
    eprintln!("{} connections are open", open.len());
    std::thread::sleep(Duration::from_secs_f64(args.duration));
    Ok(())
}

trait Io: io::Read + io::Write {}
impl<T: io::Read + io::Write> Io for T {}

fn trust(file: &std::path::Path) -> Result<Arc<ClientConfig>> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(file).map_err(|e| anyhow!("{}: {e}", file.display()))? {
        roots.add(certificate.map_err(|e| anyhow!("{}: {e}", file.display()))?)?;
    }
    let mut config = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec()];
    Ok(Arc::new(config))
}

/// What a producer says of itself first.
fn hello(topic: &str) -> Vec<u8> {
    let topics = vec![Resource { name: topic.to_owned(), ..Resource::default() }];
    let settings = Settings {
        client_type: Some(ClientType::Producer.into()),
        pub_sub: Some(settings::PubSub::Publishing(Publishing { topics, ..Publishing::default() })),
        user_agent: Some(Ua { language: Language::Rust.into(), ..Ua::default() }),
        ..Settings::default()
    };
    let command = Some(telemetry_command::Command::Settings(settings));
    TelemetryCommand { status: None, command }.encode_to_vec()
}

fn write_head(len: usize, kind: u8, flags: u8, stream: u32, out: &mut BytesMut) {
    let [_, l2, l1, l0] = (len as u32).to_be_bytes();
    out.put_slice(&[l2, l1, l0, kind, flags]);
    out.put_u32(stream);
}

/// The headers of a call as the Java client sends them: what is always the same is told once on a connection and then named by its
/// number, what differs is told each time (RFC 7541, section 6).
fn headers(call: &str, client: u32, stream: u32, is_known: bool, out: &mut BytesMut) {
    const OF_A_CALL: [(&str, &str); 3] = [
        ("grpc-timeout", "2999837u"),
        ("x-mq-date-time", "20261129T101112Z"),
        ("x-mq-request-id", "0f8fad5b-d9cb-469f-a165-70867728950e"),
    ];
    let path = format!("/apache.rocketmq.v2.MessagingService/{call}");
    let client = format!("kerolox-bench@{client}");
    let fields = [
        (":path", &*path),
        (":authority", "bench"),
        ("te", "trailers"),
        ("content-type", "application/grpc"),
        ("x-mq-client-id", &*client),
        ("x-mq-language", "JAVA"),
        ("x-mq-client-version", "5.2.0"),
        ("x-mq-protocol", "v2"),
        ("user-agent", "grpc-java-netty/1.50.0"),
        ("grpc-accept-encoding", "gzip"),
    ];
    let mut block = vec![0x83, 0x86];
    let told = if is_known { &[][..] } else { &fields };
    if is_known {
        // The latest has number 62. (In the order in which they were told: those of HTTP/2 itself come first.)
        block.extend((62..62 + fields.len() as u8).rev().map(|number| 0x80 | number));
    }
    let literals = told.iter().map(|field| (0x40, field)).chain(OF_A_CALL.iter().map(|field| (0, field)));
    for (kind, (name, value)) in literals {
        block.push(kind);
        // Each is shorter than what a byte says.
        block.push(name.len() as u8);
        block.extend_from_slice(name.as_bytes());
        block.push(value.len() as u8);
        block.extend_from_slice(value.as_bytes());
    }
    write_head(block.len(), HEADERS, END_HEADERS, stream, out);
    out.put_slice(&block);
}

/// A message of a call in as many frames as it needs.
fn data(message: &[u8], last_flags: u8, stream: u32, out: &mut BytesMut) {
    let mut whole = BytesMut::with_capacity(message.len() + 5);
    whole.put_u8(0);
    whole.put_u32(message.len() as u32);
    whole.put_slice(message);
    let mut pieces = whole.chunks(16_384).peekable();
    while let Some(piece) = pieces.next() {
        let flags = if pieces.peek().is_none() { last_flags } else { 0 };
        write_head(piece.len(), DATA, flags, stream, out);
        out.put_slice(piece);
    }
}

/// A call that sends a message, to be patched.
struct Template {
    message: Vec<u8>,
    /// Where its id is.
    id: usize,
}

impl Template {
    fn new(args: &Grpc) -> Result<Self> {
        let system = SystemProperties {
            tag: Some("TagA".to_owned()),
            keys: vec!["key".to_owned()],
            message_id: ID.to_owned(),
            message_type: MessageType::Normal.into(),
            body_encoding: 1,
            born_host: "127.0.0.1".to_owned(),
            born_timestamp: Some(prost_types::Timestamp { seconds: 1_700_000_000, nanos: 0 }),
            ..SystemProperties::default()
        };
        let content = Content {
            topic: Some(Resource { name: args.topic.clone(), ..Resource::default() }),
            system_properties: Some(system),
            body: vec![b'x'; args.size as usize].into(),
            ..Content::default()
        };
        let message = SendMessageRequest { messages: vec![content] }.encode_to_vec();
        let id = message.windows(ID.len()).position(|window| window == ID.as_bytes());
        Ok(Self { message, id: id.context("no id in the message")? })
    }

    /// Appends a call.
    fn write(&self, client: u32, stream: u32, serial: u64, out: &mut BytesMut) {
        headers("SendMessage", client, stream, stream > 1, out);
        let start = out.len();
        data(&self.message, END_STREAM, stream, out);
        // The id lies in the first frame, behind its head and the message's prefix.
        let at = start + HEAD_BYTES + 5 + self.id;
        if let Some(place) = out.get_mut(at..at + ID.len()) {
            place.copy_from_slice(format!("{serial:0width$}", width = ID.len()).as_bytes());
        }
    }
}

struct Shared {
    template: Template,
    measured: RefCell<Measured>,
    serial: Cell<u64>,
}

struct Lane {
    shared: Rc<Shared>,
    stream: TcpStream,
    number: u32,
    in_flight: usize,
    /// When the call of a stream began: streams are numbered 1, 3, 5, …
    begun: std::collections::HashMap<u32, Instant>,
    next: u32,
    /// Bytes that the server takes.
    window: i64,
    /// Bytes that came and were not given back.
    taken: u32,
    out: BytesMut,
    inbox: BytesMut,
}

impl Lane {
    async fn connect(args: &Grpc, number: u32, shared: Rc<Shared>) -> Result<Self> {
        let stream = TcpStream::connect(&args.endpoint)
            .await
            .with_context(|| format!("connect to {}", args.endpoint))?;
        stream.set_nodelay(true)?;
        let mut out = BytesMut::from(PREFACE);
        write_head(6, SETTINGS, 0, 0, &mut out);
        out.put_u16(4);
        out.put_u32(OWN_WINDOW);
        write_head(4, WINDOW_UPDATE, 0, 0, &mut out);
        out.put_u32(OWN_WINDOW);
        Ok(Self {
            shared,
            stream,
            number,
            in_flight: args.in_flight as usize,
            begun: std::collections::HashMap::new(),
            next: 1,
            window: WINDOW_FIRST,
            taken: 0,
            out,
            inbox: BytesMut::with_capacity(256 << 10),
        })
    }

    async fn run(mut self) {
        if let Err(e) = self.exchange().await {
            self.shared.measured.borrow_mut().failed(format!("connection lost: {e:#}"));
        }
    }

    async fn exchange(&mut self) -> Result<()> {
        let bytes = self.shared.template.message.len() as i64 + 5;
        loop {
            let now = Instant::now();
            let over = self.shared.measured.borrow().is_over(now);
            if over && self.begun.is_empty() {
                return Ok(());
            }
            while !over && self.begun.len() < self.in_flight && self.window >= bytes {
                let serial = self.shared.serial.replace(self.shared.serial.get() + 1);
                self.shared.template.write(self.number, self.next, serial, &mut self.out);
                self.begun.insert(self.next, now);
                self.next += 2;
                self.window -= bytes;
            }
            let blocked = !self.write()?;
            tokio::select! {
                biased;
                ready = self.stream.readable() => { ready?; self.read()?; }
                ready = self.stream.writable(), if blocked => { ready?; }
            }
        }
    }

    /// True if everything was taken.
    fn write(&mut self) -> Result<bool> {
        while !self.out.is_empty() {
            match self.stream.try_write(&self.out) {
                Ok(count) if count == self.out.len() => self.out.clear(),
                Ok(count) => self.out.advance(count),
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                Err(e) => return Err(e.into()),
            }
        }
        Ok(true)
    }

    fn read(&mut self) -> Result<()> {
        self.inbox.reserve(64 << 10);
        match self.stream.try_read_buf(&mut self.inbox) {
            Ok(0) => bail!("the server closed it"),
            Ok(_) => {}
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Ok(()),
            Err(e) => return Err(e.into()),
        }
        let now = Instant::now();
        while let Some(head) = self.inbox.first_chunk::<HEAD_BYTES>() {
            let [l2, l1, l0, kind, flags, id @ ..] = *head;
            let len = u32::from_be_bytes([0, l2, l1, l0]) as usize;
            if self.inbox.len() < HEAD_BYTES + len {
                break;
            }
            self.inbox.advance(HEAD_BYTES);
            let payload = self.inbox.split_to(len);
            self.frame(kind, flags, u32::from_be_bytes(id), &payload, now)?;
        }
        Ok(())
    }

    fn frame(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8], now: Instant) -> Result<()> {
        match kind {
            DATA => {
                self.taken += payload.len() as u32;
                if self.taken > OWN_WINDOW / 2 {
                    write_head(4, WINDOW_UPDATE, 0, 0, &mut self.out);
                    self.out.put_u32(std::mem::take(&mut self.taken));
                }
                let answer = SendMessageResponse::decode(payload.get(5..).unwrap_or_default());
                let status = answer.ok().and_then(|answer| answer.status).unwrap_or_default();
                if status.code != OK {
                    self.begun.remove(&stream);
                    let said = format!("{} {}", status.code, status.message);
                    self.shared.measured.borrow_mut().failed(said);
                }
            }
            HEADERS if flags & END_STREAM != 0 => {
                if let Some(begun) = self.begun.remove(&stream) {
                    let bytes = self.shared.template.message.len() as u64;
                    self.shared.measured.borrow_mut().done(now, 1, bytes, now - begun);
                }
            }
            RST_STREAM if self.begun.remove(&stream).is_some() => {
                self.shared.measured.borrow_mut().failed("reset".to_owned());
            }
            SETTINGS if flags & ACK == 0 => write_head(0, SETTINGS, ACK, 0, &mut self.out),
            PING if flags & ACK == 0 => {
                write_head(8, PING, ACK, 0, &mut self.out);
                self.out.put_slice(payload);
            }
            WINDOW_UPDATE if stream == 0 => {
                self.window += payload.first_chunk().map_or(0, |n| i64::from(u32::from_be_bytes(*n)));
            }
            GOAWAY => {
                bail!("the server said: {}", String::from_utf8_lossy(payload.get(8..).unwrap_or_default()))
            }
            _ => {}
        }
        Ok(())
    }
}
