//! `bench produce`: connections that each keep a number of send requests in flight, or send at fixed times.

use super::Produce;
use super::frames::{OPAQUE_BASE, Patch, SLOTS_MAX, Shape, Template, glance, numbered};
use super::measure::{Measured, ProgressLine};
use super::server::Broker;
use anyhow::{Context, Result, bail};
use bytes::{Buf, BytesMut};
use kerolox_wire::ResponseCode;
use rustix::time::{Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec};
use std::cell::{Cell, RefCell};
use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use tokio::io::unix::AsyncFd;
use tokio::net::TcpStream;

/// Bytes that wait for a socket, above which no more requests are made.
const UNSENT_MAX: usize = 4 << 20;
/// How long answers are waited for at the end.
const END_WAIT: Duration = Duration::from_secs(10);

pub(super) async fn run(args: Produce) -> Result<()> {
    let server = &args.server;
    let broker = Rc::new(Broker::find(server).await?);
    broker.create_topics(&topics(&server.topic, args.topics), server.queues).await?;
    load(broker.address, &args, None).await?.report("produce", server.json, &[])
}

/// When timer messages are due: each at some time of a range.
#[derive(Debug, Clone, Copy)]
pub(super) struct Due {
    pub(super) from_ms: u64,
    pub(super) within_ms: u64,
}

impl Due {
    fn of(self, serial: u64) -> u64 {
        self.from_ms + (serial.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 16) % self.within_ms.max(1)
    }
}

/// The topics that are written.
pub(super) fn topics(base: &str, count: u32) -> Vec<String> {
    match count {
        1 => vec![base.to_owned()],
        n => (0..n).map(|number| numbered(base, number)).collect(),
    }
}

/// Sends as told, to topics that are there.
pub(super) async fn load(address: SocketAddr, args: &Produce, due: Option<Due>) -> Result<Measured> {
    let server = &args.server;
    let templates = templates(args, due.is_some())?;
    let measured = Measured::new(server.warm_up, server.duration, &server.pid)?;
    let shared = Rc::new(Shared {
        templates,
        due,
        topics: args.topics as usize,
        measured: RefCell::new(measured),
        made: Cell::new(0),
        count: server.count.unwrap_or(u64::MAX),
        batch: u64::from(args.batch),
        interval: args.rate.map(|rate| f64::from(args.batch) * f64::from(server.connections) / rate),
        start: Instant::now(),
        serial: Cell::new(id_base()),
    });
    let mut lanes = Vec::new();
    for number in 0..server.connections {
        let lane = Lane::connect(address, number, args, Rc::clone(&shared)).await?;
        lanes.push(tokio::task::spawn_local(lane.run()));
    }
    let mut progress = ProgressLine::new();
    let mut ticks = tokio::time::interval(Duration::from_millis(100));
    let mut tick = 0u32;
    let mut over_at = None;
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
    Ok(measured)
}

/// One for each queue.
fn templates(args: &Produce, timed: bool) -> Result<Vec<Template>> {
    let born_ms = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_millis() as i64);
    let first = topics(&args.server.topic, args.topics).into_iter().next().context("no topic")?;
    let template = |queue_id| {
        Template::new(&Shape {
            topic: &first,
            queue_id,
            size: args.size as usize,
            batch: args.batch,
            encoding: args.server.encoding.into(),
            born_ms,
            timed,
            keys: args.keys,
        })
    };
    (0..args.server.queues).map(template).collect()
}

/// Unique ids of two runs should not meet.
fn id_base() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_nanos() as u64)
}

struct Shared {
    /// One for each queue.
    templates: Vec<Template>,
    due: Option<Due>,
    topics: usize,
    measured: RefCell<Measured>,
    /// Requests made.
    made: Cell<u64>,
    /// Messages to be made.
    count: u64,
    batch: u64,
    /// Seconds between two requests of one connection, at a fixed rate.
    interval: Option<f64>,
    start: Instant,
    serial: Cell<u64>,
}

impl Shared {
    fn is_over(&self, now: Instant) -> bool {
        self.made.get() * self.batch >= self.count || self.measured.borrow().is_over(now)
    }
}

struct Lane {
    shared: Rc<Shared>,
    stream: TcpStream,
    timer: AsyncFd<OwnedFd>,
    /// When the request in a slot was meant to start; `None`: free.
    slots: Vec<Option<Instant>>,
    free: Vec<u32>,
    /// Grows with each use of any slot, so that a late answer is not taken for another's.
    generation: i32,
    generations_max: i32,
    /// At a fixed rate: the number of the next request and when it is due.
    next: (u64, Instant),
    phase: f64,
    /// The queue that is next: queue ids times topics.
    place: usize,
    out: BytesMut,
    inbox: BytesMut,
}

impl Lane {
    async fn connect(address: SocketAddr, number: u32, args: &Produce, shared: Rc<Shared>) -> Result<Self> {
        let stream = TcpStream::connect(address).await.with_context(|| format!("broker {address}"))?;
        stream.set_nodelay(true)?;
        let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
        let timer = rustix::time::timerfd_create(TimerfdClockId::Monotonic, flags)?;
        let slots = args.in_flight as usize;
        let phase = f64::from(number) / f64::from(args.server.connections);
        // Deprecated because a source might close its file descriptor early; one that owns it cannot.
        #[allow(deprecated)]
        let timer = AsyncFd::new(timer)?;
        let first = shared.start + Duration::from_secs_f64(shared.interval.unwrap_or(0.0) * phase);
        let places = shared.templates.len() * shared.topics;
        let place = number as usize * places / args.server.connections as usize;
        Ok(Self {
            stream,
            timer,
            slots: vec![None; slots],
            free: (0..args.in_flight).rev().collect(),
            generation: 0,
            generations_max: SLOTS_MAX / args.in_flight as i32,
            next: (0, first),
            phase,
            place,
            out: BytesMut::new(),
            inbox: BytesMut::with_capacity(256 << 10),
            shared,
        })
    }

    async fn run(mut self) {
        if let Err(e) = self.exchange().await {
            self.shared.measured.borrow_mut().failed(format!("connection lost: {e:#}"));
        }
    }

    async fn exchange(&mut self) -> Result<()> {
        loop {
            let now = Instant::now();
            let over = self.shared.is_over(now);
            if over && self.free.len() == self.slots.len() {
                return Ok(());
            }
            let wait = if over { false } else { self.make_due(now) };
            let blocked = !self.write()?;
            if wait {
                self.arm(now)?;
            }
            tokio::select! {
                biased;
                ready = self.stream.readable() => { ready?; self.read()?; }
                ready = self.stream.writable(), if blocked => { ready?; }
                ready = self.timer.readable(), if wait => { ready?.clear_ready(); }
            }
        }
    }

    /// Makes all requests that are due and have a free slot; true if the next one only waits for its time.
    fn make_due(&mut self, now: Instant) -> bool {
        let shared = Rc::clone(&self.shared);
        while self.out.len() < UNSENT_MAX && shared.made.get() * shared.batch < shared.count {
            let meant = match shared.interval {
                Some(_) if self.next.1 > now => return !self.free.is_empty(),
                Some(_) => self.next.1,
                None => now,
            };
            let Some(slot) = self.free.pop() else { return false };
            if let Some(interval) = shared.interval {
                self.next.0 += 1;
                let at = (self.next.0 as f64 + self.phase) * interval;
                self.next.1 = shared.start + Duration::from_secs_f64(at);
            }
            self.make(slot, meant, now);
        }
        false
    }

    fn make(&mut self, slot: u32, meant: Instant, now: Instant) {
        let shared = &self.shared;
        if let Some(place) = self.slots.get_mut(slot as usize) {
            *place = Some(meant);
        }
        self.generation = (self.generation + 1) % self.generations_max;
        let opaque = OPAQUE_BASE + self.generation * self.slots.len() as i32 + slot as i32;
        let serial = shared.serial.replace(shared.serial.get() + shared.batch);
        let late = now.saturating_duration_since(meant);
        let stamp = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().saturating_sub(late);
        self.place = (self.place + 1) % (shared.templates.len() * shared.topics);
        let topic = (shared.topics > 1).then_some((self.place % shared.topics) as u32);
        if let Some(template) = shared.templates.get(self.place / shared.topics) {
            self.out.reserve(template.len());
            let due_ms = shared.due.map_or(0, |due| due.of(serial));
            let stamp_ns = shared.due.map_or(stamp.as_nanos() as u64, |_| due_ms * 1_000_000);
            template.write(Patch { topic, opaque, serial, stamp_ns, due_ms }, &mut self.out);
        }
        shared.made.set(shared.made.get() + 1);
    }

    /// Lets the timer run until the next request is due.
    fn arm(&self, now: Instant) -> Result<()> {
        let wait = self.next.1.saturating_duration_since(now).max(Duration::from_nanos(1));
        let at = Timespec { tv_sec: wait.as_secs() as i64, tv_nsec: i64::from(wait.subsec_nanos()) };
        let spec = Itimerspec { it_interval: Timespec { tv_sec: 0, tv_nsec: 0 }, it_value: at };
        rustix::time::timerfd_settime(&self.timer, TimerfdTimerFlags::empty(), &spec)?;
        Ok(())
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
            Ok(0) => bail!("the broker closed it"),
            Ok(_) => {}
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Ok(()),
            Err(e) => return Err(e.into()),
        }
        let now = Instant::now();
        let mut at = 0;
        while let Some(seen) = glance(self.inbox.get(at..).unwrap_or_default())? {
            if seen.is_response {
                self.take_answer(seen.code, seen.opaque, now);
            }
            at += seen.len;
        }
        self.inbox.advance(at);
        Ok(())
    }

    fn take_answer(&mut self, code: i32, opaque: i32, now: Instant) {
        let slot = (opaque - OPAQUE_BASE) as usize % self.slots.len();
        let Some(meant) = self.slots.get_mut(slot).and_then(Option::take) else { return };
        self.free.push(slot as u32);
        let mut measured = self.shared.measured.borrow_mut();
        if code == ResponseCode::SUCCESS.0 {
            let bytes = self.shared.templates.first().map_or(0, |t| t.len() as u64);
            measured.done(now, self.shared.batch, bytes, now.saturating_duration_since(meant));
        } else {
            measured.failed(format!("{:?}", ResponseCode(code)));
        }
    }
}
