//! The snapshot: the whole state as of one position of the log, so that start need not read it from the log.
//! `docs/formats/snapshot.md` draws the file. Derived: without it (or with a damaged one) the log says the same.

use crate::Position;
use crate::disk::{Disk, read_all, replace};
use crate::log::FRONTIER_DIR;
use crate::store::Dump;
use std::io;

const NAME: &str = "snapshot";
pub(crate) const PATH: &str = "kerolox/snapshot";
const MAGIC: &[u8; 8] = b"KERLXSNP";
const VERSION: u32 = 1;
const HEADER_BYTES: usize = 8 + 4 + 4 * 8;
const NO_DUMP: u64 = u64::MAX;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Snapshot {
    /// The state is what the log says up to here.
    pub(crate) position: Position,
    /// The last whole dump in the log before that.
    pub(crate) dump: Dump,
    /// An entry stream: the store's own entries, then the application's.
    pub(crate) entries: Vec<u8>,
}

impl Snapshot {
    pub(crate) fn write<D: Disk>(
        disk: &D,
        position: Position,
        dump: Dump,
        parts: &[&[u8]],
    ) -> io::Result<()> {
        let len: usize = parts.iter().map(|p| p.len()).sum();
        let mut bytes = Vec::with_capacity(HEADER_BYTES + len + 4);
        bytes.extend_from_slice(MAGIC);
        bytes.extend_from_slice(&VERSION.to_be_bytes());
        for number in [position, dump.begin, dump.end.unwrap_or(NO_DUMP), len as u64] {
            bytes.extend_from_slice(&number.to_be_bytes());
        }
        parts.iter().for_each(|part| bytes.extend_from_slice(part));
        bytes.extend_from_slice(&crc32fast::hash(&bytes).to_be_bytes());
        replace(disk, FRONTIER_DIR, NAME, &bytes)
    }

    /// `None`: there is none.
    pub(crate) fn read<D: Disk>(disk: &D) -> Result<Option<Self>, SnapshotError> {
        let file = match disk.open(PATH) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            file => file?,
        };
        decode(&read_all(&file)?).map(Some)
    }
}

/// Why a snapshot cannot be used. Unless it is too new that does no harm: the log says the same.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SnapshotError {
    #[error("it is damaged")]
    Damaged,
    #[error("it is of format {found}; this Kerolox reads up to {known}")]
    TooNew { found: u32, known: u32 },
    #[error("cannot be read: {0}")]
    Io(#[from] io::Error),
}

fn decode(bytes: &[u8]) -> Result<Snapshot, SnapshotError> {
    let (version, rest) = checked(bytes).ok_or(SnapshotError::Damaged)?;
    if version > VERSION {
        return Err(SnapshotError::TooNew { found: version, known: VERSION });
    }
    decode_content(rest).ok_or(SnapshotError::Damaged)
}

/// The version, which lies at the same place in all versions as the checksum does, and what follows it.
fn checked(bytes: &[u8]) -> Option<(u32, &[u8])> {
    let (body, crc) = bytes.split_last_chunk()?;
    let (version, rest) = body.strip_prefix(MAGIC)?.split_first_chunk()?;
    (u32::from_be_bytes(*crc) == crc32fast::hash(body)).then_some((u32::from_be_bytes(*version), rest))
}

fn decode_content(rest: &[u8]) -> Option<Snapshot> {
    let (position, rest) = rest.split_first_chunk()?;
    let (dump_begin, rest) = rest.split_first_chunk()?;
    let (dump_end, rest) = rest.split_first_chunk()?;
    let (len, entries) = rest.split_first_chunk()?;
    let end = Some(u64::from_be_bytes(*dump_end)).filter(|end| *end != NO_DUMP);
    let dump = Dump { begin: u64::from_be_bytes(*dump_begin), end };
    let position = u64::from_be_bytes(*position);
    let whole = u64::from_be_bytes(*len) == entries.len() as u64;
    whole.then(|| Snapshot { position, dump, entries: entries.to_vec() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::HostileDisk;

    /// Made by another program from `docs/formats/snapshot.md`.
    const PINNED: &[&str] = &[
        "4b45524c58534e500000000100000000000003e8000000000000012c0000000000000190000000000000000710000000",
        "026162dcf2d6ee",
    ];

    #[test]
    fn bytes_are_pinned() {
        let disk = HostileDisk::default();
        disk.create_dir(FRONTIER_DIR).unwrap();
        let dump = Dump { begin: 300, end: Some(400) };
        Snapshot::write(&disk, 1000, dump, &[&[16, 0, 0], &[0, 2, b'a', b'b']]).unwrap();
        let hex: String = disk.content(PATH).unwrap().iter().map(|b| format!("{b:02x}")).collect();
        assert_eq!(hex, PINNED.concat());
        let back = Snapshot::read(&disk).unwrap().unwrap();
        assert_eq!(back, Snapshot { position: 1000, dump, entries: vec![16, 0, 0, 0, 2, b'a', b'b'] });
    }
}
