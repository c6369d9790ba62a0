//! The history of a world: its checksum, and if wanted its text.

use std::fmt::{Arguments, Write};

#[derive(Debug, Default)]
pub struct Trace {
    crc: crc32fast::Hasher,
    line: String,
    /// Lines so far.
    pub events: u64,
    /// All lines, if they are kept.
    pub text: Option<String>,
}

impl Trace {
    /// `keep`: with its text.
    pub fn new(keep: bool) -> Self {
        Self { text: keep.then(String::new), ..Self::default() }
    }

    /// Something happened, so many milliseconds after the beginning.
    pub fn note(&mut self, at_ms: i64, what: Arguments<'_>) {
        self.line.clear();
        // holds because writing to a string cannot fail
        let _ = writeln!(self.line, "{:>4}.{:03} {what}", at_ms / 1_000, at_ms % 1_000);
        self.crc.update(self.line.as_bytes());
        self.events += 1;
        if let Some(text) = &mut self.text {
            text.push_str(&self.line);
        }
    }

    /// CRC-32 over the whole history: equal for equal seeds.
    pub fn crc(&self) -> u32 {
        self.crc.clone().finalize()
    }
}
