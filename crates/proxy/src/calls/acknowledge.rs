//! What consumers say of messages that they received: done, later, or never.

use crate::brokers::success;
use crate::check;
use crate::client::Client;
use crate::face::{Call, Face};
use crate::handle::Handle;
use crate::known::Place;
use crate::renew::{Held, Renewal};
use crate::status::{self, Refusal, Result, ok};
use crate::v2::{
    AckMessageEntry, AckMessageRequest, AckMessageResponse, AckMessageResultEntry,
    ChangeInvisibleDurationRequest, ChangeInvisibleDurationResponse, Code,
    ForwardMessageToDeadLetterQueueRequest, ForwardMessageToDeadLetterQueueResponse,
};
use kerolox_wire::header::{
    AckMessage, ChangeInvisibleTime, ChangeInvisibleTimeResponse, ConsumerSendMsgBack,
};
use kerolox_wire::receipt::Receipt;
use kerolox_wire::{Command, RequestCode, ResponseCode};
use std::rc::Rc;
use std::time::Duration;

/// Messages that one call may acknowledge.
const ENTRIES_MAX: usize = 4_096;
/// Longest time that a message may be another's, in milliseconds.
const INVISIBLE_MS_MAX: i64 = 12 * 3_600_000;

/// How long a message is to be the client's own, in milliseconds.
pub(crate) fn invisible_ms(asked: Option<&prost_types::Duration>, min_ms: i64) -> Result<i64> {
    let invisible_ms = asked.map_or(0, crate::message::millis);
    let illegal = |why: String| Err(Refusal::new(Code::IllegalInvisibleTime, why));
    if invisible_ms < min_ms {
        return illegal(format!("the invisibleTime is too small. min is {min_ms}"));
    }
    if invisible_ms > INVISIBLE_MS_MAX {
        return illegal(format!("the invisibleTime is too large. max is {INVISIBLE_MS_MAX}"));
    }
    Ok(invisible_ms)
}

/// Which message of whom.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Of<'a> {
    pub(crate) group: &'a str,
    pub(crate) topic: &'a str,
    pub(crate) lite_topic: Option<&'a str>,
}

pub(crate) async fn ack(call: Call, request: AckMessageRequest) -> Result<AckMessageResponse> {
    check::topic(request.topic.as_ref())?;
    check::group(request.group.as_ref())?;
    if request.entries.is_empty() {
        return Err(Refusal::new(Code::BadRequest, "there is no message to acknowledge"));
    }
    if request.entries.len() > ENTRIES_MAX {
        let why = format!("a call acknowledges {ENTRIES_MAX} messages at most");
        return Err(Refusal::new(Code::BadRequest, why));
    }
    let request = Rc::new(request);
    let tasks: Vec<_> = (0..request.entries.len())
        .map(|number| {
            let (call, request) = (call.clone(), Rc::clone(&request));
            tokio::task::spawn_local(async move {
                let Some(entry) = request.entries.get(number) else { return Ok(()) };
                let names = [&request.topic, &request.group].map(|r| r.as_ref().map_or("", |r| &*r.name));
                let [topic, group] = names;
                ack_one(&call, Of { group, topic, lite_topic: entry.lite_topic.as_deref() }, entry).await
            })
        })
        .collect();
    let mut entries = Vec::with_capacity(tasks.len());
    for (task, entry) in tasks.into_iter().zip(&request.entries) {
        let gone = || Refusal::new(Code::InternalServerError, "the acknowledgement was not made");
        let acked = task.await.unwrap_or_else(|_| Err(gone()));
        entries.push(AckMessageResultEntry {
            message_id: entry.message_id.clone(),
            receipt_handle: entry.receipt_handle.clone(),
            status: Some(acked.map_or_else(|refusal| refusal.status(), |()| ok())),
        });
    }
    let status = status::of_all(entries.iter().filter_map(|entry| entry.status.as_ref()));
    Ok(AckMessageResponse { status: Some(status), entries })
}

async fn ack_one(call: &Call, of: Of<'_>, entry: &AckMessageEntry) -> Result<()> {
    let meant = Meant::of(call, of, &entry.message_id, &entry.receipt_handle)?;
    let told = async {
        let handle = meant.handle()?;
        meant.check_current(call, &handle)?;
        ack_handle(&call.face, &call.client, meant.with(of), &handle).await
    };
    let result = told.await;
    meant.settle(call, result)
}

/// The message that a call means: as it says, or as it was renewed meanwhile.
struct Meant<'a> {
    said: &'a str,
    renewed: Option<(Held, Renewal)>,
}

impl<'a> Meant<'a> {
    /// The message is not renewed any more.
    fn of(call: &Call, of: Of<'_>, message_id: &str, said: &'a str) -> Result<Self> {
        let renewed = call.client.release(of, message_id, &Handle::parse(said)?);
        Ok(Self { said, renewed })
    }

    fn handle(&self) -> Result<Handle<'_>> {
        Handle::parse(self.renewed.as_ref().map_or(self.said, |(_, renewal)| &renewal.handle))
    }

    /// What was not done for a reason of the moment the client tries again, with the only handle that it knows.
    fn settle<T>(self, call: &Call, result: Result<T>) -> Result<T> {
        if result.as_ref().is_err_and(Refusal::is_of_the_moment) {
            call.client.held.borrow_mut().extend(self.renewed.map(|(held, renewal)| (held, renewal.idle())));
        }
        result
    }

    /// Not all clients say the lite topic.
    fn with<'b>(&'b self, of: Of<'b>) -> Of<'b> {
        let known = self.renewed.as_ref().and_then(|(_, renewal)| renewal.lite_topic.as_deref());
        Of { lite_topic: of.lite_topic.or(known), ..of }
    }

    /// Whether the message can still be the client's own by what its handle says. The broker of the process knows better: it may have
    /// been renewed without another handle, by this face or one before it.
    fn check_current(&self, call: &Call, handle: &Handle<'_>) -> Result<()> {
        match self.renewed.is_some() || call.face.here().is_some() {
            true => Ok(()),
            false => handle.check_current(call.now_ms()),
        }
    }
}

/// Tells the broker that a message is done.
///
/// As with Apache, to say it twice is no mistake; after the time that the handle names, it is told if the message was not the client's own
/// any more.
pub(crate) async fn ack_handle(
    face: &Rc<Face>,
    client: &Rc<Client>,
    of: Of<'_>,
    handle: &Handle<'_>,
) -> Result<()> {
    let place = place(face, of, handle).await?;
    let topic = handle.topic(of.topic, of.group);
    let header = AckMessage {
        consumer_group: of.group,
        topic: &topic,
        queue_id: handle.receipt.queue_id,
        extra_info: handle.text,
        offset: handle.offset,
        lite_topic: of.lite_topic,
        in_flight: (handle.visible_ms() <= (face.config.now_ms)()).then_some(true),
        ..Default::default()
    };
    let command = Command::request(RequestCode::ACK_MESSAGE).with_header(&header);
    taken(client.link(face, &place).await?.call(command, Duration::ZERO).await?)?;
    Ok(())
}

/// A broker's answer to what was said of a handle: that there is no such message in flight is the one that ends all trying.
fn taken(answer: Command) -> Result<Command> {
    match ResponseCode(answer.code) {
        ResponseCode::NO_MESSAGE | ResponseCode::MESSAGE_ILLEGAL | ResponseCode::INVALID_PARAMETER => {
            Err(Refusal::new(Code::InvalidReceiptHandle, answer.remark.unwrap_or_default()))
        }
        _ => success(answer),
    }
}

/// Where a handle's message lies; one of another cluster, or that somebody made up, is none.
async fn place(face: &Rc<Face>, of: Of<'_>, handle: &Handle<'_>) -> Result<Place> {
    face.place(handle.receipt.broker, of.topic).await.map_err(|refusal| match refusal.code {
        Code::BadRequest => Refusal::new(Code::InvalidReceiptHandle, refusal.message),
        _ => refusal,
    })
}

/// What is to become of a message in flight.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Change {
    /// From now on.
    pub(crate) invisible_ms: i64,
    /// This delivery does not count.
    pub(crate) untried: bool,
    /// Whoever has the handle is not told of another. (Brokers of Apache give one all the same.)
    pub(crate) keep_receipt: bool,
}

/// Lets a message come again after so long; the handle that it has then.
pub(crate) async fn put_off(
    face: &Rc<Face>,
    client: &Rc<Client>,
    of: Of<'_>,
    handle: &Handle<'_>,
    change: Change,
) -> Result<String> {
    let place = place(face, of, handle).await?;
    let topic = handle.topic(of.topic, of.group);
    let header = ChangeInvisibleTime {
        consumer_group: of.group,
        topic: &topic,
        queue_id: handle.receipt.queue_id,
        extra_info: handle.text,
        offset: handle.offset,
        invisible_time: change.invisible_ms,
        lite_topic: of.lite_topic,
        suspend: change.untried.then_some(true),
        keep_receipt: change.keep_receipt.then_some(true),
        ..Default::default()
    };
    let command = Command::request(RequestCode::CHANGE_MESSAGE_INVISIBLETIME).with_header(&header);
    let answer = taken(client.link(face, &place).await?.call(command, Duration::ZERO).await?)?;
    let changed: ChangeInvisibleTimeResponse = answer.header().unwrap_or_default();
    let receipt = Receipt {
        start_offset: handle.offset,
        pop_ms: changed.pop_time,
        invisible_ms: changed.invisible_time,
        revive_queue: changed.revive_qid,
        ..handle.receipt
    };
    Ok(Handle { receipt, ..*handle }.to_string())
}

pub(crate) async fn change_invisible(
    call: Call,
    request: ChangeInvisibleDurationRequest,
) -> Result<ChangeInvisibleDurationResponse> {
    // Clients take over the handle of any answer.
    Ok(match changed(&call, &request).await {
        Ok(receipt_handle) => ChangeInvisibleDurationResponse { status: Some(ok()), receipt_handle },
        Err(refusal) => ChangeInvisibleDurationResponse {
            status: Some(refusal.status()),
            receipt_handle: request.receipt_handle,
        },
    })
}

/// The handle that the message has then.
async fn changed(call: &Call, request: &ChangeInvisibleDurationRequest) -> Result<String> {
    let topic = check::topic(request.topic.as_ref())?;
    let group = check::group(request.group.as_ref())?;
    let invisible_ms = invisible_ms(request.invisible_duration.as_ref(), 0)?;
    let of = Of { group, topic, lite_topic: request.lite_topic.as_deref() };
    let meant = Meant::of(call, of, &request.message_id, &request.receipt_handle)?;
    let told = async {
        let handle = meant.handle()?;
        meant.check_current(call, &handle)?;
        let change = Change { invisible_ms, untried: request.suspend(), ..Change::default() };
        put_off(&call.face, &call.client, meant.with(of), &handle, change).await
    };
    let result = told.await;
    meant.settle(call, result)
}

pub(crate) async fn forward(
    call: Call,
    request: ForwardMessageToDeadLetterQueueRequest,
) -> Result<ForwardMessageToDeadLetterQueueResponse> {
    let topic = check::topic(request.topic.as_ref())?;
    let group = check::group(request.group.as_ref())?;
    let of = Of { group, topic, lite_topic: request.lite_topic.as_deref() };
    let meant = Meant::of(&call, of, &request.message_id, &request.receipt_handle)?;
    let told = async {
        let handle = meant.handle()?;
        to_dead_letters(&call.face, &call.client, meant.with(of), &handle, &request.message_id).await
    };
    let result = told.await;
    meant.settle(&call, result)?;
    Ok(ForwardMessageToDeadLetterQueueResponse { status: Some(ok()) })
}

/// Copies a message to the dead letters of its group, and acknowledges it.
pub(crate) async fn to_dead_letters(
    face: &Rc<Face>,
    client: &Rc<Client>,
    of: Of<'_>,
    handle: &Handle<'_>,
    message_id: &str,
) -> Result<()> {
    if handle.position < 0 {
        return Err(Refusal::new(Code::InvalidReceiptHandle, "commit log offset is empty"));
    }
    let place = place(face, of, handle).await?;
    let topic = handle.topic(of.topic, of.group);
    let header = ConsumerSendMsgBack {
        offset: handle.position,
        group: of.group,
        delay_level: -1,
        origin_msg_id: Some(message_id),
        origin_topic: Some(&topic),
        unit_mode: Some(false),
        max_reconsume_times: Some(0),
        ..Default::default()
    };
    let command = Command::request(RequestCode::CONSUMER_SEND_MSG_BACK).with_header(&header);
    success(client.link(face, &place).await?.call(command, Duration::ZERO).await?)?;
    // It is safe there. If it cannot be acknowledged, because it has been delivered again or the broker is away, it may come again and be
    // there twice; but a client that is told of it forwards it again, each second, and each time there is one more.
    drop(ack_handle(face, client, of, handle).await);
    Ok(())
}

impl Client {
    /// A message is not renewed any more: how it was.
    fn release(&self, of: Of<'_>, message_id: &str, handle: &Handle<'_>) -> Option<(Held, Renewal)> {
        let mut held = self.held.borrow_mut();
        if held.is_empty() {
            return None;
        }
        held.remove_entry(&Held::new(of, message_id, handle))
    }
}
