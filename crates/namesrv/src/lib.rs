//! Where things are: the name server as one pure state machine.
//!
//! Brokers register what they have and beat; clients ask where a topic is. Everything is in memory: after a restart
//! the brokers' next registrations (within 30 s) bring it back. Only the key-value configuration is to be kept by the
//! shell; see [`Namesrv::kv`].
//!
//! Every request is answered as Apache's name server does, field by field, byte by byte where it counts.

mod answers;
mod config;
mod kv;
mod routes;

#[cfg(test)]
mod tests;

pub use config::NamesrvConfig;
use kerolox_wire::header::HeaderError;
use kerolox_wire::{Command, RequestCode, ResponseCode};
use kv::KvConfig;
pub use kv::{kv_file, kv_of_file};
use routes::Routes;

/// A connection as the shell numbers them; never reused in a process's life.
pub type ConnId = u64;
/// Values by namespace and key.
pub type KvTable = std::collections::BTreeMap<String, std::collections::BTreeMap<String, String>>;

/// A broker that did not register or beat for so long is forgotten, unless it stated another time itself: Apache's
/// `DEFAULT_BROKER_CHANNEL_EXPIRED_TIME`.
pub const BROKER_EXPIRY_MS: i64 = 120_000;

/// Limits. Beyond them a registration or setting is refused with the limit's name.
pub mod limits {
    /// Broker addresses (masters and replicas).
    pub const BROKERS_MAX: usize = 4_096;
    /// Topics of one broker.
    pub const BROKER_TOPICS_MAX: usize = 200_000;
    /// Topics of all brokers.
    pub const TOPICS_MAX: usize = 1_000_000;
    /// Topics of all brokers, each counted on each of its brokers.
    pub const ENTRIES_MAX: usize = 4_000_000;
    /// Queues of static topics of all brokers, each topic on each of its brokers counting as one more.
    pub const MAPPED_MAX: usize = 1_000_000;
    /// Filter servers of one broker.
    pub const FILTER_SERVERS_MAX: usize = 64;
    /// Length of a cluster's, broker's or zone's name, or of an address, in bytes.
    pub const NAME_BYTES_MAX: usize = 255;
    /// Length of a topic's name in a registration, in bytes. Retry topics of old groups are longer than new topics may be.
    pub const TOPIC_BYTES_MAX: usize = 511;
    /// Pairs of the key-value configuration.
    pub const KV_PAIRS_MAX: usize = 100_000;
    /// Length of a namespace, key or value.
    pub const KV_BYTES_MAX: usize = 64 * 1024;
    /// Bytes of all namespaces, keys and values.
    pub const KV_ALL_BYTES_MAX: usize = 64 << 20;
}

/// The name server.
#[derive(Debug, Default)]
pub struct Namesrv {
    config: NamesrvConfig,
    routes: Routes,
    kv: KvConfig,
}

/// Why a request is not answered with what it asks for.
pub(crate) struct Refusal {
    code: ResponseCode,
    remark: String,
}

impl Refusal {
    pub(crate) fn new(code: ResponseCode, remark: impl Into<String>) -> Self {
        Self { code, remark: remark.into() }
    }

    pub(crate) fn error(remark: impl Into<String>) -> Self {
        Self::new(ResponseCode::SYSTEM_ERROR, remark)
    }
}

impl From<HeaderError> for Refusal {
    fn from(why: HeaderError) -> Self {
        Self::error(why.to_string())
    }
}

impl Namesrv {
    /// With Apache's defaults.
    pub fn new() -> Self {
        Self::default()
    }

    pub fn with_config(config: NamesrvConfig) -> Self {
        Self { config, ..Self::default() }
    }

    pub fn config(&self) -> &NamesrvConfig {
        &self.config
    }

    /// Answers a request. The shell drops the answer to a one-way request.
    pub fn handle(&mut self, now_ms: i64, conn: ConnId, request: &Command) -> Command {
        let answer = self.answer(now_ms, conn, request);
        answer.unwrap_or_else(|no| request.refuse(no.code, no.remark)).within_frame()
    }

    /// The connection is gone, and with it the brokers that registered over it.
    pub fn disconnected(&mut self, conn: ConnId) {
        self.routes.disconnected(conn);
    }

    /// Forgets brokers that have not been heard of for their time-out.
    pub fn tick(&mut self, now_ms: i64) {
        self.routes.expire(now_ms);
    }

    /// When [`Self::tick`] has something to do.
    pub fn wake_ms(&self) -> Option<i64> {
        self.routes.next_expiry_ms()
    }

    /// The key-value table, for the shell to keep across restarts (Apache's `kvConfig.json`).
    pub fn kv(&self) -> &KvTable {
        self.kv.table()
    }

    /// The table as it was kept.
    pub fn set_kv(&mut self, kv: KvTable) {
        self.kv = KvConfig::new(kv);
    }

    fn answer(&mut self, now_ms: i64, conn: ConnId, request: &Command) -> Result<Command, Refusal> {
        match RequestCode::from_wire(request.code) {
            RequestCode::GET_ROUTEINFO_BY_TOPIC => self.route(request),
            RequestCode::REGISTER_BROKER => self.register_broker(now_ms, conn, request),
            RequestCode::UNREGISTER_BROKER => self.unregister_broker(request),
            RequestCode::BROKER_HEARTBEAT => self.broker_heartbeat(now_ms, request),
            RequestCode::QUERY_DATA_VERSION => self.query_data_version(now_ms, request),
            RequestCode::GET_BROKER_CLUSTER_INFO => self.cluster_info(request),
            RequestCode::GET_BROKER_MEMBER_GROUP => self.member_group(request),
            RequestCode::REGISTER_TOPIC_IN_NAMESRV => self.register_topic(request),
            RequestCode::DELETE_TOPIC_IN_NAMESRV => self.delete_topic(request),
            RequestCode::WIPE_WRITE_PERM_OF_BROKER => self.wipe_write_perm(request),
            RequestCode::ADD_WRITE_PERM_OF_BROKER => self.add_write_perm(request),
            RequestCode::GET_ALL_TOPIC_LIST_FROM_NAMESERVER => self.all_topics(request),
            RequestCode::GET_TOPICS_BY_CLUSTER => self.topics_by_cluster(request),
            RequestCode::GET_SYSTEM_TOPIC_LIST_FROM_NS => self.system_topics(request),
            RequestCode::GET_UNIT_TOPIC_LIST => self.unit_topics(request, |unit, _| unit),
            RequestCode::GET_HAS_UNIT_SUB_TOPIC_LIST => self.unit_topics(request, |_, sub| sub),
            RequestCode::GET_HAS_UNIT_SUB_UNUNIT_TOPIC_LIST => {
                self.unit_topics(request, |unit, sub| sub && !unit)
            }
            RequestCode::UPDATE_NAMESRV_CONFIG => self.update_config(request),
            RequestCode::GET_NAMESRV_CONFIG => Ok(self.show_config(request)),
            RequestCode::PUT_KV_CONFIG => self.put_kv(request),
            RequestCode::GET_KV_CONFIG => self.get_kv(request),
            RequestCode::DELETE_KV_CONFIG => self.delete_kv(request),
            RequestCode::GET_KVLIST_BY_NAMESPACE => self.kv_list(request),
            _ => Err(Refusal::new(
                ResponseCode::REQUEST_CODE_NOT_SUPPORTED,
                format!(" request type {} not supported", request.code),
            )),
        }
    }
}
