//! A blocking connection to a broker.

use anyhow::{Context, Result, bail, ensure};
use bytes::BytesMut;
use kerolox_wire::{Command, ResponseCode, frame};
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

const FRAME_BYTES_MAX: usize = 64 << 20;
const TIMEOUT: Duration = Duration::from_secs(20);

pub(crate) struct Client {
    stream: TcpStream,
    inbox: BytesMut,
    next_opaque: i32,
}

impl Client {
    pub(crate) fn connect(address: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect(address).with_context(|| format!("broker {address}"))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(TIMEOUT))?;
        stream.set_write_timeout(Some(TIMEOUT))?;
        Ok(Self { stream, inbox: BytesMut::new(), next_opaque: 1 })
    }

    /// Sends requests, all in one write; the opaque of the first, the others follow.
    pub(crate) fn send(&mut self, requests: Vec<Command>) -> Result<i32> {
        let first = self.next_opaque;
        let mut out = BytesMut::new();
        for mut request in requests {
            request.opaque = self.next_opaque;
            self.next_opaque += 1;
            frame::encode(&request, &mut out);
        }
        self.stream.write_all(&out)?;
        Ok(first)
    }

    /// How long [`Client::receive_any`] waits.
    pub(crate) fn set_patience(&mut self, patience: Duration) -> Result<()> {
        Ok(self.stream.set_read_timeout(Some(patience))?)
    }

    /// The next answer, or request of the broker's own; `None` if nothing comes.
    pub(crate) fn receive_any(&mut self) -> Result<Option<Command>> {
        loop {
            if let Some(command) = frame::decode(&mut self.inbox, FRAME_BYTES_MAX)? {
                return Ok(Some(command));
            }
            let mut buffer = [0; 64 << 10];
            let count = match self.stream.read(&mut buffer) {
                Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => return Ok(None),
                count => count?,
            };
            ensure!(count > 0, "the broker closed the connection");
            self.inbox.extend_from_slice(buffer.get(..count).unwrap_or_default());
        }
    }

    /// The next answer; requests of the broker's own are passed over.
    pub(crate) fn receive(&mut self) -> Result<Command> {
        loop {
            let command = self.receive_any()?.context("no answer in time")?;
            if command.is_response() {
                return Ok(command);
            }
        }
    }

    /// One request and its answer, whatever it says.
    pub(crate) fn exchange(&mut self, request: Command) -> Result<Command> {
        let opaque = self.send(vec![request])?;
        loop {
            let answer = self.receive()?;
            if answer.opaque == opaque {
                return Ok(answer);
            }
        }
    }

    /// One request and its successful answer.
    pub(crate) fn ask(&mut self, request: Command) -> Result<Command> {
        let answer = self.exchange(request)?;
        if answer.code != ResponseCode::SUCCESS.0 {
            bail!("{:?}: {}", ResponseCode(answer.code), answer.remark.unwrap_or_default());
        }
        Ok(answer)
    }
}
