//! The Huffman code of header texts, read only: what we write is plain. Source: RFC 7541, appendix B.
//!
//! The code is canonical: codes of one length are consecutive numbers in the order of their symbols, and the shorter ones come
//! first. So the lengths are all there is to know.

/// Length of each symbol's code in bits; the last one ends a text and never occurs.
const LENGTHS: [u8; 257] = [
    13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 30, 28, 28, 28,
    28, 28, 28, 28, 28, 28, 6, 10, 10, 12, 13, 6, 8, 11, 10, 10, 8, 11, 8, 6, 6, 6, 5, 5, 5, 6, 6, 6, 6, 6,
    6, 6, 7, 8, 15, 6, 12, 10, 13, 6, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 8, 7,
    8, 13, 19, 13, 14, 6, 15, 5, 6, 5, 6, 5, 6, 6, 6, 5, 7, 7, 6, 6, 6, 5, 6, 7, 6, 5, 5, 6, 7, 7, 7, 7, 7,
    15, 11, 14, 13, 28, 20, 22, 20, 20, 22, 22, 22, 23, 22, 23, 23, 23, 23, 23, 24, 23, 24, 24, 22, 23, 24,
    23, 23, 23, 23, 21, 22, 23, 22, 23, 23, 24, 22, 21, 20, 22, 22, 23, 23, 21, 23, 22, 22, 24, 21, 22, 23,
    23, 21, 21, 22, 21, 23, 22, 23, 23, 20, 22, 22, 22, 23, 22, 22, 23, 26, 26, 20, 19, 22, 23, 22, 25, 26,
    26, 26, 27, 27, 26, 24, 25, 19, 21, 26, 27, 27, 26, 27, 24, 21, 21, 26, 26, 28, 27, 27, 27, 20, 24, 20,
    21, 22, 21, 21, 23, 22, 22, 25, 25, 24, 24, 26, 23, 26, 27, 26, 26, 27, 27, 27, 27, 27, 28, 27, 27, 27,
    27, 27, 26, 30,
];

const SHORTEST: usize = 5;
const LONGEST: usize = 30;
const END_OF_TEXT: u16 = 256;

/// What decoding needs, made of [`LENGTHS`] once.
struct Code {
    /// By length: the first number that is larger than all codes of that length and shorter ones, put to the left of 32 bits.
    limits: [u64; LONGEST + 1],
    /// By length: the place of the first code's symbol in `symbols`, less the code's own number.
    places: [i64; LONGEST + 1],
    /// Symbols in the order of their codes.
    symbols: [u16; 257],
}

const CODE: Code = code();

#[allow(clippy::indexing_slicing)] // holds because the compiler evaluates it
const fn code() -> Code {
    let mut code = Code { limits: [0; LONGEST + 1], places: [0; LONGEST + 1], symbols: [0; 257] };
    let (mut next, mut place, mut length) = (0u64, 0usize, SHORTEST);
    while length <= LONGEST {
        code.places[length] = place as i64 - next as i64;
        let mut symbol = 0;
        while symbol < LENGTHS.len() {
            if LENGTHS[symbol] as usize == length {
                code.symbols[place] = symbol as u16;
                place += 1;
                next += 1;
            }
            symbol += 1;
        }
        code.limits[length] = next << (32 - length);
        next <<= 1;
        length += 1;
    }
    code
}

/// Appends what `text` stands for to `out`. False if it is not of this code, or longer than `max` bytes.
pub(super) fn decode(text: &[u8], max: usize, out: &mut Vec<u8>) -> bool {
    // `bits` bits of the text that were not decoded, at the left of `window`.
    let (mut window, mut bits, mut rest) = (0u64, 0usize, text.iter());
    loop {
        while bits <= 56
            && let Some(byte) = rest.next()
        {
            window |= u64::from(*byte) << (56 - bits);
            bits += 8;
        }
        let head = window >> 32;
        let found = (SHORTEST..=LONGEST).find(|&length| CODE.limits.get(length).is_some_and(|l| head < *l));
        match found.filter(|&length| length <= bits) {
            Some(length) => {
                let number = (head >> (32 - length)) as i64 + CODE.places.get(length).copied().unwrap_or(0);
                let symbol = usize::try_from(number).ok().and_then(|number| CODE.symbols.get(number));
                let Some(byte) = symbol.filter(|s| **s != END_OF_TEXT && out.len() < max) else {
                    return false;
                };
                out.push(*byte as u8);
                window <<= length;
                bits -= length;
            }
            // What is left is the beginning of the end's code, all ones, and less than a byte.
            None => return bits < 8 && window == !(u64::MAX.checked_shr(bits as u32).unwrap_or(0)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &[u8]) -> Option<String> {
        let mut out = Vec::new();
        decode(text, 100, &mut out).then(|| String::from_utf8(out).unwrap())
    }

    /// RFC 7541, appendix C.4 and C.6.
    #[test]
    fn examples_of_the_standard() {
        let cases: [(&[u8], &str); 5] = [
            (&[0xf1, 0xe3, 0xc2, 0xe5, 0xf2, 0x3a, 0x6b, 0xa0, 0xab, 0x90, 0xf4, 0xff], "www.example.com"),
            (&[0xa8, 0xeb, 0x10, 0x64, 0x9c, 0xbf], "no-cache"),
            (&[0x64, 0x02], "302"),
            (
                &[
                    0xd0, 0x7a, 0xbe, 0x94, 0x10, 0x54, 0xd4, 0x44, 0xa8, 0x20, 0x05, 0x95, 0x04, 0x0b, 0x81,
                    0x66, 0xe0, 0x82, 0xa6, 0x2d, 0x1b, 0xff,
                ],
                "Mon, 21 Oct 2013 20:13:21 GMT",
            ),
            (&[], ""),
        ];
        for (text, want) in cases {
            assert_eq!(read(text).as_deref(), Some(want));
        }
    }

    #[test]
    fn what_is_no_text_is_refused() {
        // The end's code in the text, a whole byte of it behind, other bits than ones behind.
        for bad in [&[0xff, 0xff, 0xff, 0xfc][..], &[0x64, 0x02, 0xff], &[0x64], &[0xf1, 0xe2]] {
            assert_eq!(read(bad), None, "{bad:x?}");
        }
        assert!(!decode(&[0x64, 0x02], 2, &mut Vec::new()), "longer than may be");
    }

    /// Every byte has its code: written with the code as the standard builds it, and read back.
    #[test]
    fn every_byte_is_read() {
        for byte in 0..=255u8 {
            let place = CODE.symbols.iter().position(|s| *s == u16::from(byte)).unwrap();
            let length = LENGTHS[usize::from(byte)] as usize;
            let code = (place as i64 - CODE.places[length]) as u64;
            // Twice, and the rest ones.
            let mut bits: u128 = u128::MAX;
            for at in [0, length] {
                let mask = ((1u128 << length) - 1) << (128 - at - length);
                bits = bits & !mask | (u128::from(code) << (128 - at - length));
            }
            let text = bits.to_be_bytes();
            let mut out = Vec::new();
            assert!(decode(&text[..(2 * length).div_ceil(8)], 9, &mut out), "{byte}");
            assert_eq!(out, [byte, byte]);
        }
    }
}
