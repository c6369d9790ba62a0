//! Handles by which a delayed message is recalled: `v1 topic broker time id`, separated by spaces, in base64 of the kind
//! for addresses. Source: Apache's `RecallMessageHandle`.

use crate::base64;
use std::fmt;

/// What a handle says. It comes from a client: nothing of it is to be believed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecallHandle {
    pub topic: String,
    pub broker: String,
    /// When the message is to be delivered, in milliseconds.
    pub deliver_ms: i64,
    /// Its unique id.
    pub id: String,
}

/// Longest handle: a topic, a broker's name and an id.
const HANDLE_BYTES_MAX: usize = 4_096;

impl fmt::Display for RecallHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plain = format!("v1 {} {} {} {}", self.topic, self.broker, self.deliver_ms, self.id);
        let mut text = String::with_capacity(plain.len() * 2);
        base64::encode(plain.as_bytes(), &mut text);
        f.write_str(&text)
    }
}

impl RecallHandle {
    /// `None` if the text is no handle.
    pub fn parse(text: &str) -> Option<Self> {
        let plain = String::from_utf8(base64::decode(text, HANDLE_BYTES_MAX)?).ok()?;
        let mut items = plain.split(' ');
        if items.next() != Some("v1") {
            return None;
        }
        let mut item = || items.next().filter(|item| !item.is_empty()).map(str::to_owned);
        let (topic, broker, time, id) = (item()?, item()?, item()?, item()?);
        Some(Self { topic, broker, deliver_ms: time.parse().ok()?, id })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_apache_writes_it() {
        for (id, text) in [
            ("id", "djEgdG9waWMgYnJva2VyIDE3MDAwMDAwMDAwMDAgaWQ="),
            ("idx", "djEgdG9waWMgYnJva2VyIDE3MDAwMDAwMDAwMDAgaWR4"),
            ("~?", "djEgdG9waWMgYnJva2VyIDE3MDAwMDAwMDAwMDAgfj8="),
        ] {
            let handle = RecallHandle {
                topic: "topic".into(),
                broker: "broker".into(),
                deliver_ms: 1_700_000_000_000,
                id: id.into(),
            };
            assert_eq!(handle.to_string(), text);
            assert_eq!(RecallHandle::parse(text), Some(handle));
        }
    }

    #[test]
    fn other_texts_are_none() {
        let long = "A".repeat(5_000);
        for bad in
            ["", "=", "A", "djE", "!!!!", "djIgYSBiIDEgYw==", "djEgYSBiIHggYw==", "djEgYSBiIDEg", "é", &long]
        {
            assert_eq!(RecallHandle::parse(bad), None, "{bad}");
        }
    }
}
