//! The real binary as a child process, and a raw connection to it.
#![allow(dead_code, clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

use bytes::BytesMut;
use kerolox_wire::header::SendMessage;
use kerolox_wire::{Command, RequestCode, frame};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Output, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

pub(crate) const BINARY: &str = env!("CARGO_BIN_EXE_kerolox");
const NAMESRV_PORT: u16 = 9_876;
const BROKER_PORT: u16 = 10_911;
const GRPC_PORT: u16 = 8_081;
/// Long enough for the slowest machine, short enough to end a test that hangs.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// A folder of this test's own, removed at the end.
pub(crate) struct Folder(PathBuf);

impl Folder {
    pub(crate) fn new(name: &str) -> Self {
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    pub(crate) fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path(name);
        std::fs::write(&path, text).unwrap();
        path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A port offset at which all ports are free, and not among those (from 32,768 on) that outgoing connections take.
pub(crate) fn free_offset() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    loop {
        let step = NEXT.fetch_add(1, Ordering::Relaxed);
        let offset = 11_000 + ((std::process::id() as u16).wrapping_mul(61) % 9_000) + step;
        let free = |port: u16| TcpListener::bind(("127.0.0.1", port + offset)).is_ok();
        if free(NAMESRV_PORT) && free(BROKER_PORT) && free(GRPC_PORT) {
            return offset;
        }
    }
}

pub(crate) fn broker_address(offset: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], BROKER_PORT + offset))
}

pub(crate) fn grpc_address(offset: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], GRPC_PORT + offset))
}

pub(crate) fn namesrv_address(offset: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], NAMESRV_PORT + offset))
}

/// A file system of a few megabytes, mounted for one process alone: the command that runs `then` there, with the mount's
/// folder as `$1` and the binary as `$2`. `None`, with a line, where this user may not mount.
pub(crate) fn small_disk(folder: &Folder, megabytes: u32, then: &str) -> Option<std::process::Command> {
    let mount = folder.path("mount");
    std::fs::create_dir_all(&mount).unwrap();
    let script = |then: &str| {
        let mut command = std::process::Command::new("unshare");
        let script = format!("mount -t tmpfs -o size={megabytes}m tmpfs \"$1\" && {then}");
        command.args(["-rm", "sh", "-c", &script, "sh", mount.to_str().unwrap(), BINARY]);
        command
    };
    let possible = script("true").output().is_ok_and(|o| o.status.success());
    if !possible {
        eprintln!("!! not tested: this user may not mount a file system");
    }
    possible.then(|| script(then))
}

/// Runs the binary to its end.
pub(crate) fn run(args: &[&str]) -> Output {
    std::process::Command::new(BINARY).args(args).env_remove("NAMESRV_ADDR").output().unwrap()
}

/// The one line on standard error of a start that must fail with this exit code.
pub(crate) fn refusal(args: &[&str], exit_code: i32) -> String {
    let output = run(args);
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(exit_code), "{stderr}");
    assert_eq!(stderr.lines().count(), 1, "more than one line: {stderr}");
    assert_eq!(String::from_utf8(output.stdout).unwrap(), "");
    stderr.trim_end().to_owned()
}

/// A process that said that it is ready.
pub(crate) struct Kerolox {
    child: Child,
    pub(crate) ready: String,
    pub(crate) offset: u16,
    stdout: Receiver<String>,
    stderr: Receiver<String>,
}

impl Kerolox {
    pub(crate) fn start(data: &Path) -> Self {
        Self::spawn(|offset| {
            let mut command = std::process::Command::new(BINARY);
            command.args(["--port-offset", &offset.to_string(), "--data"]).arg(data);
            command
        })
    }

    /// Starts what `command` makes of a port offset; anew where somebody took a port in the meantime.
    pub(crate) fn spawn(command: impl Fn(u16) -> std::process::Command) -> Self {
        for _ in 0..10 {
            let offset = free_offset();
            match Self::try_spawn(command(offset), offset) {
                Err(why) if why.contains("Address already in use") => {}
                started => return started.unwrap(),
            }
        }
        panic!("no free ports");
    }

    /// Starts a command that uses this port offset.
    pub(crate) fn try_spawn(mut command: std::process::Command, offset: u16) -> Result<Self, String> {
        let mut child = command
            .env_remove("NAMESRV_ADDR")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let stdout = lines(child.stdout.take().unwrap());
        let stderr = lines(child.stderr.take().unwrap());
        match stdout.recv_timeout(PATIENCE) {
            Ok(ready) => Ok(Self { child, ready, offset, stdout, stderr }),
            Err(_) => {
                let _ = child.kill();
                let _ = child.wait();
                Err(format!("not ready: {:?}", stderr.iter().collect::<Vec<_>>()))
            }
        }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn broker(&self) -> SocketAddr {
        broker_address(self.offset)
    }

    pub(crate) fn grpc(&self) -> SocketAddr {
        grpc_address(self.offset)
    }

    pub(crate) fn namesrv(&self) -> SocketAddr {
        namesrv_address(self.offset)
    }

    pub(crate) fn signal(&self, name: &str) {
        let status =
            std::process::Command::new("kill").args([name, &self.pid().to_string()]).status().unwrap();
        assert!(status.success());
    }

    /// The next line on standard error.
    pub(crate) fn says(&self) -> Option<String> {
        self.stderr.recv_timeout(PATIENCE).ok()
    }

    /// Waits for the end: exit code and what was said on standard error that was not read yet.
    pub(crate) fn wait(mut self) -> (Option<i32>, Vec<String>) {
        let begun = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return (status.code(), self.stderr.iter().collect());
            }
            assert!(begun.elapsed() < PATIENCE, "does not end: {:?}", self.stderr.try_iter().last());
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// SIGTERM, a clean end.
    pub(crate) fn end(self) {
        self.signal("-TERM");
        let (code, said) = self.wait();
        assert_eq!(code, Some(0), "{said:?}");
    }
}

impl Drop for Kerolox {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("the process said: {:#?}", self.stderr.iter().collect::<Vec<_>>());
        }
    }
}

fn lines(from: impl Read + Send + 'static) -> Receiver<String> {
    let (send, receive) = channel();
    std::thread::spawn(move || {
        for line in BufReader::new(from).lines().map_while(|line| line.ok()) {
            if send.send(line).is_err() {
                return;
            }
        }
    });
    receive
}

/// A connection of bytes.
pub(crate) struct Raw {
    pub(crate) stream: TcpStream,
    inbox: BytesMut,
}

impl Raw {
    pub(crate) fn connect(address: SocketAddr) -> Self {
        Self::of(TcpStream::connect(address).unwrap())
    }

    pub(crate) fn of(stream: TcpStream) -> Self {
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        Self { stream, inbox: BytesMut::new() }
    }

    pub(crate) fn send(&mut self, command: &Command) {
        self.stream.write_all(&frame::to_bytes(command)).unwrap();
    }

    pub(crate) fn receive(&mut self) -> Command {
        loop {
            if let Some(command) = frame::decode(&mut self.inbox, 64 << 20).unwrap() {
                return command;
            }
            let mut buffer = [0; 64 << 10];
            let count = self.stream.read(&mut buffer).expect("an answer");
            assert!(count > 0, "closed instead of answered");
            self.inbox.extend_from_slice(&buffer[..count]);
        }
    }

    pub(crate) fn ask(&mut self, command: &Command) -> Command {
        self.send(command);
        self.receive()
    }

    /// That the server closes without another byte.
    pub(crate) fn is_closed(&mut self) -> bool {
        let mut buffer = [0; 1];
        self.inbox.is_empty() && matches!(self.stream.read(&mut buffer), Ok(0) | Err(_))
    }
}

/// A send of `body` to queue 0 of `topic`.
pub(crate) fn send_request(topic: &str, body: &[u8]) -> Command {
    let header = SendMessage {
        producer_group: "p",
        topic,
        default_topic: "TBW102",
        default_topic_queue_nums: 4,
        queue_id: 0,
        ..SendMessage::default()
    };
    let mut command = Command::request(RequestCode::SEND_MESSAGE_V2).with_body(body.to_vec());
    header.encode_v2(&mut command.fields);
    command
}
