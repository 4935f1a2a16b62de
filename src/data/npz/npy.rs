//! The header of an `.npy` file: a magic string, a version, a length, and a Python dictionary such as
//! `{'descr': '|u1', 'fortran_order': False, 'shape': (10000, 32, 32, 3), }` (NumPy Enhancement Proposal 1).

use std::io::Read;

const MAGIC: &[u8] = b"\x93NUMPY";

/// Bytes of a header. NumPy's have 128 for arrays that are no structures.
const MOST_BYTES: usize = 1 << 12;

/// What the header says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Header {
    /// Type of the elements, such as `|u1`.
    pub descr: String,
    /// Whether the first index, not the last, changes fastest.
    pub fortran_order: bool,
    /// Extents.
    pub shape: Vec<usize>,
}

/// Reads up to the elements, or says what is wrong.
pub(super) fn read_header(file: &mut impl Read) -> Result<Header, String> {
    let mut start = [0; 8];
    read(file, &mut start)?;
    let length = match start.strip_prefix(MAGIC) {
        Some([1, _]) => {
            let mut length = [0; 2];
            read(file, &mut length)?;
            usize::from(u16::from_le_bytes(length))
        }
        Some([2 | 3, _]) => {
            let mut length = [0; 4];
            read(file, &mut length)?;
            u32::from_le_bytes(length) as usize
        }
        _ => return Err("it does not begin as an .npy file of version 1 to 3".to_owned()),
    };
    if length > MOST_BYTES {
        return Err(format!("its header has {length} bytes"));
    }
    let mut text = vec![0; length];
    read(file, &mut text)?;
    let text = str::from_utf8(&text).map_err(|_| "its header is no text")?;
    parse(text).ok_or_else(|| "its header is none of a plain array".to_owned())
}

fn read(file: &mut impl Read, bytes: &mut [u8]) -> Result<(), String> {
    file.read_exact(bytes).map_err(|error| error.to_string())
}

/// The dictionary, whose keys may be in any order.
fn parse(text: &str) -> Option<Header> {
    let mut rest = text.trim().strip_prefix('{')?;
    let (mut descr, mut fortran_order, mut shape) = (None, None, None);
    loop {
        rest = rest.trim_start();
        if rest == "}" {
            return Some(Header { descr: descr?, fortran_order: fortran_order?, shape: shape? });
        }
        let (key, behind) = string(rest)?;
        rest = behind.trim_start().strip_prefix(':')?.trim_start();
        match key {
            "descr" => {
                let (value, behind) = string(rest)?;
                (descr, rest) = (Some(value.to_owned()), behind);
            }
            "fortran_order" => {
                let (value, behind) = truth(rest)?;
                (fortran_order, rest) = (Some(value), behind);
            }
            "shape" => {
                let (value, behind) = rest.strip_prefix('(')?.split_once(')')?;
                (shape, rest) = (Some(extents(value)?), behind);
            }
            _ => return None,
        }
        rest = rest.trim_start();
        rest = if rest == "}" { rest } else { rest.strip_prefix(',')? };
    }
}

/// A string of plain characters, since it may come to be shown.
fn string(text: &str) -> Option<(&str, &str)> {
    text.strip_prefix('\'')?.split_once('\'').filter(|(value, _)| value.bytes().all(|byte| byte.is_ascii_graphic()))
}

fn truth(text: &str) -> Option<(bool, &str)> {
    let (yes, no) = (text.strip_prefix("True"), text.strip_prefix("False"));
    yes.map(|rest| (true, rest)).or(no.map(|rest| (false, rest)))
}

/// What is between the brackets of a tuple of numbers.
fn extents(text: &str) -> Option<Vec<usize>> {
    let text = text.trim();
    let items = text.strip_suffix(',').unwrap_or(text);
    if items.is_empty() { Some(Vec::new()) } else { items.split(',').map(|item| item.trim().parse().ok()).collect() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(descr: &str, fortran_order: bool, shape: &[usize]) -> Option<Header> {
        Some(Header { descr: descr.into(), fortran_order, shape: shape.into() })
    }

    #[test]
    fn dictionaries_as_numpy_writes_them() {
        let images = "{'descr': '|u1', 'fortran_order': False, 'shape': (10, 32, 32, 3), }     \n";
        assert_eq!(parse(images), header("|u1", false, &[10, 32, 32, 3]));
        assert_eq!(parse("{'descr': '<i8', 'fortran_order': False, 'shape': (7,), }\n"), header("<i8", false, &[7]));
        assert_eq!(parse("{'shape': (), 'descr': '<f4', 'fortran_order': True}"), header("<f4", true, &[]));
    }

    #[test]
    fn anything_else_is_none() {
        let wrong = [
            "",
            "{}",
            "{'descr': '|u1', 'fortran_order': False}",
            "{'descr': [('a', '<i4')], 'fortran_order': False, 'shape': (1,)}",
            "{'descr': '|u1', 'fortran_order': 0, 'shape': (1,)}",
            "{'descr': '|u1', 'fortran_order': False, 'shape': (-1,)}",
            "{'descr': '|u1', 'fortran_order': False, 'shape': (1 2)}",
            "{'descr': '|u1', 'fortran_order': False, 'shape': (99999999999999999999,)}",
            "{'descr': '|u1' 'fortran_order': False, 'shape': (1,)}",
            "{'descr': '|u1', 'fortran_order': False, 'shape': (1,), 'more': 1}",
            "{'descr': '|u1', 'fortran_order': False, 'shape': (1,)} 1",
            "{'descr': '\u{1b}[31m', 'fortran_order': False, 'shape': (1,)}",
        ];
        for text in wrong {
            assert_eq!(parse(text), None, "{text}");
        }
    }

    #[test]
    fn every_version_is_read() {
        let text = b"{'descr': '|u1', 'fortran_order': False, 'shape': (1,), }\n";
        let length = text.len() as u32;
        for version in 1..=3 {
            let prefix = if version == 1 { (length as u16).to_le_bytes().to_vec() } else { length.to_le_bytes().to_vec() };
            let file = [MAGIC, &[version, 0], &prefix, text, &[77]].concat();
            let mut rest = &file[..];
            assert_eq!(read_header(&mut rest).ok(), header("|u1", false, &[1]));
            assert_eq!(rest, [77], "the elements are what is left");
        }
        assert!(read_header(&mut &b"\x93NUMPY\x04\x00\x00\x00"[..]).unwrap_err().contains("version 1 to 3"));
        assert!(read_header(&mut &b"\x93NUMPY\x02\x00\xff\xff\xff\xff"[..]).unwrap_err().contains("4294967295 bytes"));
        assert!(read_header(&mut &b"\x93NUM"[..]).is_err());
    }
}
