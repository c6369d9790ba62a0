//! The words of a condition.

use super::SqlError;

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Token {
    Name(String),
    Text(String),
    /// Digits, perhaps with an `L` behind them.
    Whole(String),
    Fraction(String),
    And,
    Between,
    Contains,
    EndsWith,
    False,
    In,
    Is,
    Not,
    Null,
    Or,
    StartsWith,
    True,
    Equal,
    Unequal,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    Open,
    Close,
    Comma,
    Plus,
    Minus,
    End,
}

const WORDS: [(&str, Token); 12] = [
    ("AND", Token::And),
    ("BETWEEN", Token::Between),
    ("CONTAINS", Token::Contains),
    ("ENDSWITH", Token::EndsWith),
    ("FALSE", Token::False),
    ("IN", Token::In),
    ("IS", Token::Is),
    ("NOT", Token::Not),
    ("NULL", Token::Null),
    ("OR", Token::Or),
    ("STARTSWITH", Token::StartsWith),
    ("TRUE", Token::True),
];

const SIGNS: [(&str, Token); 11] = [
    ("<>", Token::Unequal),
    ("<=", Token::LessOrEqual),
    (">=", Token::GreaterOrEqual),
    ("<", Token::Less),
    (">", Token::Greater),
    ("=", Token::Equal),
    ("(", Token::Open),
    (")", Token::Close),
    (",", Token::Comma),
    ("+", Token::Plus),
    ("-", Token::Minus),
];

/// All words with where they begin; the last is [`Token::End`].
pub(super) fn tokens(text: &str) -> Result<Vec<(usize, Token)>, SqlError> {
    let mut tokens = Vec::new();
    let mut rest = text;
    let at = |rest: &str| text.len() - rest.len();
    loop {
        rest = skip(rest).map_err(|(left, why)| SqlError { at: at(left), why })?;
        let begin = at(rest);
        if rest.is_empty() {
            tokens.push((begin, Token::End));
            return Ok(tokens);
        }
        let (token, left) = next(rest).map_err(|why| SqlError { at: begin, why })?;
        tokens.push((begin, token));
        rest = left;
    }
}

/// Passes over blanks and comments; or what is left where one has no end.
fn skip(mut rest: &str) -> Result<&str, (&str, String)> {
    loop {
        rest = rest.trim_start_matches([' ', '\t', '\n', '\r', '\u{c}']);
        if let Some(comment) = rest.strip_prefix("--") {
            rest = comment.find(['\n', '\r']).and_then(|end| comment.get(end..)).unwrap_or_default();
        } else if let Some(comment) = rest.strip_prefix("/*") {
            let end = comment.find("*/").ok_or((rest, "the comment has no end".to_owned()))?;
            rest = comment.get(end + 2..).unwrap_or_default();
        } else {
            return Ok(rest);
        }
    }
}

fn next(rest: &str) -> Result<(Token, &str), String> {
    let first = rest.chars().next().unwrap_or_default();
    if first == '\'' {
        return quoted(rest);
    }
    let number = |c: char| c.is_ascii_digit();
    if number(first) || (first == '.' && rest.chars().nth(1).is_some_and(number)) {
        return Ok(digits(rest));
    }
    if first.is_ascii_alphabetic() || first == '_' || first == '$' {
        let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_' && c != '$');
        let (word, left) = rest.split_at(end.unwrap_or(rest.len()));
        let known = WORDS.iter().find(|(known, _)| known.eq_ignore_ascii_case(word));
        return Ok((known.map_or_else(|| Token::Name(word.to_owned()), |(_, token)| token.clone()), left));
    }
    let sign = SIGNS.iter().find_map(|(sign, token)| Some((token.clone(), rest.strip_prefix(sign)?)));
    sign.ok_or_else(|| format!("{first:?} means nothing here"))
}

/// A text in single quotes, in which two of them stand for one.
fn quoted(rest: &str) -> Result<(Token, &str), String> {
    let mut text = String::new();
    let mut left = rest.get(1..).unwrap_or_default();
    loop {
        let end = left.find('\'').ok_or("the text has no closing quote")?;
        let (part, behind) = left.split_at(end);
        text.push_str(part);
        left = behind.get(1..).unwrap_or_default();
        match left.strip_prefix('\'') {
            Some(more) => {
                text.push('\'');
                left = more;
            }
            None => return Ok((Token::Text(text), left)),
        }
    }
}

/// `0`, `12`, `12L`, `1.5`, `1.`, `.5`, `5E10`, `1.5E-3`.
fn digits(rest: &str) -> (Token, &str) {
    let run = |at: usize| rest.bytes().skip(at).take_while(u8::is_ascii_digit).count();
    let byte = |at: usize| rest.as_bytes().get(at).copied().unwrap_or_default();
    let mut end = run(0);
    let mut whole = true;
    if byte(end) == b'.' {
        end += 1;
        end += run(end);
        whole = false;
    }
    if byte(end).eq_ignore_ascii_case(&b'e') {
        let signed = usize::from(matches!(byte(end + 1), b'+' | b'-'));
        let exponent = run(end + 1 + signed);
        if exponent > 0 {
            end += 1 + signed + exponent;
            whole = false;
        }
    }
    let (number, left) = rest.split_at(end);
    match left.strip_prefix(['l', 'L']).filter(|_| whole) {
        Some(left) => (Token::Whole(format!("{number}L")), left),
        None if whole => (Token::Whole(number.to_owned()), left),
        None => (Token::Fraction(number.to_owned()), left),
    }
}
