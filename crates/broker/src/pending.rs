//! Reads under way, and what is to be done when they end.

use crate::Broker;
use crate::admin::Untimed;
use crate::admin::reset::Reset;
use crate::effect::Effect;
use crate::input::{ConnId, ReadId};
use crate::pop::{Key, Pop};
use crate::pull::PullRequest;
use crate::retry::SendBack;
use crate::transaction::HalfRead;
use bytes::Bytes;
use kerolox_store::{Bounds, Position, ReadPlan, ReadResult};
use kerolox_wire::recall::RecallHandle;
use kerolox_wire::{Command, ResponseCode};
use std::sync::Arc;

/// Who waits for a read.
pub(crate) enum Pending {
    Pull(PullRequest),
    /// What was kept of a compaction topic, by offset and position, for a pull.
    PullCompacted {
        pull: PullRequest,
        kept: Vec<(u64, Position)>,
    },
    /// The last message of a lite topic, to know how old it is.
    LiteLast {
        queue: Arc<str>,
    },
    /// Messages of compaction topics at a start.
    CompactedLoad {
        topic: Arc<str>,
        queue_id: u32,
    },
    /// Last messages of keys that are to be written again.
    RollCompacted {
        below: Position,
        positions: Vec<Position>,
    },
    Pop(Box<Pop>),
    /// A popped message whose invisible time is over.
    Revive {
        key: Key,
        offset: u64,
        /// Where retention had left it, if it did.
        kept: Option<Position>,
    },
    /// The original of a message that a consumer sends back.
    SendBack(SendBack),
    /// The next delayed messages of a level.
    Delay {
        index: usize,
    },
    /// A half message that is to be ended or asked about.
    Half {
        position: u64,
        why: HalfRead,
    },
    /// What timer messages there are.
    TimerIndex,
    /// Timer messages that are due soon, or to be moved.
    Timers {
        offsets: Vec<u64>,
    },
    RollTimers {
        offsets: Vec<u64>,
    },
    /// Code 370.
    Recall {
        conn: ConnId,
        request: Command,
        handle: RecallHandle,
    },
    /// Code 323.
    Resume {
        conn: ConnId,
        request: Command,
    },
    /// Code 33: `answer` is made a success or a refusal.
    View {
        conn: ConnId,
        request: Command,
        position: i64,
    },
    /// Code 309.
    Direct {
        conn: ConnId,
        request: Command,
    },
    /// Code 222: where a queue begins at a time.
    Reset(Reset),
    /// Code 12.
    Query {
        conn: ConnId,
        request: Command,
    },
    /// Code 29.
    Search {
        conn: ConnId,
        request: Command,
    },
    /// Code 32.
    Earliest {
        conn: ConnId,
        request: Command,
    },
    /// Codes 28, 202, 208, 303 and 317.
    Times {
        conn: ConnId,
        request: Command,
        untimed: Untimed,
    },
    /// Code 321.
    QueueEntries {
        conn: ConnId,
        request: Command,
        bounds: Bounds,
    },
}

impl Pending {
    /// The client that waits, if one does.
    fn conn(&self) -> Option<ConnId> {
        match self {
            Self::Pull(pull) | Self::PullCompacted { pull, .. } => Some(pull.conn),
            Self::Pop(pop) => Some(pop.conn()),
            Self::SendBack(back) => Some(back.conn),
            Self::Reset(reset) => Some(reset.conn),
            Self::Half { why: HalfRead::End { conn, .. }, .. }
            | Self::Resume { conn, .. }
            | Self::Recall { conn, .. }
            | Self::View { conn, .. }
            | Self::Direct { conn, .. }
            | Self::Query { conn, .. }
            | Self::Search { conn, .. }
            | Self::Earliest { conn, .. }
            | Self::Times { conn, .. }
            | Self::QueueEntries { conn, .. } => Some(*conn),
            Self::Revive { .. }
            | Self::Delay { .. }
            | Self::Half { why: HalfRead::Check | HalfRead::GiveUp, .. }
            | Self::TimerIndex
            | Self::Timers { .. }
            | Self::RollTimers { .. }
            | Self::LiteLast { .. }
            | Self::CompactedLoad { .. }
            | Self::RollCompacted { .. } => None,
        }
    }

    /// What a client is told if its read cannot be done; nothing for the broker's own.
    fn refusal(&self, code: ResponseCode, why: &str) -> Option<(ConnId, Command)> {
        let refused = |conn: &ConnId, request: &Command| {
            (!request.is_oneway()).then(|| (*conn, request.refuse(code, why)))
        };
        match self {
            Self::Pull(pull) | Self::PullCompacted { pull, .. } => {
                Some((pull.conn, Command { code: code.into(), ..pull.response.clone() }.with_remark(why)))
            }
            Self::Pop(pop) => Some((pop.conn(), pop.refusal(code, why))),
            Self::SendBack(back) => refused(&back.conn, &back.request),
            Self::Reset(reset) => refused(&reset.conn, &reset.request),
            Self::Half { why: HalfRead::End { conn, request }, .. }
            | Self::Resume { conn, request }
            | Self::Recall { conn, request, .. }
            | Self::View { conn, request, .. }
            | Self::Direct { conn, request }
            | Self::Query { conn, request }
            | Self::Search { conn, request }
            | Self::Earliest { conn, request }
            | Self::Times { conn, request, .. }
            | Self::QueueEntries { conn, request, .. } => refused(conn, request),
            Self::Revive { .. }
            | Self::Delay { .. }
            | Self::Half { why: HalfRead::Check | HalfRead::GiveUp, .. }
            | Self::TimerIndex
            | Self::Timers { .. }
            | Self::RollTimers { .. }
            | Self::LiteLast { .. }
            | Self::CompactedLoad { .. }
            | Self::RollCompacted { .. } => None,
        }
    }
}

impl Broker {
    pub(crate) fn start_read(&mut self, plan: ReadPlan, pending: Pending, out: &mut Vec<Effect>) {
        let conn = pending.conn();
        if conn.is_some() && self.reads.len() >= self.config.limits.reads_max {
            let why = format!("[READS]broker busy: {} reads are under way", self.reads.len());
            if let Some((conn, command)) = pending.refusal(ResponseCode::SYSTEM_BUSY, &why) {
                out.push(Effect::Send { conn, command });
            }
            return;
        }
        let read = ReadId(self.next_read);
        self.next_read += 1;
        self.reads.insert(read, pending);
        out.push(Effect::Read { read, conn, plan });
    }

    pub(crate) fn read_done(&mut self, now_ms: i64, read: ReadId, result: ReadResult, out: &mut Vec<Effect>) {
        let Some(pending) = self.reads.remove(&read) else { return };
        match (pending, result) {
            (Pending::Pull(pull), ReadResult::Queue(slice)) => {
                self.pull_read_from_disk(now_ms, pull, slice, out);
            }
            (Pending::PullCompacted { pull, kept }, ReadResult::Records(found)) => {
                self.pull_compacted_read(now_ms, pull, &kept, found, out);
            }
            (Pending::Pop(pop), ReadResult::Queue(slice)) => self.pop_read(now_ms, *pop, Some(slice), out),
            (Pending::Pop(pop), ReadResult::Records(found)) => self.pop_kept_read(now_ms, *pop, found, out),
            (Pending::Pop(pop), _) => self.pop_read(now_ms, *pop, None, out),
            (Pending::SendBack(back), ReadResult::Records(records)) => {
                self.send_back_read(now_ms, back, records.into_iter().next().flatten(), out);
            }
            (Pending::Half { position, why }, ReadResult::Queue(slice)) => {
                self.half_read(now_ms, position, why, &slice, out);
            }
            (Pending::Recall { conn, request, handle }, ReadResult::Records(found)) => {
                self.recall_found(conn, &request, &handle, &found, out);
            }
            (Pending::Resume { conn, request }, ReadResult::Records(records)) => {
                self.resume_read(now_ms, conn, &request, records.first().and_then(Option::as_ref), out);
            }
            (Pending::View { conn, request, position }, ReadResult::Records(records)) => {
                self.view_read(conn, &request, position, records.into_iter().next().flatten(), out);
            }
            (Pending::Direct { conn, request }, ReadResult::Records(records)) => {
                let message = records.into_iter().next().flatten();
                self.consume_directly_read(now_ms, conn, &request, message, out);
            }
            (Pending::Reset(reset), ReadResult::Offset(offset)) => self.reset_searched(reset, offset, out),
            (Pending::Query { conn, request }, ReadResult::Records(records)) => {
                self.query_read(now_ms, conn, &request, &records, out);
            }
            (Pending::Search { conn, request }, ReadResult::Offset(offset)) => {
                self.search_done(conn, &request, offset, out)
            }
            (Pending::Earliest { conn, request }, ReadResult::Queue(slice)) => {
                self.earliest_read(conn, &request, &slice, out)
            }
            (Pending::Times { conn, request, untimed }, ReadResult::Times(times)) => {
                self.times_read(now_ms, conn, &request, untimed, times, out);
            }
            (Pending::QueueEntries { conn, request, bounds }, ReadResult::Entries(entries)) => {
                self.queue_entries_read(conn, &request, bounds, &entries, out);
            }
            (pending, result) => self.own_read_done(now_ms, pending, result, out),
        }
    }

    /// A read that the broker wanted for itself was done, or one that a client waits for was not.
    fn own_read_done(&mut self, now_ms: i64, pending: Pending, result: ReadResult, out: &mut Vec<Effect>) {
        match (pending, result) {
            (Pending::CompactedLoad { topic, queue_id }, ReadResult::Queue(slice)) => {
                self.compacted_read(now_ms, &topic, queue_id, Some(slice));
            }
            (Pending::LiteLast { queue }, ReadResult::Queue(slice)) => {
                self.lite_last_read(now_ms, &queue, Some(&slice));
            }
            (Pending::LiteLast { queue }, _) => self.lite_last_read(now_ms, &queue, None),
            (Pending::CompactedLoad { topic, queue_id }, _) => {
                self.compacted_read(now_ms, &topic, queue_id, None);
            }
            (Pending::RollCompacted { below, positions }, result) => {
                self.compacted_rolled(now_ms, below, &positions, records(result), out);
            }
            (Pending::Revive { key, offset, kept }, ReadResult::Queue(slice)) => {
                self.revive_read(now_ms, key, offset, kept, Some(&slice));
            }
            (Pending::Revive { key, offset, kept }, ReadResult::Records(found)) => {
                self.revive_kept_read(now_ms, key, offset, kept, found);
            }
            (Pending::Revive { key, offset, kept }, _) => self.revive_read(now_ms, key, offset, kept, None),
            (Pending::Delay { index }, ReadResult::Queue(slice)) => self.delay_read(now_ms, index, slice),
            (Pending::Delay { index }, _) => self.delay.retry(now_ms, index),
            (Pending::Half { position, why: HalfRead::Check }, _) => self.check_unread(now_ms, position),
            // Retention comes again.
            (Pending::Half { why: HalfRead::GiveUp, .. }, _) => {}
            (Pending::TimerIndex, ReadResult::Entries(entries)) => {
                self.timers_loaded(now_ms, Some(entries), out);
            }
            (Pending::TimerIndex, _) => self.timers_loaded(now_ms, None, out),
            (Pending::Timers { offsets }, result) => {
                self.timers_read(now_ms, &offsets, records(result), out);
            }
            (Pending::RollTimers { offsets }, result) => {
                self.timers_rolled(now_ms, &offsets, records(result));
            }
            (pending, result) => {
                let why = match result {
                    ReadResult::Failed(why) => format!("reading the store failed: {why}"),
                    _ => "the store answered something else than was asked".to_owned(),
                };
                if let Some((conn, command)) = pending.refusal(ResponseCode::SYSTEM_ERROR, &why) {
                    out.push(Effect::Send { conn, command });
                }
            }
        }
    }
}

/// The records that were read; `None`: they could not be.
fn records(result: ReadResult) -> Option<Vec<Option<Bytes>>> {
    match result {
        ReadResult::Records(records) => Some(records),
        _ => None,
    }
}
