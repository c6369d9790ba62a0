//! Request and response codes, each as one table.
//!
//! [`RequestCode::ALL`] holds every request of RocketMQ 5.5 (and what older admin tools still send) with the plane that
//! serves it and what Kerolox does with it; dispatch, documentation and the "nothing is missing" tests come from it.
//! Source: Apache's `RequestCode`, `ResponseCode` and `RemotingSysResponseCode`.

use std::fmt;

/// Who sends a request, as a rule of thumb for how much it matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Group {
    /// Clients that produce and consume.
    A,
    /// Administrators: mqadmin, the dashboard, the exporter.
    B,
    /// Brokers among themselves and with name servers and controllers.
    C,
    /// Rare, dead or removed.
    D,
}

/// Who receives a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Plane {
    Broker,
    Namesrv,
    /// A client, asked by its broker.
    Client,
    Controller,
    /// The Remoting port of the proxy.
    Proxy,
    /// A broker container (several brokers in one process).
    Container,
}

/// What Kerolox does with a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Served, or, where the plane is the client, sent.
    Done,
    /// To be served one day; until then answered `REQUEST_CODE_NOT_SUPPORTED`.
    Planned,
    /// Never served: answered with this code.
    Refused(ResponseCode),
}

/// One row of the table of requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Request {
    pub code: RequestCode,
    /// Apache's name.
    pub name: &'static str,
    pub group: Group,
    pub planes: &'static [Plane],
    pub state: State,
}

/// The number of a request; any number, known or not.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RequestCode(pub i32);

/// The number of a response; any number, known or not.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ResponseCode(pub i32);

macro_rules! request_codes {
    ($($number:literal $name:ident $group:ident [$($plane:ident)*] $state:ident $(($answer:ident))?;)*) => {
        impl RequestCode {
            $(pub const $name: Self = Self($number);)*

            /// Every request, by ascending number.
            pub const ALL: &'static [Request] = &[$(Request {
                code: Self::$name,
                name: stringify!($name),
                group: Group::$group,
                planes: &[$(Plane::$plane),*],
                state: State::$state $((ResponseCode::$answer))?,
            }),*];
        }
    };
}

macro_rules! response_codes {
    ($($number:literal $name:ident;)*) => {
        impl ResponseCode {
            $(pub const $name: Self = Self($number);)*

            /// Every response with Apache's name, by ascending number.
            pub const ALL: &'static [(Self, &'static str)] = &[$((Self::$name, stringify!($name))),*];
        }
    };
}

impl RequestCode {
    /// The row of this number, if it is a request's.
    pub fn request(self) -> Option<&'static Request> {
        Self::ALL.binary_search_by_key(&self, |row| row.code).ok().and_then(|i| Self::ALL.get(i))
    }

    /// Apache's name.
    pub fn name(self) -> Option<&'static str> {
        self.request().map(|row| row.name)
    }

    /// The code that a peer means by a number. The ROCKETMQ header carries only 16 bits of it, so that, for
    /// example, `POP_MESSAGE` 200050 arrives as 3442: a number that is nobody's own and is the low half of a known
    /// code is that code. Others stay as they are.
    pub fn from_wire(number: i32) -> Self {
        let code = Self(number);
        if code.request().is_some() || i16::try_from(number).is_err() {
            return code;
        }
        let truncated =
            |row: &&Request| row.code.0 > i32::from(i16::MAX) && i32::from(row.code.0 as i16) == number;
        // Codes above 16 bits are the last rows of the table.
        Self::ALL
            .iter()
            .rev()
            .take_while(|row| row.code.0 > i32::from(i16::MAX))
            .find(truncated)
            .map_or(code, |row| row.code)
    }
}

impl ResponseCode {
    /// Apache's name.
    pub fn name(self) -> Option<&'static str> {
        let row = Self::ALL.binary_search_by_key(&self, |row| row.0).ok().and_then(|i| Self::ALL.get(i));
        row.map(|row| row.1)
    }
}

impl From<RequestCode> for i32 {
    fn from(code: RequestCode) -> Self {
        code.0
    }
}

impl From<ResponseCode> for i32 {
    fn from(code: ResponseCode) -> Self {
        code.0
    }
}

impl fmt::Debug for RequestCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.name().unwrap_or("unknown request"), self.0)
    }
}

impl fmt::Debug for ResponseCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.name().unwrap_or("unknown response"), self.0)
    }
}

request_codes! {
        10 SEND_MESSAGE A [Broker Proxy] Done;
        11 PULL_MESSAGE A [Broker Proxy] Done;
        12 QUERY_MESSAGE A [Broker] Done;
        13 QUERY_BROKER_OFFSET D [Broker] Refused(REQUEST_CODE_NOT_SUPPORTED);
        14 QUERY_CONSUMER_OFFSET A [Broker Proxy] Done;
        15 UPDATE_CONSUMER_OFFSET A [Broker Proxy] Done;
        17 UPDATE_AND_CREATE_TOPIC A [Broker] Done;
        18 UPDATE_AND_CREATE_TOPIC_LIST B [Broker] Done;
        21 GET_ALL_TOPIC_CONFIG B [Broker] Done;
        22 GET_TOPIC_CONFIG_LIST D [Broker] Refused(REQUEST_CODE_NOT_SUPPORTED);
        23 GET_TOPIC_NAME_LIST D [Broker] Refused(REQUEST_CODE_NOT_SUPPORTED);
        25 UPDATE_BROKER_CONFIG B [Broker] Done;
        26 GET_BROKER_CONFIG B [Broker] Done;
        27 TRIGGER_DELETE_FILES D [Broker] Refused(REQUEST_CODE_NOT_SUPPORTED);
        28 GET_BROKER_RUNTIME_INFO B [Broker] Done;
        29 SEARCH_OFFSET_BY_TIMESTAMP A [Broker Proxy] Done;
        30 GET_MAX_OFFSET A [Broker Proxy] Done;
        31 GET_MIN_OFFSET A [Broker Proxy] Done;
        32 GET_EARLIEST_MSG_STORETIME A [Broker] Done;
        33 VIEW_MESSAGE_BY_ID A [Broker] Done;
        34 HEART_BEAT A [Broker Proxy] Done;
        35 UNREGISTER_CLIENT A [Broker Proxy] Done;
        36 CONSUMER_SEND_MSG_BACK A [Broker Proxy] Done;
        37 END_TRANSACTION A [Broker Proxy] Done;
        38 GET_CONSUMER_LIST_BY_GROUP A [Broker Proxy] Done;
        39 CHECK_TRANSACTION_STATE A [Client] Done;
        40 NOTIFY_CONSUMER_IDS_CHANGED A [Client] Done;
        41 LOCK_BATCH_MQ A [Broker Proxy] Done;
        42 UNLOCK_BATCH_MQ A [Broker Proxy] Done;
        43 GET_ALL_CONSUMER_OFFSET C [Broker] Done;
        45 GET_ALL_DELAY_OFFSET C [Broker] Done;
        46 CHECK_CLIENT_CONFIG A [Broker Proxy] Done;
        47 GET_CLIENT_CONFIG D [Broker] Refused(REQUEST_CODE_NOT_SUPPORTED);
        50 UPDATE_AND_CREATE_ACL_CONFIG D [Broker] Refused(REQUEST_CODE_NOT_SUPPORTED);
        51 DELETE_ACL_CONFIG D [Broker] Refused(REQUEST_CODE_NOT_SUPPORTED);
        52 GET_BROKER_CLUSTER_ACL_INFO D [Broker] Refused(REQUEST_CODE_NOT_SUPPORTED);
        53 UPDATE_GLOBAL_WHITE_ADDRS_CONFIG D [Broker] Refused(REQUEST_CODE_NOT_SUPPORTED);
        54 GET_BROKER_CLUSTER_ACL_CONFIG D [Broker] Refused(REQUEST_CODE_NOT_SUPPORTED);
        60 GET_TIMER_CHECK_POINT C [Broker] Refused(SYSTEM_ERROR);
        61 GET_TIMER_METRICS C [Broker] Refused(SYSTEM_ERROR);
       100 PUT_KV_CONFIG B [Namesrv] Done;
       101 GET_KV_CONFIG B [Namesrv] Done;
       102 DELETE_KV_CONFIG B [Namesrv] Done;
       103 REGISTER_BROKER C [Namesrv] Done;
       104 UNREGISTER_BROKER C [Namesrv] Done;
       105 GET_ROUTEINFO_BY_TOPIC A [Namesrv Proxy] Done;
       106 GET_BROKER_CLUSTER_INFO B [Namesrv] Done;
       200 UPDATE_AND_CREATE_SUBSCRIPTIONGROUP B [Broker] Done;
       201 GET_ALL_SUBSCRIPTIONGROUP_CONFIG B [Broker] Done;
       202 GET_TOPIC_STATS_INFO B [Broker] Done;
       203 GET_CONSUMER_CONNECTION_LIST B [Broker Proxy] Done;
       204 GET_PRODUCER_CONNECTION_LIST B [Broker] Done;
       205 WIPE_WRITE_PERM_OF_BROKER B [Namesrv] Done;
       206 GET_ALL_TOPIC_LIST_FROM_NAMESERVER B [Namesrv] Done;
       207 DELETE_SUBSCRIPTIONGROUP B [Broker] Done;
       208 GET_CONSUME_STATS B [Broker] Done;
       209 SUSPEND_CONSUMER D [Broker] Refused(REQUEST_CODE_NOT_SUPPORTED);
       210 RESUME_CONSUMER D [Broker] Refused(REQUEST_CODE_NOT_SUPPORTED);
       211 RESET_CONSUMER_OFFSET_IN_CONSUMER D [Broker] Refused(REQUEST_CODE_NOT_SUPPORTED);
       212 RESET_CONSUMER_OFFSET_IN_BROKER D [Broker] Refused(REQUEST_CODE_NOT_SUPPORTED);
       213 ADJUST_CONSUMER_THREAD_POOL D [Broker] Refused(REQUEST_CODE_NOT_SUPPORTED);
       214 WHO_CONSUME_THE_MESSAGE D [Broker] Refused(REQUEST_CODE_NOT_SUPPORTED);
       215 DELETE_TOPIC_IN_BROKER B [Broker] Done;
       216 DELETE_TOPIC_IN_NAMESRV B [Namesrv] Done;
       217 REGISTER_TOPIC_IN_NAMESRV C [Namesrv] Done;
       219 GET_KVLIST_BY_NAMESPACE B [Namesrv] Done;
       220 RESET_CONSUMER_CLIENT_OFFSET A [Client] Done;
       221 GET_CONSUMER_STATUS_FROM_CLIENT A [Client] Done;
       222 INVOKE_BROKER_TO_RESET_OFFSET B [Broker] Done;
       223 INVOKE_BROKER_TO_GET_CONSUMER_STATUS B [Broker] Done;
       224 GET_TOPICS_BY_CLUSTER B [Namesrv] Done;
       225 UPDATE_AND_CREATE_SUBSCRIPTIONGROUP_LIST B [Broker] Done;
       300 QUERY_TOPIC_CONSUME_BY_WHO B [Broker] Done;
       301 REGISTER_FILTER_SERVER D [Broker] Refused(REQUEST_CODE_NOT_SUPPORTED);
       302 REGISTER_MESSAGE_FILTER_CLASS D [Broker] Refused(REQUEST_CODE_NOT_SUPPORTED);
       303 QUERY_CONSUME_TIME_SPAN B [Broker] Done;
       304 GET_SYSTEM_TOPIC_LIST_FROM_NS B [Namesrv] Done;
       305 GET_SYSTEM_TOPIC_LIST_FROM_BROKER B [Broker] Done;
       306 CLEAN_EXPIRED_CONSUMEQUEUE B [Broker] Done;
       307 GET_CONSUMER_RUNNING_INFO A [Broker Client] Done;
       308 QUERY_CORRECTION_OFFSET B [Broker] Done;
       309 CONSUME_MESSAGE_DIRECTLY A [Broker Client] Done;
       310 SEND_MESSAGE_V2 A [Broker Proxy] Done;
       311 GET_UNIT_TOPIC_LIST D [Namesrv] Done;
       312 GET_HAS_UNIT_SUB_TOPIC_LIST D [Namesrv] Done;
       313 GET_HAS_UNIT_SUB_UNUNIT_TOPIC_LIST D [Namesrv] Done;
       314 CLONE_GROUP_OFFSET B [Broker] Done;
       315 VIEW_BROKER_STATS_DATA B [Broker] Done;
       316 CLEAN_UNUSED_TOPIC B [Broker] Done;
       317 GET_BROKER_CONSUME_STATS B [Broker] Done;
       318 UPDATE_NAMESRV_CONFIG B [Namesrv] Done;
       319 GET_NAMESRV_CONFIG B [Namesrv] Done;
       320 SEND_BATCH_MESSAGE A [Broker Proxy] Done;
       321 QUERY_CONSUME_QUEUE B [Broker] Done;
       322 QUERY_DATA_VERSION C [Namesrv] Done;
       323 RESUME_CHECK_HALF_MESSAGE B [Broker] Done;
       324 SEND_REPLY_MESSAGE A [Broker] Done;
       325 SEND_REPLY_MESSAGE_V2 A [Broker] Done;
       326 PUSH_REPLY_MESSAGE_TO_CLIENT A [Client] Done;
       327 ADD_WRITE_PERM_OF_BROKER B [Namesrv] Done;
       328 GET_ALL_PRODUCER_INFO B [Broker] Done;
       329 DELETE_EXPIRED_COMMITLOG B [Broker] Done;
       343 QUERY_TOPICS_BY_CONSUMER B [Broker] Done;
       345 QUERY_SUBSCRIPTION_BY_CONSUMER B [Broker] Done;
       351 GET_TOPIC_CONFIG B [Broker] Done;
       352 GET_SUBSCRIPTIONGROUP_CONFIG B [Broker] Done;
       353 UPDATE_AND_GET_GROUP_FORBIDDEN B [Broker] Done;
       354 CHECK_ROCKSDB_CQ_WRITE_PROGRESS B [Broker] Done;
       355 EXPORT_ROCKSDB_CONFIG_TO_JSON B [Broker] Refused(SYSTEM_ERROR);
       361 LITE_PULL_MESSAGE A [Broker Proxy] Done;
       370 RECALL_MESSAGE A [Broker Proxy] Done;
       400 QUERY_ASSIGNMENT A [Broker] Done;
       401 SET_MESSAGE_REQUEST_MODE B [Broker] Done;
       402 GET_ALL_MESSAGE_REQUEST_MODE C [Broker] Done;
       513 UPDATE_AND_CREATE_STATIC_TOPIC B [Broker] Refused(REQUEST_CODE_NOT_SUPPORTED);
       901 GET_BROKER_MEMBER_GROUP C [Namesrv] Done;
       902 ADD_BROKER C [Container] Planned;
       903 REMOVE_BROKER C [Container] Planned;
       904 BROKER_HEARTBEAT C [Namesrv Controller] Done;
       905 NOTIFY_MIN_BROKER_ID_CHANGE C [Broker] Planned;
       906 EXCHANGE_BROKER_HA_INFO C [Broker] Planned;
       907 GET_BROKER_HA_STATUS B [Broker] Done;
       908 RESET_MASTER_FLUSH_OFFSET B [Broker] Done;
      1001 CONTROLLER_ALTER_SYNC_STATE_SET C [Controller] Planned;
      1002 CONTROLLER_ELECT_MASTER B [Controller] Planned;
      1003 CONTROLLER_REGISTER_BROKER C [Controller] Planned;
      1004 CONTROLLER_GET_REPLICA_INFO C [Controller] Planned;
      1005 CONTROLLER_GET_METADATA_INFO B [Controller] Planned;
      1006 CONTROLLER_GET_SYNC_STATE_DATA B [Controller] Planned;
      1007 GET_BROKER_EPOCH_CACHE B [Broker] Refused(SYSTEM_ERROR);
      1008 NOTIFY_BROKER_ROLE_CHANGED C [Broker] Planned;
      1009 UPDATE_CONTROLLER_CONFIG B [Controller] Planned;
      1010 GET_CONTROLLER_CONFIG B [Controller] Planned;
      1011 CLEAN_BROKER_DATA B [Controller] Planned;
      1012 CONTROLLER_GET_NEXT_BROKER_ID C [Controller] Planned;
      1013 CONTROLLER_APPLY_BROKER_ID C [Controller] Planned;
      1014 BROKER_CLOSE_CHANNEL_REQUEST C [Controller] Planned;
      1015 CHECK_NOT_ACTIVE_BROKER_REQUEST C [Controller] Planned;
      1016 GET_BROKER_LIVE_INFO_REQUEST C [Controller] Planned;
      1017 GET_SYNC_STATE_DATA_REQUEST C [Controller] Planned;
      1018 RAFT_BROKER_HEART_BEAT_EVENT_REQUEST C [Controller] Planned;
      2001 UPDATE_COLD_DATA_FLOW_CTR_CONFIG B [Broker] Refused(REQUEST_CODE_NOT_SUPPORTED);
      2002 REMOVE_COLD_DATA_FLOW_CTR_CONFIG B [Broker] Refused(REQUEST_CODE_NOT_SUPPORTED);
      2003 GET_COLD_DATA_FLOW_CTR_INFO B [Broker] Refused(REQUEST_CODE_NOT_SUPPORTED);
      2004 SET_COMMITLOG_READ_MODE B [Broker] Refused(REQUEST_CODE_NOT_SUPPORTED);
      3001 AUTH_CREATE_USER B [Broker] Refused(SYSTEM_ERROR);
      3002 AUTH_UPDATE_USER B [Broker] Refused(SYSTEM_ERROR);
      3003 AUTH_DELETE_USER B [Broker] Refused(SYSTEM_ERROR);
      3004 AUTH_GET_USER B [Broker] Refused(SYSTEM_ERROR);
      3005 AUTH_LIST_USER B [Broker] Refused(SYSTEM_ERROR);
      3006 AUTH_CREATE_ACL B [Broker] Refused(SYSTEM_ERROR);
      3007 AUTH_UPDATE_ACL B [Broker] Refused(SYSTEM_ERROR);
      3008 AUTH_DELETE_ACL B [Broker] Refused(SYSTEM_ERROR);
      3009 AUTH_GET_ACL B [Broker] Refused(SYSTEM_ERROR);
      3010 AUTH_LIST_ACL B [Broker] Refused(SYSTEM_ERROR);
      5001 SWITCH_TIMER_ENGINE B [Broker] Refused(INVALID_PARAMETER);
      5002 DELETE_TOPIC_IN_BROKER_LIST B [Broker] Done;
      5003 DELETE_SUBSCRIPTION_GROUP_LIST B [Broker] Done;
    200050 POP_MESSAGE A [Broker Proxy] Done;
    200051 ACK_MESSAGE A [Broker Proxy] Done;
    200052 PEEK_MESSAGE A [Broker] Done;
    200053 CHANGE_MESSAGE_INVISIBLETIME A [Broker Proxy] Done;
    200054 NOTIFICATION A [Broker] Done;
    200055 POLLING_INFO A [Broker] Done;
    200056 POP_ROLLBACK A [Broker] Done;
    200070 POP_LITE_MESSAGE A [Broker] Done;
    200071 LITE_SUBSCRIPTION_CTL A [Broker] Done;
    200072 ACK_LITE_MESSAGE A [Broker] Refused(REQUEST_CODE_NOT_SUPPORTED);
    200073 NOTIFY_UNSUBSCRIBE_LITE A [Client] Done;
    200074 GET_BROKER_LITE_INFO B [Broker] Done;
    200075 GET_PARENT_TOPIC_INFO B [Broker] Done;
    200076 GET_LITE_TOPIC_INFO B [Broker] Done;
    200077 GET_LITE_CLIENT_INFO B [Broker] Done;
    200078 GET_LITE_GROUP_INFO B [Broker] Done;
    200079 TRIGGER_LITE_DISPATCH B [Broker] Done;
    200151 BATCH_ACK_MESSAGE A [Broker] Done;
}

response_codes! {
    -1006 RPC_TIME_OUT;
    -1004 RPC_SEND_TO_CHANNEL_FAILED;
    -1002 RPC_ADDR_IS_NULL;
    -1000 RPC_UNKNOWN;
        0 SUCCESS;
        1 SYSTEM_ERROR;
        2 SYSTEM_BUSY;
        3 REQUEST_CODE_NOT_SUPPORTED;
        4 TRANSACTION_FAILED;
       10 FLUSH_DISK_TIMEOUT;
       11 SLAVE_NOT_AVAILABLE;
       12 FLUSH_SLAVE_TIMEOUT;
       13 MESSAGE_ILLEGAL;
       14 SERVICE_NOT_AVAILABLE;
       15 VERSION_NOT_SUPPORTED;
       16 NO_PERMISSION;
       17 TOPIC_NOT_EXIST;
       18 TOPIC_EXIST_ALREADY;
       19 PULL_NOT_FOUND;
       20 PULL_RETRY_IMMEDIATELY;
       21 PULL_OFFSET_MOVED;
       22 QUERY_NOT_FOUND;
       23 SUBSCRIPTION_PARSE_FAILED;
       24 SUBSCRIPTION_NOT_EXIST;
       25 SUBSCRIPTION_NOT_LATEST;
       26 SUBSCRIPTION_GROUP_NOT_EXIST;
       27 FILTER_DATA_NOT_EXIST;
       28 FILTER_DATA_NOT_LATEST;
       29 INVALID_PARAMETER;
      200 TRANSACTION_SHOULD_COMMIT;
      201 TRANSACTION_SHOULD_ROLLBACK;
      202 TRANSACTION_STATE_UNKNOW;
      203 TRANSACTION_STATE_GROUP_WRONG;
      204 NO_BUYER_ID;
      205 NOT_IN_CURRENT_UNIT;
      206 CONSUMER_NOT_ONLINE;
      207 CONSUME_MSG_TIMEOUT;
      208 NO_MESSAGE;
      209 POLLING_FULL;
      210 POLLING_TIMEOUT;
      211 BROKER_NOT_EXIST;
      212 BROKER_DISPATCH_NOT_COMPLETE;
      213 BROADCAST_CONSUMPTION;
      215 FLOW_CONTROL;
      501 NOT_LEADER_FOR_QUEUE;
      604 ILLEGAL_OPERATION;
     1500 GO_AWAY;
     2000 CONTROLLER_FENCED_MASTER_EPOCH;
     2001 CONTROLLER_FENCED_SYNC_STATE_SET_EPOCH;
     2002 CONTROLLER_INVALID_MASTER;
     2003 CONTROLLER_INVALID_REPLICAS;
     2004 CONTROLLER_MASTER_NOT_AVAILABLE;
     2005 CONTROLLER_INVALID_REQUEST;
     2006 CONTROLLER_BROKER_NOT_ALIVE;
     2007 CONTROLLER_NOT_LEADER;
     2008 CONTROLLER_BROKER_METADATA_NOT_EXIST;
     2009 CONTROLLER_INVALID_CLEAN_BROKER_METADATA;
     2010 CONTROLLER_BROKER_NEED_TO_BE_REGISTERED;
     2011 CONTROLLER_MASTER_STILL_EXIST;
     2012 CONTROLLER_ELECT_MASTER_FAILED;
     2013 CONTROLLER_ALTER_SYNC_STATE_SET_FAILED;
     2014 CONTROLLER_BROKER_ID_INVALID;
     2015 CONTROLLER_JRAFT_INTERNAL_ERROR;
     2016 CONTROLLER_BROKER_LIVE_INFO_NOT_EXISTS;
     2017 LMQ_QUOTA_EXCEEDED;
     2018 LITE_SUBSCRIPTION_QUOTA_EXCEEDED;
     3001 USER_NOT_EXIST;
     3002 POLICY_NOT_EXIST;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_are_sorted_and_unique() {
        assert!(RequestCode::ALL.windows(2).all(|w| w[0].code < w[1].code));
        assert!(ResponseCode::ALL.windows(2).all(|w| w[0].0 < w[1].0));
        assert_eq!((RequestCode::ALL.len(), ResponseCode::ALL.len()), (176, 68));
        assert!(RequestCode::ALL.iter().all(|row| !row.planes.is_empty()));
    }

    #[test]
    fn numbers_have_names() {
        assert_eq!(RequestCode::SEND_MESSAGE_V2.0, 310);
        assert_eq!(RequestCode(310).name(), Some("SEND_MESSAGE_V2"));
        assert_eq!(RequestCode(330).name(), None);
        assert_eq!(ResponseCode(17).name(), Some("TOPIC_NOT_EXIST"));
        assert_eq!(format!("{:?}", ResponseCode(999)), "unknown response 999");
        assert_eq!(i32::from(RequestCode::POP_MESSAGE), 200_050);
    }

    #[test]
    fn issue_5684_truncated_codes_of_the_binary_header_are_understood() {
        let mut aliases = 0;
        for row in RequestCode::ALL {
            assert_eq!(RequestCode::from_wire(row.code.0), row.code);
            let low = i32::from(row.code.0 as i16);
            if low != row.code.0 {
                assert_eq!(RequestCode(low).name(), None, "the alias {low} would hide a code");
                assert_eq!(RequestCode::from_wire(low), row.code);
                aliases += 1;
            }
        }
        assert_eq!(aliases, 18);
        assert_eq!(RequestCode::from_wire(3442), RequestCode::POP_MESSAGE);
        assert_eq!(RequestCode::from_wire(3543), RequestCode::BATCH_ACK_MESSAGE);
        assert_eq!(RequestCode::from_wire(3471), RequestCode::TRIGGER_LITE_DISPATCH);
        assert_eq!(RequestCode::from_wire(3449), RequestCode(3449));
        assert_eq!(RequestCode::from_wire(-1), RequestCode(-1));
        // Only 16-bit numbers can be truncated ones.
        assert_eq!(RequestCode::from_wire(68_978), RequestCode(68_978));
    }
}
