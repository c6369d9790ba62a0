//! Questions about what is stored: by id, key, time, and the ends of queues (codes 12, 29, 30, 31, 32, 33).

use crate::Broker;
use crate::compaction;
use crate::effect::Effect;
use crate::input::ConnId;
use crate::lmq;
use crate::pending::Pending;
use bytes::{Bytes, BytesMut};
use kerolox_store::{Boundary, QueueRead, QueueReadOutcome, QueueSlice};
use kerolox_wire::header::{
    GetMaxOffset, OffsetResponse, QueryMessage, QueryMessageResponse, SearchOffset, TimestampResponse,
    TopicQueue, ViewMessage,
};
use kerolox_wire::record;
use kerolox_wire::{Command, ResponseCode};
use std::sync::Arc;

/// Messages in the answer to a query by key at most: Apache's `defaultQueryMaxNum` (32), which a query by unique key
/// gets whatever it asks for.
const QUERY_COUNT_DEFAULT: i32 = 32;
const QUERY_COUNT_MAX: i32 = 256;

/// Reads a request's header, or answers why it cannot be read and returns.
macro_rules! header_or_refuse {
    ($self:ident, $conn:ident, $request:ident, $out:ident) => {
        match $request.header() {
            Ok(header) => header,
            Err(e) => {
                let refusal = $request.refuse(ResponseCode::SYSTEM_ERROR, e.to_string());
                return $self.reply($conn, $request, refusal, $out);
            }
        }
    };
}
pub(crate) use header_or_refuse;

impl Broker {
    pub(crate) fn max_offset(&mut self, conn: ConnId, request: &Command, out: &mut Vec<Effect>) {
        let header: GetMaxOffset<'_> = header_or_refuse!(self, conn, request, out);
        if header.timestamp.is_some() {
            // An early Go client numbers its search by time so.
            return self.search_offset(conn, request, out);
        }
        let offset = self.bounds(header.topic, queue(header.queue_id)).max as i64;
        let answer = OffsetResponse { offset, ..Default::default() };
        self.reply(conn, request, request.respond(ResponseCode::SUCCESS).with_header(&answer), out);
    }

    pub(crate) fn min_offset(&mut self, conn: ConnId, request: &Command, out: &mut Vec<Effect>) {
        let header: TopicQueue<'_> = header_or_refuse!(self, conn, request, out);
        let offset = self.bounds(header.topic, queue(header.queue_id)).min as i64;
        let answer = OffsetResponse { offset, ..Default::default() };
        self.reply(conn, request, request.respond(ResponseCode::SUCCESS).with_header(&answer), out);
    }

    pub(crate) fn search_offset(&mut self, conn: ConnId, request: &Command, out: &mut Vec<Effect>) {
        let header: SearchOffset<'_> = header_or_refuse!(self, conn, request, out);
        let boundary = match header.boundary_type {
            Some(kind) if kind.eq_ignore_ascii_case("upper") => Boundary::Upper,
            _ => Boundary::Lower,
        };
        let topic = lmq::read_topic(header.topic, header.lite_topic);
        let plan = self.store.plan_search_time(&topic, queue(header.queue_id), header.timestamp, boundary);
        self.start_read(plan, Pending::Search { conn, request: request.clone() }, out);
    }

    pub(crate) fn search_done(
        &mut self,
        conn: ConnId,
        request: &Command,
        offset: u64,
        out: &mut Vec<Effect>,
    ) {
        let header: SearchOffset<'_> = header_or_refuse!(self, conn, request, out);
        // Before the first message that its queue has, a compaction topic may have others.
        let first = self.store.bounds(header.topic, queue(header.queue_id)).map_or(0, |bounds| bounds.min);
        let min = self.bounds(header.topic, queue(header.queue_id)).min;
        let offset = if offset == first { min } else { offset };
        let answer = OffsetResponse { offset: offset as i64, ..Default::default() };
        self.reply(conn, request, request.respond(ResponseCode::SUCCESS).with_header(&answer), out);
    }

    pub(crate) fn earliest(&mut self, conn: ConnId, request: &Command, out: &mut Vec<Effect>) {
        let header: TopicQueue<'_> = header_or_refuse!(self, conn, request, out);
        let queue_id = queue(header.queue_id);
        let bounds = self.bounds(header.topic, queue_id);
        if bounds.min == bounds.max {
            return self.earliest_read(conn, request, &QueueSlice::default(), out);
        }
        let read =
            QueueRead { scan_max: 64, ..QueueRead::one(Arc::from(header.topic), queue_id, bounds.min) };
        match self.store.read_queue(read) {
            QueueReadOutcome::Done(slice) => self.earliest_read(conn, request, &slice, out),
            QueueReadOutcome::Cold(plan) => {
                self.start_read(plan, Pending::Earliest { conn, request: request.clone() }, out)
            }
        }
    }

    pub(crate) fn earliest_read(
        &mut self,
        conn: ConnId,
        request: &Command,
        slice: &QueueSlice,
        out: &mut Vec<Effect>,
    ) {
        let first = record::split(&slice.records).next().and_then(Result::ok);
        let timestamp = first.map_or(-1, |message| message.store_ms);
        let answer = TimestampResponse { timestamp, ..Default::default() };
        self.reply(conn, request, request.respond(ResponseCode::SUCCESS).with_header(&answer), out);
    }

    pub(crate) fn view(&mut self, conn: ConnId, request: &Command, out: &mut Vec<Effect>) {
        let header: ViewMessage<'_> = header_or_refuse!(self, conn, request, out);
        let position = header.offset;
        match u64::try_from(position) {
            Ok(at) => {
                let plan = self.store.plan_records(vec![at]);
                self.start_read(plan, Pending::View { conn, request: request.clone(), position }, out);
            }
            Err(_) => self.view_read(conn, request, position, None, out),
        }
    }

    pub(crate) fn view_read(
        &mut self,
        conn: ConnId,
        request: &Command,
        position: i64,
        found: Option<Bytes>,
        out: &mut Vec<Effect>,
    ) {
        let answer = match found {
            Some(record) => request.respond(ResponseCode::SUCCESS).with_body(compaction::restored(record)),
            None => {
                let remark = format!("can not find message by the offset, {position}");
                request.refuse(ResponseCode::SYSTEM_ERROR, remark)
            }
        };
        self.reply(conn, request, answer, out);
    }

    pub(crate) fn query(&mut self, conn: ConnId, request: &Command, out: &mut Vec<Effect>) {
        let header: QueryMessage<'_> = header_or_refuse!(self, conn, request, out);
        let count = if header.unique_key == Some(true) {
            QUERY_COUNT_DEFAULT
        } else {
            header.max_num.clamp(1, QUERY_COUNT_MAX)
        };
        let (from, to) = (header.begin_timestamp, header.end_timestamp);
        let plan = self.store.plan_query_key(header.topic, header.key, count as u32, from, to);
        self.start_read(plan, Pending::Query { conn, request: request.clone() }, out);
    }

    pub(crate) fn query_read(
        &mut self,
        now_ms: i64,
        conn: ConnId,
        request: &Command,
        found: &[Option<Bytes>],
        out: &mut Vec<Effect>,
    ) {
        let mut body = BytesMut::new();
        // The newest were found first; Apache gives them in the order of the log.
        for record in found.iter().rev().flatten() {
            body.extend_from_slice(&compaction::restored(record.clone()));
        }
        let header = QueryMessageResponse {
            index_last_update_timestamp: now_ms,
            index_last_update_phyoffset: self.store.watermarks().confirmed as i64,
            ..Default::default()
        };
        let answer = match body.is_empty() {
            true => request
                .refuse(ResponseCode::QUERY_NOT_FOUND, "can not find message, maybe time range not correct"),
            false => request.respond(ResponseCode::SUCCESS).with_body(body.freeze()),
        };
        self.reply(conn, request, answer.with_header(&header), out);
    }
}

/// A queue id of the wire as the store takes it; what no queue can have becomes one that no queue has.
pub(crate) fn queue(id: i32) -> u32 {
    u32::try_from(id).unwrap_or(u32::MAX)
}
