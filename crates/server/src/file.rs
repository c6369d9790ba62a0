//! Files that people and other programs write.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

/// The whole of a file.
///
/// # Errors
/// It cannot be read, or is longer than `bytes_max`.
pub(crate) fn read(path: &Path, bytes_max: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let len = File::open(path)?.take(bytes_max + 1).read_to_end(&mut bytes)?;
    match len as u64 > bytes_max {
        true => Err(io::Error::other(format!("it is longer than {bytes_max} bytes"))),
        false => Ok(bytes),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_longer_than_it_may_be_is_not_read_further() {
        let zeros = Path::new("/dev/zero");
        assert_eq!(read(zeros, 9).unwrap_err().to_string(), "it is longer than 9 bytes");
        assert!(read(Path::new("/dev/null"), 0).unwrap().is_empty());
    }
}
