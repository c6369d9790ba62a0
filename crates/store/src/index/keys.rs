//! Which records carry a key.

use crate::Position;
use std::sync::Arc;

/// A key's hash and the record that carries it.
pub(crate) type Key = (u64, Position);

/// Keys per chunk of the open range.
const CHUNK_KEYS: usize = 4096;

/// Hash of a key of a topic: FNV-1a over `topic # key` with a final mix; it is written to disk.
pub(crate) fn hash(topic: &str, key: &[u8]) -> u64 {
    let mut h = 0xcbf2_9ce4_8422_2325_u64;
    for byte in topic.bytes().chain([b'#']).chain(key.iter().copied()) {
        h = (h ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
    }
    h ^= h >> 32;
    h = h.wrapping_mul(0xd6e8_feb8_6659_fd93);
    h ^ (h >> 32)
}

/// Keys of the open range, in order of position. Full chunks are shared with readers, so that a query costs the state
/// machine little.
#[derive(Debug, Default)]
pub(crate) struct KeyLog {
    full: Vec<Arc<Vec<Key>>>,
    last: Vec<Key>,
}

impl KeyLog {
    pub(crate) fn add(&mut self, hash: u64, position: Position) {
        self.last.push((hash, position));
        if self.last.len() == CHUNK_KEYS {
            self.full.push(Arc::new(std::mem::replace(&mut self.last, Vec::with_capacity(CHUNK_KEYS))));
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.full.len() * CHUNK_KEYS + self.last.len()
    }

    /// Full chunks, and of the last one only what matches.
    pub(crate) fn chunks(&self, hash: u64) -> Vec<Arc<Vec<Key>>> {
        let mut chunks = self.full.clone();
        let matching: Vec<Key> = self.last.iter().filter(|(h, _)| *h == hash).copied().collect();
        if !matching.is_empty() {
            chunks.push(Arc::new(matching));
        }
        chunks
    }

    /// All keys, leaving none.
    pub(crate) fn take(&mut self) -> Vec<Key> {
        let mut all = Vec::with_capacity(self.full.len() * CHUNK_KEYS + self.last.len());
        for chunk in self.full.drain(..) {
            all.extend_from_slice(&chunk);
        }
        all.append(&mut self.last);
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_are_pinned_because_they_are_on_disk() {
        assert_eq!(hash("", b""), 0xb094_dc0e_9fde_a954);
        assert_eq!(hash("TopicTest", b"key-1"), 0x5036_50d3_fd9f_d0a2);
        assert_ne!(hash("a", b"b#c"), hash("a#b", b"d"));
    }

    #[test]
    fn chunks_hold_all_keys_once() {
        let mut keys = KeyLog::default();
        for i in 0..10_000 {
            keys.add(i % 10, i);
        }
        let found: Vec<u64> =
            keys.chunks(3).iter().flat_map(|c| c.iter()).filter(|k| k.0 == 3).map(|k| k.1).collect();
        assert_eq!(found, (3..10_000).step_by(10).collect::<Vec<_>>());
        assert_eq!(keys.take().len(), 10_000);
        assert!(keys.chunks(3).is_empty());
    }
}
