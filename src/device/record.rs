//! A list of everything a piece of work asks of a device: what `rocl bench` counts, times and predicts from.
//!
//! While [`record`] runs, each kernel launch, library call, copy and clearing notes its name, shape, least traffic and arithmetic, and how to do it once
//! more with the very same memory; while [`plan`] runs, it does only that. Otherwise noting costs one look at a thread-local flag.

use crate::Result;
use std::cell::RefCell;
use std::rc::Rc;

/// One thing a device was asked for.
#[derive(Clone)]
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
    /// Floating-point operations, where they grow faster than the traffic and so may be what costs time: two for each multiplication and addition
    /// of convolutions, matrix products and contrastive losses, as the call's algorithm does them. Else 0: what does so many operations for each
    /// number that it moves is bound by moving it.
    pub flops: u64,
    again: Rc<dyn Fn() -> Result<()>>,
}

impl Call {
    /// A call that `again` repeats; the closure keeps the memory it needs.
    pub(crate) fn new(
        name: &'static str,
        element: &'static str,
        shape: String,
        again: impl Fn() -> Result<()> + 'static,
    ) -> Self {
        Self { name, element, shape, bytes_read: 0, bytes_written: 0, flops: 0, again: Rc::new(again) }
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

    /// Does it once more, on the same memory as it now is: for timing, not for results. Is recorded like the first time.
    pub fn repeat(&self) -> Result<()> {
        perform(|| (self.again)(), || self.clone())
    }
}

impl std::fmt::Debug for Call {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        write!(f, "{} {}", self.name, self.shape)
    }
}

/// What is listed at the moment.
struct List {
    calls: Vec<Call>,
    /// Whether the calls are done as well.
    performed: bool,
}

thread_local! {
    static LIST: RefCell<Option<List>> = const { RefCell::new(None) };
}

/// Does `work` and returns everything it asked of the device, in order.
///
/// # Errors
/// Those of `work`.
pub fn record(work: impl FnOnce() -> Result<()>) -> Result<Vec<Call>> {
    list(true, work)
}

/// Returns everything that `work` asks of the device, in order, and does none of it: each call can be [repeated](Call::repeat) for the first time, on
/// the memory that it would have had, whatever that holds.
///
/// # Errors
/// Those of `work`.
pub fn plan(work: impl FnOnce() -> Result<()>) -> Result<Vec<Call>> {
    list(false, work)
}

fn list(performed: bool, work: impl FnOnce() -> Result<()>) -> Result<Vec<Call>> {
    let outer = LIST.replace(Some(List { calls: Vec::new(), performed }));
    let done = work();
    let list = LIST.replace(outer);
    done.map(|()| list.map(|list| list.calls).unwrap_or_default())
}

/// Launches, and notes how much arithmetic that one launch is.
pub(crate) fn computing(flops: u64, launch: impl FnOnce() -> Result<()>) -> Result<()> {
    launch()?;
    LIST.with_borrow_mut(|list| {
        if let Some(call) = list.as_mut().and_then(|list| list.calls.last_mut()) {
            call.flops = flops;
        }
    });
    Ok(())
}

/// Does what `call` describes, unless it is only planned, and notes it while there is a list.
pub(crate) fn perform(run: impl FnOnce() -> Result<()>, call: impl FnOnce() -> Call) -> Result<()> {
    let (listed, performed) = LIST.with_borrow(|list| (list.is_some(), list.as_ref().is_none_or(|list| list.performed)));
    if performed {
        run()?;
    }
    if listed {
        // Built outside the borrow: a call may be described by code that looks here itself.
        let call = call();
        LIST.with_borrow_mut(|list| list.as_mut().map(|list| list.calls.push(call)));
    }
    Ok(())
}
