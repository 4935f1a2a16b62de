//! The arrays in an `.npz` file, which is a zip archive with an `.npy` file for each.

use super::npy::{self, Header};
use crate::data::numpy::IntegerType;
use crate::data::{IMAGE_BYTES, IMAGE_CHANNELS, IMAGE_SIDE, MOST_CLASSES, cannot_be_read};
use std::fs::File;
use std::io::{BufReader, Read};
use std::path::Path;
use zip::ZipArchive;
use zip::read::ZipFile;

/// Room that is made before the elements come: headers can promise anything.
const FIRST_ROOM: usize = 1 << 20;

/// An open file.
pub(super) struct Archive {
    zip: ZipArchive<BufReader<File>>,
}

/// An array whose elements are to be read.
struct Array<'a> {
    name: &'static str,
    header: Header,
    elements: ZipFile<'a, BufReader<File>>,
}

impl Archive {
    /// Opens a file, or says what is wrong with it.
    pub fn open(path: &Path) -> Result<Self, String> {
        let file = File::open(path).map_err(|error| format!("{}; check the file and its permissions", cannot_be_read(error)))?;
        let zip = ZipArchive::new(BufReader::new(file))
            .map_err(|error| format!("is no .npz file ({error}); write it with numpy.savez or numpy.savez_compressed"))?;
        Ok(Self { zip })
    }

    /// Whether there is an array of one of these names.
    pub fn has(&self, names: &[&'static str]) -> bool {
        self.find(names).is_some()
    }

    /// The labels in the array of one of these names.
    pub fn labels(&mut self, names: &[&'static str]) -> Result<Vec<u8>, String> {
        let array = self.array(names)?;
        let (name, shape) = (array.name, array.header.shape.clone());
        let Some(element) = IntegerType::parse(&array.header.descr) else {
            let descr = &array.header.descr;
            return Err(format!("has {name} of type {descr}; convert the labels to integers with {name}.astype('int64')"));
        };
        let n = match shape[..] {
            [0] | [0, 1] => return Err(format!("has no label in {name}; check how it was written")),
            [n] | [n, 1] => n,
            _ => return Err(format!("has {name} of shape {shape:?}; labels are one number an image, so reshape it to [n]")),
        };
        let bytes = array.read(n, n, element.bytes())?;
        let label = |(index, label): (usize, i128)| {
            u8::try_from(label).map_err(|_| {
                format!("has the label {label} in {name}[{index}]; number the classes from 0 to at most {}", MOST_CLASSES - 1)
            })
        };
        element.decode(&bytes).enumerate().map(label).collect()
    }

    /// The first `count` of `n` images in the array of one of these names.
    pub fn images(&mut self, names: &[&'static str], n: usize, count: usize) -> Result<Vec<u8>, String> {
        let array = self.array(names)?;
        let (name, header) = (array.name, &array.header);
        if IntegerType::parse(&header.descr) != Some(IntegerType::U8) {
            let descr = &header.descr;
            return Err(format!(
                "has {name} of type {descr}; write pixels as unsigned bytes, 0 to 255, with {name}.astype('uint8')"
            ));
        }
        if header.fortran_order {
            return Err(format!("has {name} in Fortran's order; write it again with numpy.ascontiguousarray({name})"));
        }
        let shape = header.shape.clone();
        match shape[..] {
            [images, IMAGE_SIDE, IMAGE_SIDE, IMAGE_CHANNELS] if images == n => array.read(n, count, IMAGE_BYTES),
            [images, IMAGE_SIDE, IMAGE_SIDE, IMAGE_CHANNELS] => {
                Err(format!("has {images} images in {name}, but {n} labels; write as many of both"))
            }
            [_, IMAGE_CHANNELS, IMAGE_SIDE, IMAGE_SIDE] => {
                Err(format!("has {name} with channels first; write it again with {name}.transpose(0, 2, 3, 1)"))
            }
            _ => {
                Err(format!("has {name} of shape {shape:?}; images are [n, 32, 32, 3], so resize them to 32×32 pixels in colour"))
            }
        }
    }

    fn find(&self, names: &[&'static str]) -> Option<&'static str> {
        names.iter().copied().find(|name| self.zip.index_for_name(&file_name(name)).is_some())
    }

    fn array(&mut self, names: &[&'static str]) -> Result<Array<'_>, String> {
        let name = self.find(names).ok_or_else(|| format!("has no array {}; give it that name", names.join(" or ")))?;
        let mut elements = self.zip.by_name(&file_name(name)).map_err(|error| damaged(name, error))?;
        let header = npy::read_header(&mut elements).map_err(|problem| damaged(name, problem))?;
        Ok(Array { name, header, elements })
    }
}

impl Array<'_> {
    /// The first `count` of `n` rows of `row_bytes` bytes.
    fn read(self, n: usize, count: usize, row_bytes: usize) -> Result<Vec<u8>, String> {
        let Self { name, mut elements, .. } = self;
        let needed = count.checked_mul(row_bytes).ok_or_else(|| damaged(name, "its shape is too large"))?;
        let mut bytes = Vec::with_capacity(needed.min(FIRST_ROOM));
        (&mut elements).take(needed as u64).read_to_end(&mut bytes).map_err(|error| damaged(name, error))?;
        if bytes.len() < needed {
            return Err(damaged(name, format!("{} of {needed} bytes are there", bytes.len())));
        }
        // Reading on to the end is what compares the checksum, too.
        if count == n && elements.read(&mut [0]).map_err(|error| damaged(name, error))? > 0 {
            return Err(damaged(name, "it has more elements than its shape says"));
        }
        Ok(bytes)
    }
}

fn file_name(array: &str) -> String {
    format!("{array}.npy")
}

fn damaged(array: &str, why: impl std::fmt::Display) -> String {
    format!("has a damaged array {array} ({why}); write the file again")
}
