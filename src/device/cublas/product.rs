//! The three products of a linear layer, as the library sees them.
//!
//! cuBLAS knows matrices by columns. A matrix of `r` rows and `c` columns that is stored by rows, as all are here, is to it one of `c` rows and
//! `r` columns: its transpose. So it is asked for the transpose of each product, D = op(A) op(B), with the factors exchanged.

use crate::device::Arithmetic;
use std::fmt;

/// Which product.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ProductKind {
    /// y = relu(x Wᵀ + b), the last two where asked for.
    Forward {
        /// `[outputs]`.
        bias: bool,
        /// Whether negative values become zero.
        relu: bool,
    },
    /// dx = dy W.
    InputGradient,
    /// dW += dyᵀ x.
    WeightGradient,
}

/// A product that is to be computed: the key of a plan. x is `[rows, inputs]`, W `[outputs, inputs]`, y `[rows, outputs]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Product {
    /// Which.
    pub kind: ProductKind,
    /// Images.
    pub rows: usize,
    /// Columns of x.
    pub inputs: usize,
    /// Columns of y.
    pub outputs: usize,
    /// How operands are stored and multiplied. dW is in `f32` always.
    pub arithmetic: Arithmetic,
}

impl fmt::Display for Product {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let Self { kind, rows, inputs, outputs, arithmetic } = self;
        write!(f, "{kind:?} of {rows} rows, {inputs} inputs and {outputs} outputs, {}", arithmetic.name())
    }
}

/// D = op(A) op(B) + beta · D, by columns: op(A) is m × k, op(B) k × n, D m × n, each with its distance between columns.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Gemm {
    pub m: usize,
    pub n: usize,
    pub k: usize,
    pub transpose_a: bool,
    pub transpose_b: bool,
    pub lda: usize,
    pub ldb: usize,
    pub ldd: usize,
    pub beta: f32,
}

impl Product {
    /// A and B, of the factors x and W of y; dy and W of dx; x and dy of dW.
    pub(super) fn operands<V>(&self, [first, second]: [V; 2]) -> [V; 2] {
        match self.kind {
            ProductKind::Forward { .. } | ProductKind::InputGradient => [second, first],
            ProductKind::WeightGradient => [first, second],
        }
    }

    /// What the library is asked for, for these [operands](Self::operands).
    pub(super) fn gemm(&self) -> Gemm {
        let Self { rows, inputs, outputs, .. } = *self;
        match self.kind {
            ProductKind::Forward { .. } => Gemm {
                m: outputs,
                n: rows,
                k: inputs,
                transpose_a: true,
                transpose_b: false,
                lda: inputs,
                ldb: inputs,
                ldd: outputs,
                beta: 0.0,
            },
            ProductKind::InputGradient => Gemm {
                m: inputs,
                n: rows,
                k: outputs,
                transpose_a: false,
                transpose_b: false,
                lda: inputs,
                ldb: outputs,
                ldd: inputs,
                beta: 0.0,
            },
            ProductKind::WeightGradient => Gemm {
                m: inputs,
                n: outputs,
                k: rows,
                transpose_a: false,
                transpose_b: true,
                lda: inputs,
                ldb: outputs,
                ldd: inputs,
                beta: 1.0,
            },
        }
    }
}

impl Gemm {
    /// Rows and columns of A and of B as they are stored, by columns.
    pub fn stored(&self) -> [(usize, usize); 2] {
        let turned = |transpose, rows, columns| if transpose { (columns, rows) } else { (rows, columns) };
        [turned(self.transpose_a, self.m, self.k), turned(self.transpose_b, self.k, self.n)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the library's documentation says that a product by columns is.
    fn by_columns(gemm: &Gemm, a: &[f64], b: &[f64], d: &mut [f64]) {
        let at = |matrix: &[f64], transpose: bool, ld: usize, row: usize, column: usize| {
            matrix[if transpose { row * ld + column } else { column * ld + row }]
        };
        for (row, column) in (0..gemm.m).flat_map(|row| (0..gemm.n).map(move |column| (row, column))) {
            let terms =
                (0..gemm.k).map(|k| at(a, gemm.transpose_a, gemm.lda, row, k) * at(b, gemm.transpose_b, gemm.ldb, k, column));
            let sum: f64 = terms.sum();
            let old = &mut d[column * gemm.ldd + row];
            *old = sum + f64::from(gemm.beta) * *old;
        }
    }

    /// Whole numbers below 8, so that sums are exact.
    fn numbers(seed: usize, len: usize) -> Vec<f64> {
        (0..len).map(|i| ((i * 37 + seed * 11) % 15) as f64 - 7.0).collect()
    }

    #[test]
    fn products_are_those_of_a_linear_layer() {
        let (rows, inputs, outputs) = (5, 3, 4);
        let [x, w, dy] = [(1, rows * inputs), (2, outputs * inputs), (3, rows * outputs)].map(|(seed, len)| numbers(seed, len));
        let multiply = |kind, factors: [&[f64]; 2], result: &mut [f64]| {
            let product = Product { kind, rows, inputs, outputs, arithmetic: Arithmetic::F32 };
            let [a, b] = product.operands(factors);
            by_columns(&product.gemm(), a, b, result);
        };

        let mut y = numbers(4, rows * outputs);
        multiply(ProductKind::Forward { bias: false, relu: false }, [&x, &w], &mut y);
        let mut dx = numbers(5, rows * inputs);
        multiply(ProductKind::InputGradient, [&dy, &w], &mut dx);
        let before = numbers(6, outputs * inputs);
        let mut dw = before.clone();
        multiply(ProductKind::WeightGradient, [&x, &dy], &mut dw);

        for row in 0..rows {
            for out in 0..outputs {
                let expected: f64 = (0..inputs).map(|i| x[row * inputs + i] * w[out * inputs + i]).sum();
                assert_eq!(y[row * outputs + out], expected);
            }
            for i in 0..inputs {
                let expected: f64 = (0..outputs).map(|out| dy[row * outputs + out] * w[out * inputs + i]).sum();
                assert_eq!(dx[row * inputs + i], expected);
            }
        }
        for (out, i) in (0..outputs).flat_map(|out| (0..inputs).map(move |i| (out, i))) {
            let gradient: f64 = (0..rows).map(|row| dy[row * outputs + out] * x[row * inputs + i]).sum();
            assert_eq!(dw[out * inputs + i], before[out * inputs + i] + gradient);
        }
    }
}
