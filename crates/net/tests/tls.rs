//! TLS and plain connections on one port, with another implementation's client side.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

use bytes::BytesMut;
use kerolox_net::rustls::pki_types::{PrivateKeyDer, ServerName};
use kerolox_net::rustls::{ClientConfig, ClientConnection, RootCertStore, ServerConfig, Stream};
use kerolox_net::{Closed, ConnId, Connections, Handler, Limits, Tls, TlsPolicy, listen};
use kerolox_wire::{Command, frame};
use std::cell::RefCell;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

struct Echo {
    connections: Rc<Connections>,
    closed: RefCell<Vec<Closed>>,
}

impl Handler for Echo {
    type Piece = Command;

    fn connected(&self, _: ConnId, _: SocketAddr) {}
    fn batch(&self, conn: ConnId, commands: &mut Vec<Command>) {
        for command in commands.drain(..) {
            self.connections.send(conn, &command.respond(0).with_body(command.body.clone()));
        }
        self.connections.flush();
    }
    fn closed(&self, _: ConnId, _: SocketAddr, why: Closed) {
        self.closed.borrow_mut().push(why);
    }
    fn refused(&self, why: String) {
        panic!("{why}");
    }
}

fn certificate() -> (Arc<ServerConfig>, Arc<ClientConfig>) {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let certificate = made.cert.der().clone();
    let mut roots = RootCertStore::empty();
    roots.add(certificate.clone()).unwrap();
    let client = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    let server =
        ServerConfig::builder().with_no_client_auth().with_single_cert(vec![certificate], key).unwrap();
    (Arc::new(server), Arc::new(client))
}

/// Serves until `test`, on a thread of its own, is over; why connections were closed meanwhile.
fn serve(
    tls: Tls,
    test: impl FnOnce(SocketAddr) + Send + 'static,
    while_it_runs: impl Fn(&Connections),
) -> Vec<Closed> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    tokio::task::LocalSet::new().block_on(&runtime, async {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let connections = Connections::with_tls(Limits::default(), tls);
        let handler = Rc::new(Echo { connections: Rc::clone(&connections), closed: RefCell::default() });
        tokio::task::spawn_local(listen(listener, Rc::clone(&connections), Rc::clone(&handler)));
        let test = std::thread::spawn(move || test(address));
        while !test.is_finished() || !connections.is_empty() {
            while_it_runs(&connections);
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        test.join().unwrap();
        handler.closed.take()
    })
}

fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    stream
}

fn echoed(stream: &mut (impl Read + Write), bytes: usize) -> io::Result<()> {
    let request = Command::request(1).with_body(vec![bytes as u8; bytes]);
    stream.write_all(&frame::to_bytes(&request))?;
    let (mut inbox, mut piece) = (BytesMut::new(), vec![0; 64 << 10]);
    loop {
        let count = stream.read(&mut piece)?;
        if count == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        inbox.extend_from_slice(&piece[..count]);
        if let Some(answer) = frame::decode(&mut inbox, 16 << 20).unwrap() {
            assert!(answer.body == request.body);
            return Ok(());
        }
    }
}

fn with_tls(address: SocketAddr, client: &Arc<ClientConfig>, bytes: &[usize]) -> io::Result<()> {
    let name = ServerName::try_from("localhost").unwrap();
    let mut session = ClientConnection::new(Arc::clone(client), name).unwrap();
    let mut socket = connect(address);
    let mut stream = Stream::new(&mut session, &mut socket);
    bytes.iter().try_for_each(|bytes| echoed(&mut stream, *bytes))
}

#[test]
fn one_port_takes_both() {
    let (server, client) = certificate();
    let test = move |address| {
        for _ in 0..3 {
            echoed(&mut connect(address), 100).unwrap();
            with_tls(address, &client, &[0, 100, 3 << 20, 1, 70_000]).unwrap();
        }
    };
    serve(Tls::new(TlsPolicy::Permissive, server), test, |_| ());
}

#[test]
fn a_port_may_want_tls() {
    let (server, client) = certificate();
    let test = move |address| {
        assert!(echoed(&mut connect(address), 100).is_err());
        with_tls(address, &client, &[100]).unwrap();
    };
    let closed = serve(Tls::new(TlsPolicy::Enforcing, server), test, |_| ());
    assert_eq!(closed[0], Closed::Malformed("without TLS, which this port wants".to_owned()));
}

#[test]
fn what_only_begins_like_tls_is_closed_and_others_go_on() {
    let (server, client) = certificate();
    let test = move |address| {
        let mut stream = connect(address);
        stream.write_all(&[0x16, 3, 1, 0, 5, 1, 0, 0, 1, 9]).unwrap();
        let mut answer = Vec::new();
        // An alert, and the end.
        let _ = stream.read_to_end(&mut answer);
        assert_eq!(answer.first(), Some(&0x15));
        with_tls(address, &client, &[100]).unwrap();
        // Half a hello is no harm either.
        connect(address).write_all(&[0x16, 3, 1]).unwrap();
    };
    let closed = serve(Tls::new(TlsPolicy::Permissive, server), test, |_| ());
    assert!(matches!(&closed[0], Closed::Malformed(why) if why.starts_with("TLS: ")), "{closed:?}");
}

#[test]
fn certificates_can_be_replaced_while_connections_are_open() {
    let ((first, old), (second, new)) = (certificate(), certificate());
    let (replace, replaced) = std::sync::mpsc::channel();
    let test = move |address| {
        let name = ServerName::try_from("localhost").unwrap();
        let mut session = ClientConnection::new(Arc::clone(&old), name).unwrap();
        let mut socket = connect(address);
        let mut stream = Stream::new(&mut session, &mut socket);
        echoed(&mut stream, 10).unwrap();
        replace.send(()).unwrap();
        let begun = std::time::Instant::now();
        while with_tls(address, &new, &[10]).is_err() {
            assert!(begun.elapsed() < Duration::from_secs(30), "the new certificate is not used");
        }
        assert!(with_tls(address, &old, &[10]).is_err());
        echoed(&mut stream, 10).unwrap();
    };
    let tls = Tls::new(TlsPolicy::Permissive, first);
    serve(tls, test, |connections| {
        if replaced.try_recv().is_ok() {
            connections.replace_certificate(Arc::clone(&second));
        }
    });
}
