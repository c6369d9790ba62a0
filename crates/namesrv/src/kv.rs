//! The key-value configuration: strings by namespace and key.

use crate::{KvTable, Refusal, limits};
use kerolox_wire::body;
use serde::{Deserialize, Serialize};

/// Apache's `KVConfigSerializeWrapper`.
#[derive(Default, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Kept {
    config_table: KvTable,
}

/// A key-value table as Apache keeps it in `kvConfig.json`.
pub fn kv_file(table: &KvTable) -> Vec<u8> {
    body::to_json(&Kept { config_table: table.clone() })
}

/// The key-value table in the bytes of such a file.
///
/// # Errors
/// It is none, or beyond the limits.
pub fn kv_of_file(bytes: &[u8]) -> Result<KvTable, String> {
    let Kept { config_table } = body::from_json(bytes).map_err(|e| e.to_string())?;
    for (namespace, table) in &config_table {
        check_length(namespace)?;
        table.iter().try_for_each(|(key, value)| check_length(key).and(check_length(value)))?;
    }
    let (pairs, bytes) = size(&config_table);
    check_size(pairs, bytes)?;
    Ok(config_table)
}

fn check_length(text: &str) -> Result<(), String> {
    let max = limits::KV_BYTES_MAX;
    let too_long = || format!("namespace, key or value is longer than {max} bytes");
    (text.len() <= max).then_some(()).ok_or_else(too_long)
}

fn check_size(pairs: usize, bytes: usize) -> Result<(), String> {
    match (limits::KV_PAIRS_MAX, limits::KV_ALL_BYTES_MAX) {
        (max, _) if pairs > max => Err(format!("there are {max} pairs already")),
        (_, max) if bytes > max => Err(format!("all pairs together are longer than {max} bytes")),
        _ => Ok(()),
    }
}

/// Pairs, a namespace without any counting as one, and bytes of names and values.
fn size(table: &KvTable) -> (usize, usize) {
    let of = |(key, value): (&String, &String)| key.len() + value.len();
    table.iter().fold((0, 0), |(pairs, bytes), (namespace, table)| {
        (pairs + table.len().max(1), bytes + namespace.len() + table.iter().map(of).sum::<usize>())
    })
}

#[derive(Debug, Default)]
pub(crate) struct KvConfig {
    table: KvTable,
    /// See [`size`].
    pairs: usize,
    bytes: usize,
}

impl KvConfig {
    pub(crate) fn new(table: KvTable) -> Self {
        let (pairs, bytes) = size(&table);
        Self { table, pairs, bytes }
    }

    pub(crate) fn table(&self) -> &KvTable {
        &self.table
    }

    pub(crate) fn get(&self, namespace: &str, key: &str) -> Option<&str> {
        self.table.get(namespace)?.get(key).map(String::as_str)
    }

    /// `None` for a namespace that never had a key; one that lost its keys is there, and empty.
    pub(crate) fn list(&self, namespace: &str) -> Option<body::KvTable> {
        self.table.get(namespace).map(|table| body::KvTable { table: table.clone() })
    }

    pub(crate) fn put(&mut self, namespace: &str, key: &str, value: &str) -> Result<(), Refusal> {
        [namespace, key, value].into_iter().try_for_each(check_length).map_err(Refusal::error)?;
        let keys = self.table.get(namespace);
        let before = keys.and_then(|keys| keys.get(key));
        let pairs = self.pairs + usize::from(before.is_none() && keys.is_none_or(|keys| !keys.is_empty()));
        let namespace_bytes = if keys.is_none() { namespace.len() } else { 0 };
        let bytes = match before {
            Some(before) => self.bytes - before.len() + value.len(),
            None => self.bytes + namespace_bytes + key.len() + value.len(),
        };
        check_size(pairs, bytes).map_err(Refusal::error)?;
        (self.pairs, self.bytes) = (pairs, bytes);
        self.table.entry(namespace.to_owned()).or_default().insert(key.to_owned(), value.to_owned());
        Ok(())
    }

    pub(crate) fn delete(&mut self, namespace: &str, key: &str) {
        if let Some(table) = self.table.get_mut(namespace)
            && let Some(value) = table.remove(key)
        {
            self.pairs -= usize::from(!table.is_empty());
            self.bytes -= key.len() + value.len();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each change walked the whole table to count it.
    #[test]
    fn the_sums_are_those_of_the_table() {
        let mut kv = KvConfig::default();
        for round in 0..2 {
            for (namespace, key, value) in
                [("a", "1", ""), ("a", "2", "long"), ("b", "3", "x"), ("a", "2", "s"), ("a", "1", "longer")]
            {
                assert!(kv.put(namespace, key, value).is_ok());
                assert_eq!((kv.pairs, kv.bytes), size(&kv.table), "{round} {namespace} {key}");
            }
            for (namespace, key) in [("a", "1"), ("a", "1"), ("b", "3"), ("c", "1"), ("a", "2")] {
                kv.delete(namespace, key);
                assert_eq!((kv.pairs, kv.bytes), size(&kv.table), "{round} {namespace} {key}");
            }
        }
    }
}
