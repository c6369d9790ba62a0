//! What a producer is given to end a transaction by: all that the broker needs to find the half message, so that nothing has to be
//! remembered for it and any face can end it, after any restart. (Apache's proxy gives the message's id and remembers the rest for 30 s.)
//!
//! `half-offset position broker id`, separated by spaces.

/// What an id says. It comes from a client: the broker checks all of it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct TransactionId<'a> {
    /// Offset of the half message in the half topic's queue.
    pub(crate) half_offset: i64,
    /// Its position in the log.
    pub(crate) position: i64,
    pub(crate) broker: &'a str,
    /// The message's unique id.
    pub(crate) message_id: &'a str,
}

pub(crate) fn make(broker: &str, half_offset: i64, position: u64, message_id: &str) -> String {
    format!("{half_offset} {position} {broker} {message_id}")
}

/// `None` if the text is none.
pub(crate) fn parse(text: &str) -> Option<TransactionId<'_>> {
    let mut items = text.splitn(4, ' ');
    let mut item = || items.next().filter(|item| !item.is_empty());
    Some(TransactionId {
        half_offset: item()?.parse().ok()?,
        position: item()?.parse().ok()?,
        broker: item()?,
        message_id: item()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_read_as_they_are_made() {
        let id = make("broker-a", 7, 12_345, "01AB with spaces");
        let want = TransactionId {
            half_offset: 7,
            position: 12_345,
            broker: "broker-a",
            message_id: "01AB with spaces",
        };
        assert_eq!(parse(&id), Some(want));
        for bad in ["", "7", "7 8", "7 8 b", "7 8 b ", "x 8 b i", "7 x b i", "7 99999999999999999999 b i"] {
            assert_eq!(parse(bad), None, "{bad}");
        }
    }
}
