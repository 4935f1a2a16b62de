//! SHA-256 sums (FIPS 180-4).

use sha2::{Digest, Sha256};
use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::str::FromStr;

/// A SHA-256, written as 64 hexadecimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Sha256Sum([u8; 32]);

impl Sha256Sum {
    /// The sum that is written down in the program: at compile time, as digits that are none do not compile.
    pub(super) const fn literal(digits: &str) -> Self {
        let digits = digits.as_bytes();
        let (mut sum, mut at) = ([0; 32], 0);
        while at < 64 {
            let digit = match digits[at] {
                digit @ b'0'..=b'9' => digit - b'0',
                digit @ b'a'..=b'f' => digit - b'a' + 10,
                _ => panic!("no hexadecimal digit"),
            };
            sum[at / 2] = sum[at / 2] << 4 | digit;
            at += 1;
        }
        Self(sum)
    }

    /// That of a file.
    ///
    /// # Errors
    /// Those of reading it.
    pub fn of(path: &Path) -> io::Result<Self> {
        let mut file = File::open(path)?;
        let (mut sum, mut buffer) = (Sha256::new(), vec![0; 1 << 16]);
        loop {
            match file.read(&mut buffer)? {
                0 => return Ok(Self(sum.finalize().into())),
                count => sum.update(&buffer[..count]),
            }
        }
    }
}

impl FromStr for Sha256Sum {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let digits: Option<Vec<u8>> = text.chars().map(|c| c.to_digit(16).map(|digit| digit as u8)).collect();
        let bytes = digits.map(|digits| {
            digits.chunks(2).map(|pair| pair[0] << 4 | pair.get(1).copied().unwrap_or_default()).collect::<Vec<_>>()
        });
        let sum = bytes.filter(|_| text.len() == 64).and_then(|bytes| bytes.try_into().ok());
        sum.map(Self).ok_or_else(|| "a SHA-256 has 64 hexadecimal digits".to_owned())
    }
}

impl fmt::Display for Sha256Sum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The examples of FIPS 180-4's companion, "SHA Examples": one block, and a message longer than the buffer.
    #[test]
    fn published_examples() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("message");
        let examples = [
            (b"abc".to_vec(), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"),
            (vec![b'a'; 1_000_000], "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0"),
        ];
        for (message, sum) in examples {
            std::fs::write(&path, message).unwrap();
            assert_eq!(Sha256Sum::of(&path).unwrap().to_string(), sum);
            assert_eq!(sum.to_uppercase().parse(), Ok(Sha256Sum::of(&path).unwrap()));
        }
    }

    #[test]
    fn other_texts_are_no_sums() {
        for text in ["", "abc", &"0".repeat(63), &"0".repeat(65), &"g".repeat(64), &"é".repeat(32)] {
            assert!(text.parse::<Sha256Sum>().is_err(), "{text}");
        }
    }
}
