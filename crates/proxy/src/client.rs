//! A client: one process's producer or consumer, by its id, whatever connections it uses: behind a load balancer each call may come
//! by another one. Towards brokers it is a client of Remoting with
//! connections of its own, so that lists of consumers, questions about transactions and parked pops need nothing special.

use crate::brokers::{Asked, Link};
use crate::face::Face;
use crate::known::Place;
use crate::renew::{Held, Renewal};
use crate::status::{Refusal, Result, ok};
use crate::v2::settings::PubSub;
use crate::v2::{self, ClientType, Code, Settings, TelemetryCommand, telemetry_command};
use kerolox_net as net;
use kerolox_wire::body::{
    ConsumeFromWhere, ConsumeType, ConsumerData, HeartbeatData, MessageModel, ProducerData, SubscriptionData,
    to_json,
};
use kerolox_wire::properties::tag_code;
use kerolox_wire::{Command, Language, RequestCode};
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

/// Connections by the brokers' names, with the addresses that they had.
type Links = HashMap<Rc<str>, (String, Rc<Link>)>;

pub(crate) struct Client {
    pub(crate) id: String,
    pub(crate) language: String,
    pub(crate) peer: SocketAddr,
    /// The connection that it was heard by last, and when, in seconds of the listener's.
    pub(crate) heard: Cell<(net::ConnId, u64)>,
    /// Since when that connection is gone.
    pub(crate) lost_s: Cell<Option<u64>>,
    /// What it said of itself, with our answer.
    pub(crate) settings: RefCell<Option<Settings>>,
    /// The stream by which it can be asked.
    pub(crate) telemetry: Cell<Option<(net::ConnId, u32)>>,
    links: RefCell<Links>,
    /// Messages whose invisible time is renewed for it.
    pub(crate) held: RefCell<HashMap<Held, Renewal>>,
    /// Questions that it was asked, by nonce.
    pub(crate) asked: RefCell<HashMap<String, (Rc<Link>, Command)>>,
    /// Grows when what it wants changes.
    pub(crate) version_ms: Cell<i64>,
    gone: Cell<bool>,
}

impl Client {
    pub(crate) fn new(id: &str, language: &str, peer: SocketAddr, heard: (net::ConnId, u64)) -> Rc<Self> {
        Rc::new(Self {
            id: id.to_owned(),
            language: language.to_owned(),
            peer,
            heard: Cell::new(heard),
            lost_s: Cell::default(),
            settings: RefCell::default(),
            telemetry: Cell::default(),
            links: RefCell::default(),
            held: RefCell::default(),
            asked: RefCell::default(),
            version_ms: Cell::default(),
            gone: Cell::default(),
        })
    }

    /// Its connection to a broker, made when it is needed first, and again when it is lost.
    pub(crate) async fn link(self: &Rc<Self>, face: &Rc<Face>, place: &Place) -> Result<Rc<Link>> {
        if let Some(link) = self.open_link(place) {
            return Ok(link);
        }
        let (link, asked) = face.brokers.connect(&place.address, self.peer).await?;
        if self.gone.get() {
            return Err(Refusal::new(Code::InternalServerError, "the client is gone"));
        }
        // Another call may have been quicker.
        if let Some(link) = self.open_link(place) {
            return Ok(link);
        }
        let link = Rc::new(link);
        self.links.borrow_mut().insert(Rc::clone(&place.name), (place.address.clone(), Rc::clone(&link)));
        listen(face, self, &link, asked);
        if let Some(beat) = self.heartbeat_command() {
            // It has not been heard of there. What goes wrong shows with what is asked next.
            drop(link.call(beat, Duration::ZERO).await);
        }
        Ok(link)
    }

    /// To a broker that moved another connection is needed.
    fn open_link(&self, place: &Place) -> Option<Rc<Link>> {
        let links = self.links.borrow();
        let (address, link) = links.get(&place.name)?;
        (*address == place.address && !link.is_closed()).then(|| Rc::clone(link))
    }

    /// All brokers that it is connected to.
    pub(crate) fn links(&self) -> Vec<Rc<Link>> {
        let links = self.links.borrow();
        links.values().map(|(_, link)| link).filter(|link| !link.is_closed()).cloned().collect()
    }

    pub(crate) fn kind(&self) -> ClientType {
        self.settings.borrow().as_ref().map_or(ClientType::Unspecified, Settings::client_type)
    }

    pub(crate) fn is_lite(&self) -> bool {
        is_lite(self.kind())
    }

    /// Topics that it said it would produce to or consume from.
    pub(crate) fn topics(&self) -> Vec<String> {
        let settings = self.settings.borrow();
        let name = |resource: Option<&v2::Resource>| resource.map(|r| r.name.clone()).unwrap_or_default();
        match settings.as_ref().and_then(|settings| settings.pub_sub.as_ref()) {
            Some(PubSub::Publishing(publishing)) => {
                publishing.topics.iter().map(|t| t.name.clone()).collect()
            }
            Some(PubSub::Subscription(subscription)) => {
                subscription.subscriptions.iter().map(|entry| name(entry.topic.as_ref())).collect()
            }
            None => Vec::new(),
        }
    }

    /// Its group, if it is a consumer.
    pub(crate) fn group(&self) -> Option<String> {
        match &self.settings.borrow().as_ref()?.pub_sub {
            Some(PubSub::Subscription(subscription)) => Some(subscription.group.as_ref()?.name.clone()),
            _ => None,
        }
    }

    /// What brokers are told of it; `None` before it said anything of itself.
    pub(crate) fn heartbeat_command(&self) -> Option<Command> {
        let settings = self.settings.borrow();
        let settings = settings.as_ref()?;
        let mut data = HeartbeatData { client_id: self.id.clone(), ..HeartbeatData::default() };
        match settings.pub_sub.as_ref()? {
            // The group of a producer is the topic: that is whom a broker asks about transactions.
            PubSub::Publishing(publishing) => {
                let group = |topic: &v2::Resource| ProducerData { group_name: topic.name.clone() };
                data.producer_data_set = publishing.topics.iter().map(group).collect();
            }
            PubSub::Subscription(subscription) => {
                data.consumer_data_set =
                    vec![consumer(settings.client_type(), subscription, self.version_ms.get())];
            }
        }
        if data.producer_data_set.is_empty() && data.consumer_data_set.is_empty() {
            return None;
        }
        let command = Command::request(RequestCode::HEART_BEAT).with_body(to_json(&data));
        Some(Command { language: Language::from_name(&self.language), ..command })
    }

    /// Sends a command by its telemetry stream. False if there is none.
    pub(crate) fn command(&self, face: &Face, command: telemetry_command::Command) -> bool {
        let command = TelemetryCommand { status: Some(ok()), command: Some(command) };
        self.telemetry.get().is_some_and(|(conn, stream)| face.send(conn, stream, &command))
    }

    /// It left.
    pub(crate) fn close(&self) {
        self.gone.set(true);
        self.close_links();
    }

    /// Its connections to brokers are closed, and what waits for it there with them.
    pub(crate) fn close_links(&self) {
        self.links.borrow_mut().drain().for_each(|(_, (_, link))| link.close());
    }
}

/// What a broker asks of a client is looked at as it comes.
fn listen(face: &Rc<Face>, client: &Rc<Client>, link: &Rc<Link>, asked: Rc<Asked>) {
    let (face, client, link) = (Rc::downgrade(face), Rc::downgrade(client), Rc::downgrade(link));
    tokio::task::spawn_local(async move {
        while let Some(command) = asked.next().await {
            let (Some(face), Some(client), Some(link)) = (face.upgrade(), client.upgrade(), link.upgrade())
            else {
                return;
            };
            crate::asked::take(&face, &client, &link, command).await;
        }
    });
}

pub(crate) fn is_lite(kind: ClientType) -> bool {
    matches!(kind, ClientType::LitePushConsumer | ClientType::LiteSimpleConsumer)
}

fn consumer(kind: ClientType, subscription: &v2::Subscription, version: i64) -> ConsumerData {
    let active = matches!(
        kind,
        ClientType::SimpleConsumer | ClientType::LiteSimpleConsumer | ClientType::PullConsumer
    );
    ConsumerData {
        consume_from_where: Some(ConsumeFromWhere::LastOffset),
        consume_type: Some(if active { ConsumeType::Actively } else { ConsumeType::Passively }),
        group_name: subscription.group.as_ref().map(|group| group.name.clone()).unwrap_or_default(),
        message_model: Some(if is_lite(kind) {
            MessageModel::LiteSelective
        } else {
            MessageModel::Clustering
        }),
        subscription_data_set: subscription
            .subscriptions
            .iter()
            .map(|entry| subscribed(entry, version))
            .collect(),
        unit_mode: false,
    }
}

fn subscribed(entry: &v2::SubscriptionEntry, sub_version: i64) -> SubscriptionData {
    let expression = entry.expression.clone().unwrap_or_default();
    let topic = entry.topic.as_ref().map(|topic| topic.name.clone()).unwrap_or_default();
    let is_sql = expression.r#type() == v2::FilterType::Sql;
    let all = expression.expression.trim().is_empty() || expression.expression.trim() == "*";
    let tags_set: Vec<String> = match is_sql || all {
        true => Vec::new(),
        false => {
            let tags = expression.expression.split("||").map(str::trim).filter(|tag| !tag.is_empty());
            tags.map(str::to_owned).collect()
        }
    };
    SubscriptionData {
        code_set: tags_set.iter().map(|tag| tag_code(tag) as i32).collect(),
        expression_type: if is_sql { "SQL92" } else { "TAG" }.to_owned(),
        sub_string: if all { "*".to_owned() } else { expression.expression },
        sub_version,
        tags_set,
        topic,
        ..SubscriptionData::default()
    }
}
