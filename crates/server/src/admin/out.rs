//! What a command prints: lines and tables as Apache prints them, or the same as one JSON document.

use serde_json::{Map, Value, json};
use std::io::Write;

/// A table: its lines as Java formats them. Titles and values are text; a precision (`%-20.20s`) cuts them.
#[derive(Debug)]
pub(super) struct Table {
    /// What the array of rows is called in JSON.
    pub(super) name: &'static str,
    /// The format of the line of titles; empty: there is none.
    pub(super) head: &'static str,
    /// The format of the other lines.
    pub(super) row: &'static str,
    /// Title and name in JSON of each column.
    pub(super) columns: &'static [(&'static str, &'static str)],
}

/// One value of a table.
#[derive(Debug, Clone)]
pub(super) struct Cell {
    text: String,
    json: Value,
}

impl Cell {
    /// A value that is shown otherwise than it is in JSON.
    pub(super) fn shown(text: impl Into<String>, json: impl Into<Value>) -> Self {
        Self { text: text.into(), json: json.into() }
    }
}

macro_rules! cells {
    ($($type:ty),*) => {$(
        impl From<$type> for Cell {
            fn from(value: $type) -> Self {
                Self { text: value.to_string(), json: json!(value) }
            }
        }
    )*};
}
cells!(&str, &String, String, i32, i64, usize, bool);

/// Where a command writes to.
#[derive(Debug, Default)]
pub(super) struct Out {
    /// The document, where JSON is wanted.
    json: Option<Map<String, Value>>,
}

impl Out {
    pub(super) fn new(json: bool) -> Self {
        Self { json: json.then(Map::new) }
    }

    pub(super) fn is_json(&self) -> bool {
        self.json.is_some()
    }

    /// A line for people.
    pub(super) fn line(&self, text: impl AsRef<str>) {
        self.text(&format!("{}\n", text.as_ref()));
    }

    /// Text for people, as it is.
    pub(super) fn text(&self, text: &str) {
        if self.json.is_none() {
            print(text);
        }
    }

    /// A member of the JSON document.
    pub(super) fn set(&mut self, name: &str, value: impl Into<Value>) {
        if let Some(json) = &mut self.json {
            json.insert(name.to_owned(), value.into());
        }
    }

    /// An element of an array of the JSON document, which is made with its first element.
    pub(super) fn push(&mut self, name: &str, value: impl Into<Value>) {
        let Some(json) = &mut self.json else { return };
        if let Value::Array(list) = json.entry(name).or_insert_with(|| json!([])) {
            list.push(value.into());
        }
    }

    /// Begins a table: its titles, or an empty array.
    pub(super) fn head(&mut self, table: &Table) {
        if !table.head.is_empty() {
            let titles: Vec<&str> = table.columns.iter().map(|(title, _)| *title).collect();
            self.line(format(table.head, &titles));
        }
        if let Some(json) = &mut self.json {
            json.entry(table.name).or_insert_with(|| json!([]));
        }
    }

    pub(super) fn row<const N: usize>(&mut self, table: &Table, cells: [Cell; N]) {
        debug_assert_eq!(table.columns.len(), N, "{}", table.name);
        if self.json.is_some() {
            let object: Map<String, Value> = table
                .columns
                .iter()
                .zip(cells)
                .map(|((_, name), cell)| ((*name).to_owned(), cell.json))
                .collect();
            self.push(table.name, object);
        } else {
            let texts: Vec<&str> = cells.iter().map(|cell| cell.text.as_str()).collect();
            self.line(format(table.row, &texts));
        }
    }

    /// Prints the JSON document, if there is one, and begins the next: a command that asks again and again has one each time,
    /// each on a line.
    pub(super) fn finish(&mut self) {
        if let Some(json) = self.json.replace(Map::new()) {
            print(&format!("{}\n", Value::Object(json)));
        } else {
            self.json = None;
        }
    }
}

/// Writes to standard output. Where nobody reads it any more there is nobody to tell.
pub(super) fn print(text: &str) {
    let mut stdout = std::io::stdout().lock();
    let _ = stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush());
}

/// Java's `printf` as far as tables need it: `%[-][0]WIDTH[.MAX]s`, where any letter does for `s`.
pub(super) fn format(format: &str, values: &[&str]) -> String {
    let mut out = String::new();
    let mut values = values.iter();
    let mut rest = format;
    while let Some((before, spec)) = rest.split_once('%') {
        out.push_str(before);
        let end = spec.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(spec.len());
        let (spec, after) = spec.split_at(end);
        rest = after.get(1..).unwrap_or_default();
        let left = spec.starts_with('-');
        let spec = spec.trim_start_matches('-');
        let fill = if spec.starts_with('0') { '0' } else { ' ' };
        let (width, max) = spec.split_once('.').unwrap_or((spec, ""));
        let value: String =
            values.next().unwrap_or(&"").chars().take(max.parse().unwrap_or(usize::MAX)).collect();
        let padding = width.parse::<usize>().unwrap_or(0).saturating_sub(value.chars().count());
        let padding = std::iter::repeat_n(fill, padding);
        if left {
            out.push_str(&value);
            out.extend(padding);
        } else {
            out.extend(padding);
            out.push_str(&value);
        }
    }
    out + rest
}

/// JSON as Apache's library prettifies it: a tab for each level, no space behind a colon, no members that are null.
pub(super) fn pretty(value: &Value) -> String {
    let mut out = String::new();
    write_pretty(value, 0, &mut out);
    out
}

fn write_pretty(value: &Value, depth: usize, out: &mut String) {
    let mut list = |open: char, close: char, items: Vec<(Option<&String>, &Value)>| {
        out.push(open);
        for (i, (key, item)) in items.iter().enumerate() {
            out.push_str(if i == 0 { "\n" } else { ",\n" });
            out.extend(std::iter::repeat_n('\t', depth + 1));
            if let Some(key) = key {
                out.push_str(&format!("{}:", Value::String((*key).clone())));
            }
            write_pretty(item, depth + 1, out);
        }
        if !items.is_empty() {
            out.push('\n');
            out.extend(std::iter::repeat_n('\t', depth));
        }
        out.push(close);
    };
    match value {
        Value::Array(items) => list('[', ']', items.iter().map(|item| (None, item)).collect()),
        Value::Object(items) => {
            let told = items.iter().filter(|(_, value)| !value.is_null());
            list('{', '}', told.map(|(k, v)| (Some(k), v)).collect());
        }
        other => out.push_str(&other.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_as_java_does() {
        assert_eq!(
            format("%-4s|%4d|%04d|%s|%-3.2s|%5s", &["ab", "7", "7", "x", "xyz", "äö"]),
            "ab  |   7|0007|x|xy |   äö"
        );
        assert_eq!(format("%-2s%%", &["abc", ""]), "abc");
        assert_eq!(format("a\n", &[]), "a\n");
    }

    #[test]
    fn pretty_json_is_apaches() {
        let value = json!({"b": [1, {"c": "x"}], "a": {}, "d": [], "e": null});
        assert_eq!(
            pretty(&value),
            "{\n\t\"a\":{},\n\t\"b\":[\n\t\t1,\n\t\t{\n\t\t\t\"c\":\"x\"\n\t\t}\n\t],\n\t\"d\":[]\n}"
        );
    }
}
