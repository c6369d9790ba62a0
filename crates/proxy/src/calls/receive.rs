//! Receiving messages: a pop at one broker, whose answer is looked through before it goes on.

use super::acknowledge::{Change, Of, ack_handle, invisible_ms, put_off, to_dead_letters};
use crate::check;
use crate::face::Call;
use crate::handle::Handle;
use crate::known::{Place, View, no_queue};
use crate::message::{self, Delivery};
use crate::renew::FIRST_MS;
use crate::status::{Refusal, Result, ok};
use crate::v2::receive_message_response::Content;
use crate::v2::{
    Code, FilterExpression, FilterType, Message, ReceiveMessageRequest, ReceiveMessageResponse, Status,
};
use bytes::Bytes;
use kerolox_wire::body::{SubscriptionGroupConfig, perm};
use kerolox_wire::header::{PopLiteMessage, PopMessage, PopMessageResponse};
use kerolox_wire::properties::name as property;
use kerolox_wire::receipt::{Kind, Receipt};
use kerolox_wire::record::{RecordView, split};
use kerolox_wire::{Command, RequestCode, ResponseCode, names};
use std::collections::HashMap;
use std::time::Duration;

/// Shortest time that a received message is the client's own, in milliseconds.
const INVISIBLE_MS_MIN: i64 = 10_000;
/// A client that does not say how long it wants to wait.
const POLL_MS: i64 = 20_000;
/// The answer leaves so long before the client gives up.
const MARGIN_MS: i64 = 200;
/// What a client keeps of its deadline for the way, where only that is known.
const WAY_MS: i64 = 1_500;
const BATCH_MAX: i32 = 32;
/// Bytes that a client may leave untaken and still ask for more.
const UNTAKEN_MAX: usize = 8 << 20;

pub(crate) fn begin(call: Call, message: Bytes) {
    let Some(request) = super::decode::<ReceiveMessageRequest>(&call, message) else { return };
    tokio::task::spawn_local(async move {
        let named = super::named(&call);
        let is_named = named.is_ok();
        let result = match named {
            Ok(()) => receive(&call, &request).await,
            Err(refusal) => Err(refusal),
        };
        let say = |content| call.send(&ReceiveMessageResponse { content: Some(content) });
        let received = match result {
            Ok(received) => received,
            Err(refusal) => Received { status: refusal.status(), messages: Vec::new() },
        };
        say(Content::Status(received.status));
        let mut lost = Vec::new();
        for message in received.messages {
            match say(Content::Message(message.message)) {
                true => hold(&call, &request, &message.handle),
                false => lost.push(message.handle),
            }
        }
        if is_named {
            say(Content::DeliveryTimestamp(message::timestamp(call.now_ms())));
        }
        call.finish(0, "");
        give_back(&call, &request, lost).await;
    });
}

/// What is told.
struct Received {
    status: Status,
    messages: Vec<Taken>,
}

struct Taken {
    message: Message,
    handle: TakenHandle,
}

struct TakenHandle {
    message_id: String,
    lite_topic: Option<String>,
    text: String,
}

fn names_of(request: &ReceiveMessageRequest) -> (&str, &str) {
    let topic = request.message_queue.as_ref().and_then(|queue| queue.topic.as_ref());
    (topic.map_or("", |topic| &*topic.name), request.group.as_ref().map_or("", |group| &*group.name))
}

/// The client does not say how long it needs: that is seen to.
fn hold(call: &Call, request: &ReceiveMessageRequest, taken: &TakenHandle) {
    let (topic, group) = names_of(request);
    if request.auto_renew
        && let Ok(handle) = Handle::parse(&taken.text)
    {
        let of = Of { group, topic, lite_topic: taken.lite_topic.as_deref() };
        call.client.hold(of, &taken.message_id, &handle, (call.conn, call.stream));
        call.face.note_received(call);
    }
}

/// What the client cannot have got comes again soon.
async fn give_back(call: &Call, request: &ReceiveMessageRequest, lost: Vec<TakenHandle>) {
    let (topic, group) = names_of(request);
    for taken in lost {
        let Ok(handle) = Handle::parse(&taken.text) else { continue };
        let of = Of { group, topic, lite_topic: taken.lite_topic.as_deref() };
        // What cannot be put off comes again by itself.
        let change = Change { invisible_ms: 1_000, untried: true, ..Change::default() };
        drop(put_off(&call.face, &call.face.own, of, &handle, change).await);
    }
}

async fn receive(call: &Call, request: &ReceiveMessageRequest) -> Result<Received> {
    let queue = request.message_queue.clone().unwrap_or_default();
    let topic = check::topic(queue.topic.as_ref())?;
    let group = check::group(request.group.as_ref())?;
    let invisible_ms = match request.auto_renew {
        true => FIRST_MS,
        false => invisible_ms(request.invisible_duration.as_ref(), INVISIBLE_MS_MIN)?,
    };
    let default = FilterExpression::default();
    let filter = Filter::new(request.filter_expression.as_ref().unwrap_or(&default))?;
    if call.face.untaken(call.conn) > UNTAKEN_MAX {
        let why = "the connection has too much that was not taken: its windows are closed";
        return Err(Refusal::new(Code::TooManyRequests, why));
    }
    let view = call.face.view(topic).await?;
    // A group that is not there yet is not ordered.
    let config = match call.face.group(group, Some(topic)).await {
        Ok(config) => Some(config),
        Err(refusal) if refusal.is_of_the_moment() => return Err(refusal),
        Err(_) => None,
    };
    let _receiving = call.face.receiving(call.conn)?;
    let place = choose(call, topic, &view, queue.broker.as_ref().map_or("", |broker| &*broker.name))?;
    let poll_ms = poll_ms(call, request);
    let is_lite = call.client.is_lite()
        || config.as_ref().is_some_and(|config| config.attributes.contains_key("lite.bind.topic"));
    let ask = Ask { topic, group, filter: &filter, poll_ms, invisible_ms, request };
    let is_ordered = config.as_ref().is_some_and(|config| config.consume_message_orderly);
    let command = match is_lite {
        true => ask.pop_lite(&call.client.id, call.now_ms()),
        false => ask.pop(is_ordered),
    };
    let parked = Duration::from_millis(poll_ms.unsigned_abs());
    let answer = call.link(place).await?.call(command, parked).await?;
    let nothing =
        |code, why: &str| Ok(Received { status: Refusal::new(code, why).status(), messages: Vec::new() });
    match ResponseCode(answer.code) {
        ResponseCode::SUCCESS => {}
        ResponseCode::POLLING_TIMEOUT
        | ResponseCode::PULL_NOT_FOUND
        | ResponseCode::PULL_RETRY_IMMEDIATELY => {
            return nothing(Code::MessageNotFound, "no new message");
        }
        ResponseCode::POLLING_FULL => return nothing(Code::TooManyRequests, "polling full"),
        _ => return Err(Refusal::of(&answer)),
    }
    let max_attempts = config.as_deref().map_or(MAX_ATTEMPTS, max_attempts);
    let messages = look_through(call, &ask, place, &answer, max_attempts);
    call.face.count(|counters| counters.received += messages.len() as u64);
    if messages.is_empty() {
        return nothing(Code::MessageNotFound, "no match message");
    }
    Ok(Received { status: ok(), messages })
}

/// Attempts of a group that nobody set up.
const MAX_ATTEMPTS: i32 = 17;

/// How often a group gets a message.
pub(crate) fn max_attempts(config: &SubscriptionGroupConfig) -> i32 {
    config.retry_max_times.saturating_add(1)
}

/// How long to wait for a message: as the client says, and always less than it waits.
fn poll_ms(call: &Call, request: &ReceiveMessageRequest) -> i64 {
    let asked = request.long_polling_timeout.as_ref().map(message::millis).filter(|ms| *ms > 0);
    let left = call.timeout.map(|left| i64::try_from(left.as_millis()).unwrap_or(i64::MAX));
    let wanted = asked.or(left.map(|left| left - WAY_MS)).unwrap_or(POLL_MS).min(POLL_MS);
    wanted.min(left.map_or(POLL_MS, |left| left - MARGIN_MS)).max(0)
}

fn choose<'a>(call: &Call, topic: &str, view: &'a View, wanted: &str) -> Result<&'a Place> {
    let readable = |queues: &kerolox_wire::body::QueueData| queues.perm & perm::READ != 0;
    let places: Vec<&Place> =
        view.masters.iter().filter(|(_, queues)| readable(queues)).map(|(place, _)| place).collect();
    let named = places.iter().find(|place| *place.name == *wanted);
    let place = named.or_else(|| places.get(call.face.next_turn() % places.len().max(1)));
    place.copied().ok_or_else(|| match view.masters.is_empty() {
        true => no_queue(topic),
        false => Refusal::new(Code::Forbidden, "no readable queue"),
    })
}

/// What a consumer wants of a topic.
enum Filter {
    All,
    /// Brokers look at the tags' hash codes, which several may share.
    Tags {
        tags: Vec<String>,
        text: String,
    },
    Sql(String),
}

impl Filter {
    fn new(expression: &FilterExpression) -> Result<Self> {
        let text = expression.expression.trim();
        let illegal = |why: &str| Err(Refusal::new(Code::IllegalFilterExpression, why));
        if expression.r#type() == FilterType::Sql {
            return match text.is_empty() {
                true => illegal("Expression can't be null! SQL92"),
                false => Ok(Self::Sql(expression.expression.clone())),
            };
        }
        if text.is_empty() || text == "*" {
            return Ok(Self::All);
        }
        let tags: Vec<String> =
            text.split("||").map(str::trim).filter(|tag| !tag.is_empty()).map(str::to_owned).collect();
        match tags.is_empty() {
            true => illegal("subString split error"),
            false => Ok(Self::Tags { tags, text: expression.expression.clone() }),
        }
    }

    fn kind(&self) -> &'static str {
        if matches!(self, Self::Sql(_)) { "SQL92" } else { "TAG" }
    }

    fn text(&self) -> &str {
        match self {
            Self::All => "*",
            Self::Tags { text, .. } | Self::Sql(text) => text,
        }
    }

    fn wants(&self, tag: &str) -> bool {
        match self {
            Self::Tags { tags, .. } => tags.iter().any(|wanted| wanted == tag),
            _ => true,
        }
    }
}

/// What is asked of the broker.
struct Ask<'a> {
    topic: &'a str,
    group: &'a str,
    filter: &'a Filter,
    poll_ms: i64,
    invisible_ms: i64,
    request: &'a ReceiveMessageRequest,
}

impl Ask<'_> {
    fn count(&self) -> i32 {
        self.request.batch_size.clamp(1, BATCH_MAX)
    }

    fn pop(&self, is_ordered: bool) -> Command {
        let header = PopMessage {
            consumer_group: self.group,
            topic: self.topic,
            queue_id: -1,
            max_msg_nums: self.count(),
            invisible_time: self.invisible_ms,
            poll_time: self.poll_ms,
            born_time: 0,
            init_mode: 1,
            exp_type: Some(self.filter.kind()),
            exp: Some(self.filter.text()),
            order: Some(is_ordered),
            attempt_id: self.request.attempt_id.as_deref(),
            ..Default::default()
        };
        Command::request(RequestCode::POP_MESSAGE).with_header(&header)
    }

    fn pop_lite(&self, client_id: &str, now_ms: i64) -> Command {
        let header = PopLiteMessage {
            client_id,
            consumer_group: self.group,
            topic: self.topic,
            max_msg_num: self.count(),
            invisible_time: self.invisible_ms,
            poll_time: self.poll_ms,
            born_time: now_ms,
            attempt_id: self.request.attempt_id.as_deref(),
            ..Default::default()
        };
        Command::request(RequestCode::POP_LITE_MESSAGE).with_header(&header)
    }
}

/// Messages that the client gets; what it does not want is acknowledged, and what it got too often put aside.
fn look_through(
    call: &Call,
    ask: &Ask<'_>,
    place: &Place,
    answer: &Command,
    max_attempts: i32,
) -> Vec<Taken> {
    let header: PopMessageResponse<'_> = answer.header().unwrap_or_default();
    let starts = numbers(header.start_offset_info);
    let counts = numbers(header.order_count_info);
    let each = plain_numbers(header.order_count_info);
    let mut taken = Vec::new();
    for (number, record) in split(&answer.body).map_while(std::result::Result::ok).enumerate() {
        let kind = kind_of(&record, &header);
        let lite_topic = message::property_of(&record, property::LITE_TOPIC);
        let lite_offset =
            lite_topic.and_then(|lite| record.offset_in(&names::lite_queue(ask.topic, lite), 0));
        let is_lite = header.revive_qid == kerolox_wire::receipt::ORDERED && lite_offset.is_some();
        let (queue_id, offset) = match lite_offset.filter(|_| is_lite) {
            Some(offset) => (0, offset as i64),
            None => (record.queue_id as i32, record.queue_offset as i64),
        };
        let of_queue = format!("{} {queue_id}", kind.as_str());
        let of_message = format!("{} qo{queue_id}%{offset}", kind.as_str());
        let receipt = Receipt {
            start_offset: starts.get(&*of_queue).copied().unwrap_or(offset),
            pop_ms: header.pop_time,
            invisible_ms: header.invisible_time,
            revive_queue: header.revive_qid,
            kind,
            broker: &place.name,
            queue_id,
            offset: Some(offset),
        };
        let position = i64::try_from(record.position).unwrap_or(-1);
        let handle = format!("{receipt} {position}");
        let before = each.get(number).or(counts.get(&*of_message)).or(counts.get(&*of_queue));
        let before = before.map_or(record.reconsume_times, |n| i32::try_from(*n).unwrap_or(i32::MAX));
        let delivery = Delivery {
            receipt: Some(handle.clone()),
            invisible_ms: Some(header.invisible_time),
            attempts_before: Some(before),
            offset: is_lite.then_some(offset),
        };
        let lite_topic = lite_topic.filter(|_| is_lite).map(str::to_owned);
        let tag = message::property_of(&record, property::TAGS).unwrap_or_default();
        if !ask.filter.wants(tag) {
            aside(call, ask, lite_topic, handle, None);
        } else if before >= max_attempts {
            aside(call, ask, lite_topic, handle, Some(id_of(&record)));
        } else {
            let message = message::incoming(&record, &answer.body, ask.topic, delivery);
            let handle = TakenHandle { message_id: id_of(&record), lite_topic, text: handle };
            taken.push(Taken { message, handle });
        }
    }
    taken
}

/// Which topic a message lies in. One that comes again is said to be of the topic that it was in first; its receipt tells.
fn kind_of(record: &RecordView<'_>, header: &PopMessageResponse<'_>) -> Kind {
    let receipt = message::property_of(record, property::POP_CK).and_then(Receipt::parse);
    // (A producer may have sent anything, but cannot know this.)
    let own = receipt.filter(|receipt| receipt.pop_ms == header.pop_time);
    own.map_or_else(|| Kind::of(record.topic), |receipt| receipt.kind)
}

fn id_of(record: &RecordView<'_>) -> String {
    let unique = message::property_of(record, property::UNIQ_CLIENT_MESSAGE_ID_KEYIDX);
    unique.map_or_else(|| record.message_id().to_string(), str::to_owned)
}

/// A message that the client does not get: acknowledged, or with its id to the dead letters.
fn aside(call: &Call, ask: &Ask<'_>, lite_topic: Option<String>, handle: String, dead: Option<String>) {
    let (group, topic) = (ask.group.to_owned(), ask.topic.to_owned());
    let call = call.clone();
    tokio::task::spawn_local(async move {
        let of = Of { group: &group, topic: &topic, lite_topic: lite_topic.as_deref() };
        let Ok(handle) = Handle::parse(&handle) else { return };
        let face = &call.face;
        // What fails now is done when it comes again.
        drop(match dead {
            Some(id) => to_dead_letters(face, &call.client, of, &handle, &id).await,
            None => ack_handle(face, &call.client, of, &handle).await,
        });
    });
}

/// `number;…`: of a pop from lite topics, in the order of its messages. What has more to it is none of these.
fn plain_numbers(info: Option<&str>) -> Vec<i64> {
    info.into_iter().flat_map(|info| info.split(';')).map_while(|text| text.parse().ok()).collect()
}

/// `kind queue number;…` by `kind queue`.
fn numbers(info: Option<&str>) -> HashMap<&str, i64> {
    let entries = info.into_iter().flat_map(|info| info.split(';'));
    entries
        .filter_map(|entry| {
            let (key, number) = entry.rsplit_once(' ')?;
            Some((key, number.parse().ok()?))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_read_in_both_forms() {
        let by_queue = numbers(Some("0 3 1;1 0 2;0 qo3%17 5"));
        assert_eq!((by_queue["0 3"], by_queue["1 0"], by_queue["0 qo3%17"]), (1, 2, 5));
        assert!(plain_numbers(Some("0 3 1;1 0 2")).is_empty() && plain_numbers(None).is_empty());
        assert_eq!((plain_numbers(Some("0;2;1")), numbers(Some("0;2;1")).len()), (vec![0, 2, 1], 0));
    }

    #[test]
    fn filters_are_read_as_clients_mean_them() {
        let filter = |kind: FilterType, expression: &str| {
            Filter::new(&FilterExpression { r#type: kind.into(), expression: expression.to_owned() })
        };
        for all in ["", "*", " "] {
            assert!(filter(FilterType::Tag, all).unwrap().wants("anything"));
        }
        let tags = filter(FilterType::Tag, "a || b").unwrap();
        assert!(tags.wants("a") && tags.wants("b") && !tags.wants("c") && !tags.wants(""));
        assert_eq!((tags.kind(), tags.text()), ("TAG", "a || b"));
        assert_eq!(filter(FilterType::Sql, "x > 1").unwrap().kind(), "SQL92");
        for bad in [filter(FilterType::Tag, "||"), filter(FilterType::Sql, " ")] {
            assert_eq!(bad.err().unwrap().code, Code::IllegalFilterExpression);
        }
    }
}
