//! Light message queues: queues `%LMQ%…` that hold messages of other topics, by naming them in `INNER_MULTI_DISPATCH`.
//! Lite topics are made of them; where `enableLmq` and `enableMultiDispatch` say so, clients may name their own. Source:
//! `SendMessageProcessor.sendMessage`, `LmqDispatch`.

use crate::Broker;
use crate::attributes;
use crate::compaction::KEPT_QUEUE;
use crate::config::perm;
use crate::groups;
use crate::produce::{Draft, Refused};
use crate::sent::Sent;
use crate::topics;
use kerolox_wire::ResponseCode;
use kerolox_wire::body::{SubscriptionGroupConfig, TopicConfig};
use kerolox_wire::names;
use kerolox_wire::properties::{PropertiesBuf, name as property};
use kerolox_wire::record::PROPERTIES_BYTES_MAX;
use std::borrow::Cow;
use std::sync::Arc;

/// Further queues of one message.
const FURTHER_MAX: usize = 64;
/// Bytes that the offset in one further queue may take.
const OFFSET_BYTES_MAX: usize = 20;

/// Whether a topic's messages belong to lite topics below it.
pub(crate) fn is_lite(config: &TopicConfig) -> bool {
    config.attributes.get(attributes::MESSAGE_TYPE).is_some_and(|kind| kind == "LITE")
}

/// The topic that is read where a header names a lite topic below another.
pub(crate) fn read_topic<'a>(topic: &'a str, lite: Option<&str>) -> Cow<'a, str> {
    match lite.filter(|lite| !lite.trim().is_empty()) {
        Some(lite) => Cow::Owned(names::lite_queue(topic, lite)),
        None => Cow::Borrowed(topic),
    }
}

impl Broker {
    /// Sets which further queues a message that was sent is to belong to.
    pub(crate) fn name_further_queues(&mut self, sent: &Sent<'_>, draft: &mut Draft) -> Result<(), Refused> {
        let lite = sent.lite_topic.filter(|_| self.state.topics.get(&draft.topic).is_some_and(is_lite));
        if let Some(lite) = lite {
            let illegal = |why: String| Refused(ResponseCode::MESSAGE_ILLEGAL, why);
            names::check_lite_topic(lite).map_err(|e| illegal(e.to_string()))?;
            draft.properties.set(property::INNER_MULTI_DISPATCH, &names::lite_queue(&draft.topic, lite));
        } else if !sent.further || !self.config.lmq {
            if sent.further && self.state.topics.get(&draft.topic).is_some_and(is_lite) {
                // Only through the lite topic's own name.
                draft.properties.remove(property::INNER_MULTI_DISPATCH);
            }
            return Ok(());
        }
        let named = draft.properties.as_properties().get(property::INNER_MULTI_DISPATCH).unwrap_or_default();
        let count = named.split(',').count();
        if count > FURTHER_MAX {
            let remark = format!("a message of {count} further queues: {FURTHER_MAX} is the limit");
            return Err(Refused(ResponseCode::MESSAGE_ILLEGAL, remark));
        }
        // What is added when it is stored must fit then.
        let added = property::INNER_MULTI_QUEUE_OFFSET.len() + 2 + count * (OFFSET_BYTES_MAX + 1);
        if draft.properties.as_bytes().len() + added > PROPERTIES_BYTES_MAX {
            return Err(self.illegal());
        }
        let new = named.split(',').filter(|name| self.store.bounds(name, 0).is_none()).count();
        if self.store.lmq_count() + new > self.config.limits.lmq_max {
            let remark = "[LMQ_CONSUME_QUEUE_NUM_EXCEEDED]lmq consume queue num exceeded.".to_owned();
            return Err(Refused(ResponseCode::LMQ_QUOTA_EXCEEDED, remark));
        }
        Ok(())
    }

    /// A light message queue as a topic to read from. Source: `LmqTopicConfigManager`.
    pub(crate) fn lmq_config(&self, topic: &str) -> Option<(Arc<str>, TopicConfig)> {
        let free =
            self.config.lmq && topic.starts_with(names::LMQ_PREFIX) && names::check_topic(topic).is_ok();
        free.then(|| (Arc::from(topic), topics::new(topic, 1, perm::READ | perm::WRITE)))
    }

    /// A group of one light message queue, which nobody creates. Source: `LmqSubscriptionGroupManager`.
    pub(crate) fn lmq_group(&self, group: &str) -> Option<(Arc<str>, SubscriptionGroupConfig)> {
        let free =
            self.config.lmq && group.starts_with(names::LMQ_PREFIX) && names::check_group(group).is_ok();
        free.then(|| (Arc::from(group), groups::new(group)))
    }

    /// Says in a message's properties which offsets it gets in its further queues, if the topic that it is appended to next
    /// is one whose messages have some.
    pub(crate) fn set_further_offsets(&self, topic: &str, queue_id: u32, properties: &mut PropertiesBuf) {
        properties.remove(property::INNER_MULTI_QUEUE_OFFSET);
        let named = properties.as_properties().get(property::INNER_MULTI_DISPATCH);
        let Some(named) = named.filter(|_| names::allows_lmq(topic) && queue_id & KEPT_QUEUE == 0) else {
            return;
        };
        let lite = self.state.topics.get(topic).is_some_and(is_lite);
        let offset = |name: &str| {
            // The queues of lite topics are filled by messages of their own parents only.
            let own = names::lite_parts(name).is_some_and(|(parent, _)| lite && parent == topic);
            let free = self.config.lmq && names::check_topic(name).is_ok();
            let fits = name.starts_with(names::LMQ_PREFIX) && (own || free);
            if fits { self.store.next_offset(name, 0).to_string() } else { String::new() }
        };
        let offsets: Vec<String> = named.split(',').take(FURTHER_MAX).map(offset).collect();
        let offsets = offsets.join(",");
        let room = PROPERTIES_BYTES_MAX - PROPERTIES_BYTES_MAX.min(properties.as_bytes().len());
        if offsets.bytes().any(|b| b != b',')
            && room > property::INNER_MULTI_QUEUE_OFFSET.len() + 2 + offsets.len()
        {
            properties.set(property::INNER_MULTI_QUEUE_OFFSET, &offsets);
        }
    }
}
