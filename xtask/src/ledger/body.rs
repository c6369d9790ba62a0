//! Bodies that are a function of who sent them and as which.

/// Xorshift: good enough to be unlike everything else on the disk, and the same on every machine.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        let mut random = Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1);
        for _ in 0..8 {
            random.next();
        }
        random
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    /// Including both ends.
    pub(crate) fn between(&mut self, from: u64, to: u64) -> u64 {
        from + self.next() % (to - from + 1)
    }
}

/// `KLXL | producer u32 | number u64`, then up to 8 KiB that depend on both.
pub(crate) fn body(producer: u32, number: u64) -> Vec<u8> {
    let mut random = Random::new((u64::from(producer) << 48) ^ number);
    let len = match random.next() % 16 {
        0 => random.between(0, 8 << 10),
        1 => 0,
        _ => random.between(1, 1 << 10),
    };
    let mut body = b"KLXL".to_vec();
    body.extend_from_slice(&producer.to_be_bytes());
    body.extend_from_slice(&number.to_be_bytes());
    body.extend(std::iter::repeat_with(|| random.next() as u8).take(len as usize));
    body
}

/// Who a body says sent it.
pub(crate) fn origin(body: &[u8]) -> Option<(u32, u64)> {
    let rest = body.strip_prefix(b"KLXL")?;
    let (producer, rest) = rest.split_first_chunk()?;
    let number = rest.first_chunk()?;
    Some((u32::from_be_bytes(*producer), u64::from_be_bytes(*number)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bodies_say_where_they_come_from_and_differ() {
        assert_eq!(origin(&body(3, 77)), Some((3, 77)));
        assert_eq!(body(3, 77), body(3, 77));
        assert_ne!(body(3, 77)[16..], body(3, 78)[16..]);
        assert_eq!(origin(b"KLXL"), None);
    }
}
