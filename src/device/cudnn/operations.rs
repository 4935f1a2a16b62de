//! The operations that graphs consist of: convolution, pointwise function, statistics. All compute in `f32`.

use super::descriptor::{Attribute, ConvolutionMode, DataType, Descriptor, Draft, Kind, PointwiseMode, StatisticsMode};
use super::library::{Library, Refusal};
use Attribute::*;
use std::rc::Rc;

type Operation = Result<Rc<Descriptor>, Refusal>;

/// A direction of a convolution.
#[derive(Clone, Copy)]
pub(super) enum Direction {
    Fprop,
    Dgrad,
    Wgrad,
}

/// Which convolution: a square stride, and rows and columns of zeros around the image.
pub(super) struct Convolution {
    pub direction: Direction,
    pub stride: usize,
    pub padding: [usize; 2],
    /// Whether the result is added to what is there.
    pub accumulate: bool,
}

/// A convolution of two operands: x and filters; dy and filters; x and dy.
pub(super) fn convolution(
    library: &'static Library,
    convolution: &Convolution,
    operands: [Rc<Descriptor>; 2],
    result: Rc<Descriptor>,
) -> Operation {
    let padding = convolution.padding.map(|pad| pad as i64);
    let geometry = Draft::new(library, Kind::CUDNN_BACKEND_CONVOLUTION_DESCRIPTOR)?
        .set(CUDNN_ATTR_CONVOLUTION_COMP_TYPE, &[DataType::CUDNN_DATA_FLOAT])?
        .set(CUDNN_ATTR_CONVOLUTION_CONV_MODE, &[ConvolutionMode::CUDNN_CROSS_CORRELATION])?
        .set(CUDNN_ATTR_CONVOLUTION_SPATIAL_DIMS, &[2i64])?
        .set(CUDNN_ATTR_CONVOLUTION_DILATIONS, &[1i64; 2])?
        .set(CUDNN_ATTR_CONVOLUTION_FILTER_STRIDES, &[convolution.stride as i64; 2])?
        .set(CUDNN_ATTR_CONVOLUTION_PRE_PADDINGS, &padding)?
        .set(CUDNN_ATTR_CONVOLUTION_POST_PADDINGS, &padding)?
        .finish("a convolution")?;
    let (kind, [alpha, beta, geometry_name], [first, second, result_name]) = convolution.direction.attributes();
    let [a, b] = operands;
    Draft::new(library, kind)?
        .set(alpha, &[1f32])?
        .set(beta, &[if convolution.accumulate { 1f32 } else { 0.0 }])?
        .set_parts(geometry_name, &[geometry])?
        .set_parts(first, &[a])?
        .set_parts(second, &[b])?
        .set_parts(result_name, &[result])?
        .finish("the operation of a convolution")
}

impl Direction {
    /// The operation; its scalars and its geometry; its operands and its result.
    fn attributes(self) -> (Kind, [Attribute; 3], [Attribute; 3]) {
        match self {
            Self::Fprop => (
                Kind::CUDNN_BACKEND_OPERATION_CONVOLUTION_FORWARD_DESCRIPTOR,
                [
                    CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_ALPHA,
                    CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_BETA,
                    CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_CONV_DESC,
                ],
                [
                    CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_X,
                    CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_W,
                    CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_Y,
                ],
            ),
            Self::Dgrad => (
                Kind::CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_DATA_DESCRIPTOR,
                [
                    CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_ALPHA,
                    CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_BETA,
                    CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_CONV_DESC,
                ],
                [
                    CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_DY,
                    CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_W,
                    CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_DX,
                ],
            ),
            Self::Wgrad => (
                Kind::CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_FILTER_DESCRIPTOR,
                [
                    CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_ALPHA,
                    CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_BETA,
                    CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_CONV_DESC,
                ],
                [
                    CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_X,
                    CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_DY,
                    CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_DW,
                ],
            ),
        }
    }
}

/// to = from + addend, whose dimensions of size 1 are repeated.
pub(super) fn add(library: &'static Library, from: Rc<Descriptor>, addend: Rc<Descriptor>, to: Rc<Descriptor>) -> Operation {
    let tensors = [
        (CUDNN_ATTR_OPERATION_POINTWISE_XDESC, from),
        (CUDNN_ATTR_OPERATION_POINTWISE_BDESC, addend),
        (CUDNN_ATTR_OPERATION_POINTWISE_YDESC, to),
    ];
    pointwise(library, PointwiseMode::CUDNN_POINTWISE_ADD, tensors)
}

/// to = max(from, 0).
pub(super) fn relu(library: &'static Library, from: Rc<Descriptor>, to: Rc<Descriptor>) -> Operation {
    let tensors = [(CUDNN_ATTR_OPERATION_POINTWISE_XDESC, from), (CUDNN_ATTR_OPERATION_POINTWISE_YDESC, to)];
    pointwise(library, PointwiseMode::CUDNN_POINTWISE_RELU_FWD, tensors)
}

/// to = (mask > 0) · from.
pub(super) fn relu_gradient(
    library: &'static Library,
    from: Rc<Descriptor>,
    mask: Rc<Descriptor>,
    to: Rc<Descriptor>,
) -> Operation {
    let tensors = [
        (CUDNN_ATTR_OPERATION_POINTWISE_XDESC, mask),
        (CUDNN_ATTR_OPERATION_POINTWISE_DYDESC, from),
        (CUDNN_ATTR_OPERATION_POINTWISE_DXDESC, to),
    ];
    pointwise(library, PointwiseMode::CUDNN_POINTWISE_RELU_BWD, tensors)
}

fn pointwise<const N: usize>(
    library: &'static Library,
    mode: PointwiseMode,
    tensors: [(Attribute, Rc<Descriptor>); N],
) -> Operation {
    let function = Draft::new(library, Kind::CUDNN_BACKEND_POINTWISE_DESCRIPTOR)?
        .set(CUDNN_ATTR_POINTWISE_MODE, &[mode])?
        .set(CUDNN_ATTR_POINTWISE_MATH_PREC, &[DataType::CUDNN_DATA_FLOAT])?
        .finish("a pointwise function")?;
    let draft = Draft::new(library, Kind::CUDNN_BACKEND_OPERATION_POINTWISE_DESCRIPTOR)?
        .set_parts(CUDNN_ATTR_OPERATION_POINTWISE_PW_DESCRIPTOR, &[function])?;
    let draft = tensors.into_iter().try_fold(draft, |draft, (name, tensor)| draft.set_parts(name, &[tensor]))?;
    draft.finish("a pointwise operation")
}

/// The sum of each channel of y, and of the squares of its values.
pub(super) fn statistics(
    library: &'static Library,
    y: Rc<Descriptor>,
    sum: Rc<Descriptor>,
    squares: Rc<Descriptor>,
) -> Operation {
    Draft::new(library, Kind::CUDNN_BACKEND_OPERATION_GEN_STATS_DESCRIPTOR)?
        .set(CUDNN_ATTR_OPERATION_GENSTATS_MODE, &[StatisticsMode::CUDNN_GENSTATS_SUM_SQSUM])?
        .set(CUDNN_ATTR_OPERATION_GENSTATS_MATH_PREC, &[DataType::CUDNN_DATA_FLOAT])?
        .set_parts(CUDNN_ATTR_OPERATION_GENSTATS_XDESC, &[y])?
        .set_parts(CUDNN_ATTR_OPERATION_GENSTATS_SUMDESC, &[sum])?
        .set_parts(CUDNN_ATTR_OPERATION_GENSTATS_SQSUMDESC, &[squares])?
        .finish("the operation of statistics")
}

#[cfg(test)]
mod tests {
    use super::super::tensor::TensorSpec;
    use super::*;

    fn fprop(library: &'static Library, x: [usize; 4], filter: [usize; 4], y: [usize; 4]) -> Operation {
        let [x, filter, y] =
            [x, filter, y].map(|dims| TensorSpec::channels_last(1, dims, DataType::CUDNN_DATA_HALF).describe(library));
        let shape = Convolution { direction: Direction::Fprop, stride: 1, padding: [1; 2], accumulate: false };
        convolution(library, &shape, [x?, filter?], y?)
    }

    #[test]
    fn shapes_that_do_not_fit_are_refused_with_the_reason() {
        let Ok(library) = Library::load() else { return crate::skipped::missing("there is no cuDNN") };
        assert!(fprop(library, [2, 8, 8, 8], [16, 8, 3, 3], [2, 16, 8, 8]).is_ok());
        let reason = |x, filter, y| crate::Error::from(fprop(library, x, filter, y).map(|_| ()).unwrap_err()).to_string();
        let channels = reason([2, 8, 8, 8], [16, 5, 3, 3], [2, 16, 8, 8]);
        assert!(channels.contains("the operation of a convolution") && channels.contains("wDimA[1]"), "{channels}");
        let size = reason([2, 8, 8, 8], [16, 8, 3, 3], [2, 16, 7, 8]);
        assert!(size.contains("ySpatialDim"), "{size}");
        let images = reason([2, 8, 8, 8], [16, 8, 3, 3], [3, 16, 8, 8]);
        assert!(images.contains("CUDNN_STATUS_BAD_PARAM"), "{images}");
    }
}
