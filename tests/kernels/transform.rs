//! `kernels/transform.cu`.

use crate::support::*;
use rocl::data::augmentation::{Augmentation, AugmentationSettings};
use rocl::element::Real;
use rocl::{Tensor, ops};

const SIDE: usize = 32;
const NUMBERS: usize = SIDE * SIDE * 3;

/// Drawn ones, the one that changes nothing, each operation alone, and crops of a single pixel.
fn records() -> Vec<Augmentation> {
    let mut rng = rng(3);
    let drawn = (0..6).map(|_| AugmentationSettings::default().sample(&mut rng));
    let one = Augmentation::identity();
    let special = [
        one,
        Augmentation { flags: Augmentation::FLIP, ..one },
        Augmentation { flags: Augmentation::GRAYSCALE | Augmentation::JITTER, ..one },
        Augmentation { top: 31, left: 0, height: 1, width: 1, ..one },
        Augmentation { top: 3, left: 7, height: 17, width: 25, flags: Augmentation::FLIP, ..one },
    ];
    drawn.chain(special).collect()
}

fn upload_records(device: &rocl::Device, records: &[Augmentation]) -> Tensor<i32> {
    let words: Vec<i32> = records.iter().flat_map(|record| bytemuck::cast::<Augmentation, [i32; 12]>(*record)).collect();
    Tensor::from_slice(device, [records.len(), 12], &words).unwrap()
}

/// How much of each of 32 source places an output place is made of: the triangle of support 1 around its centre, within the crop.
fn weights(out: usize, begin: i32, size: i32) -> Vec<f64> {
    let centre = (out as f64 + 0.5) * f64::from(size) / SIDE as f64;
    let inside = |place: i32| (begin..begin + size).contains(&place);
    let raw = |place: i32| if inside(place) { (1.0 - (f64::from(place - begin) + 0.5 - centre).abs()).max(0.0) } else { 0.0 };
    let raw: Vec<f64> = (0..SIDE as i32).map(raw).collect();
    let total: f64 = raw.iter().sum();
    raw.into_iter().map(|w| w / total).collect()
}

fn oracle(image: &[f64], record: &Augmentation) -> Vec<f64> {
    let mut view = vec![0.0; NUMBERS];
    for (y, x) in (0..SIDE).flat_map(|y| (0..SIDE).map(move |x| (y, x))) {
        let rows = weights(y, record.top, record.height);
        let flipped = if record.flags & Augmentation::FLIP != 0 { SIDE - 1 - x } else { x };
        let columns = weights(flipped, record.left, record.width);
        let mut colours = [0.0; 3];
        for (j, row) in rows.iter().enumerate().filter(|(_, w)| **w > 0.0) {
            for (i, column) in columns.iter().enumerate().filter(|(_, w)| **w > 0.0) {
                (0..3).for_each(|c| colours[c] += row * column * image[(j * SIDE + i) * 3 + c]);
            }
        }
        if record.flags & Augmentation::GRAYSCALE != 0 {
            colours = [0.299 * colours[0] + 0.587 * colours[1] + 0.114 * colours[2]; 3];
        }
        view[(y * SIDE + x) * 3..][..3].copy_from_slice(&colours);
    }
    view
}

/// Weights are in 22-bit fixed point, as those of the 8-bit augmentation: two of them, each half a unit off, in either direction.
fn tolerance<R: Real>() -> f64 {
    4.0 / f64::from(1 << 22) + 8.0 * rounding::<R>()
}

fn views_equal_the_oracle<R: Real>() {
    let records = records();
    let n = records.len();
    let images = uniform(1, n * NUMBERS, 0.0, 1.0);
    let bits = same_bits_everywhere(|device| {
        let x = upload::<R, 4>(device, [n, SIDE, SIDE, 3], &images);
        let out = upload::<R, 4>(device, [n, SIDE, SIDE, 3], &vec![9.0; n * NUMBERS]);
        ops::transform_views(&x, &upload_records(device, &records), &out).unwrap();
        out.to_vec().unwrap()
    });
    let expected: Vec<f64> = images.chunks(NUMBERS).zip(&records).flat_map(|(image, record)| oracle(image, record)).collect();
    assert_close("views", &widened(&bits), &expected, tolerance::<R>(), 1.0);
}

#[test]
fn transformed_views_equal_the_oracle() {
    views_equal_the_oracle::<f32>();
    views_equal_the_oracle::<f64>();
}

/// ⟨T x, g⟩ = ⟨x, Tᵀ g⟩ for every x: here for all x that are 1 in one place, which spell out Tᵀ g.
fn the_way_back_is_the_transpose<R: Real>() {
    let records = records();
    let n = records.len();
    let (slopes, before) = (uniform(2, n * NUMBERS, -1.0, 1.0), uniform(3, n * NUMBERS, -1.0, 1.0));
    for accumulate in [false, true] {
        let bits = same_bits_everywhere(|device| {
            let [d_out, d_x] = [&slopes, &before].map(|values| upload::<R, 4>(device, [n, SIDE, SIDE, 3], values));
            ops::transform_views_backward(&d_out, &upload_records(device, &records), 0.25, accumulate, &d_x).unwrap();
            d_x.to_vec().unwrap()
        });
        for (index, record) in records.iter().enumerate() {
            let part = index * NUMBERS..(index + 1) * NUMBERS;
            let (found, slope) = (widened(&bits[part.clone()]), &slopes[part.clone()]);
            let mut expected = vec![0.0; NUMBERS];
            let columns: Vec<_> = (0..SIDE).map(|x| weights(x, record.left, record.width)).collect();
            let rows: Vec<_> = (0..SIDE).map(|y| weights(y, record.top, record.height)).collect();
            for (y, x) in (0..SIDE).flat_map(|y| (0..SIDE).map(move |x| (y, x))) {
                let column = if record.flags & Augmentation::FLIP != 0 { &columns[SIDE - 1 - x] } else { &columns[x] };
                let at = (y * SIDE + x) * 3;
                let mut g = [slope[at], slope[at + 1], slope[at + 2]];
                if record.flags & Augmentation::GRAYSCALE != 0 {
                    let sum: f64 = g.iter().sum();
                    g = [0.299 * sum, 0.587 * sum, 0.114 * sum];
                }
                for (j, row) in rows[y].iter().enumerate().filter(|(_, w)| **w > 0.0) {
                    for (i, column) in column.iter().enumerate().filter(|(_, w)| **w > 0.0) {
                        (0..3).for_each(|c| expected[(j * SIDE + i) * 3 + c] += 0.25 * row * column * g[c]);
                    }
                }
            }
            if accumulate {
                expected.iter_mut().zip(&before[part]).for_each(|(e, b)| *e += b);
            }
            // A place may be in all 1024 output places, whose slopes add up to some 100; so may the errors of their weights.
            let scale = if record.height * record.width < 16 { 1024.0 } else { 16.0 };
            assert_close(&format!("record {index}"), &found, &expected, tolerance::<R>(), scale);
        }
    }
}

#[test]
fn gradients_of_views_are_the_transpose() {
    the_way_back_is_the_transpose::<f32>();
    the_way_back_is_the_transpose::<f64>();
}

#[test]
fn views_refuse_what_does_not_fit() {
    for_each_device(|device| {
        let images = |n: usize| Tensor::<f32>::zeros(device, [n, SIDE, SIDE, 3]).unwrap();
        let records = Tensor::zeros(device, [2, 12]).unwrap();
        let message = ops::transform_views(&images(3), &records, &images(3)).unwrap_err().to_string();
        assert!(message.contains("`records` is [2, 12] but must be [3, 12]"), "{message}");
        let message = ops::transform_views_backward(&images(2), &records, 1.0, false, &images(3)).unwrap_err().to_string();
        assert!(message.contains("`out` is [3, 32, 32, 3] but must be [2, 32, 32, 3]"), "{message}");
    });
}
