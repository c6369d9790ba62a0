//! A producer of transactions: sends half messages, ends them as planned, and answers when it is asked.

use super::{Plan, TOPIC};
use crate::ledger::body::{body, origin};
use crate::ledger::client::Client;
use anyhow::{Context, Result, bail};
use kerolox_wire::body::{self as bodies, HeartbeatData, ProducerData};
use kerolox_wire::header::{CheckTransactionState, EndTransaction, SendMessage, SendMessageResponse};
use kerolox_wire::message_id::MessageId;
use kerolox_wire::record::RecordView;
use kerolox_wire::{Command, RequestCode, ResponseCode, sys_flag};
use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

const GROUP: &str = "transactions";
/// Half messages in flight.
const IN_FLIGHT: usize = 32;
/// How long nothing may come before something else is looked at.
const PATIENCE: Duration = Duration::from_millis(20);

pub(crate) struct Producer {
    pub(crate) id: u32,
    count: u64,
    /// Messages below this may be sent now.
    allowed: u64,
    /// Messages below this were sent.
    sent: u64,
    acknowledged: HashSet<u64>,
}

/// The body of a message by who sent it and as which.
pub(crate) fn body_of((producer, number): (u32, u64)) -> Vec<u8> {
    body(producer, number)
}

impl Producer {
    pub(crate) fn new(id: u32, count: u64) -> Self {
        Self { id, count, allowed: 0, sent: 0, acknowledged: HashSet::new() }
    }

    pub(crate) fn allow(&mut self, upto: u64) {
        self.allowed = upto.min(self.count);
    }

    /// Half messages that the broker promised to keep.
    pub(crate) fn acknowledged(&self) -> impl Iterator<Item = u64> {
        self.acknowledged.iter().copied()
    }

    #[cfg(test)]
    pub(crate) fn note_acknowledged(&mut self, number: u64) {
        self.acknowledged.insert(number);
    }

    /// Until `over`, or the connection breaks because the broker was killed.
    pub(crate) fn work(&mut self, address: SocketAddr, over: &AtomicBool) {
        // What was in flight when the broker died is open: it may be there or not, and is ended when the broker asks.
        let _ = self.exchange(address, over);
    }

    fn exchange(&mut self, address: SocketAddr, over: &AtomicBool) -> Result<()> {
        let mut client = Client::connect(address)?;
        client.set_patience(PATIENCE)?;
        client.send(vec![self.heartbeat()])?;
        let mut waiting = HashMap::new();
        while !over.load(Ordering::SeqCst) {
            let mut requests = Vec::new();
            let mut numbers = Vec::new();
            while waiting.len() + requests.len() < IN_FLIGHT && self.sent < self.allowed {
                requests.push(self.half(self.sent));
                numbers.push(self.sent);
                self.sent += 1;
            }
            if !requests.is_empty() {
                let first = client.send(requests)?;
                waiting.extend(numbers.into_iter().zip(first..).map(|(number, opaque)| (opaque, number)));
            }
            let Some(command) = client.receive_any()? else { continue };
            if command.is_response() {
                if let Some(number) = waiting.remove(&command.opaque) {
                    self.take_answer(&mut client, number, &command)?;
                }
            } else if command.code == RequestCode::CHECK_TRANSACTION_STATE.0 {
                self.take_question(&mut client, &command)?;
            }
        }
        Ok(())
    }

    fn heartbeat(&self) -> Command {
        let data = HeartbeatData {
            client_id: format!("transactions-{}", self.id),
            producer_data_set: vec![ProducerData { group_name: GROUP.to_owned() }],
            ..HeartbeatData::default()
        };
        Command::request(RequestCode::HEART_BEAT).with_body(bodies::to_json(&data))
    }

    fn half(&self, number: u64) -> Command {
        let properties = format!(
            "TRAN_MSG\u{1}true\u{2}PGROUP\u{1}{GROUP}\u{2}UNIQ_KEY\u{1}{}-{number}\u{2}WAIT\u{1}true\u{2}",
            self.id
        );
        let header = SendMessage {
            producer_group: GROUP,
            topic: TOPIC,
            default_topic: "TBW102",
            default_topic_queue_nums: 1,
            sys_flag: sys_flag::TRANSACTION_PREPARED,
            properties: Some(&properties),
            ..SendMessage::default()
        };
        let mut command = Command::request(RequestCode::SEND_MESSAGE_V2).with_body(body(self.id, number));
        header.encode_v2(&mut command.fields);
        command
    }

    fn take_answer(&mut self, client: &mut Client, number: u64, answer: &Command) -> Result<()> {
        if answer.code != ResponseCode::SUCCESS.0 {
            // A refusal is no promise.
            return Ok(());
        }
        self.acknowledged.insert(number);
        let outcome = match Plan::of(number) {
            Plan::Commit => sys_flag::TRANSACTION_COMMIT,
            Plan::RollBack => sys_flag::TRANSACTION_ROLLBACK,
            Plan::Unknown => 0,
            Plan::Silence => return Ok(()),
        };
        let header: SendMessageResponse<'_> = answer.header()?;
        let id: MessageId = header.msg_id.parse().context("the id of a half message")?;
        let end = EndTransaction {
            producer_group: GROUP,
            tran_state_table_offset: header.queue_offset,
            commit_log_offset: id.position as i64,
            commit_or_rollback: outcome,
            msg_id: header.msg_id,
            transaction_id: header.transaction_id,
            ..EndTransaction::default()
        };
        client.send(vec![end_request(&end)]).map(drop)
    }

    fn take_question(&mut self, client: &mut Client, question: &Command) -> Result<()> {
        let header: CheckTransactionState<'_> = question.header()?;
        let view = RecordView::parse(&question.body)?;
        let Some((_, number)) = origin(view.body) else { bail!("asked about a message of somebody else's") };
        let commits = Plan::commits(number);
        let outcome = if commits { sys_flag::TRANSACTION_COMMIT } else { sys_flag::TRANSACTION_ROLLBACK };
        let end = EndTransaction {
            producer_group: GROUP,
            tran_state_table_offset: header.tran_state_table_offset,
            commit_log_offset: header.commit_log_offset,
            commit_or_rollback: outcome,
            from_transaction_check: Some(true),
            msg_id: header.msg_id.unwrap_or_default(),
            transaction_id: header.transaction_id,
            ..EndTransaction::default()
        };
        client.send(vec![end_request(&end)]).map(drop)
    }
}

/// One-way, as clients send it.
fn end_request(end: &EndTransaction<'_>) -> Command {
    Command::request(RequestCode::END_TRANSACTION).with_header(end).oneway()
}
