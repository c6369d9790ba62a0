//! The layers as a file system of the operating system.

use super::layers::{Cut, Errno, File, Folder, Layers, Node, ROOT};
use super::{Fault, State};
use fuser::consts::FOPEN_DIRECT_IO;
use fuser::{
    FileAttr, FileType, Filesystem, ReplyAttr, ReplyCreate, ReplyData, ReplyDirectory, ReplyEmpty,
    ReplyEntry, ReplyOpen, ReplyStatfs, ReplyWrite, Request, TimeOrNow,
};
use std::ffi::OsStr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Nobody but the kernel changes anything: it may remember for ever.
const REMEMBER: Duration = Duration::from_secs(3_600);
/// Size of the disk, in blocks of 4 KiB: 64 GiB, an eighth of them used.
const BLOCKS: u64 = 16 << 20;

pub(super) struct Mounted(pub(super) Arc<Mutex<State>>);

impl Mounted {
    /// The state, after the disk's delay.
    fn state(&self) -> MutexGuard<'_, State> {
        let delay = lock(&self.0).delay;
        if delay > Duration::ZERO {
            std::thread::sleep(delay);
        }
        lock(&self.0)
    }
}

pub(super) fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

fn attributes(ino: u64, node: &Node) -> FileAttr {
    let (kind, size, perm) = match node {
        Node::File(file) => (FileType::RegularFile, file.size, 0o644),
        Node::Folder(_) => (FileType::Directory, 0, 0o755),
    };
    let time = UNIX_EPOCH;
    FileAttr {
        ino,
        size,
        blocks: size.div_ceil(512),
        atime: time,
        mtime: time,
        ctime: time,
        crtime: time,
        kind,
        perm,
        nlink: 1,
        uid: 0,
        gid: 0,
        rdev: 0,
        blksize: 4096,
        flags: 0,
    }
}

/// A name; those of servers are UTF-8.
fn text(name: &OsStr) -> Result<&str, Errno> {
    name.to_str().ok_or(Errno::NotFound)
}

impl Layers {
    fn attributes(&self, ino: u64) -> Result<FileAttr, Errno> {
        Ok(attributes(ino, self.node(ino)?))
    }
}

impl State {
    fn create(&mut self, parent: u64, name: &OsStr, node: Node) -> Result<FileAttr, Errno> {
        if self.full {
            return Err(Errno::NoSpace);
        }
        let ino = self.layers.create(parent, text(name)?, node)?;
        self.layers.attributes(ino)
    }

    fn write(&mut self, ino: u64, offset: u64, data: &[u8]) -> Result<(), Errno> {
        if self.strikes(Fault::Write) {
            return Err(Errno::Io);
        }
        if self.off {
            return Ok(());
        }
        if self.full && !self.layers.file(ino)?.has_room(offset, data.len()) {
            return Err(Errno::NoSpace);
        }
        self.layers.write(ino, offset, data)
    }

    fn read(&mut self, ino: u64, offset: u64, len: usize) -> Result<Vec<u8>, Errno> {
        if self.strikes(Fault::Read) {
            return Err(Errno::Io);
        }
        Ok(self.layers.file(ino)?.read(offset, len))
    }

    fn sync(&mut self, ino: u64) -> Result<(), Errno> {
        if self.strikes(Fault::Sync) {
            // As Linux: the pages count as clean, and are not on the disk. Nothing brings them there any more.
            self.layers.fail_sync(ino);
            return Err(Errno::Io);
        }
        if self.off { Ok(()) } else { self.layers.sync(ino) }
    }

    fn allocate(&mut self, ino: u64, end: u64, keep_size: bool) -> Result<(), Errno> {
        let full = self.full;
        let file = self.layers.file(ino)?;
        if full && end > file.size {
            return Err(Errno::NoSpace);
        }
        file.reserve(end);
        if !keep_size && end > file.size {
            file.set_len(end);
        }
        Ok(())
    }
}

fn empty(reply: ReplyEmpty, result: Result<(), Errno>) {
    match result {
        Ok(()) => reply.ok(),
        Err(e) => reply.error(e as i32),
    }
}

fn entry(reply: ReplyEntry, result: Result<FileAttr, Errno>) {
    match result {
        Ok(attributes) => reply.entry(&REMEMBER, &attributes, 0),
        Err(e) => reply.error(e as i32),
    }
}

#[allow(clippy::too_many_arguments)] // the trait's
impl Filesystem for Mounted {
    fn lookup(&mut self, _: &Request<'_>, parent: u64, name: &OsStr, reply: ReplyEntry) {
        let state = self.state();
        let found = text(name).and_then(|name| state.layers.lookup(parent, name));
        entry(reply, found.and_then(|ino| state.layers.attributes(ino)));
    }

    fn getattr(&mut self, _: &Request<'_>, ino: u64, _: Option<u64>, reply: ReplyAttr) {
        match self.state().layers.attributes(ino) {
            Ok(attributes) => reply.attr(&REMEMBER, &attributes),
            Err(e) => reply.error(e as i32),
        }
    }

    fn setattr(
        &mut self,
        _: &Request<'_>,
        ino: u64,
        _: Option<u32>,
        _: Option<u32>,
        _: Option<u32>,
        size: Option<u64>,
        _: Option<TimeOrNow>,
        _: Option<TimeOrNow>,
        _: Option<SystemTime>,
        _: Option<u64>,
        _: Option<SystemTime>,
        _: Option<SystemTime>,
        _: Option<SystemTime>,
        _: Option<u32>,
        reply: ReplyAttr,
    ) {
        let mut state = self.state();
        if let (Some(size), false) = (size, state.off) {
            let _ = state.layers.file(ino).map(|file| file.set_len(size));
        }
        match state.layers.attributes(ino) {
            Ok(attributes) => reply.attr(&REMEMBER, &attributes),
            Err(e) => reply.error(e as i32),
        }
    }

    fn mkdir(&mut self, _: &Request<'_>, parent: u64, name: &OsStr, _: u32, _: u32, reply: ReplyEntry) {
        entry(reply, self.state().create(parent, name, Node::Folder(Folder::default())));
    }

    fn create(
        &mut self,
        _: &Request<'_>,
        parent: u64,
        name: &OsStr,
        _: u32,
        _: u32,
        _: i32,
        reply: ReplyCreate,
    ) {
        let mut state = self.state();
        match state.create(parent, name, Node::File(File::default())) {
            Ok(attributes) => reply.created(&REMEMBER, &attributes, 0, 0, state.open_flags()),
            Err(e) => reply.error(e as i32),
        }
    }

    fn unlink(&mut self, _: &Request<'_>, parent: u64, name: &OsStr, reply: ReplyEmpty) {
        empty(reply, text(name).and_then(|name| self.state().layers.remove(parent, name)));
    }

    fn rmdir(&mut self, _: &Request<'_>, parent: u64, name: &OsStr, reply: ReplyEmpty) {
        empty(reply, text(name).and_then(|name| self.state().layers.remove(parent, name)));
    }

    fn rename(
        &mut self,
        _: &Request<'_>,
        parent: u64,
        name: &OsStr,
        new_parent: u64,
        new_name: &OsStr,
        _: u32,
        reply: ReplyEmpty,
    ) {
        let names = text(name).and_then(|name| Ok((name, text(new_name)?)));
        let layers = &mut self.state().layers;
        empty(reply, names.and_then(|(from, to)| layers.rename((parent, from), (new_parent, to))));
    }

    fn open(&mut self, _: &Request<'_>, _: u64, _: i32, reply: ReplyOpen) {
        reply.opened(0, self.state().open_flags());
    }

    fn read(
        &mut self,
        _: &Request<'_>,
        ino: u64,
        _: u64,
        offset: i64,
        size: u32,
        _: i32,
        _: Option<u64>,
        reply: ReplyData,
    ) {
        match self.state().read(ino, offset as u64, size as usize) {
            Ok(bytes) => reply.data(&bytes),
            Err(e) => reply.error(e as i32),
        }
    }

    fn write(
        &mut self,
        _: &Request<'_>,
        ino: u64,
        _: u64,
        offset: i64,
        data: &[u8],
        _: u32,
        _: i32,
        _: Option<u64>,
        reply: ReplyWrite,
    ) {
        match self.state().write(ino, offset as u64, data) {
            Ok(()) => reply.written(data.len() as u32),
            Err(e) => reply.error(e as i32),
        }
    }

    fn flush(&mut self, _: &Request<'_>, _: u64, _: u64, _: u64, reply: ReplyEmpty) {
        reply.ok();
    }

    fn fsync(&mut self, _: &Request<'_>, ino: u64, _: u64, _: bool, reply: ReplyEmpty) {
        empty(reply, self.state().sync(ino));
    }

    fn fsyncdir(&mut self, _: &Request<'_>, ino: u64, _: u64, _: bool, reply: ReplyEmpty) {
        empty(reply, self.state().layers.sync_folder(ino));
    }

    fn readdir(&mut self, _: &Request<'_>, ino: u64, _: u64, offset: i64, mut reply: ReplyDirectory) {
        let state = self.state();
        let folder = match state.layers.folder(ino) {
            Ok(folder) => folder,
            Err(e) => return reply.error(e as i32),
        };
        let own = [(".", ino), ("..", ROOT)];
        let names = own.into_iter().chain(folder.names.iter().map(|(name, ino)| (name.as_str(), *ino)));
        for (at, (name, ino)) in names.enumerate().skip(offset as usize) {
            let kind = state.layers.attributes(ino).map_or(FileType::Directory, |a| a.kind);
            if reply.add(ino, at as i64 + 1, kind, name) {
                break;
            }
        }
        reply.ok();
    }

    fn statfs(&mut self, _: &Request<'_>, _: u64, reply: ReplyStatfs) {
        // Also when there is no room, as under a quota: what retention does about a disk that fills is tried elsewhere.
        let free = BLOCKS / 8 * 7;
        reply.statfs(BLOCKS, free, free, 1 << 20, 1 << 20, 4096, 255, 4096);
    }

    fn fallocate(
        &mut self,
        _: &Request<'_>,
        ino: u64,
        _: u64,
        offset: i64,
        length: i64,
        mode: i32,
        reply: ReplyEmpty,
    ) {
        // Bit 0: the length stays.
        empty(reply, self.state().allocate(ino, (offset + length) as u64, mode & 1 != 0));
    }
}

impl State {
    /// Without the kernel's cache every call comes here; what is mapped into memory needs the cache.
    fn open_flags(&self) -> u32 {
        if self.cached { 0 } else { FOPEN_DIRECT_IO }
    }

    pub(super) fn power_off(&mut self, cut: Cut) {
        self.layers.power_off(cut);
        self.off = false;
        self.full = false;
        self.delay = Duration::ZERO;
        self.fault = None;
    }
}
