//! Troubles that are not of one call: calls of some kinds fail for a while, and content changes by itself.

use super::{FaultAction, HostileDisk, OpKind};
use std::sync::Arc;

/// The next calls of some kinds fail.
#[derive(Debug, Clone, Copy)]
pub struct Trouble {
    pub kinds: &'static [OpKind],
    pub action: FaultAction,
    /// How many are still to fail.
    pub left: u32,
}

impl Trouble {
    pub(super) fn hits(&mut self, kind: OpKind) -> Option<FaultAction> {
        let hit = self.left > 0 && self.kinds.contains(&kind);
        self.left -= u32::from(hit);
        hit.then_some(self.action)
    }
}

impl HostileDisk {
    /// From now on, instead of what troubled it before. A crash ends it.
    pub fn set_trouble(&self, trouble: Option<Trouble>) {
        self.shared().trouble = trouble;
    }

    /// Bytes that it takes.
    pub fn capacity(&self) -> u64 {
        self.shared().world.capacity
    }

    /// Changes what a file holds on the medium and what is read of it, as bit rot, or a write that went astray or was lost
    /// though the disk had said otherwise. What is not synced yet stays so. False if there is no such file.
    pub fn damage(&self, path: &str, change: impl Fn(&mut [u8])) -> bool {
        let mut shared = self.shared();
        let number = shared.world.names.get(path).copied();
        let Some(inode) = number.and_then(|number| shared.world.inodes.get_mut(&number)) else {
            return false;
        };
        let inode = Arc::make_mut(inode);
        change(Arc::make_mut(&mut inode.durable).as_mut_slice());
        change(Arc::make_mut(&mut inode.view).as_mut_slice());
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::{Disk, DiskFile};
    use std::io::IoSlice;

    #[test]
    fn calls_of_a_kind_fail_until_the_trouble_is_over() {
        let disk = HostileDisk::default();
        let file = disk.create("f").unwrap();
        file.write_at(&[IoSlice::new(b"abc")], 0).unwrap();
        disk.set_trouble(Some(Trouble { kinds: &[OpKind::Read], action: FaultAction::Io, left: 2 }));
        let read = || file.read_at(&mut [0; 3], 0);
        assert!(read().is_err());
        file.write_at(&[IoSlice::new(b"d")], 3).unwrap();
        assert!(read().is_err());
        assert_eq!(read().unwrap(), 3);
    }

    #[test]
    fn damage_survives_a_crash_and_unsynced_writes_do_not() {
        let disk = HostileDisk::default();
        let file = disk.create("f").unwrap();
        disk.sync_dir("").unwrap();
        file.write_at(&[IoSlice::new(b"abc")], 0).unwrap();
        file.sync_data().unwrap();
        file.write_at(&[IoSlice::new(b"x")], 2).unwrap();
        assert!(disk.damage("f", |bytes| bytes[0] ^= 1));
        assert_eq!(disk.content("f").unwrap(), b"`bx");
        let after = disk.crash(super::super::CrashMode::Lost, 0);
        assert_eq!(after.content("f").unwrap(), b"`bc");
        assert!(!disk.damage("g", |_| {}));
    }
}
