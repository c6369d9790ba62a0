//! The one way in which fastjson's output is not JSON: map keys without quotes.

use serde::Serialize;
use serde_json::ser::{CharEscape, CompactFormatter, Formatter, Serializer};
use std::io::{self, Write};

/// Deepest nesting that is looked into, as serde_json's own limit.
const DEPTH_MAX: usize = 128;

/// Puts every key that is not a string into quotes: `{0:1}` becomes `{"0":1}`, and of `{{"a":1}:2}` the key
/// becomes a string that holds the object's text. `None` if there was no such key or the structure is beyond repair.
pub(super) fn quote_keys(json: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(json.len() + 64);
    // For every open bracket, whether it is an object's.
    let mut open: Vec<bool> = Vec::new();
    let (mut key_is_next, mut quoted_any) = (false, false);
    let mut rest = json;
    while let Some((&byte, tail)) = rest.split_first() {
        let bare_key = key_is_next && !matches!(byte, b'"' | b'}' | b',') && !byte.is_ascii_whitespace();
        let len = match byte {
            _ if bare_key => bare_key_len(rest)?,
            b'"' => string_len(rest)?,
            _ => 1,
        };
        let (token, after) = rest.split_at_checked(len)?;
        if bare_key {
            out.push(b'"');
            for &b in token {
                if matches!(b, b'"' | b'\\') {
                    out.push(b'\\');
                }
                out.push(b);
            }
            out.push(b'"');
            (key_is_next, quoted_any) = (false, true);
            rest = after;
            continue;
        }
        out.extend_from_slice(token);
        match byte {
            b'{' | b'[' => {
                open.push(byte == b'{');
                if open.len() > DEPTH_MAX {
                    return None;
                }
                key_is_next = byte == b'{';
            }
            b'}' | b']' => {
                open.pop()?;
                key_is_next = false;
            }
            b',' => key_is_next = *open.last()?,
            b'"' => key_is_next = false,
            _ => {}
        }
        rest = if len == 1 { tail } else { after };
    }
    quoted_any.then_some(out)
}

/// Length of the string literal that `json` begins with, quotes included.
fn string_len(json: &[u8]) -> Option<usize> {
    let mut escaped = false;
    for (i, &b) in json.iter().enumerate().skip(1) {
        match b {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => return Some(i + 1),
            _ => {}
        }
    }
    None
}

/// Length of the bare key that `json` begins with: up to its colon, or an object up to its end.
fn bare_key_len(json: &[u8]) -> Option<usize> {
    if json.first() != Some(&b'{') {
        return json.iter().position(|b| *b == b':').filter(|len| *len > 0);
    }
    let (mut at, mut depth) = (0, 0usize);
    loop {
        match json.get(at)? {
            b'{' => depth += 1,
            b'}' => depth -= 1,
            b'"' => at += string_len(json.get(at..)?)? - 1,
            _ => {}
        }
        at += 1;
        if depth == 0 {
            return Some(at);
        }
    }
}

/// Writes JSON with integer keys left unquoted.
pub(super) fn write<T: Serialize>(value: &T) -> Vec<u8> {
    let mut out = Vec::with_capacity(256);
    let bare = BareIntegerKeys { inner: CompactFormatter, key: Key::No };
    // holds because bodies have string and integer keys only and write to memory
    let _ = value.serialize(&mut Serializer::with_formatter(&mut out, bare));
    out
}

/// What is known of the string being written.
#[derive(Clone, Copy, PartialEq)]
enum Key {
    /// Not a key, or one that turned out to be a string.
    No,
    /// A key begins; its quote has not been written yet.
    Begun,
    /// The opening quote is due with the next piece of text.
    QuoteDue,
    /// An integer was written: no closing quote.
    Bare,
}

/// serde_json writes an integer key as: begin string, the integer, end string. The opening quote is therefore held
/// back until it is known what follows.
struct BareIntegerKeys {
    inner: CompactFormatter,
    key: Key,
}

impl BareIntegerKeys {
    fn quote_if_due<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
        if self.key == Key::QuoteDue {
            self.key = Key::No;
            return writer.write_all(b"\"");
        }
        Ok(())
    }

    fn integer<W: ?Sized + Write>(
        &mut self,
        writer: &mut W,
        digits: std::fmt::Arguments<'_>,
    ) -> io::Result<()> {
        if self.key == Key::QuoteDue {
            self.key = Key::Bare;
        }
        writer.write_fmt(digits)
    }
}

macro_rules! integers {
    ($($name:ident: $type:ty),*) => {$(
        fn $name<W: ?Sized + Write>(&mut self, writer: &mut W, value: $type) -> io::Result<()> {
            self.integer(writer, format_args!("{value}"))
        }
    )*};
}

impl Formatter for BareIntegerKeys {
    integers!(write_i32: i32, write_i64: i64, write_u32: u32, write_u64: u64);

    fn begin_object_key<W: ?Sized + Write>(&mut self, writer: &mut W, first: bool) -> io::Result<()> {
        self.key = Key::Begun;
        self.inner.begin_object_key(writer, first)
    }

    fn end_object_key<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.key = Key::No;
        self.inner.end_object_key(writer)
    }

    fn begin_string<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
        if self.key == Key::Begun {
            self.key = Key::QuoteDue;
            return Ok(());
        }
        self.inner.begin_string(writer)
    }

    fn end_string<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
        if self.key == Key::Bare {
            return Ok(());
        }
        self.quote_if_due(writer)?;
        self.inner.end_string(writer)
    }

    fn write_string_fragment<W: ?Sized + Write>(&mut self, writer: &mut W, fragment: &str) -> io::Result<()> {
        self.quote_if_due(writer)?;
        self.inner.write_string_fragment(writer, fragment)
    }

    fn write_char_escape<W: ?Sized + Write>(&mut self, writer: &mut W, escape: CharEscape) -> io::Result<()> {
        self.quote_if_due(writer)?;
        self.inner.write_char_escape(writer, escape)
    }
}
