//! The end of transactions.

use crate::brokers::success;
use crate::check;
use crate::face::Call;
use crate::status::{Refusal, Result, ok};
use crate::transaction_id;
use crate::v2::{
    Code, EndTransactionRequest, EndTransactionResponse, TransactionResolution, TransactionSource,
};
use kerolox_wire::header::EndTransaction;
use kerolox_wire::{Command, RequestCode, sys_flag};
use std::time::Duration;

pub(crate) async fn end(call: Call, request: EndTransactionRequest) -> Result<EndTransactionResponse> {
    let topic = check::topic(request.topic.as_ref())?;
    let invalid = |why: &str| Refusal::new(Code::InvalidTransactionId, why);
    if request.transaction_id.trim().is_empty() {
        return Err(invalid("transaction id cannot be empty"));
    }
    let id = transaction_id::parse(&request.transaction_id)
        .ok_or_else(|| invalid("the transaction id is not one that a send was answered with"))?;
    let commit_or_rollback = match request.resolution() {
        TransactionResolution::Commit => sys_flag::TRANSACTION_COMMIT,
        TransactionResolution::Rollback => sys_flag::TRANSACTION_ROLLBACK,
        // The producer does not know: it is asked again.
        TransactionResolution::Unspecified => return Ok(EndTransactionResponse { status: Some(ok()) }),
    };
    let place = call.face.place(id.broker, topic).await?;
    let header = EndTransaction {
        topic: Some(topic),
        producer_group: topic,
        tran_state_table_offset: id.half_offset,
        commit_log_offset: id.position,
        commit_or_rollback,
        from_transaction_check: Some(request.source() == TransactionSource::SourceServerCheck),
        msg_id: &request.message_id,
        transaction_id: Some(id.message_id),
        ..Default::default()
    };
    let command = Command::request(RequestCode::END_TRANSACTION).with_header(&header);
    success(call.link(&place).await?.call(command, Duration::ZERO).await?)?;
    Ok(EndTransactionResponse { status: Some(ok()) })
}
