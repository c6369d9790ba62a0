//! Sending messages, and taking back those that are not due.

use crate::brokers::success;
use crate::check;
use crate::face::Call;
use crate::known::{Place, View, no_queue};
use crate::message::{self, Outgoing, SendLimits};
use crate::status::{self, Refusal, Result, ok};
use crate::v2::{
    Code, Message, MessageType, RecallMessageRequest, RecallMessageResponse, SendMessageRequest,
    SendMessageResponse, SendResultEntry,
};
use bytes::BytesMut;
use kerolox_wire::body::perm;
use kerolox_wire::header::{self, SendMessageResponse as Sent};
use kerolox_wire::message_id::MessageId;
use kerolox_wire::properties::tag_code;
use kerolox_wire::recall::RecallHandle;
use kerolox_wire::record::batch::{self, BatchMessage};
use kerolox_wire::{Command, RequestCode, ResponseCode, names, sys_flag};
use std::time::Duration;

/// What a topic's attribute says of its messages; without, they are normal ones.
pub(crate) fn accepted(view: &View) -> &'static [MessageType] {
    types(view.config.attributes.get("message.type").map_or("NORMAL", String::as_str))
}

pub(crate) fn types(attribute: &str) -> &'static [MessageType] {
    match attribute {
        "NORMAL" => &[MessageType::Normal],
        "FIFO" => &[MessageType::Fifo],
        "DELAY" => &[MessageType::Delay],
        "TRANSACTION" => &[MessageType::Transaction],
        "PRIORITY" => &[MessageType::Priority],
        "LITE" => &[MessageType::Lite],
        _ => &[MessageType::Normal, MessageType::Fifo, MessageType::Delay, MessageType::Transaction],
    }
}

fn check_type(call: &Call, topic: &str, view: &View, kind: MessageType) -> Result<()> {
    let exempt = topic.starts_with(names::RETRY_PREFIX) || topic.starts_with(names::DLQ_PREFIX);
    let said = view.config.attributes.get("message.type").map_or("NORMAL", String::as_str);
    // (Routes say of a mixed topic that it takes four types: those clients keep to. A broker takes any.)
    let any = said == "MIXED" || !call.face.config.check_message_types;
    if exempt || any || accepted(view).contains(&kind) {
        return Ok(());
    }
    let why = format!(
        "TopicMessageType validate failed, the expected type is {said}, but actual type is {}",
        kind.as_str_name()
    );
    Err(Refusal::new(Code::MessagePropertyConflictWithType, why))
}

pub(crate) async fn send(call: Call, request: SendMessageRequest) -> Result<SendMessageResponse> {
    let corrupted = |why: &str| Err(Refusal::new(Code::MessageCorrupted, why));
    let Some(first) = request.messages.first() else { return corrupted("no message to send") };
    let topic = check::topic(first.topic.as_ref())?;
    let _sending = call.face.sending(request.messages.iter().map(|message| message.body.len()).sum())?;
    let now_ms = call.now_ms();
    let limits = SendLimits {
        body_bytes_max: call.face.config.body_bytes_max,
        delay_ms_max: call.face.config.delay_ms_max,
    };
    let mut outgoing = Vec::with_capacity(request.messages.len());
    for message in &request.messages {
        if message.topic != first.topic {
            return corrupted("topic in message is not same");
        }
        outgoing.push(message::outgoing(message, topic, call.client.peer, now_ms, limits)?);
    }
    let view = call.face.view(topic).await?;
    for out in &outgoing {
        check_type(&call, topic, &view, out.kind)?;
    }
    let key = first.system_properties.as_ref().and_then(|system| {
        let group = system.message_group.as_deref().filter(|group| !group.is_empty());
        group.or(system.lite_topic.as_deref().filter(|lite| !lite.is_empty()))
    });
    let (place, queue_id) = choose(&call, topic, &view, key.filter(|_| outgoing.len() == 1))?;
    let link = call.link(place).await?;
    let command = match (&*outgoing, &*request.messages) {
        ([out], [message]) => single(topic, queue_id, out, message),
        (all, messages) => several(topic, queue_id, all, messages)?,
    };
    let is_batch = outgoing.len() > 1;
    let answer = link.call(command, Duration::ZERO).await?;
    call.face.count(|counters| counters.sent += outgoing.len() as u64);
    // Stored, but not as safe as it should be.
    let partly = [
        ResponseCode::FLUSH_DISK_TIMEOUT,
        ResponseCode::FLUSH_SLAVE_TIMEOUT,
        ResponseCode::SLAVE_NOT_AVAILABLE,
    ];
    let is_partly = partly.iter().any(|code| code.0 == answer.code);
    let status = match is_partly {
        true => Refusal::of(&answer).status(),
        false => ok(),
    };
    let answer = if is_partly { answer } else { success(answer)? };
    let sent: Sent<'_> = answer.header().unwrap_or_default();
    // A batch lies in one queue, one message behind the other.
    let entry = |(number, message): (usize, &Message)| {
        let system = message.system_properties.as_ref();
        let id = system.map_or("", |system| &*system.message_id);
        let is_transaction = system.is_some_and(|system| system.message_type() == MessageType::Transaction);
        let transaction_id = match is_transaction && !is_batch {
            true => crate::transaction_id::make(&place.name, sent.queue_offset, position(sent.msg_id), id),
            false => String::new(),
        };
        SendResultEntry {
            status: Some(status.clone()),
            message_id: id.to_owned(),
            transaction_id,
            offset: sent.queue_offset + number as i64,
            recall_handle: sent.recall_handle.unwrap_or_default().to_owned(),
        }
    };
    let entries: Vec<SendResultEntry> = request.messages.iter().enumerate().map(entry).collect();
    let status = status::of_all(entries.iter().filter_map(|entry| entry.status.as_ref()));
    Ok(SendMessageResponse { status: Some(status), entries })
}

/// Where in the log the offset message id says that a message lies.
fn position(offset_message_id: &str) -> u64 {
    offset_message_id.parse::<MessageId>().map_or(u64::MAX, |id| id.position)
}

fn header<'a>(topic: &'a str, queue_id: i32, out: &Outgoing, properties: &'a str) -> header::SendMessage<'a> {
    header::SendMessage {
        producer_group: topic,
        topic,
        default_topic: names::AUTO_CREATE_TOPIC,
        default_topic_queue_nums: 4,
        queue_id,
        sys_flag: out.sys_flag,
        born_timestamp: out.born_ms,
        properties: Some(properties),
        reconsume_times: Some(0),
        unit_mode: Some(false),
        ..Default::default()
    }
}

fn single(topic: &str, queue_id: i32, out: &Outgoing, message: &Message) -> Command {
    // Made of texts.
    let properties = str::from_utf8(out.properties.as_bytes()).unwrap_or_default();
    let mut command = Command::request(RequestCode::SEND_MESSAGE_V2).with_body(message.body.clone());
    header(topic, queue_id, out, properties).encode_v2(&mut command.fields);
    command
}

fn several(topic: &str, queue_id: i32, all: &[Outgoing], messages: &[Message]) -> Result<Command> {
    let bad = |why: &str| Err(Refusal::new(Code::BadRequest, why));
    let Some(first) = all.first() else { return bad("no message to send") };
    if all.iter().any(|out| out.kind == MessageType::Delay) {
        return bad("Delayed messages are not supported for batching");
    }
    if all.iter().any(|out| out.kind == MessageType::Transaction) {
        return bad("a transaction has one message in a call");
    }
    if all.iter().any(|out| out.sys_flag & sys_flag::COMPRESSED != 0) {
        return bad("compressed messages are not supported for batching");
    }
    let mut body = BytesMut::new();
    for (out, message) in all.iter().zip(messages) {
        let properties = out.properties.as_bytes();
        batch::encode(&BatchMessage { flag: 0, body: &message.body, properties }, &mut body);
    }
    let mut command = Command::request(RequestCode::SEND_BATCH_MESSAGE).with_body(body);
    let properties = str::from_utf8(first.properties.as_bytes()).unwrap_or_default();
    let header = header::SendMessage { batch: Some(true), ..header(topic, queue_id, first, properties) };
    header.encode_v2(&mut command.fields);
    Ok(command)
}

/// The queue of a message: by its key if it has one, so that all of a key are in one queue; else in turn.
fn choose<'a>(call: &Call, topic: &str, view: &'a View, key: Option<&str>) -> Result<(&'a Place, i32)> {
    let writable = view.masters.iter().filter(|(_, queues)| queues.perm & perm::WRITE != 0);
    let queues: Vec<(&Place, i32)> =
        writable.map(|(place, queues)| (place, queues.write_queue_nums.max(0))).filter(|q| q.1 > 0).collect();
    let all: usize = queues.iter().map(|(_, count)| *count as usize).sum();
    if all == 0 {
        return match view.masters.is_empty() {
            true => Err(no_queue(topic)),
            false => Err(Refusal::new(Code::Forbidden, "no writable queue")),
        };
    }
    let mut number = match key {
        Some(key) => jump_hash(tag_code(key), all),
        None => call.face.next_turn() % all,
    };
    for (place, count) in queues {
        let count = count as usize;
        if number < count {
            return Ok((place, number as i32));
        }
        number -= count;
    }
    Err(no_queue(topic))
}

/// One of so many buckets, for a key by its Java hash code; when there are more, few keys move. Source: Lamping and Veach, "A Fast, Minimal Memory, Consistent
/// Hash Algorithm", as Guava has it, which Apache's proxy uses.
fn jump_hash(key: i64, buckets: usize) -> usize {
    let mut state = key as u64;
    let mut candidate = 0usize;
    loop {
        state = state.wrapping_mul(2_862_933_555_777_941_757).wrapping_add(1);
        let random = ((state >> 33) + 1) as f64 / (1u64 << 31) as f64;
        let next = ((candidate + 1) as f64 / random) as usize;
        if next >= buckets {
            return candidate;
        }
        candidate = next;
    }
}

pub(crate) async fn recall(call: Call, request: RecallMessageRequest) -> Result<RecallMessageResponse> {
    let topic = check::topic(request.topic.as_ref())?;
    let view = call.face.view(topic).await?;
    check_type(&call, topic, &view, MessageType::Delay)?;
    let handle = RecallHandle::parse(&request.recall_handle)
        .ok_or_else(|| Refusal::new(Code::BadRequest, "recall handle is invalid"))?;
    let Some((place, _)) = view.masters.iter().find(|(place, _)| *place.name == *handle.broker) else {
        return Err(Refusal::new(Code::BadRequest, format!("cannot find broker {}", handle.broker)));
    };
    let header = header::RecallMessage { topic, recall_handle: &request.recall_handle, ..Default::default() };
    let command = Command::request(RequestCode::RECALL_MESSAGE).with_header(&header);
    let answer = success(call.link(place).await?.call(command, Duration::ZERO).await?)?;
    let recalled: header::RecallMessageResponse<'_> = answer.header().unwrap_or_default();
    Ok(RecallMessageResponse { status: Some(ok()), message_id: recalled.msg_id.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of the published algorithm; the buckets of a key change only to new ones.
    #[test]
    fn keys_stay_in_their_queues() {
        assert_eq!([tag_code(""), tag_code("a"), tag_code("order-1")], [0, 97, -1_207_111_310]);
        for key in ["", "a", "order-1", "user:42", "\u{1F600}"] {
            let mut before = 0;
            for buckets in 1..200 {
                let bucket = jump_hash(tag_code(key), buckets);
                assert!(bucket == before || bucket == buckets - 1, "{key} {buckets}");
                before = bucket;
            }
        }
        let spread = |buckets| {
            let mut counts = vec![0; buckets];
            (0..1_000 * buckets as i32)
                .for_each(|key| counts[jump_hash(tag_code(&key.to_string()), buckets)] += 1);
            counts
        };
        assert!(spread(8).iter().all(|count| (800..1_200).contains(count)));
    }
}
