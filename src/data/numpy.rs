//! NumPy's integers, as its pickles and its `.npy` files have them.

/// How an array of integers is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct IntegerType {
    signed: bool,
    bytes: usize,
    big_endian: bool,
}

impl IntegerType {
    /// Unsigned bytes.
    pub const U8: Self = Self { signed: false, bytes: 1, big_endian: false };

    /// Reads a description such as `<i8`, `|u1` or `u1`: byte order, kind and size in bytes. None for other types.
    pub fn parse(text: &str) -> Option<Self> {
        let (order, kind) = match text.as_bytes() {
            [order @ (b'<' | b'>' | b'|' | b'='), kind @ ..] => (*order, kind),
            kind => (b'|', kind),
        };
        let (signed, bytes) = match kind {
            [b'u', size @ (b'1' | b'2' | b'4' | b'8')] => (false, size - b'0'),
            [b'i', size @ (b'1' | b'2' | b'4' | b'8')] => (true, size - b'0'),
            _ => return None,
        };
        Some(Self { signed, bytes: bytes.into(), big_endian: order == b'>' && bytes > 1 })
    }

    /// The same in the byte order that `<`, `>`, `|` or `=` stands for.
    pub fn in_order(self, order: u8) -> Self {
        Self { big_endian: order == b'>' && self.bytes > 1, ..self }
    }

    /// Size of an element.
    pub fn bytes(self) -> usize {
        self.bytes
    }

    /// The elements in `bytes`; a rest that is no whole element is left out.
    pub fn decode(self, bytes: &[u8]) -> impl Iterator<Item = i128> + '_ {
        bytes.chunks_exact(self.bytes).map(move |element| {
            let mut little: [u8; 8] = [0; 8];
            little[..self.bytes].copy_from_slice(element);
            if self.big_endian {
                little[..self.bytes].reverse();
            }
            let unsigned = u64::from_le_bytes(little);
            // Shifted to the top and back, the element's sign fills what is above it.
            let unused = 64 - 8 * self.bytes;
            if self.signed { i128::from((unsigned << unused) as i64 >> unused) } else { i128::from(unsigned) }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_are_read() {
        let parsed = ["|u1", "u1", "<i8", ">i2", ">u1"].map(|text| IntegerType::parse(text).unwrap());
        let described = parsed.map(|t| (t.signed, t.bytes, t.big_endian));
        let expected = [(false, 1, false), (false, 1, false), (true, 8, false), (true, 2, true), (false, 1, false)];
        assert_eq!(described, expected);
        for other in ["", "<", "<f4", "|b1", "u3", "i16", "<u", "O", "<U5"] {
            assert_eq!(IntegerType::parse(other), None, "{other}");
        }
    }

    #[test]
    fn elements_are_read_in_both_orders_with_their_sign() {
        let read = |text: &str, bytes: &[u8]| IntegerType::parse(text).unwrap().decode(bytes).collect::<Vec<_>>();
        assert_eq!(read("|u1", &[0, 255]), [0, 255]);
        assert_eq!(read("|i1", &[127, 128]), [127, -128]);
        assert_eq!(read("<i2", &(-2_i16).to_le_bytes()), [-2]);
        assert_eq!(read(">i4", &(-70_000_i32).to_be_bytes()), [-70_000]);
        assert_eq!(read("<i8", &i64::MIN.to_le_bytes()), [i64::MIN.into()]);
        assert_eq!(read(">u8", &u64::MAX.to_be_bytes()), [u64::MAX.into()]);
        assert_eq!(read("<u4", &[1, 0, 0, 0, 9]), [1]);
    }
}
