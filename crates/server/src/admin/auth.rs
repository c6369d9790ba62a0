//! Users, and rules of what they may do.

use super::flags::Args;
use super::out::Table;
use super::session::Session;
use anyhow::{Result, bail};
use kerolox_wire::{Command, RequestCode, body};
use serde_json::{Value, json};

static USERS: Table = Table {
    name: "users",
    head: "%-16s  %-22s  %-22s  %-22s",
    row: "%-16s  %-22s  %-22s  %-22s",
    columns: &[
        ("#UserName", "username"),
        ("#Password", "password"),
        ("#UserType", "userType"),
        ("#UserStatus", "userStatus"),
    ],
};

static RULES: Table = Table {
    name: "rules",
    head: "%-16s  %-10s  %-22s  %-20s  %-24s  %-10s",
    row: "%-16s  %-10s  %-22s  %-20s  %-24s  %-10s",
    columns: &[
        ("#Subject", "subject"),
        ("#PolicyType", "policyType"),
        ("#Resource", "resource"),
        ("#Actions", "actions"),
        ("#SourceIp", "sourceIps"),
        ("#Decision", "decision"),
    ],
};

/// A request with fields of which those without a value are left out.
fn request(code: RequestCode, fields: &[(&str, Option<&str>)]) -> Command {
    let mut request = Command::request(code);
    for (name, value) in fields {
        if let Some(value) = value {
            request.fields.push(name, value);
        }
    }
    request
}

/// What a broker answers; null where it knows no such thing.
fn ask(session: &mut Session, broker: &str, request: Command) -> Result<Value> {
    let answer = session.client.done(broker, request)?;
    if answer.body.is_empty() { Ok(Value::Null) } else { super::session::read(&answer) }
}

/// Asks the broker that is meant, or every broker of the cluster, masters and replicas, the same.
fn change(args: &Args, session: &mut Session, request: &Command, verb: &str, what: &str) -> Result<()> {
    let brokers = match args.get("brokerAddr") {
        Some(address) => vec![address.to_owned()],
        None => session.members(args.need("clusterName")?)?,
    };
    for address in brokers {
        session.client.done(&address, request.clone())?;
        session.out.line(format!("{verb} {what} to {address} success."));
        session.out.push("brokers", address);
    }
    Ok(())
}

fn user(args: &Args, code: RequestCode) -> Result<Command> {
    let name = args.need("username")?;
    let status = if code == RequestCode::AUTH_UPDATE_USER { args.get("userStatus") } else { None };
    let user = json!({
        "username": name, "password": args.get("password"), "userType": args.get("userType"), "userStatus": status,
    });
    Ok(request(code, &[("username", Some(name))]).with_body(body::to_json(&user)))
}

pub(super) fn create_user(args: &Args, session: &mut Session) -> Result<()> {
    change(args, session, &user(args, RequestCode::AUTH_CREATE_USER)?, "create", "user")
}

pub(super) fn update_user(args: &Args, session: &mut Session) -> Result<()> {
    change(args, session, &user(args, RequestCode::AUTH_UPDATE_USER)?, "update", "user")
}

pub(super) fn delete_user(args: &Args, session: &mut Session) -> Result<()> {
    let request = request(RequestCode::AUTH_DELETE_USER, &[("username", Some(args.need("username")?))]);
    change(args, session, &request, "delete", "user")
}

fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value.get(name).and_then(Value::as_str).unwrap_or("null")
}

/// The members of a list as Java shows them.
fn shown(value: &Value, name: &str) -> super::out::Cell {
    let list = value.get(name).and_then(Value::as_array);
    let texts: Vec<_> = list.into_iter().flatten().filter_map(Value::as_str).collect();
    let text = if list.is_some() { format!("[{}]", texts.join(", ")) } else { "null".to_owned() };
    super::out::Cell::shown(text, value.get(name).cloned().unwrap_or_default())
}

fn show_users(session: &mut Session, users: &[Value]) {
    session.out.head(&USERS);
    for user in users {
        let row = ["username", "password", "userType", "userStatus"].map(|name| text(user, name).into());
        session.out.row(&USERS, row);
    }
}

fn show_rules(session: &mut Session, rules: &[Value]) {
    session.out.head(&RULES);
    for rule in rules {
        let policies = rule.get("policies").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
        let subject = text(rule, "subject");
        if policies.is_empty() {
            let row = [subject.into(), "".into(), "".into(), "".into(), "".into(), "".into()];
            session.out.row(&RULES, row);
        }
        for policy in policies {
            for entry in policy.get("entries").and_then(Value::as_array).into_iter().flatten() {
                let row = [
                    subject.into(),
                    text(policy, "policyType").into(),
                    text(entry, "resource").into(),
                    shown(entry, "actions"),
                    shown(entry, "sourceIps"),
                    text(entry, "decision").into(),
                ];
                session.out.row(&RULES, row);
            }
        }
    }
}

/// The first broker that is meant and knows something, and what that is; nothing where none does.
fn first(args: &Args, session: &mut Session, request: &Command) -> Result<(String, Vec<Value>)> {
    for address in session.meant(args, "brokerAddr", "clusterName")? {
        match ask(session, &address, request.clone())? {
            Value::Null => {}
            Value::Array(list) if list.is_empty() => {}
            Value::Array(list) => return Ok((address, list)),
            one => return Ok((address, vec![one])),
        }
    }
    Ok((String::new(), Vec::new()))
}

pub(super) fn get_user(args: &Args, session: &mut Session) -> Result<()> {
    let name = args.get("username");
    let (_, users) = first(args, session, &request(RequestCode::AUTH_GET_USER, &[("username", name)]))?;
    if users.is_empty() {
        bail!("there is no user {}", name.unwrap_or_default());
    }
    show_users(session, &users);
    Ok(())
}

pub(super) fn list_users(args: &Args, session: &mut Session) -> Result<()> {
    let request = request(RequestCode::AUTH_LIST_USER, &[("filter", args.get("filter"))]);
    let (address, users) = first(args, session, &request)?;
    if users.is_empty() {
        session.out.set("users", json!([]));
        return Ok(());
    }
    show_users(session, &users);
    if args.has("clusterName") {
        session.out.line(format!("get user from {address} success."));
    }
    Ok(())
}

fn rules(args: &Args, code: RequestCode) -> Result<Command> {
    let subject = args.need("subject")?;
    let list = |name: &str| {
        args.get(name).map(|list| list.split(',').map(|part| part.trim().to_owned()).collect::<Vec<_>>())
    };
    let (actions, sources, decision) = (list("actions"), list("sourceIp"), args.get("decision"));
    let entries: Vec<_> = list("resources")
        .unwrap_or_default()
        .into_iter()
        .map(|resource| json!({"resource": resource, "actions": actions, "sourceIps": sources, "decision": decision}))
        .collect();
    let rules = json!({"subject": subject, "policies": [{"policyType": null, "entries": entries}]});
    Ok(request(code, &[("subject", Some(subject))]).with_body(body::to_json(&rules)))
}

pub(super) fn create_acl(args: &Args, session: &mut Session) -> Result<()> {
    change(args, session, &rules(args, RequestCode::AUTH_CREATE_ACL)?, "create", "acl")
}

pub(super) fn update_acl(args: &Args, session: &mut Session) -> Result<()> {
    change(args, session, &rules(args, RequestCode::AUTH_UPDATE_ACL)?, "update", "acl")
}

pub(super) fn delete_acl(args: &Args, session: &mut Session) -> Result<()> {
    let fields = [("subject", Some(args.need("subject")?)), ("resource", args.get("resources"))];
    change(args, session, &request(RequestCode::AUTH_DELETE_ACL, &fields), "delete", "acl")
}

pub(super) fn get_acl(args: &Args, session: &mut Session) -> Result<()> {
    let subject = args.get("subject");
    let (_, found) = first(args, session, &request(RequestCode::AUTH_GET_ACL, &[("subject", subject)]))?;
    if found.is_empty() {
        bail!("there are no rules about {}", subject.unwrap_or_default());
    }
    show_rules(session, &found);
    Ok(())
}

pub(super) fn list_acls(args: &Args, session: &mut Session) -> Result<()> {
    let fields = [("subjectFilter", args.get("subject")), ("resourceFilter", args.get("resource"))];
    let (_, found) = first(args, session, &request(RequestCode::AUTH_LIST_ACL, &fields))?;
    if found.is_empty() {
        session.out.set("rules", json!([]));
    } else {
        show_rules(session, &found);
    }
    Ok(())
}

/// What is copied: the requests for it, and the field that names one.
struct Copied {
    what: &'static str,
    key: &'static str,
    get: RequestCode,
    list: RequestCode,
    create: RequestCode,
    update: RequestCode,
}

fn copy(args: &Args, session: &mut Session, only: Option<&str>, copied: &Copied) -> Result<()> {
    let (from, to) = (args.need("fromBroker")?, args.need("toBroker")?);
    let get = |name: &str| request(copied.get, &[(copied.key, Some(name))]);
    let mut all = Vec::new();
    match only {
        Some(names) => {
            for name in names.split(',').map(str::trim).filter(|name| !name.is_empty()) {
                all.push(ask(session, from, get(name))?);
            }
        }
        None => match ask(session, from, Command::request(copied.list))? {
            Value::Array(list) => all = list,
            other => all.push(other),
        },
    }
    for one in all.into_iter().filter(|one| !one.is_null()) {
        let name = text(&one, copied.key);
        let known = !ask(session, to, get(name))?.is_null();
        let code = if known { copied.update } else { copied.create };
        let change = request(code, &[(copied.key, Some(name))]).with_body(body::to_json(&one));
        session.client.done(to, change)?;
        session.out.line(format!("copy {} of {name} from {from} to {to} success.", copied.what));
        session.out.push("copied", name);
    }
    Ok(())
}

pub(super) fn copy_users(args: &Args, session: &mut Session) -> Result<()> {
    let copied = Copied {
        what: "user",
        key: "username",
        get: RequestCode::AUTH_GET_USER,
        list: RequestCode::AUTH_LIST_USER,
        create: RequestCode::AUTH_CREATE_USER,
        update: RequestCode::AUTH_UPDATE_USER,
    };
    copy(args, session, args.get("usernames"), &copied)
}

pub(super) fn copy_acls(args: &Args, session: &mut Session) -> Result<()> {
    let copied = Copied {
        what: "acl",
        key: "subject",
        get: RequestCode::AUTH_GET_ACL,
        list: RequestCode::AUTH_LIST_ACL,
        create: RequestCode::AUTH_CREATE_ACL,
        update: RequestCode::AUTH_UPDATE_ACL,
    };
    copy(args, session, args.get("subjects"), &copied)
}
