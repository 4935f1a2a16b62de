//! What a pickle describes.

use crate::data::numpy::IntegerType;
use std::borrow::Cow;

/// Where a value lies among all of them.
pub(super) type Id = u32;

/// A value; those inside it by their places, since a pickle may have one value in several.
#[derive(Debug)]
pub(super) enum Value<'a> {
    None,
    Bool(bool),
    Integer(i32),
    /// A string of either kind: Python 2's is bytes, and the readers ask for text in ASCII only.
    Bytes(Cow<'a, [u8]>),
    Tuple(Vec<Id>),
    List(Vec<Id>),
    /// Keys and values.
    Dict(Vec<(Id, Id)>),
    Function(Function),
    Type(IntegerType),
    /// None until its state is known.
    Array(Option<Array<'a>>),
}

impl Value<'_> {
    /// What kind of value it is, for messages.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::None => "None",
            Self::Bool(_) => "a truth value",
            Self::Integer(_) => "a number",
            Self::Bytes(_) => "a string",
            Self::Tuple(_) => "a tuple",
            Self::List(_) => "a list",
            Self::Dict(_) => "a dictionary",
            Self::Function(_) => "a function",
            Self::Type(_) => "a type of numbers",
            Self::Array(_) => "an array",
        }
    }
}

/// The functions that a pickle may name, all of which this program carries out itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Function {
    /// `numpy.core.multiarray._reconstruct`: an array without its state.
    Reconstruct,
    /// `numpy.ndarray`, the array type that `_reconstruct` is given.
    Ndarray,
    /// `numpy.dtype`.
    Dtype,
    /// `_codecs.encode`: how Python 3 writes bytes in protocol 2.
    Encode,
}

impl Function {
    /// The function of that name, if it is one of them. NumPy 2 calls its inner module `_core`.
    pub fn named(module: &[u8], name: &[u8]) -> Option<Self> {
        match (module, name) {
            (b"numpy.core.multiarray" | b"numpy._core.multiarray", b"_reconstruct") => Some(Self::Reconstruct),
            (b"numpy", b"ndarray") => Some(Self::Ndarray),
            (b"numpy", b"dtype") => Some(Self::Dtype),
            (b"_codecs", b"encode") => Some(Self::Encode),
            _ => None,
        }
    }
}

/// An array of integers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Array<'a> {
    /// Extents.
    pub shape: Vec<usize>,
    /// What its elements are.
    pub element: IntegerType,
    /// Whether the first index, not the last, changes fastest.
    pub fortran: bool,
    /// The elements: as many bytes as shape and type say.
    pub bytes: Cow<'a, [u8]>,
}

/// A pickle whose outermost value is a dictionary.
#[derive(Debug)]
pub(crate) struct Pickle<'a> {
    values: Vec<Value<'a>>,
    items: Vec<(Id, Id)>,
}

impl<'a> Pickle<'a> {
    /// The dictionary at `root` among `values`.
    pub(super) fn new(values: Vec<Value<'a>>, root: Id) -> Result<Self, String> {
        match &values[root as usize] {
            Value::Dict(items) => Ok(Self { items: items.clone(), values }),
            other => Err(format!("holds {} where a dictionary is needed", other.kind())),
        }
    }

    /// The array under a key.
    pub fn array(&self, key: &str) -> Result<&Array<'a>, String> {
        match self.get(key)? {
            Value::Array(Some(array)) => Ok(array),
            other => Err(format!("has {} under `{key}` where an array is needed", other.kind())),
        }
    }

    /// The integers under a key: a list of numbers, or an array of one dimension.
    pub fn integers(&self, key: &str) -> Result<Vec<i128>, String> {
        let integer = |id: &Id| match &self.values[*id as usize] {
            Value::Integer(number) => Ok(i128::from(*number)),
            other => Err(format!("has {} in `{key}` where a number is needed", other.kind())),
        };
        match self.get(key)? {
            Value::List(items) => items.iter().map(integer).collect(),
            Value::Array(Some(array)) if array.shape.len() == 1 => Ok(array.element.decode(&array.bytes).collect()),
            other => Err(format!("has {} under `{key}` where a list of numbers is needed", other.kind())),
        }
    }

    fn get(&self, key: &str) -> Result<&Value<'a>, String> {
        let is_key = |id: Id| matches!(&self.values[id as usize], Value::Bytes(bytes) if bytes[..] == *key.as_bytes());
        let found = self.items.iter().find(|(id, _)| is_key(*id));
        found.map(|(_, id)| &self.values[*id as usize]).ok_or_else(|| format!("has no `{key}`"))
    }
}
