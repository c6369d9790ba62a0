//! The operating system's files.

use super::{Aligned, BLOCK_BYTES};
use super::{Counts, Disk, DiskFile, OpKind, Space};
use rustix::fs::{FallocateFlags, FlockOperation, OFlags};
use rustix::process::{Flock, FlockType};
use std::fs::{File, OpenOptions};
use std::io::{self, IoSlice, Read, Seek, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Most slices that one vectored write takes (Linux' `IOV_MAX`).
const SLICES_MAX: usize = 1024;

/// Files below one directory of the operating system.
#[derive(Debug, Clone)]
pub struct RealDisk {
    root: PathBuf,
    read_only: bool,
    counts: Arc<Counts>,
}

impl RealDisk {
    /// The directory need not exist; [`Disk::create_dir`] makes it.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into(), read_only: false, counts: Arc::default() }
    }

    /// For looking only: files are opened for reading, and every call that would change something fails.
    pub fn read_only(root: impl Into<PathBuf>) -> Self {
        Self { read_only: true, ..Self::new(root) }
    }

    fn refuse_changes(&self) -> io::Result<()> {
        let why = "the directory is opened for reading only";
        if self.read_only { Err(io::Error::new(io::ErrorKind::PermissionDenied, why)) } else { Ok(()) }
    }

    /// The process that has the directory locked by that file, if one has; nothing is locked to find out.
    pub fn holder(&self, path: &str) -> io::Result<Option<u32>> {
        let file = match File::open(self.path(path)) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            file => file?,
        };
        let held = rustix::process::fcntl_getlk(&file, &Flock::from(FlockType::WriteLock))?;
        Ok(held.and_then(|lock| lock.pid).map(|pid| pid.as_raw_nonzero().get().cast_unsigned()))
    }

    pub fn root(&self) -> &Path {
        &self.root
    }

    fn path(&self, path: &str) -> PathBuf {
        debug_assert!(!path.starts_with('/') && !path.split('/').any(|part| part == ".."), "{path}");
        if path.is_empty() { self.root.clone() } else { self.root.join(path) }
    }

    fn file(&self, file: File) -> RealFile {
        RealFile { file, counts: Arc::clone(&self.counts) }
    }
}

#[derive(Debug)]
pub struct RealFile {
    file: File,
    counts: Arc<Counts>,
}

/// A call that a signal interrupted did nothing, and is made again.
fn uninterrupted<T>(mut call: impl FnMut() -> rustix::io::Result<T>) -> rustix::io::Result<T> {
    loop {
        match call() {
            Err(rustix::io::Errno::INTR) => {}
            result => return result,
        }
    }
}

/// The open, locked file.
#[derive(Debug)]
pub struct RealLock(#[allow(dead_code)] File);

impl Disk for RealDisk {
    type File = RealFile;
    type Lock = RealLock;

    fn open(&self, path: &str) -> io::Result<RealFile> {
        self.counts.add(OpKind::Open);
        Ok(self.file(OpenOptions::new().read(true).write(!self.read_only).open(self.path(path))?))
    }

    fn open_direct(&self, path: &str) -> io::Result<RealFile> {
        self.counts.add(OpKind::Open);
        let open = |flags: OFlags| {
            let mut options = OpenOptions::new();
            options.read(true).write(!self.read_only).custom_flags(flags.bits() as i32).open(self.path(path))
        };
        // Some file systems say no when it is opened, others when it is used.
        let usable = |file: &File| file.read_at(Aligned::zeroed(BLOCK_BYTES).get_mut(BLOCK_BYTES), 0).is_ok();
        Ok(self.file(match open(OFlags::DIRECT) {
            Ok(file) if usable(&file) => file,
            _ => open(OFlags::empty())?,
        }))
    }

    fn create(&self, path: &str) -> io::Result<RealFile> {
        self.counts.add(OpKind::Create);
        self.refuse_changes()?;
        Ok(self.file(OpenOptions::new().read(true).write(true).create_new(true).open(self.path(path))?))
    }

    fn remove(&self, path: &str) -> io::Result<()> {
        self.counts.add(OpKind::Remove);
        self.refuse_changes()?;
        std::fs::remove_file(self.path(path))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.counts.add(OpKind::Rename);
        self.refuse_changes()?;
        std::fs::rename(self.path(from), self.path(to))
    }

    fn list(&self, dir: &str) -> io::Result<Vec<(String, u64)>> {
        self.counts.add(OpKind::List);
        let mut files = Vec::new();
        for entry in std::fs::read_dir(self.path(dir))? {
            let entry = entry?;
            let metadata = match std::fs::metadata(entry.path()) {
                // Gone meanwhile.
                Err(e) if e.kind() == io::ErrorKind::NotFound => continue,
                metadata => metadata?,
            };
            // A name that is not UTF-8 is none of ours.
            if let (true, Ok(name)) = (metadata.is_file(), entry.file_name().into_string()) {
                files.push((name, metadata.len()));
            }
        }
        Ok(files)
    }

    fn create_dir(&self, dir: &str) -> io::Result<()> {
        self.counts.add(OpKind::CreateDir);
        self.refuse_changes()?;
        let path = self.path(dir);
        // What is created is synced into its parent, and what is there below the root: whoever created it may have been killed before.
        let unsynced: Vec<&Path> = path
            .ancestors()
            .take_while(|p| *p != Path::new("") && (p.starts_with(&self.root) || !p.is_dir()))
            .collect();
        std::fs::create_dir_all(&path)?;
        for dir in unsynced {
            let parent = dir.parent().filter(|p| *p != Path::new("")).unwrap_or(Path::new("."));
            match File::open(parent) {
                // Nobody but its owner reads what the root lies in.
                Err(e) if e.kind() == io::ErrorKind::PermissionDenied => {}
                parent => parent?.sync_all()?,
            }
        }
        Ok(())
    }

    fn sync_dir(&self, dir: &str) -> io::Result<()> {
        self.counts.add(OpKind::SyncDir);
        self.refuse_changes()?;
        File::open(self.path(dir))?.sync_all()
    }

    fn space(&self) -> io::Result<Space> {
        self.counts.add(OpKind::Space);
        let stat = rustix::fs::statvfs(&self.root)?;
        let used = stat.f_blocks.saturating_sub(stat.f_bfree).saturating_mul(stat.f_frsize);
        Ok(Space { used, available: stat.f_bavail.saturating_mul(stat.f_frsize) })
    }

    /// An `fcntl` lock, which Apache RocketMQ's `lock` file respects too, and an `flock`, which also keeps a second
    /// open in the same process out.
    fn lock(&self, path: &str) -> io::Result<RealLock> {
        self.counts.add(OpKind::Lock);
        self.refuse_changes()?;
        let mut file =
            OpenOptions::new().read(true).write(true).create(true).truncate(false).open(self.path(path))?;
        let locked = rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive)
            .and_then(|()| rustix::fs::fcntl_lock(&file, FlockOperation::NonBlockingLockExclusive));
        if let Err(e) = locked {
            let held = [rustix::io::Errno::WOULDBLOCK, rustix::io::Errno::ACCESS].contains(&e);
            if !held {
                return Err(e.into());
            }
            let mut holder = String::new();
            // Who holds it is a courtesy; that it is held is the answer.
            let _ = Read::by_ref(&mut file).take(32).read_to_string(&mut holder);
            let who = match holder.trim().parse::<u32>() {
                Ok(pid) => format!("process {pid}"),
                Err(_) => "another process".to_owned(),
            };
            let message = format!("{} is in use by {who}", self.root.display());
            return Err(io::Error::new(io::ErrorKind::WouldBlock, message));
        }
        file.set_len(0)?;
        file.rewind()?;
        write!(file, "{}", std::process::id())?;
        Ok(RealLock(file))
    }

    fn counts(&self) -> Arc<Counts> {
        Arc::clone(&self.counts)
    }
}

impl DiskFile for RealFile {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        self.counts.add(OpKind::Read);
        loop {
            match self.file.read_at(buf, offset) {
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                result => return result,
            }
        }
    }

    fn write_at(&self, bufs: &[IoSlice<'_>], offset: u64) -> io::Result<usize> {
        let mut total = 0;
        for chunk in bufs.chunks(SLICES_MAX) {
            self.counts.add(OpKind::Write);
            let wanted: usize = chunk.iter().map(|b| b.len()).sum();
            let written = uninterrupted(|| rustix::io::pwritev(&self.file, chunk, offset + total as u64))?;
            total += written;
            if written != wanted {
                break;
            }
        }
        Ok(total)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.counts.add(OpKind::SyncData);
        self.file.sync_data()
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.counts.add(OpKind::SetLen);
        self.file.set_len(len)
    }

    fn allocate(&self, len: u64) -> io::Result<()> {
        self.counts.add(OpKind::Allocate);
        match uninterrupted(|| rustix::fs::fallocate(&self.file, FallocateFlags::empty(), 0, len)) {
            // File systems without it (some network and overlay ones): the length alone; a full disk then shows later.
            Err(rustix::io::Errno::OPNOTSUPP) => self.file.set_len(len),
            result => Ok(result?),
        }
    }

    fn len(&self) -> io::Result<u64> {
        self.counts.add(OpKind::Len);
        Ok(self.file.metadata()?.len())
    }
}
