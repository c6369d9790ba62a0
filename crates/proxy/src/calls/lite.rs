//! Which lite topics a client consumes.

use crate::brokers::success;
use crate::check;
use crate::face::Call;
use crate::status::{Refusal, Result, ok};
use crate::v2::offset_option::OffsetType;
use crate::v2::{Code, LiteSubscriptionAction, SyncLiteSubscriptionRequest, SyncLiteSubscriptionResponse};
use kerolox_wire::body::{LiteSubscription, LiteSubscriptionCtlRequestBody, OffsetOption, to_json};
use kerolox_wire::{Command, RequestCode};
use std::time::Duration;

/// More than the quota of a group: what is about to go counts a while longer.
const QUOTA_MARGIN: usize = 300;
pub(crate) const QUOTA: i32 = 2_000;

pub(crate) async fn sync(
    call: Call,
    request: SyncLiteSubscriptionRequest,
) -> Result<SyncLiteSubscriptionResponse> {
    let topic = check::topic(request.topic.as_ref())?;
    let group = check::group(request.group.as_ref())?;
    let action = request.action();
    if action == LiteSubscriptionAction::PartialAdd {
        request.lite_topic_set.iter().try_for_each(|lite| check::lite_topic(lite).map(drop))?;
    }
    let config = call.face.group(group, Some(topic)).await?;
    let bound = config.attributes.get("lite.bind.topic");
    if bound.is_none_or(|bound| bound != topic) {
        let bound = bound.map_or("null", String::as_str);
        let why = format!("lite group {group} is expected to bind topic {bound}, but actual is {topic}");
        return Err(Refusal::new(Code::IllegalTopic, why));
    }
    let quota = quota(&config.attributes);
    if request.lite_topic_set.len() > usize::try_from(quota).unwrap_or(0) + QUOTA_MARGIN {
        let why = format!("lite subscription quota exceeded: {quota}");
        return Err(Refusal::new(Code::LiteSubscriptionQuotaExceeded, why));
    }
    let entry = LiteSubscription {
        action: action.as_str_name().to_owned(),
        client_id: call.client.id.clone(),
        group: group.to_owned(),
        topic: topic.to_owned(),
        lite_topic_set: request.lite_topic_set.iter().cloned().collect(),
        offset_option: request.offset_option.and_then(|option| option.offset_type).map(begin),
        version: request.version.unwrap_or_default(),
    };
    let body = to_json(&LiteSubscriptionCtlRequestBody { subscription_set: vec![entry] });
    let view = call.face.view(topic).await?;
    for (place, _) in &view.masters {
        let command = Command::request(RequestCode::LITE_SUBSCRIPTION_CTL).with_body(body.clone());
        success(call.link(place).await?.call(command, Duration::ZERO).await?)?;
    }
    Ok(SyncLiteSubscriptionResponse { status: Some(ok()) })
}

/// Lite topics that a client of a group may consume.
pub(crate) fn quota(attributes: &std::collections::BTreeMap<String, String>) -> i32 {
    attributes.get("lite.sub.client.quota").and_then(|text| text.parse().ok()).unwrap_or(QUOTA)
}

fn begin(option: OffsetType) -> OffsetOption {
    let (kind, value) = match option {
        // LAST, MIN and MAX have the same numbers on both sides.
        OffsetType::Policy(policy) => ("POLICY", i64::from(policy)),
        OffsetType::Offset(offset) => ("OFFSET", offset),
        OffsetType::TailN(n) => ("TAIL_N", n),
        OffsetType::Timestamp(at) => ("TIMESTAMP", at),
    };
    OffsetOption { kind: kind.to_owned(), value }
}
