//! Which groups have consumed a message, and letting a client consume one.

use super::client::{Refused, is_refusal};
use super::consumer::{connected, running_info, stats};
use super::message::Message;
use super::running::Running;
use super::session::{Session, read};
use anyhow::{Result, bail};
use kerolox_wire::body::{ConsumeMessageDirectlyResult, ConsumeType, ConsumerConnection};
use kerolox_wire::header::ConsumeMessageDirectly;
use kerolox_wire::{Command, RequestCode, ResponseCode};
use serde_json::json;

/// What is known of a message and a group, in Apache's words.
fn track(session: &mut Session, message: &Message, group: &str) -> (&'static str, Option<String>) {
    let members = match connected(session, group, None) {
        Ok(members) => members,
        Err(why) => return unknown(&why),
    };
    if members.consume_type == Some(ConsumeType::Actively) {
        return ("PULL", None);
    }
    match consumed(session, message, group) {
        Ok(true) if is_filtered(message, &members) => ("CONSUMED_BUT_FILTERED", None),
        Ok(true) => ("CONSUMED", None),
        Ok(false) => ("NOT_CONSUME_YET", None),
        Err(why) if is_refusal(&why, ResponseCode::BROADCAST_CONSUMPTION) => ("CONSUME_BROADCASTING", None),
        Err(why) => unknown(&why),
    }
}

fn unknown(why: &anyhow::Error) -> (&'static str, Option<String>) {
    let offline = why.downcast_ref::<Refused>().is_some_and(|r| r.code == ResponseCode::CONSUMER_NOT_ONLINE);
    (if offline { "NOT_ONLINE" } else { "UNKNOWN" }, Some(crate::one_line(why)))
}

/// Whether a group's offset is behind a message.
fn consumed(session: &mut Session, message: &Message, group: &str) -> Result<bool> {
    let stats = stats(session, group, Some(&message.topic), None)?;
    Ok(stats.offset_table.iter().any(|(queue, offsets)| {
        queue.topic == message.topic
            && queue.broker_name == message.broker
            && u32::try_from(queue.queue_id).is_ok_and(|id| id == message.queue_id)
            && u64::try_from(offsets.consumer_offset).is_ok_and(|offset| offset > message.queue_offset)
    }))
}

/// Whether the group does not want a message with these tags.
fn is_filtered(message: &Message, members: &ConsumerConnection) -> bool {
    let Some(data) = members.subscription_table.get(&message.topic) else { return false };
    let wanted = |tag: &String| tag == "*" || Some(tag.as_str()) == message.tags();
    !data.tags_set.is_empty() && !data.tags_set.iter().any(wanted)
}

/// Tells of every group that consumes the message's topic.
pub(super) fn show(session: &mut Session, message: &Message) -> Result<()> {
    let Some(route) = session.route_if_any(&message.topic)? else { return Ok(()) };
    let groups = super::topic::groups_of(session, &message.topic, &route)?;
    session.out.line(if groups.is_empty() { "\n\nWARN: No Consumer" } else { "\n" });
    for group in groups {
        let (kind, why) = track(session, message, &group);
        let shown = why.as_deref().unwrap_or("null");
        session
            .out
            .line(format!("MessageTrack [consumerGroup={group}, trackType={kind}, exceptionDesc={shown}]"));
        let json =
            json!({"messageId": message.id(), "consumerGroup": group, "trackType": kind, "reason": why});
        session.out.push("tracks", json);
    }
    Ok(())
}

/// Lets a client of a push consumer consume a message now.
pub(super) fn push(session: &mut Session, message: &Message, group: &str, client_id: &str) -> Result<()> {
    if !Running(running_info(session, group, client_id, false)?).is_push() {
        bail!("the client {client_id} is no push consumer: nothing can be pushed to it");
    }
    let header = ConsumeMessageDirectly {
        consumer_group: group,
        client_id,
        msg_id: &message.offset_id,
        broker_name: Some(&message.broker),
        topic: Some(&message.topic),
        ..ConsumeMessageDirectly::default()
    };
    let request = Command::request(RequestCode::CONSUME_MESSAGE_DIRECTLY).with_header(&header);
    let answer = session.client.done(&message.store_host.to_string(), request)?;
    let result: ConsumeMessageDirectlyResult = read(&answer)?;
    let or_null = |text: &Option<String>| text.clone().unwrap_or_else(|| "null".to_owned());
    session.out.line(format!(
        "ConsumeMessageDirectlyResult [order={}, autoCommit={}, consumeResult={}, remark={}, spentTimeMills={}]",
        result.order,
        result.auto_commit,
        or_null(&result.consume_result),
        or_null(&result.remark),
        result.spent_time_mills
    ));
    session.out.push("results", json!(result));
    Ok(())
}
