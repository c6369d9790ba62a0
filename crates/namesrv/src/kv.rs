//! The key-value configuration: strings by namespace and key.

use crate::{KvTable, Refusal, limits};
use kerolox_wire::body;

#[derive(Debug, Default)]
pub(crate) struct KvConfig {
    table: KvTable,
}

impl KvConfig {
    pub(crate) fn new(table: KvTable) -> Self {
        Self { table }
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
        if [namespace, key, value].iter().any(|text| text.len() > limits::KV_BYTES_MAX) {
            let remark = format!("namespace, key or value is longer than {} bytes", limits::KV_BYTES_MAX);
            return Err(Refusal::error(remark));
        }
        let pairs: usize = self.table.values().map(|table| table.len().max(1)).sum();
        if pairs >= limits::KV_PAIRS_MAX && self.get(namespace, key).is_none() {
            return Err(Refusal::error(format!("there are {} pairs already", limits::KV_PAIRS_MAX)));
        }
        self.table.entry(namespace.to_owned()).or_default().insert(key.to_owned(), value.to_owned());
        Ok(())
    }

    pub(crate) fn delete(&mut self, namespace: &str, key: &str) {
        if let Some(table) = self.table.get_mut(namespace) {
            table.remove(key);
        }
    }
}
