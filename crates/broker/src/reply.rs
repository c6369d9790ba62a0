//! Replies (codes 324 and 325): the answer that a consumer gives to a message goes straight to the producer that asked (code
//! 326), and, as Apache does by default, into the log as well. Source of the rules: `ReplyMessageProcessor`.

use crate::Broker;
use crate::ask::{ANSWER_MS, Asked, NoAnswer};
use crate::effect::Effect;
use crate::input::ConnId;
use crate::produce::{Draft, Refused};
use crate::query::header_or_refuse;
use crate::sent::Sent;
use kerolox_store::Appended;
use kerolox_wire::header::{ReplyMessage, SendMessage, SendMessageResponse};
use kerolox_wire::properties::{Properties, PropertiesBuf, name as property};
use kerolox_wire::{Command, RequestCode, ResponseCode, sys_flag};
use std::sync::Arc;

/// A reply on its way to who asked.
pub(crate) struct Reply {
    /// Who replied.
    conn: ConnId,
    request: Command,
    queue_id: u32,
    /// Where it lies in the log; `None`: it does not.
    stored: Option<Appended>,
    /// The client that asked.
    asker: String,
}

impl Broker {
    pub(crate) fn send_reply(&mut self, now_ms: i64, conn: ConnId, request: &Command, out: &mut Vec<Effect>) {
        let header: SendMessage<'_> = header_or_refuse!(self, conn, request, out);
        if let Err(Refused(code, remark)) = self.try_send_reply(now_ms, conn, request, &header, out) {
            let answer = self.with_region(request.refuse(code, remark));
            self.reply(conn, request, answer, out);
        }
    }

    fn try_send_reply(
        &mut self,
        now_ms: i64,
        conn: ConnId,
        request: &Command,
        header: &SendMessage<'_>,
        out: &mut Vec<Effect>,
    ) -> Result<(), Refused> {
        let target = self.admit_send(now_ms, conn, header)?;
        self.refuse_if_too_many_asked(1)?;
        let queue_id = self.choose_queue(header.queue_id, target.write_queues);
        let encoded = header.properties.unwrap_or_default().as_bytes();
        // The asker gets it even if the log does not take it: that is what the answer tells of.
        let stored = match self.config.store_replies {
            true => self.store_reply(now_ms, conn, request, header, (&target.topic, queue_id)).ok(),
            false => None,
        };
        let error = |remark: String| Refused(ResponseCode::SYSTEM_ERROR, remark);
        let asker = Properties(encoded).get(property::MESSAGE_REPLY_TO_CLIENT).ok_or_else(|| {
            error(format!("reply message properties[{}] is null", property::MESSAGE_REPLY_TO_CLIENT))
        })?;
        let asker_conn = self
            .clients
            .producer(asker)
            .ok_or_else(|| error(format!("push reply message fail, channel of <{asker}> not found.")))?;
        let push = self.push_request(now_ms, conn, request, header);
        let reply = Reply { conn, request: request.bare(), queue_id, stored, asker: asker.to_owned() };
        self.ask(asker_conn, push, now_ms + ANSWER_MS, Asked::Reply(reply), out);
        Ok(())
    }

    fn store_reply(
        &mut self,
        now_ms: i64,
        conn: ConnId,
        request: &Command,
        header: &SendMessage<'_>,
        (topic, queue_id): (&Arc<str>, u32),
    ) -> Result<Appended, Refused> {
        let sent = Sent::scan(header.properties.unwrap_or_default().as_bytes());
        let unique_key = self.unique_key(now_ms, &sent);
        let properties = sent.stored(&self.own_properties, unique_key.as_deref());
        let draft = Draft { topic: Arc::clone(topic), queue_id, properties };
        self.refuse_uncompactable(&draft)?;
        let plain = SendMessage { sys_flag: header.sys_flag & !sys_flag::TRANSACTION_MASK, ..header.clone() };
        let appended = self.append(now_ms, conn, &plain, &draft, &request.body)?;
        self.counters.sent += 1;
        Ok(appended)
    }

    /// The reply as the asker gets it.
    fn push_request(
        &self,
        now_ms: i64,
        conn: ConnId,
        request: &Command,
        header: &SendMessage<'_>,
    ) -> Command {
        let mut properties = PropertiesBuf::from(header.properties.unwrap_or_default().as_bytes().to_vec());
        properties.set(property::PUSH_REPLY_TIME, &now_ms.to_string());
        let push = ReplyMessage {
            producer_group: header.producer_group,
            topic: header.topic,
            default_topic: header.default_topic,
            default_topic_queue_nums: header.default_topic_queue_nums,
            queue_id: header.queue_id,
            sys_flag: header.sys_flag,
            born_timestamp: header.born_timestamp,
            flag: header.flag,
            properties: std::str::from_utf8(properties.as_bytes()).ok(),
            reconsume_times: header.reconsume_times,
            unit_mode: header.unit_mode,
            born_host: &self.peer_text(conn),
            store_host: &self.config.host.to_string(),
            store_timestamp: now_ms,
            ..Default::default()
        };
        let push = Command::request(RequestCode::PUSH_REPLY_MESSAGE_TO_CLIENT).with_header(&push);
        push.with_body(request.body.clone())
    }

    /// The asker has it, or has not: who replied is told, and not before the stored copy is safe.
    pub(crate) fn reply_pushed(
        &mut self,
        reply: Reply,
        answer: Result<Command, NoAnswer>,
        out: &mut Vec<Effect>,
    ) {
        let pushed = answer.is_ok_and(|answer| answer.code == i32::from(ResponseCode::SUCCESS));
        let Reply { conn, request, queue_id, stored, asker } = reply;
        if !pushed {
            let remark = format!("push reply message to {asker}fail.");
            let answer = self.with_region(request.refuse(ResponseCode::SYSTEM_ERROR, remark));
            return self.reply(conn, &request, answer, out);
        }
        let id = stored.as_ref().map_or_else(|| "0".to_owned(), |stored| self.message_id(stored));
        let header = SendMessageResponse {
            msg_id: &id,
            queue_id: queue_id as i32,
            queue_offset: stored.map_or(0, |stored| stored.queue_offset as i64),
            ..Default::default()
        };
        let answer = self.with_region(request.respond(ResponseCode::SUCCESS).with_header(&header));
        if !request.is_oneway() {
            // What was appended until now includes the stored copy.
            self.acks.wait_for_state(conn, answer);
        }
    }
}
