//! What operators ask about lite topics (codes 200074 to 200079). Source: `LiteManagerProcessor`.

use super::subscribe::{bound_topic, is_wildcard};
use super::{Subscriber, mailbox};
use crate::Broker;
use crate::admin::{Untimed, place};
use crate::attributes;
use crate::effect::Effect;
use crate::input::ConnId;
use crate::lmq::is_lite;
use crate::produce::Refused;
use crate::query::header_or_refuse;
use kerolox_wire::body::{
    ClientGroup, GetBrokerLiteInfoResponseBody, GetLiteClientInfoResponseBody, GetLiteGroupInfoResponseBody,
    GetLiteTopicInfoResponseBody, GetParentTopicInfoResponseBody, LiteLagInfo, LiteOffset, LiteTopicOffset,
    SubscriptionGroupConfig, TopicConfig,
};
use kerolox_wire::header::{
    GetLiteClientInfo, GetLiteGroupInfo, GetLiteTopicInfo, Topic, TriggerLiteDispatch,
};
use kerolox_wire::names;
use kerolox_wire::{Command, RequestCode, ResponseCode};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Lite topics of one client, or of a group's worst, that are named.
const NAMED_MAX: usize = 10_000;

fn minutes(config: &TopicConfig) -> i32 {
    config.attributes.get(attributes::LITE_EXPIRATION).and_then(|text| text.parse().ok()).unwrap_or(-1)
}

impl Broker {
    /// Codes 200074 to 200079.
    pub(crate) fn lite_info(
        &mut self,
        now_ms: i64,
        conn: ConnId,
        code: RequestCode,
        request: &Command,
        out: &mut Vec<Effect>,
    ) {
        match code {
            RequestCode::GET_BROKER_LITE_INFO => self.broker_lite_info(conn, request, out),
            RequestCode::GET_PARENT_TOPIC_INFO => self.parent_topic_info(conn, request, out),
            RequestCode::GET_LITE_TOPIC_INFO => self.lite_topic_info(conn, request, out),
            RequestCode::GET_LITE_CLIENT_INFO => self.lite_client_info(conn, request, out),
            RequestCode::GET_LITE_GROUP_INFO => self.lite_group_info(now_ms, conn, request, out),
            _ => self.trigger_lite_dispatch(conn, request, out),
        }
    }

    fn broker_lite_info(&mut self, conn: ConnId, request: &Command, out: &mut Vec<Effect>) {
        let topics = self.state.topics.sorted().filter(|(_, topic)| is_lite(&topic.config));
        let body = GetBrokerLiteInfoResponseBody {
            store_type: "default".to_owned(),
            max_lmq_num: self.config.limits.lmq_max as i32,
            current_lmq_num: self.store.lmq_count() as i32,
            lite_subscription_count: self.lite.subscriptions as i32,
            order_info_count: self.state.in_flight.len() as i32,
            cq_table_size: self.store.queues().count() as i32,
            offset_table_size: self.state.offsets.len() as i32,
            event_map_size: self.lite.clients.len() as i32,
            topic_meta: topics.map(|(name, topic)| (name.to_string(), minutes(&topic.config))).collect(),
            group_meta: self.lite_groups(),
        };
        self.reply_body(conn, request, &body, out);
    }

    /// Groups by the parent topic that they are bound to.
    fn lite_groups(&self) -> BTreeMap<String, BTreeSet<String>> {
        let mut groups: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for group in self.state.groups.all() {
            if let Some(topic) = bound_topic(group) {
                groups.entry(topic.to_owned()).or_default().insert(group.group_name.clone());
            }
        }
        groups
    }

    fn parent(&self, topic: &str) -> Result<&TopicConfig, Refused> {
        let refuse = |code, why| Err(Refused(code, format!("Topic [{topic}] {why}")));
        match self.state.topics.get(topic) {
            None => refuse(ResponseCode::TOPIC_NOT_EXIST, "not exist."),
            Some(config) if !is_lite(config) => refuse(ResponseCode::INVALID_PARAMETER, "type not match."),
            Some(config) => Ok(config),
        }
    }

    fn lite_group(&self, group: &str) -> Result<(&SubscriptionGroupConfig, &str), Refused> {
        let Some(config) = self.state.groups.get(group) else {
            let remark = format!("Group [{group}] not exist.");
            return Err(Refused(ResponseCode::SUBSCRIPTION_GROUP_NOT_EXIST, remark));
        };
        let bound = bound_topic(config).filter(|topic| !topic.is_empty());
        bound.map(|topic| (config, topic)).ok_or_else(|| {
            Refused(ResponseCode::INVALID_PARAMETER, format!("Group [{group}] is not a LITE group."))
        })
    }

    fn parent_topic_info(&mut self, conn: ConnId, request: &Command, out: &mut Vec<Effect>) {
        let header: Topic<'_> = header_or_refuse!(self, conn, request, out);
        let body = self.parent(header.topic).map(|config| GetParentTopicInfoResponseBody {
            topic: header.topic.to_owned(),
            ttl: minutes(config),
            groups: self.lite_groups().remove(header.topic),
            lmq_num: self.store.lmq_count() as i32,
            lite_topic_count: self.lite.below(header.topic).count() as i32,
        });
        self.reply_asked(conn, request, body, out);
    }

    fn lite_topic_info(&mut self, conn: ConnId, request: &Command, out: &mut Vec<Effect>) {
        let header: GetLiteTopicInfo<'_> = header_or_refuse!(self, conn, request, out);
        let body = self.parent(header.parent_topic).map(|_| {
            let queue = names::lite_queue(header.parent_topic, header.lite_topic);
            let bounds = self.bounds(&queue, 0);
            let clients = self.lite.subscribers.get(&*queue).into_iter().flatten();
            let group = |client: &str| self.lite.clients.get(client).map(|s| s.group.to_string());
            let own = clients.filter_map(|client| {
                Some(ClientGroup { client_id: client.to_string(), group: group(client)? })
            });
            let all = self.lite.wildcards.get(header.parent_topic).into_iter().flatten();
            let groups: BTreeSet<String> = all.filter_map(|client| group(client)).collect();
            let all = groups.into_iter().map(|group| ClientGroup { client_id: "*".to_owned(), group });
            GetLiteTopicInfoResponseBody {
                parent_topic: header.parent_topic.to_owned(),
                lite_topic: header.lite_topic.to_owned(),
                subscriber: own.chain(all).collect(),
                topic_offset: LiteTopicOffset {
                    min_offset: bounds.min as i64,
                    max_offset: bounds.max as i64,
                    last_update_timestamp: self.lite.queues.get(&*queue).copied().flatten().unwrap_or(0),
                },
                sharding_to_broker: true,
            }
        });
        self.reply_asked(conn, request, body, out);
    }

    fn lite_client_info(&mut self, conn: ConnId, request: &Command, out: &mut Vec<Effect>) {
        let header: GetLiteClientInfo<'_> = header_or_refuse!(self, conn, request, out);
        let bound = self.parent(header.parent_topic).and_then(|_| {
            let not_there = || {
                let remark = format!("Group [{}] not exist.", header.group);
                Refused(ResponseCode::SUBSCRIPTION_GROUP_NOT_EXIST, remark)
            };
            let group = self.state.groups.get(header.group).ok_or_else(not_there)?;
            match bound_topic(group) == Some(header.parent_topic) {
                true => Ok(()),
                false => {
                    let (group, topic) = (header.group, header.parent_topic);
                    let remark = format!("Subscription [{group}]-[{topic}] not match.");
                    Err(Refused(ResponseCode::INVALID_PARAMETER, remark))
                }
            }
        });
        let body = bound.map(|()| {
            let client = self.lite.clients.get(header.client_id);
            let max = usize::try_from(header.max_count.unwrap_or(1_000)).unwrap_or(0).min(NAMED_MAX);
            let named = |s: &Subscriber| s.queues.iter().take(max).map(|queue| queue.to_string()).collect();
            GetLiteClientInfoResponseBody {
                parent_topic: header.parent_topic.to_owned(),
                group: header.group.to_owned(),
                client_id: header.client_id.to_owned(),
                last_access_time: client.map_or(-1, |s| s.accessed_ms),
                last_consume_time: client.map_or(0, |s| s.consumed_ms),
                lite_topic_count: client.map_or(-1, |s| s.queues.len() as i32),
                lite_topic_set: client.map(named),
            }
        });
        self.reply_asked(conn, request, body, out);
    }

    fn lite_group_info(&mut self, now_ms: i64, conn: ConnId, request: &Command, out: &mut Vec<Effect>) {
        let header: GetLiteGroupInfo<'_> = header_or_refuse!(self, conn, request, out);
        let topic = match self.lite_group(header.group) {
            Ok((_, topic)) => topic,
            Err(Refused(code, remark)) => {
                return self.reply(conn, request, request.refuse(code, remark), out);
            }
        };
        let mut body = GetLiteGroupInfoResponseBody {
            group: header.group.to_owned(),
            parent_topic: topic.to_owned(),
            lite_topic: header.lite_topic.map(str::to_owned),
            earliest_unconsumed_timestamp: -1,
            ..Default::default()
        };
        let Some(lite) = header.lite_topic.filter(|lite| !lite.is_empty()) else {
            self.put_lags(&mut body, topic, header.top_k.unwrap_or(0));
            return self.reply_body(conn, request, &body, out);
        };
        let queue: Arc<str> = names::lite_queue(topic, lite).into();
        let max = self.bounds(&queue, 0).max;
        match self.state.offsets.get(header.group, &queue, 0) {
            Some(at) if max > 0 => {
                body.total_lag_count = max.saturating_sub(at) as i64;
                body.lite_topic_offset_wrapper = Some(LiteOffset {
                    broker_offset: max as i64,
                    consumer_offset: at as i64,
                    ..Default::default()
                });
                let places = vec![place(&queue, 0, Some(at)), place(&queue, 0, at.checked_sub(1))];
                return self.answer_timed(now_ms, conn, request, Untimed::Lite(body), places, out);
            }
            None if max > 0 => {}
            _ => body.total_lag_count = -1,
        }
        self.reply_body(conn, request, &body, out);
    }

    /// The lite topics in which a group is behind most, and how far it is behind in all.
    fn put_lags(&self, body: &mut GetLiteGroupInfoResponseBody, topic: &str, top: i32) {
        let top = usize::try_from(top).unwrap_or(0).min(NAMED_MAX);
        let worst_first = |lags: &mut Vec<LiteLagInfo>| {
            lags.sort_by(|a, b| b.lag_count.cmp(&a.lag_count).then_with(|| a.lite_topic.cmp(&b.lite_topic)));
            lags.truncate(top);
        };
        let mut lags: Vec<LiteLagInfo> = Vec::new();
        for queue in self.lite.below(topic) {
            let Some(at) = self.state.offsets.get(&body.group, queue, 0) else { continue };
            let lag_count = self.bounds(queue, 0).max.saturating_sub(at) as i64;
            if lag_count > 0 {
                body.total_lag_count += lag_count;
                let lite_topic = names::lite_parts(queue).map_or("", |(_, lite)| lite).to_owned();
                lags.push(LiteLagInfo { lite_topic, lag_count, earliest_unconsumed_timestamp: -1 });
                if lags.len() > 2 * top + 1_024 {
                    worst_first(&mut lags);
                }
            }
        }
        worst_first(&mut lags);
        body.lag_count_top_k = Some(lags);
        body.lag_timestamp_top_k = Some(Vec::new());
    }

    /// Looks for what a client, or all of a group, may pop.
    fn trigger_lite_dispatch(&mut self, conn: ConnId, request: &Command, out: &mut Vec<Effect>) {
        let header: TriggerLiteDispatch<'_> = header_or_refuse!(self, conn, request, out);
        if let Err(Refused(code, remark)) = self.lite_group(header.group).map(|(group, _)| is_wildcard(group))
        {
            return self.reply(conn, request, request.refuse(code, remark), out);
        }
        let only = header.client_id.filter(|client| !client.is_empty());
        let mut touched = Vec::new();
        for (client, subscriber) in &mut self.lite.clients {
            let named = only.is_none_or(|only| only == &**client);
            if named && *subscriber.group == *header.group {
                subscriber.rescan = true;
                touched.push(mailbox(client));
            }
        }
        for mailbox in touched {
            self.pops.touch(&mailbox, 0);
        }
        self.reply(conn, request, request.respond(ResponseCode::SUCCESS), out);
    }

    fn reply_asked<T: serde::Serialize>(
        &mut self,
        conn: ConnId,
        request: &Command,
        body: Result<T, Refused>,
        out: &mut Vec<Effect>,
    ) {
        match body {
            Ok(body) => self.reply_body(conn, request, &body, out),
            Err(Refused(code, remark)) => self.reply(conn, request, request.refuse(code, remark), out),
        }
    }
}
