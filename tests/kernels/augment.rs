//! `kernels/augment.cu`.

use crate::golden;
use crate::support::*;
use rand::Rng;
use rocl::data::augmentation::{Augmentation, AugmentationSettings};
use rocl::data::sampling::{EpochPlan, EpochShape};
use rocl::element::Real;
use rocl::{Device, Result, Tensor, ops};
use safetensors::SafeTensors;

const BYTES: usize = 32 * 32 * 3;

fn random_images(n: usize) -> Vec<u8> {
    let mut rng = rng(1);
    (0..n * BYTES).map(|_| rng.random()).collect()
}

fn draw(images: usize, batch: usize, views: usize, settings: &AugmentationSettings) -> EpochPlan {
    EpochPlan::draw(5, 0, EpochShape::new(images, batch, views).unwrap(), settings)
}

fn records(device: &Device, augmentations: &[Augmentation]) -> Tensor<i32> {
    Tensor::from_slice(device, [augmentations.len(), Augmentation::WORDS], bytemuck::cast_slice(augmentations)).unwrap()
}

/// All steps of an epoch, one after the other, the clock counting on the device.
fn run_epoch<R: Real>(device: &Device, images: &[u8], plan: &EpochPlan) -> Vec<R> {
    let EpochShape { images: n, batch_size, views } = plan.shape;
    let dataset = Tensor::from_slice(device, [n, 32, 32, 3], images).unwrap();
    let permutation = Tensor::from_slice(device, [n], &plan.permutation).unwrap();
    let augmentations = records(device, &plan.augmentations);
    let clock = Tensor::from_slice(device, [2], &[0, 77]).unwrap();
    let out = Tensor::<R>::zeros(device, [views * batch_size, 32, 32, 3]).unwrap();
    let mut epoch = Vec::new();
    for step in 0..plan.shape.steps() {
        clock.write(&[step as i64, 77]).unwrap();
        ops::augment(&dataset, &permutation, &augmentations, &clock, batch_size, views, &out).unwrap();
        epoch.extend(out.to_vec().unwrap());
    }
    epoch
}

/// One view of each image, in their order.
fn views_of(images: &[u8], augmentations: Vec<Augmentation>) -> Vec<u8> {
    let n = augmentations.len();
    let shape = EpochShape::new(n, n, 1).unwrap();
    let plan = EpochPlan { shape, permutation: (0..n as i32).collect(), augmentations };
    as_bytes(&same_bits_everywhere(|device| run_epoch::<f32>(device, images, &plan)))
}

/// Undoes the division by 255, which must have been rounded correctly: as from f64, whose 53 bits round to 24 as the exact quotient does.
fn as_bytes<R: Real>(values: &[R]) -> Vec<u8> {
    let byte = |value: &R| {
        let byte = (value.to_f64() * 255.0).round() as u8;
        assert_eq!(*value, R::from_f64(f64::from(byte) / 255.0));
        byte
    };
    values.iter().map(byte).collect()
}

fn assert_same_bytes(what: &str, found: &[u8], expected: &[u8]) {
    assert_eq!(found.len(), expected.len(), "{what}");
    let different = found.iter().zip(expected).filter(|(f, e)| f != e).count();
    assert_eq!(different, 0, "{what}: bytes differ");
}

fn check_pipelines(file: &SafeTensors) {
    let flags = |key| golden::values::<u8>(file, key);
    let (jitter, gray, flip) = (flags("pipe/jit"), flags("pipe/gray"), flags("pipe/flip"));
    let (order, crop) = (flags("pipe/order"), golden::values::<i32>(file, "pipe/ijhw"));
    let factors = golden::values::<f64>(file, "pipe/bcsh");
    let record = |i: usize| {
        let (crop, factors) = (&crop[4 * i..][..4], &factors[4 * i..][..4]);
        Augmentation {
            order: order[4 * i..][..4].try_into().unwrap(),
            flags: u32::from(jitter[i] | (gray[i] << 1) | (flip[i] << 2)),
            brightness: factors[0] as f32,
            contrast: factors[1] as f32,
            saturation: factors[2] as f32,
            hue: (factors[3] * 255.0) as i32,
            top: crop[0],
            left: crop[1],
            height: crop[2],
            width: crop[3],
            padding: [0; 2],
        }
    };
    let found = views_of(&golden::values(file, "pipe/in_u8"), (0..jitter.len()).map(record).collect());
    assert_same_bytes("pipelines", &found, &golden::values(file, "pipe/out_u8"));
}

fn check_single_operations(file: &SafeTensors) {
    let images = golden::values::<u8>(file, "pipe/in_u8");
    // An order may name an operation several times; those beside the one that is tested have factor 1, which changes nothing.
    let idle = Augmentation { flags: Augmentation::JITTER, ..Augmentation::identity() };
    let single = |name: &str, factor: f64| match name {
        "b" => Augmentation { order: [1, 2, 0, 1], brightness: factor as f32, ..idle },
        "c" => Augmentation { order: [0, 2, 1, 0], contrast: factor as f32, ..idle },
        "s" => Augmentation { order: [2, 0, 1, 1], saturation: factor as f32, ..idle },
        _ => Augmentation { order: [0, 3, 1, 2], hue: (factor * 255.0) as i32, ..idle },
    };
    for name in ["b", "c", "s", "h"] {
        let factors = golden::values::<f64>(file, &format!("ops/factor_{name}"));
        let augmentations: Vec<_> = factors.iter().map(|&factor| single(name, factor)).collect();
        let found = views_of(&images[..factors.len() * BYTES], augmentations);
        assert_same_bytes(name, &found, &golden::values(file, &format!("ops/out_{name}")));
    }
}

fn check_recording(bytes: &[u8]) {
    let file = SafeTensors::deserialize(bytes).unwrap();
    check_single_operations(&file);
    check_pipelines(&file);
}

#[test]
fn views_equal_those_of_torchvision() {
    check_recording(&golden::committed("augment.safetensors"));
    if let Some(bytes) = golden::shared("golden_aug.safetensors") {
        check_recording(&bytes);
    }
}

/// Flip and crop by the definition of a bilinear resize, rounded to bytes after the width and after the height. The positions are
/// multiples of 1/64, so f64 and the kernel's 22-bit weights are both exact, and so are the bytes.
fn flip_and_crop(image: &[u8], a: &Augmentation) -> Vec<u8> {
    let flip = a.flags & Augmentation::FLIP != 0;
    let pixel = |y: i32, x: i32, c: i32| {
        let x = if flip { 31 - (a.left + x) } else { a.left + x };
        f64::from(image[(((a.top + y) * 32 + x) * 3 + c) as usize])
    };
    let resize = |out: i32, size: i32, at: &dyn Fn(i32) -> f64| {
        let position = ((f64::from(out) + 0.5) * f64::from(size) / 32.0 - 0.5).clamp(0.0, f64::from(size - 1));
        let (low, high) = (position.floor(), position.ceil());
        let mixed = at(low as i32) + (position - low) * (at(high as i32) - at(low as i32));
        (mixed + 0.5).floor()
    };
    let row = |y: i32, x: i32, c: i32| resize(x, a.width, &|source| pixel(y, source, c));
    (0..BYTES as i32).map(|i| resize(i / 96, a.height, &|y| row(y, i / 3 % 32, i % 3)) as u8).collect()
}

fn flips_and_crops<R: Real>(images: usize, batch: usize, views: usize) {
    let settings = AugmentationSettings {
        jitter_probability: 0.0,
        grayscale_probability: 0.0,
        crop_scale: [0.001, 1.0],
        crop_ratio: [0.1, 10.0],
        ..Default::default()
    };
    let dataset = random_images(images);
    let plan = draw(images, batch, views, &settings);
    let mut expected = Vec::new();
    for step in 0..plan.shape.steps() {
        for (row, augmentation) in plan.augmentations(step).iter().enumerate() {
            let image = plan.images(step)[row % batch] as usize;
            expected.extend(flip_and_crop(&dataset[image * BYTES..][..BYTES], augmentation));
        }
    }
    let found = same_bits_everywhere(|device| run_epoch::<R>(device, &dataset, &plan));
    assert_same_bytes("flip and crop", &as_bytes(&found), &expected);
}

#[test]
fn every_step_of_an_epoch_flips_and_crops_its_images() {
    flips_and_crops::<f32>(11, 3, 2);
    flips_and_crops::<f32>(3, 3, 1);
    flips_and_crops::<f32>(2, 1, 3);
    flips_and_crops::<f64>(4, 2, 2);
}

#[test]
fn the_identity_leaves_images_as_they_are() {
    let images = random_images(3);
    assert_same_bytes("identity", &views_of(&images, vec![Augmentation::identity(); 3]), &images);
}

#[test]
fn whole_views_have_the_same_bits_everywhere() {
    let images = random_images(6);
    let plan = draw(6, 3, 2, &AugmentationSettings { jitter_probability: 1.0, ..Default::default() });
    let wide = same_bits_everywhere(|device| run_epoch::<f64>(device, &images, &plan));
    let narrow = same_bits_everywhere(|device| run_epoch::<f32>(device, &images, &plan));
    assert_same_bytes("f32 and f64", &as_bytes(&narrow), &as_bytes(&wide));
}

#[test]
fn a_wrong_plan_stays_within_its_tables() {
    let images = random_images(2);
    let whole = Augmentation::identity();
    let far = i32::MAX;
    let outside = [
        Augmentation { top: far, left: far, height: far, width: far, ..whole },
        Augmentation { top: -far, left: -9, height: 33, width: 40, ..whole },
        // One pixel: the last, and the first.
        Augmentation { top: far, left: 31, height: 0, width: -5, ..whole },
        Augmentation { top: -1, left: -far, height: -far, width: 1, ..whole },
        Augmentation {
            order: [255, 4, 9, 130],
            flags: u32::MAX,
            hue: far,
            brightness: f32::NAN,
            contrast: f32::INFINITY,
            ..whole
        },
    ];
    for_each_device(|device| {
        let dataset = Tensor::from_slice(device, [2, 32, 32, 3], &images).unwrap();
        let permutation = Tensor::from_slice(device, [5], &[-1, far, 0, 1, 2]).unwrap();
        let out = Tensor::<f32>::zeros(device, [5, 32, 32, 3]).unwrap();
        for step in [0, 1, -1, 1 << 40] {
            let clock = Tensor::from_slice(device, [1], &[step]).unwrap();
            ops::augment(&dataset, &permutation, &records(device, &outside), &clock, 5, 1, &out).unwrap();
            if step == 0 {
                let found = as_bytes(&out.rows(0..4).unwrap().to_vec().unwrap());
                let (first, last) = images.split_at(BYTES);
                assert_same_bytes("whole", &found[..2 * BYTES], &[first, last].concat());
                assert_same_bytes("last pixel", &found[2 * BYTES..3 * BYTES], &first[BYTES - 3..].repeat(1024));
                assert_same_bytes("first pixel", &found[3 * BYTES..], &last[..3].repeat(1024));
            }
        }
    });
}

#[test]
fn shapes_that_do_not_fit_are_refused() {
    let device = Device::host().unwrap();
    let try_sizes = |images: usize, places: usize, rows: usize, out: usize| -> Result<()> {
        let dataset = Tensor::zeros(&device, [images, 32, 32, 3])?;
        let (permutation, clock) = (Tensor::zeros(&device, [places])?, Tensor::zeros(&device, [2])?);
        let augmentations = Tensor::zeros(&device, [rows, Augmentation::WORDS])?;
        ops::augment(&dataset, &permutation, &augmentations, &clock, 4, 2, &Tensor::<f32>::zeros(&device, [out, 32, 32, 3])?)
    };
    try_sizes(6, 6, 8, 8).unwrap();
    let message = |result: Result<()>| result.unwrap_err().to_string();
    assert!(message(try_sizes(0, 6, 8, 8)).contains("0 rows and 6 indices do not fill a batch of 4"));
    assert!(message(try_sizes(6, 3, 8, 8)).contains("6 rows and 3 indices"));
    assert!(message(try_sizes(6, 6, 7, 8)).contains("`augmentations` is [7, 12]"));
    assert!(message(try_sizes(6, 6, 8, 7)).contains("`out` is [7, 32, 32, 3] but must be [8, 32, 32, 3]"));
}
