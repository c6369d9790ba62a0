//! What clients and server tell each other beside messages: settings, heartbeats, farewells, and questions to clients.

use super::receive::max_attempts;
use super::{INTERNAL, lite};
use crate::check;
use crate::client::{Client, is_lite};
use crate::face::{Call, Face};
use crate::message::duration;
use crate::status::{Refusal, Result, ok};
use crate::v2::retry_policy::Strategy;
use crate::v2::settings::PubSub;
use crate::v2::telemetry_command::Command as Told;
use crate::v2::{
    ClientType, Code, CustomizedBackoff, ExponentialBackoff, HeartbeatRequest, HeartbeatResponse, Language,
    Metric, NotifyClientTerminationRequest, NotifyClientTerminationResponse, Publishing, RetryPolicy,
    Settings, Subscription, TelemetryCommand,
};
use bytes::Bytes;
use kerolox_net::ConnId;
use kerolox_wire::body::SubscriptionGroupConfig;
use kerolox_wire::header::UnregisterClient;
use kerolox_wire::{Command, RequestCode};
use prost::Message;
use std::rc::Rc;
use std::time::Duration;

/// Bytes of a command: the stacks of a client's threads are the longest.
const COMMAND_BYTES_MAX: usize = 4 << 20;
/// Bytes of settings, which are kept.
const SETTINGS_BYTES_MAX: usize = 64 << 10;
/// gRPC's own status codes.
const INVALID_ARGUMENT: u32 = 3;

/// How often a producer tries, and how long it waits between: Apache's `grpcClientProducer…` defaults.
const PRODUCER_ATTEMPTS: i32 = 3;
const PRODUCER_BACKOFF_MS: (i64, i64, f32) = (10, 1_000, 2.0);
/// The delay levels, which a group without a policy of its own goes by.
const LEVELS_S: [i64; 18] =
    [1, 5, 10, 30, 60, 120, 180, 240, 300, 360, 420, 480, 540, 600, 1_200, 1_800, 3_600, 7_200];
const RECEIVE_BATCH: i32 = 32;
const POLL_MS: i64 = 20_000;
const LITE_TOPIC_BYTES: i32 = 64;
/// The Node.js client passes over settings that come while it asks for its second topic's route, and then waits five minutes for
/// the next ones.
const AGAIN: Duration = Duration::from_millis(1_500);

/// The first command of a stream.
pub(crate) fn begin(call: Call, message: Bytes) {
    if let Err(refusal) = super::named(&call) {
        call.send(&TelemetryCommand { status: Some(refusal.status()), command: None });
        call.finish(0, "");
        return;
    }
    call.face.note_telemetry(&call);
    take(&call.face, &call.client, (call.conn, call.stream), message);
}

/// A command of a client.
pub(crate) fn take(face: &Rc<Face>, client: &Rc<Client>, (conn, stream): (ConnId, u32), message: Bytes) {
    let end = |status, why: &str| {
        face.forget_telemetry(conn, stream);
        face.finish(conn, stream, status, why);
    };
    if message.len() > COMMAND_BYTES_MAX {
        return end(INVALID_ARGUMENT, &format!("a command has {COMMAND_BYTES_MAX} bytes at most"));
    }
    let command = match TelemetryCommand::decode(message) {
        Ok(command) => command,
        Err(e) => return end(INTERNAL, &format!("the command is none: {e}")),
    };
    match command.command {
        Some(Told::Settings(settings)) => {
            // The newest stream is the one that is listened at.
            client.telemetry.set(Some((conn, stream)));
            let (face, client) = (Rc::clone(face), Rc::clone(client));
            let is_node = settings.user_agent.as_ref().is_some_and(|ua| ua.language() == Language::NodeJs);
            tokio::task::spawn_local(async move {
                if let Err(refusal) = take_settings(&face, &client, (conn, stream), settings).await {
                    let status = if (refusal.code as i32) < 50_000 { INVALID_ARGUMENT } else { INTERNAL };
                    let why = format!("process client telemetryCommand failed. {}", refusal.message);
                    if is_node {
                        // It opens the stream again for ever otherwise, and its start never fails.
                        let refused = TelemetryCommand { status: Some(refusal.status()), command: None };
                        face.send(conn, stream, &refused);
                    }
                    face.forget_telemetry(conn, stream);
                    face.finish(conn, stream, status, &why);
                }
            });
        }
        Some(Told::ThreadStackTrace(trace)) => {
            crate::asked::stack_trace(client, &trace.nonce, command.status, trace.thread_stack_trace);
        }
        Some(Told::VerifyMessageResult(result)) => {
            crate::asked::verified(client, &result.nonce, command.status);
        }
        // What only servers say, and what is newer than we are.
        _ => {}
    }
}

async fn take_settings(
    face: &Rc<Face>,
    client: &Rc<Client>,
    (conn, stream): (ConnId, u32),
    settings: Settings,
) -> Result<()> {
    if settings.encoded_len() > SETTINGS_BYTES_MAX {
        let why = format!("settings have {SETTINGS_BYTES_MAX} bytes at most");
        return Err(Refusal::new(Code::BadRequest, why));
    }
    check_settings(&settings)?;
    let before = client.settings.replace(Some(settings.clone()));
    let is_first = before.is_none();
    client.version_ms.set((face.config.now_ms)());
    // Brokers hear of the client first: they create its group.
    register(face, client).await;
    let answer = match answer(face, settings).await {
        Ok(answer) => answer,
        Err(refusal) => {
            // What could not be looked at just now changes nothing.
            client.settings.replace(before.filter(|_| refusal.is_of_the_moment()));
            return Err(refusal);
        }
    };
    let repeat = is_first && answer.user_agent.as_ref().is_some_and(|ua| ua.language() == Language::NodeJs);
    *client.settings.borrow_mut() = Some(answer.clone());
    let command = TelemetryCommand { status: Some(ok()), command: Some(Told::Settings(answer)) };
    face.send(conn, stream, &command);
    if repeat {
        tokio::time::sleep(AGAIN).await;
        face.send(conn, stream, &command);
    }
    Ok(())
}

fn check_settings(settings: &Settings) -> Result<()> {
    let bad = |why: String| Err(Refusal::new(Code::BadRequest, why));
    match &settings.pub_sub {
        Some(PubSub::Publishing(publishing)) => {
            publishing.topics.iter().try_for_each(|topic| check::topic(Some(topic)).map(drop))
        }
        Some(PubSub::Subscription(subscription)) => {
            check::group(subscription.group.as_ref())?;
            let consumers = [
                ClientType::PushConsumer,
                ClientType::SimpleConsumer,
                ClientType::PullConsumer,
                ClientType::LitePushConsumer,
                ClientType::LiteSimpleConsumer,
            ];
            match consumers.contains(&settings.client_type()) {
                true => Ok(()),
                false => bad(format!(
                    "Client type is not consumer, type: {}",
                    settings.client_type().as_str_name()
                )),
            }
        }
        None => bad("there is no publishing or subscription data in settings".to_owned()),
    }
}

/// Tells the brokers of a client's topics of it.
async fn register(face: &Rc<Face>, client: &Rc<Client>) {
    let mut places: Vec<_> = face.here().into_iter().collect();
    if places.is_empty() {
        for topic in client.topics() {
            // A topic that is not there has no brokers that ought to know.
            let Ok(view) = face.view(&topic).await else { continue };
            places.extend(view.masters.iter().map(|(place, _)| place.clone()));
        }
        places.sort_by(|a, b| a.name.cmp(&b.name));
        places.dedup();
    }
    let Some(beat) = client.heartbeat_command() else { return };
    // All at the same time: one that is away keeps its client waiting for seconds.
    let beat_at = |place| {
        let (face, client, beat) = (Rc::clone(face), Rc::clone(client), beat.clone());
        tokio::task::spawn_local(async move {
            // A broker that cannot be asked now hears with the next heartbeat.
            if let Ok(link) = client.link(&face, &place).await {
                drop(link.call(beat, Duration::ZERO).await);
            }
        })
    };
    let told: Vec<_> = places.into_iter().map(beat_at).collect();
    for task in told {
        // (Fails if the process ends.)
        drop(task.await);
    }
}

/// What the server makes of a client's settings.
async fn answer(face: &Rc<Face>, mut settings: Settings) -> Result<Settings> {
    let client_type = settings.client_type();
    let language = settings.user_agent.as_ref().map_or(Language::Unspecified, |ua| ua.language());
    settings.metric = Some(Metric { on: false, endpoints: None });
    match &mut settings.pub_sub {
        Some(PubSub::Publishing(publishing)) => {
            *publishing = Publishing {
                max_body_size: i32::try_from(face.config.body_bytes_max).unwrap_or(i32::MAX),
                validate_message_type: face.config.check_message_types,
                ..std::mem::take(publishing)
            };
            let (initial, max, multiplier) = PRODUCER_BACKOFF_MS;
            settings.backoff_policy = Some(exponential(PRODUCER_ATTEMPTS, initial, max, multiplier));
        }
        Some(PubSub::Subscription(subscription)) => {
            let group = check::group(subscription.group.as_ref())?;
            let topic = subscription.subscriptions.first().and_then(|entry| entry.topic.as_ref());
            let topic = topic.map(|topic| &*topic.name);
            let config = face.group(group, topic).await.map_err(|refusal| match refusal.code {
                Code::ConsumerGroupNotFound => {
                    Refusal::new(Code::IllegalConsumerGroup, format!("group not found: {group}"))
                }
                _ => refusal,
            })?;
            check_lite(client_type, group, topic, &config)?;
            *subscription = Subscription {
                fifo: Some(config.consume_message_orderly),
                receive_batch_size: Some(RECEIVE_BATCH),
                long_polling_timeout: Some(duration(POLL_MS)),
                lite_subscription_quota: Some(lite::quota(&config.attributes)),
                max_lite_topic_size: Some(LITE_TOPIC_BYTES),
                ..std::mem::take(subscription)
            };
            settings.backoff_policy = Some(backoff(&config, language));
        }
        None => {}
    }
    Ok(settings)
}

/// Groups are for lite topics or not, and so are their consumers.
fn check_lite(
    client_type: ClientType,
    group: &str,
    topic: Option<&str>,
    config: &SubscriptionGroupConfig,
) -> Result<()> {
    let is_lite = is_lite(client_type);
    match config.attributes.get("lite.bind.topic") {
        None if is_lite => {
            let why = format!("regular group cannot use LITE mode: {group}");
            Err(Refusal::new(Code::IllegalConsumerGroup, why))
        }
        Some(_) if !is_lite => {
            let why = format!("lite group must use LITE mode: {group}");
            Err(Refusal::new(Code::IllegalConsumerGroup, why))
        }
        Some(bound) if topic.is_some_and(|topic| topic != bound) => {
            let actual = topic.unwrap_or_default();
            let why = format!("lite group {group} is expected to bind topic {bound}, but actual is {actual}");
            Err(Refusal::new(Code::IllegalTopic, why))
        }
        _ => Ok(()),
    }
}

fn exponential(max_attempts: i32, initial_ms: i64, max_ms: i64, multiplier: f32) -> RetryPolicy {
    let backoff =
        ExponentialBackoff { initial: Some(duration(initial_ms)), max: Some(duration(max_ms)), multiplier };
    RetryPolicy { max_attempts, strategy: Some(Strategy::ExponentialBackoff(backoff)) }
}

/// When a group's messages come again. Python's client understands only the one way of saying it, the one for Node.js only the
/// other; the rest understand both.
fn backoff(config: &SubscriptionGroupConfig, language: Language) -> RetryPolicy {
    let max_attempts = max_attempts(config);
    let policy = &config.group_retry_policy;
    if policy.kind == "EXPONENTIAL"
        && let Some(own) = &policy.exponential_retry_policy
        && language != Language::Python
    {
        return exponential(max_attempts, own.initial, own.max, own.multiplier as f32);
    }
    let own = policy.customized_retry_policy.as_ref().map(|own| own.next.clone());
    let delays_ms: Vec<i64> = match own.filter(|next| !next.is_empty() && policy.kind != "EXPONENTIAL") {
        Some(next) => next,
        None => LEVELS_S.iter().map(|s| s * 1_000).collect(),
    };
    if language == Language::NodeJs {
        let (first, last) = (delays_ms.first().copied(), delays_ms.last().copied());
        return exponential(max_attempts, first.unwrap_or(1_000), last.unwrap_or(7_200_000), 2.0);
    }
    let next = delays_ms.into_iter().map(duration).collect();
    RetryPolicy { max_attempts, strategy: Some(Strategy::CustomizedBackoff(CustomizedBackoff { next })) }
}

pub(crate) async fn heartbeat(call: Call, request: HeartbeatRequest) -> Result<HeartbeatResponse> {
    if call.client.settings.borrow().is_none() {
        // A producer says nothing here that could not be done without, and no client has to be told to begin again after a
        // restart: it is asked for its settings by this code, and sends them when it pleases.
        let why = "cannot find client settings for this client";
        return Err(Refusal::new(Code::UnrecognizedClientType, why));
    }
    if request.client_type() != ClientType::Producer {
        check::group(request.group.as_ref())?;
    }
    // The client waits for no broker.
    tokio::task::spawn_local(async move { register(&call.face, &call.client).await });
    Ok(HeartbeatResponse { status: Some(ok()) })
}

pub(crate) async fn terminate(
    call: Call,
    _request: NotifyClientTerminationRequest,
) -> Result<NotifyClientTerminationResponse> {
    if call.client.settings.borrow().is_none() {
        let why = "cannot find client settings for this client";
        return Err(Refusal::new(Code::UnrecognizedClientType, why));
    }
    let (group, topics) = (call.client.group(), call.client.topics());
    let producers = if group.is_some() { Vec::new() } else { topics };
    for link in call.client.links() {
        let groups = producers.iter().map(|topic| (Some(&**topic), None));
        for (producer_group, consumer_group) in
            groups.chain(group.as_deref().map(|group| (None, Some(group))))
        {
            let header = UnregisterClient {
                client_id: &call.client.id,
                producer_group,
                consumer_group,
                ..Default::default()
            };
            let command = Command::request(RequestCode::UNREGISTER_CLIENT).with_header(&header);
            // The broker finds out by itself, later.
            drop(link.call(command, Duration::ZERO).await);
        }
    }
    crate::renew::let_go(&call.face, call.client.held.take());
    call.face.leave(&call.client);
    Ok(NotifyClientTerminationResponse { status: Some(ok()) })
}
