//! The calls: one function for each, from its request to its answer.

pub(crate) mod acknowledge;
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

/// gRPC's own status codes.
const UNIMPLEMENTED: u32 = 12;
const INTERNAL: u32 = 13;

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
);

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

/// A call with one answer.
fn unary<Q, A, F>(call: Call, message: Bytes, answer: impl FnOnce(Call, Q) -> F + 'static)
where
    Q: Message + Default + 'static,
    A: Answer + 'static,
    F: Future<Output = Result<A>> + 'static,
{
    let Some(request) = decode::<Q>(&call, message) else { return };
    tokio::task::spawn_local(async move {
        let result = match named(&call) {
            Ok(()) => answer(call.clone(), request).await,
            Err(refusal) => Err(refusal),
        };
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
    let Some(name) = path.strip_prefix("/apache.rocketmq.v2.MessagingService/") else {
        return unknown(&call, path);
    };
    match name {
        "SendMessage" => unary(call, message, send::send),
        "ReceiveMessage" => receive::begin(call, message),
        "AckMessage" => unary(call, message, acknowledge::ack),
        "ChangeInvisibleDuration" => unary(call, message, acknowledge::change_invisible),
        "ForwardMessageToDeadLetterQueue" => unary(call, message, acknowledge::forward),
        "QueryRoute" => unary(call, message, route::query_route),
        "QueryAssignment" => unary(call, message, route::query_assignment),
        "Heartbeat" => unary(call, message, telemetry::heartbeat),
        "NotifyClientTermination" => unary(call, message, telemetry::terminate),
        "Telemetry" => telemetry::begin(call, message),
        "EndTransaction" => unary(call, message, transaction::end),
        "RecallMessage" => unary(call, message, send::recall),
        "SyncLiteSubscription" => unary(call, message, lite::sync),
        "PullMessage" => offsets::pull(call, message),
        "UpdateOffset" => unary(call, message, offsets::update),
        "GetOffset" => unary(call, message, offsets::get),
        "QueryOffset" => unary(call, message, offsets::query),
        _ => unknown(&call, path),
    }
}

fn unknown(call: &Call, path: &str) {
    call.finish(UNIMPLEMENTED, &format!("there is no call {path}"));
}
