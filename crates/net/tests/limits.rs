//! A listener at each of its limits, over real sockets.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

use kerolox_net::{Closed, ConnId, Connections, DialError, Dialed, Handler, Limits, listen};
use kerolox_wire::{Command, frame};
use std::cell::RefCell;
use std::future::Future;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

/// Code 1: echo the body. Code 2: never answered. Code 3: answered with as many bytes as `flag` says, eight times.
/// Code 4: answer and close. Code 5: answered with 512 KiB, one at a time as long as the peer takes them.
struct Echo {
    connections: Rc<Connections>,
    closed: mpsc::UnboundedSender<Closed>,
    refused: mpsc::UnboundedSender<String>,
    batches: RefCell<Vec<usize>>,
}

impl Handler for Echo {
    type Piece = Command;

    fn connected(&self, _: ConnId, _: SocketAddr) {}
    fn batch(&self, conn: ConnId, commands: &mut Vec<Command>) {
        self.batches.borrow_mut().push(commands.len());
        while commands.first().is_some_and(|command| command.code == 5) {
            if self.connections.is_overloaded(conn) {
                return;
            }
            self.connections.send(conn, &commands.remove(0).respond(0).with_body(vec![7; 512 << 10]));
            self.connections.flush();
        }
        for command in commands.drain(..) {
            match command.code {
                1 => drop(self.connections.send(conn, &command.respond(0).with_body(command.body.clone()))),
                3 => {
                    for _ in 0..8 {
                        let answer = command.respond(0).with_body(vec![7; command.body.len()]);
                        self.connections.send(conn, &answer);
                    }
                }
                4 => {
                    self.connections.send(conn, &command.respond(0));
                    self.connections.close(conn);
                }
                _ => {}
            }
        }
        self.connections.flush();
    }
    fn closed(&self, _: ConnId, _: SocketAddr, why: Closed) {
        let _ = self.closed.send(why);
    }
    fn refused(&self, why: String) {
        let _ = self.refused.send(why);
    }
}

struct World {
    address: SocketAddr,
    handler: Rc<Echo>,
    closed: mpsc::UnboundedReceiver<Closed>,
    refused: mpsc::UnboundedReceiver<String>,
}

fn run<F: Future<Output = ()>>(limits: Limits, test: impl FnOnce(World) -> F) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let local = tokio::task::LocalSet::new();
    local.block_on(&runtime, async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (closed_tx, closed) = mpsc::unbounded_channel();
        let (refused_tx, refused) = mpsc::unbounded_channel();
        let connections = Connections::new(limits);
        let handler = Rc::new(Echo {
            connections: Rc::clone(&connections),
            closed: closed_tx,
            refused: refused_tx,
            batches: RefCell::default(),
        });
        tokio::task::spawn_local(listen(listener, connections, Rc::clone(&handler)));
        let world = World { address, handler, closed, refused };
        tokio::time::timeout(Duration::from_secs(60), test(world)).await.expect("the test hangs");
    });
}

async fn dial(address: SocketAddr) -> Dialed {
    Dialed::connect(address, Duration::from_secs(5)).await.unwrap().0
}

async fn echo(dialed: &Dialed, body: Vec<u8>) {
    let request = Command::request(1).with_body(body.clone());
    let answer = dialed.request(request, Duration::from_secs(10)).await.unwrap();
    assert_eq!(answer.body, body);
}

#[test]
fn frames_of_one_write_are_one_batch_and_answered_in_order() {
    run(Limits::default(), |world| async move {
        let mut stream = TcpStream::connect(world.address).await.unwrap();
        let mut bytes = bytes::BytesMut::new();
        for opaque in 0..50 {
            let command = Command { opaque, ..Command::request(1).with_body(vec![opaque as u8; 100]) };
            frame::encode(&command, &mut bytes);
        }
        stream.write_all(&bytes).await.unwrap();
        let mut got = bytes::BytesMut::new();
        for opaque in 0..50 {
            let answer = loop {
                if let Some(answer) = frame::decode(&mut got, 1 << 20).unwrap() {
                    break answer;
                }
                assert_ne!(stream.read_buf(&mut got).await.unwrap(), 0);
            };
            assert_eq!((answer.opaque, answer.body.len()), (opaque, 100));
        }
        assert_eq!(world.handler.batches.borrow()[..], [50]);
    });
}

/// Found by a flood of the largest frames: while there was more of one, the runtime let its task read on.
#[test]
fn short_requests_do_not_wait_for_the_end_of_a_large_one() {
    use std::io::Write;
    let limits = Limits { read_bytes: 16 << 10, ..Limits::default() };
    run(limits, |world| async move {
        let frames = |body: usize, times| {
            let mut bytes = bytes::BytesMut::new();
            frame::encode(&Command::request(1).with_body(vec![1; body]), &mut bytes);
            bytes.repeat(times)
        };
        let mut large = std::net::TcpStream::connect(world.address).unwrap();
        let mut short = std::net::TcpStream::connect(world.address).unwrap();
        let connections = &world.handler.connections;
        while connections.len() < 2 {
            tokio::task::yield_now().await;
        }
        // Nobody reads while this task does not wait.
        large.write_all(&frames(60_000, 1)).unwrap();
        short.write_all(&frames(10, 2)).unwrap();
        while world.handler.batches.borrow().len() < 2 {
            tokio::task::yield_now().await;
        }
        assert_eq!(world.handler.batches.borrow()[..], [2, 1], "the two short ones first");
    });
}

#[test]
fn large_bodies_go_through_both_ways() {
    run(Limits::default(), |world| async move {
        let dialed = dial(world.address).await;
        for size in [0, 1, 16 << 10, 1 << 20, 8 << 20] {
            echo(&dialed, (0..size).map(|i| i as u8).collect()).await;
        }
    });
}

#[test]
fn garbage_and_oversized_frames_close_only_their_own_connection() {
    run(Limits { frame_bytes_max: 1 << 20, ..Limits::default() }, |mut world| async move {
        let good = dial(world.address).await;
        echo(&good, vec![1]).await;
        for (bytes, why) in [
            (&b"GET / HTTP/1.1\r\n\r\n"[..], "frame of 1195725856 bytes exceeds the limit of 1048576"),
            (&[0, 0x10, 0, 1, 0, 0, 0, 0][..], "frame of 1048577 bytes exceeds the limit of 1048576"),
            (&[0, 0, 0, 2, 0, 0][..], "frame of 2 bytes is shorter than its own header mark"),
            (&[0, 0, 0, 4, 9, 0, 0, 0][..], "header encoding 9 is neither JSON (0) nor ROCKETMQ (1)"),
        ] {
            let mut bad = TcpStream::connect(world.address).await.unwrap();
            bad.write_all(bytes).await.unwrap();
            assert_eq!(bad.read(&mut [0; 1]).await.unwrap_or(0), 0, "must be closed");
            assert_eq!(world.closed.recv().await.unwrap(), Closed::Malformed(why.to_owned()));
        }
        echo(&good, vec![2]).await;
    });
}

#[test]
fn what_came_before_garbage_is_still_answered() {
    run(Limits::default(), |mut world| async move {
        let mut stream = TcpStream::connect(world.address).await.unwrap();
        let good = frame::to_bytes(&Command::request(1).with_body("x"));
        stream.write_all(&[&good[..], &[0xff; 8][..]].concat()).await.unwrap();
        let mut got = bytes::BytesMut::new();
        while stream.read_buf(&mut got).await.unwrap_or(0) > 0 {}
        assert_eq!(frame::decode(&mut got, 1 << 20).unwrap().unwrap().body, "x");
        assert!(matches!(world.closed.recv().await.unwrap(), Closed::Malformed(_)));
    });
}

#[test]
fn half_a_frame_has_its_time_and_no_more() {
    run(Limits { frame_s_max: 1, ..Limits::default() }, |mut world| async move {
        let idle = dial(world.address).await;
        let mut stream = TcpStream::connect(world.address).await.unwrap();
        let whole = frame::to_bytes(&Command::request(1).with_body(vec![0; 1000]));
        stream.write_all(&whole[..10]).await.unwrap();
        // A byte now and then does not buy time. (The socket may tell of the end before the server does.)
        let mut bytes = whole[10..].iter();
        let why = loop {
            match world.closed.try_recv() {
                Ok(why) => break why,
                Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
            }
            let byte = bytes.next().expect("a trickling frame was never cut off");
            if stream.write_all(&[*byte]).await.is_err() {
                break world.closed.recv().await.unwrap();
            }
        };
        assert_eq!(why, Closed::SlowFrame(1));
        echo(&idle, vec![3]).await; // without a partial frame one may be silent
    });
}

#[test]
fn silence_ends_at_the_idle_limit() {
    run(Limits { idle_s_max: 1, ..Limits::default() }, |mut world| async move {
        let _idle = dial(world.address).await;
        assert_eq!(world.closed.recv().await.unwrap(), Closed::Idle(1));
    });
}

#[test]
fn a_peer_that_does_not_read_is_closed_and_others_go_on() {
    let limits = Limits { outbox_bytes_max: 32 << 20, slow_s_max: 1, ..Limits::default() };
    run(limits, |mut world| async move {
        let good = dial(world.address).await;
        let mut slow = TcpStream::connect(world.address).await.unwrap();
        let ask = frame::to_bytes(&Command::request(3).with_body(vec![0; 6 << 20]));
        slow.write_all(&ask).await.unwrap();
        let why = world.closed.recv().await.unwrap();
        assert!(matches!(why, Closed::SlowReader { unsent, seconds: 1 } if unsent > 32 << 20), "{why}");
        echo(&good, vec![4; 100]).await;
    });
}

/// Nothing was read from it any more, and so it was never idle: not even the server's own close ended it.
#[test]
fn a_peer_that_stopped_reading_below_the_limit_is_closed_when_it_would_be_idle_or_is_to_go() {
    for is_to_go in [false, true] {
        let (idle_s_max, slow_s_max) = if is_to_go { (100, 1) } else { (1, 100) };
        run(Limits { idle_s_max, slow_s_max, ..Limits::default() }, |mut world| async move {
            let mut slow = TcpStream::connect(world.address).await.unwrap();
            let ask = frame::to_bytes(&Command::request(3).with_body(vec![0; 6 << 20]));
            slow.write_all(&ask).await.unwrap();
            let connections = &world.handler.connections;
            while connections.unsent() == 0 {
                tokio::task::yield_now().await;
            }
            if is_to_go {
                connections.close_all();
            }
            let why = world.closed.recv().await.unwrap();
            assert!(matches!(why, Closed::SlowReader { unsent, seconds: 1 } if unsent > 8 << 20), "{why}");
        });
    }
}

#[test]
fn a_full_outbox_stops_reading_until_it_is_taken() {
    let limits = Limits { outbox_bytes_pause: 1 << 20, ..Limits::default() };
    run(limits, |world| async move {
        let mut slow = TcpStream::connect(world.address).await.unwrap();
        let ask = frame::to_bytes(&Command::request(1).with_body(vec![0; 1 << 20]));
        let (mut from, mut to) = slow.split();
        let count = 40; // more than the limit of 64 MiB would allow if reading went on without regard
        let send = async {
            for _ in 0..count * 2 {
                to.write_all(&ask).await.unwrap();
            }
        };
        let receive = async {
            tokio::time::sleep(Duration::from_millis(300)).await;
            assert!(world.handler.connections.unsent() < 16 << 20);
            let mut got = bytes::BytesMut::new();
            for _ in 0..count * 2 {
                while frame::decode(&mut got, 2 << 20).unwrap().is_none() {
                    assert_ne!(from.read_buf(&mut got).await.unwrap(), 0);
                }
            }
        };
        tokio::join!(send, receive);
    });
}

/// A read full of short requests with long answers had all of these made at once: gigabytes, and then the connection
/// closed, although its peer reads.
#[test]
fn short_requests_with_long_answers_wait_for_the_peer() {
    let limits = Limits { outbox_bytes_pause: 1 << 20, outbox_bytes_max: 8 << 20, ..Limits::default() };
    run(limits, |mut world| async move {
        let mut stream = TcpStream::connect(world.address).await.unwrap();
        let mut asks = bytes::BytesMut::new();
        for opaque in 0..200 {
            frame::encode(&Command { opaque, ..Command::request(5) }, &mut asks);
        }
        stream.write_all(&asks).await.unwrap();
        let mut got = bytes::BytesMut::new();
        for opaque in 0..200 {
            let answer = loop {
                if let Some(answer) = frame::decode(&mut got, 1 << 20).unwrap() {
                    break answer;
                }
                assert!(world.handler.connections.unsent() <= 2 << 20);
                assert_ne!(stream.read_buf(&mut got).await.unwrap(), 0);
            };
            assert_eq!((answer.opaque, answer.body.len()), (opaque, 512 << 10));
        }
        assert!(world.closed.try_recv().is_err());
    });
}

/// A peer that reads, only not as fast as it asks, was closed at the limit of unsent bytes.
#[test]
fn a_peer_that_reads_slowly_gets_all_it_asked_for() {
    let limits = Limits { outbox_bytes_max: 1 << 20, slow_s_max: 1, ..Limits::default() };
    run(limits, |mut world| async move {
        let mut slow = TcpStream::connect(world.address).await.unwrap();
        // One request with 48 MiB of answers: more than the kernel takes over.
        slow.write_all(&frame::to_bytes(&Command::request(3).with_body(vec![0; 6 << 20]))).await.unwrap();
        let mut got = bytes::BytesMut::with_capacity(8 << 20);
        let mut answers = 0;
        while answers < 8 {
            let mut part = vec![0; 512 << 10];
            let n = slow.read(&mut part).await.unwrap();
            assert_ne!(n, 0, "closed: {:?}", world.closed.try_recv());
            got.extend_from_slice(&part[..n]);
            answers += usize::from(frame::decode(&mut got, 8 << 20).unwrap().is_some());
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
        assert!(world.closed.try_recv().is_err());
    });
}

/// What was left of a read behind a large frame kept that frame's memory, and counted for what it was itself: a hundred
/// connections held 1.6 GiB that nobody saw.
#[test]
fn what_is_left_behind_a_large_frame_does_not_keep_its_memory() {
    run(Limits { memory_bytes_max: 256 << 20, ..Limits::default() }, |mut world| async move {
        let large = frame::to_bytes(&Command::request(1).oneway().with_body(vec![0; 2 << 20]));
        let mut connections = Vec::new();
        for _ in 0..40 {
            let mut stream = TcpStream::connect(world.address).await.unwrap();
            stream.write_all(&[&large[..], &large[..5_000]].concat()).await.unwrap();
            connections.push(stream);
        }
        let read = || world.handler.batches.borrow().iter().sum::<usize>();
        while read() < 40 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        assert!(world.handler.connections.held() < 2 << 20, "{}", world.handler.connections.held());
        assert!(world.closed.try_recv().is_err());
    });
}

/// Each connection was within its own limits, and many of them together took all memory.
#[test]
fn of_many_that_hold_memory_the_largest_goes() {
    run(Limits { memory_bytes_max: 13 << 20, ..Limits::default() }, |mut world| async move {
        let good = dial(world.address).await;
        let whole = frame::to_bytes(&Command::request(1).with_body(vec![0; 12 << 20]));
        let mut halves = Vec::new();
        for _ in 0..3 {
            let mut half = TcpStream::connect(world.address).await.unwrap();
            half.write_all(&whole[..2 << 20]).await.unwrap();
            halves.push(half);
        }
        // They are within the limit until the last one grows. (It may be closed while it is being written to.)
        let _ = halves[2].write_all(&whole[2 << 20..11 << 20]).await;
        let why = world.closed.recv().await.unwrap();
        assert!(
            matches!(why, Closed::Memory { held, limit } if held > 4 << 20 && limit == 13 << 20),
            "{why}"
        );
        echo(&good, vec![6; 1 << 20]).await;
        // A peer that does not take its answers is found in the same way.
        let mut slow = TcpStream::connect(world.address).await.unwrap();
        let ask = frame::to_bytes(&Command::request(3).with_body(vec![0; 1 << 20]));
        slow.write_all(&[&ask[..], &ask[..]].concat()).await.unwrap();
        let why = world.closed.recv().await.unwrap();
        assert!(matches!(why, Closed::Memory { held, .. } if held > 3 << 20), "{why}");
        echo(&good, vec![7; 1 << 20]).await;
        assert!(world.closed.try_recv().is_err());
    });
}

#[test]
fn too_many_unanswered_requests_stop_reading() {
    run(Limits { parked_max: 100, ..Limits::default() }, |world| async move {
        let dialed = dial(world.address).await;
        for _ in 0..30 {
            let parked = (0..10).map(|_| dialed.send(Command::request(2)));
            for send in parked {
                send.await.unwrap();
            }
            // Each batch arrives by itself.
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        let after = dialed.request(Command::request(1), Duration::from_millis(300)).await;
        assert_eq!(after, Err(DialError::Timeout(Duration::from_millis(300))));
        let read: usize = world.handler.batches.borrow().iter().sum();
        assert!((101..301).contains(&read), "{read} were read");
        echo(&dial(world.address).await, vec![5]).await;
    });
}

#[test]
fn one_connection_too_many_is_refused() {
    run(Limits { connections_max: 2, ..Limits::default() }, |mut world| async move {
        let first = dial(world.address).await;
        let second = dial(world.address).await;
        echo(&first, vec![1]).await;
        let mut third = TcpStream::connect(world.address).await.unwrap();
        assert_eq!(third.read(&mut [0; 1]).await.unwrap_or(0), 0);
        let why = world.refused.recv().await.unwrap();
        assert!(why.ends_with("refused: 2 are open, which is the limit"), "{why}");
        echo(&second, vec![2]).await;
        drop(first);
        assert_eq!(world.closed.recv().await.unwrap(), Closed::ByPeer);
        echo(&dial(world.address).await, vec![3]).await;
    });
}

#[test]
fn a_closed_connection_has_had_its_answer() {
    run(Limits::default(), |mut world| async move {
        let dialed = dial(world.address).await;
        let answer = dialed.request(Command::request(4), Duration::from_secs(5)).await.unwrap();
        assert_eq!(answer.code, 0);
        assert_eq!(world.closed.recv().await.unwrap(), Closed::ByServer);
        let after = dialed.request(Command::request(1), Duration::from_secs(5)).await;
        assert_eq!(after, Err(DialError::Closed));
        assert!(dialed.is_closed());
        assert!(world.handler.connections.is_empty());
    });
}

#[test]
fn who_dialed_is_told_of_the_end() {
    run(Limits::default(), |world| async move {
        let dialed = dial(world.address).await;
        echo(&dialed, vec![1]).await;
        world.handler.connections.close_all();
        dialed.closed().await;
        assert!(dialed.is_closed());
    });
}

#[test]
fn a_dead_address_is_an_error_not_a_wait() {
    run(Limits::default(), |_| async move {
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let error = Dialed::connect(free, Duration::from_secs(5)).await.err().unwrap();
        assert!(matches!(&error, DialError::Connect(why) if why.contains("refused")), "{error}");
    });
}
