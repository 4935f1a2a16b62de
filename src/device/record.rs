//! A list of everything a piece of work asks of a device: what `rocl bench` counts, times and predicts from.
//!
//! While [`record`] runs, each kernel launch, library call, copy and clearing notes its name, shape, least traffic and arithmetic, and how to do it once
//! more with the very same memory. Otherwise noting costs one look at a thread-local flag.

use crate::Result;
use std::cell::RefCell;

/// One thing a device was asked for.
pub struct Call {
    /// A kernel's name, or `conv_fprop`, `linear_dgrad`, `memcpy`, …
    pub name: &'static str,
    /// The storage type it works in, as [`Element::NAME`](crate::element::Element::NAME); of bytes and integers `u8`.
    pub element: &'static str,
    /// The logical shape, for people.
    pub shape: String,
    /// Bytes it cannot do without reading: each input once.
    pub bytes_read: u64,
    /// Bytes it cannot do without writing: each output once.
    pub bytes_written: u64,
    /// Floating-point operations, where they are what costs time: those of convolutions and products, else 0.
    pub flops: u64,
    again: Box<dyn Fn() -> Result<()>>,
}

impl Call {
    /// A call that `again` repeats; the closure keeps the memory it needs.
    pub(crate) fn new(
        name: &'static str,
        element: &'static str,
        shape: String,
        again: impl Fn() -> Result<()> + 'static,
    ) -> Self {
        Self { name, element, shape, bytes_read: 0, bytes_written: 0, flops: 0, again: Box::new(again) }
    }

    /// With its least traffic, in bytes.
    pub(crate) fn moving(self, bytes_read: u64, bytes_written: u64) -> Self {
        Self { bytes_read, bytes_written, ..self }
    }

    /// With its arithmetic.
    pub(crate) fn computing(self, flops: u64) -> Self {
        Self { flops, ..self }
    }

    /// Least traffic.
    pub fn bytes(&self) -> u64 {
        self.bytes_read + self.bytes_written
    }

    /// Does it once more, on the same memory as it now is: for timing, not for results.
    pub fn repeat(&self) -> Result<()> {
        (self.again)()
    }
}

impl std::fmt::Debug for Call {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        write!(f, "{} {}", self.name, self.shape)
    }
}

thread_local! {
    static CALLS: RefCell<Option<Vec<Call>>> = const { RefCell::new(None) };
}

/// Does `work` and returns everything it asked of the device, in order.
///
/// # Errors
/// Those of `work`.
pub fn record(work: impl FnOnce() -> Result<()>) -> Result<Vec<Call>> {
    let outer = CALLS.replace(Some(Vec::new()));
    let done = work();
    let calls = CALLS.replace(outer).unwrap_or_default();
    done.map(|()| calls)
}

/// Launches, and notes how much arithmetic that one launch is.
pub(crate) fn computing(flops: u64, launch: impl FnOnce() -> Result<()>) -> Result<()> {
    launch()?;
    CALLS.with_borrow_mut(|calls| {
        if let Some(call) = calls.as_mut().and_then(|calls| calls.last_mut()) {
            call.flops = flops;
        }
    });
    Ok(())
}

/// Notes a call while recording.
pub(crate) fn note(call: impl FnOnce() -> Call) {
    // Built outside the borrow: a call may be described by code that looks here itself.
    if CALLS.with_borrow(Option::is_some) {
        let call = call();
        CALLS.with_borrow_mut(|calls| calls.as_mut().map(|calls| calls.push(call)));
    }
}
