//! Tag subscriptions as filters of queue entries.

use kerolox_store::Filter;
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

/// A filter for a tag expression `A || B`; `None` for all messages (`*`, empty or absent).
///
/// # Errors
/// The expression has operators but no tag, as Apache's `FilterAPI` refuses it.
pub(crate) fn tag_filter(expression: Option<&str>) -> Result<Option<Arc<dyn Filter>>, String> {
    let expression = expression.unwrap_or_default();
    if expression.is_empty() || expression == "*" {
        return Ok(None);
    }
    let codes: BTreeSet<i64> =
        expression.split("||").map(str::trim).filter(|tag| !tag.is_empty()).map(tag_code).collect();
    if codes.is_empty() {
        return Err(format!("subscription {expression:?} names no tag"));
    }
    Ok(Some(Arc::new(TagFilter { codes })))
}

/// A filter for codes that the client has computed (a heartbeat's `codeSet`).
pub(crate) fn code_filter(codes: impl IntoIterator<Item = i64>) -> Option<Arc<dyn Filter>> {
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
