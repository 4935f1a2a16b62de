//! `kernels/pool.cu`.

use crate::support::*;
use half::{bf16, f16};
use rocl::element::Element;
use rocl::{Tensor, ops};

const SHAPES: [[usize; 4]; 6] = [[1, 1, 1, 1], [2, 3, 5, 3], [5, 4, 4, 16], [3, 2, 2, 120], [17, 1, 1, 8], [40, 4, 4, 13]];

fn pool<T: Element + PartialEq + std::fmt::Debug>() {
    for shape @ [images, height, width, channels] in SHAPES {
        let pixels = height * width;
        let values = |seed, n| widened(&stored::<T>(&uniform(seed, n, -1.0, 1.0)));
        let (x, dy) = (values(1, images * pixels * channels), values(2, images * channels));
        let y = same_bits_everywhere(|device| {
            let y = Tensor::<T>::zeros(device, [images, channels]).unwrap();
            ops::average_pool(&upload::<T, 4>(device, shape, &x), &y).unwrap();
            y.to_vec().unwrap()
        });
        let position = |image: usize, pixel: usize, c: usize| (image * pixels + pixel) * channels + c;
        let mean = |i: usize| sum((0..pixels).map(|p| x[position(i / channels, p, i % channels)])) / pixels as f64;
        // At most 16 additions and a division, then one rounding to storage.
        let tolerance = 17.0 * rounding::<T::Real>() + 1.01 * rounding::<T>();
        assert_close("y", &widened(&y), &(0..images * channels).map(mean).collect::<Vec<_>>(), tolerance, 1.0);
        for with_mask in [false, true] {
            let dx = same_bits_everywhere(|device| {
                let (dy, mask) = (upload::<T, 2>(device, [images, channels], &dy), upload::<T, 4>(device, shape, &x));
                let dx = Tensor::<T>::zeros(device, shape).unwrap();
                ops::average_pool_backward(&dy, with_mask.then_some(&mask), &dx).unwrap();
                dx.to_vec().unwrap()
            });
            let gradient = |i: usize| {
                let g = dy[i / (pixels * channels) * channels + i % channels] / pixels as f64;
                if !with_mask || x[i] > 0.0 { g } else { 0.0 }
            };
            assert_close("dx", &widened(&dx), &(0..x.len()).map(gradient).collect::<Vec<_>>(), tolerance, 1.0);
        }
    }
}

#[test]
fn pool_equals_the_oracle() {
    pool::<f32>();
    pool::<f64>();
    pool::<f16>();
    pool::<bf16>();
}

#[test]
fn refusals_say_why() {
    for_each_device(|device| {
        let (x, y) = (Tensor::<f32>::zeros(device, [2, 4, 4, 8]).unwrap(), Tensor::<f32>::zeros(device, [2, 4]).unwrap());
        let message = ops::average_pool(&x, &y).unwrap_err().to_string();
        assert!(message.contains("`y` is [2, 4] but must be [2, 8]"), "{message}");
        let message = ops::average_pool(&y, &y).unwrap_err().to_string();
        assert!(message.contains("a tensor of 4 dimensions is needed"), "{message}");
    });
}
