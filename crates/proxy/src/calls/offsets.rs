//! Pulling by offset, and the offsets of groups. Apache's proxy does not serve these calls; they mean what the calls of Remoting mean
//! that they are made into.

use crate::brokers::success;
use crate::check;
use crate::face::Call;
use crate::known::Place;
use crate::message::{self, Delivery};
use crate::status::{Refusal, Result, ok};
use crate::v2::pull_message_response::Content;
use crate::v2::{
    Code, FilterType, GetOffsetRequest, GetOffsetResponse, MessageQueue, PullMessageRequest,
    PullMessageResponse, QueryOffsetPolicy, QueryOffsetRequest, QueryOffsetResponse, UpdateOffsetRequest,
    UpdateOffsetResponse,
};
use bytes::Bytes;
use kerolox_wire::header::{
    GetMaxOffset, OffsetResponse, PullMessage, PullMessageResponse as Pulled, QueryConsumerOffset,
    SearchOffset, TopicQueue, UpdateConsumerOffset,
};
use kerolox_wire::record::split;
use kerolox_wire::{Command, RequestCode, ResponseCode, sys_flag};
use std::time::Duration;

const POLL_MS_MAX: i64 = 20_000;
const BATCH_MAX: i32 = 32;

/// A queue of a topic, and its broker.
async fn queue<'a>(call: &Call, queue: Option<&'a MessageQueue>) -> Result<(&'a str, i32, Place)> {
    let topic = check::topic(queue.and_then(|queue| queue.topic.as_ref()))?;
    let broker = queue.and_then(|queue| queue.broker.as_ref()).map_or("", |broker| &*broker.name);
    let place = call.face.place(broker, topic).await?;
    Ok((topic, queue.map_or(0, |queue| queue.id), place))
}

async fn ask(call: &Call, place: &Place, command: Command) -> Result<Command> {
    call.link(place).await?.call(command, Duration::ZERO).await
}

fn offset(answer: &Command) -> i64 {
    answer.header::<OffsetResponse<'_>>().map_or(0, |header| header.offset)
}

pub(crate) async fn update(call: Call, request: UpdateOffsetRequest) -> Result<UpdateOffsetResponse> {
    let consumer_group = check::group(request.group.as_ref())?;
    if request.offset < 0 {
        return Err(Refusal::new(Code::IllegalOffset, "an offset cannot be negative"));
    }
    let (topic, queue_id, place) = queue(&call, request.message_queue.as_ref()).await?;
    let header = UpdateConsumerOffset {
        consumer_group,
        topic,
        queue_id,
        commit_offset: request.offset,
        ..Default::default()
    };
    let command = Command::request(RequestCode::UPDATE_CONSUMER_OFFSET).with_header(&header);
    success(ask(&call, &place, command).await?)?;
    Ok(UpdateOffsetResponse { status: Some(ok()) })
}

pub(crate) async fn get(call: Call, request: GetOffsetRequest) -> Result<GetOffsetResponse> {
    let consumer_group = check::group(request.group.as_ref())?;
    let (topic, queue_id, place) = queue(&call, request.message_queue.as_ref()).await?;
    let header = QueryConsumerOffset {
        consumer_group,
        topic,
        queue_id,
        set_zero_if_not_found: Some(false),
        ..Default::default()
    };
    let command = Command::request(RequestCode::QUERY_CONSUMER_OFFSET).with_header(&header);
    let answer = success(ask(&call, &place, command).await?)?;
    Ok(GetOffsetResponse { status: Some(ok()), offset: offset(&answer) })
}

pub(crate) async fn query(call: Call, request: QueryOffsetRequest) -> Result<QueryOffsetResponse> {
    let (topic, queue_id, place) = queue(&call, request.message_queue.as_ref()).await?;
    let command = match request.query_offset_policy() {
        QueryOffsetPolicy::Beginning => {
            let header = TopicQueue { topic, queue_id, ..Default::default() };
            Command::request(RequestCode::GET_MIN_OFFSET).with_header(&header)
        }
        QueryOffsetPolicy::End => {
            let header = GetMaxOffset { topic, queue_id, ..Default::default() };
            Command::request(RequestCode::GET_MAX_OFFSET).with_header(&header)
        }
        QueryOffsetPolicy::Timestamp => {
            let Some(at) = &request.timestamp else {
                return Err(Refusal::new(Code::BadRequest, "the policy TIMESTAMP needs a timestamp"));
            };
            let header =
                SearchOffset { topic, queue_id, timestamp: message::millis_of(at), ..Default::default() };
            Command::request(RequestCode::SEARCH_OFFSET_BY_TIMESTAMP).with_header(&header)
        }
    };
    let answer = success(ask(&call, &place, command).await?)?;
    Ok(QueryOffsetResponse { status: Some(ok()), offset: offset(&answer) })
}

pub(crate) fn pull(call: Call, message: Bytes) {
    let Some(request) = super::decode::<PullMessageRequest>(&call, message) else { return };
    tokio::task::spawn_local(async move {
        let result = match super::named(&call) {
            Ok(()) => pulled(&call, &request).await,
            Err(refusal) => Err(refusal),
        };
        let contents = result.unwrap_or_else(|refusal| vec![Content::Status(refusal.status())]);
        for content in contents {
            call.send(&PullMessageResponse { content: Some(content) });
        }
        call.finish(0, "");
    });
}

async fn pulled(call: &Call, request: &PullMessageRequest) -> Result<Vec<Content>> {
    let consumer_group = check::group(request.group.as_ref())?;
    if request.offset < 0 {
        return Err(Refusal::new(Code::IllegalOffset, "an offset cannot be negative"));
    }
    let (topic, queue_id, place) = queue(call, request.message_queue.as_ref()).await?;
    let filter = request.filter_expression.clone().unwrap_or_default();
    let is_sql = filter.r#type() == FilterType::Sql;
    let text = if filter.expression.trim().is_empty() { "*" } else { &*filter.expression };
    let poll_ms = request.long_polling_timeout.as_ref().map_or(0, message::millis).clamp(0, POLL_MS_MAX);
    let header = PullMessage {
        consumer_group,
        topic,
        queue_id,
        queue_offset: request.offset,
        max_msg_nums: request.batch_size.clamp(1, BATCH_MAX),
        sys_flag: sys_flag::pull::SUBSCRIPTION | if poll_ms > 0 { sys_flag::pull::SUSPEND } else { 0 },
        commit_offset: 0,
        suspend_timeout_millis: poll_ms,
        subscription: Some(text),
        sub_version: 0,
        expression_type: Some(if is_sql { "SQL92" } else { "TAG" }),
        ..Default::default()
    };
    let command = Command::request(RequestCode::PULL_MESSAGE).with_header(&header);
    let parked = Duration::from_millis(poll_ms.unsigned_abs());
    let answer = call.link(&place).await?.call(command, parked).await?;
    let header: Pulled<'_> = answer.header().unwrap_or_default();
    let next = Content::NextOffset(header.next_begin_offset);
    let refusal = |code, why: &str| Content::Status(Refusal::new(code, why).status());
    match ResponseCode(answer.code) {
        ResponseCode::SUCCESS => {
            let message = |record| message::incoming(&record, &answer.body, topic, Delivery::default());
            let messages = split(&answer.body).map_while(std::result::Result::ok).map(message);
            let messages = messages.map(Content::Message);
            Ok(std::iter::once(Content::Status(ok())).chain(messages).chain([next]).collect())
        }
        ResponseCode::PULL_NOT_FOUND | ResponseCode::PULL_RETRY_IMMEDIATELY => {
            Ok(vec![refusal(Code::MessageNotFound, "no new message"), next])
        }
        ResponseCode::PULL_OFFSET_MOVED => {
            Ok(vec![refusal(Code::IllegalOffset, "the queue does not reach there"), next])
        }
        _ => Err(Refusal::of(&answer)),
    }
}
