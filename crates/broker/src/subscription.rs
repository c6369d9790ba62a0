//! Subscriptions as filters: tags are looked at in queue entries, SQL92 in records.

use crate::sql::Sql;
use kerolox_store::Filter;
use kerolox_wire::ResponseCode;
use kerolox_wire::properties::tag_code;
use std::collections::BTreeSet;
use std::sync::Arc;

/// The tag codes that a subscription lets through. Different tags may share a code: clients check the tag itself.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct TagFilter {
    codes: BTreeSet<i64>,
}

impl Filter for TagFilter {
    fn tag(&self, code: i64) -> bool {
        self.codes.contains(&code)
    }
}

/// What a filter lets through; `None`: everything.
pub(crate) type Wanted = Option<Arc<dyn Filter>>;

/// Why there is no filter for an expression: what the client is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Unfit {
    Unsupported(String),
    Malformed(String),
}

impl Unfit {
    pub(crate) fn code(&self) -> ResponseCode {
        match self {
            Self::Unsupported(_) => ResponseCode::SYSTEM_ERROR,
            Self::Malformed(_) => ResponseCode::SUBSCRIPTION_PARSE_FAILED,
        }
    }

    pub(crate) fn remark(&self) -> String {
        match self {
            Self::Unsupported(kind) => {
                format!("The broker does not support consumer to filter message by {kind}")
            }
            Self::Malformed(why) => why.clone(),
        }
    }
}

/// Whether an expression of this type is one of tags.
pub(crate) fn is_tag(kind: Option<&str>) -> bool {
    kind.is_none_or(|kind| kind.is_empty() || kind == "TAG")
}

/// The filter of an expression.
///
/// # Errors
/// Its type is not known or switched off, or it is malformed.
pub(crate) fn filter(sql92: bool, kind: Option<&str>, expression: Option<&str>) -> Result<Wanted, Unfit> {
    if is_tag(kind) {
        return tag_filter(expression);
    }
    let kind = kind.unwrap_or_default();
    if kind != "SQL92" || !sql92 {
        return Err(Unfit::Unsupported(kind.to_owned()));
    }
    match Sql::parse(expression.unwrap_or_default()) {
        Ok(sql) => Ok(Some(Arc::new(sql))),
        Err(e) => Err(Unfit::Malformed(e.to_string())),
    }
}

/// A filter for a tag expression `A || B`; `None` for all messages (`*`, empty or absent).
///
/// # Errors
/// The expression has operators but no tag, as Apache's `FilterAPI` refuses it.
fn tag_filter(expression: Option<&str>) -> Result<Wanted, Unfit> {
    let expression = expression.unwrap_or_default();
    if expression.is_empty() || expression == "*" {
        return Ok(None);
    }
    let codes: BTreeSet<i64> =
        expression.split("||").map(str::trim).filter(|tag| !tag.is_empty()).map(tag_code).collect();
    if codes.is_empty() {
        return Err(Unfit::Malformed("parse the consumer's subscription failed".to_owned()));
    }
    Ok(Some(Arc::new(TagFilter { codes })))
}

/// A filter for codes that the client has computed (a heartbeat's `codeSet`).
pub(crate) fn code_filter(codes: impl IntoIterator<Item = i64>) -> Wanted {
    let codes: BTreeSet<i64> = codes.into_iter().collect();
    if codes.is_empty() { None } else { Some(Arc::new(TagFilter { codes })) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expressions() {
        assert!(tag_filter(None).unwrap().is_none());
        assert!(tag_filter(Some("*")).unwrap().is_none());
        assert!(tag_filter(Some(" || ")).is_err());
        let filter = tag_filter(Some("TagA || TagB|| ")).unwrap().unwrap();
        assert!(filter.tag(tag_code("TagA")) && filter.tag(tag_code("TagB")));
        assert!(!filter.tag(tag_code("TagC")) && !filter.tag(0));
    }
}
