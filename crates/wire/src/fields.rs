//! The string fields (`extFields`) of a command.

/// Ordered key/value pairs in one allocation of text and one of spans.
///
/// Keys are unique in practice; where a peer sends one twice the last wins, as in a Java `HashMap`.
/// Bounded by the header size that [`crate::frame`] admits.
#[derive(Clone, Default)]
pub struct Fields {
    text: String,
    /// End of the key and end of the value in `text`; a pair starts where the one before it ends.
    ends: Vec<(u32, u32)>,
}

impl Fields {
    /// No fields, no allocation.
    pub const fn new() -> Self {
        Self { text: String::new(), ends: Vec::new() }
    }

    /// No fields yet, room for `pairs` of them in `bytes` of text.
    pub fn with_capacity(pairs: usize, bytes: usize) -> Self {
        Self { text: String::with_capacity(bytes), ends: Vec::with_capacity(pairs) }
    }

    /// Appends a pair.
    pub fn push(&mut self, key: &str, value: &str) {
        self.push_with(key, |text| text.push_str(value));
    }

    /// Appends a pair whose value `write` appends to the text it is given (it must only append).
    pub fn push_with(&mut self, key: &str, write: impl FnOnce(&mut String)) {
        self.text.push_str(key);
        let key_end = self.text.len() as u32;
        write(&mut self.text);
        self.ends.push((key_end, self.text.len() as u32));
    }

    /// The last value given for `key`.
    pub fn get(&self, key: &str) -> Option<&str> {
        self.iter().rev().find(|(k, _)| *k == key).map(|(_, v)| v)
    }

    /// All pairs in the order they came.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = (&str, &str)> {
        self.ends.iter().enumerate().map(|(i, &(key_end, value_end))| {
            let start = i.checked_sub(1).and_then(|p| self.ends.get(p)).map_or(0, |&(_, end)| end);
            let part = |from: u32, to: u32| self.text.get(from as usize..to as usize).unwrap_or_default();
            (part(start, key_end), part(key_end, value_end))
        })
    }

    /// Number of pairs.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there are no pairs.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }
}

impl std::fmt::Debug for Fields {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

impl PartialEq for Fields {
    /// Equal as maps: neither order counts, nor a value that a later one for the same key outdoes.
    fn eq(&self, other: &Self) -> bool {
        let agree = |a: &Self, b: &Self| a.iter().all(|(key, _)| a.get(key) == b.get(key));
        agree(self, other) && agree(other, self)
    }
}

impl<'a> FromIterator<(&'a str, &'a str)> for Fields {
    fn from_iter<T: IntoIterator<Item = (&'a str, &'a str)>>(pairs: T) -> Self {
        let mut fields = Self::new();
        for (k, v) in pairs {
            fields.push(k, v);
        }
        fields
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_order_and_last_value_wins() {
        let f: Fields = [("a", "1"), ("b", ""), ("a", "2")].into_iter().collect();
        assert_eq!(f.iter().collect::<Vec<_>>(), [("a", "1"), ("b", ""), ("a", "2")]);
        assert_eq!(f.get("a"), Some("2"));
        assert_eq!(f.get("b"), Some(""));
        assert_eq!(f.get("c"), None);
        assert_eq!(f, f);
        let same: Fields = [("b", ""), ("a", "2")].into_iter().collect();
        assert_eq!((&f, &same), (&same, &f));
        for other in [&[("a", "2")][..], &[("a", "1"), ("b", "")], &[("a", "2"), ("b", ""), ("c", "")]] {
            let other: Fields = other.iter().copied().collect();
            assert_ne!(f, other);
            assert_ne!(other, f);
        }
    }
}
