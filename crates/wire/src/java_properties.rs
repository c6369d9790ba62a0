//! Reading Java properties files. Source of the format: the documentation of `java.util.Properties.load`.

/// One `key=value` with the number of the line that it begins on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    pub line: usize,
    pub key: String,
    pub value: String,
}

/// All entries in order.
///
/// # Errors
/// The number of a line and what is wrong with it: a malformed `\u` escape is the only possibility.
pub fn parse(text: &str) -> Result<Vec<Entry>, (usize, String)> {
    let mut entries = Vec::new();
    let mut lines = natural_lines(text).enumerate().map(|(i, l)| (i + 1, l));
    while let Some((number, line)) = lines.next() {
        let line = line.trim_start_matches(is_blank);
        if line.is_empty() || line.starts_with(['#', '!']) {
            continue;
        }
        let mut logical = line.to_owned();
        while ends_with_open_backslash(&logical) {
            logical.pop();
            let Some((_, next)) = lines.next() else { break };
            logical.push_str(next.trim_start_matches(is_blank));
        }
        let (key, value) = split(&logical);
        let unescape = |part| unescape(part).map_err(|why| (number, why));
        entries.push(Entry { line: number, key: unescape(key)?, value: unescape(value)? });
    }
    Ok(entries)
}

/// Lines end with CR, LF or both.
fn natural_lines(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = Some(text);
    std::iter::from_fn(move || {
        let text = rest?;
        let Some(end) = text.find(['\r', '\n']) else { return rest.take() };
        let (line, tail) = text.split_at_checked(end)?;
        rest = tail.strip_prefix("\r\n").or_else(|| tail.get(1..));
        Some(line)
    })
}

fn is_blank(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\x0c')
}

fn ends_with_open_backslash(line: &str) -> bool {
    line.bytes().rev().take_while(|b| *b == b'\\').count() % 2 == 1
}

/// The key ends at the first `=`, `:` or blank that no backslash precedes.
fn split(line: &str) -> (&str, &str) {
    let mut escaped = false;
    let end = line.find(|c| {
        let ends = !escaped && (matches!(c, '=' | ':') || is_blank(c));
        escaped = c == '\\' && !escaped;
        ends
    });
    let (key, rest) = line.split_at(end.unwrap_or(line.len()));
    let rest = rest.trim_start_matches(is_blank);
    let value = rest.strip_prefix(['=', ':']).unwrap_or(rest);
    (key, value.trim_start_matches(is_blank))
}

fn unescape(text: &str) -> Result<String, String> {
    let mut units: Vec<u16> = Vec::with_capacity(text.len());
    let mut chars = text.chars();
    let push = |units: &mut Vec<u16>, c: char| units.extend_from_slice(c.encode_utf16(&mut [0; 2]));
    while let Some(c) = chars.next() {
        if c != '\\' {
            push(&mut units, c);
            continue;
        }
        match chars.next() {
            Some('t') => push(&mut units, '\t'),
            Some('n') => push(&mut units, '\n'),
            Some('r') => push(&mut units, '\r'),
            Some('f') => push(&mut units, '\x0c'),
            Some('u') => {
                let digits: String = chars.by_ref().take(4).collect();
                let all_hex = digits.len() == 4 && digits.bytes().all(|b| b.is_ascii_hexdigit());
                let unit = u16::from_str_radix(&digits, 16).ok().filter(|_| all_hex);
                units.push(
                    unit.ok_or_else(|| format!("\\u{digits} is not an escape: four hex digits must follow"))?,
                );
            }
            Some(other) => push(&mut units, other),
            None => {}
        }
    }
    // Pairs of \u escapes may form one character; half of a pair alone is no character.
    Ok(String::from_utf16_lossy(&units))
}

/// The bytes of a file as text: UTF-8, or, as Java reads it, Latin-1.
pub fn text_of(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) => text.strip_prefix('\u{feff}').unwrap_or(text).to_owned(),
        Err(_) => bytes.iter().map(|b| char::from(*b)).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What `java.util.Properties` makes of the same text (checked with JDK 17).
    #[test]
    fn as_java_reads_it() {
        let text = "# comment\n! another \\\n  a = 1\nb:2\nc 3\r\nd\t=\t 4 \re=\n f\n\ng\\ h\\=i = j\\\n   k\\\n\n\
                    l = a\\tb\\u0041\\x\\\\\nm==n\n= o\np = x # y\nq=\\ud83d\\ude00\nlast=1\\";
        let got: Vec<(usize, String, String)> =
            parse(text).unwrap().into_iter().map(|e| (e.line, e.key, e.value)).collect();
        let want = [
            (3, "a", "1"),
            (4, "b", "2"),
            (5, "c", "3"),
            (6, "d", "4 "),
            (7, "e", ""),
            (8, "f", ""),
            (10, "g h=i", "jk"),
            (13, "l", "a\tbAx\\"),
            (14, "m", "=n"),
            (15, "", "o"),
            (16, "p", "x # y"),
            (17, "q", "😀"),
            (18, "last", "1"),
        ];
        assert_eq!(got, want.map(|(l, k, v)| (l, k.to_owned(), v.to_owned())));
    }

    #[test]
    fn a_bad_escape_is_named_with_its_line() {
        let error = parse("a=1\nb=\\u12G4").unwrap_err();
        assert_eq!(error, (2, "\\u12G4 is not an escape: four hex digits must follow".to_owned()));
    }

    #[test]
    fn text_in_utf8_or_latin1() {
        assert_eq!(text_of("\u{feff}ä=ö".as_bytes()), "ä=ö");
        assert_eq!(text_of(b"a=\xe4"), "a=ä");
    }

    proptest::proptest! {
        #[test]
        fn any_text_parses_or_is_refused(text in ".*") {
            let _ = parse(&text);
        }
    }
}
