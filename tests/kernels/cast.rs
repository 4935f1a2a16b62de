//! `kernels/cast.cu`: the conversions must be exactly those of the `half` crate.

use crate::support::*;
use half::{bf16, f16};
use rocl::element::Element;
use rocl::{Tensor, ops};

fn casts<T: Element + PartialEq + std::fmt::Debug>()
where
    T::Real: PartialEq,
{
    for n in [1, 3, 8, 1000, 20_011] {
        // Values of every magnitude the storage type knows: normal, subnormal, out of range.
        let mut values: Vec<f64> =
            uniform(1, n, -1.0, 1.0).iter().zip(uniform(2, n, -140.0, 128.0)).map(|(v, e)| v * e.exp2()).collect();
        values[0] = f64::INFINITY;
        let real = stored::<T::Real>(&values);
        let rounded = same_bits_everywhere(|device| {
            let y = Tensor::<T>::zeros(device, [n]).unwrap();
            ops::cast_from_real(&Tensor::from_slice(device, [n], &real).unwrap(), &y).unwrap();
            y.to_vec().unwrap()
        });
        let expected: Vec<T> = real.iter().map(|&v| T::from_real(v)).collect();
        assert_eq!(rounded, expected);
        let widened = same_bits_everywhere(|device| {
            let y = Tensor::<T::Real>::zeros(device, [n]).unwrap();
            ops::cast_to_real(&Tensor::from_slice(device, [n], &rounded).unwrap(), &y).unwrap();
            y.to_vec().unwrap()
        });
        assert_eq!(widened, rounded.iter().map(|v| v.to_real()).collect::<Vec<_>>());
    }
}

#[test]
fn casts_round_as_the_half_crate_does() {
    casts::<f32>();
    casts::<f64>();
    casts::<f16>();
    casts::<bf16>();
}

#[test]
fn every_f16_and_bf16_survives_the_way_there_and_back() {
    let device = rocl::Device::host().unwrap();
    let every: Vec<u16> = (0..=u16::MAX).collect();
    fn round_trip<T: Element>(device: &rocl::Device, every: &[u16]) -> Vec<u16> {
        let x = Tensor::<T>::from_slice(device, [every.len()], bytemuck::cast_slice(every)).unwrap();
        let wide = Tensor::zeros(device, [every.len()]).unwrap();
        ops::cast_to_real(&x, &wide).unwrap();
        x.clear().unwrap();
        ops::cast_from_real(&wide, &x).unwrap();
        bytemuck::cast_slice(&x.to_vec().unwrap()).to_vec()
    }
    for (bits, back) in every.iter().zip(round_trip::<f16>(&device, &every)) {
        assert!(*bits == back || f16::from_bits(*bits).is_nan() && f16::from_bits(back).is_nan(), "{bits:#06x} -> {back:#06x}");
    }
    for (bits, back) in every.iter().zip(round_trip::<bf16>(&device, &every)) {
        assert!(*bits == back || bf16::from_bits(*bits).is_nan() && bf16::from_bits(back).is_nan(), "{bits:#06x} -> {back:#06x}");
    }
}
