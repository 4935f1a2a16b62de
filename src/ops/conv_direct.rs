//! Direct convolution: the slow, portable oracle for the library convolutions.

use super::check::has_shape;
use crate::device::launch::{self, Work};
use crate::device::record;
use crate::element::Element;
use crate::{Error, Result, Tensor};
use bytemuck::Pod;

/// The sizes of a convolution, as kernels take them.
#[derive(Clone, Copy)]
struct Sizes {
    images: i32,
    height: i32,
    width: i32,
    channels: i32,
    filters: i32,
    filter_height: i32,
    filter_width: i32,
    stride: i32,
    pad: i32,
    out_height: i32,
    out_width: i32,
}

impl Sizes {
    /// From the three tensors, whose shapes must belong together.
    fn of<X: Pod, W: Pod, Y: Pod>(
        op: &'static str,
        x: (&'static str, &Tensor<X>),
        filter: (&'static str, &Tensor<W>),
        y: (&'static str, &Tensor<Y>),
        stride: usize,
        pad: usize,
    ) -> Result<Self> {
        let [n, h, w, c] = x.1.dims_of(op)?;
        let [k, r, s, _] = filter.1.dims_of(op)?;
        has_shape(op, filter.0, filter.1, &[k, r, s, c])?;
        let misfit = || {
            let shapes = format!("`{}` {:?}, `{}` {:?}", x.0, x.1.shape(), filter.0, filter.1.shape());
            let what = format!("{shapes}, stride {stride} and padding {pad} have no output");
            Error::shape(op, format!("{what}; make every size at least 1 and the filter no larger than the padded image"))
        };
        let out = |size: usize, filter: usize| Some((size + 2 * pad).checked_sub(filter)?.checked_div(stride)? + 1);
        let (p, q) = out(h, r).zip(out(w, s)).ok_or_else(misfit)?;
        has_shape(op, y.0, y.1, &[n, p, q, k])?;
        let int = |size: usize| {
            let too_large = || Error::shape(op, format!("a size of {size} is too much for one launch; use a smaller batch"));
            i32::try_from(size).map_err(|_| too_large())
        };
        Ok(Self {
            images: int(n)?,
            height: int(h)?,
            width: int(w)?,
            channels: int(c)?,
            filters: int(k)?,
            filter_height: int(r)?,
            filter_width: int(s)?,
            stride: int(stride)?,
            pad: int(pad)?,
            out_height: int(p)?,
            out_width: int(q)?,
        })
    }

    /// Operations of either direction: two for every tap of every output element, as of the library's convolutions.
    fn flops(&self) -> u64 {
        let outputs = [self.images, self.out_height, self.out_width, self.filters].map(|size| size as u64);
        2 * outputs.iter().product::<u64>() * self.filter_size() as u64 * self.channels as u64
    }

    /// The pixels under a filter.
    fn filter_size(&self) -> usize {
        self.filter_height as usize * self.filter_width as usize
    }
}

/// Launches a kernel on its operands, with the sizes that all of them take, and what it takes behind them.
macro_rules! convolve {
    ($kernel:ident, $work:expr, $sizes:expr, $($operand:expr),+ $(; $more:expr)?) => {{
        let z: Sizes = $sizes;
        record::computing(z.flops(), || {
            launch::$kernel(
                $work, $($operand,)+ z.images, z.height, z.width, z.channels, z.filters, z.filter_height, z.filter_width, z.stride, z.pad,
                z.out_height, z.out_width, $($more)?
            )
        })
    }};
}

/// y = `x` ∗ `filter`: `[n, h, w, c]` and `[k, r, s, c]` to `[n, p, q, k]`, with p = (h + 2·`pad` − r) / `stride` + 1 and q likewise.
pub fn conv_direct_fprop<T: Element>(x: &Tensor<T>, filter: &Tensor<T>, stride: usize, pad: usize, y: &Tensor<T>) -> Result<()> {
    let z = Sizes::of("conv_direct_fprop", ("x", x), ("filter", filter), ("y", y), stride, pad)?;
    let work = Work::Items(y.len(), z.filter_size() * z.channels as usize);
    convolve!(conv_direct_fprop, work, z, x, filter, y)
}

/// The gradient of [`conv_direct_fprop`] with respect to x: `dy` `[n, p, q, k]` to `dx` `[n, h, w, c]`.
pub fn conv_direct_dgrad<T: Element>(
    dy: &Tensor<T>,
    filter: &Tensor<T>,
    stride: usize,
    pad: usize,
    dx: &Tensor<T>,
) -> Result<()> {
    let z = Sizes::of("conv_direct_dgrad", ("dx", dx), ("filter", filter), ("dy", dy), stride, pad)?;
    let work = Work::Items(dx.len(), z.filter_size() * z.filters as usize);
    convolve!(conv_direct_dgrad, work, z, dy, filter, dx)
}

/// The gradient of [`conv_direct_fprop`] with respect to the filter, `[k, r, s, c]`, in the arithmetic type; added to `dw` if `accumulate`.
pub fn conv_direct_wgrad<T: Element>(
    x: &Tensor<T>,
    dy: &Tensor<T>,
    stride: usize,
    pad: usize,
    accumulate: bool,
    dw: &Tensor<T::Real>,
) -> Result<()> {
    let z = Sizes::of("conv_direct_wgrad", ("x", x), ("dw", dw), ("dy", dy), stride, pad)?;
    let work = Work::Items(dw.len(), z.images as usize * z.out_height as usize * z.out_width as usize);
    convolve!(conv_direct_wgrad, work, z, x, dy, dw; accumulate.into())
}
