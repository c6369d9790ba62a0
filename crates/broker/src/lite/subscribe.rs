//! Which lite topics clients consume (code 200071). Source: `LiteSubscriptionCtlProcessor`,
//! `LiteSubscriptionRegistryImpl`.

use super::{Lite, Subscriber, mailbox};
use crate::Broker;
use crate::effect::Effect;
use crate::input::ConnId;
use crate::produce::Refused;
use crate::state;
use kerolox_wire::body::{
    LiteSubscription, LiteSubscriptionCtlRequestBody, OffsetOption, SubscriptionGroupConfig, from_json,
};
use kerolox_wire::header::NotifyUnsubscribeLite;
use kerolox_wire::names;
use kerolox_wire::{Command, RequestCode, ResponseCode};
use std::collections::BTreeSet;
use std::sync::Arc;

/// Longest id of a client.
const CLIENT_ID_BYTES_MAX: usize = 1_024;

/// A group that consumes all lite topics of its parent.
pub(super) fn is_wildcard(group: &SubscriptionGroupConfig) -> bool {
    group.attributes.contains_key("lite.sub.wildcard")
}

/// The parent topic that a group is bound to.
pub(crate) fn bound_topic(group: &SubscriptionGroupConfig) -> Option<&str> {
    group.attributes.get("lite.bind.topic").map(String::as_str)
}

fn says(group: &SubscriptionGroupConfig, attribute: &str, value: &str) -> bool {
    group.attributes.get(attribute).is_some_and(|said| said.eq_ignore_ascii_case(value))
}

impl Lite {
    /// A client tells of itself (again).
    pub(super) fn enter(&mut self, now_ms: i64, conn: ConnId, client: &str, group: &str, topic: &str) {
        let known = self.clients.get(client);
        if known.is_some_and(|known| (&*known.group, &*known.topic) != (group, topic)) {
            self.remove_client(client);
        }
        if let Some(subscriber) = self.clients.get_mut(client) {
            subscriber.conn = conn;
            subscriber.updated_ms = now_ms;
            return;
        }
        let subscriber = Subscriber {
            conn,
            group: Arc::from(group),
            topic: Arc::from(topic),
            queues: BTreeSet::new(),
            wildcard: false,
            ready: BTreeSet::new(),
            rescan: false,
            updated_ms: now_ms,
            accessed_ms: now_ms,
            consumed_ms: now_ms,
        };
        self.clients.insert(Arc::from(client), subscriber);
    }
}

impl Broker {
    /// Code 200071. Entries are done one after the other; one that is refused ends that.
    pub(crate) fn lite_subscription(
        &mut self,
        now_ms: i64,
        conn: ConnId,
        request: &Command,
        out: &mut Vec<Effect>,
    ) {
        let illegal = |remark: &str| Err(Refused(ResponseCode::ILLEGAL_OPERATION, remark.to_owned()));
        let done = match from_json::<LiteSubscriptionCtlRequestBody>(&request.body) {
            _ if request.body.is_empty() => illegal("Request body is null."),
            Ok(body) if body.subscription_set.is_empty() => {
                illegal("LiteSubscriptionCtlRequestBody is empty.")
            }
            Ok(body) => self.refuse_if_changes_wait().and_then(|()| {
                let mut entries = body.subscription_set.iter();
                entries.try_for_each(|entry| self.change_subscription(now_ms, conn, entry, out))
            }),
            Err(e) => Err(e.into()),
        };
        self.reply_change(conn, request, done, out);
    }

    fn change_subscription(
        &mut self,
        now_ms: i64,
        conn: ConnId,
        entry: &LiteSubscription,
        out: &mut Vec<Effect>,
    ) -> Result<(), Refused> {
        let blank = |text: &str| text.trim().is_empty();
        if blank(&entry.client_id) || blank(&entry.group) || blank(&entry.topic) {
            // As there: it is passed over.
            return Ok(());
        }
        match &*entry.action {
            "COMPLETE_REMOVE" => {
                self.lite.remove_client(&entry.client_id);
                Ok(())
            }
            "PARTIAL_REMOVE" => {
                self.remove_lite_topics(entry);
                Ok(())
            }
            "PARTIAL_ADD" => self.add_lite_topics(now_ms, conn, entry, false, out),
            "COMPLETE_ADD" => self.add_lite_topics(now_ms, conn, entry, true, out),
            other => {
                let remark = format!("the action {other:?} is not known");
                Err(Refused(ResponseCode::SYSTEM_ERROR, remark))
            }
        }
    }

    /// Queues of the lite topics that a client names.
    fn named_queues(entry: &LiteSubscription) -> Result<BTreeSet<Arc<str>>, Refused> {
        let invalid = |why: names::NameError| Refused(ResponseCode::INVALID_PARAMETER, why.to_string());
        if entry.client_id.len() > CLIENT_ID_BYTES_MAX {
            let remark =
                format!("a client id of {} bytes: {CLIENT_ID_BYTES_MAX} is the limit", entry.client_id.len());
            return Err(Refused(ResponseCode::INVALID_PARAMETER, remark));
        }
        names::check_topic(&entry.topic).map_err(invalid)?;
        let queue = |lite: &String| {
            names::check_lite_topic(lite).map_err(invalid)?;
            Ok(Arc::from(names::lite_queue(&entry.topic, lite)))
        };
        entry.lite_topic_set.iter().map(queue).collect()
    }

    fn add_lite_topics(
        &mut self,
        now_ms: i64,
        conn: ConnId,
        entry: &LiteSubscription,
        complete: bool,
        out: &mut Vec<Effect>,
    ) -> Result<(), Refused> {
        if self.state.groups.get(&entry.group).is_none() {
            self.auto_create_group(&entry.group);
        }
        let group = self.state.groups.get(&entry.group).filter(|group| group.consume_enable).cloned();
        let Some(group) = group else {
            let remark = "java.lang.IllegalStateException: Consumer group is not allowed to consume.";
            return Err(Refused(ResponseCode::ILLEGAL_OPERATION, remark.to_owned()));
        };
        let queues = Self::named_queues(entry)?;
        let client: Arc<str> = Arc::from(&*entry.client_id);
        let known = self.lite.clients.get(&client);
        let before = known.map_or(0, |known| known.queues.len());
        let added = queues.iter().filter(|queue| known.is_none_or(|s| !s.queues.contains(*queue))).count();
        let kept = if complete { queues.len() - added } else { before };
        let max = self.config.limits.lite_subscriptions_max;
        let full = self.lite.subscriptions - before + kept + added > max;
        if full || (known.is_none() && self.lite.clients.len() >= max) {
            let remark = format!(
                "org.apache.rocketmq.broker.lite.LiteQuotaException: lite subscription quota exceeded {max}"
            );
            return Err(Refused(ResponseCode::LITE_SUBSCRIPTION_QUOTA_EXCEEDED, remark));
        }
        if is_wildcard(&group) {
            return self.add_wildcard(now_ms, conn, entry, complete);
        }
        self.lite.enter(now_ms, conn, &client, &entry.group, &entry.topic);
        if complete {
            let gone = self.lite.clients.get(&client).map(|s| s.queues.difference(&queues).cloned());
            for queue in gone.into_iter().flatten().collect::<Vec<_>>() {
                self.lite.unsubscribe(&client, &queue);
            }
        }
        for queue in &queues {
            if !complete {
                if says(&group, "lite.sub.model", "Exclusive") {
                    self.exclude_others(&client, &group, queue, out);
                }
                self.set_lite_offset(queue, &entry.group, entry.offset_option.as_ref());
            }
            if self.lite.subscribe(&client, queue) {
                self.lite_may_be_popped(queue, &entry.group);
            }
        }
        Ok(())
    }

    fn add_wildcard(
        &mut self,
        now_ms: i64,
        conn: ConnId,
        entry: &LiteSubscription,
        complete: bool,
    ) -> Result<(), Refused> {
        if !complete {
            let remark =
                "java.lang.IllegalStateException: subscribe lite operation is not supported for this group";
            return Err(Refused(ResponseCode::ILLEGAL_OPERATION, remark.to_owned()));
        }
        let client: Arc<str> = Arc::from(&*entry.client_id);
        self.lite.enter(now_ms, conn, &client, &entry.group, &entry.topic);
        if let Some(subscriber) = self.lite.clients.get_mut(&client)
            && !std::mem::replace(&mut subscriber.wildcard, true)
        {
            subscriber.rescan = true;
            let topic = Arc::clone(&subscriber.topic);
            self.lite.wildcards.entry(topic).or_default().insert(Arc::clone(&client));
            self.pops.touch(&mailbox(&client), 0);
        }
        Ok(())
    }

    fn remove_lite_topics(&mut self, entry: &LiteSubscription) {
        let group = self.state.groups.get(&entry.group);
        let reset = group.is_some_and(|group| says(group, "lite.sub.reset.offset.unsubscribe", "true"));
        for lite in &entry.lite_topic_set {
            let queue: Arc<str> = Arc::from(names::lite_queue(&entry.topic, lite));
            if self.lite.unsubscribe(&entry.client_id, &queue) && reset {
                self.set_lite_offset(&queue, &entry.group, Some(&OffsetOption::from_first()));
            }
        }
    }

    /// Other clients of the group lose a lite topic, and are told so.
    fn exclude_others(
        &mut self,
        client: &str,
        group: &SubscriptionGroupConfig,
        queue: &Arc<str>,
        out: &mut Vec<Effect>,
    ) {
        let others =
            self.lite.subscribers.get(queue).into_iter().flatten().filter(|other| ***other != *client);
        let of_group =
            |other: &&Arc<str>| self.lite.clients.get(*other).is_some_and(|s| *s.group == *group.group_name);
        let others: Vec<Arc<str>> = others.filter(of_group).cloned().collect();
        for other in others {
            let Some(conn) = self.lite.clients.get(&other).map(|s| s.conn) else { continue };
            self.lite.unsubscribe(&other, queue);
            let header = NotifyUnsubscribeLite {
                lite_topic: names::lite_parts(queue).map_or("", |(_, lite)| lite),
                consumer_group: &group.group_name,
                client_id: &other,
                ..Default::default()
            };
            let command =
                Command::request(RequestCode::NOTIFY_UNSUBSCRIBE_LITE).with_header(&header).oneway();
            out.push(Effect::Send { conn, command });
            if says(group, "lite.sub.reset.offset.exclusive", "true") {
                self.set_lite_offset(queue, &group.group_name, Some(&OffsetOption::from_first()));
            }
        }
    }

    /// A group is to go on elsewhere in a lite topic; what is in flight is forgotten.
    fn set_lite_offset(&mut self, queue: &str, group: &str, option: Option<&OffsetOption>) {
        let current = self.state.offsets.get(group, queue, 0);
        let target = match option.map(|option| (&*option.kind, option.value)) {
            Some(("POLICY", OffsetOption::MIN)) => Some(0),
            Some(("POLICY", OffsetOption::MAX)) => Some(self.bounds(queue, 0).max),
            Some(("OFFSET", offset)) => u64::try_from(offset).ok(),
            Some(("TAIL_N", count)) => current.map(|at| at.saturating_sub(count.max(0) as u64)),
            _ => None,
        };
        let Some(target) = target.filter(|target| Some(*target) != current) else { return };
        if self.offset_room(group, queue, 0).is_err() {
            return;
        }
        self.state.in_flight.clear(group, queue, 0);
        state::put_pop_cleared(&mut self.changes, (group, queue, 0));
        if let Some(commit) = self.state.commit(group, queue, 0, target) {
            state::put_offset(&mut self.changes, &commit);
        }
        self.lite_may_be_popped(&Arc::from(queue), group);
    }

    /// A lite topic may have something to pop for a group: those who wait for it are to be tried again.
    pub(crate) fn lite_may_be_popped(&mut self, queue: &Arc<str>, group: &str) {
        if self.bounds(queue, 0).max > self.state.offsets.get(group, queue, 0).unwrap_or(0) {
            for client in self.lite.ready(queue, Some(group)) {
                self.pops.touch(&mailbox(&client), 0);
            }
        }
    }

    /// A message became visible in a lite topic.
    pub(crate) fn lite_arrived(&mut self, queue: &Arc<str>) {
        for client in self.lite.ready(queue, None) {
            self.pops.touch(&mailbox(&client), 0);
        }
    }
}
