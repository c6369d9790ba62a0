//! Index runs: the bytes. See `docs/formats/run.md`.

use crate::Position;
use crate::index::keys::Key;
use crate::queue::{Entry, bytes_of};
use std::sync::Arc;

pub(crate) const MAGIC: &[u8; 8] = b"KERLXRUN";
pub(crate) const VERSION: u32 = 1;
/// Length of the header, checksum included.
pub(crate) const HEADER_BYTES: usize = 8 + 4 + 9 * 8 + 4 + 4;
/// Length of an entry: `position u64 | size u32 | tag code i64`, as in Apache's consume queue.
pub(crate) const ENTRY_BYTES: usize = 20;
/// Entries per block; each block ends with a checksum.
pub(crate) const BLOCK_ENTRIES: usize = 128;
pub(crate) const CRC_BYTES: usize = 4;
/// Length of a key: `hash u64 | position u64`.
pub(crate) const KEY_BYTES: usize = 16;
pub(crate) const BLOCK_KEYS: usize = 256;

/// What is known of a run without reading its entries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RunFacts {
    /// The range of the log that it indexes.
    pub(crate) start: Position,
    pub(crate) end: Position,
    /// Least and greatest store time, if there is a record.
    pub(crate) times: Option<(i64, i64)>,
    pub(crate) key_count: u64,
    pub(crate) keys_at: u64,
    pub(crate) tops_at: u64,
    pub(crate) directory_at: u64,
    pub(crate) directory_bytes: u64,
    pub(crate) directory_crc: u32,
}

/// Consecutive entries of one queue.
#[derive(Debug, Clone)]
pub(crate) struct Row {
    pub(crate) topic: Arc<str>,
    pub(crate) queue_id: u32,
    pub(crate) first: u64,
    pub(crate) entries: Arc<Vec<Entry>>,
}

/// A run that is to be written.
#[derive(Debug, Clone)]
pub(crate) struct RunDraft {
    pub(crate) start: Position,
    pub(crate) end: Position,
    pub(crate) times: Option<(i64, i64)>,
    pub(crate) rows: Vec<Row>,
    /// In order of position.
    pub(crate) keys: Arc<Vec<Key>>,
    /// Topics deleted in this range. The rows are what came after that.
    pub(crate) deleted: Vec<Arc<str>>,
}

/// Where the rows of a run lie in its file: topic, queue, first offset, place.
pub(crate) type Places = Vec<(Arc<str>, u32, u64, u64)>;

/// The whole file, and where the rows lie in it.
pub(crate) fn encode(draft: &RunDraft) -> (Vec<u8>, RunFacts, Places) {
    let mut rows: Vec<&Row> = draft.rows.iter().collect();
    rows.sort_by(|a, b| (&a.topic, a.queue_id, a.first).cmp(&(&b.topic, b.queue_id, b.first)));
    let entries: usize = rows.iter().map(|r| r.entries.len()).sum();
    let mut out = Vec::with_capacity(HEADER_BYTES + entries * 21 + draft.keys.len() * 17 + rows.len() * 64);
    out.resize(HEADER_BYTES, 0);
    let mut places = Vec::with_capacity(rows.len());
    for row in &rows {
        places.push((Arc::clone(&row.topic), row.queue_id, row.first, out.len() as u64));
        row.entries.chunks(BLOCK_ENTRIES).for_each(|block| put_entries(draft.start, block, &mut out));
    }
    let keys_at = out.len() as u64;
    let tops = put_keys(draft.start, &draft.keys, &mut out);
    let tops_at = out.len() as u64;
    tops.iter().for_each(|top| out.extend_from_slice(&top.to_be_bytes()));
    put_place_crc(draft.start, tops_at as usize, &mut out);
    let directory_at = out.len() as u64;
    put_directory(&rows, &places, &draft.deleted, &mut out);
    let directory = out.get(directory_at as usize..).unwrap_or_default();
    let facts = RunFacts {
        start: draft.start,
        end: draft.end,
        times: draft.times,
        key_count: draft.keys.len() as u64,
        keys_at,
        tops_at,
        directory_at,
        directory_bytes: directory.len() as u64,
        directory_crc: crc32fast::hash(directory),
    };
    let header = encode_header(&facts);
    if let Some(place) = out.get_mut(..HEADER_BYTES) {
        place.copy_from_slice(&header);
    }
    (out, facts, places)
}

fn put_crc(from: usize, out: &mut Vec<u8>) {
    let crc = crc32fast::hash(out.get(from..).unwrap_or_default());
    out.extend_from_slice(&crc.to_be_bytes());
}

/// Of a run's blocks: says where they belong, too, so that none that went astray is taken for another.
fn put_place_crc(start: Position, from: usize, out: &mut Vec<u8>) {
    let crc = place_crc(out.get(from..).unwrap_or_default(), start, from as u64);
    out.extend_from_slice(&crc.to_be_bytes());
}

fn place_crc(body: &[u8], start: Position, at: u64) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    [&start.to_be_bytes()[..], &at.to_be_bytes(), body].into_iter().for_each(|part| hasher.update(part));
    hasher.finalize()
}

fn put_entries(start: Position, block: &[Entry], out: &mut Vec<u8>) {
    let from = out.len();
    for entry in block {
        out.extend_from_slice(&entry.position.to_be_bytes());
        out.extend_from_slice(&entry.size.to_be_bytes());
        out.extend_from_slice(&entry.tag_code.to_be_bytes());
    }
    put_place_crc(start, from, out);
}

/// Gives the first hash of each block.
fn put_keys(start: Position, keys: &[Key], out: &mut Vec<u8>) -> Vec<u64> {
    let mut sorted = keys.to_vec();
    sorted.sort_unstable();
    let mut tops = Vec::with_capacity(sorted.len().div_ceil(BLOCK_KEYS));
    for block in sorted.chunks(BLOCK_KEYS) {
        tops.extend(block.first().map(|(hash, _)| *hash));
        let from = out.len();
        for (hash, position) in block {
            out.extend_from_slice(&hash.to_be_bytes());
            out.extend_from_slice(&position.to_be_bytes());
        }
        put_place_crc(start, from, out);
    }
    tops
}

/// `topics u32`, for each `length u16 · topic · rows u32`, for each `queue u32 | first u64 | count u32 | bytes u64 | at u64`; then
/// `deleted u32`, for each `length u16 · topic`.
fn put_directory(rows: &[&Row], places: &Places, deleted: &[Arc<str>], out: &mut Vec<u8>) {
    let put_name = |topic: &str, out: &mut Vec<u8>| {
        // Holds because a record's topic is at most 32767 bytes long.
        out.extend_from_slice(&(topic.len() as u16).to_be_bytes());
        out.extend_from_slice(topic.as_bytes());
    };
    let located: Vec<(&&Row, u64)> = rows.iter().zip(places.iter().map(|p| p.3)).collect();
    let topics: Vec<&[(&&Row, u64)]> = located.chunk_by(|a, b| a.0.topic == b.0.topic).collect();
    out.extend_from_slice(&(topics.len() as u32).to_be_bytes());
    for rows in topics {
        let Some((first, _)) = rows.first() else { continue };
        put_name(&first.topic, out);
        out.extend_from_slice(&(rows.len() as u32).to_be_bytes());
        for (row, at) in rows {
            out.extend_from_slice(&row.queue_id.to_be_bytes());
            out.extend_from_slice(&row.first.to_be_bytes());
            out.extend_from_slice(&(row.entries.len() as u32).to_be_bytes());
            out.extend_from_slice(&bytes_of(&row.entries).to_be_bytes());
            out.extend_from_slice(&at.to_be_bytes());
        }
    }
    out.extend_from_slice(&(deleted.len() as u32).to_be_bytes());
    deleted.iter().for_each(|topic| put_name(topic, out));
}

fn encode_header(facts: &RunFacts) -> Vec<u8> {
    let mut out = Vec::with_capacity(HEADER_BYTES);
    out.extend_from_slice(MAGIC);
    out.extend_from_slice(&VERSION.to_be_bytes());
    let (least, greatest) = facts.times.unwrap_or((i64::MAX, i64::MIN));
    for number in [facts.start, facts.end, least as u64, greatest as u64, facts.key_count] {
        out.extend_from_slice(&number.to_be_bytes());
    }
    for number in [facts.keys_at, facts.tops_at, facts.directory_at, facts.directory_bytes] {
        out.extend_from_slice(&number.to_be_bytes());
    }
    out.extend_from_slice(&facts.directory_crc.to_be_bytes());
    put_crc(0, &mut out);
    debug_assert_eq!(out.len(), HEADER_BYTES);
    out
}

/// The version, if the header is whole, and what follows it. Magic, version and checksum have the same places in all versions.
fn split_version(bytes: &[u8]) -> Option<(u32, Fields<'_>)> {
    let (header, crc) = bytes.get(..HEADER_BYTES)?.split_last_chunk::<CRC_BYTES>()?;
    let mut fields = Fields(header.strip_prefix(MAGIC)?);
    let version = fields.u32()?;
    (u32::from_be_bytes(*crc) == crc32fast::hash(header)).then_some((version, fields))
}

/// The version of a run whose header is whole.
pub(crate) fn header_version(bytes: &[u8]) -> Option<u32> {
    split_version(bytes).map(|(version, _)| version)
}

pub(crate) fn decode_header(bytes: &[u8]) -> Option<RunFacts> {
    let (_, mut fields) = split_version(bytes).filter(|(version, _)| *version == VERSION)?;
    let (start, end) = (fields.u64()?, fields.u64()?);
    let (least, greatest) = (fields.u64()? as i64, fields.u64()? as i64);
    let (key_count, keys_at, tops_at) = (fields.u64()?, fields.u64()?, fields.u64()?);
    let (directory_at, directory_bytes) = (fields.u64()?, fields.u64()?);
    Some(RunFacts {
        start,
        end,
        times: (least <= greatest).then_some((least, greatest)),
        key_count,
        keys_at,
        tops_at,
        directory_at,
        directory_bytes,
        directory_crc: fields.u32()?,
    })
}

/// What a run's directory says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Directory {
    /// Topic, and of each row: queue, first offset, count, place.
    pub(crate) topics: Vec<(String, Vec<DirectoryRow>)>,
    pub(crate) deleted: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct DirectoryRow {
    pub(crate) queue_id: u32,
    pub(crate) first: u64,
    pub(crate) count: u32,
    pub(crate) bytes: u64,
    pub(crate) at: u64,
}

pub(crate) fn decode_directory(bytes: &[u8]) -> Option<Directory> {
    let mut fields = Fields(bytes);
    let mut topics = Vec::new();
    for _ in 0..fields.u32()? {
        let topic = fields.name()?;
        let mut rows = Vec::new();
        for _ in 0..fields.u32()? {
            let (queue_id, first, count) = (fields.u32()?, fields.u64()?, fields.u32()?);
            let (bytes, at) = (fields.u64()?, fields.u64()?);
            // Offsets and sizes are far below that, or it is none of ours.
            i64::try_from(first.checked_add(u64::from(count))?.max(bytes).max(at)).ok()?;
            rows.push(DirectoryRow { queue_id, first, count, bytes, at });
        }
        topics.push((topic, rows));
    }
    let mut deleted = Vec::new();
    for _ in 0..fields.u32()? {
        deleted.push(fields.name()?);
    }
    fields.0.is_empty().then_some(Directory { topics, deleted })
}

/// Entries of one block, checksum verified. `at`: where the block lies in the file of the run that begins at `start`.
pub(crate) fn decode_entries(block: &[u8], start: Position, at: u64, out: &mut Vec<Entry>) -> Option<()> {
    for bytes in checked(block, start, at)?.chunks_exact(ENTRY_BYTES) {
        let mut fields = Fields(bytes);
        let (position, size) = (fields.u64()?, fields.u32()?);
        out.push(Entry { position, size, tag_code: fields.u64()? as i64 });
    }
    Some(())
}

/// Keys of one block, checksum verified.
pub(crate) fn decode_keys(block: &[u8], start: Position, at: u64) -> Option<Vec<Key>> {
    let key = |bytes| {
        let mut fields = Fields(bytes);
        Some((fields.u64()?, fields.u64()?))
    };
    checked(block, start, at)?.chunks_exact(KEY_BYTES).map(key).collect()
}

pub(crate) fn decode_tops(block: &[u8], start: Position, at: u64) -> Option<Vec<u64>> {
    checked(block, start, at)?.chunks_exact(8).map(|bytes| Fields(bytes).u64()).collect()
}

/// What a checksum at the end vouches for.
fn checked(block: &[u8], start: Position, at: u64) -> Option<&[u8]> {
    let (body, crc) = block.split_last_chunk::<CRC_BYTES>()?;
    (u32::from_be_bytes(*crc) == place_crc(body, start, at)).then_some(body)
}

/// Fixed-width numbers, one after the other.
struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    fn u32(&mut self) -> Option<u32> {
        let (number, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(u32::from_be_bytes(*number))
    }

    fn u64(&mut self) -> Option<u64> {
        let (number, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(u64::from_be_bytes(*number))
    }

    fn name(&mut self) -> Option<String> {
        let (len, rest) = self.0.split_first_chunk()?;
        let (name, rest) = rest.split_at_checked(usize::from(u16::from_be_bytes(*len)))?;
        self.0 = rest;
        String::from_utf8(name.to_vec()).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Made by another program from `docs/formats/run.md`.
    const PINNED: &[&str] = &[
        "4b45524c5852554e0000000100000000000003e800000000000007d0000000000000000b000000000000001600000000",
        "0000000200000000000000a000000000000000c400000000000000d0000000000000005c453ac7ef7cf6b00300000000",
        "0000044c00000064fffffffffffffffb000000000000051400000078000000000000000086ce658000000000000004b0",
        "000000640000000000000007fbed9ba0000000000000000500000000000005140000000000000009000000000000044c",
        "21bc804c0000000000000005f37f62f10000000200014100000001000000030000000000000028000000020000000000",
        "0000dc000000000000005c00024262000000010000000000000000000000000000000100000000000000640000000000",
        "0000880000000100034f6c64",
    ];

    #[test]
    fn bytes_are_pinned() {
        let entry = |position, size, tag_code| Entry { position, size, tag_code };
        let row = |topic: &str, queue_id, first, entries| Row {
            topic: topic.into(),
            queue_id,
            first,
            entries: Arc::new(entries),
        };
        let draft = RunDraft {
            start: 1000,
            end: 2000,
            times: Some((11, 22)),
            rows: vec![
                row("Bb", 0, 0, vec![entry(1200, 100, 7)]),
                row("A", 3, 40, vec![entry(1100, 100, -5), entry(1300, 120, 0)]),
            ],
            keys: Arc::new(vec![(9, 1100), (5, 1300)]),
            deleted: vec!["Old".into()],
        };
        let (bytes, facts, places) = encode(&draft);
        let hex: String = bytes.iter().map(|b| format!("{b:02x}")).collect();
        assert_eq!(hex, PINNED.concat());
        assert_eq!(places, [("A".into(), 3, 40, 92), ("Bb".into(), 0, 0, 136)]);
        assert_eq!(decode_header(&bytes), Some(facts));
    }

    /// Found by fuzzing: an offset near the end of all numbers made the next one overflow.
    #[test]
    fn a_directory_of_impossible_numbers_is_none() {
        let directory = |first: u64, bytes: u64| {
            let mut out = vec![0, 0, 0, 1, 0, 1, b'T', 0, 0, 0, 1, 0, 0, 0, 0];
            out.extend_from_slice(&first.to_be_bytes());
            out.extend_from_slice(&[0, 0, 0, 2]);
            out.extend_from_slice(&bytes.to_be_bytes());
            out.extend_from_slice(&[0; 12]);
            decode_directory(&out)
        };
        assert!(directory(i64::MAX as u64 - 2, i64::MAX as u64).is_some());
        assert!(directory(i64::MAX as u64 - 1, 0).is_none());
        assert!(directory(u64::MAX - 1, 0).is_none());
        assert!(directory(0, 1 << 63).is_none());
    }
}
