//! What the broker asks of clients for others, and what comes of it: administrators want to know what a consumer does (codes
//! 307 and 223 with 221) or to see it consume a message (309); for replies see [`crate::reply`]. The answer of a client goes to who asked.
//! Source of the rules: `AdminBrokerProcessor.callConsumer`, `Broker2Client`.

use crate::Broker;
use crate::effect::Effect;
use crate::input::ConnId;
use crate::pending::Pending;
use crate::produce::Refused;
use crate::query::header_or_refuse;
use crate::reply::Reply;
use bytes::Bytes;
use kerolox_wire::body::{self, QueueOffsets};
use kerolox_wire::header::{ConsumeMessageDirectly, GetConsumerRunningInfo, GetConsumerStatus};
use kerolox_wire::message_id::MessageId;
use kerolox_wire::{Command, RequestCode, ResponseCode};
use std::collections::BTreeMap;

/// How long a client may take to answer: Apache's times.
pub(crate) const ANSWER_MS: i64 = 10_000;
const STATUS_MS: i64 = 5_000;
/// Bytes of clients' answers that one answer to 223 is put together from.
const STATUS_BYTES_MAX: usize = 8 << 20;
/// `V3_1_8_SNAPSHOT` in Apache's `MQVersion`: older clients do not know codes 307 and 309.
const VERSION_MIN: i32 = 62;

/// Who waits for a client's answer.
pub(crate) enum Asked {
    /// An administrator, for what one consumer says.
    Consumer { conn: ConnId, request: Command, group: String, client_id: String },
    /// An administrator, for what all consumers of a group say.
    Status { survey: u64, client_id: String },
    /// A consumer that replied to a producer.
    Reply(Reply),
}

/// Why there is no answer.
#[derive(Clone, Copy)]
pub(crate) enum NoAnswer {
    Late,
    Gone,
}

/// What the consumers of a group were asked for an administrator.
pub(crate) struct Survey {
    conn: ConnId,
    request: Command,
    /// Those who have not answered yet.
    left: usize,
    bytes: usize,
    clients: BTreeMap<String, QueueOffsets>,
}

/// Surveys under way.
#[derive(Default)]
pub(crate) struct Surveys {
    next: u64,
    open: BTreeMap<u64, Survey>,
}

impl Broker {
    /// Clients take their time, and every request waits in memory: not without limit.
    pub(crate) fn refuse_if_too_many_asked(&self, more: usize) -> Result<(), Refused> {
        let max = self.config.limits.relays_max;
        match self.relays.len() + more > max {
            true => Err(Refused(
                ResponseCode::SYSTEM_BUSY,
                format!("[RELAY]broker busy: {max} requests wait for answers of clients, the limit"),
            )),
            false => Ok(()),
        }
    }

    /// Sends a request to a client.
    pub(crate) fn ask(
        &mut self,
        conn: ConnId,
        command: Command,
        deadline_ms: i64,
        asked: Asked,
        out: &mut Vec<Effect>,
    ) {
        let opaque = self.relays.ask(conn, deadline_ms, asked);
        out.push(Effect::Send { conn, command: Command { opaque, ..command } });
    }

    /// A response came from a client.
    pub(crate) fn client_answered(&mut self, conn: ConnId, answer: Command, out: &mut Vec<Effect>) {
        if let Some(asked) = self.relays.answered(conn, answer.opaque) {
            self.answered(asked, Ok(answer), out);
        }
    }

    pub(crate) fn answers_overdue(&mut self, now_ms: i64, out: &mut Vec<Effect>) {
        for asked in self.relays.overdue(now_ms) {
            self.answered(asked, Err(NoAnswer::Late), out);
        }
    }

    pub(crate) fn will_not_answer(&mut self, conn: ConnId, out: &mut Vec<Effect>) {
        for asked in self.relays.disconnected(conn) {
            self.answered(asked, Err(NoAnswer::Gone), out);
        }
    }

    fn answered(&mut self, asked: Asked, answer: Result<Command, NoAnswer>, out: &mut Vec<Effect>) {
        match asked {
            Asked::Consumer { conn, request, group, client_id } => {
                let answer = match answer {
                    Ok(answer) => passed_on(&request, answer),
                    Err(NoAnswer::Late) => {
                        let remark =
                            format!("consumer <{group}> <{client_id}> Timeout: no answer in {ANSWER_MS} ms");
                        request.refuse(ResponseCode::CONSUME_MSG_TIMEOUT, remark)
                    }
                    Err(NoAnswer::Gone) => {
                        let remark =
                            format!("invoke consumer <{group}> <{client_id}> Exception: it disconnected");
                        request.refuse(ResponseCode::SYSTEM_ERROR, remark)
                    }
                };
                self.reply(conn, &request, answer, out);
            }
            Asked::Reply(reply) => self.reply_pushed(reply, answer, out),
            Asked::Status { survey, client_id } => self.surveyed(survey, client_id, answer.ok(), out),
        }
    }

    /// Code 307.
    pub(crate) fn running_info(
        &mut self,
        now_ms: i64,
        conn: ConnId,
        request: &Command,
        out: &mut Vec<Effect>,
    ) {
        let header: GetConsumerRunningInfo<'_> = header_or_refuse!(self, conn, request, out);
        let command = Command::request(RequestCode::GET_CONSUMER_RUNNING_INFO).with_header(&header);
        self.ask_consumer(now_ms, (conn, request), (header.consumer_group, header.client_id), command, out);
    }

    /// Code 309: the message is read first.
    pub(crate) fn consume_directly(&mut self, conn: ConnId, request: &Command, out: &mut Vec<Effect>) {
        let header: ConsumeMessageDirectly<'_> = header_or_refuse!(self, conn, request, out);
        let admitted = self.online_consumer(header.consumer_group, header.client_id).and_then(|_| {
            let id = header.msg_id.parse::<MessageId>();
            id.map_err(|e| Refused(ResponseCode::SYSTEM_ERROR, format!("{}: {e}", header.msg_id)))
        });
        match admitted {
            Ok(id) => {
                let plan = self.store.plan_records(vec![id.position]);
                self.start_read(plan, Pending::Direct { conn, request: request.clone() }, out);
            }
            Err(Refused(code, remark)) => self.reply(conn, request, request.refuse(code, remark), out),
        }
    }

    pub(crate) fn consume_directly_read(
        &mut self,
        now_ms: i64,
        conn: ConnId,
        request: &Command,
        message: Option<Bytes>,
        out: &mut Vec<Effect>,
    ) {
        let header: ConsumeMessageDirectly<'_> = header_or_refuse!(self, conn, request, out);
        let Some(message) = message else {
            let remark = format!("can not find message by the id, {}", header.msg_id);
            return self.reply(conn, request, request.refuse(ResponseCode::SYSTEM_ERROR, remark), out);
        };
        let topic = header.topic.and_then(|topic| self.state.topics.get(topic));
        let group = self.state.groups.get(header.consumer_group);
        let asked = ConsumeMessageDirectly {
            broker_name: Some(&self.config.name),
            topic_sys_flag: topic.map(|topic| topic.topic_sys_flag).or(header.topic_sys_flag),
            group_sys_flag: group.map(|group| group.group_sys_flag).or(header.group_sys_flag),
            ..header
        };
        let command =
            Command::request(RequestCode::CONSUME_MESSAGE_DIRECTLY).with_header(&asked).with_body(message);
        self.ask_consumer(now_ms, (conn, request), (header.consumer_group, header.client_id), command, out);
    }

    fn ask_consumer(
        &mut self,
        now_ms: i64,
        (conn, request): (ConnId, &Command),
        (group, client_id): (&str, &str),
        command: Command,
        out: &mut Vec<Effect>,
    ) {
        match self.online_consumer(group, client_id) {
            Ok(consumer) => {
                let asked = Asked::Consumer {
                    conn,
                    request: request.bare(),
                    group: group.to_owned(),
                    client_id: client_id.to_owned(),
                };
                self.ask(consumer, command, now_ms + ANSWER_MS, asked, out);
            }
            Err(Refused(code, remark)) => self.reply(conn, request, request.refuse(code, remark), out),
        }
    }

    /// The connection of a consumer that can be asked.
    fn online_consumer(&self, group: &str, client_id: &str) -> Result<ConnId, Refused> {
        let error = |remark: String| Err(Refused(ResponseCode::SYSTEM_ERROR, remark));
        let Some((conn, client)) = self.clients.consumer(group, client_id) else {
            return error(format!("The Consumer <{group}> <{client_id}> not online"));
        };
        if client.version < VERSION_MIN {
            return error(format!(
                "The Consumer <{client_id}> Version <{}> too low to finish, please upgrade it to V3_1_8_SNAPSHOT",
                client.version
            ));
        }
        self.refuse_if_too_many_asked(1)?;
        Ok(conn)
    }

    /// Code 223: all consumers of the group are asked at once (code 221); those that do not answer are left out.
    pub(crate) fn consumer_status(
        &mut self,
        now_ms: i64,
        conn: ConnId,
        request: &Command,
        out: &mut Vec<Effect>,
    ) {
        let header: GetConsumerStatus<'_> = header_or_refuse!(self, conn, request, out);
        let only = header.client_addr.filter(|id| !id.trim().is_empty());
        let members = self.clients.consumer_group(header.group).map(|group| &group.members);
        let Some(members) = members else {
            let remark = format!("No Any Consumer online in the consumer group: [{}]", header.group);
            return self.reply(conn, request, request.refuse(ResponseCode::SYSTEM_ERROR, remark), out);
        };
        let wanted = members.iter().filter(|(_, client)| only.is_none_or(|id| id == client.id));
        let wanted: Vec<_> = wanted.map(|(conn, client)| (*conn, client.id.clone())).collect();
        if let Err(Refused(code, remark)) = self.refuse_if_too_many_asked(wanted.len()) {
            return self.reply(conn, request, request.refuse(code, remark), out);
        }
        let survey =
            Survey { conn, request: request.bare(), left: wanted.len(), bytes: 0, clients: BTreeMap::new() };
        if wanted.is_empty() {
            return self.survey_done(&survey, out);
        }
        let number = self.surveys.next;
        self.surveys.next += 1;
        self.surveys.open.insert(number, survey);
        let question = GetConsumerStatus { client_addr: None, ..header };
        let question = Command::request(RequestCode::GET_CONSUMER_STATUS_FROM_CLIENT).with_header(&question);
        for (consumer, client_id) in wanted {
            let asked = Asked::Status { survey: number, client_id };
            self.ask(consumer, question.clone(), now_ms + STATUS_MS, asked, out);
        }
    }

    fn surveyed(&mut self, number: u64, client_id: String, answer: Option<Command>, out: &mut Vec<Effect>) {
        let Some(survey) = self.surveys.open.get_mut(&number) else { return };
        survey.left -= 1;
        let answer = answer.filter(|answer| answer.code == i32::from(ResponseCode::SUCCESS));
        let offsets = answer.filter(|answer| survey.bytes + answer.body.len() <= STATUS_BYTES_MAX);
        if let Some(body) = offsets.map(|answer| answer.body)
            && let Ok(offsets) = body::read_consumer_status(&body)
        {
            survey.bytes += body.len();
            survey.clients.insert(client_id, offsets);
        }
        if survey.left == 0
            && let Some(survey) = self.surveys.open.remove(&number)
        {
            self.survey_done(&survey, out);
        }
    }

    fn survey_done(&mut self, survey: &Survey, out: &mut Vec<Effect>) {
        let answer = survey.request.respond(ResponseCode::SUCCESS);
        let answer = answer.with_body(body::consumer_status_body(&survey.clients));
        self.reply(survey.conn, &survey.request, answer, out);
    }
}

/// A client's answer as the answer to somebody's request.
fn passed_on(request: &Command, answer: Command) -> Command {
    Command {
        remark: answer.remark,
        fields: answer.fields,
        body: answer.body,
        ..request.respond(answer.code)
    }
}
