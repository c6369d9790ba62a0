//! Half messages that are committed or rolled back, at once or after the next start.

use super::judge::{Acked, Judge, Kind};
use super::requests;
use super::worker::Worker;
use crate::ledger::body::{Random, body};
use crate::ledger::client::Client;
use crate::ledger::verify::Verifier;
use anyhow::{Context, Result};
use kerolox_wire::header::{EndTransaction, SendMessageResponse};
use kerolox_wire::{Command, MessageId, RequestCode, ResponseCode, sys_flag};
use std::time::Instant;

const TOPIC: &str = "faults-transactions";
const ID: u32 = 40;
/// What an end is told of which there is no half message.
const UNKNOWN: &str = "Find prepared transaction message failed";

/// An acknowledged half message, as its producer names it.
struct Half {
    at: Instant,
    id: String,
    queue_offset: i64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// Not sent.
    No,
    /// Sent and not answered, or given up.
    Doubt,
    At(Instant),
}

struct Transaction {
    half: Option<Half>,
    commit: bool,
    end: End,
    judged: bool,
}

#[derive(Default)]
pub(super) struct Transactions {
    sent: Vec<Transaction>,
    /// Below, no transaction is open.
    open_from: usize,
    /// Halves that could not be ended; the judge is asked later.
    unknown: Vec<(Instant, usize)>,
    corrupt: u64,
}

impl Transactions {
    fn one(&mut self, number: usize) -> Result<&mut Transaction> {
        self.sent.get_mut(number).context("no such transaction")
    }

    fn half(&mut self, client: &mut Client, commit: bool, acked: &mut Acked) -> Result<usize> {
        let number = self.sent.len();
        self.sent.push(Transaction { half: None, commit, end: End::No, judged: false });
        let more = format!("TRAN_MSG\u{1}true\u{2}PGROUP\u{1}{}\u{2}", requests::PRODUCER_GROUP);
        let properties = requests::properties(ID, number as u64, &more);
        let bytes = body(ID, number as u64);
        let request = requests::send_with(TOPIC, 0, &properties, bytes, sys_flag::TRANSACTION_PREPARED);
        let answer = client.exchange(request)?;
        if answer.code == ResponseCode::SUCCESS.0 {
            let header: SendMessageResponse<'_> = answer.header()?;
            let (id, queue_offset) = (header.msg_id.to_owned(), header.queue_offset);
            self.one(number)?.half = Some(Half { at: Instant::now(), id, queue_offset });
            *acked.entry(Kind::Half).or_default() += 1;
        }
        Ok(number)
    }

    fn end(&mut self, client: &mut Client, number: usize, acked: &mut Acked) -> Result<()> {
        let transaction = self.one(number)?;
        let (Some(half), End::No) = (&transaction.half, transaction.end) else { return Ok(()) };
        let outcome =
            if transaction.commit { sys_flag::TRANSACTION_COMMIT } else { sys_flag::TRANSACTION_ROLLBACK };
        let position = half.id.parse::<MessageId>().context("the id of a half message")?.position;
        let unique = format!("{ID}-{number}");
        let header = EndTransaction {
            topic: Some(TOPIC),
            producer_group: requests::PRODUCER_GROUP,
            tran_state_table_offset: half.queue_offset,
            commit_log_offset: position as i64,
            commit_or_rollback: outcome,
            msg_id: &unique,
            transaction_id: Some(&unique),
            ..EndTransaction::default()
        };
        let request = Command::request(RequestCode::END_TRANSACTION).with_header(&header);
        let at = half.at;
        transaction.end = End::Doubt;
        let answer = client.exchange(request)?;
        if answer.code == ResponseCode::SUCCESS.0 {
            self.one(number)?.end = End::At(Instant::now());
            *acked.entry(Kind::End).or_default() += 1;
        } else if answer.remark.as_deref().is_some_and(|why| why.contains(UNKNOWN)) {
            self.unknown.push((at, number));
        }
        Ok(())
    }

    /// Ends what was left open.
    fn end_open(&mut self, client: &mut Client, acked: &mut Acked) -> Result<()> {
        for number in self.open_from..self.sent.len() {
            self.end(client, number, acked)?;
        }
        self.open_from = self.sent.len();
        Ok(())
    }
}

impl Worker for Transactions {
    fn prepare(&mut self, client: &mut Client) -> Result<()> {
        requests::create_topic(client, TOPIC, 1)
    }

    fn step(&mut self, client: &mut Client, random: &mut Random, acked: &mut Acked) -> Result<()> {
        let number = self.half(client, random.next().is_multiple_of(2), acked)?;
        if !random.next().is_multiple_of(4) {
            self.end(client, number, acked)?;
        }
        Ok(())
    }

    fn check(&mut self, client: &mut Client, judge: &mut Judge) -> Result<()> {
        for (at, number) in self.unknown.drain(..) {
            judge.lost(Kind::Half, at, format_args!("transaction {number} cannot be ended"));
        }
        let mut read = Verifier::of(TOPIC, 1);
        if let Err(e) = read.read_with(client) {
            judge.failed(format_args!("reading {TOPIC} ended: {e:#}"));
        }
        for _ in self.corrupt..read.corrupt() {
            judge.corrupt(Kind::End, "wrong bytes");
        }
        self.corrupt = self.corrupt.max(read.corrupt());
        for (number, transaction) in self.sent.iter_mut().enumerate().filter(|(_, t)| !t.judged) {
            let found = read.found((ID, number as u64));
            let commit = transaction.commit;
            match (transaction.end, found) {
                (_, Some(found)) if found.times > 1 => {
                    judge.doubled(Kind::End, format_args!("transaction {number}"));
                }
                (End::At(at), None) if commit => {
                    judge.lost(Kind::End, at, format_args!("transaction {number}, committed"));
                }
                (End::At(_) | End::Doubt, Some(_)) if !commit => {
                    judge
                        .corrupt(Kind::End, format_args!("transaction {number}, rolled back, was delivered"));
                }
                (End::No, Some(_)) => {
                    judge.corrupt(Kind::End, format_args!("transaction {number}, open, was delivered"));
                }
                _ => continue,
            }
            transaction.judged = true;
        }
        // What is open now is ended after this start.
        self.end_open(client, &mut Acked::default())
    }

    fn settle(&mut self, client: &mut Client, judge: &mut Judge) -> Result<()> {
        self.end_open(client, &mut Acked::default())?;
        self.check(client, judge)
    }
}
