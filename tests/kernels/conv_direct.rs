//! `kernels/conv_direct.cu`: fprop against an oracle that pads explicitly, dgrad and wgrad as its adjoints.

use crate::support::*;
use half::{bf16, f16};
use rocl::element::Element;
use rocl::{Tensor, ops};

#[derive(Clone, Copy, Debug)]
struct Case {
    x: [usize; 4],
    filter: [usize; 4],
    stride: usize,
    pad: usize,
}

const CASES: [Case; 7] = [
    Case { x: [1, 1, 1, 1], filter: [1, 1, 1, 1], stride: 1, pad: 0 },
    Case { x: [2, 5, 7, 3], filter: [4, 3, 3, 3], stride: 1, pad: 1 },
    Case { x: [3, 8, 8, 4], filter: [5, 3, 3, 4], stride: 2, pad: 1 },
    Case { x: [3, 8, 8, 4], filter: [6, 1, 1, 4], stride: 2, pad: 0 },
    Case { x: [2, 4, 6, 9], filter: [8, 3, 3, 9], stride: 1, pad: 1 },
    Case { x: [1, 9, 6, 2], filter: [3, 2, 4, 2], stride: 3, pad: 2 },
    Case { x: [1, 2, 2, 2], filter: [3, 3, 3, 2], stride: 1, pad: 1 },
];

impl Case {
    fn y(&self) -> [usize; 4] {
        let out = |size: usize, filter: usize| (size + 2 * self.pad - filter) / self.stride + 1;
        [self.x[0], out(self.x[1], self.filter[1]), out(self.x[2], self.filter[2]), self.filter[0]]
    }

    /// Every product of the convolution, as flat indices (x, filter, y): the one place where the oracle's geometry stands.
    fn products(&self) -> Vec<(usize, usize, usize)> {
        let ([n, h, w, c], [k, r, s, _], [_, p, q, _]) = (self.x, self.filter, self.y());
        let mut products = Vec::new();
        for (y, [n, p, q, k]) in indices([n, p, q, k]) {
            for (_, [r, s, c_]) in indices([r, s, c]) {
                let (row, column) = (p * self.stride + r, q * self.stride + s);
                if (self.pad..self.pad + h).contains(&row) && (self.pad..self.pad + w).contains(&column) {
                    let x = ((n * h + row - self.pad) * w + column - self.pad) * c + c_;
                    products.push((x, ((k * self.filter[1] + r) * self.filter[2] + s) * c + c_, y));
                }
            }
        }
        products
    }
}

/// All multi-indices of an array in row-major order, with their flat index.
fn indices<const N: usize>(shape: [usize; N]) -> impl Iterator<Item = (usize, [usize; N])> {
    (0..shape.iter().product()).map(move |flat| {
        let mut index = [0; N];
        let mut rest = flat;
        for d in (0..N).rev() {
            index[d] = rest % shape[d];
            rest /= shape[d];
        }
        (flat, index)
    })
}

fn length(shape: [usize; 4]) -> usize {
    shape.iter().product()
}

fn convolutions<T: Element + PartialEq + std::fmt::Debug>()
where
    T::Real: PartialEq,
{
    for case in CASES {
        let values = |seed, shape| widened(&stored::<T>(&uniform(seed, length(shape), -1.0, 1.0)));
        let (x, filter, dy) = (values(1, case.x), values(2, case.filter), values(3, case.y()));
        let mut y = vec![0.0; length(case.y())];
        let mut dx = vec![0.0; x.len()];
        let mut dw = vec![0.0; filter.len()];
        for (i, j, o) in case.products() {
            y[o] += x[i] * filter[j];
            dx[i] += dy[o] * filter[j];
            dw[j] += dy[o] * x[i];
        }
        // Sums of at most 200 products of order one, in sequence; storage rounds once.
        let (sums, storage) = (200.0 * rounding::<T::Real>(), 1.01 * rounding::<T>());
        let found = same_bits_everywhere(|device| {
            let out = Tensor::<T>::zeros(device, case.y()).unwrap();
            let (x, filter) = (upload::<T, 4>(device, case.x, &x), upload::<T, 4>(device, case.filter, &filter));
            ops::conv_direct_fprop(&x, &filter, case.stride, case.pad, &out).unwrap();
            out.to_vec().unwrap()
        });
        assert_close("y", &widened(&found), &y, sums + storage, 1.0);
        let found = same_bits_everywhere(|device| {
            let out = Tensor::<T>::zeros(device, case.x).unwrap();
            let (dy, filter) = (upload::<T, 4>(device, case.y(), &dy), upload::<T, 4>(device, case.filter, &filter));
            ops::conv_direct_dgrad(&dy, &filter, case.stride, case.pad, &out).unwrap();
            out.to_vec().unwrap()
        });
        assert_close("dx", &widened(&found), &dx, sums + storage, 1.0);
        let found = same_bits_everywhere(|device| {
            let out = upload::<T::Real, 4>(device, case.filter, &vec![7.0; dw.len()]);
            let (x, dy) = (upload::<T, 4>(device, case.x, &x), upload::<T, 4>(device, case.y(), &dy));
            ops::conv_direct_wgrad(&x, &dy, case.stride, case.pad, false, &out).unwrap();
            ops::conv_direct_wgrad(&x, &dy, case.stride, case.pad, true, &out).unwrap();
            out.to_vec().unwrap()
        });
        let twice: Vec<f64> = dw.iter().map(|w| 2.0 * w).collect();
        assert_close("dw", &widened(&found), &twice, sums, 2.0);
    }
}

#[test]
fn convolutions_equal_the_oracle() {
    convolutions::<f32>();
    convolutions::<f64>();
    convolutions::<f16>();
    convolutions::<bf16>();
}

#[test]
fn refusals_say_why() {
    for_each_device(|device| {
        let tensor = |shape: [usize; 4]| Tensor::<f32>::zeros(device, shape).unwrap();
        let (x, y) = (tensor([1, 4, 4, 3]), tensor([1, 4, 4, 8]));
        let message = ops::conv_direct_fprop(&x, &tensor([8, 3, 3, 4]), 1, 1, &y).unwrap_err().to_string();
        assert!(message.contains("`filter` is [8, 3, 3, 4] but must be [8, 3, 3, 3]"), "{message}");
        let message = ops::conv_direct_fprop(&x, &tensor([8, 3, 3, 3]), 2, 1, &y).unwrap_err().to_string();
        assert!(message.contains("`y` is [1, 4, 4, 8] but must be [1, 2, 2, 8]"), "{message}");
        for (stride, filter) in [(0, [8, 3, 3, 3]), (1, [8, 7, 7, 3])] {
            let message = ops::conv_direct_fprop(&x, &tensor(filter), stride, 1, &y).unwrap_err().to_string();
            assert!(message.contains("have no output; make every size at least 1"), "{message}");
        }
    });
}
