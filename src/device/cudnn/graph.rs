//! A pattern as a graph of operations.
//!
//! The convolution, and each step before the last, write an `f32` intermediate that is not stored: a value is rounded once.

use super::descriptor::{Attribute, DataType, Descriptor, Draft, Kind};
use super::library::{Library, Refusal};
use super::operations::{self, Convolution, Direction};
use super::problem::{Form, Operation, Pattern, Problem};
use super::target::Target;
use super::tensor::TensorSpec;
use crate::device::conv::ConvShape;
use std::rc::Rc;

/// What a tensor is to a plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// x, or dx: `[n, h, w, c]`.
    Image,
    /// The filters, or dw: `[k, r, s, c]`; in the [turned form](Form::TurnedFilter) `[c, r, s, k]`.
    Filter,
    /// y, or dy: `[n, h', w', k]`.
    Output,
    /// `[k]`.
    Bias,
    /// Zeros of the operands' type, as many as the result has channels.
    Zeros,
    /// The shape of the result.
    Residual,
    /// The shape of dx.
    Mask,
    /// Of each channel's values: `[k]`, `f32`.
    Sum,
    /// Of the squares of each channel's values: `[k]`, `f32`.
    SquareSum,
}

impl Role {
    /// Tells the tensors of a graph apart.
    pub(super) fn id(self) -> i64 {
        self as i64 + 1
    }
}

/// Beyond the ids of roles.
const FIRST_INTERMEDIATE: i64 = 100;

/// A tensor of a graph: batch (or filters), channels, rows, columns.
type Operand = (Role, [usize; 4]);

/// What follows the convolution.
enum Step {
    Add(Operand),
    Relu,
    ReluGradient(Operand),
}

/// A finished graph, and the tensors that it reads and writes.
pub(super) struct Graph {
    pub descriptor: Rc<Descriptor>,
    pub roles: Vec<Role>,
}

/// `pattern` for `problem`, to be run on `target`.
pub(super) fn graph(library: &'static Library, target: &Target, problem: &Problem, pattern: &Pattern) -> Result<Graph, Refusal> {
    let mut builder = Builder { library, problem, parts: Vec::new(), roles: Vec::new(), intermediates: 0 };
    builder.pattern(pattern)?;
    let draft = Draft::new(library, Kind::CUDNN_BACKEND_OPERATIONGRAPH_DESCRIPTOR)?
        .set_parts(Attribute::CUDNN_ATTR_OPERATIONGRAPH_OPS, &builder.parts)?;
    let draft = target.set_on(draft, Some(Attribute::CUDNN_ATTR_OPERATIONGRAPH_HANDLE), None)?;
    Ok(Graph { descriptor: draft.finish("a graph of operations")?, roles: builder.roles })
}

struct Builder<'a> {
    library: &'static Library,
    problem: &'a Problem,
    parts: Vec<Rc<Descriptor>>,
    roles: Vec<Role>,
    intermediates: i64,
}

impl Builder<'_> {
    fn pattern(&mut self, pattern: &Pattern) -> Result<(), Refusal> {
        let shape @ ConvShape { n, h, w, c, k, r, s, stride, pad } = self.problem.shape;
        let image = (Role::Image, [n, c, h, w]);
        let filter = (Role::Filter, [k, c, r, s]);
        let output = (Role::Output, [n, k, shape.out_h(), shape.out_w()]);
        let like = |role, (_, dims): Operand| (role, dims);
        let convolution = |direction| Convolution { direction, stride, padding: [pad; 2], accumulate: false };
        match pattern.computes {
            Operation::Fprop { bias, residual, relu } => {
                let bias = if pattern.form == Form::ZeroBias { Some(Role::Zeros) } else { bias.then_some(Role::Bias) };
                let steps = [
                    residual.then(|| Step::Add(like(Role::Residual, output))),
                    bias.map(|role| Step::Add((role, [1, k, 1, 1]))),
                    relu.then_some(Step::Relu),
                ];
                self.chain(convolution(Direction::Fprop), [image, filter], output, steps)?;
            }
            Operation::Statistics => {
                let y = self.chain(convolution(Direction::Fprop), [image, filter], output, [])?;
                let [sum, squares] =
                    [Role::Sum, Role::SquareSum].map(|role| self.stored((role, [1, k, 1, 1]), DataType::CUDNN_DATA_FLOAT));
                self.parts.push(operations::statistics(self.library, y, sum?, squares?)?);
            }
            Operation::Dgrad { residual, .. } if pattern.form == Form::TurnedFilter => {
                let padding = [r - 1 - pad, s - 1 - pad];
                let turned = Convolution { padding, ..convolution(Direction::Fprop) };
                let residual = residual.then(|| Step::Add(like(Role::Residual, image)));
                let steps = [residual, Some(Step::Add((Role::Zeros, [1, c, 1, 1])))];
                self.chain(turned, [output, (Role::Filter, [c, k, r, s])], image, steps)?;
            }
            Operation::Dgrad { residual, mask } => {
                let residual = residual.then(|| Step::Add(like(Role::Residual, image)));
                let steps = [residual, mask.then(|| Step::ReluGradient(like(Role::Mask, image)))];
                self.chain(convolution(Direction::Dgrad), [output, filter], image, steps)?;
            }
            Operation::Wgrad { accumulate } => {
                let wide = pattern.form != Form::NarrowGradient;
                let operands = [self.operand(image)?, self.operand(output)?];
                let dw = self.stored(filter, if wide { DataType::CUDNN_DATA_FLOAT } else { self.operand_type() })?;
                let convolution = Convolution { accumulate, ..convolution(Direction::Wgrad) };
                self.parts.push(operations::convolution(self.library, &convolution, operands, dw)?);
            }
        }
        Ok(())
    }

    /// A convolution followed by steps; returns the result.
    fn chain<const N: usize>(
        &mut self,
        convolution: Convolution,
        [data, filter]: [Operand; 2],
        result: Operand,
        steps: [Option<Step>; N],
    ) -> Result<Rc<Descriptor>, Refusal> {
        let operands = [self.operand(data)?, self.operand(filter)?];
        let mut steps = steps.into_iter().flatten().peekable();
        let mut value = self.outcome(result, steps.peek().is_none())?;
        self.parts.push(operations::convolution(self.library, &convolution, operands, value.clone())?);
        while let Some(step) = steps.next() {
            let next = self.outcome(result, steps.peek().is_none())?;
            self.step(step, value, next.clone())?;
            value = next;
        }
        Ok(value)
    }

    fn step(&mut self, step: Step, from: Rc<Descriptor>, to: Rc<Descriptor>) -> Result<(), Refusal> {
        let operation = match step {
            Step::Add(addend) => operations::add(self.library, from, self.operand(addend)?, to),
            Step::Relu => operations::relu(self.library, from, to),
            Step::ReluGradient(mask) => operations::relu_gradient(self.library, from, self.operand(mask)?, to),
        };
        self.parts.push(operation?);
        Ok(())
    }

    /// Where a step writes: the result itself, if it is the last.
    fn outcome(&mut self, result: Operand, last: bool) -> Result<Rc<Descriptor>, Refusal> {
        if last {
            return self.operand(result);
        }
        self.intermediates += 1;
        TensorSpec::intermediate(FIRST_INTERMEDIATE + self.intermediates, result.1).describe(self.library)
    }

    fn operand_type(&self) -> DataType {
        self.problem.arithmetic.into()
    }

    fn operand(&mut self, operand: Operand) -> Result<Rc<Descriptor>, Refusal> {
        self.stored(operand, self.operand_type())
    }

    fn stored(&mut self, (role, dims): Operand, data_type: DataType) -> Result<Rc<Descriptor>, Refusal> {
        self.roles.push(role);
        TensorSpec::channels_last(role.id(), dims, data_type).describe(self.library)
    }
}
