//! Which clients of a group consume which queues, as the broker sees it (code 400), and whether they pull or pop them
//! (401, 402). The queues are those of all brokers: a name server is asked for them. Source: `QueryAssignmentProcessor`.

use crate::Broker;
use crate::effect::Effect;
use crate::input::{AskId, ConnId};
use crate::produce::Refused;
use crate::{config::perm, state};
use kerolox_wire::body::{
    MessageModel, MessageQueue, MessageQueueAssignment, MessageRequestMode, MessageRequestModes,
    QueryAssignmentRequestBody, QueryAssignmentResponseBody, SetMessageRequestMode, TopicRouteData,
    from_json,
};
use kerolox_wire::header::GetRouteInfo;
use kerolox_wire::names::RETRY_PREFIX;
use kerolox_wire::{Command, RequestCode, ResponseCode};
use std::collections::{BTreeSet, HashMap};

/// Requests that wait for a name server's answer.
#[derive(Default)]
pub(crate) struct Assignments {
    next: u64,
    asked: HashMap<AskId, (ConnId, Command, QueryAssignmentRequestBody)>,
}

impl Broker {
    /// Code 400.
    pub(crate) fn query_assignment(&mut self, conn: ConnId, request: &Command, out: &mut Vec<Effect>) {
        let asked = from_json::<QueryAssignmentRequestBody>(&request.body).map_err(Refused::from);
        let asked = asked.and_then(|body| {
            let max = self.config.limits.relays_max;
            if self.assignments.asked.len() >= max {
                let remark = format!("[ROUTES]broker busy: {max} requests wait for a name server, the limit");
                return Err(Refused(ResponseCode::SYSTEM_BUSY, remark));
            }
            Ok(body)
        });
        match asked {
            Ok(body) => {
                let ask = AskId(self.assignments.next);
                self.assignments.next += 1;
                let header = GetRouteInfo { topic: Some(&body.topic), ..Default::default() };
                let command = Command::request(RequestCode::GET_ROUTEINFO_BY_TOPIC).with_header(&header);
                let waiting = Command { body: bytes::Bytes::new(), ..request.clone() };
                self.assignments.asked.insert(ask, (conn, waiting, body));
                out.push(Effect::AskNameServer { ask, command });
            }
            Err(Refused(code, remark)) => self.reply(conn, request, request.refuse(code, remark), out),
        }
    }

    /// A name server answered, or none did. Without queues clients keep those that they have.
    pub(crate) fn name_server_answered(
        &mut self,
        ask: AskId,
        answer: Option<&Command>,
        out: &mut Vec<Effect>,
    ) {
        let Some((conn, request, body)) = self.assignments.asked.remove(&ask) else { return };
        let found = answer.filter(|answer| answer.code == ResponseCode::SUCCESS.0);
        let route = found.and_then(|answer| from_json::<TopicRouteData>(&answer.body).ok());
        let (mode, sharing) = self.request_mode(&body.topic, &body.consumer_group);
        let queues = route.and_then(|route| {
            self.assign(&body, mode, sharing, &queues_of(&body.topic, &route, self.config.limits.queues_max))
        });
        let assigned = |message_queue| MessageQueueAssignment { message_queue, mode };
        let message_queue_assignments = queues.map(|queues| queues.into_iter().map(assigned).collect());
        self.reply_body(conn, &request, &QueryAssignmentResponseBody { message_queue_assignments }, out);
    }

    /// How a group gets the messages of a topic; of a pop, how many others share a queue with each client (0: all).
    fn request_mode(&self, topic: &str, group: &str) -> (MessageRequestMode, i32) {
        let set = self.state.request_modes.get(topic).and_then(|groups| groups.get(group));
        match set {
            Some(set) => (set.mode, set.pop_share_queue_num),
            None if topic.starts_with(RETRY_PREFIX) => Default::default(),
            None => (self.config.request_mode, self.config.pop_share),
        }
    }

    /// `None`: nobody can say.
    fn assign(
        &self,
        body: &QueryAssignmentRequestBody,
        mode: MessageRequestMode,
        sharing: i32,
        queues: &[MessageQueue],
    ) -> Option<BTreeSet<MessageQueue>> {
        if body.message_model == Some(MessageModel::Broadcasting) {
            return Some(queues.iter().cloned().collect());
        }
        let group = self.clients.consumer_group(&body.consumer_group)?;
        let mut clients = group.client_ids();
        clients.sort_unstable();
        let share = Share::of(&body.strategy_name)?;
        let own = clients.iter().position(|id| *id == body.client_id);
        if mode == MessageRequestMode::Pull {
            return Some(own.map(|own| share.of_client(queues, clients.len(), own)).unwrap_or_default());
        }
        let more = usize::try_from(sharing).unwrap_or(0);
        if more == 0 || more + 1 >= clients.len() {
            // All pop from all: one queue stands for a broker's.
            return Some(queues.iter().map(|queue| MessageQueue { queue_id: -1, ..queue.clone() }).collect());
        }
        let Some(own) = own else { return Some(BTreeSet::new()) };
        if clients.len() > queues.len() {
            return Some(queues.get(own % queues.len().max(1)).into_iter().cloned().collect());
        }
        let sharing = (own..=own + more).map(|index| index % clients.len());
        Some(sharing.flat_map(|index| share.of_client(queues, clients.len(), index)).collect())
    }

    /// Code 401.
    pub(crate) fn set_request_mode(&mut self, conn: ConnId, request: &Command, out: &mut Vec<Effect>) {
        let body = from_json::<SetMessageRequestMode>(&request.body).map_err(Refused::from);
        let done = body.and_then(|body| self.try_set_request_mode(body));
        self.reply_change(conn, request, done, out);
    }

    fn try_set_request_mode(&mut self, mode: SetMessageRequestMode) -> Result<(), Refused> {
        self.refuse_if_draining()?;
        self.refuse_if_changes_wait()?;
        if mode.topic.starts_with(RETRY_PREFIX) {
            let remark = "retry topic is not allowed to set mode".to_owned();
            return Err(Refused(ResponseCode::NO_PERMISSION, remark));
        }
        if self.state.topics.get(&mode.topic).is_none() {
            let remark = format!("topic[{}] not exist", mode.topic);
            return Err(Refused(ResponseCode::TOPIC_NOT_EXIST, remark));
        }
        if self.state.groups.get(&mode.consumer_group).is_none() {
            let remark = "subscription group does not exist".to_owned();
            return Err(Refused(ResponseCode::SUBSCRIPTION_GROUP_NOT_EXIST, remark));
        }
        let modes = self.state.request_modes.values().map(|groups| groups.len()).sum::<usize>();
        let max = self.config.limits.groups_max;
        if modes >= max {
            let remark = format!("the broker keeps {max} request modes, its limit");
            return Err(Refused(ResponseCode::INVALID_PARAMETER, remark));
        }
        state::put_request_mode(&mut self.changes, &mode);
        self.state.set_request_mode(mode);
        Ok(())
    }

    /// Code 402.
    pub(crate) fn all_request_modes(&mut self, conn: ConnId, request: &Command, out: &mut Vec<Effect>) {
        let message_request_mode_map = self.state.request_modes.clone();
        self.reply_body(conn, request, &MessageRequestModes { message_request_mode_map }, out);
    }
}

/// The queues of a topic that can be read, in order.
fn queues_of(topic: &str, route: &TopicRouteData, queues_max: u32) -> Vec<MessageQueue> {
    let readable = route.queue_datas.iter().filter(|data| perm::readable(data.perm));
    let queues = readable.flat_map(|data| {
        let count = data.read_queue_nums.clamp(0, queues_max as i32);
        (0..count).map(|queue_id| MessageQueue {
            topic: topic.to_owned(),
            broker_name: data.broker_name.clone(),
            queue_id,
        })
    });
    let mut queues: Vec<MessageQueue> = queues.collect();
    queues.sort_unstable();
    queues
}

/// How queues are shared among clients; all know the same order of both.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Share {
    /// Neighbouring queues to each: `AllocateMessageQueueAveragely`.
    Average,
    /// One queue to each in turn: `AllocateMessageQueueAveragelyByCircle`.
    Circle,
}

impl Share {
    fn of(name: &str) -> Option<Self> {
        match name {
            "AVG" => Some(Self::Average),
            "AVG_BY_CIRCLE" => Some(Self::Circle),
            _ => None,
        }
    }

    fn of_client(self, queues: &[MessageQueue], clients: usize, own: usize) -> BTreeSet<MessageQueue> {
        let clients = clients.max(1);
        match self {
            Self::Circle => queues.iter().skip(own).step_by(clients).cloned().collect(),
            Self::Average => {
                let (each, more) = (queues.len() / clients, queues.len() % clients);
                let first = own * each + own.min(more);
                queues.iter().skip(first).take(each + usize::from(own < more)).cloned().collect()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shares(share: Share, queues: i32, clients: usize) -> Vec<Vec<i32>> {
        let queue = |queue_id| MessageQueue { topic: "T".into(), broker_name: "b".into(), queue_id };
        let queues: Vec<_> = (0..queues).map(queue).collect();
        let ids = |own| share.of_client(&queues, clients, own).into_iter().map(|q| q.queue_id).collect();
        (0..clients).map(ids).collect()
    }

    /// As Apache's strategies share them.
    #[test]
    fn queues_are_shared_without_rest() {
        assert_eq!(shares(Share::Average, 8, 3), [vec![0, 1, 2], vec![3, 4, 5], vec![6, 7]]);
        assert_eq!(shares(Share::Average, 2, 3), [vec![0], vec![1], vec![]]);
        assert_eq!(shares(Share::Average, 6, 3), [vec![0, 1], vec![2, 3], vec![4, 5]]);
        assert_eq!(shares(Share::Circle, 8, 3), [vec![0, 3, 6], vec![1, 4, 7], vec![2, 5]]);
        assert_eq!(shares(Share::Circle, 1, 2), [vec![0], vec![]]);
    }
}
