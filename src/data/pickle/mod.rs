//! Pickles, as far as the Python version of CIFAR needs them, and no further.
//!
//! A pickle is a program for a small stack machine, and a general unpickler calls whatever the program names. This one knows the operations that
//! dictionaries, lists, numbers, strings and NumPy arrays are written with, in protocols 2 to 4, and the four functions that these call; it builds
//! values and calls nothing. Anything else is refused by name. (The operations: `pickletools.py` in Python's library.)

mod machine;
mod operation;
mod value;

pub(super) use value::{Array, Pickle};

/// Reads the pickle at the beginning of `bytes`, or says what is wrong with it.
pub(super) fn read(bytes: &[u8]) -> Result<Pickle<'_>, String> {
    machine::Machine::new(bytes).run()
}

#[cfg(test)]
mod tests;
