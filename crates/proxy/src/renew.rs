//! Messages that clients hold without saying for how long: their invisible time is renewed while the client is there, so that they
//! come again soon after it is not. Times are those of Apache's proxy.

use crate::calls::acknowledge::{Change, Of, put_off};
use crate::client::Client;
use crate::face::Face;
use crate::handle::Handle;
use crate::status::Refusal;
use crate::v2::Code;
use kerolox_net::ConnId;
use std::collections::HashMap;
use std::rc::{Rc, Weak};
use std::time::Duration;

/// How long a message is the client's own at first, in milliseconds.
pub(crate) const FIRST_MS: i64 = 60_000;
/// Renewed when so little is left.
const AHEAD_MS: i64 = 10_000;
/// For how long, by how often it was.
const STEPS_MS: [i64; 6] = [60_000, 180_000, 300_000, 600_000, 1_800_000, 3_600_000];
/// Not any longer after the message was received.
const MOST_MS: i64 = 3 * 3_600_000;
/// Soon after its client left it comes again.
const LEFT_MS: i64 = 1_000;
/// What was received so long before a connection broke its client has read.
const SURELY_READ_MS: i64 = 30_000;
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Messages that are renewed for one client; those beyond come again after [`FIRST_MS`].
const HELD_MAX: usize = 65_536;

/// A message that a client has.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Held {
    group: String,
    topic: String,
    message_id: String,
    broker: String,
    queue_id: i32,
    offset: i64,
}

impl Held {
    pub(crate) fn new(of: Of<'_>, message_id: &str, handle: &Handle<'_>) -> Self {
        Self {
            group: of.group.to_owned(),
            topic: of.topic.to_owned(),
            message_id: message_id.to_owned(),
            broker: handle.receipt.broker.to_owned(),
            queue_id: handle.receipt.queue_id,
            offset: handle.offset,
        }
    }

    fn of<'a>(&'a self, renewal: &'a Renewal) -> Of<'a> {
        Of { group: &self.group, topic: &self.topic, lite_topic: renewal.lite_topic.as_deref() }
    }
}

/// How it is renewed.
#[derive(Debug, Clone)]
pub(crate) struct Renewal {
    /// The newest handle.
    pub(crate) handle: String,
    /// The lite topic that it came from. Not all clients say it again.
    pub(crate) lite_topic: Option<String>,
    /// The call that it was received by.
    by: (ConnId, u32),
    /// When the message was received.
    first_ms: i64,
    times: usize,
    /// That is under way.
    renewing: bool,
}

impl Renewal {
    /// As it is while nothing is under way.
    pub(crate) fn idle(self) -> Self {
        Self { renewing: false, ..self }
    }
}

impl Client {
    /// From now on a message is renewed that was received by a call.
    pub(crate) fn hold(&self, of: Of<'_>, message_id: &str, handle: &Handle<'_>, by: (ConnId, u32)) {
        let mut held = self.held.borrow_mut();
        if held.len() < HELD_MAX {
            let renewal = Renewal {
                handle: handle.to_string(),
                lite_topic: of.lite_topic.map(str::to_owned),
                by,
                first_ms: handle.receipt.pop_ms,
                times: 0,
                renewing: false,
            };
            held.insert(Held::new(of, message_id, handle), renewal);
        }
    }

    /// Its connection broke: what came shortly before may not have been read, and would be renewed for hours. It comes again if it
    /// is not acknowledged within its time.
    pub(crate) fn forget_unread(&self, now_ms: i64) {
        self.held.borrow_mut().retain(|_, renewal| renewal.first_ms + SURELY_READ_MS <= now_ms);
    }

    /// It took a call back, so that it read nothing, or not all, of the answer: the messages come again soon.
    pub(crate) fn give_back(&self, face: &Rc<Face>, by: (ConnId, u32)) {
        let unread = self.held.borrow_mut().extract_if(|_, renewal| renewal.by == by).collect();
        let_go(face, unread);
    }
}

/// Renews until the face is gone.
pub(crate) async fn run(face: Weak<Face>) {
    let mut looks = tokio::time::interval(LOOK_EVERY);
    loop {
        looks.tick().await;
        let Some(face) = face.upgrade() else { return };
        let now_ms = (face.config.now_ms)();
        for client in face.clients() {
            let is_due = |renewal: &Renewal| {
                !renewal.renewing
                    && Handle::parse(&renewal.handle)
                        .is_ok_and(|handle| handle.visible_ms() - now_ms <= AHEAD_MS)
            };
            let mut due: Vec<(Held, Renewal)> = Vec::new();
            for (held, renewal) in client.held.borrow_mut().iter_mut().filter(|(_, r)| is_due(r)) {
                renewal.renewing = true;
                due.push((held.clone(), renewal.clone()));
            }
            for (held, renewal) in due {
                tokio::task::spawn_local(renew(Rc::clone(&face), Rc::clone(&client), held, renewal, now_ms));
            }
        }
    }
}

async fn renew(face: Rc<Face>, client: Rc<Client>, held: Held, renewal: Renewal, now_ms: i64) {
    let Ok(handle) = Handle::parse(&renewal.handle) else { return };
    let step = STEPS_MS.get(renewal.times).or(STEPS_MS.last()).copied().unwrap_or(FIRST_MS);
    let may = handle.visible_ms() > now_ms && now_ms - renewal.first_ms < MOST_MS;
    let newest = match may {
        true => {
            let change = Change { invisible_ms: step, keep_receipt: true, ..Change::default() };
            put_off(&face, &client, held.of(&renewal), &handle, change).await
        }
        false => Err(Refusal::new(Code::InvalidReceiptHandle, "its time is over")),
    };
    let mut all = client.held.borrow_mut();
    // Meanwhile it may have been acknowledged, and received again.
    let Some(now) = all.get_mut(&held).filter(|now| now.handle == renewal.handle) else { return };
    now.renewing = false;
    match newest {
        Ok(handle) => {
            now.handle = handle;
            now.times += 1;
        }
        // It is not in flight any more: it comes again when its time is over.
        Err(refusal) if refusal.code == Code::InvalidReceiptHandle => drop(all.remove(&held)),
        // As long as there is time it is tried again.
        Err(_) => {}
    }
}

/// Nobody has these any more: they come again soon.
pub(crate) fn let_go(face: &Rc<Face>, held: HashMap<Held, Renewal>) {
    let now_ms = (face.config.now_ms)();
    for (held, renewal) in held {
        let face = Rc::clone(face);
        tokio::task::spawn_local(async move {
            if let Ok(handle) = Handle::parse(&renewal.handle)
                && handle.visible_ms() > now_ms + LEFT_MS
            {
                // What cannot be put off comes again by itself.
                let change = Change { invisible_ms: LEFT_MS, keep_receipt: true, ..Change::default() };
                drop(put_off(&face, &face.own, held.of(&renewal), &handle, change).await);
            }
        });
    }
}
