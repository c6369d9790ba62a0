//! TLS, where a listener offers it: told from plain connections by the first byte, and without IO of its own.

use crate::outbox::Outbox;
use bytes::BytesMut;
use rustls::{ServerConfig, ServerConnection};
use std::cell::RefCell;
use std::io::{self, IoSlice, Read, Write};
use std::sync::Arc;

/// What a listener wants of its connections; Apache's `tls.server.mode`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum TlsPolicy {
    /// No TLS.
    #[default]
    Disabled,
    /// TLS or not, as the client likes.
    Permissive,
    /// TLS.
    Enforcing,
}

/// The first byte of a connection that speaks TLS: a record with a handshake.
const HANDSHAKE: u8 = 0x16;

/// What a listener needs for TLS.
#[derive(Default)]
pub struct Tls {
    policy: TlsPolicy,
    config: RefCell<Option<Arc<ServerConfig>>>,
}

/// What a connection is to be.
pub(crate) enum Mode {
    Plain,
    Refused,
    Tls(Box<Session>),
}

impl Tls {
    pub fn new(policy: TlsPolicy, config: Arc<ServerConfig>) -> Self {
        Self { policy, config: RefCell::new(Some(config)) }
    }

    pub(crate) fn replace(&self, config: Arc<ServerConfig>) {
        *self.config.borrow_mut() = Some(config);
    }

    pub(crate) fn mode(&self, first: Option<u8>) -> Mode {
        match (self.policy, first == Some(HANDSHAKE)) {
            (TlsPolicy::Disabled, _) | (TlsPolicy::Permissive, false) => Mode::Plain,
            (TlsPolicy::Enforcing, false) => Mode::Refused,
            (_, true) => {
                let config = self.config.borrow().clone();
                let session = config.and_then(|config| ServerConnection::new(config).ok());
                session.map_or(Mode::Refused, |session| Mode::Tls(Box::new(Session(session))))
            }
        }
    }
}

/// The TLS of one connection.
pub(crate) struct Session(ServerConnection);

impl Session {
    /// Appends to `inbox` what `raw` says; true at the peer's end. [`Outbox::write_to`] may have to say something for it, after an error
    /// too.
    ///
    /// # Errors
    /// `InvalidData` if it is no TLS, or none that we speak.
    pub(crate) fn read(&mut self, mut raw: &[u8], inbox: &mut BytesMut) -> io::Result<bool> {
        let Self(session) = self;
        while !raw.is_empty() {
            session.read_tls(&mut raw)?;
            let state = session
                .process_new_packets()
                .map_err(|e| io::Error::new(io::ErrorKind::InvalidData, format!("TLS: {e}")))?;
            let before = inbox.len();
            inbox.resize(before + state.plaintext_bytes_to_read(), 0);
            if let Some(room) = inbox.get_mut(before..) {
                session.reader().read_exact(room)?;
            }
            if state.peer_has_closed() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    pub(crate) fn is_handshaking(&self) -> bool {
        self.0.is_handshaking()
    }

    /// Nothing more is said.
    pub(crate) fn close(&mut self) {
        self.0.send_close_notify();
    }

    /// Writes as much of an outbox as `write` takes; true when nothing is left.
    pub(crate) fn write(
        &mut self,
        outbox: &mut Outbox,
        write: impl FnMut(&[IoSlice<'_>]) -> io::Result<usize>,
    ) -> io::Result<bool> {
        let Self(session) = self;
        let mut socket = Socket(write);
        let taken = outbox.write_to(|slices| {
            // What is encrypted goes first, so that there is room.
            flush(session, &mut socket)?;
            session.writer().write_vectored(slices)
        })?;
        match flush(session, &mut socket) {
            Ok(()) => Ok(taken),
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => Ok(false),
            Err(e) => Err(e),
        }
    }
}

fn flush(session: &mut ServerConnection, socket: &mut impl Write) -> io::Result<()> {
    while session.wants_write() {
        session.write_tls(socket)?;
    }
    Ok(())
}

struct Socket<F>(F);

impl<F: FnMut(&[IoSlice<'_>]) -> io::Result<usize>> Write for Socket<F> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        (self.0)(&[IoSlice::new(bytes)])
    }

    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        (self.0)(slices)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
