//! Who plays: topics, groups and clients of a world.

use crate::check::flights::Popping;
use crate::check::{Ledger, Queue, Want};
use crate::clients::admin::Admin;
use crate::clients::caller::Caller;
use crate::clients::consumer::{Consumer, Group};
use crate::clients::group_owner::GroupOwner;
use crate::clients::keeper::Keeper;
use crate::clients::lite::Lite;
use crate::clients::locker::Locker;
use crate::clients::owner::Owner;
use crate::clients::popper::Popper;
use crate::clients::producer::Producer;
use crate::clients::{Actor, Client};

/// Topics of messages of all kinds.
pub(crate) const TOPICS: [&str; 2] = ["orders", "payments"];
/// Queues of each of them, on each broker.
pub(crate) const QUEUES: u32 = 2;

const PRODUCERS: usize = 2;

/// Groups that pull, and how many consumers each of them has.
const PULLING: [(Group, usize); 6] = [
    (Group { name: "sim-pull", topic: "orders", want: Want::All, broadcasting: false, retry_topic: None }, 3),
    (
        Group {
            name: "sim-tags",
            topic: "payments",
            want: Want::Tags("red || blue"),
            broadcasting: false,
            retry_topic: None,
        },
        2,
    ),
    (
        Group {
            name: "sim-read",
            topic: "payments",
            want: Want::All,
            broadcasting: false,
            retry_topic: None,
        },
        1,
    ),
    (Group { name: "sim-sql", topic: "orders", want: SQL, broadcasting: false, retry_topic: None }, 1),
    (Group { name: "sim-all", topic: "payments", want: Want::All, broadcasting: true, retry_topic: None }, 1),
    (RETRYING, 1),
];

/// Sends back what it cannot consume.
pub(crate) const RETRYING: Group = Group {
    name: "sim-retry",
    topic: "orders",
    want: Want::All,
    broadcasting: false,
    retry_topic: Some("%RETRY%sim-retry"),
};

/// What nobody could consume in the end.
pub(crate) const DEAD_LETTERS: &str = "%DLQ%sim-retry";

const SQL: Want = Want::Sql { expression: "n >= 4 AND TAGS IS NOT NULL", least: 4 };

/// Groups that pop, and how many clients each of them has.
const POPPING: [(Popping, usize); 4] = [
    (Popping { group: "sim-pop", topic: "orders", order: false, want: Want::All }, 2),
    (Popping { group: "sim-pop-in-order", topic: "payments", order: true, want: Want::All }, 2),
    (Popping { group: "sim-pop-tags", topic: "payments", order: false, want: Want::Tags("red || blue") }, 1),
    (Popping { group: "sim-pop-sql", topic: "orders", order: false, want: SQL }, 1),
];

/// Whether it is safe that each group that shares has begun everywhere on a broker.
pub(crate) fn all_began(ledger: &Ledger, broker: usize) -> bool {
    let began = |Group { name, topic, .. }: &Group| {
        (0..QUEUES).all(|queue_id| {
            ledger.offsets.has_any(name, &Queue { broker, topic: (*topic).to_owned(), queue_id })
        })
    };
    PULLING.iter().map(|(group, _)| group).filter(|group| !group.broadcasting).all(began)
}

/// All clients; the ledger is told what they are to get.
pub(crate) fn clients(ledger: &mut Ledger) -> Vec<Box<dyn Actor>> {
    let mut all: Vec<Box<dyn Actor>> = vec![
        Box::new(Client::new("admin".to_owned(), Admin::new(&TOPICS, QUEUES))),
        Box::new(Client::new("owner".to_owned(), Owner::new(0))),
        Box::new(Client::new("group-owner".to_owned(), GroupOwner::new(1))),
        Box::new(Client::new("keeper".to_owned(), Keeper::new(2))),
        Box::new(Client::new("caller".to_owned(), Caller::new(0, "caller"))),
        Box::new(Client::new("lite".to_owned(), Lite::new(1, "lite"))),
    ];
    for name in ["locker-0", "locker-1"] {
        all.push(Box::new(Client::new(name.to_owned(), Locker::new(1, name))));
    }
    for number in 0..PRODUCERS {
        all.push(Box::new(Client::new(format!("producer-{number}"), Producer::new(&TOPICS))));
    }
    for (group, count) in PULLING {
        for number in 0..count {
            let name = format!("{}-{number}", group.name);
            let consumer = Consumer::new(group, &name);
            ledger.groups.reads(consumer.reading());
            all.push(Box::new(Client::new(name, consumer)));
        }
    }
    for (popping, count) in POPPING {
        ledger.flights.pops(popping);
        for number in 0..count {
            all.push(Box::new(Client::new(format!("{}-{number}", popping.group), Popper::new(popping))));
        }
    }
    all
}
