//! What was measured, as a table.

use super::server::Kind;
use serde_json::{Value, json};
use std::fmt::Write;

/// Figures in the order in which they came first.
#[derive(Default)]
pub(crate) struct Figures {
    rows: Vec<Row>,
    part: String,
    kind: Option<Kind>,
    notes: Vec<String>,
}

struct Row {
    part: String,
    name: String,
    apache: Vec<f64>,
    kerolox: Vec<f64>,
}

impl Figures {
    pub(crate) fn begin(&mut self, part: &str, kind: Kind) {
        self.part = part.to_owned();
        self.kind = Some(kind);
    }

    pub(crate) fn add(&mut self, name: &str, value: f64) {
        let found = self.rows.iter().position(|r| r.part == self.part && r.name == name);
        let index = found.unwrap_or_else(|| {
            let row = Row {
                part: self.part.clone(),
                name: name.to_owned(),
                apache: Vec::new(),
                kerolox: Vec::new(),
            };
            self.rows.push(row);
            self.rows.len() - 1
        });
        if let Some(row) = self.rows.get_mut(index) {
            match self.kind {
                Some(Kind::Kerolox) => row.kerolox.push(value),
                _ => row.apache.push(value),
            }
        }
    }

    pub(crate) fn note(&mut self, what: String) {
        let kind = self.kind.map_or("", Kind::name);
        self.notes.push(format!("{kind}, {}: {what}", self.part));
    }

    /// Medians, with the smallest and largest where there are several.
    pub(crate) fn markdown(&self) -> String {
        let mut out = String::new();
        let mut part = "";
        for row in &self.rows {
            if row.part != part {
                part = &row.part;
                let _ = writeln!(
                    out,
                    "\n**{part}**\n\n| | Apache 5.5.0 | Kerolox | Kerolox / Apache |\n|---|---|---|---|"
                );
            }
            let ratio = match (median(&row.apache), median(&row.kerolox)) {
                (Some(apache), Some(kerolox)) if apache > 0.0 => format!("{:.3}", kerolox / apache),
                _ => String::new(),
            };
            let _ = writeln!(
                out,
                "| {} | {} | {} | {ratio} |",
                row.name,
                spread(&row.apache),
                spread(&row.kerolox)
            );
        }
        for note in &self.notes {
            let _ = writeln!(out, "\n{note}");
        }
        out
    }

    pub(crate) fn json(&self) -> Value {
        let rows: Vec<_> = self
            .rows
            .iter()
            .map(|r| json!({"part": r.part, "figure": r.name, "apache": r.apache, "kerolox": r.kerolox}))
            .collect();
        json!({"rows": rows, "notes": self.notes})
    }
}

fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied()
}

fn spread(values: &[f64]) -> String {
    let Some(middle) = median(values) else { return "–".into() };
    let (min, max) = values.iter().fold((f64::MAX, f64::MIN), |(min, max), v| (min.min(*v), max.max(*v)));
    if values.len() > 1 && min != max {
        format!("{} ({} … {})", short(middle), short(min), short(max))
    } else {
        short(middle)
    }
}

/// Three digits or so.
fn short(value: f64) -> String {
    match value.abs() {
        v if v >= 1000.0 => thousands(value.round() as i64),
        v if v >= 100.0 => format!("{value:.0}"),
        v if v >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

fn thousands(value: i64) -> String {
    let digits = value.to_string();
    let mut out = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) && !out.ends_with('-') {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians_with_their_spread() {
        let mut figures = Figures::default();
        for (kind, values) in [(Kind::Apache, [1.0, 3.0, 2.0]), (Kind::Kerolox, [1_234_567.0, 10.0, 123.4])] {
            figures.begin("part", kind);
            values.iter().for_each(|v| figures.add("rate", *v));
        }
        assert!(
            figures.markdown().contains("| rate | 2.00 (1.00 … 3.00) | 123 (10.0 … 1,234,567) | 61.700 |")
        );
        assert_eq!(thousands(-123_456), "-123,456");
    }
}
