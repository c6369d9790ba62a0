//! What names and texts of calls may be: asked once, before anything else is done. Texts and codes are Apache's (`Validators`).

use crate::status::{Refusal, Result};
use crate::v2::{Code, Resource};
use kerolox_wire::names;

pub(crate) fn topic(resource: Option<&Resource>) -> Result<&str> {
    let name = resource.map_or("", |resource| &*resource.name);
    let illegal = |why: String| Err(Refusal::new(Code::IllegalTopic, why));
    if name.trim().is_empty() {
        return illegal("The specified topic is blank".into());
    }
    if name.chars().count() > names::TOPIC_CHARS_MAX {
        let max = names::TOPIC_CHARS_MAX;
        return illegal(format!("The specified topic is longer than topic max length {max}."));
    }
    if !is_legal(name) {
        return illegal(format!(
            "The specified topic[{name}] contains illegal characters, allowing only ^[%|a-zA-Z0-9_-]+$"
        ));
    }
    if names::is_system_topic(name) {
        return illegal("cannot access system topic".into());
    }
    Ok(name)
}

pub(crate) fn group(resource: Option<&Resource>) -> Result<&str> {
    let name = resource.map_or("", |resource| &*resource.name);
    let illegal = |why: String| Err(Refusal::new(Code::IllegalConsumerGroup, why));
    if name.trim().is_empty() {
        return illegal("the specified group is blank".into());
    }
    if name.chars().count() > names::GROUP_CHARS_MAX {
        let max = names::GROUP_CHARS_MAX;
        return illegal(format!("the specified group[{name}] is longer than group max length: {max}."));
    }
    if !is_legal(name) {
        return illegal(format!(
            "the specified group[{name}] contains illegal characters, allowing only ^[%|a-zA-Z0-9_-]+$"
        ));
    }
    if name.starts_with("CID_RMQ_SYS_") {
        return illegal("cannot use system consumer group".into());
    }
    Ok(name)
}

pub(crate) fn lite_topic(name: &str) -> Result<&str> {
    let illegal = |why: &str| Err(Refusal::new(Code::IllegalLiteTopic, why));
    if name.trim().is_empty() {
        return illegal("lite topic cannot be the char sequence of whitespace");
    }
    if name.len() > names::LITE_TOPIC_CHARS_MAX {
        return illegal("lite topic exceed the max size 64");
    }
    if !name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_') {
        return illegal(
            "lite topic can only contain alphanumeric characters, hyphens(-), and underscores(_)",
        );
    }
    Ok(name)
}

fn is_legal(name: &str) -> bool {
    name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'%' | b'|' | b'_' | b'-'))
}

/// Java's `Character.isISOControl`.
pub(crate) fn has_control(text: &str) -> bool {
    text.chars().any(char::is_control)
}
