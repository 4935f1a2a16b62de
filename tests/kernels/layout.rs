//! `kernels/layout.cu`.

use crate::support::*;
use half::{bf16, f16};
use rocl::element::Element;
use rocl::{Tensor, ops};

fn layouts<T: Element + PartialEq + std::fmt::Debug>() {
    for [n, c, h, w] in [[1, 1, 1, 1], [2, 3, 5, 7], [5, 8, 4, 4], [3, 64, 3, 3], [7, 13, 1, 1], [1, 3, 32, 32]] {
        let first = stored::<T>(&uniform(1, n * c * h * w, -1.0, 1.0));
        let last = same_bits_everywhere(|device| {
            let y = Tensor::<T>::zeros(device, [n, h, w, c]).unwrap();
            ops::nchw_to_nhwc(&Tensor::from_slice(device, [n, c, h, w], &first).unwrap(), &y).unwrap();
            y.to_vec().unwrap()
        });
        for (i, value) in last.iter().enumerate() {
            let (pixel, channel) = (i / c, i % c);
            let (image, pixel) = (pixel / (h * w), pixel % (h * w));
            assert_eq!(*value, first[(image * c + channel) * h * w + pixel]);
        }
        let back = same_bits_everywhere(|device| {
            let y = Tensor::<T>::zeros(device, [n, c, h, w]).unwrap();
            ops::nhwc_to_nchw(&Tensor::from_slice(device, [n, h, w, c], &last).unwrap(), &y).unwrap();
            y.to_vec().unwrap()
        });
        assert_eq!(back, first);
    }
}

#[test]
fn layouts_move_every_element_to_its_place() {
    layouts::<f32>();
    layouts::<f64>();
    layouts::<f16>();
    layouts::<bf16>();
}

#[test]
fn refusals_say_why() {
    for_each_device(|device| {
        let x = Tensor::<f32>::zeros(device, [2, 3, 4, 4]).unwrap();
        let message = ops::nchw_to_nhwc(&x, &x).unwrap_err().to_string();
        assert!(message.contains("`y` is [2, 3, 4, 4] but must be [2, 4, 4, 3]"), "{message}");
    });
}
