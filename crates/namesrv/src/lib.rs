//! Where things are: brokers register their topics here, clients ask for routes. A pure state machine, memory only but
//! for the key/value table, whose content the shell may keep (see [`Namesrv::kv`]).
//!
//! Rules and texts follow Apache's `RouteInfoManager` and `DefaultRequestProcessor`.

mod requests;
mod routes;

#[cfg(test)]
mod tests;

pub use routes::{ConnId, KvTable};

use kerolox_wire::{Command, RequestCode, ResponseCode};
use routes::Routes;

/// A broker that did not register or beat for so long is forgotten, unless it stated another time itself: Apache's
/// `DEFAULT_BROKER_CHANNEL_EXPIRED_TIME`.
pub const BROKER_EXPIRY_MS: i64 = 120_000;
/// How often brokers are looked through: Apache's `scanNotActiveBrokerInterval`.
const SCAN_MS: i64 = 5_000;

/// Upper bounds, so that nobody can fill the name server's memory.
pub(crate) mod limits {
    /// Brokers (addresses) in all.
    pub(crate) const BROKERS_MAX: usize = 10_000;
    /// Topics in all.
    pub(crate) const TOPICS_MAX: usize = 1_000_000;
    /// Pairs of the key/value table.
    pub(crate) const KV_MAX: usize = 100_000;
}

/// One name server.
#[derive(Default)]
pub struct Namesrv {
    routes: Routes,
    kv: KvTable,
    next_scan_ms: i64,
}

impl Namesrv {
    pub fn new() -> Self {
        Self::default()
    }

    /// Answers a request. The answer of a one-way request is not to be sent.
    pub fn handle(&mut self, now_ms: i64, conn: ConnId, request: &Command) -> Command {
        let answered = match RequestCode::from_wire(request.code) {
            RequestCode::GET_ROUTEINFO_BY_TOPIC => self.route(request),
            RequestCode::REGISTER_BROKER => self.register_broker(now_ms, conn, request),
            RequestCode::UNREGISTER_BROKER => self.unregister_broker(request),
            RequestCode::BROKER_HEARTBEAT => self.broker_heartbeat(now_ms, request),
            RequestCode::QUERY_DATA_VERSION => self.query_data_version(now_ms, request),
            RequestCode::GET_BROKER_CLUSTER_INFO => self.cluster_info(request),
            RequestCode::GET_ALL_TOPIC_LIST_FROM_NAMESERVER => self.topic_list(request),
            RequestCode::GET_TOPICS_BY_CLUSTER => self.topics_by_cluster(request),
            RequestCode::GET_SYSTEM_TOPIC_LIST_FROM_NS => self.system_topics(request),
            RequestCode::DELETE_TOPIC_IN_NAMESRV => self.delete_topic(request),
            RequestCode::WIPE_WRITE_PERM_OF_BROKER => self.wipe_write_perm(request),
            RequestCode::ADD_WRITE_PERM_OF_BROKER => self.add_write_perm(request),
            RequestCode::PUT_KV_CONFIG => self.put_kv(request),
            RequestCode::GET_KV_CONFIG => self.get_kv(request),
            RequestCode::DELETE_KV_CONFIG => self.delete_kv(request),
            RequestCode::GET_KVLIST_BY_NAMESPACE => self.kv_list(request),
            _ => {
                let remark = format!(" request type {} not supported", request.code);
                Ok(request.refuse(ResponseCode::REQUEST_CODE_NOT_SUPPORTED, remark))
            }
        };
        answered.unwrap_or_else(|e| request.refuse(ResponseCode::SYSTEM_ERROR, e))
    }

    /// A broker's connection is gone, and with it the broker.
    pub fn disconnected(&mut self, conn: ConnId) {
        self.routes.disconnected(conn);
    }

    /// Forgets brokers that went silent.
    pub fn tick(&mut self, now_ms: i64) {
        if now_ms >= self.next_scan_ms {
            self.next_scan_ms = now_ms + SCAN_MS;
            self.routes.expire(now_ms);
        }
    }

    /// When [`Namesrv::tick`] is due next.
    pub fn wake_ms(&self) -> Option<i64> {
        (!self.routes.is_empty()).then_some(self.next_scan_ms)
    }

    /// The key/value table, for the shell to keep across restarts (Apache's `kvConfig.json`).
    pub fn kv(&self) -> &KvTable {
        &self.kv
    }

    /// The table as it was kept.
    pub fn set_kv(&mut self, kv: KvTable) {
        self.kv = kv;
    }
}
