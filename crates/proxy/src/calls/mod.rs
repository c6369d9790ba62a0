//! The calls: one function for each, from its request to its answer.

pub(crate) mod acknowledge;
pub(crate) mod admin;
pub(crate) mod lite;
pub(crate) mod offsets;
pub(crate) mod receive;
pub(crate) mod route;
pub(crate) mod send;
pub(crate) mod telemetry;
pub(crate) mod transaction;

use crate::face::Call;
use crate::status::{Refusal, Result};
use crate::v2::{self, Code, Status};
use bytes::Bytes;
use prost::Message;
use prost::encoding::decode_varint;

/// gRPC's own status codes.
const UNIMPLEMENTED: u32 = 12;
const INTERNAL: u32 = 13;
pub(crate) const RESOURCE_EXHAUSTED: u32 = 8;

/// An answer that says how it went.
trait Answer: Message + Default {
    fn refused(status: Status) -> Self;
}

macro_rules! answers {
    ($($answer:ident),* $(,)?) => {$(
        impl Answer for v2::$answer {
            #[allow(clippy::field_reassign_with_default)] // some answers have no other field, and no update is left
            fn refused(status: Status) -> Self {
                let mut answer = Self::default();
                answer.status = Some(status);
                answer
            }
        }
    )*};
}
answers!(
    QueryRouteResponse,
    HeartbeatResponse,
    SendMessageResponse,
    QueryAssignmentResponse,
    AckMessageResponse,
    ForwardMessageToDeadLetterQueueResponse,
    UpdateOffsetResponse,
    GetOffsetResponse,
    QueryOffsetResponse,
    EndTransactionResponse,
    NotifyClientTerminationResponse,
    ChangeInvisibleDurationResponse,
    RecallMessageResponse,
    SyncLiteSubscriptionResponse,
    DescribeTopicStatusResponse,
    ListSubscriptionResponse,
    DescribeSubscriptionResponse,
    DeleteSubscriptionResponse,
    DescribeGroupAccumulationResponse,
    ListConsumerConnectionResponse,
    ResetGroupOffsetResponse,
    ListMessageResponse,
    PrintThreadStackTraceResponse,
    VerifyMessageResponse,
    AdminSendMessageResponse,
    GetConsumerRunningInfoResponse,
    GetTopicRouteResponse,
    QueryTimeSpanResponse,
    GetProxyRuntimeStatsResponse,
);

impl Answer for v2::ChangeLogLevelResponse {
    fn refused(status: Status) -> Self {
        Self { remark: status.message }
    }
}

/// Bytes of a request; one that carries messages may have as many as a message of a call may.
const REQUEST_BYTES_MAX: usize = 1 << 20;
/// Messages of one send.
const MESSAGES_MAX: usize = 4_096;

/// Decodes a request, or tells the caller that it is none.
fn decode<M: Message + Default>(call: &Call, message: Bytes) -> Option<M> {
    match M::decode(message) {
        Ok(request) => Some(request),
        Err(e) => {
            call.finish(INTERNAL, &format!("the request is not what the call takes: {e}"));
            None
        }
    }
}

/// A call of a client with one answer.
fn unary<Q, A, F>(call: Call, message: Bytes, answer: impl FnOnce(Call, Q) -> F + 'static)
where
    Q: Message + Default + 'static,
    A: Answer + 'static,
    F: Future<Output = Result<A>> + 'static,
{
    match named(&call) {
        Ok(()) => answered(call, message, answer),
        Err(refusal) => drop(call.answer(&A::refused(refusal.status()))),
    }
}

/// A call of anybody's with one answer.
fn answered<Q, A, F>(call: Call, message: Bytes, answer: impl FnOnce(Call, Q) -> F + 'static)
where
    Q: Message + Default + 'static,
    A: Answer + 'static,
    F: Future<Output = Result<A>> + 'static,
{
    let Some(request) = decode::<Q>(&call, message) else { return };
    tokio::task::spawn_local(async move {
        let result = answer(call.clone(), request).await;
        call.answer(&result.unwrap_or_else(|refusal| A::refused(refusal.status())));
    });
}

/// Everything hangs on the client's id.
fn named(call: &Call) -> Result<()> {
    match call.client.id.trim().is_empty() {
        true => Err(Refusal::new(Code::ClientIdRequired, "client id cannot be empty")),
        false => Ok(()),
    }
}

/// Begins a call by its path; what it comes to is sent when it is known.
pub(crate) fn begin(call: Call, path: &str, message: Bytes) {
    call.face.count(|counters| counters.calls += 1);
    if let Some(name) = path.strip_prefix("/apache.rocketmq.v2.MessagingService/") {
        begin_messaging(call, name, message);
    } else if let Some(name) = path.strip_prefix("/apache.rocketmq.v2.Admin/") {
        begin_admin(call, name, message);
    } else {
        unknown(&call, path);
    }
}

fn begin_messaging(call: Call, name: &str, message: Bytes) {
    match name {
        // An empty element is two bytes on the wire, and hundreds in memory.
        "SendMessage" if elements(&message) > MESSAGES_MAX => {
            call.finish(RESOURCE_EXHAUSTED, &format!("a call sends {MESSAGES_MAX} messages at most"));
        }
        "SendMessage" => unary(call, message, send::send),
        "Telemetry" => telemetry::begin(call, message),
        _ if message.len() > REQUEST_BYTES_MAX => too_long(&call),
        "ReceiveMessage" => receive::begin(call, message),
        "AckMessage" => unary(call, message, acknowledge::ack),
        "ChangeInvisibleDuration" => unary(call, message, acknowledge::change_invisible),
        "ForwardMessageToDeadLetterQueue" => unary(call, message, acknowledge::forward),
        "QueryRoute" => unary(call, message, route::query_route),
        "QueryAssignment" => unary(call, message, route::query_assignment),
        "Heartbeat" => unary(call, message, telemetry::heartbeat),
        "NotifyClientTermination" => unary(call, message, telemetry::terminate),
        "EndTransaction" => unary(call, message, transaction::end),
        "RecallMessage" => unary(call, message, send::recall),
        "SyncLiteSubscription" => unary(call, message, lite::sync),
        "PullMessage" => offsets::pull(call, message),
        "UpdateOffset" => unary(call, message, offsets::update),
        "GetOffset" => unary(call, message, offsets::get),
        "QueryOffset" => unary(call, message, offsets::query),
        _ => unknown(&call, name),
    }
}

fn too_long(call: &Call) {
    call.finish(RESOURCE_EXHAUSTED, &format!("the request has more than {REQUEST_BYTES_MAX} bytes"));
}

/// Elements of a message of protobuf that is one list of others, as far as it can be read.
fn elements(mut message: &[u8]) -> usize {
    let mut count = 0;
    while let (Ok(_key), Ok(len)) = (decode_varint(&mut message), decode_varint(&mut message)) {
        count += 1;
        message = usize::try_from(len).ok().and_then(|len| message.get(len..)).unwrap_or_default();
    }
    count
}

fn begin_admin(call: Call, name: &str, message: Bytes) {
    match name {
        "AdminSendMessage" => answered(call, message, admin::send_message),
        _ if message.len() > REQUEST_BYTES_MAX => too_long(&call),
        "ChangeLogLevel" => answered(call, message, admin::change_log_level),
        "DescribeTopicStatus" => answered(call, message, admin::topic_status),
        "ListSubscription" => answered(call, message, admin::list_subscription),
        "DescribeSubscription" => answered(call, message, admin::describe_subscription),
        "DeleteSubscription" => answered(call, message, admin::delete_subscription),
        "DescribeGroupAccumulation" => answered(call, message, admin::accumulation),
        "ListConsumerConnection" => answered(call, message, admin::list_connections),
        "ResetGroupOffset" => answered(call, message, admin::reset_offset),
        "QueryMessage" => answered(call, message, admin::query_message),
        "PrintThreadStackTrace" => answered(call, message, admin::stack_trace),
        "VerifyMessage" => answered(call, message, admin::verify_message),
        "GetConsumerRunningInfo" => answered(call, message, admin::running_info),
        "GetTopicRoute" => answered(call, message, admin::topic_route),
        "QueryTimeSpan" => answered(call, message, admin::time_span),
        "GetProxyRuntimeStats" => answered(call, message, admin::runtime_stats),
        _ => unknown(&call, name),
    }
}

fn unknown(call: &Call, path: &str) {
    call.finish(UNIMPLEMENTED, &format!("there is no call {path}"));
}
