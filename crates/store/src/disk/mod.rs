//! The only door to files: everything the store does to a disk goes through [`Disk`] and [`DiskFile`].
//!
//! Paths are relative to the data directory, with `/` between parts. Two implementations: [`RealDisk`] and
//! [`HostileDisk`], which keeps everything in memory and loses, tears, reorders and refuses on request.

use std::io::{self, IoSlice};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

mod aligned;
mod hostile;
#[cfg(unix)]
mod real;

pub(crate) use aligned::{Aligned, BLOCK_BYTES};
pub use hostile::{
    CrashMode, Fault, FaultAction, History, HostileDisk, HostileFile, Moment, Sabotage, Trouble,
};
#[cfg(unix)]
pub use real::{RealDisk, RealFile, RealLock};

/// A file system below one data directory.
pub trait Disk: Clone + Send + Sync + 'static {
    type File: DiskFile;
    /// Holds the data directory for this process until dropped.
    type Lock: Send + Sync + 'static;

    /// Opens an existing file for reading and writing.
    fn open(&self, path: &str) -> io::Result<Self::File>;
    /// Opens an existing file for reading and writing past the operating system's cache, where that is possible: the
    /// caller must read and write whole blocks of 4 KiB, in memory that begins at such a border.
    fn open_direct(&self, path: &str) -> io::Result<Self::File>;
    /// Creates a new, empty file; `AlreadyExists` if there is one. Durable only after [`Disk::sync_dir`].
    fn create(&self, path: &str) -> io::Result<Self::File>;
    fn remove(&self, path: &str) -> io::Result<()>;
    /// Atomically gives a file another name, replacing what had that name.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;
    /// Names and lengths of the plain files of a directory, in no particular order; `NotFound` if there is none.
    fn list(&self, dir: &str) -> io::Result<Vec<(String, u64)>>;
    /// Creates a directory and its parents where missing, durably.
    fn create_dir(&self, dir: &str) -> io::Result<()>;
    /// Makes creations, renames and removals in a directory (`""`: the root) durable.
    fn sync_dir(&self, dir: &str) -> io::Result<()>;
    fn space(&self) -> io::Result<Space>;
    /// Takes the directory for this process, leaving the pid in `path`. The error names the holder.
    fn lock(&self, path: &str) -> io::Result<Self::Lock>;
    /// Calls made so far, by kind.
    fn counts(&self) -> Arc<Counts>;
}

/// An open file. All methods may be called from several threads.
#[allow(clippy::len_without_is_empty)] // asking a file for its length is a call that can fail
pub trait DiskFile: Send + Sync + 'static {
    /// Reads at most `buf.len()` bytes; fewer only at the end of the file.
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize>;
    /// Writes the slices one after the other; gives the bytes written, which may be fewer than wanted.
    fn write_at(&self, bufs: &[IoSlice<'_>], offset: u64) -> io::Result<usize>;
    /// Makes content and length durable.
    fn sync_data(&self) -> io::Result<()>;
    fn set_len(&self, len: u64) -> io::Result<()>;
    /// Reserves blocks for the first `len` bytes and sets the length, so that a full disk shows now.
    fn allocate(&self, len: u64) -> io::Result<()>;
    fn len(&self) -> io::Result<u64>;
}

/// Room in the file system that holds the data directory, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Space {
    pub used: u64,
    /// What this process may still allocate.
    pub available: u64,
}

impl Space {
    /// What there is for this process and everybody's files.
    pub fn total(self) -> u64 {
        self.used.saturating_add(self.available)
    }

    /// Used part, 0.0 to 1.0, as `df` and Apache RocketMQ count it.
    pub fn used_ratio(self) -> f64 {
        if self.total() == 0 { 0.0 } else { self.used as f64 / self.total() as f64 }
    }
}

/// Whether a call failed because the disk has no room for it.
pub(crate) fn is_full(e: &io::Error) -> bool {
    matches!(e.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

/// Kinds of calls, as counted and as failed on purpose.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(usize)]
pub enum OpKind {
    Open,
    Create,
    Remove,
    Rename,
    List,
    CreateDir,
    SyncDir,
    Space,
    Lock,
    Read,
    Write,
    SyncData,
    SetLen,
    Allocate,
    Len,
}

impl OpKind {
    pub const ALL: [Self; 15] = [
        Self::Open,
        Self::Create,
        Self::Remove,
        Self::Rename,
        Self::List,
        Self::CreateDir,
        Self::SyncDir,
        Self::Space,
        Self::Lock,
        Self::Read,
        Self::Write,
        Self::SyncData,
        Self::SetLen,
        Self::Allocate,
        Self::Len,
    ];
    /// Whether the call can change what is on disk.
    pub fn changes(self) -> bool {
        !matches!(self, Self::Open | Self::List | Self::Space | Self::Lock | Self::Read | Self::Len)
    }
}

/// Number of calls by kind.
#[derive(Debug, Default)]
pub struct Counts([AtomicU64; OpKind::ALL.len()]);

impl Counts {
    #[allow(clippy::indexing_slicing)] // holds because the array has one place for each kind
    pub fn get(&self, kind: OpKind) -> u64 {
        self.0[kind as usize].load(Ordering::Relaxed)
    }
    #[allow(clippy::indexing_slicing)] // holds because the array has one place for each kind
    pub(crate) fn add(&self, kind: OpKind) {
        self.0[kind as usize].fetch_add(1, Ordering::Relaxed);
    }
}

/// Fills `buf` from `offset`; `UnexpectedEof` if the file ends before.
pub(crate) fn read_exact_at(file: &impl DiskFile, mut buf: &mut [u8], mut offset: u64) -> io::Result<()> {
    while !buf.is_empty() {
        let n = file.read_at(buf, offset)?;
        if n == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        buf = buf.get_mut(n..).unwrap_or_default();
        offset += n as u64;
    }
    Ok(())
}

/// Reads what there is of `len` bytes at `offset`.
pub(crate) fn read_up_to(file: &impl DiskFile, len: usize, offset: u64) -> io::Result<Vec<u8>> {
    let mut buf = vec![0; len];
    let mut filled = 0;
    while let Some(rest) = buf.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        let n = file.read_at(rest, offset + filled as u64)?;
        if n == 0 {
            break;
        }
        filled += n;
    }
    buf.truncate(filled);
    Ok(buf)
}

/// A whole file.
pub(crate) fn read_all(file: &impl DiskFile) -> io::Result<Vec<u8>> {
    let len = file.len()?;
    let len = usize::try_from(len).map_err(|_| io::Error::other("file too large to be read at once"))?;
    read_up_to(file, len, 0)
}

/// Writes all of `bytes` or fails: a short write counts as a failure and is not continued (house rule: a write
/// that did not go through as asked is never retried).
pub(crate) fn write_all_at(file: &impl DiskFile, bytes: &[u8], offset: u64) -> io::Result<()> {
    write_slices_at(file, &[IoSlice::new(bytes)], offset)
}

/// The same for slices one after the other.
pub(crate) fn write_slices_at(file: &impl DiskFile, slices: &[IoSlice<'_>], offset: u64) -> io::Result<()> {
    let wanted: usize = slices.iter().map(|slice| slice.len()).sum();
    let written = file.write_at(slices, offset)?;
    if written != wanted {
        return Err(io::Error::new(
            io::ErrorKind::WriteZero,
            format!("short write: {written} of {wanted} bytes at {offset}"),
        ));
    }
    Ok(())
}

/// Replaces `path` with `bytes` so that a crash leaves either the old or the new file whole: written beside it,
/// synced, renamed, directory synced.
pub(crate) fn replace<D: Disk>(disk: &D, dir: &str, name: &str, bytes: &[u8]) -> io::Result<()> {
    let temp = format!("{dir}/{name}.tmp");
    match disk.remove(&temp) {
        Ok(()) => {}
        Err(e) if e.kind() == io::ErrorKind::NotFound => {}
        Err(e) => return Err(e),
    }
    let file = disk.create(&temp)?;
    let written = write_all_at(&file, bytes, 0).and_then(|()| file.sync_data());
    if let Err(e) = written {
        drop(file);
        // Best effort: what failed is a temporary file that nothing reads.
        let _ = disk.remove(&temp);
        return Err(e);
    }
    disk.rename(&temp, &format!("{dir}/{name}"))?;
    disk.sync_dir(dir)
}
