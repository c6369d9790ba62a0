//! Who is connected (codes 203, 204, 328).

use crate::Broker;
use crate::clients::Client;
use crate::effect::Effect;
use crate::input::ConnId;
use crate::query::header_or_refuse;
use kerolox_wire::body::{
    Connection, ConsumerConnection, ProducerConnection, ProducerInfo, ProducerTableInfo,
};
use kerolox_wire::header::{ConsumerGroup, ProducerGroup};
use kerolox_wire::{Command, ResponseCode};

impl Broker {
    fn connection(&self, conn: ConnId, client: &Client) -> Connection {
        Connection {
            client_id: client.id.clone(),
            client_addr: self.peer_text(conn),
            language: client.language.name().to_owned(),
            version: client.version,
        }
    }

    /// Code 203.
    pub(crate) fn consumer_connections(&mut self, conn: ConnId, request: &Command, out: &mut Vec<Effect>) {
        let header: ConsumerGroup<'_> = header_or_refuse!(self, conn, request, out);
        let connected = self.clients.consumer_group(header.consumer_group).map(|group| ConsumerConnection {
            connection_set: group
                .members
                .iter()
                .map(|(conn, client)| self.connection(*conn, client))
                .collect(),
            consume_from_where: group.consume_from_where,
            consume_type: group.consume_type,
            message_model: group.message_model,
            subscription_table: group
                .subscriptions
                .iter()
                .map(|(topic, subscription)| (topic.clone(), subscription.data.clone()))
                .collect(),
        });
        match connected {
            Some(connected) => self.reply_body(conn, request, &connected, out),
            None => {
                let remark = format!("the consumer group[{}] not online", header.consumer_group);
                self.reply(conn, request, request.refuse(ResponseCode::CONSUMER_NOT_ONLINE, remark), out);
            }
        }
    }

    /// Code 204.
    pub(crate) fn producer_connections(&mut self, conn: ConnId, request: &Command, out: &mut Vec<Effect>) {
        let header: ProducerGroup<'_> = header_or_refuse!(self, conn, request, out);
        let connection_set: Vec<Connection> = self
            .clients
            .producers(header.producer_group)
            .map(|(conn, client)| self.connection(conn, client))
            .collect();
        if connection_set.is_empty() {
            let remark = format!("the producer group[{}] not exist", header.producer_group);
            return self.reply(conn, request, request.refuse(ResponseCode::SYSTEM_ERROR, remark), out);
        }
        self.reply_body(conn, request, &ProducerConnection { connection_set }, out);
    }

    /// Code 328.
    pub(crate) fn all_producers(&mut self, conn: ConnId, request: &Command, out: &mut Vec<Effect>) {
        let info = |(conn, client): (ConnId, &Client)| ProducerInfo {
            client_id: client.id.clone(),
            remote_ip: self.peer_text(conn),
            language: client.language.name().to_owned(),
            version: client.version,
            last_update_timestamp: client.heartbeat_ms,
        };
        let groups = self.clients.producer_groups();
        let data = groups
            .map(|group| (group.to_owned(), self.clients.producers(group).map(info).collect()))
            .collect();
        self.reply_body(conn, request, &ProducerTableInfo { data }, out);
    }
}
