//! Masters and their replicas.

use super::cluster::repeat;
use super::flags::{Args, Usage};
use super::out::{Cell, Table};
use super::session::Session;
use super::time;
use anyhow::Result;
use kerolox_wire::{Command, RequestCode};
use serde_json::{Value, json};

static REPLICAS: Table = Table {
    name: "replicas",
    head: "%-32s  %-16s %16s %16s %16s %16s",
    row: "%-32s  %-16d %16d %16s %16s %16d",
    columns: &[
        ("#SlaveAddr", "address"),
        ("#SlaveAckOffset", "ackOffset"),
        ("#Diff", "diff"),
        ("#TransferSpeed(KB/s)", "bytesPerSecond"),
        ("#Status", "inSync"),
        ("#TransferFromWhere", "transferFrom"),
    ],
};

/// A member of an object that is a number; 0 if it is none.
fn number(value: &Value, name: &str) -> i64 {
    value.get(name).and_then(Value::as_i64).unwrap_or_default()
}

fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value.get(name).and_then(Value::as_str).unwrap_or("null")
}

fn list<'a>(value: &'a Value, name: &str) -> &'a [Value] {
    value.get(name).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

pub(super) fn status(args: &Args, session: &mut Session) -> Result<()> {
    repeat(args, session, |args, session| {
        for address in session.meant(args, "brokerAddr", "clusterName")? {
            let request = Command::request(RequestCode::GET_BROKER_HA_STATUS);
            let info: Value = session.body(&address, request)?;
            if info.get("master") == Some(&json!(true)) {
                of_master(session, &address, &info);
            } else {
                of_replica(session, &info);
            }
        }
        Ok(())
    })
}

/// Tells a replica how far its master is; a master takes no notice.
pub(super) fn reset_master_offset(args: &Args, session: &mut Session) -> Result<()> {
    let Some(offset) = args.number::<i64>("offset")? else {
        return Err(Usage("missing: -o".to_owned()).into());
    };
    let mut request = Command::request(RequestCode::RESET_MASTER_FLUSH_OFFSET);
    request.fields.push("masterFlushOffset", &offset.to_string());
    session.client.done(args.need("brokerAddr")?, request)?;
    session.out.line(format!("reset master flush offset to {offset} success"));
    session.out.set("offset", offset);
    Ok(())
}

fn of_master(session: &mut Session, address: &str, info: &Value) {
    let replicas = list(info, "haConnectionInfo");
    let (max, in_sync) = (number(info, "masterCommitLogMaxOffset"), number(info, "inSyncSlaveNums"));
    session.out.line(format!(
        "\n#MasterAddr\t{address}\n#MasterCommitLogMaxOffset\t{max}\n#SlaveNum\t{}\n#InSyncSlaveNum\t{in_sync}",
        replicas.len()
    ));
    session.out.push("masters", json!({"address": address, "maxOffset": max, "inSyncReplicas": in_sync}));
    session.out.head(&REPLICAS);
    for replica in replicas {
        let (bytes, synced) =
            (number(replica, "transferredByteInSecond"), replica.get("inSync") == Some(&json!(true)));
        let row = [
            text(replica, "addr").into(),
            number(replica, "slaveAckOffset").into(),
            number(replica, "diff").into(),
            Cell::shown(format!("{:.2}", bytes as f64 / 1_024.0), bytes),
            Cell::shown(if synced { "OK" } else { "Fall Behind" }, synced),
            number(replica, "transferFromWhere").into(),
        ];
        session.out.row(&REPLICAS, row);
    }
}

fn of_replica(session: &mut Session, info: &Value) {
    let client = info.get("haClientRuntimeInfo").cloned().unwrap_or_default();
    let at = |name: &str| time::to_millisecond(number(&client, name));
    session.out.line(format!(
        "\n#MasterAddr\t{}\n#CommitLogMaxOffset\t{}\n#TransferSpeed(KB/s)\t{:.2}\n#LastReadTime\t{}\n#LastWriteTime\t{}\n\
         #MasterFlushOffset\t{}",
        text(&client, "masterAddr"),
        number(&client, "maxOffset"),
        number(&client, "transferredByteInSecond") as f64 / 1_024.0,
        at("lastReadTimestamp"),
        at("lastWriteTimestamp"),
        number(&client, "masterFlushOffset")
    ));
    session.out.push("asReplica", client);
}

pub(super) fn epochs(args: &Args, session: &mut Session) -> Result<()> {
    repeat(args, session, |args, session| {
        let brokers = match args.get("brokerName") {
            Some(name) => session.named(name)?,
            None => session.members(args.need("clusterName")?)?,
        };
        for address in brokers {
            let request = Command::request(RequestCode::GET_BROKER_EPOCH_CACHE);
            let cache: Value = session.body(&address, request)?;
            let (cluster, name, id) =
                (text(&cache, "clusterName"), text(&cache, "brokerName"), number(&cache, "brokerId"));
            session.out.line(format!(
                "\n#clusterName\t{cluster}\n#brokerName\t{name}\n#brokerAddr\t{address}\n#brokerId\t{id}"
            ));
            let epochs = list(&cache, "epochList");
            for (i, epoch) in epochs.iter().enumerate() {
                // The last one is under way.
                let end = if i + 1 == epochs.len() {
                    number(&cache, "maxOffset")
                } else {
                    number(epoch, "endOffset")
                };
                session.out.line(format!(
                    "#Epoch: EpochEntry{{epoch={}, startOffset={}, endOffset={end}}}",
                    number(epoch, "epoch"),
                    number(epoch, "startOffset")
                ));
            }
            session.out.push("brokers", json!({"address": address, "epochs": cache}));
        }
        Ok(())
    })
}
