//! The administrator: creates topics on every broker.

use super::{Context, EVERYWHERE, Role, Sessions, is_ok, request};
use kerolox_wire::{Command, RequestCode};
use std::collections::BTreeSet;

pub struct Admin {
    topics: &'static [&'static str],
    queues: u32,
    /// What is done, by broker and topic.
    done: BTreeSet<(usize, &'static str)>,
}

/// A topic is being created there.
pub type Asked = &'static str;

impl Admin {
    /// Of topics with so many queues on each broker.
    pub fn new(topics: &'static [&'static str], queues: u32) -> Self {
        Self { topics, queues, done: BTreeSet::new() }
    }
}

impl Role for Admin {
    type Asked = Asked;

    fn topics(&self) -> &[&'static str] {
        &[EVERYWHERE]
    }

    fn act(&mut self, sessions: &mut Sessions<Asked>, context: &mut Context<'_>) {
        for broker in sessions.open_brokers(EVERYWHERE) {
            for topic in self.topics {
                let asked = sessions.awaits(|at, asked| at == broker && asked == topic);
                if asked || self.done.contains(&(broker, *topic)) {
                    continue;
                }
                let command = create(topic, self.queues, "");
                sessions.ask(context, broker, command, topic);
            }
        }
    }

    fn answered(
        &mut self,
        _sessions: &mut Sessions<Asked>,
        _context: &mut Context<'_>,
        broker: usize,
        asked: Asked,
        answer: Option<&Command>,
    ) {
        if answer.is_some_and(is_ok) {
            self.done.insert((broker, asked));
        }
    }

    fn restart(&mut self) {}
}

/// The request that creates a topic with so many queues, and attributes as `mqadmin` takes them.
pub(super) fn create(topic: &str, queues: u32, attributes: &str) -> Command {
    request(
        RequestCode::UPDATE_AND_CREATE_TOPIC,
        &[
            ("topic", topic.to_owned()),
            ("defaultTopic", EVERYWHERE.to_owned()),
            ("readQueueNums", queues.to_string()),
            ("writeQueueNums", queues.to_string()),
            ("perm", "6".to_owned()),
            ("topicFilterType", "SINGLE_TAG".to_owned()),
            ("order", "false".to_owned()),
            ("attributes", attributes.to_owned()),
        ],
    )
}
