//! `kernels/image.cu`.

use crate::support::*;
use half::{bf16, f16};
use rocl::element::{Element, Real};
use rocl::{Device, Tensor, ops};

/// The quotient of two bytes, rounded to f64 and then to f32, is the exact quotient rounded to f32: f64 has more than twice the bits.
fn unit_range<R: Real>() {
    for n in [1, 2, 17] {
        let images: Vec<u8> = (0..n * 3072).map(|i| (i * 7 + i / 256) as u8).collect();
        let found = same_bits_everywhere(|device| {
            let out = Tensor::<R>::zeros(device, [n, 32, 32, 3]).unwrap();
            ops::unit_range(&Tensor::from_slice(device, [n, 32, 32, 3], &images).unwrap(), &out).unwrap();
            out.to_vec().unwrap()
        });
        let expected: Vec<R> = images.iter().map(|&byte| R::from_f64(f64::from(byte) / 255.0)).collect();
        assert_eq!(found, expected);
    }
}

#[test]
fn unit_range_divides_by_255() {
    unit_range::<f32>();
    unit_range::<f64>();
}

/// Indices of an epoch of `rows` rows, with two that do not exist.
fn indices(rows: usize) -> Vec<i32> {
    let mut indices: Vec<i32> = (0..rows as i32).rev().collect();
    indices.extend([-1, rows as i32]);
    indices
}

/// The row that `place` of batch `step` takes.
fn taken(indices: &[i32], rows: usize, batch: usize, step: usize, place: usize) -> usize {
    let index = indices[(step * batch + place).min(indices.len() - 1)];
    (index.max(0) as usize).min(rows - 1)
}

fn gather_rows<T: Element + PartialEq + std::fmt::Debug>() {
    for (rows, width, batch) in [(1, 1, 1), (5, 7, 3), (9, 8, 4), (40, 64, 11), (300, 33, 128)] {
        let table = stored::<T>(&uniform(3, rows * width, -2.0, 2.0));
        let indices = indices(rows);
        // One step more than there is, which takes the last entry again and again.
        for step in 0..=indices.len() / batch {
            let found = same_bits_everywhere(|device| {
                let out = Tensor::<T>::zeros(device, [batch, width]).unwrap();
                let table = Tensor::from_slice(device, [rows, width], &table).unwrap();
                let list = Tensor::from_slice(device, [indices.len()], &indices).unwrap();
                let clock = Tensor::from_slice(device, [2], &[step as i64, -3]).unwrap();
                ops::gather_rows(&table, &list, &clock, &out).unwrap();
                out.to_vec().unwrap()
            });
            let row = |place| &table[taken(&indices, rows, batch, step, place) * width..][..width];
            let expected: Vec<T> = (0..batch).flat_map(|place| row(place).to_vec()).collect();
            assert_eq!(found, expected);
        }
    }
}

#[test]
fn gather_rows_takes_the_rows_of_the_step() {
    gather_rows::<f32>();
    gather_rows::<f16>();
    gather_rows::<bf16>();
    gather_rows::<f64>();
}

#[test]
fn gather_labels_takes_the_labels_of_the_step() {
    let (rows, batch) = (50, 9);
    let (labels, indices): (Vec<i32>, _) = ((0..rows as i32).map(|i| i * 3 - 7).collect(), indices(rows));
    for step in 0..=indices.len() / batch {
        let found = same_bits_everywhere(|device| {
            let out = Tensor::<i32>::zeros(device, [batch]).unwrap();
            let clock = Tensor::from_slice(device, [2], &[step as i64, 4]).unwrap();
            let list = Tensor::from_slice(device, [indices.len()], &indices).unwrap();
            ops::gather_labels(&Tensor::from_slice(device, [rows], &labels).unwrap(), &list, &clock, &out).unwrap();
            out.to_vec().unwrap()
        });
        let expected: Vec<i32> = (0..batch).map(|place| labels[taken(&indices, rows, batch, step, place)]).collect();
        assert_eq!(found, expected);
    }
}

#[test]
fn what_does_not_fit_is_refused() {
    let device = Device::host().unwrap();
    let floats = |dims: [usize; 2]| Tensor::<f32>::zeros(&device, dims).unwrap();
    let clock = Tensor::zeros(&device, [2]).unwrap();
    let refusal = |table: [usize; 2], places: usize, out: [usize; 2]| {
        let list = Tensor::zeros(&device, [places]).unwrap();
        ops::gather_rows(&floats(table), &list, &clock, &floats(out)).unwrap_err().to_string()
    };
    assert!(refusal([5, 3], 5, [2, 4]).contains("`out` is [2, 4] but must be [2, 3]"));
    assert!(refusal([0, 3], 5, [2, 3]).contains("0 rows and 5 indices do not fill a batch of 2"));
    assert!(refusal([5, 3], 1, [2, 3]).contains("5 rows and 1 indices do not fill a batch of 2"));

    let bytes = Tensor::<u8>::zeros(&device, [2 * 3072]).unwrap().slice(1, [1, 32, 32, 3]).unwrap();
    let message = ops::unit_range(&bytes, &Tensor::<f32>::zeros(&device, [1, 32, 32, 3]).unwrap()).unwrap_err().to_string();
    assert!(message.contains("`images` does not start at a multiple of 16 bytes"), "{message}");
}
