//! What brokers ask of clients, and how clients answer.

use crate::brokers::Link;
use crate::client::Client;
use crate::face::Face;
use crate::message::{self, Delivery};
use crate::transaction_id;
use crate::v2::telemetry_command::Command as Told;
use crate::v2::{
    Code, NotifyUnsubscribeLiteCommand, PrintThreadStackTraceCommand, RecoverOrphanedTransactionCommand,
    Status, VerifyMessageCommand,
};
use kerolox_wire::body::{ConsumeMessageDirectlyResult, to_json};
use kerolox_wire::header::{
    CheckTransactionState, ConsumeMessageDirectly, GetConsumerRunningInfo, NotifyUnsubscribeLite,
};
use kerolox_wire::properties::name as property;
use kerolox_wire::record::RecordView;
use kerolox_wire::{Command, RequestCode, ResponseCode};
use std::rc::Rc;
use std::time::Duration;

/// How long a client has to answer.
const ANSWER_WAIT: Duration = Duration::from_secs(5);

pub(crate) async fn take(face: &Rc<Face>, client: &Rc<Client>, link: &Rc<Link>, command: Command) {
    match RequestCode(command.code) {
        RequestCode::CHECK_TRANSACTION_STATE => recover(face, client, &command),
        RequestCode::NOTIFY_UNSUBSCRIBE_LITE => {
            if let Ok(header) = command.header::<NotifyUnsubscribeLite<'_>>() {
                let lite_topic = header.lite_topic.to_owned();
                let told = NotifyUnsubscribeLiteCommand { lite_topic };
                client.command(face, Told::NotifyUnsubscribeLiteCommand(told));
            }
        }
        RequestCode::GET_CONSUMER_RUNNING_INFO => {
            let header = command.header::<GetConsumerRunningInfo<'_>>();
            let wants_stacks = header.is_ok_and(|header| header.jstack_enable == Some(true));
            if !wants_stacks {
                let info = running_info(client, None);
                return link.tell(command.respond(ResponseCode::SUCCESS).with_body(info)).await;
            }
            let nonce = nonce(face);
            let told =
                Told::PrintThreadStackTraceCommand(PrintThreadStackTraceCommand { nonce: nonce.clone() });
            ask(face, client, link, command, nonce, told).await;
        }
        RequestCode::CONSUME_MESSAGE_DIRECTLY => {
            let topic = command.header::<ConsumeMessageDirectly<'_>>().ok();
            let topic = topic.and_then(|header| header.topic.map(str::to_owned));
            let Ok(record) = RecordView::parse(&command.body) else {
                let refusal = command.refuse(ResponseCode::SYSTEM_ERROR, "the message cannot be read");
                return link.tell(refusal).await;
            };
            let topic = topic.unwrap_or_else(|| record.topic.to_owned());
            let message = message::incoming(&record, &command.body, &topic, Delivery::default());
            let nonce = nonce(face);
            let told = Told::VerifyMessageCommand(VerifyMessageCommand {
                nonce: nonce.clone(),
                message: Some(message),
            });
            ask(face, client, link, command.clone(), nonce, told).await;
        }
        // Members of groups that pop need not know of each other.
        _ if command.is_oneway() => {}
        _ => {
            let refusal = command.refuse(
                ResponseCode::REQUEST_CODE_NOT_SUPPORTED,
                format!("a client of gRPC cannot be asked {}", command.code),
            );
            link.tell(refusal).await;
        }
    }
}

fn nonce(face: &Face) -> String {
    face.next_turn().to_string()
}

/// Asks a client; its answer is waited for, but not here.
async fn ask(
    face: &Rc<Face>,
    client: &Rc<Client>,
    link: &Rc<Link>,
    command: Command,
    nonce: String,
    told: Told,
) {
    client.asked.borrow_mut().insert(nonce.clone(), (Rc::clone(link), command));
    let client_weak = Rc::downgrade(client);
    if !client.command(face, told) {
        return fail(client, &nonce, "the client has no telemetry stream").await;
    }
    tokio::task::spawn_local(async move {
        tokio::time::sleep(ANSWER_WAIT).await;
        if let Some(client) = client_weak.upgrade() {
            fail(&client, &nonce, "the client did not answer in time").await;
        }
    });
}

async fn fail(client: &Client, nonce: &str, why: &str) {
    let asked = client.asked.borrow_mut().remove(nonce);
    if let Some((link, command)) = asked {
        link.tell(command.refuse(ResponseCode::SYSTEM_ERROR, why)).await;
    }
}

fn reply(client: &Client, nonce: &str, answer: impl FnOnce(&Command) -> Command) {
    let asked = client.asked.borrow_mut().remove(nonce);
    // Late, or made up.
    let Some((link, command)) = asked else { return };
    let answer = answer(&command);
    tokio::task::spawn_local(async move { link.tell(answer).await });
}

/// A client's stacks came.
pub(crate) fn stack_trace(client: &Client, nonce: &str, status: Option<Status>, trace: Option<String>) {
    let status = status.unwrap_or_default();
    let is_ok = status.code == Code::Ok as i32 || status.code == 0;
    reply(client, nonce, |command| match is_ok {
        true => command.respond(ResponseCode::SUCCESS).with_body(running_info(client, trace)),
        false => command.refuse(ResponseCode::SYSTEM_ERROR, status.message),
    });
}

/// A client has tried a message.
pub(crate) fn verified(client: &Client, nonce: &str, status: Option<Status>) {
    let status = status.unwrap_or_default();
    let result = match Code::try_from(status.code) {
        Ok(Code::Ok) => Some("CR_SUCCESS"),
        Ok(Code::FailedToConsumeMessage) => Some("CR_LATER"),
        Ok(Code::MessageCorrupted) => Some("CR_RETURN_NULL"),
        _ => None,
    };
    let body = ConsumeMessageDirectlyResult {
        consume_result: result.map(str::to_owned),
        remark: Some(format!("from gRPC client: {}", status.message)),
        ..ConsumeMessageDirectlyResult::default()
    };
    reply(client, nonce, |command| command.respond(ResponseCode::SUCCESS).with_body(to_json(&body)));
}

/// What is known of a consumer without asking it.
fn running_info(client: &Client, stacks: Option<String>) -> Vec<u8> {
    let beat = client.heartbeat_command();
    let data: Option<serde_json::Value> = beat.and_then(|beat| serde_json::from_slice(&beat.body).ok());
    let subscriptions = data.as_ref().and_then(|data| data.pointer("/consumerDataSet/0/subscriptionDataSet"));
    let subscriptions = subscriptions.cloned().unwrap_or_else(|| serde_json::json!([]));
    let info = serde_json::json!({
        "properties": { "PROP_CLIENT_VERSION": client.language, "PROP_CONSUME_TYPE": "CONSUME_POP" },
        "subscriptionSet": subscriptions,
        "mqTable": {},
        "mqPopTable": {},
        "statusTable": {},
        "userConsumerInfo": {},
        "jstack": stacks,
    });
    info.to_string().into_bytes()
}

/// The broker wants to know how a transaction ended.
fn recover(face: &Rc<Face>, client: &Rc<Client>, command: &Command) {
    let Ok(header) = command.header::<CheckTransactionState<'_>>() else { return };
    let Ok(record) = RecordView::parse(&command.body) else { return };
    // (The header's topic is the one that half messages wait in.)
    let mut message = message::incoming(&record, &command.body, record.topic, Delivery::default());
    if let Some(system) = &mut message.system_properties {
        system.message_type = crate::v2::MessageType::Transaction.into();
    }
    let broker = match header.broker_name {
        Some(broker) => broker.to_owned(),
        None => face.here().map(|here| here.name.to_string()).unwrap_or_default(),
    };
    let unique = message::property_of(&record, property::UNIQ_CLIENT_MESSAGE_ID_KEYIDX);
    let id = header.transaction_id.or(unique).or(header.msg_id).unwrap_or_default();
    let position = u64::try_from(header.commit_log_offset).unwrap_or(u64::MAX);
    let transaction_id = transaction_id::make(&broker, header.tran_state_table_offset, position, id);
    let told = RecoverOrphanedTransactionCommand { message: Some(message), transaction_id };
    // Without a stream it is asked again later.
    client.command(face, Told::RecoverOrphanedTransactionCommand(told));
}
