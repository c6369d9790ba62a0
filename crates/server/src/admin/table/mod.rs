//! The commands, one row each: names and flags are those of Apache RocketMQ 5.5.0's `mqadmin`. Dispatch, parsing of flags, help,
//! completion and `docs/compat.md` come from here. One file for each family; flags that several families have are named here.

mod brokers;
mod clusters;
mod exports;
mod groups;
mod lite_topics;
mod messages;
mod offsets;
mod replication;
mod topics;
mod users;

use super::flags::{Flag, flag};
use super::{Args, Session};
use anyhow::Result;
use kerolox_wire::RequestCode as Ask;

/// What carries a command out.
pub(super) type Function = fn(&Args, &mut Session) -> Result<()>;

#[derive(Debug, Clone, Copy)]
pub(super) enum Runs {
    Here(Function),
    /// It makes no sense with Kerolox, for this reason.
    Never(&'static str),
}

/// One row of the table.
#[derive(Debug, Clone, Copy)]
pub(super) struct Command {
    pub(super) name: &'static str,
    /// What it does, in one sentence.
    pub(super) summary: &'static str,
    pub(super) runs: Runs,
    /// The requests without which it cannot do what it is for.
    pub(super) asks: &'static [Ask],
    /// Its own flags; [`super::flags::GLOBAL`] has those of all commands.
    pub(super) flags: &'static [Flag],
}

const fn here(name: &'static str, function: Function, summary: &'static str) -> Command {
    Command { name, summary, runs: Runs::Here(function), asks: &[], flags: &[] }
}

const fn never(name: &'static str, why: &'static str, summary: &'static str) -> Command {
    Command { name, summary, runs: Runs::Never(why), asks: &[], flags: &[] }
}

impl Command {
    const fn asks(self, asks: &'static [Ask]) -> Self {
        Self { asks, ..self }
    }

    const fn takes(self, flags: &'static [Flag]) -> Self {
        Self { flags, ..self }
    }
}

/// Commands that belong together.
#[derive(Debug)]
pub(super) struct Family {
    pub(super) title: &'static str,
    pub(super) commands: &'static [Command],
}

pub(super) const FAMILIES: &[Family] = &[
    topics::FAMILY,
    groups::FAMILY,
    offsets::FAMILY,
    messages::FAMILY,
    brokers::FAMILY,
    clusters::FAMILY,
    exports::FAMILY,
    replication::FAMILY,
    users::FAMILY,
    lite_topics::FAMILY,
];

/// All commands.
pub(super) fn all() -> impl Iterator<Item = &'static Command> {
    FAMILIES.iter().flat_map(|family| family.commands)
}

/// The command of a name, in whatever case as with Apache.
pub(super) fn find(name: &str) -> Option<&'static Command> {
    all().find(|command| command.name.eq_ignore_ascii_case(name))
}

const BROKER: Flag = flag("b", "brokerAddr", "HOST:PORT", "Ask this broker");
const CLUSTER: Flag = flag("c", "clusterName", "CLUSTER", "Ask the brokers of this cluster");
const TOPIC: Flag = flag("t", "topic", "TOPIC", "The topic");
const ORDER: Flag = flag("o", "order", "BOOL", "Whether the topic is ordered");
const SETTINGS_FILE: Flag = flag("f", "filename", "FILE", "JSON file with a list of settings");
const BY_ROUTE_OF: Flag = flag("c", "cluster", "CLUSTER", "Find the brokers by the route of this name");
const CONSUMER_GROUP: Flag = flag("g", "consumerGroup", "GROUP", "The consumer group");
const THE_BROKER: Flag = flag("b", "broker", "HOST:PORT", "Ask this broker");
const GROUP: Flag = flag("g", "group", "GROUP", "The consumer group");
const BROKER_NAME: Flag = flag("b", "brokerName", "BROKER", "Name of the broker");
const AMOUNT: Flag = flag("a", "amount", "N", "How many messages (100)");
const SIZE: Flag = flag("s", "size", "BYTES", "Size of each message (128)");
const KEY: Flag = flag("k", "key", "KEY", "The key");
const VALUE: Flag = flag("v", "value", "VALUE", "Its new value");
const IN_CLUSTER: Flag = flag("c", "cluster", "CLUSTER", "Ask the brokers of this cluster");
const INTERVAL: Flag = flag("i", "interval", "SECONDS", "Ask again every so many seconds");
