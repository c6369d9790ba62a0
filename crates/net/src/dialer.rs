//! The other side: requests over one connection to a server.

use bytes::BytesMut;
use kerolox_wire::Command;
use kerolox_wire::frame::{self, FRAME_BYTES_MAX};
use std::collections::HashMap;
use std::io;
use std::sync::atomic::{AtomicI32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpStream, ToSocketAddrs};
use tokio::sync::{mpsc, oneshot};

/// Requests that wait to be written, above which [`Dialed::request`] waits.
const QUEUED_MAX: usize = 1024;
/// Requests of the server's own that wait to be looked at, above which nothing more is read.
const INCOMING_MAX: usize = 1024;

/// Why a request got no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DialError {
    #[error("cannot connect: {0}")]
    Connect(String),
    #[error("no answer within {} ms", .0.as_millis())]
    Timeout(Duration),
    #[error("the connection is closed")]
    Closed,
}

type Waiting = Arc<Mutex<Option<HashMap<i32, oneshot::Sender<Command>>>>>;

/// An open connection to a server. Closed when it is dropped.
pub struct Dialed {
    outgoing: mpsc::Sender<Command>,
    /// `None` once the connection is closed.
    waiting: Waiting,
    next_opaque: AtomicI32,
    task: tokio::task::AbortHandle,
}

impl Dialed {
    /// Connects. The receiver yields requests that the server makes of its own (it may be dropped).
    ///
    /// # Errors
    /// [`DialError::Connect`] (names that cannot be resolved included) or [`DialError::Timeout`].
    pub async fn connect(
        address: impl ToSocketAddrs,
        timeout: Duration,
    ) -> Result<(Self, mpsc::Receiver<Command>), DialError> {
        let stream = tokio::time::timeout(timeout, TcpStream::connect(address))
            .await
            .map_err(|_| DialError::Timeout(timeout))?
            .map_err(|e| DialError::Connect(e.to_string()))?;
        // Costs latency only if it fails; the connection works without.
        let _ = stream.set_nodelay(true);
        let (read, write) = stream.into_split();
        let (outgoing, queue) = mpsc::channel(QUEUED_MAX);
        let (incoming, requests) = mpsc::channel(INCOMING_MAX);
        let waiting: Waiting = Arc::new(Mutex::new(Some(HashMap::new())));
        let task = tokio::spawn(exchange(read, write, queue, incoming, Arc::clone(&waiting))).abort_handle();
        Ok((Self { outgoing, waiting, next_opaque: AtomicI32::new(1), task }, requests))
    }

    /// Sends a request (its `opaque` is chosen here) and waits for its response.
    ///
    /// # Errors
    /// [`DialError::Timeout`] or [`DialError::Closed`].
    pub async fn request(&self, mut command: Command, timeout: Duration) -> Result<Command, DialError> {
        command.opaque = self.next_opaque.fetch_add(1, Ordering::Relaxed);
        let opaque = command.opaque;
        let (answer, response) = oneshot::channel();
        match &mut *lock(&self.waiting) {
            Some(waiting) => drop(waiting.insert(opaque, answer)),
            None => return Err(DialError::Closed),
        }
        let exchange = async {
            self.outgoing.send(command).await.map_err(|_| DialError::Closed)?;
            response.await.map_err(|_| DialError::Closed)
        };
        let result =
            tokio::time::timeout(timeout, exchange).await.unwrap_or(Err(DialError::Timeout(timeout)));
        if result.is_err()
            && let Some(waiting) = &mut *lock(&self.waiting)
        {
            waiting.remove(&opaque);
        }
        result
    }

    /// Sends a command and waits for nothing: a one-way request, or the response to a request of the server's.
    ///
    /// # Errors
    /// [`DialError::Closed`].
    pub async fn send(&self, command: Command) -> Result<(), DialError> {
        self.outgoing.send(command).await.map_err(|_| DialError::Closed)
    }

    /// Whether the connection is closed.
    pub fn is_closed(&self) -> bool {
        lock(&self.waiting).is_none()
    }

    /// Until the connection is closed.
    pub async fn closed(&self) {
        self.outgoing.closed().await;
    }
}

impl Drop for Dialed {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    // Nothing panics while it holds this lock; if it did, the map would still be whole.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn exchange(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    mut queue: mpsc::Receiver<Command>,
    incoming: mpsc::Sender<Command>,
    waiting: Waiting,
) {
    tokio::select! {
        () = write_all(&mut to, &mut queue) => {}
        _ = read_frames(&mut from, &incoming, &waiting) => {}
    }
    // Dropping the senders tells every waiter.
    lock(&waiting).take();
}

async fn write_all(to: &mut OwnedWriteHalf, queue: &mut mpsc::Receiver<Command>) {
    let mut buffer = BytesMut::new();
    while let Some(command) = queue.recv().await {
        frame::encode(&command, &mut buffer);
        while let Ok(command) = queue.try_recv() {
            frame::encode(&command, &mut buffer);
        }
        if to.write_all_buf(&mut buffer).await.is_err() {
            break;
        }
    }
}

async fn read_frames(
    from: &mut OwnedReadHalf,
    incoming: &mpsc::Sender<Command>,
    waiting: &Waiting,
) -> io::Result<()> {
    let mut buffer = BytesMut::with_capacity(16 << 10);
    loop {
        if from.read_buf(&mut buffer).await? == 0 {
            return Ok(());
        }
        while let Some(command) = frame::decode(&mut buffer, FRAME_BYTES_MAX).map_err(io::Error::other)? {
            if command.is_response() {
                let waiter = lock(waiting).as_mut().and_then(|w| w.remove(&command.opaque));
                if let Some(waiter) = waiter {
                    // One that gave up is not told.
                    drop(waiter.send(command));
                }
            } else {
                // Nobody listens: nobody wants to know.
                let _ = incoming.send(command).await;
            }
        }
    }
}
