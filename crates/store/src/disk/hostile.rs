//! A disk in memory that does the worst that a disk may do.
//!
//! What was written but not synced may be lost, torn in the middle, or kept in any subset, when [`HostileDisk::crash`]
//! cuts the power; so may directory operations whose directory was not synced. Any call can be made to fail. After a
//! failed sync the pages count as clean, as on Linux: they read back as written, no later sync brings them to disk, and
//! each open file of the same inode is told once.

mod trouble;

pub use trouble::Trouble;

use super::BLOCK_BYTES;
use super::{Counts, Disk, DiskFile, OpKind, Space};
use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, IoSlice};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What of the un-synced changes survives a crash.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CrashMode {
    /// The process died, the operating system did not: everything survives.
    Kill,
    /// As `Kill`, but pages that a failed sync left behind as clean were dropped and read as they are on disk.
    KillEvicted,
    /// Nothing that was not synced survives.
    Lost,
    /// Everything survives up to one write, of which some sectors of this size survive; nothing after it.
    Torn { sector: usize },
    /// Any subset of sectors of this size survives.
    Reordered { sector: usize },
}

/// A failure to be injected into one call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// The call, counted over all kinds since the disk was made (or since [`HostileDisk::restart_count`]).
    pub call: u64,
    pub action: FaultAction,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FaultAction {
    /// `EIO`.
    Io,
    /// `ENOSPC`.
    NoSpace,
    /// Half of a write is done and reported as such; other calls are not touched.
    Short,
}

/// What a disk only pretends to do, to see whether a test notices.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sabotage {
    /// Syncs of files whose path begins so.
    Syncs(&'static str),
    /// Syncs of that directory.
    DirSyncs(&'static str),
    /// Writes of nothing but zeros to files whose path begins so.
    Zeroing(&'static str),
}

#[derive(Debug, Clone)]
enum Change {
    Write { offset: usize, data: Arc<[u8]> },
    Len(usize),
}

#[derive(Debug, Clone, Default)]
struct Inode {
    durable: Arc<Vec<u8>>,
    view: Arc<Vec<u8>>,
    /// Un-synced changes in order.
    pending: Vec<Change>,
    /// Failed syncs so far: each open file is told once.
    failures: u64,
    /// Cannot be read (until written).
    bad: Option<(usize, usize)>,
}

#[derive(Debug, Clone)]
enum DirChange {
    Create { path: String, inode: u64 },
    Remove { path: String },
    Rename { from: String, to: String },
}

impl DirChange {
    fn apply(&self, names: &mut BTreeMap<String, u64>) {
        match self {
            Self::Create { path, inode } => {
                names.insert(path.clone(), *inode);
            }
            Self::Remove { path } => {
                names.remove(path);
            }
            Self::Rename { from, to } => {
                if let Some(inode) = names.remove(from) {
                    names.insert(to.clone(), inode);
                }
            }
        }
    }

    fn touches(&self, dir: &str) -> bool {
        match self {
            Self::Create { path, .. } | Self::Remove { path } => parent(path) == dir,
            Self::Rename { from, to } => parent(from) == dir || parent(to) == dir,
        }
    }
}

fn parent(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(dir, _)| dir)
}

#[derive(Debug, Clone, Default)]
struct World {
    inodes: BTreeMap<u64, Arc<Inode>>,
    inode_next: u64,
    dirs: Arc<BTreeSet<String>>,
    names: Arc<BTreeMap<String, u64>>,
    names_durable: Arc<BTreeMap<String, u64>>,
    dir_pending: Vec<DirChange>,
    capacity: u64,
    sabotage: Option<Sabotage>,
}

/// The disk as it was right after one call that changed something.
#[derive(Debug, Clone)]
pub struct Moment {
    world: World,
    /// Number of the call, and what it was.
    pub call: u64,
    pub kind: OpKind,
    /// What [`HostileDisk::mark`] said last.
    pub mark: u64,
}

/// All moments since [`HostileDisk::record`].
pub type History = Vec<Moment>;

#[derive(Debug, Default)]
struct Shared {
    world: World,
    calls: u64,
    faults: Vec<Fault>,
    faults_hit: Vec<(u64, OpKind, String)>,
    trouble: Option<Trouble>,
    history: Option<History>,
    trace: Option<Vec<(OpKind, String)>>,
    mark: u64,
    locked: bool,
}

/// See the module. Clones are the same disk.
#[derive(Debug, Clone)]
pub struct HostileDisk {
    shared: Arc<Mutex<Shared>>,
    counts: Arc<Counts>,
}

impl Default for HostileDisk {
    fn default() -> Self {
        Self::new(u64::MAX)
    }
}

impl HostileDisk {
    /// An empty disk that takes `capacity` bytes.
    pub fn new(capacity: u64) -> Self {
        Self::from_world(World { capacity, ..World::default() })
    }

    fn from_world(world: World) -> Self {
        let shared = Shared { world, ..Shared::default() };
        Self { shared: Arc::new(Mutex::new(shared)), counts: Arc::default() }
    }

    fn shared(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The disk that a machine finds after losing power now; this one is left as it is.
    pub fn crash(&self, mode: CrashMode, seed: u64) -> Self {
        Self::from_world(self.shared().world.crash(mode, seed))
    }

    /// Also counts for all disks that crashes make of this one.
    pub fn sabotage(&self, sabotage: Sabotage) {
        self.shared().world.sabotage = Some(sabotage);
    }

    pub fn set_capacity(&self, capacity: u64) {
        self.shared().world.capacity = capacity;
    }

    /// Fails the calls named, instead of those named before.
    pub fn set_faults(&self, faults: Vec<Fault>) {
        self.shared().faults = faults;
    }

    /// The injected failures that were met: number, kind, path.
    pub fn faults_hit(&self) -> Vec<(u64, OpKind, String)> {
        self.shared().faults_hit.clone()
    }

    pub fn calls(&self) -> u64 {
        self.shared().calls
    }

    /// Counts calls from 0 again.
    pub fn restart_count(&self) {
        self.shared().calls = 0;
    }

    /// Keeps a [`Moment`] after each call that changes something, from now on.
    pub fn record(&self) {
        self.shared().history = Some(Vec::new());
    }

    pub fn take_history(&self) -> History {
        self.shared().history.take().unwrap_or_default()
    }

    /// Notes kind and path of each call from now on.
    pub fn trace(&self) {
        self.shared().trace = Some(Vec::new());
    }

    pub fn take_trace(&self) -> Vec<(OpKind, String)> {
        self.shared().trace.take().unwrap_or_default()
    }

    /// A number of the caller's that later moments carry.
    pub fn mark(&self, mark: u64) {
        self.shared().mark = mark;
    }

    /// The content of a file as it reads now.
    pub fn content(&self, path: &str) -> Option<Vec<u8>> {
        let shared = self.shared();
        let inode = shared.world.names.get(path)?;
        Some(shared.world.inodes.get(inode)?.view.to_vec())
    }

    /// Changes a file behind the store's back, durably.
    pub fn tamper(&self, path: &str, change: impl FnOnce(&mut Vec<u8>)) -> bool {
        let mut shared = self.shared();
        let Some(inode) = shared.world.names.get(path).copied() else { return false };
        let Some(inode) = shared.world.inodes.get_mut(&inode) else { return false };
        let inode = Arc::make_mut(inode);
        let mut content = inode.view.to_vec();
        change(&mut content);
        *inode = Inode {
            durable: Arc::new(content.clone()),
            view: Arc::new(content),
            pending: Vec::new(),
            ..Inode::default()
        };
        true
    }

    /// Makes a range of a file unreadable.
    pub fn bad_sectors(&self, path: &str, range: std::ops::Range<usize>) {
        let mut shared = self.shared();
        let number = shared.world.names.get(path).copied();
        if let Some(inode) = number.and_then(|n| shared.world.inodes.get_mut(&n)) {
            Arc::make_mut(inode).bad = Some((range.start, range.end));
        }
    }

    /// Paths of all files.
    pub fn paths(&self) -> Vec<String> {
        self.shared().world.names.keys().cloned().collect()
    }

    /// Removes a file behind the store's back, durably.
    pub fn tamper_remove(&self, path: &str) -> bool {
        let mut shared = self.shared();
        Arc::make_mut(&mut shared.world.names_durable).remove(path);
        Arc::make_mut(&mut shared.world.names).remove(path).is_some()
    }

    /// Puts a file there behind the store's back, durably.
    pub fn tamper_create(&self, path: &str, content: Vec<u8>) {
        let mut shared = self.shared();
        let content = Arc::new(content);
        let number = shared.world.inode_next;
        shared.world.inode_next += 1;
        let inode =
            Inode { durable: Arc::clone(&content), view: content, pending: Vec::new(), ..Inode::default() };
        shared.world.inodes.insert(number, Arc::new(inode));
        Arc::make_mut(&mut shared.world.names).insert(path.to_owned(), number);
        Arc::make_mut(&mut shared.world.names_durable).insert(path.to_owned(), number);
        Arc::make_mut(&mut shared.world.dirs).insert(parent(path).to_owned());
    }

    /// Counts a call, fails it if it is to fail, does it, and keeps the moment.
    fn call<T>(
        &self,
        kind: OpKind,
        path: &str,
        act: impl FnOnce(&mut World, Option<FaultAction>) -> io::Result<T>,
    ) -> io::Result<T> {
        self.counts.add(kind);
        let mut guard = self.shared();
        let shared = &mut *guard;
        let call = shared.calls;
        shared.calls += 1;
        if let Some(trace) = &mut shared.trace {
            trace.push((kind, path.to_owned()));
        }
        let named = shared.faults.iter().find(|f| f.call == call).map(|f| f.action);
        let fault = named.or_else(|| shared.trouble.as_mut()?.hits(kind));
        let fault = fault.filter(|action| applies(*action, kind));
        if fault.is_some() {
            shared.faults_hit.push((call, kind, path.to_owned()));
        }
        let result = act(&mut shared.world, fault);
        if let (true, Some(history)) = (kind.changes(), &mut shared.history) {
            history.push(Moment { world: shared.world.clone(), call, kind, mark: shared.mark });
        }
        result
    }
}

impl Moment {
    /// The disk that a machine finds after losing power at this moment.
    pub fn crash(&self, mode: CrashMode, seed: u64) -> HostileDisk {
        HostileDisk::from_world(self.world.crash(mode, seed))
    }

    /// Un-synced changes at this moment: how many ways there are to crash here, roughly.
    pub fn pending(&self) -> usize {
        self.world.dir_pending.len() + self.world.inodes.values().map(|i| i.pending.len()).sum::<usize>()
    }
}

fn applies(action: FaultAction, kind: OpKind) -> bool {
    match action {
        FaultAction::Io => true,
        FaultAction::NoSpace => {
            matches!(
                kind,
                OpKind::Create | OpKind::CreateDir | OpKind::Write | OpKind::Allocate | OpKind::SetLen
            )
        }
        FaultAction::Short => kind == OpKind::Write,
    }
}

fn error(action: FaultAction) -> io::Error {
    match action {
        FaultAction::NoSpace => io::Error::new(io::ErrorKind::StorageFull, "no space left (injected)"),
        FaultAction::Io | FaultAction::Short => io::Error::other("input/output error (injected)"),
    }
}

/// Fails at once if a fault is asked for.
fn refuse(fault: Option<FaultAction>) -> io::Result<()> {
    fault.map_or(Ok(()), |action| Err(error(action)))
}

impl World {
    fn inode(&mut self, inode: u64) -> io::Result<&mut Inode> {
        let inode = self.inodes.get_mut(&inode).ok_or(io::ErrorKind::NotFound)?;
        Ok(Arc::make_mut(inode))
    }

    fn used(&self) -> u64 {
        let living: BTreeSet<&u64> = self.names.values().collect();
        living.iter().filter_map(|i| self.inodes.get(i)).map(|i| i.view.len() as u64).sum()
    }

    fn dir_change(&mut self, change: DirChange) {
        change.apply(Arc::make_mut(&mut self.names));
        self.dir_pending.push(change);
    }

    fn crash(&self, mode: CrashMode, seed: u64) -> Self {
        let mut rng = Rng::new(seed);
        let mut names = Self::clone(self);
        let mut durable = BTreeMap::clone(&self.names_durable);
        let keep_dirs = match mode {
            CrashMode::Kill | CrashMode::KillEvicted => self.dir_pending.len(),
            CrashMode::Lost => 0,
            CrashMode::Torn { .. } => rng.below(self.dir_pending.len() + 1),
            CrashMode::Reordered { .. } => self.dir_pending.len(),
        };
        for change in self.dir_pending.iter().take(keep_dirs) {
            if !matches!(mode, CrashMode::Reordered { .. }) || rng.chance(1, 2) {
                change.apply(&mut durable);
            }
        }
        let pending: usize = self.inodes.values().map(|i| i.pending.len()).sum();
        let mut torn_at = rng.below(pending.max(1));
        let density = rng.below(3);
        for inode in names.inodes.values_mut() {
            let changes = inode.pending.len();
            let content = inode.crash(mode, torn_at, density, &mut rng);
            torn_at = torn_at.wrapping_sub(changes);
            *inode = Arc::new(Inode {
                durable: Arc::clone(&content),
                view: content,
                pending: Vec::new(),
                ..Inode::default()
            });
        }
        let living: BTreeSet<u64> = durable.values().copied().collect();
        names.inodes.retain(|number, _| living.contains(number));
        names.names = Arc::new(durable);
        names.names_durable = Arc::clone(&names.names);
        names.dir_pending.clear();
        names
    }
}

impl Inode {
    /// The content after a crash. `torn_at`: which of the changes is torn (huge: one of an earlier file).
    fn crash(&self, mode: CrashMode, torn_at: usize, density: usize, rng: &mut Rng) -> Arc<Vec<u8>> {
        if mode == CrashMode::Kill {
            return Arc::clone(&self.view);
        }
        if self.pending.is_empty() || mode == CrashMode::Lost {
            return Arc::clone(&self.durable);
        }
        let mut content = Vec::clone(&self.durable);
        for (i, change) in self.pending.iter().enumerate() {
            match mode {
                CrashMode::Torn { sector } => {
                    if torn_at > usize::MAX / 2 || i > torn_at {
                        break;
                    }
                    let whole = i < torn_at;
                    change.apply_part(&mut content, sector, |rng| whole || rng.chance(1, 2), rng);
                }
                CrashMode::Reordered { sector } => {
                    let numerator = [1, 4, 7].get(density).copied().unwrap_or(4);
                    change.apply_part(&mut content, sector, |rng| rng.chance(numerator, 8), rng);
                }
                CrashMode::Kill | CrashMode::KillEvicted | CrashMode::Lost => {
                    change.apply_part(&mut content, usize::MAX, |_| true, rng);
                }
            }
        }
        Arc::new(content)
    }
}

impl Change {
    fn apply(&self, content: &mut Vec<u8>) {
        match self {
            Self::Write { offset, data } => put(content, *offset, data),
            Self::Len(len) => content.resize(*len, 0),
        }
    }

    /// Applies the sectors (aligned in the file) that `keep` chooses.
    fn apply_part(
        &self,
        content: &mut Vec<u8>,
        sector: usize,
        mut keep: impl FnMut(&mut Rng) -> bool,
        rng: &mut Rng,
    ) {
        let Self::Write { offset, data } = self else {
            if keep(rng) {
                self.apply(content);
            }
            return;
        };
        let mut at = *offset;
        let mut rest = &data[..];
        while !rest.is_empty() {
            let room = sector - (at % sector);
            let (now, later) = rest.split_at(room.min(rest.len()));
            if keep(rng) {
                put(content, at, now);
            }
            at += now.len();
            rest = later;
        }
    }
}

/// Writes into a byte vector as into a file.
fn put(content: &mut Vec<u8>, offset: usize, data: &[u8]) {
    let end = offset + data.len();
    if content.len() < end {
        content.resize(end, 0);
    }
    if let Some(place) = content.get_mut(offset..end) {
        place.copy_from_slice(data);
    }
}

#[derive(Debug)]
pub struct HostileFile {
    disk: HostileDisk,
    inode: u64,
    path: String,
    /// Failed syncs of the inode that this open file knows of.
    told: AtomicU64,
    /// Only whole blocks may be written.
    direct: bool,
}

/// Released when dropped.
#[derive(Debug)]
pub struct HostileLock(HostileDisk);

impl Drop for HostileLock {
    fn drop(&mut self) {
        self.0.shared().locked = false;
    }
}

impl Disk for HostileDisk {
    type File = HostileFile;
    type Lock = HostileLock;

    fn open(&self, path: &str) -> io::Result<HostileFile> {
        let (inode, failures) = self.call(OpKind::Open, path, |world, fault| {
            refuse(fault)?;
            let number = world.names.get(path).copied().ok_or(io::ErrorKind::NotFound)?;
            Ok((number, world.inodes.get(&number).map_or(0, |i| i.failures)))
        })?;
        Ok(HostileFile {
            disk: self.clone(),
            inode,
            path: path.to_owned(),
            told: failures.into(),
            direct: false,
        })
    }

    fn open_direct(&self, path: &str) -> io::Result<HostileFile> {
        Ok(HostileFile { direct: true, ..self.open(path)? })
    }

    fn create(&self, path: &str) -> io::Result<HostileFile> {
        let inode = self.call(OpKind::Create, path, |world, fault| {
            refuse(fault)?;
            if world.names.contains_key(path) {
                return Err(io::ErrorKind::AlreadyExists.into());
            }
            if !parent(path).is_empty() && !world.dirs.contains(parent(path)) {
                return Err(io::ErrorKind::NotFound.into());
            }
            let inode = world.inode_next;
            world.inode_next += 1;
            world.inodes.insert(inode, Arc::default());
            world.dir_change(DirChange::Create { path: path.to_owned(), inode });
            Ok(inode)
        })?;
        Ok(HostileFile { disk: self.clone(), inode, path: path.to_owned(), told: 0.into(), direct: false })
    }

    fn remove(&self, path: &str) -> io::Result<()> {
        self.call(OpKind::Remove, path, |world, fault| {
            refuse(fault)?;
            if !world.names.contains_key(path) {
                return Err(io::ErrorKind::NotFound.into());
            }
            world.dir_change(DirChange::Remove { path: path.to_owned() });
            Ok(())
        })
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.call(OpKind::Rename, from, |world, fault| {
            refuse(fault)?;
            if !world.names.contains_key(from) {
                return Err(io::ErrorKind::NotFound.into());
            }
            world.dir_change(DirChange::Rename { from: from.to_owned(), to: to.to_owned() });
            Ok(())
        })
    }

    fn list(&self, dir: &str) -> io::Result<Vec<(String, u64)>> {
        self.call(OpKind::List, dir, |world, fault| {
            refuse(fault)?;
            if !dir.is_empty() && !world.dirs.contains(dir) {
                return Err(io::ErrorKind::NotFound.into());
            }
            let here = world.names.iter().filter(|(path, _)| parent(path) == dir);
            let named = here.filter_map(|(path, inode)| {
                let name = path.rsplit_once('/').map_or(path.as_str(), |(_, name)| name);
                Some((name.to_owned(), world.inodes.get(inode)?.view.len() as u64))
            });
            Ok(named.collect())
        })
    }

    /// Durable at once: the trait promises it.
    fn create_dir(&self, dir: &str) -> io::Result<()> {
        self.call(OpKind::CreateDir, dir, |world, fault| {
            refuse(fault)?;
            let ends = dir.match_indices('/').map(|(end, _)| end).chain([dir.len()]);
            let all = ends.filter_map(|end| dir.get(..end)).map(str::to_owned);
            Arc::make_mut(&mut world.dirs).extend(all);
            Ok(())
        })
    }

    fn sync_dir(&self, dir: &str) -> io::Result<()> {
        self.call(OpKind::SyncDir, dir, |world, fault| {
            refuse(fault)?;
            if matches!(world.sabotage, Some(Sabotage::DirSyncs(of)) if of == dir) {
                return Ok(());
            }
            let (now, later) =
                std::mem::take(&mut world.dir_pending).into_iter().partition(|change| change.touches(dir));
            world.dir_pending = later;
            let now: Vec<DirChange> = now;
            let durable = Arc::make_mut(&mut world.names_durable);
            now.iter().for_each(|change| change.apply(durable));
            Ok(())
        })
    }

    fn space(&self) -> io::Result<Space> {
        self.call(OpKind::Space, "", |world, fault| {
            refuse(fault)?;
            let used = world.used();
            Ok(Space { used, available: world.capacity.saturating_sub(used) })
        })
    }

    fn lock(&self, path: &str) -> io::Result<HostileLock> {
        self.call(OpKind::Lock, path, |_, fault| refuse(fault))?;
        let mut shared = self.shared();
        if std::mem::replace(&mut shared.locked, true) {
            return Err(io::Error::new(io::ErrorKind::WouldBlock, "in use by this very process"));
        }
        drop(shared);
        Ok(HostileLock(self.clone()))
    }

    fn counts(&self) -> Arc<Counts> {
        Arc::clone(&self.counts)
    }
}

impl HostileFile {
    fn grow(world: &mut World, inode: u64, len: usize) -> io::Result<()> {
        let old = world.inodes.get(&inode).map_or(0, |i| i.view.len());
        let more = len.saturating_sub(old) as u64;
        if more > 0 && world.capacity < u64::MAX && world.used() + more > world.capacity {
            return Err(io::ErrorKind::StorageFull.into());
        }
        Ok(())
    }

    fn change(&self, kind: OpKind, len: u64) -> io::Result<()> {
        self.disk.call(kind, &self.path, |world, fault| {
            refuse(fault)?;
            let len = usize::try_from(len).map_err(io::Error::other)?;
            Self::grow(world, self.inode, len)?;
            let inode = world.inode(self.inode)?;
            let len = if kind == OpKind::Allocate { len.max(inode.view.len()) } else { len };
            let change = Change::Len(len);
            change.apply(Arc::make_mut(&mut inode.view));
            inode.pending.push(change);
            Ok(())
        })
    }
}

impl DiskFile for HostileFile {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        self.disk.call(OpKind::Read, &self.path, |world, fault| {
            refuse(fault)?;
            let inode = world.inodes.get(&self.inode).ok_or(io::ErrorKind::NotFound)?;
            let offset = usize::try_from(offset).map_err(io::Error::other)?;
            let there = inode.view.get(offset..).unwrap_or_default();
            let n = there.len().min(buf.len());
            if inode.bad.is_some_and(|(from, to)| offset < to && from < offset + n) {
                return Err(error(FaultAction::Io));
            }
            if let (Some(to), Some(from)) = (buf.get_mut(..n), there.get(..n)) {
                to.copy_from_slice(from);
            }
            Ok(n)
        })
    }

    fn write_at(&self, bufs: &[IoSlice<'_>], offset: u64) -> io::Result<usize> {
        let whole = |n: usize| n.is_multiple_of(BLOCK_BYTES);
        let blocks = bufs.iter().all(|b| whole(b.len()) && whole(b.as_ptr() as usize));
        assert!(
            !self.direct || (blocks && whole(offset as usize)),
            "a direct write that is not of whole blocks"
        );
        self.disk.call(OpKind::Write, &self.path, |world, fault| {
            let mut data: Vec<u8> = bufs.iter().flat_map(|b| b.iter().copied()).collect();
            let skipped = matches!(world.sabotage, Some(Sabotage::Zeroing(of)) if self.path.starts_with(of));
            if skipped && data.iter().all(|b| *b == 0) {
                return Ok(data.len());
            }
            if matches!(fault, Some(FaultAction::Io | FaultAction::NoSpace)) && data.len() < 2 {
                refuse(fault)?;
            }
            if fault.is_some() {
                // A failed write may have changed a part of the file.
                data.truncate(data.len() / 2);
            }
            let offset = usize::try_from(offset).map_err(io::Error::other)?;
            Self::grow(world, self.inode, offset + data.len())?;
            let inode = world.inode(self.inode)?;
            let written = data.len();
            // A disk puts another sector in the place of one that is written anew.
            inode.bad = inode.bad.filter(|(from, to)| *from < offset || offset + written < *to);
            let change = Change::Write { offset, data: data.into() };
            change.apply(Arc::make_mut(&mut inode.view));
            inode.pending.push(change);
            match fault {
                Some(action @ (FaultAction::Io | FaultAction::NoSpace)) => Err(error(action)),
                Some(FaultAction::Short) | None => Ok(written),
            }
        })
    }

    fn sync_data(&self) -> io::Result<()> {
        self.disk.call(OpKind::SyncData, &self.path, |world, fault| {
            if matches!(world.sabotage, Some(Sabotage::Syncs(of)) if self.path.starts_with(of)) {
                return Ok(());
            }
            let inode = world.inode(self.inode)?;
            let pending = std::mem::take(&mut inode.pending);
            if let Some(action) = fault {
                // The pages count as clean now.
                inode.failures += 1;
                self.told.store(inode.failures, Ordering::Relaxed);
                return Err(error(action));
            }
            let durable = Arc::make_mut(&mut inode.durable);
            pending.iter().for_each(|change| change.apply(durable));
            if self.told.swap(inode.failures, Ordering::Relaxed) < inode.failures {
                return Err(error(FaultAction::Io));
            }
            Ok(())
        })
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.change(OpKind::SetLen, len)
    }

    fn allocate(&self, len: u64) -> io::Result<()> {
        self.change(OpKind::Allocate, len)
    }

    fn len(&self) -> io::Result<u64> {
        self.disk.call(OpKind::Len, &self.path, |world, fault| {
            refuse(fault)?;
            Ok(world.inodes.get(&self.inode).map_or(0, |i| i.view.len() as u64))
        })
    }
}

/// SplitMix64: small, seeded, the same everywhere.
#[derive(Debug, Clone)]
struct Rng(u64);

impl Rng {
    fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        if bound == 0 { 0 } else { (self.next() % bound as u64) as usize }
    }

    fn chance(&mut self, numerator: usize, denominator: usize) -> bool {
        self.below(denominator) < numerator
    }
}
