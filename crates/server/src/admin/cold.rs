//! How fast cold data may be read.

use super::broker::headed;
use super::flags::{Args, Usage};
use super::namesrv::property;
use super::out::pretty;
use super::session::{Session, read};
use super::time;
use anyhow::Result;
use kerolox_wire::{Command, RequestCode};
use serde_json::{Value, json};

/// The brokers that are meant, or a complaint that none is.
fn brokers(args: &Args, session: &mut Session) -> Result<Vec<(String, String)>> {
    if !args.has("brokerAddr") && !args.has("clusterName") {
        return Err(Usage("missing: one of --brokerAddr, --clusterName".to_owned()).into());
    }
    headed(args, session)
}

pub(super) fn info(args: &Args, session: &mut Session) -> Result<()> {
    for (heading, address) in brokers(args, session)? {
        let answer =
            session.client.done(&address, Command::request(RequestCode::GET_COLD_DATA_FLOW_CTR_INFO))?;
        session.out.line(format!(" {heading}"));
        if answer.body.is_empty() {
            session.out.line(format!("Broker[{address}] has no cold ctr table !"));
            session.out.set(&address, Value::Null);
            continue;
        }
        let table: Value = read(&answer)?;
        session.out.set(&address, table.clone());
        session.out.line(pretty(&dated(table)));
    }
    Ok(())
}

/// With dates in place of milliseconds.
fn dated(mut table: Value) -> Value {
    let groups = table.get_mut("runtimeTable").and_then(Value::as_object_mut);
    for group in groups.into_iter().flat_map(|groups| groups.values_mut()).filter_map(Value::as_object_mut) {
        for (ms, shown) in
            [("lastColdReadTimeMills", "lastColdReadTimeFormat"), ("createTimeMills", "createTimeFormat")]
        {
            let at = group.remove(ms).and_then(|at| at.as_i64());
            group.insert(shown.to_owned(), json!(at.map(time::to_second)));
        }
    }
    table
}

/// Asks each broker that is meant the same.
fn change(args: &Args, session: &mut Session, request: &Command, said: &str) -> Result<()> {
    for address in session.meant(args, "brokerAddr", "clusterName")? {
        session.client.done(&address, request.clone())?;
        session.out.line(format!("{said} success, {address}"));
        session.out.push("brokers", address);
    }
    Ok(())
}

pub(super) fn update(args: &Args, session: &mut Session) -> Result<()> {
    let body = property(args.need("consumerGroup")?, args.need("threshold")?);
    let request = Command::request(RequestCode::UPDATE_COLD_DATA_FLOW_CTR_CONFIG).with_body(body);
    change(args, session, &request, "updateColdDataFlowCtrGroupConfig")
}

pub(super) fn remove(args: &Args, session: &mut Session) -> Result<()> {
    let body = args.need("consumerGroup")?.as_bytes().to_vec();
    let request = Command::request(RequestCode::REMOVE_COLD_DATA_FLOW_CTR_CONFIG).with_body(body);
    change(args, session, &request, "remove broker cold read threshold")
}

pub(super) fn read_ahead(args: &Args, session: &mut Session) -> Result<()> {
    let mode = args.need("commitLogReadAheadMode")?;
    if !["0", "1"].contains(&mode) {
        return Err(Usage(format!("-m {mode:?} is neither 0 (read ahead) nor 1 (do not)")).into());
    }
    for (heading, address) in brokers(args, session)? {
        let mut request = Command::request(RequestCode::SET_COMMITLOG_READ_MODE);
        request.fields.push("READ_AHEAD_MODE", mode);
        let answer = session.client.done(&address, request)?;
        let said = answer.remark.unwrap_or_else(|| "null".to_owned());
        session.out.line(format!(" {heading}\ncommitLog set readAhead mode rstStr{said}"));
        session.out.push("brokers", json!({"address": address, "answer": said}));
    }
    Ok(())
}
