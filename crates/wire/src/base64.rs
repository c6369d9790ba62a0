//! Base64, of the kind for addresses when written, of either kind when read.

const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// Appends `bytes` with padding.
pub fn encode(bytes: &[u8], out: &mut String) {
    for chunk in bytes.chunks(3) {
        let bits =
            chunk.iter().fold(0_u32, |bits, byte| bits << 8 | u32::from(*byte)) << (8 * (3 - chunk.len()));
        for place in 0..4 {
            let letter = LETTERS.get((bits >> (18 - 6 * place) & 63) as usize).copied().unwrap_or_default();
            out.push(char::from(if place > chunk.len() { b'=' } else { letter }));
        }
    }
}

/// `None` if the text is no base64, or longer than `text_bytes_max`.
pub(crate) fn decode(text: &str, text_bytes_max: usize) -> Option<Vec<u8>> {
    let text = text.trim_end_matches('=').as_bytes();
    if text.len() > text_bytes_max {
        return None;
    }
    let number = |letter: &u8| match letter {
        b'+' => Some(62),
        b'/' => Some(63),
        _ => LETTERS.iter().position(|known| known == letter),
    };
    let mut out = Vec::with_capacity(text.len());
    for chunk in text.chunks(4) {
        let mut bits = 0_u32;
        for letter in chunk {
            bits = bits << 6 | number(letter)? as u32;
        }
        let bytes = (bits << (6 * (4 - chunk.len()))).to_be_bytes();
        out.extend_from_slice(bytes.get(1..chunk.len())?);
    }
    Some(out)
}
