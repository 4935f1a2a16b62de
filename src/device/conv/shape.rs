//! What a convolution is asked for, on any device.

use crate::{Error, Result};
use serde::{Deserialize, Serialize};

/// The shape of a convolution with a square stride and symmetric zero padding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ConvShape {
    /// Images.
    pub n: usize,
    /// Rows of an input image.
    pub h: usize,
    /// Columns of an input image.
    pub w: usize,
    /// Input channels.
    pub c: usize,
    /// Output channels (filters).
    pub k: usize,
    /// Rows of a filter.
    pub r: usize,
    /// Columns of a filter.
    pub s: usize,
    /// Input pixels between neighbouring output pixels, in both directions.
    pub stride: usize,
    /// Rows and columns of zeros around the image.
    pub pad: usize,
}

impl ConvShape {
    /// Rows of the output; 0 where the filter does not fit.
    pub fn out_h(&self) -> usize {
        self.out(self.h, self.r)
    }

    /// Columns of the output; 0 where the filter does not fit.
    pub fn out_w(&self) -> usize {
        self.out(self.w, self.s)
    }

    fn out(&self, size: usize, filter: usize) -> usize {
        let room = (size + 2 * self.pad).checked_sub(filter);
        room.and_then(|room| room.checked_div(self.stride)).map_or(0, |steps| steps + 1)
    }

    /// Elements of the input, `[n, h, w, c]`.
    pub fn x_len(&self) -> usize {
        self.n * self.h * self.w * self.c
    }

    /// Elements of the filters, `[k, r, s, c]`.
    pub fn filter_len(&self) -> usize {
        self.k * self.r * self.s * self.c
    }

    /// Elements of the output, `[n, out_h, out_w, k]`.
    pub fn y_len(&self) -> usize {
        self.n * self.out_h() * self.out_w() * self.k
    }

    /// Floating-point operations of each direction: two for every filter tap of every output element.
    pub fn flops(&self) -> u64 {
        2 * self.y_len() as u64 * (self.r * self.s * self.c) as u64
    }

    /// Whether this is a linear layer: pixels, not images.
    pub(crate) fn is_linear(&self) -> bool {
        [self.h, self.w, self.r, self.s] == [1; 4]
    }

    /// Refuses a shape that has no output, and buffers of another length than the shape demands.
    pub(crate) fn check(&self, op: &'static str, buffers: &[(&str, usize, usize)]) -> Result<()> {
        let Self { h, w, c, k, r, s, stride, pad, .. } = *self;
        if [h, w, c, k, r, s, stride].contains(&0) || h + 2 * pad < r || w + 2 * pad < s {
            return Err(Error::shape(
                op,
                format!("{self:?} has no output; make every size at least 1 and the filter no larger than the padded image"),
            ));
        }
        for &(name, found, expected) in buffers {
            if found != expected {
                return Err(Error::shape(
                    op,
                    format!("{name} has {found} elements where {self:?} needs {expected}; pass that many"),
                ));
            }
        }
        Ok(())
    }
}

impl std::fmt::Display for ConvShape {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        let Self { n, h, w, c, k, r, s, stride, .. } = self;
        if self.is_linear() {
            return write!(f, "{n}×{c}→{k}");
        }
        write!(f, "{n}×{h}×{w}×{c}→{k} {r}×{s}")?;
        if *stride > 1 { write!(f, "/{stride}") } else { Ok(()) }
    }
}
