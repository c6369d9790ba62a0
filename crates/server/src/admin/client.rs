//! A blocking Remoting client: one connection to each server, one request at a time, each with a deadline.

use anyhow::{Context, Result, bail};
use bytes::BytesMut;
use kerolox_wire::{Command, RequestCode, ResponseCode, frame};
use std::collections::HashMap;
use std::fmt;
use std::io::{Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::{Duration, Instant};

/// Longest that connecting to one address may take.
const CONNECT_MAX: Duration = Duration::from_secs(3);
/// Longest answer: the settings of some 500,000 topics.
const ANSWER_BYTES_MAX: usize = 256 << 20;
const READ_BYTES: usize = 256 << 10;

/// A server's answer that says that something was not done.
#[derive(Debug)]
pub(super) struct Refused {
    pub(super) code: ResponseCode,
    server: String,
    request: RequestCode,
    remark: String,
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { code, server, request, remark } = self;
        write!(f, "{server} refused {request:?}: {remark} (code {code:?})")
    }
}

impl std::error::Error for Refused {}

/// Whether an error is a server's refusal with this code.
pub(super) fn is_refusal(error: &anyhow::Error, code: ResponseCode) -> bool {
    error.downcast_ref::<Refused>().is_some_and(|refused| refused.code == code)
}

#[derive(Debug)]
pub(super) struct Client {
    timeout: Duration,
    open: HashMap<String, Connection>,
    /// Servers that could not be reached, and why: nothing waits for them twice.
    lost: HashMap<String, String>,
    opaque: i32,
}

#[derive(Debug)]
struct Connection {
    stream: TcpStream,
    inbox: BytesMut,
}

impl Client {
    /// `timeout`: longest that a request may take.
    pub(super) fn new(timeout: Duration) -> Self {
        Self { timeout, open: HashMap::new(), lost: HashMap::new(), opaque: 0 }
    }

    /// The answer to a request, whatever it is.
    ///
    /// # Errors
    /// The server cannot be reached, closes the connection, or does not answer in time.
    pub(super) fn ask(&mut self, server: &str, request: Command) -> Result<Command> {
        self.ask_within(server, request, self.timeout)
    }

    /// As [`Self::ask`], with a deadline of its own.
    pub(super) fn ask_within(
        &mut self,
        server: &str,
        mut request: Command,
        timeout: Duration,
    ) -> Result<Command> {
        if let Some(why) = self.lost.get(server) {
            bail!("{why}");
        }
        self.opaque = self.opaque.wrapping_add(1);
        request.opaque = self.opaque;
        let code = RequestCode(request.code);
        let mut connection = match self.open.remove(server) {
            Some(connection) => connection,
            None => Connection::open(server, timeout).map_err(|why| {
                let why = format!(
                    "{server} cannot be reached: {why:#}; is the server running, and is this its address?"
                );
                self.lost.insert(server.to_owned(), why.clone());
                anyhow::Error::msg(why)
            })?,
        };
        let answer =
            connection.exchange(&request, timeout).with_context(|| format!("{server}, asked {code:?}"))?;
        self.open.insert(server.to_owned(), connection);
        Ok(answer)
    }

    /// The answer to a request that was done.
    ///
    /// # Errors
    /// As [`Self::ask`], and [`Refused`] for any answer but `SUCCESS`.
    pub(super) fn done(&mut self, server: &str, request: Command) -> Result<Command> {
        let code = RequestCode(request.code);
        let answer = self.ask(server, request)?;
        granted(server, code, answer)
    }
}

/// Lets an answer pass that says `SUCCESS`.
pub(super) fn granted(server: &str, request: RequestCode, answer: Command) -> Result<Command> {
    let code = ResponseCode(answer.code);
    if code == ResponseCode::SUCCESS {
        return Ok(answer);
    }
    let remark = answer.remark.unwrap_or_else(|| "no reason given".to_owned());
    Err(Refused { code, server: server.to_owned(), request, remark }.into())
}

impl Connection {
    fn open(server: &str, timeout: Duration) -> Result<Self> {
        let mut last = None;
        let addresses = server.to_socket_addrs().context("the address must be HOST:PORT")?;
        for address in addresses {
            match TcpStream::connect_timeout(&address, timeout.min(CONNECT_MAX)) {
                Ok(stream) => {
                    stream.set_nodelay(true)?;
                    return Ok(Self { stream, inbox: BytesMut::new() });
                }
                Err(why) => last = Some(why),
            }
        }
        Err(last.map_or_else(|| anyhow::anyhow!("the name has no address"), Into::into))
    }

    fn exchange(&mut self, request: &Command, timeout: Duration) -> Result<Command> {
        let deadline = Instant::now() + timeout;
        let late = || format!("no answer within {} s (--timeout gives more)", timeout.as_secs_f32());
        self.stream.set_write_timeout(Some(timeout))?;
        self.stream.write_all(&frame::to_bytes(request)).context("cannot send the request")?;
        let mut buffer = vec![0; READ_BYTES];
        loop {
            while let Some(command) = frame::decode(&mut self.inbox, ANSWER_BYTES_MAX)? {
                // Servers ask clients, too; an admin has nothing to say to that.
                if command.is_response() && command.opaque == request.opaque {
                    return Ok(command);
                }
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                bail!(late());
            }
            self.stream.set_read_timeout(Some(left))?;
            match self.stream.read(&mut buffer) {
                Ok(0) => bail!("the server closed the connection"),
                Ok(count) => self.inbox.extend_from_slice(buffer.get(..count).unwrap_or_default()),
                Err(why) if why.kind() == std::io::ErrorKind::Interrupted => {}
                Err(why)
                    if matches!(
                        why.kind(),
                        std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut
                    ) =>
                {
                    bail!(late())
                }
                Err(why) => return Err(why).context("the connection broke"),
            }
        }
    }
}
