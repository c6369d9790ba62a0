//! Consumer groups and their settings.

use kerolox_wire::body::SubscriptionGroupConfig;
use std::collections::BTreeMap;
use std::ops::Bound::{Included, Unbounded};
use std::sync::Arc;

/// Groups that Apache's tools and brokers use themselves; they always exist.
const SYSTEM: [&str; 10] = [
    "TOOLS_CONSUMER",
    "FILTERSRV_CONSUMER",
    "SELF_TEST_C_GROUP",
    "CID_ONS-HTTP-PROXY",
    "CID_ONSAPI_PULL",
    "CID_ONSAPI_PERMISSION",
    "CID_ONSAPI_OWNER",
    "CID_RMQ_SYS_TRANS",
    "DEFAULT_CONSUMER",
    "SCHEDULE_CONSUMER",
];

/// All consumer groups.
#[derive(Default)]
pub(crate) struct Groups {
    table: BTreeMap<Arc<str>, SubscriptionGroupConfig>,
    changes: i64,
}

impl Groups {
    pub(crate) fn get(&self, name: &str) -> Option<&SubscriptionGroupConfig> {
        self.table.get(name)
    }

    /// The group with its shared name.
    pub(crate) fn get_shared(&self, name: &str) -> Option<(&Arc<str>, &SubscriptionGroupConfig)> {
        self.table.get_key_value(name)
    }

    pub(crate) fn len(&self) -> usize {
        self.table.len()
    }

    pub(crate) fn put(&mut self, config: SubscriptionGroupConfig) {
        self.changes += 1;
        self.table.insert(Arc::from(&*config.group_name), config);
    }

    pub(crate) fn remove(&mut self, name: &str) {
        self.changes += 1;
        self.table.remove(name);
    }

    /// How often the table changed since the start.
    pub(crate) fn changes(&self) -> i64 {
        self.changes
    }

    /// All groups by name, from one on.
    pub(crate) fn from(&self, name: &str) -> impl Iterator<Item = (&Arc<str>, &SubscriptionGroupConfig)> {
        self.table.range::<str, _>((Included(name), Unbounded))
    }

    pub(crate) fn all(&self) -> impl Iterator<Item = &SubscriptionGroupConfig> + Clone {
        self.table.values()
    }

    pub(crate) fn is_system(name: &str) -> bool {
        SYSTEM.contains(&name) || name.starts_with("CID_RMQ_SYS_")
    }

    pub(crate) fn add_system(&mut self) {
        for name in SYSTEM {
            if !self.table.contains_key(name) {
                self.put(new(name));
            }
        }
    }
}

/// A group with Apache's defaults.
pub(crate) fn new(name: &str) -> SubscriptionGroupConfig {
    SubscriptionGroupConfig { group_name: name.to_owned(), ..SubscriptionGroupConfig::default() }
}
