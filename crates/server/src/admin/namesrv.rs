//! Name servers: their tables and their configuration.

use super::flags::Args;
use super::session::Session;
use anyhow::Result;
use kerolox_wire::header::{
    AddWritePermResponse, BrokerName, KvConfigKey, PutKvConfig, WipeWritePermResponse,
};
use kerolox_wire::{Command, RequestCode};
use serde_json::{Map, Value, json};

pub(super) fn wipe(args: &Args, session: &mut Session) -> Result<()> {
    write_perm(args, session, RequestCode::WIPE_WRITE_PERM_OF_BROKER, "wipe", |answer| {
        Ok(answer.header::<WipeWritePermResponse<'_>>()?.wipe_topic_count)
    })
}

pub(super) fn add(args: &Args, session: &mut Session) -> Result<()> {
    write_perm(args, session, RequestCode::ADD_WRITE_PERM_OF_BROKER, "add", |answer| {
        Ok(answer.header::<AddWritePermResponse<'_>>()?.add_topic_count)
    })
}

fn write_perm(
    args: &Args,
    session: &mut Session,
    code: RequestCode,
    verb: &str,
    count: fn(&Command) -> Result<i32>,
) -> Result<()> {
    let broker = args.need("brokerName")?;
    let request =
        Command::request(code).with_header(&BrokerName { broker_name: broker, ..BrokerName::default() });
    let mut failed = Ok(());
    for server in session.namesrvs.clone() {
        match session.client.done(&server, request.clone()).and_then(|answer| count(&answer)) {
            Ok(topics) => {
                session.out.line(format!(
                    "{verb} write perm of broker[{broker}] in name server[{server}] OK, {topics}"
                ));
                session.out.push("nameServers", json!({"nameServer": server, "topics": topics}));
            }
            Err(why) => {
                session
                    .out
                    .line(format!("{verb} write perm of broker[{broker}] in name server[{server}] Failed"));
                failed = failed.and(Err(why));
            }
        }
    }
    failed
}

pub(super) fn put_kv(args: &Args, session: &mut Session) -> Result<()> {
    let (namespace, key) = (args.need("namespace")?, args.need("key")?);
    let header = PutKvConfig { namespace, key, value: args.need("value")?, ..PutKvConfig::default() };
    session.every_namesrv(&Command::request(RequestCode::PUT_KV_CONFIG).with_header(&header))?;
    session.out.line("create or update kv config to namespace success.");
    session.out.set("nameServers", session.namesrvs.clone());
    Ok(())
}

pub(super) fn delete_kv(args: &Args, session: &mut Session) -> Result<()> {
    let (namespace, key) = (args.need("namespace")?, args.need("key")?);
    let header = KvConfigKey { namespace, key, ..KvConfigKey::default() };
    session.every_namesrv(&Command::request(RequestCode::DELETE_KV_CONFIG).with_header(&header))?;
    session.out.line("delete kv config from namespace success.");
    session.out.set("nameServers", session.namesrvs.clone());
    Ok(())
}

pub(super) fn config(_: &Args, session: &mut Session) -> Result<()> {
    for server in session.namesrvs.clone() {
        let answer = session.client.done(&server, Command::request(RequestCode::GET_NAMESRV_CONFIG))?;
        session.out.line(format!("============{server}============"));
        let properties = properties(&answer.body);
        for (key, value) in &properties {
            session.out.line(super::out::format("%-50s=  %s", &[key, value]));
        }
        session.out.set(&server, object(properties));
    }
    Ok(())
}

pub(super) fn update_config(args: &Args, session: &mut Session) -> Result<()> {
    let (key, value) = (args.need("key")?, args.need("value")?);
    let request = Command::request(RequestCode::UPDATE_NAMESRV_CONFIG).with_body(property(key, value));
    session.every_namesrv(&request)?;
    let servers = session.namesrvs.clone();
    // Those that were named here, as with Apache.
    let named = if args.has("namesrvAddr") { format!("[{}]", servers.join(", ")) } else { String::new() };
    session.out.line(format!("update name server config success!{named}\n{key} : {value}"));
    session.out.set("nameServers", servers);
    session.out.set("key", key);
    session.out.set("value", value);
    Ok(())
}

/// The lines `key=value` of a configuration, sorted.
pub(super) fn properties(body: &[u8]) -> Vec<(String, String)> {
    let text = String::from_utf8_lossy(body);
    let mut all: Vec<_> = text
        .lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| line.split_once('='))
        .map(|(key, value)| (key.trim().to_owned(), value.trim().to_owned()))
        .collect();
    all.sort();
    all
}

/// One line `key=value`, as servers read it: what has a meaning in such a file is written so that it has none.
pub(super) fn property(key: &str, value: &str) -> Vec<u8> {
    let escape = |text: &str| text.replace('\\', "\\\\").replace('\n', "\\n").replace('\r', "\\r");
    format!("{}={}\n", escape(key), escape(value)).into_bytes()
}

/// A JSON object of texts.
pub(super) fn object(pairs: Vec<(String, String)>) -> Map<String, Value> {
    pairs.into_iter().map(|(key, value)| (key, Value::String(value))).collect()
}
