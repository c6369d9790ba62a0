//! `bench null`: a broker that decodes the same requests, stores nothing and answers at once.

use super::Null;
use anyhow::{Context, Result};
use kerolox_net::{Closed, ConnId, Connections, Handler, Limits, listen};
use kerolox_wire::header::{OffsetResponse, SendMessage, SendMessageResponse};
use kerolox_wire::{Command, RequestCode, ResponseCode};
use std::cell::Cell;
use std::net::SocketAddr;
use std::rc::Rc;
use tokio::net::TcpListener;

pub(super) async fn run(args: Null) -> Result<()> {
    let address = SocketAddr::from(([127, 0, 0, 1], args.port));
    let listener = TcpListener::bind(address).await.with_context(|| format!("cannot listen on {address}"))?;
    println!("null broker on {address}: use `kerolox bench produce -b {address}`; Ctrl-C ends it");
    let connections = Connections::new(Limits::default());
    let handler = Rc::new(Answer { connections: Rc::clone(&connections), next: Cell::new(0) });
    tokio::select! {
        () = listen(listener, connections, handler) => {}
        ended = tokio::signal::ctrl_c() => ended?,
    }
    Ok(())
}

struct Answer {
    connections: Rc<Connections>,
    next: Cell<i64>,
}

impl Answer {
    fn answer(&self, request: &Command) -> Command {
        match RequestCode(request.code) {
            RequestCode::SEND_MESSAGE | RequestCode::SEND_MESSAGE_V2 | RequestCode::SEND_BATCH_MESSAGE => {
                let Ok(header) = request.header::<SendMessage<'_>>() else {
                    return request.refuse(ResponseCode::SYSTEM_ERROR, "not a send request's header");
                };
                let queue_offset = self.next.replace(self.next.get() + 1);
                let answer = SendMessageResponse {
                    msg_id: "7F00000100002A9F0000000000000000",
                    queue_id: header.queue_id,
                    queue_offset,
                    ..SendMessageResponse::default()
                };
                request.respond(ResponseCode::SUCCESS).with_header(&answer)
            }
            RequestCode::GET_MAX_OFFSET | RequestCode::GET_MIN_OFFSET => request
                .respond(ResponseCode::SUCCESS)
                .with_header(&OffsetResponse { offset: 0, ..OffsetResponse::default() }),
            _ => request.respond(ResponseCode::SUCCESS),
        }
    }
}

impl Handler for Answer {
    type Piece = Command;

    fn connected(&self, _: ConnId, _: SocketAddr) {}
    fn batch(&self, conn: ConnId, commands: &mut Vec<Command>) {
        for command in commands.drain(..) {
            self.connections.send(conn, &self.answer(&command));
        }
        self.connections.flush();
    }
    fn closed(&self, _: ConnId, _: SocketAddr, _: Closed) {}
    fn refused(&self, why: String) {
        crate::report::limited(&why);
    }
}
