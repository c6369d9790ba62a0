//! Handles by which a delayed message is recalled: `v1 topic broker time id`, separated by spaces, in base64 of the kind
//! for addresses. Source: Apache's `RecallMessageHandle`.

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

const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
/// Longest handle: a topic, a broker's name and an id.
const HANDLE_BYTES_MAX: usize = 4_096;

impl fmt::Display for RecallHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plain = format!("v1 {} {} {} {}", self.topic, self.broker, self.deliver_ms, self.id);
        for chunk in plain.as_bytes().chunks(3) {
            let bits = chunk.iter().fold(0_u32, |bits, byte| bits << 8 | u32::from(*byte))
                << (8 * (3 - chunk.len()));
            for place in 0..4 {
                let letter =
                    LETTERS.get((bits >> (18 - 6 * place) & 63) as usize).copied().unwrap_or_default();
                let letter = if place > chunk.len() { b'=' } else { letter };
                write!(f, "{}", char::from(letter))?;
            }
        }
        Ok(())
    }
}

impl RecallHandle {
    /// `None` if the text is no handle.
    pub fn parse(text: &str) -> Option<Self> {
        let plain = String::from_utf8(decode(text)?).ok()?;
        let mut items = plain.split(' ');
        if items.next() != Some("v1") {
            return None;
        }
        let mut item = || items.next().filter(|item| !item.is_empty()).map(str::to_owned);
        let (topic, broker, time, id) = (item()?, item()?, item()?, item()?);
        Some(Self { topic, broker, deliver_ms: time.parse().ok()?, id })
    }
}

fn decode(text: &str) -> Option<Vec<u8>> {
    let text = text.trim_end_matches('=').as_bytes();
    if text.len() > HANDLE_BYTES_MAX {
        return None;
    }
    let mut out = Vec::with_capacity(text.len());
    for chunk in text.chunks(4) {
        let mut bits = 0_u32;
        for letter in chunk {
            bits = bits << 6 | LETTERS.iter().position(|known| known == letter)? as u32;
        }
        let bytes = (bits << (6 * (4 - chunk.len()))).to_be_bytes();
        out.extend_from_slice(bytes.get(1..chunk.len())?);
    }
    Some(out)
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
