//! The service `Admin`: what operators and consoles ask. Apache's 5.5.0 does not serve it; each call means what the requests of Remoting
//! mean that it is made into (docs/protocol/grpc-apache.md, section 10). All masters are asked: what some of them say counts, and if all refuse
//! the first refusal.

use super::send;
use crate::brokers::success;
use crate::check;
use crate::face::{Call, Face};
use crate::known::Place;
use crate::message::{self, Delivery, duration};
use crate::status::{Refusal, Result, ok};
use crate::v2::describe_group_accumulation_response::GroupAccumulation;
use crate::v2::describe_subscription_response::ClientSubscriptionInfo;
use crate::v2::list_message_request::SearchKey;
use crate::v2::query_time_span_response::QueueTimeSpan;
use crate::v2::{
    AdminSendMessageRequest, AdminSendMessageResponse, Broker, ChangeLogLevelRequest, ChangeLogLevelResponse,
    ClientInfo, ClientType, Code, ConsumerRunningInfo, DeleteSubscriptionRequest, DeleteSubscriptionResponse,
    DescribeGroupAccumulationRequest, DescribeGroupAccumulationResponse, DescribeSubscriptionRequest,
    DescribeSubscriptionResponse, DescribeTopicStatusRequest, DescribeTopicStatusResponse, FilterExpression,
    FilterType, GetConsumerRunningInfoRequest, GetConsumerRunningInfoResponse, GetProxyRuntimeStatsRequest,
    GetProxyRuntimeStatsResponse, GetTopicRouteRequest, GetTopicRouteResponse, ListConsumerConnectionRequest,
    ListConsumerConnectionResponse, ListMessageRequest, ListMessageResponse, ListSubscriptionRequest,
    ListSubscriptionResponse, Message, MessageModel, MessageQueue, MessageType, PrintThreadStackTraceRequest,
    PrintThreadStackTraceResponse, QueryTimeSpanRequest, QueryTimeSpanResponse, ResetGroupOffsetRequest,
    ResetGroupOffsetResponse, Resource, SendMessageRequest, SubscriptionInfo, SystemProperties,
    VerifyMessageRequest, VerifyMessageResponse,
};
use kerolox_wire::body::{
    self, ClusterInfo, ConsumeMessageDirectlyResult, ConsumeStats, ConsumerConnection, GroupList,
    OffsetWrapper, QueryConsumeTimeSpanBody, SubscriptionData, from_json, to_json,
};
use kerolox_wire::header::{
    ConsumeMessageDirectly, ConsumerGroup, GetConsumeStats, GetConsumerRunningInfo, QueryMessage,
    ResetOffset, Topic, TopicGroup,
};
use kerolox_wire::names::RETRY_PREFIX;
use kerolox_wire::record::{RecordView, split};
use kerolox_wire::{Command, RequestCode};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

const MESSAGES_MAX: i32 = 32;

fn required<'a>(resource: Option<&'a Resource>, what: &str) -> Result<&'a str> {
    let name = resource.map_or("", |resource| &*resource.name);
    match name.trim().is_empty() {
        true => Err(Refusal::new(Code::BadRequest, format!("{what} is required"))),
        false => Ok(name),
    }
}

fn resource(name: &str) -> Option<Resource> {
    Some(Resource { name: name.to_owned(), ..Resource::default() })
}

fn malformed(e: impl std::fmt::Display) -> Refusal {
    Refusal::new(Code::InternalServerError, format!("the broker's answer is malformed: {e}"))
}

impl Face {
    /// Every broker that takes writes.
    async fn all_masters(self: &Rc<Self>) -> Result<Vec<Place>> {
        if let Some(here) = self.here() {
            return Ok(vec![here]);
        }
        let command = Command::request(RequestCode::GET_BROKER_CLUSTER_INFO);
        let answer = success(self.brokers.name_server(command).await?)?;
        let info: ClusterInfo = from_json(&answer.body).map_err(malformed)?;
        let master = |broker: body::BrokerData| {
            let address = broker.broker_addrs.get(&0)?.clone();
            Some(Place { name: Rc::from(&*broker.broker_name), address })
        };
        Ok(info.broker_addr_table.into_values().filter_map(master).collect())
    }

    /// Those that have queues of a topic.
    async fn masters_of(self: &Rc<Self>, topic: &str) -> Result<Vec<Place>> {
        Ok(self.view(topic).await?.masters.iter().map(|(place, _)| place.clone()).collect())
    }

    /// Asks all of these the same; the answers of those that did not refuse.
    async fn ask_all(self: &Rc<Self>, places: &[Place], command: &Command) -> Result<Vec<(Place, Command)>> {
        let (mut answers, mut refused) = (Vec::new(), None);
        for place in places {
            let asked = async {
                let link = self.own.link(self, place).await?;
                success(link.call(command.clone(), Duration::from_secs(10)).await?)
            };
            match asked.await {
                Ok(answer) => answers.push((place.clone(), answer)),
                Err(refusal) => drop(refused.get_or_insert(refusal)),
            }
        }
        match refused.filter(|_| answers.is_empty()) {
            Some(refusal) => Err(refusal),
            None => Ok(answers),
        }
    }
}

pub(crate) async fn change_log_level(_: Call, _: ChangeLogLevelRequest) -> Result<ChangeLogLevelResponse> {
    let remark = "Kerolox has no levels: it says what somebody should know, and nothing else".to_owned();
    Ok(ChangeLogLevelResponse { remark })
}

pub(crate) async fn topic_status(
    call: Call,
    request: DescribeTopicStatusRequest,
) -> Result<DescribeTopicStatusResponse> {
    let topic = check::topic(request.topic.as_ref())?;
    let view = call.face.view(topic).await?;
    let (read, write) = view
        .masters
        .iter()
        .fold((0, 0), |(r, w), (_, queues)| (r + queues.read_queue_nums, w + queues.write_queue_nums));
    let description = format!("readQueueNums={read}, writeQueueNums={write}, perm={}", view.config.perm);
    let kind = match send::accepted(&view) {
        [kind] => *kind,
        _ => MessageType::Unspecified,
    };
    Ok(DescribeTopicStatusResponse {
        status: Some(ok()),
        topic_message_type: kind.into(),
        description: Some(description),
        create_timestamp: None,
        tags: Default::default(),
    })
}

/// Who of a group is connected, at all brokers together: nobody where the group is not known.
async fn connected(face: &Rc<Face>, group: &str) -> Result<ConsumerConnection> {
    let header = ConsumerGroup { consumer_group: group, ..Default::default() };
    let command = Command::request(RequestCode::GET_CONSUMER_CONNECTION_LIST).with_header(&header);
    let mut all = ConsumerConnection::default();
    for (_, answer) in face.ask_all(&face.all_masters().await?, &command).await.unwrap_or_default() {
        let one: ConsumerConnection = from_json(&answer.body).map_err(malformed)?;
        let known = |connection: &body::Connection| {
            all.connection_set.iter().any(|other: &body::Connection| other.client_id == connection.client_id)
        };
        let new: Vec<_> = one.connection_set.into_iter().filter(|connection| !known(connection)).collect();
        all.connection_set.extend(new);
        all.subscription_table.extend(one.subscription_table);
        all.message_model = all.message_model.or(one.message_model);
    }
    Ok(all)
}

fn model(connection: &ConsumerConnection) -> MessageModel {
    match connection.message_model {
        Some(body::MessageModel::Broadcasting) => MessageModel::Broadcasting,
        Some(body::MessageModel::Clustering) => MessageModel::Clustering,
        Some(body::MessageModel::LiteSelective) => MessageModel::LiteSelective,
        None => MessageModel::Unspecified,
    }
}

fn client_info(connection: &body::Connection, model: MessageModel) -> ClientInfo {
    let address = connection.client_addr.rsplit_once(':').map_or(&*connection.client_addr, |(host, _)| host);
    ClientInfo {
        client_id: connection.client_id.clone(),
        version: connection.version.to_string(),
        language: connection.language.clone(),
        // A client's id begins with its host.
        hostname: connection.client_id.split('@').next().unwrap_or_default().to_owned(),
        egress_ip: address.to_owned(),
        message_model: model.into(),
    }
}

fn expression(data: &SubscriptionData) -> FilterExpression {
    let is_sql = data.expression_type == "SQL92";
    let kind = if is_sql { FilterType::Sql } else { FilterType::Tag };
    FilterExpression { r#type: kind.into(), expression: data.sub_string.clone() }
}

fn subscription(group: &str, connection: &ConsumerConnection, data: &SubscriptionData) -> SubscriptionInfo {
    SubscriptionInfo {
        group: resource(group),
        topic: resource(&data.topic),
        expression: Some(expression(data)),
        online: !connection.connection_set.is_empty(),
        last_update_timestamp: (data.sub_version > 0).then(|| message::timestamp(data.sub_version)),
        message_model: model(connection).into(),
        // The newest counts for all of a group.
        subscription_consistency: true,
    }
}

/// Groups that a request is about, and their members.
async fn groups(
    face: &Rc<Face>,
    topic: Option<&Resource>,
    group: Option<&Resource>,
) -> Result<Vec<(String, ConsumerConnection)>> {
    let name = |resource: Option<&Resource>| resource.map(|r| r.name.clone()).filter(|name| !name.is_empty());
    let names = match (name(topic), name(group)) {
        (_, Some(group)) => vec![group],
        (Some(topic), None) => {
            let header = Topic { topic: &topic, ..Default::default() };
            let command = Command::request(RequestCode::QUERY_TOPIC_CONSUME_BY_WHO).with_header(&header);
            let answers = face.ask_all(&face.all_masters().await?, &command).await?;
            let mut all = std::collections::BTreeSet::new();
            for (_, answer) in answers {
                all.extend(from_json::<GroupList>(&answer.body).map_err(malformed)?.group_list);
            }
            all.into_iter().collect()
        }
        (None, None) => {
            return Err(Refusal::new(Code::BadRequest, "at least one of topic or group must be set"));
        }
    };
    let mut found = Vec::new();
    for group in names {
        let connection = connected(face, &group).await?;
        found.push((group, connection));
    }
    Ok(found)
}

/// What a group wants of topics, its retries left out.
fn wanted<'a>(
    connection: &'a ConsumerConnection,
    topic: Option<&'a Resource>,
) -> impl Iterator<Item = &'a SubscriptionData> {
    let topic = topic.map_or("", |topic| &*topic.name);
    let all = connection.subscription_table.values();
    all.filter(move |data| !data.topic.starts_with(RETRY_PREFIX) && (topic.is_empty() || data.topic == topic))
}

pub(crate) async fn list_subscription(
    call: Call,
    request: ListSubscriptionRequest,
) -> Result<ListSubscriptionResponse> {
    let found = groups(&call.face, request.topic.as_ref(), request.group.as_ref()).await?;
    let of = |(group, connection): &(String, ConsumerConnection)| -> Vec<SubscriptionInfo> {
        wanted(connection, request.topic.as_ref()).map(|data| subscription(group, connection, data)).collect()
    };
    let subscription_info = found.iter().flat_map(of).collect();
    Ok(ListSubscriptionResponse { status: Some(ok()), subscription_info })
}

pub(crate) async fn describe_subscription(
    call: Call,
    request: DescribeSubscriptionRequest,
) -> Result<DescribeSubscriptionResponse> {
    let found = groups(&call.face, request.topic.as_ref(), request.group.as_ref()).await?;
    let mut client_subscription_info = Vec::new();
    for (group, connection) in &found {
        for client in &connection.connection_set {
            let info = client_info(client, model(connection));
            let each = wanted(connection, request.topic.as_ref()).map(|data| ClientSubscriptionInfo {
                client_info: Some(info.clone()),
                subscription_info: Some(subscription(group, connection, data)),
            });
            client_subscription_info.extend(each);
        }
    }
    Ok(DescribeSubscriptionResponse { status: Some(ok()), client_subscription_info })
}

pub(crate) async fn delete_subscription(
    call: Call,
    request: DeleteSubscriptionRequest,
) -> Result<DeleteSubscriptionResponse> {
    let topic = required(request.topic.as_ref(), "topic and group")?;
    let group = required(request.group.as_ref(), "topic and group")?;
    let wanted = request.expression.as_ref();
    let mut found = false;
    // Brokers need not agree about a group.
    for place in call.face.all_masters().await? {
        let mut config = match call.face.group_at(&place, group).await {
            Ok(config) => config,
            Err(refusal) if refusal.code == Code::ConsumerGroupNotFound => continue,
            Err(refusal) => return Err(refusal),
        };
        let data = config.subscription_data_set.get_or_insert_default();
        let before = data.len();
        data.retain(|data| {
            data.topic != topic || wanted.is_some_and(|wanted| wanted.expression != data.expression)
        });
        if data.len() < before {
            found = true;
            let command = Command::request(RequestCode::UPDATE_AND_CREATE_SUBSCRIPTIONGROUP)
                .with_body(to_json(&config));
            call.face.ask_all(&[place], &command).await?;
        }
    }
    if !found {
        let why = format!(
            "the settings of group {group} name no such subscription to {topic}: members say theirs themselves"
        );
        return Err(Refusal::new(Code::NotFound, why));
    }
    Ok(DeleteSubscriptionResponse { status: Some(ok()) })
}

/// How far a group is behind.
#[derive(Default, Clone, Copy)]
struct Behind {
    in_flight: i64,
    all: i64,
    /// Store time of the oldest message that was consumed last in a queue that has more, in milliseconds.
    since_ms: Option<i64>,
}

impl Behind {
    fn add(&mut self, queue: &OffsetWrapper) {
        let behind = (queue.broker_offset - queue.consumer_offset).max(0);
        self.all += behind;
        self.in_flight += (queue.pull_offset - queue.consumer_offset).clamp(0, behind);
        if behind > 0 && queue.last_timestamp > 0 {
            let since = self.since_ms.map_or(queue.last_timestamp, |since| since.min(queue.last_timestamp));
            self.since_ms = Some(since);
        }
    }

    fn said(self, now_ms: i64) -> GroupAccumulation {
        GroupAccumulation {
            inflight_messages: self.in_flight,
            ready_messages: self.all - self.in_flight,
            accumulation: self.all,
            deliver_delay_time: self.since_ms.map(|since| duration((now_ms - since).max(0))),
            last_consume_timestamp: self.since_ms.unwrap_or_default(),
        }
    }
}

pub(crate) async fn accumulation(
    call: Call,
    request: DescribeGroupAccumulationRequest,
) -> Result<DescribeGroupAccumulationResponse> {
    let group = required(request.group.as_ref(), "group")?;
    let header = GetConsumeStats { consumer_group: group, ..Default::default() };
    let command = Command::request(RequestCode::GET_CONSUME_STATS).with_header(&header);
    let (mut total, mut by_topic) = (Behind::default(), BTreeMap::<String, Behind>::new());
    let wanted = |topic: &str| request.topics.is_empty() || request.topics.iter().any(|t| t.name == topic);
    for (_, answer) in call.face.ask_all(&call.face.all_masters().await?, &command).await? {
        let stats: ConsumeStats = from_json(&answer.body).map_err(malformed)?;
        for (queue, offsets) in &stats.offset_table {
            let topic = retried(&queue.topic, group);
            match topic {
                Some(topic) if wanted(topic) => by_topic.entry(topic.to_owned()).or_default().add(offsets),
                // The group's own retries are of no topic.
                None if request.topics.is_empty() => {}
                _ => continue,
            }
            total.add(offsets);
        }
    }
    let now_ms = call.now_ms();
    Ok(DescribeGroupAccumulationResponse {
        status: Some(ok()),
        accumulation: Some(total.said(now_ms)),
        topic_accumulation: by_topic
            .into_iter()
            .map(|(topic, behind)| (topic, behind.said(now_ms)))
            .collect(),
        lite_topic_accumulation: Default::default(),
    })
}

/// The topic that a queue's messages are of; none for the retries of a group that pulls.
fn retried<'a>(topic: &'a str, group: &str) -> Option<&'a str> {
    let Some(rest) = topic.strip_prefix(RETRY_PREFIX) else { return Some(topic) };
    rest.strip_prefix(group)?.strip_prefix(['_', '+'])
}

pub(crate) async fn list_connections(
    call: Call,
    request: ListConsumerConnectionRequest,
) -> Result<ListConsumerConnectionResponse> {
    let group = required(request.group.as_ref(), "group")?;
    let connection = connected(&call.face, group).await?;
    let topic = request.topic.as_ref().filter(|topic| !topic.name.is_empty());
    let subscribed = topic.is_none_or(|topic| connection.subscription_table.contains_key(&topic.name));
    let clients = connection.connection_set.iter().filter(|_| subscribed);
    let client_info = clients.map(|client| client_info(client, model(&connection))).collect();
    Ok(ListConsumerConnectionResponse { status: Some(ok()), client_info })
}

pub(crate) async fn reset_offset(
    call: Call,
    request: ResetGroupOffsetRequest,
) -> Result<ResetGroupOffsetResponse> {
    let group = required(request.group.as_ref(), "group and topic")?;
    let topic = required(request.topic.as_ref(), "group and topic")?;
    let timestamp = request.reset_timestamp.as_ref().map_or(0, message::millis_of);
    if timestamp <= 0 {
        let why = "reset_timestamp is required and must be a positive Unix time";
        return Err(Refusal::new(Code::BadRequest, why));
    }
    let header = ResetOffset { topic, group, timestamp, is_force: true, ..Default::default() };
    let command = Command::request(RequestCode::INVOKE_BROKER_TO_RESET_OFFSET).with_header(&header);
    let places = call.face.masters_of(topic).await?;
    call.face.ask_all(&places, &command).await?;
    Ok(ResetGroupOffsetResponse { status: Some(ok()) })
}

/// Messages with a key, or a unique id, as the brokers keep them.
async fn find(
    face: &Rc<Face>,
    topic: &str,
    (key, is_id): (&str, bool),
    (from_ms, to_ms): (i64, i64),
    max_num: i32,
) -> Result<Vec<(Place, bytes::Bytes)>> {
    let header = QueryMessage {
        topic,
        key,
        max_num,
        begin_timestamp: from_ms,
        end_timestamp: to_ms,
        unique_key: Some(is_id),
        ..Default::default()
    };
    let mut command = Command::request(RequestCode::QUERY_MESSAGE).with_header(&header);
    if !is_id {
        command.fields.push("indexType", "K");
    }
    let places = face.masters_of(topic).await?;
    let none = || Refusal::new(Code::MessageNotFound, "there is no such message");
    // A broker that finds nothing says so by a refusal.
    let answers = face.ask_all(&places, &command).await.map_err(|refusal| match refusal.code {
        Code::OffsetNotFound => none(),
        _ => refusal,
    })?;
    let found: Vec<_> = answers.into_iter().map(|(place, answer)| (place, answer.body)).collect();
    if found.iter().all(|(_, body)| body.is_empty()) {
        return Err(none());
    }
    Ok(found)
}

pub(crate) async fn query_message(call: Call, request: ListMessageRequest) -> Result<ListMessageResponse> {
    let topic = required(request.topic.as_ref(), "topic")?;
    let of =
        |time: &Option<prost_types::Timestamp>, default| time.as_ref().map_or(default, message::millis_of);
    let time = (of(&request.begin_timestamp, 0), of(&request.end_timestamp, i64::MAX));
    let most = if request.max_message_nums > 0 { request.max_message_nums } else { MESSAGES_MAX };
    let key = match &request.search_key {
        Some(SearchKey::MessageId(id)) => (&**id, true),
        Some(SearchKey::MessageKey(key)) => (&**key, false),
        Some(SearchKey::Subscription(_) | SearchKey::LiteTopic(_)) | None => {
            let why = "messages are found by message_id or message_key: set one of them";
            return Err(Refusal::new(Code::BadRequest, why));
        }
    };
    let mut messages: Vec<Message> = Vec::new();
    for (_, bytes) in find(&call.face, topic, key, time, most).await? {
        let said = |record: RecordView<'_>| message::incoming(&record, &bytes, topic, Delivery::default());
        messages.extend(split(&bytes).map_while(std::result::Result::ok).map(said));
    }
    messages.truncate(most as usize);
    let scroll_id = request.scroll_id.unwrap_or_default();
    Ok(ListMessageResponse { status: Some(ok()), messages, scroll_id })
}

/// What the brokers, or the client, know of a consumer.
async fn running(
    call: &Call,
    group: &str,
    client_id: &str,
    stacks: bool,
) -> Result<body::ConsumerRunningInfo> {
    let header = GetConsumerRunningInfo {
        consumer_group: group,
        client_id,
        jstack_enable: Some(stacks),
        ..Default::default()
    };
    let command = Command::request(RequestCode::GET_CONSUMER_RUNNING_INFO).with_header(&header);
    let answers = call.face.ask_all(&call.face.all_masters().await?, &command).await?;
    let Some((_, answer)) = answers.into_iter().next() else {
        let why = format!("client {client_id} is not connected to this cluster");
        return Err(Refusal::new(Code::NotFound, why));
    };
    from_json(&answer.body).map_err(malformed)
}

pub(crate) async fn stack_trace(
    call: Call,
    request: PrintThreadStackTraceRequest,
) -> Result<PrintThreadStackTraceResponse> {
    let group = required(request.group.as_ref(), "group")?;
    let info = running(&call, group, &request.client_id, true).await?;
    Ok(PrintThreadStackTraceResponse { status: Some(ok()), thread_stack_trace: info.jstack })
}

pub(crate) async fn running_info(
    call: Call,
    request: GetConsumerRunningInfoRequest,
) -> Result<GetConsumerRunningInfoResponse> {
    let group = required(request.group.as_ref(), "group and client_id")?;
    let info = running(&call, group, &request.client_id, false).await?;
    let text = |value: serde_json::Value| match value {
        serde_json::Value::String(text) => text,
        other => other.to_string(),
    };
    let consumer_running_info = ConsumerRunningInfo {
        properties: info.properties.into_iter().map(|(name, value)| (name, text(value))).collect(),
        subscriptions: info
            .subscription_set
            .iter()
            .map(|data| (data.topic.clone(), expression(data)))
            .collect(),
        ..ConsumerRunningInfo::default()
    };
    Ok(GetConsumerRunningInfoResponse {
        status: Some(ok()),
        consumer_running_info: Some(consumer_running_info),
    })
}

pub(crate) async fn verify_message(
    call: Call,
    request: VerifyMessageRequest,
) -> Result<VerifyMessageResponse> {
    let what = "client_id, group, topic and message_id";
    let group = required(request.group.as_ref(), what)?;
    let topic = required(request.topic.as_ref(), what)?;
    let found = find(&call.face, topic, (&request.message_id, true), (0, i64::MAX), 1).await?;
    let record = found.iter().find_map(|(place, bytes)| Some((place, RecordView::parse(bytes).ok()?)));
    let Some((place, record)) = record else {
        return Err(Refusal::new(Code::MessageNotFound, "there is no such message"));
    };
    let msg_id = record.message_id().to_string();
    let header = ConsumeMessageDirectly {
        consumer_group: group,
        client_id: &request.client_id,
        msg_id: &msg_id,
        broker_name: Some(&place.name),
        topic: Some(topic),
        ..Default::default()
    };
    let command = Command::request(RequestCode::CONSUME_MESSAGE_DIRECTLY).with_header(&header);
    let answers = call.face.ask_all(std::slice::from_ref(place), &command).await?;
    for (_, answer) in answers {
        let result: ConsumeMessageDirectlyResult = from_json(&answer.body).map_err(malformed)?;
        let said = result.consume_result.unwrap_or_default();
        if said != "CR_SUCCESS" {
            return Err(Refusal::new(Code::MessageCorrupted, format!("the client said {said}")));
        }
    }
    Ok(VerifyMessageResponse { status: Some(ok()) })
}

pub(crate) async fn send_message(
    call: Call,
    request: AdminSendMessageRequest,
) -> Result<AdminSendMessageResponse> {
    required(request.topic.as_ref(), "topic")?;
    let id = format!("{:016X}{:016X}", call.now_ms(), call.face.next_turn());
    let given = request.system_properties.unwrap_or_default();
    let message_id = if given.message_id.is_empty() { id } else { given.message_id.clone() };
    let mut keys = given.keys.clone();
    keys.extend(request.key);
    let system = SystemProperties {
        tag: request.tag.or(given.tag.clone()),
        keys,
        message_id: message_id.clone(),
        ..given
    };
    let message = Message {
        topic: request.topic,
        user_properties: request.user_properties,
        system_properties: Some(system),
        body: request.body,
    };
    let answer = send::send(call, SendMessageRequest { messages: vec![message] }).await?;
    Ok(AdminSendMessageResponse { status: answer.status, message_id })
}

pub(crate) async fn topic_route(call: Call, request: GetTopicRouteRequest) -> Result<GetTopicRouteResponse> {
    let topic = required(request.topic.as_ref(), "topic")?;
    let route = call.face.route(topic).await?;
    let topic_route_data = String::from_utf8_lossy(&to_json(&*route)).into_owned();
    Ok(GetTopicRouteResponse { status: Some(ok()), topic_route_data })
}

pub(crate) async fn time_span(call: Call, request: QueryTimeSpanRequest) -> Result<QueryTimeSpanResponse> {
    let group = required(request.group.as_ref(), "group")?;
    if request.topics.is_empty() {
        return Err(Refusal::new(Code::BadRequest, "at least one topic is required"));
    }
    let mut queue_time_span_list = Vec::new();
    for topic in &request.topics {
        let name = check::topic(Some(topic))?;
        let header = TopicGroup { topic: name, group, ..Default::default() };
        let command = Command::request(RequestCode::QUERY_CONSUME_TIME_SPAN).with_header(&header);
        let places = call.face.masters_of(name).await?;
        for (place, answer) in call.face.ask_all(&places, &command).await? {
            let spans: QueryConsumeTimeSpanBody = from_json(&answer.body).map_err(malformed)?;
            queue_time_span_list.extend(spans.consume_time_span_set.iter().map(|span| QueueTimeSpan {
                message_queue: Some(MessageQueue {
                    topic: resource(&span.message_queue.topic),
                    id: span.message_queue.queue_id,
                    broker: Some(Broker { name: place.name.to_string(), ..Broker::default() }),
                    ..MessageQueue::default()
                }),
                min_timestamp: span.min_time_stamp,
                max_timestamp: span.max_time_stamp,
                consume_timestamp: span.consume_time_stamp,
                delay_time_ms: span.delay_time.max(0),
            }));
        }
    }
    Ok(QueryTimeSpanResponse { status: Some(ok()), queue_time_span_list })
}

pub(crate) async fn runtime_stats(
    call: Call,
    _: GetProxyRuntimeStatsRequest,
) -> Result<GetProxyRuntimeStatsResponse> {
    let clients = call.face.clients();
    let count = |is: fn(ClientType) -> bool| clients.iter().filter(|client| is(client.kind())).count() as i64;
    let (in_tps, out_tps) = call.face.rates();
    Ok(GetProxyRuntimeStatsResponse {
        status: Some(ok()),
        proxy_name: call.face.here().map_or_else(|| "kerolox-proxy".to_owned(), |here| here.name.to_string()),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        in_tps,
        out_tps,
        connections: call.face.connections.len() as i64,
        producers: count(|kind| kind == ClientType::Producer),
        consumers: count(|kind| !matches!(kind, ClientType::Producer | ClientType::Unspecified)),
    })
}
