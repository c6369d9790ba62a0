//! `bench consume`: one long poll in flight for each queue, spread over the connections.

use super::Consume;
use super::frames::{STAMP, STAMP_BYTES, glance};
use super::measure::{Measured, ProgressLine};
use super::server::Broker;
use anyhow::{Context, Result, bail};
use bytes::{Buf, BytesMut};
use kerolox_wire::header::{PullMessage, PullMessageResponse};
use kerolox_wire::record::{RecordHead, RecordView};
use kerolox_wire::{Command, Encoding, RequestCode, ResponseCode, frame, sys_flag};
use std::cell::{Cell, RefCell};
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use tokio::net::TcpStream;

const FRAME_BYTES_MAX: usize = 64 << 20;
/// How long a poll may be parked at the broker.
const SUSPEND_MS: i64 = 15_000;
/// Wait before a queue is asked again after an error.
const ERROR_WAIT: Duration = Duration::from_millis(100);

pub(super) async fn run(args: Consume) -> Result<()> {
    let server = &args.server;
    let broker = Broker::find(server).await?;
    broker.create_topic(&server.topic, server.queues).await?;
    let mut queues = Vec::new();
    for id in 0..server.queues {
        let next = broker.offset(&server.topic, id, !args.from_start).await?;
        let end = broker.offset(&server.topic, id, true).await?;
        queues.push(Queue { id, next, end, again_at: None });
    }
    let shared = Rc::new(Shared {
        topic: server.topic.clone(),
        group: args.group.clone(),
        encoding: server.encoding.into(),
        pull_batch: args.pull_batch as i32,
        to_end: args.to_end,
        left: Cell::new(queues.iter().filter(|q| q.next < q.end).count()),
        measured: RefCell::new(Measured::new(server.warm_up, server.duration, &server.pid)?),
    });
    let mut lanes: Vec<Vec<Queue>> = (0..server.connections.min(server.queues)).map(|_| Vec::new()).collect();
    let count = lanes.len();
    for (i, queue) in queues.into_iter().enumerate() {
        if let Some(lane) = lanes.get_mut(i % count) {
            lane.push(queue);
        }
    }
    let mut tasks = Vec::new();
    for queues in lanes {
        let lane = Lane::connect(broker.address, queues, Rc::clone(&shared)).await?;
        tasks.push(tokio::task::spawn_local(lane.run()));
    }
    watch(&shared, &tasks, server.count.unwrap_or(u64::MAX)).await;
    let mut measured = shared.measured.borrow_mut();
    measured.end(Instant::now());
    measured.watch_cpu(Instant::now());
    measured.report("consume", server.json, &[])
}

/// Until the time is over, everything was received, or no connection is left.
async fn watch(shared: &Shared, tasks: &[tokio::task::JoinHandle<()>], count: u64) {
    let mut progress = ProgressLine::new();
    let mut ticks = tokio::time::interval(Duration::from_millis(20));
    let mut tick = 0u32;
    loop {
        ticks.tick().await;
        tick += 1;
        let now = Instant::now();
        shared.measured.borrow_mut().watch_cpu(now);
        if tick.is_multiple_of(50) {
            progress.show(&shared.measured.borrow());
        }
        let measured = shared.measured.borrow();
        let received = shared.to_end && shared.left.get() == 0;
        let finished = tasks.iter().all(tokio::task::JoinHandle::is_finished);
        if measured.is_over(now) || received || finished || measured.total >= count {
            break;
        }
    }
    progress.end();
}

struct Shared {
    topic: String,
    group: String,
    encoding: Encoding,
    pull_batch: i32,
    to_end: bool,
    /// Queues that have not been received up to where they ended at the start.
    left: Cell<usize>,
    measured: RefCell<Measured>,
}

struct Queue {
    id: u32,
    next: i64,
    end: i64,
    /// After an error: not before this.
    again_at: Option<Instant>,
}

struct Lane {
    shared: Rc<Shared>,
    stream: TcpStream,
    queues: Vec<Queue>,
    out: BytesMut,
    inbox: BytesMut,
}

impl Lane {
    async fn connect(address: SocketAddr, queues: Vec<Queue>, shared: Rc<Shared>) -> Result<Self> {
        let stream = TcpStream::connect(address).await.with_context(|| format!("broker {address}"))?;
        stream.set_nodelay(true)?;
        Ok(Self { shared, stream, queues, out: BytesMut::new(), inbox: BytesMut::new() })
    }

    async fn run(mut self) {
        if let Err(e) = self.exchange().await {
            self.shared.measured.borrow_mut().failed(format!("connection lost: {e:#}"));
        }
    }

    async fn exchange(&mut self) -> Result<()> {
        for index in 0..self.queues.len() {
            self.ask(index);
        }
        loop {
            let blocked = !self.write()?;
            let again_at = self.queues.iter().filter_map(|q| q.again_at).min();
            let wait = again_at.unwrap_or_else(Instant::now);
            tokio::select! {
                biased;
                ready = self.stream.readable() => { ready?; self.read()?; }
                ready = self.stream.writable(), if blocked => { ready?; }
                () = tokio::time::sleep_until(wait.into()), if again_at.is_some() => {
                    for index in 0..self.queues.len() {
                        if self.queues.get(index).is_some_and(|q| q.again_at.is_some_and(|at| at <= wait)) {
                            self.ask(index);
                        }
                    }
                }
            }
        }
    }

    /// The opaque of a request is the index of its queue.
    fn ask(&mut self, index: usize) {
        let Some(queue) = self.queues.get_mut(index) else { return };
        queue.again_at = None;
        let header = PullMessage {
            consumer_group: &self.shared.group,
            topic: &self.shared.topic,
            queue_id: queue.id as i32,
            queue_offset: queue.next,
            max_msg_nums: self.shared.pull_batch,
            sys_flag: sys_flag::pull::SUSPEND | sys_flag::pull::SUBSCRIPTION,
            suspend_timeout_millis: SUSPEND_MS,
            subscription: Some("*"),
            expression_type: Some("TAG"),
            ..PullMessage::default()
        };
        let mut command = Command::request(RequestCode::PULL_MESSAGE).with_header(&header);
        command.encoding = self.shared.encoding;
        command.opaque = index as i32;
        frame::encode(&command, &mut self.out);
    }

    /// True if everything was taken.
    fn write(&mut self) -> Result<bool> {
        while !self.out.is_empty() {
            match self.stream.try_write(&self.out) {
                Ok(count) => self.out.advance(count),
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                Err(e) => return Err(e.into()),
            }
        }
        Ok(true)
    }

    fn read(&mut self) -> Result<()> {
        self.inbox.reserve(256 << 10);
        match self.stream.try_read_buf(&mut self.inbox) {
            Ok(0) => bail!("the broker closed it"),
            Ok(_) => {}
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Ok(()),
            Err(e) => return Err(e.into()),
        }
        let now = Instant::now();
        let wall_ns = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos() as u64;
        while let Some(seen) = glance(&self.inbox)? {
            if seen.is_response {
                let Some(answer) = frame::decode(&mut self.inbox, FRAME_BYTES_MAX)? else { break };
                self.take_answer(&answer, now, wall_ns)?;
            } else {
                self.inbox.advance(seen.len);
            }
        }
        Ok(())
    }

    fn take_answer(&mut self, answer: &Command, now: Instant, wall_ns: u64) -> Result<()> {
        let index = answer.opaque as usize;
        let Some(queue) = self.queues.get_mut(index) else { return Ok(()) };
        match ResponseCode(answer.code) {
            ResponseCode::SUCCESS
            | ResponseCode::PULL_NOT_FOUND
            | ResponseCode::PULL_RETRY_IMMEDIATELY
            | ResponseCode::PULL_OFFSET_MOVED => {
                let header: PullMessageResponse<'_> = answer.header()?;
                let was_behind = queue.next < queue.end;
                queue.next = header.next_begin_offset;
                if was_behind && queue.next >= queue.end {
                    self.shared.left.set(self.shared.left.get() - 1);
                }
                count_records(&mut self.shared.measured.borrow_mut(), &answer.body, now, wall_ns)?;
                self.ask(index);
            }
            code => {
                self.shared.measured.borrow_mut().failed(format!("{code:?}"));
                queue.again_at = Some(now + ERROR_WAIT);
            }
        }
        Ok(())
    }
}

fn count_records(measured: &mut Measured, mut body: &[u8], now: Instant, wall_ns: u64) -> Result<()> {
    while let Some(head) = RecordHead::peek(body) {
        let record = RecordView::parse(body).context("a message cannot be decoded")?;
        let stamp =
            record.body.get(..STAMP_BYTES).and_then(|s| s.strip_prefix(STAMP)).and_then(|s| s.first_chunk());
        let bytes = record.body.len() as u64;
        match stamp {
            Some(stamp) => {
                let age = Duration::from_nanos(wall_ns.saturating_sub(u64::from_be_bytes(*stamp)));
                measured.done(now, 1, bytes, age);
            }
            None => measured.count(now, 1, bytes),
        }
        body = body.get(head.total as usize..).unwrap_or_default();
    }
    Ok(())
}
