//! The JSON header as nearly every client writes it, read in one pass straight into [`Fields`]. What is written in any other
//! way (nested unknown members, numbers as strings, …) is left to the general reader in `json`, which decides too
//! what is no header at all. Where this one gives an answer, both give the same.

use super::{Command, Encoding};
use crate::fields::Fields;
use crate::language::Language;
use bytes::Bytes;

/// `None`: not for this reader.
pub(super) fn decode(header: &[u8], body: &Bytes) -> Option<Command> {
    let mut scan = Scan { text: std::str::from_utf8(header).ok()?, at: 0 };
    let mut command = Command {
        code: 0,
        language: Language::OTHER,
        version: 0,
        opaque: 0,
        flag: 0,
        remark: None,
        fields: Fields::new(),
        encoding: Encoding::Json,
        body: body.clone(),
    };
    scan.token(b'{')?;
    loop {
        scan.token(b'"')?;
        let key = scan.plain()?;
        scan.token(b':')?;
        match key {
            "code" => command.code = scan.number()?,
            "flag" => command.flag = scan.number()?,
            "opaque" => command.opaque = scan.number()?,
            "version" => command.version = scan.number()?,
            "extFields" => scan.fields(header.len(), &mut command.fields)?,
            "language" => {
                scan.token(b'"')?;
                command.language = Language::from_name(scan.plain()?);
            }
            "remark" => {
                scan.token(b'"')?;
                let mut remark = String::new();
                scan.string(&mut remark)?;
                command.remark = Some(remark);
            }
            "serializeTypeCurrentRPC" => {
                scan.token(b'"')?;
                scan.plain()?;
            }
            _ => return None,
        }
        match scan.next()? {
            b',' => {}
            b'}' => break,
            _ => return None,
        }
    }
    (scan.at == header.len()).then_some(command)
}

struct Scan<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Scan<'a> {
    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn next(&mut self) -> Option<u8> {
        let byte = self.peek()?;
        self.at += 1;
        Some(byte)
    }

    fn token(&mut self, wanted: u8) -> Option<()> {
        (self.next()? == wanted).then_some(())
    }

    /// A 32-bit number in its shortest form.
    fn number(&mut self) -> Option<i32> {
        let from = self.at;
        if self.peek()? == b'-' {
            self.at += 1;
        }
        let digits_from = self.at;
        while self.peek()?.is_ascii_digit() {
            self.at += 1;
        }
        let digits = self.text.get(digits_from..self.at)?;
        let minus = digits_from > from;
        if digits.starts_with('0') && (digits.len() > 1 || minus)
            || matches!(self.peek()?, b'.' | b'e' | b'E')
        {
            return None;
        }
        self.text.get(from..self.at)?.parse().ok()
    }

    /// The rest of a string without escapes, its closing quote included.
    fn plain(&mut self) -> Option<&'a str> {
        let from = self.at;
        self.at += plain_len(self.text.as_bytes().get(from..)?);
        let part = self.text.get(from..self.at)?;
        self.token(b'"')?;
        Some(part)
    }

    /// Appends the rest of a string, its closing quote read too.
    fn string(&mut self, out: &mut String) -> Option<()> {
        loop {
            let from = self.at;
            self.at += plain_len(self.text.as_bytes().get(from..)?);
            out.push_str(self.text.get(from..self.at)?);
            match self.next()? {
                b'"' => return Some(()),
                b'\\' => out.push(self.escape()?),
                // A control character: not for a JSON string.
                _ => return None,
            }
        }
    }

    fn escape(&mut self) -> Option<char> {
        Some(match self.next()? {
            b'u' => {
                let digits = self.text.get(self.at..self.at + 4)?;
                if !digits.bytes().all(|b| b.is_ascii_hexdigit()) {
                    return None;
                }
                self.at += 4;
                // Halves of a pair are left to the general reader.
                char::from_u32(u32::from_str_radix(digits, 16).ok()?)?
            }
            b'n' => '\n',
            b't' => '\t',
            b'r' => '\r',
            b'b' => '\u{8}',
            b'f' => '\u{c}',
            other @ (b'"' | b'\\' | b'/') => other.into(),
            _ => return None,
        })
    }

    /// An object of strings. An escape never makes a text longer, so that the header's length is room enough for all.
    fn fields(&mut self, header_len: usize, out: &mut Fields) -> Option<()> {
        self.token(b'{')?;
        *out = Fields::new();
        if self.peek()? == b'}' {
            return self.token(b'}');
        }
        *out = Fields::with_capacity(16, header_len);
        loop {
            self.token(b'"')?;
            let key = self.plain()?;
            self.token(b':')?;
            self.token(b'"')?;
            let mut sound = None;
            out.push_with(key, |text| sound = self.string(text));
            sound?;
            match self.next()? {
                b',' => {}
                b'}' => return Some(()),
                _ => return None,
            }
        }
    }
}

/// How many bytes there are before the first quote, backslash or control character. Eight at a time.
fn plain_len(bytes: &[u8]) -> usize {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const TOPS: u64 = 0x8080_8080_8080_8080;
    let mut done = 0;
    for chunk in bytes.chunks_exact(8) {
        // holds because the chunks are of eight
        let word = u64::from_le_bytes(chunk.try_into().unwrap_or_default());
        // The lowest bit that these set is right; higher ones may be false alarms, for borrows run upwards.
        let has = |byte: u8| {
            let x = word ^ (ONES * u64::from(byte));
            x.wrapping_sub(ONES) & !x & TOPS
        };
        let below_space = word.wrapping_sub(ONES * 0x20) & !word & TOPS;
        let stops = has(b'"') | has(b'\\') | below_space;
        if stops != 0 {
            return done + (stops.trailing_zeros() / 8) as usize;
        }
        done += 8;
    }
    let rest = bytes.get(done..).unwrap_or_default();
    done + rest.iter().position(|b| matches!(b, b'"' | b'\\' | 0..0x20)).unwrap_or(rest.len())
}

/// Appends `text` as the inside of a JSON string: only what must be escaped is.
pub(super) fn put_escaped(text: &str, mut put: impl FnMut(&[u8])) {
    let mut rest = text.as_bytes();
    loop {
        let (plain, stop) = rest.split_at(plain_len(rest));
        put(plain);
        let Some((byte, after)) = stop.split_first() else { return };
        match byte {
            b'"' => put(b"\\\""),
            b'\\' => put(b"\\\\"),
            b'\n' => put(b"\\n"),
            b'\r' => put(b"\\r"),
            b'\t' => put(b"\\t"),
            0x08 => put(b"\\b"),
            0x0c => put(b"\\f"),
            _ => {
                let hex = |digit: u8| if digit < 10 { b'0' + digit } else { b'a' + digit - 10 };
                put(&[b'\\', b'u', b'0', b'0', hex(byte >> 4), hex(byte & 15)]);
            }
        }
        rest = after;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn stops_are_found_wherever_they_are() {
        for stop in [b'"', b'\\', 0, 1, 0x1f] {
            for len in 0..40 {
                for at in 0..len {
                    // Neighbours that look similar to the arithmetic, and bytes of other characters.
                    for fill in [b'!', b'#', b'[', b']', 0x20, 0x7f, 0x80, 0xa2, 0xdc, 0xff] {
                        let mut bytes = vec![fill; len];
                        assert_eq!(plain_len(&bytes), len, "{fill:#x}");
                        bytes[at] = stop;
                        assert_eq!(plain_len(&bytes), at, "{fill:#x} {stop:#x}");
                        bytes[at + 1..].fill(stop);
                        assert_eq!(plain_len(&bytes), at);
                    }
                }
            }
        }
    }

    /// Where the quick reader has an answer, it is the general reader's.
    fn agrees(header: &str) -> bool {
        let body = Bytes::from_static(b"body");
        let quick = decode(header.as_bytes(), &body);
        if let Some(quick) = &quick {
            assert_eq!(super::super::json::decode(header.as_bytes(), body), Ok(quick.clone()), "{header}");
        }
        quick.is_some()
    }

    #[test]
    fn the_common_form_is_read_here() {
        for header in [
            r#"{"code":105,"extFields":{"topic":"T"},"flag":0,"language":"JAVA","opaque":0,"serializeTypeCurrentRPC":"JSON","version":513}"#,
            r#"{"code":-5,"extFields":{},"flag":2,"language":"GO","opaque":-2147483648,"remark":"a\u0001\"\\\/\b\f\n\r\t\u00e4ä","version":0}"#,
            r#"{"extFields":{"i":"KEYS\u0001k\u0002","empty":""},"code":310,"extFields":{"twice":"x"}}"#,
        ] {
            assert!(agrees(header), "{header}");
        }
    }

    #[test]
    fn other_forms_are_left_to_the_general_reader() {
        for header in [
            "",
            "{}",
            "{",
            "{\"code\":",
            "{\"code\":1",
            "{\"code\":01}",
            "{\"code\":-0}",
            "{\"code\":1.0}",
            "{\"code\":1e0}",
            "{\"code\":-}",
            "{\"code\":2147483648}",
            "{\"code\":\"1\"}",
            "{\"code\":null}",
            "{\"code\" :1}",
            " {\"code\":1}",
            "{\"code\":1} ",
            "{\"code\":1,}",
            "{\"x\":1}",
            "{\"extFields\":{\"a\":1}}",
            "{\"extFields\":{\"a\\u0062\":\"1\"}}",
            "{\"extFields\":null}",
            "{\"remark\":\"\\ud83d\\ude00\"}",
            "{\"remark\":\"\\u00g0\"}",
            "{\"remark\":\"\\x\"}",
            "{\"remark\":\"\u{1}\"}",
            "{\"remark\":\"",
            "{\"remark\":\"\\",
            "{\"remark\":\"\\u12",
            "{\"remark\":\"\\u12ä\"}",
            "{\"extFields\":{\"a\":\"b\"",
            "{\"extFields\":{,}}",
        ] {
            assert!(!agrees(header), "{header}");
        }
    }

    proptest! {
        #[test]
        fn both_readers_agree(header in "\\{(\"(code|flag|opaque|extFields|remark|language|x)\":(-?[0-9]{1,11}|\"[a\\\\u0d8\"ä]{0,9}\"|\\{(\"a\":\"[b\\\\nu01]{0,8}\",?){0,2}\\}),?){0,4}\\}") {
            agrees(&header);
        }

        #[test]
        fn escapes_read_back(text in "\\PC{0,30}|[\u{0}-\u{80}]{0,30}") {
            let mut header = b"{\"remark\":\"".to_vec();
            put_escaped(&text, |part| header.extend_from_slice(part));
            header.extend_from_slice(b"\"}");
            let command = decode(&header, &Bytes::new()).unwrap();
            prop_assert_eq!(command.remark.as_deref(), Some(&*text));
            prop_assert_eq!(super::super::json::decode(&header, Bytes::new()), Ok(command));
        }
    }
}
