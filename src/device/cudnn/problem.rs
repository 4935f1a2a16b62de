//! What can be asked of the library, and the ways of computing it.

use crate::device::Arithmetic;
use crate::device::conv::ConvShape;
use serde::{Deserialize, Serialize};
use std::fmt;

/// A convolution's direction, with what follows its sum.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", deny_unknown_fields)]
pub enum Operation {
    /// y = relu(x ∗ filter + bias + residual), each where asked for.
    Fprop {
        /// `[k]`.
        bias: bool,
        /// The shape of y.
        residual: bool,
        /// Whether negative values become zero.
        relu: bool,
    },
    /// y = x ∗ filter, and for each of its channels the sum of the values and of their squares, in `f32`.
    Statistics,
    /// dx = (mask > 0) · (gradient + residual), each where asked for.
    Dgrad {
        /// The shape of dx.
        residual: bool,
        /// The shape of dx.
        mask: bool,
    },
    /// dw = gradient, or dw += gradient.
    Wgrad {
        /// Whether the gradient is added to what is there.
        accumulate: bool,
    },
}

impl Operation {
    /// The convolution alone.
    pub const FPROP: Self = Self::Fprop { bias: false, residual: false, relu: false };
    /// The input's gradient alone.
    pub const DGRAD: Self = Self::Dgrad { residual: false, mask: false };
    /// The filters' gradient alone.
    pub const WGRAD: Self = Self::Wgrad { accumulate: false };

    /// The name of the convolution, as records of launches have it.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Fprop { .. } | Self::Statistics => "conv_fprop",
            Self::Dgrad { .. } => "conv_dgrad",
            Self::Wgrad { .. } => "conv_wgrad",
        }
    }
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let parts = |f: &mut fmt::Formatter, name: &str, parts: &[(bool, &str)]| {
            f.write_str(name)?;
            parts.iter().filter(|(asked, _)| *asked).try_for_each(|(_, part)| write!(f, " + {part}"))
        };
        match *self {
            Self::Fprop { bias, residual, relu } => parts(f, "fprop", &[(residual, "residual"), (bias, "bias"), (relu, "ReLU")]),
            Self::Statistics => f.write_str("fprop + statistics"),
            Self::Dgrad { residual, mask } => parts(f, "dgrad", &[(residual, "residual"), (mask, "mask")]),
            Self::Wgrad { accumulate } => parts(f, "wgrad", &[(accumulate, "accumulate")]),
        }
    }
}

/// A convolution that is to be computed: the key of a plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Problem {
    /// What is computed.
    pub operation: Operation,
    /// Its sizes.
    pub shape: ConvShape,
    /// How its operands are stored and multiplied.
    pub arithmetic: Arithmetic,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let ConvShape { n, h, w, c, k, r, s, stride, pad } = self.shape;
        write!(f, "{} of {n}×{h}×{w}×{c} by {k} filters {r}×{s}/{stride}, pad {pad}, {}", self.operation, self.arithmetic.name())
    }
}

/// How a graph computes an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Form {
    /// As it is defined.
    Plain,
    /// With zeros for a bias, without which no engine fuses what follows.
    ZeroBias,
    /// dgrad as an fprop of dy, with zeros for a bias. Its filters are `[c, r, s, k]`: transposed, and turned by half a turn.
    TurnedFilter,
    /// wgrad into a dw of the operands' 16-bit type.
    NarrowGradient,
}

/// A graph: as much of an operation as it computes, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pattern {
    /// What is left of the problem's operation is to be run afterwards, in place.
    pub computes: Operation,
    /// What it wants for operands.
    pub form: Form,
}

impl Problem {
    /// The graphs that may serve, those that leave less to be done first. The last is the convolution alone.
    pub(super) fn patterns(&self) -> Vec<Pattern> {
        let plain = |computes| Pattern { computes, form: Form::Plain };
        match self.operation {
            Operation::Fprop { bias, residual, relu } => fprop_patterns(bias, residual, relu),
            Operation::Statistics => vec![plain(Operation::Statistics)],
            Operation::Dgrad { residual, mask } => {
                let mut patterns = vec![plain(Operation::Dgrad { residual, mask })];
                let with_residual = Operation::Dgrad { residual, mask: false };
                if residual && self.turns() {
                    // Before the plain form, since no engine compiled beforehand fuses anything with that.
                    patterns.insert(usize::from(mask), Pattern { computes: with_residual, form: Form::TurnedFilter });
                }
                patterns.extend((residual && mask).then(|| plain(with_residual)));
                patterns.extend((residual || mask).then(|| plain(Operation::DGRAD)));
                patterns
            }
            Operation::Wgrad { accumulate } => {
                let mut patterns = vec![plain(Operation::Wgrad { accumulate })];
                patterns.extend(accumulate.then(|| plain(Operation::WGRAD)));
                let narrow = Pattern { computes: Operation::WGRAD, form: Form::NarrowGradient };
                patterns.extend((self.arithmetic.bytes() < 4).then_some(narrow));
                patterns
            }
        }
    }

    /// Whether the input's gradient is an fprop: where every input pixel is one step from the next, and the padding not wider than the filter.
    fn turns(&self) -> bool {
        let ConvShape { stride, pad, r, s, .. } = self.shape;
        stride == 1 && pad < r && pad < s
    }
}

/// Engines add a residual first, then a bias, without which they fuse nothing, then rectify.
fn fprop_patterns(bias: bool, residual: bool, relu: bool) -> Vec<Pattern> {
    let mut wanted = vec![(bias, residual, relu), (bias, residual, false), (bias, false, false), (false, false, false)];
    wanted.dedup();
    let pattern = |(bias, residual, relu)| Pattern {
        computes: Operation::Fprop { bias, residual, relu },
        form: if (residual || relu) && !bias { Form::ZeroBias } else { Form::Plain },
    };
    wanted.into_iter().map(pattern).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn patterns(operation: Operation, stride: usize, arithmetic: Arithmetic) -> Vec<String> {
        let shape = ConvShape { n: 2, h: 8, w: 8, c: 8, k: 8, r: 3, s: 3, stride, pad: 1 };
        let patterns = Problem { operation, shape, arithmetic }.patterns();
        patterns.iter().map(|Pattern { computes, form }| format!("{computes} {form:?}")).collect()
    }

    #[test]
    fn an_fprop_sheds_its_epilogue_from_the_end() {
        let fprop = |bias, residual, relu| patterns(Operation::Fprop { bias, residual, relu }, 1, Arithmetic::F16);
        let all = ["fprop + residual + bias + ReLU Plain", "fprop + residual + bias Plain", "fprop + bias Plain", "fprop Plain"];
        assert_eq!(fprop(true, true, true), all);
        assert_eq!(fprop(false, true, true), ["fprop + residual + ReLU ZeroBias", "fprop + residual ZeroBias", "fprop Plain"]);
        assert_eq!(fprop(false, false, true), ["fprop + ReLU ZeroBias", "fprop Plain"]);
        assert_eq!(fprop(false, false, false), ["fprop Plain"]);
    }

    #[test]
    fn a_residual_rides_on_the_turned_filter_where_the_stride_is_one() {
        let dgrad = |residual, mask, stride| patterns(Operation::Dgrad { residual, mask }, stride, Arithmetic::F16);
        let all = ["dgrad + residual + mask Plain", "dgrad + residual TurnedFilter", "dgrad + residual Plain", "dgrad Plain"];
        assert_eq!(dgrad(true, true, 1), all);
        assert_eq!(dgrad(true, true, 2), [all[0], all[2], all[3]]);
        assert_eq!(dgrad(true, false, 1), all[1..]);
        assert_eq!(dgrad(false, true, 1), ["dgrad + mask Plain", "dgrad Plain"]);
        assert_eq!(dgrad(false, false, 1), ["dgrad Plain"]);
    }

    #[test]
    fn a_gradient_of_filters_is_narrow_only_where_operands_are() {
        let wgrad = |accumulate, arithmetic| patterns(Operation::Wgrad { accumulate }, 1, arithmetic);
        assert_eq!(wgrad(true, Arithmetic::Tf32), ["wgrad + accumulate Plain", "wgrad Plain"]);
        assert_eq!(wgrad(true, Arithmetic::Bf16), ["wgrad + accumulate Plain", "wgrad Plain", "wgrad NarrowGradient"]);
        assert_eq!(wgrad(false, Arithmetic::F16), ["wgrad Plain", "wgrad NarrowGradient"]);
    }
}
