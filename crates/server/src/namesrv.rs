//! The main loop of a name server.

use crate::{file, report};
use anyhow::{Context, Result, anyhow};
use kerolox_namesrv::{ConnId, KvTable, Namesrv, NamesrvConfig};
use kerolox_net as net;
use kerolox_net::{Closed, Connections};
use kerolox_wire::{Command, RequestCode, ResponseCode};
use std::cell::RefCell;
use std::fs::File;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::{Duration, Instant};

/// The connection of the broker in the same process: [`Connections`] number theirs from 1.
const IN_PROCESS: ConnId = 0;
/// How often the name server is asked whether something is due.
const TICK: Duration = Duration::from_secs(1);

/// Bytes of the key-value table's file at most: more than the table's limits come to.
const KV_FILE_BYTES_MAX: u64 = 1 << 30;

fn read_kv(path: &Path) -> Result<Option<KvTable>> {
    let bytes = match file::read(path, KV_FILE_BYTES_MAX) {
        Ok(bytes) => bytes,
        // Who opens a data directory that is none has more to say of it.
        Err(e) if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            return Ok(None);
        }
        Err(e) => return Err(e).with_context(|| format!("cannot read {}", path.display())),
    };
    let table = kerolox_namesrv::kv_of_file(&bytes).map_err(|why| anyhow!(why)).with_context(|| {
        format!("{} is not a key-value table: mend it, or move it away to begin with none", path.display())
    })?;
    Ok(Some(table))
}

/// Whole or not at all, whatever happens meanwhile.
fn write_kv(path: &Path, table: &KvTable) -> io::Result<()> {
    let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    std::fs::create_dir_all(dir)?;
    let new = path.with_extension("json.new");
    let mut file = File::create(&new)?;
    file.write_all(&kerolox_namesrv::kv_file(table))?;
    file.sync_all()?;
    std::fs::rename(&new, path)?;
    File::open(dir)?.sync_all()
}

/// A name server and the connections that it answers.
pub(crate) struct Shell {
    namesrv: RefCell<Namesrv>,
    /// Where the key-value table is kept.
    kv_path: PathBuf,
    /// Where its time begins: only how long nobody was heard of counts, which a clock that is set must not change.
    begun: Instant,
    connections: Rc<Connections>,
}

impl Shell {
    /// # Errors
    /// The file of the key-value table cannot be read or understood.
    pub(crate) fn new(
        config: NamesrvConfig,
        kv_path: PathBuf,
        connections: Rc<Connections>,
    ) -> Result<Rc<Self>> {
        let mut namesrv = Namesrv::with_config(config);
        if let Some(table) = read_kv(&kv_path)? {
            namesrv.set_kv(table);
        }
        let namesrv = RefCell::new(namesrv);
        Ok(Rc::new(Self { namesrv, kv_path, begun: Instant::now(), connections }))
    }

    fn now_ms(&self) -> i64 {
        self.begun.elapsed().as_millis() as i64
    }

    /// Answers a broker in the same process.
    pub(crate) fn ask(&self, request: &Command) -> Command {
        self.namesrv.borrow_mut().handle(self.now_ms(), IN_PROCESS, request)
    }

    /// Changes of the key-value table, requests with their answers, are on disk before they are answered, or were none. All of a
    /// batch at once: everybody waits meanwhile.
    fn keep_kv(&self, namesrv: &mut Namesrv, before: KvTable, changes: &mut [(Command, Command)]) {
        if *namesrv.kv() == before {
            return;
        }
        let Err(e) = write_kv(&self.kv_path, namesrv.kv()) else { return };
        namesrv.set_kv(before);
        // It may have come as far as the file's new name, which is to go on saying what was answered.
        let _ = write_kv(&self.kv_path, namesrv.kv());
        let why = format!("the key-value table cannot be kept in {}: {e}", self.kv_path.display());
        report::limited(&format!("name server: {why}"));
        for (request, answer) in changes {
            *answer = request.refuse(ResponseCode::SYSTEM_ERROR, why.clone());
        }
    }

    /// Whether topics that a registration does not name are dropped.
    pub(crate) fn drops_what_is_not_named(&self) -> bool {
        self.namesrv.borrow().config().delete_topic_with_broker_registration
    }

    /// Lets it forget what went silent. Runs until dropped.
    pub(crate) async fn tick(self: Rc<Self>) {
        let mut ticks = tokio::time::interval(TICK);
        loop {
            ticks.tick().await;
            self.namesrv.borrow_mut().tick(self.now_ms());
        }
    }
}

impl net::Handler for Shell {
    type Piece = Command;

    fn connected(&self, _: net::ConnId, _: SocketAddr) {}

    fn batch(&self, conn: net::ConnId, commands: &mut Vec<Command>) {
        let now_ms = self.now_ms();
        let mut namesrv = self.namesrv.borrow_mut();
        let (mut before, mut changes) = (None, Vec::new());
        let mut rest = commands.drain(..);
        for request in rest.by_ref().filter(|c| !c.is_response()) {
            let changes_kv =
                [RequestCode::PUT_KV_CONFIG.0, RequestCode::DELETE_KV_CONFIG.0].contains(&request.code);
            if changes_kv && before.is_none() {
                before = Some(namesrv.kv().clone());
            }
            let answer = namesrv.handle(now_ms, conn.0, &request);
            if changes_kv {
                changes.push((request, answer));
                continue;
            }
            if !request.is_oneway() {
                self.connections.send(conn, &answer);
            }
            if self.connections.is_overloaded(conn) {
                self.connections.flush();
                if self.connections.is_overloaded(conn) {
                    break;
                }
            }
        }
        let left: Vec<Command> = rest.collect();
        commands.extend(left);
        if let Some(before) = before {
            self.keep_kv(&mut namesrv, before, &mut changes);
        }
        for (_, answer) in changes.iter().filter(|(request, _)| !request.is_oneway()) {
            self.connections.send(conn, answer);
        }
        self.connections.flush();
    }

    fn closed(&self, conn: net::ConnId, peer: SocketAddr, why: Closed) {
        if why.is_noteworthy() {
            report::limited(&format!("name server: connection of {peer} closed: {why}"));
        }
        self.namesrv.borrow_mut().disconnected(conn.0);
    }

    fn refused(&self, why: String) {
        report::limited(&format!("name server: {why}"));
    }
}
